/* SPDX-License-Identifier: MIT
   SASL mechanisms: how a client proves who it is. */
#include <config.h>

#include "modules/auth/sasl/sasl.h"

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	const struct cv_sasl_mech *mechs[] = { &sasl_plain, &sasl_login, &sasl_external, &sasl_apop, &sasl_scram_sha1,
		&sasl_scram_sha256 };

	(void)role;
	for (size_t i = 0; i < CV_COUNT_OF(mechs); i++)
		if (cv_provide_sasl(reg, mechs[i], err) < 0)
			return -1;
	return 0;
}

static const struct cv_settings_table *const tables[] = { &sasl_settings_table, NULL };

CV_MODULE(sasl) = {
	CV_MODULE_ABI,
	.name = "sasl",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_AUTH,
	.roles = CV_ROLE_MASTER | CV_ROLE_AUTH,
	.settings = tables,
	.load = load,
};
