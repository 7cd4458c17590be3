/* SPDX-License-Identifier: MIT
   Hooks of the store: where they run, what they see and change, and that a refusal leaves nothing behind. */
#include <config.h>

#include "t/store/store-helper.h"

#include <culver/hooks.h>

#include <stdio.h>
#include <string.h>

#define MAIL "From: a@example.org\r\nSubject: first\r\n\r\nHello\r\n"
#define OTHER "From: b@example.org\r\nSubject: virus\r\n\r\nEvil\r\n"

/* What the handlers of these tests do and saw; the tests run one after the other. */
static struct seen {
	struct cv_buf text;
	const char *deny_text;      /* refuse messages with these octets in them */
	const char *keyword;        /* give copies this one */
	const char *trash;          /* copy what is expunged there */
	enum cv_hook_result answer; /* of the delivery hook */
	bool file_in_hook, committed;
	unsigned taken;             /* rights that nobody has on "Trash" */
	unsigned asked;             /* how often rights were asked for */
	struct cv_user *user;
} seen;

static enum cv_hook_result on_save(void *ctx, struct cv_hook_message_save *args, struct cv_err *err)
{
	struct cv_str octets, record;
	struct cv_mailbox *source;
	uint32_t uid;

	(void)ctx;
	source = cv_save_source(args->save, &uid);
	assert_int_equal(cv_save_octets(args->save, &octets, err), 1);
	assert_int_equal(cv_save_record(args->save, &record, err), 1);
	assert_int_equal(octets.len, cv_save_size(args->save));
	cv_buf_printf(&seen.text, "%s %.*s", cv_save_is_move(args->save) ? "move" : source != NULL ? "copy" : "save",
		CV_STR_ARG(cv_mailbox_name(args->mailbox)));
	if (source != NULL)
		cv_buf_printf(&seen.text, " from %.*s %u", CV_STR_ARG(cv_mailbox_name(source)), uid);
	cv_buf_append_char(&seen.text, ';');
	if (seen.deny_text != NULL && cv_str_find_str(octets, cv_str_c(seen.deny_text)) != SIZE_MAX) {
		cv_err_set_public(err, CV_ERR_PERM, "This message is not wanted");
		return CV_HOOK_DENY;
	}
	if (seen.keyword != NULL) {
		cv_save_set_flags(args->save, cv_save_flags(args->save) | CV_FLAG_FLAGGED);
		assert_int_equal(cv_save_add_keyword(args->save, cv_str_c(seen.keyword), err), 1);
	}
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_commit(void *ctx, struct cv_hook_commit *args, struct cv_err *err)
{
	static const char *const kinds[] = { "", "SAVE", "COPY", "FLAGS", "EXPUNGE", "ANNOTATE" };
	struct cv_txn_op op;
	size_t pos = 0, count = 0;
	struct cv_txn_op expunges[10];

	(void)ctx;
	while (cv_txn_next(args->txn, &pos, &op)) {
		cv_buf_printf(&seen.text, "%s %.*s", kinds[op.kind], CV_STR_ARG(op.mailbox != NULL ? cv_mailbox_name(op.mailbox) : CV_STR("")));
		if (op.kind == CV_TXN_ANNOTATE)
			cv_buf_printf(&seen.text, " %.*s=%.*s", CV_STR_ARG(op.name), CV_STR_ARG(op.value));
		if (op.uids != NULL) {
			cv_buf_append_char(&seen.text, ' ');
			cv_ranges_append(op.uids, &seen.text);
		}
		cv_buf_append_char(&seen.text, ';');
		if (op.kind == CV_TXN_EXPUNGE && seen.trash != NULL && count < CV_COUNT_OF(expunges))
			expunges[count++] = op;
	}
	for (size_t i = 0; i < count; i++) {
		struct cv_mailbox *trash;
		int ret;

		if (cv_mailbox_get(args->user, cv_str_c(seen.trash), &trash, err) < 0)
			return CV_HOOK_ERROR;
		ret = cv_txn_copy(args->txn, expunges[i].mailbox, expunges[i].uids, trash, false, NULL, NULL, err);
		cv_mailbox_unref(&trash);
		if (ret < 0)
			return CV_HOOK_ERROR;
	}
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_delivery(void *ctx, struct cv_hook_delivery *args, struct cv_err *err)
{
	struct cv_save_config config = { .delivery = true };
	struct cv_mailbox *mailbox;
	struct cv_save *save;
	struct cv_txn *txn;

	(void)ctx;
	if (!seen.file_in_hook)
		return seen.answer;
	/* Not waited for: the delivery is. */
	assert_int_equal(cv_mailbox_get(args->user, CV_STR("Junk"), &mailbox, err), 1);
	txn = cv_txn_begin(args->user);
	assert_int_equal(cv_save_begin(txn, mailbox, &config, &save, err), 1);
	assert_int_equal(cv_save_write(save, args->delivery->octets, err), 1);
	assert_int_equal(cv_save_finish(save, err), 1);
	assert_int_equal(cv_txn_commit(&txn, NULL, NULL, err), 0);
	cv_mailbox_unref(&mailbox);
	return CV_HOOK_DONE;
}

static enum cv_hook_result on_delivered(void *ctx, struct cv_hook_delivered *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	cv_buf_printf(&seen.text, "delivered %u;", args->delivery->uid);
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_committed(void *ctx, struct cv_hook_committed *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	for (size_t i = 0; seen.committed && i < args->count; i++)
		cv_buf_printf(&seen.text, "%d %.*s %u %u>%u;", (int)args->changes[i].kind, CV_STR_ARG(args->changes[i].name), args->changes[i].uid,
			args->changes[i].old_flags, args->changes[i].flags);
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_access(void *ctx, struct cv_hook_mailbox_access *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	seen.asked++;
	if (cv_str_eq_c(args->name, "Trash"))
		args->rights &= ~seen.taken;
	return CV_HOOK_PASS;
}

static void add_hooks(struct cv_registry *reg)
{
	struct cv_err err = { 0 };

	assert_ok(cv_hook_add_mailbox_access(reg, on_access, NULL, &err));
	assert_ok(cv_hook_add_message_save(reg, on_save, NULL, &err));
	assert_ok(cv_hook_add_commit(reg, on_commit, NULL, &err));
	assert_ok(cv_hook_add_committed(reg, on_committed, NULL, &err));
	assert_ok(cv_hook_add_delivery(reg, on_delivery, NULL, &err));
	assert_ok(cv_hook_add_delivered(reg, on_delivered, NULL, &err));
}

static void begin(struct store *s, void **state)
{
	cv_buf_deinit(&seen.text);
	seen = (struct seen){ 0 };
	cv_buf_init(&seen.text, 1 << 16);
	store_init(s, state);
	s->add_hooks = add_hooks;
	store_open(s);
}

static void end(struct store *s)
{
	cv_buf_deinit(&seen.text);
	store_deinit(s);
}

static void expect_seen(const char *want)
{
	assert_true(cv_buf_ok(&seen.text));
	assert_str_eq(cv_buf_str(&seen.text), cv_str_c(want));
	cv_buf_clear(&seen.text);
}

static int copy(struct store *s, uint32_t first, uint32_t last, const char *to, bool move, struct cv_err *err)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX"), *target = store_get(s, to);
	struct cv_ranges uids = { 0 };
	struct cv_txn *txn = cv_txn_begin(s->user);
	int ret;

	cv_ranges_add(&uids, first, last);
	ret = cv_txn_copy(txn, inbox, &uids, target, move, NULL, NULL, err);
	if (ret < 0)
		cv_txn_rollback(&txn);
	else
		ret = cv_txn_commit_wait(&txn, err);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&target);
	return ret;
}

static void saving_copying_and_moving_ask_for_each_message(void **state)
{
	struct store s;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", OTHER, CV_FLAG_SEEN);
	expect_seen("save INBOX;SAVE INBOX;save INBOX;SAVE INBOX;");
	assert_ok(copy(&s, 1, 2, "Sent", false, &err));
	expect_seen("copy Sent from INBOX 1;copy Sent from INBOX 2;COPY Sent 1:2;");
	assert_ok(copy(&s, 2, 2, "Junk", true, &err));
	expect_seen("move Junk from INBOX 2;COPY Junk 2;");
	store_expect(&s, "INBOX", "1 -");
	store_expect(&s, "Sent", "1 -|2 S");
	store_expect(&s, "Junk", "1 S");
	end(&s);
}

static void hooks_mark_copies_and_the_source_stays(void **state)
{
	struct store s;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save_keyword(&s, "INBOX", MAIL, CV_FLAG_SEEN, "work");
	seen.keyword = "$Filed";
	assert_ok(copy(&s, 1, 1, "Sent", false, &err));
	store_expect(&s, "INBOX", "1 S work");
	store_expect(&s, "Sent", "1 SF work $Filed");
	seen.keyword = NULL;
	store_close(&s);
	store_open(&s);
	store_expect(&s, "Sent", "1 SF work $Filed");
	end(&s);
}

static void a_refused_copy_leaves_nothing(void **state)
{
	struct store s;
	struct cv_mailbox *sent, *inbox;
	struct cv_mailbox_status before, after;
	struct cv_err err = { 0 };
	struct cv_row row;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", OTHER, 0);
	store_save(&s, "INBOX", MAIL, 0);
	sent = store_get(&s, "Sent");
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_get_status(sent, &before, &err));
	seen.deny_text = "Evil";
	for (int move = 0; move < 2; move++) {
		err = (struct cv_err){ 0 };
		assert_int_equal(copy(&s, 1, 3, "Sent", move, &err), -1);
		assert_int_equal(err.code, CV_ERR_PERM);
		assert_true(err.public_text);
		assert_string_equal(err.text, "This message is not wanted");
	}
	assert_ok(cv_mailbox_get_status(sent, &after, &err));
	assert_int_equal(after.messages, 0);
	assert_int_equal(after.highest_modseq, before.highest_modseq);
	store_expect(&s, "INBOX", "1 -|2 -|3 -");
	assert_int_equal(cv_mailbox_row(inbox, 2, &row, &err), 1);
	assert_int_equal(row.physical_size, strlen(OTHER));
	assert_int_equal(cv_mailbox_row(inbox, 4, &row, &err), 0);
	/* UIDs that were given out for what failed are not given again. */
	seen.deny_text = NULL;
	assert_ok(copy(&s, 3, 3, "Sent", false, &err));
	cv_mailbox_unref(&sent);
	cv_mailbox_unref(&inbox);
	store_close(&s);
	store_open(&s);
	store_expect(&s, "Sent", "3 -");
	store_octets(&s, "Sent", 3, MAIL);
	end(&s);
}

static void a_refused_rename_of_the_inbox_leaves_no_mailbox(void **state)
{
	struct store s;
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save(&s, "INBOX", OTHER, 0);
	seen.deny_text = "Evil";
	assert_int_equal(cv_mailbox_rename(s.user, CV_STR("INBOX"), CV_STR("old"), &err), -1);
	assert_int_equal(err.code, CV_ERR_PERM);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("old"), &info), 0);
	store_expect(&s, "INBOX", "1 -");
	seen.deny_text = NULL;
	err = (struct cv_err){ 0 };
	assert_ok(cv_mailbox_rename(s.user, CV_STR("INBOX"), CV_STR("old"), &err));
	store_expect(&s, "old", "1 -");
	end(&s);
}

