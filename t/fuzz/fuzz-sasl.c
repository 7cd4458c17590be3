/* SPDX-License-Identifier: MIT
   SASL mechanisms: any messages end in failure or in what they say; SCRAM lets in who knows the password and nobody else. */
#include <config.h>

#include "modules/auth/sasl/sasl.h"
#include "modules/lib/scram/scram.h"
#include "t/fuzz/fuzz.h"

#include <culver/reader.h>

/* Input: one octet that picks the mechanism, then messages ended by LF, each behind one more LF when it holds one. */
static const struct cv_sasl_mech *const mechs[] = { &sasl_plain, &sasl_login, &sasl_external, &sasl_scram_sha1, &sasl_scram_sha256, &sasl_apop };

static struct cv_str next_message(struct cv_reader *r)
{
	struct cv_str message;

	if (!cv_take_until(r, '\n', &message)) {
		message = cv_reader_rest(r);
		r->pos = r->s.len;
	}
	return message;
}

/* [authzid] NUL authcid NUL passwd, put together again. */
static void check_plain(const struct cv_auth_request *request, struct cv_str password, struct cv_str response)
{
	struct cv_str authcid = request->master_user.ptr != NULL ? request->master_user : request->user;
	struct cv_str authzid = cv_str_sub(response, 0, cv_str_find(response, '\0'));
	struct cv_buf again;

	cv_buf_init(&again, SIZE_MAX / 2);
	cv_buf_append(&again, authzid);
	cv_buf_append_char(&again, '\0');
	cv_buf_append(&again, authcid);
	cv_buf_append_char(&again, '\0');
	cv_buf_append(&again, password);
	fuzz_check(cv_str_eq(cv_buf_str(&again), response));
	fuzz_check(authzid.len == 0 || cv_str_eq(authzid, request->user));
	cv_buf_deinit(&again);
}

/* Nobody can know a credential that was just made: SCRAM ends in failure. The others believe what they are told. */
static void check_messages(const struct cv_sasl_mech *mech, struct cv_str input)
{
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, CV_ARENA_WIPE);
	struct cv_auth_request request = { .arena = arena, .cert_valid = true, .cert_user = CV_STR("cert") };
	struct cv_reader r = cv_reader_init(input);
	struct cv_str response = { 0 }, challenge, password;
	void *state = mech->start(&request);
	enum cv_sasl_step step;
	struct cv_buf stored;

	if (input.len > 0 && input.ptr[0] != '\n')
		response = next_message(&r);
	for (unsigned steps = 0;; steps++) {
		struct cv_err err = { 0 };

		challenge = password = (struct cv_str){ 0 };
		fuzz_check(steps < 6);
		step = mech->step(state, &request, response, &challenge, &password, &err);
		if (step == CV_SASL_LOOKUP) {
			uint8_t key[SCRAM_OCTETS_MAX];
			struct scram_keys keys = { .rounds = 1, .salt = { 1 }, .salt_len = 4 };
			bool sha1 = mech == &sasl_scram_sha1;

			fuzz_check(request.user.len > 0 && !cv_str_has_nul(request.user));
			if (mech == &sasl_apop) {
				response = CV_STR("{PLAIN}a password that no digest is of");
				continue;
			}
			cv_random(key, sizeof(key));
			fuzz_check(scram_derive(sha1 ? SCRAM_SHA1 : SCRAM_SHA256, cv_str_mem(key, sizeof(key)), &keys, &err) == 0);
			cv_buf_init_wipe(&stored, 4096);
			cv_buf_append_c(&stored, sha1 ? "{SCRAM-SHA-1}" : "{SCRAM-SHA-256}");
			scram_append(&stored, &keys);
			response = cv_arena_str(arena, cv_buf_str(&stored));
			cv_buf_deinit(&stored);
			continue;
		}
		if (step != CV_SASL_CONTINUE)
			break;
		fuzz_check(challenge.ptr != NULL);
		response = next_message(&r);
	}
	fuzz_check(step != CV_SASL_SUCCESS || mech == &sasl_external);
	if (step == CV_SASL_VERIFY) {
		fuzz_check(mech == &sasl_plain || mech == &sasl_login);
		fuzz_check(request.user.len > 0 && !cv_str_has_nul(request.user) && password.len > 0 && !cv_str_has_nul(password));
		if (mech == &sasl_plain)
			check_plain(&request, password, response);
	}
	cv_arena_free(&arena);
}

/* ---- A client that does SCRAM as RFC 5802 section 3 says -------------------------------------------------------------- */

static void append_saslname(struct cv_buf *out, struct cv_str name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == ',')
			cv_buf_append_c(out, "=2C");
		else if (name.ptr[i] == '=')
			cv_buf_append_c(out, "=3D");
		else
			cv_buf_append_char(out, name.ptr[i]);
	}
}

