/* SPDX-License-Identifier: MIT
   IMAP commands from a stream of octets: tag, verb and a bounded tree of arguments (RFC 3501 section 9, RFC 7888). */
#ifndef CV_IMAP_PARSER_H
#define CV_IMAP_PARSER_H

#include <culver/arena.h>
#include <culver/err.h>
#include <culver/imap.h>

/* Bounds; 0 in a member means its default. */
struct cv_imap_limits {
	size_t line;     /* octets of a whole command without the octets of its literals. 64 KiB */
	size_t literal;  /* octets of all literals of a command that are kept in memory. 64 KiB */
	unsigned depth;  /* of parentheses. 100 */
	bool wipe;       /* memory of tokens is overwritten when it is freed: passwords */
};

/* What cv_imap_parser_feed found. */
enum cv_imap_parsed {
	CV_IMAP_MORE = 0,    /* all input is used, more is needed */
	CV_IMAP_COMMAND,     /* a command is complete: tag, verb and arguments are there until cv_imap_parser_next */
	CV_IMAP_LITERAL_DUE, /* a literal's head was read: keep, stream or refuse it */
	CV_IMAP_STREAMING,   /* octets of a streamed literal are next: cv_imap_parser_stream */
	CV_IMAP_BAD,         /* syntax or limit: err says what. What is left of the command is skipped by the calls that follow */
	CV_IMAP_SKIPPED      /* the rest of a refused command was read: cv_imap_parser_next */
};

struct cv_imap_parser;

/* limits may be NULL. Own memory; strings of the arguments are in it too. */
struct cv_imap_parser *cv_imap_parser_new(const struct cv_imap_limits *limits);
void cv_imap_parser_free(struct cv_imap_parser **parser);
/* From the next quoted string on, octets above 127 in one must be UTF-8 (RFC 6855 section 3, RFC 9051 section 4.3). */
void cv_imap_parser_set_utf8(struct cv_imap_parser *parser);

/* Go on with input; *used_r octets of it are done with and must not come again, also when the result is not MORE. err is set with BAD only; its text
   is public. The position is kept: input may be cut at any octet. */
enum cv_imap_parsed cv_imap_parser_feed(struct cv_imap_parser *parser, struct cv_str input, size_t *used_r, struct cv_err *err);
/* Forget the command and begin with the next one. */
void cv_imap_parser_next(struct cv_imap_parser *parser);

/* Nothing of a command was read yet. */
bool cv_imap_parser_idle(const struct cv_imap_parser *parser);
/* CV_IMAP_COMMAND was the last result. */
bool cv_imap_parser_complete(const struct cv_imap_parser *parser);
/* The tag; absent while it is not complete, or when it is none. Valid, as all else of a command, until cv_imap_parser_next. */
struct cv_str cv_imap_parser_tag(const struct cv_imap_parser *parser);
/* The verb as written; absent while it is not complete. */
struct cv_str cv_imap_parser_verb(const struct cv_imap_parser *parser);
/* The arguments read so far, NULL when none. After COMMAND: all. After LITERAL_DUE: those before the literal. */
const struct cv_imap_arg *cv_imap_parser_args(const struct cv_imap_parser *parser);

/* Text from elsewhere as the arguments of a command, all of it; NULL when it is empty. All memory is arena's. -1 with a public err when it is no such
   thing. */
CV_MUST_CHECK int cv_imap_args_parse(struct cv_arena *arena, struct cv_str text, const struct cv_imap_arg **args_r, struct cv_err *err);

/* ---- After CV_IMAP_LITERAL_DUE: one of these. */

/* Octets the client announced, and whether it waits for "+" (not LITERAL+). in_list: it is inside parentheses. One of "~{" that is kept becomes an
   argument of type CV_IMAP_ARG_LITERAL8. */
struct cv_imap_literal {
	uint64_t size;
	bool sync;
	bool in_list;
	bool binary; /* literal8, "~{…}" (RFC 3516 section 7): NUL may be in it */
};
struct cv_imap_literal cv_imap_parser_literal(const struct cv_imap_parser *parser);
/* Keep it in memory as an argument. The caller writes the continuation when sync. 1; -1 when it is over the limit: then
   as after BAD. */
CV_MUST_CHECK int cv_imap_parser_keep(struct cv_imap_parser *parser, struct cv_err *err);
/* All literals of this command together may have so many octets when the limit is less; those of the next one have the limit again. */
void cv_imap_parser_allow(struct cv_imap_parser *parser, size_t octets);
/* Its octets come through cv_imap_parser_stream; its argument is of type CV_IMAP_ARG_STREAMED. The caller writes the continuation. */
void cv_imap_parser_begin_stream(struct cv_imap_parser *parser);
/* Take octets of the streamed literal from input: *chunk_r is a view of input, *used_r its length. True while octets are missing. */
bool cv_imap_parser_stream(struct cv_imap_parser *parser, struct cv_str input, size_t *used_r, struct cv_str *chunk_r);
/* Give the command up, at any point: what is left of it is skipped. A literal the client waits with is not waited for (the tagged reply
   tells it so); one that it sends unasked is read and dropped. */
void cv_imap_parser_skip(struct cv_imap_parser *parser);
/* Octets skipped since the command was given up. */
uint64_t cv_imap_parser_skipped(const struct cv_imap_parser *parser);

/* Arguments of a command, which end with it, for what lives longer. Depth is what the parser allowed. only: the first one, without those behind it. */
struct cv_imap_arg *cv_imap_args_copy(struct cv_arena *arena, const struct cv_imap_arg *arg, bool only);

#endif
