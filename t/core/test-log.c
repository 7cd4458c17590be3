/* SPDX-License-Identifier: MIT
   The log: its lines, its targets, and that nothing from outside can break a line. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/log.h>
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char seen[4096];
static int seen_count;

static void remember(void *ctx CV_UNUSED, enum cv_log_level level CV_UNUSED, struct cv_str line)
{
	assert_true(line.len < sizeof(seen));
	memcpy(seen, line.ptr, line.len);
	seen[line.len] = '\0';
	seen_count++;
}

static void open_callback(const char *debug)
{
	struct cv_log_config config = { .target = CV_LOG_CALLBACK, .role = "imap", .debug = debug, .callback = remember };

	assert_int_equal(cv_log_open(&config, NULL), 0);
	seen[0] = '\0';
	seen_count = 0;
}

/* What the library keeps open is not the test's leak. */
static int log_setup(void **state)
{
	struct cv_log_config config = { .target = CV_LOG_STDERR };

	assert_int_equal(cv_log_open(&config, NULL), 0);
	return cv_test_setup(state);
}

static int log_teardown(void **state)
{
	struct cv_log_config config = { .target = CV_LOG_STDERR };

	assert_int_equal(cv_log_open(&config, NULL), 0);
	return cv_test_teardown(state);
}

#define log_test(fn) cmocka_unit_test_setup_teardown(fn, log_setup, log_teardown)

static void fields_come_first_nearest_context_wins(void **state)
{
	struct cv_log_ctx process = { .user = CV_STR("nobody"), .remote = CV_STR("192.0.2.1") };
	struct cv_log_ctx session = { .parent = &process, .session = CV_STR("s1"), .user = CV_STR("joe") };
	struct cv_log_ctx mailbox = { .parent = &session, .mailbox = CV_STR("Sent \"Mail\"") };

	open_callback(NULL);
	cv_info(&mailbox, "opened %d", 3);
	assert_string_equal(seen, cv_arena_printf(*state, "info imap[%d] session=s1 user=joe mailbox=\"Sent \\\"Mail\\\"\" "
		"remote=192.0.2.1 opened 3", (int)getpid()));
	cv_error(NULL, "plain");
	assert_string_equal(seen, cv_arena_printf(*state, "error imap[%d] plain", (int)getpid()));
}

static void lines_in_a_row_are_one_write(void **state)
{
	int pipe_fds[2];
	char text[8192];

	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
	struct cv_log_config config = { .target = CV_LOG_FILE, .role = "imap", .path = cv_arena_printf(*state, "/proc/self/fd/%d", pipe_fds[1]) };
	assert_int_equal(cv_log_open(&config, NULL), 0);
	const char *lines = cv_arena_printf(*state, "info imap[%d] one\ninfo imap[%d] two\n", (int)getpid(), (int)getpid());
	cv_log_gather();
	cv_info(NULL, "one");
	cv_info(NULL, "two");
	assert_int_equal(read(pipe_fds[0], text, sizeof(text)), -1);
	/* What is wrong is told at once, behind what was said before. */
	cv_warn(NULL, "three");
	ssize_t n = read(pipe_fds[0], text, sizeof(text));
	const char *all = cv_arena_printf(*state, "%swarning imap[%d] three\n", lines, (int)getpid());
	assert_int_equal(n, strlen(all));
	assert_memory_equal(text, all, strlen(all));
	/* No more is kept than a pipe takes at once. */
	for (int i = 0; i < 6; i++)
		cv_info(NULL, "%01000d", i);
	n = read(pipe_fds[0], text, sizeof(text));
	assert_true(n > 2000 && n <= 4096 && text[n - 1] == '\n');
	cv_log_gather_end();
	n = read(pipe_fds[0], text, sizeof(text));
	assert_true(n > 2000 && n <= 4096 && text[n - 1] == '\n');
	cv_info(NULL, "four");
	assert_true(read(pipe_fds[0], text, sizeof(text)) > 0);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
}

static void outside_text_cannot_start_a_line_or_field(void **state CV_UNUSED)
{
	struct cv_log_ctx ctx = { .user = CV_STR("joe\nerror culver[1] user=root\x1b[2J\xff\xc2\x9b") };

	open_callback(NULL);
	cv_warn(&ctx, "bad\r\nline \x7f caf\xc3\xa9");
	assert_null(strchr(seen, '\n'));
	assert_null(strchr(seen, '\r'));
	assert_null(strchr(seen, 27));
	assert_non_null(strstr(seen, "user=\"joe\\x0aerror culver[1] user=root\\x1b[2J\\xff\\xc2\\x9b\" "));
	assert_non_null(strstr(seen, " bad\\x0d\\x0aline \\x7f caf\xc3\xa9"));
	assert_true(cv_str_is_utf8(cv_str_c(seen)));
}

