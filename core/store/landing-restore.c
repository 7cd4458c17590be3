/* SPDX-License-Identifier: MIT
   Messages whose files went while the journal still has their octets: as long as their records were not dropped, fsck makes the files once more. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

struct place {
	struct cv_guid mailbox;
	uint32_t uid;
	struct cv_journal_pos pos;
};

struct cv_landed {
	CV_VEC(struct place) places; /* in the order of the journal */
	struct cv_buf record;
};

/* Once for all that is asked: messages that come later have files of their own. A record that can't be read ends it. */
static void look_through(struct cv_user *user, struct cv_landed *landed)
{
	struct cv_journal_pos pos = { 0 };
	struct cv_record_head head;
	struct cv_str entries;
	struct cv_err err = { 0 };

	while (cv_journal_next(&user->journal, &pos, &landed->record, &head, &entries, &err) > 0) {
		struct cv_reader reader = cv_reader_init(entries);
		struct cv_entry entry;

		while (cv_entry_next(&reader, &entry) > 0) {
			if (entry.kind == CV_ENTRY_OCTETS)
				*cv_vec_push(&landed->places) = (struct place){ entry.mailbox, entry.uid, pos };
		}
		pos.offset += head.len;
	}
}

struct cv_landed *cv_landed_new(struct cv_user *user)
{
	struct cv_landed *landed = cv_new0(struct cv_landed);

	cv_buf_init(&landed->record, CV_JOURNAL_READ_MAX);
	look_through(user, landed);
	return landed;
}

void cv_landed_free(struct cv_landed **landed)
{
	if (*landed == NULL)
		return;
	cv_vec_free(&(*landed)->places);
	cv_buf_deinit(&(*landed)->record);
	cv_free(*landed);
	*landed = NULL;
}

/* The message's entries in its record. False: it is not there any more. */
static bool find_entries(struct cv_landed *landed, const struct place *place, struct cv_journal *journal, struct cv_entry *append_r, struct cv_entry *octets_r)
{
	struct cv_record_head head;
	struct cv_reader reader;
	struct cv_str entries;
	struct cv_err err = { 0 };

	if (cv_journal_read(journal, place->pos, &landed->record, &head, &entries, &err) < 0)
		return false;
	reader = cv_reader_init(entries);
	while (cv_entry_next(&reader, octets_r) > 0) {
		if (octets_r->kind == CV_ENTRY_APPEND)
			*append_r = *octets_r;
		if (octets_r->kind == CV_ENTRY_OCTETS && octets_r->uid == place->uid && memcmp(&octets_r->mailbox, &place->mailbox, sizeof(place->mailbox)) == 0)
			return true;
	}
	return false;
}

int cv_landed_restore(struct cv_landed *landed, struct cv_mailbox *mailbox, uint32_t uid, bool make, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;

	for (size_t i = landed->places.count; i > 0; i--) {
		const struct place *place = &landed->places.data[i - 1];
		struct cv_entry append = { 0 }, octets;

		if (place->uid != uid || memcmp(&place->mailbox, &mailbox->guid, sizeof(mailbox->guid)) != 0 ||
			!find_entries(landed, place, &user->journal, &append, &octets))
			continue;
		if (make && (cv_landing_make(user, &append, &octets, true, err) < 0 || cv_owed_settle(user, err) < 0))
			return -1;
		return 1;
	}
	return 0;
}
