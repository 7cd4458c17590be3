/* SPDX-License-Identifier: MIT
   Power cuts: random programs of changes with a model beside them; at many points of each the power fails, and what a file system may leave is opened.
   What was acknowledged must be there once, what was not is whole or absent, octets are unharmed, UIDs are never given twice, and the next
   delivery works.

   usage: campaign-DRIVER [-n CUTS] [-s SEED] [-p CUTS-PER-PROGRAM] [-t DIR] [-v]
   Prints a line for each failure with the program's seed (-s SEED -n CUTS-PER-PROGRAM brings it again), and the counts. */
#include <config.h>

#include "t/crash/disk.h"
#include <culver/buf.h>
#include <culver/log.h>
#include <culver/mailbox.h>
#include <culver/settings.h>
#include <culver/map.h>
#include <culver/time.h>

#include <errno.h>
#include <ftw.h>
#include <limits.h>
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

#define STEPS 40
#define CUTS_PER_PROGRAM 60
#define BOXES_MAX 8
#define NAMES 6
#define KEYWORDS 3

static const char *const names[NAMES] = { "INBOX", "Archive", "Work", "Work/2026", "Lists", "Lists/culver" };
static const char *const keywords[KEYWORDS] = { "$Forwarded", "Label1", "later" };

/* ---- randomness: the same seed, the same program and cuts ------------------------------------------------------- */

static uint64_t the_random;

static uint64_t random_u64(void)
{
	uint64_t z = the_random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)(random_u64() % n);
}

/* ---- the model -------------------------------------------------------------------------------------------------- */

struct message {
	uint32_t uid;
	uint16_t flags;
	unsigned keywords; /* bits */
	uint32_t crc;      /* of its octets: no two messages have the same */
};

struct box {
	bool there;
	char name[64];
	uint32_t uidvalidity, uidnext;
	CV_VEC(struct message) messages;
};

struct model {
	struct box boxes[BOXES_MAX];
	bool subscribed[NAMES];
};

/* What the model was after a step, as text. */
struct state {
	char *text;
	const char *what; /* the step */
	size_t acked;   /* calls recorded when the step was acknowledged */
	bool durable;   /* must survive from then on; else (flags, mail_fsync = optimized) it may be lost until the next that is */
};

struct program {
	const char *driver;
	bool always;          /* mail_fsync = always */
	struct cv_arena *arena;
	struct cv_conf *conf;
	char dir[PATH_MAX];
	struct cv_registry *registry;
	struct cv_user *user;
	struct disk *disk;
	struct model model;
	CV_VEC(struct state) states;
	struct cv_map *given; /* "uidvalidity uid": acknowledged UIDs and whose octets they are */
	uint32_t bodies;
	const char *what;     /* the step, for reports */
};

static struct box *find_box(struct model *model, const char *name)
{
	for (size_t i = 0; i < BOXES_MAX; i++) {
		if (model->boxes[i].there && strcmp(model->boxes[i].name, name) == 0)
			return &model->boxes[i];
	}
	return NULL;
}

static struct box *add_box(struct model *model, const char *name, uint32_t uidvalidity)
{
	for (size_t i = 0; i < BOXES_MAX; i++) {
		struct box *box = &model->boxes[i];

		if (!box->there) {
			box->there = true;
			(void)snprintf(box->name, sizeof(box->name), "%s", name);
			box->uidvalidity = uidvalidity;
			box->uidnext = 1;
			box->messages.count = 0;
			return box;
		}
	}
	abort();
}

static void put_message(struct cv_buf *out, uint32_t uid, uint16_t flags, unsigned words, uint32_t crc)
{
	cv_buf_printf(out, "  %u flags %x keywords %x octets %08x\n", uid, flags, words, crc);
}