static void commit_hooks_add_copies_of_what_is_expunged(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, CV_FLAG_SEEN);
	store_save(&s, "INBOX", OTHER, CV_FLAG_DELETED);
	cv_buf_clear(&seen.text);
	seen.trash = "Trash";
	store_expunge(&s, "INBOX", 2, 2);
	expect_seen("EXPUNGE INBOX 2;copy Trash from INBOX 2;");
	store_expect(&s, "INBOX", "1 S");
	store_expect(&s, "Trash", "1 D");
	store_octets(&s, "Trash", 1, OTHER);
	/* What cannot be copied is not expunged. */
	seen.trash = "nowhere";
	{
		struct cv_mailbox *inbox = store_get(&s, "INBOX");
		struct cv_ranges uids = { 0 };
		struct cv_err err = { 0 };
		struct cv_txn *txn = cv_txn_begin(s.user);

		cv_ranges_add(&uids, 1, 1);
		assert_ok(cv_txn_expunge(txn, inbox, &uids, &err));
		assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		assert_true(cv_err_is_temp(&err));
		cv_ranges_free(&uids);
		cv_mailbox_unref(&inbox);
	}
	store_expect(&s, "INBOX", "1 S");
	seen.trash = NULL;
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "1 S");
	store_octets(&s, "Trash", 1, OTHER);
	end(&s);
}

