/* SPDX-License-Identifier: MIT
   The state: tree and numbers of all mailboxes as of a sequence number, in one small file.

   "state" (the one before it: "state.old"), numbers little-endian: u64 magic  u32 format version  u32 CRC-32C of the version and what follows  u64 length
   of what follows; then u64 sequence number  u64 highest one given out  u64 hybrid logical clock  u64 owner's epoch  u32 highest UIDVALIDITY
   u32 segment and u64 offset where the journal ended  u64 sequence number up to which the storage's work is done, u32 count and that many records
   with work left (u64 sequence number, u32 segment, u64 offset, u32 length)  u32 count of names, and for each: str name, u8 bits (1 subscribed, 2
   has a mailbox), and for a mailbox: guid  u32 UIDVALIDITY, special use, UIDNEXT, first recent UID, messages, unseen, deleted, recent, first
   unseen UID  u64 size, highest MODSEQ, MODSEQ above which the list of expunged UIDs is complete  u8 bits (1 has to be scanned, 2 its snapshot is
   damaged, 4 its folder is still to be taken over)  u64 sequence number of the snapshot, of the older one, first record that the older one lacks, octets of the snapshot  u32 count and
   that many records behind the snapshot, as above. Version 2, which is written when there are annotations: the user's behind all names, then those of each
   mailbox in the order of the names: u32 count, and for each str name, str value. Version 3, which is written when files of copies are owed: behind these u32
   count and that many records that owe them (u64 sequence number, u32 segment, u64 offset). Version 4, which is written when messages have annotations:
   behind these, for each mailbox in the order of the names, u64 octets of them. The bit 8 of a mailbox says that this number, or that there are none in the versions
   below, is known. */
#include <config.h>

#include "core/store/store-private.h"

#include <fcntl.h>

#define STATE_MAGIC 0x3154415453565643ULL /* "CVVSTAT1" */
#define STATE_VERSION 4
#define STATE_HEAD 24
#define STATE_MAX ((size_t)1 << 30)
#define NAME_MAX_LEN 4096u

enum { NAME_SUBSCRIBED = 1, NAME_MAILBOX = 2 };
enum { BOX_NEEDS_SCAN = 1, BOX_REWRITE = 2, BOX_TAKE_OVER = 4, BOX_NOTES_KNOWN = 8 };

/* ---- writing -------------------------------------------------------------------------------------------------- */

static void put_record(struct cv_buf *out, const struct cv_behind *record)
{
	cv_put_u64(out, record->seq);
	cv_put_u32(out, record->pos.segment);
	cv_put_u64(out, record->pos.offset);
	cv_put_u32(out, record->len);
}

static void put_records(struct cv_buf *out, const struct cv_behind *records, size_t count)
{
	cv_put_u32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		put_record(out, &records[i]);
}

static void put_work(struct cv_buf *out, const struct cv_user *user)
{
	cv_put_u32(out, (uint32_t)user->work.count);
	for (size_t i = 0; i < user->work.count; i++) {
		const struct cv_behind record = { .seq = user->work.data[i].seq, .pos = user->work.data[i].pos };

		put_record(out, &record);
	}
}

static void put_mailbox(struct cv_buf *out, const struct cv_mailbox *m)
{
	cv_buf_append_mem(out, m->guid.b, sizeof(m->guid.b));
	cv_put_u32(out, m->uidvalidity);
	cv_put_u32(out, m->special_use);
	cv_put_u32(out, m->uidnext);
	cv_put_u32(out, m->first_recent);
	cv_put_u32(out, m->counts.messages);
	cv_put_u32(out, m->counts.unseen);
	cv_put_u32(out, m->counts.deleted);
	cv_put_u32(out, m->counts.recent);
	cv_put_u32(out, m->counts.first_unseen);
	cv_put_u64(out, m->counts.size);
	cv_put_u64(out, m->highest_modseq);
	cv_put_u64(out, m->vanished_from);
	cv_put_u8(out, (uint8_t)((m->needs_scan ? BOX_NEEDS_SCAN : 0) | (m->rewrite ? BOX_REWRITE : 0) |
		(m->take_over ? BOX_TAKE_OVER : 0) | (m->counts.notes_unknown ? 0 : BOX_NOTES_KNOWN)));
	cv_put_u64(out, m->snapshot_seq);
	cv_put_u64(out, m->older_seq);
	cv_put_u64(out, m->older_need);
	cv_put_u64(out, m->snapshot_size);
	put_records(out, m->behind.data, m->behind.count);
}

