/* SPDX-License-Identifier: MIT
   Plugin mail-log: one log line for each change of a user's mail that administrators want to follow. See README beside this file.

   A worked example as well: settings of its own with a check, a slot for what belongs to a user, hooks that look at what has happened. It uses
   installed headers only. */
#include <culver/hooks.h>
#include <culver/log.h>
#include <culver/mailbox.h>
#include <culver/settings.h>

#include <string.h>

/* ---- Settings ------------------------------------------------------------------------------------------ */

struct mail_log_settings {
	const char *const *mail_log_events;
	const char *const *mail_log_fields;
};

static const struct cv_setting rows[] = {
	CV_SETTING_LIST(mail_log_settings, mail_log_events, "delete undelete expunge copy mailbox_delete mailbox_rename",
		"What plugin mail-log logs: delete undelete expunge save copy flag_change mailbox_create mailbox_delete mailbox_rename mailbox_subscribe "
		"mailbox_unsubscribe."),
	CV_SETTING_LIST(mail_log_settings, mail_log_fields, "uid box msgid size",
		"What each line says: uid box msgid size flags from subject guid modseq. Those of an expunged message's header are not known any more."),
};

enum event {
	EVENT_DELETE = 1,
	EVENT_UNDELETE = 2,
	EVENT_EXPUNGE = 4,
	EVENT_SAVE = 8,
	EVENT_COPY = 16,
	EVENT_FLAG_CHANGE = 32,
	EVENT_MAILBOX_CREATE = 64,
	EVENT_MAILBOX_DELETE = 128,
	EVENT_MAILBOX_RENAME = 256,
	EVENT_MAILBOX_SUBSCRIBE = 512,
	EVENT_MAILBOX_UNSUBSCRIBE = 1024,
};
static const struct word {
	const char *name;
	unsigned bit;
} events[] = {
	{ "delete", EVENT_DELETE },
	{ "undelete", EVENT_UNDELETE },
	{ "expunge", EVENT_EXPUNGE },
	{ "save", EVENT_SAVE },
	{ "copy", EVENT_COPY },
	{ "flag_change", EVENT_FLAG_CHANGE },
	{ "mailbox_create", EVENT_MAILBOX_CREATE },
	{ "mailbox_delete", EVENT_MAILBOX_DELETE },
	{ "mailbox_rename", EVENT_MAILBOX_RENAME },
	{ "mailbox_subscribe", EVENT_MAILBOX_SUBSCRIBE },
	{ "mailbox_unsubscribe", EVENT_MAILBOX_UNSUBSCRIBE },
};

enum field {
	FIELD_UID = 1,
	FIELD_BOX = 2,
	FIELD_MSGID = 4,
	FIELD_SIZE = 8,
	FIELD_FLAGS = 16,
	FIELD_FROM = 32,
	FIELD_SUBJECT = 64,
	FIELD_GUID = 128,
	FIELD_MODSEQ = 256,
	FIELDS_OF_HEADER = FIELD_MSGID | FIELD_FROM | FIELD_SUBJECT,
};
static const struct word fields[] = {
	{ "uid", FIELD_UID },
	{ "box", FIELD_BOX },
	{ "msgid", FIELD_MSGID },
	{ "size", FIELD_SIZE },
	{ "flags", FIELD_FLAGS },
	{ "from", FIELD_FROM },
	{ "subject", FIELD_SUBJECT },
	{ "guid", FIELD_GUID },
	{ "modseq", FIELD_MODSEQ },
};

/* Bits of the words of a list. -1 with err naming the first one that is not among them. */
static int bits_of(const char *key, const char *const *list, const struct word *words, size_t count, unsigned *bits_r, struct cv_err *err)
{
	*bits_r = 0;
	for (; list != NULL && *list != NULL; list++) {
		unsigned bit = 0;

		for (size_t i = 0; i < count; i++) {
			if (strcmp(*list, words[i].name) == 0)
				bit = words[i].bit;
		}
		if (bit == 0)
			return cv_err_set(err, CV_ERR_INVALID, "%s: there is no %s to log", key, *list);
		*bits_r |= bit;
	}
	return 0;
}

