/* SPDX-License-Identifier: MIT
   Sandboxes: the system call filter of a role (seccomp) and the files it may reach (Landlock). */
#include "core/proc/role.h"

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- seccomp ------------------------------------------------------------------------------------------- */

/* Names, not numbers: one that this kernel's or library's headers do not know is passed over. */

/* Front moves octets between descriptors that it has or is given, and makes no others but memfds and socketpairs. */
static const char *const front_allowed[] = {
	"read", "write", "readv", "writev", "pread64", "pwrite64", "lseek",
	"recvfrom", "recvmsg", "recvmmsg", "recv", "sendto", "sendmsg", "sendmmsg", "send",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
	"accept4", "accept", "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername", "close", "close_range",
	"fcntl", "fcntl64", "dup", "dup2", "dup3", "fstat", "fstat64", "ftruncate", "ftruncate64", "memfd_create", "fsync", "fdatasync",
	"munmap", "mremap", "brk", "madvise", "futex", "futex_time64", "membarrier", "rseq", "set_robust_list", "get_robust_list",
	"rt_sigreturn", "sigreturn", "rt_sigprocmask", "rt_sigaction", "sigaltstack", "rt_sigtimedwait", "restart_syscall", "signalfd4",
	"clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "getrandom",
	"timerfd_create", "timerfd_settime", "eventfd2", "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid",
	"getrlimit", "prlimit64", "getrusage", "sched_yield", "sched_getaffinity", "sched_getcpu", "getcpu", "uname", "sysinfo",
	"exit", "exit_group",
};

/* What libraries try on the way (a time zone, a resolver, the system log that went away): refused softly in every mode. */
static const char *const front_refused[] = {
	"open", "openat", "openat2", "access", "faccessat", "faccessat2", "stat", "lstat", "readlink", "readlinkat",
	"socket", "connect", "ioctl", "getcwd", "getdents64", "statfs", "umask",
};

/* What no spawner, worker and auth process has a use for: it changes the system or other processes. */
static const char *const others_denied[] = {
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd", "kexec_load", "kexec_file_load",
	"init_module", "finit_module", "delete_module", "bpf", "perf_event_open", "userfaultfd", "mount", "umount", "umount2", "pivot_root",
	"move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "swapon", "swapoff", "reboot", "sethostname",
	"setdomainname", "settimeofday", "stime", "clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex", "acct",
	"quotactl", "quotactl_fd", "keyctl", "add_key", "request_key", "unshare", "setns", "chroot", "iopl", "ioperm", "modify_ldt",
	"lookup_dcookie", "nfsservctl", "vhangup", "personality", "open_by_handle_at", "syslog", "io_uring_setup", "io_uring_enter",
	"io_uring_register", "fanotify_init", "mknod", "migrate_pages", "move_pages", "mbind", "set_mempolicy",
};

/* What changes who one is. The spawner's forks need it to become their users. Afterwards the kernel itself refuses it: they have no capability, and can gain none
   (cv_restrict verifies both). */
static const char *const identity_denied[] = {
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "setuid32", "setgid32",
	"setreuid32", "setregid32", "setresuid32", "setresgid32", "setfsuid32", "setfsgid32", "setgroups32", "capset",
};

static int add_rule(scmp_filter_ctx filter, uint32_t action, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);
	int result;

	if (nr == __NR_SCMP_ERROR)
		return 0;
	result = seccomp_rule_add(filter, action, nr, 0);
	/* One that this architecture does not have is no loss. EACCES: the action is the default one. */
	return result == -EDOM || result == -EACCES ? 0 : result;
}

static int add_rules(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int result = add_rule(filter, action, names[i]);
		if (result < 0)
			return result;
	}
	return 0;
}

/* fstat(3) of a descriptor is, in the C library, one of these with an empty path and AT_EMPTY_PATH. */
static const struct {
	const char *name;
	unsigned flags; /* which argument holds them */
} front_stat[] = { { "newfstatat", 3 }, { "fstatat64", 3 }, { "statx", 2 } };

