/* SPDX-License-Identifier: MIT
   APPEND and REPLACE (RFC 3501 section 6.3.11, RFC 3502, RFC 3516 section 4.4, RFC 4315 section 3, RFC 4469, RFC 5257 section 4.7, RFC 8508): literals go to storage while
   they come, all that a command brings and takes away is one transaction. The arguments are walked through as far as they are there: whenever a
   literal is announced, and at the command's end. */
#include <config.h>

#include "annotate.h"
#include "part.h"

#include "modules/lib/imap/imap-date.h"
#include "modules/lib/imap/imap-flags.h"
#include "modules/lib/imap/imap-url.h"

#include <culver/message.h>
#include <culver/time.h>

/* Messages of one command: each holds memory until the commit. */
#define MESSAGES_MAX 1000u
/* Octets of a part that are copied at once. */
#define CHUNK ((size_t)64 * 1024)

struct append {
	struct cv_mailbox *mailbox;
	bool over_quota;      /* the mailbox was above a limit before */
	struct cv_txn *txn;   /* NULL once the commit has it */
	struct cv_save *save; /* the message in progress; NULL between two of them */
	bool failed;          /* err says why; what still comes of the message is dropped */
	struct cv_err err;
	const char *code;     /* failed: the response code, when err is none of those that have their own; NULL otherwise */
	struct cv_ranges *uids;
	unsigned count;
	const struct cv_imap_arg *last; /* the mailbox, or the last message that is complete */
	struct cv_ranges *replaced;     /* REPLACE: the UID */
	bool committing;
	bool due;                       /* a literal was announced, and is not let in yet */
	struct cv_imap_literal literal; /* that one, or the last that was */

