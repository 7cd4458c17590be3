/* SPDX-License-Identifier: MIT
   APPEND and REPLACE (RFC 3501 section 6.3.11, RFC 3502, RFC 3516 section 4.4, RFC 4315 section 3, RFC 8508): literals go to storage while they come, all
   that a command brings and takes away is one transaction. */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-date.h"
#include "modules/lib/imap/imap-flags.h"

/* Messages of one command: each holds memory until the commit. */
#define MESSAGES_MAX 1000u

struct append {
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;   /* NULL once the commit has it */
	struct cv_save *save; /* NULL before it began and when it is finished */
	bool failed;          /* err says why; what still comes of the message is dropped */
	bool binary_failed;   /* it is that NUL cannot be stored */
	struct cv_err err;
	struct cv_ranges *uids;
	unsigned count;
	const struct cv_imap_arg *last; /* the mailbox, or the last message that is complete */
	const struct cv_imap_arg *head; /* what stands before the literal of the message that is not: an argument, or an open list */
	bool in_list;                   /* the latter: UTF8 (…) */
	bool binary;                    /* the literal is a literal8 */
	struct cv_ranges *replaced;     /* REPLACE: the UID */
};

static bool replaces(const struct cv_imap_cmd *cmd)
{
	return cmd->command == &imap_cmd_replace;
}

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

/* ---- Arguments -------------------------------------------------------------------------------------- */

/* The mailbox is there: behind the message's number in REPLACE. */
static const struct cv_imap_arg *mailbox_arg(const struct cv_imap_command *command, const struct cv_imap_arg *args)
{
	return command == &imap_cmd_replace && args != NULL ? args->next : args;
}

bool imap_append_takes(const struct imap_session *s, const struct cv_imap_command *command, bool uid)
{
	const struct cv_imap_arg *args = cv_imap_parser_args(s->parser), *mailbox;

	if (command != &imap_cmd_append && command != &imap_cmd_replace)
		return false;
	if (uid && args != NULL)
		args = args->next;
	mailbox = mailbox_arg(command, args);
	/* The mailbox may be a literal too, as may be what is in a list of flags; that is refused later. */
	if (mailbox == NULL)
		return false;
	return !cv_imap_parser_literal(s->parser).in_list || cv_imap_arg_is(mailbox->next, "UTF8") ||
		(mailbox->next != NULL && cv_imap_arg_is(mailbox->next->next, "UTF8")) ||
		(mailbox->next != NULL && mailbox->next->next != NULL && cv_imap_arg_is(mailbox->next->next->next, "UTF8"));
}

