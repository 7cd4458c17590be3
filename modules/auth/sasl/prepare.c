/* SPDX-License-Identifier: MIT
   Names and passwords as they are compared (RFC 4616 section 2, RFC 4013). */
#include <config.h>

#include "modules/auth/sasl/sasl.h"

#include "modules/lib/saslprep/saslprep.h"

#include <culver/log.h>
#include <culver/settings.h>

struct sasl_settings {
	bool auth_saslprep;
};

static const struct cv_setting rows[] = {
	CV_SETTING_SASLPREP(sasl_settings),
};

const struct cv_settings_table sasl_settings_table = CV_SETTINGS_TABLE(NULL, "Names and passwords", sasl_settings, rows, NULL);

bool sasl_prepares(const struct cv_auth_request *request)
{
	const void *set;
	struct cv_err err = { 0 };

	if (request->conf == NULL)
		return false;
	if (cv_conf_get(request->conf, &sasl_settings_table, NULL, request->arena, &set, &err) < 0)
		cv_fatal("settings that were checked cannot be read: %s", err.text);
	return ((const struct sasl_settings *)set)->auth_saslprep;
}

/* What SASLprep leaves as it is. */
static bool is_plain(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return false;
	return cv_str_is_ascii(s);
}

int sasl_prepare(struct cv_auth_request *request, struct cv_str *s, struct cv_err *err)
{
	return is_plain(*s) || !sasl_prepares(request) ? 0 : cv_saslprep_query(request->arena, *s, s, err);
}
