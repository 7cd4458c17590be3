/* SPDX-License-Identifier: MIT
   The passwd-file databases: users and passwords in text files of Dovecot's form, read again whenever they change. */
#include <config.h>

#include "modules/auth/passwd-file/passwd-file.h"

#include <culver/auth.h>
#include <culver/log.h>
#include <culver/reader.h>
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 256u       /* files kept in memory when the path has variables */
#define RACY_NS 1000000000LL /* a file changed less than this before it was read may change again with the same time */
#define STORED_MAX 8192u
#define FIELD_MAX 16384u

struct loaded {
	struct passwd_file *file;
	struct timespec mtime, ctime;
	ino_t ino;
	off_t size;
	bool settled; /* was unchanged for long enough when it was read */
	uint64_t used; /* counter of the last use */
};

struct db {
	const char *name; /* of the section */
	const char *path; /* may have variables */
	const char *scheme;
	const char *username_format;
	struct cv_map *files; /* path -> struct loaded */
	uint64_t uses;
};

/* ---- args: [scheme=S] [username_format=F] PATH ----------------------------------------------------------- */

static int open_db(const struct cv_authdb_config *config, void **db_r, struct cv_err *err)
{
	struct cv_str args = cv_str_trim(cv_str_c(config->args));
	struct db *db = cv_new(config->arena, struct db, 1);
	struct cv_str word, rest;

	db->name = config->name;
	db->scheme = "CRYPT";
	db->username_format = "%u";
	while (cv_str_split(args, ' ', &word, &rest)) {
		if (cv_str_starts(word, CV_STR("scheme=")))
			db->scheme = cv_arena_cstr(config->arena, cv_str_sub(word, 7, SIZE_MAX));
		else if (cv_str_starts(word, CV_STR("username_format=")))
			db->username_format = cv_arena_cstr(config->arena, cv_str_sub(word, 16, SIZE_MAX));
		else
			break;
		args = cv_str_trim(rest);
	}
	db->path = cv_arena_cstr(config->arena, args);
	if (db->scheme == NULL || db->username_format == NULL || db->path == NULL)
		return cv_err_set(err, CV_ERR_INVALID, "args holds a NUL");
	if (db->path[0] != '/')
		return cv_err_set(err, CV_ERR_INVALID, "args must end with the absolute path of the file "
			"(args = [scheme=S] [username_format=F] /path), not with \"%s\"", db->path);
	if (cv_var_check(db->path, err) < 0 || cv_var_check(db->username_format, err) < 0)
		return cv_err_context(err, "args");
	db->files = cv_map_new();
	*db_r = db;
	return 0;
}

static void loaded_free(struct loaded *loaded)
{
	passwd_file_free(&loaded->file);
	cv_free(loaded);
}

static void close_db(void *ctx)
{
	struct db *db = ctx;
	struct cv_str path;
	void *value;
	size_t pos = 0;

	while (cv_map_next(db->files, &pos, &path, &value))
		loaded_free(value);
	cv_map_free(&db->files);
}

/* ---- Files ----------------------------------------------------------------------------------------------- */

struct warn_ctx {
	const char *path;
	unsigned count;
};

static void warn_line(void *ctx, unsigned line, const char *why)
{
	struct warn_ctx *warn = ctx;

	/* One broken file must not fill the log. */
	if (++warn->count <= 10)
		cv_warn(NULL, "passwd-file %s line %u %s", warn->path, line, why);
}

static int read_all(int fd, const char *path, struct cv_buf *text, struct cv_err *err)
{
	for (;;) {
		void *to = cv_buf_reserve(text, 65536);
		ssize_t got;

		if (to == NULL)
			return cv_err_set(err, CV_ERR_LIMIT, "%s is larger than %u octets", path, PASSWD_FILE_MAX);
		got = read(fd, to, 65536);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return cv_err_sys(err, errno, "cannot read %s", path);
		if (got == 0)
			return 0;
		cv_buf_commit(text, (size_t)got);
	}
}

