/* SPDX-License-Identifier: MIT
   Recording calls, and making the trees that power cuts leave. */
#include <config.h>

#include "t/crash/disk.h"
#include <culver/buf.h>
#include <culver/map.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 512u
#define NONE UINT32_MAX

enum call_kind { CALL_BIND, CALL_UNBIND, CALL_RENAME, CALL_WRITE, CALL_TRUNCATE, CALL_SYNC, CALL_LOST };

/* Objects are files and directories; 0 is the root. A name is a pair of directory and text. */
struct call {
	enum call_kind kind;
	uint32_t object;          /* BIND: that gets a name; WRITE, TRUNCATE, SYNC, LOST (a sync that failed) */
	uint32_t dir, to_dir;     /* BIND, UNBIND, RENAME */
	char *name, *to_name;     /* owned */
	uint64_t offset;          /* WRITE; TRUNCATE: length */
	char *data;               /* owned */
	size_t len;
	bool data_only;           /* SYNC: a length that became less may still come back */
};

struct object {
	bool is_dir;
};

struct disk {
	char root[PATH_MAX];
	size_t root_len;
	struct cv_map *live;      /* path below root, as it is now, to object + 1 */
	CV_VEC(struct object) objects;
	CV_VEC(struct call) calls;
	char text[PATH_MAX * 2];
};

static void fatal(const char *what)
{
	fprintf(stderr, "disk: %s: %s\n", what, strerror(errno));
	abort();
}

/* ---- recording ---------------------------------------------------------------------------------------------- */

/* The path below root of a name in a directory; false when it lies elsewhere. "" is the root itself. */
static bool path_of(const struct disk *disk, int dir, const char *name, char path[PATH_MAX])
{
	char link[64], base[PATH_MAX];
	ssize_t len;

	if (name != NULL && name[0] == '/') {
		len = snprintf(base, sizeof(base), "%s", name);
	} else {
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
		len = readlink(link, base, sizeof(base) - 1);
		if (len < 0)
			fatal("readlink");
		base[len] = '\0';
		if (name != NULL && strcmp(name, ".") != 0)
			len += snprintf(base + len, sizeof(base) - (size_t)len, "/%s", name);
	}
	if (strncmp(base, disk->root, disk->root_len) != 0 || (base[disk->root_len] != '/' && base[disk->root_len] != '\0'))
		return false;
	(void)snprintf(path, PATH_MAX, "%s", base + disk->root_len + (base[disk->root_len] == '/' ? 1 : 0));
	return true;
}

static uint32_t find(const struct disk *disk, const char *path)
{
	if (path[0] == '\0')
		return 0;
	return (uint32_t)((uintptr_t)cv_map_get(disk->live, cv_str_c(path)) - 1);
}

static uint32_t new_object(struct disk *disk, bool is_dir)
{
	struct object *object = cv_vec_push(&disk->objects);

	object->is_dir = is_dir;
	return (uint32_t)disk->objects.count - 1;
}

static struct call *add(struct disk *disk, enum call_kind kind, uint32_t object)
{
	struct call *call = cv_vec_push(&disk->calls);

	*call = (struct call){ .kind = kind, .object = object, .dir = NONE, .to_dir = NONE };
	return call;
}

/* Directory and last component of a path. */
static uint32_t split(const struct disk *disk, const char *path, char **name_r)
{
	const char *slash = strrchr(path, '/');
	char head[PATH_MAX];
	uint32_t dir;

	if (slash == NULL) {
		*name_r = cv_strdup(path);
		return 0;
	}
	(void)snprintf(head, sizeof(head), "%.*s", (int)(slash - path), path);
	*name_r = cv_strdup(slash + 1);
	dir = find(disk, head);
	if (dir == NONE) {
		errno = 0;
		fatal(path);
	}
	return dir;
}

static void set_live(struct disk *disk, const char *path, uint32_t object)
{
	(void)cv_map_set(disk->live, cv_str_c(path), (void *)(uintptr_t)(object + 1));
}

static void bind_name(struct disk *disk, const char *path, uint32_t object)
{
	struct call *call = add(disk, CALL_BIND, object);

	call->dir = split(disk, path, &call->name);
	set_live(disk, path, object);
}

