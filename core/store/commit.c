/* SPDX-License-Identifier: MIT
   From a transaction to a durable, visible change: commit, flush, publish. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

#define SYNC_DELAY_MS 1000
#define USABLE_RETRY_MS 1000
#define EMBED_PARSE_MAX ((size_t)256 << 10) /* parse records within one copying transaction; beyond they are copied with the file, or made when asked for */
#define GROUP_KEY 12
#define PART_MAX ((size_t)1 << 30)

/* ---- groups of rows that change alike ------------------------------------------------------------------- */

struct alike {
	uint16_t before, after;
	uint32_t set;
	uint64_t size;
	struct cv_ranges uids;
	struct cv_buf refs;
};
struct grouping {
	CV_VEC(struct alike) groups;
	struct cv_map *by_key; /* index + 1 */
	size_t last;
	struct cv_ranges all;
};

static void grouping_init(struct grouping *g)
{
	*g = (struct grouping){ .by_key = cv_map_new() };
}

static void grouping_deinit(struct grouping *g)
{
	for (size_t i = 0; i < g->groups.count; i++) {
		cv_ranges_free(&g->groups.data[i].uids);
		cv_buf_deinit(&g->groups.data[i].refs);
	}
	cv_vec_free(&g->groups);
	cv_map_free(&g->by_key);
	cv_ranges_free(&g->all);
}

static struct alike *group_of(struct grouping *g, uint16_t before, uint16_t after, uint32_t set)
{
	const uint32_t key[3] = { before, after, set };
	struct alike *a = g->groups.count > 0 ? &g->groups.data[g->last] : NULL;
	uintptr_t index;

	if (a != NULL && a->before == before && a->after == after && a->set == set)
		return a;
	index = (uintptr_t)cv_map_get(g->by_key, cv_str_mem(key, sizeof(key)));
	if (index == 0) {
		a = cv_vec_push(&g->groups);
		a->before = before;
		a->after = after;
		a->set = set;
		cv_buf_init(&a->refs, PART_MAX);
		index = g->groups.count;
		cv_map_set(g->by_key, cv_str_mem(key, sizeof(key)), (void *)index);
	}
	g->last = index - 1;
	return &g->groups.data[g->last];
}

/* ---- encoding and applying ------------------------------------------------------------------------------- */

struct build {
	struct cv_txn *txn;
	struct cv_buf *out;         /* the journal's pending buffer */
	struct cv_record_head head; /* as it will be: sequence number and place count */
	struct cv_journal_pos pos;
	size_t parse_octets;
	uint32_t octets;            /* of messages */
	bool empty;
};

static void touch(struct cv_txn *txn, struct cv_mailbox *mailbox, unsigned kind)
{
	for (size_t i = 0; i < txn->touched.count; i++) {
		if (txn->touched.data[i] == mailbox) {
			txn->touched_kinds.data[i] |= kind;
			return;
		}
	}
	*cv_vec_push(&txn->touched) = mailbox;
	*cv_vec_push(&txn->touched_kinds) = kind;
	cv_mailbox_ref(mailbox);
}

/* Takes the ranges over. */
static void add_event(struct cv_txn *txn, struct cv_mailbox *mailbox, enum cv_view_event_kind kind, struct cv_ranges *uids, uint64_t modseq)
{
	struct cv_txn_event *event;

	if (uids->count == 0 || cv_list_empty(&mailbox->views))
		return;
	event = cv_vec_push(&txn->events);
	event->mailbox = mailbox;
	cv_mailbox_ref(mailbox);
	event->event = (struct cv_store_event){ .kind = kind, .uids = *uids, .modseq = modseq, .txn = txn->id };
	*uids = (struct cv_ranges){ 0 };
}

/* An entry that was checked before: into the record and into memory. */
static void emit(struct build *build, const struct cv_entry *entry)
{
	struct cv_user *user = build->txn->user;
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &entry->mailbox);
	struct cv_err err = { 0 };
	uint64_t parse_at = 0;

	cv_entry_put(build->out, entry);
	user->journal.record_version = CV_MAX(user->journal.record_version, cv_entry_version(entry));
	if (!cv_buf_ok(build->out))
		return; /* cv_journal_end tells; memory is read anew then */
	build->empty = false;
	if (entry->message.parse.len > 0) /* at the end of the body: u32 CRC, u32 length, octets */
		parse_at = cv_journal_offset(&user->journal, build->out->len - cv_entry_behind_parse(entry) - entry->message.parse.len - 8);
	if (cv_entry_is_tree(entry->kind))
		return; /* applied when it is durable: there is no way back from it in memory */
	if (mailbox != NULL)
		touch(build->txn, mailbox, cv_mail_watch_kind(entry->kind));
	if (cv_apply_entry(user, &build->head, build->pos, entry, parse_at, CV_APPLY_COUNTS | CV_APPLY_ROWS | CV_APPLY_NOTE, &err) < 0)
		cv_fatal("a change that was just made does not apply: %s", err.text);
}

