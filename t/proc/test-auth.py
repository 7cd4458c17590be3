#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Authentication by a running server: helper processes that hang or die, databases and settings that change, settings by protocol and address, and
where settings may stand. Needs what test-server.py needs."""

import glob
import os
import pwd
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import BUILD, MAIL_USER, ROOT, Client, Server, wait_until  # noqa: E402


class Blocking(Server):
    """A server whose passdb is asked in helper processes."""

    passdb_args = "blocking=yes "

    def write(self, settings="", sections=""):
        super().write(settings, sections)
        with open(self.conf) as f:
            text = f.read()
        with open(self.conf, "w") as f:
            f.write(re.sub(r"(\[passdb file\]\ndriver = passwd-file\nargs = )", r"\1" + self.passdb_args, text))


class Helpers(unittest.TestCase):
    def helper(self, s):
        self.assertTrue(s.can_log_in())
        return s.pids("auth-helper")[0]

    def test_a_helper_that_hangs_is_killed_and_the_login_fails_for_now(self):
        with Blocking("auth_worker_timeout = 1s\nauth_worker_max_count = 1") as s:
            pid = self.helper(s)
            os.kill(pid, signal.SIGSTOP)
            with s.client() as c:
                begin = time.monotonic()
                self.assertEqual(c.login("alice"), "NO temp")
                self.assertLess(time.monotonic() - begin, 5)
                s.wait_log(rf"helper with pid {pid} did not answer in 1000 ms \(auth_worker_timeout\): killed")
                # Another is started, and the connection is as good as before.
                self.assertEqual(c.login("alice"), "OK logged in resume")
            wait_until("its end", lambda: pid not in s.pids("auth-helper"))

    def test_others_are_served_while_one_helper_hangs(self):
        with Blocking("auth_worker_timeout = 5s\nauth_worker_max_count = 2") as s:
            os.kill(self.helper(s), signal.SIGSTOP)
            with s.client() as hung:
                hung.send("LOGIN alice pass")
                time.sleep(0.1)
                with s.client(timeout=3) as c:
                    self.assertEqual(c.login("bob"), "OK logged in resume")
                self.assertEqual(hung.line(), "NO temp")

    def test_a_helper_that_dies_while_it_works(self):
        with Blocking("auth_worker_max_count = 1") as s:
            pid = self.helper(s)
            os.kill(pid, signal.SIGSTOP)
            with s.client() as c:
                c.send("LOGIN alice pass")
                time.sleep(0.2)
                os.kill(pid, signal.SIGKILL)
                self.assertEqual(c.line(), "NO temp")
                self.assertEqual(c.login("alice"), "OK logged in resume")
            s.wait_log("helper process ended while it worked: its request is answered as a temporary failure")

    def test_a_client_that_leaves_frees_its_request(self):
        with Blocking("auth_worker_timeout = 2s\nauth_worker_max_count = 1") as s:
            pid = self.helper(s)
            os.kill(pid, signal.SIGSTOP)
            for _ in range(20):
                with s.client() as c:
                    c.send("LOGIN alice pass")
            wait_until("the end of the hung helper", lambda: pid not in s.pids("auth-helper"))
            wait_until("logins", s.can_log_in)

    def test_the_starter_dies(self):
        with Blocking() as s:
            self.helper(s)
            os.kill(s.pids("auth-starter")[0], signal.SIGKILL)
            s.wait_log("starter of helpers is gone")
            wait_until("logins", s.can_log_in)

    def test_auth_dies_while_it_is_asked(self):
        with Server() as s:
            auth = s.pids("auth")[0]
            os.kill(auth, signal.SIGSTOP)
            with s.client() as c:
                c.send("LOGIN alice pass")
                time.sleep(0.2)
                os.kill(auth, signal.SIGKILL)
                self.assertEqual(c.line(), "NO unavailable")
                wait_until("another auth", lambda: s.pids("auth") not in ([], [auth]))
                self.assertEqual(wait_until("an answer", lambda: (a := c.login("alice")) not in ("NO temp", "NO unavailable") and a), "OK logged in resume")
            s.wait_log("auth .* was killed by signal 9")


class Ids(unittest.TestCase):
    def test_names_in_uid_and_gid_are_asked_in_a_helper(self):
        me = MAIL_USER if ROOT else pwd.getpwuid(os.geteuid()).pw_name
        group = "nogroup" if ROOT else str(os.getegid())
        s = Server(users=("alice",))
        with open(s.users, "a") as f:
            f.write(f"named:{{PLAIN}}pass:{me}:{group}::{s.mail}/named\n")
            f.write(f"wrong:{{PLAIN}}pass:no-such-user:{group}::{s.mail}/wrong\n")
        with s:
            self.assertEqual(s.pids("auth-helper"), [])
            self.assertTrue(s.can_log_in("named"))
            self.assertNotEqual(s.pids("auth-helper"), [])
            with s.session("named") as c:
                self.assertEqual(c.whoami()["uid"].split(",")[0], str(pwd.getpwnam(me).pw_uid))
            with s.client() as c:
                self.assertEqual(c.login("wrong"), "NO temp")
            s.wait_log("there is no system user no-such-user")
            # A name service that hangs holds up those who need it, not auth.
            for pid in s.pids("auth-helper"):
                os.kill(pid, signal.SIGSTOP)
            try:
                self.assertTrue(s.can_log_in("alice"))
                self.assertTrue(s.can_log_in("named"))
            finally:
                for pid in s.pids("auth-helper"):
                    os.kill(pid, signal.SIGCONT)


class PasswordFile(unittest.TestCase):
    def test_changes_count_at_once(self):
        with Server(users=("alice",)) as s:
            self.assertFalse(s.can_log_in("late"))
            ids = open(s.users).read().split(":")[2:4]
            for password in ("one", "two"):
                with open(s.users + ".new", "w") as f:
                    f.write(f"late:{{PLAIN}}{password}:{ids[0]}:{ids[1]}::{s.mail}/late\n")
                os.chmod(s.users + ".new", 0o644)
                os.rename(s.users + ".new", s.users)
                with s.client() as c:
                    self.assertEqual(c.login("late", password), "OK logged in resume")
            self.assertFalse(s.can_log_in("alice"))

    def test_an_unreadable_file_is_a_temporary_failure_never_a_wrong_password(self):
        with Server() as s:
            os.rename(s.users, s.users + ".away")
            with s.client() as c:
                self.assertEqual(c.login("alice"), "NO temp")
            os.rename(s.users + ".away", s.users)
            self.assertTrue(s.can_log_in("alice"))

    def test_a_reload_takes_other_databases(self):
        with Server() as s, s.session() as held:
            other = s.users + ".other"
            with open(other, "w") as f:
                f.write(open(s.users).read().replace("alice", "carol"))
            os.chmod(other, 0o644)
            s.write()
            text = open(s.conf).read()
            with open(s.conf, "w") as f:
                f.write(text.replace("args = " + s.users, "args = " + other))
            s.reload()
            self.assertTrue(s.can_log_in("carol"))
            self.assertFalse(s.can_log_in("alice"))
            self.assertEqual(held.cmd("x"), "ECHO x")


class Sections(unittest.TestCase):
    """auth_* settings within [protocol], [local] and [remote]."""

    def test_user_name_format_of_a_protocol(self):
        with Server(sections="[protocol echo]\nauth_username_format = %n\n\n[protocol drop]\nauth_username_format = %u\n") as s:
            with s.client() as c:
                self.assertEqual(c.login("ALICE@example.org"), "NO auth")
                self.assertEqual(c.login("alice@example.org"), "OK logged in resume")
            self.assertEqual(s.deliver("alice@example.org", "x"), "NO user")
            self.assertEqual(s.deliver("alice", "x"), "OK 1 octets for payload")

    def test_mechanisms_of_an_address(self):
        with Server("auth_mechanisms = plain", sections="[remote 127.0.0.1]\nauth_mechanisms = login scram-sha-256\n") as s, s.client() as c:
            self.assertEqual(c.cmd("CAPA"), "OK AUTH=LOGIN AUTH=SCRAM-SHA-256")
            self.assertEqual(c.login("alice"), "NO Unsupported authentication mechanism")

    def test_mechanisms_of_a_protocol_and_a_reload(self):
        with Server("auth_mechanisms = plain", sections="[protocol echo]\nauth_mechanisms = plain login\n") as s:
            with s.client() as c:
                self.assertEqual(c.cmd("CAPA"), "OK AUTH=PLAIN AUTH=LOGIN")
                self.assertEqual(c.login("alice"), "OK logged in resume")
            s.write("auth_mechanisms = login", sections="[protocol echo]\nauth_mechanisms = plain\n")
            s.reload()
            with s.client() as c:
                self.assertEqual(c.cmd("CAPA"), "OK AUTH=PLAIN")

    def test_an_unknown_mechanism_in_a_section_is_an_error(self):
        with Server() as s:
            s.write(sections="[protocol echo]\nauth_mechanisms = plain no-such\n")
            s.reload()
            self.assertRegex(s.log(), "no loaded module provides no-such")

    def test_failure_delay_of_an_address(self):
        with Server("auth_failure_delay = 0", sections="[remote 127.0.0.0/8]\nauth_failure_delay = 800ms\n") as s, s.client() as c:
            begin = time.monotonic()
            self.assertEqual(c.login("alice", "wrong"), "NO auth")
            self.assertGreater(time.monotonic() - begin, 0.7)
            begin = time.monotonic()
            self.assertEqual(c.login("alice"), "OK logged in resume")
            self.assertLess(time.monotonic() - begin, 0.7)

    def test_client_certificate_of_a_protocol(self):
        with Server(sections="[protocol echo]\nauth_ssl_require_client_cert = yes\n") as s, s.client() as c:
            self.assertEqual(c.login("alice"), "NO auth")
            s.wait_log("auth_ssl_require_client_cert")


class Settings(unittest.TestCase):
    def problems(self, settings="", sections=""):
        s = Server(settings, sections)
        try:
            r = subprocess.run(s.command("-t"), capture_output=True, text=True, timeout=60, env=s.env)
            self.assertEqual(r.returncode, 1, r.stderr)
            return r.stderr
        finally:
            s.close()

    def test_a_setting_where_it_has_no_effect_is_an_error(self):
        errors = self.problems(sections="[protocol echo]\nbase_dir = /x\nauth_cache_size = 1M\nmail_location = sdbox:~/x\n\n"
                               "[remote 127.0.0.1]\nmail_plugins = x\nfirst_valid_uid = 7\n")
        for key in ("base_dir", "auth_cache_size", "mail_location"):
            self.assertRegex(errors, rf"{key} has no effect in \[protocol echo\]: put it at the top")
        self.assertRegex(errors, r"mail_plugins has no effect in \[remote 127.0.0.1\]: .*\[protocol NAME\]")
        self.assertIn("first_valid_uid has no effect in [remote 127.0.0.1]", errors)

    def test_what_cannot_be_is_refused_with_its_reason(self):
        self.assertIn("realms are for DIGEST-MD5 and GSSAPI", self.problems("auth_realms = example.org"))
        self.assertIn("one process owns a user's mail", self.problems("shutdown_clients = no"))
        self.assertIn("neither syslog, journal", self.problems("info_log_path = relative"))
        self.assertRegex(self.problems(sections="[service auth]\nclient_limit = 3\n"), r"\[service auth\]: client_limit")
        self.assertRegex(self.problems(sections="[service front]\nidle_kill = 3s\n"), r"\[service front\]: idle_kill")


    def test_all_that_is_wrong_with_databases_is_told_at_once(self):
        errors = self.problems("auth_mechanisms = plain no-such other\nmail_location = mbx:~/mail",
                               "[passdb p]\ndriver = pamm\n\n[passdb q]\ndriver = passwd-file\nargs = users\n\n[userdb u]\ndriver = pasd\n")
        for text in (r":\d+: \[passdb p\]: no loaded module provides the driver pamm \(there are: .*pass", r":\d+: \[passdb q\]: args must end with the absolute path",
                     r":\d+: \[userdb u\]: no loaded module provides the driver pasd", r":\d+: auth_mechanisms: no loaded module provides no-such, other",
                     r":\d+: mail_location: no module provides the storage mbx"):
            self.assertRegex(errors, text)


class Logs(unittest.TestCase):
    def test_levels_have_files_of_their_own_and_all_are_reopened(self):
        s = Server()
        info, debug = s.dir + "/info", s.dir + "/debug"
        main, s.log_path = s.log_path, info
        s.write(f"log_path = {main}\ninfo_log_path = {info}\ndebug_log_path = {debug}\nlog_debug = all")
        with s:
            self.assertTrue(s.can_log_in())
            self.assertNotIn(" debug ", open(info).read())
            s.wait_log("info front.* login protocol=echo")
            self.assertRegex(open(debug).read(), "debug auth")
            self.assertEqual(open(main).read(), "")
            for path in (main, info, debug):
                os.rename(path, path + ".1")
            s.proc.send_signal(signal.SIGUSR1)
            s.wait_log("the log is reopened")
            self.assertTrue(s.can_log_in())
            s.wait_log("front.*login protocol=echo")
            s.wait_log("worker.*echo session ended")
            self.assertRegex(open(debug).read(), "debug auth")

    def test_a_reload_moves_the_log_of_every_process(self):
        with Server() as s, s.session("bob") as held:
            old, s.log_path = s.log_path, s.dir + "/moved"
            s.write("log_debug = auth")
            s.reload()
            at = len(open(old).read())
            self.assertTrue(s.can_log_in())
            s.wait_log("info front.*login protocol=echo")
            s.wait_log("debug auth.*authenticated")
            s.wait_log("worker.*user=alice")
            self.assertEqual(held.cmd("x"), "ECHO x")
            self.assertNotRegex(open(old).read()[at:], "front|auth|spawner")

    def test_a_reload_to_another_kind_of_log(self):
        with Server(tls=True) as s, s.tls_client() as held:
            self.assertEqual(held.login("bob"), "OK logged in resume")
            auth, spawner = s.pids("auth"), s.pids("spawner")
            s.write("log_path = /dev/stderr")
            s.proc.send_signal(signal.SIGHUP)
            wait_until("the reload", lambda: "settings are reloaded" in s.log() + s.stderr())
            self.assertTrue(s.can_log_in())
            wait_until("lines", lambda: re.search("front.*user=alice.*login protocol=echo", s.stderr()))
            self.assertEqual(held.cmd("x"), "ECHO x")
            self.assertEqual(s.pids("spawner"), spawner)
            self.assertNotEqual(s.pids("auth"), auth)


if __name__ == "__main__":
    if not glob.glob(os.path.join(BUILD, "t/proc/.libs/echo.so")):
        print("the protocols of t/proc are not built in", BUILD, "(make check)")
        sys.exit(77)
    os.chdir(BUILD)
    unittest.main(verbosity=2)
