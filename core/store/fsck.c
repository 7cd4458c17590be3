/* SPDX-License-Identifier: MIT
   Checking what is on disk against itself and against memory, a slice at a time: first the files of the index directory, then mailbox by mailbox its
   snapshots, counts, parse records and messages, at last files and folders that belong to nothing.

   What is repaired goes the ways that heal by themselves: index files are written anew from memory and what they replace is set aside, the storage's
   files are compared as after damage (reconcile.c). So there is no second idea here of what is right. */
#include <config.h>

#include "core/store/fsck-private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEM_MAX 400

/* ---- telling ---------------------------------------------------------------------------------------------------------- */

static void emit(struct cv_fsck *f, const struct cv_fsck_finding *finding)
{
	switch (finding->result) {
	case CV_FSCK_FOUND:
		f->counts.found++;
		break;
	case CV_FSCK_REPAIRED:
		f->counts.repaired++;
		break;
	case CV_FSCK_LOST:
		f->counts.lost++;
		break;
	}
	if (f->config.found != NULL)
		f->config.found(f->config.ctx, finding);
}

static struct cv_str mailbox_name(const struct cv_fsck *f)
{
	return f->mailbox != NULL ? cv_mailbox_name(f->mailbox) : (struct cv_str){ 0 };
}

void cv_fsck_tell(struct cv_fsck *f, uint32_t uid, struct cv_str file, enum cv_fsck_result result, const char *fmt, ...)
{
	struct cv_fsck_finding finding = { .mailbox = mailbox_name(f), .uid = uid, .file = file, .result = result };
	char problem[PROBLEM_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(problem, sizeof(problem), fmt, ap);
	va_end(ap);
	finding.problem = problem;
	emit(f, &finding);
}

static char *copy_text(struct cv_str s)
{
	char *copy = cv_malloc(s.len + 1);

	if (s.len > 0)
		memcpy(copy, s.ptr, s.len);
	copy[s.len] = '\0';
	return copy;
}

void cv_fsck_tell_later(struct cv_fsck *f, uint32_t uid, struct cv_str file, const char *remedy, const char *fmt, ...)
{
	struct cv_str mailbox = mailbox_name(f);
	struct cv_fsck_later *later;
	char problem[PROBLEM_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(problem, sizeof(problem), fmt, ap);
	va_end(ap);
	if (!f->config.repair) {
		cv_fsck_tell(f, uid, file, CV_FSCK_FOUND, "%s", problem);
		return;
	}
	later = cv_vec_push(&f->later);
	*later = (struct cv_fsck_later){ .uid = uid, .remedy = remedy, .problem = cv_strdup(problem) };
	later->file = copy_text(file);
	later->mailbox = copy_text(mailbox);
}

static void forget_later(struct cv_fsck *f)
{
	for (size_t i = 0; i < f->later.count; i++) {
		cv_free(f->later.data[i].mailbox);
		cv_free(f->later.data[i].file);
		cv_free(f->later.data[i].problem);
	}
	f->later.count = 0;
}

/* What was told later is on disk now; or it is not, and stays to be repaired. */
static void tell_all(struct cv_fsck *f, bool done)
{
	for (size_t i = 0; i < f->later.count; i++) {
		struct cv_fsck_later *later = &f->later.data[i];
		struct cv_fsck_finding finding = { .mailbox = cv_str_c(later->mailbox), .uid = later->uid, .file = cv_str_c(later->file),
			.result = done ? CV_FSCK_REPAIRED : CV_FSCK_FOUND };
		char problem[PROBLEM_MAX];

		(void)snprintf(problem, sizeof(problem), "%s%s", later->problem, !done ? "; it could not be repaired" : later->remedy != NULL ? later->remedy : "");
		finding.problem = problem;
		emit(f, &finding);
	}
	forget_later(f);
}

/* ---- journal and state ------------------------------------------------------------------------------------------------ */

/* It is mended from its copy, or all is written anew from memory and it is set aside. */
static int segment_is_bad(struct cv_fsck *f, uint32_t number, const struct cv_err *why, struct cv_err *err)
{
	struct cv_journal *journal = &f->user->journal;
	char name[CV_BOX_NAME_MAX];
	struct cv_err left = { 0 };
	uint64_t offset = 0;

	cv_journal_name(number, name);
	if (f->config.repair && cv_journal_restore(journal, number, err) < 0) {
		cv_fsck_tell(f, 0, cv_str_c(name), CV_FSCK_FOUND, "%s", why->text);
		return -1;
	}
	if (f->config.repair && cv_journal_check(journal, number, &offset, UINT64_MAX, &f->record, &left) > 0) {
		cv_fsck_tell(f, 0, cv_str_c(name), CV_FSCK_REPAIRED, "%s", why->text);
		return 1;
	}
	cv_fsck_tell_later(f, 0, cv_str_c(name), NULL, "%s", why->text);
	if (!f->config.repair)
		return 1;
	f->journal_bad = true;
	cv_journal_mark_damaged(journal, number);
	return 1;
}

static int check_copy(struct cv_fsck *f, uint32_t number, struct cv_err *err)
{
	struct cv_err check_err = { 0 };
	char name[CV_BOX_NAME_MAX];
	int ret;

	if (cv_journal_check_copy(&f->user->journal, number, &check_err) > 0)
		return 1;
	if (check_err.code != CV_ERR_CORRUPT) {
		*err = check_err;
		return -1;
	}
	cv_journal_copy_name(number, name);
	ret = f->config.repair ? cv_journal_renew_copy(&f->user->journal, number, err) : 0;
	cv_fsck_tell(f, 0, cv_str_c(name), ret > 0 ? CV_FSCK_REPAIRED : CV_FSCK_FOUND, "%s", check_err.text);
	return ret < 0 ? -1 : 1;
}

static int check_journal(struct cv_fsck *f, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_journal *journal = &f->user->journal;

	for (; f->segment < f->segments.count; f->segment++, f->offset = 0) {
		uint32_t number = f->segments.data[f->segment];
		struct cv_err check_err = { 0 };
		int ret;

		if (!cv_journal_has_segment(journal, number))
			continue; /* folded and dropped meanwhile */
		ret = cv_journal_check(journal, number, &f->offset, deadline_ms, &f->record, &check_err);
		if (ret == 0)
			return 0;
		if (ret < 0 && check_err.code != CV_ERR_CORRUPT && check_err.code != CV_ERR_NOTFOUND) {
			*err = check_err;
			return -1;
		}
		if ((ret < 0 && segment_is_bad(f, number, &check_err, err) < 0) || check_copy(f, number, err) < 0)
			return -1;
	}
	return 1;
}

static int check_state(struct cv_fsck *f, struct cv_err *err)
{
	static const char *const names[] = { "state", "state.old" };
	struct cv_user *user = f->user;
	const uint64_t want[] = { user->state_seq, user->older_state_seq };

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		struct cv_err check_err = { 0 };
		uint64_t seq = 0;
		int ret = cv_state_check(user, names[i], &seq, &check_err);

		if (ret < 0 && check_err.code != CV_ERR_CORRUPT) {
			*err = check_err;
			return -1;
		}
		if (ret >= 0 && seq >= want[i])
			continue;
		if (ret == 0)
			(void)cv_err_set(&check_err, CV_ERR_CORRUPT, "it is missing");
		else if (ret > 0)
			(void)cv_err_set(&check_err, CV_ERR_CORRUPT, "it is an older one: as of record %llu, not %llu", (unsigned long long)seq,
				(unsigned long long)want[i]);
		cv_fsck_tell_later(f, 0, cv_str_c(names[i]), NULL, "%s", check_err.text);
		if (f->config.repair) {
			if (ret != 0)
				cv_user_set_aside(user, names[i]);
			f->fold = true;
		}
	}
	return 1;
}

/* ---- snapshots -------------------------------------------------------------------------------------------------------- */

static int check_snapshot(struct cv_fsck *f, const char *suffix, uint64_t want, struct cv_err *err)
{
	struct cv_mailbox *mailbox = f->mailbox;
	struct cv_user *user = f->user;
	struct cv_snapshot *snapshot = NULL;
	struct cv_err open_err = { 0 };
	char name[CV_BOX_NAME_MAX];
	int ret;

	cv_box_name(mailbox, "box", suffix, name);
	ret = cv_snapshot_open(user->index_dir, name, &snapshot, &open_err);
	if (ret < 0 && open_err.code != CV_ERR_CORRUPT) {
		*err = open_err;
		return -1;
	}
	if (ret > 0 && (!cv_snapshot_all_ok(snapshot) || !cv_snapshot_uids_ok(snapshot)))
		ret = cv_err_set(&open_err, CV_ERR_CORRUPT, "some of its columns do not check");
	else if (ret > 0 && memcmp(&snapshot->head.guid, &mailbox->guid, sizeof(mailbox->guid)) != 0)
		ret = cv_err_set(&open_err, CV_ERR_CORRUPT, "it is of another mailbox");
	else if (ret > 0 && snapshot->head.seq < want)
		ret = cv_err_set(&open_err, CV_ERR_CORRUPT, "it is an older one: as of record %llu, not %llu",
			(unsigned long long)snapshot->head.seq, (unsigned long long)want);
	else if (ret == 0 && want > 0)
		ret = cv_err_set(&open_err, CV_ERR_CORRUPT, "it is missing");
	cv_snapshot_free(&snapshot);
	if (ret >= 0)
		return 1;
	cv_fsck_tell_later(f, 0, cv_str_c(name), NULL, "%s", open_err.text);
	/* Columns first, from all that is there, the bad file included: it is set aside when it does not check. */
	if (f->config.repair) {
		if (cv_mailbox_load(mailbox, err) < 0)
			return -1;
		cv_user_set_aside(user, name);
		mailbox->rewrite = f->fold = true;
	}
	return 1;
}

/* ---- numbers of a mailbox ----------------------------------------------------------------------------------------------- */

static void check_counts(struct cv_fsck *f)
{
	struct cv_mailbox *mailbox = f->mailbox;
	const struct cv_columns *columns = mailbox->columns;
	struct cv_counts counts = { .notes = cv_notes_sum(columns) };

	for (uint32_t row = 0; row < columns->count; row++) {
		uint16_t flags = *cv_col_flags(columns, row);

		if ((flags & CV_ROW_EXPUNGED) != 0)
			continue;
		counts.messages++;
		counts.size += *cv_col_virtual_size(columns, row);
		counts.unseen += (flags & CV_FLAG_SEEN) == 0;
		counts.deleted += (flags & CV_FLAG_DELETED) != 0;
	}
	if (counts.messages == mailbox->counts.messages && counts.size == mailbox->counts.size && counts.unseen == mailbox->counts.unseen &&
		counts.deleted == mailbox->counts.deleted && counts.notes == mailbox->counts.notes)
		return;
	cv_fsck_tell_later(f, 0, (struct cv_str){ 0 }, NULL,
		"%u messages, %u unseen, %u deleted, %llu octets, %llu of annotations are counted; there are %u, %u, %u, %llu, %llu",
		mailbox->counts.messages, mailbox->counts.unseen, mailbox->counts.deleted, (unsigned long long)mailbox->counts.size,
		(unsigned long long)mailbox->counts.notes, counts.messages, counts.unseen, counts.deleted, (unsigned long long)counts.size,
		(unsigned long long)counts.notes);
	if (f->config.repair) {
		cv_mailbox_recount(mailbox);
		f->fold = true;
	}
}

/* ---- its folder ------------------------------------------------------------------------------------------------------------ */

static void extra_file(void *ctx, struct cv_str ref)
{
	struct cv_fsck *f = ctx;

	cv_fsck_tell_later(f, 0, ref, "; it is taken in", "the mailbox does not know this message");
	f->compare = true;
}

/* Files that are nobody's; then, when repairing, mailbox and folder are brought together. */
static int check_folder(struct cv_fsck *f, struct cv_err *err)
{
	struct cv_mailbox *mailbox = f->mailbox;
	struct cv_err scan_err = { 0 };

	if (f->bad_records > 0)
		cv_fsck_tell_later(f, 0, CV_STR("cache"), NULL, "%llu parse records do not check", (unsigned long long)f->bad_records);
	f->bad_records = 0;
	if (f->user->external)
		return 1;
	if (cv_reconcile_extra(mailbox, extra_file, f, &scan_err) < 0) {
		if (scan_err.code != CV_ERR_NOTFOUND) {
			*err = scan_err;
			return -1;
		}
		if (cv_mailbox_may_lack_folder(mailbox))
			return 1;
		cv_fsck_tell_later(f, 0, (struct cv_str){ 0 }, "; it is made anew", "its folder is missing");
		f->compare = true;
	}
	if (!f->compare || !f->config.repair)
		return 1;
	mailbox->take_over = true;
	if (cv_mailbox_refresh(mailbox, err) < 0)
		return -1;
	f->fold = true;
	return 1;
}

/* ---- mailbox by mailbox --------------------------------------------------------------------------------------------------- */

/* 1, or 0 when it went. */
static int begin_mailbox(struct cv_fsck *f, struct cv_err *err)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(f->user, &f->boxes.data[f->box]);

	if (mailbox == NULL || mailbox->gone)
		return 0;
	f->mailbox = mailbox;
	cv_mailbox_ref(mailbox);
	f->next_uid = 1;
	f->compare = false;
	f->counts.mailboxes++;
	cv_cache_quiet(mailbox); /* what was read ahead is not what is on disk */
	if (check_snapshot(f, "", mailbox->snapshot_seq, err) < 0 || check_snapshot(f, ".old", mailbox->older_seq, err) < 0)
		return -1;
	if (cv_mailbox_load(mailbox, err) < 0 || cv_mailbox_refresh(mailbox, err) < 0 || mailbox->gone)
		return mailbox->gone ? 0 : -1;
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	check_counts(f);
	return 1;
}

