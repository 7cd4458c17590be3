/* SPDX-License-Identifier: MIT
   A user's mail: mailboxes, views with sequence numbers, messages, transactions. Lives in the user's one worker. */
#ifndef CV_MAILBOX_H
#define CV_MAILBOX_H

#include <culver/loop.h>
#include <culver/map.h>
#include <culver/message.h>
#include <culver/module.h>
#include <culver/reader.h>
#include <culver/storage.h>

struct cv_user;
struct cv_mailbox;
struct cv_view;
struct cv_mail;
struct cv_txn;
struct cv_save;
struct cv_note;
struct cv_notes_change;

/* System flags (RFC 3501 section 2.3.2) as bits. \Recent is a property of a view, not stored here. */
enum cv_flag {
	CV_FLAG_SEEN = 1,
	CV_FLAG_ANSWERED = 2,
	CV_FLAG_FLAGGED = 4,
	CV_FLAG_DELETED = 8,
	CV_FLAG_DRAFT = 16,
	CV_FLAG_ALL = 31
};

/* ---- Sets of UIDs or sequence numbers -------------------------------------------------------------- */

struct cv_range {
	uint32_t first, last; /* both included, first <= last */
};
/* Sorted, not touching. { 0 } is empty; owns data; cv_ranges_free at the end. */
struct cv_ranges {
	struct cv_range *data;
	size_t count, cap;
};
CV_EXPORT void cv_ranges_add(struct cv_ranges *set, uint32_t first, uint32_t last); /* amortised O(1) at the end, else O(n) */
CV_EXPORT void cv_ranges_remove(struct cv_ranges *set, uint32_t first, uint32_t last);
CV_EXPORT bool cv_ranges_has(const struct cv_ranges *set, uint32_t n);
CV_EXPORT uint64_t cv_ranges_numbers(const struct cv_ranges *set); /* how many numbers are in it */
CV_EXPORT void cv_ranges_free(struct cv_ranges *set);
CV_EXPORT void cv_ranges_append(const struct cv_ranges *set, struct cv_buf *out); /* "1:3,7" */

/* ---- Settings -------------------------------------------------------------------------------------- */

/* The mail store's tables (mail_location, mail_fsync, [mailbox NAME] …): NULL-terminated, for cv_conf_load. In libculver. */
CV_EXPORT_DATA const struct cv_settings_table *const cv_mail_settings_tables[];

/* ---- User ------------------------------------------------------------------------------------------ */

struct cv_user_config {
	const char *name;
	const char *home;              /* NULL: none */
	const char *mail_location;     /* expanded; NULL: from settings */
	uint32_t sysuid, sysgid;
	const struct cv_conf *conf;
	const struct cv_registry *registry;
	struct cv_loop *loop;          /* NULL in tests: then everything is synchronous */
	const char *const *fields;     /* "key=value" of the userdb and passdb, NULL-terminated, or NULL */
	const char *protocol;          /* settings filter for what is per user, or NULL */
	/* Another server has taken the user's mail (a lease was not renewed in time): nothing works any more but closing. Called once, from the loop or from
	   within a call; may be NULL. */
	void (*lost)(void *ctx, const struct cv_err *err);
	void *lost_ctx;
};
/* Opens the mail root (made when absent, unless its parent is an unmounted mount point), the journal (recovered, healed), and makes the mailboxes
   that settings ask for. Holds a lock so that a second process is refused (CV_ERR_INUSE). */
CV_EXPORT CV_MUST_CHECK int cv_user_open(const struct cv_user_config *config, struct cv_user **user_r, struct cv_err *err);
/* Syncs, writes snapshots when worth it, frees. All views, mails, transactions must be gone. */
CV_EXPORT void cv_user_close(struct cv_user **user);
/* The loop still has work of this user's that nobody waits for (journal subscribers): closing now puts it off to the next opening. */
CV_EXPORT bool cv_user_busy(const struct cv_user *user);
/* Nothing happens at the moment: gives back memory that only makes the next command faster. */
CV_EXPORT void cv_user_quiet(struct cv_user *user);
CV_EXPORT const char *cv_user_name(const struct cv_user *user);
CV_EXPORT const char *cv_user_home(const struct cv_user *user);
CV_EXPORT const char *cv_user_field(const struct cv_user *user, const char *key); /* NULL when absent */
CV_EXPORT const struct cv_conf *cv_user_conf(const struct cv_user *user);
CV_EXPORT const struct cv_registry *cv_user_registry(const struct cv_user *user);
CV_EXPORT struct cv_loop *cv_user_loop(const struct cv_user *user);
CV_EXPORT void **cv_user_data(struct cv_user *user, unsigned slot);
/* The directory of the journal and what is derived from it: for a module's own small files, named after the module, which may be lost at any time. Borrowed. */
CV_EXPORT int cv_user_index_fd(const struct cv_user *user);
/* Directories and files this user's worker needs, for the sandbox; known before cv_user_open. Paths in arena, NULL-terminated. */
CV_EXPORT CV_MUST_CHECK int cv_user_paths(const struct cv_user_config *config, struct cv_arena *arena, const char *const **paths_r,
	struct cv_err *err);

/* ---- Mailboxes ------------------------------------------------------------------------------------- */

/* Special uses (RFC 6154) as bits. */
enum cv_special_use {
	CV_USE_ALL = 1, CV_USE_ARCHIVE = 2, CV_USE_DRAFTS = 4, CV_USE_FLAGGED = 8, CV_USE_JUNK = 16, CV_USE_SENT = 32, CV_USE_TRASH = 64,
	CV_USE_IMPORTANT = 128 /* RFC 8457 */
};

