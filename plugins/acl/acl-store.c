/* SPDX-License-Identifier: MIT
   Where lists are kept: in an annotation of the mailbox, which is in the journal: it follows the mailbox when it is renamed and goes with it. A mailbox
   that came from Dovecot has its list in a file beside its messages; that counts until a list is set here. */
#include <config.h>

#include "acl.h"

#define ENTRY CV_STR("acl")
#define DOVECOT_FILE "dovecot-acl"

bool acl_is_entry(struct cv_str annotation)
{
	return cv_str_caseeq(annotation, ENTRY);
}

int acl_load(struct cv_mailbox *mailbox, struct cv_buf *out, struct cv_err *err)
{
	struct cv_annotation annotation;

	if (cv_annotation_get(cv_mailbox_user(mailbox), mailbox, ENTRY, &annotation) == 0)
		return cv_mailbox_read_file(mailbox, DOVECOT_FILE, out, err);
	cv_buf_append(out, annotation.value);
	return cv_buf_ok(out) ? 1 : cv_err_set(err, CV_ERR_LIMIT, "the list is too long");
}

int acl_save(struct cv_mailbox *mailbox, struct cv_str text, struct cv_err *err)
{
	struct cv_txn *txn = cv_txn_begin(cv_mailbox_user(mailbox));

	cv_txn_trust(txn);
	/* An empty list is one: the file counts no more. */
	if (cv_txn_annotate(txn, mailbox, ENTRY, text.len > 0 ? text : CV_STR("\n"), err) < 0) {
		cv_txn_rollback(&txn);
		return -1;
	}
	return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
}
