#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sessions that sleep: they cost no process, hear of everything as if they had stayed awake, and end as others do."""
import os
import re
import select
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import client  # noqa: E402
from client import culver, descendants, end_sending, fail, healthy, mail, role, same  # noqa: E402

SETTINGS = """imap_hibernate_timeout = 50ms
imap_hibernate_silent_timeout = 50ms
imap_idle_notify_interval = 2m
default_idle_kill = 200ms
mail_max_userip_connections = 20
"""


class Client(client.Client):
    """Logged in, and about to sleep."""

    def __init__(self, s, user="ann", tls=False):
        super().__init__(s, "tls" if tls else "plain", user)

    def idle(self):
        self.n += 1
        self.send(f"t{self.n} IDLE\r\n")
        same(self.line()[:1], "+")

    def done(self, status="OK"):
        self.send("DONE\r\n")
        return self.reply(f"t{self.n}", status)

    def silent(self, seconds=0.3):
        """Nothing comes for so long."""
        if self.buf or select.select([self.sock], [], [], seconds)[0]:
            fail(f"something was told: {self.buf!r} {self.sock.recv(4096)!r}")

    def ended(self):
        """All that still comes until the connection is closed."""
        lines = []
        try:
            while True:
                lines.append(self.line())
        except (EOFError, ConnectionResetError):
            return lines


def who(s, user=None):
    rows = s.culver("who", json=True)
    rows = rows if isinstance(rows, list) else rows["sessions"]
    return [r for r in rows if user in (None, r["user"])]


def asleep(s, count, user=None, seconds=20):
    """So many sessions sleep, none is awake, and no worker is there."""
    deadline = time.monotonic() + seconds
    while True:
        rows = who(s, user)
        if len(rows) == count and all(r["state"] == "asleep" and r["pid"] == 0 for r in rows):
            break
        if time.monotonic() > deadline:
            fail(f"not asleep: {rows}")
        time.sleep(0.05)
    while workers(s, user):
        if time.monotonic() > deadline:
            fail(f"workers are left: {workers(s, user)}")
        time.sleep(0.05)


def workers(s, user=None):
    out = []
    for pid in os.listdir("/proc"):
        try:
            title = open(f"/proc/{pid}/cmdline").read()
            parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        m = re.search(r" worker: ([^\s\0]+)", title)
        if m and user in (None, m.group(1)) and parent in descendants(s.proc.pid):
            out.append(int(pid))
    return out


def new_mail(s, tls):
    """A delivery, another session's changes, and the client itself wake it; each thing is told once."""
    c = Client(s, tls=tls)
    c.cmd("SELECT INBOX")
    before = int(re.search(r"(\d+) EXISTS", "\n".join(c.cmd("EXAMINE INBOX"))).group(1))
    c.cmd("SELECT INBOX")
    c.idle()
    asleep(s, 1)
    same(s.deliver("ann", mail("first"))[0], 250)
    same([c.line(), c.line()], [f"* {before + 1} EXISTS", "* 1 RECENT"])
    c.silent()
    asleep(s, 1)
    same(c.done(), [f"t{c.n} OK Idle completed"])
    asleep(s, 1)
    other, word = Client(s, tls=not tls), f"sleepy{int(tls)}"
    other.cmd("SELECT INBOX")
    other.cmd(f"STORE {before + 1} +FLAGS (\\Seen {word})")
    asleep(s, 2)
    text = c.cmd("NOOP")
    same([x for x in text if "FETCH" in x], [f"* {before + 1} FETCH (FLAGS (\\Seen \\Recent {word}))"])
    same(any("PERMANENTFLAGS" in x and word in x for x in text), True, "keyword told before")
    same(c.cmd("NOOP"), [f"t{c.n} OK NOOP completed"])
    c.idle()
    asleep(s, 2)
    other.cmd(f"STORE {before + 1} +FLAGS.SILENT (\\Deleted)")
    other.cmd("EXPUNGE")
    seen = []
    while not seen or "EXPUNGE" not in seen[-1]:
        seen.append(c.line())
    same(seen[-1], f"* {before + 1} EXPUNGE")
    same(c.line(), "* 0 RECENT")
    c.silent()
    asleep(s, 2)
    same(c.done(), [f"t{c.n} OK Idle completed"])
    same(len(c.cmd("UID SEARCH RETURN (SAVE) ALL")), 1)
    asleep(s, 2)
    same(len([x for x in c.cmd("UID FETCH $ FLAGS") if "FETCH" in x]), before)
    other.cmd("LOGOUT")
    c.cmd("LOGOUT")
    asleep(s, 0)


