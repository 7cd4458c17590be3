#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""swaks delivers by LMTP over TCP and over the unix socket."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, need, run, same  # noqa: E402

need("swaks")
with culver.Server() as s:
    base = ["swaks", "--protocol", "LMTP", "--from", "a@example.org", "--to", "sw", "--header", "Subject: by swaks", "--body", "It works."]
    run(*base, "--server", "127.0.0.1", "--port", str(s.ports["lmtp"]))
    if not os.path.exists(s.lmtp_path):
        fail(f"no unix socket at {s.lmtp_path}")
    run(*base, "--socket", s.lmtp_path)
    out = run("curl", "-sS", "--cacert", s.ca, "-u", f"sw:{culver.PASSWORD}", f"imaps://localhost:{s.ports['imaps']}/INBOX",
              "-X", "SEARCH SUBJECT \"by swaks\"").stdout
    same(out.strip(), "* SEARCH 1 2")
    healthy(s)
