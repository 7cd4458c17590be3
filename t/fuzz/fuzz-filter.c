/* SPDX-License-Identifier: MIT
   Stored filters (RFC 5466): any value is refused or is a search program; one that may be stored can be used as it is, within others, and makes an end when it
   names itself. */
#include <config.h>

#include "modules/lib/imap/imap-parser.h"
#include "modules/lib/imap/imap-search.h"
#include "t/fuzz/fuzz.h"

struct filters {
	struct cv_str value;
	bool itself; /* every name stands for the value; else for ALL */
};

static bool find(void *ctx, struct cv_str name, struct cv_str *program_r)
{
	const struct filters *filters = ctx;

	fuzz_check(cv_imap_is_filter_name(name));
	*program_r = filters->itself || cv_str_eq_c(name, "it") ? filters->value : CV_STR("ALL");
	return true;
}

static int search(struct filters *filters, struct cv_str text, struct cv_err *err)
{
	const struct cv_imap_search_context context = { .seq_star = 5, .uid_star = 9, .filter = find, .filter_ctx = filters };
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	const struct cv_imap_arg *args;
	struct cv_imap_search program;
	int ret = cv_imap_args_parse(arena, text, &args, err);

	if (ret > 0)
		ret = cv_imap_search_parse(arena, args, &context, &program, err);
	fuzz_check(ret >= 0 || err->code != CV_ERR_NOTFOUND || program.undefined_filter.len > 0);
	cv_arena_free(&arena);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct filters filters = { .value = cv_str_mem(data, size) };
	struct cv_err err = { 0 };
	bool good = cv_imap_filter_check(filters.value, &err) > 0;

	if (!good)
		fuzz_check(err.public_text && (err.code == CV_ERR_INVALID || err.code == CV_ERR_LIMIT));
	err = (struct cv_err){ 0 };
	/* "it" may stand in it, and stands for itself then; anything else that is good is good here too, but for its depth and number of keys. */
	if (search(&filters, CV_STR("NOT FILTER it SEEN"), &err) < 0 && good)
		fuzz_check(err.code == CV_ERR_NOTFOUND || err.code == CV_ERR_LIMIT);
	if (!good && cv_str_is_utf8(filters.value))
		fuzz_check(err.code != CV_ERR_NONE);
	filters.itself = true;
	err = (struct cv_err){ 0 };
	if (search(&filters, CV_STR("FILTER other"), &err) < 0)
		fuzz_check(err.public_text);
	return 0;
}
