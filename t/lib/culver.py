# SPDX-License-Identifier: MIT
"""A private server for tests: settings, certificate, ports, start, stop, and what its log said."""

import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

PASSWORD = "pass"
# What sanitizers report, and lines that a healthy server never writes.
SANITIZER_REPORT = re.compile(r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:")
BAD_LOG = re.compile(SANITIZER_REPORT.pattern + r"|\bfatal\b|assertion|panic|killed by signal|core dumped", re.I)


# Below those that the system gives to clients, and elsewhere for each process: what is free now is still free when a server listens on it.
PORT_FIRST, PORT_LAST = 10240, 32000
next_port = PORT_FIRST + os.getpid() * 64 % (PORT_LAST - PORT_FIRST)


def free_ports(count):
    """Ports on loopback that nobody listens on now, and that no other test asks for."""
    global next_port
    ports = []
    for _ in range(PORT_LAST - PORT_FIRST):
        port, next_port = next_port, next_port + 1 if next_port < PORT_LAST else PORT_FIRST
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError("no free ports")


def make_certificate(directory, name="localhost", days=30):
    """A CA and a certificate for name, localhost and 127.0.0.1: (ca, cert, key) paths."""
    ca, ca_key = os.path.join(directory, "ca.pem"), os.path.join(directory, "ca.key")
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")

    def openssl(*args, **kw):
        subprocess.run(("openssl",) + args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)

    if not os.path.exists(ca):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", ca_key,
                "-out", ca, "-days", str(days), "-subj", "/CN=Culver test CA",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    csr = os.path.join(directory, "csr.pem")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key + ".new",
            "-out", csr, "-subj", "/CN=" + name)
    ext = os.path.join(directory, "ext.cnf")
    with open(ext, "w") as f:
        f.write(f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", str(days), "-extfile", ext,
            "-out", cert + ".new")
    os.chmod(key + ".new", 0o600)
    os.rename(key + ".new", key)
    os.rename(cert + ".new", cert)
    return ca, cert, key


def default_prefix():
    return os.environ.get("CULVER_PREFIX") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build",
                                                             "check", "stage")


def storages(prefix=None):
    """The storage modules that are installed, of those that users would choose first."""
    modules = os.path.join(os.path.abspath(prefix or default_prefix()), "lib", "culver", "modules")
    found = [n for n in ("sdbox", "maildir") if os.path.exists(os.path.join(modules, n + ".so"))]
    if not found:
        raise RuntimeError(f"nothing is installed in {modules}: set CULVER_PREFIX")
    return found


