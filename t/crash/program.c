/* SPDX-License-Identifier: MIT
   Random programs with a model. */
#include <config.h>

#include "t/crash/program.h"
#include <culver/log.h>
#include <culver/note.h>
#include <culver/time.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The storage module that this program is built with: CAMPAIGN_DRIVER, a bare name. */
#define MODULE_OF(name) name##_LTX_cv_module
#define MODULE(name) MODULE_OF(name)
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
CV_EXPORT extern const struct cv_module MODULE(CAMPAIGN_DRIVER);

#define MESSAGES_MAX 8192

const char *const program_names[NAMES] = { "INBOX", "Archive", "Archive/2026", "Work", "Work/2026", "Lists", "Lists/2026" };
static const char *const entries[ENTRIES] = { "/private/comment", "/shared/vendor/a/b", "module" };
static const struct {
	const char *entry;
	bool priv;
} notes[NOTES] = { { "/comment", false }, { "/comment", true }, { "/1/flags/seen", true } };
const char *const program_keywords[KEYWORDS] = { "$Forwarded", "Label1", "later" };

/* ---- randomness: the same seed, the same program and cuts ------------------------------------------------------- */

static uint64_t the_random;

void program_seed(uint64_t seed)
{
	the_random = seed;
}

uint64_t program_random(void)
{
	uint64_t z = the_random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint32_t program_below(uint32_t n)
{
	return (uint32_t)(program_random() % n);
}

/* ---- the model -------------------------------------------------------------------------------------------------- */

static struct box *find_box(struct model *model, const char *name)
{
	for (size_t i = 0; i < BOXES_MAX; i++) {
		if (model->boxes[i].there && strcmp(model->boxes[i].name, name) == 0)
			return &model->boxes[i];
	}
	return NULL;
}

struct box *program_add_box(struct model *model, const char *name, uint32_t uidvalidity)
{
	for (size_t i = 0; i < BOXES_MAX; i++) {
		struct box *box = &model->boxes[i];

		if (!box->there) {
			box->there = true;
			(void)snprintf(box->name, sizeof(box->name), "%s", name);
			box->uidvalidity = uidvalidity;
			memset(box->annotations, 0, sizeof(box->annotations));
			box->messages.count = 0;
			return box;
		}
	}
	abort();
}

static void put_message(struct cv_buf *out, const struct message *m)
{
	cv_buf_printf(out, "  %u flags %x keywords %x octets %08x notes %u %u %u\n", m->uid, m->flags, m->keywords, m->crc, m->notes[0], m->notes[1], m->notes[2]);
}

static void put_annotations(struct cv_buf *out, const uint32_t values[ENTRIES])
{
	for (size_t i = 0; i < ENTRIES; i++) {
		if (values[i] > 0)
			cv_buf_printf(out, " annotation %s %u\n", entries[i], values[i]);
	}
}

/* Boxes in the order of names, so that a model and a store give the same text. */
void model_text(struct model *model, struct cv_buf *out)
{
	put_annotations(out, model->annotations);
	for (size_t n = 0; n < NAMES; n++) {
		const struct box *box = find_box(model, program_names[n]);

		if (model->subscribed[n])
			cv_buf_printf(out, "subscribed %s\n", program_names[n]);
		if (box == NULL)
			continue;
		cv_buf_printf(out, "mailbox %s uidvalidity %u\n", program_names[n], box->uidvalidity);
		put_annotations(out, box->annotations);
		for (size_t i = 0; i < box->messages.count; i++) {
			put_message(out, &box->messages.data[i]);
		}
	}
}
void model_copy(struct model *to, const struct model *from)
{
	for (size_t i = 0; i < BOXES_MAX; i++) {
		struct box *box = &to->boxes[i];
		const struct box *source = &from->boxes[i];

		box->there = source->there;
		memcpy(box->name, source->name, sizeof(box->name));
		box->uidvalidity = source->uidvalidity;
		memcpy(box->annotations, source->annotations, sizeof(box->annotations));
		box->messages.count = 0;
		for (size_t m = 0; m < source->messages.count; m++)
			*(struct message *)cv_vec_push(&box->messages) = source->messages.data[m];
	}
	memcpy(to->subscribed, from->subscribed, sizeof(to->subscribed));
	memcpy(to->annotations, from->annotations, sizeof(to->annotations));
}

void model_free(struct model *model)
{
	for (size_t i = 0; i < BOXES_MAX; i++)
		cv_vec_free(&model->boxes[i].messages);
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

void program_stop(const struct program *p, const char *what, const struct cv_err *err)
{
	fprintf(stderr, "campaign: %s (%s): %s\n", what, p->what != NULL ? p->what : "", err != NULL ? err->text : "");
	abort();
}

int program_open(const struct program *p, const char *dir, struct cv_user **user_r, struct cv_err *err)
{
	char location[PATH_MAX + 32];
	struct cv_user_config config = { .name = "alice", .mail_location = location, .registry = p->registry, .conf = p->conf,
		.loop = dir == p->dir ? p->loop : NULL };

	(void)snprintf(location, sizeof(location), "%s:%s/home/mail", p->driver, dir);
	return cv_user_open(&config, user_r, err);
}

static unsigned keyword_bits(const struct cv_mailbox *mailbox, uint32_t set)
{
	size_t count;
	const struct cv_str *have = cv_row_keywords(mailbox, set, &count);
	unsigned bits = 0;

	for (size_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < KEYWORDS; k++) {
			if (cv_str_caseeq_c(have[i], program_keywords[k]))
				bits |= 1u << k;
		}
	}
	return bits;
}

/* A value is its number, and octets that only this number gives. */
static void make_value(uint32_t number, struct cv_buf *out)
{
	cv_buf_printf(out, "%u ", number);
	for (uint32_t i = 0; i < number * 37 % 700; i++)
		cv_buf_append_char(out, (char)(number * 31 + i * 7));
}

/* The number of a value; false when it is none that was ever given. */
static bool take_value(struct cv_str value, uint32_t *number_r)
{
	struct cv_buf want;
	struct cv_str number, rest;
	bool same;

	(void)cv_str_split(value, ' ', &number, &rest);
	cv_buf_init(&want, SIZE_MAX);
	same = cv_str_to_u32(number, UINT32_MAX, number_r) && *number_r > 0;
	if (same)
		make_value(*number_r, &want);
	same = same && cv_str_eq(cv_buf_str(&want), value);
	cv_buf_deinit(&want);
	return same;
}

/* *octets_r is raised by what they count for. */
static int take_notes(struct cv_mailbox *mailbox, struct message *m, uint64_t *octets_r, struct cv_err *err)
{
	struct cv_note_list list;
	struct cv_note note;

	if (cv_notes_get(mailbox, m->uid, &list, err) < 0)
		return -1;
	while (cv_note_next(&list, &note)) {
		size_t i = 0;

		while (i < NOTES && (!cv_str_eq_c(note.entry, notes[i].entry) || note.priv != notes[i].priv))
			i++;
		*octets_r += note.entry.len + note.value.len + 12;
		if (i == NOTES || !take_value(note.value, &m->notes[i]))
			return cv_err_set(err, CV_ERR_INTERNAL, "message %u has an annotation that it was never given", m->uid);
	}
	return 1;
}

static int annotations_text(struct cv_user *user, const struct cv_mailbox *mailbox, struct cv_buf *out, struct cv_err *err)
{
	uint32_t values[ENTRIES] = { 0 };

	for (size_t i = 0; i < ENTRIES; i++) {
		struct cv_annotation annotation;

		if (cv_annotation_get(user, mailbox, cv_str_c(entries[i]), &annotation) == 0)
			continue;
		if (!take_value(annotation.value, &values[i]))
			return cv_err_set(err, CV_ERR_INTERNAL, "annotation %s has a value that it was never given", entries[i]);
	}
	put_annotations(out, values);
	return 1;
}

static int mailbox_text(struct cv_user *user, const char *name, struct cv_buf *out, struct cv_err *err)
{
	struct cv_mailbox *mailbox = NULL;
	struct cv_mailbox_status status;
	struct cv_usage usage;
	struct cv_view *view = NULL;
	uint64_t octets_there = 0, notes_there = 0;
	int ret = -1;

	if (cv_mailbox_get(user, cv_str_c(name), &mailbox, err) < 0 || cv_mailbox_get_status(mailbox, &status, err) < 0 ||
		cv_view_open(mailbox, CV_VIEW_READONLY, &view, err) < 0)
		goto out;
	cv_buf_printf(out, "mailbox %s uidvalidity %u\n", name, status.uidvalidity);
	if (annotations_text(user, mailbox, out, err) < 0)
		goto out;
	for (uint32_t seq = 1; seq <= cv_view_count(view); seq++) {
		struct cv_mail *mail;
		struct cv_str octets;
		struct message m = { 0 };
		struct cv_row row;

		if (!cv_view_row(view, seq, &row) || cv_mail_open(view, seq, &mail, err) < 0)
			goto out;
		m.uid = row.uid;
		m.flags = row.flags;
		m.keywords = keyword_bits(mailbox, row.keyword_set);
		octets_there += row.virtual_size;
		ret = cv_mail_octets(mail, &octets, err);
		if (ret >= 0)
			m.crc = cv_crc32c(0, octets.ptr, octets.len);
		cv_mail_close(&mail);
		if (ret < 0 || (ret = take_notes(mailbox, &m, &notes_there, err)) < 0)
			goto out;
		put_message(out, &m);
	}
	if (status.messages != cv_view_count(view))
		ret = cv_err_set(err, CV_ERR_INTERNAL, "%s: %u messages counted, %u seen", name, status.messages, cv_view_count(view));
	else if (cv_mailbox_usage(mailbox, &usage), usage.messages != status.messages || usage.size != octets_there)
		ret = cv_err_set(err, CV_ERR_INTERNAL, "%s: %llu octets counted, %llu seen", name, (unsigned long long)usage.size,
			(unsigned long long)octets_there);
	else if (usage.notes != notes_there)
		ret = cv_err_set(err, CV_ERR_INTERNAL, "%s: %llu octets of annotations counted, %llu seen", name, (unsigned long long)usage.notes,
			(unsigned long long)notes_there);
	else
		ret = 1;
out:
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	return ret;
}

/* The user's sums are those of the mailboxes. */
static int check_sums(struct cv_user *user, struct cv_err *err)
{
	struct cv_usage user_usage, usage, sum = { 0 };
	struct cv_str name;

	for (size_t pos = 0; cv_usage_next(user, &pos, &name, &usage);) {
		sum.messages += usage.messages;
		sum.size += usage.size;
		sum.notes += usage.notes;
		sum.mailboxes++;
	}
	cv_user_usage(user, &user_usage);
	if (user_usage.messages == sum.messages && user_usage.size == sum.size && user_usage.mailboxes == sum.mailboxes &&
		user_usage.notes == sum.notes)
		return 1;
	return cv_err_set(err, CV_ERR_INTERNAL, "%llu messages of %llu octets, %llu of annotations counted, there are %llu of %llu, %llu",
		(unsigned long long)user_usage.messages, (unsigned long long)user_usage.size, (unsigned long long)user_usage.notes,
		(unsigned long long)sum.messages, (unsigned long long)sum.size, (unsigned long long)sum.notes);
}

/* 1, or -1 with err when something cannot be read. Names that only are parents count as absent. */
int store_text(struct cv_user *user, struct cv_buf *out, struct cv_err *err)
{
	/* Of all before any is read, so that what was counted is compared with what is there. */
	if (cv_user_count_notes(user, err) < 0 || annotations_text(user, NULL, out, err) < 0)
		return -1;
	for (size_t n = 0; n < NAMES; n++) {
		struct cv_mailbox_info info;

		if (cv_mailbox_lookup(user, cv_str_c(program_names[n]), &info) == 0)
			continue;
		if (info.subscribed)
			cv_buf_printf(out, "subscribed %s\n", program_names[n]);
		if (info.exists && mailbox_text(user, program_names[n], out, err) < 0)
			return cv_err_context(err, "%s", program_names[n]);
	}
	return check_sums(user, err);
}

/* ---- states -------------------------------------------------------------------------------------------------------- */

void program_remember(struct program *p, bool durable, bool looked)
{
	struct seen *seen = NULL;
	struct cv_err err = { 0 };
	struct state *state;
	struct cv_buf text;

	if (looked && seen_take(p->user, program_names, NAMES, &seen, &err) < 0)
		program_stop(p, "looking at the mailboxes", &err);
	cv_buf_init(&text, SIZE_MAX);
	model_text(&p->model, &text);
	state = cv_vec_push(&p->states);
	state->text = cv_strdup(text.data);
	state->what = p->what;
	state->acked = disk_calls(p->disk);
	state->durable = durable;
	state->seen = seen;
	cv_buf_deinit(&text);
	for (size_t i = 0; i < BOXES_MAX; i++) {
		const struct box *box = &p->model.boxes[i];

		for (size_t m = 0; box->there && m < box->messages.count; m++) {
			char key[32];
			int len = snprintf(key, sizeof(key), "%u %u", box->uidvalidity, box->messages.data[m].uid);

			(void)cv_map_set(p->given, cv_str_mem(key, (size_t)len), (void *)(uintptr_t)(box->messages.data[m].crc | 1ull << 32));
		}
	}
}

/* ---- what a step does when it is refused */

static void fail(struct program *p, const struct cv_err *err)
{
	p->failed = true;
	if (err != NULL)
		p->err = *err;
}

struct cv_mailbox *program_mailbox(struct program *p, const struct box *box)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };

	if (cv_mailbox_get(p->user, cv_str_c(box->name), &mailbox, &err) >= 0)
		return mailbox;
	fail(p, &err);
	return NULL;
}

