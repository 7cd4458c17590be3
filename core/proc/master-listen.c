/* SPDX-License-Identifier: MIT
   Listening sockets: taken over from the service manager, or bound here; kept over reloads. */
#include "core/proc/master.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INHERITED_FIRST 3 /* SD_LISTEN_FDS_START */
#define INHERITED_MAX 1024u

/* An address to bind. */
struct bind_to {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	} u;
	socklen_t len;
};

static bool parse_address(const char *text, unsigned port, struct bind_to *to)
{
	memset(to, 0, sizeof(*to));
	if (strcmp(text, "*") == 0)
		text = "0.0.0.0";
	if (inet_pton(AF_INET, text, &to->u.in.sin_addr) == 1) {
		to->u.in.sin_family = AF_INET;
		to->u.in.sin_port = htons((uint16_t)port);
		to->len = sizeof(to->u.in);
		return true;
	}
	if (inet_pton(AF_INET6, text, &to->u.in6.sin6_addr) == 1) {
		to->u.in6.sin6_family = AF_INET6;
		to->u.in6.sin6_port = htons((uint16_t)port);
		to->len = sizeof(to->u.in6);
		return true;
	}
	return false;
}

static bool unix_address(const char *path, struct bind_to *to)
{
	size_t len = strlen(path);

	memset(to, 0, sizeof(*to));
	if (len >= sizeof(to->u.un.sun_path))
		return false;
	to->u.un.sun_family = AF_UNIX;
	memcpy(to->u.un.sun_path, path, len + 1);
	to->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return true;
}

/* ---- From the service manager ------------------------------------------------------------------------------ */

void master_inherit(struct master *m)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	uint64_t whose;
	uint32_t count;
	struct cv_str rest = cv_str_c(names);

	if (pid != NULL && fds != NULL && cv_str_to_u64(cv_str_c(pid), UINT64_MAX, &whose) && whose == (uint64_t)getpid() &&
		cv_str_to_u32(cv_str_c(fds), INHERITED_MAX, &count)) {
		for (uint32_t i = 0; i < count; i++) {
			struct cv_str name = { 0 };
			/* Out of the way of what children get as 3. */
			int fd = fcntl(INHERITED_FIRST + (int)i, F_DUPFD_CLOEXEC, INHERITED_FIRST + (int)count);
			(void)close(INHERITED_FIRST + (int)i);
			if (rest.len > 0)
				(void)cv_str_split(rest, ':', &name, &rest);
			if (fd < 0)
				continue;
			*cv_vec_push(&m->inherited_fds) = fd;
			struct cv_buf text;
			cv_buf_init(&text, 256);
			cv_buf_append(&text, name);
			*cv_vec_push(&m->inherited_names) = cv_strdup(text.data != NULL ? text.data : "");
			cv_buf_deinit(&text);
		}
	}
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
}

static bool same_address(const struct bind_to *a, const struct bind_to *b)
{
	if (a->u.sa.sa_family != b->u.sa.sa_family)
		return false;
	if (a->u.sa.sa_family == AF_INET)
		return a->u.in.sin_port == b->u.in.sin_port && a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
	if (a->u.sa.sa_family == AF_INET6)
		return a->u.in6.sin6_port == b->u.in6.sin6_port &&
			memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr)) == 0;
	return strcmp(a->u.un.sun_path, b->u.un.sun_path) == 0;
}

/* The inherited socket that is bound where we would bind, or else has the listener's name (systemd's FileDescriptorName=); -1: none. */
static int take_inherited(struct master *m, const struct listener_want *want, const struct bind_to *to)
{
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < m->inherited_fds.count && found == SIZE_MAX; i++) {
		struct bind_to has = { .len = sizeof(has.u.storage) };
		memset(&has.u, 0, sizeof(has.u));
		if (m->inherited_fds.data[i] >= 0 && getsockname(m->inherited_fds.data[i], &has.u.sa, &has.len) == 0 && same_address(&has, to))
			found = i;
	}
	for (size_t i = 0; i < m->inherited_fds.count && found == SIZE_MAX; i++) {
		if (m->inherited_fds.data[i] >= 0 && strcmp(m->inherited_names.data[i], want->name) == 0)
			found = i;
	}
	if (found == SIZE_MAX)
		return -1;
	int fd = m->inherited_fds.data[found];
	m->inherited_fds.data[found] = -1;
	return fd;
}

/* ---- Bound here ---------------------------------------------------------------------------------------------- */

#define NOT_HERE (-2)

