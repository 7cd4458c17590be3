#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Several IMAP sessions of one user do random things to the same mailboxes; every response is checked against what a client must be able to rely on.

usage: stress.py [SECONDS [SEED]]

Each session keeps what it was told (numbers, UIDs, flags, keywords); a common record keeps what can never change (a message's octets, size, date,
structure) and, while nobody else is busy, what its flags must be. Prints its seed; the same seed gives the same commands."""
import datetime
import os
import random
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, same  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else float(os.environ.get("STRESS_SECONDS", "10"))
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
USER, SESSIONS = "stress", 5
BOXES = ["INBOX", "one", "two/three"]
SYSTEM = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"]
KEYWORDS = ["$Forwarded", "Junk", "NonJunk", "k1", "k2", "K3"]
rnd = random.Random(SEED)


class Bad(Exception):
    pass


def check(ok, *what):
    if not ok:
        raise Bad(" ".join(str(w) for w in what))


# ---- What is true of the mailboxes -----------------------------------------------------------------------

class Box:
    def __init__(self, name):
        self.name = name
        self.uidvalidity = None
        self.messages = {}    # UID: Message; what was expunged stays, to see that it never comes back
        self.live = set()     # UIDs that must be there; None while that is not known
        self.recent_of = {}   # UID: the session that has it as \Recent
        self.modseq = 0
        self.seen = set()     # UIDs that were there before their reply was read


class Message:
    def __init__(self, content):
        self.content = content
        self.fixed = {}       # what a FETCH said of it first
        self.flags = None     # None: several sessions were at it
        self.modseq = 0


boxes = {n: Box(n) for n in BOXES}
serial = resynchronisations = 0


def new_message():
    """Octets that no other message has; some are a tree of parts."""
    global serial
    serial += 1
    head = f"From: Someone <s{serial}@example.org>\r\nTo: you@example.org\r\nSubject: number {serial} {rnd.choice(['red', 'green', 'blue'])}\r\n"
    text = "".join(f"line {rnd.getrandbits(40):x}\r\n" for _ in range(rnd.randrange(0, 40)))
    if rnd.random() < 0.3:
        return (head + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\n" + text +
                "\r\n--bb\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\n" + text + "\r\n--bb--\r\n").encode()
    return (head + "\r\n" + text).encode()


# ---- One session -------------------------------------------------------------------------------------------

def parse(data):
    """Tokens of a response: atoms str, strings bytes, lists list."""
    pos = 0

    def tokens(closing):
        nonlocal pos
        out = []
        while pos < len(data):
            c = data[pos:pos + 1]
            if c == b" ":
                pos += 1
            elif c == b"(":
                pos += 1
                out.append(tokens(True))
            elif c == b")":
                check(closing, "unexpected ) in", data)
                pos += 1
                return out
            elif c == b'"':
                m = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"').match(data, pos)
                check(m, "broken string in", data)
                out.append(re.sub(rb"\\(.)", rb"\1", m.group(1)))
                pos = m.end()
            elif c == b"{":
                m = re.compile(rb"\{(\d+)\}\r\n").match(data, pos)
                pos = m.end() + int(m.group(1))
                out.append(data[m.end():pos])
            else:
                m = re.compile(rb"(?:[^ ()\[\]{\"]|\[[^\]]*\])+").match(data, pos)
                check(m, "broken token in", data)
                out.append(m.group(0).decode("ascii"))
                pos = m.end()
        check(not closing, "missing ) in", data)
        return out

    return tokens(False)


class Session:
    count = 0

    def __init__(self, server):
        Session.count += 1
        self.name = f"s{Session.count}"
        self.sock = socket.create_connection(("127.0.0.1", server.ports["imap"]), 30)
        self.buf, self.tags, self.log, self.pending = b"", 0, [], []
        self.box, self.messages, self.idle = None, [], False
        self.earlier = set()  # UIDs of VANISHED (EARLIER)
        self.cache = {}       # mailbox name: what a client would keep of it, for QRESYNC
        check(self.line().startswith(b"* OK"), "greeting")
        self.run(f"LOGIN {USER} {culver.PASSWORD}")
        self.can = self.run("CAPABILITY")[0][0][1].decode().split()[2:]
        self.qresync = "QRESYNC" in self.can and rnd.random() < 0.5
        if self.qresync:
            self.run("ENABLE QRESYNC")

    def line(self):
        out = b""
        while True:
            while b"\n" not in self.buf:
                got = self.sock.recv(65536)
                check(got, self.name, "connection closed; got", self.buf)
                self.buf += got
            line, self.buf = self.buf.split(b"\n", 1)
            check(line.endswith(b"\r"), "bare LF:", line)
            out += line[:-1]
            m = re.search(rb"\{(\d+)\}$", line[:-1])
            if not m:
                self.log.append("S: " + repr(out[:300]))
                return out
            while len(self.buf) < int(m.group(1)):
                got = self.sock.recv(65536)
                check(got, self.name, "connection closed in a literal")
                self.buf += got
            out += b"\r\n" + self.buf[:int(m.group(1))]
            self.buf = self.buf[int(m.group(1)):]

    # -- commands: send now, read the replies later

    def send(self, text, done=None):
        self.tags += 1
        tag = f"{self.name}.{self.tags}"
        data = text if isinstance(text, bytes) else text.encode()
        self.log.append("C: " + repr(data[:300]))
        del self.log[:-60]
        self.sock.sendall(tag.encode() + b" " + data + b"\r\n")
        self.pending.append((tag, data.split(None, 2), done))

    def run(self, text, done=None):
        self.send(text, done)
        return self.finish()

    def finish(self):
        """Replies to all that was sent; the last one's untagged responses and its tagged line."""
        untagged, line = [], b""
        while self.pending:
            tag, words, done = self.pending.pop(0)
            self.verb = b" ".join(words[:2] if words[0].upper() == b"UID" else words[:1]).upper().decode()
            untagged = []
            while True:
                line = self.line()
                if line.startswith(b"* "):
                    untagged.append(self.untagged(line))
                    continue
                if line.startswith(b"+ "):
                    continue
                check(line.startswith(tag.encode() + b" "), self.name, "waited for", tag, "and got", line)
                break
            status = line.split(b" ")[1].decode()
            check(status in ("OK", "NO"), self.name, words, "->", line)
            if self.verb in ("SELECT", "EXAMINE") and status == "OK":
                self.selected()
            if done:
                done(self, status, line, untagged)
        return untagged, line

    # -- responses

    def untagged(self, line):
        m = re.match(rb"\* (\d+) (EXISTS|RECENT|EXPUNGE)$", line)
        if m:
            self.counted(int(m.group(1)), m.group(2).decode())
            return (m.group(2).decode(), int(m.group(1)))
        m = re.match(rb"\* (\d+) FETCH (.*)$", line, re.S)
        if m:
            return ("FETCH", self.fetched(int(m.group(1)), parse(m.group(2))[0]))
        m = re.match(rb"\* FLAGS \((.*)\)$", line)
        if m:
            self.known = set(m.group(1).decode().split())
            return ("FLAGS", self.known)
        m = re.match(rb"\* OK \[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ|UNSEEN) (\d+)\]", line)
        if m:
            setattr(self, m.group(1).decode().lower(), int(m.group(2)))
        m = re.match(rb"\* OK \[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]", line)
        if m:
            if self.verb == "MOVE" and self.box.live is not None:
                self.box.live -= set(ranges(m.group(2)))
            return ("COPYUID", m.groups())
        m = re.match(rb"\* SEARCH((?: \d+)*)(?: \(MODSEQ \d+\))?$", line)
        if m:
            return ("SEARCH", [int(x) for x in m.group(1).split()])
        m = re.match(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)$", line)
        if m:
            self.vanished(ranges(m.group(2)), m.group(1) is not None)
            return ("VANISHED", ranges(m.group(2)))
        m = re.match(rb"\* SORT((?: \d+)*)$", line)
        if m:
            return ("SORT", [int(x) for x in m.group(1).split()])
        m = re.match(rb"\* THREAD(?: (\(.*\)))?$", line)
        if m:
            return ("THREAD", [int(x) for x in re.findall(rb"\d+", m.group(1) or b"")])
        m = re.match(rb"\* ESEARCH \(TAG \"([^\"]*)\"\)( UID)?(.*)$", line)
        if m:
            words = m.group(3).decode().split()
            return ("ESEARCH", dict(zip(words[::2], words[1::2])))
        m = re.match(rb"\* STATUS (\S+) \((.*)\)$", line)
        if m:
            words = m.group(2).decode().split()
            return ("STATUS", dict(zip(words[::2], map(int, words[1::2]))))
        check(not line.startswith(b"* BYE") or self.verb == "LOGOUT", self.name, "was thrown out:", line)
        return ("OTHER", line)

    def counted(self, n, kind):
        if kind == "EXISTS":
            if self.verb not in ("SELECT", "EXAMINE"):
                check(n >= len(self.messages), self.name, "EXISTS", n, "after", len(self.messages))
            while len(self.messages) < n:
                self.messages.append({})
            self.exists = n
        elif kind == "RECENT":
            self.recent = n
        else:
            # RFC 7162 section 3.2.10: such a session gets VANISHED instead.
            check(not self.qresync, self.name, "EXPUNGE in a QRESYNC session")
            check(1 <= n <= len(self.messages), self.name, "EXPUNGE", n, "of", len(self.messages))
            self.gone(self.messages.pop(n - 1))

    def gone(self, row):
        # RFC 3501 section 7.4.1, RFC 5256, RFC 7162 section 3.2.10
        check(self.verb not in ("FETCH", "STORE", "SEARCH", "SORT", "THREAD"), self.name, "EXPUNGE or VANISHED during", self.verb)
        if "UID" in row and self.box.live is not None:
            check(row["UID"] not in self.box.live, self.name, "EXPUNGE of a message that is there:", row)

    def vanished(self, uids, earlier):
        check(self.qresync, self.name, "VANISHED without QRESYNC")
        if earlier: # of what a client may know from before
            check(self.verb in ("SELECT", "EXAMINE", "UID FETCH"), self.name, "VANISHED (EARLIER) during", self.verb)
            self.earlier |= set(uids)
            return
        for uid in uids:
            # Where it is, or would be: some may not be known by UID yet.
            at = max([i for i, row in enumerate(self.messages) if row.get("UID", uid + 1) <= uid], default=-1)
            if at < 0 or self.messages[at]["UID"] != uid:
                at += 1
                check(at < len(self.messages) and "UID" not in self.messages[at], self.name, "VANISHED", uid, "is unknown")
            self.gone(self.messages.pop(at))

    def selected(self):
        box = self.box
        check(box.uidvalidity in (None, self.uidvalidity), "UIDVALIDITY of", box.name, "changed")
        box.uidvalidity = self.uidvalidity
        check(all(u < self.uidnext for u in box.messages), "UIDNEXT", self.uidnext, "of", box.name)
        check(len(self.messages) == self.exists, self.name, "SELECT says", self.exists)
        check(self.highestmodseq >= box.modseq, "HIGHESTMODSEQ went back in", box.name)

    def fetched(self, seq, items):
        check(1 <= seq <= len(self.messages), self.name, "FETCH", seq, "of", len(self.messages))
        got = dict(zip(items[::2], items[1::2]))
        mine = self.messages[seq - 1]
        if "UID" in got:
            uid = int(got["UID"])
            check(mine.get("UID", uid) == uid, self.name, "message", seq, "was UID", mine.get("UID"), "and is", uid)
            mine["UID"] = uid
            if uid not in self.box.messages: # the reply that told it is not read yet, when others are busy
                check(not ALONE, self.name, "unknown UID", uid, "in", self.box.name)
                self.box.seen.add(uid)
            near = [m.get("UID") for m in self.messages[max(0, seq - 2):seq + 1]]
            near = [u for u in near if u is not None]
            check(near == sorted(set(near)), self.name, "UIDs do not ascend:", near)
        message = self.box.messages.get(mine.get("UID"))
        if "FLAGS" in got:
            flags = set(got["FLAGS"])
            check(flags - {"\\Recent"} <= self.known, self.name, "flags", flags, "not in", self.known)
            if "\\Recent" in flags and message and not self.readonly:
                owner = self.box.recent_of.setdefault(mine["UID"], self.key)
                check(owner == self.key, "UID", mine["UID"], "is recent for", owner, "and", self.key)
            mine["FLAGS"] = flags - {"\\Recent"}
        if not message:
            return seq, got
        for name, value in got.items():
            if name == "MODSEQ":
                check(int(value[0]) >= mine.get(name, 0), self.name, "MODSEQ of", mine["UID"], "went back from", mine.get(name), "to", value)
                mine[name] = int(value[0])
                message.modseq = max(message.modseq, mine[name]) # another session may have told a later one already
                self.box.modseq = max(self.box.modseq, message.modseq)
            elif name not in ("FLAGS", "UID"):
                check(message.fixed.setdefault(name, value) == value, name, "of", mine["UID"], "was", message.fixed[name], "and is", value)
        fixed, content = message.fixed, message.content
        if "RFC822.SIZE" in got:
            same(int(got["RFC822.SIZE"]), len(content), f"size of {mine['UID']}")
        if "BODY[]" in got:
            check(got["BODY[]"] == content, self.name, "octets of", mine["UID"])
        if "BODY[TEXT]<3>" in got and got["BODY[TEXT]<3>"] != "NIL":
            check(got["BODY[TEXT]<3>"] == content.split(b"\r\n\r\n", 1)[1][3:14], "partial text of", mine["UID"], fixed)
        if "ENVELOPE" in got:
            subject = re.search(rb"Subject: ([^\r]*)", content).group(1)
            check(got["ENVELOPE"][1] == subject, "subject of", mine["UID"])
        return seq, got