static void end_mailbox(struct cv_fsck *f)
{
	if (f->mailbox != NULL)
		cv_mailbox_unref(&f->mailbox);
	f->box++;
}

static int check_mailboxes(struct cv_fsck *f, uint64_t deadline_ms, struct cv_err *err)
{
	while (f->box < f->boxes.count) {
		if (f->mailbox == NULL) {
			int ret = begin_mailbox(f, err);

			if (ret < 0)
				return -1;
			if (ret == 0) {
				end_mailbox(f);
				continue;
			}
		}
		if (f->mailbox->gone) {
			end_mailbox(f);
			continue;
		}
		/* Folding may have let go of them, a failed write may have read them anew: it goes on by UID. */
		if (cv_mailbox_load(f->mailbox, err) < 0)
			return -1;
		int ret = cv_fsck_messages(f, deadline_ms, err);

		if (ret <= 0)
			return ret;
		if (check_folder(f, err) < 0)
			return -1;
		end_mailbox(f);
		if (cv_time_mono_ms() >= deadline_ms)
			return f->box < f->boxes.count ? 0 : 1;
	}
	return 1;
}

/* ---- files and folders that belong to nothing -------------------------------------------------------------------------------- */

static bool parse_guid(struct cv_str hex, struct cv_guid *guid_r)
{
	struct cv_buf octets;
	bool ok;

	cv_buf_init(&octets, sizeof(guid_r->b));
	ok = hex.len == 2 * sizeof(guid_r->b) && cv_hex_decode(&octets, hex) && octets.len == sizeof(guid_r->b);
	if (ok)
		memcpy(guid_r->b, octets.data, sizeof(guid_r->b));
	cv_buf_deinit(&octets);
	return ok;
}

