/* SPDX-License-Identifier: MIT
   The static databases (the same answer for every name, made from a template) and prefetch (what the passdb gave already). */
#include <config.h>

#include <culver/auth.h>
#include <culver/log.h>

#define STORED_MAX 8192u

struct db {
	const char *args;
};

static int open_db(const struct cv_authdb_config *config, void **db_r, struct cv_err *err)
{
	struct db *db = cv_new(config->arena, struct db, 1);

	if (cv_var_check(config->args, err) < 0)
		return cv_err_context(err, "args");
	db->args = config->args;
	*db_r = db;
	return 0;
}

static void close_db(void *db)
{
	(void)db;
}

/* ---- passdb: args = password=… or nopassword=y, and fields ------------------------------------------------- */

struct passdb_fill {
	struct cv_auth_request *request;
	struct cv_str *stored;
};

static int passdb_field(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	struct passdb_fill *fill = ctx;
	struct cv_buf stored;

	if (!cv_str_eq_c(key, "password")) {
		cv_auth_field_set(fill->request, key, value);
		return 0;
	}
	if (value.len == 0)
		return 0;
	cv_buf_init_wipe(&stored, STORED_MAX);
	if (value.ptr[0] != '{')
		cv_buf_append_c(&stored, "{PLAIN}");
	cv_buf_append(&stored, value);
	if (cv_buf_ok(&stored))
		*fill->stored = cv_arena_str(fill->request->arena, cv_buf_str(&stored));
	else
		(void)cv_err_set(err, CV_ERR_LIMIT, "the password in args has more than %u octets", STORED_MAX);
	cv_buf_deinit(&stored);
	return fill->stored->ptr != NULL ? 0 : -1;
}

static enum cv_auth_result passdb_lookup(void *ctx, struct cv_auth_request *request, struct cv_str *stored_r, struct cv_err *err)
{
	struct passdb_fill fill = { .request = request, .stored = stored_r };
	const struct db *db = ctx;

	*stored_r = (struct cv_str){ 0 };
	return cv_auth_fields_each(request, db->args, passdb_field, &fill, err) < 0 ? CV_AUTH_TEMP : CV_AUTH_OK;
}

/* ---- userdb: args = uid=… gid=… home=… and fields ---------------------------------------------------------- */

static int userdb_field(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	return cv_auth_userdb_set(ctx, key, value, err);
}

static enum cv_auth_result userdb_lookup(void *ctx, struct cv_auth_request *request, struct cv_err *err)
{
	const struct db *db = ctx;

	return cv_auth_fields_each(request, db->args, userdb_field, request, err) < 0 ? CV_AUTH_TEMP : CV_AUTH_OK;
}

/* ---- userdb prefetch: fields of the passdb that begin with userdb_ ----------------------------------------- */

static int prefetch_open(const struct cv_authdb_config *config, void **db_r, struct cv_err *err)
{
	if (config->args != NULL && config->args[0] != '\0')
		return cv_err_set(err, CV_ERR_INVALID, "prefetch takes no args");
	return open_db(config, db_r, err);
}

static enum cv_auth_result prefetch_lookup(void *ctx, struct cv_auth_request *request, struct cv_err *err)
{
	struct cv_str key;
	bool any = false;
	void *value;
	size_t pos = 0;

	(void)ctx;
	/* Without a login there was no passdb: the next userdb is asked. */
	while (request->passdb_fields != NULL && cv_map_next(request->passdb_fields, &pos, &key, &value)) {
		if (!cv_str_starts(key, CV_STR("userdb_")))
			continue;
		any = true;
		if (cv_auth_userdb_set(request, cv_str_sub(key, 7, SIZE_MAX), cv_str_c(value), err) < 0)
			return CV_AUTH_TEMP;
	}
	if (!any)
		(void)cv_err_set(err, CV_ERR_NOTFOUND, "the passdb gave no userdb_ fields");
	return any ? CV_AUTH_OK : CV_AUTH_NOUSER;
}

static const struct cv_passdb passdb = { .name = "static", .open = open_db, .close = close_db, .lookup = passdb_lookup };
static const struct cv_userdb userdb = {
	.name = "static", .opts = CV_AUTHDB_ANY_USER, .open = open_db, .close = close_db, .lookup = userdb_lookup
};
static const struct cv_userdb prefetch = { .name = "prefetch", .open = prefetch_open, .close = close_db, .lookup = prefetch_lookup };

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	if (cv_provide_passdb(reg, &passdb, err) < 0 || cv_provide_userdb(reg, &userdb, err) < 0)
		return -1;
	return cv_provide_userdb(reg, &prefetch, err);
}

CV_MODULE(static) = {
	CV_MODULE_ABI,
	.name = "static",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_AUTH,
	.roles = CV_ROLE_MASTER | CV_ROLE_AUTH | CV_ROLE_AUTH_HELPER,
	.load = load,
};