/* A name in the user's tree. Names are UTF-8 (NFC), levels separated by '/', without namespace prefix mapping: protocols see the names as they are.
   Borrowed: valid until the list changes. */
struct cv_mailbox_info {
	struct cv_str name;
	bool exists;       /* false: only a parent of others, or only subscribed (\NonExistent, \Noselect) */
	bool subscribed;
	bool has_children;
	bool noinferiors;
	unsigned special_use;
	uint8_t guid[16];
	uint32_t uidvalidity;
};

struct cv_mailbox_status {
	uint32_t messages, recent, unseen, deleted, uidnext, uidvalidity, first_unseen_uid;
	uint64_t highest_modseq, size; /* size: RFC822.SIZE summed */
};

/* Rights (RFC 4314 section 2.1, RFC 5257) as bits. All are there unless the hook mailbox_access takes some away. */
enum cv_right {
	CV_RIGHT_LOOKUP = 1,      /* l: it can be seen at all */
	CV_RIGHT_READ = 2,        /* r: open it, count what is in it */
	CV_RIGHT_SEEN = 4,        /* s: change \Seen */
	CV_RIGHT_WRITE = 8,       /* w: change other flags and keywords */
	CV_RIGHT_INSERT = 16,     /* i: save and copy into it */
	CV_RIGHT_POST = 32,       /* p: deliver into it */
	CV_RIGHT_CREATE = 64,     /* k: make mailboxes below it, rename to there */
	CV_RIGHT_DELETE = 128,    /* x: delete or rename it */
	CV_RIGHT_DELETED = 256,   /* t: change \Deleted */
	CV_RIGHT_EXPUNGE = 512,   /* e */
	CV_RIGHT_ADMIN = 1024,    /* a: change rights */
	CV_RIGHT_NOTE = 2048,     /* n: change shared annotations of messages (RFC 5257 section 3.4) */
	CV_RIGHT_ALL = 4095
};

CV_EXPORT char cv_user_separator(const struct cv_user *user); /* hierarchy delimiter shown to clients: '/' unless set */
/* All names, parents before children, INBOX first. False at the end; *pos starts at 0. Nobody's rights are asked: what is shown to who acts needs
   cv_mailbox_visible. */
CV_EXPORT bool cv_mailbox_next(struct cv_user *user, size_t *pos, struct cv_mailbox_info *info_r);
/* *pos_r for cv_mailbox_next: where name is or would be. From there on come name, those below it, and then, INBOX and those below it apart, the other
   names that begin with it. */
CV_EXPORT void cv_mailbox_seek(struct cv_user *user, struct cv_str name, size_t *pos_r);
/* 1 with *info_r, 0 when there is no such name at all. "inbox" in any case is INBOX. */
CV_EXPORT int cv_mailbox_lookup(struct cv_user *user, struct cv_str name, struct cv_mailbox_info *info_r);
/* The rights of who acts on the mailbox of this name, or on one of this name if it existed; as bits. -1: could not tell. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_rights(struct cv_user *user, struct cv_str name, unsigned *rights_r, struct cv_err *err);
/* It exists, and who acts may know: else it is to be shown as if it did not (children may exist all the same). */
CV_EXPORT bool cv_mailbox_visible(struct cv_user *user, const struct cv_mailbox_info *info);
/* Flags that rights allow to change. */
CV_EXPORT uint16_t cv_rights_flags(unsigned rights);
/* Changes of names ask for rights: create on the nearest mailbox above the new name, delete on what is deleted or renamed. Without, PERM; or NOTFOUND
   when who acts may not know of the mailbox.
   Durable on return (always). Missing parents are made as names without mailbox. Errors: EXISTS, INVALID (name), PERM (rights, hook), LIMIT. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_create(struct cv_user *user, struct cv_str name, unsigned special_use, struct cv_err *err);
/* RFC 3501 6.3.4: one with children keeps its name (\Noselect). INBOX cannot be deleted. Open views get CV_EVENT_GONE. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_delete(struct cv_user *user, struct cv_str name, struct cv_err *err);
/* RFC 3501 6.3.5: children move along; INBOX's messages move and INBOX stays. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_rename(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_mailbox_subscribe(struct cv_user *user, struct cv_str name, bool on, struct cv_err *err);
/* Counted reference, for who acts; the columns are mapped at first use. All of rights are needed: PERM when one is missing, NOTFOUND when the mailbox
   does not exist, or when who acts may not know of it. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_open(struct cv_user *user, struct cv_str name, unsigned rights, struct cv_mailbox **mailbox_r,
	struct cv_err *err);
/* 1, or -1 with the same errors. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_may(struct cv_mailbox *mailbox, unsigned rights, struct cv_err *err);
/* Counted reference, for what the server and modules do by themselves: nobody's rights are asked. NOTFOUND when it does not exist. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_get(struct cv_user *user, struct cv_str name, struct cv_mailbox **mailbox_r, struct cv_err *err);
/* The same by its GUID (16 octets). Looks at nothing but memory: names of a list that is being gone through stay. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_get_guid(struct cv_user *user, const uint8_t *guid, struct cv_mailbox **mailbox_r, struct cv_err *err);
/* A file that another program keeps in the mailbox's directory (name without slash), at most as long as out may get. 1; 0 when there is none, or the
   storage has no directories. LIMIT when it is too long. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_read_file(struct cv_mailbox *mailbox, const char *name, struct cv_buf *out, struct cv_err *err);
CV_EXPORT void cv_mailbox_unref(struct cv_mailbox **mailbox);
CV_EXPORT struct cv_user *cv_mailbox_user(const struct cv_mailbox *mailbox);
CV_EXPORT struct cv_str cv_mailbox_name(const struct cv_mailbox *mailbox);
CV_EXPORT const uint8_t *cv_mailbox_guid(const struct cv_mailbox *mailbox); /* 16 octets */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_get_status(struct cv_mailbox *mailbox, struct cv_mailbox_status *status_r, struct cv_err *err);
/* How much there is. size: RFC822.SIZE summed. */
struct cv_usage {
	uint64_t messages, size;
	uint64_t mailboxes; /* of a user */
	uint64_t notes;     /* octets of messages' annotations (note.h): names and values, and 12 for each; see cv_user_count_notes */
};
/* From counts in memory, in constant time: all that was committed, whether the disk has it already or not; of what other programs change, what the last
   comparison with the storage found. No mailbox is loaded. */
