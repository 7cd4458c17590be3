#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A private Postfix hands mail to Culver over the LMTP unix socket, and authenticates its own clients against Culver's auth-client socket."""
import base64
import os
import pwd
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, need_root, run, same  # noqa: E402

need_root()
need("postfix", "postconf")
with culver.Server(client_auth=True) as s:
    port = culver.free_ports(1)[0]
    d = os.path.join(s.dir, "postfix")
    etc, data, spool = f"{d}/etc", f"{d}/data", f"{d}/spool"
    for p in (etc, data, spool):
        os.makedirs(p)
    u = pwd.getpwnam("postfix")
    os.chown(data, u.pw_uid, u.pw_gid)
    with open(f"{etc}/main.cf", "w") as f:
        f.write(f"""compatibility_level = 3.6
queue_directory = {spool}
data_directory = {data}
myhostname = mx.example.org
mydestination =
mynetworks = 192.0.2.0/24
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = example.org
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:unix:{s.lmtp_path}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {s.auth_path}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
maillog_file = {d}/log
maillog_file_prefixes = {d}
alias_maps =
alias_database =
authorized_submit_users =
""")
    with open(f"{etc}/master.cf", "w") as f:
        f.write(f"""127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
""")
    run("postfix", "-c", etc, "start")
    try:
        def client():
            end = time.monotonic() + 30
            while True:
                try:
                    return smtplib.SMTP("127.0.0.1", port, timeout=30)
                except OSError:
                    if time.monotonic() > end:
                        fail("Postfix does not answer: " + open(f"{d}/log").read()[-3000:])
                    time.sleep(0.1)

        for i in range(10):
            with client() as c:
                c.sendmail("sender@elsewhere.example", ["pf@example.org"], mail(f"post{i}"))
        wanted = 10
        # SASL: the right password may relay, the wrong one may not.
        with client() as c:
            c.ehlo()
            code, text = c.docmd("AUTH", "PLAIN " + base64.b64encode(b"\0pf\0wrong").decode())
            same(code, 535, text)
            same(c.mail("pf@example.org")[0], 250)
            same(c.rcpt("far@elsewhere.example")[0], 554)
            c.rset()
            c.login("pf", culver.PASSWORD)
            same(c.mail("pf@example.org")[0], 250)
            same(c.rcpt("far@elsewhere.example")[0], 250)
            c.rset()
        with client() as c:
            c.ehlo()
            if "LOGIN" in c.esmtp_features.get("auth", ""):
                c.login("pf", culver.PASSWORD)
        end = time.monotonic() + 60
        auth = ["curl", "-sS", "--cacert", s.ca, "-u", f"pf@example.org:{culver.PASSWORD}", f"imaps://localhost:{s.ports['imaps']}/", "-X"]
        while True:
            out = run(*auth, "STATUS INBOX (MESSAGES)").stdout.strip()
            if out == f"* STATUS INBOX (MESSAGES {wanted})":
                break
            if time.monotonic() > end:
                fail(f"{out}; Postfix's log: " + open(f"{d}/log").read()[-4000:])
            time.sleep(0.2)
        text = run(*auth[:-2], "-X", "FETCH 1 BODY.PEEK[HEADER.FIELDS (RECEIVED RETURN-PATH DELIVERED-TO)]", check=False)
        healthy(s)
    finally:
        run("postfix", "-c", etc, "stop", check=False)