static void emit_groups(struct build *build, struct cv_mailbox *mailbox, enum cv_entry_kind kind, struct grouping *g)
{
	struct cv_entry entry = { .kind = kind, .mailbox = mailbox->guid };
	struct cv_buf groups, keywords;

	if (g->groups.count == 0)
		return;
	cv_buf_init(&groups, PART_MAX);
	cv_buf_init(&keywords, PART_MAX);
	for (size_t i = 0; i < g->groups.count; i++) {
		struct alike *a = &g->groups.data[i];

		cv_buf_clear(&keywords);
		if (kind == CV_ENTRY_FLAGS) {
			cv_keyword_set_encode(&mailbox->keywords, a->set, &keywords);
			cv_group_put_flags(&groups, a->before, a->after, cv_buf_str(&keywords), &a->uids);
		} else {
			cv_group_put_expunge(&groups, a->before, a->size, &a->uids, cv_buf_str(&a->refs));
		}
	}
	if (cv_buf_ok(&groups)) {
		entry.groups = cv_buf_str(&groups);
		emit(build, &entry);
		add_event(build->txn, mailbox, kind == CV_ENTRY_FLAGS ? CV_EVENT_FLAGS : CV_EVENT_EXPUNGE, &g->all, build->head.seq);
	} else {
		build->out->failed = true;
	}
	cv_buf_deinit(&groups);
	cv_buf_deinit(&keywords);
}

static void emit_notes(struct build *build, struct cv_mailbox *mailbox, struct cv_str changes, const struct cv_ranges *uids)
{
	struct cv_entry entry = { .kind = CV_ENTRY_NOTE, .mailbox = mailbox->guid };
	struct cv_buf groups;

	cv_buf_init(&groups, PART_MAX);
	cv_group_put_notes(&groups, changes, uids);
	entry.groups = cv_buf_str(&groups);
	if (cv_buf_ok(&groups))
		emit(build, &entry);
	else
		build->out->failed = true;
	cv_buf_deinit(&groups);
}

/* Of one message that is new in the same record. */
static void emit_new_notes(struct build *build, struct cv_mailbox *mailbox, struct cv_str changes, uint32_t uid)
{
	struct cv_range range = { uid, uid };
	const struct cv_ranges uids = { &range, 1, 1 };

	if (changes.len > 0)
		emit_notes(build, mailbox, changes, &uids);
}

static void build_notes(struct build *build, struct cv_op *op)
{
	struct cv_txn *txn = build->txn;
	struct cv_ranges uids = { 0 };
	struct cv_str names;
	size_t events = txn->events.count;

	cv_notes_changed(op, &uids);
	if (uids.count > 0) {
		emit_notes(build, op->mailbox, op->notes, &uids);
		add_event(txn, op->mailbox, CV_EVENT_NOTES, &uids, build->head.seq);
	}
	if (txn->events.count > events) {
		struct cv_store_event *event = &txn->events.data[events].event;

		names = cv_notes_names(txn->arena, op->notes);
		event->names = cv_malloc(names.len + 1);
		event->names_len = names.len;
		memcpy(event->names, names.ptr, names.len);
	}
	cv_ranges_free(&uids);
}

static uint16_t changed_flags(const struct cv_op *op, uint16_t flags)
{
	switch (op->flags_op) {
	case CV_FLAGS_ADD:
		return flags | op->flags;
	case CV_FLAGS_REMOVE:
		return flags & (uint16_t)~op->flags;
	case CV_FLAGS_REPLACE:
		return (op->flags & (uint16_t)~op->change.keep_flags) | (flags & op->change.keep_flags);
	}
	return flags;
}

static void build_flags(struct build *build, struct cv_op *op)
{
	struct cv_mailbox *mailbox = op->mailbox;
	struct cv_columns *columns = mailbox->columns;
	CV_VEC(uint32_t) ids = { 0 };
	struct grouping g;
	uint32_t last_set = UINT32_MAX, last_result = 0;

	for (size_t i = 0; i < op->keyword_count; i++) {
		uint32_t id;

		if (cv_keyword_id(&mailbox->keywords, op->keywords[i], op->flags_op != CV_FLAGS_REMOVE, &id))
			*cv_vec_push(&ids) = id;
	}
	grouping_init(&g);
	for (size_t i = 0; i < op->uids.count; i++) {
		uint32_t row = cv_columns_from(columns, op->uids.data[i].first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= op->uids.data[i].last; row++) {
			uint16_t before = *cv_col_flags(columns, row), after;
			uint32_t set = *cv_col_keyword_set(columns, row);

			if ((before & CV_ROW_EXPUNGED) != 0)
				continue;
			if (op->flags_op == CV_FLAGS_REPLACE && op->change.keep_keywords) {
				last_result = set;
			} else if (set != last_set) {
				last_result = cv_keyword_set_change(&mailbox->keywords, set, op->flags_op, ids.data, ids.count);
				last_set = set;
			}
			before &= CV_FLAG_ALL;
			after = changed_flags(op, before);
			if (after == before && last_result == set)
				continue;
			cv_ranges_add(&group_of(&g, before, after, last_result)->uids, *cv_col_uid(columns, row), *cv_col_uid(columns, row));
			cv_ranges_add(&g.all, *cv_col_uid(columns, row), *cv_col_uid(columns, row));
		}
	}
	emit_groups(build, mailbox, CV_ENTRY_FLAGS, &g);
	grouping_deinit(&g);
	cv_vec_free(&ids);
}

