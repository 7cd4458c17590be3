#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Quota in a running server: LMTP refuses at RCPT and behind the message, deliveries that come together stay within the limit, sums are right after kill -9 and
after changes by another program, the user database's rules go before those of the settings, and culver quota tells the same as IMAP."""
import os
import re
import signal
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, mail, same  # noqa: E402
import imaplib  # noqa: E402

PLUGINS = "mail_plugins = quota imap-quota\n"


def crlf(text):
    return re.sub(rb"\r?\n", b"\r\n", text.encode())


def login(s, user):
    for _ in range(20):
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
        try:
            m.login(user, culver.PASSWORD)
            return m
        except imaplib.IMAP4.abort:
            time.sleep(0.1)  # its worker was killed under it
    fail("no login")


def quota(s, user):
    """What IMAP and culver quota get say, which must be the same: {resource: (usage, limit)}."""
    m = login(s, user)
    typ, data = m.getquotaroot("INBOX")
    same(typ, "OK")
    words = re.search(rb"\((.*)\)", data[1][0]).group(1).decode().split()
    m.logout()
    got = {words[i]: (int(words[i + 1]), int(words[i + 2])) for i in range(0, len(words), 3)}
    rows = s.culver("quota", "get", "-u", user, json=True)
    for row in rows:
        told = (row.get("usage"), row.get("limit"))
        if row["resource"] in got:
            same(told, got[row["resource"]], row)
        else:
            same(told[1], None, row)
    return got


def rcpt(s, user, size=None):
    with smtplib.LMTP("127.0.0.1", s.ports["lmtp"], timeout=30) as c:
        c.ehlo()
        c.mail("sender@example.org", [f"SIZE={size}"] if size else [])
        code, text = c.rcpt(user)
        return code, text.decode()


def deliveries(s):
    user = "dora"
    for i in range(3):
        same(s.deliver(user, mail(f"m{i}"))[0], 250)
    same(quota(s, user)["MESSAGE"], (3, 3))
    same(rcpt(s, user), (552, "5.2.2 <dora> Full is full"))
    same(rcpt(s, "other")[0], 250)
    # One that is larger than what is left, or than anything may be.
    same(rcpt(s, "emil", 3000), (552, "5.2.3 <emil> Message is larger than 2000 octets"))
    same(s.deliver("emil", mail("large") + "x" * 70 + "\n" + ("y" * 70 + "\n") * 40), (552, "5.2.3 <emil> Message is larger than 2000 octets"))


def behind_the_message(s):
    """A client that was let in at RCPT while there was room, and is too late."""
    user = "late"
    with smtplib.LMTP("127.0.0.1", s.ports["lmtp"], timeout=30) as c:
        c.ehlo()
        c.mail("sender@example.org")
        same(c.rcpt(user)[0], 250)
        for i in range(3):
            same(s.deliver(user, mail(f"m{i}"))[0], 250)
        same(c.data(crlf(mail("too late"))), (552, b"5.2.2 <late> Full is full"))
    same(quota(s, user)["MESSAGE"], (3, 3))


