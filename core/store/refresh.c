/* SPDX-License-Identifier: MIT
   When a mailbox is compared with its storage (reconcile.c): at commands and when a watch calls, unless a stamp says that nothing has changed; and again while
   something is left to be taken in. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#include <string.h>

#define AGAIN_MS 50          /* somebody is saving, and has a UID already */
#define NO_ROOM_MS 1000      /* the disk is full */

static void again(struct cv_mailbox *mailbox)
{
	struct cv_user *user = mailbox->user;

	mailbox->refresh_again = true;
	if (user->loop != NULL)
		cv_timer_set(user->refresh_timer, mailbox->uids_held > 0 ? AGAIN_MS : 0);
}

/* What other programs did can't be recorded on a full disk: until it can, the mailbox is what it was. */
static int wait_for_room(struct cv_mailbox *mailbox, const struct cv_err *why)
{
	struct cv_user *user = mailbox->user;

	if (mailbox->no_room_until_ms == 0)
		cv_warn(&mailbox->log_ctx, "what is new in the mailbox is not seen before there is room on the disk: %s", why->text);
	mailbox->no_room_until_ms = cv_time_mono_ms() + NO_ROOM_MS;
	if (mailbox->uids_held == 0)
		mailbox->uid_reserved = mailbox->uidnext; /* those that were taken now were told to nobody */
	mailbox->refresh_again = true;
	if (user->loop != NULL)
		cv_timer_set(user->refresh_timer, NO_ROOM_MS);
	return 1;
}

/* The folder is not there: did somebody remove the mailbox? */
static int folder_is_gone(struct cv_mailbox *mailbox, const struct cv_err *why, struct cv_err *err)
{
	mailbox->user->folders_known = false;
	cv_user_sync_folders(mailbox->user);
	if (mailbox->gone)
		return 1;
	*err = *why;
	return -1;
}

static int refresh(struct cv_mailbox *mailbox, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(mailbox);
	bool forced = mailbox->needs_scan || mailbox->take_over || mailbox->refresh_again, looked_for;
	struct cv_err scan_err = { 0 };
	uint64_t stamp[4] = { 0 };
	int ret;

	if (user->external) {
		int told = user->storage->stamp(user->st, &ref, stamp, &scan_err);

		if (told < 0 && scan_err.code != CV_ERR_NOTFOUND) { /* a folder that is not there may be one that work left over brings */
			*err = scan_err;
			return -1;
		}
		if (told >= 0 && !forced && mailbox->stamp_known && memcmp(stamp, mailbox->stamp, sizeof(stamp)) == 0)
			return 1;
	}
	if (cv_user_unpublished(user))
		cv_user_flush(user);
	cv_work_run(user, true);
	/* What is on its way to the journal is in no file's name, and in no record that says so. */
	if (!cv_mailbox_catch_up(mailbox)) {
		again(mailbox);
		return 1;
	}
	if (mailbox->gone || user->broken)
		return 1;
	ref = cv_mailbox_storage_ref(mailbox);
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	mailbox->stamp_known = false;
	if (user->external && user->storage->stamp(user->st, &ref, stamp, &scan_err) < 0)
		return scan_err.code == CV_ERR_NOTFOUND ? folder_is_gone(mailbox, &scan_err, err) : (*err = scan_err, -1);
	ret = cv_mailbox_reconcile(mailbox, &scan_err);
	if (ret < 0 && scan_err.code == CV_ERR_NOQUOTA && user->external && !mailbox->needs_scan && !mailbox->take_over && !mailbox->gone)
		return wait_for_room(mailbox, &scan_err);
	if (ret < 0)
		return scan_err.code == CV_ERR_NOTFOUND && user->external ? folder_is_gone(mailbox, &scan_err, err) : (*err = scan_err, -1);
	mailbox->no_room_until_ms = 0;
	if (mailbox->gone)
		return 1;
	if (ret == 0) {
		again(mailbox);
		return 1;
	}
	looked_for = mailbox->needs_scan || mailbox->take_over;
	mailbox->needs_scan = mailbox->take_over = mailbox->refresh_again = false;
	if (looked_for) {
		user->state_dirty = true;
		if (mailbox->columns != NULL)
			cv_notes_recount(mailbox); /* of messages that were not found */
	}
	mailbox->stamp_known = user->external;
	memcpy(mailbox->stamp, stamp, sizeof(stamp));
	return 1;
}

