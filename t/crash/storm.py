#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9 of any process at any moment under a storm of deliveries and clients: every change that was acknowledged is there exactly once, and nothing
else, with the same UIDs. What was on its way when a connection broke may have been done or not, but not by half. Sessions that sleep in IDLE count the messages
they are told of.

With --harm files of the index are removed, cut, overwritten, changed and replaced by older ones as well, one at a time for each user and then mended by
culver fsck or by the next opening; that loses nothing either.

With --harm-messages the files of messages are removed, cut, changed, exchanged for others, directories or files without rights. Each is an error of that message alone or
healed; every other message, flag and session is as it was, and culver fsck names those and no others.

With --trouble other things befall the processes than that they are killed (KINDS of t/lib/trouble.py, with commas between them, or all): while these last clients are
refused for a while at most, and when they are over all users are served within a minute, by the same master.

usage: storm.py [--harm] [--harm-messages] [--storage NAME] [--disk ext4|xfs|btrfs] [--trouble KINDS] [SECONDS [SEED]]"""
import argparse
import collections
import errno
import glob
import imaplib
import json
import os
import random
import re
import select
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import client  # noqa: E402
import trouble  # noqa: E402
from client import culver, fail, same  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--harm", action="store_true")
parser.add_argument("--harm-messages", action="store_true")
parser.add_argument("--storage", default="")
parser.add_argument("--disk", choices=sorted(trouble.FILE_SYSTEMS), default="")
parser.add_argument("--trouble", default="")
parser.add_argument("seconds", nargs="?", type=float, default=15)
parser.add_argument("seed", nargs="?", type=int, default=random.randrange(1 << 30))
args = parser.parse_args()
HARM, HARM_MESSAGES, SECONDS, SEED = args.harm, args.harm_messages, args.seconds, args.seed
trouble.Disk.KIND = args.disk or trouble.Disk.KIND
TROUBLE = list(trouble.KINDS) if args.trouble == "all" else [t for t in args.trouble.split(",") if t]
# Sessions sleep soon, and the journal is folded often.
SETTINGS = """imap_hibernate_timeout = 50ms
imap_hibernate_silent_timeout = 200ms
default_idle_kill = 200ms
mail_journal_segment_size = 64k
mail_snapshot_min_size = 4k
"""
USERS = ["storm0", "storm1", "storm2"]
lock = threading.Lock()
acknowledged, flagged, stop = {}, {}, False
harmed = {}  # (user, ident): (uid, how): its file was harmed
failures = []
events = collections.deque(maxlen=300)  # what was done to the server, for reports
refusals = collections.Counter()


def body(ident):
    r = random.Random(ident)
    return f"From: a@example.org\r\nSubject: {ident}\r\nMessage-ID: <{ident}@storm.example>\r\n\r\n" + "".join(
        f"{r.getrandbits(200):x}\r\n" for _ in range(r.randrange(1, 200)))


def refused(why):
    """What is refused is so for a while: clients are told to come again."""
    with lock:
        refusals[why] += 1


def note(what):
    events.append(f"{time.time():.3f} {what}")


def taken(code, text):
    if code != 250:
        if not 400 <= code < 500:
            failures.append(AssertionError(f"LMTP: {code} {text}"))
        refused(f"{code} " + text.decode(errors="replace").split(" ")[0])
    return code == 250


def deliverer(s, n):
    r, i = random.Random(SEED + n), 0
    while not stop:
        try:
            with smtplib.LMTP("127.0.0.1", s.ports["lmtp"]) as c:
                c.sock.settimeout(20)
                c.ehlo()
                for _ in range(r.randrange(1, 8)):
                    user, ident = r.choice(USERS), f"d{n}.{i}"
                    i += 1
                    if not all(taken(*answer) for answer in (c.mail("a@example.org"), c.rcpt(user))):
                        break
                    if taken(*c.data(body(ident).encode())):
                        with lock:
                            acknowledged[ident] = user
        except (OSError, smtplib.SMTPException, ValueError):
            time.sleep(0.05)


def appender(s, n):
    r, i = random.Random(SEED + 100 + n), 0
    while not stop:
        try:
            user = r.choice(USERS)
            m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=20)
            m.login(user, culver.PASSWORD)
            for _ in range(r.randrange(1, 8)):
                ident = f"a{n}.{i}"
                i += 1
                if m.append("INBOX", "(\\Flagged)", None, body(ident).encode())[0] == "OK":
                    with lock:
                        acknowledged[ident] = user
                        flagged[ident] = user
            m.select("INBOX")
            m.fetch("1:*", "(UID FLAGS)")
            m.logout()
        except (OSError, imaplib.IMAP4.error):
            time.sleep(0.05)


class Unknown(Exception):
    """The connection broke in the middle of a command: what it did is not known."""


class Actor:
    """One who appends, marks, copies, moves and expunges in two mailboxes of its own, and knows what must be there. A message in a mailbox is
    True (it is there), False, or None: not known, since the connection broke while it was made or removed."""

    FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Work", "$Later"]

    def __init__(self, s, n):
        self.s, self.user, self.r, self.n = s, USERS[n % len(USERS)], random.Random(SEED + 200 + n), 0
        self.id, self.boxes, self.m, self.validity, self.acts = n, (f"W{n}", f"V{n}"), None, {}, 0
        self.there = {}   # (box, ident): True, False, None
        self.either = {}  # ident: a move of which it is not known whether it was done: exactly one of both mailboxes has it
        self.flags = {}   # (box, ident): {flag: True, False, None}
        self.uids = {}    # (box, ident): uid, where it is known
        self.history = collections.deque(maxlen=400)  # what it did, for reports

    # -- what is there ------------------------------------------------------------------------------------

    def login(self):
        self.m = imaplib.IMAP4("127.0.0.1", self.s.ports["imap"], timeout=30)
        self.m.login(self.user, culver.PASSWORD)
        for box in self.boxes:
            if box not in self.validity:
                self.m.create(box)

    def look(self, box, whole=False):
        """The mailbox as it is: {ident: (uid, flags)}. Fails when it can't be."""
        typ, _ = self.m.select(box)
        if typ != "OK":
            raise imaplib.IMAP4.abort("select")
        validity = self.m.response("UIDVALIDITY")[1][0]
        if self.validity.setdefault(box, validity) != validity:
            fail(f"{self.user} {box}: UIDVALIDITY was {self.validity[box]}, is {validity}")
        typ, got = self.m.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])" if whole else "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        if typ != "OK":
            raise imaplib.IMAP4.abort("fetch")
        out = {}
        for part in got:
            if not isinstance(part, tuple):
                continue
            head, text = part[0].decode(), part[1].decode()
            ident = text.split("Subject: ", 1)[1].split("\r\n", 1)[0]
            if ident in out:
                fail(f"{self.user} {box}: message {ident} is there twice")
            if whole and not text.endswith(body(ident)):
                fail(f"{self.user} {box}: message {ident} is not what was sent")
            flags = set(head.split("FLAGS (", 1)[1].split(")", 1)[0].split()) - {"\\Recent"}
            out[ident] = (int(head.split("UID ", 1)[1].split()[0].rstrip(")")), flags)
        return out

    def compare(self, whole=False):
        """What is there must be what the model says; what it could not know it knows then."""
        for box in self.boxes:
            got = self.look(box, whole)
            for (b, ident), there in list(self.there.items()):
                if b != box:
                    continue
                key, where = (box, ident), f"{self.user} {box} {ident}"
                if there is not None and there != (ident in got):
                    fail(f"{where}: {'is lost' if there else 'came back'}\n" + "\n".join(h for h in self.history if f"{ident} " in h))
                self.there[key] = ident in got
                if ident not in got:
                    continue
                uid, flags = got[ident]
                if self.uids.setdefault(key, uid) != uid:
                    fail(f"{where}: UID was {self.uids[key]}, is {uid}")
                for flag, on in self.flags[key].items():
                    if on is not None and on != (flag in flags):
                        fail(f"{where}: {flag} should be {on}: {flags}\n" + "\n".join(h for h in self.history if f"{ident} " in h))
                    self.flags[key][flag] = flag in flags
            for ident in got:
                if (box, ident) not in self.there:
                    fail(f"{self.user} {box}: {ident} was never there")
        for ident in self.either:
            if self.there[(self.boxes[0], ident)] == self.there[(self.boxes[1], ident)]:
                fail(f"{self.user}: a move of {ident} was done by half")
        self.either = {}

    # -- what it does -------------------------------------------------------------------------------------

    def run(self, what, command, *args):
        """True: done. False: refused, nothing is changed."""
        answer, now = "no answer", time.time()
        try:
            typ, text = command(*args)
            answer = f"{typ} {text}"
        except imaplib.IMAP4.error as e:
            if isinstance(e, imaplib.IMAP4.abort):
                raise Unknown from e
            answer = str(e)
            return False # BAD
        except OSError as e:
            raise Unknown from e
        finally:
            self.history.append(f"{now:.3f} {what} {args[0]}: {answer[:200]}")
        if typ == "NO":
            code = re.match(rb"\[[A-Z-]+", text[0] or b"")
            refused("NO " + (code.group()[1:] if code else text[0]).decode(errors="replace"))
        return typ == "OK"

    def append(self):
        ident = f"m{self.id}.{self.n}"
        self.n += 1
        box = self.r.choice(self.boxes)
        for b in self.boxes:
            self.there[(b, ident)], self.flags[(b, ident)] = False, {}
        flags = self.r.sample(self.FLAGS, self.r.randrange(3))
        self.there[(box, ident)], self.flags[(box, ident)] = None, {f: f in flags for f in self.FLAGS}
        self.there[(box, ident)] = self.run(f"{ident} {box}", self.m.append, box, "(" + " ".join(flags) + ")", None, body(ident).encode())

    def pick(self):
        known = [(box, ident) for (box, ident), there in self.there.items() if there and (box, ident) in self.uids]
        return self.r.choice(known) if known else None

    def store(self, box, ident):
        flag, on = self.r.choice(self.FLAGS), self.r.random() < 0.6
        was, self.flags[(box, ident)][flag] = self.flags[(box, ident)][flag], None
        done = self.run(f"{ident} {box} {flag}", self.m.uid, "STORE", str(self.uids[(box, ident)]), "+FLAGS" if on else "-FLAGS", f"({flag})")
        self.flags[(box, ident)][flag] = on if done else was

    def expunge(self, box, ident):
        self.flags[(box, ident)]["\\Deleted"] = None
        if not self.run(f"{ident} {box} \\Deleted", self.m.uid, "STORE", str(self.uids[(box, ident)]), "+FLAGS.SILENT", "(\\Deleted)"):
            return
        self.flags[(box, ident)]["\\Deleted"] = True
        self.there[(box, ident)] = None
        done = self.run(f"{ident} {box}", self.m.uid, "EXPUNGE", str(self.uids[(box, ident)]))
        self.there[(box, ident)] = not done
        if done:
            self.uids.pop((box, ident))

    def copy(self, box, ident, move):
        other = self.boxes[1] if box == self.boxes[0] else self.boxes[0]
        if self.there[(other, ident)] is not False:
            return
        self.flags[(other, ident)] = dict(self.flags[(box, ident)])
        self.uids.pop((other, ident), None)
        self.there[(other, ident)] = None
        if move:
            self.there[(box, ident)] = None
            self.either[ident] = True
        done = self.run(f"{ident} {box} to {other}", self.m.uid, "MOVE" if move else "COPY", str(self.uids[(box, ident)]), other)
        self.there[(other, ident)] = done
        if move:
            self.there[(box, ident)] = not done
            del self.either[ident]
            if done:
                self.uids.pop((box, ident))

    def act(self):
        if self.r.random() < 0.3 or not self.uids:
            self.append()
        else:
            chosen = self.pick()
            if chosen is None:
                return
            box, ident = chosen
            if self.m.select(box)[0] != "OK":
                raise Unknown
            what = self.r.random()
            if what < 0.45:
                self.store(box, ident)
            elif what < 0.6:
                self.expunge(box, ident)
            else:
                self.copy(box, ident, what > 0.75)
        self.acts += 1

    def loop(self):
        while not stop:
            try:
                self.login()
                self.compare()
                for _ in range(self.r.randrange(1, 12)):
                    self.act()
                self.m.logout()
            except (Unknown, OSError, imaplib.IMAP4.error):
                time.sleep(0.05)
            except BaseException as e:
                failures.append(e)
                raise

    def final(self):
        self.login()
        self.compare(whole=True)
        self.m.logout()
        return sum(1 for there in self.there.values() if there)


