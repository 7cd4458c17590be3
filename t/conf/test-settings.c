/* SPDX-License-Identifier: MIT
   Settings: files, sections, problems, values, flat form. */
#include "t/conf/conf-helper.h"

/* ---- Values ---------------------------------------------------------------------------------------------------- */

static void every_type_is_read(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini",
		"flag = Yes\n"
		"number = 42\n"
		"size = 10M\n"
		"wait = 5 mins\n"
		"text = some text  \n"
		"place = sdbox:/var/mail/%n/\n"
		"words = one, two three\n"
		"mode = Required\n"
		"perm = 0660\n");
	const struct top *top = load_top(f, NULL);
	assert_true(top->flag);
	assert_int_equal(top->number, 42);
	assert_int_equal(top->size, 10 * 1024 * 1024);
	assert_int_equal(top->wait, 5 * 60 * 1000);
	assert_string_equal(top->text, "some text");
	assert_string_equal(top->place, "sdbox:/var/mail/%n/");
	assert_string_equal(top->words[0], "one");
	assert_string_equal(top->words[1], "two");
	assert_string_equal(top->words[2], "three");
	assert_null(top->words[3]);
	assert_int_equal(top->mode, 2);
	assert_int_equal(top->perm, 0660);
}

static void defaults_hold_where_nothing_is_set(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "; nothing\n\n# at all\n");
	const struct top *top = load_top(f, NULL);
	assert_false(top->flag);
	assert_int_equal(top->number, 7);
	assert_int_equal(top->size, 64 * 1024);
	assert_int_equal(top->wait, 30000);
	assert_null(top->text);
	assert_string_equal(top->place, "maildir:~/Maildir");
	assert_null(top->words[0]);
	assert_int_equal(top->mode, 1);
	assert_int_equal(top->perm, 0600);
	assert_null(top->cert);
}

static void empty_text_is_null_only_where_the_default_is(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "text =\nplace = \"\"\n");
	const struct top *top = load_top(f, NULL);
	assert_null(top->text);
	assert_string_equal(top->place, "");
}

static void units_of_size_and_time(void **state)
{
	static const struct {
		const char *line;
		uint64_t size, wait;
	} rows[] = {
		{ "size = 70000\n", 70000, 30000 },
		{ "size = 1k\n", 1024, 30000 },
		{ "size = 2KiB\n", 2048, 30000 },
		{ "size = 1 g\n", UINT64_C(1) << 30, 30000 },
		{ "size = 512B\n", 512, 30000 },
		{ "wait = 0\n", 65536, 0 },
		{ "wait = 9\n", 65536, 9000 },
		{ "wait = 500ms\n", 65536, 500 },
		{ "wait = 2 hours\n", 65536, 7200000 },
		{ "wait = 1d\n", 65536, 86400000 },
		{ "wait = 2w\n", 65536, UINT64_C(2) * 7 * 86400000 },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		write_file(f, "culver.ini", rows[i].line);
		const struct top *top = load_top(f, NULL);
		assert_int_equal(top->size, rows[i].size);
		assert_int_equal(top->wait, rows[i].wait);
	}
}

