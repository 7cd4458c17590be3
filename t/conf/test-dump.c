/* SPDX-License-Identifier: MIT
   Showing settings: lists, files that load again, explanations, the manual page. */
#include "t/conf/conf-helper.h"

#define ALL all_tables, CV_COUNT_OF(all_tables)

static struct cv_str print(struct fixture *f, unsigned show)
{
	struct cv_buf out;
	cv_buf_init(&out, 1 << 20);
	cv_conf_print(f->conf, ALL, show, &out);
	assert_true(cv_buf_ok(&out));
	struct cv_str text = cv_arena_str(f->arena, cv_buf_str(&out));
	cv_buf_deinit(&out);
	return text;
}

static void only_changes_are_shown_when_asked(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini",
		"number = 7\nsize = 65536\nwait = 1m\ntext = \"a;b\"\n"
		"[userdb u]\ndriver = static\nfree = x y\n"
		"[protocol imap]\nnumber = 7\n");
	(void)load_top(f, NULL);
	assert_str_eq(print(f, CV_CONF_CHANGED),
		CV_STR("wait = 1m\ntext = \"a;b\"\n\n[protocol imap]\nnumber = 7\n\n[userdb u]\nfree = x y\n"));
}

static void all_settings_are_shown_with_their_defaults(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "flag = yes\n[passdb p]\ndriver = pam\n");
	(void)load_top(f, NULL);
	assert_str_eq(print(f, 0),
		CV_STR("protocols = imap pop3\nflag = yes\nnumber = 7\nsize = 64k\nwait = 30s\ntext = \nplace = maildir:~/Maildir\nwords = \nmode = yes\n"
		       "perm = 0600\ncert = \nkey = \n\n[passdb p]\ndriver = pam\nargs = \npass = \n"));
}

static void origin_stands_above_each(void **state)
{
	struct fixture *f = *state;
	static const char *const overrides[] = { "number=9", NULL };
	write_file(f, "culver.ini", "\nflag = yes\n");
	load(f, overrides);
	const char *want = cv_arena_printf(f->arena, "# %s:2\nflag = yes\n# (command line)\nnumber = 9\n", path_of(f, "culver.ini"));
	assert_str_eq(print(f, CV_CONF_CHANGED | CV_CONF_ORIGIN), cv_str_c(want));
}

static void secrets_are_hidden_and_what_hides_them_does_not_load(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "key = s3cret\n[passdb p]\ndriver = pam\npass = s3cret\n[userdb u]\nmy_password = s3cret\n");
	(void)load_top(f, NULL);
	struct cv_str text = print(f, CV_CONF_CHANGED);
	assert_int_equal(cv_str_find_str(text, CV_STR("s3cret")), SIZE_MAX);
	write_file(f, "culver.ini", cv_arena_cstr(f->arena, text));
	load(f, NULL);
	assert_int_equal(f->problem_count, 3);
}

/* The flat form has all that the settings hold, but lines and files. */
static void assert_same_settings(struct fixture *f, const struct cv_conf *a, const struct cv_conf *b)
{
	size_t na, nb;
	const struct cv_conf_item *ia = cv_conf_items(a, ALL, CV_CONF_SECRETS, f->arena, &na);
	const struct cv_conf_item *ib = cv_conf_items(b, ALL, CV_CONF_SECRETS, f->arena, &nb);
	assert_int_equal(na, nb);
	for (size_t i = 0; i < na; i++) {
		assert_string_equal(ia[i].kind, ib[i].kind);
		assert_string_equal(ia[i].name, ib[i].name);
		assert_string_equal(ia[i].key, ib[i].key);
		assert_ptr_equal(ia[i].row, ib[i].row);
		if (ia[i].changed || ib[i].changed)
			assert_string_equal(ia[i].value, ib[i].value);
	}
}

/* A small generator of its own, so that a failure comes again. */
static uint32_t random_below(uint64_t *seed, uint32_t n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33) % n;
}