static void build_expunge(struct build *build, struct cv_mailbox *mailbox, const struct cv_ranges *uids)
{
	struct cv_columns *columns = mailbox->columns;
	struct grouping g;

	grouping_init(&g);
	for (size_t i = 0; i < uids->count; i++) {
		uint32_t row = cv_columns_from(columns, uids->data[i].first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= uids->data[i].last; row++) {
			struct alike *a;

			if (!cv_row_live(columns, row))
				continue;
			a = group_of(&g, *cv_col_flags(columns, row) & CV_FLAG_ALL, 0, 0);
			cv_ranges_add(&a->uids, *cv_col_uid(columns, row), *cv_col_uid(columns, row));
			cv_ranges_add(&g.all, *cv_col_uid(columns, row), *cv_col_uid(columns, row));
			cv_ref_put(&a->refs, build->txn->from_storage ? (struct cv_str){ 0 } : cv_columns_ref(columns, row));
			if (!cv_buf_ok(&a->refs))
				build->out->failed = true;
			a->size += *cv_col_virtual_size(columns, row);
		}
	}
	emit_groups(build, mailbox, CV_ENTRY_EXPUNGE, &g);
	grouping_deinit(&g);
}

/* What its file is to be made of: the source's, or what that is still to be made of. */
static void put_origin(struct cv_op *op, uint32_t row, const struct cv_map *owed, struct cv_entry *entry)
{
	const struct cv_owed_origin *origin = owed != NULL ? cv_map_get(owed, cv_str_mem(&entry->uid, sizeof(entry->uid))) : NULL;

	entry->origin = origin != NULL ? origin->mailbox : op->from->guid;
	entry->origin_uid = origin != NULL ? origin->uid : entry->uid;
	entry->ref = origin != NULL ? origin->ref : cv_columns_ref(op->from->columns, row);
	cv_owed_note(op->mailbox, entry->message.uid);
}

static void build_copy(struct build *build, struct cv_op *op, const struct cv_map *owed)
{
	struct cv_columns *columns = op->from->columns;
	struct cv_ranges moved = { 0 };
	struct cv_buf keywords, parse, notes;
	int64_t now = cv_time_now_sec();
	uint32_t next = 0;

	cv_buf_init(&keywords, PART_MAX);
	cv_buf_init(&parse, CV_PARSE_RECORD_MAX);
	cv_buf_init(&notes, PART_MAX);
	for (size_t i = 0; i < op->copied.count; i++) {
		const struct cv_copied *copied = &op->copied.data[i];
		struct cv_entry entry = { .kind = CV_ENTRY_COPY, .mailbox = op->mailbox->guid, .from = op->from->guid,
			.uid = copied->from_uid, .on = op->move };
		struct cv_err ignored = { 0 };
		uint32_t row;

		if (!cv_columns_find(columns, copied->from_uid, next, &row))
			continue; /* checked before */
		next = row + 1;
		cv_buf_clear(&keywords);
		cv_keyword_set_encode(&op->from->keywords, *cv_col_keyword_set(columns, row), &keywords);
		entry.message = (struct cv_entry_message){
			.uid = copied->to_uid,
			.flags = *cv_col_flags(columns, row) & CV_FLAG_ALL,
			.zone = *cv_col_zone(columns, row),
			.date = *cv_col_date(columns, row),
			.saved = now,
			.physical_size = *cv_col_physical_size(columns, row),
			.virtual_size = *cv_col_virtual_size(columns, row),
			.guid = copied->guid,
			.ref = copied->ref,
			.uidl = cv_columns_uidl(columns, row),
			.sum = *cv_col_sum(columns, row),
			.keywords = cv_buf_str(&keywords),
		};
		if (copied->marked) {
			entry.message.flags = copied->flags;
			entry.message.keywords = copied->keywords;
		}
		if (build->parse_octets < EMBED_PARSE_MAX &&
			cv_cache_read(op->from, *cv_col_cache(columns, row), copied->from_uid, &parse, &ignored) > 0) {
			entry.message.parse = cv_buf_str(&parse);
			build->parse_octets += parse.len;
		}
		if (op->later) {
			put_origin(op, row, owed, &entry);
			build->txn->owes = build->txn->copies = true;
		}
		emit(build, &entry);
		if (columns->notes != NULL) {
			cv_buf_clear(&notes);
			cv_notes_copied(op, copied->from_uid, &notes);
			emit_new_notes(build, op->mailbox, cv_buf_str(&notes), copied->to_uid);
		}
		if (op->move)
			cv_ranges_add(&moved, copied->from_uid, copied->from_uid);
	}
	if (op->move)
		build_expunge(build, op->from, &moved);
	cv_ranges_free(&moved);
	cv_buf_deinit(&keywords);
	cv_buf_deinit(&parse);
	cv_buf_deinit(&notes);
}

