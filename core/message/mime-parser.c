/* SPDX-License-Identifier: MIT
   The streaming MIME parser: octets cut anywhere in, a bounded part tree out. No recursion; the tree is its own stack. */
#include <config.h>

#include "core/message/mime-private.h"
#include "core/message/text-private.h"

#include <string.h>

#define BOUNDARY_MAX 1000 /* RFC 2046 section 5.1.1 says 70; a longer one than this is none */
/* The longest line that can be a delimiter: "--", boundary, "--", and some padding. Longer ones are text. */
#define DELIMITER_MAX (BOUNDARY_MAX + 280)

/* A position, with the line ends before it. */
struct mark {
	uint64_t pos, lf, bare_lf;
};

struct node {
	struct cv_mime_part part; /* first: the two are one */
	struct node *parent;
	struct cv_mime_part *last_child;
	struct mark header, body, epilogue;
	bool closed; /* multipart: its closing delimiter was seen */
};

enum parser_state { PARSER_HEADER, PARSER_BODY };

struct cv_mime_parser {
	struct cv_arena *arena;
	struct cv_mime_limits limits;
	struct cv_message *message;
	enum parser_state state;
	struct node *current; /* whose header or body the next octet is in */
	struct mark now;
	uint8_t last, before_last; /* octets before now */
	bool started;              /* a first octet was seen: last counts */
	uint32_t part_count;
	uint32_t addresses_left;
	size_t header_left;        /* of limits.header_total */
	bool parts_full;           /* no delimiter is looked for any more */
	bool finished;

	struct cv_buf header;      /* of current, up to its bounds */
	bool header_cut;
	uint8_t line_len;          /* octets of the header line so far: 0, 1 (then CR is known), or 2 for more */
	bool line_is_cr;

	struct {
		struct node *node;
		struct cv_str boundary;
	} open[CV_MIME_DEPTH_MAX + 1]; /* multiparts with a boundary, outermost first */
	size_t open_count;

	size_t line_kept;          /* octets in line: a line that may become a delimiter */
	char line[DELIMITER_MAX];

	struct cv_preview preview;
	struct node *preview_node;

	void (*observe)(void *ctx, const struct cv_mime_part *part, enum cv_mime_place place, struct cv_str octets); /* NULL: nobody */
	void *observe_ctx;
};

static void parser_cleanup(void *ctx)
{
	struct cv_mime_parser *p = ctx;

	cv_preview_deinit(&p->preview);
	cv_buf_deinit(&p->header);
}

static struct cv_mime_limits resolve_limits(const struct cv_mime_limits *given)
{
	struct cv_mime_limits limits = { .parts = 1000, .depth = CV_MIME_DEPTH_MAX, .params = 100, .addresses = 20000,
		.languages = 20, .header_field = 256 * 1024, .header = 1024 * 1024, .header_total = 4 * 1024 * 1024,
		.preview_input = 64 * 1024, .preview_chars = 200 };

	if (given == NULL)
		return limits;
#define TAKE(member)                                                                                          \
	if (given->member != 0)                                                                               \
		limits.member = given->member
	TAKE(parts);
	TAKE(depth);
	TAKE(params);
	TAKE(addresses);
	TAKE(languages);
	TAKE(header_field);
	TAKE(header);
	TAKE(header_total);
	TAKE(preview_input);
	TAKE(preview_chars);
#undef TAKE
	limits.depth = CV_MIN(limits.depth, (uint32_t)CV_MIME_DEPTH_MAX);
	return limits;
}

static void start_part(struct cv_mime_parser *p, struct node *parent)
{
	struct node *node = cv_new(p->arena, struct node, 1);
	struct cv_mime_part *part = &node->part;
	bool digest = parent != NULL && parent->part.kind == CV_MIME_MULTIPART &&
		cv_str_caseeq_c(parent->part.subtype, "digest");

	node->parent = parent;
	node->header = parent != NULL && parent->part.kind == CV_MIME_MESSAGE ? parent->body : p->now;
	part->flags = CV_MIME_DEFAULT_TYPE;
	/* RFC 2046 section 5.1.5 */
	part->type = digest ? CV_STR("message") : CV_STR("text");
	part->subtype = digest ? CV_STR("rfc822") : CV_STR("plain");
	if (parent == NULL) {
		p->message->root = part;
	} else {
		part->parent = &parent->part;
		part->depth = parent->part.depth + 1;
		if (parent->last_child == NULL)
			parent->part.children = part;
		else
			parent->last_child->next = part;
		parent->last_child = part;
		parent->part.child_count++;
	}
	if (parent == NULL || parent->part.kind == CV_MIME_MESSAGE)
		part->envelope = cv_new(p->arena, struct cv_envelope, 1);
	p->part_count++;
	p->current = node;
	p->state = PARSER_HEADER;
	p->line_len = 0;
	p->header_cut = false;
	cv_buf_clear(&p->header);
}

