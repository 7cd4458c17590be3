/* SPDX-License-Identifier: MIT
   Test plugin: a search index in memory for users whose names ask for it. Of each message it keeps which trigrams are in its text, as bits that some share,
   so it answers "no" or "maybe", and its Subject, of which it knows for sure. It logs what it was asked and told. */
#include <culver/log.h>
#include <culver/map.h>
#include <culver/searchindex.h>
#include <culver/time.h>

#include <string.h>

#define BITS 16384u
#define SUBJECT_MAX ((size_t)1000)

static const struct cv_log_ctx log_ctx = { .category = "index" };
static unsigned the_slot; /* taken once, in load */

enum scope { IN_HEADER, IN_BODY, IN_ALL, SCOPES };

struct message {
	uint32_t uid;
	bool unclear;              /* could not be read, or has text that is compared otherwise: always a maybe */
	bool subject_known;
	struct cv_buf subject;     /* all of them, each behind a line end */
	uint8_t bits[SCOPES][BITS / 8];
};

struct box {
	uint32_t upto;
	CV_VEC(struct message *) messages; /* by UID */
};

struct index {
	struct cv_user *user;
	struct cv_map *boxes; /* by GUID */
};

/* ---- trigrams --------------------------------------------------------------------------------------------- */

static uint32_t hash(uint32_t h, uint8_t octet)
{
	return (h ^ octet) * 16777619u;
}

/* Where the field's name matters it is part of each trigram. */
static uint32_t seed(struct cv_str name)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < name.len; i++)
		h = hash(h, (uint8_t)cv_lower(name.ptr[i]));
	return h;
}

static void set_bits(uint8_t *bits, uint32_t start, struct cv_str text)
{
	for (size_t i = 0; i + 3 <= text.len; i++) {
		uint32_t h = hash(hash(hash(start, (uint8_t)text.ptr[i]), (uint8_t)text.ptr[i + 1]), (uint8_t)text.ptr[i + 2]) % BITS;

		bits[h / 8] |= (uint8_t)(1u << (h % 8));
	}
}

static bool has_bits(const uint8_t *bits, uint32_t start, struct cv_str text)
{
	for (size_t i = 0; i + 3 <= text.len; i++) {
		uint32_t h = hash(hash(hash(start, (uint8_t)text.ptr[i]), (uint8_t)text.ptr[i + 1]), (uint8_t)text.ptr[i + 2]) % BITS;

		if ((bits[h / 8] & 1u << (h % 8)) == 0)
			return false;
	}
	return true;
}

/* ---- taking messages in ----------------------------------------------------------------------------------- */

struct taking {
	struct message *message;
	struct cv_buf line;     /* "Name: text", or what is behind the end of a piece and the next one */
	struct cv_buf rest[2];  /* by stream: the last octets of its last piece */
};

static void on_field(struct taking *t, const struct cv_search_piece *piece)
{
	struct message *m = t->message;

	if (piece->octets.len > 0)
		m->unclear = true;
	cv_buf_clear(&t->line);
	cv_casemap(&t->line, piece->name);
	cv_buf_append(&t->line, CV_STR(": "));
	cv_buf_append(&t->line, piece->text);
	set_bits(m->bits[IN_ALL], 0, cv_buf_str(&t->line));
	if (piece->where == CV_SEARCH_BODY) {
		set_bits(m->bits[IN_BODY], 0, cv_buf_str(&t->line));
		return;
	}
	set_bits(m->bits[IN_HEADER], seed(piece->name), piece->text);
	if (!cv_str_caseeq(piece->name, CV_STR("subject")))
		return;
	cv_buf_append_char(&m->subject, '\n');
	cv_buf_append(&m->subject, piece->text);
}

static void on_piece(void *ctx, const struct cv_search_piece *piece)
{
	struct taking *t = ctx;
	struct cv_buf *rest = &t->rest[piece->stream];

	if (piece->name.ptr != NULL) {
		on_field(t, piece);
		return;
	}
	cv_buf_clear(&t->line);
	if (!piece->first)
		cv_buf_append(&t->line, cv_buf_str(rest));
	cv_buf_append(&t->line, piece->text);
	set_bits(t->message->bits[IN_BODY], 0, cv_buf_str(&t->line));
	set_bits(t->message->bits[IN_ALL], 0, cv_buf_str(&t->line));
	cv_buf_clear(rest);
	cv_buf_append(rest, cv_str_sub(cv_buf_str(&t->line), t->line.len > 2 ? t->line.len - 2 : 0, 2));
}

