#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Input that breaks the rules, row by row, for IMAP, POP3 and LMTP, before and after login: over-long lines, broken literals, NULs, what is no UTF-8.
Each gets its protocol's proper error, and the connection goes on where it can; slow and vanishing clients lose nothing for others."""
import imaplib
import os
import re
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, same  # noqa: E402

LONG = b"x" * 100000
LOGIN = (b"a LOGIN good pass\r\n", rb"a OK .*")
POP3_LOGIN = [(b"USER good\r\n", rb"\+OK .*"), (b"PASS pass\r\n", rb"\+OK .*")]
LMTP_BEGIN = [(b"LHLO t\r\n", rb"250 .*"), (b"MAIL FROM:<a@b>\r\n", rb"250 .*"), (b"RCPT TO:<good>\r\n", rb"250 .*")]
CLOSED = b"closed"

# Each: protocol, what is tried, [what is sent, the last line of the answer]. An answer is whole at a tagged line, a "+", or a line without "-".
ROWS = [
    ("imap", "line before login", [(LONG + b"\r\n", rb"\* BAD .*too long.*"), (b"", CLOSED)]),
    ("imap", "line without end before login", [(LONG, rb"\* BAD .*too long.*"), (b"", CLOSED)]),
    ("imap", "line after login", [LOGIN, (b"b NOOP " + LONG + b"\r\n", rb"b BAD .*too long.*"), (b"c NOOP\r\n", rb"c OK .*")]),
    ("imap", "tag after login", [LOGIN, (LONG + b"\r\n", rb"\* BAD .*too long.*"), (b"c NOOP\r\n", rb"c OK .*")]),
    ("imap", "literals before login", [
        (b"a LOGIN {x}\r\n", rb"a BAD .*"), (b"b LOGIN {-1}\r\n", rb"b BAD .*"), (b"c LOGIN {99999999999999999999999}\r\n", rb"c BAD .*"),
        (b"d LOGIN {100000000}\r\n", rb"d BAD .*"), (b"e LOGIN {3\r\n", rb"e BAD .*"), (b"f LOGIN {}\r\n", rb"f BAD .*"),
        (b"g LOGIN {3}\r\n", rb"\+ .*"), (b"abcdef\r\n", rb"g BAD .*"), (b"h NOOP\r\n", rb"h OK .*")]),
    ("imap", "literals after login", [
        LOGIN, (b"a SELECT {x}\r\n", rb"a BAD .*"), (b"b SELECT {-1}\r\n", rb"b BAD .*"), (b"c SELECT {18446744073709551617}\r\n", rb"c BAD .*"),
        (b"d SELECT {5\r\n", rb"d BAD .*"), (b"e SELECT {5}}\r\n", rb"e BAD .*"), (b"f SELECT {100000000}\r\n", rb"f (BAD|NO) .*"),
        (b"g APPEND INBOX {10x}\r\n", rb"g BAD .*"), (b"h APPEND INBOX {99999999999}\r\n", rb"h NO \[TOOBIG\] .*"),
        (b"i APPEND INBOX {0}\r\n", rb"i NO .*"), (b"j APPEND INBOX {5}\r\n", rb"\+ .*"), (b"hello garbage\r\n", rb"j BAD .*"),
        (b"k NOOP\r\n", rb"k OK .*")]),
    ("imap", "NUL before login", [
        (b'a LOGIN "go\0od" pass\r\n', rb"a BAD .*"), (b"b LOGIN {4+}\r\ng\0od pass\r\n", rb"b BAD .*"), (b"\0\r\n", rb"(\*|\S+) BAD .*"),
        (b"c AUTHENTICATE PLAIN\r\n", rb"\+ ?.*"), (b"AGdv\0b2Q=\r\n", rb"c (BAD|NO) .*"), (b"d NOOP\r\n", rb"d OK .*")]),
    ("imap", "NUL after login", [
        LOGIN, (b"b NO\0OP\r\n", rb"b BAD .*"), (b'c SELECT "IN\0BOX"\r\n', rb"c BAD .*"), (b"d SELECT {5+}\r\nIN\0BO\r\n", rb"d BAD .*"),
        (b"e APPEND INBOX {10+}\r\n12\r\n\00056789\r\n", rb"e (NO|BAD) .*"), (b"f NOOP\r\n", rb"f OK .*")]),
    ("imap", "octets that are no text before login", [
        (b"a LOGIN g\xff\xfeod pass\r\n", rb"a (NO|BAD) .*"), (b"b LOGIN {3+}\r\n\xff\xfe\xfd pass\r\n", rb"b NO .*"), (b"d NOOP\r\n", rb"d OK .*")]),
    ("imap", "octets that are no text after login", [LOGIN, (b"h SELECT INBOX\r\n", rb"h OK .*"),
        (b'c CREATE "\xff\xfe"\r\n', rb"c (NO|BAD) .*"), (b'd CREATE "&AAAA-"\r\n', rb"d NO .*"), (b'e CREATE "&***"\r\n', rb"e NO .*"),
        (b'f CREATE "a\xc3"\r\n', rb"f (NO|BAD) .*"), (b'g CREATE "&2AA-"\r\n', rb"g NO .*"),
        (b"i SEARCH CHARSET UTF-8 SUBJECT {2+}\r\n\xc3\x28\r\n", rb"i (OK|BAD|NO) .*"), (b"j STORE 1 +FLAGS (\xff)\r\n", rb"j (BAD|NO) .*"),
        (b"k FETCH 1 BODY[HEADER.FIELDS (]\r\n", rb"k BAD .*"), (b"l NOOP\r\n", rb"l OK .*")]),
    ("imap", "nested lists", [LOGIN, (b"b SELECT INBOX\r\n", rb"b OK .*"), (b"c SEARCH " + b"(" * 5000 + b"ALL" + b")" * 5000 + b"\r\n", rb"c BAD .*"),
                              (b"d SEARCH " + b"NOT " * 10000 + b"ALL\r\n", rb"d (OK|BAD|NO) .*"), (b"e NOOP\r\n", rb"e OK .*")]),
    ("pop3", "line before login", [(LONG + b"\r\n", rb"-ERR .*"), (b"CAPA\r\n", rb"\+OK.*")]),
    ("pop3", "NUL and octets that are no text before login", [
        (b"USER g\0d\r\n", rb"-ERR .*"), (b"USER \xff\xfe\r\n", rb"(\+OK|-ERR) .*"), (b"USER good\r\n", rb"\+OK .*"), (b"PASS p\0ss\r\n", rb"-ERR .*"),
        (b"AUTH PLAIN ====\r\n", rb"-ERR .*"), (b"AUTH PLAIN\r\n", rb"\+ ?.*"), (b"@@@@\r\n", rb"-ERR .*"), (b"AUTH PLAIN\r\n", rb"\+ ?.*"),
        (LONG + b"\r\n", rb"-ERR .*"), *POP3_LOGIN]),
    ("pop3", "after login", [
        *POP3_LOGIN, (LONG + b"\r\n", rb"-ERR .*"), (b"RETR 99999999999999999999\r\n", rb"-ERR .*"), (b"RETR -1\r\n", rb"-ERR .*"),
        (b"RETR 0\r\n", rb"-ERR .*"), (b"TOP 1 -1\r\n", rb"-ERR .*"), (b"DELE 1\0\r\n", rb"-ERR .*"), (b"NO\0OP\r\n", rb"-ERR .*"),
        (b"LIST \xff\r\n", rb"-ERR .*"), (b"NOOP\r\n", rb"\+OK.*"), (b"STAT\r\n", rb"\+OK 1 \d+")]),
    ("lmtp", "line", [(LONG + b"\r\n", rb"500 5\.5\.\d .*"), (b"NOOP\r\n", rb"250 .*")]),
    ("lmtp", "envelope", [
        (b"LHLO t\r\n", rb"250 .*"), (b"MAIL FROM:<a@b\0>\r\n", rb"5\d\d .*"), (b"MAIL FROM:<\xff@b>\r\n", rb"5\d\d .*"),
        (b"MAIL FROM:<a@b> SIZE=99999999999999999999\r\n", rb"5\d\d .*"), (b"MAIL FROM:<a@b> SIZE=-1\r\n", rb"501 .*"),
        (b"MAIL FROM:<" + b"a" * 5000 + b"@b>\r\n", rb"5\d\d .*"), (b"MAIL FROM:<a@b>\r\n", rb"250 .*"), (b"RCPT TO:<good\0>\r\n", rb"5\d\d .*"),
        (b"RCPT TO:<g\xffd>\r\n", rb"5\d\d .*"), (b"RCPT TO:<" + b"a" * 5000 + b">\r\n", rb"5\d\d .*"), (b"RCPT TO:<good>\r\n", rb"250 .*"),
        (b"BDAT x\r\n", rb"501 .*")]),
    ("lmtp", "BDAT sizes", [*LMTP_BEGIN, (b"BDAT 99999999999999999999 LAST\r\n", rb"5\d\d .*"), (b"", CLOSED)]),
]