static void build_save(struct build *build, struct cv_op *op)
{
	struct cv_entry entry = { .kind = CV_ENTRY_APPEND, .mailbox = op->mailbox->guid, .message = op->save->message };

	entry.message.keywords = cv_buf_str(&op->save->keywords_encoded);
	entry.message.parse = cv_buf_str(&op->save->record);
	emit(build, &entry);
	if (op->save->held) {
		const struct cv_entry octets = { .kind = CV_ENTRY_OCTETS, .mailbox = op->mailbox->guid, .uid = op->save->message.uid,
			.octets = cv_buf_str(&op->save->stored) };

		emit(build, &octets);
		build->octets += (uint32_t)octets.octets.len;
		build->txn->owes = true;
		cv_owed_note(op->mailbox, op->save->message.uid);
	}
	emit_new_notes(build, op->mailbox, op->save->notes, op->save->message.uid);
}

/* ---- checking -------------------------------------------------------------------------------------------- */

static int overtaken(struct cv_err *err)
{
	return cv_err_set_public(err, CV_ERR_TEMP, "Another change came first, please try again");
}

static int check_copy(const struct cv_op *op, struct cv_err *err)
{
	uint32_t row;

	cv_assert(op->from != NULL && op->mailbox != NULL);
	for (size_t i = 0; i < op->copied.count; i++) {
		const struct cv_copied *copied = &op->copied.data[i];

		if (!cv_columns_find(op->from->columns, copied->from_uid, UINT32_MAX, &row) || !cv_row_live(op->from->columns, row))
			return op->move ? overtaken(err) : cv_err_set_public(err, CV_ERR_EXPUNGED, "Some of the messages no longer exist");
		if (copied->to_uid < op->mailbox->uidnext)
			return overtaken(err);
	}
	return 1;
}

static int check_flags(const struct cv_op *op, struct cv_err *err)
{
	struct cv_columns *columns = op->mailbox->columns;

	for (size_t i = 0; op->unchanged_since_set && i < op->uids.count; i++) {
		uint32_t row = cv_columns_from(columns, op->uids.data[i].first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= op->uids.data[i].last; row++) {
			if (cv_row_live(columns, row) && *cv_col_modseq(columns, row) > op->unchanged_since)
				return overtaken(err);
		}
	}
	return 1;
}

/* Its octets lie with the storage module, and are on disk before the record is. */
static bool needs_storage_sync(const struct cv_op *op)
{
	return (op->kind == CV_OP_TXN_SAVE && !op->save->held) || (op->kind == CV_OP_TXN_COPY && !op->later);
}

/* Everything that can make a commit impossible is found here, before anything is done. */
static int check_op(struct cv_op *op, struct cv_err *err)
{
	cv_assert(op->mailbox != NULL || op->kind == CV_OP_TXN_ENTRY);
	if ((op->mailbox != NULL && op->mailbox->gone) || (op->from != NULL && op->from->gone))
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (op->kind != CV_OP_TXN_ENTRY && cv_mailbox_load(op->mailbox, err) < 0)
		return -1;
	if (op->from != NULL && cv_mailbox_load(op->from, err) < 0)
		return -1;
	/* The system takes octets whose sync has failed for clean: another sync would say that all is well. */
	if (needs_storage_sync(op) && op->losses != op->mailbox->user->storage_losses)
		return cv_err_set(err, CV_ERR_TEMP, "the message may not be on disk: a sync failed after it was saved");
	switch (op->kind) {
	case CV_OP_TXN_FLAGS:
		return check_flags(op, err);
	case CV_OP_TXN_NOTES:
		return check_flags(op, err) < 0 ? -1 : cv_notes_check(op, err);
	case CV_OP_TXN_COPY:
		return check_copy(op, err) < 0 ? -1 : cv_notes_check(op, err);
	case CV_OP_TXN_SAVE:
		if (!op->save->finished || op->save->failed)
			return cv_err_set(err, CV_ERR_INTERNAL, "a message of the transaction was not saved completely");
		return op->save->message.uid < op->mailbox->uidnext ? overtaken(err) : cv_notes_check(op, err);
	case CV_OP_TXN_EXPUNGE:
	case CV_OP_TXN_ENTRY:
		return 1;
	}
	return 1;
}

