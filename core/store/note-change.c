/* SPDX-License-Identifier: MIT
   Changes of messages' annotations: from a caller to an entry of the journal, and reading them back. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#define PACKED_MAX (2 * CV_NOTES_PACKED_MAX)

/* ---- reading ------------------------------------------------------------------------------------------------ */

bool cv_notes_any(const struct cv_mailbox *mailbox)
{
	return mailbox->columns != NULL && mailbox->columns->notes != NULL;
}

int cv_notes_get(struct cv_mailbox *mailbox, uint32_t uid, struct cv_note_list *list_r, struct cv_err *err)
{
	uint32_t row;

	*list_r = (struct cv_note_list){ .packed = cv_reader_init(CV_STR("")) };
	if (mailbox->gone)
		return 0;
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	if (mailbox->columns->notes == NULL)
		return 0;
	if (cv_mailbox_is_ahead(mailbox)) {
		cv_user_flush(mailbox->user); /* nothing is shown that is not durable */
		if (mailbox->gone || cv_mailbox_load(mailbox, err) < 0)
			return mailbox->gone ? 0 : -1;
	}
	if (!cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row) || !cv_row_live(mailbox->columns, row))
		return 0;
	list_r->packed = cv_reader_init(cv_notes_find(mailbox->columns, uid));
	return list_r->packed.s.len > 0;
}

/* Whose they are: who acts is the user whose mail it is. */
static bool is_visible(const struct cv_note_item *item)
{
	return item->owner.ptr == NULL || item->owner.len == 0;
}

bool cv_note_next(struct cv_note_list *list, struct cv_note *note_r)
{
	struct cv_note_item item;

	while (cv_note_item_next(&list->packed, &item)) {
		if (!is_visible(&item))
			continue;
		*note_r = (struct cv_note){ item.entry, item.owner.ptr != NULL, item.value };
		return true;
	}
	return false;
}

/* ---- asking for a change ------------------------------------------------------------------------------------ */

static int may(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_note *notes, size_t count, struct cv_err *err)
{
	unsigned needed = 0, rights;

	for (size_t i = 0; i < count; i++)
		needed |= notes[i].priv ? CV_RIGHT_READ : CV_RIGHT_NOTE;
	return cv_txn_may(txn, mailbox, needed, &rights, err);
}

int cv_notes_ask(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_note *notes, size_t count, struct cv_str *changes_r, struct cv_err *err)
{
	struct cv_buf changes;
	int ret = may(txn, mailbox, notes, count, err);

	*changes_r = (struct cv_str){ 0 };
	cv_buf_init(&changes, PACKED_MAX);
	if (ret > 0)
		ret = cv_note_items_encode(txn->user, notes, count, &changes, err);
	if (ret > 0 && changes.len > 0)
		*changes_r = cv_arena_str(txn->arena, cv_buf_str(&changes));
	cv_buf_deinit(&changes);
	return ret;
}

static void keep_for_hooks(struct cv_txn *txn, struct cv_op *op, const struct cv_notes_change *change)
{
	struct cv_note *notes = cv_new(txn->arena, struct cv_note, change->count + 1);

	for (size_t i = 0; i < change->count; i++) {
		notes[i] = change->notes[i];
		notes[i].entry = cv_arena_str(txn->arena, notes[i].entry);
		if (notes[i].value.ptr != NULL)
			notes[i].value = notes[i].value.len > 0 ? cv_arena_str(txn->arena, notes[i].value) : CV_STR("");
	}
	op->notes_change = *change;
	op->notes_change.notes = notes;
	op->unchanged_since_set = change->unchanged_since_set;
	op->unchanged_since = change->unchanged_since;
}

int cv_txn_notes(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_ranges *uids, const struct cv_notes_change *change,
	struct cv_ranges *failed, struct cv_ranges *gone, struct cv_err *err)
{
	struct cv_str changes;
	struct cv_op *op;

	if (cv_txn_usable(txn, mailbox, err) < 0 || cv_notes_ask(txn, mailbox, change->notes, change->count, &changes, err) < 0)
		return cv_txn_fail(txn, err);
	op = cv_txn_add(txn, CV_OP_TXN_NOTES, mailbox);
	op->notes = changes;
	keep_for_hooks(txn, op, change);
	cv_txn_take_uids(op, uids, failed, gone);
	return 1;
}

