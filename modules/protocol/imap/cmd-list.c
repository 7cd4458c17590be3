/* SPDX-License-Identifier: MIT
   LIST and LSUB (RFC 3501 sections 6.3.8 and 6.3.9, RFC 3348, RFC 5258, RFC 5819, RFC 6154), and XLIST (Gmail's, before RFC 6154 was). */
#include <config.h>

#include "metadata.h"
#include "status.h"

#include "modules/lib/imap/imap-match.h"

#include <culver/charset.h>
#include <culver/time.h>

/* Patterns of one command: each name is matched with all of them. */
#define PATTERNS_MAX 100u

static const struct {
	unsigned use;
	const char *name;
	const char *xlist; /* what Gmail's XLIST calls it */
} uses[] = {
	{ CV_USE_ALL, "\\All", "\\AllMail" },
	{ CV_USE_ARCHIVE, "\\Archive", "\\Archive" },
	{ CV_USE_DRAFTS, "\\Drafts", "\\Drafts" },
	{ CV_USE_FLAGGED, "\\Flagged", "\\Starred" },
	{ CV_USE_IMPORTANT, "\\Important", "\\Important" },
	{ CV_USE_JUNK, "\\Junk", "\\Spam" },
	{ CV_USE_SENT, "\\Sent", "\\Sent" },
	{ CV_USE_TRASH, "\\Trash", "\\Trash" },
};

/* Selection and return options. */
enum list_opts {
	SELECT_SUBSCRIBED = 1,
	SELECT_SPECIAL_USE = 2,
	SELECT_RECURSIVE = 4,
	SELECT_REMOTE = 8,       /* there are no remote mailboxes: nothing is added */
	RETURN_SUBSCRIBED = 16,
	RETURN_ALWAYS = 32,      /* CHILDREN, SPECIAL-USE: told anyway */
	RETURN_STATUS = 64,
	RETURN_METADATA = 128
};
/* Those that RECURSIVEMATCH can go with (RFC 5258 section 6: list-select-base-opt); the others are about no mailbox of their own or, as SPECIAL-USE,
   independent ones. */
#define SELECT_BASE SELECT_SUBSCRIBED

struct option {
	const char *name;
	unsigned opt;
	bool with_items; /* a list behind it: of status-att, or of entries */
};
static const struct option select_options[] = {
	{ "SUBSCRIBED", SELECT_SUBSCRIBED | RETURN_SUBSCRIBED, false },
	{ "REMOTE", SELECT_REMOTE, false },
	{ "RECURSIVEMATCH", SELECT_RECURSIVE, false },
	{ "SPECIAL-USE", SELECT_SPECIAL_USE, false },
	{ NULL, 0, false },
};
static const struct option return_options[] = {
	{ "SUBSCRIBED", RETURN_SUBSCRIBED, false },
	{ "CHILDREN", RETURN_ALWAYS, false },
	{ "SPECIAL-USE", RETURN_ALWAYS, false },
	{ "STATUS", RETURN_STATUS, true },
	{ "METADATA", RETURN_METADATA, true },
	{ NULL, 0, false },
};

/* Names are matched and kept as they go over the wire: a pattern may end in the middle of a shift of modified UTF-7. */
struct entry {
	struct cv_str wire;
	struct cv_str name;      /* absent: neither STATUS, METADATA nor data of modules */
	const char *attributes;
	bool child_info;
};

/* What is known of a name because of those below it. */
enum above {
	ABOVE_MAILBOX = 1,   /* a mailbox is there */
	ABOVE_SELECTED = 2,  /* one that satisfies the selection options */
	ABOVE_UNTOLD = 4,    /* such a one that does not match the patterns, so that only its parent can tell of it */
	ABOVE_DONE = 8,      /* the name was looked at */
	ABOVE_HIDDEN = 16    /* it has a mailbox that must look as if it did not exist */
};

/* A return option of a module's. */
struct added_option {
	const struct cv_imap_list_return *option;
	void *data;
};

