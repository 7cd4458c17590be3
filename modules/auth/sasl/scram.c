/* SPDX-License-Identifier: MIT
   SASL SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding. */
#include <config.h>

#include <culver/reader.h>

#include "modules/auth/sasl/sasl.h"
#include "modules/lib/scram/scram.h"

#define NONCE_MAX 1024u
#define SERVER_NONCE_OCTETS 18u
#define FAKE_SALT_OCTETS 16u
#define MESSAGE_MAX 8192u

struct scram {
	enum scram_hash hash;
	enum { SCRAM_START, SCRAM_ASKED, SCRAM_LOOKUP, SCRAM_FINAL, SCRAM_DONE } state;
	struct cv_str gs2_header;         /* "n,a=…," */
	struct cv_str client_first_bare;
	struct cv_str client_nonce;
	struct cv_str server_first;
	struct cv_str nonce;              /* client's and ours */
	struct scram_keys keys;
	bool fake;                        /* no such user, or no usable credential: ends in failure */
};

static void wipe_keys(void *ctx)
{
	struct scram *scram = ctx;

	cv_wipe(&scram->keys, sizeof(scram->keys));
}

static void *start(struct cv_auth_request *request, enum scram_hash hash)
{
	struct scram *scram = cv_new(request->arena, struct scram, 1);

	scram->hash = hash;
	cv_arena_cleanup(request->arena, wipe_keys, scram);
	return scram;
}

static void *start_sha1(struct cv_auth_request *request)
{
	return start(request, SCRAM_SHA1);
}

static void *start_sha256(struct cv_auth_request *request)
{
	return start(request, SCRAM_SHA256);
}

static enum cv_sasl_step malformed(struct cv_err *err, const char *what)
{
	(void)cv_err_set(err, CV_ERR_INVALID, "malformed SCRAM message: %s", what);
	return CV_SASL_FAIL;
}

static struct cv_str keep(struct cv_auth_request *request, struct cv_buf *buf)
{
	struct cv_str s = cv_buf_ok(buf) ? cv_arena_str(request->arena, cv_buf_str(buf)) : (struct cv_str){ 0 };

	cv_buf_deinit(buf);
	return s;
}

/* saslname = 1*(value-safe-char / "=2C" / "=3D"). Absent when it is not one. */
static struct cv_str decode_name(struct cv_auth_request *request, struct cv_str name)
{
	struct cv_reader r = cv_reader_init(name);
	struct cv_buf out;
	bool ok = name.len > 0;
	char c;

	cv_buf_init(&out, SASL_NAME_MAX);
	while (ok && cv_take_any(&r, &c)) {
		if (c != '=')
			cv_buf_append_char(&out, c);
		else if (cv_take_lit(&r, CV_STR("2C")))
			cv_buf_append_char(&out, ',');
		else if (cv_take_lit(&r, CV_STR("3D")))
			cv_buf_append_char(&out, '=');
		else
			ok = false;
	}
	if (!ok || cv_str_has_nul(cv_buf_str(&out)))
		out.failed = true;
	return keep(request, &out);
}

/* Up to the next ',' or to the end. */
static struct cv_str take_attribute(struct cv_reader *r)
{
	struct cv_str value;

	if (!cv_take_until(r, ',', &value)) {
		value = cv_reader_rest(r);
		r->pos = r->s.len;
	}
	return value;
}

/* printable = %x21-2B / %x2D-7E */
static bool nonce_ok(struct cv_str nonce)
{
	for (size_t i = 0; i < nonce.len; i++)
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e)
			return false;
	return nonce.len > 0 && nonce.len <= NONCE_MAX;
}

/* client-first-message = gs2-header [reserved-mext ","] username "," nonce ["," extensions]
   gs2-header = ("p=" cb-name / "n" / "y") "," ["a=" saslname] "," */
static enum cv_sasl_step client_first(struct scram *scram, struct cv_auth_request *request, struct cv_str message, struct cv_err *err)
{
	struct cv_str copy = cv_arena_str(request->arena, message), authzid = { 0 }, name;
	struct cv_reader r = cv_reader_init(copy);