static void committed(void *ctx, int result, const struct cv_err *err)
{
	if (result < 0)
		fail(ctx, err);
}

/* Ends txn. By now the model is as it is when the commit succeeds. */
static void commit(struct program *p, struct cv_txn *txn, bool wait)
{
	struct cv_err err = { 0 };

	if ((wait ? cv_txn_commit_wait(&txn, &err) : cv_txn_commit(&txn, committed, p, &err)) < 0)
		fail(p, &err);
	/* Or it stays on its way while the next step begins; what a fault refuses is to be known at once. */
	if (!wait && p->loop != NULL && (p->fault != NULL || program_below(2) == 0))
		(void)cv_loop_once(p->loop, 0);
}

struct box *program_any_box(struct program *p, bool with_messages)
{
	size_t first = program_below(BOXES_MAX);

	for (size_t i = 0; i < BOXES_MAX; i++) {
		struct box *box = &p->model.boxes[(first + i) % BOXES_MAX];

		if (box->there && (!with_messages || box->messages.count > 0))
			return box;
	}
	return NULL;
}

void program_make_body(struct program *p, struct cv_buf *out)
{
	static const uint32_t sizes[] = { 10, 400, 3000, 9000, 70000 };
	uint32_t size = program_below(sizes[program_below(CV_COUNT_OF(sizes))]);

	cv_buf_clear(out);
	cv_buf_printf(out, "From: a@example.org\r\nSubject: message %u\r\n\r\n", ++p->bodies);
	while (size-- > 0)
		cv_buf_append_char(out, (char)('a' + program_below(26)));
	cv_buf_append_c(out, "\r\n");
}

