/* SPDX-License-Identifier: MIT
   One password file in memory: "user:password:uid:gid:gecos:home:shell:extra fields", a line a user. */
#ifndef CV_PASSWD_FILE_H
#define CV_PASSWD_FILE_H

#include <culver/buf.h>
#include <culver/err.h>
#include <culver/map.h>

#define PASSWD_FILE_MAX (128u * 1024u * 1024u) /* octets of a file */
#define PASSWD_LINE_MAX 65536u                 /* octets of a line */

/* Views into the file's octets; absent when the line ends before the field. */
struct passwd_entry {
	struct cv_str user;
	struct cv_str password; /* with {SCHEME} when the file names one; absent or empty: none */
	struct cv_str uid, gid, home;
	struct cv_str extra;    /* "key=value key2=value2", may hold ':' */
};

struct passwd_file;

/* Takes the octets of text out of the buffer (wiping), which is empty then. Lines that are empty or begin with '#', ':' or white space are passed over; of a
   user's several lines the first counts. warn (may be NULL) is called for lines that are not taken, with their number. Never fails. */
struct passwd_file *passwd_file_parse(struct cv_buf *text, void (*warn)(void *ctx, unsigned line, const char *why), void *ctx);
void passwd_file_free(struct passwd_file **file);
/* NULL when there is no such user. Valid until passwd_file_free. */
const struct passwd_entry *passwd_file_find(const struct passwd_file *file, struct cv_str user);
/* All users in the order of the file: false at the end. *pos starts at 0. */
bool passwd_file_next(const struct passwd_file *file, size_t *pos, const struct passwd_entry **entry_r);
size_t passwd_file_count(const struct passwd_file *file);

/* What the password column means: scheme is what applies without {SCHEME}. "password[13]" is DES, "password[34]" MD5 as libpam-pwdfile writes them. out gets
   "{SCHEME}data"; false when there is no password. */
bool passwd_file_stored(struct cv_str password, const char *scheme, struct cv_buf *out);

#endif
