/* SPDX-License-Identifier: MIT
   Orders that are kept (culver/order.h): messages are placed in one that was found before; what came since is sorted by keys, and comes among them. */
#include <config.h>

#include "imap-sort-private.h"

#include <culver/time.h>

#include <string.h>

/* A kept order is of use for this part of its messages at least: for fewer, to sort them is quicker than to go through all places. */
#define ORDER_SHARE 16u
/* For each message that it lacks the keys of some others are read, as many as a binary search takes: for more of them, to sort all is quicker. */
#define LATE_MAX(goal) ((goal) / 16u + 4u)

/* What kept orders by this program are called. False: what it sorts by changes. The order of criteria and their directions count. */
static bool name_order(const struct cv_imap_sort_program *program, char name[CV_ORDER_NAME_MAX], struct cv_str *name_r)
{
	size_t len = 0;

	if (program->relevancy || program->annotations > 0)
		return false;
	cv_assert(program->count < CV_ORDER_NAME_MAX); /* each key once */
	name[len++] = 's';
	for (size_t i = 0; i < program->count; i++)
		name[len++] = (char)((program->criteria[i].reverse ? 'A' : 'a') + (int)program->criteria[i].key);
	*name_r = cv_str_mem(name, len);
	return true;
}

/* ---- placing ----------------------------------------------------------------------------------------- */

void cv_imap_sort_begin_places(struct cv_imap_sorter *sorter)
{
	char octets[CV_ORDER_NAME_MAX];
	struct cv_str name;

	if (name_order(&sorter->program, octets, &name))
		sorter->order = cv_order_get(sorter->view, name);
	if (sorter->order != NULL && sorter->goal < cv_order_count(sorter->order) / ORDER_SHARE)
		cv_order_unref(&sorter->order);
	if (sorter->order != NULL)
		sorter->slots = cv_calloc((size_t)cv_order_count(sorter->order) + 1, sizeof(*sorter->slots));
}

static void end_places(struct cv_imap_sorter *sorter)
{
	cv_order_unref(&sorter->order);
	cv_free(sorter->slots);
	sorter->slots = NULL;
}

static void free_late(struct cv_imap_sorter *sorter)
{
	cv_ranges_free(&sorter->late.seqs);
	cv_free(sorter->late.placed);
	cv_free(sorter->late.result);
	sorter->late = (struct cv_imap_sort_late){ 0 };
}

/* All messages are sorted by their keys after all. */
static void give_up_places(struct cv_imap_sorter *sorter)
{
	end_places(sorter);
	free_late(sorter);
	cv_free(sorter->items);
	sorter->items = NULL;
	cv_imap_merge_deinit(&sorter->merge);
	sorter->merging = sorter->merged = false;
	cv_buf_clear(&sorter->pool);
	sorter->failed = 0;
	sorter->from = &sorter->seqs;
	sorter->range = 0;
	sorter->next = sorter->done = sorter->rows = 0;
}

/* All that were found are placed, or late. */
static void take_places(struct cv_imap_sorter *sorter)
{
	uint32_t known = cv_order_count(sorter->order), count = 0;
	uint32_t *placed = sorter->late.count > 0 ? cv_calloc((size_t)sorter->goal + 1, sizeof(*placed)) : sorter->seq;

	for (uint32_t i = 0; i < known; i++)
		if (sorter->slots[i] != 0)
			placed[count++] = sorter->slots[i];
	end_places(sorter);
	if (sorter->late.count == 0) {
		sorter->rows = count;
		sorter->sorted = true;
		return;
	}
	sorter->late.known = known;
	sorter->late.placed = placed;
	sorter->late.placed_count = sorter->late.high = count;
	sorter->from = &sorter->late.seqs;
	sorter->range = 0;
	sorter->next = 0;
}

