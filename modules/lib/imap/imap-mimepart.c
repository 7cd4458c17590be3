/* SPDX-License-Identifier: MIT
   SEARCH MIMEPART: whether any part of a message matches. What the tree tells is looked up once for each key and part; texts are looked for in one pass
   over the message's octets, in slices. */
#include <config.h>

#include "imap-mimepart.h"

/* A part without octets takes time too. */
#define PART_COST ((uint64_t)64)

enum { NO = 1, YES = 2 };

/* ---- texts ------------------------------------------------------------------------------------------ */

/* The text of m->raw as keys are compared with it. */
static struct cv_str map(struct cv_imap_mimepart *m)
{
	cv_buf_clear(&m->mapped);
	cv_casemap(&m->mapped, cv_buf_str(&m->raw));
	return cv_buf_str(&m->mapped);
}

/* Text of a header field, with encoded words. Nothing is in what is not there. */
static bool contains(struct cv_imap_mimepart *m, struct cv_str value, struct cv_str wanted)
{
	if (value.ptr == NULL)
		return false;
	cv_buf_clear(&m->raw);
	cv_header_decode(&m->raw, value);
	return cv_str_find_str(map(m), wanted) != SIZE_MAX;
}

static bool has_address(struct cv_imap_mimepart *m, const struct cv_address_list *list, struct cv_str wanted)
{
	struct cv_buf text;
	bool found = false;

	cv_buf_init(&text, SIZE_MAX / 2);
	for (size_t i = 0; i < list->count && !found; i++) {
		if (list->items[i].kind == CV_ADDRESS_GROUP_END)
			continue;
		cv_buf_clear(&text);
		if (list->items[i].kind == CV_ADDRESS_MAILBOX)
			cv_address_append(&text, &list->items[i]);
		else
			cv_buf_append(&text, list->items[i].mailbox);
		found = contains(m, text.len > 0 ? cv_buf_str(&text) : CV_STR(""), wanted);
	}
	cv_buf_deinit(&text);
	return found;
}

static bool has_param(struct cv_imap_mimepart *m, const struct cv_params *params, const struct cv_imap_mimepart_key *key)
{
	cv_buf_clear(&m->raw);
	return cv_params_decode(params, key->name, &m->raw) && cv_str_find_str(map(m), key->text) != SIZE_MAX;
}

static bool has_filename(struct cv_imap_mimepart *m, const struct cv_mime_part *part, const struct cv_imap_mimepart_key *key)
{
	struct cv_str name;

	cv_buf_clear(&m->raw);
	if (!cv_mime_part_filename(part, &m->raw))
		return false;
	name = map(m);
	switch (key->how) {
	case CV_IMAP_MIMEPART_IS:
		return cv_str_eq(name, key->text);
	case CV_IMAP_MIMEPART_CONTAINS:
		return cv_str_find_str(name, key->text) != SIZE_MAX;
	case CV_IMAP_MIMEPART_BEGINS:
		return cv_str_starts(name, key->text);
	case CV_IMAP_MIMEPART_ENDS:
		return cv_str_ends(name, key->text);
	}
	return false;
}

/* Language ranges (RFC 4647 section 3.3.1: basic filtering): "de" is also "de-CH". */
static bool has_language(const struct cv_mime_part *part, struct cv_str range)
{
	for (size_t i = 0; i < part->language_count; i++) {
		struct cv_str tag = part->languages[i];

		if (cv_str_eq_c(range, "*") || cv_str_caseeq(tag, range) || (tag.len > range.len && cv_str_casestarts(tag, range) && tag.ptr[range.len] == '-'))
			return true;
	}
	return false;
}

/* ---- keys of one part -------------------------------------------------------------------------------- */

static bool compare(const struct cv_imap_mimepart_key *key, int64_t got, int64_t wanted)
{
	switch (key->compare) {
	case CV_IMAP_MIMEPART_LESS:
		return got < wanted || (key->inclusive && got == wanted);
	case CV_IMAP_MIMEPART_EQUAL:
		return got == wanted;
	case CV_IMAP_MIMEPART_MORE:
		return got > wanted || (key->inclusive && got == wanted);
	}
	return false;
}

static bool was_sent(const struct cv_envelope *envelope, const struct cv_imap_mimepart_key *key)
{
	struct cv_date date;
	int64_t local;

	if (envelope->date.ptr == NULL || !cv_date_parse(envelope->date, &date))
		return false;
	local = date.sec + (int64_t)date.zone_min * 60; /* the day as it is written */
	return compare(key, local >= 0 ? local / 86400 : -((-local + 86399) / 86400), key->day);
}

/* Members that equal: without case. A part without the field has the encoding 7bit (RFC 2045 section 6.1), and its type is set. */
static bool equals(const struct cv_mime_part *part, const struct cv_imap_mimepart_key *key)
{
	const struct cv_str *value = (const struct cv_str *)(const void *)((const char *)part + key->offset);

	if (value->ptr == NULL && key->offset == offsetof(struct cv_mime_part, encoding_name))
		return cv_str_caseeq_c(key->text, "7bit");
	return value->ptr != NULL && cv_str_caseeq(*value, key->text);
}

