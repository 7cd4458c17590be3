/* SPDX-License-Identifier: MIT
   From the journal to memory: at the start, and after a failed write. */
#include <config.h>

#include "core/store/store-private.h"

struct replay {
	struct cv_user *user;
	unsigned what;
};

static int replay_record(void *ctx, const struct cv_record_head *head, struct cv_journal_pos pos, struct cv_str entries,
	struct cv_err *err)
{
	struct replay *replay = ctx;
	struct cv_user *user = replay->user;
	unsigned what = replay->what;

	if (head->seq <= user->state_seq)
		what &= ~(unsigned)(CV_APPLY_TREE | CV_APPLY_COUNTS);
	if (cv_apply_record(user, head, pos, entries, what, err) < 0)
		return -1;
	if (head->seq > user->work_seq && (replay->what & CV_APPLY_TREE) != 0 && cv_record_has_work(user, entries))
		cv_work_add(user, head->seq, pos);
	return 1;
}

int cv_user_recover(struct cv_user *user, struct cv_err *err)
{
	struct replay replay = { user, CV_APPLY_TREE | CV_APPLY_COUNTS | CV_APPLY_NOTE };
	struct cv_journal_damage damage;

	if (cv_journal_list(&user->journal, err) < 0 ||
		cv_journal_scan(&user->journal, 0, true, replay_record, &replay, &damage, err) < 0)
		return cv_err_context(err, "journal");
	if (damage.torn)
		cv_info(&user->log_ctx, "journal ended in a torn record: what was never confirmed was cut off");
	user->published_seq = user->journal.seq;
	user->journal.epoch++;
	return cv_journal_resume(&user->journal, user->set->mail_journal_segment_size, err);
}

static void forget(struct cv_mailbox *mailbox)
{
	cv_mailbox_unload(mailbox);
	mailbox->counts = mailbox->base.counts;
	mailbox->uidnext = mailbox->base.uidnext;
	mailbox->first_recent = mailbox->base.first_recent;
	mailbox->highest_modseq = mailbox->base.highest_modseq;
	mailbox->vanished_from = mailbox->base.vanished_from;
	mailbox->behind.count = 0;
	mailbox->behind_octets = 0;
	mailbox->applied_seq = 0;
}

int cv_user_reread(struct cv_user *user, struct cv_err *err)
{
	struct replay replay = { user, CV_APPLY_COUNTS | CV_APPLY_NOTE };
	struct cv_journal_damage damage;
	uint64_t from = user->state_seq, seq = user->journal.seq;
	struct cv_str key;
	size_t pos = 0;
	void *value;

	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct cv_mailbox *mailbox = value;

		forget(mailbox);
		from = CV_MIN(from, mailbox->behind_from);
	}
	if (cv_journal_scan(&user->journal, from, false, replay_record, &replay, &damage, err) < 0)
		return cv_err_context(err, "journal");
	user->journal.seq = seq; /* numbers that were given out are not given out again */
	pos = 0;
	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct cv_mailbox *mailbox = value;

		mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);
		if (!cv_list_empty(&mailbox->views) && cv_mailbox_load(mailbox, err) < 0)
			return -1;
	}
	return 1;
}