static void bad_values_are_told_with_what_is_allowed(void **state)
{
	static const struct {
		const char *line, *text;
	} rows[] = {
		{ "flag = maybe\n", "flag = maybe: must be yes or no" },
		{ "number = -1\n", "number = -1: must be a whole number" },
		{ "number = 1001\n", "number = 1001: must be 1 to 1000" },
		{ "number = 99999999999999999999\n", "number = 99999999999999999999: must be a whole number" },
		{ "number =\n", "number = : must be a whole number" },
		{ "size = 10X\n", "size = 10X: must be a size: a number and B, k, M, G or T" },
		{ "size = 20000000T\n", "size = 20000000T: must be a size: a number and B, k, M, G or T" },
		{ "wait = soon\n", "wait = soon: must be a time: a number and ms, s, m, h, d or w" },
		{ "mode = requird\n", "mode = requird: must be one of no, yes, required; did you mean \"required\"?" },
		{ "perm = 0668\n", "perm = 0668: must be an octal number such as 0660" },
		{ "perm = 17777\n", "perm = 17777: must be 00 to 07777" },
		{ "place = mbox:%\n", "place = mbox:%: a variable's name is missing behind \"%\" (write \"%%\" for a percent sign)" },
		{ "text = </nonexistent/file\n", "text: cannot open /nonexistent/file: No such file or directory" },
		{ "cert = /nonexistent/file\n", "cert: cannot open /nonexistent/file: No such file or directory" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		write_file(f, "culver.ini", rows[i].line);
		assert_problem(f, 1, rows[i].text);
	}
}

static void secret_values_are_not_in_problems(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "key = %\n");
	load(f, NULL);
	assert_int_equal(f->problem_count, 1);
	assert_null(strstr(f->problems[0].text, "%;"));
	assert_string_equal(f->problems[0].text, "key = #hidden: a variable's name is missing behind \"%\" (write \"%%\" for a percent sign)");
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static void file_values_are_read_relative_to_the_file_that_names_them(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "text = <value.txt\n");
	write_file(f, "value.txt", "two\nlines\n");
	write_file(f, "conf.d/10.ini", "cert = cert.pem\n");
	write_file(f, "conf.d/cert.pem", "CERT\r\n");
	const struct top *top = load_top(f, NULL);
	assert_string_equal(top->text, "two\nlines");
	assert_string_equal(top->cert, "CERT");
	assert_string_equal(cv_conf_value_path(f->conf, "cert", NULL), cv_arena_printf(f->arena, "%s/conf.d/cert.pem", f->dir));
	assert_null(cv_conf_value_path(f->conf, "number", NULL));

	struct cv_conf_file file;
	size_t section = 0, pos = 0, count = 0;
	while (cv_conf_file_next(f->conf, &section, &pos, &file))
		count++;
	assert_int_equal(count, 2);
}

static void quoted_less_than_is_text(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "text = \"<not a file\"\n");
	assert_string_equal(load_top(f, NULL)->text, "<not a file");
}

static void file_that_everyone_may_write_is_refused(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "flag = yes\n");
	assert_int_equal(chmod(path_of(f, "culver.ini"), 0666), 0);
	load(f, NULL);
	assert_int_equal(f->problem_count, 1);
	assert_non_null(strstr(f->problems[0].text, "can be written by everyone: chmod o-w it"));
}