/* "box.<guid>", "cache.<guid>", with ".old" or ".new". False: it is something else. */
static bool box_file(struct cv_str name, struct cv_guid *guid_r)
{
	struct cv_str hex;

	if (cv_str_starts(name, CV_STR("box.")))
		hex = cv_str_sub(name, 4, SIZE_MAX);
	else if (cv_str_starts(name, CV_STR("cache.")))
		hex = cv_str_sub(name, 6, SIZE_MAX);
	else
		return false;
	if (hex.len == 36 && (cv_str_eq_c(cv_str_sub(hex, 32, 4), ".old") || cv_str_eq_c(cv_str_sub(hex, 32, 4), ".new")))
		hex.len = 32;
	return parse_guid(hex, guid_r);
}

/* It gets another name at once. */
static void file_is_nobodys(struct cv_fsck *f, const char *name, const char *problem)
{
	struct cv_err err = { 0 };

	if (!f->config.repair)
		cv_fsck_tell(f, 0, cv_str_c(name), CV_FSCK_FOUND, "%s", problem);
	else if (cv_file_aside(f->user->index_dir, name, &err) > 0)
		cv_fsck_tell(f, 0, cv_str_c(name), CV_FSCK_REPAIRED, "%s; set aside", problem);
	else
		cv_fsck_tell(f, 0, cv_str_c(name), CV_FSCK_FOUND, "%s; it could not be set aside: %s", problem, err.text);
}