static void put_state(struct cv_buf *out, struct cv_user *user)
{
	struct cv_journal_pos end = cv_journal_end_pos(&user->journal);

	cv_put_u64(out, user->published_seq);
	cv_put_u64(out, user->journal.seq);
	cv_put_u64(out, user->journal.hlc);
	cv_put_u64(out, user->journal.epoch);
	cv_put_u32(out, user->last_uidvalidity);
	cv_put_u32(out, end.segment);
	cv_put_u64(out, end.offset);
	cv_put_u64(out, user->work_seq);
	put_work(out, user);
	cv_put_u32(out, (uint32_t)user->names.count);
	for (size_t i = 0; i < user->names.count; i++) {
		const struct cv_name *name = user->names.data[i];

		cv_put_str(out, cv_name_str(name));
		cv_put_u8(out, (uint8_t)((name->subscribed ? NAME_SUBSCRIBED : 0) | (name->mailbox != NULL ? NAME_MAILBOX : 0)));
		if (name->mailbox != NULL)
			put_mailbox(out, name->mailbox);
	}
}

static bool has_notes(const struct cv_user *user)
{
	for (size_t i = 0; i < user->names.count; i++) {
		if (user->names.data[i]->mailbox != NULL && user->names.data[i]->mailbox->counts.notes > 0)
			return true;
	}
	return false;
}

/* The lowest that tells all there is. */
static uint32_t version_for(const struct cv_user *user)
{
	if (has_notes(user))
		return 4;
	return user->owed.count > 0 ? 3 : user->annotation_octets > 0 ? 2 : 1;
}

static void put_owed(struct cv_buf *out, const struct cv_user *user)
{
	cv_put_u32(out, (uint32_t)user->owed.count);
	for (size_t i = 0; i < user->owed.count; i++) {
		cv_put_u64(out, user->owed.data[i].seq);
		cv_put_u32(out, user->owed.data[i].pos.segment);
		cv_put_u64(out, user->owed.data[i].pos.offset);
	}
}

static void put_annotations(struct cv_buf *out, const struct cv_user *user)
{
	cv_annotations_put(out, &user->annotations);
	for (size_t i = 0; i < user->names.count; i++) {
		if (user->names.data[i]->mailbox != NULL)
			cv_annotations_put(out, &user->names.data[i]->mailbox->annotations);
	}
}

static void put_notes(struct cv_buf *out, const struct cv_user *user)
{
	for (size_t i = 0; i < user->names.count; i++) {
		if (user->names.data[i]->mailbox != NULL)
			cv_put_u64(out, user->names.data[i]->mailbox->counts.notes);
	}
}

