/* SPDX-License-Identifier: MIT
   For tests of the store: a user over a storage module in a directory of the test, and short forms of what tests do again and again. */
#ifndef CV_STORE_HELPER_H
#define CV_STORE_HELPER_H

#include "t/lib/test.h"

#include <culver/mailbox.h>
#include <culver/note.h>

struct store {
	void **state;
	struct cv_registry *registry;
	struct cv_user *user;
	const char *dir;      /* of the test */
	const char *driver;   /* "sdbox" unless set before store_open */
	const char *location; /* mail_location; made from driver and dir when NULL */
	struct cv_loop *loop;
	bool leave_records; /* closing may leave a few records behind the state, as it does without tests */
	const struct cv_conf *conf;
	const struct cv_module *module; /* another storage module than sdbox, or NULL */
	void (*add_hooks)(struct cv_registry *reg); /* called in the load of a test module */
};

/* In main, instead of cv_test_run: the log goes to STORE_TEST_LOG's standard error, if at all. */
void store_tests_init(void);
/* Lines of the log so far that are errors. */
unsigned store_log_errors(void);
#define store_tests_run(tests) (store_tests_init(), cmocka_run_group_tests((tests), NULL, NULL))

void store_init(struct store *s, void **state);
/* Open; the user must open. */
void store_open(struct store *s);
int store_try_open(struct store *s, struct cv_err *err);
void store_close(struct store *s);
void store_deinit(struct store *s);

/* Each fails the test when it fails. */
struct cv_mailbox *store_get(struct store *s, const char *name);
uint32_t store_save(struct store *s, const char *mailbox, const char *octets, uint16_t flags);
uint32_t store_save_keyword(struct store *s, const char *mailbox, const char *octets, uint16_t flags, const char *keyword);
void store_flags(struct store *s, const char *mailbox, uint32_t first, uint32_t last, enum cv_flags_op op, uint16_t flags,
	const char *keyword);
void store_expunge(struct store *s, const char *mailbox, uint32_t first, uint32_t last);
void store_copy(struct store *s, const char *from, uint32_t first, uint32_t last, const char *to, bool move);
/* Rounds of the loop, whose clock is the test's, before and after it is moved on. */
void store_turn(struct store *s, uint64_t ms);
/* Of sdbox: the path of a file in the mailbox's folder, in the test's arena, and whether it is there. */
const char *store_file(struct store *s, const char *mailbox, const char *name);
bool store_has_file(struct store *s, const char *mailbox, const char *name);
/* Set an annotation of a mailbox, or of the user when mailbox is NULL; value NULL: remove it. */
void store_annotate(struct store *s, const char *mailbox, const char *name, const char *value);
/* Set an annotation of messages: "/entry" or "/entry priv"; value NULL: remove it. */
void store_note(struct store *s, const char *mailbox, uint32_t first, uint32_t last, const char *entry, const char *value);
/* Those of one message, "/a priv=value|/a=value", in the test's arena. */
const char *store_notes(struct store *s, const char *mailbox, uint32_t uid);
/* "1 S kw|3 -" : uid, flag letters (SAFDT for Seen Answered Flagged Deleted Draft), keywords of all messages; compared with want. */
void store_expect(struct store *s, const char *mailbox, const char *want);
/* The same as text in the test's arena. */
const char *store_dump(struct store *s, const char *mailbox);
void store_octets(struct store *s, const char *mailbox, uint32_t uid, const char *want);
/* Of INBOX, which is empty: a message that is wanted next is opened and not read. */
void store_check_ahead(struct store *s);
/* fsck, all at once; and how much it finds, and mends with repair. */
struct cv_fsck_config;
struct cv_fsck_finding;
/* ctx: an unsigned that counts. */
void store_count_found(void *ctx, const struct cv_fsck_finding *finding);
void store_fsck_run(struct store *s, const struct cv_fsck_config *config);
unsigned store_fsck(struct store *s, bool repair);
/* All events of a sync as text: "expunge 3 uid 7; exists 4; flags 2 uid 5; keywords; gone". */
const char *store_sync(struct store *s, struct cv_view *view, bool expunges, uint64_t own);

#define assert_ok(call) store_assert_ok((call), &err, #call, __FILE__, __LINE__)
void store_assert_ok(int result, const struct cv_err *err, const char *call, const char *file, int line);

#endif