/* Boxes in the order of names, so that a model and a store give the same text. */
static void model_text(struct model *model, struct cv_buf *out)
{
	for (size_t n = 0; n < NAMES; n++) {
		const struct box *box = find_box(model, names[n]);

		if (model->subscribed[n])
			cv_buf_printf(out, "subscribed %s\n", names[n]);
		if (box == NULL)
			continue;
		cv_buf_printf(out, "mailbox %s uidvalidity %u\n", names[n], box->uidvalidity);
		for (size_t i = 0; i < box->messages.count; i++) {
			const struct message *m = &box->messages.data[i];

			put_message(out, m->uid, m->flags, m->keywords, m->crc);
		}
	}
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static void stop_test(const struct program *p, const char *what, const struct cv_err *err)
{
	fprintf(stderr, "campaign: %s (%s): %s\n", what, p->what != NULL ? p->what : "", err != NULL ? err->text : "");
	abort();
}

static int open_user(struct program *p, const char *dir, struct cv_user **user_r, struct cv_err *err)
{
	char location[PATH_MAX + 32];
	struct cv_user_config config = { .name = "alice", .mail_location = location, .registry = p->registry, .conf = p->conf };

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
			if (cv_str_caseeq_c(have[i], keywords[k]))
				bits |= 1u << k;
		}
	}
	return bits;
}

static int mailbox_text(struct cv_user *user, const char *name, struct cv_buf *out, struct cv_err *err)
{
	struct cv_mailbox *mailbox = NULL;
	struct cv_mailbox_status status;
	struct cv_view *view = NULL;
	int ret = -1;

	if (cv_mailbox_get(user, cv_str_c(name), &mailbox, err) < 0 || cv_mailbox_get_status(mailbox, &status, err) < 0 ||
		cv_view_open(mailbox, CV_VIEW_READONLY, &view, err) < 0)
		goto out;
	cv_buf_printf(out, "mailbox %s uidvalidity %u\n", name, status.uidvalidity);
	for (uint32_t seq = 1; seq <= cv_view_count(view); seq++) {
		struct cv_mail *mail;
		struct cv_str octets;
		struct cv_row row;

		if (!cv_view_row(view, seq, &row) || cv_mail_open(view, seq, &mail, err) < 0)
			goto out;
		ret = cv_mail_octets(mail, &octets, err);
		if (ret >= 0)
			put_message(out, row.uid, row.flags, keyword_bits(mailbox, row.keyword_set), cv_crc32c(0, octets.ptr, octets.len));
		cv_mail_close(&mail);
		if (ret < 0)
			goto out;
	}
	if (status.messages != cv_view_count(view))
		ret = cv_err_set(err, CV_ERR_INTERNAL, "%s: %u messages counted, %u seen", name, status.messages, cv_view_count(view));
	else
		ret = 1;
out:
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	return ret;
}

/* 1, or -1 with err when something cannot be read. Names that only are parents count as absent. */
static int store_text(struct cv_user *user, struct cv_buf *out, struct cv_err *err)
{
	for (size_t n = 0; n < NAMES; n++) {
		struct cv_mailbox_info info;

		if (cv_mailbox_lookup(user, cv_str_c(names[n]), &info) == 0)
			continue;
		if (info.subscribed)
			cv_buf_printf(out, "subscribed %s\n", names[n]);
		if (info.exists && mailbox_text(user, names[n], out, err) < 0)
			return cv_err_context(err, "%s", names[n]);
	}
	return 1;
}

/* ---- steps --------------------------------------------------------------------------------------------------------- */

static void remember(struct program *p, bool durable)
{
	struct state *state;
	struct cv_buf text;

	cv_buf_init(&text, SIZE_MAX);
	model_text(&p->model, &text);
	state = cv_vec_push(&p->states);
	state->text = cv_strdup(text.data);
	state->what = p->what;
	state->acked = disk_calls(p->disk);
	state->durable = durable;
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

static struct cv_mailbox *get(struct program *p, const struct box *box)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };

	if (cv_mailbox_get(p->user, cv_str_c(box->name), &mailbox, &err) < 0)
		stop_test(p, "mailbox_get", &err);
	return mailbox;
}

static struct box *any_box(struct program *p, bool with_messages)
{
	size_t first = below(BOXES_MAX);

	for (size_t i = 0; i < BOXES_MAX; i++) {
		struct box *box = &p->model.boxes[(first + i) % BOXES_MAX];

		if (box->there && (!with_messages || box->messages.count > 0))
			return box;
	}
	return NULL;
}

