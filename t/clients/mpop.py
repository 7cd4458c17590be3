#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mpop fetches by POP3 over STLS and over TLS, each message once; what is not kept is deleted on the server."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("mpop")
for storage in culver.storages():
    with culver.Server(storage=storage, settings="auth_mechanisms = plain apop") as s:
        mbox, rc = os.path.join(s.dir, "mbox"), os.path.join(s.dir, "mpoprc")

        def fetch(port, starttls, auth, keep, *options):
            with open(rc, "w") as f:
                f.write(f"""account a
host localhost
port {port}
tls on
tls_starttls {starttls}
tls_trust_file {s.ca}
auth {auth}
user mp
password {culver.PASSWORD}
keep {keep}
uidls_file {s.dir}/uidls
delivery mbox {mbox}
""")
            os.chmod(rc, 0o600)
            return run("mpop", "-C", rc, *options, "a").stdout

        def count():
            return open(mbox).read().count("\nSubject: ") if os.path.exists(mbox) else 0

        for i in range(5):
            same(s.deliver("mp", mail(f"m{i}", body=".\n..leading dots\nFrom here\n"))[0], 250)
        fetch(s.ports["pop3"], "on", "plain", "on")
        same(count(), 5, "messages over STLS")
        if "\n.\n..leading dots\n" not in open(mbox).read():
            fail("lines with dots: " + open(mbox).read())
        fetch(s.ports["pop3s"], "off", "user", "on")
        same(count(), 5, "messages after a second run")
        fetch(s.ports["pop3s"], "off", "apop", "on")
        same(count(), 5, "messages after a run with APOP")
        if "method=APOP" not in s.output():
            fail("mpop did not use APOP:\n" + s.output())
        same(s.deliver("mp", mail("late"))[0], 250)
        fetch(s.ports["pop3s"], "off", "plain", "off")
        same(count(), 6, "messages over TLS")
        info = fetch(s.ports["pop3s"], "off", "user", "off", "--serverinfo")
        for word in ("PIPELINING", "UIDL", "TOP", "RESP-CODES", "AUTH-RESP-CODE"):
            if word not in info:
                fail(f"{word} is missing:\n{info}")
        same(fetch(s.ports["pop3s"], "off", "plain", "off", "--only-new=off").count("retrieving"), 0, "messages that are left")
        healthy(s)