static void on_created(struct disk *disk, const struct cv_file_event *event, bool is_dir)
{
	char path[PATH_MAX];

	if (!path_of(disk, event->dir, event->name, path) || path[0] == '\0' || find(disk, path) != NONE)
		return;
	bind_name(disk, path, new_object(disk, is_dir));
}

static void on_unlink(struct disk *disk, const struct cv_file_event *event)
{
	char path[PATH_MAX];
	struct call *call;

	if (!path_of(disk, event->dir, event->name, path))
		return;
	call = add(disk, CALL_UNBIND, NONE);
	call->dir = split(disk, path, &call->name);
	(void)cv_map_remove(disk->live, cv_str_c(path));
}

/* Everything below a directory that moved has another path. */
static void move_live(struct disk *disk, const char *from, const char *to)
{
	size_t pos = 0, len = strlen(from);
	CV_VEC(char *) moved = { 0 };
	struct cv_str key;
	void *value;

	while (cv_map_next(disk->live, &pos, &key, &value)) {
		if (key.len > len && memcmp(key.ptr, from, len) == 0 && key.ptr[len] == '/') {
			char *copy = cv_malloc(key.len + 1);

			memcpy(copy, key.ptr, key.len);
			copy[key.len] = '\0';
			*cv_vec_push(&moved) = copy;
		}
	}
	for (size_t i = 0; i < moved.count; i++) {
		char path[PATH_MAX];
		uint32_t object = find(disk, moved.data[i]);

		if (snprintf(path, sizeof(path), "%s%s", to, moved.data[i] + len) >= (int)sizeof(path))
			fatal("path is too long");
		(void)cv_map_remove(disk->live, cv_str_c(moved.data[i]));
		set_live(disk, path, object);
		cv_free(moved.data[i]);
	}
	cv_vec_free(&moved);
}

static void on_rename(struct disk *disk, const struct cv_file_event *event)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct call *call;
	uint32_t object;

	if (!path_of(disk, event->dir, event->name, from) || !path_of(disk, event->to_dir, event->to_name, to))
		return;
	object = find(disk, from);
	if (object == NONE)
		return;
	call = add(disk, CALL_RENAME, object);
	call->dir = split(disk, from, &call->name);
	call->to_dir = split(disk, to, &call->to_name);
	(void)cv_map_remove(disk->live, cv_str_c(from));
	set_live(disk, to, object);
	if (disk->objects.data[object].is_dir)
		move_live(disk, from, to);
}

static void on_link(struct disk *disk, const struct cv_file_event *event)
{
	char from[PATH_MAX], to[PATH_MAX];
	uint32_t object;

	if (!path_of(disk, event->dir, event->name, from) || !path_of(disk, event->to_dir, event->to_name, to))
		return;
	object = find(disk, from);
	if (object != NONE)
		bind_name(disk, to, object);
}

/* WRITE, TRUNCATE, SYNC, LOST: of a file without a name nothing is left. */
static void on_content(struct disk *disk, const struct cv_file_event *event, enum call_kind kind)
{
	char path[PATH_MAX];
	struct call *call;
	uint32_t object;

	if (!path_of(disk, event->fd, NULL, path))
		return;
	object = find(disk, path);
	if (object == NONE)
		return;
	call = add(disk, kind, object);
	call->offset = event->offset;
	call->len = event->data.len;
	call->data_only = event->data_only;
	if (call->len > 0) {
		call->data = cv_malloc(call->len);
		memcpy(call->data, event->data.ptr, call->len);
	}
}

static void watch(void *ctx, const struct cv_file_event *event)
{
	struct disk *disk = ctx;
	int saved = errno;

	switch (event->op) {
	case CV_FILE_OPEN:
		on_created(disk, event, false);
		break;
	case CV_FILE_MKDIR:
		on_created(disk, event, true);
		break;
	case CV_FILE_WRITE:
		on_content(disk, event, CALL_WRITE);
		break;
	case CV_FILE_TRUNCATE:
		on_content(disk, event, CALL_TRUNCATE);
		break;
	case CV_FILE_SYNC:
		on_content(disk, event, event->failed ? CALL_LOST : CALL_SYNC);
		break;
	case CV_FILE_RENAME:
		on_rename(disk, event);
		break;
	case CV_FILE_LINK:
		on_link(disk, event);
		break;
	case CV_FILE_UNLINK:
		on_unlink(disk, event);
		break;
	case CV_FILE_READ:
	case CV_FILE_STAT:
	case CV_FILE_MAP:
	case CV_FILE_LIST:
		break;
	}
	errno = saved;
}