CV_EXPORT void cv_mailbox_usage(const struct cv_mailbox *mailbox, struct cv_usage *usage_r);
CV_EXPORT void cv_user_usage(struct cv_user *user, struct cv_usage *usage_r);
/* What is told as notes is right from now on: in constant time, but for the first time after a crash, or after a state of an older format, where mailboxes whose annotations
   changed since are loaded. -1: some could not be. */
CV_EXPORT CV_MUST_CHECK int cv_user_count_notes(struct cv_user *user, struct cv_err *err);
/* The same of each mailbox, in any order: false at the end. *pos starts at 0; no mailbox may come or go meanwhile. */
CV_EXPORT bool cv_usage_next(struct cv_user *user, size_t *pos, struct cv_str *name_r, struct cv_usage *usage_r);
/* The messages among uids (NULL: all) that are there and have all these flags: their rows are looked through. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_sum(struct cv_mailbox *mailbox, const struct cv_ranges *uids, uint16_t flags, struct cv_usage *usage_r,
	struct cv_err *err);
/* Count the mailbox's messages and their annotations one by one: 1 when the counts were right, 0 when they were not and are now. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_verify(struct cv_mailbox *mailbox, struct cv_err *err);
/* Keywords in use, in order of first use: name number i, absent at the end. */
CV_EXPORT struct cv_str cv_mailbox_keyword(const struct cv_mailbox *mailbox, size_t i);
/* The mailbox has as many different keywords as mail_max_keywords allows: another one is refused. */
CV_EXPORT bool cv_mailbox_keywords_full(const struct cv_mailbox *mailbox);
/* EXTERNAL storage: look for what others changed. Cheap when nothing did. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_refresh(struct cv_mailbox *mailbox, struct cv_err *err);

/* ---- Annotations ------------------------------------------------------------------------------------ */

/* Named values of a mailbox, or of the user as a whole where mailbox is NULL (RFC 5464: server annotations). They follow the mailbox when it is renamed
   and go with it when it is deleted. A name is printable ASCII in levels that '/' separates, without '*' and '%', and is matched without ASCII case; a
   value is any octets. What clients see begins with "/private/" or "/shared/"; other names ("acl", "NAME-OF-PLUGIN/what") are a module's own:
   no protocol shows or changes them, and clients' limits do not count for them. */
#define CV_ANNOTATION_NAME_MAX 1024

struct cv_annotation {
	struct cv_str name, value;
};
/* All of them, by name without case, those below a name right behind it. False at the end; *pos starts at 0, or where cv_annotation_from says. Borrowed
   until something is committed or the loop comes round. */
CV_EXPORT bool cv_annotation_next(const struct cv_user *user, const struct cv_mailbox *mailbox, size_t *pos, struct cv_annotation *annotation_r);
/* Position of the first that is not before name: the named one, or what is below it. */
CV_EXPORT size_t cv_annotation_from(const struct cv_user *user, const struct cv_mailbox *mailbox, struct cv_str name);
/* 1, or 0 when it is not set. */
CV_EXPORT int cv_annotation_get(const struct cv_user *user, const struct cv_mailbox *mailbox, struct cv_str name,
	struct cv_annotation *annotation_r);
/* Do clients see it? */
CV_EXPORT bool cv_annotation_is_public(struct cv_str name);
/* Can there be such a name? INVALID with a public text when not. */
CV_EXPORT CV_MUST_CHECK int cv_annotation_name_ok(struct cv_str name, struct cv_err *err);
/* May who acts see and set the mailbox's annotations? It takes the right to look it up and one of r, s, w, i, p (RFC 5464 section 3.3): NOTFOUND or PERM
   when not. */
CV_EXPORT CV_MUST_CHECK int cv_annotations_may(struct cv_mailbox *mailbox, struct cv_err *err);
/* The most octets that a value may have (mail_max_metadata_value). */
CV_EXPORT size_t cv_annotation_value_max(const struct cv_user *user);

/* fn is called when a change has become durable, from within the flush: it must only take note. All is borrowed for the call. */
struct cv_annotation_change {
	struct cv_mailbox *mailbox; /* NULL: of the user */
	struct cv_str name, value;  /* value absent: it was removed */
	uint64_t txn;               /* cv_txn_id of who made it */
};
typedef void cv_annotation_fn(void *ctx, const struct cv_annotation_change *change);
struct cv_annotation_watch;
/* Watches must be gone when the user_close hooks have run. */
CV_EXPORT struct cv_annotation_watch *cv_annotations_watch(struct cv_user *user, cv_annotation_fn *fn, void *ctx);
CV_EXPORT void cv_annotations_unwatch(struct cv_annotation_watch **watch);

