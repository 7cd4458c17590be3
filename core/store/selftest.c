/* SPDX-License-Identifier: MIT
   The file system, tried. */
#include <config.h>

#include "core/store/selftest.h"
#include "core/store/lease.h"
#include <culver/file.h>
#include <culver/log.h>
#include <culver/str.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DONE "fs-test"
#define ONE "culver-fs-test.a"
#define TWO "culver-fs-test.b"
#define ONE_IN_CAPITALS "CULVER-FS-TEST.A"
#define LEAST_OCTETS ((uint64_t)16 << 20)
#define LEAST_INODES 1000u
#define SHARED_MAX 64

/* Of all workers of a spawner: what was tried, by numbers of the lines in fs-test. When it is full, the first makes room. NULL: each for itself. */
struct shared {
	_Atomic uint64_t tried[SHARED_MAX];
	_Atomic unsigned next;
};
static struct shared *shared;

/* NOQUOTA stays what it is for cv_selftest_run. */
static int unusable(const char *path, const char *what, const struct cv_err *why, const char *advice, struct cv_err *err)
{
	return cv_err_set(err, why->code == CV_ERR_NOQUOTA ? CV_ERR_NOQUOTA : CV_ERR_UNAVAILABLE, "the file system of %s can't hold mail: %s%s%s; %s", path, what, why->text[0] != '\0' ? ": " : "", why->text,
		advice);
}

static int write_file(int dir, const char *name, const char *text, const struct cv_selftest *test, struct cv_err *err)
{
	int fd, ret;

	if (cv_file_open(dir, name, O_RDWR | O_CREAT | O_TRUNC, test->file_mode, &fd, err) < 0)
		return -1;
	ret = cv_file_pwrite(fd, cv_str_c(text), 0, err);
	if (ret > 0 && test->sync)
		ret = cv_file_sync(fd, true, err);
	cv_file_close(&fd);
	return ret;
}

static bool holds(int dir, const char *name, const char *text, struct cv_err *err)
{
	char got[400];
	size_t len = 0;
	int fd;

	if (cv_file_open(dir, name, O_RDONLY, 0, &fd, err) < 0)
		return false;
	if (cv_file_pread(fd, got, sizeof(got), 0, &len, err) < 0)
		len = 0;
	cv_file_close(&fd);
	return len == strlen(text) && memcmp(got, text, len) == 0;
}

/* What is written is seen in a map of the file, also what is written when there was one. */
static int try_map(int dir, struct cv_err *err)
{
	static const char *const texts[] = { "first", "other" };
	int fd, ret;

	if (cv_file_open(dir, ONE, O_RDWR, 0, &fd, err) < 0)
		return -1;
	ret = 1;
	for (size_t i = 0; ret > 0 && i < CV_COUNT_OF(texts); i++) {
		void *map = NULL;

		ret = cv_file_pwrite(fd, cv_str_c(texts[i]), 0, err);
		if (ret > 0)
			ret = cv_file_map(fd, 0, strlen(texts[i]), false, &map, err);
		if (ret > 0 && memcmp(map, texts[i], strlen(texts[i])) != 0)
			ret = cv_err_set(err, CV_ERR_CORRUPT, "it shows something else than was written");
		cv_file_unmap(map, strlen(texts[i]));
	}
	cv_file_close(&fd);
	return ret;
}

static void look_at_space(int dir, const char *path)
{
	struct statvfs fs;

	if (fstatvfs(dir, &fs) < 0)
		return;
	if ((uint64_t)fs.f_bavail * fs.f_frsize < LEAST_OCTETS)
		cv_warn(NULL, "the file system of %s has %llu octets left: make room, or deliveries will be put off", path,
			(unsigned long long)((uint64_t)fs.f_bavail * fs.f_frsize));
	if (fs.f_files > 0 && fs.f_favail < LEAST_INODES)
		cv_warn(NULL, "the file system of %s has %llu inodes left: remove files, or deliveries will be put off", path,
			(unsigned long long)fs.f_favail);
}

