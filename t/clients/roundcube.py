#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Roundcube, with PHP's own web server and SQLite, as a browser drives it, over TLS, with STARTTLS and without: login, lists sorted and as
threads, a message and its attachment, search in headers and bodies, marks, copies, moves, Trash, folders, a draft; what it did is looked at
with another client. ROUNDCUBE_LOG=FILE keeps what went over the wire."""
import http.cookiejar
import imaplib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, same, skip  # noqa: E402

INSTALL, ETC = "/var/lib/roundcube", "/etc/roundcube"
need("php")
if not os.path.exists(os.path.join(INSTALL, "index.php")) or not os.path.exists(os.path.join(ETC, "defaults.inc.php")):
    skip("roundcube-core is not installed")
if subprocess.run(["php", "-r", "exit(extension_loaded('pdo_sqlite') && extension_loaded('mbstring') ? 0 : 1);"]).returncode:
    skip("PHP is without SQLite or mbstring")


class Roundcube:
    """One installation's web server, and a browser."""

    def __init__(self, s, host, name):
        self.dir = os.path.join(s.dir, "roundcube-" + name)
        conf = os.path.join(self.dir, "config")
        os.makedirs(conf)
        for f in ("defaults.inc.php", "mimetypes.php"):
            shutil.copy(os.path.join(ETC, f), conf)
        db = os.path.join(self.dir, "db")
        with sqlite3.connect(db) as c, open(os.path.join(INSTALL, "SQL", "sqlite.initial.sql")) as f:
            c.executescript(f.read())
        with open(os.path.join(conf, "config.inc.php"), "w") as f:
            f.write(f"""<?php
$config = [
	'db_dsnw' => 'sqlite:///{db}?mode=0640',
	'imap_host' => '{host}',
	'imap_conn_options' => ['ssl' => ['cafile' => '{s.ca}', 'verify_peer' => true, 'verify_peer_name' => true]],
	'imap_debug' => true,
	'log_dir' => '{self.dir}', 'log_driver' => 'file', 'temp_dir' => '{self.dir}',
	'des_key' => 'abcdefghijklmnopqrstuvwx',
	'plugins' => [], 'skin' => 'elastic', 'language' => 'en_US', 'enable_spellcheck' => false,
	'create_default_folders' => true, 'flag_for_deletion' => false, 'show_real_foldernames' => true,
];
""")
        port = culver.free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}/index.php"
        self.out = open(os.path.join(self.dir, "php.out"), "wb")
        self.proc = subprocess.Popen(["php", "-d", "display_errors=0", "-d", "session.save_path=" + self.dir, "-S", f"127.0.0.1:{port}",
                                      "-t", INSTALL], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out,
                                     env=dict(os.environ, ROUNDCUBE_CONFIG_DIR=conf))
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.token = ""

    def close(self):
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(10)
        self.out.close()
        log = os.environ.get("ROUNDCUBE_LOG")
        if log and os.path.exists(self.dir + "/imap.log"):
            with open(log, "ab") as to, open(self.dir + "/imap.log", "rb") as f:
                to.write(f.read())

    def complaints(self):
        path = os.path.join(self.dir, "errors.log")
        return open(path, errors="replace").read() if os.path.exists(path) else ""

    def get(self, task, action, post=None, remote=False, **params):
        """The page. With post: sent as a form, its token beside it."""
        query = {"_task": task, "_action": action, **{"_" + k: v for k, v in params.items()}}
        headers = {}
        data = None
        if remote:
            query["_remote"] = "1"
            headers = {"X-Roundcube-Request": self.token, "X-Requested-With": "XMLHttpRequest"}
        if post is not None:
            form = {"_token": self.token, **{"_" + k: v for k, v in post.items()}}
            if remote:
                form["_remote"] = "1"
            data = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.url + "?" + urllib.parse.urlencode(query), data=data, headers=headers)
        end = time.monotonic() + 20
        while True:
            try:
                with self.browser.open(request, timeout=60) as r:
                    self.final = r.url
                    return r.read()
            except urllib.error.HTTPError as e:
                fail(f"{action}: {e}: {self.complaints()} {e.read()[-500:]!r}")
            except urllib.error.URLError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def ajax(self, action, post=None, task="mail", **params):
        """What the browser is told to do, as the script that it is. An error that the user would see fails the test."""
        text = self.get(task, action, post, True, **params).decode()
        script = json.loads(text).get("exec", "")
        shown = re.search(r'display_message\("([^"]*)","(error|warning)"', script)
        if shown:
            fail(f"{action} {post or params}: {shown.group(1)} {self.complaints()}")
        return script

    def login(self, user):
        page = self.get("login", "")
        self.token = re.search(rb'name="_token" value="([^"]+)"', page).group(1).decode()
        page = self.get("login", "login", {"user": user, "pass": culver.PASSWORD, "timezone": "UTC", "url": "", "task": "login",
                                           "action": "login"})
        self.token = re.search(rb'"request_token":"([^"]+)"', page).group(1).decode()
        if b'"task":"mail"' not in page:
            fail(f"no login: {self.complaints()}")

    def rows(self, script):
        """[(uid, subject)] of a list."""
        return [(int(uid), json.loads(columns)["subject"]) for uid, columns in
                re.findall(r'this\.add_message_row\((\d+),(\{.*?\}),\{', script)]

    def list(self, mailbox, **params):
        return self.rows(self.ajax("list", mbox=mailbox, **params))


