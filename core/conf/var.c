/* SPDX-License-Identifier: MIT
   Settings: %variables.

   Matches Dovecot 2.3 (tried against 2.3.19's library):
     %[-][offset.][-][0][width][modifiers]X  and the same with {name} for X; %% is a percent sign.
     - modifiers L U E X R H N M D T, at most ten, from left to right; the substring is taken of their result.
     - %2u: the first two octets; %2.3u: three from the third on; %-3.2u: from the third last; an offset behind the end gives nothing, one
       before the start gives all; %0.-2u: without the last two; %06i: padded with zeros, never cut.
     - %256Nu, %2.256Nu: hash modulo 256, padded to two digits. N is the first 8 octets of MD5 as a number, printed modulo 2^32; H is PJW's.
     - %{sha256:user}, %{md5;rounds=2,salt=x,truncate=32,format=hex:user}: digest of salt and value, repeated over salt and result; truncate
       keeps the first bits as a number. format=hexuc prints lower case, as 2.3.19 does.
     - %{if;a;op;b;then[;else]}: the fields are expanded after they were split at ";" ("\" before an octet makes it ordinary), so "\%n" is expanded too.
     - %{userdb:name:default}, %{passdb:name:default}: the default when the caller's table has no such field, else nothing.
   Differs: unknown variables, unknown digest options, a lone "%", an unterminated "{" and an unescaped ":" within %{if} are errors (2.3 prints
   UNSUPPORTED_VARIABLE_x, ignores the rest, or drops text). %{env:x}, %{pkcs5}, %{encrypt} and %{decrypt} are not there. */
#include <culver/digest.h>

#include "core/conf/conf-private.h"

#include <inttypes.h>
#include <regex.h>

#define VAR_MAX_DEPTH 8
#define VAR_MAX_MODIFIERS 10
#define VAR_MAX_VALUE 65536 /* octets of one value */
#define VAR_MAX_NUMBER 99999
#define VAR_MAX_ROUNDS 100000

struct expansion {
	const struct cv_var *vars;
	size_t count;
	bool check; /* syntax only: every variable is known, and empty */
	struct cv_err *err;
};

struct spec {
	int offset, width;
	bool zero; /* pad with zeros to width */
	char modifiers[VAR_MAX_MODIFIERS];
	size_t modifier_count;
};

static int expand(struct expansion *x, struct cv_str text, struct cv_buf *out, unsigned depth);
static int expand_long(struct expansion *x, struct cv_str name, struct cv_buf *out, unsigned depth);

static int fail(struct expansion *x, const char *what, struct cv_str text)
{
	return cv_err_set(x->err, CV_ERR_INVALID, "%s%s%.*s", what, text.len > 0 ? ": " : "", CV_STR_ARG(cv_str_sub(text, 0, 100)));
}

/* ---- Modifiers ---------------------------------------------------------------------------------------------- */

static void pad_hash(struct cv_buf *value, uint32_t hash, struct spec *spec)
{
	cv_buf_clear(value);
	cv_buf_printf(value, "%0*" PRIx32, CV_MAX(spec->offset, 1), hash);
	spec->offset = spec->width = 0;
}

/* 64 bits of the value's MD5. */
static int new_hash(struct expansion *x, struct cv_buf *value, struct spec *spec)
{
	uint8_t digest[CV_DIGEST_MAX];
	size_t len;
	uint64_t n = 0;
	if (cv_digest("md5", cv_buf_str(value), (struct cv_str){ 0 }, digest, &len, x->err) < 0)
		return -1;
	for (size_t i = 0; i < 8; i++)
		n = n << 8 | digest[i];
	if (spec->width > 0)
		n %= (uint64_t)spec->width;
	pad_hash(value, (uint32_t)n, spec);
	return 0;
}

/* P. J. Weinberger's hash, 28 bits. */
static void old_hash(struct cv_buf *value, struct spec *spec)
{
	uint32_t h = 0;
	for (size_t i = 0; i < value->len; i++) {
		h = (h << 4) + (unsigned char)value->data[i];
		uint32_t high = h & UINT32_C(0xf0000000);
		h ^= high >> 24;
		h ^= high;
	}
	if (spec->width > 0)
		h %= (uint32_t)spec->width;
	pad_hash(value, h, spec);
}

