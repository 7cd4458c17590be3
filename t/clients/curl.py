#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""curl over imaps, imap with STARTTLS, pop3s, pop3 with STLS."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("curl")
with culver.Server() as s:
    for i in range(3):
        code, text = s.deliver("curl", mail(f"m{i}"))
        same(code, 250, text)
    imap, imaps, pop3, pop3s = (s.ports[x] for x in ("imap", "imaps", "pop3", "pop3s"))
    auth = ["--cacert", s.ca, "-u", f"curl:{culver.PASSWORD}", "-sS"]
    for url, extra in ((f"imaps://localhost:{imaps}/INBOX", []), (f"imap://localhost:{imap}/INBOX", ["--ssl-reqd"])):
        out = run("curl", *auth, *extra, url + ";MAILINDEX=2").stdout
        if "Subject: m1" not in out:
            fail(f"{url}: {out}")
        out = run("curl", *auth, *extra, url, "-X", "SEARCH SUBJECT m2").stdout
        same(out.strip(), "* SEARCH 3", url)
        up = os.path.join(s.dir, "up.eml")
        with open(up, "w", newline="\r\n") as f:
            f.write(mail("uploaded"))
        run("curl", *auth, *extra, "-T", up, url)
    out = run("curl", *auth, f"imaps://localhost:{imaps}/INBOX", "-X", "STATUS INBOX (MESSAGES)").stdout
    same(out.strip(), "* STATUS INBOX (MESSAGES 5)")
    for url, extra in ((f"pop3s://localhost:{pop3s}", []), (f"pop3://localhost:{pop3}", ["--ssl-reqd"])):
        out = run("curl", *auth, *extra, url + "/").stdout
        same(len(out.splitlines()), 5, url + " list")
        out = run("curl", *auth, *extra, url + "/1").stdout
        if "Subject: m0" not in out:
            fail(out)
    # A wrong password is refused: curl's "login denied".
    same(run("curl", "--cacert", s.ca, "-u", "curl:wrong", "-sS", f"imaps://localhost:{imaps}/", check=False).returncode, 67)
    # A certificate that the client does not trust ends the connection on the client's side; the server goes on.
    same(run("curl", "-u", "curl:x", "-sS", f"imaps://localhost:{imaps}/", check=False).returncode, 60)
    run("curl", *auth, f"imaps://localhost:{imaps}/")
    healthy(s)
