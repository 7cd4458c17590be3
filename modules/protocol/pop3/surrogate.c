/* SPDX-License-Identifier: MIT
   POP3: what a client gets that did not give UTF8, for header fields with octets outside ASCII (RFC 6856 section 2.1): surrogates as RFC 6858 makes
   them. Texts become encoded words, parameters RFC 2231's form, an address that has no form in ASCII one that nobody has, behind its text; fields in
   which such octets mean nothing are left out. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

#include <culver/message.h>

/* Octets of all surrogates of one message. */
#define TEXTS_MAX (4u << 20)
/* Of one field: what is longer is left out. */
#define FIELD_MAX (256u << 10)
#define ADDRESSES_MAX 10000
#define PARAMS_MAX 100
#define LINE_MAX_OCTETS 76u
#define NOBODY "invalid@internationalized-address.invalid"

static const char *const address_fields[] = { "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc",
	"Resent-Bcc", "Resent-Reply-To", "Disposition-Notification-To", NULL };
static const char *const text_fields[] = { "Subject", "Comments", "Keywords", "Content-Description", "Organization", "Thread-Topic", NULL };

static bool is_one_of(struct cv_str name, const char *const *names)
{
	for (; *names != NULL; names++) {
		if (cv_str_caseeq_c(name, *names))
			return true;
	}
	return false;
}

/* ---- Lines ------------------------------------------------------------------------------------------------------ */

/* Words of a field, set apart by spaces, where lines become too long by line ends. */
struct folded {
	struct cv_buf *out;
	size_t line; /* where the current line begins */
};

static void add_word(struct folded *to, struct cv_str word)
{
	if (to->out->len > to->line && to->out->len - to->line + 1 + word.len > LINE_MAX_OCTETS) {
		cv_buf_append_c(to->out, "\r\n");
		to->line = to->out->len;
	}
	cv_buf_append_char(to->out, ' ');
	cv_buf_append(to->out, word);
}

static void add_words(struct folded *to, struct cv_str text)
{
	struct cv_str word;

	while (text.len > 0) {
		(void)cv_str_split(text, ' ', &word, &text);
		if (word.len > 0)
			add_word(to, word);
	}
}

static struct folded begin_field(struct cv_buf *out, struct cv_str name)
{
	struct folded to = { .out = out, .line = out->len };

	cv_buf_append(out, name);
	cv_buf_append_char(out, ':');
	return to;
}

/* ---- Texts -------------------------------------------------------------------------------------------------------- */

/* Append value as encoded words, or as it is where it is ASCII once it is decoded. */
static void encode(struct cv_buf *out, struct cv_str value)
{
	struct cv_buf text;

	cv_buf_init(&text, FIELD_MAX);
	cv_header_decode(&text, value);
	cv_header_encode(out, cv_buf_str(&text));
	if (!cv_buf_ok(&text))
		out->failed = true;
	cv_buf_deinit(&text);
}

static void put_text(struct cv_buf *out, const struct cv_header_field *field)
{
	struct folded to = begin_field(out, field->name);
	struct cv_buf words;

	cv_buf_init(&words, 4 * FIELD_MAX);
	encode(&words, field->value);
	add_words(&to, cv_buf_str(&words));
	out->failed = out->failed || !cv_buf_ok(&words);
	cv_buf_deinit(&words);
}

/* ---- Addresses ------------------------------------------------------------------------------------------------------ */

static bool is_printable(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < ' ' || s.ptr[i] > '~')
			return false;
	}
	return true;
}

/* One that has no form in ASCII: its text as the display name of an address that cannot exist (RFC 6858 section 2.1). */
static void put_nobody(struct cv_buf *out, const struct cv_address *address)
{
	struct cv_buf text;

	cv_buf_init(&text, FIELD_MAX);
	if (address->name.len > 0) {
		cv_buf_append(&text, address->name);
		cv_buf_append_char(&text, ' ');
	}
	cv_buf_append(&text, address->mailbox);
	cv_buf_append_char(&text, '@');
	cv_buf_append(&text, address->host);
	encode(out, cv_buf_str(&text));
	out->failed = out->failed || !cv_buf_ok(&text);
	cv_buf_deinit(&text);
	cv_buf_append_c(out, " <" NOBODY ">");
}

static void put_mailbox(struct cv_buf *out, const struct cv_address *address)
{
	struct cv_address ascii = { .kind = CV_ADDRESS_MAILBOX, .mailbox = address->mailbox, .host = address->host, .name = address->name };
	struct cv_buf name;

	if (!is_printable(address->mailbox) || !is_printable(address->host)) {
		put_nobody(out, address);
		return;
	}
	cv_buf_init(&name, 4 * FIELD_MAX);
	if (!is_printable(address->name)) {
		encode(&name, address->name);
		ascii.name = cv_buf_str(&name);
	}
	cv_address_append(out, &ascii);
	out->failed = out->failed || !cv_buf_ok(&name);
	cv_buf_deinit(&name);
}