struct list {
	const char *verb;
	bool lsub, xlist, extended;
	bool event; /* not asked for: a name without a mailbox is \NonExistent (RFC 5465 section 5.4) */
	unsigned opts;
	struct status_items status;
	struct metadata_request metadata;
	struct metadata_writer writer;
	bool writing;             /* the METADATA response of an entry */
	CV_VEC(struct cv_imap_pattern *) patterns;
	struct cv_str prefix;     /* with which all names begin that can match, as the store writes it; absent: anything */
	bool literal;             /* the prefix is all of the pattern */
	CV_VEC(struct added_option) added;
	CV_VEC(struct entry) entries;
	size_t done;
	struct cv_map *above; /* name to unsigned, enum above */
};

static void free_list(void *ctx)
{
	struct list *list = ctx;

	cv_vec_free(&list->patterns);
	cv_vec_free(&list->added);
	cv_vec_free(&list->entries);
	cv_map_free(&list->above);
	cv_vec_free(&list->metadata.entries);
	metadata_end(&list->writer);
}

static struct list *new_list(struct cv_imap_cmd *cmd, const char *verb)
{
	struct list *list = cv_new(cmd->arena, struct list, 1);

	list->verb = verb;
	list->above = cv_map_new();
	cv_arena_cleanup(cmd->arena, free_list, list);
	cmd->data = list;
	return list;
}

static void append_uses(struct cv_buf *out, unsigned bits, bool xlist)
{
	for (size_t i = 0; i < CV_COUNT_OF(uses); i++) {
		if ((bits & uses[i].use) == 0)
			continue;
		if (out->len > 0)
			cv_buf_append_char(out, ' ');
		cv_buf_append_c(out, xlist ? uses[i].xlist : uses[i].name);
	}
}

void imap_append_special_uses(struct cv_buf *out, unsigned bits)
{
	append_uses(out, bits, false);
}

unsigned imap_special_use(struct cv_str name)
{
	for (size_t i = 0; i < CV_COUNT_OF(uses); i++)
		if (cv_str_caseeq_c(name, uses[i].name))
			return uses[i].use;
	return 0;
}

/* ---- Names ------------------------------------------------------------------------------------------ */

static bool matches(const struct list *list, struct cv_str wire)
{
	for (size_t i = 0; i < list->patterns.count; i++)
		if (cv_imap_pattern_match(list->patterns.data[i], wire))
			return true;
	return false;
}

static struct cv_str wire_name(struct cv_imap_cmd *cmd, struct cv_str name)
{
	return imap_wire_name(imap_cmd_session(cmd), cmd->arena, name);
}

/* What a pattern demands at the beginning: only names with it are looked at. Nothing where the store may write it otherwise. */
static void note_prefix(const struct imap_session *s, struct cv_arena *arena, struct list *list, struct cv_str pattern)
{
	static const char inbox[] = "INBOX";
	size_t len = 0, inbox_len = sizeof(inbox) - 1;
	char *prefix = cv_arena_alloc(arena, pattern.len);

	for (; len < pattern.len && pattern.ptr[len] != '*' && pattern.ptr[len] != '%'; len++) {
		if ((uint8_t)pattern.ptr[len] >= 0x80 || pattern.ptr[len] == '&')
			return;
		prefix[len] = pattern.ptr[len] == s->separator ? '/' : pattern.ptr[len];
	}
	list->literal = len == pattern.len;
	if (cv_str_caseeq(cv_str_mem(prefix, CV_MIN(len, inbox_len)), cv_str_mem(inbox, CV_MIN(len, inbox_len)))) {
		/* INBOX in any case is before all other names. */
		if (!list->literal || len < inbox_len || (len > inbox_len && prefix[inbox_len] != '/'))
			return;
		memcpy(prefix, inbox, inbox_len);
	}
	list->prefix = cv_str_mem(prefix, len);
}

