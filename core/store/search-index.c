/* SPDX-License-Identifier: MIT
   Search indexes of a user: those that modules provide, opened when a search needs them first. */
#include <config.h>

#include "core/store/store-private.h"

struct cv_user_index *cv_indexes(struct cv_user *user, size_t *count_r)
{
	const struct cv_search_index *index;
	const char *name;
	size_t pos = 0, cap = 0;

	while (!user->indexes_known && user->registry != NULL && (index = cv_provider_next(user->registry, CV_CAP_SEARCH, &pos, &name)) != NULL) {
		struct cv_err err = { 0 };
		void *ctx = NULL;
		int ret = index->open(user, &ctx, &err);

		if (ret < 0)
			cv_error(&user->log_ctx, "searches go without the index %s: %s", name, err.text);
		if (ret <= 0)
			continue;
		user->indexes = cv_vec_grow(user->indexes, &cap, user->index_count + 1, sizeof(*user->indexes));
		user->indexes[user->index_count++] = (struct cv_user_index){ index, ctx };
	}
	user->indexes_known = true;
	*count_r = user->index_count;
	return user->indexes;
}

void cv_indexes_close(struct cv_user *user)
{
	while (user->index_count > 0) {
		const struct cv_user_index *last = &user->indexes[--user->index_count];

		last->index->close(last->ctx);
	}
	cv_free(user->indexes);
	user->indexes = NULL;
	user->indexes_known = false;
}
