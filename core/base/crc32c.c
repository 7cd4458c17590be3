/* SPDX-License-Identifier: MIT
   CRC-32C: the processor's instruction where it has one, three streams of it for what is long, slicing by eight elsewhere. */
#include <config.h>

#include <culver/base.h>

#include <pthread.h>
#include <string.h>

#define POLY 0x82f63b78u /* Castagnoli, bits reversed */

static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t c = n;

		for (int bit = 0; bit < 8; bit++)
			c = (c & 1) != 0 ? (c >> 1) ^ POLY : c >> 1;
		tables[0][n] = c;
	}
	for (uint32_t n = 0; n < 256; n++) {
		for (size_t t = 1; t < 8; t++)
			tables[t][n] = (tables[t - 1][n] >> 8) ^ tables[0][tables[t - 1][n] & 0xff];
	}
}

static uint32_t load_le32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* On the inverted register, as crc_sse42. */
static uint32_t crc_tables(uint32_t crc, const unsigned char *p, size_t len)
{
	(void)pthread_once(&tables_once, make_tables);
	while (len >= 8) {
		uint32_t lo = load_le32(p) ^ crc, hi = load_le32(p + 4);

		crc = tables[7][lo & 0xff] ^ tables[6][(lo >> 8) & 0xff] ^ tables[5][(lo >> 16) & 0xff] ^
			tables[4][lo >> 24] ^ tables[3][hi & 0xff] ^ tables[2][(hi >> 8) & 0xff] ^
			tables[1][(hi >> 16) & 0xff] ^ tables[0][hi >> 24];
		p += 8;
		len -= 8;
	}
	while (len > 0) {
		crc = (crc >> 8) ^ tables[0][(crc ^ *p++) & 0xff];
		len--;
	}
	return crc;
}

#if defined(__x86_64__)
#define HAVE_CRC_SSE42 1
#define STREAM 256 /* octets; a multiple of 8 */

/* The register behind STREAM zeros, for each octet of the register before them. */
static uint32_t behind_zeros[4][256];
static pthread_once_t zeros_once = PTHREAD_ONCE_INIT;

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t wide = crc;

	while (len >= 8) {
		uint64_t octets;

		memcpy(&octets, p, sizeof(octets));
		wide = __builtin_ia32_crc32di(wide, octets);
		p += 8;
		len -= 8;
	}
	crc = (uint32_t)wide;
	while (len > 0) {
		crc = __builtin_ia32_crc32qi(crc, *p++);
		len--;
	}
	return crc;
}

/* A register is the sum (XOR) of its bits, and so is what becomes of it. */
static void make_behind_zeros(void)
{
	static const unsigned char zeros[STREAM];

	for (unsigned octet = 0; octet < 4; octet++) {
		for (uint32_t bit = 0; bit < 8; bit++) {
			uint32_t alone = crc_sse42((uint32_t)1 << (8 * octet + bit), zeros, sizeof(zeros));

			for (uint32_t n = 0; n < 256; n++)
				behind_zeros[octet][n] ^= (n >> bit & 1) != 0 ? alone : 0;
		}
	}
}

static uint32_t over_zeros(uint32_t crc)
{
	return behind_zeros[0][crc & 0xff] ^ behind_zeros[1][crc >> 8 & 0xff] ^ behind_zeros[2][crc >> 16 & 0xff] ^ behind_zeros[3][crc >> 24];
}

/* The instruction gives its result after three cycles and can start in each of them: three streams beside each other, of which the later two begin with
   nothing, are put together behind their ends. All of the octets but less than three streams; how many is told. */
__attribute__((target("sse4.2"))) static uint32_t crc_three_streams(uint32_t crc, const unsigned char *p, size_t len, size_t *done_r)
{
	size_t done = 0;

	(void)pthread_once(&zeros_once, make_behind_zeros);
	for (; len - done >= (size_t)3 * STREAM; done += (size_t)3 * STREAM) {
		uint64_t first = crc, second = 0, third = 0;

		for (size_t at = done; at < done + STREAM; at += 8) {
			uint64_t a, b, c;

			memcpy(&a, p + at, sizeof(a));
			memcpy(&b, p + at + STREAM, sizeof(b));
			memcpy(&c, p + at + (size_t)2 * STREAM, sizeof(c));
			first = __builtin_ia32_crc32di(first, a);
			second = __builtin_ia32_crc32di(second, b);
			third = __builtin_ia32_crc32di(third, c);
		}
		crc = over_zeros(over_zeros((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
	}
	*done_r = done;
	return crc;
}

static uint32_t crc_instruction(uint32_t crc, const unsigned char *p, size_t len)
{
	size_t done = 0;

	if (len >= (size_t)3 * STREAM)
		crc = crc_three_streams(crc, p, len, &done);
	return len > done ? crc_sse42(crc, p + done, len - done) : crc;
}
#endif

uint32_t cv_crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef HAVE_CRC_SSE42
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_instruction(~crc, data, len);
#endif
	return ~crc_tables(~crc, data, len);
}
