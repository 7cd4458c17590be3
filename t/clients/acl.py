#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Access control lists in a running server: what the administrator's rules take away, what two sessions see of a change, that a list is there after
kill -9, and that settings which cannot work are told. The sentences of the standards are in t/sessions/imap/acl-*.session."""
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import Imap, culver, fail, same  # noqa: E402


RULES = """# rules of the house
Hidden owner
Hidden/* owner
Drop owner i
Flags owner sw
Groups group=nobody lr
Groups -group=team x
Mine user=gina lr
"""


def rules(s):
    """Without "a" the commands tell nothing of a mailbox that may not be looked up; each of the rights that MYRIGHTS is content with is enough."""
    m = Imap(s, "gina")
    for name in ("Hidden", "Drop", "Flags", "Groups", "Mine"):
        m.ok(f"CREATE {name}")
    commands = ("GETACL {}", "SETACL {} anna lr", "DELETEACL {} anna", "LISTRIGHTS {} anna", "MYRIGHTS {}")
    never = [m.cmd(c.format("never")) for c in commands]
    same(set(never), {"NO [NONEXISTENT] Mailbox doesn't exist"})
    for name in ("Hidden", "Flags"):
        same([m.cmd(c.format(name)) for c in commands], never, name)
        same(m.untagged, [])
    same([m.cmd(c.format("Drop")) for c in commands[:4]], never[:4])
    same(m.ok("MYRIGHTS Drop"), ["* MYRIGHTS Drop i"])
    m.ok("APPEND Drop (\\Seen)", b"Subject: x\r\n\r\nx\r\n")
    same(m.cmd("SELECT Drop"), "NO [NONEXISTENT] Mailbox doesn't exist")
    same(m.ok("MYRIGHTS Groups"), ["* MYRIGHTS Groups lrswipkteancd"])
    same(m.cmd("DELETE Groups"), "NO [NOPERM] Permission denied")
    same(m.ok("MYRIGHTS Mine"), ["* MYRIGHTS Mine lr"])
    same(m.cmd("GETACL Mine"), "NO [NOPERM] Permission denied")
    same([line for line in m.ok('LIST "" *') if "Hidden" in line or "Drop" in line], [])
    # The part of a message in a mailbox that may not be read (RFC 4469).
    m.ok("APPEND INBOX", b"Subject: y\r\n\r\ny\r\n")
    m.ok("CREATE Open")
    m.ok("APPEND Open", b"Subject: z\r\n\r\nz\r\n")
    m.ok('APPEND INBOX CATENATE (URL "/Open/;UID=1")')
    answer = m.cmd('APPEND INBOX CATENATE (URL "/Drop/;UID=1")')
    same(answer.startswith("NO [BADURL"), True, answer)
    same(answer, m.cmd('APPEND INBOX CATENATE (URL "/Drop/;UID=1")'))
    same(m.cmd('APPEND INBOX CATENATE (URL "/Nope/;UID=1")').replace("Nope", "Drop"), answer)
    m.close()


def sessions(s):
    """A change in one session counts in the other's next command."""
    a, b = Imap(s, "hilde"), Imap(s, "hilde")
    a.ok("CREATE box")
    a.ok("APPEND box", b"Subject: x\r\n\r\nx\r\n")
    b.ok("SELECT box")
    a.ok("SETACL box hilde lrs")
    shown = [line for line in b.ok("NOOP") if "PERMANENTFLAGS" in line]
    same(len(shown) == 1 and "(\\Seen)" in shown[0], True, shown)
    same(b.cmd("STORE 1 +FLAGS (\\Deleted)"), "NO [NOPERM] Permission denied")
    b.ok("STORE 1 +FLAGS (\\Seen)")
    a.ok("DELETEACL box hilde")
    b.ok("STORE 1 +FLAGS (\\Deleted)")
    b.ok("EXPUNGE")
    # A list has a bound, and what does not fit changes nothing.
    before = a.ok("GETACL box")
    answer = ""
    for i in range(40):
        answer = a.cmd(f"SETACL box {'n' * 900}{i} lr")
        if not answer.startswith("OK"):
            break
    same(answer.startswith("NO [LIMIT]"), True, answer)
    kept = a.ok("GETACL box")
    same(kept[0].count("nnn" * 300), i, "entries that were acknowledged")
    same(len(before), 1)
    a.close()
    b.close()


def administrators(s):
    """culver acl: what users may not set themselves too, and a session sees it at once."""
    m = Imap(s, "jens")
    m.ok("CREATE Work")
    m.ok("SELECT Work")

    def acl(*args, status=0):
        r = s.culver("acl", args[0], "-u", "jens", "--json", *args[1:], check=False)
        same(r.returncode, status, (args, r.stdout, r.stderr))
        return [json.loads(line) for line in r.stdout.splitlines()] if status == 0 and not r.stdout.startswith("[") else r.stdout

    def rows(*args):
        out = acl(*args)
        out = json.loads(out) if isinstance(out, str) else out
        return [(row["mailbox"], row.get("identifier"), row["rights"]) for row in out]

    same(rows("get", "Work"), [])
    same(rows("rights", "INBOX", "Work"), [("INBOX", None, "lrswipkxtean"), ("Work", None, "lrswipkxtean")])
    same(rows("set", "Work", "anyone", "lr"), [("Work", "anyone", "lr")])
    same(rows("set", "Work", "user=jens", ":lookup:read:write-seen"), [("Work", "user=jens", "lrsa")])
    shown = [line for line in m.ok("NOOP") if "PERMANENTFLAGS" in line]
    same(len(shown) == 1 and "(\\Seen)" in shown[0], True, shown)
    same(rows("set", "--add", "Work", "user=jens", "k"), [("Work", "user=jens", "lrska")])
    same(rows("set", "--remove", "Work", "user=jens", "ka"), [("Work", "user=jens", "lrsa")])
    same(rows("set", "Work", "--", "-group=team", "s"), [("Work", "-group=team", "s")])
    same(rows("rights", "Work"), [("Work", None, "lra")])
    same(rows("get", "Work"), [("Work", "anyone", "lr"), ("Work", "-group=team", "s"), ("Work", "user=jens", "lrsa")])
    same(m.ok("GETACL Work")[:1], ["* ACL Work anyone lr -$team s jens lrsa"])
    acl("delete", "Work", "user=jens")
    acl("delete", "Work", "user=jens", status=68)
    acl("get", "Nope", status=68)
    acl("set", "Work", "jens", "lr", status=65)
    acl("set", "Work", "user=jens", "lrz", status=65)
    acl("set", "Work", "user=x\nanyone lr", "l", status=65)
    acl("set", "--add", "--remove", "Work", "user=jens", "l", status=65)
    m.close()


def durable(s):
    user = f"ida{os.getpid()}"
    m = Imap(s, user)
    m.ok("CREATE one")
    m.ok("SETACL one anna lrsw")
    m.ok("SETACL one owner lrkx")
    m.ok("CREATE one/two")
    m.ok("RENAME one three")
    pids = []
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                title = open(f"/proc/{d}/cmdline", "rb").read().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if f"worker: {user}" in title:
                pids.append(int(d))
    same(len(pids), 1, pids)
    os.kill(pids[0], signal.SIGKILL)
    m.close()
    deadline = time.monotonic() + 15
    while True:
        m = Imap(s, user)
        if m.login.startswith("OK") or time.monotonic() > deadline:
            break
        m.close()
        time.sleep(0.1)
    for name in ("three", "three/two"):
        same(m.ok(f"GETACL {name}"), [f"* ACL {name} owner lrkxac anna lrsw"])
        same(m.ok(f"MYRIGHTS {name}"), [f"* MYRIGHTS {name} lrkxac"])
    m.close()


def settings():
    s = culver.Server(settings="mail_plugins = acl\nacl = vfile:/etc/dovecot-acl\n")
    try:
        r = s.culver("conf", "check", check=False)
        same(r.returncode != 0 and "acl_global = </path/to/file" in r.stdout + r.stderr, True, r.stdout + r.stderr)
    finally:
        s.close()
    s = culver.Server(settings="mail_plugins = acl\nacl_global = * everybody lr\n")
    try:
        r = s.culver("conf", "check", check=False)
        same(r.returncode != 0 and re.search('acl_global: line 1: there is no identifier "everybody"', r.stdout + r.stderr) is not None, True,
             r.stdout + r.stderr)
    finally:
        s.close()
    # Commands without anyone who keeps lists.
    s = culver.Server(settings="mail_plugins = imap-acl\n")
    try:
        s.start()
        m = Imap(s, "karl")
        if m.login.startswith("OK"):
            fail(f"a login: {m.login}")
        m.close()
        same("imap-acl needs a plugin that keeps access control lists" in s.output(), True, s.output()[-2000:])
    finally:
        s.close()
    # Lists that count, and no commands to change them.
    s = culver.Server(settings="mail_plugins = acl\nacl_global = Fixed owner lr\n")
    try:
        s.start()
        m = Imap(s, "lena")
        m.ok("CREATE Fixed")
        same(m.cmd("DELETE Fixed"), "NO [NOPERM] Permission denied")
        same("ACL" in " ".join(m.ok("CAPABILITY")), False, m.untagged)
        same(m.cmd("GETACL Fixed")[:3], "BAD")
        m.close()
        r = s.culver("mailbox", "delete", "-u", "lena", "Fixed", check=False)
        same(r.returncode, 77, r.stdout + r.stderr)
    finally:
        s.close()


for storage in culver.storages():
    rules_file = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"acl-rules.{os.getpid()}")
    with open(rules_file, "w") as f:
        f.write(RULES)
    s = culver.Server(storage=storage, settings=f"mail_plugins = acl imap-acl\nacl_global = <{rules_file}\n")
    try:
        with open(s.conf) as f:
            text = f.read()
        with open(s.conf, "w") as f:
            f.write(text.replace("/%u\n\n", "/%u acl_groups=staff,team\n\n"))
        s.start()
        for test in (rules, sessions, administrators, durable):
            test(s)
            print(storage, test.__name__, "ok", flush=True)
        s.stop()
        same([line for line in s.complaints() if "killed by signal 9" not in line], [])
    finally:
        s.close()
        os.unlink(rules_file)
settings()
print("settings ok")
