/* SPDX-License-Identifier: MIT
   Password files: the parser. */
#include <config.h>

#include "modules/auth/passwd-file/passwd-file.h"

#include <culver/arena.h>
#include <culver/reader.h>

struct passwd_file {
	struct cv_buf text;     /* wiping; entries are views into it */
	struct cv_arena *arena;
	struct cv_map *users;   /* user -> struct passwd_entry */
};

/* Up to the next ':', or all that is left. Absent when the line had ended before. */
static struct cv_str take_field(struct cv_reader *r, bool *ended)
{
	struct cv_str field = { 0 };

	if (*ended)
		return field;
	if (!cv_take_until(r, ':', &field)) {
		field = cv_reader_rest(r);
		r->pos = r->s.len;
		*ended = true;
	}
	return field;
}

static const char *parse_line(struct passwd_file *file, struct cv_str line)
{
	struct cv_reader r = cv_reader_init(line);
	struct passwd_entry *entry, e = { 0 };
	bool ended = false;

	if (line.len > PASSWD_LINE_MAX)
		return "is too long";
	if (cv_str_has_nul(line))
		return "holds a NUL";
	e.user = take_field(&r, &ended);
	e.password = take_field(&r, &ended);
	e.uid = take_field(&r, &ended);
	e.gid = take_field(&r, &ended);
	(void)take_field(&r, &ended); /* gecos */
	e.home = take_field(&r, &ended);
	(void)take_field(&r, &ended); /* shell */
	if (!ended)
		e.extra = cv_reader_rest(&r);
	if (cv_map_get(file->users, e.user) != NULL)
		return "names a user again that stands further up: it does not count";
	entry = cv_new(file->arena, struct passwd_entry, 1);
	*entry = e;
	(void)cv_map_set(file->users, e.user, entry);
	return NULL;
}

struct passwd_file *passwd_file_parse(struct cv_buf *text, void (*warn)(void *ctx, unsigned line, const char *why), void *ctx)
{
	struct passwd_file *file = cv_new0(struct passwd_file);
	struct cv_reader r;
	unsigned number = 0;

	file->text = *text;
	cv_buf_init_wipe(text, text->max);
	file->arena = cv_arena_new("passwd-file", NULL, 0);
	file->users = cv_map_new();
	r = cv_reader_init(cv_buf_str(&file->text));
	while (!cv_reader_end(&r)) {
		struct cv_str line;
		const char *why;

		if (!cv_take_line(&r, &line)) {
			line = cv_reader_rest(&r);
			r.pos = r.s.len;
		}
		number++;
		if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ':' || cv_is_space(line.ptr[0]))
			continue;
		why = parse_line(file, line);
		if (why != NULL && warn != NULL)
			warn(ctx, number, why);
	}
	return file;
}

void passwd_file_free(struct passwd_file **file_p)
{
	struct passwd_file *file = *file_p;

	*file_p = NULL;
	if (file == NULL)
		return;
	cv_map_free(&file->users);
	cv_arena_free(&file->arena);
	cv_buf_deinit(&file->text);
	cv_free(file);
}

const struct passwd_entry *passwd_file_find(const struct passwd_file *file, struct cv_str user)
{
	return cv_map_get(file->users, user);
}

bool passwd_file_next(const struct passwd_file *file, size_t *pos, const struct passwd_entry **entry_r)
{
	struct cv_str user;
	void *value;

	if (!cv_map_next(file->users, pos, &user, &value))
		return false;
	*entry_r = value;
	return true;
}

size_t passwd_file_count(const struct passwd_file *file)
{
	return cv_map_count(file->users);
}

bool passwd_file_stored(struct cv_str password, const char *scheme, struct cv_buf *out)
{
	bool prefixed = password.len > 0 && password.ptr[0] == '{' && cv_str_find(password, '}') != SIZE_MAX;

	if (password.len == 0)
		return false;
	if (!prefixed && cv_str_ends(password, CV_STR("[13]"))) {
		scheme = "CRYPT";
		password.len -= 4;
	} else if (!prefixed && cv_str_ends(password, CV_STR("[34]"))) {
		password.len -= 4;
		scheme = cv_str_starts(password, CV_STR("$")) ? "CRYPT" : "PLAIN-MD5";
	}
	if (!prefixed) {
		cv_buf_append_char(out, '{');
		cv_buf_append_c(out, scheme);
		cv_buf_append_char(out, '}');
	}
	cv_buf_append(out, password);
	return true;
}
