#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every hook runs where its comment says, a refusal reaches the client or MTA with its words and the right code, and nothing is half done;
a journal subscriber gets every record, over kill -9 of its worker. With the test plugins in t/plugins/recorder."""
import os
import poplib
import re
import shutil
import signal
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import Imap, Log, culver, fail, mail, need, run, same  # noqa: E402

need("make", "pkg-config", "cc")
here = os.path.dirname(os.path.abspath(__file__))


def build(s):
    env = dict(os.environ)
    pc = [os.path.join(s.prefix, d, "pkgconfig") for d in ("lib", "lib64", "lib/x86_64-linux-gnu")]
    env["PKG_CONFIG_PATH"] = ":".join(pc)
    installed = run("pkg-config", "--variable=moduledir", "culver", env=env).stdout.strip()
    work, modules = os.path.join(s.dir, "plugin"), os.path.join(s.dir, "modules")
    shutil.copytree(os.path.join(here, "..", "plugins", "recorder"), work)
    shutil.copytree(installed, modules)
    if b"__asan" in open(s.binary("culverd"), "rb").read():
        env["LDFLAGS"] = "-Wl,-z,nodefs -Wl,--unresolved-symbols=ignore-all"
    run("make", "-C", work, "CFLAGS=-O1 -g -Werror", env=env)
    run("make", "-C", work, "install", f"MODULE_DIR={modules}", env=env)
    with open(s.conf) as f:
        text = f.read()
    with open(s.conf, "w") as f:
        f.write(f"mail_plugin_dir = {modules}\n" + text)


def crlf(text):
    return text.replace("\n", "\r\n").encode()


def logins(s, log):
    m = Imap(s, "anna")
    log.wait("hook auth_begin user=anna service=imap", "hook auth_success user=anna", "hook auth_result user=anna success=1 temporary=0",
             "hook user_open user=anna", "hook session_start user=anna")
    m.cmd("LOGOUT")
    m.close()
    log.wait("hook session_end user=anna")

    m = Imap(s)
    answer = m.cmd("LOGIN anna wrong")
    same(answer[:27], "NO [AUTHENTICATIONFAILED] "[:27].ljust(26) + answer[26:27])
    got = log.wait("hook auth_begin user=anna", "hook auth_result user=anna success=0 temporary=0")
    if any("auth_success" in line for line in got):
        fail("auth_success ran for a wrong password")
    # GUARD: the words of who refuses reach the client, before and after the password was looked at.
    for user, words in (("nobegin", "Closed on Sundays"), ("nosuccess", "Account is locked")):
        answer = m.cmd(f"LOGIN {user} {culver.PASSWORD}")
        if not re.match(r"NO \[(CONTACTADMIN|NOPERM|AUTHORIZATIONFAILED|AUTHENTICATIONFAILED)\] .*" + words, answer):
            fail(f"{user}: {answer}")
        log.wait(f"hook auth_begin user={user}", f"hook auth_result user={user} success=0 temporary=0")
    answer = m.cmd(f"LOGIN broken {culver.PASSWORD}")
    same(answer.startswith("NO [UNAVAILABLE]"), True, answer)
    log.wait("hook auth_result user=broken success=0 temporary=1")
    m.close()
    for user, words in (("noopen", "Mail is closed"), ("nosession", "No sessions now")):
        m = Imap(s)
        answer = m.cmd(f"LOGIN {user} {culver.PASSWORD}")
        if words not in answer + " ".join(m.untagged) or answer.startswith("OK"):
            fail(f"{user}: {answer} {m.untagged}")
        m.close()
    for user, answer in (("nobegin", "[AUTH] Closed on Sundays"), ("nosession", "[AUTH] No sessions now"), ("noopen", "[SYS/PERM] Mail is closed")):
        p = poplib.POP3("127.0.0.1", s.ports["pop3"], timeout=20)
        try:
            p.user(user)
            p.pass_(culver.PASSWORD)
            fail(f"POP3 {user} was let in")
        except poplib.error_proto as e:
            same(e.args[0], f"-ERR {answer}".encode())
        p.close()
    log.lines()


def mailboxes(s, log):
    m = Imap(s, "anna")
    same(m.cmd("CREATE Work")[:2], "OK")
    log.wait("hook mailbox_op create Work", "hook mailbox_op_done create Work", "journal user=anna")
    same(m.cmd("SUBSCRIBE Work")[:2], "OK")
    log.wait("hook mailbox_op subscribe Work", "hook mailbox_op_done subscribe Work")
    same(m.cmd("RENAME Work Play")[:2], "OK")
    log.wait("hook mailbox_op rename Work Play", "hook mailbox_op_done rename Work Play")
    same(m.cmd("UNSUBSCRIBE Work")[:2], "OK")
    log.wait("hook mailbox_op unsubscribe Work", "hook mailbox_op_done unsubscribe Work")
    for command in ("CREATE forbidden", "RENAME Play forbidden", "SUBSCRIBE forbidden"):
        same(m.cmd(command), "NO [NOPERM] This name is taboo", command)
    got = log.lines()
    same([line for line in got if "done" in line or "journal" in line], [], "nothing of what was refused")
    m.cmd('LIST "" "*"')
    same([line for line in m.untagged if "forbidden" in line], [])
    same(m.cmd("DELETE Play")[:2], "OK")
    log.wait("hook mailbox_op delete Play", "hook mailbox_op_done delete Play", "journal user=anna")
    m.close()


def refused(m, command, code, literal=None):
    same(m.cmd(command, literal)[:len(code)], code, command)


def rights(s, log):
    """What the hook takes away is gone in every command, and a mailbox that may not be looked up looks as if it did not exist."""
    m = Imap(s, "dora")
    names = ("seen-rights-lrs", "none-rights-", "read-rights-r", "look-rights-l", "in-rights-lrwis", "in2-rights-lrti", "out-rights-lrsw",
             "flags-rights-lrtsw", "gone-rights-lrxk", "x-rights-x", "access", "erraccess", "deny-noaccess", "ro-rights-lr")
    for name in names:
        same(m.cmd(f"CREATE {name}")[:2], "OK", name)
    log.lines()
    same(m.cmd("STATUS access (MESSAGES)")[:2], "OK")
    got = [line for line in log.wait("hook mailbox_access access guid=1") if "mailbox_access access" in line]
    same(len(got) <= 2, True, got)
    # A name that has no mailbox is asked for its nearest mailbox above only.
    same(m.cmd("CREATE access/a/b")[:2], "OK")
    log.wait("hook mailbox_access access guid=1")
    m.cmd('LIST "" *')
    listed = " ".join(m.untagged)
    for name in names:
        same(name in listed, "-r" not in name and "erraccess" not in name and "noaccess" not in name or "-l" in name, name)
    refused(m, "CREATE look-rights-l/below", "NO [NOPERM] ")
    refused(m, "CREATE none-rights-/below", "NO [NOPERM] ")
    same(m.cmd("CREATE gone-rights-lrxk/below/access")[:2], "OK")
    refused(m, "CREATE none-rights-", "NO [NOPERM] ")
    refused(m, "CREATE look-rights-l", "NO [ALREADYEXISTS] ")
    # Below what is hidden: the level is there, the mailbox is not.
    same(m.cmd("RENAME gone-rights-lrxk/below/access none-rights-/access"), "NO [NOPERM] Permission denied")
    same(m.cmd("RENAME access access-rights-k")[:2], "OK")
    m.cmd('LIST "" access-rights-*')
    same(m.untagged[0], '* LIST (\\Noselect \\HasChildren) "/" access-rights-k')
    same(len(m.untagged), 3, m.untagged)
    same(m.cmd("CREATE access-rights-k/c")[:2], "OK")
    # \HasChildren only of what is shown.
    same(m.cmd("CREATE plain")[:2], "OK")
    same(m.cmd("CREATE plain/hid-rights-s")[:2], "OK")
    m.cmd('LIST "" plain*')
    same(m.untagged, ['* LIST (\\HasNoChildren) "/" plain'])
    # Not there, and not to be told from what never was.
    never = [m.cmd(c.format("never")) for c in ("SELECT {}", "EXAMINE {}", "STATUS {} (MESSAGES)", "DELETE {}", "RENAME {} other")]
    for name in ("none-rights-", "deny-noaccess"):
        same([m.cmd(c.format(name)) for c in ("SELECT {}", "EXAMINE {}", "STATUS {} (MESSAGES)", "DELETE {}", "RENAME {} other")], never)
        same(m.cmd(f"APPEND {name}", crlf(mail("one"))), m.cmd("APPEND never", crlf(mail("one"))), name)
    # RFC 9208 section 6: GETQUOTAROOT needs "r", of what may be known at all.
    same(m.cmd("GETQUOTAROOT look-rights-l"), "NO [NOPERM] Permission denied")
    for name in ("ro-rights-lr", "none-rights-", "never"):
        same((m.cmd(f"GETQUOTAROOT {name}")[:2], m.untagged), ("OK", [f"* QUOTAROOT {name}"]))
    # Subscribing asks nobody.
    same(m.cmd("SUBSCRIBE none-rights-")[:2], "OK")
    m.cmd('LIST (SUBSCRIBED) "" *')
    same([line for line in m.untagged if "none" in line], ['* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" none-rights-'])
    m.cmd('LSUB "" *')
    same([line for line in m.untagged if "none" in line], ['* LSUB () "/" none-rights-'])
    same(m.cmd("UNSUBSCRIBE none-rights-")[:2], "OK")
    # Could not tell is not a no.
    answer = m.cmd("SELECT erraccess")
    same(answer.startswith("NO [UNAVAILABLE]") and "secret" not in answer, True, answer)
    # Seen, but not to be opened.
    for command in ("SELECT look-rights-l", "STATUS look-rights-l (MESSAGES)", "DELETE look-rights-l", "RENAME look-rights-l other"):
        refused(m, command, "NO [NOPERM] ")
    refused(m, "APPEND look-rights-l", "NO [NOPERM] ", crlf(mail("one")))
    m.cmd('LIST "" look-rights-l RETURN (STATUS (MESSAGES))')
    same(m.untagged, ['* LIST (\\HasNoChildren \\Noselect) "/" look-rights-l'])
    same(m.cmd("DELETE x-rights-x")[:2], "OK")
    # Opened, by its name alone.
    same(m.cmd("SELECT read-rights-r")[:2], "OK")
    same(m.cmd("SELECT ro-rights-lr").startswith("OK [READ-ONLY]"), True)

    # Messages with all flags.
    same(m.cmd("APPEND INBOX (\\Seen \\Deleted \\Flagged key)", crlf(mail("one")))[:2], "OK")
    same(m.cmd("APPEND in-rights-lrwis (\\Seen \\Deleted \\Flagged key)", crlf(mail("one")))[:2], "OK")
    same(m.cmd("APPEND in2-rights-lrti (\\Seen \\Deleted \\Flagged key)", crlf(mail("one")))[:2], "OK")
    same(m.cmd("SELECT INBOX")[:2], "OK")
    refused(m, "COPY 1 out-rights-lrsw", "NO [NOPERM] ")
    refused(m, "COPY 1 none-rights-", "NO [TRYCREATE] ")
    refused(m, "MOVE 1 out-rights-lrsw", "NO [NOPERM] ")
    for name, flags in (("in-rights-lrwis", "\\Flagged \\Seen key"), ("in2-rights-lrti", "\\Deleted")):
        same(m.cmd(f"COPY 1 {name}")[:2], "OK")
        same(m.cmd(f"SELECT {name}").startswith("OK [READ-WRITE]"), True)
        shown = [line for line in m.untagged if "PERMANENTFLAGS" in line]
        same(("\\*" in shown[0], "\\Deleted" in shown[0]), ("w" in name.split("-")[-1], "t" in name.split("-")[-1]), shown)
        m.cmd("FETCH 1:2 (FLAGS)")
        for line in m.untagged:
            have = re.search(r"FLAGS \((.*)\)\)", line).group(1).replace("\\Recent", "").split()
            same(sorted(have), sorted(flags.split()), name)
        m.cmd("SELECT INBOX")
    # in2 has no "s", "w" and "e".
    m.cmd("SELECT in2-rights-lrti")
    refused(m, "STORE 1 +FLAGS (\\Seen)", "NO [NOPERM] ")
    refused(m, "STORE 1 -FLAGS (key)", "NO [NOPERM] ")
    refused(m, "STORE 1 +FLAGS.SILENT (\\Flagged \\Answered)", "NO [NOPERM] ")
    same(m.cmd("STORE 1 FLAGS (\\Seen key)")[:2], "OK")
    same("FLAGS ()" in m.untagged[-1] or "FLAGS (\\Recent)" in m.untagged[-1], True, m.untagged)
    same(m.cmd("STORE 1 +FLAGS (\\Seen \\Deleted)")[:2], "OK")
    same("\\Seen" in m.untagged[-1], False, m.untagged)
    refused(m, "EXPUNGE", "NO [NOPERM] ")
    refused(m, "UID EXPUNGE 1:*", "NO [NOPERM] ")
    refused(m, "MOVE 1 INBOX", "NO [NOPERM] ")
    refused(m, "REPLACE 1 INBOX", "NO [NOPERM] ", crlf(mail("one")))
    m.cmd("FETCH 2 BODY[]")
    m.cmd("FETCH 2 FLAGS")
    same("\\Seen" in m.untagged[-1], False, m.untagged)
    same(m.cmd("CLOSE")[:2], "OK")
    m.cmd("STATUS in2-rights-lrti (MESSAGES)")
    same(m.untagged, ["* STATUS in2-rights-lrti (MESSAGES 2)"])
    # REPLACE keeps what may not be changed.
    m.cmd("SELECT in-rights-lrwis")
    same(m.cmd("STORE 1 FLAGS (\\Deleted \\Answered)")[:2], "OK")
    same(re.search(r"FLAGS \((\\Recent )?\\Answered( \\Recent)?\)", m.untagged[-1]) is not None, True, m.untagged)
    refused(m, "STORE 1 +FLAGS (\\Deleted)", "NO [NOPERM] ")
    # Searched are those that may be read; by a word for many, only those that may be seen too.
    same(m.cmd("APPEND INBOX", crlf(mail("two")))[:2], "OK")
    same(m.cmd('ESEARCH IN (mailboxes (look-rights-l none-rights- in2-rights-lrti INBOX)) ALL')[:2], "OK")
    same(sorted(re.search(r"MAILBOX (\S+)", line).group(1) for line in m.untagged if "ESEARCH" in line), ["INBOX", "in2-rights-lrti"])
    same(m.cmd("ESEARCH IN (personal) ALL")[:2], "OK")
    same("look-rights" in " ".join(m.untagged), False)
    m.close()

    # The top of the tree.
    m = Imap(s, "emil-top-l")
    refused(m, "CREATE Work", "NO [NOPERM] ")
    same(m.cmd("CREATE INBOX/Work")[:2], "OK")
    refused(m, "RENAME INBOX/Work Work", "NO [NOPERM] ")
    m.close()

    # POP3 and LMTP.
    def pop(user):
        p = poplib.POP3("127.0.0.1", s.ports["pop3"], timeout=20)
        p.user(user)
        p.pass_(culver.PASSWORD)
        return p
    same(s.deliver("fritz-inbox-lrp", mail("one"))[0], 250)
    p = pop("fritz-inbox-lrp")
    p.retr(1)
    try:
        p.dele(1)
        fail("DELE without the right to expunge")
    except poplib.error_proto as e:
        same(e.args[0], b"-ERR [SYS/PERM] Permission denied.")
    p.quit()
    m = Imap(s, "fritz-inbox-lrp")
    m.cmd("EXAMINE INBOX")
    m.cmd("FETCH 1 FLAGS")
    same("\\Seen" in m.untagged[-1], False, m.untagged)
    m.close()
    try:
        pop("gerd-inbox-lp")
        fail("a maildrop that may not be read")
    except poplib.error_proto as e:
        same(e.args[0], b"-ERR [SYS/PERM] opening the maildrop: Permission denied")
    for user in ("hans-inbox-lri", "hans-inbox-"):
        same(s.deliver(user, mail("one"))[0], 550, user)


def saving(s, log):
    m = Imap(s, "bert")
    log.lines()
    same(m.cmd("APPEND INBOX", crlf(mail("one")))[:2], "OK")
    log.wait("hook message_save new to=INBOX", "hook commit save INBOX", "hook committed append INBOX uid=1")
    for header, code in (("refuse", "NO [NOPERM] This message is not wanted"), ("quota", "NO [OVERQUOTA] Mailbox is full")):
        same(m.cmd("APPEND INBOX", crlf(f"X-Save: {header}\n" + mail(header))), code)
    answer = m.cmd("APPEND INBOX", crlf("X-Save: error\n" + mail("error")))
    same(answer.startswith("NO [UNAVAILABLE]") and "secret" not in answer, True, answer)
    same(m.cmd("APPEND INBOX", crlf("X-Save: no-copies\n" + mail("two")))[:2], "OK")
    same(m.cmd("APPEND INBOX", crlf("X-Save: mark\n" + mail("three")))[:2], "OK")
    m.cmd("SELECT INBOX")
    m.cmd("FETCH 1:* (FLAGS)")
    same([line for line in m.untagged if "FETCH" in line][-1].endswith("FLAGS (\\Flagged $Marked))") or
         "$Marked" in m.untagged[-1], True, m.untagged)
    log.lines()
    same(m.cmd("COPY 1 Sent")[:2], "OK")
    log.wait("hook message_save copy to=Sent", "hook commit copy Sent", "hook committed copy Sent uid=1")
    same(m.cmd("COPY 1:3 Sent"), "NO [NOPERM] This message is not wanted")
    same(m.cmd("MOVE 1:3 Sent"), "NO [NOPERM] This message is not wanted")
    same(m.cmd("UID MOVE 1:* Sent"), "NO [NOPERM] This message is not wanted")
    m.cmd("STATUS Sent (MESSAGES)")
    same(m.untagged[-1], "* STATUS Sent (MESSAGES 1)", "nothing half done")
    m.cmd("NOOP")
    same([line for line in m.untagged if "EXPUNGE" in line], [])
    log.lines()
    same(m.cmd("STORE 1 +FLAGS ($Forbidden)"), "NO [NOPERM] This keyword is taboo")
    same(m.cmd("STORE 1 +FLAGS (\\Seen)")[:2], "OK")
    log.wait("hook commit flags INBOX", "hook commit flags INBOX", "hook committed flags INBOX uid=1")
    same(m.cmd("MOVE 1 Trash")[:2], "OK")
    log.wait("hook message_save move to=Trash", "hook commit copy Trash", "hook committed copy Trash uid=1", "hook committed expunge INBOX uid=1")
    same(m.cmd("STORE 1 +FLAGS (\\Deleted)")[:2], "OK")
    same(m.cmd("EXPUNGE")[:2], "OK")
    log.wait("hook commit expunge INBOX", "hook committed expunge INBOX uid=2")
    m.cmd("LOGOUT")
    m.close()


def delivery(s, log):
    same(s.deliver("carl", mail("plain"))[0], 250)
    log.wait("hook delivery recipient=carl from=sender@example.org", "hook message_save new to=INBOX", "hook commit save INBOX",
             "hook committed append INBOX uid=1", "hook delivered mailbox=INBOX uid=1")
    same(s.deliver("carl", "X-Deliver: junk\n" + mail("junk"))[0], 250)
    log.wait("hook delivery", "hook message_save new to=Junk", "hook delivered mailbox=Junk uid=1")
    same(s.deliver("carl", "X-Deliver: discard\n" + mail("discard"))[0], 250)
    got = log.wait("hook delivery", "hook delivered mailbox=INBOX uid=0")
    same([line for line in got if "message_save" in line or "committed" in line], [], "nothing is saved of what was discarded")
    # A rule's no is permanent, with its words; what could not be told is not.
    for header, code, words in (("X-Deliver: refuse", 550, "5.7.1 <carl> Not for this recipient"), ("X-Deliver: error", 451, "4.3.0 <carl> "),
                                ("X-Save: refuse", 550, "5.7.1 <carl> This message is not wanted"), ("X-Save: error", 451, "4.3.0 <carl> "),
                                ("X-Save: quota", 552, "5.2.2 <carl> Mailbox is full")):
        got = s.deliver("carl", header + "\n" + mail("no"))
        same((got[0], got[1][:len(words)]), (code, words), header)
        same("secret" in got[1], False, got)
    code, text = s.deliver("noopen", mail("no"))
    same((code, "Mail is closed" in text), (550, True), text)
    m = Imap(s, "carl")
    m.cmd("STATUS INBOX (MESSAGES)")
    same(m.untagged[-1], "* STATUS INBOX (MESSAGES 1)")
    m.cmd("SELECT Junk")
    m.cmd("FETCH 1 (FLAGS)")
    same("\\Seen" in m.untagged[-1], True, m.untagged)
    m.close()


def recipients(s, log):
    """RCPT: the worker's words before any message comes; one that does not answer or cannot be reached is no reason to refuse."""
    with smtplib.LMTP("127.0.0.1", s.ports["lmtp"], timeout=30) as c:
        c.ehlo()
        c.mail("sender@example.org", ["SIZE=4711"])
        for detail, code, words in (("full", 552, "5.2.2 <dora+full> No more mail, please"), ("later", 451, "4.3.0 <dora+later> Come again tomorrow"),
                                    ("never", 550, "5.7.1 <dora+never> Not at this address"), ("broken", 451, "4.3.0 <dora+broken> "),
                                    ("box", 250, "2.1.5 OK")):
            got = c.rcpt(f"dora+{detail}")
            same((got[0], got[1].decode()[:len(words)]), (code, words), detail)
            same(b"secret" in got[1], False, got)
            log.wait(f"hook recipient address=dora+{detail} from=sender@example.org to=INBOX size=4711")
        same(c.data(crlf(mail("welcome")))[0], 250)
        log.wait("hook delivery recipient=dora+box")
        # A user whose mail cannot be opened: that is told when the message is there.
        c.mail("sender@example.org")
        same(c.rcpt("noopen")[0], 250)
        code, text = c.data(crlf(mail("no")))
        same((code, b"Mail is closed" in text), (550, True), text)
    got = [line for line in log.lines() if "hook recipient" in line or "hook delivery" in line]
    same(got, [], "nobody was asked in a worker that did not open")
    with smtplib.LMTP("127.0.0.1", s.ports["lmtp"], timeout=30) as c:
        c.ehlo()
        c.mail("sender@example.org")
        start = time.monotonic()
        same(c.rcpt("dora+slow-full")[0], 250)
        same(4.5 < time.monotonic() - start < 6.9, True, time.monotonic() - start)
        same(c.data(crlf(mail("late")))[0], 250)
    same(len(re.findall(r"recipient dora\+slow-full is taken unasked: the user's worker did not answer in time", s.output())), 1)