# ---- What sessions do ---------------------------------------------------------------------------------------
# Each takes the session and whether it is alone: then the outcome is known exactly.

def ranges(text):
    out = []
    for part in text.decode().split(","):
        first, _, last = part.partition(":")
        out += range(int(first), int(last or first) + 1)
    return out


def some_seqs(s, most=6):
    n = len(s.messages)
    seqs = sorted(rnd.sample(range(1, n + 1), min(n, rnd.randrange(1, most))))
    if rnd.random() < 0.2:
        return list(range(1, n + 1)), "1:*"
    return seqs, ",".join(map(str, seqs))


def uncertain(box, flags=True, live=True):
    for m in box.messages.values():
        if flags:
            m.flags = None
    if live:
        box.live = None


def added(box, uid, content, flags):
    check(uid not in box.messages, "UID", uid, "was given twice in", box.name)
    check(uid > max(box.messages, default=0) or not ALONE, "UID", uid, "is not the highest of", box.name)
    box.messages[uid] = m = Message(content)
    m.flags = set(flags) if ALONE else None
    if box.live is not None:
        box.live.add(uid)


def do_append(s):
    box, content = boxes[rnd.choice(BOXES)], new_message()
    flags = rnd.sample(SYSTEM + KEYWORDS, rnd.randrange(0, 3))

    def done(s, status, line, untagged):
        m = re.search(rb"\[APPENDUID (\d+) (\d+)\]", line)
        check(m and status == "OK", "APPEND:", line)
        added(box, int(m.group(2)), content, flags)
    s.send(f"APPEND {box.name} ({' '.join(flags)}) {{{len(content)}+}}\r\n".encode() + content, done)
    return box


