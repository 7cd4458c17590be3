/* SPDX-License-Identifier: MIT
   Messages: where their octets come from, the MIME part tree (RFC 5322, 2045, 2046, 6532), and the parse
   record that keeps what clients ask for in lists. Knows no protocol. */
#ifndef CV_MESSAGE_H
#define CV_MESSAGE_H

#include <culver/address.h>
#include <culver/arena.h>
#include <culver/charset.h>
#include <culver/err.h>
#include <culver/header.h>

/* ---- source of octets ------------------------------------------------------------------------------------ */

/* An abstract, seekable source of a message's octets. Storage modules and message transforms may make their
   own: embed it as first member and fill ops and size. */
struct cv_message_reader;
struct cv_message_reader_ops {
	/* *view_r: at least 1 and at most max octets from pos, valid until the next call. 1; 0 at the end
	   (pos >= size); -1 with err set. A source that is shorter than size says is CV_ERR_CORRUPT. */
	int (*get)(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r,
		struct cv_err *err);
	void (*free)(struct cv_message_reader *reader);
};
struct cv_message_reader {
	const struct cv_message_reader_ops *ops;
	uint64_t size; /* in octets, as they lie in the source */
};

/* octets are borrowed until cv_message_reader_free. */
CV_EXPORT struct cv_message_reader *cv_message_reader_new_mem(struct cv_str octets);
/* A range of a file, read with pread(2) through a buffer of 64 KiB. The descriptor becomes the reader's when
   own_fd. */
CV_EXPORT struct cv_message_reader *cv_message_reader_new_fd(int fd, uint64_t offset, uint64_t size, bool own_fd);
CV_EXPORT void cv_message_reader_free(struct cv_message_reader **reader);
static inline CV_MUST_CHECK int cv_message_reader_get(struct cv_message_reader *reader, uint64_t pos, size_t max,
	struct cv_str *view_r, struct cv_err *err)
{
	return reader->ops->get(reader, pos, max, view_r, err);
}
/* Append size octets from pos (all when size is UINT64_MAX) to out. 1, or -1 (also CV_ERR_LIMIT when out is
   full). */
CV_EXPORT CV_MUST_CHECK int cv_message_reader_append(struct cv_message_reader *reader, uint64_t pos, uint64_t size,
	struct cv_buf *out, struct cv_err *err);
/* size octets from pos (fewer where the source ends) as one view, valid until the next call for reader or buf: the source's own where it has them in one
   piece, else gathered in buf (emptied before). 1, or -1 (also CV_ERR_LIMIT as above). */
CV_EXPORT CV_MUST_CHECK int cv_message_reader_view(struct cv_message_reader *reader, uint64_t pos, uint64_t size, struct cv_buf *buf,
	struct cv_str *view_r, struct cv_err *err);

/* The wire form (each bare LF as CRLF) of a range of a source. Own memory; the reader is borrowed. */
struct cv_wire_stream;
/* offset and size are octets of the source, wire_size is the exact length of the wire form (cv_mime_part has
   all three). When size and wire_size are equal nothing is converted and seeking is free. */
CV_EXPORT struct cv_wire_stream *cv_wire_stream_new(struct cv_message_reader *reader, uint64_t offset, uint64_t size,
	uint64_t wire_size);
CV_EXPORT void cv_wire_stream_free(struct cv_wire_stream **stream);
/* Go to a position of the wire form (beyond the end: to the end). Going back, or far forward in a message
   with bare LFs, reads up to pos again. 1 or -1. */
CV_EXPORT CV_MUST_CHECK int cv_wire_stream_seek(struct cv_wire_stream *stream, uint64_t pos, struct cv_err *err);
CV_EXPORT uint64_t cv_wire_stream_pos(const struct cv_wire_stream *stream);
/* *view_r: 1 to max octets, valid until the next call. 1; 0 at the end; -1 with err set. Exactly wire_size
   octets come, or an error: CV_ERR_CORRUPT when the source does not give what wire_size says. */
