/* SPDX-License-Identifier: MIT
   SEARCH programs to the neutral tree. One function for each form of argument; the table says which key has which. */
#include <config.h>

#include "imap-search.h"

#include "imap-annotate.h"
#include "imap-date.h"
#include "imap-flags.h"
#include "imap-mimepart.h"
#include "imap-parser.h"
#include "imap-sequence.h"
#include "imap-threadid.h"

#include <culver/charset.h>

#include <string.h>

#define DEPTH_MAX 100u  /* NOT, OR and parentheses within each other */
#define KEYS_MAX 10000u
/* Filters within filters. RFC 5466 section 3.1: "at least 3 substitution passes"; where that is not enough, there is a loop. */
#define FILTERS_DEPTH_MAX 10u
#define FILTERS_OCTETS_MAX ((size_t)1 << 20) /* of all filters that are put in */
#define FILTER_NAME_MAX 255u

struct parse {
	struct cv_arena *arena;
	struct cv_str charset; /* absent: none given */
	const struct cv_imap_search_context *context;
	unsigned depth;
	size_t keys, mime_keys;
	bool modseq, seqs, any_fuzzy;
	unsigned fuzzy; /* FUZZY that this key is in */
	unsigned filters; /* that this key is in */
	size_t filter_octets;
	struct cv_str undefined_filter;
	bool filter_charset;
	struct cv_err *err;
};

struct key_word {
	const char *name;
	enum cv_mailsearch_kind kind;
	unsigned number; /* flag, or other constant of the key */
	const char *text;
	int (*parse)(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key);
	bool not;
};

static int parse_key(struct parse *parse, const struct cv_imap_arg **arg, struct cv_mailsearch_key **key_r);
static int parse_keys(struct parse *parse, const struct cv_imap_arg *arg, struct cv_mailsearch_key **and_r);

static int invalid(struct parse *parse, const char *what)
{
	return cv_err_set_public(parse->err, CV_ERR_INVALID, "%s", what);
}

static int no_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	(void)parse;
	(void)arg;
	key->flags = (uint16_t)word->number;
	return 0;
}

/* Without CHARSET it should be US-ASCII; what is not is taken for UTF-8, which many clients send. */
void cv_imap_search_text(struct cv_arena *arena, struct cv_str charset, struct cv_str s, struct cv_str *text_r)
{
	struct cv_buf utf8;

	if (cv_str_is_ascii(s) && charset.ptr == NULL) {
		*text_r = s;
		return;
	}
	cv_buf_init(&utf8, s.len * 4 + 16);
	cv_charset_to_utf8(charset.ptr != NULL ? charset : CV_STR("US-ASCII"), s, &utf8);
	*text_r = utf8.len > 0 ? cv_arena_str(arena, cv_buf_str(&utf8)) : CV_STR("");
	cv_buf_deinit(&utf8);
}

static void convert(struct parse *parse, struct cv_str s, struct cv_str *text_r)
{
	cv_imap_search_text(parse->arena, parse->charset, s, text_r);
}

static int take_text(struct parse *parse, const struct cv_imap_arg **arg, struct cv_str *text_r)
{
	struct cv_str s;

	if (!cv_imap_arg_astring(*arg, &s))
		return invalid(parse, "Missing or invalid string in search");
	*arg = (*arg)->next;
	convert(parse, s, text_r);
	return 0;
}

static int text_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	if (word->text != NULL)
		key->name = cv_str_c(word->text);
	key->fuzzy = parse->fuzzy > 0;
	return take_text(parse, arg, &key->text);
}

/* "HEADER" SP header-fld-name SP astring */
static int header_arguments(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_mailsearch_key *key)
{
	if (!cv_imap_arg_astring(*arg, &key->name))
		return invalid(parse, "Missing or invalid field name in search");
	*arg = (*arg)->next;
	return text_argument(parse, word, arg, key);
}

static int keyword_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_mailsearch_key *key)
{
	(void)word;
	if (!cv_imap_arg_atom(*arg, &key->text))
		return invalid(parse, "Missing or invalid keyword in search");
	*arg = (*arg)->next;
	return 0;
}