/* append-opts = [SP flag-list] [SP date-time], then the literal or UTF8 and an open list. False: the reply was made. */
static bool parse_options(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, bool in_list, struct cv_save_config *config)
{
	const struct cv_imap_arg *first;
	struct cv_imap_flags flags;
	struct cv_err err = { 0 };
	struct cv_str date;
	int zone;

	if (cv_imap_arg_list(arg, &first) && (arg->next != NULL || !in_list)) {
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
	/* append-data =/ "UTF8" SP "(" literal8 ")" (RFC 6855 section 4) */
	if (in_list && cv_imap_arg_is(arg, "UTF8") && cv_imap_arg_list(arg->next, &first) && first == NULL)
		arg = arg->next->next;
	else if (in_list)
		arg = cmd->args;
	if (arg != NULL) {
		imap_bad(cmd, "Unexpected arguments before the message");
		return false;
	}
	return true;
}

/* REPLACE's first argument: the one message it names. False: the reply was made. */
static bool parse_replaced(struct cv_imap_cmd *cmd, struct append *append)
{
	struct cv_ranges *seqs = imap_ranges(cmd);
	struct cv_str number;
	struct cv_row row;
	uint32_t n;

	if (!replaces(cmd))
		return true;
	append->replaced = imap_ranges(cmd);
	if (!cv_imap_arg_is(cmd->args, "*") && (!cv_imap_arg_atom(cmd->args, &number) || !cv_str_to_u32(number, UINT32_MAX, &n))) {
		imap_bad(cmd, cmd->uid ? "REPLACE needs a UID" : "REPLACE needs a message number");
		return false;
	}
	if (!imap_sequence_arg(cmd, cmd->args, seqs))
		return false;
	if (cv_view_readonly(cmd->view)) {
		imap_no(cmd, "READ-ONLY", "Mailbox is read-only");
		return false;
	}
	if (seqs->count == 0 || !cv_view_row(cmd->view, seqs->data[0].first, &row)) {
		imap_no(cmd, "EXPUNGEISSUED", "Message to replace doesn't exist");
		return false;
	}
	cv_ranges_add(append->replaced, row.uid, row.uid);
	return true;
}

/* ---- Literals --------------------------------------------------------------------------------------- */

/* The mailbox, and for REPLACE the message. False: the reply was made. */
static bool open_target(struct cv_imap_cmd *cmd)
{
	struct append *append = cv_new(cmd->arena, struct append, 1);
	struct cv_str name;

	append->last = mailbox_arg(cmd->command, cmd->args);
	append->uids = imap_ranges(cmd);
	if (!imap_mailbox_arg(cmd, append->last, 0, &name) || !parse_replaced(cmd, append))
		return false;
	cmd->data = append;
	if (cv_mailbox_get(cmd->user, name, &append->mailbox, &append->err) < 0) {
		imap_fail_target(cmd, &append->err);
		return false;
	}
	append->txn = cv_txn_begin(cmd->user);
	if (append->replaced != NULL &&
		cv_txn_expunge(append->txn, cv_view_mailbox(cmd->view), append->replaced, &append->err) < 0) {
		imap_fail(cmd, &append->err);
		return false;
	}
	return true;
}

static bool fail(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;

	/* RFC 3516 section 4.4: "If the destination mailbox does not support the storage of binary content". */
	if (append->binary_failed)
		imap_no(cmd, "UNKNOWN-CTE", "Messages with NUL can't be stored");
	else
		imap_fail(cmd, &append->err);
	return false;
}

/* The message before is whole: its literal stands where it must. False: the reply was made. */
static bool finish_message(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	const struct cv_imap_arg *message = append->in_list ? append->head->child : append->head->next;

	if (append->failed)
		return fail(cmd);
	if (message == NULL || message->type != CV_IMAP_ARG_STREAMED || (append->in_list && message->next != NULL)) {
		imap_bad(cmd, "Unexpected arguments behind the message");
		return false;
	}
	append->last = append->in_list ? append->head : message;
	if (cv_save_finish(append->save, &append->err) < 0) {
		append->failed = true;
		return fail(cmd);
	}
	cv_ranges_add(append->uids, cv_save_uid(append->save), cv_save_uid(append->save));
	append->save = NULL;
	append->count++;
	return true;
}

/* Arguments are there up to the literal's head. False: the reply was made. */
static bool begin_message(struct cv_imap_cmd *cmd, const struct cv_imap_literal *literal)
{
	struct cv_save_config config = { .size_hint = literal->size };
	struct append *append = cmd->data;

	if (append == NULL ? !open_target(cmd) : !finish_message(cmd))
		return false;
	append = cmd->data;
	if (append->count > 0 && (replaces(cmd) || append->count == MESSAGES_MAX)) {
		imap_no(cmd, "LIMIT", replaces(cmd) ? "REPLACE takes one message" : "Too many messages at once");
		return false;
	}
	append->head = append->last;
	append->in_list = literal->in_list;
	append->binary = literal->binary;
	while (append->head->next != NULL)
		append->head = append->head->next;
	if (!parse_options(cmd, append->last->next, literal->in_list, &config))
		return false;
	if (literal->size == 0) {
		imap_no(cmd, NULL, "A message can't be empty");
		return false;
	}
	if (literal->size > IMAP_APPEND_LIMIT) {
		imap_no(cmd, "TOOBIG", "Message is too long");
		return false;
	}
	if (cv_save_begin(append->txn, append->mailbox, &config, &append->save, &append->err) < 0) {
		append->save = NULL;
		return fail(cmd);
	}
	return true;
}

void imap_append_literal(struct imap_cmd *cmd)
{
	struct imap_session *s = cmd->s;
	struct cv_imap_literal literal = cv_imap_parser_literal(s->parser);

	if (!begin_message(&cmd->pub, &literal)) {
		/* The reply goes out now: a client that waits for "+" takes it instead (RFC 3501 section 7.5). */
		give_up(&cmd->pub);
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
	/* RFC 3501 section 4.3: a literal is of CHAR8, which NUL is not; and what is stored must be one when it is fetched. */
	if (cv_str_has_nul(octets)) {
		cv_err_set_public(&append->err, CV_ERR_INVALID, "Message contains NUL");
		append->failed = true;
		append->binary_failed = append->binary;
	} else if (cv_save_write(append->save, octets, &append->err) < 0) {
		append->failed = true;
	}
}

/* ---- The end ---------------------------------------------------------------------------------------- */

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	enum cv_imap_result result;

	if (append == NULL)
		return imap_bad(cmd, "Command needs a mailbox and a literal");
	if (!finish_message(cmd)) {
		give_up(cmd);
		return CV_IMAP_DONE;
	}
	if (append->last->next != NULL) {
		give_up(cmd);
		return imap_bad(cmd, "Unexpected arguments behind the message");
	}
	result = imap_commit(cmd, &append->txn);
	if (result != CV_IMAP_WAIT)
		give_up(cmd);
	return result;
}

/* "APPENDUID" SP uidvalidity SP uid-set; NULL when UIDVALIDITY cannot be told: the messages are there, only the client's shortcut is missing then. */
static const char *appenduid(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };
	struct cv_buf uids;
	const char *code;

	if (cv_mailbox_get_status(append->mailbox, &status, &err) < 0)
		return NULL;
	cv_buf_init(&uids, SIZE_MAX / 2);
	cv_ranges_append(append->uids, &uids);
	code = imap_code_printf(cmd, "APPENDUID %u %s", status.uidvalidity, uids.data);
	cv_buf_deinit(&uids);
	return code;
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct append *append = cmd->data;
	const char *code;

	if (imap_cmd(cmd)->commit_result < 0) {
		give_up(cmd);
		return imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	}
	s->stats.appended += append->count;
	code = appenduid(cmd);
	give_up(cmd);
	if (!replaces(cmd))
		return imap_ok(cmd, code, "Append completed");
	/* RFC 8508 section 4.3: "advised to send the APPENDUID response code in an untagged OK before sending the EXPUNGE". */
	if (code != NULL)
		cv_buf_printf(imap_out(cmd), "* OK [%s] Replacement message is there\r\n", code);
	s->stats.expunged++;
	imap_sync(s, true, 0);
	imap_cmd(cmd)->synced = true;
	if (s->condstore)
		return imap_ok(cmd, imap_code_printf(cmd, "HIGHESTMODSEQ %llu", (unsigned long long)cv_view_highest_modseq(s->view)),
			"Replace completed");
	return imap_ok(cmd, NULL, "Replace completed");
}

const struct cv_imap_command imap_cmd_append = {
	.verb = "APPEND",
	.opts = CV_IMAP_LOGGED_IN | CV_IMAP_SHOWS_NEW,
	.run = run,
	.step = step,
	.cancel = give_up,
};
const struct cv_imap_command imap_cmd_replace = {
	.verb = "REPLACE",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_SHOWS_NEW,
	.run = run,
	.step = step,
	.cancel = give_up,
};
