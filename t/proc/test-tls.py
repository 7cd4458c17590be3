#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""TLS of a running server: versions, ciphers, groups, client certificates, many names, who may log in without it. Needs what test-server.py needs."""

import glob
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import BUILD, ROOT, Client, Server, make_certificate, wait_until  # noqa: E402


def openssl(*args, **kw):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, text=True, **kw).stdout


class Authority:
    """A CA with client certificates."""

    def __init__(self, directory):
        self.dir = directory
        os.mkdir(directory)
        self.make("ca", "/CN=Test CA", ["-x509", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
        with open(self.path("index"), "w"):
            pass
        with open(self.path("ca.cnf"), "w") as f:
            f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.path('index')}\ndefault_md=sha256\ndefault_crl_days=1\n")
        self.crl()

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, name, subject, more):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.path(name + ".key"), "-out",
                self.path(name + ".pem"), "-days", "2", "-subj", subject, *more)

    def client(self, name, subject, days="2"):
        self.make(name, subject, [])
        openssl("x509", "-req", "-in", self.path(name + ".pem"), "-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"), "-CAcreateserial", "-days", days,
                "-out", self.path(name + ".crt"))
        return self.path(name + ".crt"), self.path(name + ".key")

    def crl(self, revoke=None):
        if revoke:
            openssl("ca", "-config", self.path("ca.cnf"), "-keyfile", self.path("ca.key"), "-cert", self.path("ca.pem"), "-revoke", revoke)
        openssl("ca", "-config", self.path("ca.cnf"), "-gencrl", "-keyfile", self.path("ca.key"), "-cert", self.path("ca.pem"), "-out", self.path("crl"))
        with open(self.path("bundle.new"), "w") as f:
            f.write(open(self.path("ca.pem")).read() + open(self.path("crl")).read())
        os.rename(self.path("bundle.new"), self.path("bundle"))


def context(low=None, high=None, cert=None, ciphers=None):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    if ciphers:
        ctx.set_ciphers(ciphers)
    if low:
        ctx.minimum_version = low
    if high:
        ctx.maximum_version = high
    if cert:
        ctx.load_cert_chain(*cert)
    return ctx


def version(port, ctx):
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as raw, ctx.wrap_socket(raw) as s:
            return s.version(), s.cipher()[0]
    except (ssl.SSLError, ConnectionError) as e:
        return "refused", str(e)


V = ssl.TLSVersion


