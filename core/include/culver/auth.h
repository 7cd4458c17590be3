/* SPDX-License-Identifier: MIT
   Auth modules: password databases, user databases, SASL mechanisms and password schemes. They run in auth or one of its helpers. */
#ifndef CV_AUTH_H
#define CV_AUTH_H

#include <culver/map.h>
#include <culver/module.h>

/* One authentication. Strings live in its arena (a wiping one). */
struct cv_auth_request {
	struct cv_arena *arena;
	struct cv_str user;          /* as normalised by auth_username_format; a passdb may change it (field "user") */
	struct cv_str orig_user;     /* as the client gave it */
	struct cv_str master_user;   /* user*master logins; absent */
	struct cv_str service;       /* "imap", "pop3", "lmtp", "smtp" … */
	struct cv_str mech;          /* SASL mechanism */
	struct cv_str session;
	struct cv_str remote, local; /* addresses as text; absent for local sockets */
	uint32_t remote_port, local_port;
	struct cv_str local_name;    /* SNI */
	bool secured;                /* TLS, or local */
	bool cert_valid;             /* verified client certificate; its name in cert_user */
	struct cv_str cert_user;
	bool userdb_only;            /* a look-up without password (LMTP, culver user) */
	const struct cv_conf *conf;
	/* Results. Fields of passdb and userdb: name to C string in arena. */
	struct cv_map *fields;
	uint32_t sysuid, sysgid;
	bool sysuid_set, sysgid_set;
	struct cv_str home;          /* absent: none */
	struct cv_str mail;          /* mail_location of this user; absent: the setting */
	struct cv_str login_user;    /* while a master passdb is asked about the master (in user): whom the master wants to be */
	struct cv_str sysuid_name, sysgid_name; /* a system user's or group's name whose id is yet to be asked for (sysuid_set is true, sysuid not yet right);
	                                           who sets the id makes the name absent */
	struct cv_map *passdb_fields; /* what the passdbs gave, while the userdbs are asked (fields is the userdbs' then); may be NULL */
};

enum cv_auth_result {
	CV_AUTH_OK = 1,
	CV_AUTH_NOUSER,     /* the next database is asked */
	CV_AUTH_MISMATCH,   /* wrong password: the next passdb is asked */
	CV_AUTH_DISABLED,   /* known and refused: ends it. err's code CV_ERR_EXPIRED: the password was right once; else the account is disabled */
	CV_AUTH_TEMP        /* could not tell: ends it as temporary failure, never as wrong password */
};

/* Keys that any [passdb]/[userdb] section has, filled by the server. */
struct cv_authdb_config {
	const char *name;      /* of the section */
	const char *args;
	const struct cv_conf *conf;
	struct cv_arena *arena; /* lives as long as the instance */
};

enum cv_authdb_opts {
	CV_AUTHDB_BLOCKING = 1, /* may wait (PAM, NSS, network): runs in a helper process, one request at a time */
	CV_AUTHDB_ROOT = 2,     /* the helper keeps root's rights (pam_unix reads shadow) */
	CV_AUTHDB_NOCACHE = 4,  /* answers depend on more than the request: cached only when the args hold cache_key= */
	CV_AUTHDB_ANY_USER = 8  /* userdb: answers for every name. A look-up without a password asks the passdbs whether the user exists,
	                           unless the field "allow_all_users" was set. */
};

/* Words that the server takes out of any args before open sees them: blocking=yes|no (over opts), cache_key=…, max_requests=N (the
   helper ends after so many; 0: never). */

struct cv_passdb {
	const char *name; /* driver */
	unsigned opts;
	/* Make an instance of args, or tell what is wrong with them. Reads no file and connects to nothing: the master and the culver command call it to check
	   settings. */
	int (*open)(const struct cv_authdb_config *config, void **db_r, struct cv_err *err);
	void (*close)(void *db);
	/* Check a password. May set request->user and fields. err is for the log. */
	enum cv_auth_result (*verify)(void *db, struct cv_auth_request *request, struct cv_str password, struct cv_err *err);
	/* The stored credential with its {SCHEME}, for mechanisms that need it (SCRAM) and for look-ups without a password; NULL when this
	   database cannot. When there is one, the server calls it instead of verify, and does the hashing itself in a helper. *stored_r
	   absent: the user exists, but has no password (then only the field "nopassword" lets anyone in). */
	enum cv_auth_result (*lookup)(void *db, struct cv_auth_request *request, struct cv_str *stored_r, struct cv_err *err);
	unsigned max_requests; /* default of the argument of that name */
};

struct cv_userdb {
	const char *name;
	unsigned opts;
	int (*open)(const struct cv_authdb_config *config, void **db_r, struct cv_err *err);
	void (*close)(void *db);
	/* Fill sysuid, sysgid, home, mail, fields. */
	enum cv_auth_result (*lookup)(void *db, struct cv_auth_request *request, struct cv_err *err);
	/* All users, for administrators. NULL when it cannot. fn's -1 ends it. */
	int (*iterate)(void *db, int (*fn)(void *ctx, struct cv_str user), void *ctx, struct cv_err *err);
};