static int note_file(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct cv_fsck *f = ctx;
	struct cv_user *user = f->user;
	struct cv_str text = cv_str_c(name);
	struct cv_guid guid;
	uint32_t number;

	(void)type;
	(void)err;
	if (cv_str_find(text, '.') != SIZE_MAX && strstr(name, ".damaged-") != NULL)
		return 1; /* for the administrator to look at and remove */
	if (box_file(text, &guid)) {
		if (cv_mailbox_by_guid(user, &guid) == NULL)
			file_is_nobodys(f, name, "it belongs to a mailbox that is not there");
	} else if (cv_journal_parse_name(name, &number) || cv_journal_parse_copy_name(name, &number)) {
		if (!cv_journal_has_segment(&user->journal, number))
			file_is_nobodys(f, name, "the journal does not know this segment");
	}
	return 1;
}

static int note_folder(void *ctx, const struct cv_mailbox_ref *ref)
{
	struct cv_fsck *f = ctx;
	const struct cv_name *name = cv_tree_find(f->user, ref->name);
	struct cv_err ignored = { 0 };

	if ((name != NULL && name->mailbox != NULL) || cv_mailbox_name_ok(f->user, ref->name, &ignored) < 0)
		return 1;
	cv_fsck_tell_later(f, 0, ref->name, "; it becomes one", "no mailbox has this folder");
	f->compare = true;
	return 1;
}

