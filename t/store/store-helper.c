/* SPDX-License-Identifier: MIT
   What store-helper.h promises. */
#include <config.h>

#include "core/store/store-private.h"
#include "t/store/store-helper.h"

#include <culver/file.h>
#include <culver/fsck.h>
#include <culver/log.h>
#include <culver/loop.h>
#include <culver/map.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CV_EXPORT extern const struct cv_module sdbox_LTX_cv_module;

static void (*the_hooks)(struct cv_registry *reg);

static int load_hooks(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	(void)err;
	if (the_hooks != NULL)
		the_hooks(reg);
	return 1;
}

static const struct cv_module hooks_module = {
	CV_MODULE_ABI,
	.name = "testhooks",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load_hooks,
};

void store_assert_ok(int result, const struct cv_err *err, const char *call, const char *file, int line)
{
	if (result < 0) {
		print_error("%s: %s\n", call, err->text);
		_fail(file, line);
	}
}

static unsigned errors;

static void quiet(void *ctx, enum cv_log_level level, struct cv_str line)
{
	(void)ctx;
	errors += level == CV_LOG_ERROR;
	if (getenv("STORE_TEST_LOG") != NULL)
		fprintf(stderr, "%d %.*s\n", (int)level, CV_STR_ARG(line));
}

unsigned store_log_errors(void)
{
	return errors;
}

void store_tests_init(void)
{
	const struct cv_log_config log = { .target = CV_LOG_CALLBACK, .callback = quiet, .role = "test" };
	struct cv_err err = { 0 };

	cv_test_init();
	(void)cv_log_open(&log, &err);
}

void store_init(struct store *s, void **state)
{
	*s = (struct store){ .state = state, .driver = "sdbox" };
	s->dir = cv_test_dir(state);
}

static void make_registry(struct store *s)
{
	struct cv_err err = { 0 };

	if (s->registry != NULL)
		return;
	the_hooks = s->add_hooks;
	s->registry = cv_registry_new();
	assert_ok(cv_module_add_static(s->registry, &sdbox_LTX_cv_module, &err));
	if (s->module != NULL)
		assert_ok(cv_module_add_static(s->registry, s->module, &err));
	assert_ok(cv_module_add_static(s->registry, &hooks_module, &err));
	assert_ok(cv_modules_load(s->registry, CV_ROLE_WORKER, &err));
}

int store_try_open(struct store *s, struct cv_err *err)
{
	char location[600];
	struct cv_user_config config = { .name = "alice", .conf = s->conf, .loop = s->loop, .mail_location = s->location };

	make_registry(s);
	config.registry = s->registry;
	if (s->location == NULL) {
		(void)snprintf(location, sizeof(location), "%s:%s/mail", s->driver, s->dir);
		config.mail_location = location;
	}
	return cv_user_open(&config, &s->user, err);
}

void store_open(struct store *s)
{
	struct cv_err err = { 0 };

	assert_ok(store_try_open(s, &err));
	s->user->journal.ahead_writes = 0; /* how many zeros there are is a matter of the clock (test-ahead.c) */
}

void store_close(struct store *s)
{
	/* Tests mean what is in snapshots and state. */
	if (s->user != NULL && !s->leave_records) {
		struct cv_store_settings *set = cv_new(s->user->arena, struct cv_store_settings, 1);

		*set = *s->user->set;
		set->mail_journal_close_records = 0;
		s->user->set = set;
	}
	cv_user_close(&s->user);
}

void store_deinit(struct store *s)
{
	store_close(s);
	cv_registry_free(&s->registry);
	if (s->loop != NULL)
		cv_loop_free(&s->loop);
}

struct cv_mailbox *store_get(struct store *s, const char *name)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };

	assert_ok(cv_mailbox_get(s->user, cv_str_c(name), &mailbox, &err));
	return mailbox;
}

uint32_t store_save_keyword(struct store *s, const char *name, const char *octets, uint16_t flags, const char *keyword)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_str word = cv_str_c(keyword);
	const struct cv_save_config config = { .flags = flags, .keywords = &word, .keyword_count = keyword != NULL };
	struct cv_save *save;
	struct cv_err err = { 0 };
	uint32_t uid;

	assert_ok(cv_save_begin(txn, mailbox, &config, &save, &err));
	assert_ok(cv_save_write(save, cv_str_c(octets), &err));
	assert_ok(cv_save_finish(save, &err));
	uid = cv_save_uid(save);
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&mailbox);
	return uid;
}