/* ---- steps ---------------------------------------------------------------------------------------------------------- */

static int save_one(struct program *p, struct cv_txn *txn, struct cv_mailbox *mailbox, struct message *message_r, struct cv_err *err)
{
	uint16_t flags = (uint16_t)program_below(CV_FLAG_ALL + 1);
	unsigned word = program_below(KEYWORDS + 1);
	struct cv_str keyword = word < KEYWORDS ? cv_str_c(program_keywords[word]) : (struct cv_str){ 0 };
	struct cv_note note = { CV_STR("/comment"), true, { 0 } };
	struct cv_save_config config = { .flags = flags, .keywords = &keyword, .keyword_count = word < KEYWORDS, .notes = &note };
	struct cv_save *save;
	struct cv_buf body, value;
	uint32_t number = program_below(4) == 0 ? ++p->bodies : 0;
	int ret = -1;

	cv_buf_init(&body, SIZE_MAX);
	cv_buf_init(&value, SIZE_MAX);
	program_make_body(p, &body);
	make_value(number, &value);
	note.value = cv_buf_str(&value);
	config.note_count = number > 0;
	if (cv_save_begin(txn, mailbox, &config, &save, err) > 0 && cv_save_write(save, cv_buf_str(&body), err) > 0 &&
		cv_save_finish(save, err) > 0) {
		*message_r = (struct message){ cv_save_uid(save), flags, word < KEYWORDS ? 1u << word : 0,
			cv_crc32c(0, body.data, body.len), { 0, number, 0 } };
		ret = 1;
	}
	cv_buf_deinit(&body);
	cv_buf_deinit(&value);
	return ret;
}

