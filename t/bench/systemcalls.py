# SPDX-License-Identifier: MIT
"""System calls of a whole server under strace, for one command: how many, how many syncs, how many octets written to files."""

import collections
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import culver

SYNCS = {"fsync", "fdatasync", "sync_file_range", "syncfs", "msync"}
WRITES = {"write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile"}
LINE = re.compile(r"(\d+) +(\d+\.\d+) (\w+)\((.*)$")
RESUMED = re.compile(r"(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)$")
FILE = re.compile(r"\d+<(/[^>]*)>")
MESSAGES = 200
# Works whose octets written are of mail; what others write is the log.
CHANGES = {"store-all", "store-one", "append", "copy", "move", "expunge", "lmtp", "lmtp-new-user"}


def message(n):
    """Text with a small attachment, 4 KiB."""
    line = "The harbour master wrote down each ship, its flag, its cargo and the hour.\r\n"
    return (f"From: Writer <writer@bench.example>\r\nTo: reader@bench.example\r\nSubject: report {n}\r\nMessage-ID: <counts.{n}@bench.example>\r\n"
            "Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
            f"--b\r\nContent-Type: text/plain\r\n\r\n{line * 45}\r\n--b\r\nContent-Type: application/octet-stream\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcICQoLDA0ODw==\r\n--b--\r\n").encode()


class Client:
    """One connection, one line-based dialogue at a time."""

    def __init__(self, server, port, tls=False):
        self.sock = socket.create_connection(("127.0.0.1", server.ports[port]), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = server.tls_context().wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")
        self.line()

    def line(self):
        line = self.file.readline()
        if not line:
            raise RuntimeError("the server closed the connection")
        return line

    def imap(self, command, literal=None):
        data = b"r " + command
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal) + literal
        self.sock.sendall(data + b"\r\n")
        while True:
            line = self.line()
            if line.startswith(b"r "):
                if not line.startswith(b"r OK"):
                    raise RuntimeError(line.decode(errors="replace"))
                return
            size = re.search(rb"\{(\d+)\}\r\n$", line)
            if size:
                self.file.read(int(size.group(1)))

    def lines(self, data, replies=1, dot=False):
        self.sock.sendall(data)
        for _ in range(replies):
            line = self.line()
            while line[3:4] == b"-" and line[:3].isdigit():
                line = self.line()
            if line[:1] not in b"+23":
                raise RuntimeError(line.decode(errors="replace"))
        while dot and self.line() != b".\r\n":
            pass

    def close(self):
        self.file.close()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def login(server, user="u0", tls=False):
    c = Client(server, "imaps" if tls else "imap", tls)
    c.imap(f"LOGIN {user} {culver.PASSWORD}".encode())
    return c


def logins(server, n, tls, user="u0"):
    for _ in range(n):
        c = login(server, user, tls)
        c.imap(b"LOGOUT")
        c.close()


def pop3_logins(server, n):
    for _ in range(n):
        c = Client(server, "pop3")
        c.lines(b"USER u0\r\n")
        c.lines(b"PASS %s\r\n" % culver.PASSWORD.encode())
        c.lines(b"QUIT\r\n")
        c.close()


def deliver(client, user, n):
    client.lines(b"MAIL FROM:<s@bench.example>\r\nRCPT TO:<%s>\r\nDATA\r\n" % user.encode(), 3)
    client.lines(message(n) + b".\r\n")