struct cv_mime_parser *cv_mime_parser_new(struct cv_arena *arena, const struct cv_mime_limits *limits)
{
	struct cv_mime_parser *p = cv_new(arena, struct cv_mime_parser, 1);

	p->arena = arena;
	p->limits = resolve_limits(limits);
	p->message = cv_new(arena, struct cv_message, 1);
	p->addresses_left = p->limits.addresses;
	p->header_left = p->limits.header_total;
	cv_buf_init(&p->header, p->limits.header);
	cv_preview_init(&p->preview, p->limits.preview_chars, p->limits.preview_input);
	cv_arena_cleanup(arena, parser_cleanup, p);
	start_part(p, NULL);
	return p;
}

void cv_mime_parser_observe(struct cv_mime_parser *parser,
	void (*fn)(void *ctx, const struct cv_mime_part *part, enum cv_mime_place place, struct cv_str octets), void *ctx)
{
	parser->observe = fn;
	parser->observe_ctx = ctx;
}

static inline void observe(struct cv_mime_parser *p, enum cv_mime_place place, const char *o, size_t len)
{
	if (p->observe != NULL)
		p->observe(p->observe_ctx, &p->current->part, place, cv_str_mem(o, len));
}

/* ---- counting ---- */

/* In one register where the machine has such: counting runs over every octet of every message. */
typedef uint8_t octets16 __attribute__((vector_size(16)));
typedef uint64_t words2 __attribute__((vector_size(16)));

/* What was found in octets that went by 16 at once. */
struct counted {
	uint64_t lf, crlf;
	bool nul, high;
};

/* The sum of sixteen counts. */
static uint64_t sum16(octets16 counts)
{
	const words2 low = { 0x00ff00ff00ff00ffu, 0x00ff00ff00ff00ffu };
	words2 pairs = ((words2)counts & low) + ((words2)counts >> 8 & low);

	return ((pairs[0] + pairs[1]) * 0x0001000100010001u) >> 48;
}

static bool any_high_bit(octets16 octets)
{
	words2 words = (words2)octets;

	return ((words[0] | words[1]) & 0x8080808080808080u) != 0;
}

/* Of o, which has an octet before it: as many as there are sixteens. How many these are. */
static size_t count16(struct counted *counted, const uint8_t *o, size_t len)
{
	octets16 all = { 0 }, nuls = { 0 };
	size_t i = 0;

	while (len - i >= 16) {
		size_t end = i + CV_MIN((len - i) / 16, (size_t)UINT8_MAX) * 16; /* what an octet can count */
		octets16 lf = { 0 }, crlf = { 0 };

		for (; i < end; i += 16) {
			octets16 here, before, is_lf;

			memcpy(&here, o + i, sizeof(here));
			memcpy(&before, o + i - 1, sizeof(before));
			is_lf = (octets16)(here == '\n');
			lf -= is_lf;
			crlf -= is_lf & (octets16)(before == '\r');
			all |= here;
			nuls |= (octets16)(here == 0);
		}
		counted->lf += sum16(lf);
		counted->crlf += sum16(crlf);
	}
	counted->high = counted->high || any_high_bit(all);
	counted->nul = counted->nul || any_high_bit(nuls);
	return i;
}

/* Move now behind len octets at o (not 0), in which that was found. */
static void pass(struct cv_mime_parser *p, const char *o, size_t len, const struct counted *counted, unsigned nul_flag, unsigned high_flag)
{
	p->now.pos += len;
	p->now.lf += counted->lf;
	p->now.bare_lf += counted->lf - counted->crlf;
	p->before_last = len > 1 ? (uint8_t)o[len - 2] : p->last;
	p->last = (uint8_t)o[len - 1];
	p->started = true;
	if (counted->nul)
		p->current->part.flags |= nul_flag;
	if (counted->high)
		p->current->part.flags |= high_flag;
}