static void on_done(void *ctx, int result, const struct cv_err *err)
{
	(void)err;
	*(int *)ctx = result;
}

static void delivery_waits_for_what_the_hook_filed(void **state)
{
	struct store s;
	struct cv_delivery delivery = { .octets = CV_STR_INIT(MAIL), .mailbox = CV_STR_INIT("INBOX") };
	struct cv_err err = { 0 };
	int result = 99;

	begin(&s, state);
	seen.file_in_hook = true;
	store_close(&s);
	s.loop = cv_loop_new(CV_LOOP_FAKE);
	store_open(&s);
	assert_ok(cv_deliver(s.user, &delivery, on_done, &result, &err));
	assert_int_equal(result, 99); /* not before it is on disk */
	for (int i = 0; i < 5; i++)
		cv_loop_once(s.loop, 0);
	assert_int_equal(result, 0);
	expect_seen("save Junk;SAVE Junk;delivered 0;");
	store_expect(&s, "Junk", "1 -");
	store_expect(&s, "INBOX", "");
	end(&s);
}

static void committed_changes_are_told_one_by_one(void **state)
{
	struct store s;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, CV_FLAG_SEEN);
	cv_buf_clear(&seen.text);
	seen.committed = true;
	store_flags(&s, "INBOX", 1, 2, CV_FLAGS_ADD, CV_FLAG_SEEN | CV_FLAG_FLAGGED, NULL);
	expect_seen("FLAGS INBOX 1:2;7 INBOX 1 0>5;7 INBOX 2 1>5;");
	assert_ok(copy(&s, 2, 2, "Sent", true, &err));
	expect_seen("move Sent from INBOX 2;COPY Sent 2;9 Sent 1 0>5;8 INBOX 2 5>5;");
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_REPLACE, 0, "word");
	expect_seen("FLAGS INBOX 1;7 INBOX 1 5>0;");
	end(&s);
}

