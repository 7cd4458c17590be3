/* SPDX-License-Identifier: MIT
   Password schemes: what a stored "{SCHEME}data" is checked with. */
#include <config.h>

#include "modules/auth/schemes/schemes.h"

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	const struct scheme_table *tables[] = { &schemes_plain, &schemes_crypt, &schemes_digest, &schemes_pbkdf2, &schemes_argon2 };

	(void)role;
	for (size_t i = 0; i < CV_COUNT_OF(tables); i++)
		for (size_t j = 0; j < tables[i]->count; j++)
			if (cv_provide_pass_scheme(reg, &tables[i]->schemes[j], err) < 0)
				return -1;
	return 0;
}

CV_MODULE(schemes) = {
	CV_MODULE_ABI,
	.name = "schemes",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_AUTH,
	.roles = CV_ROLE_MASTER | CV_ROLE_AUTH | CV_ROLE_AUTH_HELPER | CV_ROLE_TOOL,
	.load = load,
};
