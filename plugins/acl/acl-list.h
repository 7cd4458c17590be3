/* SPDX-License-Identifier: MIT
   Access control lists as Dovecot's files have them (dovecot-acl): reading, changing and writing them, and which rights come of them. No mailbox is
   known here. */
#ifndef CV_ACL_LIST_H
#define CV_ACL_LIST_H

#include <culver/mailbox.h>
#include <culver/map.h>

/* Lists longer than this are refused. */
#define ACL_TEXT_MAX ((size_t)16 * 1024)

/* Whom an entry is for, from the least to the most specific: a later kind goes before an earlier one. */
enum acl_kind {
	ACL_ANYONE = 1,     /* "anyone" */
	ACL_AUTHENTICATED,  /* "authenticated": the same, there is no anonymous user */
	ACL_GROUP,          /* "group=NAME" */
	ACL_OWNER,          /* "owner": whose mailbox it is */
	ACL_USER,           /* "user=NAME" */
	ACL_GROUP_OVERRIDE  /* "group-override=NAME": goes before users */
};

/* The word of a file for it; a name stands behind those that end with "=". */
const char *acl_kind_word(enum acl_kind kind);
static inline bool acl_kind_is_named(enum acl_kind kind)
{
	return kind == ACL_GROUP || kind == ACL_USER || kind == ACL_GROUP_OVERRIDE;
}

/* One line: identifier and rights, or with "-" before the identifier, rights that are taken away. */
struct acl_entry {
	enum acl_kind kind;
	bool negative;
	struct cv_str name;    /* of GROUP, USER, GROUP_OVERRIDE; else absent */
	unsigned rights;       /* enum cv_right */
	struct cv_str pattern; /* of a global list: which mailboxes it is for, with "*" and "?"; absent in others */
};

/* Ordered by kind, then by the order they came in. One entry for each identifier and sign (and pattern). entries is owned: acl_list_free; what is in them
   lives in arena. */
struct acl_list {
	struct cv_arena *arena;
	CV_VEC(struct acl_entry) entries;
};

/* Who asks. */
struct acl_who {
	struct cv_str name;
	const struct cv_str *groups;
	size_t group_count;
	bool owner;
};

void acl_list_init(struct acl_list *list, struct cv_arena *arena);
void acl_list_free(struct acl_list *list);
/* Lines; empty ones and those that begin with "#" are passed over. global: a pattern stands before each identifier. INVALID names the line. */
CV_MUST_CHECK int acl_list_parse(struct acl_list *list, struct cv_str text, bool global, struct cv_err *err);
/* Lines of a list that is not global. */
void acl_list_write(const struct acl_list *list, struct cv_buf *out);
/* The entry of this identifier and sign; NULL: none. */
struct acl_entry *acl_list_find(struct acl_list *list, const struct acl_entry *like);
/* Its entry, made without rights when there is none. */
struct acl_entry *acl_list_add(struct acl_list *list, const struct acl_entry *like);
void acl_list_remove(struct acl_list *list, const struct acl_entry *like);

/* An identifier as in a file ("user=anna", "-owner"), and rights as there ("lr", ":lookup:read"). */
CV_MUST_CHECK int acl_word_parse(struct cv_str word, struct acl_entry *entry_r, struct cv_err *err);
CV_MUST_CHECK int acl_rights_parse(struct cv_str text, unsigned *rights_r, struct cv_err *err);
void acl_word_append(struct cv_buf *out, const struct acl_entry *entry);
/* An identifier of RFC 4314 ("anna", "anyone", "authenticated", "owner", "$team" for a group, "!$team" for a group that goes before users; "-" before
   it: negative) and back. */
CV_MUST_CHECK int acl_identifier_parse(struct cv_str identifier, struct acl_entry *entry_r, struct cv_err *err);
void acl_identifier_append(struct cv_buf *out, const struct acl_entry *entry);

/* Is the entry for who asks? */
bool acl_matches(const struct acl_entry *entry, const struct acl_who *who);
/* The rights that who asks has on the mailbox of this name. local: its own list; NULL: none. global: the administrator's, which goes before it.

   The most specific kind of entry that is for who asks decides; groups are taken together. The owner has all rights unless an entry for the owner
   or a more specific one says otherwise, and keeps CV_RIGHT_ADMIN whatever the mailbox's own list says. Negative rights of all entries that
   are for who asks are taken away. */
unsigned acl_rights(const struct acl_list *local, const struct acl_list *global, struct cv_str mailbox, const struct acl_who *who);

#endif