CV_EXPORT CV_MUST_CHECK int cv_wire_stream_read(struct cv_wire_stream *stream, size_t max, struct cv_str *view_r,
	struct cv_err *err);

/* ---- part tree ------------------------------------------------------------------------------------------- */

/* Bounds of parsing; 0 in a member means its default. What is beyond a bound is not lost: it stays in the
   octets, only the tree does not show it, and message flags say so. */
struct cv_mime_limits {
	uint32_t parts;          /* parts in the whole tree; beyond it the rest is the body of the last part. 1,000 */
	uint32_t depth;          /* of nesting; deeper containers are opaque leaves. At most 100, and that if 0 */
	uint32_t params;         /* per field. 100 */
	uint32_t addresses;      /* in all envelopes together. 20,000 */
	uint32_t languages;      /* per part. 20 */
	size_t header_field;     /* octets of one field's value that are looked at. 256 KiB */
	size_t header;           /* octets of one header that are looked at. 1 MiB */
	size_t header_total;     /* octets of all headers together that are looked at. 4 MiB */
	size_t preview_input;    /* octets of text decoded for the preview. 64 KiB */
	size_t preview_chars;    /* characters of preview (RFC 8970 section 3.1: at most 256). 200 */
};

enum cv_mime_kind {
	CV_MIME_LEAF = 0,
	CV_MIME_MULTIPART = 1, /* has at least one child */
	CV_MIME_MESSAGE = 2    /* message/rfc822 or message/global: exactly one child, the nested message, whose envelope is set */
};

enum cv_mime_flags {
	CV_MIME_DEFAULT_TYPE = 1 << 0,   /* no (usable) Content-Type: type and subtype are the default of the place, no params */
	CV_MIME_HEADER_NUL = 1 << 1,     /* NUL in header */
	CV_MIME_BODY_NUL = 1 << 2,       /* NUL in body (children's octets count for their ancestors too) */
	CV_MIME_HEADER_8BIT = 1 << 3,
	CV_MIME_BODY_8BIT = 1 << 4,
	CV_MIME_OPAQUE = 1 << 5,         /* a container beyond a bound: shown as leaf application/octet-stream */
	CV_MIME_UNTERMINATED = 1 << 6,   /* a multipart without its closing delimiter */
	CV_MIME_NO_BOUNDARY = 1 << 7,    /* a multipart without a delimiter line: its one child is a made-up text/plain, body the whole */
	CV_MIME_HEADER_CUT = 1 << 8,     /* header beyond limits */
	CV_MIME_NO_HEADER_END = 1 << 9,  /* header without an empty line */
	CV_MIME_ATTACHMENT = 1 << 10,    /* a leaf that people call an attachment: see cv_message.attachments */
	CV_MIME_PARTS_CUT = 1 << 11      /* on the root: more parts than limits.parts */
};

/* Strings are views into the arena (or into the parse record), absent where the part says nothing. Offsets
   are octets from the start of the message. wire sizes are those with each bare LF as CRLF. */
struct cv_mime_part {
	struct cv_mime_part *parent;   /* NULL at the root */
	struct cv_mime_part *next;     /* next sibling */
	struct cv_mime_part *children; /* first child */
	uint32_t child_count;
	uint32_t index;                /* in preorder; the root is 0 */
	uint32_t depth;                /* the root is 0 */
	enum cv_mime_kind kind;
	unsigned flags;                /* enum cv_mime_flags */

	struct cv_str type, subtype;   /* as written; never absent */
	struct cv_params params;
	struct cv_str disposition;
	struct cv_params disposition_params;
	struct cv_str id, description, md5, location; /* unfolded, raw */
	struct cv_str *languages;      /* Content-Language tags */
	size_t language_count;
	struct cv_str encoding_name;   /* as written ("base64"); absent: 7bit */
	enum cv_transfer encoding;

	uint64_t header_offset, header_size, header_wire_size; /* the empty line included */
	uint64_t body_offset, body_size, body_wire_size;       /* without the line end that belongs to a delimiter */
	uint32_t header_lines, body_lines;                     /* LF in each */
	uint64_t preamble_size, epilogue_size;                 /* multipart: octets before and behind its delimiters; in body_size */

