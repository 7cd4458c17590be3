#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""LMTP's promises: users told apart at RCPT, one reply for each recipient, nothing of what was not finished, bounds, details of addresses."""
import imaplib
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, same  # noqa: E402


class Lmtp:
    def __init__(self, s, unix=False):
        self.sock = socket.socket(socket.AF_UNIX) if unix else socket.create_connection(("127.0.0.1", s.ports["lmtp"]), 20)
        if unix:
            self.sock.connect(s.lmtp_path)
        self.sock.settimeout(20)
        self.file = self.sock.makefile("rb")
        same(self.reply()[:3], "220")

    def reply(self):
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    def send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode())

    def cmd(self, line):
        self.send(line + "\r\n")
        return self.reply()

    def begin(self, *rcpts, sender="a@example.org"):
        same(self.cmd("LHLO t.example")[:3], "250")
        same(self.cmd(f"MAIL FROM:<{sender}>"), "250 2.1.0 OK")
        return [self.cmd(f"RCPT TO:<{r}>") for r in rcpts]

    def data(self, text, count):
        same(self.cmd("DATA")[:3], "354")
        self.send(text.replace("\n", "\r\n") + ".\r\n")
        return [self.reply() for _ in range(count)]

    def close(self):
        self.file.close()
        self.sock.close()


def count(s, user, mailbox="INBOX"):
    m = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
    m.login(user, culver.PASSWORD)
    ok, data = m.select(mailbox, readonly=True)
    m.logout()
    return int(data[0]) if ok == "OK" else None


s = culver.Server(auth="#", settings="lmtp_max_recipients = 100\nmessage_size_limit = 100k\nlmtp_save_to_detail_mailbox = yes\n"
                                     "lda_mailbox_autocreate = yes\nlda_mailbox_autosubscribe = yes\nhostname = mx.example.net\n"
                                     "postmaster_address = anna\n")
