/* SPDX-License-Identifier: MIT
   A message's octets as protocols send them: each line end as CRLF, the length known beforehand, from any position. */
#include <config.h>

#include <culver/message.h>

#include <string.h>

#define CHUNK 8192

struct cv_wire_stream {
	struct cv_message_reader *reader;
	uint64_t offset, size, wire_size;
	bool identity;       /* line ends are CRLF already */
	uint64_t source_pos; /* octets of the source taken */
	uint64_t wire_pos;   /* wire octets given out or skipped */
	bool after_cr;       /* the last octet taken was CR */
	size_t start, len;   /* of buffer: what is converted, but not yet given out */
	char buffer[];       /* CHUNK * 2 octets; none where it is identity */
};

struct cv_wire_stream *cv_wire_stream_new(
	struct cv_message_reader *reader, uint64_t offset, uint64_t size, uint64_t wire_size)
{
	struct cv_wire_stream *s;

	cv_assert(wire_size >= size);
	s = cv_malloc(sizeof(*s) + (size == wire_size ? 0 : CHUNK * 2));
	s->reader = reader;
	s->offset = offset;
	s->size = size;
	s->wire_size = wire_size;
	s->identity = size == wire_size;
	return s;
}

void cv_wire_stream_free(struct cv_wire_stream **stream)
{
	if (*stream != NULL)
		cv_free(*stream);
	*stream = NULL;
}

uint64_t cv_wire_stream_pos(const struct cv_wire_stream *stream)
{
	return stream->wire_pos;
}

static int corrupt(const struct cv_wire_stream *s, struct cv_err *err)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "message has other line ends or another length than its record says "
		"(%llu octets, %llu on the wire)", (unsigned long long)s->size, (unsigned long long)s->wire_size);
}

/* More of the source, at most max octets. 1, 0 at its end, -1. */
static int take(struct cv_wire_stream *s, size_t max, struct cv_str *view_r, struct cv_err *err)
{
	uint64_t left = s->size - s->source_pos;
	int result;

	if (left == 0)
		return 0;
	result = cv_message_reader_get(
		s->reader, s->offset + s->source_pos, (size_t)CV_MIN(left, (uint64_t)max), view_r, err);
	if (result == 0)
		return corrupt(s, err);
	if (result > 0)
		s->source_pos += view_r->len;
	return result;
}

/* UNSAFE: an octet becomes at most two, so CHUNK octets fit in buffer. */
static void convert(struct cv_wire_stream *s, struct cv_str in)
{
	char *to = s->buffer;

	while (in.len > 0) {
		size_t lf = cv_str_find(in, '\n');
		size_t run = CV_MIN(lf, in.len);

		if (run > 0) {
			memcpy(to, in.ptr, run);
			to += run;
			s->after_cr = in.ptr[run - 1] == '\r';
		}
		if (lf == SIZE_MAX)
			break;
		if (!s->after_cr)
			*to++ = '\r';
		*to++ = '\n';
		s->after_cr = false;
		in = cv_str_sub(in, run + 1, SIZE_MAX);
	}
	s->start = 0;
	s->len = (size_t)(to - s->buffer);
}

static int fill(struct cv_wire_stream *s, struct cv_err *err)
{
	struct cv_str view;
	int result = take(s, CHUNK, &view, err);

	if (result > 0)
		convert(s, view);
	return result;
}

int cv_wire_stream_seek(struct cv_wire_stream *stream, uint64_t pos, struct cv_err *err)
{
	pos = CV_MIN(pos, stream->wire_size);
	if (stream->identity) {
		stream->wire_pos = stream->source_pos = pos;
		return 1;
	}
	if (pos < stream->wire_pos) {
		stream->source_pos = stream->wire_pos = 0;
		stream->start = stream->len = 0;
		stream->after_cr = false;
	}
	while (stream->wire_pos < pos) {
		size_t skip = (size_t)CV_MIN((uint64_t)stream->len, pos - stream->wire_pos);

		stream->start += skip;
		stream->len -= skip;
		stream->wire_pos += skip;
		if (stream->len == 0 && stream->wire_pos < pos) {
			int result = fill(stream, err);

			if (result <= 0)
				return result < 0 ? -1 : corrupt(stream, err);
		}
	}
	return 1;
}

int cv_wire_stream_read(struct cv_wire_stream *stream, size_t max, struct cv_str *view_r, struct cv_err *err)
{
	uint64_t left = stream->wire_size - stream->wire_pos;
	int result;

	if (left == 0)
		return stream->identity || (stream->source_pos == stream->size && stream->len == 0) ?
			0 :
			corrupt(stream, err);
	if (stream->identity) {
		result = take(stream, max, view_r, err);
		if (result > 0)
			stream->wire_pos += view_r->len;
		return result == 0 ? corrupt(stream, err) : result;
	}
	if (stream->len == 0) {
		result = fill(stream, err);
		if (result <= 0)
			return result < 0 ? -1 : corrupt(stream, err);
	}
	*view_r = cv_str_sub(cv_str_mem(stream->buffer + stream->start, stream->len), 0,
		(size_t)CV_MIN(left, (uint64_t)max));
	stream->start += view_r->len;
	stream->len -= view_r->len;
	stream->wire_pos += view_r->len;
	return 1;
}
