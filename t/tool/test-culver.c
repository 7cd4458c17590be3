/* SPDX-License-Identifier: MIT
   The culver command as it is typed: settings without a server, and commands against a stand-in for the master. */
#include "t/lib/test.h"

#include <culver/admin.h>
#include <culver/log.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
	struct cv_arena *arena;
	const char *dir;
	pid_t server; /* 0: none */
	struct cv_str out, err;
};

static const char *path_of(struct fixture *f, const char *name)
{
	return cv_arena_printf(f->arena, "%s/%s", f->dir, name);
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
	int fd = open(path_of(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

static struct cv_str read_file(struct fixture *f, const char *name)
{
	struct cv_buf text;
	int fd = open(path_of(f, name), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	cv_buf_init(&text, 1 << 20);
	for (;;) {
		void *space = cv_buf_reserve(&text, 4096);
		assert_non_null(space);
		ssize_t n = read(fd, space, 4096);
		assert_true(n >= 0);
		if (n == 0)
			break;
		cv_buf_commit(&text, (size_t)n);
	}
	(void)close(fd);
	struct cv_str s = cv_arena_str(f->arena, cv_buf_str(&text));
	cv_buf_deinit(&text);
	return s;
}

static int setup(void **state)
{
	if (cv_test_setup(state) != 0)
		return -1;
	struct cv_arena *arena = *state;
	struct fixture *f = cv_new(arena, struct fixture, 1);
	f->arena = arena;
	f->dir = cv_test_dir(state);
	*state = f;
	if (mkdir(path_of(f, "modules"), 0755) < 0 || mkdir(path_of(f, "run"), 0755) < 0)
		return -1;
	write_file(f, "culver.ini", cv_arena_printf(arena, "base_dir = %s/run\nmail_plugin_dir = %s/modules\nprotocols = none\n", f->dir, f->dir));
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->server > 0) {
		(void)kill(f->server, SIGTERM);
		(void)waitpid(f->server, NULL, 0);
	}
	*state = f->arena;
	return cv_test_teardown_fds_only(state);
}

static void to_file(struct fixture *f, const char *name, int flags, int target)
{
	int fd = open(path_of(f, name), flags, 0600);
	if (fd < 0 || dup2(fd, target) < 0)
		_exit(126);
}

/* culver -c DIR/culver.ini ARG…: its exit status; f->out and f->err are what it wrote. input is its standard input. */
static int culver_with(struct fixture *f, const char *input, const char *const *args)
{
	const char *argv[32] = { "culver", "-c", path_of(f, "culver.ini") };
	size_t count = 3;
	int status;
	for (size_t i = 0; args[i] != NULL; i++)
		argv[count++] = args[i];
	argv[count] = NULL;
	write_file(f, "stdin", input);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		to_file(f, "stdin", O_RDONLY, STDIN_FILENO);
		to_file(f, "stdout", O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
		to_file(f, "stderr", O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
		(void)setenv("LC_ALL", "C.UTF-8", 1);
		(void)setenv("TZ", "UTC", 1);
		union {
			const char **in;
			char *const *out;
		} unconst = { .in = argv };
		(void)execv(TEST_CULVER, unconst.out);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	f->out = read_file(f, "stdout");
	f->err = read_file(f, "stderr");
	return WEXITSTATUS(status);
}
#define culver(f, ...) culver_with((f), "", (const char *const[]){ __VA_ARGS__, NULL })

static bool has(struct cv_str text, const char *part)
{
	return cv_str_find_str(text, cv_str_c(part)) != SIZE_MAX;
}

/* ---- Without a server --------------------------------------------------------------------------------------------- */

static void help_is_shown_and_wrong_usage_is_64(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(culver(f, "--help"), 0);
	assert_true(has(f->out, "Commands that ask the running server:"));
	assert_true(has(f->out, "  mailbox list           list a user's mailboxes\n"));
	assert_true(has(f->out, "  78  the settings have a problem\n"));
	assert_int_equal(culver(f, "mailbox", "create", "--help"), 0);
	assert_true(has(f->out, "Usage: culver mailbox create {-u USER | -A} [-s] MAILBOX ...\n"));
	assert_int_equal(culver(f, "--version"), 0);
	assert_true(has(f->out, "culver 0."));
	/* Nothing said: help as an error. */
	assert_int_equal(culver_with(f, "", (const char *const[]){ NULL }), 64);
	assert_true(has(f->err, "Usage: culver"));

	static const struct {
		const char *args[5];
		const char *text;
	} rows[] = {
		{ { "hwo" }, "culver: there is no command \"hwo\"; did you mean \"who\"?\n" },
		{ { "mailbox" }, "  culver mailbox rename" },
		{ { "who", "--protocl", "imap" }, "culver: there is no option --protocl; did you mean --protocol?\n" },
		{ { "who", "-x" }, "culver: there is no option -x\n" },
		{ { "who", "-P" }, "culver: -P needs a value\n" },
		{ { "who", "-P", "a", "-Pb" }, "culver: --protocol is given twice\n" },
		{ { "kick" }, "culver: USER is missing\n" },
		{ { "reload", "now" }, "culver: \"now\" is too much\n" },
		{ { "stop", "--now=yes" }, "culver: --now takes no value\n" },
		{ { "mailbox", "list" }, "culver: say whose: -u USER, or -A for all users\n" },
		{ { "pw", "-r", "x" }, "culver: --rounds takes a number, not \"x\"\n" },
		{ { "-o", "x", "conf" }, "culver: -o takes name=value, not \"x\"\n" },
		{ { "--timeout", "0", "who" }, "culver: --timeout takes seconds, 1 to 86400\n" },
	};
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_int_equal(culver_with(f, "", rows[i].args), 64);
		if (!has(f->err, rows[i].text))
			print_message("%s", f->err.ptr);
		assert_true(has(f->err, rows[i].text));
		assert_int_equal(f->out.len, 0);
	}
}

static void conf_shows_checks_and_explains(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(culver(f, "conf", "-n"), 0);
	const char *want = cv_arena_printf(f->arena, "protocols = none\nbase_dir = %s/run\nmail_plugin_dir = %s/modules\n", f->dir, f->dir);
	assert_str_eq(f->out, cv_str_c(want));
	assert_int_equal(culver(f, "conf", "protocols", "first_valid_uid"), 0);
	assert_str(f->out, "protocols = none\nfirst_valid_uid = 500\n");
	assert_int_equal(culver(f, "conf", "protocolls"), 68);
	assert_true(has(f->err, "there is no setting \"protocolls\"; did you mean \"protocols\"?"));
	assert_int_equal(culver(f, "-o", "first_valid_uid=7", "conf", "first_valid_uid", "--json"), 0);
	assert_true(has(f->out, "\"value\": \"7\""));
	assert_true(has(f->out, "\"file\": \"(command line)\""));
	/* What the defaults ask for is missing where there are no modules. */
	assert_int_equal(culver(f, "conf", "check"), 78);
	assert_true(has(f->err, "auth_mechanisms: no loaded module provides plain"));
	assert_true(has(f->err, "mail_location: no module provides the storage sdbox"));
	assert_int_equal(f->out.len, 0);
	assert_int_equal(culver(f, "conf", "explain", "protocols"), 0);
	assert_true(has(f->out, cv_arena_printf(f->arena, "  Now:      none from %s line 3\n", path_of(f, "culver.ini"))));
	assert_int_equal(culver(f, "conf", "explain", "protocls"), 68);
	assert_int_equal(culver(f, "conf", "manual"), 0);
	assert_true(has(f->out, "\n.It Ic mail_plugin_dir\n"));
}

/* As the server finds them, with modules. Root's server needs accounts, and the installed ones are not everywhere. */
static void conf_check_finds_nothing_in_good_settings(void **state)
{
	struct fixture *f = *state;
	char here[PATH_MAX];
	assert_non_null(getcwd(here, sizeof(here)));
	const char *modules = cv_arena_printf(f->arena, "mail_plugin_dir=%s/.libs", here);
	assert_int_equal(culver(f, "-o", modules, "-o", "default_internal_user=daemon", "-o", "default_internal_group=daemon", "-o",
				 "default_login_user=nobody", "conf", "check"),
		0);
	assert_true(has(f->out, "no problems"));
}

static void problems_are_told_with_status_78(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", cv_arena_printf(f->arena, "mail_plugin_dir = %s/modules\nprotcols = imap\nlisten = a;b\n", f->dir));
	const char *file = path_of(f, "culver.ini");
	assert_int_equal(culver(f, "conf", "check"), 78);
	assert_true(has(f->err, cv_arena_printf(f->arena, "%s:2: unknown setting \"protcols\"; did you mean \"protocols\"?\n", file)));
	assert_true(has(f->err, cv_arena_printf(f->arena, "%s:3: listen: the INI reader would cut the value", file)));
	assert_true(has(f->err, "culver: the settings have 2 problems\n"));
	assert_int_equal(culver(f, "conf", "check", "--json"), 78);
	assert_true(has(f->out, "\"line\": 2"));
	assert_int_equal(culver(f, "conf"), 78);
	/* What a setting means can be asked all the same. */
	assert_int_equal(culver(f, "conf", "explain", "protocols"), 0);
	assert_true(has(f->out, "Protocols to serve"));
}

static void a_server_that_does_not_run_is_status_69(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(culver(f, "who"), 69);
	assert_true(has(f->err, cv_arena_printf(f->arena, "culver: the server does not run: nobody listens on %s/run/admin.sock\n", f->dir)));
	assert_int_equal(f->out.len, 0);
	assert_int_equal(culver(f, "who", "--json"), 69);
	assert_true(has(f->out, "\"code\": \"unavailable\""));
}

/* ---- A stand-in for the server ------------------------------------------------------------------------------------ */

static int run_who(struct cv_admin *admin, struct cv_err *err)
{
	const char *protocol = cv_admin_param(admin, "protocol");
	(void)err;
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", CV_STR("m\xc3\xbcller"));
	cv_admin_put_str(admin, "protocol", cv_str_c(protocol != NULL ? protocol : "imap"));
	cv_admin_put_str(admin, "remote", CV_STR("192.0.2.1"));
	cv_admin_put_u64(admin, "pid", 7);
	cv_admin_put_u64(admin, "since", 1700000000);
	cv_admin_put_str(admin, "state", CV_STR("a\x1b[31mb"));
	cv_admin_row_end(admin);
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", CV_STR("\xe6\x97\xa5\xe6\x9c\xac"));
	cv_admin_put_u64(admin, "pid", 12345);
	cv_admin_row_end(admin);
	return 1;
}

static int run_user(struct cv_admin *admin, struct cv_err *err)
{
	static const char *const names[] = { "alice", "bob" };
	const char *mask = cv_admin_param(admin, "user");
	for (size_t i = 0; i < 2; i++) {
		if (mask != NULL && strcmp(mask, names[i]) != 0)
			continue;
		cv_admin_row_begin(admin);
		cv_admin_put_str(admin, "user", cv_str_c(names[i]));
		cv_admin_put_u64(admin, "uid", 1000 + i);
		cv_admin_row_end(admin);
	}
	return mask == NULL || strcmp(mask, "carol") != 0 ? 1 : cv_err_set(err, CV_ERR_NOTFOUND, "there is no user carol");
}

static int run_auth_test(struct cv_admin *admin, struct cv_err *err)
{
	bool ok = strcmp(cv_admin_param(admin, "password"), "s3cret") == 0;
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", cv_str_c(cv_admin_param(admin, "user")));
	cv_admin_put_str(admin, "result", ok ? CV_STR("ok") : CV_STR("refused"));
	cv_admin_row_end(admin);
	return ok ? 1 : cv_err_set(err, CV_ERR_AUTH, "wrong password");
}

static int run_mailbox_list(struct cv_admin *admin, struct cv_err *err)
{
	const char *user = cv_admin_process(admin); /* the stand-in gives the name here */
	if (strcmp(user, "dave") == 0)
		return cv_err_set(err, CV_ERR_NOTFOUND, "there is no user dave");
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", cv_str_c(user));
	cv_admin_put_str(admin, "mailbox", CV_STR("INBOX"));
	cv_admin_put_bool(admin, "subscribed", true);
	cv_admin_row_end(admin);
	return 1;
}

static int run_mailbox_status(struct cv_admin *admin, struct cv_err *err)
{
	static const uint64_t sizes[] = { 0, 1023, 1024, 1536, 1048575, 1048576, UINT64_C(5) << 40 };
	(void)err;
	for (size_t i = 0; i < CV_COUNT_OF(sizes); i++) {
		cv_admin_row_begin(admin);
		cv_admin_put_str(admin, "mailbox", CV_STR("x"));
		cv_admin_put_u64(admin, "size", sizes[i]);
		cv_admin_row_end(admin);
	}
	return 1;
}

static int run_reload(struct cv_admin *admin, struct cv_err *err)
{
	(void)err;
	cv_admin_say(admin, "settings are read");
	return 1;
}

/* Never answers: the connection ends. */
static int run_stop(struct cv_admin *admin, struct cv_err *err)
{
	(void)admin;
	(void)err;
	_exit(0);
}

static int run_kick(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_err part = { 0 };
	(void)err;
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", CV_STR("alice"));
	cv_admin_row_end(admin);
	(void)cv_err_set(&part, CV_ERR_NOTFOUND, "bob is not here");
	cv_admin_complain(admin, &part);
	return 1;
}

/* Takes its time. */
static int run_status(struct cv_admin *admin, struct cv_err *err)
{
	(void)admin;
	(void)err;
	return 0;
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	static const struct {
		const char *name;
		int (*run)(struct cv_admin *admin, struct cv_err *err);
	} rows[] = { { "who", run_who }, { "user", run_user }, { "auth test", run_auth_test }, { "mailbox list", run_mailbox_list },
		{ "mailbox status", run_mailbox_status }, { "reload", run_reload }, { "stop", run_stop }, { "kick", run_kick },
		{ "status", run_status } };
	static struct cv_admin_command commands[CV_COUNT_OF(rows)];
	(void)role;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		commands[i] = (struct cv_admin_command){ .spec = cv_admin_core_spec(rows[i].name), .run = rows[i].run };
		if (cv_provide_admin(reg, &commands[i], err) < 0)
			return -1;
	}
	return 0;
}

static const struct cv_module module = {
	CV_MODULE_ABI, .name = "standin", .version = "1", .kind = CV_KIND_PLUGIN, .roles = CV_ROLE_WORKER, .load = load,
};

struct master {
	struct cv_loop *loop;
	struct cv_registry *reg;
	int fd;
	char user[64];
};

static void on_tool_closed(void *ctx, struct cv_ipc *ipc)
{
	(void)ctx;
	cv_ipc_free(&ipc);
}

/* Every role is this process. */
static int on_request(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct master *m = ctx;
	struct cv_arena *arena = cv_arena_new("request", NULL, 0);
	struct cv_admin_request request;
	struct cv_err err = { 0 };
	int fd = dup(cv_ipc_fd(ipc));

	if (cv_admin_request_parse(&msg->payload, arena, &request, &err) < 0) {
		cv_admin_refuse(fd, &err);
	} else {
		memset(m->user, 0, sizeof(m->user));
		if (request.user.len > 0 && request.user.len < sizeof(m->user))
			memcpy(m->user, request.user.ptr, request.user.len);
		const struct cv_admin_serve_config config = {
			.registry = m->reg, .loop = m->loop, .fd = fd, .peer = "uid 0", .role = request.role, .process = m->user,
		};
		cv_admin_serve(&config, request.command, request.args, request.arg_count);
	}
	cv_ipc_free(&ipc);
	cv_arena_free(&arena);
	return 0;
}

static void on_accept(void *ctx, unsigned events)
{
	static const struct cv_ipc_type table[] = {
		{ .type = CV_ADMIN_REQUEST, .name = "request", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_request },
	};
	struct master *m = ctx;
	(void)events;
	int fd = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		(void)cv_ipc_new(m->loop, fd, "tool", table, 1, on_tool_closed, m);
}

static CV_NORETURN void serve(int fd)
{
	struct master m = { .loop = cv_loop_new(CV_LOOP_POLL), .reg = cv_registry_new(), .fd = fd };
	struct cv_err err = { 0 };
	if (cv_module_add_static(m.reg, &module, &err) < 0 || cv_modules_load(m.reg, CV_ROLE_WORKER, &err) < 0)
		_exit(1);
	(void)cv_io_add(m.loop, fd, CV_IO_READ, on_accept, &m);
	cv_loop_run(m.loop);
	_exit(0);
}

static void start_server(struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = path_of(f, "run/admin.sock");
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0 && strlen(path) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path));
	(void)unlink(path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 10), 0);
	f->server = fork();
	assert_true(f->server >= 0);
	if (f->server == 0)
		serve(fd);
	assert_int_equal(close(fd), 0);
}