class Trace:
    """A server whose every system call is written down with its time."""

    def __init__(self, prefix):
        # No zeros ahead of the journal: how many come while a command is counted would be a matter of the clock.
        settings = "mail_fsync = optimized\nmail_max_userip_connections = 1000\nmail_journal_ahead_writes = 0\n"
        self.server = culver.Server(prefix=prefix, settings=settings)
        self.log = os.path.join(self.server.dir, "strace")
        plain = self.server.binary
        self.server.binary = lambda name: self.wrapper if name == "culverd" else plain(name)
        self.wrapper = os.path.join(self.server.dir, "traced")
        with open(self.wrapper, "w") as f:
            f.write(f"#!/bin/sh\nexec strace -f -y -ttt -s 0 -o {self.log} {plain('culverd')} \"$@\"\n")
        os.chmod(self.wrapper, 0o755)
        self.windows = []

    def start(self):
        self.server.start(timeout=60)
        return self.server

    def measure(self, name, units, work, settle=None):
        """Let what went before settle, do the work, and let what it left to do end: files of new messages are made a second later."""
        settle = settle or (1.3 if name in CHANGES else 0.15)
        time.sleep(1.3 if name in CHANGES else 0.15)
        start = time.time()
        work()
        time.sleep(settle)
        self.windows.append((name, units, start, time.time()))

    def stop(self):
        """strace hands no SIGTERM on: tell the master itself."""
        master = subprocess.run(["pgrep", "-P", str(self.server.proc.pid)], capture_output=True, text=True).stdout.split()
        for pid in master:
            os.kill(int(pid), signal.SIGTERM)
        self.server.proc.wait(30)

    def close(self):
        if self.server.proc and self.server.proc.poll() is None:
            self.stop()
        self.server.close()


def read_log(path):
    """(pid, time, call, file or None, result) of each call, at the time at which it began."""
    begun = {}
    for line in open(path, errors="replace"):
        m = LINE.match(line)
        if m:
            pid, at, call, rest = m.group(1), float(m.group(2)), m.group(3), m.group(4)
            file = FILE.match(rest)
            entry = (pid, at, call, file.group(1) if file else None)
            if rest.rstrip().endswith("<unfinished ...>"):
                begun[pid] = entry
                continue
        else:
            m = RESUMED.match(line)
            if not m or m.group(1) not in begun:
                continue
            entry, rest = begun.pop(m.group(1)), m.group(4)
        result = re.match(r"-?\d+", rest.rsplit("= ", 1)[-1])
        yield entry + (int(result.group()) if result else 0,)
    for entry in begun.values():
        yield entry + (0,)


def summarize(trace, verbose):
    """Counts per unit, and with verbose the calls by process."""
    totals = {name: collections.Counter() for name, _, _, _ in trace.windows}
    calls = {name: collections.Counter() for name in totals}
    for pid, at, call, file, result in read_log(trace.log):
        for name, units, start, end in trace.windows:
            if not start <= at <= end:
                continue
            totals[name]["syscalls"] += 1
            calls[name][(pid, call)] += 1
            if call in SYNCS:
                totals[name]["syncs"] += 1
            if call in WRITES and file and result > 0 and not file.startswith(("/dev/", "/memfd:")):
                totals[name]["written"] += result
    out = {}
    for name, units, _, _ in trace.windows:
        for counter in ("syscalls", "syncs") + (("written",) if name in CHANGES else ()):
            out[(name, counter)] = totals[name][counter] / units
        if verbose:
            print(f"{name}: " + ", ".join(f"{pid} {call} {count / units:.1f}" for (pid, call), count in sorted(calls[name].items())
                                          if count / units >= 0.1))
    return out


