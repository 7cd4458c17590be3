#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""UNAUTHENTICATE: one connection serves many users in turn, in plain text, behind STARTTLS and over TLS, compressed and not, pipelined with the next login and
behind output that is still on its way; nothing of one user's is seen by the next."""
import base64
import os
import random
import re
import signal
import socket
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import Client, culver, end_sending, fail, healthy, mail, role, same  # noqa: E402


def plain(user, password=culver.PASSWORD):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def check(lines, user):
    text = "".join(lines)
    same(set(re.findall(r"big-(\w+)-", text)), {user}, "whose message it is")
    same(len(text.split("}\r\n", 1)[1]) > 300000, True, "length")


def turns(s, how, compressed, rng):
    c = Client(s, how)
    users = ["ann", "bob", "cat"]
    c.cmd(f"AUTHENTICATE PLAIN {plain('ann')}")
    user = "ann"
    for turn in range(12):
        if compressed and turn % 2:
            c.compress()
        c.cmd("ENABLE QRESYNC")
        same(c.cmd("SELECT INBOX")[-1].split()[1], "OK")
        after = rng.choice([u for u in users if u != user])
        # Output is on its way when the command comes, and the next login stands behind it.
        c.send(b"f FETCH 1 BODY.PEEK[]\r\nu UNAUTHENTICATE\r\n", rng.choice((zlib.Z_FINISH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)))
        c.packer = None
        pipelined = turn % 3 != 0
        login = f"a AUTHENTICATE PLAIN {plain(after)}\r\nn NOOP\r\n".encode()
        if pipelined:
            c.send(login)
        if turn % 4 == 1:
            time.sleep(0.05)
        check(c.reply("f"), user)
        same(len(c.reply("u")), 1, "nothing but the OK")
        if not pipelined:
            same(c.cmd("SELECT INBOX", "BAD")[-1][:2], f"t{c.n}"[:2])
            if turn == 0:
                c.cmd(f"AUTHENTICATE PLAIN {plain(after, 'wrong')}", "NO")
            if how == "tls":
                c.cmd("STARTTLS", "BAD")
            c.send(login)
        c.reply("a")
        c.reply("n")
        same(len(c.cmd("STATUS INBOX (MESSAGES)")), 2)
        user = after
    who = s.culver("who", json=True)
    same([x["user"] for x in (who if isinstance(who, list) else who["sessions"])], [user], "who is logged in")
    c.cmd("LOGOUT")


def starttls_later(s):
    """A plain connection may begin TLS between two users."""
    c = Client(s, "plain", "ann")
    c.cmd("UNAUTHENTICATE")
    c.cmd("STARTTLS")
    c.begin_tls()
    c.cmd(f"LOGIN bob {culver.PASSWORD}")
    c.cmd("SELECT INBOX")
    check(c.cmd("FETCH 1 BODY.PEEK[]"), "bob")
    c.cmd("UNAUTHENTICATE")
    c.cmd("LOGOUT")


def ends_at_once(s):
    """A client that ends its sending side behind all that it has to say is answered, and never hears its own words, however late front hears that the session is over."""
    spawner = role(s, "spawner")[0]
    for how in ("plain", "tls", "starttls"):
        c = Client(s, how, "ann")
        os.kill(spawner, signal.SIGSTOP)
        try:
            c.send(f"u UNAUTHENTICATE\r\na AUTHENTICATE PLAIN {plain('bob')}\r\nn NOOP\r\nl LOGOUT\r\n")
            same(len(c.reply("u")), 1)
            end_sending(c.sock)
            time.sleep(0.2)
        finally:
            os.kill(spawner, signal.SIGCONT)
        for tag, lines in (("a", 1), ("n", 1), ("l", 2)):
            same(len(c.reply(tag)), lines, f"{how}: lines up to the tagged reply")


def bounds(s):
    """Too much behind it, the client that leaves, that sends half of what ends its compressed data, that goes on compressing."""
    for how in ("plain", "tls"):
        c = Client(s, how, "ann")
        try:
            c.send(b"u UNAUTHENTICATE\r\n" + b"n NOOP\r\n" * 100000 + b"l LOGOUT\r\n")
            while True:
                c.more()
        except (EOFError, OSError):
            pass
        c = Client(s, how, "ann")
        c.send(b"u UNAUTHENTICATE\r\nx NOO")
        c.sock.close()
        for data in (lambda z: z.compress(b"u UNAUTHENTICATE\r\n") + z.flush(zlib.Z_SYNC_FLUSH)[:-2],
                     lambda z: z.compress(b"u UNAUTHENTICATE\r\nx NOOP\r\n") + z.flush(zlib.Z_SYNC_FLUSH)):
            c = Client(s, how, "ann")
            c.compress()
            c.sock.sendall(data(c.packer))
            time.sleep(0.1)
            socket.socket.shutdown(c.sock, socket.SHUT_WR)  # not the one of SSLSocket, which forgets its TLS
            try:
                while True:
                    c.more()
            except (EOFError, OSError):
                pass
            if b"u OK" in c.buf:
                fail(f"{how}: taken as complete")
    # Octet for octet.
    c = Client(s, "tls", "ann")
    c.compress()
    for octet in c.packer.compress(b"u UNAUTHENTICATE\r\n") + c.packer.flush(zlib.Z_SYNC_FLUSH):
        c.sock.sendall(bytes([octet]))
        time.sleep(0.01)
    c.packer = None
    for octet in f"a AUTHENTICATE PLAIN {plain('cat')}\r\n".encode():
        c.sock.sendall(bytes([octet]))
    c.reply("u")
    c.reply("a")
    c.cmd("LOGOUT")
    deadline = time.monotonic() + 70
    while True:
        who = s.culver("who", json=True)
        if not (who if isinstance(who, list) else who["sessions"]):
            return
        if time.monotonic() > deadline:
            fail(f"still there: {who}")
        time.sleep(0.2)


with culver.Server() as s:
    for user in ("ann", "bob", "cat"):
        same(s.deliver(user, mail(f"big-{user}-", body=(f"{user} big-{user}- " * 5 + "\n") * 6000))[0], 250)
    seed = int(os.environ.get("SEED", "1"))
    for how in ("plain", "starttls", "tls"):
        for compressed in (False, True):
            turns(s, how, compressed, random.Random(seed))
    starttls_later(s)
    ends_at_once(s)
    bounds(s)
    healthy(s)