/* What hooks have put behind the first `asked` operations is checked too, and goes before them: a copy is made before its source is expunged. */
static int take_additions(struct cv_txn *txn, size_t asked, struct cv_err *err)
{
	size_t added = txn->ops.count - asked;
	struct cv_op *moved;

	if (txn->failed) {
		if (err != NULL)
			*err = txn->failure;
		return -1;
	}
	if (!cv_list_empty(&txn->saves))
		return cv_err_set(err, CV_ERR_INTERNAL, "a hook has left a message unfinished");
	for (size_t i = asked; i < txn->ops.count; i++) {
		if (check_op(&txn->ops.data[i], err) < 0)
			return -1;
	}
	if (added == 0)
		return 1;
	moved = cv_calloc(added, sizeof(*moved));
	memcpy(moved, &txn->ops.data[asked], added * sizeof(*moved));
	memmove(&txn->ops.data[added], &txn->ops.data[0], asked * sizeof(*moved));
	memcpy(&txn->ops.data[0], moved, added * sizeof(*moved));
	cv_free(moved);
	return 1;
}

static int check(struct cv_txn *txn, struct cv_err *err)
{
	struct cv_user *user = txn->user;
	struct cv_hook_commit args = { .user = user, .txn = txn };
	size_t asked = txn->ops.count;
	enum cv_hook_result result;

	if (cv_txn_annotates(txn))
		cv_user_flush(user);
	if (cv_user_usable(user, err) < 0)
		return -1;
	if (txn->failed) {
		if (err != NULL)
			*err = txn->failure;
		return -1;
	}
	if (!cv_list_empty(&txn->saves))
		return cv_err_set(err, CV_ERR_INTERNAL, "a message of the transaction was not saved completely");
	for (size_t i = 0; i < asked; i++) {
		if (check_op(&txn->ops.data[i], err) < 0)
			return -1;
	}
	if (!txn->internal && user->registry != NULL) {
		txn->trusted = true; /* what handlers put into it is theirs */
		result = cv_hook_run_commit(user->registry, &args, err);
		if ((result != CV_HOOK_PASS && result != CV_HOOK_DONE) || take_additions(txn, asked, err) < 0)
			return -1;
	}
	return cv_annotations_check(txn, err);
}

/* ---- commit ---------------------------------------------------------------------------------------------- */

int cv_user_usable(struct cv_user *user, struct cv_err *err)
{
	struct cv_err reread_err = { 0 };
	int ret;

	if ((user->lost || user->broken) && cv_user_is_there(user, err) < 0)
		return -1;
	if (!user->broken || user->rereading)
		return 1;
	user->rereading = true;
	ret = cv_user_reread(user, &reread_err);
	user->rereading = false;
	if (ret < 0) {
		if (reread_err.code == CV_ERR_CORRUPT) {
			(void)cv_err_context(&reread_err, "journal");
			cv_user_lose(user, &reread_err);
		} else if (user->loop != NULL) {
			cv_timer_set(user->usable_timer, USABLE_RETRY_MS);
		}
		return cv_err_set(err, CV_ERR_UNAVAILABLE, "after a failed write the mail can't be read anew: %s", reread_err.text);
	}
	user->broken = false;
	for (size_t i = 0; i < user->views.count; i++)
		cv_view_mark(user->views.data[i]->mailbox);
	cv_info(&user->log_ctx, "the mail was read anew after a failed write");
	return 1;
}

/* Memory has what the journal does not: forget it and read it anew. */
static void reread(struct cv_user *user)
{
	struct cv_err err = { 0 };

	user->broken = true;
	user->numbers_kept = false;
	if (!user->lost && cv_user_usable(user, &err) < 0)
		cv_error(&user->log_ctx, "%s; it is out of reach until that works", err.text);
}

/* A power cut may take it: flags, or what is found out again. */
static bool op_may_wait(const struct cv_op *op)
{
	return op->kind == CV_OP_TXN_FLAGS ||
		(op->kind == CV_OP_TXN_ENTRY && (op->entry.kind == CV_ENTRY_RECENT || op->entry.kind == CV_ENTRY_SETTLED));
}

static bool may_wait(const struct cv_txn *txn)
{
	for (size_t i = 0; i < txn->ops.count; i++) {
		if (!op_may_wait(&txn->ops.data[i]))
			return false;
	}
	return true;
}

