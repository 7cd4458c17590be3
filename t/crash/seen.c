/* SPDX-License-Identifier: MIT
   What a client with a cache knows, and whether it holds. */
#include <config.h>

#include "t/crash/seen.h"

struct seen_message {
	uint32_t uid;
	uint64_t modseq, flags; /* flags: and keywords, the same number for the same ones */
};

struct seen_box {
	uint32_t uidvalidity;
	uint64_t highest;
	CV_VEC(struct seen_message) messages;
};

struct seen {
	CV_VEC(struct seen_box) boxes;
};

static uint64_t flags_of(const struct cv_mailbox *mailbox, const struct cv_row *row)
{
	size_t count;
	const struct cv_str *words = cv_row_keywords(mailbox, row->keyword_set, &count);
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++) /* in any order */
		sum += cv_crc32c(0, words[i].ptr, words[i].len);
	return sum << 16 | row->flags;
}

static int take_box(struct cv_mailbox *mailbox, struct cv_view *view, struct seen_box *box, struct cv_err *err)
{
	struct cv_mailbox_status status;

	if (cv_mailbox_get_status(mailbox, &status, err) < 0)
		return -1;
	box->uidvalidity = status.uidvalidity;
	box->highest = cv_view_highest_modseq(view);
	for (uint32_t seq = 1; seq <= cv_view_count(view); seq++) {
		struct cv_row row;

		if (!cv_view_flags(view, seq, &row))
			return cv_err_set(err, CV_ERR_INTERNAL, "message %u of a fresh view is not there", seq);
		*(struct seen_message *)cv_vec_push(&box->messages) = (struct seen_message){ row.uid, row.modseq, flags_of(mailbox, &row) };
		if (row.modseq > box->highest)
			return cv_err_set(err, CV_ERR_INTERNAL, "message %u has modseq %llu, the mailbox only %llu", row.uid,
				(unsigned long long)row.modseq, (unsigned long long)box->highest);
	}
	return 1;
}

/* fn for each mailbox that is there, with a view and what is seen in it. */
typedef int seen_fn(void *ctx, const char *name, struct cv_view *view, struct seen_box *box);

static int each_box(struct cv_user *user, const char *const *names, size_t count, seen_fn *fn, void *ctx, struct cv_err *err)
{
	int ret = 1;

	for (size_t i = 0; ret > 0 && i < count; i++) {
		struct cv_mailbox *mailbox = NULL;
		struct cv_mailbox_info info;
		struct cv_view *view = NULL;
		struct seen_box box = { 0 };

		if (cv_mailbox_lookup(user, cv_str_c(names[i]), &info) == 0 || !info.exists)
			continue;
		ret = cv_mailbox_get(user, cv_str_c(names[i]), &mailbox, err);
		if (ret >= 0)
			ret = cv_view_open(mailbox, CV_VIEW_READONLY, &view, err);
		if (ret >= 0)
			ret = take_box(mailbox, view, &box, err);
		if (ret > 0)
			ret = fn(ctx, names[i], view, &box);
		cv_vec_free(&box.messages);
		cv_view_close(&view);
		cv_mailbox_unref(&mailbox);
	}
	return ret < 0 ? -1 : 1;
}

static int keep(void *ctx, const char *name, struct cv_view *view, struct seen_box *box)
{
	struct seen *seen = ctx;

	(void)name;
	(void)view;
	*(struct seen_box *)cv_vec_push(&seen->boxes) = *box;
	*box = (struct seen_box){ 0 };
	return 1;
}

int seen_take(struct cv_user *user, const char *const *names, size_t count, struct seen **seen_r, struct cv_err *err)
{
	*seen_r = cv_new0(struct seen);
	if (each_box(user, names, count, keep, *seen_r, err) > 0)
		return 1;
	seen_free(seen_r);
	return -1;
}

void seen_free(struct seen **seen_p)
{
	struct seen *seen = *seen_p;

	*seen_p = NULL;
	if (seen == NULL)
		return;
	for (size_t i = 0; i < seen->boxes.count; i++)
		cv_vec_free(&seen->boxes.data[i].messages);
	cv_vec_free(&seen->boxes);
	cv_free(seen);
}

static const struct seen_box *find_box(const struct seen *seen, uint32_t uidvalidity)
{
	for (size_t i = 0; i < seen->boxes.count; i++) {
		if (seen->boxes.data[i].uidvalidity == uidvalidity)
			return &seen->boxes.data[i];
	}
	return NULL;
}

uint64_t seen_highest(const struct seen *seen, uint32_t uidvalidity)
{
	const struct seen_box *box = find_box(seen, uidvalidity);

	return box != NULL ? box->highest : 0;
}

struct check {
	const struct seen *seen;
	struct cv_buf *why;
};

static void check_message(struct check *check, const char *name, const struct seen_box *before, const struct seen_message *was, const struct seen_message *is)
{
	if (is->modseq < was->modseq)
		cv_buf_printf(check->why, "%s: message %u had modseq %llu and has %llu\n", name, is->uid, (unsigned long long)was->modseq,
			(unsigned long long)is->modseq);
	if (is->flags != was->flags && is->modseq <= before->highest)
		cv_buf_printf(check->why, "%s: message %u has other flags and modseq %llu, which who knows of %llu does not hear of\n", name, is->uid,
			(unsigned long long)is->modseq, (unsigned long long)before->highest);
}

static int check_box(void *ctx, const char *name, struct cv_view *view, struct seen_box *now)
{
	struct check *check = ctx;
	const struct seen_box *before = find_box(check->seen, now->uidvalidity);
	struct cv_ranges vanished = { 0 };
	size_t was = 0;

	if (before == NULL)
		return 1;
	if (now->highest < before->highest)
		cv_buf_printf(check->why, "%s: HIGHESTMODSEQ was %llu and is %llu\n", name, (unsigned long long)before->highest,
			(unsigned long long)now->highest);
	(void)cv_view_vanished(view, before->highest, &vanished);
	for (size_t is = 0; is < now->messages.count || was < before->messages.count;) {
		const struct seen_message *old = was < before->messages.count ? &before->messages.data[was] : NULL;
		const struct seen_message *message = is < now->messages.count ? &now->messages.data[is] : NULL;

		if (old != NULL && (message == NULL || old->uid < message->uid)) {
			if (!cv_ranges_has(&vanished, old->uid))
				cv_buf_printf(check->why, "%s: message %u is gone, and VANISHED does not tell\n", name, old->uid);
			was++;
			continue;
		}
		cv_assert(message != NULL);
		if (cv_ranges_has(&vanished, message->uid))
			cv_buf_printf(check->why, "%s: message %u is told to be gone\n", name, message->uid);
		if (old != NULL && old->uid == message->uid) {
			check_message(check, name, before, old, message);
			was++;
		} else if (message->modseq <= before->highest) {
			cv_buf_printf(check->why, "%s: message %u is new, with modseq %llu though %llu was known\n", name, message->uid,
				(unsigned long long)message->modseq, (unsigned long long)before->highest);
		}
		is++;
	}
	cv_ranges_free(&vanished);
	return 1;
}

int seen_check(const struct seen *seen, struct cv_user *user, const char *const *names, size_t count, struct cv_buf *why, struct cv_err *err)
{
	struct check check = { seen, why };
	size_t before = why->len;

	if (each_box(user, names, count, check_box, &check, err) < 0)
		return -1;
	return why->len == before;
}
