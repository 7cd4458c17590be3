/* SPDX-License-Identifier: MIT
   The one file through which all of a worker's own file I/O goes. */
#include <config.h>

#include <culver/file.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COPY_CHUNK ((size_t)64 << 10)

/* Process-wide on purpose: it stands for the machine's disk in tests, and is empty otherwise. */
static struct {
	cv_file_fault_fn *fn;
	void *ctx;
} the_fault;

void cv_file_set_fault(cv_file_fault_fn *fn, void *ctx)
{
	the_fault.fn = fn;
	the_fault.ctx = ctx;
}

static struct {
	cv_file_watch_fn *fn;
	void *ctx;
} the_watch;

void cv_file_set_watch(cv_file_watch_fn *fn, void *ctx)
{
	the_watch.fn = fn;
	the_watch.ctx = ctx;
}

static void tell(const struct cv_file_event *event)
{
	if (the_watch.fn != NULL)
		the_watch.fn(the_watch.ctx, event);
}

static int fault(enum cv_file_op op, const char *name, size_t *len)
{
	size_t none = 0;

	return the_fault.fn != NULL ? the_fault.fn(the_fault.ctx, op, name, len != NULL ? len : &none) : 0;
}

/* A name of the directory itself, which leads nowhere else as long as no link is followed. */
static bool is_plain_name(const char *path)
{
	return strchr(path, '/') == NULL && strcmp(path, "..") != 0;
}

static long open_below(int dir, const char *path, int flags, unsigned mode)
{
	const struct open_how how = {
		.flags = (uint64_t)(unsigned)flags,
		.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};

	return syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* A plain name needs no more than O_NOFOLLOW, which the kernel looks at faster: messages are opened by the thousand. */
static int open_once(int dir, const char *path, int flags, unsigned mode)
{
	bool plain = is_plain_name(path);
	long fd;

	do
		fd = plain ? openat(dir, path, flags, mode) : open_below(dir, path, flags, mode);
	while (fd < 0 && (errno == EINTR || (!plain && errno == EAGAIN)));
	return (int)fd;
}

/* O_NONBLOCK: what has a file's name may be a pipe, which would be waited for until somebody opens its other end. (O_PATH opens nothing.) */
static int open_beneath(int dir, const char *path, int flags, unsigned mode)
{
	int fd;

	if ((flags & O_PATH) != 0)
		return open_once(dir, path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	flags |= O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	/* The first read of a file that is new would write its inode, with the time of access. Only a file's owner may do without. */
	if ((flags & O_ACCMODE) != O_WRONLY) {
		fd = open_once(dir, path, flags | O_NOATIME, mode);
		if (fd >= 0 || errno != EPERM)
			return fd;
	}
	return open_once(dir, path, flags, mode);
}

int cv_file_root(const char *path, int *fd_r, struct cv_err *err)
{
	int e = fault(CV_FILE_OPEN, path, NULL);

	if (e == 0) {
		*fd_r = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*fd_r >= 0)
			return 1;
		e = errno;
	}
	*fd_r = -1;
	return cv_err_sys(err, e, "directory %s can't be opened", path);
}

int cv_file_sync_names(int dir, struct cv_err *err)
{
	int fd, e = fault(CV_FILE_SYNC, NULL, NULL);

	if (e == 0) {
		fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0) {
			if (errno == EACCES) /* one that may be written to and not read: nothing more can be done */
				return 1;
			return cv_err_sys(err, errno, "directory can't be opened");
		}
		if (fsync(fd) < 0)
			e = errno;
		else
			tell(&(struct cv_file_event){ .op = CV_FILE_SYNC, .fd = fd });
		(void)close(fd);
	}
	return e == 0 ? 1 : cv_err_sys(err, e, "directory can't be synced to disk");
}

/* The name of a directory that was made just now outlives a power cut. */
static int sync_parent(const char *path, struct cv_err *err)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd, ret;

	(void)snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cv_err_sys(err, errno, "directory %s can't be opened", parent);
	ret = cv_file_sync_names(fd, err);
	(void)close(fd);
	return ret;
}

