/* SPDX-License-Identifier: MIT
   One IMAP session in the worker: its state, the command in progress, and what the command files share. Private to the module. */
#ifndef CV_IMAP_SESSION_H
#define CV_IMAP_SESSION_H

#include "modules/lib/imap/imap-text.h"

#include <culver/imap.h>
#include <culver/map.h>
#include <culver/protocol.h>

/* ---- Settings --------------------------------------------------------------------------------------- */

struct imap_settings {
	const char *const *imap_client_workarounds;
	uint64_t imap_hibernate_timeout;    /* ms in IDLE before the session may sleep; 0: it does not */
	uint64_t imap_hibernate_silent_timeout; /* the same outside of IDLE */
	uint64_t mailbox_idle_check_interval; /* ms; of sleeping sessions; 0: never */
	uint64_t imap_idle_notify_interval; /* ms; 0: never */
	uint64_t imap_progress_interval;    /* ms; 0: never */
	uint64_t imap_max_line_length;
	uint64_t imap_compress_deflate_level;
	uint64_t imap_compress_deflate_window; /* log2 of octets */
	const char *imap_logout_format;
	const char *imap_id_log;
	const char *imap_id_send;
	const char *imap_capability;
	bool imap_unauthenticate;
	bool imap_metadata;
	bool imap_annotate;
	const char *mail_server_comment, *mail_server_admin;
	uint64_t imap_message_limit;        /* 0: no limit, and MESSAGELIMIT is not announced */
	uint64_t imap_save_limit;           /* of COPY and APPEND alone; 0: no limit */
	bool imap_urlauth;
	const char *imap_urlauth_host;
	const char *const *imap_urlauth_users; /* application:user */
	bool imap_utf8_accept, imap_utf8_strict;
	const char *imap_language;
};
extern const struct cv_settings_table imap_settings_table;

/* imap_client_workarounds as bits. */
enum imap_workaround {
	IMAP_DELAY_NEWMAIL = 1,        /* new messages are told in replies to NOOP, CHECK and IDLE only */
	IMAP_TB_EXTRA_MAILBOX_SEP = 2, /* a separator at the end of any name is taken off */
	IMAP_TB_LSUB_FLAGS = 4         /* LSUB marks names without mailbox with \Noselect */
};
/* -1: an unknown word is in words, named in err. */
CV_MUST_CHECK int imap_workarounds(const char *const *words, unsigned *bits_r, struct cv_err *err);

/* ---- Session ---------------------------------------------------------------------------------------- */

enum imap_state {
	IMAP_STATE_AUTHENTICATED = 1,
	IMAP_STATE_SELECTED,
	IMAP_STATE_LOGOUT /* the stream is being closed: nothing is read any more */
};

/* For the logout line. */
struct imap_stats {
	uint64_t deleted, expunged, appended;
	uint64_t header_count, header_size, body_count, body_size; /* sections sent, octets of them */
};

/* Batches that UIDBATCHES told of the selected mailbox (RFC 10022 section 3.1.1). */
struct imap_batches {
	uint32_t size;              /* messages of a batch; 0: nothing was told */
	uint32_t messages, newest;  /* what the view had then, and the highest UID that was known */
	struct cv_ranges told;      /* by number */
};

struct imap_cmd;
struct imap_context;
struct imap_metadata;
struct imap_notify;
struct imap_push;

