/* SPDX-License-Identifier: MIT
   THREAD (RFC 5256 section 3). What was found is kept: of the same messages it is the same until one comes or goes. */
#include <config.h>

#include "search.h"

#include "modules/lib/imap/imap-message.h"
#include "modules/lib/imap/imap-thread.h"

#include <culver/order.h>
#include <culver/time.h>

/* Steps of threading between two looks at the clock. */
#define STEPS_PER_LOOK 4096u
/* Octets of the result's layout, and messages that are looked up, between two of them. */
#define OCTETS_PER_LOOK 4096u
#define MESSAGES_PER_LOOK 256u

struct thread {
	struct imap_search search;
	enum cv_imap_thread_algorithm algorithm;
	enum { THREAD_SEARCHES = 0, THREAD_PLACES, THREAD_READS, THREAD_THREADS, THREAD_LAYOUT, THREAD_KEEPS, THREAD_WRITES } phase;
	struct imap_iter iter;
	uint32_t done, goal;
	struct cv_imap_message message;
	struct cv_buf message_id, in_reply_to, references, subject, keys;
	struct cv_imap_threads *threads;
	struct cv_order *order; /* what is kept of an earlier result, or is to be kept of this one */
	struct cv_buf layout;   /* of the result; empty where the order has it */
	uint32_t *seqs;         /* in the order of the result; room for goal; owned */
	size_t count, at;       /* of these; the next one to be kept or written */
	size_t layout_at;
	bool gone;
	size_t failed;
	struct cv_err first_error;
};

static void free_thread(void *ctx)
{
	struct thread *thread = ctx;

	cv_imap_message_deinit(&thread->message);
	cv_imap_threads_free(&thread->threads);
	cv_order_unref(&thread->order);
	cv_free(thread->seqs);
	cv_buf_deinit(&thread->layout);
	cv_buf_deinit(&thread->message_id);
	cv_buf_deinit(&thread->in_reply_to);
	cv_buf_deinit(&thread->references);
	cv_buf_deinit(&thread->subject);
	cv_buf_deinit(&thread->keys);
}

/* thread = "THREAD" SP thread-alg SP charset 1*(SP search-key) */
static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct thread *thread = cv_new(cmd->arena, struct thread, 1);
	const struct cv_imap_arg *arg = cmd->args;
	struct cv_str algorithm, charset;

	if (!cv_imap_arg_atom(arg, &algorithm) || !cv_imap_thread_algorithm(algorithm, &thread->algorithm))
		return imap_bad(cmd, "Missing or unknown threading algorithm");
	if (!cv_imap_arg_astring(arg->next, &charset))
		return imap_bad(cmd, "Missing or invalid charset");
	thread->search.completed = "Thread completed";
	if (!imap_search_begin(cmd, &thread->search, arg->next->next, true, charset))
		return CV_IMAP_DONE;
	cv_buf_init(&thread->message_id, SIZE_MAX);
	cv_buf_init(&thread->in_reply_to, SIZE_MAX);
	cv_buf_init(&thread->references, SIZE_MAX);
	cv_buf_init(&thread->subject, SIZE_MAX);
	cv_buf_init(&thread->keys, SIZE_MAX);
	cv_buf_init(&thread->layout, SIZE_MAX);
	cv_arena_cleanup(cmd->arena, free_thread, thread);
	cmd->data = thread;
	return CV_IMAP_STEP;
}

static int field(struct thread *thread, const char *name, struct cv_buf *to, struct cv_str *value_r, struct cv_err *err)
{
	cv_buf_clear(to);
	if (cv_imap_message_field(&thread->message, name, to, err) < 0)
		return -1;
	*value_r = cv_buf_str(to);
	return 0;
}

/* What the message is threaded by, as it is kept for the next time. */
static int read_keys(struct cv_imap_cmd *cmd, struct thread *thread, uint32_t seq, struct cv_str *keys_r, struct cv_err *err)
{
	struct cv_imap_thread_message message = { 0 };

	if (cv_view_memo(cmd->view, seq, CV_MEMO_THREAD, keys_r))
		return 0;
	if (cv_imap_message_need(&thread->message, cmd->view, seq, err) < 0 || field(thread, "Subject", &thread->subject, &message.subject, err) < 0 ||
		field(thread, "Message-ID", &thread->message_id, &message.message_id, err) < 0 ||
		field(thread, "In-Reply-To", &thread->in_reply_to, &message.in_reply_to, err) < 0 ||
		field(thread, "References", &thread->references, &message.references, err) < 0)
		return -1;
	cv_buf_clear(&thread->keys);
	cv_imap_thread_keys(&message, &thread->keys);
	*keys_r = cv_buf_str(&thread->keys);
	cv_view_memo_keep(cmd->view, seq, CV_MEMO_THREAD, *keys_r);
	return 0;
}

