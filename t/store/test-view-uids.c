/* SPDX-License-Identifier: MIT
   What views show of a mailbox's columns, and which rows are told to have \Deleted or to have changed, against plain arrays that are kept beside them. */
#include <config.h>

#include "core/store/columns.h"
#include "core/store/view-uids.h"
#include "t/lib/test.h"

#include <stdlib.h>

#define VIEWS 3
#define STEPS 4000

struct model {
	bool open;
	struct cv_view_uids uids;
	CV_VEC(uint32_t) want;
	uint32_t last_uid; /* messages up to here were looked at */
};

struct run {
	struct cv_columns *columns;
	struct model models[VIEWS];
	uint32_t next_uid;
	uint64_t modseq;
	unsigned random;
};

static uint32_t below(struct run *run, uint32_t n)
{
	return (uint32_t)rand_r(&run->random) % n;
}

static void add(struct run *run, uint32_t uid, uint16_t flags)
{
	cv_columns_add(run->columns, &(struct cv_new_row){ .uid = uid, .flags = flags, .modseq = ++run->modseq });
	if (uid >= run->next_uid)
		run->next_uid = uid + 1;
}

static void add_some(struct run *run, uint32_t count)
{
	for (; count > 0; count--)
		add(run, run->next_uid + below(run, 3), below(run, 50) == 0 ? CV_FLAG_DELETED : 0);
}

/* Between others; views know nothing of it, as of all that is below the UIDs that they have. */
static void add_between(struct run *run)
{
	uint32_t uid = 1 + below(run, run->next_uid), row;

	if (!cv_columns_find(run->columns, uid, 0, &row))
		add(run, uid, CV_FLAG_DELETED);
}

static void open_view(struct run *run, struct model *model)
{
	if (model->open)
		cv_uids_free(&model->uids);
	model->open = true;
	cv_uids_open(&model->uids, run->columns);
	model->want.count = 0;
	model->last_uid = run->next_uid - 1;
	for (uint32_t row = 0; row < run->columns->count; row++) {
		if (cv_row_live(run->columns, row))
			*cv_vec_push(&model->want) = *cv_col_uid(run->columns, row);
	}
}

/* Runs of rows are gone; one of the views is told. */
static void expunge(struct run *run, struct model *model)
{
	struct cv_ranges gone = { 0 };
	size_t kept = 0;

	for (uint32_t n = 1 + below(run, 4); n > 0; n--) {
		uint32_t row = below(run, run->columns->count), end = row + 1 + below(run, 30);

		for (; row < end && row < run->columns->count; row++) {
			cv_ranges_add(&gone, *cv_col_uid(run->columns, row), *cv_col_uid(run->columns, row));
			if (cv_row_live(run->columns, row))
				cv_columns_kill(run->columns, row);
		}
	}
	if (model->open) {
		cv_uids_remove(&model->uids, &gone);
		for (size_t i = 0; i < model->want.count; i++) {
			if (!cv_ranges_has(&gone, model->want.data[i]))
				model->want.data[kept++] = model->want.data[i];
		}
		model->want.count = kept;
	}
	cv_ranges_free(&gone);
}

static void learn_new(struct run *run, struct model *model)
{
	if (!model->open)
		return;
	for (uint32_t row = cv_columns_from(run->columns, model->last_uid + 1); row < run->columns->count; row++) {
		if (!cv_row_live(run->columns, row))
			continue;
		cv_uids_push(&model->uids, *cv_col_uid(run->columns, row));
		*cv_vec_push(&model->want) = *cv_col_uid(run->columns, row);
	}
	model->last_uid = run->next_uid - 1;
}

static void check_place(struct run *run, const struct model *model, size_t at)
{
	uint32_t row, uid = model->want.data[at];

	assert_int_equal(cv_uids_at(&model->uids, (uint32_t)at, &row), uid);
	assert_int_equal(cv_uids_from(&model->uids, uid), at);
	assert_int_equal(cv_uids_from(&model->uids, uid + 1), at + 1);
	assert_true(cv_columns_find(run->columns, uid, row, &row));
}