def unselected(s, tls):
    """Before a mailbox is selected; a command in two packets; input that waits when it falls asleep."""
    c = Client(s, tls=tls)
    asleep(s, 1)
    c.send("x NO")
    time.sleep(0.3)
    c.send("OP\r\n")
    same(c.reply("x"), ["x OK NOOP completed"])
    asleep(s, 1)
    c.send("".join(f"y{i} NOOP\r\n" for i in range(5000)))
    for i in range(5000):
        c.reply(f"y{i}")
    c.idle()
    asleep(s, 1)
    same(c.done()[-1], f"t{c.n} OK Idle completed")
    c.idle()
    asleep(s, 1)
    c.send("nonsense\r\n")
    c.reply(f"t{c.n}", "BAD")
    c.cmd("LOGOUT")
    asleep(s, 0)


def ends(s, tls):
    """A client that leaves, one that is kicked, a mailbox that goes."""
    c = Client(s, tls=tls)
    c.cmd("SELECT INBOX")
    c.idle()
    asleep(s, 1)
    c.sock.close()
    asleep(s, 0)
    c = Client(s, tls=tls)
    c.idle()
    asleep(s, 1)
    same(len(s.culver("kick", "ann", json=True)), 1)
    same(c.ended(), ["* BYE [UNAVAILABLE] Session was ended by the administrator"])
    asleep(s, 0)
    c, other = Client(s, tls=tls), Client(s)
    other.cmd("CREATE going")
    c.cmd("SELECT going")
    c.idle()
    asleep(s, 2)
    other.cmd("DELETE going")
    same(c.ended(), ["* BYE Selected mailbox was deleted"])
    other.cmd("CREATE one")
    c = Client(s, tls=tls)
    c.cmd("SELECT one")
    c.idle()
    asleep(s, 2)
    other.cmd("RENAME one two")
    other.cmd("APPEND two {3+}\r\na\r\n")
    same(c.line(), "* 1 EXISTS")
    c.done()
    c.cmd("LOGOUT")
    other.cmd("DELETE two")
    other.cmd("LOGOUT")


def compressed(s, tls):
    """The client's compressed data goes on, and refers to what it said before."""
    c = Client(s, tls=tls)
    c.compress(9)
    c.cmd("SELECT INBOX")
    for turn in range(8):
        asleep(s, 1)
        text = c.cmd(f"UID FETCH 1 (FLAGS BODY.PEEK[HEADER.FIELDS (X-{'long-name-' * 20}{turn % 3})])")
        same("".join(text).count("FETCH ("), 1)
        c.idle()
        asleep(s, 1)
        if turn % 2:
            same(s.deliver("ann", mail(f"turn {turn}"))[0], 250)
            while "EXISTS" not in c.line():
                pass
            same(c.line()[-6:], "RECENT")
            asleep(s, 1)
        same(c.done()[-1], f"t{c.n} OK Idle completed")
    c.cmd("LOGOUT")
    asleep(s, 0)


def kept_alive(s):
    """Front writes the lines that keep a connection alive; those it wakes in between change nothing about it."""
    clients = [Client(s, "bob"), Client(s, "bob", tls=True), Client(s, "bob")]
    clients[2].compress(9)
    for c in clients:
        c.cmd("SELECT INBOX")
        c.idle()
    asleep(s, 3, "bob")
    started = workers_started(s)
    for _ in range(3):
        for c in clients:
            same(c.line(), "* OK Still here")
    same(workers_started(s), started, "workers for lines that keep connections alive")
    same(s.deliver("bob", mail("x"))[0], 250)
    for c in clients:
        told = [c.line()]
        while "RECENT" not in told[-1]:
            told.append(c.line())
        same([x for x in told if x != "* OK Still here"][0][-6:], "EXISTS", told)
    for c in clients:
        while c.buf or select.select([c.sock], [], [], 0)[0]:
            c.line()
        c.done()
        c.cmd("LOGOUT")