class Sleeper:
    """In IDLE on INBOX, where messages come and none goes: as many as it was told of are there when it wakes."""

    def __init__(self, s, n):
        self.s, self.user, self.r, self.told = s, USERS[n % len(USERS)], random.Random(SEED + 300 + n), 0

    def night(self):
        c = client.Client(self.s, self.r.choice(("plain", "tls")), self.user)
        if self.r.random() < 0.3:
            c.compress()
        count = 0
        for line in c.cmd("SELECT INBOX"):
            count = int(line.split()[1]) if line.endswith(" EXISTS") else count
        for _ in range(self.r.randrange(1, 5)):
            c.n += 1
            c.send(f"t{c.n} IDLE\r\n")
            while not c.line().startswith("+"):
                pass
            end = time.monotonic() + self.r.uniform(0.1, 1.5)
            while (left := end - time.monotonic()) > 0:
                if c.buf or select.select([c.sock], [], [], left)[0]:
                    count = self.exists(c.line(), count)
            c.send("DONE\r\n")
            for line in c.reply(f"t{c.n}"):
                count = self.exists(line, count)
            lines = c.cmd("UID SEARCH RETURN (COUNT) ALL")
            found = int(re.search(r"COUNT (\d+)", "\n".join(lines)).group(1))
            # What came meanwhile is told before the tagged line, behind the answer. A message whose file was removed may go before it.
            gone = sum(bool(re.fullmatch(r"\* \d+ EXPUNGE", line)) for line in lines) if HARM_MESSAGES else 0
            if not count - gone <= found <= count:
                fail(f"{self.user}: {found} messages are found, it was told of {count}, and of {gone} that went")
            for line in lines:
                count = self.exists(line, count)
        c.cmd("LOGOUT")

    def exists(self, line, count):
        if HARM_MESSAGES and re.fullmatch(r"\* \d+ EXPUNGE", line):
            return count - 1  # its file was removed
        if not re.fullmatch(r"\* \d+ EXISTS", line):
            return count
        now = int(line.split()[1])
        if now <= count:
            fail(f"{self.user}: {now} messages, there were {count}")
        self.told += 1
        return now

    def loop(self):
        while not stop:
            try:
                self.night()
            except (OSError, EOFError, zlib.error):
                time.sleep(0.05)
            except AssertionError as e:
                if re.search(r"\[(UNAVAILABLE|INUSE|OVERQUOTA|SERVERBUG|LIMIT|AUTHENTICATIONFAILED)\]|^t\d+ BYE", str(e)):
                    time.sleep(0.05)  # a login that met a process being restarted, a disk that is full
                    continue
                failures.append(e)
                raise


