/* SPDX-License-Identifier: MIT
   Access control lists: what is read and written is read again as the same, an identifier goes to IMAP's form and back, and nobody gets rights that no
   line gives. */
#include <config.h>

#include "plugins/acl/acl-list.h"
#include "t/fuzz/fuzz.h"

static void write(const struct acl_list *list, struct cv_buf *out)
{
	cv_buf_init(out, SIZE_MAX / 2);
	acl_list_write(list, out);
}

static void check_identifier(const struct acl_entry *entry)
{
	struct acl_entry again;
	struct cv_err err = { 0 };
	struct cv_buf id;

	/* Names that begin like the other forms cannot be told from them. */
	if (entry->name.len > 0 && (entry->name.ptr[0] == '$' || entry->name.ptr[0] == '!' || entry->name.ptr[0] == '-'))
		return;
	if (cv_str_eq_c(entry->name, "owner") || cv_str_eq_c(entry->name, "anyone") || cv_str_eq_c(entry->name, "authenticated"))
		return;
	cv_buf_init(&id, SIZE_MAX / 2);
	acl_identifier_append(&id, entry);
	fuzz_check(acl_identifier_parse(cv_buf_str(&id), &again, &err) == 0);
	fuzz_check(again.kind == entry->kind && again.negative == entry->negative && cv_str_eq(again.name, entry->name));
	cv_buf_deinit(&id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cv_str groups[] = { CV_STR_INIT("team"), CV_STR_INIT("staff") };
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct acl_who who = { .name = CV_STR_INIT("anna"), .groups = groups, .group_count = 2, .owner = size % 2 == 0 };
	struct acl_list list, again, global;
	struct cv_err err = { 0 };
	struct cv_buf text, second;
	unsigned given = who.owner ? CV_RIGHT_ALL : 0, rights;

	acl_list_init(&list, arena);
	acl_list_init(&again, arena);
	acl_list_init(&global, arena);
	if (acl_list_parse(&global, cv_str_mem(data, size), true, &err) == 0)
		(void)acl_rights(NULL, &global, CV_STR("Archive/2026"), &who);
	if (acl_list_parse(&list, cv_str_mem(data, size), false, &err) == 0) {
		write(&list, &text);
		fuzz_check(acl_list_parse(&again, cv_buf_str(&text), false, &err) == 0);
		write(&again, &second);
		fuzz_check(cv_str_eq(cv_buf_str(&text), cv_buf_str(&second)));
		rights = acl_rights(&list, NULL, CV_STR("x"), &who);
		fuzz_check(rights == acl_rights(&again, NULL, CV_STR("x"), &who));
		for (size_t i = 0; i < list.entries.count; i++) {
			if (!list.entries.data[i].negative && acl_matches(&list.entries.data[i], &who))
				given |= list.entries.data[i].rights;
			check_identifier(&list.entries.data[i]);
		}
		fuzz_check((rights & ~given) == 0 && (rights & ~(unsigned)CV_RIGHT_ALL) == 0);
		fuzz_check(!who.owner || (rights & CV_RIGHT_ADMIN) != 0);
		cv_buf_deinit(&text);
		cv_buf_deinit(&second);
	} else {
		fuzz_check(err.text[0] != '\0');
	}
	acl_list_free(&list);
	acl_list_free(&again);
	acl_list_free(&global);
	cv_arena_free(&arena);
	return 0;
}
