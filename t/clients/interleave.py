#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Several sessions on the same mailboxes at once, beside a model of what is in them; every untagged response is compared.

usage: interleave.py [--seconds N] [--seed N] [--clients N] [--messages N] [--storage sdbox|maildir] [--race SHARE] [--sleep SHARE] [--memory]

Two kinds of rounds alternate. In an exact round one command is in flight at a time, in sessions that are behind by any amount: the outcome is known
to the last number, and is compared after each command. In a race several sessions have several commands each under way, so that only what can never
be is refused at once; then all is settled, and every session must know exactly what a fresh one sees. With --sleep, sessions sleep as soon as all of them wait, in IDLE and outside of it,
and so often before a command all have the time for it; nothing that is told may differ by that. Without it both ways are tried. --messages fills the first mailbox beforehand; --memory measures the worker at the same quiet points and fails when it grows. Prints its seed; the same seed gives the same commands."""
import argparse
import bisect
import os
import random
import re
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy  # noqa: E402

USER = "inter"
BOXES = ["INBOX", "one", "two/three"]
SYSTEM = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"]
KEYWORDS = ["$Forwarded", "$Junk", "k1", "k2"]
# RFC 3501 section 7.4.1: "An EXPUNGE response MUST NOT be sent when no command is in progress, nor while responding to a FETCH, STORE, or SEARCH
# command." RFC 5256 says the same of SORT and THREAD.
KEEPS_NUMBERS = {"FETCH", "STORE", "SEARCH", "SORT", "THREAD"}
rnd = random.Random()


class Bad(Exception):
    pass


def check(ok, *what):
    if not ok:
        raise Bad(" ".join(str(w) for w in what))


def numbers(text):
    out = []
    for part in text.split(","):
        a, _, b = part.partition(":")
        a, b = int(a), int(b or a)
        check(a <= b, "a range that falls:", text)
        out.extend(range(a, b + 1))
    return out


def compressed(values):
    out, values = [], sorted(set(values))
    i = 0
    while i < len(values):
        j = i
        while j + 1 < len(values) and values[j + 1] == values[j] + 1:
            j += 1
        out.append(str(values[i]) if i == j else f"{values[i]}:{values[j]}")
        i = j + 1
    return ",".join(out)


# ---- The model ---------------------------------------------------------------------------------------------

class Message:
    __slots__ = ("serial", "flags", "version", "modseq", "told_version", "owner")

    def __init__(self, serial, flags):
        self.serial, self.flags = serial, frozenset(flags)
        self.version = 1      # of the flags
        self.modseq = 0       # the last one that anybody was told, and the version it belongs to (None: not known)
        self.told_version = None
        self.owner = None     # the selection that has it as \Recent

    def set(self, flags):
        flags = frozenset(flags)
        if flags != self.flags:
            self.flags = flags
            self.version += 1


class Box:
    def __init__(self, name):
        self.name = name
        self.live = {}        # UID: Message, UIDs ascending
        self.serials = {}     # UID: serial, of all that were ever seen
        self.uidvalidity = None
        self.uidnext = 1
        self.highest = 0      # modseq that somebody was told

    def add(self, uid, serial, flags):
        check(uid >= self.uidnext, "UID", uid, "was given out again in", self.name, "UIDNEXT was", self.uidnext)
        self.live[uid] = Message(serial, flags)
        self.serials[uid] = serial
        self.uidnext = uid + 1


class World:
    def __init__(self):
        self.boxes = {n: Box(n) for n in BOXES}
        self.serial = 0
        self.exact = True     # one command is in flight at a time
        self.sleep = 0        # share of commands before which sessions fall asleep
        self.commands = 0
        self.counts = {}

    def message(self):
        self.serial += 1
        body = "".join(f"line {rnd.getrandbits(30):x}\r\n" for _ in range(rnd.randrange(4)))
        return self.serial, (f"From: s{self.serial}@example.org\r\nSubject: m{self.serial}\r\n\r\n" + body).encode()


# ---- A session ---------------------------------------------------------------------------------------------

class Row:
    """What the client knows of one message of the selected mailbox."""
    __slots__ = ("uid", "flags", "modseq", "version")

    def __init__(self, uid=None):
        self.uid, self.flags, self.modseq, self.version = uid, None, None, None


class Command:
    def __init__(self, tag, verb, by_uid, text, after):
        self.tag, self.verb, self.by_uid, self.text, self.after = tag, verb, by_uid, text, after
        self.data, self.touched, self.numbered = [], {}, {}


class Session:
    count = 0

    def __init__(self, world, port, plain=False):
        Session.count += 1
        self.world = world
        self.name = f"s{Session.count}"
        self.sock = socket.create_connection(("127.0.0.1", port), 60)
        self.buf, self.tags, self.log, self.pending = b"", 0, [], []
        self.box, self.rows, self.readonly, self.key = None, [], False, 0
        self.last = 0            # UIDs up to this one were there to be told at the last synchronisation (exact rounds)
        self.idle = None
        self.known = set()
        self.cache = {}          # mailbox: (UIDVALIDITY, modseq, {uid: flags}) as a client keeps it
        self.earlier, self.selecting = [], None
        self.condstore = self.qresync = self.uidonly = self.rev2 = False
        # NOTIFY (RFC 5465): None as long as the command was not used, "none", "now" or "delayed"
        self.notify, self.notify_flags, self.notify_fetch = None, True, False
        self.watch, self.watch_flags, self.told_of = False, False, {}
        self.own = set()         # UIDs that this session put into the selected mailbox
        self.blind = False       # flags were kept from the client since this mailbox was selected
        self.current = None
        self.learning = False    # what is new is asked for, in its order
        check(self.line().startswith(b"* OK"), "greeting")
        self.run("LOGIN", f"{USER} {culver.PASSWORD}")
        if not plain:
            wanted = [w for w in ("CONDSTORE", "QRESYNC", "IMAP4rev2") if rnd.random() < 0.35] + (["UIDONLY"] if rnd.random() < 0.2 else [])
            if wanted:
                self.run("ENABLE", " ".join(wanted))
            self.qresync = "QRESYNC" in wanted
            self.condstore = self.qresync or "CONDSTORE" in wanted
            self.uidonly, self.rev2 = "UIDONLY" in wanted, "IMAP4rev2" in wanted

    def __str__(self):
        what = [w for w in ("condstore", "qresync", "uidonly", "rev2", "readonly", "blind", "watch") if getattr(self, w)]
        what += ["notify " + self.notify] if self.notify else []
        return f"{self.name} ({' '.join(what)}; {self.box.name if self.box else 'nothing'} selected)"

    # -- octets

    def more(self):
        got = self.sock.recv(262144)
        check(got, self, "connection closed; got", self.buf)
        self.buf += got

    def line(self):
        out = b""
        while True:
            at = self.buf.find(b"\n")
            while at < 0:
                self.more()
                at = self.buf.find(b"\n")
            line, self.buf = self.buf[:at], self.buf[at + 1:]
            check(line.endswith(b"\r"), "bare LF:", line)
            out += line[:-1]
            m = re.search(rb"\{(\d+)\}$", line[:-1])
            if not m:
                self.log.append("S: " + repr(out[:200]))
                if len(self.log) > 400:
                    del self.log[:200]
                return out
            n = int(m.group(1))
            while len(self.buf) < n:
                self.more()
            out += b"\r\n" + self.buf[:n]
            self.buf = self.buf[n:]

    # -- commands

    def send(self, verb, args="", after=None, by_uid=False):
        self.tags += 1
        self.world.commands += 1
        self.world.counts[verb] = self.world.counts.get(verb, 0) + 1
        tag = f"{self.name}.{self.tags}"
        args = args if isinstance(args, bytes) else args.encode()
        text = (b"UID " if by_uid else b"") + verb.encode() + (b" " + args if args else b"")
        self.log.append(f"C: {tag} {text[:200]!r}")
        self.pending.append(Command(tag, verb, by_uid, text, after))
        self.sock.sendall(tag.encode() + b" " + text + b"\r\n")

    def run(self, verb, args="", after=None, by_uid=False):
        self.send(verb, args, after, by_uid)
        return self.finish()

    def finish(self):
        """Read the replies to all that was sent; the last command with what came for it."""
        command = None
        while self.pending:
            command = self.current = self.pending[0]
            while True:
                line = self.line()
                if line.startswith(b"* "):
                    self.untagged(line)
                elif not line.startswith(b"+ "):
                    break
            check(line.startswith(command.tag.encode() + b" "), self, "waited for", command.tag, "and got", line)
            self.pending.pop(0)
            command.status = line.split(b" ")[1].decode()
            command.reply = line
            check(command.status in ("OK", "NO"), self, command.text, "->", line)
            self.codes(line)
            if command.after:
                command.after(self, command)
            self.current = None
        return command

    # -- responses

    def untagged(self, line):
        if self.current:
            self.current.data.append(line)
        m = re.match(rb"\* (\d+) (EXISTS|RECENT|EXPUNGE|FETCH|UIDFETCH)\b", line)
        if m:
            n, kind = int(m.group(1)), m.group(2)
            if kind == b"EXISTS":
                return self.exists(n)
            if kind == b"RECENT":
                check(not self.rev2, self, "RECENT in IMAP4rev2")
                self.recent = n
                return None
            if kind == b"EXPUNGE":
                check(not self.qresync and not self.uidonly, self, "EXPUNGE where VANISHED is due")
                check(1 <= n <= len(self.rows), self, "EXPUNGE", n, "of", len(self.rows))
                return self.gone(n - 1)
            return self.fetched(n, kind == b"UIDFETCH", line)
        m = re.match(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)$", line)
        if m:
            return self.vanished(numbers(m.group(2).decode()), m.group(1) is not None)
        m = re.match(rb"\* STATUS (\S+) \((.*)\)$", line)
        if m and (not self.current or self.current.verb != "STATUS"):
            check(self.watch, self, "STATUS without being asked:", line)
            words = m.group(2).decode().split()
            self.told_of.setdefault(m.group(1).decode(), {}).update(zip(words[::2], map(int, words[1::2])))
            return None
        m = re.match(rb"\* FLAGS \((.*)\)$", line)
        if m:
            self.known = set(m.group(1).decode().split())
            return None
        if line.startswith(b"* OK [CLOSED]"):
            return self.closed()
        check(not line.startswith(b"* BYE") or (self.current and self.current.verb == "LOGOUT"), self, "was thrown out:", line)
        return self.codes(line)

    def codes(self, line):
        m = re.match(rb"\S+ OK \[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]", line)
        if m:
            setattr(self, m.group(1).decode().lower(), int(m.group(2)))

    def exists(self, n):
        if self.selecting is not None:
            self.rows = [Row() for _ in range(n)]
            return
        check(self.box, self, "EXISTS without mailbox")
        # RFC 3501 section 7.3.1 with 7.4.1: it never falls by itself.
        check(n >= len(self.rows), self, "EXISTS", n, "after", len(self.rows))
        self.rows.extend(Row() for _ in range(n - len(self.rows)))

    def gone(self, at):
        if self.notify == "now": # RFC 5465 section 5.3: "the meaning of an MSN can change at any time"
            row = self.rows.pop(at)
            if self.current:
                self.current.data.append(("gone", row.uid))
            return
        verb = self.current.verb if self.current else None
        check(verb, self, "EXPUNGE or VANISHED while no command is in progress")
        check(verb not in KEEPS_NUMBERS or self.current.by_uid, self, "EXPUNGE or VANISHED during", self.current.text)
        row = self.rows.pop(at)
        if self.world.exact and row.uid is not None:
            self.current.data.append(("gone", row.uid))

    def known_rows(self):
        """Rows with a UID come before those without."""
        low, high = 0, len(self.rows)
        while low < high:
            mid = (low + high) // 2
            if self.rows[mid].uid is None:
                high = mid
            else:
                low = mid + 1
        return low

    def find(self, uid):
        """Index of the row with that UID; len(rows) when there is none."""
        n = self.known_rows()
        at = bisect.bisect_left(self.rows, uid, 0, n, key=lambda r: r.uid)
        return at if at < n and self.rows[at].uid == uid else len(self.rows)

    def vanished(self, uids, earlier):
        check(self.qresync or self.uidonly, self, "VANISHED without QRESYNC or UIDONLY")
        if earlier:
            # RFC 7162 section 3.2.10.1: only in answers to SELECT, EXAMINE and UID FETCH.
            check(self.current and self.current.verb in ("SELECT", "EXAMINE", "FETCH"), self, "VANISHED (EARLIER) during", self.current and self.current.verb)
            check(not any(type(x) is bytes and b" FETCH (" in x for x in self.current.data[:-1]), self, "VANISHED (EARLIER) behind FETCH")
            self.earlier.extend(uids)
            return
        for uid in uids:
            at = self.find(uid)
            if at == len(self.rows): # of a message whose UID was not told yet
                at = self.known_rows()
                check(at < len(self.rows), self, "VANISHED", uid, "is not there")
                check(at == 0 or self.rows[at - 1].uid < uid, self, "VANISHED", uid, "was gone already")
                for row in self.rows[at:]: # it can be any of them
                    row.flags = row.modseq = None
            self.gone(at)

    def fetched(self, n, uidfetch, line):
        check(uidfetch == self.uidonly, self, "wrong kind of FETCH response:", line)
        head = re.sub(rb"\{(\d+)\}\r\n.*", b"", line, flags=re.S)
        m = re.search(rb"\bUID (\d+)", head)
        uid = n if uidfetch else int(m.group(1)) if m else None
        if uidfetch:
            at = self.find(n)
            if at == len(self.rows):
                at = self.known_rows()
                check(at < len(self.rows), self, "UIDFETCH of", n, "that is not there")
                if self.selecting is not None:
                    self.told[n] = line
                if not self.learning: # which of the new ones it is will be known when all are asked for
                    return
        else:
            check(1 <= n <= len(self.rows), self, "FETCH", n, "of", len(self.rows), line)
            at = n - 1
        row = self.rows[at]
        if uid is not None:
            check(row.uid in (None, uid), self, "message", n, "was UID", row.uid, "and is", uid)
            if row.uid is None and (at == 0 or self.rows[at - 1].uid is not None):
                row.uid = uid
            if at > 0 and self.rows[at - 1].uid is not None:
                check(self.rows[at - 1].uid < uid, self, "UIDs do not ascend at", n)
        elif not uidfetch and (self.condstore or self.rev2):
            check(self.current and self.current.verb == "FETCH" and not self.current.by_uid, self, "FETCH response without UID:", line)
        m = re.search(rb"\bFLAGS \(([^)]*)\)", head)
        if m:
            flags = set(m.group(1).decode().split())
            check(flags - {"\\Recent"} <= self.known, self, "flags", flags, "not in", self.known)
            row.flags = frozenset(flags - {"\\Recent"})
            if "\\Recent" in flags:
                check(not self.rev2, self, "\\Recent in IMAP4rev2")
                self.claim(uid if uid is not None else row.uid)
        m = re.search(rb"\bMODSEQ \((\d+)\)", head)
        if m:
            modseq = int(m.group(1))
            check(row.modseq is None or modseq >= row.modseq, self, "MODSEQ of", uid, "went from", row.modseq, "to", modseq)
            row.modseq, row.version = modseq, None
            if self.current:
                self.current.numbered[id(row)] = row
            if self.box:
                self.highestmodseq = max(self.highestmodseq, modseq)
        m = re.search(rb"Subject: m(\d+)", line)
        if m and row.uid is not None:
            serial = self.box.serials.setdefault(row.uid, int(m.group(1)))
            check(serial == int(m.group(1)), self, "UID", row.uid, "was message", serial, "and is", m.group(1))
        if self.current:
            self.current.touched[id(row)] = row

    def claim(self, uid):
        # RFC 3501 section 2.3.2: "\Recent … this session is the first session to have been notified about this message".
        if uid is None or self.readonly or not self.box or uid not in self.box.live:
            return
        message = self.box.live[uid]
        if message.owner is None:
            message.owner = self.key
        check(message.owner == self.key, self, "UID", uid, "is recent for", message.owner, "and", self.key)


# ---- Comparing with the model ------------------------------------------------------------------------------

def expected_after(s, renumber):
    """UIDs of the view after a command that tells of all it may."""
    live = s.box.live
    old = [r.uid for r in s.rows] if not renumber else None
    if renumber:
        return list(live)
    # What is gone keeps its number; what is new is at the end.
    last = s.last
    return [u for u in old if u is not None and u <= last] + [u for u in live if u > last]


def compare(s, renumber=True, thorough=True):
    """The view of s against the model, in an exact round."""
    if s.notify == "none":
        return
    box, live = s.box, s.box.live
    wanted = expected_after(s, renumber)
    got = [r.uid for r in s.rows]
    check(len(got) == len(wanted), s, "has", len(got), "messages, wanted", len(wanted), "got", compressed(u for u in got if u), "wanted", compressed(wanted))
    for i, (row, uid) in enumerate(zip(s.rows, wanted)):
        check(row.uid in (None, uid), s, "message", i + 1, "is UID", row.uid, "wanted", uid)
        row.uid = uid
    s.last = box.uidnext - 1
    for row in () if s.blind else s.rows if thorough else rnd.sample(s.rows, min(200, len(s.rows))):
        if row.flags is not None and row.uid in live:
            check(row.flags == live[row.uid].flags, s, "flags of", row.uid, "are", sorted(live[row.uid].flags), "and were told as", sorted(row.flags))


def figures(box):
    return dict(MESSAGES=len(box.live), UIDNEXT=box.uidnext, UNSEEN=sum("\\Seen" not in m.flags for m in box.live.values()))


def frozen(s, command):
    """RFC 5465 section 3.1: no news of the selected mailbox; but an answer of EXPUNGE responses brings it up to date."""
    news = [x for x in command.data if type(x) is tuple or re.match(rb"\* \d+ EXISTS|\* VANISHED", x)]
    if not news or command.verb == "NOTIFY":
        return
    check(command.verb in ("EXPUNGE", "MOVE"), s, "was told news after NOTIFY NONE:", news)
    live = list(s.box.live)
    check([r.uid for r in s.rows if r.uid] == live[:s.known_rows()] and len(s.rows) == len(live), s, "has other messages after", command.text)
    for row, uid in zip(s.rows, live):
        row.uid = uid
    s.last = s.box.uidnext - 1


def drain(s):
    """RFC 5465: what changed is told between commands. Waits until a session with NOTIFY knows all that it must."""
    if not s.notify or s.idle or not s.world.exact:
        return
    s.current = None
    end = time.monotonic() + 20
    while not knows_all(s):
        check(time.monotonic() < end, s, "was not notified; was told", s.told_of, "wanted", {n: figures(b) for n, b in s.world.boxes.items()})
        if b"\n" in s.buf or select.select([s.sock], [], [], 1)[0]:
            s.untagged(s.line())
    if s.box and s.notify != "none":
        compare(s, s.notify == "now")


def knows_all(s):
    items = ["MESSAGES", "UIDNEXT"] + (["UNSEEN"] if s.watch_flags else [])
    for name, box in s.world.boxes.items() if s.watch else ():
        if box is not s.box and s.watch:
            wanted = figures(box)
            if any(s.told_of.get(name, {}).get(i) != wanted[i] for i in items):
                return False
    if s.box is None or s.notify == "none":
        return True
    live, wanted = s.box.live, expected_after(s, s.notify == "now")
    if len(s.rows) != len(wanted) or any(r.uid not in (None, u) for r, u in zip(s.rows, wanted)):
        return False
    if s.notify_flags and not s.blind and any(r.flags is not None and r.uid in live and r.flags != live[r.uid].flags for r in s.rows):
        return False
    if s.notify_fetch and not s.uidonly: # the flags of new messages come with them
        return all(r.flags is not None for r, u in zip(s.rows, wanted) if u > s.last and u not in s.own and u in live)
    return True


def modseqs(s, command):
    """MODSEQ as it was told: the same for the same flags, higher after each change."""
    if command.verb == "IDLE" and s.blind: # it was right then; that it changed since was not to be told
        return
    for row in command.numbered.values():
        if row.modseq is None or row.version is not None or row.uid not in s.box.live:
            continue
        message = s.box.live[row.uid]
        if s.blind and s.uidonly and row.modseq < message.modseq: # a new message as it was when it was told: without numbers drain does not wait for that
            continue
        if message.told_version == message.version:
            check(row.modseq == message.modseq, s, "MODSEQ of", row.uid, "was", message.modseq, "and is", row.modseq, "without a change")
        elif message.told_version is not None:
            check(row.modseq > message.modseq, s, "MODSEQ of", row.uid, "stayed", message.modseq, "at a change")
        message.modseq, message.told_version = row.modseq, message.version
        row.version = message.version
        s.box.highest = max(s.box.highest, row.modseq)


def after_command(effect=None, renumber=None, sync=True):
    """What every command has in common. effect: what it does to the model."""
    def done(s, command):
        if s.world.exact:
            if effect:
                effect(s, command)
            s.told_of.update((n, figures(b)) for n, b in s.world.boxes.items()) # what it did itself
            if s.box and s.notify == "none":
                frozen(s, command)
            if s.box:
                modseqs(s, command)
                if sync:
                    keeps = command.verb in KEEPS_NUMBERS and not command.by_uid
                    compare(s, not keeps if renumber is None else renumber, len(s.rows) < 500 or rnd.random() < 0.05)
    return done


# ---- What sessions do --------------------------------------------------------------------------------------

def size_of_pick(n):
    return min(n, rnd.choice([1, 1, 1, 2, 3, 5, 8]))


def pick(s, seq_allowed=True):
    """Some messages of the view: (rows, set, by_uid). None when there are none."""
    n = s.known_rows()
    by_uid = s.uidonly or s.notify == "now" or not seq_allowed or rnd.random() < 0.5
    if (n if by_uid else len(s.rows)) == 0:
        return None
    if rnd.random() < 0.4:
        first = rnd.randrange(n if by_uid else len(s.rows))
        places = list(range(first, min(first + size_of_pick(100), n if by_uid else len(s.rows))))
    else:
        places = sorted(rnd.sample(range(n if by_uid else len(s.rows)), size_of_pick(n if by_uid else len(s.rows))))
    rows = [s.rows[i] for i in places]
    values = [r.uid for r in rows] if by_uid else [i + 1 for i in places]
    text = compressed(values)
    if by_uid and rnd.random() < 0.2 and s.world.exact: # a UID that is not there is no error
        text += f",{s.box.uidnext + 1000}"
    elif places[-1] == len(s.rows) - 1 and s.world.exact and not s.notify and rnd.random() < 0.2 and len(values) == 1:
        text = "*"
    return rows, text, by_uid


def some_flags(n=3):
    return rnd.sample(SYSTEM + KEYWORDS, rnd.randrange(1, n + 1))


def do_store(s, seq_allowed=True):
    picked = pick(s, seq_allowed)
    if not picked:
        return do_noop(s)
    rows, text, by_uid = picked
    op, silent, flags = rnd.choice(["", "+", "+", "-"]), rnd.random() < 0.4, set(some_flags())
    if rnd.random() < 0.3:
        flags.add("\\Deleted")
    modifier, versions = "", {}
    if s.world.exact and not s.readonly and rnd.random() < 0.25 and all(r.version is not None for r in rows):
        # RFC 7162 section 3.1.3: conditional on what this client knows.
        since = max(r.modseq for r in rows)
        versions = {r.uid: since for r in rows}
        modifier = f"(UNCHANGEDSINCE {since}) "
        s.condstore = True

    def apply(s, command):
        live = s.box.live
        if s.readonly:
            check(command.status == "NO", s, "STORE in a read-only mailbox")
            return
        failed = set()
        m = re.search(rb"\[MODIFIED ([\d:,]+)\]", command.reply)
        if m:
            failed = set(numbers(m.group(1).decode()))
            if not by_uid:
                failed = {s.rows[i - 1].uid for i in failed}
        there = [r for r in rows if r.uid in live]
        for row in there:
            message = live[row.uid]
            if versions:
                # Those whose modseq is known exactly: must it fail?
                if message.told_version == message.version:
                    check((row.uid in failed) == (message.modseq > versions[row.uid]), s, "UNCHANGEDSINCE", versions[row.uid], "of", row.uid, "with", message.modseq, ":", command.reply)
                elif row.version is not None and row.version < message.version:
                    check(row.uid in failed or row.modseq < versions[row.uid], s, "UNCHANGEDSINCE did not see a change of", row.uid)
            if row.uid in failed:
                continue
            message.set(changed(message.flags))
        check(failed <= {r.uid for r in there}, s, "MODIFIED names", failed)
        if len(there) < len(rows) and not by_uid and not silent:
            check(command.status == "NO", s, "STORE of what is gone:", command.reply)
        touched = {id(r) for r in command.touched.values()}
        for row in there:
            if not silent or (s.condstore and row.uid not in failed):
                check(id(row) in touched, s, "no FETCH for", row.uid, "of", command.text)
            if silent and row.flags is not None and row.uid not in failed:
                row.flags = changed(row.flags) # what was told after it has it already

    def changed(old):
        return frozenset(flags if op == "" else old | flags if op == "+" else old - flags)

    def racing(s, command):
        if not s.world.exact:
            # RFC 3501 section 6.4.6: with .SILENT the server assumes that the client knows the new value.
            for row in rows if silent else ():
                row.flags = None
        done(s, command)

    done = after_command(apply)
    return "STORE", f"{text} {modifier}{op}FLAGS{'.SILENT' if silent else ''} ({' '.join(sorted(flags))})", racing, by_uid


def do_noop(s, seq_allowed=True):
    return rnd.choice(["NOOP", "NOOP", "CHECK"]) if s.box else "NOOP", "", after_command(), False


def do_expunge(s, seq_allowed=True):
    by_uid = rnd.random() < 0.5
    text, wanted = "", None
    if by_uid:
        known = [r.uid for r in s.rows if r.uid is not None]
        if not known:
            return do_noop(s)
        at = rnd.randrange(len(known))
        wanted = set(known[at:at + rnd.choice([1, 5, 100])])
        text = compressed(wanted)

    seen = {r.uid for r in s.rows}

    def apply(s, command):
        if s.readonly:
            check(command.status == "NO", s, "EXPUNGE in a read-only mailbox")
            return
        for uid in [u for u, m in s.box.live.items() if "\\Deleted" in m.flags and u in seen and (wanted is None or u in wanted)]:
            del s.box.live[uid]

    return "EXPUNGE", text, after_command(apply), by_uid


def do_copy(s, seq_allowed=True):
    picked = pick(s, seq_allowed)
    if not picked:
        return do_noop(s)
    rows, text, by_uid = picked
    move, target = rnd.random() < 0.5, rnd.choice(BOXES)

    def apply(s, command):
        live, to = s.box.live, s.world.boxes[target]
        if move and s.readonly:
            check(command.status == "NO", s, "MOVE out of a read-only mailbox")
            return
        there = [r.uid for r in rows if r.uid in live]
        if len(there) < len(rows) and not by_uid and not move:
            # RFC 3501 section 6.4.7: all or nothing.
            check(command.status == "NO" and b"COPYUID" not in command.reply, s, "COPY of what is gone:", command.reply)
            return
        m = re.search(rb"\[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]", b" ".join(x for x in command.data if type(x) is bytes) + command.reply)
        if not there:
            check(m is None, s, "COPYUID for nothing")
            return
        check(m, s, "no COPYUID for", command.text, command.reply)
        check(to.uidvalidity in (None, int(m.group(1))), "UIDVALIDITY of", to.name)
        old, new = numbers(m.group(2).decode()), numbers(m.group(3).decode())
        check(old == sorted(there) and len(new) == len(old), s, "COPYUID", m.group(0), "for", there)
        if to is s.box:
            s.own |= set(new)
        for o, n in zip(old, new):
            to.add(n, live[o].serial, live[o].flags)
            if move:
                del live[o]

    return "MOVE" if move else "COPY", f"{text} {target}", after_command(apply), by_uid


def do_append(s, seq_allowed=True):
    target, messages = rnd.choice(BOXES), [s.world.message() for _ in range(rnd.choice([1, 1, 1, 2, 3]))]
    flags = some_flags() if rnd.random() < 0.5 else []
    text = target.encode()
    for _, content in messages:
        text += b" (" + " ".join(flags).encode() + b") {%d+}\r\n" % len(content) + content

    def apply(s, command):
        m = re.search(rb"\[APPENDUID (\d+) ([\d:,]+)\]", command.reply)
        check(command.status == "OK" and m, s, "APPEND:", command.reply)
        uids = numbers(m.group(2).decode())
        check(len(uids) == len(messages), s, "APPENDUID", uids, "for", len(messages))
        if s.world.boxes[target] is s.box:
            s.own |= set(uids)
        for uid, (serial, _) in zip(uids, messages):
            s.world.boxes[target].add(uid, serial, flags)

    return "APPEND", text, after_command(apply), False


def do_fetch(s, seq_allowed=True):
    picked = pick(s, seq_allowed)
    if not picked:
        return do_noop(s)
    rows, text, by_uid = picked
    items = rnd.sample(["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "ENVELOPE"], rnd.randrange(1, 5))
    sees = rnd.random() < 0.2
    if sees:
        items.append("BODY[]")
    if s.condstore and rnd.random() < 0.5:
        items.append("MODSEQ")

    def apply(s, command):
        touched = {id(r) for r in command.touched.values()}
        for row in rows:
            if row.uid in s.box.live:
                check(id(row) in touched, s, "no FETCH of", row.uid, "for", command.text)
                if sees and not s.readonly:
                    s.box.live[row.uid].set(s.box.live[row.uid].flags | {"\\Seen"})

    return "FETCH", f"{text} ({' '.join(items)})", after_command(apply), by_uid


def do_search(s, seq_allowed=True):
    by_uid = s.uidonly or s.notify == "now" or not seq_allowed or rnd.random() < 0.5
    flag = rnd.choice(["SEEN", "DELETED", "FLAGGED", "ANSWERED", "DRAFT"])
    keyword = rnd.choice(KEYWORDS)
    key, wanted = rnd.choice([
        (flag, lambda f: "\\" + flag.capitalize() in f),
        (f"NOT {flag}", lambda f: "\\" + flag.capitalize() not in f),
        (f"KEYWORD {keyword}", lambda f: keyword in f),
        (f"OR UNKEYWORD {keyword} {flag}", lambda f: keyword not in f or "\\" + flag.capitalize() in f)])
    options = rnd.choice(["", "RETURN () ", "RETURN (ALL COUNT MIN MAX) ", "RETURN (SAVE) "])

    def apply(s, command):
        check(command.status == "OK", s, command.text, command.reply)
        if "SAVE" in options:
            return
        plain = [x for x in command.data if type(x) is bytes and re.match(rb"\* SEARCH\b", x)]
        extended = [x for x in command.data if type(x) is bytes and re.match(rb"\* ESEARCH\b", x)]
        check((len(plain), len(extended)) == ((0, 1) if options or s.rev2 else (1, 0)), s, "SEARCH responses", plain, extended)
        if plain:
            got = [int(x) for x in re.sub(rb"\(MODSEQ.*", b"", plain[0]).split()[2:]]
        else:
            m = re.search(rb" ALL ([\d:,]+)", extended[0])
            got = numbers(m.group(1).decode()) if m else []
            count = re.search(rb" COUNT (\d+)", extended[0])
            check(count is None or int(count.group(1)) == len(got), s, "COUNT", extended)
        if not by_uid:
            check(all(1 <= n <= before_rows for n in got), s, "SEARCH found", got)
            uids = [before[n - 1] for n in got]
        else:
            uids = got
        live = s.box.live
        found = [u for u in uids if u in live]
        check(sorted(found) == [u for u in before if u in live and wanted(live[u].flags)], s, command.text, "found", compressed(found))
        check(set(uids) <= set(before), s, command.text, "found what is not there", uids)

    before = [r.uid for r in s.rows]
    before_rows = len(before)
    return "SEARCH", options + key, after_command(apply), by_uid


def do_status(s, seq_allowed=True):
    target = rnd.choice(BOXES)
    items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED"] + (["HIGHESTMODSEQ"] if s.condstore else [])

    def apply(s, command):
        box = s.world.boxes[target]
        line = [x for x in command.data if type(x) is bytes and x.startswith(b"* STATUS " + target.encode() + b" (MESSAGES")]
        words = re.search(rb"\((.*)\)$", line[-1]).group(1).decode().split()
        got = dict(zip(words[::2], map(int, words[1::2])))
        wanted = dict(MESSAGES=len(box.live), UIDNEXT=box.uidnext, UNSEEN=sum("\\Seen" not in m.flags for m in box.live.values()),
                      DELETED=sum("\\Deleted" in m.flags for m in box.live.values()))
        check({k: got[k] for k in wanted} == wanted, s, "STATUS of", target, "is", got, "wanted", wanted)
        check(got.get("HIGHESTMODSEQ", box.highest) >= box.highest, s, "HIGHESTMODSEQ went back:", got, box.highest)

    return "STATUS", f"{target} ({' '.join(items)})", after_command(apply), False


def remember(s):
    """The selected mailbox is going to be closed: what a client with a cache keeps."""
    if s.box and s.notify and s.world.exact:
        # What is told between commands may be under way, the HIGHESTMODSEQ that belongs to it too. Expunges stay delayed if they were.
        if s.rows and s.notify == "delayed" and not s.uidonly:
            s.run("FETCH", "1 (UID)", after_command())
        else:
            s.run("NOOP", "", after_command())
    if s.box and s.condstore and not s.blind and s.notify != "none" and len(s.rows) < 3000 and all(r.uid is not None for r in s.rows):
        s.cache[s.box.name] = (s.box.uidvalidity, s.highestmodseq, {r.uid: r.flags for r in s.rows})


def leave(s):
    s.box, s.rows, s.own = None, [], set()
    s.blind = s.notify is not None and not s.notify_flags


def do_close(s, seq_allowed=True):
    close, box, seen = rnd.random() < 0.5, s.box, {r.uid for r in s.rows}

    def apply(s, command):
        check(command.status == "OK", s, command.text, command.reply)
        if s.world.exact and close and not s.readonly:
            for uid in [u for u, m in box.live.items() if "\\Deleted" in m.flags and u in seen]:
                del box.live[uid]
        leave(s)
        s.told_of.update((n, figures(b)) for n, b in s.world.boxes.items())

    remember(s)
    return "CLOSE" if close else "UNSELECT", "", apply, False


def do_select(s, seq_allowed=True):
    name, readonly = rnd.choice(BOXES), rnd.random() < 0.2
    box, key = s.world.boxes[name], f"{s.name}/{s.tags}"
    remember(s)
    cached = s.cache.get(name) if s.qresync and rnd.random() < 0.8 else None

    def begin():
        leave(s)
        if s.current:
            s.current.data.clear()
        s.selecting, s.earlier, s.told = box, [], {}
        s.readonly, s.key, s.highestmodseq = readonly, key, 0

    # Up to the CLOSED response code it is about the mailbox before.
    s.closed = begin
    if s.box is None:
        begin()
    text = name
    if cached:
        known = f" {compressed(cached[2])}" if cached[2] and rnd.random() < 0.7 else ""
        text += f" (QRESYNC ({cached[0]} {max(cached[1], 1)}{known}))"
    elif rnd.random() < 0.1:
        text += " (CONDSTORE)"
        s.condstore = True

    def select(s, command):
        check(command.status == "OK", s, command.text, command.reply)
        s.selecting = None
        s.box = box
        check(box.uidvalidity in (None, s.uidvalidity), "UIDVALIDITY of", name, "changed")
        box.uidvalidity = s.uidvalidity
        check(s.highestmodseq >= box.highest, s, "HIGHESTMODSEQ", s.highestmodseq, "after", box.highest)
        s.told_of.update((n, figures(b)) for n, b in s.world.boxes.items())
        if s.world.exact and s.notify == "none": # as it is now, and then no more
            s.notify, s.last = None, 0
            compare(s)
            s.notify = "none"
        elif s.world.exact:
            check(s.uidnext == box.uidnext, s, "UIDNEXT", s.uidnext, "wanted", box.uidnext)
            s.last = 0
            compare(s)
            if cached:
                resynchronised(s, cached, bool(known))

    return "EXAMINE" if readonly else "SELECT", text, select, False


def resynchronised(s, cached, with_known):
    """RFC 7162 section 3.2.5: the cache, less what vanished, with the flags that were told, is the mailbox."""
    s.world.counts["resynchronised"] = s.world.counts.get("resynchronised", 0) + 1
    vanished, live = set(s.earlier), s.box.live
    check(not vanished & set(live), s, "VANISHED (EARLIER) of what is there:", sorted(vanished & set(live)))
    left = {u: f for u, f in cached[2].items() if u not in vanished}
    check(set(left) <= set(live), s, "was not told that", sorted(set(left) - set(live)), "vanished")
    for uid, line in list(s.told.items()): # UIDFETCH: now it is known where they are
        s.fetched(uid, True, line)
    for row in s.rows:
        if row.flags is None and row.uid in left:
            row.flags = left[row.uid]
        elif row.flags is None and not with_known:
            fail(f"{s}: new message {row.uid} was not told of after QRESYNC")
    compare(s)


def do_notify(s, seq_allowed=True, settle=False):
    """NOTIFY SET brings everything up to date, then other rules hold."""
    if rnd.random() < 0.15 and not settle:
        args, mode, flags, fetch, watch, watch_flags = "NONE", "none", False, False, False, False
    else:
        mode = "now" if settle else rnd.choice(["now", "delayed", "delayed", "none"])
        flags, fetch = settle or rnd.random() < 0.7, rnd.random() < 0.5
        watch, watch_flags = rnd.random() < 0.6, rnd.random() < 0.5
        new = "MessageNew (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])" if fetch else "MessageNew"
        groups = []
        if mode != "none":
            groups.append(f"({'SELECTED' if mode == 'now' else 'selected-delayed'} ({new} MessageExpunge{' FlagChange' if flags else ''}))")
        elif rnd.random() < 0.5:
            groups.append("(selected NONE)")
        if watch:
            which = rnd.choice(["personal", "inboxes", "(mailboxes", "(subtree"])
            which = {"(mailboxes": f"mailboxes ({' '.join(BOXES)})", "(subtree": "subtree (INBOX one two)"}.get(which, which)
            groups.append(f"({which} (MessageNew MessageExpunge{' FlagChange' if watch_flags else ''}))")
        if not groups:
            groups.append("(selected NONE)")
        args = f"SET {'STATUS ' if rnd.random() < 0.5 else ''}{' '.join(groups)}"
        flags, fetch = flags and mode != "none", fetch and mode != "none"

    # What comes until the command is done is told by the rules before, and, with STATUS, by the new ones.
    s.watch = s.watch or watch

    def apply(s, command):
        check(command.status == "OK", s, command.text, command.reply)
        if args != "NONE":
            s.blind = False # all that was kept back is told
            s.notify, s.notify_flags = None, True
            if s.world.exact and s.box:
                modseqs(s, command)
                compare(s)
        s.notify, s.notify_flags, s.notify_fetch = mode, flags, fetch
        s.watch, s.watch_flags = watch, watch and watch_flags
        s.told_of = {n: figures(b) for n, b in s.world.boxes.items()}
        if watch and "STATUS" in args and s.world.exact:
            told = {}
            for x in command.data:
                m = re.match(rb"\* STATUS (\S+) \((.*)\)$", x) if type(x) is bytes else None
                if m:
                    words = m.group(2).decode().split()
                    told[m.group(1).decode()] = dict(zip(words[::2], map(int, words[1::2])))
            for name, box in s.world.boxes.items():
                if box is not s.box:
                    check(name in told and told[name]["MESSAGES"] == len(box.live) and told[name]["UIDNEXT"] == box.uidnext, s,
                          "NOTIFY SET STATUS of", name, "told", told.get(name))
        s.blind = s.blind or not flags

    return "NOTIFY", args, apply, False


def select_at_once(s):
    verb, text, after, by_uid = do_select(s)
    s.run(verb, text, after, by_uid)


def begin_idle(s):
    s.send("IDLE", "", after_command())
    s.idle = s.current = s.pending[0]
    while True:
        line = s.line()
        if line.startswith(b"+ "):
            return
        check(line.startswith(b"* "), s, "IDLE:", line)
        s.untagged(line)


def end_idle(s):
    s.log.append("C: DONE")
    s.sock.sendall(b"DONE\r\n")
    s.idle = None
    s.finish()


def push(s):
    """RFC 2177: what changed is told without being asked for."""
    s.current = s.idle
    if s.box is None or s.notify == "none":
        return
    end = time.monotonic() + 20
    while True:
        live = s.box.live
        if len(s.rows) == len(live) and all(r.uid in (None, u) for r, u in zip(s.rows, live)) and \
                all(r.flags is None or r.uid is None or s.blind or r.flags == live[r.uid].flags for r in s.rows):
            return
        check(time.monotonic() < end, s, "was not told of changes during IDLE")
        if b"\n" not in s.buf and not select.select([s.sock], [], [], 1)[0]:
            continue
        s.untagged(s.line())


ACTIONS = [(do_notify, 1), (do_store, 9), (do_fetch, 5), (do_append, 3), (do_copy, 4), (do_expunge, 4), (do_noop, 4), (do_search, 3), (do_status, 1), (do_close, 1), (do_select, 2)]


def action(s):
    if s.box is None:
        return rnd.choice([do_select, do_select, do_select, do_append, do_status, do_noop] + ([] if s.world.sleep else [do_notify]))
    # A mailbox stays about as big as it was.
    weights = [w * (3 if f is do_append and len(s.box.live) < s.world.size else 1) for f, w in ACTIONS]
    if s.world.sleep:
        weights[0] = 0  # sessions with NOTIFY stay awake, and with them all others
    return rnd.choices([f for f, _ in ACTIONS], weights)[0]


def nap(world):
    if rnd.random() < world.sleep:
        time.sleep(0.04)


# ---- Rounds ------------------------------------------------------------------------------------------------

def exact_round(world, sessions, steps):
    world.exact = True
    for _ in range(steps):
        s = rnd.choice(sessions)
        nap(world)
        if s.idle:
            if s.box and rnd.random() < 0.5:
                push(s)
            if rnd.random() < 0.6:
                end_idle(s)
            continue
        if rnd.random() < 0.08:
            begin_idle(s)
            if s.box and s.world.exact and rnd.random() < 0.5:
                push(s)
            continue
        verb, text, after, by_uid = action(s)(s)
        s.run(verb, text, after, by_uid)
        for other in sessions: # what is told between commands depends on when it is told
            drain(other)


def race(world, sessions):
    """Several commands of several sessions at once."""
    world.exact = False
    busy = rnd.sample(sessions, rnd.randrange(2, len(sessions) + 1))
    for s in busy:
        nap(world)
        if s.idle:
            if rnd.random() < 0.5:
                s.sock.sendall(b"DONE\r\n")
                s.idle = None
            continue
        if rnd.random() < 0.05:
            begin_idle(s)
            continue
        verb, text, after, by_uid = action(s)(s)
        s.send(verb, text, after, by_uid)
        # RFC 3501 section 5.5: numbers may not be used behind a command that may renumber.
        for _ in range(rnd.choice([0, 0, 1, 2, 3]) if verb not in ("SELECT", "EXAMINE", "CLOSE", "UNSELECT") and s.box else 0):
            f = rnd.choice([do_store, do_fetch, do_append, do_copy, do_noop, do_search, do_expunge])
            verb, text, after, by_uid = f(s, False)
            s.send(verb, text, after, by_uid)
    for s in rnd.sample(busy, len(busy)):
        if not s.idle:
            s.finish()


def learn(s):
    """Ask for what the client does not know of the selected mailbox."""
    if s.box is None:
        return
    unknown = [i for i, r in enumerate(s.rows) if r.uid is None or r.flags is None]
    if not unknown:
        return
    s.learning = True
    if s.uidonly or all(s.rows[i].uid is not None for i in unknown):
        known = [s.rows[i].uid for i in unknown if s.rows[i].uid is not None]
        n = s.known_rows()
        text = compressed(known)
        if n < len(s.rows):
            text += ("," if text else "") + f"{(s.rows[n - 1].uid if n else 0) + 1}:*"
        s.run("FETCH", f"{text} (FLAGS)", None, True)
    else:
        s.run("FETCH", f"{compressed(i + 1 for i in unknown)} (UID FLAGS)")
    s.learning = False
    check(all(r.uid is not None and r.flags is not None for r in s.rows), s, "was not told all by FETCH")


def truth(world, observer):
    """What a fresh session sees becomes the model."""
    for name, box in world.boxes.items():
        observer.box, observer.selecting, observer.readonly, observer.rows = None, box, True, []
        observer.key, observer.highestmodseq = "observer", 0
        observer.run("EXAMINE", name)
        observer.selecting, observer.box = None, box
        known = box.live
        count = len(observer.rows)
        if count:
            items = "UID FLAGS MODSEQ" if count > 2000 else "UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)]"
            observer.run("FETCH", f"1:* ({items})")
            new = [r.uid for r in observer.rows if r.uid not in box.serials]
            if new:
                observer.run("FETCH", compressed(new) + " (BODY.PEEK[HEADER.FIELDS (SUBJECT)])", None, True)
        box.live = {}
        for row in observer.rows:
            check(row.uid in box.serials, "the message with UID", row.uid, "has no subject")
            message = known.get(row.uid) or Message(box.serials[row.uid], row.flags)
            if message.flags != row.flags:
                check(row.modseq > message.modseq, "MODSEQ of", row.uid, "in", name, "stayed", row.modseq)
            message.flags, message.modseq = row.flags, row.modseq
            message.version += 1
            message.told_version = message.version
            row.version = message.version
            box.live[row.uid] = message
        check(observer.uidnext >= box.uidnext and observer.uidnext > max(box.live, default=0), "UIDNEXT of", name)
        revived = [u for u in box.live if u < box.uidnext and u not in known]
        check(not revived, "messages came back in", name, revived)
        box.uidnext, box.uidvalidity = observer.uidnext, observer.uidvalidity
        check(observer.highestmodseq >= box.highest, "HIGHESTMODSEQ of", name, "went back")
        box.highest = observer.highestmodseq
        observer.run("UNSELECT")
        observer.box = None


def settle(world, sessions, port):
    """Everybody is told everything; then all must know the same."""
    world.exact = False
    for s in sessions:
        if s.idle:
            end_idle(s)
        s.finish()
    observer = Session(world, port, True)
    truth(world, observer)
    observer.run("LOGOUT")
    observer.sock.close()
    for s in sessions:
        if s.notify and (s.notify == "none" or s.blind):
            verb, text, after, by_uid = do_notify(s, settle=True)
            s.run(verb, text, after, by_uid)
        s.run("NOOP")
        learn(s)
        s.run("NOOP")
        learn(s)
        s.told_of = {n: figures(b) for n, b in world.boxes.items()}
        world.exact = True
        if s.box:
            s.last = 0
            compare(s)
            for row in s.rows:
                row.version = s.box.live[row.uid].version if row.modseq == s.box.live[row.uid].modseq else None
            recents(s)
        drain(s)
        world.exact = False
    world.exact = True


def recents(s):
    if s.rev2:
        return
    found = s.run("SEARCH", "RECENT", None, True).data
    n = [len(x.split()) - 2 for x in found if type(x) is bytes and x.startswith(b"* SEARCH")]
    check(n == [s.recent], s, "RECENT", s.recent, "and found", n)


def resident(server):
    """KiB that the user's worker has in memory."""
    total = 0
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                title = f.read()
            if b"worker" in title and USER.encode() in title and server.owns(int(pid)):
                with open(f"/proc/{pid}/status") as f:
                    total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
        except (OSError, AttributeError):
            continue
    return total


