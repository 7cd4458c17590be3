/* SPDX-License-Identifier: MIT
   Threading: each rule of RFC 5256 section 3 as a row; in one go, and step by step. */
#include <config.h>

#include "modules/lib/imap/imap-thread.h"
#include "t/lib/test.h"

#include <string.h>

struct in {
	const char *id, *refs, *subject;
	int64_t sent;
	const char *reply_to;
	int64_t arrived;
};

static struct cv_str optional(const char *s)
{
	return s != NULL ? cv_str_c(s) : (struct cv_str){ NULL, 0 };
}

static int add(struct cv_imap_threads *threads, const struct cv_imap_thread_message *message, struct cv_err *err)
{
	struct cv_buf keys;
	int result;

	cv_buf_init(&keys, SIZE_MAX);
	cv_imap_thread_keys(message, &keys);
	result = cv_imap_threads_add(threads, message, cv_buf_str(&keys), err);
	cv_buf_deinit(&keys);
	return result;
}

/* The result as it is sent, written in pieces of piece octets. */
static void write_result(struct cv_imap_threads *threads, size_t messages, size_t piece, struct cv_buf *out)
{
	uint32_t *numbers = cv_calloc(messages + 1, sizeof(*numbers));
	size_t count = 0, next = 0;
	struct cv_buf layout;

	cv_buf_init(&layout, SIZE_MAX);
	while (cv_imap_threads_write(threads, &layout, numbers, &count, piece))
		;
	for (size_t i = 0; i < layout.len; i++) {
		if (layout.data[i] == CV_IMAP_THREAD_NUMBER)
			cv_buf_append_u64(out, numbers[next++]);
		else
			cv_buf_append_char(out, layout.data[i]);
	}
	assert_int_equal(next, count);
	assert_int_equal(count, messages);
	cv_buf_deinit(&layout);
	cv_free(numbers);
}

/* Messages 1, 2, 3 …, threaded in slices of slice steps and written in pieces of piece octets. */
static void thread_in(enum cv_imap_thread_algorithm algorithm, const struct in *in, size_t count, size_t slice, size_t piece, struct cv_buf *out)
{
	struct cv_imap_threads *threads = cv_imap_threads_new(algorithm, 0);
	struct cv_err err = { 0 };

	for (size_t i = 0; i < count; i++) {
		const struct cv_imap_thread_message message = { .number = (uint32_t)i + 1, .sent = in[i].sent, .arrived = in[i].arrived,
			.message_id = optional(in[i].id), .references = optional(in[i].refs), .in_reply_to = optional(in[i].reply_to),
			.subject = optional(in[i].subject) };

		assert_int_equal(add(threads, &message, &err), 0);
	}
	while (!cv_imap_threads_step(threads, slice))
		;
	write_result(threads, count, piece, out);
	cv_imap_threads_free(&threads);
}

static void check_at(enum cv_imap_thread_algorithm algorithm, const struct in *in, size_t count, const char *want, int line)
{
	struct cv_buf out;

	cv_buf_init(&out, SIZE_MAX);
	for (int run = 0; run < 2; run++) {
		cv_buf_clear(&out);
		thread_in(algorithm, in, count, run == 0 ? 1000000 : 1, run == 0 ? 1000000 : 1, &out);
		if (!cv_str_eq_c(cv_buf_str(&out), want)) {
			print_error("line %d: got %.*s, want %s\n", line, CV_STR_ARG(cv_buf_str(&out)), want);
			fail();
		}
	}
	cv_buf_deinit(&out);
}
#define CHECK(algorithm, want, ...)                                                                                \
	do {                                                                                                       \
		static const struct in in_[] = { __VA_ARGS__ };                                                    \
		check_at(CV_IMAP_THREAD_##algorithm, in_, CV_COUNT_OF(in_), want, __LINE__);                       \
	} while (0)

static void subjects_alone_make_threads(void **state)
{
	(void)state;
	/* "the threads are sorted by the sent date of the first message in the thread"; children are siblings of each other */
	CHECK(ORDEREDSUBJECT, "(4 (1)(3))(2)(5)", { NULL, NULL, "Re: a", 20, NULL, 0 }, { NULL, NULL, "b", 15, NULL, 0 }, { NULL, NULL, "A", 30, NULL, 0 },
		{ NULL, NULL, "[x] a", 10, NULL, 0 }, { NULL, NULL, "c", 16, NULL, 0 });
	CHECK(ORDEREDSUBJECT, "(1 2)", { NULL, NULL, "a", 1, NULL, 0 }, { NULL, NULL, "re: a", 1, NULL, 0 });
	/* no subject and an empty one are the same text */
	CHECK(ORDEREDSUBJECT, "(2)(1 3)", { NULL, NULL, "re:", 2, NULL, 0 }, { NULL, NULL, "x", 1, NULL, 0 }, { NULL, NULL, NULL, 3, NULL, 0 });
	check_at(CV_IMAP_THREAD_ORDEREDSUBJECT, NULL, 0, "", __LINE__);
}

static void references_make_chains(void **state)
{
	(void)state;
	CHECK(REFERENCES, "(1 2 3)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<1@x>", "b", 2, NULL, 0 }, { "<3@x>", "<1@x> <2@x>", "c", 3, NULL, 0 });
	/* the same whatever order they came in */
	CHECK(REFERENCES, "(3 2 1)", { "<3@x>", "<1@x> <2@x>", "c", 3, NULL, 0 }, { "<2@x>", "<1@x>", "b", 2, NULL, 0 }, { "<1@x>", NULL, "a", 1, NULL, 0 });
	/* siblings by sent date, then by number */
	CHECK(REFERENCES, "(1 (3)(2)(4))", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<1@x>", "b", 5, NULL, 0 }, { "<3@x>", "<1@x>", "c", 4, NULL, 0 },
		{ "<4@x>", "<1@x>", "d", 5, NULL, 0 });
	/* In-Reply-To only without valid References; only its first valid one */
	CHECK(REFERENCES, "(1 3)(2)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", NULL, "b", 2, NULL, 0 },
		{ "<3@x>", "nothing <here>", "c", 3, "text <no> <1@x> <2@x>", 0 });
	CHECK(REFERENCES, "(1)(2 3)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", NULL, "b", 2, NULL, 0 }, { "<3@x>", "<2@x>", "c", 3, "<1@x>", 0 });
}

