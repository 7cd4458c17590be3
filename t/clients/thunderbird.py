#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Thunderbird itself, headless: IMAP with TLS and STARTTLS, and POP3. Its accounts are set up, folders found by their special use, mail listed,
opened, searched for, marked, tagged, copied, moved, deleted, saved as a draft, seen arriving; what it did is looked at with another client.
THUNDERBIRD_LOG=FILE keeps what went over the wire."""
import imaplib
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, healthy, mail, need, same  # noqa: E402
from marionette import Marionette  # noqa: E402

need("thunderbird")

PREFS = {
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:1",
}

# What all scripts below use.
COMMON = r"""
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
class Wait {
	constructor(start) {
		this.text = "";
		this.hits = [];
		this.promise = new Promise((resolve, reject) => { this.resolve = resolve; this.reject = reject; });
		start(this);
	}
	QueryInterface = ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener", "nsIStreamListener", "nsIRequestObserver",
		"nsIMsgSearchNotify"]);
	end(status) { if (status) this.reject(new Error("status 0x" + status.toString(16))); else this.resolve(this); }
	OnStartRunningUrl() {}
	OnStopRunningUrl(url, status) { this.end(status); }
	onStartCopy() {}
	onProgress() {}
	setMessageKey() {}
	getMessageId() { return ""; }
	onStopCopy(status) { this.end(status); }
	onStartRequest() {}
	onDataAvailable(request, stream, offset, count) {
		const s = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
		s.init(stream);
		this.text += s.readBytes(count);
	}
	onStopRequest(request, status) { this.end(status); }
	onSearchHit(header) { this.hits.push(header); }
	onSearchDone(status) { this.end(status); }
	onNewSearch() {}
}
const wait = start => new Wait(start).promise;
async function until(what, test) {
	for (let i = 0; i < 300; i++) {
		const got = test();
		if (got) return got;
		await new Promise(r => setTimeout(r, 100));
	}
	throw new Error("waited in vain for " + what);
}
const server = key => MailServices.accounts.getIncomingServer(key);
const folder = (key, name) => name.split("/").reduce((f, n) => f && (f.containsChildNamed(n) ? f.getChildNamed(n) : null), server(key).rootFolder);
const messages = f => Array.from(f.messages).sort((a, b) => a.messageKey - b.messageKey);
const header = (f, subject) => messages(f).find(h => h.mime2DecodedSubject == subject);
const update = f => wait(w => f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, w));
"""


class Account:
    def __init__(self, m, kind, user, port, tls):
        self.m, self.user = m, user
        self.key = m.js(COMMON + r"""
const [kind, user, password, port, tls] = args;
const s = MailServices.accounts.createIncomingServer(user, "localhost", kind);
s.port = port;
s.socketType = tls ? Ci.nsMsgSocketType.SSL : Ci.nsMsgSocketType.alwaysSTARTTLS;
s.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
s.password = password;
s.loginAtStartUp = false;
s.biffMinutes = 1000;
const identity = MailServices.accounts.createIdentity();
identity.email = user + "@example.org";
const account = MailServices.accounts.createAccount();
account.addIdentity(identity);
account.incomingServer = s;
return s.key;
""", kind, user, culver.PASSWORD, port, tls)

    def js(self, script, *args):
        return self.m.js(COMMON + "const key = args.shift();" + script, self.key, *args)


class Other:
    """The other client."""

    def __init__(self, s, user):
        self.imap = imaplib.IMAP4_SSL("localhost", s.ports["imaps"], ssl_context=s.tls_context())
        self.imap.login(user, culver.PASSWORD)

    def messages(self, mailbox):
        """{subject: flags} of those that are not \\Deleted."""
        kind, data = self.imap.select(mailbox, readonly=True)
        if kind != "OK":
            return None
        found = {}
        for head, body in [x for x in self.imap.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(x, tuple)] \
                if data != [b"0"] else []:
            flags = head.split(b"FLAGS (")[1].split(b")")[0].decode().split()
            if "\\Deleted" not in flags:
                found[body.decode().partition(":")[2].strip()] = set(flags) - {"\\Recent"}
        return found

    def wait(self, mailbox, wanted, what):
        end = time.monotonic() + 30
        while True:
            got = self.messages(mailbox)
            if got == wanted:
                return
            if time.monotonic() > end:
                same(got, wanted, f"{what}: {mailbox}")
            time.sleep(0.2)


def imap_day(s, m, user, port, tls):
    for i in range(6):
        same(s.deliver(user, mail(f"m{i}", body="hay\n" * 100 + ("needle\n" if i == 4 else "") + "Grüße\n"))[0], 250)
    same(s.deliver(user, "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nTo: x@example.org\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\n"
                         "Message-ID: <two@example.org>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nfirst part\n--b\n"
                         "Content-Type: application/octet-stream; name=a.bin\nContent-Transfer-Encoding: base64\n\nAAECAw==\n--b--\n")[0], 250)
    a = Account(m, "imap", user, port, tls)
    # Folders by their special use.
    same(a.js(r"""
