/* SPDX-License-Identifier: MIT
   What corpus.h promises. */
#include <config.h>

#include "t/bench/corpus.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
	char *octets;
	size_t len, size;
};

static void put(struct text *t, const char *octets, size_t len)
{
	if (len > t->size - t->len) {
		t->size = 2 * (t->size + len);
		t->octets = realloc(t->octets, t->size);
		if (t->octets == NULL)
			abort();
	}
	memcpy(t->octets + t->len, octets, len);
	t->len += len;
}

__attribute__((format(printf, 2, 3))) static void putf(struct text *t, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	put(t, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

/* Numbers that look random and are not. */
static uint32_t roll(uint32_t *seed, uint32_t below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed % below;
}

static const char *const words_ascii[] = { "harbour", "the", "of", "ship", "and", "cargo", "invoice", "a", "meeting", "on", "Tuesday", "please", "find",
	"attached", "report", "for", "we", "should", "discuss", "numbers", "before", "it", "leaves", "regards", "office", "keys", "garden", "music", "tomorrow",
	"is", "not", "yet", "ready", "but", "will", "be", "soon", "with", "all", "that", "was", "promised", "anchor", "weather", "station", "in", "to" };
static const char *const words_latin1[] = { "gr\xfc\xdf" "e", "stra\xdf" "e", "m\xf6" "chten", "wir", "sch\xf6n", "und", "der", "die", "\xfc" "ber", "Rechnung",
	"f\xfcr", "caf\xe9", "d\xe9j\xe0", "vu", "fa\xe7" "ade", "termin", "bis", "n\xe4" "chste", "woche" };
static const char *const words_utf8[] = { "гавань", "и", "корабль", "встреча", "в", "понедельник", "счёт", "отчёт", "пожалуйста", "завтра", "grüße", "straße",
	"λιμάνι", "πλοίο", "café", "und", "the", "of" };
static const char *const words_wide[] = { "港口", "船", "会議", "月曜日", "請求書", "報告", "明日", "お願い", "します", "天気", "庭", "音楽", "駅", "、", "。" };

enum charset { ASCII, LATIN1, UTF8, WIDE };
static const struct {
	const char *name;
	const char *const *words;
	unsigned count;
	bool spaces;
} charsets[] = {
	[ASCII] = { "us-ascii", words_ascii, sizeof(words_ascii) / sizeof(words_ascii[0]), true },
	[LATIN1] = { "iso-8859-1", words_latin1, sizeof(words_latin1) / sizeof(words_latin1[0]), true },
	[UTF8] = { "utf-8", words_utf8, sizeof(words_utf8) / sizeof(words_utf8[0]), true },
	[WIDE] = { "utf-8", words_wide, sizeof(words_wide) / sizeof(words_wide[0]), false },
};

/* Lines of words, at least size octets; the word that is searched stands in the middle when marked. */
static void put_prose(struct text *t, uint32_t *seed, enum charset charset, size_t size, bool marked, const char *line_end)
{
	size_t end = t->len + size, mark = t->len + size / 2, column = 0;

	while (t->len < end) {
		const char *word = charsets[charset].words[roll(seed, charsets[charset].count)];

		if (marked && t->len >= mark) {
			word = CORPUS_WORD;
			marked = false;
		}
		if (column > 0 && charsets[charset].spaces)
			put(t, " ", 1);
		put(t, word, strlen(word));
		column += strlen(word) + 1;
		if (column > 66) {
			put(t, line_end, strlen(line_end));
			column = 0;
		}
	}
	put(t, line_end, strlen(line_end));
}

static void put_base64(struct text *t, const char *octets, size_t len, bool lines)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = 0;
		char four[4];

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (i + k < len ? (uint8_t)octets[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			four[k] = i + k > len ? '=' : alphabet[v >> (18 - 6 * k) & 63];
		put(t, four, 4);
		if (lines && (i / 3 % 19 == 18 || i + 3 >= len))
			put(t, "\r\n", 2);
	}
}

static void put_quoted_printable(struct text *t, const char *octets, size_t len)
{
	size_t column = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)octets[i];

		if (c == '\r' && i + 1 < len && octets[i + 1] == '\n') {
			put(t, "\r\n", 2);
			column = 0;
			i++;
			continue;
		}
		if (column > 70) {
			put(t, "=\r\n", 3);
			column = 0;
		}
		if (c == '=' || c < ' ' || c > '~') {
			putf(t, "=%02X", c);
			column += 3;
		} else {
			put(t, (const char *)&octets[i], 1);
			column++;
		}
	}
	put(t, "\r\n", 2);
}

