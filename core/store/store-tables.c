/* SPDX-License-Identifier: MIT
   Settings of the mail store: the tables. In libculver, so that every role knows them without the mail library. */
#include <config.h>

#include "core/store/store-settings.h"
#include <culver/mailbox.h>

static const char *const fsync_words[] = { "always", "optimized", "never", NULL };
static const char *const verify_words[] = { "refuse", "log", "no", NULL };
static const char *const lock_words[] = { "flock", "lease", NULL };
static const char *const separator_words[] = { "/", ".", NULL };
static const char *const auto_words[] = { "no", "create", "subscribe", NULL };

static const struct cv_setting store_rows[] = {
	CV_SETTING_VAR(cv_store_settings, mail_location, "sdbox:~/mail",
		"Where mail is kept: DRIVER:PATH[:KEY=VALUE...]; keys INDEX, CONTROL, INBOX, LAYOUT, DIRNAME; %u %n %d %h and ~/ are expanded"),
	CV_SETTING_VAR(cv_store_settings, mail_home, NULL, "Home directory of users for whom the user database gives none"),
	CV_SETTING_ENUM(cv_store_settings, mail_fsync, "optimized", fsync_words,
		"always: every change is on disk before it is confirmed; optimized: changes of flags within a second; never: leave it to the system"),
	CV_SETTING_ENUM(cv_store_settings, mail_verify, "refuse", verify_words,
		"Message octets are compared with their checksum when they are read; what is damaged and not in the journal either: refuse: it is not sent, log: it is sent, no: only fsck compares"),
	CV_SETTING_ENUM(cv_store_settings, mail_lock_method, "flock", lock_words,
		"What keeps a second server away from a user's mail; flock: locks of the file system, and a lease beside them where it may be another machine's; "
		"lease: the lease alone, for file systems whose locks do not reach other machines"),
	CV_SETTING_TIME(cv_store_settings, mail_lease_time, "30s", 3000, 3600000,
		"How long a lease lasts that is not renewed, when its owner can't be proved to be dead"),
	CV_SETTING_ENUM(cv_store_settings, namespace_separator, "/", separator_words,
		"Character between the levels of mailbox names that IMAP clients see"),
	CV_SETTING_TIME(cv_store_settings, mail_undelete_time, "0", 0, 0,
		"How long the octets of expunged messages are kept, so that they can be brought back"),
	CV_SETTING_TIME(cv_store_settings, mail_journal_keep_time, "0", 0, 0,
		"How long journal segments are kept after nothing else needs them"),
	CV_SETTING_SIZE(cv_store_settings, mail_journal_segment_size, "4M", 65536, 1ull << 30,
		"Octets after which a new journal segment is begun and old ones are folded into snapshots"),
	CV_SETTING_BOOL(cv_store_settings, mail_journal_copy, "yes",
		"Keep a copy of each journal segment, so that the loss of any one file of the index loses nothing"),
	CV_SETTING_SIZE(cv_store_settings, mail_journal_message_size, "256k", 0, 4u << 20,
		"Messages up to this size are made durable by one sync of the journal, which has their octets until their files are synced; 0: none are"),
	CV_SETTING_SIZE(cv_store_settings, mail_journal_subscriber_keep, "64M", 0, 1ull << 40,
		"Octets of the journal that are kept for modules that have not read them yet (search, notification); one that is further behind begins anew"),
	CV_SETTING_UINT(cv_store_settings, mail_journal_close_records, "16", 0, 10000,
		"A user who is closed with fewer changes than this since the index files were written leaves them in the journal, where the next opening reads them"),
	CV_SETTING_UINT(cv_store_settings, mail_journal_ahead_writes, "16", 0, 10000,
		"So many changes within a second make the journal's file longer ahead of what is written, so that a change takes less to reach the disk; 0: never"),
	CV_SETTING_SIZE(cv_store_settings, mail_snapshot_min_size, "64k", 4096, 1ull << 30,
		"Octets of changes to a mailbox that make a new snapshot worth writing"),
	CV_SETTING_UINT(cv_store_settings, mail_max_keyword_length, "50", 1, 255, "Longest keyword that clients may set"),
	CV_SETTING_UINT(cv_store_settings, mail_max_keywords, "500", 1, 10000, "Different keywords in one mailbox"),
	CV_SETTING_UINT(cv_store_settings, mail_max_mailboxes, "10000", 1, 1000000, "Mailboxes of one user"),
	CV_SETTING_UINT(cv_store_settings, mail_max_mailbox_name_length, "1000", 1, 4000, "Octets of a mailbox's full name"),
	CV_SETTING_UINT(cv_store_settings, mail_max_metadata_entries, "100", 10, 10000,
		"Annotations (IMAP METADATA) of one mailbox, or of the user as a whole"),
	CV_SETTING_SIZE(cv_store_settings, mail_max_metadata_value, "64k", 1024, 16u << 20, "Octets of one annotation's value"),
	CV_SETTING_SIZE(cv_store_settings, mail_max_metadata_size, "4M", 65536, 64u << 20,
		"Octets of all annotations of a user together, names and values"),
	CV_SETTING_UINT(cv_store_settings, mail_max_annotations, "100", 10, 1000, "Annotations (IMAP ANNOTATE) of one message"),
	CV_SETTING_SIZE(cv_store_settings, mail_max_annotation_value, "64k", 1024, 1u << 20, "Octets of one value of a message's annotation"),
	CV_SETTING_SIZE(cv_store_settings, mail_max_annotations_size, "64M", 65536, 1ull << 30,
		"Octets of all annotations of messages in one mailbox together, names and values"),
	CV_SETTING_LIST(cv_store_settings, mail_mount_points, NULL,
		"Directories that must be mounted when mail below them is opened, besides those of /etc/fstab"),
	CV_SETTING_UINT(cv_store_settings, mail_node_id, "1", 1, UINT32_MAX, "This node's number in journal records"),
	CV_SETTING_BOOL(cv_store_settings, lda_mailbox_autocreate, "no", "Create the mailbox that a message is delivered to when it is missing"),
	CV_SETTING_BOOL(cv_store_settings, lda_mailbox_autosubscribe, "no", "Subscribe the mailboxes that deliveries create"),
};