static int parse_settings(const struct mail_log_settings *set, unsigned *events_r, unsigned *fields_r, struct cv_err *err)
{
	if (bits_of("mail_log_events", set->mail_log_events, events, CV_COUNT_OF(events), events_r, err) < 0)
		return -1;
	return bits_of("mail_log_fields", set->mail_log_fields, fields, CV_COUNT_OF(fields), fields_r, err);
}

static int check_settings(const void *set, struct cv_err *err)
{
	unsigned event_bits, field_bits;

	return parse_settings(set, &event_bits, &field_bits, err);
}

static const struct cv_settings_table table =
	CV_SETTINGS_TABLE_TOP("Plugin mail-log", mail_log_settings, rows, check_settings);

/* ---- What belongs to a user ---------------------------------------------------------------------------- */

/* In the user's slot while the worker has the user open. */
struct user_log {
	struct cv_arena *arena;
	struct cv_log_ctx ctx;
	unsigned events, fields;
};

/* Which slot; written once, in load(). */
static unsigned user_slot;

static struct user_log *log_of(struct cv_user *user)
{
	return *cv_user_data(user, user_slot);
}

static enum cv_hook_result on_user_open(void *ctx, struct cv_hook_user_open *args, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("mail-log", NULL, 0);
	struct user_log *log = cv_new(arena, struct user_log, 1);
	const struct cv_conf *conf = cv_user_conf(args->user);
	const void *set = NULL;

	(void)ctx;
	if (conf == NULL || cv_conf_get(conf, &table, NULL, arena, &set, err) < 0 ||
		parse_settings(set, &log->events, &log->fields, err) < 0) {
		cv_arena_free(&arena);
		return conf == NULL ? CV_HOOK_PASS : CV_HOOK_ERROR;
	}
	log->arena = arena;
	log->ctx = (struct cv_log_ctx){ .category = "mail-log", .user = cv_str_c(cv_user_name(args->user)) };
	*cv_user_data(args->user, user_slot) = log;
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_user_close(void *ctx, struct cv_hook_user_close *args, struct cv_err *err)
{
	struct user_log *log = log_of(args->user);

	(void)ctx;
	(void)err;
	*cv_user_data(args->user, user_slot) = NULL;
	if (log != NULL)
		cv_arena_free(&log->arena);
	return CV_HOOK_PASS;
}

/* ---- Lines --------------------------------------------------------------------------------------------- */

static void begin_field(struct cv_buf *line, const char *name)
{
	if (line->len > 0)
		cv_buf_append_c(line, ", ");
	cv_buf_append_c(line, name);
	cv_buf_append_char(line, '=');
}

static void append_flags(struct cv_buf *line, uint16_t flags)
{
	static const struct word names[] = { { "\\Seen", CV_FLAG_SEEN }, { "\\Answered", CV_FLAG_ANSWERED },
		{ "\\Flagged", CV_FLAG_FLAGGED }, { "\\Deleted", CV_FLAG_DELETED }, { "\\Draft", CV_FLAG_DRAFT } };
	bool first = true;

	begin_field(line, "flags");
	cv_buf_append_char(line, '(');
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		if ((flags & names[i].bit) == 0)
			continue;
		if (!first)
			cv_buf_append_char(line, ' ');
		cv_buf_append_c(line, names[i].name);
		first = false;
	}
	cv_buf_append_char(line, ')');
}