/* ---- Views: a session's selected mailbox ------------------------------------------------------------- */

enum cv_view_opts {
	CV_VIEW_READONLY = 1, /* EXAMINE: takes no \Recent */
};

/* What happened since the last sync, in an order that can be sent as it is. */
struct cv_view_event {
	enum cv_view_event_kind {
		CV_EVENT_EXPUNGE = 1, /* seq (at this moment of the list) and uid */
		CV_EVENT_EXISTS,      /* seq: new count; comes once, after the expunges */
		CV_EVENT_FLAGS,       /* seq, uid, modseq of a message whose flags or keywords changed */
		CV_EVENT_KEYWORDS,    /* the mailbox got new keywords: FLAGS response due */
		CV_EVENT_GONE,        /* the mailbox was deleted; the view is dead */
		CV_EVENT_NOTES        /* as FLAGS, of a message whose annotations changed: names of entries, once for each change */
	} kind;
	uint32_t seq, uid;
	uint64_t modseq;
	struct cv_str names;      /* NOTES: for cv_take_str (reader.h), one after the other; borrowed for the call */
};

CV_EXPORT CV_MUST_CHECK int cv_view_open(struct cv_mailbox *mailbox, unsigned opts, struct cv_view **view_r, struct cv_err *err);
CV_EXPORT void cv_view_close(struct cv_view **view);
CV_EXPORT struct cv_mailbox *cv_view_mailbox(const struct cv_view *view);
CV_EXPORT bool cv_view_readonly(const struct cv_view *view);
/* Can its messages be read? Not (UNAVAILABLE) while memory could not be read anew after a failed write: until then they look as if they were gone. */
CV_EXPORT CV_MUST_CHECK int cv_view_usable(struct cv_view *view, struct cv_err *err);
/* As of the last sync. seq is 1..count. */
CV_EXPORT uint32_t cv_view_count(const struct cv_view *view);
CV_EXPORT uint32_t cv_view_recent(const struct cv_view *view);
CV_EXPORT uint32_t cv_view_uid(const struct cv_view *view, uint32_t seq);
/* seq of uid, 0 when it is not in the view. */
CV_EXPORT uint32_t cv_view_seq(const struct cv_view *view, uint32_t uid);
/* First seq with a UID >= uid; count + 1 when none. */
CV_EXPORT uint32_t cv_view_seq_from(const struct cv_view *view, uint32_t uid);
/* A client that knows all changes up to this one misses none: it is lower than the modseq of what stays pending (RFC 7162 section 3.2). */
CV_EXPORT uint64_t cv_view_highest_modseq(const struct cv_view *view);
/* Messages are gone that the last sync did not tell of. */
CV_EXPORT bool cv_view_expunges_pending(const struct cv_view *view);
/* The same, or the next sync would. Of such messages rows can be asked for only as long as this process lives. */
CV_EXPORT bool cv_view_expunged(const struct cv_view *view);
/* fn is called from the loop when sync would give events (once until the next sync). NULL: no more. */
CV_EXPORT void cv_view_set_notify(struct cv_view *view, void (*fn)(void *ctx), void *ctx);
CV_EXPORT bool cv_view_pending(const struct cv_view *view);
/* Bring the view up to date. expunges false: messages that are gone keep their sequence number (FETCH, STORE, SEARCH in progress: RFC 3501 7.4.1) and
   stay pending. own: the transaction id (cv_txn_id) whose FLAGS and NOTES events are left out (.SILENT), 0: none. fn gets each event. */
CV_EXPORT void cv_view_sync(struct cv_view *view, bool expunges, uint64_t own, void (*fn)(void *ctx, const struct cv_view_event *event),
	void *ctx);
/* RFC 7162 3.2.10: UIDs up to uidnext that were expunged after modseq, as far as the journal's memory goes (false: then all UIDs that are not
   there). */
CV_EXPORT bool cv_view_vanished(const struct cv_view *view, uint64_t modseq, struct cv_ranges *uids_r);

/* Take what happened without telling it, so that nothing has to be kept for a view that is not brought up to date: it stays pending that messages are gone,
   messages with new flags or annotations go into *flagged, new messages come with the next sync. False: the mailbox was deleted, which only sync tells. */
CV_EXPORT bool cv_view_hold(struct cv_view *view, struct cv_ranges *flagged);

/* Other programs change this mailbox too, and nobody hears of that unless a worker looks. */
CV_EXPORT bool cv_mailbox_changes_outside(const struct cv_mailbox *mailbox);

/* Append what restore needs: the view as of its last sync, in some octets for each run of UIDs. The format is the store's own and may change with its version. */
CV_EXPORT void cv_view_save(const struct cv_view *view, struct cv_buf *out);
/* A view as it was saved, in any process of the same user: the same sequence numbers and \Recent messages, and the next sync tells what happened since then as
   it would have to the one that was saved. 1; 0: the mailbox is gone, or has another UIDVALIDITY; -1: also when the octets are no such view. They are taken
   from in. */
CV_EXPORT CV_MUST_CHECK int cv_view_restore(struct cv_user *user, struct cv_reader *in, struct cv_view **view_r, struct cv_err *err);

/* The storage's reference of a message (a UID in sdbox, the file's name in a maildir); absent when the message is not known any more. Valid until the
   next change of the mailbox. */
CV_EXPORT struct cv_str cv_view_ref(const struct cv_view *view, uint32_t seq);