/* What is there at the beginning, as if it had been made and synced. */
static void take_file(struct disk *disk, const char *path, uint32_t object)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct call *call;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		fatal(path);
	call = add(disk, CALL_WRITE, object);
	call->len = (size_t)st.st_size;
	call->data = cv_malloc(call->len + 1);
	if (read(fd, call->data, call->len) != (ssize_t)call->len || close(fd) < 0)
		fatal(path);
}

/* inodes: inode number as text to object + 1, for files with several names. */
static void take_tree(struct disk *disk, const char *path, uint32_t object, struct cv_map *inodes)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (dir == NULL)
		fatal(path);
	while ((entry = readdir(dir)) != NULL) {
		char child[PATH_MAX], inode[32];
		struct stat st;
		uint32_t made;
		int len;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >= (int)sizeof(child) || lstat(child, &st) < 0)
			fatal(child);
		len = snprintf(inode, sizeof(inode), "%llu", (unsigned long long)st.st_ino);
		made = (uint32_t)((uintptr_t)cv_map_get(inodes, cv_str_mem(inode, (size_t)len)) - 1);
		if (made != NONE) {
			bind_name(disk, child + disk->root_len + 1, made);
			continue;
		}
		made = new_object(disk, S_ISDIR(st.st_mode));
		(void)cv_map_set(inodes, cv_str_mem(inode, (size_t)len), (void *)(uintptr_t)(made + 1));
		bind_name(disk, child + disk->root_len + 1, made);
		if (S_ISDIR(st.st_mode))
			take_tree(disk, child, made, inodes);
		else
			take_file(disk, child, made);
		(void)add(disk, CALL_SYNC, made);
	}
	(void)closedir(dir);
	(void)add(disk, CALL_SYNC, object);
}

struct disk *disk_new(const char *root)
{
	struct disk *disk = cv_new0(struct disk);
	struct cv_map *inodes;

	if (realpath(root, disk->root) == NULL)
		fatal(root);
	disk->root_len = strlen(disk->root);
	disk->live = cv_map_new();
	(void)new_object(disk, true);
	inodes = cv_map_new();
	take_tree(disk, disk->root, 0, inodes);
	cv_map_free(&inodes);
	return disk;
}

void disk_record(struct disk *disk, bool on)
{
	cv_file_set_watch(on ? watch : NULL, on ? disk : NULL);
}

void disk_free(struct disk **disk_p)
{
	struct disk *disk = *disk_p;

	*disk_p = NULL;
	if (disk == NULL)
		return;
	for (size_t i = 0; i < disk->calls.count; i++) {
		cv_free(disk->calls.data[i].name);
		cv_free(disk->calls.data[i].to_name);
		cv_free(disk->calls.data[i].data);
	}
	cv_vec_free(&disk->calls);
	cv_vec_free(&disk->objects);
	cv_map_free(&disk->live);
	cv_free(disk);
}

size_t disk_calls(const struct disk *disk)
{
	return disk->calls.count;
}

const char *disk_call_text(struct disk *disk, size_t n)
{
	static const char *const kinds[] = { "bind", "unbind", "rename", "write", "truncate", "sync", "sync that fails:" };
	const struct call *call = &disk->calls.data[n];

	(void)snprintf(disk->text, sizeof(disk->text), "%zu: %s object %d dir %d %s -> dir %d %s offset %llu len %zu", n, kinds[call->kind],
		(int)call->object, (int)call->dir, call->name != NULL ? call->name : "", (int)call->to_dir,
		call->to_name != NULL ? call->to_name : "", (unsigned long long)call->offset, call->len);
	return disk->text;
}