/* A record that is written anyway says which files are not owed any more: after a crash they are left as they are. */
static void build_settled(struct build *build)
{
	struct cv_user *user = build->txn->user;
	const struct cv_entry entry = { .kind = CV_ENTRY_SETTLED, .number = user->owed_settled };

	if (user->owed_settled != 0)
		emit(build, &entry);
	user->owed_settled = 0;
}

/* What is owed of the sources of copies, one map for each operation. */
static int map_owed(struct cv_txn *txn, struct cv_map **owed, struct cv_err *err)
{
	for (size_t i = 0; i < txn->ops.count; i++) {
		if (txn->ops.data[i].later && cv_owed_map(txn->ops.data[i].from, txn->arena, &owed[i], err) < 0)
			return -1;
	}
	return 1;
}

static void free_maps(struct cv_map **owed, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (owed[i] != NULL)
			cv_map_free(&owed[i]);
	}
}

static int build_record(struct cv_txn *txn, struct cv_err *err)
{
	struct cv_user *user = txn->user;
	struct build build = { .txn = txn, .empty = true };
	struct cv_record_head head;
	struct cv_map **owed = cv_new(txn->arena, struct cv_map *, txn->ops.count + 1);
	uint32_t weight;
	size_t start;

	if (map_owed(txn, owed, err) < 0) {
		free_maps(owed, txn->ops.count);
		return -1;
	}
	build.out = cv_journal_begin(&user->journal, &build.pos);
	start = build.out->len;
	build.head = (struct cv_record_head){ .seq = user->journal.seq + 1, .version = 1 };
	for (size_t i = 0; i < txn->ops.count; i++) {
		struct cv_op *op = &txn->ops.data[i];

		switch (op->kind) {
		case CV_OP_TXN_FLAGS:
			build_flags(&build, op);
			break;
		case CV_OP_TXN_NOTES:
			build_notes(&build, op);
			break;
		case CV_OP_TXN_EXPUNGE:
			build_expunge(&build, op->mailbox, &op->uids);
			break;
		case CV_OP_TXN_COPY:
			build_copy(&build, op, owed[i]);
			break;
		case CV_OP_TXN_SAVE:
			build_save(&build, op);
			break;
		case CV_OP_TXN_ENTRY:
			emit(&build, &op->entry);
			break;
		}
	}
	free_maps(owed, txn->ops.count);
	if (!build.empty)
		build_settled(&build);
	txn->pos = build.pos;
	if (build.empty && cv_buf_ok(build.out)) { /* nothing changed: no record, but done is called in its turn */
		cv_journal_cancel(&user->journal);
		txn->seq = 0;
		return 1;
	}
	txn->has_storage_work = cv_buf_ok(build.out) &&
		cv_record_has_work(user, cv_str_mem(build.out->data + start, build.out->len - start));
	if (cv_journal_end(&user->journal, &head, err) < 0) {
		/* What came before in this round is whole and goes out first; then memory is read anew without this one. */
		cv_user_flush(user);
		reread(user);
		return -1;
	}
	txn->seq = head.seq;
	txn->octets = build.octets;
	weight = cv_record_weight(head.len, build.octets);
	user->journal.light += head.len - weight;
	for (size_t i = 0; i < txn->touched.count; i++) {
		struct cv_mailbox *mailbox = txn->touched.data[i];

		if (mailbox->behind.count > 0 && mailbox->behind.data[mailbox->behind.count - 1].seq == head.seq) {
			mailbox->behind.data[mailbox->behind.count - 1].len = weight;
			mailbox->behind_octets += weight;
		}
	}
	return 1;
}

int cv_txn_commit(struct cv_txn **txn_p, cv_commit_fn *done, void *ctx, struct cv_err *err)
{
	struct cv_txn *txn = *txn_p;
	struct cv_user *user = txn->user;

	*txn_p = NULL;
	if (check(txn, err) < 0 || build_record(txn, err) < 0) {
		cv_txn_rollback(&txn);
		return -1;
	}
	txn->done = done;
	txn->done_ctx = ctx;
	for (size_t i = 0; i < txn->ops.count; i++) {
		const struct cv_op *op = &txn->ops.data[i];

		if (!needs_storage_sync(op))
			continue;
		if (!user->queue_needs_storage_sync)
			user->queue_losses = user->storage_losses;
		user->queue_needs_storage_sync = true;
	}
	user->owed_queued = user->owed_queued || txn->owes;
	if (!may_wait(txn) || user->storage_args.fsync == CV_FSYNC_ALWAYS)
		user->queue_needs_sync = true;
	cv_list_append(&user->queue, &txn->node);
	if (user->loop == NULL)
		cv_user_flush(user);
	else
		cv_timer_set(user->flush_timer, 0);
	return 0;
}

