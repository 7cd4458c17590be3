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

/* body-fld-param = "(" string SP string *(SP string SP string) ")" / nil */
static void append_params(struct cv_buf *out, const struct cv_params *params)
{
	if (params->count == 0) {
		cv_buf_append_c(out, "NIL");
		return;
	}
	for (size_t i = 0; i < params->count; i++) {
		cv_buf_append_c(out, i == 0 ? "(" : " ");
		cv_imap_append_string(out, params->items[i].name);
		cv_buf_append_char(out, ' ');
		cv_imap_append_string(out, params->items[i].value);
	}
	cv_buf_append_char(out, ')');
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
		append_params(out, &part->disposition_params);
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

/* media SP body-fields */
static void append_fields(struct cv_buf *out, const struct cv_mime_part *part)
{
	cv_imap_append_string(out, part->type);
	cv_buf_append_char(out, ' ');
	cv_imap_append_string(out, part->subtype);
	cv_buf_append_char(out, ' ');
	if ((part->flags & CV_MIME_DEFAULT_TYPE) != 0 && part->params.count == 0 && cv_mime_part_is(part, "text", "plain"))
		cv_buf_append_c(out, "(\"CHARSET\" \"US-ASCII\")");
	else
		append_params(out, &part->params);
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
			append_params(out, &part->params);
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
