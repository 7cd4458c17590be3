/* SPDX-License-Identifier: MIT
   The request machine of the auth role, with databases that say what their args tell them to. */
#include <config.h>

#include "t/lib/test.h"

#include "core/proc/auth-private.h"
#include "core/proc/settings.h"
#include "modules/auth/sasl/sasl.h"
#include <culver/hooks.h>

#include <fcntl.h>
#include <unistd.h>

extern const struct cv_module schemes_LTX_cv_module, sasl_LTX_cv_module, static_LTX_cv_module, passwd_file_LTX_cv_module;

/* ---- Databases and hooks that can be told what to do ------------------------------------------------------ */

struct fake {
	const char *args;
};

static int fake_open(const struct cv_authdb_config *config, void **db_r, struct cv_err *err)
{
	struct fake *fake = cv_new(config->arena, struct fake, 1);

	(void)err;
	fake->args = config->args;
	*db_r = fake;
	return 0;
}

static void fake_close(void *db)
{
	(void)db;
}

static unsigned asked; /* how often a fake database was asked */

static enum cv_auth_result say(const struct fake *fake, struct cv_err *err)
{
	static const struct {
		const char *word;
		enum cv_auth_result result;
		enum cv_err_code code;
	} words[] = { { "ok", CV_AUTH_OK, CV_ERR_NONE }, { "nouser", CV_AUTH_NOUSER, CV_ERR_NOTFOUND },
		{ "mismatch", CV_AUTH_MISMATCH, CV_ERR_AUTH }, { "disabled", CV_AUTH_DISABLED, CV_ERR_PERM },
		{ "expired", CV_AUTH_DISABLED, CV_ERR_EXPIRED },
		{ "temp", CV_AUTH_TEMP, CV_ERR_UNAVAILABLE } };

	asked++;
	for (size_t i = 0; i < CV_COUNT_OF(words); i++) {
		if (strcmp(fake->args, words[i].word) != 0)
			continue;
		if (words[i].result == CV_AUTH_DISABLED)
			(void)cv_err_set_public(err, words[i].code, "Your account has expired.");
		else if (words[i].code != CV_ERR_NONE)
			(void)cv_err_set(err, words[i].code, "as told");
		return words[i].result;
	}
	fail_msg("unknown args %s", fake->args);
	return CV_AUTH_TEMP;
}

static enum cv_auth_result fake_verify(void *db, struct cv_auth_request *request, struct cv_str password, struct cv_err *err)
{
	(void)request;
	(void)password;
	return say(db, err);
}

static enum cv_auth_result fake_lookup(void *db, struct cv_auth_request *request, struct cv_err *err)
{
	cv_auth_field_set(request, CV_STR("from"), CV_STR("fake"));
	return say(db, err);
}

static const struct cv_passdb fake_passdb = { .name = "fake", .open = fake_open, .close = fake_close, .verify = fake_verify };
static const struct cv_userdb fake_userdb = { .name = "fake", .open = fake_open, .close = fake_close, .lookup = fake_lookup };

static enum cv_hook_result hook_answer;
static unsigned results_ok, results_failed, results_temporary;

static enum cv_hook_result on_success(void *ctx, struct cv_hook_auth_success *args, struct cv_err *err)
{
	(void)ctx;
	(void)args;
	if (hook_answer != CV_HOOK_PASS)
		(void)cv_err_set_public(err, CV_ERR_PERM, "Not on Sundays.");
	return hook_answer;
}

static enum cv_hook_result on_result(void *ctx, struct cv_hook_auth_result *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	results_ok += args->success;
	results_temporary += args->temporary;
	results_failed += !args->success && !args->temporary;
	return CV_HOOK_PASS;
}

static int fake_load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	static const struct cv_hook_opts opts = { .name = "fake" };

	(void)role;
	if (cv_provide_passdb(reg, &fake_passdb, err) < 0 || cv_provide_userdb(reg, &fake_userdb, err) < 0 ||
		cv_hook_add_auth_success(reg, on_success, &opts, err) < 0)
		return -1;
	return cv_hook_add_auth_result(reg, on_result, &opts, err);
}

static const struct cv_module fake_module = {
	CV_MODULE_ABI, .name = "fake", .version = "1", .kind = CV_KIND_AUTH, .roles = CV_ROLE_AUTH, .load = fake_load
};

/* ---- A small auth process ---------------------------------------------------------------------------------------- */

struct fixture {
	struct auth auth;
	struct cv_registry *reg;
	struct cv_conf *conf;
	/* Of the last answer. */
	unsigned answers, challenges;
	struct auth_answer answer;
	char user[256], text[256], challenge[512], home[256], field[256], reason[512];
	uint32_t sysuid;
	struct auth_request *request;
};

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