/* ---- With a server ------------------------------------------------------------------------------------------------ */

static void rows_become_an_aligned_table_without_control_characters(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver(f, "who", "-Ppop3"), 0);
	assert_str(f->out,
		"User    Protocol  From       Worker  Session  Since                State\n"
		"m\xc3\xbcller  pop3      192.0.2.1       7           2023-11-14 22:13:20  a?[31mb\n"
		"\xe6\x97\xa5\xe6\x9c\xac                          12345\n");
	assert_int_equal(f->err.len, 0);
}

static void json_is_one_document(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver(f, "--json", "who"), 0);
	assert_str(f->out,
		"[\n  {\n    \"user\": \"m\xc3\xbcller\",\n    \"protocol\": \"imap\",\n    \"remote\": \"192.0.2.1\",\n    \"pid\": 7,\n"
		"    \"since\": 1700000000,\n    \"state\": \"a\\u001B[31mb\"\n  },\n  {\n    \"user\": \"\xe6\x97\xa5\xe6\x9c\xac\",\n    \"pid\": 12345\n  }\n]\n");
	assert_int_equal(culver(f, "auth", "test", "alice", "-p", "s3cret", "--json"), 0);
	assert_str(f->out, "{\n  \"user\": \"alice\",\n  \"result\": \"ok\"\n}\n");
	assert_int_equal(culver(f, "user", "carol", "--json"), 68);
	assert_str(f->out,
		"{\n  \"error\": {\n    \"code\": \"notfound\",\n    \"text\": \"there is no user carol\"\n  },\n  \"errors\": [\n    {\n      \"code\": \"notfound\",\n"
		"      \"text\": \"there is no user carol\"\n    }\n  ],\n  \"rows\": []\n}\n");
	assert_int_equal(culver(f, "reload", "--json"), 0);
	assert_str(f->out, "[]\n");
}