int cv_txn_commit_wait(struct cv_txn **txn_p, struct cv_err *err)
{
	struct cv_txn *txn = *txn_p;
	struct cv_user *user = txn->user;
	int result = -1;

	txn->result_r = &result;
	txn->err_r = err;
	user->queue_needs_sync = true; /* before: without a loop the commit flushes by itself */
	if (cv_txn_commit(txn_p, NULL, NULL, err) < 0)
		return -1;
	if (!cv_list_empty(&user->queue))
		cv_user_flush(user);
	return result;
}

int cv_commit_lazy(struct cv_user *user, const struct cv_entry *entry, struct cv_err *err)
{
	struct cv_txn *txn = cv_txn_begin(user);

	txn->internal = true;
	cv_txn_add_entry(txn, entry);
	return cv_txn_commit(&txn, NULL, NULL, err);
}

/* ---- flush and publish ----------------------------------------------------------------------------------- */

bool cv_user_unpublished(const struct cv_user *user)
{
	return !cv_list_empty(&user->queue);
}

static void tell(struct cv_txn *txn, int result, const struct cv_err *err)
{
	if (txn->result_r != NULL)
		*txn->result_r = result;
	if (result < 0 && txn->err_r != NULL && err != NULL)
		*txn->err_r = *err;
	if (txn->done != NULL)
		txn->done(txn->done_ctx, result, err);
}

static void apply_tree(struct cv_txn *txn)
{
	const struct cv_record_head head = { .seq = txn->seq };
	struct cv_err err = { 0 };

	for (size_t i = 0; i < txn->ops.count; i++) {
		const struct cv_op *op = &txn->ops.data[i];

		if (op->kind == CV_OP_TXN_ENTRY && cv_entry_is_tree(op->entry.kind) &&
			cv_apply_entry(txn->user, &head, txn->pos, &op->entry, 0, CV_APPLY_TREE, &err) < 0)
			cv_fatal("a change that was just made does not apply: %s", err.text);
	}
}

static void publish_memory(struct cv_txn *txn)
{
	apply_tree(txn);
	cv_annotations_tell(txn);
	for (size_t i = 0; i < txn->events.count; i++)
		cv_view_publish(txn->events.data[i].mailbox, &txn->events.data[i].event);
	for (size_t i = 0; i < txn->touched.count; i++) {
		struct cv_mailbox *mailbox = txn->touched.data[i];

		mailbox->published_uidnext = mailbox->uidnext;
		mailbox->published_modseq = mailbox->highest_modseq;
		mailbox->published_keywords = mailbox->keywords.names.count;
		cv_view_mark(mailbox);
	}
	if (txn->seq > txn->user->published_seq) {
		txn->user->published_seq = txn->seq;
		txn->user->behind_records++;
	}
	if (txn->owes)
		cv_owed_add(txn->user, &(struct cv_owed){ .seq = txn->seq, .pos = txn->pos, .octets = txn->octets, .copies = txn->copies });
	if (txn->has_storage_work)
		cv_work_add(txn->user, txn->seq, txn->pos);
	cv_mail_watch_published(txn);
}

static void free_all(struct cv_node *list)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(list, node, tmp) {
		cv_list_remove(node);
		cv_txn_free(cv_container(node, struct cv_txn, node));
	}
}

static void move_list(struct cv_node *from, struct cv_node *to)
{
	struct cv_node *node, *tmp;

	cv_list_init(to);
	cv_list_foreach(from, node, tmp) {
		cv_list_remove(node);
		cv_list_append(to, node);
	}
}

int cv_user_storage_sync(struct cv_user *user, struct cv_err *err)
{
	if (user->storage->sync(user->st, err) >= 0)
		return 1;
	user->storage_losses++;
	return -1;
}

static int sync_octets(struct cv_user *user, struct cv_err *err)
{
	if (user->queue_losses != user->storage_losses)
		return cv_err_set(err, CV_ERR_TEMP, "they could not be synced before");
	return cv_user_storage_sync(user, err);
}

static int make_durable(struct cv_user *user, struct cv_err *err)
{
	/* Numbers have jumped at the opening. What is shown before a record has one of the new numbers durably would have the same as what comes after a power
	   cut, which makes the same jump. */
	bool sync = user->queue_needs_sync || !user->numbers_kept;

	/* Where a lease says whose it is: before anything is written, and again before it is acknowledged. */
	if (cv_user_owned(user, err) < 0) {
		cv_buf_clear(&user->journal.pending);
		return -1;
	}
	if (user->queue_needs_storage_sync && sync_octets(user, err) < 0) {
		/* The records name octets that may be lost: they must not be written. */
		cv_buf_clear(&user->journal.pending);
		return cv_err_context(err, "message octets");
	}
	if (cv_journal_write(&user->journal, sync, err) < 0)
		return -1;
	user->numbers_kept = user->numbers_kept || user->journal.written_seq > user->published_seq;
	return cv_user_owned(user, err);
}

