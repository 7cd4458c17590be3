# SPDX-License-Identifier: MIT
"""How what one operation costs grows with the size of the mailbox and the number of mailboxes (t/bench/run --growth [DIR] [--growth-to N]).

Each operation touches one message or none, so its cost should not depend on the size: the exponent of size in the cost, by least squares over the
logarithms, says how far that is so: 0 is constant, 1 proportional. The cost is processor time of all processes of the server, which says more than
time on a machine that does other things meanwhile; the median of five pieces of each curve's operations. Page faults of the server stand beside it:
they say what is touched for the first time. Prints tables and writes growth-messages.svg and growth-mailboxes.svg (to doc/performance, or DIR).
With --lock FILE that file is locked while something is measured, and not while mailboxes are filled.
"""

import contextlib
import fcntl
import json
import math
import os
import smtplib
import statistics
import sys

import culver
import measure
import servers
import svg
import whole

HERE = os.path.dirname(os.path.abspath(__file__))
PIECES = 5
# name, commands with %d for a message's number; what is opened anew, expunged or appended has code of its own.
COMMANDS = [("NOOP", [b"NOOP"]), ("SELECT", [b"SELECT INBOX"]), ("STATUS", [b"STATUS INBOX (MESSAGES UNSEEN UIDNEXT)"]),
            ("FETCH of one", [b"FETCH %d (UID FLAGS ENVELOPE)"]), ("UID FETCH of one", [b"UID FETCH %d (FLAGS BODY.PEEK[])"]),
            ("STORE of one", [b"STORE %d +FLAGS (\\Flagged)", b"STORE %d -FLAGS (\\Flagged)"]), ("COPY of one", [b"COPY %d other"]),
            ("MOVE of one", [b"MOVE %d other"]),
            ("EXPUNGE of one", [b"STORE %d +FLAGS.SILENT (\\Deleted)", b"EXPUNGE"])]
MESSAGE = b"From: a@bench.example\r\nSubject: one more for the growth curve\r\n\r\ntext\r\n"
APPEND = b"APPEND INBOX {%d+}\r\n%s" % (len(MESSAGE), MESSAGE)


