#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients and mails that mean ill: each gets the protocol's proper error, memory stays bounded, other users notice nothing."""
import imaplib
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, same  # noqa: E402

MIB = 1024 * 1024


def children(pid):
    out = []
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                f = open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(f[1]) == pid:
                out.append(int(d))
                out += children(int(d))
    return out


def peak_kib(pid):
    worst = 0
    for p in children(pid):
        try:
            worst = max(worst, int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{p}/status").read()).group(1)))
        except (OSError, AttributeError):
            pass
    return worst


def login(s, user="good"):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
    m.login(user, culver.PASSWORD)
    return m


def still_serves(s, what):
    t = time.monotonic()
    m = login(s)
    same(m.select("INBOX")[0], "OK", what)
    m.logout()
    if time.monotonic() - t > 10:
        fail(f"{what}: another user waited {time.monotonic() - t:.1f} s")
    healthy(s)


def raw(s, port="imap"):
    c = socket.create_connection(("127.0.0.1", s.ports[port]), 10)
    c.settimeout(10)
    return c


def drain(c, until=None):
    out = b""
    try:
        while until is None or until not in out:
            data = c.recv(65536)
            if not data:
                break
            out += data
    except OSError:
        pass
    return out


def overlong_lines(s):
    for port in ("imap", "pop3", "lmtp"):
        c = raw(s, port)
        drain(c, b"\n")
        sent = 0
        try:
            for _ in range(256):
                c.sendall(b"A" * 65536)
                sent += 65536
        except OSError:
            pass
        c.close()
        if sent == 256 * 65536 and port != "lmtp":
            pass  # swallowed is fine too, as long as memory is bounded
    still_serves(s, "over-long lines before login")
    c = raw(s)
    c.sendall(f"a LOGIN good {culver.PASSWORD}\r\n".encode())
    drain(c, b"a OK")
    try:
        for _ in range(256):
            c.sendall(b"b" * 65536)
        c.sendall(b"\r\nc NOOP\r\n")
    except OSError:
        pass
    c.close()
    still_serves(s, "over-long line after login")


def binary_noise(s):
    for port in ("imap", "imaps", "pop3", "pop3s", "lmtp"):
        for n in range(20):
            c = raw(s, port)
            try:
                c.sendall(os.urandom(3000) + b"\r\n" + os.urandom(50))
            except OSError:
                pass
            c.close()
    still_serves(s, "binary noise")


def vanish_at_every_octet(s):
    msg = mail("vanish").replace("\n", "\r\n").encode()
    text = (f"a LOGIN vanish {culver.PASSWORD}\r\nb SELECT INBOX\r\nc APPEND INBOX {{{len(msg)}+}}\r\n".encode() + msg +
            b"\r\nd FETCH 1:* (FLAGS BODY[])\r\ne STORE 1 +FLAGS (\\Seen)\r\n")
    for n in range(0, len(text), 7):
        c = raw(s)
        c.sendall(text[:n])
        c.close()
    lmtp = b"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<vanish2>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n"
    for n in range(0, len(lmtp), 3):
        c = raw(s, "lmtp")
        c.sendall(lmtp[:n])
        c.close()
    still_serves(s, "clients that vanish")
    m = login(s, "vanish2")
    same(m.select("INBOX")[1], [b"0"], "a message whose final dot never came is not delivered")
    m.logout()
    # One at least stays until its message is there.
    c = raw(s)
    c.sendall(text[:text.index(b"d FETCH")])
    got = b""
    while b"\r\nc OK" not in got:
        data = c.recv(4096)
        if not data:
            fail(f"a whole dialogue ended early: {got!r}")
        got += data
    c.close()
    m = login(s, "vanish")
    m.select("INBOX")
    _, got = m.fetch("1:*", "(BODY.PEEK[])")
    for part in got:
        if isinstance(part, tuple):
            same(part[1], msg, "what was appended is whole")
    m.logout()


def hostile_mime(s):
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n" for i in range(10000)) + "Content-Type: text/plain\n\nx\n"
    many = "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 50000
    rfc822 = "".join("Content-Type: message/rfc822\n\n" for _ in range(5000)) + "Subject: deep\n\nx\n"
    header = "X-Long: " + "y" * MIB + "\nSubject: long\n\nbody\n"
    folded = "X-Long: z\n" + " folded line of a header that goes on and on\n" * 25000 + "Subject: folded\n\nbody\n"
    endless = "Content-Type: multipart/mixed; boundary=\"" + "q" * 5000 + "\"\n\n--" + "q" * 5000 + "\n\nx\n"
    params = "Content-Type: text/plain" + "".join(f"; p{i}*{i}*=utf-8''%41" for i in range(20000)) + "\n\nx\n"
    words = "Subject: " + "=?utf-8?q?=C3?= " * 20000 + "\n\nx\n"
    addresses = "To: " + ", ".join(f"a{i}@example.org" for i in range(50000)) + "\n\nx\n"
    comments = "From: " + "(" * 100000 + "\n\nx\n"
    for name, text in (("nested", nested), ("many", many), ("rfc822", rfc822), ("header", header), ("folded", folded), ("endless", endless),
                       ("params", params), ("words", words), ("addresses", addresses), ("comments", comments)):
        code, answer = s.deliver("mime", text.encode())
        if code not in (250, 552, 554):
            fail(f"hostile mail {name}: {code} {answer}")
    m = login(s, "mime")
    imaplib._MAXLINE = 64 * MIB
    same(m.select("INBOX")[0], "OK")

    for item in ("(ENVELOPE)", "(BODYSTRUCTURE)", "(BODY.PEEK[1.1.1.1.1])", "(BODY.PEEK[HEADER.FIELDS (SUBJECT X-LONG)])", "(RFC822.SIZE)"):
        same(m.fetch("1:*", item)[0], "OK", item)
    for key in ("TEXT nothing-like-this", "SUBJECT é", "FROM x"):
        same(m.search("UTF-8", key.encode())[0], "OK", key)
    m.logout()
    still_serves(s, "hostile MIME")



def many_idle_connections(s):
    # Fewer than one front takes of one address (login_max_connections_per_ip), should they all come to the same.
    held = []
    for _ in range(250):
        c = raw(s)
        c.sendall(b"a")
        held.append(c)
    still_serves(s, "250 slow clients")
    for c in held:
        c.close()


def unfinished_tls(s):
    held = []
    for _ in range(50):
        c = raw(s, "imaps")
        c.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        held.append(c)
    still_serves(s, "unfinished TLS handshakes")
    for c in held:
        c.close()


def unread_output(s):
    """A client that asks for everything and reads nothing holds up nobody, nor grows the worker."""
    for _ in range(3):
        same(s.deliver("greedy", mail("big", body="0123456789abcdef" * 4 + "\n" + "x" * 70 + "\n" * 60000))[0], 250)
    held = []
    for _ in range(5):
        c = raw(s)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.sendall(f"a LOGIN greedy {culver.PASSWORD}\r\nb SELECT INBOX\r\n".encode() + b"c FETCH 1:* BODY.PEEK[]\r\n" * 500)
        held.append(c)
    time.sleep(1)
    m = login(s, "greedy")
    same(m.select("INBOX")[1], [b"3"], "another session of the same user goes on")
    m.logout()
    still_serves(s, "clients that read nothing")
    for c in held:
        c.close()


with culver.Server() as s:
    same(s.deliver("good", mail("good"))[0], 250)
    # Sanitizers keep freed memory for a while: their bound is wider.
    asan = b"__asan" in open(s.binary("culverd"), "rb").read()
    bound = 1024 if asan else 192
    for test in (overlong_lines, binary_noise, vanish_at_every_octet, hostile_mime, many_idle_connections, unfinished_tls, unread_output):
        test(s)
        peak = peak_kib(s.proc.pid)
        print(f"{test.__name__}: ok, largest process so far {peak // 1024} MiB", flush=True)
        if peak > bound * 1024:
            fail(f"{test.__name__}: a process grew to {peak // 1024} MiB")