static int date_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	struct cv_str s;

	(void)word;
	if (!cv_imap_arg_astring(*arg, &s) || !cv_imap_date_parse(s, &key->day))
		return invalid(parse, "Missing or invalid date in search");
	*arg = (*arg)->next;
	return 0;
}

static int number_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	struct cv_str s;

	(void)word;
	if (!cv_imap_arg_atom(*arg, &s) || !cv_str_to_u64(s, INT64_MAX, &key->number))
		return invalid(parse, "Missing or invalid number in search");
	*arg = (*arg)->next;
	return 0;
}

/* search-modsequence = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer. One modseq is kept for a message, so entry-name and
   type are read and ignored, as RFC 7162 section 3.1.5 says. */
static int modseq_arguments(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_mailsearch_key *key)
{
	struct cv_str entry;

	parse->modseq = true;
	if (*arg != NULL && (*arg)->type != CV_IMAP_ARG_ATOM) {
		if (!cv_imap_arg_string(*arg, &entry) || !cv_str_casestarts(entry, CV_STR("/flags/")))
			return invalid(parse, "Invalid entry name for MODSEQ");
		*arg = (*arg)->next;
		if (!cv_imap_arg_is(*arg, "priv") && !cv_imap_arg_is(*arg, "shared") && !cv_imap_arg_is(*arg, "all"))
			return invalid(parse, "Invalid entry type for MODSEQ");
		*arg = (*arg)->next;
	}
	return number_argument(parse, word, arg, key);
}

/* "ANNOTATION" SP entry-match SP att-search SP value (RFC 5257 section 4.8); NIL: there is no such value. */
static int annotation_arguments(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_mailsearch_key *key)
{
	static const char *const attribs[] = { "value.priv", "value.shared", "value" }; /* 1, 2, both */
	struct cv_str value;
	bool wild;

	(void)word;
	if (!parse->context->annotate)
		return invalid(parse, "Unknown search key");
	if (!cv_imap_arg_list_mailbox(*arg, &key->name))
		return invalid(parse, "Missing or invalid entry name in search");
	if (cv_imap_note_match_ok(key->name, &wild, parse->err) < 0)
		return -1;
	*arg = (*arg)->next;
	for (size_t i = 0; *arg != NULL && i < CV_COUNT_OF(attribs); i++)
		if (cv_imap_arg_is(*arg, attribs[i]))
			key->number = i + 1;
	if (*arg == NULL || key->number == 0)
		return invalid(parse, "Attributes that can be searched are value, value.priv and value.shared");
	*arg = (*arg)->next;
	if (*arg != NULL && (*arg)->type == CV_IMAP_ARG_LITERAL8) {
		key->text = (*arg)->str.ptr != NULL ? (*arg)->str : CV_STR(""); /* as it is */
	} else if (!cv_imap_arg_nstring(*arg, &value)) {
		return invalid(parse, "Missing or invalid value in search");
	} else if (!cv_imap_arg_is(*arg, "NIL")) {
		convert(parse, value, &key->text);
		if (key->text.ptr == NULL)
			key->text = CV_STR("");
	}
	*arg = (*arg)->next;
	return 0;
}

static struct cv_mailsearch_key *new_key(struct parse *parse, enum cv_mailsearch_kind kind)
{
	return cv_mailsearch_key_new(parse->arena, kind);
}

static void add_saved(const struct parse *parse, struct cv_mailsearch_key *key)
{
	const struct cv_ranges *saved = parse->context->saved;

	for (size_t i = 0; saved != NULL && i < saved->count; i++)
		cv_ranges_add(&key->set, saved->data[i].first, saved->data[i].last);
}