def whole(protocol, line):
    if protocol == "imap":
        return not line.startswith(b"* ") or line.startswith((b"* BAD", b"* BYE"))
    return line[3:4] != b"-" or line.startswith(b"-ERR")


def talk(s, protocol, what, steps):
    with socket.create_connection(("127.0.0.1", s.ports[protocol]), 20) as c:
        f = c.makefile("rb")
        f.readline()
        for sent, wanted in steps:
            try:
                c.sendall(sent)
            except OSError:
                if wanted is not CLOSED:
                    fail(f"{protocol}, {what}: {sent[:60]!r}: the connection is closed")
            try:
                line = f.readline()
                while line and not whole(protocol, line):
                    line = f.readline()
                if wanted is CLOSED:
                    while line:
                        line = f.readline()
            except OSError as e:
                if wanted is CLOSED and isinstance(e, ConnectionResetError):
                    continue
                fail(f"{protocol}, {what}: {sent[:60]!r}: {e}")
            if wanted is not CLOSED and not re.fullmatch(wanted, line.rstrip(b"\r\n"), re.S):
                fail(f"{protocol}, {what}: {sent[:60]!r} was answered {line[:200]!r}, wanted {wanted!r}")


def cases(protocol, steps):
    """IMAP ends a connection after some bad commands: each gets one of its own, between what leads there and the last step."""
    if protocol != "imap" or steps[-1][1] is CLOSED:
        return [steps]
    first = next(i for i, (_, wanted) in enumerate(steps) if b" OK " not in wanted)
    out, group = [], []
    for step in steps[first:-1]:
        group.append(step)
        if not step[1].startswith(rb"\+"):
            out.append(steps[:first] + group + steps[-1:])
            group = []
    return out


