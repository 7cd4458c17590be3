/* SPDX-License-Identifier: MIT
   Settings: typing values, and writing them in words. */
#include "core/conf/conf-private.h"

#include <inttypes.h>

static const struct {
	const char *suffix;
	uint64_t factor;
} size_units[] = {
	{ "", 1 }, { "b", 1 },
	{ "k", 1024 }, { "kb", 1024 }, { "kib", 1024 },
	{ "m", 1024 * 1024 }, { "mb", 1024 * 1024 }, { "mib", 1024 * 1024 },
	{ "g", 1024 * 1024 * 1024 }, { "gb", 1024 * 1024 * 1024 }, { "gib", 1024 * 1024 * 1024 },
	{ "t", UINT64_C(1) << 40 }, { "tb", UINT64_C(1) << 40 }, { "tib", UINT64_C(1) << 40 },
}, time_units[] = {
	{ "", 1000 },
	{ "ms", 1 }, { "msec", 1 }, { "msecs", 1 },
	{ "s", 1000 }, { "sec", 1000 }, { "secs", 1000 }, { "second", 1000 }, { "seconds", 1000 },
	{ "m", 60 * 1000 }, { "min", 60 * 1000 }, { "mins", 60 * 1000 }, { "minute", 60 * 1000 }, { "minutes", 60 * 1000 },
	{ "h", 3600 * 1000 }, { "hour", 3600 * 1000 }, { "hours", 3600 * 1000 },
	{ "d", 24 * 3600 * 1000 }, { "day", 24 * 3600 * 1000 }, { "days", 24 * 3600 * 1000 },
	{ "w", 7 * 24 * 3600 * 1000 }, { "week", 7 * 24 * 3600 * 1000 }, { "weeks", 7 * 24 * 3600 * 1000 },
};

static const struct {
	const char *word;
	bool value;
} bool_words[] = {
	{ "yes", true }, { "no", false }, { "true", true }, { "false", false }, { "on", true }, { "off", false }, { "1", true }, { "0", false },
};

const char *cv_conf_type_name(enum cv_setting_type type)
{
	switch (type) {
	case CV_SET_BOOL:
		return "yes or no";
	case CV_SET_UINT:
		return "number";
	case CV_SET_SIZE:
		return "size";
	case CV_SET_TIME:
		return "time";
	case CV_SET_STR:
		return "text";
	case CV_SET_VAR:
		return "text with %variables";
	case CV_SET_LIST:
		return "list";
	case CV_SET_ENUM:
		return "word";
	case CV_SET_OCTAL:
		return "octal mode";
	}
	return "unknown";
}

/* The largest unit that divides n. */
void cv_conf_format_number(struct cv_buf *out, enum cv_setting_type type, uint64_t n)
{
	static const struct {
		uint64_t factor;
		const char *name;
	} sizes[] = { { UINT64_C(1) << 40, "T" }, { 1 << 30, "G" }, { 1 << 20, "M" }, { 1 << 10, "k" } },
	  times[] = { { 7 * 24 * 3600 * 1000, "w" }, { 24 * 3600 * 1000, "d" }, { 3600 * 1000, "h" }, { 60 * 1000, "m" },
		  { 1000, "s" } };

	if (type == CV_SET_OCTAL) {
		cv_buf_printf(out, "0%" PRIo64, n);
		return;
	}
	if (type == CV_SET_SIZE && n != 0) {
		for (size_t i = 0; i < CV_COUNT_OF(sizes); i++) {
			if (n % sizes[i].factor == 0) {
				cv_buf_printf(out, "%" PRIu64 "%s", n / sizes[i].factor, sizes[i].name);
				return;
			}
		}
	}
	if (type == CV_SET_TIME && n != 0) {
		for (size_t i = 0; i < CV_COUNT_OF(times); i++) {
			if (n % times[i].factor == 0) {
				cv_buf_printf(out, "%" PRIu64 "%s", n / times[i].factor, times[i].name);
				return;
			}
		}
		cv_buf_printf(out, "%" PRIu64 "ms", n);
		return;
	}
	cv_buf_append_u64(out, n);
}

static bool has_bounds(const struct cv_setting *row)
{
	return (row->type == CV_SET_UINT || row->type == CV_SET_SIZE || row->type == CV_SET_TIME || row->type == CV_SET_OCTAL) &&
		(row->min != 0 || (row->max != 0 && row->max != UINT64_MAX));
}