/* Names in order: those that the patterns may match, with all that are below them. */
static bool next_name(struct cv_user *user, const struct list *list, size_t *pos, struct cv_mailbox_info *info_r)
{
	struct cv_str prefix = list->prefix;

	if (prefix.ptr != NULL && *pos == 0)
		cv_mailbox_seek(user, prefix, pos);
	if (!cv_mailbox_next(user, pos, info_r))
		return false;
	return prefix.ptr == NULL || (cv_str_starts(info_r->name, prefix) &&
		(!list->literal || info_r->name.len == prefix.len || info_r->name.ptr[prefix.len] == '/'));
}

/* The reference is put before the mailbox name: there are no names that break out of it. */
static void add_pattern(struct cv_imap_cmd *cmd, struct list *list, struct cv_str reference, struct cv_str name)
{
	struct cv_buf whole;

	cv_buf_init(&whole, reference.len + name.len + 1);
	cv_buf_append(&whole, reference);
	cv_buf_append(&whole, name);
	if (list->patterns.count == 0)
		note_prefix(imap_cmd_session(cmd), cmd->arena, list, cv_buf_str(&whole));
	else
		list->prefix = (struct cv_str){ 0 };
	*cv_vec_push(&list->patterns) = cv_imap_pattern_new(cmd->arena, cv_buf_str(&whole), imap_cmd_session(cmd)->separator);
	/* Mailboxes are called so in NFC, but for those that others made. */
	if (imap_cmd_session(cmd)->utf8_names && !cv_str_is_ascii(cv_buf_str(&whole))) {
		struct cv_buf nfc;

		cv_buf_init(&nfc, SIZE_MAX / 2);
		if (cv_utf8_nfc(&nfc, cv_buf_str(&whole)) && !cv_str_eq(cv_buf_str(&nfc), cv_buf_str(&whole)))
			*cv_vec_push(&list->patterns) = cv_imap_pattern_new(cmd->arena, cv_buf_str(&nfc), imap_cmd_session(cmd)->separator);
		cv_buf_deinit(&nfc);
	}
	cv_buf_deinit(&whole);
}

static unsigned *above_of(struct cv_imap_cmd *cmd, struct list *list, struct cv_str name)
{
	unsigned *above = cv_map_get(list->above, name);

	if (above == NULL) {
		above = cv_new(cmd->arena, unsigned, 1);
		cv_map_set(list->above, name, above);
	}
	return above;
}

/* Note in all names above name what is known of it. */
static void mark_above(struct cv_imap_cmd *cmd, struct list *list, struct cv_str name, unsigned marks)
{
	for (size_t i = name.len; i-- > 1;) {
		unsigned *above;

		if (name.ptr[i] != '/')
			continue;
		above = above_of(cmd, list, cv_str_sub(name, 0, i));
		if ((*above & marks) == marks)
			return; /* those above it have it already */
		*above |= marks;
	}
}

/* ---- LIST ------------------------------------------------------------------------------------------- */

static const char *attributes_of(const struct imap_session *s, struct cv_arena *arena, const struct list *list, const struct cv_mailbox_info *info,
	bool parent)
{
	struct cv_buf text;
	const char *copy;

	cv_buf_init(&text, 1024);
	/* A level above existing mailboxes is a name without a mailbox. RFC 5258 section 3: names "that match the canonical LIST pattern but don't
	   exist must not be returned", but for those that are selected all the same. */
	if (!info->exists)
		cv_buf_append_c(&text, list->event || ((list->extended || s->rev2) && !parent) ? "\\NonExistent " : "\\Noselect ");
	if (info->noinferiors)
		cv_buf_append_c(&text, "\\Noinferiors ");
	cv_buf_append_c(&text, parent ? "\\HasChildren" : "\\HasNoChildren");
	if ((list->opts & RETURN_SUBSCRIBED) != 0 && info->subscribed)
		cv_buf_append_c(&text, " \\Subscribed");
	if (info->exists)
		append_uses(&text, info->special_use, list->xlist);
	if (list->xlist && cv_str_eq(info->name, CV_STR("INBOX")))
		cv_buf_append_c(&text, " \\Inbox");
	copy = cv_arena_strdup(arena, text.data);
	cv_buf_deinit(&text);
	return copy;
}