/* ini: behind "auth_failure_delay = 2s" at the top. */
static struct fixture *begin(void **state, const char *ini)
{
	struct cv_arena *arena = *state;
	struct fixture *f = cv_new(arena, struct fixture, 1);
	const struct cv_settings_table *tables[] = { &cv_core_settings_table, &cv_auth_settings_table, &cv_passdb_settings_table,
		&cv_userdb_settings_table, &sasl_settings_table };
	const struct cv_module *modules[] = { &schemes_LTX_cv_module, &sasl_LTX_cv_module, &static_LTX_cv_module, &passwd_file_LTX_cv_module,
		&fake_module };
	const struct cv_conf_problem *problems;
	struct cv_err err = { 0 };
	size_t count;
	char *path = cv_arena_printf(arena, "%s/culver.ini", cv_test_dir(state));

	write_file(path, ini);
	f->reg = cv_registry_new();
	for (size_t i = 0; i < CV_COUNT_OF(modules); i++)
		assert_true(cv_module_add_static(f->reg, modules[i], &err) >= 0);
	assert_true(cv_modules_load(f->reg, CV_ROLE_AUTH, &err) >= 0);
	if (cv_conf_load(path, NULL, tables, CV_COUNT_OF(tables), arena, &f->conf, &problems, &count) < 0)
		fail_msg("%s", problems[0].text);
	f->auth.loop = cv_loop_new(CV_LOOP_FAKE);
	f->auth.registry = f->reg;
	f->auth.tickets = auth_tickets_new(f->auth.loop);
	f->auth.delays = auth_delays_new(f->auth.loop);
	f->auth.cache = auth_cache_new(f->auth.loop);
	cv_list_init(&f->auth.requests);
	f->auth.gen = auth_gen_new(f->reg, f->conf, NULL, NULL, &err);
	if (f->auth.gen == NULL)
		fail_msg("%s", err.text);
	auth_cache_configure(f->auth.cache, f->auth.gen->set->auth_cache_size, f->auth.gen->set->auth_cache_ttl,
		f->auth.gen->set->auth_cache_negative_ttl);
	asked = results_ok = results_failed = results_temporary = 0;
	hook_answer = CV_HOOK_PASS;
	return f;
}

static void end(struct fixture *f)
{
	assert_int_equal(f->auth.request_count, 0);
	auth_gen_unref(&f->auth.gen);
	auth_cache_free(&f->auth.cache);
	auth_delays_free(&f->auth.delays);
	auth_tickets_free(&f->auth.tickets);
	cv_loop_free(&f->auth.loop);
	cv_registry_free(&f->reg);
}

static void keep(char *to, size_t size, struct cv_str s)
{
	(void)snprintf(to, size, "%.*s", CV_STR_ARG(s));
}

static void on_answer(void *ctx, struct auth_request *request, const struct auth_answer *answer)
{
	struct fixture *f = ctx;
	const struct cv_auth_request *data = auth_request_data(request);
	const char *field = cv_auth_field(data, "from");

	f->answer = *answer;
	keep(f->user, sizeof(f->user), data->user);
	keep(f->text, sizeof(f->text), answer->text);
	keep(f->home, sizeof(f->home), data->home);
	keep(f->field, sizeof(f->field), cv_str_c(field));
	keep(f->reason, sizeof(f->reason), cv_str_c(auth_request_reason(request)));
	f->sysuid = data->sysuid_set ? data->sysuid : UINT32_MAX;
	if (answer->kind == AUTH_ANSWER_CHALLENGE) {
		keep(f->challenge, sizeof(f->challenge), answer->challenge);
		f->challenges++;
		return;
	}
	f->answers++;
	f->request = NULL;
}

static void run_for(struct fixture *f, uint64_t ms)
{
	for (uint64_t passed = 0; passed <= ms; passed += 50) {
		for (int i = 0; i < 6; i++)
			(void)cv_loop_once(f->auth.loop, 0);
		cv_loop_fake_advance(f->auth.loop, 50);
	}
}

static struct auth_request_spec spec_of(struct fixture *f, const char *mech, const char *remote)
{
	return (struct auth_request_spec){
		.service = CV_STR("imap"), .mech = cv_str_c(mech), .remote = cv_str_c(remote), .secured = true, .answer = on_answer, .ctx = f
	};
}

static void plain_from(struct fixture *f, const char *authzid, const char *user, const char *password, const char *remote, uint64_t ms)
{
	struct auth_request_spec spec = spec_of(f, "PLAIN", remote);
	struct cv_buf message;

	cv_buf_init_wipe(&message, 8192);
	cv_buf_append_c(&message, authzid);
	cv_buf_append_char(&message, '\0');
	cv_buf_append_c(&message, user);
	cv_buf_append_char(&message, '\0');
	cv_buf_append_c(&message, password);
	f->request = auth_login_begin(&f->auth, &spec, cv_buf_str(&message));
	cv_buf_deinit(&message);
	run_for(f, ms);
}

static void plain(struct fixture *f, const char *user, const char *password)
{
	f->answers = 0;
	plain_from(f, "", user, password, NULL, 20000);
	assert_int_equal(f->answers, 1);
}

static void lookup(struct fixture *f, const char *user)
{
	struct auth_request_spec spec = spec_of(f, NULL, NULL);

	f->answers = 0;
	(void)auth_lookup_begin(&f->auth, &spec, cv_str_c(user));
	run_for(f, 100);
	assert_int_equal(f->answers, 1);
}