static void step_append(struct program *p)
{
	struct box *box = program_any_box(p, false);
	struct cv_mailbox *mailbox = program_mailbox(p, box);
	uint32_t count = 1 + (program_below(4) == 0 ? program_below(4) : 0);
	struct message messages[4];
	struct cv_err err = { 0 };
	struct cv_txn *txn;

	p->what = "append";
	if (mailbox == NULL)
		return;
	txn = cv_txn_begin(p->user);
	for (uint32_t i = 0; i < count && !p->failed; i++) {
		if (save_one(p, txn, mailbox, &messages[i], &err) < 0)
			fail(p, &err);
	}
	if (p->failed) {
		cv_txn_rollback(&txn);
	} else {
		for (uint32_t i = 0; i < count; i++)
			*(struct message *)cv_vec_push(&box->messages) = messages[i];
		commit(p, txn, true);
	}
	cv_mailbox_unref(&mailbox);
}

/* Some of the messages; at least one. chosen[i] for message i. */
static void choose(const struct box *box, struct cv_ranges *uids, bool *chosen)
{
	size_t one = program_below((uint32_t)box->messages.count);

	cv_assert(box->messages.count <= MESSAGES_MAX);
	for (size_t i = 0; i < box->messages.count; i++) {
		chosen[i] = i == one || program_below(3) == 0;
		if (chosen[i])
			cv_ranges_add(uids, box->messages.data[i].uid, box->messages.data[i].uid);
	}
}

static void change_message(struct message *m, const struct cv_flags_change *change, unsigned bit)
{
	switch (change->op) {
	case CV_FLAGS_ADD:
		m->flags |= change->flags;
		m->keywords |= bit;
		break;
	case CV_FLAGS_REMOVE:
		m->flags &= (uint16_t)~change->flags;
		m->keywords &= ~bit;
		break;
	case CV_FLAGS_REPLACE:
		m->flags = change->flags;
		m->keywords = bit;
		break;
	}
}

