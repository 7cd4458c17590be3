/* SPDX-License-Identifier: MIT
   culver manual: the manual page culver(1), from the same specifications that help is made of. */
#include "core/tool/tool.h"

static void put_option(struct cv_buf *out, char letter, const char *name, const char *meta, const char *help)
{
	cv_buf_append_c(out, ".It ");
	if (letter != '\0')
		cv_buf_printf(out, "Fl %c , ", letter);
	cv_buf_append_c(out, "Fl Fl ");
	cv_mdoc_word(out, name);
	if (meta != NULL) {
		cv_buf_append_c(out, " Ar ");
		cv_mdoc_word(out, meta);
	}
	cv_buf_append_char(out, '\n');
	cv_mdoc_text(out, help != NULL ? help : "");
	cv_buf_append_char(out, '\n');
}

/* ".Nm who Oo Fl P Ar PROTOCOL Oc Op Ar USER ..." as SYNOPSIS and each command's head have it. */
static void put_usage(struct cv_buf *out, const struct cv_admin_spec *spec)
{
	cv_buf_append_c(out, "Cm ");
	cv_mdoc_word(out, spec->name);
	cv_buf_append_c(out, spec->role == CV_ROLE_WORKER ? " Brq Fl u Ar USER | Fl A\n" : "\n");
	for (unsigned pass = 0; pass < 2; pass++) {
		for (const struct cv_admin_param *p = spec->params; p != NULL && p->name != NULL; p++) {
			if (p->positional != (pass == 1))
				continue;
			bool must = (p->opts & CV_ADMIN_REQUIRED) != 0 && p->kind != CV_ADMIN_SECRET;
			cv_buf_append_c(out, must ? "." : ".Op ");
			if (!p->positional && p->letter != '\0')
				cv_buf_printf(out, "Fl %c", p->letter);
			else if (!p->positional) {
				cv_buf_append_c(out, "Fl Fl ");
				cv_mdoc_word(out, p->name);
			}
			if (p->kind != CV_ADMIN_FLAG) {
				cv_buf_append_c(out, p->positional ? "Ar " : " Ar ");
				cv_mdoc_word(out, p->meta != NULL ? p->meta : "VALUE");
			}
			cv_buf_append_c(out, (p->opts & CV_ADMIN_REPEAT) != 0 ? " ...\n" : "\n");
		}
	}
}

static void put_examples(struct cv_buf *out, const char *command)
{
	bool any = false;
	for (size_t i = 0; tool_examples[i].line != NULL; i++) {
		const struct tool_example *e = &tool_examples[i];
		if (command != NULL && strcmp(e->command, command) != 0)
			continue;
		if (!any)
			cv_buf_append_c(out, command != NULL ? ".Pp\nExamples:\n.Bl -tag -width Ds -compact\n" : ".Bl -tag -width Ds -compact\n");
		any = true;
		cv_buf_append_c(out, ".It Li ");
		cv_mdoc_word(out, e->line);
		cv_buf_append_char(out, '\n');
		cv_mdoc_text(out, e->text);
		cv_buf_append_char(out, '\n');
	}
	if (any)
		cv_buf_append_c(out, ".El\n");
}

static void put_command(struct cv_buf *out, const struct cv_admin_spec *spec)
{
	bool any = spec->role == CV_ROLE_WORKER;

	cv_buf_append_c(out, ".It Xo\n.Nm ");
	put_usage(out, spec);
	cv_buf_append_c(out, ".Xc\n");
	/* "list a user's mailboxes" is a sentence here. */
	cv_buf_append_char(out, (char)(spec->summary[0] >= 'a' && spec->summary[0] <= 'z' ? spec->summary[0] - 'a' + 'A' : spec->summary[0]));
	cv_mdoc_text(out, spec->summary + 1);
	cv_buf_append_c(out, ".\n");
	if (spec->help != NULL) {
		cv_mdoc_text(out, spec->help);
		cv_buf_append_char(out, '\n');
	}
	for (const struct cv_admin_param *p = spec->params; p != NULL && p->name != NULL; p++)
		any = true;
	if (any)
		cv_buf_append_c(out, ".Pp\n.Bl -tag -width Ds -compact\n");
	if (spec->role == CV_ROLE_WORKER) {
		put_option(out, 'u', "user", "USER", "whose mail; may be given several times");
		put_option(out, 'A', "all-users", NULL, "every user that the user databases can list");
	}
	for (const struct cv_admin_param *p = spec->params; p != NULL && p->name != NULL; p++) {
		const char *meta = p->kind == CV_ADMIN_FLAG ? NULL : p->meta != NULL ? p->meta : "VALUE";
		if (!p->positional) {
			put_option(out, p->letter, p->name, meta, p->help);
			continue;
		}
		cv_buf_append_c(out, ".It Ar ");
		cv_mdoc_word(out, meta != NULL ? meta : p->name);
		cv_buf_append_char(out, '\n');
		cv_mdoc_text(out, p->help != NULL ? p->help : "");
		cv_buf_append_char(out, '\n');
	}
	if (any)
		cv_buf_append_c(out, ".El\n");
	put_examples(out, spec->name);
}