class Vandal:
    """Harms one file of a user's index at a time."""

    PATTERNS = ("journal.*", "journal.*", "copy.*", "state", "state.old", "box.*", "box.*", "cache.*")

    def __init__(self, s, n):
        self.s, self.user, self.r, self.done = s, USERS[n], random.Random(SEED + 400 + n), 0
        self.older, self.tally = {}, {}

    def harm(self):
        index = os.path.join(self.s.mail, self.user, "culver-index")
        files = [f for f in glob.glob(os.path.join(index, self.r.choice(self.PATTERNS))) if ".damaged-" not in f and not f.endswith(".new")]
        if not files:
            return None
        path, what = self.r.choice(files), self.r.choice(("remove", "cut", "empty", "garbage", "flip", "older"))
        with open(path, "rb") as f:
            octets = f.read()
        older = self.older.get(path)
        self.older[path] = octets
        if what == "remove":
            os.unlink(path)
        elif what == "older":
            if older is None or older == octets:
                return None
            with open(path + ".x", "wb") as f:
                f.write(older)
            shutil.copystat(path, path + ".x")
            if self.s.run_as:
                os.chown(path + ".x", self.s.run_as.pw_uid, self.s.run_as.pw_gid)
            os.rename(path + ".x", path)
        else:
            with open(path, "r+b") as f:
                if what == "garbage":
                    f.write(self.r.randbytes(len(octets)))
                elif what == "flip" and octets:
                    at = self.r.randrange(len(octets))
                    f.seek(at)
                    f.write(bytes([octets[at] ^ 1 << self.r.randrange(8)]))
                else:
                    f.truncate(0 if what == "empty" else self.r.randrange(len(octets) + 1))
        self.tally[what] = self.tally.get(what, 0) + 1
        note(f"{self.user}: {what} {os.path.basename(path)} of {len(octets)} octets")
        return f"{what} {os.path.basename(path)}"

    def mend(self, what):
        """fsck, until it gets through: what it finds is mended, and nothing is lost but messages that were harmed."""
        end = time.monotonic() + 60
        while True:
            status, rows, text = fsck(self.s, "--repair", self.user)
            if status in (0, 1):
                note(f"{self.user}: fsck {status} {rows}")
                return
            if status == 2 and (bad := [row for row in rows if row["result"] == "lost" and not is_harmed(self.user, row)]):
                fail(f"{self.user}: {what}: fsck says {bad}\n{text}")
            if status == 2 and HARM_MESSAGES:
                return
            if time.monotonic() > end:
                fail(f"{self.user}: {what}: fsck does not get through: {status}\n{rows}\n{text}")
            time.sleep(0.2)

    def loop(self):
        while not stop:
            try:
                time.sleep(self.r.uniform(0.05, 0.5))
                what = self.harm()
                if what is None:
                    continue
                time.sleep(self.r.uniform(0, 0.5))
                self.mend(what)
                self.done += 1
            except FileNotFoundError:
                pass  # it was folded meanwhile
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    failures.append(e)
                    raise
                self.mend("harm of which a part went through")  # where a file that is written over needs room
            except BaseException as e:
                failures.append(e)
                raise


