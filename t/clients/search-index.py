#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SEARCH asks an index that a module provides, reads only what the index does not know for sure, and answers as it does without one. With the index in
t/plugins/index."""
import base64
import imaplib
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import Log, culver, fail, healthy, need, same, use_plugin  # noqa: E402

need("make", "pkg-config", "cc")
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
print("seed", seed)
rnd = random.Random(seed)
WORDS = ["alpha", "Beta", "gamma", "Δέλτα", "straße", "STRASSE", "ñandú", "zeta", "report", "Report", "42", "a", "x-ray"]
# In a body without structure, in HTML, encoded, and over the border of a slice of decoding.
KINDS = ["plain", "html", "base64", "multi", "long", "raw8", "nosubject"]


def text(n):
    return " ".join(rnd.choice(WORDS) for _ in range(n))


def field(name, value):
    """With an encoded word where it needs one (RFC 2047)."""
    if not value.isascii():
        value = "=?utf-8?b?" + base64.b64encode(value.encode()).decode() + "?="
    return f"{name}: {value}\r\n".encode()


def message(i):
    kind = KINDS[i % len(KINDS)]
    body, head = text(6), f"From: {rnd.choice(['Anna', 'Bert'])} <p{i}@example.org>\r\n".encode() + field("X-Tag", text(2))
    if kind != "nosubject":
        head += field("Subject", text(2))
    head += b"MIME-Version: 1.0\r\n"
    if kind == "html":
        return head + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + f"<p>{body[:9]}<b>{body[9:]}</b> alp<i>ha</i></p>\r\n".encode()
    if kind == "base64":
        return (head + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
                base64.encodebytes(body.encode()).replace(b"\n", b"\r\n"))
    if kind == "multi":
        return (head + b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/plain; name=gamma.txt; charset=utf-8\r\n\r\n" + body.encode() +
                b"\r\n--q\r\nContent-Type: application/octet-stream\r\n\r\nalpha beta\r\n--q--\r\n")
    if kind == "long":
        return head + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + (text(1) + " ").encode() + b"." * (8190 - rnd.randrange(9)) + b"zeta " + b".\r\n" * 3000
    if kind == "raw8":
        return head + b"X-Raw: =?x-nobody-knows?q?caf=E9_alpha?=\r\n\r\n" + b"r\xe9sum\xe9\r\n"
    return head + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body.encode() + b"\r\n"


QUERIES = ([f'{key} "{word}"' for key in ("BODY", "TEXT", "SUBJECT", "FROM", "HEADER X-Tag", "HEADER X-Raw", "HEADER Content-Type")
            for word in ("alpha", "beta", "ha b", "DEL", "strasse", "report", "42", "zeta", "a", "", "text/", "example", "subject: al", "gamma.txt", "nowhere", "anna <p",
                         "caf")] +
           ['TEXT "alpha" BODY "zeta"', 'OR BODY "alpha" SUBJECT "report"', 'NOT BODY "alpha"', 'NOT TEXT "nowhere" SUBJECT "beta"', 'OR NOT SUBJECT "alpha" SEEN',
            '1:5 BODY "alpha"', 'UID 3:* TEXT "gamma"', 'BODY "refuse"'])


def login(s, user):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login(user, culver.PASSWORD)
    m.select("INBOX")
    return m


def ask(m, query):
    kind, data = m.uid("SEARCH", "CHARSET", "UTF-8", query)
    same(kind, "OK", (query, data))
    return [int(x) for x in data[0].split()]


def compare(s, log):
    """The same as who reads every message; counts of what the index was asked."""
    plain, indexed = login(s, "plain"), login(s, "indexed")
    log.lines()
    for query in QUERIES:
        want, got = ask(plain, query), ask(indexed, query)
        same(got, want, query)
    lines = log.lines()
    lookups = [re.search(r"user=indexed lookup kind=(\d+) upto=(\d+) yes=(\d+) maybe=(\d+)", line) for line in lines]
    lookups = [tuple(int(x) for x in m.groups()) for m in lookups if m]
    if len(lookups) < len(QUERIES) / 2:
        fail(f"{len(lookups)} of {len(QUERIES)} searches asked the index")
    same([line for line in lines if "user=indexed" not in line], [], "others have no index")
    plain.logout()
    indexed.logout()
    return lookups, lines


if not culver.storages():
    fail("no storage module is installed")
s = culver.Server(storage=culver.storages()[0], settings="mail_plugins = index\n")
try:
    use_plugin(s, "index")
    s.start()
    log = Log(s, r"\] (index user=.*)")
    mails = [message(i) for i in range(140)]
    sessions = {user: login(s, user) for user in ("plain", "indexed", "noindex")}
    for m in sessions.values():
        for octets in mails:
            same(m.append("INBOX", None, None, octets)[0], "OK")
    lookups, lines = compare(s, log)
    count = len(mails)
    same({x[1] for x in lookups}, {count}, "the index was brought up to date first")
    same(sum(int(re.search(r"read=(\d+)", line).group(1)) for line in lines if "update" in line), count, "each message was read for it once")
    same(any(x[2] > 0 for x in lookups) and any(x[2] + x[3] < count for x in lookups), True, "it knew something")
    print(f"compared {len(QUERIES)} searches, {len(lookups)} lookups ok", flush=True)

    # One whose index can't be opened is told the same, from the messages.
    for query in QUERIES[:30]:
        same(ask(sessions["noindex"], query), ask(sessions["plain"], query), query)
    same("searches go without the index test-index" in s.output(), True)

    # A few messages more than it has are read, not indexed, when few are asked about; later ones are taken in.
    log.lines()
    late = message(0).replace(b"\r\n\r\n", b"\r\n\r\nunicorn ", 1)
    same(sessions["indexed"].append("INBOX", None, None, late)[0], "OK")
    same(sessions["plain"].append("INBOX", None, None, late)[0], "OK")
    sessions["indexed"].noop()
    same(ask(sessions["indexed"], f'UID {count + 1} BODY "unicorn"'), [count + 1])
    same([line for line in log.lines() if "update" in line], [])
    same(ask(sessions["indexed"], 'BODY "unicorn"'), [count + 1])
    same([line.split("update ")[1] for line in log.lines() if "update" in line], [f"upto={count + 1} read=1"])

    # Expunged messages and deleted mailboxes are told; a copy is a new message.
    for user in ("plain", "indexed"):
        m = sessions[user]
        same(m.create("Copies")[0], "OK")
        m.noop()
        same(m.copy("1:30", "Copies")[0], "OK")
        m.store("2:4", "+FLAGS", "(\\Deleted)")
        m.expunge()
    end, told = time.monotonic() + 10, []
    while len([line for line in told if "expunged uid=" in line]) < 3 and time.monotonic() < end:
        told += log.lines()
        time.sleep(0.05)
    same(sorted(re.search(r"uid=(\d+)", line).group(1) for line in told if "expunged" in line), ["2", "3", "4"])
    for mailbox in ("INBOX", "Copies"):
        for m in sessions.values():
            m.select(mailbox)
        for query in rnd.sample(QUERIES, 30):
            same(ask(sessions["indexed"], query), ask(sessions["plain"], query), (mailbox, query))
    sessions["indexed"].unselect()
    log.lines()
    same(sessions["indexed"].rename("Copies", "Elsewhere")[0], "OK")
    sessions["indexed"].select("Elsewhere")
    ask(sessions["indexed"], 'BODY "unicorn"')
    same([line for line in log.lines() if "update" in line], [], "known by its GUID")
    sessions["indexed"].unselect()
    same(sessions["indexed"].delete("Elsewhere")[0], "OK")
    end, told = time.monotonic() + 10, []
    while not any("deleted" in line for line in told) and time.monotonic() < end:
        told += log.lines()
        time.sleep(0.05)
    same(any("user=indexed deleted" in line for line in told), True, told)
    for m in sessions.values():
        m.logout()

    # After a restart it begins anew.
    s.stop()
    s.start()
    lookups, lines = compare(s, log)
    print("expunge, rename, delete, restart ok", flush=True)
    healthy(s)
    s.stop()
finally:
    s.close()
