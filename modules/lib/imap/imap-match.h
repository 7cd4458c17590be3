/* SPDX-License-Identifier: MIT
   LIST and LSUB patterns: "*" and "%" (RFC 3501 section 6.3.8). */
#ifndef CV_IMAP_MATCH_H
#define CV_IMAP_MATCH_H

#include <culver/arena.h>
#include <culver/str.h>

struct cv_imap_pattern;

/* Prepare a pattern. "*" matches anything, "%" anything without separator. Lives in arena. */
struct cv_imap_pattern *cv_imap_pattern_new(struct cv_arena *arena, struct cv_str pattern, char separator);
/* Does all of name match? "INBOX", alone or as first level, matches in any case. Time is at most pattern length times name length. */
bool cv_imap_pattern_match(const struct cv_imap_pattern *pattern, struct cv_str name);
/* The pattern ends with "%": parents of names that do not match are told too (LSUB). */
bool cv_imap_pattern_ends_with_percent(const struct cv_imap_pattern *pattern);

#endif
