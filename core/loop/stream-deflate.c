/* SPDX-License-Identifier: MIT
   What a stream does when both directions are compressed (raw DEFLATE, RFC 1951), between its buffers and its descriptor. */
#include <config.h>

#include "core/loop/stream-private.h"

#include <zlib.h>

#define PACKED_READ 16384 /* octets of packed input that are read at once */
/* Empty blocks, which flushes end with, begin with octets below; text does not. */
#define TEXT_FIRST 0x20u

struct cv_stream_deflate {
	z_stream pack, unpack;
	struct cv_buf packed; /* input that is not unpacked yet, from pos on */
	size_t pos;
	unsigned char last;   /* the last octet that was unpacked */
	bool full;            /* unpack filled what it was given: it may hold more */
	bool boundary;        /* between two blocks */
	bool ended;           /* the peer's compressed data ended */
	bool ending;          /* nothing more is to be unpacked: cv_stream_packed_end was called */
	bool end_is_eof;      /* stream.eof stands for that end, not for the descriptor's */
};

static void *z_alloc(void *ctx, unsigned count, unsigned size)
{
	(void)ctx;
	return cv_calloc(count, size);
}

static void z_free(void *ctx, void *p)
{
	(void)ctx;
	cv_free(p);
}

/* zlib's pointers to what it only reads are not const. */
static Bytef *octets(const char *p)
{
	return (Bytef *)(uintptr_t)p;
}

/* ---- Output -------------------------------------------------------------------------------------------- */

/* All of out, packed, behind what is being written. */
static void pack(struct cv_stream *s, int flush)
{
	z_stream *z = &s->deflate->pack;
	char chunk[8192];

	cv_assert(s->out.len <= UINT32_MAX);
	z->next_in = octets(s->out.data);
	z->avail_in = (unsigned)s->out.len;
	s->sending.max = SIZE_MAX; /* out has its bound, and what does not get shorter gets hardly longer */
	do {
		z->next_out = octets(chunk);
		z->avail_out = sizeof(chunk);
		int result = deflate(z, flush);
		cv_assert(result == Z_OK || result == Z_BUF_ERROR || result == Z_STREAM_END);
		cv_buf_append_mem(&s->sending, chunk, sizeof(chunk) - z->avail_out);
	} while (z->avail_out == 0);
	cv_assert(z->avail_in == 0);
	cv_buf_clear(&s->out);
}

void cv_stream_pack(struct cv_stream *s)
{
	cv_assert(s->sent == s->sending.len);
	cv_buf_clear(&s->sending);
	s->sent = 0;
	pack(s, Z_SYNC_FLUSH);
}

/* ---- Input --------------------------------------------------------------------------------------------- */

static size_t packed_left(const struct cv_stream_deflate *d)
{
	return d->packed.len - d->pos;
}

size_t cv_stream_packed_room(const struct cv_stream *s)
{
	const struct cv_stream_deflate *d = s->deflate;

	if (d->ended || d->full || packed_left(d) >= PACKED_READ || (packed_left(d) > 0 && !d->ending))
		return 0;
	return PACKED_READ - packed_left(d);
}

void cv_stream_packed_take(struct cv_stream *s, const char *p, size_t len)
{
	struct cv_stream_deflate *d = s->deflate;

	cv_buf_consume(&d->packed, d->pos);
	d->pos = 0;
	cv_buf_append_mem(&d->packed, p, len);
	s->bytes_in += len;
	/* Also when it unpacks to nothing: who waits for the end of a flush wants to know. */
	s->input_due = true;
}

bool cv_stream_packed_waits(const struct cv_stream *s)
{
	const struct cv_stream_deflate *d = s->deflate;

	return !d->ended && !d->ending && (packed_left(d) > 0 || d->full);
}

bool cv_stream_packed_held(const struct cv_stream *s)
{
	return s->deflate->boundary && cv_stream_buffered(s) > 0;
}

/* Up to the end of a block. Octets in out, -1 when this is no compressed data. */
static ssize_t unpack(struct cv_stream_deflate *d, char *out, size_t room)
{
	z_stream *z = &d->unpack;
	size_t given = CV_MIN(packed_left(d), (size_t)INT32_MAX), made;
	int result;

	room = CV_MIN(room, (size_t)INT32_MAX);
	z->next_in = octets(d->packed.data + d->pos); /* UNSAFE: packed_left octets are there */
	z->avail_in = (unsigned)given;
	z->next_out = octets(out);
	z->avail_out = (unsigned)room;
	result = inflate(z, Z_BLOCK);
	/* At the end of the last block the end of it all is one more call away. */
	if (result == Z_OK && (z->data_type & (128 | 64)) == (128 | 64))
		result = inflate(z, Z_BLOCK);
	if (result != Z_OK && result != Z_BUF_ERROR && result != Z_STREAM_END) {
		/* What was good of it comes first; asked again, zlib says the same. */
		d->full = room > z->avail_out;
		return d->full ? (ssize_t)(room - z->avail_out) : -1;
	}
	d->pos += given - z->avail_in;
	if (given > z->avail_in)
		d->last = (unsigned char)d->packed.data[d->pos - 1];
	made = room - z->avail_out;
	d->ended = result == Z_STREAM_END;
	d->boundary = d->ended || (z->data_type & 128) != 0;
	/* What was unpacked of a block that ended is all there. */
	d->full = !d->boundary && z->avail_out == 0;
	if (packed_left(d) == 0) {
		cv_buf_deinit(&d->packed);
		d->pos = 0;
	}
	return (ssize_t)made;
}

