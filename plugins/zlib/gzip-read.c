/* SPDX-License-Identifier: MIT
   Plugin zlib: a source that gives a message from gzip. Forward it goes on where it was; going back begins anew. */
#include "plugins/zlib/zlib-private.h"

#include <culver/base.h>
#include <culver/map.h>

#include <string.h>
#include <zlib.h>

#define CHUNK ((size_t)32 * 1024)
#define WINDOW_GZIP (15 + 16)
#define TRAILER ((size_t)8) /* RFC 1952 section 2.3: CRC32 and ISIZE, each 4 octets, low ones first */

struct gzip {
	struct cv_message_reader base;
	struct cv_message_reader *stored;
	z_stream z;
	bool begun;
	bool ended;     /* the last member's checksum was right, and nothing is behind it */
	uint64_t at;    /* in stored: the next octets that zlib gets */
	uint64_t pos;   /* in the message: of out */
	size_t len;     /* octets in out */
	unsigned char out[CHUNK];
};

bool gzip_detect(struct cv_str head)
{
	return cv_str_starts(head, CV_STR("\x1f\x8b\x08"));
}

static int damaged(struct cv_err *err, const char *what)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "compressed message is damaged: %s", what);
}

static int restart(struct gzip *g, struct cv_err *err)
{
	int result = g->begun ? inflateReset(&g->z) : inflateInit2(&g->z, WINDOW_GZIP);

	if (result != Z_OK)
		return cv_err_set(err, CV_ERR_TEMP, "gzip can't begin");
	g->begun = true;
	g->ended = false;
	g->at = g->pos = 0;
	g->len = 0;
	g->z.avail_in = 0;
	return 1;
}

/* Octets for zlib, of which what it leaves is asked for again: they are the stored source's. 0: there are none. */
static int feed(struct gzip *g, struct cv_err *err)
{
	struct cv_str view;
	int ret = cv_message_reader_get(g->stored, g->at, CHUNK, &view, err);

	if (ret <= 0)
		return ret;
	g->z.next_in = (z_const Bytef *)(uintptr_t)view.ptr; /* zlib does not write to it */
	g->z.avail_in = (uInt)view.len;
	return 1;
}

/* Behind a member there may be another one. */
static int next_member(struct gzip *g, struct cv_err *err)
{
	if (g->at >= g->stored->size) {
		g->ended = true;
		return 1;
	}
	return inflateReset(&g->z) == Z_OK ? 1 : cv_err_set(err, CV_ERR_TEMP, "gzip can't go on");
}

/* Some input, some output. */
static int step(struct gzip *g, struct cv_err *err)
{
	uInt before;
	int ret = feed(g, err), result;

	if (ret <= 0)
		return ret < 0 ? -1 : damaged(err, "it ends too early");
	before = g->z.avail_in;
	result = inflate(&g->z, Z_NO_FLUSH);
	g->at += before - g->z.avail_in;
	if (result != Z_OK && result != Z_STREAM_END && (result != Z_BUF_ERROR || g->z.avail_in == before))
		return damaged(err, g->z.msg != NULL ? g->z.msg : "it makes no sense");
	return result == Z_STREAM_END ? next_member(g, err) : 1;
}

/* The next octets into out; none at the end. */
static int fill(struct gzip *g, struct cv_err *err)
{
	g->pos += g->len;
	g->len = 0;
	g->z.next_out = g->out;
	g->z.avail_out = CHUNK;
	while (!g->ended && g->z.avail_out > 0) {
		if (step(g, err) < 0)
			return -1;
	}
	g->len = CHUNK - g->z.avail_out;
	return 1;
}

/* All octets are there: so must be the checksum behind them, and nothing else. */
static int check_end(struct gzip *g, struct cv_err *err)
{
	unsigned char more;

	g->z.next_out = &more;
	g->z.avail_out = 1;
	while (!g->ended && g->z.avail_out > 0) {
		if (step(g, err) < 0)
			return -1;
	}
	return g->z.avail_out > 0 ? 1 : damaged(err, "it is longer than it says");
}

/* The next octets, with the last ones only when their checksum is right. */
static int fill_checked(struct gzip *g, struct cv_err *err)
{
	if (fill(g, err) < 0)
		return -1;
	if (g->len > g->base.size - g->pos || (g->ended && g->len < g->base.size - g->pos))
		return damaged(err, "its size is not what it says");
	return g->len == g->base.size - g->pos ? check_end(g, err) : 1;
}

static int gzip_get(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r, struct cv_err *err)
{
	struct gzip *g = cv_container(reader, struct gzip, base);

	if (pos >= reader->size)
		return 0;
	if ((pos < g->pos || !g->begun) && restart(g, err) < 0)
		return -1;
	while (pos - g->pos >= g->len) {
		if (fill_checked(g, err) < 0) {
			struct cv_err ignored = { 0 };

			(void)!restart(g, &ignored);
			return -1;
		}
	}
	*view_r = cv_str_sub(cv_str_mem(g->out, g->len), (size_t)(pos - g->pos), max);
	return 1;
}

static void end(struct gzip *g)
{
	if (g->begun)
		(void)inflateEnd(&g->z);
	cv_free(g);
}

static void gzip_free(struct cv_message_reader *reader)
{
	struct gzip *g = cv_container(reader, struct gzip, base);

	cv_message_reader_free(&g->stored);
	end(g);
}

static const struct cv_message_reader_ops ops = { .get = gzip_get, .free = gzip_free };

/* The size that the last member tells: that of the message, modulo 2^32, when there is one only. */
static int last_size(struct cv_message_reader *stored, uint32_t *size_r, struct cv_err *err)
{
	uint8_t octets[4];
	uint64_t at = stored->size - sizeof(octets);

	for (size_t got = 0; got < sizeof(octets);) {
		struct cv_str view;
		int ret = cv_message_reader_get(stored, at + got, sizeof(octets) - got, &view, err);

		if (ret <= 0)
			return ret < 0 ? -1 : damaged(err, "it ends too early");
		memcpy(octets + got, view.ptr, view.len);
		got += view.len;
	}
	*size_r = octets[0] | (uint32_t)octets[1] << 8 | (uint32_t)octets[2] << 16 | (uint32_t)octets[3] << 24;
	return 1;
}

static int count(struct gzip *g, uint64_t *size_r, struct cv_err *err)
{
	if (restart(g, err) < 0)
		return -1;
	do {
		if (fill(g, err) < 0)
			return -1;
		if (g->pos + g->len > GZIP_COUNT_MAX)
			return cv_err_set(err, CV_ERR_LIMIT, "compressed message is too large");
	} while (!g->ended);
	*size_r = g->pos + g->len;
	return 1;
}

int gzip_decode(struct cv_user *user, struct cv_message_reader *stored, uint64_t known_size, struct cv_message_reader **reader_r,
	struct cv_err *err)
{
	struct gzip *g;
	uint32_t last;

	(void)user;
	if (stored->size < TRAILER)
		return damaged(err, "it ends too early");
	if (last_size(stored, &last, err) < 0)
		return -1;
	g = cv_new0(struct gzip);
	g->base.ops = &ops;
	g->stored = stored;
	if (known_size != UINT64_MAX && (uint32_t)known_size == last) {
		g->base.size = known_size;
	} else if (count(g, &g->base.size, err) < 0) {
		end(g);
		return -1;
	}
	*reader_r = &g->base;
	return 1;
}
