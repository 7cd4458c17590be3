/* SPDX-License-Identifier: MIT
   The streaming command parser: one octet at a time, the position kept in struct cv_imap_parser. */
#include <config.h>

#include "imap-parser.h"

#define DEFAULT_LINE ((size_t)64 * 1024)
#define DEFAULT_LITERAL ((size_t)64 * 1024)
#define DEFAULT_DEPTH 100u

enum position {
	AT_TAG = 0,
	AT_VERB,
	AT_ARG,          /* an argument must begin (behind a space or an opening parenthesis) */
	IN_ATOM,
	IN_QUOTED,
	IN_ESCAPE,       /* behind a backslash of a quoted string */
	BEHIND_ARG,      /* behind a closing quote, parenthesis or a literal */
	IN_LITERAL_SIZE,
	IN_LITERAL_PLUS, /* behind "+" of LITERAL+ */
	IN_LITERAL_CR,   /* behind "}" */
	IN_LITERAL_LF,
	LITERAL_DECIDE,
	LITERAL_KEEP,
	LITERAL_STREAM,
	AT_LF,           /* behind the final CR */
	DONE,
	SKIP_LINE,
	SKIP_LITERAL,
	SKIP_DONE
};

/* The end of the line as far as it was read: is it the head of a literal that comes unasked, "{123+}"? Needed where a command is refused in the
   middle: what follows such a line is not a command. */
struct tail {
	enum { NO_HEAD = 0, OPENED, DIGITS, PLUS, CLOSED } state;
	uint64_t size;
};

struct level {
	struct cv_imap_arg *list; /* NULL at the top */
	struct cv_imap_arg *first, *last;
};

struct cv_imap_parser {
	struct cv_imap_limits limits;
	struct cv_arena *arena;
	struct cv_buf token;
	enum position at;
	size_t line_used, literal_used;
	size_t literal_max;   /* of this command */
	size_t token_max;     /* of a command with nothing out of the ordinary */
	uint64_t skipped;
	struct tail tail;
	struct cv_str tag, verb;
	CV_VEC(struct level) levels; /* room for what was needed until now; count is not used */
	unsigned depth;
	bool glued;           /* the argument that begins follows a list without a space */
	bool behind_list;     /* BEHIND_ARG: of a list */
	struct cv_imap_literal literal;
	bool literal_digits;
	bool utf8;            /* quoted strings must be */
	uint64_t literal_left;
};

static void clear(struct cv_imap_parser *parser)
{
	parser->at = AT_TAG;
	parser->line_used = parser->literal_used = 0;
	parser->literal_max = parser->limits.literal;
	parser->token.max = parser->token_max;
	parser->skipped = 0;
	parser->tail = (struct tail){ 0 };
	parser->tag = parser->verb = (struct cv_str){ NULL, 0 };
	parser->depth = 0;
	parser->levels.data[0] = (struct level){ 0 };
	parser->glued = parser->behind_list = false;
	parser->literal = (struct cv_imap_literal){ 0 };
	parser->literal_left = 0;
	cv_buf_clear(&parser->token);
}

struct cv_imap_parser *cv_imap_parser_new(const struct cv_imap_limits *limits)
{
	struct cv_imap_parser *parser = cv_new0(struct cv_imap_parser);
	size_t token_max;

	if (limits != NULL)
		parser->limits = *limits;
	if (parser->limits.line == 0)
		parser->limits.line = DEFAULT_LINE;
	if (parser->limits.literal == 0)
		parser->limits.literal = DEFAULT_LITERAL;
	if (parser->limits.depth == 0)
		parser->limits.depth = DEFAULT_DEPTH;
	parser->arena = cv_arena_new("imap command line", NULL, parser->limits.wipe ? CV_ARENA_WIPE : 0);
	token_max = parser->token_max = CV_MAX(parser->limits.line, parser->limits.literal);
	if (parser->limits.wipe)
		cv_buf_init_wipe(&parser->token, token_max);
	else
		cv_buf_init(&parser->token, token_max);
	cv_vec_reserve(&parser->levels, 1);
	clear(parser);
	return parser;
}