static struct loaded *load(const char *path, struct cv_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct warn_ctx warn = { .path = path };
	struct loaded *loaded = NULL;
	struct timespec now;
	struct cv_buf text;
	struct stat st;

	if (fd < 0) {
		(void)cv_err_sys(err, errno, "cannot open %s (it must be readable for the auth process, uid %lu)", path,
			(unsigned long)geteuid());
		return NULL;
	}
	cv_buf_init_wipe(&text, PASSWD_FILE_MAX);
	if (fstat(fd, &st) < 0) {
		(void)cv_err_sys(err, errno, "cannot stat %s", path);
	} else if (!S_ISREG(st.st_mode)) {
		(void)cv_err_set(err, CV_ERR_INVALID, "%s is not a regular file", path);
	} else if (read_all(fd, path, &text, err) == 0) {
		loaded = cv_new0(struct loaded);
		loaded->mtime = st.st_mtim;
		loaded->ctime = st.st_ctim;
		loaded->ino = st.st_ino;
		loaded->size = st.st_size;
		(void)clock_gettime(CLOCK_REALTIME, &now);
		loaded->settled = (now.tv_sec - st.st_ctim.tv_sec) * 1000000000LL + (now.tv_nsec - st.st_ctim.tv_nsec) > RACY_NS;
		loaded->file = passwd_file_parse(&text, warn_line, &warn);
		if (warn.count > 10)
			cv_warn(NULL, "passwd-file %s: %u more lines like these", path, warn.count - 10);
		cv_debug(&(struct cv_log_ctx){ .category = "auth" }, "passwd-file %s: %zu users read", path,
			passwd_file_count(loaded->file));
	}
	cv_buf_deinit(&text);
	(void)close(fd);
	return loaded;
}

static bool unchanged(const struct loaded *loaded, const struct stat *st)
{
	return loaded->settled && loaded->ino == st->st_ino && loaded->size == st->st_size &&
		loaded->mtime.tv_sec == st->st_mtim.tv_sec && loaded->mtime.tv_nsec == st->st_mtim.tv_nsec &&
		loaded->ctime.tv_sec == st->st_ctim.tv_sec && loaded->ctime.tv_nsec == st->st_ctim.tv_nsec;
}

static void drop_oldest(struct db *db)
{
	struct cv_str path, oldest_path = { 0 };
	struct loaded *oldest = NULL;
	void *value;
	size_t pos = 0;

	while (cv_map_next(db->files, &pos, &path, &value)) {
		struct loaded *loaded = value;

		if (oldest == NULL || loaded->used < oldest->used) {
			oldest = loaded;
			oldest_path = path;
		}
	}
	if (oldest == NULL)
		return;
	(void)cv_map_remove(db->files, oldest_path);
	loaded_free(oldest);
}

/* The file as it is now. NULL with err set; NOTFOUND when there is none. */
static const struct passwd_file *current(struct db *db, const char *path, struct cv_err *err)
{
	struct loaded *loaded = cv_map_get(db->files, cv_str_c(path));
	struct stat st;

	if (loaded != NULL && stat(path, &st) == 0 && unchanged(loaded, &st)) {
		loaded->used = ++db->uses;
		return loaded->file;
	}
	if (loaded != NULL) {
		(void)cv_map_remove(db->files, cv_str_c(path));
		loaded_free(loaded);
	}
	loaded = load(path, err);
	if (loaded == NULL)
		return NULL;
	if (cv_map_count(db->files) >= FILES_MAX)
		drop_oldest(db);
	loaded->used = ++db->uses;
	(void)cv_map_set(db->files, cv_str_c(path), loaded);
	return loaded->file;
}

static size_t count_slashes(struct cv_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += s.ptr[i] == '/';
	return n;
}

/* A variable must not choose another folder: it brings no slash, and makes no component "." or "..". */
static bool path_is_safe(const char *template, struct cv_str path)
{
	struct cv_str component, rest = path;
	bool more = true;

	if (cv_str_has_nul(path) || path.len >= PATH_MAX || count_slashes(path) > count_slashes(cv_str_c(template)))
		return false;
	while (more) {
		more = cv_str_split(rest, '/', &component, &rest);
		if (cv_str_eq_c(component, ".") || cv_str_eq_c(component, ".."))
			return false;
	}
	return true;
}

static enum cv_auth_result find(struct db *db, struct cv_auth_request *request, const struct passwd_entry **entry_r, struct cv_err *err)
{
	bool fixed = strchr(db->path, '%') == NULL;
	enum cv_auth_result result = CV_AUTH_TEMP;
	const struct passwd_file *file = NULL;
	struct cv_buf path, user;

	cv_buf_init(&path, PATH_MAX);
	cv_buf_init(&user, FIELD_MAX);
	if (cv_auth_expand(request, db->path, &path, err) < 0 || cv_auth_expand(request, db->username_format, &user, err) < 0) {
		(void)cv_err_context(err, "args");
	} else if (!fixed && !path_is_safe(db->path, cv_buf_str(&path))) {
		(void)cv_err_set(err, CV_ERR_NOTFOUND, "no file for %s: it would lead out of the folders of %s",
			cv_log_clean(request->user), db->path);
		result = CV_AUTH_NOUSER;
	} else {
		file = current(db, path.data, err);
		/* No file for a domain is no such domain; no file at all is trouble. */
		if (file == NULL && !fixed && err->code == CV_ERR_NOTFOUND)
			result = CV_AUTH_NOUSER;
	}
	if (file != NULL) {
		*entry_r = passwd_file_find(file, cv_buf_str(&user));
		result = *entry_r != NULL ? CV_AUTH_OK : CV_AUTH_NOUSER;
	}
	cv_buf_deinit(&path);
	cv_buf_deinit(&user);
	return result;
}

