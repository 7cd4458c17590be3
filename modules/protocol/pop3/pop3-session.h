/* SPDX-License-Identifier: MIT
   POP3 after login (RFC 1939): one session, its maildrop and its commands. Private to this module. */
#ifndef CV_POP3_SESSION_H
#define CV_POP3_SESSION_H

#include "modules/lib/pop3/pop3.h"
#include "modules/lib/pop3/pop3-text.h"

#include <culver/header.h>
#include <culver/mailbox.h>
#include <culver/protocol.h>

/* Invalid commands in a row after which the session is closed. */
#define CV_POP3_BAD_MAX 20
/* RFC 1939 section 3: at least ten minutes. */
#define CV_POP3_TIMEOUT_MS (10 * 60 * 1000)
/* RFC 1939 section 7: a unique-id has 1 to 70 characters in the range 0x21 to 0x7E. */
#define CV_POP3_UIDL_MAX 70

enum cv_pop3_delete_type { CV_POP3_DELETE_DEFAULT, CV_POP3_DELETE_EXPUNGE, CV_POP3_DELETE_FLAG };
enum cv_pop3_uidl_duplicates { CV_POP3_UIDL_ALLOW, CV_POP3_UIDL_RENAME };

struct cv_pop3_settings {
	const char *pop3_uidl_format;
	unsigned pop3_uidl_duplicates; /* enum cv_pop3_uidl_duplicates */
	bool pop3_reuse_xuidl;
	bool pop3_save_uidl;
	bool pop3_no_flag_updates;
	bool pop3_lock_session;
	bool pop3_enable_last;
	const char *pop3_deleted_flag;
	unsigned pop3_delete_type; /* enum cv_pop3_delete_type */
	const char *const *pop3_client_workarounds;
	const char *pop3_logout_format;
};
extern const struct cv_settings_table cv_pop3_settings_table;

enum cv_pop3_workarounds {
	CV_POP3_NO_NULS = 1, /* outlook-no-nuls */
	CV_POP3_NS_EOH = 2,  /* oe-ns-eoh */
};

/* ---- A message on its way out (wire.c) ------------------------------------------------------------------ */

/* Octets begin to end of a message are sent as text. */
struct cv_pop3_piece {
	size_t begin, end;
	struct cv_str text;
};

/* Stored octets become what RETR and TOP send: each line ends with CRLF, a dot at its start is doubled (RFC 1939 section 3). */
struct cv_pop3_wire {
	struct cv_message_reader *reader;
	size_t pos;
	const struct cv_pop3_piece *pieces; /* ascending */
	size_t piece_count, piece, in_piece; /* piece: the next one, or the one that in_piece octets were given of */
	unsigned workarounds;
	bool crlf;           /* all lines of the message are known to end in CRLF, but perhaps the last one, and there are no pieces */
	bool top;            /* the header, its empty line, and lines_left lines of the body */
	uint64_t lines_left;
	bool in_body;        /* the empty line was passed */
	size_t line_len;     /* octets of the current line so far, and the last of them */
	char last;
	bool done;           /* all was given, but for the line with the dot */
};
/* The reader is borrowed until the end. */
void cv_pop3_wire_init(struct cv_pop3_wire *wire, struct cv_message_reader *reader, unsigned workarounds);
/* Before the first octets: what is sent in the place of some. Borrowed until the end. */
void cv_pop3_wire_replace(struct cv_pop3_wire *wire, const struct cv_pop3_piece *pieces, size_t count);
/* Append about max octets (at most max plus a few). 1 when nothing is left; the line with the dot is the caller's. 0: there is more. -1: it can't be read. */
CV_MUST_CHECK int cv_pop3_wire_append(struct cv_pop3_wire *wire, struct cv_buf *out, size_t max, struct cv_err *err);

/* What comes next, where at least `least` octets of it (not 0), and at most max, go out as they are: 1 with them in *run_r, which the reader has until something else
   is asked of it. 0: cv_pop3_wire_append has to be asked, by which everything is given in the end. -1 as there. */
CV_MUST_CHECK int cv_pop3_wire_run(struct cv_pop3_wire *wire, size_t least, size_t max, struct cv_str *run_r, struct cv_err *err);

/* ---- Surrogates of what a client without UTF8 must not get (surrogate.c) --------------------------------- */