class MessageVandal:
    """Harms files of messages in a user's INBOX, each once, and looks at once what a session is told of it."""

    HOW = ("remove", "cut", "empty", "flip", "garbage", "other", "other-renamed", "directory", "no-rights")

    def __init__(self, s, n):
        self.s, self.user, self.r = s, USERS[n], random.Random(SEED + 500 + n)
        self.tally, self.told, self.healed = collections.Counter(), 0, 0

    def files(self):
        root = os.path.join(self.s.mail, self.user)
        patterns = ("mailboxes/INBOX/dbox-Mails/u.*",) if self.s.storage == "sdbox" else ("cur/*", "new/*")
        return [f for p in patterns for f in glob.glob(os.path.join(root, p)) if os.path.isfile(f)]

    def uid(self, m, ident):
        typ, found = m.uid("SEARCH", "HEADER", "MESSAGE-ID", f"<{ident}@storm.example>")
        return int(found[0].split()[0]) if typ == "OK" and found[0] else None

    def harm(self, path, how, other):
        with open(path, "rb") as f:
            octets = f.read()
        if how in ("remove", "directory"):
            os.unlink(path)
            if how == "directory":
                os.mkdir(path)
                self.own(path)
        elif how == "no-rights":
            os.chmod(path, 0)
        elif how == "other-renamed":
            beside = os.path.join(self.s.mail, self.user + ".x")  # in the folder of a Maildir it would be one more message
            shutil.copy(other, beside)
            self.own(beside)
            os.rename(beside, path)
        else:
            at = self.r.randrange(len(octets))
            new = {"cut": octets[:at], "empty": b"", "garbage": self.r.randbytes(self.r.randrange(1, 2 * len(octets))),
                   "flip": octets[:at] + bytes([octets[at] ^ 1 << self.r.randrange(8)]) + octets[at + 1:]}
            with open(path, "r+b") as f:
                f.write(new[how] if how in new else open(other, "rb").read())
                f.truncate()

    def own(self, path):
        if self.s.run_as:
            os.chown(path, self.s.run_as.pw_uid, self.s.run_as.pw_gid)

    def look(self, m, ident, uid, how):
        """It is what it was or is refused; the one before it and the one behind it are sent."""
        where = f"{self.user} {ident} {how}"
        text = body(ident).encode()
        sent = whole(m, str(uid))[1]
        # mail_verify: octets are compared when a process reads them first, and fsck may have.
        if not HARM and any(not octets.endswith(text) for octets in sent.values()):
            fail(f"{where}: something else is sent: {sent}")
        self.told += not sent
        self.healed += bool(sent)
        if m.noop()[0] != "OK":
            fail(f"{where}: the session does not go on")

    def one(self):
        files = self.files()
        if len(files) < 3:
            return
        m = imaplib.IMAP4("127.0.0.1", self.s.ports["imap"], timeout=30)
        m.login(self.user, culver.PASSWORD)
        try:
            if m.select("INBOX")[0] != "OK":
                return
            path, other = self.r.sample(files, 2)
            # Also such as have just been made.
            if self.r.random() < 0.5:
                path = max(files, key=lambda f: os.stat(f).st_mtime)
            with open(path, "rb") as f:
                ident = re.search(rb"Subject: (\S+)\r\n", f.read())
            ident = ident and ident.group(1).decode()
            if path == other or ident is None or (self.user, ident) in harmed or ident not in acknowledged or (uid := self.uid(m, ident)) is None:
                return
            how = self.r.choice(self.HOW)
            harmed[(self.user, ident)] = (uid, how)
            note(f"{self.user}: {how} {os.path.basename(path)}")
            self.harm(path, how, other)
            self.tally[how] += 1
            time.sleep(self.r.uniform(0, 0.2))
            self.look(m, ident, uid, how)
        finally:
            m.logout()

    def loop(self):
        while not stop:
            try:
                time.sleep(self.r.uniform(0.05, 0.5))
                self.one()
            except (OSError, imaplib.IMAP4.error):
                pass  # a connection that broke; a file that was made, renamed or removed meanwhile
            except BaseException as e:
                failures.append(e)
                raise