static bool step_flags(struct program *p)
{
	struct box *box = program_any_box(p, true);
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;
	struct cv_ranges uids = { 0 };
	bool chosen[MESSAGES_MAX] = { 0 }, wait = program_below(3) == 0;
	unsigned word = program_below(KEYWORDS + 1);
	struct cv_str keyword = word < KEYWORDS ? cv_str_c(program_keywords[word]) : (struct cv_str){ 0 };
	const struct cv_flags_change change = { .op = (enum cv_flags_op)(1 + program_below(3)),
		.flags = (uint16_t)program_below(CV_FLAG_ALL + 1), .keywords = &keyword, .keyword_count = word < KEYWORDS };
	struct cv_err err = { 0 };

	p->what = "flags";
	if (box == NULL || (mailbox = program_mailbox(p, box)) == NULL)
		return true;
	txn = cv_txn_begin(p->user);
	choose(box, &uids, chosen);
	if (cv_txn_flags(txn, mailbox, &uids, &change, NULL, NULL, &err) < 0) {
		fail(p, &err);
		cv_txn_rollback(&txn);
	} else {
		for (size_t i = 0; i < box->messages.count; i++) {
			if (chosen[i])
				change_message(&box->messages.data[i], &change, word < KEYWORDS ? 1u << word : 0);
		}
		commit(p, txn, wait);
	}
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
	return wait || p->always;
}

/* An annotation of some messages is set, or taken away. */
static void step_note(struct program *p)
{
	struct box *box = program_any_box(p, true);
	size_t n = program_below(NOTES);
	uint32_t number = program_below(4) == 0 ? 0 : ++p->bodies;
	struct cv_note note = { cv_str_c(notes[n].entry), notes[n].priv, { 0 } };
	const struct cv_notes_change change = { .notes = &note, .count = 1 };
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;
	struct cv_ranges uids = { 0 };
	bool chosen[MESSAGES_MAX] = { 0 };
	struct cv_err err = { 0 };
	struct cv_buf value;

	p->what = "annotate messages";
	if (box == NULL || (mailbox = program_mailbox(p, box)) == NULL)
		return;
	cv_buf_init(&value, SIZE_MAX);
	make_value(number, &value);
	if (number > 0)
		note.value = cv_buf_str(&value);
	txn = cv_txn_begin(p->user);
	choose(box, &uids, chosen);
	if (cv_txn_notes(txn, mailbox, &uids, &change, NULL, NULL, &err) < 0) {
		fail(p, &err);
		cv_txn_rollback(&txn);
	} else {
		for (size_t i = 0; i < box->messages.count; i++) {
			if (chosen[i])
				box->messages.data[i].notes[n] = number;
		}
		commit(p, txn, true);
	}
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
	cv_buf_deinit(&value);
}

static void remove_chosen(struct box *box, const bool *chosen)
{
	size_t kept = 0;

	for (size_t i = 0; i < box->messages.count; i++) {
		if (!chosen[i])
			box->messages.data[kept++] = box->messages.data[i];
	}
	box->messages.count = kept;
}

static void step_expunge(struct program *p)
{
	struct box *box = program_any_box(p, true);
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;
	struct cv_ranges uids = { 0 };
	bool chosen[MESSAGES_MAX] = { 0 };
	struct cv_err err = { 0 };

	p->what = "expunge";
	if (box == NULL || (mailbox = program_mailbox(p, box)) == NULL)
		return;
	txn = cv_txn_begin(p->user);
	choose(box, &uids, chosen);
	if (cv_txn_expunge(txn, mailbox, &uids, &err) < 0) {
		fail(p, &err);
		cv_txn_rollback(&txn);
	} else {
		remove_chosen(box, chosen);
		commit(p, txn, true);
	}
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
}

static void copy_messages(struct box *from, struct box *to, const bool *chosen, const struct cv_ranges *new_uids, bool move)
{
	uint32_t uid = 0;
	size_t range = 0;

	for (size_t i = 0, count = from->messages.count; i < count; i++) {
		struct message m;

		if (!chosen[i])
			continue;
		m = from->messages.data[i];
		uid = uid == 0 ? new_uids->data[0].first : uid < new_uids->data[range].last ? uid + 1 : new_uids->data[++range].first;
		m.uid = uid;
		*(struct message *)cv_vec_push(&to->messages) = m;
	}
	if (move)
		remove_chosen(from, chosen);
}

static void step_copy(struct program *p, bool move)
{
	struct box *from = program_any_box(p, true), *to = program_any_box(p, false);
	struct cv_mailbox *mailbox = NULL, *target = NULL;
	struct cv_ranges uids = { 0 }, old_uids = { 0 }, new_uids = { 0 };
	bool chosen[MESSAGES_MAX] = { 0 };
	struct cv_err err = { 0 };
	struct cv_txn *txn;

	p->what = move ? "move" : "copy";
	if (from == NULL || (move && from == to))
		return;
	mailbox = program_mailbox(p, from);
	target = program_mailbox(p, to);
	if (mailbox != NULL && target != NULL) {
		txn = cv_txn_begin(p->user);
		choose(from, &uids, chosen);
		if (cv_txn_copy(txn, mailbox, &uids, target, move, &old_uids, &new_uids, &err) < 0) {
			fail(p, &err);
			cv_txn_rollback(&txn);
		} else {
			copy_messages(from, to, chosen, &new_uids, move);
			commit(p, txn, true);
		}
	}
	cv_ranges_free(&uids);
	cv_ranges_free(&old_uids);
	cv_ranges_free(&new_uids);
	cv_mailbox_unref(&mailbox);
	cv_mailbox_unref(&target);
}

