/* SPDX-License-Identifier: MIT
   Header data of one message after another. */
#include <config.h>

#include "imap-message.h"

#include <string.h>

/* Octets of a header that are put together in memory. */
#define HEADER_MAX ((size_t)64 * 1024 * 1024)

int cv_imap_message_open(struct cv_imap_message *message, struct cv_view *view, uint32_t seq, struct cv_err *err)
{
	struct cv_str record;

	if (message->arena == NULL)
		message->arena = cv_arena_new("message being sorted", NULL, 0);
	if (cv_mail_open(view, seq, &message->mail, err) < 0 || cv_mail_record(message->mail, &record, err) < 0)
		return -1;
	return cv_parse_record_open(record, &message->record, err) < 0 ? -1 : 0;
}

int cv_imap_message_need(struct cv_imap_message *message, struct cv_view *view, uint32_t seq, struct cv_err *err)
{
	return message->mail != NULL ? 0 : cv_imap_message_open(message, view, seq, err);
}

void cv_imap_message_close(struct cv_imap_message *message)
{
	cv_mail_close(&message->mail);
	message->header = (struct cv_str){ NULL, 0 };
	message->envelope = NULL;
	if (message->arena != NULL)
		cv_arena_reset(message->arena);
}

void cv_imap_message_deinit(struct cv_imap_message *message)
{
	cv_imap_message_close(message);
	cv_buf_deinit(&message->buf);
	cv_arena_free(&message->arena);
}

static int get_header(struct cv_imap_message *message, struct cv_err *err)
{
	struct cv_message_reader *reader;

	if (message->header.ptr != NULL)
		return 0;
	if (message->buf.max == 0)
		cv_buf_init(&message->buf, HEADER_MAX);
	if (cv_mail_reader(message->mail, &reader, err) < 0 ||
		cv_message_reader_view(reader, 0, message->record.header_size, &message->buf, &message->header, err) < 0)
		return -1;
	return 0;
}

/* The record had no room for it. */
static int parse_again(struct cv_imap_message *message, struct cv_err *err)
{
	struct cv_message_reader *reader;
	struct cv_message *parsed;
	int result;

	if (get_header(message, err) < 0)
		return -1;
	reader = cv_message_reader_new_mem(message->header);
	result = cv_message_parse(message->arena, NULL, reader, &parsed, err);
	cv_message_reader_free(&reader);
	if (result < 0)
		return -1;
	message->envelope = parsed->root->envelope;
	return 0;
}

int cv_imap_message_envelope(struct cv_imap_message *message, const struct cv_envelope **envelope_r, struct cv_err *err)
{
	int result = 1;

	if (message->envelope == NULL) {
		message->envelope = cv_new(message->arena, struct cv_envelope, 1);
		result = cv_parse_record_envelope(&message->record, message->arena, message->envelope, err);
		if (result == 0)
			result = parse_again(message, err);
	}
	*envelope_r = message->envelope;
	return result < 0 ? -1 : 0;
}

int cv_imap_message_field(struct cv_imap_message *message, const char *name, struct cv_buf *out, struct cv_err *err)
{
	struct cv_header_field field;
	int result = cv_parse_record_field(&message->record, cv_str_c(name), out);

	if (result >= 0)
		return result;
	if (get_header(message, err) < 0)
		return -1;
	if (!cv_header_find(message->header, cv_str_c(name), 0, &field))
		return 0;
	cv_header_unfold(out, field.value);
	return 1;
}

/* Kept: the date, or nothing where the message has none. */
int cv_imap_message_sent(struct cv_imap_message *message, struct cv_view *view, uint32_t seq, int64_t *sent_r, struct cv_err *err)
{
	struct cv_str kept;
	struct cv_row row;

	if (!cv_view_memo(view, seq, CV_MEMO_SENT, &kept)) {
		if (cv_imap_message_need(message, view, seq, err) < 0)
			return -1;
		kept = cv_str_mem((const char *)&message->record.date.sec, message->record.date_valid ? sizeof(message->record.date.sec) : 0);
		cv_view_memo_keep(view, seq, CV_MEMO_SENT, kept);
	}
	if (kept.len == sizeof(*sent_r)) {
		memcpy(sent_r, kept.ptr, sizeof(*sent_r));
		return 0;
	}
	(void)cv_view_row(view, seq, &row); /* of an expunged one: as last known */
	*sent_r = row.internal_date;
	return 0;
}
