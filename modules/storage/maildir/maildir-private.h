/* SPDX-License-Identifier: MIT
   maildir: one file a message in Maildir++ folders, as Dovecot, Courier, Postfix, mutt and others know them. What its files share.

   Places. INBOX is the root itself (or INBOX=), "A/B" is ".A.B" below the root, each with tmp/, new/, cur/ and, but for INBOX, an empty
   file "maildirfolder". With LAYOUT=fs "A/B" is the directory A/B, and DIRNAME= (fs only) puts the three below A/B/DIRNAME. Levels are in
   modified UTF-7; what a level must not hold on disk ("." in Maildir++; "cur", "new", "tmp", a leading "." in fs) is "\xx" in hexadecimal, which is
   how Dovecot's listescape plugin writes it.

   Names. A message's identity is its base: the file name up to the first ":". Behind it ":2," and letters in ASCII order: D F P R S T, and a-z for
   keywords as numbered in "dovecot-keywords". P is $Forwarded, which has a letter too, since Dovecot 2.3 takes P for nothing.
   The reference kept in the journal is the whole file name without directory. Another program may change what stands behind the base and the
   directory at any time: maildir_find looks under the known name in new/ and cur/, and then in an index of names.

   Saving. Octets go to "tmp/culver.<unique>"; sync makes them durable and renames them to ".culver.<name>" in new/ (no flags) or cur/; recorded
   gives them their names. Names that begin with a dot do not exist for other programs, so they see a message when it is durable and
   acknowledged, and never one that the journal does not have. After a crash a ".culver." file is what scan calls unconfirmed.

   UIDs. The journal has them. "dovecot-uidlist" is a copy of what the journal says, in Dovecot's format, version 3:
     3 V<UIDVALIDITY> N<next UID> G<mailbox GUID>
     <uid> W<size with CRLF> S<size> T<internal date> G<GUID> P<POP3 UIDL> :<base>
   T is ours (Dovecot keeps fields that it does not know): with it a scan of known messages needs no stat(2). Lines are appended when a message
   is recorded, without a sync. The file is written anew only when it does not fit any more: other UIDVALIDITY, a torn end, UIDs that
   would not ascend, or many lines of messages that are gone. A Maildir that comes from Dovecot thus keeps its UIDs, one that goes back does
   too, and so does a mailbox whose journal is lost. Lines that a crash has lost come back when the core tells the UID again (assigned, set_flags).
   Both dovecot- files are in the mailbox's directory, or the same path below CONTROL=. */
#ifndef CV_MAILDIR_PRIVATE_H
#define CV_MAILDIR_PRIVATE_H

#include <culver/arena.h>
#include <culver/file.h>
#include <culver/map.h>
#include <culver/storage.h>

#define MAILDIR_NAME_MAX 255            /* octets of a file name */
#define MAILDIR_STAGED ".culver."       /* before the name of a message that is durable but not recorded */
#define MAILDIR_TMP "culver."           /* before names in tmp/ */
#define MAILDIR_TRASH "culver-trash."   /* at the root: a folder on its way out */
#define MAILDIR_MAKING "culver-making"  /* an empty file in a folder of ours that no mailbox has been recorded for yet */
#define MAILDIR_UIDLIST "dovecot-uidlist"
#define MAILDIR_KEYWORDS "dovecot-keywords"
#define MAILDIR_LETTERS 26
#define MAILDIR_BOXES_MAX 8

struct maildir_settings {
	bool maildir_copy_with_hardlinks;
	bool maildir_very_dirty_syncs;
	bool maildir_broken_filename_sizes;
	bool maildir_empty_new;
	bool maildir_stat_dirs;
};

/* Where a message is. */
enum maildir_where { MAILDIR_NEW, MAILDIR_CUR, MAILDIR_GONE };

/* What a line of the UID list says, or will say. */
struct maildir_line {
	uint32_t uid;
	uint64_t size, virtual_size; /* valid when have_sizes */
	int64_t date;                /* valid when have_date */
	bool have_sizes, have_date;
	const char *ext;             /* other fields as they are, each with a blank before it; never NULL */
};

/* A message in the index. Strings live in the index's arena. */
struct maildir_entry {
	const char *name;    /* without MAILDIR_STAGED */
	uint16_t name_len, base_len;
	uint8_t where;       /* enum maildir_where */
	bool staged;
	uint32_t seen;       /* number of the listing that saw it last */
	struct maildir_line line; /* uid 0: not in the UID list */
};