static void step_create(struct program *p)
{
	const char *name = program_names[program_below(NAMES)];
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	p->what = "create";
	if (find_box(&p->model, name) != NULL)
		return;
	if (cv_mailbox_create(p->user, cv_str_c(name), 0, &err) < 0)
		fail(p, &err);
	else if (cv_mailbox_lookup(p->user, cv_str_c(name), &info) == 1 && info.exists)
		(void)program_add_box(&p->model, name, info.uidvalidity);
	else
		program_stop(p, "a mailbox that was made is not there", NULL);
}

static void step_delete(struct program *p)
{
	struct box *box = program_any_box(p, false);
	struct cv_err err = { 0 };

	p->what = "delete";
	if (strcmp(box->name, "INBOX") == 0)
		return;
	box->there = false;
	if (cv_mailbox_delete(p->user, cv_str_c(box->name), &err) < 0)
		fail(p, &err);
}

static bool is_below(const char *name, const char *parent)
{
	size_t len = strlen(parent);

	return strncmp(name, parent, len) == 0 && name[len] == '/';
}

static bool has_below(struct model *model, const char *name)
{
	for (size_t n = 0; n < NAMES; n++) {
		if (is_below(program_names[n], name) && find_box(model, program_names[n]) != NULL)
			return true;
	}
	return false;
}

/* With what is below it. INBOX is a rename of another kind. */
static void step_rename(struct program *p)
{
	const struct box *box = program_any_box(p, false);
	const char *to = program_names[program_below(NAMES)];
	struct cv_err err = { 0 };
	char from[sizeof(box->name)];

	p->what = "rename";
	if (strcmp(box->name, "INBOX") == 0 || strcmp(to, "INBOX") == 0 || find_box(&p->model, to) != NULL || has_below(&p->model, to) || is_below(to, box->name) ||
		(has_below(&p->model, box->name) && strchr(to, '/') != NULL)) /* names of a third level are not looked at */
		return;
	memcpy(from, box->name, sizeof(from));
	for (size_t n = 0; n < BOXES_MAX; n++) {
		struct box *moved = &p->model.boxes[n];
		char below[sizeof(moved->name)];

		if (!moved->there || (strcmp(moved->name, from) != 0 && !is_below(moved->name, from)))
			continue;
		memcpy(below, moved->name + strlen(from), strlen(moved->name + strlen(from)) + 1);
		(void)snprintf(moved->name, sizeof(moved->name), "%s%s", to, below);
	}
	if (cv_mailbox_rename(p->user, cv_str_c(from), cv_str_c(to), &err) < 0)
		fail(p, &err);
}

static void step_subscribe(struct program *p)
{
	uint32_t n = program_below(NAMES);
	bool on = program_below(2) == 0;
	struct cv_err err = { 0 };

	p->what = "subscribe";
	if (on ? find_box(&p->model, program_names[n]) == NULL : !p->model.subscribed[n])
		return;
	p->model.subscribed[n] = on;
	if (cv_mailbox_subscribe(p->user, cv_str_c(program_names[n]), on, &err) < 0)
		fail(p, &err);
}

/* One or two entries of a mailbox or of the user. */
static void step_annotate(struct program *p)
{
	struct box *box = program_below(4) == 0 ? NULL : program_any_box(p, false);
	struct cv_mailbox *mailbox = box != NULL ? program_mailbox(p, box) : NULL;
	uint32_t *values = box != NULL ? box->annotations : p->model.annotations;
	uint32_t count = 1 + program_below(2), first = program_below(ENTRIES);
	struct cv_err err = { 0 };
	struct cv_txn *txn;

	p->what = "annotate";
	if (box != NULL && mailbox == NULL)
		return;
	txn = cv_txn_begin(p->user);
	for (uint32_t i = 0; i < count && !p->failed; i++) {
		uint32_t n = (first + i) % ENTRIES, number = program_below(4) == 0 ? 0 : ++p->bodies;
		struct cv_buf value;

		cv_buf_init(&value, SIZE_MAX);
		make_value(number, &value);
		if (cv_txn_annotate(txn, mailbox, cv_str_c(entries[n]), number > 0 ? cv_buf_str(&value) : (struct cv_str){ 0 }, &err) < 0)
			fail(p, &err);
		values[n] = number;
		cv_buf_deinit(&value);
	}
	if (p->failed)
		cv_txn_rollback(&txn);
	else
		commit(p, txn, true);
	cv_mailbox_unref(&mailbox);
}

