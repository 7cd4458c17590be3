/* SPDX-License-Identifier: MIT
   POP3: what a session changes, as one transaction (RFC 1939 section 6, the UPDATE state). */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

/* A transaction on its way to the disk. Outlives the session when that ends first; freed by the commit's callback. */
struct cv_pop3_update {
	struct cv_pop3_session *client; /* NULL: ended */
	void (*fn)(struct cv_pop3_session *client, const struct cv_err *err);
};

static void committed(void *ctx, int result, const struct cv_err *err)
{
	struct cv_pop3_update *update = ctx;
	struct cv_pop3_session *client = update->client;
	struct cv_err failed = { .code = CV_ERR_TEMP };

	if (client != NULL) {
		client->update = NULL;
		if (update->fn != NULL)
			update->fn(client, result == 0 ? NULL : err != NULL ? err : &failed);
	}
	cv_free(update);
}

void cv_pop3_update_forget(struct cv_pop3_session *client)
{
	if (client->update != NULL)
		client->update->client = NULL;
	client->update = NULL;
}

/* UIDs of the messages to delete, and of those that become \Seen. */
static void collect(const struct cv_pop3_session *client, bool deletions, struct cv_ranges *deleted, struct cv_ranges *seen)
{
	const struct cv_pop3_maildrop *drop = &client->drop;

	for (size_t i = 0; i < drop->msgs.count; i++) {
		uint32_t uid = cv_view_uid(drop->view, drop->msgs.data[i].seq);

		if (deletions && (drop->msgs.data[i].marks & CV_POP3_MARK_DELETED) != 0)
			cv_ranges_add(deleted, uid, uid);
		else if (!client->set->pop3_no_flag_updates && (drop->rights & CV_RIGHT_SEEN) != 0 &&
			(drop->msgs.data[i].marks & CV_POP3_MARK_RETRIEVED) != 0)
			cv_ranges_add(seen, uid, uid);
	}
}

/* DELE sets a flag rather than removing. */
static bool flags_only(const struct cv_pop3_session *client)
{
	return client->set->pop3_delete_type != CV_POP3_DELETE_EXPUNGE &&
		(client->deleted_flag != 0 || client->deleted_keyword.len > 0);
}

unsigned cv_pop3_delete_right(const struct cv_pop3_session *client)
{
	if (!flags_only(client))
		return CV_RIGHT_EXPUNGE;
	if (client->deleted_flag == CV_FLAG_SEEN)
		return CV_RIGHT_SEEN;
	return client->deleted_flag == CV_FLAG_DELETED ? CV_RIGHT_DELETED : CV_RIGHT_WRITE;
}

/* pop3_save_uidl: what the client was told of messages that stay. */
static int keep_uidls(struct cv_pop3_session *client, struct cv_txn *txn, bool deletions, struct cv_err *err)
{
	struct cv_pop3_maildrop *drop = &client->drop;
	struct cv_buf uidl;
	int ret = 0;

	cv_buf_init(&uidl, 1000);
	for (size_t i = 0; ret >= 0 && i < drop->msgs.count; i++) {
		if ((drop->msgs.data[i].marks & CV_POP3_MARK_UIDL_NEW) == 0 || (deletions && (drop->msgs.data[i].marks & CV_POP3_MARK_DELETED) != 0))
			continue;
		cv_buf_clear(&uidl);
		cv_pop3_maildrop_uidl(client, (uint32_t)i + 1, &uidl);
		ret = cv_txn_set_pop3_uidl(txn, drop->mailbox, cv_view_uid(drop->view, drop->msgs.data[i].seq), cv_buf_str(&uidl), err);
	}
	cv_buf_deinit(&uidl);
	return ret;
}

static bool has_new_uidls(const struct cv_pop3_session *client)
{
	for (size_t i = 0; client->set->pop3_save_uidl && i < client->drop.msgs.count; i++) {
		if ((client->drop.msgs.data[i].marks & CV_POP3_MARK_UIDL_NEW) != 0)
			return true;
	}
	return false;
}

static int delete(struct cv_pop3_session *client, struct cv_txn *txn, const struct cv_ranges *uids, struct cv_err *err)
{
	struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = client->deleted_flag };

	if (!flags_only(client))
		return cv_txn_expunge(txn, client->drop.mailbox, uids, err);
	if (client->deleted_keyword.len > 0) {
		change.keywords = &client->deleted_keyword;
		change.keyword_count = 1;
	}
	return cv_txn_flags(txn, client->drop.mailbox, uids, &change, NULL, NULL, err);
}

static int commit(struct cv_pop3_session *client, bool deletions, const struct cv_ranges *deleted, const struct cv_ranges *seen,
	void (*fn)(struct cv_pop3_session *client, const struct cv_err *err), struct cv_err *err)
{
	struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct cv_txn *txn = cv_txn_begin(client->user);
	struct cv_pop3_update *update;

	if ((deleted->count > 0 && delete(client, txn, deleted, err) < 0) ||
		(seen->count > 0 && cv_txn_flags(txn, client->drop.mailbox, seen, &change, NULL, NULL, err) < 0) ||
		(has_new_uidls(client) && keep_uidls(client, txn, deletions, err) < 0)) {
		cv_txn_rollback(&txn);
		return -1;
	}
	update = cv_new0(struct cv_pop3_update);
	update->client = client;
	update->fn = fn;
	client->update = update;
	if (cv_txn_commit(&txn, committed, update, err) < 0) {
		/* Nothing was done, and committed() will not be called. */
		client->update = NULL;
		cv_free(update);
		return -1;
	}
	return 1;
}

int cv_pop3_update(struct cv_pop3_session *client, bool deletions,
	void (*fn)(struct cv_pop3_session *client, const struct cv_err *err), struct cv_err *err)
{
	struct cv_ranges deleted = { 0 }, seen = { 0 };
	int ret = 0;

	collect(client, deletions, &deleted, &seen);
	if (deleted.count > 0 || seen.count > 0 || has_new_uidls(client))
		ret = commit(client, deletions, &deleted, &seen, fn, err);
	cv_ranges_free(&deleted);
	cv_ranges_free(&seen);
	return ret;
}