static int stat_rules(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < CV_COUNT_OF(front_stat); i++) {
		int nr = seccomp_syscall_resolve_name(front_stat[i].name), result;
		if (nr == __NR_SCMP_ERROR)
			continue;
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 1, SCMP_CMP(front_stat[i].flags, SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
		if (result == 0)
			result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), nr, 1, SCMP_CMP(front_stat[i].flags, SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, 0));
		if (result < 0 && result != -EDOM)
			return result;
	}
	return 0;
}

static int front_rules(scmp_filter_ctx filter)
{
	int result = add_rules(filter, SCMP_ACT_ALLOW, front_allowed, CV_COUNT_OF(front_allowed));

	if (result == 0)
		result = add_rules(filter, SCMP_ACT_ERRNO(EACCES), front_refused, CV_COUNT_OF(front_refused));
	if (result == 0)
		result = stat_rules(filter);
	/* Memory that can be executed is never made; sockets only in pairs within the machine. */
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
	/* abort(3) signals itself. */
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return result;
}

static int others_rules(scmp_filter_ctx filter, enum cv_sandbox_profile profile, uint32_t refuse)
{
	static const unsigned long namespaces[] = { CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET };
	int result = add_rules(filter, refuse, others_denied, CV_COUNT_OF(others_denied));

	if (result == 0 && profile != CV_SANDBOX_SPAWNER)
		result = add_rules(filter, refuse, identity_denied, CV_COUNT_OF(identity_denied));
	for (size_t i = 0; i < CV_COUNT_OF(namespaces) && result == 0; i++) {
		result = seccomp_rule_add(filter, refuse, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
	}
	/* clone3's flags are in memory, where a filter cannot look: the C library falls back to clone. */
	if (result == 0) {
		int nr = seccomp_syscall_resolve_name("clone3");
		if (nr != __NR_SCMP_ERROR)
			result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
	}
	return result == -EDOM ? 0 : result;
}

/* A filter with its rules, to be released; NULL with err. */
static scmp_filter_ctx filter_make(enum cv_sandbox_profile profile, enum cv_seccomp_mode mode, struct cv_err *err)
{
	uint32_t refuse = mode == CV_SECCOMP_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx filter = seccomp_init(profile == CV_SANDBOX_FRONT ? refuse : SCMP_ACT_ALLOW);

	if (filter == NULL) {
		(void)cv_err_set(err, CV_ERR_INTERNAL, "seccomp: no filter could be made");
		return NULL;
	}
	/* A tree instead of a list, where libseccomp can (2.5): front makes many system calls. */
#ifdef SCMP_FLTATR_CTL_OPTIMIZE
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
#endif
	int result = profile == CV_SANDBOX_FRONT ? front_rules(filter) : others_rules(filter, profile, refuse);
	if (result == 0)
		return filter;
	seccomp_release(filter);
	(void)cv_err_sys(err, -result, "seccomp filter");
	return NULL;
}

/* Of the filter that this process has for those that are forked from it. A filter of its own costs each of them more than the fork. */
static enum cv_seccomp_mode passed_on = CV_SECCOMP_OFF;

static int load(enum cv_sandbox_profile profile, enum cv_seccomp_mode mode, struct cv_err *err)
{
	scmp_filter_ctx filter = filter_make(profile, mode, err);

	if (filter == NULL)
		return -1;
	int result = seccomp_load(filter);
	seccomp_release(filter);
	return result < 0 ? cv_err_sys(err, -result, "seccomp filter") : 0;
}

enum cv_seccomp_mode cv_sandbox_passed_on(void)
{
	return passed_on;
}

int cv_sandbox_prepare(enum cv_seccomp_mode mode, struct cv_err *err)
{
	/* None is ever taken off; of several the strictest answer counts. */
	if (mode <= passed_on)
		return 0;
	if (load(CV_SANDBOX_SPAWNER, mode, err) < 0)
		return -1;
	passed_on = mode;
	return 0;
}

int cv_sandbox_seccomp(enum cv_sandbox_profile profile, enum cv_seccomp_mode mode, struct cv_err *err)
{
	if (mode == CV_SECCOMP_OFF || (profile == CV_SANDBOX_WORKER && mode <= passed_on))
		return 0;
	return load(profile, mode, err);
}

/* ---- Landlock ------------------------------------------------------------------------------------------- */

/* The kernel's interface as of ABI 6; older headers know less of it. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#define LL_VERSION 1u
#define LL_PATH_BENEATH 1

enum {
	LL_EXECUTE = 1 << 0,
	LL_WRITE_FILE = 1 << 1,
	LL_READ_FILE = 1 << 2,
	LL_READ_DIR = 1 << 3,
	LL_V1_ALL = (1 << 13) - 1, /* and remove, make of every kind */
	LL_MAKE_CHAR = 1 << 6,
	LL_MAKE_BLOCK = 1 << 11,
	LL_REFER = 1 << 13,     /* ABI 2 */
	LL_TRUNCATE = 1 << 14,  /* ABI 3 */
	LL_IOCTL_DEV = 1 << 15, /* ABI 5 */
	LL_FILE_ONLY = LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV
};
enum { LL_NET_BIND = 1 << 0, LL_NET_CONNECT = 1 << 1 }; /* ABI 4 */
enum { LL_SCOPE_ABSTRACT_UNIX = 1 << 0, LL_SCOPE_SIGNAL = 1 << 1 }; /* ABI 6 */