static int modify(struct expansion *x, char modifier, struct cv_buf *value, struct spec *spec)
{
	struct cv_buf made;
	uint8_t digest[CV_DIGEST_MAX];
	size_t len;
	uint64_t n;

	switch (modifier) {
	case 'L':
		for (size_t i = 0; i < value->len; i++)
			value->data[i] = cv_lower(value->data[i]);
		return 0;
	case 'U':
		for (size_t i = 0; i < value->len; i++)
			value->data[i] = cv_upper(value->data[i]);
		return 0;
	case 'R':
		for (size_t i = 0; i < value->len / 2; i++) {
			char c = value->data[i];
			value->data[i] = value->data[value->len - 1 - i];
			value->data[value->len - 1 - i] = c;
		}
		return 0;
	case 'T':
		while (value->len > 0 && cv_is_space(value->data[value->len - 1]))
			cv_buf_truncate(value, value->len - 1);
		return 0;
	case 'X':
		if (!cv_str_to_u64(cv_buf_str(value), UINT64_MAX, &n))
			n = 0;
		cv_buf_clear(value);
		cv_buf_printf(value, "%" PRIx64, n);
		return 0;
	case 'H':
		old_hash(value, spec);
		return 0;
	case 'N':
		return new_hash(x, value, spec);
	case 'M':
		if (cv_digest("md5", cv_buf_str(value), (struct cv_str){ 0 }, digest, &len, x->err) < 0)
			return -1;
		cv_buf_clear(value);
		cv_buf_append_hex(value, cv_str_mem(digest, len));
		return 0;
	default: /* E, D: longer than before */
		break;
	}
	cv_buf_init(&made, 8 * VAR_MAX_VALUE);
	for (size_t i = 0; i < value->len; i++) {
		char c = value->data[i];
		if (modifier == 'E' && (c == '"' || c == '\'' || c == '\\'))
			cv_buf_append_char(&made, '\\');
		if (modifier == 'D' && c == '.')
			cv_buf_append_c(&made, ",dc=");
		else
			cv_buf_append_char(&made, c);
	}
	cv_buf_clear(value);
	cv_buf_append(value, cv_buf_str(&made));
	cv_buf_deinit(&made);
	return 0;
}

static void append_substring(struct cv_buf *out, struct cv_str value, const struct spec *spec)
{
	if (spec->offset < 0) {
		size_t back = (size_t)-spec->offset;
		if (value.len > back)
			value = cv_str_sub(value, value.len - back, SIZE_MAX);
	} else {
		value = cv_str_sub(value, (size_t)spec->offset, SIZE_MAX);
	}
	if (spec->width > 0 && spec->zero) {
		for (size_t i = value.len; i < (size_t)spec->width; i++)
			cv_buf_append_char(out, '0');
	} else if (spec->width > 0) {
		value = cv_str_sub(value, 0, (size_t)spec->width);
	} else if (spec->width < 0) {
		size_t back = (size_t)-spec->width;
		if (back <= value.len)
			value = cv_str_sub(value, 0, value.len - back);
	}
	cv_buf_append(out, value);
}

/* ---- Names -------------------------------------------------------------------------------------------------- */

static const struct cv_var *find_long(const struct expansion *x, struct cv_str name)
{
	for (size_t i = 0; i < x->count; i++)
		if (x->vars[i].name != NULL && cv_str_eq_c(name, x->vars[i].name))
			return &x->vars[i];
	return NULL;
}

static bool parse_option_number(struct cv_str value, uint32_t max, uint32_t *n_r)
{
	return cv_str_to_u32(value, max, n_r);
}

struct digest_opts {
	struct cv_str salt;
	uint32_t rounds, truncate; /* truncate in bits, 0: none */
	bool base64;
};

