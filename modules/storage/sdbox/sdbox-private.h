/* SPDX-License-Identifier: MIT
   sdbox: one file a message in Dovecot's dbox format, version 2. What its files share.

   Under the root: "mailboxes/<name>/dbox-Mails/u.<uid>". Levels of the name are directories, in modified UTF-7. A message that is
   being saved is ".temp.…"; once it has a UID and its octets are complete it is ".culver.<uid>"; when the journal has it, it becomes
   "u.<uid>". Other programs look at "u." files only, so they never see what was not confirmed; a ".culver." file that was not
   confirmed is replaced by the next message with that UID.

   A file that was damaged and made anew is kept as "u.<uid>.damaged-<time>", which is no message to anybody.

   Beside the messages, "culver-mailbox" says whose folder it is: what is done again after a crash must not touch one that got the name later. It is one
   line: "culver-mailbox 1 <GUID in hexadecimal> <UIDVALIDITY>". Folders without it (other programs') are anyone's. */
#ifndef CV_SDBOX_PRIVATE_H
#define CV_SDBOX_PRIVATE_H

#include "modules/lib/dovecot/index.h"
#include <culver/file.h>
#include <culver/map.h>
#include <culver/storage.h>

#include <sys/types.h>

#define SDBOX_FILE_HEAD_MAX 512
#define SDBOX_NAME_MAX 32
#define SDBOX_TRAILER_MAX 65536
#define SDBOX_IMAGE_MAX ((size_t)64 << 20)
#define SDBOX_LANDED_MAX 128 /* files that wait for their sync together */

/* A finished message that waits for sync. */
struct sdbox_pending {
	int fd;                 /* to be synced; -1: only the name (a link) */
	char *mailbox;          /* directory of the mailbox, owned */
};

struct sdbox_unsettled {
	int fd;                 /* owned: it stays the directory's when that is renamed */
	dev_t dev;
	ino_t ino;
};

struct sdbox {
	const struct cv_storage_args *args;
	int mailboxes;          /* directory "mailboxes" */
	bool root_synced;       /* the directory that it is in, since the opening (by us, or as args says); before the first folder that is made */
	char *dirname;          /* of the messages' directory, owned */
	char hostname[65];      /* for temporary names: no slash or dot */
	unsigned temp_count;
	CV_VEC(struct sdbox_pending) pending;
	CV_VEC(int) landed;     /* files that were made for the journal's octets and are not synced */
	bool settle_failed;     /* when there were too many of these: the next settle says so */
	struct cv_buf image;    /* of a file that is made */
	/* Directories of messages that were used last. */
	struct sdbox_dir {
		char *path;     /* owned */
		int fd;
		uint64_t used;
	} dirs[16];
	uint64_t clock;
	/* The mailbox that was read last, and the path of its messages' directory (owned; NULL: none yet). */
	struct cv_buf read_name;
	char *read_path;
	/* Directories with copies that a power cut may take away again, or removed messages that it may bring back. */
	CV_VEC(struct sdbox_unsettled) unsettled;
};

/* ---- names (sdbox-name.c) */
/* "<levels in modified UTF-7>/dbox-Mails" below mailboxes, own memory. */
CV_MUST_CHECK int sdbox_path(const struct sdbox *st, struct cv_str name, char **path_r, struct cv_err *err);
CV_MUST_CHECK int sdbox_name_check(void *st, struct cv_str name, struct cv_err *err);
/* A name of a message's file, "u.<uid>" and the like. prefix: at most eight octets. */
void sdbox_uid_name(char name[SDBOX_NAME_MAX], const char *prefix, uint32_t uid);
/* One directory name to its UTF-8 level. False when it is none. */
bool sdbox_level_decode(struct cv_buf *out, const char *name);