#define TOP "auth_failure_delay = 2s\nfirst_valid_uid = 100\nfirst_valid_gid = 100\nauth_mechanisms = plain login scram-sha-256 external\n"
#define USERDB "[userdb u]\ndriver = static\nargs = uid=1000 gid=1000 home=/h/%u allow_all_users=yes\n"

/* ---- Tests -------------------------------------------------------------------------------------------------------- */

static void right_password_logs_in_and_wrong_one_does_not(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb p]\ndriver = static\nargs = password=geheim\n" USERDB);

	plain(f, "Jo", "geheim");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->user, "jo");
	assert_string_equal(f->home, "/h/jo");
	assert_int_equal(f->sysuid, 1000);
	plain(f, "jo", "falsch");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	assert_int_equal(f->answer.code, CV_ERR_AUTH);
	assert_string_equal(f->text, "");
	assert_int_equal(results_ok, 1);
	assert_int_equal(results_failed, 1);
	end(f);
}

static void failure_is_answered_after_the_delay_and_holds_up_nobody(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb p]\ndriver = static\nargs = password=geheim\n" USERDB);

	plain_from(f, "", "jo", "falsch", NULL, 1800);
	assert_int_equal(f->answers, 0);
	plain_from(f, "", "jo", "geheim", NULL, 0);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	run_for(f, 300);
	assert_int_equal(f->answers, 2);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	end(f);
}

static void delay_grows_with_failures_of_an_address(void **state)
{
	static const uint64_t wanted[] = { 2000, 4000, 8000, 15000, 15000 };
	struct fixture *f = begin(state, TOP "[passdb p]\ndriver = static\nargs = password=geheim\n" USERDB);
	char word[] = "falsch0";

	for (size_t i = 0; i < CV_COUNT_OF(wanted); i++) {
		uint64_t passed = 0;

		word[6] = (char)('0' + i);
		f->answers = 0;
		plain_from(f, "", "jo", word, "192.0.2.7", 0);
		for (; f->answers == 0 && passed < 20000; passed += 100)
			run_for(f, 50);
		assert_in_range(passed, wanted[i] - 300, wanted[i] + 300);
	}
	/* Another address is not slowed, and neither is one that repeats the same wrong password. */
	f->answers = 0;
	plain_from(f, "", "jo", "geheim", "192.0.2.8", 200);
	assert_int_equal(f->answers, 1);
	for (int i = 0; i < 5; i++) {
		f->answers = 0;
		plain_from(f, "", "jo", "alt", "192.0.2.9", 4200);
		assert_int_equal(f->answers, 1);
	}
	end(f);
}

static void databases_are_asked_in_order_until_one_says_yes(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = mismatch\n[passdb b]\ndriver = fake\nargs = nouser\n"
		"[passdb c]\ndriver = fake\nargs = ok\n[passdb d]\ndriver = fake\nargs = temp\n" USERDB);

	plain(f, "jo", "x");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_int_equal(asked, 3);
	end(f);
}

static void temporary_failure_is_never_a_wrong_password(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = temp\n[passdb b]\ndriver = fake\nargs = mismatch\n" USERDB);

	plain(f, "jo", "x");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	assert_int_equal(f->answer.code, CV_ERR_TEMP);
	assert_int_equal(results_temporary, 1);
	end(f);
}

static void disabled_account_ends_it_with_its_reason(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = disabled\n[passdb b]\ndriver = fake\nargs = ok\n" USERDB);

	plain(f, "jo", "x");
	assert_int_equal(f->answer.code, CV_ERR_PERM);
	assert_string_equal(f->text, "Your account has expired.");
	assert_int_equal(asked, 1);
	end(f);
	f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = expired\n[passdb b]\ndriver = fake\nargs = ok\n" USERDB);
	plain(f, "jo", "x");
	assert_int_equal(f->answer.code, CV_ERR_EXPIRED);
	assert_int_equal(asked, 1);
	end(f);
}

