/* SPDX-License-Identifier: MIT
   LMTP: message octets by DATA and BDAT on their way into a memfd. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"
#include "t/lib/test.h"

#include <culver/ipc.h>

#include <string.h>

/* in: what the client sends behind DATA; want: what is stored; left: what is not the message any more. */
static const struct {
	const char *in, *want, *left;
} messages[] = {
	{ "a\r\nb\r\n.\r\n", "a\nb\n", "" },
	{ ".\r\n", "", "" },
	{ "\r\n.\r\nQUIT\r\n", "\n", "QUIT\r\n" },
	{ "..\r\n..a\r\n.b\r\n...\r\n.\r\n", ".\n.a\nb\n..\n", "" },
	{ "a.b\r\n.\r\n", "a.b\n", "" },
	/* RFC 5321 section 4.1.1.4: only CRLF ends a line. */
	{ "a\n.\nb\r\n.\r\n", "a\n.\nb\n", "" },
	{ "a\n.\r\nb\r\n.\r\n", "a\n.\nb\n", "" },
	{ "a\r\n.\nb\r\n.\r\n", "a\n\nb\n", "" },
	{ "a\r.\rb\r\n.\r\n", "a\r.\rb\n", "" },
	{ "a\r\r\n.\r\n", "a\r\n", "" },
	{ "a\r\n.\r.\r\n.\r\n", "a\n\r.\n", "" },
	{ "a\r\n.\r\r\n.\r\n", "a\n\r\n", "" },
	{ "\n\r\n.\r\n", "\n\n", "" },
	{ ".\r\n.\r\n", "", ".\r\n" },
	{ "a\r\n.\r\n.\r\n", "a\n", ".\r\n" },
};

static void expect_stored(struct cv_lmtp_spool *spool, struct cv_str want)
{
	struct cv_err err = { 0 };
	struct cv_str got;

	assert_int_equal(cv_lmtp_spool_seal(spool), 0);
	assert_int_equal(spool->fd >= 0, want.len > CV_LMTP_OCTETS_MAX);
	if (spool->fd < 0) {
		assert_str_eq(cv_buf_str(&spool->buf), want);
		return;
	}
	assert_true(cv_memfd_map(spool->fd, 1 << 20, &got, &err) >= 0);
	assert_str_eq(got, want);
	cv_memfd_unmap(got);
}

static void data_ends_at_the_dot(void **state)
{
	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(messages); i++) {
		struct cv_str in = cv_str_c(messages[i].in);

		/* Cut once at each octet; cut 0: not at all. */
		for (size_t cut = 0; cut < in.len - strlen(messages[i].left); cut++) {
			struct cv_lmtp_spool spool;
			size_t used = 0, more;

			cv_lmtp_spool_init(&spool, 1000, true);
			if (cut > 0) {
				assert_false(cv_lmtp_spool_take(&spool, cv_str_sub(in, 0, cut), &used));
				assert_int_equal(used, cut);
			}
			assert_true(cv_lmtp_spool_take(&spool, cv_str_sub(in, cut, SIZE_MAX), &more));
			assert_str_eq(cv_str_sub(in, cut + more, SIZE_MAX), cv_str_c(messages[i].left));
			expect_stored(&spool, cv_str_c(messages[i].want));
			cv_lmtp_spool_deinit(&spool);
		}
	}
}

static void chunks_know_no_dots(void **state)
{
	static const char in[] = "..a\r\n.\r\nb\r\rc\nd\r";
	struct cv_str s = CV_STR("..a\r\n.\r\nb\r\rc\nd\r");

	(void)state;
	for (size_t cut = 0; cut < sizeof(in); cut++) {
		struct cv_lmtp_spool spool;
		size_t used;

		cv_lmtp_spool_init(&spool, 1000, false);
		assert_false(cv_lmtp_spool_take(&spool, cv_str_sub(s, 0, cut), &used));
		assert_false(cv_lmtp_spool_take(&spool, cv_str_sub(s, cut, SIZE_MAX), &used));
		assert_int_equal(used, s.len - cut);
		expect_stored(&spool, CV_STR("..a\n.\nb\r\rc\nd\r"));
		assert_int_equal(spool.wire_size, s.len);
		cv_lmtp_spool_deinit(&spool);
	}
}