/* "the server MUST return information about mailbox names that satisfy every selection option". */
static bool is_selected(const struct list *list, const struct cv_mailbox_info *info, bool parent)
{
	if ((list->opts & SELECT_SPECIAL_USE) != 0 && (info->special_use == 0 || !info->exists))
		return false;
	if ((list->opts & SELECT_SUBSCRIBED) != 0)
		return info->subscribed;
	return info->exists || parent;
}

/* RFC 4314 section 4: without the "l" right "the LIST command should behave as if the mailbox … doesn't exist". */
static void hide(struct cv_mailbox_info *info)
{
	info->exists = false;
	info->special_use = 0;
}

static void look_below(struct cv_imap_cmd *cmd, struct list *list)
{
	struct cv_mailbox_info info;
	size_t pos = 0;

	while (next_name(cmd->user, list, &pos, &info)) {
		unsigned marks;

		if (info.exists && !cv_mailbox_visible(cmd->user, &info)) {
			hide(&info);
			*above_of(cmd, list, info.name) |= ABOVE_HIDDEN;
		}
		marks = info.exists ? ABOVE_MAILBOX : 0;
		/* Parents were not looked at yet: what is only one is selected by no option. */
		if ((list->opts & SELECT_RECURSIVE) != 0 && is_selected(list, &info, false))
			marks |= ABOVE_SELECTED | (matches(list, wire_name(cmd, info.name)) ? 0u : (unsigned)ABOVE_UNTOLD);
		if (marks != 0)
			mark_above(cmd, list, info.name, marks);
	}
}

static void add_name(struct cv_imap_cmd *cmd, struct list *list, struct cv_mailbox_info *info)
{
	unsigned *above = above_of(cmd, list, info->name);
	bool parent = (*above & ABOVE_MAILBOX) != 0, selected;
	struct entry *entry;
	struct cv_str wire;

	if ((*above & ABOVE_HIDDEN) != 0)
		hide(info);
	selected = is_selected(list, info, parent);
	if ((*above & ABOVE_DONE) != 0)
		return;
	*above |= ABOVE_DONE;
	/* "servers SHOULD suppress redundant CHILDINFO responses" */
	if (!selected && (*above & ABOVE_UNTOLD) == 0)
		return;
	wire = wire_name(cmd, info->name);
	if (!matches(list, wire))
		return;
	entry = cv_vec_push(&list->entries);
	*entry = (struct entry){ .wire = wire, .attributes = attributes_of(imap_cmd_session(cmd), cmd->arena, list, info, parent) };
	entry->child_info = (*above & ABOVE_SELECTED) != 0;
	/* RFC 5819 section 2: for "each selectable mailbox matching the list pattern and selection options". */
	if (((list->opts & (RETURN_STATUS | RETURN_METADATA)) != 0 || list->added.count > 0) && selected && info->exists)
		entry->name = cv_arena_str(cmd->arena, info->name);
}

/* Names above one that is only subscribed may be in no list of the store. */
static void add_parents(struct cv_imap_cmd *cmd, struct list *list, struct cv_str name)
{
	for (size_t i = 1; i < name.len; i++) {
		struct cv_mailbox_info info, none = { .name = cv_str_sub(name, 0, i) };

		if (name.ptr[i] == '/' && cv_mailbox_lookup(cmd->user, none.name, &info) == 0)
			add_name(cmd, list, &none);
	}
}

static void collect_list(struct cv_imap_cmd *cmd, struct list *list)
{
	struct cv_mailbox_info info;
	size_t pos = 0;

	look_below(cmd, list);
	while (next_name(cmd->user, list, &pos, &info)) {
		if ((list->opts & SELECT_RECURSIVE) != 0)
			add_parents(cmd, list, info.name);
		add_name(cmd, list, &info);
	}
}

