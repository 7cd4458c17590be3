/* SPDX-License-Identifier: MIT
   STATUS (RFC 3501 section 6.3.10, RFC 7162 section 3.1.7, RFC 7889, RFC 8438, RFC 8474 section 4.3, RFC 9051 section 6.3.11, RFC 9208 section 4.1.4). */
#include <config.h>

#include "notify.h"
#include "status.h"

struct answer {
	struct cv_mailbox_status status;
	uint64_t deleted_size; /* only when asked for */
	const uint8_t *guid;
};

static void put_messages(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->status.messages);
}

static void put_recent(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->status.recent);
}

static void put_uidnext(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->status.uidnext);
}

static void put_uidvalidity(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->status.uidvalidity);
}

static void put_unseen(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->status.unseen);
}

static void put_deleted(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->status.deleted);
}

static void put_deleted_storage(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->deleted_size);
}

static void put_size(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, answer->status.size);
}

static void put_modseq(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_u64(out, CV_MAX(answer->status.highest_modseq, (uint64_t)1));
}

static void put_appendlimit(struct cv_buf *out, const struct answer *answer)
{
	(void)answer;
	cv_buf_append_u64(out, IMAP_APPEND_LIMIT);
}

static void put_mailboxid(struct cv_buf *out, const struct answer *answer)
{
	cv_buf_append_char(out, '(');
	imap_append_mailboxid(out, answer->guid);
	cv_buf_append_char(out, ')');
}

static const struct {
	const char *name;
	void (*put)(struct cv_buf *out, const struct answer *answer);
} all[] = {
	{ "MESSAGES", put_messages },
	{ "RECENT", put_recent },
	{ "UIDNEXT", put_uidnext },
	{ "UIDVALIDITY", put_uidvalidity },
	{ "UNSEEN", put_unseen },
	{ "HIGHESTMODSEQ", put_modseq },
	{ "SIZE", put_size },
	{ "DELETED", put_deleted },
	{ "DELETED-STORAGE", put_deleted_storage },
	{ "MAILBOXID", put_mailboxid },
	{ "APPENDLIMIT", put_appendlimit },
};
_Static_assert(CV_COUNT_OF(all) <= STATUS_ITEMS_MAX, "each item is kept once");

bool status_parse(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct status_items *items_r)
{
	const struct cv_imap_arg *word;
	unsigned seen = 0;
	size_t i;

	*items_r = (struct status_items){ 0 };
	if (!cv_imap_arg_list(arg, &word) || word == NULL) {
		imap_bad(cmd, "STATUS needs a list of items");
		return false;
	}
	for (; word != NULL; word = word->next) {
		for (i = 0; i < CV_COUNT_OF(all) && !cv_imap_arg_is(word, all[i].name); i++)
			;
		if (i == CV_COUNT_OF(all)) {
			imap_bad(cmd, "Unknown STATUS item");
			return false;
		}
		if ((seen & 1u << i) == 0)
			items_r->items[items_r->count++] = i;
		seen |= 1u << i;
		items_r->modseq |= all[i].put == put_modseq;
		items_r->deleted_storage |= all[i].put == put_deleted_storage;
	}
	return true;
}

static void add_item(struct status_items *items, void (*put)(struct cv_buf *out, const struct answer *answer))
{
	size_t i = 0;

	while (all[i].put != put)
		i++;
	items->items[items->count++] = i;
}

void imap_notify_items(const struct imap_session *s, unsigned events, bool first, struct status_items *items_r)
{
	*items_r = (struct status_items){ 0 };
	if ((events & (IMAP_NOTIFY_NEW | IMAP_NOTIFY_EXPUNGE)) != 0) {
		add_item(items_r, put_messages);
		add_item(items_r, put_uidnext);
	}
	add_item(items_r, put_uidvalidity);
	if ((events & IMAP_NOTIFY_FLAGS) != 0)
		add_item(items_r, put_unseen);
	/* Sections 5.1 to 5.3: when CONDSTORE or QRESYNC is enabled; at first whenever it is there, so that flags can be fetched from there on. */
	if (s->condstore || (first && (events & (IMAP_NOTIFY_FLAGS | IMAP_NOTIFY_ANNOTATIONS)) != 0))
		add_item(items_r, put_modseq);
}

int status_write(struct imap_session *s, struct cv_buf *out, struct cv_str name, const struct status_items *items, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct answer answer;
	struct cv_usage deleted = { 0 };
	int result;

	if (cv_mailbox_open(s->user, name, CV_RIGHT_READ, &mailbox, err) < 0)
		return -1;
	result = cv_mailbox_refresh(mailbox, err) < 0 ? -1 : cv_mailbox_get_status(mailbox, &answer.status, err);
	/* RFC 9208 section 4.1.4: octets, the sum of RFC822.SIZE. Rows are looked through only when there is something to find. */
	if (result >= 0 && items->deleted_storage && answer.status.deleted > 0)
		result = cv_mailbox_sum(mailbox, NULL, CV_FLAG_DELETED, &deleted, err);
	if (result >= 0) {
		/* What this session took as recent is so for it. */
		if (s->view != NULL && cv_view_mailbox(s->view) == mailbox)
			answer.status.recent += cv_view_recent(s->view);
		answer.guid = cv_mailbox_guid(mailbox);
		answer.deleted_size = deleted.size;
		cv_buf_append_c(out, "* STATUS ");
		imap_append_mailbox(s, out, name);
		for (size_t i = 0; i < items->count; i++) {
			cv_buf_printf(out, "%s%s ", i == 0 ? " (" : " ", all[items->items[i]].name);
			all[items->items[i]].put(out, &answer);
		}
		cv_buf_append_c(out, ")\r\n");
	}
	cv_mailbox_unref(&mailbox);
	return result < 0 ? -1 : 0;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct status_items items;
	struct cv_err err = { 0 };
	struct cv_str name;
	struct cv_buf line;

	if (!imap_mailbox_arg(cmd, cmd->args, 0, &name) || !status_parse(cmd, cmd->args->next, &items))
		return CV_IMAP_DONE;
	if (cmd->args->next->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	cv_buf_init(&line, (size_t)64 * 1024);
	if (status_write(s, &line, name, &items, &err) < 0) {
		cv_buf_deinit(&line);
		return imap_fail(cmd, &err);
	}
	if (items.modseq)
		imap_enable_condstore(s);
	cv_buf_append(imap_out(cmd), cv_buf_str(&line));
	cv_buf_deinit(&line);
	/* RFC 3501 section 6.3.10: "the STATUS command SHOULD NOT be used on the currently selected mailbox"; RFC 5530 has it as its example of CLIENTBUG. */
	return imap_ok(cmd, s->view != NULL && cv_str_eq(name, cv_mailbox_name(cv_view_mailbox(s->view))) ? "CLIENTBUG" : NULL, "Status completed");
}

const struct cv_imap_command imap_cmd_status = { .verb = "STATUS", .opts = CV_IMAP_LOGGED_IN, .run = run };