/* "MUST normalize any msg-id in order to avoid false non-matches due to differences in quoting"; "Message ID comparisons are case-sensitive". */
static void message_ids_are_compared_in_normal_form(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com" },
		{ "<\"a\\\"b c\"@x>", "a\"b c@x" },
		{ "< a . b @ x >", "a.b@x" },
		{ "x <no-at> <@x> <a@> <> <b@x> <c@x>", "b@x" },
	};
	struct cv_buf out;

	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_str value = cv_str_c(rows[i].in);

		cv_buf_clear(&out);
		assert_true(cv_imap_thread_next_id(&value, &out));
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
	}
	CHECK(REFERENCES, "(1 2)(3)", { "<\"1\"@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<1@x>", "b", 2, NULL, 0 }, { "<3@x>", "<1@X>", "c", 3, NULL, 0 });
	cv_buf_deinit(&out);
}

static void ids_that_are_missing_or_doubled_are_unique(void **state)
{
	(void)state;
	CHECK(REFERENCES, "(1 4)(2)(3)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<1@x>", NULL, "b", 2, NULL, 0 }, { NULL, NULL, "c", 3, NULL, 0 },
		{ "<4@x>", "<1@x>", "d", 4, NULL, 0 });
	/* the later of two has its references nevertheless */
	CHECK(REFERENCES, "(1 3)(2)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", NULL, "b", 2, NULL, 0 }, { "<2@x>", "<1@x>", "c", 3, NULL, 0 });
}

static void links_make_no_loops(void **state)
{
	(void)state;
	CHECK(REFERENCES, "(2 1)", { "<1@x>", "<2@x>", "a", 1, NULL, 0 }, { "<2@x>", "<1@x>", "b", 2, NULL, 0 });
	CHECK(REFERENCES, "(1)", { "<1@x>", "<1@x>", "a", 1, NULL, 0 });
	CHECK(REFERENCES, "(3 2 1)", { "<1@x>", "<2@x>", "a", 1, NULL, 0 }, { "<2@x>", "<3@x>", "b", 2, NULL, 0 }, { "<3@x>", "<1@x>", "c", 3, NULL, 0 });
	CHECK(REFERENCES, "(1 2)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<1@x> <2@x> <1@x>", "b", 2, NULL, 0 });
}

/* Step 1.A "If a message already has a parent, don't change the existing link"; 1.B "break the current parent/child link". */
static void own_references_win(void **state)
{
	(void)state;
	/* 3 says that 2 is below 1; 2 itself says it is below 4 */
	CHECK(REFERENCES, "(1)(2 4 3)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<4@x>", NULL, "d", 2, NULL, 0 }, { "<3@x>", "<1@x> <2@x>", "c", 3, NULL, 0 },
		{ "<2@x>", "<4@x>", "b", 4, NULL, 0 });
}

