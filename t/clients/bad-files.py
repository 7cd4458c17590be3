#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Message files that are missing, cut, replaced by garbage or unreadable: each is an error of that message alone, told to the client at each attempt and to the
administrator once; sessions, searches and the other messages go on. Those whose octets the journal has are read from there, and their files made anew. And odd files in
place of the server's own: links, pipes, directories and files without rights, which are set aside."""
import glob
import imaplib
import os
import poplib
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import comes, culver, fail, healthy, same  # noqa: E402

# In the order of UIDs from 2; 1 and the last one stay as they are.
KINDS = ["missing", "cut", "cut-large", "empty", "garbage", "garbage-longer", "no-rights", "directory"]
# A field that is too long for the parse record.
LONG = ("\r\n " + "o" * 100) * 3


def message(name, large=False):
    body = "".join(f"line {i} of the message called {name}\r\n" for i in range(20000 if large else 5))
    return f"From: Anna <anna@example.org>\r\nSubject: {name}\r\nX-Odd: {name}{LONG}\r\nMessage-ID: <{name}@example.org>\r\n\r\n{body}straw\r\n".encode()


NAMES = ["first"] + KINDS + ["last"]
MAILS = [message(name, "large" in name) for name in NAMES]


def login(s, user):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login(user, culver.PASSWORD)
    return m


def files(s, user, storage):
    root = os.path.join(s.mail, user)
    if storage == "sdbox":
        found = glob.glob(os.path.join(root, "mailboxes", "INBOX", "dbox-Mails", "u.*"))
        return sorted((f for f in found if ".damaged-" not in f), key=lambda f: int(f.rsplit(".", 1)[1]))
    found = glob.glob(os.path.join(root, "cur", "*")) + glob.glob(os.path.join(root, "new", "*"))
    by_name = {re.search(rb"\r?\nSubject: (\S+)", open(f, "rb").read()).group(1).decode(): f for f in found}
    return [by_name[name] for name in NAMES]


