/* SPDX-License-Identifier: MIT
   Header fields of messages and MIME parts: iterate raw octets, unfold, decode (RFC 2047, 2231), dates,
   message ids. */
#ifndef CV_HEADER_H
#define CV_HEADER_H

#include <culver/buf.h>
#include <culver/reader.h>

/* A header is a run of lines, ended by CRLF or LF (a bare CR is an octet like others), up to and including
   the first empty line, or up to the end of the octets. A line that begins with space or tab goes on the
   field before it. A line without a colon, or whose name holds octets outside 33..126, is a field with an
   empty name whose value is the whole line. White space between name and colon is allowed (RFC 5322 section
   4.5) and in no view but raw. */
struct cv_header_field {
	struct cv_str name;  /* as written; empty for a line that is no field */
	struct cv_str value; /* behind the colon, folds and leading space in it, without the last line end */
	struct cv_str raw;   /* all octets, line ends too */
};

/* Caller's memory. Views of fields point into the octets given. */
struct cv_header_iter {
	struct cv_str header;
	size_t pos; /* octets consumed; after the last field: behind the empty line */
};

CV_EXPORT void cv_header_iter_init(struct cv_header_iter *iter, struct cv_str header);
/* False at the end: at the empty line, which is consumed then, or when the octets are used up. */
CV_EXPORT bool cv_header_iter_next(struct cv_header_iter *iter, struct cv_header_field *field_r);
/* Octets of the header at the start of message, its empty line included. All of message when there is no
   empty line. */
CV_EXPORT size_t cv_header_size(struct cv_str message);
/* The nth (from 0) field with this name, without case. */
CV_EXPORT bool cv_header_find(struct cv_str header, struct cv_str name, size_t nth, struct cv_header_field *field_r);

enum cv_header_subset_opts {
	CV_HEADER_NOT = 1,  /* all fields but those named */
	CV_HEADER_CRLF = 2, /* bare LF becomes CRLF */
	CV_HEADER_OPEN = 4, /* no empty line behind the fields */
};
/* Append the raw octets of the fields whose name is in names, in order of the header, and an empty line
   (unless CV_HEADER_OPEN, also when header has none). Lines that are no field go with CV_HEADER_NOT
   only. */
CV_EXPORT void cv_header_subset(struct cv_buf *out, struct cv_str header, const struct cv_str *names, size_t count, unsigned opts);

/* Append value without its line ends (RFC 5322 section 2.2.3) and without white space at both ends. A tab behind a
   line end becomes a space, so do NUL and bare CR. All else as it is. */
CV_EXPORT void cv_header_unfold(struct cv_buf *out, struct cv_str value);
/* Append value unfolded, its encoded words (RFC 2047, RFC 2231 language) decoded, always as valid UTF-8.
   Adjacent encoded words are joined, multi-octet characters split over words of one charset too. Encoded
   words in quoted strings and within words are decoded as well, because mail in the wild has them. What does
   not decode stays as it was written; 8-bit octets that are no UTF-8 are read as windows-1252; NUL and other
   control characters become spaces. */
CV_EXPORT void cv_header_decode(struct cv_buf *out, struct cv_str value);
/* The same, and octets (may not be NULL) gets what is before the conversion of charsets (RFC 5255 section 4.6, step a). False: something of it is in
   an unknown charset, or is not valid in its own; then octets are what is to be compared. */
CV_EXPORT bool cv_header_decode_strict(struct cv_buf *out, struct cv_buf *octets, struct cv_str value);
/* Append one or more encoded words (UTF-8, B or Q, whichever is shorter, at most 75 octets each, no character
   split) for text, or text itself when it is printable ASCII that does not look like an encoded word. Words
   are separated by a space: folding is the caller's. */
CV_EXPORT void cv_header_encode(struct cv_buf *out, struct cv_str utf8);

/* A parameter of Content-Type or Content-Disposition (RFC 2045 section 5.1), as written: "title*0*" is a name
   of its own. Quotes and comments are removed from the value, folds become spaces. */
struct cv_param {
	struct cv_str name;
	struct cv_str value;
};
struct cv_params {
	struct cv_param *items;
	size_t count;
};
/* The raw value of the first parameter with this name, without case. Absent when there is none. */
CV_EXPORT struct cv_str cv_params_raw(const struct cv_params *params, struct cv_str name);
/* Append the value of a parameter as valid UTF-8: continuations joined, RFC 2231 charset and percent encoding
   decoded; the plain form is decoded from RFC 2047 encoded words, which many programs write. The RFC 2231
   form wins over the plain one. True when there is such a parameter. */
CV_EXPORT bool cv_params_decode(const struct cv_params *params, struct cv_str name, struct cv_buf *out);
/* Call fn for each parameter, with continuations joined to one (RFC 2231 section 6): "a*0*", "a*1", "a*2*" come as "a*", in percent encoding as a
   whole, "b*0", "b*1" as "b". What belongs to no continuation that begins with section 0 comes as written. Valid during the call. */
CV_EXPORT void cv_params_each_joined(const struct cv_params *params,
	void (*fn)(void *ctx, struct cv_str name, struct cv_str value), void *ctx);

/* Parse a Content-Disposition or a similar "token *(; parameter)" value (RFC 2183). At most max parameters
   are kept. False when there is no token at the start: *token_r absent. Strings live in arena. */
struct cv_arena;
CV_EXPORT bool cv_header_parse_token_params(struct cv_arena *arena, struct cv_str value, size_t max,
	struct cv_str *token_r, struct cv_params *params_r);
/* The same for Content-Type: type "/" subtype. False (RFC 2045 section 5.2: treat as text/plain) on a syntax
   error. */
CV_EXPORT bool cv_header_parse_content_type(struct cv_arena *arena, struct cv_str value, size_t max,
	struct cv_str *type_r, struct cv_str *subtype_r, struct cv_params *params_r);

/* A point in time as a Date field says it. */
struct cv_date {
	int64_t sec;       /* UTC, since 1970 */
	int16_t zone_min;  /* minutes east of UTC */
	bool zone_unknown; /* "-0000" or a zone that means nothing (RFC 5322 section 4.3): taken as UTC */
};
/* Parse an RFC 5322 date-time, obsolete forms too: comments, two- and three-digit years, named and military
   zones, no seconds, no or a wrong day of week. Garbage behind the zone is ignored. False when no valid date
   can be made of it. */
CV_EXPORT CV_MUST_CHECK bool cv_date_parse(struct cv_str value, struct cv_date *date_r);
/* Append "Mon, 02 Jan 2006 15:04:05 +0100". */
CV_EXPORT void cv_date_format(struct cv_buf *out, int64_t sec, int zone_min);

/* Take the next "<id>" of a Message-ID, In-Reply-To or References value; *id_r is without angle brackets,
   with quotes, folds and comments as they are. Words outside of brackets are skipped. False when no more is
   left. */
CV_EXPORT bool cv_message_id_next(struct cv_reader *value, struct cv_str *id_r);

#endif