def together(s):
    """Deliveries and APPENDs at the same time: never more than the limit, and each that was acknowledged is there."""
    user, accepted, lock = "crowd", [], threading.Lock()

    def deliver(i):
        if s.deliver(user, mail(f"d{i}"))[0] == 250:
            with lock:
                accepted.append(i)

    def append(i):
        m = login(s, user)
        if m.append("Sent", "", None, crlf(mail(f"a{i}")))[0] == "OK":
            with lock:
                accepted.append(i)
        m.logout()

    threads = [threading.Thread(target=deliver if i % 2 else append, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same(len(accepted), 3, accepted)
    same(quota(s, user)["MESSAGE"], (3, 3))


def interleaved(s):
    """Two MULTIAPPENDs whose messages come by turns: the second that ends is refused whole."""
    conns = [login(s, "turns") for _ in range(2)]
    text = b"Subject: x\r\n\r\n"
    for n, m in enumerate(conns):
        m.send(b"x%d APPEND INBOX {14+}\r\n" % n + text)
    for n, m in enumerate(conns):
        m.send(b" {14+}\r\n" + text)
        time.sleep(0.1)
    answers = []
    for n, m in enumerate(conns):
        m.send(b"\r\n")
        while True:
            line = m.readline()
            if line.startswith(b"x%d " % n):
                answers.append(line.split()[1:3])
                break
    same(sorted(a[0] for a in answers), [b"NO", b"OK"], answers)
    same([a[1] for a in answers if a[0] == b"NO"], [b"[OVERQUOTA]"])
    same(quota(s, "turns")["MESSAGE"], (2, 3))


def workers(s, user):
    found = []
    for d in os.listdir("/proc"):
        try:
            title = open(f"/proc/{d}/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ValueError):
            continue
        if d.isdigit() and re.search(rf"worker: {user}\b", title):
            found.append(int(d))
    return found


def crash(s):
    """Killed while messages come and go: what is counted is what is there."""
    user = f"crash{os.getpid()}"
    for i in range(30):
        s.deliver(user, mail(f"m{i}"))
        if i % 5 == 4:
            m = login(s, user)
            m.select("INBOX")
            m.store("1", "+FLAGS", "\\Deleted")
            m.expunge()
            for pid in workers(s, user):
                os.kill(pid, signal.SIGKILL)
    m = login(s, user)
    m.select("INBOX")
    there = len(m.search(None, "ALL")[1][0].split())
    m.logout()
    same(quota(s, user)["MESSAGE"], (there, 3))
    same(0 < there <= 3, True, there)
    same(s.culver("quota", "recalc", "-u", user, json=True), [], "nothing was wrong")


def user_rules(s):
    same(quota(s, "anna"), {"STORAGE": (0, 1), "MESSAGE": (0, 2)})
    same(quota(s, "bert"), {"MESSAGE": (0, 3)})
    for i in range(2):
        same(s.deliver("anna", mail(f"m{i}"))[0], 250)
    same(s.deliver("anna", mail("m2")), (452, "4.2.2 <anna> Full is full"))
    same(quota(s, "anna")["MESSAGE"], (2, 2))
    same(quota(s, "carl"), {})
    for i in range(4):
        same(s.deliver("carl", mail(f"m{i}"))[0], 250)
    # A rule that cannot be read: neither nothing nor everything is allowed, it is told to who can mend it.
    code, text = s.deliver("dirk", mail("m"))
    same((code, "rule" in text), (451, False), text)
    same(re.search(r"user database: quota_rule: .lots. is no size", s.output()) is not None, True)


def soft(s):
    """noenforcing: told and warned of."""
    m = login(s, "soft")
    for i in range(5):
        typ, data = m.append("INBOX", "", None, crlf(mail(f"m{i}")))
        same(typ, "OK")
    same("OVERQUOTA" in m.untagged_responses, True, m.untagged_responses)
    m.logout()
    same(quota(s, "soft")["MESSAGE"], (5, 3))


def another_program(s):
    """Maildir: messages that somebody else puts there count once they were seen."""
    same(s.deliver("dora", mail("m"))[0], 250)
    new = os.path.join(s.mail, "dora", "new")
    for i in range(3):
        path = os.path.join(new, f"{int(time.time())}.M{i}P1.elsewhere")
        with open(path, "w") as f:
            f.write(mail(f"x{i}"))
        if s.run_as:
            os.chown(path, s.run_as.pw_uid, s.run_as.pw_gid)
    s.culver("quota", "recalc", "-u", "dora")
    same(quota(s, "dora")["MESSAGE"], (4, 3))
    same(rcpt(s, "dora")[0], 552)


SETTINGS = PLUGINS + "quota_rule = *:messages=3\nquota_exceeded_message = Full is full\nquota_max_mail_size = 2000\n"
if not culver.storages():
    fail("no storage module is installed")
for storage in culver.storages():
    for tests, more, auth in ((deliveries, behind_the_message, together, interleaved, crash), "", False), ((user_rules,), "quota_full_tempfail = yes\n", True), \
            ((soft,), "quota = count:Soft:noenforcing\n", False), ((another_program,) if storage == "maildir" else (), "", False):
        if not tests:
            continue
        s = culver.Server(storage=storage, settings=SETTINGS + more)
        if auth:
            users = os.path.join(s.dir, "users")
            with open(users, "w") as f:
                for name, fields in (("anna", "quota_rule=*:storage=1k:messages=2"), ("bert", ""), ("carl", "quota_rule="), ("dirk", "quota_rule=*:storage=lots")):
                    f.write(f"{name}:{{PLAIN}}{culver.PASSWORD}::::{s.mail}/{name}::" + (f"userdb_{fields}" if fields else "") + "\n")
            os.chmod(users, 0o644)
            text = open(s.conf).read()
            text = re.sub(r"\[passdb static\]\n.*?\n\n\[userdb static\]\n.*?\n\n",
                          f"[passdb file]\ndriver = passwd-file\nargs = {users}\n\n[userdb file]\ndriver = passwd-file\nargs = {users}\n\n", text, flags=re.S)
            with open(s.conf, "w") as f:
                f.write(text)
        try:
            s.start()
            for test in tests:
                test(s)
                print(storage, test.__name__, "ok", flush=True)
            s.stop()
            same([line for line in s.complaints() if "killed by signal 9" not in line], [])
        finally:
            s.close()
