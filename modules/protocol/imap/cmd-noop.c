/* SPDX-License-Identifier: MIT
   NOOP and CHECK (RFC 3501 sections 6.1.2 and 6.4.1). */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run_noop(struct cv_imap_cmd *cmd)
{
	return imap_no_args(cmd) ? imap_ok(cmd, NULL, "NOOP completed") : CV_IMAP_DONE;
}

/* The journal needs no checkpoint: as NOOP. */
static enum cv_imap_result run_check(struct cv_imap_cmd *cmd)
{
	return imap_no_args(cmd) ? imap_ok(cmd, NULL, "Check completed") : CV_IMAP_DONE;
}

const struct cv_imap_command imap_cmd_noop = { .verb = "NOOP", .opts = CV_IMAP_LOGGED_IN | CV_IMAP_SHOWS_NEW, .run = run_noop };
const struct cv_imap_command imap_cmd_check = { .verb = "CHECK", .opts = CV_IMAP_SELECTED | CV_IMAP_SHOWS_NEW, .run = run_check };
