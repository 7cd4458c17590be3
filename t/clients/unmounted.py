#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A file system with mail that is not mounted any more: no new mailbox is begun below its mount point, deliveries wait, and all is there when it is back."""
import imaplib
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need_root, same, skip  # noqa: E402


def select(s, user):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
    try:
        m.login(user, culver.PASSWORD)
        r = m.select("INBOX")
        return r[0], r[1][0]
    except imaplib.IMAP4.error as e:
        return "refused", str(e)


def need_mount():
    """Containers are root and may not mount a file, or have no loop devices."""
    with tempfile.TemporaryDirectory(prefix="culver-disk.") as d:
        image, below = os.path.join(d, "image"), os.path.join(d, "below")
        os.mkdir(below)
        with open(image, "wb") as f:
            f.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        r = subprocess.run(["mount", "-o", "loop", image, below], capture_output=True, text=True)
        if r.returncode != 0:
            skip("an image can't be mounted here: " + r.stderr.strip())
        subprocess.run(["umount", below], check=True)


def with_own_fstab():
    """This program once more, with a file of ours in place of /etc/fstab and mounts that nobody else sees. The file."""
    fstab = os.environ.get("CULVER_TEST_FSTAB")
    if fstab:
        return fstab
    with tempfile.NamedTemporaryFile(prefix="culver-fstab.") as f:
        os.chmod(f.name, 0o644)
        command = 'touch /etc/fstab && mount --bind "$1" /etc/fstab && shift && exec "$@"'
        r = subprocess.run(["unshare", "-m", "sh", "-c", command, "sh", f.name, sys.executable] + sys.argv, env=dict(os.environ, CULVER_TEST_FSTAB=f.name))
        sys.exit(r.returncode)


def refused_by_fstab(s, fstab, image, below):
    """Mail was never seen on it: only the table of file systems says that there is one."""
    with open(fstab, "w") as f:
        f.write(f"# what is mounted at the start\n{image} {below} ext4 loop 0 0\n")
    s.start()
    code, text = s.deliver("anna", mail("one"))
    if not 400 <= code < 500:
        fail(f"a delivery below a mount point that /etc/fstab names and that is not mounted is answered by {code} {text}")
    if select(s, "anna")[0] == "OK":
        fail("anna has an empty mailbox below a mount point of /etc/fstab")
    same(os.listdir(below), [], "below the mount point")
    if "is not mounted (/etc/fstab names it)" not in s.output():
        fail("the log does not say that it is not mounted:\n" + s.output())
    s.stop()
    os.truncate(fstab, 0)


need_root()
need_mount()
fstab = with_own_fstab()
for storage in culver.storages():
    s = culver.Server(storage=storage)
    disk = tempfile.mkdtemp(prefix="culver-disk.")
    image = os.path.join(disk, "image")
    below = os.path.join(s.mail, "disk")
    os.mkdir(below)
    # As unmounted as can be: whoever runs the server may write there.
    os.chown(below, s.run_as.pw_uid, s.run_as.pw_gid)
    conf = open(s.conf).read().replace(f"{s.mail}/%u", f"{below}/%u")
    open(s.conf, "w").write(conf)
    with open(image, "wb") as f:
        f.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)

    def mount():
        subprocess.run(["mount", "-o", "loop", image, below], check=True)
        os.chown(below, s.run_as.pw_uid, s.run_as.pw_gid)

    try:
        refused_by_fstab(s, fstab, image, below)
        mount()
        s.start()
        same(s.deliver("anna", mail("one"))[0], 250)
        same(s.deliver("anna", mail("two"))[0], 250)
        s.stop()
        subprocess.run(["umount", below], check=True)
        s.start()
        for user in ("anna", "new"):
            code, text = s.deliver(user, mail("three"))
            if not 400 <= code < 500:
                fail(f"{storage}: a delivery to {user} below an unmounted mount point is answered by {code} {text}")
            if select(s, user)[0] == "OK":
                fail(f"{storage}: {user} has an empty mailbox below an unmounted mount point")
        same(os.listdir(below), [], "below the mount point")
        if "is not mounted now" not in s.output():
            fail("the log does not say that it is not mounted:\n" + s.output())
        mount()
        same(s.deliver("anna", mail("three"))[0], 250)
        same(select(s, "anna"), ("OK", b"3"))
        # Under open sessions: they end, nothing goes to where nobody finds it, and when it is back all goes on by itself.
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
        m.login("anna", culver.PASSWORD)
        m.select("INBOX")
        subprocess.run(["umount", "-l", below], check=True)
        time.sleep(1.1)
        try:
            if m.append("INBOX", None, None, b"Subject: four\r\n\r\nfour\r\n")[0] == "OK":
                fail(f"{storage}: a message went to a file system that is not mounted")
        except imaplib.IMAP4.abort:
            pass
        for user in ("anna", "new"):
            code, text = s.deliver(user, mail("four"))
            if not 400 <= code < 500:
                fail(f"{storage}: a delivery to {user} is answered by {code} {text} after the unmount")
            if select(s, user)[0] == "OK":
                fail(f"{storage}: {user} is served after the unmount")
        same(os.listdir(below), [], "below the mount point")
        same(s.output().count("was moved, replaced or unmounted while the mail was open"), 1, s.output())
        mount()
        same(s.deliver("anna", mail("four"))[0], 250)
        same(select(s, "anna"), ("OK", b"4"))
        healthy(s)
        print(storage, "ok")
    finally:
        s.stop()
        subprocess.run(["umount", below], stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", disk])
        s.close()
