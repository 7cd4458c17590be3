/* SPDX-License-Identifier: MIT
   Example of a plugin from outside the tree: delivered mailing list messages get a keyword, so that clients can tell them apart.

   What is to be seen here: one exported object; settings with a check; a hook with its place in the order; data that belongs to a user in a slot. See
   README beside this file, and the headers: they are the manual. */
#include <culver/hooks.h>
#include <culver/log.h>
#include <culver/mailbox.h>
#include <culver/settings.h>

#include <string.h>

/* ---- Settings: at the top of culver.ini, or in a [protocol lmtp] section -------------------------------- */

struct list_keyword_settings {
	const char *list_keyword;
	const char *list_keyword_header;
};

static const struct cv_setting rows[] = {
	CV_SETTING_STR(list_keyword_settings, list_keyword, "$List", "Keyword that mailing list messages get when they are delivered."),
	CV_SETTING_STR(list_keyword_settings, list_keyword_header, "List-Id", "Header field by which they are known."),
};

/* Runs in the master before anything starts, and again at each reload. The text begins with the key: the server adds file and line. */
static int check_settings(const void *set, struct cv_err *err)
{
	const struct list_keyword_settings *s = set;

	if (s->list_keyword[0] == '\0' || strpbrk(s->list_keyword, " (){%*\"\\]") != NULL)
		return cv_err_set(err, CV_ERR_INVALID, "list_keyword: must be an IMAP keyword such as $List");
	return 0;
}

static const struct cv_settings_table table =
	CV_SETTINGS_TABLE(NULL, "Plugin list-keyword", list_keyword_settings, rows, check_settings);

/* ---- A user's data -------------------------------------------------------------------------------------- */

struct user_data {
	struct cv_arena *arena;
	const struct list_keyword_settings *set;
	uint64_t marked;
};

/* Written once, in load(); the same in every process. */
static unsigned slot;

static enum cv_hook_result on_user_open(void *ctx, struct cv_hook_user_open *args, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("list-keyword", NULL, 0);
	struct user_data *data = cv_new(arena, struct user_data, 1);
	const void *set;

	(void)ctx;
	if (cv_conf_get(cv_user_conf(args->user), &table, NULL, arena, &set, err) < 0) {
		cv_arena_free(&arena);
		return CV_HOOK_ERROR;
	}
	data->arena = arena;
	data->set = set;
	*cv_user_data(args->user, slot) = data;
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_user_close(void *ctx, struct cv_hook_user_close *args, struct cv_err *err)
{
	struct user_data *data = *cv_user_data(args->user, slot);

	(void)ctx;
	(void)err;
	if (data == NULL)
		return CV_HOOK_PASS;
	if (data->marked > 0)
		cv_info(NULL, "list-keyword: %llu messages marked for %s", (unsigned long long)data->marked,
			cv_log_clean(cv_str_c(cv_user_name(args->user))));
	*cv_user_data(args->user, slot) = NULL;
	cv_arena_free(&data->arena);
	return CV_HOOK_PASS;
}

/* ---- The hook ------------------------------------------------------------------------------------------- */

/* Has the message that is being saved this header field? What cannot be told is no. */
static bool has_field(struct cv_save *save, const char *name)
{
	struct cv_parse_record record;
	struct cv_str octets;
	struct cv_buf value;
	bool found;

	if (cv_save_record(save, &octets, NULL) < 0 || cv_parse_record_open(octets, &record, NULL) < 0)
		return false;
	cv_buf_init(&value, 65536);
	found = cv_parse_record_field(&record, cv_str_c(name), &value) > 0;
	cv_buf_deinit(&value);
	return found;
}

static enum cv_hook_result on_message_save(void *ctx, struct cv_hook_message_save *args, struct cv_err *err)
{
	struct user_data *data = *cv_user_data(args->user, slot);

	(void)ctx;
	if (data == NULL || !cv_save_is_delivery(args->save) || !has_field(args->save, data->set->list_keyword_header))
		return CV_HOOK_PASS;
	/* An error here is the delivery's: the sender's server tries again. */
	if (cv_save_add_keyword(args->save, cv_str_c(data->set->list_keyword), err) < 0)
		return CV_HOOK_ERROR;
	data->marked++;
	return CV_HOOK_PASS;
}

/* ---- The module ----------------------------------------------------------------------------------------- */

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	const struct cv_hook_opts opts = { .name = "list-keyword", .stage = CV_STAGE_NORMAL };

	(void)role;
	slot = cv_slot_register(reg);
	if (cv_hook_add_user_open(reg, on_user_open, &opts, err) < 0 || cv_hook_add_user_close(reg, on_user_close, &opts, err) < 0 ||
		cv_hook_add_message_save(reg, on_message_save, &opts, err) < 0)
		return -1;
	return 0;
}

static const struct cv_settings_table *const tables[] = { &table, NULL };

/* The name as in mail_plugins, with underscores for dashes. */
CV_MODULE(list_keyword) = {
	CV_MODULE_ABI,
	.name = "list-keyword",
	.version = "1.0",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.settings = tables,
	.load = load,
};