static void own_references_break_links(void **state)
{
	(void)state;
	/* 2 is put below 1 by 1's follower first, then speaks for itself: no references at all */
	CHECK(REFERENCES, "(1)(3 2)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<3@x>", "<1@x> <2@x>", "c", 3, NULL, 0 }, { "<2@x>", NULL, "b", 2, NULL, 0 });
	CHECK(REFERENCES, "(1)(3 2)(4)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<3@x>", "<1@x> <2@x>", "c", 3, NULL, 0 }, { "<2@x>", "<2@x>", "b", 2, NULL, 0 },
		{ "<4@x>", NULL, "d", 4, NULL, 0 });
}

/* Step 3. */
static void dummies_go(void **state)
{
	(void)state;
	/* without children; below the top with children; at the top with one child */
	CHECK(REFERENCES, "(1)", { "<1@x>", "<0@x> <00@x>", "a", 1, NULL, 0 });
	CHECK(REFERENCES, "(1 (2)(3))", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<1@x> <d@x>", "b", 2, NULL, 0 }, { "<3@x>", "<1@x> <d@x>", "c", 3, NULL, 0 });
	/* "Do not promote the children if doing so would make them children of the root, unless there is only one child." */
	CHECK(REFERENCES, "((1)(2 3))", { "<1@x>", "<d@x>", "a", 1, NULL, 0 }, { "<2@x>", "<d@x>", "b", 2, NULL, 0 }, { "<3@x>", "<2@x>", "c", 3, NULL, 0 });
	/* dummies in dummies */
	CHECK(REFERENCES, "((1)(2))", { "<1@x>", "<d@x> <e@x> <f@x>", "a", 1, NULL, 0 }, { "<2@x>", "<d@x> <e@x> <g@x> <h@x>", "b", 2, NULL, 0 });
	/* step 4: a dummy is sorted by its first child */
	CHECK(REFERENCES, "(3)((2)(1))(4)", { "<1@x>", "<d@x>", "a", 9, NULL, 0 }, { "<2@x>", "<d@x>", "b", 5, NULL, 0 }, { "<3@x>", NULL, "c", 4, NULL, 0 },
		{ "<4@x>", NULL, "d", 6, NULL, 0 });
}

/* Step 5, each sub-rule. */
static void threads_of_one_subject_are_merged(void **state)
{
	(void)state;
	/* C "If the current message is a reply or forward and the message in the subject table is not": a child */
	CHECK(REFERENCES, "(1 2)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", NULL, "Re: A", 2, NULL, 0 });
	/* B.iv "the message in the subject table is a reply or forward and the current message is not": it is replaced, though it is older */
	CHECK(REFERENCES, "(2 1)", { "<1@x>", NULL, "Fwd: a", 1, NULL, 0 }, { "<2@x>", NULL, "a", 2, NULL, 0 });
	/* a sibling of its children */
	CHECK(REFERENCES, "(1 (3)(2))", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<1@x>", "b", 5, NULL, 0 }, { "<3@x>", NULL, "a (fwd)", 4, NULL, 0 });
	/* "Otherwise, create a new dummy message and make both [...] children of the dummy" */
	CHECK(REFERENCES, "((1)(2))", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", NULL, "a", 2, NULL, 0 });
	CHECK(REFERENCES, "((1)(2))", { "<1@x>", NULL, "re: a", 1, NULL, 0 }, { "<2@x>", NULL, "re: a", 2, NULL, 0 });
	/* "If the message in the subject table is a dummy and the current message is not, make the current message a child": the third */
	CHECK(REFERENCES, "((1)(2)(3))", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", NULL, "a", 2, NULL, 0 }, { "<3@x>", NULL, "re: a", 3, NULL, 0 });
	/* and the first, that the table's message came behind */
	CHECK(REFERENCES, "(2 (1)(3))", { "<1@x>", NULL, "re: a", 1, NULL, 0 }, { "<2@x>", NULL, "a", 2, NULL, 0 }, { "<3@x>", NULL, "re: a", 3, NULL, 0 });
	/* "If both messages are dummies, append the current message's children"; a dummy's subject is that of its first child */
	CHECK(REFERENCES, "((1)(3)(2)(4))", { "<1@x>", "<d@x>", "a", 1, NULL, 0 }, { "<2@x>", "<d@x>", "other", 4, NULL, 0 }, { "<3@x>", "<e@x>", "re: a", 3, NULL, 0 },
		{ "<4@x>", "<e@x>", "third", 5, NULL, 0 });
	/* B.iv "The current message is a dummy": it takes the place of a message that is none */
	CHECK(REFERENCES, "((1)(2)(3))", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<d@x>", "a", 2, NULL, 0 }, { "<3@x>", "<d@x>", "x", 3, NULL, 0 });
	/* "If the thread subject is empty, skip this message." */
	CHECK(REFERENCES, "(1)(2)(3)", { "<1@x>", NULL, "", 1, NULL, 0 }, { "<2@x>", NULL, "re:", 2, NULL, 0 }, { "<3@x>", NULL, NULL, 3, NULL, 0 });
	/* only the top is looked at */
	CHECK(REFERENCES, "(1 2)(3)", { "<1@x>", NULL, "a", 1, NULL, 0 }, { "<2@x>", "<1@x>", "b", 2, NULL, 0 }, { "<3@x>", NULL, "b", 3, NULL, 0 });
}

static void refs_knows_no_subjects_and_sorts_by_arrival(void **state)
{
	(void)state;
	CHECK(REFS, "(1)(2)", { "<1@x>", NULL, "a", 1, NULL, 1 }, { "<2@x>", NULL, "re: a", 2, NULL, 2 });
	/* the thread with the latest arrival is last; within a thread by sent date */
	CHECK(REFS, "(2)(1 (4)(3))", { "<1@x>", NULL, "a", 1, NULL, 1 }, { "<2@x>", NULL, "b", 9, NULL, 2 }, { "<3@x>", "<1@x>", "c", 8, NULL, 3 },
		{ "<4@x>", "<1@x>", "d", 7, NULL, 4 });
	CHECK(REFS, "(3)((1)(2))", { "<1@x>", "<d@x>", "a", 1, NULL, 1 }, { "<2@x>", "<d@x>", "b", 2, NULL, 9 }, { "<3@x>", NULL, "c", 3, NULL, 5 });
	CHECK(REFS, "(2)(1)", { "<1@x>", "<d@x>", "a", 1, NULL, 5 }, { "<2@x>", NULL, "b", 2, NULL, 3 });
}

/* ---- large and hostile ----------------------------------------------------------------------------------- */

#define DEEP 50000u

/* A chain of messages, the last first, is one thread as deep as it is long: no recursion, and no time that grows with the square of it. */
static void deep_threads_are_threaded(void **state)
{
	struct cv_imap_threads *threads = cv_imap_threads_new(CV_IMAP_THREAD_REFERENCES, 3);
	struct cv_err err = { 0 };
	struct cv_buf out;
	size_t opened = 0;

	for (uint32_t i = DEEP; i > 0; i--) {
		const struct cv_imap_thread_message message = { .number = DEEP - i + 1, .sent = i,
			.message_id = cv_str_c(cv_arena_printf(*state, "<%u@x>", i)),
			.references = cv_str_c(cv_arena_printf(*state, "<%u@x>", i - 1)), .subject = CV_STR("re: a") };

		assert_int_equal(add(threads, &message, &err), 0);
	}
	while (!cv_imap_threads_step(threads, 1000))
		;
	cv_buf_init(&out, SIZE_MAX);
	write_result(threads, DEEP, 1000, &out);
	for (size_t i = 0; i < out.len; i++)
		opened += out.data[i] == '(';
	assert_int_equal(opened, 1);
	cv_buf_deinit(&out);
	cv_imap_threads_free(&threads);
}

static void too_many_references_are_refused(void **state)
{
	struct cv_imap_threads *threads = cv_imap_threads_new(CV_IMAP_THREAD_REFS, 10000);
	struct cv_err err = { 0 };
	struct cv_buf refs;
	int result = 0;

	(void)state;
	cv_buf_init(&refs, SIZE_MAX);
	for (int i = 0; i < 20000; i++)
		cv_buf_printf(&refs, "<%dxxxx@x>", i);
	for (uint32_t i = 1; i < 100 && result == 0; i++) {
		struct cv_imap_thread_message message = { .number = i };

		/* new ones each time */
		for (size_t at = 0; at + 4 < refs.len; at++)
			if (refs.data[at] == 'x' && refs.data[at + 3] == 'x' && refs.data[at + 4] == '@')
				refs.data[at] = (char)('a' + i % 26);
		message.references = cv_buf_str(&refs);
		result = add(threads, &message, &err);
	}
	assert_int_equal(result, -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	cv_buf_deinit(&refs);
	cv_imap_threads_free(&threads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(subjects_alone_make_threads),
		cv_test(references_make_chains),
		cv_test(message_ids_are_compared_in_normal_form),
		cv_test(ids_that_are_missing_or_doubled_are_unique),
		cv_test(links_make_no_loops),
		cv_test(own_references_win),
		cv_test(own_references_break_links),
		cv_test(dummies_go),
		cv_test(threads_of_one_subject_are_merged),
		cv_test(refs_knows_no_subjects_and_sorts_by_arrival),
		cv_test(deep_threads_are_threaded),
		cv_test(too_many_references_are_refused),
	};

	return cv_test_run(tests);
}