static int check_folders(struct cv_fsck *f, struct cv_err *err)
{
	struct cv_user *user = f->user;

	if (user->external) { /* what others made, renamed and removed is no damage */
		cv_user_sync_folders(user);
		return 1;
	}
	cv_work_run(user, true);
	if (cv_work_is_due(user))
		return 1; /* folders are still to be moved or removed: what is there says nothing */
	f->compare = false;
	if (user->storage->mailbox_list(user->st, note_folder, f, err) < 0)
		return -1;
	if (!f->compare || !f->config.repair)
		return 1;
	if (cv_user_adopt_folders(user, false, err) < 0)
		return -1;
	cv_user_flush(user);
	return cv_user_usable(user, err);
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------------- */

int cv_fsck_begin(struct cv_user *user, const struct cv_fsck_config *config, struct cv_fsck **fsck_r, struct cv_err *err)
{
	struct cv_fsck *f;

	*fsck_r = NULL;
	if (user->fsck_running)
		return cv_err_set(err, CV_ERR_INUSE, "this user's mail is being checked already");
	if (cv_user_usable(user, err) < 0)
		return -1;
	cv_user_flush(user);
	f = cv_new0(struct cv_fsck);
	f->user = user;
	f->config = *config;
	cv_buf_init(&f->record, CV_JOURNAL_READ_MAX);
	for (size_t i = 0; i < user->journal.segments.count; i++)
		*cv_vec_push(&f->segments) = user->journal.segments.data[i].number;
	for (size_t i = 0; i < user->names.count; i++) {
		if (user->names.data[i]->mailbox != NULL)
			*cv_vec_push(&f->boxes) = user->names.data[i]->mailbox->guid;
	}
	user->fsck_running = true;
	*fsck_r = f;
	return 1;
}

static int stage(struct cv_fsck *f, uint64_t deadline_ms, struct cv_err *err)
{
	switch (f->stage) {
	case STAGE_JOURNAL:
		return check_journal(f, deadline_ms, err);
	case STAGE_STATE:
		return check_state(f, err);
	case STAGE_MAILBOXES:
		return check_mailboxes(f, deadline_ms, err);
	case STAGE_FOLD:
		return f->config.repair && (f->journal_bad || f->fold) ? cv_user_write_anew(f->user, err) : 1;
	case STAGE_FOLDERS:
		return check_folders(f, err);
	case STAGE_FILES:
		return cv_file_list(f->user->index_dir, ".", note_file, f, err);
	case STAGE_DONE:
		return 1;
	}
	return 1;
}

static int step(struct cv_fsck *f, uint64_t deadline_ms, struct cv_err *err)
{
	/* What sessions have committed since the last step is in memory, and not yet where it is looked for. */
	cv_user_flush(f->user);
	if (cv_user_usable(f->user, err) < 0)
		return -1;
	while (f->stage != STAGE_DONE) {
		int ret = stage(f, deadline_ms, err);

		if (ret <= 0)
			return ret;
		if (f->stage == STAGE_FOLD || f->stage == STAGE_FOLDERS)
			tell_all(f, true);
		f->stage = (enum cv_fsck_stage)(f->stage + 1);
		if (f->stage != STAGE_DONE && cv_time_mono_ms() >= deadline_ms)
			return 0;
	}
	return 1;
}

int cv_fsck_step(struct cv_fsck *f, uint64_t deadline_ms, struct cv_err *err)
{
	int ret = step(f, deadline_ms, err);

	if (ret < 0)
		tell_all(f, false);
	return ret;
}

struct cv_fsck_counts cv_fsck_counts_of(const struct cv_fsck *f)
{
	return f->counts;
}

void cv_fsck_end(struct cv_fsck **fsck_p)
{
	struct cv_fsck *f = *fsck_p;

	*fsck_p = NULL;
	if (f == NULL)
		return;
	if (f->mailbox != NULL)
		cv_mailbox_unref(&f->mailbox);
	f->user->fsck_running = false;
	cv_buf_deinit(&f->record);
	forget_later(f);
	cv_vec_free(&f->later);
	cv_vec_free(&f->segments);
	cv_vec_free(&f->boxes);
	cv_free(f);
}
