#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Full disk, unwritable directory, a file where a directory should be, wrong owner: temporary refusals, other users served, nothing lost."""
import contextlib
import errno
import imaplib
import os
import poplib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import comes, culver, fail, healthy, mail, need_root, same  # noqa: E402


def login(s, user):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
    m.login(user, culver.PASSWORD)
    return m


def refused_login(s, user):
    try:
        m = login(s, user)
    except imaplib.IMAP4.error as e:
        return str(e)
    # A login that is taken must then refuse the mailbox.
    r = m.select("INBOX")
    if r[0] == "OK":
        fail(f"{user} was served")
    return str(r)


def homeless():
    """Homes that are not there and can't be made: on a file system that is not mounted, below what may not be written."""
    for home in ("/proc/nowhere/%u", "/var/empty-for-culver/%u"):
        auth = (f"[passdb static]\ndriver = static\nargs = password={culver.PASSWORD}\n\n"
                f"[userdb static]\ndriver = static\nargs = home={home} mail=sdbox:~/mail\n\n")
        with culver.Server(auth=auth) as s:
            code, text = s.deliver("anna", mail("one"))
            if not 400 <= code < 500 or "nowhere" in text or "/var" in text:
                fail(f"{home}: {code} {text}")
            answer = refused_login(s, "anna")
            if "/" in answer:
                fail(f"a client was told a path: {answer}")
            if home.split("/%")[0] not in s.output():
                fail("the log does not say which directory is missing:\n" + s.output())
            healthy(s)


@contextlib.contextmanager
def mounted(s):
    """A file system of its own is mounted where the server's mail is: all goes at the end, and the log is shown when something failed."""
    try:
        yield
    except BaseException:
        print(s.output()[-6000:])
        raise
    finally:
        s.stop()
        subprocess.run(["umount", s.mail])
        s.close()


def fill(directory, inodes):
    """Until nothing more fits: names, or octets."""
    os.mkdir(directory)
    n, size = 0, 1 << 20
    while True:
        fd = -1
        try:
            fd = os.open(os.path.join(directory, str(n)), os.O_WRONLY | os.O_CREAT, 0o600)
            n += 1
            if not inodes:
                os.posix_fallocate(fd, 0, size)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
            if fd < 0 or size < 4096:
                return
            os.ftruncate(fd, 0)
            size //= 2
        finally:
            if fd >= 0:
                os.close(fd)