static void long_lines_are_cut(void **state)
{
	struct cv_buf buf;
	struct cv_log_ctx ctx = { 0 };

	cv_buf_init(&buf, 100000);
	for (int i = 0; i < 30000; i++)
		cv_buf_append_char(&buf, '\1');
	open_callback(NULL);
	cv_info(NULL, "%s", cv_arena_printf(*state, "%05000d", 1));
	assert_true(strlen(seen) <= 2000);
	assert_true(cv_str_ends(cv_str_c(seen), CV_STR("0\xe2\x80\xa6")));
	/* Every field at its longest, each octet escaped. */
	ctx.session = ctx.user = ctx.mailbox = ctx.remote = cv_buf_str(&buf);
	cv_info(&ctx, "%s", buf.data);
	assert_true(strlen(seen) <= 2000);
	assert_true(cv_str_ends(cv_str_c(seen), CV_STR("\xe2\x80\xa6")));
	for (int len = 1900; len < 2010; len++) {
		cv_info(NULL, "%0*d", len, 1);
		assert_true(strlen(seen) <= 2000);
	}
	cv_buf_deinit(&buf);
}

static void debug_lines_need_their_category(void **state CV_UNUSED)
{
	struct cv_log_ctx auth = { .category = "auth" }, child = { .parent = &auth };

	open_callback(NULL);
	cv_debug(&auth, "x");
	assert_int_equal(seen_count, 0);
	open_callback("authority  auth imap");
	assert_true(cv_log_debug_on("auth"));
	assert_false(cv_log_debug_on("aut"));
	assert_false(cv_log_debug_on(""));
	assert_false(cv_log_debug_on(NULL));
	cv_debug(&child, "x");
	assert_int_equal(seen_count, 1);
	assert_non_null(strstr(seen, " category=auth x"));
	cv_debug(NULL, "x");
	assert_int_equal(seen_count, 1);
	open_callback("all");
	cv_debug(NULL, "x");
	assert_int_equal(seen_count, 1);
}

static void errno_survives_a_line(void **state CV_UNUSED)
{
	open_callback(NULL);
	errno = EXDEV;
	cv_error(NULL, "%s", "x");
	assert_int_equal(errno, EXDEV);
}

static void clean_quotes_and_escapes(void **state CV_UNUSED)
{
	static const struct {
		struct cv_str in;
		const char *out;
	} rows[] = {
		{ CV_STR_INIT("joe"), "joe" },
		{ CV_STR_INIT(""), "\"\"" },
		{ CV_STR_INIT("a b"), "\"a b\"" },
		{ CV_STR_INIT("a\"b"), "\"a\\\"b\"" },
		{ CV_STR_INIT("a\\x0ab"), "\"a\\\\x0ab\"" },
		{ CV_STR_INIT("\0\n"), "\\x00\\x0a" },
		{ CV_STR_INIT("m\xc3\xbcller"), "m\xc3\xbcller" },
		{ CV_STR_INIT("\xc3"), "\\xc3" },
		{ CV_STR_INIT("\xf0\x9f\x98\x80\xf0\x9f"), "\xf0\x9f\x98\x80\\xf0\\x9f" },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		assert_string_equal(cv_log_clean(rows[i].in), rows[i].out);
}

static void clean_keeps_eight_results_and_cuts(void **state)
{
	const char *kept[8];
	struct cv_str cut;

	for (int i = 0; i < 8; i++)
		kept[i] = cv_log_clean(cv_str_c(cv_arena_printf(*state, "value%d", i)));
	for (int i = 0; i < 8; i++)
		assert_string_equal(kept[i], cv_arena_printf(*state, "value%d", i));
	cut = cv_str_c(cv_log_clean(cv_str_c(cv_arena_printf(*state, "%0200d", 1))));
	assert_int_equal(cut.len, 128 + 3);
	for (int lead = 120; lead < 130; lead++) {
		cut = cv_str_c(cv_log_clean(cv_str_c(cv_arena_printf(*state, "%0*d\xe2\x82\xac\xe2\x82\xac", lead, 1))));
		assert_null(strchr(cut.ptr, '\\'));
	}
}

static struct cv_str read_all(struct cv_arena *arena, const char *path)
{
	char *text = cv_arena_alloc(arena, 20000);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, text, 20000);
	(void)close(fd);
	assert_true(n >= 0);
	return cv_str_mem(text, (size_t)n);
}

