/* SPDX-License-Identifier: MIT
   What mapped-search.h promises, with a tap that sees all text. */
#include <config.h>

#include "t/lib/mapped-search.h"

#include <culver/search.h>

struct seen {
	enum cv_search_where where;
	struct cv_buf needle, as_it_is; /* mapped; as given */
	struct cv_buf streams[2], field;
	bool found;
};

static bool has(const struct cv_buf *text, const struct cv_buf *needle)
{
	return cv_str_find_str(cv_buf_str(text), cv_buf_str(needle)) != SIZE_MAX;
}

static void look_at_field(struct seen *seen, const struct cv_search_piece *piece)
{
	if (piece->where == CV_SEARCH_HEADER && seen->where == CV_SEARCH_BODY)
		return;
	cv_buf_clear(&seen->field);
	cv_casemap(&seen->field, piece->name);
	if (piece->name.len > 0)
		cv_buf_append_c(&seen->field, ": ");
	cv_buf_append(&seen->field, piece->text);
	if (has(&seen->field, &seen->needle) || cv_str_find_str(piece->octets, cv_buf_str(&seen->as_it_is)) != SIZE_MAX)
		seen->found = true;
}

static void look(void *ctx, const struct cv_search_piece *piece)
{
	struct seen *seen = ctx;
	struct cv_buf *stream = &seen->streams[piece->stream];

	if (piece->name.ptr != NULL) {
		look_at_field(seen, piece);
		return;
	}
	if (piece->first)
		cv_buf_clear(stream);
	cv_buf_append(stream, piece->text);
	if (has(stream, &seen->needle))
		seen->found = true;
}

bool mapped_search(struct cv_message_reader *reader, const struct cv_mime_part *root, enum cv_search_where where, struct cv_str needle)
{
	struct seen seen = { .where = where };
	struct cv_search *search = cv_search_new_tap(look, &seen);
	struct cv_buf *bufs[] = { &seen.needle, &seen.as_it_is, &seen.streams[0], &seen.streams[1], &seen.field };

	for (size_t i = 0; i < CV_COUNT_OF(bufs); i++)
		cv_buf_init(bufs[i], SIZE_MAX / 2);
	cv_casemap(&seen.needle, needle);
	cv_buf_append(&seen.as_it_is, needle);
	cv_search_begin(search, reader, root);
	if (cv_search_step(search, UINT64_MAX, NULL) != 1)
		cv_fatal("a message in memory can't be read");
	for (size_t i = 0; i < CV_COUNT_OF(bufs); i++)
		cv_buf_deinit(bufs[i]);
	cv_search_free(&search);
	return needle.len == 0 || seen.found;
}
