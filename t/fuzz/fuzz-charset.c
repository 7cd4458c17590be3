/* SPDX-License-Identifier: MIT
   Charsets and transfer encodings: the first octet chooses one of each, the second how the rest is cut. The result is UTF-8 and does not
   depend on the cuts. */
#include <config.h>

#include "t/fuzz/fuzz.h"
#include <culver/charset.h>

static const char *const names[] = { "utf-8", "x-unknown", "iso-8859-1", "utf-7", "utf-16", "utf-16le", "utf-16be", "utf-32",
	"iso-8859-2", "iso-8859-8-i", "windows-1255", "windows-1258", "koi8-u", "shift_jis", "euc-jp", "iso-2022-jp",
	"iso-2022-jp-2", "iso-2022-kr", "iso-2022-cn", "euc-kr", "gb18030", "big5", "euc-tw", "johab", "tcvn", "viscii",
	"tis-620", "macintosh", "armscii-8", "eucjp-ms", "cp437", "koi8-t" };

static void decode(const char *charset_name, enum cv_transfer transfer, struct cv_str in, size_t step, struct cv_buf *out)
{
	struct cv_charset *charset = cv_charset_open(cv_str_c(charset_name));
	struct cv_transfer_decoder decoder;
	struct cv_buf octets;

	cv_buf_init(&octets, SIZE_MAX);
	cv_transfer_decoder_init(&decoder, transfer);
	for (size_t pos = 0; pos < in.len; pos += CV_MIN(step, in.len - pos)) {
		cv_buf_clear(&octets);
		cv_transfer_decode(&decoder, cv_str_sub(in, pos, step), &octets);
		cv_charset_feed(charset, cv_buf_str(&octets), out);
	}
	cv_buf_clear(&octets);
	cv_transfer_decode_finish(&decoder, &octets);
	cv_charset_feed(charset, cv_buf_str(&octets), out);
	cv_charset_finish(charset, out);
	cv_charset_close(&charset);
	cv_buf_deinit(&octets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str in = cv_str_sub(cv_str_mem(data, size), 2, SIZE_MAX);
	struct cv_buf whole, pieces;
	const char *name;

	if (size < 2)
		return 0;
	name = names[data[0] % CV_COUNT_OF(names)];
	cv_buf_init(&whole, SIZE_MAX);
	cv_buf_init(&pieces, SIZE_MAX);
	decode(name, (enum cv_transfer)(data[0] / 32 % 4), in, SIZE_MAX, &whole);
	decode(name, (enum cv_transfer)(data[0] / 32 % 4), in, 1 + data[1] % 17, &pieces);
	fuzz_check(cv_str_is_utf8(cv_buf_str(&whole)));
	fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&pieces)));
	cv_buf_deinit(&whole);
	cv_buf_deinit(&pieces);
	return 0;
}
