/* SPDX-License-Identifier: MIT
   Sources of octets, and their wire form from any position. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/message.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int file_with(void **state, struct cv_str octets)
{
	const char *path = cv_arena_printf(*state, "%s/message", cv_test_dir(state));
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, octets.ptr, octets.len), (ssize_t)octets.len);
	return fd;
}

static void ranges_of_memory_and_files_are_read(void **state)
{
	struct cv_message_reader *mem = cv_message_reader_new_mem(CV_STR("0123456789"));
	struct cv_message_reader *file = cv_message_reader_new_fd(file_with(state, CV_STR("abc0123456789xyz")), 3, 10, true);
	struct cv_message_reader *readers[] = { mem, file };
	struct cv_str view;
	struct cv_buf out;

	cv_buf_init(&out, 8);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(readers[i]->size, 10);
		assert_int_equal(cv_message_reader_get(readers[i], 4, 3, &view, NULL), 1);
		assert_str(view, "456");
		assert_int_equal(cv_message_reader_get(readers[i], 8, 100, &view, NULL), 1);
		assert_str(view, "89");
		assert_int_equal(cv_message_reader_get(readers[i], 10, 1, &view, NULL), 0);
		assert_int_equal(cv_message_reader_get(readers[i], UINT64_MAX, 1, &view, NULL), 0);
		cv_buf_clear(&out);
		assert_int_equal(cv_message_reader_append(readers[i], 5, UINT64_MAX, &out, NULL), 1);
		assert_str(cv_buf_str(&out), "56789");
		assert_int_equal(cv_message_reader_append(readers[i], 0, 10, &out, NULL), -1);
	}
	cv_buf_deinit(&out);
	cv_message_reader_free(&mem);
	cv_message_reader_free(&file);
	assert_null(file);
}

static void a_file_that_is_too_short_is_corrupt(void **state)
{
	int fd = file_with(state, CV_STR("0123"));
	struct cv_message_reader *file = cv_message_reader_new_fd(fd, 0, 10, false);
	struct cv_str view;
	struct cv_err err = { 0 };

	assert_int_equal(cv_message_reader_get(file, 0, 100, &view, &err), 1);
	assert_str(view, "0123");
	assert_int_equal(cv_message_reader_get(file, 4, 100, &view, &err), -1);
	assert_int_equal(err.code, CV_ERR_CORRUPT);
	cv_message_reader_free(&file);
	/* the descriptor was not the reader's */
	assert_int_equal(close(fd), 0);
}

static void append_wire(struct cv_wire_stream *stream, size_t max, struct cv_buf *out)
{
	struct cv_str view;
	int result;

	while ((result = cv_wire_stream_read(stream, max, &view, NULL)) > 0) {
		assert_true(view.len > 0 && view.len <= max);
		cv_buf_append(out, view);
	}
	assert_int_equal(result, 0);
}

static void the_wire_form_has_crlf_line_ends(void **state CV_UNUSED)
{
	static const struct {
		struct cv_str octets, wire;
	} rows[] = { { CV_STR_INIT("a\nb\r\nc\n\nd"), CV_STR_INIT("a\r\nb\r\nc\r\n\r\nd") },
		{ CV_STR_INIT("a\r\nb\r\n"), CV_STR_INIT("a\r\nb\r\n") },
		{ CV_STR_INIT("\n"), CV_STR_INIT("\r\n") },
		{ CV_STR_INIT("\r\r\n\r"), CV_STR_INIT("\r\r\n\r") },
		{ CV_STR_INIT(""), CV_STR_INIT("") } };
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_message_reader *reader = cv_message_reader_new_mem(rows[i].octets);

		for (size_t max = 1; max < 12; max++) {
			struct cv_wire_stream *stream = cv_wire_stream_new(reader, 0, rows[i].octets.len, rows[i].wire.len);

			cv_buf_clear(&out);
			append_wire(stream, max, &out);
			assert_str_eq(cv_buf_str(&out), rows[i].wire);
			cv_wire_stream_free(&stream);
		}
		cv_message_reader_free(&reader);
	}
	cv_buf_deinit(&out);
}

