/* SPDX-License-Identifier: MIT
   mail_location: parsing, and refusing what is not mounted. */
#include <config.h>

#include "core/store/location.h"
#include <culver/buf.h>
#include <culver/reader.h>
#include <culver/settings.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_LIMIT 4000
#define FSTAB_LIMIT ((size_t)1 << 20)

/* An absolute path without trailing slash. */
static int absolute(struct cv_str value, const char *home, const char *what, struct cv_arena *arena, const char **path_r,
	struct cv_err *err)
{
	char *path;
	size_t len;

	if (value.len > PATH_LIMIT || cv_str_has_nul(value))
		return cv_err_set(err, CV_ERR_INVALID, "mail_location: %s is too long or holds a NUL", what);
	if (cv_str_eq_c(value, "~") || cv_str_starts(value, CV_STR("~/"))) {
		if (home == NULL || home[0] == '\0')
			return cv_err_set(err, CV_ERR_INVALID,
				"mail_location: %s begins with ~/ but the user has no home directory (userdb, or mail_home)", what);
		path = cv_arena_printf(arena, "%s%.*s", home, CV_STR_ARG(cv_str_sub(value, 1, SIZE_MAX)));
	} else {
		path = cv_arena_cstr(arena, value);
	}
	if (path == NULL || path[0] != '/')
		return cv_err_set(err, CV_ERR_INVALID, "mail_location: %s must be an absolute path or begin with ~/", what);
	len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	for (const char *p = path; (p = strstr(p, "/..")) != NULL; p++) {
		if (p[3] == '/' || p[3] == '\0')
			return cv_err_set(err, CV_ERR_INVALID, "mail_location: %s must not hold \"..\"", what);
	}
	*path_r = path;
	return 1;
}

int cv_location_parse(const char *text, const char *home, struct cv_arena *arena, struct cv_location *location_r, struct cv_err *err)
{
	struct cv_str rest = cv_str_c(text), part, value, key;
	struct cv_location location = { 0 };

	if (!cv_str_split(rest, ':', &part, &rest) || part.len == 0)
		return cv_err_set(err, CV_ERR_INVALID, "mail_location \"%s\" does not begin with DRIVER:", text);
	location.driver = cv_arena_cstr(arena, part);
	if (!cv_str_split(rest, ':', &part, &rest))
		rest = (struct cv_str){ 0 };
	if (absolute(part, home, "the path", arena, &location.root, err) < 0)
		return -1;
	while (rest.len > 0) {
		struct cv_str tail;

		if (!cv_str_split(rest, ':', &part, &tail))
			tail = (struct cv_str){ 0 };
		rest = tail;
		if (!cv_str_split(part, '=', &key, &value))
			return cv_err_set(err, CV_ERR_INVALID, "mail_location: \"%.*s\" is no KEY=VALUE", CV_STR_ARG(part));
		if (cv_str_eq_c(key, "INDEX")) {
			if (cv_str_eq_c(value, "MEMORY"))
				return cv_err_set(err, CV_ERR_UNSUPPORTED,
					"mail_location: INDEX=MEMORY is not possible, the journal must be on disk");
			if (absolute(value, home, "INDEX", arena, &location.index_root, err) < 0)
				return -1;
		} else if (cv_str_eq_c(key, "CONTROL")) {
			if (absolute(value, home, "CONTROL", arena, &location.control_root, err) < 0)
				return -1;
		} else if (cv_str_eq_c(key, "INBOX")) {
			if (absolute(value, home, "INBOX", arena, &location.inbox, err) < 0)
				return -1;
		} else if (cv_str_eq_c(key, "LAYOUT")) {
			location.layout = cv_arena_cstr(arena, value);
			if (location.layout == NULL || (strcmp(location.layout, "fs") != 0 && strcmp(location.layout, "maildir++") != 0))
				return cv_err_set(err, CV_ERR_UNSUPPORTED, "mail_location: LAYOUT must be fs or maildir++");
		} else if (cv_str_eq_c(key, "DIRNAME")) {
			location.dirname = cv_arena_cstr(arena, value);
			if (location.dirname == NULL || location.dirname[0] == '\0' || strchr(location.dirname, '/') != NULL ||
				strcmp(location.dirname, ".") == 0 || strcmp(location.dirname, "..") == 0)
				return cv_err_set(err, CV_ERR_INVALID, "mail_location: DIRNAME must be a plain name");
		} else {
			return cv_err_set(err, CV_ERR_UNSUPPORTED,
				"mail_location: unknown key %.*s; known are INDEX, CONTROL, INBOX, LAYOUT, DIRNAME", CV_STR_ARG(key));
		}
	}
	if (location.index_root == NULL)
		location.index_root = location.root;
	if (location.control_root == NULL)
		location.control_root = location.root;
	*location_r = location;
	return 1;
}

int cv_location_expand(const char *text, const char *user, const char *home, struct cv_arena *arena, const char **text_r,
	struct cv_err *err)
{
	struct cv_str name = cv_str_c(user), local, domain;
	struct cv_buf out;
	size_t at = cv_str_rfind(name, '@');
	int ret;