static void unreadable_values_can_be_passed_over(void **state)
{
	struct fixture *f = *state;
	if (geteuid() == 0 && seteuid(65534) < 0)
		skip();
	bool was_root = getuid() == 0;
	if (was_root)
		assert_int_equal(seteuid(0), 0);
	write_file(f, "culver.ini", "number = 3\ncert = cert.pem\n");
	write_file(f, "cert.pem", "CERT\n");
	assert_int_equal(chmod(path_of(f, "cert.pem"), 0), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(chmod(path_of(f, "culver.ini"), 0644), 0);
	assert_int_equal(chmod(path_of(f, "conf.d"), 0755), 0);
	if (was_root)
		assert_int_equal(seteuid(65534), 0);
	load(f, NULL);
	size_t strict = f->problem_count;
	int ret = cv_conf_load_with(path_of(f, "culver.ini"), NULL, all_tables, CV_COUNT_OF(all_tables), CV_CONF_UNREADABLE_OK, f->arena, &f->conf,
		&f->problems, &f->problem_count);
	if (was_root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(strict, 1);
	assert_int_equal(ret, 0);
	assert_null(top_for(f, NULL)->cert);
	assert_int_equal(top_for(f, NULL)->number, 3);
	assert_string_equal(cv_conf_value_path(f->conf, "cert", NULL), path_of(f, "cert.pem"));
}

static void missing_file_is_a_problem(void **state)
{
	struct fixture *f = *state;
	load(f, NULL);
	assert_int_equal(f->problem_count, 1);
	assert_non_null(strstr(f->problems[0].text, "No such file or directory"));
}

static void later_files_override_in_lexical_order(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "number = 1\ntext = main\n[passdb one]\ndriver = pam\nargs = x\n[passdb two]\ndriver = file\n");
	write_file(f, "conf.d/20-b.ini", "number = 3\n[passdb one]\nargs = y\n[passdb three]\ndriver = last\n");
	write_file(f, "conf.d/10-a.ini", "number = 2\n");
	write_file(f, "conf.d/.hidden.ini", "number = 99\n");
	write_file(f, "conf.d/30-c.ini~", "number = 99\n");
	const struct top *top = load_top(f, NULL);
	assert_int_equal(top->number, 3);
	assert_string_equal(top->text, "main");

	size_t pos = 0;
	const char *name;
	const void *set;
	static const char *const names[] = { "one", "two", "three" };
	for (size_t i = 0; i < 3; i++) {
		assert_true(cv_conf_section_next(f->conf, "passdb", &pos, &name));
		assert_string_equal(name, names[i]);
	}
	assert_false(cv_conf_section_next(f->conf, "passdb", &pos, &name));
	assert_int_equal(cv_conf_get_section(f->conf, &passdb_table, "one", f->arena, &set, NULL), 0);
	assert_string_equal(((const struct passdb *)set)->driver, "pam");
	assert_string_equal(((const struct passdb *)set)->args, "y");
	struct cv_err err = { 0 };
	assert_int_equal(cv_conf_get_section(f->conf, &passdb_table, "four", f->arena, &set, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
}

static void command_line_overrides_everything(void **state)
{
	struct fixture *f = *state;
	static const char *const overrides[] = { "number=5", "text = a;b#c", NULL };
	write_file(f, "culver.ini", "number = 1\n[protocol imap]\nnumber = 2\n");
	struct cv_conf_filter filter = { .protocol = "imap" };
	load(f, overrides);
	assert_int_equal(f->problem_count, 0);
	assert_int_equal(top_for(f, &filter)->number, 5);
	assert_string_equal(top_for(f, NULL)->text, "a;b#c");
}

static void bad_overrides_are_problems(void **state)
{
	struct fixture *f = *state;
	static const char *const overrides[] = { "numbr=5", "flag", "text='\";", NULL };
	write_file(f, "culver.ini", "");
	load(f, overrides);
	assert_int_equal(f->problem_count, 3);
	assert_non_null(find_problem(f, "(command line)", 0, "unknown setting \"numbr\"; did you mean \"number\"?"));
	assert_non_null(find_problem(f, "(command line)", 0, "\"flag\" is not of the form \"name=value\""));
	assert_non_null(find_problem(f, "(command line)", 0, "text: a settings file could not hold this value: use \"text=<file\""));
}

static void peek_reads_without_tables(void **state)
{
	struct fixture *f = *state;
	static const char *const overrides[] = { "other=9", NULL };
	write_file(f, "culver.ini", "module_dir = /a\nbad line\n[x y]\nmodule_dir = /c\n");
	write_file(f, "conf.d/a.ini", "module_dir = /b\n");
	assert_string_equal(cv_conf_peek(path_of(f, "culver.ini"), NULL, "module_dir", f->arena), "/b");
	assert_string_equal(cv_conf_peek(path_of(f, "culver.ini"), overrides, "other", f->arena), "9");
	assert_null(cv_conf_peek(path_of(f, "culver.ini"), NULL, "other", f->arena));
	assert_null(cv_conf_peek("/nonexistent/x.ini", NULL, "other", f->arena));
}

/* ---- What the INI reader would do silently --------------------------------------------------------------------- */

static void lines_the_reader_would_misread_are_problems(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *problem;
	} rows[] = {
		{ "text = a;b\n", 1,
			"text: the INI reader would cut the value at \";\": write the value in \"quotes\", or put the comment on a line of its own" },
		{ "text = pass#word\n", 1,
			"text: the INI reader would cut the value at \"#\": write the value in \"quotes\", or put the comment on a line of its own" },
		{ "text = # comment\n", 1,
			"text: the INI reader would cut the value at \"#\": write the value in \"quotes\", or put the comment on a line of its own" },
		{ "number = 1\nflag = yes\nnumber = 2\n", 3, "number is set already, in line 1: only one of them can count" },
		{ "number = 1\nNumber = 2\n", 2, "number is set already, in line 1: only one of them can count" },
		{ "[passdb a]\ndriver = x\n[passdb b]\ndriver = x\n[passdb a]\nargs = y\n", 5,
			"section [passdb a] is there already, in line 1: put its settings there" },
		{ "[passdb a]\ndriver = x\n[passdb A]\ndriver = x\n", 3,
			"section [passdb A] differs from the one in line 1 only in capitals or spaces, which the INI reader cannot tell apart" },
		{ "[passdb a]\ndriver = x\n[passdb \"a\"]\ndriver = x\n", 3,
			"section [passdb \"a\"] is there already, in line 1: put its settings there" },
		{ "text = \"open\n", 1, "text: the closing \" is missing" },
		{ "text = 'open\n", 1, "text: the closing ' is missing" },
		{ "text = \"a \\\" b\"\n", 1,
			"text: text after the closing \"; there are no escapes: a value that holds \" goes into 'single quotes'" },
		{ "text = 'a' b\n", 1, "text: text after the closing '; there are no escapes: a value that holds ' goes into \"double quotes\"" },
		{ "flag yes\n", 1, "neither \"name = value\" nor \"[section]\" nor a comment" },
		{ "x", 1, "neither \"name = value\" nor \"[section]\" nor a comment" },
		{ "= yes\n", 1, "there is no name before the \"=\"" },
		{ "my flag = yes\n", 1, "\"my flag\" is no name: letters, digits, \"_\", \"-\" and \".\" only" },
		{ "imap:flag = yes\n", 1, "\"imap:flag\" is no name: letters, digits, \"_\", \"-\" and \".\" only" },
		{ "[passdb a\ndriver = x\n", 1, "the section's \"]\" is missing" },
		{ "[passdb a] # the first\n", 1, "text after the section's \"]\": put comments on lines of their own" },
		{ "[]\n", 1, "the section has no name" },
		{ "[ ]\n", 1, "the section has no name" },
		{ "# a comment \\\nflag = yes\n", 1, "a comment must not end in \"\\\": the INI reader would take the next line for a part of it" },
		{ "flag = yes\ntext = a \\", 2, "the last line ends in \"\\\", but nothing follows" },
		{ "text = a\x01" "b\n", 1, "control character 0x01" },
		{ "text = \xff\n", 1, "the text is not UTF-8" },
		{ "\xef\xbb\xbf" "flag = yes\n", 1, "the file starts with a byte order mark: save it as UTF-8 without one" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		write_file(f, "culver.ini", rows[i].text);
		load(f, NULL);
		if (find_problem(f, path_of(f, "culver.ini"), rows[i].line, rows[i].problem) == NULL)
			print_problems(f);
		assert_non_null(find_problem(f, path_of(f, "culver.ini"), rows[i].line, rows[i].problem));
	}
}

static void longest_line_is_read_and_one_more_octet_is_a_problem(void **state)
{
	struct fixture *f = *state;
	char line[1200];
	memset(line, 'x', sizeof(line));
	memcpy(line, "text=", 5);
	line[1022] = '\n';
	line[1023] = '\0';
	write_file(f, "culver.ini", line);
	assert_int_equal(strlen(load_top(f, NULL)->text), 1017);
	line[1022] = 'x';
	line[1023] = '\n';
	line[1024] = '\0';
	write_file(f, "culver.ini", line);
	assert_problem(f, 1, "the line is longer than 1022 octets, which is all the INI reader takes: put the value into a file and write \"<file\"");
	line[1022] = '\0';
	write_file(f, "culver.ini", line);
	assert_int_equal(strlen(load_top(f, NULL)->text), 1017);
}

static void values_are_what_stands_there(void **state)
{
	static const struct {
		const char *text, *value;
	} rows[] = {
		{ "text = \"a;b#c\"\n", "a;b#c" },
		{ "text = 'say \"x\";'\n", "say \"x\";" },
		{ "text = \"quoted\" ; comment\n", "quoted" },
		{ "text = \"quoted\" # comment\n", "quoted" },
		{ "text = \"  spaces  \"\n", "  spaces  " },
		{ "text == x\n", "= x" },
		{ "text = a = b\n", "a = b" },
		{ "text = it's \"so\"\n", "it's \"so\"" },
		{ "text = [x]\n", "[x]" },
		{ "text = C:\\dir\\file\n", "C:\\dir\\file" },
		{ "  text\t=\tü €\r\n", "ü €" },
		{ "text = a\\\n b\n", "a b" },
		{ "text = a \\\nb\\\nc\n", "a bc" },
		{ "TEXT = x\n", "x" },
		{ "text = x", "x" },
		{ "text = 100%\n", "100%" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		write_file(f, "culver.ini", rows[i].text);
		assert_string_equal(load_top(f, NULL)->text, rows[i].value);
	}
}

/* ---- Names ----------------------------------------------------------------------------------------------------- */

static void unknown_names_come_with_the_nearest_known(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *problem;
	} rows[] = {
		{ "nunber = 1\n", 1, "unknown setting \"nunber\"; did you mean \"number\"?" },
		{ "qqqqqqqq = 1\n", 1, "unknown setting \"qqqqqqqq\"" },
		{ "driver = pam\n", 1, "driver belongs into a section \"[passdb NAME]\"" },
		{ "[passdb a]\ndriver = x\nnumber = 1\n", 3,
			"number does not belong into [passdb a]: put it at the top, before any section" },
		{ "[passdb a]\ndriver = x\nagrs = 1\n", 3, "unknown setting \"agrs\" in [passdb a]; did you mean \"args\"?" },
		{ "[protocol imap]\nnumbre = 1\n", 2, "unknown setting \"numbre\" in [protocol imap]; did you mean \"number\"?" },
		{ "[pasdb a]\n", 1, "unknown section [pasdb a]; did you mean \"[passdb NAME]\"?" },
		{ "[whatever]\n", 1, "unknown section [whatever]" },
		{ "[passdb]\n", 1, "section [passdb] needs a name: \"[passdb NAME]\"" },
		{ "[protocol iamp]\n", 1, "[protocol iamp]: no such protocol in \"protocols\"; did you mean \"imap\"?" },
		{ "[remote example.com]\n", 1, "[remote example.com]: an address or a network such as 192.0.2.0/24 must follow \"remote\"" },
		{ "[remote 10.0.0.0/33]\n", 1, "[remote 10.0.0.0/33]: an address or a network such as 192.0.2.0/24 must follow \"remote\"" },
		{ "[local a..b]\n", 1,
			"[local a..b]: an address, a network such as 192.0.2.0/24 or a host name must follow \"local\"" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		write_file(f, "culver.ini", rows[i].text);
		assert_problem(f, rows[i].line, rows[i].problem);
	}
}

static void all_problems_come_at_once(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "nunber = 1\nflag = perhaps\nbroken\n[passdb a]\nargs = a;b\n");
	write_file(f, "conf.d/10.ini", "flag = nope\n");
	load(f, NULL);
	const char *file = path_of(f, "culver.ini");
	assert_non_null(find_problem(f, file, 1, "unknown setting \"nunber\"; did you mean \"number\"?"));
	assert_non_null(find_problem(f, file, 2, "flag = perhaps: must be yes or no"));
	assert_non_null(find_problem(f, file, 3, "neither \"name = value\" nor \"[section]\" nor a comment"));
	assert_non_null(find_problem(f, file, 4, "[passdb a] driver must be set"));
	assert_non_null(find_problem(f, file, 5,
		"args: the INI reader would cut the value at \";\": write the value in \"quotes\", or put the comment on a line of its own"));
	assert_non_null(find_problem(f, path_of(f, "conf.d/10.ini"), 1, "flag = nope: must be yes or no"));
	assert_int_equal(f->problem_count, 6);
}

static void problems_are_bounded_in_number(void **state)
{
	struct fixture *f = *state;
	char text[4000] = "";
	for (size_t i = 0; i < 300; i++)
		memcpy(text + i * 8, "broken \n", 8);
	write_file(f, "culver.ini", text);
	load(f, NULL);
	assert_int_equal(f->problem_count, 201);
	assert_non_null(find_problem(f, path_of(f, "culver.ini"), 0, "and 100 more problems"));
}

static void a_tables_check_points_at_the_line(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "flag = yes\nnumber = 13\n");
	assert_problem(f, 2, "number must not be 13");
}

static void a_check_sees_sections_too_and_tells_once(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "flag = yes\n[protocol imap]\nnumber = 13\n[local 10.0.0.1]\nflag = no\n");
	assert_problem(f, 3, "[protocol imap] number must not be 13");
}

static void section_names_keep_capitals_and_spaces(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "[passdb Sent Items]\ndriver = a\n[passdb \"In Quotes\"]\ndriver = b\n[PassDB Entwürfe]\nDriver = c\n");
	load(f, NULL);
	assert_int_equal(f->problem_count, 0);
	const void *set;
	assert_int_equal(cv_conf_get_section(f->conf, &passdb_table, "Sent Items", f->arena, &set, NULL), 0);
	assert_string_equal(((const struct passdb *)set)->driver, "a");
	assert_int_equal(cv_conf_get_section(f->conf, &passdb_table, "In Quotes", f->arena, &set, NULL), 0);
	assert_int_equal(cv_conf_get_section(f->conf, &passdb_table, "Entwürfe", f->arena, &set, NULL), 0);
}

