/* SPDX-License-Identifier: MIT
   Message digests by OpenSSL. */
#include <culver/digest.h>

#include <openssl/err.h>
#include <openssl/evp.h>

static const struct {
	const char *name;
	const EVP_MD *(*md)(void);
} algorithms[] = {
	{ "md5", EVP_md5 }, { "sha1", EVP_sha1 }, { "sha224", EVP_sha224 },
	{ "sha256", EVP_sha256 }, { "sha384", EVP_sha384 }, { "sha512", EVP_sha512 },
};

int cv_digest(const char *algorithm, struct cv_str a, struct cv_str b, uint8_t out[CV_DIGEST_MAX], size_t *len_r, struct cv_err *err)
{
	const EVP_MD *md = NULL;
	unsigned len = 0;
	_Static_assert(EVP_MAX_MD_SIZE <= CV_DIGEST_MAX, "results fit");

	for (size_t i = 0; i < CV_COUNT_OF(algorithms); i++)
		if (strcmp(algorithms[i].name, algorithm) == 0)
			md = algorithms[i].md();
	if (md == NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "there is no digest \"%s\"", algorithm);
	ERR_clear_error();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, a.len > 0 ? a.ptr : "", a.len) == 1 &&
		EVP_DigestUpdate(ctx, b.len > 0 ? b.ptr : "", b.len) == 1 && EVP_DigestFinal_ex(ctx, out, &len) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok)
		return cv_err_set(err, CV_ERR_UNAVAILABLE, "the system's cryptographic policy does not allow %s", algorithm);
	*len_r = len;
	return 0;
}
