/* SPDX-License-Identifier: MIT
   What the files of the mail store share: the user, its mailboxes, and how a change runs through them.

   A change is made in three steps. *Commit* turns a transaction into a record: its changes are applied to memory as they are encoded
   (apply.c, the same code that replays the journal). *Flush* makes it durable: the storage module's sync, one write to the journal, one
   fdatasync for all records of a loop round. *Publish* shows it: views get events, hooks and callbacks run. What is committed and not
   yet published is the logical state; views look at published rows only.

   Where things are, and which file can be lost (all in the user's index directory, INDEX=… or the mail root, "culver-index/"):
     lock, lease     one owner (lease.h); lock also tells an index that is a copy.
     fs-test         that the file system was tried (selftest.h).
     journal.*       all changes since the older of the two snapshots of each mailbox and the older state.
     state, .old     tree of mailboxes, subscriptions, UIDVALIDITY, UIDNEXT, counts, annotations, as of a sequence number. One lost: the other and the
                     journal give the same. Both lost: names, UIDs and annotations of mailboxes come from the snapshots, the journal and the storage
                     module; of the user's own annotations those that the journal still has.
     box.<guid>, .old  a mailbox's columns with flags and keywords, as of a sequence number. One lost: the other and the journal give the
                     same. Both lost: what the journal has, and the storage's scan; flags older than the journal are gone then.
     cache.<guid>    parse records. Lost: messages are parsed again when asked for.
   The journal lost: what was changed since the last snapshots and state (they are written when the user is closed) is gone; messages come
   back through the storage's scan with the UIDs they had.
   Files that do not check are renamed to "<name>.damaged-<time>", never removed. */
#ifndef CV_STORE_PRIVATE_H
#define CV_STORE_PRIVATE_H

#include "core/store/columns.h"
#include "core/store/journal.h"
#include "core/store/lease.h"
#include "core/store/memo.h"
#include "core/store/record.h"
#include "core/store/snapshot.h"
#include "core/store/store-settings.h"
#include "core/store/texts.h"
#include "core/store/view-uids.h"
#include <culver/hooks.h>
#include <culver/log.h>
#include <culver/mailbox.h>
#include <culver/map.h>
#include <culver/note.h>
#include <culver/searchindex.h>
#include <culver/time.h>
#include <culver/transform.h>

#define CV_INDEX_DIR "culver-index"
#define CV_UNKNOWN_UID UINT32_MAX
#define CV_VANISHED_MAX 8192

/* ---- Keywords (keywords.c) -------------------------------------------------------------------------- */

/* A set of keywords of one mailbox; set 0 is empty. names: count views into the table, and an absent one. */
struct cv_keyword_set {
	uint32_t *ids; /* ascending */
	size_t count;
	struct cv_str *names;
};
struct cv_keywords {
	CV_VEC(struct cv_str) names; /* octets owned */
	struct cv_map *by_name;      /* lower case to index + 1 */
	CV_VEC(struct cv_keyword_set) sets;
	struct cv_map *by_ids;       /* ids to index + 1 */
};
void cv_keywords_init(struct cv_keywords *keywords);
void cv_keywords_deinit(struct cv_keywords *keywords);
/* The number of a name, made when make. False when it is not there. */
bool cv_keyword_id(struct cv_keywords *keywords, struct cv_str name, bool make, uint32_t *id_r);
/* Set of these ids (any order, repeated ones are fine). */
uint32_t cv_keyword_set_of(struct cv_keywords *keywords, const uint32_t *ids, size_t count);
uint32_t cv_keyword_set_names(struct cv_keywords *keywords, const struct cv_str *names, size_t count);
/* Set from an encoded list of names (record.h), and back. */
uint32_t cv_keyword_set_decode(struct cv_keywords *keywords, struct cv_str list);
void cv_keyword_set_encode(const struct cv_keywords *keywords, uint32_t set, struct cv_buf *out);
/* Names and sets as a snapshot has them, added in their order. Count of sets (with the empty one) when their numbers are the same here, else 0:
   then (*map_r)[i] is the number here of set i, to be freed. */
uint32_t cv_keywords_adopt(struct cv_keywords *keywords, const struct cv_snapshot_head *head, uint32_t **map_r);
uint32_t cv_keyword_set_change(struct cv_keywords *keywords, uint32_t set, enum cv_flags_op op, const uint32_t *ids, size_t count);

/* ---- Annotations (annotation.c) ------------------------------------------------------------------------ */

/* Module's entry: words of special uses that were set, instead of those of the settings. */
#define CV_ANNOTATION_SPECIAL_USE "special-use"

struct cv_stored_annotation {
	char *octets; /* owned: name, value */
	size_t name_len, value_len;
};
/* Those of one mailbox or of the user, by name without case. */
struct cv_annotations {
	CV_VEC(struct cv_stored_annotation) list;
	size_t public_count; /* of them what clients see */
	uint64_t *total;     /* octets of names and values of all of the user's lists */
	uint64_t seq;        /* sequence number of the last change, or of the snapshot they come from */
};
/* value absent: removed. */
void cv_annotations_set(struct cv_annotations *list, struct cv_str name, struct cv_str value);
void cv_annotations_clear(struct cv_annotations *list);
/* u32 count, and for each str name, str value. */
void cv_annotations_put(struct cv_buf *out, const struct cv_annotations *list);
/* Step over what put has written; false when it makes no sense. */
CV_MUST_CHECK bool cv_annotations_skip(struct cv_reader *r, struct cv_str *octets_r);
/* The list becomes what put has written. */
CV_MUST_CHECK bool cv_annotations_take(struct cv_reader *r, struct cv_annotations *list);
/* Does it change any? What was committed before has to be published first, so that limits are of that. */
bool cv_txn_annotates(const struct cv_txn *txn);
/* Can the transaction be committed as far as limits go? */
CV_MUST_CHECK int cv_annotations_check(struct cv_txn *txn, struct cv_err *err);
void cv_annotations_apply(struct cv_user *user, uint64_t seq, const struct cv_entry *entry);
/* What they say of the mailbox itself: its special use. */
void cv_annotations_use(struct cv_mailbox *mailbox);
/* A published transaction: those who watch. */
void cv_annotations_tell(struct cv_txn *txn);
/* The owner of an ANNOTATE entry is the user, no mailbox. */
bool cv_guid_is_user(const struct cv_guid *guid);

/* ---- Mailboxes --------------------------------------------------------------------------------------- */

/* A name in the tree that has a mailbox, is subscribed, or both. Parents that are neither are made up when listing. */
struct cv_name {
	char *text; /* owned, UTF-8, NUL-terminated */
	size_t len;
	bool subscribed;
	struct cv_mailbox *mailbox; /* owned; NULL: none */
};

/* Something that views have to be told. */
struct cv_store_event {
	enum cv_view_event_kind kind; /* EXPUNGE, FLAGS, NOTES */
	struct cv_ranges uids;        /* exactly those concerned */
	char *names;                  /* NOTES: names of entries, a str each; owned */
	size_t names_len;
	uint64_t modseq, txn;
};

/* Changes of one mailbox, oldest first. Numbered from first; kept while a view has not taken them. */
struct cv_event_log {
	CV_VEC(struct cv_store_event) events;
	uint64_t first;
};

/* Counts, exact without the columns. */
struct cv_counts {
	uint32_t messages, unseen, deleted, recent;
	uint64_t size;
	uint32_t first_unseen; /* UID; 0: none; CV_UNKNOWN_UID: has to be looked for */
	uint64_t notes;        /* octets of messages' annotations, packed (note.h) */
	bool notes_unknown;    /* unless the columns say so: a crash, or a state of an older format, came between */
};

