/* SPDX-License-Identifier: MIT
   Reading small pieces of a file with few system calls. */
#include <config.h>

#include "core/store/window.h"

#include <string.h>

static bool is_inside(const struct cv_window *window, uint64_t offset, size_t len)
{
	return offset >= window->offset && offset - window->offset <= window->len &&
		len <= window->len - (size_t)(offset - window->offset);
}

/* One piece behind the other. */
static bool is_ahead(const struct cv_window *window, uint64_t offset)
{
	return offset >= window->next && offset - window->next < CV_WINDOW_AHEAD;
}

static int fill(struct cv_window *window, int fd, uint64_t offset, size_t len, struct cv_err *err)
{
	if (window->data == NULL)
		window->data = cv_reallocarray(NULL, CV_WINDOW_AHEAD, 1);
	window->offset = offset;
	window->len = 0;
	return cv_file_pread(fd, window->data, len, offset, &window->len, err);
}

int cv_window_read(struct cv_window *window, int fd, uint64_t offset, void *p, size_t len, size_t *len_r, struct cv_err *err)
{
	bool ahead = is_ahead(window, offset) && len <= CV_WINDOW_AHEAD;

	window->next = offset + len;
	if (!is_inside(window, offset, len)) {
		if (!ahead)
			return cv_file_pread(fd, p, len, offset, len_r, err);
		if (fill(window, fd, offset, CV_WINDOW_AHEAD, err) < 0)
			return -1;
	}
	/* UNSAFE: offset lies within the window, and no more is copied than it has behind it. */
	*len_r = CV_MIN(len, window->len - (size_t)(offset - window->offset));
	memcpy(p, window->data + (offset - window->offset), *len_r);
	return 1;
}

int cv_window_view(struct cv_window *window, int fd, uint64_t offset, size_t len, size_t ahead, struct cv_str *view_r, struct cv_err *err)
{
	size_t want = ahead > 0 && is_ahead(window, offset) ? ahead : CV_WINDOW_PIECE;

	cv_assert(len <= CV_WINDOW_AHEAD && ahead <= CV_WINDOW_AHEAD);
	window->next = offset + len;
	if (!is_inside(window, offset, len) && fill(window, fd, offset, CV_MAX(len, want), err) < 0)
		return -1;
	/* UNSAFE: offset lies within the window, and no more is seen than it has behind it. */
	*view_r = cv_str_mem(window->data + (offset - window->offset), CV_MIN(len, window->len - (size_t)(offset - window->offset)));
	return 1;
}

void cv_window_drop(struct cv_window *window)
{
	window->offset = 0;
	window->len = 0;
}

void cv_window_deinit(struct cv_window *window)
{
	cv_free(window->data);
	*window = (struct cv_window){ 0 };
}
