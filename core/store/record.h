/* SPDX-License-Identifier: MIT
   The journal's records: what stands in them, and their octets. */
#ifndef CV_STORE_RECORD_H
#define CV_STORE_RECORD_H

#include "core/store/columns.h"
#include <culver/reader.h>

/* A record is a head of CV_RECORD_HEAD octets and entries; all numbers are little-endian.

     u32 magic  u32 length (head, entries, padding to 8)  u32 CRC-32C of what follows
     u16 format version  u16 flags (0)  u32 node  u32 length of the padding
     u64 sequence number (the MODSEQ of all that the record changes)
     u64 hybrid logical clock: milliseconds since 1970 << 16 | counter
     u64 owner's epoch (fencing token)
     u64 octets of the segment that were known durable when this was written

   An entry: u8 kind, u32 length of its body, body. Entries say everything themselves (names of keywords, what was before a
   change), so that a record can be applied where it was not made. */
#define CV_RECORD_MAGIC 0x31725643u /* "CVr1" */
#define CV_RECORD_HEAD 56
/* 2: ANNOTATE; 3: messages have a checksum of their octets; 4: NOTE; 5: copies whose file is still to be made; 6: OCTETS, SETTLED. A record has the lowest that
   tells what is in it. */
#define CV_RECORD_VERSION 6
#define CV_RECORD_MAX (1u << 30)

struct cv_record_head {
	uint64_t seq, hlc, epoch, synced;
	uint32_t node, len;
	uint16_t version;
};

enum cv_entry_kind {
	CV_ENTRY_CREATE = 1, /* guid, u32 uidvalidity, u32 special use, str name */
	CV_ENTRY_RENAME,     /* str from, str to: the name and all below it */
	CV_ENTRY_DELETE,     /* guid, str name; u8 1 when the folder had gone before */
	CV_ENTRY_SUBSCRIBE,  /* u8 on, str name */
	CV_ENTRY_ANNOTATE,   /* guid (zeros: the user), str key, str value; absent: removed */
	CV_ENTRY_APPEND,     /* guid, message */
	CV_ENTRY_FLAGS,      /* guid, groups: u16 flags before, u16 flags after, keywords after, UID ranges */
	CV_ENTRY_EXPUNGE,    /* guid, groups: u16 flags before, u64 sum of sizes, UID ranges, then a str8 reference for each UID */
	CV_ENTRY_COPY,       /* guid of the target, guid of the source, u32 UID in the source, u8 moved, message; when the message's file is still to be made:
	                        str8 reference of what it is made of, and where that is not the source's: guid, u32 UID */
	CV_ENTRY_RECENT,     /* guid, u32 first UID that no session has seen as recent, u64 how many have it or a higher one */
	CV_ENTRY_UIDNEXT,    /* guid, u32 uidnext, u64 lowest sequence number for what follows: after damage */
	CV_ENTRY_REF,        /* guid, u32 UID, str8 reference: the octets lie elsewhere now */
	CV_ENTRY_UIDL,       /* guid, u32 UID, str POP3 unique-id: what the message is called there from now on */
	CV_ENTRY_NOTE,       /* guid, groups: str changes of annotations (note.h), UID ranges */
	CV_ENTRY_OCTETS,     /* guid, u32 UID, str octets of the message that the APPEND before it tells of, as they are stored: the storage has none of it yet */
	CV_ENTRY_SETTLED,    /* u64 sequence number: files that records up to this one owe are made and on disk */
};

/* A message as an append or copy tells it. Views are borrowed. */
struct cv_entry_message {
	uint32_t uid;
	uint16_t flags;
	int16_t zone;
	int64_t date, saved;
	uint64_t physical_size, virtual_size;
	struct cv_guid guid;
	struct cv_str ref, uidl;
	struct cv_str keywords; /* encoded: cv_keywords_* */
	struct cv_str parse;    /* parse record; absent when there is none */
	uint32_t sum;           /* CRC-32C of its octets as stored, behind all else; 0: not known (records below version 3 have none) */
};

