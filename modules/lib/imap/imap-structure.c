/* SPDX-License-Identifier: MIT
   ENVELOPE, BODY and BODYSTRUCTURE. */
#include <config.h>

#include "imap-structure.h"

#include "imap-quote.h"

#define ABSENT ((struct cv_str){ NULL, 0 })

/* address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")" */
static void append_address(struct cv_buf *out, const struct cv_address *address)
{
	struct cv_str name = ABSENT, route = ABSENT, mailbox = ABSENT, host = ABSENT;

	switch (address->kind) {
	case CV_ADDRESS_MAILBOX:
		name = address->name;
		route = address->route;
		mailbox = address->mailbox;
		host = address->host;
		break;
	case CV_ADDRESS_GROUP_START:
		mailbox = address->mailbox;
		break;
	case CV_ADDRESS_GROUP_END:
		break;
	}
	cv_buf_append_char(out, '(');
	cv_imap_append_nstring(out, name);
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, route);
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, mailbox);
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, host);
	cv_buf_append_char(out, ')');
}

static void append_addresses(struct cv_buf *out, const struct cv_address_list *list)
{
	cv_buf_append_char(out, ' ');
	if (list->count == 0) {
		cv_buf_append_c(out, "NIL");
		return;
	}
	cv_buf_append_char(out, '(');
	for (size_t i = 0; i < list->count; i++)
		append_address(out, &list->items[i]);
	cv_buf_append_char(out, ')');
}

void cv_imap_append_envelope(struct cv_buf *out, const struct cv_envelope *envelope)
{
	cv_buf_append_char(out, '(');
	cv_imap_append_nstring(out, envelope->date);
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, envelope->subject);
	append_addresses(out, &envelope->from);
	append_addresses(out, envelope->sender.count > 0 ? &envelope->sender : &envelope->from);
	append_addresses(out, envelope->reply_to.count > 0 ? &envelope->reply_to : &envelope->from);
	append_addresses(out, &envelope->to);
	append_addresses(out, &envelope->cc);
	append_addresses(out, &envelope->bcc);
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, envelope->in_reply_to);
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, envelope->message_id);
	cv_buf_append_char(out, ')');
}

struct param_list {
	struct cv_buf *out;
	size_t count;
};

static void append_param(void *ctx, struct cv_str name, struct cv_str value)
{
	struct param_list *list = ctx;

	cv_buf_append_c(list->out, list->count++ == 0 ? "(" : " ");
	cv_imap_append_string(list->out, name);
	cv_buf_append_char(list->out, ' ');
	cv_imap_append_string(list->out, value);
}

static bool has_continuation(const struct cv_params *params)
{
	for (size_t i = 0; i < params->count; i++)
		if (cv_str_find(params->items[i].name, '*') != SIZE_MAX)
			return true;
	return false;
}

/* body-fld-param = "(" string SP string *(SP string SP string) ")" / nil. charset: a CHARSET that the header leaves to its default is added. RFC 2231
   section 6: servers "SHOULD decode parameter value continuations". */
static void append_params(struct cv_buf *out, const struct cv_params *params, bool charset)
{
	struct param_list list = { .out = out };

	if (has_continuation(params)) {
		cv_params_each_joined(params, append_param, &list);
	} else {
		for (size_t i = 0; i < params->count; i++)
			append_param(&list, params->items[i].name, params->items[i].value);
	}
	if (charset)
		append_param(&list, CV_STR("CHARSET"), CV_STR("US-ASCII"));
	cv_buf_append_c(out, list.count > 0 ? ")" : "NIL");
}

