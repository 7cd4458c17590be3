/* SPDX-License-Identifier: MIT
   LIST with the SPECIAL-USE options, and LSUB (RFC 3501 sections 6.3.8 and 6.3.9, RFC 3348, RFC 6154). */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-match.h"
#include "modules/lib/imap/imap-quote.h"
#include "modules/lib/imap/imap-utf7.h"

static const struct {
	unsigned use;
	const char *name;
} uses[] = {
	{ CV_USE_ALL, "\\All" },
	{ CV_USE_ARCHIVE, "\\Archive" },
	{ CV_USE_DRAFTS, "\\Drafts" },
	{ CV_USE_FLAGGED, "\\Flagged" },
	{ CV_USE_IMPORTANT, "\\Important" },
	{ CV_USE_JUNK, "\\Junk" },
	{ CV_USE_SENT, "\\Sent" },
	{ CV_USE_TRASH, "\\Trash" },
};

/* Names are matched and kept as they go over the wire: a pattern may end in the middle of a shift of modified UTF-7. */
struct entry {
	struct cv_str wire;
	const char *attributes;
};

struct list {
	const char *verb;
	bool lsub;
	bool special_use;  /* only those with a special use */
	CV_VEC(struct cv_imap_pattern *) patterns;
	CV_VEC(struct entry) entries;
	size_t done;
	/* LIST: names above a mailbox that exists; what is only subscribed makes no parent. LSUB: parents that are listed already. */
	struct cv_map *parents;
};

static void free_list(void *ctx)
{
	struct list *list = ctx;

	cv_vec_free(&list->patterns);
	cv_vec_free(&list->entries);
	cv_map_free(&list->parents);
}

static struct list *new_list(struct cv_imap_cmd *cmd, const char *verb)
{
	struct list *list = cv_new(cmd->arena, struct list, 1);

	list->verb = verb;
	cv_arena_cleanup(cmd->arena, free_list, list);
	cmd->data = list;
	return list;
}

static bool matches(const struct list *list, struct cv_str wire)
{
	for (size_t i = 0; i < list->patterns.count; i++)
		if (cv_imap_pattern_match(list->patterns.data[i], wire))
			return true;
	return false;
}

static struct cv_str wire_name(struct cv_imap_cmd *cmd, struct cv_str name)
{
	const struct imap_session *s = imap_cmd_session(cmd);
	struct cv_buf utf7;
	char *copy;
	size_t len;

	cv_buf_init(&utf7, name.len * 8 + 16);
	cv_imap_utf7_encode(&utf7, name);
	len = utf7.len;
	copy = cv_arena_alloc(cmd->arena, len + 1);
	for (size_t i = 0; i < len; i++)
		copy[i] = utf7.data[i] == '/' ? s->separator : utf7.data[i];
	cv_buf_deinit(&utf7);
	return cv_str_mem(copy, len);
}

/* The reference is put before the mailbox name: there are no names that break out of it. */
static void add_pattern(struct cv_imap_cmd *cmd, struct list *list, struct cv_str reference, struct cv_str name)
{
	struct cv_buf whole;

	cv_buf_init(&whole, reference.len + name.len + 1);
	cv_buf_append(&whole, reference);
	cv_buf_append(&whole, name);
	*cv_vec_push(&list->patterns) = cv_imap_pattern_new(cmd->arena, cv_buf_str(&whole), imap_cmd_session(cmd)->separator);
	cv_buf_deinit(&whole);
}

static void add_entry(struct list *list, struct cv_str wire, const char *attributes)
{
	*cv_vec_push(&list->entries) = (struct entry){ .wire = wire, .attributes = attributes };
}

static const char *attributes_of(struct cv_imap_cmd *cmd, const struct cv_mailbox_info *info, bool parent)
{
	struct cv_buf text;
	const char *copy;

	cv_buf_init(&text, 1024);
	if (!info->exists)
		cv_buf_append_c(&text, "\\Noselect ");
	if (info->noinferiors)
		cv_buf_append_c(&text, "\\Noinferiors ");
	cv_buf_append_c(&text, parent ? "\\HasChildren" : "\\HasNoChildren");
	for (size_t i = 0; i < CV_COUNT_OF(uses) && info->exists; i++) {
		if ((info->special_use & uses[i].use) != 0) {
			cv_buf_append_char(&text, ' ');
			cv_buf_append_c(&text, uses[i].name);
		}
	}
	copy = cv_arena_strdup(cmd->arena, text.data);
	cv_buf_deinit(&text);
	return copy;
}

