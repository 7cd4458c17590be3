/* SPDX-License-Identifier: MIT
   THREAD (RFC 5256 section 3). */
#include <config.h>

#include "search.h"

#include "modules/lib/imap/imap-message.h"
#include "modules/lib/imap/imap-thread.h"

#include <culver/time.h>

/* Steps of threading between two looks at the clock. */
#define STEPS_PER_LOOK 4096u

struct thread {
	struct imap_search search;
	enum cv_imap_thread_algorithm algorithm;
	enum { THREAD_SEARCHES = 0, THREAD_READS, THREAD_THREADS, THREAD_WRITES } phase;
	struct imap_iter iter;
	uint32_t done, goal;
	struct cv_imap_message message;
	struct cv_buf message_id, in_reply_to, references, subject, keys;
	struct cv_imap_threads *threads;
	bool gone;
	size_t failed;
	struct cv_err first_error;
};

static void free_thread(void *ctx)
{
	struct thread *thread = ctx;

	cv_imap_message_deinit(&thread->message);
	cv_imap_threads_free(&thread->threads);
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
	struct cv_imap_thread_message message = { .number = cmd->uid ? cv_view_uid(cmd->view, seq) : seq };
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

/* thread-data = "THREAD" [SP 1*thread-list] */
static void begin_results(struct cv_imap_cmd *cmd, struct thread *thread)
{
	cv_buf_append_c(imap_out(cmd), thread->done > 0 ? "* THREAD " : "* THREAD");
	imap_cmd_session(cmd)->in_line = true;
	thread->phase = THREAD_WRITES;
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
	begin_results(cmd, thread);
	return CV_IMAP_STEP;
}

static enum cv_imap_result write_results(struct cv_imap_cmd *cmd, struct thread *thread)
{
	size_t room = imap_room(cmd);

	if (room == 0 || cv_imap_threads_write(thread->threads, imap_out(cmd), room))
		return CV_IMAP_STEP;
	cv_buf_append_c(imap_out(cmd), "\r\n");
	imap_cmd_session(cmd)->in_line = false;
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
		if (imap_search_step(cmd, &thread->search)) {
			thread->goal = (uint32_t)cv_ranges_numbers(cv_mailsearch_found(thread->search.evaluation));
			thread->threads = cv_imap_threads_new(thread->algorithm, thread->goal);
			thread->phase = THREAD_READS;
		}
		return CV_IMAP_STEP;
	case THREAD_READS:
		return read_messages(cmd, thread);
	case THREAD_THREADS:
		return thread_messages(cmd, thread);
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
