#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""neomutt opens the INBOX in a terminal, tags a mail, flags it, deletes another, saves one to a mailbox, and leaves."""
import os
import pty
import select
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("neomutt")
with culver.Server() as s:
    for i in range(4):
        same(s.deliver("nm", mail(f"m{i}"))[0], 250)
    home = os.path.join(s.dir, "home")
    os.makedirs(home)
    rc = os.path.join(home, "rc")
    with open(rc, "w") as f:
        f.write(f"""set certificate_file={s.ca}
set ssl_ca_certificates_file={s.ca}
set imap_user=nm
set imap_pass={culver.PASSWORD}
set folder=imaps://localhost:{s.ports['imaps']}/
set spoolfile=+INBOX
set header_cache=""
set confirmcreate=no confirmappend=no delete=yes move=no mail_check=1 sort=mailbox-order
set copy=no
""")
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(HOME=home, TERM="xterm", LC_ALL="C.UTF-8")
        os.execvp("neomutt", ["neomutt", "-n", "-F", rc, "-e",
                              'push "<first-entry><flag-message><next-entry><delete-message><next-entry><save-message>=Sent<enter><sync-mailbox><quit>"'])
    end, screen = time.monotonic() + 60, b""
    while time.monotonic() < end:
        r, _, _ = select.select([fd], [], [], 1)
        if r:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            screen += data
        got, status = os.waitpid(pid, os.WNOHANG)
        if got:
            break
    else:
        os.kill(pid, 9)
        fail(f"neomutt did not end: {screen[-2000:]!r}")
    auth = ["curl", "-sS", "--cacert", s.ca, "-u", f"nm:{culver.PASSWORD}"]
    url = f"imaps://localhost:{s.ports['imaps']}/"
    same(run(*auth, url + "INBOX", "-X", "SEARCH FLAGGED").stdout.strip(), "* SEARCH 1", screen[-1500:])
    same(run(*auth, url, "-X", "STATUS INBOX (MESSAGES)").stdout.strip(), "* STATUS INBOX (MESSAGES 2)")
    same(run(*auth, url, "-X", "STATUS Sent (MESSAGES)").stdout.strip(), "* STATUS Sent (MESSAGES 1)")
    healthy(s)
