/* SPDX-License-Identifier: MIT
   Flags and keywords as the protocol writes them. */
#include <config.h>

#include "imap-flags.h"

#include <culver/mailbox.h>

static const struct {
	uint16_t flag;
	const char *name;
} system_flags[] = {
	{ CV_FLAG_ANSWERED, "\\Answered" },
	{ CV_FLAG_FLAGGED, "\\Flagged" },
	{ CV_FLAG_DELETED, "\\Deleted" },
	{ CV_FLAG_SEEN, "\\Seen" },
	{ CV_FLAG_DRAFT, "\\Draft" },
};

static bool is_keyword(struct cv_str s)
{
	return s.len <= CV_IMAP_KEYWORD_MAX && cv_imap_is_word(s, CV_IMAP_ATOM_CHAR) && cv_str_is_ascii(s);
}

int cv_imap_keyword_check(struct cv_str keyword, struct cv_err *err)
{
	if (keyword.len > CV_IMAP_KEYWORD_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Keyword is longer than %u octets", CV_IMAP_KEYWORD_MAX);
	if (!is_keyword(keyword))
		return cv_err_set_public(err, CV_ERR_INVALID, "Invalid keyword");
	return 0;
}

static bool system_flag(struct cv_str name, uint16_t *flag_r)
{
	for (size_t i = 0; i < CV_COUNT_OF(system_flags); i++) {
		if (cv_str_caseeq_c(name, system_flags[i].name)) {
			*flag_r = system_flags[i].flag;
			return true;
		}
	}
	return false;
}

static bool has_keyword(const struct cv_str *keywords, size_t count, struct cv_str name)
{
	for (size_t i = 0; i < count; i++)
		if (cv_str_caseeq(keywords[i], name))
			return true;
	return false;
}

int cv_imap_flags_parse(struct cv_arena *arena, const struct cv_imap_arg *first, struct cv_imap_flags *flags_r, struct cv_err *err)
{
	struct cv_str *keywords = cv_new(arena, struct cv_str, CV_IMAP_KEYWORDS_MAX);
	size_t count = 0;
	uint16_t flags = 0, flag;

	for (const struct cv_imap_arg *arg = first; arg != NULL; arg = arg->next) {
		struct cv_str name = arg->str;

		if (arg->type != CV_IMAP_ARG_ATOM || arg->glued)
			return cv_err_set_public(err, CV_ERR_INVALID, "Flags must be atoms");
		if (name.len > 0 && name.ptr[0] == '\\') {
			if (cv_str_caseeq_c(name, "\\Recent"))
				return cv_err_set_public(err, CV_ERR_INVALID, "\\Recent can't be changed by clients");
			if (!system_flag(name, &flag))
				return cv_err_set_public(err, CV_ERR_INVALID, "Unknown system flag");
			flags |= flag;
			continue;
		}
		if (cv_imap_keyword_check(name, err) < 0)
			return -1;
		if (has_keyword(keywords, count, name))
			continue;
		if (count == CV_IMAP_KEYWORDS_MAX)
			return cv_err_set_public(err, CV_ERR_LIMIT, "More than %u keywords", CV_IMAP_KEYWORDS_MAX);
		keywords[count++] = cv_arena_str(arena, name);
	}
	*flags_r = (struct cv_imap_flags){ .flags = flags, .keywords = keywords, .count = count };
	return 0;
}

void cv_imap_append_flags(struct cv_buf *out, uint16_t flags, bool recent, const struct cv_str *keywords, size_t count)
{
	const char *space = "";

	for (size_t i = 0; i < CV_COUNT_OF(system_flags); i++) {
		if ((flags & system_flags[i].flag) == 0)
			continue;
		cv_buf_append_c(out, space);
		cv_buf_append_c(out, system_flags[i].name);
		space = " ";
	}
	if (recent) {
		cv_buf_append_c(out, space);
		cv_buf_append_c(out, "\\Recent");
		space = " ";
	}
	for (size_t i = 0; i < count; i++) {
		if (!is_keyword(keywords[i]))
			continue;
		cv_buf_append_c(out, space);
		cv_buf_append(out, keywords[i]);
		space = " ";
	}
}
