/* SPDX-License-Identifier: MIT
   Message transforms: the chain of encoders of a message that is saved, and of sources of one that is read. */
#include <config.h>

#include "core/store/store-private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define WHOLE_MAX ((uint64_t)1 << 30) /* a longer transformed message is read in pieces only */

static int compare(const void *a, const void *b)
{
	const struct cv_transform *x = *(const struct cv_transform *const *)a, *y = *(const struct cv_transform *const *)b;

	return x->stage != y->stage ? (x->stage > y->stage) - (x->stage < y->stage) : strcmp(x->name, y->name);
}

int cv_transforms_init(struct cv_user *user, struct cv_err *err)
{
	const struct cv_transform *transform;
	const char *name;
	size_t pos = 0;

	while (user->registry != NULL && (transform = cv_provider_next(user->registry, CV_CAP_TRANSFORM, &pos, &name)) != NULL) {
		if (user->transform_count == CV_TRANSFORMS_MAX)
			return cv_err_set(err, CV_ERR_LIMIT, "more than %u modules that transform messages are loaded", CV_TRANSFORMS_MAX);
		user->transforms[user->transform_count++] = transform;
	}
	qsort(user->transforms, user->transform_count, sizeof(user->transforms[0]), compare);
	return 1;
}

/* The transform of a stored form with this beginning, or NULL. */
static const struct cv_transform *detect(const struct cv_user *user, struct cv_str head)
{
	for (size_t i = user->transform_count; i > 0; i--) {
		if (user->transforms[i - 1]->detect(head))
			return user->transforms[i - 1];
	}
	return NULL;
}

/* ---- saving ------------------------------------------------------------------------------------------- */

struct head {
	char octets[CV_TRANSFORM_HEAD];
	size_t len;
};

/* One transform of a message: what it makes goes to the next one, or to the storage. */
struct stage {
	struct cv_transform_sink sink;
	struct cv_encoding *encoding;
	const struct cv_transform *transform;
	void *encoder;       /* NULL: ended */
	struct stage *next;  /* NULL: the storage */
	struct head head;    /* of what it made */
};

struct cv_encoding {
	struct cv_user *user;
	struct cv_save *save;
	struct stage stages[CV_TRANSFORMS_MAX];
	struct stage *first;
	struct head head;    /* of the message */
};

static void note_head(struct head *head, struct cv_str octets)
{
	struct cv_str part = cv_str_sub(octets, 0, sizeof(head->octets) - head->len);

	if (part.len > 0)
		memcpy(head->octets + head->len, part.ptr, part.len);
	head->len += part.len;
}

static struct cv_str head_str(const struct head *head)
{
	return cv_str_mem(head->octets, head->len);
}

static int put(struct cv_encoding *encoding, struct stage *stage, struct cv_str octets, struct cv_err *err)
{
	if (octets.len == 0)
		return 1;
	if (stage != NULL)
		return stage->transform->encode_write(stage->encoder, octets, err);
	return cv_save_store(encoding->save, octets, err);
}

static int on_made(struct cv_transform_sink *sink, struct cv_str octets, struct cv_err *err)
{
	struct stage *stage = cv_container(sink, struct stage, sink);

	note_head(&stage->head, octets);
	return put(stage->encoding, stage->next, octets, err);
}

/* From the last to the first: a beginning is written at once. */
int cv_encoding_begin(struct cv_save *save, uint64_t size_hint, struct cv_encoding **encoding_r, struct cv_err *err)
{
	struct cv_user *user = save->txn->user;
	struct cv_encoding *encoding;

	*encoding_r = NULL;
	if (user->transform_count == 0)
		return 1;
	encoding = cv_new(save->arena, struct cv_encoding, 1);
	encoding->user = user;
	encoding->save = save;
	for (size_t i = user->transform_count; i > 0; i--) {
		struct stage *stage = &encoding->stages[i - 1];
		int ret;

		*stage = (struct stage){ .sink = { on_made }, .encoding = encoding, .transform = user->transforms[i - 1], .next = encoding->first };
		ret = stage->transform->encode_begin(user, size_hint, &stage->sink, &stage->encoder, err);
		if (ret < 0) {
			cv_encoding_abort(encoding);
			return cv_err_context(err, "%s", stage->transform->name);
		}
		if (ret > 0)
			encoding->first = stage;
	}
	*encoding_r = encoding;
	return 1;
}

int cv_encoding_write(struct cv_encoding *encoding, struct cv_str octets, struct cv_err *err)
{
	note_head(&encoding->head, octets);
	return put(encoding, encoding->first, octets, err);
}

int cv_encoding_finish(struct cv_encoding *encoding, struct cv_err *err)
{
	if (detect(encoding->user, head_str(&encoding->head)) != NULL)
		return cv_err_set_public(err, CV_ERR_INVALID, "Message begins as if it were compressed or encrypted");
	for (struct stage *stage = encoding->first; stage != NULL; stage = stage->next) {
		void *encoder = stage->encoder;

		stage->encoder = NULL;
		if (stage->transform->encode_finish(encoder, err) < 0)
			return cv_err_context(err, "%s", stage->transform->name);
	}
	/* What could not be read back is not stored. */
	for (struct stage *stage = encoding->first; stage != NULL; stage = stage->next) {
		if (detect(encoding->user, head_str(&stage->head)) != stage->transform)
			return cv_err_set(err, CV_ERR_INTERNAL, "what %s has made is not known as its own", stage->transform->name);
	}
	return 1;
}

