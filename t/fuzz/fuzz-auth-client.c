/* SPDX-License-Identifier: MIT
   The socket that MTAs ask: any octets give well-formed lines, no more outcomes than there were logins, and OK only for the
   right password, however they are cut. */
#include <config.h>

#include "core/proc/auth-private.h"
#include "core/proc/settings.h"
#include "t/fuzz/fuzz.h"

#include <culver/log.h>
#include <culver/reader.h>

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct cv_module schemes_LTX_cv_module, sasl_LTX_cv_module, static_LTX_cv_module;

static const char settings[] = "auth_failure_delay = 0\nauth_mechanisms = plain login external\n[passdb p]\ndriver = static\n"
	"args = password=geheim\n[userdb u]\ndriver = static\nargs = uid=1000 gid=1000 home=/h/%u allow_all_users=yes\n";

/* Read once: the process's. */
static struct cv_registry *registry;
static struct cv_conf *conf;
static struct cv_arena *conf_arena;

static void set_up(void)
{
	const struct cv_settings_table *tables[] = { &cv_core_settings_table, &cv_auth_settings_table, &cv_passdb_settings_table,
		&cv_userdb_settings_table };
	const struct cv_module *modules[] = { &schemes_LTX_cv_module, &sasl_LTX_cv_module, &static_LTX_cv_module };
	int fd = memfd_create("culver.ini", MFD_CLOEXEC);
	const struct cv_conf_problem *problems;
	struct cv_err err = { 0 };
	char path[64];
	size_t count;

	fuzz_check(fd >= 0 && fchmod(fd, 0600) == 0);
	fuzz_check(write(fd, settings, sizeof(settings) - 1) == (ssize_t)sizeof(settings) - 1);
	fuzz_check(snprintf(path, sizeof(path), "/proc/self/fd/%d", fd) < (int)sizeof(path));
	conf_arena = cv_arena_new("fuzz settings", NULL, 0);
	fuzz_check(cv_conf_load(path, NULL, tables, CV_COUNT_OF(tables), conf_arena, &conf, &problems, &count) == 0);
	(void)close(fd);
	registry = cv_registry_new();
	for (size_t i = 0; i < CV_COUNT_OF(modules); i++)
		fuzz_check(cv_module_add_static(registry, modules[i], &err) >= 0);
	fuzz_check(cv_modules_load(registry, CV_ROLE_AUTH, &err) >= 0);
}

/* All that is there to read; false once the server closed. */
static bool read_all(int fd, struct cv_buf *out)
{
	char octets[4096];
	ssize_t n;

	while ((n = recv(fd, octets, sizeof(octets), MSG_DONTWAIT)) > 0)
		cv_buf_append_mem(out, octets, (size_t)n);
	return n < 0;
}

static void run(struct cv_str input, size_t chunk, struct cv_buf *out)
{
	struct auth auth = { .registry = registry };
	struct auth_client_listener *listener;
	struct cv_err err = { 0 };
	bool open = true;
	int fds[2];

	auth.loop = cv_loop_new(CV_LOOP_FAKE);
	auth.tickets = auth_tickets_new(auth.loop);
	auth.delays = auth_delays_new(auth.loop);
	auth.cache = auth_cache_new(auth.loop);
	cv_list_init(&auth.requests);
	auth.gen = auth_gen_new(registry, conf, NULL, NULL, &err);
	fuzz_check(auth.gen != NULL);
	listener = auth_client_listener_new(&auth, -1);
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	(void)auth_client_new(listener, cv_stream_new(auth.loop, fds[0], 16384, 65536));
	for (size_t pos = 0; open && pos < input.len; pos += chunk) {
		struct cv_str part = cv_str_sub(input, pos, chunk);

		if (send(fds[1], part.ptr, part.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)part.len)
			break;
		for (unsigned quiet = 0; quiet < 3;)
			quiet = cv_loop_once(auth.loop, 0) > 0 ? 0 : quiet + 1;
		open = read_all(fds[1], out);
	}
	(void)close(fds[1]);
	auth_client_listener_free(&listener);
	fuzz_check(auth.request_count == 0);
	auth_gen_unref(&auth.gen);
	auth_cache_free(&auth.cache);
	auth_delays_free(&auth.delays);
	auth_tickets_free(&auth.tickets);
	cv_loop_free(&auth.loop);
}

static size_t logins_in(struct cv_str input)
{
	size_t count = 0;

	for (size_t at; (at = cv_str_find_str(input, CV_STR("AUTH"))) != SIZE_MAX; count++)
		input = cv_str_sub(input, at + 4, SIZE_MAX);
	return count;
}

/* Every line is one of the protocol's; each login ends once. */
static void check_lines(struct cv_str text, bool may_succeed, size_t logins)
{
	static const char *const greeting[] = { "VERSION", "MECH", "SPID", "CUID", "COOKIE", "DONE" };
	struct cv_reader r = cv_reader_init(text);
	struct cv_str line, verb, rest, id;
	uint32_t n;

	while (cv_take_until(&r, '\n', &line)) {
		bool greets = false;

		fuzz_check(line.len < 16384 && !cv_str_has_nul(line) && cv_str_find(line, '\r') == SIZE_MAX);
		(void)cv_str_split(line, '\t', &verb, &rest);
		for (size_t i = 0; i < CV_COUNT_OF(greeting); i++)
			greets = greets || cv_str_eq_c(verb, greeting[i]);
		if (greets)
			continue;
		fuzz_check(cv_str_eq_c(verb, "OK") || cv_str_eq_c(verb, "FAIL") || cv_str_eq_c(verb, "CONT"));
		(void)cv_str_split(rest, '\t', &id, &rest);
		fuzz_check(cv_str_to_u32(id, UINT32_MAX, &n));
		fuzz_check(!cv_str_eq_c(verb, "OK") || (may_succeed && cv_str_starts(rest, CV_STR("user="))));
		fuzz_check(cv_str_eq_c(verb, "CONT") || logins-- > 0);
	}
	fuzz_check(cv_reader_end(&r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf whole, cut;
	/* base64 of the password, at each offset; and a certificate may speak for itself. */
	bool may_succeed = cv_str_find_str(input, CV_STR("Z2VoZWlt")) != SIZE_MAX || cv_str_find_str(input, CV_STR("dlaGVpb")) != SIZE_MAX ||
		cv_str_find_str(input, CV_STR("nZWhlaW")) != SIZE_MAX || cv_str_find_str(input, CV_STR("valid-client-cert")) != SIZE_MAX;

	if (size > 4000)
		return 0;
	(void)cv_log_open(&quiet, NULL);
	if (registry == NULL)
		set_up();
	cv_buf_init(&whole, 1 << 24);
	cv_buf_init(&cut, 1 << 24);
	run(input, SIZE_MAX / 2, &whole);
	check_lines(cv_buf_str(&whole), may_succeed, logins_in(input));
	run(input, 1 + size / 100, &cut);
	check_lines(cv_buf_str(&cut), may_succeed, logins_in(input));
	cv_buf_deinit(&whole);
	cv_buf_deinit(&cut);
	return 0;
}