static const char head[] =
	".Dd November 27, 2026\n"
	".Dt CULVER 1\n"
	".Os\n"
	".Sh NAME\n"
	".Nm culver\n"
	".Nd look at and steer the Culver mail server\n"
	".Sh SYNOPSIS\n"
	".Nm\n"
	".Op Fl c Ar FILE\n"
	".Op Fl \\&-json\n"
	".Ar COMMAND\n"
	".Op Ar OPTION ...\n"
	".Sh DESCRIPTION\n"
	"Some commands read the settings and need no server.\n"
	"The others ask the running server through the socket\n"
	".Pa admin.sock\n"
	"in its run directory\n"
	".Po\n"
	"setting\n"
	".Cm base_dir\n"
	".Pc ,\n"
	"as root or as the user who runs it.\n"
	"They show tables for people, or with\n"
	".Fl \\&-json\n"
	"one JSON document for programs.\n"
	"What went wrong is told on standard error; with\n"
	".Fl \\&-json\n"
	"an error that ended the command is also an object\n"
	".Dq error\n"
	"with\n"
	".Dq code\n"
	"and\n"
	".Dq text\n"
	"on standard output.\n"
	".Pp\n"
	"Options of every command:\n";

static const char files[] =
	".Sh FILES\n"
	".Bl -tag -width Ds -compact\n"
	".It Pa " CV_CONF_DIR "/culver.ini\n"
	"settings\n"
	".It Pa " CV_RUN_DIR "/admin.sock\n"
	"where the running server listens for this command, unless\n"
	".Cm base_dir\n"
	"says otherwise\n"
	".El\n";

static void manual(struct tool *tool, struct cv_buf *out)
{
	const struct cv_admin_spec *const *specs = tool_specs(tool);

	cv_buf_append_c(out, head);
	cv_buf_append_c(out, ".Bl -tag -width Ds\n");
	for (size_t i = 0; tool_common_options[i].name != NULL; i++)
		put_option(out, tool_common_options[i].letter, tool_common_options[i].name, tool_common_options[i].meta, tool_common_options[i].help);
	cv_buf_append_c(out, ".El\n");
	for (unsigned pass = 0; pass < 2; pass++) {
		cv_buf_append_c(out, pass == 0 ? ".Ss Commands that need no running server\n" : ".Ss Commands that ask the running server\n");
		cv_buf_append_c(out, ".Bl -tag -width Ds\n");
		for (size_t i = 0; specs[i] != NULL; i++)
			if ((specs[i]->role == CV_ROLE_TOOL) == (pass == 0) && specs[i]->summary != NULL)
				put_command(out, specs[i]);
		cv_buf_append_c(out, ".El\n");
	}
	cv_buf_append_c(out, files);
	cv_buf_append_c(out, ".Sh EXIT STATUS\n.Bl -tag -width 00 -compact\n");
	for (size_t i = 0; tool_exit_statuses[i].status != NULL; i++) {
		cv_buf_printf(out, ".It %s\n", tool_exit_statuses[i].status);
		cv_mdoc_text(out, tool_exit_statuses[i].text);
		cv_buf_append_char(out, '\n');
	}
	cv_buf_append_c(out, ".El\n.Sh SEE ALSO\n.Xr culver.ini 5 ,\n.Xr culverd 8\n");
}

static int run_manual(struct tool *tool)
{
	struct cv_buf out;

	tool_modules(tool);
	cv_buf_init(&out, 4 << 20);
	manual(tool, &out);
	(void)fwrite(out.len > 0 ? out.data : "", 1, out.len, stdout);
	bool ok = cv_buf_ok(&out);
	cv_buf_deinit(&out);
	return ok && tool->refused == 0 ? 0 : EXIT_INTERNAL;
}

static const struct cv_admin_param no_params[] = { { .name = NULL } };
static const struct cv_admin_spec manual_spec = {
	.name = "manual",
	.role = CV_ROLE_TOOL,
	.params = no_params,
	.summary = "write the manual page of this command (mdoc)",
	.help = "culver(1) is made by this, from what --help is made of. With further modules installed their commands are in it: culver manual | man -l -",
};
const struct local_command tool_manual = { .spec = &manual_spec, .run = run_manual };
