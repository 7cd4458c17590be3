/* SPDX-License-Identifier: MIT
   The acl plugin's lists: what their files say, which rights come of them; and SASLprep, which identifiers go through. */
#include <config.h>

#include "modules/lib/saslprep/saslprep.h"
#include "plugins/acl/acl-list.h"
#include "t/lib/test.h"

#include <string.h>

#define RIGHTS(letters) rights_of(letters)

static unsigned rights_of(const char *letters)
{
	static const char all[] = "lrswipkxtean";
	unsigned rights = 0;

	for (; *letters != '\0'; letters++)
		rights |= 1u << (strchr(all, *letters) - all);
	return rights;
}

static void parse(struct acl_list *list, void **state, const char *text, bool global)
{
	struct cv_err err = { 0 };

	acl_list_init(list, *state);
	if (acl_list_parse(list, cv_str_c(text), global, &err) < 0)
		fail_msg("%s: %s", text, err.text);
}

static void lists_are_read_and_written(void **state)
{
	static const struct {
		const char *text, *written;
	} rows[] = {
		{ "", "" },
		{ "owner lrswipkxtean\n", "owner lrswipkxtean\n" },
		{ "# said\n\n  user=anna\tlr  \r\n", "user=anna lr\n" },
		{ "user=anna lr", "user=anna lr\n" },
		{ "anyone", "anyone \n" },
		{ "authenticated :lookup:read", "authenticated lr\n" },
		{ "group=a lr :write-seen:write:write-deleted:insert:post:expunge:create:delete:admin", "group=a lrswipkxtea\n" },
		{ "user=b cd\nanyone l", "anyone l\nuser=b kxte\n" },
		{ "-user=b w", "-user=b w\n" },
		{ "\"user=a b\" l", "\"user=a b\" l\n" },
		{ "\"user=a\\\"\\\\b\" l", "\"user=a\\\"\\\\b\" l\n" },
		{ "user=a\\b l", "user=a\\b l\n" },
		{ "\"-group-override=a b\" l\nuser=a l\nuser=a r", "user=a r\n\"-group-override=a b\" l\n" },
	};
	struct acl_list list;
	struct cv_buf out;

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		parse(&list, state, rows[i].text, false);
		cv_buf_init(&out, ACL_TEXT_MAX);
		acl_list_write(&list, &out);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].written));
		acl_list_free(&list);
		/* What is written is read again as it was. */
		parse(&list, state, rows[i].written, false);
		cv_buf_clear(&out);
		acl_list_write(&list, &out);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].written));
		acl_list_free(&list);
		cv_buf_deinit(&out);
	}
}

static void mistakes_are_told_with_their_line(void **state)
{
	static const struct {
		const char *text;
		bool global;
		const char *says;
	} rows[] = {
		{ "anyone lr\neveryone lr", false, "line 2: there is no identifier \"everyone\"" },
		{ "user= lr", false, "line 1: there is no identifier \"user=\"" },
		{ "- lr", false, "line 1: there is no identifier \"\"" },
		{ "\"user=a\tb\" lr", false, "line 1: identifiers are UTF-8 without control" },
		{ "owner lrz", false, "line 1: The z right" },
		{ "owner :look", false, "line 1: there is no right \"look\"" },
		{ "\"user=a lr", false, "line 1: an identifier is missing" },
		{ "user=a\xff lr", false, "line 1 is no valid UTF-8" },
		{ "Archive", true, "line 1: an identifier is missing" },
		{ "owner lr", true, "line 1: there is no identifier \"lr\"" },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		struct acl_list list;

		acl_list_init(&list, *state);
		assert_int_equal(acl_list_parse(&list, cv_str_c(rows[i].text), rows[i].global, &err), -1);
		assert_true(cv_str_starts(cv_str_c(err.text), cv_str_c(rows[i].says)));
		acl_list_free(&list);
	}
}