def rows(s):
    count = 0
    for protocol, what, steps in ROWS:
        for case in cases(protocol, steps):
            talk(s, protocol, what, case)
            count += 1
    print(count, "conversations")


def odd_mails(s):
    """Octets of a message are nobody's business: what LMTP took is served as it came, NULs refused or kept."""
    texts = [b"Subject: \xff\xfe\r\nFrom: \xc3\x28 <a@b>\r\n\r\n\xf0\x28\x8c\x28\r\n", b"Subject: caf\xe9\r\n\r\n\xa0\r\n",
             b"Content-Type: text/plain; charset=\xff\r\n\r\nx\r\n", b"X: " + b"y" * 300000 + b"\r\nSubject: z\r\n\r\n" + b"q" * 1000000 + b"\r\n",
             b"no header at all\r\n", b"\r\n\r\n", b"Subject: bare\rCR\r\n\r\nx\ry\r\n", b"Subject: nul\r\n\r\na\0b\r\n"]
    taken = []
    for text in texts:
        code, answer = deliver_raw(s, text)
        if code == 250:
            taken.append(text)
        elif code not in (500, 501, 550, 552, 554):
            fail(f"{text[:40]!r}: {code} {answer}")
    same(len(taken) >= 6, True, len(taken))
    imaplib._MAXLINE = 64 << 20
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login("odd", culver.PASSWORD)
    m.select("INBOX")
    _, got = m.fetch("1:*", "(BODY.PEEK[])")
    octets = [p[1] for p in got if isinstance(p, tuple)]
    same(len(octets), len(taken))
    for is_there, sent in zip(octets, taken):
        # RFC 3501 section 4.3: a literal has no NUL; it is shown as another octet.
        same(is_there.endswith(sent) or is_there.endswith(sent.replace(b"\0", b"\x80")), True, is_there[-60:])
    for item in ("ENVELOPE", "BODYSTRUCTURE", "BODY[HEADER.FIELDS (SUBJECT)]", "BODY[TEXT]", "BODY[1]"):
        same(m.fetch("1:*", f"({item})")[0], "OK", item)
    same(m.search("UTF-8", "TEXT", "x")[0], "OK")
    m.logout()


