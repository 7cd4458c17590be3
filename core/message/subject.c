/* SPDX-License-Identifier: MIT
   The base subject (RFC 5256 section 2.1), step by step as the RFC has it; its ABNF (section 5) stands above each part. */
#include <config.h>

#include <culver/header.h>
#include <culver/search.h>

static struct cv_str skip(struct cv_str s, size_t len)
{
	return cv_str_sub(s, len, SIZE_MAX);
}

static size_t blanks(struct cv_str s)
{
	size_t n = 0;

	while (n < s.len && s.ptr[n] == ' ')
		n++;
	return n;
}

/* subj-blob = "[" *BLOBCHAR "]" *WSP; its length, or 0 */
static size_t blob(struct cv_str s)
{
	size_t n = 1;

	if (!cv_str_starts(s, CV_STR("[")))
		return 0;
	while (n < s.len && s.ptr[n] != '[' && s.ptr[n] != ']')
		n++;
	if (n == s.len || s.ptr[n] == '[')
		return 0;
	return n + 1 + blanks(skip(s, n + 1));
}

/* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"; its length, or 0 */
static size_t refwd(struct cv_str s)
{
	size_t n;

	if (cv_str_casestarts(s, CV_STR("fwd")))
		n = 3;
	else if (cv_str_casestarts(s, CV_STR("re")) || cv_str_casestarts(s, CV_STR("fw")))
		n = 2;
	else
		return 0;
	n += blanks(skip(s, n));
	n += blob(skip(s, n));
	return cv_str_starts(skip(s, n), CV_STR(":")) ? n + 1 : 0;
}

/* subj-trailer = "(fwd)" / WSP */
static struct cv_str without_trailers(struct cv_str s, bool *reply)
{
	for (;;) {
		struct cv_str end = s.len >= 5 ? skip(s, s.len - 5) : CV_STR("");

		if (cv_str_ends(s, CV_STR(" "))) {
			s.len--;
		} else if (cv_str_caseeq(end, CV_STR("(fwd)"))) {
			s.len -= 5;
			*reply = true;
		} else {
			return s;
		}
	}
}

/* subj-leader = (*subj-blob subj-refwd) / WSP, and then subj-blobs, as long as something is left. The blobs in front are looked
   at once only: when no "re:" follows them, none follows a part of them either. */
static struct cv_str without_leaders(struct cv_str s, bool *reply)
{
	for (;;) {
		size_t blobs = 0, len;
		bool removed = false;

		s = skip(s, blanks(s));
		while ((len = blob(skip(s, blobs))) > 0)
			blobs += len;
		len = refwd(skip(s, blobs));
		if (len > 0) {
			s = skip(s, blobs + len);
			*reply = true;
			continue;
		}
		while (blobs > 0) {
			len = blob(s);
			if (len == s.len)
				break;
			s = skip(s, len);
			blobs -= len;
			removed = true;
		}
		if (!removed)
			return s;
	}
}

/* The steps behind (1)'s decoding. */
static bool base(struct cv_buf *out, struct cv_str decoded)
{
	struct cv_buf text;
	struct cv_str s;
	bool reply = false;

	cv_buf_init(&text, SIZE_MAX);
	for (size_t i = 0; i < decoded.len; i++) {
		char c = cv_is_space(decoded.ptr[i]) ? ' ' : decoded.ptr[i];

		if (c != ' ' || (text.len > 0 && text.data[text.len - 1] != ' '))
			cv_buf_append_char(&text, c);
	}
	s = cv_buf_str(&text);
	for (;;) {
		s = without_trailers(s, &reply); /* (2) */
		s = without_leaders(s, &reply);  /* (3), (4), (5) */
		/* (6) subj-fwd = subj-fwd-hdr subject subj-fwd-trl */
		if (!cv_str_casestarts(s, CV_STR("[fwd:")) || !cv_str_ends(s, CV_STR("]")))
			break;
		s = cv_str_sub(s, 5, s.len - 6);
		reply = true;
	}
	cv_buf_append(out, s);
	cv_buf_deinit(&text);
	return reply;
}

bool cv_subject_base(struct cv_buf *out, struct cv_str value)
{
	struct cv_buf decoded;
	bool reply;

	cv_buf_init(&decoded, SIZE_MAX);
	cv_header_decode(&decoded, value);
	reply = base(out, cv_buf_str(&decoded));
	cv_buf_deinit(&decoded);
	return reply;
}

/* ---- keys ---- */

#define NOT_CONVERTED ((char)0xFF) /* no octet of UTF-8 is that high */

bool cv_subject_key(struct cv_buf *out, struct cv_str value)
{
	struct cv_buf decoded, octets, text;
	bool reply;

	cv_buf_init(&decoded, SIZE_MAX);
	cv_buf_init(&octets, SIZE_MAX);
	cv_buf_init(&text, SIZE_MAX);
	if (cv_header_decode_strict(&decoded, &octets, value)) {
		reply = base(&text, cv_buf_str(&decoded));
		cv_casemap(out, cv_buf_str(&text));
	} else {
		cv_buf_append_char(out, NOT_CONVERTED);
		reply = base(out, cv_buf_str(&octets));
	}
	cv_buf_deinit(&decoded);
	cv_buf_deinit(&octets);
	cv_buf_deinit(&text);
	return reply;
}

void cv_header_key(struct cv_buf *out, struct cv_str value)
{
	struct cv_buf decoded, octets;

	cv_buf_init(&decoded, SIZE_MAX);
	cv_buf_init(&octets, SIZE_MAX);
	if (cv_header_decode_strict(&decoded, &octets, value)) {
		cv_casemap(out, cv_buf_str(&decoded));
	} else {
		cv_buf_append_char(out, NOT_CONVERTED);
		cv_buf_append(out, cv_buf_str(&octets));
	}
	cv_buf_deinit(&decoded);
	cv_buf_deinit(&octets);
}

void cv_text_key(struct cv_buf *out, struct cv_str text)
{
	if (!cv_str_is_utf8(text))
		cv_buf_append_char(out, NOT_CONVERTED);
	cv_casemap(out, text);
}
