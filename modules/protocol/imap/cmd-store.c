/* SPDX-License-Identifier: MIT
   STORE (RFC 3501 section 6.4.6, RFC 7162 section 3.1.3, RFC 5257 section 4.5). */
#include <config.h>

#include "annotate.h"

#include "modules/lib/imap/imap-flags.h"

#include <culver/time.h>

struct store {
	bool silent;
	struct cv_flags_change change;
	bool annotate;            /* instead: */
	struct cv_notes_change notes;
	bool checking;            /* whether messages have the body parts that annotations name */
	struct imap_iter check;
	struct cv_arena *arena;   /* of the message that is looked at */
	struct cv_ranges *uids;
	struct cv_ranges *seqs;
	struct cv_ranges *failed; /* UIDs: modseq above UNCHANGEDSINCE */
	struct cv_ranges *gone;   /* UIDs */
	/* The answers, by sequence number: with flags, and of .SILENT with MODSEQ alone. */
	struct cv_ranges *with_flags, *answers;
	bool committed;
	bool backwards; /* the message limit cut them short */
	struct imap_iter iter;
};

/* store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) */
static bool parse_item(const struct cv_imap_arg *arg, struct store *store)
{
	static const struct {
		const char *name;
		enum cv_flags_op op;
		bool silent;
	} items[] = {
		{ "FLAGS", CV_FLAGS_REPLACE, false },
		{ "FLAGS.SILENT", CV_FLAGS_REPLACE, true },
		{ "+FLAGS", CV_FLAGS_ADD, false },
		{ "+FLAGS.SILENT", CV_FLAGS_ADD, true },
		{ "-FLAGS", CV_FLAGS_REMOVE, false },
		{ "-FLAGS.SILENT", CV_FLAGS_REMOVE, true },
	};

	for (size_t i = 0; i < CV_COUNT_OF(items); i++) {
		if (cv_imap_arg_is(arg, items[i].name)) {
			store->change.op = items[i].op;
			store->silent = items[i].silent;
			return true;
		}
	}
	return false;
}

/* store-modifiers: "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")" */
static bool parse_modifiers(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct store *store)
{
	struct cv_str number;

	if (!cv_imap_arg_is(arg, "UNCHANGEDSINCE") || !cv_imap_arg_atom(arg->next, &number) ||
		!cv_str_to_u64(number, INT64_MAX, &store->change.unchanged_since) || arg->next->next != NULL) {
		imap_bad(cmd, "Invalid STORE modifier");
		return false;
	}
	store->change.unchanged_since_set = true;
	return true;
}

/* att-annotate = "ANNOTATION" SP "(" entry-att *(SP entry-att) ")". False: the reply was made. */
static bool parse_annotation(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct store *store)
{
	/* "The ANNOTATION message data item used with the STORE command has an implicit ".SILENT" behavior." */
	store->annotate = store->silent = true;
	if (arg != NULL && arg->next != NULL) {
		imap_bad(cmd, "Unexpected arguments");
		return false;
	}
	if (!annotate_take(cmd, arg, &store->notes.notes, &store->notes.count))
		return false;
	store->notes.unchanged_since_set = store->change.unchanged_since_set;
	store->notes.unchanged_since = store->change.unchanged_since;
	return true;
}

/* sequence-set [SP store-modifiers] SP store-att-flags. False: the reply was made. */
static bool parse(struct cv_imap_cmd *cmd, struct store *store)
{
	const struct cv_imap_arg *arg = cmd->args, *first;
	struct cv_imap_flags flags;
	struct cv_err err = { 0 };

	if (!imap_sequence_arg(cmd, arg, store->seqs))
		return false;
	arg = arg->next;
	if (cv_imap_arg_list(arg, &first)) {
		if (!parse_modifiers(cmd, first, store))
			return false;
		arg = arg->next;
	}
	if (cv_imap_arg_is(arg, "ANNOTATION") && imap_cmd_session(cmd)->set->imap_annotate)
		return parse_annotation(cmd, arg->next, store);
	if (!parse_item(arg, store) || arg->next == NULL) {
		imap_bad(cmd, "STORE needs FLAGS, +FLAGS or -FLAGS and flags");
		return false;
	}
	arg = arg->next;
	/* flag-list / (flag *(SP flag)) */
	if (cv_imap_arg_list(arg, &first)) {
		if (arg->next != NULL) {
			imap_bad(cmd, "Unexpected arguments");
			return false;
		}
		arg = first;
	}
	if (cv_imap_flags_parse(cmd->arena, arg, &flags, &err) < 0) {
		imap_bad_err(cmd, &err);
		return false;
	}
	store->change.flags = flags.flags;
	store->change.keywords = flags.keywords;
	store->change.keyword_count = flags.count;
	return true;
}

