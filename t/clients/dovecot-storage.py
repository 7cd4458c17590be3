#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mail that Dovecot kept is taken over, and Dovecot reads what the server wrote: sdbox and Maildir, both ways, by doveadm."""
import imaplib
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("doveadm")


class Dovecot:
    def __init__(self, s, storage):
        self.s = s
        self.home = os.path.join(s.mail, "dv")
        self.conf = os.path.join(s.dir, "dovecot.conf")
        with open(self.conf, "w") as f:
            f.write(f"mail_location = {storage}:{self.home}\nssl = no\nlog_path = /dev/stderr\nfirst_valid_uid = 1\nprotocols =\n"
                    f"base_dir = {s.dir}/dovecot-run\nstats_writer_socket_path =\n")
        os.makedirs(self.home, mode=0o700)
        if s.run_as:
            os.chown(self.home, s.run_as.pw_uid, s.run_as.pw_gid)

    def __call__(self, *args, input=None):
        env = dict(os.environ, HOME=self.home, USER="dv")
        return run("doveadm", "-c", self.conf, *args, input=input, env=env, preexec_fn=self.s._drop if self.s.run_as else None,
                   cwd=self.s.dir).stdout


def login(s):
    c = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
    c.login("dv", culver.PASSWORD)
    return c


def fetched(c, what):
    """What FETCH says of all messages: {uid: the rest}."""
    out = {}
    for part in c.uid("fetch", "1:*", what)[1]:
        head = part[0] if isinstance(part, tuple) else part
        if head and (m := re.search(rb"UID (\d+)", head)):
            out[int(m.group(1))] = part
    return out


def crlf(text):
    return text.replace("\n", "\r\n").encode()


for storage in culver.storages():
    s = culver.Server(storage=storage)
    try:
        dovecot = Dovecot(s, storage)
        for i in range(1, 5):
            dovecot("save", "-m", "INBOX", input=mail(f"old{i}"))
        dovecot("expunge", "mailbox", "INBOX", "uid", "2")
        dovecot("flags", "add", r"\Flagged $Label1", "mailbox", "INBOX", "uid", "3")
        dovecot("mailbox", "create", "-s", "Work.2026" if storage == "maildir" else "Work/2026")
        dovecot("save", "-m", "Work.2026" if storage == "maildir" else "Work/2026", input=mail("filed"))
        status = dovecot("mailbox", "status", "uidvalidity uidnext", "INBOX")
        validity, uidnext = (int(re.search(rf"{k}=(\d+)", status).group(1)) for k in ("uidvalidity", "uidnext"))
        s.start()
        c = login(s)
        c.select("INBOX")
        messages = fetched(c, "(FLAGS BODY.PEEK[])")
        same(sorted(messages), [1, 3, 4], f"{storage}: UIDs that Dovecot gave")
        same(messages[4][1], crlf(mail("old4")), f"{storage}: octets")
        same(int(c.response("UIDVALIDITY")[1][-1] or c.untagged_responses["UIDVALIDITY"][-1]), validity, f"{storage}: UIDVALIDITY")
        for flag in (rb"\Flagged", b"$Label1"):
            if flag not in messages[3][0]:
                fail(f"{storage}: {flag} is missing: {messages[3][0]}")
        names = b"\n".join(x for x in c.lsub()[1] if x)
        if b"Work/2026" not in names:
            fail(f"{storage}: the subscription is missing: {names}")
        same(c.status("Work/2026", "(MESSAGES)")[1][0].split(b" (")[1], b"MESSAGES 1)", f"{storage}: folder")
        same(s.deliver("dv", mail("new"))[0], 250)
        c.noop()
        last = max(fetched(c, "(FLAGS)"))
        if last < uidnext:
            fail(f"{storage}: the new message has UID {last}, Dovecot's next was {uidnext}")
        c.uid("store", "1", "+FLAGS", r"(\Deleted)")
        c.expunge()
        c.create("Made")
        c.append("Made", r"(\Seen)", None, crlf(mail("made")))
        c.logout()
        healthy(s)
        s.stop()
        # And back.
        if storage == "sdbox":
            dovecot("force-resync", "INBOX")
            dovecot("force-resync", "Made")
        out = dovecot("fetch", "uid hdr.subject", "mailbox", "INBOX", "all")
        got = dict(zip((int(n) for n in re.findall(r"uid: (\d+)", out)), re.findall(r"hdr.subject: (\S*)", out)))
        same(got, {3: "old3", 4: "old4", last: "new"}, f"{storage}: what Dovecot reads")
        text = dovecot("fetch", "text", "mailbox", "Made", "all")
        if "Subject: made" not in text or "A few words." not in text:
            fail(f"{storage}: Dovecot does not read what was appended: {text!r}")
        if storage == "maildir":
            out = dovecot("fetch", "flags", "mailbox", "INBOX", "uid", "3")
            if "$Label1" not in out or r"\Flagged" not in out:
                fail(f"flags in Dovecot: {out!r}")
    finally:
        s.close()
