#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a connection costs before login, in IMAP and POP3: one that says nothing, and one that has the server keep as much as it can. Prints KiB of a front's own
memory for each."""
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import comes, culver, fail, healthy, same, skip  # noqa: E402

COUNT = 200
# 30 pairs of ID are kept; longer names and values are not.
PAIRS = [f'"{i:030d}" "{"v" * 1000}"' for i in range(30)]
IDS = [f"i{n} ID ({' '.join(PAIRS[n:n + 10])})\r\n" for n in range(0, 30, 10)]
# The last octet of a line that is as long as it may be is missing.
FULL = {"imap": ("".join(IDS) + 'b LOGIN "' + "x" * 12000, 3), "pop3": ("AUTH PLAIN " + "A" * 16000, 0)}
BOUNDS = {"silent": 8, "full": 80}


def fronts(s):
    found = []
    for d in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"culver front" in open(f"/proc/{d}/cmdline", "rb").read() and open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()[1] == str(s.proc.pid):
                found.append(int(d))
        except OSError:
            pass
    return found


def own(pid):
    return int(re.search(r"Private_Dirty:\s*(\d+)", open(f"/proc/{pid}/smaps_rollup").read()).group(1))


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def connect(s, port, text="", replies=0):
    c = socket.create_connection(("127.0.0.1", s.ports[port]), 20)
    lines = c.makefile("rb")
    lines.readline()
    c.sendall(text.encode())
    while replies > 0:
        line = lines.readline()
        if not line:
            fail("the connection ended")
        replies -= b" OK " in line and not line.startswith(b"*")
    return c


def cost(s, pid, port, text="", replies=0):
    connect(s, port, text, replies).close()
    comes(lambda: open_files(pid) < COUNT, True, "connections that were closed are gone")
    before = own(pid)
    held = [connect(s, port, text, replies) for _ in range(COUNT)]
    comes(lambda: open_files(pid) >= COUNT, True, "all connections are taken")
    time.sleep(0.3)
    each = (own(pid) - before) / COUNT
    for c in held:
        c.close()
    return each


def again_and_again(s, pid, port, command):
    """A command that a client may give any number of times, and reads the replies of: nothing stays of it."""
    c = socket.create_connection(("127.0.0.1", s.ports[port]), 20)
    c.recv(4096)
    c.sendall(command)
    time.sleep(0.3)
    size = len(c.recv(65536))
    before = own(pid)
    for _ in range(300):
        c.sendall(command * 10)
        left = 10 * size
        while left > 0:
            got = len(c.recv(min(left, 65536)))
            if got == 0:
                fail("the connection ended")
            left -= got
    grown = own(pid) - before
    c.close()
    print(f"{port}, 3000 times {command[:10]}: {grown} KiB")
    if grown > 40:
        fail(f"3000 times {command[:40]} cost {grown} KiB")


def fresh(test):
    """With a server of its own: memory that a process has freed is not seen to be used again."""
    with culver.Server(settings="login_max_connections_per_ip = 0\n", sections="[service front]\nprocess_limit = 1\n") as s:
        if b"__asan" in open(s.binary("culverd"), "rb").read():
            skip("memory of a sanitized server says nothing")
        pids = fronts(s)
        same(len(pids), 1, "fronts")
        result = test(s, pids[0])
        healthy(s)
        return result


for port in ("imap", "pop3"):
    for what, (text, replies) in (("silent", ("", 0)), ("full", FULL[port])):
        each = fresh(lambda s, pid: cost(s, pid, port, text, replies))
        print(f"{port} {what}: {each:.1f} KiB")
        if each > BOUNDS[what]:
            fail(f"{port} {what}: {each:.1f} KiB for each connection, {BOUNDS[what]} is the bound")
for port, command in (("imap", IDS[0].encode()), ("imap", b"a CAPABILITY\r\n"), ("imap", b"a LANGUAGE de\r\n"), ("pop3", b"CAPA\r\n"),
                      ("pop3", b"LANG de\r\n"), ("pop3", b"UTF8\r\n"), ("pop3", b"USER x\r\n"), ("lmtp", b"LHLO x\r\n"),
                      ("lmtp", b"MAIL FROM:<a@b>\r\nRSET\r\n")):
    fresh(lambda s, pid: again_and_again(s, pid, port, command))