void cv_imap_parser_set_utf8(struct cv_imap_parser *parser)
{
	parser->utf8 = true;
}

void cv_imap_parser_free(struct cv_imap_parser **parser)
{
	if (*parser == NULL)
		return;
	cv_arena_free(&(*parser)->arena);
	cv_buf_deinit(&(*parser)->token);
	cv_vec_free(&(*parser)->levels);
	cv_free(*parser);
	*parser = NULL;
}

void cv_imap_parser_next(struct cv_imap_parser *parser)
{
	/* The buffer may have grown for a long literal; the next command seldom needs that. */
	if (parser->token.cap > 4096 || parser->limits.wipe) {
		size_t max = parser->token_max;
		bool wipe = parser->token.wipe;

		cv_buf_deinit(&parser->token);
		if (wipe)
			cv_buf_init_wipe(&parser->token, max);
		else
			cv_buf_init(&parser->token, max);
	}
	cv_arena_reset(parser->arena);
	clear(parser);
}

bool cv_imap_parser_idle(const struct cv_imap_parser *parser)
{
	return parser->at == AT_TAG && parser->line_used == 0;
}

bool cv_imap_parser_complete(const struct cv_imap_parser *parser)
{
	return parser->at == DONE;
}

struct cv_str cv_imap_parser_tag(const struct cv_imap_parser *parser)
{
	return parser->tag;
}

struct cv_str cv_imap_parser_verb(const struct cv_imap_parser *parser)
{
	return parser->verb;
}

const struct cv_imap_arg *cv_imap_parser_args(const struct cv_imap_parser *parser)
{
	return parser->levels.data[0].first;
}

struct cv_imap_literal cv_imap_parser_literal(const struct cv_imap_parser *parser)
{
	return parser->literal;
}

uint64_t cv_imap_parser_skipped(const struct cv_imap_parser *parser)
{
	return parser->skipped;
}

static struct cv_imap_arg *add_arg(struct cv_imap_parser *parser, enum cv_imap_arg_type type)
{
	struct level *level = &parser->levels.data[parser->depth];
	struct cv_imap_arg *arg = cv_new(parser->arena, struct cv_imap_arg, 1);

	arg->type = type;
	arg->glued = parser->glued;
	parser->glued = false;
	if (level->last != NULL)
		level->last->next = arg;
	else
		level->first = arg;
	level->last = arg;
	if (level->list != NULL)
		level->list->child = level->first;
	return arg;
}

/* A string that is there is never the absent view, also when it is empty. */
static struct cv_str copy_token(struct cv_imap_parser *parser)
{
	return parser->token.len > 0 ? cv_arena_str(parser->arena, cv_buf_str(&parser->token)) : CV_STR("");
}

static void add_token(struct cv_imap_parser *parser, enum cv_imap_arg_type type)
{
	struct cv_imap_arg *arg = add_arg(parser, type);

	arg->str = copy_token(parser);
	cv_buf_clear(&parser->token);
}

static void behind_arg(struct cv_imap_parser *parser, bool list)
{
	parser->at = BEHIND_ARG;
	parser->behind_list = list;
}

/* A size beyond 64 bits stays the largest: no limit allows it. */
static void add_digit(uint64_t *n, char c)
{
	uint64_t digit = (uint64_t)(c - '0');

	*n = *n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *n * 10 + digit;
}

static void follow_tail(struct tail *tail, char c)
{
	switch (tail->state) {
	case OPENED:
	case DIGITS:
		if (cv_is_digit(c)) {
			add_digit(&tail->size, c);
			tail->state = DIGITS;
			return;
		}
		if (c == '+' && tail->state == DIGITS) {
			tail->state = PLUS;
			return;
		}
		break;
	case PLUS:
		if (c == '}') {
			tail->state = CLOSED;
			return;
		}
		break;
	case CLOSED:
		if (c == '\r')
			return;
		break;
	case NO_HEAD:
		break;
	}
	tail->state = c == '{' ? OPENED : NO_HEAD;
	tail->size = 0;
}

