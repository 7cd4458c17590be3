/* SPDX-License-Identifier: MIT
   A mailbox's cache file: what stands in it, and records that go there together. */
#ifndef CV_STORE_CACHE_H
#define CV_STORE_CACHE_H

#include "core/store/texts.h"
#include "core/store/window.h"

/* The cache file "cache.<guid>": u64 magic, u32 format version, u32 KiB that it had when it was last written anew; then entries: u32 magic, u32
   length, u32 CRC-32C, u32 UID, octets. Entries of messages that are gone stay until it has twice the octets it had then. What rows point to are entries with parse
   records; servers that do not know of the others pass over them. The texts that were made of a record (texts.h) stand in one of two forms:

   Of few that came together (CV_CACHE_RUN_MIN) an entry with them stands behind the record's.
   Of more there is a run: entries with the texts of all, one behind the other, then the records. Before texts in a run stands a u32: how far behind the end of the run the
   entry of their record begins. Behind the record's entry stands a pointer: u32 how far before it the entry of its texts begins, u32 the same as in the run. So who
   reads texts in the order in which they were written looks at no record but the first of each run. */
#define CV_CACHE_FILE_HEAD 16
#define CV_CACHE_ENTRY_HEAD 16
#define CV_CACHE_POINTER 8
#define CV_CACHE_RECORD 0x65635643u     /* "CVce" */
#define CV_CACHE_TEXTS 0x74635643u      /* "CVct" */
#define CV_CACHE_RUN_TEXTS 0x72635643u  /* "CVcr" */
#define CV_CACHE_RUN_POINTER 0x70635643u /* "CVcp" */
#define CV_CACHE_RUN_TEXTS_MAX (CV_TEXTS_OCTETS_MAX + 4)

#define CV_CACHE_RUN_MIN 4

_Static_assert(CV_CACHE_RUN_TEXTS_MAX <= CV_WINDOW_AHEAD, "they are looked at in one piece");

struct cv_mailbox;
struct cv_user;

struct cv_cache {
	int fd;
	uint64_t len, base;
	struct cv_window records, texts; /* of what is read of each: both are read in turns where more than texts is asked for */
	uint64_t run_next, run_end;      /* in the run that was read last: the entry that comes next, and its end; 0, 0: none */
	uint32_t run_uid;                /* of the message whose texts were read there last */
	bool apart;                      /* texts that were found last stood in a run */
};

/* The mailbox's file, made anew (make) when it is missing or not ours. 0: none. */
CV_MUST_CHECK int cv_cache_open(struct cv_mailbox *mailbox, bool make, struct cv_err *err);
/* Give back what was read ahead. */
void cv_cache_forget(struct cv_cache *cache);
void cv_cache_put_entry(struct cv_buf *out, uint32_t magic, uint32_t uid, struct cv_str octets);
/* Of an entry of that kind. */
CV_MUST_CHECK bool cv_cache_take_head(struct cv_str head, uint32_t magic, size_t max, uint32_t *len_r, uint32_t *crc_r, uint32_t *uid_r);
/* And with something of that message in it. */
CV_MUST_CHECK bool cv_cache_take_entry(struct cv_str head, uint32_t magic, uint32_t uid, size_t max, uint32_t *len_r, uint32_t *crc_r);
/* Write octets at offset, which is where the file ends or behind that. It ends where it did until len says otherwise. */
CV_MUST_CHECK int cv_cache_write(struct cv_cache *cache, struct cv_str octets, uint64_t offset, struct cv_err *err);
/* One record at the end of the file, with its texts behind it. */
CV_MUST_CHECK int cv_cache_put(struct cv_cache *cache, uint32_t uid, struct cv_str record, struct cv_str texts, uint64_t *where_r, struct cv_err *err);

/* Records that go to a file together (cache-batch.c), with their texts. */
struct cv_cache_added {
	uint32_t uid, len;     /* of the record */
	uint32_t texts;        /* where the entry of its texts begins among those of all, and of how many octets it is: 0, there are none */
	uint32_t texts_len;
	uint32_t behind;       /* how far behind the first record's entry its own begins */
	uint64_t where;        /* in the file, once it is written */
};
struct cv_cache_batch {
	CV_VEC(struct cv_cache_added) added;
	struct cv_buf texts, records; /* entries; octets */
	size_t octets;                /* of the records' entries */
};
void cv_cache_batch_init(struct cv_cache_batch *batch);
void cv_cache_batch_deinit(struct cv_cache_batch *batch);
/* Forget what was added. */
void cv_cache_batch_clear(struct cv_cache_batch *batch);
/* Is there so much in it that it should be written? */
bool cv_cache_batch_full(const struct cv_cache_batch *batch);
void cv_cache_batch_add(struct cv_cache_batch *batch, struct cv_user *user, uint32_t uid, struct cv_str record);
/* The one at where in the mailbox's file, with what was made of it: 1, 0 when there is none that checks, -1. buf is used meanwhile. */
CV_MUST_CHECK int cv_cache_batch_copy(struct cv_cache_batch *batch, struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_buf *buf,
	struct cv_err *err);
/* To the end of the mailbox's file. Rows whose records lie in the journal learn their places; the batch is empty then, when it failed too. Columns are loaded. */
CV_MUST_CHECK int cv_cache_batch_write(struct cv_cache_batch *batch, struct cv_mailbox *mailbox, struct cv_err *err);

/* All of a batch at the end of the file: added.where is known then. */
CV_MUST_CHECK int cv_cache_put_batch(struct cv_cache *cache, struct cv_cache_batch *batch, struct cv_err *err);
/* What is to stand with a record that was read from where: as it stands there, or made anew. Valid until something else is read or made. */
struct cv_str cv_cache_texts_for(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_str record);

#endif