ssize_t cv_stream_unpack(struct cv_stream *s, char *out, size_t room)
{
	ssize_t made = unpack(s->deflate, out, room);

	if (made < 0)
		cv_stream_fail(s, "Input is no compressed data");
	/* Unless the user knows that it is the end of the compressed data only. */
	if (s->deflate->ended && !s->eof) {
		s->deflate->end_is_eof = s->eof = true;
		s->input_due = true;
	}
	return made;
}

/* Behind the end of a block: the empty blocks that flush, and end, compressed data. Text may follow at once, and does not begin below TEXT_FIRST. 1 pos is behind
   them, 0 not all has come, -1 these are others. */
static int pass_flush(struct cv_stream_deflate *d)
{
	struct cv_str in = cv_str_sub(cv_buf_str(&d->packed), d->pos, SIZE_MAX);
	unsigned count = (unsigned)d->unpack.data_type & 7u, bits = count > 0 ? d->last >> (8 - count) : 0, final;
	size_t pos = 0;

	do {
		unsigned type, missing;

		/* RFC 1951 section 3.2.3: BFINAL, BTYPE. */
		if (count < 3) {
			if (pos == in.len)
				return 0;
			bits |= (unsigned)(unsigned char)in.ptr[pos++] << count;
			count += 8;
		}
		final = bits & 1;
		type = bits >> 1 & 3;
		bits >>= 3;
		count -= 3;
		if (type == 0) {
			/* Stored: to the end of the octet, LEN, NLEN. So ends Z_SYNC_FLUSH. */
			if (in.len - pos < 4)
				return 0;
			if (!cv_str_eq(cv_str_sub(in, pos, 4), cv_str_mem("\0\0\xff\xff", 4)))
				return -1;
			pos += 4;
			bits = count = 0;
			continue;
		}
		/* Fixed codes: end-of-block is seven bits 0. So ends Z_PARTIAL_FLUSH, which keeps back what does not fill an octet. */
		if (type != 1 || (bits & 0x7f) != 0)
			return -1;
		if (count == 7) {
			count = 0;
			continue;
		}
		missing = 7 - count;
		if (pos < in.len && !final && (unsigned char)in.ptr[pos] >= TEXT_FIRST) {
			/* Or an empty final block follows (Z_FINISH): its bits 1, 1, 0, and then zeros. */
			if ((unsigned char)in.ptr[pos] != (3u << missing & 0xff))
				break;
			if (pos + 1 == in.len)
				return 0;
			if ((unsigned char)in.ptr[pos + 1] >= TEXT_FIRST)
				break;
		} else if (pos == in.len) {
			if (final)
				return 0;
			break;
		}
		bits = (unsigned char)in.ptr[pos++];
		if ((bits & ((1u << missing) - 1)) != 0)
			return -1;
		bits >>= missing;
		count = 8 - missing;
	} while (!final && (count > 0 || (pos < in.len && (unsigned char)in.ptr[pos] < TEXT_FIRST)));
	d->pos += pos;
	d->ended = true;
	return 1;
}

int cv_stream_packed_end(struct cv_stream *s)
{
	struct cv_stream_deflate *d = s->deflate;
	char octet;
	int result;

	cv_assert(d != NULL);
	if (cv_stream_buffered(s) > 0)
		return -1;
	d->ending = true;
	while (!d->boundary && (packed_left(d) > 0 || d->full)) {
		if (unpack(d, &octet, sizeof(octet)) != 0)
			return -1;
	}
	result = d->ended ? 1 : d->boundary ? pass_flush(d) : 0;
	cv_stream_update(s);
	return result == 0 && s->eof ? -1 : result;
}

/* ---- Begin and end ------------------------------------------------------------------------------------- */