def fsck(s, *what):
    r = subprocess.run([s.binary("culver"), "--json", "-c", s.conf, "fsck", *what], capture_output=True, text=True, **s.identity())
    try:
        rows = json.loads(r.stdout) if r.stdout.strip() else []
    except ValueError:
        rows = []  # it broke off
    return r.returncode, rows["rows"] if isinstance(rows, dict) else rows, r.stderr


def is_harmed(user, row):
    uids = {str(uid) for (owner, _), (uid, _) in list(harmed.items()) if owner == user}
    return row["mailbox"] == "INBOX" and (str(row.get("uid")) in uids or row["file"] in uids)


def whole(m, what, item="BODY.PEEK[]"):
    """The tagged reply, and what is sent, by what FETCH says before it."""
    m.untagged_responses.clear()
    typ, got = m.uid("FETCH", what, f"(UID FLAGS {item})")
    if typ != "OK":
        got = m.response("FETCH")[1]
    return typ, {part[0]: part[1] for part in got if isinstance(part, tuple)}


def check(s):
    for user in USERS:
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=60)
        m.login(user, culver.PASSWORD)
        same(m.select("INBOX")[0], "OK")
        bad = {ident for owner, ident in harmed if owner == user}
        typ, got = whole(m, "1:*")
        if typ != "OK" and not bad:
            fail(f"{user}: FETCH is answered by {typ}")
        seen, uids = {}, []
        for head, octets in got.items():
            uids.append(int(head.split(b"UID ")[1].split()[0].rstrip(b")")))
            text = octets.decode()
            ident = text.split("Subject: ", 1)[1].split("\r\n", 1)[0]
            if not text.endswith(body(ident)):
                fail(f"{user}: message {ident} is not what was sent")
            if ident in seen:
                fail(f"{user}: message {ident} is there twice")
            seen[ident] = head
        if uids != sorted(set(uids)):
            fail(f"{user}: UIDs are not ascending: {uids}")
        for ident, owner in acknowledged.items():
            if owner == user and ident not in seen and ident not in bad:
                fail(f"{user}: acknowledged message {ident} is lost")
        # Flags are those of messages whose files are harmed as well.
        typ, got = whole(m, "1:*", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
        if typ != "OK" and not (HARM and bad):  # without the parse record it is looked for in the file
            fail(f"{user}: FETCH of a field is answered by {typ}")
        flags = {text.split(b"Subject: ", 1)[1].split(b"\r\n", 1)[0].decode(): head for head, text in got.items()}
        for ident, owner in flagged.items():
            if owner == user and (ident in flags or ident not in bad) and b"\\Flagged" not in flags[ident]:
                fail(f"{user}: message {ident} lost its flag: {flags[ident]}")
        m.logout()
    return len(acknowledged)


def named(s):
    """What fsck says of each user: messages that are harmed, all that are refused, and nothing else. Their number."""
    count = 0
    for user in USERS:
        status, rows, text = fsck(s, "--report", user)
        if status not in (0, 2):
            fail(f"{user}: fsck --report ends with {status}\n{text}")
        # On a full disk parse records are given up; who is killed before the snapshot says so leaves that to be found.
        if bad := [row for row in rows if not is_harmed(user, row) and not (row["file"] == "cache" and "disk" in TROUBLE)]:
            fail(f"{user}: fsck finds {bad}")
        named_uids = {str(row.get("uid", row["file"])) for row in rows}
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=60)
        m.login(user, culver.PASSWORD)
        m.select("INBOX")
        there = m.uid("SEARCH", "ALL")[1][0].decode().split()
        for (owner, ident), (uid, how) in harmed.items():
            if owner == user and str(uid) in there and not whole(m, str(uid))[1] and str(uid) not in named_uids:
                fail(f"{user}: {ident} ({uid}, {how}) can't be read, and fsck does not name it: {rows}")
        m.logout()
        count += len(rows)
    return count