static void rules_decide_what_follows(void **state)
{
	static const struct {
		const char *ini;
		bool ok;
	} rows[] = {
		{ "[passdb a]\ndriver = fake\nargs = ok\nresult_success = return-fail\n[passdb b]\ndriver = fake\nargs = ok\n", false },
		{ "[passdb a]\ndriver = fake\nargs = ok\nresult_success = continue-ok\n[passdb b]\ndriver = static\nargs = nopassword=y\n", true },
		{ "[passdb a]\ndriver = fake\nargs = ok\nresult_success = continue-ok\n[passdb b]\ndriver = fake\nargs = ok\nskip = authenticated\n", true },
		{ "[passdb a]\ndriver = fake\nargs = mismatch\nresult_failure = return-fail\n[passdb b]\ndriver = fake\nargs = ok\n", false },
		{ "[passdb a]\ndriver = fake\nargs = mismatch\nresult_failure = return-ok\n", true },
		{ "[passdb a]\ndriver = fake\nargs = ok\nresult_success = continue-ok\n[passdb b]\ndriver = static\nargs = password=x\n"
		  "result_success = return\n", true },
		{ "[passdb a]\ndriver = fake\nargs = ok\nresult_success = continue\n[passdb b]\ndriver = static\nargs = password=other\n", true },
		{ "[passdb a]\ndriver = fake\nargs = ok\nskip = unauthenticated\n", false },
		{ "[passdb a]\ndriver = fake\nargs = ok\nmechanisms = scram-sha-256\n", false },
		{ "[passdb a]\ndriver = fake\nargs = ok\nmechanisms = plain login\n", true },
		{ "[passdb a]\ndriver = fake\nargs = ok\nusername_filter = *@example.org\n", false },
		{ "[passdb a]\ndriver = fake\nargs = ok\nusername_filter = j* !jo\n", false },
		{ "[passdb a]\ndriver = fake\nargs = ok\nusername_filter = j*\n", true },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct fixture *f = begin(state, cv_arena_printf(*state, "%s%s%s", TOP, rows[i].ini, USERDB));

		plain(f, "jo", "x");
		if ((f->answer.kind == AUTH_ANSWER_OK) != rows[i].ok)
			print_message("row %zu: %s\n", i, f->reason);
		assert_int_equal(f->answer.kind == AUTH_ANSWER_OK, rows[i].ok);
		end(f);
	}
}

static void fields_refuse_or_allow(void **state)
{
	static const struct {
		const char *fields;
		enum cv_err_code code;
		const char *text;
	} rows[] = {
		{ "allow_nets=192.0.2.0/24,2001:db8::/32", CV_ERR_NONE, "" },
		{ "allow_nets=198.51.100.1", CV_ERR_AUTH, "" },
		{ "allow_nets=nonsense", CV_ERR_TEMP, "" },
		{ "allow_nets=local", CV_ERR_AUTH, "" },
		{ "nologin", CV_ERR_PERM, "Login is not allowed now." },
		{ "nologin reason=Moved.", CV_ERR_PERM, "Moved." },
		{ "nologin host=imap2.example.org", CV_ERR_PERM, "Log in at the other server instead." },
		{ "nologin host=imap2.example.org port=99999999", CV_ERR_TEMP, "" },
		{ "nologin host=a/b", CV_ERR_TEMP, "" },
		{ "nologin proxy=y host=imap2.example.org", CV_ERR_TEMP, "" },
		{ "host=imap2.example.org", CV_ERR_TEMP, "" },
		{ "proxy=y host=192.0.2.1", CV_ERR_TEMP, "" },
		{ "fail=yes", CV_ERR_AUTH, "" },
		{ "user=../x", CV_ERR_TEMP, "" },
		{ "delay_until=99999999999", CV_ERR_TEMP, "" },
		{ "delay_until=1", CV_ERR_NONE, "" },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct fixture *f = begin(state, cv_arena_printf(*state, "%s[passdb a]\ndriver = fake\nargs = ok\noverride_fields = %s\n%s", TOP,
			rows[i].fields, USERDB));

		f->answers = 0;
		plain_from(f, "", "jo", "x", "192.0.2.7", 20000);
		assert_int_equal(f->answers, 1);
		if (f->answer.code != rows[i].code)
			print_message("%s: %s\n", rows[i].fields, f->reason);
		assert_int_equal(f->answer.code, rows[i].code);
		assert_string_equal(f->text, rows[i].text);
		end(f);
	}
}

static void user_field_renames_and_templates_follow(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = ok\noverride_fields = username=hanna\n" USERDB);

	plain(f, "jo@Example.ORG", "x");
	assert_string_equal(f->user, "hanna@example.org");
	assert_string_equal(f->home, "/h/hanna@example.org");
	end(f);
}

static void prefetch_takes_what_the_passdb_gave(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = ok\ndefault_fields = userdb_uid=1234 userdb_gid=1234 userdb_home=/p/%n\n"
		"[userdb pre]\ndriver = prefetch\n[userdb u]\ndriver = fake\nargs = nouser\n");

	plain(f, "jo", "x");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->home, "/p/jo");
	assert_int_equal(f->sysuid, 1234);
	/* Without a login there is nothing to take: the next is asked. */
	lookup(f, "jo");
	assert_int_equal(f->answer.result, CV_AUTH_NOUSER);
	end(f);
}

static void system_accounts_are_refused(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = ok\n[userdb u]\ndriver = static\nargs = uid=33 gid=33 home=/x\n");

	plain(f, "www", "x");
	assert_int_equal(f->answer.code, CV_ERR_PERM);
	end(f);
}

static void user_without_userdb_entry_is_a_temporary_failure(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = ok\n[userdb u]\ndriver = fake\nargs = nouser\n");

	plain(f, "jo", "x");
	assert_int_equal(f->answer.code, CV_ERR_TEMP);
	lookup(f, "jo");
	assert_int_equal(f->answer.result, CV_AUTH_NOUSER);
	end(f);
}