void cv_imap_parser_skip(struct cv_imap_parser *parser)
{
	switch (parser->at) {
	case LITERAL_DECIDE:
		parser->literal_left = parser->literal.size;
		parser->at = parser->literal.sync ? SKIP_DONE : SKIP_LITERAL;
		break;
	case LITERAL_KEEP:
	case LITERAL_STREAM:
		parser->at = SKIP_LITERAL;
		break;
	case DONE:
		parser->at = SKIP_DONE;
		break;
	case SKIP_LINE:
	case SKIP_LITERAL:
	case SKIP_DONE:
		break;
	case AT_TAG:
	case AT_VERB:
	case AT_ARG:
	case IN_ATOM:
	case IN_QUOTED:
	case IN_ESCAPE:
	case BEHIND_ARG:
	case IN_LITERAL_SIZE:
	case IN_LITERAL_PLUS:
	case IN_LITERAL_CR:
	case IN_LITERAL_LF:
	case AT_LF:
		parser->at = SKIP_LINE;
		break;
	}
	if (parser->at == SKIP_LITERAL && parser->literal_left == 0) {
		parser->tail = (struct tail){ 0 };
		parser->at = SKIP_LINE;
	}
}

static enum cv_imap_parsed bad(struct cv_imap_parser *parser, struct cv_err *err, enum cv_err_code code, const char *text)
{
	cv_err_set_public(err, code, "%s", text);
	cv_imap_parser_skip(parser);
	return CV_IMAP_BAD;
}

static void finish_literal(struct cv_imap_parser *parser, enum cv_imap_arg_type type)
{
	add_token(parser, type);
	parser->tail = (struct tail){ 0 };
	behind_arg(parser, false);
}

static enum cv_imap_arg_type kept_type(const struct cv_imap_parser *parser)
{
	return parser->literal.binary ? CV_IMAP_ARG_LITERAL8 : CV_IMAP_ARG_LITERAL;
}

void cv_imap_parser_allow(struct cv_imap_parser *parser, size_t octets)
{
	parser->literal_max = CV_MAX(parser->literal_max, octets);
	parser->token.max = CV_MAX(parser->token.max, octets);
}

int cv_imap_parser_keep(struct cv_imap_parser *parser, struct cv_err *err)
{
	cv_assert(parser->at == LITERAL_DECIDE);
	if (parser->literal.size > parser->literal_max - parser->literal_used) {
		cv_imap_parser_skip(parser);
		return cv_err_set_public(err, CV_ERR_LIMIT, "Literal is too long");
	}
	parser->literal_used += (size_t)parser->literal.size;
	parser->literal_left = parser->literal.size;
	parser->at = LITERAL_KEEP;
	if (parser->literal_left == 0)
		finish_literal(parser, kept_type(parser));
	return 1;
}

void cv_imap_parser_begin_stream(struct cv_imap_parser *parser)
{
	cv_assert(parser->at == LITERAL_DECIDE);
	parser->literal_left = parser->literal.size;
	parser->at = LITERAL_STREAM;
	if (parser->literal_left == 0)
		finish_literal(parser, CV_IMAP_ARG_STREAMED);
}

bool cv_imap_parser_stream(struct cv_imap_parser *parser, struct cv_str input, size_t *used_r, struct cv_str *chunk_r)
{
	size_t len;

	*used_r = 0;
	*chunk_r = (struct cv_str){ NULL, 0 };
	if (parser->at != LITERAL_STREAM)
		return false;
	len = (size_t)CV_MIN((uint64_t)input.len, parser->literal_left);
	*chunk_r = cv_str_sub(input, 0, len);
	*used_r = len;
	parser->literal_left -= len;
	if (parser->literal_left > 0)
		return true;
	finish_literal(parser, CV_IMAP_ARG_STREAMED);
	return false;
}

