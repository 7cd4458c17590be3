/* SPDX-License-Identifier: MIT
   Modified UTF-7 of mailbox names. */
#include <config.h>

#include "imap-utf7.h"

#include <culver/reader.h>

/* RFC 3501: "," instead of "/". */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (cv_is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == ',' ? 63 : -1;
}

static bool is_direct(uint32_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* UTF-16 units to UTF-8, with a surrogate waiting for its second half. */
struct units {
	struct cv_buf *out;
	uint32_t high;
};

static bool take_unit(struct units *units, uint32_t unit)
{
	if (units->high != 0) {
		if (unit < 0xdc00 || unit > 0xdfff)
			return false;
		cv_buf_append_utf8(units->out, 0x10000 + ((units->high - 0xd800) << 10) + (unit - 0xdc00));
		units->high = 0;
		return true;
	}
	if (unit >= 0xd800 && unit <= 0xdbff) {
		units->high = unit;
		return true;
	}
	if ((unit >= 0xdc00 && unit <= 0xdfff) || unit == 0 || is_direct(unit))
		return false;
	cv_buf_append_utf8(units->out, unit);
	return true;
}

/* Behind "&": base64 of UTF-16BE up to "-". */
static bool decode_shift(struct cv_buf *out, struct cv_reader *in)
{
	struct units units = { .out = out };
	uint32_t bits = 0;
	unsigned count = 0;
	char c;

	while (cv_take_any(in, &c)) {
		int value;

		if (c == '-') {
			/* Less than a whole digit is left over, and it is zero; no half character. */
			return count < 6 && (bits & ((1u << count) - 1)) == 0 && units.high == 0;
		}
		value = digit_value(c);
		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
		count += 6;
		if (count >= 16) {
			count -= 16;
			if (!take_unit(&units, bits >> count & 0xffff))
				return false;
		}
	}
	return false;
}

bool cv_imap_utf7_decode(struct cv_buf *out, struct cv_str name)
{
	struct cv_reader in = cv_reader_init(name);
	size_t before = out->len;
	bool behind_shift = false;
	char c;

	while (cv_take_any(&in, &c)) {
		if (!is_direct((unsigned char)c))
			goto bad;
		if (c != '&') {
			cv_buf_append_char(out, c);
			behind_shift = false;
		} else if (cv_take_char(&in, '-')) {
			cv_buf_append_char(out, '&');
			behind_shift = false;
		} else {
			if (behind_shift || !decode_shift(out, &in))
				goto bad;
			behind_shift = true;
		}
	}
	if (cv_buf_ok(out))
		return true;
bad:
	cv_buf_truncate(out, before);
	return false;
}

/* The next character of text that is supposed to be UTF-8; U+FFFD for an octet that begins none. */
static uint32_t take_char(struct cv_reader *in)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	struct cv_str s = cv_reader_rest(in), taken;
	unsigned char lead = (unsigned char)s.ptr[0];
	size_t len = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 :
		lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
	uint32_t c = len < 2 ? lead : lead & (0xffu >> (len + 1));

	if (len == 0 || len > s.len)
		goto bad;
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s.ptr[i] & 0xc0) != 0x80)
			goto bad;
		c = c << 6 | ((unsigned char)s.ptr[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		goto bad;
	return cv_take_len(in, len, &taken) ? c : 0xfffd;
bad:
	return cv_take_len(in, 1, &taken) ? 0xfffd : 0;
}

struct shift {
	struct cv_buf *out;
	uint32_t bits;
	unsigned count;
	bool on;
};

static void put_unit(struct shift *shift, uint32_t unit)
{
	shift->bits = shift->bits << 16 | unit;
	shift->count += 16;
	while (shift->count >= 6) {
		shift->count -= 6;
		cv_buf_append_char(shift->out, digits[shift->bits >> shift->count & 63]);
	}
}

static void end_shift(struct shift *shift)
{
	if (!shift->on)
		return;
	if (shift->count > 0)
		cv_buf_append_char(shift->out, digits[shift->bits << (6 - shift->count) & 63]);
	cv_buf_append_char(shift->out, '-');
	*shift = (struct shift){ .out = shift->out };
}

void cv_imap_utf7_encode(struct cv_buf *out, struct cv_str utf8)
{
	struct cv_reader in = cv_reader_init(utf8);
	struct shift shift = { .out = out };

	while (cv_reader_left(&in) > 0) {
		uint32_t c = take_char(&in);

		if (is_direct(c)) {
			end_shift(&shift);
			cv_buf_append_char(out, (char)c);
			if (c == '&')
				cv_buf_append_char(out, '-');
			continue;
		}
		if (!shift.on) {
			cv_buf_append_char(out, '&');
			shift.on = true;
		}
		if (c >= 0x10000) {
			put_unit(&shift, 0xd800 + ((c - 0x10000) >> 10));
			put_unit(&shift, 0xdc00 + ((c - 0x10000) & 0x3ff));
		} else {
			put_unit(&shift, c);
		}
	}
	end_shift(&shift);
}
