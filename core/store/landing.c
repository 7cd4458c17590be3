/* SPDX-License-Identifier: MIT
   Messages that came to the journal with their octets: one sync makes them durable. Their files are made afterwards, as those of copies are (owed.c). */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

/* Beyond these messages go to the storage at once, and wait for it. */
#define HELD_MAX ((size_t)8 << 20)  /* octets in memory on their way to the journal */
#define OWED_MAX 1024              /* records whose files are to be made; and octets of their messages: */
#define OWED_OCTETS_MAX ((size_t)32 << 20)

/* Files are made as fast as messages come, or these are not taken into the journal: what is owed is what is written once more after a crash. */
static bool keeps_up(const struct cv_user *user)
{
	return user->owed.count < OWED_MAX && user->owed_octets < OWED_OCTETS_MAX;
}

bool cv_landing_may_hold(const struct cv_user *user, uint64_t size)
{
	uint64_t max = user->set->mail_journal_message_size;

	return user->storage->land != NULL && user->storage_args.fsync != CV_FSYNC_NEVER && max > 0 && size <= max &&
		user->held_octets <= HELD_MAX && size <= HELD_MAX - user->held_octets && keeps_up(user);
}

static void describe(const struct cv_mailbox *mailbox, const struct cv_entry_message *message, struct cv_storage_meta *meta_r)
{
	*meta_r = (struct cv_storage_meta){
		.uid = message->uid,
		.internal_date = message->date,
		.size = message->physical_size,
		.virtual_size = message->virtual_size,
		.flags = message->flags,
		.pop3_uidl = message->uidl,
		.orig_mailbox = cv_mailbox_name(mailbox),
		.saved = message->saved,
	};
	memcpy(meta_r->guid, message->guid.b, sizeof(meta_r->guid));
}

static int land(struct cv_mailbox *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets, bool again, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref box = cv_mailbox_storage_ref(mailbox);
	int ret = user->storage->land(user->st, &box, meta, ref, octets, again, err);

	if (ret < 0 && err->code == CV_ERR_NOTFOUND && cv_mailbox_make_folder(mailbox, &box, err) >= 0)
		ret = user->storage->land(user->st, &box, meta, ref, octets, again, err);
	return ret;
}

/* Another program's message has the file name: it gets another one. */
static int land_elsewhere(struct cv_mailbox *mailbox, struct cv_storage_meta meta, struct cv_str octets, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref box = cv_mailbox_storage_ref(mailbox);
	uint32_t uid = meta.uid;
	char ref[CV_STORAGE_REF_MAX];
	size_t len = 0;
	int ret;

	do {
		*err = (struct cv_err){ 0 };
		if (cv_mailbox_take_uid(mailbox, &meta.uid, err) < 0 || user->storage->place(user->st, &box, &meta, ref, &len, err) < 0)
			return -1;
		ret = land(mailbox, &meta, cv_str_mem(ref, len), octets, false, err);
	} while (ret < 0 && err->code == CV_ERR_EXISTS);
	return ret < 0 ? -1 : cv_owed_set_ref(user, mailbox, uid, cv_str_mem(ref, len), err);
}

int cv_landing_find(struct cv_user *user, const struct cv_entry *append, const struct cv_entry *entry, struct cv_landing_what *what_r, struct cv_err *err)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &entry->mailbox);
	struct cv_str known = append->message.ref;
	uint32_t row;

	if (mailbox == NULL)
		return 0; /* the folder goes or went as a whole */
	if (append->kind != CV_ENTRY_APPEND || append->message.uid != entry->uid || user->storage->land == NULL ||
		memcmp(&append->mailbox, &entry->mailbox, sizeof(append->mailbox)) != 0) {
		cv_error(&mailbox->log_ctx, "octets of message %u in the journal are of no use", entry->uid);
		return 0;
	}
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	/* One that was expunged since is made too: copies may be made of it, and its undelete time is not over. */
	if (cv_columns_find(mailbox->columns, entry->uid, UINT32_MAX, &row) && cv_row_live(mailbox->columns, row))
		known = cv_columns_ref(mailbox->columns, row);
	memcpy(what_r->ref, known.ptr, known.len); /* the column may move */
	what_r->ref_len = known.len;
	what_r->mailbox = mailbox;
	describe(mailbox, &append->message, &what_r->meta);
	return 1;
}

int cv_landing_make(struct cv_user *user, const struct cv_entry *append, const struct cv_entry *entry, bool again, struct cv_err *err)
{
	struct cv_landing_what what;
	struct cv_err land_err = { 0 };
	int ret = cv_landing_find(user, append, entry, &what, err);

	if (ret <= 0)
		return ret < 0 ? -1 : 1;
	ret = land(what.mailbox, &what.meta, cv_str_mem(what.ref, what.ref_len), entry->octets, again, &land_err);
	if (ret < 0 && land_err.code == CV_ERR_EXISTS)
		ret = land_elsewhere(what.mailbox, what.meta, entry->octets, &land_err);
	if (ret < 0) {
		*err = land_err;
		return cv_err_context(err, "making the file of message %u", entry->uid);
	}
	cv_owed_no_more(what.mailbox, entry->uid);
	return 1;
}

/* Where the octets begin in the segment. 0: the record does not have them. */
static uint64_t find_octets(struct cv_str record, struct cv_str entries, const struct cv_guid *mailbox, uint32_t uid, uint64_t *len_r)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	while (cv_entry_next(&reader, &entry) > 0) {
		if (entry.kind != CV_ENTRY_OCTETS || entry.uid != uid || memcmp(&entry.mailbox, mailbox, sizeof(entry.mailbox)) != 0)
			continue;
		*len_r = entry.octets.len;
		return (uint64_t)(entry.octets.ptr - record.ptr);
	}
	return 0;
}

int cv_landing_open(struct cv_mailbox *mailbox, uint32_t uid, struct cv_storage_blob *blob_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_buf buf;
	int ret = 0;

	cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
	for (size_t i = user->owed_made; ret == 0 && i < user->owed.count; i++) {
		struct cv_journal_pos pos = user->owed.data[i].pos;
		struct cv_str entries;
		uint64_t at, len;

		ret = cv_owed_read(user, i, &buf, &entries, err);
		if (ret < 0)
			break;
		if (ret == 0)
			continue;
		ret = 0;
		at = find_octets(cv_buf_str(&buf), entries, &mailbox->guid, uid, &len);
		if (at == 0)
			continue;
		*blob_r = (struct cv_storage_blob){ .fd = -1, .offset = pos.offset + at, .len = len };
		ret = cv_journal_open_segment(&user->journal, pos.segment, &blob_r->fd, err);
	}
	cv_buf_deinit(&buf);
	return ret;
}