/* sequence-set, of UIDs or of sequence numbers; seq-last-command = "$" (RFC 5182) may stand alone or behind the last comma. */
static bool take_set(struct parse *parse, struct cv_str s, bool uids, struct cv_mailsearch_key **key_r)
{
	struct cv_mailsearch_key *key = new_key(parse, uids ? CV_MAILSEARCH_UID : CV_MAILSEARCH_SEQ), *saved;
	uint32_t star = uids ? parse->context->uid_star : parse->context->seq_star;
	bool with_saved = cv_imap_sequence_cut_saved(&s);

	*key_r = key;
	parse->seqs |= !uids && s.len > 0;
	if ((s.len > 0 || !with_saved) && !cv_imap_sequence_parse(s, star, &key->set))
		return false;
	if (!with_saved)
		return true;
	saved = new_key(parse, CV_MAILSEARCH_UID);
	add_saved(parse, saved);
	if (s.len == 0) {
		*key_r = saved;
		return true;
	}
	*key_r = new_key(parse, CV_MAILSEARCH_OR);
	(*key_r)->child = key;
	key->next = saved;
	return true;
}

static int uid_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	struct cv_mailsearch_key *set;

	(void)word;
	if (*arg == NULL || (*arg)->type != CV_IMAP_ARG_ATOM || !take_set(parse, (*arg)->str, true, &set))
		return invalid(parse, "Missing or invalid UID set in search");
	*key = *set; /* its ranges are the arena's */
	*arg = (*arg)->next;
	return 0;
}

/* uniqueid = nz-number */
static bool take_uid(const struct cv_imap_arg **arg, uint32_t *uid_r)
{
	struct cv_str s;

	if (!cv_imap_arg_atom(*arg, &s) || !cv_str_to_u32(s, UINT32_MAX, uid_r) || *uid_r == 0 || s.ptr[0] == '0')
		return false;
	*arg = (*arg)->next;
	return true;
}

/* "UIDAFTER" SP uniqueid (RFC 9738 section 3.2): "Messages that have a UID greater than the specified UID." */
static int uid_after_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	uint32_t uid;

	(void)word;
	if (!take_uid(arg, &uid))
		return invalid(parse, "Missing or invalid UID in search");
	if (uid < UINT32_MAX)
		cv_ranges_add(&key->set, uid + 1, UINT32_MAX);
	return 0;
}

/* "UIDBEFORE" SP uniqueid: "or if <uid> has the value 1, then the empty set" */
static int uid_before_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	uint32_t uid;

	(void)word;
	if (!take_uid(arg, &uid))
		return invalid(parse, "Missing or invalid UID in search");
	if (uid > 1)
		cv_ranges_add(&key->set, 1, uid - 1);
	return 0;
}

/* ( "OLDER" / "YOUNGER" ) SP nz-number (RFC 5032 section 3): "subtracting the interval, specified in seconds, from the current date and time". */
static int interval_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_mailsearch_key *key)
{
	struct cv_str s;
	uint64_t interval;

	(void)word;
	if (!cv_imap_arg_atom(*arg, &s) || !cv_str_to_u64(s, UINT32_MAX, &interval) || interval == 0 || s.ptr[0] == '0')
		return invalid(parse, "Missing or invalid interval in search");
	key->sec = parse->context->now_sec - (int64_t)interval;
	*arg = (*arg)->next;
	return 0;
}

/* objectid = 1*255(ALPHA / DIGIT / "_" / "-") (RFC 8474 section 7) */
static bool take_objectid(const struct cv_imap_arg **arg, struct cv_str *id_r)
{
	if (!cv_imap_arg_atom(*arg, id_r) || id_r->len > 255)
		return false;
	for (size_t i = 0; i < id_r->len; i++)
		if (!cv_is_alnum(id_r->ptr[i]) && id_r->ptr[i] != '_' && id_r->ptr[i] != '-')
			return false;
	*arg = (*arg)->next;
	return true;
}

#define EMAILID_PREFIX 'M'

void cv_imap_append_emailid(struct cv_buf *out, const uint8_t guid[16])
{
	cv_buf_append_char(out, EMAILID_PREFIX);
	for (size_t i = 0; i < 16; i++)
		cv_buf_printf(out, "%02x", guid[i]);
}

/* Identifiers are compared with case, so there is one way to write each. */
static int hex_digit(char c)
{
	return c >= 'A' && c <= 'F' ? -1 : cv_hex_digit(c);
}

