/* SPDX-License-Identifier: MIT
   Plugin quota: rules, and whether a change keeps to them. */
#include "plugins/quota/quota.h"

#include <culver/reader.h>

#include <string.h>

/* ---- Values --------------------------------------------------------------------------------------------- */

/* a + b and a * b, as much as fits. */
static uint64_t plus(uint64_t a, uint64_t b)
{
	return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

static uint64_t times(uint64_t a, uint64_t b)
{
	return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

/* n * percent / 100 without losing small numbers, or great ones. */
static uint64_t percent_of(uint64_t n, uint64_t percent)
{
	return plus(times(n / 100, percent), times(n % 100, percent) / 100);
}

/* N[b|k|M|G|T] in octets; without a unit N times unit. 0: there is something else. */
static int take_size(struct cv_reader *r, uint64_t unit, uint64_t *n_r)
{
	static const struct {
		char letter;
		unsigned shift;
	} units[] = { { 'b', 0 }, { 'k', 10 }, { 'm', 20 }, { 'g', 30 }, { 't', 40 } };
	char c;

	if (!cv_parse_u64(r, INT64_MAX, n_r))
		return 0;
	c = cv_lower((char)cv_peek(r));
	for (size_t i = 0; i < CV_COUNT_OF(units); i++) {
		if (c != units[i].letter)
			continue;
		*n_r = times(*n_r, UINT64_C(1) << units[i].shift);
		return cv_take_any(r, &c) && *n_r <= INT64_MAX;
	}
	*n_r = times(*n_r, unit);
	return *n_r <= INT64_MAX;
}

/* "%", which may be doubled: Dovecot's files need that. */
static bool take_percent(struct cv_reader *r)
{
	return cv_take_char(r, '%') && (cv_peek(r) != '%' || cv_take_char(r, '%'));
}

/* [+|-] (N% | size), all of text. unit 0: a number without unit. */
static int parse_value(struct cv_str text, uint64_t unit, struct cv_quota_value *value_r, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(text);
	bool less = cv_take_char(&r, '-'), more = !less && cv_take_char(&r, '+');
	size_t start = r.pos;
	uint64_t n = 0;

	value_r->kind = less ? CV_QUOTA_LESS : more ? CV_QUOTA_MORE : CV_QUOTA_PLAIN;
	if (cv_parse_u64(&r, 100000, &n) && take_percent(&r)) {
		value_r->kind = less ? CV_QUOTA_PERCENT_LESS : CV_QUOTA_PERCENT;
	} else {
		r.pos = start;
		if (unit == 0 ? !cv_parse_u64(&r, INT64_MAX, &n) : take_size(&r, unit, &n) == 0)
			return cv_err_set(err, CV_ERR_INVALID, "\"%.*s\" is no %s", CV_STR_ARG(text), unit == 0 ? "number" : "size");
	}
	if (!cv_reader_end(&r))
		return cv_err_set(err, CV_ERR_INVALID, "\"%.*s\": a number, and b, k, M, G, T or %% behind it", CV_STR_ARG(text));
	value_r->n = n;
	return 0;
}

/* The limit of a mailbox from the user's. */
static void limit_of(const struct cv_quota_value *value, uint64_t general, bool *limited_r, uint64_t *limit_r)
{
	*limited_r = general != 0;
	*limit_r = general;
	switch (value->kind) {
	case CV_QUOTA_UNSET:
		break;
	case CV_QUOTA_PLAIN:
		*limited_r = general != 0 || value->n != 0;
		*limit_r = plus(general, value->n);
		break;
	case CV_QUOTA_MORE:
		*limit_r = plus(general, value->n);
		break;
	case CV_QUOTA_LESS:
		*limit_r = general - CV_MIN(general, value->n);
		break;
	case CV_QUOTA_PERCENT:
		*limit_r = plus(general, percent_of(general, value->n));
		break;
	case CV_QUOTA_PERCENT_LESS:
		*limit_r = general - CV_MIN(general, percent_of(general, value->n));
		break;
	}
	/* Nothing is above no limit. */
	if (!*limited_r)
		*limit_r = 0;
}

/* ---- Rules ---------------------------------------------------------------------------------------------- */

static struct cv_str mask_of(struct cv_arena *arena, char separator, struct cv_str name)
{
	char *mask = cv_arena_alloc(arena, name.len + 1);

	for (size_t i = 0; i < name.len; i++)
		mask[i] = name.ptr[i] == separator ? '/' : name.ptr[i];
	if (cv_str_caseeq_c(name, "INBOX"))
		return CV_STR("INBOX");
	return cv_str_mem(mask, name.len);
}

static bool limit_part(struct cv_str part, const char *key, struct cv_str *value_r)
{
	if (!cv_str_casestarts(part, cv_str_c(key)))
		return false;
	*value_r = cv_str_sub(part, strlen(key), SIZE_MAX);
	return true;
}

/* Limits that only the general rule has. */
struct general {
	struct cv_quota_value mailboxes, annotations;
};

/* One LIMIT of a mailbox's rule, or of the general one (general not NULL). */
static int parse_limit(struct cv_str part, struct cv_quota_rule *rule, struct general *general, struct cv_err *err)
{
	struct cv_str value;

	if (cv_str_caseeq_c(part, "ignore")) {
		rule->ignore = true;
		return 0;
	}
	if (limit_part(part, "storage=", &value))
		return parse_value(value, 1024, &rule->storage, err);
	if (limit_part(part, "bytes=", &value))
		return parse_value(value, 1, &rule->storage, err);
	if (limit_part(part, "messages=", &value))
		return parse_value(value, 0, &rule->messages, err);
	if (general != NULL && limit_part(part, "mailboxes=", &value))
		return parse_value(value, 0, &general->mailboxes, err);
	if (general != NULL && limit_part(part, "annotations=", &value))
		return parse_value(value, 1024, &general->annotations, err);
	return cv_err_set(err, CV_ERR_INVALID, "\"%.*s\" is none of storage=, bytes=, messages=%s and ignore", CV_STR_ARG(part),
		general != NULL ? ", mailboxes=, annotations=" : "");
}

static int parse_limits(struct cv_str rest, struct cv_quota_rule *rule, struct general *general, struct cv_err *err)
{
	struct cv_str part;

	do {
		cv_str_split(rest, ':', &part, &rest);
		if (parse_limit(cv_str_trim(part), rule, general, err) < 0)
			return -1;
	} while (rest.len > 0);
	return 0;
}

/* The general rule has nothing to be relative to. */
static int take_general(const struct cv_quota_value *value, uint64_t *n, struct cv_err *err)
{
	if (value->kind == CV_QUOTA_UNSET)
		return 0;
	if (value->kind != CV_QUOTA_PLAIN && value->kind != CV_QUOTA_MORE)
		return cv_err_set(err, CV_ERR_INVALID, "the rule for all mailboxes can't be relative");
	*n = value->n;
	return 0;
}

static int add_general(struct cv_quota_rules *rules, bool fallback, struct cv_str rest, struct cv_err *err)
{
	static const struct cv_quota_most none = { 0 };
	struct cv_quota_rule rule = { 0 };
	struct general general = { 0 };
	bool forget = rules->fallback_only && !fallback;
	struct cv_quota_most most = forget ? none : rules->most;

	if (parse_limits(rest, &rule, &general, err) < 0 || take_general(&rule.storage, &most.storage, err) < 0 ||
		take_general(&rule.messages, &most.messages, err) < 0 || take_general(&general.mailboxes, &most.mailboxes, err) < 0 ||
		take_general(&general.annotations, &most.annotations, err) < 0)
		return -1;
	if (fallback && !rules->fallback_only && (rules->ignore || cv_quota_most_any(&rules->most)))
		return 0;
	rules->fallback_only = fallback;
	rules->ignore = rule.ignore || (rules->ignore && !forget);
	rules->most = most;
	return 0;
}

int cv_quota_rule_add(struct cv_quota_rules *rules, struct cv_arena *arena, char separator, struct cv_str text, struct cv_err *err)
{
	struct cv_quota_rule *there = NULL, changed = { 0 };
	struct cv_str name, rest;

	if (!cv_str_split(text, ':', &name, &rest) || name.len == 0 || rest.len == 0)
		return cv_err_set(err, CV_ERR_INVALID, "\"%.*s\": must be MAILBOX:LIMIT", CV_STR_ARG(text));
	if (cv_str_eq_c(name, "*") || cv_str_eq_c(name, "?"))
		return add_general(rules, name.ptr[0] == '?', rest, err);
	changed.mask = mask_of(arena, separator, name);
	changed.wild = cv_str_find(name, '*') != SIZE_MAX || cv_str_find(name, '?') != SIZE_MAX;
	for (size_t i = 0; i < rules->count && there == NULL; i++) {
		if (cv_str_eq(rules->list[i].mask, changed.mask))
			there = &rules->list[i];
	}
	if (there != NULL)
		changed = *there;
	if (parse_limits(rest, &changed, NULL, err) < 0)
		return -1;
	if (there == NULL && rules->count == CV_QUOTA_RULES_MAX)
		return cv_err_set(err, CV_ERR_LIMIT, "there are more than %u rules", CV_QUOTA_RULES_MAX);
	if (there == NULL)
		there = &rules->list[rules->count++];
	*there = changed;
	rules->ignores = rules->ignores || changed.ignore;
	return 0;
}

void cv_quota_limits_of(const struct cv_quota_rules *rules, struct cv_str mailbox, struct cv_quota_limits *limits_r)
{
	static const struct cv_quota_rule none = { .ignore = false };
	const struct cv_quota_rule *rule = NULL;

	*limits_r = (struct cv_quota_limits){ 0 };
	for (size_t i = 0; i < rules->count; i++) {
		const struct cv_quota_rule *r = &rules->list[i];

		if (!r->wild && cv_str_eq(r->mask, mailbox)) {
			rule = r;
			break;
		}
		if (rule == NULL && r->wild && cv_str_like(mailbox, r->mask))
			rule = r;
	}
	if (rule == NULL)
		rule = &none;
	limits_r->ignored = rule->ignore;
	if (rule->ignore || rules->ignore)
		return;
	limit_of(&rule->storage, rules->most.storage, &limits_r->storage_limited, &limits_r->storage);
	limit_of(&rule->messages, rules->most.messages, &limits_r->messages_limited, &limits_r->messages);
}

/* ---- Other settings -------------------------------------------------------------------------------------- */

int cv_quota_grace_parse(struct cv_str text, struct cv_quota_grace *grace_r, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(text);

	*grace_r = (struct cv_quota_grace){ 0 };
	if (text.len == 0)
		return 0;
	if (cv_parse_u64(&r, 100000, &grace_r->n) && take_percent(&r)) {
		grace_r->percent = true;
	} else {
		r.pos = 0;
		if (take_size(&r, 1024, &grace_r->n) == 0)
			return cv_err_set(err, CV_ERR_INVALID, "must be a size or a percentage");
	}
	return cv_reader_end(&r) ? 0 : cv_err_set(err, CV_ERR_INVALID, "must be a size or a percentage");
}

uint64_t cv_quota_grace_of(const struct cv_quota_grace *grace, uint64_t limit)
{
	return grace->percent ? percent_of(limit, grace->n) : grace->n;
}

int cv_quota_root_parse(struct cv_str text, struct cv_quota_root *root_r, struct cv_err *err)
{
	struct cv_str driver, rest, word;

	*root_r = (struct cv_quota_root){ .name = CV_STR("") };
	cv_str_split(text, ':', &driver, &rest);
	if (!cv_str_eq_c(driver, "count"))
		return cv_err_set(err, CV_ERR_INVALID, "there is only count: sums are always those of the mailboxes");
	cv_str_split(rest, ':', &root_r->name, &rest);
	/* RFC 3501: quota roots are astrings, in which NUL, CR and LF cannot be; others are text for people. */
	for (size_t i = 0; i < root_r->name.len; i++) {
		if ((unsigned char)root_r->name.ptr[i] < ' ' || root_r->name.ptr[i] == 0x7f)
			return cv_err_set(err, CV_ERR_INVALID, "the quota root's name has a control character");
	}
	if (root_r->name.ptr == NULL)
		root_r->name = CV_STR("");
	while (rest.len > 0) {
		cv_str_split(rest, ':', &word, &rest);
		if (cv_str_eq_c(word, "noenforcing"))
			root_r->noenforcing = true;
		else if (cv_str_eq_c(word, "hidden"))
			root_r->hidden = true;
		else if (cv_str_eq_c(word, "ignoreunlimited"))
			root_r->ignoreunlimited = true;
		else
			return cv_err_set(err, CV_ERR_INVALID, "\"%.*s\" is none of noenforcing, hidden and ignoreunlimited", CV_STR_ARG(word));
	}
	return 0;
}

/* ---- Checking --------------------------------------------------------------------------------------------- */

void cv_quota_change_target(struct cv_quota_change *change, const struct cv_quota_limits *limits)
{
	struct cv_quota_limits *low = &change->limits;

	change->adds = true;
	if (limits->storage_limited && (!low->storage_limited || limits->storage < low->storage))
		low->storage = limits->storage;
	if (limits->messages_limited && (!low->messages_limited || limits->messages < low->messages))
		low->messages = limits->messages;
	low->storage_limited = low->storage_limited || limits->storage_limited;
	low->messages_limited = low->messages_limited || limits->messages_limited;
}

static bool too_much(const struct cv_quota_change *change, uint64_t used, uint64_t in, uint64_t out, uint64_t limit, uint64_t grace)
{
	uint64_t all = plus(used, in), after = all - CV_MIN(all, out);

	if (after <= limit || (in <= out && !change->stricter))
		return false;
	return used >= limit || after - limit > grace;
}

int cv_quota_notes_check(uint64_t used, uint64_t in, uint64_t out, uint64_t limit)
{
	return limit != 0 && in > out && (used > limit || in - out > limit - used) ? -1 : 0;
}

int cv_quota_change_check(const struct cv_quota_change *change, uint64_t storage, uint64_t messages, const struct cv_quota_grace *grace,
	bool *storage_r)
{
	const struct cv_quota_limits *limits = &change->limits;

	*storage_r = false;
	if (!change->adds)
		return 0;
	if (limits->messages_limited &&
		too_much(change, messages, change->messages_in, change->messages_out, limits->messages, 0))
		return -1;
	*storage_r = limits->storage_limited && too_much(change, storage, change->storage_in, change->storage_out, limits->storage,
		cv_quota_grace_of(grace, limits->storage));
	return *storage_r ? -1 : 0;
}