/* One record behind the snapshot that concerns a mailbox. */
struct cv_behind {
	uint64_t seq;
	struct cv_journal_pos pos;
	uint32_t len;            /* octets; 0 while it is being made */
};

/* A record that asks something of the storage module. */
struct cv_work {
	uint64_t seq;
	struct cv_journal_pos pos;
	int64_t not_before_ms;   /* since 1970: its octets wait for the undelete time; 0: for nothing that is known */
	bool done;               /* it was done, and a power cut may undo it */
};

/* Where the work of a record goes on. */
struct cv_work_at {
	uint64_t seq;            /* 0: none */
	struct cv_buf buf;       /* the views below point into it */
	struct cv_reader entries;
	bool in_entry;
	struct cv_entry entry;
	struct cv_reader groups, refs; /* EXPUNGE: of the entry, and of the group */
};

/* A record with messages whose files are to be made. */
struct cv_owed {
	uint64_t seq;
	struct cv_journal_pos pos;
	uint32_t octets;         /* of messages that it has */
	bool again;              /* some of them may have been made before */
	bool copies;             /* not all of them are messages whose octets it has; or that is not known */
	bool lost;               /* it can't be read any more, and that was told */
};

/* UIDs that were expunged by one record. */
struct cv_vanished {
	uint64_t modseq;
	uint32_t first, last;
};

/* What of a mailbox is known without its columns. */
struct cv_mailbox_numbers {
	struct cv_counts counts;
	uint32_t uidnext, first_recent;
	uint64_t highest_modseq, vanished_from;
};

struct cv_mailbox {
	struct cv_user *user;
	struct cv_name *name;    /* NULL once it is gone */
	char *last_name;         /* owned; what it was called when it went */
	struct cv_guid guid;
	uint32_t uidvalidity;
	uint32_t uidnext;        /* of the logical state; provisional UIDs are not counted */
	uint32_t uid_reserved;   /* next provisional UID, >= uidnext */
	uint32_t special_use;
	struct cv_annotations annotations;
	uint64_t highest_modseq;
	uint32_t first_recent;   /* messages from this UID on are recent to who selects next */
	struct cv_counts counts;
	struct cv_mailbox_numbers base; /* as of the user's state_seq */
	int refs;
	bool gone;               /* deleted */
	bool needs_scan;         /* storage has to be looked through before the columns can be trusted */
	bool take_over;          /* its folder may have messages that no record names yet */
	bool has_folder;         /* it was made since the opening */
	bool refreshing, refresh_again; /* refresh.c */
	uint64_t no_room_until_ms; /* the disk is full: it is not compared again before; 0: it is not */
	int uids_held;           /* messages that have their UIDs in transactions that are not committed */
	bool rewrite;            /* the snapshot was damaged: a new one is due */
	bool mending;            /* columns are made a second time to mend the first ones */
	uint32_t dirty;          /* messages changed since the snapshot in what no row's record tells (cache offsets, checksums, annotations) */

	struct cv_columns *columns; /* NULL: not loaded */
	struct cv_keywords keywords;
	uint64_t snapshot_seq;   /* the newest snapshot has all up to here; 0: none */
	uint64_t older_seq;      /* the older one */
	uint64_t older_need;     /* the first record that the older one does not have; 0: it has all */
	uint64_t snapshot_size;  /* octets */
	uint64_t behind_octets;  /* of records since the snapshot */
	CV_VEC(struct cv_behind) behind; /* all records above snapshot_seq that concern rows, ascending */

	/* Recent expunges, for cv_view_vanished: complete for modseq above vanished_from. */
	CV_VEC(struct cv_vanished) vanished;
	uint64_t vanished_from;

	struct cv_node views;
	struct cv_event_log log;
	uint32_t published_uidnext;
	uint64_t published_modseq;
	size_t published_keywords;
	uint64_t applied_seq;    /* last record applied to memory */
	uint32_t owed_from;      /* lowest UID whose file may be owed, as long as any is; 0: none */
	int open_mails;          /* octets of expunged messages stay while this is not 0 */

	struct cv_cache *cache;  /* NULL: not open */
	bool stamp_known;
	uint64_t stamp[4];       /* EXTERNAL storage: as of the last refresh */
	void *watch;
	struct cv_log_ctx log_ctx;
};

struct cv_view {
	struct cv_node node;     /* in mailbox->views */
	struct cv_mailbox *mailbox;
	unsigned opts;
	struct cv_view_uids uids;
	uint32_t last_uid;       /* messages up to here were looked at */
	struct cv_ranges recent;
	uint64_t cursor;         /* number of the next event in the mailbox's log */
	size_t seen_keywords;
	uint64_t highest_modseq;
	struct cv_ranges pending_expunges;
	uint64_t pending_modseq; /* the lowest modseq of these */
	struct cv_ranges changed; /* messages with new flags since the view was saved: told with the next sync (view-save.c) */
	bool gone_told;
	void (*notify)(void *ctx);
	void *notify_ctx;
	bool notify_due, notified;
};

/* Which directory a path led to. */
struct cv_place {
	dev_t dev;
	ino_t ino;
};

/* ---- Transactions ------------------------------------------------------------------------------------- */

enum cv_op_kind { CV_OP_TXN_FLAGS = 1, CV_OP_TXN_EXPUNGE, CV_OP_TXN_COPY, CV_OP_TXN_SAVE, CV_OP_TXN_ENTRY, CV_OP_TXN_NOTES };

struct cv_copied {
	uint32_t from_uid, to_uid;
	struct cv_guid guid;
	struct cv_str ref;       /* in the transaction's arena */
	bool marked;             /* hooks changed flags or keywords: these, not those of the source */
	uint16_t flags;
	struct cv_str keywords;  /* encoded, in the transaction's arena */
};

struct cv_op {
	enum cv_op_kind kind;
	struct cv_mailbox *mailbox; /* counted; target of COPY */
	struct cv_mailbox *from;    /* COPY: counted */
	struct cv_ranges uids;      /* FLAGS, EXPUNGE, NOTES */
	enum cv_flags_op flags_op;
	uint16_t flags;
	struct cv_str *keywords;
	size_t keyword_count;
	bool unchanged_since_set;
	uint64_t unchanged_since;
	struct cv_flags_change change; /* FLAGS: the whole, for hooks */
	struct cv_str notes;        /* NOTES: changes as in an entry, in the transaction's arena */
	struct cv_notes_change notes_change; /* NOTES: the whole, for hooks */
	bool move;
	bool later;                 /* COPY: recorded first, made afterwards */
	unsigned rights;            /* COPY: which flags and annotations go along */
	CV_VEC(struct cv_copied) copied;
	struct cv_save *save;
	uint64_t losses;            /* user->storage_losses when its octets went into the storage */
	struct cv_entry entry;      /* ENTRY: as it is; strings in the transaction's arena */
};

struct cv_txn_event {
	struct cv_mailbox *mailbox; /* counted */
	struct cv_store_event event;
};

