/* SPDX-License-Identifier: MIT
   Saving a message: octets to the storage module and to the parser at the same time. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

#define KEYWORDS_MAX ((size_t)1 << 20)

/* The octets that are held for the journal are not needed any more. */
static void let_go(struct cv_save *save)
{
	struct cv_user *user = save->txn->user;

	user->held_octets -= CV_MIN(user->held_octets, save->stored.len);
	cv_buf_deinit(&save->stored);
}

void cv_save_free(struct cv_save *save)
{
	struct cv_user *user = save->txn->user;

	if (save->encoding != NULL)
		cv_encoding_abort(save->encoding);
	if (save->st_save != NULL)
		user->storage->save_abort(save->st_save);
	cv_list_remove(&save->node);
	let_go(save);
	cv_buf_deinit(&save->record);
	cv_buf_deinit(&save->keywords_encoded);
	cv_vec_free(&save->keywords);
	cv_octets_free(&save->octets);
	cv_mailbox_unref(&save->mailbox);
	cv_arena_free(&save->arena);
}

static int fail(struct cv_save *save, const struct cv_err *err)
{
	save->failed = true;
	if (!save->txn->failed && err != NULL)
		save->txn->failure = *err;
	save->txn->failed = true;
	return -1;
}

bool cv_mailbox_may_lack_folder(const struct cv_mailbox *mailbox)
{
	return !mailbox->user->external && !mailbox->has_folder && mailbox->uidnext == 1 && mailbox->counts.messages == 0;
}

/* A folder that somebody removed must not keep new mail away. Where others write, their folders decide; and one that only waits to be moved would be in the
   way. */
int cv_mailbox_make_folder(struct cv_mailbox *mailbox, const struct cv_mailbox_ref *ref, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;

	user->looked_ms = 0;
	if (cv_user_is_there(user, err) < 0 || user->external || user->folders_behind)
		return -1;
	*err = (struct cv_err){ 0 };
	if (!cv_mailbox_may_lack_folder(mailbox))
		cv_error(&mailbox->log_ctx, "its folder is missing and is made anew; messages that were in it are lost unless it is put back");
	if (user->storage->mailbox_create(user->st, ref, err) < 0)
		return -1;
	mailbox->has_folder = true;
	return 1;
}

int cv_mailbox_make_first_folder(struct cv_mailbox *mailbox, struct cv_err *err)
{
	const struct cv_mailbox_ref ref = cv_mailbox_storage_ref(mailbox);

	return !cv_mailbox_may_lack_folder(mailbox) || mailbox->user->folders_behind ? 1 : cv_mailbox_make_folder(mailbox, &ref, err);
}

/* The storage found no folder: one that waits to be moved moves, then one that is missing is made. Is it worth another try? */
static bool has_folder_now(struct cv_mailbox *mailbox, const struct cv_mailbox_ref *ref, unsigned *tries, struct cv_err *err)
{
	if (err->code != CV_ERR_NOTFOUND)
		return false;
	++*tries;
	if (*tries == 1 && cv_work_retry(mailbox->user))
		return true;
	if (*tries > 2)
		return false;
	*tries = 2;
	return cv_mailbox_make_folder(mailbox, ref, err) >= 0;
}

/* Its octets go to the storage module from the beginning. */
static int begin_in_storage(struct cv_mailbox *mailbox, uint64_t size_hint, void **st_save_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(mailbox);
	unsigned tries = 0;
	int ret;

	if (cv_mailbox_make_first_folder(mailbox, err) < 0)
		return -1;
	do
		ret = user->storage->save_begin(user->st, &ref, size_hint, st_save_r, err);
	while (ret < 0 && has_folder_now(mailbox, &ref, &tries, err));
	return ret;
}

