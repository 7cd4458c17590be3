/* SPDX-License-Identifier: MIT
   GETMETADATA (RFC 5464 section 4.2). */
#include <config.h>

#include "metadata.h"

struct get {
	struct metadata_request request;
	struct metadata_writer writer;
};

static void free_get(void *ctx)
{
	struct get *get = ctx;

	cv_vec_free(&get->request.entries);
	metadata_end(&get->writer);
}

/* getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")". False: the BAD was made. */
static bool take_options(struct cv_imap_cmd *cmd, struct metadata_request *request, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *word;
	struct cv_str number;

	if (!cv_imap_arg_list(arg, &word) || word == NULL)
		goto bad;
	for (; word != NULL; word = word->next->next) {
		if (cv_imap_arg_is(word, "MAXSIZE")) {
			if (!cv_imap_arg_atom(word->next, &number) || !cv_str_to_u32(number, UINT32_MAX, &request->maxsize))
				goto bad;
			request->maxsize_set = true;
		} else if (cv_imap_arg_is(word, "DEPTH")) {
			if (cv_imap_arg_is(word->next, "0"))
				request->depth = METADATA_DEPTH_0;
			else if (cv_imap_arg_is(word->next, "1"))
				request->depth = METADATA_DEPTH_1;
			else if (cv_imap_arg_is(word->next, "infinity"))
				request->depth = METADATA_DEPTH_INFINITY;
			else
				goto bad;
		} else {
			goto bad;
		}
	}
	return true;
bad:
	imap_bad(cmd, "Unknown or invalid GETMETADATA option");
	return false;
}

static bool is_options(const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *word;

	return cv_imap_arg_list(arg, &word) && (cv_imap_arg_is(word, "DEPTH") || cv_imap_arg_is(word, "MAXSIZE"));
}

/* The RFC's grammar has the options before the mailbox name, its examples behind it: clients send both. The examples have entries without parentheses
   too. False: the reply was made. */
static bool take_args(struct cv_imap_cmd *cmd, struct metadata_request *request, struct cv_str *name_r)
{
	const struct cv_imap_arg *arg = cmd->args, *list;
	struct cv_str wire;

	*name_r = cv_str_c(NULL);
	if (cv_imap_arg_list(arg, &list)) {
		if (!take_options(cmd, request, arg))
			return false;
		arg = arg->next;
	}
	/* "When the mailbox name is the empty string, this command retrieves server annotations." */
	if (!(cv_imap_arg_astring(arg, &wire) && wire.len == 0) && !imap_mailbox_arg(cmd, arg, 0, name_r))
		return false;
	arg = arg->next;
	if (is_options(arg)) {
		if (!take_options(cmd, request, arg))
			return false;
		arg = arg->next;
	}
	if (cv_imap_arg_list(arg, &list)) {
		if (!metadata_take_entries(cmd, request, arg))
			return false;
		if (arg->next == NULL)
			return true;
		imap_bad(cmd, "Unexpected arguments");
		return false;
	}
	do {
		if (!metadata_take_entry(cmd, request, arg))
			return false;
		arg = arg->next;
	} while (arg != NULL);
	return true;
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct get *get = cmd->data;

	if (!metadata_write(&get->writer, cmd))
		return CV_IMAP_STEP;
	return imap_ok(cmd,
		get->writer.longest > 0 ? imap_code_printf(cmd, "METADATA LONGENTRIES %llu", (unsigned long long)get->writer.longest) : NULL,
		"Getmetadata completed");
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct get *get = cv_new(cmd->arena, struct get, 1);
	struct cv_err err = { 0 };
	struct cv_str name;

	cmd->data = get;
	cv_arena_cleanup(cmd->arena, free_get, get);
	if (!take_args(cmd, &get->request, &name))
		return CV_IMAP_DONE;
	if (metadata_begin(&get->writer, cmd, &get->request, name, &err) < 0)
		return imap_fail(cmd, &err);
	return step(cmd);
}

const struct cv_imap_command imap_cmd_getmetadata = { .verb = "GETMETADATA", .opts = CV_IMAP_LOGGED_IN, .run = run, .step = step };