/* Entries by base. Pointers to entries are valid until the next add or compact. */
struct maildir_index {
	struct cv_arena *arena;
	size_t dead;         /* octets in it of names that files had before */
	CV_VEC(struct maildir_entry) entries;
	uint32_t *slots;     /* entry number + 1, 0: free */
	size_t slot_count;   /* a power of two */
};

/* When a directory was changed last, as far as can be seen. */
struct maildir_stamp {
	int64_t mtime_ns;
	uint64_t inode;
};

struct maildir_dir {
	int fd;
	/* As of the last listing. settled: it was old enough then that a later change must show. */
	bool listed, settled;
	struct maildir_stamp stamp;
	uint32_t listing;
	/* As of the last maildir_stamp. foreign: the last change that was not ours (maildir_very_dirty_syncs). */
	bool looked;
	struct maildir_stamp last;
	int64_t foreign_ns;
};

/* dovecot-uidlist as it was read or written last. */
struct maildir_uidlist {
	bool known;          /* the fields below are those of the file with this inode, size and time */
	bool loaded;         /* its lines are in the index */
	bool broken;         /* it must be written anew before a line is appended */
	uint64_t inode, size;
	int64_t mtime_ns;
	uint32_t uidvalidity; /* 0: there is no such file */
	uint32_t next_uid;
	uint32_t last_uid;   /* of the last line */
	uint32_t lines;
	uint8_t guid[16];    /* zero when the file has none */
};

/* A UID that the list is still to get; owned. */
struct maildir_todo {
	char *base, *ext;
	struct maildir_line line; /* ext is the one above */
};

struct maildir_keywords {
	bool known;
	bool settled; /* its name is on disk as it is now: who wrote it may have ended before, or have failed to sync it */
	uint64_t inode, size;
	int64_t mtime_ns;
	char *names[MAILDIR_LETTERS]; /* owned; NULL: free */
};

/* One mailbox that was used lately. */
struct maildir_box {
	struct maildir *st;
	char *path;          /* below the root, "." for INBOX; owned */
	bool inbox;
	uint32_t uidvalidity; /* what the core says; 0: not yet known */
	uint8_t guid[16];
	int base, control, tmp; /* control -1: not opened yet */
	struct maildir_dir dirs[2];
	uint32_t listing;
	struct maildir_index index;
	struct maildir_uidlist list;
	CV_VEC(struct maildir_todo) todo;
	struct maildir_keywords keywords;
	uint64_t used;
	bool list_warned;
	bool unsettled[2];   /* by enum maildir_where: copied to, removed or renamed in, and not synced since */
	bool synced[2];      /* it was, since this was opened: what a process before did in it is on disk */
	bool looked_for_copies; /* it was listed since copies may have been made in a process before */
};

/* A message that was finished and is not recorded yet. */
struct maildir_pending {
	struct cv_node node; /* in st->unsynced, or none */
	char *path;          /* of the mailbox, owned */
	char *name, *tmp;    /* owned; tmp: NULL once it is staged */
	size_t base_len;
	int fd;              /* to be synced, or -1 */
	char *ext;           /* for line, owned */
	struct maildir_line line;
};

struct maildir_watch {
	struct cv_node node;
	char *path;
	int wd[2];           /* -1: none */
	void (*fn)(void *ctx);
	void *ctx;
	bool due;
};

struct maildir {
	const struct cv_storage_args *args;
	const struct maildir_settings *set;
	struct cv_arena *arena;
	int root, inbox;     /* inbox: the directory of INBOX= when given, else -1 */
	bool fs;             /* LAYOUT=fs */
	bool own_control;    /* CONTROL= is not the root */
	const char *dirname; /* DIRNAME=, or "" */
	char hostname[65];   /* for unique names: no "/", ":" or "," */
	uint32_t random;
	unsigned unique_count;
	struct maildir_box *boxes[MAILDIR_BOXES_MAX];
	uint64_t clock;
	struct cv_map *pending; /* by base: struct maildir_pending */
	struct cv_node unsynced;
	size_t unsynced_count;
	struct cv_node watches;
	int inotify;         /* -1: none */
	struct cv_io *inotify_io;
	struct cv_timer *watch_timer, *flush_timer;
	bool polling;        /* inotify does not work: the timer looks */
	bool watch_timer_set, watch_running;
	bool settle_failed;  /* of a mailbox that is not in use any more */
	bool keywords_failed; /* a dovecot-keywords that is read may not be on disk */
	int64_t unfinished_until; /* seconds since 1970: a folder that is no mailbox yet may become one */
};