static void check(struct run *run, const struct model *model)
{
	if (!model->open)
		return;
	assert_int_equal(model->uids.count, model->want.count);
	assert_int_equal(cv_uids_from(&model->uids, 0), 0);
	assert_int_equal(cv_uids_from(&model->uids, UINT32_MAX), model->want.count);
	for (unsigned i = 0; i < 8 && model->want.count > 0; i++)
		check_place(run, model, below(run, (uint32_t)model->want.count));
	if (below(run, 40) != 0)
		return;
	for (size_t at = 0; at < model->want.count; at++)
		check_place(run, model, at);
}

static void flag(struct run *run)
{
	uint32_t row = below(run, run->columns->count);

	cv_set_flags(run->columns, row, *cv_col_flags(run->columns, row) ^ CV_FLAG_DELETED);
	if ((*cv_col_flags(run->columns, row) & CV_FLAG_DELETED) != 0)
		cv_columns_note_deleted(run->columns, row);
}

static bool is_deleted(const struct cv_columns *columns, uint32_t row)
{
	return cv_row_live(columns, row) && (*cv_col_flags(columns, row) & CV_FLAG_DELETED) != 0;
}

static void check_deleted(struct run *run)
{
	uint32_t end = 1 + below(run, run->columns->count), row = below(run, end), from = row;

	if (below(run, 2) == 0)
		end = run->columns->count;
	while (from < end) {
		while (row < end && !is_deleted(run->columns, row))
			row++;
		from = cv_columns_next_deleted(run->columns, from, end);
		assert_int_equal(from, row);
		from++;
		row++;
	}
}

static void change(struct run *run)
{
	cv_columns_set_modseq(run->columns, below(run, run->columns->count), ++run->modseq);
}

static void check_changed(struct run *run)
{
	uint64_t since = below(run, 4) == 0 ? below(run, (uint32_t)run->modseq + 2) : run->modseq - below(run, CV_MIN(20, (uint32_t)run->modseq));
	uint32_t end = below(run, 2) == 0 ? run->columns->count : 1 + below(run, run->columns->count), row = below(run, end), from = row;

	while (from < end) {
		while (row < end && *cv_col_modseq(run->columns, row) <= since)
			row++;
		from = cv_columns_next_changed(run->columns, from, end, since);
		assert_int_equal(from, row);
		from++;
		row++;
	}
}

static void one_step(struct run *run)
{
	struct model *model = &run->models[below(run, VIEWS)];

	switch (below(run, 16)) {
	case 0:
		add_some(run, below(run, 40) == 0 ? 3000 : 1 + below(run, 20));
		break;
	case 1:
		open_view(run, model);
		break;
	case 2:
	case 3:
		expunge(run, model);
		break;
	case 4:
		learn_new(run, model);
		break;
	case 5:
		if (below(run, 20) == 0)
			add_between(run);
		break;
	case 6:
		check_deleted(run);
		break;
	case 7:
		check_changed(run);
		break;
	case 8:
	case 9:
		change(run);
		break;
	default:
		flag(run);
	}
	for (size_t i = 0; i < VIEWS; i++)
		check(run, &run->models[i]);
}

static void views_show_what_was_there_and_was_told(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct run run = { .columns = cv_columns_new(), .next_uid = 1, .random = seed };

		add_some(&run, 1 + below(&run, 6000));
		for (unsigned i = 0; i < STEPS; i++)
			one_step(&run);
		for (size_t i = 0; i < VIEWS; i++) {
			cv_uids_free(&run.models[i].uids);
			cv_vec_free(&run.models[i].want);
		}
		cv_columns_free(&run.columns);
	}
}

/* The second opening makes nothing of the mailbox's size. */
static void views_share_their_base(void **state)
{
	struct run run = { .columns = cv_columns_new(), .next_uid = 1, .random = 7 };
	struct cv_view_uids first = { 0 }, second = { 0 };

	(void)state;
	add_some(&run, 20000);
	cv_uids_open(&first, run.columns);
	add_some(&run, 10);
	expunge(&run, &run.models[0]);
	cv_uids_open(&second, run.columns);
	assert_ptr_equal(first.base, second.base);
	assert_true(second.tail.count <= 10);
	assert_true(second.holes.count <= 4 * 30);
	cv_columns_free(&run.columns); /* views keep it */
	assert_int_equal(cv_uids_from(&first, UINT32_MAX), first.count);
	cv_uids_free(&first);
	cv_uids_free(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(views_show_what_was_there_and_was_told),
		cmocka_unit_test(views_share_their_base),
	};

	return cv_test_run(tests);
}
