# SPDX-License-Identifier: MIT
"""A server from the build tree with the test protocols of t/proc, for test-server.py."""

import glob
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

# As t/check calls it: the stage is inside the build tree.
BUILD = os.environ.get("BUILD_DIR") or (os.path.dirname(os.path.abspath(os.environ["CULVER_PREFIX"])) if "CULVER_PREFIX" in os.environ else os.getcwd())
ROOT = os.geteuid() == 0
PASSWORD = "pass"
# One uid for mail, when there are rights to be given up.
MAIL_USER = "nobody"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificate(directory, name):
    """A self-signed pair for name; the files appear whole."""
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key + ".new",
                    "-out", cert + ".new", "-days", "2", "-subj", "/CN=" + name], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    os.chmod(key + ".new", 0o600)
    os.rename(key + ".new", key)
    os.rename(cert + ".new", cert)
    return cert, key


def wait_until(what, check, timeout=60.0):
    """check() until it is true; its value."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited in vain for: " + what)
        time.sleep(0.02)


class Client:
    """A client of the echo protocol."""

    def __init__(self, port, tls=None, timeout=30, greeting=True, name="localhost", path=None):
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=name)
        self.file = self.sock.makefile("rb")
        self.greeting = self.line() if greeting else None

    def line(self):
        """The next line without its end; "" when the connection ended."""
        try:
            return self.file.readline().decode().rstrip("\r\n")
        except (ConnectionError, ssl.SSLError):
            return ""

    def send(self, text):
        self.sock.sendall(text.encode() + b"\r\n")

    def cmd(self, text):
        try:
            self.send(text)
        except (ConnectionError, ssl.SSLError, BrokenPipeError):
            return ""
        return self.line()

    def starttls(self, tls, name="localhost"):
        assert self.cmd("STARTTLS").startswith("OK")
        self.file.detach()
        self.sock = tls.wrap_socket(self.sock, server_hostname=name)
        self.file = self.sock.makefile("rb")

    def login(self, user, password=PASSWORD):
        return self.cmd(f"LOGIN {user} {password}")

    def whoami(self):
        return dict(x.split("=", 1) for x in self.cmd("WHOAMI").split()[1:])

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Server:
    def __init__(self, settings="", sections="", users=("alice", "bob"), tls=False, nofile=None, env=None, listeners=True, listen_fd=None):
        self.dir = tempfile.mkdtemp(prefix="culver-proc.")
        os.chmod(self.dir, 0o755)
        self.run = os.path.join(self.dir, "run")
        self.modules = os.path.join(self.dir, "modules")
        self.mail = os.path.join(self.dir, "mail")
        self.log_path = os.path.join(self.dir, "log")
        self.conf = os.path.join(self.dir, "culver.ini")
        self.users = os.path.join(self.dir, "users")
        os.mkdir(self.modules, 0o755)
        os.mkdir(self.mail, 0o755)
        if ROOT:
            pw = pwd.getpwnam(MAIL_USER)
            os.chown(self.mail, pw.pw_uid, pw.pw_gid)
        for so in glob.glob(os.path.join(BUILD, "t/proc/.libs/*.so")):
            shutil.copy(so, self.modules)
        for name in ("passwd-file", "static", "sdbox", "sasl", "schemes"):
            so = os.path.join(BUILD, ".libs", name + ".so")
            if os.path.exists(so):
                shutil.copy(so, self.modules)
        for so in os.listdir(self.modules):
            os.chmod(os.path.join(self.modules, so), 0o644)
        self.port, self.tls_port = free_port(), free_port()
        self.drop = os.path.join(self.run, "drop")
        self.tls = tls
        if tls:
            make_certificate(self.dir, "one")
        with open(self.users, "w") as f:
            for user in users:
                ids = "%d:%d" % (pw.pw_uid, pw.pw_gid) if ROOT else ":"
                f.write(f"{user}:{{PLAIN}}{PASSWORD}:{ids}::{self.mail}/{user}\n")
        os.chmod(self.users, 0o644)
        self.listeners = listeners
        self.nofile = nofile
        self.env = dict(os.environ, LC_ALL="C.UTF-8", **(env or {}))
        self.env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        self.listen_fd = listen_fd
        self.proc = None
        self.write(settings, sections)

    def write(self, settings="", sections=""):
        """The settings file, anew."""
        text = f"""protocols = echo drop
