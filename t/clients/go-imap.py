#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Go's go-imap (Debian's golang-github-emersion-go-imap-dev): without TLS, with STARTTLS, with TLS."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, healthy, need, run, skip  # noqa: E402

need("go")
if not os.path.isdir("/usr/share/gocode/src/github.com/emersion/go-imap/client"):
    skip("golang-github-emersion-go-imap-dev is not installed")

SCRIPT = r"""
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/emersion/go-imap"
	"github.com/emersion/go-imap/client"
)

func must(what string, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, what, err)
		os.Exit(1)
	}
}

func same(what string, got, wanted interface{}) {
	if !reflect.DeepEqual(got, wanted) {
		must(what, fmt.Errorf("got %v, wanted %v", got, wanted))
	}
}

func set(s string) *imap.SeqSet {
	r, err := imap.ParseSeqSet(s)
	must(s, err)
	return r
}

func main() {
	mode, address, ca, password := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	pem, err := os.ReadFile(ca)
	must("ca", err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	var c *client.Client
	if mode == "tls" {
		c, err = client.DialTLS(address, config)
	} else {
		c, err = client.Dial(address)
	}
	must("dial", err)
	if mode == "starttls" {
		must("starttls", c.StartTLS(config))
	}
	must("login", c.Login("go", password))
	here, there := "Prüfung & "+mode+"/inner", "to \""+mode+"\" \\"
	for _, m := range []string{here, there} {
		must("create", c.Create(m))
		must("subscribe", c.Subscribe(m))
	}
	mailboxes := make(chan *imap.MailboxInfo, 50)
	must("list", c.List("", "*", mailboxes))
	found := 0
	for m := range mailboxes {
		if m.Name == here || m.Name == there {
			found++
		}
	}
	same("list", found, 2)
	message := strings.Join([]string{"From: \"Doe, J\" <j@example.org>", "To: a@example.org, b@example.org", "Subject: =?utf-8?q?g=C3=B6?=",
		"Date: Mon, 2 Nov 2026 10:00:00 +0000", "Message-ID: <a@go>", "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "", "--b", "",
		"text", "--b", "Content-Type: message/rfc822", "", "Subject: inside", "", "x", "--b", "Content-Type: application/pdf; name=a.pdf",
		"Content-Disposition: attachment; filename=\"a b.pdf\"", "Content-Transfer-Encoding: base64", "", "AAAA", "--b--", ""}, "\r\n")
	date := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	must("append", c.Append(here, []string{imap.SeenFlag, "Kept"}, date, bytes.NewBufferString(message)))
	status, err := c.Select(here, false)
	must("select", err)
	same("select", []uint32{status.Messages, status.UidNext}, []uint32{1, 2})
	section := &imap.BodySectionName{Peek: true}
	part := &imap.BodySectionName{Peek: true, BodyPartName: imap.BodyPartName{Path: []int{1}}}
	messages := make(chan *imap.Message, 10)
	must("fetch", c.UidFetch(set("1:*"), []imap.FetchItem{imap.FetchUid, imap.FetchFlags, imap.FetchInternalDate, imap.FetchRFC822Size,
		imap.FetchEnvelope, imap.FetchBodyStructure, section.FetchItem(), part.FetchItem()}, messages))
	m := <-messages
	body, err := io.ReadAll(m.GetBody(section))
	must("body", err)
	same("octets", string(body), message)
	body, err = io.ReadAll(m.GetBody(part))
	must("part", err)
	same("part", string(body), "text")
	same("size", int(m.Size), len(message))
	same("date", m.InternalDate.Equal(date), true)
	same("envelope", []string{m.Envelope.Subject, m.Envelope.From[0].PersonalName, m.Envelope.To[1].Address()}, []string{"gö", "Doe, J", "b@example.org"})
	same("structure", []interface{}{len(m.BodyStructure.Parts), m.BodyStructure.Parts[1].MIMESubType, m.BodyStructure.Parts[1].Envelope.Subject,
		m.BodyStructure.Parts[2].DispositionParams["filename"]}, []interface{}{3, "rfc822", "inside", "a b.pdf"})
	criteria := imap.NewSearchCriteria()
	criteria.Header.Add("Subject", "gö")
	criteria.WithFlags = []string{imap.SeenFlag}
	uids, err := c.UidSearch(criteria)
	must("search", err)
	same("search", uids, []uint32{1})
	must("store", c.UidStore(set("1"), imap.FormatFlagsOp(imap.AddFlags, true), []interface{}{imap.FlaggedFlag, "$Work"}, nil))
	must("copy", c.UidCopy(set("1"), there))
	must("move", c.UidMove(set("1"), there))
	st, err := c.Status(there, []imap.StatusItem{imap.StatusMessages, imap.StatusUidNext, imap.StatusUnseen})
	must("status", err)
	same("status", []uint32{st.Messages, st.UidNext, st.Unseen}, []uint32{2, 3, 0})
	_, err = c.Select(there, false)
	must("select", err)
	updates := make(chan client.Update, 10)
	c.Updates = updates
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- c.Idle(stop, nil) }()
	time.Sleep(300 * time.Millisecond)
	other, err := client.Dial(os.Args[5])
	must("dial", err)
	must("login", other.Login("go", password))
	must("append", other.Append(there, nil, time.Time{}, bytes.NewBufferString("Subject: new\r\n\r\n")))
	must("logout", other.Logout())
	for waiting := true; waiting; {
		select {
		case u := <-updates:
			if x, ok := u.(*client.MailboxUpdate); ok && x.Mailbox.Messages == 3 {
				waiting = false
			}
		case <-time.After(10 * time.Second):
			must("idle", fmt.Errorf("nothing was told"))
		}
	}
	close(stop)
	must("idle", <-done)
	c.Updates = nil
	must("store", c.Store(set("1:2"), imap.FormatFlagsOp(imap.AddFlags, true), []interface{}{imap.DeletedFlag}, nil))
	gone := make(chan uint32, 10)
	must("expunge", c.Expunge(gone))
	same("expunge", len(gone), 2)
	must("close", c.Close())
	must("rename", c.Rename(there, mode+" again"))
	must("delete", c.Delete(mode+" again"))
	must("delete", c.Delete(here))
	must("logout", c.Logout())
}
"""

with culver.Server(storage=culver.storages()[0]) as s:
    work = os.path.join(s.dir, "go-client")
    os.makedirs(work)
    with open(os.path.join(work, "main.go"), "w") as f:
        f.write(SCRIPT)
    env = dict(os.environ, GOPATH="/usr/share/gocode", GO111MODULE="off", GOCACHE=os.path.join(work, "cache"), GOFLAGS="", HOME=work)
    run("go", "build", "-o", "client", "main.go", env=env, cwd=work, timeout=400)
    for mode, port in (("plain", "imap"), ("starttls", "imap"), ("tls", "imaps")):
        run(os.path.join(work, "client"), mode, f"localhost:{s.ports[port]}", s.ca, culver.PASSWORD, f"localhost:{s.ports['imap']}")
    healthy(s)
