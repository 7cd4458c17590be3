#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processes that live long keep their size: logins, deliveries, APPEND, what mail programs ask of a mailbox, IDLE and NOTIFY, reloads, again and again, plain and
over TLS. Each process is measured after a quarter, half and all of it; what came in the second half must not grow with what was done.

usage: soak.py [TIMES [NAME..]]     TIMES: 10 makes 20,000 logins; below 1 each storage has one of the two ways"""

import os
import re
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import culver  # noqa: E402
from client import Client, comes, descendants, fail, healthy, mail, skip  # noqa: E402

TIMES = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
ONLY = sys.argv[2:]
USER = "soak"
# KiB that a process may be larger at the end than in the middle: the allocator's, caches that fill.
ROOM = 160
# Octets of a worker for each message that was expunged from a mailbox that it has open: its row stays until the mailbox is read anew.
ROW = 300
# Such messages in one step.
GONE = {"deliveries": 1, "appends": 1, "asked": 3, "waiting": 1}
ROLES = ("master", "front", "auth", "spawner", "worker")


def sizes(s):
    """KiB of each role's own memory, one process each."""
    found = dict.fromkeys(ROLES, 0)
    for pid in descendants(s.proc.pid):
        try:
            title = open(f"/proc/{pid}/cmdline").read().rstrip("\0")
            role = next((r for r in ROLES if re.search(rf"\b{r}\b", title)), "master" if pid == s.proc.pid else None)
            if role:
                found[role] = max(found[role], int(re.search(r"Pss_Anon:\s*(\d+)", open(f"/proc/{pid}/smaps_rollup").read()).group(1)))
        except (OSError, AttributeError):
            pass  # it ended meanwhile
    return found


class Session(Client):
    """A session of the user."""

    def __init__(self, s, how):
        super().__init__(s, how, USER)

    def __call__(self, text, literal=None):
        return self.cmd(text + (f" {{{len(literal)}+}}\r\n{literal}" if literal is not None else ""))

    def end(self):
        self.cmd("LOGOUT")
        self.sock.close()


def empty(c):
    c("NOOP")
    c("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    c("EXPUNGE")


def logins(s, how, c):
    yield 2000
    n = 0
    while True:
        n += 1
        if n % 10 == 0:
            other = Client(s, how)
            other.cmd(f"LOGIN {USER} wrong", "NO")
            other.cmd("LOGOUT")
            other.sock.close()
        Session(s, how).end()
        yield


def deliveries(s, how, c):
    yield 2000
    c("SELECT INBOX")
    lmtp = smtplib.LMTP("127.0.0.1", s.ports["lmtp"])
    lmtp.ehlo()
    text = mail("delivered").replace("\n", "\r\n")
    n = 0
    while True:
        lmtp.sendmail("a@example.org", [USER], text)
        n += 1
        if n % 100 == 0:
            empty(c)
        yield


def appends(s, how, c):
    yield 500
    c("SELECT INBOX")
    n = 0
    while True:
        c("APPEND INBOX (\\Seen $word)", mail(f"appended {n}").replace("\n", "\r\n"))
        n += 1
        if n % 100 == 0:
            empty(c)
        yield


ASKED = ("SELECT INBOX", "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)", "FETCH 1:20 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] RFC822.SIZE)", "SEARCH BODY words UNSEEN",
         "SEARCH RETURN (SAVE) SUBJECT 1", "FETCH $ BODY.PEEK[]", "SORT (REVERSE SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "STATUS Other (MESSAGES UNSEEN)",
         "LIST \"\" * RETURN (STATUS (MESSAGES))", "STORE 1:5 FLAGS (\\Flagged)", "STORE 1:5 -FLAGS (\\Flagged)", "COPY 1:3 Other", "SELECT Other", "STORE 1:* +FLAGS.SILENT (\\Deleted)",
         "EXPUNGE")


def asked(s, how, c):
    yield 500
    c("CREATE Other")
    for n in range(60):
        c("APPEND INBOX", mail(f"number {n}").replace("\n", "\r\n"))
    while True:
        for text in ASKED:
            c(text)
        yield


def waiting(s, how, c):
    yield 200
    c("SELECT INBOX")
    other = Session(s, how)
    other("NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange))")
    other("SELECT INBOX")
    n = 0
    while True:
        c.send("i IDLE\r\n")
        while not c.line().startswith("+"):
            pass
        other("APPEND INBOX", mail("told").replace("\n", "\r\n"))
        while "EXISTS" not in c.line():
            pass
        c.send("DONE\r\n")
        c.reply("i")
        other("CREATE noted")
        other("DELETE noted")
        n += 1
        if n % 50 == 0:
            empty(c)
            other("NOOP")
        yield


def reloads(s, how, c):
    yield 12
    said = 0
    while True:
        s.reload()
        said += 1
        comes(lambda: sum("settings are reloaded" in line for line in s.lines()) >= said, True, "the reload")
        Session(s, how).end()
        yield


def run(test, storage, how):
    settings = "login_max_connections_per_ip = 0\nmail_max_userip_connections = 0\nimap_hibernate_timeout = 0\n"
    with culver.Server(settings=settings, sections="[service front]\nprocess_limit = 1\n", storage=storage) as s:
        if re.search(rb"__(asan|tsan)", open(s.binary("culverd"), "rb").read()):
            skip("memory of a sanitized server says nothing")
        c = Session(s, how)
        step = test(s, how, c)
        count = int(next(step) * TIMES)
        seen, start = [], time.monotonic()
        for n in range(1, count + 1):
            next(step)
            if n in (count // 4, count // 2, count):
                time.sleep(1.2)  # what is made a second later
                seen.append(sizes(s))
        took = time.monotonic() - start
        print(f"{storage}, {how}, {count} {test.__name__} ({took:.0f} s), KiB: " +
              "; ".join(f"{r} {' '.join(str(x[r]) for x in seen)}" for r in ROLES), flush=True)
        for r in ROLES:
            grown = seen[2][r] - seen[1][r]
            if grown > ROOM + (ROW * GONE.get(test.__name__, 0) * (count - count // 2) / 1024 if r == "worker" else 0):
                fail(f"{storage}, {how}: {r} grew by {grown} KiB with {count - count // 2} {test.__name__}")
        healthy(s)


for at, storage in enumerate(culver.storages() or fail("no storage module is installed")):
    for test in (logins, deliveries, appends, asked, waiting, reloads):
        for how in ("plain", "starttls") if TIMES >= 1 else (("starttls", "plain")[at % 2],):
            if not ONLY or test.__name__ in ONLY:
                run(test, storage, how)
