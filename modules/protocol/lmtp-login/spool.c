/* SPDX-License-Identifier: MIT
   LMTP: the message on its way into a sealed memfd, or, when it is short, into the job itself: transparency dots taken out, CRLF stored as LF. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK 65536

void cv_lmtp_spool_init(struct cv_lmtp_spool *spool, uint64_t max, bool dots)
{
	*spool = (struct cv_lmtp_spool){ .fd = -1, .max = max, .dots = dots, .state = CV_LMTP_LINE_START };
	cv_buf_init(&spool->buf, CHUNK);
}

void cv_lmtp_spool_deinit(struct cv_lmtp_spool *spool)
{
	if (spool->fd >= 0)
		close(spool->fd);
	spool->fd = -1;
	cv_buf_deinit(&spool->buf);
}

static void write_out(struct cv_lmtp_spool *spool)
{
	struct cv_str left = cv_buf_str(&spool->buf);

	if (spool->fd < 0 && spool->err.code == CV_ERR_NONE) {
		spool->fd = memfd_create("culver-lmtp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (spool->fd < 0)
			cv_err_sys(&spool->err, errno, "memfd_create() failed");
	}
	while (left.len > 0 && spool->err.code == CV_ERR_NONE) {
		ssize_t n = write(spool->fd, left.ptr, left.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			cv_err_sys(&spool->err, errno, "writing a message to memory failed");
		else
			left = cv_str_sub(left, (size_t)n, SIZE_MAX);
	}
	cv_buf_clear(&spool->buf);
}

static void put(struct cv_lmtp_spool *spool, struct cv_str octets)
{
	while (octets.len > 0 && spool->err.code == CV_ERR_NONE) {
		size_t n = CV_MIN(octets.len, CHUNK - spool->buf.len);

		cv_buf_append(&spool->buf, cv_str_sub(octets, 0, n));
		octets = cv_str_sub(octets, n, SIZE_MAX);
		if (spool->buf.len == CHUNK)
			write_out(spool);
	}
}

static void count(struct cv_lmtp_spool *spool, size_t len)
{
	if (len > spool->max - spool->wire_size) {
		if (spool->err.code == CV_ERR_NONE)
			cv_err_set_public(&spool->err, CV_ERR_LIMIT, "Message is larger than %llu octets",
				(unsigned long long)spool->max);
		spool->wire_size = spool->max;
		return;
	}
	spool->wire_size += len;
}

/* A run of text within a line, up to its CR. */
static size_t take_text(struct cv_lmtp_spool *spool, struct cv_str rest)
{
	size_t n = cv_str_find(rest, '\r');

	if (n == SIZE_MAX)
		n = rest.len;
	count(spool, n);
	put(spool, cv_str_sub(rest, 0, n));
	spool->state = CV_LMTP_MID;
	return n;
}

bool cv_lmtp_spool_take(struct cv_lmtp_spool *spool, struct cv_str octets, size_t *used_r)
{
	size_t pos = 0;

	while (pos < octets.len) {
		char c = octets.ptr[pos];

		switch (spool->state) {
		case CV_LMTP_LINE_START:
			if (c == '.' && spool->dots) {
				spool->state = CV_LMTP_DOT;
				pos++;
				break;
			}
			spool->state = CV_LMTP_MID;
			break;
		case CV_LMTP_MID:
			if (c == '\r') {
				spool->state = CV_LMTP_CR;
				pos++;
			} else {
				pos += take_text(spool, cv_str_sub(octets, pos, SIZE_MAX));
			}
			break;
		case CV_LMTP_CR:
			if (c == '\n') {
				count(spool, 2);
				put(spool, CV_STR("\n"));
				spool->state = CV_LMTP_LINE_START;
				pos++;
			} else {
				/* A CR alone is text; the octet behind it is looked at anew. */
				count(spool, 1);
				put(spool, CV_STR("\r"));
				spool->state = CV_LMTP_MID;
			}
			break;
		case CV_LMTP_DOT:
			if (c == '\r') {
				spool->state = CV_LMTP_DOT_CR;
				pos++;
			} else {
				/* The dot was for transparency (RFC 5321 section 4.5.2): it is gone. */
				spool->state = CV_LMTP_MID;
			}
			break;
		case CV_LMTP_DOT_CR:
			if (c == '\n') {
				*used_r = pos + 1;
				return true;
			}
			spool->state = CV_LMTP_CR;
			break;
		}
	}
	*used_r = pos;
	return false;
}

int cv_lmtp_spool_seal(struct cv_lmtp_spool *spool)
{
	if (spool->state == CV_LMTP_CR) {
		/* BDAT's last octet. */
		count(spool, 1);
		put(spool, CV_STR("\r"));
	}
	if (spool->fd < 0 && spool->buf.len <= CV_LMTP_OCTETS_MAX)
		return spool->err.code == CV_ERR_NONE ? 0 : -1;
	write_out(spool);
	if (spool->err.code == CV_ERR_NONE &&
		fcntl(spool->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		cv_err_sys(&spool->err, errno, "sealing a message failed");
	return spool->err.code == CV_ERR_NONE ? 0 : -1;
}
