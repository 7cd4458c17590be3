/* SPDX-License-Identifier: MIT
   Storage modules: keep message octets (and, where their format has them, flags), know no UIDs' meaning and no journal format. */
#ifndef CV_STORAGE_H
#define CV_STORAGE_H

#include <culver/module.h>

/* Parsed mail_location "driver:path:KEY=value…" of one user. Strings are absolute paths without trailing slash. */
struct cv_storage_args {
	const char *root;        /* path of the location */
	const char *index_root;  /* INDEX=, or root: where journal and derived files lie */
	const char *control_root;/* CONTROL=, or root */
	const char *inbox;       /* INBOX=, or NULL */
	const char *layout;      /* LAYOUT=: "fs", "maildir++", or NULL for the driver's own */
	const char *dirname;     /* DIRNAME=, or NULL */
	enum cv_fsync { CV_FSYNC_ALWAYS, CV_FSYNC_OPTIMIZED, CV_FSYNC_NEVER } fsync;
	struct cv_loop *loop;    /* for watches; NULL in tools and tests */
	const struct cv_conf *conf;
	unsigned dir_mode, file_mode; /* 0700, 0600 */
	const char *hostname;    /* for unique names */
	bool root_synced;        /* root was synced since storage was opened: the names that were in it then are durable. Set later on by the store */
};

/* A mailbox as storage sees it. name: UTF-8, levels separated by '/', "INBOX" for the inbox. */
struct cv_mailbox_ref {
	struct cv_str name;
	uint8_t guid[16];
	uint32_t uidvalidity;
	bool unreadable;         /* mailbox_list: it is there, but can't be looked into now: one that is known stays */
	bool later;              /* mailbox_create: its first message is soon enough, where nothing is in the way; and elsewhere not set */
	uint32_t uidnext;        /* mailbox_list: lowest UID that was never given out as far as the format knows; 0: it does not, and elsewhere */
};

/* Where a message's octets are: the driver's own text (file name, number), at most CV_STORAGE_REF_MAX octets, kept in the journal. */
#define CV_STORAGE_REF_MAX 255

/* What is known of a message when it is saved or found. */
struct cv_storage_meta {
	uint32_t uid;            /* given at finish */
	uint8_t guid[16];
	int64_t internal_date;   /* seconds since 1970 */
	uint64_t size;           /* octets of the message. What was written to the save, or lies in the file, may be of another length: a transform's form of it
	                            (transform.h). 0 when scan can't tell without reading it */
	uint64_t virtual_size;   /* octets with CRLF line ends */
	uint16_t flags;          /* enum cv_flag */
	const char *const *keywords; /* NULL-terminated, or NULL */
	struct cv_str pop3_uidl; /* saved UIDL of another server, absent when none */
	struct cv_str orig_mailbox;
	int64_t saved;           /* when it came here, seconds since 1970; 0: now */
};

/* One message that scan found. */
struct cv_storage_found {
	struct cv_str ref;
	struct cv_storage_meta meta; /* uid 0 when the format knows none; fields it does not know are 0 */
	bool uid_known, guid_known, flags_known, date_known;
	bool unconfirmed; /* saved, but the driver does not know that it was recorded: taken only when the journal was damaged */
};

/* Octets as they were written to a save: a descriptor and range. fd is the caller's to close. */
struct cv_storage_blob {
	int fd;
	uint64_t offset;
	uint64_t len;
	/* Asked for: the octets that the message should have; 0: not known. */
	uint64_t expected;
	/* NULL, or the caller's empty buffer: a driver that reads the file's beginning anyhow may leave it there, from the file's first octet on, with as
	   much behind it as expected says, so that nothing has to be read again. */
	struct cv_buf *start;
};

/* A copy that was recorded and is to be made. */
struct cv_storage_copy {
	struct cv_str source;         /* reference in the mailbox that it is made of */
	struct cv_str ref;            /* its own */
	struct cv_storage_meta meta;  /* without flags and keywords */
	bool again;                   /* it may have been made before, and renamed since */
};

