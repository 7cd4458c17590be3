/* SPDX-License-Identifier: MIT
   Message transforms: what changes a message's octets on their way into the storage, and back when they are read (compression, encryption). Protocols,
   search and the journal see the message as it came; the storage module keeps what the transforms made of it.

   Nothing else tells that stored octets are a transform's than their beginning (detect): so they are known again wherever they come from, from another
   program's Maildir or from a scan after the journal was lost. A transform's stored form therefore begins with octets with which no message begins (not a
   printable character, blank or line end), and a message that begins as if it were one is refused when it is saved.

   Several transforms may apply to one message: the one with the lower stage first; what it makes is the next one's message. They are undone in the opposite
   order, each found by the beginning of what the one before gave. Copies within the storage keep the octets as they are.

   Where nothing provides a transform, nothing is looked at. */
#ifndef CV_TRANSFORM_H
#define CV_TRANSFORM_H

#include <culver/mailbox.h>

/* Octets of its beginning by which a stored form is known. */
#define CV_TRANSFORM_HEAD ((size_t)32)
/* Transforms that can be loaded together. */
#define CV_TRANSFORMS_MAX 8u

enum cv_transform_stage {
	CV_TRANSFORM_COMPRESS = 10,
	CV_TRANSFORM_ENCRYPT = 20
};

/* Where an encoder puts what it makes. Octets are borrowed for the call. */
struct cv_transform_sink {
	int (*write)(struct cv_transform_sink *sink, struct cv_str octets, struct cv_err *err);
};

struct cv_transform {
	const char *name; /* of the provider: lower-case letters, digits, dash */
	int stage;        /* enum cv_transform_stage, or a number between; equal ones go in the order of their names */

	/* Are these the first octets of this transform's stored form? head: the first CV_TRANSFORM_HEAD octets, or all when there are fewer. */
	bool (*detect)(struct cv_str head);

	/* A message is saved for user: 1 with an encoder that writes to sink (which stays valid until the encoder ends), 0 when this user's settings do not ask
	   for it, -1. size_hint: octets, 0 unknown. */
	int (*encode_begin)(struct cv_user *user, uint64_t size_hint, struct cv_transform_sink *sink, void **encoder_r, struct cv_err *err);
	/* The next octets, cut anywhere. Memory must not depend on how many there are. -1 fails the saving. */
	int (*encode_write)(void *encoder, struct cv_str octets, struct cv_err *err);
	/* All octets were written: the rest goes to the sink, and encoder is freed, on failure too. */
	int (*encode_finish)(void *encoder, struct cv_err *err);
	/* Instead of finish: freed without writing. */
	void (*encode_abort)(void *encoder);

	/* The message of a stored form that detect has known: a source with its exact size that gives any place of it (message.h), from which large messages are
	   read in pieces; going back may cost reading again from the start. Octets that do not check are CV_ERR_CORRUPT, at the latest when they are asked for; a
	   missing key is CV_ERR_PERM or CV_ERR_UNAVAILABLE. stored is the new source's on success, and stays the caller's on failure. known_size: octets of the whole
	   message as recorded, when the last transform to be undone is this one; UINT64_MAX: not known. A source may take it for true where its own notes agree,
	   instead of counting. */
	int (*decode)(struct cv_user *user, struct cv_message_reader *stored, uint64_t known_size, struct cv_message_reader **reader_r,
		struct cv_err *err);
};

static inline int cv_provide_transform(struct cv_registry *reg, const struct cv_transform *transform, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_TRANSFORM, transform->name, transform, sizeof(*transform), err);
}

#endif