int cv_file_make_root(const char *path, unsigned mode, struct cv_err *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	int e = fault(CV_FILE_MKDIR, path, NULL);

	if (path[0] != '/' || len >= sizeof(part))
		return cv_err_set(err, CV_ERR_INVALID, "path %s is not absolute or too long", path);
	for (size_t i = 1; e == 0 && i <= len; i++) {
		if (i < len && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, mode) == 0) {
			tell(&(struct cv_file_event){ .op = CV_FILE_MKDIR, .dir = AT_FDCWD, .name = part });
			if (sync_parent(part, err) < 0)
				return -1;
		} else if (errno != EEXIST)
			e = errno;
		/* A parent that may not be written to but is there is fine. */
		if ((e == EACCES || e == EROFS) && access(part, F_OK) == 0)
			e = 0;
	}
	return e == 0 ? 1 : cv_err_sys(err, e, "directory %s can't be made", path);
}

/* Something else has the name of a file: a link, a directory, a pipe. It does not go away by itself. */
static bool is_no_file(int e, int flags)
{
	return (flags & O_DIRECTORY) == 0 && (e == ELOOP || e == EISDIR || e == ENXIO);
}

int cv_file_open(int dir, const char *path, int flags, unsigned mode, int *fd_r, struct cv_err *err)
{
	int e = fault(CV_FILE_OPEN, path, NULL);

	if (e == 0) {
		*fd_r = open_beneath(dir, path, flags, mode);
		if (*fd_r >= 0) {
			if ((flags & O_CREAT) != 0)
				tell(&(struct cv_file_event){ .op = CV_FILE_OPEN, .dir = dir, .name = path, .fd = *fd_r });
			return 1;
		}
		e = errno;
	}
	*fd_r = -1;
	(void)cv_err_sys(err, e, "file %s can't be opened", path);
	if (err != NULL && is_no_file(e, flags))
		err->code = CV_ERR_CORRUPT;
	return -1;
}

