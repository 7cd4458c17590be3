/* SPDX-License-Identifier: MIT
   IMAP URLs: what is accepted stays within its own text, and a mailbox that is encoded comes back. */
#include <config.h>

#include <culver/buf.h>

#include "modules/lib/imap/imap-url.h"
#include "t/fuzz/fuzz.h"

static void check_section(struct cv_arena *arena, const struct cv_imap_url *url)
{
	struct cv_imap_section section;
	struct cv_err err = { 0 };

	if (url->uid == 0 || cv_imap_url_section(arena, url, &section, &err) < 0)
		return;
	fuzz_check(section.kind == CV_IMAP_SECTION_BODY && section.peek && section.partial == url->partial);
	fuzz_check(section.path_len <= CV_IMAP_SECTION_DEPTH_MAX);
	fuzz_check(url->section.ptr != NULL || (section.path_len == 0 && section.text == CV_IMAP_SECTION_ALL));
}

static void check_mailbox(struct cv_arena *arena, struct cv_str mailbox)
{
	struct cv_imap_url again;
	struct cv_err err = { 0 };
	struct cv_buf text;
	size_t len;

	fuzz_check(!cv_str_has_nul(mailbox) && mailbox.len > 0);
	cv_buf_init(&text, SIZE_MAX / 2);
	cv_imap_url_append_mailbox(&text, mailbox);
	len = text.len;
	cv_buf_append_c(&text, "/;UID=7/;SECTION=1/;PARTIAL=3.4");
	/* Dots and slashes at the ends of segments mean something of their own in a path. */
	if (len + 64 < CV_IMAP_URL_MAX && cv_str_find(mailbox, '.') == SIZE_MAX && cv_str_find(mailbox, '/') == SIZE_MAX) {
		struct cv_str url = cv_str_c(cv_arena_printf(arena, "/%s", text.data));

		fuzz_check(cv_imap_url_parse(arena, url, CV_STR("x"), &again, &err) == 0);
		fuzz_check(cv_str_eq(again.mailbox, mailbox) && again.uid == 7 && again.partial && again.offset == 3 && again.length == 4);
	}
	cv_buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_str input = cv_str_mem(data, size);
	struct cv_imap_url url;
	struct cv_err err = { 0 };

	if (cv_imap_url_parse(arena, input, size % 2 == 0 ? CV_STR("some/mailbox") : cv_str_c(NULL), &url, &err) == 0) {
		fuzz_check(input.len <= CV_IMAP_URL_MAX && (url.uid == 0 || url.mailbox.ptr != NULL));
		fuzz_check(url.rump.ptr == NULL || (url.mechanism.ptr != NULL && url.token.len >= 32 && cv_str_starts(input, url.rump)));
		check_section(arena, &url);
		if (url.mailbox.ptr != NULL)
			check_mailbox(arena, url.mailbox);
	} else {
		fuzz_check(err.public_text && err.text[0] != '\0');
	}
	cv_arena_free(&arena);
	return 0;
}
