/* SPDX-License-Identifier: MIT
   The functions by which a protocol module's login part speaks to front (protocol.h). */
#include "core/proc/login-private.h"

#include <arpa/inet.h>
#include <string.h>

#define CLOSE_FLUSH_MS 5000

/* ---- Small things ---------------------------------------------------------------------------------------------------- */

void cv_session_id_new(char out[CV_SESSION_ID_LEN + 1])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	/* The kernel is asked for some ids at a time. Front, which makes them, never forks. */
	static uint8_t pool[32 * CV_SESSION_ID_LEN];
	static size_t used = sizeof(pool);

	if (used == sizeof(pool)) {
		cv_random(pool, sizeof(pool));
		used = 0;
	}
	for (size_t i = 0; i < CV_SESSION_ID_LEN; i++)
		out[i] = letters[pool[used++] & 63];
	out[CV_SESSION_ID_LEN] = '\0';
}

bool cv_net_address(const char *text, uint8_t out[16], uint32_t *mapped_bits_r)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	*mapped_bits_r = 0;
	if (inet_pton(AF_INET6, text, out) == 1)
		return true;
	if (inet_pton(AF_INET, text, out + 12) != 1)
		return false;
	memcpy(out, mapped, sizeof(mapped));
	*mapped_bits_r = 96;
	return true;
}

bool cv_net_contains(const uint8_t net[16], uint32_t bits, const uint8_t addr[16])
{
	for (uint32_t bit = 0; bit < bits; bit++) {
		unsigned mask = 0x80u >> (bit % 8);
		if ((net[bit / 8] & mask) != (addr[bit / 8] & mask))
			return false;
	}
	return true;
}

bool cv_net_parse(struct cv_str text, uint8_t net[16], uint32_t *bits_r)
{
	char host_text[INET6_ADDRSTRLEN];
	struct cv_str host, bits;
	bool has_bits = cv_str_split(text, '/', &host, &bits);
	uint32_t mapped, given;

	if (host.len == 0 || host.len >= sizeof(host_text))
		return false;
	memcpy(host_text, host.ptr, host.len);
	host_text[host.len] = '\0';
	if (!cv_net_address(host_text, net, &mapped))
		return false;
	*bits_r = 128;
	if (!has_bits)
		return true;
	if (!cv_str_to_u32(bits, 128 - mapped, &given))
		return false;
	*bits_r = given + mapped;
	return true;
}

bool cv_net_match_any(const char *const *nets, const char *addr)
{
	uint8_t a[16], n[16];
	uint32_t ignored, bits;

	if (nets == NULL || addr == NULL || !cv_net_address(addr, a, &ignored))
		return false;
	for (size_t i = 0; nets[i] != NULL; i++) {
		if (cv_net_parse(cv_str_c(nets[i]), n, &bits) && cv_net_contains(n, bits, a))
			return true;
	}
	return false;
}

static bool is_loopback(const char *addr)
{
	static const char *const nets[] = { "127.0.0.0/8", "::1", NULL };

	return cv_net_match_any(nets, addr);
}

/* ---- The end ------------------------------------------------------------------------------------------------------------ */

static void log_end(const struct cv_login *login)
{
	uint64_t seconds = (cv_loop_now_ms(login->host->loop) - login->started_ms) / 1000;
	const char *why = login->reason != NULL ? login->reason : "closed";

	if (login->quiet)
		return;
	if (login->protocol->opts & CV_LOGIN_NO_AUTH)
		cv_info(&login->log, "%s disconnected: %s (%llu s)", login->protocol->name, why, (unsigned long long)seconds);
	else if (login->failures > 0)
		cv_info(&login->log, "%s disconnected before login: %s (%u failed, method=%s, %llu s)", login->protocol->name, why, login->failures,
			login->mech, (unsigned long long)seconds);
	else
		cv_info(&login->log, "%s disconnected before login: %s (no attempt, %llu s)", login->protocol->name, why,
			(unsigned long long)seconds);
}

static void free_login(struct cv_login *login)
{
	cv_timer_remove(&login->deadline);
	cv_timer_remove(&login->later);
	cv_vec_free(&login->client_id);
	cv_arena_free(&login->arena);
	cv_free(login);
}

