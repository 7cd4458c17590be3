/* SPDX-License-Identifier: MIT
   Dropping of rights, once and for good, and the limits and titles of a process. */
#include "core/proc/role.h"

#include <config.h>

#include <culver/log.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Rights ------------------------------------------------------------------------------------------ */

/* Nothing in any capability set: the kernel cleared them with the last uid 0, ask all the same. */
static bool no_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	for (size_t i = 0; i < CV_COUNT_OF(data); i++) {
		if (data[i].effective != 0 || data[i].permitted != 0 || data[i].inheritable != 0)
			return false;
	}
	return true;
}

/* Ambient and inheritable capabilities of an unprivileged starter (systemd's AmbientCapabilities) are given up as well. */
static int drop_capabilities(struct cv_err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	memset(data, 0, sizeof(data));
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) < 0)
		return cv_err_sys(err, errno, "giving up capabilities");
	return 0;
}

static int verify(const struct cv_restrict *to, struct cv_err *err)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0)
		return cv_err_sys(err, errno, "reading the process's ids");
	if (ruid != to->sysuid || euid != to->sysuid || suid != to->sysuid)
		return cv_err_set(err, CV_ERR_INTERNAL, "the user id is not %u after it was set", to->sysuid);
	if (rgid != to->sysgid || egid != to->sysgid || sgid != to->sysgid)
		return cv_err_set(err, CV_ERR_INTERNAL, "the group id is not %u after it was set", to->sysgid);
	if (to->sysuid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return cv_err_set(err, CV_ERR_INTERNAL, "root's rights could be had back after they were given up");
	if (to->sysuid != 0 && to->sysgid != 0 && setgid(0) == 0)
		return cv_err_set(err, CV_ERR_INTERNAL, "group 0 could be had back after it was given up");
	if (!no_capabilities())
		return cv_err_set(err, CV_ERR_INTERNAL, "capabilities are left after they were given up");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return cv_err_set(err, CV_ERR_INTERNAL, "no_new_privs is not in force");
	return 0;
}

int cv_restrict(const struct cv_restrict *to, struct cv_err *err)
{
	bool privileged = geteuid() == 0 && to->sysuid != 0;

	if (privileged) {
		gid_t *groups = cv_calloc(to->group_count + 1, sizeof(*groups));
		for (size_t i = 0; i < to->group_count; i++)
			groups[i] = to->groups[i];
		int result = setgroups(to->group_count, groups);
		cv_free(groups);
		if (result < 0)
			return cv_err_sys(err, errno, "setting supplementary groups");
		if (to->chroot != NULL) {
			if (chroot(to->chroot) < 0)
				return cv_err_sys(err, errno, "chroot to %s", to->chroot);
			if (chdir("/") < 0)
				return cv_err_sys(err, errno, "entering the root of %s", to->chroot);
		}
		if (setresgid(to->sysgid, to->sysgid, to->sysgid) < 0)
			return cv_err_sys(err, errno, "setting group id %u", to->sysgid);
		if (setresuid(to->sysuid, to->sysuid, to->sysuid) < 0)
			return cv_err_sys(err, errno, "setting user id %u", to->sysuid);
	} else if (geteuid() != to->sysuid || getegid() != to->sysgid) {
		return cv_err_set(err, CV_ERR_INTERNAL, "user %u group %u is wanted, but the server runs as user %u group %u and cannot change that",
			to->sysuid, to->sysgid, (unsigned)geteuid(), (unsigned)getegid());
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return cv_err_sys(err, errno, "no_new_privs");
	/* A private run by root itself has nothing to give up but its capabilities, and needs those no more either. */
	if (drop_capabilities(err) < 0)
		return -1;
	return verify(to, err);
}

int cv_restrict_user(const char *name, uint32_t *sysuid_r, uint32_t *sysgid_r, struct cv_err *err)
{
	struct passwd pw, *found = NULL;
	char text[4096];
	uint32_t number;
	int result;

	if (name == NULL || name[0] == '\0')
		return cv_err_set(err, CV_ERR_INVALID, "no user name is given");
	result = cv_str_to_u32(cv_str_c(name), UINT32_MAX - 1, &number) ? getpwuid_r(number, &pw, text, sizeof(text), &found) :
									  getpwnam_r(name, &pw, text, sizeof(text), &found);
	if (result != 0)
		return cv_err_sys(err, result, "looking for user %s", name);
	if (found == NULL)
		return cv_err_set(err, CV_ERR_NOTFOUND, "there is no user %s: make it, or name another in the settings", name);
	*sysuid_r = found->pw_uid;
	*sysgid_r = found->pw_gid;
	return 0;
}

int cv_restrict_group(const char *name, uint32_t *sysgid_r, struct cv_err *err)
{
	struct group gr, *found = NULL;
	size_t size = 65536; /* all members' names */
	int result;

	if (name == NULL || name[0] == '\0')
		return cv_err_set(err, CV_ERR_INVALID, "no group name is given");
	if (cv_str_to_u32(cv_str_c(name), UINT32_MAX - 1, sysgid_r))
		return 0;
	for (;;) {
		char *text = cv_malloc(size);
		result = getgrnam_r(name, &gr, text, size, &found);
		if (result == 0 && found != NULL)
			*sysgid_r = found->gr_gid;
		cv_free(text);
		if (result != ERANGE || size > 16 * 1024 * 1024)
			break;
		size *= 4;
	}
	if (result != 0)
		return cv_err_sys(err, result, "looking for group %s", name);
	if (found == NULL)
		return cv_err_set(err, CV_ERR_NOTFOUND, "there is no group %s: make it, or name another in the settings", name);
	return 0;
}

/* ---- Descriptors and limits ---------------------------------------------------------------------------- */

static void close_range_or_each(unsigned first, unsigned last)
{
#ifdef HAVE_CLOSE_RANGE
	if (first > last || close_range(first, last, 0) == 0)
		return;
#endif
	struct rlimit limit = { .rlim_cur = 1024 };
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++)
		(void)close((int)fd);
}

