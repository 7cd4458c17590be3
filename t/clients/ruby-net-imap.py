#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ruby's Net::IMAP and Net::POP3, whose parser takes nothing that the grammar has not: without TLS, with STARTTLS, with TLS."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, healthy, mail, need, run, same, skip  # noqa: E402

need("ruby")
if subprocess.run(["ruby", "-rnet/imap", "-rnet/pop", "-e", "1"], capture_output=True).returncode:
    skip("Ruby is without net/imap or net/pop")

SCRIPT = r"""
require 'net/imap'
require 'net/pop'
mode, port, pop_port, ca, password = ARGV
def same(what, got, wanted) raise "#{what}: got #{got.inspect}, wanted #{wanted.inspect}" unless got == wanted end
tls = { ca_file: ca }
imap = Net::IMAP.new('localhost', port: port.to_i, **(mode == 'tls' ? { ssl: tls } : {}))
imap.starttls(tls) if mode == 'starttls'
if mode == 'plain' then imap.login('ruby', password) else imap.authenticate('PLAIN', 'ruby', password) end
caps = imap.capability
%w[IMAP4REV1 IDLE MOVE UIDPLUS SORT THREAD=REFERENCES].each { |c| raise "no #{c}" unless caps.include?(c) }
here, there = Net::IMAP.encode_utf7("Aus & #{mode}/ä"), "to \"#{mode}\" \\"
[here, there].each { |m| imap.create(m); imap.subscribe(m) }
same('list', imap.list('', Net::IMAP.encode_utf7("Aus & #{mode}/%")).map(&:name), [here])
same('lsub', imap.lsub('', '*').map(&:name).include?(there), true)
same('special use', imap.list('', 'Trash')[0].delim, '/')
message = ['From: "Doe, J" <j@example.org>', 'To: a@example.org, list: b@example.org, c@example.org;', 'Subject: =?utf-8?q?r=C3=BCby?=',
  'Date: Mon, 2 Nov 2026 10:00:00 +0000', 'Message-ID: <a@ruby>', 'MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=b', '', '--b', '',
  'text', '--b', 'Content-Type: message/rfc822', '', 'Subject: inside', 'Content-Type: multipart/alternative; boundary=c', '', '--c', '', 'one', '--c',
  'Content-Type: text/html; charset="utf-8"', 'Content-Language: de, en', 'Content-Location: x', '', 'two', '--c--', '--b',
  "Content-Type: application/pdf; name*=utf-8''%C3%A4.pdf", 'Content-Disposition: attachment; filename="a\"b.pdf"',
  'Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==', 'Content-Transfer-Encoding: base64', '', 'AAAA', '--b--', ''].join("\r\n")
reply = ['From: x@example.org', 'Subject: Re: none', 'Message-ID: <b@ruby>', 'In-Reply-To: <a@ruby>', '', 'an answer', ''].join("\r\n")
r = imap.append(here, message, [:Seen, 'Kept'], Time.at(1700000000))
same('appenduid', r.data.code.name, 'APPENDUID')
imap.append(here, reply)
imap.select(here)
same('exists', imap.responses['EXISTS'][-1], 2)
uid, uid2 = imap.uid_search(['ALL'])
f = imap.uid_fetch(uid, %w[FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[] BODY.PEEK[2.2] BODY.PEEK[HEADER.FIELDS\ (SUBJECT)]])[0].attr
same('octets', f['BODY[]'], message)
same('size', f['RFC822.SIZE'], message.bytesize)
same('flags', f['FLAGS'] - [:Recent], [:Seen, 'Kept'])
same('date', f['INTERNALDATE'], Time.at(1700000000).strftime('%d-%b-%Y %H:%M:%S %z'))
same('envelope', [f['ENVELOPE'].subject, f['ENVELOPE'].from[0].name, f['ENVELOPE'].to.map(&:mailbox)],
  ['=?utf-8?q?r=C3=BCby?=', 'Doe, J', ['a', 'list', 'b', 'c', nil]])
s = f['BODYSTRUCTURE']
same('parts', s.parts.map { |p| "#{p.media_type}/#{p.subtype}" }, ['TEXT/PLAIN', 'MESSAGE/RFC822', 'APPLICATION/PDF'])
same('inner', [s.parts[1].envelope.subject, s.parts[1].body.parts[1].language], ['inside', %w[DE EN]]) # it makes them capitals
same('disposition', [s.parts[2].disposition.dsp_type, s.parts[2].disposition.param['FILENAME']], ['ATTACHMENT', 'a"b.pdf'])
same('md5', s.parts[2].md5, 'Q2hlY2sgSW50ZWdyaXR5IQ==')
same('header', f['BODY[HEADER.FIELDS (SUBJECT)]'], "Subject: =?utf-8?q?r=C3=BCby?=\r\n\r\n")
same('search', imap.uid_search(['SUBJECT', 'rüby'.b], 'UTF-8'), [uid])
same('body', imap.uid_search(['BODY', 'an answer', 'UNSEEN']), [uid2])
same('sort', imap.uid_sort(%w[REVERSE ARRIVAL], ['ALL'], 'US-ASCII').sort, [uid, uid2].sort)
same('sort', imap.uid_sort(%w[SUBJECT], ['ALL'], 'UTF-8'), [uid2, uid])
t = imap.uid_thread('REFERENCES', ['ALL'], 'UTF-8')
same('thread', [t[0].seqno, t[0].children.map(&:seqno)], [uid, [uid2]])
same('store', imap.uid_store(uid, '+FLAGS', [:Flagged, '$Work'])[0].attr['FLAGS'].include?('$Work'), true)
r = imap.uid_copy(uid, there)
same('copyuid', r.data.code.name, 'COPYUID')
imap.uid_move(uid2, there)
same('expunge', imap.responses['EXPUNGE'], [2])
same('status', imap.status(there, %w[MESSAGES UNSEEN UIDNEXT]), { 'MESSAGES' => 2, 'UNSEEN' => 1, 'UIDNEXT' => 3 })
# What another session changes arrives while this one idles.
other = Net::IMAP.new('localhost', port: port.to_i, **(mode == 'tls' ? { ssl: tls } : {}))
other.starttls(tls) if mode == 'starttls'
other.login('ruby', password)
seen = []
done = false
imap.idle(20) do |resp|
  if resp.is_a?(Net::IMAP::ContinuationRequest)
    Thread.new { other.append(here, reply); other.select(here); other.store(1, '+FLAGS', [:Answered]) }
  elsif resp.is_a?(Net::IMAP::UntaggedResponse)
    seen << resp.name
    if seen.include?('EXISTS') && seen.include?('FETCH') && !done
      done = true
      imap.idle_done
    end
  end
end
same('idle', done, true)
imap.store(1, '+FLAGS', [:Deleted])
same('expunge', imap.expunge, [2, 1]) # those of MOVE, too
begin
  imap.select('not there')
  raise 'selected what is not there'
rescue Net::IMAP::NoResponseError => e
  same('code', e.response.data.code.name, 'NONEXISTENT')
end
imap.examine(there)

imap.close
imap.rename(here, "#{mode} again")
imap.delete("#{mode} again")
imap.delete(there)
other.logout
imap.logout
imap.disconnect
unless pop_port == '0'
  Net::POP3.enable_ssl(OpenSSL::SSL::VERIFY_PEER, ca) if mode == 'tls'
  pop = Net::POP3.new('localhost', pop_port.to_i)
  pop.start('rubypop', password)
  same('pop', pop.mails.map { |m| m.pop[/^Subject: (.*)\r$/, 1] }, %w[p0 p1])
  same('top', pop.mails[0].header[/^Subject: (.*)\r$/, 1], 'p0')
  same('uidl', pop.mails.map(&:unique_id).uniq.size, 2)
  pop.finish
end
"""

for storage in culver.storages():
    with culver.Server(storage=storage) as s:
        for i in range(2):
            same(s.deliver("rubypop", mail(f"p{i}"))[0], 250)
        path = os.path.join(s.dir, "client.rb")
        with open(path, "w") as f:
            f.write(SCRIPT)
        for mode, port, pop in (("plain", "imap", "pop3"), ("starttls", "imap", ""), ("tls", "imaps", "pop3s")):
            run("ruby", "-W0", "-EUTF-8:UTF-8", path, mode, str(s.ports[port]), str(s.ports[pop]) if pop else "0", s.ca, culver.PASSWORD)
        healthy(s)
