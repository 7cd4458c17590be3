/* SPDX-License-Identifier: MIT
   The schemes of libxcrypt: crypt(3) and its prefixes. */
#include <config.h>

#include "modules/auth/schemes/schemes.h"

#include <crypt.h>

/* Passwords beyond this are refused: what crypt(3) takes (CRYPT_MAX_PASSPHRASE_SIZE) less its NUL. */
#define PASSWORD_MAX ((size_t)CRYPT_MAX_PASSPHRASE_SIZE - 1)

#define BLOWFISH_COST 10u /* the library's default of 5 was right in 1999 */

static bool to_c(struct cv_str s, char *out, size_t size)
{
	if (s.len >= size || cv_str_has_nul(s))
		return false;
	if (s.len > 0)
		memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
	return true;
}

/* crypt(3) fails with a string that begins with '*'. */
int scheme_crypt_matches(struct cv_str password, struct cv_str setting, struct cv_err *err)
{
	struct {
		char password[CRYPT_MAX_PASSPHRASE_SIZE];
		char setting[CRYPT_OUTPUT_SIZE];
		struct crypt_data data;
	} *work;
	const char *hash;
	int ret;

	/* A password that crypt(3) cannot be given matches nothing; "!" and "*" lock an account. */
	if (password.len > PASSWORD_MAX || cv_str_has_nul(password))
		return 0;
	if (setting.len > 0 && (setting.ptr[0] == '!' || setting.ptr[0] == '*'))
		return 0;
	work = cv_calloc(1, sizeof(*work));
	if (!to_c(password, work->password, sizeof(work->password)) || !to_c(setting, work->setting, sizeof(work->setting))) {
		ret = cv_err_set(err, CV_ERR_CORRUPT, "the stored crypt(3) password is too long or holds a NUL");
	} else {
		hash = crypt_r(work->password, work->setting, &work->data);
		if (hash == NULL || hash[0] == '*')
			ret = cv_err_set(err, CV_ERR_CORRUPT, "crypt(3) does not know the form of the stored password");
		else
			ret = scheme_equal(cv_str_c(hash), setting);
	}
	cv_wipe(work, sizeof(*work));
	cv_free(work);
	return ret;
}

static int prefixed(struct cv_str password, struct cv_str data, const char *prefix, struct cv_err *err)
{
	if (!cv_str_starts(data, cv_str_c(prefix)) && !cv_str_starts(data, CV_STR("!")) && !cv_str_starts(data, CV_STR("*")))
		return cv_err_set(err, CV_ERR_CORRUPT, "the stored password does not begin with %s", prefix);
	return scheme_crypt_matches(password, data, err);
}

static int crypt_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return scheme_crypt_matches(password, data, err);
}

static int sha512_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return prefixed(password, data, "$6$", err);
}

static int sha256_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return prefixed(password, data, "$5$", err);
}

static int blowfish_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return prefixed(password, data, "$2", err);
}

static int md5_crypt_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return prefixed(password, data, "$1$", err);
}

static int yescrypt_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	return prefixed(password, data, "$y$", err);
}

static int des_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	if (cv_str_starts(data, CV_STR("$")))
		return cv_err_set(err, CV_ERR_CORRUPT, "the stored password is not a DES one");
	return scheme_crypt_matches(password, data, err);
}

static int generate(const char *prefix, struct cv_str password, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	struct {
		char password[CRYPT_MAX_PASSPHRASE_SIZE];
		char setting[CRYPT_GENSALT_OUTPUT_SIZE];
		char random[32];
		struct crypt_data data;
	} *work;
	const char *hash;
	int ret = 1;

	if (password.len > PASSWORD_MAX || cv_str_has_nul(password))
		return cv_err_set_public(err, CV_ERR_INVALID, "the password is longer than %zu octets or holds a NUL", PASSWORD_MAX);
	work = cv_calloc(1, sizeof(*work));
	cv_random(work->random, sizeof(work->random));
	if (!to_c(password, work->password, sizeof(work->password)) ||
		crypt_gensalt_rn(prefix, rounds, work->random, (int)sizeof(work->random), work->setting,
			(int)sizeof(work->setting)) == NULL) {
		ret = cv_err_set(err, CV_ERR_INVALID, "crypt(3) makes no salt for %s with %u rounds", prefix, rounds);
	} else {
		hash = crypt_r(work->password, work->setting, &work->data);
		if (hash == NULL || hash[0] == '*')
			ret = cv_err_set(err, CV_ERR_INTERNAL, "crypt(3) cannot make a password for %s", prefix);
		else
			cv_buf_append_c(out, hash);
	}
	cv_wipe(work, sizeof(*work));
	cv_free(work);
	return ret;
}

static int sha512_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	return generate("$6$", password, rounds, out, err);
}

static int sha256_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	return generate("$5$", password, rounds, out, err);
}

static int blowfish_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	/* What is beyond 72 octets would not count: say so instead of taking a password whose end is ignored. */
	if (password.len > 72)
		return cv_err_set_public(err, CV_ERR_INVALID, "bcrypt takes passwords of at most 72 octets");
	return generate("$2y$", password, rounds == 0 ? BLOWFISH_COST : rounds, out, err);
}

static int yescrypt_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	return generate("$y$", password, rounds, out, err);
}

static const struct cv_pass_scheme schemes[] = {
	{ .name = "CRYPT", .verify = crypt_verify, .generate = blowfish_generate },
	{ .name = "SHA512-CRYPT", .verify = sha512_verify, .generate = sha512_generate },
	{ .name = "SHA256-CRYPT", .verify = sha256_verify, .generate = sha256_generate },
	{ .name = "BLF-CRYPT", .verify = blowfish_verify, .generate = blowfish_generate },
	{ .name = "YESCRYPT", .verify = yescrypt_verify, .generate = yescrypt_generate },
	{ .name = "MD5-CRYPT", .verify = md5_crypt_verify },
	{ .name = "DES-CRYPT", .verify = des_verify },
};
const struct scheme_table schemes_crypt = { schemes, CV_COUNT_OF(schemes) };