def do_select(s):
    box = boxes[rnd.choice(BOXES)]
    s.finish()
    s.messages, s.box, s.readonly = [], box, rnd.random() < 0.2
    s.key = f"{s.name}/{s.tags}"
    s.earlier = set()
    options = rnd.choice(["", " (CONDSTORE)"])
    known = s.cache.get(box.name) if ALONE and s.qresync else None
    if known:
        uids = rnd.choice(["", f" 1:{max(known['messages'], default=1)}"])
        options = f" (QRESYNC ({known['uidvalidity']} {known['modseq']}{uids}))"
    s.run(f"{'EXAMINE' if s.readonly else 'SELECT'} {box.name}{options}")
    if known:
        resynchronised(s, known, max(known["messages"], default=1) if uids else None)


def resynchronised(s, known, last):
    """What the client kept and what SELECT told is what is there (RFC 7162 section 3.2.5)."""
    global resynchronisations
    resynchronisations += 1
    mine = {uid: flags for uid, flags in known["messages"].items() if uid not in s.earlier}
    for row in s.messages:
        if "FLAGS" in row:
            mine[row["UID"]] = row["FLAGS"]
    s.run("UID FETCH 1:* (FLAGS)")
    check(not s.earlier & {m["UID"] for m in s.messages}, s.name, "VANISHED (EARLIER) of messages that are there:", s.earlier)
    # Of messages beyond those that the client named nothing is told.
    there = {m["UID"]: sorted(m["FLAGS"]) for m in s.messages if last is None or m["UID"] <= last}
    same({u: sorted(f) for u, f in mine.items() if last is None or u <= last}, there, f"{s.name} resynchronised {s.box.name}")