static void the_most_specific_entry_decides(void **state)
{
	static const struct {
		const char *local, *global, *mailbox;
		const char *owner;  /* rights of anna, whose mailbox it is; in groups staff and team */
		const char *other;  /* of bert, who is in group staff */
	} rows[] = {
		{ "", "", "x", "lrswipkxtean", "" },
		{ "anyone lr", "", "x", "lrswipkxtean", "lr" },
		{ "anyone lr\nauthenticated s", "", "x", "lrswipkxtean", "s" },
		{ "anyone lr\ngroup=staff w", "", "x", "lrswipkxtean", "w" },
		{ "group=staff lr\ngroup=team w\nowner s", "", "x", "sa", "lr" },
		{ "owner lr", "", "x", "lra", "" },
		{ "owner", "", "x", "a", "" },
		{ "owner lr\nuser=anna lrs", "", "x", "lrsa", "" },
		{ "user=bert lr\nanyone lrswi", "", "x", "lrswipkxtean", "lr" },
		{ "user=bert\nanyone lrswi", "", "x", "lrswipkxtean", "" },
		{ "user=bert lrs\ngroup-override=staff l", "", "x", "la", "l" },
		{ "group=team lr", "", "x", "lrswipkxtean", "" },
		/* Negative ones of all kinds add up; the owner keeps "a". */
		{ "-owner xa\n-anyone p\nuser=bert lrp", "", "x", "lrswikte" "an", "lr" },
		{ "-user=bert r\n-group=staff l\nanyone lrs", "", "x", "rswipkxtean", "s" },
		/* The administrator's go before all of these, where their pattern fits. */
		{ "owner lr", "Archive/* owner l", "x", "lra", "" },
		{ "owner lr", "Archive/* owner l", "Archive/x", "l", "" },
		{ "user=anna lrw", "* anyone lr", "x", "lr", "lr" },
		{ "", "* -owner x", "x", "lrswipktean", "" },
		{ "", "a* anyone l\n?b group=staff r\n\"c d\" owner s", "ab", "r", "r" },
		{ "", "a* anyone l\n?b group=staff r\n\"c d\" owner s", "c d", "s", "" },
		{ "", "a* user=bert l\na? user=bert r", "ab", "lrswipkxtean", "lr" },
	};
	static const struct cv_str groups[] = { CV_STR_INIT("staff"), CV_STR_INIT("team") };
	const struct acl_who anna = { .name = CV_STR_INIT("anna"), .groups = groups, .group_count = 2, .owner = true };
	const struct acl_who bert = { .name = CV_STR_INIT("bert"), .groups = groups, .group_count = 1 };

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct acl_list local, global;

		parse(&local, state, rows[i].local, false);
		parse(&global, state, rows[i].global, true);
		if (acl_rights(&local, &global, cv_str_c(rows[i].mailbox), &anna) != RIGHTS(rows[i].owner))
			fail_msg("row %zu: owner", i);
		if (acl_rights(&local, &global, cv_str_c(rows[i].mailbox), &bert) != RIGHTS(rows[i].other))
			fail_msg("row %zu: other", i);
		acl_list_free(&local);
		acl_list_free(&global);
	}
}

static void identifiers_go_there_and_back(void **state)
{
	static const struct {
		const char *text;
		enum acl_kind kind;
		bool negative;
		const char *name;
	} rows[] = {
		{ "anna", ACL_USER, false, "anna" },
		{ "-anna", ACL_USER, true, "anna" },
		{ "anyone", ACL_ANYONE, false, "" },
		{ "-anyone", ACL_ANYONE, true, "" },
		{ "authenticated", ACL_AUTHENTICATED, false, "" },
		{ "owner", ACL_OWNER, false, "" },
		{ "$team", ACL_GROUP, false, "team" },
		{ "-!$team", ACL_GROUP_OVERRIDE, true, "team" },
		{ "Anyone", ACL_USER, false, "Anyone" },
	};
	static const char *const wrong[] = { "", "-", "$", "-$", "!$", "--anna" };
	struct acl_entry entry;
	struct cv_err err = { 0 };
	struct cv_buf out;

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_int_equal(acl_identifier_parse(cv_str_c(rows[i].text), &entry, &err), 0);
		assert_int_equal(entry.kind, rows[i].kind);
		assert_int_equal(entry.negative, rows[i].negative);
		assert_str_eq(entry.name, cv_str_c(rows[i].name));
		cv_buf_init(&out, 100);
		acl_identifier_append(&out, &entry);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].text));
		cv_buf_deinit(&out);
	}
	for (size_t i = 0; i < CV_COUNT_OF(wrong); i++)
		assert_int_equal(acl_identifier_parse(cv_str_c(wrong[i]), &entry, &err), -1);
}

/* RFC 4013 section 3, and what its tables say. */
static void names_are_prepared(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: refused */
	} rows[] = {
		{ "I\xc2\xadX", "IX" },
		{ "user", "user" },
		{ "USER", "USER" },
		{ "\xc2\xaa", "a" },
		{ "\xe2\x85\xa8", "IX" },
		{ "\x07", NULL },
		{ "\xd8\xa7" "1", NULL },
		{ "\xd8\xa7" "1" "\xd8\xa8", "\xd8\xa7" "1" "\xd8\xa8" },
		{ "\xd7\x90" "a" "\xd7\x90", NULL },
		{ "a\xc2\xa0" "b", "a b" },
		{ "e\xcc\x81", "\xc3\xa9" },
		{ "", NULL },
		{ "\xc2\xad", NULL },
		{ "\xff", NULL },
		{ "a\xee\x80\x80", NULL },         /* private use */
		{ "a\xef\xbf\xbd", NULL },         /* U+FFFD */
		{ "a\xef\xb7\x90", NULL },         /* a noncharacter */
		{ "a\xe2\x80\x8e", NULL },         /* LEFT-TO-RIGHT MARK */
		{ "a\xe2\x80\x8b" "b", "ab" },     /* ZERO WIDTH SPACE */
		{ "a\xe2\x80\xa8", NULL },         /* LINE SEPARATOR */
		{ "a\xf3\xa0\x80\x81", NULL },     /* LANGUAGE TAG */
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		struct cv_str out;
		int ret = cv_saslprep(*state, cv_str_c(rows[i].in), &out, &err);

		if (ret != (rows[i].out == NULL ? -1 : 0))
			fail_msg("row %zu: %d", i, ret);
		if (ret == 0)
			assert_str_eq(out, cv_str_c(rows[i].out));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(lists_are_read_and_written),
		cv_test(mistakes_are_told_with_their_line),
		cv_test(the_most_specific_entry_decides),
		cv_test(identifiers_go_there_and_back),
		cv_test(names_are_prepared),
	};

	return cv_test_run(tests);
}