static void extra_keys_are_kept_where_the_table_says_so(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "[userdb static]\nzeta = 1\ndriver = static\nalpha = two words\n");
	load(f, NULL);
	assert_int_equal(f->problem_count, 0);
	size_t pos = 0;
	const char *key, *value;
	assert_true(cv_conf_section_extra(f->conf, "userdb", "static", &pos, &key, &value));
	assert_string_equal(key, "zeta");
	assert_true(cv_conf_section_extra(f->conf, "userdb", "static", &pos, &key, &value));
	assert_string_equal(key, "alpha");
	assert_string_equal(value, "two words");
	assert_false(cv_conf_section_extra(f->conf, "userdb", "static", &pos, &key, &value));
	pos = 0;
	assert_false(cv_conf_section_extra(f->conf, "userdb", "none", &pos, &key, &value));
}

/* ---- Filters --------------------------------------------------------------------------------------------------- */

static const struct top *shared_top(const struct fixture *f, const struct cv_conf_filter *filter)
{
	struct cv_err err = { 0 };
	const void *set;

	assert_int_equal(cv_conf_get_shared(f->conf, &top_table, filter, f->arena, &set, &err), 0);
	return set;
}

static void the_most_specific_section_counts(void **state)
{
	static const struct {
		struct cv_conf_filter filter;
		const char *text;
	} rows[] = {
		{ { 0 }, "top" },
		{ { .protocol = "pop3" }, "top" },
		{ { .protocol = "imap" }, "imap" },
		{ { .protocol = "imap", .remote_addr = "10.9.9.9" }, "ten" },
		{ { .protocol = "imap", .remote_addr = "::ffff:10.9.9.9" }, "ten" },
		{ { .remote_addr = "10.1.2.3" }, "ten-one" },
		{ { .remote_addr = "11.1.2.3" }, "top" },
		{ { .remote_addr = "2001:db8::77" }, "six" },
		{ { .remote_addr = "2001:db9::77" }, "top" },
		{ { .remote_addr = "10.1.2.3", .local_addr = "192.0.2.1" }, "addr" },
		{ { .local_addr = "192.0.2.2" }, "net" },
		{ { .local_addr = "192.0.2.1", .local_name = CV_STR_INIT("MAIL.example.com") }, "name" },
		{ { .local_name = CV_STR_INIT("mail.example.com.") }, "name" },
		{ { .local_name = CV_STR_INIT("other.example.com") }, "wild" },
		{ { .local_name = CV_STR_INIT("a.b.example.com") }, "top" },
		{ { .local_name = CV_STR_INIT(".example.com") }, "top" },
		{ { .local_name = CV_STR_INIT("example.com") }, "top" },
	};
	struct fixture *f = *state;
	write_file(f, "culver.ini",
		"text = top\nnumber = 9\n"
		"[local Mail.Example.com]\ntext = name\n"
		"[local *.example.com]\ntext = wild\n"
		"[local 192.0.2.1]\ntext = addr\n"
		"[local 192.0.2.0/24]\ntext = net\n"
		"[remote 10.1.0.0/16]\ntext = ten-one\n"
		"[remote 10.0.0.0/8]\ntext = ten\n"
		"[remote 2001:db8::/32]\ntext = six\n"
		"[protocol IMAP]\ntext = imap\n");
	load(f, NULL);
	assert_int_equal(f->problem_count, 0);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_string_equal(top_for(f, &rows[i].filter)->text, rows[i].text);
		assert_int_equal(top_for(f, &rows[i].filter)->number, 9);
	}
	/* The same of those that are shared, of each text one. */
	const struct top *shared[CV_COUNT_OF(rows)];
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		shared[i] = shared_top(f, &rows[i].filter);
		assert_ptr_equal(shared_top(f, &rows[i].filter), shared[i]);
		assert_int_equal(shared[i]->number, 9);
		assert_string_equal(shared[i]->text, rows[i].text);
	}
	assert_ptr_equal(shared[0], shared[1]);
	assert_ptr_equal(shared[3], shared[4]);
}

