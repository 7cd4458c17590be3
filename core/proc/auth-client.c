/* SPDX-License-Identifier: MIT
   The socket that MTAs ask: Dovecot's authentication protocol 1.2, client side (Postfix: smtpd_sasl_type = dovecot; Exim: driver = dovecot).

   Lines end with LF, fields are separated by TAB; NUL, CR, LF, TAB and \001 in a field are escaped by \001. The server greets with VERSION, MECH…, SPID, CUID, COOKIE
   and DONE, the client with VERSION and CPID. Then: AUTH id mechanism service=… […] [resp=…], CONT id base64, CANCEL id; answers: CONT id base64, OK id user=…,
   FAIL id […]. */
#include <config.h>

#include "core/proc/auth-private.h"

#include <culver/map.h>
#include <culver/reader.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_OCTETS 16384u
#define OUT_MAX 65536u
#define CLIENTS_MAX 1000u  /* of one listener */
#define REQUESTS_MAX 200u  /* of one connection, at a time */
#define HANDSHAKE_MS 60000u
#define FIELD_MAX 8192u
#define ACCEPT_PAUSE_MS 500u

struct auth_client_listener {
	struct auth *auth;
	int fd; /* -1 in tests */
	struct cv_io *io;
	struct cv_timer *resume; /* accepting pauses while there are no descriptors */
	struct cv_node clients;
	size_t client_count;
	uint32_t last_cuid;
};

enum client_state { CLIENT_VERSION, CLIENT_CPID, CLIENT_READY };

struct client_request {
	struct cv_node node;
	struct auth_client *client;
	struct auth_request *request;
	uint32_t id;
};

struct auth_client {
	struct cv_node node;
	struct auth_client_listener *listener;
	struct cv_stream *stream;
	struct cv_timer *handshake;
	enum client_state state;
	struct cv_node requests;
	size_t request_count;
};

static const struct cv_log_ctx log_ctx = { .category = "auth" };

/* ---- Fields --------------------------------------------------------------------------------------------------- */

static void append_escaped(struct cv_buf *out, struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i], e = c == '\0' ? '0' : c == '\001' ? '1' : c == '\t' ? 't' : c == '\r' ? 'r' : c == '\n' ? 'l' : '\0';

		if (e != '\0') {
			cv_buf_append_char(out, '\001');
			c = e;
		}
		cv_buf_append_char(out, c);
	}
}

/* The next field, unescaped into out (cleared before); false when none is left. */
static bool take_field(struct cv_reader *r, bool *ended, struct cv_buf *out)
{
	struct cv_str raw;

	if (*ended)
		return false;
	if (!cv_take_until(r, '\t', &raw)) {
		raw = cv_reader_rest(r);
		r->pos = r->s.len;
		*ended = true;
	}
	cv_buf_clear(out);
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];

		if (c == '\001' && i + 1 < raw.len) {
			c = raw.ptr[++i];
			c = c == '0' ? '\0' : c == '1' ? '\001' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'l' ? '\n' : c;
		}
		cv_buf_append_char(out, c);
	}
	return cv_buf_ok(out);
}

/* ---- Connection ------------------------------------------------------------------------------------------------- */

static void forget(struct client_request *entry)
{
	entry->client->request_count--;
	cv_list_remove(&entry->node);
	cv_free(entry);
}

static void client_free(struct auth_client *client)
{
	while (!cv_list_empty(&client->requests)) {
		struct client_request *entry = cv_container(client->requests.next, struct client_request, node);

		auth_request_abort(&entry->request);
		forget(entry);
	}
	client->listener->client_count--;
	cv_list_remove(&client->node);
	cv_timer_remove(&client->handshake);
	cv_stream_free(&client->stream);
	cv_free(client);
}

/* Writes "LINE\n" that was built in out. A client that does not read its answers is dropped in the next input round. */
static void send_line(struct auth_client *client, struct cv_buf *line)
{
	cv_buf_append_char(line, '\n');
	cv_assert(cv_buf_ok(line));
	cv_stream_write(client->stream, cv_buf_str(line));
	cv_buf_deinit(line);
}