static const struct cv_setting mailbox_rows[] = {
	{ "auto", CV_SET_ENUM, CV_SETTING_OFF(cv_mailbox_settings, auto_, unsigned), "no", 0, 0, auto_words,
		"no, create: made when it is missing, subscribe: made and subscribed", 0 },
	CV_SETTING_LIST(cv_mailbox_settings, special_use, NULL,
		"Special uses (RFC 6154): \\All \\Archive \\Drafts \\Flagged \\Junk \\Sent \\Trash \\Important"),
};

static const struct {
	const char *word;
	uint32_t bit;
} uses[] = {
	{ "\\All", CV_USE_ALL }, { "\\Archive", CV_USE_ARCHIVE }, { "\\Drafts", CV_USE_DRAFTS }, { "\\Flagged", CV_USE_FLAGGED },
	{ "\\Junk", CV_USE_JUNK }, { "\\Sent", CV_USE_SENT }, { "\\Trash", CV_USE_TRASH }, { "\\Important", CV_USE_IMPORTANT },
};

int cv_special_use_parse(const char *const *words, uint32_t *bits_r, struct cv_err *err)
{
	*bits_r = 0;
	for (; words != NULL && *words != NULL; words++) {
		uint32_t bit = 0;

		for (size_t i = 0; i < CV_COUNT_OF(uses); i++) {
			if (cv_str_caseeq_c(cv_str_c(*words), uses[i].word))
				bit = uses[i].bit;
		}
		if (bit == 0)
			return cv_err_set(err, CV_ERR_INVALID,
				"special_use = %s: known are \\All \\Archive \\Drafts \\Flagged \\Junk \\Sent \\Trash \\Important", *words);
		*bits_r |= bit;
	}
	return 1;
}

void cv_special_use_words(uint32_t bits, struct cv_buf *out)
{
	for (size_t i = 0; i < CV_COUNT_OF(uses); i++) {
		if ((bits & uses[i].bit) == 0)
			continue;
		if (out->len > 0)
			cv_buf_append_char(out, ' ');
		cv_buf_append_c(out, uses[i].word);
	}
}

static int check_mailbox(const void *set, struct cv_err *err)
{
	const struct cv_mailbox_settings *mailbox = set;
	uint32_t bits;

	return cv_special_use_parse(mailbox->special_use, &bits, err);
}

static int check_store(const void *set_p, struct cv_err *err)
{
	const struct cv_store_settings *set = set_p;

	for (const char *const *dir = set->mail_mount_points; dir != NULL && *dir != NULL; dir++) {
		if (**dir != '/')
			return cv_err_set(err, CV_ERR_INVALID, "mail_mount_points = %s: must be absolute directories", *dir);
	}
	return 1;
}

static const struct cv_settings_table store_table =
	CV_SETTINGS_TABLE_TOP("Mail store", cv_store_settings, store_rows, check_store);
static const struct cv_settings_table mailbox_table =
	CV_SETTINGS_TABLE("mailbox", "Mailboxes", cv_mailbox_settings, mailbox_rows, check_mailbox);

const struct cv_settings_table *const cv_mail_settings_tables[] = { &store_table, &mailbox_table, NULL };