def spoil(path, kind):
    data = open(path, "rb").read()
    owner = os.stat(path)
    if kind == "missing":
        os.unlink(path)
    elif kind.startswith("cut"):
        os.truncate(path, len(data) // 2)
    elif kind == "empty":
        os.truncate(path, 0)
    elif kind == "garbage":
        open(path, "r+b").write(bytes((b * 7 + 13) % 256 for b in data[:200]))
        os.truncate(path, 200)
    elif kind == "garbage-longer":
        open(path, "r+b").write(os.urandom(len(data) + 1000))
    elif kind == "no-rights":
        os.chmod(path, 0)
    elif kind == "directory":
        os.unlink(path)
        os.mkdir(path)
        os.chown(path, owner.st_uid, owner.st_gid)


def whole(m, what):
    """Messages that FETCH what sends, by number, and the tagged reply."""
    m.untagged_responses.clear()
    kind, data = m.fetch(what, "(UID BODY.PEEK[])")
    sent = data if kind == "OK" else m.response("FETCH")[1]
    return kind, data, {int(d[0].split()[0]): d[1] for d in sent if isinstance(d, tuple)}


def found(m, *query):
    m.untagged_responses.clear()
    kind, data = m.search(None, *query)
    same(kind, "OK", data)
    warnings = m.untagged_responses.get("NO", []) or []
    return [int(n) for n in data[0].split()], b" ".join(w or b"" for w in warnings)


def told(s, user, at):
    """How often the log tells of each message's trouble."""
    with open(s.log, errors="replace") as f:
        f.seek(at)
        lines = [line for line in f if f"user={user}" in line or f"({user})" in line or user in line]
    out = {}
    for line in lines:
        m = re.search(r"message (\d+) can't be read", line)
        if m:
            out[int(m.group(1))] = out.get(int(m.group(1)), 0) + 1
    return out, [line for line in lines if re.search(r"cannot be read|could not be|FETCH of message", line)]


def one_session(s, user, bad, rights):
    good = {i + 1: octets for i, octets in enumerate(MAILS) if i + 1 not in bad}
    m = login(s, user)
    m.select("INBOX")
    for n in sorted(bad) * 2:
        kind, data, sent = whole(m, str(n))
        same((kind, sent), ("NO", {}), (NAMES[n - 1], data))
        same(data[0].startswith(b"[CORRUPTION] Message can't be read"), True, (NAMES[n - 1], data))
        same(b"/" in data[0] or b"u." in data[0], False, data)
    kind, data, sent = whole(m, "1:*")
    same(kind, "NO", data)
    same(sent == good, True, f"the others are sent: {sorted(sent)}")
    # Nothing of the message is needed for these.
    kind, data = m.fetch("1:*", "(UID FLAGS ENVELOPE RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    same((kind, sum(isinstance(d, tuple) for d in data)), ("OK", len(MAILS)), data)
    for n in bad:
        same(m.fetch(str(n), "(BODY.PEEK[HEADER])")[0], "NO", NAMES[n - 1])
        same(m.fetch(str(n), "(BODY.PEEK[]<0.10>)")[0], "NO", NAMES[n - 1])
    for query in (("BODY", "straw"), ("TEXT", "straw"), ("HEADER", "X-Odd", "st")):
        got, warning = found(m, *query)
        same(got, sorted(good) if query[0] != "HEADER" else [1, len(MAILS)], query)
        same(f"[CORRUPTION] {len(bad)} damaged or missing".encode() in warning, True, warning)
    same(found(m, "SUBJECT", "garbage")[0], [n + 1 for n, name in enumerate(NAMES) if "garbage" in name], "the parse record knows")
    same(found(m, "NOT", "BODY", "nowhere")[0], sorted(good))
    kind, data = m._simple_command("UID", "SORT", "(SUBJECT)", "UTF-8", "BODY", "straw")
    same(kind, "OK", data)
    same(m.store("1:*", "+FLAGS", "(\\Flagged)")[0], "OK")
    m.noop()
    same(len(m.search(None, "FLAGGED")[1][0].split()), len(MAILS))
    # A copy of all is all or nothing.
    same(m.copy("1,10", "Sent")[0], "OK")
    m.logout()


def pop3(s, user, bad):
    p = poplib.POP3("127.0.0.1", s.ports["pop3"], timeout=30)
    p.user(user)
    p.pass_(culver.PASSWORD)
    same(len(p.list()[1]), len(MAILS))
    for n, octets in enumerate(MAILS, 1):
        for command in (lambda: p.retr(n), lambda: p.top(n, 1)):
            try:
                lines = command()[1]
                same(n in bad, False, NAMES[n - 1])
                if len(lines) > 9:
                    same(b"".join(line + b"\r\n" for line in lines) == octets, True)
            except poplib.error_proto as e:
                same((n in bad, e.args[0].startswith(b"-ERR") and b"annot be read" in e.args[0]), (True, True), (NAMES[n - 1], e))
    p.quit()


def run(s, storage, user):
    m = login(s, user)
    for octets in MAILS:
        same(m.append("INBOX", None, None, octets)[0], "OK")
    m.select("INBOX")
    same(whole(m, "1:*")[2] == dict(enumerate(MAILS, 1)), True)
    at = os.path.getsize(s.log)
    bad = set()
    for n, (path, name) in enumerate(zip(files(s, user, storage), NAMES), 1):
        # Where other programs may write, a file that goes is a message that goes.
        if name in KINDS and not (storage == "maildir" and name in ("missing", "directory")):
            spoil(path, name)
            bad.add(n)
    # The session that was there before, and new ones.
    kind, data, sent = whole(m, "1:*")
    same((kind, len(sent)), ("NO", len(MAILS) - len(bad)), data)
    m.logout()
    keep = login(s, user)
    one_session(s, user, bad, None)
    pop3(s, user, bad)
    one_session(s, user, bad, None)
    counts, other = told(s, user, at)
    same(counts, {n: 1 for n in bad}, "the log tells once of each")
    same(other, [], "and nothing else of them")
    keep.logout()
    # They go as any other: copied, expunged, their names are free. Nothing that is to be done afterwards waits for them.
    m = login(s, user)
    m.select("INBOX")
    if storage == "sdbox":
        same(m.copy(",".join(map(str, sorted(bad))), "Sent")[0], "OK")
    same(m.store(",".join(map(str, sorted(bad))), "+FLAGS", "(\\Deleted)")[0], "OK")
    same(m.expunge()[0], "OK")
    same(sorted(whole(m, "1:*")[2].values()) == sorted(o for i, o in enumerate(MAILS, 1) if i not in bad), True)
    if storage == "sdbox":
        comes(lambda: sorted(os.path.basename(f) for f in files(s, user, storage)), sorted(f"u.{i}" for i in range(1, len(MAILS) + 1) if i not in bad), "files that are left")
        same("trying again later" in open(s.log, errors="replace").read(), False, "nothing is tried again and again")
    if storage == "maildir":
        path = files_left(s, user, "missing")
        os.unlink(path)
        kind, data, sent = whole(m, "1:*")
        same(kind, "NO", data)
        same(data[0].startswith(b"[EXPUNGEISSUED]") or "EXPUNGE" in m.untagged_responses, True, data)
        m.noop()
        kind, data, sent = whole(m, "1:*")
        same((kind, len(sent)), ("OK", len(MAILS) - len(bad) - 1))
    m.logout()


def files_left(s, user, name):
    root = os.path.join(s.mail, user)
    for f in glob.glob(os.path.join(root, "cur", "*")) + glob.glob(os.path.join(root, "new", "*")):
        if b"Subject: " + name.encode() in open(f, "rb").read():
            return f
    fail(f"no file of {name}")


def comes_back(s, user):
    """Of sdbox, as long as the journal has the octets."""
    mails = [octets if "large" not in name else message(name) for name, octets in zip(NAMES, MAILS)]
    m = login(s, user)
    for octets in mails:
        same(m.append("INBOX", None, None, octets)[0], "OK")
    m.select("INBOX")
    same(whole(m, "1:*")[2] == dict(enumerate(mails, 1)), True)
    for round_ in range(2):
        paths = files(s, user, "sdbox")
        at = os.path.getsize(s.log)
        for path, name in zip(paths, NAMES):
            if name in KINDS:
                spoil(path, name)
        same(whole(m, "1:*")[2] == dict(enumerate(mails, 1)), True, "all are read as they were")
        with open(s.log, errors="replace") as f:
            f.seek(at)
            same(sum("made anew from the journal" in line for line in f), len(KINDS), "a line for each")
        same(len(glob.glob(os.path.join(os.path.dirname(paths[0]), "u.*.damaged-*"))), (round_ + 1) * (len(KINDS) - 1), "what was there is kept")
        for path in glob.glob(os.path.join(os.path.dirname(paths[0]), "u.*.damaged-*")):
            same(os.path.basename(path).split(".")[1].isdigit(), True)
    m.logout()


ODD = ["link", "dangling", "loop", "pipe", "directory", "no-rights"]


def put_odd(path, kind, outside):
    """What was there goes, but for its rights."""
    if kind == "no-rights":
        os.chown(path, 0, 0)
        os.chmod(path, 0)
        return
    os.unlink(path)
    if kind == "pipe":
        os.mkfifo(path, 0o600)
        os.chmod(path, 0o666)
    elif kind == "directory":
        os.mkdir(path)
    else:
        os.symlink({"link": outside, "dangling": "nowhere", "loop": os.path.basename(path)}[kind], path)


def odd_files(s, storage, user):
    """The server's own files, each kind of oddity in the place of all of them at once: nobody waits, nothing is lost, nothing outside is touched."""
    outside = os.path.join(s.mail, "outside")
    m = login(s, user)
    m.append("INBOX", "($Odd)", None, MAILS[0])
    m.create("Box")
    m.append("Box", "($Odd)", None, MAILS[-1])
    m.logout()
    folders = [os.path.join(s.mail, user, "mailboxes", box, "dbox-Mails", "culver-mailbox") for box in ("INBOX", "Box")] if storage == "sdbox" else \
        [os.path.join(s.mail, user, box, "dovecot-keywords") for box in ("", ".Box")]
    index = os.path.join(s.mail, user, "culver-index")
    for kind in ODD:
        s.stop()
        for path in [os.path.join(index, "lock"), os.path.join(index, "fs-test"), sorted(glob.glob(os.path.join(index, "journal.*[0-9a-f]")))[-1]] + folders:
            if os.path.lexists(path):
                with open(outside, "w") as f:
                    f.write("outside\n")
                os.chmod(outside, 0o666)
                put_odd(path, kind, outside)
        s.start()
        m = login(s, user)
        for box, octets in (("INBOX", MAILS[0]), ("Box", MAILS[-1])):
            same(m.select(box)[0], "OK", (kind, box))
            sent = whole(m, "1:*")[2]
            same(sent.get(1) == octets, True, (kind, box))
            same(m.append(box, "($New)", None, octets)[0], "OK", (kind, box))
            same(m.uid("STORE", "1", "+FLAGS", "($Kept)")[0], "OK", (kind, box))
            same(len(m.search(None, "KEYWORD", "$Kept")[1][0].split()), 1, (kind, box))
        same(m.create(f"made-{kind}")[0], "OK", kind)
        same(m.delete(f"made-{kind}")[0], "OK", kind)
        m.logout()
        same(open(outside).read(), "outside\n", kind)
    s.stop()
    s.start()
    healthy(s)


for storage in culver.storages() or fail("no storage module is installed"):
    s = culver.Server(storage=storage, settings="default_idle_kill = 600s\nmail_journal_message_size = 0\n")
    try:
        s.start()
        run(s, storage, "anna")
        healthy(s)
        s.stop()
    finally:
        s.close()
    s = culver.Server(storage=storage, settings="default_idle_kill = 600s\n")
    try:
        s.start()
        if storage == "sdbox":
            comes_back(s, "anna")
        odd_files(s, storage, "bob")
        s.stop()
        print(storage, "ok", flush=True)
    finally:
        s.close()