def patiently(what):
    """Restarts back off: the last kill may be seconds away from its new process."""
    for _ in range(20):
        try:
            return what()
        except (OSError, imaplib.IMAP4.error):
            time.sleep(1)
    return what()


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(s, r, end):
    """Any process at any moment; the master is started again by hand."""
    kills = 0
    while time.monotonic() < end and not failures:
        time.sleep(r.uniform(0.05, 0.6))
        if r.random() < 0.05:
            children = trouble.below(s.proc.pid)
            note("the master is killed")
            os.kill(s.proc.pid, signal.SIGKILL)
            s.proc.wait()
            # Its children end by themselves when it is gone; while they serve, no other master starts.
            t0 = time.monotonic()
            while any(alive(pid) for pid in children):
                if time.monotonic() - t0 > 30:
                    fail("children of a master that was killed go on")
                time.sleep(0.02)
            s.start()
        else:
            trouble.Kill(s, r).begin()
        kills += 1
    return f"{kills} kills"


def served(s, user, ident):
    """A delivery, a login, a look."""
    try:
        with smtplib.LMTP("127.0.0.1", s.ports["lmtp"], timeout=20) as c:
            c.ehlo()
            if not all(taken(*answer) for answer in (c.mail("a@example.org"), c.rcpt(user), c.data(body(ident).encode()))):
                return False
            with lock:
                acknowledged[ident] = user
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=20)
        m.login(user, culver.PASSWORD)
        good = m.select("INBOX")[0] == "OK"
        m.logout()
        return good
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
        return False


