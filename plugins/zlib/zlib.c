/* SPDX-License-Identifier: MIT
   Plugin zlib: message files compressed with gzip. See README beside this file. */
#include "plugins/zlib/zlib-private.h"

#include <culver/settings.h>

struct zlib_settings {
	unsigned zlib_save;
	uint64_t zlib_save_level;
};

enum { SAVE_PLAIN, SAVE_GZIP };
static const char *const methods[] = { "", "gz", NULL };

static const struct cv_setting rows[] = {
	CV_SETTING_ENUM(zlib_settings, zlib_save, "", methods, "How plugin zlib compresses messages that are saved: gz; empty: not at all"),
	CV_SETTING_UINT(zlib_settings, zlib_save_level, "6", 1, 9, "1 is fast, 9 is small"),
};
static const struct cv_settings_table table = CV_SETTINGS_TABLE_TOP("Plugin zlib", zlib_settings, rows, NULL);
static const struct cv_settings_table *const tables[] = { &table, NULL };

static int encode_begin(struct cv_user *user, uint64_t size_hint, struct cv_transform_sink *sink, void **encoder_r, struct cv_err *err)
{
	const struct zlib_settings *set;
	struct cv_arena *arena;
	const void *got;
	int ret;

	(void)size_hint;
	if (cv_user_conf(user) == NULL)
		return 0;
	arena = cv_arena_new("zlib", NULL, 0);
	ret = cv_conf_get(cv_user_conf(user), &table, NULL, arena, &got, err);
	if (ret >= 0) {
		set = got;
		ret = set->zlib_save == SAVE_GZIP ? gzip_encoder_new((int)set->zlib_save_level, sink, encoder_r, err) : 0;
	}
	cv_arena_free(&arena);
	return ret;
}

static const struct cv_transform gzip = {
	.name = "gzip",
	.stage = CV_TRANSFORM_COMPRESS,
	.detect = gzip_detect,
	.encode_begin = encode_begin,
	.encode_write = gzip_encode_write,
	.encode_finish = gzip_encode_finish,
	.encode_abort = gzip_encode_abort,
	.decode = gzip_decode,
};

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_transform(reg, &gzip, err) < 0 ? -1 : 0;
}

CV_MODULE(zlib) = {
	CV_MODULE_ABI,
	.name = "zlib",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.settings = tables,
	.load = load,
};
