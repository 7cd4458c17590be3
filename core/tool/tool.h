/* SPDX-License-Identifier: MIT
   The culver command: what its files share. */
#ifndef CV_TOOL_H
#define CV_TOOL_H

#include <culver/admin.h>
#include <culver/hooks.h>
#include <culver/map.h>

#include <jansson.h>

/* Exit statuses of the tool itself, of sysexits(3). */
#define EXIT_USAGE 64
#define EXIT_UNAVAILABLE 69
#define EXIT_INTERNAL 70
#define EXIT_SETTINGS 78

struct tool;

/* A command that runs here, without a server. params and columns of its specification serve help and arguments as they do for the others. */
struct local_command {
	const struct cv_admin_spec *spec;
	int (*run)(struct tool *tool); /* exit status */
};

/* One parameter as given. */
struct arg {
	const struct cv_admin_param *param;
	const char *value; /* "" for flags */
};

struct tool {
	struct cv_arena *arena;
	const char *conf_path;
	CV_VEC(const char *) overrides; /* NULL-terminated after the arguments are read */
	bool json;
	bool verbose;
	uint64_t timeout_ms; /* for one answer of the server */

	const struct cv_admin_spec *spec; /* the command */
	const struct local_command *local; /* NULL: the server runs it */
	CV_VEC(struct arg) args;
	CV_VEC(const char *) users; /* -u */
	bool all_users;             /* -A */

	struct cv_registry *reg; /* all modules open and, for CV_ROLE_TOOL, loaded; tool_modules */
	size_t refused;          /* modules that could not be opened */
};

/* ---- main.c ---- */

/* "culver: text" on stderr. */
void tool_complain(const char *fmt, ...) CV_PRINTF(1, 2);
/* The error of the whole command: on stderr, and with --json as an object on stdout. Returns the exit status. */
int tool_fail(struct tool *tool, const struct cv_err *err);
const char *tool_arg(const struct tool *tool, const char *name);
const char *tool_arg_next(const struct tool *tool, const char *name, size_t *pos);
bool tool_flag(const struct tool *tool, const char *name);
/* Ask on the terminal without echo (what: "Password"), or read a line of standard input when it is none. NULL: none came, which was told. */
const char *tool_ask_secret(struct tool *tool, const char *what);

/* ---- modules.c ---- */

/* Open every module and load those for the tool, once; refused ones are told on stderr. */
void tool_modules(struct tool *tool);
const char *tool_module_dir(struct tool *tool);

/* ---- args.c, help.c ---- */

extern const struct local_command *const tool_local_commands[]; /* NULL at the end */
/* All specifications, the modules' ones too, by name. NULL-terminated in the tool's arena. */
const struct cv_admin_spec *const *tool_specs(struct tool *tool);
/* Read the command line. -1: go on with the command; else the exit status (help was shown, or the arguments are wrong). */
int tool_parse_args(struct tool *tool, int argc, char **argv);
void tool_help(struct tool *tool, FILE *to);
void tool_help_command(const struct cv_admin_spec *spec, FILE *to);
/* "[-s] [-p PASSWORD] USER…" */
void tool_usage(const struct cv_admin_spec *spec, FILE *to);

/* What help and the manual page both say; each list ends with a zeroed row. */
struct tool_option {
	char letter; /* 0: none */
	const char *name, *meta, *help;
};
struct tool_exit_status {
	const char *status, *text;
};
struct tool_example {
	const char *command, *line, *text;
	bool first; /* also in culver --help */
};
extern const struct tool_option tool_common_options[];
extern const struct tool_exit_status tool_exit_statuses[];
extern const struct tool_example tool_examples[];

/* ---- output.c ---- */

/* Rows on their way to the terminal. */
struct output {
	struct tool *tool;
	CV_VEC(struct cv_admin_column) columns; /* strings in the tool's arena */
	bool single, columns_known;
	bool show_user; /* several users: the column "user" has a head */
	json_t *rows;   /* array */
	json_t *errors; /* array: all that went wrong */
};
void output_init(struct output *out, struct tool *tool);
void output_columns(struct output *out, const struct cv_admin_column *columns, bool single);
/* Takes over row. */
void output_row(struct output *out, json_t *row);
/* One of the errors, of this user's mail; NULL: of nobody's. */
void output_error(struct output *out, const char *user, const struct cv_err *err);
/* Write all of it, and with --json the first error and all of them too. */
void output_finish(struct output *out, const struct cv_err *err);
void output_deinit(struct output *out);
/* A JSON document of its own, and a line end. Takes over value. */
void output_json(json_t *value);
/* Text without control characters. */
void output_text(FILE *to, const char *text);
json_t *json_text(const char *text); /* NULL gives null; what is not UTF-8 is replaced */

/* ---- remote.c ---- */

int tool_remote(struct tool *tool);

/* ---- commands ---- */

extern const struct local_command tool_conf, tool_conf_check, tool_conf_explain, tool_conf_manual, tool_manual, tool_pw, tool_modules_command;

#endif
