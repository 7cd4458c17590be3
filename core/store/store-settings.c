/* SPDX-License-Identifier: MIT
   Settings of the mail store: reading them, and the mailboxes that every user has unless told otherwise. */
#include <config.h>

#include "core/store/store-settings.h"
#include <culver/mailbox.h>
#include <culver/map.h>

#include <string.h>

static const char *const use_drafts[] = { "\\Drafts", NULL };
static const char *const use_sent[] = { "\\Sent", NULL };
static const char *const use_junk[] = { "\\Junk", NULL };
static const char *const use_trash[] = { "\\Trash", NULL };
static const struct cv_mailbox_settings usual_mailboxes[] = {
	{ "Drafts", CV_AUTO_SUBSCRIBE, use_drafts },
	{ "Sent", CV_AUTO_SUBSCRIBE, use_sent },
	{ "Junk", CV_AUTO_SUBSCRIBE, use_junk },
	{ "Trash", CV_AUTO_SUBSCRIBE, use_trash },
};

static const struct cv_store_settings defaults = {
	.mail_location = "sdbox:~/mail",
	.mail_fsync = CV_FSYNC_OPTIMIZED,
	.mail_verify = CV_VERIFY_REFUSE,
	.mail_lease_time = 30000,
	.mail_journal_segment_size = 4u << 20,
	.mail_journal_message_size = 256u << 10,
	.mail_journal_subscriber_keep = 64u << 20,
	.mail_journal_close_records = 16,
	.mail_journal_ahead_writes = 16,
	.mail_snapshot_min_size = 64u << 10,
	.mail_max_keyword_length = 50,
	.mail_max_keywords = 500,
	.mail_max_mailboxes = 10000,
	.mail_max_mailbox_name_length = 1000,
	.mail_max_metadata_entries = 100,
	.mail_max_metadata_value = 64u << 10,
	.mail_max_metadata_size = 4u << 20,
	.mail_max_annotations = 100,
	.mail_max_annotation_value = 64u << 10,
	.mail_max_annotations_size = 64u << 20,
	.mail_node_id = 1,
	.mail_journal_copy = true,
};

/* Sections as they are, then the usual mailboxes that no section names. */
static int get_mailboxes(const struct cv_conf *conf, struct cv_arena *arena, const struct cv_mailbox_settings *const **list_r,
	struct cv_err *err)
{
	CV_VEC(const struct cv_mailbox_settings *) found = { 0 };
	const struct cv_mailbox_settings **list;
	const char *name;
	size_t pos = 0, sections;

	while (conf != NULL && cv_conf_section_next(conf, "mailbox", &pos, &name)) {
		struct cv_mailbox_settings *copy = cv_new(arena, struct cv_mailbox_settings, 1);
		const void *set;

		if (cv_conf_get_section(conf, cv_mail_settings_tables[1], name, arena, &set, err) < 0) {
			cv_vec_free(&found);
			return -1;
		}
		memcpy(copy, set, sizeof(*copy));
		copy->name = cv_arena_strdup(arena, name);
		*cv_vec_push(&found) = copy;
	}
	sections = found.count;
	for (size_t i = 0; i < CV_COUNT_OF(usual_mailboxes); i++) {
		bool named = false;

		for (size_t j = 0; j < sections; j++)
			named = named || cv_str_caseeq_c(cv_str_c(found.data[j]->name), usual_mailboxes[i].name);
		if (!named)
			*cv_vec_push(&found) = &usual_mailboxes[i];
	}
	list = cv_new(arena, const struct cv_mailbox_settings *, found.count + 1);
	memcpy(list, found.data, found.count * sizeof(*list));
	*list_r = list;
	cv_vec_free(&found);
	return 1;
}

int cv_store_settings_get(const struct cv_conf *conf, const char *protocol, struct cv_arena *arena,
	const struct cv_store_settings **set_r, const struct cv_mailbox_settings *const **mailboxes_r, struct cv_err *err)
{
	struct cv_conf_filter filter = { .protocol = protocol };
	const void *set = &defaults;

	if (conf != NULL && cv_conf_get(conf, cv_mail_settings_tables[0], &filter, arena, &set, err) < 0)
		return -1;
	*set_r = set;
	return get_mailboxes(conf, arena, mailboxes_r, err);
}
