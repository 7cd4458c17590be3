#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The processes, from outside: privilege separation, crashes, reload, TLS renewal, limits. Needs a build tree (BUILD_DIR, or the one around
CULVER_PREFIX) in which make check has made the protocols of t/proc."""

import ctypes
import fcntl
import os
import pwd
import re
import select
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import BUILD, MAIL_USER, ROOT, Client, Server, free_port, make_certificate, wait_until  # noqa: E402


SANITIZED = "--enable-sanitize" in open(os.path.join(BUILD, "config.log")).read(10000)


def owner(pid):
    return pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name


def status(pid, key):
    return re.search(rf"^{key}:\s*(\S+)", open(f"/proc/{pid}/status").read(), re.M).group(1)


class StartAndStop(unittest.TestCase):
    def test_serves_and_stops_with_nothing_left(self):
        with Server() as s:
            with s.session() as c:
                self.assertEqual(c.cmd("hello"), "ECHO hello")
                pids = list(s.processes()) + [s.master()]
                self.assertEqual(s.stop(), 0)
                self.assertEqual(c.line(), "BYE shutdown")
            # Orphans' last traces are the init process's to remove.
            left = [pid for pid in pids if os.path.exists(f"/proc/{pid}") and status(pid, "State") != "Z"]
            self.assertEqual(left, [])
            self.assertEqual([f for f in os.listdir(s.run) if f != "empty"], [])

    def test_titles_show_what_each_process_is(self):
        with Server("verbose_proctitle = yes") as s, s.session() as c:
            c.cmd("x")
            titles = sorted(set(s.processes().values()))
            for title in ("culver auth", "culver front", "culver spawner", "culver worker: alice (1 sessions, 0 jobs)"):
                self.assertIn(title, titles)

    def test_background_start_reports_success_and_failure(self):
        s = Server()
        try:
            r = subprocess.run(s.command(), capture_output=True, text=True, timeout=60, env=s.env)
            self.assertEqual((r.returncode, r.stderr), (0, ""), s.log())
            self.assertTrue(s.can_log_in())
            again = subprocess.run(s.command(), capture_output=True, text=True, timeout=60, env=s.env)
            self.assertEqual(again.returncode, 1)
            self.assertIn("runs already as process %d" % s.master(), again.stderr)
            self.assertTrue(s.can_log_in())
            master = s.master()
            os.kill(master, signal.SIGTERM)
            wait_until("the end", lambda: not os.path.exists(os.path.join(s.run, "master.pid")))
        finally:
            s.close()

    def test_a_port_in_use_is_one_clear_error_and_exit_1(self):
        s = Server()
        try:
            with socket.socket() as other:
                other.bind(("127.0.0.1", s.port))
                other.listen()
                r = subprocess.run(s.command(), capture_output=True, text=True, timeout=60, env=s.env)
            self.assertEqual(r.returncode, 1)
            self.assertIn(f"127.0.0.1 port {s.port} is in use by another program", r.stderr)
            self.assertFalse(os.path.exists(os.path.join(s.run, "master.pid")))
        finally:
            s.close()

    def test_all_settings_errors_are_told_at_once(self):
        s = Server("first_valid_uidd = 3\nssl = perhaps")
        try:
            r = subprocess.run(s.command("-t"), capture_output=True, text=True, timeout=60, env=s.env)
            self.assertEqual(r.returncode, 1)
            self.assertIn("first_valid_uid", r.stderr)
            self.assertIn("perhaps", r.stderr)
        finally:
            s.close()

    def test_listeners_that_cannot_be_are_told_with_their_places(self):
        s = Server(sections="[listener one]\nprotocol = ekho\nport = 4711\n\n[listener two]\nprotocol = echo\nport = 4712\n\n"
                   "[listener three]\nprotocol = echo\nport = 4712\n")
        try:
            r = subprocess.run(s.command("-t"), capture_output=True, text=True, timeout=60, env=s.env)
            self.assertEqual(r.returncode, 1)
            with open(s.conf) as f:
                lines = f.read().splitlines()
            self.assertIn(f"{s.conf}:{lines.index('protocol = ekho') + 1}: [listener one]: there is no protocol ekho", r.stderr)
            self.assertIn(f"{s.conf}:{len(lines) - lines[::-1].index('port = 4712')}: listeners two and three have the same address and port", r.stderr)
        finally:
            s.close()

    def test_a_protocol_without_module_is_refused(self):
        s = Server()
        try:
            r = subprocess.run(s.command("-t", "-o", "protocols=echo drop nosuch"), capture_output=True, text=True, timeout=60, env=s.env)
            self.assertEqual(r.returncode, 1)
            self.assertIn("nosuch", r.stderr)
        finally:
            s.close()

    def test_modules_are_listed_by_role(self):
        s = Server()
        try:
            r = subprocess.run(s.command("-M"), capture_output=True, text=True, timeout=60, env=s.env, check=True)
            front, rest = r.stdout.split("\nauth\n")
            self.assertIn("echo-login", front)
            self.assertNotIn("echo-login", rest)
        finally:
            s.close()

    def test_socket_activation_and_notification(self):
        with socket.socket() as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            fd = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 50)
            s = Server(env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo", "WATCHDOG_USEC": "400000"}, listen_fd=fd)
            s.port = listener.getsockname()[1]
            s.write()
            path = os.path.join(s.dir, "notify")
            notify.bind(path)
            notify.settimeout(20)
            s.env["NOTIFY_SOCKET"] = path
            try:
                s.spawn()
                seen = set()
                while not any(m.startswith("READY=1") for m in seen):
                    seen.add(notify.recv(4096).decode())
                self.assertTrue(s.can_log_in())
                wait_until("the watchdog", lambda: notify.recv(4096) == b"WATCHDOG=1")
                s.proc.send_signal(signal.SIGHUP)
                wait_until("RELOADING", lambda: notify.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC="))
                wait_until("READY", lambda: notify.recv(4096).startswith(b"READY=1"))
                self.assertEqual(s.stop(), 0)
                wait_until("STOPPING", lambda: notify.recv(4096).startswith(b"STOPPING=1"))
            finally:
                s.close()

    @unittest.skipUnless(shutil.which("systemd-socket-activate"), "no systemd-socket-activate")
    def test_started_by_the_first_connection(self):
        s = Server()
        command = ["systemd-socket-activate", "-l", f"127.0.0.1:{s.port}", "--fdname=echo", "-E", "ASAN_OPTIONS"] + s.command("-F")
        s.err = open(os.path.join(s.dir, "stderr"), "ab")
        s.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=s.err, stderr=s.err, env=s.env, cwd="/", start_new_session=True)
        try:
            wait_until("the socket", lambda: "Listening on" in s.stderr())
            self.assertEqual(s.log(), "")
            with s.client(timeout=30) as c:
                self.assertEqual(c.login("alice"), "OK logged in resume")
            self.assertEqual(s.stop(), 0)
        finally:
            s.close()

    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze")
    def test_unit_files_are_sound_and_tight(self):
        units = [os.path.join(BUILD, name) for name in ("culver.service", "culver.socket")]
        with tempfile.TemporaryDirectory(prefix="culver-units.") as d:
            for unit in units:
                # What they name need not be installed.
                text = re.sub(r"(?m)^(Exec\w+=)\S+", r"\1/bin/true", open(unit).read())
                with open(os.path.join(d, os.path.basename(unit)), "w") as f:
                    f.write(text)
            paths = [os.path.join(d, name) for name in ("culver.service", "culver.socket")]
            r = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            r = subprocess.run(["systemd-analyze", "security", "--offline=true", paths[0]], capture_output=True, text=True)
            level = float(re.search(r"Overall exposure level.*?: ([0-9.]+)", r.stdout).group(1))
            self.assertLessEqual(level, 4.0, r.stdout)

    def test_the_log_is_reopened_on_sigusr1(self):
        with Server() as s:
            os.rename(s.log_path, s.log_path + ".1")
            s.proc.send_signal(signal.SIGUSR1)
            s.wait_log("the log is reopened")
            self.assertTrue(s.can_log_in())
            # From a front behind its empty root, and from a worker.
            s.wait_log("front.*login protocol=echo")
            s.wait_log("worker.*echo session ended")


@unittest.skipUnless(ROOT, "needs root")
class Privileges(unittest.TestCase):
    def test_every_role_has_its_own_user(self):
        with Server() as s, s.session() as c:
            for pid in s.pids("front"):
                self.assertEqual(owner(pid), "nobody")
                self.assertEqual(os.listdir(f"/proc/{pid}/root/"), [])
            for pid in s.pids("auth"):
                self.assertEqual(owner(pid), "daemon")
            self.assertEqual(owner(s.pids("spawner")[0]), "root")
            me = c.whoami()
            pw = pwd.getpwnam(MAIL_USER)
            self.assertEqual(me["uid"], "%d,%d,%d" % ((pw.pw_uid,) * 3))
            self.assertEqual((me["gid"], me["groups"], me["nnp"], me["back"]), (str(pw.pw_gid), "0", "1", "-1"))

    def test_capabilities_are_gone(self):
        with Server() as s, s.session() as c:
            for pid in s.pids("front") + [int(c.whoami()["pid"])]:
                for key in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                    self.assertEqual(int(status(pid, key), 16), 0)

    def test_root_and_ids_outside_the_bounds_are_refused(self):
        s = Server("first_valid_uid = 500", users=("alice",))
        with open(s.users, "a") as f:
            f.write(f"toor:{{PLAIN}}pass:0:0::{s.mail}/toor\nlow:{{PLAIN}}pass:3:1000::{s.mail}/low\n")
            f.write(f"zero:{{PLAIN}}pass:1000:0::{s.mail}/zero\n")
        with s:
            for user, why in (("toor", "uid 0 is not within"), ("low", "uid 3 is not within"), ("zero", "gid 0 is (not within|outside)")):
                with s.client() as c:
                    self.assertTrue(c.login(user).startswith("NO"))
                s.wait_log(why)
            self.assertTrue(s.can_log_in("alice"))

    def test_a_missing_home_is_made_for_its_owner_only(self):
        s = Server(users=("alice",))
        pw = pwd.getpwnam(MAIL_USER)
        homes = os.path.join(s.dir, "homes")
        os.mkdir(homes, 0o755)
        with open(s.users, "a") as f:
            f.write(f"new:{{PLAIN}}pass:{pw.pw_uid}:{pw.pw_gid}::{homes}/deep/new\n")
            f.write(f"own:{{PLAIN}}pass:{pw.pw_uid}:{pw.pw_gid}::{s.mail}/sub/own\n")
        with s:
            for user, home in (("new", homes + "/deep/new"), ("own", s.mail + "/sub/own")):
                self.assertTrue(s.can_log_in(user), s.log())
                st = os.stat(home)
                self.assertEqual((st.st_uid, st.st_gid, st.st_mode & 0o7777), (pw.pw_uid, pw.pw_gid, 0o700))
            st = os.stat(homes + "/deep")
            self.assertEqual((st.st_uid, st.st_gid, st.st_mode & 0o7777), (0, 0, 0o755))


class Confinement(unittest.TestCase):
    def test_front_does_not_map_the_mail_library(self):
        with Server() as s:
            for pid in s.pids("front") + s.pids("auth"):
                self.assertNotIn("libculver-mail", open(f"/proc/{pid}/maps").read())

    def test_front_has_a_filter_and_can_gain_nothing(self):
        with Server() as s:
            for pid in s.pids("front"):
                self.assertEqual(status(pid, "NoNewPrivs"), "1")
                self.assertEqual(status(pid, "Seccomp"), "2")

    def test_spawner_and_workers_have_a_filter_and_workers_gain_nothing(self):
        with Server() as s, s.session("alice") as c:
            worker = c.whoami()["pid"]
            for pid in s.pids("spawner") + [worker]:
                self.assertEqual(status(pid, "Seccomp"), "2")
            # One that it has from the spawner.
            self.assertEqual(status(worker, "Seccomp_filters"), status(s.pids("spawner")[0], "Seccomp_filters"))
            self.assertEqual(status(worker, "NoNewPrivs"), "1")
            self.assertEqual(int(status(worker, "CapPrm"), 16), 0)

    def test_a_worker_reaches_its_users_files_only(self):
        with Server() as s, s.session("alice") as c:
            if "no Landlock" in s.log():
                self.skipTest("the kernel has no Landlock")
            with open(os.path.join(s.dir, "secret"), "w") as f:
                f.write("x")
            self.assertEqual(c.cmd(f"WRITE {s.mail}/alice/mail/mine"), "OK open")
            self.assertEqual(c.cmd(f"READ {s.dir}/secret"), "OK Permission denied")
            self.assertEqual(c.cmd(f"WRITE {s.mail}/bob"), "OK Permission denied")
            self.assertEqual(c.cmd("READ /tmp"), "OK Permission denied")
            self.assertEqual(c.cmd("UNSHARE"), "OK Operation not permitted")

    def test_a_worker_inherits_no_descriptor(self):
        with Server() as s, s.session("alice") as a, s.session("bob") as b:
            fds = {os.readlink(f"/proc/{a.whoami()['pid']}/fd/{fd}") for fd in os.listdir(f"/proc/{a.whoami()['pid']}/fd")}
            sockets = [fd for fd in fds if fd.startswith("socket:")]
            # The channel to the spawner and the connection.
            self.assertEqual(len(sockets), 2, fds)
            self.assertFalse([fd for fd in fds if "culver-settings" in fd or "culver-tls" in fd], fds)
            self.assertNotEqual(a.whoami()["pid"], b.whoami()["pid"])


class Sessions(unittest.TestCase):
    def test_one_user_has_one_worker(self):
        with Server() as s, s.session() as a, s.session() as b:
            self.assertEqual(a.whoami()["pid"], b.whoami()["pid"])

    def test_wrong_password_and_unknown_user_are_told_alike(self):
        with Server() as s, s.client() as c:
            self.assertEqual(c.login("alice", "wrong"), "NO auth")
            self.assertEqual(c.login("nobody-knows", "wrong"), "NO auth")
            self.assertEqual(c.login("alice"), "OK logged in resume")

    def test_input_that_came_with_the_login_is_not_lost(self):
        with Server(tls=True) as s:
            for c in (s.client(), s.tls_client()):
                c.send("LOGIN alice pass\r\nfirst\r\nsecond")
                self.assertEqual([c.line() for _ in range(3)], ["OK logged in resume", "ECHO first", "ECHO second"])
                c.close()

    def test_limit_of_a_user_from_one_address(self):
        with Server("mail_max_userip_connections = 2") as s, s.session() as a, s.session():
            with s.client() as c:
                self.assertIn("mail_max_userip_connections=2", c.login("alice"))
                # Who it was, and which setting.
                s.wait_log(r"user=alice remote=127\.0\.0\.1 echo session was not started: .*mail_max_userip_connections=2")
                self.assertEqual(c.login("bob"), "OK logged in resume")
            # Whoever was told that a session is over can have the next at once.
            self.assertEqual(a.cmd("QUIT"), "OK bye")
            for _ in range(50):
                with s.client() as c:
                    self.assertEqual(c.login("alice"), "OK logged in resume")
                    with s.client() as d:
                        self.assertIn("mail_max_userip_connections=2", d.login("alice"))
                    self.assertEqual(c.cmd("QUIT"), "OK bye")

    def test_limit_over_tls_leaves_the_connection_as_it_was(self):
        with Server("mail_max_userip_connections = 1", tls=True) as s, s.tls_client() as c:
            self.assertEqual(c.login("alice"), "OK logged in resume")
            for _ in range(20):
                with s.tls_client() as d:
                    self.assertIn("mail_max_userip_connections=1", d.login("alice"))
                    self.assertEqual(d.login("bob"), "OK logged in resume")
                    self.assertEqual(d.cmd("QUIT"), "OK bye")

    def test_sessions_of_a_user_are_bounded(self):
        with Server(sections="[service worker]\nclient_limit = 2\n") as s, s.session("alice"), s.session("alice"):
            with s.client() as c:
                self.assertIn("client_limit=2", c.login("alice"))
                self.assertEqual(c.login("bob"), "OK logged in resume")
            s.wait_log(r"user=alice .*\[service worker\] client_limit=2")

    def test_workers_are_bounded(self):
        with Server("default_process_limit = 1") as s, s.session("alice") as a:
            with s.client() as c:
                self.assertTrue(c.login("bob").startswith("NO"))
                s.wait_log("bob: all 1 workers are in use .default_process_limit")
                self.assertEqual(s.deliver("bob", "x"), "NO temp")
                self.assertEqual(a.cmd("QUIT"), "OK bye")
                # A worker with nothing to do makes room.
                wait_until("room", lambda: c.login("bob").startswith("OK"))

    @unittest.skipIf(SANITIZED, "shadow memory is beyond any bound")
    def test_memory_of_a_worker_is_bounded(self):
        with Server(sections="[service worker]\nvsz_limit = 200M\n") as s, s.session("alice") as a, s.session("bob") as b:
            self.assertEqual(a.cmd("ALLOC 8"), "OK allocated")
            self.assertEqual(a.cmd("ALLOC 500"), "")
            s.wait_log(r"worker.*out of memory.*209715200 octets of address space \(vsz_limit")
            s.wait_log("user=alice worker .* was killed by signal|user=alice worker .* ended with status")
            self.assertEqual(b.cmd("x"), "ECHO x")
            self.assertTrue(s.can_log_in("alice"))

    def test_a_long_command_does_not_hold_up_others(self):
        with Server() as s, s.session() as slow, s.session() as quick:
            slow.send("STEP 200")
            begin = time.monotonic()
            for _ in range(5):
                self.assertEqual(quick.cmd("x"), "ECHO x")
            self.assertLess(time.monotonic() - begin, 1.5)
            self.assertEqual(slow.line(), "OK stepped")

    def test_idle_workers_end_and_no_login_is_lost_to_the_race(self):
        with Server(sections="[service worker]\nidle_kill = 1ms\n") as s:
            pids = set()
            for i in range(150):
                with s.session() as c:
                    pids.add(c.whoami()["pid"])
                    c.cmd("QUIT")
                if i % 3 == 0:
                    time.sleep(0.004)
            self.assertGreater(len(pids), 1)
            wait_until("all workers' end", lambda: not s.pids("worker: alice"))
            self.assertNotIn("ended with status", s.log())

    def test_of_too_many_idle_workers_those_idle_longest_end(self):
        with Server(sections="[service worker]\nidle_limit = 2\n", users=("alice", "bob", "carol", "dave", "erin")) as s, s.session("dave") as busy:
            for user in ("alice", "bob", "alice", "carol", "erin"):
                with s.session(user) as c:
                    c.cmd("QUIT")
            wait_until("two idle workers and the busy one", lambda: not s.pids("worker: alice") and not s.pids("worker: bob"))
            for user in ("carol", "erin", "dave"):
                self.assertEqual(len(s.pids(f"worker: {user}")), 1, s.processes())
            self.assertEqual(busy.cmd("x"), "ECHO x")
            with s.session("alice") as c:
                self.assertEqual(c.cmd("x"), "ECHO x")


class Sockets(unittest.TestCase):
    """Options that are set once, on the listening socket, and come with each connection (tcp(7), socket(7))."""

    WANTED = {"TCP_NODELAY": (socket.IPPROTO_TCP, socket.TCP_NODELAY), "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE)}

    def server_side(self, s, sock):
        """The server's end of a client's connection, borrowed from the process that has it."""
        local, remote = (f"{ip:08X}:{port:04X}" for ip, port in ((0x0100007F, sock.getpeername()[1]), (0x0100007F, sock.getsockname()[1])))
        inode = next(f[9] for f in map(str.split, open("/proc/net/tcp")) if f[1:3] == [local, remote])
        for pid in list(s.processes()):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                        return self.take(pid, int(fd))
                except FileNotFoundError:
                    pass
        self.fail("no process has the connection")

    def take(self, pid, fd):
        call = ctypes.CDLL(None, use_errno=True).syscall
        process = os.pidfd_open(pid)
        got = call(438, process, fd, 0)  # pidfd_getfd
        os.close(process)
        if got < 0:
            self.skipTest(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
        return socket.socket(fileno=got)

    def check(self, s, c, when):
        with self.server_side(s, c.sock) as sock:
            for name, (level, option) in self.WANTED.items():
                self.assertNotEqual(sock.getsockopt(level, option), 0, f"{name} {when}")

    def test_accepted_sockets_have_the_options_of_their_listener(self):
        with Server(tls=True) as s:
            with s.client() as c:
                self.check(s, c, "before login")
                c.login("alice")
                c.cmd("x")
                self.check(s, c, "of a session")
            with s.tls_client() as c:
                c.login("alice")
                c.cmd("x")
                self.check(s, c, "of a session over TLS")


class Exec(unittest.TestCase):
    """worker_exec: the same as ever, but for the address space."""

    def maps(self, pid):
        return {line.split()[-1]: line.split("-")[0] for line in reversed(open(f"/proc/{pid}/maps").read().splitlines()) if "libc.so" in line}

    def test_workers_have_a_layout_of_their_own(self):
        with Server("worker_exec = yes\nverbose_proctitle = yes") as s, s.session("alice") as a, s.session("bob") as b:
            pids = [int(c.whoami()["pid"]) for c in (a, b)]
            layouts = [tuple(self.maps(pid).values()) for pid in pids + s.pids("spawner")]
            self.assertEqual(len(set(layouts)), 3, layouts)
            self.assertIn("culver worker: alice (1 sessions, 0 jobs)", s.processes().values())
            me = a.whoami()
            if ROOT:
                self.assertEqual(me["uid"], "%d,%d,%d" % ((pwd.getpwnam(MAIL_USER).pw_uid,) * 3))
                self.assertEqual((me["groups"], me["nnp"], me["back"]), ("0", "1", "-1"))
            for pid in pids:
                fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
                self.assertEqual(len([fd for fd in fds if fd.startswith("socket:")]), 2, fds)
                self.assertFalse([fd for fd in fds if "memfd" in fd], fds)
            if "no Landlock" not in s.log():
                self.assertEqual(a.cmd(f"WRITE {s.mail}/bob/x"), "OK Permission denied")
            self.assertEqual(s.deliver("alice", "hello"), "OK 5 octets for payload")
            s.proc.send_signal(signal.SIGUSR1)
            s.wait_log("the log is reopened")
            self.assertEqual(s.stop(), 0)
            self.assertEqual(a.line(), "BYE shutdown")

    def test_a_reload_switches_it(self):
        with Server() as s, s.session("alice") as a:
            s.write("worker_exec = yes")
            s.reload()
            with s.session("bob") as b:
                spawner = tuple(self.maps(s.pids("spawner")[0]).values())
                self.assertEqual(tuple(self.maps(a.whoami()["pid"]).values()), spawner)
                self.assertNotEqual(tuple(self.maps(b.whoami()["pid"]).values()), spawner)

    def test_a_worker_that_cannot_start_is_a_temporary_failure(self):
        with Server("worker_exec = yes") as s:
            os.rename(os.path.join(s.modules, "echo.so"), os.path.join(s.dir, "away"))
            with s.client() as c:
                self.assertTrue(c.login("alice").startswith("NO temp"))
                s.wait_log("worker.*cannot start: .*echo")
                os.rename(os.path.join(s.dir, "away"), os.path.join(s.modules, "echo.so"))
                self.assertEqual(c.login("alice"), "OK logged in resume")


class Jobs(unittest.TestCase):
    def test_jobs_are_answered(self):
        with Server() as s:
            self.assertEqual(s.deliver("alice", "hello"), "OK 5 octets for payload")
            self.assertEqual(s.deliver("nobody-knows", "hello"), "NO user")
            self.assertEqual(s.deliver("alice", "refuse"), "NO perm")

    def test_jobs_behind_a_worker_that_hangs_are_bounded(self):
        with Server() as s, s.session() as c:
            worker = int(c.whoami()["pid"])
            os.kill(worker, signal.SIGSTOP)
            held = []
            try:
                def ask():
                    d = Client(0, path=s.drop, timeout=60)
                    d.send("DELIVER alice x")
                    held.append(d)
                    return d

                for _ in range(256):
                    ask()

                def refused():
                    # One that is taken, since some of those before it have not come so far yet, waits with them.
                    d = ask()
                    if not select.select([d.sock], [], [], 1)[0]:
                        return False
                    held.remove(d)
                    return d.line() == "NO temp"

                wait_until("a refusal", refused)
                self.assertEqual(s.deliver("bob", "x"), "OK 1 octets for payload")
            finally:
                os.kill(worker, signal.SIGCONT)
            # Those that came in time for the 256 places, whichever they are.
            answers = [d.line() for d in held]
            self.assertEqual(answers.count("OK 1 octets for payload"), 256, answers)
            self.assertEqual(answers.count("NO temp"), len(answers) - 256)
            for d in held:
                d.close()
            self.assertEqual(s.deliver("alice", "x"), "OK 1 octets for payload")

    def test_a_crash_in_a_job_is_temporary_and_others_go_on(self):
        # A sanitized server would end otherwise: with a report.
        with Server(env={"ASAN_OPTIONS": "detect_leaks=0:handle_segv=0"}) as s, s.session("bob") as b:
            self.assertEqual(s.deliver("alice", "crash"), "NO temp")
            s.wait_log("user=alice worker .* was killed by signal 11")
            self.assertEqual(s.deliver("alice", "hello"), "OK 5 octets for payload")
            self.assertEqual(b.cmd("x"), "ECHO x")


class Crashes(unittest.TestCase):
    def test_a_worker_takes_only_its_own_sessions_down(self):
        with Server() as s, s.session("alice") as a, s.session("bob") as b:
            pid = int(a.whoami()["pid"])
            os.kill(pid, signal.SIGKILL)
            self.assertEqual(a.line(), "")
            self.assertEqual(b.cmd("x"), "ECHO x")
            s.wait_log(rf"user=alice worker \(pid {pid}\) was killed by signal 9")
            self.assertTrue(s.can_log_in("alice"))

    def test_front_is_replaced_and_plain_sessions_stay(self):
        with Server() as s, s.session() as c:
            for pid in s.pids("front"):
                os.kill(pid, signal.SIGKILL)
            s.wait_log("front .* was killed by signal 9")
            wait_until("logins", s.can_log_in)
            self.assertEqual(c.cmd("x"), "ECHO x")

    def test_a_front_answers_nobody_before_auth_told_its_mechanisms(self):
        with Server() as s:
            auth, fronts = s.pids("auth")[0], s.pids("front")
            os.kill(auth, signal.SIGSTOP)
            try:
                for pid in fronts:
                    os.kill(pid, signal.SIGKILL)
                wait_until("new fronts", lambda: len(set(s.pids("front")) - set(fronts)) == len(fronts))
                with s.client(greeting=False) as c:
                    c.sock.settimeout(0.7)
                    with self.assertRaises(TimeoutError):
                        c.sock.recv(1)
                    os.kill(auth, signal.SIGCONT)
                    c.sock.settimeout(10)
                    self.assertEqual(c.line(), "OK Culver ready.")
                    self.assertIn("AUTH=", c.cmd("CAPA"))
                    self.assertEqual(c.login("alice"), "OK logged in resume")
            finally:
                os.kill(auth, signal.SIGCONT)

    def test_auth_is_replaced_and_sessions_stay(self):
        with Server() as s, s.session() as c:
            os.kill(s.pids("auth")[0], signal.SIGKILL)
            s.wait_log("auth .* was killed by signal 9")
            wait_until("logins", s.can_log_in)
            self.assertEqual(c.cmd("x"), "ECHO x")
            self.assertEqual(s.deliver("alice", "hello"), "OK 5 octets for payload")

    def test_spawner_is_replaced(self):
        with Server() as s, s.session() as c:
            os.kill(s.pids("spawner")[0], signal.SIGKILL)
            s.wait_log("spawner .* was killed by signal 9")
            # One owner: the old worker ends, so that a new one may take the user's mail.
            self.assertEqual(c.line(), "BYE shutdown")
            wait_until("logins", s.can_log_in)
            self.assertEqual(s.deliver("alice", "hello"), "OK 5 octets for payload")

    def test_a_channel_that_broke_is_made_anew(self):
        with Server(sections="[service front]\nprocess_limit = 1\n") as s, s.session("bob") as b:
            spawner = s.pids("spawner")[0]
            soft, hard = resource.prlimit(spawner, resource.RLIMIT_NOFILE)
            self.assertEqual(b.cmd("x"), "ECHO x")
            # Bob's connection has gone on to his worker: a number that the spawner gives back later would let the next one in.
            open_fds = []
            wait_until("a quiet spawner", lambda: open_fds.append(os.listdir(f"/proc/{spawner}/fd")) or open_fds[-1:] * 3 == open_fds[-3:])
            used = min(set(range(1000)) - {int(fd) for fd in open_fds[-1]})
            with s.client() as c:
                # The connection cannot arrive: the spawner cuts the channel, as it does with whatever breaks the rules.
                resource.prlimit(spawner, resource.RLIMIT_NOFILE, (used, hard))
                answer = c.login("alice")
                resource.prlimit(spawner, resource.RLIMIT_NOFILE, (soft, hard))
            self.assertIn(answer, ("", "NO unavailable Temporary failure"), s.log())
            s.wait_log("lost its channel to spawner")
            wait_until("logins", s.can_log_in)
            self.assertEqual(s.deliver("alice", "hello"), "OK 5 octets for payload")
            self.assertEqual(b.cmd("x"), "ECHO x")
            self.assertEqual(s.pids("spawner"), [spawner])

    def test_the_spawner_keeps_descriptors_back(self):
        with Server(nofile=134, sections="[service front]\nprocess_limit = 1\n", users=["u%d" % i for i in range(12)]) as s:
            held, answers = [], []
            for i in range(12):
                c = s.client()
                held.append(c)
                answers.append(c.login("u%d" % i))
            self.assertIn("OK logged in resume", answers)
            self.assertTrue(answers[-1].startswith("NO limit"), answers)
            s.wait_log(r"spawner has no descriptors left.*LimitNOFILE")
            for c in held:
                c.cmd("QUIT")
                c.close()
            self.assertNotRegex(s.log(), "refused|lost its channel")

    def test_nobody_outlives_the_master(self):
        with Server() as s, s.session():
            pids = list(s.processes())
            self.assertGreater(len(pids), 4)
            s.proc.kill()
            s.proc.wait()
            wait_until("the end of all", lambda: not any(os.path.exists(f"/proc/{pid}") and status(pid, "State") != "Z" for pid in pids))
            # The next one finds nothing in its way.
            s.start()
            self.assertTrue(s.can_log_in())

    def test_one_that_dies_again_and_again_is_waited_for(self):
        with Server() as s:
            times = []
            for _ in range(7):
                # One that has forked its starter, whose title is the same for a moment.
                old = wait_until("auth", lambda: s.pids("auth-starter") and len(s.pids("auth")) == 1 and s.pids("auth"))
                os.kill(old[0], signal.SIGKILL)
                times.append(time.monotonic())
                wait_until("another", lambda: s.pids("auth") and s.pids("auth-starter") and old[0] not in s.pids("auth"))
            # At once, and then after 0.1, 0.2, 0.4, 0.8 and 1.6 seconds.
            self.assertGreater(times[6] - times[1], 2.9)
            s.wait_log("auth is started again in 1 s")
            wait_until("logins", s.can_log_in)

    def test_one_that_cannot_start_any_more_is_tried_in_ever_longer_pauses(self):
        with Server() as s, s.session() as c:
            os.rename(os.path.join(s.modules, "sasl.so"), os.path.join(s.dir, "away"))
            os.kill(s.pids("auth")[0], signal.SIGKILL)
            s.wait_log("auth is started again in 1 s", timeout=30)
            said = [line for line in s.log().splitlines() if " auth[" in line and "sasl" in line]
            self.assertLess(len(said), 8)
            self.assertNotIn("not allowed in this state", s.log())
            self.assertEqual(c.cmd("x"), "ECHO x")
            with s.client() as n:
                self.assertTrue(n.login("alice").startswith("NO"))
            os.rename(os.path.join(s.dir, "away"), os.path.join(s.modules, "sasl.so"))
            wait_until("logins", s.can_log_in, 30)


class Reload(unittest.TestCase):
    def test_a_refused_reload_opens_no_listener(self):
        with Server(tls=True) as s:
            port = free_port()
            with open(s.dir + "/cert.pem", "rb") as f:
                good = f.read()
            with open(s.dir + "/cert.pem", "w") as f:
                f.write("no certificate\n")
            s.write(sections=f"[listener more]\nprotocol = echo\nport = {port}\n")
            s.reload()
            self.assertIn("the new settings are not taken", s.log())
            with self.assertRaises(ConnectionRefusedError):
                Client(port)
            with open(s.dir + "/cert.pem", "wb") as f:
                f.write(good)
            s.reload()
            with Client(port) as c:
                self.assertEqual(c.login("alice"), "OK logged in resume")

    def test_connections_stay_and_new_ones_have_the_new_settings(self):
        with Server(tls=True) as s, s.session() as c, s.tls_client() as t, s.client() as before:
            self.assertEqual(t.login("bob"), "OK logged in resume")
            s.write("login_greeting = Changed.")
            s.reload()
            with s.client() as n:
                self.assertEqual(n.greeting, "OK Changed.")
            self.assertEqual(c.cmd("x"), "ECHO x")
            self.assertEqual(t.cmd("x"), "ECHO x")
            self.assertEqual(before.login("alice"), "OK logged in resume")

    def test_bad_settings_are_refused_whole_and_the_old_ones_stay(self):
        with Server() as s, s.session() as c:
            s.write("login_greeting = Changed.\nno_such_setting = 1\nanother_bad = 2")
            s.reload()
            self.assertIn("no_such_setting", s.log())
            self.assertIn("another_bad", s.log())
            with s.client() as n:
                self.assertEqual(n.greeting, "OK Culver ready.")
            self.assertEqual(c.cmd("x"), "ECHO x")

    def test_listeners_come_and_go(self):
        with Server() as s:
            port = free_port()
            s.write(sections=f"[listener more]\nprotocol = echo\nport = {port}\n")
            s.reload()
            with Client(port) as c:
                self.assertEqual(c.login("alice"), "OK logged in resume")
                s.write()
                s.reload()
                self.assertEqual(c.cmd("x"), "ECHO x")
                with self.assertRaises(ConnectionRefusedError):
                    Client(port)
                self.assertEqual(c.cmd("y"), "ECHO y")
            self.assertNotRegex(s.log(), "killed|spawner .* ended")

    def test_a_listener_becomes_another_and_sessions_stay(self):
        with Server(tls=True) as s, s.session() as c, s.tls_client() as t:
            self.assertEqual(t.login("bob"), "OK logged in resume")
            spawner = s.pids("spawner")
            s.listeners = False
            # One port changes its meaning, the other is gone.
            s.write(sections=f"[listener echos]\nport = {s.port}\nssl = yes\n")
            s.reload()
            self.assertEqual(c.cmd("x"), "ECHO x")
            self.assertEqual(t.cmd("x"), "ECHO x")
            with Client(s.port, tls=s.tls_context()) as n:
                self.assertEqual(n.login("alice"), "OK logged in resume")
            with self.assertRaises(ConnectionRefusedError):
                Client(s.tls_port)
            self.assertEqual(s.pids("spawner"), spawner)

    @unittest.skipUnless(hasattr(socket, "TCP_DEFER_ACCEPT"), "no TCP_DEFER_ACCEPT")
    def test_front_is_woken_for_the_first_words_of_tls_only(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port, fd = listener.getsockname()[1], fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 50)
            tls, plain = f"[listener echos]\nport = {port}\nssl = yes\n", f"[listener echo]\nport = {port}\n"
            s = Server(tls=True, listeners=False, sections=tls, env={"LISTEN_FDS": "1"}, listen_fd=fd)
            try:
                s.start()
                self.assertGreater(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT), 0)
                with Client(port, tls=s.tls_context()) as c:
                    self.assertEqual(c.login("alice"), "OK logged in resume")
                s.write(sections=plain)
                s.reload()
                self.assertEqual(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT), 0)
                with Client(port) as c:
                    self.assertEqual(c.login("alice"), "OK logged in resume")
                s.write(sections=tls)
                s.reload()
                self.assertGreater(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT), 0)
            finally:
                s.close()

    def test_what_only_one_part_reads_is_refused_for_all(self):
        with Server() as s:
            s.write("login_greeting = Changed.\nauth_mechanisms = plain no-such")
            s.reload()
            self.assertNotIn("settings are reloaded", s.log())
            self.assertRegex(s.log(), "settings: [^ ]+:[0-9]+: auth_mechanisms: no loaded module provides no-such")
            with s.client() as n:
                self.assertEqual(n.greeting, "OK Culver ready.")
            self.assertTrue(s.can_log_in())
            s.write("login_greeting = Better.")
            s.reload()
            self.assertIn("settings are reloaded", s.log())
            with s.client() as n:
                self.assertEqual(n.greeting, "OK Better.")

    def test_other_modules_replace_processes_and_no_connection(self):
        with Server(tls=True) as s, s.session() as c, s.tls_client() as t:
            self.assertEqual(t.login("bob"), "OK logged in resume")
            fronts, spawner = s.pids("front"), s.pids("spawner")
            s.write("protocols = echo")
            s.reload()
            self.assertFalse(os.path.exists(s.drop))
            self.assertEqual(s.pids("spawner"), spawner)
            # The old ones live for their connections; others take the new.
            self.assertGreater(len(set(s.pids("front")) - set(fronts)), 0)
            self.assertEqual(c.cmd("x"), "ECHO x")
            self.assertEqual(t.cmd("x"), "ECHO x")
            self.assertTrue(s.can_log_in())
            t.cmd("QUIT")
            wait_until("the old fronts' end", lambda: not set(s.pids("front")) & set(fronts))
            s.write()
            s.reload()
            self.assertEqual(s.deliver("alice", "hello"), "OK 5 octets for payload")

    def test_more_and_fewer_fronts(self):
        with Server(sections="[service front]\nprocess_limit = 1\n") as s, s.session() as c:
            self.assertEqual(len(s.pids("front")), 1)
            s.write(sections="[service front]\nprocess_limit = 3\n")
            s.reload()
            wait_until("three fronts", lambda: len(s.pids("front")) == 3)
            s.write(sections="[service front]\nprocess_limit = 1\n")
            s.reload()
            wait_until("one front", lambda: len(s.pids("front")) == 1)
            self.assertEqual(c.cmd("x"), "ECHO x")
            self.assertTrue(s.can_log_in())


class Tls(unittest.TestCase):
    def subject(self, s):
        pem = ssl.get_server_certificate(("127.0.0.1", s.tls_port))
        return subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem, capture_output=True, text=True).stdout

    def test_implicit_and_starttls(self):
        with Server(tls=True) as s:
            with s.tls_client() as c:
                self.assertEqual(c.login("alice"), "OK logged in resume")
                self.assertEqual(c.cmd("x" * 1000), "ECHO " + "x" * 1000)
            with s.client() as c:
                self.assertIn("STARTTLS", c.cmd("CAPA"))
                c.starttls(s.tls_context())
                self.assertNotIn("STARTTLS", c.cmd("CAPA"))
                self.assertEqual(c.login("alice"), "OK logged in resume")

    def test_what_was_sent_before_starttls_is_not_believed(self):
        with Server(tls=True) as s, s.client() as c:
            c.sock.sendall(b"STARTTLS\r\nNOOP\r\nLOGIN alice pass\r\n")
            self.assertEqual(c.line(), "OK begin")
            c.file.detach()
            c.sock = s.tls_context().wrap_socket(c.sock, server_hostname="localhost")
            c.file = c.sock.makefile("rb")
            self.assertTrue(c.cmd("CAPA").startswith("OK"))

    def test_alpn_of_another_protocol_is_refused(self):
        with Server(tls=True) as s:
            with s.tls_client(alpn="echo") as c:
                self.assertTrue(c.greeting.startswith("OK"))
            with self.assertRaises(ssl.SSLError):
                s.tls_client(alpn="http/1.1")

    def test_a_renewed_certificate_is_served_and_a_broken_one_is_not(self):
        with Server(tls=True) as s, s.tls_client() as c:
            self.assertIn("one", self.subject(s))
            make_certificate(s.dir, "two")
            wait_until("the new certificate", lambda: "two" in self.subject(s))
            with open(s.dir + "/cert.pem", "w") as f:
                f.write("no certificate\n")
            s.wait_log("the old certificate stays in use")
            self.assertIn("two", self.subject(s))
            time.sleep(1.0)
            self.assertEqual(len(re.findall("the old certificate stays", s.log())), 1)
            # A front that starts now gets the good one.
            for pid in s.pids("front"):
                os.kill(pid, signal.SIGKILL)
            wait_until("the old certificate again", lambda: self.quiet_subject(s))
            self.assertIn("two", self.subject(s))

    def quiet_subject(self, s):
        try:
            return self.subject(s)
        except OSError:
            return None

    def test_sni_chooses_the_certificate(self):
        s = Server(tls=True)
        other = os.path.join(s.dir, "other")
        os.mkdir(other)
        make_certificate(other, "other.example.org")
        s.write(sections=f"[local other.example.org]\nssl_cert = <{other}/cert.pem\nssl_key = <{other}/key.pem\nlogin_greeting = Other.\n")
        with s:
            with s.tls_client(name="other.example.org") as c:
                self.assertEqual(c.greeting, "OK Other.")
                self.assertIn(b"other.example.org", c.sock.getpeercert(True))
            with s.tls_client(name="localhost") as c:
                self.assertEqual(c.greeting, "OK Culver ready.")
                self.assertNotIn(b"other.example.org", c.sock.getpeercert(True))

    def test_the_key_is_in_front_only(self):
        # Auth, spawner and workers get the settings without it.
        with Server(tls=True) as s, s.session() as c:
            key = open(s.dir + "/key.pem", "rb").read().splitlines()[1]
            for pid in s.pids("auth") + s.pids("spawner") + [int(c.whoami()["pid"])]:
                self.assertFalse(memory_has(pid, key), f"process {pid} holds the private key")


def memory_has(pid, needle):
    """needle is somewhere in the writable memory of the process."""
    try:
        maps = open(f"/proc/{pid}/maps").read().splitlines()
        with open(f"/proc/{pid}/mem", "rb") as mem:
            for line in maps:
                span, mode = line.split()[:2]
                begin, end = (int(x, 16) for x in span.split("-"))
                if "w" not in mode or end - begin > 256 << 20 or "[vv" in line:
                    continue
                try:
                    mem.seek(begin)
                    if needle in mem.read(end - begin):
                        return True
                except (OSError, ValueError):
                    pass
    except PermissionError:
        raise unittest.SkipTest("memory of other processes cannot be read")
    return False


class Hostile(unittest.TestCase):
    def test_slow_loris_is_cut_off(self):
        with Server("login_timeout = 2s\nlogin_idle_timeout = 1s") as s:
            begin = time.monotonic()
            with s.client() as silent:
                self.assertEqual(silent.line(), "BYE timeout")
            self.assertLess(time.monotonic() - begin, 4)
            # An octet now and then does not help.
            with s.client() as drip:
                try:
                    for _ in range(40):
                        drip.sock.sendall(b"x")
                        time.sleep(0.1)
                except OSError:
                    pass
                self.assertIn(drip.line(), ("BYE timeout", ""))
            self.assertTrue(s.can_log_in())

    def test_a_handshake_that_never_comes_is_cut_off(self):
        with Server("login_timeout = 2s\nlogin_idle_timeout = 1s", tls=True) as s:
            with socket.create_connection(("127.0.0.1", s.tls_port), 10) as c:
                self.assertEqual(c.recv(100), b"")

    def test_connections_of_one_address_are_bounded(self):
        with Server("login_max_connections_per_ip = 3", sections="[service front]\nprocess_limit = 1\n") as s:
            held = [s.client() for _ in range(3)]
            with s.client() as c:
                self.assertEqual(c.line(), "BYE overloaded")
            s.wait_log("login_max_connections_per_ip")
            held.pop().close()
            wait_until("room", s.can_log_in)

    def test_the_oldest_makes_room(self):
        with Server(sections="[service front]\nprocess_limit = 1\nclient_limit = 5\n") as s:
            held = [s.client() for _ in range(5)]
            with s.client() as c:
                self.assertEqual(c.login("alice"), "OK logged in resume")
                self.assertEqual(held[0].line(), "BYE overloaded")
                self.assertEqual(held[4].cmd("NOOP"), "OK")

    def test_deliverers_are_bounded_too(self):
        with Server(sections="[service front]\nprocess_limit = 1\nclient_limit = 4\n") as s:
            held = [Client(0, path=s.drop) for _ in range(4)]
            with Client(0, path=s.drop, greeting=False) as c:
                self.assertIn("overloaded", c.line() + c.line())
            with s.client() as c:
                self.assertEqual(c.login("alice"), "OK logged in resume")
            self.assertEqual(held[0].cmd("DELIVER alice x"), "OK 1 octets for payload")
            s.wait_log("client_limit")

    def test_no_descriptors_left_is_survived(self):
        with Server(nofile=256, sections="[service front]\nprocess_limit = 1\n") as s:
            flood = []
            try:
                for _ in range(400):
                    c = socket.socket()
                    c.settimeout(5)
                    c.connect(("127.0.0.1", s.port))
                    flood.append(c)
            except OSError:
                pass
            s.wait_log("no room for more connections")
            for c in flood:
                c.close()
            wait_until("logins again", s.can_log_in)
            self.assertEqual(len(re.findall("killed|fatal", s.log())), 0)

    def test_a_client_that_leaves_at_any_octet(self):
        with Server(tls=True) as s:
            text = b"LOGIN alice pass\r\nhello\r\nQUIT\r\n"
            for n in range(0, len(text) + 1, 3):
                for _ in range(2):
                    with socket.create_connection(("127.0.0.1", s.port), 5) as c:
                        c.sendall(text[:n])
            self.assertTrue(s.can_log_in())
            self.assertNotIn("killed by", s.log())

    @unittest.skipIf(SANITIZED, "memory of a sanitized server says nothing")
    def test_a_connection_before_login_costs_little(self):
        count = 300
        with Server("login_max_connections_per_ip = 0", sections="[service front]\nprocess_limit = 1\n", tls=True) as s:
            front = s.pids("front")[0]

            def private():
                text = open(f"/proc/{front}/smaps_rollup").read()
                return int(re.search(r"Private_Dirty:\s*(\d+)", text).group(1))

            def cost(connect):
                connect()  # what is made once
                before = private()
                held = [connect() for _ in range(count)]
                wait_until("all to be taken", lambda: len(os.listdir(f"/proc/{front}/fd")) > count)
                time.sleep(0.3)
                each = (private() - before) / count
                for c in held:
                    c.close()
                wait_until("all to be gone", lambda: len(os.listdir(f"/proc/{front}/fd")) < 100)
                return each
            plain = cost(s.client)
            silent = cost(lambda: socket.create_connection(("127.0.0.1", s.tls_port), 10))
            secured = cost(s.tls_client)
            print(f"KiB: {plain:.1f} plain, {silent:.1f} TLS not begun, {secured:.1f} TLS", end=" ")
            self.assertLess(plain, 8)
            self.assertLess(silent, 8)
            self.assertLess(secured, 40)

    def test_too_much_before_login(self):
        with Server() as s, s.client() as c:
            try:
                c.sock.sendall(b"x" * 100000)
            except OSError:
                pass
            self.assertEqual(c.line(), "")
            self.assertTrue(s.can_log_in())


if __name__ == "__main__":
    if not os.path.exists(os.path.join(BUILD, "t/proc/.libs/echo.so")):
        print("the protocols of t/proc are not built in", BUILD, "(make check)")
        sys.exit(77)
    os.chdir(BUILD)
    unittest.main(verbosity=2)