/* The storage module may give messages their final names. */
static void tell_storage(struct cv_txn *txn)
{
	struct cv_user *user = txn->user;
	struct cv_err err = { 0 };

	for (size_t i = 0; user->storage->recorded != NULL && i < txn->ops.count; i++) {
		struct cv_op *op = &txn->ops.data[i];
		struct cv_mailbox_ref mailbox;
		CV_VEC(struct cv_str) refs = { 0 };

		if (op->save != NULL && !op->save->held)
			*cv_vec_push(&refs) = op->save->message.ref;
		for (size_t j = 0; !op->later && j < op->copied.count; j++)
			*cv_vec_push(&refs) = op->copied.data[j].ref;
		if (refs.count > 0 && !op->mailbox->gone) {
			mailbox = cv_mailbox_storage_ref(op->mailbox);
			if (user->storage->recorded(user->st, &mailbox, refs.data, refs.count, &err) < 0)
				cv_warn(&op->mailbox->log_ctx, "%s (done again when the message is read)", err.text);
		}
		cv_vec_free(&refs);
	}
}

void cv_user_flush(struct cv_user *user)
{
	struct cv_node batch, *node, *tmp;
	struct cv_err err = { 0 };
	int result;

	if (cv_list_empty(&user->queue))
		return;
	result = make_durable(user, &err);
	user->queue_needs_sync = user->queue_needs_storage_sync = user->owed_queued = false;
	move_list(&user->queue, &batch);
	if (result < 0) {
		if (!user->lost) /* that was told */
			cv_error(&user->log_ctx, "changes could not be made durable and are refused: %s", err.text);
		reread(user);
		cv_list_foreach(&batch, node, tmp)
			tell(cv_container(node, struct cv_txn, node), -1, &err);
		free_all(&batch);
		return;
	}
	cv_list_foreach(&batch, node, tmp)
		tell_storage(cv_container(node, struct cv_txn, node));
	cv_list_foreach(&batch, node, tmp)
		publish_memory(cv_container(node, struct cv_txn, node));
	if (user->external && cv_owed_make(user, UINT64_MAX, &err) < 0) /* other programs look there; and what they remove must not take a copy along */
		cv_warn(&user->log_ctx, "%s; trying again later", err.text);
	cv_checkpoint_quiet(user);
	if (user->journal.unsynced && user->loop != NULL && user->storage_args.fsync != CV_FSYNC_NEVER)
		cv_timer_set(user->sync_timer, SYNC_DELAY_MS);
	cv_list_foreach(&batch, node, tmp) {
		struct cv_txn *txn = cv_container(node, struct cv_txn, node);

		if (txn->seq > 0)
			cv_subscribers_committed(user, txn);
		tell(txn, 0, NULL);
	}
	free_all(&batch);
	if (user->loop == NULL || user->external)
		cv_work_run(user, false);
	else
		cv_work_soon(user);
	if (user->loop == NULL)
		cv_view_run_notify(user);
	else
		cv_timer_set(user->notify_timer, 0);
	cv_subscribers_kick(user);
	cv_checkpoint_consider(user);
}

static void on_flush(void *ctx)
{
	cv_user_flush(ctx);
}

static void on_sync(void *ctx)
{
	struct cv_user *user = ctx;
	struct cv_err err = { 0 };

	if (cv_user_owned(user, &err) < 0 || cv_journal_sync(&user->journal, &err) < 0) {
		if (user->lost)
			return;
		cv_error(&user->log_ctx, "%s; trying again", err.text);
		cv_timer_set(user->sync_timer, SYNC_DELAY_MS);
		return;
	}
	cv_work_run(user, false); /* what waited for it */
}

static void on_usable(void *ctx)
{
	struct cv_err err = { 0 };

	if (cv_user_usable(ctx, &err) < 0)
		cv_debug(&((struct cv_user *)ctx)->log_ctx, "%s", err.text); /* it was told once */
}

static void on_notify(void *ctx)
{
	cv_view_run_notify(ctx);
}

void cv_commit_init(struct cv_user *user)
{
	cv_list_init(&user->queue);
	cv_list_init(&user->watches);
	if (user->loop == NULL)
		return;
	user->flush_timer = cv_timer_add_stopped(user->loop, on_flush, user);
	user->sync_timer = cv_timer_add_stopped(user->loop, on_sync, user);
	user->notify_timer = cv_timer_add_stopped(user->loop, on_notify, user);
	user->usable_timer = cv_timer_add_stopped(user->loop, on_usable, user);
}

void cv_commit_deinit(struct cv_user *user)
{
	cv_timer_remove(&user->flush_timer);
	cv_timer_remove(&user->sync_timer);
	cv_timer_remove(&user->notify_timer);
	cv_timer_remove(&user->usable_timer);
}
