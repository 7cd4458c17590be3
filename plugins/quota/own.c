/* SPDX-License-Identifier: MIT
   Limits that users set for themselves by SETQUOTA (RFC 9208): below those of the administrator, in an annotation of the user that no client sees. */
#include <config.h>

#include "plugins/quota/quota.h"
#include "plugins/quota/state.h"

#include <culver/mailbox.h>
#include <culver/quota.h>

#include <stdio.h>

/* Its value: octets, messages, mailboxes, octets of annotations in decimal, 0 for none; the last one may be absent. */
#define ENTRY CV_STR("quota/limits")
#define KILO UINT64_C(1024)

/* 0 is no limit. */
static uint64_t lower(uint64_t a, uint64_t b)
{
	return a == 0 ? b : b == 0 ? a : CV_MIN(a, b);
}

static void apply(struct quota_user *quota)
{
	quota->rules.most = (struct cv_quota_most){
		.storage = lower(quota->most.storage, quota->own.storage),
		.messages = lower(quota->most.messages, quota->own.messages),
		.mailboxes = lower(quota->most.mailboxes, quota->own.mailboxes),
		.annotations = lower(quota->most.annotations, quota->own.annotations),
	};
}

static bool take(struct cv_str *text, uint64_t *n_r)
{
	struct cv_str number;

	(void)cv_str_split(*text, ' ', &number, text);
	return cv_str_to_u64(number, INT64_MAX, n_r);
}

int quota_own_open(struct cv_user *user, struct quota_user *quota, struct cv_err *err)
{
	struct cv_annotation kept;

	quota->most = quota->rules.most;
	if (!quota->may_set || quota->rules.ignore || cv_annotation_get(user, NULL, ENTRY, &kept) == 0)
		return 0;
	if (!take(&kept.value, &quota->own.storage) || !take(&kept.value, &quota->own.messages) || !take(&kept.value, &quota->own.mailboxes) ||
		(kept.value.len > 0 && !take(&kept.value, &quota->own.annotations)) || kept.value.len > 0)
		return cv_err_set(err, CV_ERR_CORRUPT, "limits that the user set cannot be read");
	apply(quota);
	return 0;
}

/* One of the list into own, where nothing is yet. */
static int add(struct cv_quota_most *own, const struct cv_quota_most *most, const struct cv_quota_wish *wish, struct cv_err *err)
{
	const struct {
		const char *name;
		uint64_t *own, most, unit;
	} rows[] = {
		{ "STORAGE", &own->storage, most->storage, KILO },
		{ "MESSAGE", &own->messages, most->messages, 1 },
		{ "MAILBOX", &own->mailboxes, most->mailboxes, 1 },
		{ "ANNOTATION-STORAGE", &own->annotations, most->annotations, KILO },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		if (!cv_str_caseeq_c(wish->name, rows[i].name))
			continue;
		/* A limit of 0 is what no limit is in rules. */
		if (wish->limit == 0 || wish->limit > INT64_MAX / rows[i].unit || *rows[i].own != 0)
			return cv_err_set_public(err, CV_ERR_INVALID, "No such limit can be set");
		*rows[i].own = wish->limit * rows[i].unit;
		if (rows[i].most != 0 && *rows[i].own > rows[i].most)
			return cv_err_set_public(err, CV_ERR_PERM, "Limit is above that of the administrator");
		return 0;
	}
	return cv_err_set_public(err, CV_ERR_INVALID, "No such limit can be set");
}

static int keep(struct cv_user *user, const struct cv_quota_most *own, struct cv_err *err)
{
	struct cv_str value = { NULL, 0 };
	struct cv_txn *txn = cv_txn_begin(user);
	char text[96];

	if (cv_quota_most_any(own)) {
		(void)snprintf(text, sizeof(text), "%llu %llu %llu %llu", (unsigned long long)own->storage, (unsigned long long)own->messages,
			(unsigned long long)own->mailboxes, (unsigned long long)own->annotations);
		value = cv_str_c(text);
	}
	cv_txn_trust(txn);
	if (cv_txn_annotate(txn, NULL, ENTRY, value, err) < 0) {
		cv_txn_rollback(&txn);
		return -1;
	}
	return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 0;
}

int quota_own_set(struct cv_user *user, struct quota_user *quota, const struct cv_quota_wish *wishes, size_t count, struct cv_err *err)
{
	struct cv_quota_most own = { 0 };

	if (!quota->may_set || quota->rules.ignore)
		return cv_err_set_public(err, CV_ERR_PERM, "Limits are set by the administrator");
	for (size_t i = 0; i < count; i++)
		if (add(&own, &quota->most, &wishes[i], err) < 0)
			return -1;
	if (keep(user, &own, err) < 0)
		return -1;
	quota->own = own;
	apply(quota);
	return 1;
}
