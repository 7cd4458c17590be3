/* SPDX-License-Identifier: MIT
   POP3: RETR and TOP (RFC 1939 sections 5 and 7): a message in slices, as fast as the client takes it. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

#include <culver/reader.h>

/* Octets that are worth being looked for as one piece, which the stream need not copy. */
#define RUN_MIN ((size_t)16 * 1024)
/* Longer messages are not read ahead: to send one takes longer than to read it. */
#define AHEAD_MAX ((uint64_t)64 * 1024)

/* A slice of the message, as long as there is room. 1 when it was the last one, 0, -1. */
static int write_slice(struct cv_pop3_session *client, size_t room, uint64_t *sum, struct cv_err *err)
{
	struct cv_buf *out;
	struct cv_str run;
	size_t before;
	int ret = cv_pop3_wire_run(&client->wire, RUN_MIN, room, &run, err);

	if (ret > 0) {
		cv_stream_write(client->stream, run);
		*sum += run.len;
		return 0;
	}
	if (ret < 0)
		return -1;
	out = cv_stream_out(client->stream);
	before = out->len;
	ret = cv_pop3_wire_append(&client->wire, out, room, err);
	if (ret > 0)
		cv_buf_append_c(out, ".\r\n");
	*sum += out->len - before;
	return ret;
}

/* A message that is at hand in one piece and all ASCII has no header to be replaced: its parse record need not be read for that. */
static bool is_ascii(struct cv_message_reader *reader)
{
	struct cv_err ignored = { 0 };
	struct cv_str octets;

	return cv_message_reader_get(reader, 0, SIZE_MAX, &octets, &ignored) > 0 && octets.len == reader->size && cv_str_is_ascii(octets);
}

void cv_pop3_ahead_drop(struct cv_pop3_session *client)
{
	client->ahead.next = 0;
	cv_mail_close(&client->ahead.mail);
}

/* Clients take one message after another: the next is read while the client still has this one, when it has not asked for anything yet. */
static void want_ahead(struct cv_pop3_session *client)
{
	const struct cv_pop3_maildrop *drop = &client->drop;
	struct cv_row row;

	if (client->number >= drop->msgs.count || (drop->msgs.data[client->number].marks & CV_POP3_MARK_DELETED) != 0 ||
		cv_stream_input(client->stream).len > 0)
		return;
	cv_pop3_maildrop_row(client, client->number + 1, &row);
	if (row.physical_size > AHEAD_MAX)
		return;
	client->ahead.next = client->number + 1;
	cv_session_want_step(client->session);
}

/* What is wrong with it RETR will find and say. */
void cv_pop3_read_ahead(struct cv_pop3_session *client)
{
	uint32_t number = client->ahead.next;
	struct cv_message_reader *reader;
	struct cv_err ignored = { 0 };

	cv_pop3_ahead_drop(client);
	if (cv_mail_open(client->drop.view, client->drop.msgs.data[number - 1].seq, &client->ahead.mail, &ignored) < 0)
		return;
	if (cv_mail_reader(client->ahead.mail, &reader, &ignored) < 0) {
		cv_pop3_ahead_drop(client);
		return;
	}
	client->ahead.number = number;
	client->ahead.ascii = is_ascii(reader);
}

/* Was it read ahead? Then it is open, and *ascii_r says whether it is all ASCII. What was read for nothing goes. */
static bool take_ahead(struct cv_pop3_session *client, uint32_t number, bool *ascii_r)
{
	bool there = client->ahead.mail != NULL && client->ahead.number == number;

	if (there) {
		client->mail = client->ahead.mail;
		*ascii_r = client->ahead.ascii;
		client->ahead.mail = NULL;
	}
	cv_pop3_ahead_drop(client);
	return there;
}

