#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python's imaplib and poplib through a whole day of a mail client."""
import email
import imaplib
import os
import poplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, same  # noqa: E402


def ok(reply):
    same(reply[0], "OK", reply)
    return reply[1]


for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        for i in range(10):
            same(s.deliver("py", mail(f"m{i}", body="line\n" * i + ".dot\n" + "ü" * 3))[0], 250)
        m = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
        ok(m.login("py", culver.PASSWORD))
        same(ok(m.select("INBOX")), [b"10"])
        got = ok(m.fetch("1:10", "(UID FLAGS RFC822.SIZE BODY.PEEK[])"))
        bodies = [x for x in got if isinstance(x, tuple)]
        same(len(bodies), 10)
        for i, (head, body) in enumerate(bodies):
            msg = email.message_from_bytes(body)
            same(msg["Subject"], f"m{i}")
            size = int(head.split(b"RFC822.SIZE ")[1].split()[0].rstrip(b")"))
            same(size, len(body), "RFC822.SIZE is the size of what is sent")
            if b"\n.dot\r\n" not in body or b"\r\n..dot" in body:
                fail("dot line was not kept")
        ok(m.store("2,4", "+FLAGS", "(\\Seen $Work)"))
        same(ok(m.search(None, "KEYWORD", "$Work")), [b"2 4"])
        ok(m.create("Archive/2026"))
        ok(m.copy("1:3", "Archive/2026"))
        ok(m.uid("MOVE", "9:10", "Archive/2026"))
        ok(m.store("1", "+FLAGS", "(\\Deleted)"))
        same(ok(m.expunge())[-1], b"1", "EXPUNGE (those of MOVE stand before it)")
        same(ok(m.status("Archive/2026", "(MESSAGES UNSEEN)")), [b"Archive/2026 (MESSAGES 5 UNSEEN 4)"])
        ok(m.append("Drafts", "(\\Draft)", None, mail("draft").replace("\n", "\r\n").encode()))
        same(ok(m.select("Drafts", readonly=True)), [b"1"])
        ok(m.close())
        names = [x.decode().split(' "/" ')[1].strip('"') for x in ok(m.list())]
        for n in ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive/2026"):
            if n not in names:
                fail(f"{n} is not in {names}")
        ok(m.rename("Archive/2026", "Archive/old"))
        ok(m.delete("Archive/old"))
        same(m.select("Archive/old")[0], "NO")
        m.logout()
        # What was changed is there for the next session.
        m = imaplib.IMAP4("localhost", s.ports["imap"])
        ok(m.starttls(s.tls_context()))
        ok(m.login("py", culver.PASSWORD))
        same(ok(m.select("INBOX")), [b"7"])
        same(ok(m.search(None, "KEYWORD", "$Work")), [b"1 3"])
        m.logout()

        p = poplib.POP3_SSL("localhost", s.ports["pop3s"], context=s.tls_context())
        p.user("py")
        p.pass_(culver.PASSWORD)
        count, octets = p.stat()
        same(count, 7)
        total = 0
        for i in range(1, count + 1):
            _, lines, size = p.retr(i)
            total += sum(len(x) + 2 for x in lines)
        same(total, octets, "STAT is the sum of what RETR sends")
        uidls = [x.split()[1] for x in p.uidl()[1]]
        same(len(set(uidls)), count)
        p.dele(1)
        p.quit()
        p = poplib.POP3("localhost", s.ports["pop3"])
        p.stls(s.tls_context())
        p.user("py")
        p.pass_(culver.PASSWORD)
        same([x.split()[1] for x in p.uidl()[1]], uidls[1:])
        p.rset()
        p.quit()
        healthy(s)