static uint8_t octet_before(const struct cv_mime_parser *p)
{
	return p->started ? p->last : 0;
}

/* Octets of a body, of any number of lines. */
static void pass_body(struct cv_mime_parser *p, const char *octets, size_t len)
{
	const uint8_t *o = (const uint8_t *)octets;
	uint8_t before = octet_before(p);
	struct counted counted = { 0 };
	size_t i = 0;

	while (i < len) {
		if (i > 0 && len - i >= 16) {
			i += count16(&counted, o + i, len - i);
			before = o[i - 1];
			continue;
		}
		counted.lf += o[i] == '\n';
		counted.crlf += o[i] == '\n' && before == '\r';
		counted.high = counted.high || o[i] >= 0x80;
		counted.nul = counted.nul || o[i] == 0;
		before = o[i++];
	}
	if (len > 0)
		pass(p, octets, len, &counted, CV_MIME_BODY_NUL, CV_MIME_BODY_8BIT);
}

/* Octets of one line of a header, perhaps with its end. */
static void pass_line(struct cv_mime_parser *p, const char *o, size_t len)
{
	bool ends = o[len - 1] == '\n';
	uint8_t before = len > 1 ? (uint8_t)o[len - 2] : octet_before(p);
	const struct counted counted = { .lf = ends, .crlf = ends && before == '\r', .nul = memchr(o, '\0', len) != NULL,
		.high = !cv_str_is_ascii(cv_str_mem(o, len)) };

	pass(p, o, len, &counted, CV_MIME_HEADER_NUL, CV_MIME_HEADER_8BIT);
}

static bool at_line_start(const struct cv_mime_parser *p)
{
	return !p->started || p->last == '\n';
}

/* Where the line before now ends: its line end belongs to the delimiter that follows (RFC 2046 section 5.1.1). */
static struct mark before_line_end(const struct cv_mime_parser *p)
{
	struct mark m = p->now;

	if (!p->started || p->last != '\n')
		return m;
	m.lf--;
	m.pos--;
	if (m.pos > 0 && p->before_last == '\r')
		m.pos--;
	else
		m.bare_lf--;
	return m;
}

/* ---- parts begin and end ---- */

static void begin_preview(struct cv_mime_parser *p, struct node *node)
{
	struct cv_mime_part *part = &node->part;
	bool plain = cv_mime_part_is(part, "text", "plain") || part->kind == CV_MIME_MULTIPART;
	bool html = cv_mime_part_is(part, "text", "html");

	if ((!plain && !html) || cv_str_caseeq_c(part->disposition, "attachment") || !cv_preview_wants(&p->preview))
		return;
	cv_preview_begin(&p->preview, html, part->encoding, cv_params_raw(&part->params, CV_STR("charset")));
	p->preview_node = node;
}

static void end_preview(struct cv_mime_parser *p, const struct node *node)
{
	if (p->preview_node != node)
		return;
	cv_preview_end(&p->preview);
	p->preview_node = NULL;
}

static struct cv_str boundary_of(struct cv_mime_parser *p, struct cv_mime_part *part)
{
	struct cv_str boundary = cv_params_raw(&part->params, CV_STR("boundary"));

	if (boundary.ptr == NULL) {
		struct cv_buf decoded;

		cv_buf_init(&decoded, BOUNDARY_MAX);
		if (cv_params_decode(&part->params, CV_STR("boundary"), &decoded) && cv_buf_ok(&decoded))
			boundary = cv_arena_str(p->arena, cv_buf_str(&decoded));
		cv_buf_deinit(&decoded);
	}
	cv_assert(boundary.ptr != NULL || boundary.len == 0);
	/* white space behind a delimiter is padding, so it cannot be a part of it */
	while (boundary.len > 0 && cv_is_space(boundary.ptr[boundary.len - 1]))
		boundary.len--;
	return boundary;
}

static void make_opaque(struct cv_mime_part *part)
{
	part->kind = CV_MIME_LEAF;
	part->flags |= CV_MIME_OPAQUE;
	part->type = CV_STR("application");
	part->subtype = CV_STR("octet-stream");
	part->params = (struct cv_params){ 0 };
}

static bool may_have_children(const struct cv_mime_parser *p, const struct cv_mime_part *part)
{
	return part->depth < p->limits.depth && p->part_count < p->limits.parts;
}