static void on_event(void *ctx, const struct cv_mail_event *event)
{
	(void)ctx;
	cv_buf_printf(&seen.text, "%u %.*s", event->kinds, CV_STR_ARG(event->name));
	if (event->new_name.ptr != NULL)
		cv_buf_printf(&seen.text, ">%.*s", CV_STR_ARG(event->new_name));
	cv_buf_printf(&seen.text, "%s%s;", event->subscribed ? " s" : "", event->parent_subscribed ? " p" : "");
}

static void watches_are_told_of_mailboxes_and_names(void **state)
{
	struct cv_mail_watch watch = { .fn = on_event };
	struct store s;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	assert_ok(cv_mailbox_subscribe(s.user, CV_STR("top"), true, &err));
	cv_mail_watch_start(s.user, &watch);
	cv_buf_clear(&seen.text);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	expect_seen("FLAGS INBOX 1;4 INBOX s;");
	/* Nothing changes. */
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	expect_seen("FLAGS INBOX 1;");
	assert_ok(copy(&s, 2, 2, "Sent", true, &err));
	expect_seen("move Sent from INBOX 2;COPY Sent 2;1 Sent s;2 INBOX s;");
	assert_ok(cv_mailbox_create(s.user, CV_STR("top/new"), 0, &err));
	expect_seen("8 top/new p;");
	assert_ok(cv_mailbox_rename(s.user, CV_STR("top/new"), CV_STR("newer"), &err));
	expect_seen("32 top/new>newer p;");
	assert_ok(cv_mailbox_subscribe(s.user, CV_STR("newer"), true, &err));
	expect_seen("64 newer s;");
	assert_ok(cv_mailbox_delete(s.user, CV_STR("newer"), &err));
	expect_seen("16 newer s;");
	/* INBOX stays, and its messages go: that is a rename all the same. */
	assert_ok(cv_mailbox_rename(s.user, CV_STR("INBOX"), CV_STR("old"), &err));
	expect_seen("8 old;move old from INBOX 1;COPY old 1;1 old;2 INBOX s;32 INBOX>old;");
	cv_mail_watch_stop(&watch);
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("save INBOX;SAVE INBOX;");
	end(&s);
}

