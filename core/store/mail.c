/* SPDX-License-Identifier: MIT
   A message that is read: its parse record and its octets. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

#define READ_WHOLE_MAX ((uint64_t)256 << 10) /* shorter messages are read at once, longer ones piece by piece */
#define OCTETS_BUF_MAX ((size_t)READ_WHOLE_MAX + 4096) /* with what a storage has before them */
#define SPARE_MAX ((size_t)32 << 10)          /* octets of buffers that are kept for the next message */
#define SOURCE_WHOLE_MAX ((uint64_t)1 << 20) /* a transformed message up to this is read whole, so that damage shows before any of it is sent */
#define UNREADABLE_MAX 1000u /* messages that are remembered as told of */
#define UIDL_MAX ((size_t)UINT16_MAX)           /* what a column holds at most */
#define CACHE_RETRY_MS 1000u
#define RENEW_RETRY_MS 1000u

/* The source of a transformed message outlives its mail: clients fetch large parts piece by piece. It is used again for the same file only. */
struct cv_last_source {
	struct cv_guid mailbox;
	uint32_t uid;
	struct stat file;
	struct cv_octets octets;
};

struct cv_mail {
	struct cv_mailbox *mailbox; /* counted; open_mails too */
	uint32_t uid, row; /* row: where it was in the columns */
	uint64_t size;              /* octets, as recorded */
	struct stat file;           /* of a transformed message */
	struct cv_buf ref, uidl;
	struct cv_buf record;
	bool have_record;
	struct cv_octets octets;
};

/* One as new, with the memory of one that was closed where there is one: messages are read by the thousand. */
static struct cv_mail *new_mail(struct cv_user *user)
{
	struct cv_mail *mail = user->spare_mail;

	user->spare_mail = NULL;
	if (mail != NULL)
		return mail;
	mail = cv_new0(struct cv_mail);
	cv_buf_init(&mail->ref, CV_STORAGE_REF_MAX);
	cv_buf_init(&mail->uidl, UIDL_MAX);
	cv_buf_init(&mail->record, CV_PARSE_RECORD_MAX);
	cv_buf_init(&mail->octets.buf, OCTETS_BUF_MAX);
	return mail;
}

static void free_mail(struct cv_mail *mail)
{
	cv_buf_deinit(&mail->ref);
	cv_buf_deinit(&mail->uidl);
	cv_buf_deinit(&mail->record);
	cv_octets_free(&mail->octets);
	cv_free(mail);
}

static void empty(struct cv_buf *buf)
{
	if (buf->cap > SPARE_MAX)
		cv_buf_deinit(buf);
	else
		cv_buf_clear(buf);
}

static void keep_spare(struct cv_user *user, struct cv_mail *mail)
{
	if (user->spare_mail != NULL || user->closing) {
		free_mail(mail);
		return;
	}
	empty(&mail->ref);
	empty(&mail->uidl);
	empty(&mail->record);
	empty(&mail->octets.buf);
	*mail = (struct cv_mail){ .ref = mail->ref, .uidl = mail->uidl, .record = mail->record,
		.octets = { .buf = mail->octets.buf } };
	user->spare_mail = mail;
}

static void free_source(struct cv_user *user)
{
	if (user->last_source == NULL)
		return;
	cv_octets_free(&user->last_source->octets);
	cv_free(user->last_source);
	user->last_source = NULL;
}

void cv_mail_free_spare(struct cv_user *user)
{
	if (user->spare_mail != NULL)
		free_mail(user->spare_mail);
	user->spare_mail = NULL;
	free_source(user);
}

static void keep_source(struct cv_user *user, struct cv_mail *mail)
{
	free_source(user);
	if (user->closing)
		return;
	user->last_source = cv_new0(struct cv_last_source);
	*user->last_source = (struct cv_last_source){ .mailbox = mail->mailbox->guid, .uid = mail->uid, .file = mail->file, .octets = mail->octets };
	mail->octets = (struct cv_octets){ 0 };
	cv_buf_init(&mail->octets.buf, OCTETS_BUF_MAX);
}