	/* The message in progress. */
	uint64_t size;                  /* octets it has so far, as they are stored */
	struct cv_binary_encoder *encoder; /* makes text of binary content; NULL: there can be none */
	bool binary;                    /* any of it came in a literal8 */
	struct cv_buf encoded;          /* what it made of the octets that came last */
	bool in_header, empty_line;     /* and where they end: in the header, in a line without octets */
	const struct cv_imap_arg *head; /* what stands before its literal, or the list that it is */
	bool in_list;                   /* the latter: UTF8 (…) or CATENATE (…) */
	bool catenate;
	const struct cv_imap_arg *part; /* CATENATE: the last element of the list that is done with; NULL: none yet */
	struct imap_part *source;       /* what a URL stands for, being copied; NULL: none */
	const struct cv_note *notes;
	size_t note_count;
	bool annotated;                 /* any of the messages has annotations */
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
	imap_part_close(&append->source);
	cv_binary_encoder_free(&append->encoder);
	cv_buf_deinit(&append->encoded);
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

/* The last argument so far, and the one before it; NULL: there is none. */
static const struct cv_imap_arg *last_arg(const struct cv_imap_arg *arg, const struct cv_imap_arg **before_r)
{
	*before_r = NULL;
	while (arg != NULL && arg->next != NULL) {
		*before_r = arg;
		arg = arg->next;
	}
	return arg;
}

/* The literal that is due is the string behind URL in an open list of CATENATE: short, and kept. */
static bool is_url(const struct cv_imap_arg *list)
{
	const struct cv_imap_arg *first, *before;

	return cv_imap_arg_list(list, &first) && cv_imap_arg_is(last_arg(first, &before), "URL");
}

bool imap_append_takes(const struct imap_session *s, const struct cv_imap_command *command, bool uid)
{
	const struct cv_imap_arg *args = cv_imap_parser_args(s->parser), *mailbox, *last, *before;

	if (command != &imap_cmd_append && command != &imap_cmd_replace)
		return false;
	if (uid && args != NULL)
		args = args->next;
	mailbox = mailbox_arg(command, args);
	/* The mailbox may be a literal too, as may be what is in a list of flags; that is refused later. */
	if (mailbox == NULL)
		return false;
	if (!cv_imap_parser_literal(s->parser).in_list)
		return true;
	last = last_arg(mailbox->next, &before);
	return cv_imap_arg_is(before, "UTF8") || (cv_imap_arg_is(before, "CATENATE") && !is_url(last));
}

/* append-opts = [SP flag-list] [SP date-time] [SP att-annotate], then UTF8 or CATENATE and a list, or what is due: a literal. False: the reply was made. */
static bool parse_options(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_save_config *config)
{
	struct append *append = cmd->data;
	const struct cv_imap_arg *first;
	struct cv_imap_flags flags;
	struct cv_err err = { 0 };
	struct cv_str date;
	int zone;

	append->head = append->last;
	append->in_list = append->catenate = false;
	append->part = NULL;
	if (arg != NULL && cv_imap_arg_list(arg, &first)) {
		if (cv_imap_flags_parse(cmd->arena, first, &flags, &err) < 0) {
			imap_bad_err(cmd, &err);
			return false;
		}
		config->flags = flags.flags;
		config->keywords = flags.keywords;
		config->keyword_count = flags.count;
		append->head = arg;
		arg = arg->next;
	}
	if (arg != NULL && arg->type == CV_IMAP_ARG_QUOTED) {
		if (!cv_imap_arg_string(arg, &date) || !cv_imap_datetime_parse(date, &config->internal_date, &zone)) {
			imap_bad(cmd, "Invalid date-time");
			return false;
		}
		config->internal_zone = (int16_t)zone;
		config->date_set = true;
		append->head = arg;
		arg = arg->next;
	}
	if (arg != NULL && cv_imap_arg_is(arg, "ANNOTATION") && imap_cmd_session(cmd)->set->imap_annotate) {
		if (!annotate_take(cmd, arg->next, &config->notes, &config->note_count))
			return false;
		append->annotated = true;
		append->head = arg->next;
		arg = arg->next->next;
	}
	append->notes = config->notes;
	append->note_count = config->note_count;
	/* append-data =/ "UTF8" SP "(" literal8 ")" (RFC 6855 section 4); append-data =/ "CATENATE" SP "(" … ")" (RFC 4469 section 5) */
	if (arg != NULL && (cv_imap_arg_is(arg, "UTF8") || cv_imap_arg_is(arg, "CATENATE")) && cv_imap_arg_list(arg->next, &first)) {
		append->catenate = cv_imap_arg_is(arg, "CATENATE");
		append->in_list = true;
		append->head = arg->next;
		return true;
	}
	if (arg != NULL) {
		imap_bad(cmd, append->count > 0 ? "Unexpected arguments behind the message" : "Unexpected arguments before the message");
		return false;
	}
	if (!append->due || append->literal.in_list) {
		imap_bad(cmd, "The message is missing");
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

/* ---- Messages --------------------------------------------------------------------------------------- */

/* The mailbox, and for REPLACE the message. False: the reply was made. */
static bool open_target(struct cv_imap_cmd *cmd)
{
	struct append *append = cv_new(cmd->arena, struct append, 1);
	struct cv_str name;

	append->last = mailbox_arg(cmd->command, cmd->args);
	append->uids = imap_ranges(cmd);
	cv_buf_init(&append->encoded, SIZE_MAX / 2);
	if (!imap_mailbox_arg(cmd, append->last, 0, &name) || !parse_replaced(cmd, append))
		return false;
	cmd->data = append;
	if (cv_mailbox_open(cmd->user, name, CV_RIGHT_INSERT, &append->mailbox, &append->err) < 0) {
		imap_fail_target(cmd, &append->err);
		return false;
	}
	/* RFC 8508 section 4.1: "the union of the ACL rights required for UID STORE and UID EXPUNGE in the current mailbox, and APPEND". */
	if (append->replaced != NULL &&
		cv_mailbox_may(cv_view_mailbox(cmd->view), CV_RIGHT_DELETED | CV_RIGHT_EXPUNGE, &append->err) < 0) {
		imap_fail(cmd, &append->err);
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

	if (append->code != NULL)
		imap_no(cmd, append->code, cv_arena_strdup(cmd->arena, append->err.text));
	else
		imap_fail(cmd, &append->err);
	return false;
}

/* Whether there is an octet above 127 in what these are of the header. */
static bool is_8bit_header(struct append *append, struct cv_str octets)
{
	for (size_t i = 0; append->in_header && i < octets.len; i++) {
		char c = octets.ptr[i];

		if ((unsigned char)c >= 0x80)
			return true;
		append->in_header = c != '\n' || !append->empty_line;
		append->empty_line = c == '\n' || (c == '\r' && append->empty_line);
	}
	return false;
}

/* err is set; it is said when all octets of the message are there. code: the response code, NULL when err has its own. */
static void refuse(struct append *append, const char *code)
{
	append->code = code;
	append->failed = true;
}

/* RFC 3516 section 4.4: "If the destination mailbox does not support the storage of binary content". */
static void refuse_binary(struct append *append)
{
	cv_err_set_public(&append->err, CV_ERR_INVALID, "NUL can only be in the body of a part that is binary, and not signed");
	refuse(append, "UNKNOWN-CTE");
}

/* More octets as they are stored. */
static void store(struct imap_session *s, struct append *append, struct cv_str octets)
{
	if (octets.len > IMAP_APPEND_LIMIT - append->size) {
		cv_err_set_public(&append->err, CV_ERR_LIMIT, "Message is too long");
		refuse(append, "TOOBIG");
		return;
	}
	append->size += octets.len;
	/* RFC 6855 section 4: without ENABLE "the server MUST reject, with a "NO" response, an "APPEND" command that includes any 8-bit character in message
	   header fields". Old mail is full of them, and who copies a mailbox from elsewhere must not lose any: only when asked for. */
	if (s->set->imap_utf8_accept && s->set->imap_utf8_strict && !s->utf8_names && is_8bit_header(append, octets)) {
		cv_err_set_public(&append->err, CV_ERR_INVALID, "Header fields with 8-bit characters need ENABLE UTF8=ACCEPT");
		refuse(append, NULL);
		return;
	}
	/* RFC 3501 section 4.3: a literal is of CHAR8, which NUL is not; and what is stored must be one when it is fetched. */
	if (cv_str_has_nul(octets)) {
		cv_err_set_public(&append->err, CV_ERR_INVALID, "Message contains NUL");
		if (append->binary)
			refuse_binary(append);
		else
			refuse(append, NULL);
	} else if (octets.len > 0 && cv_save_write(append->save, octets, &append->err) < 0) {
		append->failed = true;
	}
}

/* More octets of the message. */
static void take(struct imap_session *s, struct append *append, struct cv_str octets, bool binary)
{
	if (append->failed)
		return;
	append->binary |= binary;
	if (append->encoder == NULL) {
		store(s, append, octets);
		return;
	}
	cv_buf_clear(&append->encoded);
	if (!cv_binary_encoder_feed(append->encoder, octets, binary, &append->encoded))
		refuse_binary(append);
	else
		store(s, append, cv_buf_str(&append->encoded));
}

/* All octets of the message came. */
static void take_end(struct imap_session *s, struct append *append)
{
	if (append->failed || append->encoder == NULL)
		return;
	cv_buf_clear(&append->encoded);
	if (!cv_binary_encoder_finish(append->encoder, &append->encoded))
		refuse_binary(append);
	else
		store(s, append, cv_buf_str(&append->encoded));
	cv_binary_encoder_free(&append->encoder);
}

/* RFC 4469 section 4.2: "may also wish to return the TOOBIG response code if the resulting message exceeds a server-specific message size limit". False:
   the reply was made. */
static bool fits(struct cv_imap_cmd *cmd, uint64_t more)
{
	struct append *append = cmd->data;

	if (more > IMAP_APPEND_LIMIT - append->size) {
		imap_no(cmd, "TOOBIG", "Message is too long");
		return false;
	}
	/* What REPLACE takes away makes room: only the whole can be looked at there. */
	if (replaces(cmd) || imap_quota_fits(cmd, append->mailbox, append->size + more, &append->err) == 0)
		return true;
	imap_fail(cmd, &append->err);
	return false;
}

static bool begin_message(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	struct cv_save_config config = { 0 };

	if (append->count > 0 && (replaces(cmd) || append->count == MESSAGES_MAX)) {
		imap_no(cmd, "LIMIT", replaces(cmd) ? "REPLACE takes one message" : "Too many messages at once");
		return false;
	}
	/* RFC 9738 section 3.1: "no messages are appended when the server MESSAGELIMIT is exceeded". */
	if (imap_save_limit(imap_cmd_session(cmd)) != 0 && append->count >= imap_save_limit(imap_cmd_session(cmd))) {
		imap_over_limit(cmd, imap_save_limit(imap_cmd_session(cmd)), 0);
		return false;
	}
	append->size = 0;
	append->binary = false;
	append->in_header = append->empty_line = true;
	if (!parse_options(cmd, append->last->next, &config))
		return false;
	if (!append->catenate) {
		config.size_hint = append->literal.size;
		if (append->due && append->literal.size == 0) {
			imap_no(cmd, NULL, "A message can't be empty");
			return false;
		}
		/* Nothing is made for a literal that is not let in. */
		if (!fits(cmd, append->literal.size))
			return false;
	}
	if (cv_save_begin(append->txn, append->mailbox, &config, &append->save, &append->err) < 0) {
		append->save = NULL;
		if (config.note_count == 0)
			return fail(cmd);
		annotate_fail(cmd, &append->err);
		return false;
	}
	/* Any part of a CATENATE may be a literal8. */
	if (append->catenate || append->literal.binary)
		append->encoder = cv_binary_encoder_new();
	return true;
}

/* RFC 5257 section 3.2.1: annotations of body parts that the message has. False: the reply was made. */
static bool has_parts(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	struct cv_str record;
	int ret;

	if (!annotate_names_parts(append->notes, append->note_count))
		return true;
	ret = cv_save_record(append->save, &record, &append->err);
	if (ret > 0)
		ret = annotate_parts_in_record(cmd->arena, record, append->notes, append->note_count, &append->err);
	if (ret < 0)
		return fail(cmd);
	if (ret == 0)
		imap_bad(cmd, "There is no such body part");
	return ret > 0;
}

static bool finish_message(struct cv_imap_cmd *cmd, const struct cv_imap_arg *last)
{
	struct append *append = cmd->data;

	take_end(imap_cmd_session(cmd), append);
	if (append->failed)
		return fail(cmd);
	if (append->size == 0) {
		imap_no(cmd, NULL, "A message can't be empty");
		return false;
	}
	append->last = last;
	if (cv_save_finish(append->save, &append->err) < 0) {
		append->failed = true;
		return fail(cmd);
	}
	cv_ranges_add(append->uids, cv_save_uid(append->save), cv_save_uid(append->save));
	if (!has_parts(cmd)) {
		append->save = NULL; /* the transaction's now, which is given up */
		return false;
	}
	append->save = NULL;
	append->count++;
	return true;
}

/* ---- CATENATE --------------------------------------------------------------------------------------- */

/* badurl-response-code = "BADURL" SP url-resp-text: what may not be in it is percent-encoded. */
static void bad_url(struct cv_imap_cmd *cmd, struct cv_str url, const struct cv_err *err)
{
	struct cv_buf text;

	cv_buf_init(&text, SIZE_MAX / 2);
	for (size_t i = 0; i < CV_MIN(url.len, (size_t)CV_IMAP_URL_MAX); i++) {
		if (url.ptr[i] == ']' || (unsigned char)url.ptr[i] < ' ' || (unsigned char)url.ptr[i] >= 0x7f)
			cv_buf_printf(&text, "%%%02X", (unsigned)(unsigned char)url.ptr[i]);
		else
			cv_buf_append_char(&text, url.ptr[i]);
	}
	imap_no(cmd, imap_code_printf(cmd, "BADURL %s", text.len > 0 ? text.data : "\"\""), cv_arena_strdup(cmd->arena, err->text));
	cv_buf_deinit(&text);
}

/* False: the reply was made. */
static bool open_url(struct cv_imap_cmd *cmd, struct cv_str text)
{
	struct append *append = cmd->data;
	struct cv_err err = { 0 };
	struct cv_imap_url url;

	/* RFC 4469 section 3: "only relative IMAP message or message part URLs (i.e., those having no scheme or <iserver>) are used". */
	if (cv_imap_url_parse(cmd->arena, text, imap_part_base(cmd), &url, &err) < 0)
		bad_url(cmd, text, &err);
	else if (url.has_server || url.uid == 0 || url.access.ptr != NULL) {
		cv_err_set_public(&err, CV_ERR_INVALID, "Only a message, or a part of one, of this account can be a part");
		bad_url(cmd, text, &err);
	} else if (imap_part_open(cmd->user, &url, 0, &append->source, &err) > 0) {
		return true;
	} else if (err.public_text) {
		bad_url(cmd, text, &err);
	} else {
		imap_fail(cmd, &err);
	}
	return false;
}

/* Copies for one slice of time. False: the reply was made. */
static bool copy_source(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	uint64_t start = cv_time_mono_us();
	struct cv_str octets;
	struct cv_err err = { 0 };
	int result;

	do {
		result = imap_part_read(append->source, CHUNK, &octets, &err);
		if (result < 0) {
			imap_fail(cmd, &err);
			return false;
		}
		if (result == 0) {
			imap_part_close(&append->source);
			return true;
		}
		if (!fits(cmd, octets.len))
			return false;
		take(imap_cmd_session(cmd), append, octets, false);
		if (append->failed)
			return fail(cmd);
	} while (cv_time_mono_us() - start < IMAP_SLICE_US);
	return true;
}

/* ---- The walk --------------------------------------------------------------------------------------- */

enum walked {
	WALK_ON = 1,  /* there is more to do */
	WALK_LATER,   /* the same, but this slice of time is over */
	WALK_LITERAL, /* the literal that is due is where one may be */
	WALK_END,     /* all arguments are done with */
	WALK_REPLY    /* the reply was made */
};

static enum walked bad(struct cv_imap_cmd *cmd, const char *text)
{
	imap_bad(cmd, text);
	return WALK_REPLY;
}

/* A literal belongs behind this list's last element, in it. */
static bool is_open(const struct append *append, const struct cv_imap_arg *list)
{
	return append->due && append->literal.in_list && list->next == NULL;
}

/* text-literal = "TEXT" SP literal; cat-part =/ "UTF8" SP "(" literal8 ")" (RFC 6855 section 4) */
static enum walked walk_text(struct cv_imap_cmd *cmd, const struct cv_imap_arg *name)
{
	struct append *append = cmd->data;
	const struct cv_imap_arg *value = name->next, *first;
	bool open = is_open(append, append->head);

	if (cv_imap_arg_is(name, "UTF8") && cv_imap_arg_list(value, &first)) {
		if (first == NULL && open && value->next == NULL)
			return WALK_LITERAL;
		if (first == NULL || first->type != CV_IMAP_ARG_STREAMED || first->next != NULL)
			return bad(cmd, "UTF8 needs one literal");
	} else {
		if (cv_imap_arg_is(name, "UTF8"))
			return bad(cmd, "UTF8 needs one literal");
		if (value == NULL && open)
			return WALK_LITERAL;
		if (value == NULL || value->type != CV_IMAP_ARG_STREAMED)
			return bad(cmd, "TEXT needs a literal");
	}
	append->part = value;
	return WALK_ON;
}

/* cat-part *(SP cat-part) */
static enum walked walk_parts(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	const struct cv_imap_arg *part = append->part != NULL ? append->part->next : append->head->child;
	struct cv_str url;

	if (part == NULL) {
		if (append->part == NULL || is_open(append, append->head))
			return bad(cmd, "CATENATE needs URL or TEXT before each of its parts");
		return finish_message(cmd, append->head) ? WALK_ON : WALK_REPLY;
	}
	if (cv_imap_arg_is(part, "TEXT") || cv_imap_arg_is(part, "UTF8"))
		return walk_text(cmd, part);
	if (!cv_imap_arg_is(part, "URL") || !cv_imap_arg_astring(part->next, &url))
		return bad(cmd, "CATENATE needs URL or TEXT before each of its parts");
	append->part = part->next;
	return open_url(cmd, url) ? WALK_ON : WALK_REPLY;
}

/* The one literal of a message without CATENATE. */
static enum walked walk_literal(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	const struct cv_imap_arg *message = append->in_list ? append->head->child : append->head->next;

	if (message == NULL && append->due && (!append->in_list || is_open(append, append->head)))
		return WALK_LITERAL;
	if (message == NULL || message->type != CV_IMAP_ARG_STREAMED || (append->in_list && message->next != NULL))
		return bad(cmd, "Unexpected arguments behind the message");
	return finish_message(cmd, append->in_list ? append->head : message) ? WALK_ON : WALK_REPLY;
}

static enum walked walk_step(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;

	if (append == NULL)
		return open_target(cmd) ? WALK_ON : WALK_REPLY;
	if (append->failed) {
		(void)fail(cmd);
		return WALK_REPLY;
	}
	if (append->source != NULL) {
		if (!copy_source(cmd))
			return WALK_REPLY;
		return append->source != NULL ? WALK_LATER : WALK_ON;
	}
	if (append->save == NULL) {
		if (!append->due && append->last->next == NULL && append->count > 0)
			return WALK_END;
		return begin_message(cmd) ? WALK_ON : WALK_REPLY;
	}
	return append->catenate ? walk_parts(cmd) : walk_literal(cmd);
}

/* The announced literal is let in. */
static enum cv_imap_result begin_literal(struct cv_imap_cmd *cmd)
{
	struct append *append = cmd->data;
	struct imap_session *s = imap_cmd_session(cmd);

	append->due = false;
	cv_imap_parser_begin_stream(s->parser);
	imap_cmd(cmd)->phase = IMAP_PHASE_LITERAL;
	if (append->literal.sync)
		cv_buf_append_c(cv_stream_out(s->stream), "+ OK\r\n");
	return CV_IMAP_STEP;
}

static enum cv_imap_result walk(struct cv_imap_cmd *cmd)
{
	struct append *append;
	enum walked walked;
	enum cv_imap_result result;
	const char *ignored;
	bool due = cmd->data != NULL && ((struct append *)cmd->data)->due;

	do
		walked = walk_step(cmd);
	while (walked == WALK_ON);
	append = cmd->data;
	switch (walked) {
	case WALK_ON:
	case WALK_LATER:
		return CV_IMAP_STEP;
	case WALK_LITERAL:
		if (append->catenate && !fits(cmd, append->literal.size))
			break;
		return begin_literal(cmd);
	case WALK_END:
		append->committing = true;
		append->over_quota = imap_over_quota(cmd, append->mailbox, &ignored);
		result = append->annotated ? imap_begin_commit(cmd, &append->txn) : imap_commit(cmd, &append->txn);
		if (result != CV_IMAP_WAIT) {
			give_up(cmd);
			if (append->annotated)
				return annotate_fail(cmd, &imap_cmd(cmd)->commit_err);
		}
		return result;
	case WALK_REPLY:
		break;
	}
	/* The reply goes out now: a client that waits for "+" takes it instead (RFC 3501 section 7.5). */
	give_up(cmd);
	if (due)
		cv_imap_parser_skip(imap_cmd_session(cmd)->parser);
	return CV_IMAP_DONE;
}

void imap_append_literal(struct imap_cmd *cmd)
{
	struct imap_session *s = cmd->s;
	struct cv_imap_literal literal = cv_imap_parser_literal(s->parser);
	const struct cv_imap_arg *before, *last = last_arg(cmd->pub.args, &before);
	struct append *append = cmd->pub.data;
	struct cv_err err = { 0 };
	bool annotation;

	if (append == NULL) {
		if (!open_target(&cmd->pub)) {
			give_up(&cmd->pub);
			cv_imap_parser_skip(s->parser);
			cmd->phase = IMAP_PHASE_REPLY;
			return;
		}
		append = cmd->pub.data;
	}
	annotation = literal.in_list && annotate_takes(s, cmd->pub.command, cmd->pub.args);
	if (annotation && literal.size > annotate_value_max(s)) {
		imap_no(&cmd->pub, "ANNOTATE TOOBIG", "Annotation is too large");
		give_up(&cmd->pub);
		cv_imap_parser_skip(s->parser);
		cmd->phase = IMAP_PHASE_REPLY;
		return;
	}
	if (annotation)
		cv_imap_parser_allow(s->parser, annotate_literals_max(s));
	if (annotation || (literal.in_list && cv_imap_arg_is(before, "CATENATE") && is_url(last))) {
		if (cv_imap_parser_keep(s->parser, &err) < 0) {
			imap_bad_err(&cmd->pub, &err);
			give_up(&cmd->pub);
			cmd->phase = IMAP_PHASE_REPLY;
		} else if (literal.sync) {
			cv_buf_append_c(cv_stream_out(s->stream), "+ OK\r\n");
		}
		return;
	}
	append->literal = literal;
	append->due = true;
	cmd->phase = IMAP_PHASE_RUN;
}

void imap_append_take(struct imap_cmd *cmd, struct cv_str octets)
{
	struct append *append = cmd->pub.data;

	take(cmd->s, append, octets, append->literal.binary);
}

/* ---- The end ---------------------------------------------------------------------------------------- */

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	const struct cv_imap_arg *mailbox = mailbox_arg(cmd->command, cmd->args);

	if (mailbox == NULL || (mailbox->next == NULL && cmd->data == NULL))
		return imap_bad(cmd, "Command needs a mailbox and a literal");
	return walk(cmd);
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

	if (!append->committing)
		return walk(cmd);
	if (imap_cmd(cmd)->commit_result < 0) {
		give_up(cmd);
		return append->annotated ? annotate_fail(cmd, &imap_cmd(cmd)->commit_err) : imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	}
	s->stats.appended += append->count;
	imap_warn_quota(cmd, append->mailbox, append->over_quota);
	code = appenduid(cmd);
	imap_note_own(s, append->mailbox, append->uids);
	give_up(cmd);
	if (!replaces(cmd))
		return imap_ok(cmd, code, "Append completed");
	/* RFC 8508 section 4.3: "advised to send the APPENDUID response code in an untagged OK before sending the EXPUNGE". */
	if (code != NULL)
		imap_tell(s, "OK", code, "Replacement message is there");
	s->stats.expunged++;
	imap_sync_expunged(s);
	imap_cmd(cmd)->synced = true;
	if (s->condstore)
		return imap_ok(cmd, imap_code_printf(cmd, "HIGHESTMODSEQ %llu", (unsigned long long)imap_highest_modseq(s)),
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
