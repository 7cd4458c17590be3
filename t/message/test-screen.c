/* SPDX-License-Identifier: MIT
   Texts in which keys are looked for before they are converted and mapped: the answers are those of mapped text, for messages, keys, charsets and encodings
   that are put together by chance. */
#include <config.h>

#include "core/message/screen-scan-private.h"
#include "t/lib/mapped-search.h"
#include "t/lib/test.h"
#include <culver/charset.h>
#include <culver/search.h>

static uint32_t seed = 1;

static uint32_t roll(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

/* Pieces that come together in texts and keys: letters of few words, so that keys are nearly found often; characters that become ASCII or begin or end with it;
   what is no UTF-8. */
static const char *const pieces[] = { "a", "B", "e", "E", "n", "r", "t", "T", "the", "then", "quartz", "QUARTZ", "1", "2", " ", " ", ".", "-", "K", "k",
	"\r\n", "\n", "=", "_", "caf\u00E9", "\u00C9", "\u00E9", "e\u0301", "\u0301", "\u00DF", "\u00E4", "\u00A0", "\u00BC", "\u00AA", "\u2026", "\u2122", "\u212A",
	"\u017F", "\uFB01", "\uFF21", "\uFF42", "\u01C6", "\u2100", "\u33A5", "\u0433\u0430\u0432", "\u0413\u0410\u0412", "\u0419", "\u0439", "\u03AC", "\u03B1",
	"\u6E2F", "\u53E3", "\u304C", "\u30AC", "\uFF76", "\uD55C", "\uAD6D", "\u1E9B", "\uFDFA", "\U0001F600", "\U0001D400", "\U0001F130", "\U00020000" };
static const char *const odd[] = { "\xFF", "\xC3", "\xE2\x80", "\xED\xA0\x80", "\xF0\x9F", "\xA9", "\xC0\x80", "\xEF\xBF\xBD", "\xF4\x90\x80\x80" };
static const char *const markup[] = { "<b>", "</b>", "<p class='x'>", "<br>", "&eacute;", "&nbsp;", "&#65;", "&#x301;", "&amp;", "<!-- quartz -->", "<", "&", ">",
	"<style>quartz</style>", "the<i>n</i>" };

static void put_text(struct cv_buf *out, size_t count, bool odd_too, bool html)
{
	uint32_t from = roll(2) ? 0 : roll((uint32_t)CV_COUNT_OF(pieces)), range = 1 + roll((uint32_t)CV_COUNT_OF(pieces) - from);

	for (size_t i = 0; i < count; i++) {
		uint32_t kind = roll(40);

		if (kind == 0 && odd_too)
			cv_buf_append_c(out, odd[roll((uint32_t)CV_COUNT_OF(odd))]);
		else if (kind < 6 && html)
			cv_buf_append_c(out, markup[roll((uint32_t)CV_COUNT_OF(markup))]);
		else if (kind < 20)
			cv_buf_append_c(out, pieces[from + roll(range)]);
		else
			cv_buf_append_c(out, pieces[roll(18)]);
	}
}

static const char *const charsets[] = { "utf-8", "utf-8", "us-ascii", "iso-8859-1", "windows-1251", "koi8-r", "iso-8859-7", "iso-2022-jp", "utf-7", "utf-16le",
	"x-unknown" };
static const char *const encodings[] = { "8bit", "base64", "quoted-printable", "quoted-printable", "x-odd" };

/* Quoted-printable as nobody writes it, and everyone may: what need not be is quoted, lines go on anywhere. */
static void put_overquoted(struct cv_buf *m, struct cv_str octets)
{
	static const char *const breaks[] = { "=\r\n", "=\n", "= \t\r\n", "=", "=4" };

	for (size_t i = 0; i < octets.len; i++) {
		uint8_t c = (uint8_t)octets.ptr[i];

		if (roll(25) == 0)
			cv_buf_append_c(m, breaks[roll(30) > 0 ? roll(3) : roll(5)]);
		if (c == '=' || c >= 0x80 || roll(20) == 0)
			cv_buf_printf(m, roll(2) ? "=%02X" : "=%02x", c);
		else
			cv_buf_append_char(m, (char)c);
	}
}

static void put_encoded(struct cv_buf *m, struct cv_str octets, const char *encoding)
{
	if (encoding[0] == 'b')
		cv_encode_base64_lines(m, octets);
	else if (encoding[0] == 'q' && roll(2))
		put_overquoted(m, octets);
	else if (encoding[0] == 'q')
		cv_encode_qp(m, octets);
	else
		cv_buf_append(m, octets);
}

static void put_part(struct cv_buf *m, size_t count)
{
	const char *charset = charsets[roll((uint32_t)CV_COUNT_OF(charsets))], *encoding = encodings[roll((uint32_t)CV_COUNT_OF(encodings))];
	bool html = roll(3) == 0;
	struct cv_buf text, octets;

	cv_buf_init(&text, SIZE_MAX / 2);
	cv_buf_init(&octets, SIZE_MAX / 2);
	put_text(&text, count, true, html);
	/* What the charset does not have stays UTF-8, which is then read as something else. */
	if (!cv_charset_from_utf8(cv_str_c(charset), cv_buf_str(&text), &octets)) {
		cv_buf_clear(&octets);
		cv_buf_append(&octets, cv_buf_str(&text));
	}
	cv_buf_printf(m, "Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n", html ? "html" : "plain", charset, encoding);
	put_encoded(m, cv_buf_str(&octets), encoding);
	cv_buf_append_c(m, "\r\n");
	cv_buf_deinit(&text);
	cv_buf_deinit(&octets);
}

static void put_address_field(struct cv_buf *m)
{
	static const char *const parts[] = { "the", "quartz", "a", "n", "@", "@", ".", " ", " ", "<", ">", "(x)", "\"", ",", ":", ";", "[", "]", "\\", "\t", "\r\n " };

	cv_buf_append_c(m, roll(2) ? "To: " : "From: ");
	for (uint32_t i = roll(12); i > 0; i--)
		cv_buf_append_c(m, parts[roll((uint32_t)CV_COUNT_OF(parts))]);
	cv_buf_append_c(m, "\r\n");
}

static void put_message(struct cv_buf *m, size_t count)
{
	static const char *const fields[] = { "Subject: then the quartz\r\n", "X-The: a\r\n b\r\n", "Received: by quartz (the n)\r\n", "not a field\r\n",
		"Subject: =?utf-8?q?caf=C3=A9?= =?utf-8?q?then?=\r\n", "X: caf\xE9 then\r\n", "The-n: x\r\n", "Cc: the then <quartz@then.example>, e@n\r\n" };

	put_address_field(m);
	for (uint32_t i = roll(4); i > 0; i--)
		cv_buf_append_c(m, fields[roll((uint32_t)CV_COUNT_OF(fields))]);
	if (roll(3) > 0) {
		put_part(m, count);
		return;
	}
	cv_buf_append_c(m, "Content-Type: multipart/mixed; boundary=xx\r\n\r\n");
	for (uint32_t i = roll(4); i > 0; i--) {
		cv_buf_append_c(m, "--xx\r\n");
		put_part(m, count);
	}
	cv_buf_append_c(m, "--xx--\r\n");
}

/* Some pieces; now and then one in other case, or of one character only. */
static void put_key(struct cv_buf *out)
{
	uint32_t from = roll(2) ? 0 : roll((uint32_t)CV_COUNT_OF(pieces));

	cv_buf_clear(out);
	for (uint32_t i = 1 + roll(4); i > 0; i--)
		cv_buf_append_c(out, pieces[roll(3) ? roll(18) : from + roll((uint32_t)CV_COUNT_OF(pieces) - from)]);
	for (size_t i = 0; i < out->len; i++)
		if (roll(2))
			out->data[i] = cv_lower(out->data[i]);
}

/* A source that gives few octets at a time, and others now. */
struct drip {
	struct cv_message_reader base;
	struct cv_str octets;
};

static int drip_get(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r, struct cv_err *err CV_UNUSED)
{
	const struct drip *drip = (const struct drip *)(const void *)reader;
	size_t few = 1 + roll(90);

	if (pos >= drip->octets.len)
		return 0;
	*view_r = cv_str_sub(drip->octets, (size_t)pos, CV_MIN(max, few));
	return 1;
}

static const struct cv_message_reader_ops drip_ops = { .get = drip_get };

static void check(struct cv_message_reader *reader, const struct cv_mime_part *root, enum cv_search_where where, struct cv_str key, bool want, struct cv_str message)
{
	struct cv_search *search = cv_search_new();
	size_t index;
	int result;

	assert_int_equal(cv_search_add(search, where, CV_STR(""), key, &index, NULL), 1);
	/* Twice: what is remembered of characters is used. */
	for (int again = 0; again < 2; again++) {
		cv_search_begin(search, reader, root);
		while ((result = cv_search_step(search, 100, NULL)) == 0)
			;
		assert_int_equal(result, 1);
		if (cv_search_found(search, index) != want)
			fail_msg("key \"%.*s\" is %s found in:\n%.*s", (int)key.len, key.ptr, want ? "not" : "wrongly", (int)CV_MIN(message.len, (size_t)3000), message.ptr);
	}
	cv_search_free(&search);
}

static unsigned compare_messages(unsigned rounds, size_t count)
{
	struct cv_buf m, key;
	unsigned found = 0;

	cv_buf_init(&m, SIZE_MAX / 2);
	cv_buf_init(&key, SIZE_MAX / 2);
	for (unsigned round = 0; round < rounds; round++) {
		struct cv_arena *arena = cv_arena_new("message", NULL, 0);
		struct cv_message_reader *reader;
		struct cv_message *parsed;

		cv_buf_clear(&m);
		put_message(&m, 1 + roll((uint32_t)count));
		reader = cv_message_reader_new_mem(cv_buf_str(&m));
		assert_int_equal(cv_message_parse(arena, NULL, reader, &parsed, NULL), 1);
		for (unsigned k = 0; k < 12; k++) {
			enum cv_search_where where = roll(2) ? CV_SEARCH_BODY : CV_SEARCH_TEXT;
			struct drip drip = { .base = { .ops = &drip_ops, .size = m.len }, .octets = cv_buf_str(&m) };
			bool want;

			put_key(&key);
			want = mapped_search(reader, parsed->root, where, cv_buf_str(&key));
			found += want;
			check(reader, parsed->root, where, cv_buf_str(&key), want, cv_buf_str(&m));
			check(&drip.base, parsed->root, where, cv_buf_str(&key), want, cv_buf_str(&m));
		}
		cv_message_reader_free(&reader);
		cv_arena_free(&arena);
	}
	cv_buf_deinit(&m);
	cv_buf_deinit(&key);
	return found;
}

static void short_texts_are_searched_as_mapped_ones(void **state CV_UNUSED)
{
	unsigned found = compare_messages(1500, 60);

	/* both answers are frequent */
	assert_in_range(found, 1500 * 12 / 10, 1500 * 12 * 9 / 10);
}

static void long_texts_are_searched_as_mapped_ones(void **state CV_UNUSED)
{
	(void)compare_messages(8, 60000);
}

/* Every character, alone and among letters, with keys that are what it becomes, and half of that. */
static void every_character_is_found_by_what_it_becomes(void **state)
{
	struct cv_buf m, mapped, text;

	cv_buf_init(&m, SIZE_MAX / 2);
	cv_buf_init(&mapped, SIZE_MAX / 2);
	cv_buf_init(&text, SIZE_MAX / 2);
	for (uint32_t c = 0x80; c < 0x20000; c += 1 + (c >= 0x2000 ? roll(c >= 0x4000 && c < 0xA000 ? 400 : 20) : roll(3))) {
		struct cv_message_reader *reader;
		struct cv_message *parsed;
		struct cv_str key;

		if (c >= 0xD800 && c <= 0xDFFF)
			continue;
		cv_buf_clear(&text);
		cv_buf_append_utf8(&text, c);
		cv_buf_clear(&mapped);
		cv_casemap(&mapped, cv_buf_str(&text));
		cv_buf_clear(&m);
		cv_buf_append_c(&m, "Content-Type: text/plain; charset=utf-8\r\n\r\nxAy");
		cv_buf_append(&m, cv_buf_str(&text));
		cv_buf_append_c(&m, "zBw and so on, to be longer than what is looked at together by far, so that it is done\r\n");
		reader = cv_message_reader_new_mem(cv_buf_str(&m));
		assert_int_equal(cv_message_parse(*state, NULL, reader, &parsed, NULL), 1);
		for (unsigned way = 0; way < 4; way++) {
			size_t cut = 1;

			while (cut < mapped.len && ((uint8_t)mapped.data[cut] & 0xC0) == 0x80)
				cut++;
			cv_buf_clear(&text);
			cv_buf_append_c(&text, way == 1 ? "ay" : "");
			cv_buf_append(&text, cv_str_sub(cv_buf_str(&mapped), way == 2 && cut < mapped.len ? cut : 0, way == 3 ? cut : SIZE_MAX));
			cv_buf_append_c(&text, way < 3 ? "zb" : "");
			key = cv_buf_str(&text);
			check(reader, parsed->root, CV_SEARCH_BODY, key, mapped_search(reader, parsed->root, CV_SEARCH_BODY, key), cv_buf_str(&m));
		}
		cv_message_reader_free(&reader);
		cv_arena_reset(*state);
	}
	cv_buf_deinit(&m);
	cv_buf_deinit(&mapped);
	cv_buf_deinit(&text);
}

/* Keys that are nearly everywhere are not compared to the end everywhere: the longest key, a text of 2 MiB. */
static void nearly_equal_texts_take_linear_time(void **state)
{
	static const char *const units[] = { "a", "\u0430", "\u00E9", "ab", "\U0001D400" };

	for (size_t i = 0; i < CV_COUNT_OF(units); i++) {
		struct cv_message_reader *reader;
		struct cv_message *parsed;
		struct cv_buf m, key;

		cv_buf_init(&m, SIZE_MAX / 2);
		cv_buf_init(&key, SIZE_MAX / 2);
		cv_buf_append_c(&m, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
		while (m.len < 2000000)
			cv_buf_append_c(&m, units[i]);
		while (key.len < 3900)
			cv_buf_append_c(&key, units[i]);
		cv_buf_append_c(&key, "!");
		reader = cv_message_reader_new_mem(cv_buf_str(&m));
		assert_int_equal(cv_message_parse(*state, NULL, reader, &parsed, NULL), 1);
		check(reader, parsed->root, CV_SEARCH_BODY, cv_buf_str(&key), false, CV_STR(""));
		cv_message_reader_free(&reader);
		cv_buf_deinit(&m);
		cv_buf_deinit(&key);
	}
}

/* ---- octets that are passed over ---- */

static bool is_in(struct cv_scan_ranges ranges, unsigned octet)
{
	return (octet >= ranges.low[0] && octet <= (unsigned)ranges.low[0] + ranges.span[0]) ||
		(octet >= ranges.low[1] && octet <= (unsigned)ranges.low[1] + ranges.span[1]);
}

static bool is_like(struct cv_scan_either either, unsigned octet)
{
	return (octet | either.both) == either.value;
}

/* One octet and the next, as the header tells it. raw: quoted_printable and so on count. */
static bool is_candidate(const struct cv_scan_raw *scan, bool raw, unsigned octet, unsigned next)
{
	if (is_in(scan->plain.counts, octet) || (is_like(scan->plain.first, octet) && is_like(scan->plain.second, next)))
		return true;
	if (!raw)
		return false;
	if (octet == scan->ampersand)
		return true;
	if (is_like(scan->plain.first, octet) && (next == '=' || next == '<' || next == scan->ampersand || next >= 0x80))
		return true;
	return scan->quoted_printable && octet == '=' &&
		((next | 2) == scan->quoted || next == scan->quoted_ampersand || is_in(scan->quoted_counts, next | 0x20));
}

static size_t skip_slowly(const struct cv_scan_raw *scan, bool raw, const uint8_t *p, size_t len)
{
	size_t at;

	for (at = 0; len - at > CV_SCAN_BLOCK; at += CV_SCAN_BLOCK)
		for (size_t i = at; i < at + CV_SCAN_BLOCK; i++)
			if (is_candidate(scan, raw, p[i], p[i + 1]))
				return at;
	return at;
}

static struct cv_scan_ranges some_ranges(unsigned least)
{
	unsigned low = least + roll(256 - least), high = low + roll(256 - low);

	return (struct cv_scan_ranges){ { (uint8_t)low, (uint8_t)high }, { (uint8_t)roll(high - low + 1), (uint8_t)roll(256 - high) } };
}

static struct cv_scan_either some_octet(void)
{
	return roll(3) > 0 ? (struct cv_scan_either){ 0x20, (uint8_t)('a' + roll(26)) } : (struct cv_scan_either){ 0, (uint8_t)roll(256) };
}

/* Whatever the processor can, the same blocks are passed over; rarely a candidate, so that there are such blocks. */
static void blocks_are_passed_over_alike(void **state CV_UNUSED)
{
	uint8_t text[1000];

	for (unsigned round = 0; round < 100000; round++) {
		struct cv_scan_raw scan = { .plain = { some_octet(), some_octet(), some_ranges(0x80) }, .quoted_printable = roll(2) > 0,
			.ampersand = roll(2) > 0 ? '&' : 0xFF, .quoted = (uint8_t)('0' + roll(10)), .quoted_ampersand = roll(2) > 0 ? '2' : 0xFF,
			.quoted_counts = some_ranges('8') };
		static const char frequent[] = "=&<=2468acdfACDF";
		size_t len = roll(1 + sizeof(text)), from = roll(1 + (uint32_t)CV_MIN(len, (size_t)70));
		uint32_t most = roll(3) > 0 ? 0x80 : 0x100, rare = 1 + roll(400);

		for (size_t i = 0; i < len; i++)
			text[i] = (uint8_t)(roll(rare) > 0 ? 'x' : roll(3) > 0 ? (uint32_t)frequent[roll(sizeof(frequent) - 1)] : roll(most));
		assert_int_equal(cv_scan_skip(&scan.plain, text + from, len - from), skip_slowly(&scan, false, text + from, len - from));
		assert_int_equal(cv_scan_skip_portable(&scan.plain, text + from, len - from), skip_slowly(&scan, false, text + from, len - from));
		assert_int_equal(cv_scan_skip_raw(&scan, text + from, len - from), skip_slowly(&scan, true, text + from, len - from));
		assert_int_equal(cv_scan_skip_raw_portable(&scan, text + from, len - from), skip_slowly(&scan, true, text + from, len - from));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(blocks_are_passed_over_alike),
		cv_test_fds_only(short_texts_are_searched_as_mapped_ones),
		cv_test_fds_only(long_texts_are_searched_as_mapped_ones),
		cv_test_fds_only(every_character_is_found_by_what_it_becomes),
		cv_test_fds_only(nearly_equal_texts_take_linear_time),
	};
	int failed = cv_test_run(tests);

	cv_charset_cache_clear();
	return failed;
}