static void lookup_tells_unknown_from_unable(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = ok\n[userdb u]\ndriver = fake\nargs = temp\n[userdb v]\ndriver = fake\n"
		"args = nouser\n");

	lookup(f, "jo");
	assert_int_equal(f->answer.result, CV_AUTH_TEMP);
	lookup(f, "..");
	assert_int_equal(f->answer.result, CV_AUTH_NOUSER);
	end(f);
}

/* A line of two fields is of a file for passwords: the next userdb is asked. */
static void line_without_user_fields_is_no_user(void **state)
{
	char *path = cv_arena_printf(*state, "%s/users", cv_test_dir(state));
	struct fixture *f;

	write_file(path, "short:{PLAIN}x\nlong:{PLAIN}x::::::\n");
	f = begin(state, cv_arena_printf(*state, "%s[passdb p]\ndriver = passwd-file\nargs = %s\n[userdb u]\ndriver = passwd-file\nargs = %s\n", TOP, path, path));
	lookup(f, "short");
	assert_int_equal(f->answer.result, CV_AUTH_NOUSER);
	lookup(f, "long");
	assert_int_equal(f->answer.result, CV_AUTH_OK);
	end(f);
}

/* A userdb that answers for every name must not take mail for users who do not exist. */
static void static_userdb_asks_the_passdbs(void **state)
{
	char *path = cv_arena_printf(*state, "%s/users", cv_test_dir(state));
	struct fixture *f;

	write_file(path, "jo:{PLAIN}x\nEva:{PLAIN}y::::::user=eva2\n");
	f = begin(state, cv_arena_printf(*state, "%sauth_username_format = %%u\n[passdb p]\ndriver = passwd-file\nargs = %s\n[userdb u]\ndriver = static\n"
		"args = uid=1000 gid=1000 home=/h/%%u\n", TOP, path));
	lookup(f, "jo");
	assert_int_equal(f->answer.result, CV_AUTH_OK);
	lookup(f, "nosuch");
	assert_int_equal(f->answer.result, CV_AUTH_NOUSER);
	lookup(f, "Eva");
	assert_int_equal(f->answer.result, CV_AUTH_OK);
	assert_string_equal(f->user, "eva2");
	assert_string_equal(f->home, "/h/eva2");
	end(f);
	f = begin(state, TOP "[passdb p]\ndriver = fake\nargs = ok\n[userdb u]\ndriver = static\nargs = uid=1000 gid=1000 home=/h/%u\n");
	lookup(f, "jo");
	assert_int_equal(f->answer.result, CV_AUTH_TEMP);
	end(f);
}

static void master_logs_in_as_another(void **state)
{
	char *masters = cv_arena_printf(*state, "%s/masters", cv_test_dir(state)), *users = cv_arena_printf(*state, "%s/users", cv_test_dir(state));
	struct fixture *f;

	write_file(masters, "chef:{PLAIN}macht\n");
	write_file(users, "jo:{PLAIN}x\n");
	f = begin(state, cv_arena_printf(*state, "%sauth_master_user_separator = *\n[passdb m]\ndriver = passwd-file\nargs = %s\nmaster = yes\npass = yes\n"
		"[passdb p]\ndriver = passwd-file\nargs = %s\n%s", TOP, masters, users, USERDB));
	plain(f, "jo*chef", "macht");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->user, "jo");
	plain(f, "jo*chef", "x");
	assert_int_equal(f->answer.code, CV_ERR_AUTH);
	/* The master is who he says, and there is nobody like that to be. */
	plain(f, "nosuch*chef", "macht");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	assert_int_equal(f->answer.code, CV_ERR_AUTHZ);
	assert_int_equal(results_temporary, 0);
	/* So is one who is no master; with a wrong password nobody says more than that it is wrong. */
	plain(f, "jo*jo", "x");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	assert_int_equal(f->answer.code, CV_ERR_AUTHZ);
	plain(f, "ann*jo", "x");
	assert_int_equal(f->answer.code, CV_ERR_AUTHZ);
	plain(f, "ann*jo", "macht");
	assert_int_equal(f->answer.code, CV_ERR_AUTH);
	plain(f, "jo*nosuch", "x");
	assert_int_equal(f->answer.code, CV_ERR_AUTH);
	plain_from(f, "ann", "jo", "x", NULL, 5000);
	assert_int_equal(f->answer.code, CV_ERR_AUTHZ);
	/* Masters are nobody by themselves. */
	plain(f, "chef", "macht");
	assert_int_equal(f->answer.code, CV_ERR_AUTH);
	f->answers = 0;
	plain_from(f, "jo", "chef", "macht", NULL, 5000);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->user, "jo");
	end(f);
}

static void denied_users_are_refused(void **state)
{
	char *path = cv_arena_printf(*state, "%s/denied", cv_test_dir(state));
	struct fixture *f;

	write_file(path, "mallory\n");
	f = begin(state, cv_arena_printf(*state, "%s[passdb d]\ndriver = passwd-file\nargs = %s\ndeny = yes\n[passdb p]\ndriver = fake\nargs = ok\n%s", TOP,
		path, USERDB));
	plain(f, "mallory", "x");
	assert_int_equal(f->answer.code, CV_ERR_PERM);
	assert_int_equal(asked, 0);
	plain(f, "jo", "x");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	/* A list that can't be read lets nobody in. */
	assert_int_equal(unlink(path), 0);
	plain(f, "jo", "x");
	assert_int_equal(f->answer.code, CV_ERR_TEMP);
	end(f);
}

