/* SPDX-License-Identifier: MIT
   Binary content made into text while it comes (RFC 3516 section 4.4): the MIME parser says where each octet belongs, a header is held back until the first
   octet behind it, when it is known what its part is. */
#include <config.h>

#include "core/message/mime-private.h"

#include <string.h>

/* A longer header is not held: its part is not changed. As the parser's bound. */
#define HEADER_MAX_HELD ((size_t)1024 * 1024)
/* Octets that make a line of base64 (RFC 2045 section 6.8: 76 characters). */
#define LINE_OCTETS ((size_t)57)

struct cv_binary_encoder {
	struct cv_arena *arena;
	struct cv_mime_parser *parser;
	struct cv_buf *out;                  /* of the call in progress */
	const struct cv_mime_part *root;
	const struct cv_mime_part *pending;  /* the part whose header is held; NULL: none */
	const struct cv_mime_part *too_long; /* the part whose header is passed on unseen */
	const struct cv_mime_part *encoded;  /* the part whose body becomes base64; NULL: none */
	struct cv_buf header;                /* of pending, so far */
	bool binary, refused;

	bool lines;                          /* of encoded: there is a line of base64 */
	size_t line_len, end_len;
	char line[LINE_OCTETS];              /* what does not fill a line yet */
	char end[2];                         /* a line end, which is the delimiter's if one follows */
};

/* ---- base64 ---- */

static void write_line(struct cv_binary_encoder *e, struct cv_str octets)
{
	if (e->lines)
		cv_buf_append(e->out, CV_STR("\r\n"));
	cv_buf_append_base64(e->out, octets);
	e->lines = true;
}

static void encode(struct cv_binary_encoder *e, struct cv_str octets)
{
	if (e->line_len > 0) {
		size_t take = CV_MIN(octets.len, LINE_OCTETS - e->line_len);

		memcpy(e->line + e->line_len, octets.ptr, take);
		e->line_len += take;
		octets = cv_str_sub(octets, take, SIZE_MAX);
		if (e->line_len < LINE_OCTETS)
			return;
		write_line(e, cv_str_mem(e->line, LINE_OCTETS));
		e->line_len = 0;
	}
	while (octets.len >= LINE_OCTETS) {
		write_line(e, cv_str_sub(octets, 0, LINE_OCTETS));
		octets = cv_str_sub(octets, LINE_OCTETS, SIZE_MAX);
	}
	if (octets.len > 0)
		memcpy(e->line, octets.ptr, octets.len);
	e->line_len = octets.len;
}

/* How many of the last octets may be the line end in front of a delimiter, or the first half of it. */
static size_t line_end_len(struct cv_str octets)
{
	if (octets.ptr[octets.len - 1] == '\n')
		return octets.len > 1 && octets.ptr[octets.len - 2] == '\r' ? 2 : 1;
	return octets.ptr[octets.len - 1] == '\r' ? 1 : 0;
}

static void encode_body(struct cv_binary_encoder *e, struct cv_str octets)
{
	size_t end_len = line_end_len(octets);

	if (octets.len == 1 && octets.ptr[0] == '\n' && e->end_len == 1 && e->end[0] == '\r') {
		e->end[e->end_len++] = '\n';
		return;
	}
	encode(e, cv_str_mem(e->end, e->end_len));
	encode(e, cv_str_sub(octets, 0, octets.len - end_len));
	memcpy(e->end, octets.ptr + octets.len - end_len, end_len);
	e->end_len = end_len;
}

/* The body ends: at a delimiter, or (last) with the message, whose last line end is content. */
static void end_body(struct cv_binary_encoder *e, bool last)
{
	if (e->encoded == NULL)
		return;
	if (last) {
		encode(e, cv_str_mem(e->end, e->end_len));
		e->end_len = 0;
	}
	if (e->line_len > 0)
		write_line(e, cv_str_mem(e->line, e->line_len));
	if (last && e->lines)
		cv_buf_append(e->out, CV_STR("\r\n"));
	cv_buf_append(e->out, cv_str_mem(e->end, e->end_len));
	e->line_len = e->end_len = 0;
	e->lines = false;
	e->encoded = NULL;
}

/* ---- headers ---- */

/* RFC 1847 section 2.1: what is signed is its parts' headers and bodies as they are. */
static bool is_signed(const struct cv_mime_part *part)
{
	for (part = part->parent; part != NULL; part = part->parent) {
		if (cv_mime_part_is(part, "multipart", "signed"))
			return true;
	}
	return false;
}

/* The encoding that a part gets; absent: it stays as it is. */
static struct cv_str new_encoding(const struct cv_binary_encoder *e, const struct cv_mime_part *part)
{
	const struct cv_str none = { 0 };