/* ---- Names of mailboxes (maildir-name.c) ------------------------------------------------------------------------ */

/* Path below the root, own memory; "." is INBOX. -1 with a public error when name cannot be one here. */
CV_MUST_CHECK int maildir_path(const struct maildir *st, struct cv_str name, char **path_r, struct cv_err *err);
int maildir_name_check(void *st, struct cv_str name, struct cv_err *err);
/* The mailbox name (appended to out) of a path below the root without DIRNAME. False when it is none: maildir_path would not lead back. */
CV_MUST_CHECK bool maildir_name_decode(const struct maildir *st, const char *path, struct cv_buf *out);

/* ---- Names of messages (maildir-file.c) ------------------------------------------------------------------------- */

struct maildir_info {
	uint16_t flags;      /* enum cv_flag */
	bool passed;         /* P */
	uint32_t letters;    /* bit 0: a */
};

/* May this be the name of a message: 1 to 255 octets, no dot at the start, printable without blank, a base that is not empty? */
bool maildir_file_ok(struct cv_str name);
size_t maildir_base_len(struct cv_str name);
void maildir_info_parse(struct cv_str name, struct maildir_info *info_r);
/* base and ":2," with the letters of info and those of old that have no meaning here. Empty info and bare: the base alone. False when it would be too long: then
   without keywords, or as old is. */
bool maildir_name_make(struct cv_buf *out, struct cv_str old, const struct maildir_info *info, bool bare);
/* ",S=<n>" or ",W=<n>" in the base. */
CV_MUST_CHECK bool maildir_name_size(struct cv_str base, char key, uint64_t *size_r);
/* A base that no other message has, without sizes. */
void maildir_unique(struct maildir *st, struct cv_buf *out);

/* ---- Mailboxes in use (maildir-box.c) --------------------------------------------------------------------------- */

/* The mailbox, with tmp, new and cur made when they are missing. Borrowed; valid until eight other mailboxes were asked for. NOTFOUND. */
CV_MUST_CHECK int maildir_box(struct maildir *st, const struct cv_mailbox_ref *mailbox, struct maildir_box **box_r, struct cv_err *err);
/* The same by path. */
CV_MUST_CHECK int maildir_box_at(struct maildir *st, const char *path, struct maildir_box **box_r, struct cv_err *err);
/* Forget one (path NULL: all) before its directory goes or moves. */
void maildir_box_drop(struct maildir *st, const char *path);
/* The directory of the dovecot- files; made when may_create. 0: there is none. */
CV_MUST_CHECK int maildir_control(struct maildir_box *box, bool may_create, int *fd_r, struct cv_err *err);
CV_MUST_CHECK int maildir_sync_dir(const struct maildir *st, int fd, struct cv_err *err);
/* What is asked for is done already, by a process that may have been killed before it was on disk: the next settle makes sure. */
void maildir_done_before(struct maildir_box *box);
/* Rename, never over another file; link and unlink where the file system has no such rename. */
CV_MUST_CHECK int maildir_move(int from_dir, const char *from, int to_dir, const char *to, struct cv_err *err);
struct maildir_stamp maildir_stamp_of(const struct stat *st);
bool maildir_stamp_eq(const struct maildir_stamp *a, const struct maildir_stamp *b);
/* Could the directory change now without a new time? */
bool maildir_stamp_recent(const struct maildir_stamp *stamp);
/* Around a change of our own in the directory (maildir_very_dirty_syncs). */
void maildir_own_begin(const struct maildir_box *box, enum maildir_where where, struct stat *before);
void maildir_own_end(struct maildir_box *box, enum maildir_where where, const struct stat *before);

/* ---- Index (maildir-index.c) -------------------------------------------------------------------------------------- */

void maildir_index_init(struct maildir_index *index);
void maildir_index_deinit(struct maildir_index *index);
/* Without those that are gone. Entries have other addresses then. */
void maildir_index_compact(struct maildir_index *index);
/* NULL when there is none. */
struct maildir_entry *maildir_index_find(const struct maildir_index *index, struct cv_str base);
/* A new one; the base must not be there. where is GONE. */
struct maildir_entry *maildir_index_add(struct maildir_index *index, struct cv_str name);
void maildir_index_rename(struct maildir_index *index, struct maildir_entry *entry, struct cv_str name);
/* Give back the memory of names that files had before, when that is much. Entries stay where they are, views of names do not. */
void maildir_index_tidy(struct maildir_index *index);
static inline struct cv_str maildir_entry_name(const struct maildir_entry *entry)
{
	return cv_str_mem(entry->name, entry->name_len);
}
static inline struct cv_str maildir_entry_base(const struct maildir_entry *entry)
{
	return cv_str_mem(entry->name, entry->base_len);
}

