/* SPDX-License-Identifier: MIT
   The service manager's notification socket, as sd_notify(3) and sd_watchdog_enabled(3) describe it. */
#include "core/proc/master.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void master_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path != NULL ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(addr.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0'; /* abstract */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)(const void *)&addr, size) < 0)
		cv_warn(NULL, "the service manager could not be told %s: %s", cv_log_clean(cv_str_c(state)), strerror(errno));
	(void)close(fd);
}

uint64_t master_notify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t interval, whose;

	if (usec == NULL || !cv_str_to_u64(cv_str_c(usec), UINT64_MAX, &interval))
		return 0;
	if (pid != NULL && (!cv_str_to_u64(cv_str_c(pid), UINT64_MAX, &whose) || whose != (uint64_t)getpid()))
		return 0;
	return CV_MAX(interval / 2000, (uint64_t)1);
}