void cv_file_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* The directory of the last component and that component. *parent_r is dir itself for a plain name; release_parent at the end. */
static int open_parent(int dir, const char *path, int *parent_r, const char **name_r, struct cv_err *err)
{
	const char *slash = strrchr(path, '/');
	char head[PATH_MAX];
	size_t len;
	int fd;

	if (slash == NULL) {
		*parent_r = dir;
		*name_r = path;
		return 1;
	}
	len = (size_t)(slash - path);
	if (len == 0 || len >= sizeof(head))
		return cv_err_set(err, CV_ERR_INVALID, "path %s is no relative path or too long", path);
	memcpy(head, path, len);
	head[len] = '\0';
	fd = open_beneath(dir, head, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return cv_err_sys(err, errno, "directory %s can't be opened", head);
	*parent_r = fd;
	*name_r = slash + 1;
	return 1;
}

static void release_parent(int dir, int parent)
{
	if (parent != dir)
		(void)close(parent);
}

int cv_file_mkdir(int dir, const char *path, unsigned mode, struct cv_err *err)
{
	int e = fault(CV_FILE_MKDIR, path, NULL), parent;
	const char *name;

	if (e != 0)
		return cv_err_sys(err, e, "directory %s can't be made", path);
	if (open_parent(dir, path, &parent, &name, err) < 0)
		return -1;
	e = mkdirat(parent, name, mode) == 0 ? 0 : errno;
	release_parent(dir, parent);
	if (e == 0) {
		tell(&(struct cv_file_event){ .op = CV_FILE_MKDIR, .dir = dir, .name = path });
		return 1;
	}
	return e == EEXIST ? 0 : cv_err_sys(err, e, "directory %s can't be made", path);
}

int cv_file_mkdirs(int dir, const char *path, unsigned mode, struct cv_err *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	int result = 0;

	if (len == 0 || len >= sizeof(part))
		return cv_err_set(err, CV_ERR_INVALID, "path %s is empty or too long", path);
	for (size_t i = 0; i <= len; i++) {
		if (i < len && (path[i] != '/' || i == 0)) {
			part[i] = path[i];
			continue;
		}
		part[i] = '\0';
		result = cv_file_mkdir(dir, part, mode, err);
		if (result < 0)
			return -1;
		part[i] = '/';
	}
	return result;
}

/* For a watcher: a write at the descriptor's position, of what is before it now. */
static void tell_write(int fd, struct cv_str written, bool at, uint64_t offset)
{
	off_t pos;

	if (the_watch.fn == NULL || written.len == 0)
		return;
	if (!at) {
		pos = lseek(fd, 0, SEEK_CUR);
		offset = pos >= (off_t)written.len ? (uint64_t)pos - written.len : 0;
	}
	tell(&(struct cv_file_event){ .op = CV_FILE_WRITE, .fd = fd, .offset = offset, .data = written });
}

static int write_all(int fd, struct cv_str data, bool at, uint64_t offset, struct cv_err *err)
{
	size_t len = data.len, done = 0;
	int e = fault(CV_FILE_WRITE, NULL, &len);

	if (len > data.len)
		len = data.len;
	while (done < len) {
		ssize_t n = at ? pwrite(fd, data.ptr + done, len - done, (off_t)(offset + done)) :
				 write(fd, data.ptr + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			e = n < 0 ? errno : ENOSPC;
			break;
		}
		done += (size_t)n;
	}
	tell_write(fd, cv_str_sub(data, 0, done), at, offset);
	return e == 0 ? 1 : cv_err_sys(err, e, "write of %zu octets failed", data.len);
}

int cv_file_write(int fd, struct cv_str data, struct cv_err *err)
{
	return write_all(fd, data, false, 0, err);
}

int cv_file_pwrite(int fd, struct cv_str data, uint64_t offset, struct cv_err *err)
{
	return write_all(fd, data, true, offset, err);
}

int cv_file_ahead(int dir, const char *path, uint64_t len, struct cv_err *err)
{
	int fd;

	if (cv_file_open(dir, path, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	(void)posix_fadvise(fd, 0, (off_t)CV_MIN(len, (uint64_t)INT64_MAX), POSIX_FADV_WILLNEED);
	cv_file_close(&fd);
	return 1;
}

bool cv_file_disk_read(uint64_t *blocks)
{
	uint64_t before = *blocks;
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		*blocks = (uint64_t)usage.ru_inblock;
	return *blocks != before;
}

int cv_file_pread(int fd, void *data, size_t len, uint64_t offset, size_t *len_r, struct cv_err *err)
{
	size_t done = 0, asked = len;
	int e = fault(CV_FILE_READ, NULL, &asked);

	*len_r = 0;
	if (e != 0)
		return cv_err_sys(err, e, "read of %zu octets failed", len);
	while (done < len) {
		ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cv_err_sys(err, errno, "read of %zu octets failed", len);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*len_r = done;
	return 1;
}

int cv_file_sync(int fd, bool whole, struct cv_err *err)
{
	int e = fault(CV_FILE_SYNC, NULL, NULL), ret;

	if (e == 0) {
		do
			ret = whole ? fsync(fd) : fdatasync(fd);
		while (ret < 0 && errno == EINTR);
		if (ret == 0) {
			tell(&(struct cv_file_event){ .op = CV_FILE_SYNC, .fd = fd, .data_only = !whole });
			return 1;
		}
		e = errno;
	}
	tell(&(struct cv_file_event){ .op = CV_FILE_SYNC, .fd = fd, .data_only = !whole, .failed = true });
	return cv_err_sys(err, e, "file can't be synced to disk");
}

int cv_file_truncate(int fd, uint64_t len, struct cv_err *err)
{
	int e = fault(CV_FILE_TRUNCATE, NULL, NULL), ret;

	if (e == 0) {
		do
			ret = ftruncate(fd, (off_t)len);
		while (ret < 0 && errno == EINTR);
		if (ret == 0) {
			tell(&(struct cv_file_event){ .op = CV_FILE_TRUNCATE, .fd = fd, .offset = len });
			return 1;
		}
		e = errno;
	}
	return cv_err_sys(err, e, "file can't be cut");
}

/* A rename that replaces nothing, where the file system does not have it (NFS): a link fails when the name is there; a directory, or anything where there are no
   links, is looked for first. An errno, or 0. */
static int rename_carefully(int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat st;

	if (linkat(from_dir, from, to_dir, to, 0) == 0)
		return unlinkat(from_dir, from, 0) == 0 ? 0 : errno;
	if (errno != EPERM && errno != EOPNOTSUPP && errno != EISDIR && errno != EMLINK)
		return errno;
	if (fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return EEXIST;
	if (errno != ENOENT)
		return errno;
	return renameat(from_dir, from, to_dir, to) == 0 ? 0 : errno;
}

static int rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
	if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == EINVAL || errno == ENOSYS ? rename_carefully(from_dir, from, to_dir, to) : errno;
}

/* Both ends opened, then the call. */
static int two_names(int from_dir, const char *from, int to_dir, const char *to, enum cv_file_op op, unsigned flags,
	struct cv_err *err)
{
	const char *from_name, *to_name, *verb = op == CV_FILE_RENAME ? "renamed" : "linked";
	int from_parent, to_parent, e = fault(op, from, NULL);

	if (e != 0)
		return cv_err_sys(err, e, "%s can't be %s to %s", from, verb, to);
	if (open_parent(from_dir, from, &from_parent, &from_name, err) < 0)
		return -1;
	if (open_parent(to_dir, to, &to_parent, &to_name, err) < 0) {
		release_parent(from_dir, from_parent);
		return -1;
	}
	if (op == CV_FILE_LINK)
		e = linkat(from_parent, from_name, to_parent, to_name, 0) == 0 ? 0 : errno;
	else if (flags == 0)
		e = renameat(from_parent, from_name, to_parent, to_name) == 0 ? 0 : errno;
	else
		e = rename_new(from_parent, from_name, to_parent, to_name);
	release_parent(from_dir, from_parent);
	release_parent(to_dir, to_parent);
	if (e == 0)
		tell(&(struct cv_file_event){ .op = op, .dir = from_dir, .name = from, .to_dir = to_dir, .to_name = to });
	return e == 0 ? 1 : cv_err_sys(err, e, "%s can't be %s to %s", from, verb, to);
}

int cv_file_rename(int from_dir, const char *from, int to_dir, const char *to, bool replace, struct cv_err *err)
{
	return two_names(from_dir, from, to_dir, to, CV_FILE_RENAME, replace ? 0 : RENAME_NOREPLACE, err);
}

int cv_file_link(int from_dir, const char *from, int to_dir, const char *to, struct cv_err *err)
{
	return two_names(from_dir, from, to_dir, to, CV_FILE_LINK, 0, err);
}

static int remove_name(int dir, const char *path, int flags, struct cv_err *err)
{
	int e = fault(CV_FILE_UNLINK, path, NULL), parent;
	struct cv_err ignored = { 0 };
	const char *name;

	if (e != 0)
		return cv_err_sys(err, e, "%s can't be removed", path);
	if (open_parent(dir, path, &parent, &name, &ignored) < 0) {
		if (ignored.code == CV_ERR_NOTFOUND)
			return 0;
		if (err != NULL)
			*err = ignored;
		return -1;
	}
	e = unlinkat(parent, name, flags) == 0 ? 0 : errno;
	release_parent(dir, parent);
	if (e == 0) {
		tell(&(struct cv_file_event){ .op = CV_FILE_UNLINK, .dir = dir, .name = path });
		return 1;
	}
	if (e == ENOENT || ((flags & AT_REMOVEDIR) != 0 && (e == ENOTEMPTY || e == EEXIST)))
		return 0;
	return cv_err_sys(err, e, "%s can't be removed", path);
}

int cv_file_unlink(int dir, const char *path, struct cv_err *err)
{
	return remove_name(dir, path, 0, err);
}

int cv_file_rmdir(int dir, const char *path, struct cv_err *err)
{
	return remove_name(dir, path, AT_REMOVEDIR, err);
}

int cv_file_stat(int dir, const char *path, struct stat *st_r, struct cv_err *err)
{
	int e = fault(CV_FILE_STAT, path, NULL), parent;
	struct cv_err ignored = { 0 };
	const char *name;

	if (e != 0)
		return cv_err_sys(err, e, "%s can't be examined", path);
	if (open_parent(dir, path, &parent, &name, &ignored) < 0) {
		if (ignored.code == CV_ERR_NOTFOUND)
			return 0;
		if (err != NULL)
			*err = ignored;
		return -1;
	}
	e = fstatat(parent, name, st_r, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
	release_parent(dir, parent);
	if (e == 0)
		return 1;
	return e == ENOENT || e == ENOTDIR ? 0 : cv_err_sys(err, e, "%s can't be examined", path);
}

int cv_file_fstat(int fd, struct stat *st_r, struct cv_err *err)
{
	int e = fault(CV_FILE_STAT, NULL, NULL);

	if (e == 0 && fstat(fd, st_r) == 0)
		return 1;
	return cv_err_sys(err, e != 0 ? e : errno, "file can't be examined");
}

int cv_file_map(int fd, uint64_t offset, size_t len, bool writable, void **map_r, struct cv_err *err)
{
	int e = fault(CV_FILE_MAP, NULL, NULL);

	if (e == 0) {
		*map_r = mmap(NULL, len, PROT_READ | (writable ? PROT_WRITE : 0), MAP_PRIVATE, fd, (off_t)offset);
		if (*map_r != MAP_FAILED)
			return 1;
		e = errno;
	}
	*map_r = NULL;
	return cv_err_sys(err, e, "%zu octets of a file can't be mapped", len);
}

void cv_file_unmap(void *map, size_t len)
{
	if (map != NULL)
		(void)munmap(map, len);
}

int cv_file_load(int fd, uint64_t from, size_t len, char **octets_r, struct cv_err *err)
{
	int e = fault(CV_FILE_MAP, NULL, NULL);
	size_t got;

	*octets_r = NULL;
	if (e != 0)
		return cv_err_sys(err, e, "%zu octets of a file can't be had in memory", len);
	*octets_r = calloc(len, 1); /* there may be no memory for so much: that is the caller's to tell, and no end of the process */
	if (*octets_r == NULL)
		return cv_err_sys(err, ENOMEM, "%zu octets of a file can't be had in memory", len);
	if (from >= len || cv_file_pread(fd, *octets_r + from, len - (size_t)from, from, &got, err) > 0)
		return 1;
	cv_free(*octets_r);
	*octets_r = NULL;
	return -1;
}

/* For a watcher: what the kernel copied is read back. */
static void tell_copied(int to, size_t len)
{
	if (the_watch.fn == NULL)
		return;
	off_t end = lseek(to, 0, SEEK_CUR);
	char *chunk = cv_reallocarray(NULL, COPY_CHUNK, 1);

	while (len > 0 && end >= (off_t)len) {
		off_t at = end - (off_t)len;
		ssize_t n = pread(to, chunk, CV_MIN(len, COPY_CHUNK), at);

		if (n <= 0)
			break;
		tell(&(struct cv_file_event){ .op = CV_FILE_WRITE, .fd = to, .offset = (uint64_t)at, .data = cv_str_mem(chunk, (size_t)n) });
		len -= (size_t)n;
	}
	cv_free(chunk);
}

/* Where the kernel does not copy. Not on the stack, whose pages would be cleared for every copy. */
static int copy_octets(int from, off_t pos, uint64_t len, int to, struct cv_err *err)
{
	char *chunk = cv_reallocarray(NULL, COPY_CHUNK, 1);
	int ret = 1;

	while (ret > 0 && len > 0) {
		size_t n;

		ret = cv_file_pread(from, chunk, CV_MIN(len, COPY_CHUNK), (uint64_t)pos, &n, err);
		if (ret > 0 && n == 0)
			ret = cv_err_set(err, CV_ERR_CORRUPT, "file is %llu octets shorter than known", (unsigned long long)len);
		if (ret > 0)
			ret = cv_file_write(to, cv_str_mem(chunk, n), err) < 0 ? -1 : 1;
		if (ret > 0) {
			pos += (off_t)n;
			len -= n;
		}
	}
	cv_free(chunk);
	return ret;
}

int cv_file_copy(int from, uint64_t offset, uint64_t len, int to, struct cv_err *err)
{
	off_t pos = (off_t)offset;
	size_t none = 0;
	int e = fault(CV_FILE_WRITE, NULL, &none);

	if (e != 0)
		return cv_err_sys(err, e, "copy of %llu octets failed", (unsigned long long)len);
	while (len > 0) {
		ssize_t n = copy_file_range(from, &pos, to, NULL, len > SSIZE_MAX ? SSIZE_MAX : (size_t)len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* other file system, old kernel, or the file is shorter: copying by hand tells */
		len -= (uint64_t)n;
		tell_copied(to, (size_t)n);
	}
	return len > 0 ? copy_octets(from, pos, len, to, err) : 1;
}

int cv_file_list(int dir, const char *path, int (*fn)(void *ctx, const char *name, unsigned char type, struct cv_err *err),
	void *ctx, struct cv_err *err)
{
	int fd, e = fault(CV_FILE_LIST, path, NULL), result = 1;
	struct dirent *entry;
	DIR *d;

	if (e != 0)
		return cv_err_sys(err, e, "directory %s can't be read", path);
	if (cv_file_open(dir, path, O_RDONLY | O_DIRECTORY, 0, &fd, err) < 0)
		return -1;
	d = fdopendir(fd);
	if (d == NULL) {
		e = errno;
		(void)close(fd);
		return cv_err_sys(err, e, "directory %s can't be read", path);
	}
	while (errno = 0, (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fn(ctx, entry->d_name, entry->d_type, err) < 0) {
			(void)closedir(d);
			return -1;
		}
	}
	if (errno != 0)
		result = cv_err_sys(err, errno, "directory %s can't be read", path);
	(void)closedir(d);
	return result;
}

int cv_file_lock(int fd, struct cv_err *err)
{
	int ret;

	do
		ret = flock(fd, LOCK_EX | LOCK_NB);
	while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return 1;
	if (errno == EWOULDBLOCK)
		return cv_err_set(err, CV_ERR_INUSE, "the mail is in use by another process");
	return cv_err_sys(err, errno, "lock can't be taken");
}
