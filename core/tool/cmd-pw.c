/* SPDX-License-Identifier: MIT
   culver pw: the stored form of a password, through the scheme modules. */
#include "core/tool/tool.h"

#include <culver/auth.h>

#include <unistd.h>

/* The strongest that is there. */
static const char *const preferred[] = { "ARGON2ID", "BLF-CRYPT", "SHA512-CRYPT", "SSHA512" };

static const struct cv_pass_scheme *find_scheme(struct tool *tool, const char *name)
{
	const struct cv_pass_scheme *scheme;
	for (size_t pos = 0; (scheme = cv_provider_next(tool->reg, CV_CAP_PASS_SCHEME, &pos, NULL)) != NULL;)
		if (cv_str_caseeq(cv_str_c(name), cv_str_c(scheme->name)))
			return scheme;
	return NULL;
}

static int no_scheme(struct tool *tool, const char *name)
{
	const char *names[64];
	const struct cv_pass_scheme *scheme;
	size_t count = 0;
	struct cv_err err = { 0 };
	for (size_t pos = 0; (scheme = cv_provider_next(tool->reg, CV_CAP_PASS_SCHEME, &pos, NULL)) != NULL && count < 63;)
		names[count++] = scheme->name;
	names[count] = NULL;
	const char *near = cv_nearest(name, names);
	(void)cv_err_set(&err, CV_ERR_NOTFOUND, "there is no password scheme %s%s%s%s; culver pw --list shows all", name,
		near != NULL ? "; did you mean " : "", near != NULL ? near : "", near != NULL ? "?" : "");
	return tool_fail(tool, &err);
}

static int list(struct tool *tool)
{
	static const struct cv_admin_column columns[] = {
		{ "scheme", "Scheme", CV_ADMIN_COL_TEXT }, { "generates", "Can make", CV_ADMIN_COL_BOOL }, { "plain", "Stored in the clear", CV_ADMIN_COL_BOOL },
		{ .key = NULL },
	};
	const struct cv_pass_scheme *scheme;
	struct output out;
	output_init(&out, tool);
	output_columns(&out, columns, false);
	for (size_t pos = 0; (scheme = cv_provider_next(tool->reg, CV_CAP_PASS_SCHEME, &pos, NULL)) != NULL;) {
		json_t *row = json_object();
		(void)json_object_set_new(row, "scheme", json_text(scheme->name));
		(void)json_object_set_new(row, "generates", json_boolean(scheme->generate != NULL));
		(void)json_object_set_new(row, "plain", json_boolean((scheme->opts & CV_SCHEME_PLAINTEXT_STORED) != 0));
		output_row(&out, row);
	}
	output_finish(&out, NULL);
	output_deinit(&out);
	return 0;
}

static int test(struct tool *tool, const char *stored, const char *password, const char *user)
{
	struct cv_str scheme_name, data, rest;
	struct cv_err err = { 0 };
	struct cv_str text = cv_str_c(stored);

	if (text.len == 0 || text.ptr[0] != '{' || !cv_str_split(cv_str_sub(text, 1, SIZE_MAX), '}', &scheme_name, &data)) {
		(void)cv_err_set(&err, CV_ERR_INVALID, "the stored form must begin with {SCHEME}");
		return tool_fail(tool, &err);
	}
	/* "{SHA512-CRYPT.HEX}" names an encoding beside the scheme. */
	(void)cv_str_split(scheme_name, '.', &scheme_name, &rest);
	const char *name = cv_arena_str(tool->arena, scheme_name).ptr;
	if (find_scheme(tool, name) == NULL)
		return no_scheme(tool, name);
	int ret = cv_password_verify(tool->reg, cv_str_c(password), cv_str_c(user), text, "PLAIN", &err);
	if (ret < 0)
		return tool_fail(tool, &err);
	if (tool->json) {
		json_t *row = json_object();
		(void)json_object_set_new(row, "matches", json_boolean(ret == 1));
		output_json(row);
	} else {
		(void)puts(ret == 1 ? "matches" : "does not match");
	}
	return ret == 1 ? 0 : cv_admin_exit_status(CV_ERR_AUTH);
}

