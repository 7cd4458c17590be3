/* SPDX-License-Identifier: MIT
   Access control lists: the lines of their files.

   A line is "identifier rights", in a global list "pattern identifier rights". Rights are letters ("lrw"), their names behind a colon
   (":lookup:read"), or both. What holds a blank or a quote stands in quotes, where a backslash takes what follows as it is. */
#include <config.h>

#include "acl-list.h"

#include "modules/lib/imap/imap-rights.h"

#include <culver/reader.h>

static const struct {
	const char *name;
	unsigned right;
} names[] = {
	{ "lookup", CV_RIGHT_LOOKUP },
	{ "read", CV_RIGHT_READ },
	{ "write-seen", CV_RIGHT_SEEN },
	{ "write", CV_RIGHT_WRITE },
	{ "insert", CV_RIGHT_INSERT },
	{ "post", CV_RIGHT_POST },
	{ "create", CV_RIGHT_CREATE },
	{ "delete", CV_RIGHT_DELETE },
	{ "write-deleted", CV_RIGHT_DELETED },
	{ "expunge", CV_RIGHT_EXPUNGE },
	{ "admin", CV_RIGHT_ADMIN },
};

static void skip_blanks(struct cv_reader *reader)
{
	while (cv_take_char(reader, ' ') || cv_take_char(reader, '\t'))
		;
}

static bool is_word(char c)
{
	return c != ' ' && c != '\t';
}

/* A word, or one in quotes. */
static bool take_word(struct cv_arena *arena, struct cv_reader *reader, struct cv_str *word_r)
{
	struct cv_buf word;
	bool closed = false;
	char c;

	skip_blanks(reader);
	if (!cv_take_char(reader, '"')) {
		*word_r = cv_take_while(reader, is_word);
		return word_r->len > 0;
	}
	cv_buf_init(&word, ACL_TEXT_MAX);
	while (!closed && cv_take_any(reader, &c)) {
		closed = c == '"';
		if (closed || (c == '\\' && !cv_take_any(reader, &c)))
			break;
		cv_buf_append_char(&word, c);
	}
	*word_r = cv_arena_str(arena, cv_buf_str(&word));
	cv_buf_deinit(&word);
	return closed && word_r->len > 0;
}

static int parse_names(struct cv_str list, unsigned *rights, struct cv_err *err)
{
	struct cv_str name;

	while (list.len > 0) {
		size_t i = 0;

		cv_str_split(list, ':', &name, &list);
		while (i < CV_COUNT_OF(names) && !cv_str_eq_c(name, names[i].name))
			i++;
		if (i < CV_COUNT_OF(names))
			*rights |= names[i].right;
		else if (name.len > 0)
			return cv_err_set_public(err, CV_ERR_INVALID, "there is no right \"%.*s\"", CV_STR_ARG(name));
	}
	return 0;
}

int acl_rights_parse(struct cv_str text, unsigned *rights_r, struct cv_err *err)
{
	struct cv_str letters, list;

	cv_str_split(cv_str_trim(text), ':', &letters, &list);
	if (cv_imap_rights_parse(cv_str_trim(letters), rights_r, err) < 0)
		return -1;
	return parse_names(list, rights_r, err);
}

/* What a line could not give back, or would be another line. */
static bool has_control(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return true;
	return false;
}

int acl_word_parse(struct cv_str word, struct acl_entry *entry, struct cv_err *err)
{
	*entry = (struct acl_entry){ 0 };
	if (has_control(word) || !cv_str_is_utf8(word))
		return cv_err_set_public(err, CV_ERR_INVALID, "identifiers are UTF-8 without control characters");
	if (word.len > 0 && word.ptr[0] == '-') {
		entry->negative = true;
		word = cv_str_sub(word, 1, SIZE_MAX);
	}
	for (enum acl_kind kind = ACL_ANYONE; kind <= ACL_GROUP_OVERRIDE; kind++) {
		struct cv_str start = cv_str_c(acl_kind_word(kind));

		if (acl_kind_is_named(kind) ? !cv_str_starts(word, start) || word.len == start.len : !cv_str_eq(word, start))
			continue;
		entry->kind = kind;
		if (acl_kind_is_named(kind))
			entry->name = cv_str_sub(word, start.len, SIZE_MAX);
		return 0;
	}
	return cv_err_set_public(err, CV_ERR_INVALID, "there is no identifier \"%.*s\" (anyone, authenticated, owner, user=, group=, group-override=)",
		CV_STR_ARG(word));
}

static int parse_line(struct acl_list *list, struct cv_str line, bool global, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(line);
	struct acl_entry entry;
	struct cv_str pattern = { 0 }, word;
	unsigned rights;

	if (global && !take_word(list->arena, &reader, &pattern))
		return cv_err_set_public(err, CV_ERR_INVALID, "a mailbox pattern is missing");
	if (!take_word(list->arena, &reader, &word))
		return cv_err_set_public(err, CV_ERR_INVALID, "an identifier is missing");
	if (acl_word_parse(word, &entry, err) < 0 || acl_rights_parse(cv_reader_rest(&reader), &rights, err) < 0)
		return -1;
	entry.pattern = pattern;
	acl_list_add(list, &entry)->rights = rights;
	return 0;
}

int acl_list_parse(struct acl_list *list, struct cv_str text, bool global, struct cv_err *err)
{
	struct cv_str line;

	for (unsigned number = 1; text.len > 0; number++) {
		cv_str_split(text, '\n', &line, &text);
		line = cv_str_trim(line);
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (!cv_str_is_utf8(line) || cv_str_has_nul(line))
			return cv_err_set(err, CV_ERR_INVALID, "line %u is no valid UTF-8", number);
		if (parse_line(list, line, global, err) < 0)
			return cv_err_context(err, "line %u", number);
	}
	return 0;
}

static void append_word(struct cv_buf *out, struct cv_str word)
{
	bool quoted = cv_str_find(word, ' ') != SIZE_MAX || cv_str_find(word, '"') != SIZE_MAX;

	if (!quoted) {
		cv_buf_append(out, word);
		return;
	}
	cv_buf_append_char(out, '"');
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] == '"' || word.ptr[i] == '\\')
			cv_buf_append_char(out, '\\');
		cv_buf_append_char(out, word.ptr[i]);
	}
	cv_buf_append_char(out, '"');
}

void acl_word_append(struct cv_buf *out, const struct acl_entry *entry)
{
	cv_buf_printf(out, "%s%s%.*s", entry->negative ? "-" : "", acl_kind_word(entry->kind), CV_STR_ARG(entry->name));
}

void acl_list_write(const struct acl_list *list, struct cv_buf *out)
{
	for (size_t i = 0; i < list->entries.count; i++) {
		const struct acl_entry *entry = &list->entries.data[i];
		struct cv_buf word;
		unsigned right = 0;
		char letter;

		cv_buf_init(&word, ACL_TEXT_MAX);
		acl_word_append(&word, entry);
		append_word(out, cv_buf_str(&word));
		cv_buf_append_char(out, ' ');
		for (unsigned n = 0; (letter = cv_imap_right_letter(n, &right)) != 0; n++)
			if ((entry->rights & right) != 0)
				cv_buf_append_char(out, letter);
		cv_buf_append_char(out, '\n');
		cv_buf_deinit(&word);
	}
}