struct cv_txn {
	struct cv_node node;        /* in user->queue once committed */
	struct cv_user *user;
	struct cv_arena *arena;
	uint64_t id;
	CV_VEC(struct cv_op) ops;
	struct cv_node saves;       /* begun, not finished */
	bool failed;                /* an operation failed: it cannot be committed */
	struct cv_err failure;
	bool internal;              /* made by the store itself: no commit hook, nobody's rights */
	bool trusted;               /* nobody's rights */
	bool asked;
	struct cv_guid asked_of;    /* the mailbox that rights are of */
	unsigned rights;
	bool from_storage;          /* it says what the storage has done already: leaves no work to it */
	/* once committed */
	uint64_t seq;
	struct cv_journal_pos pos;
	cv_commit_fn *done;
	void *done_ctx;
	bool has_storage_work, owes, copies; /* owes files; some of them as copies */
	uint32_t octets;             /* of messages whose files it owes */
	CV_VEC(struct cv_txn_event) events;
	CV_VEC(struct cv_mailbox *) touched; /* counted */
	CV_VEC(unsigned) touched_kinds; /* enum cv_mail_event_kind, of each of these */
	int *result_r;              /* commit_wait: where the result goes */
	struct cv_err *err_r;
};

/* ---- User --------------------------------------------------------------------------------------------- */

struct cv_user {
	char *username, *home, *protocol;
	char **fields;
	uint32_t sysuid, sysgid;
	const struct cv_conf *conf;
	const struct cv_registry *registry;
	struct cv_loop *loop;
	void **slots;
	size_t slot_count;
	struct cv_arena *arena;
	struct cv_log_ctx log_ctx;
	const struct cv_store_settings *set;
	const struct cv_mailbox_settings *const *mailbox_sets; /* NULL-terminated */

	const struct cv_storage *storage;
	struct cv_storage_args storage_args;
	void *st;
	bool external;

	int index_dir;
	const char *index_path;         /* of index_dir; in arena */
	struct cv_place index_place, root_place; /* of index_dir, and of where the storage is */
	int lock_fd;
	struct cv_lease lease;
	bool lost;                      /* it is another server's now, or its directory was removed or moved: nothing is read, written or acknowledged any more */
	struct cv_err lost_why;
	uint64_t looked_ms;             /* when its directory was looked for last */
	struct cv_timer *lease_timer;
	void (*on_lost)(void *ctx, const struct cv_err *err);
	void *lost_ctx;
	struct cv_journal journal;
	uint64_t state_seq, older_state_seq;
	bool state_is_old;              /* there is no good newer state: the older one, if any, is what state_seq tells */
	bool state_dirty;               /* numbers changed that no record tells */
	bool adopt_folders;             /* folders that no mailbox has may hold lost ones */
	bool folders_known, syncing_folders;
	uint64_t folders_stamp[4];      /* EXTERNAL storage: as of when the folders were last looked through */
	bool recovering;                /* the user is being opened: no checkpoint begins by itself */
	uint64_t published_seq;
	uint64_t behind_records;        /* published after state_seq; numbers have gaps */
	uint64_t generation;            /* counts how often memory was read anew */
	uint64_t replayed;              /* records read when the user was opened, and mailboxes loaded */
	uint32_t last_uidvalidity;
	struct cv_checkpoint *checkpoint; /* NULL: none is running */
	bool checkpoint_running;        /* a slice of it, just now */
	bool checkpoint_due;            /* its timer is set to begin one */
	uint64_t checkpoint_retry_ms;   /* after a failure: not before this time of the monotonic clock */

	struct cv_annotations annotations; /* of the user */
	uint64_t annotation_octets;     /* of all lists */
	struct cv_node annotation_watches;
	uint32_t state_version;         /* of the state file that was read or written last; 0: none */

	CV_VEC(struct cv_name *) names; /* sorted, INBOX first */
	struct cv_map *names_by_text;   /* struct cv_name */
	struct cv_map *mailboxes;       /* by guid */
	CV_VEC(struct cv_mailbox_info) list;
	struct cv_arena *list_arena;
	bool list_valid;

	uint64_t next_txn;
	CV_VEC(struct cv_view *) views;  /* all open ones */
	struct cv_node watches;          /* struct cv_mail_watch */
	struct cv_node queue;           /* committed transactions, not yet flushed */
	bool queue_needs_sync, queue_needs_storage_sync;
	bool queue_frees;               /* some of it gives room back */
	bool numbers_kept;              /* a record on disk has a number that was given since the opening, or since a failed write */
	uint64_t storage_losses;        /* syncs of the storage that failed: what was saved before them is never recorded */
	uint64_t queue_losses;          /* the same, when the first message of the queue was committed */
	bool broken;                    /* memory and journal may differ and could not be read anew yet: nothing is read or changed until they could */
	bool rereading;
	struct cv_timer *flush_timer, *sync_timer, *notify_timer, *usable_timer, *work_timer, *refresh_timer, *checkpoint_timer, *subscriber_timer;
	bool notify_pending;
	bool closing;
	bool fsck_running;
	bool mending;                   /* cv_user_mend_journal */
	uint64_t cache_retry_ms;        /* there was no room for a parse record: none is written before; 0: there was */
	size_t memo_octets[CV_MEMO_SORTS]; /* of all mailboxes (memo.h) */
	struct cv_mail *spare_mail;     /* closed, its memory is kept for the next one; NULL: none */
	const struct cv_transform *transforms[CV_TRANSFORMS_MAX]; /* by stage */
	size_t transform_count;
	struct cv_landed *landed;       /* landing-restore.c; NULL: no file was missing or damaged lately */
	uint64_t renew_retry_ms;        /* a file could not be made anew: none is tried before; 0: it could */
	struct cv_texts texts;          /* texts.h */
	struct cv_map *unreadable;      /* messages of which the log has told that they can't be read; NULL: none */
	struct cv_user_index *indexes;  /* search-index.c; NULL: not asked for yet, or none */
	size_t index_count;
	bool indexes_known;
	struct cv_last_source *last_source; /* a transformed message that was read last, for who reads on in it; NULL: none */

	/* Records with messages whose files are to be made (owed.c), oldest first; owed_made of them are made, and a power cut may undo it. */
	CV_VEC(struct cv_owed) owed;
	size_t owed_octets;             /* of messages, in all of them */
	size_t owed_made;
	bool owed_open;                 /* the record behind these is in owed_buf, and the reader in its entries */
	struct cv_buf owed_buf;
	struct cv_reader owed_reader;
	size_t owed_landed;             /* messages of these whose octets they have, and that were made */
	bool owed_running, owed_unsettled; /* unsettled: a sync failed while it ran */
	bool owed_queued;               /* a committed transaction that is not published owes some */
	uint64_t owed_settled;          /* what records up to this one owed is on disk, and neither a record nor the state says so; 0: nothing new */
	uint64_t owed_settle_ms;        /* when what was made is synced; 0: nothing was */
	struct cv_landing *landing;     /* files that are made beside the loop, of the first records in owed; NULL: none are */
	size_t held_octets;             /* of messages in memory that will go into the journal */

	/* Records whose storage work (making, copying and removing octets, mirroring flags, folders) is still to be done or may not be on disk yet, oldest first. */
	CV_VEC(struct cv_work) work;
	size_t work_due;                /* of them not done at all */
	struct cv_work_at work_at;
	bool work_running;
	bool work_failed;               /* the last try; it is tried again later */
	bool work_timed;                /* its timer is set for the next round */
	bool folders_behind;            /* folders could not be moved yet: messages are not looked for before that */
	uint64_t work_seq;              /* all records up to here are done */