struct ll_ruleset {
	uint64_t fs, net, scoped;
};
struct ll_path {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

/* Paths looked up beforehand (cv_sandbox_hold). */
struct held {
	const char *path; /* borrowed */
	int fd;           /* -1: there is no such file, or another one's rule has it already */
	bool there, dir;
	dev_t dev;
	ino_t ino;        /* not another file's while fd is open */
	char real[PATH_MAX];
};
static CV_VEC(struct held) held;

/* Most often they have numbers that follow one another. */
void cv_sandbox_let_go(void)
{
	int first = -1, last = -1;

	for (size_t i = 0; i < held.count; i++) {
		int fd = held.data[i].fd;
		if (fd >= 0 && first >= 0 && fd != last + 1) {
			cv_close_range(first, last);
			first = -1;
		}
		if (fd >= 0) {
			last = fd;
			first = first < 0 ? fd : first;
		}
	}
	if (first >= 0)
		cv_close_range(first, last);
	held.count = 0;
}

/* Is it below a directory that is held? */
static bool is_below(const char *real)
{
	for (size_t i = 0; i < held.count; i++) {
		const struct held *h = &held.data[i];
		struct cv_str rest = cv_str_c(real);
		if (h->fd < 0 || !h->dir || !cv_str_starts(rest, cv_str_c(h->real)))
			continue;
		rest = cv_str_sub(rest, strlen(h->real), SIZE_MAX);
		if (rest.len == 0 || rest.ptr[0] == '/')
			return true;
	}
	return false;
}

/* What cannot be reached needs no rule. */
static bool is_absent(int errnum)
{
	return errnum == ENOENT || errnum == ENOTDIR || errnum == EACCES;
}

/* Do the paths lead where those that are held did? */
static bool as_held(const char *const *paths, size_t count)
{
	if (held.count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct held *h = &held.data[i];
		struct stat st;
		bool there = stat(paths[i], &st) == 0;
		if (strcmp(h->path, paths[i]) != 0 || there != h->there || (there && (st.st_dev != h->dev || st.st_ino != h->ino)))
			return false;
	}
	return true;
}

static bool look_up(struct held *h)
{
	struct stat st;

	if (realpath(h->path, h->real) == NULL || stat(h->real, &st) < 0)
		return false;
	if (!is_below(h->real)) {
		h->fd = open(h->real, O_PATH | O_CLOEXEC);
		if (h->fd < 0)
			return false;
		(void)fstat(h->fd, &st); /* else it is what was there before */
		h->dir = S_ISDIR(st.st_mode);
	}
	h->dev = st.st_dev;
	h->ino = st.st_ino;
	return true;
}

void cv_sandbox_hold(const char *const *paths, size_t count, bool anew)
{
	if (!anew && as_held(paths, count))
		return;
	cv_sandbox_let_go();
	for (size_t i = 0; i < count; i++) {
		struct held h = { .path = paths[i], .fd = -1 };

		h.there = look_up(&h);
		/* For want of descriptors, or such: each process looks for itself, and says what is wrong. */
		if (h.there || is_absent(errno))
			*cv_vec_push(&held) = h;
	}
}

size_t cv_sandbox_held(int *fds, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < held.count; i++) {
		if (held.data[i].fd < 0)
			continue;
		cv_assert(count < max);
		fds[count++] = held.data[i].fd;
	}
	return count;
}

