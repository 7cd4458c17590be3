/* SPDX-License-Identifier: MIT
   CRC-32C: the values of RFC 3720, and both implementations against each other. */
#include <config.h>

/* The source itself: its two implementations are static. */
#include "core/base/crc32c.c"

#include "t/lib/test.h"

static void values_of_rfc_3720(void **state CV_UNUSED)
{
	unsigned char octets[32];

	/* RFC 3720 appendix B.4 */
	memset(octets, 0, sizeof(octets));
	assert_int_equal(cv_crc32c(0, octets, sizeof(octets)), 0x8a9136aau);
	memset(octets, 0xff, sizeof(octets));
	assert_int_equal(cv_crc32c(0, octets, sizeof(octets)), 0x62a8ab43u);
	for (unsigned i = 0; i < sizeof(octets); i++)
		octets[i] = (unsigned char)i;
	assert_int_equal(cv_crc32c(0, octets, sizeof(octets)), 0x46dd794eu);
	assert_int_equal(cv_crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(cv_crc32c(0, NULL, 0), 0);
}

static void both_ways_agree_on_every_length_and_start(void **state CV_UNUSED)
{
	unsigned char octets[80];

	cv_random(octets, sizeof(octets));
	for (size_t from = 0; from < 16; from++) {
		for (size_t len = 0; len <= 64; len++) {
			uint32_t by_table = ~crc_tables(~0x1234567u, octets + from, len);

			assert_int_equal(cv_crc32c(0x1234567u, octets + from, len), by_table);
#ifdef HAVE_CRC_SSE42
			if (__builtin_cpu_supports("sse4.2"))
				assert_int_equal(~crc_sse42(~0x1234567u, octets + from, len), by_table);
#endif
		}
	}
}

static void long_pieces_are_the_same_both_ways(void **state CV_UNUSED)
{
	unsigned char octets[5000];

	cv_random(octets, sizeof(octets));
	for (size_t from = 0; from < 8; from++) {
		for (size_t len = 700; len <= 4990; len += 29)
			assert_int_equal(cv_crc32c(0x89abcdefu, octets + from, len), ~crc_tables(~0x89abcdefu, octets + from, len));
	}
	for (size_t len = 766; len <= 770; len++) /* where the streams begin */
		assert_int_equal(cv_crc32c(0, octets, len), ~crc_tables(~0u, octets, len));
}

static void goes_on_from_a_part(void **state CV_UNUSED)
{
	for (size_t cut = 0; cut <= 9; cut++)
		assert_int_equal(cv_crc32c(cv_crc32c(0, "123456789", cut), &"123456789"[cut], 9 - cut), 0xe3069283u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(values_of_rfc_3720),
		cv_test(both_ways_agree_on_every_length_and_start),
		cv_test(long_pieces_are_the_same_both_ways),
		cv_test(goes_on_from_a_part),
	};

	return cv_test_run(tests);
}
