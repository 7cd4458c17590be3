#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9 of any process at any moment under a storm of deliveries and clients: what was acknowledged is there once, unharmed.

usage: storm.py [SECONDS [SEED]]"""
import imaplib
import os
import random
import signal
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, same  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 15
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
USERS = ["storm0", "storm1", "storm2"]
lock = threading.Lock()
acknowledged, flagged, stop = {}, {}, False


def body(ident):
    r = random.Random(ident)
    return f"From: a@example.org\r\nSubject: {ident}\r\nMessage-ID: <{ident}@storm.example>\r\n\r\n" + "".join(
        f"{r.getrandbits(200):x}\r\n" for _ in range(r.randrange(1, 200)))


def deliverer(s, n):
    r, i = random.Random(SEED + n), 0
    while not stop:
        try:
            with smtplib.LMTP("127.0.0.1", s.ports["lmtp"]) as c:
                c.sock.settimeout(20)
                c.ehlo()
                for _ in range(r.randrange(1, 8)):
                    user, ident = r.choice(USERS), f"d{n}.{i}"
                    i += 1
                    if c.mail("a@example.org")[0] != 250 or c.rcpt(user)[0] != 250:
                        break
                    if c.data(body(ident).encode())[0] == 250:
                        with lock:
                            acknowledged[ident] = user
        except (OSError, smtplib.SMTPException, ValueError):
            time.sleep(0.05)


def appender(s, n):
    r, i = random.Random(SEED + 100 + n), 0
    while not stop:
        try:
            user = r.choice(USERS)
            m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=20)
            m.login(user, culver.PASSWORD)
            for _ in range(r.randrange(1, 8)):
                ident = f"a{n}.{i}"
                i += 1
                if m.append("INBOX", "(\\Flagged)", None, body(ident).encode())[0] == "OK":
                    with lock:
                        acknowledged[ident] = user
                        flagged[ident] = user
            m.select("INBOX")
            m.fetch("1:*", "(UID FLAGS)")
            m.logout()
        except (OSError, imaplib.IMAP4.error):
            time.sleep(0.05)


def below(pid):
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                f = open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()
                if f[0] != "Z":
                    kids.setdefault(int(f[1]), []).append(int(d))
            except OSError:
                pass
    out, todo = [], list(kids.get(pid, []))
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


def check(s):
    for user in USERS:
        m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=60)
        m.login(user, culver.PASSWORD)
        same(m.select("INBOX")[0], "OK")
        _, got = m.fetch("1:*", "(UID FLAGS BODY.PEEK[])")
        seen, uids = {}, []
        for part in got:
            if not isinstance(part, tuple):
                continue
            head, octets = part
            uids.append(int(head.split(b"UID ")[1].split()[0].rstrip(b")")))
            text = octets.decode()
            ident = text.split("Subject: ", 1)[1].split("\r\n", 1)[0]
            if not text.endswith(body(ident)):
                fail(f"{user}: message {ident} is not what was sent")
            if ident in seen:
                fail(f"{user}: message {ident} is there twice")
            seen[ident] = head
        if uids != sorted(set(uids)):
            fail(f"{user}: UIDs are not ascending: {uids}")
        for ident, owner in acknowledged.items():
            if owner == user and ident not in seen:
                fail(f"{user}: acknowledged message {ident} is lost")
        for ident, owner in flagged.items():
            if owner == user and b"\\Flagged" not in seen[ident]:
                fail(f"{user}: message {ident} lost its flag: {seen[ident]}")
        m.logout()
    return len(acknowledged)


def main():
    global stop
    print("seed", SEED)
    for storage in culver.storages():
        acknowledged.clear()
        flagged.clear()
        stop = False
        # Restarts back off; here they should come soon.
        s = culver.Server(storage=storage)
        s.start()
        r, kills = random.Random(SEED), 0
        threads = [threading.Thread(target=f, args=(s, n), daemon=True) for n in range(3) for f in (deliverer, appender)]
        for t in threads:
            t.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(r.uniform(0.05, 0.6))
            if r.random() < 0.05:
                os.kill(s.proc.pid, signal.SIGKILL)
                s.proc.wait()
                # Its children end by themselves when it is gone.
                t0 = time.monotonic()
                while True:
                    try:
                        s.start()
                        break
                    except RuntimeError:
                        if time.monotonic() - t0 > 30:
                            raise
                        time.sleep(0.2)
            else:
                victims = below(s.proc.pid)
                if victims:
                    try:
                        os.kill(r.choice(victims), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            kills += 1
        stop = True
        for t in threads:
            t.join(60)
        count = None
        for attempt in range(20):
            try:
                count = check(s)
                break
            except (OSError, imaplib.IMAP4.abort, imaplib.IMAP4.error):
                time.sleep(1)
        if count is None:
            count = check(s)
        # The same once more by fresh processes.
        s.stop()
        s.start()
        check(s)
        if count < 20:
            fail(f"only {count} messages were acknowledged: that proves nothing\n" + s.output())
        print(f"{storage}: {kills} kills, {count} acknowledged messages, all there once and unharmed")
        s.close()


main()