/* rounds=N,truncate=BITS,salt=TEXT,format=hex|hexuc|base64 */
static int parse_digest_opts(struct expansion *x, struct cv_str text, struct digest_opts *opts)
{
	while (text.len > 0) {
		struct cv_str option, rest, key, value;
		(void)cv_str_split(text, ',', &option, &rest);
		text = rest;
		(void)cv_str_split(option, '=', &key, &value);
		if (cv_str_eq_c(key, "salt")) {
			opts->salt = value;
		} else if (cv_str_eq_c(key, "rounds")) {
			if (!parse_option_number(value, VAR_MAX_ROUNDS, &opts->rounds) || opts->rounds == 0)
				return fail(x, "the rounds of a digest must be 1 to 100000", value);
		} else if (cv_str_eq_c(key, "truncate")) {
			if (!parse_option_number(value, VAR_MAX_NUMBER, &opts->truncate))
				return fail(x, "truncate of a digest must be a number of bits", value);
		} else if (cv_str_eq_c(key, "format")) {
			opts->base64 = cv_str_eq_c(value, "base64");
			if (!opts->base64 && !cv_str_eq_c(value, "hex") && !cv_str_eq_c(value, "hexuc"))
				return fail(x, "format of a digest must be hex, hexuc or base64", value);
		} else {
			return fail(x, "unknown option of a digest", option);
		}
	}
	return 0;
}

/* The first bits of digest as a number in as few octets as hold them. */
static size_t truncate_bits(uint8_t *digest, size_t len, uint32_t bits)
{
	if (bits == 0 || bits >= len * 8)
		return len;
	size_t octets = (bits + 7) / 8;
	unsigned shift = (unsigned)(octets * 8 - bits), carry = 0;
	for (size_t i = 0; i < octets; i++) {
		unsigned octet = digest[i];
		digest[i] = (uint8_t)((carry << 8 | octet) >> shift);
		carry = octet & ((1u << shift) - 1);
	}
	return octets;
}

static const char *digest_name(struct cv_str name)
{
	static const char *const names[] = { "md5", "sha1", "sha256", "sha384", "sha512" };
	for (size_t i = 0; i < CV_COUNT_OF(names); i++)
		if (cv_str_eq_c(name, names[i]))
			return names[i];
	return NULL;
}

/* algorithm[;options]:field */
static int expand_digest(struct expansion *x, const char *algorithm, struct cv_str opts_text, struct cv_str field, struct cv_buf *out,
	unsigned depth)
{
	struct digest_opts opts = { .rounds = 1 };
	struct cv_buf value;
	uint8_t digest[CV_DIGEST_MAX];
	size_t len = 0;
	int ret;

	if (field.len == 0)
		return fail(x, "a digest needs a variable: %{sha256:user}", (struct cv_str){ 0 });
	if (parse_digest_opts(x, opts_text, &opts) < 0)
		return -1;
	cv_buf_init(&value, VAR_MAX_VALUE);
	ret = expand_long(x, field, &value, depth + 1);
	struct cv_str of = cv_buf_str(&value);
	for (uint32_t i = 0; ret == 0 && !x->check && i < opts.rounds; i++) {
		ret = cv_digest(algorithm, opts.salt, of, digest, &len, x->err);
		of = cv_str_mem(digest, len);
	}
	len = truncate_bits(digest, len, opts.truncate);
	if (ret == 0 && opts.base64)
		cv_buf_append_base64(out, cv_str_mem(digest, len));
	else if (ret == 0)
		cv_buf_append_hex(out, cv_str_mem(digest, len));
	cv_buf_deinit(&value);
	return ret;
}

/* ---- %{if;a;op;b;then;else} --------------------------------------------------------------------------------- */

enum if_op { OP_EQ, OP_LT, OP_LE, OP_GT, OP_GE, OP_NE, OP_LIKE, OP_REGEX };

static const struct {
	const char *word;
	enum if_op op;
	bool number, negate;
} if_ops[] = {
	{ "==", OP_EQ, true, false }, { "<", OP_LT, true, false }, { "<=", OP_LE, true, false }, { ">", OP_GT, true, false },
	{ ">=", OP_GE, true, false }, { "!=", OP_NE, true, false }, { "eq", OP_EQ, false, false }, { "lt", OP_LT, false, false },
	{ "le", OP_LE, false, false }, { "gt", OP_GT, false, false }, { "ge", OP_GE, false, false }, { "ne", OP_NE, false, false },
	{ "*", OP_LIKE, false, false }, { "!*", OP_LIKE, false, true }, { "~", OP_REGEX, false, false }, { "!~", OP_REGEX, false, true },
};

static bool parse_signed(struct cv_str s, int64_t *n_r)
{
	uint64_t n;
	bool minus = s.len > 0 && s.ptr[0] == '-';
	if (!cv_str_to_u64(minus ? cv_str_sub(s, 1, SIZE_MAX) : s, INT64_MAX, &n))
		return false;
	*n_r = minus ? -(int64_t)n : (int64_t)n;
	return true;
}