	struct cv_envelope *envelope;  /* of the root and of each nested message; else NULL */
};

/* A parsed message. All lives in the arena given. */
struct cv_message {
	struct cv_mime_part *root;
	uint32_t part_count;
	unsigned flags;          /* of the root and all parts, or-ed */
	uint64_t size;           /* octets as they lie */
	uint64_t wire_size;      /* with CRLF line ends: RFC822.SIZE */
	struct cv_str header;    /* raw octets of the root's header, its empty line too; cut at limits.header at a field's end */
	bool date_valid;
	struct cv_date date;     /* of the Date field */
	struct cv_str preview;   /* UTF-8, one line, at most limits.preview_chars; empty when there is no text */
	uint32_t attachments;    /* leaves with disposition "attachment" or a file name, or that are neither
	                            text nor in multipart/related, nor a signature, nor delivery status */
};

struct cv_mime_parser;
/* limits may be NULL. The parser and what it makes live in arena. */
CV_EXPORT struct cv_mime_parser *cv_mime_parser_new(struct cv_arena *arena, const struct cv_mime_limits *limits);
/* The next octets, cut anywhere. Memory used depends on limits only. */
CV_EXPORT void cv_mime_parser_feed(struct cv_mime_parser *parser, struct cv_str octets);
/* End of the message. Any octets at all make a tree: never NULL, and the same tree for every split. Once
   only. */
CV_EXPORT struct cv_message *cv_mime_parser_finish(struct cv_mime_parser *parser);
/* All of a source. 1, or -1 when it cannot be read. */
CV_EXPORT CV_MUST_CHECK int cv_message_parse(struct cv_arena *arena, const struct cv_mime_limits *limits,
	struct cv_message_reader *reader, struct cv_message **message_r, struct cv_err *err);

/* Next part in preorder, NULL behind the last. */
CV_EXPORT struct cv_mime_part *cv_mime_part_next(const struct cv_mime_part *part);
/* The part with a section number as in RFC 3501 section 6.4.5 ("4.2.1" is path {4, 2, 1}), NULL when there is
   none. A message that is no multipart has itself as part 1; so has a nested one. count 0 gives the root. */
CV_EXPORT struct cv_mime_part *cv_mime_part_find(struct cv_mime_part *root, const uint32_t *path, size_t count);
/* The message that .HEADER and .TEXT of a numbered part are about: the nested one for CV_MIME_MESSAGE, NULL
   for others. (HEADER and TEXT without a number are about the root itself.) */
CV_EXPORT struct cv_mime_part *cv_mime_part_message(struct cv_mime_part *part);
/* type/subtype compare without case; subtype may be NULL for any. */
CV_EXPORT bool cv_mime_part_is(const struct cv_mime_part *part, const char *type, const char *subtype);
/* Append the file name as UTF-8: disposition's filename, else the type's name. False when there is none. */
CV_EXPORT bool cv_mime_part_filename(const struct cv_mime_part *part, struct cv_buf *out);

/* ---- binary content -------------------------------------------------------------------------------------- */

/* Makes a message that can be kept and sent as text of one with binary content (RFC 3516 section 4.4), while it comes: leaf parts whose content transfer
   encoding is "binary" become base64, as octet for octet what they were, and containers that say "binary" become 8bit. What is in a multipart/signed
   stays as it is, and so do message/partial and the like, which may not be encoded (RFC 2046 section 5.2), and what is beyond the parser's bounds: NUL that
   is there is still there in what comes out, and so is NUL in headers and in parts that do not say "binary". Memory depends on the parser's bounds only. */
struct cv_binary_encoder;
CV_EXPORT struct cv_binary_encoder *cv_binary_encoder_new(void);
CV_EXPORT void cv_binary_encoder_free(struct cv_binary_encoder **encoder);
/* The next octets, cut anywhere; what is known of the result is appended to out. A part is only changed when binary was true before, or with, the first octet
   behind its header. False: a part that is being encoded has other parts behind it that are beyond the parser's bounds, and would swallow them; all is
   refused from then on. */