static bool emailid_to_guid(struct cv_str id, uint8_t guid[16])
{
	if (id.len != 33 || id.ptr[0] != EMAILID_PREFIX)
		return false;
	for (size_t i = 0; i < 16; i++) {
		int high = hex_digit(id.ptr[1 + 2 * i]), low = hex_digit(id.ptr[2 + 2 * i]);

		if (high < 0 || low < 0)
			return false;
		guid[i] = (uint8_t)(high * 16 + low);
	}
	return true;
}

static int emailid_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_mailsearch_key *key)
{
	struct cv_str id;

	(void)word;
	if (!take_objectid(arg, &id))
		return invalid(parse, "Missing or invalid object identifier in search");
	if (!emailid_to_guid(id, key->guid))
		key->kind = CV_MAILSEARCH_OR; /* of nothing: none of ours */
	return 0;
}

static int is_in_thread(void *ctx, struct cv_mailsearch_message *message, bool first, uint64_t budget, bool *yes_r, struct cv_err *err)
{
	const struct cv_imap_threadid *wanted = ctx;
	struct cv_imap_threadid id;
	int result = cv_imap_threadid_get(message, &id, err);

	(void)first;
	(void)budget;
	if (result > 0)
		*yes_r = memcmp(id.octets, wanted->octets, sizeof(id.octets)) == 0;
	return result;
}

/* "THREADID" SP objectid (RFC 8474 section 6) */
static int threadid_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg,
	struct cv_mailsearch_key *key)
{
	struct cv_imap_threadid *wanted = cv_new(parse->arena, struct cv_imap_threadid, 1);
	struct cv_str id;

	(void)word;
	if (!take_objectid(arg, &id))
		return invalid(parse, "Missing or invalid object identifier in search");
	if (!cv_imap_threadid_parse(id, wanted))
		key->kind = CV_MAILSEARCH_OR; /* of nothing: none of ours */
	key->ask = is_in_thread;
	key->ask_ctx = wanted;
	return 0;
}

/* "MIMEPART" SP mpart-key */
static int mimepart_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	(void)word;
	return cv_imap_mimepart_parse(parse->arena, parse->charset, arg, &parse->mime_keys, key, parse->err);
}

/* NEW and OLD. */
static int new_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	(void)word;
	(void)arg;
	key->child = new_key(parse, CV_MAILSEARCH_RECENT);
	key->child->next = new_key(parse, CV_MAILSEARCH_FLAGS);
	key->child->next->flags = CV_FLAG_SEEN;
	key->child->next->negated = true;
	return 0;
}

static int not_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	(void)word;
	return parse_key(parse, arg, &key->child);
}

static int or_arguments(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	(void)word;
	if (parse_key(parse, arg, &key->child) < 0)
		return -1;
	return parse_key(parse, arg, &key->child->next);
}

/* "FUZZY" SP search-key (RFC 6203 section 7). Section 5 leaves it to servers to decide "that fuzzy matching is meaningless for a particular key, and falling back to exact
   matching": here, for all keys but those with texts. */
static int fuzzy_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	int result;

	(void)word;
	parse->any_fuzzy = true;
	parse->fuzzy++;
	result = parse_key(parse, arg, &key->child);
	parse->fuzzy--;
	return result;
}

bool cv_imap_is_filter_name(struct cv_str s)
{
	return cv_imap_is_word(s, CV_IMAP_ATOM_CHAR) && cv_str_is_ascii(s) && cv_str_find(s, '/') == SIZE_MAX && s.len <= FILTER_NAME_MAX;
}

static int undefined(struct parse *parse, struct cv_str name)
{
	parse->undefined_filter = cv_arena_str(parse->arena, name);
	return cv_err_set_public(parse->err, CV_ERR_NOTFOUND, "There is no such filter");
}