/* One message's row, current values (flags may be newer than the last sync). False: expunged already (row as last known). */
struct cv_row {
	uint32_t uid;
	uint16_t flags;         /* enum cv_flag */
	bool recent;            /* in this view */
	uint32_t keyword_set;   /* for cv_row_keywords */
	uint64_t modseq;
	int64_t internal_date;  /* seconds since 1970, UTC */
	int16_t internal_zone;  /* minutes */
	int64_t save_date;
	uint64_t virtual_size;  /* RFC822.SIZE: with CRLF line ends */
	uint64_t physical_size;
	uint8_t guid[16];
};
CV_EXPORT bool cv_view_row(const struct cv_view *view, uint32_t seq, struct cv_row *row_r);
/* The same, but of the row only uid, flags, recent, keyword_set and modseq: over many messages the rest costs memory and reading. */
CV_EXPORT bool cv_view_flags(const struct cv_view *view, uint32_t seq, struct cv_row *row_r);
/* Only whether the message is there still, as both tell. */
CV_EXPORT bool cv_view_has(const struct cv_view *view, uint32_t seq);
/* Add the UIDs of those of the messages that have \Deleted and were not expunged meanwhile. What it costs depends on how many these are, and hardly on seqs. */
CV_EXPORT void cv_view_deleted(const struct cv_view *view, const struct cv_ranges *seqs, struct cv_ranges *uids_r);
/* Add the sequence numbers of those of the messages whose modseq is above since (RFC 7162 section 3.1.4), among them such as were expunged and of which it is still known.
   What it costs depends on how many these are, and hardly on seqs. */
CV_EXPORT void cv_view_changed(const struct cv_view *view, const struct cv_ranges *seqs, uint64_t since, struct cv_ranges *seqs_r);
/* A command on the view is done: memory that holds nothing but what a file has may be given back, where the command went over much of a large mailbox. Rows are copies
   and stay right; nothing else that this interface gave may be used after it. */
CV_EXPORT void cv_view_rest(struct cv_view *view);
/* What was made of a message and is wanted again and again: by what it is sorted, threaded and searched, and texts of replies about it. Octets of any kind, kept in this
   process only, within bounds, and forgotten when the user is quiet. */
enum cv_memo {
	CV_MEMO_SENT = 0,     /* SORT and THREAD: of modules/lib/imap */
	CV_MEMO_SORT_SUBJECT,
	CV_MEMO_SORT_FROM,
	CV_MEMO_SORT_TO,
	CV_MEMO_SORT_CC,
	CV_MEMO_SORT_DISPLAYFROM,
	CV_MEMO_SORT_DISPLAYTO,
	CV_MEMO_THREAD,       /* THREAD of modules/protocol/imap */
	CV_MEMO_FIND_SUBJECT, /* cv_mailsearch */
	CV_MEMO_FIND_FROM,
	CV_MEMO_FIND_TO,
	CV_MEMO_FIND_CC,
	CV_MEMO_FIND_MESSAGE_ID,
	CV_MEMO_FIND_SENT,
	CV_MEMO_ENVELOPE,     /* FETCH of modules/protocol/imap: from here on texts, which have a bound of their own */
	CV_MEMO_BODYSTRUCTURE,
	CV_MEMOS,
};
#define CV_MEMO_MAX ((size_t)2000) /* longer ones are not kept */
/* Valid until the next one is kept. False: there is none. */
CV_EXPORT bool cv_view_memo(const struct cv_view *view, uint32_t seq, enum cv_memo memo, struct cv_str *octets_r);
CV_EXPORT void cv_view_memo_keep(struct cv_view *view, uint32_t seq, enum cv_memo memo, struct cv_str octets);
/* The same of texts that a module makes of every message (texts.h): what is not in memory is looked for in the mailbox's cache file, and kept when it is
   asked for again. texts_r has count
   of them, absent where there is none. Valid until anything else of the mailbox is asked for or kept. */
CV_EXPORT void cv_view_texts(struct cv_view *view, uint32_t seq, const enum cv_memo *memos, unsigned count, struct cv_str *texts_r);
/* Keyword names of a row: NULL-terminated, valid until the next change of the mailbox. */
CV_EXPORT const struct cv_str *cv_row_keywords(const struct cv_mailbox *mailbox, uint32_t keyword_set, size_t *count_r);

/* ---- Messages -------------------------------------------------------------------------------------- */

/* A message of a view. EXPUNGED when its octets are gone. The handle survives a sync and the message's expunge as long as it is open. */
CV_EXPORT CV_MUST_CHECK int cv_mail_open(struct cv_view *view, uint32_t seq, struct cv_mail **mail_r, struct cv_err *err);
CV_EXPORT void cv_mail_close(struct cv_mail **mail);
/* What was parsed when it was saved; never opens the message file unless the cache was lost (then it is parsed and cached again). View valid until
   close. */
CV_EXPORT CV_MUST_CHECK int cv_mail_record(struct cv_mail *mail, struct cv_str *record_r, struct cv_err *err);
/* The message's octets as the wire has them, without its parse record: by the sizes recorded when it was saved all its line ends are CRLF, and it has *size_r
   octets. False: it is not so, or only the record tells, as of files that other programs write. */
CV_EXPORT bool cv_mail_crlf_size(const struct cv_mail *mail, uint64_t *size_r);
/* The octets as they came, in one piece; valid until close. A message that a transform keeps in another form (transform.h) is put together in memory, and
   LIMIT when it is beyond 1 GiB. A file that is damaged, or missing though the message was not expunged, is CORRUPT with a public text: the store has told the
   administrator, once for each message and process, and the caller need not. */
