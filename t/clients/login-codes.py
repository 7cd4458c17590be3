#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a refused login says: response codes of RFC 5530, referrals of RFC 2221, and the bound on sessions of one address, with the setting's name in the log."""
import base64
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, same  # noqa: E402

USERS = """\
good:{PLAIN}pw::::::
moved:{PLAIN}pw::::::nologin host=imap2.example.org
far:{PLAIN}pw::::::nologin host=imap3.example.org port=1143 destuser=o'far@example.org reason=Moved_to_another_house
six:{PLAIN}pw::::::nologin host=[2001:db8::1]
shut:{PLAIN}pw::::::nologin reason=Closed_for_repairs
odd:{PLAIN}pw::::::nologin host=a/b
proxied:{PLAIN}pw::::::proxy host=imap2.example.org
"""


class Client:
    def __init__(self, s):
        self.f = socket.create_connection(("127.0.0.1", s.ports["imap"]), 20).makefile("rwb")
        self.greeting = self.f.readline().decode()

    def login(self, user, password="pw"):
        return self.command(f"LOGIN {user} {password}")

    def act_as(self, other, user, password="pw"):
        return self.command("AUTHENTICATE PLAIN " + base64.b64encode(f"{other}\0{user}\0{password}".encode()).decode())

    def command(self, line):
        self.f.write(f"a {line}\r\n".encode())
        self.f.flush()
        while True:
            line = self.f.readline().decode()
            if line.startswith("a ") or not line:
                return line.rstrip("\r\n")


def wanted(got, regex):
    if not re.fullmatch(regex, got):
        fail(f"got {got!r}, wanted {regex!r}")


passwd = "/tmp/culver-login-codes.%d" % os.getpid()
with open(passwd, "w") as f:
    f.write(USERS)
os.chmod(passwd, 0o644)
masters = passwd + ".masters"
with open(masters, "w") as f:
    f.write("chief:{PLAIN}pw::::::\n")
os.chmod(masters, 0o644)
auth = (f"[passdb masters]\ndriver = passwd-file\nargs = {masters}\nmaster = yes\npass = yes\n\n"
        f"[passdb file]\ndriver = passwd-file\nargs = {passwd}\n\n"
        "[userdb static]\ndriver = static\nargs = home=%s/mail/%%u\n\n")
try:
    import tempfile
    home = tempfile.mkdtemp(prefix="culver-t.")
    with culver.Server(auth=auth % home, directory=home, settings="mail_max_userip_connections = 2\n") as s:
        c = Client(s)
        wanted(c.greeting, r"\* OK \[CAPABILITY .*LOGIN-REFERRALS.*\].*\r\n")
        wanted(c.login("nobody"), r"a NO \[AUTHENTICATIONFAILED\] .*")
        wanted(c.login("good", "wrong"), r"a NO \[AUTHENTICATIONFAILED\] .*")
        # Who does not prove to be the user hears of no other server.
        wanted(c.login("moved", "wrong"), r"a NO \[AUTHENTICATIONFAILED\] .*")
        wanted(c.login("moved"), r"a NO \[REFERRAL imap://moved;AUTH=\*@imap2\.example\.org/\] Log in at the other server instead\.")
        wanted(c.login("far"), r"a NO \[REFERRAL imap://o%27far%40example\.org;AUTH=\*@imap3\.example\.org:1143/\] Moved_to_another_house")
        wanted(c.login("six"), r"a NO \[CONTACTADMIN\] .*")
        wanted(c.login("shut"), r"a NO \[CONTACTADMIN\] Closed_for_repairs")
        wanted(c.login("odd"), r"a NO \[UNAVAILABLE\] .*")
        wanted(c.login("proxied"), r"a NO \[UNAVAILABLE\] .*")
        # RFC 5530: "Authentication succeeded in using the authentication identity, but the server cannot or will not allow the authentication identity to
        # act as the requested authorization identity." Who does not prove to be the user hears nothing of that.
        for other in ("moved", "nobody", "chief"):
            wanted(c.act_as(other, "good"), r"a NO \[AUTHORIZATIONFAILED\] This account may not act as that user")
            c = Client(s)
            wanted(c.act_as(other, "good", "wrong"), r"a NO \[AUTHENTICATIONFAILED\] .*")
        wanted(c.act_as("good", "chief", "wrong"), r"a NO \[AUTHENTICATIONFAILED\] .*")
        wanted(c.act_as("nobody", "chief"), r"a NO \[AUTHORIZATIONFAILED\] .*")
        wanted(Client(s).act_as("good", "chief"), r"a OK .*")
        # The connection goes on.
        wanted(c.login("good"), r"a OK \[CAPABILITY .*")
        d = Client(s)
        wanted(d.login("good"), r"a OK .*")
        e = Client(s)
        wanted(e.login("good"), r"a NO \[LIMIT\] .*mail_max_userip_connections=2.*")
        wanted(e.login("shut"), r"a NO \[CONTACTADMIN\] .*")
        log = s.output()
        for text in (r"user=good .*imap session was not started: .*mail_max_userip_connections=2",
                     r"login failed: not allowed service=imap mech=PLAIN reason=\"?referred to imap2\.example\.org",
                     r"user=odd .*field host or port is wrong"):
            if not re.search(text, log):
                fail(f"no line {text!r} in the log")
        bad = [x for x in s.complaints() if "user=odd" not in x and "user=proxied" not in x and "userip" not in x]
        same(bad, [], s.output() if bad else "")
finally:
    os.unlink(passwd)
    os.unlink(masters)