struct cv_pop3_surrogate {
	struct cv_arena *arena;
	CV_VEC(struct cv_pop3_piece) pieces;
	uint64_t text_size;  /* octets of all texts … */
	uint64_t replaced;   /* … and of what they stand for, as they would be sent */
	size_t end;          /* of the last piece */
};
/* 1: its headers have octets outside ASCII; 0; -1 when that cannot be found out. */
CV_MUST_CHECK int cv_pop3_surrogate_needed(struct cv_mail *mail, struct cv_err *err);
/* 1 made, to be freed; 0 none is needed; -1 none can be made (CV_ERR_LIMIT) or the message cannot be read. */
CV_MUST_CHECK int cv_pop3_surrogate_make(struct cv_mail *mail, struct cv_pop3_surrogate *surrogate_r, struct cv_err *err);
void cv_pop3_surrogate_free(struct cv_pop3_surrogate *surrogate);
/* Add what stands for the fields of one part's header. surrogate has its arena; parts come in order. -1: CV_ERR_LIMIT. */
struct cv_mime_part;
CV_MUST_CHECK int cv_pop3_surrogate_header(struct cv_pop3_surrogate *surrogate, struct cv_str octets, const struct cv_mime_part *part, struct cv_err *err);
/* Append what stands for one field, with its line end; nothing when the field is to be left out. */
void cv_pop3_surrogate_field(struct cv_buf *out, struct cv_arena *arena, const struct cv_header_field *field);

/* ---- Unique-ids and the flag of hidden messages (uidl.c) ------------------------------------------------- */

/* unique-id = 1*70 of 0x21 to 0x7E */
bool cv_pop3_uidl_valid(struct cv_str s);
struct cv_pop3_uidl_parts {
	uint32_t uid, uidvalidity;
	uint8_t guid[16];
	struct cv_str ref; /* the storage's */
};
/* Append what pop3_uidl_format gives for a message. */
CV_MUST_CHECK int cv_pop3_uidl_expand(const char *format, const struct cv_pop3_uidl_parts *parts, struct cv_buf *out, struct cv_err *err);
/* pop3_uidl_format gives a valid unique-id for every message. */
CV_MUST_CHECK int cv_pop3_uidl_format_check(const char *format, struct cv_err *err);
/* A system flag's bit; or 0 with *keyword_r set, for a keyword. False when name is neither. */
CV_MUST_CHECK bool cv_pop3_flag_parse(const char *name, uint16_t *flag_r, struct cv_str *keyword_r);

/* ---- The maildrop (maildrop.c) ------------------------------------------------------------------------- */

/* A message as numbered by this session; sizes and UIDs are the view's. */
struct cv_pop3_msg {
	uint32_t seq;        /* in the view */
	uint8_t marks;       /* enum cv_pop3_mark */
};
enum cv_pop3_mark {
	CV_POP3_MARK_DELETED = 1,
	CV_POP3_MARK_RETRIEVED = 2, /* gets \Seen when the session ends */
	CV_POP3_MARK_PLAIN = 4,     /* sent as it is stored: it was looked at */
	CV_POP3_MARK_SURROGATE = 8, /* not sent as it is stored */
	CV_POP3_MARK_UIDL_NEW = 16, /* pop3_save_uidl: its unique-id was told, and is to be kept */
};

/* The messages as they were at login. They keep their numbers whatever others do. */
struct cv_pop3_maildrop {
	struct cv_mailbox *mailbox;
	struct cv_view *view;
	unsigned rights;           /* enum cv_right, as at login */
	CV_VEC(struct cv_pop3_msg) msgs; /* message 1 first */
	uint32_t uidvalidity;
	uint64_t size;             /* octets of all */
	uint32_t deleted_count;
	uint64_t deleted_size;
	uint32_t last_at_login, last; /* LAST: highest number accessed */
	/* Unique-ids, kept only when duplicates are renamed. In the session's arena. */
	struct cv_map *uidl_seen;
	CV_VEC(struct cv_str) uidls;
	/* For pop3_logout_format's %u: hashes of the unique-ids as UIDL listed them; kept only when it is asked for. */
	CV_VEC(uint32_t) uidl_hashes;
};

struct cv_pop3_session;

/* The right that DELE needs (enum cv_right). */
unsigned cv_pop3_delete_right(const struct cv_pop3_session *client);
CV_MUST_CHECK int cv_pop3_maildrop_open(struct cv_pop3_session *client, struct cv_err *err);
void cv_pop3_maildrop_close(struct cv_pop3_session *client);
/* number: 1 … count. */
void cv_pop3_maildrop_row(const struct cv_pop3_session *client, uint32_t number, struct cv_row *row_r);
/* The unique-id of a message, appended to out. Never fails: what has no usable one gets its GUID. */
void cv_pop3_maildrop_uidl(struct cv_pop3_session *client, uint32_t number, struct cv_buf *out);
/* True when the unique-ids of the messages up to number can be given without a long walk; else a slice of the walk was done. */
CV_MUST_CHECK bool cv_pop3_maildrop_uidl_ready(struct cv_pop3_session *client, uint32_t number);
/* Octets of a message as RETR sends it, without byte-stuffing. Of one that cannot be read it is the stored size. */
uint64_t cv_pop3_maildrop_size(struct cv_pop3_session *client, uint32_t number);
/* "3/0123abcd -> 2/89abcdef" (%u of pop3_logout_format): how many unique-ids the client knew and a hash of them, and the same of what it will know. Nothing
   when it listed none, or nobody wants to know. */