/* ---- LSUB ------------------------------------------------------------------------------------------- */

static void add_lsub(struct list *list, struct cv_str wire, const char *attributes)
{
	*cv_vec_push(&list->entries) = (struct entry){ .wire = wire, .attributes = attributes };
}

/* RFC 3501 section 6.3.9: "if "foo/bar" is subscribed but "foo" is not, a "%" wildcard to LSUB must return foo, not foo/bar, … flagged with the
   \Noselect attribute". */
static void add_lsub_parents(struct cv_imap_cmd *cmd, struct list *list, struct cv_str name)
{
	struct cv_mailbox_info info;

	for (size_t i = name.len; i-- > 1;) {
		struct cv_str parent = cv_str_sub(name, 0, i), wire;
		unsigned *above;

		if (name.ptr[i] != '/')
			continue;
		if (cv_mailbox_lookup(cmd->user, parent, &info) > 0 && info.subscribed)
			continue; /* it is listed as itself */
		above = above_of(cmd, list, parent);
		wire = wire_name(cmd, parent);
		if (!matches(list, wire) || (*above & ABOVE_DONE) != 0)
			continue;
		*above |= ABOVE_DONE;
		add_lsub(list, wire, "\\Noselect");
	}
}

static void collect_lsub(struct cv_imap_cmd *cmd, struct list *list)
{
	bool no_flags = (imap_cmd_session(cmd)->workarounds & IMAP_TB_LSUB_FLAGS) == 0;
	struct cv_mailbox_info info;
	size_t pos = 0;

	while (next_name(cmd->user, list, &pos, &info)) {
		struct cv_str wire;

		if (!info.subscribed)
			continue;
		wire = wire_name(cmd, info.name);
		if (matches(list, wire))
			add_lsub(list, wire, no_flags || cv_mailbox_visible(cmd->user, &info) ? "" : "\\Noselect");
		else if (cv_imap_pattern_ends_with_percent(list->patterns.data[0]))
			add_lsub_parents(cmd, list, info.name);
	}
}

/* ---- Answers ---------------------------------------------------------------------------------------- */

static void append_separator(struct cv_buf *out, char separator)
{
	cv_buf_printf(out, "\"%s%c\"", separator == '\\' || separator == '"' ? "\\" : "", separator);
}

/* RFC 5819 section 2: when the mailbox is gone meanwhile or may not be read, "the STATUS response MUST NOT be returned and the LIST response MUST include the \NoSelect
   attribute". */
static void write_entry(struct cv_imap_cmd *cmd, const struct list *list, const struct entry *entry)
{
	struct cv_buf *out = imap_out(cmd), status;
	struct cv_err err = { 0 };
	bool gone = false;

	cv_buf_init(&status, (size_t)64 * 1024);
	if (entry->name.ptr != NULL && (list->opts & RETURN_STATUS) != 0 &&
		status_write(imap_cmd_session(cmd), &status, entry->name, &list->status, &err) < 0) {
		gone = err.code == CV_ERR_NOTFOUND || err.code == CV_ERR_PERM;
		if (!gone)
			cv_error(imap_cmd_session(cmd)->log, "LIST: status of mailbox %s: %s", cv_log_clean(entry->name), err.text);
	}
	cv_buf_printf(out, "* %s (%s%s) ", list->verb, entry->attributes, gone ? " \\Noselect" : "");
	append_separator(out, imap_cmd_session(cmd)->separator);
	cv_buf_append_char(out, ' ');
	imap_append_wire_name(imap_cmd_session(cmd), out, entry->wire);
	if (entry->child_info)
		cv_buf_append_c(out, " (CHILDINFO (\"SUBSCRIBED\"))");
	cv_buf_append_c(out, "\r\n");
	cv_buf_append(out, cv_buf_str(&status));
	cv_buf_deinit(&status);
	for (size_t i = 0; i < list->added.count && entry->name.ptr != NULL; i++)
		list->added.data[i].option->write(cmd, list->added.data[i].data, out, entry->name);
}