static void make_body(struct program *p, struct cv_buf *out)
{
	static const uint32_t sizes[] = { 10, 400, 3000, 9000, 70000 };
	uint32_t size = below(sizes[below(CV_COUNT_OF(sizes))]);

	cv_buf_clear(out);
	cv_buf_printf(out, "From: a@example.org\r\nSubject: message %u\r\n\r\n", ++p->bodies);
	while (size-- > 0)
		cv_buf_append_char(out, (char)('a' + below(26)));
	cv_buf_append_c(out, "\r\n");
}

static void commit(struct program *p, struct cv_txn *txn, bool wait)
{
	struct cv_err err = { 0 };

	if ((wait ? cv_txn_commit_wait(&txn, &err) : cv_txn_commit(&txn, NULL, NULL, &err)) < 0)
		stop_test(p, "commit", &err);
}

static void step_append(struct program *p)
{
	struct box *box = any_box(p, false);
	struct cv_mailbox *mailbox = get(p, box);
	struct cv_txn *txn = cv_txn_begin(p->user);
	uint32_t count = 1 + (below(4) == 0 ? below(4) : 0);
	struct cv_err err = { 0 };
	struct cv_buf body;

	p->what = "append";
	cv_buf_init(&body, SIZE_MAX);
	for (uint32_t i = 0; i < count; i++) {
		uint16_t flags = (uint16_t)below(CV_FLAG_ALL + 1);
		unsigned word = below(KEYWORDS + 1);
		struct cv_str keyword = word < KEYWORDS ? cv_str_c(keywords[word]) : (struct cv_str){ 0 };
		const struct cv_save_config config = { .flags = flags, .keywords = &keyword, .keyword_count = word < KEYWORDS };
		struct message *m = cv_vec_push(&box->messages);
		struct cv_save *save;

		make_body(p, &body);
		if (cv_save_begin(txn, mailbox, &config, &save, &err) < 0 || cv_save_write(save, cv_buf_str(&body), &err) < 0 ||
			cv_save_finish(save, &err) < 0)
			stop_test(p, "save", &err);
		*m = (struct message){ cv_save_uid(save), flags, word < KEYWORDS ? 1u << word : 0, cv_crc32c(0, body.data, body.len) };
		box->uidnext = m->uid + 1;
	}
	commit(p, txn, true);
	cv_buf_deinit(&body);
	cv_mailbox_unref(&mailbox);
}

/* Some of the messages; at least one. chosen[i] for message i. */
static void choose(const struct box *box, struct cv_ranges *uids, bool *chosen)
{
	size_t one = below((uint32_t)box->messages.count);

	for (size_t i = 0; i < box->messages.count; i++) {
		chosen[i] = i == one || below(3) == 0;
		if (chosen[i])
			cv_ranges_add(uids, box->messages.data[i].uid, box->messages.data[i].uid);
	}
}

static bool step_flags(struct program *p)
{
	struct box *box = any_box(p, true);
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;
	struct cv_ranges uids = { 0 };
	bool chosen[4096] = { 0 }, wait = below(3) == 0;
	unsigned word = below(KEYWORDS + 1);
	struct cv_str keyword = word < KEYWORDS ? cv_str_c(keywords[word]) : (struct cv_str){ 0 };
	const struct cv_flags_change change = { .op = (enum cv_flags_op)(1 + below(3)), .flags = (uint16_t)below(CV_FLAG_ALL + 1),
		.keywords = &keyword, .keyword_count = word < KEYWORDS };
	unsigned bit = word < KEYWORDS ? 1u << word : 0;
	struct cv_err err = { 0 };

	if (box == NULL)
		return true;
	p->what = "flags";
	mailbox = get(p, box);
	txn = cv_txn_begin(p->user);
	choose(box, &uids, chosen);
	if (cv_txn_flags(txn, mailbox, &uids, &change, NULL, NULL, &err) < 0)
		stop_test(p, "flags", &err);
	commit(p, txn, wait);
	for (size_t i = 0; i < box->messages.count; i++) {
		struct message *m = &box->messages.data[i];

		if (!chosen[i])
			continue;
		switch (change.op) {
		case CV_FLAGS_ADD:
			m->flags |= change.flags;
			m->keywords |= bit;
			break;
		case CV_FLAGS_REMOVE:
			m->flags &= (uint16_t)~change.flags;
			m->keywords &= ~bit;
			break;
		case CV_FLAGS_REPLACE:
			m->flags = change.flags;
			m->keywords = bit;
			break;
		}
	}
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
	return wait || p->always;
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
	struct box *box = any_box(p, true);
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;
	struct cv_ranges uids = { 0 };
	bool chosen[4096] = { 0 };
	struct cv_err err = { 0 };

	if (box == NULL)
		return;
	p->what = "expunge";
	mailbox = get(p, box);
	txn = cv_txn_begin(p->user);
	choose(box, &uids, chosen);
	if (cv_txn_expunge(txn, mailbox, &uids, &err) < 0)
		stop_test(p, "expunge", &err);
	commit(p, txn, true);
	remove_chosen(box, chosen);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
}

