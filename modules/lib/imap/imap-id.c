/* SPDX-License-Identifier: MIT
   The ID command. */
#include <config.h>

#include "imap-id.h"

#include "imap-quote.h"

#include <culver/log.h>

#define PAIRS_MAX 30u
#define KEY_MAX 30u
#define VALUE_MAX 1024u

static int invalid(struct cv_err *err, const char *what)
{
	return cv_err_set_public(err, CV_ERR_INVALID, "%s", what);
}

int cv_imap_id_parse(const struct cv_imap_arg *args, void (*fn)(void *ctx, struct cv_str key, struct cv_str value), void *ctx,
	struct cv_err *err)
{
	const struct cv_imap_arg *arg;
	struct cv_str key, value;
	size_t pairs = 0;

	if (args == NULL || args->next != NULL)
		return invalid(err, "ID needs a list or NIL");
	if (cv_imap_arg_is(args, "NIL"))
		return 0;
	if (!cv_imap_arg_list(args, &arg))
		return invalid(err, "ID needs a list or NIL");
	/* All is checked before anything is told. */
	for (const struct cv_imap_arg *a = arg; a != NULL; a = a->next->next) {
		if (!cv_imap_arg_string(a, &key) || !cv_imap_arg_nstring(a->next, &value))
			return invalid(err, "ID needs pairs of strings");
		if (++pairs > PAIRS_MAX || key.len > KEY_MAX || value.len > VALUE_MAX)
			return invalid(err, "ID list is too long");
	}
	for (; arg != NULL && fn != NULL; arg = arg->next->next)
		if (cv_imap_arg_string(arg, &key) && cv_imap_arg_nstring(arg->next, &value))
			fn(ctx, key, value);
	return 0;
}

static bool next_word(struct cv_str *rest, struct cv_str *word_r)
{
	*rest = cv_str_trim(*rest);
	if (rest->len == 0)
		return false;
	cv_str_split(*rest, ' ', word_r, rest);
	return true;
}

void cv_imap_id_log(struct cv_buf *out, const char *fields, struct cv_str key, struct cv_str value)
{
	struct cv_str rest = cv_str_c(fields != NULL ? fields : ""), word;
	bool named = false;

	while (!named && next_word(&rest, &word))
		named = cv_str_eq_c(word, "*") || cv_str_caseeq(word, key);
	if (!named)
		return;
	if (out->len > 0)
		cv_buf_append_c(out, ", ");
	cv_buf_append_c(out, cv_log_clean(key));
	cv_buf_append_char(out, '=');
	cv_buf_append_c(out, value.ptr != NULL ? cv_log_clean(value) : "NIL");
}

static struct cv_str own_value(struct cv_str key)
{
	if (cv_str_caseeq_c(key, "name"))
		return CV_STR("Culver");
	if (cv_str_caseeq_c(key, "version"))
		return CV_STR(PACKAGE_VERSION);
	if (cv_str_caseeq_c(key, "os"))
		return CV_STR("Linux");
	return (struct cv_str){ NULL, 0 };
}

void cv_imap_append_id(struct cv_buf *out, const char *pairs)
{
	struct cv_str rest = cv_str_c(pairs), key, value;
	const char *sep = "(";

	cv_buf_append_c(out, "* ID ");
	while (next_word(&rest, &key)) {
		if (!next_word(&rest, &value))
			value = CV_STR("*");
		if (cv_str_eq_c(value, "*"))
			value = own_value(key);
		cv_buf_append_c(out, sep);
		cv_imap_append_string(out, key);
		cv_buf_append_char(out, ' ');
		cv_imap_append_nstring(out, value);
		sep = " ";
	}
	cv_buf_append_c(out, *sep == '(' ? "NIL\r\n" : ")\r\n");
}