static int read_message(struct taking *t, struct cv_view *view, uint32_t seq, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("indexed message", NULL, 0);
	struct cv_search *search = cv_search_new_tap(on_piece, t);
	struct cv_mail *mail = NULL;
	int ret = cv_mail_open(view, seq, &mail, err);

	if (ret > 0)
		ret = cv_mail_search_begin(mail, arena, search, err);
	while (ret > 0) {
		ret = cv_search_step(search, UINT64_MAX, err);
		if (ret > 0)
			break;
	}
	cv_search_free(&search);
	cv_mail_close(&mail);
	cv_arena_free(&arena);
	return ret;
}

static void take(struct box *box, struct cv_view *view, uint32_t seq)
{
	struct message *m = cv_new0(struct message);
	struct taking t = { .message = m };
	struct cv_err err = { 0 };

	m->uid = cv_view_uid(view, seq);
	cv_buf_init(&m->subject, SUBJECT_MAX);
	cv_buf_init(&t.line, SIZE_MAX);
	cv_buf_init(&t.rest[0], 8);
	cv_buf_init(&t.rest[1], 8);
	if (read_message(&t, view, seq, &err) < 0)
		m->unclear = true;
	m->subject_known = !m->unclear && cv_buf_ok(&m->subject);
	cv_buf_deinit(&t.line);
	cv_buf_deinit(&t.rest[0]);
	cv_buf_deinit(&t.rest[1]);
	*cv_vec_push(&box->messages) = m;
	box->upto = m->uid;
}

static struct box *box_of(struct index *index, struct cv_str guid)
{
	struct box *box = cv_map_get(index->boxes, guid);

	if (box == NULL) {
		box = cv_new0(struct box);
		cv_map_set(index->boxes, guid, box);
	}
	return box;
}

static int update(void *ctx, struct cv_mailbox *mailbox, uint32_t uid, uint64_t budget_us, struct cv_err *err)
{
	struct index *index = ctx;
	struct box *box = box_of(index, cv_str_mem(cv_mailbox_guid(mailbox), 16));
	uint64_t start = cv_time_mono_us();
	struct cv_view *view;
	unsigned read = 0;

	if (box->upto >= uid)
		return 1;
	if (cv_view_open(mailbox, CV_VIEW_READONLY, &view, err) < 0)
		return -1;
	for (uint32_t seq = cv_view_seq_from(view, box->upto + 1); seq <= cv_view_count(view) && cv_view_uid(view, seq) <= uid; seq++) {
		if (read > 0 && cv_time_mono_us() - start >= budget_us)
			break;
		take(box, view, seq);
		read++;
	}
	if (cv_view_seq_from(view, box->upto + 1) > cv_view_count(view) || cv_view_uid(view, cv_view_seq_from(view, box->upto + 1)) > uid)
		box->upto = uid;
	cv_view_close(&view);
	cv_info(&log_ctx, "index user=%s update upto=%u read=%u", cv_user_name(index->user), box->upto, read);
	return box->upto >= uid;
}

/* ---- answering -------------------------------------------------------------------------------------------- */

static int lookup(void *ctx, struct cv_mailbox *mailbox, const struct cv_index_query *query, struct cv_index_answer *answer_r, struct cv_err *err)
{
	struct index *index = ctx;
	struct box *box = box_of(index, cv_str_mem(cv_mailbox_guid(mailbox), 16));
	bool subject = query->kind == CV_MAILSEARCH_HEADER && cv_str_caseeq(query->name, CV_STR("subject"));
	enum scope scope = query->kind == CV_MAILSEARCH_HEADER ? IN_HEADER : query->kind == CV_MAILSEARCH_BODY ? IN_BODY : IN_ALL;
	uint32_t start = query->kind == CV_MAILSEARCH_HEADER ? seed(query->name) : 0;

	if (cv_str_find_str(query->text, CV_STR("refuse")) != SIZE_MAX)
		return cv_err_set(err, CV_ERR_TEMP, "the index does not want to");
	if (query->mapped.len < 3) /* every message may have it */
		return 1;
	answer_r->upto = box->upto;
	for (size_t i = 0; i < box->messages.count; i++) {
		const struct message *m = box->messages.data[i];

		if (subject && m->subject_known) {
			if (cv_str_find_str(cv_buf_str(&m->subject), query->mapped) != SIZE_MAX)
				cv_ranges_add(&answer_r->yes, m->uid, m->uid);
		} else if (m->unclear || has_bits(m->bits[scope], start, query->mapped)) {
			cv_ranges_add(&answer_r->maybe, m->uid, m->uid);
		}
	}
	cv_info(&log_ctx, "index user=%s lookup kind=%d upto=%u yes=%llu maybe=%llu", cv_user_name(index->user), (int)query->kind, answer_r->upto,
		(unsigned long long)cv_ranges_numbers(&answer_r->yes), (unsigned long long)cv_ranges_numbers(&answer_r->maybe));
	return 1;
}

