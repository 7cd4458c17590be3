/* SPDX-License-Identifier: MIT
   Sources of a message's octets: memory, or a range of a file. */
#include <config.h>

#include <culver/map.h>
#include <culver/message.h>

#include <errno.h>
#include <unistd.h>

#define FD_BUFFER 65536

struct mem_reader {
	struct cv_message_reader base;
	struct cv_str octets;
};

struct fd_reader {
	struct cv_message_reader base;
	int fd;
	bool own_fd;
	uint64_t offset;
	uint64_t start; /* position of buffer[0] in the message */
	size_t len;     /* octets in buffer */
	char buffer[FD_BUFFER];
};

static int mem_get(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r,
	struct cv_err *err CV_UNUSED)
{
	const struct mem_reader *mem = cv_container(reader, struct mem_reader, base);

	if (pos >= mem->octets.len)
		return 0;
	*view_r = cv_str_sub(mem->octets, (size_t)pos, max);
	return 1;
}

static void mem_free(struct cv_message_reader *reader)
{
	cv_free(cv_container(reader, struct mem_reader, base));
}

static const struct cv_message_reader_ops mem_ops = { .get = mem_get, .free = mem_free };

struct cv_message_reader *cv_message_reader_new_mem(struct cv_str octets)
{
	struct mem_reader *mem = cv_new0(struct mem_reader);

	mem->base.ops = &mem_ops;
	mem->base.size = octets.len;
	mem->octets = octets;
	return &mem->base;
}

static int fd_fill(struct fd_reader *file, uint64_t pos, struct cv_err *err)
{
	size_t want = (size_t)CV_MIN(file->base.size - pos, (uint64_t)FD_BUFFER);
	ssize_t got;

	file->len = 0;
	file->start = pos;
	while (file->len < want) {
		got = pread(file->fd, file->buffer + file->len, want - file->len,
			(off_t)(file->offset + pos + file->len));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return cv_err_sys(err, errno, "reading a message");
		if (got == 0)
			break;
		file->len += (size_t)got;
	}
	if (file->len == 0)
		return cv_err_set(err, CV_ERR_CORRUPT, "message file ends at octet %llu of %llu",
			(unsigned long long)pos, (unsigned long long)file->base.size);
	return 1;
}

static int fd_get(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r,
	struct cv_err *err)
{
	struct fd_reader *file = cv_container(reader, struct fd_reader, base);

	if (pos >= file->base.size)
		return 0;
	if ((pos < file->start || pos - file->start >= file->len) && fd_fill(file, pos, err) < 0)
		return -1;
	*view_r = cv_str_sub(cv_str_mem(file->buffer, file->len), (size_t)(pos - file->start), max);
	return 1;
}

static void fd_free(struct cv_message_reader *reader)
{
	struct fd_reader *file = cv_container(reader, struct fd_reader, base);

	if (file->own_fd)
		(void)close(file->fd);
	cv_free(file);
}

static const struct cv_message_reader_ops fd_ops = { .get = fd_get, .free = fd_free };

struct cv_message_reader *cv_message_reader_new_fd(int fd, uint64_t offset, uint64_t size, bool own_fd)
{
	struct fd_reader *file = cv_malloc(sizeof(*file));

	cv_assert(offset <= INT64_MAX && size <= INT64_MAX - offset);
	file->base.ops = &fd_ops;
	file->base.size = size;
	file->fd = fd;
	file->own_fd = own_fd;
	file->offset = offset;
	return &file->base;
}

void cv_message_reader_free(struct cv_message_reader **reader)
{
	if (*reader == NULL)
		return;
	(*reader)->ops->free(*reader);
	*reader = NULL;
}

int cv_message_reader_append(
	struct cv_message_reader *reader, uint64_t pos, uint64_t size, struct cv_buf *out, struct cv_err *err)
{
	while (size > 0) {
		struct cv_str view;
		int result = cv_message_reader_get(reader, pos, (size_t)CV_MIN(size, (uint64_t)SIZE_MAX), &view, err);

		if (result < 0)
			return -1;
		if (result == 0)
			break;
		cv_buf_append(out, view);
		if (!cv_buf_ok(out))
			return cv_err_set(err, CV_ERR_LIMIT, "message is larger than the %zu octets allowed", out->max);
		pos += view.len;
		size -= view.len;
	}
	return 1;
}

int cv_message_reader_view(struct cv_message_reader *reader, uint64_t pos, uint64_t size, struct cv_buf *buf, struct cv_str *view_r,
	struct cv_err *err)
{
	int result;

	*view_r = CV_STR("");
	size = pos < reader->size ? CV_MIN(size, reader->size - pos) : 0;
	if (size == 0)
		return 1;
	result = cv_message_reader_get(reader, pos, (size_t)CV_MIN(size, (uint64_t)SIZE_MAX), view_r, err);
	if (result <= 0 || view_r->len == size)
		return result < 0 ? -1 : 1;
	cv_buf_clear(buf);
	if (cv_message_reader_append(reader, pos, size, buf, err) < 0)
		return -1;
	*view_r = cv_buf_str(buf);
	return 1;
}