static bool take_source(struct cv_mail *mail)
{
	struct cv_last_source *last = mail->mailbox->user->last_source;

	if (last == NULL || last->uid != mail->uid || memcmp(&last->mailbox, &mail->mailbox->guid, sizeof(last->mailbox)) != 0 ||
		last->file.st_ino != mail->file.st_ino || last->file.st_dev != mail->file.st_dev || last->file.st_size != mail->file.st_size ||
		last->file.st_ctim.tv_sec != mail->file.st_ctim.tv_sec || last->file.st_ctim.tv_nsec != mail->file.st_ctim.tv_nsec)
		return false;
	cv_octets_free(&mail->octets);
	mail->octets = last->octets;
	cv_free(last);
	mail->mailbox->user->last_source = NULL;
	return true;
}

struct cv_mail *cv_mail_of_row(struct cv_mailbox *mailbox, uint32_t row)
{
	struct cv_mail *mail = new_mail(mailbox->user);

	mail->mailbox = mailbox;
	cv_mailbox_ref(mailbox);
	mailbox->open_mails++;
	mail->uid = *cv_col_uid(mailbox->columns, row);
	mail->size = *cv_col_physical_size(mailbox->columns, row);
	mail->row = row;
	cv_buf_append(&mail->ref, cv_columns_ref(mailbox->columns, row));
	cv_buf_append(&mail->uidl, cv_columns_uidl(mailbox->columns, row));
	return mail;
}

int cv_mail_open(struct cv_view *view, uint32_t seq, struct cv_mail **mail_r, struct cv_err *err)
{
	struct cv_mailbox *mailbox = view->mailbox;
	uint32_t row;

	*mail_r = NULL;
	if (cv_user_usable(mailbox->user, err) < 0)
		return -1;
	if (!cv_view_find_row(view, seq, &row))
		return cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists");
	*mail_r = cv_mail_of_row(mailbox, row);
	return 1;
}

void cv_mail_close(struct cv_mail **mail_p)
{
	struct cv_mail *mail = *mail_p;
	struct cv_user *user;

	*mail_p = NULL;
	if (mail == NULL)
		return;
	user = mail->mailbox->user;
	if (--mail->mailbox->open_mails == 0) {
		if (user->loop == NULL)
			cv_work_run(user, false);
		else
			cv_work_soon(user);
	}
	if (mail->octets.transformed)
		keep_source(user, mail);
	cv_mailbox_unref(&mail->mailbox);
	cv_message_reader_free(&mail->octets.reader);
	cv_file_unmap(mail->octets.map, mail->octets.map_len);
	mail->octets.map = NULL;
	mail->octets.map_len = 0;
	keep_spare(user, mail);
}

int cv_octets_load(struct cv_octets *octets, struct cv_storage_blob *blob, struct cv_err *err)
{
	struct stat st;
	size_t got;
	void *p;

	if (blob->len == 0) {
		octets->view = CV_STR("");
		octets->loaded = true;
		return 1;
	}
	if (blob->start != NULL && blob->start == &octets->buf && blob->offset <= octets->buf.len && octets->buf.len - blob->offset >= blob->len) {
		octets->view = cv_str_sub(cv_buf_str(&octets->buf), (size_t)blob->offset, (size_t)blob->len);
		octets->loaded = true;
		return 1;
	}
	cv_buf_clear(&octets->buf);
	if (blob->len <= READ_WHOLE_MAX) {
		p = cv_buf_reserve(&octets->buf, (size_t)blob->len);
		cv_assert(p != NULL);
		if (cv_file_pread(blob->fd, p, (size_t)blob->len, blob->offset, &got, err) < 0)
			return -1;
		if (got < blob->len)
			return cv_err_set(err, CV_ERR_CORRUPT, "message file is shorter than known");
		cv_buf_commit(&octets->buf, got);
		octets->view = cv_buf_str(&octets->buf);
		octets->loaded = true;
		return 1;
	}
	if (cv_file_fstat(blob->fd, &st, err) < 0)
		return -1;
	if ((uint64_t)st.st_size < blob->offset || (uint64_t)st.st_size - blob->offset < blob->len)
		return cv_err_set(err, CV_ERR_CORRUPT, "message file is shorter than known");
	octets->reader = cv_message_reader_new_fd(blob->fd, blob->offset, blob->len, true);
	blob->fd = -1;
	return 1;
}

