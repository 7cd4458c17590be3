/* SPDX-License-Identifier: MIT
   SCRAM keys. */
#include <config.h>

#include "modules/lib/scram/scram.h"

#include <culver/reader.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

static const EVP_MD *md_of(enum scram_hash hash)
{
	switch (hash) {
	case SCRAM_SHA1:
		return EVP_sha1();
	case SCRAM_SHA256:
		break;
	}
	return EVP_sha256();
}

size_t scram_octets(enum scram_hash hash)
{
	return hash == SCRAM_SHA1 ? 20 : 32;
}

bool scram_hmac(enum scram_hash hash, struct cv_str key, struct cv_str text, uint8_t out[SCRAM_OCTETS_MAX])
{
	unsigned len = 0;

	return key.len <= INT32_MAX && HMAC(md_of(hash), key.ptr, (int)key.len, (const uint8_t *)text.ptr, text.len, out, &len) != NULL &&
		len == scram_octets(hash);
}

bool scram_digest(enum scram_hash hash, struct cv_str text, uint8_t out[SCRAM_OCTETS_MAX])
{
	unsigned len = 0;

	return EVP_Digest(text.ptr, text.len, out, &len, md_of(hash), NULL) == 1 && len == scram_octets(hash);
}

/* SaltedPassword := Hi(password, salt, i); StoredKey := H(HMAC(SaltedPassword, "Client Key")); ServerKey := HMAC(SaltedPassword, "Server Key") */
int scram_derive(enum scram_hash hash, struct cv_str password, struct scram_keys *keys, struct cv_err *err)
{
	uint8_t salted[SCRAM_OCTETS_MAX] = { 0 }, client[SCRAM_OCTETS_MAX];
	struct cv_str salted_view;
	bool ok;

	keys->len = scram_octets(hash);
	salted_view = cv_str_mem(salted, keys->len);
	ok = password.len <= INT32_MAX && keys->salt_len <= sizeof(keys->salt) && keys->rounds > 0 && keys->rounds <= SCRAM_ROUNDS_MAX &&
		PKCS5_PBKDF2_HMAC(password.ptr == NULL ? "" : password.ptr, (int)password.len, keys->salt, (int)keys->salt_len,
			(int)keys->rounds, md_of(hash), (int)keys->len, salted) == 1 &&
		scram_hmac(hash, salted_view, CV_STR("Client Key"), client) &&
		scram_digest(hash, cv_str_mem(client, keys->len), keys->stored) &&
		scram_hmac(hash, salted_view, CV_STR("Server Key"), keys->server);
	cv_wipe(salted, sizeof(salted));
	cv_wipe(client, sizeof(client));
	return ok ? 0 : cv_err_set(err, CV_ERR_UNSUPPORTED, "the crypto library refuses to make SCRAM keys with these parameters");
}

static bool take_base64(struct cv_str text, uint8_t *out, size_t size, size_t *len_r)
{
	struct cv_buf octets;
	bool ok;

	cv_buf_init_wipe(&octets, size);
	ok = cv_base64_decode(&octets, text);
	if (ok && octets.len > 0)
		memcpy(out, octets.data, octets.len);
	*len_r = octets.len;
	cv_buf_deinit(&octets);
	return ok;
}

int scram_parse(enum scram_hash hash, struct cv_str stored, struct scram_keys *keys, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(stored);
	struct cv_str salt, stored_key;
	size_t stored_len, server_len;

	*keys = (struct scram_keys){ .len = scram_octets(hash) };
	if (!cv_parse_u32(&r, SCRAM_ROUNDS_MAX, &keys->rounds) || keys->rounds == 0 || !cv_take_char(&r, ',') ||
		!cv_take_until(&r, ',', &salt) || !cv_take_until(&r, ',', &stored_key) ||
		!take_base64(salt, keys->salt, sizeof(keys->salt), &keys->salt_len) ||
		!take_base64(stored_key, keys->stored, sizeof(keys->stored), &stored_len) ||
		!take_base64(cv_reader_rest(&r), keys->server, sizeof(keys->server), &server_len) || keys->salt_len == 0 ||
		stored_len != keys->len || server_len != keys->len) {
		cv_wipe(keys, sizeof(*keys));
		return cv_err_set(err, CV_ERR_CORRUPT, "the stored password is not of the form rounds,salt,stored key,server key");
	}
	return 0;
}

void scram_append(struct cv_buf *out, const struct scram_keys *keys)
{
	cv_buf_printf(out, "%u,", keys->rounds);
	cv_buf_append_base64(out, cv_str_mem(keys->salt, keys->salt_len));
	cv_buf_append_char(out, ',');
	cv_buf_append_base64(out, cv_str_mem(keys->stored, keys->len));
	cv_buf_append_char(out, ',');
	cv_buf_append_base64(out, cv_str_mem(keys->server, keys->len));
}