/* Hi() of one iteration, and ClientProof over auth_message. */
static void append_proof(struct cv_buf *out, enum scram_hash hash, struct cv_str password, struct cv_str salt, struct cv_str auth_message)
{
	uint8_t salted[SCRAM_OCTETS_MAX], client[SCRAM_OCTETS_MAX], stored[SCRAM_OCTETS_MAX], signature[SCRAM_OCTETS_MAX];
	size_t len = scram_octets(hash);
	struct cv_buf text;

	cv_buf_init(&text, 4096);
	cv_buf_append(&text, salt);
	cv_buf_append_mem(&text, "\0\0\0\1", 4);
	fuzz_check(scram_hmac(hash, password, cv_buf_str(&text), salted));
	cv_buf_deinit(&text);
	fuzz_check(scram_hmac(hash, cv_str_mem(salted, len), CV_STR("Client Key"), client));
	fuzz_check(scram_digest(hash, cv_str_mem(client, len), stored));
	fuzz_check(scram_hmac(hash, cv_str_mem(stored, len), auth_message, signature));
	for (size_t i = 0; i < len; i++)
		client[i] ^= signature[i];
	cv_buf_append_base64(out, cv_str_mem(client, len));
}

/* name, the client's password, the stored one: one line each. */
static void check_scram(enum scram_hash hash, struct cv_str input)
{
	const struct cv_sasl_mech *mech = hash == SCRAM_SHA1 ? &sasl_scram_sha1 : &sasl_scram_sha256;
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, CV_ARENA_WIPE);
	struct cv_auth_request request = { .arena = arena };
	struct cv_reader r = cv_reader_init(input);
	struct cv_str name = next_message(&r), known = next_message(&r), password = next_message(&r), challenge = { 0 }, none = { 0 }, nonce = { 0 };
	struct scram_keys keys = { .rounds = 1, .salt = { 's', 'a', 'l', 't' }, .salt_len = 4 };
	struct cv_buf first, final, message, stored;
	struct cv_err err = { 0 };
	void *state;

	if (name.len == 0 || name.len > 300 || cv_str_has_nul(name) || password.len > 200 || known.len > 200) {
		cv_arena_free(&arena);
		return;
	}
	cv_buf_init(&first, 8192);
	cv_buf_init(&final, 8192);
	cv_buf_init(&message, 3 * 8192);
	cv_buf_init(&stored, 8192);
	cv_buf_append_c(&first, "n,,n=");
	append_saslname(&first, name);
	cv_buf_append_c(&first, ",r=fyko+d2lbbFgONRv9qkxdawL");
	state = mech->start(&request);
	fuzz_check(mech->step(state, &request, cv_buf_str(&first), &challenge, &none, &err) == CV_SASL_LOOKUP);
	fuzz_check(cv_str_eq(request.user, name));
	fuzz_check(scram_derive(hash, password, &keys, &err) == 0);
	cv_buf_append_c(&stored, hash == SCRAM_SHA1 ? "{SCRAM-SHA-1}" : "{SCRAM-SHA-256}");
	scram_append(&stored, &keys);
	fuzz_check(mech->step(state, &request, cv_buf_str(&stored), &challenge, &none, &err) == CV_SASL_CONTINUE);
	r = cv_reader_init(challenge);
	fuzz_check(cv_take_lit(&r, CV_STR("r=")) && cv_take_until(&r, ',', &nonce));
	fuzz_check(cv_str_eq(cv_reader_rest(&r), CV_STR("s=c2FsdA==,i=1")));
	cv_buf_append_c(&final, "c=biws,r=");
	cv_buf_append(&final, nonce);
	cv_buf_append(&message, cv_str_sub(cv_buf_str(&first), 3, SIZE_MAX));
	cv_buf_append_char(&message, ',');
	cv_buf_append(&message, challenge);
	cv_buf_append_char(&message, ',');
	cv_buf_append(&message, cv_buf_str(&final));
	cv_buf_append_c(&final, ",p=");
	append_proof(&final, hash, known, CV_STR("salt"), cv_buf_str(&message));
	if (mech->step(state, &request, cv_buf_str(&final), &challenge, &none, &err) == CV_SASL_CONTINUE) {
		fuzz_check(cv_str_eq(known, password));
		fuzz_check(cv_str_starts(challenge, CV_STR("v=")));
		fuzz_check(mech->step(state, &request, CV_STR(""), &challenge, &none, &err) == CV_SASL_SUCCESS);
	} else {
		/* HMAC fills its key with NULs: such passwords are the same. */
		fuzz_check(!cv_str_eq(known, password) && err.code == CV_ERR_AUTH);
	}
	cv_buf_deinit(&first);
	cv_buf_deinit(&final);
	cv_buf_deinit(&message);
	cv_buf_deinit(&stored);
	cv_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str input = cv_str_mem(data, size);

	if (size == 0)
		return 0;
	input = cv_str_sub(input, 1, SIZE_MAX);
	check_messages(mechs[data[0] % CV_COUNT_OF(mechs)], input);
	if (!cv_str_has_nul(input))
		check_scram(data[0] % 2 == 0 ? SCRAM_SHA1 : SCRAM_SHA256, input);
	return 0;
}
