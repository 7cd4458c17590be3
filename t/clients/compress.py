#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""COMPRESS=DEFLATE with Python's zlib at the other end: over plain connections and TLS, all levels and ways to flush, large literals both ways, IDLE; what is no
compressed data ends the session alone, and what unpacks to very much is unpacked in bounded memory."""
import os
import random
import re
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import client  # noqa: E402
from client import culver, fail, healthy, mail, same  # noqa: E402


class Client(client.Client):
    """Logged in and compressed."""

    def __init__(self, s, tls=False, user="zip", level=6, flush=zlib.Z_SYNC_FLUSH):
        self.flush = flush
        super().__init__(s, "tls" if tls else "plain", user)
        if "COMPRESS=DEFLATE" not in self.cmd("CAPABILITY")[0]:
            fail("COMPRESS=DEFLATE is not announced")
        self.compress(level)

    def send(self, data, flush=None):
        super().send(data, flush or self.flush)


def day(s, tls, level, flush, seed):
    rng = random.Random(seed)
    c = Client(s, tls, f"zip{seed}", level, flush)
    text = ("".join(f"A line that repeats itself, number {i}.\r\n" for i in range(3000))).encode()
    noise = b"\r\n".join(bytes(rng.choice(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(70)) for _ in range(6000))
    messages = [b"Subject: m%d\r\n\r\n" % i + body for i, body in enumerate((text, noise, b"short\r\n"))]
    for i, m in enumerate(messages):
        c.n += 1
        if i % 2:
            # Non-synchronising, in pieces that do not care for lines.
            whole = b"t%d APPEND INBOX {%d+}\r\n" % (c.n, len(m)) + m + b"\r\n"
            while whole:
                cut = rng.randint(1, 30000)
                c.send(whole[:cut])
                whole = whole[cut:]
        else:
            c.send(b"t%d APPEND INBOX {%d}\r\n" % (c.n, len(m)))
            if not c.line().startswith("+"):
                fail("no continuation")
            c.send(m + b"\r\n")
        c.reply(f"t{c.n}")
    c.cmd("SELECT INBOX")
    for i, m in enumerate(messages):
        before = c.received
        got = c.cmd(f"FETCH {i + 1} BODY.PEEK[]")[0]
        if m.decode() not in got:
            fail(f"message {i} came back otherwise")
        if i == 0 and level > 0 and not tls and c.received - before > len(m) / 5:
            fail(f"{len(m)} octets that repeat themselves cost {c.received - before}")
    c.n += 1
    c.send(f"t{c.n} IDLE\r\n")
    if not c.line().startswith("+"):
        fail("no continuation for IDLE")
    same(s.deliver(f"zip{seed}", mail("idle"))[0], 250)
    same(c.line(), "* 4 EXISTS")
    c.line()
    for octet in b"DONE\r\n":
        c.send(bytes([octet]))
    c.reply(f"t{c.n}")
    # All at once.
    c.send(b"".join(b"p%d NOOP\r\n" % i for i in range(500)))
    for i in range(500):
        c.reply(f"p{i}")
    c.cmd("LOGOUT")


def worker_kib(s, user):
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                if f"worker: {user}" in open(f"/proc/{d}/cmdline").read():
                    return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{d}/status").read()).group(1))
            except OSError:
                pass
    fail(f"no worker of {user}")


def hostile(s):
    calm = Client(s, user="victim")
    calm.cmd("SELECT INBOX")
    before = worker_kib(s, "victim")
    # A line that would be a gigabyte long.
    c = Client(s, user="victim", level=9)
    zeros = b"a" * (1 << 20)
    try:
        for _ in range(1024):
            c.send(zeros)
        while True:
            c.more()
    except (EOFError, OSError):
        pass
    # A literal that is refused and skipped, then one that is taken.
    c = Client(s, user="victim", level=9)
    c.send(b"x APPEND Nowhere {10000000+}\r\n" + b"\0" * 10000000 + b"\r\n")
    if not c.line().startswith("x NO"):
        fail("APPEND to no mailbox")
    c.cmd("NOOP")
    # What is no compressed data; what is cut off; what ends.
    for data in (b"a NOOP\r\n", b"\xff" * 100, os.urandom(5000)):
        c = Client(s, user="victim")
        c.packer = None
        try:
            c.send(data)
            while True:
                c.more()
        except (EOFError, OSError, zlib.error):
            pass
    c = Client(s, user="victim", flush=zlib.Z_FINISH)
    c.send(b"e NOOP\r\n")
    c.reply("e")
    try:
        c.more()
        fail("the session goes on")
    except (EOFError, ConnectionResetError):
        pass
    calm.cmd("NOOP")
    grown = worker_kib(s, "victim") - before
    asan = b"__asan" in open(s.binary("culverd"), "rb").read()  # which keeps what is freed
    if grown > (256 if asan else 24) * 1024:
        fail(f"the worker grew by {grown} KiB")


for storage in culver.storages()[:1]:
    with culver.Server(storage=storage) as s:
        seed = 0
        for tls in (False, True):
            for level, flush in ((6, zlib.Z_SYNC_FLUSH), (0, zlib.Z_FULL_FLUSH), (9, 1)):
                seed += 1
                day(s, tls, level, flush, seed)
        hostile(s)
        healthy(s)
    with culver.Server(storage=storage, settings="imap_compress_deflate_level = 0\nimap_compress_deflate_window = 9\n") as s:
        day(s, False, 0, zlib.Z_SYNC_FLUSH, 99)
        healthy(s)
