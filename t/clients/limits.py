#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A worker that has no descriptors left, no memory left, or is stopped: temporary refusals while it lasts, service without a restart afterwards, and what
was acknowledged is there once."""
import contextlib
import imaplib
import os
import resource
import signal
import smtplib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import trouble  # noqa: E402
from client import culver, fail, mail, same  # noqa: E402


class Run:
    def __init__(self, storage):
        self.s = culver.Server(storage=storage)
        self.s.start()
        self.acknowledged = []
        self.n = 0

    def login(self):
        m = imaplib.IMAP4("127.0.0.1", self.s.ports["imap"], 30)
        m.login("anna", culver.PASSWORD)
        m.select("INBOX")
        return m

    def worker(self):
        return [r["pid"] for r in self.s.culver("who", json=True) if r["user"] == "anna"][0]

    def deliver(self):
        """The code; what was taken is remembered."""
        self.n += 1
        code, text = self.s.deliver("anna", mail(f"number {self.n}."))
        if code == 250:
            self.acknowledged.append(self.n)
        elif not 400 <= code < 500:
            fail(f"delivery {self.n}: {code} {text}")
        return code

    def append(self, m):
        self.n += 1
        try:
            typ, data = m.append("INBOX", None, None, mail(f"number {self.n}.").replace("\n", "\r\n").encode())
        except (imaplib.IMAP4.abort, OSError):
            return "BYE"
        if typ == "OK":
            self.acknowledged.append(self.n)
        return typ

    def count(self, what):
        m = self.login()
        _, data = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        text = b"".join(d[1] for d in data if isinstance(d, tuple)).decode()
        for n in self.acknowledged:
            same(text.count(f"number {n}."), 1, f"{what}: message {n} was acknowledged")
        m.logout()


def set_limit(run, pid, what, value):
    """The soft limit of a worker; None: as high as it goes. As who runs it: root may lack the right."""
    soft = "" if value is None else str(value)
    hard = subprocess.run(["prlimit", "--pid", str(pid), f"--{what}", "--raw", "--noheadings", "-o", "HARD"], capture_output=True, text=True,
                          preexec_fn=run.s._drop if run.s.run_as else None).stdout.strip()
    return subprocess.run(["prlimit", "--pid", str(pid), f"--{what}={soft or hard}:{hard}"], capture_output=True, text=True,
                          preexec_fn=run.s._drop if run.s.run_as else None)


def first_free(pid):
    """The number that the next descriptor would get."""
    used = {int(n) for n in os.listdir(f"/proc/{pid}/fd")}
    return min(n for n in range(len(used) + 1) if n not in used)


def descriptors(run):
    m = run.login()
    pid = run.worker()
    r = set_limit(run, pid, "nofile", first_free(pid))
    same(r.returncode, 0, r.stderr)
    refused = sum(run.append(m) == "NO" for _ in range(3))
    if refused == 0:
        fail("nothing was refused without descriptors")
    same(m.noop()[0], "OK", "NOOP without descriptors")
    set_limit(run, pid, "nofile", None)
    same(run.append(m), "OK", "APPEND when there are descriptors again")
    same(run.worker(), pid, "the worker")
    # A delivery brings one along: a worker that can't take it ends, and the next one has all of them.
    set_limit(run, pid, "nofile", first_free(pid))
    end = time.monotonic() + 20
    while run.deliver() != 250:
        if time.monotonic() > end:
            fail("no delivery after a worker had no descriptors")
        time.sleep(0.2)
    m = run.login()
    same(run.append(m), "OK", "APPEND after a worker had no descriptors")
    m.logout()


def memory(run):
    m = run.login()
    pid = run.worker()
    with open(f"/proc/{pid}/statm") as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    r = set_limit(run, pid, "as", size)
    same(r.returncode, 0, r.stderr)
    big = b"Subject: big\r\n\r\n" + b"0123456789" * 500000
    try:
        m.append("INBOX", None, None, big)
        m.fetch("1:*", "(BODY.PEEK[])")
    except (imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError):
        pass  # the process may end: the next one does not have the limit
    set_limit(run, pid, "as", None)
    end = time.monotonic() + 20
    while run.deliver() != 250:
        if time.monotonic() > end:
            fail("no delivery after a worker had no memory")
        time.sleep(0.2)
    m = run.login()
    same(run.append(m), "OK", "APPEND after a worker had no memory")
    m.logout()


def stopped(run):
    m = run.login()
    pid = run.worker()
    os.kill(pid, signal.SIGSTOP)
    try:
        m.send(b"z1 NOOP\r\n")
        time.sleep(3)
        if run.s.deliver("berta", mail("others"))[0] != 250:
            fail("a stopped worker keeps others from their mail")
    finally:
        os.kill(pid, signal.SIGCONT)
    said = b""
    while b"z1 " not in said:
        said += m.sock.recv(4096)
    if b"z1 OK" not in said:
        fail(f"a worker that goes on says {said}")
    same(run.deliver(), 250, "delivery to a worker that goes on")


def auth_begins_anew(run):
    """What a recipient was taken with is of an auth that is gone: the message is to come again, and not to bounce."""
    with smtplib.LMTP("127.0.0.1", run.s.ports["lmtp"]) as c:
        c.ehlo()
        same(c.mail("a@example.org")[0], 250)
        # Nothing went to this one yet, so that no channel to a worker is there.
        same(c.rcpt("carl")[0], 250)
        for pid in trouble.below(run.s.proc.pid):
            with contextlib.suppress(OSError):  # some end by themselves meanwhile
                if "auth" in open(f"/proc/{pid}/cmdline").read():
                    os.kill(pid, signal.SIGKILL)
        # Another one answers.
        end = time.monotonic() + 20
        while run.deliver() != 250:
            if time.monotonic() > end:
                fail("no delivery after auth was killed")
            time.sleep(0.1)
        code, text = c.data(mail("late").replace("\n", "\r\n").encode())
        same(code // 100, 4, text)


def master_has_no_descriptors(run):
    """What ends cannot be started again for a while; the master lives and goes on with it."""
    pid = run.s.proc.pid
    soft = 1 + max(int(n) for n in os.listdir(f"/proc/{pid}/fd"))

    def limit(n):
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={n}:"], check=True, preexec_fn=run.s._drop if run.s.run_as else None)

    before = next(line.split()[3] for line in open(f"/proc/{pid}/limits") if line.startswith("Max open files"))
    limit(soft - 2)
    try:
        for child in trouble.below(pid):
            if "front" in open(f"/proc/{child}/cmdline").read():
                os.kill(child, signal.SIGKILL)
        time.sleep(2)
        same(run.s.proc.poll(), None, "the master's end")
    finally:
        limit(before)
    end = time.monotonic() + 30
    while True:
        try:
            if run.deliver() == 250:
                return
        except (OSError, smtplib.SMTPException):
            pass
        if time.monotonic() > end:
            fail("no delivery after the master had no descriptors")
        time.sleep(0.2)


for storage in culver.storages():
    run = Run(storage)
    try:
        same(run.deliver(), 250)
        for what in (descriptors, memory, stopped, auth_begins_anew, master_has_no_descriptors):
            what(run)
            run.count(what.__name__)
        print(storage, "ok,", len(run.acknowledged), "of", run.n, "taken")
    except BaseException:
        print(run.s.output()[-4000:])
        raise
    finally:
        run.s.close()
