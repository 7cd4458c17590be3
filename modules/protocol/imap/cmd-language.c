/* SPDX-License-Identifier: MIT
   LANGUAGE (RFC 5255 section 3). There is no NAMESPACE response behind it: the only namespace has no prefix, so there is none to translate. */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	unsigned language;

	switch (cv_imap_language_wish(cmd->args, s->set->imap_language, &language)) {
	case CV_IMAP_LANGUAGE_LIST:
		cv_imap_append_languages(imap_out(cmd));
		return imap_ok(cmd, NULL, "Languages are listed");
	case CV_IMAP_LANGUAGE_CHOSEN:
		cv_imap_append_language(imap_out(cmd), language);
		s->language = language;
		return imap_ok(cmd, NULL, "The language was changed");
	case CV_IMAP_LANGUAGE_NONE:
		return imap_no(cmd, NULL, "No language matches");
	case CV_IMAP_LANGUAGE_BAD:
		break;
	}
	return imap_bad(cmd, "LANGUAGE takes language ranges");
}

const struct cv_imap_command imap_cmd_language = { .verb = "LANGUAGE", .opts = CV_IMAP_LOGGED_IN, .run = run };