static void what_is_shared_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct cv_buf text;
	const struct top *first = NULL;

	cv_buf_init(&text, 65536);
	for (int i = 0; i < 9; i++)
		cv_buf_printf(&text, "[local 10.%d.0.0/16]\nnumber = %d\n[remote 10.%d.0.0/16]\nflag = yes\n[local n%d.example.com]\ntext = n\n", i, i + 20, i, i);
	write_file(f, "culver.ini", text.data);
	load(f, NULL);
	assert_int_equal(f->problem_count, 0);
	for (int i = 0; i < 9 * 9 * 9; i++) {
		struct cv_conf_filter filter = { .local_name = cv_str_c(cv_arena_printf(f->arena, "n%d.example.com", i % 9)),
			.local_addr = cv_arena_printf(f->arena, "10.%d.0.1", i / 9 % 9), .remote_addr = cv_arena_printf(f->arena, "10.%d.0.1", i / 81) };
		const struct top *top = shared_top(f, &filter);

		assert_int_equal(top->number, i / 9 % 9 + 20);
		first = i == 0 ? top : first;
	}
	const struct cv_conf_filter of_first = { .local_name = CV_STR_INIT("n0.example.com"), .local_addr = "10.0.0.1", .remote_addr = "10.0.0.1" },
		last = { .local_name = CV_STR_INIT("n8.example.com"), .local_addr = "10.8.0.1", .remote_addr = "10.8.0.1" };
	assert_ptr_equal(shared_top(f, &of_first), first);
	/* Beyond what is kept each gets its own. */
	assert_ptr_not_equal(shared_top(f, &last), shared_top(f, &last));
	cv_buf_deinit(&text);
}