static enum cv_imap_parsed feed_keep(struct cv_imap_parser *parser, struct cv_str input, size_t *used_r, struct cv_err *err)
{
	size_t len = (size_t)CV_MIN((uint64_t)input.len, parser->literal_left);
	struct cv_str part = cv_str_sub(input, 0, len);

	if (!parser->literal.binary && cv_str_has_nul(part)) /* CHAR8 is any octet except NUL */
		return bad(parser, err, CV_ERR_INVALID, "NUL in literal");
	cv_buf_append(&parser->token, part);
	parser->literal_left -= len;
	*used_r += len;
	if (parser->literal_left == 0)
		finish_literal(parser, kept_type(parser));
	return CV_IMAP_MORE;
}

static void feed_skip_literal(struct cv_imap_parser *parser, struct cv_str input, size_t *used_r)
{
	size_t len = (size_t)CV_MIN((uint64_t)input.len, parser->literal_left);

	parser->literal_left -= len;
	parser->skipped += len;
	*used_r += len;
	if (parser->literal_left == 0) {
		parser->tail = (struct tail){ 0 };
		parser->at = SKIP_LINE;
	}
}

static void skip_octet(struct cv_imap_parser *parser, char c)
{
	parser->skipped++;
	if (c != '\n') {
		follow_tail(&parser->tail, c);
		return;
	}
	if (parser->tail.state == CLOSED) {
		parser->literal_left = parser->tail.size;
		parser->tail = (struct tail){ 0 };
		parser->at = parser->literal_left > 0 ? SKIP_LITERAL : SKIP_LINE;
	} else {
		parser->at = SKIP_DONE;
	}
}

static const char *open_list(struct cv_imap_parser *parser)
{
	struct cv_imap_arg *list;

	if (parser->depth == parser->limits.depth)
		return "Too many nested parentheses";
	list = add_arg(parser, CV_IMAP_ARG_LIST);
	parser->depth++;
	cv_vec_reserve(&parser->levels, (size_t)parser->depth + 1);
	parser->levels.data[parser->depth] = (struct level){ .list = list };
	parser->at = AT_ARG;
	return NULL;
}

static const char *close_list(struct cv_imap_parser *parser)
{
	if (parser->depth == 0)
		return "Unexpected )";
	parser->depth--;
	behind_arg(parser, true);
	return NULL;
}

/* The line ends here: CR or LF. */
static const char *end_line(struct cv_imap_parser *parser, char c)
{
	if (parser->depth > 0)
		return "Missing )";
	parser->at = c == '\r' ? AT_LF : DONE;
	return NULL;
}

/* What may follow a complete argument: SP, ")", the line's end, or text right behind a list. */
static const char *behind_octet(struct cv_imap_parser *parser, char c)
{
	if (c == ' ') {
		parser->at = AT_ARG;
		return NULL;
	}
	if (c == ')')
		return close_list(parser);
	if (c == '\r' || c == '\n')
		return end_line(parser, c);
	if (parser->behind_list && c == ']') {
		parser->glued = true;
		cv_buf_append_char(&parser->token, c);
		parser->at = IN_ATOM;
		return NULL;
	}
	return "Missing space between arguments";
}

static bool list_is_empty(const struct cv_imap_parser *parser)
{
	return parser->depth > 0 && parser->levels.data[parser->depth].first == NULL;
}

static void open_literal(struct cv_imap_parser *parser, bool binary)
{
	parser->literal = (struct cv_imap_literal){ .in_list = parser->depth > 0, .binary = binary };
	parser->literal_digits = false;
	parser->at = IN_LITERAL_SIZE;
}

