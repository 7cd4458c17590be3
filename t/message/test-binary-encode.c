/* SPDX-License-Identifier: MIT
   Binary content becomes text: the octets as they were, and nothing else of the message changed. */
#include <config.h>

#include "t/lib/message-dump.h"
#include "t/lib/test.h"

#include <string.h>

struct row {
	const char *name;
	struct cv_str in, want;
};
#define ROW(name, in, want) { name, CV_STR_INIT(in), CV_STR_INIT(want) }

/* want, for pieces of each length. */
static void check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t step = 1; step <= rows[i].in.len + 1; step++) {
			struct cv_buf out;
			const char *bad;

			cv_buf_init(&out, SIZE_MAX);
			bad = cv_check_binary_encoder(rows[i].in, step, &out);
			if (bad != NULL || !cv_str_eq(cv_buf_str(&out), rows[i].want))
				print_error("%s, in pieces of %zu: %s\n", rows[i].name, step, bad != NULL ? bad : "not what is wanted");
			assert_true(bad == NULL);
			assert_str_eq(cv_buf_str(&out), rows[i].want);
			cv_buf_deinit(&out);
		}
	}
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define BINARY "Content-Transfer-Encoding: binary\r\n\r\n"
#define BASE64 "Content-Transfer-Encoding: base64\r\n\r\n"

static void leaves_become_base64(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW("nothing", "", ""),
		ROW("a message", BINARY "a\0b", BASE64 "YQBi\r\n"),
		ROW("its last line end is content", BINARY "a\0b\r\n", BASE64 "YQBiDQo=\r\n"),
		ROW("and so are others", BINARY "\n\r\r\n\r\n", BASE64 "Cg0NCg0K\r\n"),
		ROW("an empty one", BINARY, BASE64),
		ROW("in parts", MIXED "--b\r\n" BINARY "\0\r\n--b\r\n" BINARY "\0\n\r\n--b\r\n\r\ntext\r\n--b--\r\nend",
			MIXED "--b\r\n" BASE64 "AA==\r\n--b\r\n" BASE64 "AAo=\r\n--b\r\n\r\ntext\r\n--b--\r\nend"),
		ROW("bare LF ends lines of delimiters too", MIXED "--b\n" BINARY "\0\n--b\n" BINARY "\r\n--b--\n",
			MIXED "--b\n" BASE64 "AA==\n--b\n" BASE64 "\r\n--b--\n"),
		ROW("CR at the end", MIXED "--b\r\n" BINARY "\0\r\r\n--b--", MIXED "--b\r\n" BASE64 "AA0=\r\n--b--"),
		ROW("no empty line", MIXED "--b\r\nContent-Transfer-Encoding: binary\r\n--b--\r\n", MIXED "--b\r\nContent-Transfer-Encoding: base64\r\n--b--\r\n"),
		ROW("an empty body", MIXED "--b\r\n" BINARY "\r\n--b--\r\n", MIXED "--b\r\n" BASE64 "\r\n--b--\r\n"),
		ROW("nearly a delimiter", MIXED "--b\r\n" BINARY "\r\n--c\0\r\n--b--", MIXED "--b\r\n" BASE64 "DQotLWMA\r\n--b--"),
		ROW("without its end", MIXED "--b\r\n" BINARY "\0\r\n", MIXED "--b\r\n" BASE64 "AA0K\r\n"),
		ROW("whole lines", BINARY "0123456789012345678901234567890123456789012345678901234560123456789012345678901234567890123456789012345678901234567",
			BASE64 "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2\r\n"
			"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2\r\nNw==\r\n"),
	};

	check(rows, CV_COUNT_OF(rows));
}

static void the_field_is_changed_and_no_other(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW("case, comments, folds", "A: b\r\ncontent-TRANSFER-encoding\t:\r\n (y) BINARY\r\nC: d\r\n\r\n\0",
			"A: b\r\ncontent-TRANSFER-encoding: base64\r\nC: d\r\n\r\nAA==\r\n"),
		ROW("bare LF", "A: b\nContent-Transfer-Encoding: binary\n\n\0", "A: b\nContent-Transfer-Encoding: base64\n\nAA==\r\n"),
		ROW("repeated", "Content-Transfer-Encoding: binary\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\0",
			"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n"),
		ROW("the first counts", "Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: binary\r\n\r\nx",
			"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: binary\r\n\r\nx"),
		ROW("8bit", "Content-Transfer-Encoding: 8bit\r\n\r\n\0", "Content-Transfer-Encoding: 8bit\r\n\r\n\0"),
		ROW("no field", "A: b\r\n\r\n\0", "A: b\r\n\r\n\0"),
		ROW("NUL in the header stays", "A: \0\r\n" BINARY "\0", "A: \0\r\n" BASE64 "AA==\r\n"),
	};

	check(rows, CV_COUNT_OF(rows));
}

#define SIGNED "Content-Type: multipart/signed; boundary=s\r\nContent-Transfer-Encoding: binary\r\n\r\n--s\r\n"

