/* SPDX-License-Identifier: MIT
   What t/lib/message-dump.h promises. */
#include <config.h>

#include "t/lib/message-dump.h"

#include <inttypes.h>

static void text(struct cv_buf *out, struct cv_str s)
{
	if (s.ptr == NULL)
		cv_buf_append_char(out, '-');
	else
		cv_buf_append(out, s);
}

void cv_dump_addresses(struct cv_buf *out, const struct cv_address_list *list)
{
	if (list->items == NULL)
		cv_buf_append_char(out, '-');
	for (size_t i = 0; i < list->count; i++) {
		const struct cv_address *a = &list->items[i];

		if (i > 0)
			cv_buf_append_c(out, ", ");
		if (a->kind == CV_ADDRESS_GROUP_START) {
			cv_buf_append_char(out, '{');
			text(out, a->mailbox);
		} else if (a->kind == CV_ADDRESS_GROUP_END) {
			cv_buf_append_char(out, '}');
		} else {
			text(out, a->name);
			cv_buf_append_char(out, '|');
			text(out, a->route);
			cv_buf_append_char(out, '|');
			text(out, a->mailbox);
			cv_buf_append_char(out, '|');
			text(out, a->host);
		}
	}
}

void cv_dump_envelope(struct cv_buf *out, const struct cv_envelope *e)
{
	const struct cv_address_list *lists[] = { &e->from, &e->sender, &e->reply_to, &e->to, &e->cc, &e->bcc };

	text(out, e->date);
	cv_buf_append_char(out, '|');
	text(out, e->subject);
	cv_buf_append_char(out, '|');
	text(out, e->in_reply_to);
	cv_buf_append_char(out, '|');
	text(out, e->message_id);
	for (size_t i = 0; i < CV_COUNT_OF(lists); i++) {
		cv_buf_append_c(out, " [");
		cv_dump_addresses(out, lists[i]);
		cv_buf_append_char(out, ']');
	}
}

static void params(struct cv_buf *out, const struct cv_params *p)
{
	for (size_t i = 0; i < p->count; i++) {
		cv_buf_append_char(out, ';');
		text(out, p->items[i].name);
		cv_buf_append_char(out, '=');
		text(out, p->items[i].value);
	}
}

static void field(struct cv_buf *out, const char *name, struct cv_str value)
{
	if (value.ptr == NULL)
		return;
	cv_buf_printf(out, " %s=", name);
	cv_buf_append(out, value);
}

void cv_dump_part(struct cv_buf *out, const struct cv_mime_part *part)
{
	static const char *const kinds[] = { "leaf", "multi", "message" };

	for (uint32_t i = 0; i < part->depth; i++)
		cv_buf_append_char(out, ' ');
	cv_buf_printf(out, "%" PRIu32 " %s ", part->index, kinds[part->kind]);
	text(out, part->type);
	cv_buf_append_char(out, '/');
	text(out, part->subtype);
	params(out, &part->params);
	field(out, "disposition", part->disposition);
	params(out, &part->disposition_params);
	field(out, "id", part->id);
	field(out, "description", part->description);
	field(out, "md5", part->md5);
	field(out, "location", part->location);
	for (size_t i = 0; i < part->language_count; i++)
		field(out, "language", part->languages[i]);
	field(out, "encoding", part->encoding_name);
	cv_buf_printf(out, " h=%" PRIu64 "+%" PRIu64 "/%" PRIu64 "/%" PRIu32 " b=%" PRIu64 "+%" PRIu64 "/%" PRIu64 "/%" PRIu32,
		part->header_offset, part->header_size, part->header_wire_size, part->header_lines, part->body_offset,
		part->body_size, part->body_wire_size, part->body_lines);
	if (part->kind == CV_MIME_MULTIPART)
		cv_buf_printf(out, " preamble=%" PRIu64 " epilogue=%" PRIu64, part->preamble_size, part->epilogue_size);
	if (part->flags != 0)
		cv_buf_printf(out, " flags=%x", part->flags);
	cv_buf_append_char(out, '\n');
}

void cv_dump_tree(struct cv_buf *out, const struct cv_mime_part *root)
{
	for (const struct cv_mime_part *part = root; part != NULL; part = cv_mime_part_next(part)) {
		cv_dump_part(out, part);
		if (part->envelope != NULL) {
			cv_buf_append_c(out, "envelope ");
			cv_dump_envelope(out, part->envelope);
			cv_buf_append_char(out, '\n');
		}
	}
}

void cv_dump_message(struct cv_buf *out, const struct cv_message *m)
{
	cv_buf_printf(out, "parts=%" PRIu32 " flags=%x size=%" PRIu64 "/%" PRIu64 " attachments=%" PRIu32, m->part_count,
		m->flags, m->size, m->wire_size, m->attachments);
	if (m->date_valid)
		cv_buf_printf(out, " date=%" PRId64 "%+d%s", m->date.sec, m->date.zone_min, m->date.zone_unknown ? "?" : "");
	field(out, "preview", m->preview);
	cv_buf_append_c(out, "\nheader=");
	text(out, m->header);
	cv_buf_append_char(out, '\n');
	cv_dump_tree(out, m->root);
}