struct cv_storage {
	const char *name; /* driver name in mail_location */
	unsigned opts;
#define CV_STORAGE_EXTERNAL 1u   /* other programs change it too: watch and rescan, flags are mirrored by set_flags */
#define CV_STORAGE_OWN_UIDS 2u   /* scan gives UIDs */

	/* One user's. Makes the root (mode dir_mode) when may_create. CV_ERR_NOTFOUND when it is absent and may not be made. */
	int (*open)(const struct cv_storage_args *args, bool may_create, void **st_r, struct cv_err *err);
	void (*close)(void *st);

	/* Mailboxes. Durable on return under fsync ALWAYS and OPTIMIZED. create answers CV_FOLDER_MADE or CV_FOLDER_WAS_THERE, which is fine; CV_FOLDER_LATER to
	   one that may be made later: it is called once more before anything is saved there, and what else is asked of the mailbox may answer
	   CV_ERR_NOTFOUND until then. Not for EXTERNAL formats. */
#define CV_FOLDER_MADE 0
#define CV_FOLDER_WAS_THERE 1
#define CV_FOLDER_LATER 2
	int (*mailbox_create)(void *st, const struct cv_mailbox_ref *mailbox, struct cv_err *err);
	/* Removes all messages and the folder; never follows links. */
	int (*mailbox_delete)(void *st, const struct cv_mailbox_ref *mailbox, struct cv_err *err);
	int (*mailbox_rename)(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str new_name, struct cv_err *err);
	/* fn for each folder that is really there; uidvalidity and guid when the format keeps them, else 0. fn's -1 ends it. */
	int (*mailbox_list)(void *st, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx, struct cv_err *err);
	/* Why name cannot be a mailbox here: 0 fine, -1 with a public err (length, forbidden characters). */
	int (*mailbox_name_check)(void *st, struct cv_str name, struct cv_err *err);