static void put_addresses(struct cv_buf *out, struct cv_arena *arena, const struct cv_header_field *field)
{
	struct folded to = begin_field(out, field->name);
	struct cv_address_list list;
	bool first = true; /* of the list, or of a group */

	cv_address_parse(arena, field->value, ADDRESSES_MAX, &list);
	for (size_t i = 0; i < list.count; i++) {
		const struct cv_address *address = &list.items[i];
		struct cv_buf text;

		cv_buf_init(&text, 8 * FIELD_MAX);
		if (address->kind == CV_ADDRESS_GROUP_END) {
			cv_buf_append_char(out, ';');
			first = false;
			cv_buf_deinit(&text);
			continue;
		}
		if (!first)
			cv_buf_append_char(out, ',');
		first = address->kind == CV_ADDRESS_GROUP_START;
		if (address->kind == CV_ADDRESS_GROUP_START) {
			encode(&text, address->mailbox);
			cv_buf_append_char(&text, ':');
		} else {
			put_mailbox(&text, address);
		}
		add_words(&to, cv_buf_str(&text));
		out->failed = out->failed || !cv_buf_ok(&text);
		cv_buf_deinit(&text);
	}
}

/* ---- Parameters ------------------------------------------------------------------------------------------------------- */

/* attribute-char of RFC 2231 section 7 */
static bool is_attribute_char(char c)
{
	return c > ' ' && c <= '~' && strchr("*'%()<>@,;:\\\"/[]?=", c) == NULL;
}

static void put_param(struct folded *to, const struct cv_params *params, const struct cv_param *param)
{
	struct cv_buf word, value;
	unsigned section = 0;
	size_t pos = 0;

	if (!is_printable(param->name))
		return;
	cv_buf_init(&word, FIELD_MAX);
	if (is_printable(param->value)) {
		cv_buf_append(&word, param->name);
		cv_buf_append_c(&word, "=\"");
		for (size_t i = 0; i < param->value.len; i++) {
			if (param->value.ptr[i] == '"' || param->value.ptr[i] == '\\')
				cv_buf_append_char(&word, '\\');
			cv_buf_append_char(&word, param->value.ptr[i]);
		}
		cv_buf_append_char(&word, '"');
		cv_buf_append_char(to->out, ';');
		add_word(to, cv_buf_str(&word));
		cv_buf_deinit(&word);
		return;
	}
	cv_buf_init(&value, FIELD_MAX);
	/* One that is written in sections, with octets that must not be there, is no parameter. */
	if (cv_str_find(param->name, '*') == SIZE_MAX && cv_params_decode(params, param->name, &value)) {
		while (pos < value.len) {
			cv_buf_clear(&word);
			cv_buf_append(&word, param->name);
			if (value.len > 15 || section > 0)
				cv_buf_printf(&word, "*%u", section);
			cv_buf_append_c(&word, section == 0 ? "*=utf-8''" : "*=");
			for (size_t i = 0; pos < value.len && (i < 15 || (value.len <= 15)); i++, pos++) {
				if (is_attribute_char(value.data[pos]))
					cv_buf_append_char(&word, value.data[pos]);
				else
					cv_buf_printf(&word, "%%%02X", (unsigned)(uint8_t)value.data[pos]);
			}
			section++;
			cv_buf_append_char(to->out, ';');
			add_word(to, cv_buf_str(&word));
		}
	}
	cv_buf_deinit(&value);
	cv_buf_deinit(&word);
}

/* Content-Type and Content-Disposition. One that says nothing is left out. */
static void put_params(struct cv_buf *out, struct cv_arena *arena, const struct cv_header_field *field, bool is_type)
{
	struct cv_str type, subtype = { 0 };
	struct cv_params params;
	struct folded to;
	struct cv_buf word;

	if (is_type ? !cv_header_parse_content_type(arena, field->value, PARAMS_MAX, &type, &subtype, &params)
		    : !cv_header_parse_token_params(arena, field->value, PARAMS_MAX, &type, &params))
		return;
	if (!is_printable(type) || !is_printable(subtype))
		return;
	to = begin_field(out, field->name);
	cv_buf_init(&word, FIELD_MAX);
	cv_buf_append(&word, type);
	if (is_type) {
		cv_buf_append_char(&word, '/');
		cv_buf_append(&word, subtype);
	}
	add_word(&to, cv_buf_str(&word));
	cv_buf_deinit(&word);
	for (size_t i = 0; i < params.count; i++)
		put_param(&to, &params, &params.items[i]);
}

/* ---- A message ---------------------------------------------------------------------------------------------------------- */

