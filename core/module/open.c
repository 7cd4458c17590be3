/* SPDX-License-Identifier: MIT
   Opens modules: checks the file, resolves all its symbols, and checks what it exports. The one file that includes libltdl. */
#include "core/module/module-private.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ltdl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_LEN 64

/* The members that every interface version has, up to load. */
#define MODULE_MIN_SIZE offsetof(struct cv_module, unload)

bool cv_module_name_ok(const char *name)
{
	struct cv_str s = cv_str_c(name);
	if (s.len == 0 || s.len > NAME_MAX_LEN || s.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!(s.ptr[i] >= 'a' && s.ptr[i] <= 'z') && !cv_is_digit(s.ptr[i]) && s.ptr[i] != '-')
			return false;
	return true;
}

struct opened_module *cv_module_find(struct cv_registry *reg, const char *name)
{
	for (size_t i = 0; i < reg->modules.count; i++)
		if (strcmp(reg->modules.data[i].module->name, name) == 0)
			return &reg->modules.data[i];
	return NULL;
}

/* Code from here runs with our rights: nobody else may be able to change it. A private run may use its user's own group (umask 002). */
static int check_owner(const char *path, const struct stat *st, struct cv_err *err)
{
	uid_t me = geteuid();
	if (st->st_uid != 0 && st->st_uid != me)
		return cv_err_set(err, CV_ERR_PERM, "%s belongs to uid %u, it must belong to root%s: chown it", path, (unsigned)st->st_uid,
			me != 0 ? " or to the user who runs culver" : "");
	if ((st->st_mode & S_IWOTH) != 0)
		return cv_err_set(err, CV_ERR_PERM, "%s can be written by everyone (mode %04o): chmod o-w it", path,
			(unsigned)(st->st_mode & 07777));
	if (me == 0 && (st->st_mode & S_IWGRP) != 0 && st->st_gid != 0)
		return cv_err_set(err, CV_ERR_PERM, "%s can be written by group %u (mode %04o): chmod g-w it", path, (unsigned)st->st_gid,
			(unsigned)(st->st_mode & 07777));
	return 0;
}