static int write_file(struct cv_user *user, const char *name, struct cv_str octets, struct cv_err *err)
{
	int fd, ret;

	if (cv_file_open(user->index_dir, name, O_RDWR | O_CREAT | O_TRUNC, user->storage_args.file_mode, &fd, err) < 0)
		return -1;
	ret = cv_file_pwrite(fd, octets, 0, err);
	if (ret > 0 && user->storage_args.fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(fd, true, err);
	cv_file_close(&fd);
	return ret;
}

/* What memory says is what the state says: from here on a failed write goes back to it. */
static void set_base(struct cv_user *user)
{
	for (size_t i = 0; i < user->names.count; i++) {
		struct cv_mailbox *mailbox = user->names.data[i]->mailbox;

		if (mailbox != NULL)
			mailbox->base = (struct cv_mailbox_numbers){ mailbox->counts, mailbox->uidnext, mailbox->first_recent,
				mailbox->highest_modseq, mailbox->vanished_from };
	}
}

int cv_state_write(struct cv_user *user, struct cv_err *err)
{
	struct cv_err rename_err = { 0 };
	struct cv_buf body, file;
	uint32_t crc, version = version_for(user);
	int ret;

	cv_assert(!cv_user_unpublished(user));
	/* Records whose work is done are not named any more; those that are counted are on disk before (see cv_journal_resume). */
	if (cv_user_owned(user, err) < 0 || cv_work_settle(user, err) < 0 || cv_journal_sync(&user->journal, err) < 0)
		return -1;
	cv_buf_init(&body, STATE_MAX);
	cv_buf_init(&file, STATE_MAX + STATE_HEAD);
	put_state(&body, user);
	if (version >= 2)
		put_annotations(&body, user);
	if (version >= 3)
		put_owed(&body, user);
	if (version >= 4)
		put_notes(&body, user);
	if (user->state_version > 0 && user->state_version < version && version != 3)
		cv_info(&user->log_ctx, "state is written in format %u from now on, since there are annotations: older servers can't read it", version);
	cv_put_u64(&file, STATE_MAGIC);
	cv_put_u32(&file, version);
	crc = cv_crc32c(0, file.data + 8, 4);
	cv_put_u32(&file, cv_crc32c(crc, body.data, body.len));
	cv_put_u64(&file, body.len);
	cv_buf_append(&file, cv_buf_str(&body));
	if (cv_buf_ok(&body) && cv_buf_ok(&file))
		ret = write_file(user, "state.new", cv_buf_str(&file), err);
	else
		ret = cv_err_set(err, CV_ERR_LIMIT, "too many names for a state file");
	cv_buf_deinit(&body);
	cv_buf_deinit(&file);
	if (ret < 0)
		return cv_err_context(err, "state");
	/* state_is_old: the newer one was missing or damaged, what memory came from is the older one and stays. */
	if (!user->state_is_old && user->state_seq > 0) {
		if (cv_file_rename(user->index_dir, "state", user->index_dir, "state.old", true, &rename_err) > 0) {
			user->older_state_seq = user->state_seq;
		} else if (rename_err.code != CV_ERR_NOTFOUND) {
			if (err != NULL)
				*err = rename_err;
			return -1;
		}
	}
	if (cv_file_rename(user->index_dir, "state.new", user->index_dir, "state", true, err) < 0)
		return -1;
	if (user->storage_args.fsync != CV_FSYNC_NEVER && cv_file_sync(user->index_dir, true, err) < 0)
		return cv_err_context(err, "index directory");
	user->state_is_old = false;
	user->state_version = version;
	user->state_seq = user->published_seq;
	user->behind_records = 0;
	user->state_dirty = false;
	user->owed_settled = 0;
	set_base(user);
	return 1;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static bool take_record(struct cv_reader *r, struct cv_behind *record)
{
	return cv_take_u64(r, &record->seq) && cv_take_u32(r, &record->pos.segment) && cv_take_u64(r, &record->pos.offset) &&
		cv_take_u32(r, &record->len);
}

/* Counts come before what they count: more than the octets can hold are refused by the takes. */
static bool take_records(struct cv_reader *r, struct cv_behind **data, size_t *count, size_t *cap)
{
	uint32_t n;
	uint64_t before = 0;

	if (!cv_take_u32(r, &n))
		return false;
	for (; n > 0; n--) {
		struct cv_behind record = { 0 };

		if (!take_record(r, &record) || record.seq <= before)
			return false;
		before = record.seq;
		*data = cv_vec_grow(*data, cap, *count + 1, sizeof(**data));
		(*data)[(*count)++] = record;
	}
	return true;
}

static bool take_work(struct cv_reader *r, struct cv_user *user)
{
	struct cv_behind *records = NULL;
	size_t count = 0, cap = 0;
	bool ok = take_records(r, &records, &count, &cap);

	for (size_t i = 0; ok && i < count; i++)
		cv_work_add(user, records[i].seq, records[i].pos);
	cv_free(records);
	return ok;
}

static bool take_mailbox(struct cv_reader *r, struct cv_user *user, struct cv_name *name)
{
	struct cv_mailbox *m;
	struct cv_guid guid;
	struct cv_str octets;
	uint8_t bits;

	if (!cv_take_len(r, sizeof(guid.b), &octets))
		return false;
	memcpy(guid.b, octets.ptr, sizeof(guid.b));
	if (name->mailbox != NULL || cv_mailbox_by_guid(user, &guid) != NULL)
		return false;
	m = cv_mailbox_new(user, &guid);
	m->name = name;
	m->log_ctx.mailbox = cv_name_str(name);
	name->mailbox = m;
	if (!cv_take_u32(r, &m->uidvalidity) || !cv_take_u32(r, &m->special_use) || !cv_take_u32(r, &m->uidnext) || m->uidnext == 0 ||
		!cv_take_u32(r, &m->first_recent) || !cv_take_u32(r, &m->counts.messages) || !cv_take_u32(r, &m->counts.unseen) ||
		!cv_take_u32(r, &m->counts.deleted) || !cv_take_u32(r, &m->counts.recent) ||
		!cv_take_u32(r, &m->counts.first_unseen) || !cv_take_u64(r, &m->counts.size) || !cv_take_u64(r, &m->highest_modseq) ||
		!cv_take_u64(r, &m->vanished_from) || !cv_take_u8(r, &bits) || !cv_take_u64(r, &m->snapshot_seq) ||
		!cv_take_u64(r, &m->older_seq) || !cv_take_u64(r, &m->older_need) || !cv_take_u64(r, &m->snapshot_size) ||
		!take_records(r, &m->behind.data, &m->behind.count, &m->behind.cap))
		return false;
	m->needs_scan = (bits & BOX_NEEDS_SCAN) != 0;
	m->rewrite = (bits & BOX_REWRITE) != 0;
	m->take_over = (bits & BOX_TAKE_OVER) != 0;
	m->counts.notes_unknown = (bits & BOX_NOTES_KNOWN) == 0;
	m->uid_reserved = m->uidnext;
	for (size_t i = 0; i < m->behind.count; i++)
		m->behind_octets += m->behind.data[i].len;
	return m->highest_modseq <= INT64_MAX;
}

static bool take_names(struct cv_reader *r, struct cv_user *user)
{
	uint32_t count;

	if (!cv_take_u32(r, &count))
		return false;
	for (; count > 0; count--) {
		struct cv_name *name;
		struct cv_str text;
		uint8_t bits;

		if (!cv_take_str(r, NAME_MAX_LEN, &text) || text.len == 0 || !cv_take_u8(r, &bits) || cv_tree_find(user, text) != NULL)
			return false;
		name = cv_tree_add(user, text);
		name->subscribed = (bits & NAME_SUBSCRIBED) != 0;
		if ((bits & NAME_MAILBOX) != 0 && !take_mailbox(r, user, name))
			return false;
	}
	return true;
}

static bool take_annotations(struct cv_reader *r, struct cv_user *user)
{
	if (!cv_annotations_take(r, &user->annotations))
		return false;
	for (size_t i = 0; i < user->names.count; i++) {
		struct cv_mailbox *mailbox = user->names.data[i]->mailbox;

		if (mailbox == NULL)
			continue;
		if (!cv_annotations_take(r, &mailbox->annotations))
			return false;
		mailbox->annotations.seq = user->state_seq;
	}
	return true;
}

static bool take_owed(struct cv_reader *r, struct cv_user *user)
{
	uint32_t count;

	if (!cv_take_u32(r, &count))
		return false;
	for (; count > 0; count--) {
		struct cv_journal_pos pos;
		uint64_t seq;

		if (!cv_take_u64(r, &seq) || !cv_take_u32(r, &pos.segment) || !cv_take_u64(r, &pos.offset) || pos.offset < CV_SEGMENT_HEAD ||
			seq > user->state_seq || (user->owed.count > 0 && user->owed.data[user->owed.count - 1].seq >= seq))
			return false;
		cv_owed_add(user, &(struct cv_owed){ .seq = seq, .pos = pos, .again = true, .copies = true });
	}
	return true;
}

static bool take_notes(struct cv_reader *r, struct cv_user *user)
{
	for (size_t i = 0; i < user->names.count; i++) {
		if (user->names.data[i]->mailbox != NULL && !cv_take_u64(r, &user->names.data[i]->mailbox->counts.notes))
			return false;
	}
	return true;
}

static bool take_state(struct cv_reader *r, uint32_t version, struct cv_user *user, struct cv_state_info *info)
{
	uint64_t given, hlc, epoch;

	if (!cv_take_u64(r, &user->state_seq) || !cv_take_u64(r, &given) || !cv_take_u64(r, &hlc) || !cv_take_u64(r, &epoch) ||
		!cv_take_u32(r, &user->last_uidvalidity) || !cv_take_u32(r, &info->end.segment) || !cv_take_u64(r, &info->end.offset) ||
		info->end.offset < CV_SEGMENT_HEAD || user->state_seq > INT64_MAX || given > INT64_MAX || given < user->state_seq ||
		!cv_take_u64(r, &user->work_seq) || !take_work(r, user))
		return false;
	user->journal.seq = given;
	user->journal.hlc = CV_MAX(user->journal.hlc, hlc);
	user->journal.epoch = CV_MAX(user->journal.epoch, epoch);
	return take_names(r, user) && (version < 2 || take_annotations(r, user)) && (version < 3 || take_owed(r, user)) &&
		(version < 4 || take_notes(r, user)) && cv_reader_end(r);
}

/* Nothing was read. */
void cv_state_forget(struct cv_user *user)
{
	cv_landing_drop(user);
	cv_tree_free(user);
	cv_annotations_clear(&user->annotations);
	cv_map_free(&user->mailboxes);
	user->names_by_text = cv_map_new();
	user->mailboxes = cv_map_new();
	user->list_valid = false;
	user->work.count = user->work_due = 0;
	cv_owed_drop(user, user->owed.count);
	user->owed_made = 0;
	user->work_seq = user->state_seq = 0;
	user->last_uidvalidity = 0;
	user->journal.seq = 0;
}

/* The head of a file and its checksum; the reader is behind the head then. */
static int check_octets(struct cv_str octets, struct cv_reader *r_r, uint32_t *version_r, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(octets);
	uint32_t version, crc;
	uint64_t magic, len;

	if (!cv_take_u64(&r, &magic) || magic != STATE_MAGIC || !cv_take_u32(&r, &version))
		return cv_err_set(err, CV_ERR_CORRUPT, "it has no head");
	if (!cv_take_u32(&r, &crc) || !cv_take_u64(&r, &len) || len != cv_reader_left(&r) ||
		crc != cv_crc32c(cv_crc32c(0, octets.ptr + 8, 4), cv_reader_rest(&r).ptr, (size_t)len))
		return cv_err_set(err, CV_ERR_CORRUPT, "it does not check");
	if (version > STATE_VERSION)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "state has format %u, this server knows up to %u: use the newer server again", version,
			STATE_VERSION);
	*r_r = r;
	*version_r = version;
	return 1;
}

int cv_state_parse(struct cv_user *user, struct cv_str octets, struct cv_state_info *info_r, struct cv_err *err)
{
	struct cv_reader r;
	uint32_t version;

	*info_r = (struct cv_state_info){ 0 };
	if (check_octets(octets, &r, &version, err) < 0)
		return -1;
	if (!take_state(&r, version, user, info_r)) {
		cv_state_forget(user);
		return cv_err_set(err, CV_ERR_CORRUPT, "it makes no sense");
	}
	user->state_version = version;
	return 1;
}

/* The file in memory: 1, 0 there is none, -1. */
static int load_file(struct cv_user *user, const char *name, char **octets_r, size_t *len_r, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	struct stat st;
	int fd, ret;

	if (cv_file_open(user->index_dir, name, O_RDONLY, 0, &fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		*err = open_err;
		if (open_err.code == CV_ERR_PERM) /* others have what it says */
			err->code = CV_ERR_CORRUPT;
		return -1;
	}
	ret = cv_file_fstat(fd, &st, err);
	if (ret > 0 && (!S_ISREG(st.st_mode) || st.st_size < STATE_HEAD || (uint64_t)st.st_size > STATE_MAX + STATE_HEAD))
		ret = cv_err_set(err, CV_ERR_CORRUPT, "its length makes no sense");
	if (ret > 0)
		ret = cv_file_load(fd, 0, (size_t)st.st_size, octets_r, err);
	cv_file_close(&fd);
	*len_r = ret > 0 ? (size_t)st.st_size : 0;
	return ret;
}

/* 1, 0 there is none, -1; CORRUPT when it does not check. */
static int read_file(struct cv_user *user, const char *name, struct cv_state_info *info_r, struct cv_err *err)
{
	char *octets;
	size_t len;
	int ret = load_file(user, name, &octets, &len, err);

	if (ret <= 0)
		return ret;
	ret = cv_state_parse(user, cv_str_mem(octets, len), info_r, err);
	cv_free(octets);
	return ret;
}

int cv_state_check(struct cv_user *user, const char *name, uint64_t *seq_r, struct cv_err *err)
{
	struct cv_reader r;
	uint32_t version;
	char *octets;
	size_t len;
	int ret = load_file(user, name, &octets, &len, err);

	if (ret <= 0)
		return ret;
	ret = check_octets(cv_str_mem(octets, len), &r, &version, err);
	if (ret > 0 && !cv_take_u64(&r, seq_r))
		ret = cv_err_set(err, CV_ERR_CORRUPT, "it makes no sense");
	cv_free(octets);
	return ret;
}

int cv_state_read(struct cv_user *user, struct cv_state_info *info_r, struct cv_err *err)
{
	static const char *const names[] = { "state", "state.old" };
	bool damaged = false;

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		struct cv_err read_err = { 0 };
		int ret = read_file(user, names[i], info_r, &read_err);

		if (ret > 0) {
			user->state_is_old = info_r->older = i > 0;
			user->older_state_seq = user->state_is_old ? user->state_seq : 0;
			info_r->damaged = damaged;
			set_base(user);
			return 1;
		}
		if (ret < 0 && read_err.code != CV_ERR_CORRUPT) {
			*err = read_err;
			return cv_err_context(err, "%s", names[i]);
		}
		if (ret < 0) {
			cv_error(&user->log_ctx, "%s is damaged, it is set aside and the journal and %s are used: %s", names[i],
				i == 0 ? "the older one" : "the snapshots", read_err.text);
			cv_user_set_aside(user, names[i]);
			damaged = true;
		}
	}
	*info_r = (struct cv_state_info){ .older = true, .damaged = damaged };
	user->state_is_old = true;
	return 0;
}
