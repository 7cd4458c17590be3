/* SPDX-License-Identifier: MIT
   Cursor files: reading, writing, syncing. */
#include <config.h>

#include "core/store/cursor.h"

#include <fcntl.h>
#include <stdio.h>

#define CURSOR_MAGIC 0x3153525543535643ULL /* "CVSCURS1" */
#define SLOT_USED 56
#define NAME_MAX_OCTETS 128

static void file_name(const char *name, char out[NAME_MAX_OCTETS])
{
	(void)snprintf(out, NAME_MAX_OCTETS, "cursor.%s", name);
}

/* 1, 0 when it does not check, -1 for a newer format. */
static int parse_slot(struct cv_str slot, struct cv_cursor *cursor_r, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(slot);
	uint64_t magic;
	uint32_t version, crc;

	if (!cv_take_u64(&reader, &magic) || magic != CURSOR_MAGIC || !cv_take_u32(&reader, &version) ||
		!cv_take_u32(&reader, &cursor_r->at.segment) || !cv_take_u64(&reader, &cursor_r->at.offset) ||
		!cv_take_u64(&reader, &cursor_r->seq) || !cv_take_u64(&reader, &cursor_r->hlc) || !cv_take_u64(&reader, &cursor_r->writings) ||
		!cv_take_u32(&reader, &crc) || crc != cv_crc32c(0, slot.ptr, reader.pos - 4))
		return 0;
	if (version > CV_CURSOR_VERSION)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "cursor has format %u, this server knows up to %u: use the newer server again", version,
			CV_CURSOR_VERSION);
	return 1;
}

int cv_cursor_open(struct cv_cursor *cursor, int dir, const char *name, struct cv_err *err)
{
	char file[NAME_MAX_OCTETS], octets[2 * CV_CURSOR_SLOT];
	struct cv_err open_err = { 0 };
	bool found = false;
	size_t len;

	*cursor = (struct cv_cursor){ .fd = -1 };
	file_name(name, file);
	if (cv_file_open(dir, file, O_RDWR, 0, &cursor->fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		*err = open_err;
		return -1;
	}
	if (cv_file_pread(cursor->fd, octets, sizeof(octets), 0, &len, err) < 0)
		goto failed;
	for (size_t at = 0; at < len; at += CV_CURSOR_SLOT) {
		struct cv_cursor slot = { .fd = cursor->fd };
		int ok = parse_slot(cv_str_sub(cv_str_mem(octets, len), at, CV_CURSOR_SLOT), &slot, err);

		if (ok < 0)
			goto failed;
		if (ok > 0 && slot.writings >= cursor->writings) {
			*cursor = slot;
			found = true;
		}
	}
	return found ? 1 : cv_err_set(err, CV_ERR_CORRUPT, "%s does not check", file);
failed:
	cv_file_close(&cursor->fd);
	return -1;
}

int cv_cursor_write(struct cv_cursor *cursor, int dir, const char *name, unsigned file_mode, struct cv_err *err)
{
	char file[NAME_MAX_OCTETS];
	struct cv_buf slot;
	int ret = 1;

	file_name(name, file);
	if (cursor->fd < 0 && cv_file_open(dir, file, O_RDWR | O_CREAT, file_mode, &cursor->fd, err) < 0)
		return -1;
	cv_buf_init(&slot, CV_CURSOR_SLOT);
	cv_put_u64(&slot, CURSOR_MAGIC);
	cv_put_u32(&slot, CV_CURSOR_VERSION);
	cv_put_u32(&slot, cursor->at.segment);
	cv_put_u64(&slot, cursor->at.offset);
	cv_put_u64(&slot, cursor->seq);
	cv_put_u64(&slot, cursor->hlc);
	cv_put_u64(&slot, cursor->writings + 1);
	cv_put_u32(&slot, cv_crc32c(0, slot.data, slot.len));
	while (slot.len < SLOT_USED)
		cv_put_u8(&slot, 0);
	ret = cv_file_pwrite(cursor->fd, cv_buf_str(&slot), (cursor->writings + 1) % 2 * CV_CURSOR_SLOT, err);
	cv_buf_deinit(&slot);
	if (ret > 0) {
		cursor->writings++;
		cursor->unsynced = true;
	}
	return ret;
}

int cv_cursor_sync(struct cv_cursor *cursor, int dir, struct cv_err *err)
{
	if (!cursor->unsynced)
		return 1;
	if (cv_file_sync(cursor->fd, false, err) < 0 || (cursor->writings <= 2 && cv_file_sync(dir, true, err) < 0))
		return -1;
	cursor->unsynced = false;
	return 1;
}

void cv_cursor_close(struct cv_cursor *cursor)
{
	cv_file_close(&cursor->fd);
}
