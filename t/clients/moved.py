#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A user's directory that is renamed, or replaced by another one, under the server: what was acknowledged went where it was, one line tells it, the sessions end,
and the next ones have what is there. A backup that is put back, of all or of the index alone, is known for one: no UID that a client may have seen is given to another
message, and messages that came after it are taken in where they are. And a command right after the start, which waits until the processes are there."""
import imaplib
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import comes, culver, fail, healthy, mail, same  # noqa: E402

SAID = "was moved, replaced or unmounted while the mail was open; nothing is acknowledged here any more"


def login(s, user="anna"):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login(user, culver.PASSWORD)
    same(m.select("INBOX")[0], "OK")
    return m


def subjects(s, user="anna"):
    m = login(s, user)
    data = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    m.logout()
    return [d[1].decode().split(":", 1)[1].strip() for d in data if isinstance(d, tuple)]


def append(m, subject):
    """OK, NO, or the session's end."""
    try:
        return m.append("INBOX", None, None, mail(subject).replace("\n", "\r\n").encode())[0]
    except (imaplib.IMAP4.abort, OSError):
        return "end"


def renamed(s):
    """It goes on, and another one takes its name."""
    same(s.deliver("anna", mail("one"))[0], 250)
    m = login(s)
    os.rename(f"{s.mail}/anna", f"{s.mail}/away")
    acknowledged = ["one"]
    end = time.monotonic() + 20
    while (answer := append(m, f"late{len(acknowledged)}")) == "OK":
        acknowledged.append(f"late{len(acknowledged)}")
        if time.monotonic() > end:
            fail("appends go on into a directory that was renamed")
        time.sleep(0.3)
    same(s.output().count(SAID), 1, s.output())
    # Nobody is left with the former one; deliveries and sessions begin with what is there.
    same(s.deliver("anna", mail("new"))[0], 250)
    same(subjects(s), ["new"])
    s.stop()
    subprocess.run(["rm", "-rf", f"{s.mail}/anna"], check=True)
    os.rename(f"{s.mail}/away", f"{s.mail}/anna")
    s.start()
    same(subjects(s), acknowledged, answer)


def replaced(s):
    """As a backup is put back by those who do not stop the server."""
    for subject in ("one", "two"):
        same(s.deliver("bert", mail(subject))[0], 250)
    s.stop()
    subprocess.run(["cp", "-a", f"{s.mail}/bert", f"{s.mail}/backup"], check=True)
    s.start()
    m = login(s, "bert")
    same(append(m, "three"), "OK")
    os.rename(f"{s.mail}/bert", f"{s.mail}/newer")
    os.rename(f"{s.mail}/backup", f"{s.mail}/bert")
    time.sleep(1.1)
    if append(m, "four") == "OK":
        fail("a message went into a directory that was replaced")
    same(subjects(s, "bert"), ["one", "two"])
    same(s.deliver("bert", mail("five"))[0], 250)
    same(subjects(s, "bert"), ["one", "two", "five"])


def uids(s, user):
    """Subjects by UID."""
    m = login(s, user)
    data = m.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    m.logout()
    return {int(d[0].split(b"UID ")[1].split()[0]): d[1].decode().split(":", 1)[1].strip() for d in data if isinstance(d, tuple)}


def put_back(s, user, what):
    """Server stopped; what: all of the user's directory, or the index."""
    home, backup = f"{s.mail}/{user}", f"{s.dir}/backup-{user}"
    for n in range(3):
        same(s.deliver(user, mail(f"old{n}"))[0], 250)
    m = login(s, user)
    same(m.store("2", "+FLAGS", "(\\Flagged)")[0], "OK")
    m.logout()
    s.stop()
    subprocess.run(["cp", "-a", home, backup], check=True)
    s.start()
    for n in range(4):
        same(s.deliver(user, mail(f"new{n}"))[0], 250)
    seen = uids(s, user)
    s.stop()
    gone, back = (home, backup) if what == "all" else (f"{home}/culver-index", f"{backup}/culver-index")
    subprocess.run(["rm", "-rf", gone], check=True)
    subprocess.run(["cp", "-a", back, gone], check=True)
    s.start()
    for _ in range(2):
        same(s.deliver(user, mail("after"))[0], 250)
        now = uids(s, user)
        same({uid: (now[uid], seen[uid]) for uid in now if seen.get(uid, now[uid]) != now[uid]}, {}, "UIDs that name another message now")
        if what == "index":
            same({uid: now.get(uid) for uid in seen}, seen, "messages that the index did not know")
        s.stop()
        s.start()
    same(sum("the index is a copy" in line and f"user={user}" in line for line in s.output().splitlines()), 1, s.output())
    m = login(s, user)
    same(m.search(None, "FLAGGED")[1], [b"2"])
    m.logout()
    same(s.culver("fsck", "--report", user, check=False).returncode, 0)


def early(s):
    """As soon as somebody listens, the answer is right."""
    s.stop()
    path = os.path.join(s.run, "admin.sock")
    for _ in range(3):
        starting = threading.Thread(target=s.start)
        starting.start()
        end = time.monotonic() + 20
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.001)
        r = s.culver("fsck", "--report", "anna", check=False)
        starting.join()
        # Between its name and the first listen() there is a moment.
        if r.returncode != 0 and "nobody listens" not in r.stderr:
            fail(f"fsck right after a start: {r.returncode} {r.stdout}{r.stderr}")
        s.stop()
    s.start()


for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        renamed(s)
        replaced(s)
        put_back(s, "carl", "all")
        put_back(s, "dora", "index")
        early(s)
        comes(lambda: s.culver("fsck", "--report", "bert", check=False).returncode, 0)
        healthy(s)
        print(storage, "ok")