void cv_pop3_surrogate_field(struct cv_buf *out, struct cv_arena *arena, const struct cv_header_field *field)
{
	size_t start = out->len;

	if (field->raw.len > FIELD_MAX)
		return;
	if (is_one_of(field->name, address_fields))
		put_addresses(out, arena, field);
	else if (cv_str_caseeq_c(field->name, "Content-Type") || cv_str_caseeq_c(field->name, "Content-Disposition"))
		put_params(out, arena, field, cv_str_caseeq_c(field->name, "Content-Type"));
	else if (is_one_of(field->name, text_fields) || cv_str_casestarts(field->name, CV_STR("X-")))
		put_text(out, field);
	if (out->len > start)
		cv_buf_append_c(out, "\r\n");
}

static uint64_t wire_size(struct cv_str octets)
{
	uint64_t size = octets.len;

	for (size_t i = 0; i < octets.len; i++) {
		if (octets.ptr[i] == '\n' && (i == 0 || octets.ptr[i - 1] != '\r'))
			size++;
	}
	return size;
}

int cv_pop3_surrogate_header(struct cv_pop3_surrogate *surrogate, struct cv_str octets, const struct cv_mime_part *part, struct cv_err *err)
{
	struct cv_header_field field;
	struct cv_header_iter iter;
	struct cv_arena *scratch;

	cv_header_iter_init(&iter, cv_str_sub(octets, (size_t)part->header_offset, (size_t)part->header_size));
	while (cv_header_iter_next(&iter, &field)) {
		struct cv_pop3_piece *piece;
		struct cv_buf text;

		if (cv_str_is_ascii(field.raw) || (size_t)(field.raw.ptr - octets.ptr) < surrogate->end)
			continue;
		scratch = cv_arena_new("surrogate", NULL, 0);
		cv_buf_init(&text, TEXTS_MAX);
		cv_pop3_surrogate_field(&text, scratch, &field);
		if (!cv_buf_ok(&text))
			cv_buf_clear(&text);
		piece = cv_vec_push(&surrogate->pieces);
		piece->begin = (size_t)(field.raw.ptr - octets.ptr);
		piece->end = piece->begin + field.raw.len;
		surrogate->end = piece->end;
		piece->text = cv_arena_str(surrogate->arena, cv_buf_str(&text));
		surrogate->text_size += text.len;
		surrogate->replaced += wire_size(field.raw);
		cv_buf_deinit(&text);
		cv_arena_free(&scratch);
		if (surrogate->text_size > TEXTS_MAX)
			return cv_err_set(err, CV_ERR_LIMIT, "too much text outside ASCII in its headers");
	}
	return 0;
}

static int tree(struct cv_pop3_surrogate *surrogate, struct cv_parse_record *record, struct cv_str octets, const struct cv_mime_part **root_r,
	struct cv_err *err)
{
	struct cv_message_reader *reader;
	struct cv_message *message;
	struct cv_mime_part *root;
	int ret = cv_parse_record_tree(record, surrogate->arena, &root, err);

	*root_r = root;
	if (ret != 0)
		return ret;
	/* Too large a tree for the record. */
	reader = cv_message_reader_new_mem(octets);
	ret = cv_message_parse(surrogate->arena, NULL, reader, &message, err);
	cv_message_reader_free(&reader);
	if (ret > 0)
		*root_r = message->root;
	return ret;
}

int cv_pop3_surrogate_needed(struct cv_mail *mail, struct cv_err *err)
{
	struct cv_parse_record record;
	struct cv_str octets;

	if (cv_mail_record(mail, &octets, err) < 0 || cv_parse_record_open(octets, &record, err) < 0)
		return -1;
	return (record.flags & CV_MIME_HEADER_8BIT) != 0 ? 1 : 0;
}

int cv_pop3_surrogate_make(struct cv_mail *mail, struct cv_pop3_surrogate *surrogate_r, struct cv_err *err)
{
	const struct cv_mime_part *part = NULL;
	struct cv_parse_record record;
	struct cv_str data, octets;
	int ret;

	*surrogate_r = (struct cv_pop3_surrogate){ 0 };
	if (cv_mail_record(mail, &data, err) < 0 || cv_parse_record_open(data, &record, err) < 0)
		return -1;
	if ((record.flags & CV_MIME_HEADER_8BIT) == 0)
		return 0;
	if (cv_mail_octets(mail, &octets, err) < 0)
		return -1;
	surrogate_r->arena = cv_arena_new("surrogate", NULL, 0);
	ret = tree(surrogate_r, &record, octets, &part, err);
	for (; ret > 0 && part != NULL; part = cv_mime_part_next(part)) {
		if ((part->flags & CV_MIME_HEADER_8BIT) != 0 && cv_pop3_surrogate_header(surrogate_r, octets, part, err) < 0)
			ret = -1;
	}
	if (ret < 0)
		cv_pop3_surrogate_free(surrogate_r);
	return ret;
}

void cv_pop3_surrogate_free(struct cv_pop3_surrogate *surrogate)
{
	cv_vec_free(&surrogate->pieces);
	cv_arena_free(&surrogate->arena);
	*surrogate = (struct cv_pop3_surrogate){ 0 };
}