/* ---- Flat form ------------------------------------------------------------------------------------------------- */

static void flat_form_comes_back_the_same(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "text = <long.txt\nkey = s3cret\n[protocol imap]\nnumber = 3\n[passdb a]\ndriver = x\n[userdb b]\nfree = y\n");
	write_file(f, "long.txt", "content");
	load(f, NULL);
	assert_int_equal(f->problem_count, 0);
	struct cv_buf flat, again;
	cv_buf_init(&flat, 1 << 20);
	cv_buf_init(&again, 1 << 20);
	cv_conf_serialize(f->conf, false, &flat);
	assert_true(cv_buf_ok(&flat));
	struct cv_conf *other;
	assert_int_equal(cv_conf_deserialize(cv_buf_str(&flat), f->arena, &other, NULL), 0);
	cv_conf_serialize(other, false, &again);
	assert_true(cv_str_eq(cv_buf_str(&flat), cv_buf_str(&again)));
	f->conf = other;
	struct cv_conf_filter imap = { .protocol = "imap" };
	assert_int_equal(top_for(f, &imap)->number, 3);
	assert_string_equal(top_for(f, NULL)->text, "content");
	assert_string_equal(top_for(f, NULL)->key, "s3cret");

	/* Every shorter form and every form with an octet more is refused. */
	struct cv_err err = { 0 };
	for (size_t len = 0; len < flat.len; len++)
		assert_int_equal(cv_conf_deserialize(cv_str_mem(flat.data, len), f->arena, &other, &err), -1);
	cv_buf_append_char(&flat, 'x');
	assert_int_equal(cv_conf_deserialize(cv_buf_str(&flat), f->arena, &other, &err), -1);
	cv_buf_deinit(&flat);
	cv_buf_deinit(&again);
}