const char *disk_luck_name(enum disk_luck luck)
{
	static const char *const names[] = { "nothing", "all", "some", "early", "ordered", "names" };

	return luck < DISK_LUCKS ? names[luck] : "?";
}

/* The directory was synced after call n and before call at. */
static bool synced_since(const struct disk *disk, uint32_t dir, size_t n, size_t at)
{
	while (++n < at) {
		if (disk->calls.data[n].kind == CALL_SYNC && disk->calls.data[n].object == dir)
			return true;
	}
	return false;
}

static bool is_called(const struct disk *disk, uint32_t dir, const char *name)
{
	for (size_t n = 0; n < disk->calls.count; n++) {
		const struct call *call = &disk->calls.data[n];

		if (call->kind == CALL_BIND && call->object == dir)
			return strcmp(call->name, name) == 0;
	}
	return false;
}

bool disk_may_return(const struct disk *disk, size_t at, size_t unlink, const char *dir_name)
{
	const struct call *call = &disk->calls.data[unlink];
	uint32_t dir = call->dir;
	const char *name = call->name;

	cv_assert(call->kind == CALL_UNBIND);
	for (size_t n = unlink; n-- > 0;) {
		call = &disk->calls.data[n];
		if (call->kind != CALL_RENAME || call->to_dir != dir || strcmp(call->to_name, name) != 0)
			continue;
		if (is_called(disk, call->dir, dir_name) && !synced_since(disk, call->dir, n, at))
			return true;
		dir = call->dir;
		name = call->name;
	}
	return false;
}

/* ---- cutting ------------------------------------------------------------------------------------------------ */

struct image {
	struct cv_buf octets; /* as synced, with what survived */
	size_t synced;        /* number of calls that are durable for this object: those before it */
	size_t synced_whole;  /* the same for lengths that became less: fdatasync covers what is needed to read, and that does not need them */
};

struct cut {
	const struct disk *disk;
	size_t at, some; /* the call of DISK_EARLY and DISK_ORDERED */
	size_t names_synced; /* DISK_ORDERED: names before this call are durable */
	enum disk_luck luck;
	bool aged; /* directories were changed an hour ago: machines take a while to start */
	uint64_t random;
	struct image *images;
	bool *dropped; /* of each call: a write that a failed sync has lost */
	struct cv_map *names; /* "dir/name" to object + 1 */
};