	struct cv_subscription *subscriptions;
	size_t subscription_count;
	bool subscribers_started, subscribers_running, subscribers_kicked;
	bool subscribers_pending;       /* one has more to be told at once */
	bool subscribers_uncertain;     /* one waits for flag changes that are not on disk */
	uint64_t subscribers_synced_ms;
	struct cv_usage usage;          /* of all mailboxes together; only as long as usage_known */
	bool usage_known;
	bool notes_known;               /* no mailbox has counts.notes_unknown */
	bool committed_hook, save_hook, access_hook; /* some module wants to know, to look at messages, to take rights away */
};

/* ---- Rights (access.c) ----------------------------------------------------------------------------------- */

/* Names as the tree has them. 1 when who acts has all of needed, else -1: NOTFOUND or PERM by what it has. */
CV_MUST_CHECK int cv_access_check(struct cv_user *user, struct cv_str name, unsigned needed, struct cv_err *err);
/* The error of a missing right; -1. */
int cv_access_missing(unsigned has, struct cv_err *err);
/* The name is in use: -1 with EXISTS and this text, or PERM when who acts may not know. */
int cv_access_taken(struct cv_user *user, struct cv_str name, const char *text, struct cv_err *err);
/* May a mailbox be made of this name? */
CV_MUST_CHECK int cv_access_create(struct cv_user *user, struct cv_str name, struct cv_err *err);
/* Is there a name below it that who acts may know of? */
bool cv_access_sees_below(struct cv_user *user, struct cv_str name);
/* What who acts may change in the transaction. */
CV_MUST_CHECK int cv_txn_rights(struct cv_txn *txn, struct cv_mailbox *mailbox, unsigned *rights_r, struct cv_err *err);
/* The same, all of needed among it. */
CV_MUST_CHECK int cv_txn_may(struct cv_txn *txn, struct cv_mailbox *mailbox, unsigned needed, unsigned *rights_r, struct cv_err *err);

/* ---- Tree (tree.c) ------------------------------------------------------------------------------------- */

/* The name as it is kept: "inbox" as first level in any case is INBOX. In arena when it has to be changed. */
struct cv_str cv_tree_canonical(struct cv_arena *arena, struct cv_str name);
/* The order of names: INBOX and what is below it first, parents before children, these before other names. */
int cv_tree_compare(struct cv_str a, struct cv_str b);
struct cv_name *cv_tree_find(const struct cv_user *user, struct cv_str name);
/* The name, made when it is not there. */
struct cv_name *cv_tree_add(struct cv_user *user, struct cv_str name);
/* Remove the name when it has neither mailbox nor subscription. */
void cv_tree_prune(struct cv_user *user, struct cv_name *name);
/* Rename from and all names below it. Subscriptions stay with the old names (RFC 3501 section 6.3.9 leaves them alone). */
void cv_tree_rename(struct cv_user *user, struct cv_str from, struct cv_str to);
/* First index of a name below (not at) prefix, and the one behind the last. */
void cv_tree_below(const struct cv_user *user, struct cv_str prefix, size_t *first_r, size_t *end_r);
bool cv_tree_has(const struct cv_user *user, struct cv_str name); /* also made-up parents */
void cv_tree_free(struct cv_user *user);
uint32_t cv_user_new_uidvalidity(struct cv_user *user);
/* INBOX and what settings ask for. */
CV_MUST_CHECK int cv_user_make_mailboxes(struct cv_user *user, struct cv_err *err);
/* Can this be a mailbox's name? -1 with a public err. */
CV_MUST_CHECK int cv_mailbox_name_ok(struct cv_user *user, struct cv_str name, struct cv_err *err);
static inline struct cv_str cv_name_str(const struct cv_name *name)
{
	return cv_str_mem(name->text, name->len);
}

/* ---- Mailboxes (mailbox.c) ----------------------------------------------------------------------------- */

struct cv_mailbox *cv_mailbox_new(struct cv_user *user, const struct cv_guid *guid);
void cv_mailbox_free(struct cv_mailbox *mailbox);
struct cv_mailbox *cv_mailbox_by_guid(const struct cv_user *user, const struct cv_guid *guid);
void cv_mailbox_ref(struct cv_mailbox *mailbox);
/* The name is gone: views are told at the next publish. Freed when no one holds it. */
void cv_mailbox_detach(struct cv_mailbox *mailbox);
/* Columns in memory and in step with the journal. */
CV_MUST_CHECK int cv_mailbox_load(struct cv_mailbox *mailbox, struct cv_err *err);
/* Forget the columns; they are read anew at the next load. */
void cv_mailbox_unload(struct cv_mailbox *mailbox);
struct cv_mailbox_ref cv_mailbox_storage_ref(const struct cv_mailbox *mailbox);
/* The next UID, reserved for a transaction. LIMIT when there are no more. */
CV_MUST_CHECK int cv_mailbox_take_uid(struct cv_mailbox *mailbox, uint32_t *uid_r, struct cv_err *err);
/* UID of the first message without \Seen, 0 when there is none; loads the columns only when it has to. */
CV_MUST_CHECK int cv_mailbox_first_unseen(struct cv_mailbox *mailbox, uint32_t *uid_r, struct cv_err *err);

/* ---- Applying records (apply.c) ------------------------------------------------------------------------- */

enum cv_apply {
	CV_APPLY_TREE = 1,   /* names, subscriptions */
	CV_APPLY_COUNTS = 2, /* counts, UIDNEXT, highest modseq */
	CV_APPLY_ROWS = 4,   /* columns of loaded mailboxes */
	CV_APPLY_NOTE = 8,   /* remember the record as behind the snapshot */
};
/* parse_at: where in the segment the checksum of the entry's parse record is. -1 only for octets that make no sense. */
CV_MUST_CHECK int cv_apply_entry(struct cv_user *user, const struct cv_record_head *head, struct cv_journal_pos pos,
	const struct cv_entry *entry, uint64_t parse_at, unsigned what, struct cv_err *err);
/* All entries of a record as read from the journal. */
CV_MUST_CHECK int cv_apply_record(struct cv_user *user, const struct cv_record_head *head, struct cv_journal_pos pos,
	struct cv_str entries, unsigned what, struct cv_err *err);
/* The rows of one mailbox only. */
CV_MUST_CHECK int cv_apply_rows(struct cv_mailbox *mailbox, const struct cv_record_head *head, struct cv_journal_pos pos,
	struct cv_str entries, struct cv_err *err);
/* Does it change rows of the mailbox? */
bool cv_record_concerns(struct cv_str entries, const struct cv_guid *guid);
/* Does the record leave work for the storage module? */
bool cv_record_has_work(const struct cv_user *user, struct cv_str entries);

/* ---- Transactions (txn.c, commit.c, flush.c) ------------------------------------------------------------------ */

struct cv_op *cv_txn_add(struct cv_txn *txn, enum cv_op_kind kind, struct cv_mailbox *mailbox);
/* An entry as it is; its strings must be in txn->arena. */
void cv_txn_add_entry(struct cv_txn *txn, const struct cv_entry *entry);
void cv_txn_free(struct cv_txn *txn);
/* Can the mailbox be changed? Its columns are there then. */
CV_MUST_CHECK int cv_txn_usable(struct cv_txn *txn, struct cv_mailbox *mailbox, struct cv_err *err);
/* The transaction can't be committed any more; -1. */
int cv_txn_fail(struct cv_txn *txn, const struct cv_err *err);
/* Of these UIDs, those that are there and pass the operation's test of UNCHANGEDSINCE go into it; failed and gone may be NULL. */
void cv_txn_take_uids(struct cv_op *op, const struct cv_ranges *uids, struct cv_ranges *failed, struct cv_ranges *gone);
/* The storage's sync: when it fails, no message that was saved before is recorded. */
CV_MUST_CHECK int cv_user_storage_sync(struct cv_user *user, struct cv_err *err);
/* Make everything committed durable and show it. Errors go to the transactions. Nothing to do: fine. */
void cv_user_flush(struct cv_user *user);
/* Is there something committed that is not published yet? */
bool cv_user_unpublished(const struct cv_user *user);
/* Memory says something of the mailbox that is not durable yet, and may be refused still. */
bool cv_mailbox_is_ahead(const struct cv_mailbox *mailbox);
/* Until it does not: what was committed goes to disk, and what is refused is read anew; but who is told of a change may make the next one. False: that does not
   end. The mailbox may be gone then, and its columns not loaded. */