static void stripped_form_has_no_secrets(void **state)
{
	struct fixture *f = *state;
	write_file(f, "culver.ini", "text = plain\nkey = s3cret\ncert = cert.pem\n[passdb a]\ndriver = x\npass = h1dden\n[userdb b]\nfree = extr4\n");
	write_file(f, "cert.pem", "PRIV4TE");
	load(f, NULL);
	assert_int_equal(f->problem_count, 0);
	struct cv_buf flat;
	cv_buf_init(&flat, 1 << 20);
	cv_conf_serialize(f->conf, true, &flat);
	static const char *const secrets[] = { "s3cret", "PRIV4TE", "h1dden", "extr4" };
	for (size_t i = 0; i < CV_COUNT_OF(secrets); i++)
		assert_int_equal(cv_str_find_str(cv_buf_str(&flat), cv_str_c(secrets[i])), SIZE_MAX);
	struct cv_conf *other;
	assert_int_equal(cv_conf_deserialize(cv_buf_str(&flat), f->arena, &other, NULL), 0);
	cv_buf_clear(&flat);

	/* Only those of one table. */
	static const struct cv_settings_table *const only[] = { &passdb_table };
	cv_conf_serialize_without(f->conf, only, 1, &flat);
	assert_int_equal(cv_str_find_str(cv_buf_str(&flat), CV_STR("h1dden")), SIZE_MAX);
	for (size_t i = 0; i < 2; i++)
		assert_int_not_equal(cv_str_find_str(cv_buf_str(&flat), cv_str_c(secrets[i])), SIZE_MAX);
	cv_buf_deinit(&flat);

	f->conf = other;
	assert_null(top_for(f, NULL)->key);
	assert_null(top_for(f, NULL)->cert);
	assert_string_equal(top_for(f, NULL)->text, "plain");
}