static void find_parents(struct cv_imap_cmd *cmd, struct list *list)
{
	struct cv_mailbox_info info;
	size_t pos = 0;

	list->parents = cv_map_new();
	while (cv_mailbox_next(cmd->user, &pos, &info)) {
		for (size_t i = info.exists ? info.name.len : 0; i-- > 1;) {
			struct cv_str parent = cv_str_sub(info.name, 0, i);

			if (info.name.ptr[i] == '/' && cv_map_set(list->parents, parent, list) != NULL)
				break; /* it and those above it are there already */
		}
	}
}

static void collect_list(struct cv_imap_cmd *cmd, struct list *list)
{
	struct cv_mailbox_info info;
	size_t pos = 0;

	find_parents(cmd, list);
	while (cv_mailbox_next(cmd->user, &pos, &info)) {
		bool parent = cv_map_get(list->parents, info.name) != NULL;
		struct cv_str wire;

		if ((!info.exists && !parent) || (list->special_use && (info.special_use == 0 || !info.exists)))
			continue;
		wire = wire_name(cmd, info.name);
		if (matches(list, wire))
			add_entry(list, wire, attributes_of(cmd, &info, parent));
	}
}

/* RFC 3501 section 6.3.9: "if "foo/bar" is subscribed but "foo" is not, a "%" wildcard to LSUB must return foo, not foo/bar, … flagged with the
   \Noselect attribute". */
static void add_parents(struct cv_imap_cmd *cmd, struct list *list, struct cv_str name)
{
	struct cv_mailbox_info info;

	for (size_t i = name.len; i-- > 1;) {
		struct cv_str parent = cv_str_sub(name, 0, i), wire;

		if (name.ptr[i] != '/')
			continue;
		if (cv_mailbox_lookup(cmd->user, parent, &info) > 0 && info.subscribed)
			continue; /* it is listed as itself */
		wire = wire_name(cmd, parent);
		if (!matches(list, wire) || cv_map_get(list->parents, wire) != NULL)
			continue;
		cv_map_set(list->parents, wire, list);
		add_entry(list, wire, "\\Noselect");
	}
}

static void collect_lsub(struct cv_imap_cmd *cmd, struct list *list)
{
	bool hide = (imap_cmd_session(cmd)->workarounds & IMAP_TB_LSUB_FLAGS) == 0;
	struct cv_mailbox_info info;
	size_t pos = 0;

	list->parents = cv_map_new();
	while (cv_mailbox_next(cmd->user, &pos, &info)) {
		struct cv_str wire;

		if (!info.subscribed)
			continue;
		wire = wire_name(cmd, info.name);
		if (matches(list, wire))
			add_entry(list, wire, info.exists || hide ? "" : "\\Noselect");
		else if (cv_imap_pattern_ends_with_percent(list->patterns.data[0]))
			add_parents(cmd, list, info.name);
	}
}

static void append_separator(struct cv_buf *out, char separator)
{
	cv_buf_printf(out, "\"%s%c\"", separator == '\\' || separator == '"' ? "\\" : "", separator);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct list *list = cmd->data;
	struct cv_buf *out = imap_out(cmd);

	while (list->done < list->entries.count) {
		const struct entry *entry = &list->entries.data[list->done];

		if (imap_room(cmd) == 0)
			return CV_IMAP_STEP;
		cv_buf_printf(out, "* %s (%s) ", list->verb, entry->attributes);
		append_separator(out, s->separator);
		cv_buf_append_char(out, ' ');
		cv_imap_append_astring(out, entry->wire);
		cv_buf_append_c(out, "\r\n");
		list->done++;
	}
	return imap_ok(cmd, NULL, list->lsub ? "Lsub completed" : "List completed");
}