void cv_close_range(int first, int last)
{
	cv_assert(first >= 0 && last >= first);
	close_range_or_each((unsigned)first, (unsigned)last);
}

void cv_close_from(int first, const int *keep, size_t keep_count)
{
	cv_assert(first >= 0);
	unsigned from = (unsigned)first;

	/* The lowest kept one that is left each time: few are kept. */
	for (;;) {
		int next = INT32_MAX;
		for (size_t i = 0; i < keep_count; i++) {
			if (keep[i] >= (int)from && keep[i] < next)
				next = keep[i];
		}
		if (next == INT32_MAX)
			break;
		if ((unsigned)next > from)
			close_range_or_each(from, (unsigned)next - 1);
		from = (unsigned)next + 1;
	}
	close_range_or_each(from, UINT32_MAX);
}

uint64_t cv_limit_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur;
}

void cv_limit_vsz(uint64_t octets)
{
#ifdef CV_SANITIZE
	(void)octets; /* shadow memory takes terabytes of address space */
#else
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) < 0)
		return;
	/* A parent may have had one. */
	if (octets == 0)
		octets = limit.rlim_max;
	if (limit.rlim_max != RLIM_INFINITY && octets > limit.rlim_max)
		octets = limit.rlim_max;
	limit.rlim_cur = octets;
	if (setrlimit(RLIMIT_AS, &limit) < 0)
		cv_warn(NULL, "the address space could not be limited to %llu octets", (unsigned long long)octets);
#endif
}

/* ---- Titles -------------------------------------------------------------------------------------------- */

extern char **environ; /* NOLINT(readability-redundant-declaration): POSIX leaves it to us; only some systems declare it in unistd.h */

/* The memory of argv and the environment, which ps shows. */
static struct {
	char *start;
	size_t size;
	char **environment, *words; /* ours; the C library puts others in their place, and frees none of them */
} title;

void cv_title_init(int argc, char **argv)
{
	if (argc < 1)
		return;
	/* UNSAFE: the kernel lays argv and envp out in one run of octets; walk it as far as it is one. */
	char *end = argv[0];
	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	size_t count = 0, size = 1;
	for (; environ != NULL && environ[count] != NULL; count++)
		size += strlen(environ[count]) + 1;
	char **copy = cv_calloc(count + 1, sizeof(*copy)), *word = cv_malloc(size);
	title.words = word;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(environ[i]) + 1;
		if (environ[i] == end)
			end += len;
		copy[i] = memcpy(word, environ[i], len);
		word += len;
	}
	environ = title.environment = copy;
	title.start = argv[0];
	title.size = (size_t)(end - argv[0]);
}

void cv_title_set(const char *fmt, ...)
{
	char text[256], name[16];
	va_list ap;

	if (title.start == NULL || title.size < 2)
		return;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t len = CV_MIN(strlen(text), title.size - 1);
	/* UNSAFE: len < title.size. */
	memcpy(title.start, text, len);
	memset(title.start + len, 0, title.size - len);
	(void)snprintf(name, sizeof(name), "%.15s", text);
	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
}