/* RFC 3348 section 3: \HasChildren not "if child mailboxes exist, but none will be displayed to the current user". */
static bool shows_children(struct cv_user *user, const struct cv_mailbox_info *parent)
{
	struct cv_mailbox_info info;
	size_t pos;

	if (!parent->has_children)
		return false;
	cv_mailbox_seek(user, parent->name, &pos);
	while (cv_mailbox_next(user, &pos, &info) && cv_str_starts(info.name, parent->name)) {
		if (cv_str_eq(info.name, parent->name))
			continue;
		if (info.name.ptr[parent->name.len] != '/')
			return false;
		if (cv_mailbox_visible(user, &info))
			return true;
	}
	return false;
}

static void write_one(struct imap_session *s, struct cv_buf *out, const struct cv_mailbox_info *info, struct cv_str old_wire, bool event)
{
	const struct list list = { .extended = true, .opts = RETURN_SUBSCRIBED, .event = event };
	struct cv_arena *arena = cv_arena_new("LIST response", NULL, 0);

	cv_buf_printf(out, "* LIST (%s) ", attributes_of(s, arena, &list, info, shows_children(s->user, info)));
	append_separator(out, s->separator);
	cv_buf_append_char(out, ' ');
	imap_append_mailbox(s, out, info->name);
	if (old_wire.ptr != NULL) {
		cv_buf_append_c(out, " (\"OLDNAME\" (");
		imap_append_wire_name(s, out, old_wire);
		cv_buf_append_c(out, "))");
	}
	cv_buf_append_c(out, "\r\n");
	cv_arena_free(&arena);
}

void imap_write_list(struct cv_imap_cmd *cmd, struct cv_buf *out, struct cv_str name, struct cv_str old_wire)
{
	struct cv_mailbox_info info;

	if (cv_mailbox_lookup(cmd->user, name, &info) > 0)
		write_one(imap_cmd_session(cmd), out, &info, old_wire, false);
}

void imap_write_no_access(const struct imap_session *s, struct cv_buf *out, struct cv_str name, bool gone)
{
	cv_buf_append_c(out, gone ? "* LIST (\\NonExistent \\NoAccess) " : "* LIST (\\NoAccess) ");
	append_separator(out, s->separator);
	cv_buf_append_char(out, ' ');
	imap_append_mailbox(s, out, name);
	cv_buf_append_c(out, "\r\n");
}

void imap_write_list_event(struct imap_session *s, struct cv_buf *out, struct cv_str name, struct cv_str old_name)
{
	struct cv_arena *arena = cv_arena_new("LIST event", NULL, 0);
	struct cv_str old_wire = old_name.ptr != NULL ? imap_wire_name(s, arena, old_name) : old_name;
	struct cv_mailbox_info info;

	if (cv_mailbox_lookup(s->user, name, &info) == 0)
		info = (struct cv_mailbox_info){ .name = name };
	/* Who may not know of it is told nothing. */
	if (!info.exists || cv_mailbox_visible(s->user, &info))
		write_one(s, out, &info, old_wire, true);
	cv_arena_free(&arena);
}

/* RFC 9590 section 3: "For each listable mailbox matching the list pattern and selection options". "If the server is unable to look up the annotations for
   given mailbox, it MAY drop the corresponding METADATA response." */