static void send_fail(struct auth_client *client, uint32_t id, struct cv_str user, const char *code, struct cv_str reason)
{
	struct cv_buf line;

	cv_buf_init(&line, 2 * LINE_MAX_OCTETS);
	cv_buf_printf(&line, "FAIL\t%u", id);
	if (user.len > 0) {
		cv_buf_append_c(&line, "\tuser=");
		append_escaped(&line, cv_str_sub(user, 0, 1024));
	}
	if (code != NULL) {
		/* Clients from before protocol 1.2 know "temp" only. */
		if (strcmp(code, "temp_fail") == 0)
			cv_buf_append_c(&line, "\ttemp");
		cv_buf_printf(&line, "\tcode=%s", code);
	}
	if (reason.len > 0) {
		cv_buf_append_c(&line, "\treason=");
		append_escaped(&line, cv_str_sub(reason, 0, 1024));
	}
	send_line(client, &line);
}

static const char *code_word(enum cv_err_code code)
{
	switch ((int)code) {
	case CV_ERR_AUTH:
	case CV_ERR_INVALID:
		return NULL;
	case CV_ERR_PERM:
		return "user_disabled";
	case CV_ERR_EXPIRED:
		return "pass_expired";
	case CV_ERR_AUTHZ:
		return "authz_fail";
	default:
		return "temp_fail";
	}
}

static void on_answer(void *ctx, struct auth_request *request, const struct auth_answer *answer)
{
	struct client_request *entry = ctx;
	struct auth_client *client = entry->client;
	const struct cv_auth_request *data = auth_request_data(request);
	struct cv_buf line;

	switch (answer->kind) {
	case AUTH_ANSWER_CHALLENGE:
		cv_buf_init_wipe(&line, 4 * LINE_MAX_OCTETS);
		cv_buf_printf(&line, "CONT\t%u\t", entry->id);
		cv_buf_append_base64(&line, answer->challenge);
		send_line(client, &line);
		return;
	case AUTH_ANSWER_OK:
		cv_buf_init(&line, 2 * LINE_MAX_OCTETS);
		cv_buf_printf(&line, "OK\t%u\tuser=", entry->id);
		append_escaped(&line, data->user);
		send_line(client, &line);
		break;
	case AUTH_ANSWER_FAIL:
		send_fail(client, entry->id, data->orig_user, code_word(answer->code), answer->text);
		break;
	}
	forget(entry);
}

static struct client_request *find(struct auth_client *client, uint32_t id)
{
	struct cv_node *node, *next;

	cv_list_foreach(&client->requests, node, next) {
		struct client_request *entry = cv_container(node, struct client_request, node);

		if (entry->id == id)
			return entry;
	}
	return NULL;
}

/* ---- Commands: false ends the connection ------------------------------------------------------------------------ */

static bool broken(const char *what)
{
	cv_error(&log_ctx, "auth-client: %s; connection closed", what);
	return false;
}

static bool take_id(struct cv_reader *r, bool *ended, struct cv_buf *field, uint32_t *id_r)
{
	return take_field(r, ended, field) && cv_str_to_u32(cv_buf_str(field), UINT32_MAX, id_r);
}

static bool cmd_version(struct auth_client *client, struct cv_reader *r, struct cv_buf *field)
{
	bool ended = false;
	uint32_t major;

	if (!take_id(r, &ended, field, &major) || major != 1)
		return broken("the client speaks another major version of the protocol than 1");
	client->state = CLIENT_CPID;
	return true;
}

static bool cmd_cpid(struct auth_client *client, struct cv_reader *r, struct cv_buf *field)
{
	bool ended = false;
	uint32_t pid;

	if (!take_id(r, &ended, field, &pid))
		return broken("bad CPID");
	client->state = CLIENT_READY;
	cv_timer_stop(client->handshake);
	return true;
}

static struct cv_str value_of(struct cv_str field, const char *key)
{
	size_t len = strlen(key);

	return cv_str_starts(field, cv_str_c(key)) && field.len > len && field.ptr[len] == '=' ? cv_str_sub(field, len + 1, SIZE_MAX) :
		(struct cv_str){ 0 };
}

static struct cv_str keep(struct cv_arena *arena, struct cv_str s)
{
	return cv_arena_str(arena, s);
}

static void parse_port(struct cv_str value, uint32_t *port)
{
	uint32_t n;

	if (cv_str_to_u32(value, UINT16_MAX, &n))
		*port = n;
}

