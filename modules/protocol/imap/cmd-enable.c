/* SPDX-License-Identifier: MIT
   ENABLE (RFC 5161). */
#include <config.h>

#include "metadata.h"

static void enable_qresync(struct imap_session *s)
{
	s->qresync = true;
	/* RFC 7162 section 3.2.3: it is a CONDSTORE enabling command. */
	imap_enable_condstore(s);
}

/* RFC 9051 section 6.3.1, appendix A. */
static void enable_rev2(struct imap_session *s)
{
	s->rev2 = s->utf8_names = true;
	cv_imap_parser_set_utf8(s->parser);
}

/* RFC 6855 section 3. */
static void enable_utf8(struct imap_session *s)
{
	s->utf8 = s->utf8_names = true;
	cv_imap_parser_set_utf8(s->parser);
}

static void enable_uidonly(struct imap_session *s)
{
	s->uidonly = true;
}

static const struct {
	const char *name;
	void (*enable)(struct imap_session *s);
} extensions[] = {
	{ "CONDSTORE", imap_enable_condstore },
	{ "IMAP4rev2", enable_rev2 },
	{ "METADATA", metadata_enable },
	{ "QRESYNC", enable_qresync },
	{ "UIDONLY", enable_uidonly },
	{ "UTF8=ACCEPT", enable_utf8 },
};

/* What a setting switches off, or has not switched on, is as if it were not known. */
static bool is_there(const struct imap_session *s, void (*enable)(struct imap_session *s))
{
	if (enable == metadata_enable)
		return s->set->imap_metadata;
	if (enable == enable_utf8)
		return s->set->imap_utf8_accept;
	return enable != enable_uidonly || imap_announces(s, "UIDONLY");
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_buf *out = imap_out(cmd);
	struct cv_str word;
	unsigned wanted = 0;

	if (cmd->args == NULL)
		return imap_bad(cmd, "ENABLE needs a capability");
	/* RFC 5161 section 3.1: what is not known, or not to be enabled, is ignored. */
	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next) {
		if (!cv_imap_arg_atom(arg, &word))
			return imap_bad(cmd, "Capabilities are atoms");
		for (size_t i = 0; i < CV_COUNT_OF(extensions); i++)
			if (cv_str_caseeq_c(word, extensions[i].name) && is_there(s, extensions[i].enable))
				wanted |= 1u << i;
	}
	cv_buf_append_c(out, "* ENABLED");
	for (size_t i = 0; i < CV_COUNT_OF(extensions); i++)
		if ((wanted & 1u << i) != 0)
			cv_buf_printf(out, " %s", extensions[i].name);
	cv_buf_append_c(out, "\r\n");
	for (size_t i = 0; i < CV_COUNT_OF(extensions); i++)
		if ((wanted & 1u << i) != 0)
			extensions[i].enable(s);
	return imap_ok(cmd, NULL, "Enabled");
}

const struct cv_imap_command imap_cmd_enable = { .verb = "ENABLE", .opts = CV_IMAP_LOGGED_IN, .run = run };