static const char *arg_octet(struct cv_imap_parser *parser, char c)
{
	switch (c) {
	case '(':
		return open_list(parser);
	case ')':
		return list_is_empty(parser) ? close_list(parser) : "Unexpected )";
	case '"':
		parser->at = IN_QUOTED;
		return NULL;
	case '{':
		open_literal(parser, false);
		return NULL;
	case '\r':
	case '\n':
		/* A space at the end of the line is no argument; people and scripts leave one there. */
		return parser->depth > 0 ? "Missing )" : end_line(parser, c);
	case ' ':
		return "More than one space between arguments";
	default:
		cv_buf_append_char(&parser->token, c);
		parser->at = IN_ATOM;
		return NULL;
	}
}

static const char *atom_octet(struct cv_imap_parser *parser, char c)
{
	if (c == ' ' || c == ')' || c == '\r' || c == '\n') {
		add_token(parser, CV_IMAP_ARG_ATOM);
		parser->behind_list = false;
		return behind_octet(parser, c);
	}
	if (c == '{' && cv_str_eq_c(cv_buf_str(&parser->token), "~")) { /* literal8 = "~{" number ["+"] "}" CRLF *OCTET */
		cv_buf_clear(&parser->token);
		open_literal(parser, true);
		return NULL;
	}
	if (c == '(' || c == '{' || c == '"')
		return "Missing space between arguments";
	cv_buf_append_char(&parser->token, c);
	return NULL;
}

static const char *quoted_octet(struct cv_imap_parser *parser, char c)
{
	if (c == '"') {
		if (parser->utf8 && !cv_str_is_utf8(cv_buf_str(&parser->token)))
			return "Invalid UTF-8 in a quoted string";
		add_token(parser, CV_IMAP_ARG_QUOTED);
		behind_arg(parser, false);
	} else if (c == '\\') {
		parser->at = IN_ESCAPE;
	} else if (c == '\r' || c == '\n') {
		return "Missing \" at the end of a quoted string";
	} else {
		cv_buf_append_char(&parser->token, c);
	}
	return NULL;
}

static const char *escape_octet(struct cv_imap_parser *parser, char c)
{
	if (c != '"' && c != '\\')
		return "Only \" and \\ may follow \\ in a quoted string";
	cv_buf_append_char(&parser->token, c);
	parser->at = IN_QUOTED;
	return NULL;
}

/* literal = "{" number ["+"] "}" CRLF *CHAR8 (RFC 3501, RFC 7888) */
static const char *literal_size_octet(struct cv_imap_parser *parser, char c)
{
	if (cv_is_digit(c)) {
		add_digit(&parser->literal.size, c);
		parser->literal_digits = true;
		return NULL;
	}
	if (!parser->literal_digits || (c != '+' && c != '}'))
		return "Invalid literal size";
	parser->literal.sync = c == '}';
	parser->at = c == '}' ? IN_LITERAL_CR : IN_LITERAL_PLUS;
	return NULL;
}

static const char *tag_octet(struct cv_imap_parser *parser, char c)
{
	if (c == ' ' && parser->token.len > 0) {
		parser->tag = cv_arena_str(parser->arena, cv_buf_str(&parser->token));
		cv_buf_clear(&parser->token);
		parser->at = AT_VERB;
		return NULL;
	}
	if (c == '\r' || c == '\n') {
		if (parser->token.len == 0)
			return "Empty command line";
		/* It is one all the same: the reply can carry it. */
		parser->tag = cv_arena_str(parser->arena, cv_buf_str(&parser->token));
		return "Missing command";
	}
	/* tag = 1*<any ASTRING-CHAR except "+">, which is ASCII: replies carry it. */
	if (c == '+' || (uint8_t)c >= 0x80 || !cv_imap_is_char(c, CV_IMAP_ASTRING_CHAR))
		return "Invalid tag";
	cv_buf_append_char(&parser->token, c);
	return NULL;
}

