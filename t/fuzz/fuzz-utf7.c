/* SPDX-License-Identifier: MIT
   Modified UTF-7: a name that is accepted comes back octet for octet, and every name of ours is accepted. */
#include <config.h>

#include "modules/lib/imap/imap-utf7.h"
#include "t/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf utf8, utf7, again;

	cv_buf_init(&utf8, SIZE_MAX / 2);
	cv_buf_init(&utf7, SIZE_MAX / 2);
	cv_buf_init(&again, SIZE_MAX / 2);
	cv_buf_append_char(&utf8, 'x');
	if (cv_imap_utf7_decode(&utf8, input)) {
		fuzz_check(cv_str_is_utf8(cv_buf_str(&utf8)) && !cv_str_has_nul(cv_buf_str(&utf8)));
		cv_imap_utf7_encode(&utf7, cv_str_sub(cv_buf_str(&utf8), 1, SIZE_MAX));
		fuzz_check(cv_str_eq(cv_buf_str(&utf7), input));
	} else {
		fuzz_check(cv_str_eq(cv_buf_str(&utf8), CV_STR("x")));
	}
	cv_buf_clear(&utf7);
	cv_imap_utf7_encode(&utf7, input);
	for (size_t i = 0; i < utf7.len; i++)
		fuzz_check(utf7.data[i] >= ' ' && utf7.data[i] <= '~');
	if (!cv_str_has_nul(input)) {
		fuzz_check(cv_imap_utf7_decode(&again, cv_buf_str(&utf7)));
		fuzz_check(!cv_str_is_utf8(input) || cv_str_eq(cv_buf_str(&again), input));
	}
	cv_buf_deinit(&utf8);
	cv_buf_deinit(&utf7);
	cv_buf_deinit(&again);
	return 0;
}