class Versions(unittest.TestCase):
    def test_1_2_and_1_3_by_default_and_nothing_older(self):
        with Server(tls=True) as s:
            self.assertEqual(version(s.tls_port, context(V.TLSv1_2, V.TLSv1_2))[0], "TLSv1.2")
            self.assertEqual(version(s.tls_port, context(V.TLSv1_3, V.TLSv1_3))[0], "TLSv1.3")
            self.assertEqual(version(s.tls_port, context(V.TLSv1, V.TLSv1_1, ciphers="DEFAULT@SECLEVEL=0"))[0], "refused")

    def test_ssl_min_protocol(self):
        with Server("ssl_min_protocol = TLSv1.3", tls=True) as s:
            self.assertEqual(version(s.tls_port, context(V.TLSv1_2, V.TLSv1_2))[0], "refused")
            self.assertEqual(version(s.tls_port, context())[0], "TLSv1.3")
            s.write("ssl_min_protocol = TLSv1.2")
            s.reload()
            self.assertEqual(version(s.tls_port, context(V.TLSv1_2, V.TLSv1_2))[0], "TLSv1.2")

    def test_ssl_cipher_list_and_suites(self):
        with Server("ssl_cipher_list = ECDHE-ECDSA-AES256-GCM-SHA384\nssl_cipher_suites = TLS_CHACHA20_POLY1305_SHA256", tls=True) as s:
            self.assertEqual(version(s.tls_port, context(V.TLSv1_2, V.TLSv1_2))[1], "ECDHE-ECDSA-AES256-GCM-SHA384")
            self.assertEqual(version(s.tls_port, context(V.TLSv1_2, V.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"))[0], "refused")
            self.assertEqual(version(s.tls_port, context())[1], "TLS_CHACHA20_POLY1305_SHA256")

    def test_ssl_curve_list(self):
        with Server("ssl_curve_list = P-384", tls=True) as s:
            def group(name):
                r = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{s.tls_port}", "-groups", name], input="QUIT\r\n", capture_output=True,
                                   text=True, timeout=20)
                return re.findall(r"Server Temp Key: (.*)", r.stdout)
            self.assertRegex(group("P-384")[0], "secp384r1, 384 bits|ECDH, .*384")
            self.assertEqual(group("X25519"), [])

    def test_bad_values_are_told_before_anything_starts(self):
        for settings, why in (("ssl_cipher_list = NO-SUCH-CIPHER", "cipher list"), ("ssl_curve_list = no-such", "curve list"),
                              ("ssl_min_protocol = SSLv3", "ssl_min_protocol"), ("ssl_verify_client_cert = yes", "needs ssl_ca")):
            s = Server(settings, tls=True)
            try:
                r = subprocess.run(s.command("-t"), capture_output=True, text=True, timeout=60, env=s.env)
                self.assertEqual(r.returncode, 1)
                self.assertIn(why, r.stderr)
            finally:
                s.close()

    def test_ssl_dh(self):
        s = Server(tls=True)
        # A well-known group: making one takes minutes.
        openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", s.dir + "/dh.pem")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", s.dir + "/key.pem", "-out", s.dir + "/cert.pem", "-days", "2", "-subj", "/CN=rsa")
        s.write(f"ssl_dh = <{s.dir}/dh.pem\nssl_cipher_list = DHE-RSA-AES128-GCM-SHA256")
        with s:
            self.assertEqual(version(s.tls_port, context(V.TLSv1_2, V.TLSv1_2, ciphers="DHE-RSA-AES128-GCM-SHA256"))[1], "DHE-RSA-AES128-GCM-SHA256")

    def test_settings_that_cannot_depend_on_the_name_or_the_client_are_errors(self):
        for section, key in (("local other.example.org", "ssl_min_protocol = TLSv1.3"), ("local other.example.org", "ssl_curve_list = P-384"),
                             ("remote 127.0.0.1", "ssl_min_protocol = TLSv1.3"), ("remote 127.0.0.1", "ssl_cert = <{0}/cert.pem")):
            s = Server(tls=True)
            other = os.path.join(s.dir, "other")
            os.mkdir(other)
            make_certificate(other, "other")
            s.write(sections=f"[{section}]\n{key.format(other)}\n")
            try:
                r = subprocess.run(s.command("-t"), capture_output=True, text=True, timeout=60, env=s.env)
                self.assertEqual(r.returncode, 1, section + key)
                self.assertIn(f"[{section}]", r.stderr)
            finally:
                s.close()

    def test_by_local_address(self):
        with Server("ssl_min_protocol = TLSv1.2", sections="[local 127.0.0.1]\nssl_min_protocol = TLSv1.3\n", tls=True) as s:
            self.assertEqual(version(s.tls_port, context(V.TLSv1_2, V.TLSv1_2))[0], "refused")
            self.assertEqual(version(s.tls_port, context())[0], "TLSv1.3")


class Clients(unittest.TestCase):
    """Certificates of clients."""

    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="culver-ca.")
        self.ca = Authority(os.path.join(self.tmp.name, "ca"))
        self.good = self.ca.client("good", "/CN=alice")
        self.stranger = make_certificate(self.tmp.name, "alice")

    def tearDown(self):
        self.tmp.cleanup()

    def server(self, more=""):
        return Server(f"ssl_ca = <{self.ca.path('bundle')}\nssl_verify_client_cert = yes\n" + more, tls=True)

    def login(self, s, cert, user="alice", password="pass"):
        with Client(s.tls_port, tls=context(cert=cert)) as c:
            return c.login(user, password)

    def test_a_certificate_may_be_required(self):
        with self.server("auth_ssl_require_client_cert = yes") as s:
            self.assertEqual(self.login(s, self.good), "OK logged in resume")
            self.assertEqual(self.login(s, None), "NO auth")
            self.assertEqual(self.login(s, self.stranger), "NO auth")
            s.wait_log("no valid client certificate")

    def test_without_being_required_it_is_no_obstacle(self):
        with self.server() as s:
            for cert in (self.good, None, self.stranger):
                self.assertEqual(self.login(s, cert), "OK logged in resume")

    def test_the_name_comes_from_the_certificate(self):
        with self.server("auth_ssl_username_from_cert = yes") as s:
            with Client(s.tls_port, tls=context(cert=self.good)) as c:
                self.assertEqual(c.login("bob"), "OK logged in resume")
                s.wait_log("user=alice .*login protocol=echo")
                self.assertNotIn("user=bob", s.log())
            self.assertEqual(self.login(s, None), "NO auth")
            self.assertEqual(self.login(s, self.stranger), "NO auth")

    def test_a_revoked_certificate_is_none(self):
        with self.server("auth_ssl_require_client_cert = yes") as s:
            self.assertEqual(self.login(s, self.good), "OK logged in resume")
            # The file with the CRL is watched like the certificates.
            self.ca.crl(revoke=self.good[0])
            wait_until("the new CRL", lambda: self.login(s, self.good) == "NO auth")

    def test_external_is_offered_with_a_certificate_only(self):
        with self.server("auth_mechanisms = plain external") as s:
            for cert, offered in ((self.good, True), (None, False), (self.stranger, False)):
                with Client(s.tls_port, tls=context(cert=cert)) as c:
                    self.assertEqual("AUTH=EXTERNAL" in c.cmd("CAPA"), offered)


