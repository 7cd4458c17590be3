/* SPDX-License-Identifier: MIT
   The hash of tables: seeded, and SipHash in its structure. */
#include <config.h>

/* The source itself: the keyed function is static. */
#include "core/base/hash.c"

#include "t/lib/test.h"

#include <string.h>

static void same_octets_same_hash(void **state CV_UNUSED)
{
	assert_true(cv_hash("abc", 3) == cv_hash("abcd", 3));
	assert_true(cv_hash("abc", 3) != cv_hash("abd", 3));
	assert_true(cv_hash("", 0) == cv_hash(NULL, 0));
}

static void length_and_every_octet_count(void **state CV_UNUSED)
{
	unsigned char octets[24] = { 0 };

	for (size_t len = 0; len < sizeof(octets); len++)
		assert_true(siphash13(1, 2, octets, len) != siphash13(1, 2, octets, len + 1));
	for (size_t i = 0; i < sizeof(octets); i++) {
		uint64_t before = siphash13(1, 2, octets, sizeof(octets));

		octets[i] = 1;
		assert_true(siphash13(1, 2, octets, sizeof(octets)) != before);
		octets[i] = 0;
	}
}

static void key_changes_the_hash(void **state CV_UNUSED)
{
	assert_true(siphash13(1, 2, (const unsigned char *)"x", 1) != siphash13(1, 3, (const unsigned char *)"x", 1));
	assert_true(siphash13(1, 2, (const unsigned char *)"x", 1) != siphash13(0, 2, (const unsigned char *)"x", 1));
	(void)cv_hash("", 0);
	assert_true(seed[0] != 0 || seed[1] != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(same_octets_same_hash),
		cv_test(length_and_every_octet_count),
		cv_test(key_changes_the_hash),
	};

	return cv_test_run(tests);
}