	if (!e->binary || (part->flags & (CV_MIME_HEADER_CUT | CV_MIME_OPAQUE)) != 0 || !cv_str_caseeq_c(part->encoding_name, "binary") || is_signed(part))
		return none;
	switch (part->kind) {
	case CV_MIME_LEAF:
		return cv_mime_part_is(part, "message", NULL) ? none : CV_STR("base64");
	case CV_MIME_MULTIPART:
		return cv_mime_part_is(part, "multipart", "signed") ? none : CV_STR("8bit");
	case CV_MIME_MESSAGE:
		return CV_STR("8bit");
	}
	return none;
}

/* The header with another encoding; where the field is repeated, in each: which of them counts is a matter of who reads. */
static void write_header(struct cv_binary_encoder *e, struct cv_str header, struct cv_str encoding)
{
	struct cv_header_iter iter;
	struct cv_header_field field;
	size_t done = 0;

	cv_header_iter_init(&iter, header);
	while (cv_header_iter_next(&iter, &field)) {
		done += field.raw.len;
		if (!cv_str_caseeq_c(field.name, "content-transfer-encoding")) {
			cv_buf_append(e->out, field.raw);
			continue;
		}
		cv_buf_append(e->out, field.name);
		cv_buf_append(e->out, CV_STR(": "));
		cv_buf_append(e->out, encoding);
		cv_buf_append(e->out, cv_str_sub(field.raw, field.raw.len - line_end_len(field.raw), SIZE_MAX));
	}
	cv_buf_append(e->out, cv_str_sub(header, done, SIZE_MAX)); /* the empty line */
}

/* What is behind the held header begins. */
static void release_header(struct cv_binary_encoder *e)
{
	const struct cv_mime_part *part = e->pending;
	struct cv_str encoding;

	if (part == NULL)
		return;
	encoding = new_encoding(e, part);
	if (encoding.ptr != NULL)
		write_header(e, cv_buf_str(&e->header), encoding);
	else
		cv_buf_append(e->out, cv_buf_str(&e->header));
	if (encoding.ptr != NULL && part->kind == CV_MIME_LEAF)
		e->encoded = part;
	e->pending = NULL;
	cv_buf_clear(&e->header);
}

static void header_octets(struct cv_binary_encoder *e, const struct cv_mime_part *part, struct cv_str octets)
{
	if (e->too_long == part) {
		cv_buf_append(e->out, octets);
		return;
	}
	if (e->pending != part) {
		release_header(e);
		e->pending = part;
	}
	if (octets.len <= HEADER_MAX_HELD - e->header.len) {
		cv_buf_append(&e->header, octets);
		return;
	}
	cv_buf_append(e->out, cv_buf_str(&e->header));
	cv_buf_append(e->out, octets);
	cv_buf_clear(&e->header);
	e->pending = NULL;
	e->too_long = part;
}

/* ---- octets ---- */

static void observe(void *ctx, const struct cv_mime_part *part, enum cv_mime_place place, struct cv_str octets)
{
	struct cv_binary_encoder *e = ctx;

	if (e->root == NULL)
		e->root = part;
	switch (place) {
	case CV_MIME_IN_HEADER:
		header_octets(e, part, octets);
		break;
	case CV_MIME_IN_BODY:
		release_header(e);
		if (e->encoded != part)
			cv_buf_append(e->out, octets);
		else if ((e->root->flags & CV_MIME_PARTS_CUT) != 0)
			e->refused = true;
		else
			encode_body(e, octets);
		break;
	case CV_MIME_DELIMITER:
		release_header(e);
		end_body(e, false);
		cv_buf_append(e->out, octets);
		break;
	}
}

struct cv_binary_encoder *cv_binary_encoder_new(void)
{
	/* of what the parser makes only the tree is wanted */
	const struct cv_mime_limits limits = { .addresses = 1, .languages = 1, .preview_input = 1, .preview_chars = 1 };
	struct cv_arena *arena = cv_arena_new("binary content", NULL, 0);
	struct cv_binary_encoder *e = cv_new(arena, struct cv_binary_encoder, 1);

	e->arena = arena;
	e->parser = cv_mime_parser_new(arena, &limits);
	cv_mime_parser_observe(e->parser, observe, e);
	cv_buf_init(&e->header, HEADER_MAX_HELD);
	return e;
}

void cv_binary_encoder_free(struct cv_binary_encoder **encoder)
{
	struct cv_arena *arena;

	if (*encoder == NULL)
		return;
	arena = (*encoder)->arena;
	cv_buf_deinit(&(*encoder)->header);
	*encoder = NULL;
	cv_arena_free(&arena);
}

bool cv_binary_encoder_feed(struct cv_binary_encoder *encoder, struct cv_str octets, bool binary, struct cv_buf *out)
{
	encoder->binary |= binary && octets.len > 0;
	encoder->out = out;
	if (!encoder->refused)
		cv_mime_parser_feed(encoder->parser, octets);
	return !encoder->refused;
}

bool cv_binary_encoder_finish(struct cv_binary_encoder *encoder, struct cv_buf *out)
{
	encoder->out = out;
	if (encoder->refused)
		return false;
	(void)cv_mime_parser_finish(encoder->parser);
	release_header(encoder);
	end_body(encoder, true);
	return !encoder->refused;
}