def do_fetch(s):
    if not s.messages:
        return
    items = rnd.sample(["UID", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "BODY", "BODY.PEEK[]", "BODY.PEEK[HEADER]",
                        "BODY.PEEK[TEXT]<3.11>", "BODY.PEEK[1]", "BODY.PEEK[2.TEXT]", "MODSEQ", "BODY.PEEK[HEADER.FIELDS (SUBJECT X)]"],
                       rnd.randrange(1, 6))
    seqs, text = some_seqs(s)
    uid = rnd.random() < 0.4
    uids = [s.messages[q - 1].get("UID") for q in seqs]
    if uid and None in uids:
        uid = False
    if uid:
        text = ",".join(map(str, uids))

    def done(s, status, line, untagged):
        if ALONE and not uid:
            # RFC 2180 section 4.1: others may have expunged some already.
            check(status == "OK" or b"[EXPUNGEISSUED]" in line, "FETCH:", line)
            if status != "OK":
                return
            same(sorted({x[1][0] for x in untagged if x[0] == "FETCH"} & set(seqs)), seqs, "messages that FETCH told")
    s.send(f"{'UID ' if uid else ''}FETCH {text} ({' '.join(items)})", done)


def do_seen(s):
    """A body without PEEK."""
    if not s.messages or s.box is None:
        return
    seq = rnd.randrange(1, len(s.messages) + 1)

    def done(s, status, line, untagged):
        m = s.box.messages.get(s.messages[seq - 1].get("UID")) if seq <= len(s.messages) else None
        if m and m.flags is not None and ALONE and not s.readonly:
            m.flags.add("\\Seen")
        elif m and not s.readonly:
            m.flags = None
    s.send(f"FETCH {seq} (UID BODY[TEXT])", done)