static void names_that_are_none_reach_no_database(void **state)
{
	static const char *const names[] = { "..", ".", "a/b", "jo\nx", "", "@example.org", "jo@..", "jo x", "j\xc3\xb6" };
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = ok\n" USERDB);

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		plain(f, names[i], "x");
		assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	}
	assert_int_equal(asked, 0);
	end(f);
}

static void hook_refuses_with_its_words(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb a]\ndriver = fake\nargs = ok\n" USERDB);

	hook_answer = CV_HOOK_DENY;
	plain(f, "jo", "x");
	assert_int_equal(f->answer.code, CV_ERR_PERM);
	assert_string_equal(f->text, "Not on Sundays.");
	hook_answer = CV_HOOK_ERROR;
	plain(f, "jo", "x");
	assert_int_equal(f->answer.code, CV_ERR_TEMP);
	end(f);
}

static void login_mechanism_asks_twice(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb p]\ndriver = static\nargs = password=geheim\n" USERDB);
	struct auth_request_spec spec = spec_of(f, "login", NULL);
	struct auth_request *request = auth_login_begin(&f->auth, &spec, (struct cv_str){ 0 });

	assert_int_equal(auth_login_continue(request, CV_STR("too early")), -1);
	run_for(f, 0);
	assert_string_equal(f->challenge, "Username:");
	assert_int_equal(auth_login_continue(request, CV_STR("jo")), 0);
	run_for(f, 0);
	assert_string_equal(f->challenge, "Password:");
	assert_int_equal(auth_login_continue(request, CV_STR("geheim")), 0);
	run_for(f, 0);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	end(f);
}

static void client_that_stays_silent_is_dropped(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb p]\ndriver = static\nargs = password=geheim\n" USERDB);
	struct auth_request_spec spec = spec_of(f, "LOGIN", NULL);

	(void)auth_login_begin(&f->auth, &spec, (struct cv_str){ 0 });
	run_for(f, 59000);
	assert_int_equal(f->answers, 0);
	run_for(f, 4000);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	end(f);
}

static void mechanism_that_is_not_offered_is_refused(void **state)
{
	struct fixture *f = begin(state, "auth_mechanisms = plain\n[passdb p]\ndriver = static\nargs = password=geheim\n" USERDB);
	struct auth_request_spec spec = spec_of(f, "LOGIN", NULL);

	(void)auth_login_begin(&f->auth, &spec, CV_STR("jo"));
	run_for(f, 5000);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->answer.code, CV_ERR_INVALID);
	end(f);
}

/* RFC 1939 section 7's example: <1896.697170952@dbc.mtview.ca.us> and "tanstaaf". */
#define STAMP "<1896.697170952@dbc.mtview.ca.us>"
#define DIGEST "\xc4\xc9\x33\x4b\xac\x56\x0e\xcc\x97\x9e\x58\x00\x1b\x3e\x22\xfb"

static enum cv_err_code apop(struct fixture *f, struct cv_str message)
{
	struct auth_request_spec spec = spec_of(f, "APOP", NULL);

	f->answers = 0;
	(void)auth_login_begin(&f->auth, &spec, message);
	run_for(f, 20000);
	assert_int_equal(f->answers, 1);
	return f->answer.kind == AUTH_ANSWER_OK ? CV_ERR_NONE : f->answer.code;
}

static bool offers(const struct fixture *f, const char *name)
{
	const struct cv_sasl_mech *mech;

	for (size_t pos = 0; auth_mech_next(&f->auth, &pos, &mech);) {
		if (strcmp(mech->name, name) == 0)
			return true;
	}
	return false;
}

static void apop_compares_digests(void **state)
{
	struct fixture *f = begin(state, "auth_failure_delay = 0\nfirst_valid_uid = 100\nfirst_valid_gid = 100\nauth_mechanisms = plain apop\n"
		"[passdb p]\ndriver = static\nargs = password=tanstaaf\n" USERDB);

	assert_true(offers(f, "APOP"));
	assert_int_equal(apop(f, CV_STR(STAMP "\0mrose\0" DIGEST)), CV_ERR_NONE);
	assert_string_equal(f->user, "mrose");
	assert_int_equal(apop(f, CV_STR("<other@dbc.mtview.ca.us>\0mrose\0" DIGEST)), CV_ERR_AUTH);
	assert_int_equal(apop(f, CV_STR(STAMP "\0mrose\0" DIGEST "x")), CV_ERR_INVALID);
	assert_int_equal(apop(f, CV_STR(STAMP "\0mrose")), CV_ERR_INVALID);
	assert_int_equal(apop(f, CV_STR("\0mrose\0" DIGEST)), CV_ERR_INVALID);
	/* RFC 6856 section 2.2: a name would have to be prepared. */
	assert_int_equal(apop(f, CV_STR(STAMP "\0mr\xc3\xb6se\0" DIGEST)), CV_ERR_INVALID);
	assert_int_equal(apop(f, (struct cv_str){ 0 }), CV_ERR_INVALID);
	end(f);
}

