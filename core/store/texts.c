/* SPDX-License-Identifier: MIT
   Texts that a module makes of parse records: made when a record goes to the cache file, found when they are asked for. */
#include <config.h>

#include "core/store/texts.h"

#include "core/store/store-private.h"

int cv_texts_init(struct cv_user *user, struct cv_err *err)
{
	const struct cv_text_maker *maker;
	const char *name;
	size_t pos = 0;

	while (user->registry != NULL && (maker = cv_provider_next(user->registry, CV_CAP_TEXTS, &pos, &name)) != NULL) {
		if (user->texts.maker != NULL)
			return cv_err_set(err, CV_ERR_LIMIT, "more than one module makes texts of messages: %s and %s", user->texts.maker->name, name);
		cv_assert(maker->count <= CV_TEXTS_MAX);
		user->texts.maker = maker;
	}
	return 1;
}

void cv_texts_quiet(struct cv_user *user)
{
	struct cv_texts *texts = &user->texts;

	if (texts->arena == NULL)
		return;
	cv_arena_free(&texts->arena);
	for (unsigned i = 0; i < CV_TEXTS_MAX; i++)
		cv_buf_deinit(&texts->made[i]);
	cv_buf_deinit(&texts->octets);
}

/* Empty buffers and arena. */
static void begin(struct cv_texts *texts)
{
	if (texts->arena == NULL) {
		texts->arena = cv_arena_new("texts", NULL, 0);
		for (unsigned i = 0; i < CV_TEXTS_MAX; i++)
			cv_buf_init(&texts->made[i], CV_TEXT_MAX);
		cv_buf_init(&texts->octets, CV_TEXTS_OCTETS_MAX);
	}
	for (unsigned i = 0; i < CV_TEXTS_MAX; i++)
		cv_buf_clear(&texts->made[i]);
	cv_buf_clear(&texts->octets);
}

static struct cv_str kept(const struct cv_buf *made)
{
	return cv_buf_ok(made) ? cv_buf_str(made) : CV_STR("");
}

struct cv_str cv_texts_make(struct cv_user *user, struct cv_str record)
{
	struct cv_texts *texts = &user->texts;
	size_t octets = 0;
	bool made;

	if (texts->maker == NULL)
		return CV_STR("");
	begin(texts);
	made = texts->maker->make(record, texts->arena, texts->made);
	cv_arena_reset(texts->arena);
	cv_put_u32(&texts->octets, texts->maker->format);
	for (unsigned i = 0; i < texts->maker->count; i++) {
		struct cv_str text = kept(&texts->made[i]);

		octets += text.len;
		cv_put_u32(&texts->octets, (uint32_t)text.len);
	}
	if (!made || octets == 0)
		return CV_STR("");
	for (unsigned i = 0; i < texts->maker->count; i++)
		cv_buf_append(&texts->octets, kept(&texts->made[i]));
	return kept(&texts->octets);
}

bool cv_texts_take(const struct cv_user *user, struct cv_str octets, struct cv_str texts_r[CV_TEXTS_MAX])
{
	const struct cv_text_maker *maker = user->texts.maker;
	struct cv_reader reader = cv_reader_init(octets);
	uint32_t format, lens[CV_TEXTS_MAX];

	if (maker == NULL || !cv_take_u32(&reader, &format) || format != maker->format)
		return false;
	for (unsigned i = 0; i < maker->count; i++) {
		if (!cv_take_u32(&reader, &lens[i]) || lens[i] > CV_TEXT_MAX)
			return false;
	}
	for (unsigned i = 0; i < maker->count; i++) {
		if (!cv_take_len(&reader, lens[i], &texts_r[i]))
			return false;
		if (lens[i] == 0)
			texts_r[i] = (struct cv_str){ 0 };
	}
	return cv_reader_end(&reader);
}

/* Of the message in that row, as its cache file has them. False: it has none. */
static bool from_file(struct cv_mailbox *mailbox, uint32_t row, struct cv_str texts_r[CV_TEXTS_MAX])
{
	uint64_t where = *cv_col_cache(mailbox->columns, row);
	struct cv_err err = { 0 };
	struct cv_str octets;

	if (where == 0 || cv_cache_is_in_journal(where) || cv_user_usable(mailbox->user, &err) < 0)
		return false;
	/* Trouble with the file is told when the record is asked for, which comes next. */
	return cv_cache_texts(mailbox, where, *cv_col_uid(mailbox->columns, row), &octets, &err) > 0 && cv_texts_take(mailbox->user, octets, texts_r);
}

/* Of the message in that row. True when memory has all of them. */
static bool from_memory(const struct cv_mailbox *mailbox, uint32_t row, const enum cv_memo *memos, unsigned count, struct cv_str *texts_r)
{
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++)
		found += cv_memo_of_row(mailbox, row, memos[i], &texts_r[i]);
	return found == count;
}

static void keep(struct cv_view *view, uint32_t seq, const struct cv_text_maker *maker, const struct cv_str *texts)
{
	for (unsigned i = 0; i < maker->count; i++) {
		if (texts[i].ptr != NULL)
			cv_view_memo_keep(view, seq, maker->memos[i], texts[i]);
	}
}

void cv_view_texts(struct cv_view *view, uint32_t seq, const enum cv_memo *memos, unsigned count, struct cv_str *texts_r)
{
	const struct cv_text_maker *maker = view->mailbox->user->texts.maker;
	struct cv_str texts[CV_TEXTS_MAX] = { 0 };
	uint32_t row;

	for (unsigned i = 0; i < count; i++)
		texts_r[i] = (struct cv_str){ 0 };
	if (!cv_view_find_row(view, seq, &row) || from_memory(view->mailbox, row, memos, count, texts_r) || maker == NULL || !from_file(view->mailbox, row, texts))
		return;
	/* Copies in memory cost more than reading once does, and are worth it where the client asks again. */
	if (cv_memo_asked(view->mailbox, row, maker->memos[0]))
		keep(view, seq, maker, texts);
	/* What was kept may have moved what memory had: only what comes from the file is still where it was. */
	for (unsigned j = 0; j < count; j++) {
		texts_r[j] = (struct cv_str){ 0 };
		for (unsigned i = 0; i < maker->count; i++) {
			if (maker->memos[i] == memos[j])
				texts_r[j] = texts[i];
		}
	}
}
