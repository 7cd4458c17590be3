/* SPDX-License-Identifier: MIT
   The imap module: IMAP4rev1 sessions in the user's worker. */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-texts.h"

static const struct cv_settings_table *const settings[] = { &imap_settings_table, NULL };

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	if (cv_provide_session(reg, &imap_session_protocol, err) < 0 || cv_provide_session(reg, &imap_urlauth_protocol, err) < 0)
		return -1;
	return cv_provide_text_maker(reg, &cv_imap_texts, err);
}

CV_MODULE(imap) = {
	CV_MODULE_ABI,
	.name = "imap",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_WORKER,
	.settings = settings,
	.load = load,
};
