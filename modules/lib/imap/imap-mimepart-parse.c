/* SPDX-License-Identifier: MIT
   SEARCH MIMEPART: the keys to their tree. */
#include <config.h>

#include "imap-mimepart.h"

#include "imap-date.h"
#include "imap-search.h"

#define DEPTH_MAX 100u /* NOT, OR, CHILD, PARENT and parentheses within each other */
/* In all MIMEPARTs of a program: each is compared with each part, and below CHILD with each part once for each of those that it is in. */
#define KEYS_MAX 100u

struct parse {
	struct cv_arena *arena;
	struct cv_str charset;
	struct cv_imap_mimepart *mimepart;
	unsigned depth;
	size_t *keys;
	struct cv_err *err;
};

struct key_word {
	const char *name;
	enum cv_imap_mimepart_kind kind;
	size_t offset;
	int number; /* a constant of the key */
	int (*parse)(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key);
};

static int parse_key(struct parse *parse, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key **key_r);

static int invalid(struct parse *parse, const char *what)
{
	return cv_err_set_public(parse->err, CV_ERR_INVALID, "%s", what);
}

/* astring, in UTF-8 */
static int take_text(struct parse *parse, const struct cv_imap_arg **arg, struct cv_str *text_r)
{
	struct cv_str s;

	if (!cv_imap_arg_astring(*arg, &s))
		return invalid(parse, "Missing or invalid string in search");
	if (s.len > CV_SEARCH_NEEDLE_MAX)
		return cv_err_set_public(parse->err, CV_ERR_LIMIT, "a search text is longer than %d octets", CV_SEARCH_NEEDLE_MAX);
	*arg = (*arg)->next;
	cv_imap_search_text(parse->arena, parse->charset, s, text_r);
	return 0;
}

static int text_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	key->offset = word->offset;
	return take_text(parse, arg, &key->text);
}

/* The same, in the form in which texts are compared. */
static int mapped_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	struct cv_buf mapped;

	if (text_argument(parse, word, arg, key) < 0)
		return -1;
	cv_buf_init(&mapped, SIZE_MAX / 2);
	cv_casemap(&mapped, key->text);
	key->text = cv_arena_str(parse->arena, cv_buf_str(&mapped));
	cv_buf_deinit(&mapped);
	return 0;
}

static int name_and_text(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	if (!cv_imap_arg_astring(*arg, &key->name))
		return invalid(parse, "Missing or invalid field name in search");
	*arg = (*arg)->next;
	return mapped_argument(parse, word, arg, key);
}

static int take_number(struct parse *parse, const struct cv_imap_arg **arg, uint64_t *number_r)
{
	struct cv_str s;

	if (!cv_imap_arg_atom(*arg, &s) || !cv_str_to_u64(s, INT64_MAX, number_r))
		return invalid(parse, "Missing or invalid number in search");
	*arg = (*arg)->next;
	return 0;
}

/* ["LARGER" / "SMALLER"] SP number, ["MIN" / "MAX"] SP number, number */
static int number_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	const char *more = word->kind == CV_IMAP_MIMEPART_SIZE ? "LARGER" : "MIN", *less = word->kind == CV_IMAP_MIMEPART_SIZE ? "SMALLER" : "MAX";

	key->inclusive = word->kind == CV_IMAP_MIMEPART_DEPTH;
	if (word->kind != CV_IMAP_MIMEPART_INDEX && (cv_imap_arg_is(*arg, more) || cv_imap_arg_is(*arg, less))) {
		key->compare = cv_imap_arg_is(*arg, more) ? CV_IMAP_MIMEPART_MORE : CV_IMAP_MIMEPART_LESS;
		*arg = (*arg)->next;
	}
	return take_number(parse, arg, &key->number);
}

static int date_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	struct cv_str s;

	if (!cv_imap_arg_astring(*arg, &s) || !cv_imap_date_parse(s, &key->day))
		return invalid(parse, "Missing or invalid date in search");
	*arg = (*arg)->next;
	key->compare = (enum cv_imap_mimepart_compare)word->number;
	key->inclusive = key->compare == CV_IMAP_MIMEPART_MORE;
	return 0;
}

/* "DISPOSITION" SP ("TYPE" SP astring / "PARAM" SP astring SP astring) */
static int disposition_arguments(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_imap_mimepart_key *key)
{
	if (cv_imap_arg_is(*arg, "TYPE")) {
		*arg = (*arg)->next;
		return text_argument(parse, word, arg, key);
	}
	if (!cv_imap_arg_is(*arg, "PARAM"))
		return invalid(parse, "Unknown search key");
	*arg = (*arg)->next;
	key->kind = CV_IMAP_MIMEPART_DISPOSITION_PARAM;
	return name_and_text(parse, word, arg, key);
}

