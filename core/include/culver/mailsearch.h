/* SPDX-License-Identifier: MIT
   Search of a mailbox: a neutral tree of keys, made by a protocol or a program, and its evaluation in slices. Cheap keys are asked first, message
   bodies last. */
#ifndef CV_MAILSEARCH_H
#define CV_MAILSEARCH_H

#include <culver/mailbox.h>
#include <culver/message.h>

enum cv_mailsearch_kind {
	CV_MAILSEARCH_AND = 1,    /* of child…; none: every message */
	CV_MAILSEARCH_OR,         /* of child…; none: no message */
	/* From the mailbox's columns. */
	CV_MAILSEARCH_SEQ,        /* set: sequence numbers of the view */
	CV_MAILSEARCH_UID,        /* set */
	CV_MAILSEARCH_FLAGS,      /* all of flags are set */
	CV_MAILSEARCH_RECENT,
	CV_MAILSEARCH_KEYWORD,    /* text: the keyword, without ASCII case */
	CV_MAILSEARCH_BEFORE,     /* day: internal date, as it is written with its zone, is before it */
	CV_MAILSEARCH_ON,
	CV_MAILSEARCH_SINCE,
	CV_MAILSEARCH_LARGER,     /* number: octets with CRLF line ends */
	CV_MAILSEARCH_SMALLER,
	CV_MAILSEARCH_MODSEQ,     /* number: modseq is this or higher */
	/* From the parse record, or the header. */
	CV_MAILSEARCH_SENTBEFORE, /* day: the Date field, as written; a message without a valid one is never found */
	CV_MAILSEARCH_SENTON,
	CV_MAILSEARCH_SENTSINCE,
	CV_MAILSEARCH_HEADER,     /* text is in a field called name; empty text: there is such a field */
	/* From the whole message. */
	CV_MAILSEARCH_BODY,       /* text, decoded */
	CV_MAILSEARCH_TEXT,       /* the same or in the header */
	/* From the mailbox's columns again. */
	CV_MAILSEARCH_SAVEDBEFORE,/* day: the day, in UTC, on which the message came into this mailbox */
	CV_MAILSEARCH_SAVEDON,
	CV_MAILSEARCH_SAVEDSINCE,
	CV_MAILSEARCH_OLDER,      /* sec: the internal date is this moment or before it */
	CV_MAILSEARCH_YOUNGER,    /* sec: or after it */
	CV_MAILSEARCH_GUID,       /* guid */
	CV_MAILSEARCH_NOTE,       /* text is in an annotation of the message (note.h) whose entry matches name; number: 1 private ones, 2 shared ones, 3 both;
	                             text absent: none of these has a value */
	CV_MAILSEARCH_ASK         /* what ask says of the message */
};

/* The message at hand, for keys that are answered by who made them. */
struct cv_mailsearch_message {
	struct cv_row row;
	struct cv_parse_record record;
	struct cv_message_reader *reader; /* NULL: only what the row and the record tell is asked for yet */
	struct cv_mime_part *tree;        /* NULL until cv_mailsearch_tree was called */
	struct cv_arena *arena;           /* what is made in it goes with the message */
};
/* The message's tree of parts. 1; 0: it did not fit into the record, and there is no reader yet; -1. */
CV_EXPORT CV_MUST_CHECK int cv_mailsearch_tree(struct cv_mailsearch_message *message, struct cv_err *err);
/* Does the message match? 1 with *yes_r; 0: not known yet, to be called again for the same message (without a reader: once there is one; with it: about
   budget octets were looked at); -1: the message cannot be read. first: it is another message than in the call before, or again from its beginning. */
typedef int cv_mailsearch_ask_fn(void *ctx, struct cv_mailsearch_message *message, bool first, uint64_t budget, bool *yes_r, struct cv_err *err);

/* One key. Made by the caller, in an arena; the evaluation keeps its own notes in it. */
struct cv_mailsearch_key {
	enum cv_mailsearch_kind kind;
	bool negated;             /* the opposite */
	struct cv_mailsearch_key *child, *next;
	struct cv_ranges set;
	uint16_t flags;
	int64_t day;              /* days since 1970-01-01 */
	int64_t sec;              /* since 1970, UTC */
	uint8_t guid[16];
	uint64_t number;
	struct cv_str name, text; /* UTF-8 */
	cv_mailsearch_ask_fn *ask;
	void *ask_ctx;
	/* For the evaluation. */
	int answer;
	size_t index;
	/* HEADER, BODY and TEXT: match fuzzily, as cv_search_add_fuzzy says. Set by the caller. */
	bool fuzzy;
	unsigned score; /* for the evaluation */
};

/* A new key in arena; its set is freed with the arena. */
CV_EXPORT struct cv_mailsearch_key *cv_mailsearch_key_new(struct cv_arena *arena, enum cv_mailsearch_kind kind);
/* Levels of AND and OR below each other that are evaluated; whoever builds a tree from outside input stays within it. */
#define CV_MAILSEARCH_DEPTH_MAX 200u

struct cv_mailsearch;
/* root is borrowed until cv_mailsearch_free, as is view, which must not drop expunged messages in between (cv_view_sync with expunges false is fine).
   Messages that came after this call are not looked at. -1: too many or too long texts (CV_ERR_LIMIT), too deep. */
CV_EXPORT CV_MUST_CHECK int cv_mailsearch_new(struct cv_view *view, struct cv_mailsearch_key *root, struct cv_mailsearch **search_r,
	struct cv_err *err);
CV_EXPORT void cv_mailsearch_free(struct cv_mailsearch **search);
/* Before the first step: only max messages are wanted, the first or, from_end, the last that match. The search ends when it has them. */
CV_EXPORT void cv_mailsearch_limit(struct cv_mailsearch *search, uint32_t max, bool from_end);
/* Before the first step: of the messages that may have to be looked at, only the last max. True when there were more: *first_r is the first of those. */
CV_EXPORT bool cv_mailsearch_cut(struct cv_mailsearch *search, uint32_t max, uint32_t *first_r);
/* Go on for about budget_us microseconds. True when all messages were looked at. */
CV_EXPORT bool cv_mailsearch_step(struct cv_mailsearch *search, uint64_t budget_us);
/* Messages that may have to be looked at, and how many of them were. */
CV_EXPORT uint32_t cv_mailsearch_goal(const struct cv_mailsearch *search);
CV_EXPORT uint32_t cv_mailsearch_done(const struct cv_mailsearch *search);
/* Sequence numbers found so far; valid until free. */
CV_EXPORT const struct cv_ranges *cv_mailsearch_found(const struct cv_mailsearch *search);
/* How relevant one of those is, 1 to 100 (RFC 6203 section 4): the mean of its fuzzy keys that must all match, the best of those of which one must; 100 when
   it was found without any. */
CV_EXPORT unsigned cv_mailsearch_relevancy(const struct cv_mailsearch *search, uint32_t seq);
/* The highest modseq of those; 0 when there are none. */
CV_EXPORT uint64_t cv_mailsearch_modseq(const struct cv_mailsearch *search);
/* Messages that were expunged meanwhile (never found), and those that could not be read (never found; the first one's error in *err_r: CORRUPT only when all of
   them are damaged, so that to search again would not help). */
CV_EXPORT bool cv_mailsearch_expunged(const struct cv_mailsearch *search);
CV_EXPORT size_t cv_mailsearch_failed(const struct cv_mailsearch *search, struct cv_err *err_r);

#endif