static void random_text(uint64_t *seed, struct cv_buf *out)
{
	static const char *const parts[] = { "a", "B", " ", "  ", ";", "#", "\"", "'", "<", "\\", "=", "[", "]", "%%", "é", "\t", ",", "x y", ":" };
	for (uint32_t n = random_below(seed, 8); n > 0; n--)
		cv_buf_append_c(out, parts[random_below(seed, CV_COUNT_OF(parts))]);
}

static void random_line(uint64_t *seed, const char *key, struct cv_buf *out)
{
	static const char *const marks[] = { "", "\"", "'" };
	const char *mark = marks[random_below(seed, 3)];
	cv_buf_printf(out, "%s = %s", key, mark);
	random_text(seed, out);
	cv_buf_printf(out, "%s\n", mark);
}

static void printed_changes_load_to_the_same_settings(void **state)
{
	static const char *const lines[] = { "flag = yes\n", "number = 9\n", "wait = 60 s\n", "wait = 30000ms\n", "size = 1M\n", "mode = no\n",
		"perm = 0640\n", "words = a, b c\n", "cert = cert.pem\n", "place = \"x;%n\"\n", "key = \"p#w\"\n" };
	struct fixture *f = *state;
	uint64_t seed = 1;
	size_t loaded = 0;
	struct cv_buf text;

	write_file(f, "cert.pem", "CERT\n");
	cv_buf_init(&text, 100000);
	for (unsigned round = 0; round < 3000; round++) {
		cv_buf_clear(&text);
		for (size_t i = 0; i < CV_COUNT_OF(lines); i++)
			if (random_below(&seed, 3) == 0)
				cv_buf_append_c(&text, lines[i]);
		random_line(&seed, "text", &text);
		if (random_below(&seed, 2) == 0) {
			cv_buf_append_c(&text, "[remote 10.0.0.0/8]\n");
			random_line(&seed, "text", &text);
		}
		if (random_below(&seed, 2) == 0)
			cv_buf_append_c(&text, "[passdb Some Name]\ndriver = x\n[protocol imap]\nflag = no\n");
		if (random_below(&seed, 2) == 0) {
			cv_buf_append_c(&text, "[userdb \" b\"]\n");
			random_line(&seed, "free", &text);
		}
		write_file(f, "culver.ini", text.data);
		load(f, NULL);
		if (f->problem_count > 0)
			continue;
		loaded++;
		struct cv_conf *first = f->conf;
		struct cv_str printed = print(f, CV_CONF_CHANGED | CV_CONF_SECRETS | CV_CONF_ORIGIN);
		write_file(f, "dump.ini", cv_arena_cstr(f->arena, printed));
		load_path(f, path_of(f, "dump.ini"), NULL);
		if (f->problem_count > 0) {
			print_message("%s\n--\n%s\n", text.data, printed.ptr);
			print_problems(f);
		}
		assert_int_equal(f->problem_count, 0);
		assert_same_settings(f, first, f->conf);
		f->conf = first;
		write_file(f, "dump.ini", cv_arena_cstr(f->arena, print(f, CV_CONF_SECRETS)));
		load_path(f, path_of(f, "dump.ini"), NULL);
		assert_int_equal(f->problem_count, 0);
		assert_same_settings(f, first, f->conf);
	}
	assert_true(loaded > 500);
	cv_buf_deinit(&text);
}

static void longest_line_prints_as_one_that_loads(void **state)
{
	struct fixture *f = *state;
	char line[1100];
	memset(line, 'x', sizeof(line));
	memcpy(line, "text=", 5);
	line[1022] = '\0';
	write_file(f, "culver.ini", line);
	const char *value = load_top(f, NULL)->text;
	write_file(f, "culver.ini", cv_arena_cstr(f->arena, print(f, CV_CONF_CHANGED)));
	assert_string_equal(load_top(f, NULL)->text, value);
}

