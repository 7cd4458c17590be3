/* SPDX-License-Identifier: MIT
   URLAUTH: keys, tokens, and who may use a URL. */
#include <config.h>

#include "urlauth.h"

#include <culver/digest.h>
#include <culver/time.h>

/* First octet of a token: which algorithm made it (RFC 4467 section 2.4.1: "SHOULD incorporate some means of identifying" it). */
#define TOKEN_HMAC_SHA256 1u
#define SHA256_LEN 32u
#define SHA256_BLOCK 64u

/* ---- Who ---------------------------------------------------------------------------------------------- */

int imap_urlauth_users_check(const char *const *users, struct cv_err *err)
{
	for (; users != NULL && *users != NULL; users++) {
		size_t colon = cv_str_find(cv_str_c(*users), ':');

		if (colon == 0 || colon == SIZE_MAX || (*users)[colon + 1] == '\0')
			return cv_err_set(err, CV_ERR_INVALID, "imap_urlauth_users: \"%s\" is not of the form application:user", *users);
	}
	return 0;
}

/* user NULL: any. */
static bool is_application_user(const struct imap_settings *set, struct cv_str application, const struct cv_str *user)
{
	for (const char *const *entry = set->imap_urlauth_users; entry != NULL && *entry != NULL; entry++) {
		struct cv_str name, rest = cv_str_c(*entry);

		if (cv_str_split(rest, ':', &name, &rest) && cv_str_caseeq(name, application) && (user == NULL || cv_str_eq(rest, *user)))
			return true;
	}
	return false;
}

/* access = application ["+" enc-user] (RFC 5593 section 4) */
static bool split_access(struct cv_str access, struct cv_str *application_r, struct cv_str *user_r)
{
	*user_r = (struct cv_str){ 0 };
	return !cv_str_split(access, '+', application_r, user_r) || user_r->len > 0;
}

int imap_urlauth_access_check(const struct imap_settings *set, struct cv_str access, struct cv_err *err)
{
	struct cv_str application, user;

	if (!split_access(access, &application, &user))
		return cv_err_set_public(err, CV_ERR_INVALID, "The access identifier names no user");
	if (cv_str_caseeq_c(application, "user") || cv_str_caseeq_c(application, "submit")) {
		if (user.len == 0)
			return cv_err_set_public(err, CV_ERR_INVALID, "The access identifier names no user");
		return 0;
	}
	if (user.len == 0 && (cv_str_caseeq_c(application, "authuser") || cv_str_caseeq_c(application, "anonymous")))
		return 0;
	if (!is_application_user(set, application, NULL))
		return cv_err_set_public(err, CV_ERR_INVALID, "The access identifier is not known");
	return 0;
}

static bool may(const struct imap_settings *set, const struct cv_imap_url *url, struct cv_str asker)
{
	struct cv_arena *arena;
	struct cv_str application, user, decoded;
	bool ok;

	if (!split_access(url->access, &application, &user))
		return false;
	/* Everyone who is logged in is a user here: there is no anonymous access. */
	if (cv_str_caseeq_c(application, "anonymous") || cv_str_caseeq_c(application, "authuser"))
		return user.len == 0;
	if (!cv_str_caseeq_c(application, "user"))
		return is_application_user(set, application, &asker); /* "The IMAP server does not validate the specified userid" */
	arena = cv_arena_new("access identifier", NULL, 0);
	ok = cv_imap_url_decode(arena, user, &decoded) && cv_str_eq(decoded, asker);
	cv_arena_free(&arena);
	return ok;
}

bool imap_urlauth_is_ours(const struct imap_settings *set, struct cv_str server)
{
	const char *ours = set->imap_urlauth_host;
	struct cv_str host = server;
	size_t colon = cv_str_rfind(server, ':');

	if (strcmp(ours, "*") == 0)
		return true;
	if (colon != SIZE_MAX && cv_str_find(cv_str_sub(server, colon, SIZE_MAX), ']') == SIZE_MAX)
		host = cv_str_sub(server, 0, colon);
	return cv_str_caseeq_c(host, ours) || cv_str_caseeq_c(server, ours);
}

/* ---- Keys and tokens ---------------------------------------------------------------------------------- */

