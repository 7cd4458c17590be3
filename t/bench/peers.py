# SPDX-License-Identifier: MIT
"""Other servers than this system's own Dovecot, each out of a tree of its own (debootstrap, see doc/performance.md): Dovecot 2.4 and Cyrus."""

import os
import subprocess
import tempfile

import culver
import servers


def identity(tree, user):
    """uid and gid that user has within the tree."""
    for line in open(f"{tree}/etc/passwd"):
        f = line.split(":")
        if f[0] == user:
            return int(f[2]), int(f[3])
    raise SystemExit(f"{tree} has no user {user}")


class Peer(servers.Private):
    """A server that runs in a chroot of its tree, with its own directory of this system's bound at the same path within."""

    def __init__(self, tree, program):
        if os.getuid() != 0:
            raise SystemExit(f"{self.name} needs root, for its chroot")
        if not os.path.exists(tree + program):
            raise SystemExit(f"{tree}{program} is not there")
        self.tree, self.program = os.path.abspath(tree), program
        self.dir = tempfile.mkdtemp(prefix=f"bench-{self.name}.")
        os.chmod(self.dir, 0o755)
        os.makedirs(self.tree + self.dir)
        self.mail = f"{self.dir}/mail"
        self.ca, self.cert, self.key = culver.make_certificate(self.dir)
        p = culver.free_ports(4)
        self.ports = dict(imap=p[0], imaps=p[1], pop3=p[2], lmtp=p[3])

    def command(self, args):
        """args within the tree; the process that runs is args' own."""
        mount = 'mount --bind "$1" "$2$1" && mount --bind /dev "$2/dev" && mount -t proc proc "$2/proc" && t=$2 && shift 2 && exec chroot "$t" "$@"'
        return ["unshare", "-m", "sh", "-c", mount, "sh", self.dir, self.tree] + args

    def launch(self):
        self.proc = subprocess.Popen(self.command([self.program] + self.arguments()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=open(f"{self.dir}/stderr", "ab"))

    def close(self):
        super().close()
        os.rmdir(self.tree + self.dir)


class Dovecot24(Peer):
    """As it comes, with sdbox and static passwords: the settings of servers.Dovecot in the names that 2.4 has for them."""

    name = "dovecot-2.4"

    def __init__(self, tree):
        super().__init__(tree, "/usr/sbin/dovecot")
        uid, gid = identity(self.tree, "nobody")
        os.makedirs(self.mail)
        os.chown(self.mail, uid, gid)
        p = self.ports
        with open(f"{self.dir}/dovecot.conf", "w") as f:
            f.write(f"""dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = {self.dir}/run
state_dir = {self.dir}/state
log_path = {self.dir}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_server_cert_file = {self.cert}
ssl_server_key_file = {self.key}
mail_driver = sdbox
mail_path = {self.mail}/%{{user}}
mail_fsync = optimized
mail_max_userip_connections = 20000
auth_allow_cleartext = yes
auth_failure_delay = 0
first_valid_uid = 0
first_valid_gid = 0
passdb static {{
  password = {culver.PASSWORD}
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {self.mail}/%{{user}}
  }}
  userdb_static_allow_all_users = yes
}}
service imap-login {{
  process_limit = 20000
  inet_listener imap {{
    port = {p["imap"]}
  }}
  inet_listener imaps {{
    port = {p["imaps"]}
    ssl = yes
  }}
}}
service pop3-login {{
  process_limit = 2000
  inet_listener pop3 {{
    port = {p["pop3"]}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap {{
  process_limit = 20000
}}
service pop3 {{
  process_limit = 2000
}}
service lmtp {{
  process_limit = 1000
  inet_listener lmtp {{
    listen = 127.0.0.1
    port = {p["lmtp"]}
  }}
}}
service anvil {{
  client_limit = 60000
}}
service auth {{
  client_limit = 60000
}}
""")

    def arguments(self):
        return ["-F", "-c", f"{self.dir}/dovecot.conf"]


class Cyrus(Peer):
    """Its defaults, mailboxes made when their users come, syncs as it comes; the users of the rows in a sasldb."""

    name = "cyrus"
    USERS = [f"{k}{n}" for k in ("u", "fresh", "newten", "scratch") for n in range(10)] + ["ten", "many"]

    def __init__(self, tree):
        super().__init__(tree, "/usr/sbin/cyrmaster")
        uid, gid = identity(self.tree, "cyrus")
        for d in ("mail", "conf", "run"):
            os.makedirs(f"{self.dir}/{d}")
        p, secret = self.ports, f"{self.dir}/sasldb2"
        with open(f"{self.dir}/imapd.conf", "w") as f:
            f.write(f"""configdirectory: {self.dir}/conf
partition-default: {self.mail}
defaultpartition: default
admins: admin
allowplaintext: yes
autocreate_quota: 0
autocreate_post: yes
lmtp_downcase_rcpt: yes
munge8bit: no
popminpoll: 0
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {secret}
sasl_mech_list: PLAIN
servername: bench.example
virtdomains: off
tls_server_cert: {self.cert}
tls_server_key: {self.key}
syslog_prefix: bench
""")
        with open(f"{self.dir}/cyrus.conf", "w") as f:
            f.write(f"""START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r -C {self.dir}/imapd.conf"
}}
SERVICES {{
  imap cmd="imapd -C {self.dir}/imapd.conf" listen="127.0.0.1:{p["imap"]}" prefork=2 maxchild=2000
  imaps cmd="imapd -s -C {self.dir}/imapd.conf" listen="127.0.0.1:{p["imaps"]}" prefork=0 maxchild=2000
  pop3 cmd="pop3d -C {self.dir}/imapd.conf" listen="127.0.0.1:{p["pop3"]}" prefork=0 maxchild=2000
  lmtp cmd="lmtpd -a -C {self.dir}/imapd.conf" listen="127.0.0.1:{p["lmtp"]}" prefork=0 maxchild=200
}}
EVENTS {{
}}
""")
        for user in self.USERS:
            subprocess.run(self.command(["saslpasswd2", "-p", "-c", "-f", secret, "-u", "bench.example", user]), input=culver.PASSWORD.encode(), check=True)
        for root, dirs, files in os.walk(self.dir):
            for name in [root] + [os.path.join(root, n) for n in files]:
                os.chown(name, uid, gid)

    def arguments(self):
        return ["-C", f"{self.dir}/imapd.conf", "-M", f"{self.dir}/cyrus.conf", "-p", f"{self.dir}/pid"]


KINDS = {"dovecot-2.4": Dovecot24, "cyrus": Cyrus}