/* ---- limits, before anything is done ------------------------------------------------------------------------ */

struct sums {
	const struct cv_store_settings *set;
	uint64_t octets;    /* in the mailbox, with the changes so far */
	bool more;          /* some were added */
	struct cv_buf after;
};

static void sums_init(struct sums *sums, const struct cv_mailbox *mailbox)
{
	*sums = (struct sums){ .set = mailbox->user->set };
	sums->octets = cv_notes_octets(mailbox->columns);
	cv_buf_init(&sums->after, PACKED_MAX);
}

static int sums_end(struct sums *sums, struct cv_err *err)
{
	cv_buf_deinit(&sums->after);
	return sums->more && sums->octets > sums->set->mail_max_annotations_size ?
		cv_err_set_public(err, CV_ERR_LIMIT, "Annotations in this mailbox are too large together") : 1;
}

static int add_message(struct sums *sums, struct cv_str before, struct cv_str changes, struct cv_err *err)
{
	size_t entries;

	cv_buf_clear(&sums->after);
	cv_note_items_change(before, changes, &sums->after);
	entries = cv_note_entries(cv_buf_str(&sums->after));
	sums->octets = sums->octets - CV_MIN(sums->octets, before.len) + sums->after.len;
	sums->more |= sums->after.len > before.len;
	if (!cv_buf_ok(&sums->after) || (entries > sums->set->mail_max_annotations && entries > cv_note_entries(before)))
		return cv_err_set_public(err, CV_ERR_LIMIT, "Message has too many annotations");
	return 1;
}

static int check_change(const struct cv_op *op, struct cv_err *err)
{
	struct cv_columns *columns = op->mailbox->columns;
	struct sums sums;
	int ret = 1;

	sums_init(&sums, op->mailbox);
	for (size_t i = 0; ret > 0 && i < op->uids.count; i++) {
		uint32_t row = cv_columns_from(columns, op->uids.data[i].first);

		for (; ret > 0 && row < columns->count && *cv_col_uid(columns, row) <= op->uids.data[i].last; row++) {
			if (cv_row_live(columns, row))
				ret = add_message(&sums, cv_notes_find(columns, *cv_col_uid(columns, row)), op->notes, err);
		}
	}
	return sums_end(&sums, err) < 0 || ret < 0 ? -1 : 1;
}

static int check_copies(const struct cv_op *op, struct cv_err *err)
{
	struct sums sums;

	sums_init(&sums, op->mailbox);
	for (size_t i = 0; i < op->copied.count; i++) {
		size_t len = cv_notes_find(op->from->columns, op->copied.data[i].from_uid).len;

		sums.octets += len;
		sums.more |= len > 0;
	}
	return sums_end(&sums, err);
}

int cv_notes_check(const struct cv_op *op, struct cv_err *err)
{
	struct sums sums;
	int ret;

	if (op->kind == CV_OP_TXN_NOTES)
		return check_change(op, err);
	if (op->kind == CV_OP_TXN_COPY)
		return op->from->columns->notes != NULL ? check_copies(op, err) : 1;
	if (op->kind != CV_OP_TXN_SAVE || op->save->notes.len == 0)
		return 1;
	sums_init(&sums, op->mailbox);
	ret = add_message(&sums, (struct cv_str){ 0 }, op->save->notes, err);
	return sums_end(&sums, err) < 0 || ret < 0 ? -1 : 1;
}

/* ---- what an operation brings and takes away ---------------------------------------------------------------- */

struct traffic {
	const struct cv_op *op;
	struct cv_buf after;
	uint64_t in, out;
};

static void add_row(struct traffic *t, const struct cv_columns *columns, uint32_t uid)
{
	struct cv_str before = cv_notes_find(columns, uid);

	t->out += before.len;
	if (t->op->kind != CV_OP_TXN_NOTES)
		return;
	cv_buf_clear(&t->after);
	cv_note_items_change(before, t->op->notes, &t->after);
	t->in += t->after.len;
}