uint32_t store_save(struct store *s, const char *name, const char *octets, uint16_t flags)
{
	return store_save_keyword(s, name, octets, flags, NULL);
}

void store_flags(struct store *s, const char *name, uint32_t first, uint32_t last, enum cv_flags_op op, uint16_t flags,
	const char *keyword)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_str word = cv_str_c(keyword);
	const struct cv_flags_change change = { .op = op, .flags = flags, .keywords = &word, .keyword_count = keyword != NULL };
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, first, last);
	assert_ok(cv_txn_flags(txn, mailbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
}

void store_expunge(struct store *s, const char *name, uint32_t first, uint32_t last)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, first, last);
	assert_ok(cv_txn_expunge(txn, mailbox, &uids, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
}

void store_copy(struct store *s, const char *from, uint32_t first, uint32_t last, const char *to, bool move)
{
	struct cv_mailbox *source = store_get(s, from), *target = store_get(s, to);
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, first, last);
	assert_ok(cv_txn_copy(txn, source, &uids, target, move, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&source);
	cv_mailbox_unref(&target);
}

void store_turn(struct store *s, uint64_t ms)
{
	for (unsigned i = 0; i < 20; i++)
		(void)cv_loop_once(s->loop, 0);
	cv_loop_fake_advance(s->loop, ms);
	for (unsigned i = 0; i < 20; i++)
		(void)cv_loop_once(s->loop, 0);
}

const char *store_file(struct store *s, const char *mailbox, const char *name)
{
	return cv_arena_printf(*s->state, "%s/mail/mailboxes/%s/dbox-Mails/%s", s->dir, mailbox, name);
}

bool store_has_file(struct store *s, const char *mailbox, const char *name)
{
	return access(store_file(s, mailbox, name), F_OK) == 0;
}

static void dump_row(struct cv_buf *out, struct cv_mailbox *mailbox, const struct cv_row *row)
{
	static const char letters[] = "SAFDT";
	size_t count;
	const struct cv_str *names = cv_row_keywords(mailbox, row->keyword_set, &count);

	if (out->len > 0)
		cv_buf_append_char(out, '|');
	cv_buf_printf(out, "%u ", row->uid);
	for (unsigned i = 0; i < 5; i++) {
		if ((row->flags & (1u << i)) != 0)
			cv_buf_append_char(out, letters[i]);
	}
	if (row->flags == 0)
		cv_buf_append_char(out, '-');
	for (size_t i = 0; i < count; i++) {
		cv_buf_append_char(out, ' ');
		cv_buf_append(out, names[i]);
	}
}

const char *store_dump(struct store *s, const char *name)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_view *view;
	struct cv_err err = { 0 };
	struct cv_buf out;
	const char *text;

	cv_buf_init(&out, 1 << 24);
	assert_ok(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err));
	for (uint32_t seq = 1; seq <= cv_view_count(view); seq++) {
		struct cv_row row;

		assert_true(cv_view_row(view, seq, &row));
		dump_row(&out, mailbox, &row);
	}
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	text = cv_arena_str(*s->state, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	return text;
}

void store_expect(struct store *s, const char *name, const char *want)
{
	assert_string_equal(store_dump(s, name), want);
}

void store_octets(struct store *s, const char *name, uint32_t uid, const char *want)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str octets;
	struct cv_err err = { 0 };

	assert_ok(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err));
	assert_int_not_equal(cv_view_seq(view, uid), 0);
	assert_ok(cv_mail_open(view, cv_view_seq(view, uid), &mail, &err));
	assert_ok(cv_mail_octets(mail, &octets, &err));
	assert_str_eq(octets, cv_str_c(want));
	cv_mail_close(&mail);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
}

static void on_event(void *ctx, const struct cv_view_event *event)
{
	struct cv_str name;
	struct cv_buf *out = ctx;

	if (out->len > 0)
		cv_buf_append_c(out, "; ");
	switch (event->kind) {
	case CV_EVENT_EXPUNGE:
		cv_buf_printf(out, "expunge %u uid %u", event->seq, event->uid);
		break;
	case CV_EVENT_EXISTS:
		cv_buf_printf(out, "exists %u", event->seq);
		break;
	case CV_EVENT_FLAGS:
		cv_buf_printf(out, "flags %u uid %u", event->seq, event->uid);
		break;
	case CV_EVENT_NOTES:
		cv_buf_printf(out, "notes %u uid %u", event->seq, event->uid);
		for (struct cv_reader names = cv_reader_init(event->names); cv_take_str(&names, SIZE_MAX, &name);)
			cv_buf_printf(out, " %.*s", CV_STR_ARG(name));
		break;
	case CV_EVENT_KEYWORDS:
		cv_buf_append_c(out, "keywords");
		break;
	case CV_EVENT_GONE:
		cv_buf_append_c(out, "gone");
		break;
	}
}