class Names(unittest.TestCase):
    COUNT = 1000

    def test_a_thousand_names(self):
        s = Server(sections="", tls=True)
        many = os.path.join(s.dir, "many")
        os.mkdir(many)
        # One key for all: what is tried is the number of names.
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", many + "/key.pem")
        os.chmod(many + "/key.pem", 0o600)
        sections = []
        from concurrent.futures import ThreadPoolExecutor

        def make(i):
            openssl("req", "-x509", "-new", "-key", many + "/key.pem", "-days", "2", "-subj", f"/CN=host{i}.example.org", "-out", f"{many}/{i}.pem")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(make, range(0, self.COUNT, 10)))
        for i in range(self.COUNT):
            sections.append(f"[local host{i}.example.org]\nssl_cert = <{many}/{i // 10 * 10}.pem\nssl_key = <{many}/key.pem\n")
        s.write(sections="\n".join(sections))
        with s:
            begin = time.monotonic()
            for i in (0, 500, 990):
                with s.tls_client(name=f"host{i}.example.org") as c:
                    self.assertIn(b"host%d.example.org" % i, c.sock.getpeercert(True))
                    self.assertEqual(c.login("alice"), "OK logged in resume")
            self.assertLess(time.monotonic() - begin, 10)
            # Renewed: one file of a thousand.
            openssl("req", "-x509", "-new", "-key", many + "/key.pem", "-days", "2", "-subj", "/CN=renewed.example.org", "-out", many + "/500.new")
            os.rename(many + "/500.new", many + "/500.pem")

            def renewed():
                with s.tls_client(name="host500.example.org") as c:
                    return b"renewed.example.org" in c.sock.getpeercert(True)
            wait_until("the renewed certificate", renewed, 90)


INSIDE = os.environ.get("CULVER_TEST_NET") == "1"


