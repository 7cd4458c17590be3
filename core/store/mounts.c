/* SPDX-License-Identifier: MIT
   Mount points that mail was seen on. */
#include <config.h>

#include "core/store/mounts.h"
#include <culver/buf.h>
#include <culver/log.h>
#include <culver/reader.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)64 << 10)

static void read_list(const char *const *files, struct cv_buf *out)
{
	char chunk[4096];
	ssize_t n;

	for (; *files != NULL; files++) {
		int fd = open(*files, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			continue; /* none yet, or not for us to read */
		while ((n = read(fd, chunk, sizeof(chunk))) > 0)
			cv_buf_append_mem(out, chunk, (size_t)n);
		(void)close(fd);
		cv_buf_append_char(out, '\n');
	}
}

static bool is_listed(struct cv_str list, struct cv_str dir)
{
	struct cv_reader reader = cv_reader_init(list);
	struct cv_str line;

	while (cv_take_line(&reader, &line)) {
		if (cv_str_eq(line, dir))
			return true;
	}
	return false;
}

static bool parent_of(char path[PATH_MAX])
{
	char *slash = strrchr(path, '/');

	if (slash == NULL || path[1] == '\0')
		return false;
	slash[slash == path ? 1 : 0] = '\0';
	return true;
}

/* Another device than the directory above it. */
static bool is_mounted(const char *dir)
{
	char above[PATH_MAX];
	struct stat here, there;
	size_t len = strlen(dir);

	if (len + 4 > sizeof(above))
		return false;
	memcpy(above, dir, len);
	memcpy(above + len, "/..", 4);
	return stat(dir, &here) == 0 && stat(above, &there) == 0 && here.st_dev != there.st_dev;
}

/* No mount point lies between the root and a directory that is on the same mount: most often that is all there is to ask. False where the kernel does not tell. */
static bool same_mount(const struct statx *a, const struct statx *b)
{
	return (a->stx_mask & b->stx_mask & STATX_MNT_ID) != 0 && a->stx_mnt_id == b->stx_mnt_id && a->stx_dev_major == b->stx_dev_major &&
		a->stx_dev_minor == b->stx_dev_minor;
}

/* The mount point that path is on, or will be: false when it is the root. */
static bool mount_of(const char *path, char mount[PATH_MAX])
{
	struct statx st, root;

	if (strlen(path) >= PATH_MAX || path[0] != '/')
		return false;
	memcpy(mount, path, strlen(path) + 1);
	while (statx(AT_FDCWD, mount, 0, STATX_MNT_ID, &st) < 0) {
		if (!parent_of(mount))
			return false;
	}
	if (statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &root) == 0 && same_mount(&st, &root))
		return false;
	while (!is_mounted(mount)) {
		if (!parent_of(mount))
			return false;
	}
	return strcmp(mount, "/") != 0;
}

static bool is_below(const char *path, struct cv_str dir)
{
	return dir.len > 1 && cv_str_starts(cv_str_c(path), dir) && (path[dir.len] == '/' || path[dir.len] == '\0');
}

static bool holds_nothing(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	bool empty = true;

	if (d == NULL)
		return errno == ENOENT || errno == ENOTDIR;
	while (empty && (entry = readdir(d)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	(void)closedir(d);
	return empty;
}

static int check_path(struct cv_str list, const char *path, const char *const *files, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(list);
	struct cv_str line;

	while (cv_take_line(&reader, &line)) {
		char dir[PATH_MAX];

		if (line.len >= sizeof(dir) || !is_below(path, line))
			continue;
		memcpy(dir, line.ptr, line.len);
		dir[line.len] = '\0';
		if (!is_mounted(dir) && holds_nothing(path))
			return cv_err_set(err, CV_ERR_UNAVAILABLE, "%s was a mount point when there was mail below it, and is not mounted now: mount it, or "
				"remove its line from %s", dir, files[0] != NULL ? files[0] : "the list");
	}
	return 1;
}

/* One line, added at once: two who do it write two lines. */
static void remember(const char *const *files, const char *mount)
{
	struct cv_buf line;

	cv_buf_init(&line, PATH_MAX + 1);
	cv_buf_printf(&line, "%s\n", mount);
	for (; *files != NULL; files++) {
		int fd = open(*files, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		bool done = fd >= 0 && write(fd, line.data, line.len) == (ssize_t)line.len && fsync(fd) == 0;

		if (fd >= 0)
			(void)close(fd);
		if (done) {
			cv_info(NULL, "mail is on the file system mounted on %s: remembered in %s", mount, *files);
			break;
		}
	}
	cv_buf_deinit(&line);
}

int cv_mounts_check(const char *const *files, const char *const *paths, struct cv_err *err)
{
	struct cv_buf list;
	char mount[PATH_MAX];
	int ret = 1;

	cv_buf_init(&list, FILE_MAX);
	read_list(files, &list);
	list.failed = false; /* of a longer list the beginning */
	for (; ret > 0 && *paths != NULL; paths++) {
		ret = check_path(cv_buf_str(&list), *paths, files, err);
		if (ret > 0 && mount_of(*paths, mount) && strchr(mount, '\n') == NULL && !is_listed(cv_buf_str(&list), cv_str_c(mount)) &&
			list.len < FILE_MAX / 2) {
			remember(files, mount);
			cv_buf_append_c(&list, mount);
			cv_buf_append_char(&list, '\n');
		}
	}
	cv_buf_deinit(&list);
	return ret;
}