static void explanations_teach(void **state)
{
	struct fixture *f = *state;
	struct cv_buf out;
	struct cv_err err = { 0 };
	write_file(f, "culver.ini", "number = 3\n[protocol imap]\nnumber = 4\n");
	(void)load_top(f, NULL);
	cv_buf_init(&out, 10000);
	assert_int_equal(cv_conf_explain(f->conf, ALL, "number", &out, &err), 0);
	const char *file = path_of(f, "culver.ini");
	assert_str_eq(cv_buf_str(&out), cv_str_c(cv_arena_printf(f->arena,
		"number\n  A number.\n\n"
		"  Type:     number (1 to 1000)\n"
		"  Default:  7\n"
		"  Place:    top of the file; [protocol], [local] and [remote] sections may override it\n"
		"  Part of:  Test settings\n"
		"  Now:      3 from %s line 1\n"
		"  Now:      [protocol imap] 4 from %s line 3\n", file, file)));
	/* A key of two kinds is explained twice. */
	cv_buf_clear(&out);
	assert_int_equal(cv_conf_explain(NULL, ALL, "driver", &out, &err), 0);
	assert_int_not_equal(cv_str_find_str(cv_buf_str(&out), CV_STR("[passdb NAME]")), SIZE_MAX);
	assert_int_not_equal(cv_str_find_str(cv_buf_str(&out), CV_STR("[userdb NAME]")), SIZE_MAX);
	assert_int_equal(cv_conf_explain(NULL, ALL, "nunber", &out, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	assert_string_equal(err.text, "there is no setting \"nunber\"; did you mean \"number\"?");
	cv_buf_deinit(&out);
}

static void manual_has_every_setting_and_no_bare_dot(void **state)
{
	static const struct cv_setting rows[] = {
		{ "dotted", CV_SET_STR, 0, ".\\back-slash \"q\"", 0, 0, NULL, ".starts with a dot\n'and a quote", 0 },
	};
	static const struct cv_settings_table dotted = { .title = ".Title", .rows = rows, .count = 1, .struct_size = sizeof(char *) };
	static const struct cv_settings_table *const tables[] = { &top_table, &passdb_table, &userdb_table, &dotted };
	struct cv_buf out;
	(void)state;
	cv_buf_init(&out, 100000);
	cv_conf_manual(tables, CV_COUNT_OF(tables), &out);
	assert_true(cv_buf_ok(&out));
	struct cv_str text = cv_buf_str(&out);
	for (size_t i = 0; i < CV_COUNT_OF(top_rows); i++) {
		char line[100];
		assert_true(snprintf(line, sizeof(line), "\n.It Ic %s\n", top_rows[i].key) > 0);
		assert_int_not_equal(cv_str_find_str(text, cv_str_c(line)), SIZE_MAX);
	}
	assert_int_not_equal(cv_str_find_str(text, CV_STR("\n.Ss \\&.Title\n")), SIZE_MAX);
	assert_int_not_equal(cv_str_find_str(text, CV_STR("\n\\&.starts with a dot\n\\&'and a quote\n")), SIZE_MAX);
	assert_int_not_equal(cv_str_find_str(text, CV_STR("Default: \\&.\\eback\\-slash \\(dqq\\(dq\n")), SIZE_MAX);
	assert_int_not_equal(cv_str_find_str(text, CV_STR("Type: number (1 to 1000).\nDefault: 7\n")), SIZE_MAX);
	cv_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(only_changes_are_shown_when_asked),
		T(all_settings_are_shown_with_their_defaults),
		T(origin_stands_above_each),
		T(secrets_are_hidden_and_what_hides_them_does_not_load),
		T(printed_changes_load_to_the_same_settings),
		T(longest_line_prints_as_one_that_loads),
		T(explanations_teach),
		T(manual_has_every_setting_and_no_bare_dot),
	};
	return cv_test_run(tests);
}