CV_EXPORT CV_MUST_CHECK int cv_mail_octets(struct cv_mail *mail, struct cv_str *octets_r, struct cv_err *err);
/* The same as a source, of which any part can be read without the whole; borrowed until close, or until cv_mail_octets. */
CV_EXPORT CV_MUST_CHECK int cv_mail_reader(struct cv_mail *mail, struct cv_message_reader **reader_r, struct cv_err *err);
/* The octets of this message are wanted soon: begin to bring them to memory, without waiting. What is wrong with it is told when it is read. It costs
   system calls: for who saw (cv_file_disk_read) that messages are not in memory. */
CV_EXPORT void cv_view_ahead(struct cv_view *view, uint32_t seq);
/* UIDL saved from another server (pop3_reuse_xuidl, migrations); absent when none. */
CV_EXPORT struct cv_str cv_mail_pop3_uidl(struct cv_mail *mail);

/* ---- Watching all of a user's mailboxes ------------------------------------------------------------ */

enum cv_mail_event_kind {
	CV_MAIL_NEW = 1,          /* messages came into the mailbox, */
	CV_MAIL_EXPUNGED = 2,     /* left it, */
	CV_MAIL_FLAGS = 4,        /* or have other flags or keywords */
	CV_MAIL_CREATED = 8,
	CV_MAIL_DELETED = 16,
	CV_MAIL_RENAMED = 32,     /* and all below it with it */
	CV_MAIL_SUBSCRIPTION = 64,
	CV_MAIL_NOTES = 128       /* messages have other annotations */
};
/* What one transaction did to one mailbox or name. Borrowed. */
struct cv_mail_event {
	unsigned kinds;
	struct cv_str name;       /* RENAMED: as it was */
	struct cv_str new_name;   /* RENAMED */
	bool subscribed;          /* the name is; RENAMED: the new one */
	bool parent_subscribed;   /* CREATED, DELETED: the name above it is */
	uint64_t txn;             /* cv_txn_id */
};
/* fn is called when a change can be seen, whoever made it: it may look, but neither change anything nor open a view. Costs nothing for mailboxes that do not
   change. */
struct cv_mail_watch {
	struct cv_node node;
	void (*fn)(void *ctx, const struct cv_mail_event *event);
	void *ctx;
};
/* watch is borrowed until stop. */
CV_EXPORT void cv_mail_watch_start(struct cv_user *user, struct cv_mail_watch *watch);
CV_EXPORT void cv_mail_watch_stop(struct cv_mail_watch *watch);

/* ---- Transactions ---------------------------------------------------------------------------------- */

/* Changes to one or more of the user's mailboxes that become one journal record: all or nothing. */
CV_EXPORT struct cv_txn *cv_txn_begin(struct cv_user *user);
/* What the server or a module does by itself: nobody's rights are asked from here on. Else flags that who acts may not change are left out, and what lacks
   a right fails with PERM (NOTFOUND when who acts may not know of the mailbox). What hooks put into a transaction is trusted already. */
CV_EXPORT void cv_txn_trust(struct cv_txn *txn);
CV_EXPORT uint64_t cv_txn_id(const struct cv_txn *txn);
/* Called when the commit is durable (result 0) or failed (-1 with err); from the loop, or from inside commit without one. */
typedef void cv_commit_fn(void *ctx, int result, const struct cv_err *err);
/* Ends txn in any case (*txn = NULL). Runs the commit hooks; -1 when one refused or a change was impossible (nothing was done; done is not
   called). 0: on its way; many commits of one loop round share one sync. Nothing is visible in any view before it is durable, but flag changes under
   mail_fsync = optimized (synced within a second). done may be NULL. */
CV_EXPORT CV_MUST_CHECK int cv_txn_commit(struct cv_txn **txn, cv_commit_fn *done, void *ctx, struct cv_err *err);
/* The same, waiting for the disk. */
CV_EXPORT CV_MUST_CHECK int cv_txn_commit_wait(struct cv_txn **txn, struct cv_err *err);
CV_EXPORT void cv_txn_rollback(struct cv_txn **txn);

/* What a transaction is about to do with messages, for commit hooks: false at the end. *pos starts at 0. All is borrowed for the call of the hook. */
struct cv_txn_op {
	enum cv_txn_op_kind { CV_TXN_SAVE = 1, CV_TXN_COPY, CV_TXN_FLAGS, CV_TXN_EXPUNGE, CV_TXN_ANNOTATE, CV_TXN_NOTES } kind;
	struct cv_mailbox *mailbox;   /* where it happens; COPY: the target; ANNOTATE: NULL when it is the user's */
	struct cv_mailbox *from;      /* COPY: the source; else NULL */
	bool move;                    /* COPY: the messages leave from */
	const struct cv_ranges *uids; /* FLAGS, EXPUNGE, NOTES: as asked for, some may be gone; COPY: in from; SAVE: NULL */
	const struct cv_flags_change *change; /* FLAGS; else NULL */
	struct cv_save *save;         /* SAVE; else NULL */
	struct cv_str name, value;    /* ANNOTATE; value absent: it is removed */
	const struct cv_notes_change *notes; /* NOTES (note.h); else NULL */
	size_t number;                /* which it is, as long as the hook runs */
};
CV_EXPORT bool cv_txn_next(const struct cv_txn *txn, size_t *pos, struct cv_txn_op *op_r);
/* A message of a mailbox by its UID, without a view: 1 with *row_r, 0 when it is not there. recent is not told. */
CV_EXPORT CV_MUST_CHECK int cv_mailbox_row(struct cv_mailbox *mailbox, uint32_t uid, struct cv_row *row_r, struct cv_err *err);