/* ---- what goes -------------------------------------------------------------------------------------------- */

static void free_message(struct message *m)
{
	cv_buf_deinit(&m->subject);
	cv_free(m);
}

static void drop_box(struct index *index, struct cv_str guid)
{
	struct box *box = cv_map_remove(index->boxes, guid);

	if (box == NULL)
		return;
	for (size_t i = 0; i < box->messages.count; i++)
		free_message(box->messages.data[i]);
	cv_vec_free(&box->messages);
	cv_free(box);
}

static void drop_message(struct index *index, struct cv_str guid, uint32_t uid)
{
	struct box *box = cv_map_get(index->boxes, guid);

	for (size_t i = 0; box != NULL && i < box->messages.count; i++) {
		if (box->messages.data[i]->uid != uid)
			continue;
		free_message(box->messages.data[i]);
		memmove(&box->messages.data[i], &box->messages.data[i + 1], (--box->messages.count - i) * sizeof(struct message *));
		cv_info(&log_ctx, "index user=%s expunged uid=%u", cv_user_name(index->user), uid);
		return;
	}
}

static int on_record(void *ctx, const struct cv_change *changes, size_t count, struct cv_err *err)
{
	struct index *index = *cv_user_data(ctx, the_slot);

	(void)err;
	for (size_t i = 0; index != NULL && i < count; i++) {
		struct cv_str guid = cv_str_mem(changes[i].mailbox_guid, 16);

		if (changes[i].kind == CV_CHANGE_EXPUNGE) {
			drop_message(index, guid, changes[i].uid);
		} else if (changes[i].kind == CV_CHANGE_DELETE) {
			drop_box(index, guid);
			cv_info(&log_ctx, "index user=%s deleted", cv_user_name(index->user));
		}
	}
	return 1;
}

static int on_open(struct cv_user *user, void **ctx_r, struct cv_err *err)
{
	(void)err;
	*ctx_r = user;
	return 1;
}

static const struct cv_subscriber subscriber = { .name = "test-index", .open = on_open, .record = on_record };

/* ---- the module ------------------------------------------------------------------------------------------- */

static int index_open(struct cv_user *user, void **ctx_r, struct cv_err *err)
{
	struct index *index;

	if (cv_str_find_str(cv_str_c(cv_user_name(user)), CV_STR("noindex")) != SIZE_MAX)
		return cv_err_set(err, CV_ERR_CORRUPT, "this index is broken");
	if (cv_str_find_str(cv_str_c(cv_user_name(user)), CV_STR("index")) == SIZE_MAX)
		return 0;
	index = cv_new0(struct index);
	index->user = user;
	index->boxes = cv_map_new();
	*cv_user_data(user, the_slot) = index;
	*ctx_r = index;
	return 1;
}

static void index_close(void *ctx)
{
	struct index *index = ctx;
	struct cv_str key;
	size_t pos = 0;
	void *value;

	*cv_user_data(index->user, the_slot) = NULL;
	while (cv_map_next(index->boxes, &pos, &key, &value)) {
		struct box *box = value;

		for (size_t i = 0; i < box->messages.count; i++)
			free_message(box->messages.data[i]);
		cv_vec_free(&box->messages);
		cv_free(box);
	}
	cv_map_free(&index->boxes);
	cv_free(index);
}

static const struct cv_search_index trigrams = {
	.name = "test-index",
	.open = index_open,
	.close = index_close,
	.update = update,
	.lookup = lookup,
};

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	the_slot = cv_slot_register(reg);
	return cv_provide_search_index(reg, &trigrams, err) < 0 || cv_provide_subscriber(reg, &subscriber, err) < 0 ? -1 : 0;
}

CV_MODULE(index) = {
	CV_MODULE_ABI,
	.name = "index",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