/* SASL. A mechanism is a state machine of client response -> challenge (RFC 4422). */
enum cv_sasl_opts {
	CV_SASL_PLAINTEXT = 1, /* sends the password: refused without TLS when disable_plaintext_auth */
	CV_SASL_CERT = 2,      /* needs a verified client certificate */
	CV_SASL_OWN = 4,       /* one protocol's own way to log in (APOP), no SASL mechanism: never offered as one, begun by cv_login_auth_own only */
	CV_SASL_STORED = 8     /* needs the stored credential: there only when a passdb can look one up */
};
enum cv_sasl_step {
	CV_SASL_CONTINUE = 1, /* challenge_r is sent */
	CV_SASL_VERIFY,       /* user and password are known: the passdbs verify (password_r) */
	CV_SASL_LOOKUP,       /* the stored credential is needed; step is called again with it as response */
	CV_SASL_SUCCESS,      /* proven by the mechanism itself (SCRAM, EXTERNAL) */
	CV_SASL_FAIL          /* wrong, or malformed: err says which */
};
struct cv_sasl_mech {
	const char *name; /* upper case */
	unsigned opts;
	/* New exchange; state in request->arena. */
	void *(*start)(struct cv_auth_request *request);
	/* response absent: the client sent no initial response. Sets request->user (and master_user). challenge_r and password_r in request->arena. */
	enum cv_sasl_step (*step)(void *state, struct cv_auth_request *request, struct cv_str response, struct cv_str *challenge_r,
		struct cv_str *password_r, struct cv_err *err);
};

/* Password schemes: {NAME}data. */
struct cv_pass_scheme {
	const char *name; /* upper case, e.g. "SHA512-CRYPT" */
	unsigned opts;
#define CV_SCHEME_PLAINTEXT_STORED 1u
#define CV_SCHEME_FAST 2u   /* takes microseconds: not worth a helper */
#define CV_SCHEME_BASE64 4u /* stored form is base64, or … */
#define CV_SCHEME_HEX 8u    /* … hex of octets: verify gets, and generate gives, the octets themselves */
	/* 1 matches, 0 does not, -1 data is malformed or the scheme failed. data is behind the {SCHEME} prefix, and decoded when the
	   name had a suffix ".b64", ".base64" or ".hex" or the scheme has CV_SCHEME_BASE64 or _HEX. */
	int (*verify)(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err);
	/* A new stored form (without prefix) with fresh salt; rounds 0: default. NULL: cannot make (old schemes). */
	int (*generate)(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err);
	size_t octets; /* _BASE64 and _HEX: length of all data (no salt), so that the other encoding is known by its length; 0: varies */
};
/* Verify against "{SCHEME}data" or, without a prefix, default_scheme (which may have an encoding suffix too). Same results; an unknown
   scheme is -1. Scheme names compare without case. */
CV_EXPORT CV_MUST_CHECK int cv_password_verify(const struct cv_registry *reg, struct cv_str password, struct cv_str user, struct cv_str stored,
	const char *default_scheme, struct cv_err *err);
/* "{SCHEME}data" with fresh salt, in the encoding that scheme names ("SSHA.hex"). out is best a wiping buffer. */
CV_EXPORT CV_MUST_CHECK int cv_password_generate(const struct cv_registry *reg, const char *scheme, struct cv_str password, struct cv_str user,
	unsigned rounds, struct cv_buf *out, struct cv_err *err);
/* The scheme that would verify stored, and whether verifying is quick; false when there is none of that name. */
CV_EXPORT bool cv_password_scheme(const struct cv_registry *reg, struct cv_str stored, const char *default_scheme, struct cv_str *name_r,
	bool *fast_r);

/* A field of the database being asked (key and value are copied; a value with a NUL is cut there). "key:protected" sets only what is not yet
   set, "key:remove" removes. */
CV_EXPORT void cv_auth_field_set(struct cv_auth_request *request, struct cv_str key, struct cv_str value);
CV_EXPORT const char *cv_auth_field(const struct cv_auth_request *request, const char *key); /* NULL when absent */
CV_EXPORT void cv_auth_field_remove(struct cv_auth_request *request, struct cv_str key);
/* A field of a userdb: uid and gid (numbers, or names, whose numbers are asked for later), home and mail go to their members, others to fields. -1: no value for
   it. */
CV_EXPORT CV_MUST_CHECK int cv_auth_userdb_set(struct cv_auth_request *request, struct cv_str key, struct cv_str value, struct cv_err *err);
/* Ask the system for the ids behind sysuid_name and sysgid_name, which may take long: never in the auth process itself. -1: there is no such user or group, or it
   could not be asked. */
CV_EXPORT CV_MUST_CHECK int cv_auth_resolve_ids(struct cv_auth_request *request, struct cv_err *err);
/* Call fn for each "key=value" of a list separated by spaces, value expanded by cv_auth_expand ("key" alone has the value "yes"). Ends at
   the first -1. Used for default_fields, override_fields and args. */
CV_EXPORT CV_MUST_CHECK int cv_auth_fields_each(const struct cv_auth_request *request, const char *list,
	int (*fn)(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err), void *ctx, struct cv_err *err);
/* Expand %variables of the request (user, service, addresses, %{passdb:field} …) in text into out. */
CV_EXPORT CV_MUST_CHECK int cv_auth_expand(const struct cv_auth_request *request, const char *text, struct cv_buf *out, struct cv_err *err);

static inline int cv_provide_passdb(struct cv_registry *reg, const struct cv_passdb *p, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_PASSDB, p->name, p, sizeof(*p), err);
}
static inline int cv_provide_userdb(struct cv_registry *reg, const struct cv_userdb *p, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_USERDB, p->name, p, sizeof(*p), err);
}
static inline int cv_provide_sasl(struct cv_registry *reg, const struct cv_sasl_mech *p, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_SASL, p->name, p, sizeof(*p), err);
}
static inline int cv_provide_pass_scheme(struct cv_registry *reg, const struct cv_pass_scheme *p, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_PASS_SCHEME, p->name, p, sizeof(*p), err);
}

#endif
