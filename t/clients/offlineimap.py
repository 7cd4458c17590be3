#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""OfflineIMAP: a copy of all mailboxes, flags both ways, a local message up, a deletion down; a run without changes copies nothing."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402
import imaplib  # noqa: E402

need("offlineimap")


def messages(root, box):
    out = []
    for d in ("cur", "new"):
        path = os.path.join(root, box, d)
        out += [os.path.join(path, f) for f in os.listdir(path)] if os.path.isdir(path) else []
    return sorted(out)


for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        for i in range(8):
            same(s.deliver("off", mail(f"m{i}"))[0], 250)
        m = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
        m.login("off", culver.PASSWORD)
        m.create("Work/&AOQ-ra")
        m.append("Work/&AOQ-ra", "(\\Flagged)", None, mail("deep").replace("\n", "\r\n").encode())
        m.select("INBOX")
        m.store("1:3", "+FLAGS", "(\\Seen)")
        local = os.path.join(s.dir, "local")
        rc = os.path.join(s.dir, "offlineimaprc")
        with open(rc, "w") as f:
            f.write(f"""[general]
accounts = a
metadata = {s.dir}/meta
ui = basic
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {local}
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {s.ports['imaps']}
remoteuser = off
remotepass = {culver.PASSWORD}
ssl = yes
usecompression = yes
sslcacertfile = {s.ca}
""")

        def sync():
            r = run("offlineimap", "-c", rc)
            if "ERROR" in r.stdout + r.stderr:
                fail(r.stdout + r.stderr)
            return r.stdout + r.stderr

        sync()
        same(len(messages(local, "INBOX")), 8, "messages")
        same(sum(f.endswith("S") for f in messages(local, "INBOX")), 3, "seen ones")
        deep = messages(local, "Work.&AOQ-ra")
        same(len(deep), 1, "messages of the deeper mailbox")
        text = sync()
        if "Copy message" in text or "Deleting" in text or "flag" in text:
            fail("a run without changes did something:\n" + text)
        # Both sides change.
        plain = [f for f in messages(local, "INBOX") if not f.endswith("S")][0]
        base = os.path.basename(plain).split(":")[0]
        os.rename(plain, os.path.join(local, "INBOX", "cur", base + ":2,FS"))
        with open(os.path.join(local, "INBOX", "cur", "1795800000.1.host:2,"), "w") as f:
            f.write(mail("from-here"))
        m.store("2", "+FLAGS", "(\\Deleted)")
        m.expunge()
        sync()
        same(len(messages(local, "INBOX")), 8, "messages afterwards")
        m.noop()
        same(m.search(None, "FLAGGED")[1][0].split(), [b"3"], "flagged there")
        same(len(m.search(None, "SUBJECT", "from-here")[1][0].split()), 1, "message from here")
        m.logout()
        healthy(s)