def workers_started(s):
    row = [r for r in s.culver("status", json=True) if r["process"] == "spawner"][0]
    return int(dict(f.split("=") for f in row["figures"])["workers_started"])


def counted(s):
    """Sleeping sessions count for the limit of one address."""
    clients = [Client(s, "cat") for _ in range(4)]
    asleep(s, 4, "cat")
    try:
        Client(s, "cat")
        fail("a fifth session")
    except AssertionError as e:
        same("mail_max_userip_connections" in str(e), True, str(e))
    for c in clients:
        c.cmd("NOOP")
        c.sock.close()
    asleep(s, 0, "cat")


def crashes(s):
    """A front takes its connections with it; when the spawner dies, all are told goodbye; what is restarted serves."""
    clients = [Client(s, "dora", tls=i % 2 == 1) for i in range(4)]
    for c in clients:
        c.cmd("SELECT INBOX")
        c.idle()
    asleep(s, 4, "dora")
    s.reload()
    time.sleep(0.5)
    same(s.deliver("dora", mail("after the reload"))[0], 250)
    for c in clients:
        same(c.line()[-6:], "EXISTS")
        same(c.line()[-6:], "RECENT")
    asleep(s, 4, "dora")
    for pid in workers(s, "dora"):
        os.kill(pid, signal.SIGKILL)
    fronts = role(s, "front")
    os.kill(fronts[0], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while [p for p in role(s, "front") if p == fronts[0]]:
        time.sleep(0.02)
    gone = [c for c in clients if select.select([c.sock], [], [], 0.3)[0]]
    same(all(c.ended() == [] for c in gone), True, "connections of the front that died")
    asleep(s, 4 - len(gone), "dora")
    left = [c for c in clients if c not in gone]
    for c in left:
        c.done()
        c.idle()
    asleep(s, len(left), "dora")
    os.kill(role(s, "spawner")[0], signal.SIGKILL)
    for c in left:
        same(c.ended(), ["* BYE [UNAVAILABLE] Server is shutting down"])
    while True:
        try:
            c = Client(s, "dora")
            break
        except (AssertionError, EOFError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    c.cmd("SELECT INBOX")
    c.idle()
    asleep(s, 1, "dora")
    return c


def ends_at_once(s):
    """Over TLS a client speaks and ends its sending side before front has heard that the session sleeps: it is answered, and never hears its own words."""
    spawner = role(s, "spawner")[0]
    for _ in range(3):
        c = Client(s, tls=True)
        os.kill(spawner, signal.SIGSTOP)
        try:
            time.sleep(0.3)  # the worker says that it sleeps, and nobody hears it
            c.send("x NOOP\r\ny LOGOUT\r\n")
            end_sending(c.sock)
            time.sleep(0.1)
        finally:
            os.kill(spawner, signal.SIGCONT)
        same(c.reply("x"), ["x OK NOOP completed"])
        same(len(c.reply("y")), 2, "BYE and OK")


def crowded():
    """No more workers than there may be: a session that wakes waits for the end of another's."""
    with culver.Server(SETTINGS + "default_process_limit = 1\n") as s:
        ann = Client(s)
        asleep(s, 1)
        bob = Client(s, "bob")
        bob.send("x NO")
        time.sleep(0.2)
        ann.send("a NOOP\r\n")
        ann.silent(0.3)
        bob.send("OP\r\n")
        same(bob.reply("x"), ["x OK NOOP completed"])
        same(ann.reply("a"), ["a OK NOOP completed"])
        healthy(s)


with culver.Server(SETTINGS) as s:
    for _ in range(3):
        same(s.deliver("ann", mail("old"))[0], 250)
    try:
        for tls in (False, True):
            new_mail(s, tls)
            unselected(s, tls)
            ends(s, tls)
            compressed(s, tls)
        ends_at_once(s)
    except BaseException:
        print(s.output())
        raise
    healthy(s)
crowded()
with culver.Server(SETTINGS.replace("interval = 2m", "interval = 1s").replace("= 20", "= 4")) as s:
    kept_alive(s)
    counted(s)
    healthy(s)
with culver.Server(SETTINGS) as s:
    last = crashes(s)
    s.stop()
    same(last.ended(), ["* BYE [UNAVAILABLE] Server is shutting down"])
