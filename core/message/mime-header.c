/* SPDX-License-Identifier: MIT
   What the header of a part or message says: content fields and envelope. */
#include <config.h>

#include "core/message/mime-private.h"

#include <culver/map.h>

#include <string.h>

struct apply {
	struct cv_arena *arena;
	const struct cv_mime_limits *limits;
	struct cv_mime_part *part;
	struct cv_envelope *envelope;
	uint32_t *addresses_left;
	bool seen_type, seen_encoding, seen_disposition; /* of repeated fields the first counts */
};

static struct cv_str unfolded(struct apply *a, struct cv_str value)
{
	struct cv_buf buf;
	struct cv_str s;

	/* most fields have one line and need no copy in between */
	if (cv_str_find(value, '\n') == SIZE_MAX && cv_str_find(value, '\r') == SIZE_MAX && !cv_str_has_nul(value))
		return cv_arena_str(a->arena, cv_str_trim(value));
	cv_buf_init(&buf, SIZE_MAX);
	cv_header_unfold(&buf, value);
	s = cv_arena_str(a->arena, cv_buf_str(&buf));
	cv_buf_deinit(&buf);
	return s;
}

static void set_text(struct apply *a, struct cv_str *text, struct cv_str value)
{
	if (text->ptr == NULL)
		*text = unfolded(a, value);
}

static void add_addresses(struct apply *a, struct cv_address_list *list, struct cv_str value)
{
	struct cv_address_list more;
	struct cv_address *joined;

	cv_address_parse(a->arena, value, *a->addresses_left, &more);
	*a->addresses_left -= (uint32_t)more.count;
	if (list->items == NULL || list->count == 0) {
		*list = more;
		return;
	}
	if (more.count == 0)
		return;
	joined = cv_new(a->arena, struct cv_address, list->count + more.count);
	memcpy(joined, list->items, list->count * sizeof(*joined));
	memcpy(joined + list->count, more.items, more.count * sizeof(*joined));
	list->items = joined;
	list->count += more.count;
}

static void set_type(struct apply *a, struct cv_str value)
{
	struct cv_mime_part *part = a->part;
	struct cv_str type, subtype;
	struct cv_params params;

	if (a->seen_type)
		return;
	a->seen_type = true;
	if (!cv_header_parse_content_type(a->arena, value, a->limits->params, &type, &subtype, &params)) {
		/* RFC 2045 section 5.2: no valid type is text/plain, in a digest too */
		part->type = CV_STR("text");
		part->subtype = CV_STR("plain");
		return;
	}
	part->type = type;
	part->subtype = subtype;
	part->params = params;
	part->flags &= ~(unsigned)CV_MIME_DEFAULT_TYPE;
}

static void set_encoding(struct apply *a, struct cv_str value)
{
	struct cv_params none;

	if (a->seen_encoding)
		return;
	a->seen_encoding = true;
	a->part->encoding = cv_transfer_parse(value);
	if (!cv_header_parse_token_params(a->arena, value, 0, &a->part->encoding_name, &none))
		a->part->encoding_name = (struct cv_str){ 0 };
}

static void set_disposition(struct apply *a, struct cv_str value)
{
	if (a->seen_disposition)
		return;
	a->seen_disposition = true;
	(void)cv_header_parse_token_params(a->arena, value, a->limits->params, &a->part->disposition,
		&a->part->disposition_params);
}

/* Content-Language: 1#language-tag (RFC 3282 section 2) */
static void set_languages(struct apply *a, struct cv_str value)
{
	struct cv_str rest = unfolded(a, value), tag, tail;
	bool more = true;

	if (a->part->languages != NULL || a->limits->languages == 0)
		return;
	a->part->languages = cv_new(a->arena, struct cv_str, a->limits->languages);
	while (more && a->part->language_count < a->limits->languages) {
		more = cv_str_split(rest, ',', &tag, &tail);
		rest = tail;
		tag = cv_str_sub(tag, 0, cv_str_find(tag, '('));
		tag = cv_str_trim(tag);
		if (tag.len > 0)
			a->part->languages[a->part->language_count++] = tag;
	}
}

static void apply_content_field(struct apply *a, struct cv_str name, struct cv_str value)
{
	struct cv_mime_part *part = a->part;

	if (cv_str_caseeq_c(name, "type"))
		set_type(a, value);
	else if (cv_str_caseeq_c(name, "transfer-encoding"))
		set_encoding(a, value);
	else if (cv_str_caseeq_c(name, "disposition"))
		set_disposition(a, value);
	else if (cv_str_caseeq_c(name, "id"))
		set_text(a, &part->id, value);
	else if (cv_str_caseeq_c(name, "description"))
		set_text(a, &part->description, value);
	else if (cv_str_caseeq_c(name, "md5"))
		set_text(a, &part->md5, value);
	else if (cv_str_caseeq_c(name, "location"))
		set_text(a, &part->location, value);
	else if (cv_str_caseeq_c(name, "language"))
		set_languages(a, value);
}

static void apply_envelope_field(struct apply *a, struct cv_str name, struct cv_str value)
{
	struct cv_envelope *envelope = a->envelope;
	const struct {
		const char *name;
		struct cv_str *text;
		struct cv_address_list *list;
	} fields[] = { { "date", &envelope->date, NULL }, { "subject", &envelope->subject, NULL },
		{ "in-reply-to", &envelope->in_reply_to, NULL }, { "message-id", &envelope->message_id, NULL },
		{ "from", NULL, &envelope->from }, { "sender", NULL, &envelope->sender },
		{ "reply-to", NULL, &envelope->reply_to }, { "to", NULL, &envelope->to }, { "cc", NULL, &envelope->cc },
		{ "bcc", NULL, &envelope->bcc } };

	for (size_t i = 0; i < CV_COUNT_OF(fields); i++) {
		if (!cv_str_caseeq_c(name, fields[i].name))
			continue;
		if (fields[i].text != NULL)
			set_text(a, fields[i].text, value);
		else
			add_addresses(a, fields[i].list, value);
		return;
	}
}

void cv_mime_header_apply(struct cv_arena *arena, const struct cv_mime_limits *limits, struct cv_str header,
	struct cv_mime_part *part, struct cv_envelope *envelope, uint32_t *addresses_left)
{
	struct apply a = { .arena = arena, .limits = limits, .part = part, .envelope = envelope,
		.addresses_left = addresses_left };
	struct cv_header_iter iter;
	struct cv_header_field field;

	cv_header_iter_init(&iter, header);
	while (cv_header_iter_next(&iter, &field)) {
		struct cv_str value = cv_str_sub(field.value, 0, limits->header_field);

		if (cv_str_casestarts(field.name, CV_STR("content-")))
			apply_content_field(&a, cv_str_sub(field.name, 8, SIZE_MAX), value);
		else if (envelope != NULL && field.name.len >= 2 && field.name.len <= 11)
			apply_envelope_field(&a, field.name, value);
	}
}