static const char *verb_octet(struct cv_imap_parser *parser, char c)
{
	if (c == ' ' || c == '\r' || c == '\n') {
		if (parser->token.len == 0)
			return c == ' ' ? "More than one space behind the tag" : "Missing command";
		parser->verb = cv_arena_str(parser->arena, cv_buf_str(&parser->token));
		cv_buf_clear(&parser->token);
		if (c != ' ')
			return end_line(parser, c);
		parser->at = AT_ARG;
		return NULL;
	}
	if (!cv_imap_is_char(c, CV_IMAP_ATOM_CHAR))
		return "Invalid command";
	cv_buf_append_char(&parser->token, c);
	return NULL;
}

/* One octet of the line. NULL, or why it is wrong: then it is not consumed. */
static const char *line_octet(struct cv_imap_parser *parser, char c)
{
	if (c == '\0')
		return "NUL in command";
	if (((unsigned char)c < 0x20 || c == 0x7f) && c != '\r' && c != '\n' && parser->at != IN_QUOTED)
		return "Control character in command";
	switch (parser->at) {
	case AT_TAG:
		return tag_octet(parser, c);
	case AT_VERB:
		return verb_octet(parser, c);
	case AT_ARG:
		return arg_octet(parser, c);
	case IN_ATOM:
		return atom_octet(parser, c);
	case IN_QUOTED:
		return quoted_octet(parser, c);
	case IN_ESCAPE:
		return escape_octet(parser, c);
	case BEHIND_ARG:
		return behind_octet(parser, c);
	case IN_LITERAL_SIZE:
		return literal_size_octet(parser, c);
	case IN_LITERAL_PLUS:
		if (c != '}')
			return "Invalid literal size";
		parser->at = IN_LITERAL_CR;
		return NULL;
	case IN_LITERAL_CR:
		if (c != '\r' && c != '\n')
			return "Missing line end behind a literal's size";
		parser->at = c == '\r' ? IN_LITERAL_LF : LITERAL_DECIDE;
		return NULL;
	case IN_LITERAL_LF:
		if (c != '\n')
			return "CR without LF";
		parser->at = LITERAL_DECIDE;
		return NULL;
	case AT_LF:
		if (c != '\n')
			return "CR without LF";
		parser->at = DONE;
		return NULL;
	case LITERAL_DECIDE:
	case LITERAL_KEEP:
	case LITERAL_STREAM:
	case DONE:
	case SKIP_LINE:
	case SKIP_LITERAL:
	case SKIP_DONE:
		break;
	}
	return NULL;
}

/* One octet of the line with the bookkeeping around it. */
static enum cv_imap_parsed feed_line(struct cv_imap_parser *parser, char c, size_t *used_r, struct cv_err *err)
{
	struct tail before = parser->tail;
	const char *why;

	if (parser->line_used == parser->limits.line)
		return bad(parser, err, CV_ERR_LIMIT, "Command line is too long");
	if (c != '\n')
		follow_tail(&parser->tail, c);
	why = line_octet(parser, c);
	if (why != NULL) {
		parser->tail = before; /* skipping reads this octet again */
		return bad(parser, err, CV_ERR_INVALID, why);
	}
	parser->line_used++;
	(*used_r)++;
	return CV_IMAP_MORE;
}