#define PREP_TOP "auth_failure_delay = 0\nfirst_valid_uid = 100\nfirst_valid_gid = 100\nauth_mechanisms = plain login apop\nauth_username_chars =\n"

/* RFC 4616 section 2: what the client gave is prepared. Fullwidth letters are a way to type others. */
static void names_and_passwords_are_prepared_where_the_setting_says_so(void **state)
{
	struct fixture *f = begin(state, PREP_TOP "auth_saslprep = yes\n[passdb p]\ndriver = static\nargs = password=tanstaaf\n" USERDB);
	struct auth_request_spec spec = spec_of(f, "LOGIN", NULL);

	plain(f, "\xef\xbd\x8d" "rose", "tan\xc2\xadstaaf");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->user, "mrose");
	plain(f, "mrose", "tanstaaf");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	/* "If preparation fails or results in an empty string, verification SHALL fail." */
	plain(f, "mrose", "tanstaaf\x07");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	assert_int_equal(f->answer.code, CV_ERR_AUTH);
	plain(f, "mrose", "\xc2\xad");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	plain(f, "mrose", "tanstaaf\xff");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	plain(f, "m\xd8\xa7", "tanstaaf");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	/* LOGIN, which asks for one after the other */
	f->answers = f->challenges = 0;
	f->request = auth_login_begin(&f->auth, &spec, CV_STR("\xef\xbd\x8d" "rose"));
	run_for(f, 100);
	assert_true(auth_login_continue(f->request, CV_STR("tan\xc2\xadstaaf")) >= 0);
	run_for(f, 5000);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->user, "mrose");
	/* RFC 6856 section 2.2: APOP's name too. */
	assert_int_equal(apop(f, CV_STR(STAMP "\0\xef\xbd\x8d" "rose\0" DIGEST)), CV_ERR_NONE);
	assert_string_equal(f->user, "mrose");
	assert_int_equal(apop(f, CV_STR(STAMP "\0mrose\x07\0" DIGEST)), CV_ERR_INVALID);
	end(f);
	/* The password that is stored is prepared for the digest. */
	f = begin(state, PREP_TOP "auth_saslprep = yes\n[passdb p]\ndriver = static\nargs = password=tan\xc2\xadstaaf\n" USERDB);
	assert_int_equal(apop(f, CV_STR(STAMP "\0mrose\0" DIGEST)), CV_ERR_NONE);
	end(f);
}

/* Hashes that are stored were made of what users type. */
static void without_the_setting_octets_are_compared(void **state)
{
	struct fixture *f = begin(state, PREP_TOP "[passdb p]\ndriver = static\nargs = password=caf\xc3\xa9\xef\xbd\x8d\n" USERDB);

	plain(f, "\xef\xbd\x8d" "rose", "caf\xc3\xa9\xef\xbd\x8d");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->user, "\xef\xbd\x8d" "rose");
	plain(f, "mrose", "cafe\xcc\x81\xef\xbd\x8d");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	end(f);
}

static void apop_needs_a_password_that_is_stored_as_it_is(void **state)
{
#define APOP_TOP "auth_failure_delay = 0\nfirst_valid_uid = 100\nfirst_valid_gid = 100\nauth_mechanisms = plain apop\n"
	struct fixture *f = begin(state, APOP_TOP "[passdb p]\ndriver = static\nargs = \"password={SHA}abc\"\n" USERDB);

	assert_true(offers(f, "APOP"));
	assert_int_equal(apop(f, CV_STR(STAMP "\0mrose\0" DIGEST)), CV_ERR_AUTH);
	end(f);
	/* One that can only be asked with a password (PAM): APOP could never work. */
	f = begin(state, APOP_TOP "[passdb p]\ndriver = fake\nargs = ok\n" USERDB);
	assert_false(offers(f, "APOP"));
	assert_true(offers(f, "PLAIN"));
	assert_int_equal(apop(f, CV_STR(STAMP "\0mrose\0" DIGEST)), CV_ERR_AUTH);
	end(f);
}

static void certificate_logs_in_by_external(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb p]\ndriver = fake\nargs = mismatch\n" USERDB);
	struct auth_request_spec spec = spec_of(f, "EXTERNAL", NULL);

	(void)auth_login_begin(&f->auth, &spec, CV_STR(""));
	run_for(f, 5000);
	assert_int_equal(f->answer.code, CV_ERR_AUTH);
	spec.cert_valid = true;
	spec.cert_user = CV_STR("jo@example.org");
	(void)auth_login_begin(&f->auth, &spec, CV_STR(""));
	run_for(f, 100);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_string_equal(f->user, "jo@example.org");
	/* To be someone else takes a master passdb. */
	(void)auth_login_begin(&f->auth, &spec, CV_STR("hanna"));
	run_for(f, 5000);
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	assert_int_equal(f->answer.code, CV_ERR_AUTHZ);
	end(f);
}