static bool begin_metadata(struct cv_imap_cmd *cmd, struct list *list, const struct entry *entry)
{
	struct cv_err err = { 0 };

	if ((list->opts & RETURN_METADATA) == 0 || entry->name.ptr == NULL)
		return false;
	if (metadata_begin(&list->writer, cmd, &list->metadata, entry->name, &err) == 0)
		return true;
	if (err.code != CV_ERR_NOTFOUND && err.code != CV_ERR_PERM)
		cv_error(imap_cmd_session(cmd)->log, "LIST: metadata of mailbox %s: %s", cv_log_clean(entry->name), err.text);
	return false;
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct list *list = cmd->data;
	uint64_t start = cv_time_mono_us();

	while (list->done < list->entries.count) {
		if (imap_room(cmd) == 0 || cv_time_mono_us() - start > IMAP_SLICE_US)
			return CV_IMAP_STEP;
		if (list->writing) {
			if (!metadata_write(&list->writer, cmd))
				return CV_IMAP_STEP;
			metadata_end(&list->writer);
			list->writing = false;
			list->done++;
			continue;
		}
		write_entry(cmd, list, &list->entries.data[list->done]);
		list->writing = begin_metadata(cmd, list, &list->entries.data[list->done]);
		list->done += !list->writing;
	}
	return imap_ok(cmd, NULL, list->lsub ? "Lsub completed" : "List completed");
}

/* ---- Arguments -------------------------------------------------------------------------------------- */

/* A return option that a module provides; *word goes to its last argument. 0: there is none of this name, -1: the reply was made. */
static int parse_added(struct cv_imap_cmd *cmd, struct list *list, const struct cv_imap_arg **word)
{
	const struct cv_imap_list_return *option;
	struct added_option added = { 0 };
	struct cv_err err = { 0 };
	const char *name;

	for (size_t pos = 0; (option = cv_provider_next(cv_session_registry(cmd->session), CV_CAP_IMAP_LIST, &pos, &name)) != NULL;) {
		if (!cv_imap_arg_is(*word, name))
			continue;
		if (option->parse != NULL && option->parse(cmd, word, &added.data, &err) < 0) {
			imap_bad_err(cmd, &err);
			return -1;
		}
		for (size_t i = 0; i < list->added.count; i++)
			if (list->added.data[i].option == option) {
				list->added.data[i].data = added.data; /* given twice */
				return 1;
			}
		added.option = option;
		*cv_vec_push(&list->added) = added;
		return 1;
	}
	return 0;
}

/* "(" [option *(SP option)] ")"; "A server MUST respond to options it does not recognize with a BAD response." */
static bool parse_options(struct cv_imap_cmd *cmd, struct list *list, const struct cv_imap_arg *arg, const struct option *known)
{
	const struct cv_imap_arg *word;
	const struct option *option;

	if (!cv_imap_arg_list(arg, &word)) {
		imap_bad(cmd, "LIST options must be a list");
		return false;
	}
	for (; word != NULL; word = word->next) {
		for (option = known; option->name != NULL && !cv_imap_arg_is(word, option->name); option++)
			;
		if (option->name == NULL || (option->opt == RETURN_METADATA && !imap_cmd_session(cmd)->set->imap_metadata)) {
			int found = known == return_options ? parse_added(cmd, list, &word) : 0;

			if (found == 0)
				imap_bad(cmd, "Unknown LIST option");
			if (found <= 0)
				return false;
			continue;
		}
		list->opts |= option->opt;
		if (!option->with_items)
			continue;
		word = word->next;
		if (option->opt == RETURN_METADATA ? !metadata_take_entries(cmd, &list->metadata, word) : !status_parse(cmd, word, &list->status))
			return false;
	}
	return true;
}

static bool parse_select_options(struct cv_imap_cmd *cmd, struct list *list, const struct cv_imap_arg *arg)
{
	if (!parse_options(cmd, list, arg, select_options))
		return false;
	/* "it only makes sense when other selection options are also used. The server MUST return BAD tagged response in such case." */
	if ((list->opts & SELECT_RECURSIVE) != 0 && (list->opts & SELECT_BASE) == 0) {
		imap_bad(cmd, "RECURSIVEMATCH needs SUBSCRIBED");
		return false;
	}
	return true;
}