static void start_body(struct cv_mime_parser *p, struct node *node)
{
	struct cv_mime_part *part = &node->part;
	bool multipart = cv_mime_part_is(part, "multipart", NULL);
	bool message = cv_mime_part_is(part, "message", "rfc822") || cv_mime_part_is(part, "message", "global");

	p->state = PARSER_BODY;
	if ((multipart || message) && !may_have_children(p, part)) {
		make_opaque(part);
	} else if (message) {
		part->kind = CV_MIME_MESSAGE;
		start_part(p, node);
	} else if (multipart) {
		struct cv_str boundary = boundary_of(p, part);

		part->kind = CV_MIME_MULTIPART;
		if (boundary.len == 0 || boundary.len > BOUNDARY_MAX) {
			begin_preview(p, node);
			return;
		}
		p->open[p->open_count].node = node;
		p->open[p->open_count++].boundary = boundary;
	} else {
		begin_preview(p, node);
	}
}

/* end: behind the empty line, or before the line end that belongs to a delimiter. */
static void end_header(struct cv_mime_parser *p, struct mark end, bool at_empty_line)
{
	struct node *node = p->current;
	struct cv_mime_part *part = &node->part;
	struct cv_str header = cv_buf_str(&p->header);

	if (end.pos < node->header.pos)
		end = node->header;
	node->body = end;
	part->header_offset = node->header.pos;
	part->header_size = end.pos - node->header.pos;
	part->header_wire_size = part->header_size + (end.bare_lf - node->header.bare_lf);
	part->header_lines = (uint32_t)CV_MIN(end.lf - node->header.lf, (uint64_t)UINT32_MAX);
	part->body_offset = end.pos;
	if (!at_empty_line)
		part->flags |= CV_MIME_NO_HEADER_END;
	if (p->header_cut)
		part->flags |= CV_MIME_HEADER_CUT;
	cv_mime_header_apply(p->arena, &p->limits, header, part, part->envelope, &p->addresses_left);
	if (node->parent == NULL) {
		struct cv_header_field date;

		p->message->header = cv_arena_str(p->arena, header);
		p->message->date_valid = cv_header_find(header, CV_STR("date"), 0, &date) &&
			cv_date_parse(cv_str_sub(date.value, 0, 1000), &p->message->date);
	}
	start_body(p, node);
}

/* A multipart without a part in it shows its whole body as text, so that nothing of the message is out of reach. */
static void make_up_child(struct cv_mime_parser *p, struct node *node)
{
	struct cv_mime_part *part = &node->part, *child;

	if (p->part_count >= p->limits.parts) {
		make_opaque(part);
		return;
	}
	child = cv_new(p->arena, struct cv_mime_part, 1);
	child->parent = part;
	child->depth = part->depth + 1;
	child->type = CV_STR("text");
	child->subtype = CV_STR("plain");
	child->flags = CV_MIME_DEFAULT_TYPE | (part->flags & (CV_MIME_BODY_NUL | CV_MIME_BODY_8BIT));
	child->header_offset = child->body_offset = part->body_offset;
	child->body_size = part->body_size;
	child->body_wire_size = part->body_wire_size;
	child->body_lines = part->body_lines;
	part->children = child;
	part->child_count = 1;
	part->flags |= CV_MIME_NO_BOUNDARY;
	p->part_count++;
}

/* Returns where the part ends, for its parent. */
static struct mark end_part(struct cv_mime_parser *p, struct node *node, struct mark end)
{
	struct cv_mime_part *part = &node->part;

	/* the line end before a delimiter may be the empty line behind a header: it stays the header's too, the body is empty */
	if (end.pos < node->body.pos)
		end = node->body;
	part->body_size = end.pos - node->body.pos;
	part->body_wire_size = part->body_size + (end.bare_lf - node->body.bare_lf);
	part->body_lines = (uint32_t)CV_MIN(end.lf - node->body.lf, (uint64_t)UINT32_MAX);
	end_preview(p, node);
	if (part->kind == CV_MIME_MULTIPART) {
		if (p->open_count > 0 && p->open[p->open_count - 1].node == node)
			p->open_count--;
		if (!node->closed)
			part->flags |= CV_MIME_UNTERMINATED;
		else if (end.pos > node->epilogue.pos)
			part->epilogue_size = end.pos - node->epilogue.pos;
		if (part->child_count == 0)
			make_up_child(p, node);
	}
	if (node->parent != NULL) {
		unsigned *flags = &node->parent->part.flags;

		if (part->flags & (CV_MIME_HEADER_NUL | CV_MIME_BODY_NUL))
			*flags |= CV_MIME_BODY_NUL;
		if (part->flags & (CV_MIME_HEADER_8BIT | CV_MIME_BODY_8BIT))
			*flags |= CV_MIME_BODY_8BIT;
	}
	return end;
}

