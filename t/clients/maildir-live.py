#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that work on the Maildir itself while the server serves it: procmail and maildrop deliver, Dovecot's deliver too, mbsync and neomutt change."""
import imaplib
import os
import pty
import select
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same, skip  # noqa: E402

if "maildir" not in culver.storages():
    skip("the module maildir is not installed")
need("mbsync")


def login(s, user):
    c = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
    c.login(user, culver.PASSWORD)
    return c


def as_owner(s, *cmd, input=None, env=None):
    """Run as who owns the mail."""
    def drop():
        if s.run_as:
            s._drop()
    return run(*cmd, input=input, env=env, preexec_fn=drop, cwd=s.dir)


def own(s, path):
    if s.run_as:
        for root, dirs, files in os.walk(path):
            for n in [root] + [os.path.join(root, x) for x in files]:
                os.chown(n, s.run_as.pw_uid, s.run_as.pw_gid)


def wait_for(what, fn, seconds=10):
    end = time.monotonic() + seconds
    while not fn():
        if time.monotonic() > end:
            fail(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def exists(c):
    c.noop()
    return int(c.untagged_responses.get("EXISTS", [b"0"])[-1])


with culver.Server(storage="maildir") as s:
    c = login(s, "md")
    c.select("INBOX")
    box = f"{s.mail}/md"
    tried = 0
    for name in ("procmail", "maildrop"):
        if not shutil.which(name):
            print(f"{name} is not installed: not tried")
            continue
        tried += 1
        rc = os.path.join(s.dir, name + "rc")
        with open(rc, "w") as f:
            if name == "procmail":
                f.write(f"MAILDIR={s.mail}\nDEFAULT={box}/\nSHELL=/bin/sh\n")
            else:
                f.write(f"to \"{box}\"\n")
        os.chmod(rc, 0o600)
        own(s, rc)
        if s.run_as:
            os.chown(rc, s.run_as.pw_uid, s.run_as.pw_gid)
        env = dict(os.environ, HOME=s.dir, LOGNAME=s.run_as.pw_name if s.run_as else os.environ.get("LOGNAME", "nobody"))
        before = exists(c)
        as_owner(s, *([name, "-m", rc] if name == "procmail" else [name, rc]), input=mail(name), env=env)
        wait_for(f"what {name} delivers", lambda: exists(c) == before + 1)
        if len(c.search(None, "SUBJECT", name)[1][0].split()) != 1:
            fail(f"the mail that {name} delivered is not found")
    for i in range(3):
        same(s.deliver("md", mail(f"lmtp{i}"))[0], 250)
    count = exists(c)
    same(count, tried + 3, "messages")

    # mbsync copies between the served Maildir and another one, without the server's help.
    other = os.path.join(s.dir, "other")
    os.makedirs(other)
    own(s, other)
    if s.run_as:
        os.chown(other, s.run_as.pw_uid, s.run_as.pw_gid)
    rc = os.path.join(s.dir, "mbsyncrc")
    with open(rc, "w") as f:
        f.write(f"""MaildirStore served
Inbox {box}
SubFolders Maildir++

MaildirStore copy
Path {other}/
Inbox {other}/INBOX
SubFolders Verbatim

Channel c
Far :served:
Near :copy:
Create Near
Expunge Both
SyncState {s.dir}/state.
""")
    env = dict(os.environ, HOME=s.dir)
    sync = ["mbsync", "-c", rc, "c"]
    if s.run_as:
        os.chmod(s.dir, 0o777)
    as_owner(s, *sync, env=env)
    files = sorted(os.listdir(f"{other}/INBOX/new") + os.listdir(f"{other}/INBOX/cur"))
    same(len(files), count, "messages that mbsync copied")
    same(exists(c), count, "copying changes nothing")
    uids = c.uid("search", None, "ALL")[1]
    # A flag of ours goes there, a deletion there comes here.
    c.store("1", "+FLAGS", r"(\Flagged)")
    wait_for("the flag in the file's name", lambda: any(":2,F" in n or "F" in n.split(":2,")[-1] for n in os.listdir(f"{box}/cur") if ":2," in n))
    as_owner(s, *sync, env=env)
    flagged = [n for n in os.listdir(f"{other}/INBOX/cur") if "F" in n.split(":2,")[-1]]
    same(len(flagged), 1, "flagged messages in the copy")
    victim = flagged[0]
    os.rename(f"{other}/INBOX/cur/{victim}", f"{other}/INBOX/cur/{victim}T")
    as_owner(s, *sync, env=env)
    wait_for("the expunge", lambda: len(c.uid("search", None, "ALL")[1][0].split()) == count - 1)
    same(c.uid("search", None, "ALL")[1][0].split(), uids[0].split()[1:], "UIDs of the others")

    if shutil.which("neomutt"):
        rc = os.path.join(s.dir, "muttrc")
        with open(rc, "w") as f:
            f.write(f"set mbox_type=Maildir\nset sleep_time=0\nset folder={s.mail}\nset spoolfile={box}\nset record=\nset postponed=\nset move=no\nset confirmcreate=no\nset quit=yes\nset delete=yes\nset header_cache=\nset mark_old=no\n")
        if s.run_as:
            os.chown(rc, s.run_as.pw_uid, s.run_as.pw_gid)
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(HOME=s.dir, TERM="xterm")
            if s.run_as:
                s._drop()
            os.execvp("neomutt", ["neomutt", "-n", "-F", rc, "-f", box, "-e", "push '<first-entry><flag-message><sync-mailbox><exit>'"])
        end = time.monotonic() + 20
        screen = b""
        while time.monotonic() < end:
            ready, _, _ = select.select([fd], [], [], 0.5)
            if not ready:
                continue
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            screen += data
        else:
            os.kill(pid, signal.SIGKILL)
            fail(f"neomutt did not end: {screen[-2000:]!r}")
        os.waitpid(pid, 0)
        wait_for("neomutt's flag", lambda: len(c.uid("search", None, "FLAGGED")[1][0].split()) == 1)
    else:
        print("neomutt is not installed: not tried")
    c.logout()
    healthy(s)