void cv_pop3_maildrop_uidl_change(const struct cv_pop3_session *client, struct cv_buf *out);
void cv_pop3_maildrop_reset(struct cv_pop3_session *client);
/* The changes of the session as one transaction (update.c). deletions false: only \Seen of what was retrieved. fn is called when it is durable (or failed), unless the
   session ended before; NULL: nobody waits. 1 under way, 0 nothing to do, -1 failed; fn is not called for these two. */
CV_MUST_CHECK int cv_pop3_update(struct cv_pop3_session *client, bool deletions,
	void (*fn)(struct cv_pop3_session *client, const struct cv_err *err), struct cv_err *err);
/* The session ends: fn must not be called any more. */
void cv_pop3_update_forget(struct cv_pop3_session *client);

/* ---- The session (session.c) --------------------------------------------------------------------------- */

enum cv_pop3_state {
	CV_POP3_COMMAND,
	CV_POP3_OUTPUT,  /* a reply of many lines is being written */
	CV_POP3_UPDATE,  /* QUIT: the transaction is on its way to the disk */
	CV_POP3_CLOSED
};

struct cv_pop3_update;

struct cv_pop3_session {
	struct cv_session *session;
	struct cv_stream *stream;
	struct cv_user *user;
	const struct cv_pop3_settings *set;
	unsigned workarounds;
	uint16_t deleted_flag;       /* pop3_deleted_flag, when it is a system flag */
	struct cv_str deleted_keyword; /* when it is a keyword; absent: none */
	struct cv_pop3_resume resume;
	enum cv_pop3_state state;
	struct cv_pop3_input input;
	unsigned bad_commands;
	struct cv_pop3_maildrop drop;
	struct cv_pop3_update *update;
	bool updated;                /* QUIT began the update: the end of the session has nothing more to save */
	bool locked;                 /* pop3_lock_session: this session holds the lock */
	bool wants_uidl_change;      /* pop3_logout_format has %u */
	unsigned language;
	uint32_t lowest_retrieved;   /* number of the first message, from the front, that RETR has sent; 0: none */

	/* In state OUTPUT: writes what there is room for; true when the reply is complete. */
	bool (*more)(struct cv_pop3_session *client);
	uint32_t next;               /* LIST, UIDL: number of the next message */
	uint32_t until;              /* UIDL: last one */
	uint32_t number;             /* RETR, TOP */
	struct cv_mail *mail;
	struct {
		uint32_t next;       /* to be read in the next round; 0: none */
		struct cv_mail *mail; /* open and read; NULL: none is */
		uint32_t number;     /* of mail */
		bool ascii;
	} ahead;                     /* what RETR will ask for, if it goes on as before */
	struct cv_pop3_wire wire;
	struct cv_pop3_surrogate surrogate; /* of mail, when it needs one */
	uint64_t progress;           /* octets sent when the timeout was last looked at */

	/* For the line at the end. */
	struct {
		uint32_t top, retr, deleted;
		uint64_t top_size, retr_size;
	} count;
};

void cv_pop3_set_state(struct cv_pop3_session *client, enum cv_pop3_state state);
void cv_pop3_reply(struct cv_pop3_session *client, const char *fmt, ...) CV_PRINTF(2, 3);
void cv_pop3_bad(struct cv_pop3_session *client, const char *text);
/* Begin a reply of many lines. */
void cv_pop3_begin_output(struct cv_pop3_session *client, bool (*more)(struct cv_pop3_session *client));
/* reason: "Logged out" or why else; the numbers of pop3_logout_format are added. */
void cv_pop3_close(struct cv_pop3_session *client, const char *reason);
/* The line in client->input.line (commands.c). */
void cv_pop3_command(struct cv_pop3_session *client);
/* Commands in files of their own. */
void cv_pop3_cmd_list(struct cv_pop3_session *client, struct cv_str args);
void cv_pop3_cmd_uidl(struct cv_pop3_session *client, struct cv_str args);
/* Read the message that ahead.next says, so that RETR has it at hand; forget what was read. */
void cv_pop3_read_ahead(struct cv_pop3_session *client);
void cv_pop3_ahead_drop(struct cv_pop3_session *client);
void cv_pop3_cmd_retr(struct cv_pop3_session *client, struct cv_str args);
void cv_pop3_cmd_top(struct cv_pop3_session *client, struct cv_str args);
void cv_pop3_cmd_lang(struct cv_pop3_session *client, struct cv_str args);
/* pop3_login_delay (delay.c): 0 the user may log in now, and that is noted; else the seconds to wait. */
CV_MUST_CHECK uint32_t cv_pop3_login_delay(struct cv_pop3_session *client);
/* A message number of a message that is not deleted: true with *number_r. Else the error was replied. */
CV_MUST_CHECK bool cv_pop3_parse_number(struct cv_pop3_session *client, struct cv_str arg, uint32_t *number_r);

#endif