/* Header fields of a body part and the part. */
static void put_text_part(struct text *t, uint32_t *seed, enum charset charset, const char *type, const char *encoding, size_t size, bool marked)
{
	struct text prose = { 0 };

	putf(t, "Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n", type, charsets[charset].name, encoding);
	if (strcmp(type, "html") == 0)
		putf(&prose, "<html><head><style>p { margin: 0 }</style></head><body>\r\n<p class=\"first\">");
	put_prose(&prose, seed, charset, size, marked, strcmp(type, "html") == 0 ? "</p>\r\n<p>" : "\r\n");
	if (strcmp(type, "html") == 0)
		putf(&prose, "</p></body></html>\r\n");
	if (encoding[0] == 'b')
		put_base64(t, prose.octets, prose.len, true);
	else if (encoding[0] == 'q')
		put_quoted_printable(t, prose.octets, prose.len);
	else
		put(t, prose.octets, prose.len);
	free(prose.octets);
}

static void put_attachment(struct text *t, uint32_t *seed, size_t size)
{
	static const char *const types[] = { "application/pdf", "image/jpeg", "application/zip", "application/octet-stream" };
	unsigned which = roll(seed, 4);
	char *octets = malloc(size);

	if (octets == NULL)
		abort();
	for (size_t i = 0; i < size; i++)
		octets[i] = (char)roll(seed, 256);
	putf(t, "Content-Type: %s; name=\"file-%u.bin\"\r\nContent-Disposition: attachment; filename=\"file-%u.bin\"\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n", types[which], which, which);
	put_base64(t, octets, size, true);
	free(octets);
}

static void put_subject(struct text *t, uint32_t *seed, unsigned n)
{
	struct text words = { 0 };
	const char *re = n % 3 == 0 ? "" : "Re: ";

	/* Three messages make a thread. */
	*seed = 77 + n / 3 * 2654435761u;
	if (n / 3 % 4 == 3) {
		put_prose(&words, seed, n / 3 % 8 == 3 ? UTF8 : WIDE, 20, false, "");
		putf(t, "Subject: %s=?UTF-8?B?", re);
		put_base64(t, words.octets, words.len, false);
		putf(t, "?= %u%s\r\n", n / 3, n % 50 == 7 ? " " CORPUS_WORD : "");
	} else {
		put_prose(&words, seed, ASCII, 24, false, "");
		putf(t, "Subject: %s%.*s %u%s\r\n", re, (int)words.len, words.octets, n / 3, n % 50 == 7 ? " " CORPUS_WORD : "");
	}
	free(words.octets);
	*seed = 1 + n * 2246822519u;
}

static void put_header(struct text *t, uint32_t *seed, unsigned n)
{
	static const char *const people[] = { "Anna Berg", "\"Okafor, Chidi\"", "=?ISO-8859-1?Q?J=F6rg_M=FCller?=", "=?UTF-8?B?0JjQstCw0L0=?=", "billing",
		"Maria Gomez" };
	unsigned hops = 1 + roll(seed, 5);

	for (unsigned i = 0; i < hops; i++)
		putf(t, "Received: from relay%u.example.net (relay%u.example.net [192.0.2.%u])\r\n\tby mx%u.bench.example with ESMTPS id %08x%u\r\n"
			"\tfor <reader@bench.example>; Mon, %u Nov 2026 1%u:%02u:00 +0000\r\n",
			i, i, 1 + roll(seed, 250), i, roll(seed, 1u << 31), n, 1 + n % 28, n % 10, n % 60);
	putf(t, "From: %s <writer%u@bench.example>\r\nTo: reader@bench.example\r\n", people[roll(seed, 6)], n % 97);
	if (n % 4 == 0)
		putf(t, "Cc: third@bench.example, \"Fourth Party\" <fourth%u@example.net>,\r\n fifth@example.org\r\n", n % 13);
	put_subject(t, seed, n);
	putf(t, "Date: Mon, %u Nov 2026 1%u:%02u:%02u +0%u00\r\nMessage-ID: <c%u.%u@bench.example>\r\n", 1 + n % 28, n % 10, n % 60, n % 59, n % 3, n, n * 7919u);
	if (n % 3 != 0)
		putf(t, "In-Reply-To: <c%u.%u@bench.example>\r\nReferences: <c%u.%u@bench.example>\r\n", n - 1, (n - 1) * 7919u, n - n % 3, (n - n % 3) * 7919u);
	if (n % 5 == 1)
		putf(t, "List-Id: Ships <ships.lists.bench.example>\r\nList-Unsubscribe: <mailto:ships-leave@lists.bench.example>\r\nPrecedence: list\r\n"
			"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=bench.example; s=k%u;\r\n\tb=%08x%08x%08x%08x%08x\r\n", n % 3,
			roll(seed, 1u << 31), roll(seed, 1u << 31), roll(seed, 1u << 31), roll(seed, 1u << 31), roll(seed, 1u << 31));
	putf(t, "X-Bench: %u\r\nMIME-Version: 1.0\r\n", n);
}

