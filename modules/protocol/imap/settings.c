/* SPDX-License-Identifier: MIT
   Settings of the imap module. */
#include <config.h>

#include "urlauth.h"

static const struct {
	const char *word;
	unsigned bit;
} workarounds[] = {
	{ "delay-newmail", IMAP_DELAY_NEWMAIL },
	{ "tb-extra-mailbox-sep", IMAP_TB_EXTRA_MAILBOX_SEP },
	{ "tb-lsub-flags", IMAP_TB_LSUB_FLAGS },
};

int imap_workarounds(const char *const *words, unsigned *bits_r, struct cv_err *err)
{
	unsigned bits = 0;

	for (; words != NULL && *words != NULL; words++) {
		size_t i;

		for (i = 0; i < CV_COUNT_OF(workarounds); i++)
			if (cv_str_eq_c(cv_str_c(*words), workarounds[i].word))
				break;
		if (i == CV_COUNT_OF(workarounds))
			return cv_err_set(err, CV_ERR_INVALID,
				"imap_client_workarounds: unknown word \"%s\" (known: delay-newmail, tb-extra-mailbox-sep, "
				"tb-lsub-flags)", *words);
		bits |= workarounds[i].bit;
	}
	*bits_r = bits;
	return 0;
}

/* A scheme (RFC 3986 section 3.1) and something behind it, printable. */
static bool is_uri(struct cv_str s)
{
	size_t colon = cv_str_find(s, ':');

	if (colon == SIZE_MAX || colon + 1 == s.len || !cv_is_alpha(s.ptr[0]))
		return false;
	for (size_t i = 0; i < colon; i++)
		if (!cv_is_alnum(s.ptr[i]) && s.ptr[i] != '+' && s.ptr[i] != '-' && s.ptr[i] != '.')
			return false;
	for (size_t i = colon; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
			return false;
	return true;
}

static int check(const void *set, struct cv_err *err)
{
	const struct imap_settings *imap = set;
	unsigned bits;

	/* RFC 5464 section 6.2.2: "The value MUST be a URI (e.g., a mailto: or tel: URL)." */
	if (imap->mail_server_admin != NULL && *imap->mail_server_admin != '\0' && !is_uri(cv_str_c(imap->mail_server_admin)))
		return cv_err_set(err, CV_ERR_INVALID, "mail_server_admin = %s: must be a URI, as mailto:postmaster@example.com",
			imap->mail_server_admin);
	/* RFC 9738 section 3: SAVELIMIT is announced "instead of the "MESSAGELIMIT="". */
	if (imap->imap_message_limit != 0 && imap->imap_save_limit != 0)
		return cv_err_set(err, CV_ERR_INVALID, "imap_save_limit: imap_message_limit is set and covers COPY and APPEND too; set one of them");
	if (imap_workarounds(imap->imap_client_workarounds, &bits, err) < 0)
		return -1;
	return cv_imap_language_check(imap->imap_language, err) < 0 ? -1 : imap_urlauth_users_check(imap->imap_urlauth_users, err);
}

static const struct cv_setting rows[] = {
	CV_SETTING_BOOL(imap_settings, imap_annotate, "yes",
		"Annotations of messages (ANNOTATE-EXPERIMENT-1)"),
	CV_SETTING_STR(imap_settings, imap_capability, "",
		"Capabilities to announce instead of the server's own; with + or - as first character: words to add, or to leave out with - before them. "
		"+UIDONLY announces and allows that extension, which no mail program needs and Outlook in the cloud fails with"),
	CV_SETTING_LIST(imap_settings, imap_client_workarounds, "",
		"Workarounds for clients: delay-newmail, tb-extra-mailbox-sep, tb-lsub-flags"),
	CV_SETTING_UINT(imap_settings, imap_compress_deflate_level, "6", 0, 9,
		"How well output is compressed behind COMPRESS DEFLATE: 1 is fastest, 9 shortest, 0 not at all"),
	CV_SETTING_UINT(imap_settings, imap_compress_deflate_window, "14", 9, 15,
		"How far back compressed output refers, as the power of two of its octets; a compressed session takes 2^(this + 3) octets of memory for it"),
	CV_SETTING_TIME(imap_settings, imap_hibernate_timeout, "1s", 0, 86400000,
		"How long a session stays in memory in IDLE when nothing happens; then its connection waits without a process of its own, until the client speaks or "
		"something of the user's changes; 0: always"),
	CV_SETTING_TIME(imap_settings, imap_hibernate_silent_timeout, "30s", 0, 86400000,
		"The same for a client that is silent outside of IDLE"),
	CV_SETTING_STR(imap_settings, imap_id_log, "",
		"Fields of the client's ID command that are logged; * for all; empty: none"),
	CV_SETTING_STR(imap_settings, imap_id_send, "name *",
		"Pairs of key and value for the reply to ID; the value * stands for the server's own (name, version, os)"),
	CV_SETTING_TIME(imap_settings, imap_idle_notify_interval, "2m", 0, 86400000,
		"How often an idling client gets a line that keeps its connection alive; 0: never"),
	CV_SETTING_STR(imap_settings, imap_language, "en",
		"Language of texts that LANGUAGE \"default\" chooses (RFC 5255): en, de, fr or i-default, which is English in ASCII"),
	CV_SETTING_VAR(imap_settings, imap_logout_format,
		"deleted=%{deleted} expunged=%{expunged} appended=%{appended} hdr_count=%{fetch_hdr_count} "
		"hdr_bytes=%{fetch_hdr_bytes} body_count=%{fetch_body_count} body_bytes=%{fetch_body_bytes}",
		"Figures in the log line of a session's end"),
	CV_SETTING_SIZE(imap_settings, imap_max_line_length, "64k", 1024, 16777216,
		"Longest command line, literals not counted"),
	CV_SETTING_BOOL(imap_settings, imap_metadata, "yes",
		"Annotations of mailboxes and of the server (METADATA, LIST-METADATA), and filters (FILTERS)"),
	CV_SETTING_TIME(imap_settings, mailbox_idle_check_interval, "5m", 0, 86400000,
		"How often a session that sleeps in IDLE (imap_hibernate_timeout) wakes to look for what other programs brought into its Maildir, which nobody watches "
		"meanwhile; 0: not before something else wakes it"),
	CV_SETTING_STR(imap_settings, mail_server_admin, "",
		"How to reach the administrator, a URI: the server's entry /shared/admin"),
	CV_SETTING_STR(imap_settings, mail_server_comment, "",
		"Something that all users should know: the server's entry /shared/comment"),
	CV_SETTING_UINT(imap_settings, imap_message_limit, "0", 0, UINT32_MAX,
		"Most messages that one FETCH, STORE, SEARCH, COPY, MOVE, APPEND or UID EXPUNGE works on, told to clients as MESSAGELIMIT; those that do not "
		"know it see only the newest messages of larger mailboxes; 1000 or more is advised; 0: no limit"),
	CV_SETTING_TIME(imap_settings, imap_progress_interval, "10s", 0, 86400000,
		"How often the client is told about the progress of a long command; 0: never"),
	CV_SETTING_UINT(imap_settings, imap_save_limit, "0", 0, UINT32_MAX,
		"Most messages that one COPY or APPEND makes, told to clients as SAVELIMIT; 1000 or more is advised; 0: no limit"),
	CV_SETTING_BOOL(imap_settings, imap_utf8_accept, "yes",
		"Offer UTF8=ACCEPT (RFC 6855)"),
	CV_SETTING_BOOL(imap_settings, imap_utf8_strict, "no",
		"Refuse a message with octets above 127 in its header from a client that has enabled neither UTF8=ACCEPT nor IMAP4rev2, as RFC 6855 demands: programs "
		"that bring old mail along then lose such messages"),
	CV_SETTING_BOOL(imap_settings, imap_unauthenticate, "yes",
		"UNAUTHENTICATE lets a client log off and log in again on one connection; off where a proxy in front restricts who may log in, and does not know it"),
	CV_SETTING_BOOL(imap_settings, imap_urlauth, "yes",
		"Let users give others parts of their messages by URLs that name who may fetch them (URLAUTH)"),
	CV_SETTING_STR(imap_settings, imap_urlauth_host, "*",
		"Host name in such URLs, perhaps with :port; * for any"),
	CV_SETTING_LIST(imap_settings, imap_urlauth_users, "",
		"Users that fetch such URLs on behalf of others, each as application:user, such as submit:mailer or stream:player"),
};

const struct cv_settings_table imap_settings_table = CV_SETTINGS_TABLE(NULL, "IMAP", imap_settings, rows, check);