bool cv_mailbox_catch_up(struct cv_mailbox *mailbox);
/* Records without a transaction of its own (lazily durable): recent marks. */
CV_MUST_CHECK int cv_commit_lazy(struct cv_user *user, const struct cv_entry *entry, struct cv_err *err);
/* Is it still ours? Where a lease says so, it is read: 1; -1 with INUSE when it is not (then the user is lost), with others when that can't be known. */
CV_MUST_CHECK int cv_user_owned(struct cv_user *user, struct cv_err *err);
/* Only what is seen without the lease: was the index directory removed under us? Looked at once a second. Then the user is lost too: -1 with UNAVAILABLE. */
CV_MUST_CHECK int cv_user_is_there(struct cv_user *user, struct cv_err *err);
/* Nothing is acknowledged any more, the sessions end, and the next opening finds out what there is. Told once. */
void cv_user_lose(struct cv_user *user, const struct cv_err *why);
/* After a failed write memory becomes what the journal says, at once or, while that fails too, when it is asked for again: 1, or -1 (UNAVAILABLE).
   Where neither segments nor copies have all of that the user is lost. */
CV_MUST_CHECK int cv_user_usable(struct cv_user *user, struct cv_err *err);
void cv_commit_init(struct cv_user *user);
void cv_commit_deinit(struct cv_user *user);

/* ---- Annotations of messages (note-change.c; note.h has their form) ---------------------------------------------- */

/* May who acts make these changes, can they be? In the form of an entry, in the transaction's arena. */
CV_MUST_CHECK int cv_notes_ask(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_note *notes, size_t count, struct cv_str *changes_r,
	struct cv_err *err);
/* Can the operation be done as far as limits go? LIMIT when not. Columns must be loaded. */
CV_MUST_CHECK int cv_notes_check(const struct cv_op *op, struct cv_err *err);
/* NOTES: the messages that it changes. */
void cv_notes_changed(const struct cv_op *op, struct cv_ranges *uids_r);
/* COPY: what goes along with a message, appended to changes. */
void cv_notes_copied(const struct cv_op *op, uint32_t uid, struct cv_buf *changes);
/* The entries that changes name, a str each. */
struct cv_str cv_notes_names(struct cv_arena *arena, struct cv_str changes);

/* ---- Views (view.c) ------------------------------------------------------------------------------------- */

/* A published change: goes to the mailbox's log (ranges and names are taken over), views that can be told are marked. */
void cv_view_publish(struct cv_mailbox *mailbox, struct cv_store_event *event);
/* The mailbox has published rows, or is gone: its views are marked. */
void cv_view_mark(struct cv_mailbox *mailbox);
/* Call the marked views' functions. */
void cv_view_run_notify(struct cv_user *user);
/* True with its row in the columns, which may have been expunged; false when there are none. */
bool cv_view_find_row(const struct cv_view *view, uint32_t seq, uint32_t *row_r);
/* Its row, when what happened to it is durable. -1: there is none; 0: that of an expunged message; 1. */
int cv_view_find_durable(const struct cv_view *view, uint32_t seq, uint32_t *uid_r, uint32_t *row_r);
/* A view that was made becomes one of its mailbox's; from here on events are for it. */
void cv_view_attach(struct cv_view *view);

/* ---- Watches (watch.c) ----------------------------------------------------------------------------------- */

/* What an entry means for who watches mailboxes; 0: nothing. */
unsigned cv_mail_watch_kind(enum cv_entry_kind kind);
/* Tell of a transaction whose changes are in memory for all to see. */
void cv_mail_watch_published(const struct cv_txn *txn);
void cv_mail_watch_tell(struct cv_user *user, const struct cv_mail_event *event);

/* Octets of a message: short ones read, longer and transformed ones behind a source until they are wanted whole. Nothing is mapped: a file that is cut while it
   is read would end the process. { 0 } is none. */
struct cv_octets {
	struct cv_buf buf;
	void *map;                   /* memory for what is whole */
	size_t map_len;
	struct cv_str view;
	bool loaded;                 /* view is set */
	bool transformed;
	struct cv_message_reader *reader; /* of what is not loaded, or of view when it was asked for */
};

/* ---- Saving (save.c) -------------------------------------------------------------------------------------- */

struct cv_save {
	struct cv_node node;
	struct cv_txn *txn;
	struct cv_mailbox *mailbox;  /* counted */
	void *st_save;               /* NULL: held, finished or ended */
	bool held;                   /* its octets go into the journal */
	struct cv_buf stored;        /* held: as they are stored */
	struct cv_arena *arena;
	struct cv_mime_parser *parser;
	struct cv_buf record;
	struct cv_entry_message message;
	CV_VEC(struct cv_str) keywords; /* in arena */
	struct cv_buf keywords_encoded;
	struct cv_str notes;         /* changes as in an entry, in the transaction's arena */
	char ref[CV_STORAGE_REF_MAX];
	bool delivery, finished, failed;
	/* COPY and MOVE: only as long as the hooks run. */
	struct cv_mailbox *source;   /* borrowed; NULL: a new message */
	struct cv_mail *source_mail; /* NULL: not looked at */
	bool move, marked;
	struct cv_octets octets;     /* of a new message, when a hook has asked */
	struct cv_encoding *encoding; /* NULL: octets go to the storage as they are */
};
void cv_save_free(struct cv_save *save);
/* Octets as they are stored: into memory while there is room, else to the storage module. */
CV_MUST_CHECK int cv_save_store(struct cv_save *save, struct cv_str octets, struct cv_err *err);
/* The hooks for a message that is copied: save is filled from the row of its source, meta gets the flags and keywords that rights and hooks leave. */
CV_MUST_CHECK int cv_save_copy_hooks(struct cv_txn *txn, const struct cv_op *op, uint32_t row, struct cv_storage_meta *meta,
	struct cv_copied *copied, struct cv_err *err);

/* ---- Reading (mail.c) ------------------------------------------------------------------------------------------- */

/* Free what is kept for the next message. */
void cv_mail_free_spare(struct cv_user *user);
/* A message without a view; row is its place in the columns. */
struct cv_mail *cv_mail_of_row(struct cv_mailbox *mailbox, uint32_t row);
/* The octets of a blob, as they lie there, into octets, which is empty. Of a long one the descriptor is theirs then, and the blob's -1. */
CV_MUST_CHECK int cv_octets_load(struct cv_octets *octets, struct cv_storage_blob *blob, struct cv_err *err);
/* The checksum of all octets. */
CV_MUST_CHECK int cv_octets_sum(struct cv_octets *octets, uint32_t *sum_r, struct cv_err *err);
void cv_octets_free(struct cv_octets *octets);

/* ---- Transforms (transform.c) ------------------------------------------------------------------------------------ */

/* When the user is opened: those that are loaded. */
CV_MUST_CHECK int cv_transforms_init(struct cv_user *user, struct cv_err *err);

