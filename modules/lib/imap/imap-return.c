/* SPDX-License-Identifier: MIT
   Result options of SEARCH and its like. */
#include <config.h>

#include "imap-return.h"

#include <culver/reader.h>

static const struct {
	const char *word;
	unsigned opt;
} words[] = {
	{ "MIN", CV_IMAP_RETURN_MIN },
	{ "MAX", CV_IMAP_RETURN_MAX },
	{ "ALL", CV_IMAP_RETURN_ALL },
	{ "COUNT", CV_IMAP_RETURN_COUNT },
	{ "SAVE", CV_IMAP_RETURN_SAVE },
	{ "PARTIAL", CV_IMAP_RETURN_PARTIAL },
	{ "UPDATE", CV_IMAP_RETURN_UPDATE },
	{ "CONTEXT", CV_IMAP_RETURN_CONTEXT },
	{ "RELEVANCY", CV_IMAP_RETURN_RELEVANCY },
};

/* [MINUS] nz-number */
static bool take_place(struct cv_reader *in, bool minus, uint32_t *n_r)
{
	return cv_take_char(in, '-') == minus && cv_peek(in) != '0' && cv_parse_u32(in, UINT32_MAX, n_r);
}

/* partial-range-first = nz-number ":" nz-number; partial-range-last = MINUS nz-number ":" MINUS nz-number */
bool cv_imap_partial_parse(struct cv_str s, struct cv_imap_partial *partial_r)
{
	struct cv_reader in = cv_reader_init(s);
	bool minus = cv_peek(&in) == '-';
	uint32_t first, last;

	if (!take_place(&in, minus, &first) || !cv_take_char(&in, ':') || !take_place(&in, minus, &last) || !cv_reader_end(&in))
		return false;
	*partial_r = (struct cv_imap_partial){ .first = CV_MIN(first, last), .last = CV_MAX(first, last), .from_end = minus };
	return true;
}

bool cv_imap_partial_places(const struct cv_imap_partial *partial, uint32_t count, uint32_t *first_r, uint32_t *last_r)
{
	uint32_t last = CV_MIN(partial->last, count);

	if (partial->first > count)
		return false;
	*first_r = partial->from_end ? count - last + 1 : partial->first;
	*last_r = partial->from_end ? count - partial->first + 1 : last;
	return true;
}

static unsigned find_option(const struct cv_imap_arg *arg, unsigned allowed)
{
	for (size_t i = 0; i < CV_COUNT_OF(words); i++)
		if (cv_imap_arg_is(arg, words[i].word))
			return words[i].opt & allowed;
	return 0;
}

int cv_imap_return_parse(const struct cv_imap_arg **arg, unsigned allowed, struct cv_imap_return *return_r, struct cv_err *err)
{
	const struct cv_imap_arg *option;

	*return_r = (struct cv_imap_return){ 0 };
	if (!cv_imap_arg_is(*arg, "RETURN"))
		return 0;
	if (!cv_imap_arg_list((*arg)->next, &option))
		return cv_err_set_public(err, CV_ERR_INVALID, "RETURN needs a list of options");
	*arg = (*arg)->next->next;
	return_r->given = true;
	for (; option != NULL; option = option->next) {
		unsigned opt = find_option(option, allowed);

		if (opt == 0)
			return cv_err_set_public(err, CV_ERR_INVALID, "Unknown option in RETURN");
		if (opt == CV_IMAP_RETURN_PARTIAL) {
			option = option->next;
			if ((return_r->opts & CV_IMAP_RETURN_PARTIAL) != 0)
				return cv_err_set_public(err, CV_ERR_INVALID, "RETURN has PARTIAL twice");
			if (option == NULL || option->type != CV_IMAP_ARG_ATOM || !cv_imap_partial_parse(option->str, &return_r->partial))
				return cv_err_set_public(err, CV_ERR_INVALID, "Missing or invalid range behind PARTIAL");
		}
		/* modifier-update = "UPDATE" [ "(" fetch-att *(SP fetch-att) ")" ] (RFC 5465 section 8) */
		if (opt == CV_IMAP_RETURN_UPDATE && option->next != NULL && option->next->type == CV_IMAP_ARG_LIST) {
			option = option->next;
			return_r->update = option;
		}
		return_r->opts |= opt;
	}
	if ((return_r->opts & CV_IMAP_RETURN_PARTIAL) != 0 && (return_r->opts & CV_IMAP_RETURN_ALL) != 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "RETURN has both PARTIAL and ALL");
	/* RFC 4731 section 3.1: an empty list "is equivalent to (ALL)". UPDATE and CONTEXT ask for no data (RFC 5267 section 4.3), nor does SAVE. */
	if (return_r->opts == 0)
		return_r->opts = CV_IMAP_RETURN_ALL;
	return 0;
}
