/* SPDX-License-Identifier: MIT
   LMTP in front: the commands (RFC 2033 section 4, RFC 5321 section 4.1, RFC 3030 section 2). */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"


enum command_opts {
	NEEDS_LHLO = 1,
	NEEDS_MAIL = 2,
	OVERLAPS = 4, /* may run while look-ups of recipients are under way */
};

struct command {
	const char *verb;
	bool (*handler)(struct cv_lmtp_client *client, struct cv_str args); /* results as cv_lmtp_command */
	unsigned opts;
};

static uint64_t size_limit(const struct cv_lmtp_client *client)
{
	return client->set->message_size_limit != 0 ? client->set->message_size_limit : CV_LMTP_SIZE_MAX;
}

static bool cmd_lhlo(struct cv_lmtp_client *client, struct cv_str args)
{
	struct cv_buf *out = cv_lmtp_out(client);

	args = cv_str_trim(args);
	if (!cv_lmtp_is_domain(args)) {
		cv_lmtp_bad(client, 501, "5.5.4", "Syntax: LHLO name");
		return true;
	}
	cv_lmtp_reset(client);
	cv_buf_clear(&client->lhlo);
	cv_buf_append(&client->lhlo, args);
	cv_buf_printf(out,
		"250-%.*s\r\n"
		"250-PIPELINING\r\n"
		"250-SIZE %llu\r\n"
		"250-8BITMIME\r\n"
		"250-ENHANCEDSTATUSCODES\r\n"
		"250 CHUNKING\r\n",
		CV_STR_ARG(client->hostname), (unsigned long long)size_limit(client));
	return true;
}

/* RFC 2033 section 4.1: HELO and EHLO are not accepted. */
static bool cmd_ehlo(struct cv_lmtp_client *client, CV_UNUSED struct cv_str args)
{
	cv_lmtp_bad(client, 500, "5.5.1", "This is LMTP: say LHLO");
	return true;
}

enum param_result { PARAM_OK, PARAM_SYNTAX, PARAM_UNKNOWN, PARAM_TOO_LARGE };

/* size-value ::= 1*20DIGIT (RFC 1870 section 4) */
static bool is_size_value(struct cv_str value)
{
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return false;
	}
	return value.len >= 1 && value.len <= 20;
}

/* One parameter of MAIL: SIZE (RFC 1870), BODY (RFC 6152). seen holds what came before: none may come twice. */
static enum param_result mail_param(struct cv_lmtp_client *client, struct cv_str keyword, struct cv_str value, unsigned *seen)
{
	uint64_t size;
	unsigned bit;

	if (cv_str_caseeq_c(keyword, "SIZE")) {
		bit = 1;
		/* What does not fit into 64 bits is too large all the same. */
		if (!cv_str_to_u64(value, UINT64_MAX, &size))
			return is_size_value(value) ? PARAM_TOO_LARGE : PARAM_SYNTAX;
		if (size > size_limit(client))
			return PARAM_TOO_LARGE;
	} else if (cv_str_caseeq_c(keyword, "BODY")) {
		bit = 2;
		if (!cv_str_caseeq_c(value, "7BIT") && !cv_str_caseeq_c(value, "8BITMIME"))
			return PARAM_SYNTAX;
	} else {
		return PARAM_UNKNOWN;
	}
	if ((*seen & bit) != 0)
		return PARAM_SYNTAX;
	if (bit == 1)
		client->announced = size;
	*seen |= bit;
	return PARAM_OK;
}

static enum param_result mail_params(struct cv_lmtp_client *client, struct cv_reader *r)
{
	enum param_result result = PARAM_OK;
	struct cv_str keyword, value;
	unsigned seen = 0;

	client->announced = 0;
	while (result == PARAM_OK && cv_take_char(r, ' ')) {
		/* Blanks at the end are harmless. */
		if (cv_str_trim(cv_reader_rest(r)).len == 0)
			return PARAM_OK;
		if (!cv_lmtp_take_param(r, &keyword, &value))
			return PARAM_SYNTAX;
		result = mail_param(client, keyword, value, &seen);
	}
	if (result == PARAM_OK && !cv_reader_end(r))
		return PARAM_SYNTAX;
	return result;
}