/* A message that is saved. NULL when no transform is loaded: then octets go to the storage as they are. */
struct cv_encoding;
CV_MUST_CHECK int cv_encoding_begin(struct cv_save *save, uint64_t size_hint, struct cv_encoding **encoding_r, struct cv_err *err);
CV_MUST_CHECK int cv_encoding_write(struct cv_encoding *encoding, struct cv_str octets, struct cv_err *err);
CV_MUST_CHECK int cv_encoding_finish(struct cv_encoding *encoding, struct cv_err *err);
/* The storage's save ends without it; nothing after finish. */
void cv_encoding_abort(struct cv_encoding *encoding);

/* As cv_octets_load, but a blob that is a transform's is opened as a source (the blob's descriptor is -1 then). known_size as in cv_transform.decode. */
CV_MUST_CHECK int cv_octets_open(struct cv_user *user, struct cv_octets *octets, struct cv_storage_blob *blob, uint64_t known_size,
	struct cv_err *err);
/* The same of octets that are in memory; the buffer becomes octets' own. */
CV_MUST_CHECK int cv_octets_take(struct cv_user *user, struct cv_octets *octets, struct cv_buf *stored, uint64_t known_size, struct cv_err *err);
/* After open: all of it in memory. LIMIT for one that is too large for that. */
CV_MUST_CHECK int cv_octets_whole(struct cv_octets *octets, struct cv_err *err);
/* After open: a source of it, borrowed until the octets are freed or wanted whole. */
struct cv_message_reader *cv_octets_reader(struct cv_octets *octets);
/* Put the sources of the transforms that *reader's octets show before it: 1, 0 when there is none. *reader stays the caller's. */
CV_MUST_CHECK int cv_transform_decode(struct cv_user *user, uint64_t known_size, struct cv_message_reader **reader, struct cv_err *err);

/* ---- Search indexes (search-index.c) -------------------------------------------------------------------------------- */

/* A provider as this user's search sees it. */
struct cv_user_index {
	const struct cv_search_index *index;
	void *ctx;
};
/* Those that this user has, opened; *count_r of them. */
struct cv_user_index *cv_indexes(struct cv_user *user, size_t *count_r);
void cv_indexes_close(struct cv_user *user);

/* ---- Parse records (cache.c, cache-texts.c; cache.h has more of them) ------------------------------------------ */

/* Values of the cache column: 0 none, an offset in the mailbox's cache file, or a place in the journal. */
uint64_t cv_cache_in_journal(struct cv_journal_pos pos);
bool cv_cache_is_in_journal(uint64_t where);
/* 1 with the record in buf, 0 when there is none that checks, -1 on trouble reading. */
CV_MUST_CHECK int cv_cache_read(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_buf *buf, struct cv_err *err);
/* With what is made of it (texts.h). */
CV_MUST_CHECK int cv_cache_append(struct cv_mailbox *mailbox, uint32_t uid, struct cv_str record, uint64_t *where_r,
	struct cv_err *err);
/* What cv_texts_make gave of the record at where in the cache file. 1; 0 when there is nothing; -1 on trouble reading, CORRUPT when it does not check. *octets_r is
   valid until the next one is read. Quick where messages are asked for in the order in which they came. */
CV_MUST_CHECK int cv_cache_texts(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_str *octets_r, struct cv_err *err);
/* The same, found by the record in any case. */
CV_MUST_CHECK int cv_cache_texts_of_record(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_str *octets_r, struct cv_err *err);
/* The record of message uid, and what was made of it, for message to_uid: 1, 0 when there is no record that checks, -1. buf is used meanwhile. */
CV_MUST_CHECK int cv_cache_copy(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_mailbox *to, uint32_t to_uid, struct cv_buf *buf,
	uint64_t *where_r, struct cv_err *err);
void cv_cache_close(struct cv_mailbox *mailbox);
/* Is half of the file or more of messages that are gone? Then all records are copied one by one to a new file, which takes its place at the end; the
   places of all of them are other ones then. */
bool cv_cache_wants_rewrite(struct cv_mailbox *mailbox);
CV_MUST_CHECK int cv_cache_rewrite_begin(struct cv_mailbox *mailbox, struct cv_cache **new_r, struct cv_err *err);
/* What was gathered goes to its end, and has its places in it. */
struct cv_cache_batch;
CV_MUST_CHECK int cv_cache_rewrite_some(struct cv_cache *new, struct cv_cache_batch *batch, struct cv_err *err);
CV_MUST_CHECK int cv_cache_rewrite_end(struct cv_mailbox *mailbox, struct cv_cache **new, struct cv_err *err);
/* Unless it has taken its place. */
void cv_cache_rewrite_cancel(struct cv_mailbox *mailbox, struct cv_cache **new);
/* On a full disk: the largest of the user's cache files goes. False: there is none. */
bool cv_cache_make_room(struct cv_user *user);
/* Give back what was read ahead. */
void cv_cache_quiet(struct cv_mailbox *mailbox);

/* ---- What the storage really has (reconcile.c, mirror.c) and when it is looked at (refresh.c) ----------------------- */

/* What others did to the folder becomes records; what was on its way is durable (cv_mailbox_catch_up), and columns are loaded. 1; 0: there is more of it, which
   waits for others; -1 (NOTFOUND: there is no folder). The mailbox may be gone then. */
CV_MUST_CHECK int cv_mailbox_reconcile(struct cv_mailbox *mailbox, struct cv_err *err);
/* Give the storage the flags of these messages. */
CV_MUST_CHECK int cv_mirror_range(struct cv_mailbox *mailbox, struct cv_range range, struct cv_err *err);
/* fn for each message file that no row and no work of ours knows. NOTFOUND: there is no folder. TEMP: changes go on without an end. */
CV_MUST_CHECK int cv_reconcile_extra(struct cv_mailbox *mailbox, void (*fn)(void *ctx, struct cv_str ref), void *ctx, struct cv_err *err);
/* While a view is open. */
void cv_watch_start(struct cv_mailbox *mailbox);
void cv_watch_stop(struct cv_mailbox *mailbox);
/* Its folder has another name now. */
void cv_watch_moved(struct cv_mailbox *mailbox);
void cv_refresh_init(struct cv_user *user);
void cv_refresh_deinit(struct cv_user *user);

/* ---- Folders (folders.c) ---------------------------------------------------------------------------------------------- */

/* A mailbox for each folder of the storage that has none, when the user is opened. fresh: there is no journal yet, subscriptions are the storage's;
   else what told their names was lost. */
CV_MUST_CHECK int cv_user_adopt_folders(struct cv_user *user, bool fresh, struct cv_err *err);
/* EXTERNAL storage: names and mailboxes become what folders are there. Cheap when nothing changed; trouble is logged. */
void cv_user_sync_folders(struct cv_user *user);
/* Tell the storage what became of a folder that it has made: its mailbox is recorded; or was refused, and the folder is to go. */
void cv_folder_kept(struct cv_user *user, const struct cv_mailbox_ref *ref);
void cv_folder_refused(struct cv_user *user, const struct cv_mailbox_ref *ref);

/* ---- Hooks and subscribers (subscriber.c) --------------------------------------------------------------------- */

/* Does any module have a handler of the hook? */
bool cv_hook_wanted(const struct cv_registry *reg, const char *hook);
/* A published transaction: the committed hook. */
void cv_subscribers_committed(struct cv_user *user, const struct cv_txn *txn);
/* What a record changed but for the first `skip` changes, some hundred at a time. fn: 1 go on, 0 enough, -1 failed; the last of its answers. */
typedef int cv_changes_fn(void *ctx, const struct cv_change *changes, size_t count);
CV_MUST_CHECK int cv_changes_tell(struct cv_user *user, const struct cv_record_head *head, struct cv_str entries, uint64_t skip,
	cv_changes_fn *fn, void *ctx);