static const char *check_part(const struct cv_message *m, const struct cv_mime_part *p)
{
	uint64_t end = p->body_offset + p->body_size;
	uint32_t children = 0;

	if (p->type.ptr == NULL || p->subtype.ptr == NULL || p->type.len == 0 || p->subtype.len == 0)
		return "a part has a type";
	if (p->body_offset != p->header_offset + p->header_size)
		return "a body begins where its header ends";
	if (end > m->size)
		return "a part lies within the message";
	if (p->header_wire_size < p->header_size || p->body_wire_size < p->body_size)
		return "a wire form is not shorter";
	if (p->header_wire_size > p->header_size + p->header_lines || p->body_wire_size > p->body_size + p->body_lines)
		return "a wire form is longer by its lines at most";
	for (const struct cv_mime_part *c = p->children; c != NULL; c = c->next) {
		children++;
		if (c->parent != p || c->depth != p->depth + 1)
			return "a child knows its parent";
		if (c->header_offset < p->body_offset || c->body_offset + c->body_size > end)
			return "a child lies in its parent's body";
		if (c->next != NULL && c->next->header_offset < c->body_offset + c->body_size)
			return "children do not overlap";
	}
	if (children != p->child_count)
		return "children are counted";
	if (p->kind == CV_MIME_LEAF ? children != 0 : p->kind == CV_MIME_MESSAGE ? children != 1 : children == 0)
		return "a kind has its number of children";
	if ((p->envelope != NULL) != (p->parent == NULL || p->parent->kind == CV_MIME_MESSAGE))
		return "messages, and only they, have an envelope";
	return NULL;
}

const char *cv_check_tree(const struct cv_message *m)
{
	uint32_t count = 0;

	for (const struct cv_mime_part *p = m->root; p != NULL; p = cv_mime_part_next(p)) {
		const char *bad = check_part(m, p);

		if (bad != NULL)
			return bad;
		if (p->index != count++)
			return "parts are numbered in preorder";
	}
	if (count != m->part_count)
		return "parts are counted";
	if (m->root->header_offset != 0 || m->root->body_offset + m->root->body_size != m->size)
		return "the root is the whole message";
	if (m->root->header_wire_size + m->root->body_wire_size != m->wire_size)
		return "the wire size is that of header and body";
	if (!cv_str_is_utf8(m->preview))
		return "the preview is UTF-8";
	return NULL;
}

/* ---- binary content ---- */

static bool encode_all(struct cv_str octets, size_t step, struct cv_buf *out)
{
	struct cv_binary_encoder *encoder = cv_binary_encoder_new();
	bool done = true;

	for (size_t pos = 0; done && pos < octets.len; pos += CV_MIN(step, octets.len - pos))
		done = cv_binary_encoder_feed(encoder, cv_str_sub(octets, pos, step), true, out);
	done = done && cv_binary_encoder_finish(encoder, out);
	cv_binary_encoder_free(&encoder);
	return done;
}

static bool same_content(struct cv_str before, const struct cv_mime_part *a, struct cv_str after, const struct cv_mime_part *b)
{
	struct cv_str body = cv_str_sub(before, (size_t)a->body_offset, (size_t)a->body_size);
	struct cv_str made = cv_str_sub(after, (size_t)b->body_offset, (size_t)b->body_size);
	struct cv_transfer_decoder decoder;
	struct cv_buf decoded;
	bool same;

	if (a->kind != CV_MIME_LEAF || a->encoding == b->encoding)
		return a->kind != CV_MIME_LEAF || cv_str_eq(body, made);
	cv_buf_init(&decoded, SIZE_MAX);
	cv_transfer_decoder_init(&decoder, b->encoding);
	cv_transfer_decode(&decoder, made, &decoded);
	cv_transfer_decode_finish(&decoder, &decoded);
	same = b->encoding == CV_TRANSFER_BASE64 && !decoder.invalid && cv_str_eq(cv_buf_str(&decoded), body) && !cv_str_has_nul(made);
	cv_buf_deinit(&decoded);
	return same;
}

static const char *compare_messages(struct cv_arena *arena, struct cv_str before, struct cv_str after)
{
	struct cv_mime_parser *a = cv_mime_parser_new(arena, NULL), *b = cv_mime_parser_new(arena, NULL);
	const struct cv_mime_part *x, *y;

	cv_mime_parser_feed(a, before);
	cv_mime_parser_feed(b, after);
	x = cv_mime_parser_finish(a)->root;
	y = cv_mime_parser_finish(b)->root;
	for (; x != NULL && y != NULL; x = cv_mime_part_next(x), y = cv_mime_part_next(y)) {
		if (x->kind != y->kind || x->depth != y->depth || !cv_str_eq(x->type, y->type) || !cv_str_eq(x->subtype, y->subtype))
			return "the tree is another";
		if (x->preamble_size != y->preamble_size || x->epilogue_size != y->epilogue_size)
			return "what is between the parts is other";
		if (!same_content(before, x, after, y))
			return "a part has other content";
	}
	return x == NULL && y == NULL ? NULL : "there are other parts";
}

const char *cv_check_binary_encoder(struct cv_str octets, size_t step, struct cv_buf *out)
{
	struct cv_arena *arena = cv_arena_new("binary", NULL, 0);
	size_t start = out->len;
	const char *bad;
	struct cv_buf pieces;
	bool whole_done = encode_all(octets, SIZE_MAX, out), pieces_done;

	cv_buf_init(&pieces, SIZE_MAX);
	pieces_done = encode_all(octets, step, &pieces);
	if (whole_done != pieces_done)
		bad = "pieces are taken otherwise";
	else if (!whole_done)
		bad = NULL;
	else if (!cv_str_eq(cv_buf_str(&pieces), cv_str_sub(cv_buf_str(out), start, SIZE_MAX)))
		bad = "pieces give another message";
	else
		bad = compare_messages(arena, octets, cv_buf_str(&pieces));
	cv_buf_deinit(&pieces);
	cv_arena_free(&arena);
	return bad;
}