/* It is too long for the journal, or memory is full of such: what is there goes to the storage, and what comes goes there too. */
static int give_to_storage(struct cv_save *save, struct cv_err *err)
{
	struct cv_user *user = save->txn->user;

	if (begin_in_storage(save->mailbox, save->stored.len, &save->st_save, err) < 0)
		return -1;
	save->held = false;
	if (save->stored.len > 0 && user->storage->save_write(save->st_save, cv_buf_str(&save->stored), err) < 0)
		return -1;
	let_go(save);
	return 1;
}

int cv_save_store(struct cv_save *save, struct cv_str octets, struct cv_err *err)
{
	struct cv_user *user = save->txn->user;

	if (save->held) {
		uint64_t len = save->stored.len + (uint64_t)octets.len;

		/* What is held of this one is counted already. */
		if (len <= user->set->mail_journal_message_size && cv_landing_may_hold(user, octets.len)) {
			cv_buf_append(&save->stored, octets);
			user->held_octets += octets.len;
			return 1;
		}
		if (give_to_storage(save, err) < 0)
			return -1;
	}
	return user->storage->save_write(save->st_save, octets, err);
}

int cv_save_begin(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_save_config *config, struct cv_save **save_r,
	struct cv_err *err)
{
	struct cv_user *user = txn->user;
	bool held = !user->folders_behind && cv_landing_may_hold(user, config->size_hint); /* else it is told at once whether there is a folder */
	struct cv_err own_err = { 0 };
	struct cv_arena *arena;
	struct cv_save *save;
	struct cv_str notes = { 0 };
	void *st_save = NULL;
	unsigned rights;

	*save_r = NULL;
	if (err == NULL)
		err = &own_err;
	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (cv_txn_may(txn, mailbox, config->delivery ? CV_RIGHT_POST : CV_RIGHT_INSERT, &rights, err) < 0)
		return -1;
	if (config->note_count > 0 && cv_notes_ask(txn, mailbox, config->notes, config->note_count, &notes, err) < 0)
		return -1;
	if (cv_user_owned(user, err) < 0)
		return -1;
	cv_work_make_room(user, config->size_hint);
	if (!held && begin_in_storage(mailbox, config->size_hint, &st_save, err) < 0)
		return -1;
	arena = cv_arena_new("save", txn->arena, 0);
	save = cv_new(arena, struct cv_save, 1);
	save->arena = arena;
	save->txn = txn;
	save->mailbox = mailbox;
	cv_mailbox_ref(mailbox);
	save->st_save = st_save;
	save->held = held;
	cv_buf_init(&save->stored, SIZE_MAX / 2);
	save->delivery = config->delivery;
	save->notes = notes;
	save->parser = cv_mime_parser_new(arena, NULL);
	cv_buf_init(&save->record, CV_PARSE_RECORD_MAX);
	cv_buf_init(&save->keywords_encoded, KEYWORDS_MAX);
	cv_buf_init(&save->octets.buf, SIZE_MAX / 2);
	cv_random(save->message.guid.b, sizeof(save->message.guid.b));
	save->message.flags = config->flags & cv_rights_flags(rights);
	save->message.saved = cv_time_now_sec();
	save->message.date = config->date_set ? config->internal_date : save->message.saved;
	save->message.zone =
		config->date_set ? config->internal_zone : (int16_t)cv_time_local_offset_min(save->message.saved);
	save->message.uidl = config->pop3_uidl.len > 0 ? cv_arena_str(arena, cv_str_sub(config->pop3_uidl, 0, 1000)) :
							 (struct cv_str){ 0 };
	cv_list_append(&txn->saves, &save->node);
	if (cv_encoding_begin(save, config->size_hint, &save->encoding, err) < 0) {
		cv_save_free(save);
		return -1;
	}
	for (size_t i = 0; i < config->keyword_count && (rights & CV_RIGHT_WRITE) != 0; i++) {
		if (cv_save_add_keyword(save, config->keywords[i], err) < 0) {
			cv_save_free(save);
			return -1;
		}
	}
	*save_r = save;
	return 1;
}

