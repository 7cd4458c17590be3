/* SPDX-License-Identifier: MIT
   Watches files by inotify on their directories, and by a look at their stat data where that does not reach. */
#include "core/proc/master.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* A renewal writes several files: look when no event came for this long. */
#define SETTLE_MS 500
/* Network file systems and links to other directories send no events: look now and then. */
#define POLL_MS 30000

struct watched {
	char *path;
	struct timespec mtime;
	uint64_t ino, size, dev;
};

struct watch {
	struct cv_loop *loop;
	CV_VEC(struct watched) files;
	int fd;
	struct cv_io *io;
	struct cv_timer *settle, *poll;
	void (*fn)(void *ctx);
	void *ctx;
};

/* True when it differs from what was seen last. */
static bool look(struct watched *w)
{
	struct stat st;
	struct watched now = { .path = w->path };

	if (stat(w->path, &st) == 0) {
		now.mtime = st.st_mtim;
		now.ino = st.st_ino;
		now.size = (uint64_t)st.st_size;
		now.dev = st.st_dev;
	}
	bool same = now.ino == w->ino && now.size == w->size && now.dev == w->dev && now.mtime.tv_sec == w->mtime.tv_sec &&
		now.mtime.tv_nsec == w->mtime.tv_nsec;
	*w = now;
	return !same;
}

static void look_at_all(void *ctx)
{
	struct watch *watch = ctx;
	bool changed = false;

	for (size_t i = 0; i < watch->files.count; i++)
		changed |= look(&watch->files.data[i]);
	cv_timer_set(watch->poll, POLL_MS);
	if (changed)
		watch->fn(watch->ctx);
}

static void on_event(void *ctx, unsigned events)
{
	struct watch *watch = ctx;
	char buf[4096] __attribute__((aligned(8)));

	(void)events;
	/* What happened does not matter: stat says what is there now. */
	while (read(watch->fd, buf, sizeof(buf)) > 0)
		continue;
	cv_timer_set(watch->settle, SETTLE_MS);
}

static void add_directory(struct watch *watch, const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash != NULL ? (size_t)(slash - path) : 0;

	if (slash == NULL || len + 2 > sizeof(dir))
		return;
	memcpy(dir, path, CV_MAX(len, (size_t)1));
	dir[CV_MAX(len, (size_t)1)] = '\0';
	if (inotify_add_watch(watch->fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB) < 0)
		cv_debug(NULL, "no watch on %s: %s", dir, strerror(errno));
}

struct watch *master_watch_new(struct cv_loop *loop, const char *const *paths, void (*fn)(void *ctx), void *ctx)
{
	struct watch *watch = cv_new0(struct watch);

	watch->loop = loop;
	watch->fn = fn;
	watch->ctx = ctx;
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	for (size_t i = 0; paths[i] != NULL; i++) {
		struct watched *w = cv_vec_push(&watch->files);
		w->path = cv_strdup(paths[i]);
		(void)look(w);
		if (watch->fd < 0)
			continue;
		add_directory(watch, paths[i]);
		/* certbot's live/ holds links into archive/. */
		char *real = realpath(paths[i], NULL);
		if (real != NULL && strcmp(real, paths[i]) != 0)
			add_directory(watch, real);
		free(real);
	}
	if (watch->fd >= 0)
		watch->io = cv_io_add(loop, watch->fd, CV_IO_READ, on_event, watch);
	watch->settle = cv_timer_add(loop, SETTLE_MS, look_at_all, watch);
	cv_timer_stop(watch->settle);
	watch->poll = cv_timer_add(loop, POLL_MS, look_at_all, watch);
	return watch;
}

void master_watch_free(struct watch **watch_p)
{
	struct watch *watch = *watch_p;

	*watch_p = NULL;
	if (watch == NULL)
		return;
	cv_io_remove(&watch->io);
	if (watch->fd >= 0)
		(void)close(watch->fd);
	cv_timer_remove(&watch->settle);
	cv_timer_remove(&watch->poll);
	for (size_t i = 0; i < watch->files.count; i++)
		cv_free(watch->files.data[i].path);
	cv_vec_free(&watch->files);
	cv_free(watch);
}
