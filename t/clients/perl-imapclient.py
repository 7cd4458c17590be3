#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Perl's Mail::IMAPClient, which parses BODYSTRUCTURE and ENVELOPE with a grammar of its own: without TLS, with STARTTLS, with TLS."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, healthy, need, run, skip  # noqa: E402

need("perl")
if subprocess.run(["perl", "-MMail::IMAPClient", "-MIO::Socket::SSL", "-MParse::RecDescent", "-e", "1"], capture_output=True).returncode:
    skip("Mail::IMAPClient, IO::Socket::SSL or Parse::RecDescent is not installed")

SCRIPT = r"""
use strict;
use warnings;
use Mail::IMAPClient;
my ($mode, $port, $ca, $password) = @ARGV;
my @tls = (SSL_ca_file => $ca);
my $imap = Mail::IMAPClient->new(Server => 'localhost', Port => $port, User => 'perl', Password => $password, Uid => 1,
	$mode eq 'tls' ? (Ssl => \@tls) : $mode eq 'starttls' ? (Starttls => \@tls) : ()) or die "login: $@";
sub ok { my ($what, $got, $wanted) = @_; die "$mode: $what: " . ($imap->LastError // '') unless defined $got;
	die "$mode: $what: got '$got', wanted '$wanted'" if defined $wanted && "$got" ne "$wanted"; return $got; }
my $message = join("\r\n", 'From: "Doe, J" <j@example.org>', 'To: a@example.org, list: b@example.org, c@example.org;', "Subject: perl $mode",
	'Content-Type: multipart/mixed; boundary=b', '', '--b', '', 'text', '--b', 'Content-Type: message/rfc822', '',
	'Subject: inside', 'Content-Type: multipart/alternative; boundary=c', '', '--c', '', 'one', '--c', 'Content-Type: text/html', '', 'two', '--c--',
	'--b', "Content-Type: application/pdf; name*=utf-8''%C3%A4.pdf", 'Content-Disposition: attachment', 'Content-Transfer-Encoding: base64', '',
	'AAAA', '--b--', '');
my ($here, $there) = ("from $mode", "to \"$mode\" \\");
ok('create', scalar $imap->create($here));
ok('create', scalar $imap->create($there));
my $uid = ok('append', scalar $imap->append_string($here, $message, '\\Seen Kept'));
ok('select', scalar $imap->select($here));
ok('search', join(' ', @{$imap->search('SUBJECT', "perl $mode")}), $uid);
ok('octets', $imap->message_string($uid), $message);
my $parts = ok('structure', scalar $imap->get_bodystructure($uid));
ok('parts', join(' ', $parts->parts), '1 2 2.HEAD 2.TEXT 2.1 2.2 3');
my $envelope = ok('envelope', scalar $imap->get_envelope($uid));
ok('subject', $envelope->subject, "perl $mode");
ok('from', join(',', $envelope->from_addresses), 'Doe, J <j@example.org>');
ok('header', $imap->parse_headers($uid, 'Subject')->{Subject}[0], "perl $mode");
ok('store', scalar $imap->set_flag('Flagged', $uid));
ok('flags', join(' ', sort grep { $_ ne '\\Recent' } $imap->flags($uid)), 'Kept \\Flagged \\Seen');
ok('copy', scalar $imap->copy($there, $uid));
ok('move', scalar $imap->move($there, $uid));
ok('expunge', scalar $imap->expunge);
ok('count', $imap->message_count, 0);
ok('select', scalar $imap->select($there));
ok('count', $imap->message_count, 2);
my $idle = ok('idle', scalar $imap->idle);
ok('done', scalar $imap->done($idle));
die 'folders' unless grep { $_ eq $there } $imap->folders;
ok('rename', scalar $imap->rename($here, "$here again"));
ok('delete', scalar $imap->delete("$here again"));
ok('close', scalar $imap->close);
ok('logout', scalar $imap->logout);
"""

for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        path = os.path.join(s.dir, "client.pl")
        with open(path, "w") as f:
            f.write(SCRIPT)
        for mode, port in (("plain", "imap"), ("starttls", "imap"), ("tls", "imaps")):
            run("perl", path, mode, str(s.ports[port]), s.ca, culver.PASSWORD)
        healthy(s)
