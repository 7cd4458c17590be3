/* SPDX-License-Identifier: MIT
   Flags go to the storage that others read too. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

static int mirror_row(struct cv_mailbox *mailbox, uint32_t row, const char **names, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_columns *columns = mailbox->columns;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(mailbox);
	struct cv_storage_meta meta = {
		.uid = *cv_col_uid(columns, row),
		.internal_date = *cv_col_date(columns, row),
		.size = *cv_col_physical_size(columns, row),
		.virtual_size = *cv_col_virtual_size(columns, row),
		.flags = *cv_col_flags(columns, row) & CV_FLAG_ALL,
		.keywords = names,
		.pop3_uidl = cv_columns_uidl(columns, row),
	};
	struct cv_err set_err = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;

	memcpy(meta.guid, cv_col_guid(columns, row), sizeof(meta.guid));
	if (user->storage->set_flags(user->st, &ref, cv_columns_ref(columns, row), &meta, new_ref, &new_len, &set_err) < 0) {
		if (set_err.code == CV_ERR_EXPUNGED || set_err.code == CV_ERR_NOTFOUND) {
			mailbox->stamp_known = false; /* gone: the next refresh tells */
			return 1;
		}
		*err = set_err;
		return -1;
	}
	if (new_len > 0 && !cv_str_eq(cv_columns_ref(columns, row), cv_str_mem(new_ref, new_len))) {
		cv_columns_set_ref(columns, row, cv_str_mem(new_ref, new_len));
		mailbox->dirty++;
	}
	return 1;
}

int cv_mirror_range(struct cv_mailbox *mailbox, struct cv_range range, struct cv_err *err)
{
	struct cv_columns *columns = mailbox->columns;
	struct cv_arena *arena = cv_arena_new("mirror", NULL, 0);
	uint32_t row = cv_columns_from(columns, range.first), last_set = UINT32_MAX;
	const char **names = NULL;
	int ret = 1;

	for (; ret > 0 && row < columns->count && *cv_col_uid(columns, row) <= range.last; row++) {
		uint32_t set = *cv_col_keyword_set(columns, row);

		if (!cv_row_live(columns, row))
			continue;
		if (set != last_set) {
			size_t count;
			const struct cv_str *words = cv_row_keywords(mailbox, set, &count);

			cv_arena_free(&arena);
			arena = cv_arena_new("mirror", NULL, 0);
			names = cv_new(arena, const char *, count + 1);
			for (size_t i = 0; i < count; i++)
				names[i] = cv_arena_cstr(arena, words[i]);
			last_set = set;
		}
		ret = mirror_row(mailbox, row, names, err);
	}
	cv_arena_free(&arena);
	return ret;
}
