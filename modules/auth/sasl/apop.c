/* SPDX-License-Identifier: MIT
   POP3's APOP (RFC 1939 section 7): the MD5 of the greeting's timestamp and a password that both sides know. */
#include <config.h>

#include <culver/digest.h>

#include "modules/auth/sasl/sasl.h"
#include "modules/lib/saslprep/saslprep.h"

#define TIMESTAMP_MAX 512u
#define DIGEST_OCTETS 16u

struct apop {
	bool asked;
	struct cv_str timestamp;
	uint8_t digest[DIGEST_OCTETS];
};

static void *start(struct cv_auth_request *request)
{
	return cv_new(request->arena, struct apop, 1);
}

/* RFC 6856 section 2.2: who "permits UTF-8 in usernames or passwords MUST apply SASLprep": without auth_saslprep they are not permitted. */
static bool name_ok(struct cv_auth_request *request, struct cv_str *name)
{
	struct cv_err err = { 0 };

	return sasl_prepares(request) ? sasl_prepare(request, name, &err) == 0 : cv_str_is_ascii(*name);
}

/* "When applying SASLprep to the APOP password argument, a compliant server or client MUST treat them as a stored string". */
static bool password_ok(struct cv_auth_request *request, struct cv_str *password)
{
	struct cv_err err = { 0 };

	return sasl_prepares(request) ? cv_saslprep(request->arena, *password, password, &err) == 0 : cv_str_is_ascii(*password);
}

/* message = timestamp NUL user NUL 16OCTET: front vouches that the timestamp is the one that this client was sent. */
static enum cv_sasl_step take_message(struct apop *apop, struct cv_auth_request *request, struct cv_str message, struct cv_err *err)
{
	struct cv_str timestamp, rest, user, digest;

	if (!cv_str_split(message, '\0', &timestamp, &rest) || !cv_str_split(rest, '\0', &user, &digest) || timestamp.len == 0 ||
		timestamp.len > TIMESTAMP_MAX || user.len == 0 || user.len > SASL_NAME_MAX || !name_ok(request, &user) ||
		digest.len != DIGEST_OCTETS) {
		(void)cv_err_set(err, CV_ERR_INVALID, "malformed APOP message");
		return CV_SASL_FAIL;
	}
	apop->timestamp = cv_arena_str(request->arena, timestamp);
	memcpy(apop->digest, digest.ptr, DIGEST_OCTETS);
	request->user = cv_arena_str(request->arena, user);
	apop->asked = true;
	return CV_SASL_LOOKUP;
}

/* The password in a stored credential of a scheme that keeps it as it is; absent when there is none. */
static struct cv_str plain_password(struct cv_str stored)
{
	static const char *const plain[] = { "PLAIN", "CLEAR", "CLEARTEXT" };
	size_t end = cv_str_find(stored, '}');

	if (stored.len == 0 || stored.ptr[0] != '{' || end == SIZE_MAX)
		return (struct cv_str){ 0 };
	for (size_t i = 0; i < CV_COUNT_OF(plain); i++) {
		if (cv_str_caseeq_c(cv_str_sub(stored, 1, end - 1), plain[i]))
			return cv_str_sub(stored, end + 1, SIZE_MAX);
	}
	return (struct cv_str){ 0 };
}

static enum cv_sasl_step check(const struct apop *apop, struct cv_auth_request *request, struct cv_str stored, struct cv_err *err)
{
	struct cv_str password = plain_password(stored);
	uint8_t digest[CV_DIGEST_MAX];
	bool usable = password.len > 0 && password_ok(request, &password), same;
	size_t len;

	/* Who has no such password is digested all the same, and takes as long. */
	if (cv_digest("md5", apop->timestamp, usable ? password : CV_STR("no password"), digest, &len, err) < 0)
		return CV_SASL_FAIL;
	same = len == DIGEST_OCTETS && cv_equal_secret(digest, apop->digest, DIGEST_OCTETS);
	cv_wipe(digest, sizeof(digest));
	if (usable && same)
		return CV_SASL_SUCCESS;
	(void)cv_err_set(err, CV_ERR_AUTH, usable ? "wrong password" : "no such user, or no {PLAIN} password for APOP");
	return CV_SASL_FAIL;
}

static enum cv_sasl_step step(void *ctx, struct cv_auth_request *request, struct cv_str response, struct cv_str *challenge_r,
	struct cv_str *password_r, struct cv_err *err)
{
	struct apop *apop = ctx;

	(void)challenge_r;
	(void)password_r;
	return apop->asked ? check(apop, request, response, err) : take_message(apop, request, response, err);
}

const struct cv_sasl_mech sasl_apop = { .name = "APOP", .opts = CV_SASL_OWN | CV_SASL_STORED, .start = start, .step = step };
