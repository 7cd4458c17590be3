/* SPDX-License-Identifier: MIT
   Dovecot's index of a mailbox ("dovecot.index" and its transaction logs, format 7.x and log format 1.x, as versions 2.0 to 2.4 write them), read: what
   no file of an sdbox mailbox but this one has. */
#ifndef CV_DOVECOT_INDEX_H
#define CV_DOVECOT_INDEX_H

#include <culver/mailbox.h>

#define CV_DOVECOT_KEYWORDS_MAX 1024u

struct cv_dovecot_index {
	uint32_t uidvalidity; /* 0: it does not say */
	uint32_t uidnext;     /* 0: it does not say */
	/* UIDs that have each flag, in the order of enum cv_flag's bits; and those that were expunged or will be at Dovecot's next look. */
	struct cv_ranges flags[5];
	struct cv_ranges expunged;
	struct cv_dovecot_keyword {
		char *name; /* owned */
		struct cv_ranges uids;
	} keywords[CV_DOVECOT_KEYWORDS_MAX];
	size_t keyword_count;
	size_t passed_over;   /* times that a keyword could not be taken: too many, or it is none */
};

/* Read the index in directory dir, a descriptor. 1 with *index_r (cv_dovecot_index_free); 0 when there is none. -1 with err: it can't be read, or what was
   read makes no sense (CV_ERR_CORRUPT). A log's torn end is no error. Nobody should write to it meanwhile: one state of several would be read. */
CV_MUST_CHECK int cv_dovecot_index_read(int dir, struct cv_dovecot_index **index_r, struct cv_err *err);
/* *index may be NULL. */
void cv_dovecot_index_free(struct cv_dovecot_index **index);
/* enum cv_flag of a message. */
uint16_t cv_dovecot_index_flags(const struct cv_dovecot_index *index, uint32_t uid);
/* Names of its keywords, NULL-terminated, into names (CV_DOVECOT_KEYWORDS_MAX + 1 of them). */
void cv_dovecot_index_keywords(const struct cv_dovecot_index *index, uint32_t uid, const char **names);

/* The two formats, from memory; cv_dovecot_index_read's parts, for tests. cv_dovecot_index_parse gives where the log goes on: the file's sequence and an
   offset in it. cv_dovecot_log_parse tells the log's sequences (prev_seq 0: it is the first) and, when from is not 0, does what is in it from there on
   (UINT32_MAX: from its first record). -1 with err: CORRUPT. */
struct cv_dovecot_index *cv_dovecot_index_new(void);
CV_MUST_CHECK int cv_dovecot_index_parse(struct cv_dovecot_index *index, struct cv_str octets, uint32_t *log_seq_r, uint32_t *log_offset_r,
	struct cv_err *err);
CV_MUST_CHECK int cv_dovecot_log_parse(struct cv_dovecot_index *index, struct cv_str octets, uint32_t from, uint32_t *seq_r, uint32_t *prev_seq_r,
	struct cv_err *err);

#endif
