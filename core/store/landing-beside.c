/* SPDX-License-Identifier: MIT
   Files of new messages are made and synced beside the loop, so that no delivery waits for those before it. The thread has a batch of its own (batch_add of the
   storage); here the records are owed until it is through. Whoever needs the files before waits for it (cv_landing_end), and nothing that was expunged is removed
   meanwhile. */
#include <config.h>

#include "core/store/cache.h"
#include "core/store/store-private.h"
#include <culver/loop.h>

#include <string.h>

#define MESSAGES_MAX 256            /* of a batch; and so many octets: */
#define OCTETS_MAX ((size_t)8 << 20)
/* So many records and more have much behind the snapshots: what was parsed goes to the cache files with the messages, while it is at hand. Of fewer it is left in the
   journal until a snapshot is written, as the user may be closed without one. */
#define RECORDS_MIN 16

struct message {
	struct cv_guid mailbox;
	uint32_t uid;
};

struct cv_landing {
	struct cv_user *user;
	struct cv_beside *beside;
	const struct cv_storage *storage;
	void *batch;
	CV_VEC(struct message) messages;
	CV_VEC(size_t) firsts;          /* the first message of each record */
	uint64_t seq;                   /* of the last record */
	size_t octets;
	bool keeps_records;             /* to the cache files with parse records */
	struct cv_cache_batch records;  /* those that are to go there, and of which mailbox */
	struct cv_mailbox *records_of;
};

static void free_landing(struct cv_landing *landing)
{
	size_t begun;
	struct cv_err ignored = { 0 };

	if (landing->batch != NULL)
		(void)landing->storage->batch_end(&landing->batch, &begun, &ignored);
	cv_cache_batch_deinit(&landing->records);
	cv_vec_free(&landing->messages);
	cv_vec_free(&landing->firsts);
	cv_free(landing);
}

/* Rows know the new place; the snapshot that comes next tells it too. Without that the journal has it still, and nothing is lost. */
static void write_records(struct cv_landing *landing)
{
	struct cv_mailbox *mailbox = landing->records_of;
	struct cv_err err = { 0 };

	landing->records_of = NULL;
	if (mailbox == NULL || cv_cache_batch_write(&landing->records, mailbox, &err) > 0)
		return;
	landing->keeps_records = false;
	cv_warn(&mailbox->log_ctx, "parse records stay in the journal: %s", err.text);
}

static void keep_record(struct cv_landing *landing, struct cv_mailbox *mailbox, const struct cv_entry *append)
{
	uint32_t row;

	if (append->message.parse.len == 0 || !cv_columns_find(mailbox->columns, append->message.uid, UINT32_MAX, &row) || !cv_row_live(mailbox->columns, row) ||
		!cv_cache_is_in_journal(*cv_col_cache(mailbox->columns, row)))
		return;
	if (landing->records_of != mailbox || cv_cache_batch_full(&landing->records))
		write_records(landing);
	landing->records_of = mailbox;
	cv_cache_batch_add(&landing->records, mailbox->user, append->message.uid, append->message.parse);
}

static int add_message(struct cv_user *user, struct cv_landing *landing, const struct cv_entry *append, const struct cv_entry *entry, struct cv_err *err)
{
	struct cv_landing_what what;
	struct cv_mailbox_ref box;
	int ret = cv_landing_find(user, append, entry, &what, err);

	if (ret <= 0)
		return ret;
	box = cv_mailbox_storage_ref(what.mailbox);
	if (user->storage->batch_add(user->st, &landing->batch, &box, &what.meta, cv_str_mem(what.ref, what.ref_len), entry->octets, err) < 0)
		return -1;
	*cv_vec_push(&landing->messages) = (struct message){ entry->mailbox, entry->uid };
	landing->octets += entry->octets.len;
	if (landing->keeps_records)
		keep_record(landing, what.mailbox, append);
	return 1;
}