/* RFC 1870 section 5: octets, CRLF included, dots for transparency not. */
static void size_is_counted_as_sent(void **state)
{
	struct cv_lmtp_spool spool;
	size_t used;

	(void)state;
	cv_lmtp_spool_init(&spool, 8, true);
	assert_true(cv_lmtp_spool_take(&spool, CV_STR("..ab\r\nc\r\n.\r\n"), &used));
	assert_int_equal(spool.wire_size, 8);
	assert_int_equal(cv_lmtp_spool_seal(&spool), 0);
	cv_lmtp_spool_deinit(&spool);
	cv_lmtp_spool_init(&spool, 7, true);
	assert_true(cv_lmtp_spool_take(&spool, CV_STR("..ab\r\nc\r\n.\r\n"), &used));
	assert_int_equal(cv_lmtp_spool_seal(&spool), -1);
	assert_int_equal(spool.err.code, CV_ERR_LIMIT);
	cv_lmtp_spool_deinit(&spool);
}

static void what_is_too_large_is_not_kept(void **state)
{
	struct cv_lmtp_spool spool;
	char junk[10000];
	size_t used;

	(void)state;
	memset(junk, 'x', sizeof(junk));
	cv_lmtp_spool_init(&spool, 100000, true);
	for (int i = 0; i < 1000; i++) {
		assert_false(cv_lmtp_spool_take(&spool, cv_str_mem(junk, sizeof(junk)), &used));
		assert_int_equal(used, sizeof(junk));
		assert_true(spool.buf.cap <= 2 * 65536);
	}
	assert_true(cv_lmtp_spool_take(&spool, CV_STR("\r\n.\r\n"), &used));
	assert_int_equal(cv_lmtp_spool_seal(&spool), -1);
	cv_lmtp_spool_deinit(&spool);
}

/* Up to a job's room the message is in the job, beyond in memory of its own. */
static void message_that_fits_into_a_job_needs_no_descriptor(void **state)
{
	struct cv_lmtp_spool spool;
	struct cv_buf want;

	(void)state;
	cv_buf_init(&want, CV_LMTP_OCTETS_MAX + 1);
	while (want.len < CV_LMTP_OCTETS_MAX - 1)
		cv_buf_append_char(&want, 'x');
	for (unsigned i = 0; i < 2; i++) {
		size_t used;

		cv_buf_append_char(&want, 'x');
		cv_lmtp_spool_init(&spool, 1 << 20, false);
		assert_false(cv_lmtp_spool_take(&spool, cv_buf_str(&want), &used));
		expect_stored(&spool, cv_buf_str(&want));
		cv_lmtp_spool_deinit(&spool);
	}
	cv_buf_deinit(&want);
}

static void large_messages_are_kept_whole(void **state)
{
	struct cv_lmtp_spool spool;
	struct cv_err err = { 0 };
	struct cv_buf want;
	struct cv_str got;
	size_t used;

	(void)state;
	cv_buf_init(&want, 1 << 20);
	cv_lmtp_spool_init(&spool, 1 << 20, true);
	for (unsigned i = 0; i < 20000; i++) {
		char line[32];
		int len = snprintf(line, sizeof(line), "line %u\r\n", i);

		assert_false(cv_lmtp_spool_take(&spool, cv_str_mem(line, (size_t)len), &used));
		cv_buf_append(&want, cv_str_mem(line, (size_t)len - 2));
		cv_buf_append_char(&want, '\n');
	}
	assert_true(cv_lmtp_spool_take(&spool, CV_STR(".\r\n"), &used));
	assert_int_equal(cv_lmtp_spool_seal(&spool), 0);
	assert_true(cv_memfd_map(spool.fd, 1 << 20, &got, &err) >= 0);
	assert_true(cv_str_eq(got, cv_buf_str(&want)));
	cv_memfd_unmap(got);
	cv_lmtp_spool_deinit(&spool);
	cv_buf_deinit(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(data_ends_at_the_dot),
		cv_test(chunks_know_no_dots),
		cv_test(size_is_counted_as_sent),
		cv_test(what_is_too_large_is_not_kept),
		cv_test(message_that_fits_into_a_job_needs_no_descriptor),
		cv_test(large_messages_are_kept_whole),
	};

	return cv_test_run(tests);
}