static int try_lock(const struct cv_selftest *test, struct cv_err *err)
{
	struct cv_err why = { 0 };
	int fd, ret;

	if (!test->locks)
		return 1;
	if (cv_file_open(test->index_dir, "lock", O_RDWR, 0, &fd, err) < 0)
		return -1;
	ret = cv_file_lock(fd, &why);
	cv_file_close(&fd);
	return ret < 0 ? 1 : unusable(test->path, "a file that is locked can be locked again", &why, "set mail_lock_method = lease", err);
}

static int try_all(int dir, const char *path, const struct cv_selftest *test, struct cv_err *err)
{
	struct cv_err why = { 0 };
	struct stat st;

	if (write_file(dir, TWO, "old", test, &why) < 0 || write_file(dir, ONE, "new", test, &why) < 0)
		return unusable(path, "a file can't be written and synced", &why, "mount it writable, make room, or set mail_location to another place", err);
	if (cv_file_rename(dir, ONE, dir, TWO, true, &why) < 0 || !holds(dir, TWO, "new", &why))
		return unusable(path, "a file can't be renamed over another one", &why, "use one with POSIX semantics", err);
	if (test->sync && cv_file_sync_names(dir, &why) < 0)
		return unusable(path, "a directory can't be synced", &why, "use another one, or set mail_fsync = never if losing mail in a power cut is no harm",
			err);
	if (cv_file_link(dir, TWO, dir, ONE, &why) < 0) {
		cv_warn(NULL, "the file system of %s has no links (%s): copying messages copies their octets", path, why.text);
		if (write_file(dir, ONE, "new", test, &why) < 0)
			return unusable(path, "a file can't be written", &why, "see the log", err);
	}
	if (try_map(dir, &why) < 0)
		return unusable(path, "a map of a file", &why, "use a mount without such caching (NFS: without fsc, FUSE: without direct_io)", err);
	if (cv_file_stat(dir, ONE_IN_CAPITALS, &st, &why) > 0)
		cv_warn(NULL, "the file system of %s takes capitals and small letters for the same: mailboxes whose names differ in that only share a folder; "
			"use another one", path);
	look_at_space(dir, path);
	return 1;
}

static int try_and_clean(int dir, const char *path, const struct cv_selftest *test, struct cv_err *err)
{
	int ret;

	/* Those of a crash, or what else has their names. */
	if (cv_file_make_way(dir, ONE, err) < 0 || cv_file_make_way(dir, TWO, err) < 0 || cv_file_unlink(dir, ONE, err) < 0 || cv_file_unlink(dir, TWO, err) < 0)
		return -1;
	ret = try_all(dir, path, test, err);
	if (cv_file_unlink(dir, ONE, NULL) < 0 || cv_file_unlink(dir, TWO, NULL) < 0)
		cv_warn(NULL, "files of the test in %s stay", path);
	return ret;
}

/* What names a file system until the machine is started anew. */
static int name_of(int dir, struct stat *st_r, char *name, size_t size, struct cv_err *err)
{
	struct statvfs fs;

	if (cv_file_fstat(dir, st_r, err) < 0)
		return -1;
	if (fstatvfs(dir, &fs) < 0)
		return cv_err_sys(err, errno, "file system can't be examined");
	(void)snprintf(name, size, "%llx-%lx-%lx", (unsigned long long)st_r->st_dev, (unsigned long)fs.f_fsid, (unsigned long)fs.f_flag);
	return 1;
}

void cv_selftest_share(void)
{
	void *map = shared == NULL ? mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;

	if (map != MAP_FAILED)
		shared = map;
}

