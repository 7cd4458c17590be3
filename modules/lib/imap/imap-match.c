/* SPDX-License-Identifier: MIT
   LIST and LSUB patterns: all positions of the pattern that can be reached are followed at once, so no pattern is slow. */
#include <config.h>

#include "imap-match.h"

#include <string.h>

struct cv_imap_pattern {
	struct cv_str text; /* without repeated wildcards */
	char separator;
	bool *here, *next;  /* text.len + 1 each: positions reached */
};

struct cv_imap_pattern *cv_imap_pattern_new(struct cv_arena *arena, struct cv_str pattern, char separator)
{
	struct cv_imap_pattern *p = cv_new(arena, struct cv_imap_pattern, 1);
	char *text = cv_arena_alloc(arena, pattern.len);
	size_t len = 0;

	for (size_t i = 0; i < pattern.len; i++) {
		char c = pattern.ptr[i];
		char last = len > 0 ? text[len - 1] : '\0';

		/* "**", "*%" and "%*" say what "*" says; "%%" what "%" says. */
		if ((c == '*' || c == '%') && (last == '*' || last == '%')) {
			if (c == '*')
				text[len - 1] = '*';
		} else {
			text[len++] = c;
		}
	}
	p->text = cv_str_mem(text, len);
	p->separator = separator;
	p->here = cv_new(arena, bool, len + 1);
	p->next = cv_new(arena, bool, len + 1);
	return p;
}

bool cv_imap_pattern_ends_with_percent(const struct cv_imap_pattern *pattern)
{
	return pattern->text.len > 0 && pattern->text.ptr[pattern->text.len - 1] == '%';
}

/* Wildcards match nothing too: from a position before one, the position behind it is reached. */
static bool spread(const struct cv_imap_pattern *pattern, bool *at)
{
	bool any = false;

	for (size_t i = 0; i <= pattern->text.len; i++) {
		any |= at[i];
		if (at[i] && i < pattern->text.len && (pattern->text.ptr[i] == '*' || pattern->text.ptr[i] == '%'))
			at[i + 1] = true;
	}
	return any;
}

static size_t inbox_length(struct cv_str name, char separator)
{
	struct cv_str inbox = CV_STR("INBOX");

	if (!cv_str_casestarts(name, inbox) || (name.len > inbox.len && name.ptr[inbox.len] != separator))
		return 0;
	return inbox.len;
}

bool cv_imap_pattern_match(const struct cv_imap_pattern *pattern, struct cv_str name)
{
	size_t states = pattern->text.len + 1, folded = inbox_length(name, pattern->separator);
	bool *here = pattern->here, *next = pattern->next;

	memset(here, 0, states * sizeof(*here));
	here[0] = true;
	spread(pattern, here);
	for (size_t n = 0; n < name.len; n++) {
		char c = name.ptr[n];
		bool *swap = here;

		memset(next, 0, states * sizeof(*next));
		for (size_t i = 0; i < pattern->text.len; i++) {
			char p = pattern->text.ptr[i];

			if (!here[i])
				continue;
			if (p == '*' || (p == '%' && c != pattern->separator))
				next[i] = true;
			else if (p == c || (n < folded && cv_lower(p) == cv_lower(c)))
				next[i + 1] = true;
		}
		if (!spread(pattern, next))
			return false;
		here = next;
		next = swap;
	}
	return here[pattern->text.len];
}