void program_restart(struct program *p)
{
	struct cv_err err = { 0 };

	p->what = "restart";
	p->closing = true;
	cv_user_close(&p->user);
	p->closing = false;
	if (program_open(p, p->dir, &p->user, &err) < 0)
		fail(p, &err);
}

void program_faults(struct program *p, cv_file_fault_fn *fn, void *ctx)
{
	p->fault = fn;
	p->fault_ctx = ctx;
	cv_file_set_fault(fn, ctx);
}

static int refuse_changes(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	(void)ctx;
	(void)name;
	*len = 0;
	switch (op) {
	case CV_FILE_OPEN: /* of a file that is there, too: nothing is to be read any more */
	case CV_FILE_MKDIR:
	case CV_FILE_WRITE:
	case CV_FILE_SYNC:
	case CV_FILE_TRUNCATE:
	case CV_FILE_RENAME:
	case CV_FILE_LINK:
	case CV_FILE_UNLINK:
		return EIO;
	case CV_FILE_READ:
	case CV_FILE_STAT:
	case CV_FILE_MAP:
	case CV_FILE_LIST:
		return 0;
	}
	return 0;
}

/* kill -9: what the process had still to do is not done, and the next one finds what the system has, on disk or not. */
static void step_kill(struct program *p)
{
	struct cv_err err = { 0 };

	p->what = "kill";
	if (p->loop != NULL) /* the model has flags that are on their way */
		(void)cv_loop_once(p->loop, 0);
	disk_record(NULL, false);
	cv_file_set_fault(refuse_changes, NULL);
	cv_user_close(&p->user);
	cv_file_set_fault(p->fault, p->fault_ctx);
	disk_record(p->disk, true);
	if (program_open(p, p->dir, &p->user, &err) < 0)
		fail(p, &err);
}

void program_rest(struct program *p)
{
	for (uint32_t rounds = program_below(4); p->loop != NULL && rounds > 0; rounds--) {
		cv_loop_fake_advance(p->loop, program_below(program_below(4) == 0 ? 1500 : 150)); /* files of new messages wait for a second */
		(void)cv_loop_once(p->loop, 0);
	}
}

/* True when what it did is durable now, and with it all before. */
bool program_step(struct program *p)
{
	p->failed = false;
	p->err = (struct cv_err){ 0 };
	switch (program_below(strcmp(p->driver, "maildir") == 0 ? 28 : 24)) {
	case 0:
	case 1:
		step_create(p);
		return true;
	case 2:
		step_delete(p);
		return true;
	case 3:
		step_rename(p);
		return true;
	case 4:
		step_subscribe(p);
		return true;
	case 5:
		if (program_below(2) == 0 || !p->recording) {
			program_restart(p);
			return true;
		}
		step_kill(p);
		return false;
	case 6:
	case 7:
		step_expunge(p);
		return true;
	case 8:
	case 9:
		step_copy(p, false);
		return true;
	case 10:
	case 11:
		step_copy(p, true);
		return true;
	case 12:
	case 13:
	case 14:
		return step_flags(p);
	case 15:
	case 16:
		step_annotate(p);
		return true;
	case 17:
	case 18:
		step_note(p);
		return true;
	case 24:
	case 25:
	case 26:
	case 27:
		program_outside(p);
		return false;
	default:
		step_append(p);
		return true;
	}
}

/* ---- directories ----------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void remove_tree(const char *dir)
{
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void make_dir(char dir[PATH_MAX], const char *base)
{
	(void)snprintf(dir, PATH_MAX, "%s/culver-cut.XXXXXX", base);
	if (mkdtemp(dir) == NULL) {
		fprintf(stderr, "campaign: %s: %s\n", dir, strerror(errno));
		exit(2);
	}
}

/* ---- programs -------------------------------------------------------------------------------------------------------- */

/* Settings that make snapshots and new journal segments often, or never. */
static void choose_settings(struct program *p, const char *base)
{
	static const char *const small[] = { "mail_journal_segment_size = 65536", "mail_snapshot_min_size = 4096" };
	const struct cv_settings_table *tables[8];
	const struct cv_conf_problem *problems;
	char path[PATH_MAX];
	size_t count = 0, problem_count;
	FILE *file;
	int fd;

	while (cv_mail_settings_tables[count] != NULL && count < CV_COUNT_OF(tables)) {
		tables[count] = cv_mail_settings_tables[count];
		count++;
	}
	(void)snprintf(path, sizeof(path), "%s/culver-cut.XXXXXX", base);
	fd = mkstemp(path);
	file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (file == NULL)
		program_stop(p, "settings file", NULL);
	p->always = program_below(4) == 0;
	fprintf(file, "mail_fsync = %s\n", p->always ? "always" : "optimized");
	if (program_below(3) != 0)
		fprintf(file, "%s\n%s\n", small[0], small[1]);
	if (program_below(2) != 0) /* the longest go to their files at once */
		fprintf(file, "mail_journal_message_size = 8192\n");
	if (program_below(2) != 0) /* zeros ahead of the journal, from the first change that is synced on */
		fprintf(file, "mail_journal_ahead_writes = 1\n");
	(void)fclose(file);
	p->arena = cv_arena_new("settings", NULL, 0);
	if (cv_conf_load(path, NULL, tables, count, p->arena, &p->conf, &problems, &problem_count) < 0)
		program_stop(p, problems[0].text, NULL);
	(void)unlink(path);
}