def no_room(storage, inodes):
    """No block, or no inode, of a file system is left: what needs one is refused for a while, mail can be removed, and nothing is lost."""
    s = culver.Server(storage=storage, settings="default_idle_kill = 200ms\n")
    image = os.path.join(s.dir, "image")
    with open(image, "wb") as f:
        f.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-N", "300" if inodes else "2000", image], check=True)
    r = subprocess.run(["mount", "-o", "loop", image, s.mail], capture_output=True, text=True)
    if r.returncode != 0:
        s.close()
        print("without ext4: an image can't be mounted here")
        return
    with mounted(s):
        os.chown(s.mail, s.run_as.pw_uid, s.run_as.pw_gid)
        s.start()
        for i in range(10):
            same(s.deliver("full", mail(f"m{i}"))[0], 250)
        # Who was closed once has parse records of their own.
        comes(lambda: os.path.exists(os.path.join(s.mail, "full", "culver-index", "state")), True, "the mail is closed")
        m = login(s, "full")
        same(m.select("INBOX")[1], [b"10"])
        filling = os.path.join(s.mail, "filling")
        fill(filling, inodes)
        codes = {s.deliver("full", mail(f"more{i}", body="0123456789\n" * 5000))[0] // 100 for i in range(20)}
        # Without inodes the journal takes messages, whose files are made later.
        same((inodes or 4 in codes) and codes <= {2, 4}, True, codes)
        same(s.deliver("new", mail("one"))[0] // 100, 4, "for a new user there is no room")
        answers = [m.append("INBOX", None, None, mail("big", body="0123456789\n" * 20000).replace("\n", "\r\n").encode()) for _ in range(3)]
        if not inodes and not any(typ == "NO" and data[0].startswith((b"[OVERQUOTA]", b"[UNAVAILABLE]")) for typ, data in answers):
            fail(f"APPEND with no room: {answers}")
        same(m.noop()[0], "OK")
        if any(typ == "NO" and not data[0].startswith((b"[OVERQUOTA]", b"[UNAVAILABLE]")) for typ, data in answers):
            fail(f"APPEND with no room: {answers}")
        m.logout()
        # The machine is started anew meanwhile: the file system, which can't be tried again, is taken for what it was.
        s.stop()
        with open(os.path.join(s.mail, "full", "culver-index", "fs-test"), "r+") as f:
            same(f.read(11), "culver-fs 1")
            f.write(" another")
        s.start()
        m = login(s, "full")
        before = int(m.select("INBOX")[1][0])
        same(len([x for x in m.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(x, tuple)]), before, "all can be read where there is no room")
        for uid in ("1", "2", "3"):
            same(m.uid("STORE", uid, "+FLAGS", "(\\Deleted)")[0], "OK", f"{uid} is marked where there is no room")
            same(m.uid("EXPUNGE", uid)[0], "OK", f"{uid} is removed where there is no room")
        same(m.select("INBOX")[1], [str(before - 3).encode()])
        p = poplib.POP3("127.0.0.1", s.ports["pop3"], timeout=20)
        p.user("full")
        p.pass_(culver.PASSWORD)
        p.dele(1)
        p.quit()
        shutil.rmtree(filling)
        for user in ("full", "new"):
            same(s.deliver(user, mail("after"))[0], 250, "there is room again")
        same(m.append("INBOX", None, None, mail("appended").replace("\n", "\r\n").encode())[0], "OK")
        m.logout()
        s.stop()
        s.start()
        m = login(s, "full")
        same(m.select("INBOX")[1], [str(before - 3 - 1 + 2).encode()])
        same(len([x for x in m.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(x, tuple)]), before - 2)
        m.logout()
        healthy(s)
        print(storage, "ok without", "inodes" if inodes else "blocks", flush=True)


need_root()
if not culver.storages():
    fail("no storage module is installed")
homeless()
print("missing homes ok")
for storage in culver.storages() if shutil.which("mkfs.ext4") else ():
    no_room(storage, False)
    no_room(storage, True)
for storage in culver.storages():
    s = culver.Server(storage=storage)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=6m,mode=0755,uid={s.run_as.pw_uid},gid={s.run_as.pw_gid}", "tmpfs", s.mail], check=True)
    with mounted(s):
        s.start()
        same(s.deliver("full", mail("first"))[0], 250)
        acknowledged, codes = 1, set()
        for i in range(400):
            code, text = s.deliver("full", mail(f"fill{i}", body="x" * 70 + "\n" + "0123456789\n" * 6000))
            codes.add(code)
            if code == 250:
                acknowledged += 1
            elif not 400 <= code < 500:
                fail(f"a full disk must be a temporary failure: {code} {text}")
            elif len(codes) > 1 and i > 250:
                break
        if not any(400 <= c < 500 for c in codes):
            fail(f"the disk never filled: {codes}")
        m = login(s, "full")
        same(m.select("INBOX")[1], [str(acknowledged).encode()], "mails after the disk filled")
        big = mail("appended", body="0123456789\n" * 20000).replace("\n", "\r\n").encode()
        r = m.append("INBOX", None, None, big)
        same(r[0], "NO", r)
        same(m.noop()[0], "OK")
        # Whatever is confirmed is so, whatever is refused is not: looked at when there is room again.
        m.create("Copies")
        there = acknowledged
        copied = m.copy("1:*", "Copies")[0]
        moved = m.uid("MOVE", "1", "Copies")[0] if m.select("INBOX")[0] == "OK" else "NO"
        if m.select("INBOX")[1] != [str(acknowledged - (moved == "OK")).encode()]:
            fail("a move that failed on a full disk took the message away")
        flagged = m.uid("STORE", "2:3", "+FLAGS", "(\\Flagged)")[0]
        p = poplib.POP3("127.0.0.1", s.ports["pop3"], timeout=20)
        p.user("full")
        p.pass_(culver.PASSWORD)
        listed = len(p.list()[1])
        p.dele(listed)
        try:
            p.quit()
            acknowledged -= 1
        except poplib.error_proto as e:
            same(str(e.args[0]).count("-ERR"), 1, e)
        acknowledged -= moved == "OK"
        # Room again: the same session and the next delivery work without a restart.
        filler = sorted(os.path.join(d, f) for d, _, fs in os.walk(s.mail) for f in fs)
        subprocess.run(["mount", "-o", "remount,size=64m", s.mail], check=True)
        same(m.append("INBOX", None, None, big)[0], "OK", "after room was made")
        _, got = m.uid("FETCH", "2:3", "(FLAGS)")
        same(sum(b"\\Flagged" in x for x in got if x), 2 if flagged == "OK" else 0, got)
        typ, count = m.select("Copies")
        if typ == "OK" and int(count[0]) != (there if copied == "OK" else 0) + (moved == "OK"):
            fail(f"COPY said {copied}, MOVE {moved}, and {count} messages are there")
        m.logout()
        same(s.deliver("full", mail("after"))[0], 250)
        m = login(s, "full")
        same(m.select("INBOX")[1], [str(acknowledged + 2).encode()])
        _, got = m.fetch("1:*", "(UID)")
        same(len(got), acknowledged + 2)
        m.logout()
        # A user's directory that is removed under a session: it ends, and the next one begins anew.
        same(s.deliver("gone", mail("one"))[0], 250)
        m = login(s, "gone")
        same(m.select("INBOX")[1], [b"1"])
        shutil.rmtree(os.path.join(s.mail, "gone"))
        time.sleep(1.1)
        try:
            r = m.store("1", "+FLAGS", "\\Flagged")
            if r[0] == "OK":
                fail(f"a change went into a directory that is not there: {r}")
        except imaplib.IMAP4.abort:
            pass
        for _ in range(50):
            code = s.deliver("gone", mail("two"))[0]
            if code == 250:
                break
            time.sleep(0.2)
        same(code, 250, "a delivery after the directory was removed")
        m = login(s, "gone")
        same(m.select("INBOX")[1], [b"1"])
        m.logout()
        same(s.output().count("removed while the mail was open; nothing is acknowledged"), 1)
        # A directory that the server may not write.
        same(s.deliver("locked", mail("one"))[0], 250)
        s.stop()
        os.chown(os.path.join(s.mail, "locked"), 0, 0)
        os.chmod(os.path.join(s.mail, "locked"), 0o700)
        with open(os.path.join(s.mail, "file"), "w") as f:
            f.write("not a directory\n")
        s.start()
        for user in ("locked", "file"):
            code, text = s.deliver(user, mail("two"))
            if not 400 <= code < 500:
                fail(f"{user}: {code} {text}")
            refused_login(s, user)
        for user, mode, owner in (("stranger", 0o755, 0), ("open", 0o777, s.run_as.pw_uid)):
            os.mkdir(os.path.join(s.mail, user))
            os.chmod(os.path.join(s.mail, user), mode)
            os.chown(os.path.join(s.mail, user), owner, s.run_as.pw_gid)
            code, text = s.deliver(user, mail("two"))
            if not 400 <= code < 500:
                fail(f"{user}: {code} {text}")
            refused_login(s, user)
            same(os.listdir(os.path.join(s.mail, user)), [], user)
        for words in ("belongs to uid 0", "can be written by everybody"):
            if words not in s.output():
                fail(f"the log does not say: {words}")
        same(s.deliver("full", mail("others go on"))[0], 250)
        os.chown(os.path.join(s.mail, "locked"), s.run_as.pw_uid, s.run_as.pw_gid)
        same(s.deliver("locked", mail("three"))[0], 250)
        m = login(s, "locked")
        same(m.select("INBOX")[1], [b"2"])
        m.logout()
        healthy(s)
        print(storage, "ok,", acknowledged, "fitted,", len(filler), "files")
