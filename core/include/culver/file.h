/* SPDX-License-Identifier: MIT
   Files of a worker: every system call on files that the mail library and the storage modules make goes through these, so
   that names never lead out of their directory and a test can make any call fail. */
#ifndef CV_FILE_H
#define CV_FILE_H

#include <culver/buf.h>
#include <culver/err.h>

#include <sys/stat.h>

/* dir is an open directory, path is relative to it and never leads out of it: "..", absolute paths and links that point
   outside are refused by the kernel (openat2 RESOLVE_BENEATH where the path is more than a name); a link as last component is never followed. Results are 1
   done, 0 (where said) not there, -1 with err: the code tells NOTFOUND, EXISTS, NOQUOTA (no space), PERM. Calls are
   repeated after EINTR and short writes. */

/* An absolute directory, links followed: the mail root and the like, whose path the administrator set. */
CV_EXPORT CV_MUST_CHECK int cv_file_root(const char *path, int *fd_r, struct cv_err *err);
/* Makes it and its missing parents, durably. */
CV_EXPORT CV_MUST_CHECK int cv_file_make_root(const char *path, unsigned mode, struct cv_err *err);
/* flags as open(2); O_CLOEXEC, O_NOFOLLOW and O_NONBLOCK are added, and O_NOATIME for reading where the file's owner reads. CORRUPT: a link, a directory or the
   like has the name of a file. That it is a plain file is the caller's to ask (S_ISREG). */
