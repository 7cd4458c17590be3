/* SPDX-License-Identifier: MIT
   Front's connections: they come from listeners, or back from workers, and are counted; those that workers have over TLS are relayed. */
#include "core/proc/front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_BURST 32
/* Descriptors kept back for channels, the log, memfds and pairs on their way. */
#define FDS_RESERVED 128
#define FULL_WAIT_MS 250
#define NOISE_MS 60000

struct listener {
	struct cv_node node;
	struct front *front;
	uint64_t token;
	char *name;
	const struct cv_login_protocol *protocol;
	bool tls, is_unix;
	int fd;
	struct cv_io *io;
	uint64_t accept_round; /* of the loop: the last with a connection */
};

/* Connections of one address, or of one IPv6 network of 64 bits. */
struct address {
	size_t count;
};

/* ---- Connections ------------------------------------------------------------------------------------------------------------------------ */

static void set_peer(const struct sockaddr_storage *sa, char *text, size_t size, uint32_t *port)
{
	union {
		const struct sockaddr_storage *storage;
		const struct sockaddr_in *in;
		const struct sockaddr_in6 *in6;
	} u = { .storage = sa };

	text[0] = '\0';
	if (sa->ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &u.in->sin_addr, text, (socklen_t)size);
		*port = ntohs(u.in->sin_port);
	} else if (sa->ss_family == AF_INET6) {
		if (IN6_IS_ADDR_V4MAPPED(&u.in6->sin6_addr))
			(void)inet_ntop(AF_INET, &u.in6->sin6_addr.s6_addr[12], text, (socklen_t)size);
		else
			(void)inet_ntop(AF_INET6, &u.in6->sin6_addr, text, (socklen_t)size);
		*port = ntohs(u.in6->sin6_port);
	}
}

/* Every process has so many descriptors: those of connections, of relays (two each), and of pairs on their way. */
static bool fds_left(const struct front *front, size_t more)
{
	return front->login_count + front->peer_count + 2 * front->relay_count + 2 * front->pair_count + front->sleeper_count + front->direct_count + FDS_RESERVED + more <
		front->fd_limit;
}

bool front_fds_left(const struct front *front)
{
	return fds_left(front, 0);
}

static void rest_listeners(struct front *front, bool rest)
{
	struct cv_node *node, *next;

	cv_list_foreach(&front->listeners, node, next) {
		struct listener *l = cv_container(node, struct listener, node);
		if (rest)
			cv_io_remove(&l->io);
	}
}

void front_on_rested(void *ctx)
{
	struct front *front = ctx;

	if (!front_fds_left(front)) {
		cv_timer_set(front->full, FULL_WAIT_MS);
		return;
	}
	front_listen_all(front);
}

/* The oldest that has not logged in makes room. False: there is none that could. */
static bool drop_oldest(struct front *front)
{
	struct cv_node *node, *next;

	cv_list_foreach(&front->logins, node, next) {
		struct cv_login *login = cv_container(node, struct cv_login, node);
		if (login->state == CV_LOGIN_CLOSED || login->auth_id != 0 || login->state == CV_LOGIN_HANDOVER)
			continue;
		cv_login_goodbye(login, "overloaded");
		return true;
	}
	return false;
}

void front_say_full(struct front *front, const char *what)
{
	uint64_t now = cv_loop_now_ms(front->loop);

	if (front->said_full_ms != 0 && now - front->said_full_ms < NOISE_MS)
		return;
	front->said_full_ms = now;
	cv_warn(NULL, "no room for more connections (%s): %zu before login, %zu of deliverers, %zu relayed, %zu asleep, descriptors %llu (LimitNOFILE of the "
		"service, ulimit -n), client_limit %llu", what, front->login_count, front->peer_count, front->relay_count, front->sleeper_count, (unsigned long long)front->fd_limit, (unsigned long long)front->client_limit);
}

static void overloaded(struct front *front, const char *what)
{
	front_say_full(front, what);
	(void)drop_oldest(front);
	rest_listeners(front, true);
	cv_timer_set(front->full, FULL_WAIT_MS);
}

/* Key for counting: an IPv4 address, or the network of an IPv6 one. */
static size_t address_key(const char *text, char key[20])
{
	uint8_t raw[16];
	uint32_t mapped;

	if (!cv_net_address(text, raw, &mapped))
		return 0;
	size_t len = mapped == 96 ? 16 : 8;
	memcpy(key, raw, len);
	return len;
}

