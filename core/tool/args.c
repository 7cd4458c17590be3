/* SPDX-License-Identifier: MIT
   The culver command: finding the command and reading its parameters as its specification says. */
#include "core/tool/tool.h"

#include <culver/reader.h>

const struct local_command *const tool_local_commands[] = {
	&tool_conf, &tool_conf_check, &tool_conf_explain, &tool_conf_manual, &tool_manual, &tool_pw, &tool_modules_command, NULL,
};

static int by_name(const void *a, const void *b)
{
	const struct cv_admin_spec *const *sa = a, *const *sb = b;
	return strcmp((*sa)->name, (*sb)->name);
}

static bool known(const struct cv_admin_spec *const *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i]->name, name) == 0)
			return true;
	return false;
}

const struct cv_admin_spec *const *tool_specs(struct tool *tool)
{
	CV_VEC(const struct cv_admin_spec *) list = { 0 };
	const struct cv_admin_command *command;
	size_t pos = 0;

	for (size_t i = 0; tool_local_commands[i] != NULL; i++)
		*cv_vec_push(&list) = tool_local_commands[i]->spec;
	for (size_t i = 0; cv_admin_core_specs[i] != NULL; i++)
		*cv_vec_push(&list) = cv_admin_core_specs[i];
	while (tool->reg != NULL && (command = cv_provider_next(tool->reg, CV_CAP_ADMIN, &pos, NULL)) != NULL)
		if (!known(list.data, list.count, command->spec->name))
			*cv_vec_push(&list) = command->spec;
	cv_assert(list.count > 0);
	const struct cv_admin_spec **specs = cv_new(tool->arena, const struct cv_admin_spec *, list.count + 1);
	memcpy(specs, list.data, list.count * sizeof(*specs));
	qsort(specs, list.count, sizeof(*specs), by_name);
	cv_vec_free(&list);
	return specs;
}

static int usage_error(const struct tool *tool, const char *fmt, ...) CV_PRINTF(2, 3);
static int usage_error(const struct tool *tool, const char *fmt, ...)
{
	struct cv_buf text;
	va_list ap;
	cv_buf_init(&text, 4096);
	va_start(ap, fmt);
	cv_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	tool_complain("%s", cv_buf_ok(&text) && text.len > 0 ? text.data : "wrong arguments");
	cv_buf_deinit(&text);
	if (tool->spec != NULL) {
		(void)fputs("usage: ", stderr);
		tool_usage(tool->spec, stderr);
		(void)fprintf(stderr, "Try: culver %s --help\n", tool->spec->name);
	} else {
		(void)fputs("Try: culver --help\n", stderr);
	}
	return EXIT_USAGE;
}

/* ---- The command's name --------------------------------------------------------------------------------------- */

static const struct cv_admin_spec *find_spec(const struct cv_admin_spec *const *specs, const char *name)
{
	for (size_t i = 0; specs[i] != NULL; i++)
		if (strcmp(specs[i]->name, name) == 0)
			return specs[i];
	return NULL;
}

/* Words of argv from first on that name the command: the longest match. 0: none. */
static size_t match_command(struct tool *tool, const struct cv_admin_spec *const *specs, char *const *words, size_t count)
{
	const char *name = "";
	size_t matched = 0;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): argv holds count strings. */
	for (size_t i = 0; i < count && i < 3 && words[i][0] != '-'; i++) {
		name = i == 0 ? words[0] : cv_arena_printf(tool->arena, "%s %s", name, words[i]);
		const struct cv_admin_spec *spec = find_spec(specs, name);
		if (spec == NULL)
			continue;
		tool->spec = spec;
		matched = i + 1;
	}
	return matched;
}

static int unknown_command(const struct tool *tool, const struct cv_admin_spec *const *specs, const char *word)
{
	const char *names[256];
	size_t count = 0;
	struct cv_str prefix = cv_str_c(word);

	/* "culver mailbox": show what there is. */
	for (size_t i = 0; specs[i] != NULL; i++) {
		struct cv_str name = cv_str_c(specs[i]->name);
		if (cv_str_starts(name, prefix) && name.len > prefix.len && name.ptr[prefix.len] == ' ') {
			if (count++ == 0)
				tool_complain("%s what?", word);
			(void)fprintf(stderr, "  culver %-18s %s\n", specs[i]->name, specs[i]->summary);
		}
	}
	if (count > 0)
		return EXIT_USAGE;
	for (size_t i = 0; specs[i] != NULL && count + 1 < CV_COUNT_OF(names); i++)
		names[count++] = specs[i]->name;
	names[count] = NULL;
	const char *near = cv_nearest(word, names);
	if (near != NULL)
		return usage_error(tool, "there is no command \"%s\"; did you mean \"%s\"?", word, near);
	return usage_error(tool, "there is no command \"%s\"", word);
}

/* ---- Options ------------------------------------------------------------------------------------------------- */

/* Those of every command. letter 0: none. */
enum common { COMMON_CONF, COMMON_SET, COMMON_JSON, COMMON_TIMEOUT, COMMON_VERBOSE, COMMON_HELP, COMMON_VERSION, COMMON_USER, COMMON_ALL,
	COMMON_ALL_SHORT };