/* What is added here has to be in sleep.c as well: written there, or a reason to stay awake. */
struct imap_session {
	struct cv_session *session;
	struct cv_stream *stream;
	struct cv_user *user;
	const struct cv_log_ctx *log;
	const struct imap_settings *set;
	unsigned workarounds;
	char separator;
	enum imap_state state;
	struct cv_imap_parser *parser;
	struct imap_cmd *cmd;       /* in progress, or NULL */
	struct cv_timer *progress;  /* of commands that wait (imap_progress_wait); NULL until one did */
	bool progress_armed;
	struct cv_view *view;       /* non-NULL in IMAP_STATE_SELECTED */
	uint32_t recent_told;       /* number of the last RECENT response for view */
	size_t keywords_told;       /* keywords of the mailbox in the last FLAGS response for view */
	unsigned rights;            /* enum cv_right: on the mailbox of view, as of the last command */
	bool rights_changed;        /* PERMANENTFLAGS are due */
	struct cv_annotation_watch *urlauth_watch;
	bool urlauth_changed;       /* URLMECH is due: another session made the selected mailbox's key anew */
	bool condstore;             /* a CONDSTORE enabling command was seen: UID and MODSEQ are in every unasked FETCH response */
	bool rev2;                  /* ENABLE IMAP4rev2: no \Recent, ESEARCH, mailbox names in UTF-8 */
	bool utf8;                  /* ENABLE UTF8=ACCEPT (RFC 6855): messages with UTF-8 in headers may be appended, searches name no charset */
	bool utf8_names;            /* either of these two: mailbox names in UTF-8 */
	unsigned language;          /* LANGUAGE (RFC 5255): of texts; see imap-text.h */
	bool uidonly;               /* ENABLE UIDONLY: no message numbers, UIDFETCH and VANISHED (RFC 9586) */
	bool qresync;               /* ENABLE QRESYNC: VANISHED in place of EXPUNGE */
	bool modseq_held;           /* the client was told a HIGHESTMODSEQ below that of expunges it does not know of yet */
	bool in_line;            /* the output ends inside of a line or literal: no other line may be written */
	unsigned bad_in_a_row;
	/* Events of the view that are not written yet. */
	CV_VEC(struct cv_view_event) events;
	size_t events_done;
	bool annotate;              /* the mailbox was selected with ANNOTATE: changes of annotations are told */
	bool examined;              /* it was, by EXAMINE */
	CV_VEC(struct cv_str) note_names; /* octets owned: entries that queued events name */
	struct imap_stats stats;
	/* UIDs that "$" stands for in the selected mailbox (RFC 5182). Those that are gone stay: a UID is never used again. */
	struct cv_ranges saved;
	struct imap_batches batches; /* forgotten in sleep: asking once more after it is no burden */
	struct imap_metadata *metadata; /* ENABLE METADATA: changes of annotations that are to be told; NULL: not enabled */
	/* NOTIFY (RFC 5465) */
	struct imap_notify *notify;  /* NULL until the command was used; notify.c */
	bool acting;                 /* a command of this session runs at this moment: what changes is its doing */
	uint32_t newest_uid;         /* the last message that the client was told of */
	struct cv_ranges untold;     /* UIDs with new flags that NOTIFY kept from the client */
	uint64_t untold_modseq;      /* below that of these changes */
	struct cv_ranges own;        /* UIDs that this session put into the selected mailbox */
	struct cv_ranges fetch_first, fetch_new; /* new messages whose FETCH response is due: before ESEARCH responses, and behind them */
	struct imap_push *push;      /* the response in progress, or NULL; push.c */
	struct cv_buf sleep_texts;   /* sleep.c: what front may have to write */
	struct imap_context *contexts; /* searches of the selected mailbox that are kept up to date (RFC 5267); context.c */
};

/* ---- The command in progress ------------------------------------------------------------------------- */

enum imap_phase {
	IMAP_PHASE_LITERAL = 1, /* its octets are still coming (APPEND) */
	IMAP_PHASE_RUN,
	IMAP_PHASE_STEP,
	IMAP_PHASE_WAIT,        /* for imap_resume */
	IMAP_PHASE_REPLY        /* done: untagged data of the mailbox, then the tagged reply */
};

enum imap_reply { IMAP_NO_REPLY = 0, IMAP_OK, IMAP_NO, IMAP_BAD };

struct imap_commit;

struct imap_cmd {
	struct cv_imap_cmd pub; /* first: what the handler sees */
	struct imap_session *s;
	enum imap_phase phase;
	bool resumed;           /* imap_resume was called before WAIT was returned */
	bool synced;            /* of IMAP_PHASE_REPLY */
	enum imap_reply reply;
	const char *code, *text;
	void (*after)(struct imap_session *s); /* what is due once the reply, an OK, was written; NULL: nothing */
	const char *limit_code; /* MESSAGELIMIT: not all messages were meant */
	/* Input goes here instead of to the parser (IDLE). */
	void (*input)(struct imap_cmd *cmd);
	struct imap_commit *commit; /* in progress, or NULL */
	int commit_result;
	struct cv_err commit_err;
	struct cv_err *unreadable;  /* why messages could not be read, and were taken for gone, while it ran; else NULL */
	uint64_t commit_id;         /* cv_txn_id of the last one */
	uint64_t progress_us;       /* when the client last heard of it */
};