/* Subscribers with cursors (subscription.c). A failure of one is its own: it is logged and tried again. */
void cv_subscribers_init(struct cv_user *user); /* before the journal is read: what they need stays */
void cv_subscribers_start(struct cv_user *user);
/* Something was published. */
void cv_subscribers_kick(struct cv_user *user);
/* A last slice, cursors to disk. */
void cv_subscribers_close(struct cv_user *user);
void cv_subscribers_free(struct cv_user *user);
/* All records above this are still needed by a subscriber, within what mail_journal_subscriber_keep allows; UINT64_MAX: none is. Segments with such
   records are not dropped. */
uint64_t cv_subscribers_keep_seq(const struct cv_user *user);

/* ---- Snapshots and state (mend.c, state.c, checkpoint.c) -------------------------------------------------------- */

/* "<kind>.<guid><suffix>" */
#define CV_BOX_NAME_MAX 64
void cv_box_name(const struct cv_mailbox *mailbox, const char *kind, const char *suffix, char name_r[CV_BOX_NAME_MAX]);
/* Columns from the newest snapshot that checks and the journal. Never fails for damage: what is lost is left to a scan (needs_scan). */
CV_MUST_CHECK int cv_mailbox_load_columns(struct cv_mailbox *mailbox, struct cv_err *err);
/* Some of the snapshot does not check: take what the older one and the journal say, in place. What they do not say is left to a scan. */
void cv_mailbox_mend(struct cv_mailbox *mailbox);
/* Counts from the columns, which must be loaded. */
void cv_mailbox_recount(struct cv_mailbox *mailbox);
/* Rename to "<name>.damaged-<time>". */
void cv_user_set_aside(struct cv_user *user, const char *name);

/* Where the journal ended when the state was written. */
struct cv_state_info {
	struct cv_journal_pos end;
	bool older;              /* the newer one was missing or damaged */
	bool damaged;            /* it, or both, were there and did not check */
};
/* Tree and numbers as of user->state_seq, from the newer state that checks. 1; 0 when there is none (the tree is empty then); -1 when they can't be
   read. */
CV_MUST_CHECK int cv_state_read(struct cv_user *user, struct cv_state_info *info_r, struct cv_err *err);
/* The same from the octets of one file; CORRUPT leaves the tree empty. */
CV_MUST_CHECK int cv_state_parse(struct cv_user *user, struct cv_str octets, struct cv_state_info *info_r, struct cv_err *err);
/* Does a file of this name check? 1 with the sequence number that it is as of, 0 when there is none, -1; CORRUPT when it does not check. */
CV_MUST_CHECK int cv_state_check(struct cv_user *user, const char *name, uint64_t *seq_r, struct cv_err *err);
/* Nothing was read: no names, no numbers. */
void cv_state_forget(struct cv_user *user);
/* Everything must be published. The one that was there becomes the older one. Durable on return. */
CV_MUST_CHECK int cv_state_write(struct cv_user *user, struct cv_err *err);

/* All records above it are still needed: by the older state, by the older snapshot of some mailbox, by the storage's work that is left. */
uint64_t cv_journal_keep_seq(const struct cv_user *user);
/* One is worth it: in the next round of the loop, if there is one. */
void cv_checkpoint_soon(struct cv_user *user);
/* Something was written: is it time to fold the journal? */
void cv_checkpoint_consider(struct cv_user *user);
/* All that was committed is published, and those who wait for it are not told yet: the moment that a checkpoint may wait for. */
void cv_checkpoint_quiet(struct cv_user *user);
/* Fold what is worth it, at once. Failures are logged: the journal has everything. */
void cv_checkpoint_close(struct cv_user *user);
/* Snapshots of all mailboxes that have records behind them, and the state: after damage, before segments are set aside. */
CV_MUST_CHECK int cv_checkpoint_all(struct cv_user *user, struct cv_err *err);
void cv_checkpoint_init(struct cv_user *user);
void cv_checkpoint_deinit(struct cv_user *user);
/* Remove the derived files of a mailbox that is gone. */
void cv_checkpoint_forget(struct cv_user *user, const struct cv_guid *guid);

/* ---- Recovery (recovery.c) --------------------------------------------------------------------------------------- */

/* At the start: journal to memory. */
CV_MUST_CHECK int cv_user_recover(struct cv_user *user, struct cv_err *err);
/* After a failed write: memory becomes what the journal says. Views stay. */
CV_MUST_CHECK int cv_user_reread(struct cv_user *user, struct cv_err *err);

/* Index files that were found to be damaged while memory is whole: all is written anew, segments that are marked damaged are set aside. */
CV_MUST_CHECK int cv_user_write_anew(struct cv_user *user, struct cv_err *err);
/* The same when the journal was harmed (cv_journal_look); tried again after a while where it does not work. */
void cv_user_mend_journal(struct cv_user *user);

/* ---- Copies that are made after they were recorded (owed.c, owed-make.c) ------------------------------------------------------- */

struct cv_owed_origin {
	struct cv_guid mailbox;
	uint32_t uid;
	struct cv_str ref;
};
bool cv_entry_owes(const struct cv_entry *entry);
bool cv_record_owes(struct cv_str entries);
/* The record is durable. again: as in cv_storage_copy. */
void cv_owed_add(struct cv_user *user, const struct cv_owed *owed);
/* Read record number i of those owed: 1, entries_r points into buf; 0 it is lost, in the copy too, which is told once, and the journal is written anew as soon as
   may be; -1. */
CV_MUST_CHECK int cv_owed_read(struct cv_user *user, size_t i, struct cv_buf *buf, struct cv_str *entries_r, struct cv_err *err);
/* While the journal is read: what records up to this one owed was made and synced. */
void cv_owed_forget(struct cv_user *user, uint64_t seq);
/* The oldest ones, so many, owe nothing any more. */
void cv_owed_drop(struct cv_user *user, size_t count);
/* The message with this UID will be owed. */
void cv_owed_note(struct cv_mailbox *mailbox, uint32_t uid);
/* It is made. */
void cv_owed_no_more(struct cv_mailbox *mailbox, uint32_t uid);
/* Its reference is another one from now on. */
CV_MUST_CHECK int cv_owed_set_ref(struct cv_user *user, struct cv_mailbox *mailbox, uint32_t uid, struct cv_str ref, struct cv_err *err);
/* When the user is opened: which messages are. */
void cv_owed_begin(struct cv_user *user);
void cv_owed_deinit(struct cv_user *user);
/* Is anything to be made? May the file of this message be? */
bool cv_owed_any(const struct cv_user *user);
bool cv_owed_is(const struct cv_mailbox *mailbox, uint32_t uid);
/* What the messages of the mailbox that are owed are made of, by UID (4 octets): struct cv_owed_origin in the arena. *map_r is the caller's to free; NULL: none are. */
CV_MUST_CHECK int cv_owed_map(struct cv_mailbox *mailbox, struct cv_arena *arena, struct cv_map **map_r, struct cv_err *err);
/* Make files until the deadline of the monotonic clock. 1 all are made, 0 there are more, -1 to be tried again. */
CV_MUST_CHECK int cv_owed_make(struct cv_user *user, uint64_t deadline_ms, struct cv_err *err);
/* The same, and sync them: now when all is set, or when some time has passed. 0: not all yet; go on in *wait_ms_r. 1: nothing is owed, and all was that is on disk. */
CV_MUST_CHECK int cv_owed_run(struct cv_user *user, bool all, uint64_t deadline_ms, unsigned *wait_ms_r, struct cv_err *err);
/* Is all of it to be made at a time that the timer is set for? */
bool cv_owed_waits(const struct cv_user *user);
/* All of it, now. */
CV_MUST_CHECK int cv_owed_all(struct cv_user *user, struct cv_err *err);
/* What the storage module did is on disk: 1; -1: what of it was owed is owed once more. */
CV_MUST_CHECK int cv_owed_settle(struct cv_user *user, struct cv_err *err);
/* Somebody wants to read this message: if it is owed, some time is spent to make files. */
void cv_owed_hurry(struct cv_mailbox *mailbox, uint32_t uid);
/* Open it there where it is until it has a file: 1; 0 it has one (now), -1. */
CV_MUST_CHECK int cv_owed_open(struct cv_mailbox *mailbox, uint32_t uid, struct cv_storage_blob *blob_r, struct cv_err *err);