static bool count_address(struct front *front, struct cv_login *login)
{
	struct front_login *fl = login->host_data;

	if (login->peer.is_unix || login->trusted)
		return true;
	fl->address_len = address_key(login->peer.remote, fl->address);
	if (fl->address_len == 0)
		return true;
	struct cv_str key = cv_str_mem(fl->address, fl->address_len);
	struct address *a = cv_map_get(front->addresses, key);
	if (a == NULL) {
		a = cv_new0(struct address);
		(void)cv_map_set(front->addresses, key, a);
	}
	a->count++;
	return login->set->login_max_connections_per_ip == 0 || a->count <= login->set->login_max_connections_per_ip;
}

bool front_is_crowded(const struct front *front, const struct cv_login *login)
{
	const struct front_login *fl = login->host_data;
	uint64_t of_address = login->set->login_max_connections_per_ip;
	const struct address *a = fl->address_len > 0 ? cv_map_get(front->addresses, cv_str_mem(fl->address, fl->address_len)) : NULL;

	return front->login_count + front->relay_count + CV_SESSION_OK_MAX > front->client_limit || !fds_left(front, CV_SESSION_OK_MAX) ||
		(a != NULL && of_address != 0 && a->count + CV_SESSION_OK_MAX > of_address);
}

static void find_peer(int fd, const struct sockaddr_storage *remote, struct cv_login_peer *peer)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof(local);

	set_peer(remote, peer->remote, sizeof(peer->remote), &peer->remote_port);
	if (getsockname(fd, (struct sockaddr *)(void *)&local, &len) == 0)
		set_peer(&local, peer->local, sizeof(peer->local), &peer->local_port);
}

/* A connection's time before login begins. */
static struct cv_login *begin_login(struct front *front, const struct cv_login_protocol *protocol, struct cv_stream *stream,
	const struct cv_login_peer *peer, bool tls, bool back)
{
	struct front_login *fl = cv_new0(struct front_login);
	bool no_auth = (protocol->opts & CV_LOGIN_NO_AUTH) != 0;

	fl->front = front;
	fl->gen = cv_gen_ref(front->proc->gen);
	cv_list_init(&fl->pending);
	struct cv_login_config config = { .host = &front->host, .host_data = fl, .protocol = protocol, .conf = fl->gen->conf, .peer = peer, .tls = tls,
		.back = back, .stream = stream };
	if (no_auth)
		front->peer_count++;
	else
		front->login_count++;
	struct cv_login *login = cv_login_new(&config);
	cv_list_append(no_auth ? &front->peers : &front->logins, &login->node);
	if (!count_address(front, login)) {
		uint64_t now = cv_loop_now_ms(front->loop);
		front->refused++;
		if (front->said_address_ms == 0 || now - front->said_address_ms >= NOISE_MS) {
			front->said_address_ms = now;
			cv_warn(&login->log, "too many connections from this address that are not logged in (login_max_connections_per_ip)");
		}
		cv_login_goodbye(login, "overloaded");
	}
	return login;
}

static struct cv_login *take_connection(struct listener *l, int fd, const struct sockaddr_storage *remote)
{
	struct front *front = l->front;
	struct cv_login_peer peer = { .is_unix = l->is_unix };

	/* TCP_NODELAY and SO_KEEPALIVE come from the listening socket. */
	if (!l->is_unix)
		find_peer(fd, remote, &peer);
	front->accepted++;
	struct cv_stream *stream = cv_stream_new_socket(front->loop, fd, !l->is_unix, l->protocol->max_input, l->protocol->max_output);
	return begin_login(front, l->protocol, stream, &peer, l->tls, false);
}

void front_ended(struct cv_login *login)
{
	struct front_login *fl = login->host_data;
	struct front *front = fl->front;

	front_forget_questions(fl);
	cv_list_remove(&login->node);
	if (login->protocol->opts & CV_LOGIN_NO_AUTH)
		front->peer_count--;
	else
		front->login_count--;
	if (fl->address_len > 0) {
		struct cv_str key = cv_str_mem(fl->address, fl->address_len);
		struct address *a = cv_map_get(front->addresses, key);
		if (a != NULL && --a->count == 0)
			cv_free(cv_map_remove(front->addresses, key));
	}
	cv_gen_unref(&fl->gen);
	cv_free(fl);
	front_look_drained(front);
}

/* ---- Relays -------------------------------------------------------------------------------------------------------------- */

void front_relay_done(void *ctx)
{
	struct relay *relay = ctx;
	struct front *front = relay->front;

	cv_list_remove(&relay->node);
	if (cv_map_get(front->relayed, cv_str_c(relay->session)) == relay)
		(void)cv_map_remove(front->relayed, cv_str_c(relay->session));
	front->relay_count--;
	cv_free(relay);
	front_look_drained(front);
}

