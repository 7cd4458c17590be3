/* SPDX-License-Identifier: MIT
   mail_location: what it says, and whether its place is there. */
#ifndef CV_STORE_LOCATION_H
#define CV_STORE_LOCATION_H

#include <culver/arena.h>
#include <culver/storage.h>

struct cv_location {
	const char *driver;
	const char *root, *index_root, *control_root; /* absolute, no trailing slash */
	const char *inbox, *layout, *dirname;         /* NULL when not given */
};

/* "driver:path:KEY=value:…" with %variables expanded already; "~/" is home (NULL: none, then it is refused). All in arena. */
CV_MUST_CHECK int cv_location_parse(const char *text, const char *home, struct cv_arena *arena, struct cv_location *location_r,
	struct cv_err *err);
/* The setting's text with the user's variables (%u %n %d %h and their long names) filled in. */
CV_MUST_CHECK int cv_location_expand(const char *text, const char *user, const char *home, struct cv_arena *arena,
	const char **text_r, struct cv_err *err);
/* Refuse (UNAVAILABLE) a path that lies below a directory that should be a mount point and is not mounted: those of /etc/fstab (without
   "noauto"), and extra (NULL-terminated or NULL). An unmounted disk would look like a user without mail. */
CV_MUST_CHECK int cv_location_check_mounts(const char *path, const char *const *extra, struct cv_err *err);
/* The same with another fstab, for tests. */
CV_MUST_CHECK int cv_location_check_fstab(const char *fstab, const char *path, struct cv_err *err);

#endif