/* A field of the message's header, from what was parsed when it was saved. */
static void append_header_field(struct cv_buf *line, const char *name, const struct cv_parse_record *record, struct cv_str header)
{
	struct cv_buf raw, text;

	cv_buf_init(&raw, 65536);
	cv_buf_init(&text, 65536);
	if (cv_parse_record_field(record, header, &raw) > 0) {
		cv_header_decode(&text, cv_buf_str(&raw));
		begin_field(line, name);
		/* Text from outside: cleaned, and cut. */
		cv_buf_append_c(line, cv_log_clean(cv_buf_str(&text)));
	}
	cv_buf_deinit(&raw);
	cv_buf_deinit(&text);
}

static void append_header_fields(const struct user_log *log, struct cv_view *view, uint32_t uid, struct cv_buf *line)
{
	uint32_t seq = view != NULL ? cv_view_seq(view, uid) : 0;
	struct cv_parse_record record;
	struct cv_mail *mail = NULL;
	struct cv_str octets;

	/* The message may be gone again: then its header is not known. */
	if (seq == 0 || cv_mail_open(view, seq, &mail, NULL) < 0)
		return;
	if (cv_mail_record(mail, &octets, NULL) >= 0 && cv_parse_record_open(octets, &record, NULL) >= 0) {
		if ((log->fields & FIELD_MSGID) != 0)
			append_header_field(line, "msgid", &record, CV_STR("Message-ID"));
		if ((log->fields & FIELD_FROM) != 0)
			append_header_field(line, "from", &record, CV_STR("From"));
		if ((log->fields & FIELD_SUBJECT) != 0)
			append_header_field(line, "subject", &record, CV_STR("Subject"));
	}
	cv_mail_close(&mail);
}

static void log_change(const struct user_log *log, const char *what, const struct cv_change *change, struct cv_view *view)
{
	struct cv_buf line;

	cv_buf_init(&line, 2048);
	if ((log->fields & FIELD_BOX) != 0) {
		begin_field(&line, "box");
		cv_buf_append_c(&line, cv_log_clean(change->name));
	}
	if ((log->fields & FIELD_UID) != 0) {
		begin_field(&line, "uid");
		cv_buf_append_u64(&line, change->uid);
	}
	if ((log->fields & FIELDS_OF_HEADER) != 0)
		append_header_fields(log, view, change->uid, &line);
	if ((log->fields & FIELD_SIZE) != 0) {
		begin_field(&line, "size");
		cv_buf_append_u64(&line, change->size);
	}
	if ((log->fields & FIELD_FLAGS) != 0)
		append_flags(&line, change->flags);
	if ((log->fields & FIELD_GUID) != 0) {
		begin_field(&line, "guid");
		cv_buf_append_hex(&line, cv_str_mem(change->guid, sizeof(change->guid)));
	}
	if ((log->fields & FIELD_MODSEQ) != 0) {
		begin_field(&line, "modseq");
		cv_buf_append_u64(&line, change->modseq);
	}
	cv_info(&log->ctx, "%s: %.*s", what, CV_STR_ARG(cv_buf_str(&line)));
	cv_buf_deinit(&line);
}

/* ---- Hooks --------------------------------------------------------------------------------------------- */

static unsigned event_of(const struct cv_change *change)
{
	switch (change->kind) {
	case CV_CHANGE_APPEND:
		return EVENT_SAVE;
	case CV_CHANGE_COPY:
		return EVENT_COPY;
	case CV_CHANGE_EXPUNGE:
		return EVENT_EXPUNGE;
	case CV_CHANGE_FLAGS:
		if (((change->flags ^ change->old_flags) & CV_FLAG_DELETED) == 0)
			return EVENT_FLAG_CHANGE;
		return (change->flags & CV_FLAG_DELETED) != 0 ? EVENT_DELETE : EVENT_UNDELETE;
	case CV_CHANGE_CREATE:
	case CV_CHANGE_RENAME:
	case CV_CHANGE_DELETE:
	case CV_CHANGE_SUBSCRIBE:
	case CV_CHANGE_ANNOTATE:
	case CV_CHANGE_NOTE:
		break;
	}
	return 0;
}