CV_EXPORT CV_MUST_CHECK bool cv_binary_encoder_feed(struct cv_binary_encoder *encoder, struct cv_str octets, bool binary, struct cv_buf *out);
/* End of the message: the rest. Once only. */
CV_EXPORT CV_MUST_CHECK bool cv_binary_encoder_finish(struct cv_binary_encoder *encoder, struct cv_buf *out);

/* ---- parse record ---------------------------------------------------------------------------------------- */

/* The serialised form of a cv_message: versioned, little-endian, position-independent, read in place. What
   does not fit within CV_PARSE_RECORD_MAX is left out section by section, and the accessor says 0: parse the
   message then. */
#define CV_PARSE_RECORD_MAX (128 * 1024)
#define CV_PARSE_RECORD_VERSION 1

/* A view of a record. All views got from it point into its octets. */
struct cv_parse_record {
	struct cv_str octets;
	uint64_t size, wire_size;   /* of the message */
	uint64_t header_size, header_wire_size;
	uint32_t part_count;
	uint32_t attachments;
	unsigned flags;             /* cv_message.flags */
	bool date_valid;
	struct cv_date date;
	/* for the accessors */
	struct cv_str pool, fields, envelope, parts, preview;
	uint64_t omitted, others_omitted;
};

/* Append the record of message to out. */
CV_EXPORT void cv_parse_record_build(const struct cv_message *message, struct cv_buf *out);
/* Look at a record from outside. 1, or -1 with CV_ERR_CORRUPT or, for a newer version, CV_ERR_UNSUPPORTED:
   parse the message then. Nothing is copied; octets must outlive *record_r. */
CV_EXPORT CV_MUST_CHECK int cv_parse_record_open(struct cv_str octets, struct cv_parse_record *record_r, struct cv_err *err);
/* 1 with *envelope_r set (arrays live in arena, strings point into the record), 0 when it was left out, -1
   when the record does not check. */
CV_EXPORT CV_MUST_CHECK int cv_parse_record_envelope(const struct cv_parse_record *record, struct cv_arena *arena,
	struct cv_envelope *envelope_r, struct cv_err *err);
/* The part tree, as cv_message.root, with all envelopes. Results as above. */
CV_EXPORT CV_MUST_CHECK int cv_parse_record_tree(const struct cv_parse_record *record, struct cv_arena *arena,
	struct cv_mime_part **root_r, struct cv_err *err);
/* The preview text, which is UTF-8. 1, or 0 when it was left out or is damaged. */
CV_EXPORT CV_MUST_CHECK int cv_parse_record_preview(const struct cv_parse_record *record, struct cv_str *preview_r);
/* The raw header fields that are kept, in order (those that mail programs list by, and others as long as
   they are short), as a header without the empty line: for cv_header_iter, cv_header_find,
   cv_header_subset. */
CV_EXPORT struct cv_str cv_parse_record_fields(const struct cv_parse_record *record);
/* True when all fields with this name that the message has are in cv_parse_record_fields, so that none there
   means none in the message. False: ask the message. */
CV_EXPORT bool cv_parse_record_keeps(const struct cv_parse_record *record, struct cv_str name);
/* The same for several names at once, which are looked up only once for all records that are asked. Zeroed: no names. */
struct cv_record_names {
	uint64_t kept, others; /* bits of the names, as records have them */
	bool never;            /* one of them is kept by no record */
};
CV_EXPORT void cv_record_names_add(struct cv_record_names *names, struct cv_str name);
CV_EXPORT bool cv_parse_record_keeps_all(const struct cv_parse_record *record, const struct cv_record_names *names);
/* The value of the first field with this name, unfolded into out. 1; 0 when the message has none; -1 when the
   record cannot tell (not kept). "Received" gives the first one always. */
CV_EXPORT CV_MUST_CHECK int cv_parse_record_field(const struct cv_parse_record *record, struct cv_str name, struct cv_buf *out);

#endif