/* "FILTER" SP filter-name (RFC 5466): what it stands for, in UTF-8. It counts as one key, so that NOT and OR take all of it. */
static int filter_argument(struct parse *parse, const struct key_word *word, const struct cv_imap_arg **arg, struct cv_mailsearch_key *key)
{
	struct cv_str outer = parse->charset, name, program;
	const struct cv_imap_arg *inner;
	int result;

	(void)word;
	if (parse->context->filter == NULL)
		return invalid(parse, "Unknown search key");
	if (!cv_imap_arg_atom(*arg, &name) || !cv_imap_is_filter_name(name))
		return invalid(parse, "Missing or invalid filter name in search");
	*arg = (*arg)->next;
	/* "If the SEARCH/UID SEARCH command includes the explicit CHARSET parameter with the value other than "UTF-8" or "US-ASCII"" */
	if (outer.ptr != NULL && !cv_str_caseeq_c(outer, "UTF-8") && !cv_str_caseeq_c(outer, "US-ASCII")) {
		parse->filter_charset = true;
		return invalid(parse, "Filters need the charset UTF-8");
	}
	if (parse->filters == FILTERS_DEPTH_MAX || !parse->context->filter(parse->context->filter_ctx, name, &program))
		return undefined(parse, name);
	if (program.len > FILTERS_OCTETS_MAX - parse->filter_octets)
		return cv_err_set_public(parse->err, CV_ERR_LIMIT, "Filters are too long");
	parse->filter_octets += program.len;
	if (cv_imap_args_parse(parse->arena, program, &inner, parse->err) < 0)
		return invalid(parse, "A filter is no search program");
	parse->charset = CV_STR("UTF-8");
	parse->filters++;
	result = parse_keys(parse, inner, &key->child);
	parse->filters--;
	parse->charset = outer;
	return result;
}