/* Optional parameters; unknown ones are passed over. resp must be the last one: what is behind it is its. */
static bool parse_auth(struct cv_reader *r, struct cv_buf *field, struct cv_arena *arena, struct auth_request_spec *spec, struct cv_str *resp,
	bool *has_resp)
{
	bool ended = false;
	struct cv_str f, v;

	while (!ended) {
		struct cv_str rest = cv_reader_rest(r);

		if (cv_str_starts(rest, CV_STR("resp="))) {
			*resp = keep(arena, cv_str_sub(rest, 5, SIZE_MAX));
			*has_resp = true;
			return true;
		}
		if (!take_field(r, &ended, field))
			return false;
		f = cv_buf_str(field);
		if ((v = value_of(f, "service")).ptr != NULL)
			spec->service = keep(arena, v);
		else if ((v = value_of(f, "session")).ptr != NULL)
			spec->session = keep(arena, v);
		else if ((v = value_of(f, "lip")).ptr != NULL)
			spec->local = keep(arena, v);
		else if ((v = value_of(f, "rip")).ptr != NULL)
			spec->remote = keep(arena, v);
		else if ((v = value_of(f, "lport")).ptr != NULL)
			parse_port(v, &spec->local_port);
		else if ((v = value_of(f, "rport")).ptr != NULL)
			parse_port(v, &spec->remote_port);
		else if ((v = value_of(f, "local_name")).ptr != NULL)
			spec->local_name = keep(arena, v);
		else if ((v = value_of(f, "cert_username")).ptr != NULL)
			spec->cert_user = keep(arena, v);
		else if (cv_str_eq_c(f, "secured") || cv_str_starts(f, CV_STR("secured=")))
			spec->secured = true;
		else if (cv_str_eq_c(f, "valid-client-cert"))
			spec->cert_valid = true;
		else if (cv_str_eq_c(f, "no-penalty"))
			spec->no_penalty = true;
	}
	return true;
}

/* What is no SASL mechanism but one protocol's own (CV_SASL_OWN): its message holds what that protocol's server vouches for. */
static bool is_own(const struct auth *auth, struct cv_str name)
{
	const struct cv_sasl_mech *mech;

	for (size_t pos = 0; auth_mech_next(auth, &pos, &mech);) {
		if (cv_str_caseeq_c(name, mech->name))
			return (mech->opts & CV_SASL_OWN) != 0;
	}
	return false;
}

static bool cmd_auth(struct auth_client *client, struct cv_reader *r, struct cv_buf *field)
{
	struct cv_arena *arena = cv_arena_new("auth-client", NULL, CV_ARENA_WIPE);
	struct auth_request_spec spec = { .no_userdb = true, .answer = on_answer };
	struct cv_str resp = { 0 }, initial = { 0 };
	bool ended = false, has_resp = false, ok = true, go = false;
	struct client_request *entry;
	struct cv_buf decoded;
	uint32_t id = 0;

	cv_buf_init_wipe(&decoded, LINE_MAX_OCTETS);
	if (!take_id(r, &ended, field, &id) || !take_field(r, &ended, field) || field->len == 0) {
		ok = broken("AUTH without id or mechanism");
	} else {
		spec.mech = keep(arena, cv_buf_str(field));
		if (!ended && !parse_auth(r, field, arena, &spec, &resp, &has_resp))
			ok = broken("an AUTH parameter is too long");
		else if (spec.service.len == 0)
			ok = broken("AUTH without service");
		else if (find(client, id) != NULL)
			ok = broken("AUTH with the id of a request that is not answered");
		else if (has_resp && !cv_base64_decode(&decoded, resp))
			send_fail(client, id, (struct cv_str){ 0 }, NULL, CV_STR("Invalid base64 data in initial response"));
		else if (client->request_count >= REQUESTS_MAX)
			send_fail(client, id, (struct cv_str){ 0 }, "temp_fail", CV_STR("Too many logins at a time"));
		else if (is_own(client->listener->auth, spec.mech))
			send_fail(client, id, (struct cv_str){ 0 }, NULL, CV_STR("Unsupported authentication mechanism"));
		else
			go = true;
	}
	if (go) {
		if (has_resp)
			initial = decoded.len == 0 ? CV_STR("") : cv_buf_str(&decoded);
		entry = cv_new0(struct client_request);
		entry->client = client;
		entry->id = id;
		cv_list_append(&client->requests, &entry->node);
		client->request_count++;
		spec.ctx = entry;
		entry->request = auth_login_begin(client->listener->auth, &spec, initial);
		if (entry->request == NULL) {
			forget(entry);
			send_fail(client, id, (struct cv_str){ 0 }, "temp_fail", CV_STR("Too many logins at a time"));
		}
	}
	cv_buf_deinit(&decoded);
	cv_arena_free(&arena);
	return ok;
}