static int add_record(struct cv_user *user, struct cv_landing *landing, const struct cv_owed *owed, struct cv_buf *buf, struct cv_err *err)
{
	struct cv_entry entry, append = { 0 };
	struct cv_record_head head;
	struct cv_reader reader;
	struct cv_str entries;

	if (cv_journal_read(&user->journal, owed->pos, buf, &head, &entries, err) < 0)
		return -1;
	*cv_vec_push(&landing->firsts) = landing->messages.count;
	landing->seq = owed->seq;
	reader = cv_reader_init(entries);
	while (cv_entry_next(&reader, &entry) > 0) {
		if (entry.kind == CV_ENTRY_APPEND)
			append = entry;
		else if (entry.kind == CV_ENTRY_OCTETS && add_message(user, landing, &append, &entry, err) < 0)
			return -1;
	}
	return 1;
}

/* What can't be added is made by hand, which tells what is wrong with it. */
static int add_records(struct cv_user *user, struct cv_landing *landing)
{
	struct cv_err err = { 0 };
	struct cv_buf buf;
	int ret = 1;

	cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
	for (size_t i = 0; ret > 0 && i < user->owed.count && landing->messages.count < MESSAGES_MAX && landing->octets < OCTETS_MAX; i++) {
		if (user->owed.data[i].copies || user->owed.data[i].again)
			break;
		ret = add_record(user, landing, &user->owed.data[i], &buf, &err);
	}
	write_records(landing);
	cv_buf_deinit(&buf);
	if (ret < 0)
		cv_debug(&user->log_ctx, "files of messages are not made beside the loop: %s", err.text);
	return ret;
}

static void run(void *ctx)
{
	struct cv_landing *landing = ctx;

	landing->storage->batch_run(landing->batch);
}

static void on_done(void *ctx)
{
	struct cv_user *user = ((struct cv_landing *)ctx)->user;

	cv_landing_end(user);
	cv_work_soon(user); /* what waited for it */
}

bool cv_landing_begin(struct cv_user *user)
{
	struct cv_landing *landing;

	if (user->loop == NULL || user->external || user->storage->batch_add == NULL || user->landing != NULL || user->owed_made > 0 || user->owed_open ||
		user->owed_running || user->folders_behind || user->owed.count == 0)
		return false;
	landing = cv_new0(struct cv_landing);
	landing->storage = user->storage;
	cv_cache_batch_init(&landing->records);
	/* A cache file that is just written anew takes what was in the one before. */
	landing->keeps_records = user->owed.count >= RECORDS_MIN && user->checkpoint == NULL;
	if (add_records(user, landing) < 0 || landing->messages.count == 0) {
		free_landing(landing);
		return false;
	}
	landing->user = user;
	landing->beside = cv_beside_begin(user->loop, run, on_done, landing);
	if (landing->beside == NULL) {
		free_landing(landing);
		return false;
	}
	user->landing = landing;
	return true;
}

static void forget_made(struct cv_user *user, const struct cv_landing *landing)
{
	size_t count = landing->firsts.count;

	for (size_t i = 0; i < landing->messages.count; i++) {
		struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &landing->messages.data[i].mailbox);

		if (mailbox != NULL)
			cv_owed_no_more(mailbox, landing->messages.data[i].uid);
	}
	user->owed_settled = landing->seq;
	cv_owed_drop(user, count);
}

void cv_landing_end(struct cv_user *user)
{
	struct cv_landing *landing = user->landing;
	struct cv_err err = { 0 };
	size_t begun = 0;

	if (landing == NULL)
		return;
	user->landing = NULL;
	cv_beside_end(&landing->beside);
	if (landing->storage->batch_end(&landing->batch, &begun, &err) > 0) {
		forget_made(user, landing);
	} else {
		if (err.code != CV_ERR_EXISTS)
			cv_warn(&user->log_ctx, "files of new messages are made once more: %s", err.text);
		for (size_t i = 0; i < landing->firsts.count && landing->firsts.data[i] < begun; i++)
			user->owed.data[i].again = true;
	}
	user->owed_settle_ms = 0;
	free_landing(landing);
}

void cv_landing_drop(struct cv_user *user)
{
	struct cv_landing *landing = user->landing;

	if (landing == NULL)
		return;
	user->landing = NULL;
	cv_beside_end(&landing->beside);
	free_landing(landing);
}