try:
    uid = s.run_as.pw_uid if s.run_as else os.getuid()
    gid = s.run_as.pw_gid if s.run_as else os.getgid()
    users = os.path.join(s.dir, "users")
    with open(users, "w") as f:
        for u in ["anna", "bert", "cleo"] + [f"u{i}" for i in range(120)]:
            f.write(f"{u}:{{PLAIN}}{culver.PASSWORD}:{uid}:{gid}::{s.mail}/{u}::\n")
    os.chmod(users, 0o644)
    with open(s.conf, "a") as f:
        f.write(f"\n[passdb file]\ndriver = passwd-file\nargs = {users}\n[userdb file]\ndriver = passwd-file\nargs = {users}\n")
    # cleo's mail cannot be written: a file stands where her directory should be.
    with open(os.path.join(s.mail, "cleo"), "w") as f:
        f.write("no directory")
    s.start()

    # Told apart at RCPT; one reply each, in order, behind the dot; the trouble of one is not the others'.
    c = Lmtp(s, unix=True)
    replies = c.begin("anna", "nobody.here", "bert+Lists", "cleo", "anna+x", "Postmaster")
    same([r[:9] for r in replies], ["250 2.1.5", "550 5.1.1", "250 2.1.5", "250 2.1.5", "250 2.1.5", "250 2.1.5"], replies)
    replies = c.data(mail("m1") + "..dot\n", 5)
    same([r[:3] for r in replies], ["250", "250", "451", "250", "250"], replies)
    for r, who in zip(replies, ("<anna>", "<bert+Lists>", "<cleo>", "<anna+x>", "<Postmaster>")):
        if who not in r:
            fail(f"reply {r!r} is not {who}'s")
    if s.mail in replies[2]:
        fail(f"the reply shows a path: {replies[2]}")
    same(count(s, "anna"), 2)
    same(count(s, "bert"), 0)
    same(count(s, "bert", "Lists"), 1)
    same(count(s, "anna", "x"), 1)

    # The next transaction on the same connection, by BDAT in one piece of pipelining.
    message = mail("m2").replace("\n", "\r\n").encode()
    c.send(b"MAIL FROM:<>\r\nRCPT TO:<bert>\r\nRCPT TO:<nobody.here>\r\nBDAT 10\r\n" + message[:10] +
           b"BDAT %d LAST\r\n" % (len(message) - 10) + message[10:] + b"NOOP\r\n")
    same([c.reply()[:9] for _ in range(6)],
         ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.0.0", "250 2.0.0", "250 2.0.0"])
    same(count(s, "bert"), 1)

    # Too large: told before, and where it was not said, after.
    same(c.cmd("MAIL FROM:<a@example.org> SIZE=200000")[:9], "552 5.3.4")
    c.begin("bert")
    replies = c.data(mail("m3") + ("x" * 70 + "\n") * 3000, 1)
    same(replies[0][:9], "552 5.2.3", replies)
    same(count(s, "bert"), 1)

    # Too many recipients: the first hundred get the message.
    rcpts = c.begin(*[f"u{i}" for i in range(101)])
    same([r[:9] for r in rcpts], ["250 2.1.5"] * 100 + ["452 4.5.3"])
    replies = c.data(mail("m4"), 100)
    same({r[:9] for r in replies}, {"250 2.0.0"})
    for i in (0, 57, 99):
        same(count(s, f"u{i}"), 1)
    same(count(s, "u100"), 0)
    same(c.cmd("QUIT")[:3], "221")
    c.close()

    # A client that vanishes within the message delivers nothing.
    c = Lmtp(s)
    c.begin("bert")
    c.cmd("DATA")
    c.send(mail("m5").replace("\n", "\r\n") + ".\r")
    c.close()
    time.sleep(0.5)
    same(count(s, "bert"), 1)

    # What is stored is what was sent, with the trace fields in front.
    c = Lmtp(s)
    c.begin("bert", sender="From.Path@example.org")
    same(c.data("Subject: exact\nX: a\n\n..\n...two\nend \n", 1)[0][:9], "250 2.0.0")
    m = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
    m.login("bert", culver.PASSWORD)
    m.select("INBOX", readonly=True)
    text = m.fetch("2", "BODY.PEEK[]")[1][0][1].decode()
    m.logout()
    head, body = text.split("Subject: exact\r\n")
    same(body, "X: a\r\n\r\n.\r\n..two\r\nend \r\n")
    lines = head.split("\r\n")
    same(lines[:3], ["Return-Path: <From.Path@example.org>", "Delivered-To: bert", "Received: from t.example ([127.0.0.1])"])
    same(lines[3], "\tby mx.example.net with LMTP")
    same(lines[5], "\t(envelope-from <From.Path@example.org>)")

    # Octets above 127 in the body, announced or not, and in one piece of pipelining over TCP.
    for parameter in (" BODY=8BITMIME", ""):
        c.send(f"MAIL FROM:<a@example.org>{parameter}\r\nRCPT TO:<u100>\r\nDATA\r\n")
        same([c.reply()[:3] for _ in range(3)], ["250", "250", "354"])
        c.send("Subject: eight\r\n\r\n\u00e4\u65e5\r\n.\r\n")
        same(c.reply()[:9], "250 2.0.0")
    m = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
    m.login("u100", culver.PASSWORD)
    same(m.select("INBOX", readonly=True)[1], [b"2"])
    for n in ("1", "2"):
        same(m.fetch(n, "BODY.PEEK[TEXT]")[1][0][1], "\u00e4\u65e5\r\n".encode(), "8-bit text")
    m.logout()

    # Not able to tell is not the same as not there: the sender tries again.
    os.rename(users, users + ".away")
    replies = c.begin("anna", "nobody.here")
    same([r[:3] for r in replies], ["451", "451"], replies)
    same(c.cmd("DATA")[:3], "503")
    os.rename(users + ".away", users)
    same([r[:9] for r in c.begin("anna", "nobody.here")], ["250 2.1.5", "550 5.1.1"])
    c.close()

    s.stop()
    with open(s.log, errors="replace") as f:
        log = f.read()
    for text in ("msgid=<m1@example.org>: saved mail to Lists", "refused recipient nobody.here from a@example.org: no such user",
                 "delivery to cleo from a@example.org failed, replied 451"):
        if text not in log:
            fail(f"the log does not say {text!r}:\n{log[-4000:]}")
    healthy(s)
finally:
    s.close()