def rounds(s, r, end, troubles):
    count, slowest = 0, 0
    time.sleep(1)  # a process that ends before all are ready is one of a server that could not be started
    while time.monotonic() < end and not failures:
        note("trouble begins")
        names, t0 = troubles.one(), time.monotonic()
        note(f"trouble ends: {names}")
        for user in USERS:
            n = 0
            while not served(s, user, f"r{count}.{user}.{n}"):
                n += 1
                if s.proc.poll() is not None:
                    fail(f"after {names} the master has ended: {s.proc.returncode}\n{s.output()}")
                if time.monotonic() - t0 > 60:
                    fail(f"after {names} {user} is not served within a minute\n{s.output()}")
                time.sleep(0.1)
        slowest = max(slowest, time.monotonic() - t0)
        count += 1
        time.sleep(r.uniform(0, 0.5))
    return f"{count} rounds of trouble ({troubles.tally()}; all users were served again after {slowest:.1f} s at most)"


def report(s, breakers):
    """fsck after a storm of harmed messages, as an administrator runs it: what it finds, what it mends, and what is left."""
    found = patiently(lambda: named(s))
    lost = 0
    for user in USERS:
        status, rows, text = fsck(s, "--repair", user)
        if status not in (0, 1, 2):
            fail(f"{user}: fsck --repair ends with {status}\n{text}")
        lost += sum(row["result"] == "lost" for row in rows)
    patiently(lambda: named(s))
    check(s)
    tally = sum((b.tally for b in breakers), collections.Counter())
    print(f"  messages harmed: {', '.join(f'{how} {n}' for how, n in sorted(tally.items()))}; told at once {sum(b.told for b in breakers)}, "
          f"sent whole {sum(b.healed for b in breakers)}; fsck names {found}, {lost} of them lost", flush=True)
    if tally.total() < 10:
        fail("hardly a message was harmed: that proves nothing")