static void finish_close(struct cv_login *login)
{
	log_end(login);
	if (login->auth_id != 0)
		login->host->auth_abort(login);
	if (login->protocol_state != NULL && login->protocol->end != NULL)
		login->protocol->end(login->protocol_state);
	if (login->stream != NULL)
		cv_stream_close_after_flush(&login->stream, CLOSE_FLUSH_MS);
	login->host->ended(login);
	free_login(login);
}

/* What must not happen inside a module's call is done from here. */
static void on_later(void *ctx)
{
	struct cv_login *login = ctx;

	if (login->state == CV_LOGIN_CLOSED) {
		finish_close(login);
		return;
	}
	if (login->auth_unsent) {
		login->auth_unsent = false;
		cv_login_on_auth_fail(login, CV_ERR_UNAVAILABLE, (struct cv_str){ 0 });
	}
	if (login->failure != NULL) {
		struct cv_err err = *login->failure;
		login->failure = NULL;
		cv_login_on_handover_failed(login, &err);
	}
}

void cv_login_close(struct cv_login *login, const char *reason)
{
	if (login->state == CV_LOGIN_CLOSED)
		return;
	login->state = CV_LOGIN_CLOSED;
	login->reason = reason;
	cv_timer_stop(login->deadline);
	cv_timer_set(login->later, 0);
}

void cv_login_goodbye(struct cv_login *login, const char *reason)
{
	if (login->state == CV_LOGIN_CLOSED)
		return;
	if (login->state == CV_LOGIN_OPEN && login->protocol->goodbye != NULL)
		login->protocol->goodbye(login->protocol_state, reason);
	cv_login_close(login, reason);
}

/* ---- Deadlines ------------------------------------------------------------------------------------------------------------ */

/* Milliseconds until the nearest deadline; 0: it is over, *reason_r says which. */
static uint64_t time_left(const struct cv_login *login, const char **reason_r)
{
	uint64_t now = cv_loop_now_ms(login->host->loop);
	uint64_t idle = login->set->login_idle_timeout, whole = login->set->login_timeout;
	uint64_t idle_end = login->input_ms + idle, end = login->started_ms + whole;

	/* No login to wait for: a peer that speaks may go on for ever, and may think for as long as RFC 5321 4.5.3.2.7 gives it. */
	if (login->protocol->opts & CV_LOGIN_NO_AUTH) {
		idle_end = login->input_ms + CV_MAX(idle, (uint64_t)5 * 60 * 1000);
		end = UINT64_MAX;
	}
	/* While we are the ones who take time nobody is late. */
	if (login->auth_id != 0 || login->requests > 0 || login->state == CV_LOGIN_HANDOVER)
		idle_end = UINT64_MAX;
	*reason_r = "timeout";
	uint64_t nearest = CV_MIN(idle_end, end);
	return nearest <= now ? 0 : CV_MIN(nearest - now, (uint64_t)60000);
}

static void on_deadline(void *ctx)
{
	struct cv_login *login = ctx;
	const char *reason;
	uint64_t left = time_left(login, &reason);

	if (left == 0)
		cv_login_goodbye(login, reason);
	else
		cv_timer_set(login->deadline, left);
}

/* ---- The stream ------------------------------------------------------------------------------------------------------------ */

static void begin_protocol(struct cv_login *login)
{
	login->state = CV_LOGIN_OPEN;
	login->protocol_state = login->protocol->start(login);
}

static void try_handover(struct cv_login *login)
{
	struct cv_err err = { 0 };

	/* The socket itself goes to the worker: nothing may be left to be written here. */
	if (cv_stream_unsent(login->stream) > 0)
		return;
	login->state = CV_LOGIN_HANDOVER;
	if (login->host->handover(login, login->resume, &err) < 0) {
		struct cv_err *failure = cv_new(login->arena, struct cv_err, 1);
		*failure = err;
		login->failure = failure;
		cv_timer_set(login->later, 0);
	}
}

static void on_input(void *ctx)
{
	struct cv_login *login = ctx;
	const char *error = cv_stream_error(login->stream);

	login->input_ms = cv_loop_now_ms(login->host->loop);
	if (login->state == CV_LOGIN_CLOSED)
		return;
	if (error != NULL) {
		if (login->state == CV_LOGIN_HANDSHAKE || (login->tls_started && cv_stream_tls(login->stream) == NULL))
			cv_login_close(login, cv_arena_printf(login->arena, "TLS: %s", error));
		else
			cv_login_close(login, cv_arena_strdup(login->arena, error));
		return;
	}
	if (login->state == CV_LOGIN_OPEN)
		login->protocol->input(login->protocol_state);
	/* A client that left and waits for nothing. One that only closed its sending side gets its answers first. */
	if (cv_stream_eof(login->stream) && (login->state == CV_LOGIN_OPEN || login->state == CV_LOGIN_HANDSHAKE) && login->auth_id == 0 &&
		login->requests == 0)
		cv_login_close(login, "client left");
}

