/* SPDX-License-Identifier: MIT
   Whose the mail is: lock and lease. */
#include <config.h>

#include "core/store/lease.h"
#include <culver/buf.h>
#include <culver/file.h>
#include <culver/log.h>
#include <culver/reader.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#define LEASE "lease"
#define LINE_MAX_LEN 511
#define WORD_MAX CV_BOOT_ID_MAX
#define COPIED "copied" /* instead of FILE, until it was dealt with */
#define MARGIN_SEC 2 /* the file system's clock may tick in whole seconds */

/* What a line tells. */
struct owner {
	char token[WORD_MAX], boot[WORD_MAX], machine[WORD_MAX], host[WORD_MAX], file[WORD_MAX];
	unsigned long long epoch, time_sec, pid, pid_space;
};

/* ---- who we are ------------------------------------------------------------------------------------------------------- */

/* A word of the system's own files; "-" when it is not to be had. */
static void read_word(const char *path, char word[WORD_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, word, WORD_MAX - 1) : -1;

	if (fd >= 0)
		(void)close(fd);
	word[n > 0 ? n : 0] = '\0';
	word[strcspn(word, " \t\r\n")] = '\0';
	if (word[0] == '\0')
		(void)snprintf(word, WORD_MAX, "-");
}

static bool known(const char *word)
{
	return strcmp(word, "-") != 0 && word[0] != '\0';
}

/* What is the same for all processes that are forked from one. */
static struct {
	bool all_read;
	char boot[WORD_MAX], machine[WORD_MAX];
	unsigned long long pid_space;
} here;

void cv_lease_look_around(void)
{
	struct stat st;

	if (here.all_read)
		return;
	read_word("/proc/sys/kernel/random/boot_id", here.boot);
	read_word("/etc/machine-id", here.machine);
	here.pid_space = stat("/proc/self/ns/pid", &st) == 0 ? (unsigned long long)st.st_ino : 0;
	here.all_read = known(here.boot) && known(here.machine);
}

void cv_boot_id(char id_r[CV_BOOT_ID_MAX])
{
	cv_lease_look_around();
	memcpy(id_r, here.boot, sizeof(here.boot));
}

static void find_self(struct owner *self)
{
	cv_lease_look_around();
	*self = (struct owner){ .pid = (unsigned long long)getpid(), .pid_space = here.pid_space };
	memcpy(self->boot, here.boot, sizeof(here.boot));
	memcpy(self->machine, here.machine, sizeof(here.machine));
	if (gethostname(self->host, sizeof(self->host) - 1) < 0 || self->host[0] == '\0')
		(void)snprintf(self->host, sizeof(self->host), "-");
	self->host[strcspn(self->host, " \t\r\n")] = '\0';
}

/* "culver-lease 1 TOKEN EPOCH SECONDS PID PID-NAMESPACE BOOT MACHINE HOST FILE CRC" (without FILE in what older servers wrote) */
static void make_line(const struct owner *o, char line[LINE_MAX_LEN + 1])
{
	int len = snprintf(line, LINE_MAX_LEN - 16, "culver-lease 1 %.32s %llu %llu %llu %llu %.64s %.64s %.100s %.64s", o->token, o->epoch, o->time_sec, o->pid,
		o->pid_space, o->boot, o->machine, o->host, o->file[0] != '\0' ? o->file : "-");

	(void)snprintf(line + len, 16, " %08x\n", cv_crc32c(0, line, (size_t)len));
}

static bool parse_line(const char *line, struct owner *o)
{
	char crc[16];
	const char *last = strrchr(line, ' ');

	*o = (struct owner){ 0 };
	if (last == NULL || sscanf(line, "culver-lease 1 %127s %llu %llu %llu %llu %127s %127s %127s %127s", o->token, &o->epoch, &o->time_sec, &o->pid,
				    &o->pid_space, o->boot, o->machine, o->host, o->file) < 8)
		return false;
	if (strchr(o->file, '.') == NULL && strcmp(o->file, COPIED) != 0) /* the CRC */
		o->file[0] = '\0';
	(void)snprintf(crc, sizeof(crc), " %08x\n", cv_crc32c(0, line, (size_t)(last - line)));
	return strcmp(crc, last) == 0;
}

