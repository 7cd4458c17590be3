/* SPDX-License-Identifier: MIT
   New files, written in large pieces. */
#include <config.h>

#include <culver/file.h>

#include <errno.h>
#include <fcntl.h>

#define PIECE ((size_t)64 << 10)

void cv_file_writer_init(struct cv_file_writer *writer, int fd)
{
	*writer = (struct cv_file_writer){ .fd = fd };
	cv_buf_init(&writer->buf, PIECE * 2);
}

void cv_file_writer_deinit(struct cv_file_writer *writer)
{
	cv_file_close(&writer->fd);
	cv_buf_deinit(&writer->buf);
}

static int write_out(struct cv_file_writer *writer, struct cv_str data, struct cv_err *err)
{
	if (cv_file_pwrite(writer->fd, data, writer->written, err) < 0)
		return -1;
	writer->written += data.len;
	return 1;
}

int cv_file_writer_flush(struct cv_file_writer *writer, struct cv_err *err)
{
	if (!cv_buf_ok(&writer->buf))
		return cv_err_set(err, CV_ERR_LIMIT, "what is to be written is too long");
	if (writer->buf.len > 0 && write_out(writer, cv_buf_str(&writer->buf), err) < 0)
		return -1;
	cv_buf_clear(&writer->buf);
	return 1;
}

int cv_file_writer_put(struct cv_file_writer *writer, struct cv_str data, struct cv_err *err)
{
	if (data.len >= PIECE)
		return cv_file_writer_flush(writer, err) < 0 ? -1 : write_out(writer, data, err);
	cv_buf_append(&writer->buf, data);
	return writer->buf.len >= PIECE ? cv_file_writer_flush(writer, err) : 1;
}

int cv_file_writer_read(struct cv_file_writer *writer, int *fd_r, struct cv_err *err)
{
	*fd_r = -1;
	if (cv_file_writer_flush(writer, err) < 0)
		return -1;
	*fd_r = fcntl(writer->fd, F_DUPFD_CLOEXEC, 0);
	return *fd_r >= 0 ? 1 : cv_err_sys(err, errno, "message can't be read");
}