static void step_copy(struct program *p, bool move)
{
	struct box *from = any_box(p, true), *to = any_box(p, false);
	struct cv_mailbox *mailbox, *target;
	struct cv_ranges uids = { 0 }, old_uids = { 0 }, new_uids = { 0 };
	bool chosen[4096] = { 0 };
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	size_t range = 0;
	uint32_t uid = 0;

	if (from == NULL || (move && from == to))
		return;
	p->what = move ? "move" : "copy";
	mailbox = get(p, from);
	target = get(p, to);
	txn = cv_txn_begin(p->user);
	choose(from, &uids, chosen);
	if (cv_txn_copy(txn, mailbox, &uids, target, move, &old_uids, &new_uids, &err) < 0)
		stop_test(p, p->what, &err);
	commit(p, txn, true);
	for (size_t i = 0, count = from->messages.count; i < count; i++) {
		struct message m;

		if (!chosen[i])
			continue;
		m = from->messages.data[i];
		uid = uid == 0 ? new_uids.data[0].first : uid < new_uids.data[range].last ? uid + 1 : new_uids.data[++range].first;
		m.uid = uid;
		*(struct message *)cv_vec_push(&to->messages) = m;
		to->uidnext = uid + 1;
	}
	if (move)
		remove_chosen(from, chosen);
	cv_ranges_free(&uids);
	cv_ranges_free(&old_uids);
	cv_ranges_free(&new_uids);
	cv_mailbox_unref(&mailbox);
	cv_mailbox_unref(&target);
}

static void step_create(struct program *p)
{
	const char *name = names[below(NAMES)];
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	p->what = "create";
	if (find_box(&p->model, name) != NULL)
		return;
	if (cv_mailbox_create(p->user, cv_str_c(name), 0, &err) < 0 || cv_mailbox_lookup(p->user, cv_str_c(name), &info) != 1)
		stop_test(p, "create", &err);
	(void)add_box(&p->model, name, info.uidvalidity);
}

static void step_delete(struct program *p)
{
	struct box *box = any_box(p, false);
	struct cv_err err = { 0 };

	p->what = "delete";
	if (strcmp(box->name, "INBOX") == 0)
		return;
	if (cv_mailbox_delete(p->user, cv_str_c(box->name), &err) < 0)
		stop_test(p, "delete", &err);
	box->there = false;
}

static bool has_below(struct model *model, const char *name)
{
	size_t len = strlen(name);

	for (size_t n = 0; n < NAMES; n++) {
		if (strncmp(names[n], name, len) == 0 && names[n][len] == '/' && find_box(model, names[n]) != NULL)
			return true;
	}
	return false;
}

/* Only names without others below them, and not INBOX, which is a rename of another kind. */
static void step_rename(struct program *p)
{
	struct box *box = any_box(p, false);
	const char *to = names[below(NAMES)];
	struct cv_err err = { 0 };

	p->what = "rename";
	if (strcmp(box->name, "INBOX") == 0 || find_box(&p->model, to) != NULL || has_below(&p->model, box->name) ||
		(strncmp(to, box->name, strlen(box->name)) == 0 && to[strlen(box->name)] == '/') || has_below(&p->model, to))
		return;
	if (cv_mailbox_rename(p->user, cv_str_c(box->name), cv_str_c(to), &err) < 0)
		stop_test(p, "rename", &err);
	(void)snprintf(box->name, sizeof(box->name), "%s", to);
}

