/* SPDX-License-Identifier: MIT
   Threading messages: ORDEREDSUBJECT and REFERENCES (RFC 5256 section 3), and REFS (draft-ietf-morg-inthread-01 section 4). Knows no mailbox: messages
   are given one by one. */
#ifndef CV_IMAP_THREAD_H
#define CV_IMAP_THREAD_H

#include <culver/buf.h>
#include <culver/err.h>

enum cv_imap_thread_algorithm {
	CV_IMAP_THREAD_ORDEREDSUBJECT = 1,
	CV_IMAP_THREAD_REFERENCES,
	CV_IMAP_THREAD_REFS /* as REFERENCES, but subjects play no part, and threads are in the order of their latest internal dates */
};

/* False: unknown. */
CV_MUST_CHECK bool cv_imap_thread_algorithm(struct cv_str name, enum cv_imap_thread_algorithm *algorithm_r);

struct cv_imap_threads;
/* messages: how many there will be, about; memory is taken for them at once. */
struct cv_imap_threads *cv_imap_threads_new(enum cv_imap_thread_algorithm algorithm, size_t messages);
void cv_imap_threads_free(struct cv_imap_threads **threads);

/* What a message is threaded by: raw, unfolded values of its fields, absent where it has none. */
struct cv_imap_thread_message {
	uint32_t number;       /* what the caller calls it */
	int64_t sent, arrived; /* seconds since 1970 */
	struct cv_str message_id, in_reply_to, references, subject; /* for its keys */
};
/* Append all that threading needs of the message's fields, in a form that can be kept as long as the process lives: 17 octets, and 8 for each message
   that it refers to. */
void cv_imap_thread_keys(const struct cv_imap_thread_message *message, struct cv_buf *out);
/* Add the next message, in mailbox order, with what cv_imap_thread_keys made of it. -1 with CV_ERR_LIMIT when the messages name too many others for the memory that their count allows. */
CV_MUST_CHECK int cv_imap_threads_add(struct cv_imap_threads *threads, const struct cv_imap_thread_message *message, struct cv_str keys, struct cv_err *err);
/* After the last message: go on for about steps steps. True when all is threaded. */
bool cv_imap_threads_step(struct cv_imap_threads *threads, size_t steps);
/* After that: append the result to layout, "(…)(…)" with CV_IMAP_THREAD_NUMBER for each message, and the messages' numbers to numbers from *count on, which has
   room for all that were added. About max octets at once. False at the end, when all was appended. */
#define CV_IMAP_THREAD_NUMBER '#'
bool cv_imap_threads_write(struct cv_imap_threads *threads, struct cv_buf *layout, uint32_t *numbers, size_t *count, size_t max);

/* Append the normal form of the first message-id of *value, which goes behind it: without brackets, quotes and the space around its atoms, so that two
   ways to write one are equal. False when there is none (msg-id = "<" id-left "@" id-right ">"); what has brackets and is none is passed over. */
CV_MUST_CHECK bool cv_imap_thread_next_id(struct cv_str *value, struct cv_buf *out);

#endif