/* mbox-or-pat = list-mailbox / patterns. In an extended LIST "the empty string MUST be ignored for the purpose of matching". */
static bool parse_patterns(struct cv_imap_cmd *cmd, struct list *list, struct cv_str reference, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *first;
	struct cv_str name;

	if (cv_imap_arg_list_mailbox(arg, &name)) {
		add_pattern(cmd, list, reference, name);
		return true;
	}
	if (list->lsub || list->xlist || !cv_imap_arg_list(arg, &first) || first == NULL) {
		imap_bad(cmd, "Missing or invalid mailbox pattern");
		return false;
	}
	list->extended = true;
	for (; first != NULL; first = first->next) {
		if (!cv_imap_arg_list_mailbox(first, &name)) {
			imap_bad(cmd, "Missing or invalid mailbox pattern");
			return false;
		}
		if (list->patterns.count == PATTERNS_MAX) {
			imap_no(cmd, "LIMIT", "Too many mailbox patterns");
			return false;
		}
		if (name.len > 0)
			add_pattern(cmd, list, reference, name);
	}
	return true;
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
	struct cv_str reference, name;

	if (cv_imap_arg_list(arg, &list_arg)) {
		list->extended = true;
		if (!parse_select_options(cmd, list, arg))
			return CV_IMAP_DONE;
		arg = arg->next;
	}
	if (!cv_imap_arg_astring(arg, &reference))
		return imap_bad(cmd, "Missing or invalid reference name");
	if (!parse_patterns(cmd, list, reference, arg->next))
		return CV_IMAP_DONE;
	arg = arg->next;
	if (arg->next != NULL) {
		list->extended = true;
		if (!cv_imap_arg_is(arg->next, "RETURN") || arg->next->next == NULL || arg->next->next->next != NULL)
			return imap_bad(cmd, "Unexpected arguments");
		if (!parse_options(cmd, list, arg->next->next, return_options))
			return CV_IMAP_DONE;
	}
	if (!list->extended && cv_imap_arg_list_mailbox(arg, &name) && name.len == 0)
		return show_root(cmd, "LIST");
	if (list->status.modseq)
		imap_enable_condstore(imap_cmd_session(cmd));
	collect_list(cmd, list);
	return step(cmd);
}

/* SP mailbox SP list-mailbox and nothing else. */
static enum cv_imap_result run_plain(struct cv_imap_cmd *cmd, struct list *list)
{
	struct cv_str reference, name;

	if (!cv_imap_arg_astring(cmd->args, &reference))
		return imap_bad(cmd, "Missing or invalid reference name");
	if (!parse_patterns(cmd, list, reference, cmd->args->next))
		return CV_IMAP_DONE;
	if (cmd->args->next->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	if (cv_imap_arg_list_mailbox(cmd->args->next, &name) && name.len == 0)
		return show_root(cmd, list->verb);
	if (list->lsub)
		collect_lsub(cmd, list);
	else
		collect_list(cmd, list);
	return step(cmd);
}

static enum cv_imap_result run_lsub(struct cv_imap_cmd *cmd)
{
	struct list *list = new_list(cmd, "LSUB");

	list->lsub = true;
	return run_plain(cmd, list);
}

/* Outlook for Windows (2013 and later) looks for special folders by XLIST only, and only where it is announced (imap_capability = +XLIST). It is LIST without
   options, with \Inbox and the names of before RFC 6154. */
static enum cv_imap_result run_xlist(struct cv_imap_cmd *cmd)
{
	struct list *list = new_list(cmd, "XLIST");

	list->xlist = true;
	return run_plain(cmd, list);
}

const struct cv_imap_command imap_cmd_list = { .verb = "LIST", .opts = CV_IMAP_LOGGED_IN, .run = run_list, .step = step };
const struct cv_imap_command imap_cmd_lsub = { .verb = "LSUB", .opts = CV_IMAP_LOGGED_IN, .run = run_lsub, .step = step };
const struct cv_imap_command imap_cmd_xlist = { .verb = "XLIST", .opts = CV_IMAP_LOGGED_IN, .run = run_xlist, .step = step };
