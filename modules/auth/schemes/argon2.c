/* SPDX-License-Identifier: MIT
   Argon2 (RFC 9106) through libargon2, in its own encoded form "$argon2id$v=19$…". */
#include <config.h>

#include <culver/reader.h>

#include "modules/auth/schemes/schemes.h"

#include <argon2.h>

/* As Dovecot's (libsodium's "interactive"), so that checks cost the same whichever server made the password. */
#define MEMORY_KIB 65536u
#define PASSES 3u
#define LANES 1u
#define SALT_OCTETS 16u
#define HASH_OCTETS 32u
#define ENCODED_MAX 512

/* What a stored password may make us use, whoever wrote it: 1 GiB and 1,000 passes. */
#define MEMORY_MAX_KIB (1024u * 1024u)
#define PASSES_MAX 1000u

/* "$argon2id$v=19$m=65536,t=3,p=1$…": memory and passes within bounds. */
static bool parameters_ok(struct cv_str data, const char *prefix)
{
	struct cv_reader r = cv_reader_init(data);
	uint32_t version, memory, passes, lanes;

	if (!cv_take_lit(&r, cv_str_c(prefix)))
		return false;
	if (cv_take_lit(&r, CV_STR("v=")) && (!cv_parse_u32(&r, 19, &version) || !cv_take_char(&r, '$')))
		return false;
	return cv_take_lit(&r, CV_STR("m=")) && cv_parse_u32(&r, MEMORY_MAX_KIB, &memory) && cv_take_lit(&r, CV_STR(",t=")) &&
		cv_parse_u32(&r, PASSES_MAX, &passes) && cv_take_lit(&r, CV_STR(",p=")) && cv_parse_u32(&r, 255, &lanes) &&
		cv_take_char(&r, '$');
}

static int verify(argon2_type type, const char *prefix, struct cv_str password, struct cv_str data, struct cv_err *err)
{
	char encoded[ENCODED_MAX];
	int ret;

	if (data.len >= sizeof(encoded) || cv_str_has_nul(data) || !parameters_ok(data, prefix))
		return cv_err_set(err, CV_ERR_CORRUPT, "the stored password is not of the form %sv=…$m=…,t=…,p=…$salt$hash, or asks for "
			"more than %u KiB or %u passes", prefix, MEMORY_MAX_KIB, PASSES_MAX);
	memcpy(encoded, data.ptr, data.len);
	encoded[data.len] = '\0';
	ret = argon2_verify(encoded, password.ptr == NULL ? "" : password.ptr, password.len, type);
	cv_wipe(encoded, sizeof(encoded));
	if (ret == ARGON2_OK)
		return 1;
	if (ret == ARGON2_VERIFY_MISMATCH)
		return 0;
	return cv_err_set(err, ret == ARGON2_MEMORY_ALLOCATION_ERROR ? CV_ERR_TEMP : CV_ERR_CORRUPT, "Argon2: %s",
		argon2_error_message(ret));
}

static int generate(argon2_type type, struct cv_str password, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	char encoded[ENCODED_MAX], salt[SALT_OCTETS];
	int ret;

	if (rounds > PASSES_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "at most %u rounds", PASSES_MAX);
	cv_random(salt, sizeof(salt));
	ret = argon2_hash(rounds == 0 ? PASSES : rounds, MEMORY_KIB, LANES, password.ptr == NULL ? "" : password.ptr, password.len, salt,
		sizeof(salt), NULL, HASH_OCTETS, encoded, sizeof(encoded), type, ARGON2_VERSION_13);
	if (ret != ARGON2_OK)
		return cv_err_set(err, CV_ERR_TEMP, "Argon2: %s", argon2_error_message(ret));
	cv_buf_append_c(out, encoded);
	cv_wipe(encoded, sizeof(encoded));
	return 1;
}

static int i_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return verify(Argon2_i, "$argon2i$", password, data, err);
}

static int i_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	return generate(Argon2_i, password, rounds, out, err);
}

static int id_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return verify(Argon2_id, "$argon2id$", password, data, err);
}

static int id_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	return generate(Argon2_id, password, rounds, out, err);
}

static const struct cv_pass_scheme schemes[] = {
	{ .name = "ARGON2I", .verify = i_verify, .generate = i_generate },
	{ .name = "ARGON2ID", .verify = id_verify, .generate = id_generate },
};
const struct scheme_table schemes_argon2 = { schemes, CV_COUNT_OF(schemes) };
