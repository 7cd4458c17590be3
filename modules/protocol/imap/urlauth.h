/* SPDX-License-Identifier: MIT
   URLAUTH (RFC 4467): keys, tokens, and who may use a URL. Private to the module. */
#ifndef CV_IMAP_URLAUTH_H
#define CV_IMAP_URLAUTH_H

#include "imap-session.h"

#include "modules/lib/imap/imap-url.h"

/* The annotation of a mailbox that is its access key (RFC 4467 section 2.2). */
#define IMAP_URLAUTH_ENTRY "urlauth"
#define IMAP_URLAUTH_KEY 32u /* octets */

/* The one mechanism that is there (section 2.4.1). */
#define IMAP_URLAUTH_MECHANISM "INTERNAL"
/* Name of the protocol whose jobs are asked of other users' workers. Payload: enum imap_part_opt (u8), the URL. Answer: none when there is no such part; else
   enum imap_urlauth_answer (u8), how many octets the part has (u64), and a memfd of these with the body structure behind them. */
#define IMAP_URLAUTH_PROTOCOL "imap-urlauth"
enum imap_urlauth_answer {
	IMAP_URLAUTH_NUL = 1,    /* among the octets */
	IMAP_URLAUTH_UNKNOWN = 2 /* its encoding is not known */
};

/* imap_urlauth_users: each is application:user. -1: one makes no sense. */
CV_MUST_CHECK int imap_urlauth_users_check(const char *const *users, struct cv_err *err);
/* access names an identifier that can be: 0, or -1 with a public err. */
CV_MUST_CHECK int imap_urlauth_access_check(const struct imap_settings *set, struct cv_str access, struct cv_err *err);
/* The host of a URL is one that URLs of this server have. */
bool imap_urlauth_is_ours(const struct imap_settings *set, struct cv_str server);
/* 1 with the mailbox's key, 0 when it has none. */
int imap_urlauth_key(struct cv_user *user, const struct cv_mailbox *mailbox, uint8_t key_r[IMAP_URLAUTH_KEY]);
/* Append the token of a URL without mechanism and token: a format octet and HMAC-SHA256 (RFC 2104), in hexadecimal. -1: the system allows no SHA-256. */
CV_MUST_CHECK int imap_urlauth_append_token(struct cv_buf *out, const uint8_t key[IMAP_URLAUTH_KEY], struct cv_str rump, struct cv_err *err);
/* May asker, a logged-in user, have what url stands for in user's mailboxes? It takes as long whatever the reason is (section 6). -1 with err when that
   can't be told. */
CV_MUST_CHECK int imap_urlauth_verify(struct cv_user *user, const struct imap_settings *set, const struct cv_imap_url *url, struct cv_str asker,
	bool *ok_r, struct cv_err *err);

#endif