static uint64_t next_random(struct cut *cut)
{
	uint64_t z = cut->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool coin(struct cut *cut)
{
	return (next_random(cut) & 1) != 0;
}

static void set_len(struct image *image, uint64_t len)
{
	if (len < image->octets.len)
		cv_buf_truncate(&image->octets, (size_t)len);
	if (image->octets.len < len) {
		size_t more = (size_t)len - image->octets.len;
		char *p = cv_buf_reserve(&image->octets, more);

		cv_assert(p != NULL);
		memset(p, 0, more);
		cv_buf_commit(&image->octets, more);
	}
}

static void put_block(struct image *image, uint64_t offset, const char *data, size_t len)
{
	if (offset + len > image->octets.len)
		set_len(image, offset + len);
	memcpy(image->octets.data + offset, data, len);
}

static void put(struct cut *cut, struct image *image, const struct call *call, bool all)
{
	uint64_t offset = call->offset, end = offset + call->len;

	while (offset < end) {
		uint64_t next = CV_MIN(end, (offset / BLOCK + 1) * BLOCK);

		if (all || coin(cut))
			put_block(image, offset, call->data + (offset - call->offset), (size_t)(next - offset));
		offset = next;
	}
}

/* A change of octets that no sync of the file has made durable. */
static void unsynced_content(struct cut *cut, struct image *image, const struct call *call, size_t n)
{
	switch (cut->luck) {
	case DISK_NOTHING:
		return;
	case DISK_EARLY:
		if (n >= cut->some)
			return;
		break;
	case DISK_NAMES:
		if (call->kind == CALL_WRITE) {
			if (call->offset + call->len > image->octets.len)
				set_len(image, call->offset + call->len);
			return;
		}
		break;
	case DISK_SOME:
	case DISK_ORDERED:
		if (call->kind == CALL_TRUNCATE) {
			if (coin(cut))
				set_len(image, call->offset);
			return;
		}
		put(cut, image, call, false);
		/* The length may have grown without its octets. */
		if (coin(cut) && call->offset + call->len > image->octets.len)
			set_len(image, call->offset + call->len);
		return;
	case DISK_ALL:
	case DISK_LUCKS:
		break;
	}
	if (call->kind == CALL_TRUNCATE)
		set_len(image, call->offset);
	else
		put(cut, image, call, true);
}

static struct cv_str key_of(struct cv_buf *buf, uint32_t dir, const char *name)
{
	cv_buf_clear(buf);
	cv_buf_printf(buf, "%u/%s", dir, name);
	return cv_buf_str(buf);
}

static void set_name(struct cut *cut, uint32_t dir, const char *name, uint32_t object)
{
	struct cv_buf buf;

	cv_buf_init(&buf, PATH_MAX);
	if (object == NONE)
		(void)cv_map_remove(cut->names, key_of(&buf, dir, name));
	else
		(void)cv_map_set(cut->names, key_of(&buf, dir, name), (void *)(uintptr_t)(object + 1));
	cv_buf_deinit(&buf);
}

/* Does a change of names survive that no sync of its directory has made durable? */
static bool name_survives(struct cut *cut, size_t n)
{
	switch (cut->luck) {
	case DISK_NOTHING:
		return false;
	case DISK_ALL:
	case DISK_NAMES:
		return true;
	case DISK_SOME:
		return coin(cut);
	case DISK_EARLY:
		return n < cut->some;
	case DISK_ORDERED:
		return n < cut->names_synced || n < cut->some;
	case DISK_LUCKS:
		break;
	}
	return true;
}

static void change_name(struct cut *cut, const struct call *call, size_t n)
{
	bool durable = n < cut->images[call->dir].synced, to_durable;

	switch (call->kind) {
	case CALL_BIND:
		if (durable || name_survives(cut, n))
			set_name(cut, call->dir, call->name, call->object);
		return;
	case CALL_UNBIND:
		if (durable || name_survives(cut, n))
			set_name(cut, call->dir, call->name, NONE);
		return;
	case CALL_RENAME:
		to_durable = n < cut->images[call->to_dir].synced;
		if (durable || to_durable || name_survives(cut, n)) {
			/* Where moving between directories is two changes, the old name may still be there; never neither. */
			set_name(cut, call->to_dir, call->to_name, call->object);
			if (durable || call->dir == call->to_dir || cut->luck != DISK_SOME || coin(cut))
				set_name(cut, call->dir, call->name, NONE);
		}
		return;
	case CALL_WRITE:
	case CALL_TRUNCATE:
	case CALL_SYNC:
	case CALL_LOST:
		return;
	}
}

/* After a failed sync the system takes the pages for clean: what was written since the last good one is on disk or not, and later syncs do not change that.
   Lengths and names are not pages: they stay to be written. */
static void drop_lost(struct cut *cut)
{
	const struct disk *disk = cut->disk;
	size_t *base = cv_calloc(disk->objects.count, sizeof(*base));

	for (size_t n = 0; n < cut->at; n++) {
		const struct call *call = &disk->calls.data[n];

		if (call->kind != CALL_SYNC && call->kind != CALL_LOST)
			continue;
		for (size_t i = base[call->object]; call->kind == CALL_LOST && i < n; i++) {
			if (disk->calls.data[i].kind == CALL_WRITE && disk->calls.data[i].object == call->object)
				cut->dropped[i] = true;
		}
		base[call->object] = n + 1;
	}
	cv_free(base);
}

static void replay(struct cut *cut)
{
	const struct disk *disk = cut->disk;

	for (size_t n = 0; n < cut->at; n++) {
		const struct call *call = &disk->calls.data[n];

		if (call->kind != CALL_SYNC)
			continue;
		cut->images[call->object].synced = cut->names_synced = n;
		if (!call->data_only)
			cut->images[call->object].synced_whole = n;
	}
	for (size_t n = 0; n < cut->at; n++) {
		const struct call *call = &disk->calls.data[n];
		struct image *image = call->object != NONE ? &cut->images[call->object] : NULL;

		if (call->kind == CALL_WRITE || call->kind == CALL_TRUNCATE) {
			if (n < image->synced && cut->dropped[n] && call->offset + call->len > image->octets.len)
				set_len(image, call->offset + call->len);
			if (n >= (call->kind == CALL_WRITE ? image->synced : image->synced_whole) || cut->dropped[n])
				unsynced_content(cut, image, call, n);
			else if (call->kind == CALL_WRITE)
				put(cut, image, call, true);
			else
				set_len(image, call->offset);
		} else if (call->kind != CALL_SYNC && call->kind != CALL_LOST) {
			change_name(cut, call, n);
		}
	}
}

static void write_file(const char *path, struct cv_str octets)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || (octets.len > 0 && write(fd, octets.ptr, octets.len) != (ssize_t)octets.len) || close(fd) < 0)
		fatal(path);
}

