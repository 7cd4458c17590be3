/* SPDX-License-Identifier: MIT
   LMTP in front: message octets by DATA and BDAT. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"

static void spool_begin(struct cv_lmtp_client *client, bool dots)
{
	uint64_t max = client->set->message_size_limit != 0 ? client->set->message_size_limit : CV_LMTP_SIZE_MAX;

	cv_lmtp_spool_init(&client->spool, max, dots);
	client->spooling = true;
}

void cv_lmtp_data_begin(struct cv_lmtp_client *client)
{
	spool_begin(client, true);
	cv_lmtp_set_state(client, CV_LMTP_DATA);
	cv_lmtp_reply(client, 354, NULL, "Send the message, then a line with one dot");
}

void cv_lmtp_chunk_begin(struct cv_lmtp_client *client, uint64_t size, bool last, const struct cv_lmtp_reply *refused)
{
	client->chunk_left = client->chunk_size = size;
	client->chunk_last = last;
	client->chunk_refused = refused;
	if (refused == NULL) {
		if (!client->chunks)
			spool_begin(client, false);
		client->chunks = true;
	}
	cv_lmtp_set_state(client, CV_LMTP_CHUNK);
}

static void chunk_end(struct cv_lmtp_client *client)
{
	struct cv_lmtp_reply reply;

	cv_lmtp_set_state(client, CV_LMTP_COMMAND);
	if (client->chunk_refused != NULL) {
		cv_lmtp_bad(client, client->chunk_refused->code, client->chunk_refused->enhanced, client->chunk_refused->text);
	} else if (client->chunk_last) {
		cv_lmtp_deliver(client);
	} else if (client->spool.err.code != CV_ERR_NONE) {
		reply = cv_lmtp_reply_for(&client->spool.err, client->set->quota_full_tempfail);
		cv_lmtp_reply(client, reply.code, reply.enhanced, "%s", reply.text);
	} else {
		cv_lmtp_reply(client, 250, "2.0.0", "%llu octets received", (unsigned long long)client->chunk_size);
	}
}

static bool chunk_input(struct cv_lmtp_client *client)
{
	struct cv_str in = cv_stream_input(client->stream);
	size_t used;

	if (client->chunk_left > 0) {
		if (in.len == 0)
			return false;
		if (in.len > client->chunk_left)
			in.len = (size_t)client->chunk_left;
		if (client->chunk_refused == NULL)
			(void)cv_lmtp_spool_take(&client->spool, in, &used);
		cv_stream_consume(client->stream, in.len);
		client->chunk_left -= in.len;
	}
	if (client->chunk_left == 0)
		chunk_end(client);
	return true;
}

bool cv_lmtp_data_input(struct cv_lmtp_client *client)
{
	struct cv_str in;
	size_t used;
	bool end;

	if (client->state == CV_LMTP_CHUNK)
		return chunk_input(client);
	in = cv_stream_input(client->stream);
	if (in.len == 0)
		return false;
	end = cv_lmtp_spool_take(&client->spool, in, &used);
	cv_stream_consume(client->stream, used);
	if (end)
		cv_lmtp_deliver(client);
	return true;
}