server(key).performExpand(null);
const F = Ci.nsMsgFolderFlags, wanted = { INBOX: F.Inbox, Drafts: F.Drafts, Sent: F.SentMail, Junk: F.Junk, Trash: F.Trash };
await until("folders", () => Object.keys(wanted).every(n => folder(key, n)));
return Object.keys(wanted).filter(n => !(folder(key, n).flags & wanted[n]));
"""), [], "folders without their special use")
    # The list, a message from the server, one of two parts, a search on the server.
    same(a.js(r"""
await update(folder(key, "INBOX"));
await until("headers", () => messages(folder(key, "INBOX")).length == 7);
return messages(folder(key, "INBOX")).map(h => [h.mime2DecodedSubject, h.mime2DecodedAuthor, h.isRead]);
"""), [[f"m{i}", "Anna <anna@example.org>", False] for i in range(6)] + [["Grüße", "Jürgen <j@example.org>", False]])
    text = a.js(r"""
const inbox = folder(key, "INBOX"), uri = inbox.getUriForMsg(header(inbox, args[0]));
return (await wait(w => MailServices.messageServiceFromURI(uri).streamMessage(uri, w, null, null, false, "", false))).text;
""", "m4")
    if "\nneedle\r\n" not in text or "Subject: m4\r\n" not in text:
        fail(f"what Thunderbird reads: {text[-300:]!r}")
    same(a.js(r"""
const inbox = folder(key, "INBOX"), session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
const found = await wait(w => {
	session.registerListener(w, Ci.nsIMsgSearchSession.allNotifications);
	session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, inbox);
	const term = session.createTerm(), value = term.value;
	term.attrib = value.attrib = Ci.nsMsgSearchAttrib.Body;
	term.op = Ci.nsMsgSearchOp.Contains;
	value.str = "needle";
	term.value = value;
	term.booleanAnd = true;
	session.appendTerm(term);
	session.search(null);
});
session.unregisterListener(found);
return found.hits.map(h => h.mime2DecodedSubject);
"""), ["m4"], "search on the server")
    # Marks and tags.
    a.js(r"""
const inbox = folder(key, "INBOX");
inbox.markMessagesRead([header(inbox, "m0"), header(inbox, "m1")], true);
inbox.markMessagesFlagged([header(inbox, "m1")], true);
inbox.addKeywordsToMessages([header(inbox, "m2")], "$label1");
inbox.setJunkScoreForMessages([header(inbox, "m5")], "100", "user", -1);
""")
    other = Other(s, user)
    plain = {"m0": {"\\Seen"}, "m1": {"\\Seen", "\\Flagged"}, "m2": {"$label1"}, "m3": set(), "m4": set(), "m5": {"Junk"}}
    subject = "=?utf-8?b?R3LDvMOfZQ==?="
    other.wait("INBOX", dict(plain, **{subject: set()}), "marks")
    # Folders: made, renamed, filled, nested; a message moved, one copied, one deleted (moved to Trash).
    a.js(r"""
const root = server(key).rootFolder;
root.createSubfolder("Prüfung & more", null);
const made = await until("the folder", () => folder(key, "Prüfung & more"));
made.createSubfolder("inner", null);
await until("the inner folder", () => folder(key, "Prüfung & more/inner"));
const inbox = folder(key, "INBOX"), inner = folder(key, "Prüfung & more/inner");
await wait(w => MailServices.copy.copyMessages(inbox, [header(inbox, "m0"), header(inbox, "m2")], inner, false, w, null, false));
await wait(w => MailServices.copy.copyMessages(inbox, [header(inbox, "m1")], inner, true, w, null, false));
await wait(w => inbox.deleteMessages([header(inbox, "m3")], null, false, false, w, false));
""")
    inner = '"Pr&APw-fung &- more/inner"'
    del plain["m1"], plain["m3"]
    other.wait("INBOX", dict(plain, **{subject: set()}), "moved and deleted")
    other.wait(inner, {"m0": {"\\Seen"}, "m1": {"\\Seen", "\\Flagged"}, "m2": {"$label1"}}, "copied and moved")
    other.wait("Trash", {"m3": set()}, "deleted")
    # A draft, which is sent with APPEND's UTF8 (RFC 6855), since Thunderbird has enabled that.
    path = os.path.join(s.dir, f"draft-{user}")
    with open(path, "w") as f:
        f.write(mail("a draft", body="Ünfinished").replace("\n", "\r\n"))
    a.js(r"""