/* "FILENAME" SP ("IS" / "CONTAINS" / "BEGINS" / "ENDS") SP astring */
static int filename_arguments(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_imap_mimepart_key *key)
{
	static const char *const hows[] = { "IS", "CONTAINS", "BEGINS", "ENDS" };

	for (size_t i = 0; i < CV_COUNT_OF(hows); i++) {
		if (!cv_imap_arg_is(*arg, hows[i]))
			continue;
		key->how = (enum cv_imap_mimepart_how)(i + 1);
		*arg = (*arg)->next;
		return mapped_argument(parse, word, arg, key);
	}
	return invalid(parse, "Unknown search key");
}

/* What needs the octets goes to the one search that looks into each part. */
static int octets_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	struct cv_imap_mimepart *m = parse->mimepart;
	int ret;

	if (word->kind == CV_IMAP_MIMEPART_HEADER) {
		if (!cv_imap_arg_astring(*arg, &key->name))
			return invalid(parse, "Missing or invalid field name in search");
		*arg = (*arg)->next;
	}
	if (take_text(parse, arg, &key->text) < 0)
		return -1;
	if (m->search == NULL) {
		m->search = cv_search_new();
		m->octet_keys = cv_new(parse->arena, struct cv_imap_mimepart_key *, KEYS_MAX);
	}
	m->octet_keys[m->octet_count++] = key;
	if (word->kind == CV_IMAP_MIMEPART_HEADER)
		return cv_search_add(m->search, CV_SEARCH_HEADER, key->name, key->text, &key->index[0], parse->err) < 0 ? -1 : 0;
	ret = cv_search_add(m->search, CV_SEARCH_TEXT, key->name, key->text, &key->index[0], parse->err);
	if (ret >= 0)
		ret = cv_search_add(m->search, CV_SEARCH_BODY, key->name, key->text, &key->index[1], parse->err);
	return ret < 0 ? -1 : 0;
}

static int not_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	(void)word;
	key->negated = true;
	return parse_key(parse, arg, &key->child);
}

static int or_arguments(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	(void)word;
	if (parse_key(parse, arg, &key->child) < 0)
		return -1;
	return parse_key(parse, arg, &key->child->next);
}

/* ("CHILD" / "PARENT") SP (mpart-key / "EXISTS") */
static int relation_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key *key)
{
	(void)word;
	if (!cv_imap_arg_is(*arg, "EXISTS"))
		return parse_key(parse, arg, &key->child);
	*arg = (*arg)->next;
	return 0;
}

#define PART(member) CV_IMAP_MIMEPART_PART, offsetof(struct cv_mime_part, member), 0, text_argument
#define FIELD(member) CV_IMAP_MIMEPART_FIELD, offsetof(struct cv_envelope, member), 0, mapped_argument
#define ADDRESS(member) CV_IMAP_MIMEPART_ADDRESS, offsetof(struct cv_envelope, member), 0, mapped_argument
static const struct key_word words[] = {
	{ "BCC", ADDRESS(bcc) },
	{ "BODY", CV_IMAP_MIMEPART_BODY, 0, 0, octets_argument },
	{ "CC", ADDRESS(cc) },
	{ "CHILD", CV_IMAP_MIMEPART_CHILD, 0, 0, relation_argument },
	{ "DEPTH", CV_IMAP_MIMEPART_DEPTH, 0, 0, number_argument },
	{ "DESCRIPTION", CV_IMAP_MIMEPART_DESCRIPTION, 0, 0, mapped_argument },
	{ "DISPOSITION", CV_IMAP_MIMEPART_PART, offsetof(struct cv_mime_part, disposition), 0, disposition_arguments },
	{ "ENCODING", PART(encoding_name) },
	{ "FILENAME", CV_IMAP_MIMEPART_FILENAME, 0, 0, filename_arguments },
	{ "FROM", ADDRESS(from) },
	{ "HEADER", CV_IMAP_MIMEPART_HEADER, 0, 0, octets_argument },
	{ "ID", PART(id) },
	{ "IN-REPLY-TO", FIELD(in_reply_to) },
	{ "INDEX", CV_IMAP_MIMEPART_INDEX, 0, 0, number_argument },
	{ "LANGUAGE", CV_IMAP_MIMEPART_LANGUAGE, 0, 0, text_argument },
	{ "LOCATION", PART(location) },
	{ "MD5", CV_IMAP_MIMEPART_MD5, 0, 0, text_argument },
	{ "MESSAGE-ID", FIELD(message_id) },
	{ "NOT", CV_IMAP_MIMEPART_AND, 0, 0, not_argument },
	{ "OR", CV_IMAP_MIMEPART_OR, 0, 0, or_arguments },
	{ "PARAM", CV_IMAP_MIMEPART_PARAM, 0, 0, name_and_text },
	{ "PARENT", CV_IMAP_MIMEPART_PARENT, 0, 0, relation_argument },
	{ "REPLY-TO", ADDRESS(reply_to) },
	{ "SENDER", ADDRESS(sender) },
	{ "SENTBEFORE", CV_IMAP_MIMEPART_SENT, 0, CV_IMAP_MIMEPART_LESS, date_argument },
	{ "SENTON", CV_IMAP_MIMEPART_SENT, 0, CV_IMAP_MIMEPART_EQUAL, date_argument },
	{ "SENTSINCE", CV_IMAP_MIMEPART_SENT, 0, CV_IMAP_MIMEPART_MORE, date_argument },
	{ "SIZE", CV_IMAP_MIMEPART_SIZE, 0, 0, number_argument },
	{ "SUBJECT", FIELD(subject) },
	{ "SUBTYPE", PART(subtype) },
	{ "TEXT", CV_IMAP_MIMEPART_TEXT, 0, 0, octets_argument },
	{ "TO", ADDRESS(to) },
	{ "TYPE", PART(type) },
};