/* "::" in `listen`, on a machine without IPv6: passed over. */
static bool no_ipv6(const struct listener_want *want, const struct bind_to *to, int errnum)
{
	return to->u.sa.sa_family == AF_INET6 && !want->address_given && (errnum == EAFNOSUPPORT || errnum == EADDRNOTAVAIL);
}

/* The descriptor, NOT_HERE, or -1. */
static int bind_tcp(const struct listener_want *want, const struct bind_to *to, struct cv_err *err)
{
	int on = 1;
	int fd = socket(to->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return no_ipv6(want, to, errno) ? NOT_HERE : cv_err_sys(err, errno, "listener %s: socket for %s", want->name, want->address);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (to->u.sa.sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &to->u.sa, to->len) == 0 && listen(fd, want->backlog) == 0)
		return fd;
	int errnum = errno;
	(void)close(fd);
	if (no_ipv6(want, to, errnum))
		return NOT_HERE;
	if (errnum == EADDRINUSE)
		return cv_err_set(err, CV_ERR_INUSE, "listener %s: %s port %u is in use by another program", want->name, want->address, want->port);
	if (errnum == EACCES)
		return cv_err_set(err, CV_ERR_PERM, "listener %s: port %u is below 1024, which needs root's rights or systemd's socket activation",
			want->name, want->port);
	return cv_err_sys(err, errnum, "listener %s: %s port %u", want->name, want->address, want->port);
}