static void add_rows(struct traffic *t)
{
	const struct cv_columns *columns = t->op->mailbox->columns;

	if (t->op->kind == CV_OP_TXN_EXPUNGE && columns->notes == NULL)
		return;
	for (size_t i = 0; i < t->op->uids.count; i++) {
		uint32_t row = cv_columns_from(columns, t->op->uids.data[i].first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= t->op->uids.data[i].last; row++) {
			if (cv_row_live(columns, row))
				add_row(t, columns, *cv_col_uid(columns, row));
		}
	}
}

static void add_copies(struct traffic *t)
{
	const struct cv_op *op = t->op;

	for (size_t i = 0; op->from->columns->notes != NULL && i < op->copied.count; i++) {
		cv_buf_clear(&t->after);
		cv_notes_copied(op, op->copied.data[i].from_uid, &t->after);
		t->in += t->after.len;
		if (op->move)
			t->out += cv_notes_find(op->from->columns, op->copied.data[i].from_uid).len;
	}
}

int cv_txn_notes_octets(const struct cv_txn *txn, const struct cv_txn_op *asked, uint64_t *in_r, uint64_t *out_r, struct cv_err *err)
{
	struct traffic t = { .op = &txn->ops.data[asked->number] };

	*in_r = *out_r = 0;
	cv_buf_init(&t.after, PACKED_MAX);
	switch (t.op->kind) {
	case CV_OP_TXN_NOTES:
	case CV_OP_TXN_EXPUNGE:
		if (cv_mailbox_load(t.op->mailbox, err) < 0)
			goto fail;
		add_rows(&t);
		break;
	case CV_OP_TXN_COPY:
		if (cv_mailbox_load(t.op->from, err) < 0)
			goto fail;
		add_copies(&t);
		break;
	case CV_OP_TXN_SAVE:
		cv_note_items_change((struct cv_str){ 0 }, t.op->save->notes, &t.after);
		t.in = t.after.len;
		break;
	case CV_OP_TXN_FLAGS:
	case CV_OP_TXN_ENTRY:
		break;
	}
	cv_buf_deinit(&t.after);
	*in_r = t.in;
	*out_r = t.out;
	return 1;
fail:
	cv_buf_deinit(&t.after);
	return -1;
}

/* ---- what an entry says ------------------------------------------------------------------------------------- */

void cv_notes_changed(const struct cv_op *op, struct cv_ranges *uids_r)
{
	struct cv_columns *columns = op->mailbox->columns;
	struct cv_buf after;

	cv_buf_init(&after, PACKED_MAX);
	for (size_t i = 0; i < op->uids.count; i++) {
		uint32_t row = cv_columns_from(columns, op->uids.data[i].first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= op->uids.data[i].last; row++) {
			uint32_t uid = *cv_col_uid(columns, row);
			struct cv_str before;

			if (!cv_row_live(columns, row))
				continue;
			before = cv_notes_find(columns, uid);
			cv_buf_clear(&after);
			cv_note_items_change(before, op->notes, &after);
			if (!cv_str_eq(before, cv_buf_str(&after)))
				cv_ranges_add(uids_r, uid, uid);
		}
	}
	cv_buf_deinit(&after);
}

/* RFC 5257 section 4.6: "copy all ".priv" annotation data for the current user only, and all ".shared" annotation data". */
void cv_notes_copied(const struct cv_op *op, uint32_t uid, struct cv_buf *changes)
{
	struct cv_reader packed = cv_reader_init(cv_notes_find(op->from->columns, uid));
	struct cv_note_item item;

	while (cv_note_item_next(&packed, &item)) {
		if (is_visible(&item) && (op->rights & (item.owner.ptr != NULL ? CV_RIGHT_READ : CV_RIGHT_NOTE)) != 0)
			cv_note_item_put(changes, &item);
	}
}

/* The names of entries, each once. */
struct cv_str cv_notes_names(struct cv_arena *arena, struct cv_str changes)
{
	struct cv_reader reader = cv_reader_init(changes);
	struct cv_note_item item, before = { 0 };
	struct cv_str kept;
	struct cv_buf names;

	cv_buf_init(&names, SIZE_MAX / 2);
	while (cv_note_item_next(&reader, &item)) {
		if (before.entry.ptr == NULL || !cv_str_eq(before.entry, item.entry))
			cv_put_str(&names, item.entry);
		before = item;
	}
	kept = cv_arena_str(arena, cv_buf_str(&names));
	cv_buf_deinit(&names);
	return kept;
}
