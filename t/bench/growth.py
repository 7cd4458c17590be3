# SPDX-License-Identifier: MIT
"""How the time of one operation grows with the size of the mailbox and the number of mailboxes (t/bench/run --growth [DIR] [--growth-to N]).

Each operation touches one message or none, so its time should not depend on the size: the exponent of size in the time, by least squares over the
logarithms, says how far that is so: 0 is constant, 1 proportional. Prints a table and writes growth-messages.svg and growth-mailboxes.svg (to
doc/performance, or DIR).
"""

import math
import os
import statistics
import time

import culver
import measure
import servers
import svg
import whole

HERE = os.path.dirname(os.path.abspath(__file__))
# name, command with %d for a message's number; what is opened anew or appended has code of its own.
COMMANDS = [("NOOP", b"NOOP"), ("SELECT", b"SELECT INBOX"), ("STATUS", b"STATUS INBOX (MESSAGES UNSEEN UIDNEXT)"), ("FETCH a row", b"FETCH %d (UID FLAGS ENVELOPE)"),
            ("STORE one", b"STORE %d +FLAGS (\\Flagged)"), ("COPY one", b"COPY %d other"), ("MOVE one", b"MOVE %d other")]
APPEND = b"APPEND INBOX {73+}\r\nFrom: a@bench.example\r\nSubject: one more for the growth curve\r\n\r\ntext...\r\n"


def exponent(points):
    """Slope of log(time) over log(size)."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mx, my = statistics.mean(xs), statistics.mean(ys)
    below = sum((x - mx) ** 2 for x in xs)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / below if below else 0.0


def timed(step, repeat):
    """Median milliseconds of one step."""
    times = []
    for i in range(repeat):
        begin = time.perf_counter()
        step(i)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def opening(server, user):
    """LOGIN and SELECT by a worker that has just started."""
    def once(_):
        sock = whole.logged_in(server, user)
        whole.imap_command(sock, b"SELECT INBOX")
        sock.close()
    return once


def messages_curve(server, sizes, fill, out):
    for size in sizes:
        user = f"size{size}"
        fill(server, user, size)
        server.stop()
        server.start()
        whole.logged_in(server, "nobodyelse").close()
        out.setdefault("LOGIN, SELECT, first", []).append((size, timed(opening(server, user), 1)))
        sock = whole.logged_in(server, user)
        whole.imap_command(sock, b"CREATE other")
        whole.imap_command(sock, b"SELECT INBOX")
        for name, command in COMMANDS:
            def step(i, command=command):
                whole.imap_command(sock, command.replace(b"%d", b"%d" % (1 + (i * 7919) % (size - 60))))
            step(0)
            out.setdefault(name, []).append((size, timed(step, 51)))
        out.setdefault("APPEND", []).append((size, timed(lambda _: whole.imap_command(sock, APPEND), 51)))
        sock.close()


def mailboxes_curve(server, counts, out):
    for count in counts:
        user = f"boxes{count}"
        sock = whole.logged_in(server, user)
        for n in range(0, count, 100):
            for k in range(n, min(n + 100, count)):
                sock.sendall(b"c CREATE box%d\r\n" % k)
            whole.imap_command(sock, b"NOOP")
        for n in range(3):
            whole.imap_command(sock, APPEND.replace(b"INBOX", b"box0"))
        sock.close()
        server.stop()
        server.start()
        whole.logged_in(server, "nobodyelse").close()
        out.setdefault("LOGIN, SELECT, first", []).append((count, timed(opening(server, user), 1)))
        sock = whole.logged_in(server, user)
        for name, command in (("NOOP", b"NOOP"), ("SELECT", b"SELECT box0"), ("STATUS", b"STATUS box0 (MESSAGES UNSEEN UIDNEXT)"),
                              ("APPEND", APPEND.replace(b"INBOX", b"box0")), ("LIST one", b'LIST "" box0'), ("LIST all", b'LIST "" *')):
            def step(_, command=command):
                whole.imap_command(sock, command)
            step(0)
            out.setdefault(name, []).append((count, timed(step, 21)))
        sock.close()


def table(title, curves):
    sizes = [x for x, _ in next(iter(curves.values()))]
    print(f"{title:24}" + "".join(f"{s:>12,}" for s in sizes) + f"{'exponent':>10}   (milliseconds)")
    for name, points in curves.items():
        print(f"{name:24}" + "".join(f"{y:12.3f}" for _, y in points) + f"{exponent(points):10.2f}")
    print()


def main(args):
    from importlib.machinery import SourceFileLoader
    fill = SourceFileLoader("bench_run", os.path.join(HERE, "run")).load_module().fill_by_copying
    where = args.growth or os.path.join(HERE, "..", "..", "doc", "performance")
    sizes = [n for n in (1000, 10000, 100000, 1000000) if n <= args.growth_to]
    counts = [1, 100, 10000]
    os.makedirs(where, exist_ok=True)
    todo = [servers.Culver(args.prefix)]
    if not args.no_dovecot:
        todo.append(servers.Dovecot(not args.no_fast))
    for server in todo:
        messages, mailboxes = {}, {}
        server.start()
        try:
            messages_curve(server, sizes, fill, messages)
            mailboxes_curve(server, counts, mailboxes)
        finally:
            server.close()
        table(f"{server.name}: messages", messages)
        table(f"{server.name}: mailboxes", mailboxes)
        if server.name == "culver":
            svg.curves(os.path.join(where, "growth-messages.svg"), "Time of one operation over the messages of the mailbox", "messages", messages)
            svg.curves(os.path.join(where, "growth-mailboxes.svg"), "Time of one operation over the number of mailboxes", "mailboxes", mailboxes)
    return 0