static void put_forwarded(struct text *t, uint32_t *seed, bool marked)
{
	putf(t, "Content-Type: multipart/mixed; boundary=\"fwd\"\r\n\r\n--fwd\r\n");
	put_text_part(t, seed, ASCII, "plain", "7bit", 300, false);
	putf(t, "--fwd\r\nContent-Type: message/rfc822\r\n\r\nFrom: Inner <inner@example.net>\r\nTo: outer@example.net\r\nSubject: inner\r\n"
		"Date: Sun, 1 Nov 2026 09:00:00 +0000\r\nMIME-Version: 1.0\r\n");
	put_text_part(t, seed, LATIN1, "plain", "quoted-printable", 3000 + roll(seed, 4000), marked);
	putf(t, "--fwd--\r\n");
}

static void put_alternative(struct text *t, uint32_t *seed, bool marked, size_t attachment)
{
	enum charset charset = roll(seed, 2) ? UTF8 : LATIN1;

	if (attachment > 0)
		putf(t, "Content-Type: multipart/mixed; boundary=\"mix=_1\"\r\n\r\n--mix=_1\r\n");
	putf(t, "Content-Type: multipart/alternative;\r\n boundary=\"alt=_%u\"\r\n\r\nThis is a message in several parts.\r\n--alt=_%u\r\n", 7u, 7u);
	put_text_part(t, seed, charset, "plain", "quoted-printable", 1000 + roll(seed, 2500), marked);
	putf(t, "--alt=_%u\r\n", 7u);
	put_text_part(t, seed, charset, "html", "quoted-printable", 4000 + roll(seed, 12000), marked);
	putf(t, "--alt=_%u--\r\n", 7u);
	if (attachment > 0) {
		putf(t, "--mix=_1\r\n");
		put_attachment(t, seed, attachment);
		putf(t, "--mix=_1--\r\n");
	}
}

static void put_sized(struct text *t, uint32_t *seed, size_t size)
{
	size_t used;

	putf(t, "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n");
	used = t->len + 300;
	put_text_part(t, seed, ASCII, "plain", "7bit", size > used ? size - used : 1, false);
	putf(t, "--b1\r\n");
	put_attachment(t, seed, 16);
	putf(t, "--b1--\r\n");
}

struct corpus_message corpus_make(unsigned n, size_t size)
{
	struct text t = { 0 };
	uint32_t seed = 1 + n * 2246822519u;
	bool marked = n % 40 == 11;
	unsigned kind;

	put_header(&t, &seed, n);
	kind = size > 0 ? UINT32_MAX : roll(&seed, 100);
	if (size > 0)
		put_sized(&t, &seed, size);
	else if (kind < 35)
		put_text_part(&t, &seed, ASCII, "plain", "7bit", 400 + roll(&seed, 3500), marked);
	else if (kind < 45)
		put_text_part(&t, &seed, UTF8, "plain", "8bit", 800 + roll(&seed, 5000), marked);
	else if (kind < 53)
		put_text_part(&t, &seed, LATIN1, "plain", "quoted-printable", 800 + roll(&seed, 5000), marked);
	else if (kind < 60)
		put_text_part(&t, &seed, WIDE, "plain", "base64", 800 + roll(&seed, 4000), marked);
	else if (kind < 65)
		put_forwarded(&t, &seed, marked);
	else if (kind < 88)
		put_alternative(&t, &seed, marked, 0);
	else if (kind < 98)
		put_alternative(&t, &seed, marked, 5000 + roll(&seed, 100000));
	else
		put_alternative(&t, &seed, marked, 100000 + roll(&seed, 120000));
	return (struct corpus_message){ .octets = t.octets, .len = t.len };
}

void corpus_free(struct corpus_message *message)
{
	free(message->octets);
	*message = (struct corpus_message){ 0 };
}