/* ---- Listing and finding (maildir-list.c) ------------------------------------------------------------------------- */

/* The index in step with new/ and cur/; nothing is read when they did not change. */
CV_MUST_CHECK int maildir_list(struct maildir_box *box, struct cv_err *err);

/* A file that was found. fd of the directory is borrowed. */
struct maildir_file {
	enum maildir_where where;
	bool staged;
	char name[MAILDIR_NAME_MAX + 1]; /* as a reference: without MAILDIR_STAGED */
	char path[MAILDIR_NAME_MAX + 16]; /* in the directory */
};
/* Call op on the file that ref means, under each name it may have, until it does not answer NOTFOUND. op: 1 done, -1 with err. CV_ERR_NOTFOUND when the message is gone. */
typedef int maildir_op_fn(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err);
CV_MUST_CHECK int maildir_find(struct maildir_box *box, struct cv_str ref, maildir_op_fn *op, void *ctx, struct cv_err *err);
/* An op: one more name for the file, as struct maildir_link in ctx says; UNSUPPORTED when it is no plain file, EXISTS when the name is taken. */
struct maildir_link {
	int dir;
	const char *name;
};
CV_MUST_CHECK int maildir_link_file(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err);
/* The file has this name and place now. */
void maildir_moved(struct maildir_box *box, struct cv_str name, enum maildir_where where, bool staged);
void maildir_removed(struct maildir_box *box, struct cv_str name);

/* ---- dovecot-uidlist (maildir-uidlist.c) -------------------------------------------------------------------------- */

/* First line of the file: uidvalidity, next UID, GUID (zero when it has none). 0 when there is none that makes sense. */
CV_MUST_CHECK int maildir_uidlist_header(int dir, struct maildir_uidlist *list_r, struct cv_err *err);
/* Its lines in the index; nothing is read when it did not change. */
CV_MUST_CHECK int maildir_uidlist_load(struct maildir_box *box, struct cv_err *err);
/* Does the list have this UID, under the mailbox's UIDVALIDITY, for a message that we did not save? */
bool maildir_uidlist_taken(struct maildir_box *box, uint32_t uid);
/* The message with this base has this UID: written at the next flush, which comes by itself when there is a loop. */
void maildir_uidlist_add(struct maildir_box *box, struct cv_str base, const struct maildir_line *line);
/* Write what is to be written. It is a copy: trouble is logged, and mended later. */
void maildir_uidlist_flush(struct maildir_box *box);
/* For a mailbox that has none: a list without lines. One that names another mailbox names this one on return, or -1: by its name alone the folder would
   be taken for the other one's. */
CV_MUST_CHECK int maildir_uidlist_create(struct maildir_box *box, struct cv_err *err);
/* Write the whole file anew at the next flush. */
void maildir_uidlist_renew(struct maildir_box *box);
void maildir_todo_free(struct maildir_box *box);
/* The line of a message that the core knows; ext is *ext_r, own memory. */
void maildir_line_make(struct maildir_line *line_r, char **ext_r, const struct cv_storage_meta *meta);
/* Fields of a line: GUID and POP3 UIDL. The text of ext for them, own memory. */
char *maildir_ext_make(const uint8_t guid[16], struct cv_str uidl);
bool maildir_ext_guid(const char *ext, uint8_t guid[16]);
struct cv_str maildir_ext_uidl(const char *ext);
/* A GUID that is any text; the same text gives the same 16 octets. */
void maildir_hash_guid(struct cv_str text, uint8_t guid[16]);

/* ---- dovecot-keywords (maildir-keywords.c) ------------------------------------------------------------------------- */

/* The table in step with the file. */
CV_MUST_CHECK int maildir_keywords_load(struct maildir_box *box, struct cv_err *err);
/* Letters of these; those that are new get one while there are some, in the file before this returns. */
CV_MUST_CHECK int maildir_keywords_letters(struct maildir_box *box, const char *const *keywords, struct maildir_info *info, struct cv_err *err);
/* Names of the letters and of P, at most MAILDIR_LETTERS + 1 and a NULL; borrowed until the next load. */
void maildir_keywords_names(const struct maildir_box *box, const struct maildir_info *info, const char *names[MAILDIR_LETTERS + 2]);
void maildir_keywords_free(struct maildir_keywords *keywords);

