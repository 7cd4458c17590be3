/* SPDX-License-Identifier: MIT
   Results that are kept up to date (RFC 5267). Private to the module. */
#ifndef CV_IMAP_CONTEXT_H
#define CV_IMAP_CONTEXT_H

#include "search.h"

#include "modules/lib/imap/imap-sort.h"

/* A context for the searching command, whose program is program (and the charset, as in imap_search_begin). NULL when updates are refused: there are too many
   contexts, or the answers would change with time alone (OLDER, YOUNGER). */
struct imap_context *imap_context_new(struct cv_imap_cmd *cmd, const struct cv_imap_return *ret, const struct cv_imap_arg *program, bool charset_given,
	struct cv_str charset);
void imap_context_free(struct imap_context **context);
/* Responses name the selected mailbox, and UIDs (RFC 7377 section 2.1). */
void imap_context_name_mailbox(struct imap_context *context, uint32_t uidvalidity);
/* The session's from now on, with the sequence numbers found as members. */
void imap_context_start(struct imap_session *s, struct imap_context **context, const struct cv_ranges *found);
/* The same with the result of a SORT: sequence numbers in their order. */
void imap_context_start_sorted(struct imap_session *s, struct imap_context **context, const struct cv_imap_sort_program *sort,
	const uint32_t *seqs, size_t count);
/* There is a context with this tag. */
bool imap_context_is(struct imap_session *s, struct cv_str tag);
/* End it. False: there is none. */
bool imap_context_cancel(struct imap_session *s, struct cv_str tag);

#endif