def exponent(points):
    """Slope of log(cost) over log(size)."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(max(y, 1e-6)) for _, y in points]
    mx, my = statistics.mean(xs), statistics.mean(ys)
    below = sum((x - mx) ** 2 for x in xs)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / below if below else 0.0


def faults(pid):
    """Page faults of pid and all below it that are still there."""
    total = 0
    for p in measure.processes(pid):
        with contextlib.suppress(OSError):
            total += int(open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[7])
    return total


class Curves:
    """Points of one server: milliseconds of its processors and page faults for one operation, by name and size."""

    def __init__(self, server, lock):
        self.server, self.lock, self.cpu, self.faults = server, lock, {}, {}

    def point(self, name, size, step, repeat=20, pieces=PIECES):
        """step(i) is one operation."""
        costs, pages, i = [], [], 0
        with locked(self.lock):
            for _ in range(pieces):
                cpu, fault = measure.cpu_seconds(self.server.proc.pid), faults(self.server.proc.pid)
                for _ in range(repeat):
                    step(i)
                    i += 1
                costs.append((measure.cpu_seconds(self.server.proc.pid) - cpu) * 1000 / repeat)
                pages.append(max(0, faults(self.server.proc.pid) - fault) / repeat)
        self.cpu.setdefault(name, []).append((size, statistics.median(costs)))
        self.faults.setdefault(name, []).append((size, statistics.median(pages)))

    def tables(self, title):
        for what, curves, form in (("milliseconds of the server's processors", self.cpu, "12.3f"), ("page faults", self.faults, "12.1f")):
            sizes = [x for x, _ in next(iter(curves.values()))]
            print(f"{self.server.name + ': ' + title:28}" + "".join(f"{s:>12,}" for s in sizes) + f"{'exponent':>10}   ({what})")
            for name, points in curves.items():
                print(f"{name:28}" + "".join(f"{y:{form}}" for _, y in points) + (f"{exponent(points):10.2f}" if curves is self.cpu else ""))
            print(flush=True)


@contextlib.contextmanager
def locked(path):
    if path is None:
        yield
        return
    with open(path, "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def told(sock, text):
    """A command that has to go well."""
    reply = whole.imap_command(sock, text)
    last = reply.rstrip(b"\r\n").rsplit(b"\r\n", 1)[-1]
    if not last.startswith(b"r OK"):
        raise measure.Failed(f"{text[:40]!r}: {last.decode(errors='replace')}")


def restarted(server):
    """A new server whose pages are warm; logs in, as a first login costs more than others."""
    server.stop()
    server.start()
    whole.logged_in(server, "nobodyelse").close()


def first_opening(curves, size, user):
    """LOGIN and SELECT by a worker that is started for it."""
    kept = []

    def once(_):
        kept.append(whole.logged_in(curves.server, user))
        whole.imap_command(kept[0], b"SELECT INBOX")
    curves.point("LOGIN, SELECT, first", size, once, 1, 1)
    return kept[0]


def messages_curve(curves, sizes, fill):
    server = curves.server
    for size in sizes:
        user = f"size{size}"
        fill(server, user, size)
        sys.stderr.write(f"{server.name}: {size} messages are there\n")
        restarted(server)
        sock = first_opening(curves, size, user)

        def command(text):
            told(sock, text)

        command(b"CREATE other")
        command(b"SELECT INBOX")
        for name, commands in COMMANDS:
            def step(i, commands=commands):
                for c in commands:
                    command(c.replace(b"%d", b"%d" % (1 + (i * 7919) % (size - 400))))
            step(0)
            curves.point(name, size, step)
        curves.point("APPEND", size, lambda _: command(APPEND))

        def log_in(_):
            whole.logged_in(server, user).close()
        curves.point("LOGIN again", size, log_in)
        lmtp = smtplib.LMTP("127.0.0.1", server.ports["lmtp"])
        lmtp.ehlo("bench.example")
        curves.point("LMTP, the mailbox selected", size, lambda i: (lmtp.sendmail("s@bench.example", [user], f"Subject: growth {i}\r\n\r\ntext\r\n"),
                                                                    command(b"NOOP")))
        sock.close()
        curves.point("LMTP", size, lambda i: lmtp.sendmail("s@bench.example", [user], f"Subject: growth {i}\r\n\r\ntext\r\n"))
        lmtp.close()


def mailboxes_curve(curves, counts):
    server = curves.server
    for count in counts:
        user = f"boxes{count}"
        sock = whole.logged_in(server, user)

        def command(text):
            told(sock, text)

        for n in range(0, count, 100):
            for k in range(n, min(n + 100, count)):
                sock.sendall(b"c CREATE box%d\r\n" % k)
            command(b"NOOP")
        for _ in range(3):
            command(APPEND.replace(b"INBOX", b"box0"))
        sock.close()
        restarted(server)
        sock = first_opening(curves, count, user)
        for name, text in (("NOOP", b"NOOP"), ("SELECT", b"SELECT box0"), ("STATUS", b"STATUS box0 (MESSAGES UNSEEN UIDNEXT)"),
                           ("APPEND", APPEND.replace(b"INBOX", b"box0")), ("LIST of one", b'LIST "" box0'), ("SUBSCRIBE", b"SUBSCRIBE box0")):
            command(text)
            curves.point(name, count, lambda _, text=text: command(text))

        def create(i):
            command(b"CREATE new%d" % i)

        def rename(i):
            command(b"RENAME new%d old%d" % (i, i))

        def delete(i):
            command(b"DELETE old%d" % i)
        for name, step in (("CREATE", create), ("RENAME", rename), ("DELETE", delete)):
            curves.point(name, count, step, 5)
        curves.point("LIST of all", count, lambda _: command(b'LIST "" *'), 2)
        sock.close()


def main(args):
    from importlib.machinery import SourceFileLoader
    fill = SourceFileLoader("bench_run", os.path.join(HERE, "run")).load_module().fill_by_copying
    where = args.growth or os.path.join(HERE, "..", "..", "doc", "performance")
    sizes = [n for n in (1000, 10000, 100000, 1000000) if n <= args.growth_to]
    os.makedirs(where, exist_ok=True)
    todo = [] if args.no_culver else [servers.Culver(args.prefix)]
    if not args.no_dovecot:
        todo.append(servers.Dovecot(not args.no_fast))
    found = {}
    for server in todo:
        messages, mailboxes = Curves(server, args.lock), Curves(server, args.lock)
        server.start()
        try:
            messages_curve(messages, sizes, fill)
            messages.tables("messages")
            mailboxes_curve(mailboxes, [1, 100, 10000])
            mailboxes.tables("mailboxes")
        finally:
            server.close()
        found[server.name] = dict(messages=messages.cpu, mailboxes=mailboxes.cpu)
        if server.name == "culver":
            svg.curves(os.path.join(where, "growth-messages.svg"), "Processor time of one operation over the messages of the mailbox", "messages", messages.cpu)
            svg.curves(os.path.join(where, "growth-mailboxes.svg"), "Processor time of one operation over the number of mailboxes", "mailboxes",
                       mailboxes.cpu)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(found, f, indent=1)
    return 0