static int read_message(struct cv_imap_cmd *cmd, struct thread *thread, uint32_t seq, struct cv_err *err)
{
	struct cv_imap_thread_message message = { .number = seq };
	struct cv_str keys;
	struct cv_row row;
	bool there;

	/* The other algorithms do not look at when messages arrived. */
	if (thread->algorithm == CV_IMAP_THREAD_REFS) {
		there = cv_view_row(cmd->view, seq, &row);
		message.arrived = row.internal_date;
	} else {
		there = cv_view_has(cmd->view, seq);
	}
	if (!there) {
		thread->gone = true;
		return 0;
	}
	/* The date first: what is kept is valid until the next is. */
	if (cv_imap_message_sent(&thread->message, cmd->view, seq, &message.sent, err) < 0 ||
		read_keys(cmd, thread, seq, &keys, err) < 0)
		return -1;
	return cv_imap_threads_add(thread->threads, &message, keys, err);
}

/* Read what the next messages are threaded by, a slice. CV_IMAP_DONE: the reply was made. */
static enum cv_imap_result read_messages(struct cv_imap_cmd *cmd, struct thread *thread)
{
	uint64_t start = cv_time_mono_us();
	uint32_t seq;

	if (thread->threads == NULL)
		thread->threads = cv_imap_threads_new(thread->algorithm, thread->goal);
	for (;;) {
		struct cv_err err = { 0 };
		int result;

		if (!imap_iter_next(cv_mailsearch_found(thread->search.evaluation), &thread->iter, &seq)) {
			thread->phase = THREAD_THREADS;
			return CV_IMAP_STEP;
		}
		result = read_message(cmd, thread, seq, &err);
		cv_imap_message_close(&thread->message);
		if (result < 0 && err.code == CV_ERR_LIMIT)
			return imap_fail(cmd, &err);
		if (result < 0 && err.code == CV_ERR_EXPUNGED)
			thread->gone = true;
		else if (result < 0 && (thread->failed++ == 0 || (thread->first_error.code == CV_ERR_CORRUPT && err.code != CV_ERR_CORRUPT)))
			thread->first_error = err;
		if (++thread->done % 16 == 0 && cv_time_mono_us() - start >= IMAP_SLICE_US) {
			imap_progress(cmd, thread->done, thread->goal);
			return CV_IMAP_STEP;
		}
	}
}

static enum cv_imap_result thread_messages(struct cv_imap_cmd *cmd, struct thread *thread)
{
	uint64_t start = cv_time_mono_us();

	while (!cv_imap_threads_step(thread->threads, STEPS_PER_LOOK)) {
		if (cv_time_mono_us() - start >= IMAP_SLICE_US) {
			imap_still_working(cmd);
			return CV_IMAP_STEP;
		}
	}
	thread->phase = THREAD_LAYOUT;
	return CV_IMAP_STEP;
}

/* ---- what is kept ------------------------------------------------------------------------------------ */

static struct cv_str name_of(enum cv_imap_thread_algorithm algorithm)
{
	switch (algorithm) {
	case CV_IMAP_THREAD_ORDEREDSUBJECT:
		return CV_STR("thread orderedsubject");
	case CV_IMAP_THREAD_REFERENCES:
		return CV_STR("thread references");
	case CV_IMAP_THREAD_REFS:
		break;
	}
	return CV_STR("thread refs");
}

/* What messages were found: is there a result of so many? */
static void begin_messages(struct cv_imap_cmd *cmd, struct thread *thread)
{
	thread->goal = (uint32_t)cv_ranges_numbers(cv_mailsearch_found(thread->search.evaluation));
	thread->seqs = cv_calloc((size_t)thread->goal + 1, sizeof(*thread->seqs));
	thread->order = cv_order_get(cmd->view, name_of(thread->algorithm));
	if (thread->order != NULL && cv_order_count(thread->order) != thread->goal)
		cv_order_unref(&thread->order);
	thread->phase = thread->order != NULL ? THREAD_PLACES : THREAD_READS;
}

/* Are all messages in the result that is kept? Then it is theirs, for they are as many; else they are threaded anew. */
static enum cv_imap_result place_messages(struct cv_imap_cmd *cmd, struct thread *thread)
{
	uint64_t start = cv_time_mono_us();
	uint32_t seq, place;

