/* SPDX-License-Identifier: MIT
   The LMTP dialogue in front (RFC 2033): one connection, its transaction, its recipients. Private to this module. */
#ifndef CV_LMTP_LOGIN_H
#define CV_LMTP_LOGIN_H

#include "modules/lib/lmtp/lmtp.h"

#include <culver/protocol.h>
#include <culver/reader.h>

/* Octets of a command line with its CRLF: RFC 5321 section 4.5.3.1.4 asks for 512, paths of mailing lists and the parameters need more. */
#define CV_LMTP_LINE_MAX 2048
/* Commands in error in a row after which the connection is closed. */
#define CV_LMTP_BAD_MAX 20
/* Look-ups of recipients, and deliveries, that run at the same time for one connection. */
#define CV_LMTP_LOOKUPS_MAX 20
#define CV_LMTP_JOBS_MAX 8
/* A ticket is good for some minutes; one older than this is asked for again before it is used. */
#define CV_LMTP_TICKET_MS 30000
/* How long RCPT waits for the user's worker to say whether the message may come. */
#define CV_LMTP_ASK_MS 5000

struct cv_lmtp_settings {
	const char *hostname;
	const char *recipient_delimiter;
	const char *postmaster_address;
	uint64_t lmtp_max_recipients;
	uint64_t message_size_limit; /* octets; 0: none is announced, and only CV_LMTP_SIZE_MAX bounds it */
	bool lmtp_add_received_header;
	bool quota_full_tempfail;
	unsigned lmtp_hdr_delivery_address; /* enum cv_lmtp_delivery_address */
};
/* Nothing larger fits into a worker's address space safely. */
#define CV_LMTP_SIZE_MAX (UINT64_C(1) << 30)
enum cv_lmtp_delivery_address { CV_LMTP_ADDRESS_NONE, CV_LMTP_ADDRESS_FINAL };
extern const struct cv_settings_table cv_lmtp_settings_table;

/* ---- Paths and parameters (path.c) ------------------------------------------------------------------ */

/* Views into the text parsed, but for local, which lives in the arena when it was quoted. */
struct cv_lmtp_path {
	struct cv_str text;   /* Mailbox as written, without <> and source route; empty for "<>" */
	struct cv_str local;  /* Local-part without its quotes */
	struct cv_str domain; /* as written; absent when there is none */
};
/* Path = "<" [ A-d-l ":" ] Mailbox ">" (RFC 5321 section 4.1.2), and "<" Local-part ">", since local MTAs leave the domain out, and with empty_allowed "<>".
   ASCII only. Strictly the grammar, but that underscores may stand in a domain. */
CV_MUST_CHECK bool cv_lmtp_take_path(struct cv_reader *r, bool empty_allowed, struct cv_arena *arena, struct cv_lmtp_path *path_r);
/* esmtp-param = esmtp-keyword ["=" esmtp-value]; value absent when there is none. */
CV_MUST_CHECK bool cv_lmtp_take_param(struct cv_reader *r, struct cv_str *keyword_r, struct cv_str *value_r);
/* A domain or address literal, as LHLO has. */
CV_MUST_CHECK bool cv_lmtp_is_domain(struct cv_str s);

/* ---- The message (spool.c) ---------------------------------------------------------------------------- */

enum cv_lmtp_spool_state {
	CV_LMTP_LINE_START, /* at the start, or behind CRLF */
	CV_LMTP_MID,
	CV_LMTP_CR,         /* behind a CR within a line */
	CV_LMTP_DOT,        /* behind a dot at the start of a line */
	CV_LMTP_DOT_CR
};
/* A message on its way into a memfd, or, when it is short (CV_LMTP_OCTETS_MAX), in buf; CRLF becoming LF. After an error (too large, no memory) octets are counted
   and thrown away. */
struct cv_lmtp_spool {
	int fd;             /* -1: none, all is in buf */
	enum cv_lmtp_spool_state state;
	uint64_t wire_size; /* octets received, without dots for transparency */
	uint64_t max;
	struct cv_buf buf;
	struct cv_err err;  /* code NONE: all is there */
	bool dots;          /* DATA, else BDAT */
};
void cv_lmtp_spool_init(struct cv_lmtp_spool *spool, uint64_t max, bool dots);
/* A message received by DATA: takes octets up to and with the line of one dot that ends it. Only CRLF ends a line (RFC 5321 section 4.1.1.4): "LF . LF" is
   text. True when the end was found; *used_r: octets taken. BDAT: takes all, always false. */
bool cv_lmtp_spool_take(struct cv_lmtp_spool *spool, struct cv_str octets, size_t *used_r);
/* All is there: what is long is written out and sealed. -1 with spool->err set. */
CV_MUST_CHECK int cv_lmtp_spool_seal(struct cv_lmtp_spool *spool);
void cv_lmtp_spool_deinit(struct cv_lmtp_spool *spool);

/* ---- The connection ------------------------------------------------------------------------------------ */

enum cv_lmtp_state {
	CV_LMTP_COMMAND,
	CV_LMTP_DATA,       /* message text up to the dot */
	CV_LMTP_CHUNK,      /* octets of a BDAT chunk */
	CV_LMTP_DELIVER,    /* deliveries run; input waits */
	CV_LMTP_CLOSED
};