/* "(" [option *(SP option)] ")" where SPECIAL-USE is the only option known. */
static bool parse_options(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, bool *special_use_r)
{
	const struct cv_imap_arg *option;

	if (!cv_imap_arg_list(arg, &option)) {
		imap_bad(cmd, "LIST options must be a list");
		return false;
	}
	for (; option != NULL; option = option->next) {
		if (!cv_imap_arg_is(option, "SPECIAL-USE")) {
			imap_bad(cmd, "Unknown LIST option");
			return false;
		}
		*special_use_r = true;
	}
	return true;
}

/* mbox-or-pat = list-mailbox / patterns */
static bool parse_patterns(struct cv_imap_cmd *cmd, struct list *list, struct cv_str reference, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *first;
	struct cv_str name;

	if (cv_imap_arg_list_mailbox(arg, &name)) {
		add_pattern(cmd, list, reference, name);
		return true;
	}
	if (!list->lsub && cv_imap_arg_list(arg, &first) && first != NULL) {
		for (; first != NULL && cv_imap_arg_list_mailbox(first, &name); first = first->next)
			add_pattern(cmd, list, reference, name);
		if (first == NULL)
			return true;
	}
	imap_bad(cmd, "Missing or invalid mailbox pattern");
	return false;
}

/* An empty name asks for the delimiter and the root, which has no name here. */
static enum cv_imap_result show_root(struct cv_imap_cmd *cmd, const char *verb)
{
	struct cv_buf *out = imap_out(cmd);

	cv_buf_printf(out, "* %s (\\Noselect) ", verb);
	append_separator(out, imap_cmd_session(cmd)->separator);
	cv_buf_append_c(out, " \"\"\r\n");
	return imap_ok(cmd, NULL, "List completed");
}

static enum cv_imap_result run_list(struct cv_imap_cmd *cmd)
{
	const struct cv_imap_arg *arg = cmd->args, *list_arg;
	struct list *list = new_list(cmd, "LIST");
	bool extended = cv_imap_arg_list(arg, &list_arg), returned = false;
	struct cv_str reference, name;

	if (extended) {
		if (!parse_options(cmd, arg, &list->special_use))
			return CV_IMAP_DONE;
		arg = arg->next;
	}
	if (!cv_imap_arg_astring(arg, &reference))
		return imap_bad(cmd, "Missing or invalid reference name");
	if (!parse_patterns(cmd, list, reference, arg->next))
		return CV_IMAP_DONE;
	arg = arg->next;
	if (arg->next != NULL) {
		/* Special uses are told anyway: the return option changes nothing. */
		if (!cv_imap_arg_is(arg->next, "RETURN") || arg->next->next == NULL || arg->next->next->next != NULL)
			return imap_bad(cmd, "Unexpected arguments");
		if (!parse_options(cmd, arg->next->next, &returned))
			return CV_IMAP_DONE;
		extended = true;
	}
	if (!extended && cv_imap_arg_list_mailbox(arg, &name) && name.len == 0)
		return show_root(cmd, "LIST");
	collect_list(cmd, list);
	return step(cmd);
}

static enum cv_imap_result run_lsub(struct cv_imap_cmd *cmd)
{
	struct list *list = new_list(cmd, "LSUB");
	struct cv_str reference, name;

	list->lsub = true;
	if (!cv_imap_arg_astring(cmd->args, &reference))
		return imap_bad(cmd, "Missing or invalid reference name");
	if (!parse_patterns(cmd, list, reference, cmd->args->next))
		return CV_IMAP_DONE;
	if (cmd->args->next->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	if (cv_imap_arg_list_mailbox(cmd->args->next, &name) && name.len == 0)
		return show_root(cmd, "LSUB");
	collect_lsub(cmd, list);
	return step(cmd);
}

const struct cv_imap_command imap_cmd_list = { .verb = "LIST", .opts = CV_IMAP_LOGGED_IN, .run = run_list, .step = step };
const struct cv_imap_command imap_cmd_lsub = { .verb = "LSUB", .opts = CV_IMAP_LOGGED_IN, .run = run_lsub, .step = step };