	if (message.len > MESSAGE_MAX)
		return malformed(err, "too long");
	if (cv_take_lit(&r, CV_STR("p=")))
		return malformed(err, "channel binding, which was not offered");
	/* "y": the client could bind, but saw no -PLUS mechanism. We offer none, so that is true. */
	if (!cv_take_char(&r, 'n') && !cv_take_char(&r, 'y'))
		return malformed(err, "no GS2 header");
	if (!cv_take_char(&r, ','))
		return malformed(err, "no GS2 header");
	if (cv_take_lit(&r, CV_STR("a="))) {
		authzid = decode_name(request, take_attribute(&r));
		if (authzid.ptr == NULL || sasl_prepare(request, &authzid, err) < 0)
			return malformed(err, "authorization identity");
	} else if (!cv_take_char(&r, ',')) {
		return malformed(err, "no GS2 header");
	}
	scram->gs2_header = cv_str_sub(copy, 0, r.pos);
	scram->client_first_bare = cv_reader_rest(&r);
	/* "m=" announces extensions that must be understood. */
	if (!cv_take_lit(&r, CV_STR("n=")))
		return malformed(err, "no user name");
	name = decode_name(request, take_attribute(&r));
	if (name.ptr == NULL || sasl_prepare(request, &name, err) < 0)
		return malformed(err, "user name");
	if (!cv_take_lit(&r, CV_STR("r=")))
		return malformed(err, "no nonce");
	scram->client_nonce = take_attribute(&r);
	if (!nonce_ok(scram->client_nonce))
		return malformed(err, "nonce");
	request->user = name;
	if (authzid.ptr != NULL && !cv_str_eq(authzid, name)) {
		request->master_user = name;
		request->user = authzid;
	}
	scram->state = SCRAM_LOOKUP;
	return CV_SASL_LOOKUP;
}

/* Salt of a user who is not there: always the same in this process, so that asking twice tells nothing. */
static void fake_keys(struct scram *scram, struct cv_str user)
{
	uint64_t half;

	scram->fake = true;
	scram->keys = (struct scram_keys){ .rounds = SCRAM_ROUNDS, .salt_len = FAKE_SALT_OCTETS, .len = scram_octets(scram->hash) };
	for (size_t i = 0; i < FAKE_SALT_OCTETS; i += sizeof(half)) {
		half = cv_hash(user.ptr, user.len) ^ cv_hash(&i, sizeof(i));
		half = cv_hash(&half, sizeof(half));
		memcpy(scram->keys.salt + i, &half, sizeof(half));
	}
	cv_random(scram->keys.stored, sizeof(scram->keys.stored));
}