int cv_save_write(struct cv_save *save, struct cv_str data, struct cv_err *err)
{
	cv_assert((save->st_save != NULL || save->held) && !save->finished);
	if (save->failed)
		return cv_err_set(err, CV_ERR_TEMP, "saving failed before");
	if ((save->encoding != NULL ? cv_encoding_write(save->encoding, data, err) : cv_save_store(save, data, err)) < 0)
		return fail(save, err);
	cv_mime_parser_feed(save->parser, data);
	save->message.physical_size += data.len;
	save->message.sum = cv_crc32c(save->message.sum, data.ptr, data.len);
	return 1;
}

static int run_hooks(struct cv_save *save, struct cv_err *err)
{
	struct cv_user *user = save->txn->user;
	struct cv_hook_message_save args = { .user = user, .mailbox = save->mailbox, .save = save };
	enum cv_hook_result result;

	if (!user->save_hook)
		return 1;
	result = cv_hook_run_message_save(user->registry, &args, err);
	cv_octets_free(&save->octets);
	return result == CV_HOOK_PASS || result == CV_HOOK_DONE ? 1 : -1;
}

/* The reference that the message will have when it lands. */
static int reserve(struct cv_save *save, const struct cv_storage_meta *meta, size_t *ref_len_r, struct cv_err *err)
{
	struct cv_user *user = save->txn->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(save->mailbox);
	unsigned tries = 0;
	int ret;

	if (cv_mailbox_make_first_folder(save->mailbox, err) < 0)
		return -1;
	do
		ret = user->storage->place(user->st, &ref, meta, save->ref, ref_len_r, err);
	while (ret < 0 && has_folder_now(save->mailbox, &ref, &tries, err));
	return ret;
}

/* Its octets get their place under the message's UID. A UID that another program has used meanwhile is passed over. */
static int place(struct cv_save *save, struct cv_err *err)
{
	struct cv_user *user = save->txn->user;
	struct cv_storage_meta meta = {
		.internal_date = save->message.date,
		.size = save->message.physical_size,
		.virtual_size = save->message.virtual_size,
		.flags = save->message.flags,
		.pop3_uidl = save->message.uidl,
		.orig_mailbox = cv_mailbox_name(save->mailbox),
		.saved = save->message.saved,
	};
	const char **keywords = cv_new(save->arena, const char *, save->keywords.count + 1);
	size_t ref_len = 0;
	int ret;

	for (size_t i = 0; i < save->keywords.count; i++)
		keywords[i] = cv_arena_cstr(save->arena, save->keywords.data[i]);
	meta.keywords = keywords;
	memcpy(meta.guid, save->message.guid.b, sizeof(meta.guid));
	if (cv_user_owned(user, err) < 0)
		return -1;
	do {
		if (cv_mailbox_take_uid(save->mailbox, &meta.uid, err) < 0)
			return -1;
		ret = save->held ? reserve(save, &meta, &ref_len, err) :
			user->storage->save_finish(save->st_save, &meta, save->ref, &ref_len, err);
	} while (ret < 0 && err->code == CV_ERR_EXISTS);
	save->st_save = NULL;
	if (ret < 0)
		return -1;
	save->message.uid = meta.uid;
	save->message.ref = cv_str_mem(save->ref, ref_len);
	return 1;
}

