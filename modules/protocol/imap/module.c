/* SPDX-License-Identifier: MIT
   The imap module: IMAP4rev1 sessions in the user's worker. */
#include <config.h>

#include "imap-session.h"

static const struct cv_settings_table *const settings[] = { &imap_settings_table, NULL };

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_session(reg, &imap_session_protocol, err) < 0 ? -1 : cv_provide_session(reg, &imap_urlauth_protocol, err);
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