struct relay *front_relay_new(struct front *front, const struct cv_login_protocol *protocol, const char *session, const struct cv_login_peer *peer)
{
	struct relay *relay = cv_new0(struct relay);

	relay->front = front;
	relay->protocol = protocol;
	relay->peer = *peer;
	(void)snprintf(relay->session, sizeof(relay->session), "%s", session);
	cv_list_append(&front->relays, &relay->node);
	(void)cv_map_set(front->relayed, cv_str_c(relay->session), relay);
	front->relay_count++;
	return relay;
}

struct cv_stream *front_pair_stream(struct front *front, int fd)
{
	struct cv_stream *worker = cv_stream_new_socket(front->loop, fd, false, RELAY_BUFFER, RELAY_BUFFER);

	cv_stream_set_sole(worker);
	return worker;
}

void front_relay_begin(struct relay *relay, struct cv_stream *client, struct cv_stream *worker)
{
	cv_stream_resume(client);
	/* What is relayed over TLS is never handed on. */
	cv_stream_set_sole(client);
	relay->relay = cv_relay_new(client, worker, front_relay_done, relay);
}

/* ---- Connections that workers give back ------------------------------------------------------------------------------------------------------ */

static void take_back(struct front *front, const struct cv_login_protocol *protocol, struct cv_stream *stream, const struct cv_login_peer *peer,
	const char *session, struct cv_str unread)
{
	cv_stream_push_back(stream, unread);
	const struct cv_login *login = begin_login(front, protocol, stream, peer, false, true);
	if (login->state != CV_LOGIN_CLOSED)
		cv_info(&login->log, "the client of session %s logged off, and may log in again", session);
}

static void relay_back(void *ctx, struct cv_stream *stream, struct cv_str rest)
{
	struct relay *relay = ctx;
	struct front *front = relay->front;

	if (stream != NULL)
		take_back(front, relay->protocol, stream, &relay->peer, relay->session, rest);
	else
		cv_warn(NULL, "session=%s the client logged off, but its connection did not come back whole", relay->session);
	front_relay_done(relay);
}

bool front_check_peer(int fd, struct cv_str remote, struct cv_login_peer *peer_r)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	*peer_r = (struct cv_login_peer){ 0 };
	if (getpeername(fd, (struct sockaddr *)(void *)&sa, &len) < 0)
		return false;
	peer_r->is_unix = sa.ss_family == AF_UNIX;
	if (!peer_r->is_unix)
		find_peer(fd, &sa, peer_r);
	return cv_str_eq_c(remote, peer_r->remote);
}

/* A socket of its own that comes from a worker: it must be what it was. */
static int take_socket_back(struct front *front, int fd, struct cv_str session, struct cv_str protocol, struct cv_str remote, struct cv_str unread)
{
	struct cv_login_peer peer = { 0 };
	char id[65] = "", name[32] = "";

	(void)snprintf(id, sizeof(id), "%.*s", CV_STR_ARG(session));
	(void)snprintf(name, sizeof(name), "%.*s", CV_STR_ARG(protocol));
	const struct cv_login_protocol *login = cv_provider_get(front->proc->registry, CV_CAP_LOGIN, name);
	if (login == NULL || login->back == NULL || !front_fds_left(front)) {
		(void)close(fd);
		return 0;
	}
	if (!front_check_peer(fd, remote, &peer)) {
		cv_warn(NULL, "session=%s a worker gave another connection back than its own", cv_log_clean(session));
		(void)close(fd);
		return 0;
	}
	take_back(front, login, cv_stream_new(front->loop, fd, login->max_input, login->max_output), &peer, id, unread);
	return 0;
}

int front_on_session_back(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct cv_str session, protocol, remote, unread;
	uint64_t octets;
	uint8_t relayed;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 64, &session) || !cv_take_str(&msg->payload, 63, &protocol) || !cv_take_str(&msg->payload, 45, &remote) ||
		!cv_take_u8(&msg->payload, &relayed) || !cv_take_u64(&msg->payload, &octets) || !cv_take_str(&msg->payload, CV_SESSION_BACK_MAX, &unread) || !cv_reader_end(&msg->payload))
		return -1;
	int fd = msg->fds[0];
	msg->fds[0] = -1;
	if (!relayed)
		return take_socket_back(front, fd, session, protocol, remote, unread);
	/* Gone meanwhile, or asked for twice: then it is not there any more. */
	struct relay *relay = cv_map_remove(front->relayed, session);
	if (relay != NULL && relay->protocol->back != NULL)
		cv_relay_give_back(relay->relay, octets, unread, fd, relay_back, relay);
	else
		(void)close(fd);
	return 0;
}