static const struct key_word words[] = {
	{ "ALL", CV_MAILSEARCH_AND, 0, NULL, no_argument, false },
	{ "ANNOTATION", CV_MAILSEARCH_NOTE, 0, NULL, annotation_arguments, false },
	{ "ANSWERED", CV_MAILSEARCH_FLAGS, CV_FLAG_ANSWERED, NULL, no_argument, false },
	{ "BCC", CV_MAILSEARCH_HEADER, 0, "Bcc", text_argument, false },
	{ "BEFORE", CV_MAILSEARCH_BEFORE, 0, NULL, date_argument, false },
	{ "BODY", CV_MAILSEARCH_BODY, 0, NULL, text_argument, false },
	{ "CC", CV_MAILSEARCH_HEADER, 0, "Cc", text_argument, false },
	{ "DELETED", CV_MAILSEARCH_FLAGS, CV_FLAG_DELETED, NULL, no_argument, false },
	{ "DRAFT", CV_MAILSEARCH_FLAGS, CV_FLAG_DRAFT, NULL, no_argument, false },
	{ "EMAILID", CV_MAILSEARCH_GUID, 0, NULL, emailid_argument, false },
	{ "FILTER", CV_MAILSEARCH_AND, 0, NULL, filter_argument, false },
	{ "FLAGGED", CV_MAILSEARCH_FLAGS, CV_FLAG_FLAGGED, NULL, no_argument, false },
	{ "FROM", CV_MAILSEARCH_HEADER, 0, "From", text_argument, false },
	{ "FUZZY", CV_MAILSEARCH_AND, 0, NULL, fuzzy_argument, false },
	{ "HEADER", CV_MAILSEARCH_HEADER, 0, NULL, header_arguments, false },
	{ "KEYWORD", CV_MAILSEARCH_KEYWORD, 0, NULL, keyword_argument, false },
	{ "LARGER", CV_MAILSEARCH_LARGER, 0, NULL, number_argument, false },
	{ "MIMEPART", CV_MAILSEARCH_ASK, 0, NULL, mimepart_argument, false },
	{ "MODSEQ", CV_MAILSEARCH_MODSEQ, 0, NULL, modseq_arguments, false },
	{ "NEW", CV_MAILSEARCH_AND, 0, NULL, new_argument, false },
	{ "NOT", CV_MAILSEARCH_AND, 0, NULL, not_argument, true },
	{ "OLD", CV_MAILSEARCH_RECENT, 0, NULL, no_argument, true },
	{ "OLDER", CV_MAILSEARCH_OLDER, 0, NULL, interval_argument, false },
	{ "ON", CV_MAILSEARCH_ON, 0, NULL, date_argument, false },
	{ "OR", CV_MAILSEARCH_OR, 0, NULL, or_arguments, false },
	{ "RECENT", CV_MAILSEARCH_RECENT, 0, NULL, no_argument, false },
	{ "SAVEDATESUPPORTED", CV_MAILSEARCH_AND, 0, NULL, no_argument, false },
	{ "SAVEDBEFORE", CV_MAILSEARCH_SAVEDBEFORE, 0, NULL, date_argument, false },
	{ "SAVEDON", CV_MAILSEARCH_SAVEDON, 0, NULL, date_argument, false },
	{ "SAVEDSINCE", CV_MAILSEARCH_SAVEDSINCE, 0, NULL, date_argument, false },
	{ "SEEN", CV_MAILSEARCH_FLAGS, CV_FLAG_SEEN, NULL, no_argument, false },
	{ "SENTBEFORE", CV_MAILSEARCH_SENTBEFORE, 0, NULL, date_argument, false },
	{ "SENTON", CV_MAILSEARCH_SENTON, 0, NULL, date_argument, false },
	{ "SENTSINCE", CV_MAILSEARCH_SENTSINCE, 0, NULL, date_argument, false },
	{ "SINCE", CV_MAILSEARCH_SINCE, 0, NULL, date_argument, false },
	{ "SMALLER", CV_MAILSEARCH_SMALLER, 0, NULL, number_argument, false },
	{ "SUBJECT", CV_MAILSEARCH_HEADER, 0, "Subject", text_argument, false },
	{ "TEXT", CV_MAILSEARCH_TEXT, 0, NULL, text_argument, false },
	{ "THREADID", CV_MAILSEARCH_ASK, 0, NULL, threadid_argument, false },
	{ "TO", CV_MAILSEARCH_HEADER, 0, "To", text_argument, false },
	{ "UID", CV_MAILSEARCH_AND, 0, NULL, uid_argument, false },
	{ "UIDAFTER", CV_MAILSEARCH_UID, 0, NULL, uid_after_argument, false },
	{ "UIDBEFORE", CV_MAILSEARCH_UID, 0, NULL, uid_before_argument, false },
	{ "UNANSWERED", CV_MAILSEARCH_FLAGS, CV_FLAG_ANSWERED, NULL, no_argument, true },
	{ "UNDELETED", CV_MAILSEARCH_FLAGS, CV_FLAG_DELETED, NULL, no_argument, true },
	{ "UNDRAFT", CV_MAILSEARCH_FLAGS, CV_FLAG_DRAFT, NULL, no_argument, true },
	{ "UNFLAGGED", CV_MAILSEARCH_FLAGS, CV_FLAG_FLAGGED, NULL, no_argument, true },
	{ "UNKEYWORD", CV_MAILSEARCH_KEYWORD, 0, NULL, keyword_argument, true },
	{ "UNSEEN", CV_MAILSEARCH_FLAGS, CV_FLAG_SEEN, NULL, no_argument, true },
	{ "YOUNGER", CV_MAILSEARCH_YOUNGER, 0, NULL, interval_argument, false },
};

