/* SPDX-License-Identifier: MIT
   The acl plugin: a user's lists in memory, and where they are kept. */
#ifndef CV_PLUGIN_ACL_H
#define CV_PLUGIN_ACL_H

#include "acl-list.h"

#include <culver/acl.h>
#include <culver/admin.h>
#include <culver/settings.h>

struct acl_settings {
	const char *acl;
	const char *acl_global;
	bool acl_globals_only;
	unsigned acl_anyone;
};
enum { ACL_ANYONE_DENY, ACL_ANYONE_ALLOW };
extern const struct cv_settings_table acl_settings_table;
/* What administrators say for all users; in arena, acl_list_free. */
CV_MUST_CHECK int acl_global_parse(const struct acl_settings *set, struct cv_arena *arena, struct acl_list *list_r, struct cv_err *err);

/* A mailbox as far as it is in memory. */
struct acl_box {
	struct acl_list list;
	bool listed;         /* it has a list, which may be empty */
	struct cv_str name;  /* that rights are for; absent: not worked out */
	unsigned rights;
};

/* Of one user, made at first use. */
struct acl_user {
	struct cv_user *user;
	struct cv_arena *arena;
	const struct acl_settings *set;
	struct acl_who who;
	struct acl_list global;
	struct cv_arena *cache; /* of boxes */
	struct cv_map *boxes;   /* by GUID: struct acl_box */
	struct cv_annotation_watch *watch;
	bool stale;             /* a list was changed: boxes are read anew */
};
/* Boxes of an earlier call may be gone. */
CV_MUST_CHECK int acl_user_get(struct cv_user *user, struct acl_user **acl_r, struct cv_err *err);
void acl_user_free(struct cv_user *user);
/* Forget what is in memory, if anything is. */
void acl_user_forget(struct cv_user *user);
CV_MUST_CHECK int acl_box_get(struct acl_user *acl, const uint8_t *guid, struct acl_box **box_r, struct cv_err *err);

/* ---- Where lists are kept (acl-store.c) ------------------------------------------------------------------ */

/* Is it the annotation that lists are in? */
bool acl_is_entry(struct cv_str annotation);
/* The text of a mailbox's list, appended to out: what was set, or else Dovecot's file. 1; 0 when there is none. */
CV_MUST_CHECK int acl_load(struct cv_mailbox *mailbox, struct cv_buf *out, struct cv_err *err);
/* Durable on return. */
CV_MUST_CHECK int acl_save(struct cv_mailbox *mailbox, struct cv_str text, struct cv_err *err);

/* ---- Changes (acl-service.c) ----------------------------------------------------------------------------- */

extern const struct cv_acl_service acl_service_functions;
/* As the service's set and remove. administrator: what users may not do is allowed. acl_delete: 0 when there is no such entry. */
CV_MUST_CHECK int acl_change(struct cv_user *user, struct cv_str mailbox, const struct acl_entry *entry, enum cv_acl_change how, unsigned rights,
	bool administrator, struct cv_err *err);
CV_MUST_CHECK int acl_delete(struct cv_user *user, struct cv_str mailbox, const struct acl_entry *entry, bool administrator, struct cv_err *err);

/* ---- culver acl (acl-admin.c) ---------------------------------------------------------------------------- */

CV_MUST_CHECK int acl_provide_admin(struct cv_registry *reg, struct cv_err *err);

/* Taken in load. */
extern unsigned acl_user_slot;

#endif