static bool waits_for_room(const struct cv_mailbox *mailbox)
{
	return mailbox->no_room_until_ms != 0 && cv_time_mono_ms() < mailbox->no_room_until_ms;
}

int cv_mailbox_refresh(struct cv_mailbox *mailbox, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox *held = mailbox;
	int ret;

	if (mailbox->gone || mailbox->refreshing || user->broken || user->recovering ||
		(!user->external && !mailbox->needs_scan && !mailbox->take_over) || waits_for_room(mailbox))
		return 1;
	cv_mailbox_ref(mailbox);
	mailbox->refreshing = true;
	ret = refresh(mailbox, err);
	mailbox->refreshing = false;
	cv_mailbox_unref(&held);
	return ret < 0 ? cv_err_context(err, "looking through the storage") : 1;
}

static void refresh_and_log(struct cv_mailbox *mailbox)
{
	struct cv_err err = { 0 };

	if (cv_mailbox_refresh(mailbox, &err) < 0)
		cv_error(&mailbox->log_ctx, "%s", err.text);
}

/* ---- watching ------------------------------------------------------------------------------------------------------- */

static void on_change(void *ctx)
{
	struct cv_mailbox *mailbox = ctx;

	mailbox->refresh_again = true; /* the storage knows more than a stamp */
	refresh_and_log(mailbox);
}

bool cv_mailbox_changes_outside(const struct cv_mailbox *mailbox)
{
	return mailbox->user->external;
}

void cv_watch_start(struct cv_mailbox *mailbox)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref ref;
	struct cv_err err = { 0 };

	if (!user->external || user->storage->watch == NULL || mailbox->watch != NULL || mailbox->gone)
		return;
	ref = cv_mailbox_storage_ref(mailbox);
	if (user->storage->watch(user->st, &ref, on_change, mailbox, &mailbox->watch, &err) < 0) {
		mailbox->watch = NULL;
		cv_warn(&mailbox->log_ctx, "changes of other programs are seen at the next command only: %s", err.text);
	}
}

void cv_watch_stop(struct cv_mailbox *mailbox)
{
	void *watch = mailbox->watch;

	mailbox->watch = NULL;
	if (watch != NULL)
		mailbox->user->storage->unwatch(mailbox->user->st, watch);
}

void cv_watch_moved(struct cv_mailbox *mailbox)
{
	mailbox->stamp_known = false;
	if (mailbox->watch == NULL)
		return;
	cv_watch_stop(mailbox);
	cv_watch_start(mailbox);
}

/* *waits_r: there are others, which wait for room. */
static struct cv_mailbox *next_again(struct cv_user *user, bool *waits_r)
{
	struct cv_str key;
	size_t pos = 0;
	void *value;

	*waits_r = false;
	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct cv_mailbox *mailbox = value;

		if (!mailbox->refresh_again || mailbox->refreshing)
			continue;
		if (!waits_for_room(mailbox))
			return mailbox;
		*waits_r = true;
	}
	return NULL;
}

/* One mailbox a round; what is not done asks for the next one. */
static void on_refresh(void *ctx)
{
	struct cv_user *user = ctx;
	bool waits;
	struct cv_mailbox *mailbox = next_again(user, &waits);

	if (mailbox != NULL) {
		mailbox->refresh_again = false;
		mailbox->stamp_known = false;
		refresh_and_log(mailbox);
		mailbox = next_again(user, &waits);
	}
	if (mailbox != NULL || waits)
		cv_timer_set(user->refresh_timer, mailbox != NULL ? AGAIN_MS : NO_ROOM_MS);
}

void cv_refresh_init(struct cv_user *user)
{
	if (user->loop == NULL)
		return;
	user->refresh_timer = cv_timer_add_stopped(user->loop, on_refresh, user);
}

void cv_refresh_deinit(struct cv_user *user)
{
	cv_timer_remove(&user->refresh_timer);
}
