#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two servers that were given the same directory: one serves a user, the other says who does. With the file system's locks, and with the lease alone as over
NFS without locks: takeover at once when the owner was killed, after the lease time when it was stopped, and the one that goes on then acknowledges nothing.

usage: two-servers.py [PREFIX]"""

import glob
import imaplib
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import client  # noqa: E402
import culver  # noqa: E402

LEASE = 3
check = client.Checks()


def message(n):
    return f"From: a@example.org\r\nSubject: number {n}\r\n\r\nBody of {n}\r\n".encode()


class Pair:
    def __init__(self, storage, prefix, method):
        settings = f"mail_lock_method = {method}\nmail_lease_time = {LEASE}s\n"
        self.name = f"{storage}, {method}"
        self.a = culver.Server(storage=storage, prefix=prefix, settings=settings)
        self.b = culver.Server(storage=storage, prefix=prefix, settings=settings)
        conf = open(self.b.conf).read().replace(self.b.mail, self.a.mail)
        open(self.b.conf, "w").write(conf)
        self.acknowledged = []

    def __enter__(self):
        self.a.start()
        self.b.start()
        return self

    def __exit__(self, *exc):
        for server in (self.a, self.b):
            server.close()

    def login(self, server):
        c = imaplib.IMAP4("127.0.0.1", server.ports["imap"], 60)
        c.login("alice", culver.PASSWORD)
        c.select()
        return c

    def append(self, c, n):
        """OK, or why not."""
        try:
            typ, data = c.append("INBOX", None, None, message(n))
        except (imaplib.IMAP4.abort, OSError) as e:
            return str(e)
        if typ == "OK":
            self.acknowledged.append(n)
        return typ if typ == "OK" else str(data[0])

    def refused(self, server, owner, what):
        """No login and no delivery, and the log says who has the user."""
        start = time.monotonic()
        try:
            self.login(server)
            check(False, f"{self.name}, {what}: both serve the user")
        except imaplib.IMAP4.error as e:
            check("INUSE" in str(e), f"{self.name}, {what}: the login says {e}")
        check(time.monotonic() - start < 20, f"{self.name}, {what}: the refusal took {time.monotonic() - start:.0f} s")
        check(re.search(rf"in use by process {owner} on ", server.output()), f"{self.name}, {what}: the log does not name process {owner}")

    def worker(self, server):
        who = server.culver("who", json=True)
        return [r["pid"] for r in who if r["user"] == "alice"][0]

    def count(self, server):
        c = self.login(server)
        typ, data = c.fetch("1:*", "(BODY.PEEK[])")
        bodies = [d[1] for d in data if isinstance(d, tuple)]
        c.logout()
        for n in self.acknowledged:
            check(bodies.count(message(n)) == 1, f"{self.name}: message {n} was acknowledged and is there {bodies.count(message(n))} times")
        typ, data = "OK", None
        return len(bodies)


def wait_gone(pid):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as f:
                state = f.read().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def run(storage, prefix, method):
    with Pair(storage, prefix, method) as p:
        first = p.login(p.a)
        check(p.append(first, 1) == "OK", f"{p.name}: APPEND")
        owner = p.worker(p.a)
        p.refused(p.b, owner, "while the first serves")
        code, text = p.b.deliver("alice", message(90))
        check(400 <= code < 500, f"{p.name}: LMTP answers {code} {text} while the other serves")
        check(p.append(first, 2) == "OK", f"{p.name}: APPEND beside a refused server")

        # Killed: at once.
        os.kill(owner, signal.SIGKILL)
        check(wait_gone(owner), f"{p.name}: {owner} lives on")
        start = time.monotonic()
        second = p.login(p.b)
        check(time.monotonic() - start < 2 + (method == "lease"), f"{p.name}: takeover from a dead process took {time.monotonic() - start:.1f} s")
        check(p.append(second, 3) == "OK", f"{p.name}: APPEND after the takeover")
        p.refused(p.a, p.worker(p.b), "after the takeover")
        second.logout()
        time.sleep(0.2)

        if method == "lease":
            # Stopped for longer than the lease time: after it, and who goes on acknowledges nothing.
            p.b.stop()
            p.b.start()
            first = p.login(p.a)
            check(p.append(first, 4) == "OK", f"{p.name}: APPEND on the first again")
            owner = p.worker(p.a)
            os.kill(owner, signal.SIGSTOP)
            try:
                first.send(b"z1 STORE 1 +FLAGS (\\Flagged)\r\n")
                time.sleep(LEASE + 3.5)
                second = p.login(p.b)
                check(p.append(second, 5) == "OK", f"{p.name}: APPEND on the second after the lease time")
                second.store("1", "+FLAGS", r"(\Answered)")
            finally:
                os.kill(owner, signal.SIGCONT)
            said = b""
            first.sock.settimeout(20)
            try:
                while b"z1 " not in said:
                    got = first.sock.recv(65536)
                    if not got:
                        break
                    said += got
            except OSError:
                pass
            check(b"z1 OK" not in said, f"{p.name}: a former owner says {said}")
            why = p.append(first, 6)
            check(why != "OK", f"{p.name}: a former owner takes a message")
            check(wait_gone(owner), f"{p.name}: a former owner does not end")
            check("nothing is acknowledged" in p.a.output(), f"{p.name}: a former owner says nothing in its log")
            check(p.append(second, 7) == "OK", f"{p.name}: APPEND after the former owner went on")
            typ, data = second.fetch("1", "(FLAGS)")
            check(b"Flagged" not in data[0] and b"Answered" in data[0], f"{p.name}: flags are {data}")
            second.logout()
            # A record that a former owner wrote late is passed over: the mail is whole when it is opened anew.
            p.b.stop()
            p.b.start()
        p.a.stop()
        n = p.count(p.b)
        check(n == len(p.acknowledged), f"{p.name}: {n} messages, {p.acknowledged} were acknowledged")
        check(not glob.glob(os.path.join(p.a.mail, "alice", "culver-index", "*.damaged-*")), f"{p.name}: something was set aside")
        check(not re.search("is damaged", p.b.output()), f"{p.name}: {p.b.output()[-600:]}")


def main():
    prefix = sys.argv[1] if len(sys.argv) > 1 else None
    for storage in culver.storages(prefix):
        for method in ("flock", "lease"):
            run(storage, prefix, method)
    return check.status("two servers")


if __name__ == "__main__":
    sys.exit(main())
