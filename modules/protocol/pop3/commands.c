/* SPDX-License-Identifier: MIT
   POP3 after login: the command table, and the short commands (RFC 1939 section 5, RFC 2449). */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

enum command_opts {
	NO_ARGS = 1,   /* an argument is a syntax error */
	NEEDS_ARGS = 2,
	LAST_ONLY = 4, /* exists only with pop3_enable_last */
};

struct command {
	const char *verb;
	void (*handler)(struct cv_pop3_session *client, struct cv_str args);
	unsigned opts;
};

bool cv_pop3_parse_number(struct cv_pop3_session *client, struct cv_str arg, uint32_t *number_r)
{
	uint32_t number;

	if (!cv_str_to_u32(arg, UINT32_MAX, &number)) {
		cv_pop3_bad(client, "Invalid message number.");
		return false;
	}
	if (number == 0 || number > client->drop.msgs.count) {
		cv_pop3_reply(client, "-ERR There is no message %u.", number);
		return false;
	}
	if ((client->drop.msgs.data[number - 1].marks & CV_POP3_MARK_DELETED) != 0) {
		cv_pop3_reply(client, "-ERR Message %u is deleted.", number);
		return false;
	}
	*number_r = number;
	return true;
}

static void cmd_capa(struct cv_pop3_session *client, CV_UNUSED struct cv_str args)
{
	struct cv_buf *out = cv_stream_out(client->stream);

	cv_pop3_reply(client, "+OK Capability list follows.");
	cv_pop3_append_capabilities(out, client->resume.utf8_user);
	for (size_t i = 0; i < client->resume.count; i++) {
		cv_buf_append(out, client->resume.lines[i]);
		cv_buf_append_c(out, "\r\n");
	}
	cv_buf_append_c(out, ".\r\n");
}

static void cmd_stat(struct cv_pop3_session *client, CV_UNUSED struct cv_str args)
{
	cv_pop3_reply(client, "+OK %u %llu", (unsigned)client->drop.msgs.count - client->drop.deleted_count,
		(unsigned long long)(client->drop.size - client->drop.deleted_size));
}

static void cmd_dele(struct cv_pop3_session *client, struct cv_str args)
{
	struct cv_row row;
	uint32_t number;

	if (!cv_pop3_parse_number(client, args, &number))
		return;
	if ((client->drop.rights & cv_pop3_delete_right(client)) == 0) {
		cv_pop3_reply(client, "-ERR %sPermission denied.", cv_pop3_response_code(CV_ERR_PERM, false));
		return;
	}
	cv_pop3_maildrop_row(client, number, &row);
	client->drop.msgs.data[number - 1].marks |= CV_POP3_MARK_DELETED;
	client->drop.deleted_count++;
	client->drop.deleted_size += row.virtual_size;
	cv_pop3_reply(client, "+OK Marked to be deleted.");
}

static void cmd_noop(struct cv_pop3_session *client, CV_UNUSED struct cv_str args)
{
	cv_pop3_reply(client, "+OK");
}

static void cmd_rset(struct cv_pop3_session *client, CV_UNUSED struct cv_str args)
{
	cv_pop3_maildrop_reset(client);
	cv_pop3_reply(client, "+OK %u messages (%llu octets)", (unsigned)client->drop.msgs.count,
		(unsigned long long)client->drop.size);
}

/* RFC 1460 section 5 */
static void cmd_last(struct cv_pop3_session *client, CV_UNUSED struct cv_str args)
{
	cv_pop3_reply(client, "+OK %u", client->drop.last);
}

static void quit_done(struct cv_pop3_session *client, const struct cv_err *err)
{
	if (err != NULL) {
		cv_error(cv_session_log(client->session), "updating the maildrop failed: %s", err->text);
		cv_pop3_reply(client, "-ERR %sLogging out, messages were not deleted.", cv_pop3_response_code(err->code, false));
		cv_pop3_close(client, "Logged out, update failed:");
		return;
	}
	client->count.deleted = client->drop.deleted_count;
	cv_pop3_reply(client, client->drop.deleted_count > 0 ? "+OK Logging out, messages deleted." : "+OK Logging out.");
	cv_pop3_close(client, "Logged out");
}

static void cmd_quit(struct cv_pop3_session *client, CV_UNUSED struct cv_str args)
{
	struct cv_err err = { 0 };

	cv_pop3_ahead_drop(client);
	cv_pop3_set_state(client, CV_POP3_UPDATE);
	cv_stream_set_bidden(cv_session_stream(client->session));
	client->updated = true;
	switch (cv_pop3_update(client, true, quit_done, &err)) {
	case 1:
		break;
	case 0:
		quit_done(client, NULL);
		break;
	default:
		quit_done(client, &err);
		break;
	}
}

/* RFC 6856 section 3.2 */
void cv_pop3_cmd_lang(struct cv_pop3_session *client, struct cv_str args)
{
	unsigned language = client->resume.star;

	if (args.len == 0) {
		cv_pop3_reply(client, "+OK Language listing follows.");
		cv_pop3_language_list(cv_stream_out(client->stream));
		return;
	}
	if (!cv_str_eq(args, CV_STR("*")) && !cv_language_match(args, &language)) {
		cv_pop3_reply(client, "-ERR There is no language for %.*s.", CV_STR_ARG(args));
		return;
	}
	client->language = language;
	cv_pop3_reply(client, "+OK %s The language was changed.", cv_language_tag(language));
}

static const struct command commands[] = {
	{ "CAPA", cmd_capa, NO_ARGS },
	{ "DELE", cmd_dele, NEEDS_ARGS },
	{ "LANG", cv_pop3_cmd_lang, 0 },
	{ "LAST", cmd_last, NO_ARGS | LAST_ONLY },
	{ "LIST", cv_pop3_cmd_list, 0 },
	{ "NOOP", cmd_noop, 0 },
	{ "QUIT", cmd_quit, 0 },
	{ "RETR", cv_pop3_cmd_retr, NEEDS_ARGS },
	{ "RSET", cmd_rset, NO_ARGS },
	{ "STAT", cmd_stat, NO_ARGS },
	{ "TOP", cv_pop3_cmd_top, NEEDS_ARGS },
	{ "UIDL", cv_pop3_cmd_uidl, 0 },
};

static const struct command *find_command(const struct cv_pop3_session *client, struct cv_str verb)
{
	for (size_t i = 0; i < CV_COUNT_OF(commands); i++) {
		if (cv_str_caseeq_c(verb, commands[i].verb) &&
			((commands[i].opts & LAST_ONLY) == 0 || client->set->pop3_enable_last))
			return &commands[i];
	}
	return NULL;
}

void cv_pop3_command(struct cv_pop3_session *client)
{
	const struct command *command;
	struct cv_str verb, args;
	unsigned bad = client->bad_commands;

	(void)cv_str_split(cv_buf_str(&client->input.line), ' ', &verb, &args);
	args = cv_str_trim(args);
	command = find_command(client, verb);
	if (command == NULL) {
		cv_pop3_bad(client, "Unknown command.");
		return;
	}
	if ((command->opts & NO_ARGS) != 0 && args.len > 0) {
		cv_pop3_bad(client, "This command takes no argument.");
		return;
	}
	if ((command->opts & NEEDS_ARGS) != 0 && args.len == 0) {
		cv_pop3_bad(client, "This command needs an argument.");
		return;
	}
	cv_session_set_state(client->session, command->verb);
	command->handler(client, args);
	if (client->bad_commands == bad)
		client->bad_commands = 0;
}
