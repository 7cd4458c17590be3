/* SPDX-License-Identifier: MIT
   Streaming HTML to plain text, for previews and search. */
#include <config.h>

#include "core/message/text-private.h"
#include "core/message/words-private.h"

#include <culver/reader.h>

#include <string.h>

enum html_state {
	HTML_TEXT,
	HTML_OPEN,      /* behind "<" */
	HTML_NAME,      /* in a tag's name */
	HTML_TAG,       /* behind it */
	HTML_QUOTE,     /* in a quoted attribute value */
	HTML_BANG,      /* behind "<!" */
	HTML_BANG_DASH, /* behind "<!-" */
	HTML_COMMENT,
	HTML_DECL,      /* "<!…>" and "<?…>" */
	HTML_SKIP,      /* content of script, style, title, up to its end tag */
	HTML_ENTITY
};

static const struct {
	const char *name;
	uint32_t code_point;
} entities[] = { { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' }, { "nbsp", 0xA0 },
	{ "iexcl", 0xA1 }, { "cent", 0xA2 }, { "pound", 0xA3 }, { "curren", 0xA4 }, { "yen", 0xA5 }, { "brvbar", 0xA6 },
	{ "sect", 0xA7 }, { "uml", 0xA8 }, { "copy", 0xA9 }, { "ordf", 0xAA }, { "laquo", 0xAB }, { "not", 0xAC },
	{ "shy", 0xAD }, { "reg", 0xAE }, { "macr", 0xAF }, { "deg", 0xB0 }, { "plusmn", 0xB1 }, { "sup2", 0xB2 },
	{ "sup3", 0xB3 }, { "acute", 0xB4 }, { "micro", 0xB5 }, { "para", 0xB6 }, { "middot", 0xB7 }, { "cedil", 0xB8 },
	{ "sup1", 0xB9 }, { "ordm", 0xBA }, { "raquo", 0xBB }, { "frac14", 0xBC }, { "frac12", 0xBD },
	{ "frac34", 0xBE }, { "iquest", 0xBF }, { "Agrave", 0xC0 }, { "Aacute", 0xC1 }, { "Acirc", 0xC2 },
	{ "Atilde", 0xC3 }, { "Auml", 0xC4 }, { "Aring", 0xC5 }, { "AElig", 0xC6 }, { "Ccedil", 0xC7 },
	{ "Egrave", 0xC8 }, { "Eacute", 0xC9 }, { "Ecirc", 0xCA }, { "Euml", 0xCB }, { "Igrave", 0xCC },
	{ "Iacute", 0xCD }, { "Icirc", 0xCE }, { "Iuml", 0xCF }, { "ETH", 0xD0 }, { "Ntilde", 0xD1 }, { "Ograve", 0xD2 },
	{ "Oacute", 0xD3 }, { "Ocirc", 0xD4 }, { "Otilde", 0xD5 }, { "Ouml", 0xD6 }, { "times", 0xD7 },
	{ "Oslash", 0xD8 }, { "Ugrave", 0xD9 }, { "Uacute", 0xDA }, { "Ucirc", 0xDB }, { "Uuml", 0xDC },
	{ "Yacute", 0xDD }, { "THORN", 0xDE }, { "szlig", 0xDF }, { "agrave", 0xE0 }, { "aacute", 0xE1 },
	{ "acirc", 0xE2 }, { "atilde", 0xE3 }, { "auml", 0xE4 }, { "aring", 0xE5 }, { "aelig", 0xE6 },
	{ "ccedil", 0xE7 }, { "egrave", 0xE8 }, { "eacute", 0xE9 }, { "ecirc", 0xEA }, { "euml", 0xEB },
	{ "igrave", 0xEC }, { "iacute", 0xED }, { "icirc", 0xEE }, { "iuml", 0xEF }, { "eth", 0xF0 }, { "ntilde", 0xF1 },
	{ "ograve", 0xF2 }, { "oacute", 0xF3 }, { "ocirc", 0xF4 }, { "otilde", 0xF5 }, { "ouml", 0xF6 },
	{ "divide", 0xF7 }, { "oslash", 0xF8 }, { "ugrave", 0xF9 }, { "uacute", 0xFA }, { "ucirc", 0xFB },
	{ "uuml", 0xFC }, { "yacute", 0xFD }, { "thorn", 0xFE }, { "yuml", 0xFF }, { "OElig", 0x152 }, { "oelig", 0x153 },
	{ "Scaron", 0x160 }, { "scaron", 0x161 }, { "Yuml", 0x178 }, { "fnof", 0x192 }, { "circ", 0x2C6 },
	{ "tilde", 0x2DC }, { "ensp", 0x2002 }, { "emsp", 0x2003 }, { "thinsp", 0x2009 }, { "zwnj", 0x200C },
	{ "zwj", 0x200D }, { "lrm", 0x200E }, { "rlm", 0x200F }, { "ndash", 0x2013 }, { "mdash", 0x2014 },
	{ "lsquo", 0x2018 }, { "rsquo", 0x2019 }, { "sbquo", 0x201A }, { "ldquo", 0x201C }, { "rdquo", 0x201D },
	{ "bdquo", 0x201E }, { "dagger", 0x2020 }, { "Dagger", 0x2021 }, { "bull", 0x2022 }, { "hellip", 0x2026 },
	{ "permil", 0x2030 }, { "prime", 0x2032 }, { "Prime", 0x2033 }, { "lsaquo", 0x2039 }, { "rsaquo", 0x203A },
	{ "euro", 0x20AC }, { "trade", 0x2122 }, { "larr", 0x2190 }, { "uarr", 0x2191 }, { "rarr", 0x2192 },
	{ "darr", 0x2193 }, { "harr", 0x2194 }, { "minus", 0x2212 }, { "infin", 0x221E }, { "asymp", 0x2248 },
	{ "ne", 0x2260 }, { "le", 0x2264 }, { "ge", 0x2265 }, { "hearts", 0x2665 } };

/* Elements that do not break the line they stand in, by their first letter. */
static const char *const inline_names[26] = { ['a' - 'a'] = "a abbr acronym", ['b' - 'a'] = "b bdi bdo big", ['c' - 'a'] = "cite code", ['d' - 'a'] = "del dfn",
	['e' - 'a'] = "em", ['f' - 'a'] = "font", ['i' - 'a'] = "i img ins", ['k' - 'a'] = "kbd", ['l' - 'a'] = "label", ['m' - 'a'] = "mark",
	['n' - 'a'] = "nobr", ['o' - 'a'] = "o:p", ['q' - 'a'] = "q", ['s' - 'a'] = "s samp small span strike strong sub sup", ['t' - 'a'] = "tt",
	['u' - 'a'] = "u", ['v' - 'a'] = "var", ['w' - 'a'] = "wbr" };
/* Those whose content is not shown. */
static const char *const skipped_names[26] = { ['s' - 'a'] = "script style", ['t' - 'a'] = "title" };

static bool is_listed(const struct cv_html_text *html, const char *const by_letter[26])
{
	const char *names = html->name_len > 0 && html->name[0] >= 'a' && html->name[0] <= 'z' ? by_letter[html->name[0] - 'a'] : NULL;

	while (names != NULL && *names != '\0') {
		size_t len = strcspn(names, " ");

		if (len == html->name_len && memcmp(names, html->name, len) == 0)
			return true;
		names += len + (names[len] == ' ');
	}
	return false;
}

void cv_html_text_init(struct cv_html_text *html)
{
	*html = (struct cv_html_text){ .state = HTML_TEXT };
}

static void end_tag(struct cv_html_text *html, struct cv_buf *out)
{
	html->state = HTML_TEXT;
	if (!is_listed(html, inline_names))
		cv_buf_append_char(out, '\n');
	if (!html->closing && is_listed(html, skipped_names)) {
		html->state = HTML_SKIP;
		html->match = 0;
	}
}

static bool entity_value(struct cv_str text, uint32_t *code_point_r)
{
	if (text.len > 1 && text.ptr[0] == '#') {
		struct cv_str digits = cv_str_sub(text, 1, SIZE_MAX);
		uint32_t n = 0;

		if (cv_lower(digits.ptr[0]) != 'x')
			return cv_str_to_u32(digits, 0x10FFFF, code_point_r);
		digits = cv_str_sub(digits, 1, SIZE_MAX);
		if (digits.len == 0 || digits.len > 6)
			return false;
		for (size_t i = 0; i < digits.len; i++) {
			char c = cv_lower(digits.ptr[i]);

			if (!cv_is_digit(c) && !(c >= 'a' && c <= 'f'))
				return false;
			n = n * 16 + (uint32_t)(cv_is_digit(c) ? c - '0' : c - 'a' + 10);
		}
		*code_point_r = n;
		return true;
	}
	for (size_t i = 0; i < CV_COUNT_OF(entities); i++) {
		if (cv_str_eq_c(text, entities[i].name)) {
			*code_point_r = entities[i].code_point;
			return true;
		}
	}
	return false;
}

static void end_entity(struct cv_html_text *html, bool semicolon, struct cv_buf *out)
{
	struct cv_str text = cv_str_mem(html->entity, html->entity_len);
	uint32_t code_point;

	if (entity_value(text, &code_point)) {
		cv_buf_append_utf8(out, code_point == 0 ? 0xFFFD : code_point);
	} else {
		cv_buf_append_char(out, '&');
		cv_buf_append(out, text);
		if (semicolon)
			cv_buf_append_char(out, ';');
	}
	html->entity_len = 0;
	html->state = HTML_TEXT;
}

/* In the content of an element whose markup counts for nothing: only "</name" matters. */
static void skip_content(struct cv_html_text *html, char c)
{
	if (html->match >= 2) {
		if (html->match - 2 < html->name_len && cv_lower(c) == html->name[html->match - 2]) {
			html->match++;
			if (html->match - 2 == html->name_len) {
				html->state = HTML_TAG;
				html->closing = true;
			}
			return;
		}
		html->match = 0;
	}
	if (c == '<')
		html->match = 1;
	else if (c == '/' && html->match == 1)
		html->match = 2;
	else
		html->match = 0;
}

/* One octet in any state but HTML_TEXT. False: look at it again in the new state. */
static bool step(struct cv_html_text *html, char c, struct cv_buf *out)
{
	switch ((enum html_state)html->state) {
	case HTML_TEXT:
		return true;
	case HTML_OPEN:
		html->name_len = 0;
		html->closing = c == '/';
		if (c == '!') {
			html->state = HTML_BANG;
		} else if (c == '?') {
			html->state = HTML_DECL;
		} else if (c == '/') {
			html->state = HTML_NAME;
		} else if (cv_is_alpha(c)) {
			html->state = HTML_NAME;
			return false;
		} else {
			cv_buf_append_char(out, '<');
			html->state = HTML_TEXT;
			return false;
		}
		return true;
	case HTML_NAME:
		if (c == '>') {
			end_tag(html, out);
		} else if (cv_is_space(c) || (c == '/' && html->name_len > 0)) {
			html->state = HTML_TAG;
		} else if (html->name_len < sizeof(html->name)) {
			html->name[html->name_len++] = cv_lower(c);
		}
		return true;
	case HTML_TAG:
		if (c == '>') {
			end_tag(html, out);
		} else if (c == '"' || c == '\'') {
			html->quote = c;
			html->state = HTML_QUOTE;
		}
		return true;
	case HTML_QUOTE:
		if (c == html->quote)
			html->state = HTML_TAG;
		return true;
	case HTML_BANG:
		html->state = c == '-' ? HTML_BANG_DASH : c == '>' ? HTML_TEXT : HTML_DECL;
		return true;
	case HTML_BANG_DASH:
		html->dashes = 0;
		html->state = c == '-' ? HTML_COMMENT : c == '>' ? HTML_TEXT : HTML_DECL;
		return true;
	case HTML_COMMENT:
		if (c == '>' && html->dashes == 2)
			html->state = HTML_TEXT;
		html->dashes = (uint8_t)(c == '-' ? CV_MIN(html->dashes + 1, 2) : 0);
		return true;
	case HTML_DECL:
		if (c == '>')
			html->state = HTML_TEXT;
		return true;
	case HTML_SKIP:
		skip_content(html, c);
		return true;
	case HTML_ENTITY:
		if ((cv_is_alnum(c) || (c == '#' && html->entity_len == 0)) && html->entity_len < sizeof(html->entity)) {
			html->entity[html->entity_len++] = c;
			return true;
		}
		end_entity(html, c == ';', out);
		return c == ';';
	}
	return true;
}

/* Octets of s before the next "<" or "&". */
static size_t text_run(struct cv_str s)
{
	size_t n = 0;

	for (; s.len - n >= CV_WORD; n += CV_WORD) {
		uint64_t word = cv_word_load(s.ptr + n), marks = cv_word_has(word, '<') | cv_word_has(word, '&');

		if (marks != 0)
			return n + cv_word_before(marks);
	}
	while (n < s.len && s.ptr[n] != '<' && s.ptr[n] != '&')
		n++;
	return n;
}

void cv_html_text_feed(struct cv_html_text *html, struct cv_str utf8, struct cv_buf *out)
{
	size_t i = 0;

	while (i < utf8.len) {
		size_t start = i;

		if (html->state != HTML_TEXT) {
			if (step(html, utf8.ptr[i], out))
				i++;
			continue;
		}
		i += text_run(cv_str_sub(utf8, i, SIZE_MAX));
		cv_buf_append(out, cv_str_sub(utf8, start, i - start));
		if (i < utf8.len)
			html->state = utf8.ptr[i++] == '<' ? HTML_OPEN : HTML_ENTITY;
	}
}

void cv_html_text_finish(struct cv_html_text *html, struct cv_buf *out)
{
	if (html->state == HTML_ENTITY)
		end_entity(html, false, out);
	else if (html->state == HTML_OPEN)
		cv_buf_append_char(out, '<');
	cv_html_text_init(html);
}