/* The stored credential: this mechanism's own form, or a plaintext password, from which the keys can be made. */
static int set_keys(struct scram *scram, struct cv_auth_request *request, struct cv_str stored, struct cv_err *err)
{
	static const char *const plain[] = { "PLAIN", "CLEAR", "CLEARTEXT" };
	size_t end = cv_str_find(stored, '}');
	struct cv_str scheme, data;

	fake_keys(scram, request->user);
	if (stored.len == 0 || stored.ptr[0] != '{' || end == SIZE_MAX)
		return 0;
	scheme = cv_str_sub(stored, 1, end - 1);
	data = cv_str_sub(stored, end + 1, SIZE_MAX);
	if (cv_str_caseeq_c(scheme, scram->hash == SCRAM_SHA1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256")) {
		if (scram_parse(scram->hash, data, &scram->keys, err) < 0)
			return -1;
		scram->fake = false;
		return 0;
	}
	for (size_t i = 0; i < CV_COUNT_OF(plain); i++) {
		if (!cv_str_caseeq_c(scheme, plain[i]) || data.len == 0)
			continue;
		if (scram_derive(scram->hash, data, &scram->keys, err) < 0)
			return -1;
		scram->fake = false;
	}
	return 0;
}

/* server-first-message = nonce "," salt "," iteration-count */
static enum cv_sasl_step server_first(struct scram *scram, struct cv_auth_request *request, struct cv_str stored, struct cv_str *challenge_r,
	struct cv_err *err)
{
	uint8_t random[SERVER_NONCE_OCTETS];
	struct cv_buf out;

	if (set_keys(scram, request, stored, err) < 0)
		return CV_SASL_FAIL;
	cv_random(random, sizeof(random));
	cv_buf_init(&out, MESSAGE_MAX);
	cv_buf_append(&out, scram->client_nonce);
	cv_buf_append_base64(&out, cv_str_mem(random, sizeof(random)));
	scram->nonce = keep(request, &out);
	cv_buf_init(&out, MESSAGE_MAX);
	cv_buf_append_c(&out, "r=");
	cv_buf_append(&out, scram->nonce);
	cv_buf_append_c(&out, ",s=");
	cv_buf_append_base64(&out, cv_str_mem(scram->keys.salt, scram->keys.salt_len));
	cv_buf_printf(&out, ",i=%u", scram->keys.rounds);
	scram->server_first = keep(request, &out);
	scram->state = SCRAM_FINAL;
	*challenge_r = scram->server_first;
	return CV_SASL_CONTINUE;
}

/* ClientProof := ClientKey XOR HMAC(StoredKey, AuthMessage), and H(ClientKey) = StoredKey */
static bool proof_ok(const struct scram *scram, struct cv_str auth_message, struct cv_str proof)
{
	uint8_t signature[SCRAM_OCTETS_MAX], client[SCRAM_OCTETS_MAX], stored[SCRAM_OCTETS_MAX];
	size_t len = scram->keys.len;
	bool ok;

	if (proof.len != len || !scram_hmac(scram->hash, cv_str_mem(scram->keys.stored, len), auth_message, signature))
		return false;
	for (size_t i = 0; i < len; i++)
		client[i] = (uint8_t)((uint8_t)proof.ptr[i] ^ signature[i]);
	ok = scram_digest(scram->hash, cv_str_mem(client, len), stored) && cv_equal_secret(stored, scram->keys.stored, len);
	cv_wipe(client, sizeof(client));
	cv_wipe(signature, sizeof(signature));
	return ok && !scram->fake;
}

/* client-final-message = channel-binding "," nonce ["," extensions] "," proof */
static enum cv_sasl_step client_final(struct scram *scram, struct cv_auth_request *request, struct cv_str message, struct cv_str *challenge_r,
	struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(message);
	size_t proof_at = cv_str_find_str(message, CV_STR(",p="));
	struct cv_str binding, auth_message;
	uint8_t signature[SCRAM_OCTETS_MAX];
	struct cv_buf text, proof;
	bool ok;

	if (message.len > MESSAGE_MAX || proof_at == SIZE_MAX || !cv_take_lit(&r, CV_STR("c=")))
		return malformed(err, "final message");
	binding = take_attribute(&r);
	cv_buf_init(&text, MESSAGE_MAX);
	cv_buf_append_base64(&text, scram->gs2_header);
	ok = cv_str_eq(binding, cv_buf_str(&text));
	cv_buf_deinit(&text);
	if (!ok || !cv_take_lit(&r, CV_STR("r=")) || !cv_str_eq(take_attribute(&r), scram->nonce))
		return malformed(err, "GS2 header or nonce differ from the first message");
	cv_buf_init(&text, 3 * MESSAGE_MAX);
	cv_buf_append(&text, scram->client_first_bare);
	cv_buf_append_char(&text, ',');
	cv_buf_append(&text, scram->server_first);
	cv_buf_append_char(&text, ',');
	cv_buf_append(&text, cv_str_sub(message, 0, proof_at));
	auth_message = keep(request, &text);
	cv_buf_init(&proof, SCRAM_OCTETS_MAX);
	if (!cv_base64_decode(&proof, cv_str_sub(message, proof_at + 3, SIZE_MAX))) {
		cv_buf_deinit(&proof);
		return malformed(err, "proof");
	}
	ok = proof_ok(scram, auth_message, cv_buf_str(&proof)) &&
		scram_hmac(scram->hash, cv_str_mem(scram->keys.server, scram->keys.len), auth_message, signature);
	cv_buf_deinit(&proof);
	if (!ok) {
		(void)cv_err_set(err, CV_ERR_AUTH, scram->fake ? "no such user, or no credential for SCRAM" : "wrong password");
		return CV_SASL_FAIL;
	}
	/* server-final-message = verifier. The client answers with nothing, then it is done. */
	cv_buf_init(&text, MESSAGE_MAX);
	cv_buf_append_c(&text, "v=");
	cv_buf_append_base64(&text, cv_str_mem(signature, scram->keys.len));
	*challenge_r = keep(request, &text);
	scram->state = SCRAM_DONE;
	return CV_SASL_CONTINUE;
}

static enum cv_sasl_step step(void *ctx, struct cv_auth_request *request, struct cv_str response, struct cv_str *challenge_r,
	struct cv_str *password_r, struct cv_err *err)
{
	struct scram *scram = ctx;

	(void)password_r;
	switch (scram->state) {
	case SCRAM_START:
		if (response.ptr == NULL) {
			scram->state = SCRAM_ASKED;
			*challenge_r = CV_STR("");
			return CV_SASL_CONTINUE;
		}
		return client_first(scram, request, response, err);
	case SCRAM_ASKED:
		return client_first(scram, request, response, err);
	case SCRAM_LOOKUP:
		return server_first(scram, request, response, challenge_r, err);
	case SCRAM_FINAL:
		return client_final(scram, request, response, challenge_r, err);
	case SCRAM_DONE:
		break;
	}
	if (response.len != 0)
		return malformed(err, "more after the end");
	return CV_SASL_SUCCESS;
}

const struct cv_sasl_mech sasl_scram_sha1 = { .name = "SCRAM-SHA-1", .start = start_sha1, .step = step };
const struct cv_sasl_mech sasl_scram_sha256 = { .name = "SCRAM-SHA-256", .start = start_sha256, .step = step };
