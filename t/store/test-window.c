/* SPDX-License-Identifier: MIT
   Windows on files: the same octets as a plain read gives, with fewer calls. */
#include <config.h>

#include "core/store/window.h"
#include "t/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FILE_LEN ((size_t)300000)

struct fixture {
	int fd;
	char *octets;
	unsigned reads;
	int fail;
};

static int count_reads(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct fixture *f = ctx;

	(void)name;
	(void)len;
	if (op == CV_FILE_READ)
		f->reads++;
	return op == CV_FILE_READ ? f->fail : 0;
}

static void init(struct fixture *f, void **state)
{
	struct cv_err err = { 0 };
	int dir;

	*f = (struct fixture){ .fd = -1, .octets = cv_malloc(FILE_LEN) };
	for (size_t i = 0; i < FILE_LEN; i++)
		f->octets[i] = (char)(i * 2654435761u >> 13);
	assert_int_equal(cv_file_root(cv_test_dir(state), &dir, &err), 1);
	assert_int_equal(cv_file_open(dir, "file", O_RDWR | O_CREAT, 0600, &f->fd, &err), 1);
	assert_int_equal(cv_file_pwrite(f->fd, cv_str_mem(f->octets, FILE_LEN), 0, &err), 1);
	cv_file_close(&dir);
	cv_file_set_fault(count_reads, f);
}

static void deinit(struct fixture *f, struct cv_window *window)
{
	cv_file_set_fault(NULL, NULL);
	cv_window_deinit(window);
	cv_file_close(&f->fd);
	cv_free(f->octets);
}

static void expect(struct fixture *f, struct cv_window *window, uint64_t offset, size_t len, size_t expected)
{
	char *got = cv_malloc(len + 1);
	struct cv_err err = { 0 };
	size_t got_len;

	assert_int_equal(cv_window_read(window, f->fd, offset, got, len, &got_len, &err), 1);
	assert_int_equal(got_len, expected);
	assert_memory_equal(got, f->octets + offset, expected);
	cv_free(got);
}

static void pieces_one_behind_the_other_need_few_reads(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };

	init(f, state);
	for (size_t at = 0; at + 1000 <= FILE_LEN; at += 1000)
		expect(f, &window, at, 1000, 1000);
	assert_true(f->reads <= FILE_LEN / CV_WINDOW_AHEAD + 1);
	deinit(f, &window);
}

static void expect_view(struct fixture *f, struct cv_window *window, uint64_t offset, size_t len, size_t expected)
{
	struct cv_err err = { 0 };
	struct cv_str view;

	assert_int_equal(cv_window_view(window, f->fd, offset, len, CV_WINDOW_AHEAD, &view, &err), 1);
	assert_int_equal(view.len, expected);
	assert_memory_equal(view.ptr, f->octets + offset, expected);
}

/* A piece anywhere brings a little more, one behind the other much more; the end of the file is told, and what grows behind it is seen. */
static void pieces_are_seen_in_place(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };
	struct cv_err err = { 0 };

	init(f, state);
	expect_view(f, &window, 200000, 10, 10);
	expect_view(f, &window, 200000 + CV_WINDOW_PIECE - 10, 10, 10);
	assert_int_equal(f->reads, 1);
	expect_view(f, &window, 200000 + CV_WINDOW_PIECE, 10, 10);
	expect_view(f, &window, 200000 + CV_WINDOW_PIECE + CV_WINDOW_AHEAD - 10, 10, 10);
	assert_int_equal(f->reads, 2);
	expect_view(f, &window, 10, CV_WINDOW_AHEAD, CV_WINDOW_AHEAD);
	assert_int_equal(f->reads, 3);
	expect_view(f, &window, FILE_LEN - 5, 10, 5);
	expect_view(f, &window, FILE_LEN, 10, 0);
	assert_int_equal(cv_file_pwrite(f->fd, cv_str_mem(f->octets, 5), FILE_LEN, &err), 1);
	assert_int_equal(cv_window_view(&window, f->fd, FILE_LEN, 10, CV_WINDOW_AHEAD, &(struct cv_str){ 0 }, &err), 1);
	f->fail = EIO;
	assert_int_equal(cv_window_view(&window, f->fd, 1000, 10, CV_WINDOW_AHEAD, &(struct cv_str){ 0 }, &err), -1);
	f->fail = 0;
	expect_view(f, &window, 1000, 10, 10);
	deinit(f, &window);
}