class Server:
    """One culverd with everything below one directory. Unprivileged as it is when the tests are not run by root; as root it runs
    with real privilege separation only when asked (privileged=True), else as nobody."""

    def __init__(self, settings="", storage="sdbox", prefix=None, privileged=False, sections="", directory=None, keep=False,
                 protocols="imap pop3 lmtp", auth=None, client_auth=False):
        self.prefix = os.path.abspath(prefix or default_prefix())
        self.keep = keep
        self.privileged = privileged
        self.dir = directory or tempfile.mkdtemp(prefix="culver-t.", dir=os.environ.get("CULVER_TMP", "/tmp"))
        self.run_as = None
        if os.getuid() == 0 and not privileged:
            self.run_as = pwd.getpwnam("nobody")
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.mail = os.path.join(self.dir, "mail")
        self.run = os.path.join(self.dir, "run")
        os.makedirs(self.mail, exist_ok=True)
        os.makedirs(self.run, exist_ok=True)
        self.ca, self.cert, self.key = make_certificate(self.dir)
        p = free_ports(5)
        self.ports = dict(imap=p[0], imaps=p[1], pop3=p[2], pop3s=p[3], lmtp=p[4])
        self.lmtp_path = os.path.join(self.run, "lmtp")
        self.auth_path = os.path.join(self.run, "auth-client")
        self.log = os.path.join(self.dir, "log")
        self.conf = os.path.join(self.dir, "culver.ini")
        listeners = ""
        for name, protocol in (("imap", "imap"), ("imaps", "imap"), ("pop3", "pop3"), ("pop3s", "pop3"), ("lmtp-tcp", "lmtp")):
            if protocol not in protocols.split():
                continue
            port = self.ports["lmtp" if name == "lmtp-tcp" else name]
            listeners += f"[listener {name}]\nprotocol = {protocol}\naddress = 127.0.0.1\nport = {port}\n"
            listeners += "ssl = yes\n" if name.endswith("s") else ""
            listeners += "\n"
        if "lmtp" in protocols.split():
            listeners += f"[listener lmtp-unix]\nprotocol = lmtp\npath = {self.lmtp_path}\nmode = 0666\n\n"
        if client_auth:
            listeners += f"[listener auth-client]\nprotocol = auth-client\npath = {self.auth_path}\nmode = 0666\n\n"
        if auth is None:
            auth = (f"[passdb static]\ndriver = static\nargs = password={PASSWORD}\n\n"
                    f"[userdb static]\ndriver = static\nargs = home={self.mail}/%u\n\n")
        with open(self.conf, "w") as f:
            f.write(f"protocols = {protocols}\nlisten = 127.0.0.1\nbase_dir = {self.run}\n"
                    f"log_path = {self.log}\nmail_location = {storage}:{self.mail}/%u\n"
                    f"ssl_cert = <{self.cert}\nssl_key = <{self.key}\nfirst_valid_uid = 0\nfirst_valid_gid = 0\n"
                    f"auth_failure_delay = 0\n{settings}\n\n{listeners}{auth}{sections}\n")
        self.proc = None
        self.env = {}  # more of the environment
        if self.run_as:
            for root, dirs, files in os.walk(self.dir):
                for n in [root] + [os.path.join(root, x) for x in files]:
                    os.chown(n, self.run_as.pw_uid, self.run_as.pw_gid)

    def binary(self, name):
        return os.path.join(self.prefix, "sbin" if name == "culverd" else "bin", name)

    def _drop(self):
        os.setgroups([])
        os.setgid(self.run_as.pw_gid)
        os.setuid(self.run_as.pw_uid)

    def identity(self):
        """Arguments for subprocess that make a program run as the server's user, where there are threads: with them Python code between fork and exec may hang."""
        return dict(user=self.run_as.pw_uid, group=self.run_as.pw_gid, extra_groups=[]) if self.run_as else {}

    def start(self, timeout=20):
        env = dict(os.environ, LC_ALL="C.UTF-8", **self.env)
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        self.err = open(os.path.join(self.dir, "stderr"), "ab")
        self.proc = subprocess.Popen([self.binary("culverd"), "-F", "-c", self.conf], stdin=subprocess.DEVNULL,
                                     stdout=self.err, stderr=self.err, env=env, cwd="/",
                                     **self.identity())
        names = [n for n in ("imap", "pop3", "lmtp") if f"protocol = {n}" in open(self.conf).read()]
        end = time.monotonic() + timeout
        for name in names:
            while True:
                if self.proc.poll() is not None:
                    raise RuntimeError(f"culverd ended with {self.proc.returncode}:\n{self.output()}")
                try:
                    with socket.create_connection(("127.0.0.1", self.ports[name]), 2) as s:
                        s.settimeout(5)
                        if s.recv(1):
                            break
                except OSError:
                    pass
                if time.monotonic() > end:
                    self.stop()
                    raise RuntimeError(f"culverd does not answer on {name}:\n{self.output()}")
                time.sleep(0.02)
        return self

    def lines(self):
        """All that the server's processes wrote, one by one."""
        for path in (os.path.join(self.dir, "stderr"), self.log):
            try:
                with open(path, errors="replace") as f:
                    yield from (line.rstrip("\n") for line in f)
            except OSError:
                pass

    def output(self):
        return "\n".join(self.lines())[-20000:]

    def complaints(self, what=BAD_LOG):
        """Log lines that a healthy server never writes."""
        return [line for line in self.lines() if what.search(line)]

    def reload(self):
        self.proc.send_signal(signal.SIGHUP)

    def stop(self, sig=signal.SIGTERM):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(sig)
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise RuntimeError("culverd did not stop on SIGTERM within 20 s:\n" + self.output())
        return self.proc.returncode if self.proc else None

    def close(self):
        """What a sanitizer found may be told only when a process ends, after the last look at the log."""
        try:
            self.stop()
            if self.complaints(SANITIZER_REPORT):
                raise RuntimeError("a sanitizer reports:\n" + open(os.path.join(self.dir, "stderr"), errors="replace").read()[-20000:])
        finally:
            if not self.keep:
                shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except Exception:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()

    def culver(self, *args, check=True, json=False, input=None):
        """Run the administrator's tool against this server."""
        import json as js
        cmd = [self.binary("culver"), "-c", self.conf] + (["--json"] if json else []) + list(args)
        r = subprocess.run(cmd, capture_output=True, text=True, input=input,
                           **self.identity())
        if check and r.returncode != 0:
            raise RuntimeError(f"{' '.join(cmd)} ended with {r.returncode}: {r.stdout}{r.stderr}")
        return js.loads(r.stdout) if json and r.returncode == 0 else r

    def tls_context(self, alpn=None):
        ctx = ssl.create_default_context(cafile=self.ca)
        if alpn:
            ctx.set_alpn_protocols([alpn])
        return ctx

    def deliver(self, user, message, sender="sender@example.org"):
        """Hand a message to LMTP; the reply of its one recipient as (code, text)."""
        import smtplib
        if isinstance(message, str):
            message = message.encode()
        message = re.sub(rb"\r?\n", b"\r\n", message)
        with smtplib.LMTP("127.0.0.1", self.ports["lmtp"]) as c:
            c.ehlo()
            code, text = c.mail(sender)
            if code == 250:
                code, text = c.rcpt(user)
            if code == 250:
                code, text = c.data(message)
            return code, text.decode(errors="replace")
