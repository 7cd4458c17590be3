/* SPDX-License-Identifier: MIT
   POP3: LIST and UIDL (RFC 1939 sections 5 and 7). */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

/* Lines of one slice. */
#define SLICE 200

static bool is_deleted(const struct cv_pop3_session *client, uint32_t number)
{
	return (client->drop.msgs.data[number - 1].marks & CV_POP3_MARK_DELETED) != 0;
}

static void append_size(struct cv_pop3_session *client, uint32_t number, struct cv_buf *out)
{
	cv_buf_append_u64(out, cv_pop3_maildrop_size(client, number));
}

/* The lines of both commands: number and what append gives, for all that are not deleted. */
static bool more_lines(struct cv_pop3_session *client,
	void (*append)(struct cv_pop3_session *client, uint32_t number, struct cv_buf *out))
{
	struct cv_buf *out = cv_stream_out(client->stream);

	for (unsigned i = 0; i < SLICE && client->next <= client->until; i++) {
		uint32_t number = client->next;

		if (cv_stream_room(client->stream) == 0)
			return false;
		client->next++;
		if (is_deleted(client, number))
			continue;
		cv_buf_append_u64(out, number);
		cv_buf_append_char(out, ' ');
		append(client, number, out);
		cv_buf_append_c(out, "\r\n");
	}
	if (client->next <= client->until)
		return false;
	cv_buf_append_c(out, ".\r\n");
	return true;
}

static bool more_list(struct cv_pop3_session *client)
{
	return more_lines(client, append_size);
}

static void append_uidl(struct cv_pop3_session *client, uint32_t number, struct cv_buf *out)
{
	size_t start = out->len;

	cv_pop3_maildrop_uidl(client, number, out);
	if (client->wants_uidl_change)
		client->drop.uidl_hashes.data[number - 1] = cv_crc32c(0, out->data + start, out->len - start);
}

static bool more_uidl(struct cv_pop3_session *client)
{
	return cv_pop3_maildrop_uidl_ready(client, client->until) && more_lines(client, append_uidl);
}

static bool more_one_uidl(struct cv_pop3_session *client)
{
	struct cv_buf *out = cv_stream_out(client->stream);

	if (!cv_pop3_maildrop_uidl_ready(client, client->number))
		return false;
	cv_buf_printf(out, "+OK %u ", client->number);
	cv_pop3_maildrop_uidl(client, client->number, out);
	cv_buf_append_c(out, "\r\n");
	return true;
}

static void begin(struct cv_pop3_session *client, bool (*more)(struct cv_pop3_session *client))
{
	client->next = 1;
	client->until = (uint32_t)client->drop.msgs.count;
	cv_pop3_begin_output(client, more);
}

void cv_pop3_cmd_list(struct cv_pop3_session *client, struct cv_str args)
{
	uint32_t number;

	if (args.len > 0) {
		if (!cv_pop3_parse_number(client, args, &number))
			return;
		cv_pop3_reply(client, "+OK %u %llu", number, (unsigned long long)cv_pop3_maildrop_size(client, number));
		return;
	}
	cv_pop3_reply(client, "+OK %u messages (%llu octets)",
		(unsigned)client->drop.msgs.count - client->drop.deleted_count,
		(unsigned long long)(client->drop.size - client->drop.deleted_size));
	begin(client, more_list);
}

void cv_pop3_cmd_uidl(struct cv_pop3_session *client, struct cv_str args)
{
	if (args.len > 0) {
		if (cv_pop3_parse_number(client, args, &client->number))
			cv_pop3_begin_output(client, more_one_uidl);
		return;
	}
	while (client->wants_uidl_change && client->drop.uidl_hashes.count < client->drop.msgs.count)
		*(uint32_t *)cv_vec_push(&client->drop.uidl_hashes) = 0;
	cv_pop3_reply(client, "+OK Unique-ids follow.");
	begin(client, more_uidl);
}