/* Every handler gets a cv_imap_cmd; ours are all the first member of an imap_cmd. */
static inline struct imap_cmd *imap_cmd(struct cv_imap_cmd *cmd)
{
	return cv_container(cmd, struct imap_cmd, pub);
}
static inline struct imap_session *imap_cmd_session(struct cv_imap_cmd *cmd)
{
	return imap_cmd(cmd)->s;
}

/* reply.c: the tagged reply; see struct cv_imap_api. text is English, and a row of imap-text.c. */
enum cv_imap_result imap_ok(struct cv_imap_cmd *cmd, const char *code, const char *text);
enum cv_imap_result imap_no(struct cv_imap_cmd *cmd, const char *code, const char *text);
enum cv_imap_result imap_bad(struct cv_imap_cmd *cmd, const char *text);
enum cv_imap_result imap_bad_code(struct cv_imap_cmd *cmd, const char *code, const char *text);
enum cv_imap_result imap_fail(struct cv_imap_cmd *cmd, const struct cv_err *err);
/* As imap_fail; NOTFOUND says TRYCREATE (targets of COPY, MOVE and APPEND). */
enum cv_imap_result imap_fail_target(struct cv_imap_cmd *cmd, const struct cv_err *err);
/* BAD for wrong arguments, with err's text. */
enum cv_imap_result imap_bad_err(struct cv_imap_cmd *cmd, const struct cv_err *err);
/* "tag OK [code] text"; tag absent: untagged; code NULL: none. */
void imap_write_reply(struct cv_buf *out, unsigned language, struct cv_str tag, const char *status, const char *code, const char *text);
void imap_reply(struct imap_session *s, struct cv_str tag, const char *status, const char *code, const char *text);
/* "* OK [code] text". */
void imap_tell(struct imap_session *s, const char *status, const char *code, const char *text);
/* "* OK [code number] text". */
void imap_tell_number(struct imap_session *s, const char *code, uint64_t number, const char *text);
/* The text of a line that was begun, and its end. */
void imap_end_line(const struct imap_session *s, struct cv_buf *out, const char *text);
/* A long command is at item done of goal: tell the client when imap_progress_interval is over (RFC 9585), unless in a line. */
void imap_progress(struct cv_imap_cmd *cmd, uint32_t done, uint32_t goal);
/* The same of one that does not know where it is. */
void imap_still_working(struct cv_imap_cmd *cmd);
/* The command in progress waits, perhaps for long: the client is told each imap_progress_interval. */
void imap_progress_wait(struct imap_session *s);
/* "* BYE [code] text" unless in a literal, and the end. reason: for the log. */
void imap_bye(struct imap_session *s, const char *code, const char *text, const char *reason);

/* session.c */
struct cv_buf *imap_out(struct cv_imap_cmd *cmd);
/* Octets of a message within a literal: without NUL (cv_imap_append_octets), and large pieces without a copy. */
void imap_write_octets(struct imap_session *s, struct cv_str octets);
size_t imap_room(struct cv_imap_cmd *cmd);
void imap_resume(struct cv_imap_cmd *cmd);
/* Commit, and come back through step when it is durable: WAIT. commit_result tells there how it went. When it cannot even begin: the NO. */
enum cv_imap_result imap_commit(struct cv_imap_cmd *cmd, struct cv_txn **txn);
/* The same without a reply: DONE, with commit_result -1 and commit_err set, when it cannot begin. */
enum cv_imap_result imap_begin_commit(struct cv_imap_cmd *cmd, struct cv_txn **txn);
void imap_close(struct imap_session *s, const char *reason);
/* The end of the session, not of the connection: front goes on with it. */
void imap_give_back(struct imap_session *s);
/* Go on with the command in progress and with waiting input, a slice of it. */
void imap_run(struct imap_session *s);
/* No arguments at all; false: BAD was made the reply. */
CV_MUST_CHECK bool imap_no_args(struct cv_imap_cmd *cmd);
/* Octets of the longest message that APPEND takes (RFC 7889): RFC822.SIZE could not tell more. */
#define IMAP_APPEND_LIMIT ((uint64_t)UINT32_MAX)
/* How long a slice of a long command may take. */
#define IMAP_SLICE_US 10000u
/* RFC 3501 section 5.4: "MUST be at least 30 minutes". */
#define IMAP_INACTIVITY_MS ((uint64_t)30 * 60 * 1000)

