# SPDX-License-Identifier: MIT
"""What the tests with real programs share: skip with a reason, run a program, fail with its words."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import zlib

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


class Checks:
    """check(ok, what): what does not hold is told at once and counted; the test goes on, and ends with status()."""

    def __init__(self):
        self.failed = 0

    def __call__(self, ok, what):
        if not ok:
            self.failed += 1
            print("FAIL: " + what)

    def status(self, name):
        print(f"{name}: " + (f"{self.failed} FAILED" if self.failed else "ok"))
        return 1 if self.failed else 0


def comes(fn, wanted, what="", seconds=20):
    """Waits until fn() is what is wanted: what is done after the reply."""
    end = time.monotonic() + seconds
    while (got := fn()) != wanted and time.monotonic() < end:
        time.sleep(0.02)
    same(got, wanted, what)


def healthy(server):
    bad = server.complaints()
    if bad:
        fail("the server's log says:\n" + "\n".join(bad[-20:]))


class Imap:
    """Tagged commands, answers as they come. login is the answer to the login as user; user None: none was sent."""

    def __init__(self, s, user=None):
        self.sock = socket.create_connection(("127.0.0.1", s.ports["imap"]), 20)
        self.file = self.sock.makefile("rb")
        self.n = 0
        self.untagged = []
        self.file.readline()
        self.login = self.cmd(f"LOGIN {user} {culver.PASSWORD}") if user else None

    def cmd(self, text, literal=None):
        """What follows the tag; "closed" at the end of the connection. untagged: the lines before it."""
        self.n += 1
        tag = f"t{self.n}"
        self.untagged = []
        self.sock.sendall(f"{tag} {text}".encode() + (f" {{{len(literal)}+}}\r\n".encode() + literal if literal is not None else b"") + b"\r\n")
        while True:
            line = self.file.readline().decode(errors="replace").rstrip("\r\n")
            if not line:
                return "closed"
            if line.startswith(tag + " "):
                return line[len(tag) + 1:]
            self.untagged.append(line)

    def ok(self, text, literal=None):
        """The untagged lines of a command that ends with OK."""
        answer = self.cmd(text, literal)
        same(answer[:3], "OK ", text + ": " + answer)
        return self.untagged

    def close(self):
        self.file.close()
        self.sock.close()


class Client:
    """A session whose octets are the test's: how is "plain", "tls" or "starttls", and it may be compressed. user None: no login is sent."""

    def __init__(self, s, how="plain", user=None):
        self.sock = socket.create_connection(("127.0.0.1", s.ports["imaps" if how == "tls" else "imap"]), 30)
        self.sock.settimeout(30)
        self.s, self.buf, self.n, self.packer, self.unpacker, self.received = s, b"", 0, None, None, 0
        if how == "tls":
            self.begin_tls()
        self.line()
        if how == "starttls":
            self.cmd("STARTTLS")
            self.begin_tls()
        if user:
            self.cmd(f"LOGIN {user} {culver.PASSWORD}")

    def begin_tls(self):
        self.sock = self.s.tls_context().wrap_socket(self.sock, server_hostname="localhost")

    def compress(self, level=-1):
        self.cmd("COMPRESS DEFLATE")
        self.packer, self.unpacker = zlib.compressobj(level, wbits=-15), zlib.decompressobj(wbits=-15)
        self.buf = self.unpacker.decompress(self.buf)  # which fails when it is not compressed

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(self.buf)
        self.received += len(data)
        if self.unpacker:
            data = self.unpacker.decompress(data)
            if self.unpacker.eof:
                data += self.unpacker.unused_data
                self.unpacker = None
        self.buf += data

    def send(self, data, flush=zlib.Z_SYNC_FLUSH):
        data = data.encode() if isinstance(data, str) else data
        self.sock.sendall(self.packer.compress(data) + self.packer.flush(flush) if self.packer else data)

    def line(self):
        """One line with the literals in it, without the CRLF at its end."""
        out = b""
        while True:
            while b"\n" not in self.buf:
                self.more()
            line, self.buf = self.buf.split(b"\n", 1)
            out += line + b"\n"
            m = re.search(rb"\{(\d+)\}\r$", line)
            if not m:
                return out.decode().rstrip("\r\n")
            while len(self.buf) < int(m.group(1)):
                self.more()
            out, self.buf = out + self.buf[:int(m.group(1))], self.buf[int(m.group(1)):]

    def reply(self, tag, status="OK"):
        """All lines up to the tagged one, with it."""
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1].startswith(tag + " "):
                if not lines[-1].startswith(f"{tag} {status}"):
                    fail(lines[-1])
                return lines

    def cmd(self, text, status="OK"):
        self.n += 1
        self.send(f"t{self.n} {text}\r\n")
        return self.reply(f"t{self.n}", status)


def descendants(root):
    """root and all processes below it."""
    parents = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                parents[int(pid)] = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    found = {root}
    while True:
        more = {p for p, q in parents.items() if q in found} - found
        if not more:
            return found
        found |= more


def role(s, name):
    """Numbers of a server's processes of one role."""
    found = []
    for pid in descendants(s.proc.pid):
        try:
            if re.search(rf" {name}\0*$", open(f"/proc/{pid}/cmdline").read()):
                found.append(pid)
        except OSError:
            pass  # it ended meanwhile
    return found


def end_sending(sock):
    """End the sending side only: over TLS with its farewell (RFC 8446 section 6.1), and without waiting for the server's."""
    if isinstance(sock, ssl.SSLSocket):
        sock.setblocking(False)
        try:
            sock.unwrap()
        except ssl.SSLWantReadError:
            pass
        sock.setblocking(True)
    socket.socket.shutdown(sock, socket.SHUT_WR)


class Log:
    """What of a server's log matches a regular expression (its first group) and is new since the last look."""

    def __init__(self, s, regex):
        self.s, self.at, self.regex = s, 0, regex

    def lines(self):
        with open(self.s.log, errors="replace") as f:
            f.seek(self.at)
            text = f.read()
            self.at = f.tell()
        return [m.group(1).strip() for m in re.finditer(self.regex, text)]

    def wait(self, *wanted):
        """The wanted lines in this order, others between them are fine; returns all."""
        got, end = [], time.monotonic() + 10
        while True:
            got += self.lines()
            rest = iter(got)
            missing = [w for w in wanted if not any(w in line for line in rest)]
            if not missing:
                return got
            if time.monotonic() > end:
                fail(f"no line {missing[0]!r} in this order in:\n" + "\n".join(got) + "\n" + self.s.output()[-3000:])
            time.sleep(0.02)


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