@unittest.skipIf(INSIDE, "within")
@unittest.skipUnless(ROOT, "needs root, for addresses of its own")
class Remote(unittest.TestCase):
    """Clients that are neither local nor loopback, in a network namespace with two addresses."""

    def test_in_a_network_of_its_own(self):
        script = "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && ip addr add 192.0.2.2/32 dev lo && exec " + \
            f"{sys.executable} -W ignore {os.path.abspath(__file__)} FromAfar"
        try:
            subprocess.run(["unshare", "-n", "ip", "link"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("no network namespaces here, or no ip (iproute2)")
        r = subprocess.run(["unshare", "-n", "sh", "-c", script], env=dict(os.environ, CULVER_TEST_NET="1"), capture_output=True, text=True, timeout=120)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertIn("OK", r.stderr)


@unittest.skipUnless(INSIDE, "in a network namespace only")
class FromAfar(unittest.TestCase):
    def connect(self, s, source, port=None):
        c = Client.__new__(Client)
        c.sock = socket.create_connection(("192.0.2.1", port or s.port), 10, source_address=(source, 0))
        c.file = c.sock.makefile("rb")
        c.greeting = c.line()
        return c

    def try_login(self, settings, source, tls=True):
        """(LOGINDISABLED is said, STARTTLS is offered, the answer to LOGIN)"""
        with Server("listen = 192.0.2.1, 127.0.0.1\n" + settings, tls=tls) as s:
            with self.connect(s, source) as c:
                capa = c.cmd("CAPA")
                return "LOGINDISABLED" in capa, "STARTTLS" in capa, c.login("alice")[:2]

    def test_no_password_over_the_open_network(self):
        self.assertEqual(self.try_login("", "192.0.2.2"), (True, True, "NO"))

    def test_from_the_server_s_own_address_it_is_taken(self):
        self.assertEqual(self.try_login("", "192.0.2.1"), (False, True, "OK"))

    def test_disable_plaintext_auth_no(self):
        self.assertEqual(self.try_login("disable_plaintext_auth = no", "192.0.2.2"), (False, True, "OK"))

    def test_ssl_required_counts_more(self):
        # As in Dovecot: whatever disable_plaintext_auth says, but not on the own machine and in trusted networks.
        self.assertEqual(self.try_login("ssl = required\ndisable_plaintext_auth = no", "192.0.2.2"), (True, True, "NO"))
        self.assertEqual(self.try_login("ssl = required", "192.0.2.1"), (False, True, "OK"))
        self.assertEqual(self.try_login("ssl = required\nlogin_trusted_networks = 192.0.2.2", "192.0.2.2"), (False, True, "OK"))

    def test_ssl_required_offers_no_mechanism_at_all_without_tls(self):
        with Server("listen = 192.0.2.1, 127.0.0.1\nssl = required\nauth_mechanisms = plain scram-sha-256", tls=True) as s:
            with self.connect(s, "192.0.2.2") as c:
                self.assertNotIn("AUTH=", c.cmd("CAPA"))
                c.starttls(s.tls_context())
                self.assertEqual(c.cmd("CAPA"), "OK AUTH=PLAIN AUTH=SCRAM-SHA-256")
                self.assertEqual(c.login("alice"), "OK logged in resume")

    def test_ssl_no(self):
        self.assertEqual(self.try_login("ssl = no", "192.0.2.2", tls=False), (True, False, "NO"))
        self.assertEqual(self.try_login("ssl = no\ndisable_plaintext_auth = no", "192.0.2.2", tls=False), (False, False, "OK"))

    def test_trusted_networks(self):
        self.assertEqual(self.try_login("login_trusted_networks = 192.0.2.0/24", "192.0.2.2"), (False, True, "OK"))

    def test_brute_force_is_slowed_for_its_address_and_for_no_other(self):
        with Server("listen = 192.0.2.1, 127.0.0.1\nauth_failure_delay = 300ms\ndisable_plaintext_auth = no") as s:
            with self.connect(s, "192.0.2.2") as c:
                took = []
                for i in range(3):
                    begin = time.monotonic()
                    self.assertEqual(c.login("alice", f"guess{i}"), "NO auth")
                    took.append(time.monotonic() - begin)
                self.assertGreater(took[2], 2 * took[0], took)
                with self.connect(s, "192.0.2.1") as other:
                    begin = time.monotonic()
                    self.assertEqual(other.login("alice"), "OK logged in resume")
                    self.assertLess(time.monotonic() - begin, 0.3)


if __name__ == "__main__":
    if not glob.glob(os.path.join(BUILD, "t/proc/.libs/echo.so")):
        print("the protocols of t/proc are not built in", BUILD, "(make check)")
        sys.exit(77)
    os.chdir(BUILD)
    unittest.main(verbosity=2)
