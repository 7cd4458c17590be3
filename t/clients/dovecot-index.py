#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An sdbox tree of Dovecot's keeps its UIDVALIDITY, flags and keywords when it is taken over: its index and transaction logs are read, new and long used, with
rotated logs, and in a place of their own."""
import imaplib
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("doveadm")

SMALL = ("mail_index_log_rotate_min_size = 1k\nmail_index_log_rotate_max_size = 4k\nmail_index_log_rotate_min_age = 0\n"
         "mail_index_rewrite_min_log_bytes = 256\nmail_index_rewrite_max_log_bytes = 512\n")
BIG = "mail_index_rewrite_min_log_bytes = 10M\nmail_index_rewrite_max_log_bytes = 20M\n"
VARIANTS = {"log only": (BIG, ""), "rotated": (SMALL, ""), "apart": (SMALL, ":INDEX={home}-index")}
FLAGS = [r"\Seen", r"\Answered", r"\Flagged", r"\Deleted", r"\Draft"] + [f"$Word{n}" for n in range(20)] + ["NonJunk"]
seed = int(os.environ.get("SEED", "1"))


def flags_of(text):
    return {f.lower() for f in text.split() if f.lower() != r"\recent"}


if "sdbox" not in culver.storages():
    print("only sdbox has such an index")
    sys.exit(77)
for name, (options, where) in VARIANTS.items():
    rng = random.Random(seed)
    s = culver.Server(storage="sdbox")
    try:
        home = os.path.join(s.mail, "dv")
        location = f"sdbox:{home}" + where.format(home=home)
        with open(s.conf) as f:
            settings = re.sub(r"(?m)^mail_location = .*$", f"mail_location = {location.replace(home, os.path.join(s.mail, '%u'))}", f.read())
        with open(s.conf, "w") as f:
            f.write(settings)
        conf = os.path.join(s.dir, "dovecot.conf")
        with open(conf, "w") as f:
            f.write(f"mail_location = {location}\nssl = no\nlog_path = /dev/stderr\nfirst_valid_uid = 1\nprotocols =\n"
                    f"base_dir = {s.dir}/dovecot-run\nstats_writer_socket_path =\n{options}")
        for path in (home, home + "-index"):
            os.makedirs(path, mode=0o700)
            if s.run_as:
                os.chown(path, s.run_as.pw_uid, s.run_as.pw_gid)

        def dovecot(*args, input=None):
            env = dict(os.environ, HOME=home, USER="dv")
            return run("doveadm", "-c", conf, *args, input=input, env=env, preexec_fn=s._drop if s.run_as else None, cwd=s.dir).stdout

        dovecot("mailbox", "create", "Busy & old")
        for i in range(1, 31):
            dovecot("save", "-m", "Busy & old", input=mail(f"m{i}"))
        for _ in range(50):
            first = rng.randint(1, 30)
            uids = f"{first}:{rng.randint(first, 30)}"
            chosen = " ".join(rng.sample(FLAGS, rng.randint(1, 4)))
            dovecot("flags", rng.choice(["add", "add", "remove", "replace"]), chosen, "mailbox", "Busy & old", "uid", uids)
        dovecot("expunge", "mailbox", "Busy & old", "uid", "7,20:22")
        dovecot("flags", "add", "$Last", "mailbox", "Busy & old", "uid", "30")
        want = {int(uid): flags_of(flags) for uid, flags in
                re.findall(r"uid: (\d+)\nflags: (.*)\n", dovecot("fetch", "uid flags", "mailbox", "Busy & old", "all"))}
        status = dovecot("mailbox", "status", "uidvalidity uidnext", "Busy & old")
        validity, uidnext = (int(re.search(rf"{k}=(\d+)", status).group(1)) for k in ("uidvalidity", "uidnext"))
        folder = os.path.join("mailboxes", "Busy &- old")
        index = os.path.join(home + "-index", folder) if where else os.path.join(home, folder, "dbox-Mails")
        there = sorted(f for f in os.listdir(index) if re.fullmatch(r"dovecot\.index(\.log(\.2)?)?", f))
        same(there, ["dovecot.index.log"] if name == "log only" else ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2"], f"{name}: Dovecot's files")
        s.start()
        c = imaplib.IMAP4("127.0.0.1", s.ports["imap"])
        c.login("dv", culver.PASSWORD)
        same(c.status('"Busy &- old"', "(UIDVALIDITY UIDNEXT)")[1][0].split(b" (")[1], f"UIDVALIDITY {validity} UIDNEXT {uidnext})".encode(), f"{name}: STATUS")
        c.select('"Busy &- old"')
        got = {}
        for line in c.uid("fetch", "1:*", "(FLAGS)")[1]:
            uid, flags = re.search(r"UID (\d+)", line.decode()).group(1), re.search(r"FLAGS \((.*?)\)", line.decode()).group(1)
            got[int(uid)] = flags_of(flags)
        for uid in want:
            same(got.get(uid), want[uid], f"{name}: flags of {uid}")
        same(sorted(got), sorted(want), f"{name}: messages")
        c.logout()
        healthy(s)
    finally:
        s.close()