struct imap_cmd *imap_cmd_new(struct imap_session *s, const struct cv_imap_command *command, bool uid);
/* append.c: APPEND and REPLACE, whose literals go to storage while they come. The literal that is due is a message of such a command, and no argument
   before it. */
bool imap_append_takes(const struct imap_session *s, const struct cv_imap_command *command, bool uid);
/* Begin a message with it: the command goes on in IMAP_PHASE_LITERAL, or in IMAP_PHASE_REPLY when it is refused. */
void imap_append_literal(struct imap_cmd *cmd);
/* Octets of it. */
void imap_append_take(struct imap_cmd *cmd, struct cv_str octets);

/* cmd-idle.c */
/* The text that keeps a connection alive. */
#define IMAP_STILL_HERE "Still here"
/* IDLE waits and has nothing to tell; it takes that long until the next keep-alive line (0: none, or now). */
bool imap_idle_waits(struct imap_cmd *cmd, uint64_t *keepalive_in_ms_r);
/* IDLE of a session that slept. */
void imap_idle_go_on(struct imap_session *s, struct cv_str tag, uint64_t keepalive_in_ms);

/* session.c: a session before its first reply; NULL with err. */
struct imap_session *imap_session_new(struct cv_session *session, struct cv_err *err);
void imap_session_end(void *state);
/* sleep.c: struct cv_session_protocol. */
bool imap_sleep(void *state, struct cv_session_sleep *sleep);
void *imap_wake(struct cv_session *session, const struct cv_session_wake *wake, struct cv_err *err);

/* commands.c */
/* The command with this verb in its plain or UID form; NULL when there is none. */
const struct cv_imap_command *imap_find_command(const struct imap_session *s, struct cv_str verb, bool uid);
/* Append "IMAP4rev1 …". */
void imap_append_capabilities(const struct imap_session *s, struct cv_buf *out);
/* capability is one of them. */
bool imap_announces(const struct imap_session *s, const char *capability);

/* quota.c */
/* -1: some module knows that a new message of so many octets would be refused. */
CV_MUST_CHECK int imap_quota_fits(struct cv_imap_cmd *cmd, const struct cv_mailbox *mailbox, uint64_t octets, struct cv_err *err);
/* Some module knows a limit that the mailbox is above. */
bool imap_over_quota(struct cv_imap_cmd *cmd, const struct cv_mailbox *mailbox, const char **text_r);
/* The command has put something into the mailbox: warn when it is above a limit, and was not before. */
void imap_warn_quota(struct cv_imap_cmd *cmd, const struct cv_mailbox *mailbox, bool before);

/* sync.c: the selected mailbox */
/* Bring the view up to date and queue its events, as far as NOTIFY lets the client hear of them; see cv_view_sync. */
void imap_sync(struct imap_session *s, bool expunges, uint64_t own);
/* The same for a command whose answer are the EXPUNGE responses, whatever NOTIFY said. */
void imap_sync_expunged(struct imap_session *s);
/* The same with all that NOTIFY kept from the client. */
void imap_sync_all(struct imap_session *s);
/* What the client knows all changes up to. */
uint64_t imap_highest_modseq(const struct imap_session *s);
/* This session has put messages into mailbox: nobody has to tell it of them. */
void imap_note_own(struct imap_session *s, const struct cv_mailbox *mailbox, const struct cv_ranges *uids);
/* Write queued events while there is room: true when none is left. False: more room is needed, or the session ended. */
bool imap_write_events(struct imap_session *s);
/* Write "* VANISHED" responses for uids from *done on (a count of ranges) while there is room; true when all are written. */
bool imap_write_vanished(struct imap_session *s, const struct cv_ranges *uids, size_t *done, bool earlier);
/* "* n FETCH (", or UIDFETCH. */
void imap_begin_fetch(const struct imap_session *s, struct cv_buf *out, uint32_t seq, uint32_t uid);
/* "* n FETCH (…" with flags, UID where uid, both UID and MODSEQ in a CONDSTORE session (RFC 7162 section 3.2.4). */
void imap_write_flags(struct imap_session *s, struct cv_buf *out, uint32_t seq, const struct cv_row *row, bool uid, bool flags);
/* Append the flags of a row without parentheses. */
void imap_append_row_flags(const struct imap_session *s, struct cv_buf *out, const struct cv_row *row);
/* "* n EXISTS" and "* n RECENT". */
void imap_write_counts(struct imap_session *s, struct cv_buf *out, uint32_t exists);
/* "* OK [URLMECH …]" (RFC 4467 section 8). */
void imap_write_urlmech(struct imap_session *s);
/* "* FLAGS …" and "* OK [PERMANENTFLAGS …]", of what rights allow. */
void imap_write_mailbox_flags(struct imap_session *s, struct cv_buf *out);
/* The same if the mailbox has keywords that were not told yet: they must not come in a FETCH response before. */
void imap_write_new_keywords(struct imap_session *s, struct cv_buf *out);
/* The session becomes CONDSTORE-aware (RFC 7162 section 3.1). */
void imap_enable_condstore(struct imap_session *s);
/* Ask for the rights on the mailbox of view again. */
void imap_refresh_rights(struct imap_session *s);
void imap_select(struct imap_session *s, struct cv_view *view);
/* Close the selected mailbox, if any. */
void imap_unselect(struct imap_session *s);

