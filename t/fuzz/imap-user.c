/* SPDX-License-Identifier: MIT
   To make a user takes longer than what is done with it: its files are kept in memory, and those that a run changed are written again. */
#include <config.h>

#include "core/store/store-private.h"
#include "modules/protocol/imap/imap-session.h"
#include "t/fuzz/imap-user.h"

#include <culver/log.h>
#include <culver/reader.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct cv_module imap_LTX_cv_module, sdbox_LTX_cv_module;

struct kept {
	char *path;
	bool is_dir, as_it_was;
	ino_t inode;
	struct cv_buf octets;
};

static struct {
	struct fake_worker *worker;
	struct imap_settings settings;
	char dir[40];
	CV_VEC(struct kept) kept; /* folders before what is in them */
} user;

/* ---- Files ---------------------------------------------------------------------------------------------- */

static void read_file(const char *path, struct cv_buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	fuzz_check(fd >= 0);
	do {
		char *to = cv_buf_reserve(out, 16384);

		got = read(fd, to, 16384);
		fuzz_check(got >= 0);
		cv_buf_commit(out, (size_t)got);
	} while (got > 0);
	close(fd);
}

static int keep_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct kept *kept = cv_vec_push(&user.kept);

	(void)ftw;
	*kept = (struct kept){ .path = cv_strdup(path), .is_dir = type == FTW_D, .inode = st->st_ino };
	cv_buf_init(&kept->octets, SIZE_MAX / 2);
	if (!kept->is_dir)
		read_file(path, &kept->octets);
	return 0;
}

static struct kept *find_kept(const char *path)
{
	for (size_t i = 0; i < user.kept.count; i++)
		if (strcmp(user.kept.data[i].path, path) == 0)
			return &user.kept.data[i];
	return NULL;
}

/* What is a file of another kind or identity than the one that was there goes too. Files that were put back have a time of which nothing else is. */
static int remove_new(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct kept *kept = find_kept(path);

	(void)ftw;
	if (kept == NULL || kept->inode != st->st_ino || kept->is_dir != (type == FTW_DP))
		return remove(path);
	kept->as_it_was = kept->is_dir || (st->st_mtim.tv_sec == 1 && (size_t)st->st_size == kept->octets.len);
	return 0;
}

static int remove_all(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void put_back(struct kept *kept)
{
	static const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct stat st;
	int fd;

	if (kept->as_it_was) {
		kept->as_it_was = false;
		return;
	}
	if (kept->is_dir) {
		fuzz_check(mkdir(kept->path, 0700) == 0 && stat(kept->path, &st) == 0);
	} else {
		fd = open(kept->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		fuzz_check(fd >= 0 && ftruncate(fd, (off_t)kept->octets.len) == 0);
		fuzz_check(pwrite(fd, kept->octets.data, kept->octets.len, 0) == (ssize_t)kept->octets.len);
		fuzz_check(futimens(fd, times) == 0 && fstat(fd, &st) == 0);
		close(fd);
	}
	kept->inode = st.st_ino;
}

/* ---- The user ------------------------------------------------------------------------------------------- */

static void forget(void)
{
	fake_worker_free(&user.worker);
	(void)nftw(user.dir, remove_all, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < user.kept.count; i++) {
		cv_free(user.kept.data[i].path);
		cv_buf_deinit(&user.kept.data[i].octets);
	}
	cv_vec_free(&user.kept);
}

static void make(void)
{
	static const struct cv_module *const modules[] = { &imap_LTX_cv_module, &sdbox_LTX_cv_module, NULL };
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };
	struct cv_session *session;
	char location[100];

	(void)cv_log_open(&quiet, NULL);
	(void)snprintf(user.dir, sizeof(user.dir), "/dev/shm/culver-fuzz-XXXXXX");
	if (mkdtemp(user.dir) == NULL) {
		(void)snprintf(user.dir, sizeof(user.dir), "/tmp/culver-fuzz-XXXXXX");
		fuzz_check(mkdtemp(user.dir) != NULL);
	}
	(void)snprintf(location, sizeof(location), "sdbox:%s/mail", user.dir);
	user.worker = fake_worker_new(modules, location, true);
	(void)atexit(forget);
	/* The settings are looked up when a session begins first. */
	session = fuzz_imap_log_in(user.worker);
	fake_session_end(&session);
	user.settings = *(const struct imap_settings *)user.worker->confs.data[0].set;
	user.settings.imap_capability = "+UIDONLY";
	fake_worker_set_conf(user.worker, &imap_settings_table, &user.settings);
	session = fuzz_imap_log_in(user.worker);
	fake_session_push(session, CV_STR("p APPEND INBOX (\\Seen kw) {29+}\r\nSubject: one\r\n\r\nbody one \xe4\r\n\r\n"));
	(void)fake_session_output(session);
	fake_worker_close_user(user.worker);
	fuzz_check(nftw(user.dir, keep_one, 16, FTW_PHYS) == 0);
}

struct fake_worker *fuzz_imap_user(void)
{
	if (user.worker == NULL) {
		make();
	} else {
		/* Nobody will read what it would still write. */
		user.worker->user->broken = true;
		fake_worker_close_user(user.worker);
	}
	(void)nftw(user.dir, remove_new, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < user.kept.count; i++)
		put_back(&user.kept.data[i]);
	fake_worker_open_user(user.worker);
	return user.worker;
}

struct cv_session *fuzz_imap_log_in(struct fake_worker *worker)
{
	struct cv_session *session = fake_session_start_imap(worker);

	fuzz_check(session->state != NULL);
	(void)fake_session_output(session);
	return session;
}

/* ---- What comes back --------------------------------------------------------------------------------------- */

/* One line with its literals; the view is of the octets. */
static bool take_response(struct cv_reader *r, struct cv_str *response_r)
{
	size_t start = r->pos;
	struct cv_str line, literal;

	for (;;) {
		size_t open;
		uint64_t size;

		if (!cv_take_until(r, '\n', &line))
			return false;
		fuzz_check(line.len > 0 && line.ptr[line.len - 1] == '\r');
		line.len--;
		for (size_t i = 0; i < line.len; i++)
			fuzz_check(line.ptr[i] != '\0' && line.ptr[i] != '\r');
		open = cv_str_rfind(line, '{');
		if (open == SIZE_MAX || line.ptr[line.len - 1] != '}' || !cv_str_to_u64(cv_str_sub(line, open + 1, line.len - open - 2), SIZE_MAX, &size))
			break;
		fuzz_check(cv_take_len(r, (size_t)size, &literal));
	}
	*response_r = cv_str_sub(r->s, start, r->pos - start - 2);
	return true;
}

void fuzz_imap_check(struct cv_str replies, struct cv_buf *outcomes)
{
	struct cv_reader r = cv_reader_init(replies);
	struct cv_str response, tag, rest, status;

	while (take_response(&r, &response)) {
		fuzz_check(cv_str_split(response, ' ', &tag, &rest) && tag.len > 0);
		if (cv_str_eq_c(tag, "*") || cv_str_eq_c(tag, "+"))
			continue;
		fuzz_check(cv_str_split(rest, ' ', &status, &rest));
		fuzz_check(cv_str_eq_c(status, "OK") || cv_str_eq_c(status, "NO") || cv_str_eq_c(status, "BAD"));
		cv_buf_append(outcomes, tag);
		cv_buf_append_char(outcomes, ' ');
		cv_buf_append(outcomes, status);
		cv_buf_append_char(outcomes, '\n');
	}
	fuzz_check(cv_reader_end(&r));
}
