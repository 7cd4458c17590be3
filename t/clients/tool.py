#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The culver command with real mail: each command on mailboxes, what goes wrong with them, and all that speaks to a server that is not there."""
import imaplib
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, run, same  # noqa: E402

USAGE, NOUSER, NOTFOUND, UNAVAILABLE, EXISTS, NOPERM = 64, 67, 68, 69, 73, 77


class Tool:
    def __init__(self, server):
        self.s = server

    def __call__(self, *args, status=0, input=None):
        r = self.s.culver(*args, check=False, input=input)
        same(r.returncode, status, f"culver {' '.join(args)}: {r.stdout}{r.stderr}")
        if status != 0 and not r.stderr.strip():
            fail(f"culver {' '.join(args)} failed and said nothing")
        self.err = r.stderr
        return r.stdout

    def json(self, *args, status=0, input=None):
        return json.loads(self(*args, "--json", status=status, input=input))


def mailboxes(tool, storage):
    s = tool.s
    for user in ("anna", "bert"):
        for i in range(3):
            same(s.deliver(user, mail(f"m{i}"))[0], 250)
    m = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
    m.login("anna", culver.PASSWORD)
    same(m.select("INBOX")[1], [b"3"])
    m.store("2", "+FLAGS", r"(\Seen)")

    rows = tool.json("mailbox", "list", "-u", "anna")
    same([r["mailbox"] for r in rows][0], "INBOX", "list")
    same({r["user"] for r in rows}, {"anna"})
    row = [r for r in tool.json("mailbox", "status", "-u", "anna") if r["mailbox"] == "INBOX"][0]
    same((row["messages"], row["unseen"], row["uidnext"]), (3, 2, 4), "status")
    if row["size"] < 3 * 100 or row["uidvalidity"] == 0 or row["highest_modseq"] == 0:
        fail(f"status: {row}")
    table = tool("mailbox", "status", "-u", "anna", "INBOX")
    if not re.match(r"Mailbox +Messages +Unseen +Size", table) or not re.search(r"(?m)^INBOX +3 +2 ", table):
        fail(f"no readable table:\n{table}")

    # What the tool makes, a session has at once, subscriptions and names in all scripts too.
    tool("mailbox", "create", "-u", "anna", "-s", "Lists/Ankündigungen", "Empty")
    same(m.list('""', "Lists/*")[1][0].split(b'"/" ')[1].strip(b'"'), b"Lists/Ank&APw-ndigungen")
    same(sorted(x.split(b'"/" ')[1].strip(b'"') for x in m.lsub('""', "*")[1] if b"Lists" in x or b"Empty" in x), [b"Empty", b"Lists/Ank&APw-ndigungen"])
    tool("mailbox", "create", "-u", "anna", "Empty", status=EXISTS)
    if "Empty" not in tool.err:
        fail(f"create does not name what exists: {tool.err}")
    # One that fails does not keep the others back.
    same([r["mailbox"] for r in tool.json("mailbox", "create", "-u", "anna", "Empty", "Second", status=EXISTS)["rows"]], ["Second"])
    same(m.copy("1:2", "Second")[0], "OK")
    row = tool.json("mailbox", "status", "-u", "anna", "Sec*")[0]
    same((row["mailbox"], row["messages"], row["unseen"]), ("Second", 2, 1))

    tool("mailbox", "rename", "-u", "anna", "Lists", "Archive/Lists")
    names = [r["mailbox"] for r in tool.json("mailbox", "list", "-u", "anna")]
    if "Archive/Lists/Ankündigungen" not in names or "Lists/Ankündigungen" in names:
        fail(f"rename: {names}")
    # RENAME leaves subscriptions (RFC 3501 section 6.3.5): the old name is one without a mailbox.
    same({r["mailbox"]: r["exists"] for r in tool.json("mailbox", "list", "-u", "anna", "-s", "*Ank*")}, {"Lists/Ankündigungen": False})
    tool("mailbox", "rename", "-u", "anna", "Second", "Empty", status=EXISTS)
    tool("mailbox", "rename", "-u", "anna", "No such", "New", status=NOTFOUND)
    tool("mailbox", "delete", "-u", "anna", "No such", status=NOTFOUND)
    if "No such" not in tool.err:
        fail(f"delete does not name what it did not find: {tool.err}")
    tool("mailbox", "status", "-u", "anna", "No such", status=NOTFOUND)
    tool("mailbox", "delete", "-u", "anna", "INBOX", status=NOPERM)
    tool("mailbox", "delete", "-u", "anna", "Second")
    same(m.status("Second", "(MESSAGES)")[0], "NO")
    # Maildir++ can write a level of dots, sdbox refuses it; neither leaves the user's directory.
    s.culver("mailbox", "create", "-u", "anna", "../../etc", check=False)
    same(s.culver("mailbox", "create", "-u", "anna", "../../etc", check=False).returncode, EXISTS if storage == "maildir" else 65)
    for bad in ("", "a//b", "/a", "a" * 5000, "tab\tin it"):
        r = s.culver("mailbox", "create", "-u", "anna", "--", bad, check=False)
        if r.returncode not in (65,) or not r.stderr:
            fail(f"mailbox create {bad[:20]!r}: {r.returncode} {r.stdout}{r.stderr}")
    same(sorted(x for x in os.listdir(s.mail)), ["anna", "bert"])

    # Several users, and users that are not there.
    rows = tool.json("mailbox", "status", "-u", "anna", "-u", "bert", "INBOX")
    same([(r["user"], r["messages"]) for r in rows], [("anna", 3), ("bert", 3)])
    table = tool("mailbox", "status", "-u", "anna", "-u", "bert", "INBOX")
    if not re.search(r"(?m)^bert +INBOX", table):
        fail(f"with several users the table does not say whose:\n{table}")
    tool("mailbox", "list", status=USAGE)
    tool("mailbox", status=USAGE)
    if "mailbox list" not in tool.err:
        fail("culver mailbox does not say what it can do")
    # Annotations: what the tool sets a session has at once, and the other way round.
    imaplib.Commands.update({"GETMETADATA": ("AUTH", "SELECTED"), "SETMETADATA": ("AUTH", "SELECTED")})

    def metadata(mailbox, key):
        kind, _ = m._simple_command("GETMETADATA", mailbox, key)
        same(kind, "OK")
        return m._untagged_response(kind, [None], "METADATA")[1][0]

    same(tool.json("mailbox", "metadata", "set", "-u", "anna", "INBOX", "/private/comment", "für mich"),
         [{"user": "anna", "mailbox": "INBOX", "key": "/private/comment", "value": "für mich"}])
    same(metadata("INBOX", "/private/comment"), (b"INBOX (/private/comment {9}", "für mich".encode()))
    same(m._simple_command("SETMETADATA", "Empty", '(/shared/a "1" /private/b "2" /private/bc "3")')[0], "OK")
    same([(r["key"], r["value"]) for r in tool.json("mailbox", "metadata", "list", "-u", "anna", "Empty")],
         [("/private/b", "2"), ("/private/bc", "3"), ("/shared/a", "1")])
    same([r["key"] for r in tool.json("mailbox", "metadata", "list", "-u", "anna", "Empty", "/private/b")], ["/private/b"])
    same(tool.json("mailbox", "metadata", "get", "-u", "anna", "Empty", "/PRIVATE/BC")[0]["value"], "3")
    tool("mailbox", "metadata", "unset", "-u", "anna", "Empty", "/private/b")
    tool("mailbox", "metadata", "unset", "-u", "anna", "Empty", "/private/b", status=NOTFOUND)
    tool("mailbox", "metadata", "get", "-u", "anna", "Empty", "/private/b", status=NOTFOUND)
    tool("mailbox", "metadata", "get", "-u", "anna", "Nowhere", "/private/b", status=NOTFOUND)
    for bad in ("acl", "/private//x", "/private/*", "comment"):
        r = s.culver("mailbox", "metadata", "set", "-u", "anna", "Empty", bad, "x", check=False)
        if r.returncode != 65 or not r.stderr:
            fail(f"mailbox metadata set {bad!r}: {r.returncode} {r.stdout}{r.stderr}")
    tool("mailbox", "metadata", "set", "-u", "anna", "Empty", "/private/specialuse", "\\Archive")
    same([r["special_use"] for r in tool.json("mailbox", "list", "-u", "anna", "Empty")], ["\\Archive"])
    same(tool.json("mailbox", "metadata", "get", "-u", "anna", "Empty", "/private/specialuse")[0]["value"], "\\Archive")
    # Shared entries of the server are the administrator's. RFC 5466 3.1: the private filter goes before the shared one of the same name.
    same(m._simple_command("SETMETADATA", '""', '(/shared/filters/values/f "SEEN")')[0], "NO")
    tool("mailbox", "metadata", "set", "-u", "anna", "", "/shared/filters/values/f", "UNSEEN")
    same(m.search(None, "FILTER f")[1], [b"1 3"])
    same(m._simple_command("SETMETADATA", '""', '(/private/filters/values/f "SEEN")')[0], "OK")
    same(m.search(None, "FILTER f")[1], [b"2"])
    same([r["key"] for r in tool.json("mailbox", "metadata", "list", "-u", "anna", "", "/shared")], ["/shared/filters/values/f"])
    # The session went through all of this.
    same(m.noop()[0], "OK")
    same([r["user"] for r in tool.json("who")], ["anna"])
    m.logout()