static bool tree_tells(struct cv_imap_mimepart *m, const struct cv_imap_mimepart_key *key, const struct cv_mime_part *part)
{
	const struct cv_envelope *envelope = part->kind == CV_MIME_MESSAGE ? part->children->envelope : NULL;
	const char *member = envelope != NULL ? (const char *)envelope + key->offset : NULL;

	switch (key->kind) {
	case CV_IMAP_MIMEPART_INDEX:
		return m->places[part->index] == key->number;
	case CV_IMAP_MIMEPART_SIZE:
		return compare(key, (int64_t)part->body_wire_size, (int64_t)key->number);
	case CV_IMAP_MIMEPART_SENT:
		return envelope != NULL && was_sent(envelope, key);
	case CV_IMAP_MIMEPART_PART:
		return equals(part, key);
	case CV_IMAP_MIMEPART_DESCRIPTION:
		return contains(m, part->description, key->text);
	case CV_IMAP_MIMEPART_LANGUAGE:
		return has_language(part, key->text);
	case CV_IMAP_MIMEPART_MD5:
		return part->md5.ptr != NULL && cv_str_eq(part->md5, key->text); /* base64 */
	case CV_IMAP_MIMEPART_PARAM:
		return has_param(m, &part->params, key);
	case CV_IMAP_MIMEPART_DISPOSITION_PARAM:
		return has_param(m, &part->disposition_params, key);
	case CV_IMAP_MIMEPART_FILENAME:
		return has_filename(m, part, key);
	case CV_IMAP_MIMEPART_FIELD:
		return member != NULL && contains(m, *(const struct cv_str *)(const void *)member, key->text);
	case CV_IMAP_MIMEPART_ADDRESS:
		return member != NULL && has_address(m, (const struct cv_address_list *)(const void *)member, key->text);
	case CV_IMAP_MIMEPART_AND:
	case CV_IMAP_MIMEPART_OR:
	case CV_IMAP_MIMEPART_CHILD:
	case CV_IMAP_MIMEPART_PARENT:
	case CV_IMAP_MIMEPART_DEPTH:
	case CV_IMAP_MIMEPART_HEADER:
	case CV_IMAP_MIMEPART_BODY:
	case CV_IMAP_MIMEPART_TEXT:
		break;
	}
	return false;
}

/* ---- the tree of keys -------------------------------------------------------------------------------- */

static bool matches(struct cv_imap_mimepart *m, struct cv_arena *arena, struct cv_imap_mimepart_key *key, const struct cv_mime_part *part, uint32_t base);

/* A part in this one, at any depth: what is below part stands behind it in preorder. DEPTH counts from part there. */
static bool has_child(struct cv_imap_mimepart *m, struct cv_arena *arena, const struct cv_imap_mimepart_key *key, const struct cv_mime_part *part)
{
	if (key->child == NULL)
		return part->children != NULL;
	for (size_t i = part->index + 1u; i < m->part_count && m->parts[i]->depth > part->depth; i++)
		if (matches(m, arena, key->child, m->parts[i], part->depth))
			return true;
	return false;
}

/* What does not depend on where DEPTH counts from is asked once. */
static bool known(struct cv_imap_mimepart *m, struct cv_arena *arena, struct cv_imap_mimepart_key *key, const struct cv_mime_part *part)
{
	if (key->known == NULL)
		key->known = cv_new(arena, uint8_t, m->part_count);
	if (key->known[part->index] == 0) {
		bool yes = key->kind == CV_IMAP_MIMEPART_CHILD ? has_child(m, arena, key, part) : tree_tells(m, key, part);

		key->known[part->index] = yes ? YES : NO;
	}
	return key->known[part->index] == YES;
}

/* Recursion is as deep as the parser allowed. */
static bool matches(struct cv_imap_mimepart *m, struct cv_arena *arena, struct cv_imap_mimepart_key *key, const struct cv_mime_part *part, uint32_t base)
{
	bool result = false;

	switch (key->kind) {
	case CV_IMAP_MIMEPART_AND:
	case CV_IMAP_MIMEPART_OR:
		result = key->kind == CV_IMAP_MIMEPART_AND;
		for (struct cv_imap_mimepart_key *child = key->child; child != NULL && result == (key->kind == CV_IMAP_MIMEPART_AND); child = child->next)
			result = matches(m, arena, child, part, base);
		break;
	case CV_IMAP_MIMEPART_PARENT:
		result = part->parent != NULL && (key->child == NULL || matches(m, arena, key->child, part->parent, base));
		break;
	case CV_IMAP_MIMEPART_DEPTH:
		result = compare(key, (int64_t)part->depth - base, (int64_t)key->number);
		break;
	case CV_IMAP_MIMEPART_BODY:
		result = key->body[part->index] == YES;
		break;
	case CV_IMAP_MIMEPART_HEADER:
	case CV_IMAP_MIMEPART_TEXT:
		result = key->known[part->index] == YES;
		break;
	case CV_IMAP_MIMEPART_CHILD:
	case CV_IMAP_MIMEPART_INDEX:
	case CV_IMAP_MIMEPART_SIZE:
	case CV_IMAP_MIMEPART_SENT:
	case CV_IMAP_MIMEPART_PART:
	case CV_IMAP_MIMEPART_DESCRIPTION:
	case CV_IMAP_MIMEPART_LANGUAGE:
	case CV_IMAP_MIMEPART_MD5:
	case CV_IMAP_MIMEPART_PARAM:
	case CV_IMAP_MIMEPART_DISPOSITION_PARAM:
	case CV_IMAP_MIMEPART_FILENAME:
	case CV_IMAP_MIMEPART_FIELD:
	case CV_IMAP_MIMEPART_ADDRESS:
		result = known(m, arena, key, part);
		break;
	}
	return result != key->negated;
}

