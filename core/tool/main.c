/* SPDX-License-Identifier: MIT
   culver: the command an administrator types. */
#include "core/tool/tool.h"

#include <culver/log.h>

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <termios.h>
#include <unistd.h>

#define SECRET_MAX 1024

void tool_complain(const char *fmt, ...)
{
	struct cv_buf text;
	va_list ap;
	cv_buf_init(&text, 8192);
	va_start(ap, fmt);
	cv_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	(void)fflush(stdout);
	(void)fputs("culver: ", stderr);
	output_text(stderr, cv_buf_ok(&text) && text.len > 0 ? text.data : "an error too long to tell");
	(void)fputc('\n', stderr);
	cv_buf_deinit(&text);
}

int tool_fail(struct tool *tool, const struct cv_err *err)
{
	tool_complain("%s", err->text);
	if (tool->json) {
		json_t *error = json_object();
		(void)json_object_set_new(error, "code", json_text(cv_err_code_name(err->code)));
		(void)json_object_set_new(error, "text", json_text(err->text));
		json_t *whole = json_object();
		(void)json_object_set_new(whole, "error", error);
		output_json(whole);
	}
	return cv_admin_exit_status(err->code);
}

const char *tool_arg_next(const struct tool *tool, const char *name, size_t *pos)
{
	while (*pos < tool->args.count) {
		const struct arg *arg = &tool->args.data[(*pos)++];
		if (strcmp(arg->param->name, name) == 0)
			return arg->value;
	}
	return NULL;
}

const char *tool_arg(const struct tool *tool, const char *name)
{
	size_t pos = 0;
	return tool_arg_next(tool, name, &pos);
}

bool tool_flag(const struct tool *tool, const char *name)
{
	return tool_arg(tool, name) != NULL;
}

static bool read_line(int fd, struct cv_buf *line)
{
	char c;
	for (;;) {
		ssize_t n = read(fd, &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return line->len > 0;
		if (c == '\n')
			return true;
		cv_buf_append_char(line, c);
	}
}

const char *tool_ask_secret(struct tool *tool, const char *what)
{
	struct termios before, quiet;
	struct cv_buf line;
	bool terminal = isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &before) == 0;

	if (terminal) {
		(void)fprintf(stderr, "%s: ", what);
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	cv_buf_init_wipe(&line, SECRET_MAX);
	bool ok = read_line(STDIN_FILENO, &line) && cv_buf_ok(&line);
	if (terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		(void)fputc('\n', stderr);
	}
	const char *secret = NULL;
	if (!ok)
		tool_complain("no %s was given", what);
	else if ((secret = cv_arena_cstr(tool->arena, cv_buf_str(&line))) == NULL)
		tool_complain("the %s holds a NUL octet", what);
	cv_buf_deinit(&line);
	return secret;
}

int main(int argc, char **argv)
{
	static const struct cv_log_config log_config = { .target = CV_LOG_STDERR, .role = "tool" };
	struct tool tool = { .arena = cv_arena_new("tool", NULL, CV_ARENA_WIPE), .timeout_ms = 300000 };
	struct cv_err err = { 0 };

	(void)setlocale(LC_CTYPE, "");
	(void)cv_log_open(&log_config, &err);
	int status = tool_parse_args(&tool, argc, argv);
	if (status < 0)
		status = tool.local != NULL ? tool.local->run(&tool) : tool_remote(&tool);
	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		tool_complain("cannot write the output: %s", strerror(errno));
		status = status == 0 ? 74 : status;
	}
	cv_registry_free(&tool.reg);
	cv_vec_free(&tool.overrides);
	cv_vec_free(&tool.args);
	cv_vec_free(&tool.users);
	cv_arena_free(&tool.arena);
	return status;
}
