#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Deliveries that go from front straight to the user's worker: they begin with the second or third, none is lost or refused when the worker ends by itself, a worker
that is killed costs no more than what it had, sessions that sleep hear of them, and the numbers of `culver status` have them."""
import os
import signal
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import Client, comes, culver, descendants, fail, mail, same  # noqa: E402

SETTINGS = """default_idle_kill = 200ms
imap_hibernate_timeout = 50ms
imap_hibernate_silent_timeout = 50ms
"""


def figure(s, process, name):
    """Of all processes of that name, added up."""
    rows = [r for r in s.culver("status", json=True) if r["process"].split()[0] == process]
    return sum(int(f.split("=")[1]) for r in rows for f in r["figures"] if f.split("=")[0] == name)


def workers(s):
    out = []
    for pid in descendants(s.proc.pid):
        try:
            if " worker: " in open(f"/proc/{pid}/cmdline").read():
                out.append(pid)
        except OSError:
            pass  # it ended meanwhile
    return out


def deliver(lmtp, user, n):
    lmtp.sendmail("a@example.org", [user], mail(f"n{n}").replace("\n", "\r\n"))


def count(s, user):
    c = Client(s, user=user)
    lines = c.cmd("SELECT INBOX")
    c.cmd("LOGOUT")
    c.sock.close()
    return int(next(line.split()[1] for line in lines if line.endswith("EXISTS")))


s = culver.Server(settings=SETTINGS)
try:
    s.start()
    lmtp = smtplib.LMTP("127.0.0.1", s.ports["lmtp"])
    sent = 0

    for sent in range(1, 11):
        deliver(lmtp, "ann", sent)
    same(figure(s, "front", "to_workers"), 1, "channels")
    # A large one has its octets in memory of their own.
    lmtp.sendmail("a@example.org", ["ann"], mail("large", body="x" * 70 + "\n").replace("\n", "\r\n") + ("y" * 70 + "\r\n") * 1000)
    sent += 1
    comes(lambda: len(workers(s)), 0, "workers that have nothing to do")
    same(figure(s, "front", "to_workers"), 0, "channels of workers that ended")
    same(figure(s, "spawner", "jobs_done"), sent, "jobs")

    # While the worker is about to end: each is delivered, by it or by the next.
    for pause in range(180, 260, 4):
        for _ in range(3):
            deliver(lmtp, "ann", sent)
            sent += 1
        time.sleep(pause / 1000)
    same(count(s, "ann"), sent, "messages")

    # Killed: what comes then is for the next worker.
    for _ in range(3):
        deliver(lmtp, "ben", 0)
    for pid in workers(s):
        os.kill(pid, signal.SIGKILL)
    comes(lambda: figure(s, "front", "to_workers"), 0, "channels of workers that were killed")
    deliver(lmtp, "ben", 1)
    same(count(s, "ben"), 4, "messages")

    # A session that fell asleep while the worker still has a channel.
    for n in range(20):
        watching = Client(s, user="cleo")
        watching.cmd("SELECT INBOX")
        watching.send("i IDLE\r\n")
        same(watching.line()[:1], "+")
        deliver(lmtp, "cleo", n)
        while not watching.line().endswith("EXISTS"):
            pass
        time.sleep(n * 0.005)
        deliver(lmtp, "cleo", n)
        start = time.monotonic()
        while not watching.line().endswith("EXISTS"):
            pass
        if time.monotonic() - start > 10:
            fail("a session that slept heard of a delivery late")
        watching.sock.close()

    # Front ends within reach of a stop, channels or not.
    for _ in range(3):
        deliver(lmtp, "ann", sent)
    lmtp.close()
    s.stop()
    bad = [line for line in s.complaints() if "was killed by signal 9" not in line]
    if bad:
        fail("the server's log says:\n" + "\n".join(bad[-20:]))
finally:
    s.close()
