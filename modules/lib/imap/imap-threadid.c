/* SPDX-License-Identifier: MIT
   THREADID: the digest of the message-id that a thread began with. Clients keep what they were told: what is digested, and how, stays as it is. */
#include <config.h>

#include "imap-threadid.h"

#include "imap-thread.h"

#include <culver/digest.h>
#include <culver/header.h>

#include <string.h>

#define PREFIX 'T'
/* Octets of a header that are put together in memory; as searches do. */
#define HEADER_MAX ((size_t)64 * 1024 * 1024)

/* The normal form of the first valid message-id of a field. */
static bool first_id(struct cv_str header, const char *name, struct cv_buf *id)
{
	struct cv_header_field field;
	struct cv_buf value;
	struct cv_str rest;
	bool found;

	if (!cv_header_find(header, cv_str_c(name), 0, &field))
		return false;
	cv_buf_init(&value, SIZE_MAX / 2);
	cv_header_unfold(&value, field.value);
	rest = cv_buf_str(&value);
	found = cv_imap_thread_next_id(&rest, id);
	cv_buf_deinit(&value);
	return found;
}

static int digest(struct cv_str header, const uint8_t guid[16], struct cv_imap_threadid *id_r, struct cv_err *err)
{
	uint8_t out[CV_DIGEST_MAX];
	struct cv_buf id;
	size_t len;
	int result;

	cv_buf_init(&id, SIZE_MAX / 2);
	if (first_id(header, "references", &id) || first_id(header, "in-reply-to", &id) || first_id(header, "message-id", &id))
		result = cv_digest("sha256", CV_STR("thread:"), cv_buf_str(&id), out, &len, err);
	else
		result = cv_digest("sha256", CV_STR("message:"), cv_str_mem(guid, 16), out, &len, err);
	cv_buf_deinit(&id);
	if (result < 0)
		return -1;
	memcpy(id_r->octets, out, sizeof(id_r->octets));
	return 1;
}

int cv_imap_threadid_get(struct cv_mailsearch_message *message, struct cv_imap_threadid *id_r, struct cv_err *err)
{
	const struct cv_parse_record *record = &message->record;
	struct cv_buf buf;
	struct cv_str header;
	int result;

	if (cv_parse_record_keeps(record, CV_STR("references")) && cv_parse_record_keeps(record, CV_STR("in-reply-to")) &&
		cv_parse_record_keeps(record, CV_STR("message-id")))
		return digest(cv_parse_record_fields(record), message->row.guid, id_r, err);
	if (message->reader == NULL)
		return 0;
	cv_buf_init(&buf, HEADER_MAX);
	result = cv_message_reader_view(message->reader, 0, record->header_size, &buf, &header, err);
	if (result > 0)
		result = digest(header, message->row.guid, id_r, err);
	cv_buf_deinit(&buf);
	return result < 0 ? -1 : 1;
}

void cv_imap_append_threadid(struct cv_buf *out, const struct cv_imap_threadid *id)
{
	cv_buf_append_char(out, PREFIX);
	for (size_t i = 0; i < sizeof(id->octets); i++)
		cv_buf_printf(out, "%02x", id->octets[i]);
}

/* Identifiers are compared with case. */
static int hex_digit(char c)
{
	return c >= 'A' && c <= 'F' ? -1 : cv_hex_digit(c);
}

bool cv_imap_threadid_parse(struct cv_str text, struct cv_imap_threadid *id_r)
{
	if (text.len != 1 + 2 * sizeof(id_r->octets) || text.ptr[0] != PREFIX)
		return false;
	for (size_t i = 0; i < sizeof(id_r->octets); i++) {
		int high = hex_digit(text.ptr[1 + 2 * i]), low = hex_digit(text.ptr[2 + 2 * i]);

		if (high < 0 || low < 0)
			return false;
		id_r->octets[i] = (uint8_t)(high * 16 + low);
	}
	return true;
}
