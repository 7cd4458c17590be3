/* SPDX-License-Identifier: MIT
   PBKDF2 (RFC 8018 section 5.2) and the stored form of SCRAM, which is made with it. */
#include <config.h>

#include <culver/reader.h>

#include "modules/auth/schemes/schemes.h"
#include "modules/lib/scram/scram.h"

#include <openssl/evp.h>

#define ROUNDS_MAX 10000000u
#define PBKDF2_ROUNDS 5000u
#define PBKDF2_OCTETS 20
#define SALT_OCTETS 16u

static int pbkdf2(struct cv_str password, struct cv_str salt, uint32_t rounds, uint8_t out[PBKDF2_OCTETS], struct cv_err *err)
{
	if (password.len > INT32_MAX || salt.len > INT32_MAX || rounds == 0 || rounds > ROUNDS_MAX ||
		PKCS5_PBKDF2_HMAC(password.ptr == NULL ? "" : password.ptr, (int)password.len, (const uint8_t *)salt.ptr, (int)salt.len,
			(int)rounds, EVP_sha1(), PBKDF2_OCTETS, out) != 1)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "the crypto library refuses PBKDF2 with these parameters");
	return 1;
}

/* "$1$salt$rounds$hex": HMAC-SHA-1, 20 octets. */
static int pbkdf2_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(data);
	uint8_t out[PBKDF2_OCTETS];
	struct cv_str salt;
	struct cv_buf hash;
	uint32_t rounds;
	int ret = -1;

	(void)user;
	cv_buf_init_wipe(&hash, PBKDF2_OCTETS);
	if (!cv_take_lit(&r, CV_STR("$1$")) || !cv_take_until(&r, '$', &salt) || !cv_parse_u32(&r, ROUNDS_MAX, &rounds) ||
		!cv_take_char(&r, '$') || !cv_hex_decode(&hash, cv_reader_rest(&r)) || hash.len != PBKDF2_OCTETS)
		(void)cv_err_set(err, CV_ERR_CORRUPT, "the stored password is not of the form $1$salt$rounds$hex");
	else
		ret = pbkdf2(password, salt, rounds, out, err);
	if (ret == 1)
		ret = cv_equal_secret(out, hash.data, sizeof(out));
	cv_wipe(out, sizeof(out));
	cv_buf_deinit(&hash);
	return ret;
}

static int pbkdf2_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *buf, struct cv_err *err)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./";
	uint8_t out[PBKDF2_OCTETS], random[SALT_OCTETS];
	char salt[SALT_OCTETS];
	int ret;

	(void)user;
	if (rounds == 0)
		rounds = PBKDF2_ROUNDS;
	cv_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(salt); i++)
		salt[i] = letters[random[i] & 63];
	ret = pbkdf2(password, cv_str_mem(salt, sizeof(salt)), rounds, out, err);
	if (ret == 1) {
		cv_buf_append_c(buf, "$1$");
		cv_buf_append_mem(buf, salt, sizeof(salt));
		cv_buf_printf(buf, "$%u$", rounds);
		cv_buf_append_hex(buf, cv_str_mem(out, sizeof(out)));
	}
	cv_wipe(out, sizeof(out));
	return ret;
}

static int scram_verify(enum scram_hash hash, struct cv_str password, struct cv_str data, struct cv_err *err)
{
	struct scram_keys want, got = { .len = 0 };
	int ret;

	if (scram_parse(hash, data, &want, err) < 0)
		return -1;
	got.rounds = want.rounds;
	got.salt_len = want.salt_len;
	memcpy(got.salt, want.salt, want.salt_len);
	ret = scram_derive(hash, password, &got, err);
	if (ret == 0)
		ret = cv_equal_secret(got.stored, want.stored, want.len) && cv_equal_secret(got.server, want.server, want.len);
	cv_wipe(&want, sizeof(want));
	cv_wipe(&got, sizeof(got));
	return ret;
}

static int scram_generate(enum scram_hash hash, struct cv_str password, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	struct scram_keys keys = { .rounds = rounds == 0 ? SCRAM_ROUNDS : rounds, .salt_len = SALT_OCTETS };
	int ret;

	if (rounds != 0 && rounds < SCRAM_ROUNDS)
		return cv_err_set_public(err, CV_ERR_INVALID, "SCRAM needs at least %u rounds", SCRAM_ROUNDS);
	cv_random(keys.salt, keys.salt_len);
	ret = scram_derive(hash, password, &keys, err);
	if (ret == 0)
		scram_append(out, &keys);
	cv_wipe(&keys, sizeof(keys));
	return ret < 0 ? -1 : 1;
}

static int scram_sha1_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return scram_verify(SCRAM_SHA1, password, data, err);
}

static int scram_sha1_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	return scram_generate(SCRAM_SHA1, password, rounds, out, err);
}

static int scram_sha256_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return scram_verify(SCRAM_SHA256, password, data, err);
}

static int scram_sha256_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	return scram_generate(SCRAM_SHA256, password, rounds, out, err);
}

static const struct cv_pass_scheme schemes[] = {
	{ .name = "PBKDF2", .verify = pbkdf2_verify, .generate = pbkdf2_generate },
	{ .name = "SCRAM-SHA-1", .verify = scram_sha1_verify, .generate = scram_sha1_generate },
	{ .name = "SCRAM-SHA-256", .verify = scram_sha256_verify, .generate = scram_sha256_generate },
};
const struct scheme_table schemes_pbkdf2 = { schemes, CV_COUNT_OF(schemes) };
