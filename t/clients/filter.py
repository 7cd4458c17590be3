#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a filter decides about a delivery is done, all of it or nothing, before the sender is told; an error of a filter loses no mail. With the filters and the
submission service in t/plugins/filter."""
import imaplib
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import Log, culver, fail, mail, need, same, use_plugin  # noqa: E402

need("make", "pkg-config", "cc")


def login(s, user):
    m = imaplib.IMAP4("127.0.0.1", s.ports["imap"], timeout=30)
    m.login(user, culver.PASSWORD)
    return m


def contents(s, user):
    """{mailbox: [(subject, flags, modseq)]} of all mailboxes with messages."""
    m = login(s, user)
    out = {}
    for line in m.list()[1]:
        name = re.search(r'"/" "?([^"]+)"?$', line.decode()).group(1)
        kind, data = m.select(f'"{name}"', readonly=True)
        if kind != "OK" or data[0] == b"0":
            continue
        kind, data = m.fetch("1:*", "(FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        same(kind, "OK", data)
        for item in data:
            if isinstance(item, tuple):
                out.setdefault(name, []).append((re.search(rb"Subject: (\S*)", item[1]).group(1).decode(),
                                                 sorted(set(imaplib.ParseFlags(item[0])) - {b"\\Recent"}),
                                                 int(re.search(rb"MODSEQ \((\d+)\)", item[0]).group(1))))
    m.logout()
    return out


def where(s, user, subject):
    return sorted(name for name, items in contents(s, user).items() for item in items if item[0] == subject)


def actions(s, log, user, submission):
    def deliver(subject, rules, second=None):
        head = (f"X-Filter: {rules}\n" if rules else "") + (f"X-Second: {second}\n" if second else "")
        return s.deliver(user, head + mail(subject))

    def filed(subject, rules, places, second=None):
        code, text = deliver(subject, rules, second)
        same(code, 250, (rules, text))
        same(where(s, user, subject), sorted(places), rules)

    log.lines()
    filed("none", None, ["INBOX"])
    same([line.split()[1] for line in log.lines()], ["second"], "asked in the order of stages; the first has no opinion")
    filed("keep", "keep", ["INBOX"])
    same([line for line in log.lines() if "filter" in line], [f"filter first user={user} from=sender@example.org to={user}"], "the second is not asked any more")
    filed("make", "make:Lists/Made", ["Lists/Made"])
    filed("made", "file:Lists/Made", ["Lists/Made"])
    filed("missing", "file:Missing", ["INBOX"])
    filed("three", "make:A;make:B/C;keep:$Kept", ["A", "B/C", "INBOX"])
    got = contents(s, user)
    same(len({item[2] for name in ("A", "B/C", "INBOX") for item in got[name] if item[0] == "three"}), 1, "one record of the journal")
    same([item[1] for item in got["INBOX"] if item[0] == "three"], [[b"$Kept"]])
    same([item[1] for item in got["A"] if item[0] == "three"], [[]])
    filed("twice", "file:A;seen:A;keep;file:inbox", ["A", "INBOX"])
    same([item[1] for item in contents(s, user)["A"] if item[0] == "twice"], [[b"\\Seen"]])
    filed("drop", "drop", [])
    filed("pass", "make:Forgotten;pass", ["Second"], second="Second")
    same("Forgotten" in contents(s, user), False)
    filed("both", "keep", ["INBOX"], second="Second")
    # An error that stays loses nothing and is not told; one that may go away lets the sender try again.
    filed("fail", "make:Never;fail", ["INBOX"])
    filed("many", "many", ["INBOX"])
    filed("odd", "keep;reject:Too late", ["INBOX"])
    same("is not rejected" in s.output() and "the message is kept" in s.output(), True)
    code, text = deliver("later", "make:Never;later")
    same((code, text[:5], "secret" in text), (451, "4.3.0", False), text)
    same(where(s, user, "later"), [])
    code, text = deliver("reject", "reject:Not today, caf\u00e9 closed")
    same((code, f"<{user}> Not today, caf?? closed" in text), (550, True), text)
    same(where(s, user, "reject"), [])
    log.lines()
    if not submission:
        filed("send", "send:x@example.org", ["INBOX"])
        return
    filed("send", "send:x@example.org;reply:y@example.org;file:A", ["A"])
    got = [line for line in log.lines() if line.startswith("submission")]
    same([line.split()[1] for line in got], ["hold", "hold", "release", "release"])
    same(re.sub(r"octets=\d+", "", got[0]).strip(), f"submission hold user={user} from={user} to=x@example.org")
    same(int(re.search(r"octets=(\d+)", got[0]).group(1)) > 100 and "octets=25" in got[1], True, got)
    code, text = deliver("noqueue", "make:A;send:ok@example.org;send:noqueue@example.org")
    same((code, "secret" in text), (451, False), text)
    same(where(s, user, "noqueue"), [], "nothing is filed of what can't be queued")
    same([line.split()[1] + line.rsplit("=", 1)[1][:2] for line in log.lines() if line.startswith("submission")][-1], "cancelok", "what was held is given up")
    code, text = deliver("nosend", "file:A;send:nosend@example.org;send:ok@example.org")
    same((code, "secret" in text), (451, False), text)
    same([line.split()[1] for line in log.lines() if line.startswith("submission")], ["hold", "hold", "release", "cancel"])


def workers(s, user):
    for d in os.listdir("/proc"):
        try:
            title = open(f"/proc/{d}/cmdline", "rb").read().decode(errors="replace") if d.isdigit() else ""
        except OSError:
            continue
        if re.search(rf"worker: {user}\b", title.replace("\0", " ")):
            yield int(d)


def crashes(s):
    """Killed at any moment, a delivery is in all of its mailboxes or in none, and in all once it was confirmed."""
    import threading
    user, over, killed = f"crash{os.getpid()}", [], set()

    def killer():
        n = 0
        while not over:
            time.sleep(0.003 + n % 7 * 0.006)
            n += 1
            for pid in workers(s, user):
                killed.add(pid)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    s.deliver(user, "X-Filter: make:A;make:B;drop\n" + mail("first"))
    thread = threading.Thread(target=killer)
    thread.start()
    confirmed, begin = [], time.monotonic()
    i = 0
    # On a busy machine it takes longer until some were confirmed and some were not.
    while time.monotonic() < begin + 8 or (len(confirmed) in (0, i) and time.monotonic() < begin + 90):
        if s.deliver(user, "X-Filter: file:A;keep;file:B\n" + mail(f"m{i}", body="x" * (i * 997 % 50000)))[0] == 250:
            confirmed.append(f"m{i}")
        i += 1
    over.append(True)
    thread.join()
    for pid in workers(s, user):
        killed.add(pid)
        os.kill(pid, signal.SIGKILL)
    # One that is about to end, or that the spawner did not see end yet, may still be given a session.
    while list(workers(s, user)) or any(os.path.exists(f"/proc/{pid}") for pid in killed):
        time.sleep(0.02)
    got = contents(s, user)
    places = {name: sorted(item[0] for item in got.get(name, []) if item[0] != "first") for name in ("A", "B", "INBOX")}
    same(places["A"], places["B"])
    same(places["A"], places["INBOX"])
    same([m for m in confirmed if places["A"].count(m) != 1], [], "confirmed, and there once")
    if not confirmed or len(confirmed) == i:
        fail(f"{len(confirmed)} of {i} deliveries were confirmed: nothing was tested")
    print(f"{len(confirmed)} of {i} deliveries confirmed, {len(places['A'])} there", flush=True)


for storage in culver.storages() or fail("no storage module is installed"):
    for submission in (False, True):
        s = culver.Server(storage=storage, settings="mail_plugins = filter" + " submission" * submission + "\n")
        try:
            use_plugin(s, "filter")
            s.start()
            actions(s, Log(s, r"\] ((?:filter|submission) (?:first|second|hold|release|cancel).*)"), "flora", submission)
            if submission:
                crashes(s)
            s.stop()
            same([line for line in s.complaints() if "killed by signal 9" not in line], [])
            print(storage, "with submission" if submission else "without", "ok", flush=True)
        finally:
            s.close()
