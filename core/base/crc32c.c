/* SPDX-License-Identifier: MIT
   CRC-32C: the processor's instruction where it has one, slicing by eight elsewhere. */
#include <config.h>

#include <culver/base.h>

#include <string.h>

#define POLY 0x82f63b78u /* Castagnoli, bits reversed */

static uint32_t tables[8][256];
static bool tables_ready;

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
	tables_ready = true;
}

static uint32_t load_le32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* On the inverted register, as crc_sse42. */
static uint32_t crc_tables(uint32_t crc, const unsigned char *p, size_t len)
{
	if (!tables_ready)
		make_tables();
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
#endif

uint32_t cv_crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef HAVE_CRC_SSE42
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_sse42(~crc, data, len);
#endif
	return ~crc_tables(~crc, data, len);
}