const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
file.initWithPath(args[0]);
await wait(w => MailServices.copy.copyFileMessage(file, folder(key, "Drafts"), null, true, Ci.nsMsgMessageFlags.Read, "", w, null));
""", path)
    other.wait("Drafts", {"a draft": {"\\Draft", "\\Seen"}}, "a draft")
    # Mail that arrives, and flags that the other client sets, are seen while it idles.
    a.js('await update(folder(key, "INBOX"));')
    same(s.deliver(user, mail("arrives"))[0], 250)
    other.imap.select("INBOX")
    other.imap.store("1", "+FLAGS", "(\\Flagged)")
    a.js(r"""
await until("new mail", () => header(folder(key, "INBOX"), "arrives"));
await until("a flag", () => header(folder(key, "INBOX"), "m0").isFlagged);
""")
    # Rename, compaction (EXPUNGE), emptying Trash, deletion of folders.
    a.js(r"""
const made = folder(key, "Prüfung & more");
made.rename("renamed", null);
await until("the new name", () => folder(key, "renamed/inner"));
await wait(w => folder(key, "INBOX").compact(w, null));
await update(folder(key, "renamed/inner"));
const inner = folder(key, "renamed/inner");
await until("messages of the renamed", () => messages(inner).length == 3);
await wait(w => inner.deleteMessages([header(inner, "m0")], null, true, false, w, false));
await wait(w => inner.compact(w, null));
""")
    other.wait("renamed/inner", {"m1": {"\\Seen", "\\Flagged"}, "m2": {"$label1"}}, "renamed")
    same(other.imap.status("renamed/inner", "(MESSAGES)")[1], [b"renamed/inner (MESSAGES 2)"])
    a.js(r"""
await wait(w => folder(key, "Trash").emptyTrash(w));
server(key).closeCachedConnections();
""")
    other.wait("Trash", {}, "emptied")
    other.imap.logout()


def pop3_day(s, m, user, port, tls):
    for i in range(3):
        same(s.deliver(user, mail(f"p{i}", body=".dot\n..dots\nGrüße\n"))[0], 250)
    a = Account(m, "pop3", user, port, tls)
    get = r"""
const s = server(key).QueryInterface(Ci.nsIPop3IncomingServer);
s.leaveMessagesOnServer = args[0];
s.deleteMailLeftOnServer = true;
const inbox = await until("the inbox", () => folder(key, "Inbox"));
await wait(w => MailServices.pop3.GetNewMail(null, w, inbox, s));
return messages(inbox).map(h => h.mime2DecodedSubject);
"""
    same(a.js(get, True), ["p0", "p1", "p2"])
    same(s.deliver(user, mail("p3"))[0], 250)
    same(a.js(get, True), ["p0", "p1", "p2", "p3"], "what is left on the server is not fetched again")
    other = Other(s, user)
    same(sorted(other.messages("INBOX")), ["p0", "p1", "p2", "p3"])
    same(s.deliver(user, mail("p4"))[0], 250)
    same(a.js(get, False), ["p0", "p1", "p2", "p3", "p4"])
    text = a.js(r"""
const inbox = folder(key, "Inbox"), uri = inbox.getUriForMsg(header(inbox, "p1"));
return (await wait(w => MailServices.messageServiceFromURI(uri).streamMessage(uri, w, null, null, false, "", false))).text;
""")
    if "\n.dot\n..dots\n" not in text.replace("\r\n", "\n"):
        fail(f"what Thunderbird has stored: {text[-300:]!r}")
    if "p4" in other.messages("INBOX"):
        fail("Thunderbird deleted nothing by POP3")
    other.imap.logout()


with tempfile.TemporaryDirectory(prefix="culver-tb.", ignore_cleanup_errors=True) as directory:
    env = {}
    if os.environ.get("THUNDERBIRD_LOG"):
        env = {"MOZ_LOG": "timestamp,IMAP:5,POP3:5", "MOZ_LOG_FILE": os.environ["THUNDERBIRD_LOG"]}
    m = Marionette("thunderbird", directory, PREFS, env)
    try:
        for storage in culver.storages():
            with culver.Server(storage=storage) as s:
                with open(s.ca) as f:
                    der = "".join(x.strip() for x in f if not x.startswith("-----"))
                m.js('Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(args[0], "C,,");', der)
                imap_day(s, m, f"tls-{storage}", s.ports["imaps"], True)
                imap_day(s, m, f"starttls-{storage}", s.ports["imap"], False)
                pop3_day(s, m, f"pop-tls-{storage}", s.ports["pop3s"], True)
                pop3_day(s, m, f"pop-stls-{storage}", s.ports["pop3"], False)
                healthy(s)
    finally:
        m.close()