static const char *get_password(struct tool *tool, bool twice)
{
	const char *password = tool_arg(tool, "password");
	if (password != NULL)
		return password;
	password = tool_ask_secret(tool, "Password");
	if (password == NULL || !twice || isatty(STDIN_FILENO) != 1)
		return password;
	const char *again = tool_ask_secret(tool, "Again");
	if (again == NULL || strcmp(password, again) != 0) {
		tool_complain("the two are not the same");
		return NULL;
	}
	return password;
}

static int run_pw(struct tool *tool)
{
	struct cv_err err = { 0 };
	struct cv_buf stored;
	uint64_t rounds = 0;
	const char *name = tool_arg(tool, "scheme"), *user = tool_arg(tool, "user"), *rounds_text = tool_arg(tool, "rounds");
	const struct cv_pass_scheme *scheme = NULL;
	struct cv_str scheme_name, encoding;

	tool_modules(tool);
	if (tool_flag(tool, "list"))
		return list(tool);
	if (user == NULL)
		user = "";
	if (tool_flag(tool, "test")) {
		const char *password = get_password(tool, false);
		return password == NULL ? EXIT_USAGE : test(tool, tool_arg(tool, "test"), password, user);
	}
	for (size_t i = 0; name == NULL && i < CV_COUNT_OF(preferred) && scheme == NULL; i++)
		scheme = find_scheme(tool, preferred[i]);
	if (name == NULL)
		name = scheme != NULL ? scheme->name : preferred[0];
	/* "SSHA256.HEX" asks for an encoding beside the scheme. */
	(void)cv_str_split(cv_str_c(name), '.', &scheme_name, &encoding);
	scheme = find_scheme(tool, cv_arena_str(tool->arena, scheme_name).ptr);
	if (scheme == NULL)
		return no_scheme(tool, name);
	if (scheme->generate == NULL) {
		(void)cv_err_set(&err, CV_ERR_UNSUPPORTED, "%s is for passwords that exist: new ones are not made with it", scheme->name);
		return tool_fail(tool, &err);
	}
	if (rounds_text != NULL && !cv_str_to_u64(cv_str_c(rounds_text), UINT32_MAX, &rounds)) {
		(void)cv_err_set(&err, CV_ERR_INVALID, "so many rounds cannot be");
		return tool_fail(tool, &err);
	}
	const char *password = get_password(tool, true);
	if (password == NULL)
		return EXIT_USAGE;
	cv_buf_init_wipe(&stored, 8192);
	int ret = cv_password_generate(tool->reg, name, cv_str_c(password), cv_str_c(user), (unsigned)rounds, &stored, &err);
	if (ret < 0) {
		cv_buf_deinit(&stored);
		return tool_fail(tool, &err);
	}
	const char *text = cv_arena_str(tool->arena, cv_buf_str(&stored)).ptr;
	cv_buf_deinit(&stored);
	if (tool->json) {
		json_t *row = json_object();
		(void)json_object_set_new(row, "scheme", json_text(scheme->name));
		(void)json_object_set_new(row, "stored", json_text(text));
		output_json(row);
	} else {
		(void)puts(text);
	}
	return 0;
}

static const struct cv_admin_param pw_params[] = {
	{ .name = "scheme", .letter = 's', .kind = CV_ADMIN_TEXT, .meta = "SCHEME", .help = "how to store it; the strongest that is there when not given" },
	{ .name = "password", .letter = 'p', .kind = CV_ADMIN_SECRET, .meta = "PASSWORD",
		.help = "the password; asked for when it is not given (other users can see a command line)" },
	{ .name = "user", .letter = 'u', .kind = CV_ADMIN_TEXT, .meta = "USER", .help = "user name, which some schemes mix in" },
	{ .name = "rounds", .letter = 'r', .kind = CV_ADMIN_NUMBER, .meta = "N", .help = "work factor of the scheme" },
	{ .name = "test", .letter = 't', .kind = CV_ADMIN_TEXT, .meta = "STORED", .help = "does the password match this stored form? exit status 77 when not" },
	{ .name = "list", .letter = 'l', .kind = CV_ADMIN_FLAG, .help = "show the schemes" },
	{ .name = NULL },
};
static const struct cv_admin_spec pw_spec = {
	.name = "pw",
	.role = CV_ROLE_TOOL,
	.params = pw_params,
	.summary = "make the stored form of a password, or test one",
	.help = "Prints {SCHEME}data, to be put into a password file or a database. From a script, give the password on standard input.",
};
const struct local_command tool_pw = { .spec = &pw_spec, .run = run_pw };