static void on_output(void *ctx)
{
	struct cv_login *login = ctx;

	if (login->state == CV_LOGIN_FLUSHING)
		try_handover(login);
	else if (login->state == CV_LOGIN_OPEN && login->protocol->output != NULL)
		login->protocol->output(login->protocol_state);
}

static void on_secured(void *ctx)
{
	struct cv_login *login = ctx;

	/* Settings may differ by the name the client asked for. */
	login->cached_count = 0;
	login->input_ms = cv_loop_now_ms(login->host->loop);
	if (login->state == CV_LOGIN_HANDSHAKE)
		begin_protocol(login);
	else if (login->state == CV_LOGIN_OPEN && login->protocol->secured != NULL)
		login->protocol->secured(login->protocol_state);
}

static const struct cv_stream_ops stream_ops = { .input = on_input, .output = on_output, .secured = on_secured };

struct cv_login *cv_login_new(const struct cv_login_config *config)
{
	struct cv_login *login = cv_new0(struct cv_login);

	login->host = config->host;
	login->host_data = config->host_data;
	login->protocol = config->protocol;
	login->conf = config->conf;
	login->stream = config->stream;
	login->peer = *config->peer;
	login->implicit_tls = config->tls;
	login->arena = cv_arena_new("login", NULL, CV_ARENA_WIPE);
	cv_session_id_new(login->session);
	login->log = (struct cv_log_ctx){ .category = login->protocol->name, .session = cv_str_c(login->session),
		.remote = login->peer.is_unix ? (struct cv_str){ 0 } : cv_str_c(login->peer.remote) };
	login->started_ms = login->input_ms = cv_loop_now_ms(config->host->loop);
	login->set = cv_login_conf(login, &cv_login_settings_table);
	const struct cv_ssl_settings *ssl = cv_login_conf(login, &cv_ssl_settings_table);
	login->ssl_required = ssl->ssl == CV_SSL_REQUIRED;
	login->ssl_off = ssl->ssl == CV_SSL_NO;
	login->trusted = !login->peer.is_unix && cv_net_match_any(login->set->login_trusted_networks, login->peer.remote);
	login->local_peer = login->peer.is_unix || strcmp(login->peer.remote, login->peer.local) == 0 || is_loopback(login->peer.remote);
	login->later = cv_timer_add_stopped(config->host->loop, on_later, login);
	const char *ignored;
	login->deadline = cv_timer_add(config->host->loop, time_left(login, &ignored), on_deadline, login);
	cv_stream_set_ops(login->stream, &stream_ops, login);
	if (config->back) {
		login->tls_started = cv_stream_tls(login->stream) != NULL;
		login->state = CV_LOGIN_OPEN;
		login->protocol_state = login->protocol->back(login);
		cv_stream_resume(login->stream);
	} else if (config->tls) {
		login->state = CV_LOGIN_HANDSHAKE;
		cv_login_start_tls(login);
	} else {
		begin_protocol(login);
	}
	return login;
}

/* ---- What modules ask --------------------------------------------------------------------------------------------------------- */

struct cv_stream *cv_login_stream(struct cv_login *login)
{
	return login->stream;
}

struct cv_arena *cv_login_arena(struct cv_login *login)
{
	return login->arena;
}

const struct cv_log_ctx *cv_login_log(struct cv_login *login)
{
	return &login->log;
}

struct cv_str cv_login_session_id(const struct cv_login *login)
{
	return cv_str_c(login->session);
}

struct cv_str cv_login_remote(const struct cv_login *login)
{
	return login->peer.is_unix ? (struct cv_str){ 0 } : cv_str_c(login->peer.remote);
}

struct cv_str cv_login_local(const struct cv_login *login)
{
	return login->peer.is_unix ? (struct cv_str){ 0 } : cv_str_c(login->peer.local);
}

const struct cv_registry *cv_login_registry(const struct cv_login *login)
{
	return login->host->registry;
}