def owns(server):
    """Whether a process descends from that server."""
    def under(pid):
        while pid > 1:
            if pid == server.proc.pid:
                return True
            with open(f"/proc/{pid}/stat") as f:
                pid = int(f.read().rsplit(")", 1)[1].split()[1])
        return False
    return under


def fill(world, s, count):
    """Messages into the first mailbox, many in one command."""
    box = world.boxes[BOXES[0]]
    while count > 0:
        part = min(count, 250)
        messages = [world.message() for _ in range(part)]
        text = BOXES[0].encode() + b"".join(b" {%d+}\r\n" % len(c) + c for _, c in messages)
        command = s.run("APPEND", text)
        uids = numbers(re.search(rb"APPENDUID \d+ ([\d:,]+)", command.reply).group(1).decode())
        for uid, (serial, _) in zip(uids, messages):
            box.add(uid, serial, [])
        count -= part


def main(opts, storage):
    rnd.seed(opts.seed)
    Session.count = 0
    world, rounds, sizes = World(), 0, []
    world.size = max(8, min(opts.messages, 1 << 30) if opts.messages else rnd.choice([5, 20, 60]))
    world.sleep = opts.sleep
    settings = "mail_max_userip_connections = 200\nimap_capability = +UIDONLY\n"
    if opts.sleep:
        settings += "imap_hibernate_timeout = 1ms\nimap_hibernate_silent_timeout = 1ms\n"
    with culver.Server(storage=storage, settings=settings) as server:
        server.owns = owns(server)
        port = server.ports["imap"]
        sessions = []
        try:
            first = Session(world, port, True)
            for name in BOXES[1:]:
                first.run("CREATE", name)
            fill(world, first, opts.messages)
            first.run("LOGOUT")
            sessions = [Session(world, port) for _ in range(opts.clients)]
            start = time.monotonic()
            while time.monotonic() < start + opts.seconds or rounds < 3:
                rounds += 1
                if rnd.random() < opts.race:
                    for _ in range(rnd.randrange(1, 12)):
                        race(world, sessions)
                    settle(world, sessions, port)
                else:
                    exact_round(world, sessions, rnd.randrange(10, 120))
                    if rnd.random() < 0.3:
                        settle(world, sessions, port)
                if rnd.random() < 0.1: # one goes away without a word
                    at = rnd.randrange(len(sessions))
                    sessions[at].sock.close()
                    sessions[at] = Session(world, port)
                if opts.memory:
                    sizes.append((time.monotonic() - start, resident(server)))
            settle(world, sessions, port)
            for s in sessions:
                s.run("LOGOUT")
        except (Bad, AssertionError, OSError) as e:
            for s in sessions:
                print(f"-- {s}:\n   " + "\n   ".join(s.log[-30:]))
            print("\n".join(server.complaints()[-20:]))
            fail(f"{storage}, seed {opts.seed}, round {rounds}: {e}")
        healthy(server)
        figures_of = dict(f.split("=") for row in server.culver("status", json=True) if row["process"] == "spawner" for f in row["figures"])
        if opts.sleep and int(figures_of["workers_started"]) < rounds:
            fail(f"only {figures_of['workers_started']} workers in {rounds} rounds: sessions did not sleep")
        world.counts["workers"] = figures_of["workers_started"]
    if opts.memory:
        growth(sizes)
    return rounds, world


