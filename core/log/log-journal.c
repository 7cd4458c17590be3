/* SPDX-License-Identifier: MIT
   The systemd journal's native protocol: one datagram of FIELD=value lines, or a sealed memory file when that is too long. */
#include <config.h>

#include "core/log/log-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define VALUE_MAX 1024

int cv_log_journal_open(const char *path, struct cv_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len;
	int fd;

	if (path == NULL)
		path = JOURNAL_SOCKET;
	len = strlen(path);
	if (len >= sizeof(addr.sun_path))
		return cv_err_set(err, CV_ERR_INVALID, "journal socket %s: path too long", path);
	memcpy(addr.sun_path, path, len + 1);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cv_err_sys(err, errno, "journal socket");
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		(void)cv_err_sys(err, errno, "journal socket %s", path);
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void add_field(struct cv_log_text *t, const char *name, struct cv_str value)
{
	if (value.len == 0)
		return;
	cv_log_add(t, name, strlen(name));
	cv_log_add(t, "=", 1);
	/* Escaping leaves no line feed in it, so the simple form of a field is enough. */
	cv_log_add_escaped(t, cv_str_sub(value, 0, VALUE_MAX), false);
	cv_log_add(t, "\n", 1);
}

/* The datagram did not fit: the journal takes a sealed memory file instead. */
static int send_memfd(int fd, const char *data, size_t len)
{
	char dot = 0;
	struct iovec iov = { .iov_base = &dot, .iov_len = 0 };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int result = -1, memfd = memfd_create("culver-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (memfd < 0)
		return -1;
	if (write(memfd, data, len) != (ssize_t)len ||
		fcntl(memfd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
		goto out;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &memfd, sizeof(memfd));
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) >= 0)
		result = 0;
out:
	(void)close(memfd);
	return result;
}

int cv_log_journal_send(int fd, const struct cv_log_entry *entry)
{
	static const char *const priorities[] = {
		[CV_LOG_ERROR] = "3", [CV_LOG_WARN] = "4", [CV_LOG_INFO] = "6", [CV_LOG_DEBUG] = "7" };
	/* Every octet may become four; names and the short fields take the rest. */
	char data[4 * (CV_LOG_TEXT_MAX + 5 * VALUE_MAX) + 512];
	struct cv_log_text t = { .data = data, .size = sizeof(data) };

	cv_log_add(&t, "MESSAGE=", 8);
	cv_log_add_escaped(&t, entry->message, false);
	cv_log_add(&t, "\n", 1);
	add_field(&t, "PRIORITY", cv_str_c(priorities[entry->level]));
	add_field(&t, "SYSLOG_IDENTIFIER", cv_str_c(entry->role));
	add_field(&t, "CULVER_SESSION", entry->session);
	add_field(&t, "CULVER_USER", entry->user);
	add_field(&t, "CULVER_MAILBOX", entry->mailbox);
	add_field(&t, "CULVER_REMOTE", entry->remote);
	add_field(&t, "CULVER_CATEGORY", cv_str_c(entry->category));
	while (send(fd, data, t.len, MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EMSGSIZE || errno == ENOBUFS)
			return send_memfd(fd, data, t.len);
		return -1;
	}
	return 0;
}
