/* SPDX-License-Identifier: MIT
   The state file: any octets are refused and leave nothing, or give a tree that holds together. The checksum is made to fit first. */
#include <config.h>

#include "core/store/store-private.h"
#include "t/fuzz/fuzz.h"

#define HEAD 24

static void fit(char *octets, size_t len)
{
	uint32_t crc;

	if (len < HEAD)
		return;
	for (unsigned i = 0; i < 8; i++)
		octets[16 + i] = (char)(uint8_t)((uint64_t)(len - HEAD) >> (8 * i));
	crc = cv_crc32c(cv_crc32c(0, octets + 8, 4), octets + HEAD, len - HEAD);
	for (unsigned i = 0; i < 4; i++)
		octets[12 + i] = (char)(uint8_t)(crc >> (8 * i));
}

/* Names ascend without case; their octets and values'. */
static uint64_t check_annotations(const struct cv_annotations *annotations)
{
	uint64_t octets = 0;

	for (size_t i = 0; i < annotations->list.count; i++) {
		const struct cv_stored_annotation *a = &annotations->list.data[i];

		octets += a->name_len + a->value_len;
		for (size_t j = 0; j < i && annotations->list.count < 50; j++)
			fuzz_check(!cv_str_caseeq(cv_str_mem(a->octets, a->name_len),
				cv_str_mem(annotations->list.data[j].octets, annotations->list.data[j].name_len)));
	}
	return octets;
}

static void check_tree(struct cv_user *user)
{
	size_t boxes = 0;
	uint64_t octets = check_annotations(&user->annotations);

	for (size_t i = 0; i < user->names.count; i++) {
		struct cv_name *name = user->names.data[i];

		fuzz_check(name->len > 0 && cv_tree_find(user, cv_name_str(name)) == name);
		if (name->mailbox == NULL)
			continue;
		boxes++;
		fuzz_check(name->mailbox->name == name && cv_mailbox_by_guid(user, &name->mailbox->guid) == name->mailbox);
		fuzz_check(name->mailbox->uidnext > 0);
		octets += check_annotations(&name->mailbox->annotations);
	}
	fuzz_check(octets == user->annotation_octets);
	fuzz_check(boxes == cv_map_count(user->mailboxes));
	(void)cv_journal_keep_seq(user);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_user *user = cv_new0(struct cv_user);
	struct cv_state_info info;
	struct cv_err err = { 0 };
	char *octets = cv_malloc(size + 1);

	memcpy(octets, data, size);
	fit(octets, size);
	user->index_dir = -1;
	user->names_by_text = cv_map_new();
	user->mailboxes = cv_map_new();
	user->annotations.total = &user->annotation_octets;
	cv_journal_init(&user->journal, -1, CV_FSYNC_NEVER, 1, 0600);
	if (cv_state_parse(user, cv_str_mem(octets, size), &info, &err) > 0)
		fuzz_check(info.end.offset >= CV_SEGMENT_HEAD && user->journal.seq >= user->state_seq);
	else
		fuzz_check((err.code == CV_ERR_CORRUPT || err.code == CV_ERR_UNSUPPORTED) && user->names.count == 0);
	check_tree(user);
	cv_tree_free(user);
	cv_annotations_clear(&user->annotations);
	fuzz_check(user->annotation_octets == 0);
	cv_map_free(&user->mailboxes);
	cv_journal_deinit(&user->journal);
	cv_vec_free(&user->work);
	cv_vec_free(&user->owed);
	cv_free(user);
	cv_free(octets);
	return 0;
}