def do_store(s):
    if not s.messages or s.readonly:
        return
    seqs, text = some_seqs(s)
    op = rnd.choice(["", "+", "-"])
    silent = rnd.choice(["", ".SILENT"])
    flags = rnd.sample(SYSTEM + KEYWORDS, rnd.randrange(1, 4))
    rows = [s.messages[q - 1] for q in seqs]

    def done(s, status, line, untagged):
        if status == "OK" and ALONE and not silent:
            same(sorted({x[1][0] for x in untagged if x[0] == "FETCH"} & set(seqs)), seqs, "messages that STORE told")
        for row in rows:
            m = s.box.messages.get(row.get("UID"))
            if not m:
                uncertain(s.box, live=False)
            elif not ALONE or status != "OK":
                m.flags = None
            elif m.flags is not None:
                m.flags = set(flags) if op == "" else m.flags | set(flags) if op == "+" else m.flags - set(flags)
    s.send(f"STORE {text} {op}FLAGS{silent} ({' '.join(flags)})", done)


def learn_uids(s):
    while not all("UID" in m for m in s.messages): # new ones may come with the reply
        s.run("FETCH 1:* UID")


def do_expunge(s):
    if s.box is None or s.readonly:
        return
    box = s.box
    learn_uids(s)
    for row in s.messages:
        if box.live is not None and row.get("UID") in box.live and (box.messages[row["UID"]].flags is None):
            box.live = None
    if box.live is not None:
        gone = {m["UID"] for m in s.messages if m.get("UID") in box.messages and "\\Deleted" in (box.messages[m["UID"]].flags or ())}
        box.live -= gone
    if not ALONE:
        box.live = None

    def done(s, status, line, untagged):
        check(status == "OK", "EXPUNGE:", line)
    s.send("EXPUNGE", done)


