/* SPDX-License-Identifier: MIT
   The header fields that a parse record keeps. */
#include <config.h>

#include "core/message/record-private.h"

/* What mail programs ask for when they list a mailbox, and what filters and threads need. Indexes are in the records: never
   change one without a new version; add at the end. An absent field costs nothing and is still known to be absent. */
static const char *const names[] = { "received", "date", "from", "to", "cc", "bcc", "reply-to", "sender", "subject",
	"message-id", "in-reply-to", "references", "content-type", "mime-version", "content-transfer-encoding",
	"content-disposition", "content-description", "content-language", "importance", "x-priority", "priority",
	"x-msmail-priority", "list-" /* all that begin so */, "newsgroups", "followup-to", "lines", "x-label", "x-original-to",
	"delivered-to", "return-path", "disposition-notification-to", "mail-followup-to", "mail-reply-to", "x-draft-info",
	"x-mozilla-draft-info", "x-mozilla-keys", "x-mozilla-status", "x-mozilla-status2", "x-uniform-type-identifier",
	"x-universally-unique-identifier", "x-mailing-list", "x-loop", "auto-submitted", "precedence", "x-spam-flag",
	"x-spam-status", "x-spam-level", "x-k9mail-identity", "chat-version", "thread-topic", "x-identity-key",
	"x-account-key", "x-forwarded-message-id", "x-gm-labels" };
_Static_assert(CV_COUNT_OF(names) <= 64, "indexes are bits of 64");

int cv_record_kept_name(struct cv_str name)
{
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		struct cv_str kept = cv_str_c(names[i]);

		if (kept.ptr[kept.len - 1] == '-' ? cv_str_casestarts(name, kept) : cv_str_caseeq(name, kept))
			return (int)i;
	}
	return -1;
}