static void what_may_not_be_encoded_stays(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		/* RFC 2045 section 6.4: containers have no encoding of their own */
		ROW("a multipart", "Content-Transfer-Encoding: binary\r\n" MIXED "--b\r\n" BINARY "\0\r\n--b--\r\n",
			"Content-Transfer-Encoding: 8bit\r\n" MIXED "--b\r\n" BASE64 "AA==\r\n--b--\r\n"),
		ROW("a multipart's text", "Content-Transfer-Encoding: binary\r\n" MIXED "\0\r\n--b\r\n\r\n\r\n--b--\r\n\0",
			"Content-Transfer-Encoding: 8bit\r\n" MIXED "\0\r\n--b\r\n\r\n\r\n--b--\r\n\0"),
		ROW("a message in it", "Content-Type: message/rfc822\r\n" BINARY "A: b\r\n" BINARY "\0",
			"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nA: b\r\n" BASE64 "AA==\r\n"),
		ROW("a part of a message", "Content-Type: message/partial\r\n" BINARY "\0", "Content-Type: message/partial\r\n" BINARY "\0"),
		ROW("signed", SIGNED BINARY "\0\r\n--s\r\n" BINARY "\0\r\n--s--\r\n", SIGNED BINARY "\0\r\n--s\r\n" BINARY "\0\r\n--s--\r\n"),
		ROW("deep in what is signed", SIGNED "Content-Type: message/rfc822\r\n" BINARY "Content-Transfer-Encoding: binary\r\n" MIXED "--b\r\n" BINARY "x",
			SIGNED "Content-Type: message/rfc822\r\n" BINARY "Content-Transfer-Encoding: binary\r\n" MIXED "--b\r\n" BINARY "x"),
		ROW("beside what is signed", MIXED "--b\r\n" SIGNED BINARY "x\r\n--s--\r\n--b\r\n" BINARY "\0",
			MIXED "--b\r\n" SIGNED BINARY "x\r\n--s--\r\n--b\r\n" BASE64 "AA==\r\n"),
	};

	check(rows, CV_COUNT_OF(rows));
}

static struct cv_str run(struct cv_buf *out, const char *first, bool first_binary, struct cv_str second, bool second_binary)
{
	struct cv_binary_encoder *encoder = cv_binary_encoder_new();

	cv_buf_clear(out);
	assert_true(cv_binary_encoder_feed(encoder, cv_str_c(first), first_binary, out));
	assert_true(cv_binary_encoder_feed(encoder, second, second_binary, out));
	assert_true(cv_binary_encoder_finish(encoder, out));
	cv_binary_encoder_free(&encoder);
	return cv_buf_str(out);
}

static void only_what_may_hold_nul_is_changed(void **state CV_UNUSED)
{
	struct cv_buf out;

	cv_buf_init(&out, SIZE_MAX);
	assert_str(run(&out, BINARY, false, CV_STR("x"), false), BINARY "x");
	/* the octets behind the header say it, also when the header came before */
	assert_str(run(&out, BINARY, false, CV_STR("\0"), true), BASE64 "AA==\r\n");
	assert_str(run(&out, BINARY, true, CV_STR("x"), false), BASE64 "eA==\r\n");
	/* too late */
	assert_str(run(&out, BINARY "x", false, CV_STR("\0"), true), BINARY "x\0");
	cv_buf_deinit(&out);
}

/* The parser sees a thousand parts: the rest would be part of the last one. */
static void parts_beyond_the_bound_are_not_swallowed(void **state CV_UNUSED)
{
	struct cv_buf in, out;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	cv_buf_append_c(&in, MIXED);
	for (int i = 0; i < 1001; i++)
		cv_buf_append_c(&in, "--b\r\n" BINARY "x\r\n");
	for (int binary = 0; binary < 2; binary++) {
		struct cv_binary_encoder *encoder = cv_binary_encoder_new();

		cv_buf_clear(&out);
		assert_int_equal(cv_binary_encoder_feed(encoder, cv_buf_str(&in), binary != 0, &out), binary == 0);
		assert_int_equal(cv_binary_encoder_feed(encoder, CV_STR("y"), binary != 0, &out), binary == 0);
		assert_int_equal(cv_binary_encoder_finish(encoder, &out), binary == 0);
		cv_binary_encoder_free(&encoder);
	}
	cv_buf_deinit(&in);
	cv_buf_deinit(&out);
}

/* What a header holds is bounded; one that is longer is passed on, and its part as it is. */
static void a_header_beyond_the_bound_is_passed_on(void **state CV_UNUSED)
{
	struct cv_binary_encoder *encoder = cv_binary_encoder_new();
	struct cv_buf in, out;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	cv_buf_append_c(&in, "Content-Transfer-Encoding: binary\r\n");
	for (int i = 0; i < 40000; i++)
		cv_buf_append_c(&in, "Field: 0123456789012345678901\r\n");
	cv_buf_append(&in, CV_STR("\r\nbody\0"));
	assert_true(cv_binary_encoder_feed(encoder, cv_buf_str(&in), true, &out));
	assert_true(cv_binary_encoder_finish(encoder, &out));
	assert_str_eq(cv_buf_str(&out), cv_buf_str(&in));
	cv_binary_encoder_free(&encoder);
	cv_buf_deinit(&in);
	cv_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(leaves_become_base64),
		cv_test(the_field_is_changed_and_no_other),
		cv_test(what_may_not_be_encoded_stays),
		cv_test(only_what_may_hold_nul_is_changed),
		cv_test(parts_beyond_the_bound_are_not_swallowed),
		cv_test(a_header_beyond_the_bound_is_passed_on),
	};

	return cv_test_run(tests);
}