static void step_subscribe(struct program *p)
{
	uint32_t n = below(NAMES);
	bool on = below(2) == 0;
	struct cv_err err = { 0 };

	p->what = "subscribe";
	if (on ? find_box(&p->model, names[n]) == NULL : !p->model.subscribed[n])
		return;
	if (cv_mailbox_subscribe(p->user, cv_str_c(names[n]), on, &err) < 0)
		stop_test(p, "subscribe", &err);
	p->model.subscribed[n] = on;
}

static void step_restart(struct program *p)
{
	struct cv_err err = { 0 };

	p->what = "restart";
	cv_user_close(&p->user);
	if (open_user(p, p->dir, &p->user, &err) < 0)
		stop_test(p, "open", &err);
}

/* True when what it did is durable now, and with it all before. */
static bool step(struct program *p)
{
	switch (below(20)) {
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
		step_restart(p);
		return true;
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

static void remove_tree(const char *dir)
{
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_dir(char dir[PATH_MAX], const char *base)
{
	(void)snprintf(dir, PATH_MAX, "%s/culver-cut.XXXXXX", base);
	if (mkdtemp(dir) == NULL) {
		fprintf(stderr, "campaign: %s: %s\n", dir, strerror(errno));
		exit(2);
	}
}

/* ---- programs and cuts ------------------------------------------------------------------------------------------------ */

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
		stop_test(p, "settings file", NULL);
	p->always = below(4) == 0;
	fprintf(file, "mail_fsync = %s\n", p->always ? "always" : "optimized");
	if (below(3) != 0)
		fprintf(file, "%s\n%s\n", small[0], small[1]);
	(void)fclose(file);
	p->arena = cv_arena_new("settings", NULL, 0);
	if (cv_conf_load(path, NULL, tables, count, p->arena, &p->conf, &problems, &problem_count) < 0)
		stop_test(p, problems[0].text, NULL);
	(void)unlink(path);
}

static void begin(struct program *p, const char *base)
{
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };
	size_t pos = 0;

	choose_settings(p, base);
	make_dir(p->dir, base);
	p->disk = disk_new(p->dir);
	p->given = cv_map_new();
	disk_record(p->disk, true);
	/* Before the first open is acknowledged nothing is promised. */
	*(struct state *)cv_vec_push(&p->states) = (struct state){ .text = cv_strdup(""), .what = "nothing", .durable = true };
	if (open_user(p, p->dir, &p->user, &err) < 0)
		stop_test(p, "first open", &err);
	while (cv_mailbox_next(p->user, &pos, &info)) {
		for (size_t n = 0; n < NAMES; n++) {
			if (!cv_str_eq_c(info.name, names[n]))
				continue;
			p->model.subscribed[n] = info.subscribed;
			if (info.exists)
				(void)add_box(&p->model, names[n], info.uidvalidity);
		}
	}
	remember(p, true);
}

static void end(struct program *p)
{
	disk_record(NULL, false);
	for (size_t i = 0; i < p->states.count; i++)
		cv_free(p->states.data[i].text);
	for (size_t i = 0; i < BOXES_MAX; i++)
		cv_vec_free(&p->model.boxes[i].messages);
	cv_vec_free(&p->states);
	cv_map_free(&p->given);
	disk_free(&p->disk);
	remove_tree(p->dir);
	cv_arena_free(&p->arena);
}

/* The model's last state against the store itself: a mistake of the model or of the store without any cut. */
static void check_live(struct program *p)
{
	struct cv_err err = { 0 };
	struct cv_buf text;

	cv_buf_init(&text, SIZE_MAX);
	if (store_text(p->user, &text, &err) < 0)
		stop_test(p, "reading", &err);
	if (strcmp(text.data, p->states.data[p->states.count - 1].text) != 0) {
		fprintf(stderr, "campaign: after %s the store and the model differ\n-- store\n%s-- model\n%s", p->what, text.data,
			p->states.data[p->states.count - 1].text);
		abort();
	}
	cv_buf_deinit(&text);
}

static void run_program(struct program *p)
{
	for (int i = 0; i < STEPS; i++) {
		size_t before = disk_calls(p->disk);
		bool durable = step(p);

		/* A step that did nothing makes nothing durable. */
		remember(p, durable && disk_calls(p->disk) > before);
		check_live(p);
	}
	p->what = "close";
	cv_user_close(&p->user);
	remember(p, true);
}

struct verdict {
	bool ok;
	struct cv_buf text; /* why not */
};

static void refuse(struct verdict *v, const char *fmt, ...) CV_PRINTF(2, 3);
static void refuse(struct verdict *v, const char *fmt, ...)
{
	va_list ap;

	v->ok = false;
	va_start(ap, fmt);
	cv_buf_vprintf(&v->text, fmt, ap);
	va_end(ap);
	cv_buf_append_char(&v->text, '\n');
}

/* One of the states that the cut may have left; SIZE_MAX and a verdict when it is none. */
static size_t match(const struct program *p, size_t at, const char *text, struct verdict *v)
{
	size_t lowest = 0, highest = p->states.count - 1;

	for (size_t i = 0; i < p->states.count && p->states.data[i].acked <= at; i++) {
		if (p->states.data[i].durable)
			lowest = i;
	}
	for (size_t i = 0; i < p->states.count; i++) {
		if (p->states.data[i].acked >= at) {
			highest = i;
			break;
		}
	}
	highest = CV_MAX(lowest, highest); /* steps that did nothing have the same number of calls */
	for (size_t i = lowest; i <= highest; i++) {
		if (strcmp(text, p->states.data[i].text) == 0)
			return i;
	}
	/* Before the first state was acknowledged, any part of what is made at first may be there. */
	if (lowest == 0)
		return 0;
	for (size_t i = 0; i < p->states.count; i++) {
		if (strcmp(text, p->states.data[i].text) == 0)
			refuse(v, "it is state %zu, but has to be one of the states %zu to %zu", i, lowest, highest);
	}
	for (size_t i = lowest > 3 ? lowest - 3 : 0; i <= highest; i++)
		refuse(v, "state %zu: %s, %s after %zu calls", i, p->states.data[i].what,
			p->states.data[i].durable ? "durable" : "may be lost", p->states.data[i].acked);
	refuse(v, "none of the states %zu to %zu\n-- found\n%s-- acknowledged\n%s-- next\n%s", lowest, highest, text,
		p->states.data[lowest].text, p->states.data[highest].text);
	return SIZE_MAX;
}

/* A UID that was given before to other octets must not be given again. */
static void deliver(struct program *p, struct cv_user *user, const char *name, struct verdict *v)
{
	static const char octets[] = "Subject: the next delivery\r\n\r\nworks\r\n";
	const struct cv_save_config config = { .delivery = true };
	struct cv_mailbox *mailbox = NULL;
	struct cv_mailbox_status status;
	struct cv_txn *txn = cv_txn_begin(user);
	struct cv_err err = { 0 };
	struct cv_save *save;
	char key[32];
	int len;

	if (cv_mailbox_get(user, cv_str_c(name), &mailbox, &err) < 0 || cv_mailbox_get_status(mailbox, &status, &err) < 0 ||
		cv_save_begin(txn, mailbox, &config, &save, &err) < 0 || cv_save_write(save, cv_str_c(octets), &err) < 0 ||
		cv_save_finish(save, &err) < 0) {
		refuse(v, "delivery to %s: %s", name, err.text);
		cv_txn_rollback(&txn);
		cv_mailbox_unref(&mailbox);
		return;
	}
	len = snprintf(key, sizeof(key), "%u %u", status.uidvalidity, cv_save_uid(save));
	if (cv_map_get(p->given, cv_str_mem(key, (size_t)len)) != NULL)
		refuse(v, "delivery to %s: UID %u of UIDVALIDITY %u was given before", name, cv_save_uid(save), status.uidvalidity);
	if (cv_txn_commit_wait(&txn, &err) < 0)
		refuse(v, "delivery to %s: %s", name, err.text);
	cv_mailbox_unref(&mailbox);
}

/* UIDs given later than the state that survived were told to clients only when they were acknowledged: acknowledged means durable, so those of the
   state that survived are all that count. */
static void forget_later(struct program *p, size_t state)
{
	cv_map_free(&p->given);
	p->given = cv_map_new();
	for (size_t i = 0; i <= state; i++) {
		const char *line = p->states.data[i].text;
		unsigned uidvalidity = 0, uid, flags, words, crc;

		for (; *line != '\0'; line = strchr(line, '\n') + 1) {
			char key[32];
			int len;

			if (sscanf(line, "mailbox %*s uidvalidity %u", &uidvalidity) == 1)
				continue;
			if (sscanf(line, "  %u flags %x keywords %x octets %x", &uid, &flags, &words, &crc) != 4)
				continue;
			len = snprintf(key, sizeof(key), "%u %u", uidvalidity, uid);
			(void)cv_map_set(p->given, cv_str_mem(key, (size_t)len), (void *)(uintptr_t)(crc | 1ull << 32));
		}
	}
}

/* The power fails again, while the first cut is being recovered from or just after. */
static void check_second_cut(struct program *p, size_t at, const char *dir, const char *base, struct verdict *v)
{
	struct cv_user *user = NULL;
	struct disk *disk = disk_new(dir);
	struct cv_err err = { 0 };
	struct cv_buf before, after;
	size_t first = disk_calls(disk), second;
	enum disk_luck luck = (enum disk_luck)below(DISK_LUCKS);
	char again[PATH_MAX];
	bool opened;

	cv_buf_init(&before, SIZE_MAX);
	cv_buf_init(&after, SIZE_MAX);
	make_dir(again, base);
	disk_record(disk, true);
	opened = open_user(p, dir, &user, &err) > 0 && store_text(user, &before, &err) > 0;
	disk_record(NULL, false);
	cv_user_close(&user);
	if (opened) {
		second = first + below((uint32_t)(disk_calls(disk) - first) + 1);
		disk_cut(disk, second, luck, random_u64(), again);
		if (open_user(p, again, &user, &err) < 0 || store_text(user, &after, &err) < 0)
			refuse(v, "after a second cut before call %zu of %zu (%s survives): %s", second, disk_calls(disk), disk_luck_name(luck),
				err.text);
		else if (match(p, at, after.data, v) == SIZE_MAX)
			refuse(v, "after a second cut before call %zu of %zu, %s survives", second, disk_calls(disk), disk_luck_name(luck));
		cv_user_close(&user);
	} else {
		refuse(v, "before a second cut: %s", err.text);
	}
	cv_buf_deinit(&before);
	cv_buf_deinit(&after);
	disk_free(&disk);
	remove_tree(again);
}

static void check_cut(struct program *p, size_t at, enum disk_luck luck, uint64_t seed, const char *base, struct verdict *v)
{
	struct cv_user *user = NULL;
	struct cv_err err = { 0 };
	struct cv_buf first, again;
	char dir[PATH_MAX];
	size_t state;

	make_dir(dir, base);
	cv_buf_init(&first, SIZE_MAX);
	cv_buf_init(&again, SIZE_MAX);
	disk_cut(p->disk, at, luck, seed, dir);
	if (below(4) == 0) {
		check_second_cut(p, at, dir, base, v);
		goto out;
	}
	if (open_user(p, dir, &user, &err) < 0) {
		refuse(v, "does not open: %s", err.text);
		goto out;
	}
	if (store_text(user, &first, &err) < 0) {
		refuse(v, "cannot be read: %s", err.text);
		goto out;
	}
	state = match(p, at, first.data, v);
	if (state == SIZE_MAX)
		goto out;
	/* What was found stays, also when the server is stopped and started again. */
	cv_user_close(&user);
	if (open_user(p, dir, &user, &err) < 0 || store_text(user, &again, &err) < 0) {
		refuse(v, "does not open a second time: %s", err.text);
		goto out;
	}
	if (strcmp(first.data, again.data) != 0)
		refuse(v, "changed from the first opening to the second\n-- first\n%s-- second\n%s", first.data, again.data);
	forget_later(p, state);
	for (size_t n = 0; n < NAMES && v->ok; n++) {
		struct cv_mailbox_info info;

		if (cv_mailbox_lookup(user, cv_str_c(names[n]), &info) == 1 && info.exists)
			deliver(p, user, names[n], v);
	}
out:
	cv_user_close(&user);
	cv_buf_deinit(&first);
	cv_buf_deinit(&again);
	remove_tree(dir);
}

struct totals {
	uint64_t programs, cuts, failed, calls;
};

static void run_cuts(struct program *p, uint64_t seed, uint64_t cuts, const char *base, bool verbose, struct totals *totals)
{
	struct verdict v = { .ok = true };

	cv_buf_init(&v.text, SIZE_MAX);
	for (uint64_t i = 0; i < cuts; i++) {
		size_t at = below((uint32_t)disk_calls(p->disk) + 1);
		enum disk_luck luck = (enum disk_luck)below(DISK_LUCKS);
		uint64_t cut_seed = random_u64();

		v.ok = true;
		cv_buf_clear(&v.text);
		check_cut(p, at, luck, cut_seed, base, &v);
		totals->cuts++;
		if (v.ok)
			continue;
		totals->failed++;
		printf("FAILED program %llu, cut before call %zu of %zu, %s survives: %s", (unsigned long long)seed, at, disk_calls(p->disk),
			disk_luck_name(luck), verbose || totals->failed <= 3 ? v.text.data : "(-v tells more)\n");
		for (size_t n = at - CV_MIN(at, 26); verbose && n < CV_MIN(at + 3, disk_calls(p->disk)); n++)
			printf("  call %s\n", disk_call_text(p->disk, n));
	}
	cv_buf_deinit(&v.text);
}

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

static void print_log(void *ctx, enum cv_log_level level, struct cv_str line)
{
	if (*(const bool *)ctx)
		fprintf(stderr, "%d %.*s\n", (int)level, CV_STR_ARG(line));
}

static int usage(void)
{
	fprintf(stderr, "usage: campaign-DRIVER [-n CUTS] [-s SEED] [-p CUTS-PER-PROGRAM] [-t DIR] [-v]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static bool verbose;
	struct cv_log_config log = { .target = CV_LOG_CALLBACK, .callback = print_log, .callback_ctx = &verbose, .role = "campaign" };
	const char *driver = TEXT(CAMPAIGN_DRIVER), *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	uint64_t cuts = 1000, seed = (uint64_t)cv_time_now_us(), per_program = CUTS_PER_PROGRAM;
	struct totals totals = { 0 };
	struct cv_err err = { 0 };
	int opt;

	while ((opt = getopt(argc, argv, "n:p:s:t:v")) >= 0) {
		switch (opt) {
		case 'n':
			if (!cv_str_to_u64(cv_str_c(optarg), UINT64_MAX, &cuts))
				return usage();
			break;
		case 'p':
			if (!cv_str_to_u64(cv_str_c(optarg), UINT64_MAX, &per_program))
				return usage();
			break;
		case 's':
			if (!cv_str_to_u64(cv_str_c(optarg), UINT64_MAX, &seed))
				return usage();
			break;
		case 't':
			base = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return usage();
		}
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (cv_log_open(&log, &err) < 0)
		return 2;
	printf("campaign: %s, seed %llu\n", driver, (unsigned long long)seed);
	while (totals.cuts < cuts) {
		struct program p = { .driver = driver, .registry = load_modules() };

		the_random = seed;
		begin(&p, base);
		run_program(&p);
		disk_record(NULL, false);
		run_cuts(&p, seed, CV_MIN(per_program, cuts - totals.cuts), base, verbose, &totals);
		totals.programs++;
		totals.calls += disk_calls(p.disk);
		end(&p);
		cv_registry_free(&p.registry);
		seed++;
	}
	printf("campaign: %s: %llu programs, %llu calls, %llu cuts, %llu failed\n", driver, (unsigned long long)totals.programs,
		(unsigned long long)totals.calls, (unsigned long long)totals.cuts, (unsigned long long)totals.failed);
	return totals.failed == 0 ? 0 : 1;
}
