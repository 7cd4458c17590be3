/* SPDX-License-Identifier: MIT
   Annotations of messages (RFC 5257): what commands share. Private to the module. */
#ifndef CV_IMAP_PROTOCOL_ANNOTATE_H
#define CV_IMAP_PROTOCOL_ANNOTATE_H

#include "imap-session.h"

#include "modules/lib/imap/imap-annotate.h"

#include <culver/message.h>

/* The list behind ANNOTATION of STORE and APPEND. In the command's arena; names and values point into the arguments. False: the reply was made. */
CV_MUST_CHECK bool annotate_take(struct cv_imap_cmd *cmd, const struct cv_imap_arg *list, const struct cv_note **notes_r, size_t *count_r);
/* The reply for a change that was refused; "[ANNOTATE TOOMANY]" when it is a limit. */
enum cv_imap_result annotate_fail(struct cv_imap_cmd *cmd, const struct cv_err *err);
/* Does any of these entries name a body part that a message may lack? Part 1 is always there. */
bool annotate_names_parts(const struct cv_note *notes, size_t count);
bool annotate_fetches_parts(const struct cv_imap_note_fetch *fetch, size_t count);
/* Are all body parts that are named there? */
bool annotate_parts_exist(struct cv_mime_part *root, const struct cv_note *notes, size_t count);
bool annotate_fetched_parts_exist(struct cv_mime_part *root, const struct cv_imap_note_fetch *fetch, size_t count);
/* From a parse record: 1 they are, 0 one is not, -1 can't be told. Memory in arena. */
CV_MUST_CHECK int annotate_parts_in_record(struct cv_arena *arena, struct cv_str record, const struct cv_note *notes, size_t count, struct cv_err *err);

/* "* OK [ANNOTATIONS …]" of the selected mailbox. */
void annotate_write_level(struct imap_session *s);
/* A literal is due in the list behind ANNOTATION of STORE, APPEND or REPLACE: how many octets it may have, and all of the command's. Arguments as far as they
   are there. */
bool annotate_takes(const struct imap_session *s, const struct cv_imap_command *command, const struct cv_imap_arg *args);
size_t annotate_value_max(const struct imap_session *s);
size_t annotate_literals_max(const struct imap_session *s);

/* Changes that others made: queued, and written as "* n FETCH (… ANNOTATION (names))". */
void annotate_queue(struct imap_session *s, const struct cv_view_event *event);
void annotate_write_event(struct imap_session *s, struct cv_buf *out, const struct cv_view_event *event);
/* All queued events were written. */
void annotate_forget(struct imap_session *s);

#endif