static const char *event_name(unsigned bit)
{
	for (size_t i = 0; i < CV_COUNT_OF(events); i++) {
		if (events[i].bit == bit)
			return events[i].name;
	}
	return "?";
}

/* A view of the mailbox of a change, for its header; NULL when it cannot be had. *mailbox, *view: those of the change before. */
static void open_view(const struct user_log *log, struct cv_user *user, const struct cv_change *change, struct cv_mailbox **mailbox,
	struct cv_view **view)
{
	struct cv_err err = { 0 };

	if ((log->fields & FIELDS_OF_HEADER) == 0 || change->kind == CV_CHANGE_EXPUNGE)
		return;
	if (*mailbox != NULL && memcmp(cv_mailbox_guid(*mailbox), change->mailbox_guid, 16) == 0)
		return;
	cv_view_close(view);
	cv_mailbox_unref(mailbox);
	/* It may have been deleted in the meantime. */
	if (cv_mailbox_get(user, change->name, mailbox, &err) < 0 || cv_view_open(*mailbox, CV_VIEW_READONLY, view, &err) < 0)
		cv_debug(&log->ctx, "no header fields: %s", err.text);
}

static enum cv_hook_result on_committed(void *ctx, struct cv_hook_committed *args, struct cv_err *err)
{
	const struct user_log *log = log_of(args->user);
	struct cv_mailbox *mailbox = NULL;
	struct cv_view *view = NULL;

	(void)ctx;
	(void)err;
	for (size_t i = 0; log != NULL && i < args->count; i++) {
		unsigned event = event_of(&args->changes[i]);

		if ((log->events & event) == 0)
			continue;
		open_view(log, args->user, &args->changes[i], &mailbox, &view);
		log_change(log, event_name(event), &args->changes[i], view);
	}
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_mailbox_op_done(void *ctx, struct cv_hook_mailbox_op_done *args, struct cv_err *err)
{
	static const unsigned bits[] = {
		[CV_OP_CREATE] = EVENT_MAILBOX_CREATE,
		[CV_OP_DELETE] = EVENT_MAILBOX_DELETE,
		[CV_OP_RENAME] = EVENT_MAILBOX_RENAME,
		[CV_OP_SUBSCRIBE] = EVENT_MAILBOX_SUBSCRIBE,
		[CV_OP_UNSUBSCRIBE] = EVENT_MAILBOX_UNSUBSCRIBE,
	};
	const struct user_log *log = log_of(args->user);
	unsigned event = (size_t)args->op < CV_COUNT_OF(bits) ? bits[args->op] : 0;

	(void)ctx;
	(void)err;
	if (log == NULL || (log->events & event) == 0)
		return CV_HOOK_PASS;
	if (args->op == CV_OP_RENAME)
		cv_info(&log->ctx, "%s: box=%s, to=%s", event_name(event), cv_log_clean(args->name), cv_log_clean(args->new_name));
	else
		cv_info(&log->ctx, "%s: box=%s", event_name(event), cv_log_clean(args->name));
	return CV_HOOK_PASS;
}

/* ---- The module ---------------------------------------------------------------------------------------- */

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	/* Late: what other plugins do in these hooks has been done. */
	const struct cv_hook_opts opts = { .name = "mail-log", .stage = CV_STAGE_LATE };

	(void)role;
	user_slot = cv_slot_register(reg);
	if (cv_hook_add_user_open(reg, on_user_open, &opts, err) < 0 || cv_hook_add_user_close(reg, on_user_close, &opts, err) < 0 ||
		cv_hook_add_committed(reg, on_committed, &opts, err) < 0 ||
		cv_hook_add_mailbox_op_done(reg, on_mailbox_op_done, &opts, err) < 0)
		return -1;
	return 0;
}

static const struct cv_settings_table *const tables[] = { &table, NULL };

CV_MODULE(mail_log) = {
	CV_MODULE_ABI,
	.name = "mail-log",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.settings = tables,
	.load = load,
};
