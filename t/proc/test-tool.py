#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The culver command against a running server: tables, JSON, exit statuses. Needs what test-server.py needs."""

import glob
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import BUILD, MAIL_USER, ROOT, PASSWORD, Server, free_port, wait_until  # noqa: E402

# sysexits.h, as culver --help lists them.
USAGE, NOUSER, UNAVAILABLE, TEMP, NOPERM, CONFIG = 64, 67, 69, 75, 77, 78


class Tool(unittest.TestCase):
    def culver(self, s, *args, status=0, text=None):
        r = subprocess.run([os.path.join(BUILD, "culver"), *args, "-c", s.conf], capture_output=True, text=True, env=s.env, input=text, timeout=60)
        self.assertEqual(r.returncode, status, f"culver {args}: {r.stdout}{r.stderr}")
        self.err = r.stderr
        return r.stdout

    def json(self, s, *args, status=0, text=None):
        return json.loads(self.culver(s, *args, "--json", status=status, text=text))

    def test_who_and_kick(self):
        with Server(tls=True) as s, s.session("alice") as a, s.session("alice") as again, s.tls_client() as b:
            self.assertEqual(b.login("bob"), "OK logged in resume")
            rows = self.json(s, "who")
            self.assertEqual(sorted((r["user"], r["protocol"], r["remote"]) for r in rows),
                             [("alice", "echo", "127.0.0.1")] * 2 + [("bob", "echo", "127.0.0.1")])
            self.assertRegex(self.culver(s, "who", "bob"), "bob +echo")
            self.assertNotIn("alice", self.culver(s, "who", "bob"))
            self.assertEqual(self.json(s, "who", "nobody"), [])
            self.culver(s, "kick", "alice")
            self.assertTrue(a.line().startswith("BYE"))
            self.assertTrue(again.line().startswith("BYE"))
            self.assertEqual(b.cmd("x"), "ECHO x")
            wait_until("alice to be gone", lambda: len(self.json(s, "who")) == 1)
            self.assertTrue(s.can_log_in("alice"))

    def test_status(self):
        with Server() as s, s.session():
            rows = {r["process"]: r for r in self.json(s, "status")}
            self.assertEqual({name.split()[0] for name in rows}, {"master", "auth", "spawner", "front"})
            self.assertEqual(rows["master"]["pid"], s.master())
            self.assertIn("sessions=1", rows["spawner"]["figures"])
            self.assertIn("logins_ok=1", rows["auth"]["figures"])
            self.assertRegex(self.culver(s, "status"), r"(?m)^spawner +\d+")
            # One that does not answer is named, and does not hold up the rest.
            auth = s.pids("auth")[0]
            os.kill(auth, signal.SIGSTOP)
            try:
                rows = {r["process"]: r for r in self.json(s, "status")}
                self.assertEqual(rows["auth"]["figures"], ["does not answer"])
                self.assertIn("sessions=1", rows["spawner"]["figures"])
            finally:
                os.kill(auth, signal.SIGCONT)

    def test_user(self):
        with Server() as s:
            row = self.json(s, "user", "alice")[0]
            self.assertEqual((row["user"], row["home"]), ("alice", s.mail + "/alice"))
            if ROOT:
                self.assertEqual(row["uid"], pwd.getpwnam(MAIL_USER).pw_uid)
            self.culver(s, "user", "nobody-knows", status=NOUSER)
            self.assertIn("nobody-knows", self.err)
            os.rename(s.users, s.users + ".away")
            self.culver(s, "user", "alice", status=TEMP)

    def test_auth_test(self):
        with Server() as s:
            self.assertEqual(self.json(s, "auth", "test", "-p", PASSWORD, "alice")["result"], "ok")
            self.assertEqual(self.json(s, "auth", "test", "alice", text=PASSWORD + "\n")["result"], "ok")
            wrong = self.json(s, "auth", "test", "-p", "wrong", "alice", status=NOPERM)
            self.assertEqual(wrong["error"]["code"], "auth")
            self.assertNotIn("wrong", s.log().replace("password mismatch", ""))
            self.culver(s, "auth", "test", "-p", "x", "nobody-knows", status=NOPERM)
            os.rename(s.users, s.users + ".away")
            self.culver(s, "auth", "test", "-p", PASSWORD, "alice", status=TEMP)

    def test_reload(self):
        with Server() as s, s.session() as c:
            s.write("login_greeting = Changed.")
            self.culver(s, "reload")
            with s.client() as n:
                self.assertEqual(n.greeting, "OK Changed.")
            s.write("no_such_setting = 1\nanother_bad = 2")
            self.culver(s, "reload", status=CONFIG)
            for name in ("no_such_setting", "another_bad", "the old ones stay in force"):
                self.assertIn(name, self.err)
            self.assertEqual(self.json(s, "reload", status=CONFIG)["error"]["code"], "invalid")
            s.write("auth_mechanisms = plain no-such")
            self.culver(s, "reload", status=CONFIG)
            self.assertIn("no loaded module provides no-such", self.err)
            # What the server refuses, the check of the files has found before.
            self.culver(s, "conf", "check", status=CONFIG)
            self.assertIn("no loaded module provides no-such", self.err)
            s.write("login_greeting = Better.")
            self.culver(s, "reload")
            with s.client() as n:
                self.assertEqual(n.greeting, "OK Better.")
            self.assertEqual(c.cmd("x"), "ECHO x")

    def test_a_port_that_is_taken_is_told_by_reload(self):
        import socket
        with Server() as s, socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            s.write(sections=f"[listener more]\nprotocol = echo\nport = {other.getsockname()[1]}\n")
            self.culver(s, "reload", status=CONFIG)
            self.assertIn("in use by another program", self.err)
            self.assertTrue(s.can_log_in())

    def test_modules(self):
        with Server() as s:
            rows = self.json(s, "modules")
            names = json.dumps(rows)
            for name in ("echo-login", "passwd-file", "sdbox"):
                self.assertIn(name, names)
            self.assertIn("passwd-file", self.culver(s, "modules"))

    def test_stop_and_what_is_said_then(self):
        with Server() as s, s.session() as c:
            self.culver(s, "stop")
            self.assertEqual(c.line(), "BYE shutdown")
            self.assertEqual(s.proc.wait(30), 0)
            for command in (("who",), ("status",), ("reload",), ("stop",), ("user", "alice")):
                self.culver(s, *command, status=UNAVAILABLE)
            self.assertEqual(self.json(s, "status", status=UNAVAILABLE)["error"]["code"], "unavailable")

    def test_usage(self):
        with Server() as s:
            for command in (("no-such-command",), ("who", "--no-such-option"), ("auth", "test"), ("user", "--json=x")):
                self.culver(s, *command, status=USAGE)
            self.assertIn("did you mean", self.culver(s, "statsu", status=USAGE) + self.err)

    @unittest.skipUnless(ROOT, "needs root")
    def test_only_root_and_who_runs_it(self):
        with Server() as s:
            os.chmod(s.run + "/admin.sock", 0o666)
            uid = pwd.getpwnam(MAIL_USER).pw_uid
            r = subprocess.run([os.path.join(BUILD, ".libs/culver"), "who", "-c", s.conf], capture_output=True, text=True, user=uid, group=uid,
                               extra_groups=[], env=dict(s.env, LD_LIBRARY_PATH=os.path.join(BUILD, ".libs")), timeout=60)
            self.assertEqual(r.returncode, NOPERM, r.stdout + r.stderr)
            self.assertIn("only root", r.stderr)

    def test_a_tool_that_says_nothing_and_many_of_them(self):
        import socket
        with Server() as s:
            held = []
            for _ in range(70):
                c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                c.connect(s.run + "/admin.sock")
                held.append(c)
            # Those that were first hold all places, for ten seconds.
            def refused():
                r = subprocess.run([os.path.join(BUILD, "culver"), "status", "--json", "-c", s.conf], capture_output=True, text=True, env=s.env)
                return r.returncode == TEMP and json.loads(r.stdout)["error"]["code"] == "limit"
            wait_until("a refusal", refused, 5)
            for c in held:
                c.close()
            wait_until("room", lambda: subprocess.run([os.path.join(BUILD, "culver"), "status", "-c", s.conf], capture_output=True, env=s.env).returncode == 0)


if __name__ == "__main__":
    if not glob.glob(os.path.join(BUILD, "t/proc/.libs/echo.so")):
        print("the protocols of t/proc are not built in", BUILD, "(make check)")
        sys.exit(77)
    os.chdir(BUILD)
    unittest.main(verbosity=2)