def do_copy(s, verb=None):
    if not s.messages or (s.readonly and verb == "MOVE"):
        return
    verb = verb or "COPY"
    learn_uids(s)
    seqs, text = some_seqs(s)
    source, target = s.box, boxes[rnd.choice(BOXES)]
    uids = [s.messages[q - 1].get("UID") for q in seqs]
    if not ALONE:
        uncertain(target)
        if verb == "MOVE":
            uncertain(source)

    def done(s, status, line, untagged):
        codes = [x[1] for x in untagged if x[0] == "COPYUID"]
        m = re.search(rb"\[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]", line)
        if m:
            codes.append(m.groups())
        check(status == "OK" or b"[EXPUNGEISSUED]" in line or not ALONE, verb, line)
        check(status == "OK" or verb == "MOVE" or not codes, "COPY is all or nothing:", line)
        for _, old, new in codes:
            old, new = ranges(old), ranges(new)
            same(len(new), len(old), "COPYUID sets")
            for a, b in zip(old, new):
                copied.append((source, a, target, b))
            settle()
        if ALONE and status == "OK":
            same(sum(len(ranges(c[1])) for c in codes), len(uids), f"messages of {verb}")
    s.send(f"{verb} {text} {target.name}", done)


copied = []


def settle():
    """Record what was copied, as soon as it is known what it was."""
    again = True
    while again:
        again = False
        for entry in list(copied):
            source, a, target, b = entry
            if a in source.messages:
                copied.remove(entry)
                added(target, b, source.messages[a].content, source.messages[a].flags or ())
                if source.messages[a].flags is None:
                    target.messages[b].flags = None
                again = True


def do_move(s):
    do_copy(s, "MOVE")


def do_search(s):
    if s.box is None:
        return
    uid = rnd.random() < 0.5
    key = rnd.choice(["ALL", "SEEN", "UNDELETED", "OR FLAGGED NOT DRAFT", "KEYWORD k1", "SUBJECT red", "BODY line", "LARGER 300",
                      "NOT (SEEN FLAGGED)", "RECENT", "MODSEQ 1", "HEADER SUBJECT number", "UID 1:*", "SINCE 1-Jan-2020"])

    def done(s, status, line, untagged):
        check(status == "OK", "SEARCH:", line)
        if not uid:
            found = [x for x in untagged if x[0] == "SEARCH"][0][1]
            check(found == sorted(set(found)) and all(1 <= q <= len(s.messages) for q in found), "SEARCH", key, found)
    s.send(f"{'UID ' if uid else ''}SEARCH {key}", done)


def do_sort(s):
    if s.box is None or not s.messages:
        return
    uid = rnd.random() < 0.3
    command = rnd.choice(["SORT (SUBJECT)", "SORT (REVERSE DATE FROM)", "SORT (SIZE ARRIVAL)", "THREAD REFERENCES", "THREAD ORDEREDSUBJECT"])

    def done(s, status, line, untagged):
        check(status == "OK", command, line)
        if not uid:
            found = [x[1] for x in untagged if x[0] in ("SORT", "THREAD")][0]
            check(len(found) == len(set(found)) and all(1 <= q <= len(s.messages) for q in found), command, found)
    s.send(f"{'UID ' if uid else ''}{command} UTF-8 ALL", done)


def do_noop(s):
    s.send(rnd.choice(["NOOP", "CHECK"]) if s.box else "NOOP")


def do_status(s):
    s.send(f"STATUS {rnd.choice(BOXES)} (MESSAGES UIDNEXT UNSEEN RECENT HIGHESTMODSEQ)")


def do_close(s):
    if s.box is None or s.readonly:
        return
    s.finish()
    uncertain(s.box, flags=False)
    s.run("CLOSE")
    s.box, s.messages = None, []


