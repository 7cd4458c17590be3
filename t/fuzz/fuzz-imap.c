/* SPDX-License-Identifier: MIT
   IMAP commands: whatever is cut where, the parser finds the same; what it found prints as a command that it reads as the same again. */
#include <config.h>

#include "modules/lib/imap/imap-parser.h"
#include "t/fuzz/fuzz.h"

static const struct cv_imap_limits limits = { .line = 4096, .literal = 2048, .depth = 20 };

/* An atom is what it was; strings and literals are written as literals, which may hold anything. */
static void print_args(struct cv_buf *out, const struct cv_imap_arg *arg)
{
	for (bool first = true; arg != NULL; arg = arg->next, first = false) {
		if (!first && !arg->glued)
			cv_buf_append_char(out, ' ');
		switch (arg->type) {
		case CV_IMAP_ARG_ATOM:
			cv_buf_append(out, arg->str);
			break;
		case CV_IMAP_ARG_QUOTED:
			cv_buf_append_char(out, '"');
			for (size_t i = 0; i < arg->str.len; i++) {
				if (arg->str.ptr[i] == '"' || arg->str.ptr[i] == '\\')
					cv_buf_append_char(out, '\\');
				cv_buf_append_char(out, arg->str.ptr[i]);
			}
			cv_buf_append_char(out, '"');
			break;
		case CV_IMAP_ARG_LITERAL8:
			cv_buf_append_char(out, '~');
			cv_buf_printf(out, "{%zu+}\r\n", arg->str.len);
			cv_buf_append(out, arg->str);
			break;
		case CV_IMAP_ARG_LITERAL:
			cv_buf_printf(out, "{%zu+}\r\n", arg->str.len);
			cv_buf_append(out, arg->str);
			break;
		case CV_IMAP_ARG_STREAMED:
			cv_buf_append_c(out, "{0+}\r\n");
			break;
		case CV_IMAP_ARG_LIST:
			cv_buf_append_char(out, '(');
			print_args(out, arg->child); /* depth: limits */
			cv_buf_append_char(out, ')');
			break;
		}
	}
}

static void print_command(struct cv_buf *out, const struct cv_imap_parser *parser)
{
	cv_buf_append(out, cv_imap_parser_tag(parser));
	cv_buf_append_char(out, ' ');
	cv_buf_append(out, cv_imap_parser_verb(parser));
	if (cv_imap_parser_args(parser) != NULL) {
		cv_buf_append_char(out, ' ');
		print_args(out, cv_imap_parser_args(parser));
	}
	cv_buf_append_c(out, "\r\n");
}

/* All commands of input; refused ones only when log is asked for. */
static void run(struct cv_str input, size_t chunk, bool log, struct cv_buf *out)
{
	struct cv_imap_parser *parser = cv_imap_parser_new(&limits);
	struct cv_str window = cv_str_sub(input, 0, chunk), part;
	struct cv_err err = { 0 };
	size_t at = 0, used;
	bool more = true;

	while (more) {
		switch (cv_imap_parser_feed(parser, window, &used, &err)) {
		case CV_IMAP_MORE:
			fuzz_check(used == window.len);
			more = at + used < input.len;
			break;
		case CV_IMAP_COMMAND:
			fuzz_check(cv_imap_parser_complete(parser));
			print_command(out, parser);
			cv_imap_parser_next(parser);
			fuzz_check(cv_imap_parser_idle(parser));
			break;
		case CV_IMAP_LITERAL_DUE:
			if (cv_imap_parser_keep(parser, &err) < 0 && log)
				cv_buf_printf(out, "(%s)\r\n", err.text);
			break;
		case CV_IMAP_STREAMING:
			(void)cv_imap_parser_stream(parser, cv_str_sub(window, used, SIZE_MAX), &used, &part);
			break;
		case CV_IMAP_BAD:
			fuzz_check(err.text[0] != '\0');
			if (log) {
				cv_buf_append_char(out, '(');
				cv_buf_append(out, cv_imap_parser_tag(parser));
				cv_buf_printf(out, " %s)\r\n", err.text);
			}
			break;
		case CV_IMAP_SKIPPED:
			cv_imap_parser_next(parser);
			break;
		}
		fuzz_check(used <= window.len);
		at += used;
		window = cv_str_sub(input, at, chunk);
	}
	cv_imap_parser_free(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf whole, cut, printed, again;

	cv_buf_init(&whole, SIZE_MAX / 2);
	cv_buf_init(&cut, SIZE_MAX / 2);
	cv_buf_init(&printed, SIZE_MAX / 2);
	cv_buf_init(&again, SIZE_MAX / 2);
	run(input, SIZE_MAX / 2, true, &whole);
	run(input, 1, true, &cut);
	fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&cut)));
	run(input, SIZE_MAX / 2, false, &printed);
	run(cv_buf_str(&printed), SIZE_MAX / 2, true, &again);
	/* The printed form may be longer than a line may be: then it says so, once. */
	if (cv_str_find_str(cv_buf_str(&again), CV_STR("too long)\r\n")) == SIZE_MAX)
		fuzz_check(cv_str_eq(cv_buf_str(&printed), cv_buf_str(&again)));
	cv_buf_deinit(&whole);
	cv_buf_deinit(&cut);
	cv_buf_deinit(&printed);
	cv_buf_deinit(&again);
	return 0;
}