struct cv_entry {
	enum cv_entry_kind kind;
	struct cv_guid mailbox;
	struct cv_str name, new_name;
	uint32_t uidvalidity, special_use, uid;
	uint64_t number;
	bool on;
	struct cv_guid from;
	struct cv_entry_message message;
	struct cv_str groups; /* for cv_group_next */
	struct cv_str ref;    /* REF; COPY: of what its file is made of, absent when it was made before the record */
	struct cv_guid origin; /* COPY with ref: the mailbox that ref is in, and the UID there */
	uint32_t origin_uid;
	struct cv_str octets;
};

/* One group of FLAGS, EXPUNGE or NOTE. */
struct cv_group {
	uint16_t flags_before, flags_after;
	uint64_t size;
	struct cv_str keywords;
	struct cv_reader ranges; /* for cv_range_next */
	uint32_t range_count;
	uint32_t last;           /* UID that the range before ended at */
	struct cv_reader refs;   /* EXPUNGE: for cv_take_ref */
	struct cv_str changes;   /* NOTE */
};

/* Does it change names rather than messages? */
static inline bool cv_entry_is_tree(enum cv_entry_kind kind)
{
	return kind <= CV_ENTRY_ANNOTATE;
}

/* Format version of a record that holds such an entry. */
static inline uint16_t cv_entry_version(const struct cv_entry *entry)
{
	if (entry->kind == CV_ENTRY_APPEND || entry->kind == CV_ENTRY_COPY)
		return entry->kind == CV_ENTRY_COPY && entry->ref.len > 0 ? 5 : 3;
	if (entry->kind == CV_ENTRY_OCTETS || entry->kind == CV_ENTRY_SETTLED)
		return 6;
	return entry->kind == CV_ENTRY_NOTE ? 4 : entry->kind == CV_ENTRY_ANNOTATE ? 2 : 1;
}

/* Octets of an APPEND or COPY that come behind its parse record. */
size_t cv_entry_behind_parse(const struct cv_entry *entry);
/* What a record of this length is worth where reading it again is weighed against writing what it changed: messages' octets are cheap to pass over. */
static inline uint32_t cv_record_weight(uint32_t len, uint32_t octets)
{
	return len - octets / 8 * 7;
}

/* Write. */
void cv_entry_put(struct cv_buf *out, const struct cv_entry *entry);
void cv_keywords_put(struct cv_buf *out, const struct cv_str *names, size_t count);
void cv_ranges_put(struct cv_buf *out, const struct cv_ranges *ranges);
void cv_ref_put(struct cv_buf *out, struct cv_str ref);
void cv_group_put_flags(struct cv_buf *out, uint16_t before, uint16_t after, struct cv_str keywords, const struct cv_ranges *uids);
void cv_group_put_expunge(struct cv_buf *out, uint16_t before, uint64_t size, const struct cv_ranges *uids, struct cv_str refs);
void cv_group_put_notes(struct cv_buf *out, struct cv_str changes, const struct cv_ranges *uids);

/* Read. 1 with the next one, 0 at the end, -1 when the octets make no sense. */
CV_MUST_CHECK int cv_entry_next(struct cv_reader *reader, struct cv_entry *entry_r);
/* How many of the entries' octets are messages'. */
uint32_t cv_entries_octets(struct cv_str entries);
CV_MUST_CHECK int cv_group_next(struct cv_reader *reader, enum cv_entry_kind kind, struct cv_group *group_r);
CV_MUST_CHECK int cv_range_next(struct cv_group *group, struct cv_range *range_r);
CV_MUST_CHECK bool cv_take_ref(struct cv_reader *reader, struct cv_str *ref_r);
/* Names out of an encoded list: *pos starts at 0. */
bool cv_keywords_next(struct cv_str list, size_t *pos, struct cv_str *name_r);

#endif