/* SP body-fld-dsp SP body-fld-lang SP body-fld-loc: the end of both kinds of extension data */
static void append_extension(struct cv_buf *out, const struct cv_mime_part *part)
{
	cv_buf_append_char(out, ' ');
	if (part->disposition.ptr == NULL) {
		cv_buf_append_c(out, "NIL");
	} else {
		cv_buf_append_char(out, '(');
		cv_imap_append_string(out, part->disposition);
		cv_buf_append_char(out, ' ');
		append_params(out, &part->disposition_params, false);
		cv_buf_append_char(out, ')');
	}
	cv_buf_append_char(out, ' ');
	if (part->language_count == 0) {
		cv_buf_append_c(out, "NIL");
	} else if (part->language_count == 1) {
		cv_imap_append_string(out, part->languages[0]);
	} else {
		for (size_t i = 0; i < part->language_count; i++) {
			cv_buf_append_c(out, i == 0 ? "(" : " ");
			cv_imap_append_string(out, part->languages[i]);
		}
		cv_buf_append_char(out, ')');
	}
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, part->location);
}

/* media-message is for MESSAGE/RFC822 only: message/global is a basic type for clients of this revision. */
static bool is_message(const struct cv_mime_part *part)
{
	return part->kind == CV_MIME_MESSAGE && cv_mime_part_is(part, "message", "rfc822") && part->children->envelope != NULL;
}

/* "Defaulting various fields as necessary" (RFC 3501 section 6.4.5): text without charset is US-ASCII (RFC 2046 section 4.1.2). */
static bool lacks_charset(const struct cv_mime_part *part)
{
	struct cv_str name = CV_STR("charset");

	if (!cv_mime_part_is(part, "text", NULL))
		return false;
	for (size_t i = 0; i < part->params.count; i++) {
		struct cv_str own = part->params.items[i].name;

		if (cv_str_casestarts(own, name) && (own.len == name.len || own.ptr[name.len] == '*'))
			return false;
	}
	return true;
}

/* media SP body-fields */
static void append_fields(struct cv_buf *out, const struct cv_mime_part *part)
{
	cv_imap_append_string(out, part->type);
	cv_buf_append_char(out, ' ');
	cv_imap_append_string(out, part->subtype);
	cv_buf_append_char(out, ' ');
	append_params(out, &part->params, lacks_charset(part));
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, part->id);
	cv_buf_append_char(out, ' ');
	cv_imap_append_nstring(out, part->description);
	cv_buf_append_char(out, ' ');
	cv_imap_append_string(out, part->encoding_name.len > 0 ? part->encoding_name : CV_STR("7BIT"));
	cv_buf_append_char(out, ' ');
	cv_buf_append_u64(out, part->body_wire_size);
}

static void append_lines(struct cv_buf *out, const struct cv_mime_part *part)
{
	cv_buf_append_char(out, ' ');
	cv_buf_append_u64(out, part->body_lines);
}

/* What stands before a part's children. True when they are to follow. */
static bool open_part(struct cv_buf *out, const struct cv_mime_part *part)
{
	cv_buf_append_char(out, '(');
	if (part->kind == CV_MIME_MULTIPART && part->children != NULL)
		return true;
	append_fields(out, part);
	if (!is_message(part))
		return false;
	cv_buf_append_char(out, ' ');
	cv_imap_append_envelope(out, part->children->envelope);
	cv_buf_append_char(out, ' ');
	return true;
}

/* What stands behind them. */
static void close_part(struct cv_buf *out, const struct cv_mime_part *part, bool extended)
{
	if (part->kind == CV_MIME_MULTIPART && part->children != NULL) {
		cv_buf_append_char(out, ' ');
		cv_imap_append_string(out, part->subtype);
		if (extended) {
			cv_buf_append_char(out, ' ');
			append_params(out, &part->params, false);
			append_extension(out, part);
		}
	} else {
		if (is_message(part) || cv_mime_part_is(part, "text", NULL))
			append_lines(out, part);
		if (extended) {
			cv_buf_append_char(out, ' ');
			cv_imap_append_nstring(out, part->md5);
			append_extension(out, part);
		}
	}
	cv_buf_append_char(out, ')');
}

void cv_imap_append_body(struct cv_buf *out, const struct cv_mime_part *root, bool extended)
{
	const struct cv_mime_part *part = root;

	for (;;) {
		if (open_part(out, part)) {
			part = part->children;
			continue;
		}
		for (;;) {
			close_part(out, part, extended);
			if (part == root)
				return;
			if (part->next != NULL)
				break;
			part = part->parent;
		}
		part = part->next;
	}
}