static void levels_go_where_they_have_a_place(void **state)
{
	char *main_path = cv_arena_printf(*state, "%s/main", cv_test_dir(state)), *info_path = cv_arena_printf(*state, "%s/info", cv_test_dir(state));
	char *debug_path = cv_arena_printf(*state, "%s/debug", cv_test_dir(state));
	struct cv_log_place info = { .target = CV_LOG_FILE, .path = info_path }, debug = { .target = CV_LOG_FILE, .path = debug_path };
	struct cv_log_config config = { .target = CV_LOG_FILE, .path = main_path, .role = "r", .debug = "all", .info = &info };
	int fds[CV_LOG_OUTPUTS];

	assert_int_equal(cv_log_open(&config, NULL), 0);
	assert_int_equal(cv_log_fds(fds), 2);
	cv_error(NULL, "e1");
	cv_info(NULL, "i1");
	cv_debug(NULL, "d1");
	config.debug_place = &debug;
	assert_int_equal(cv_log_open(&config, NULL), 0);
	assert_int_equal(cv_log_fds(fds), 3);
	cv_warn(NULL, "w2");
	cv_info(NULL, "i2");
	cv_debug(NULL, "d2");
	cv_log_set_debug("other");
	cv_debug(&(struct cv_log_ctx){ .category = "this" }, "d3");
	cv_debug(&(struct cv_log_ctx){ .category = "other" }, "d4");
	config.info = NULL;
	assert_int_equal(cv_log_open(&config, NULL), 0);
	assert_int_equal(cv_log_fds(fds), 2);
	cv_info(NULL, "i3");
	int pid = (int)getpid();
	assert_str_eq(read_all(*state, main_path),
		cv_str_c(cv_arena_printf(*state, "error r[%d] e1\nwarning r[%d] w2\ninfo r[%d] i3\n", pid, pid, pid)));
	assert_str_eq(read_all(*state, info_path),
		cv_str_c(cv_arena_printf(*state, "info r[%d] i1\ndebug r[%d] d1\ninfo r[%d] i2\n", pid, pid, pid)));
	assert_str_eq(read_all(*state, debug_path),
		cv_str_c(cv_arena_printf(*state, "debug r[%d] d2\ndebug r[%d] category=other d4\n", pid, pid)));
	/* A place that cannot be opened leaves all as it was. */
	info.path = "/nowhere/log";
	config.info = &info;
	assert_int_equal(cv_log_open(&config, NULL), -1);
	assert_int_equal(cv_log_fds(fds), 2);
}

