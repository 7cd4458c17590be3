/* SPDX-License-Identifier: MIT
   What confines workers: the files that they may reach (Landlock). */
#include "core/proc/worker-user.h"

#include "core/proc/role.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* What programs and libraries read everywhere. */
static const char *const readable[] = {
	"/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/localtime", "/etc/nsswitch.conf", "/etc/hosts",
	"/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/passwd", "/etc/group", "/etc/ssl", "/etc/pki",
	"/etc/crypto-policies", "/etc/mime.types", "/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/dev/urandom", "/dev/random", "/dev/zero",
#ifdef CV_SANITIZE
	"/proc",
#endif
};

/* path, or the nearest directory above it that exists, when it is yet to be made. */
static const char *existing(struct cv_arena *arena, const char *path, bool *exact)
{
	char *text = cv_arena_strdup(arena, path);
	struct stat st;

	while (lstat(text, &st) < 0 && errno == ENOENT) {
		char *slash = strrchr(text, '/');
		*exact = false;
		if (slash == NULL || slash == text)
			return path;
		*slash = '\0';
	}
	return text;
}

int worker_confine(const struct cv_worker_args *args, struct cv_arena *arena, const struct cv_user_config *config, bool *exact_r, struct cv_err *err)
{
	const char *const *paths;
	CV_VEC(struct cv_sandbox_path) list = { 0 };

	*exact_r = true;
	if (cv_user_paths(config, arena, &paths, err) < 0)
		return -1;
	for (size_t i = 0; paths[i] != NULL; i++)
		*cv_vec_push(&list) = (struct cv_sandbox_path){ .path = existing(arena, paths[i], exact_r), .write = true };
	for (size_t i = 0; i < CV_COUNT_OF(readable); i++)
		*cv_vec_push(&list) = (struct cv_sandbox_path){ .path = readable[i] };
	*cv_vec_push(&list) = (struct cv_sandbox_path){ .path = args->core->mail_plugin_dir };
	*cv_vec_push(&list) = (struct cv_sandbox_path){ .path = "/dev/null", .write = true };
	int result = cv_sandbox_landlock(list.data, list.count, err);
	cv_vec_free(&list);
	return result;
}

int worker_confine_prepare(const struct cv_core_settings *core, bool anew, struct cv_err *err)
{
	const char *paths[CV_COUNT_OF(readable) + 1];

	memcpy(paths, readable, sizeof(readable));
	paths[CV_COUNT_OF(readable)] = core->mail_plugin_dir;
	if (core->landlock)
		cv_sandbox_hold(paths, CV_COUNT_OF(paths), anew);
	else
		cv_sandbox_let_go();
	return cv_sandbox_prepare((enum cv_seccomp_mode)core->seccomp, err);
}