/* By hand, without links. As cv_storage.copy. */
CV_MUST_CHECK int cv_storage_copy_octets(struct cv_user *user, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
	const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err);
/* Names of a set, NULL-terminated, in the arena. */
const char **cv_row_keyword_list(struct cv_arena *arena, const struct cv_mailbox *mailbox, uint32_t set);

/* ---- Messages that the journal has (landing.c) ------------------------------------------------------------------ */

/* A folder of ours that is missing is made again, and that is logged: 1; -1 where others write, where it only waits to be moved, and when all of the user's
   directory is gone. (save.c) */
CV_MUST_CHECK int cv_mailbox_make_folder(struct cv_mailbox *mailbox, const struct cv_mailbox_ref *ref, struct cv_err *err);
/* Nothing was ever in it, so that there may be no folder (CV_FOLDER_LATER), and it is empty without one. */
bool cv_mailbox_may_lack_folder(const struct cv_mailbox *mailbox);
/* Before a message goes to the storage: the folder of such a one is made, durably; one that is there says whose it is. */
CV_MUST_CHECK int cv_mailbox_make_first_folder(struct cv_mailbox *mailbox, struct cv_err *err);
/* May a message of this size be held for the journal? */
bool cv_landing_may_hold(const struct cv_user *user, uint64_t size);
/* What is to be made of a message, from its APPEND and OCTETS entries. */
struct cv_landing_what {
	struct cv_mailbox *mailbox;
	struct cv_storage_meta meta;
	size_t ref_len;
	char ref[CV_STORAGE_REF_MAX];
};
/* 0: nothing is to be made. */
CV_MUST_CHECK int cv_landing_find(struct cv_user *user, const struct cv_entry *append, const struct cv_entry *entry, struct cv_landing_what *what_r,
	struct cv_err *err);
/* Make the file of one: its APPEND, and the OCTETS behind it. again as in cv_storage.land. */
CV_MUST_CHECK int cv_landing_make(struct cv_user *user, const struct cv_entry *append, const struct cv_entry *entry, bool again, struct cv_err *err);
/* Open one that is not made yet in the journal: 1, 0 it is made, or none of these. */
CV_MUST_CHECK int cv_landing_open(struct cv_mailbox *mailbox, uint32_t uid, struct cv_storage_blob *blob_r, struct cv_err *err);
/* Have the files of the first records made and synced beside the loop (landing-beside.c). They count as owed until then. False: there is nothing that can be, or some
   are being made. */
CV_MUST_CHECK bool cv_landing_begin(struct cv_user *user);
/* Wait for these: they are owed no more, or, where that failed, to be made here. */
void cv_landing_end(struct cv_user *user);
/* Wait, and whatever came of it: the records will be read again. */
void cv_landing_drop(struct cv_user *user);
/* Messages whose octets the journal has just now (landing-restore.c). */
/* Look through what of the journal was not looked through yet, until the deadline of the monotonic clock: 1 to its end, 0 there is more, -1. The two below do it
   to the end. What was seen is remembered until the user is quiet: some 50 octets for each message in the journal. */
CV_MUST_CHECK int cv_landed_look(struct cv_user *user, uint64_t deadline_ms, struct cv_err *err);
void cv_landed_free(struct cv_user *user);
/* The file of the row's message is missing or damaged: append its octets, as the file should have them, to buf. 1, 0 the journal has them not, -1. */
CV_MUST_CHECK int cv_landed_read(struct cv_mailbox *mailbox, uint32_t row, struct cv_buf *buf, struct cv_err *err);
CV_MUST_CHECK bool cv_landed_has(struct cv_mailbox *mailbox, uint32_t row);
/* Make its file anew, durably; what had its name stays beside it. 1, 0 the journal has not its octets, -1. */
CV_MUST_CHECK int cv_landed_restore(struct cv_mailbox *mailbox, uint32_t row, struct cv_err *err);

/* ---- Storage work (work.c) ------------------------------------------------------------------------------------ */

void cv_work_init(struct cv_user *user);
void cv_work_deinit(struct cv_user *user);
void cv_work_add(struct cv_user *user, uint64_t seq, struct cv_journal_pos pos);
/* Octets are about to be written: where there is hardly room for them, what was expunged goes now. */
void cv_work_make_room(struct cv_user *user, uint64_t octets);
/* There may be something to do: in the next round of the loop. */
void cv_work_soon(struct cv_user *user);
/* The first record whose work is not done or not on disk, or UINT64_MAX. */
uint64_t cv_work_first(const struct cv_user *user);
/* Is there anything that was not done yet? */
bool cv_work_is_due(const struct cv_user *user);
/* Each record with work that was not done yet, as it is in the journal: 1, -1 when fn says so or one can't be read for a reason that may go away. One that is
   lost is passed over, or told with no entries when lost is set. */
typedef int cv_work_fn(void *ctx, const struct cv_record_head *head, struct cv_str entries);
CV_MUST_CHECK int cv_work_each(struct cv_user *user, bool lost, cv_work_fn *fn, void *ctx, struct cv_err *err);
/* Do what is due; a slice when there is a loop (and go on in later rounds), all of it when not or when all is set. Work that has to wait does not hold up what
   comes after it; a folder that can't be moved or removed does. */
void cv_work_run(struct cv_user *user, bool all);
/* At opening: what a crash, or the end before, left undone: folders, and of the rest what some seconds allow; the loop does the others. */
void cv_work_begin(struct cv_user *user);
/* At closing: the same. The state names what is left for the next opening. */
void cv_work_end(struct cv_user *user);
/* Is a folder of this name (empty: any) still to be moved or removed for a record of ours? Then what is there says nothing. */
bool cv_work_has_folder(struct cv_user *user, struct cv_str name);
/* Move and remove folders now, before the other work that is due. Done again in its turn, which is harmless. */
CV_MUST_CHECK int cv_work_folders(struct cv_user *user, struct cv_err *err);
/* What is done is on disk: the records that asked for it need not be named any more. */
CV_MUST_CHECK int cv_work_settle(struct cv_user *user, struct cv_err *err);
/* A folder or message is missing: work that failed may bring it (a rename). True when it was done now. */
bool cv_work_retry(struct cv_user *user);
/* Folders of mailboxes at and below `to` (as the tree has it now) move there from `from`. */
CV_MUST_CHECK int cv_work_rename(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_err *err);

#endif