const void *cv_login_conf(struct cv_login *login, const struct cv_settings_table *table)
{
	const struct cv_tls_info *tls = cv_stream_tls(login->stream);
	struct cv_conf_filter filter = { .protocol = login->protocol->name, .local_name = tls != NULL ? tls->sni : (struct cv_str){ 0 },
		.local_addr = login->peer.is_unix ? NULL : login->peer.local, .remote_addr = login->peer.is_unix ? NULL : login->peer.remote };
	const void *set;
	struct cv_err err = { 0 };

	for (unsigned i = 0; i < login->cached_count; i++) {
		if (login->cached[i].table == table)
			return login->cached[i].set;
	}
	if (cv_conf_get_shared(login->conf, table, &filter, login->arena, &set, &err) < 0)
		cv_fatal("settings that were checked cannot be read: %s", err.text);
	if (login->cached_count < CV_COUNT_OF(login->cached)) {
		login->cached[login->cached_count].table = table;
		login->cached[login->cached_count++].set = set;
	}
	return set;
}

bool cv_login_tls_active(const struct cv_login *login)
{
	return cv_stream_tls(login->stream) != NULL;
}

bool cv_login_tls_available(const struct cv_login *login)
{
	return !login->ssl_off && !login->tls_started && !login->peer.is_unix &&
		login->host->tls_ctx((struct cv_login *)(uintptr_t)login) != NULL;
}

bool cv_login_is_secured(const struct cv_login *login)
{
	return cv_login_tls_active(login) || login->local_peer || login->trusted;
}

bool cv_login_plaintext_allowed(const struct cv_login *login)
{
	/* As Dovecot 2.3: the own machine and trusted networks count as secured, for ssl = required too. */
	return cv_login_is_secured(login) || (!login->ssl_required && !login->set->disable_plaintext_auth);
}

static bool mech_next(const struct cv_login *login, bool own, size_t *pos, const char **name_r)
{
	const struct cv_tls_info *tls = cv_stream_tls(login->stream);
	unsigned opts;

	while (login->host->mech_next(login, pos, name_r, &opts)) {
		if (((opts & CV_SASL_OWN) != 0) != own)
			continue;
		if ((opts & CV_SASL_PLAINTEXT) && !cv_login_plaintext_allowed(login))
			continue;
		if ((opts & CV_SASL_CERT) && !(tls != NULL && tls->client_cert_valid))
			continue;
		if (login->ssl_required && !cv_login_is_secured(login))
			continue;
		return true;
	}
	return false;
}

bool cv_login_mech_next(const struct cv_login *login, size_t *pos, const char **name_r)
{
	return mech_next(login, false, pos, name_r);
}

static bool mech_offered(const struct cv_login *login, bool own, struct cv_str mech)
{
	const char *name;

	for (size_t pos = 0; mech_next(login, own, &pos, &name);) {
		if (cv_str_caseeq_c(mech, name))
			return true;
	}
	return false;
}

bool cv_login_own_allowed(const struct cv_login *login, const char *mech)
{
	return mech_offered(login, true, cv_str_c(mech));
}

void cv_login_start_tls(struct cv_login *login)
{
	struct cv_tls_ctx *ctx = login->host->tls_ctx(login);

	if (ctx == NULL) {
		cv_login_close(login, "no certificate");
		return;
	}
	login->tls_started = true;
	cv_stream_start_tls(login->stream, ctx);
}

/* ---- Authentication -------------------------------------------------------------------------------------------------------------- */

static int auth_begin(struct cv_login *login, bool own, struct cv_str mech, struct cv_str initial, struct cv_err *err)
{
	cv_assert(login->auth_id == 0);
	if (mech.len == 0 || mech.len >= sizeof(login->mech) || !mech_offered(login, own, mech)) {
		if (!cv_login_plaintext_allowed(login))
			return cv_err_set_public(err, CV_ERR_PERM, "Plaintext authentication is not allowed without TLS");
		return cv_err_set_public(err, CV_ERR_UNSUPPORTED, "Unsupported authentication mechanism");
	}
	for (size_t i = 0; i < mech.len; i++)
		login->mech[i] = cv_upper(mech.ptr[i]);
	login->mech[mech.len] = '\0';
	if (login->host->auth_begin(login, cv_str_c(login->mech), initial) < 0) {
		login->auth_id = UINT64_MAX;
		login->auth_unsent = true;
		cv_timer_set(login->later, 0);
	}
	return 0;
}

