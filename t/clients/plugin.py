#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A plugin built outside the tree, against the installed headers and pkg-config files, does its work in the running server; mail-log too."""
import imaplib
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, run, same  # noqa: E402

need("make", "pkg-config", "cc", "nm")
here = os.path.dirname(os.path.abspath(__file__))

# Like the loader for a root server, nothing here may be writable by others.
s = culver.Server(settings="mail_plugins = list-keyword mail-log\n"
                           "mail_log_events = save copy expunge delete undelete flag_change mailbox_create mailbox_delete mailbox_rename\n"
                           "mail_log_fields = uid box msgid size flags subject\n")
try:
    env = dict(os.environ)
    pc = [os.path.join(s.prefix, d, "pkgconfig") for d in ("lib", "lib64", "lib/x86_64-linux-gnu")]
    env["PKG_CONFIG_PATH"] = ":".join(pc)
    installed = run("pkg-config", "--variable=moduledir", "culver", env=env).stdout.strip()
    work, modules = os.path.join(s.dir, "plugin"), os.path.join(s.dir, "modules")
    example = os.path.join(s.prefix, "share", "doc", "culver", "examples", "plugin")
    shutil.copytree(example, work)
    shutil.copytree(installed, modules)
    run("make", "-C", work, env=env)
    run("make", "-C", work, "install", f"MODULE_DIR={modules}", env=env)
    symbols = [line.split()[-1] for line in run("nm", "-D", "--defined-only", f"{work}/list-keyword.so").stdout.splitlines()]
    same(symbols, ["list_keyword_LTX_cv_module"])
    with open(s.conf) as f:
        text = f.read()
    with open(s.conf, "w") as f:
        f.write(f"mail_plugin_dir = {modules}\n" + text)

    # A module of another interface version is refused, and the message says what to do.
    with open(f"{work}/list-keyword.c") as f:
        source = f.read()
    with open(f"{work}/list-keyword.c", "w") as f:
        f.write(source.replace("CV_MODULE_ABI,", "CV_MODULE_ABI,\n\t.abi_minor = CV_ABI_MINOR + 1,"))
    run("make", "-C", work, env=dict(env, CFLAGS="-Wno-override-init"))
    newer = f"{s.dir}/newer"
    shutil.copytree(modules, newer)
    shutil.copy(f"{work}/list-keyword.so", newer)
    r = s.culver("-o", f"mail_plugin_dir={newer}", "conf", "check", check=False)
    if r.returncode == 0 or not re.search(r"list-keyword.*needs module interface", r.stdout + r.stderr):
        fail(f"a module of a newer interface was not refused: {r.returncode} {r.stdout}{r.stderr}")

    out = s.culver("modules").stdout
    for wanted in ("list-keyword", "mail-log", "message_save", "committed"):
        if wanted not in out:
            fail(f"culver modules does not show {wanted}:\n{out}")

    s.start()
    plain, listed = mail("plain"), mail("listed")
    same(s.deliver("pl", plain)[0], 250)
    same(s.deliver("pl", "List-Id: <talk.example.org>\n" + listed)[0], 250)
    m = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
    m.login("pl", culver.PASSWORD)
    m.select("INBOX")
    same(m.search(None, "KEYWORD", "$List")[1], [b"2"])
    m.store("1", "+FLAGS", "(\\Deleted)")
    m.store("1", "+FLAGS", "(\\Seen)")
    m.store("1", "-FLAGS", "(\\Deleted)")
    m.create("Old")
    m.copy("1", "Old")
    m.rename("Old", "Older")
    m.store("1", "+FLAGS", "(\\Deleted)")
    m.expunge()
    m.delete("Older")
    m.logout()
    s.stop()
    log = s.output()
    for pattern in (r"user=pl .*save: box=INBOX, uid=1, msgid=<plain@example\.org>, subject=plain, size=\d+, flags=\(",
                    r"save: box=INBOX, uid=2, msgid=<listed@example\.org>",
                    r"delete: box=INBOX, uid=1, msgid=<plain@example\.org>.*flags=\(\\Deleted\)",
                    r"flag_change: box=INBOX, uid=1,.*flags=\(\\Seen \\Deleted\)",
                    r"undelete: box=INBOX, uid=1,.*flags=\(\\Seen\)",
                    r"mailbox_create: box=Old\n",
                    r"copy: box=Old, uid=1, msgid=<plain@example\.org>",
                    r"mailbox_rename: box=Old, to=Older\n",
                    r"expunge: box=INBOX, uid=1",
                    r"mailbox_delete: box=Older\n",
                    r"list-keyword: 1 messages marked for pl"):
        if not re.search(pattern, log):
            fail(f"the log has no line like {pattern}:\n{log[-5000:]}")
    healthy(s)
finally:
    s.close()
