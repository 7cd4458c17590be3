/* SPDX-License-Identifier: MIT
   Text search in decoded messages, i;unicode-casemap (RFC 5051), and the base subject (RFC 5256 section 2.1). */
#ifndef CV_SEARCH_H
#define CV_SEARCH_H

#include <culver/message.h>

/* Append UTF-8 text in its i;unicode-casemap form: each character in titlecase, then decomposed (NFKD mapping
   of each; no reordering). Compare the results as octets. Text that is no UTF-8 is appended as it is (RFC
   5051 section 2). */
CV_EXPORT void cv_casemap(struct cv_buf *out, struct cv_str utf8);
/* Equality and substring under i;unicode-casemap, for short texts. */
CV_EXPORT bool cv_casemap_eq(struct cv_str a, struct cv_str b);
CV_EXPORT bool cv_casemap_contains(struct cv_str text, struct cv_str needle);

/* Append the base subject of a Subject field's raw value (RFC 5256 section 2.1: decoded, white space and
   "Re:", "Fwd:", "[blob]" and so on removed). True when it was a reply or forward. For a sort or thread key
   run cv_casemap on the result. */
CV_EXPORT bool cv_subject_base(struct cv_buf *out, struct cv_str value);

/* Keys for sorting and for equality by octets, as RFC 5255 section 4.6 has it: text that converts to Unicode is in its i;unicode-casemap form; text that does
   not (an unknown charset, octets that are not valid) sorts behind all of that, by its octets. Append that of a Subject's base subject (true: reply or
   forward), of other header text with encoded words, and of text without. */
CV_EXPORT bool cv_subject_key(struct cv_buf *out, struct cv_str value);
CV_EXPORT void cv_header_key(struct cv_buf *out, struct cv_str value);
CV_EXPORT void cv_text_key(struct cv_buf *out, struct cv_str text);

/* What to look in. */
enum cv_search_where {
	CV_SEARCH_BODY = 1,   /* decoded text parts, headers of parts and nested messages */
	CV_SEARCH_TEXT = 2,   /* BODY and the message's header */
	CV_SEARCH_HEADER = 3, /* fields with one name, decoded; of address fields also the addresses without
	                         comments and quotes. An empty needle asks whether there is such a field. */
};

/* Several keys that are looked for in one pass over a message; reusable for message after message. */
struct cv_search;
CV_EXPORT struct cv_search *cv_search_new(void);
CV_EXPORT void cv_search_free(struct cv_search **search);
#define CV_SEARCH_KEYS_MAX 1000
#define CV_SEARCH_NEEDLE_MAX 4096
/* Add a key: needle is UTF-8 (cv_charset_to_utf8 makes it so), name is for CV_SEARCH_HEADER only. Both are
   copied. *index_r counts from 0. -1 with CV_ERR_LIMIT beyond the bounds above. */
CV_EXPORT CV_MUST_CHECK int cv_search_add(struct cv_search *search, enum cv_search_where where, struct cv_str name,
	struct cv_str needle, size_t *index_r, struct cv_err *err);
/* The same, matched fuzzily (RFC 6203): found when a key as above is, and also when all words of needle are there, in any order, each equal, at the beginning of a word
   (from three characters on), or one slip away (from four characters on; from eight, two): a character that is wrong, missing, too many, or swapped with its
   neighbour. Accents count for nothing. Words are looked at by their first 64 characters; of a needle with more than 32 words, the first 32. -1 with CV_ERR_LIMIT also beyond
   CV_SEARCH_FUZZY_WORDS_MAX words in all keys: each word of a message is compared with each of them. */
#define CV_SEARCH_FUZZY_WORDS_MAX 64u
CV_EXPORT CV_MUST_CHECK int cv_search_add_fuzzy(struct cv_search *search, enum cv_search_where where, struct cv_str name, struct cv_str needle, size_t *index_r,
	struct cv_err *err);
/* How well such a key was found: 1 to 100, or 0. A word that is equal counts for 100, a longer one 80, with one slip 50, with two 30; of several words their mean, less a tenth
   when they do not stand together; a needle that is only part of a word 60. That is so in the field asked for, in the text of parts for CV_SEARCH_BODY, and in Subject,
   From, To and Cc for CV_SEARCH_TEXT; there text of parts counts for 80 in the hundred, other fields for 60, as do fields of parts. The sums are
   spread over 1 to 100. Of a key that is not fuzzy: 100 or 0. */
CV_EXPORT unsigned cv_search_score(const struct cv_search *search, size_t index);
/* Does the search need the body, or only the header? */
CV_EXPORT bool cv_search_needs_body(const struct cv_search *search);
/* Begin with a message. root: its tree, from a parse or from its record; borrowed until the search is done,
   as is reader. */
CV_EXPORT void cv_search_begin(
	struct cv_search *search, struct cv_message_reader *reader, const struct cv_mime_part *root);
/* The same with one part alone: its header is what HEADER and TEXT keys look in, its own text, if it has any, the body. */
CV_EXPORT void cv_search_begin_part(struct cv_search *search, struct cv_message_reader *reader, const struct cv_mime_part *part);
/* Go on for about budget octets of message. 1 when the answer of every key is known, 0 when there is more to
   do, -1 when the message could not be read. */
CV_EXPORT CV_MUST_CHECK int cv_search_step(struct cv_search *search, uint64_t budget, struct cv_err *err);
/* After a step that returned 1: was this key found? */
CV_EXPORT bool cv_search_found(const struct cv_search *search, size_t index);
/* Answer header keys from a header alone (for instance cv_parse_record_fields): every CV_SEARCH_HEADER key is
   answered, other keys are not found. */
CV_EXPORT void cv_search_header(struct cv_search *search, struct cv_str header);
/* The same in two steps, where the text of a field is kept between searches: append the text of the one field with this name as keys are compared with it.
   1; 0 when there is none; -1 when there are several, or it has octets that do not convert: then cv_search_header has to look. */
CV_EXPORT CV_MUST_CHECK int cv_search_field(struct cv_search *search, struct cv_str header, struct cv_str name, struct cv_buf *out);
/* Is a key found in such a text? */
CV_EXPORT bool cv_search_text_has(const struct cv_search *search, size_t index, struct cv_str text);

/* ---- for indexes ---- */

/* A piece of the text that keys are looked for in, in the form in which they are compared. */
struct cv_search_piece {
	enum cv_search_where where; /* HEADER: a field of the message. BODY: a field of a part, or text of a part */
	struct cv_str name;         /* of a field, as written; absent: text of a part. CV_SEARCH_TEXT and BODY find "Name: text" of a field too */
	struct cv_str text;         /* as cv_casemap makes it */
	struct cv_str octets;       /* of a field that does not convert to Unicode: a key is looked for in these, unmapped, as well. Else empty */
	unsigned stream;            /* text of a part comes in pieces of two streams, as it is (0) and for HTML without its markup (1): what is cut at the end of
	                               one goes on in the next of the same stream */
	bool first;                 /* of its stream; always of a field */
};
typedef void cv_search_tap_fn(void *ctx, const struct cv_search_piece *piece);
/* A search without keys that hands on everything it looks into. Begin and step as any other; cv_search_add must not be called. */
CV_EXPORT struct cv_search *cv_search_new_tap(cv_search_tap_fn *fn, void *ctx);

#endif