static struct cv_imap_mimepart_key *new_key(struct parse *parse, enum cv_imap_mimepart_kind kind)
{
	struct cv_imap_mimepart_key *key = cv_new(parse->arena, struct cv_imap_mimepart_key, 1);

	key->kind = kind;
	return key;
}

static int parse_list(struct parse *parse, const struct cv_imap_arg *arg, struct cv_imap_mimepart_key **and_r)
{
	struct cv_imap_mimepart_key *and = new_key(parse, CV_IMAP_MIMEPART_AND), **last = &and->child;

	if (arg == NULL)
		return invalid(parse, "Search keys are missing");
	while (arg != NULL) {
		if (parse_key(parse, &arg, last) < 0)
			return -1;
		last = &(*last)->next;
	}
	*and_r = and;
	return 0;
}

static int parse_word(struct parse *parse, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key **key_r)
{
	for (size_t i = 0; i < CV_COUNT_OF(words); i++) {
		if (!cv_imap_arg_is(*arg, words[i].name))
			continue;
		*key_r = new_key(parse, words[i].kind);
		*arg = (*arg)->next;
		return words[i].parse(parse, &words[i], arg, *key_r);
	}
	return invalid(parse, "Unknown search key");
}

static int parse_key(struct parse *parse, const struct cv_imap_arg **arg, struct cv_imap_mimepart_key **key_r)
{
	const struct cv_imap_arg *inner;
	int result;

	if (*arg == NULL)
		return invalid(parse, "Search key is missing");
	if (++*parse->keys > KEYS_MAX)
		return cv_err_set_public(parse->err, CV_ERR_LIMIT, "More than %u search keys", KEYS_MAX);
	if (parse->depth == DEPTH_MAX)
		return cv_err_set_public(parse->err, CV_ERR_LIMIT, "Search keys are nested too deeply");
	parse->depth++;
	if (cv_imap_arg_list(*arg, &inner)) {
		*arg = (*arg)->next;
		result = parse_list(parse, inner, key_r);
	} else if ((*arg)->type != CV_IMAP_ARG_ATOM || (*arg)->glued) {
		result = invalid(parse, "Search keys must be atoms");
	} else {
		result = parse_word(parse, arg, key_r);
	}
	parse->depth--;
	return result;
}

static void free_mimepart(void *ctx)
{
	struct cv_imap_mimepart *m = ctx;

	cv_search_free(&m->search);
	cv_buf_deinit(&m->raw);
	cv_buf_deinit(&m->mapped);
}

int cv_imap_mimepart_parse(struct cv_arena *arena, struct cv_str charset, const struct cv_imap_arg **arg, size_t *keys,
	struct cv_mailsearch_key *key, struct cv_err *err)
{
	struct cv_imap_mimepart *m = cv_new(arena, struct cv_imap_mimepart, 1);
	struct parse parse = { .arena = arena, .charset = charset, .mimepart = m, .keys = keys, .err = err };

	cv_buf_init(&m->raw, SIZE_MAX / 2);
	cv_buf_init(&m->mapped, SIZE_MAX / 2);
	cv_arena_cleanup(arena, free_mimepart, m);
	if (parse_key(&parse, arg, &m->root) < 0)
		return -1;
	key->kind = CV_MAILSEARCH_ASK;
	key->ask = cv_imap_mimepart_ask;
	key->ask_ctx = m;
	return 0;
}