int cv_octets_sum(struct cv_octets *octets, uint32_t *sum_r, struct cv_err *err)
{
	struct cv_message_reader *reader = octets->reader;
	struct cv_str view;
	uint64_t pos = 0;
	int ret;

	*sum_r = 0;
	if (octets->loaded) {
		*sum_r = cv_crc32c(0, octets->view.ptr, octets->view.len);
		return 1;
	}
	while ((ret = cv_message_reader_get(reader, pos, SIZE_MAX, &view, err)) > 0) {
		*sum_r = cv_crc32c(*sum_r, view.ptr, view.len);
		pos += view.len;
	}
	return ret < 0 ? -1 : 1;
}

void cv_octets_free(struct cv_octets *octets)
{
	cv_message_reader_free(&octets->reader);
	cv_file_unmap(octets->map, octets->map_len);
	cv_buf_deinit(&octets->buf);
	*octets = (struct cv_octets){ 0 };
}

/* The storage found it under another name: the column knows it from now on. */
static void set_ref(struct cv_mail *mail, struct cv_str ref)
{
	uint32_t row;

	cv_buf_clear(&mail->ref);
	cv_buf_append(&mail->ref, ref);
	if (mail->mailbox->columns != NULL && cv_columns_find(mail->mailbox->columns, mail->uid, UINT32_MAX, &row))
		cv_columns_set_ref(mail->mailbox->columns, row, ref);
}

/* One that has no file of its own yet. 0: it has one now, and by what reference is known. */
static int open_owed(struct cv_mail *mail, struct cv_storage_blob *blob_r, struct cv_err *err)
{
	const struct cv_columns *columns;
	uint32_t row;
	int ret = cv_owed_open(mail->mailbox, mail->uid, blob_r, err);

	columns = mail->mailbox->columns;
	if (ret == 0 && columns != NULL && cv_columns_find(columns, mail->uid, mail->row, &row)) {
		cv_buf_clear(&mail->ref);
		cv_buf_append(&mail->ref, cv_columns_ref(columns, row));
	}
	return ret;
}

static int open_octets(struct cv_mail *mail, struct cv_storage_blob *blob_r, char new_ref[CV_STORAGE_REF_MAX], size_t *new_len_r,
	struct cv_err *err)
{
	struct cv_user *user = mail->mailbox->user;
	struct cv_mailbox_ref mailbox = cv_mailbox_storage_ref(mail->mailbox);
	int ret = cv_owed_is(mail->mailbox, mail->uid) ? open_owed(mail, blob_r, err) : 0;

	if (ret != 0) {
		*new_len_r = 0;
		return ret;
	}
	ret = user->storage->open_ref(user->st, &mailbox, cv_buf_str(&mail->ref), blob_r, new_ref, new_len_r, err);

	if (ret < 0 && (err->code == CV_ERR_NOTFOUND || err->code == CV_ERR_EXPUNGED) && cv_work_retry(user))
		ret = user->storage->open_ref(user->st, &mailbox, cv_buf_str(&mail->ref), blob_r, new_ref, new_len_r, err);
	/* Another session has deleted the mailbox, of which this one hears with its next response. */
	if (ret < 0 && mail->mailbox->gone)
		return cv_err_set_public(err, CV_ERR_EXPUNGED, "Mailbox was deleted");
	return ret;
}

/* The octets of the storage's blob, or a source of them. */
static int load(struct cv_mail *mail, struct cv_storage_blob *blob, struct cv_err *err)
{
	struct cv_user *user = mail->mailbox->user;

	if (user->transform_count > 0 && cv_file_fstat(blob->fd, &mail->file, err) < 0)
		return -1;
	if (user->last_source != NULL && take_source(mail))
		return 1;
	/* What other programs write may be of another size than it was; here it is a transform's work, and the transform is not there to undo it. */
	if (cv_octets_open(user, &mail->octets, blob, user->external ? UINT64_MAX : mail->size, err) < 0)
		return -1;
	if (!user->external && mail->size != 0 && (mail->octets.loaded ? mail->octets.view.len : mail->octets.reader->size) != mail->size)
		return cv_err_set(err, CV_ERR_CORRUPT, "its file gives %llu octets, %llu were recorded: it is damaged, or a module that "
			"compresses or encrypts messages is not loaded", (unsigned long long)(mail->octets.loaded ? mail->octets.view.len :
			mail->octets.reader->size), (unsigned long long)mail->size);
	return 1;
}

