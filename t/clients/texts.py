#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The catalogues of translations and the code: each text that IMAP and POP3 may send has its row, and each row is of a text that is still there."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import fail  # noqa: E402

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
STRING = r'"(?:[^"\\\n]|\\.)*"'
CHAR = r"'(?:[^'\\\n]|\\.)+'"
# Calls whose strings no client sees: logs, errors that are not public, settings, reasons for the log line, arenas, words of syntax.
UNSEEN = ["cv_error", "cv_warn", "cv_info", "cv_debug", "cv_log_[a-z_]+", "cv_fatal", "cv_assert", "cv_err_set", "cv_err_sys", "cv_err_context",
          "CV_SETTING_[A-Z]+", "CV_SETTINGS_TABLE", "imap_close", "cv_imap_login_close", "end", "cv_arena_new", "cv_take_lit"]
# What begins a response code, a capability, what is put into a text.
CODES = {"REFERRAL imap://", "ACL RIGHTS=texkn", "modified UTF-7"}
wrong = []


def files(*patterns):
    found = [path for p in patterns for path in glob.glob(os.path.join(TOP, p))]
    if not found:
        fail(f"no files: {patterns}")
    return sorted(path for path in found if not path.endswith("-text.c"))


def code(path):
    """A C file without comments, character constants and #include lines, strings that stand together joined."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text = re.sub(rf"/\*.*?\*/|({STRING})|{CHAR}", lambda m: m.group(1) or " ", text, flags=re.S)
    return re.sub(r'"\s*\n\s*"', "", re.sub(r"^#include.*$", "", text, flags=re.M))


def calls(text, names):
    """(begin, arguments, end) of the calls of these functions; in calls within calls of the outer one only."""
    at = 0
    for m in re.finditer(rf"(?<![\w>.])(?:{'|'.join(names)})\)?\s*\(", text):
        if m.start() < at:
            continue
        depth, at = 1, m.end()
        for token in re.finditer(rf"{STRING}|[()]", text[at:]):
            depth += {"(": 1, ")": -1}.get(token.group(0), 0)
            if depth == 0:
                yield m.start(), text[at:at + token.start()], at + token.end()
                at += token.end()
                break


def without(text, names):
    out, at = [], 0
    for begin, _, end in calls(text, names):
        out.append(text[at:begin])
        at = end
    return "".join(out) + text[at:]


def strings(text):
    return [s[1:-1] for s in re.findall(STRING, text)]


def words(s):
    return re.search(r"(?<![A-Za-z0-9])[a-z]{2,}|[A-Z][a-z]{2,}\b", re.sub(r"%[-0-9.*]*(?:ll|z)?[a-z]", "", s)) is not None


def sentence(s):
    return re.match(r"[A-Z%\\]", s) and " " in s.strip() and words(s) and not re.search(r"\\r|\\n", s) and s not in CODES


def rows(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        found = re.findall(r'^\t\{ "((?:[^"\\]|\\.)*)",', f.read(), re.M)
    if len(found) < 50:
        fail(f"{path} was not read: {len(found)} rows")
    return set(found)


def imap():
    """RFC 5255 section 3.2: "the server will return human-readable responses in the first supported language specified"."""
    catalogue = rows("modules/lib/imap/imap-text.c")
    # All sentences of what speaks IMAP and what it is told by; elsewhere those of public errors.
    speaks = files("modules/protocol/imap*/*.[ch]")
    whole = speaks + files("modules/lib/imap/*.[ch]", "modules/lib/saslprep/*.c", "modules/storage/sdbox/*.c", "modules/storage/maildir/*.c",
                           "core/base/err.c", "core/proc/auth-request.c", "core/proc/auth-result.c", "modules/auth/pam/pam.c")
    whole += [path for path in files("core/store/*.c") if os.path.basename(path) not in ("fsck.c", "fsck-message.c", "snapshot.c", "snapshot-head.c", "store-tables.c")]
    public = files("core/message/search.c", "core/proc/front-ask.c", "core/proc/login.c", "core/proc/spawner.c", "core/proc/spawner-limits.c", "core/proc/spawner-request.c",
                   "core/proc/spawner-worker.c", "plugins/acl/acl-list.c", "plugins/acl/acl-service.c", "plugins/quota/own.c",
                   "plugins/quota/quota.c")
    there = set()
    for path in whole + public:
        text = code(path)
        there |= set(strings(text))
        seen = {s for s in strings(without(text, UNSEEN)) if sentence(s)} if path in whole else set()
        seen |= {s for _, args, _ in calls(text, ["cv_err_set_public"]) for s in strings(args) if words(s) and s not in CODES}
        if path in speaks:
            # Here also texts of one word: they stand last in their calls.
            names = ["imap_(?:ok|no|bad|bad_code|tell|tell_number|end_line)", "cv_imap_login_(?:reply|bad)", "cmd->api->(?:ok|no|bad)"]
            seen |= {s for _, args, _ in calls(text, names) for s in strings(args) if words(s) and not re.match(r"[A-Z-]+ ", s)}
        for s in sorted(seen - catalogue):
            wrong.append(f"{os.path.relpath(path, TOP)}: {s!r} has no translation in modules/lib/imap/imap-text.c")
    for s in sorted(catalogue - there - {"Quota exceeded (mailbox for user is full)"}):
        wrong.append(f"modules/lib/imap/imap-text.c: {s!r} is nobody's text any more")


def pop3():
    """RFC 6856 section 3.2: "all subsequent +OK and -ERR responses"."""
    catalogue = rows("modules/lib/pop3/pop3-text.c")
    for path in files("modules/protocol/pop3*/*.c"):
        for _, args, _ in calls(code(path), ["cv_pop3_reply", "cv_pop3_login_reply", "cv_pop3_login_bad"]):
            for s in strings(args):
                if re.search("[a-z]{3}", re.sub("%ll|%[a-z]", "", s)) and s not in catalogue:
                    wrong.append(f"{os.path.relpath(path, TOP)}: {s!r} has no translation in modules/lib/pop3/pop3-text.c")


imap()
pop3()
if wrong:
    fail("\n".join(wrong))
