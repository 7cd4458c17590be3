/* SPDX-License-Identifier: MIT
   sdbox: the octets around a message.

   "2 M1e C<creation time>\n", then 30 octets: 0x01 0x02 "N", 10 blanks, the message's size in 16 upper-case hexadecimal
   digits, "\n"; the message; "\n" 0x01 0x03 "\n", lines of a key and its value, and an empty line. Keys: R received time,
   V size with CRLF line ends, G GUID, P saved POP3 UIDL, Z the message's size where it is kept in another form (compressed, encrypted), which is
   what the message header tells the size of; others are passed over. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/reader.h>

#include <string.h>

#define SIZE_AT 13

void sdbox_put_size(char digits[16], uint64_t size)
{
	for (size_t i = 16; i > 0; i--) {
		digits[i - 1] = "0123456789ABCDEF"[size & 15];
		size >>= 4;
	}
}

void sdbox_put_head(struct cv_buf *out, int64_t now, uint64_t size)
{
	char digits[16];

	cv_buf_printf(out, "2 M%x C%llx\n", SDBOX_MESSAGE_HEAD, (unsigned long long)now);
	cv_buf_append(out, CV_STR("\001\002N          "));
	sdbox_put_size(digits, size);
	cv_buf_append_mem(out, digits, sizeof(digits));
	cv_buf_append_char(out, '\n');
}

void sdbox_put_trailer(struct cv_buf *out, const struct cv_storage_meta *meta, uint64_t stored)
{
	cv_buf_append(out, CV_STR("\n\001\003\n"));
	cv_buf_printf(out, "R%llx\n", (unsigned long long)meta->internal_date);
	cv_buf_printf(out, "V%llx\n", (unsigned long long)meta->virtual_size);
	if (meta->size != stored)
		cv_buf_printf(out, "Z%llx\n", (unsigned long long)meta->size);
	cv_buf_append_char(out, 'G');
	cv_buf_append_hex(out, cv_str_mem(meta->guid, sizeof(meta->guid)));
	cv_buf_append_char(out, '\n');
	if (meta->pop3_uidl.len > 0 && cv_str_find(meta->pop3_uidl, '\n') == SIZE_MAX) {
		cv_buf_append_char(out, 'P');
		cv_buf_append(out, meta->pop3_uidl);
		cv_buf_append_char(out, '\n');
	}
	cv_buf_append_char(out, '\n');
}

/* All hexadecimal digits, at least one. */
static bool parse_hex(struct cv_str s, uint64_t *n_r)
{
	uint64_t n = 0;

	if (s.len == 0 || s.len > 16)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = cv_lower(s.ptr[i]);

		if (cv_is_digit(c))
			n = n << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			n = n << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*n_r = n;
	return true;
}

static int no_dbox(struct cv_err *err, const char *what)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "message file is no dbox file: %s", what);
}

int sdbox_parse_head(struct cv_str start, uint64_t file_size, struct sdbox_head *head_r, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(start);
	struct cv_str line, field, rest, message;
	uint64_t message_head = 0;

	if (!cv_take_line(&reader, &line) || line.len < 2 || (line.ptr[0] != '1' && line.ptr[0] != '2') || line.ptr[1] != ' ')
		return no_dbox(err, "first line");
	rest = cv_str_sub(line, 2, SIZE_MAX);
	for (bool more = true; more;) {
		more = cv_str_split(rest, ' ', &field, &rest);
		if (field.len > 1 && field.ptr[0] == 'M' && !parse_hex(cv_str_sub(field, 1, SIZE_MAX), &message_head))
			return no_dbox(err, "size of the message header");
	}
	if (message_head < SDBOX_MESSAGE_HEAD || message_head > SDBOX_FILE_HEAD_MAX)
		return no_dbox(err, "size of the message header");
	if (!cv_take_len(&reader, (size_t)message_head, &message) || message.ptr[0] != '\001' || message.ptr[1] != '\002' ||
		message.ptr[message.len - 1] != '\n' || !parse_hex(cv_str_sub(message, SIZE_AT, 16), &head_r->body_len))
		return no_dbox(err, "message header");
	head_r->body_offset = reader.pos;
	if (head_r->body_offset > file_size || head_r->body_len > file_size - head_r->body_offset)
		return no_dbox(err, "it is shorter than its header says");
	return 1;
}

/* A GUID that is not ours is any text; the same text gives the same 16 octets: 64-bit FNV-1a from two starts. */
static void hash_guid(struct cv_str text, uint8_t guid[16])
{
	uint64_t hash[2] = { 0xcbf29ce484222325ULL, 0x84222325cbf29ce4ULL };

	for (size_t i = 0; i < text.len; i++) {
		for (size_t j = 0; j < 2; j++)
			hash[j] = (hash[j] ^ (uint8_t)text.ptr[i]) * 0x100000001b3ULL;
	}
	for (size_t i = 0; i < 16; i++)
		guid[i] = (uint8_t)(hash[i / 8] >> (8 * (i % 8)));
}

static void take_guid(struct cv_str value, struct cv_storage_found *found)
{
	struct cv_buf octets;

	cv_buf_init(&octets, 16);
	if (value.len == 32 && cv_hex_decode(&octets, value) && octets.len == 16)
		memcpy(found->meta.guid, octets.data, 16);
	else
		hash_guid(value, found->meta.guid);
	cv_buf_deinit(&octets);
	found->guid_known = true;
}

int sdbox_parse_trailer(struct cv_str trailer, struct cv_storage_found *found, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(trailer);
	struct cv_str line, value;
	uint64_t n;

	if (!cv_take_lit(&reader, CV_STR("\n\001\003\n")))
		return no_dbox(err, "no metadata behind the message");
	while (cv_take_line(&reader, &line) && line.len > 0) {
		value = cv_str_sub(line, 1, SIZE_MAX);
		switch (line.ptr[0]) {
		case 'R':
			if (parse_hex(value, &n) && n <= INT64_MAX) {
				found->meta.internal_date = (int64_t)n;
				found->date_known = true;
			}
			break;
		case 'V':
			if (parse_hex(value, &n))
				found->meta.virtual_size = n;
			break;
		case 'G':
			if (value.len > 0)
				take_guid(value, found);
			break;
		case 'P':
			found->meta.pop3_uidl = value;
			break;
		case 'Z':
			if (parse_hex(value, &n))
				found->meta.size = n;
			break;
		default:
			break;
		}
	}
	return 1;
}
