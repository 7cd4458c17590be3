/* SPDX-License-Identifier: MIT
   The header fields that a parse record keeps before others. */
#include <config.h>

#include "core/message/record-private.h"

/* What mail programs ask for when they list a mailbox, and what filters and threads need. Indexes are in the records: never
   change one without a new version; add at the end. An absent field costs nothing and is still known to be absent. */
#define NAME(text) { .ptr = (text), .len = sizeof(text) - 1 }
static const struct cv_str names[] = {
	NAME("received"), NAME("date"), NAME("from"), NAME("to"), NAME("cc"), NAME("bcc"), NAME("reply-to"),
	NAME("sender"), NAME("subject"), NAME("message-id"), NAME("in-reply-to"), NAME("references"),
	NAME("content-type"), NAME("mime-version"), NAME("content-transfer-encoding"), NAME("content-disposition"),
	NAME("content-description"), NAME("content-language"), NAME("importance"), NAME("x-priority"),
	NAME("priority"), NAME("x-msmail-priority"), NAME("list-") /* all that begin so */, NAME("newsgroups"),
	NAME("followup-to"), NAME("lines"), NAME("x-label"), NAME("x-original-to"), NAME("delivered-to"),
	NAME("return-path"), NAME("disposition-notification-to"), NAME("mail-followup-to"), NAME("mail-reply-to"),
	NAME("x-draft-info"), NAME("x-mozilla-draft-info"), NAME("x-mozilla-keys"), NAME("x-mozilla-status"),
	NAME("x-mozilla-status2"), NAME("x-uniform-type-identifier"), NAME("x-universally-unique-identifier"),
	NAME("x-mailing-list"), NAME("x-loop"), NAME("auto-submitted"), NAME("precedence"), NAME("x-spam-flag"),
	NAME("x-spam-status"), NAME("x-spam-level"), NAME("x-k9mail-identity"), NAME("chat-version"),
	NAME("thread-topic"), NAME("x-identity-key"), NAME("x-account-key"), NAME("x-forwarded-message-id"),
	NAME("x-gm-labels")
};
_Static_assert(CV_COUNT_OF(names) <= 64, "indexes are bits of 64");

int cv_record_kept_name(struct cv_str name)
{
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		const struct cv_str *kept = &names[i];

		if (kept->ptr[kept->len - 1] == '-' ? cv_str_casestarts(name, *kept) : name.len == kept->len && cv_str_caseeq(name, *kept))
			return (int)i;
	}
	return -1;
}

/* FNV-1a of the name in lower case; it is in the records and so never another. */
uint64_t cv_record_name_bit(struct cv_str name)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		hash = (hash ^ (c >= 'A' && c <= 'Z' ? c + 32u : c)) * 16777619u;
	}
	return UINT64_C(1) << (hash >> 26);
}