def growth(sizes):
    """The first third is for caches to fill; after it nothing may grow by more than a tenth."""
    third = sizes[-1][0] / 3
    parts = [[kib for at, kib in sizes if third * i <= at <= third * (i + 1)] for i in (1, 2)]
    middle, end = [sorted(p)[len(p) // 2] for p in parts]
    step = max(1, len(sizes) // 12)
    print("worker, MiB: " + " ".join(f"{kib / 1024:.0f}" for _, kib in sizes[::step]))
    print(f"median of the second third {middle} KiB, of the last {end} KiB")
    if end > middle * 1.1:
        fail("the worker's memory grows")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--storage")
    parser.add_argument("--race", type=float, default=0.4)
    parser.add_argument("--sleep", type=float, default=0)
    parser.add_argument("--memory", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    print(f"seed {options.seed}", flush=True)
    kinds = [options.storage] if options.storage else culver.storages()
    for kind, options.sleep in [(k, share) for k in kinds for share in ([options.sleep] if options.sleep or options.memory else [0, 0.3])]:
        n, w = main(options, kind)
        print(f"{kind}{', asleep in between' if options.sleep else ''}: {n} rounds, {w.commands} commands; " + " ".join(f"{k} {v}" for k, v in sorted(w.counts.items())), flush=True)
