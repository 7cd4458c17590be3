#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9 of any process at any moment under a storm of deliveries and clients: every change that was acknowledged is there exactly once, and nothing
else, with the same UIDs. What was on its way when a connection broke may have been done or not, but not by half. Sessions that sleep in IDLE count the messages
they are told of.

With --harm files of the index are removed, cut, overwritten, changed and replaced by older ones as well, one at a time for each user and then mended by
culver fsck or by the next opening; that loses nothing either.

With --trouble other things befall the processes than that they are killed (KINDS of t/lib/trouble.py, with commas between them, or all): while these last clients are
refused for a while at most, and when they are over all users are served within a minute, by the same master.

usage: storm.py [--harm] [--trouble KINDS] [SECONDS [SEED]]"""
import argparse
import collections
import glob
import imaplib
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
parser.add_argument("--trouble", default="")
parser.add_argument("seconds", nargs="?", type=float, default=15)
parser.add_argument("seed", nargs="?", type=int, default=random.randrange(1 << 30))
args = parser.parse_args()
HARM, SECONDS, SEED = args.harm, args.seconds, args.seed
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
failures = []
refusals = collections.Counter()


def body(ident):
    r = random.Random(ident)
    return f"From: a@example.org\r\nSubject: {ident}\r\nMessage-ID: <{ident}@storm.example>\r\n\r\n" + "".join(
        f"{r.getrandbits(200):x}\r\n" for _ in range(r.randrange(1, 200)))


def refused(why):
    """What is refused is so for a while: clients are told to come again."""
    with lock:
        refusals[why] += 1


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
                        fail(f"{where}: {flag} should be {on}: {flags}")
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
            # What came meanwhile is told before the tagged line, behind the answer.
            same(found, count, f"{self.user}: messages found, and told of")
            for line in lines:
                count = self.exists(line, count)
        c.cmd("LOGOUT")

    def exists(self, line, count):
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
                if re.search(r"\[(UNAVAILABLE|INUSE|SERVERBUG|LIMIT|AUTHENTICATIONFAILED)\]|^t\d+ BYE", str(e)):
                    time.sleep(0.05)  # a login that met a process being restarted
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
        return f"{what} {os.path.basename(path)}"

    def mend(self, what):
        """fsck, until it gets through: what it finds is mended, and nothing is lost."""
        end = time.monotonic() + 60
        while True:
            r = subprocess.run([self.s.binary("culver"), "-c", self.s.conf, "fsck", "--repair", self.user], capture_output=True, text=True,
                               **self.s.identity())
            if r.returncode in (0, 1):
                return
            if r.returncode == 2 and "lost" in r.stdout:
                fail(f"{self.user}: {what}: fsck says\n{r.stdout}{r.stderr}")
            if time.monotonic() > end:
                fail(f"{self.user}: {what}: fsck does not get through: {r.returncode}\n{r.stdout}{r.stderr}")
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
            except BaseException as e:
                failures.append(e)
                raise


def check(s):
    for user in USERS:
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=60)
        m.login(user, culver.PASSWORD)
        same(m.select("INBOX")[0], "OK")
        _, got = m.fetch("1:*", "(UID FLAGS BODY.PEEK[])")
        seen, uids = {}, []
        for part in got:
            if not isinstance(part, tuple):
                continue
            head, octets = part
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
            if owner == user and ident not in seen:
                fail(f"{user}: acknowledged message {ident} is lost")
        for ident, owner in flagged.items():
            if owner == user and b"\\Flagged" not in seen[ident]:
                fail(f"{user}: message {ident} lost its flag: {seen[ident]}")
        m.logout()
    return len(acknowledged)


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
    while time.monotonic() < end and not failures:
        names, t0 = troubles.one(), time.monotonic()
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


def main():
    global stop
    if not culver.storages():
        fail("no storage module is installed")
    print("seed", SEED)
    for storage in culver.storages():
        acknowledged.clear()
        flagged.clear()
        stop = False
        # Restarts back off; here they should come soon.
        s = culver.Server(storage=storage, settings=SETTINGS, keep=bool(os.environ.get("KEEP")))
        r = random.Random(SEED)
        troubles = trouble.Round(s, r, TROUBLE) if TROUBLE else None
        if troubles and not troubles.prepare():
            client.skip("no trouble can be made here")
        s.start()
        actors = [Actor(s, n) for n in range(4)]
        threads = [threading.Thread(target=f, args=(s, n), daemon=True) for n in range(3) for f in (deliverer, appender)]
        sleepers = [Sleeper(s, n) for n in range(3)]
        vandals = [Vandal(s, n) for n in range(len(USERS))] if HARM else []
        threads += [threading.Thread(target=a.loop, daemon=True) for a in actors + sleepers + vandals]
        for t in threads:
            t.start()
        end = time.monotonic() + SECONDS
        what = rounds(s, r, end, troubles) if troubles else kill(s, r, end)
        stop = True
        for t in threads:
            t.join(60)
        if failures:
            print(s.output()[-8000:])
            raise failures[0]
        count = patiently(lambda: check(s))
        left = patiently(lambda: sum(a.final() for a in actors))
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
        s.close()


main()
