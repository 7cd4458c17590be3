/* SPDX-License-Identifier: MIT
   Annotations on the wire (RFC 5464): what GETMETADATA, SETMETADATA, LIST's METADATA return option and unasked responses share. Private to the module. */
#ifndef CV_IMAP_METADATA_H
#define CV_IMAP_METADATA_H

#include "imap-session.h"

#define METADATA_SPECIAL_USE "/private/specialuse" /* RFC 6154 section 4 */
#define METADATA_COMMENT "/shared/comment"
#define METADATA_ADMIN "/shared/admin"
#define METADATA_PRIVATE_FILTERS "/private/filters/values/" /* RFC 5466 section 3.2 */
#define METADATA_SHARED_FILTERS "/shared/filters/values/"

enum metadata_depth { METADATA_DEPTH_0, METADATA_DEPTH_1, METADATA_DEPTH_INFINITY };

/* What is asked for. */
struct metadata_request {
	CV_VEC(struct cv_str) entries; /* owned; the names are the arguments' */
	enum metadata_depth depth;
	bool maxsize_set;
	uint32_t maxsize;
};
/* entry, as it stands in a request. False: the BAD was made. */
CV_MUST_CHECK bool metadata_take_entry(struct cv_imap_cmd *cmd, struct metadata_request *request, const struct cv_imap_arg *arg);
/* "(" entry *(SP entry) ")". False: the BAD was made. */
CV_MUST_CHECK bool metadata_take_entries(struct cv_imap_cmd *cmd, struct metadata_request *request, const struct cv_imap_arg *arg);

/* Is the name good for an annotation that clients set: at least two components, four below vendor? */
bool metadata_name_ok(struct cv_str name);

/* The METADATA response of one mailbox, written while there is room. { 0 } to begin. */
struct metadata_writer {
	struct cv_arena *arena;     /* owned */
	struct cv_mailbox *mailbox; /* counted; NULL: the server's */
	struct cv_str name;         /* of the mailbox */
	struct cv_str *entries;
	size_t count, next;
	struct cv_buf value;        /* what is left to be written of a literal */
	size_t done;
	bool open;                  /* the line was begun */
	uint64_t longest;           /* octets of the longest value that maxsize has kept out; 0: none */
};
/* name absent: the server's. -1 with err: nothing is written. */
CV_MUST_CHECK int metadata_begin(struct metadata_writer *writer, struct cv_imap_cmd *cmd, const struct metadata_request *request, struct cv_str name,
	struct cv_err *err);
/* True when all is written; false: more room is needed, the session is in a line then. */
bool metadata_write(struct metadata_writer *writer, struct cv_imap_cmd *cmd);
void metadata_end(struct metadata_writer *writer);

/* ---- Changes that others make ------------------------------------------------------------------------- */

/* Note changes: NOTIFY asks for them (RFC 5465 sections 5.6 and 5.7). */
void metadata_watch(struct imap_session *s);
/* ENABLE METADATA. */
void metadata_enable(struct imap_session *s);
/* Write what changed; false: more room is needed. */
bool metadata_write_changes(struct imap_session *s);
void metadata_disable(struct imap_session *s);

#endif
