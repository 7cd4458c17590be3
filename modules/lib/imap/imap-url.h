/* SPDX-License-Identifier: MIT
   IMAP URLs of messages and message parts (RFC 5092 sections 6, 7 and 11; RFC 3986 section 5.2), with what URLAUTH adds (RFC 4467 section 3). */
#ifndef CV_IMAP_URL_H
#define CV_IMAP_URL_H

#include "imap-fetch.h"

/* Longest URL that is taken. */
#define CV_IMAP_URL_MAX 8192u

struct cv_imap_url {
	bool has_server;           /* absolute, or a network-path reference: user and host are its own and not the base's */
	struct cv_str user;        /* decoded; absent: none. Without ";AUTH=" */
	struct cv_str server;      /* host and port as written */
	struct cv_str mailbox;     /* decoded: UTF-8 with the server's separators, not checked; absent: the URL names the server */
	uint32_t uidvalidity;      /* 0: not said */
	uint32_t uid;              /* 0: it names no message but a mailbox, a search or a server */
	struct cv_str section;     /* section-spec of FETCH, decoded; absent: the whole message */
	bool partial;
	uint64_t offset, length;   /* of the partial range; length 0: to the end */
	struct cv_str expire;      /* date-time (RFC 3339) as written; absent: none */
	struct cv_str access;      /* of URLAUTH, as written; absent: none */
	struct cv_str mechanism;   /* as written; absent: the URL ends with the access identifier */
	struct cv_str token;       /* hexadecimal as written */
	struct cv_str rump;        /* the URL without ":" mechanism ":" token (RFC 4467 section 6): a view of it. Absent without mechanism */
};

/* A URL or a reference to one. base: the selected mailbox, encoded as cv_imap_url_append_mailbox does; absent: none is selected. Memory in arena, views
   of url. -1 with a public err when it is none, or longer than CV_IMAP_URL_MAX. */
CV_MUST_CHECK int cv_imap_url_parse(struct cv_arena *arena, struct cv_str url, struct cv_str base, struct cv_imap_url *url_r, struct cv_err *err);
/* The octets that a part of a URL stands for. False when its percent-encoding is none, or of NUL. */
CV_MUST_CHECK bool cv_imap_url_decode(struct cv_arena *arena, struct cv_str s, struct cv_str *decoded_r);
/* The moment of EXPIRE in seconds since 1970. False: it is no date-time (RFC 3339 section 5.6). */
CV_MUST_CHECK bool cv_imap_url_expire(const struct cv_imap_url *url, int64_t *sec_r);
/* Percent-encoded as enc-mailbox. */
void cv_imap_url_append_mailbox(struct cv_buf *out, struct cv_str mailbox);
/* The section and the range as FETCH's BODY.PEEK takes them. Memory in arena. -1 with a public err when it is no section-spec. */
CV_MUST_CHECK int cv_imap_url_section(struct cv_arena *arena, const struct cv_imap_url *url, struct cv_imap_section *section_r, struct cv_err *err);

#endif