int cv_save_finish(struct cv_save *save, struct cv_err *err)
{
	struct cv_message *message;
	struct cv_err own_err = { 0 };
	struct cv_op *op;

	if (err == NULL)
		err = &own_err;
	cv_assert((save->st_save != NULL || save->held) && !save->finished);
	if (save->failed)
		return cv_err_set(err, CV_ERR_TEMP, "saving failed before");
	if (save->mailbox->gone) {
		cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
		return fail(save, err);
	}
	message = cv_mime_parser_finish(save->parser);
	save->parser = NULL;
	save->message.virtual_size = message->wire_size;
	cv_parse_record_build(message, &save->record);
	if (!cv_buf_ok(&save->record))
		cv_buf_clear(&save->record); /* parsed when asked for */
	if ((save->encoding != NULL && cv_encoding_finish(save->encoding, err) < 0) || run_hooks(save, err) < 0 || place(save, err) < 0)
		return fail(save, err);
	for (size_t i = 0; i < save->keywords.count; i++)
		cv_keywords_put(&save->keywords_encoded, &save->keywords.data[i], 1);
	save->finished = true;
	cv_list_remove(&save->node);
	op = cv_txn_add(save->txn, CV_OP_TXN_SAVE, save->mailbox);
	op->save = save;
	return 1;
}

void cv_save_cancel(struct cv_save **save_p)
{
	struct cv_save *save = *save_p;

	*save_p = NULL;
	if (save == NULL)
		return;
	cv_assert(!save->finished);
	cv_save_free(save);
}

uint32_t cv_save_uid(const struct cv_save *save)
{
	return save->message.uid;
}

struct cv_mailbox *cv_save_mailbox(const struct cv_save *save)
{
	return save->mailbox;
}

uint64_t cv_save_size(const struct cv_save *save)
{
	return save->message.physical_size;
}

uint64_t cv_save_virtual_size(const struct cv_save *save)
{
	return save->message.virtual_size;
}

struct cv_txn *cv_save_txn(const struct cv_save *save)
{
	return save->txn;
}

bool cv_save_is_delivery(const struct cv_save *save)
{
	return save->delivery;
}

struct cv_mailbox *cv_save_source(const struct cv_save *save, uint32_t *uid_r)
{
	*uid_r = save->source != NULL ? save->message.uid : 0;
	return save->source;
}

bool cv_save_is_move(const struct cv_save *save)
{
	return save->move;
}

static struct cv_mail *source_mail(struct cv_save *save)
{
	uint32_t row;

	if (save->source_mail == NULL) {
		bool found = cv_columns_find(save->source->columns, save->message.uid, UINT32_MAX, &row);

		cv_assert(found); /* hooks run while its row is copied */
		save->source_mail = cv_mail_of_row(save->source, row);
	}
	return save->source_mail;
}

int cv_save_record(struct cv_save *save, struct cv_str *record_r, struct cv_err *err)
{
	if (save->source != NULL)
		return cv_mail_record(source_mail(save), record_r, err);
	*record_r = cv_buf_str(&save->record);
	if (record_r->len == 0)
		return cv_err_set(err, CV_ERR_LIMIT, "the message has no parse record");
	return 1;
}

int cv_save_octets(struct cv_save *save, struct cv_str *octets_r, struct cv_err *err)
{
	const struct cv_storage *storage = save->txn->user->storage;
	struct cv_storage_blob blob = { .fd = -1 };
	int ret;

	if (save->source != NULL)
		return cv_mail_octets(source_mail(save), octets_r, err);
	if (!save->held && (save->st_save == NULL || storage->save_read == NULL))
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "the octets of a message can't be read while it is saved here");
	if (!save->octets.loaded && save->held) {
		struct cv_buf stored;

		cv_buf_init(&stored, SIZE_MAX / 2);
		cv_buf_append(&stored, cv_buf_str(&save->stored));
		ret = cv_octets_take(save->txn->user, &save->octets, &stored, save->message.physical_size, err);
		if (ret < 0 || cv_octets_whole(&save->octets, err) < 0)
			return -1;
	} else if (!save->octets.loaded) {
		if (storage->save_read(save->st_save, &blob, err) < 0)
			return -1;
		ret = cv_octets_open(save->txn->user, &save->octets, &blob, save->message.physical_size, err);
		cv_file_close(&blob.fd);
		if (ret > 0)
			ret = cv_octets_whole(&save->octets, err);
		if (ret < 0)
			return -1;
	}
	*octets_r = save->octets.view;
	return 1;
}

