#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fetchmail by POP3 and IMAP, keeping and deleting."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, healthy, mail, need, run, same  # noqa: E402

need("fetchmail")
with culver.Server() as s:
    for protocol, port in (("pop3", "pop3s"), ("imap", "imaps")):
        user = "fm-" + protocol
        for i in range(5):
            same(s.deliver(user, mail(f"m{i}"))[0], 250)
        home = os.path.join(s.dir, user)
        os.makedirs(home)
        rc = os.path.join(home, "rc")
        box = os.path.join(home, "box")
        with open(rc, "w") as f:
            f.write(f"poll localhost protocol {protocol} port {s.ports[port]} user \"{user}\" password \"{culver.PASSWORD}\" "
                    f"ssl sslcertck sslcertfile {s.ca} mda \"cat >>{box}\"\n")
        os.chmod(rc, 0o600)
        env = dict(os.environ, HOME=home, FETCHMAILHOME=home)
        base = ["fetchmail", "-f", rc, "--pidfile", os.path.join(home, "pid"), "-i", os.path.join(home, "ids")]
        run(*base, "--keep", env=env)
        same(open(box).read().count("\nSubject: m"), 5, protocol)
        if protocol == "pop3":
            # Kept mails are known by their UIDL: nothing new.
            same(run(*base, "--keep", "--uidl", env=env, check=False).returncode in (0, 1), True)
        run(*base, "--all", env=env)
        same(run(*base, "--all", env=env, check=False).returncode, 1, "nothing is left")
    healthy(s)