	while (imap_iter_next(cv_mailsearch_found(thread->search.evaluation), &thread->iter, &seq)) {
		if (cv_order_place(thread->order, cmd->view, seq, &place) <= 0) {
			cv_order_unref(&thread->order);
			thread->iter = (struct imap_iter){ 0 };
			thread->count = 0;
			thread->phase = THREAD_READS;
			return CV_IMAP_STEP;
		}
		thread->seqs[place] = seq;
		if (++thread->count % MESSAGES_PER_LOOK == 0 && cv_time_mono_us() - start >= IMAP_SLICE_US)
			return CV_IMAP_STEP;
	}
	thread->phase = THREAD_WRITES;
	return CV_IMAP_STEP;
}

static enum cv_imap_result lay_out(struct cv_imap_cmd *cmd, struct thread *thread)
{
	uint64_t start = cv_time_mono_us();

	while (cv_imap_threads_write(thread->threads, &thread->layout, thread->seqs, &thread->count, OCTETS_PER_LOOK))
		if (cv_time_mono_us() - start >= IMAP_SLICE_US)
			return CV_IMAP_STEP;
	cv_imap_threads_free(&thread->threads);
	if (thread->failed == 0 && !thread->gone)
		thread->order = cv_order_new(cmd->view, name_of(thread->algorithm), thread->count, cv_buf_str(&thread->layout));
	thread->phase = thread->order != NULL ? THREAD_KEEPS : THREAD_WRITES;
	return CV_IMAP_STEP;
}

static enum cv_imap_result keep_messages(struct cv_imap_cmd *cmd, struct thread *thread)
{
	uint64_t start = cv_time_mono_us();

	while (thread->at < thread->count) {
		cv_order_add(thread->order, cmd->view, thread->seqs[thread->at++]);
		if (thread->at % MESSAGES_PER_LOOK == 0 && cv_time_mono_us() - start >= IMAP_SLICE_US)
			return CV_IMAP_STEP;
	}
	/* One that lacks a message is not what its text says. */
	if (cv_order_count(thread->order) == thread->count)
		cv_order_keep(thread->order);
	cv_order_unref(&thread->order);
	thread->phase = THREAD_WRITES;
	thread->at = 0;
	return CV_IMAP_STEP;
}

/* ---- the reply --------------------------------------------------------------------------------------- */

/* thread-data = "THREAD" [SP 1*thread-list]. False when there is no room for more. */
static bool write_threads(struct cv_imap_cmd *cmd, struct thread *thread)
{
	struct cv_str layout = thread->order != NULL ? cv_order_text(thread->order) : cv_buf_str(&thread->layout);
	struct cv_buf *out = imap_out(cmd);
	size_t room = imap_room(cmd), before = out->len;

	if (!imap_cmd_session(cmd)->in_line) {
		cv_buf_append_c(out, layout.len > 0 ? "* THREAD " : "* THREAD");
		imap_cmd_session(cmd)->in_line = true;
	}
	while (thread->layout_at < layout.len && out->len - before < room) {
		char c = layout.ptr[thread->layout_at++];

		if (c != CV_IMAP_THREAD_NUMBER) {
			cv_buf_append_char(out, c);
		} else {
			uint32_t seq = thread->seqs[thread->at++];

			cv_buf_append_u64(out, cmd->uid ? cv_view_uid(cmd->view, seq) : seq);
		}
	}
	if (thread->layout_at < layout.len)
		return false;
	cv_buf_append_c(out, "\r\n");
	imap_cmd_session(cmd)->in_line = false;
	return true;
}

static enum cv_imap_result write_results(struct cv_imap_cmd *cmd, struct thread *thread)
{
	if (!write_threads(cmd, thread))
		return CV_IMAP_STEP;
	if (thread->failed > 0 && !imap_search_left_out(cmd, thread->failed, &thread->first_error))
		return imap_search_failed(cmd, &thread->search, thread->failed, &thread->first_error);
	if (thread->gone)
		return imap_ok(cmd, "EXPUNGEISSUED", thread->search.completed);
	return imap_search_done(cmd, &thread->search, NULL);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct thread *thread = cmd->data;

	switch (thread->phase) {
	case THREAD_SEARCHES:
		if (imap_search_step(cmd, &thread->search))
			begin_messages(cmd, thread);
		return CV_IMAP_STEP;
	case THREAD_PLACES:
		return place_messages(cmd, thread);
	case THREAD_READS:
		return read_messages(cmd, thread);
	case THREAD_THREADS:
		return thread_messages(cmd, thread);
	case THREAD_LAYOUT:
		return lay_out(cmd, thread);
	case THREAD_KEEPS:
		return keep_messages(cmd, thread);
	case THREAD_WRITES:
		break;
	}
	return write_results(cmd, thread);
}

const struct cv_imap_command imap_cmd_thread = {
	.verb = "THREAD",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_KEEPS_SEQ,
	.run = run,
	.step = step,
};