/* search-key *(SP search-key), all of a list. */
static int parse_keys(struct parse *parse, const struct cv_imap_arg *arg, struct cv_mailsearch_key **and_r)
{
	struct cv_mailsearch_key *and = new_key(parse, CV_MAILSEARCH_AND), **last = &and->child;

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

static int parse_sequence(struct parse *parse, const struct cv_imap_arg **arg, struct cv_mailsearch_key **key_r)
{
	if (!take_set(parse, (*arg)->str, false, key_r))
		return invalid(parse, "Invalid sequence set in search");
	*arg = (*arg)->next;
	return 0;
}

static int parse_word(struct parse *parse, const struct cv_imap_arg **arg, struct cv_mailsearch_key **key_r)
{
	for (size_t i = 0; i < CV_COUNT_OF(words); i++) {
		if (!cv_imap_arg_is(*arg, words[i].name))
			continue;
		*key_r = new_key(parse, words[i].kind);
		(*key_r)->negated = words[i].not;
		*arg = (*arg)->next;
		return words[i].parse(parse, &words[i], arg, *key_r);
	}
	return invalid(parse, "Unknown search key");
}

static int parse_key(struct parse *parse, const struct cv_imap_arg **arg, struct cv_mailsearch_key **key_r)
{
	const struct cv_imap_arg *inner;
	int result;

	if (*arg == NULL)
		return invalid(parse, "Search key is missing");
	if (++parse->keys > KEYS_MAX)
		return cv_err_set_public(parse->err, CV_ERR_LIMIT, "More than %u search keys", KEYS_MAX);
	if (parse->depth == DEPTH_MAX)
		return cv_err_set_public(parse->err, CV_ERR_LIMIT, "Search keys are nested too deeply");
	parse->depth++;
	if (cv_imap_arg_list(*arg, &inner)) {
		*arg = (*arg)->next;
		result = parse_keys(parse, inner, key_r);
	} else if ((*arg)->type != CV_IMAP_ARG_ATOM || (*arg)->glued) {
		result = invalid(parse, "Search keys must be atoms");
	} else if (cv_imap_is_sequence((*arg)->str)) {
		result = parse_sequence(parse, arg, key_r);
	} else {
		result = parse_word(parse, arg, key_r);
	}
	parse->depth--;
	return result;
}

int cv_imap_search_parse_charset(struct cv_arena *arena, struct cv_str charset, const struct cv_imap_arg *arg,
	const struct cv_imap_search_context *context, struct cv_imap_search *search_r, struct cv_err *err)
{
	struct parse parse = { .arena = arena, .charset = charset, .context = context, .err = err };
	struct cv_mailsearch_key *root = NULL;

	*search_r = (struct cv_imap_search){ 0 };
	if (charset.ptr != NULL && !cv_charset_known(charset))
		return cv_err_set_public(err, CV_ERR_UNSUPPORTED, "Unknown charset");
	if (parse_keys(&parse, arg, &root) < 0) {
		search_r->undefined_filter = parse.undefined_filter;
		search_r->filter_charset = parse.filter_charset;
		return -1;
	}
	*search_r = (struct cv_imap_search){ .root = root, .modseq = parse.modseq, .seqs = parse.seqs, .fuzzy = parse.any_fuzzy };
	return 0;
}

int cv_imap_search_parse(struct cv_arena *arena, const struct cv_imap_arg *arg, const struct cv_imap_search_context *context,
	struct cv_imap_search *search_r, struct cv_err *err)
{
	struct cv_str charset = { NULL, 0 };

	if (cv_imap_arg_is(arg, "CHARSET")) {
		*search_r = (struct cv_imap_search){ 0 };
		if (!cv_imap_arg_astring(arg->next, &charset))
			return cv_err_set_public(err, CV_ERR_INVALID, "Missing or invalid charset in search");
		arg = arg->next->next;
	}
	return cv_imap_search_parse_charset(arena, charset, arg, context, search_r, err);
}

/* Which filters there will be is not known when one is stored. */
static bool any_filter(void *ctx, struct cv_str name, struct cv_str *program_r)
{
	(void)ctx;
	(void)name;
	*program_r = CV_STR("ALL");
	return true;
}

int cv_imap_filter_check(struct cv_str program, struct cv_err *err)
{
	const struct cv_imap_search_context context = { .seq_star = UINT32_MAX, .uid_star = UINT32_MAX, .filter = any_filter };
	struct cv_arena *arena;
	const struct cv_imap_arg *args;
	struct cv_imap_search search;
	int ret;

	if (!cv_str_is_utf8(program))
		return cv_err_set_public(err, CV_ERR_INVALID, "A filter is in UTF-8");
	arena = cv_arena_new("filter", NULL, 0);
	ret = cv_imap_args_parse(arena, program, &args, err);
	if (ret > 0)
		ret = cv_imap_search_parse_charset(arena, CV_STR("UTF-8"), args, &context, &search, err);
	cv_arena_free(&arena);
	return ret < 0 ? -1 : 1;
}
