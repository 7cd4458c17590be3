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
		(void)fputs((spec->opts & CV_ADMIN_USERS) != 0 ? " {USER ... | --all}" : " {-u USER | -A}", to);
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

const struct tool_option tool_common_options[] = {
	{ 'c', "config", "FILE", "settings file (" CV_CONF_DIR "/culver.ini)" },
	{ 'o', "option", "NAME=VALUE", "a setting that overrides the files; may be given several times" },
	{ '\0', "json", NULL, "one JSON document on standard output instead of a table" },
	{ '\0', "timeout", "SECONDS", "how long to wait for the server (300)" },
	{ 'h', "help", NULL, "help about the command" },
	{ '\0', "version", NULL, "version of this program" },
	{ 0 },
};

const struct tool_exit_status tool_exit_statuses[] = {
	{ "0", "done" },
	{ "1", "fsck only: all that was found was repaired" },
	{ "2", "fsck only: something that was found is left" },
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
	{ 0 },
};

const struct tool_example tool_examples[] = {
	{ "conf", "culver conf -n", "settings that differ from the defaults", true },
	{ "conf", "culver conf -f mail_location", "what one is, and the file and line that say so", false },
	{ "conf check", "culver conf check && culver reload", "try new settings, then use them", true },
	{ "conf explain", "culver conf explain mail_location", "what a setting means, and where it is set", true },
	{ "conf manual", "culver conf manual | man -l -", "read all settings, those of further modules too", false },
	{ "manual", "culver manual | man -l -", "read about all commands, those of further modules too", false },
	{ "modules", "culver modules", "what is loaded, from where, and the hooks in their order", false },
	{ "pw", "culver pw", "a password's stored form", true },
	{ "pw", "culver pw -s SHA512-CRYPT", "the same in another scheme", false },
	{ "user", "culver user alice", "where alice's mail is", true },
	{ "user", "culver user '*@example.org'", "all users of a domain", false },
	{ "auth test", "culver auth test alice", "does alice's password work?", true },
	{ "auth test", "culver auth test -s pop3 -r 192.0.2.7 alice", "would it, over POP3 from there?", false },
	{ "mailbox list", "culver mailbox list -u alice -s", "what alice has subscribed to", false },
	{ "mailbox status", "culver mailbox status -u alice", "how much mail is where", true },
	{ "mailbox status", "culver mailbox status -A INBOX --json", "all users' INBOX, for a script", false },
	{ "mailbox create", "culver mailbox create -u alice -s Lists/Announce", "create one, and subscribe to it", false },
	{ "mailbox delete", "culver mailbox delete -u alice Old", "delete one and the mail in it", false },
	{ "mailbox rename", "culver mailbox rename -u alice Lists Archive/Lists", "move one and those below it", false },
	{ "mailbox metadata get", "culver mailbox metadata get -u alice INBOX /private/comment", "what alice has noted of her INBOX", false },
	{ "mailbox metadata list", "culver mailbox metadata list -u alice \"\" /private/filters", "the searches that alice has stored", false },
	{ "mailbox metadata set", "culver mailbox metadata set -u alice Sent /private/specialuse '\\Sent'", "let clients take it for sent mail", false },
	{ "mailbox metadata unset", "culver mailbox metadata unset -u alice Lists /shared/comment", "remove a comment", false },
	{ "fsck", "culver fsck alice", "is alice's mail as it should be?", true },
	{ "fsck", "culver fsck --repair alice", "the same, and repair it", false },
	{ "fsck", "culver fsck --all --json", "all users, for a script", false },
	{ "acl get", "culver acl get -u alice Work", "who may do what with alice's mailbox Work", true },
	{ "acl set", "culver acl set -u alice Work user=bob lrs", "let bob read it and keep what he has seen", true },
	{ "acl delete", "culver acl delete -u alice Work user=bob", "take away what bob has there", false },
	{ "acl rights", "culver acl rights -u alice INBOX Work", "what alice may do herself", true },
	{ "quota get", "culver quota get -u alice", "what alice has and may have", true },
	{ "quota recalc", "culver quota recalc -A", "count all users' messages one by one", false },
	{ "who", "culver who --json", "who is logged in, for a script", true },
	{ "who", "culver who -P pop3 'a*'", "POP3 sessions of users with an a in front", false },
	{ "kick", "culver kick alice", "end all sessions of alice", false },
	{ "kick", "culver kick -S ID '*'", "end the one session with that id", false },
	{ "reload", "culver reload", "use the settings files as they are now", false },
	{ "stop", "culver stop", "end the server when what is under way is done", false },
	{ "status", "culver status", "the server's processes, and how busy they are", false },
	{ 0 },
};

/* "-c, --config FILE" */
static void option_entry(FILE *to, char letter, const char *name, const char *meta, const char *help)
{
	char head[80];
	int n = snprintf(head, sizeof(head), "-%c, --%s%s%s", letter, name, meta != NULL ? " " : "", meta != NULL ? meta : "");
	entry(to, n < 0 ? name : letter != '\0' ? head : head + strlen("-x, "), help);
}

static void common_options(FILE *to)
{
	for (size_t i = 0; tool_common_options[i].name != NULL; i++)
		option_entry(to, tool_common_options[i].letter, tool_common_options[i].name, tool_common_options[i].meta, tool_common_options[i].help);
}

static void exit_statuses(FILE *to)
{
	(void)fputs("\nExit status:\n", to);
	for (size_t i = 0; tool_exit_statuses[i].status != NULL; i++)
		(void)fprintf(to, "  %-4s%s\n", tool_exit_statuses[i].status, tool_exit_statuses[i].text);
}

/* Those of one command, or (NULL) the chosen ones of all. */
static void examples(FILE *to, const char *command)
{
	bool any = false;
	for (size_t i = 0; tool_examples[i].line != NULL; i++) {
		const struct tool_example *e = &tool_examples[i];
		if (command != NULL ? strcmp(e->command, command) != 0 : !e->first)
			continue;
		if (!any)
			(void)fputs("\nExamples:\n", to);
		any = true;
		(void)fprintf(to, "  %-36s  %s\n", e->line, e->text);
	}
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
		const char *meta = p->kind == CV_ADMIN_FLAG ? NULL : p->meta != NULL ? p->meta : "VALUE";
		if (p->positional)
			entry(to, meta != NULL ? meta : p->name, p->help);
		else
			option_entry(to, p->letter, p->name, meta, p->help);
	}
	common_options(to);
	if (spec->role != CV_ROLE_TOOL)
		(void)fputs("\nThis asks the running server: as root, or as the user who runs it.\n", to);
	examples(to, spec->name);
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
	examples(to, NULL);
	(void)fputs("\nculver COMMAND --help says more about each.\n", to);
}
