/* SPDX-License-Identifier: MIT
   How much there is: of a mailbox, of the user, of some messages. From counts that every change keeps right, so that asking costs nothing. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

void cv_mailbox_usage(const struct cv_mailbox *mailbox, struct cv_usage *usage_r)
{
	*usage_r = (struct cv_usage){ .messages = mailbox->counts.messages, .size = mailbox->counts.size, .notes = mailbox->counts.notes };
}

void cv_user_usage(struct cv_user *user, struct cv_usage *usage_r)
{
	struct cv_str key;
	void *value;

	if (!user->usage_known) {
		user->usage = (struct cv_usage){ 0 };
		for (size_t pos = 0; cv_map_next(user->mailboxes, &pos, &key, &value);) {
			const struct cv_mailbox *mailbox = value;

			user->usage.messages += mailbox->counts.messages;
			user->usage.size += mailbox->counts.size;
			user->usage.notes += mailbox->counts.notes;
		}
		user->usage_known = true;
	}
	*usage_r = user->usage;
	usage_r->mailboxes = cv_map_count(user->mailboxes);
}

int cv_user_count_notes(struct cv_user *user, struct cv_err *err)
{
	struct cv_str key;
	void *value;

	if (user->notes_known)
		return 1;
	for (size_t pos = 0; cv_map_next(user->mailboxes, &pos, &key, &value);) {
		struct cv_mailbox *mailbox = value;
		bool loaded = mailbox->columns != NULL;

		if (!mailbox->counts.notes_unknown)
			continue;
		if (cv_mailbox_load(mailbox, err) < 0)
			return -1;
		cv_notes_count(mailbox);
		if (!loaded && mailbox->refs == 0 && cv_list_empty(&mailbox->views))
			cv_mailbox_unload(mailbox);
	}
	user->notes_known = true;
	return 1;
}

int cv_mailbox_sum(struct cv_mailbox *mailbox, const struct cv_ranges *uids, uint16_t flags, struct cv_usage *usage_r, struct cv_err *err)
{
	static const struct cv_range everything = { 1, UINT32_MAX };
	const struct cv_range *ranges = uids != NULL ? uids->data : &everything;
	size_t count = uids != NULL ? uids->count : 1;
	const struct cv_columns *columns;

	*usage_r = (struct cv_usage){ 0 };
	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	columns = mailbox->columns;
	for (size_t i = 0; i < count; i++) {
		uint32_t row = cv_columns_from(mailbox->columns, ranges[i].first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= ranges[i].last; row++) {
			if (!cv_row_live(columns, row) || (*cv_col_flags(columns, row) & flags) != flags)
				continue;
			usage_r->messages++;
			usage_r->size += *cv_col_virtual_size(columns, row);
		}
	}
	return 1;
}

int cv_mailbox_verify(struct cv_mailbox *mailbox, struct cv_err *err)
{
	const struct cv_counts before = mailbox->counts;
	struct cv_usage rows, deleted;

	/* Loading counts anew when the number of messages is another one. */
	if (cv_mailbox_sum(mailbox, NULL, 0, &rows, err) < 0 || cv_mailbox_sum(mailbox, NULL, CV_FLAG_DELETED, &deleted, err) < 0)
		return -1;
	cv_notes_recount(mailbox);
	if (before.messages == rows.messages && before.size == rows.size && before.deleted == deleted.messages &&
		(before.notes == mailbox->counts.notes || before.notes_unknown))
		return 1;
	cv_error(&mailbox->log_ctx, "has %llu messages of %llu octets and %llu octets of annotations, %u of %llu and %llu were counted: counted anew",
		(unsigned long long)rows.messages, (unsigned long long)rows.size, (unsigned long long)mailbox->counts.notes, before.messages,
		(unsigned long long)before.size, (unsigned long long)before.notes);
	cv_mailbox_recount(mailbox);
	return 0;
}

bool cv_usage_next(struct cv_user *user, size_t *pos, struct cv_str *name_r, struct cv_usage *usage_r)
{
	struct cv_str key;
	void *value;

	if (!cv_map_next(user->mailboxes, pos, &key, &value))
		return false;
	*name_r = cv_mailbox_name(value);
	cv_mailbox_usage(value, usage_r);
	return true;
}