/* ---- passdb ---------------------------------------------------------------------------------------------- */

static int set_passdb_field(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	(void)err;
	cv_auth_field_set(ctx, key, value);
	return 0;
}

static const char *extra_of(struct cv_auth_request *request, const struct passwd_entry *entry)
{
	const char *extra = entry->extra.ptr == NULL ? "" : cv_arena_cstr(request->arena, entry->extra);

	return extra == NULL ? "" : extra;
}

static enum cv_auth_result passdb_lookup(void *ctx, struct cv_auth_request *request, struct cv_str *stored_r, struct cv_err *err)
{
	const struct passwd_entry *entry = NULL;
	struct db *db = ctx;
	enum cv_auth_result result = find(db, request, &entry, err);
	struct cv_buf stored;

	if (result != CV_AUTH_OK)
		return result;
	*stored_r = (struct cv_str){ 0 };
	cv_buf_init_wipe(&stored, STORED_MAX);
	if (passwd_file_stored(entry->password, db->scheme, &stored)) {
		if (!cv_buf_ok(&stored)) {
			(void)cv_err_set(err, CV_ERR_LIMIT, "the stored password has more than %u octets", STORED_MAX);
			result = CV_AUTH_TEMP;
		} else {
			*stored_r = cv_arena_str(request->arena, cv_buf_str(&stored));
		}
	}
	cv_buf_deinit(&stored);
	if (result == CV_AUTH_OK &&
		cv_auth_fields_each(request, extra_of(request, entry), set_passdb_field, request, err) < 0)
		result = CV_AUTH_TEMP;
	return result;
}

/* ---- userdb ---------------------------------------------------------------------------------------------- */

static int set_userdb_field(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	if (!cv_str_starts(key, CV_STR("userdb_")))
		return 0;
	return cv_auth_userdb_set(ctx, cv_str_sub(key, 7, SIZE_MAX), value, err);
}

static int set_column(struct cv_auth_request *request, const char *key, struct cv_str value, struct cv_err *err)
{
	/* An empty column leaves what default_fields gave. */
	return value.len == 0 ? 0 : cv_auth_userdb_set(request, cv_str_c(key), value, err);
}

static enum cv_auth_result userdb_lookup(void *ctx, struct cv_auth_request *request, struct cv_err *err)
{
	const struct passwd_entry *entry = NULL;
	enum cv_auth_result result = find(ctx, request, &entry, err);

	if (result != CV_AUTH_OK)
		return result;
	/* "user:password" and no more is of a file for passwords, as Dovecot has it. */
	if (entry->uid.ptr == NULL) {
		(void)cv_err_set(err, CV_ERR_NOTFOUND, "the line of %s has no fields of a user database", cv_log_clean(request->user));
		return CV_AUTH_NOUSER;
	}
	if (set_column(request, "uid", entry->uid, err) < 0 || set_column(request, "gid", entry->gid, err) < 0 ||
		set_column(request, "home", entry->home, err) < 0 ||
		cv_auth_fields_each(request, extra_of(request, entry), set_userdb_field, request, err) < 0)
		return CV_AUTH_TEMP;
	return CV_AUTH_OK;
}

static int iterate(void *ctx, int (*fn)(void *ctx, struct cv_str user), void *fn_ctx, struct cv_err *err)
{
	const struct passwd_entry *entry;
	const struct passwd_file *file;
	struct db *db = ctx;
	size_t pos = 0;

	if (strchr(db->path, '%') != NULL)
		return cv_err_set_public(err, CV_ERR_UNSUPPORTED, "users cannot be listed when the path of the password file has variables");
	file = current(db, db->path, err);
	if (file == NULL)
		return -1;
	while (passwd_file_next(file, &pos, &entry))
		if (fn(fn_ctx, entry->user) < 0)
			break;
	return 0;
}

/* ---- Module ---------------------------------------------------------------------------------------------- */

static const struct cv_passdb passdb = { .name = "passwd-file", .open = open_db, .close = close_db, .lookup = passdb_lookup };
static const struct cv_userdb userdb = {
	.name = "passwd-file", .open = open_db, .close = close_db, .lookup = userdb_lookup, .iterate = iterate
};

static int load_module(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	if (cv_provide_passdb(reg, &passdb, err) < 0)
		return -1;
	return cv_provide_userdb(reg, &userdb, err);
}

CV_MODULE(passwd_file) = {
	CV_MODULE_ABI,
	.name = "passwd-file",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_AUTH,
	.roles = CV_ROLE_MASTER | CV_ROLE_AUTH | CV_ROLE_AUTH_HELPER,
	.load = load_module,
};
