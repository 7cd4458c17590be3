/* SPDX-License-Identifier: MIT
   From a transaction's operations to its record. Each entry goes into the record and is applied to the columns by one function (emit), the one that reading the
   journal uses too, so that memory after a commit is what a reopened user has. Everything was checked before (commit.c): what can fail here still is
   reading what is owed of a copy's source, before anything is done, and room. What may be taken back is applied at once; names are applied when the record is durable (flush.c). */
#include <config.h>

#include "core/store/commit.h"

#include <string.h>

#define EMBED_PARSE_MAX ((size_t)256 << 10) /* parse records within one copying transaction; beyond they are copied with the file, or made when asked for */
#define PART_MAX ((size_t)1 << 30)

/* ---- groups of rows that change alike ------------------------------------------------------------------------ */

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

/* ---- entries ------------------------------------------------------------------------------------------------- */

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

/* ---- operations ---------------------------------------------------------------------------------------------- */

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

/* The message of a row as its copy is, but for when it was saved; keywords is room for their names. */
static struct cv_entry_message copied_message(const struct cv_op *op, const struct cv_copied *copied, uint32_t row, struct cv_buf *keywords)
{
	struct cv_columns *columns = op->from->columns;
	struct cv_entry_message message = {
		.uid = copied->to_uid,
		.flags = copied->marked ? copied->flags : *cv_col_flags(columns, row) & CV_FLAG_ALL,
		.zone = *cv_col_zone(columns, row),
		.date = *cv_col_date(columns, row),
		.physical_size = *cv_col_physical_size(columns, row),
		.virtual_size = *cv_col_virtual_size(columns, row),
		.guid = copied->guid,
		.ref = copied->ref,
		.uidl = cv_columns_uidl(columns, row),
		.keywords = copied->keywords,
		.sum = *cv_col_sum(columns, row),
	};

	if (!copied->marked) {
		cv_buf_clear(keywords);
		cv_keyword_set_encode(&op->from->keywords, *cv_col_keyword_set(columns, row), keywords);
		message.keywords = cv_buf_str(keywords);
	}
	return message;
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
		entry.message = copied_message(op, copied, row, &keywords);
		entry.message.saved = now;
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

/* ---- the record ---------------------------------------------------------------------------------------------- */

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

static void build_op(struct build *build, struct cv_op *op, const struct cv_map *owed)
{
	switch (op->kind) {
	case CV_OP_TXN_FLAGS:
		build_flags(build, op);
		break;
	case CV_OP_TXN_NOTES:
		build_notes(build, op);
		break;
	case CV_OP_TXN_EXPUNGE:
		build_expunge(build, op->mailbox, &op->uids);
		break;
	case CV_OP_TXN_COPY:
		build_copy(build, op, owed);
		break;
	case CV_OP_TXN_SAVE:
		build_save(build, op);
		break;
	case CV_OP_TXN_ENTRY:
		emit(build, &op->entry);
		break;
	}
}

/* How much is behind the snapshots of the mailboxes that it touches, and in the segment. */
static void weigh(const struct build *build, uint64_t seq, uint32_t len)
{
	const struct cv_txn *txn = build->txn;
	uint32_t weight = cv_record_weight(len, build->octets);

	txn->user->journal.light += len - weight;
	for (size_t i = 0; i < txn->touched.count; i++) {
		struct cv_mailbox *mailbox = txn->touched.data[i];

		if (mailbox->behind.count > 0 && mailbox->behind.data[mailbox->behind.count - 1].seq == seq) {
			mailbox->behind.data[mailbox->behind.count - 1].len = weight;
			mailbox->behind_octets += weight;
		}
	}
}

int cv_commit_record(struct cv_txn *txn, struct cv_err *err)
{
	struct cv_user *user = txn->user;
	struct build build = { .txn = txn, .empty = true };
	struct cv_record_head head;
	struct cv_map **owed = cv_new(txn->arena, struct cv_map *, txn->ops.count + 1);
	size_t start;

	if (map_owed(txn, owed, err) < 0) {
		free_maps(owed, txn->ops.count);
		return -1;
	}
	build.out = cv_journal_begin(&user->journal, &build.pos);
	start = build.out->len;
	build.head = (struct cv_record_head){ .seq = user->journal.seq + 1, .version = 1 };
	for (size_t i = 0; i < txn->ops.count; i++)
		build_op(&build, &txn->ops.data[i], owed[i]);
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
		cv_user_memory_ahead(user);
		return -1;
	}
	txn->seq = head.seq;
	txn->octets = build.octets;
	weigh(&build, head.seq, head.len);
	return 1;
}
