/* SPDX-License-Identifier: MIT
   Settings of the mail store. */
#ifndef CV_STORE_SETTINGS_H
#define CV_STORE_SETTINGS_H

#include <culver/mailbox.h>
#include <culver/settings.h>
#include <culver/storage.h>

struct cv_store_settings {
	const char *mail_location;
	const char *mail_home;
	unsigned mail_fsync;           /* enum cv_fsync */
	unsigned mail_verify;          /* enum cv_verify */
	unsigned mail_lock_method;     /* 0 flock, 1 lease */
	uint64_t mail_lease_time;      /* ms */
	unsigned namespace_separator;  /* 0 '/', 1 '.' */
	uint64_t mail_undelete_time, mail_journal_keep_time; /* ms */
	uint64_t mail_journal_segment_size;                  /* octets */
	uint64_t mail_journal_subscriber_keep;               /* octets */
	uint64_t mail_journal_close_records;
	uint64_t mail_journal_ahead_writes;
	uint64_t mail_journal_message_size;                  /* octets; 0: never */
	uint64_t mail_snapshot_min_size;                     /* octets */
	uint64_t mail_max_keyword_length;
	uint64_t mail_max_keywords;
	uint64_t mail_max_mailboxes;
	uint64_t mail_max_mailbox_name_length;
	uint64_t mail_max_metadata_entries;
	uint64_t mail_max_metadata_value, mail_max_metadata_size; /* octets */
	uint64_t mail_max_annotations;
	uint64_t mail_max_annotation_value, mail_max_annotations_size; /* octets */
	const char *const *mail_mount_points;
	uint64_t mail_node_id;
	bool mail_journal_copy;
	bool lda_mailbox_autocreate, lda_mailbox_autosubscribe;
};

enum cv_verify { CV_VERIFY_REFUSE, CV_VERIFY_LOG, CV_VERIFY_NO };

struct cv_mailbox_settings {
	const char *name; /* of the section; filled by the store, not a key */
	unsigned auto_;   /* enum cv_mailbox_auto */
	const char *const *special_use;
};
enum cv_mailbox_auto { CV_AUTO_NO, CV_AUTO_CREATE, CV_AUTO_SUBSCRIBE };

/* cv_mail_settings_tables (mailbox.h): [0] the store, [1] sections [mailbox NAME]. */

/* Filled with the defaults when conf is NULL. In arena. */
CV_MUST_CHECK int cv_store_settings_get(const struct cv_conf *conf, const char *protocol, struct cv_arena *arena,
	const struct cv_store_settings **set_r, const struct cv_mailbox_settings *const **mailboxes_r, struct cv_err *err);
/* The bits for special-use words ("\Drafts"); -1 with err for an unknown one. */
CV_EXPORT CV_MUST_CHECK int cv_special_use_parse(const char *const *words, uint32_t *bits_r, struct cv_err *err);
/* And back, a space between words. */
CV_EXPORT void cv_special_use_words(uint32_t bits, struct cv_buf *out);

#endif