static uint64_t upper_bound(const struct cv_setting *row)
{
	return row->max == 0 ? UINT64_MAX : row->max;
}

void cv_conf_format_bounds(struct cv_buf *out, const struct cv_setting *row)
{
	if (row->type == CV_SET_ENUM) {
		for (size_t i = 0; row->values[i] != NULL; i++)
			cv_buf_printf(out, "%s%s", i > 0 ? ", " : "", row->values[i]);
		return;
	}
	if (!has_bounds(row))
		return;
	cv_conf_format_number(out, row->type, row->min);
	if (upper_bound(row) != UINT64_MAX) {
		cv_buf_append_c(out, " to ");
		cv_conf_format_number(out, row->type, row->max);
	} else {
		cv_buf_append_c(out, " or more");
	}
}

/* number [space] [unit] */
static bool parse_unit(struct cv_str text, bool time, uint64_t *n_r)
{
	size_t digits = 0, count = time ? CV_COUNT_OF(time_units) : CV_COUNT_OF(size_units);
	while (digits < text.len && cv_is_digit(text.ptr[digits]))
		digits++;
	uint64_t n;
	if (!cv_str_to_u64(cv_str_sub(text, 0, digits), UINT64_MAX, &n))
		return false;
	struct cv_str unit = cv_str_trim(cv_str_sub(text, digits, SIZE_MAX));
	for (size_t i = 0; i < count; i++) {
		uint64_t factor = time ? time_units[i].factor : size_units[i].factor;
		if (!cv_str_caseeq_c(unit, time ? time_units[i].suffix : size_units[i].suffix))
			continue;
		if (n > UINT64_MAX / factor)
			return false;
		*n_r = n * factor;
		return true;
	}
	return false;
}

static int check_bounds(const struct cv_setting *row, uint64_t n, struct cv_err *err)
{
	if (!has_bounds(row) || (n >= row->min && n <= upper_bound(row)))
		return 0;
	struct cv_buf bounds;
	cv_buf_init(&bounds, 256);
	cv_conf_format_bounds(&bounds, row);
	cv_err_set(err, CV_ERR_LIMIT, "must be %s", cv_buf_ok(&bounds) ? bounds.data : "within its bounds");
	cv_buf_deinit(&bounds);
	return -1;
}

static void store(const struct cv_setting *row, void *set, const void *value, size_t size)
{
	/* UNSAFE: offset was made by offsetof on the struct that set points to, whose member's type the row's macro checked. */
	memcpy((char *)set + row->offset, value, size);
}

static bool is_list_space(char c)
{
	return cv_is_space(c) || c == ',';
}

static const char *const *parse_list(const char *text, struct cv_arena *arena)
{
	size_t words = 0, len = text == NULL ? 0 : strlen(text);
	for (size_t i = 0; i < len; i++)
		words += !is_list_space(text[i]) && (i == 0 || is_list_space(text[i - 1]));
	const char **list = cv_new(arena, const char *, words + 1);
	size_t n = 0;
	for (size_t i = 0; i < len;) {
		size_t end = i;
		while (end < len && !is_list_space(text[end]))
			end++;
		if (end > i)
			list[n++] = cv_arena_str(arena, cv_str_mem(text + i, end - i)).ptr;
		i = end + 1;
	}
	return list;
}

