/* SPDX-License-Identifier: MIT
   Plugin zlib: what its files share. */
#ifndef CV_ZLIB_PRIVATE_H
#define CV_ZLIB_PRIVATE_H

#include <culver/transform.h>

/* Longest message that is counted for want of a size that can be trusted: a small file may claim to be endless. */
#define GZIP_COUNT_MAX ((uint64_t)1 << 30)

/* RFC 1952 section 2.3.1: ID1, ID2, CM. */
bool gzip_detect(struct cv_str head);
/* An encoder for cv_transform: what it makes goes to sink. -1 when there is no memory. */
CV_MUST_CHECK int gzip_encoder_new(int level, struct cv_transform_sink *sink, void **encoder_r, struct cv_err *err);
int gzip_encode_write(void *encoder, struct cv_str octets, struct cv_err *err);
int gzip_encode_finish(void *encoder, struct cv_err *err);
void gzip_encode_abort(void *encoder);
/* cv_transform.decode */
int gzip_decode(struct cv_user *user, struct cv_message_reader *stored, uint64_t known_size, struct cv_message_reader **reader_r,
	struct cv_err *err);

#endif