bool cv_imap_sort_place_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us)
{
	uint32_t seq, place;
	unsigned looks = 0;

	while (cv_imap_sort_next(sorter, &seq)) {
		int placed = cv_order_place(sorter->order, sorter->view, seq, &place);

		if (placed == 0) {
			if (++sorter->late.count > LATE_MAX(sorter->goal)) {
				give_up_places(sorter);
				return true;
			}
			cv_ranges_add(&sorter->late.seqs, seq, seq);
		} else {
			if (placed > 0)
				sorter->slots[place] = seq;
			sorter->done++;
		}
		if (++looks % 256 == 0 && cv_time_mono_us() - start >= budget_us)
			return false;
	}
	take_places(sorter);
	return true;
}

/* ---- late ones among them ---------------------------------------------------------------------------- */

/* Does a placed message come before a row? -1: it can't be read any more. */
static int is_before(struct cv_imap_sorter *sorter, uint32_t seq, uint32_t row)
{
	uint32_t spare = sorter->rows; /* there is one: rows are for all messages, and this one has none */
	size_t pool = sorter->pool.len;
	struct cv_err ignored = { 0 };
	int result;

	cv_assert(spare < sorter->goal);
	sorter->seq[spare] = seq;
	result = cv_imap_sort_keys(sorter, seq, &sorter->values[(size_t)spare * sorter->program.count], &ignored);
	cv_imap_message_close(&sorter->message);
	if (result == 0) {
		int order = cv_imap_sort_compare(sorter, spare, row);

		result = order < 0 || (order == 0 && seq < sorter->seq[row]);
	}
	cv_buf_truncate(&sorter->pool, pool);
	return result;
}

/* Append placed messages up to a place to the result. */
static void take_until(struct cv_imap_sort_late *late, uint32_t place)
{
	memcpy(late->result + late->taken + late->done, late->placed + late->taken, (place - late->taken) * sizeof(*late->result));
	late->taken = place;
}

static void end_insert(struct cv_imap_sorter *sorter)
{
	bool all = sorter->rows + sorter->late.placed_count >= sorter->late.known;

	take_until(&sorter->late, sorter->late.placed_count);
	cv_free(sorter->seq);
	sorter->seq = sorter->late.result;
	sorter->late.result = NULL;
	sorter->rows += sorter->late.placed_count;
	cv_free(sorter->items);
	sorter->items = NULL;
	cv_imap_merge_deinit(&sorter->merge);
	free_late(sorter);
	sorter->sorted = true;
	/* One that knows more messages, of which a part was asked for, stays. */
	if (all)
		cv_imap_sort_begin_keeping(sorter);
}

bool cv_imap_sort_insert_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us)
{
	struct cv_imap_sort_late *late = &sorter->late;

	if (late->result == NULL)
		late->result = cv_calloc((size_t)sorter->rows + late->placed_count + 1, sizeof(*late->result));
	while (late->done < sorter->rows) {
		uint32_t row = sorter->items[late->done].number, middle = late->low + (late->high - late->low) / 2;
		int before;

		if (late->low == late->high) {
			take_until(late, late->low);
			late->result[late->taken + late->done] = sorter->seq[row];
			late->done++;
			late->high = late->placed_count;
			continue;
		}
		before = is_before(sorter, late->placed[middle], row);
		if (before < 0) {
			give_up_places(sorter);
			return true;
		}
		if (before > 0)
			late->low = middle + 1;
		else
			late->high = middle;
		if (cv_time_mono_us() - start >= budget_us)
			return false;
	}
	end_insert(sorter);
	return true;
}

/* ---- keeping ----------------------------------------------------------------------------------------- */

void cv_imap_sort_begin_keeping(struct cv_imap_sorter *sorter)
{
	char octets[CV_ORDER_NAME_MAX];
	struct cv_str name;

	if (sorter->failed == 0 && name_order(&sorter->program, octets, &name))
		sorter->order = cv_order_new(sorter->view, name, sorter->rows, CV_STR(""));
}

bool cv_imap_sort_keep_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us)
{
	if (sorter->order == NULL)
		return true;
	while (sorter->ordered < sorter->rows) {
		cv_order_add(sorter->order, sorter->view, sorter->seq[sorter->ordered++]);
		if (sorter->ordered % 256 == 0 && cv_time_mono_us() - start >= budget_us)
			return false;
	}
	cv_order_keep(sorter->order);
	cv_order_unref(&sorter->order);
	return true;
}