int cv_conf_value_parse(const struct cv_setting *row, const char *text, struct cv_arena *arena, void *set, struct cv_err *err)
{
	struct cv_str s = cv_str_trim(cv_str_c(text));
	bool empty = s.len == 0;
	uint64_t n = 0;

	switch (row->type) {
	case CV_SET_BOOL: {
		bool value = false, found = text == NULL;
		for (size_t i = 0; i < CV_COUNT_OF(bool_words) && !found; i++) {
			if (cv_str_caseeq_c(s, bool_words[i].word)) {
				value = bool_words[i].value;
				found = true;
			}
		}
		if (!found)
			return cv_err_set(err, CV_ERR_INVALID, "must be yes or no");
		store(row, set, &value, sizeof(value));
		return 0;
	}
	case CV_SET_UINT:
		if (text != NULL && !cv_str_to_u64(s, UINT64_MAX, &n))
			return cv_err_set(err, CV_ERR_INVALID, "must be a whole number");
		break;
	case CV_SET_SIZE:
		if (text != NULL && !parse_unit(s, false, &n))
			return cv_err_set(err, CV_ERR_INVALID, "must be a size: a number and B, k, M, G or T");
		break;
	case CV_SET_TIME:
		if (text != NULL && !parse_unit(s, true, &n))
			return cv_err_set(err, CV_ERR_INVALID, "must be a time: a number and ms, s, m, h, d or w");
		break;
	case CV_SET_OCTAL: {
		for (size_t i = 0; i < s.len; i++) {
			if (s.ptr[i] < '0' || s.ptr[i] > '7' || n > 07777)
				return cv_err_set(err, CV_ERR_INVALID, "must be an octal number such as 0660");
			n = n * 8 + (uint64_t)(s.ptr[i] - '0');
		}
		if (text != NULL && empty)
			return cv_err_set(err, CV_ERR_INVALID, "must be an octal number such as 0660");
		if (text != NULL && check_bounds(row, n, err) < 0)
			return -1;
		unsigned mode = (unsigned)n;
		store(row, set, &mode, sizeof(mode));
		return 0;
	}
	case CV_SET_ENUM: {
		unsigned value = 0;
		if (text != NULL) {
			while (row->values[value] != NULL && !cv_str_caseeq_c(s, row->values[value]))
				value++;
			if (row->values[value] == NULL) {
				struct cv_buf words;
				cv_buf_init(&words, 512);
				cv_conf_format_bounds(&words, row);
				const char *near = cv_nearest(text, row->values);
				cv_err_set(err, CV_ERR_INVALID, "must be one of %s%s%s%s",
					cv_buf_ok(&words) ? words.data : "the words in the manual",
					near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
				cv_buf_deinit(&words);
				return -1;
			}
		}
		store(row, set, &value, sizeof(value));
		return 0;
	}
	case CV_SET_VAR:
		if (text != NULL && cv_var_check(text, err) < 0)
			return -1;
		CV_FALLTHROUGH;
	case CV_SET_STR: {
		/* A row without a default is absent in one way only: empty is NULL there. With a default, "" included, it never is NULL. */
		const char *value = text != NULL && *text == '\0' && row->def == NULL ? NULL : text;
		store(row, set, &value, sizeof(value));
		return 0;
	}
	case CV_SET_LIST: {
		const char *const *list = parse_list(text, arena);
		store(row, set, &list, sizeof(list));
		return 0;
	}
	}
	if (text != NULL && check_bounds(row, n, err) < 0)
		return -1;
	store(row, set, &n, sizeof(n));
	return 0;
}

bool cv_conf_value_same(const struct cv_setting *row, const char *a, const char *b)
{
	struct cv_setting at0 = *row;
	union {
		bool flag;
		uint64_t number;
		unsigned small;
		const char *text;
		const char *const *list;
	} va = { .number = 0 }, vb = { .number = 0 };
	bool same = false;
	struct cv_arena *arena = cv_arena_new("compare", NULL, CV_ARENA_WIPE);

	at0.offset = 0;
	if (cv_conf_value_parse(&at0, a, arena, &va, NULL) < 0 || cv_conf_value_parse(&at0, b, arena, &vb, NULL) < 0)
		goto out;
	switch (row->type) {
	case CV_SET_BOOL:
		same = va.flag == vb.flag;
		break;
	case CV_SET_UINT:
	case CV_SET_SIZE:
	case CV_SET_TIME:
		same = va.number == vb.number;
		break;
	case CV_SET_ENUM:
	case CV_SET_OCTAL:
		same = va.small == vb.small;
		break;
	case CV_SET_STR:
	case CV_SET_VAR:
		same = va.text == vb.text || (va.text != NULL && vb.text != NULL && strcmp(va.text, vb.text) == 0);
		break;
	case CV_SET_LIST: {
		size_t i = 0;
		while (va.list[i] != NULL && vb.list[i] != NULL && strcmp(va.list[i], vb.list[i]) == 0)
			i++;
		same = va.list[i] == NULL && vb.list[i] == NULL;
		break;
	}
	}
out:
	cv_arena_free(&arena);
	return same;
}
