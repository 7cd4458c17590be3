/* SPDX-License-Identifier: MIT
   maildir: hearing of other programs' changes. One inotify instance for all mailboxes, since a user may have 128 of them only. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>
#include <culver/loop.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define DEBOUNCE_MS 50
#define POLL_MS 15000 /* where inotify is not to be had */
#define MASK ((uint32_t)(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW))

static void arm(struct maildir *st, uint64_t after_ms)
{
	if (st->watch_timer_set)
		return; /* not put off again: changes that never stop are told too */
	st->watch_timer_set = true;
	cv_timer_set(st->watch_timer, after_ms);
}

static struct maildir_watch *next_due(struct maildir *st)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(&st->watches, node, tmp) {
		struct maildir_watch *watch = cv_container(node, struct maildir_watch, node);

		if (watch->due)
			return watch;
	}
	return NULL;
}

static void set_due(struct maildir *st, int wd)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(&st->watches, node, tmp) {
		struct maildir_watch *watch = cv_container(node, struct maildir_watch, node);

		if (wd < 0 || watch->wd[0] == wd || watch->wd[1] == wd)
			watch->due = true;
	}
}

static void on_timer(void *ctx)
{
	struct maildir *st = ctx;
	struct maildir_watch *watch;

	st->watch_timer_set = false;
	if (st->polling) {
		set_due(st, -1);
		if (!cv_list_empty(&st->watches))
			arm(st, POLL_MS);
	}
	/* A function may take any watch off, its own too. */
	while ((watch = next_due(st)) != NULL) {
		watch->due = false;
		watch->fn(watch->ctx);
	}
}

/* The descriptor's watch is no more: the directory went. */
static void forget_wd(struct maildir *st, int wd)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(&st->watches, node, tmp) {
		struct maildir_watch *watch = cv_container(node, struct maildir_watch, node);

		for (unsigned i = 0; i < 2; i++) {
			if (watch->wd[i] == wd)
				watch->wd[i] = -1;
		}
	}
}

static void on_event(void *ctx, unsigned events)
{
	struct maildir *st = ctx;
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t len;

	(void)events;
	while ((len = read(st->inotify, buf, sizeof(buf))) > 0) {
		for (size_t at = 0; at + sizeof(struct inotify_event) <= (size_t)len;) {
			struct inotify_event event;

			memcpy(&event, buf + at, sizeof(event));
			at += sizeof(event) + event.len;
			/* Too many at once: anything may have changed. */
			set_due(st, (event.mask & IN_Q_OVERFLOW) != 0 ? -1 : event.wd);
			if ((event.mask & IN_IGNORED) != 0)
				forget_wd(st, event.wd);
			arm(st, DEBOUNCE_MS);
		}
	}
}

static void poll_instead(struct maildir *st, const char *what)
{
	if (!st->polling)
		cv_warn(NULL, "changes of other programs are looked for every %d s only: %s: %s", POLL_MS / 1000, what, strerror(errno));
	st->polling = true;
	arm(st, POLL_MS);
}

static int add_dir(struct maildir *st, const char *path, const char *name)
{
	char full[PATH_MAX];
	const char *root = strcmp(path, ".") == 0 && st->args->inbox != NULL ? st->args->inbox : st->args->root;
	int len = snprintf(full, sizeof(full), "%s/%s/%s", root, path, name);

	if (len < 0 || (size_t)len >= sizeof(full)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return inotify_add_watch(st->inotify, full, MASK);
}

static void start(struct maildir *st, struct maildir_watch *watch)
{
	if (st->watch_timer == NULL) {
		st->watch_timer = cv_timer_add_stopped(st->args->loop, on_timer, st);
	}
	if (st->inotify < 0) {
		st->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (st->inotify < 0) {
			poll_instead(st, "inotify");
			return;
		}
		st->inotify_io = cv_io_add(st->args->loop, st->inotify, CV_IO_READ, on_event, st);
	}
	watch->wd[0] = add_dir(st, watch->path, "new");
	watch->wd[1] = add_dir(st, watch->path, "cur");
	if (watch->wd[0] < 0 || watch->wd[1] < 0)
		poll_instead(st, "a watch");
}

int maildir_watch(void *st_p, const struct cv_mailbox_ref *mailbox, void (*fn)(void *ctx), void *ctx, void **watch_r, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_watch *watch;
	struct maildir_box *box;

	*watch_r = NULL;
	if (maildir_box(st, mailbox, &box, err) < 0 || maildir_list(box, err) < 0 || maildir_empty_new(box, err) < 0)
		return -1;
	watch = cv_new0(struct maildir_watch);
	watch->path = cv_strdup(box->path);
	watch->wd[0] = watch->wd[1] = -1;
	watch->fn = fn;
	watch->ctx = ctx;
	cv_list_append(&st->watches, &watch->node);
	if (st->args->loop != NULL)
		start(st, watch);
	*watch_r = watch;
	return 1;
}

static bool is_used(const struct maildir *st, int wd)
{
	const struct cv_node *node;

	for (node = st->watches.next; node != &st->watches; node = node->next) {
		const struct maildir_watch *watch = (const struct maildir_watch *)(const void *)((const char *)node - offsetof(struct maildir_watch, node));

		if (watch->wd[0] == wd || watch->wd[1] == wd)
			return true;
	}
	return false;
}

void maildir_unwatch(void *st_p, void *watch_p)
{
	struct maildir *st = st_p;
	struct maildir_watch *watch = watch_p;

	cv_list_remove(&watch->node);
	for (unsigned i = 0; i < 2; i++) {
		if (watch->wd[i] >= 0 && !is_used(st, watch->wd[i]))
			(void)inotify_rm_watch(st->inotify, watch->wd[i]);
	}
	cv_free(watch->path);
	cv_free(watch);
}

bool maildir_watched(const struct maildir *st, const char *path)
{
	const struct cv_node *node;

	for (node = st->watches.next; node != &st->watches; node = node->next) {
		const struct maildir_watch *watch = (const struct maildir_watch *)(const void *)((const char *)node - offsetof(struct maildir_watch, node));

		if (strcmp(watch->path, path) == 0)
			return true;
	}
	return false;
}

void maildir_watch_deinit(struct maildir *st)
{
	while (!cv_list_empty(&st->watches))
		maildir_unwatch(st, cv_container(st->watches.next, struct maildir_watch, node));
	if (st->inotify_io != NULL)
		cv_io_remove(&st->inotify_io);
	if (st->watch_timer != NULL)
		cv_timer_remove(&st->watch_timer);
	cv_file_close(&st->inotify);
}