static void free_arena(void *ctx)
{
	struct store *store = ctx;

	cv_arena_free(&store->arena);
}

/* Does the message have the body parts? 1, 0, -1 with err. */
static int check_message(struct imap_session *s, struct store *store, uint32_t seq, struct cv_err *err)
{
	struct cv_mail *mail = NULL;
	struct cv_str record = { 0 };
	int ret = cv_mail_open(s->view, seq, &mail, err);

	if (ret >= 0)
		ret = cv_mail_record(mail, &record, err);
	if (ret >= 0)
		ret = annotate_parts_in_record(store->arena, record, store->notes.notes, store->notes.count, err);
	cv_mail_close(&mail);
	cv_arena_reset(store->arena);
	return ret;
}

static enum cv_imap_result change_annotations(struct cv_imap_cmd *cmd, struct store *store);

/* RFC 5257 section 3.2.1: "The server MUST return a BAD response if the client uses […] a specifier referring to a non-existent part": before anything is
   changed. One that is gone is passed over later. */
static enum cv_imap_result check_parts(struct cv_imap_cmd *cmd, struct store *store)
{
	struct imap_session *s = imap_cmd_session(cmd);
	uint64_t start = cv_time_mono_us();
	uint32_t seq;

	while (imap_iter_next(store->seqs, &store->check, &seq)) {
		struct cv_err err = { 0 };
		int ret = check_message(s, store, seq, &err);

		if (ret == 0)
			return imap_bad(cmd, "There is no such body part");
		if (ret < 0 && err.code != CV_ERR_EXPUNGED)
			return imap_fail(cmd, &err);
		if (cv_time_mono_us() - start > IMAP_SLICE_US)
			return CV_IMAP_STEP;
	}
	store->checking = false;
	return change_annotations(cmd, store);
}

static enum cv_imap_result change_annotations(struct cv_imap_cmd *cmd, struct store *store)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_txn *txn = cv_txn_begin(cmd->user);
	struct cv_err err = { 0 };

	if (cv_txn_notes(txn, cv_view_mailbox(s->view), store->uids, &store->notes, store->failed, store->gone, &err) < 0) {
		cv_txn_rollback(&txn);
		return annotate_fail(cmd, &err);
	}
	return imap_begin_commit(cmd, &txn) == CV_IMAP_WAIT ? CV_IMAP_WAIT : annotate_fail(cmd, &imap_cmd(cmd)->commit_err);
}

static enum cv_imap_result run_annotation(struct cv_imap_cmd *cmd, struct store *store)
{
	if (!annotate_names_parts(store->notes.notes, store->notes.count))
		return change_annotations(cmd, store);
	store->checking = true;
	store->arena = cv_arena_new("message that gets an annotation", NULL, 0);
	cv_arena_cleanup(cmd->arena, free_arena, store);
	return CV_IMAP_STEP;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct store *store = cv_new(cmd->arena, struct store, 1);
	struct cv_ranges *uids = imap_ranges(cmd);
	struct cv_err err = { 0 };
	struct cv_txn *txn;

	store->seqs = imap_ranges(cmd);
	store->failed = imap_ranges(cmd);
	store->gone = imap_ranges(cmd);
	store->with_flags = imap_ranges(cmd);
	store->answers = imap_ranges(cmd);
	cmd->data = store;
	if (!parse(cmd, store))
		return CV_IMAP_DONE;
	if (store->change.unchanged_since_set)
		imap_enable_condstore(s);
	/* RFC 5257 section 3.4: private annotations can be changed in "any mailbox with the "r" ACL right". */
	if (store->annotate ? s->examined : cv_view_readonly(s->view))
		return imap_no(cmd, "READ-ONLY", "Mailbox is read-only");
	store->backwards = imap_limit_cut(store->seqs, imap_message_limit(s));
	if (store->backwards)
		imap_limited(cmd, imap_message_limit(s), cv_view_uid(s->view, store->seqs->data[0].first));
	imap_uids_of(s, store->seqs, false, uids);
	if (uids->count == 0)
		return imap_ok(cmd, NULL, "Store completed");
	store->uids = uids;
	if (store->annotate)
		return run_annotation(cmd, store);
	txn = cv_txn_begin(cmd->user);
	if (cv_txn_flags(txn, cv_view_mailbox(s->view), uids, &store->change, store->failed, store->gone, &err) < 0) {
		cv_txn_rollback(&txn);
		return imap_fail(cmd, &err);
	}
	imap_refresh_rights(s);
	if (store->change.op != CV_FLAGS_REMOVE && (store->change.flags & cv_rights_flags(s->rights) & CV_FLAG_DELETED) != 0)
		s->stats.deleted += cv_ranges_numbers(uids);
	return imap_commit(cmd, &txn);
}