/* cmd-uidbatches.c */
/* Nothing was told of the selected mailbox. */
void imap_batches_forget(struct imap_session *s);

/* context.c: searches that are kept up to date */
/* Tell the client how results changed, when the view is up to date and its events were written. False: more room or time is needed; a step is asked for. */
bool imap_contexts_update(struct imap_session *s);
/* An EXPUNGE response is to be written for this message. */
void imap_contexts_expunge(struct imap_session *s, uint32_t seq, uint32_t uid);
/* Messages are about to leave the view: evaluations begin anew. */
void imap_contexts_interrupt(struct imap_session *s);
void imap_contexts_free(struct imap_session *s);
struct cv_imap_fetch;
/* What searches want to be fetched of a message that is new in their results is added to all, and theirs no longer. */
void imap_contexts_take_fetch(struct imap_session *s, struct cv_arena *arena, uint32_t uid, struct cv_imap_fetch *all);

/* names.c: mailbox names and sequence sets of arguments */
enum imap_name_opts {
	IMAP_NAME_TRAILING_SEP = 1, /* a separator at the end is taken off (CREATE) */
	IMAP_NAME_NEW = 2           /* a mailbox is to get it: characters that no new name may have are refused */
};
CV_MUST_CHECK int imap_mailbox_name(struct cv_imap_cmd *cmd, struct cv_str wire, unsigned opts, struct cv_str *name_r, struct cv_err *err);
/* From UTF-8 whatever the client uses (URLs). In arena. */
CV_MUST_CHECK int imap_utf8_name(struct cv_user *user, struct cv_arena *arena, struct cv_str utf8, struct cv_str *name_r, struct cv_err *err);
/* The name in an argument. False: the reply was made. */
CV_MUST_CHECK bool imap_mailbox_arg(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, unsigned opts, struct cv_str *name_r);
/* objectid (RFC 8474 section 4): "F" and the GUID. */
void imap_append_mailboxid(struct cv_buf *out, const uint8_t guid[16]);
/* The special use (RFC 6154 section 2: use-attr) that is written so; 0: none. */
unsigned imap_special_use(struct cv_str name);
/* Those in bits, a space between them. */
void imap_append_special_uses(struct cv_buf *out, unsigned bits);
/* Those of mailboxes that show messages of others, which no client can make. */
#define IMAP_USES_OF_VIEWS ((unsigned)(CV_USE_ALL | CV_USE_FLAGGED))
/* A name for mailbox.h as this client sees it: its delimiter, modified UTF-7 or, in IMAP4rev2, UTF-8. In arena. */
struct cv_str imap_wire_name(const struct imap_session *s, struct cv_arena *arena, struct cv_str name);
/* A name in that form as an astring. */
void imap_append_wire_name(const struct imap_session *s, struct cv_buf *out, struct cv_str wire);
/* cmd-list.c: "* LIST (…) "/" name" of a mailbox that exists, with OLDNAME when the client called it by another one (RFC 9051 section 6.3.9.7; absent:
   it did not). */
