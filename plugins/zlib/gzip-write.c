/* SPDX-License-Identifier: MIT
   Plugin zlib: a message to gzip. */
#include "plugins/zlib/zlib-private.h"

#include <culver/base.h>

#include <string.h>
#include <zlib.h>

#define CHUNK ((size_t)32 * 1024)
#define WINDOW_GZIP (15 + 16) /* the largest window, and a gzip header */

struct encoder {
	struct cv_transform_sink *sink;
	z_stream z;
	unsigned char out[CHUNK];
};

int gzip_encoder_new(int level, struct cv_transform_sink *sink, void **encoder_r, struct cv_err *err)
{
	struct encoder *encoder = cv_new0(struct encoder);

	encoder->sink = sink;
	if (deflateInit2(&encoder->z, level, Z_DEFLATED, WINDOW_GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		cv_free(encoder);
		return cv_err_set(err, CV_ERR_TEMP, "gzip can't begin");
	}
	encoder->z.next_out = encoder->out;
	encoder->z.avail_out = CHUNK;
	*encoder_r = encoder;
	return 1;
}

static int flush(struct encoder *encoder, struct cv_err *err)
{
	size_t len = CHUNK - encoder->z.avail_out;

	encoder->z.next_out = encoder->out;
	encoder->z.avail_out = CHUNK;
	return len > 0 ? encoder->sink->write(encoder->sink, cv_str_mem(encoder->out, len), err) : 1;
}

/* Until all of the input is used or, with Z_FINISH, all of the output made. */
static int run(struct encoder *encoder, int how, struct cv_err *err)
{
	for (;;) {
		int result = deflate(&encoder->z, how);

		if (result != Z_OK && result != Z_BUF_ERROR && result != Z_STREAM_END)
			return cv_err_set(err, CV_ERR_INTERNAL, "gzip answers %d", result);
		if (result == Z_STREAM_END || (how == Z_NO_FLUSH && encoder->z.avail_in == 0 && encoder->z.avail_out > 0))
			return 1;
		if (flush(encoder, err) < 0)
			return -1;
	}
}

int gzip_encode_write(void *encoder_p, struct cv_str octets, struct cv_err *err)
{
	struct encoder *encoder = encoder_p;

	while (octets.len > 0) {
		struct cv_str part = cv_str_sub(octets, 0, (size_t)1 << 30);

		encoder->z.next_in = (z_const Bytef *)(uintptr_t)part.ptr; /* zlib does not write to it */
		encoder->z.avail_in = (uInt)part.len;
		if (run(encoder, Z_NO_FLUSH, err) < 0)
			return -1;
		octets = cv_str_sub(octets, part.len, SIZE_MAX);
	}
	return 1;
}

void gzip_encode_abort(void *encoder_p)
{
	struct encoder *encoder = encoder_p;

	(void)deflateEnd(&encoder->z);
	cv_free(encoder);
}

int gzip_encode_finish(void *encoder_p, struct cv_err *err)
{
	struct encoder *encoder = encoder_p;
	int ret;

	encoder->z.next_in = NULL;
	encoder->z.avail_in = 0;
	ret = run(encoder, Z_FINISH, err);
	if (ret > 0)
		ret = flush(encoder, err);
	gzip_encode_abort(encoder);
	return ret;
}