static const struct held *find_held(const char *path)
{
	for (size_t i = 0; i < held.count; i++) {
		if (strcmp(held.data[i].path, path) == 0)
			return &held.data[i];
	}
	return NULL;
}

static int add_fd(int ruleset, const struct cv_sandbox_path *path, int fd, bool dir, uint64_t handled, struct cv_err *err)
{
	struct ll_path rule = { .parent_fd = fd };

	rule.allowed = path->write ? handled & ~(uint64_t)(LL_MAKE_CHAR | LL_MAKE_BLOCK | LL_EXECUTE) :
				     handled & (LL_READ_FILE | LL_READ_DIR | LL_EXECUTE);
	if (!dir)
		rule.allowed &= LL_FILE_ONLY;
	if (syscall(SYS_landlock_add_rule, ruleset, LL_PATH_BENEATH, &rule, 0) < 0)
		return cv_err_sys(err, errno, "Landlock: %s", path->path);
	return 0;
}

static int add_path(int ruleset, const struct cv_sandbox_path *path, uint64_t handled, struct cv_err *err)
{
	const struct held *h = path->write ? NULL : find_held(path->path);
	struct stat st;

	if (h != NULL)
		return h->fd >= 0 ? add_fd(ruleset, path, h->fd, h->dir, handled, err) : 0;
	int fd = open(path->path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return is_absent(errno) ? 0 : cv_err_sys(err, errno, "Landlock: %s", path->path);
	bool dir = fstat(fd, &st) != 0 || S_ISDIR(st.st_mode);
	int result = add_fd(ruleset, path, fd, dir, handled, err);
	(void)close(fd);
	return result;
}

int cv_sandbox_landlock(const struct cv_sandbox_path *paths, size_t count, struct cv_err *err)
{
	struct ll_ruleset rules = { .fs = LL_V1_ALL };
	size_t size = sizeof(rules.fs);
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_VERSION);

	if (abi < 1) {
		/* Not built in, or switched off at boot: both are the administrator's choice. */
		if (errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM)
			return 0;
		return cv_err_sys(err, errno, "asking for Landlock");
	}
	if (abi >= 2)
		rules.fs |= LL_REFER;
	if (abi >= 3)
		rules.fs |= LL_TRUNCATE;
	if (abi >= 4) {
		/* Nobody listens; who may reach no file connects nowhere either. */
		rules.net = LL_NET_BIND | (count == 0 ? LL_NET_CONNECT : 0);
		size = offsetof(struct ll_ruleset, scoped);
	}
	if (abi >= 5)
		rules.fs |= LL_IOCTL_DEV;
	if (abi >= 6) {
		rules.scoped = LL_SCOPE_ABSTRACT_UNIX | LL_SCOPE_SIGNAL;
		size = sizeof(rules);
	}
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (ruleset < 0)
		return cv_err_sys(err, errno, "Landlock rule set");
	for (size_t i = 0; i < count; i++) {
		if (add_path(ruleset, &paths[i], rules.fs, err) < 0) {
			(void)close(ruleset);
			return -1;
		}
	}
	int result = 1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		result = cv_err_sys(err, errno, "Landlock");
	(void)close(ruleset);
	return result;
}