def workers(s):
    out = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                title = open(f"/proc/{d}/cmdline", "rb").read().decode(errors="replace")
            except OSError:
                continue
            found = re.search(r"worker: (\S+)", title.replace("\0", " "))
            if found and open(f"/proc/{d}/status").read().find(f"\nUid:\t{s.run_as.pw_uid if s.run_as else os.getuid()}\t") >= 0:
                out.setdefault(found.group(1), []).append(int(d))
    return out


def journal(s, log):
    """Each change is told at least once, in the order of the modseqs but for what is told again after a crash."""
    user = f"journal{os.getpid()}"
    sent = []
    log.lines()
    for i in range(40):
        if s.deliver(user, mail(f"j{i}"))[0] == 250:
            sent.append(i)
        if i % 8 == 5:
            for pid in workers(s).get(user, []):
                os.kill(pid, signal.SIGKILL)
    same(len(sent) >= 30, True, len(sent))
    m = Imap(s, user)
    m.cmd("SELECT INBOX")
    m.cmd("FETCH 1:* (UID)")
    uids = [int(re.search(r"UID (\d+)", line).group(1)) for line in m.untagged if "FETCH" in line]
    m.close()
    told, end = [], time.monotonic() + 15
    while time.monotonic() < end:
        told += [line for line in log.lines() if line.startswith(f"journal user={user} ")]
        have = {int(x.group(1)) for x in (re.search(r"append INBOX uid=(\d+)", line) for line in told) if x}
        if have >= set(uids):
            break
        time.sleep(0.1)
    missing = set(uids) - have
    if missing:
        fail(f"the subscriber was not told of UIDs {sorted(missing)}:\n" + "\n".join(told))
    same(sum("reset=new" in line for line in told), 1, told[:3])
    same(sum("reset=lost" in line for line in told), 0)
    appends = [int(x.group(1)) for x in (re.search(r"append INBOX uid=(\d+)", line) for line in told) if x]
    repeated = len(appends) - len(set(appends))
    for a, b in zip(appends, appends[1:]):
        if b > a + 1 and b not in uids[uids.index(a) + 1:uids.index(a) + 2]:
            fail(f"UID {b} was told after {a}: {appends}")
    print(f"journal: {len(uids)} messages told, {repeated} of them again after a crash")


if not culver.storages():
    fail("no storage module is installed")
for storage in culver.storages():
    s = culver.Server(storage=storage, settings="mail_plugins = recorder recorder-auth imap-quota\n")
    try:
        build(s)
        s.start()
        log = Log(s, r"\] ((?:hook|journal user=).*)")
        for test in (logins, mailboxes, rights, saving, delivery, recipients, journal):
            test(s, log)
            print(storage, test.__name__, "ok", flush=True)
        s.stop()
        log.wait("hook user_close user=")
        same([line for line in s.complaints() if "killed by signal 9" not in line], [])
    finally:
        s.close()
