/* SPDX-License-Identifier: MIT
   LANGUAGE (RFC 5255 section 3): the choice by language ranges, and the responses. */
#include <config.h>

#include "modules/lib/imap/imap-text.h"

#define SUBTAG_MAX 8u

static const char *tag_of(unsigned language)
{
	return language == CV_IMAP_I_DEFAULT ? "i-default" : cv_language_tag(language - 1);
}

bool cv_imap_language_find(struct cv_str tag, unsigned *language_r)
{
	for (unsigned i = 0; i < CV_IMAP_LANGUAGES; i++) {
		if (cv_str_caseeq_c(tag, tag_of(i))) {
			*language_r = i;
			return true;
		}
	}
	return false;
}

int cv_imap_language_check(const char *setting, struct cv_err *err)
{
	unsigned language;

	return cv_imap_language_find(cv_str_c(setting), &language) ? 0 :
		cv_err_set(err, CV_ERR_INVALID, "imap_language: there are no texts in %s (allowed: en de fr i-default)", setting);
}

/* RFC 4647 section 2.1: (1*8ALPHA *("-" 1*8alphanum)) / "*"; section 2.2 allows "*" for any subtag. */
static bool is_range(struct cv_str range)
{
	struct cv_str subtag, rest = range;
	bool first = true, more = true;

	while (more) {
		more = cv_str_split(rest, '-', &subtag, &rest);
		if (subtag.len == 0 || subtag.len > SUBTAG_MAX)
			return false;
		for (size_t i = 0; i < subtag.len && !cv_str_eq_c(subtag, "*"); i++)
			if (first ? !cv_is_alpha(subtag.ptr[i]) : !cv_is_alnum(subtag.ptr[i]))
				return false;
		first = false;
	}
	return true;
}

/* RFC 4647 section 3.4. A range is never longer than a command, and is looked at once for each of its subtags. */
static bool look_up(struct cv_str range, unsigned *language_r)
{
	while (!cv_imap_language_find(range, language_r))
		if (!cv_language_shorten(&range))
			return false;
	return true;
}

/* One range; any: it is one that matches everything. */
static bool choose(struct cv_str range, struct cv_str preferred, unsigned *language_r, bool *any)
{
	if (cv_str_caseeq_c(range, "default"))
		return cv_imap_language_find(preferred, language_r);
	*any = range.ptr[0] == '*';
	return !*any && look_up(range, language_r);
}

enum cv_imap_language_wish cv_imap_language_wish(const struct cv_imap_arg *args, const char *preferred, unsigned *language_r)
{
	bool found = false, any = false;
	struct cv_str range;

	if (args == NULL)
		return CV_IMAP_LANGUAGE_LIST;
	for (const struct cv_imap_arg *arg = args; arg != NULL; arg = arg->next) {
		if (!cv_imap_arg_astring(arg, &range) || !is_range(range))
			return CV_IMAP_LANGUAGE_BAD;
		found = found || choose(range, cv_str_c(preferred), language_r, &any);
	}
	/* "*" counts where nothing follows it (RFC 4647 section 3.4): "the default value is computed and returned". */
	return found || (any && cv_imap_language_find(cv_str_c(preferred), language_r)) ? CV_IMAP_LANGUAGE_CHOSEN : CV_IMAP_LANGUAGE_NONE;
}

void cv_imap_append_language(struct cv_buf *out, unsigned language)
{
	cv_buf_printf(out, "* LANGUAGE (%s)\r\n", tag_of(language));
}

void cv_imap_append_languages(struct cv_buf *out)
{
	cv_buf_append_c(out, "* LANGUAGE (");
	for (unsigned i = 1; i < CV_IMAP_LANGUAGES; i++)
		cv_buf_printf(out, "%s ", tag_of(i));
	cv_buf_printf(out, "%s)\r\n", tag_of(CV_IMAP_I_DEFAULT));
}