static const struct {
	const char *name;
	char letter;
	bool value;
} commons[] = {
	[COMMON_CONF] = { "config", 'c', true },
	[COMMON_SET] = { "option", 'o', true },
	[COMMON_JSON] = { "json", 0, false },
	[COMMON_TIMEOUT] = { "timeout", 0, true },
	[COMMON_VERBOSE] = { "verbose", 'v', false },
	[COMMON_HELP] = { "help", 'h', false },
	[COMMON_VERSION] = { "version", 0, false },
	[COMMON_USER] = { "user", 'u', true },
	[COMMON_ALL] = { "all-users", 'A', false },
	[COMMON_ALL_SHORT] = { "all", 0, false },
};

struct cursor {
	struct tool *tool;
	char *const *argv;
	size_t count, pos;
	bool help, version;
};

static bool common_applies(const struct tool *tool, enum common which)
{
	if (which == COMMON_ALL_SHORT)
		return tool->spec != NULL && (tool->spec->opts & CV_ADMIN_USERS) != 0;
	return (which != COMMON_USER && which != COMMON_ALL) || (tool->spec != NULL && tool->spec->role == CV_ROLE_WORKER);
}

static int take_common(struct cursor *c, enum common which, const char *value)
{
	struct tool *tool = c->tool;
	uint64_t seconds;
	switch (which) {
	case COMMON_CONF:
		tool->conf_path = value;
		break;
	case COMMON_SET:
		if (strchr(value, '=') == NULL)
			return usage_error(tool, "-o takes name=value, not \"%s\"", value);
		*cv_vec_push(&tool->overrides) = value;
		break;
	case COMMON_JSON:
		tool->json = true;
		break;
	case COMMON_TIMEOUT:
		if (!cv_str_to_u64(cv_str_c(value), 86400, &seconds) || seconds == 0)
			return usage_error(tool, "--timeout takes seconds, 1 to 86400");
		tool->timeout_ms = seconds * 1000;
		break;
	case COMMON_VERBOSE:
		tool->verbose = true;
		break;
	case COMMON_HELP:
		c->help = true;
		break;
	case COMMON_VERSION:
		c->version = true;
		break;
	case COMMON_USER:
		*cv_vec_push(&tool->users) = value;
		break;
	case COMMON_ALL:
	case COMMON_ALL_SHORT:
		tool->all_users = true;
		break;
	}
	return -1;
}

static int take_param(struct tool *tool, const struct cv_admin_param *param, const char *value)
{
	uint64_t n;
	if (param->kind == CV_ADMIN_NUMBER && !cv_str_to_u64(cv_str_c(value), UINT64_MAX, &n))
		return usage_error(tool, "%s%s takes a number, not \"%s\"", param->positional ? "" : "--", param->name, value);
	if ((param->opts & CV_ADMIN_REPEAT) == 0 && tool_flag(tool, param->name))
		return usage_error(tool, "%s%s is given twice", param->positional ? "" : "--", param->name);
	struct arg *arg = cv_vec_push(&tool->args);
	arg->param = param;
	arg->value = value;
	return -1;
}

static const struct cv_admin_param *find_param(const struct tool *tool, struct cv_str name, char letter)
{
	for (const struct cv_admin_param *p = tool->spec == NULL ? NULL : tool->spec->params; p != NULL && p->name != NULL; p++)
		if (!p->positional && (letter != '\0' ? p->letter == letter : cv_str_eq_c(name, p->name)))
			return p;
	return NULL;
}

/* The command's own come before those of every command. Secret positional ones may be given as options too, never the other way. */
static int take_option(struct cursor *c, struct cv_str name, char letter, const char *attached, bool *took_rest)
{
	struct tool *tool = c->tool;
	const struct cv_admin_param *param = find_param(tool, name, letter);
	size_t which = 0;

	while (which < CV_COUNT_OF(commons) && (!common_applies(tool, (enum common)which) ||
		!(letter != '\0' ? commons[which].letter == letter : cv_str_eq_c(name, commons[which].name))))
		which++;
	const char *shown = letter != '\0' ? cv_arena_printf(tool->arena, "-%c", letter) : cv_arena_printf(tool->arena, "--%.*s", CV_STR_ARG(name));
	if (param == NULL && which == CV_COUNT_OF(commons)) {
		const char *names[64];
		size_t count = 0;
		for (const struct cv_admin_param *p = tool->spec == NULL ? NULL : tool->spec->params; p != NULL && p->name != NULL && count < 40; p++)
			if (!p->positional)
				names[count++] = p->name;
		for (size_t i = 0; i < CV_COUNT_OF(commons); i++)
			if (common_applies(tool, (enum common)i))
				names[count++] = commons[i].name;
		names[count] = NULL;
		const char *near = letter != '\0' ? NULL : cv_nearest(cv_arena_str(tool->arena, name).ptr, names);
		return near == NULL ? usage_error(tool, "there is no option %s", shown) :
					usage_error(tool, "there is no option %s; did you mean --%s?", shown, near);
	}
	bool wants = param != NULL ? param->kind != CV_ADMIN_FLAG : commons[which].value;
	if (!wants) {
		if (letter == '\0' && attached != NULL)
			return usage_error(tool, "%s takes no value", shown);
		return param != NULL ? take_param(tool, param, "") : take_common(c, (enum common)which, "");
	}
	const char *value = attached;
	*took_rest = true;
	if (value == NULL) {
		if (c->pos == c->count)
			return usage_error(tool, "%s needs a value", shown);
		value = c->argv[c->pos++];
	}
	return param != NULL ? take_param(tool, param, value) : take_common(c, (enum common)which, value);
}