/* Flags that others changed meanwhile are told in the same answers, so that each message is told once. */
static void take_events(struct imap_session *s, struct store *store)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->events.count; i++) {
		uint32_t seq = s->events.data[i].kind == CV_EVENT_FLAGS ? cv_view_seq(s->view, s->events.data[i].uid) : 0;

		if (seq != 0)
			cv_ranges_add(store->with_flags, seq, seq);
		else
			s->events.data[kept++] = s->events.data[i];
	}
	s->events.count = kept;
}

static void add_ranges(struct cv_ranges *to, const struct cv_ranges *from)
{
	for (size_t i = 0; i < from->count; i++)
		cv_ranges_add(to, from->data[i].first, from->data[i].last);
}

static void add_by_uid(const struct imap_session *s, struct cv_ranges *seqs, const struct cv_ranges *uids)
{
	struct imap_iter iter = { 0 };
	uint32_t uid;

	while (imap_iter_next(uids, &iter, &uid)) {
		uint32_t seq = cv_view_seq(s->view, uid);

		if (seq != 0)
			cv_ranges_add(seqs, seq, seq);
	}
}

static void choose_answers(struct imap_session *s, struct imap_cmd *cmd, struct store *store)
{
	if ((s->workarounds & IMAP_DELAY_NEWMAIL) == 0)
		imap_sync(s, false, cmd->commit_id);
	take_events(s, store);
	if (!store->silent)
		add_ranges(store->with_flags, store->seqs);
	/* RFC 7162 section 3.1.3: it is recommended to tell why a message failed the test. */
	add_by_uid(s, store->with_flags, store->failed);
	add_ranges(store->answers, store->with_flags);
	/* "An untagged FETCH response MUST be sent, even if the .SILENT suffix is specified, and the response MUST include the MODSEQ". */
	if (s->condstore)
		add_ranges(store->answers, store->seqs);
}

static enum cv_imap_result reply(struct cv_imap_cmd *cmd, struct store *store)
{
	struct imap_session *s = imap_cmd_session(cmd);
	const char *code = NULL;
	bool only_gone = cv_ranges_numbers(store->gone) >= cv_ranges_numbers(store->seqs);

	if (store->failed->count > 0) {
		struct cv_ranges *seqs = imap_ranges(cmd);
		struct cv_buf text;

		add_by_uid(s, seqs, store->failed);
		cv_buf_init(&text, SIZE_MAX / 2);
		cv_buf_append_c(&text, "MODIFIED ");
		cv_ranges_append(cmd->uid ? store->failed : seqs, &text);
		code = cv_arena_strdup(cmd->arena, text.data);
		cv_buf_deinit(&text);
	}
	/* RFC 2180 section 4.2: with .SILENT it is enough that all others were changed; by UID the missing ones were never meant. */
	if (store->gone->count > 0 && !cmd->uid && (!store->silent || only_gone))
		return imap_no(cmd, code != NULL ? code : "EXPUNGEISSUED", "Some of the messages no longer exist");
	return imap_ok(cmd, code, store->failed->count > 0 ? "Conditional store failed for some messages" : "Store completed");
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct store *store = cmd->data;
	uint32_t seq;

	if (store->checking)
		return check_parts(cmd, store);
	if (imap_cmd(cmd)->commit_result < 0)
		return store->annotate ? annotate_fail(cmd, &imap_cmd(cmd)->commit_err) : imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	if (!store->committed) {
		choose_answers(s, imap_cmd(cmd), store);
		store->committed = true;
	}
	if (!imap_write_events(s))
		return CV_IMAP_STEP;
	while (imap_room(cmd) > 0) {
		struct cv_row row;

		if (!(store->backwards ? imap_iter_prev : imap_iter_next)(store->answers, &store->iter, &seq)) {
			imap_cmd(cmd)->synced = !cmd->uid; /* by UID, EXPUNGE may follow */
			return reply(cmd, store);
		}
		if (cv_view_flags(s->view, seq, &row))
			imap_write_flags(s, imap_out(cmd), seq, &row, cmd->uid, cv_ranges_has(store->with_flags, seq));
	}
	return CV_IMAP_STEP;
}

const struct cv_imap_command imap_cmd_store = {
	.verb = "STORE",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_KEEPS_SEQ,
	.run = run,
	.step = step,
};