def main():
    global stop
    if not culver.storages():
        fail("no storage module is installed")
    print("seed", SEED)
    for storage in [args.storage] if args.storage else culver.storages():
        acknowledged.clear()
        flagged.clear()
        harmed.clear()
        stop = False
        # Restarts back off; here they should come soon.
        s = culver.Server(storage=storage, settings=SETTINGS, keep=bool(os.environ.get("KEEP")))
        s.storage = storage
        r = random.Random(SEED)
        disk = trouble.Disk(s, r) if args.disk and "disk" not in TROUBLE else None
        if disk:
            disk.prepare()
            if disk.why_not:
                client.skip(disk.why_not)
        troubles = trouble.Round(s, r, TROUBLE) if TROUBLE else None
        if troubles and not troubles.prepare():
            client.skip("no trouble can be made here")
        s.start()
        actors = [Actor(s, n) for n in range(4)]
        threads = [threading.Thread(target=f, args=(s, n), daemon=True) for n in range(3) for f in (deliverer, appender)]
        sleepers = [Sleeper(s, n) for n in range(3)]
        vandals = [Vandal(s, n) for n in range(len(USERS))] if HARM else []
        breakers = [MessageVandal(s, n) for n in range(len(USERS))] if HARM_MESSAGES else []
        threads += [threading.Thread(target=a.loop, daemon=True) for a in actors + sleepers + vandals + breakers]
        for t in threads:
            t.start()
        end = time.monotonic() + SECONDS
        what = rounds(s, r, end, troubles) if troubles else kill(s, r, end)
        stop = True
        for t in threads:
            t.join(60)
        if failures:
            print(s.output()[-8000:])
            print("\n".join(events))
            print(f"seed {SEED}, kept in {s.dir}" if s.keep else f"seed {SEED}")
            raise failures[0]
        if vandals and breakers:  # processes that have not compared anything yet
            s.stop()
            s.start()
        count = patiently(lambda: check(s))
        left = patiently(lambda: sum(a.final() for a in actors))
        if breakers:
            report(s, breakers)
        # The same once more by fresh processes.
        s.stop()
        s.start()
        check(s)
        same(sum(a.final() for a in actors), left)
        if count < 20:
            fail(f"only {count} messages were acknowledged: that proves nothing\n" + s.output())
        acts = sum(a.acts for a in actors)
        if acts < 40:
            fail(f"only {acts} changes were made: that proves nothing\n" + s.output())
        told = sum(sleeper.told for sleeper in sleepers)
        if told == 0:
            fail("no session heard of a message: that proves nothing\n" + s.output())
        print(f"{storage}: {what}, {count} acknowledged messages, all there once and unharmed; {acts} changes, {left} messages left by them; "
              f"idle sessions heard of new mail {told} times", flush=True)
        if vandals:
            harms = {}
            for v in vandals:
                for what, n in v.tally.items():
                    harms[what] = harms.get(what, 0) + n
            print("  files harmed: " + ", ".join(f"{what} {n}" for what, n in sorted(harms.items())), flush=True)
            if sum(harms.values()) < 10:
                fail("hardly a file was harmed: that proves nothing")
        if refusals:
            print("  refused: " + ", ".join(f"{why}: {n}" for why, n in refusals.most_common()), flush=True)
        s.stop()
        if troubles:
            troubles.cleanup()
        if disk:
            disk.cleanup()
        s.close()


main()
