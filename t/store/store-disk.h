/* SPDX-License-Identifier: MIT
   For tests of what is on disk: the index directory as a value, and all that a user's mail says as text. */
#ifndef CV_STORE_DISK_H
#define CV_STORE_DISK_H

#include "t/store/store-helper.h"

#include "core/store/store-private.h"

/* Files of a directory and their octets, in the test's arena, by name. */
struct disk_file {
	const char *name;
	struct cv_str octets;
};
struct disk {
	CV_VEC(struct disk_file) files; /* freed by disk_free */
};
void disk_read(struct store *s, struct disk *disk);
void disk_free(struct disk *disk);
/* The directory holds these files and no others. */
void disk_write(struct store *s, const struct disk *disk);
const struct disk_file *disk_find(const struct disk *disk, const char *name);
void disk_put_file(struct store *s, const char *name, struct cv_str octets);
void disk_remove_file(struct store *s, const char *name);
/* What is no plain file takes the name: 'l' a link that leads nowhere, 'p' a pipe, 'd' a directory. disk_read passes over such, disk_write removes them. */
void disk_put_other(struct store *s, const char *name, char what);
/* Octets of all journal segments; files whose name holds part. */
uint64_t disk_journal_size(struct store *s);
size_t disk_count(struct store *s, const char *part);

/* A generator whose numbers depend on the seed alone. */
uint32_t next_random(uint64_t *seed, uint32_t below);
/* Set or remove a random annotation of the mailbox or the user; of up to three messages from UID first on. */
void change_annotation(struct store *s, uint64_t *seed, const char *mailbox);
void change_notes(struct store *s, uint64_t *seed, const char *mailbox, uint32_t first);

/* The store folds its journal after this many octets, and mailboxes after that many. To be called after each store_open. */
void store_set_sizes(struct store *s, uint64_t segment, uint64_t snapshot_min);
/* No message comes to the journal with its octets: each has its file before it is recorded. To be called after each store_open. */
void store_set_files_first(struct store *s);

enum dump_opts {
	DUMP_NUMBERS = 1, /* UIDNEXT and highest MODSEQ too */
	DUMP_OCTETS = 2,  /* every message is read */
	DUMP_MODSEQS = 4, /* of each message */
};
/* Names, subscriptions, UIDVALIDITY, counts, annotations (the user's with the numbers), and of each message UID, flags, keywords, dates, sizes, GUID. In the test's arena. */
const char *store_dump_all(struct store *s, unsigned opts);
/* Two dumps are equal; else the first line that differs is printed. */
#define assert_same_dump(got, want) store_assert_same_dump((got), (want), __FILE__, __LINE__)
void store_assert_same_dump(const char *got, const char *want, const char *file, int line);

#endif
