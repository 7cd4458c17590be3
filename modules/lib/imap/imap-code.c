/* SPDX-License-Identifier: MIT
   Response codes for errors: the one table of each. */
#include <config.h>

#include "imap-code.h"

const char *cv_imap_code(enum cv_err_code code)
{
	switch (code) {
	case CV_ERR_NONE:
	case CV_ERR_AUTH:
	case CV_ERR_EXPIRED:
	case CV_ERR_AUTHZ:
		return NULL;
	case CV_ERR_TEMP:
	case CV_ERR_UNAVAILABLE:
		return "UNAVAILABLE";
	case CV_ERR_PERM:
		return "NOPERM";
	case CV_ERR_NOTFOUND:
		return "NONEXISTENT";
	case CV_ERR_EXISTS:
		return "ALREADYEXISTS";
	case CV_ERR_NOQUOTA:
		return "OVERQUOTA";
	case CV_ERR_LIMIT:
		return "LIMIT";
	case CV_ERR_INUSE:
		return "INUSE";
	case CV_ERR_INVALID:
	case CV_ERR_UNSUPPORTED:
		return "CANNOT";
	case CV_ERR_EXPUNGED:
		return "EXPUNGEISSUED";
	case CV_ERR_CORRUPT:
		return "CORRUPTION";
	case CV_ERR_INTERNAL:
		return "SERVERBUG";
	}
	return NULL;
}

const char *cv_imap_login_code(enum cv_err_code code)
{
	switch (code) {
	case CV_ERR_NONE:
		return NULL;
	case CV_ERR_AUTH:
	case CV_ERR_NOTFOUND:
	case CV_ERR_INVALID:
		return "AUTHENTICATIONFAILED";
	case CV_ERR_EXPIRED:
		return "EXPIRED";
	case CV_ERR_AUTHZ:
		return "AUTHORIZATIONFAILED";
	case CV_ERR_PERM: /* disabled: only the administrator can help */
		return "CONTACTADMIN";
	case CV_ERR_LIMIT:
		return "LIMIT";
	case CV_ERR_INUSE: /* another server has the user's mail */
		return "INUSE";
	case CV_ERR_UNSUPPORTED:
		return "CANNOT";
	case CV_ERR_TEMP:
	case CV_ERR_UNAVAILABLE:
	case CV_ERR_EXISTS:
	case CV_ERR_NOQUOTA:
	case CV_ERR_EXPUNGED:
	case CV_ERR_CORRUPT:
	case CV_ERR_INTERNAL:
		return "UNAVAILABLE";
	}
	return NULL;
}