static int regex_match(struct expansion *x, const char *value, const char *pattern, bool *match_r)
{
	regex_t regex;
	char why[128];
	int code = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
	if (code != 0) {
		(void)regerror(code, &regex, why, sizeof(why));
		return cv_err_set(x->err, CV_ERR_INVALID, "bad regular expression in %%{if}: %s", why);
	}
	*match_r = value != NULL && regexec(&regex, value, 0, NULL, 0) == 0;
	regfree(&regex);
	return 0;
}

static bool ordered(enum if_op op, int order)
{
	switch (op) {
	case OP_EQ:
		return order == 0;
	case OP_LT:
		return order < 0;
	case OP_LE:
		return order <= 0;
	case OP_GT:
		return order > 0;
	case OP_GE:
		return order >= 0;
	case OP_NE:
		return order != 0;
	case OP_LIKE:
	case OP_REGEX:
		break;
	}
	return false;
}

static int compare(struct expansion *x, struct cv_buf fields[5], bool *result_r)
{
	struct cv_str a = cv_buf_str(&fields[0]), b = cv_buf_str(&fields[2]);
	int64_t na, nb;
	size_t i = 0;

	while (i < CV_COUNT_OF(if_ops) && !cv_str_eq_c(cv_buf_str(&fields[1]), if_ops[i].word))
		i++;
	if (i == CV_COUNT_OF(if_ops))
		return fail(x, "unknown operator in %{if}", cv_buf_str(&fields[1]));
	if (if_ops[i].number) {
		if (!parse_signed(a, &na))
			return fail(x, "%{if} compares numbers, but the left side is none", a);
		if (!parse_signed(b, &nb))
			return fail(x, "%{if} compares numbers, but the right side is none", b);
		*result_r = ordered(if_ops[i].op, na < nb ? -1 : na > nb);
		return 0;
	}
	if (if_ops[i].op == OP_LIKE) {
		*result_r = cv_str_like(a, b);
	} else if (if_ops[i].op == OP_REGEX) {
		if (cv_str_has_nul(a) || cv_str_has_nul(b))
			return fail(x, "%{if} cannot match a NUL octet", (struct cv_str){ 0 });
		if (regex_match(x, fields[0].len > 0 ? fields[0].data : "", fields[2].len > 0 ? fields[2].data : "", result_r) < 0)
			return -1;
	} else {
		*result_r = ordered(if_ops[i].op, cv_str_cmp(a, b));
	}
	*result_r = *result_r != if_ops[i].negate;
	return 0;
}

/* What can be said without values: fields[i] has variables when raw[i] has a "%". */
static int check_if(struct expansion *x, const struct cv_buf raw[5])
{
	bool known[3], ignored;
	int64_t n;
	size_t i = 0;

	for (size_t j = 0; j < 3; j++)
		known[j] = cv_str_find(cv_buf_str(&raw[j]), '%') == SIZE_MAX;
	if (!known[1])
		return 0;
	while (i < CV_COUNT_OF(if_ops) && !cv_str_eq_c(cv_buf_str(&raw[1]), if_ops[i].word))
		i++;
	if (i == CV_COUNT_OF(if_ops))
		return fail(x, "unknown operator in %{if}", cv_buf_str(&raw[1]));
	for (size_t j = 0; j < 3; j += 2)
		if (if_ops[i].number && known[j] && !parse_signed(cv_buf_str(&raw[j]), &n))
			return fail(x, "%{if} compares numbers, but this is none", cv_buf_str(&raw[j]));
	if (if_ops[i].op == OP_REGEX && known[2])
		return regex_match(x, NULL, raw[2].len > 0 ? raw[2].data : "", &ignored);
	return 0;
}

/* Split at ";" outside of nested braces. text is what follows "if;". */
static int split_if(struct expansion *x, struct cv_str text, struct cv_buf raw[5])
{
	size_t field = 0, depth = 0;
	bool escape = false, percent = false, last_empty = true;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!escape && c == '\\') {
			escape = true;
			continue;
		}
		if (escape) {
			escape = false;
		} else if (c == '%') {
			percent = true;
		} else if (percent && c == '{') {
			depth++;
			percent = false;
		} else if (depth > 0 && c == '}') {
			depth--;
		} else if (depth == 0 && c == ';') {
			if (++field == 5)
				return fail(x, "%{if} takes four or five fields", (struct cv_str){ 0 });
			last_empty = true;
			continue;
		} else if (depth == 0 && c == ':') {
			return fail(x, "a \":\" in %{if} must be written \"\\:\"", (struct cv_str){ 0 });
		}
		cv_buf_append_char(&raw[field], c);
		last_empty = false;
	}
	if (field < 3 || (field == 3 && last_empty))
		return fail(x, "%{if} takes four or five fields", (struct cv_str){ 0 });
	return 0;
}