/* ---- the files --------------------------------------------------------------------------------------------------------- */

/* 1 with the line, 0 there is none. mtime_r may be NULL. */
static int read_line(int fd, char line[LINE_MAX_LEN + 1], struct stat *st_r, struct cv_err *err)
{
	size_t got;

	if ((st_r != NULL && cv_file_fstat(fd, st_r, err) < 0) || cv_file_pread(fd, line, LINE_MAX_LEN, 0, &got, err) < 0)
		return -1;
	line[got] = '\0';
	return got > 0;
}

/* Opened by its name each time: what another machine did is seen then. */
static int open_lease(const struct cv_lease *lease, int flags, char line[LINE_MAX_LEN + 1], struct stat *st_r, int *fd_r, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int ret;

	if (cv_file_open(lease->dir, LEASE, flags, 0, fd_r, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		if (err != NULL)
			*err = open_err;
		return -1;
	}
	ret = read_line(*fd_r, line, st_r, err);
	if (ret <= 0)
		cv_file_close(fd_r);
	return ret;
}

static int in_use(const char *line, struct cv_err *err)
{
	struct owner o;

	if (!parse_line(line, &o))
		return cv_err_set(err, CV_ERR_INUSE, "the mail is in use by another process");
	return cv_err_set(err, CV_ERR_INUSE, "the mail is in use by process %llu on %s: two servers must not be given the same directory", o.pid,
		cv_log_clean(cv_str_c(o.host)));
}

/* Magic numbers of statfs(2) whose files another machine may have open. */
static bool may_be_shared(int dir)
{
	static const unsigned long shared[] = { 0x6969 /* NFS */, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */, 0x517b /* SMB */, 0x65735546 /* FUSE */,
		0x00c36400 /* Ceph */, 0x01021997 /* 9P */, 0x0bd00bd0 /* Lustre */, 0x7461636f /* OCFS2 */, 0x01161970 /* GFS2 */,
		0x5346414f /* AFS */, 0x47504653 /* GPFS */, 0xaad7aaea /* PanFS */, 0x19830326 /* BeeGFS */ };
	struct statfs fs;

	if (fstatfs(dir, &fs) < 0)
		return true;
	for (size_t i = 0; i < CV_COUNT_OF(shared); i++) {
		if (((unsigned long)fs.f_type & 0xffffffffUL) == shared[i])
			return true;
	}
	return false;
}

/* Which file it is: no copy of it is the same. "-" where the file system does not tell. */
static void name_file(int fd, char file[WORD_MAX])
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0 || (st.stx_mask & STATX_INO) == 0 || (st.stx_mask & STATX_BTIME) == 0)
		(void)snprintf(file, WORD_MAX, "-");
	else
		(void)snprintf(file, WORD_MAX, "%llx.%llx.%x", (unsigned long long)st.stx_ino, (unsigned long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

/* The lock is the file of the owner before, or it was put there with all the rest by another program. */
static int look_for_copy(struct cv_lease *lease, struct owner *self, struct cv_err *err)
{
	char line[LINE_MAX_LEN + 1];
	struct owner before;
	int ret = read_line(lease->lock_fd, line, NULL, err);

	if (ret < 0)
		return -1;
	name_file(lease->lock_fd, self->file);
	if (ret == 0 || !parse_line(line, &before) || !known(before.file) || !known(self->file) || strcmp(before.file, self->file) == 0)
		return 1;
	lease->copied = true;
	(void)snprintf(self->file, sizeof(self->file), COPIED);
	return 1;
}

/* ---- taking ------------------------------------------------------------------------------------------------------------- */

static bool is_dead(const struct owner *self, const struct owner *o)
{
	if (known(o->boot) && strcmp(o->boot, self->boot) == 0)
		return o->pid_space != 0 && o->pid_space == self->pid_space && o->pid > 0 && o->pid <= INT32_MAX && o->pid != self->pid &&
			kill((pid_t)o->pid, 0) < 0 && errno == ESRCH;
	/* The same machine, started anew. */
	return known(o->boot) && known(self->boot) && known(o->machine) && strcmp(o->machine, self->machine) == 0 &&
		strcmp(o->host, self->host) == 0;
}

/* Ours, under a name of its own; its time is the file system's now. */
static int write_own(struct cv_lease *lease, const char *name, struct stat *st_r, struct cv_err *err)
{
	int fd, ret;

	if (cv_file_open(lease->dir, name, O_RDWR | O_CREAT | O_EXCL, lease->file_mode, &fd, err) < 0)
		return -1;
	ret = cv_file_pwrite(fd, cv_str_c(lease->line), 0, err);
	if (ret > 0)
		ret = cv_file_sync(fd, false, err); /* a file server stamps what has reached it */
	if (ret > 0)
		ret = cv_file_fstat(fd, st_r, err);
	cv_file_close(&fd);
	return ret;
}

/* May the lease that is there be taken? */
static int judge(struct cv_lease *lease, const struct owner *self, const char *line, const struct stat *there, const struct stat *now, struct cv_err *err)
{
	int64_t age = (int64_t)now->st_mtime - (int64_t)there->st_mtime;
	uint64_t term = lease->time_sec;
	struct owner o;
	bool whole = parse_line(line, &o);

	if (whole) {
		lease->epoch = o.epoch;
		term = CV_MAX(term, (uint64_t)o.time_sec);
		if (is_dead(self, &o))
			return 1;
	}
	lease->by_time = true;
	/* A clock that was set back makes it come from the future: a living owner touches it soon. */
	if (age > (int64_t)term + MARGIN_SEC || age < -(int64_t)term - MARGIN_SEC) {
		cv_warn(NULL, "the lease of process %llu on %s was not renewed for %lld seconds: taken over", whole ? o.pid : 0,
			whole ? cv_log_clean(cv_str_c(o.host)) : "an unknown host", (long long)age);
		return 1;
	}
	return in_use(line, err);
}

static int take_lease(struct cv_lease *lease, struct owner *self, struct cv_err *err)
{
	char line[LINE_MAX_LEN + 1], name[sizeof(LEASE) + 40];
	struct stat there, now;
	int fd, found, ret;

	found = open_lease(lease, O_RDONLY, line, &there, &fd, err);
	if (found < 0)
		return -1;
	if (found > 0)
		cv_file_close(&fd);
	if (found > 0) {
		struct owner o;

		self->epoch = parse_line(line, &o) ? o.epoch + 1 : 1;
	}
	make_line(self, lease->line);
	(void)snprintf(name, sizeof(name), LEASE ".%.32s", lease->token);
	ret = write_own(lease, name, &now, err);
	if (ret > 0 && found > 0)
		ret = judge(lease, self, line, &there, &now, err);
	/* Without one before, whoever comes first has it. */
	if (ret > 0 && found == 0) {
		struct cv_err link_err = { 0 };

		ret = cv_file_link(lease->dir, name, lease->dir, LEASE, &link_err);
		if (ret < 0 && link_err.code == CV_ERR_EXISTS)
			ret = cv_err_set(err, CV_ERR_INUSE, "another process takes the mail just now");
		else if (ret < 0) /* no links here */
			ret = cv_file_rename(lease->dir, name, lease->dir, LEASE, true, err);
	} else if (ret > 0) {
		ret = cv_file_rename(lease->dir, name, lease->dir, LEASE, true, err);
	}
	if (cv_file_unlink(lease->dir, name, NULL) < 0)
		cv_warn(NULL, "%s stays", name);
	if (ret < 0)
		return -1;
	lease->held = true;
	ret = cv_lease_check(lease, err); /* of two who took it at once, one has it */
	lease->held = ret > 0;
	return ret;
}

/* For whoever finds it locked. */
static int write_lock(const struct cv_lease *lease, struct cv_err *err)
{
	return cv_file_pwrite(lease->lock_fd, cv_str_c(lease->line), 0, err) < 0 || cv_file_truncate(lease->lock_fd, strlen(lease->line), err) < 0 ? -1 : 1;
}

int cv_lease_take(struct cv_lease *lease, int dir, int lock_fd, unsigned file_mode, uint64_t time_sec, bool only_lease, struct cv_err *err)
{
	char line[LINE_MAX_LEN + 1];
	struct cv_err lock_err = { 0 };
	struct cv_buf token;
	struct owner self;
	uint8_t random[16];

	*lease = (struct cv_lease){ .dir = dir, .lock_fd = lock_fd, .file_mode = file_mode, .time_sec = time_sec };
	lease->strict = only_lease || may_be_shared(dir);
	find_self(&self);
	self.time_sec = time_sec;
	cv_random(random, sizeof(random));
	cv_buf_init(&token, sizeof(self.token));
	cv_buf_append_hex(&token, cv_str_mem(random, sizeof(random)));
	(void)snprintf(self.token, sizeof(self.token), "%.*s", CV_STR_ARG(cv_buf_str(&token)));
	(void)snprintf(lease->token, sizeof(lease->token), "%.32s", self.token);
	cv_buf_deinit(&token);
	if (!only_lease && cv_file_lock(lock_fd, &lock_err) < 0) {
		if (lock_err.code == CV_ERR_INUSE && read_line(lock_fd, line, NULL, &lock_err) > 0)
			return in_use(line, err);
		if (lock_err.code == CV_ERR_INUSE || !lease->strict) {
			if (err != NULL)
				*err = lock_err;
			return -1;
		}
		cv_warn(NULL, "the file system has no locks (%s): the lease alone keeps two servers apart", lock_err.text);
	}
	if (lease->strict && take_lease(lease, &self, err) < 0)
		return -1;
	/* Where files have other numbers after each mount nothing can be told. */
	if (!lease->strict && look_for_copy(lease, &self, err) < 0)
		return -1;
	if (!lease->strict)
		make_line(&self, lease->line);
	return only_lease ? 1 : write_lock(lease, err);
}

int cv_lease_settle(struct cv_lease *lease, struct cv_err *err)
{
	struct owner self;

	if (!lease->copied || !parse_line(lease->line, &self))
		return 1;
	name_file(lease->lock_fd, self.file);
	make_line(&self, lease->line);
	lease->copied = false;
	return write_lock(lease, err);
}

/* ---- holding ------------------------------------------------------------------------------------------------------------- */

static int hold(struct cv_lease *lease, bool touch, struct cv_err *err)
{
	char line[LINE_MAX_LEN + 1];
	int fd, ret;

	if (!lease->strict)
		return 1;
	if (!lease->held)
		return cv_err_set(err, CV_ERR_INUSE, "the mail is another server's now");
	ret = open_lease(lease, touch ? O_RDWR : O_RDONLY, line, NULL, &fd, err);
	if (ret < 0)
		return -1;
	if (ret > 0 && strcmp(line, lease->line) == 0) {
		ret = touch ? cv_file_pwrite(fd, cv_str_c(lease->line), 0, err) : 1;
		if (ret > 0 && touch)
			ret = cv_file_sync(fd, false, err);
		cv_file_close(&fd);
		return ret;
	}
	if (ret > 0)
		cv_file_close(&fd);
	lease->held = false;
	return ret > 0 ? in_use(line, err) : cv_err_set(err, CV_ERR_INUSE, "the lease was removed: the mail may be another server's now");
}

int cv_lease_check(struct cv_lease *lease, struct cv_err *err)
{
	return hold(lease, false, err);
}

int cv_lease_renew(struct cv_lease *lease, struct cv_err *err)
{
	return hold(lease, true, err);
}

void cv_lease_drop(struct cv_lease *lease)
{
	struct cv_err ignored = { 0 };

	if (!lease->strict || !lease->held)
		return;
	if (cv_lease_check(lease, &ignored) > 0 && cv_file_unlink(lease->dir, LEASE, &ignored) < 0)
		cv_warn(NULL, "the lease stays until it ends by itself: %s", ignored.text);
	lease->held = false;
}
