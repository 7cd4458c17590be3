#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ImapFlow (Node), which enables and uses what it finds announced (CONDSTORE, UTF8, LIST-STATUS, UIDPLUS, MOVE, BINARY, OBJECTID, COMPRESS):
without TLS, with STARTTLS, with TLS. Set NODE_PATH to the node_modules that have it ("npm install imapflow")."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, healthy, need, run, skip  # noqa: E402

need("node")
if subprocess.run(["node", "-e", "require('imapflow')"], capture_output=True).returncode:
    skip("imapflow is not installed, or NODE_PATH does not name it")

SCRIPT = r"""
const { ImapFlow } = require('imapflow');
const assert = require('assert');
const [mode, port, password] = process.argv.slice(2);
const message = ['From: "Doe, J" <j@example.org>', 'To: a@example.org, list: b@example.org, c@example.org;', 'Subject: =?utf-8?q?fl=C3=BCss?=',
	'Date: Mon, 2 Nov 2026 10:00:00 +0000', 'Message-ID: <a@node>', 'MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=b', '', '--b',
	'Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: quoted-printable', '', 'Gr=C3=BC=C3=9Fe', '--b',
	'Content-Type: message/rfc822', '', 'Subject: inside', '', 'x', '--b', "Content-Type: application/pdf; name*=utf-8''%C3%A4.pdf",
	'Content-Disposition: attachment', 'Content-Transfer-Encoding: base64', '', 'AAECAw==', '--b--', ''].join('\r\n');
const text = async stream => { const parts = []; for await (const p of stream) parts.push(p); return Buffer.concat(parts); };
(async () => {
	const client = new ImapFlow({ host: 'localhost', port: Number(port), secure: mode === 'tls', doSTARTTLS: mode === 'starttls',
		auth: { user: 'node', pass: password }, logger: false, qresync: true });
	await client.connect();
	const here = ['Prüfung & ' + mode, 'inner'], there = `to "${mode}" \\`;
	const made = await client.mailboxCreate(here);
	await client.mailboxCreate(there);
	await client.mailboxSubscribe(made.path);
	const list = await client.list({ statusQuery: { messages: true, unseen: true } });
	assert.strictEqual(list.find(m => m.path === made.path).subscribed, true);
	assert.deepStrictEqual(list.filter(m => m.specialUse).map(m => m.specialUse).sort(), ['\\Drafts', '\\Inbox', '\\Junk', '\\Sent', '\\Trash']);
	const appended = await client.append(made.path, message, ['\\Seen', 'Kept'], new Date('2026-11-02T10:00:00Z'));
	assert.strictEqual(appended.uid, 1);
	const lock = await client.getMailboxLock(made.path);
	try {
		assert.strictEqual(client.mailbox.exists, 1);
		const m = await client.fetchOne('1', { uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true, source: true,
			threadId: false, headers: ['subject'] }, { uid: true });
		assert.strictEqual(m.source.toString(), message);
		assert.strictEqual(m.size, message.length);
		assert.ok(m.flags.has('\\Seen') && m.flags.has('Kept'));
		assert.strictEqual(m.envelope.subject, 'flüss');
		assert.deepStrictEqual(m.envelope.from, [{ name: 'Doe, J', address: 'j@example.org' }]);
		assert.strictEqual(m.bodyStructure.childNodes.length, 3);
		assert.strictEqual(m.bodyStructure.childNodes[2].parameters.name, 'ä.pdf');
		assert.ok(m.modseq > 0n && m.emailId);
		assert.strictEqual((await text((await client.download('1', '1', { uid: true })).content)).toString().trim(), 'Grüße');
		assert.deepStrictEqual(await text((await client.download('1', '3', { uid: true })).content), Buffer.from([0, 1, 2, 3]));
		assert.deepStrictEqual(await client.search({ subject: 'flüss', seen: true }, { uid: true }), [1]);
		assert.deepStrictEqual(await client.search({ body: 'nowhere' }, { uid: true }), []);
		assert.ok(await client.messageFlagsAdd('1', ['\\Flagged', '$Work'], { uid: true }));
		const copied = await client.messageCopy('1', there, { uid: true });
		assert.strictEqual(copied.uidMap.get(1), 1);
		const moved = await client.messageMove('1', there, { uid: true });
		assert.strictEqual(moved.uidMap.get(1), 2);
		assert.strictEqual(client.mailbox.exists, 0);
	} finally {
		lock.release();
	}
	const status = await client.status(there, { messages: true, uidNext: true, highestModseq: true, unseen: true });
	assert.deepStrictEqual([status.messages, status.uidNext, status.unseen], [2, 3, 0]);
	await client.mailboxOpen(there);
	const seen = [];
	for await (const x of client.fetch('1:*', { flags: true }, { changedSince: 1n })) seen.push(x.uid);
	assert.deepStrictEqual(seen, [1, 2]);
	// Idle: what is new is told.
	const exists = new Promise(resolve => client.once('exists', resolve));
	const other = new ImapFlow({ host: 'localhost', port: Number(port), secure: mode === 'tls', auth: { user: 'node', pass: password }, logger: false });
	await other.connect();
	client.idle();
	await new Promise(resolve => setTimeout(resolve, 300));
	await other.append(there, 'Subject: new\r\n\r\n');
	assert.strictEqual((await exists).count, 3);
	await other.logout();
	assert.ok(await client.messageDelete('1:2', { uid: true }));
	await client.mailboxClose();
	const renamed = await client.mailboxRename(there, `${mode} again`);
	await client.mailboxDelete(renamed.newPath);
	await client.mailboxDelete(made.path);
	await client.logout();
})().catch(e => { console.error(e); process.exit(1); });
"""

for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        path = os.path.join(s.dir, "client.js")
        with open(path, "w") as f:
            f.write(SCRIPT)
        env = dict(os.environ, NODE_EXTRA_CA_CERTS=s.ca)
        for mode, port in (("plain", "imap"), ("starttls", "imap"), ("tls", "imaps")):
            run("node", path, mode, str(s.ports[port]), culver.PASSWORD, env=env)
        healthy(s)