static void age(const char *dir)
{
	struct timespec times[2] = { { .tv_sec = time(NULL) - 3600, .tv_nsec = 1 } };

	times[1] = times[0];
	if (utimensat(AT_FDCWD, dir, times, AT_SYMLINK_NOFOLLOW) < 0)
		fatal(dir);
}

static bool is_lock(struct cv_str key)
{
	return key.len > 5 && cv_str_eq(cv_str_sub(key, key.len - 5, 5), CV_STR("/lock"));
}

/* Objects with several names are linked, as they were; a directory that two renames left with two names gets only the first. */
static void make_tree(struct cut *cut, uint32_t dir, const char *path, char **made)
{
	size_t pos = 0;
	struct cv_str key;
	void *value;
	char prefix[16];
	int len = snprintf(prefix, sizeof(prefix), "%u/", dir);

	while (cv_map_next(cut->names, &pos, &key, &value)) {
		uint32_t object = (uint32_t)((uintptr_t)value - 1);
		char child[PATH_MAX];

		if (!cv_str_starts(key, cv_str_mem(prefix, (size_t)len)))
			continue;
		if (snprintf(child, sizeof(child), "%s/%.*s", path, CV_STR_ARG(cv_str_sub(key, (size_t)len, SIZE_MAX))) >=
			(int)sizeof(child))
			fatal("path is too long");
		if (cut->disk->objects.data[object].is_dir) {
			if (made[object] != NULL)
				continue;
			made[object] = cv_strdup(child);
			if (mkdir(child, 0700) < 0)
				fatal(child);
			make_tree(cut, object, child, made);
		} else if (made[object] != NULL) {
			if (link(made[object], child) < 0)
				fatal(child);
		} else {
			made[object] = cv_strdup(child);
			/* It names the file that it was; this one stands for the same. */
			write_file(child, is_lock(key) ? CV_STR("") : cv_buf_str(&cut->images[object].octets));
		}
	}
	if (cut->aged)
		age(path);
}

void disk_cut(const struct disk *disk, size_t at, enum disk_luck luck, uint64_t seed, const char *to)
{
	size_t objects = disk->objects.count;
	struct cut cut = { .disk = disk, .at = CV_MIN(at, disk->calls.count), .luck = luck, .random = seed };
	char **made = cv_calloc(objects, sizeof(*made));

	cut.images = cv_calloc(objects, sizeof(*cut.images));
	cut.names = cv_map_new();
	cut.dropped = cv_calloc(cut.at + 1, sizeof(*cut.dropped));
	cut.aged = seed % 4 != 0;
	cut.some = cut.at > 0 ? next_random(&cut) % (cut.at + 1) : 0;
	for (size_t i = 0; i < objects; i++)
		cv_buf_init(&cut.images[i].octets, SIZE_MAX);
	drop_lost(&cut);
	replay(&cut);
	make_tree(&cut, 0, to, made);
	for (size_t i = 0; i < objects; i++) {
		cv_buf_deinit(&cut.images[i].octets);
		cv_free(made[i]);
	}
	cv_free(cut.dropped);
	cv_free(cut.images);
	cv_free(made);
	cv_map_free(&cut.names);
}