/* ---- one message ------------------------------------------------------------------------------------- */

static void forget(struct cv_imap_mimepart_key *key)
{
	for (; key != NULL; key = key->next) {
		key->known = key->body = NULL;
		forget(key->child);
	}
}

static void begin(struct cv_imap_mimepart *m, struct cv_arena *arena, struct cv_mime_part *root)
{
	m->part_count = 0;
	for (const struct cv_mime_part *part = root; part != NULL; part = cv_mime_part_next(part))
		m->part_count++;
	m->parts = cv_new(arena, struct cv_mime_part *, m->part_count);
	m->places = cv_new(arena, uint32_t, m->part_count);
	m->places[0] = 1;
	m->at = 0;
	for (struct cv_mime_part *part = root; part != NULL; part = cv_mime_part_next(part)) {
		uint32_t place = 0;

		m->parts[part->index] = part;
		for (const struct cv_mime_part *child = part->children; child != NULL; child = child->next)
			m->places[child->index] = ++place;
	}
	m->at = 0;
	m->in_part = false;
	for (size_t i = 0; i < m->octet_count; i++) {
		m->octet_keys[i]->known = cv_new(arena, uint8_t, m->part_count);
		m->octet_keys[i]->body = cv_new(arena, uint8_t, m->part_count);
	}
}

static void take_found(struct cv_imap_mimepart *m)
{
	for (size_t i = 0; i < m->octet_count; i++) {
		struct cv_imap_mimepart_key *key = m->octet_keys[i];

		key->known[m->at] = cv_search_found(m->search, key->index[0]) ? YES : NO;
		if (key->kind != CV_IMAP_MIMEPART_HEADER)
			key->body[m->at] = cv_search_found(m->search, key->index[1]) ? YES : NO;
	}
}

/* What holds parts has their headers and bodies for its body. A part's own are behind it in preorder. */
static void add_children(struct cv_imap_mimepart *m)
{
	for (size_t k = 0; k < m->octet_count; k++) {
		struct cv_imap_mimepart_key *key = m->octet_keys[k];

		for (size_t i = m->part_count; i-- > 1 && key->kind != CV_IMAP_MIMEPART_HEADER;) {
			uint32_t parent = m->parts[i]->parent->index;

			if (key->known[i] == YES)
				key->body[parent] = key->known[parent] = YES;
		}
	}
}

/* 1 when all parts were searched, 0 when there is more to do. */
static int search_parts(struct cv_imap_mimepart *m, struct cv_message_reader *reader, uint64_t budget, struct cv_err *err)
{
	uint64_t used = 0;

	while (m->at < m->part_count) {
		const struct cv_mime_part *part = m->parts[m->at];
		int result;

		if (used >= budget)
			return 0;
		if (!m->in_part)
			cv_search_begin_part(m->search, reader, part);
		m->in_part = true;
		result = cv_search_step(m->search, budget - used, err);
		if (result <= 0)
			return result;
		take_found(m);
		used += PART_COST + part->header_size + (part->kind == CV_MIME_LEAF ? part->body_size : 0);
		m->in_part = false;
		m->at++;
	}
	add_children(m);
	return 1;
}

int cv_imap_mimepart_ask(void *ctx, struct cv_mailsearch_message *message, bool first, uint64_t budget, bool *yes_r, struct cv_err *err)
{
	struct cv_imap_mimepart *m = ctx;
	int result;

	if (first) {
		m->parts = NULL;
		forget(m->root);
	}
	if (m->search != NULL && message->reader == NULL)
		return 0;
	if (m->parts == NULL) {
		result = cv_mailsearch_tree(message, err);
		if (result <= 0)
			return result;
		begin(m, message->arena, message->tree);
	}
	if (m->search != NULL) {
		result = search_parts(m, message->reader, budget, err);
		if (result <= 0)
			return result;
	}
	*yes_r = false;
	for (size_t i = 0; i < m->part_count && !*yes_r; i++)
		*yes_r = matches(m, message->arena, m->root, m->parts[i], 0);
	return 1;
}