def contents(other, mailbox):
    """{subject: flags}"""
    kind, data = other.select(mailbox, readonly=True)
    same(kind, "OK", mailbox)
    found = {}
    if data != [b"0"]:
        for head, body in [x for x in other.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(x, tuple)]:
            flags = set(head.split(b"FLAGS (")[1].split(b")")[0].decode().split()) - {"\\Recent"}
            found[body.decode().partition(":")[2].strip()] = flags
    return found


def day(s, host, name):
    user = "rc-" + name
    for i in range(4):
        same(s.deliver(user, mail(f"m{i}", body="hay\n" * 100 + ("Nadelöhr\n" if i == 2 else "")))[0], 250)
    same(s.deliver(user, mail("Re: m1").replace("Message-ID: <Re: m1@", "In-Reply-To: <m1@example.org>\nMessage-ID: <r@"))[0], 250)
    same(s.deliver(user, "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nTo: x@example.org\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\n"
                         "Date: Tue, 3 Nov 2026 10:00:00 +0000\nMessage-ID: <two@example.org>\nMIME-Version: 1.0\n"
                         "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>first <b>Teil</b></p>\n--b\n"
                         "Content-Type: application/octet-stream; name=a.bin\nContent-Disposition: attachment; filename=a.bin\n"
                         "Content-Transfer-Encoding: base64\n\nAAECAw==\n--b--\n")[0], 250)
    rc = Roundcube(s, host, name)
    try:
        rc.login(user)
        plain = ["m0", "m1", "m2", "m3", "Re: m1"]
        same([x[1] for x in sorted(rc.list("INBOX"))], plain + ["Grüße"])
        same([x[1] for x in rc.list("INBOX", sort="subject_ASC")], ["Grüße", "m0", "m1", "Re: m1", "m2", "m3"])
        same([x[1] for x in rc.list("INBOX", sort="size_DESC")][:1], ["m2"])
        threads = rc.ajax("list", mbox="INBOX", sort="date_ASC", threads="1")
        same(re.findall(r'"subject":"([^"]*)"[^}]*\},\{[^}]*"depth":1', threads), ["Re: m1"], "as threads")
        rc.ajax("list", mbox="INBOX", sort="arrival_ASC", threads="0")
        uid = {subject: n for n, subject in rc.list("INBOX")}
        # A message opened, and its attachment.
        page = rc.get("mail", "show", mbox="INBOX", uid=str(uid["Grüße"])).decode()
        if "first <b>Teil</b>" not in page or "Jürgen" not in page or "a.bin" not in page:
            fail(f"the message that Roundcube shows: {page[-3000:]}")
        same(rc.get("mail", "get", mbox="INBOX", uid=str(uid["Grüße"]), part="2", download="1", token=rc.token), b"\0\1\2\3")
        if b"Subject: m2" not in rc.get("mail", "viewsource", mbox="INBOX", uid=str(uid["m2"])):
            fail("no source")
        # Searches: headers, also encoded ones; bodies; a filter by flag.
        def found(q, headers, **more):
            return [x[1] for x in rc.rows(rc.ajax("search", mbox="INBOX", q=q, headers=headers, scope="base", **more))]
        same(found("grüße", "subject,from"), ["Grüße"])
        same(found("nadelöhr", "text"), ["m2"])
        same(found("jürgen", "from"), ["Grüße"])
        same(found("", "subject", filter="SEEN"), ["Grüße"])
        # Marks.
        rc.ajax("mark", {"mbox": "INBOX", "uid": f"{uid['m0']},{uid['m1']}", "flag": "read"})
        rc.ajax("mark", {"mbox": "INBOX", "uid": str(uid["m1"]), "flag": "flagged"})
        rc.ajax("mark", {"mbox": "INBOX", "uid": str(uid["m0"]), "flag": "unread"})
        # Folders, nested and with names outside ASCII. The page's form goes back with them.
        for folder, parent in (("Prüfung & more", ""), ("inner", "Pr&APw-fung &- more")):
            rc.get("settings", "save-folder", {"name": folder, "parent": parent, "mbox": "", "options": "", "framed": "1",
                                               "task": "settings", "action": "save-folder"})
        inner = "Pr&APw-fung &- more/inner"
        other = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
        other.login(user, culver.PASSWORD)
        subscribed = [x.decode() for x in other.lsub()[1]]
        if not any(x.endswith(f'"{inner}"') for x in subscribed):
            fail(f"the folder is not made and subscribed: {subscribed} {rc.complaints()}")
        rc.ajax("copy", {"mbox": "INBOX", "uid": f"{uid['m0']},{uid['m1']}", "target_mbox": inner})
        rc.ajax("move", {"mbox": "INBOX", "uid": f"{uid['m2']}", "target_mbox": inner})
        # What its delete button asks for, here and in Trash itself.
        rc.ajax("move", {"mbox": "INBOX", "uid": f"{uid['m3']},{uid['Re: m1']}", "target_mbox": "Trash"})
        trash = {subject: n for n, subject in rc.list("Trash")}
        same(sorted(trash), ["Re: m1", "m3"])
        rc.ajax("delete", {"mbox": "Trash", "uid": str(trash["Re: m1"])})
        subject = "=?utf-8?b?R3LDvMOfZQ==?="
        same(contents(other, "INBOX"), {"m0": set(), "m1": {"\\Seen", "\\Flagged"}, subject: {"\\Seen"}})
        same(contents(other, f'"{inner}"'), {"m0": set(), "m1": {"\\Seen", "\\Flagged"}, "m2": set()})
        same(contents(other, "Trash"), {"m3": {"\\Seen"}})
        # A draft.
        page = rc.get("mail", "compose", to="x@example.org").decode()
        compose = urllib.parse.parse_qs(urllib.parse.urlparse(rc.final).query)["_id"][0]
        identity = re.search(r'name="_from"[^>]*>\s*<option value="(\d+)"', page) or re.search(r'name="_from" [^>]*value="([^"]+)"', page)
        script = rc.get("mail", "send", {"id": compose, "from": identity.group(1), "to": "x@example.org", "subject": "Entwurf ü",
                                         "message": "Ünfinished", "draft": "1", "task": "mail", "action": "send", "framed": "1",
                                         "is_html": "0", "charset": "UTF-8", "store_target": "Drafts"}).decode()
        drafts = contents(other, "Drafts")
        if len(drafts) != 1 or "\\Draft" not in list(drafts.values())[0] and "\\Seen" not in list(drafts.values())[0]:
            fail(f"the draft: {drafts} {rc.complaints()} {script[-500:]}")
        # New mail, seen by the periodic request.
        same(s.deliver(user, mail("arrives"))[0], 250)
        if '"arrives"' not in rc.ajax("refresh", {"mbox": "INBOX", "list": "1", "last": "0", "folderlist": "1", "quota": "1"}):
            fail("new mail is not seen")
        # The folder renamed with what is below it, emptied, deleted.
        rc.get("settings", "save-folder", {"name": "renamed", "parent": "", "mbox": "Pr&APw-fung &- more", "options": "", "framed": "1",
                                           "task": "settings", "action": "save-folder"})
        same(contents(other, "renamed/inner"), {"m0": set(), "m1": {"\\Seen", "\\Flagged"}, "m2": set()}, rc.complaints())
        rc.ajax("purge", {"mbox": "Trash"})
        same(contents(other, "Trash"), {})
        rc.ajax("folder-delete", {"mbox": "renamed/inner"}, task="settings")
        same(other.select("renamed/inner")[0], "NO")
        rc.get("logout", "", token=rc.token)
        other.logout()
        same(rc.complaints(), "", "Roundcube's errors")
    finally:
        rc.close()


for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        for name, host in (("tls", f"ssl://localhost:{s.ports['imaps']}"), ("starttls", f"tls://localhost:{s.ports['imap']}"),
                           ("plain", f"localhost:{s.ports['imap']}")):
            day(s, host, name)
        healthy(s)
