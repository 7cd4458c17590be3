/* SPDX-License-Identifier: MIT
   Inside the log: cleaning of text, and the journal's datagrams. */
#ifndef CV_LOG_PRIVATE_H
#define CV_LOG_PRIVATE_H

#include <culver/log.h>

#define CV_LOG_TEXT_MAX 2000  /* octets of a line */
#define CV_LOG_VALUE_MAX 128  /* octets of a value before escaping */

/* A line under construction in the caller's memory: text beyond size is dropped and cut is set. */
struct cv_log_text {
	char *data;
	size_t size, len;
	bool cut;
};

void cv_log_add(struct cv_log_text *t, const char *s, size_t len);
/* As a value of key=value: escaped, cut at CV_LOG_VALUE_MAX, in quotes when it holds a space, a quote or nothing. */
void cv_log_add_value(struct cv_log_text *t, struct cv_str s);
/* Control characters and what is not UTF-8 as \xNN. quoted: backslash and double quote get a backslash. */
void cv_log_add_escaped(struct cv_log_text *t, struct cv_str s, bool quoted);

/* One entry for the systemd journal. Values are raw; -1 when it could not be sent. */
struct cv_log_entry {
	enum cv_log_level level;
	const char *role, *category;
	struct cv_str message, session, user, mailbox, remote;
};

int cv_log_journal_open(const char *path, struct cv_err *err);
int cv_log_journal_send(int fd, const struct cv_log_entry *entry);

#endif
