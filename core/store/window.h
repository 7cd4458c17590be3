/* SPDX-License-Identifier: MIT
   A window on a file that is read in small pieces, mostly one behind the other: what lies ahead is read along. */
#ifndef CV_STORE_WINDOW_H
#define CV_STORE_WINDOW_H

#include <culver/file.h>

#define CV_WINDOW_AHEAD ((size_t)64 << 10)
#define CV_WINDOW_PIECE ((size_t)4 << 10)

/* { 0 } has nothing in it. Octets that were read are not read again, so they must not change in the file: cv_window_drop when they did. */
struct cv_window {
	char *data;      /* owned, CV_WINDOW_AHEAD octets; NULL: none yet */
	uint64_t offset; /* of data[0] in the file */
	size_t len;
	uint64_t next;   /* where the piece that was read last ended */
};

/* len octets at offset into p. A piece that begins where the last one ended, or less than CV_WINDOW_AHEAD behind it, brings what follows along.
   *len_r is less than len only at the end of the file. */
CV_MUST_CHECK int cv_window_read(struct cv_window *window, int fd, uint64_t offset, void *p, size_t len, size_t *len_r,
	struct cv_err *err);
/* The same without a copy: *view_r lies in the window, and is valid until something else is read. len is CV_WINDOW_AHEAD at most. A piece that is one behind the other
   brings ahead octets (CV_WINDOW_AHEAD at most, 0: as the others), one that is not CV_WINDOW_PIECE. */
CV_MUST_CHECK int cv_window_view(struct cv_window *window, int fd, uint64_t offset, size_t len, size_t ahead, struct cv_str *view_r, struct cv_err *err);
/* Forget what was read. */
void cv_window_drop(struct cv_window *window);
void cv_window_deinit(struct cv_window *window);

#endif
