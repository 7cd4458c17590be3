#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""InterIMAP keeps two servers' mailboxes the same by QRESYNC, LIST-STATUS, UIDPLUS and NOTIFY: mail, flags, expunges, mailboxes and renames
go both ways, over TLS; a run with nothing to do changes nothing."""
import imaplib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("interimap")


def contents(client, mailbox):
    """{subject: flags}"""
    kind, data = client.select(mailbox, readonly=True)
    if kind != "OK":
        return None
    found = {}
    if data != [b"0"]:
        for head, body in [x for x in client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(x, tuple)]:
            flags = set(head.split(b"FLAGS (")[1].split(b")")[0].decode().split()) - {"\\Recent"}
            found[body.decode().partition(":")[2].strip()] = flags
    return found


def modseq(client, mailbox):
    return client.status(mailbox, "(HIGHESTMODSEQ UIDNEXT)")[1]


def day(here, there):
    home = os.path.join(here.dir, "interimap")
    os.makedirs(home)
    sides = ""
    for name, s, port, type in (("local", here, "imaps", "imaps"), ("remote", there, "imap", "imap")):
        sides += (f"[{name}]\ntype = {type}\nhost = localhost\nport = {s.ports[port]}\nusername = {name}\npassword = {culver.PASSWORD}\n"
                  f"SSL_CAfile = {s.ca}\n" + ("STARTTLS = YES\n" if type == "imap" else "") + "\n")
    conf = os.path.join(home, "config")
    with open(conf, "w") as f:
        f.write(f"database = {home}/db\nlist-mailbox = \"*\"\nignore-mailbox = ^never$\n\n{sides}")
    os.chmod(conf, 0o600)
    env = dict(os.environ, HOME=home, XDG_CONFIG_HOME=home, XDG_DATA_HOME=home)
    log = []

    def sync():
        log.append(run("interimap", f"--config={conf}", env=env).stderr)

    for i in range(5):
        same(here.deliver("local", mail(f"h{i}"))[0], 250)
        same(there.deliver("remote", mail(f"t{i}"))[0], 250)
    a = imaplib.IMAP4_SSL("localhost", here.ports["imaps"], ssl_context=here.tls_context())
    b = imaplib.IMAP4_SSL("localhost", there.ports["imaps"], ssl_context=there.tls_context())
    a.login("local", culver.PASSWORD)
    b.login("remote", culver.PASSWORD)
    inner = '"Pr&APw-fung/inner"'
    a.create(inner)
    a.subscribe(inner)
    a.append(inner, "(\\Seen $Work)", None, mail("in").replace("\n", "\r\n").encode())
    sync()
    same(contents(a, "INBOX"), {x + str(i): set() for x in "ht" for i in range(5)})
    same(contents(b, "INBOX"), contents(a, "INBOX"))
    same(contents(b, inner), {"in": {"\\Seen", "$Work"}}, log[-1])
    # Both sides change: flags, expunges (the last messages too), new mail.
    for client, store, gone in ((a, "1", "9:10"), (b, "2", "1")):
        client.select("INBOX")
        client.store(store, "+FLAGS", "(\\Flagged)")
        client.store(gone, "+FLAGS", "(\\Deleted)")
        client.expunge()
    same(there.deliver("remote", mail("late"))[0], 250)
    sync()
    wanted = contents(a, "INBOX")
    same(len(wanted), 8, wanted)
    same(len([x for x in wanted if wanted[x]]), 2, wanted)
    same(contents(b, "INBOX"), wanted, log[-1])
    if "late" not in wanted:
        fail("new mail did not come over")
    # Nothing to do.
    a.select("Junk")
    b.select("Junk")
    before = modseq(a, "INBOX"), modseq(b, "INBOX"), modseq(a, inner), modseq(b, inner)
    sync()
    same((modseq(a, "INBOX"), modseq(b, "INBOX"), modseq(a, inner), modseq(b, inner)), before, "a run with nothing to do")
    a.logout()
    b.logout()


storages = culver.storages()
with culver.Server(storage=storages[0]) as here, culver.Server(storage=storages[-1]) as there:
    day(here, there)
    healthy(here)
    healthy(there)