/* For a mail whose octets failed to be read: as before they were asked for. */
static void unload(struct cv_mail *mail)
{
	cv_octets_free(&mail->octets);
	cv_buf_init(&mail->octets.buf, OCTETS_BUF_MAX);
}

static bool is_missing(const struct cv_err *err)
{
	return err->code == CV_ERR_EXPUNGED || err->code == CV_ERR_NOTFOUND;
}

/* The octets against their checksum, those of a long message once in a process; those that have none yet get it. */
static int verify(struct cv_mail *mail, struct cv_err *err)
{
	struct cv_mailbox *mailbox = mail->mailbox;
	struct cv_columns *columns = mailbox->columns;
	unsigned how = mailbox->user->set->mail_verify;
	uint32_t row, sum;

	if (how == CV_VERIFY_NO || columns == NULL || !cv_columns_find(columns, mail->uid, mail->row, &row) ||
		((*cv_col_flags(columns, row) & CV_ROW_VERIFIED) != 0 && !mail->octets.loaded))
		return 1;
	if (cv_octets_sum(&mail->octets, &sum, err) < 0)
		return -1;
	if (*cv_col_sum(columns, row) == 0) {
		cv_set_sum(columns, row, sum);
		mailbox->dirty++;
	} else if (*cv_col_sum(columns, row) != sum) {
		(void)cv_err_set(err, CV_ERR_CORRUPT, "its file (%s) is damaged: the octets do not have the checksum that they had when it was saved",
			cv_log_clean(cv_buf_str(&mail->ref)));
		if (how == CV_VERIFY_REFUSE || cv_landed_has(mailbox, row))
			return -1;
		cv_error(&mailbox->log_ctx, "message %u: %s", mail->uid, err->text);
	}
	cv_set_flags(columns, row, (uint16_t)(*cv_col_flags(columns, row) | CV_ROW_VERIFIED));
	return 1;
}

/* What was parsed of it, when that is at hand without reading it: 1, 0. */
static int known_record(struct cv_mail *mail)
{
	struct cv_mailbox *mailbox = mail->mailbox;
	struct cv_err cache_err = { 0 };
	int found = 0;
	uint32_t row;

	if (mail->have_record)
		return 1;
	if (mailbox->columns != NULL && cv_columns_find(mailbox->columns, mail->uid, mail->row, &row) && *cv_col_cache(mailbox->columns, row) == 0)
		cv_owed_hurry(mailbox, mail->uid); /* it comes with its file */
	if (mailbox->columns != NULL && cv_columns_find(mailbox->columns, mail->uid, mail->row, &row))
		found = cv_cache_read(mailbox, *cv_col_cache(mailbox->columns, row), mail->uid, &mail->record, &cache_err);
	if (found < 0)
		cv_warn(&mailbox->log_ctx, "cache can't be read: %s", cache_err.text);
	mail->have_record = found > 0;
	return mail->have_record;
}

/* Sizes are promised to clients before the octets: a file that another program changed is not what was recorded. */
static int check_record(struct cv_mail *mail, struct cv_err *err)
{
	uint64_t size = mail->octets.loaded ? mail->octets.view.len : mail->octets.reader->size;
	struct cv_parse_record record;
	struct cv_err ignored = { 0 };

	if (!mail->mailbox->user->external || known_record(mail) == 0 || cv_parse_record_open(cv_buf_str(&mail->record), &record, &ignored) < 0 ||
		record.size == size)
		return 1;
	return cv_err_set(err, CV_ERR_CORRUPT, "its file has %llu octets, it had %llu", (unsigned long long)size, (unsigned long long)record.size);
}