CV_EXPORT CV_MUST_CHECK int cv_file_open(int dir, const char *path, int flags, unsigned mode, int *fd_r, struct cv_err *err);
/* Closes and sets to -1; -1 is fine. */
CV_EXPORT void cv_file_close(int *fd);
/* 1 made, 0 there already. */
CV_EXPORT CV_MUST_CHECK int cv_file_mkdir(int dir, const char *path, unsigned mode, struct cv_err *err);
/* The directory and its missing parents: 1 when the last one was made, 0 when it was there. */
CV_EXPORT CV_MUST_CHECK int cv_file_mkdirs(int dir, const char *path, unsigned mode, struct cv_err *err);
/* All of data at the descriptor's position, or at offset. */
CV_EXPORT CV_MUST_CHECK int cv_file_write(int fd, struct cv_str data, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_file_pwrite(int fd, struct cv_str data, uint64_t offset, struct cv_err *err);
/* The first len octets of a file are read soon: have the system begin to read them, without waiting. -1: the file can't be opened. */
CV_EXPORT int cv_file_ahead(int dir, const char *path, uint64_t len, struct cv_err *err);
/* Whether something was read from a disk for this process since the last call with the same *blocks, which is the caller's to keep. The first call, with 0,
   answers false, or true when it ever was. */
CV_EXPORT bool cv_file_disk_read(uint64_t *blocks);
/* Up to len octets, fewer only at the end of the file. */
CV_EXPORT CV_MUST_CHECK int cv_file_pread(int fd, void *data, size_t len, uint64_t offset, size_t *len_r, struct cv_err *err);
/* fdatasync, or fsync for directories and where times matter (whole). */
CV_EXPORT CV_MUST_CHECK int cv_file_sync(int fd, bool whole, struct cv_err *err);
/* The names in a directory, which may be open with O_PATH. One that may not be read is passed over. */
CV_EXPORT CV_MUST_CHECK int cv_file_sync_names(int dir, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_file_truncate(int fd, uint64_t len, struct cv_err *err);
/* replace false: CV_ERR_EXISTS when to is there. */
CV_EXPORT CV_MUST_CHECK int cv_file_rename(int from_dir, const char *from, int to_dir, const char *to, bool replace,
	struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_file_link(int from_dir, const char *from, int to_dir, const char *to, struct cv_err *err);
/* 1 removed, 0 there was none. */
CV_EXPORT CV_MUST_CHECK int cv_file_unlink(int dir, const char *path, struct cv_err *err);
/* 1 removed, 0 there was none or it is not empty. */
CV_EXPORT CV_MUST_CHECK int cv_file_rmdir(int dir, const char *path, struct cv_err *err);
/* Of the thing itself (links are not followed): 1, 0 there is none. */
CV_EXPORT CV_MUST_CHECK int cv_file_stat(int dir, const char *path, struct stat *st_r, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_file_fstat(int fd, struct stat *st_r, struct cv_err *err);
/* Map len octets (not 0) from offset (a multiple of the page size) for reading, or privately for writing: changes never
   reach the file. */
CV_EXPORT CV_MUST_CHECK int cv_file_map(int fd, uint64_t offset, size_t len, bool writable, void **map_r, struct cv_err *err);
CV_EXPORT void cv_file_unmap(void *map, size_t len);
/* So many octets of the file, as if it had been mapped from its begin on, in memory that cv_free gives back: those before offset from are zeros, and so are those that
   the file does not have. What is cut meanwhile, or can't be read, is no end of the process. len is not 0. */
CV_EXPORT CV_MUST_CHECK int cv_file_load(int fd, uint64_t from, size_t len, char **octets_r, struct cv_err *err);
/* Append len octets of from, from offset on, to the position of to, sharing or copying in the kernel where it can. */
CV_EXPORT CV_MUST_CHECK int cv_file_copy(int from, uint64_t offset, uint64_t len, int to, struct cv_err *err);
/* fn for each name in the directory but "." and ".."; type is a DT_ value of dirent.h. fn's -1 ends it. */
CV_EXPORT CV_MUST_CHECK int cv_file_list(int dir, const char *path,
	int (*fn)(void *ctx, const char *name, unsigned char type, struct cv_err *err), void *ctx, struct cv_err *err);
/* Exclusive lock until the descriptor is closed: CV_ERR_INUSE when another process has it. */
CV_EXPORT CV_MUST_CHECK int cv_file_lock(int fd, struct cv_err *err);

/* ---- New files in large pieces (file-writer.c) ------------------------------------------------------------ */

/* What waits in buf is less than a piece, 64 KiB; the caller may append up to another one to it, or change it where nothing was written yet. */
struct cv_file_writer {
	int fd;
	struct cv_buf buf;
	uint64_t written; /* octets of the file */
};
/* fd: an empty file, open for reading and writing; the writer's now. */
CV_EXPORT void cv_file_writer_init(struct cv_file_writer *writer, int fd);
/* Closes the file, if fd is not -1: what was not flushed is not written. */
CV_EXPORT void cv_file_writer_deinit(struct cv_file_writer *writer);
CV_EXPORT CV_MUST_CHECK int cv_file_writer_put(struct cv_file_writer *writer, struct cv_str data, struct cv_err *err);
/* LIMIT: more than a piece was appended to buf. */
CV_EXPORT CV_MUST_CHECK int cv_file_writer_flush(struct cv_file_writer *writer, struct cv_err *err);
/* All that was put can be read by *fd_r, which is the caller's. */
CV_EXPORT CV_MUST_CHECK int cv_file_writer_read(struct cv_file_writer *writer, int *fd_r, struct cv_err *err);

/* ---- Files in the way (aside.c) ---------------------------------------------------------------------- */

/* What a damaged file is called from now on: "<name>.damaged-<time>"; names are short ones of ours. */
#define CV_FILE_ASIDE_MAX 160
CV_EXPORT void cv_file_aside_name(const char *name, char aside_r[CV_FILE_ASIDE_MAX]);
/* Rename it so. One that is not there is fine. */
CV_EXPORT CV_MUST_CHECK int cv_file_aside(int dir, const char *name, struct cv_err *err);
/* The same of what has the name of a file and is none. 1: it is a plain file; 0: there is nothing, or not any more. */
CV_EXPORT CV_MUST_CHECK int cv_file_make_way(int dir, const char *name, struct cv_err *err);

/* ---- For tests ------------------------------------------------------------------------------------- */

enum cv_file_op {
	CV_FILE_OPEN = 1, CV_FILE_MKDIR, CV_FILE_WRITE, CV_FILE_READ, CV_FILE_SYNC, CV_FILE_TRUNCATE, CV_FILE_RENAME, CV_FILE_LINK,
	CV_FILE_UNLINK, CV_FILE_STAT, CV_FILE_MAP, CV_FILE_LIST
};
/* Called before each call: 0 lets it through, an errno makes it fail with that. name: the path, NULL where only a descriptor is
   known. For writes *len is the octet count, which may be lowered (the rest is not written; with a result of 0 it counts as written);
   for reads at a place it is the octets that are asked for. */
typedef int cv_file_fault_fn(void *ctx, enum cv_file_op op, const char *name, size_t *len);
/* NULL: none (as at start). */
CV_EXPORT void cv_file_set_fault(cv_file_fault_fn *fn, void *ctx);

/* What was done: every call that changes files or makes changes durable, once it has succeeded (a write that failed in its middle tells what was
   written), and syncs of files that failed: what they were to make durable may be lost, whatever later syncs say. What a power cut may leave follows from
   the sequence. */
struct cv_file_event {
	enum cv_file_op op;     /* OPEN (with O_CREAT only), MKDIR, WRITE, SYNC, TRUNCATE, RENAME, LINK, UNLINK (also of directories) */
	int dir, to_dir;        /* of name and to_name; AT_FDCWD with an absolute name */
	const char *name, *to_name;
	int fd;                 /* OPEN: the new one; WRITE, SYNC, TRUNCATE */
	bool data_only;         /* SYNC: fdatasync */
	bool failed;            /* SYNC */
	uint64_t offset;        /* WRITE; TRUNCATE: the new length */
	struct cv_str data;     /* WRITE */
};
typedef void cv_file_watch_fn(void *ctx, const struct cv_file_event *event);
/* NULL: none (as at start). */
CV_EXPORT void cv_file_set_watch(cv_file_watch_fn *fn, void *ctx);

#endif
