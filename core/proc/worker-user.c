/* SPDX-License-Identifier: MIT
   How a worker becomes its user: the home directory, groups, identity. */
#include "core/proc/worker-user.h"

#include "core/proc/role.h"
#include "core/store/mounts.h"
#include <culver/file.h>
#include <culver/log.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUPS_MAX 256

/* Open the next part of a path below dir, or make it. made_r: it was made. As root nothing is followed or made where somebody else could put something else
   meanwhile: then 0, and the user's own rights must do it. 1 done, -1. */
static int step_down(int *dir, const char *name, bool as_root, mode_t mode, bool *made_r, struct cv_err *err)
{
	struct stat st, parent;

	*made_r = false;
	if (fstatat(*dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return cv_err_sys(err, errno, "%s", name);
		if (fstat(*dir, &parent) < 0)
			return cv_err_sys(err, errno, "above %s", name);
		if (as_root && (parent.st_uid != 0 || (parent.st_mode & 022) != 0))
			return 0;
		if (mkdirat(*dir, name, mode) < 0 && errno != EEXIST)
			return cv_err_sys(err, errno, "making %s", name);
		/* Mail in it is confirmed soon; its own name must not go in a power cut then. */
		if (cv_file_sync_names(*dir, err) < 0)
			return -1;
		*made_r = true;
	} else if (as_root && S_ISLNK(st.st_mode) && st.st_uid != 0) {
		return 0;
	}
	int next = openat(*dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC | (*made_r ? O_NOFOLLOW : 0));
	if (next < 0)
		return cv_err_sys(err, errno, "%s", name);
	(void)close(*dir);
	*dir = next;
	return 1;
}

/* Make home, mode 0700, the user's; directories above it that are missing become root's, mode 0755, or the user's where root has no say. */
static int create_home(const char *home, const struct cv_worker_args *args, bool as_root, struct cv_err *err)
{
	struct cv_buf part;
	int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), result = 1;
	struct cv_str rest = cv_str_c(home);
	bool made = false;
	/* The master's umask is for its own files: those above a home must be open for their users to pass. */
	mode_t before = umask(022);

	cv_buf_init(&part, 4096);
	while (dir >= 0 && rest.len > 0 && result == 1) {
		struct cv_str name;
		(void)cv_str_split(rest, '/', &name, &rest);
		if (name.len == 0)
			continue;
		cv_buf_clear(&part);
		cv_buf_append(&part, name);
		result = step_down(&dir, part.data, as_root, rest.len == 0 || !as_root ? 0700 : 0755, &made, err);
	}
	(void)umask(before);
	if (dir < 0)
		result = cv_err_sys(err, errno, "/");
	else if (result == 1 && made && as_root && fchownat(dir, "", args->sysuid, args->sysgid, AT_EMPTY_PATH) < 0)
		result = cv_err_sys(err, errno, "its owner");
	if (result < 0)
		(void)cv_err_context(err, "home directory %s", home);
	if (dir >= 0)
		(void)close(dir);
	cv_buf_deinit(&part);
	if (result == 1 && made)
		cv_info(NULL, "user=%s home %s made", cv_log_clean(cv_str_c(args->user)), home);
	return result < 0 ? -1 : 0;
}

static const char *home_of(const struct cv_worker_args *args)
{
	return args->home != NULL && args->home[0] != '\0' ? args->home : NULL;
}

struct cv_user_config worker_user_config(const struct cv_worker_args *args)
{
	return (struct cv_user_config){ .name = args->user, .home = home_of(args), .mail_location = args->mail, .sysuid = args->sysuid,
		.sysgid = args->sysgid, .conf = args->conf, .registry = args->registry, .fields = args->fields };
}

static bool home_missing(const struct cv_worker_args *args)
{
	const char *home = home_of(args);
	struct stat st;

	/* What else may be wrong with it is the mail library's to report. */
	return home != NULL && args->core->mail_create_home && stat(home, &st) < 0 && errno == ENOENT;
}

static int check_home(const char *home, struct cv_err *err)
{
	if (home == NULL)
		return 0;
	if (home[0] != '/')
		return cv_err_set(err, CV_ERR_INVALID, "home \"%s\" is no absolute path", home);
	/* Dovecot's chroot mark in the middle of the path. */
	if (strstr(home, "/./") != NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "home \"%s\" asks for a chroot (/./), which workers do not have: they are confined by Landlock",
			home);
	return 0;
}

static const char *field(const struct cv_worker_args *args, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; args->fields != NULL && args->fields[i] != NULL; i++) {
		if (strncmp(args->fields[i], key, len) == 0 && args->fields[i][len] == '=')
			return args->fields[i] + len + 1;
	}
	return NULL;
}

/* The user's own groups, where the user database says that this is a system user, and mail_access_groups. */
static size_t find_groups(const struct cv_worker_args *args, uint32_t groups[GROUPS_MAX])
{
	const char *system_user = field(args, "system_groups_user");
	size_t count = 0;

	if (args->privileged && system_user != NULL) {
		gid_t list[GROUPS_MAX];
		int n = GROUPS_MAX;
		if (getgrouplist(system_user, args->sysgid, list, &n) < 0)
			cv_warn(NULL, "user %s has more groups than %d", cv_log_clean(cv_str_c(args->user)), GROUPS_MAX);
		for (int i = 0; i < n && i < GROUPS_MAX; i++)
			groups[count++] = list[i];
	}
	for (size_t i = 0; i < args->group_count && count < GROUPS_MAX; i++)
		groups[count++] = args->groups[i];
	return count;
}

/* Where mount points are remembered: over restarts of the machine, or where that directory is not ours, as long as base_dir is kept. */
static int check_mounts(const struct cv_worker_args *args, struct cv_arena *arena, struct cv_err *err)
{
	const struct cv_str run_dir = CV_STR(CV_RUN_DIR), suffix = CV_STR("/run/culver");
	struct cv_user_config config = worker_user_config(args);
	const char *files[3] = { NULL };
	size_t count = 0;

	if (run_dir.len > suffix.len && cv_str_eq(cv_str_sub(run_dir, run_dir.len - suffix.len, SIZE_MAX), suffix)) {
		const char *dir = cv_arena_printf(arena, "%.*s/lib/culver", CV_STR_ARG(cv_str_sub(run_dir, 0, run_dir.len - suffix.len)));

		if (access(dir, W_OK) == 0 || mkdir(dir, 0755) == 0)
			files[count++] = cv_arena_printf(arena, "%s/mounts", dir);
	}
	files[count] = cv_arena_printf(arena, "%s/mounts", args->core->base_dir);
	return cv_mounts_check_user(&config, files, err);
}

int worker_become_user(const struct cv_worker_args *args, struct cv_arena *arena, struct cv_err *err)
{
	const char *home = home_of(args);
	uint32_t groups[GROUPS_MAX];
	struct cv_restrict to = { .sysuid = args->sysuid, .sysgid = args->sysgid, .groups = groups };

	if (check_home(home, err) < 0 || check_mounts(args, arena, err) < 0 ||
		(args->privileged && home_missing(args) && create_home(home, args, true, err) < 0))
		return -1;
	to.group_count = find_groups(args, groups);
	(void)umask(077);
	if (cv_restrict(&to, err) < 0 || (home_missing(args) && create_home(home, args, false, err) < 0))
		return -1;
	cv_limit_vsz(args->vsz_limit);
	if (setenv("HOME", home != NULL ? home : "/", 1) < 0 || setenv("USER", args->user, 1) < 0)
		return cv_err_sys(err, errno, "environment");
	if (home == NULL || chdir(home) < 0)
		(void)!chdir("/");
	return 0;
}