static void pieces_far_apart_are_read_alone(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };

	init(f, state);
	expect(f, &window, 200000, 10, 10);
	assert_null(window.data);
	expect(f, &window, 10, 10, 10);
	assert_null(window.data);
	deinit(f, &window);
}

static void pieces_longer_than_the_window_are_whole(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };

	init(f, state);
	expect(f, &window, 0, 100, 100);
	expect(f, &window, 100, CV_WINDOW_AHEAD * 2, CV_WINDOW_AHEAD * 2);
	expect(f, &window, 100, 50, 50);
	deinit(f, &window);
}

static void the_end_of_the_file_is_told_and_what_grows_behind_it_is_seen(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };

	init(f, state);
	expect(f, &window, FILE_LEN - 150, 100, 100);
	expect(f, &window, FILE_LEN - 50, 100, 50);
	assert_int_equal(cv_file_pwrite(f->fd, cv_str_mem(f->octets, 500), FILE_LEN, NULL), 1);
	{
		char got[100];
		struct cv_err err = { 0 };
		size_t len;

		assert_int_equal(cv_window_read(&window, f->fd, FILE_LEN - 50, got, 100, &len, &err), 1);
		assert_int_equal(len, 100);
		assert_memory_equal(got + 50, f->octets, 50);
	}
	deinit(f, &window);
}

static void what_changed_is_read_anew_after_a_drop(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };

	init(f, state);
	expect(f, &window, 0, 10, 10);
	expect(f, &window, 10, 10, 10);
	f->octets[12] = (char)~f->octets[12];
	assert_int_equal(cv_file_pwrite(f->fd, cv_str_mem(f->octets + 12, 1), 12, NULL), 1);
	cv_window_drop(&window);
	expect(f, &window, 10, 10, 10);
	deinit(f, &window);
}

static void a_failed_read_leaves_nothing_behind(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };
	struct cv_err err = { 0 };
	size_t len;
	char got[10];

	init(f, state);
	expect(f, &window, 0, 10, 10);
	f->fail = 5; /* EIO */
	assert_int_equal(cv_window_read(&window, f->fd, CV_WINDOW_AHEAD - 5, got, 10, &len, &err), -1);
	f->fail = 0;
	expect(f, &window, CV_WINDOW_AHEAD - 5, 10, 10);
	deinit(f, &window);
}

/* Any pieces in any order: as plain reads. */
static void any_pieces_give_what_is_there(void **state)
{
	struct fixture fixture, *f = &fixture;
	struct cv_window window = { 0 };
	uint32_t seed = 1;

	init(f, state);
	for (int i = 0; i < 20000; i++) {
		size_t offset, len;

		seed = seed * 1664525u + 1013904223u;
		offset = i % 3 == 0 ? (seed >> 8) % FILE_LEN : (size_t)CV_MIN(window.next, (uint64_t)FILE_LEN);
		seed = seed * 1664525u + 1013904223u;
		len = (seed >> 8) % 3000;
		expect(f, &window, offset, len, CV_MIN(len, FILE_LEN - offset));
	}
	deinit(f, &window);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(pieces_one_behind_the_other_need_few_reads),
		cv_test(pieces_are_seen_in_place),
		cv_test(pieces_far_apart_are_read_alone),
		cv_test(pieces_longer_than_the_window_are_whole),
		cv_test(the_end_of_the_file_is_told_and_what_grows_behind_it_is_seen),
		cv_test(what_changed_is_read_anew_after_a_drop),
		cv_test(a_failed_read_leaves_nothing_behind),
		cv_test(any_pieces_give_what_is_there),
	};

	return cv_test_run(tests);
}
