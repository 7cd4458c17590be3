/* SPDX-License-Identifier: MIT
   Test plugin: two message transforms for users whose names ask for them. "rle" keeps a message as runs (0x80 "RLE1", pairs of a length 1 to 255 and an octet,
   then 0, the message's size in 8 octets and the FNV-1a hash of it in 4, low octets first); "xor" veils its octets (0x81 "XOR1", then each octet with its
   place). */
#include <culver/base.h>
#include <culver/transform.h>

#include <string.h>

#define RLE_MAGIC "\x80RLE1"
#define XOR_MAGIC "\x81XOR1"
#define MAGIC_LEN ((size_t)5)
#define TRAILER_LEN ((size_t)13)
#define CHUNK ((size_t)4096)

static bool asks(const struct cv_user *user, const char *word)
{
	return cv_str_find_str(cv_str_c(cv_user_name(user)), cv_str_c(word)) != SIZE_MAX;
}

static uint32_t hash(uint32_t h, struct cv_str octets)
{
	for (size_t i = 0; i < octets.len; i++)
		h = (h ^ (uint8_t)octets.ptr[i]) * 16777619u;
	return h;
}
#define HASH_START 2166136261u

struct encoder {
	struct cv_transform_sink *sink;
	char out[CHUNK];
	size_t len;
	uint64_t size;
	uint32_t hash;
	uint8_t run, octet;
};

static int flush(struct encoder *e, struct cv_err *err)
{
	size_t len = e->len;

	e->len = 0;
	return e->sink->write(e->sink, cv_str_mem(e->out, len), err);
}

static int put(struct encoder *e, uint8_t octet, struct cv_err *err)
{
	e->out[e->len++] = (char)octet;
	return e->len == sizeof(e->out) ? flush(e, err) : 1;
}

static int begin(struct cv_user *user, const char *word, const char *magic, struct cv_transform_sink *sink, void **encoder_r)
{
	struct encoder *e;

	if (!asks(user, word))
		return 0;
	e = cv_new0(struct encoder);
	e->sink = sink;
	e->hash = HASH_START;
	memcpy(e->out, magic, MAGIC_LEN);
	e->len = MAGIC_LEN;
	*encoder_r = e;
	return 1;
}

static void encode_abort(void *encoder)
{
	cv_free(encoder);
}

/* ---- rle ------------------------------------------------------------------------------------------------ */

static bool rle_detect(struct cv_str head)
{
	return cv_str_starts(head, CV_STR(RLE_MAGIC));
}

static int rle_begin(struct cv_user *user, uint64_t size_hint, struct cv_transform_sink *sink, void **encoder_r, struct cv_err *err)
{
	(void)size_hint;
	(void)err;
	return begin(user, "rle", RLE_MAGIC, sink, encoder_r);
}

static int rle_write(void *encoder, struct cv_str octets, struct cv_err *err)
{
	struct encoder *e = encoder;

	for (size_t i = 0; i < octets.len; i++) {
		uint8_t octet = (uint8_t)octets.ptr[i];

		if (e->run > 0 && (octet != e->octet || e->run == 255)) {
			if (put(e, e->run, err) < 0 || put(e, e->octet, err) < 0)
				return -1;
			e->run = 0;
		}
		e->octet = octet;
		e->run++;
	}
	e->size += octets.len;
	e->hash = hash(e->hash, octets);
	return 1;
}

static int rle_finish(void *encoder, struct cv_err *err)
{
	struct encoder *e = encoder;
	int ret = 1;

	if (e->run > 0 && (put(e, e->run, err) < 0 || put(e, e->octet, err) < 0))
		ret = -1;
	if (ret > 0)
		ret = put(e, 0, err);
	for (unsigned i = 0; ret > 0 && i < 8; i++)
		ret = put(e, (uint8_t)(e->size >> (8 * i)), err);
	for (unsigned i = 0; ret > 0 && i < 4; i++)
		ret = put(e, (uint8_t)(e->hash >> (8 * i)), err);
	if (ret > 0)
		ret = flush(e, err);
	cv_free(e);
	return ret;
}

struct rle_reader {
	struct cv_message_reader base;
	struct cv_message_reader *stored;
	uint64_t at;        /* in stored: the next pair */
	uint64_t pos;       /* in the message: of out */
	uint32_t hash, wanted_hash;
	char out[CHUNK];
	size_t len;
};

static int damaged(struct cv_err *err)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "runs that make no sense");
}

static int take(struct cv_message_reader *stored, uint64_t at, uint8_t *to, size_t count, struct cv_err *err)
{
	while (count > 0) {
		struct cv_str view;
		int ret = cv_message_reader_get(stored, at, count, &view, err);

		if (ret <= 0)
			return ret < 0 ? -1 : damaged(err);
		memcpy(to, view.ptr, view.len);
		to += view.len;
		at += view.len;
		count -= view.len;
	}
	return 1;
}

static void rle_restart(struct rle_reader *r)
{
	r->at = MAGIC_LEN;
	r->pos = 0;
	r->len = 0;
	r->hash = HASH_START;
}

/* The next octets into out. */
static int rle_fill(struct rle_reader *r, struct cv_err *err)
{
	r->pos += r->len;
	r->len = 0;
	while (r->len + 255 <= sizeof(r->out)) {
		uint8_t pair[2];

		if (take(r->stored, r->at, pair, 2, err) < 0)
			return -1;
		if (pair[0] == 0)
			break;
		memset(r->out + r->len, pair[1], pair[0]);
		r->len += pair[0];
		r->at += 2;
	}
	r->hash = hash(r->hash, cv_str_mem(r->out, r->len));
	if (r->len == 0 || r->len > r->base.size - r->pos || (r->pos + r->len == r->base.size && r->hash != r->wanted_hash))
		return damaged(err);
	return 1;
}