static bool cmd_cont(struct auth_client *client, struct cv_reader *r, struct cv_buf *field)
{
	bool ended = false, ok = true;
	struct client_request *entry;
	struct cv_buf decoded;
	uint32_t id;

	if (!take_id(r, &ended, field, &id))
		return broken("CONT without id");
	entry = find(client, id);
	/* It may have failed while this was on its way. */
	if (entry == NULL)
		return true;
	cv_buf_init_wipe(&decoded, LINE_MAX_OCTETS);
	if (!take_field(r, &ended, field))
		cv_buf_clear(field);
	if (!cv_base64_decode(&decoded, cv_buf_str(field))) {
		auth_request_abort(&entry->request);
		forget(entry);
		send_fail(client, id, (struct cv_str){ 0 }, NULL, CV_STR("Invalid base64 data in continued response"));
	} else if (auth_login_continue(entry->request, cv_buf_str(&decoded)) < 0) {
		ok = broken("CONT for a request that awaits nothing");
	}
	cv_buf_deinit(&decoded);
	return ok;
}

static bool cmd_cancel(struct auth_client *client, struct cv_reader *r, struct cv_buf *field)
{
	struct client_request *entry;
	bool ended = false;
	uint32_t id;

	if (!take_id(r, &ended, field, &id))
		return broken("CANCEL without id");
	entry = find(client, id);
	if (entry != NULL) {
		auth_request_abort(&entry->request);
		forget(entry);
	}
	return true;
}

static const struct command {
	const char *verb;
	unsigned states; /* bits of 1 << enum client_state */
	bool (*run)(struct auth_client *client, struct cv_reader *r, struct cv_buf *field);
} commands[] = {
	{ "VERSION", 1u << CLIENT_VERSION, cmd_version },
	{ "CPID", 1u << CLIENT_CPID, cmd_cpid },
	{ "AUTH", 1u << CLIENT_READY, cmd_auth },
	{ "CONT", 1u << CLIENT_READY, cmd_cont },
	{ "CANCEL", 1u << CLIENT_READY, cmd_cancel },
};

static bool run_line(struct auth_client *client, struct cv_str line)
{
	struct cv_reader r = cv_reader_init(line);
	struct cv_buf field;
	bool ended = false, ok = false, known = false;

	cv_buf_init_wipe(&field, FIELD_MAX);
	if (take_field(&r, &ended, &field)) {
		for (size_t i = 0; i < CV_COUNT_OF(commands) && !known; i++) {
			if (!cv_str_eq_c(cv_buf_str(&field), commands[i].verb))
				continue;
			known = true;
			if ((commands[i].states & 1u << client->state) == 0)
				ok = broken("a command came before or after its time");
			else
				ok = commands[i].run(client, &r, &field);
		}
	}
	if (!known)
		(void)broken("unknown command");
	cv_buf_deinit(&field);
	return ok;
}

static void on_input(void *ctx)
{
	struct auth_client *client = ctx;
	struct cv_str input = cv_stream_input(client->stream), line;
	struct cv_reader r = cv_reader_init(input);
	bool ok = true;

	/* One line a round keeps one busy MTA from holding up the others. */
	if (cv_take_until(&r, '\n', &line)) {
		size_t taken = r.pos;

		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		ok = cv_stream_room(client->stream) > 0 && run_line(client, line);
		if (ok) {
			cv_stream_consume(client->stream, taken);
			if (cv_str_find(cv_stream_input(client->stream), '\n') != SIZE_MAX)
				cv_stream_want_input(client->stream);
		}
	} else if (cv_stream_input_full(client->stream)) {
		ok = broken("a line is too long");
	}
	if (!ok || cv_stream_error(client->stream) != NULL || cv_stream_eof(client->stream))
		client_free(client);
}

