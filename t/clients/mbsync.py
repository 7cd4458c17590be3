#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mbsync both ways between the server and a local Maildir; a second run changes nothing."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("mbsync")


def tree(path):
    out = []
    for d, _, files in os.walk(path):
        out += [os.path.relpath(os.path.join(d, f), path) for f in files if not f.startswith(".")]
    return sorted(out)


for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        local = os.path.join(s.dir, "local")
        os.makedirs(local)
        for i in range(20):
            same(s.deliver("mb", mail(f"m{i}"))[0], 250)
        rc = os.path.join(s.dir, "mbsyncrc")
        with open(rc, "w") as f:
            f.write(f"""IMAPAccount a
Host localhost
Port {s.ports['imaps']}
User mb
Pass {culver.PASSWORD}
SSLType IMAPS
CertificateFile {s.ca}

IMAPStore far
Account a

MaildirStore near
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
""")
        cmd = ["mbsync", "-c", rc, "-a"]
        run(*cmd)
        files = tree(f"{local}/INBOX")
        same(len(files), 20, "mails fetched")
        before = tree(local)
        out = run(*cmd, "-V")
        same(tree(local), before, "the second run changes no file")
        moved = re.findall(r"\+(\d+) \*(\d+) #(\d+)", out.stdout + out.stderr)
        for m in moved[-2:]:
            same(m, ("0", "0", "0"), "the second run is a no-op")
        # Changes on both sides: a flag and a deletion near, a new mail and a new mailbox far.
        first, second = files[0], files[1]
        name = os.path.basename(first).split(":")[0]
        os.makedirs(f"{local}/INBOX/cur", exist_ok=True)
        os.rename(f"{local}/INBOX/{first}", f"{local}/INBOX/cur/{name}:2,FS")
        os.unlink(f"{local}/INBOX/{second}")
        same(s.deliver("mb", mail("late"))[0], 250)
        with open(f"{local}/INBOX/new/1.2.near", "w") as f:
            f.write(mail("from-near"))
        run(*cmd)
        out = run("curl", "-sS", "--cacert", s.ca, "-u", f"mb:{culver.PASSWORD}", f"imaps://localhost:{s.ports['imaps']}/INBOX",
                  "-X", "SEARCH FLAGGED SEEN").stdout
        if not re.match(r"\* SEARCH \d+\s*$", out):
            fail(f"the flags did not reach the server: {out!r}")
        out = run("curl", "-sS", "--cacert", s.ca, "-u", f"mb:{culver.PASSWORD}", f"imaps://localhost:{s.ports['imaps']}/INBOX",
                  "-X", "STATUS INBOX (MESSAGES)").stdout
        same(out.strip(), "* STATUS INBOX (MESSAGES 21)")
        before = tree(local)
        run(*cmd)
        same(tree(local), before, "and then it is quiet again")
        healthy(s)