/* ---- mailboxes (sdbox-mailbox.c) */
/* The directory of a mailbox's messages, kept open; borrowed. */
CV_MUST_CHECK int sdbox_dir(struct sdbox *st, const char *path, int *fd_r, struct cv_err *err);
/* The same, of the directory that has the path now: one that was moved away or removed under us is not saved to. */
CV_MUST_CHECK int sdbox_dir_now(struct sdbox *st, const char *path, int *fd_r, struct cv_err *err);
void sdbox_dirs_close(struct sdbox *st);
int sdbox_mailbox_create(void *st, const struct cv_mailbox_ref *mailbox, struct cv_err *err);
int sdbox_mailbox_delete(void *st, const struct cv_mailbox_ref *mailbox, struct cv_err *err);
int sdbox_mailbox_dir(void *st, const struct cv_mailbox_ref *mailbox, int *dir_r, struct cv_err *err);
int sdbox_mailbox_list(void *st, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx, struct cv_err *err);
int sdbox_sweep(void *st, struct cv_err *err);
/* Sync each directory on the way to path, so that the path itself is durable; one that is not there has nothing to be synced, the one above it says so. */
CV_MUST_CHECK int sdbox_sync_path(struct sdbox *st, const char *path, struct cv_err *err);
/* The name "mailboxes" is durable, as it was once since the opening. */
CV_MUST_CHECK int sdbox_sync_root_once(struct sdbox *st, struct cv_err *err);
/* Does the directory of messages at path have any? */
CV_MUST_CHECK int sdbox_has_messages(struct sdbox *st, const char *path, bool *has_r, struct cv_err *err);
/* Empty directories from path upwards go; one that holds something ends it. path is cut. */
CV_MUST_CHECK int sdbox_remove_empty(struct sdbox *st, char *path, struct cv_err *err);

/* ---- other names (sdbox-rename.c) */
int sdbox_mailbox_rename(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str new_name, struct cv_err *err);
int sdbox_mailbox_rename_tree(void *st, const struct cv_mailbox_ref *mailboxes, size_t count, struct cv_str from_name, struct cv_str to_name,
	struct cv_err *err);

/* ---- whose folder it is (sdbox-owner.c) */
#define SDBOX_OWNER "culver-mailbox"
/* Write it into the directory of messages, durably but for its name. */
CV_MUST_CHECK int sdbox_owner_write(const struct sdbox *st, int dir, const struct cv_mailbox_ref *mailbox, struct cv_err *err);
/* 1 with GUID and UIDVALIDITY in *mailbox_r, 0 when there is none that makes sense. */
CV_MUST_CHECK int sdbox_owner_read(const struct sdbox *st, const char *path, struct cv_mailbox_ref *mailbox_r, struct cv_err *err);
/* 1 when the folder is this mailbox's or anyone's; NOTFOUND when it is another's. */
CV_MUST_CHECK int sdbox_owner_check(const struct sdbox *st, const char *path, const struct cv_mailbox_ref *mailbox, struct cv_err *err);

/* ---- Dovecot's index (sdbox-index.c) */
/* Of the mailbox at path (as sdbox_path gives it). 1 with *index_r (cv_dovecot_index_free), 0 when there is none that can be used: the log says why not. */
CV_MUST_CHECK int sdbox_index_read(const struct sdbox *st, const char *path, struct cv_dovecot_index **index_r, struct cv_err *err);

/* ---- file format (sdbox-file.c) */
struct sdbox_head {
	uint64_t body_offset, body_len;
};
/* File header and message header, with the message's size still 0. */
void sdbox_put_head(struct cv_buf *out, int64_t now, uint64_t size);
/* Offset of the 16 digits of the size within what sdbox_put_head wrote. */
#define SDBOX_MESSAGE_HEAD 30
void sdbox_put_size(char digits[16], uint64_t size);
/* stored: octets in the file, of which those of the message (meta->size) may differ. */
void sdbox_put_trailer(struct cv_buf *out, const struct cv_storage_meta *meta, uint64_t stored);
CV_MUST_CHECK int sdbox_parse_head(struct cv_str start, uint64_t file_size, struct sdbox_head *head_r, struct cv_err *err);
/* What stands behind the message; views point into it. Fields that are not there stay as they are. */
CV_MUST_CHECK int sdbox_parse_trailer(struct cv_str trailer, struct cv_storage_found *found, struct cv_err *err);