/* A socket file that nobody listens behind is left over from a server that was killed. */
static int remove_stale(const struct listener_want *want, const struct bind_to *to, struct cv_err *err)
{
	struct stat st;

	if (lstat(want->path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return cv_err_set(err, CV_ERR_EXISTS, "listener %s: %s exists and is no socket", want->name, want->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return cv_err_sys(err, errno, "listener %s: socket", want->name);
	bool alive = connect(fd, &to->u.sa, to->len) == 0 || errno == EAGAIN;
	(void)close(fd);
	if (alive)
		return cv_err_set(err, CV_ERR_INUSE, "listener %s: another program listens on %s", want->name, want->path);
	if (unlink(want->path) < 0 && errno != ENOENT)
		return cv_err_sys(err, errno, "listener %s: removing the old %s", want->name, want->path);
	return 0;
}

static int own_socket(const struct master *m, const struct listener_want *want, struct cv_err *err)
{
	uint32_t sysuid = UINT32_MAX, sysgid = UINT32_MAX, ignored;

	cv_assert(want->path != NULL);
	if (want->user != NULL && cv_restrict_user(want->user, &sysuid, &ignored, err) < 0)
		return cv_err_context(err, "listener %s", want->name);
	if (want->group != NULL && cv_restrict_group(want->group, &sysgid, err) < 0)
		return cv_err_context(err, "listener %s", want->name);
	if (sysuid == geteuid())
		sysuid = UINT32_MAX;
	if (sysgid == getegid())
		sysgid = UINT32_MAX;
	if ((sysuid != UINT32_MAX || sysgid != UINT32_MAX) && !m->privileged)
		return cv_err_set(err, CV_ERR_PERM, "listener %s: user and group of %s can be set by root only", want->name, want->path);
	if (m->privileged && lchown(want->path, sysuid, sysgid) < 0)
		return cv_err_sys(err, errno, "listener %s: owner of %s", want->name, want->path);
	if (chmod(want->path, want->mode) < 0)
		return cv_err_sys(err, errno, "listener %s: mode of %s", want->name, want->path);
	return 0;
}

static int bind_unix(const struct master *m, const struct listener_want *want, const struct bind_to *to, struct cv_err *err)
{
	if (remove_stale(want, to, err) < 0)
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return cv_err_sys(err, errno, "listener %s: socket", want->name);
	/* Nobody else's until mode and owner are set. */
	mode_t before = umask(0177);
	int result = bind(fd, &to->u.sa, to->len);
	int errnum = errno;
	(void)umask(before);
	if (result < 0) {
		(void)close(fd);
		return cv_err_sys(err, errnum, "listener %s: %s", want->name, want->path);
	}
	result = own_socket(m, want, err);
	if (result == 0 && listen(fd, want->backlog) < 0)
		result = cv_err_sys(err, errno, "listener %s: %s", want->name, want->path);
	if (result < 0) {
		(void)unlink(want->path);
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* ---- The list ---------------------------------------------------------------------------------------------------- */

static struct listener *find(const struct master *m, const char *key)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->listeners, node, next) {
		struct listener *l = cv_container(node, struct listener, node);
		if (strcmp(l->key, key) == 0)
			return l;
	}
	return NULL;
}

void master_listener_free(struct master *m, struct listener *l)
{
	(void)m;
	cv_list_remove(&l->node);
	(void)close(l->fd);
	if (l->is_unix && !l->inherited)
		(void)unlink(l->key + strlen("unix "));
	cv_free(l->key);
	cv_free(l->name);
	cv_free(l->protocol);
	cv_free(l);
}

static void set_names(struct listener *l, const struct listener_want *want)
{
	cv_free(l->name);
	cv_free(l->protocol);
	l->name = cv_strdup(want->name);
	l->protocol = cv_strdup(want->protocol);
	l->tls = want->tls;
}

/* What each connection is to have it inherits: front needs no calls for it. */
static void set_for_connections(int fd, bool tls)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_DEFER_ACCEPT
	/* A client of TLS speaks first: front is to be woken for its first words, and not for the connection before. One that says nothing comes to it a second later. */
	int seconds = tls ? 1 : 0;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
#endif
}

/* 1: listening, 0: this address does not exist here and need not, -1. */
static int listen_one(struct master *m, const struct listener_want *want, struct cv_err *err)
{
	struct bind_to to;
	char key[300];

	if (want->path != NULL ? !unix_address(want->path, &to) : !parse_address(want->address, want->port, &to))
		return cv_err_set(err, CV_ERR_INVALID, "listener %s: \"%s\" is no %s", want->name, want->path != NULL ? want->path : want->address,
			want->path != NULL ? "path of a socket (at most 107 octets)" : "IP address");
	if (want->path != NULL)
		(void)snprintf(key, sizeof(key), "unix %s", want->path);
	else
		(void)snprintf(key, sizeof(key), "tcp %s %u", want->address, want->port);

	struct listener *l = find(m, key);
	if (l != NULL) {
		if (l->wanted)
			return cv_err_set(err, CV_ERR_EXISTS, "listeners %s and %s both want %s", l->name, want->name, key);
		l->wanted = true;
		if (strcmp(l->protocol, want->protocol) != 0 || strcmp(l->name, want->name) != 0 || l->tls != want->tls)
			l->change = want;
		/* A backlog may be changed while one listens. The service manager's is its own. */
		if (!l->inherited && listen(l->fd, want->backlog) < 0)
			return cv_err_sys(err, errno, "listener %s", want->name);
		return l->is_unix && !l->inherited ? own_socket(m, want, err) : 1;
	}
	int fd = take_inherited(m, want, &to);
	bool inherited = fd >= 0;
	if (fd < 0)
		fd = want->path != NULL ? bind_unix(m, want, &to, err) : bind_tcp(want, &to, err);
	if (fd < 0)
		return fd == NOT_HERE ? 0 : -1;
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	if (want->path == NULL)
		set_for_connections(fd, want->tls);
	l = cv_new0(struct listener);
	l->fd = fd;
	l->key = cv_strdup(key);
	l->is_unix = want->path != NULL;
	l->inherited = inherited;
	l->wanted = true;
	set_names(l, want);
	cv_list_append(&m->listeners, &l->node);
	return 1;
}

int master_listen(struct master *m, const struct master_conf *mc, struct cv_err *err)
{
	struct cv_node *node, *next, *last_old = m->listeners.prev;
	int result = 0;

	cv_list_foreach(&m->listeners, node, next) {
		struct listener *l = cv_container(node, struct listener, node);
		l->wanted = false;
		l->change = NULL;
	}
	for (size_t i = 0; i < mc->listeners.count && result >= 0; i++)
		result = listen_one(m, &mc->listeners.data[i], err);
	if (result < 0) {
		/* Back to what there was. */
		for (node = last_old->next; node != &m->listeners; node = next) {
			next = node->next;
			master_listener_free(m, cv_container(node, struct listener, node));
		}
		return -1;
	}
	cv_list_foreach(&m->listeners, node, next) {
		struct listener *l = cv_container(node, struct listener, node);
		if (l->change == NULL)
			continue;
		set_names(l, l->change);
		if (!l->is_unix)
			set_for_connections(l->fd, l->tls);
		l->change = NULL;
		l->old_token = l->token;
		l->token = 0;
	}
	for (size_t i = 0; i < m->inherited_fds.count; i++) {
		if (m->inherited_fds.data[i] >= 0) {
			cv_warn(NULL, "the service manager gave a socket (%s) that no listener wants: closed",
				cv_log_clean(cv_str_c(m->inherited_names.data[i])));
			(void)close(m->inherited_fds.data[i]);
			m->inherited_fds.data[i] = -1;
		}
	}
	return 0;
}