static void abort_ends_a_request_without_an_answer(void **state)
{
	struct fixture *f = begin(state, TOP "[passdb p]\ndriver = fake\nargs = mismatch\n" USERDB);

	plain_from(f, "", "jo", "x", NULL, 100);
	assert_non_null(f->request);
	auth_request_abort(&f->request);
	run_for(f, 5000);
	assert_int_equal(f->answers, 0);
	end(f);
}

static void cache_spares_the_database_and_notices_a_new_password(void **state)
{
	char *path = cv_arena_printf(*state, "%s/users", cv_test_dir(state));
	struct fixture *f;

	write_file(path, "jo:{PLAIN}alt\n");
	f = begin(state, cv_arena_printf(*state, "%sauth_cache_size = 1M\n[passdb p]\ndriver = passwd-file\nargs = %s\n[userdb u]\ndriver = fake\nargs = ok\n",
		TOP, path));
	plain(f, "jo", "alt");
	plain(f, "jo", "alt");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	assert_int_equal(asked, 1); /* the userdb */
	assert_string_equal(f->field, "fake");
	write_file(path, "jo:{PLAIN}neu\n");
	plain(f, "jo", "neu");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_OK);
	plain(f, "jo", "alt");
	assert_int_equal(f->answer.kind, AUTH_ANSWER_FAIL);
	end(f);
}

static void settings_that_let_nobody_in_are_errors(void **state)
{
	static const char *const bad[] = {
		"[passdb a]\ndriver = nosuch\n",
		"[passdb a]\ndriver = passwd-file\nargs = relative/path\n",
		"[passdb a]\ndriver = fake\nargs = ok\ndeny = yes\n[passdb b]\ndriver = fake\nargs = ok\n",
		"[passdb a]\ndriver = static\nargs = password=x\nmaster = yes\n",
		"auth_mechanisms = plain gssapi\n[passdb a]\ndriver = fake\nargs = ok\n",
		"[userdb a]\ndriver = prefetch\nargs = x\n",
		"[passdb a]\ndriver = fake\nargs = max_requests=many ok\n",
	};

	for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
		struct fixture *f = begin(state, "");
		char *path = cv_arena_printf(*state, "%s/bad.ini", cv_test_dir(state));
		const struct cv_settings_table *tables[] = { &cv_core_settings_table, &cv_auth_settings_table, &cv_passdb_settings_table,
			&cv_userdb_settings_table };
		const struct cv_conf_problem *problems;
		struct cv_conf *conf = NULL;
		struct cv_err err = { 0 };
		size_t count;

		write_file(path, bad[i]);
		assert_int_equal(cv_conf_load(path, NULL, tables, CV_COUNT_OF(tables), *state, &conf, &problems, &count), 0);
		assert_null(auth_gen_new(f->reg, conf, NULL, NULL, &err));
		assert_true(err.text[0] != '\0');
		end(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(right_password_logs_in_and_wrong_one_does_not),
		cv_test_fds_only(failure_is_answered_after_the_delay_and_holds_up_nobody),
		cv_test_fds_only(delay_grows_with_failures_of_an_address),
		cv_test_fds_only(databases_are_asked_in_order_until_one_says_yes),
		cv_test_fds_only(temporary_failure_is_never_a_wrong_password),
		cv_test_fds_only(disabled_account_ends_it_with_its_reason),
		cv_test_fds_only(rules_decide_what_follows),
		cv_test_fds_only(fields_refuse_or_allow),
		cv_test_fds_only(user_field_renames_and_templates_follow),
		cv_test_fds_only(prefetch_takes_what_the_passdb_gave),
		cv_test_fds_only(system_accounts_are_refused),
		cv_test_fds_only(user_without_userdb_entry_is_a_temporary_failure),
		cv_test_fds_only(lookup_tells_unknown_from_unable),
		cv_test_fds_only(line_without_user_fields_is_no_user),
		cv_test_fds_only(static_userdb_asks_the_passdbs),
		cv_test_fds_only(master_logs_in_as_another),
		cv_test_fds_only(denied_users_are_refused),
		cv_test_fds_only(names_that_are_none_reach_no_database),
		cv_test_fds_only(hook_refuses_with_its_words),
		cv_test_fds_only(login_mechanism_asks_twice),
		cv_test_fds_only(client_that_stays_silent_is_dropped),
		cv_test_fds_only(mechanism_that_is_not_offered_is_refused),
		cv_test_fds_only(apop_compares_digests),
		cv_test_fds_only(apop_needs_a_password_that_is_stored_as_it_is),
		cv_test_fds_only(names_and_passwords_are_prepared_where_the_setting_says_so),
		cv_test_fds_only(without_the_setting_octets_are_compared),
		cv_test_fds_only(certificate_logs_in_by_external),
		cv_test_fds_only(abort_ends_a_request_without_an_answer),
		cv_test_fds_only(cache_spares_the_database_and_notices_a_new_password),
		cv_test_fds_only(settings_that_let_nobody_in_are_errors),
	};
	return cv_test_run(tests);
}