listen = 127.0.0.1
base_dir = {self.run}
log_path = {self.log_path}
mail_plugin_dir = {self.modules}
mail_location = sdbox:~/mail
auth_failure_delay = 0
first_valid_uid = 1
first_valid_gid = 1
"""
        if ROOT:
            text += "default_internal_user = daemon\ndefault_internal_group = daemon\ndefault_login_user = nobody\n"
        if self.tls:
            text += f"ssl_cert = <{self.dir}/cert.pem\nssl_key = <{self.dir}/key.pem\n"
        elif "ssl =" not in settings:
            text += "ssl = no\n"
        # What the test says counts instead of the line above.
        given = {line.split("=")[0].strip() for line in settings.splitlines()}
        text = "".join(line + "\n" for line in text.splitlines() if line.split("=")[0].strip() not in given)
        text += settings + "\n"
        if self.listeners:
            text += f"[listener echo]\nport = {self.port}\n\n"
            if self.tls:
                text += f"[listener echos]\nport = {self.tls_port}\nssl = yes\n\n"
        text += f"[passdb file]\ndriver = passwd-file\nargs = {self.users}\n\n[userdb file]\ndriver = passwd-file\nargs = {self.users}\n\n"
        with open(self.conf, "w") as f:
            f.write(text + sections)

    def command(self, *args):
        return [os.path.join(BUILD, "culverd"), "-c", self.conf, *args]

    def limits(self):
        if self.nofile:
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

    def spawn(self):
        self.err = open(os.path.join(self.dir, "stderr"), "ab")
        command = self.command("-F")
        if self.listen_fd is not None:
            # As systemd does: descriptor 3, and the number of the process itself.
            fd = self.listen_fd
            command = ["bash", "-c", f'export LISTEN_PID=$$; exec 3<&{fd} {fd}<&-; exec "$@"', "bash"] + command
        self.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.err, stderr=self.err, env=self.env, cwd="/",
                                     preexec_fn=self.limits, start_new_session=True,
                                     pass_fds=() if self.listen_fd is None else (self.listen_fd,))

    def start(self):
        before = self.log().count(" is ready: ")
        self.spawn()
        wait_until("the server to be ready", lambda: self.proc.poll() is not None or self.log().count(" is ready: ") > before)
        if self.proc.poll() is not None:
            raise AssertionError(f"culverd ended with {self.proc.returncode}:\n" + self.log() + self.stderr())
        return self

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def stderr(self):
        with open(os.path.join(self.dir, "stderr"), errors="replace") as f:
            return f.read()

    def wait_log(self, pattern, timeout=60.0, count=1):
        return wait_until(f"a log line like {pattern}", lambda: len(re.findall(pattern, self.log())) >= count, timeout)

    def master(self):
        return int(open(os.path.join(self.run, "master.pid")).read())

    def processes(self):
        """pid -> title of the whole tree below the master, the master not."""
        children = {}
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                text = open(path).read()
                pid, rest = text.split(" ", 1)
                fields = rest[rest.rindex(")") + 2:].split()
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(pid))
            except (OSError, ValueError):
                pass
        todo, found = [self.master()], {}
        while todo:
            for pid in children.get(todo.pop(), []):
                todo.append(pid)
                try:
                    found[pid] = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")[0].decode()
                except OSError:
                    pass
        return found

    def pids(self, what):
        """Processes whose title ends so: "front", "auth", "worker: alice"."""
        return sorted(pid for pid, title in self.processes().items() if title == "culver " + what)

    def tls_context(self, alpn=None):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
        if alpn:
            ctx.set_alpn_protocols([alpn])
        return ctx

    def client(self, **kw):
        return Client(self.port, **kw)

    def tls_client(self, alpn=None, **kw):
        return Client(self.tls_port, tls=self.tls_context(alpn), **kw)

    def session(self, user="alice"):
        c = self.client()
        answer = c.login(user)
        assert answer == "OK logged in resume", answer
        return c

    def can_log_in(self, user="alice"):
        try:
            with self.client(timeout=5) as c:
                return c.login(user) == "OK logged in resume"
        except OSError:
            return False

    def deliver(self, user, text):
        with Client(0, path=self.drop) as c:
            return c.cmd(f"DELIVER {user} {text}")

    def reload(self):
        said = "settings are reloaded|the new settings are not taken|not all parts took the new settings"
        before = len(re.findall(said, self.log()))
        self.proc.send_signal(signal.SIGHUP)
        self.wait_log(said, count=before + 1)

    def stop(self):
        """Exit status."""
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            self.proc.wait(30)
        return self.proc.returncode

    def close(self):
        try:
            if self.proc is not None and self.proc.poll() is None:
                self.stop()
        finally:
            if self.proc is not None and self.proc.poll() is None:
                self.proc.kill()
                self.proc.wait()
            if os.environ.get("KEEP"):
                print("kept:", self.dir)
            else:
                shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        try:
            if exc[0] is not None:
                print(self.log(), self.stderr())
        finally:
            self.close()