static void on_accept(void *ctx, unsigned events)
{
	struct listener *l = ctx;
	struct front *front = l->front;

	(void)events;
	/* To ask whether there is another one is a call for nothing where they come one by one. */
	unsigned most = cv_loop_rounds(front->loop) - l->accept_round <= 1 ? ACCEPT_BURST : 1;
	l->accept_round = cv_loop_rounds(front->loop);
	for (unsigned i = 0; i < most; i++) {
		struct sockaddr_storage remote = { 0 };
		socklen_t len = sizeof(remote);
		if (!front_fds_left(front)) {
			overloaded(front, "descriptors");
			return;
		}
		int fd = accept4(l->fd, (struct sockaddr *)(void *)&remote, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				overloaded(front, strerror(errno));
			/* EAGAIN: another front was faster. Others concern that one connection only. */
			else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && errno != EPROTO && errno != EPERM)
				cv_warn(NULL, "listener %s: accept: %s", l->name, strerror(errno));
			if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
				continue;
			return;
		}
		struct cv_login *login = take_connection(l, fd, &remote);
		/* Each kind has the bound for itself: neither keeps the other out. Who delivers comes again by himself. */
		if (l->protocol->opts & CV_LOGIN_NO_AUTH) {
			if (front->peer_count > front->client_limit) {
				front_say_full(front, "client_limit");
				cv_login_goodbye(login, "overloaded");
			}
		} else if (front->login_count + front->relay_count > front->client_limit) {
			front_say_full(front, "client_limit");
			(void)drop_oldest(front);
		}
	}
}

/* ---- Listeners --------------------------------------------------------------------------------------------------------------------------- */

static void listen_on(struct listener *l)
{
	if (l->io == NULL && l->front->proc->started && l->front->has_mechs && !l->front->draining)
		l->io = cv_io_add(l->front->loop, l->fd, CV_IO_READ | CV_IO_EXCLUSIVE, on_accept, l);
}

void front_listen_all(struct front *front)
{
	struct cv_node *node, *next;

	cv_list_foreach(&front->listeners, node, next)
		listen_on(cv_container(node, struct listener, node));
}

int front_listener(struct cv_role_proc *proc, uint64_t token, struct cv_str name, struct cv_str protocol, bool tls, bool is_unix, int fd)
{
	struct front *front = proc->state;
	struct listener *l = cv_new0(struct listener);
	struct cv_buf text;

	l->front = front;
	l->token = token;
	l->tls = tls;
	l->is_unix = is_unix;
	l->fd = fd;
	cv_buf_init(&text, 256);
	cv_buf_append(&text, protocol);
	l->protocol = text.data != NULL ? cv_provider_get(proc->registry, CV_CAP_LOGIN, text.data) : NULL;
	cv_buf_clear(&text);
	cv_buf_append(&text, name);
	l->name = cv_strdup(text.data != NULL ? text.data : "");
	cv_buf_deinit(&text);
	cv_list_append(&front->listeners, &l->node);
	if (l->protocol == NULL) {
		cv_error(NULL, "listener %s: no module speaks protocol %s", l->name, cv_log_clean(protocol));
		return -1;
	}
	listen_on(l);
	return 0;
}

static void free_listener(struct listener *l)
{
	cv_list_remove(&l->node);
	cv_io_remove(&l->io);
	(void)close(l->fd);
	cv_free(l->name);
	cv_free(l);
}

void front_listener_gone(struct cv_role_proc *proc, uint64_t token)
{
	struct front *front = proc->state;
	struct cv_node *node, *next;

	for (node = front->listeners.next; node != &front->listeners; node = next) {
		struct listener *l = cv_container(node, struct listener, node);
		next = node->next;
		if (l->token == token)
			free_listener(l);
	}
}

void front_free_listeners(struct front *front)
{
	struct cv_node *node, *next;

	for (node = front->listeners.next; node != &front->listeners; node = next) {
		next = node->next;
		free_listener(cv_container(node, struct listener, node));
	}
}

void front_free_relays(struct front *front)
{
	struct cv_node *node, *next;

	for (node = front->relays.next; node != &front->relays; node = next) {
		struct relay *relay = cv_container(node, struct relay, node);
		next = node->next;
		cv_list_remove(&relay->node);
		cv_relay_free(&relay->relay);
		cv_free(relay);
	}
}