	/* Saving in three steps: octets go to a temporary place; finish gives them their name (ref_r: CV_STORAGE_REF_MAX octets, *ref_len_r);
	   sync makes all that finished since the last sync durable in as few system calls as the format allows. The journal record is written after
	   sync. When sync fails, all that finished since the last one is given up: none of it is recorded, and the next sync has nothing to do with it. What
	   finished follows its mailbox when that is renamed, and goes with it. After a crash a finished but unrecorded message is either removed by sweep or found by scan: never a lost record's message.
	   save_finish may answer CV_ERR_EXISTS: meta->uid belongs to a message that another program saved; then save stays, and the caller gives
	   another UID or aborts. */
	int (*save_begin)(void *st, const struct cv_mailbox_ref *mailbox, uint64_t size_hint, void **save_r, struct cv_err *err);
	int (*save_write)(void *save, struct cv_str data, struct cv_err *err);
	/* Frees save in any case but CV_ERR_EXISTS. */
	int (*save_finish)(void *save, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
	void (*save_abort)(void *save);
	int (*sync)(void *st, struct cv_err *err);

	/* Octets of a message. CV_ERR_EXPUNGED when they are gone. For an EXTERNAL format *ref may have changed (renamed by others): the driver finds it
	   and the new one is in new_ref_r/len (0: unchanged). */
	int (*open_ref)(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, struct cv_storage_blob *blob_r, char *new_ref_r,
		size_t *new_ref_len_r, struct cv_err *err);
	/* Remove octets; those that are gone already are fine. Called in the background after the expunge is durable and undelete time is over. */
	int (*remove)(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err);
	/* Same octets in another (or the same) mailbox, as cheap as the format allows (link, reflink); CV_ERR_UNSUPPORTED: the caller copies octets.
	   Needs sync before it is recorded. */
	int (*copy)(void *st, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
		const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
	/* EXTERNAL formats: mirror flags (and keywords) of a message, giving its new ref. NULL when the format has none. */
	int (*set_flags)(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, const struct cv_storage_meta *meta, char *ref_r,
		size_t *ref_len_r, struct cv_err *err);

	/* What is really there, in any order. */
	int (*scan)(void *st, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, const struct cv_storage_found *found), void *ctx,
		struct cv_err *err);
	/* EXTERNAL: a cheap stamp that differs when scan would see something new (mtimes); and a watch that calls fn from the loop. */
	int (*stamp)(void *st, const struct cv_mailbox_ref *mailbox, uint64_t stamp_r[4], struct cv_err *err);
	int (*watch)(void *st, const struct cv_mailbox_ref *mailbox, void (*fn)(void *ctx), void *ctx, void **watch_r, struct cv_err *err);
	void (*unwatch)(void *st, void *watch);
	/* Remove leftovers of crashes older than an hour (temporary files). */
	int (*sweep)(void *st, struct cv_err *err);

	/* These messages, finished and synced, are in the journal now: temporary names become final ones. Not durably: after a crash it is called again, or
	   the driver does it when it is asked for such a message. May be NULL. */
	int (*recorded)(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err);

	/* The part of a reference that stays the same when others change flags or move the message (a maildir's unique name): scan's messages are known
	   again by it. View into ref. NULL: the whole of it. */
	struct cv_str (*ref_key)(struct cv_str ref);
	/* EXTERNAL: these messages, which scan found without a UID, have the UIDs of meta.uid now; the driver may keep that beside them, so that a later scan
	   gives the UIDs even when the journal is lost. A derived copy: it need not be durable. May be NULL. */
	int (*assigned)(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_found *found, size_t count, struct cv_err *err);

	/* EXTERNAL: a stamp that differs when mailbox_list would tell something else. 0 when there is no cheap one. May be NULL: none. */
	int (*folders_stamp)(void *st, uint64_t stamp_r[4], struct cv_err *err);
	/* EXTERNAL: 1 when set_flags has a place for this keyword and scan tells it again, 0 when not (the journal alone has it then). NULL: for all. */
	int (*keeps_keyword)(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str keyword, struct cv_err *err);
	/* fn for each mailbox name (as in cv_mailbox_ref) that the format's own list has as subscribed; asked once, when there is no journal yet. NULL: there
	   is no such list. */
	int (*subscriptions)(void *st, int (*fn)(void *ctx, struct cv_str name), void *ctx, struct cv_err *err);
	/* What copy_make, land, remove and (EXTERNAL) set_flags did since the last call is durable on return. Until then it may be undone by a power cut, and the
	   core will ask for it again. NULL: it need not be. */
	int (*settle)(void *st, struct cv_err *err);
	/* What was written to a save so far, for hooks that look at a message before it is kept. blob_r->fd is the caller's to close. NULL: it can't be read. */
	int (*save_read)(void *save, struct cv_storage_blob *blob_r, struct cv_err *err);

	/* The directory of a mailbox, where other programs keep files of their own about it (dovecot-acl). Borrowed until the next call. NOTFOUND. NULL: there
	   is none. */
	int (*mailbox_dir)(void *st, const struct cv_mailbox_ref *mailbox, int *dir_r, struct cv_err *err);

	/* The journal's and derived files' octets (names without slash). NULL in a driver on a plain file system: the core then keeps them as files under
	   index_root. */
	const struct cv_storage_log *log;
	/* fn with the reference of each message that scan would find, without looking into it. NULL: scan is as good. */
	int (*names)(void *st, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, struct cv_str ref, bool unconfirmed), void *ctx,
		struct cv_err *err);

	/* What became of a folder: it is a mailbox now (keep), or none is to be there (!keep): then one that mailbox_create has made for a mailbox that was
	   never kept goes again, unless somebody has put messages into it meanwhile, after a crash too. Others stay. 1: the folder is there, 0: it is not.
	   EXTERNAL: the core asks for every folder that mailbox_list tells and it does not know. May be NULL: folders stay. */
	int (*mailbox_keep)(void *st, const struct cv_mailbox_ref *mailbox, bool keep, struct cv_err *err);

