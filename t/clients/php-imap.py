#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PHP's imap extension, which is the c-client library that Alpine has too, by IMAP and POP3; and Horde's IMAP client, which uses CONDSTORE,
QRESYNC, ESEARCH, ESORT, THREAD and METADATA where they are announced. Without TLS, with TLS, Horde's with STARTTLS; each where it is installed."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, healthy, mail, need, run, same, skip  # noqa: E402

need("php")
EXTENSION = subprocess.run(["php", "-r", "exit(extension_loaded('imap') ? 0 : 1);"]).returncode == 0
HORDE = os.path.exists("/usr/share/php/Horde/Imap/Client/Socket.php")
if not EXTENSION and not HORDE:
    skip("neither php-imap nor php-horde-imap-client is installed")

COMMON = r"""<?php
error_reporting(E_ALL & ~E_DEPRECATED);
function same($what, $got, $wanted) {
	if ($got !== $wanted) {
		fwrite(STDERR, "$what: got " . var_export($got, true) . ", wanted " . var_export($wanted, true) . "\n");
		if (function_exists('imap_errors')) fwrite(STDERR, var_export(imap_errors(), true));
		exit(1);
	}
}
[$self, $mode, $port, $pop_port, $ca, $password] = $argv;
$message = implode("\r\n", ['From: "Doe, J" <j@example.org>', 'To: a@example.org, list: b@example.org, c@example.org;', "Subject: php $mode",
	'Date: Mon, 2 Nov 2026 10:00:00 +0000', 'Message-ID: <a@php>', 'MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=b', '', '--b', '',
	'text', '--b', 'Content-Type: message/rfc822', '', 'Subject: inside', 'Content-Type: multipart/alternative; boundary=c', '', '--c', '', 'one',
	'--c', 'Content-Type: text/html', '', 'two', '--c--', '--b', "Content-Type: application/pdf; name*=utf-8''%C3%A4.pdf",
	'Content-Disposition: attachment; filename="a\"b.pdf"', 'Content-Transfer-Encoding: base64', '', 'AAECAw==', '--b--', '']);
$reply = implode("\r\n", ['From: x@example.org', 'Subject: Re: none', 'Message-ID: <b@php>', 'In-Reply-To: <a@php>', '', 'an answer', '']);
"""

CCLIENT = COMMON + r"""
$flags = $mode == 'tls' ? '/ssl' : '/notls';
$base = "{localhost:$port/imap$flags}";
$imap = imap_open($base . 'INBOX', 'cclient', $password);
if (!$imap) same('open', imap_errors(), null);
$here = 'Aus &- ' . $mode . '/&AOQ-';
$there = "to \"$mode\"";
same('create', [imap_createmailbox($imap, $base . $here), imap_createmailbox($imap, $base . $there)], [true, true]);
same('subscribe', imap_subscribe($imap, $base . $here), true);
same('list', imap_list($imap, $base, "Aus &- $mode/%"), [$base . $here]);
same('lsub', in_array($base . $here, imap_lsub($imap, $base, '*')), true);
same('append', imap_append($imap, $base . $here, $message, '\\Seen Kept', '02-Nov-2026 10:00:00 +0000'), true);
same('append', imap_append($imap, $base . $here, $reply), true);
same('reopen', imap_reopen($imap, $base . $here), true);
same('count', imap_num_msg($imap), 2);
$h = imap_headerinfo($imap, 1);
same('envelope', [$h->from[0]->personal, count($h->to)], ['Doe, J', 5]);
$o = imap_fetch_overview($imap, '1:2', 0);
same('overview', [$o[0]->subject, $o[0]->seen, $o[1]->seen, $o[0]->size, $o[1]->in_reply_to], ["php $mode", 1, 0, strlen($message), '<a@php>']);
$s = imap_fetchstructure($imap, 1);
same('structure', [count($s->parts), $s->parts[1]->subtype, $s->parts[1]->parts[0]->parts[1]->subtype, $s->parts[2]->dparameters[0]->value],
	[3, 'RFC822', 'HTML', 'a"b.pdf']);
same('part', imap_fetchbody($imap, 1, '2.2', FT_PEEK), 'two');
same('attachment', imap_base64(imap_fetchbody($imap, 1, '3', FT_PEEK)), "\0\1\2\3");
same('octets', imap_fetchheader($imap, 1) . imap_body($imap, 1, FT_PEEK), $message);
same('search', imap_search($imap, 'SUBJECT "php" UNFLAGGED', SE_UID), [imap_uid($imap, 1)]);
same('body', imap_search($imap, 'BODY "an answer"'), [2]);
same('sort', imap_sort($imap, SORTSUBJECT, false), [2, 1]);
$t = imap_thread($imap);
same('thread', [$t['0.num'], $t['0.next'], $t['1.num']], [1, 1, 2]);
same('store', imap_setflag_full($imap, '1', '\\Flagged $Work'), true);
same('clear', imap_clearflag_full($imap, '1', '\\Seen'), true);
$o = imap_fetch_overview($imap, '1', 0);
same('flags', [$o[0]->flagged, $o[0]->seen], [1, 0]);
same('copy', imap_mail_copy($imap, '1', $there), true);
same('move', imap_mail_move($imap, '2', $there), true);
same('expunge', imap_expunge($imap), true);
same('count', imap_num_msg($imap), 1);
$st = imap_status($imap, $base . $there, SA_ALL);
same('status', [$st->messages, $st->unseen, $st->uidnext], [2, 2, 3]);
same('check', imap_check($imap)->Nmsgs, 1);
same('rename', imap_renamemailbox($imap, $base . $there, $base . "$mode again"), true);
imap_reopen($imap, $base . 'INBOX');
same('delete', [imap_deletemailbox($imap, $base . "$mode again"), imap_deletemailbox($imap, $base . $here)], [true, true]);
same('close', imap_close($imap, CL_EXPUNGE), true);
if ($pop_port) {
	$pop = imap_open("{localhost:$pop_port/pop3$flags}INBOX", 'phppop', $password);
	if (!$pop) same('open', imap_errors(), null);
	same('count', imap_num_msg($pop), 2);
	same('subject', imap_headerinfo($pop, 2)->subject, 'p1');
	same('body', imap_body($pop, 1), "A few words.\r\n");
	imap_close($pop);
}
// Of a server on this machine, where passwords may go without TLS, it says that this is a security problem.
same('errors', array_diff(imap_errors() ?: [], ['SECURITY PROBLEM: insecure server advertised AUTH=PLAIN']), []);
"""