def main():
    for storage in culver.storages():
        with culver.Server(storage=storage) as s:
            mailboxes(Tool(s), storage)
            healthy(s)

    # Users that exist, and users that do not.
    s = culver.Server(auth="")
    with open(s.conf, "a") as f:
        f.write(f"[passdb f]\ndriver = passwd-file\nargs = \"scheme=PLAIN {s.dir}/users\"\n\n"
                f"[userdb f]\ndriver = passwd-file\nargs = {s.dir}/users\ndefault_fields = home={s.mail}/%u\n")
    with open(f"{s.dir}/users", "w") as f:
        f.write("anna:{PLAIN}pa::::::\nbert:{PLAIN}pb::::::\n")
    os.chmod(f"{s.dir}/users", 0o644)
    with s:
        tool = Tool(s)
        same(s.deliver("bert", mail("one"))[0], 250)
        same([r["user"] for r in tool.json("user")], ["anna", "bert"])
        same([r["user"] for r in tool.json("user", "b*")], ["bert"])
        tool("user", "carl", status=NOUSER)
        rows = tool.json("mailbox", "status", "-A", "INBOX")
        same([(r["user"], r["messages"]) for r in rows], [("anna", 0), ("bert", 1)])
        tool("mailbox", "list", "-u", "carl", status=NOUSER)
        same(tool.err, "culver: carl: there is no such user\n")
        # One of several is not there: the others are shown, and the status says it.
        same({r["user"] for r in tool.json("mailbox", "list", "-u", "carl", "-u", "bert", status=NOUSER)["rows"]}, {"bert"})
        # Of several errors all are told.
        answer = tool.json("mailbox", "list", "-u", "carl", "-u", "bert", "-u", "dora", status=NOUSER)
        same([(e["user"], e["code"]) for e in answer["errors"]], [("carl", "notfound"), ("dora", "notfound")])
        same(answer["error"]["code"], "notfound")
        same(tool.json("auth", "test", "anna", input="pa\n")["result"], "ok")
        tool("auth", "test", "anna", status=NOPERM, input="no\n")
        tool("auth", "test", "carl", status=NOPERM, input="no\n")
        tool("kick", "anna", status=NOTFOUND)
        tool("who", "extra", "--bad", status=USAGE)
        # Who neither is root nor runs the server has no way in.
        if os.getuid() == 0:
            r = subprocess.run([s.binary("culver"), "-c", s.conf, "who"], capture_output=True, text=True, user=1, group=1, extra_groups=[])
            if r.returncode != NOPERM or "root" not in r.stderr:
                fail(f"a stranger's culver who: {r.returncode} {r.stdout}{r.stderr}")
        tool("stop")
        code = s.proc.wait(20)
        same(code, 0, "culver stop: " + s.output())
        for command in (("who",), ("status",), ("reload",), ("stop",), ("user", "anna"), ("kick", "anna"), ("mailbox", "list", "-u", "anna"),
                        ("mailbox", "status", "-A")):
            tool(*command, status=UNAVAILABLE)
            same(tool.json(*command, status=UNAVAILABLE)["error"]["code"], "unavailable", command)
        healthy(s)


main()