static int check_file(const char *dir, const char *path, struct cv_err *err)
{
	struct stat st;
	if (dir[0] != '/')
		return cv_err_set(err, CV_ERR_INVALID, "the module directory must be an absolute path, but it is \"%s\"", dir);
	if (stat(dir, &st) < 0)
		return cv_err_sys(err, errno, "cannot look at the module directory %s", dir);
	if (!S_ISDIR(st.st_mode))
		return cv_err_set(err, CV_ERR_INVALID, "%s is not a directory", dir);
	if (check_owner(dir, &st, err) < 0)
		return -1;
	if (stat(path, &st) < 0)
		return cv_err_sys(err, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return cv_err_set(err, CV_ERR_INVALID, "%s is not a regular file", path);
	return check_owner(path, &st, err);
}

/* libltdl binds lazily and says "file not found" to everything. dlopen first: it resolves every symbol, and tells what is wrong. */
static int open_object(const char *path, lt_dlhandle *handle_r, struct cv_err *err)
{
	lt_dladvise advise;

	(void)dlerror();
	void *now = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (now == NULL) {
		const char *why = dlerror();
		return cv_err_set(err, CV_ERR_INTERNAL, "cannot open %s: %s", path, why != NULL ? why : "no reason given");
	}
	*handle_r = NULL;
	if (lt_dlinit() == 0) {
		if (lt_dladvise_init(&advise) == 0) {
			if (lt_dladvise_local(&advise) == 0)
				*handle_r = lt_dlopenadvise(path, advise);
			(void)lt_dladvise_destroy(&advise);
		}
		if (*handle_r == NULL) {
			const char *why = lt_dlerror();
			(void)cv_err_set(err, CV_ERR_INTERNAL, "cannot open %s: libltdl: %s", path, why != NULL ? why : "no reason given");
			(void)lt_dlexit();
		}
	} else {
		(void)cv_err_set(err, CV_ERR_INTERNAL, "cannot open %s: libltdl does not start", path);
	}
	/* libltdl's handle keeps the object, with its symbols bound. */
	(void)dlclose(now);
	return *handle_r == NULL ? -1 : 0;
}

void cv_module_close(struct opened_module *opened)
{
	if (opened->handle == NULL)
		return;
	(void)lt_dlclose(opened->handle);
	(void)lt_dlexit();
	opened->handle = NULL;
}

static int check_abi(const struct cv_module *m, const char *path, struct cv_err *err)
{
	if (m->magic != CV_MODULE_MAGIC)
		return cv_err_set(err, CV_ERR_INVALID, "%s is no module: its magic number is %#x, %#x is wanted: remove the file, or build it with CV_MODULE_ABI",
			path, m->magic, CV_MODULE_MAGIC);
	if (m->abi_major != CV_ABI_MAJOR)
		return cv_err_set(err, CV_ERR_INVALID, "%s was built for module interface %u.%u, this server has %u.%u: build it against this server's headers", path,
			m->abi_major, m->abi_minor, CV_ABI_MAJOR, CV_ABI_MINOR);
	if (m->abi_minor > CV_ABI_MINOR)
		return cv_err_set(err, CV_ERR_INVALID, "%s needs module interface %u.%u, this server has %u.%u: install a newer server or an older module", path,
			m->abi_major, m->abi_minor, CV_ABI_MAJOR, CV_ABI_MINOR);
	if (m->struct_size < MODULE_MIN_SIZE)
		return cv_err_set(err, CV_ERR_INVALID, "%s: its module structure has %u octets, at least %zu are wanted: build it with CV_MODULE_ABI", path,
			m->struct_size, MODULE_MIN_SIZE);
	return 0;
}

static int check_module(const struct cv_module *m, const char *name, const char *path, struct cv_err *err)
{
	static const unsigned all_roles = CV_ROLE_MASTER | CV_ROLE_FRONT | CV_ROLE_AUTH | CV_ROLE_AUTH_HELPER | CV_ROLE_SPAWNER |
		CV_ROLE_WORKER | CV_ROLE_TOOL;
	if (m->name == NULL || strcmp(m->name, name) != 0)
		return cv_err_set(err, CV_ERR_INVALID, "%s names itself \"%s\", its file's name wants \"%s\": rename one of them", path,
			m->name != NULL ? m->name : "", name);
	if (m->version == NULL || m->load == NULL || m->kind < CV_KIND_PROTOCOL || m->kind > CV_KIND_PLUGIN)
		return cv_err_set(err, CV_ERR_INVALID, "%s lacks a version, a kind or a load function", path);
	if (m->roles == 0 || (m->roles & ~all_roles) != 0)
		return cv_err_set(err, CV_ERR_INVALID, "%s may be loaded in roles %#x, which this server does not know", path, m->roles);
	return 0;
}

/* The structure as this server knows it: members beyond the module's own size are zero. */
static const struct cv_module *whole_module(struct cv_registry *reg, const struct cv_module *m)
{
	if (m->struct_size >= sizeof(struct cv_module))
		return m;
	struct cv_module *whole = cv_new(reg->arena, struct cv_module, 1);
	memcpy(whole, m, m->struct_size);
	return whole;
}

static const char *symbol_name(struct cv_arena *arena, const char *name)
{
	char *symbol = cv_arena_printf(arena, "%s_LTX_cv_module", name);
	for (size_t i = 0; name[i] != '\0'; i++)
		if (symbol[i] == '-')
			symbol[i] = '_';
	return symbol;
}

static int open_one(struct cv_registry *reg, const char *dir, const char *name, struct cv_err *err)
{
	lt_dlhandle handle;

	if (!cv_module_name_ok(name))
		return cv_err_set(err, CV_ERR_INVALID, "\"%s\" is no module name: lower-case letters, digits and \"-\" only", name);
	const char *path = cv_arena_printf(reg->arena, "%s/%s.so", dir, name);
	if (check_file(dir, path, err) < 0 || open_object(path, &handle, err) < 0)
		return -1;
	struct opened_module opened = { .path = path, .handle = handle };
	const char *symbol = symbol_name(reg->arena, name);
	const struct cv_module *m = lt_dlsym(handle, symbol);
	int ret;
	if (m == NULL)
		ret = cv_err_set(err, CV_ERR_INVALID, "%s is no module: it has no symbol \"%s\": define it with CV_MODULE(…)", path, symbol);
	else
		ret = check_abi(m, path, err);
	if (ret == 0) {
		opened.module = whole_module(reg, m);
		ret = check_module(opened.module, name, path, err);
	}
	if (ret < 0) {
		cv_module_close(&opened);
		return -1;
	}
	*cv_vec_push(&reg->modules) = opened;
	return 0;
}

int cv_module_open(struct cv_registry *reg, const char *dir, const char *name, struct cv_err *err)
{
	if (cv_module_find(reg, name) != NULL)
		return 0;
	cv_assert(!reg->frozen);
	size_t first = reg->modules.count;
	if (open_one(reg, dir, name, err) < 0)
		return -1;
	/* What it requires, and what that requires: the list grows while it is read. */
	for (size_t i = first; i < reg->modules.count; i++) {
		const char *const *requires = reg->modules.data[i].module->needs;
		for (size_t j = 0; requires != NULL && requires[j] != NULL; j++)
			if (cv_module_find(reg, requires[j]) == NULL && open_one(reg, dir, requires[j], err) < 0)
				return cv_err_context(err, "module %s requires %s", reg->modules.data[i].module->name, requires[j]);
	}
	return 0;
}

int cv_module_add_static(struct cv_registry *reg, const struct cv_module *module, struct cv_err *err)
{
	cv_assert(!reg->frozen);
	if (check_abi(module, "a built-in module", err) < 0)
		return -1;
	const struct cv_module *whole = whole_module(reg, module);
	if (whole->name == NULL || !cv_module_name_ok(whole->name))
		return cv_err_set(err, CV_ERR_INVALID, "a built-in module has no proper name");
	if (check_module(whole, whole->name, "a built-in module", err) < 0)
		return -1;
	if (cv_module_find(reg, whole->name) != NULL)
		return cv_err_set(err, CV_ERR_EXISTS, "there are two modules called %s", whole->name);
	*cv_vec_push(&reg->modules) = (struct opened_module){ .module = whole };
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const char *const *na = a, *const *nb = b;
	return strcmp(*na, *nb);
}

const char *const *cv_module_list(const char *dir_path, struct cv_arena *arena)
{
	CV_VEC(const char *) names = { 0 };
	DIR *dir = opendir(dir_path);
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		struct cv_str s = cv_str_c(entry->d_name);
		/* A build directory has the libraries beside the modules. */
		if (!cv_str_ends(s, CV_STR(".so")) || cv_str_starts(s, CV_STR("lib")))
			continue;
		const char *name = cv_arena_str(arena, cv_str_sub(s, 0, s.len - 3)).ptr;
		if (cv_module_name_ok(name))
			*cv_vec_push(&names) = name;
	}
	if (dir != NULL)
		(void)closedir(dir);
	const char **list = cv_new(arena, const char *, names.count + 1);
	if (names.count > 0) {
		qsort(names.data, names.count, sizeof(*names.data), by_name);
		memcpy(list, names.data, names.count * sizeof(*list));
	}
	cv_vec_free(&names);
	return list;
}