	local = at == SIZE_MAX ? name : cv_str_sub(name, 0, at);
	domain = at == SIZE_MAX ? (struct cv_str){ 0 } : cv_str_sub(name, at + 1, SIZE_MAX);
	{
		const struct cv_var vars[] = {
			{ 'u', "user", name },
			{ 'n', "username", local },
			{ 'd', "domain", domain },
			{ 'h', "home", cv_str_c(home) },
		};

		cv_buf_init(&out, PATH_LIMIT);
		ret = cv_var_expand(&out, text, vars, CV_COUNT_OF(vars), err);
	}
	if (ret >= 0 && (!cv_buf_ok(&out) || (*text_r = cv_arena_cstr(arena, cv_buf_str(&out))) == NULL))
		ret = cv_err_set(err, CV_ERR_INVALID, "\"%s\" is too long when its variables are filled in", text);
	cv_buf_deinit(&out);
	return ret < 0 ? -1 : 1;
}

static bool is_below(const char *path, struct cv_str dir)
{
	return dir.len > 1 && cv_str_starts(cv_str_c(path), dir) && (path[dir.len] == '/' || path[dir.len] == '\0');
}

/* 1 mounted, 0 not. A mount point has another device than its parent, or the same inode (the root). */
static int is_mounted(const char *dir)
{
	char parent[PATH_LIMIT + 4];
	struct stat here, above;
	size_t len = strlen(dir);

	if (len >= PATH_LIMIT)
		return 0;
	memcpy(parent, dir, len);
	memcpy(parent + len, "/..", 4);
	if (stat(dir, &here) < 0 || stat(parent, &above) < 0)
		return 0;
	return here.st_dev != above.st_dev || here.st_ino == above.st_ino;
}

static int check_one(const char *path, struct cv_str dir, struct cv_arena *arena, const char *why, struct cv_err *err)
{
	const char *text;

	while (dir.len > 1 && dir.ptr[dir.len - 1] == '/')
		dir.len--;
	text = cv_arena_cstr(arena, dir);
	if (text == NULL || !is_below(path, dir) || is_mounted(text))
		return 1;
	return cv_err_set(err, CV_ERR_UNAVAILABLE, "%s is not mounted (%s): mail in %s stays closed until it is", text, why, path);
}

static bool has_option(struct cv_str options, const char *option)
{
	struct cv_str word, rest = options;

	while (rest.len > 0) {
		struct cv_str tail;

		if (!cv_str_split(rest, ',', &word, &tail))
			tail = (struct cv_str){ 0 };
		rest = tail;
		if (cv_str_eq_c(word, option))
			return true;
	}
	return false;
}

static bool not_blank(char c)
{
	return c != ' ' && c != '\t';
}

static bool blank(char c)
{
	return !not_blank(c);
}

/* device, directory, type, options, … separated by blanks; "\040" and the like in names are not decoded: such names are passed over. */
static int check_line(struct cv_str line, const char *path, struct cv_arena *arena, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(cv_str_trim(line));
	struct cv_str field[4] = { { 0 } };

	if (cv_peek(&reader) == '#')
		return 1;
	for (size_t i = 0; i < CV_COUNT_OF(field); i++) {
		field[i] = cv_take_while(&reader, not_blank);
		(void)cv_take_while(&reader, blank);
	}
	if (field[1].len == 0 || field[1].ptr[0] != '/' || cv_str_eq_c(field[2], "swap") || has_option(field[3], "noauto") ||
		cv_str_find(field[1], '\\') != SIZE_MAX)
		return 1;
	return check_one(path, field[1], arena, "/etc/fstab names it", err);
}

int cv_location_check_fstab(const char *fstab, const char *path, struct cv_err *err)
{
	struct cv_arena *arena;
	struct cv_reader reader;
	struct cv_str line;
	struct cv_buf buf;
	char chunk[8192];
	ssize_t n;
	int ret = 1, fd = open(fstab, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 1; /* none, or not for us to read */
	cv_buf_init(&buf, FSTAB_LIMIT);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		cv_buf_append_mem(&buf, chunk, (size_t)n);
	(void)close(fd);
	arena = cv_arena_new("fstab", NULL, 0);
	reader = cv_reader_init(cv_buf_str(&buf));
	while (ret > 0 && cv_take_line(&reader, &line))
		ret = check_line(line, path, arena, err);
	cv_arena_free(&arena);
	cv_buf_deinit(&buf);
	return ret;
}

int cv_location_check_mounts(const char *path, const char *const *extra, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("mounts", NULL, 0);
	int ret = 1;

	for (; ret > 0 && extra != NULL && *extra != NULL; extra++)
		ret = check_one(path, cv_str_c(*extra), arena, "mail_mount_points names it", err);
	cv_arena_free(&arena);
	return ret < 0 ? -1 : cv_location_check_fstab("/etc/fstab", path, err);
}