	/* Copies that are recorded first and made afterwards; all three or none. What they are made of stays until they are made and settle was called.
	   copy_later: 1 when copies between these mailboxes can be made so; UNSUPPORTED: copy is called; others: they can't be made at all.
	   copy_ref: the reference that a copy gets; nothing is written. EXISTS as in save_finish.
	   copy_make: make them, in their order; *done_r of them were made, or are there already, when one fails. EXPUNGED: there is nothing (any more) that it
	   could be made of; EXISTS: another program has a message with its reference; UNSUPPORTED: the caller copies octets. */
	int (*copy_later)(void *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, struct cv_err *err);
	int (*copy_ref)(void *st, const struct cv_mailbox_ref *to, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
	int (*copy_make)(void *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, const struct cv_storage_copy *copies, size_t count,
		size_t *done_r, struct cv_err *err);

	/* The octets of a message will be asked for soon: begin to bring at most max of them nearer, and do not wait for them. What fails then tells when they are
	   asked for. NULL: there is nothing that would help. */
	void (*ahead)(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, uint64_t max);

	/* Messages whose octets the journal has, so that one sync makes them durable; both or neither. place: the reference that such a message gets; nothing is
	   written. EXISTS as in save_finish, NOTFOUND when there is no folder. land is called when the record is durable: make the message, as one that was saved.
	   It is durable when settle was called. again: it may be there, whole or not, and is written whatever is there. EXISTS: another program has a message
	   with its reference. */
	int (*place)(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r,
		struct cv_err *err);
	int (*land)(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets,
		bool again, struct cv_err *err);

	/* Many such messages, made and synced beside everything else; all three or none. batch_add: one more, none of which can be there yet; *batch is NULL at
	   first, and on failure stays as it was. batch_run: in another thread, at any time after; it touches the batch and files alone. batch_end: free it; when
	   batch_run was called: 1 all are made, durably; -1: some are not, and only the first *begun_r may be there. */
	int (*batch_add)(void *st, void **batch, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref,
		struct cv_str octets, struct cv_err *err);
	void (*batch_run)(void *batch);
	int (*batch_end)(void **batch, size_t *begun_r, struct cv_err *err);

	/* The message with this reference is missing or damaged, and these are its octets: make it anew, durably. What has its name, whatever that is, is kept
	   beside it under another one, of which scan tells nothing. NOTFOUND when there is no folder. NULL: it can't be done. */
	int (*renew)(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets,
		struct cv_err *err);

	/* The folders of from and of all below it get the names that they have below to, in one step and durably, with whatever else lies there. mailboxes: all that
	   are known there, with their old names. 1: done, or nothing was there any more; 0: it can't be one step, since something is in the way, or a folder is
	   another mailbox's: mailbox_rename is called for each. NULL: always so. */
	int (*mailbox_rename_tree)(void *st, const struct cv_mailbox_ref *mailboxes, size_t count, struct cv_str from, struct cv_str to, struct cv_err *err);
};

/* Byte store for the journal of a driver that is not on a plain file system. */
struct cv_storage_log {
	int (*append)(void *st, const char *name, struct cv_str data, uint64_t *offset_r, struct cv_err *err);
	int (*sync)(void *st, const char *name, struct cv_err *err);
	int (*read)(void *st, const char *name, uint64_t offset, struct cv_buf *out, struct cv_err *err);
	int (*replace)(void *st, const char *name, struct cv_str data, struct cv_err *err); /* whole, atomic, durable */
	int (*remove)(void *st, const char *name, struct cv_err *err);
	int (*list)(void *st, int (*fn)(void *ctx, const char *name, uint64_t size), void *ctx, struct cv_err *err);
	/* Take the owner's lease with an epoch above all earlier ones; writes of an older epoch fail from then on. */
	int (*fence)(void *st, uint64_t *epoch_r, struct cv_err *err);
};

static inline int cv_provide_storage(struct cv_registry *reg, const struct cv_storage *storage, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_STORAGE, storage->name, storage, sizeof(*storage), err);
}

#endif
