/* SPDX-License-Identifier: MIT
   The passwd userdb: the system's users, through NSS (files, SSSD, winbind …). */
#include <config.h>

#include <culver/auth.h>
#include <culver/log.h>

#include <errno.h>
#include <pwd.h>

#define NSS_BUF_MIN 4096u
#define NSS_BUF_MAX (1024u * 1024u)

struct passwd_settings {
	uint64_t first_valid_uid, last_valid_uid;
};

/* The same two that the server has at the top of its settings. */
static const struct cv_setting rows[] = {
	CV_SETTING_UINT(passwd_settings, first_valid_uid, "500", 0, UINT32_MAX - 1, ""),
	CV_SETTING_UINT(passwd_settings, last_valid_uid, "0", 0, UINT32_MAX - 1, ""),
};
static const struct cv_settings_table table = CV_SETTINGS_TABLE_TOP(NULL, passwd_settings, rows, NULL);

struct db {
	uint64_t first_uid, last_uid; /* of users that are listed; last_uid 0: no bound */
};

static int open_db(const struct cv_authdb_config *config, void **db_r, struct cv_err *err)
{
	struct db *db = cv_new(config->arena, struct db, 1);
	const void *set = NULL;

	if (config->args != NULL && config->args[0] != '\0')
		return cv_err_set(err, CV_ERR_INVALID, "the passwd userdb takes no args but blocking=yes|no: give templates in override_fields");
	if (config->conf != NULL) {
		const struct passwd_settings *settings;

		if (cv_conf_get(config->conf, &table, NULL, config->arena, &set, err) < 0)
			return -1;
		settings = set;
		db->first_uid = settings->first_valid_uid;
		db->last_uid = settings->last_valid_uid;
	}
	*db_r = db;
	return 0;
}

static void close_db(void *db)
{
	(void)db;
}

static enum cv_auth_result lookup(void *ctx, struct cv_auth_request *request, struct cv_err *err)
{
	const char *name = cv_arena_cstr(request->arena, request->user);
	enum cv_auth_result result = CV_AUTH_NOUSER;
	size_t size = NSS_BUF_MIN;
	int ret;

	(void)ctx;
	if (name == NULL || name[0] == '\0')
		return CV_AUTH_NOUSER;
	do {
		char *buf = cv_malloc(size);
		struct passwd pw, *found = NULL;

		ret = getpwnam_r(name, &pw, buf, size, &found);
		if (ret == 0 && found != NULL) {
			request->sysuid_name = request->sysgid_name = (struct cv_str){ 0 };
			request->sysuid = pw.pw_uid;
			request->sysgid = pw.pw_gid;
			request->sysuid_set = request->sysgid_set = true;
			if (pw.pw_dir != NULL && pw.pw_dir[0] != '\0')
				request->home = cv_arena_str(request->arena, cv_str_c(pw.pw_dir));
			/* NSS modules may take a name in several spellings. One of them is the user's: with two, two workers would own
			   one mailbox. */
			request->user = cv_arena_str(request->arena, cv_str_c(pw.pw_name));
			cv_auth_field_set(request, CV_STR("system_groups_user"), request->user);
			result = CV_AUTH_OK;
		}
		cv_wipe(buf, size);
		cv_free(buf);
		size *= 2;
	} while (ret == ERANGE && size <= NSS_BUF_MAX);
	/* glibc: 0 and nothing found means that every service was asked and none knows the name; an error number (even ENOENT), that one of
	   them could not be asked. A bounce for a user of a directory that is down would lose mail. */
	if (ret != 0) {
		(void)cv_err_sys(err, ret, "NSS cannot tell whether %s is a user", cv_log_clean(request->user));
		err->code = CV_ERR_UNAVAILABLE;
		return CV_AUTH_TEMP;
	}
	return result;
}

static int iterate(void *ctx, int (*fn)(void *ctx, struct cv_str user), void *fn_ctx, struct cv_err *err)
{
	const struct db *db = ctx;
	struct passwd *pw;
	int errnum;

	setpwent();
	for (errno = 0; (pw = getpwent()) != NULL; errno = 0) {
		if (pw->pw_uid < db->first_uid || (db->last_uid != 0 && pw->pw_uid > db->last_uid))
			continue;
		if (fn(fn_ctx, cv_str_c(pw->pw_name)) < 0)
			break;
	}
	errnum = pw == NULL ? errno : 0;
	endpwent();
	/* ENOENT is glibc's "that was the last" of some services. */
	if (errnum != 0 && errnum != ENOENT)
		return cv_err_sys(err, errnum, "NSS cannot list the users");
	return 0;
}

static const struct cv_userdb userdb = {
	.name = "passwd",
	.opts = CV_AUTHDB_BLOCKING,
	.open = open_db,
	.close = close_db,
	.lookup = lookup,
	.iterate = iterate,
};

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_userdb(reg, &userdb, err);
}

CV_MODULE(passwd) = {
	CV_MODULE_ABI,
	.name = "passwd",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_AUTH,
	.roles = CV_ROLE_MASTER | CV_ROLE_AUTH | CV_ROLE_AUTH_HELPER,
	.load = load,
};
