#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Messages that a transform keeps in another form are for every client what they were: saved, read in parts, searched, copied, after a restart and after
the journal is lost; one that is damaged is an error of its own. With the transforms in t/plugins/transform."""
import glob
import imaplib
import os
import poplib
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import comes, culver, fail, healthy, need, same, use_plugin  # noqa: E402

need("make", "pkg-config", "cc")
MAGIC = {"rle": b"\x80RLE1", "xor": b"\x81XOR1", "rlexor": b"\x81XOR1", "plain": b"X-Odd: "}


def message(subject, lines):
    return (f"X-Odd: kept nowhere else\r\nFrom: Anna <anna@example.org>\r\nSubject: {subject}\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{subject}@example.org>\r\n\r\n" + "".join(line + "\r\n" for line in lines)).encode()


SMALL = message("small", ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "needle in a haystack"])
# Longer than what is read whole before it is sent.
LARGE = message("large", [f"{i:08} {'=' * (i % 70)}" for i in range(60000)] + ["the last straw"])
NESTED = (b"X-Odd: outer\r\nMIME-Version: 1.0\r\nSubject: nested\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n"
          b"one\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nX-Odd: inner\r\nSubject: inside\r\n\r\ndeep text\r\n--b--\r\n")


def login(s, user):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login(user, culver.PASSWORD)
    return m


def fetch(m, seq, item):
    kind, data = m.fetch(str(seq), f"({item})")
    same(kind, "OK", data)
    return data[0][1] if isinstance(data[0], tuple) else data[0]


def files(s, user, storage, mailbox="INBOX"):
    root = os.path.join(s.mail, user)
    if storage == "sdbox":
        found = glob.glob(os.path.join(root, "mailboxes", mailbox, "dbox-Mails", "u.*"))
        return sorted(found, key=lambda f: int(f.rsplit(".", 1)[1]))
    root = root if mailbox == "INBOX" else os.path.join(root, "." + mailbox)
    return sorted(glob.glob(os.path.join(root, "cur", "*")) + glob.glob(os.path.join(root, "new", "*")))


def parts(path, storage):
    """The stored octets of the message and, for dbox, the lines behind them."""
    data = open(path, "rb").read()
    if storage == "maildir":
        return data, {}
    start = data.index(b"\n") + 1 + 30
    size = int(data[start - 17:start - 1], 16)
    return data[start:start + size], {line[:1].decode(): line[1:].decode() for line in data[start + size:].split(b"\n")[2:] if line}


def reads(m, mails):
    """All of the messages, from the INBOX that is selected."""
    for seq, octets in enumerate(mails, 1):
        header, body = octets.split(b"\r\n\r\n", 1)
        same(fetch(m, seq, "BODY.PEEK[]") == octets, True, f"message {seq}")
        same(int(re.search(rb"RFC822.SIZE (\d+)", fetch(m, seq, "RFC822.SIZE")).group(1)), len(octets))
        same(fetch(m, seq, "BODY.PEEK[HEADER]"), header + b"\r\n\r\n")
        same(fetch(m, seq, "BODY.PEEK[HEADER.FIELDS (X-Odd)]"), re.search(rb"X-Odd: [^\r]*\r\n", octets).group(0) + b"\r\n")
        same(fetch(m, seq, "BODY.PEEK[TEXT]<3.20>"), body[3:23])
        # Forward in pieces, then back.
        step = max(1, len(octets) // 7)
        places = list(range(0, len(octets), step))
        got = {p: fetch(m, seq, f"BODY.PEEK[]<{p}.{step}>") for p in places}
        same(b"".join(got[p] for p in places) == octets, True, f"pieces of message {seq}")
        for p in reversed(places[-3:]):
            same(fetch(m, seq, f"BODY.PEEK[]<{p}.{step}>") == octets[p:p + step], True)
    same(m.search(None, "1:3", "BODY", '"needle in a"')[1], [b"1"])
    same(m.search(None, "1:3", "BODY", '"the last straw"')[1], [b"2"])
    same(m.search(None, "1:3", "TEXT", '"deep text"')[1], [b"3"])
    same(m.search(None, "1:3", "HEADER", "X-Odd", "nowhere")[1], [b"1 2"])
    same(fetch(m, 3, "BODY.PEEK[2]"), b"X-Odd: inner\r\nSubject: inside\r\n\r\ndeep text")
    same(fetch(m, 3, "BODY.PEEK[2.HEADER.FIELDS (X-Odd)]"), b"X-Odd: inner\r\n\r\n")


def stored(s, user, storage, mails):
    """What lies on the disk, and that names and metadata tell of the message."""
    comes(lambda: len(files(s, user, storage)), len(mails), "files")
    paths = files(s, user, storage)
    by_size = {}
    for path in paths:
        octets, lines = parts(path, storage)
        same(octets[:5], MAGIC[user][:5], path)
        if storage == "sdbox":
            size = int(lines.get("Z", f"{len(octets):x}"), 16)
            same("Z" in lines, size != len(octets), path)
            same(int(lines["V"], 16), size, "every line end is CRLF")
        else:
            size, virtual = (int(re.search(rf",{key}=(\d+)", path).group(1)) for key in "SW")
            same(size, virtual, path)
        by_size[size] = octets
    same(sorted(by_size), sorted(map(len, mails)))
    if user != "plain":
        for octets in mails:
            same(by_size[len(octets)] == octets, False)
    if user == "rle":
        same(len({len(o) == size for size, o in by_size.items()} - {False}), 0, "sizes differ")


def pop3(s, user, mails):
    p = poplib.POP3("127.0.0.1", s.ports["pop3"], timeout=30)
    p.user(user)
    p.pass_(culver.PASSWORD)
    same([int(line.split()[1]) for line in p.list()[1]], [len(o) for o in mails])
    for i, octets in enumerate(mails, 1):
        same(b"".join(line + b"\r\n" for line in p.retr(i)[1]) == octets, True)
        header, body = octets.split(b"\r\n\r\n", 1)
        same(b"".join(line + b"\r\n" for line in p.top(i, 1)[1]), header + b"\r\n\r\n" + body.split(b"\r\n")[0] + b"\r\n")
    p.quit()


def damage(s, user, storage, size):
    """Turn some octets in the middle of the message of this size."""
    for path in files(s, user, storage):
        octets, lines = parts(path, storage)
        have = int(lines.get("Z", f"{len(octets):x}"), 16) if storage == "sdbox" else int(re.search(r",S=(\d+)", path).group(1))
        if have != size:
            continue
        data = open(path, "rb").read()
        at = data.index(octets) + len(octets) // 2
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(bytes(b ^ 0xff for b in data[at:at + 4]))
        return
    fail(f"no message of {size} octets")


def one_user(s, user, storage):
    m = login(s, user)
    mails = [SMALL, LARGE, NESTED]
    for octets in mails:
        kind, data = m.append("INBOX", None, None, octets)
        same(kind, "OK", data)
    m.select("INBOX")
    reads(m, mails)
    stored(s, user, storage, mails)

    code, text = s.deliver(user, SMALL)
    same(code, 250, text)
    m.noop()
    delivered = fetch(m, 4, "BODY.PEEK[]")
    same(delivered.endswith(SMALL), True)
    mails.append(delivered)

    # Copies: the octets on the disk stay as they are.
    same(m.copy("1:3", "Sent")[0], "OK")
    m.select("Sent")
    for i, octets in enumerate(mails[:3], 1):
        same(fetch(m, i, "BODY.PEEK[]") == octets, True)
    same(sorted(parts(p, storage)[0] for p in files(s, user, storage, "Sent")) ==
         sorted(parts(p, storage)[0] for p in files(s, user, storage) if parts(p, storage)[0] and size_of(p, storage) in map(len, mails[:3])), True)

    # What begins like a stored form is refused: read again, it would not be what it was.
    for magic in (MAGIC["rle"], MAGIC["xor"]):
        kind, data = m.append("INBOX", None, None, magic + b": x\r\n\r\nbody\r\n")
        same((kind, b"as if it were compressed" in data[0]), ("NO", True), data)
    m.select("INBOX")
    same(len(m.search(None, "ALL")[1][0].split()), 4)
    m.logout()
    pop3(s, user, mails)
    return mails


def size_of(path, storage):
    octets, lines = parts(path, storage)
    return int(lines.get("Z", f"{len(octets):x}"), 16) if storage == "sdbox" else int(re.search(r",S=(\d+)", path).group(1))


def damaged(s, user, storage, mails):
    damage(s, user, storage, len(SMALL))
    m = login(s, user)
    m.select("INBOX")
    for _ in range(2):
        kind, data = m.fetch("1", "(BODY.PEEK[])")
        same(kind, "NO", data)
        same(b"example.org" in data[0] or b"/" in data[0], False, data)
        kind, data = m.fetch("1:3", "(UID BODY.PEEK[])")
        same(kind, "NO", "the others are sent, the command tells that one was not")
        sent = m.response("FETCH")[1]
        same(any(isinstance(d, tuple) and d[1] == NESTED for d in sent), True, str(sent)[:300])
    # What was parsed when it was saved is still known, and a search goes on.
    same(b"small" in fetch(m, 1, "ENVELOPE"), True)
    same(m.search(None, "1:3", "TEXT", '"deep text"')[1], [b"3"])
    same(fetch(m, 3, "BODY.PEEK[]"), NESTED)
    m.logout()
    p = poplib.POP3("127.0.0.1", s.ports["pop3"], timeout=30)
    p.user(user)
    p.pass_(culver.PASSWORD)
    try:
        p.retr(1)
        fail("POP3 sent a damaged message")
    except poplib.error_proto as e:
        same(e.args[0].startswith(b"-ERR"), True, e)
    same(b"".join(line + b"\r\n" for line in p.retr(3)[1]), NESTED)
    p.quit()


def without(s, user, mails):
    """The module is gone: sizes and envelopes are known, octets are not to be had, and nothing wrong is shown."""
    m = login(s, user)
    m.select("INBOX")
    same(int(re.search(rb"RFC822.SIZE (\d+)", fetch(m, 1, "RFC822.SIZE")).group(1)), len(mails[0]))
    kind, data = m.fetch("1", "(BODY.PEEK[])")
    same(kind, "NO", data)
    m.logout()


if not culver.storages():
    fail("no storage module is installed")
for storage in culver.storages():
    # Copies by links here, by hand there.
    s = culver.Server(storage=storage, settings="mail_plugins = transform\n" + "maildir_copy_with_hardlinks = no\n" * (storage == "maildir"))
    try:
        use_plugin(s, "transform")
        s.start()
        mails = {}
        for user in ("plain", "rle", "xor", "rlexor"):
            mails[user] = one_user(s, user, storage)
            print(storage, user, "ok", flush=True)
        s.stop()
        s.start()
        for user in mails:
            m = login(s, user)
            m.select("INBOX")
            reads(m, mails[user][:3])
            m.logout()
        print(storage, "restart ok", flush=True)
        s.stop()
        if storage == "sdbox":
            text = open(s.conf).read()
            open(s.conf, "w").write(text.replace("mail_plugins = transform\n", ""))
            s.start()
            without(s, "rle", mails["rle"])
            s.stop()
            open(s.conf, "w").write(text)
            print(storage, "without the module ok", flush=True)
        # The journal and all that was derived is lost: the messages come back with their sizes.
        for user in mails:
            shutil.rmtree(os.path.join(s.mail, user, "culver-index"))
        s.start()
        for user in mails:
            m = login(s, user)
            m.select("INBOX")
            reads(m, mails[user][:3])
            m.logout()
        print(storage, "lost journal ok", flush=True)
        for user in ("rle", "rlexor"):
            damaged(s, user, storage, mails[user])
        print(storage, "damage ok", flush=True)
        healthy(s)
        s.stop()
    finally:
        s.close()
