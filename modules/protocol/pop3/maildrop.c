/* SPDX-License-Identifier: MIT
   POP3: the maildrop: INBOX as it was at login, message numbers and unique-ids. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

/* Messages looked at in one slice of a walk. */
#define SLICE 500

/* Does a row carry pop3_deleted_flag? Then POP3 users do not see it. */
static bool is_hidden(const struct cv_pop3_session *client, const struct cv_row *row)
{
	const struct cv_str *keywords;
	size_t count;

	if (client->deleted_flag != 0)
		return (row->flags & client->deleted_flag) != 0;
	if (client->deleted_keyword.len == 0)
		return false;
	keywords = cv_row_keywords(client->drop.mailbox, row->keyword_set, &count);
	for (size_t i = 0; i < count; i++) {
		if (cv_str_caseeq(keywords[i], client->deleted_keyword))
			return true;
	}
	return false;
}

static void load(struct cv_pop3_session *client)
{
	struct cv_pop3_maildrop *drop = &client->drop;
	uint32_t count = cv_view_count(drop->view);

	for (uint32_t seq = 1; seq <= count; seq++) {
		struct cv_pop3_msg *msg;
		struct cv_row row;

		(void)cv_view_row(drop->view, seq, &row);
		if (is_hidden(client, &row))
			continue;
		msg = cv_vec_push(&drop->msgs);
		msg->seq = seq;
		drop->size += row.virtual_size;
		if ((row.flags & CV_FLAG_SEEN) != 0)
			drop->last_at_login = (uint32_t)drop->msgs.count;
	}
	drop->last = drop->last_at_login;
}

int cv_pop3_maildrop_open(struct cv_pop3_session *client, struct cv_err *err)
{
	struct cv_pop3_maildrop *drop = &client->drop;
	struct cv_mailbox_status status;

	if (cv_mailbox_open(client->user, CV_STR("INBOX"), CV_RIGHT_READ, &drop->mailbox, err) < 0 ||
		cv_mailbox_rights(client->user, CV_STR("INBOX"), &drop->rights, err) < 0 ||
		cv_mailbox_refresh(drop->mailbox, err) < 0 ||
		cv_mailbox_get_status(drop->mailbox, &status, err) < 0 ||
		cv_view_open(drop->mailbox, client->set->pop3_no_flag_updates ? CV_VIEW_READONLY : 0, &drop->view, err) < 0)
		return cv_err_context(err, "opening the maildrop");
	drop->uidvalidity = status.uidvalidity;
	load(client);
	if (client->set->pop3_uidl_duplicates == CV_POP3_UIDL_RENAME)
		drop->uidl_seen = cv_map_new();
	return 0;
}

void cv_pop3_maildrop_close(struct cv_pop3_session *client)
{
	struct cv_pop3_maildrop *drop = &client->drop;

	cv_vec_free(&drop->msgs);
	cv_vec_free(&drop->uidls);
	cv_vec_free(&drop->uidl_hashes);
	cv_map_free(&drop->uidl_seen);
	cv_view_close(&drop->view);
	cv_mailbox_unref(&drop->mailbox);
}

void cv_pop3_maildrop_row(const struct cv_pop3_session *client, uint32_t number, struct cv_row *row_r)
{
	/* False when it is gone meanwhile: the row is as it was then, and sizes must not change during a session. */
	(void)cv_view_row(client->drop.view, client->drop.msgs.data[number - 1].seq, row_r);
}

/* What is sent in place of some header fields changes the size. */
static int surrogate_size(struct cv_pop3_session *client, struct cv_pop3_msg *msg, uint64_t *size, struct cv_err *err)
{
	struct cv_pop3_surrogate surrogate;
	struct cv_mail *mail;
	int ret;

	if (cv_mail_open(client->drop.view, msg->seq, &mail, err) < 0)
		return -1;
	ret = cv_pop3_surrogate_needed(mail, err);
	if (ret == 0)
		msg->marks |= CV_POP3_MARK_PLAIN;
	if (ret > 0) {
		msg->marks |= CV_POP3_MARK_SURROGATE;
		ret = cv_pop3_surrogate_make(mail, &surrogate, err);
		if (ret > 0) {
			*size = *size - surrogate.replaced + surrogate.text_size;
			cv_pop3_surrogate_free(&surrogate);
		}
	}
	cv_mail_close(&mail);
	return ret;
}

uint64_t cv_pop3_maildrop_size(struct cv_pop3_session *client, uint32_t number)
{
	struct cv_pop3_msg *msg = &client->drop.msgs.data[number - 1];
	struct cv_err err = { 0 };
	struct cv_row row;
	uint64_t size;

	cv_pop3_maildrop_row(client, number, &row);
	size = row.virtual_size;
	if (client->resume.utf8 || (msg->marks & CV_POP3_MARK_PLAIN) != 0)
		return size;
	/* One that is gone, or cannot be read: RETR will say so. */
	if (surrogate_size(client, msg, &size, &err) < 0)
		cv_debug(cv_session_log(client->session), "size of message %u as it is sent: %s", number, err.text);
	return size;
}

void cv_pop3_maildrop_uidl_change(const struct cv_pop3_session *client, struct cv_buf *out)
{
	const struct cv_pop3_maildrop *drop = &client->drop;
	size_t known = client->lowest_retrieved > 0 ? client->lowest_retrieved - 1 : drop->msgs.count, left = drop->msgs.count;
	uint32_t before = 0, after = 0;

	if (drop->uidl_hashes.count == 0 || drop->uidl_hashes.count < drop->msgs.count)
		return;
	for (size_t i = 0; i < drop->msgs.count; i++) {
		/* What is in front of the first one that was fetched the client had already. */
		if (i < known)
			before ^= drop->uidl_hashes.data[i];
		if (client->count.deleted > 0 && (drop->msgs.data[i].marks & CV_POP3_MARK_DELETED) != 0)
			left--;
		else
			after ^= drop->uidl_hashes.data[i];
	}
	cv_buf_printf(out, "%zu/%08x", known, before);
	if (before != after || known != left)
		cv_buf_printf(out, " -> %zu/%08x", left, after);
}

