#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plugin zlib: message files are gzip as Dovecot's plugin of that name writes and reads them, both ways, in sdbox and Maildir; damage is found before any of a
message is sent. Without doveadm the part with Dovecot is left out."""
import glob
import gzip
import imaplib
import os
import random
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import comes, culver, fail, healthy, run, same, skip  # noqa: E402

have_dovecot = bool(shutil.which("doveadm") and glob.glob("/usr/lib*/dovecot/modules/lib20_zlib_plugin.so"))
rnd = random.Random(7)


def message(name, size):
    """size octets in all, which compress somewhat."""
    head = f"From: Anna <anna@example.org>\r\nSubject: {name}\r\nMessage-ID: <{name}@example.org>\r\n\r\n"
    body = ""
    while len(body) < size:
        body += f"{rnd.randrange(1 << 60):x} the words of a message, again and again\r\n"
    return (head + body[:size - len(head) - 2].replace("\r\n\r", "\r\nx") + "\r\n").encode()


# Around the size of a decoder's piece, and above what is read whole before it is sent.
SIZES = [300, 32767, 32768, 32769, 65536, 300000, 3 << 20]


class Dovecot:
    def __init__(self, s, storage):
        self.s, self.home, self.conf = s, os.path.join(s.mail, "dv"), os.path.join(s.dir, "dovecot.conf")
        with open(self.conf, "w") as f:
            f.write(f"mail_location = {storage}:{self.home}\nssl = no\nlog_path = /dev/stderr\nfirst_valid_uid = 1\nprotocols =\nmail_plugins = zlib\n"
                    f"plugin {{\n  zlib_save = gz\n}}\nbase_dir = {s.dir}/dovecot-run\nstats_writer_socket_path =\n")

    def __call__(self, *args, input=None):
        return run("doveadm", "-c", self.conf, *args, input=input, env=dict(os.environ, HOME=self.home, USER="dv"),
                   preexec_fn=self.s._drop if self.s.run_as else None, cwd=self.s.dir).stdout


def login(s, user="dv"):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=60)
    m.login(user, culver.PASSWORD)
    m.select("INBOX")
    return m


def body(m, seq, part=""):
    kind, data = m.fetch(str(seq), f"(BODY.PEEK[]{part})")
    same(kind, "OK", data)
    return data[0][1]


def place(path, storage):
    """(offset, octets) of the message in its file."""
    data = open(path, "rb").read()
    if storage == "maildir":
        return 0, data
    start = data.index(b"\n") + 1 + 30
    return start, data[start:start + int(data[start - 17:start - 1], 16)]


def paths(s, storage, user="dv"):
    root = os.path.join(s.mail, user)
    if storage == "sdbox":
        return sorted(glob.glob(root + "/mailboxes/INBOX/dbox-Mails/u.*"), key=lambda f: int(f.rsplit(".", 1)[1]))
    return sorted(glob.glob(root + "/cur/*") + glob.glob(root + "/new/*"), key=lambda f: int(re.search(r",S=(\d+)", f).group(1)))


def ours(s, storage):
    m = login(s)
    mails = [message(f"ours{size}", size) for size in SIZES]
    same([len(o) for o in mails], SIZES)
    for octets in mails:
        same(m.append("INBOX", None, None, octets)[0], "OK")
    m.select("INBOX")
    comes(lambda: len(paths(s, storage)), len(mails), "files")
    for path, octets in zip(paths(s, storage), mails):
        stored = place(path, storage)[1]
        same(gzip.decompress(stored) == octets and len(stored) < len(octets) + 40, True, path)
    for seq, octets in enumerate(mails, 1):
        same(body(m, seq) == octets, True, seq)
        for at in (len(octets) - 10, len(octets) // 2, 0):
            same(body(m, seq, f"<{at}.10>"), octets[at:at + 10])
    m.logout()
    return mails


def theirs(s, storage, dovecot, mails):
    """What Dovecot finds, and then what it saves is found here."""
    if storage == "sdbox":
        dovecot("force-resync", "INBOX")
    out = dovecot("fetch", "uid size.physical size.virtual hdr.subject", "mailbox", "INBOX", "all")
    same([int(x) for x in re.findall(r"size.physical: (\d+)", out)], SIZES)
    same([int(x) for x in re.findall(r"size.virtual: (\d+)", out)], SIZES)
    for i, octets in enumerate(mails[:-1], 1):
        out = dovecot("fetch", "text", "mailbox", "INBOX", "uid", str(i))
        same(out.split("text:\n", 1)[1].replace("\r\n", "\n").strip() == octets.decode().replace("\r\n", "\n").strip(), True, f"doveadm reads message {i}")
    s.stop()
    shutil.rmtree(os.path.join(s.mail, "dv"))
    os.makedirs(os.path.join(s.mail, "dv"), mode=0o700)
    if s.run_as:
        os.chown(os.path.join(s.mail, "dv"), s.run_as.pw_uid, s.run_as.pw_gid)
    for octets in mails[:-1]:
        dovecot("save", "-m", "INBOX", input=octets.decode().replace("\r\n", "\n"))
    for path in paths(s, storage):
        same(place(path, storage)[1][:2], b"\x1f\x8b", "Dovecot compresses")
    s.start()
    m = login(s)
    kind, data = m.fetch("1:*", "(UID RFC822.SIZE)")
    same([int(re.search(rb"RFC822.SIZE (\d+)", d).group(1)) for d in data], SIZES[:-1])
    for seq, octets in enumerate(mails[:-1], 1):
        same(body(m, seq) == octets, True, f"message {seq} of Dovecot's")
    m.logout()


def damaged(s, storage, come_back=False):
    """Whatever of a file is damaged is found, and come_back says whether the journal has the octets, of which the files are made anew then."""
    m = login(s, "broken")
    sent = [message(f"broken{size}", size) for size in SIZES[:-1]]
    for octets in sent:
        same(m.append("INBOX", None, None, octets)[0], "OK")
    m.logout()
    comes(lambda: len(paths(s, storage, "broken")), len(SIZES) - 1, "files")
    for n, path in enumerate(paths(s, storage, "broken")):
        start, stored = place(path, storage)
        with open(path, "r+b") as f:
            if n % 3 == 0:    # the checksum
                f.seek(start + len(stored) - 8)
                f.write(bytes([stored[-8] ^ 1]))
            elif n % 3 == 1:  # the data
                f.seek(start + len(stored) // 2)
                f.write(bytes(b ^ 0x55 for b in stored[len(stored) // 2:len(stored) // 2 + 9]))
            else:             # the size
                f.seek(start + len(stored) - 4)
                f.write(bytes([stored[-4] ^ 1]))
    m = login(s, "broken")
    there = [seq for seq, size in enumerate(SIZES[:-1], 1) if come_back and size <= 256 << 10]
    for seq in range(1, len(SIZES)):
        if seq in there:
            same(body(m, seq) == sent[seq - 1], True, f"message {seq} from the journal")
            continue
        kind, data = m.fetch(str(seq), "(BODY.PEEK[])")
        same((kind, data[0][:12]), ("NO", b"[CORRUPTION]"), (seq, data if kind == "NO" else len(data[0][1])))
    m.logout()
    same(s.output().count("it is made anew from the journal"), len(there), "messages of the log")


def members(s, storage):
    """gzip files may have several members; those that other programs put into a Maildir have no sizes in their names."""
    one, two = message("members", 5000), b"more of it\r\n" * 5000
    path = os.path.join(s.mail, "multi", "new", "1600000000.1.host")
    login(s, "multi").logout()
    with open(path, "wb") as f:
        f.write(gzip.compress(one) + gzip.compress(two) + gzip.compress(b""))
    os.chmod(path, 0o644)
    m = login(s, "multi")
    same(body(m, 1) == one + two, True)
    m.logout()


for storage in culver.storages() or fail("no storage module is installed"):
    s = culver.Server(storage=storage, settings="mail_plugins = zlib\nzlib_save = gz\n")
    try:
        s.start()
        mails = ours(s, storage)
        damaged(s, storage, come_back=storage == "sdbox")
        if storage == "maildir":
            members(s, storage)
        if have_dovecot:
            theirs(s, storage, Dovecot(s, storage), mails)
        healthy(s)
        s.stop()
        print(storage, "ok", flush=True)
    finally:
        s.close()
s = culver.Server(storage=culver.storages()[0], settings="mail_plugins = zlib\nzlib_save = gz\nmail_journal_message_size = 0\n")
try:
    s.start()
    damaged(s, culver.storages()[0])
    s.stop()
finally:
    s.close()
if not have_dovecot:
    skip("Dovecot's zlib plugin is not installed: only what is written here was read")
