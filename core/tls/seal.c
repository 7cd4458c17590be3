/* SPDX-License-Identifier: MIT
   Sealing by OpenSSL: the cipher is fetched and its key expanded once. */
#include <config.h>

#include "core/tls/seal.h"
#include "core/tls/tls-openssl.h"

#include <openssl/evp.h>
#include <string.h>

#define NONCE_LEN 12

struct cv_seal {
	EVP_CIPHER_CTX *in, *out; /* one for each direction */
};

static EVP_CIPHER_CTX *new_ctx(const uint8_t key[CV_SEAL_KEY_LEN], int sealing)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (ctx == NULL || EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, NULL, sealing) != 1)
		cv_fatal("OpenSSL gives no AES-256-GCM: %s", cv_tls_openssl_reason());
	return ctx;
}

struct cv_seal *cv_seal_new(const uint8_t key[CV_SEAL_KEY_LEN])
{
	struct cv_seal *seal = cv_new0(struct cv_seal);

	seal->in = new_ctx(key, 1);
	seal->out = new_ctx(key, 0);
	return seal;
}

void cv_seal_free(struct cv_seal **seal_p)
{
	struct cv_seal *seal = *seal_p;

	*seal_p = NULL;
	if (seal == NULL)
		return;
	EVP_CIPHER_CTX_free(seal->in);
	EVP_CIPHER_CTX_free(seal->out);
	cv_free(seal);
}

static bool begin(EVP_CIPHER_CTX *ctx, uint64_t number, struct cv_str context)
{
	uint8_t nonce[NONCE_LEN] = { 0 };
	int len;

	for (size_t i = 0; i < 8; i++)
		nonce[i] = (uint8_t)(number >> (8 * i));
	return context.len <= INT32_MAX && EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, -1) == 1 &&
		EVP_CipherUpdate(ctx, NULL, &len, (const unsigned char *)context.ptr, (int)context.len) == 1;
}

void cv_seal_put(struct cv_seal *seal, uint64_t number, struct cv_str context, struct cv_str plain, struct cv_buf *out)
{
	uint8_t tag[CV_SEAL_ADDS];
	int len = 0, end = 0;

	cv_assert(plain.len > 0 && plain.len <= INT32_MAX && context.len > 0);
	char *to = cv_buf_reserve(out, plain.len);
	if (to == NULL)
		return;
	if (!begin(seal->in, number, context) ||
		EVP_CipherUpdate(seal->in, (unsigned char *)to, &len, (const unsigned char *)plain.ptr, (int)plain.len) != 1 ||
		EVP_CipherFinal_ex(seal->in, (unsigned char *)to + len, &end) != 1 ||
		EVP_CIPHER_CTX_ctrl(seal->in, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), tag) != 1)
		cv_fatal("OpenSSL does not seal: %s", cv_tls_openssl_reason());
	cv_buf_commit(out, plain.len);
	cv_buf_append_mem(out, tag, sizeof(tag));
}

bool cv_seal_open(struct cv_seal *seal, uint64_t number, struct cv_str context, struct cv_str sealed, struct cv_buf *out)
{
	uint8_t tag[CV_SEAL_ADDS];
	int len = 0, end = 0;

	if (sealed.len <= sizeof(tag) || sealed.len > INT32_MAX || context.len == 0)
		return false;
	size_t size = sealed.len - sizeof(tag);
	char *to = cv_buf_reserve(out, size);
	if (to == NULL)
		return false;
	memcpy(tag, sealed.ptr + size, sizeof(tag));
	bool good = begin(seal->out, number, context) &&
		EVP_CipherUpdate(seal->out, (unsigned char *)to, &len, (const unsigned char *)sealed.ptr, (int)size) == 1 &&
		EVP_CIPHER_CTX_ctrl(seal->out, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) == 1 &&
		EVP_CipherFinal_ex(seal->out, (unsigned char *)to + len, &end) == 1;
	if (good) {
		cv_buf_commit(out, size);
	} else {
		cv_wipe(to, size);
		(void)cv_tls_openssl_reason();
	}
	return good;
}