void program_begin(struct program *p, const char *driver, struct cv_registry *registry, const char *base, bool on_loop)
{
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };
	size_t pos = 0;

	*p = (struct program){ .driver = driver, .registry = registry };
	choose_settings(p, base);
	if (on_loop && program_below(2) == 0)
		p->loop = cv_loop_new(CV_LOOP_FAKE);
	make_dir(p->dir, base);
	p->disk = disk_new(p->dir);
	p->given = cv_map_new();
	disk_record(p->disk, true);
	p->recording = true;
	/* Before the first open is acknowledged nothing is promised. */
	*(struct state *)cv_vec_push(&p->states) = (struct state){ .text = cv_strdup(""), .what = "nothing", .durable = true };
	if (program_open(p, p->dir, &p->user, &err) < 0)
		program_stop(p, "first open", &err);
	while (cv_mailbox_next(p->user, &pos, &info)) {
		for (size_t n = 0; n < NAMES; n++) {
			if (!cv_str_eq_c(info.name, program_names[n]))
				continue;
			p->model.subscribed[n] = info.subscribed;
			if (info.exists)
				(void)program_add_box(&p->model, program_names[n], info.uidvalidity);
		}
	}
	program_remember(p, true, true);
}

void program_end(struct program *p)
{
	disk_record(NULL, false);
	for (size_t i = 0; i < p->states.count; i++) {
		cv_free(p->states.data[i].text);
		seen_free(&p->states.data[i].seen);
	}
	if (p->loop != NULL)
		cv_loop_free(&p->loop);
	model_free(&p->model);
	cv_vec_free(&p->states);
	cv_vec_free(&p->removals);
	cv_map_free(&p->given);
	disk_free(&p->disk);
	remove_tree(p->dir);
	cv_arena_free(&p->arena);
}

/* The model's last state against the store itself: a mistake of the model or of the store without any cut. */
void program_check_live(struct program *p)
{
	struct cv_err err = { 0 };
	struct cv_buf text;

	cv_buf_init(&text, SIZE_MAX);
	if (store_text(p->user, &text, &err) < 0)
		program_stop(p, "reading", &err);
	if (strcmp(text.data, p->states.data[p->states.count - 1].text) != 0) {
		fprintf(stderr, "campaign: after %s the store and the model differ\n-- store\n%s-- model\n%s", p->what, text.data,
			p->states.data[p->states.count - 1].text);
		abort();
	}
	cv_buf_deinit(&text);
}

/* The storage module CAMPAIGN_DRIVER in a registry. */
static struct cv_registry *load_modules(void)
{
	struct cv_registry *registry = cv_registry_new();
	struct cv_err err = { 0 };

	if (cv_module_add_static(registry, &MODULE(CAMPAIGN_DRIVER), &err) < 0 || cv_modules_load(registry, CV_ROLE_WORKER, &err) < 0) {
		fprintf(stderr, "campaign: %s\n", err.text);
		exit(2);
	}
	return registry;
}

/* ---- command lines ---------------------------------------------------------------------------------------------------- */

static void print_log(void *ctx, enum cv_log_level level, struct cv_str line)
{
	if (((const struct run *)ctx)->verbose)
		fprintf(stderr, "%d %.*s\n", (int)level, CV_STR_ARG(line));
}

void program_defaults(struct run *run, const char *role, uint64_t count)
{
	*run = (struct run){ .role = role, .count = count, .seed = (uint64_t)cv_time_now_us(),
		.base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp" };
}

bool program_option(struct run *run, int opt)
{
	switch (opt) {
	case 'n':
		return cv_str_to_u64(cv_str_c(optarg), UINT64_MAX, &run->count);
	case 's':
		return cv_str_to_u64(cv_str_c(optarg), UINT64_MAX, &run->seed);
	case 't':
		run->base = optarg;
		return true;
	case 'v':
		run->verbose = true;
		return true;
	default:
		return false;
	}
}

void program_start(struct run *run)
{
	const struct cv_log_config log = { .target = CV_LOG_CALLBACK, .callback = print_log, .callback_ctx = run, .role = run->role };
	struct cv_err err = { 0 };

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (cv_log_open(&log, &err) < 0) {
		fprintf(stderr, "%s: %s\n", run->role, err.text);
		exit(2);
	}
	run->registry = load_modules();
	run->driver = TEXT(CAMPAIGN_DRIVER);
	printf("%s: %s, seed %llu\n", run->role, run->driver, (unsigned long long)run->seed);
}