void cv_pop3_maildrop_reset(struct cv_pop3_session *client)
{
	struct cv_pop3_maildrop *drop = &client->drop;

	for (size_t i = 0; i < drop->msgs.count; i++) {
		drop->msgs.data[i].marks &= (uint8_t)~CV_POP3_MARK_DELETED;
		/* RFC 1460: RSET also sets back what LAST says, and with it which ones count as read. */
		if (client->set->pop3_enable_last)
			drop->msgs.data[i].marks &= (uint8_t)~CV_POP3_MARK_RETRIEVED;
	}
	drop->deleted_count = 0;
	drop->deleted_size = 0;
	drop->last = drop->last_at_login;
}

/* ---- Unique-ids --------------------------------------------------------------------------------------- */

/* The UIDL that another server gave, or, with pop3_reuse_xuidl, an X-UIDL field. False: there is none. */
static bool old_uidl(const struct cv_pop3_session *client, struct cv_mail *mail, struct cv_buf *out)
{
	struct cv_str octets, saved = cv_mail_pop3_uidl(mail);
	struct cv_header_field field;

	if (cv_pop3_uidl_valid(saved)) {
		cv_buf_append(out, saved);
		return true;
	}
	if (!client->set->pop3_reuse_xuidl || cv_mail_octets(mail, &octets, NULL) < 0 ||
		!cv_header_find(cv_str_sub(octets, 0, cv_header_size(octets)), CV_STR("X-UIDL"), 0, &field))
		return false;
	saved = cv_str_trim(field.value);
	if (!cv_pop3_uidl_valid(saved))
		return false;
	cv_buf_append(out, saved);
	return true;
}

static void make_uidl(struct cv_pop3_session *client, uint32_t number, struct cv_buf *out)
{
	uint32_t seq = client->drop.msgs.data[number - 1].seq;
	struct cv_pop3_uidl_parts parts = { .uidvalidity = client->drop.uidvalidity };
	struct cv_mail *mail = NULL;
	struct cv_row row;
	bool found = false;

	if (cv_mail_open(client->drop.view, seq, &mail, NULL) >= 0) {
		bool is_kept = cv_pop3_uidl_valid(cv_mail_pop3_uidl(mail));

		found = old_uidl(client, mail, out);
		if (client->set->pop3_save_uidl && !is_kept)
			client->drop.msgs.data[number - 1].marks |= CV_POP3_MARK_UIDL_NEW;
		cv_mail_close(&mail);
	}
	if (found)
		return;
	cv_pop3_maildrop_row(client, number, &row);
	parts.uid = row.uid;
	memcpy(parts.guid, row.guid, sizeof(parts.guid));
	parts.ref = cv_view_ref(client->drop.view, seq);
	cv_buf_clear(out);
	/* The format was checked; what gives no valid unique-id all the same must not leave the message without one. */
	if (cv_pop3_uidl_expand(client->set->pop3_uidl_format, &parts, out, NULL) < 0 || !cv_buf_ok(out) ||
		!cv_pop3_uidl_valid(cv_buf_str(out))) {
		cv_buf_clear(out);
		cv_buf_append_hex(out, cv_str_mem(row.guid, sizeof(row.guid)));
	}
}

/* pop3_uidl_duplicates = rename: "x", "x-2", "x-3" … in message order. */
static void add_renamed(struct cv_pop3_session *client, struct cv_buf *uidl)
{
	struct cv_pop3_maildrop *drop = &client->drop;
	size_t len = uidl->len;

	for (unsigned n = 2; cv_map_get(drop->uidl_seen, cv_buf_str(uidl)) != NULL; n++) {
		cv_buf_truncate(uidl, len);
		cv_buf_printf(uidl, "-%u", n);
	}
	cv_map_set(drop->uidl_seen, cv_buf_str(uidl), drop);
	*(struct cv_str *)cv_vec_push(&drop->uidls) = cv_arena_str(cv_session_arena(client->session), cv_buf_str(uidl));
}

bool cv_pop3_maildrop_uidl_ready(struct cv_pop3_session *client, uint32_t number)
{
	struct cv_pop3_maildrop *drop = &client->drop;
	struct cv_buf uidl;

	if (drop->uidl_seen == NULL)
		return true;
	cv_buf_init(&uidl, 1024);
	for (unsigned i = 0; i < SLICE && drop->uidls.count < number; i++) {
		cv_buf_clear(&uidl);
		make_uidl(client, (uint32_t)drop->uidls.count + 1, &uidl);
		add_renamed(client, &uidl);
	}
	cv_buf_deinit(&uidl);
	return drop->uidls.count >= number;
}

void cv_pop3_maildrop_uidl(struct cv_pop3_session *client, uint32_t number, struct cv_buf *out)
{
	struct cv_buf uidl;

	if (client->drop.uidl_seen != NULL) {
		cv_assert(number <= client->drop.uidls.count);
		cv_buf_append(out, client->drop.uidls.data[number - 1]);
		return;
	}
	cv_buf_init(&uidl, 1024);
	make_uidl(client, number, &uidl);
	cv_buf_append(out, cv_buf_str(&uidl));
	cv_buf_deinit(&uidl);
}
