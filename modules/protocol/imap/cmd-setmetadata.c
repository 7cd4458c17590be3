/* SPDX-License-Identifier: MIT
   SETMETADATA (RFC 5464 section 4.3). */
#include <config.h>

#include "metadata.h"

#include "modules/lib/imap/imap-search.h"

static enum cv_imap_result refuse(struct cv_imap_cmd *cmd, const struct cv_err *err)
{
	if (err->code == CV_ERR_LIMIT && err->public_text)
		return imap_no(cmd, "METADATA TOOMANY", cv_err_public(err));
	return err->code == CV_ERR_INVALID ? imap_bad_err(cmd, err) : imap_fail(cmd, err);
}

/* RFC 6154 section 4: "A server that supports this MUST check the validity of changes to the special-use attributes that are done through the metadata in the
   same way that it checks validity for the CREATE command". False: the reply was made. */
static bool take_uses(struct cv_imap_cmd *cmd, struct cv_str value, unsigned *bits_r)
{
	struct cv_str word;

	*bits_r = 0;
	while (value.len > 0) {
		unsigned bit;

		(void)cv_str_split(value, ' ', &word, &value);
		bit = imap_special_use(word);
		if (bit == 0 || (bit & IMAP_USES_OF_VIEWS) != 0) {
			imap_no(cmd, "USEATTR", "Special use is not supported");
			return false;
		}
		*bits_r |= bit;
	}
	return true;
}

/* RFC 5466 section 3.2: "The server SHOULD verify that each search criterion stored in such a server entry is a full and correct search criterion." False:
   the reply was made. */
static bool check_filter(struct cv_imap_cmd *cmd, struct cv_str name, struct cv_str value)
{
	struct cv_err err = { 0 };

	if (!cv_imap_is_filter_name(name)) {
		imap_bad(cmd, "Invalid name of a filter");
		return false;
	}
	if (value.ptr == NULL || cv_imap_filter_check(value, &err) > 0)
		return true;
	imap_no(cmd, err.code == CV_ERR_LIMIT ? "LIMIT" : "CANNOT", cv_err_public(&err));
	return false;
}

/* One entry-value. False: the reply was made. */
static bool set_one(struct cv_imap_cmd *cmd, struct cv_txn *txn, struct cv_mailbox *mailbox, struct cv_str name, struct cv_str value)
{
	struct cv_err err = { 0 };
	unsigned bits;
	int ret;

	if (!metadata_name_ok(name)) {
		imap_bad(cmd, "Missing or invalid entry name");
		return false;
	}
	/* What all users see is the administrator's to set. */
	if (mailbox == NULL && cv_str_casestarts(name, CV_STR("/shared/"))) {
		imap_no(cmd, "NOPERM", "Shared entries of the server can't be changed by clients");
		return false;
	}
	if (value.len > cv_annotation_value_max(cmd->user)) {
		imap_no(cmd, imap_code_printf(cmd, "METADATA MAXSIZE %zu", cv_annotation_value_max(cmd->user)), "Value is too large");
		return false;
	}
	if (mailbox == NULL && cv_str_casestarts(name, CV_STR(METADATA_PRIVATE_FILTERS)) &&
		!check_filter(cmd, cv_str_sub(name, strlen(METADATA_PRIVATE_FILTERS), SIZE_MAX), value))
		return false;
	if (mailbox != NULL && cv_str_caseeq_c(name, METADATA_SPECIAL_USE)) {
		if (!take_uses(cmd, value, &bits))
			return false;
		ret = cv_txn_special_use(txn, mailbox, bits, &err);
	} else {
		ret = cv_txn_annotate(txn, mailbox, name, value, &err);
	}
	if (ret < 0)
		refuse(cmd, &err);
	return ret >= 0;
}

/* entry-values = "(" entry-value *(SP entry-value) ")". False: the reply was made. */
static bool set_all(struct cv_imap_cmd *cmd, struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *entry;
	struct cv_str name, value;

	if (!cv_imap_arg_list(arg, &entry) || entry == NULL || arg->next != NULL) {
		imap_bad(cmd, "SETMETADATA needs a list of entries and values");
		return false;
	}
	for (; entry != NULL; entry = entry->next->next) {
		if (!cv_imap_arg_astring(entry, &name)) {
			imap_bad(cmd, "Missing or invalid entry name");
			return false;
		}
		/* value = nstring / literal8 */
		if (entry->next != NULL && entry->next->type == CV_IMAP_ARG_LITERAL8) {
			value = entry->next->str;
		} else if (!cv_imap_arg_nstring(entry->next, &value)) {
			imap_bad(cmd, "Missing or invalid value");
			return false;
		}
		if (value.ptr == NULL && !cv_imap_arg_is(entry->next, "NIL"))
			value = CV_STR("");
		if (!set_one(cmd, txn, mailbox, name, value))
			return false;
	}
	return true;
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	const struct imap_cmd *own = imap_cmd(cmd);

	return own->commit_result < 0 ? refuse(cmd, &own->commit_err) : imap_ok(cmd, NULL, "Setmetadata completed");
}

/* "When any one annotation fails to be set, […] the server MUST NOT change the values for other annotations specified in the SETMETADATA command." */
static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct cv_mailbox *mailbox = NULL;
	struct cv_err err = { 0 };
	struct cv_str wire, name;
	struct cv_txn *txn;
	bool ok;

	if (!(cv_imap_arg_astring(cmd->args, &wire) && wire.len == 0)) {
		if (!imap_mailbox_arg(cmd, cmd->args, 0, &name))
			return CV_IMAP_DONE;
		if (cv_mailbox_get(cmd->user, name, &mailbox, &err) < 0)
			return imap_fail(cmd, &err);
		if (cv_annotations_may(mailbox, &err) < 0) {
			cv_mailbox_unref(&mailbox);
			return imap_fail(cmd, &err);
		}
	}
	txn = cv_txn_begin(cmd->user);
	ok = set_all(cmd, txn, mailbox, cmd->args->next);
	cv_mailbox_unref(&mailbox);
	if (!ok) {
		cv_txn_rollback(&txn);
		return CV_IMAP_DONE;
	}
	return imap_begin_commit(cmd, &txn) == CV_IMAP_WAIT ? CV_IMAP_WAIT : step(cmd);
}

const struct cv_imap_command imap_cmd_setmetadata = { .verb = "SETMETADATA", .opts = CV_IMAP_LOGGED_IN, .run = run, .step = step };