enum cv_lmtp_rcpt_state {
	CV_LMTP_RCPT_LOOKUP,   /* first look-up, reply to RCPT is due */
	CV_LMTP_RCPT_POSTMASTER, /* the same, for postmaster_address instead */
	CV_LMTP_RCPT_ASK,      /* look-up answered, the worker is asked */
	CV_LMTP_RCPT_KNOWN,    /* all is answered, reply not yet sent */
	CV_LMTP_RCPT_ACCEPTED, /* replied 250 */
	CV_LMTP_RCPT_REFUSED,  /* replied otherwise */
	CV_LMTP_RCPT_RENEW,    /* a new ticket is awaited */
	CV_LMTP_RCPT_JOB,      /* delivery runs */
	CV_LMTP_RCPT_DONE      /* result is known */
};

struct cv_lmtp_rcpt {
	enum cv_lmtp_rcpt_state state;
	struct cv_str address;  /* as written */
	struct cv_str user;     /* looked up: address without quotes and detail */
	struct cv_str detail;   /* absent: none */
	struct cv_str ticket;
	uint64_t ticket_ms;     /* when it came */
	enum cv_auth_result result;
	struct cv_lmtp_reply reply; /* to RCPT when the worker refused it, else to the message when it was not delivered; code 0: none. In arena */
};

struct cv_lmtp_client {
	struct cv_login *login;
	struct cv_stream *stream;
	const struct cv_lmtp_settings *set;
	struct cv_str hostname;
	enum cv_lmtp_state state;
	struct cv_buf line;
	bool line_bad;           /* the last line was too long or held a NUL */
	bool line_waits;         /* the command in line waits for answers */
	bool discarding;         /* within a line that is too long */
	unsigned bad_commands;
	struct cv_buf lhlo;      /* name the client gave; empty: no LHLO yet */
	uint64_t base_id;        /* look-ups and jobs of rcpts[i] have the id base_id + i */
	/* The transaction */
	struct cv_arena *arena;
	bool mail_given;
	bool mail_reply_due;     /* it goes along with the next reply, or when the input is over (RFC 2920 section 3.2) */
	struct cv_str reverse_path;
	uint64_t announced;      /* SIZE of MAIL; 0: none */
	CV_VEC(struct cv_lmtp_rcpt) rcpts; /* strings in arena */
	size_t accepted;         /* of them */
	size_t replied;          /* recipients whose reply (to RCPT, later to the message) was sent */
	size_t started;          /* recipients whose delivery was started */
	size_t pending;          /* look-ups or jobs that run */
	bool spooling;           /* spool is in use */
	struct cv_lmtp_spool spool;
	bool chunks;             /* BDAT was used */
	bool chunk_last;
	const struct cv_lmtp_reply *chunk_refused; /* octets of this chunk are thrown away, this is the reply; or NULL */
	uint64_t chunk_left;     /* octets */
	uint64_t chunk_size;
};

void cv_lmtp_set_state(struct cv_lmtp_client *client, enum cv_lmtp_state state);
/* The output buffer; the reply to MAIL is in it, when that is due. */
struct cv_buf *cv_lmtp_out(struct cv_lmtp_client *client);
/* One reply line "code enhanced text"; enhanced NULL: none. */
void cv_lmtp_reply(struct cv_lmtp_client *client, unsigned code, const char *enhanced, const char *fmt, ...) CV_PRINTF(4, 5);
/* Go on with the input that waits, at once: what it is answered goes out together with the answer it waited for. Not from within input. */
void cv_lmtp_go_on(struct cv_lmtp_client *client);
/* A reply to a command that was wrong; closes when there were too many. */
void cv_lmtp_bad(struct cv_lmtp_client *client, unsigned code, const char *enhanced, const char *text);
void cv_lmtp_close(struct cv_lmtp_client *client, const char *reason);
/* Forget the transaction. Answers that are still on their way are dropped when they come. */
void cv_lmtp_reset(struct cv_lmtp_client *client);

/* The line in client->line (commands.c). False: it must wait for answers; try again then. */
CV_MUST_CHECK bool cv_lmtp_command(struct cv_lmtp_client *client);

/* Recipients (recipient.c). path's views are copied. False: as cv_lmtp_command. */
CV_MUST_CHECK bool cv_lmtp_rcpt_add(struct cv_lmtp_client *client, const struct cv_lmtp_path *path);
void cv_lmtp_user_reply(void *state, const struct cv_login_user_reply *reply);
/* The worker's answer to RCPT. */
void cv_lmtp_rcpt_answered(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt, const struct cv_login_job_reply *reply);
/* The recipient an answer with this id is about, or NULL. */
struct cv_lmtp_rcpt *cv_lmtp_rcpt_by_id(struct cv_lmtp_client *client, uint64_t id);
uint64_t cv_lmtp_rcpt_id(const struct cv_lmtp_client *client, const struct cv_lmtp_rcpt *rcpt);

/* Message octets from the stream, in states DATA and CHUNK (data.c). False when more input is needed. */
CV_MUST_CHECK bool cv_lmtp_data_input(struct cv_lmtp_client *client);
void cv_lmtp_data_begin(struct cv_lmtp_client *client);
/* refused: reply for a chunk whose octets are to be thrown away, or NULL. */
void cv_lmtp_chunk_begin(struct cv_lmtp_client *client, uint64_t size, bool last, const struct cv_lmtp_reply *refused);

/* All octets are there: deliver to each accepted recipient, reply to each in order, end the transaction (deliver.c). */
void cv_lmtp_deliver(struct cv_lmtp_client *client);
/* Start what can be started, send the replies that are due. Called again when something changed. */
void cv_lmtp_deliver_more(struct cv_lmtp_client *client);
/* The look-up for a new ticket was answered: rcpt->result. */
void cv_lmtp_deliver_renewed(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt);
void cv_lmtp_job_reply(void *state, const struct cv_login_job_reply *reply);

#endif
