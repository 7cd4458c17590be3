#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real system users through PAM and NSS: right, wrong, expired, unknown; a helper that is killed; the tool; SASL for an MTA."""
import base64
import imaplib
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, need, need_root, run, same  # noqa: E402

need_root()
need("useradd", "chpasswd", "userdel", "chage")
USER, GONE, LATE, WORD = "cvtestpam", "cvtestexp", "cvtestlate", "Ringel:taube 3"


def login(s, user, word):
    c = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
    try:
        c.login(user, word)
        return "ok"
    except imaplib.IMAP4.error as e:
        return str(e)
    finally:
        try:
            c.shutdown()
        except OSError:
            pass


def helpers(s):
    """Pids of helper processes below this server's master."""
    pids, found = {s.proc.pid}, []
    for _ in range(4):
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                stat = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
                title = open(f"/proc/{p}/cmdline", "rb").read()
            except OSError:
                continue
            if int(stat[1]) in pids and int(p) not in pids:
                pids.add(int(p))
                if b"auth-helper (root)" in title:
                    found.append(int(p))
    return found


def sasl(s, user, word):
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(30)
    c.connect(s.auth_path)
    token = base64.b64encode(f"\0{user}\0{word}".encode())
    c.sendall(b"VERSION\t1\t2\nCPID\t1\nAUTH\t1\tPLAIN\tservice=smtp\tresp=" + token + b"\n")
    text = b""
    while b"\nOK" not in text and b"\nFAIL" not in text:
        got = c.recv(4096)
        if not got:
            fail(f"the auth-client connection was closed after {text!r}")
        text += got
    return text.decode().splitlines()[-1]


def users(verb):
    for u in (USER, GONE, LATE):
        if verb == "add":
            run("useradd", "-m", u)
            run("chpasswd", input=f"{u}:{WORD}\n")
        else:
            subprocess.run(["userdel", "-r", u], capture_output=True)
    if verb == "add":
        run("chage", "-E", "0", GONE)
        run("chage", "-d", "2001-02-03", "-M", "30", LATE)


AUTH = "[passdb pam]\ndriver = pam\nargs = max_requests=5 cvtest\n\n[userdb passwd]\ndriver = passwd\n\n"
users("remove")
users("add")
s = culver.Server(privileged=True, auth=AUTH, client_auth=True, storage="sdbox", settings="default_internal_user = nobody\n"
                  "default_internal_group = nogroup\ndefault_login_user = nobody\npam_confdir = @DIR@/pam")
try:
    text = open(s.conf).read().replace("@DIR@", s.dir).replace(f"mail_location = sdbox:{s.mail}/%u", "mail_location = sdbox:~/mail")
    text = text.replace("first_valid_uid = 0", "first_valid_uid = 500")
    open(s.conf, "w").write(text)
    os.mkdir(f"{s.dir}/pam")
    for name in ("cvtest", "other"):
        open(f"{s.dir}/pam/{name}", "w").write("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
    s.start()
    same(login(s, USER, WORD), "ok")
    for user, word in ((USER, "wrong"), ("cvtestnobody", WORD), (USER, WORD + "x")):
        answer = login(s, user, word)
        if "AUTHENTICATIONFAILED" not in answer:
            fail(f"{user}: {answer}")
    answer = login(s, GONE, WORD)
    if "[CONTACTADMIN]" not in answer or "expired" not in answer:
        fail(f"an expired account: {answer}")
    # RFC 5530: "Either authentication succeeded or the server no longer had the necessary data; either way, access is no longer permitted using that passphrase."
    answer = login(s, LATE, WORD)
    if "[EXPIRED]" not in answer:
        fail(f"an expired password: {answer}")
    if "AUTHENTICATIONFAILED" not in login(s, LATE, WORD + "x"):
        fail("an expired password is told of to one who has not got it")
    # System accounts below first_valid_uid own no mail.
    same(sasl(s, USER, WORD), f"OK\t1\tuser={USER}")
    if not sasl(s, USER, "wrong").startswith("FAIL"):
        fail("SASL takes a wrong password")
    # max_requests = 5 has let the first helper go by now; one that is killed in the middle of nothing is replaced too.
    for _ in range(7):
        same(login(s, USER, WORD), "ok")
    if not helpers(s):
        fail("there is no helper")
    for p in helpers(s):
        os.kill(p, signal.SIGKILL)
    time.sleep(0.2)
    same(login(s, USER, WORD), "ok")
    same(s.deliver(USER, "Subject: by PAM\n\nx\n")[0], 250)
    same(s.deliver("cvtestnobody", "Subject: x\n\nx\n")[0], 550)
    same(os.stat(f"/home/{USER}/mail").st_uid, int(run("id", "-u", USER).stdout))
    if os.path.exists(s.binary("culver")):
        same(s.culver("user", USER, json=True)[0]["home"], f"/home/{USER}")
        same(s.culver("user", "cvtestnobody", check=False).returncode, 67)
        same(s.culver("auth", "test", USER, "-p", WORD, check=False).returncode, 0)
        same(s.culver("auth", "test", USER, "-p", "wrong", check=False).returncode, 77)
    # No password in the log, whatever happens.
    if WORD in s.output():
        fail("the log holds a password")
    healthy(s)
finally:
    s.close()
    users("remove")