const char *store_sync(struct store *s, struct cv_view *view, bool expunges, uint64_t own)
{
	struct cv_buf out;
	const char *text;

	cv_buf_init(&out, 1 << 20);
	cv_view_sync(view, expunges, own, on_event, &out);
	text = cv_arena_str(*s->state, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	return text;
}

void store_annotate(struct store *s, const char *name, const char *entry, const char *value)
{
	struct cv_mailbox *mailbox = name != NULL ? store_get(s, name) : NULL;
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_err err = { 0 };

	assert_ok(cv_txn_annotate(txn, mailbox, cv_str_c(entry), cv_str_c(value), &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&mailbox);
}

void store_note(struct store *s, const char *name, uint32_t first, uint32_t last, const char *entry, const char *value)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_txn *txn = cv_txn_begin(s->user);
	const char *suffix = strchr(entry, ' ');
	const struct cv_note note = { cv_str_mem(entry, suffix != NULL ? (size_t)(suffix - entry) : strlen(entry)), suffix != NULL, cv_str_c(value) };
	const struct cv_notes_change change = { .notes = &note, .count = 1 };
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, first, last);
	assert_ok(cv_txn_notes(txn, mailbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
}

const char *store_notes(struct store *s, const char *name, uint32_t uid)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_note_list list;
	struct cv_err err = { 0 };
	struct cv_note note;
	struct cv_buf out;
	const char *text;

	cv_buf_init(&out, 1 << 24);
	if (cv_notes_get(mailbox, uid, &list, &err) < 0)
		fail_msg("%s", err.text);
	while (cv_note_next(&list, &note))
		cv_buf_printf(&out, "%s%.*s%s=%.*s", out.len > 0 ? "|" : "", CV_STR_ARG(note.entry), note.priv ? " priv" : "", CV_STR_ARG(note.value));
	text = cv_arena_str(*s->state, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	cv_mailbox_unref(&mailbox);
	return text != NULL ? text : "";
}

/* ---- reading ahead ---- */

struct calls {
	unsigned opens, reads;
};

static int count_call(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct calls *calls = ctx;

	(void)name;
	(void)len;
	calls->opens += op == CV_FILE_OPEN;
	calls->reads += op == CV_FILE_READ;
	return 0;
}

void store_check_ahead(struct store *s)
{
	struct calls calls = { 0 };
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct cv_view *view;

	for (unsigned i = 0; i < 3; i++)
		store_save(s, "INBOX", "Subject: one of three\r\n\r\nHello\r\n", 0);
	inbox = store_get(s, "INBOX");
	assert_ok(cv_view_open(inbox, CV_VIEW_READONLY, &view, &err));
	store_octets(s, "INBOX", 1, "Subject: one of three\r\n\r\nHello\r\n");
	cv_file_set_fault(count_call, &calls);
	cv_view_ahead(view, 2);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(calls.opens, 1);
	assert_int_equal(calls.reads, 0);
	store_octets(s, "INBOX", 2, "Subject: one of three\r\n\r\nHello\r\n");
	/* What is not there any more is nobody's error. */
	store_expunge(s, "INBOX", 3, 3);
	cv_view_ahead(view, 3);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	assert_int_equal(store_log_errors(), 0);
}

void store_count_found(void *ctx, const struct cv_fsck_finding *finding)
{
	unsigned *found = ctx;

	(*found)++;
	if (getenv("STORE_TEST_LOG") != NULL)
		print_message("%.*s %s\n", CV_STR_ARG(finding->file), finding->problem);
}

void store_fsck_run(struct store *s, const struct cv_fsck_config *config)
{
	struct cv_err err = { 0 };
	struct cv_fsck *fsck;

	assert_ok(cv_fsck_begin(s->user, config, &fsck, &err));
	assert_ok(cv_fsck_step(fsck, UINT64_MAX, &err));
	cv_fsck_end(&fsck);
}

unsigned store_fsck(struct store *s, bool repair)
{
	unsigned found = 0;

	store_fsck_run(s, &(struct cv_fsck_config){ .repair = repair, .found = store_count_found, .ctx = &found });
	return found;
}