/* ---- messages that the journal has (sdbox-land.c) */
int sdbox_place(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r,
	struct cv_err *err);
int sdbox_land(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets, bool again,
	struct cv_err *err);
/* Sync and close those that landed; when it fails, all will land again. */
CV_MUST_CHECK int sdbox_landed_sync(struct sdbox *st, struct cv_err *err);

/* What comes before the file of a message that the journal has: its directory, and the whole file in st->image. */
CV_MUST_CHECK int sdbox_begin_file(struct sdbox *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str octets, int *dir_r,
	struct cv_err *err);

/* ---- messages whose files were lost (sdbox-renew.c) */
int sdbox_renew(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets,
	struct cv_err *err);

/* The whole file, appended to image. */
CV_MUST_CHECK int sdbox_put_image(struct cv_buf *image, const struct cv_storage_meta *meta, struct cv_str octets, struct cv_err *err);
/* sdbox-batch.c */
int sdbox_batch_add(void *st, void **batch, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets,
	struct cv_err *err);
void sdbox_batch_run(void *batch);
int sdbox_batch_end(void **batch, size_t *begun_r, struct cv_err *err);

/* ---- saving (sdbox-save.c) */
void sdbox_set_ref(uint32_t uid, char *ref_r, size_t *ref_len_r);
int sdbox_save_begin(void *st, const struct cv_mailbox_ref *mailbox, uint64_t size_hint, void **save_r, struct cv_err *err);
int sdbox_save_write(void *save, struct cv_str data, struct cv_err *err);
int sdbox_save_finish(void *save, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
void sdbox_save_abort(void *save);
int sdbox_save_read(void *save, struct cv_storage_blob *blob_r, struct cv_err *err);
int sdbox_copy(void *st, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
	const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
/* sdbox-copy.c */
int sdbox_copy_later(void *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, struct cv_err *err);
int sdbox_copy_ref(void *st, const struct cv_mailbox_ref *to, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
int sdbox_copy_make(void *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, const struct cv_storage_copy *copies, size_t count,
	size_t *done_r, struct cv_err *err);
/* Names in this directory are about to change in a way that settle makes durable. */
CV_MUST_CHECK int sdbox_note_unsettled(struct sdbox *st, int dir, struct cv_err *err);
int sdbox_settle(void *st, struct cv_err *err);
/* The same when there is too much of it; a failure is told by the next settle too. */
CV_MUST_CHECK int sdbox_settle_early(struct sdbox *st, struct cv_err *err);
void sdbox_unsettled_free(struct sdbox *st);
/* sdbox-save.c */
int sdbox_sync(void *st, struct cv_err *err);
int sdbox_recorded(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err);
void sdbox_pending_free(struct sdbox *st);
/* What waits for its sync in the directory `from`, or below it, is at `to` now; NULL: it is gone. */
void sdbox_pending_moved(struct sdbox *st, const char *from, const char *to);

/* ---- reading (sdbox-read.c) */
int sdbox_open_ref(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, struct cv_storage_blob *blob_r, char *new_ref_r,
	size_t *new_ref_len_r, struct cv_err *err);
void sdbox_ahead(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, uint64_t max);
int sdbox_remove(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err);
int sdbox_scan(void *st, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, const struct cv_storage_found *found), void *ctx,
	struct cv_err *err);
int sdbox_names(void *st, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, struct cv_str ref, bool unconfirmed), void *ctx,
	struct cv_err *err);
CV_MUST_CHECK bool sdbox_ref_uid(struct cv_str ref, uint32_t *uid_r);
/* The GUID that stands in a message's file. False when there is none. */
CV_MUST_CHECK bool sdbox_file_guid(int dir, const char *name, uint8_t guid_r[16]);

#endif
