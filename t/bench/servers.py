# SPDX-License-Identifier: MIT
"""The servers that are compared, each private and below one directory of the same file system."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import culver


class Private:
    """A server in a directory of its own, dir, that goes with it. launch() sets proc."""

    def start(self):
        self.launch()
        wait_port(self.ports["imap"], self)
        return self

    def output(self):
        return "".join(open(f"{self.dir}/{n}", errors="replace").read()[-4000:] for n in ("stderr", "log")
                       if os.path.exists(f"{self.dir}/{n}"))

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(60)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Dovecot(Private):
    """A private Dovecot 2.3 in a directory."""

    def __init__(self, fast):
        self.name = "dovecot-fast" if fast else "dovecot"
        self.dir = tempfile.mkdtemp(prefix="bench-dovecot.")
        os.chmod(self.dir, 0o755)
        self.ca, self.cert, self.key = culver.make_certificate(self.dir)
        p = culver.free_ports(4)
        self.ports = dict(imap=p[0], imaps=p[1], pop3=p[2], lmtp=p[3])
        uid = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self.mail = f"{self.dir}/mail"
        os.makedirs(self.mail)
        os.chown(f"{self.dir}/mail", uid.pw_uid, uid.pw_gid)
        me = pwd.getpwuid(os.getuid()).pw_name
        internal = "" if os.getuid() == 0 else f"default_internal_user = {me}\ndefault_login_user = {me}\ndefault_internal_group =\n"
        chroot = "" if os.getuid() == 0 else "  chroot =\n"
        fastlogin = "  service_count = 0\n  client_limit = 20000\n  process_min_avail = 2\n" if fast else ""
        fastserve = "  service_count = 1000\n  process_min_avail = 2\n" if fast else ""
        with open(f"{self.dir}/dovecot.conf", "w") as f:
            f.write(f"""base_dir = {self.dir}/run
state_dir = {self.dir}/state
instance_name = bench
log_path = {self.dir}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{self.cert}
ssl_key = <{self.key}
mail_location = sdbox:{self.dir}/mail/%u
mail_fsync = optimized
mail_max_userip_connections = 20000
disable_plaintext_auth = no
auth_failure_delay = 0
{"auth_cache_size = 10M" if fast else ""}
{internal}first_valid_uid = 0
first_valid_gid = 0
passdb {{
  driver = static
  args = password={culver.PASSWORD}
}}
userdb {{
  driver = static
  args = uid={uid.pw_uid} gid={uid.pw_gid} home={self.dir}/mail/%u allow_all_users=yes
}}
service imap-login {{
{chroot}{fastlogin}  process_limit = 20000
  inet_listener imap {{
    port = {p[0]}
  }}
  inet_listener imaps {{
    port = {p[1]}
    ssl = yes
  }}
}}
service pop3-login {{
{chroot}{fastlogin}  process_limit = 2000
  inet_listener pop3 {{
    port = {p[2]}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap {{
{fastserve}  process_limit = 20000
}}
service pop3 {{
{fastserve}  process_limit = 2000
}}
service lmtp {{
  process_limit = 1000
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {p[3]}
  }}
}}
service anvil {{
{chroot}  client_limit = 60000
}}
service auth {{
  client_limit = 60000
}}
service stats {{
{chroot}  client_limit = 60000
}}
""")

    def launch(self):
        self.proc = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", f"{self.dir}/dovecot.conf"],
                                     stdin=subprocess.DEVNULL, stderr=open(f"{self.dir}/stderr", "ab"))


class Culver:
    name = "culver"

    def __init__(self, prefix):
        root = os.getuid() == 0
        nobody = pwd.getpwnam("nobody")
        extra = f"mail_uid = {nobody.pw_uid}\nmail_gid = {nobody.pw_gid}\n" if root else ""
        if root:
            me = "root"
            try:
                pwd.getpwnam("culver"), pwd.getpwnam("culvernull")
            except KeyError:
                extra += "default_internal_user = nobody\ndefault_internal_group = nogroup\ndefault_login_user = nobody\n"
        self.server = culver.Server(prefix=prefix, privileged=root, settings=extra +
                                    "mail_max_userip_connections = 20000\nmail_max_mailboxes = 20000\nmail_fsync = optimized\n")
        if root:
            os.chown(self.server.mail, nobody.pw_uid, nobody.pw_gid)
        self.ports = self.server.ports
        self.dir = self.server.dir
        self.mail = self.server.mail

    def launch(self):
        """Start without waiting for its ports."""
        s = self.server
        s.proc = self.proc = subprocess.Popen([s.binary("culverd"), "-F", "-c", s.conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                              stderr=open(f"{self.dir}/stderr", "ab"), cwd="/", preexec_fn=s._drop if s.run_as else None)

    def start(self):
        self.server.start()
        self.proc = self.server.proc
        return self

    def output(self):
        return self.server.output()

    def stop(self):
        self.server.stop()

    def close(self):
        self.server.close()


def wait_port(port, server):
    for _ in range(400):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                s.settimeout(5)
                if s.recv(1):
                    return
        except OSError:
            pass
        if server.proc.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"{server.name} does not answer: {server.output()}")
