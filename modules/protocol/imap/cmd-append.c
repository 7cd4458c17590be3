/* SPDX-License-Identifier: MIT
   APPEND (RFC 3501 section 6.3.11, RFC 4315 section 3): the literal goes to storage while it comes. */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-date.h"
#include "modules/lib/imap/imap-flags.h"

struct append {
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;   /* NULL once the commit has it */
	struct cv_save *save; /* NULL before it began and when it is finished */
	bool failed;          /* err says why; what still comes is dropped */
	struct cv_err err;
	uint32_t uid;
};

static void give_up(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;

	if (append == NULL)
		return;
	if (append->save != NULL)
		cv_save_cancel(&append->save);
	if (append->txn != NULL)
		cv_txn_rollback(&append->txn);
	if (append->mailbox != NULL)
		cv_mailbox_unref(&append->mailbox);
}

/* [SP flag-list] [SP date-time] between the mailbox and the literal. False: the reply was made. */
static bool parse_options(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_save_config *config)
{
	const struct cv_imap_arg *first;
	struct cv_imap_flags flags;
	struct cv_err err = { 0 };
	struct cv_str date;
	int zone;

	if (cv_imap_arg_list(arg, &first)) {
		if (cv_imap_flags_parse(cmd->arena, first, &flags, &err) < 0) {
			imap_bad_err(cmd, &err);
			return false;
		}
		config->flags = flags.flags;
		config->keywords = flags.keywords;
		config->keyword_count = flags.count;
		arg = arg->next;
	}
	if (arg != NULL && arg->type == CV_IMAP_ARG_QUOTED) {
		if (!cv_imap_arg_string(arg, &date) || !cv_imap_datetime_parse(date, &config->internal_date, &zone)) {
			imap_bad(cmd, "Invalid date-time");
			return false;
		}
		config->internal_zone = (int16_t)zone;
		config->date_set = true;
		arg = arg->next;
	}
	if (arg != NULL && arg->type != CV_IMAP_ARG_STREAMED) {
		imap_bad(cmd, "Unexpected arguments before the message");
		return false;
	}
	return true;
}

/* Arguments are there up to the literal's head. False: the reply was made. */
static bool begin(struct cv_imap_cmd *cmd, uint64_t size)
{
	struct append *append = cv_new(cmd->arena, struct append, 1);
	struct cv_save_config config = { .size_hint = size };
	struct cv_str name;

	if (!imap_mailbox_arg(cmd, cmd->args, 0, &name) || !parse_options(cmd, cmd->args->next, &config))
		return false;
	if (size == 0) {
		imap_no(cmd, NULL, "A message can't be empty");
		return false;
	}
	if (size > UINT32_MAX) { /* RFC822.SIZE could not tell it */
		imap_no(cmd, "TOOBIG", "Message is too long");
		return false;
	}
	cmd->data = append;
	if (cv_mailbox_get(cmd->user, name, &append->mailbox, &append->err) < 0) {
		imap_fail_target(cmd, &append->err);
		return false;
	}
	append->txn = cv_txn_begin(cmd->user);
	if (cv_save_begin(append->txn, append->mailbox, &config, &append->save, &append->err) < 0) {
		append->save = NULL;
		give_up(cmd);
		imap_fail(cmd, &append->err);
		return false;
	}
	return true;
}

void imap_append_begin(struct imap_cmd *cmd)
{
	struct imap_session *s = cmd->s;
	struct cv_imap_literal literal = cv_imap_parser_literal(s->parser);

	if (!begin(&cmd->pub, literal.size)) {
		/* The reply goes out now: a client that waits for "+" takes it instead (RFC 3501 section 7.5). */
		cv_imap_parser_skip(s->parser);
		cmd->phase = IMAP_PHASE_REPLY;
		return;
	}
	cv_imap_parser_begin_stream(s->parser);
	cmd->phase = IMAP_PHASE_LITERAL;
	if (literal.sync)
		cv_buf_append_c(cv_stream_out(s->stream), "+ OK\r\n");
}

void imap_append_take(struct imap_cmd *cmd, struct cv_str octets)
{
	struct append *append = cmd->pub.data;

	if (append->failed)
		return;
	/* RFC 3501 section 4.3: a literal is of CHAR8, which NUL is not. */
	if (cv_str_has_nul(octets)) {
		cv_err_set_public(&append->err, CV_ERR_INVALID, "Message contains NUL");
		append->failed = true;
	} else if (cv_save_write(append->save, octets, &append->err) < 0) {
		append->failed = true;
	}
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	const struct cv_imap_arg *last = cmd->args;

	if (append == NULL)
		return imap_bad(cmd, "APPEND needs a mailbox and a literal");
	while (last->next != NULL)
		last = last->next;
	if (last->type != CV_IMAP_ARG_STREAMED) {
		give_up(cmd);
		return imap_bad(cmd, "Unexpected arguments behind the message");
	}
	if (!append->failed && cv_save_finish(append->save, &append->err) < 0)
		append->failed = true;
	if (append->failed) {
		give_up(cmd);
		return imap_fail(cmd, &append->err);
	}
	append->uid = cv_save_uid(append->save);
	append->save = NULL;
	return imap_commit(cmd, &append->txn);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };
	int result;

	if (imap_cmd(cmd)->commit_result < 0) {
		give_up(cmd);
		return imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	}
	imap_cmd_session(cmd)->stats.appended++;
	result = cv_mailbox_get_status(append->mailbox, &status, &err);
	give_up(cmd);
	/* The message is there: only the client's shortcut is missing then. */
	if (result < 0)
		return imap_ok(cmd, NULL, "Append completed");
	return imap_ok(cmd, imap_code_printf(cmd, "APPENDUID %u %u", status.uidvalidity, append->uid), "Append completed");
}

const struct cv_imap_command imap_cmd_append = {
	.verb = "APPEND",
	.opts = CV_IMAP_LOGGED_IN | CV_IMAP_SHOWS_NEW,
	.run = run,
	.step = step,
	.cancel = give_up,
};
