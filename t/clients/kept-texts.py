#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ENVELOPE and BODYSTRUCTURE that were kept in the cache file are octet for octet those that are made of the parse record and of the message: of all messages of the
benchmark's kinds and of the fuzzing corpora, in both storages.

usage: kept-texts.py [PREFIX]"""

import glob
import os
import re
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import client  # noqa: E402
import culver  # noqa: E402

ITEMS = (b"ENVELOPE BODYSTRUCTURE", b"BODYSTRUCTURE", b"ENVELOPE")
check = client.Checks()


def messages():
    """Well-formed ones and all that fuzzing had of messages and headers."""
    out = [b"From: a%d@example.org\r\nTo: b@example.org\r\nSubject: number %d\r\n\r\nx\r\n" % (n, n) for n in range(30)]
    out.append(b"Subject: many\r\nTo: a@b" + b",\r\n someone.with.a.long.name@example.org" * 600 + b"\r\n\r\nx\r\n")  # too long to be kept
    for path in sorted(glob.glob(os.path.join(HERE, "..", "fuzz", "corpus", "mime", "*")) + glob.glob(os.path.join(HERE, "..", "fuzz", "corpus", "header", "*"))):
        octets = re.sub(rb"\r?\n", b"\r\n", open(path, "rb").read().replace(b"\0", b"?"))
        out += [octets, b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n" + octets]
    return [m for m in out if m.strip()]


class Session:
    def __init__(self, server):
        self.sock = socket.create_connection(("127.0.0.1", server.ports["imap"]))
        self.sock.settimeout(60)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.command(b"LOGIN alice " + culver.PASSWORD.encode())

    def command(self, text):
        """All octets up to the tagged reply, which must be OK."""
        self.sock.sendall(b"t " + text + b"\r\n")
        out = b""
        while True:
            line = self.file.readline()
            if line.startswith((b"t OK", b"t NO", b"t BAD")) or not line:
                check(line.startswith(b"t OK"), f"{text[:60]!r}: {line!r}")
                return out
            out += line

    def append(self, message):
        self.command(b"APPEND INBOX {%d+}\r\n" % len(message) + message)

    def texts(self, items=ITEMS[0]):
        self.command(b"EXAMINE INBOX")
        return self.command(b"UID FETCH 1:* (" + items + b")")


def caches(server):
    return glob.glob(os.path.join(server.dir, "**", "cache.*"), recursive=True)


def run(storage, prefix):
    server = culver.Server(storage=storage, prefix=prefix, keep=bool(os.environ.get("KEEP")))
    server.start()
    try:
        s = Session(server)
        for message in messages():
            s.append(message)
        composed = s.texts()
        check(composed.count(b"BODYSTRUCTURE") >= len(messages()), f"{storage}: FETCH tells of all messages")
        alone = {items: s.texts(items) for items in ITEMS[1:]}
        server.stop()
        check(len(caches(server)) == 1 and b"CVcr" in open(caches(server)[0], "rb").read(), f"{storage}: texts are in the cache file")
        server.start()
        for items in ITEMS[1:]:
            check(Session(server).texts(items) == alone[items], f"{storage}: {items.decode()} alone")
        server.stop()
        server.start()
        s = Session(server)
        for turn in range(3):  # from the file, from the file into memory, from memory
            check(s.texts() == composed, f"{storage}: the texts that were kept, asked for {turn + 1} times")
        server.stop()
        for path in caches(server):
            os.unlink(path)
        server.start()
        check(Session(server).texts() == composed, f"{storage}: made of the messages again")
        server.stop()
        server.start()
        check(Session(server).texts() == composed, f"{storage}: kept again")
        server.stop()
        path = caches(server)[0]
        octets = open(path, "rb").read()
        with open(path, "wb") as f:  # every text damaged
            f.write(re.sub(rb"BENCH|\"text\"|\"TEXT\"|NIL", lambda m: m.group().swapcase()[::-1], octets))
        server.start()
        check(Session(server).texts() == composed, f"{storage}: made anew where they are damaged")
        complaints = server.complaints()
        check(not complaints, f"{storage}: log: " + "\n".join(complaints[:3]))
    finally:
        server.close()


def main():
    prefix = sys.argv[1] if len(sys.argv) > 1 else None
    for storage in ("sdbox", "maildir"):
        run(storage, prefix)
    return check.status("kept-texts.py")


if __name__ == "__main__":
    sys.exit(main())
