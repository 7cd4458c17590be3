# SPDX-License-Identifier: MIT
"""Figures that are not a rate of one kind of command: memory, how soon new mail is told, start, reload, restart."""

import os
import signal
import socket
import subprocess
import time

import culver
import measure


class Held:
    """Connections in IDLE, each of a user of its own, until closed."""

    def __init__(self, binary, server, count, tls=False, user="idle%d"):
        port = server.ports["imaps" if tls else "imap"]
        self.proc = subprocess.Popen([binary, "-w", "idle", "-p", str(port), "-c", str(count), "-U", str(count), "-u", user] + (["-s"] if tls else []),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.proc.stdout.readline().strip() != "holding":
            raise measure.Failed(self.proc.stderr.read().strip())

    def close(self):
        self.proc.stdin.close()
        self.proc.wait()


def idle(binary, server, count, tls, settle):
    """KiB of memory for each idle connection: PSS of all the server's processes, and what the kernel has more than before."""
    before, kernel = measure.pss_kib(server.proc.pid), measure.kernel_kib()
    # Users of their own: workers that are still there from the row before would hide what these cost.
    held = Held(binary, server, count, tls, "idletls%d" if tls else "idle%d")
    time.sleep(settle)
    out = dict(per_second=(measure.pss_kib(server.proc.pid) - before) / count, kernel=(measure.kernel_kib() - kernel) / count,
               processes=len(measure.processes(server.proc.pid)))
    held.close()
    time.sleep(1)
    return out


def exists(binary, server, count, deliveries, settle):
    """From the first octet of a delivery to the untagged EXISTS at one of count idle sessions, in milliseconds."""
    r = measure.generate(binary, server.ports["imap"], "exists", server.proc.pid, L=server.ports["lmtp"], c=count, U=count, u="idle%d", n=deliveries,
                         W=settle, z=4096)
    return dict(p50=r["p50_us"] / 1000, p99=r["p99_us"] / 1000)


def imap_command(sock, command):
    sock.sendall(b"r " + command + b"\r\n")
    data = b""
    while b"\r\nr " not in b"\r\n" + data[-65536:] or not data.endswith(b"\r\n"):
        more = sock.recv(1 << 20)
        if not more:
            raise measure.Failed("the server closed the connection")
        data += more
        if len(data) > 1 << 22:
            data = data[-65536:]
    return data


def logged_in(server, user, timeout=60):
    """A connection after LOGIN, tried until the server takes it."""
    end = time.monotonic() + timeout
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", server.ports["imap"]), 5)
            sock.settimeout(600)
            if not sock.recv(4096):
                raise measure.Failed("no greeting")
            reply = imap_command(sock, f"LOGIN {user} {culver.PASSWORD}".encode())
            if b"r OK" not in reply:
                raise measure.Failed(reply.decode(errors="replace"))
            return sock
        except (OSError, measure.Failed):
            if time.monotonic() > end:
                raise
            time.sleep(0.002)


def active(server, user):
    """KiB that one session costs that has selected a large mailbox and fetched all its flags."""
    before = measure.pss_kib(server.proc.pid)
    sock = logged_in(server, user)
    imap_command(sock, b"SELECT INBOX")
    imap_command(sock, b"FETCH 1:* (UID FLAGS)")
    after = measure.pss_kib(server.proc.pid)
    sock.close()
    time.sleep(0.5)
    return after - before


def start(server):
    """Milliseconds from starting the server to the reply of the first LOGIN."""
    server.stop()
    begin = time.monotonic()
    server.launch()
    logged_in(server, "u0").close()
    return (time.monotonic() - begin) * 1000


def reload(binary, server, count):
    """With count users connected: how many of them a reload drops, and milliseconds from the signal to the reply of the next LOGIN."""
    held = Held(binary, server, count)
    begin = time.monotonic()
    server.proc.send_signal(signal.SIGHUP)
    logged_in(server, "u0").close()
    took = (time.monotonic() - begin) * 1000
    time.sleep(0.5)
    dropped = count - connected(held.proc.pid)
    held.close()
    return dict(took=took, dropped=dropped)


def connected(pid):
    """How many of pid's TCP connections are established (the server has not closed them)."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
    return sum(1 for line in open("/proc/net/tcp") for f in [line.split()] if f[3] == "01" and f[9] in inodes)


def restart(binary, server, count):
    """With count users connected: milliseconds from the end of the server to all of them logged in again, 32 at a time."""
    held = Held(binary, server, count)
    server.stop()
    held.close()
    begin = time.monotonic()
    server.start()
    measure.generate(binary, server.ports["imap"], "login", c=32, U=count, u="idle%d", n=count)
    return (time.monotonic() - begin) * 1000

