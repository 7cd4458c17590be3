/* SPDX-License-Identifier: MIT
   COMPARATOR (RFC 5255 section 4.7). There is one: i;unicode-casemap (RFC 5051), which is what SEARCH, SORT and THREAD use. */
#include <config.h>

#include "imap-session.h"

#define ARGS_MAX 64u
#define WANTED_MAX 254u /* RFC 4790 section 3.2: "MUST NOT exceed 254 characters total" */

static const char comparator[] = "i;unicode-casemap";

/* collation-order = ["+" / "-"] collation-wild (RFC 4790 section 3.2); "default" (RFC 5255). "-" asks for the reverse order, which there is not. wanted is valid. */
static bool matches(struct cv_str wanted)
{
	char mask[WANTED_MAX];

	if (cv_str_caseeq_c(wanted, "default"))
		return true;
	if (wanted.ptr[0] == '+')
		wanted = cv_str_sub(wanted, 1, SIZE_MAX);
	for (size_t i = 0; i < wanted.len; i++)
		mask[i] = cv_lower(wanted.ptr[i]);
	return cv_str_like(cv_str_c(comparator), cv_str_mem(mask, wanted.len));
}

/* collation-char, "*" and the sign; "?" is not among them. */
static bool is_valid(struct cv_str wanted)
{
	for (size_t i = 0; i < wanted.len; i++) {
		char c = wanted.ptr[i];

		if (!cv_is_alnum(c) && c != '-' && c != ';' && c != '=' && c != '.' && c != '*' && !(c == '+' && i == 0))
			return false;
	}
	return wanted.len > 0 && wanted.len <= WANTED_MAX;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	bool found = cmd->args == NULL;
	unsigned count = 0;
	struct cv_str wanted;

	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next) {
		if (!cv_imap_arg_astring(arg, &wanted) || !is_valid(wanted))
			return imap_bad(cmd, "Comparators are names, of which parts may be *");
		if (++count > ARGS_MAX)
			return imap_no(cmd, "LIMIT", "Too many comparators");
		found = found || matches(wanted);
	}
	if (!found)
		return imap_no(cmd, "BADCOMPARATOR", "There is no such comparator");
	cv_buf_printf(imap_out(cmd), "* COMPARATOR %s\r\n", comparator);
	return imap_ok(cmd, NULL, "Comparator is active");
}

const struct cv_imap_command imap_cmd_comparator = { .verb = "COMPARATOR", .opts = CV_IMAP_LOGGED_IN, .run = run };
