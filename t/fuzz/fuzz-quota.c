/* SPDX-License-Identifier: MIT
   Quota rules, one a line: whatever is read, limits are sane, a rule that was refused has changed nothing, and a change within the limit is never refused. */
#include <config.h>

#include "plugins/quota/quota.h"
#include "t/fuzz/fuzz.h"

#include <culver/reader.h>

static void check_limits(const struct cv_quota_rules *rules, struct cv_str mailbox)
{
	struct cv_quota_grace grace = { 0 };
	struct cv_quota_change change = { 0 };
	struct cv_quota_limits limits;
	bool storage;

	cv_quota_limits_of(rules, mailbox, &limits);
	fuzz_check(!limits.ignored || (!limits.storage_limited && !limits.messages_limited));
	fuzz_check(limits.storage_limited || limits.storage == 0);
	fuzz_check(limits.messages_limited || limits.messages == 0);
	change.storage_in = limits.storage;
	change.messages_in = limits.messages;
	cv_quota_change_target(&change, &limits);
	fuzz_check(cv_quota_change_check(&change, 0, 0, &grace, &storage) == 0);
	change.storage_in = change.messages_in = UINT64_MAX;
	fuzz_check(cv_quota_change_check(&change, 1, 1, &grace, &storage) ==
		((limits.storage_limited && limits.storage != UINT64_MAX) || (limits.messages_limited && limits.messages != UINT64_MAX) ? -1 : 0));
}

static bool same_limits(const struct cv_quota_rules *a, const struct cv_quota_rules *b, struct cv_str mailbox)
{
	struct cv_quota_limits la, lb;

	cv_quota_limits_of(a, mailbox, &la);
	cv_quota_limits_of(b, mailbox, &lb);
	return la.ignored == lb.ignored && la.storage_limited == lb.storage_limited && la.messages_limited == lb.messages_limited &&
		la.storage == lb.storage && la.messages == lb.messages;
}

static void check_unchanged(const struct cv_quota_rules *rules, const struct cv_quota_rules *before, struct cv_str line)
{
	fuzz_check(rules->count == before->count && rules->ignore == before->ignore && rules->ignores == before->ignores &&
		rules->most.mailboxes == before->most.mailboxes && rules->most.annotations == before->most.annotations && rules->fallback_only == before->fallback_only);
	fuzz_check(same_limits(rules, before, CV_STR("INBOX")) && same_limits(rules, before, line));
	for (size_t i = 0; i < rules->count; i++)
		fuzz_check(same_limits(rules, before, rules->list[i].mask));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_reader input = cv_reader_init(cv_str_mem(data, size));
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_quota_rules *rules = cv_new(arena, struct cv_quota_rules, 1), *before = cv_new(arena, struct cv_quota_rules, 1);
	struct cv_quota_grace grace;
	struct cv_quota_root root;
	struct cv_str line;

	while (cv_take_line(&input, &line)) {
		*before = *rules;
		if (cv_quota_rule_add(rules, arena, '.', line, NULL) < 0)
			check_unchanged(rules, before, line);
		fuzz_check(rules->count <= CV_QUOTA_RULES_MAX);
		for (size_t i = 0; i < rules->count; i++)
			check_limits(rules, rules->list[i].mask);
		check_limits(rules, CV_STR("INBOX"));
		check_limits(rules, line);
		if (cv_quota_grace_parse(line, &grace, NULL) == 0)
			fuzz_check(cv_quota_grace_of(&grace, 0) == (grace.percent ? 0 : grace.n));
		if (cv_quota_root_parse(line, &root, NULL) == 0)
			fuzz_check(cv_str_find(root.name, '\n') == SIZE_MAX);
	}
	cv_arena_free(&arena);
	return 0;
}