int cv_login_auth(struct cv_login *login, struct cv_str mech, struct cv_str initial, struct cv_err *err)
{
	return auth_begin(login, false, mech, initial, err);
}

int cv_login_auth_own(struct cv_login *login, const char *mech, struct cv_str initial, struct cv_err *err)
{
	return auth_begin(login, true, cv_str_c(mech), initial, err);
}

void cv_login_auth_continue(struct cv_login *login, struct cv_str response)
{
	if (login->auth_id == 0 || login->auth_unsent)
		return;
	if (login->host->auth_continue(login, response) < 0) {
		login->auth_unsent = true;
		cv_timer_set(login->later, 0);
	}
}

void cv_login_auth_abort(struct cv_login *login)
{
	if (login->auth_id == 0)
		return;
	if (!login->auth_unsent)
		login->host->auth_abort(login);
	login->auth_id = 0;
	login->auth_unsent = false;
}

static void reply(struct cv_login *login, const struct cv_login_auth_reply *r)
{
	/* The clock of a client that was waiting for us starts anew. */
	login->input_ms = cv_loop_now_ms(login->host->loop);
	if (login->state == CV_LOGIN_OPEN)
		login->protocol->auth_reply(login->protocol_state, r);
}

static void close_if_left(struct cv_login *login)
{
	if (login->state == CV_LOGIN_OPEN && cv_stream_eof(login->stream) && login->auth_id == 0 && login->requests == 0)
		cv_login_close(login, "client left");
}

void cv_login_on_challenge(struct cv_login *login, struct cv_str data)
{
	struct cv_login_auth_reply r = { .kind = CV_LOGIN_CHALLENGE, .data = data };

	reply(login, &r);
}

void cv_login_on_auth_ok(struct cv_login *login, struct cv_str user, struct cv_str ticket)
{
	struct cv_login_auth_reply r = { .kind = CV_LOGIN_OK, .user = user };

	login->auth_id = 0;
	if (ticket.len == 0) {
		cv_error(&login->log, "auth gave no ticket");
		cv_login_on_auth_fail(login, CV_ERR_TEMP, (struct cv_str){ 0 });
		return;
	}
	login->ticket = cv_arena_str(login->arena, ticket);
	login->ticket_set = true;
	struct cv_str copy = cv_arena_str(login->arena, user);
	login->user = cv_arena_cstr(login->arena, copy);
	login->log.user = copy;
	reply(login, &r);
	close_if_left(login);
}

void cv_login_on_auth_fail(struct cv_login *login, enum cv_err_code code, struct cv_str text)
{
	cv_login_on_referral(login, code, text, (struct cv_str){ 0 }, (struct cv_str){ 0 });
}

void cv_login_on_referral(struct cv_login *login, enum cv_err_code code, struct cv_str text, struct cv_str host, struct cv_str user)
{
	struct cv_login_auth_reply r = { .kind = CV_LOGIN_FAIL, .code = code, .text = text, .host = host, .user = user };

	login->auth_id = 0;
	login->failures++;
	reply(login, &r);
	close_if_left(login);
}

/* ---- Look-ups and jobs --------------------------------------------------------------------------------------------------------------- */

/* What could not be sent is answered from the next round, as everything else. */
struct unsent {
	struct cv_login *login;
	struct cv_timer *timer;
	bool is_job;
	uint64_t id;
};

static void answer_unsent(void *ctx)
{
	struct unsent *u = ctx;
	struct cv_login_user_reply user = { .id = u->id, .result = CV_AUTH_TEMP };
	struct cv_login_job_reply job = { .id = u->id };

	cv_timer_remove(&u->timer);
	if (u->is_job) {
		(void)cv_err_set(&job.err, CV_ERR_TEMP, "the server is starting anew");
		cv_login_on_job(u->login, &job);
	} else {
		cv_login_on_user(u->login, &user);
	}
}

static void forget_unsent(void *ctx)
{
	struct unsent *u = ctx;

	cv_timer_remove(&u->timer);
}

static void answer_later(struct cv_login *login, bool is_job, uint64_t id)
{
	struct unsent *u = cv_new(login->arena, struct unsent, 1);

	u->login = login;
	u->is_job = is_job;
	u->id = id;
	u->timer = cv_timer_add(login->host->loop, 0, answer_unsent, u);
	cv_arena_cleanup(login->arena, forget_unsent, u);
}

