/* SPDX-License-Identifier: MIT
   The layout of a parse record, version 1. All numbers are little-endian; "varint" is LEB128.

   offset  octets
	0       4  "CVPR"
	4       1  version
	5       1  sections that are there: enum cv_record_sections
	6       2  length of this fixed part (a later minor form may lengthen it)
	8       4  length of the whole record
	12      4  flags of the message (enum cv_mime_flags)
	16      8  size of the message
	24      8  its size on the wire
	32      8  size of its header
	40      8  header's size on the wire
	48      8  sent date, UTC seconds since 1970
	56      2  zone of the sent date, minutes east of UTC
	58      2  1: date valid, 2: zone unknown
	60      4  parts
	64      4  attachments
	68      8  kept field names (bits: index in the table of kept names) of which a field was left out
	76      4  length of the fields at the start of the pool
	80      4  length of the pool
	84      4  length of the envelope
	88      4  length of the parts
	92      4  length of the preview
	96      8  bits of other field names (cv_record_name_bit) of which a field was left out. Records of before end their fixed part
	           here: of other names they keep nothing
	104        pool, envelope, parts, preview

   The pool holds the octets of all strings: first the header fields, raw and in order, then what is found nowhere in what
   stands before. A string elsewhere is a varint 0 (absent), 1 (empty), or its length + 1 and a varint offset in the pool.

   Envelope: strings date, subject, in-reply-to, message-id; then from, sender, reply-to, to, cc, bcc, each a varint 0 (absent) or
   count + 1, and the items: an octet (bits 0, 1: kind; 2: has a name; 3: has a route), then strings, name and route where there
   are any, mailbox but for a group's end, host of a mailbox.

   Parts, in preorder: varint flags * 4 + kind; varint children; strings type, subtype; parameters (varint count; strings name,
   value); varint of bits for what follows: 1 disposition (string, parameters), 2 id, 4 description, 8 md5, 16 location (strings),
   32 languages (varint count, strings), 64 encoding (string); varints: header offset less that of the part before, header size,
   bare LFs in it, lines; body size, bare LFs, lines; of a multipart preamble and epilogue size; of a nested message its
   envelope. */
#ifndef CV_RECORD_PRIVATE_H
#define CV_RECORD_PRIVATE_H

#include <culver/message.h>

#define CV_RECORD_MAGIC "CVPR"
#define CV_RECORD_FIXED 104
#define CV_RECORD_FIXED_MIN 96

enum cv_record_sections { CV_RECORD_ENVELOPE = 1, CV_RECORD_PARTS = 2, CV_RECORD_PREVIEW = 4 };
enum cv_record_date { CV_RECORD_DATE_VALID = 1, CV_RECORD_ZONE_UNKNOWN = 2 };
enum cv_record_part_bits {
	CV_RECORD_DISPOSITION = 1,
	CV_RECORD_ID = 2,
	CV_RECORD_DESCRIPTION = 4,
	CV_RECORD_MD5 = 8,
	CV_RECORD_LOCATION = 16,
	CV_RECORD_LANGUAGES = 32,
	CV_RECORD_ENCODING = 64
};

/* Index (below 64) of a header field name whose fields records keep however many there are of others, or -1. */
int cv_record_kept_name(struct cv_str name);
/* The bit of any other name. Names share bits: a record that left out a field says so of all names that have its bit. */
uint64_t cv_record_name_bit(struct cv_str name);
/* Of Received only the first field is kept. */
#define CV_RECORD_RECEIVED 0

#endif
