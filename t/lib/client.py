# SPDX-License-Identifier: MIT
"""What the tests with real programs share: skip with a reason, run a program, fail with its words."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import culver  # noqa: E402,F401

PLAIN = """From: Anna <anna@example.org>
To: {to}
Subject: {subject}
Date: Mon, 2 Nov 2026 10:00:00 +0000
Message-ID: <{subject}@example.org>

{body}
"""


def mail(subject, to="user@example.org", body="A few words."):
    return PLAIN.format(subject=subject, to=to, body=body)


def need(*programs):
    for p in programs:
        if not shutil.which(p) and not shutil.which(p, path="/usr/sbin:/sbin"):
            skip(f"{p} is not installed")


def need_root():
    if os.getuid() != 0:
        skip("needs root")


def skip(why):
    print(why)
    sys.exit(77)


def run(*cmd, check=True, input=None, env=None, timeout=120, **kw):
    r = subprocess.run(cmd, capture_output=True, text=True, input=input, env=env, timeout=timeout, errors="surrogateescape", **kw)
    if check and r.returncode != 0:
        fail(f"{' '.join(cmd)} ended with {r.returncode}:\n{r.stdout}{r.stderr}")
    return r


def fail(text):
    raise AssertionError(text)


def same(got, wanted, what=""):
    if got != wanted:
        fail(f"{what}: got {got!r}, wanted {wanted!r}")


def healthy(server):
    bad = server.complaints()
    if bad:
        fail("the server's log says:\n" + "\n".join(bad[-20:]))


def use_plugin(server, *names):
    """Build test plugins of t/plugins against the installed headers, into a module directory that the server's settings name. Before its start."""
    modules = os.path.join(server.dir, "modules")
    env = dict(os.environ)
    env["PKG_CONFIG_PATH"] = ":".join(os.path.join(server.prefix, d, "pkgconfig") for d in ("lib", "lib64", "lib/x86_64-linux-gnu"))
    shutil.copytree(run("pkg-config", "--variable=moduledir", "culver", env=env).stdout.strip(), modules)
    if b"__asan" in open(server.binary("culverd"), "rb").read():
        env["LDFLAGS"] = "-Wl,-z,nodefs -Wl,--unresolved-symbols=ignore-all"
    for name in names:
        work = os.path.join(server.dir, "plugin-" + name)
        shutil.copytree(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "plugins", name), work)
        run("make", "-C", work, "CFLAGS=-O1 -g -Werror", "install", f"MODULE_DIR={modules}", env=env)
    with open(server.conf) as f:
        text = f.read()
    with open(server.conf, "w") as f:
        f.write(f"mail_plugin_dir = {modules}\n" + text)