void cv_encoding_abort(struct cv_encoding *encoding)
{
	for (struct stage *stage = encoding->first; stage != NULL; stage = stage->next) {
		if (stage->encoder != NULL)
			stage->transform->encode_abort(stage->encoder);
		stage->encoder = NULL;
	}
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static int read_head(struct cv_message_reader *reader, struct head *head, struct cv_err *err)
{
	struct cv_str view;
	int ret = 1;

	head->len = 0;
	while (head->len < sizeof(head->octets)) {
		ret = cv_message_reader_get(reader, head->len, sizeof(head->octets) - head->len, &view, err);
		if (ret <= 0)
			break;
		note_head(head, view);
	}
	return ret < 0 ? -1 : 1;
}

int cv_transform_decode(struct cv_user *user, uint64_t known_size, struct cv_message_reader **reader, struct cv_err *err)
{
	const struct cv_transform *transform;
	struct cv_message_reader *inner;
	unsigned used = 0;
	struct head head;
	int found = 0;

	for (;;) {
		if (read_head(*reader, &head, err) < 0)
			return -1;
		transform = detect(user, head_str(&head));
		for (size_t i = 0; transform != NULL && i < user->transform_count; i++) {
			if (user->transforms[i] != transform)
				continue;
			if ((used & 1u << i) != 0) /* none is applied twice: it would have no end */
				return cv_err_set(err, CV_ERR_CORRUPT, "octets of %s within octets of %s", transform->name, transform->name);
			used |= 1u << i;
		}
		if (transform == NULL)
			return found;
		if (transform->decode(user, *reader, known_size, &inner, err) < 0)
			return cv_err_context(err, "%s", transform->name);
		*reader = inner;
		found = 1;
	}
}

/* Do these stored octets need more than to be read? */
static bool is_transformed(const struct cv_user *user, struct cv_str octets)
{
	return user->transform_count > 0 && detect(user, cv_str_sub(octets, 0, CV_TRANSFORM_HEAD)) != NULL;
}

/* What reader decodes to; reader is taken. */
static int keep_decoded(struct cv_user *user, struct cv_octets *octets, struct cv_message_reader *reader, uint64_t known_size, struct cv_err *err)
{
	if (cv_transform_decode(user, known_size, &reader, err) < 0) {
		cv_message_reader_free(&reader);
		return -1;
	}
	octets->reader = reader;
	octets->transformed = true;
	return 1;
}

static int keep_source(struct cv_user *user, struct cv_octets *octets, struct cv_storage_blob *blob, uint64_t known_size, struct cv_err *err)
{
	struct cv_message_reader *reader = cv_message_reader_new_fd(blob->fd, blob->offset, blob->len, true);

	blob->fd = -1; /* the source's */
	return keep_decoded(user, octets, reader, known_size, err);
}

int cv_octets_open(struct cv_user *user, struct cv_octets *octets, struct cv_storage_blob *blob, uint64_t known_size, struct cv_err *err)
{
	char head[CV_TRANSFORM_HEAD];
	size_t got;

	if (user->transform_count > 0) {
		if (cv_file_pread(blob->fd, head, (size_t)CV_MIN(blob->len, (uint64_t)sizeof(head)), blob->offset, &got, err) < 0)
			return -1;
		if (is_transformed(user, cv_str_mem(head, got)))
			return keep_source(user, octets, blob, known_size, err);
	}
	return cv_octets_load(octets, blob, err);
}

int cv_octets_take(struct cv_user *user, struct cv_octets *octets, struct cv_buf *stored, uint64_t known_size, struct cv_err *err)
{
	cv_buf_deinit(&octets->buf);
	octets->buf = *stored;
	cv_buf_init(stored, SIZE_MAX / 2);
	if (!is_transformed(user, cv_buf_str(&octets->buf))) {
		octets->view = cv_buf_str(&octets->buf);
		octets->loaded = true;
		return 1;
	}
	return keep_decoded(user, octets, cv_message_reader_new_mem(cv_buf_str(&octets->buf)), known_size, err);
}

int cv_octets_whole(struct cv_octets *octets, struct cv_err *err)
{
	struct cv_message_reader *reader = octets->reader;
	uint64_t done = 0;
	char *to = NULL;

	if (octets->loaded)
		return 1;
	if (reader->size > WHOLE_MAX)
		return cv_err_set(err, CV_ERR_LIMIT, "a message of %llu octets can't be read whole", (unsigned long long)reader->size);
	if (reader->size == 0) {
		octets->view = CV_STR("");
	} else {
		to = mmap(NULL, (size_t)reader->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (to == MAP_FAILED)
			return cv_err_sys(err, errno, "no memory for a message of %llu octets", (unsigned long long)reader->size);
		octets->map = to;
		octets->map_len = (size_t)reader->size;
		octets->view = cv_str_mem(to, octets->map_len);
	}
	while (done < reader->size) {
		struct cv_str view;
		int ret = cv_message_reader_get(reader, done, (size_t)(reader->size - done), &view, err);

		if (ret > 0) {
			memcpy(to + done, view.ptr, view.len);
			done += view.len;
			continue;
		}
		cv_file_unmap(octets->map, octets->map_len);
		octets->map = NULL;
		octets->map_len = 0;
		return ret < 0 ? -1 : cv_err_set(err, CV_ERR_CORRUPT, "a message is shorter than it says");
	}
	cv_message_reader_free(&octets->reader);
	octets->loaded = true;
	return 1;
}

struct cv_message_reader *cv_octets_reader(struct cv_octets *octets)
{
	if (octets->reader == NULL)
		octets->reader = cv_message_reader_new_mem(octets->view);
	return octets->reader;
}