/* ---- The interface's functions ----------------------------------------------------------------------------------- */

/* maildir-mailbox.c */
int maildir_mailbox_create(void *st, const struct cv_mailbox_ref *mailbox, struct cv_err *err);
int maildir_mailbox_delete(void *st, const struct cv_mailbox_ref *mailbox, struct cv_err *err);
int maildir_mailbox_rename(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str new_name, struct cv_err *err);
int maildir_mailbox_keep(void *st, const struct cv_mailbox_ref *mailbox, bool keep, struct cv_err *err);
int maildir_mailbox_list(void *st, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx, struct cv_err *err);
/* maildir-sweep.c */
int maildir_sweep(void *st, struct cv_err *err);
/* A directory and all in it; links are removed, not followed. */
CV_MUST_CHECK int maildir_remove_tree(int dir, const char *name, struct cv_err *err);
/* maildir-save.c */
int maildir_settle(void *st, struct cv_err *err);
/* Sync what is unsettled. */
CV_MUST_CHECK int maildir_box_settle(struct maildir_box *box, struct cv_err *err);
int maildir_folders_stamp(void *st, uint64_t stamp_r[4], struct cv_err *err);
int maildir_keeps_keyword(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str keyword, struct cv_err *err);
int maildir_save_begin(void *st, const struct cv_mailbox_ref *mailbox, uint64_t size_hint, void **save_r, struct cv_err *err);
int maildir_save_write(void *save, struct cv_str data, struct cv_err *err);
int maildir_save_finish(void *save, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
void maildir_save_abort(void *save);
int maildir_save_read(void *save, struct cv_storage_blob *blob_r, struct cv_err *err);
int maildir_copy(void *st, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
	const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
/* maildir-copy.c */
int maildir_copy_later(void *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, struct cv_err *err);
int maildir_copy_ref(void *st, const struct cv_mailbox_ref *to, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
int maildir_copy_make(void *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, const struct cv_storage_copy *copies, size_t count,
	size_t *done_r, struct cv_err *err);
/* maildir-save.c */
/* The name that a message gets: sizes in it, flags behind it; bare (for new/) when it has none. */
CV_MUST_CHECK int maildir_message_name(struct maildir_box *box, const struct cv_storage_meta *meta, struct cv_buf *name, struct cv_err *err);
/* EXISTS when another program gave the UID to a message. */
CV_MUST_CHECK int maildir_uid_free(struct maildir_box *box, const struct cv_storage_meta *meta, struct cv_err *err);
enum maildir_where maildir_place_of(struct cv_str name);
int maildir_sync(void *st, struct cv_err *err);
int maildir_recorded(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err);
void maildir_pending_free(struct maildir *st, struct maildir_pending *pending);
/* The mailbox of the path `from` is at `to` now; NULL: it is gone, and what waited with it. */
void maildir_pending_moved(struct maildir *st, const char *from, const char *to);
/* maildir-read.c */
int maildir_open_ref(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, struct cv_storage_blob *blob_r, char *new_ref_r,
	size_t *new_ref_len_r, struct cv_err *err);
void maildir_ahead(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, uint64_t max);
int maildir_remove(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err);
int maildir_set_flags(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, const struct cv_storage_meta *meta, char *ref_r,
	size_t *ref_len_r, struct cv_err *err);
/* A message file for reading: never a directory, device or pipe. */
CV_MUST_CHECK int maildir_open_file(int dir, const char *path, int *fd_r, struct stat *stat_r, struct cv_err *err);
struct cv_str maildir_ref_key(struct cv_str ref);
int maildir_assigned(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_found *found, size_t count, struct cv_err *err);
/* maildir-scan.c */
int maildir_scan(void *st, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, const struct cv_storage_found *found), void *ctx,
	struct cv_err *err);
int maildir_stamp(void *st, const struct cv_mailbox_ref *mailbox, uint64_t stamp_r[4], struct cv_err *err);
/* Move what lies in new/ to cur/. */
CV_MUST_CHECK int maildir_empty_new(struct maildir_box *box, struct cv_err *err);
/* maildir-watch.c */
int maildir_watch(void *st, const struct cv_mailbox_ref *mailbox, void (*fn)(void *ctx), void *ctx, void **watch_r, struct cv_err *err);
void maildir_unwatch(void *st, void *watch);
bool maildir_watched(const struct maildir *st, const char *path);
void maildir_watch_deinit(struct maildir *st);

#endif