static void secrets_are_asked_for(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver_with(f, "s3cret\n", (const char *const[]){ "auth", "test", "alice", NULL }), 0);
	assert_str(f->out, "User:              alice\nResult:            ok\n");
	assert_int_equal(culver_with(f, "wrong\n", (const char *const[]){ "auth", "test", "alice", NULL }), 77);
	assert_str(f->out, "User:              alice\nResult:            refused\n");
	assert_str(f->err, "culver: wrong password\n");
	assert_int_equal(culver(f, "auth", "test", "alice"), 64);
	assert_str(f->err, "culver: no password was given\n");
}

static void commands_on_mail_go_to_each_user(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver(f, "mailbox", "list", "-u", "alice"), 0);
	assert_str(f->out, "Mailbox  Subscribed  Exists  Use\nINBOX    yes\n");
	assert_int_equal(culver(f, "mailbox", "list", "-u", "alice", "-ubob"), 0);
	assert_str(f->out, "User   Mailbox  Subscribed  Exists  Use\nalice  INBOX    yes\nbob    INBOX    yes\n");
	assert_int_equal(culver(f, "mailbox", "list", "-A"), 0);
	assert_str(f->out, "User   Mailbox  Subscribed  Exists  Use\nalice  INBOX    yes\nbob    INBOX    yes\n");
	/* One that fails does not keep the others from being done, and is not forgotten. */
	assert_int_equal(culver(f, "mailbox", "list", "-u", "dave", "-u", "bob"), 68);
	assert_str(f->out, "User  Mailbox  Subscribed  Exists  Use\nbob   INBOX    yes\n");
	assert_str(f->err, "culver: dave: there is no user dave\n");
}

