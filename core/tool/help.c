/* SPDX-License-Identifier: MIT
   The culver command: help that is made from the commands' specifications. */
#include "core/tool/tool.h"

#define WIDTH 80

/* Words of text between margin and WIDTH, beginning at column. */
static void wrap(FILE *to, const char *text, size_t margin, size_t column)
{
	bool space = false; /* owed before the next word */
	while (*text != '\0') {
		size_t len = strcspn(text, " \n");
		if (column > margin && column + len + (space ? 1 : 0) > WIDTH) {
			(void)fprintf(to, "\n%*s", (int)margin, "");
			column = margin;
			space = false;
		}
		if (space)
			(void)fputc(' ', to);
		(void)fprintf(to, "%.*s", (int)len, text);
		column += len + (space ? 1 : 0);
		space = text[len] == ' ';
		if (text[len] == '\n') {
			(void)fprintf(to, "\n%*s", (int)margin, "");
			column = margin;
		}
		text += len + (text[len] != '\0' ? 1 : 0);
	}
	(void)fputc('\n', to);
}

void tool_usage(const struct cv_admin_spec *spec, FILE *to)
{
	(void)fprintf(to, "culver %s", spec->name);
	if (spec->role == CV_ROLE_WORKER)
		(void)fputs(" {-u USER | -A}", to);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (const struct cv_admin_param *p = spec->params; p != NULL && p->name != NULL; p++) {
			if (p->positional != (pass == 1))
				continue;
			/* A secret is asked for. */
			bool must = (p->opts & CV_ADMIN_REQUIRED) != 0 && p->kind != CV_ADMIN_SECRET;
			(void)fputs(must ? " " : " [", to);
			if (!p->positional && p->letter != '\0')
				(void)fprintf(to, "-%c", p->letter);
			else if (!p->positional)
				(void)fprintf(to, "--%s", p->name);
			if (p->kind != CV_ADMIN_FLAG)
				(void)fprintf(to, "%s%s", p->positional ? "" : " ", p->meta != NULL ? p->meta : "VALUE");
			if ((p->opts & CV_ADMIN_REPEAT) != 0)
				(void)fputs(" ...", to);
			if (!must)
				(void)fputc(']', to);
		}
	}
	(void)fputc('\n', to);
}

static void entry(FILE *to, const char *head, const char *text)
{
	if (strlen(head) > 22)
		(void)fprintf(to, "  %s\n%25s", head, "");
	else
		(void)fprintf(to, "  %-22s ", head);
	wrap(to, text != NULL ? text : "", 25, 25);
}

static void common_options(FILE *to)
{
	entry(to, "-c, --config FILE", "settings file (" CV_CONF_DIR "/culver.ini)");
	entry(to, "-o, --option NAME=VALUE", "a setting that overrides the files; may be given several times");
	entry(to, "--json", "one JSON document on standard output instead of a table");
	entry(to, "--timeout SECONDS", "how long to wait for the server (300)");
	entry(to, "-h, --help", "help about the command");
	entry(to, "--version", "version of this program");
}

static void exit_statuses(FILE *to)
{
	static const char *const rows[][2] = {
		{ "0", "done" },
		{ "64", "wrong usage, or a command the server does not know" },
		{ "65", "a value is wrong" },
		{ "67", "no such user" },
		{ "68", "not found: mailbox, session, setting" },
		{ "69", "the server does not run, or a part of it is away" },
		{ "70", "an internal error; see the log" },
		{ "73", "exists already, or no space" },
		{ "74", "the output could not be written" },
		{ "75", "failed for now: try again later" },
		{ "77", "no rights, or wrong password" },
		{ "78", "the settings have a problem" },
	};
	(void)fputs("\nExit status:\n", to);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		(void)fprintf(to, "  %-4s%s\n", rows[i][0], rows[i][1]);
}

void tool_help_command(const struct cv_admin_spec *spec, FILE *to)
{
	(void)fprintf(to, "culver %s - %s\n\nUsage: ", spec->name, spec->summary);
	tool_usage(spec, to);
	if (spec->help != NULL) {
		(void)fputc('\n', to);
		wrap(to, spec->help, 0, 0);
	}
	(void)fputs("\nOptions:\n", to);
	if (spec->role == CV_ROLE_WORKER) {
		entry(to, "-u, --user USER", "whose mail; may be given several times");
		entry(to, "-A, --all-users", "every user that the user databases can list");
	}
	for (const struct cv_admin_param *p = spec->params; p != NULL && p->name != NULL; p++) {
		char head[80];
		const char *meta = p->kind == CV_ADMIN_FLAG ? "" : p->meta != NULL ? p->meta : "VALUE";
		const char *space = *meta != '\0' ? " " : "";
		int n;
		if (p->positional)
			n = snprintf(head, sizeof(head), "%s", meta);
		else if (p->letter != '\0')
			n = snprintf(head, sizeof(head), "-%c, --%s%s%s", p->letter, p->name, space, meta);
		else
			n = snprintf(head, sizeof(head), "--%s%s%s", p->name, space, meta);
		entry(to, n > 0 ? head : p->name, p->help);
	}
	common_options(to);
	if (spec->role != CV_ROLE_TOOL)
		(void)fputs("\nThis asks the running server: as root, or as the user who runs it.\n", to);
	(void)fputs("\nExit status: 0 when done; culver --help explains the others.\n", to);
}

void tool_help(struct tool *tool, FILE *to)
{
	const struct cv_admin_spec *const *specs;

	tool_modules(tool);
	specs = tool_specs(tool);
	(void)fputs("culver - look at and steer the Culver mail server\n\nUsage: culver [-c FILE] COMMAND [OPTION...]\n", to);
	for (unsigned pass = 0; pass < 2; pass++) {
		(void)fputs(pass == 0 ? "\nCommands that need no running server:\n" : "\nCommands that ask the running server:\n", to);
		for (size_t i = 0; specs[i] != NULL; i++)
			if ((specs[i]->role == CV_ROLE_TOOL) == (pass == 0) && specs[i]->summary != NULL)
				entry(to, specs[i]->name, specs[i]->summary);
	}
	(void)fputs("\nOptions of every command:\n", to);
	common_options(to);
	exit_statuses(to);
	(void)fputs("\nExamples:\n"
		    "  culver conf -n                        settings that differ from the defaults\n"
		    "  culver conf explain mail_location     what a setting means, and where it is set\n"
		    "  culver conf check && culver reload    try new settings, then use them\n"
		    "  culver user alice                     where alice's mail is\n"
		    "  culver auth test alice                does alice's password work?\n"
		    "  culver mailbox status -u alice        how much mail is where\n"
		    "  culver who --json                     who is logged in, for a script\n"
		    "  culver pw                             a password's stored form\n"
		    "\nculver COMMAND --help says more about each.\n", to);
}