static int expand_if(struct expansion *x, struct cv_str text, struct cv_buf *out, unsigned depth)
{
	struct cv_buf raw[5], fields[5];
	bool result = false;
	int ret;

	for (size_t i = 0; i < 5; i++) {
		cv_buf_init(&raw[i], VAR_MAX_VALUE);
		cv_buf_init(&fields[i], VAR_MAX_VALUE);
	}
	ret = split_if(x, text, raw);
	for (size_t i = 0; i < 5 && ret == 0; i++)
		ret = expand(x, cv_buf_str(&raw[i]), &fields[i], depth + 1);
	if (ret == 0)
		ret = x->check ? check_if(x, raw) : compare(x, fields, &result);
	if (ret == 0 && !x->check)
		cv_buf_append(out, cv_buf_str(&fields[result ? 3 : 4]));
	for (size_t i = 0; i < 5; i++) {
		cv_buf_deinit(&raw[i]);
		cv_buf_deinit(&fields[i]);
	}
	return ret;
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

static int expand_long(struct expansion *x, struct cv_str name, struct cv_buf *out, unsigned depth)
{
	struct cv_str head, tail, algorithm, opts;

	if (depth > VAR_MAX_DEPTH)
		return cv_err_set(x->err, CV_ERR_LIMIT, "variables are nested more than %d deep", VAR_MAX_DEPTH);
	const struct cv_var *var = find_long(x, name);
	if (var != NULL) {
		cv_buf_append(out, var->value);
		return 0;
	}
	if (cv_str_starts(name, CV_STR("if;")))
		return expand_if(x, cv_str_sub(name, 3, SIZE_MAX), out, depth);
	(void)cv_str_split(name, ':', &head, &tail);
	(void)cv_str_split(head, ';', &algorithm, &opts);
	const char *digest = digest_name(algorithm);
	if (digest != NULL)
		return expand_digest(x, digest, opts, tail, out, depth);
	if (cv_str_eq_c(head, "userdb") || cv_str_eq_c(head, "passdb")) {
		size_t colon = cv_str_find(tail, ':');
		if (colon != SIZE_MAX && (var = find_long(x, cv_str_sub(name, 0, head.len + 1 + colon))) != NULL)
			cv_buf_append(out, var->value);
		else if (colon != SIZE_MAX)
			cv_buf_append(out, cv_str_sub(tail, colon + 1, SIZE_MAX));
		return 0;
	}
	if (x->check && name.len > 0)
		return 0;
	return fail(x, "unknown variable", name.len > 0 ? cv_str_sub(name, 0, 100) : CV_STR("%{}"));
}

/* Digits at *pos; false when the number is out of bounds. */
static bool take_number(struct cv_str text, size_t *pos, int *n_r)
{
	int n = 0;
	while (*pos < text.len && cv_is_digit(text.ptr[*pos])) {
		n = n * 10 + (text.ptr[(*pos)++] - '0');
		if (n > VAR_MAX_NUMBER)
			return false;
	}
	*n_r = n;
	return true;
}

static bool take(struct cv_str text, size_t *pos, char c)
{
	if (*pos >= text.len || text.ptr[*pos] != c)
		return false;
	(*pos)++;
	return true;
}

/* [-][0][number][.[0][-][number]] */
static bool take_spec(struct cv_str text, size_t *pos, struct spec *spec)
{
	bool minus = take(text, pos, '-');
	spec->zero = take(text, pos, '0');
	if (!take_number(text, pos, &spec->width))
		return false;
	if (take(text, pos, '.')) {
		spec->offset = minus ? -spec->width : spec->width;
		spec->zero = take(text, pos, '0');
		minus = take(text, pos, '-');
		if (!take_number(text, pos, &spec->width))
			return false;
		if (minus)
			spec->width = -spec->width;
	}
	while (*pos < text.len && text.ptr[*pos] != '\0' && memchr("LUEXRHNMDT", text.ptr[*pos], 10) != NULL) {
		if (spec->modifier_count == VAR_MAX_MODIFIERS)
			return false;
		spec->modifiers[spec->modifier_count++] = text.ptr[(*pos)++];
	}
	for (size_t i = 0; i < spec->modifier_count; i++)
		if ((spec->modifiers[i] == 'H' || spec->modifiers[i] == 'N') && spec->width < 0)
			return false;
	return true;
}

/* The name within the braces that open at *pos - 1; nested braces count. */
static bool take_braces(struct cv_str text, size_t *pos, struct cv_str *name_r)
{
	size_t depth = 1, start = *pos;
	for (size_t i = start; i < text.len; i++) {
		if (text.ptr[i] == '{')
			depth++;
		if (text.ptr[i] != '}' || --depth > 0)
			continue;
		*name_r = cv_str_sub(text, start, i - start);
		*pos = i + 1;
		return true;
	}
	return false;
}

static int expand_one(struct expansion *x, struct cv_str text, size_t *pos, struct cv_buf *out, unsigned depth)
{
	size_t start = *pos;
	struct spec spec = { 0 };
	struct cv_str name;
	struct cv_buf value;
	int ret = 0;

	if (!take_spec(text, pos, &spec))
		return fail(x, "a number or the modifiers of a variable are out of bounds", cv_str_sub(text, start - 1, 20));
	if (*pos == text.len)
		return fail(x, "a variable's name is missing behind \"%\" (write \"%%\" for a percent sign)", (struct cv_str){ 0 });

	cv_buf_init_wipe(&value, VAR_MAX_VALUE);
	char letter = text.ptr[(*pos)++];
	if (letter == '{') {
		if (!take_braces(text, pos, &name))
			ret = fail(x, "the closing \"}\" of a variable is missing", cv_str_sub(text, start - 1, 40));
		else
			ret = expand_long(x, name, &value, depth);
	} else if (letter == '%') {
		cv_buf_append_char(&value, '%');
	} else {
		const struct cv_var *var = NULL;
		for (size_t i = 0; i < x->count && var == NULL && letter != '\0'; i++)
			if (x->vars[i].letter == letter)
				var = &x->vars[i];
		if (var != NULL)
			cv_buf_append(&value, var->value);
		else if (!x->check || !(cv_is_alnum(letter) || letter == '$'))
			ret = fail(x, "unknown variable", cv_str_sub(text, start - 1, *pos - start + 1));
	}
	for (size_t i = 0; ret == 0 && !x->check && i < spec.modifier_count; i++)
		ret = modify(x, spec.modifiers[i], &value, &spec);
	if (ret == 0 && !cv_buf_ok(&value))
		ret = cv_err_set(x->err, CV_ERR_LIMIT, "a variable's value is longer than %d octets", VAR_MAX_VALUE);
	if (ret == 0 && !x->check)
		append_substring(out, cv_buf_str(&value), &spec);
	cv_buf_deinit(&value);
	return ret;
}

static int expand(struct expansion *x, struct cv_str text, struct cv_buf *out, unsigned depth)
{
	if (depth > VAR_MAX_DEPTH)
		return cv_err_set(x->err, CV_ERR_LIMIT, "variables are nested more than %d deep", VAR_MAX_DEPTH);
	for (size_t pos = 0; pos < text.len;) {
		char c = text.ptr[pos++];
		if (c != '%')
			cv_buf_append_char(out, c);
		else if (expand_one(x, text, &pos, out, depth) < 0)
			return -1;
	}
	if (!cv_buf_ok(out))
		return cv_err_set(x->err, CV_ERR_LIMIT, "the expanded text is too long");
	return 0;
}

int cv_var_expand(struct cv_buf *out, const char *text, const struct cv_var *vars, size_t count, struct cv_err *err)
{
	struct expansion x = { .vars = vars, .count = count, .err = err };
	return expand(&x, cv_str_c(text), out, 0);
}

int cv_var_check(const char *text, struct cv_err *err)
{
	struct expansion x = { .check = true, .err = err };
	struct cv_buf out;
	cv_buf_init(&out, 2 * CONF_MAX_FILE_SIZE);
	int ret = expand(&x, cv_str_c(text), &out, 0);
	cv_buf_deinit(&out);
	return ret;
}