def works(server, trace, wanted):
    """Everything once before it is measured, so that no first time is among what is counted."""
    setup = login(server)
    for n in range(MESSAGES):
        setup.imap(b"APPEND INBOX", message(n))
    setup.imap(b"CREATE other")
    c = login(server)
    c.imap(b"SELECT INBOX")

    def imap(name, units, commands, repeat=1):
        if not wanted(name):
            return
        def work(times):
            for _ in range(times):
                for command in commands:
                    c.imap(command)
        work(1)
        trace.measure(name, units * repeat, lambda: work(repeat))

    if wanted("login"):
        logins(server, 2, False)
        trace.measure("login", 40, lambda: logins(server, 40, False))
    if wanted("login-tls"):
        logins(server, 2, True)
        trace.measure("login-tls", 40, lambda: logins(server, 40, True))
    if wanted("pop3-login"):
        pop3_logins(server, 2)
        trace.measure("pop3-login", 40, lambda: pop3_logins(server, 40))
    imap("noop", 1, [b"NOOP"], 100)
    imap("status", 1, [b"STATUS other (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"], 100)
    imap("select", 2, [b"SELECT other", b"SELECT INBOX"], 25)
    imap("fetch-flags", 1, [b"FETCH 1:* (UID FLAGS)"], 20)
    imap("fetch-list", 1, [b"FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)"], 10)
    imap("fetch-body", MESSAGES, [b"FETCH 1:* (BODY.PEEK[])"], 2)
    imap("fetch-one-body", 1, [b"FETCH 1 (BODY.PEEK[])"], 50)
    imap("store-all", 2, [b"STORE 1:* +FLAGS (\\Flagged)", b"STORE 1:* -FLAGS (\\Flagged)"], 10)
    imap("store-one", 2, [b"STORE 7 +FLAGS (\\Flagged)", b"STORE 7 -FLAGS (\\Flagged)"], 25)
    imap("search-body", MESSAGES, [b"SEARCH BODY quartz"], 2)
    if wanted("append"):
        data = message(0)
        trace.measure("append", 50, lambda: [setup.imap(b"APPEND other", data) for _ in range(50)])
    if wanted("copy"):
        trace.measure("copy", MESSAGES, lambda: c.imap(b"COPY 1:%d other" % MESSAGES))
    if wanted("move"):
        c.imap(b"COPY 1:%d INBOX" % MESSAGES)
        trace.measure("move", MESSAGES, lambda: c.imap(b"MOVE %d:* other" % (MESSAGES + 1)))
    if wanted("expunge"):
        c.imap(b"SELECT other")
        c.imap(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % MESSAGES)
        trace.measure("expunge", MESSAGES, lambda: c.imap(b"EXPUNGE"))
    if wanted("lmtp"):
        lmtp = Client(server, "lmtp")
        lmtp.lines(b"LHLO bench.example\r\n")
        for n in range(3):
            deliver(lmtp, "u0", n)
        trace.measure("lmtp", 50, lambda: [deliver(lmtp, "u0", n) for n in range(50)])
        lmtp.close()
    if wanted("lmtp-new-user"):
        lmtp = Client(server, "lmtp")
        lmtp.lines(b"LHLO bench.example\r\n")
        deliver(lmtp, "new", 0)
        trace.measure("lmtp-new-user", 10, lambda: [deliver(lmtp, f"new{n}", n) for n in range(10)], settle=1.5)
        lmtp.close()
    if wanted("login-new-user"):
        logins(server, 1, False, "fresh")
        trace.measure("login-new-user", 10, lambda: [logins(server, 1, False, f"fresh{n}") for n in range(10)], settle=1.5)
    if wanted("pop3-retr"):
        pop3 = Client(server, "pop3")
        pop3.lines(b"USER u0\r\n")
        pop3.lines(b"PASS %s\r\n" % culver.PASSWORD.encode())
        pop3.lines(b"RETR 1\r\n", dot=True)
        trace.measure("pop3-retr", 50, lambda: [pop3.lines(b"RETR %d\r\n" % n, dot=True) for n in range(1, 51)])
        pop3.close()
    c.close()
    setup.close()


def count(prefix, only=None, verbose=False):
    """{(work, "syscalls"): for one unit, (work, "syncs"): .., (work, "written"): ..}"""
    trace = Trace(prefix)
    try:
        server = trace.start()
        works(server, trace, lambda name: not only or name in only)
        trace.stop()
        return summarize(trace, verbose)
    except (OSError, ssl.SSLError, RuntimeError):
        print(trace.server.output())
        raise
    finally:
        trace.close()