/* "--name", "--name=value", "-x", "-xvalue", "-xyz" */
static int take_dashed(struct cursor *c, const char *word)
{
	bool rest = false;
	if (word[1] == '-') {
		struct cv_str name, value;
		bool has = cv_str_split(cv_str_c(word + 2), '=', &name, &value);
		return take_option(c, name, '\0', has ? value.ptr : NULL, &rest);
	}
	for (const char *p = word + 1; *p != '\0' && !rest; p++) {
		int status = take_option(c, (struct cv_str){ 0 }, *p, p[1] != '\0' ? p + 1 : NULL, &rest);
		if (status >= 0)
			return status;
	}
	return -1;
}

static int take_positional(struct tool *tool, const char *word)
{
	if ((tool->spec->opts & CV_ADMIN_USERS) != 0) {
		*cv_vec_push(&tool->users) = word;
		return -1;
	}
	for (const struct cv_admin_param *p = tool->spec->params; p != NULL && p->name != NULL; p++)
		if (p->positional && ((p->opts & CV_ADMIN_REPEAT) != 0 || !tool_flag(tool, p->name)))
			return take_param(tool, p, word);
	return usage_error(tool, "\"%s\" is too much", word);
}

static int check_required(struct tool *tool)
{
	for (const struct cv_admin_param *p = tool->spec->params; p != NULL && p->name != NULL; p++) {
		if ((p->opts & CV_ADMIN_REQUIRED) == 0 || tool_flag(tool, p->name))
			continue;
		if (p->kind != CV_ADMIN_SECRET)
			return usage_error(tool, "%s is missing", p->meta != NULL ? p->meta : p->name);
		const char *secret = tool_ask_secret(tool, p->name);
		if (secret == NULL)
			return EXIT_USAGE;
		int status = take_param(tool, p, secret);
		if (status >= 0)
			return status;
	}
	if (tool->spec->role == CV_ROLE_WORKER && tool->users.count == 0 && !tool->all_users)
		return usage_error(tool, "say whose: -u USER, or -A for all users");
	return -1;
}

int tool_parse_args(struct tool *tool, int argc, char **argv)
{
	struct cursor c = { .tool = tool, .argv = argv, .count = (size_t)argc, .pos = 1 };
	bool dashes = true;
	int status = -1;

	/* Options before the command: where the settings are decides which modules there are, and so which commands. */
	while (status < 0 && c.pos < c.count && argv[c.pos][0] == '-' && argv[c.pos][1] != '\0') {
		const char *word = argv[c.pos++];
		status = take_dashed(&c, word);
	}
	/* They may stand behind it just as well. */
	for (size_t i = c.pos; i + 1 < c.count && tool->conf_path == NULL; i++)
		if (strcmp(argv[i], "-c") == 0) /* NOLINT(clang-analyzer-core.NonNullParamChecker): argv holds count strings */
			tool->conf_path = argv[i + 1];
	if (tool->conf_path == NULL)
		tool->conf_path = CV_CONF_DIR "/culver.ini";
	if (status >= 0)
		return status;
	if (c.version) {
		(void)printf("culver %s\n", CV_VERSION);
		return 0;
	}
	if (c.pos == c.count) {
		tool_help(tool, c.help ? stdout : stderr);
		return c.help ? 0 : EXIT_USAGE;
	}
	const struct cv_admin_spec *const *specs = tool_specs(tool);
	size_t words = match_command(tool, specs, argv + c.pos, c.count - c.pos);
	if (words == 0) {
		tool_modules(tool);
		specs = tool_specs(tool);
		words = match_command(tool, specs, argv + c.pos, c.count - c.pos);
	}
	if (words == 0 && strcmp(argv[c.pos], "help") == 0) {
		tool_help(tool, stdout);
		return 0;
	}
	if (words == 0)
		return unknown_command(tool, specs, argv[c.pos]);
	c.pos += words;
	for (size_t i = 0; tool_local_commands[i] != NULL; i++)
		if (tool_local_commands[i]->spec == tool->spec)
			tool->local = tool_local_commands[i];
	while (status < 0 && c.pos < c.count) {
		const char *word = argv[c.pos++];
		if (dashes && strcmp(word, "--") == 0)
			dashes = false;
		else
			status = dashes && word[0] == '-' && word[1] != '\0' ? take_dashed(&c, word) : take_positional(tool, word);
	}
	if (c.help) {
		tool_help_command(tool->spec, stdout);
		return 0;
	}
	if (status >= 0)
		return status;
	*cv_vec_push(&tool->overrides) = NULL;
	return check_required(tool);
}