/* 64-bit FNV-1a; 0 stands for nothing. */
static uint64_t number_of(const struct cv_selftest *test, const char *line)
{
	uint64_t hash = 0xcbf29ce484222325ULL ^ (test->sync ? 1u : 0u) ^ (test->locks ? 2u : 0u);

	for (; *line != '\0'; line++)
		hash = (hash ^ (uint8_t)*line) * 0x100000001b3ULL;
	return hash != 0 ? hash : 1;
}

static bool was_tried(uint64_t number)
{
	bool found = false;

	for (size_t i = 0; shared != NULL && i < SHARED_MAX; i++)
		found = found || atomic_load(&shared->tried[i]) == number;
	return found;
}

static void note_tried(uint64_t number)
{
	if (shared != NULL && !was_tried(number))
		atomic_store(&shared->tried[atomic_fetch_add(&shared->next, 1) % SHARED_MAX], number);
}

/* One without rights is kept under another name. */
static int open_done(const struct cv_selftest *test, int *fd_r, struct cv_err *err)
{
	struct cv_err why = { 0 };

	if (cv_file_open(test->index_dir, DONE, O_RDWR | O_CREAT | O_TRUNC, test->file_mode, fd_r, &why) > 0)
		return 1;
	*err = why;
	if (why.code != CV_ERR_PERM || cv_file_aside(test->index_dir, DONE, err) < 0)
		return -1;
	cv_warn(NULL, DONE " of %s can't be used; it is kept under another name: %s", test->path, why.text);
	*err = (struct cv_err){ 0 };
	return cv_file_open(test->index_dir, DONE, O_RDWR | O_CREAT | O_TRUNC, test->file_mode, fd_r, err);
}

/* For the next opening. */
static int write_line(const struct cv_selftest *test, const char *line, struct cv_err *err)
{
	int fd, ret;

	if (cv_file_make_way(test->index_dir, DONE, err) < 0 || open_done(test, &fd, err) < 0)
		return -1;
	ret = cv_file_pwrite(fd, cv_str_c(line), 0, err);
	cv_file_close(&fd);
	return ret;
}

/* There was no room to try it. It was fine when this user was opened before, and mail that can be read and removed is what makes room; only the next opening tries again. */
static int there_is_no_room(const struct cv_selftest *test, struct cv_err *err)
{
	struct stat st;

	if (cv_file_stat(test->index_dir, DONE, &st, NULL) <= 0) {
		err->code = CV_ERR_UNAVAILABLE;
		return -1;
	}
	cv_warn(NULL, "%s; it was tried before, and is used", err->text);
	*err = (struct cv_err){ 0 };
	return 1;
}

int cv_selftest_run(const struct cv_selftest *test, struct cv_err *err)
{
	char boot[CV_BOOT_ID_MAX], names[2][80], line[400];
	struct cv_err ignored = { 0 };
	struct stat index, root;
	uint64_t number;
	int root_dir, ret;

	if (cv_file_root(test->root, &root_dir, err) < 0)
		return -1;
	ret = name_of(test->index_dir, &index, names[0], sizeof(names[0]), err);
	if (ret > 0)
		ret = name_of(root_dir, &root, names[1], sizeof(names[1]), err);
	cv_boot_id(boot);
	(void)snprintf(line, sizeof(line), "culver-fs 1 %s %s %s\n", boot, names[0], names[1]);
	number = number_of(test, line);
	if (ret > 0 && !was_tried(number) && !holds(test->index_dir, DONE, line, &ignored)) {
		ret = try_lock(test, err);
		if (ret > 0)
			ret = try_and_clean(test->index_dir, test->path, test, err);
		if (ret > 0 && index.st_dev != root.st_dev)
			ret = try_and_clean(root_dir, test->root, test, err);
		if (ret > 0)
			ret = write_line(test, line, err);
	}
	if (ret > 0)
		note_tried(number);
	else if (err->code == CV_ERR_NOQUOTA)
		ret = there_is_no_room(test, err);
	cv_file_close(&root_dir);
	return ret;
}