uint16_t cv_save_flags(const struct cv_save *save)
{
	return save->message.flags;
}

const struct cv_str *cv_save_keywords(const struct cv_save *save, size_t *count_r)
{
	*count_r = save->keywords.count;
	return save->keywords.data;
}

void cv_save_set_flags(struct cv_save *save, uint16_t flags)
{
	save->marked = true;
	save->message.flags = flags & CV_FLAG_ALL;
}

int cv_save_add_keyword(struct cv_save *save, struct cv_str keyword, struct cv_err *err)
{
	const struct cv_store_settings *set = save->txn->user->set;

	if (keyword.len == 0 || keyword.len > set->mail_max_keyword_length)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Keyword is too long");
	if (save->mailbox->keywords.names.count + save->keywords.count >= set->mail_max_keywords) {
		uint32_t id;

		if (!cv_keyword_id(&save->mailbox->keywords, keyword, false, &id))
			return cv_err_set_public(err, CV_ERR_LIMIT, "Too many different keywords in this mailbox");
	}
	for (size_t i = 0; i < save->keywords.count; i++) {
		if (cv_str_caseeq(save->keywords.data[i], keyword))
			return 1;
	}
	*cv_vec_push(&save->keywords) = cv_arena_str(save->arena, keyword);
	save->marked = true;
	return 1;
}

/* What the hooks left of flags and keywords, into the copy. */
static void take_marks(struct cv_save *save, struct cv_txn *txn, struct cv_storage_meta *meta, struct cv_copied *copied)
{
	const char **names = cv_new(txn->arena, const char *, save->keywords.count + 1);

	for (size_t i = 0; i < save->keywords.count; i++)
		names[i] = cv_arena_cstr(txn->arena, save->keywords.data[i]);
	cv_keywords_put(&save->keywords_encoded, save->keywords.data, save->keywords.count);
	meta->flags = save->message.flags;
	meta->keywords = names;
	copied->marked = true;
	copied->flags = save->message.flags;
	copied->keywords = cv_arena_str(txn->arena, cv_buf_str(&save->keywords_encoded));
}

int cv_save_copy_hooks(struct cv_txn *txn, const struct cv_op *op, uint32_t row, struct cv_storage_meta *meta, struct cv_copied *copied,
	struct cv_err *err)
{
	struct cv_columns *columns = op->from->columns;
	struct cv_save save = { .txn = txn, .mailbox = op->mailbox, .source = op->from, .move = op->move };
	size_t count;
	const struct cv_str *names = cv_row_keywords(op->from, *cv_col_keyword_set(columns, row), &count);
	int ret;

	if (!txn->user->save_hook && op->rights == CV_RIGHT_ALL)
		return 1;
	save.arena = cv_arena_new("copy", txn->arena, 0);
	cv_buf_init(&save.keywords_encoded, KEYWORDS_MAX);
	save.message = (struct cv_entry_message){
		.uid = *cv_col_uid(columns, row),
		.flags = meta->flags & cv_rights_flags(op->rights),
		.date = meta->internal_date,
		.physical_size = meta->size,
		.virtual_size = meta->virtual_size,
	};
	save.marked = save.message.flags != meta->flags;
	for (size_t i = 0; i < count; i++) {
		if ((op->rights & CV_RIGHT_WRITE) != 0)
			*cv_vec_push(&save.keywords) = cv_arena_str(save.arena, names[i]);
		else
			save.marked = true;
	}
	ret = run_hooks(&save, err);
	if (ret > 0 && save.marked)
		take_marks(&save, txn, meta, copied);
	cv_mail_close(&save.source_mail);
	cv_vec_free(&save.keywords);
	cv_buf_deinit(&save.keywords_encoded);
	cv_arena_free(&save.arena);
	return ret;
}
