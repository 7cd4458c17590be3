#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""culver fsck on a live server: every kind of damage, made by hand under an open session, is found, then repaired or said to be lost; afterwards the mail is
what it was, and a second run finds nothing.

usage: fsck.py [PREFIX]"""

import glob
import imaplib
import json
import os
import random
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import client  # noqa: E402
import culver  # noqa: E402

USER = "alice"
LONG = {27, 29}  # numbers of messages whose octets no journal has
check = client.Checks()


def message(n):
    return f"From: a@example.org\r\nSubject: number {n}\r\n\r\nBody of {n}\r\n{'x' * (300000 if n in LONG else 60)}\r\n".encode()


class Mail:
    """A user with some mail, and the model of it."""

    def __init__(self, storage, prefix):
        self.storage = storage
        # Small sizes, so that there are snapshots, older snapshots and several segments.
        self.server = culver.Server(storage=storage, prefix=prefix, keep=bool(os.environ.get("KEEP")),
                                    settings="mail_journal_segment_size = 64k\nmail_snapshot_min_size = 4k\n")
        self.server.start()
        c = self.login()
        check(c.create("Box")[0] == "OK", "CREATE")
        for box, count in (("INBOX", 30), ("Box", 8)):
            for n in range(1, count + 1):
                c.append(box, r"(\Seen)" if n % 3 == 0 else "($Work)" if n % 3 == 1 else None, None, message(n))
        c.select("Box")
        c.uid("STORE", "8", "+FLAGS", r"(\Deleted)")
        c.expunge()
        c.logout()
        self.reopen()  # closed twice: there are older snapshots and an older state
        c = self.login()
        c.select("INBOX")
        c.uid("STORE", "1:5", "+FLAGS", r"(\Flagged)")
        c.logout()
        self.reopen()
        self.session = self.login()
        self.session.select("INBOX")
        self.want = {box: self.read(box) for box in ("INBOX", "Box")}

    def login(self):
        c = imaplib.IMAP4("127.0.0.1", self.server.ports["imap"])
        c.login(USER, culver.PASSWORD)
        return c

    def reopen(self):
        self.server.stop()
        self.server.start()

    def close(self):
        complaints = self.server.complaints()
        check(not complaints, "log: " + "\n".join(complaints[:3]))
        self.server.close()

    def read(self, box):
        """Everything a client can see: {uid: (flags, date, body or None when refused)}"""
        c = self.login()
        ok, count = c.select(box, readonly=True)
        assert ok == "OK", count
        found = {}
        typ, data = c.uid("FETCH", "1:*", "(FLAGS INTERNALDATE)")
        for line in data:
            if line is None:
                continue
            line = line.decode()
            uid = int(re.search(r"UID (\d+)", line).group(1))
            flags = frozenset(re.search(r"FLAGS \((.*?)\)", line).group(1).split()) - {r"\Recent"}
            date = re.search(r'INTERNALDATE "(.*?)"', line).group(1)
            found[uid] = [flags, date, None]
        for uid in found:
            typ, data = c.uid("FETCH", str(uid), "(ENVELOPE BODY.PEEK[])")  # ENVELOPE: parse records are looked at and made anew
            if typ == "OK" and data and isinstance(data[0], tuple):
                found[uid][2] = data[0][1]
        c.logout()
        return found

    def index(self):
        return os.path.join(self.server.mail, USER, "culver-index")

    def files(self, pattern):
        return sorted(p for p in glob.glob(os.path.join(self.index(), pattern)) if ".damaged-" not in p)

    def message_file(self, box, uid):
        root = os.path.join(self.server.mail, USER)
        if self.storage == "sdbox":
            return os.path.join(root, "mailboxes", box, "dbox-Mails", f"u.{uid}")
        folder = root if box == "INBOX" else os.path.join(root, "." + box)
        want = message(uid)
        for path in glob.glob(os.path.join(folder, "new", "*")) + glob.glob(os.path.join(folder, "cur", "*")):
            if open(path, "rb").read() == want:
                return path
        raise RuntimeError(f"no file of {box} {uid}")

    def own(self, path):
        if self.server.run_as:
            os.chown(path, self.server.run_as.pw_uid, self.server.run_as.pw_gid)

    def fsck(self, *args, user=USER):
        r = self.server.culver("fsck", "--json", *args, *([user] if user else []), check=False)
        rows = json.loads(r.stdout) if r.stdout.strip() else []
        if isinstance(rows, dict):
            rows = rows["rows"]
        return r.returncode, rows, r.stderr

    def same(self, what, but=()):
        """The mail is what it was. but: (mailbox, uid) whose body or whole may differ."""
        for box, want in self.want.items():
            got = self.read(box)
            for uid in set(want) | set(got):
                if (box, uid) in but:
                    continue
                check(got.get(uid) == want.get(uid), f"{self.storage} {what}: {box} {uid} is {got.get(uid)}, was {want.get(uid)}")
        check(self.session.noop()[0] == "OK", f"{what}: the open session does not go on")

    def damage(self, what, results, repaired, second=0, but=(), find=None, args=()):
        """It is found; the repair ends with `repaired`; then all is well."""
        name = f"{self.storage} {what}"
        status, rows, err = self.fsck("--report")
        check(status == 2 and rows, f"{name}: report ends with {status}, {rows} {err}")
        check(all(r["result"] == "found" for r in rows), f"{name}: {rows}")
        if find:
            check(any(find(r) for r in rows), f"{name}: not among {rows}")
        status, rows, err = self.fsck("--repair", *args)
        check(status == repaired, f"{name}: repair ends with {status}, not {repaired}: {rows} {err}")
        check({r["result"] for r in rows} == results, f"{name}: {rows}")
        status, rows, err = self.fsck("--report")
        check(status == second, f"{name}: the second run ends with {status}: {rows} {err}")
        self.same(what, but)


def flip(path, at=None):
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        at = len(data) // 2 if at is None else at
        data[at] ^= 0x20
        f.seek(0)
        f.write(data)


def harm_index(mail, what, pattern, pick=-1):
    """Each way to spoil one file of the index while the worker has it open."""
    rng = random.Random(5)
    for harm in ("flip", "cut", "remove", "garbage"):
        if what == "journal":  # something that is nowhere else
            mail.session.uid("STORE", "2", "+FLAGS", "$Tmp")
            mail.session.uid("STORE", "2", "-FLAGS", "$Tmp")
        paths = mail.files(pattern)
        check(paths, f"{mail.storage}: no {pattern}")
        if not paths:
            return
        path = paths[pick]
        size = os.path.getsize(path)
        if harm == "flip":
            # One octet of a journal; of others several, since what fills a snapshot's columns up is not looked at.
            for at in [size - 9] if what == "journal" else range(size // 4, size * 3 // 4, 64):
                flip(path, at)
        elif harm == "cut":
            os.truncate(path, size * 2 // 3)
        elif harm == "remove":
            os.unlink(path)
        else:
            with open(path, "wb") as f:
                f.write(rng.randbytes(size))
        if harm == "remove" and what == "cache":
            continue  # the worker has it open, and it can be made anew
        name = os.path.basename(path)
        mail.damage(f"{what} {harm}", {"repaired"}, 1, find=lambda r: r["file"].startswith(name.split(".")[0]))
        # What was repaired is what the next process reads.
    mail.session.logout()
    mail.reopen()
    mail.session = mail.login()
    mail.session.select("INBOX")
    mail.same(f"{what}, reopened")
    status, rows, err = mail.fsck("--report")
    check(status == 0, f"{mail.storage} {what}, reopened: {status} {rows} {err}")


def main():
    prefix = sys.argv[1] if len(sys.argv) > 1 else None
    for storage in culver.storages(prefix):
        mail = Mail(storage, prefix)
        try:
            status, rows, err = mail.fsck("--report")
            check(status == 0 and rows == [], f"{storage}: a whole tree gives {status} {rows} {err}")
            status, rows, err = mail.fsck("--repair")
            check(status == 0 and rows == [], f"{storage}: repairing a whole tree gives {status} {rows} {err}")
            r = mail.server.culver("fsck", USER)
            check("37 messages" in r.stdout, f"{storage}: {r.stdout}")
            for args, status in ((("--repair", "--report"), 65), (("--accept",), 65)):
                check(mail.fsck(*args)[0] == status, f"{storage}: {args}")
            check(mail.server.culver("fsck", check=False).returncode == 64, "fsck without a user")

            # The index.
            for what, pattern in (("state", "state"), ("state.old", "state.old"), ("snapshot", "box.*[0-9a-f]"),
                                  ("older snapshot", "box.*.old"), ("cache", "cache.*"), ("journal", "journal.*[0-9a-f]")):
                harm_index(mail, what, pattern)
            foreign = os.path.join(mail.index(), "box." + "0123456789abcdef" * 2)
            shutil.copy(mail.files("box.*")[0], foreign)
            mail.own(foreign)
            mail.damage("foreign snapshot", {"repaired"}, 1, find=lambda r: "0123456789abcdef" in r["file"])

            if storage == "sdbox":  # the journal has the octets of short ones
                for uid, harm in ((13, lambda path: flip(path)), (14, lambda path: os.truncate(path, 100)), (15, lambda path: os.truncate(path, 0)),
                                  (16, lambda path: shutil.copyfile(mail.message_file("INBOX", 1), path))):
                    path = mail.message_file("INBOX", uid)
                    harm(path)
                    mail.damage(f"damaged message {uid}", {"repaired"}, 1, find=lambda r: r["uid"] == uid)
                    check(len(glob.glob(path + ".damaged-*")) == 1, f"message {uid} was not kept")
                    harm(path)
                    mail.same(f"message {uid} damaged and read")
                check(mail.fsck()[0] == 0, "messages that were read are not whole")

            # Messages whose octets changed: nothing brings them back, others are not touched.
            flip(mail.message_file("INBOX", 27), -40 if storage == "maildir" else None)
            mail.damage("flipped message", {"lost"}, 2, second=2, but={("INBOX", 27)}, find=lambda r: r["uid"] == 27 and r["mailbox"] == "INBOX")
            mail.reopen()  # a process that has not compared them yet
            mail.session = mail.login()
            mail.session.select("INBOX")
            check(mail.read("INBOX")[27][2] is None, f"{storage}: a damaged message is sent")
            check(mail.session.uid("FETCH", "27", "(BODY.PEEK[])")[0] == "NO", f"{storage}: FETCH of a damaged message is no NO")
            check(mail.session.uid("FETCH", "26:28", "(FLAGS)")[0] == "OK", f"{storage}: FETCH FLAGS beside a damaged message")
            mail.damage("accepted message", {"repaired"}, 1, but={("INBOX", 27)}, args=("--accept",), find=lambda r: r["uid"] == 27)
            check(mail.read("INBOX")[27][2] is not None, f"{storage}: an accepted message is not sent")
            path = mail.message_file("INBOX", 29)
            whole = open(path, "rb").read()
            os.truncate(path, len(whole) - 30 if storage == "maildir" else len(whole) * 2 // 3)
            mail.damage("cut message", {"lost"}, 2, second=2, but={("INBOX", 27), ("INBOX", 29)}, find=lambda r: r["uid"] == 29)
            open(path, "wb").write(whole)
            check(mail.fsck()[0] == 0, f"{storage}: a message that was put back is not whole")
            mail.same("put back", but={("INBOX", 27)})
            status, rows, err = mail.fsck("--all", user=None)
            check(status >= 64, f"--all without a list of users: {status} {rows} {err}")

            if storage == "sdbox":
                os.unlink(mail.message_file("INBOX", 11))
                mail.damage("removed message", {"repaired"}, 1, but={("INBOX", 27)}, find=lambda r: r["uid"] == 11)
                large = message(31) + b"x" * 300000
                check(mail.session.append("INBOX", None, None, large)[0] == "OK", "a large message is not taken")
                check(mail.read("INBOX")[31][2] == large, "a large message is not what was sent")
                os.unlink(mail.message_file("INBOX", 31))
                mail.damage("removed large message", {"lost"}, 2, but={("INBOX", 27), ("INBOX", 31)}, find=lambda r: r["uid"] == 31)
                check(31 not in mail.read("INBOX"), "a message without a file is still listed")
                typ, data = mail.session.uid("SEARCH", "UID", "30:31")
                check(data[0].split() == [b"30"], f"the open session sees {data}")
                extra = os.path.join(os.path.dirname(mail.message_file("INBOX", 1)), "u.900")
                shutil.copy2(mail.message_file("INBOX", 1), extra)
                mail.own(extra)
                mail.damage("extra message", {"repaired"}, 1, but={("INBOX", 27), ("INBOX", 900)}, find=lambda r: r["file"] == "900")
                check(mail.read("INBOX")[900][2] == message(1), "an extra file was not taken in")
                mail.want["INBOX"][900] = mail.read("INBOX")[900]
                folder = os.path.join(mail.server.mail, USER, "mailboxes", "Strange", "dbox-Mails")
                os.makedirs(folder)
                shutil.copy2(mail.message_file("INBOX", 2), os.path.join(folder, "u.3"))
                for path in (os.path.join(folder, "u.3"), folder, os.path.dirname(folder)):
                    mail.own(path)
                mail.damage("extra folder", {"repaired"}, 1, but={("INBOX", 27)}, find=lambda r: r["file"] == "Strange")
                check([m[2] for m in mail.read("Strange").values()] == [message(2)], "an extra folder was not taken in")
                shutil.rmtree(os.path.join(mail.server.mail, USER, "mailboxes", "Box"))
                mail.damage("folder removed", {"repaired"}, 1, but={("INBOX", 27)})
                check(mail.session.append("Box", None, None, message(1))[0] == "OK", "a folder that was gone takes no messages")
                check([m[2] for m in mail.read("Box").values()][-1] == message(1), "the message in a folder made anew")
            else:
                os.unlink(mail.message_file("INBOX", 11))
                check(mail.fsck()[0] == 0, "maildir: what another program removed is damage")
                check(11 not in mail.read("INBOX"), "maildir: what another program removed is still there")
        finally:
            mail.close()
    return check.status("fsck")


if __name__ == "__main__":
    sys.exit(main())