def deliver_raw(s, text):
    with socket.create_connection(("127.0.0.1", s.ports["lmtp"]), 20) as c:
        f = c.makefile("rb")

        def reply():
            line = f.readline()
            while line[3:4] == b"-":
                line = f.readline()
            return int(line[:3] or 0), line
        reply()
        for command in (b"LHLO t\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<odd>\r\n", b"DATA\r\n"):
            c.sendall(command)
            reply()
        c.sendall(text.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return reply()


def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def vanishing(s):
    """At every octet, by FIN and by RST. POP3: nothing is deleted without QUIT. LMTP: nothing is delivered without its end."""
    for i in range(3):
        same(s.deliver("pops", mail(f"keep{i}"))[0], 250)
    texts = [("pop3", b"USER pops\r\nPASS pass\r\nDELE 1\r\nDELE 2\r\nRETR 3\r\nLIST\r\nQUIT"),
             ("imap", b"a AUTHENTICATE PLAIN AHBvcHMAcGFzcw==\r\nb SELECT INBOX\r\nc STORE 1:3 +FLAGS (\\Deleted)"),
             ("lmtp", b"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<gone>\r\nBDAT 10\r\n0123456789BDAT 20 LAST\r\n01234567890123456")]
    for protocol, text in texts:
        for n in range(len(text) + 1):
            c = socket.create_connection(("127.0.0.1", s.ports[protocol]), 20)
            c.sendall(text[:n])
            reset(c) if n % 2 else c.close()
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login("pops", culver.PASSWORD)
    same(m.select("INBOX")[1], [b"3"], "messages that were to be deleted at a QUIT which never came whole")
    m.logout()
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login("gone", culver.PASSWORD)
    same(m.select("INBOX")[1], [b"0"])
    m.logout()


def slow(s):
    """An octet now and then holds a connection no longer than login_timeout, silence no longer than login_idle_timeout; others are served meanwhile."""
    held = {}
    for protocol, text in (("imap", b"a LOGIN good pass"), ("pop3", b"USER good but slow"), ("lmtp", b"LHLO very-slow-one")):
        held[protocol, "dripping"] = (socket.create_connection(("127.0.0.1", s.ports[protocol]), 20), text)
        held[protocol, "silent"] = (socket.create_connection(("127.0.0.1", s.ports[protocol]), 20), b"")
    for c, _ in held.values():
        c.settimeout(0.01)
    ended, start = {}, time.monotonic()
    while time.monotonic() - start < 20 and sum(key[0] != "lmtp" for key in ended) < 4:
        time.sleep(0.4)
        for key, (c, text) in held.items():
            if key in ended:
                continue
            at = int((time.monotonic() - start) / 0.4)
            try:
                if text:
                    c.sendall(text[at % len(text):at % len(text) + 1])
                while c.recv(4096):
                    pass
                ended[key] = time.monotonic() - start
            except TimeoutError:
                pass
            except OSError:
                ended[key] = time.monotonic() - start
        same(s.deliver("good2", mail("meanwhile"))[0], 250)
    # LMTP's client is the MTA, which has nothing to log in for: it may take five minutes for a line (RFC 5321 section 4.5.3.2.7).
    wanted = {key for key in held if key[0] != "lmtp"}
    if not wanted <= set(ended):
        fail(f"still connected after 20 s: {sorted(wanted - set(ended))}")
    for c, _ in held.values():
        c.close()
    print({" ".join(k): round(v, 1) for k, v in ended.items()})


with culver.Server(settings="login_timeout = 4s\nlogin_idle_timeout = 2s\nauth_mechanisms = plain login\n") as s:
    same(s.deliver("good", mail("good"))[0], 250)
    for test in (rows, odd_mails, vanishing, slow):
        test(s)
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=10)
        m.login("good", culver.PASSWORD)
        same(m.select("INBOX")[1], [b"1"], "another user")
        m.logout()
        healthy(s)
        print(test.__name__, "ok", flush=True)