static void any_position_of_the_wire_form_can_be_sought(void **state)
{
	struct cv_buf lf, wire, out;
	struct cv_message_reader *reader;
	struct cv_wire_stream *stream;

	cv_buf_init(&lf, SIZE_MAX);
	cv_buf_init(&wire, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	for (int i = 0; i < 5000; i++) {
		cv_buf_printf(&lf, "line %d%s\n", i, i % 3 == 0 ? "\r" : "");
		cv_buf_printf(&wire, "line %d\r\n", i);
	}
	reader = cv_message_reader_new_fd(file_with(state, cv_buf_str(&lf)), 0, lf.len, true);
	stream = cv_wire_stream_new(reader, 0, lf.len, wire.len);
	for (size_t pos = 0; pos < wire.len; pos += 4099) {
		struct cv_str view;

		/* forward, and back again */
		for (int back = 0; back < 2; back++) {
			size_t at = back ? wire.len - pos : pos;

			assert_int_equal(cv_wire_stream_seek(stream, at, NULL), 1);
			assert_int_equal(cv_wire_stream_pos(stream), at);
			if (at < wire.len) {
				assert_int_equal(cv_wire_stream_read(stream, 20, &view, NULL), 1);
				assert_str_eq(view, cv_str_sub(cv_buf_str(&wire), at, view.len));
			}
		}
	}
	assert_int_equal(cv_wire_stream_seek(stream, UINT64_MAX, NULL), 1);
	assert_int_equal(cv_wire_stream_pos(stream), wire.len);
	assert_int_equal(cv_wire_stream_seek(stream, 100, NULL), 1);
	append_wire(stream, 1000, &out);
	assert_str_eq(cv_buf_str(&out), cv_str_sub(cv_buf_str(&wire), 100, SIZE_MAX));
	cv_wire_stream_free(&stream);
	cv_message_reader_free(&reader);
	cv_buf_deinit(&lf);
	cv_buf_deinit(&wire);
	cv_buf_deinit(&out);
}

static void a_wire_size_that_does_not_fit_is_an_error(void **state CV_UNUSED)
{
	/* too long, too short, and a source that ends early */
	static const struct {
		uint64_t size, wire_size;
	} rows[] = { { 4, 7 }, { 4, 5 }, { 6, 8 }, { 6, 6 } };
	struct cv_message_reader *reader = cv_message_reader_new_mem(CV_STR("a\nb\n"));

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_wire_stream *stream = cv_wire_stream_new(reader, 0, rows[i].size, rows[i].wire_size);
		struct cv_err err = { 0 };
		struct cv_str view;
		uint64_t total = 0;
		int result;

		while ((result = cv_wire_stream_read(stream, 100, &view, &err)) > 0)
			total += view.len;
		assert_int_equal(result, -1);
		assert_int_equal(err.code, CV_ERR_CORRUPT);
		assert_true(total <= rows[i].wire_size);
		cv_wire_stream_free(&stream);
	}
	cv_message_reader_free(&reader);
}

static void messages_are_parsed_from_a_source(void **state)
{
	struct cv_message_reader *reader = cv_message_reader_new_fd(file_with(state, CV_STR("Subject: x\n\nbody")), 0, 16, true);
	struct cv_message *message;

	assert_int_equal(cv_message_parse(*state, NULL, reader, &message, NULL), 1);
	assert_str(message->root->envelope->subject, "x");
	assert_int_equal(message->size, 16);
	cv_message_reader_free(&reader);
	reader = cv_message_reader_new_fd(-1, 0, 16, false);
	assert_int_equal(cv_message_parse(*state, NULL, reader, &message, NULL), -1);
	cv_message_reader_free(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(ranges_of_memory_and_files_are_read),
		cv_test(a_file_that_is_too_short_is_corrupt),
		cv_test(the_wire_form_has_crlf_line_ends),
		cv_test(any_position_of_the_wire_form_can_be_sought),
		cv_test(a_wire_size_that_does_not_fit_is_an_error),
		cv_test(messages_are_parsed_from_a_source),
	};

	return cv_test_run(tests);
}