def do_idle(s):
    s.finish()
    s.send("IDLE")
    s.idle = True


ACTIONS = [(do_append, 8), (do_select, 3), (do_fetch, 12), (do_seen, 3), (do_store, 12), (do_expunge, 4), (do_copy, 3), (do_move, 2), (do_search, 5), (do_sort, 3),
           (do_noop, 4), (do_status, 3), (do_close, 1), (do_idle, 2)]
ALONE = True


# ---- Rounds ------------------------------------------------------------------------------------------------

def stop_idle(s):
    if s.idle:
        s.sock.sendall(b"DONE\r\n")
        s.idle = False
        s.finish()


def act(s):
    stop_idle(s)
    # RFC 3501 section 5.5: numbers may mean something else behind a command that lets EXPUNGE come.
    if any(words[0] not in (b"FETCH", b"STORE", b"SEARCH") for _, words, _ in s.pending):
        s.finish()
    if s.box is None:
        do_select(s)
    rnd.choices([a for a, _ in ACTIONS], [w for _, w in ACTIONS])[0](s)


def quiet(sessions):
    """Nobody is busy: all sessions see the same, and the searches find what the flags say."""
    told = {}
    for s in sessions:
        if s.box is None:
            continue
        s.run("NOOP")
        s.run("UID FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE MODSEQ)")
        rows = [(m["UID"], frozenset(m["FLAGS"])) for m in s.messages]
        same(told.setdefault(s.box.name, rows), rows, f"{s.box.name} as {s.name} sees it")
        top = [x for x in s.run(f"STATUS {s.box.name} (HIGHESTMODSEQ)")[0] if x[0] == "STATUS"][0][1]["HIGHESTMODSEQ"]
        s.cache[s.box.name] = {"uidvalidity": s.uidvalidity, "modseq": top, "messages": {u: set(f) for u, f in rows}}
    for s in sessions:
        if s.box is not None:
            searches(s)
    for name in told:
        box = boxes[name]
        uids = {u for u, _ in told[name]}
        if box.live is not None:
            same(sorted(uids), sorted(box.live), f"messages of {name}")
        box.live = set(uids)
        for uid, flags in told[name]:
            m = box.messages[uid]
            if m.flags is not None:
                same(sorted(flags), sorted(m.flags), f"flags of {uid} in {name}")
            m.flags = set(flags)
    for box in boxes.values():
        if box.name not in told:
            box.live = None
            uncertain(box)
            continue
        status = [x for x in sessions[0].run(f"STATUS {box.name} (MESSAGES UNSEEN UIDNEXT)")[0] if x[0] == "STATUS"][0][1]
        same(status["MESSAGES"], len(told[box.name]), f"STATUS MESSAGES of {box.name}")
        same(status["UNSEEN"], sum("\\Seen" not in f for _, f in told[box.name]), f"STATUS UNSEEN of {box.name}")
        check(status["UIDNEXT"] > max(box.messages, default=0), "STATUS UIDNEXT of", box.name)


def arrival(message):
    return datetime.datetime.strptime(message.fixed["INTERNALDATE"].decode().strip(), "%d-%b-%Y %H:%M:%S %z")