static void delivery_can_be_discarded_and_refused(void **state)
{
	struct store s;
	struct cv_delivery delivery = { .octets = CV_STR_INIT(MAIL), .mailbox = CV_STR_INIT("INBOX") };
	struct cv_err err = { 0 };
	int result = 99;

	begin(&s, state);
	seen.answer = CV_HOOK_DONE;
	assert_ok(cv_deliver(s.user, &delivery, on_done, &result, &err));
	assert_int_equal(result, 0);
	expect_seen("delivered 0;");
	seen.answer = CV_HOOK_DENY;
	result = 99;
	assert_int_equal(cv_deliver(s.user, &delivery, on_done, &result, &err), -1);
	assert_int_equal(result, 99);
	assert_int_equal(err.code, CV_ERR_PERM);
	expect_seen("");
	store_expect(&s, "INBOX", "");
	end(&s);
}

static int flags(struct store *s, const char *mailbox, bool trust, const struct cv_flags_change *change, struct cv_err *err)
{
	struct cv_mailbox *box = store_get(s, mailbox);
	struct cv_ranges uids = { 0 };
	struct cv_txn *txn = cv_txn_begin(s->user);
	int ret;

	cv_ranges_add(&uids, 1, UINT32_MAX);
	if (trust)
		cv_txn_trust(txn);
	ret = cv_txn_flags(txn, box, &uids, change, NULL, NULL, err);
	if (ret < 0)
		cv_txn_rollback(&txn);
	else
		ret = cv_txn_commit_wait(&txn, err);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&box);
	return ret;
}

static void flags_without_rights_stay_as_they_are(void **state)
{
	const struct cv_str keyword = CV_STR_INIT("new");
	const struct cv_flags_change replace = { .op = CV_FLAGS_REPLACE, .flags = CV_FLAG_ANSWERED | CV_FLAG_DELETED, .keywords = &keyword,
		.keyword_count = 1 };
	const struct cv_flags_change add = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_DRAFT, .keywords = &keyword, .keyword_count = 1 };
	const struct cv_flags_change nothing = { .op = CV_FLAGS_ADD };
	struct store s;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save_keyword(&s, "Trash", MAIL, CV_FLAG_SEEN | CV_FLAG_FLAGGED, "old");
	seen.taken = CV_RIGHT_DELETED;
	assert_ok(flags(&s, "Trash", false, &replace, &err));
	store_expect(&s, "Trash", "1 A new");
	seen.taken = CV_RIGHT_WRITE;
	assert_ok(flags(&s, "Trash", false, &replace, &err));
	store_expect(&s, "Trash", "1 AD new");
	assert_int_equal(flags(&s, "Trash", false, &add, &err), -1);
	assert_int_equal(err.code, CV_ERR_PERM);
	assert_ok(flags(&s, "Trash", false, &nothing, &err));
	seen.taken = CV_RIGHT_LOOKUP | CV_RIGHT_SEEN | CV_RIGHT_WRITE | CV_RIGHT_DELETED;
	assert_int_equal(flags(&s, "Trash", false, &replace, &err), -1);
	assert_int_equal(err.code, CV_ERR_PERM);
	store_expect(&s, "Trash", "1 AD new");
	assert_ok(flags(&s, "Trash", true, &add, &err));
	store_expect(&s, "Trash", "1 ADT new");
	end(&s);
}