static void words_that_are_far_have_no_nearest(void **state)
{
	(void)state;
	static const char *const words[] = { "ssl_min_protocol", "protocols", "listen", NULL };
	assert_string_equal(cv_nearest("protocls", words), "protocols");
	assert_string_equal(cv_nearest("ssl-min-protocol", words), "ssl_min_protocol");
	assert_string_equal(cv_nearest("ssl_min", words), "ssl_min_protocol");
	assert_string_equal(cv_nearest("lisetn", words), "listen");
	assert_null(cv_nearest("mail_location", words));
	assert_null(cv_nearest("", words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_type_is_read),
		T(defaults_hold_where_nothing_is_set),
		T(empty_text_is_null_only_where_the_default_is),
		T(units_of_size_and_time),
		T(bad_values_are_told_with_what_is_allowed),
		T(secret_values_are_not_in_problems),
		T(file_values_are_read_relative_to_the_file_that_names_them),
		T(quoted_less_than_is_text),
		T(file_that_everyone_may_write_is_refused),
		T(unreadable_values_can_be_passed_over),
		T(missing_file_is_a_problem),
		T(later_files_override_in_lexical_order),
		T(command_line_overrides_everything),
		T(bad_overrides_are_problems),
		T(peek_reads_without_tables),
		T(lines_the_reader_would_misread_are_problems),
		T(longest_line_is_read_and_one_more_octet_is_a_problem),
		T(values_are_what_stands_there),
		T(unknown_names_come_with_the_nearest_known),
		T(all_problems_come_at_once),
		T(problems_are_bounded_in_number),
		T(a_tables_check_points_at_the_line),
		T(a_check_sees_sections_too_and_tells_once),
		T(section_names_keep_capitals_and_spaces),
		T(extra_keys_are_kept_where_the_table_says_so),
		T(the_most_specific_section_counts),
		T(what_is_shared_is_bounded),
		T(flat_form_comes_back_the_same),
		T(stripped_form_has_no_secrets),
		T(words_that_are_far_have_no_nearest),
	};
	return cv_test_run(tests);
}