static bool cmd_mail(struct cv_lmtp_client *client, struct cv_str args)
{
	struct cv_reader r = cv_reader_init(args);
	struct cv_lmtp_path path;

	if (client->mail_given) {
		cv_lmtp_bad(client, 503, "5.5.1", "MAIL was given already");
		return true;
	}
	if (!cv_str_is_ascii(args)) {
		/* RFC 6531 section 3.5 */
		cv_lmtp_bad(client, 553, "5.6.7", "SMTPUTF8 is not offered: addresses must be ASCII");
		return true;
	}
	if (!cv_take_caselit(&r, CV_STR("FROM:"))) {
		cv_lmtp_bad(client, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
		return true;
	}
	if (!cv_lmtp_take_path(&r, true, client->arena, &path)) {
		cv_lmtp_bad(client, 501, "5.1.7", "Invalid address");
		return true;
	}
	switch (mail_params(client, &r)) {
	case PARAM_OK:
		break;
	case PARAM_SYNTAX:
		cv_lmtp_bad(client, 501, "5.5.4", "Invalid parameter");
		return true;
	case PARAM_UNKNOWN:
		cv_lmtp_bad(client, 555, "5.5.4", "Unknown parameter");
		return true;
	case PARAM_TOO_LARGE:
		cv_lmtp_reply(client, 552, "5.3.4", "Message is larger than %llu octets",
			(unsigned long long)size_limit(client));
		return true;
	}
	client->mail_given = true;
	client->reverse_path = cv_arena_str(client->arena, path.text);
	client->mail_reply_due = true;
	return true;
}

static bool rcpt_bad(struct cv_lmtp_client *client, unsigned code, const char *enhanced, const char *text)
{
	/* In order: not before the replies to those whose look-up runs. */
	if (client->pending > 0)
		return false;
	cv_lmtp_bad(client, code, enhanced, text);
	return true;
}

static bool cmd_rcpt(struct cv_lmtp_client *client, struct cv_str args)
{
	struct cv_reader r = cv_reader_init(args);
	struct cv_lmtp_path path;
	struct cv_str keyword, value;

	if (client->chunks)
		return rcpt_bad(client, 503, "5.5.1", "The message has begun already");
	if (!cv_str_is_ascii(args))
		return rcpt_bad(client, 553, "5.6.7", "SMTPUTF8 is not offered: addresses must be ASCII");
	if (!cv_take_caselit(&r, CV_STR("TO:")))
		return rcpt_bad(client, 501, "5.5.4", "Syntax: RCPT TO:<address>");
	if (!cv_lmtp_take_path(&r, false, client->arena, &path))
		return rcpt_bad(client, 501, "5.1.3", "Invalid address");
	if (cv_str_trim(cv_reader_rest(&r)).len > 0) {
		if (cv_take_char(&r, ' ') && cv_lmtp_take_param(&r, &keyword, &value))
			return rcpt_bad(client, 555, "5.5.4", "Unknown parameter");
		return rcpt_bad(client, 501, "5.5.4", "Invalid parameter");
	}
	return cv_lmtp_rcpt_add(client, &path);
}

static bool cmd_data(struct cv_lmtp_client *client, struct cv_str args)
{
	if (cv_str_trim(args).len > 0)
		cv_lmtp_bad(client, 501, "5.5.4", "DATA takes no argument");
	else if (client->chunks)
		cv_lmtp_bad(client, 503, "5.5.1", "DATA is not possible behind BDAT");
	else if (client->accepted == 0)
		/* RFC 2033 section 4.2 */
		cv_lmtp_bad(client, 503, "5.5.1", "No valid recipients");
	else
		cv_lmtp_data_begin(client);
	return true;
}

/* bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] CR LF */
static bool cmd_bdat(struct cv_lmtp_client *client, struct cv_str args)
{
	static const struct cv_lmtp_reply no_rcpt = { 503, "5.5.1", "No valid recipients" };
	struct cv_reader r = cv_reader_init(args);
	uint64_t size;
	bool last;

	if (!cv_parse_u64(&r, UINT64_MAX, &size))
		goto syntax;
	last = cv_take_caselit(&r, CV_STR(" LAST"));
	if (cv_str_trim(cv_reader_rest(&r)).len > 0)
		goto syntax;
	cv_lmtp_chunk_begin(client, size, last, client->accepted == 0 ? &no_rcpt : NULL);
	return true;
syntax:
	/* How many octets follow is unknown: they must not be taken for commands. */
	cv_lmtp_reply(client, 501, "5.5.4", "Syntax: BDAT size [LAST]");
	cv_lmtp_close(client, "invalid BDAT command");
	return true;
}

static bool cmd_rset(struct cv_lmtp_client *client, struct cv_str args)
{
	if (cv_str_trim(args).len > 0) {
		cv_lmtp_bad(client, 501, "5.5.4", "RSET takes no argument");
		return true;
	}
	cv_lmtp_reset(client);
	cv_lmtp_reply(client, 250, "2.0.0", "OK");
	return true;
}

static bool cmd_noop(struct cv_lmtp_client *client, CV_UNUSED struct cv_str args)
{
	cv_lmtp_reply(client, 250, "2.0.0", "OK");
	return true;
}

static bool cmd_vrfy(struct cv_lmtp_client *client, struct cv_str args)
{
	if (cv_str_trim(args).len == 0)
		cv_lmtp_bad(client, 501, "5.5.4", "Syntax: VRFY address");
	else
		cv_lmtp_reply(client, 252, "2.3.3", "Try RCPT");
	return true;
}

static bool cmd_help(struct cv_lmtp_client *client, CV_UNUSED struct cv_str args)
{
	cv_lmtp_reply(client, 214, "2.0.0", "LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT");
	return true;
}

static bool cmd_quit(struct cv_lmtp_client *client, CV_UNUSED struct cv_str args)
{
	cv_lmtp_reply(client, 221, "2.0.0", "Bye");
	cv_lmtp_close(client, "client quit");
	return true;
}

static const struct command commands[] = {
	{ "BDAT", cmd_bdat, 0 }, /* octets follow, whatever the answer is */
	{ "DATA", cmd_data, NEEDS_LHLO | NEEDS_MAIL },
	{ "EHLO", cmd_ehlo, 0 },
	{ "HELO", cmd_ehlo, 0 },
	{ "HELP", cmd_help, 0 },
	{ "LHLO", cmd_lhlo, 0 },
	{ "MAIL", cmd_mail, NEEDS_LHLO },
	{ "NOOP", cmd_noop, 0 },
	{ "QUIT", cmd_quit, 0 },
	{ "RCPT", cmd_rcpt, NEEDS_LHLO | NEEDS_MAIL | OVERLAPS },
	{ "RSET", cmd_rset, 0 },
	{ "VRFY", cmd_vrfy, 0 },
};

static const struct command *find_command(struct cv_str verb)
{
	for (size_t i = 0; i < CV_COUNT_OF(commands); i++) {
		if (cv_str_caseeq_c(verb, commands[i].verb))
			return &commands[i];
	}
	return NULL;
}

bool cv_lmtp_command(struct cv_lmtp_client *client)
{
	const struct command *command;
	unsigned bad = client->bad_commands;
	struct cv_str verb, args;
	bool done;

	(void)cv_str_split(cv_buf_str(&client->line), ' ', &verb, &args);
	command = find_command(verb);
	if (client->pending > 0 && (command == NULL || (command->opts & OVERLAPS) == 0))
		return false;
	if (command == NULL) {
		cv_lmtp_bad(client, 500, client->line_bad ? "5.5.2" : "5.5.1",
			client->line_bad ? "Line too long or with a NUL" : "Unknown command");
		return true;
	}
	if ((command->opts & NEEDS_LHLO) != 0 && client->lhlo.len == 0) {
		cv_lmtp_bad(client, 503, "5.5.1", "Say LHLO first");
		return true;
	}
	if ((command->opts & NEEDS_MAIL) != 0 && !client->mail_given) {
		cv_lmtp_bad(client, 503, "5.5.1", "MAIL is needed first");
		return true;
	}
	done = command->handler(client, args);
	if (done && client->bad_commands == bad)
		client->bad_commands = 0;
	return done;
}