static int read_file(struct cv_mail *mail, struct cv_err *err)
{
	struct cv_storage_blob blob = { .fd = -1 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;
	int ret;

	if (mail->size <= READ_WHOLE_MAX && mail->mailbox->user->transform_count == 0) {
		blob.expected = mail->size;
		blob.start = &mail->octets.buf;
	}
	if (open_octets(mail, &blob, new_ref, &new_len, err) < 0)
		return -1;
	if (new_len > 0)
		set_ref(mail, cv_str_mem(new_ref, new_len));
	ret = load(mail, &blob, err);
	cv_file_close(&blob.fd);
	if (ret > 0)
		ret = check_record(mail, err);
	return ret > 0 && !mail->octets.transformed ? verify(mail, err) : ret; /* those are seen whole, or their module sees what is damaged */
}

/* ---- from the journal, where the file fails ----------------------------------------------------------------------------- */

/* The file is made anew too; where that fails, not again for a while, and the octets are read from the journal so long. */
static void renew_file(struct cv_mail *mail, uint32_t row, const struct cv_err *why)
{
	struct cv_mailbox *mailbox = mail->mailbox;
	struct cv_user *user = mailbox->user;
	const char *problem = is_missing(why) ? "is missing" : "is damaged";
	struct cv_err err = { 0 };

	if (user->renew_retry_ms != 0 && cv_time_mono_ms() < user->renew_retry_ms)
		return;
	user->renew_retry_ms = 0;
	if (cv_landed_restore(mailbox, row, &err) > 0) {
		cv_warn(&mailbox->log_ctx, "message %u: its file (%s) %s: it is made anew from the journal, which has its octets", mail->uid,
			cv_log_clean(cv_buf_str(&mail->ref)), problem);
		return;
	}
	cv_warn(&mailbox->log_ctx, "message %u: its file (%s) %s: it is read from the journal, and could not be made anew: %s", mail->uid,
		cv_log_clean(cv_buf_str(&mail->ref)), problem, err.text);
	user->renew_retry_ms = cv_time_mono_ms() + RENEW_RETRY_MS;
}

/* The file is damaged, or gone though nobody expunged the message (*err): 1 the octets are those that the journal has; -1 it has none, and *err is as it was. */
static int from_journal(struct cv_mail *mail, const struct cv_err *err)
{
	struct cv_mailbox *mailbox = mail->mailbox;
	struct cv_user *user = mailbox->user;
	struct cv_err own_err = { 0 };
	struct cv_buf stored;
	uint32_t row;
	int ret = 0;

	unload(mail);
	if (mailbox->gone || mailbox->columns == NULL || !cv_columns_find(mailbox->columns, mail->uid, mail->row, &row) ||
		!cv_row_live(mailbox->columns, row) || !(is_missing(err) || err->code == CV_ERR_CORRUPT || err->code == CV_ERR_PERM || err->code == CV_ERR_TEMP))
		return -1;
	cv_buf_init(&stored, CV_JOURNAL_READ_MAX);
	ret = cv_landed_read(mailbox, row, &stored, &own_err);
	if (ret > 0)
		ret = cv_octets_take(user, &mail->octets, &stored, mail->size, &own_err);
	cv_buf_deinit(&stored);
	if (ret > 0 && !mail->octets.transformed)
		ret = verify(mail, &own_err);
	if (ret < 0)
		cv_warn(&mailbox->log_ctx, "message %u can't be read from the journal either: %s", mail->uid, own_err.text);
	if (ret <= 0) {
		unload(mail);
		return -1;
	}
	renew_file(mail, row, err);
	return 1;
}

static int need_octets(struct cv_mail *mail, struct cv_err *err)
{
	if (mail->octets.loaded || mail->octets.reader != NULL)
		return 1;
	return read_file(mail, err) > 0 ? 1 : from_journal(mail, err);
}

void cv_view_ahead(struct cv_view *view, uint32_t seq)
{
	struct cv_mailbox *mailbox = view->mailbox;
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref where;
	struct cv_err ignored = { 0 };
	uint32_t row;

	if (user->storage->ahead == NULL || mailbox->gone || cv_user_usable(user, &ignored) < 0 || !cv_view_find_row(view, seq, &row) ||
		cv_owed_is(mailbox, *cv_col_uid(mailbox->columns, row)))
		return;
	where = cv_mailbox_storage_ref(mailbox);
	user->storage->ahead(user->st, &where, cv_columns_ref(mailbox->columns, row), READ_WHOLE_MAX);
}

static struct cv_str unreadable_key(const struct cv_mail *mail, char key[sizeof(struct cv_guid) + sizeof(uint32_t)])
{
	memcpy(key, &mail->mailbox->guid, sizeof(struct cv_guid));
	memcpy(key + sizeof(struct cv_guid), &mail->uid, sizeof(uint32_t));
	return cv_str_mem(key, sizeof(struct cv_guid) + sizeof(uint32_t));
}

/* The administrator is told once of each message that can't be read, in this process; clients each time. */
static void log_once(struct cv_mail *mail, const struct cv_err *err)
{
	struct cv_user *user = mail->mailbox->user;
	char key[sizeof(struct cv_guid) + sizeof(uint32_t)];
	size_t count;

	if (user->unreadable == NULL)
		user->unreadable = cv_map_new();
	count = cv_map_count(user->unreadable);
	if (count > UNREADABLE_MAX || cv_map_get(user->unreadable, unreadable_key(mail, key)) != NULL)
		return;
	cv_map_set(user->unreadable, unreadable_key(mail, key), user);
	if (count < UNREADABLE_MAX)
		cv_error(&mail->mailbox->log_ctx, "message %u can't be read: %s", mail->uid, err->text);
	else
		cv_error(&user->log_ctx, "more than %u messages can't be read: further ones are not told of", UNREADABLE_MAX);
}

/* It can be read (again). */
static int readable(struct cv_mail *mail)
{
	char key[sizeof(struct cv_guid) + sizeof(uint32_t)];

	if (mail->mailbox->user->unreadable != NULL)
		(void)cv_map_remove(mail->mailbox->user->unreadable, unreadable_key(mail, key));
	return 1;
}

/* Not read: what the client is to know. A file that is missing though nobody expunged the message is damage as well. */
static int unreadable(struct cv_mail *mail, struct cv_err *err)
{
	struct cv_mailbox *mailbox = mail->mailbox;
	bool missing = is_missing(err);
	uint32_t row;

	if (missing && (mailbox->user->external || mailbox->gone || mailbox->columns == NULL ||
			!cv_columns_find(mailbox->columns, mail->uid, UINT32_MAX, &row) || !cv_row_live(mailbox->columns, row)))
		return cv_err_context(err, "message %u", mail->uid);
	if ((err->public_text && !missing) || err->code == CV_ERR_LIMIT || err->code == CV_ERR_INTERNAL)
		return cv_err_context(err, "message %u", mail->uid);
	if (missing)
		cv_err_set(err, CV_ERR_CORRUPT, "its file is missing");
	log_once(mail, err);
	if (err->code == CV_ERR_TEMP || err->code == CV_ERR_UNAVAILABLE)
		return cv_err_set_public(err, err->code, "Message can't be read now");
	return cv_err_set_public(err, CV_ERR_CORRUPT, "Message can't be read: its file is missing or damaged");
}

int cv_mail_octets(struct cv_mail *mail, struct cv_str *octets_r, struct cv_err *err)
{
	struct cv_err own_err = { 0 };

	if (err == NULL)
		err = &own_err;
	if (need_octets(mail, err) < 0)
		return unreadable(mail, err);
	if ((cv_octets_whole(&mail->octets, err) < 0 || verify(mail, err) < 0) &&
		(from_journal(mail, err) < 0 || cv_octets_whole(&mail->octets, err) < 0)) {
		unload(mail);
		return unreadable(mail, err);
	}
	*octets_r = mail->octets.view;
	return readable(mail);
}

int cv_mail_reader(struct cv_mail *mail, struct cv_message_reader **reader_r, struct cv_err *err)
{
	struct cv_err own_err = { 0 };
	struct cv_str octets;

	if (err == NULL)
		err = &own_err;
	if (need_octets(mail, err) < 0)
		return unreadable(mail, err);
	if (!mail->octets.loaded && mail->octets.transformed && mail->octets.reader->size <= SOURCE_WHOLE_MAX && cv_mail_octets(mail, &octets, err) < 0)
		return -1;
	*reader_r = cv_octets_reader(&mail->octets);
	return readable(mail);
}

/* What is remembered of a message is of octets that check now, not only when they were read first. */
static int reader_to_parse(struct cv_mail *mail, struct cv_message_reader **reader_r, struct cv_err *err)
{
	struct cv_columns *columns = mail->mailbox->columns;
	uint32_t row;

	if (columns != NULL && cv_columns_find(columns, mail->uid, mail->row, &row))
		cv_set_flags(columns, row, (uint16_t)(*cv_col_flags(columns, row) & ~CV_ROW_VERIFIED));
	if (cv_mail_reader(mail, reader_r, err) < 0)
		return -1;
	if ((mail->octets.transformed && !mail->octets.loaded) || verify(mail, err) > 0)
		return 1;
	if (from_journal(mail, err) < 0)
		return unreadable(mail, err);
	*reader_r = cv_octets_reader(&mail->octets);
	return 1;
}

/* Where it can't be kept (no room, no rights), a while goes by before that is tried, and told, again: each message that is read would do so. */
static void keep_record(struct cv_mail *mail, uint32_t row)
{
	struct cv_mailbox *mailbox = mail->mailbox;
	struct cv_user *user = mailbox->user;
	struct cv_err err = { 0 };
	uint64_t where;

	if (user->cache_retry_ms != 0 && cv_time_mono_ms() < user->cache_retry_ms)
		return;
	user->cache_retry_ms = 0;
	if (cv_cache_append(mailbox, mail->uid, cv_buf_str(&mail->record), &where, &err) > 0) {
		cv_set_cache(mailbox->columns, row, where);
		mailbox->dirty++;
		return;
	}
	cv_warn(&mailbox->log_ctx, "cache can't be written: %s", err.text);
	user->cache_retry_ms = cv_time_mono_ms() + CACHE_RETRY_MS;
}

/* The cache has nothing: look at the octets, and remember what was seen. */
static int parse(struct cv_mail *mail, struct cv_err *err)
{
	struct cv_err own_err = { 0 };
	struct cv_mailbox *mailbox = mail->mailbox;
	struct cv_message_reader *reader = NULL;
	struct cv_message *message;
	struct cv_arena *arena;
	uint32_t row;

	if (err == NULL)
		err = &own_err;
	if (reader_to_parse(mail, &reader, err) < 0)
		return -1;
	arena = cv_arena_new("parse", NULL, 0);
	if (cv_message_parse(arena, NULL, reader, &message, err) < 0) {
		cv_arena_free(&arena);
		return unreadable(mail, err);
	}
	cv_buf_clear(&mail->record);
	cv_parse_record_build(message, &mail->record);
	cv_arena_free(&arena);
	if (!cv_buf_ok(&mail->record))
		return cv_err_set(err, CV_ERR_LIMIT, "message %u has a header that is too long to keep", mail->uid);
	if (!mailbox->gone && mailbox->columns != NULL && cv_columns_find(mailbox->columns, mail->uid, UINT32_MAX, &row))
		keep_record(mail, row);
	return 1;
}

int cv_mail_record(struct cv_mail *mail, struct cv_str *record_r, struct cv_err *err)
{
	if (known_record(mail) == 0) {
		if (parse(mail, err) < 0)
			return -1;
		mail->have_record = true;
	}
	*record_r = cv_buf_str(&mail->record);
	return 1;
}

bool cv_mail_crlf_size(const struct cv_mail *mail, uint64_t *size_r)
{
	const struct cv_columns *columns = mail->mailbox->columns;
	uint32_t row;

	*size_r = mail->size;
	return !mail->mailbox->user->external && mail->size != 0 && columns != NULL && cv_columns_find(columns, mail->uid, mail->row, &row) &&
		*cv_col_virtual_size(columns, row) == mail->size;
}

struct cv_str cv_mail_pop3_uidl(struct cv_mail *mail)
{
	return mail->uidl.len > 0 ? cv_buf_str(&mail->uidl) : (struct cv_str){ 0 };
}
