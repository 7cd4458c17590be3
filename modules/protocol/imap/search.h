/* SPDX-License-Identifier: MIT
   What SEARCH, SORT, THREAD and ESEARCH share: the search program of a command, its evaluation, and results on the wire. Private to the module. */
#ifndef CV_IMAP_PROTOCOL_SEARCH_H
#define CV_IMAP_PROTOCOL_SEARCH_H

#include "imap-session.h"

#include "modules/lib/imap/imap-fetch.h"
#include "modules/lib/imap/imap-return.h"
#include "modules/lib/imap/imap-search.h"

/* ---- search.c: from arguments to messages ------------------------------------------------------------ */

/* Result options of SEARCH. */
#define IMAP_SEARCH_RETURN                                                                                                                   \
	(CV_IMAP_RETURN_MIN | CV_IMAP_RETURN_MAX | CV_IMAP_RETURN_ALL | CV_IMAP_RETURN_COUNT | CV_IMAP_RETURN_SAVE |                          \
		CV_IMAP_RETURN_PARTIAL | CV_IMAP_RETURN_UPDATE | CV_IMAP_RETURN_CONTEXT | CV_IMAP_RETURN_RELEVANCY)

struct imap_search {
	const char *completed;            /* text of the OK */
	struct cv_imap_return ret;
	struct cv_imap_search program;
	struct imap_context *context;     /* of UPDATE; owned until it starts */
	bool refused;                     /* UPDATE was, and the client is not told yet */
	bool mailbox_order;               /* of the result: it may end when ret's messages are found */
	struct cv_mailsearch *evaluation; /* freed with the command */
};

/* Begin with the program in arg (and the charset, NULL ptr: as the program says) over the selected mailbox. False: the reply was made, and "$" is empty
   when SAVE asked for that. */
CV_MUST_CHECK bool imap_search_begin(struct cv_imap_cmd *cmd, struct imap_search *search, const struct cv_imap_arg *arg, bool charset_given,
	struct cv_str charset);
/* Read a program for a view as it is now; "$" finds something in that of the selected mailbox only, view NULL: just read it. Results as cv_imap_search_parse. */
CV_MUST_CHECK int imap_search_parse(struct imap_session *s, const struct cv_view *view, struct cv_arena *arena, const struct cv_imap_arg *arg, bool charset_given,
	struct cv_str charset, struct cv_imap_search *search_r, struct cv_err *err);
/* Are the attributes behind UPDATE such that FETCH takes? -1 with a public err. */
CV_MUST_CHECK int imap_update_parse(struct cv_imap_cmd *cmd, const struct cv_imap_return *ret, struct cv_err *err);
/* A slice. True when all messages were looked at; else tells the client about the progress when it is time. */
bool imap_search_step(struct cv_imap_cmd *cmd, struct imap_search *search);
/* The tagged reply behind the results. saved: sequence numbers for "$" when SAVE was asked for. */
enum cv_imap_result imap_search_done(struct cv_imap_cmd *cmd, struct imap_search *search, const struct cv_ranges *saved);
/* RFC 6203 section 4: "The RELEVANCY return option MUST NOT be used unless a FUZZY search key is also given." Why that is a BAD, or NULL. */
const char *imap_relevancy_wrong(const struct cv_imap_search *program, unsigned opts);
/* The NO or BAD for a program that could not be read; opts: of RETURN. */
enum cv_imap_result imap_search_wrong(struct cv_imap_cmd *cmd, unsigned opts, const struct cv_imap_search *program, const struct cv_err *err);
/* The untagged NO when UPDATE is refused. */
void imap_context_refused(struct cv_imap_cmd *cmd);
/* Are all messages that could not be read damaged (err as cv_mailsearch_failed gives it)? Then an untagged NO ("a warning; the command can still complete
   successfully", RFC 3501 section 7.1.2) says so, and the result stands without them: one damaged message must not hide all others for good. */
bool imap_search_left_out(struct cv_imap_cmd *cmd, size_t count, const struct cv_err *err);
/* The NO when count messages could not be read, the first with err. */
enum cv_imap_result imap_search_failed(struct cv_imap_cmd *cmd, const struct imap_search *search, size_t count, struct cv_err *err);

/* ---- search-result.c: results on the wire ------------------------------------------------------------- */

/* Sequence numbers in the order of the result: those in order, or, when that is NULL, those in ranges. Borrowed. */
struct imap_result {
	const struct cv_ranges *ranges;
	const uint32_t *order;
	size_t count; /* of order */
};
size_t imap_result_count(const struct imap_result *result);

/* An untagged response with a result, written while there is room. */
struct imap_result_writer {
	const struct cv_view *view;
	bool uid;
	struct imap_result wanted;  /* what is still to be written, as numbers or as a set */
	struct cv_ranges partial;   /* owned: what wanted borrows */
	struct imap_iter iter;
	size_t next;
	bool set;                   /* in set syntax */
	bool wrote;                 /* something of the set */
	bool run_open;
	uint32_t run_first, run_last;
	const struct cv_mailsearch *scores; /* whose relevancies follow; NULL: none */
	bool scoring;               /* the numbers are written, relevancies follow */
	struct imap_result scored;  /* of which messages */
	const char *close;          /* what comes behind the numbers */
	const char *end;            /* and at the end; NULL: there is no line */
};
/* "* SEARCH", or what else name says, and all numbers; modseq 0: none. */
void imap_result_begin_plain(struct imap_result_writer *writer, struct cv_imap_cmd *cmd, const char *name, const struct imap_result *result,
	uint64_t modseq);
/* Where a result is from, when it is not the selected mailbox without saying. */
struct imap_result_source {
	struct cv_str name;
	uint32_t uidvalidity;
};
/* "* ESEARCH (TAG …)" with the data that ret asks for; evaluation, for RELEVANCY, must live until all is written. source NULL: the selected mailbox, else view's, by UID (RFC 7377
   section 2.1). with_modseq: RFC 4731 section 3.2. saved_r, when SAVE is asked for, gets what "$" shall be. */
void imap_result_begin_esearch(struct imap_result_writer *writer, struct cv_imap_cmd *cmd, const struct cv_view *view,
	const struct imap_result_source *source, const struct cv_imap_return *ret, const struct imap_result *result, bool with_modseq,
	const struct cv_mailsearch *evaluation, struct cv_ranges *saved_r);
/* Go on. True when the line is complete. */
bool imap_result_write(struct imap_result_writer *writer, struct cv_imap_cmd *cmd);
void imap_result_deinit(struct imap_result_writer *writer);

#endif
