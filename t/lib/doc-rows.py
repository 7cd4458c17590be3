#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rows of the standards' tables in doc/: the sessions that they name are there and have the tags that they name, and so are the files."""

import glob
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FOLDERS = {"login": ("modules/protocol/imap-login", "modules/protocol/pop3-login", "modules/protocol/lmtp-login"), "lib": ("modules/lib/imap", "modules/lib/pop3", "modules/lib/lmtp"),
           "imap": ("modules/protocol/imap",), "pop3": ("modules/protocol/pop3",), "lmtp": ("modules/protocol/lmtp",), "store": ("core/store",)}
wrong = []


def tags(text):
    """"a1 - a3, b2" as a set."""
    found = set()
    for part in text.split(","):
        span = re.match(r"\s*([a-z])(\d+) - \1?(\d+)\s*$", part)
        if span:
            found |= {span[1] + str(n) for n in range(int(span[2]), int(span[3]) + 1)}
        else:
            found |= set(re.findall(r"\b[a-z]\d+\b", part))
    return found


def check_sessions(where, line, sessions):
    for name, text in re.findall(r"\b([a-z0-9][a-z0-9-]{3,}) \(([a-z]\d+[^()]*)\)", line):
        if name.startswith("test-"):
            continue
        path = os.path.join(sessions, name + ".session")
        if not os.path.exists(path):
            wrong.append(f"{where}: there is no session {name}")
            continue
        with open(path) as f:
            session = f.read()
        lacking = [tag for tag in sorted(tags(text)) if not re.search(rf"\b{tag}\b", session)]
        if lacking:
            wrong.append(f"{where}: session {name} has no {', '.join(lacking)}")


def check_files(where, line):
    for path in re.findall(r"\b(?:imap|pop3|lmtp|login|lib|store|core/[a-z]+|modules/[a-z/-]+|plugins/[a-z]+|t/[a-z]+)/[a-z0-9-]+\.[ch]\b", line):
        folder, _, name = path.partition("/")
        if not any(os.path.exists(os.path.join(TOP, f, name)) for f in FOLDERS.get(folder, ())) and not os.path.exists(os.path.join(TOP, path)):
            wrong.append(f"{where}: there is no file {path}")


count = 0
for doc in sorted(glob.glob(os.path.join(TOP, "doc", "imap-*"))) + [os.path.join(TOP, "doc", name) for name in ("pop3", "lmtp")]:
    base = os.path.basename(doc)
    with open(doc) as f:
        for number, line in enumerate(f, 1):
            count += 1
            check_sessions(f"doc/{base}:{number}", line, os.path.join(TOP, "t", "sessions", base if base in ("pop3", "lmtp") else "imap"))
            check_files(f"doc/{base}:{number}", line)
if wrong or count == 0:
    sys.exit("\n".join(wrong) or "no tables")
print(f"doc-rows: {count} lines")