enum cv_flags_op { CV_FLAGS_ADD = 1, CV_FLAGS_REMOVE, CV_FLAGS_REPLACE };
struct cv_flags_change {
	enum cv_flags_op op;
	uint16_t flags;
	const struct cv_str *keywords; /* validated names; matched without ASCII case */
	size_t keyword_count;
	bool unchanged_since_set;
	uint64_t unchanged_since;      /* CONDSTORE: messages with a higher modseq are left alone and put into *failed */
	uint16_t keep_flags;           /* REPLACE: these stay as they are */
	bool keep_keywords;            /* REPLACE: all keywords do */
};
/* Change messages uids of mailbox. Flags that who acts may not change are left out; when all of them are, PERM. UIDs that are gone are passed over (added to gone when not NULL). failed may be NULL. Messages that already are so get no
   new modseq. */
CV_EXPORT CV_MUST_CHECK int cv_txn_flags(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_ranges *uids,
	const struct cv_flags_change *change, struct cv_ranges *failed, struct cv_ranges *gone, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_txn_expunge(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_ranges *uids,
	struct cv_err *err);
/* Copy or move in UID order; flags, keywords and internal date go along, and annotations. new_uids_r: UIDs in the target, same order, known now, valid only when the
   commit succeeds (COPYUID). Those that are gone fail the whole (EXPUNGED) for copy, are passed over for move. */
CV_EXPORT CV_MUST_CHECK int cv_txn_copy(struct cv_txn *txn, struct cv_mailbox *from, const struct cv_ranges *uids, struct cv_mailbox *to,
	bool move, struct cv_ranges *old_uids_r, struct cv_ranges *new_uids_r, struct cv_err *err);

/* Set an annotation of a mailbox, or of the user when it is NULL; value absent: remove it. INVALID: no such name can be. LIMIT here: the value is too
   large; LIMIT of the commit: too many entries, or octets of all together. NOTFOUND, PERM: as cv_annotations_may, unless the transaction is trusted. */
CV_EXPORT CV_MUST_CHECK int cv_txn_annotate(struct cv_txn *txn, struct cv_mailbox *mailbox, struct cv_str name, struct cv_str value,
	struct cv_err *err);
/* Special uses of a mailbox (enum cv_special_use), from then on instead of those that settings give it. */
CV_EXPORT CV_MUST_CHECK int cv_txn_special_use(struct cv_txn *txn, struct cv_mailbox *mailbox, unsigned bits, struct cv_err *err);

/* Keep a unique-id (1 to 1000 octets) that a client was told as the message's own (cv_mail_pop3_uidl), however unique-ids are made later. Only the journal
   knows it. A message that is gone is passed over. */
CV_EXPORT CV_MUST_CHECK int cv_txn_set_pop3_uidl(struct cv_txn *txn, struct cv_mailbox *mailbox, uint32_t uid, struct cv_str uidl, struct cv_err *err);

/* Saving a message. */
struct cv_save_config {
	uint16_t flags;
	const struct cv_str *keywords;
	size_t keyword_count;
	bool date_set;
	int64_t internal_date;  /* seconds since 1970; now when not set */
	int16_t internal_zone;  /* minutes east of UTC, as given */
	uint64_t size_hint;     /* octets, 0 unknown */
	bool delivery;          /* by LMTP and the like: hooks are told */
	struct cv_str pop3_uidl;
	const struct cv_note *notes; /* note.h: its annotations; rights, names and values as for cv_txn_notes */
	size_t note_count;
};
CV_EXPORT CV_MUST_CHECK int cv_save_begin(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_save_config *config,
	struct cv_save **save_r, struct cv_err *err);
/* Octets in any split, stored as they come (line ends are kept). An error makes the transaction fail. */
CV_EXPORT CV_MUST_CHECK int cv_save_write(struct cv_save *save, struct cv_str data, struct cv_err *err);
/* All octets are there: hooks look at it, it becomes part of the transaction. save is owned by txn and valid until the commit's end. */
CV_EXPORT CV_MUST_CHECK int cv_save_finish(struct cv_save *save, struct cv_err *err);
CV_EXPORT void cv_save_cancel(struct cv_save **save); /* before finish */
CV_EXPORT uint32_t cv_save_uid(const struct cv_save *save);
/* For hooks: what is saved and where; changes flags. A message that is copied or moved is told in the same way: save is then the hook's for the call
   only, and what belongs to the message (octets, record, date) is that of the source. */
CV_EXPORT struct cv_mailbox *cv_save_mailbox(const struct cv_save *save);
CV_EXPORT uint64_t cv_save_size(const struct cv_save *save);
/* RFC822.SIZE: with CRLF line ends; known when hooks run. */
CV_EXPORT uint64_t cv_save_virtual_size(const struct cv_save *save);
/* The transaction that it is to be part of. */
CV_EXPORT struct cv_txn *cv_save_txn(const struct cv_save *save);
CV_EXPORT bool cv_save_is_delivery(const struct cv_save *save);
/* COPY and MOVE: where the message comes from, and its UID there; NULL and 0 for a new one. */
CV_EXPORT struct cv_mailbox *cv_save_source(const struct cv_save *save, uint32_t *uid_r);
CV_EXPORT bool cv_save_is_move(const struct cv_save *save);
CV_EXPORT CV_MUST_CHECK int cv_save_record(struct cv_save *save, struct cv_str *record_r, struct cv_err *err);
/* The octets as they came, mapped; valid while the hook runs. UNSUPPORTED when the storage module can't read what it has not stored yet. */
CV_EXPORT CV_MUST_CHECK int cv_save_octets(struct cv_save *save, struct cv_str *octets_r, struct cv_err *err);
CV_EXPORT uint16_t cv_save_flags(const struct cv_save *save);
CV_EXPORT const struct cv_str *cv_save_keywords(const struct cv_save *save, size_t *count_r);
CV_EXPORT void cv_save_set_flags(struct cv_save *save, uint16_t flags);
CV_EXPORT CV_MUST_CHECK int cv_save_add_keyword(struct cv_save *save, struct cv_str keyword, struct cv_err *err);

/* ---- Delivery -------------------------------------------------------------------------------------- */

/* A recipient of a message that is still to come (hook recipient). */
struct cv_recipient {
	struct cv_str address;       /* as given in RCPT, without <> */
	struct cv_str detail;        /* behind recipient_delimiter; absent when none */
	struct cv_str reverse_path;  /* without <> */
	struct cv_str session;       /* session id, for logs */
	struct cv_str mailbox;       /* where it would go, UTF-8: "INBOX", or the detail with lmtp_save_to_detail_mailbox */
	uint64_t size;               /* octets as the client says (RFC 1870), 0: it does not */
};

struct cv_delivery {
	struct cv_str octets;        /* the message as received */
	struct cv_str reverse_path;  /* without <> */
	struct cv_str recipient;     /* final address */
	struct cv_str detail;        /* behind recipient_delimiter; absent when none */
	struct cv_str session;       /* session id, for logs */
	struct cv_str mailbox;       /* target, UTF-8: "INBOX" unless changed by a hook; after delivery the first one that it went to, until done has returned */
	uint16_t flags;
	uint32_t uid;                /* after delivery, 0 when a hook filed it elsewhere or a filter filed it nowhere */
	struct cv_str header;        /* fields that are saved in front of octets (Return-Path, Delivered-To, Received); absent: none */
};
/* Hooks (delivery, message_save), filters (filter.h), save, commit. done is called when it is durable. Falls back to INBOX when the target cannot be made. */
CV_EXPORT CV_MUST_CHECK int cv_deliver(struct cv_user *user, struct cv_delivery *delivery, cv_commit_fn *done, void *ctx,
	struct cv_err *err);

/* ---- Journal subscribers ----------------------------------------------------------------------------- */

/* One change as subscribers and the committed hook see it. Views are borrowed. */
struct cv_change {
	enum cv_change_kind {
		CV_CHANGE_CREATE = 1, CV_CHANGE_RENAME, CV_CHANGE_DELETE, CV_CHANGE_SUBSCRIBE, CV_CHANGE_ANNOTATE,
		CV_CHANGE_APPEND, CV_CHANGE_FLAGS, CV_CHANGE_EXPUNGE, CV_CHANGE_COPY,
		CV_CHANGE_NOTE        /* an annotation of a message; those that a message has from APPEND or COPY on follow that */
	} kind;
	uint64_t modseq;
	uint8_t mailbox_guid[16];
	struct cv_str name, new_name; /* mailbox name; RENAME: both; SUBSCRIBE: new_name "1" or "0"; ANNOTATE: name of the entry and value,
	                                 absent: removed; mailbox_guid of zeros: of the user */
	uint32_t uid;                 /* APPEND, FLAGS, EXPUNGE, COPY (new uid), NOTE */
	uint16_t flags;               /* after the change */
	uint64_t size;
	uint8_t guid[16];             /* of the message */
	uint16_t old_flags;           /* FLAGS, EXPUNGE: before the change */
	struct cv_str note, note_value; /* NOTE: entry, and value, absent: removed */
	bool note_private;
};
/* Gets every record in order, at least once, from its own durable cursor: after a crash it goes on where it was, and may get the last records again.
   It is never behind what a client was told, but may be later: a slice is told each time the loop comes round, and only what can't be taken back by a
   failing disk. name (letters, digits, dash) is the cursor's file too: a new name is a new subscriber. What a handler keeps should be on disk when
   it returns, or be made again after a crash: the cursor may be. */
enum cv_subscriber_reset {
	CV_SUBSCRIBER_NEW = 1, /* it has no cursor yet */
	CV_SUBSCRIBER_LOST     /* records it has not seen were dropped (mail_journal_subscriber_keep) or damaged, or the cursor was */
};
struct cv_subscriber {
	const char *name;
	/* Once for each opening of the user, after the user_open hooks; -1 is tried again, later and later. May be NULL. */
	int (*open)(struct cv_user *user, void **ctx_r, struct cv_err *err);
	/* The changes of one record, or some of them when it has many: then the next ones come in the next call. modseq tells records apart. Names of
	   mailboxes are those of now, absent when the mailbox is gone. -1: these are told again, later and later (1 s to 5 min). */
	int (*record)(void *ctx, const struct cv_change *changes, size_t count, struct cv_err *err);
	/* Before the user_close hooks. May be NULL. */
	void (*close)(void *ctx);
	/* What the subscriber has derived so far is not the whole: it has to look at the mailboxes as they are, now or step by step. Records follow from
	   the oldest that is still there, so some will be of changes that it has found already. -1 is tried again. May be NULL. */
	int (*reset)(void *ctx, enum cv_subscriber_reset why, struct cv_err *err);
};
static inline int cv_provide_subscriber(struct cv_registry *reg, const struct cv_subscriber *subscriber, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_SUBSCRIBER, subscriber->name, subscriber, sizeof(*subscriber), err);
}

#endif
