/* SPDX-License-Identifier: MIT
   Digests of the password, plain and salted: data is the digest, with salt behind it where the scheme has salt. */
#include <config.h>

#include "modules/auth/schemes/schemes.h"

#include <openssl/evp.h>

#define SALT_OCTETS 16u

/* digest of password and salt; -1 when the library refuses the digest (MD5 in FIPS mode). */
static int digest(const EVP_MD *md, struct cv_str password, struct cv_str salt, unsigned char out[EVP_MAX_MD_SIZE], size_t *len_r,
	struct cv_err *err)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned len = 0;
	bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, password.ptr, password.len) == 1 &&
		EVP_DigestUpdate(ctx, salt.ptr, salt.len) == 1 && EVP_DigestFinal_ex(ctx, out, &len) == 1;

	EVP_MD_CTX_free(ctx);
	*len_r = len;
	return ok ? 1 : cv_err_set(err, CV_ERR_UNSUPPORTED, "the crypto library refuses this digest");
}

static int verify(const EVP_MD *md, struct cv_str password, struct cv_str data, struct cv_err *err)
{
	unsigned char out[EVP_MAX_MD_SIZE];
	size_t len = (size_t)EVP_MD_size(md), got;
	int ret;

	if (data.len < len)
		return cv_err_set(err, CV_ERR_CORRUPT, "the stored digest is too short");
	ret = digest(md, password, cv_str_sub(data, len, SIZE_MAX), out, &got, err);
	if (ret == 1)
		ret = got == len && cv_equal_secret(out, data.ptr, len);
	cv_wipe(out, sizeof(out));
	return ret;
}

static int generate(const EVP_MD *md, struct cv_str password, size_t salt_len, struct cv_buf *buf, struct cv_err *err)
{
	unsigned char out[EVP_MAX_MD_SIZE], salt[SALT_OCTETS];
	size_t len;
	int ret;

	cv_random(salt, sizeof(salt));
	ret = digest(md, password, cv_str_mem(salt, salt_len), out, &len, err);
	if (ret == 1) {
		cv_buf_append_mem(buf, out, len);
		cv_buf_append_mem(buf, salt, salt_len);
	}
	cv_wipe(out, sizeof(out));
	return ret;
}

#define DIGEST_SCHEME(id, md)                                                                                 \
	static int id##_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)  \
	{                                                                                                     \
		(void)user;                                                                                   \
		return verify(md, password, data, err);                                                       \
	}                                                                                                     \
	static int id##_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, \
		struct cv_err *err)                                                                           \
	{                                                                                                     \
		(void)user;                                                                                   \
		(void)rounds;                                                                                 \
		return generate(md, password, 0, out, err);                                                   \
	}                                                                                                     \
	static int id##_generate_salted(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, \
		struct cv_err *err)                                                                           \
	{                                                                                                     \
		(void)user;                                                                                   \
		(void)rounds;                                                                                 \
		return generate(md, password, SALT_OCTETS, out, err);                                         \
	}
DIGEST_SCHEME(md5, EVP_md5())
DIGEST_SCHEME(sha1, EVP_sha1())
DIGEST_SCHEME(sha256, EVP_sha256())
DIGEST_SCHEME(sha512, EVP_sha512())

/* MD5-CRYPT, or an MD5 digest in hex or base64. */
static int md5_any_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	struct cv_buf raw;
	int ret;

	if (cv_str_starts(data, CV_STR("$1$")))
		return scheme_crypt_matches(password, data, err);
	cv_buf_init_wipe(&raw, 64);
	if (data.len == 32 ? cv_hex_decode(&raw, data) : cv_base64_decode(&raw, data) && raw.len == 16)
		ret = md5_verify(password, user, cv_buf_str(&raw), err);
	else
		ret = cv_err_set(err, CV_ERR_CORRUPT, "the stored MD5 password is neither MD5-CRYPT nor a digest in hex or base64");
	cv_buf_deinit(&raw);
	return ret;
}

/* MD5 of "user:realm:password" (RFC 2831 section 2.1.2.1, A1), for the whole user name before the first '@'. */
static int digest_md5_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	struct cv_str name, realm;
	struct cv_buf text;
	int ret;

	if (!cv_str_split(user, '@', &name, &realm))
		realm = CV_STR("");
	cv_buf_init_wipe(&text, 16384);
	cv_buf_append(&text, name);
	cv_buf_append_char(&text, ':');
	cv_buf_append(&text, realm);
	cv_buf_append_char(&text, ':');
	cv_buf_append(&text, password);
	ret = cv_buf_ok(&text) ? md5_verify(cv_buf_str(&text), user, data, err) : 0;
	cv_buf_deinit(&text);
	return ret;
}

#define PLAIN_DIGEST(n, id, enc, len)                                                                         \
	{ .name = n, .opts = CV_SCHEME_FAST | (enc), .verify = id##_verify, .generate = id##_generate, .octets = (len) }
#define SALTED_DIGEST(n, id)                                                                                  \
	{ .name = n, .opts = CV_SCHEME_FAST | CV_SCHEME_BASE64, .verify = id##_verify, .generate = id##_generate_salted }

static const struct cv_pass_scheme schemes[] = {
	PLAIN_DIGEST("PLAIN-MD5", md5, CV_SCHEME_HEX, 16),
	PLAIN_DIGEST("LDAP-MD5", md5, CV_SCHEME_BASE64, 16),
	PLAIN_DIGEST("SHA", sha1, CV_SCHEME_BASE64, 20),
	PLAIN_DIGEST("SHA1", sha1, CV_SCHEME_BASE64, 20),
	PLAIN_DIGEST("SHA256", sha256, CV_SCHEME_BASE64, 32),
	PLAIN_DIGEST("SHA512", sha512, CV_SCHEME_BASE64, 64),
	SALTED_DIGEST("SMD5", md5),
	SALTED_DIGEST("SSHA", sha1),
	SALTED_DIGEST("SSHA256", sha256),
	SALTED_DIGEST("SSHA512", sha512),
	{ .name = "MD5", .verify = md5_any_verify },
	{ .name = "DIGEST-MD5", .opts = CV_SCHEME_FAST | CV_SCHEME_HEX, .verify = digest_md5_verify, .octets = 16 },
};
const struct scheme_table schemes_digest = { schemes, CV_COUNT_OF(schemes) };