static int rle_get(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r, struct cv_err *err)
{
	struct rle_reader *r = (struct rle_reader *)reader;

	if (pos >= reader->size)
		return 0;
	if (pos < r->pos)
		rle_restart(r);
	while (pos - r->pos >= r->len) {
		if (rle_fill(r, err) < 0) {
			rle_restart(r);
			return -1;
		}
	}
	*view_r = cv_str_sub(cv_str_mem(r->out, r->len), (size_t)(pos - r->pos), max);
	return 1;
}

static void rle_free(struct cv_message_reader *reader)
{
	struct rle_reader *r = (struct rle_reader *)reader;

	cv_message_reader_free(&r->stored);
	cv_free(r);
}

static const struct cv_message_reader_ops rle_ops = { .get = rle_get, .free = rle_free };

static int rle_decode(struct cv_user *user, struct cv_message_reader *stored, uint64_t known_size, struct cv_message_reader **reader_r,
	struct cv_err *err)
{
	struct rle_reader *r;
	uint8_t trailer[TRAILER_LEN];
	uint64_t size = 0;

	(void)user;
	(void)known_size;
	if (stored->size < MAGIC_LEN + TRAILER_LEN || take(stored, stored->size - TRAILER_LEN, trailer, TRAILER_LEN, err) < 0 || trailer[0] != 0)
		return damaged(err);
	for (unsigned i = 0; i < 8; i++)
		size |= (uint64_t)trailer[1 + i] << (8 * i);
	if (size / 255 > stored->size)
		return damaged(err);
	r = cv_new0(struct rle_reader);
	r->base.ops = &rle_ops;
	r->base.size = size;
	r->stored = stored;
	for (unsigned i = 0; i < 4; i++)
		r->wanted_hash |= (uint32_t)trailer[9 + i] << (8 * i);
	rle_restart(r);
	*reader_r = &r->base;
	return 1;
}

/* ---- xor ------------------------------------------------------------------------------------------------ */

static uint8_t veil(uint8_t octet, uint64_t place)
{
	return octet ^ (uint8_t)(0x5a + place * 7);
}

static bool xor_detect(struct cv_str head)
{
	return cv_str_starts(head, CV_STR(XOR_MAGIC));
}

static int xor_begin(struct cv_user *user, uint64_t size_hint, struct cv_transform_sink *sink, void **encoder_r, struct cv_err *err)
{
	(void)size_hint;
	(void)err;
	return begin(user, "xor", XOR_MAGIC, sink, encoder_r);
}

static int xor_write(void *encoder, struct cv_str octets, struct cv_err *err)
{
	struct encoder *e = encoder;

	for (size_t i = 0; i < octets.len; i++) {
		if (put(e, veil((uint8_t)octets.ptr[i], e->size++), err) < 0)
			return -1;
	}
	return 1;
}

static int xor_finish(void *encoder, struct cv_err *err)
{
	int ret = flush(encoder, err);

	cv_free(encoder);
	return ret;
}

struct xor_reader {
	struct cv_message_reader base;
	struct cv_message_reader *stored;
	char out[CHUNK];
};

static int xor_get(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r, struct cv_err *err)
{
	struct xor_reader *r = (struct xor_reader *)reader;
	struct cv_str view;
	int ret;

	if (pos >= reader->size)
		return 0;
	ret = cv_message_reader_get(r->stored, MAGIC_LEN + pos, CV_MIN(max, sizeof(r->out)), &view, err);
	if (ret <= 0)
		return ret < 0 ? -1 : damaged(err);
	for (size_t i = 0; i < view.len; i++)
		r->out[i] = (char)veil((uint8_t)view.ptr[i], pos + i);
	*view_r = cv_str_mem(r->out, view.len);
	return 1;
}

static void xor_free(struct cv_message_reader *reader)
{
	struct xor_reader *r = (struct xor_reader *)reader;

	cv_message_reader_free(&r->stored);
	cv_free(r);
}

static const struct cv_message_reader_ops xor_ops = { .get = xor_get, .free = xor_free };

static int xor_decode(struct cv_user *user, struct cv_message_reader *stored, uint64_t known_size, struct cv_message_reader **reader_r,
	struct cv_err *err)
{
	struct xor_reader *r = cv_new0(struct xor_reader);

	(void)user;
	(void)known_size;
	(void)err;
	r->base.ops = &xor_ops;
	r->base.size = stored->size - MAGIC_LEN; /* detect has seen so many */
	r->stored = stored;
	*reader_r = &r->base;
	return 1;
}

/* ---- the module ----------------------------------------------------------------------------------------- */

static const struct cv_transform rle = {
	.name = "test-rle",
	.stage = CV_TRANSFORM_COMPRESS,
	.detect = rle_detect,
	.encode_begin = rle_begin,
	.encode_write = rle_write,
	.encode_finish = rle_finish,
	.encode_abort = encode_abort,
	.decode = rle_decode,
};

static const struct cv_transform veiled = {
	.name = "test-xor",
	.stage = CV_TRANSFORM_ENCRYPT,
	.detect = xor_detect,
	.encode_begin = xor_begin,
	.encode_write = xor_write,
	.encode_finish = xor_finish,
	.encode_abort = encode_abort,
	.decode = xor_decode,
};

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_transform(reg, &veiled, err) < 0 || cv_provide_transform(reg, &rle, err) < 0 ? -1 : 0;
}

CV_MODULE(transform) = {
	CV_MODULE_ABI,
	.name = "transform",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