HORDE_SCRIPT = COMMON + r"""
spl_autoload_register(function ($class) { @include_once strtr($class, '_\\', '//') . '.php'; });
$imap = new Horde_Imap_Client_Socket(['username' => 'horde', 'password' => $password, 'hostspec' => 'localhost', 'port' => (int)$port,
	'secure' => ['plain' => false, 'tls' => 'ssl', 'starttls' => 'tls'][$mode], 'context' => ['ssl' => ['cafile' => $ca, 'verify_peer' => true]],
	'debug' => getenv('HORDE_LOG') ?: null,
	'cache' => ['backend' => new Horde_Imap_Client_Cache_Backend_Null()],
	// With it enabled this client sends messages in ASCII as quoted strings with line ends in them.
	'capability_ignore' => ['UTF8']]);
$imap->login();
$here = new Horde_Imap_Client_Mailbox("Aus & $mode/ä");
$there = new Horde_Imap_Client_Mailbox("to \"$mode\" \\");
foreach ([$here, $there] as $m) { $imap->createMailbox($m); $imap->subscribeMailbox($m); }
$imap->createMailbox("uses $mode", ['special_use' => []]);
$list = $imap->listMailboxes(['*'], Horde_Imap_Client::MBOX_ALL_SUBSCRIBED, ['attributes' => true, 'special_use' => true, 'children' => true,
	'status' => Horde_Imap_Client::STATUS_MESSAGES]);
same('list', [isset($list[(string)$here]), $list['INBOX']['status']['messages'], in_array('\\trash', $list['Trash']['attributes'])], [true, 0, true]);
$ids = $imap->append($here, [['data' => $message, 'flags' => ['\\seen', 'kept'], 'internaldate' => new DateTime('2026-11-02 10:00:00 +0000')],
	['data' => $reply]]);
same('appenduid', $ids->ids, [1, 2]);
$imap->openMailbox($here, Horde_Imap_Client::OPEN_READWRITE);
$q = new Horde_Imap_Client_Fetch_Query();
$q->structure(); $q->envelope(); $q->flags(); $q->size(); $q->uid(); $q->imapDate(); $q->modseq();
$q->fullText(['peek' => true]);
$q->bodyPart('2.2', ['peek' => true]);
$q->bodyPart('3', ['peek' => true, 'decode' => true]);
$q->bodyPartSize('3', ['decode' => true]);
$q->mimeHeader('3', ['peek' => true]);
$f = $imap->fetch($here, $q, ['ids' => new Horde_Imap_Client_Ids([1])])->first();
same('octets', $f->getFullMsg(), $message);
same('part', [$f->getBodyPart('2.2'), $f->getBodyPart('3'), $f->getBodyPartSize('3')], ['two', "\0\1\2\3", 4]);
same('structure', array_keys($f->getStructure()->contentTypeMap()), [0, 1, 2, '2.0', '2.1', '2.2', 3]);
same('envelope', [$f->getEnvelope()->subject, count($f->getEnvelope()->to)], ["php $mode", 3]);
same('modseq', $f->getModSeq() > 0, true);
$find = function ($query, $o = []) use ($imap, $here) { return $imap->search($here, $query, $o); };
$q = new Horde_Imap_Client_Search_Query(); $q->text('an answer');
same('search', $find($q)['match']->ids, [2]);
$q = new Horde_Imap_Client_Search_Query(); $q->flag('\\seen', false);
same('unseen', (int)$find($q, ['results' => [Horde_Imap_Client::SEARCH_RESULTS_COUNT, Horde_Imap_Client::SEARCH_RESULTS_MIN]])['count'], 1);
same('sort', $find(null, ['sort' => [Horde_Imap_Client::SORT_SUBJECT]])['match']->ids, [2, 1]);
same('sort', $find(null, ['sort' => [Horde_Imap_Client::SORT_REVERSE, Horde_Imap_Client::SORT_DISPLAYFROM]])['match']->ids, [2, 1]);
$q = new Horde_Imap_Client_Search_Query(); $q->intervalSearch(86400, Horde_Imap_Client_Search_Query::INTERVAL_YOUNGER);
same('within', $find($q)['match']->ids, [2]);
$t = $imap->thread($here, ['criteria' => Horde_Imap_Client::THREAD_REFS]);
same('thread', array_keys($t->getThread(2)), [1, 2]);
$sync = $imap->getSyncToken($here);
$imap->store($here, ['add' => ['\\flagged', '$work'], 'ids' => new Horde_Imap_Client_Ids([1]), 'unchangedsince' => $f->getModSeq()]);
same('copy', $imap->copy($here, $there, ['ids' => new Horde_Imap_Client_Ids([1]), 'force_map' => true]), [1 => 1]);
same('move', $imap->copy($here, $there, ['ids' => new Horde_Imap_Client_Ids([2]), 'move' => true, 'force_map' => true]), [2 => 2]);
$d = $imap->sync($here, $sync);
same('sync', [$d->flagsuids->ids, $d->vanisheduids->ids], [[1], [2]]);
$st = $imap->status($there, Horde_Imap_Client::STATUS_MESSAGES | Horde_Imap_Client::STATUS_UIDNEXT | Horde_Imap_Client::STATUS_HIGHESTMODSEQ);
same('status', [$st['messages'], $st['uidnext'], $st['highestmodseq'] > 0], [2, 3, true]);
$imap->setMetadata($here, ['/shared/comment' => "a \"b\" \\ ä"]);
same('metadata', $imap->getMetadata($here, ['/shared/comment'])[(string)$here]['/shared/comment'], "a \"b\" \\ ä");
$imap->store($here, ['add' => ['\\deleted'], 'ids' => new Horde_Imap_Client_Ids([1])]);
same('expunge', $imap->expunge($here, ['ids' => new Horde_Imap_Client_Ids([1]), 'list' => true])->ids, [1]);
same('namespace', array_keys(iterator_to_array($imap->getNamespaces())), ['']);
same('id', $imap->getID()['name'], 'Culver');
$imap->renameMailbox($there, "$mode again");
foreach ([$here, "$mode again", "uses $mode"] as $m) $imap->deleteMailbox($m);
$imap->logout();
"""

for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        for i in range(2):
            same(s.deliver("phppop", mail(f"p{i}"))[0], 250)
        ini = ["-d", "openssl.cafile=" + s.ca, "-d", "display_errors=stderr"]
        env = dict(os.environ, SSL_CERT_FILE=s.ca, SSL_CERT_DIR="/nowhere")
        for there, name, script in ((EXTENSION, "c-client", CCLIENT), (HORDE, "horde", HORDE_SCRIPT)):
            if not there:
                continue
            path = os.path.join(s.dir, name + ".php")
            with open(path, "w") as f:
                f.write(script)
            # c-client asks for TLS 1.0 and nothing else behind STARTTLS, which ssl_min_protocol refuses.
            for mode, port, pop in (("plain", "imap", "pop3"), ("starttls", "imap", "pop3"), ("tls", "imaps", "pop3s")):
                if name == "c-client" and mode == "starttls":
                    continue
                run("php", *ini, path, mode, str(s.ports[port]), str(s.ports[pop]), s.ca, culver.PASSWORD, env=env)
        healthy(s)