int imap_urlauth_key(struct cv_user *user, const struct cv_mailbox *mailbox, uint8_t key_r[IMAP_URLAUTH_KEY])
{
	struct cv_annotation annotation;

	if (cv_annotation_get(user, mailbox, CV_STR(IMAP_URLAUTH_ENTRY), &annotation) <= 0 || annotation.value.len != IMAP_URLAUTH_KEY)
		return 0;
	memcpy(key_r, annotation.value.ptr, IMAP_URLAUTH_KEY);
	return 1;
}

/* HMAC-SHA256 (RFC 2104 section 2) with a key that is shorter than a block. */
static int hmac(const uint8_t key[IMAP_URLAUTH_KEY], struct cv_str text, uint8_t out[CV_DIGEST_MAX], struct cv_err *err)
{
	uint8_t inner[SHA256_BLOCK], outer[SHA256_BLOCK], first[CV_DIGEST_MAX];
	size_t len;

	for (size_t i = 0; i < SHA256_BLOCK; i++) {
		uint8_t k = i < IMAP_URLAUTH_KEY ? key[i] : 0;

		inner[i] = k ^ 0x36;
		outer[i] = k ^ 0x5c;
	}
	if (cv_digest("sha256", cv_str_mem(inner, sizeof(inner)), text, first, &len, err) < 0 ||
		cv_digest("sha256", cv_str_mem(outer, sizeof(outer)), cv_str_mem(first, len), out, &len, err) < 0)
		return -1;
	cv_assert(len == SHA256_LEN);
	return 0;
}

int imap_urlauth_append_token(struct cv_buf *out, const uint8_t key[IMAP_URLAUTH_KEY], struct cv_str rump, struct cv_err *err)
{
	uint8_t token[1 + CV_DIGEST_MAX] = { TOKEN_HMAC_SHA256 };

	if (hmac(key, rump, token + 1, err) < 0)
		return -1;
	cv_buf_append_hex(out, cv_str_mem(token, 1 + SHA256_LEN));
	return 0;
}

static bool same_token(struct cv_str hex, const uint8_t *token, size_t len)
{
	struct cv_buf octets;
	unsigned differs = 0;
	bool ok;

	cv_buf_init(&octets, CV_IMAP_URL_MAX);
	ok = cv_hex_decode(&octets, hex) && octets.len == len;
	for (size_t i = 0; ok && i < len; i++)
		differs |= (unsigned)(uint8_t)octets.data[i] ^ token[i];
	cv_buf_deinit(&octets);
	return ok && differs == 0;
}

/* The key of the URL's mailbox; one that fits nothing when there is no such mailbox or key: "an authorization token is calculated on the rump URL, using
   random "plausible" keys". */
static int find_key(struct cv_user *user, const struct cv_imap_url *url, uint8_t key_r[IMAP_URLAUTH_KEY], struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("url", NULL, 0);
	struct cv_err why = { 0 };
	struct cv_mailbox *mailbox;
	struct cv_str name;
	int result = 0;

	cv_random(key_r, IMAP_URLAUTH_KEY);
	if (imap_utf8_name(user, arena, url->mailbox, &name, &why) == 0) {
		if (cv_mailbox_get(user, name, &mailbox, &why) >= 0) {
			(void)imap_urlauth_key(user, mailbox, key_r);
			cv_mailbox_unref(&mailbox);
		} else if (why.code != CV_ERR_NOTFOUND) {
			*err = why;
			result = -1;
		}
	}
	cv_arena_free(&arena);
	return result;
}

int imap_urlauth_verify(struct cv_user *user, const struct imap_settings *set, const struct cv_imap_url *url, struct cv_str asker, bool *ok_r,
	struct cv_err *err)
{
	uint8_t key[IMAP_URLAUTH_KEY], token[1 + CV_DIGEST_MAX] = { TOKEN_HMAC_SHA256 };
	int64_t expire;
	bool ok;

	*ok_r = false;
	if (find_key(user, url, key, err) < 0 || hmac(key, url->rump, token + 1, err) < 0)
		return -1;
	ok = same_token(url->token, token, 1 + SHA256_LEN);
	/* Section 3: "After that date and time, the URL has expired, and server implementations MUST reject the URL." */
	if (url->expire.ptr != NULL)
		ok = cv_imap_url_expire(url, &expire) && expire >= cv_time_now_sec() && ok;
	*ok_r = may(set, url, asker) && cv_str_caseeq_c(url->mechanism, IMAP_URLAUTH_MECHANISM) && ok;
	return 0;
}