def searches(s):
    size = rnd.randrange(100, 900)
    pick = rnd.choice(KEYWORDS)
    words = rnd.choice(["red", "green", "blue"])
    rows = [(m["UID"], m["FLAGS"], s.box.messages[m["UID"]]) for m in s.messages]
    some = sorted(rnd.sample([u for u, _, _ in rows], min(3, len(rows)))) or [1]
    cases = [
        ("SEEN", lambda u, f, m: "\\Seen" in f),
        (f"UNKEYWORD {pick}", lambda u, f, m: pick not in f),
        (f"OR DELETED KEYWORD {pick}", lambda u, f, m: "\\Deleted" in f or pick in f),
        (f"NOT (UNSEEN SMALLER {size})", lambda u, f, m: not ("\\Seen" not in f and len(m.content) < size)),
        (f"LARGER {size} UNDELETED", lambda u, f, m: len(m.content) > size and "\\Deleted" not in f),
        (f"SUBJECT {words}", lambda u, f, m: words.encode() in m.content.split(b"\r\n\r\n")[0]),
        (f"UID {','.join(map(str, some))}", lambda u, f, m: u in some),
        (f"NOT TEXT {words} NOT ANSWERED", lambda u, f, m: words.encode() not in m.content and "\\Answered" not in f),
    ]
    for key, wanted in rnd.sample(cases, 3):
        got = [x for x in s.run(f"UID SEARCH {key}")[0] if x[0] == "SEARCH"][0][1]
        same(sorted(got), [u for u, f, m in rows if wanted(u, f, m)], f"SEARCH {key} in {s.box.name}")
    for key, value in (("ARRIVAL", lambda row: (arrival(row[2]), row[0])), ("SIZE", lambda row: (len(row[2].content), row[0]))):
        got = [x for x in s.run(f"UID SORT ({key}) US-ASCII ALL")[0] if x[0] == "SORT"][0][1]
        same(got, [row[0] for row in sorted(rows, key=value)], f"SORT {key} in {s.box.name}")
    seen = [u for u, f, _ in rows if "\\Seen" in f]
    got = [x for x in s.run("UID SEARCH RETURN (MIN MAX COUNT ALL) SEEN")[0] if x[0] == "ESEARCH"][0][1]
    same(int(got["COUNT"]), len(seen), f"COUNT of seen messages in {s.box.name}")
    if seen:
        same((int(got["MIN"]), int(got["MAX"]), ranges(got["ALL"].encode())), (seen[0], seen[-1], seen), f"seen messages in {s.box.name}")
    # What changed since a moment is told, and nothing else.
    if rows and all(m.modseq for _, _, m in rows):
        since = rnd.choice([m.modseq for _, _, m in rows])
        got = [int(x[1][1]["UID"]) for x in s.run(f"UID FETCH 1:* (UID) (CHANGEDSINCE {since})")[0] if x[0] == "FETCH"]
        same(got, [u for u, _, m in rows if m.modseq > since], f"CHANGEDSINCE {since} in {s.box.name}")


def main(storage):
    global ALONE, boxes
    boxes = {n: Box(n) for n in BOXES}
    rounds = 0
    with culver.Server(storage=storage) as server:
        sessions = [Session(server) for _ in range(SESSIONS)]
        for name in BOXES[1:]:
            sessions[0].run(f"CREATE {name}")
        end = time.monotonic() + SECONDS
        busy = None
        try:
            while time.monotonic() < end or rounds < 20:
                rounds += 1
                ALONE = rnd.random() < 0.5
                for _ in range(rnd.randrange(5, 25)):
                    busy = rnd.sample(sessions, 1 if ALONE else rnd.randrange(2, SESSIONS + 1))
                    if not ALONE:
                        for box in boxes.values():
                            uncertain(box)
                    for s in busy:
                        for _ in range(1 if ALONE else rnd.randrange(1, 4)):
                            act(s)
                    for s in busy:
                        if not s.idle:
                            s.finish()
                if rnd.random() < 0.1: # one goes away without a word
                    gone = rnd.randrange(SESSIONS)
                    sessions[gone].sock.close()
                    sessions[gone] = Session(server)
                for s in sessions:
                    stop_idle(s)
                    s.finish()
                settle()
                check(not copied, "copies of messages that never were:", copied)
                for box in boxes.values():
                    check(box.seen <= set(box.messages), "unknown UIDs", box.seen - set(box.messages), "in", box.name)
                ALONE = True
                quiet(sessions)
            for s in sessions:
                s.run("LOGOUT")
        except (Bad, AssertionError, OSError) as e:
            for s in sessions:
                print(f"-- {s.name}:\n   " + "\n   ".join(s.log[-25:]))
            fail(f"{storage}, seed {SEED}, round {rounds}: {e}")
        healthy(server)
    return rounds


print(f"seed {SEED}")
for kind in culver.storages():
    print(f"{kind}: {main(kind)} rounds")
print(f"{resynchronisations} times resynchronised")