void imap_write_list(struct cv_imap_cmd *cmd, struct cv_buf *out, struct cv_str name, struct cv_str old_wire);
/* The same for a name whose mailbox came, went or changed without being asked for: \NonExistent when there is none; old_name, in UTF-8: it was renamed. */
void imap_write_list_event(struct imap_session *s, struct cv_buf *out, struct cv_str name, struct cv_str old_name);
/* The same of a mailbox that may be seen and not read (RFC 5465 section 3.1: \NoAccess); gone: that may be seen no longer (sections 5.4 and 5.9). */
void imap_write_no_access(const struct imap_session *s, struct cv_buf *out, struct cv_str name, bool gone);
/* The astring of an argument as an old name for it: absent when it is the name's own form. */
struct cv_str imap_old_name(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_str name);
void imap_append_mailbox(const struct imap_session *s, struct cv_buf *out, struct cv_str name);
/* Sequence numbers that a set argument names; cv_ranges_free is the caller's, or the arena's with imap_ranges. */
CV_MUST_CHECK int imap_sequence_set(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_ranges *seqs_r, struct cv_err *err);
/* The same; false: the reply was made. */
CV_MUST_CHECK bool imap_sequence_arg(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_ranges *seqs_r);
/* UIDs that an argument of a UID command names, there or not; star is what "*" means. */
CV_MUST_CHECK int imap_uid_set(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, uint32_t star, struct cv_ranges *uids_r, struct cv_err *err);
/* What is in both. */
void imap_ranges_common(const struct cv_ranges *a, const struct cv_ranges *b, struct cv_ranges *both);
/* Ranges that are freed with the command. */
struct cv_ranges *imap_ranges(struct cv_imap_cmd *cmd);
/* Sequence numbers of those UIDs that are there. */
void imap_uids_to_seqs(const struct imap_session *s, const struct cv_ranges *uids, struct cv_ranges *seqs);
/* UIDs of messages by sequence number. present: only of those that are not expunged. */
void imap_uids_of(const struct imap_session *s, const struct cv_ranges *seqs, bool present, struct cv_ranges *uids);
/* A response code in the command's arena. */
const char *imap_code_printf(struct cv_imap_cmd *cmd, const char *fmt, ...) CV_PRINTF(2, 3);

/* Iterate over the numbers in ranges. { 0 } to begin. */
struct imap_iter {
	size_t range;
	uint32_t next; /* 0: at the range's start */
};
bool imap_iter_next(const struct cv_ranges *ranges, struct imap_iter *iter, uint32_t *n_r);
/* From the last number to the first, with an iterator of its own. */
bool imap_iter_prev(const struct cv_ranges *ranges, struct imap_iter *iter, uint32_t *n_r);

/* limit.c: RFC 9738 */
/* Messages of one command; 0: as many as it names. */
uint32_t imap_message_limit(const struct imap_session *s);
/* The same for COPY and APPEND. */
uint32_t imap_save_limit(const struct imap_session *s);
/* Leave the limit highest numbers. False: there were no more; so always when limit is 0. */
bool imap_limit_cut(struct cv_ranges *set, uint32_t limit);
/* The OK will say that the command went no further down than this UID. */
void imap_limited(struct cv_imap_cmd *cmd, uint32_t limit, uint32_t uid);
/* The NO of a command that does all or nothing. uid 0: not known. */
enum cv_imap_result imap_over_limit(struct cv_imap_cmd *cmd, uint32_t limit, uint32_t uid);

/* The commands, one file each. */
extern const struct cv_imap_command imap_cmd_append, imap_cmd_cancelupdate, imap_cmd_capability, imap_cmd_check, imap_cmd_close, imap_cmd_copy, imap_cmd_create,
	imap_cmd_delete, imap_cmd_enable, imap_cmd_esearch, imap_cmd_examine, imap_cmd_expunge, imap_cmd_fetch, imap_cmd_genurlauth, imap_cmd_getmetadata, imap_cmd_id, imap_cmd_idle, imap_cmd_list,
	imap_cmd_logout, imap_cmd_lsub, imap_cmd_move, imap_cmd_namespace, imap_cmd_noop, imap_cmd_notify, imap_cmd_rename, imap_cmd_replace, imap_cmd_resetkey, imap_cmd_search, imap_cmd_select, imap_cmd_setmetadata, imap_cmd_sort,
	imap_cmd_status, imap_cmd_store, imap_cmd_subscribe, imap_cmd_thread, imap_cmd_uid_expunge, imap_cmd_unselect, imap_cmd_unsubscribe, imap_cmd_urlfetch,
	imap_cmd_xlist;

extern const struct cv_imap_command imap_cmd_comparator, imap_cmd_compress, imap_cmd_language, imap_cmd_uidbatches, imap_cmd_unauthenticate;

extern const struct cv_session_protocol imap_session_protocol, imap_urlauth_protocol;

#endif