void cv_login_user_lookup(struct cv_login *login, uint64_t id, struct cv_str user)
{
	login->requests++;
	if (!(login->protocol->opts & CV_LOGIN_NO_AUTH) || login->host->user_lookup(login, id, user) < 0)
		answer_later(login, false, id);
}

void cv_login_job_within(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd, uint64_t within_ms)
{
	login->requests++;
	if (payload.len > CV_LOGIN_PAYLOAD_MAX || login->host->job(login, id, ticket, payload, memfd, within_ms) < 0)
		answer_later(login, true, id);
}

void cv_login_job(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd)
{
	cv_login_job_within(login, id, ticket, payload, memfd, 0);
}

bool cv_login_worker_hook(const struct cv_login *login, const char *hook)
{
	return login->host->worker_hook(login, hook);
}

void cv_login_on_user(struct cv_login *login, const struct cv_login_user_reply *r)
{
	if (login->requests > 0)
		login->requests--;
	login->input_ms = cv_loop_now_ms(login->host->loop);
	if (login->state == CV_LOGIN_OPEN && login->protocol->user_reply != NULL)
		login->protocol->user_reply(login->protocol_state, r);
	close_if_left(login);
}

void cv_login_on_job(struct cv_login *login, const struct cv_login_job_reply *r)
{
	if (login->requests > 0)
		login->requests--;
	login->input_ms = cv_loop_now_ms(login->host->loop);
	if (login->state == CV_LOGIN_OPEN && login->protocol->job_reply != NULL)
		login->protocol->job_reply(login->protocol_state, r);
	close_if_left(login);
}

/* ---- Handing over ------------------------------------------------------------------------------------------------------------------------ */

void cv_login_finish(struct cv_login *login, struct cv_str resume)
{
	cv_assert(login->ticket_set && login->state == CV_LOGIN_OPEN);
	cv_assert(resume.len <= CV_LOGIN_RESUME_MAX);
	login->resume = cv_arena_str(login->arena, resume);
	login->state = CV_LOGIN_FLUSHING;
	cv_stream_pause(login->stream);
	try_handover(login);
}

struct cv_stream *cv_login_on_handed_over(struct cv_login *login)
{
	const struct cv_tls_info *tls = cv_stream_tls(login->stream);
	struct cv_stream *stream = login->stream;

	cv_info(&login->log, "login protocol=%s method=%s local=%s tls=%s", login->protocol->name, login->mech,
		login->peer.is_unix ? "unix" : login->peer.local, tls != NULL ? tls->protocol : "no");
	login->stream = NULL;
	login->quiet = true;
	login->state = CV_LOGIN_CLOSED;
	finish_close(login);
	return stream;
}

void cv_login_on_handover_failed(struct cv_login *login, const struct cv_err *err)
{
	if (login->state != CV_LOGIN_HANDOVER)
		return;
	login->state = CV_LOGIN_OPEN;
	login->ticket_set = false;
	login->input_ms = cv_loop_now_ms(login->host->loop);
	cv_warn(&login->log, "%s session was not started: %s", login->protocol->name, err->text);
	cv_stream_resume(login->stream);
	login->protocol->finish_failed(login->protocol_state, err);
	if (login->state == CV_LOGIN_OPEN && cv_stream_input(login->stream).len > 0)
		cv_stream_want_input(login->stream);
	close_if_left(login);
}

void cv_login_on_handover_unknown(struct cv_login *login, const char *reason)
{
	cv_stream_free(&login->stream);
	login->state = CV_LOGIN_CLOSED;
	login->reason = reason;
	finish_close(login);
}

void cv_login_set_client_id(struct cv_login *login, struct cv_str key, struct cv_str value)
{
	struct cv_login_pair *pair;

	/* Before anything is copied: the arena lasts as long as the connection, and a client may send any number of them. */
	if (login->client_id.count >= CV_LOGIN_CLIENT_ID_MAX || key.len > 30 || value.len > 1024 || cv_str_has_nul(key) || cv_str_has_nul(value))
		return;
	pair = cv_vec_push(&login->client_id);
	pair->key = cv_arena_cstr(login->arena, key);
	pair->value = cv_arena_cstr(login->arena, value);
}