static bool more_message(struct cv_pop3_session *client)
{
	uint64_t *sum = client->wire.top ? &client->count.top_size : &client->count.retr_size;
	uint64_t end = *sum + cv_stream_room(client->stream); /* a fast client takes octets while they are written: others have their turn */
	struct cv_err err = { 0 };
	size_t room;
	int ret = 0;

	while (ret == 0 && *sum < end && (room = cv_stream_room(client->stream)) > 0)
		ret = write_slice(client, room, sum, &err);
	if (ret < 0) { /* a part was sent as good: nothing else tells that it is not all */
		cv_error(cv_session_log(client->session), "message %u can't be read any further: %s", client->number, err.text);
		cv_pop3_close(client, "Disconnected: a message could not be read");
	}
	if (ret <= 0)
		return false;
	cv_pop3_surrogate_free(&client->surrogate);
	cv_mail_close(&client->mail);
	if (client->wire.top) {
		client->count.top++;
		return true;
	}
	client->count.retr++;
	client->drop.msgs.data[client->number - 1].marks |= CV_POP3_MARK_RETRIEVED;
	if (client->lowest_retrieved == 0 || client->number < client->lowest_retrieved)
		client->lowest_retrieved = client->number;
	if (client->drop.last < client->number)
		client->drop.last = client->number;
	want_ahead(client);
	return true;
}

/* False: the error was replied. */
static bool open_message(struct cv_pop3_session *client, uint32_t number)
{
	struct cv_message_reader *reader;
	struct cv_err err = { 0 };
	bool ascii = false, ahead = take_ahead(client, number, &ascii);
	int ret;

	if ((!ahead && cv_mail_open(client->drop.view, client->drop.msgs.data[number - 1].seq, &client->mail, &err) < 0) ||
		cv_mail_reader(client->mail, &reader, &err) < 0) {
		cv_mail_close(&client->mail);
		if (err.code == CV_ERR_EXPUNGED) {
			cv_pop3_reply(client, "-ERR Message %u was deleted by another session.", number);
			return false;
		}
		if (!err.public_text) /* else the store has told */
			cv_error(cv_session_log(client->session), "message %u cannot be read: %s", number, err.text);
		cv_pop3_reply(client, "-ERR %sMessage %u cannot be read now.", cv_pop3_response_code(err.code, false), number);
		return false;
	}
	ret = client->resume.utf8 || ascii || (!ahead && is_ascii(reader)) ? 0 : cv_pop3_surrogate_make(client->mail, &client->surrogate, &err);
	if (ret >= 0 && cv_mail_reader(client->mail, &reader, &err) < 0) { /* another one when it was wanted whole */
		cv_pop3_surrogate_free(&client->surrogate);
		ret = -1;
	}
	if (ret < 0) {
		cv_mail_close(&client->mail);
		if (err.code == CV_ERR_LIMIT) {
			cv_pop3_reply(client, "-ERR [UTF8] Message %u can be sent in UTF-8 mode only.", number);
			return false;
		}
		if (!err.public_text) /* else the store has told */
			cv_error(cv_session_log(client->session), "message %u cannot be read: %s", number, err.text);
		cv_pop3_reply(client, "-ERR %sMessage %u cannot be read now.", cv_pop3_response_code(err.code, false), number);
		return false;
	}
	client->number = number;
	cv_pop3_wire_init(&client->wire, reader, client->workarounds);
	cv_pop3_wire_replace(&client->wire, client->surrogate.pieces.data, client->surrogate.pieces.count);
	return true;
}

void cv_pop3_cmd_retr(struct cv_pop3_session *client, struct cv_str args)
{
	struct cv_row row;
	uint32_t number;
	uint64_t size;

	if (!cv_pop3_parse_number(client, args, &number) || !open_message(client, number))
		return;
	cv_pop3_maildrop_row(client, number, &row);
	client->wire.crlf = row.virtual_size == row.physical_size && client->wire.reader->size == row.physical_size && client->surrogate.pieces.count == 0;
	size = row.virtual_size - client->surrogate.replaced + client->surrogate.text_size;
	cv_pop3_reply(client, "+OK %llu octets", (unsigned long long)size);
	cv_pop3_begin_output(client, more_message);
}

void cv_pop3_cmd_top(struct cv_pop3_session *client, struct cv_str args)
{
	struct cv_str first, second;
	uint64_t lines;
	uint32_t number;

	(void)cv_str_split(args, ' ', &first, &second);
	if (!cv_str_to_u64(cv_str_trim(second), UINT64_MAX, &lines)) {
		cv_pop3_bad(client, "Syntax: TOP message lines");
		return;
	}
	if (!cv_pop3_parse_number(client, first, &number) || !open_message(client, number))
		return;
	client->wire.top = true;
	client->wire.lines_left = lines;
	cv_pop3_reply(client, "+OK Top of message follows.");
	cv_pop3_begin_output(client, more_message);
}