/* End the current part and its ancestors up to, not including, stop. */
static void end_parts(struct cv_mime_parser *p, struct node *stop, struct mark end)
{
	/* an empty nested message may begin while its parent's header ends; its own header is then empty */
	while (p->state == PARSER_HEADER)
		end_header(p, end, false);
	while (p->current != stop) {
		struct node *node = p->current;

		end = end_part(p, node, end);
		p->current = node->parent;
	}
}

/* ---- octets ---- */

static void body_octets(struct cv_mime_parser *p, const char *o, size_t len)
{
	pass_body(p, o, len);
	observe(p, CV_MIME_IN_BODY, o, len);
	if (p->preview_node == p->current)
		cv_preview_feed(&p->preview, cv_str_mem(o, len));
}

/* A piece of one header line, perhaps with its line end. */
static void header_octets(struct cv_mime_parser *p, const char *o, size_t len)
{
	size_t keep = CV_MIN(len, CV_MIN(p->header_left, p->limits.header - p->header.len));
	bool ends = o[len - 1] == '\n', empty;
	size_t text = ends ? len - 1 : len;

	pass_line(p, o, len);
	observe(p, CV_MIME_IN_HEADER, o, len);
	cv_buf_append_mem(&p->header, o, keep);
	p->header_left -= keep;
	if (keep < len)
		p->header_cut = true;
	if (text > 0 && p->line_len == 0)
		p->line_is_cr = o[0] == '\r';
	p->line_len = (uint8_t)CV_MIN(p->line_len + CV_MIN(text, (size_t)2), (size_t)2);
	if (!ends)
		return;
	empty = p->line_len == 0 || (p->line_len == 1 && p->line_is_cr);
	p->line_len = 0;
	if (empty)
		end_header(p, p->now, true);
}

/* Octets of at most one line (in a body: of any number of lines without a delimiter). */
static void ordinary(struct cv_mime_parser *p, const char *o, size_t len)
{
	if (len == 0)
		return;
	if (p->state == PARSER_HEADER)
		header_octets(p, o, len);
	else
		body_octets(p, o, len);
}

/* delimiter := "--" boundary ["--"] transport-padding CRLF. The whole line is compared, as nearly all mail programs do: a
   boundary that begins like another's does not end the other's parts. */
static bool find_delimiter(const struct cv_mime_parser *p, struct cv_str line, size_t *open_r, bool *closing_r)
{
	while (line.len > 0 && cv_is_space(line.ptr[line.len - 1]))
		line.len--;
	if (line.len < 3 || line.ptr[0] != '-' || line.ptr[1] != '-')
		return false;
	line = cv_str_sub(line, 2, SIZE_MAX);
	for (size_t i = p->open_count; i-- > 0;) {
		struct cv_str boundary = p->open[i].boundary;

		if (line.len != boundary.len && line.len != boundary.len + 2)
			continue;
		if (memcmp(line.ptr, boundary.ptr, boundary.len) != 0)
			continue;
		*open_r = i;
		*closing_r = line.len != boundary.len;
		if (!*closing_r || (line.ptr[boundary.len] == '-' && line.ptr[boundary.len + 1] == '-'))
			return true;
	}
	return false;
}

static void delimiter(struct cv_mime_parser *p, const char *o, size_t len, size_t open, bool closing)
{
	struct node *node = p->open[open].node;
	struct mark end = before_line_end(p);

	end_parts(p, node, end);
	if (node->part.child_count == 0 && end.pos > node->body.pos)
		node->part.preamble_size = end.pos - node->body.pos;
	p->state = PARSER_BODY;
	pass_body(p, o, len);
	observe(p, CV_MIME_DELIMITER, o, len);
	if (closing) {
		node->closed = true;
		node->epilogue = p->now;
		p->open_count--;
	} else {
		start_part(p, node);
	}
}