static void file_is_appended_private_and_reopened(void **state)
{
	char *path = cv_arena_printf(*state, "%s/log", cv_test_dir(state));
	char *rotated = cv_arena_printf(*state, "%s.1", path);
	struct cv_log_config config = { .target = CV_LOG_FILE, .path = path, .role = "r", .timestamps = true };
	struct stat st;

	assert_int_equal(cv_log_open(&config, NULL), 0);
	assert_int_equal(fcntl(cv_log_fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	cv_time_set_for_tests(951827696);
	cv_info(NULL, "one");
	assert_int_equal(rename(path, rotated), 0);
	cv_info(NULL, "two");
	assert_int_equal(cv_log_open(&config, NULL), 0);
	cv_info(NULL, "three");
	config.timestamps = false;
	assert_int_equal(cv_log_open(&config, NULL), 0);
	cv_info(NULL, "four");
	cv_time_set_for_tests(0);
	assert_str_eq(read_all(*state, rotated),
		cv_str_c(cv_arena_printf(*state, "2000-02-29T12:34:56.000Z info r[%d] one\n2000-02-29T12:34:56.000Z info r[%d] two\n",
			(int)getpid(), (int)getpid())));
	assert_str_eq(read_all(*state, path),
		cv_str_c(cv_arena_printf(*state, "2000-02-29T12:34:56.000Z info r[%d] three\ninfo r[%d] four\n", (int)getpid(),
			(int)getpid())));
}

static void failed_open_keeps_the_old_target(void **state)
{
	struct cv_log_config config = { .target = CV_LOG_FILE };
	struct cv_err err = { 0 };

	open_callback(NULL);
	assert_int_equal(cv_log_open(&config, &err), -1);
	config.path = cv_arena_printf(*state, "%s/no/log", cv_test_dir(state));
	assert_int_equal(cv_log_open(&config, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	config = (struct cv_log_config){ .target = CV_LOG_JOURNAL, .path = config.path };
	assert_int_equal(cv_log_open(&config, &err), -1);
	config.path = cv_arena_printf(*state, "%0200d", 1);
	assert_int_equal(cv_log_open(&config, &err), -1);
	config = (struct cv_log_config){ .target = CV_LOG_SYSLOG, .facility = "male" };
	assert_int_equal(cv_log_open(&config, &err), -1);
	assert_non_null(strstr(err.text, "male"));
	config = (struct cv_log_config){ .target = CV_LOG_CALLBACK };
	assert_int_equal(cv_log_open(&config, &err), -1);
	cv_info(NULL, "still here");
	assert_non_null(strstr(seen, "imap["));
	assert_non_null(strstr(seen, "still here"));
}

static void works_in_a_forked_child_without_its_directory(void **state)
{
	char *path = cv_arena_printf(*state, "%s/log", cv_test_dir(state));
	struct cv_log_config config = { .target = CV_LOG_FILE, .path = path, .role = "parent" };
	int status;
	pid_t pid;

	assert_int_equal(cv_log_open(&config, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* An empty root when this runs as root; anything but the log's directory otherwise. */
		if (geteuid() == 0 && chroot("/proc/self/fdinfo") != 0)
			_exit(2);
		cv_log_set_role("child");
		cv_warn(NULL, "hello");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	cv_log_set_role(NULL);
	cv_warn(NULL, "bye");
	assert_str_eq(read_all(*state, path), cv_str_c(cv_arena_printf(*state, "warning child[%d] hello\nwarning culver[%d] bye\n",
		(int)pid, (int)getpid())));
}

static int journal_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_true(strlen(path) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void journal_gets_fields(void **state)
{
	char *path = cv_arena_printf(*state, "%s/socket", cv_test_dir(state)), text[4096];
	struct cv_log_config config = { .target = CV_LOG_JOURNAL, .path = path, .role = "lmtp" };
	struct cv_log_ctx ctx = { .session = CV_STR("abc"), .user = CV_STR("joe\nPRIORITY=0") };
	int fd = journal_socket(path);
	ssize_t n;

	assert_int_equal(cv_log_open(&config, NULL), 0);
	assert_int_equal(fcntl(cv_log_fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	cv_warn(&ctx, "two\nlines");
	n = recv(fd, text, sizeof(text), 0);
	(void)close(fd);
	assert_true(n > 0);
	assert_str(cv_str_mem(text, (size_t)n),
		"MESSAGE=session=abc user=joe\\x0aPRIORITY=0 two\\x0alines\nPRIORITY=4\nSYSLOG_IDENTIFIER=lmtp\n"
		"CULVER_SESSION=abc\nCULVER_USER=joe\\x0aPRIORITY=0\n");
	/* Nobody listens any more: no error, no signal. */
	cv_warn(&ctx, "lost");
}

static void journal_gets_a_memfd_when_too_long(void **state)
{
	char *path = cv_arena_printf(*state, "%s/socket", cv_test_dir(state));
	struct cv_log_config config = { .target = CV_LOG_JOURNAL, .path = path, .role = "lmtp" };
	struct cv_str longest = cv_str_c(cv_arena_printf(*state, "%01000d", 7));
	struct cv_log_ctx ctx = { .session = longest, .user = longest, .mailbox = longest, .remote = longest };
	int fd = journal_socket(path), small = 1, memfd = -1;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char text[12000];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	ssize_t n;

	assert_int_equal(cv_log_open(&config, NULL), 0);
	assert_int_equal(setsockopt(cv_log_fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	cv_warn(&ctx, "%s", cv_arena_printf(*state, "%03000d", 7));
	assert_int_equal(recvmsg(fd, &msg, MSG_CMSG_CLOEXEC), 0);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	memcpy(&memfd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(memfd));
	assert_int_equal(fcntl(memfd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	n = pread(memfd, text, sizeof(text), 0);
	assert_true(n > 5000);
	assert_true(cv_str_starts(cv_str_mem(text, (size_t)n), CV_STR("MESSAGE=session=0000")));
	assert_true(cv_str_find_str(cv_str_mem(text, (size_t)n), CV_STR("\nCULVER_REMOTE=0000")) != SIZE_MAX);
	(void)close(memfd);
	(void)close(fd);
}

static void syslog_opens_and_takes_lines(void **state CV_UNUSED)
{
	struct cv_log_config config = { .target = CV_LOG_SYSLOG, .role = "culver-test", .facility = "local7" };

	assert_int_equal(cv_log_open(&config, NULL), 0);
	assert_int_equal(cv_log_fd(), -1);
	errno = 0;
	cv_log_set_role("culver-test2");
	cv_info(NULL, "%s", "a line of the unit tests");
	assert_int_equal(errno, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		log_test(fields_come_first_nearest_context_wins),
		log_test(lines_in_a_row_are_one_write),
		log_test(outside_text_cannot_start_a_line_or_field),
		log_test(long_lines_are_cut),
		log_test(debug_lines_need_their_category),
		log_test(errno_survives_a_line),
		log_test(clean_quotes_and_escapes),
		log_test(clean_keeps_eight_results_and_cuts),
		log_test(levels_go_where_they_have_a_place),
		log_test(file_is_appended_private_and_reopened),
		log_test(failed_open_keeps_the_old_target),
		log_test(works_in_a_forked_child_without_its_directory),
		log_test(journal_gets_fields),
		log_test(journal_gets_a_memfd_when_too_long),
		log_test(syslog_opens_and_takes_lines),
	};

	return cv_test_run(tests);
}