static void on_handshake_timeout(void *ctx)
{
	client_free(ctx);
}

static const struct cv_stream_ops stream_ops = { .input = on_input };

static void greet(struct auth_client *client)
{
	const struct auth *auth = client->listener->auth;
	const char *const *names = auth->gen->set->auth_mechanisms;
	struct cv_buf out;
	uint8_t cookie[16];

	cv_random(cookie, sizeof(cookie));
	cv_buf_init(&out, OUT_MAX);
	cv_buf_append_c(&out, "VERSION\t1\t2\n");
	for (size_t i = 0; names[i] != NULL; i++) {
		const struct cv_sasl_mech *mech = auth_mech_find(auth, names[i]);
		if (mech->opts & CV_SASL_OWN)
			continue;
		cv_buf_printf(&out, "MECH\t%s", mech->name);
		if (mech->opts & CV_SASL_PLAINTEXT)
			cv_buf_append_c(&out, "\tplaintext");
		/* Not to be offered by itself: the MTA has to hand over the certificate's name. */
		if (mech->opts & CV_SASL_CERT)
			cv_buf_append_c(&out, "\tprivate");
		cv_buf_append_char(&out, '\n');
	}
	cv_buf_printf(&out, "SPID\t%ld\nCUID\t%u\nCOOKIE\t", (long)getpid(), ++client->listener->last_cuid);
	cv_buf_append_hex(&out, cv_str_mem(cookie, sizeof(cookie)));
	cv_buf_append_c(&out, "\nDONE\n");
	cv_stream_write(client->stream, cv_buf_str(&out));
	cv_buf_deinit(&out);
}

struct auth_client *auth_client_new(struct auth_client_listener *listener, struct cv_stream *stream)
{
	struct auth_client *client = cv_new0(struct auth_client);

	client->listener = listener;
	client->stream = stream;
	client->state = CLIENT_VERSION;
	cv_list_init(&client->requests);
	cv_list_append(&listener->clients, &client->node);
	listener->client_count++;
	client->handshake = cv_timer_add(listener->auth->loop, HANDSHAKE_MS, on_handshake_timeout, client);
	cv_stream_set_ops(stream, &stream_ops, client);
	greet(client);
	return client;
}

/* ---- Listener ------------------------------------------------------------------------------------------------------ */

static void on_connection(void *ctx, unsigned events)
{
	struct auth_client_listener *listener = ctx;
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		cv_error(&log_ctx, "auth-client: a connection could not be accepted: %s", strerror(errno));
		cv_io_set(listener->io, 0);
		cv_timer_set(listener->resume, ACCEPT_PAUSE_MS);
		return;
	}
	if (listener->client_count >= CLIENTS_MAX) {
		cv_warn(&log_ctx, "auth-client: more than %u connections; a new one is closed", CLIENTS_MAX);
		(void)close(fd);
		return;
	}
	(void)auth_client_new(listener, cv_stream_new(listener->auth->loop, fd, LINE_MAX_OCTETS, OUT_MAX));
}

static void on_resume(void *ctx)
{
	struct auth_client_listener *listener = ctx;

	cv_io_set(listener->io, CV_IO_READ);
}

struct auth_client_listener *auth_client_listener_new(struct auth *auth, int fd)
{
	struct auth_client_listener *listener = cv_new0(struct auth_client_listener);

	listener->auth = auth;
	listener->fd = fd;
	cv_list_init(&listener->clients);
	listener->resume = cv_timer_add_stopped(auth->loop, on_resume, listener);
	if (fd >= 0) {
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		listener->io = cv_io_add(auth->loop, fd, CV_IO_READ, on_connection, listener);
	}
	return listener;
}

void auth_client_listener_free(struct auth_client_listener **listener_p)
{
	struct auth_client_listener *listener = *listener_p;

	*listener_p = NULL;
	if (listener == NULL)
		return;
	while (!cv_list_empty(&listener->clients))
		client_free(cv_container(listener->clients.next, struct auth_client, node));
	cv_timer_remove(&listener->resume);
	cv_io_remove(&listener->io);
	if (listener->fd >= 0)
		(void)close(listener->fd);
	cv_free(listener);
}