/* A whole line that begins with "-" (the last line of the message may lack its line end). */
static void whole_line(struct cv_mime_parser *p, const char *o, size_t len)
{
	size_t open;
	bool closing;

	if (!find_delimiter(p, cv_str_mem(o, len), &open, &closing)) {
		ordinary(p, o, len);
	} else if (!closing && p->part_count >= p->limits.parts) {
		p->parts_full = true;
		p->message->root->flags |= CV_MIME_PARTS_CUT;
		ordinary(p, o, len);
	} else {
		delimiter(p, o, len, open, closing);
	}
}

/* The start of a line that may be a delimiter. Returns how many octets were taken. */
static size_t candidate(struct cv_mime_parser *p, const char *o, size_t len)
{
	const char *lf = memchr(o, '\n', len);
	size_t line = lf != NULL ? (size_t)(lf - o) + 1 : len;
	size_t kept = p->line_kept;

	if (lf != NULL && kept == 0 && line <= DELIMITER_MAX) {
		whole_line(p, o, line);
		return line;
	}
	if (line > DELIMITER_MAX - kept) {
		/* too long; what was kept is text, and now is not at a line's start any more */
		if (kept == 0)
			return 0;
		p->line_kept = 0;
		ordinary(p, p->line, kept);
		return 0;
	}
	memcpy(p->line + kept, o, line);
	p->line_kept += line;
	if (lf != NULL) {
		kept = p->line_kept;
		p->line_kept = 0;
		whole_line(p, p->line, kept);
	}
	return line;
}

/* Up to the next line that may be a delimiter. "-" is rarer than line ends in nearly all mail. */
static size_t body_run(const struct cv_mime_parser *p, const char *o, size_t len)
{
	size_t pos = 1; /* the first octet is none, or was looked at */

	if (p->open_count == 0 || p->parts_full)
		return len;
	while (pos < len) {
		const char *dash = memchr(o + pos, '-', len - pos);

		if (dash == NULL)
			return len;
		pos = (size_t)(dash - o);
		if (o[pos - 1] == '\n')
			return pos;
		pos++;
	}
	return len;
}

void cv_mime_parser_feed(struct cv_mime_parser *parser, struct cv_str octets)
{
	struct cv_mime_parser *p = parser;
	const char *o = octets.ptr;
	size_t left = octets.len;

	cv_assert(!p->finished);
	while (left > 0) {
		size_t taken = 0;

		if (p->line_kept > 0 ||
			(o[0] == '-' && p->open_count > 0 && !p->parts_full && at_line_start(p)))
			taken = candidate(p, o, left);
		if (taken == 0 && p->line_kept == 0) {
			if (p->state == PARSER_HEADER) {
				const char *lf = memchr(o, '\n', left);

				taken = lf != NULL ? (size_t)(lf - o) + 1 : left;
			} else {
				taken = body_run(p, o, left);
			}
			ordinary(p, o, taken);
		}
		o += taken;
		left -= taken;
	}
}

struct cv_message *cv_mime_parser_finish(struct cv_mime_parser *parser)
{
	struct cv_mime_parser *p = parser;
	struct cv_message *message = p->message;
	size_t kept = p->line_kept;

	cv_assert(!p->finished);
	p->finished = true;
	p->line_kept = 0;
	if (kept > 0)
		whole_line(p, p->line, kept);
	end_parts(p, NULL, p->now);
	message->size = p->now.pos;
	message->wire_size = p->now.pos + p->now.bare_lf;
	message->preview = cv_arena_str(p->arena, cv_preview_text(&p->preview));
	cv_mime_tree_finish(message);
	return message;
}

int cv_message_parse(struct cv_arena *arena, const struct cv_mime_limits *limits,
	struct cv_message_reader *reader, struct cv_message **message_r, struct cv_err *err)
{
	struct cv_mime_parser *p = cv_mime_parser_new(arena, limits);
	uint64_t pos = 0;

	for (;;) {
		struct cv_str view;
		int result = cv_message_reader_get(reader, pos, SIZE_MAX, &view, err);

		if (result < 0)
			return -1;
		if (result == 0)
			break;
		cv_mime_parser_feed(p, view);
		pos += view.len;
	}
	*message_r = cv_mime_parser_finish(p);
	return 1;
}