enum cv_imap_parsed cv_imap_parser_feed(struct cv_imap_parser *parser, struct cv_str input, size_t *used_r, struct cv_err *err)
{
	*used_r = 0;
	for (;;) {
		struct cv_str rest = cv_str_sub(input, *used_r, SIZE_MAX);
		enum cv_imap_parsed result = CV_IMAP_MORE;

		switch (parser->at) {
		case DONE:
			return CV_IMAP_COMMAND;
		case LITERAL_DECIDE:
			return CV_IMAP_LITERAL_DUE;
		case LITERAL_STREAM:
			return CV_IMAP_STREAMING;
		case SKIP_DONE:
			return CV_IMAP_SKIPPED;
		case LITERAL_KEEP:
			if (rest.len == 0)
				return CV_IMAP_MORE;
			result = feed_keep(parser, rest, used_r, err);
			break;
		case SKIP_LITERAL:
			if (rest.len == 0)
				return CV_IMAP_MORE;
			feed_skip_literal(parser, rest, used_r);
			break;
		case SKIP_LINE:
			if (rest.len == 0)
				return CV_IMAP_MORE;
			skip_octet(parser, rest.ptr[0]);
			(*used_r)++;
			break;
		case AT_TAG:
		case AT_VERB:
		case AT_ARG:
		case IN_ATOM:
		case IN_QUOTED:
		case IN_ESCAPE:
		case BEHIND_ARG:
		case IN_LITERAL_SIZE:
		case IN_LITERAL_PLUS:
		case IN_LITERAL_CR:
		case IN_LITERAL_LF:
		case AT_LF:
			if (rest.len == 0)
				return CV_IMAP_MORE;
			result = feed_line(parser, rest.ptr[0], used_r, err);
			break;
		}
		if (result != CV_IMAP_MORE)
			return result;
	}
}

struct cv_imap_arg *cv_imap_args_copy(struct cv_arena *arena, const struct cv_imap_arg *arg, bool only)
{
	struct cv_imap_arg *first = NULL, **last = &first;

	for (; arg != NULL; arg = only ? NULL : arg->next) {
		*last = cv_new(arena, struct cv_imap_arg, 1);
		(*last)->type = arg->type;
		(*last)->glued = arg->glued;
		(*last)->str = cv_arena_str(arena, arg->str);
		(*last)->child = cv_imap_args_copy(arena, arg->child, false);
		last = &(*last)->next;
	}
	return first;
}

/* ---- Text from elsewhere ------------------------------------------------------------------------------ */

static void free_parser(void *ctx)
{
	struct cv_imap_parser *parser = ctx;

	cv_imap_parser_free(&parser);
}

/* 1 when the command ends with the last octet of s, 0 when all of s is read and more is needed. */
static int feed_piece(struct cv_imap_parser *parser, struct cv_str s, struct cv_err *err)
{
	while (s.len > 0) {
		size_t used;
		enum cv_imap_parsed parsed = cv_imap_parser_feed(parser, s, &used, err);

		s = cv_str_sub(s, used, SIZE_MAX);
		switch (parsed) {
		case CV_IMAP_MORE:
			break;
		case CV_IMAP_LITERAL_DUE:
			if (cv_imap_parser_keep(parser, err) < 0)
				return -1;
			break;
		case CV_IMAP_COMMAND:
			if (s.len == 0)
				return 1;
			return cv_err_set_public(err, CV_ERR_INVALID, "Text goes on behind the end of its line");
		case CV_IMAP_BAD:
			return -1;
		case CV_IMAP_STREAMING:
		case CV_IMAP_SKIPPED:
			return cv_err_set(err, CV_ERR_INTERNAL, "parser of text is in a state that it can't be in");
		}
	}
	return 0;
}

int cv_imap_args_parse(struct cv_arena *arena, struct cv_str text, const struct cv_imap_arg **args_r, struct cv_err *err)
{
	const struct cv_imap_limits limits = { .line = text.len + 16, .literal = text.len + 1 };
	struct cv_imap_parser *parser = cv_imap_parser_new(&limits);
	int ret;

	cv_arena_cleanup(arena, free_parser, parser);
	ret = feed_piece(parser, CV_STR("x X "), err);
	if (ret == 0)
		ret = feed_piece(parser, text, err);
	if (ret > 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "Text has more than one line");
	if (ret < 0 || feed_piece(parser, CV_STR("\r\n"), err) < 0)
		return -1;
	if (!cv_imap_parser_complete(parser))
		return cv_err_set_public(err, CV_ERR_INVALID, "Text ends in the middle");
	*args_r = cv_imap_parser_args(parser);
	return 1;
}