void cv_stream_start_deflate(struct cv_stream *s, unsigned level, unsigned window)
{
	struct cv_stream_deflate *d = cv_new0(struct cv_stream_deflate);

	cv_assert(s->state == CV_STREAM_PLAIN && s->deflate == NULL && !s->closing && level <= 9 && window >= 9 && window <= 15);
	d->pack.zalloc = d->unpack.zalloc = z_alloc;
	d->pack.zfree = d->unpack.zfree = z_free;
	if (deflateInit2(&d->pack, (int)level, Z_DEFLATED, -(int)window, (int)window - 7, Z_DEFAULT_STRATEGY) != Z_OK ||
		inflateInit2(&d->unpack, -15) != Z_OK)
		cv_fatal("zlib cannot begin");
	cv_buf_init(&d->packed, s->max_in + PACKED_READ);
	/* What came behind the command that said so. */
	cv_buf_append(&d->packed, cv_stream_input(s));
	cv_buf_deinit(&s->in);
	s->in_pos = 0;
	if (!s->is_mem) {
		s->sending.max = SIZE_MAX;
		cv_buf_append(&s->sending, cv_buf_str(&s->out));
		cv_buf_clear(&s->out);
	}
	s->deflate = d;
	s->more = cv_stream_packed_waits(s);
	cv_loop_round_end(s->loop, &s->end);
	cv_stream_update(s);
}

void cv_stream_end_deflate(struct cv_stream *s)
{
	struct cv_stream_deflate *d = s->deflate;

	cv_assert(d != NULL && d->ending && cv_stream_buffered(s) == 0);
	if (s->out.failed)
		cv_stream_fail(s, "Output limit exceeded");
	else if (s->error == NULL && !s->is_mem)
		pack(s, Z_FINISH);
	if (d->end_is_eof)
		s->eof = false;
	cv_buf_append(&s->in, cv_str_sub(cv_buf_str(&d->packed), d->pos, SIZE_MAX));
	cv_stream_free_deflate(s);
	if (s->in.len > 0)
		cv_stream_want_input(s);
	cv_loop_round_end(s->loop, &s->end);
	cv_stream_update(s);
}

/* ---- From one process to the next ---------------------------------------------------------------------- */

#define WINDOW_MAX 32768u

bool cv_stream_save_deflate(const struct cv_stream *s, struct cv_buf *out)
{
	struct cv_stream_deflate *d = s->deflate;
	Bytef *window;
	uInt len = 0;

	/* Behind a flush nothing is left of the octet in which the last block ended, and the next block begins with a new one. */
	if (d == NULL || cv_stream_buffered(s) > 0 || packed_left(d) > 0 || d->full || d->ended || d->ending)
		return false;
	if (d->unpack.total_in > 0 && (!d->boundary || (d->unpack.data_type & (64 | 7)) != 0))
		return false;
	window = cv_malloc(WINDOW_MAX);
	bool good = inflateGetDictionary(&d->unpack, window, &len) == Z_OK;
	if (good)
		cv_put_str(out, cv_str_mem(window, len));
	cv_wipe(window, WINDOW_MAX);
	cv_free(window);
	return good;
}

void cv_stream_drop_deflate(struct cv_stream *s)
{
	cv_stream_free_deflate(s);
	s->more = false;
	cv_stream_update(s);
}

int cv_stream_restore_deflate(struct cv_stream *s, unsigned level, unsigned window, struct cv_reader *in)
{
	struct cv_str past;

	if (!cv_take_str(in, WINDOW_MAX, &past) || past.ptr == NULL)
		return -1;
	/* What this side packs refers to nothing from before, so that its side begins anew. */
	cv_stream_start_deflate(s, level, window);
	return inflateSetDictionary(&s->deflate->unpack, octets(past.ptr), (uInt)past.len) == Z_OK ? 1 : -1;
}

void cv_deflate_alone(struct cv_buf *out, struct cv_str text)
{
	z_stream z = { .zalloc = z_alloc, .zfree = z_free };
	char chunk[256];

	cv_assert(text.len <= UINT32_MAX);
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, -9, 1, Z_DEFAULT_STRATEGY) != Z_OK)
		cv_fatal("zlib cannot begin");
	z.next_in = octets(text.ptr);
	z.avail_in = (unsigned)text.len;
	do {
		z.next_out = octets(chunk);
		z.avail_out = sizeof(chunk);
		int result = deflate(&z, Z_FULL_FLUSH);
		cv_assert(result == Z_OK || result == Z_BUF_ERROR);
		cv_buf_append_mem(out, chunk, sizeof(chunk) - z.avail_out);
	} while (z.avail_out == 0);
	(void)deflateEnd(&z);
}

void cv_stream_free_deflate(struct cv_stream *s)
{
	struct cv_stream_deflate *d = s->deflate;

	if (d == NULL)
		return;
	s->deflate = NULL;
	(void)deflateEnd(&d->pack);
	(void)inflateEnd(&d->unpack);
	cv_buf_deinit(&d->packed);
	cv_free(d);
}

bool cv_stream_deflated(const struct cv_stream *s)
{
	return s->deflate != NULL;
}