/* RFC 5464 section 3.3: "the "l" right and any one of the "r", "s", "w", "i", or "p" rights". */
static void annotations_need_rights_and_are_told(void **state)
{
	const unsigned any = CV_RIGHT_READ | CV_RIGHT_SEEN | CV_RIGHT_WRITE | CV_RIGHT_INSERT | CV_RIGHT_POST;
	struct cv_mailbox *trash;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	begin(&s, state);
	trash = store_get(&s, "Trash");
	seen.taken = any & ~(unsigned)CV_RIGHT_POST;
	assert_ok(cv_annotations_may(trash, &err));
	seen.committed = true;
	store_annotate(&s, "Trash", "/private/a", "x");
	expect_seen("ANNOTATE Trash /private/a=x;5 /private/a 0 0>0;");
	store_annotate(&s, NULL, "/private/a", NULL);
	expect_seen("ANNOTATE  /private/a=;5 /private/a 0 0>0;");
	seen.taken = any;
	assert_int_equal(cv_annotations_may(trash, &err), -1);
	assert_int_equal(err.code, CV_ERR_PERM);
	seen.taken = CV_RIGHT_LOOKUP;
	assert_int_equal(cv_annotations_may(trash, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	txn = cv_txn_begin(s.user);
	assert_int_equal(cv_txn_annotate(txn, trash, CV_STR("/private/a"), CV_STR("y"), &err), -1);
	cv_txn_trust(txn);
	assert_ok(cv_txn_annotate(txn, trash, CV_STR("/private/a"), CV_STR("y"), &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&trash);
	end(&s);
}

static void hooks_and_the_server_itself_need_no_rights(void **state)
{
	struct store s;
	struct cv_mailbox *trash;
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", OTHER, 0);
	seen.taken = CV_RIGHT_ALL;
	assert_int_equal(copy(&s, 1, 1, "Trash", false, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	seen.trash = "Trash";
	store_expunge(&s, "INBOX", 1, 1);
	store_expect(&s, "Trash", "1 -");
	assert_int_equal(cv_mailbox_open(s.user, CV_STR("Trash"), CV_RIGHT_READ, &trash, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	seen.taken = CV_RIGHT_READ;
	assert_int_equal(cv_mailbox_open(s.user, CV_STR("trash"), CV_RIGHT_READ, &trash, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	assert_int_equal(cv_mailbox_open(s.user, CV_STR("Trash"), CV_RIGHT_READ, &trash, &err), -1);
	assert_int_equal(err.code, CV_ERR_PERM);
	assert_ok(cv_mailbox_open(s.user, CV_STR("Trash"), CV_RIGHT_LOOKUP, &trash, &err));
	cv_mailbox_unref(&trash);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Trash"), &info), 1);
	assert_true(cv_mailbox_visible(s.user, &info));
	/* One question for a transaction with one mailbox, however many messages. */
	seen.taken = 0;
	seen.trash = NULL;
	for (int i = 0; i < 20; i++)
		store_save(&s, "INBOX", MAIL, 0);
	seen.asked = 0;
	assert_ok(copy(&s, 3, 20, "Trash", false, &err));
	assert_int_equal(seen.asked, 1);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(saving_copying_and_moving_ask_for_each_message),
		cv_test(hooks_mark_copies_and_the_source_stays),
		cv_test(a_refused_copy_leaves_nothing),
		cv_test(a_refused_rename_of_the_inbox_leaves_no_mailbox),
		cv_test(commit_hooks_add_copies_of_what_is_expunged),
		cv_test(delivery_waits_for_what_the_hook_filed),
		cv_test(committed_changes_are_told_one_by_one),
		cv_test(watches_are_told_of_mailboxes_and_names),
		cv_test(delivery_can_be_discarded_and_refused),
		cv_test(flags_without_rights_stay_as_they_are),
		cv_test(annotations_need_rights_and_are_told),
		cv_test(hooks_and_the_server_itself_need_no_rights),
	};

	return store_tests_run(tests);
}