static void sizes_are_for_people(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver(f, "mailbox", "status", "-u", "alice"), 0);
	static const char *const want[] = { "      0\n", "   1023\n", "   1.0k\n", "   1.5k\n", "1023.9k\n", "   1.0M\n", "   5.0T\n" };
	for (size_t i = 0; i < CV_COUNT_OF(want); i++) {
		if (!has(f->out, want[i]))
			print_message("%s in\n%.*s", want[i], CV_STR_ARG(f->out));
		assert_true(has(f->out, want[i]));
	}
}

static void text_and_complaints_are_shown(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver(f, "reload"), 0);
	assert_str(f->out, "settings are read\n");
	assert_int_equal(culver(f, "kick", "alice", "bob"), 68);
	assert_str(f->out, "User   Protocol  Session\nalice\n");
	assert_str(f->err, "culver: bob is not here\n");
}

static void a_server_that_vanishes_is_status_69(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver(f, "stop"), 69);
	assert_str(f->err, "culver: the server ended the connection before it had answered\n");
}

static void a_server_that_does_not_answer_in_time_is_status_75(void **state)
{
	struct fixture *f = *state;
	start_server(f);
	assert_int_equal(culver(f, "--timeout", "1", "status"), 75);
	assert_true(has(f->err, "did not answer in time"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(help_is_shown_and_wrong_usage_is_64),
		T(conf_shows_checks_and_explains),
		T(conf_check_finds_nothing_in_good_settings),
		T(problems_are_told_with_status_78),
		T(a_server_that_does_not_run_is_status_69),
		T(rows_become_an_aligned_table_without_control_characters),
		T(json_is_one_document),
		T(secrets_are_asked_for),
		T(commands_on_mail_go_to_each_user),
		T(sizes_are_for_people),
		T(text_and_complaints_are_shown),
		T(a_server_that_vanishes_is_status_69),
		T(a_server_that_does_not_answer_in_time_is_status_75),
	};
	return cv_test_run(tests);
}
