/* SPDX-License-Identifier: MIT
   maildir: dovecot-uidlist, read and written. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>
#include <culver/loop.h>
#include <culver/reader.h>
#include <culver/time.h>

#include <fcntl.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 30)
#define HEAD_MAX 4096
#define TAIL_MAX 4096
#define EXT_MAX 2000
#define LOCK MAILDIR_UIDLIST ".lock"
#define LOCK_STALE_SEC 120
#define FLUSH_MS 100
#define UID_JUMP_MAX 1000000      /* a last UID that is further ahead is nonsense */

static const uint8_t no_guid[16];

static uint32_t add_one(uint32_t uid)
{
	return uid == UINT32_MAX ? uid : uid + 1;
}

/* ---- fields -------------------------------------------------------------------------------------------------------- */

void maildir_hash_guid(struct cv_str text, uint8_t guid[16])
{
	uint64_t hash[2] = { 0xcbf29ce484222325ULL, 0x84222325cbf29ce4ULL }; /* FNV-1a from two starts */

	for (size_t i = 0; i < text.len; i++) {
		for (size_t j = 0; j < 2; j++)
			hash[j] = (hash[j] ^ (uint8_t)text.ptr[i]) * 0x100000001b3ULL;
	}
	for (size_t i = 0; i < 16; i++)
		guid[i] = (uint8_t)(hash[i / 8] >> (8 * (i % 8)));
}

static bool field_ok(struct cv_str value)
{
	if (value.len == 0 || value.len > 1000)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		if ((uint8_t)value.ptr[i] <= ' ' || value.ptr[i] == 0x7f)
			return false;
	}
	return true;
}

char *maildir_ext_make(const uint8_t guid[16], struct cv_str uidl)
{
	struct cv_buf out;
	char *text;

	cv_buf_init(&out, EXT_MAX);
	if (memcmp(guid, no_guid, sizeof(no_guid)) != 0) {
		cv_buf_append(&out, CV_STR(" G"));
		cv_buf_append_hex(&out, cv_str_mem(guid, 16));
	}
	if (field_ok(uidl)) {
		cv_buf_append(&out, CV_STR(" P"));
		cv_buf_append(&out, uidl);
	}
	text = cv_strdup(out.len > 0 ? out.data : "");
	cv_buf_deinit(&out);
	return text;
}

void maildir_line_make(struct maildir_line *line_r, char **ext_r, const struct cv_storage_meta *meta)
{
	*ext_r = maildir_ext_make(meta->guid, meta->pop3_uidl);
	*line_r = (struct maildir_line){
		.uid = meta->uid,
		.size = meta->size,
		.virtual_size = meta->virtual_size,
		.have_sizes = true,
		.date = meta->internal_date,
		.have_date = true,
		.ext = *ext_r,
	};
}

static struct cv_str ext_field(const char *ext, char key)
{
	struct cv_str field, rest = cv_str_c(ext);
	bool more = rest.len > 0;

	while (more) {
		more = cv_str_split(rest, ' ', &field, &rest);
		if (field.len > 1 && field.ptr[0] == key)
			return cv_str_sub(field, 1, SIZE_MAX);
	}
	return (struct cv_str){ 0 };
}

static void take_guid(struct cv_str value, uint8_t guid[16])
{
	struct cv_buf octets;

	cv_buf_init(&octets, 16);
	if (value.len == 32 && cv_hex_decode(&octets, value) && octets.len == 16)
		memcpy(guid, octets.data, 16);
	else
		maildir_hash_guid(value, guid);
	cv_buf_deinit(&octets);
}

bool maildir_ext_guid(const char *ext, uint8_t guid[16])
{
	struct cv_str value = ext_field(ext, 'G');

	if (value.len > 0)
		take_guid(value, guid);
	return value.len > 0;
}

struct cv_str maildir_ext_uidl(const char *ext)
{
	return ext_field(ext, 'P');
}

/* ---- the first line ------------------------------------------------------------------------------------------------ */

/* "3 V1 N2 G0…", or version 1: "1 <uidvalidity> <next uid>". */
static bool parse_header(struct cv_str line, struct maildir_uidlist *list)
{
	struct cv_str field, rest;
	bool more = cv_str_split(line, ' ', &field, &rest);

	list->uidvalidity = list->next_uid = 0;
	memset(list->guid, 0, sizeof(list->guid));
	if (!more)
		return false;
	if (cv_str_eq_c(field, "1")) {
		list->broken = true; /* nothing can be appended in our form */
		return cv_str_split(rest, ' ', &field, &rest) && cv_str_to_u32(field, UINT32_MAX, &list->uidvalidity) &&
			cv_str_to_u32(rest, UINT32_MAX, &list->next_uid) && list->uidvalidity > 0;
	}
	if (!cv_str_eq_c(field, "3"))
		return false;
	while (more) {
		struct cv_str value;

		more = cv_str_split(rest, ' ', &field, &rest);
		value = cv_str_sub(field, 1, SIZE_MAX);
		if (field.len < 2)
			continue;
		if ((field.ptr[0] == 'V' && !cv_str_to_u32(value, UINT32_MAX, &list->uidvalidity)) ||
			(field.ptr[0] == 'N' && !cv_str_to_u32(value, UINT32_MAX, &list->next_uid)))
			return false;
		if (field.ptr[0] == 'G')
			take_guid(value, list->guid);
	}
	return list->uidvalidity > 0;
}

static bool is_version_1(struct cv_str head)
{
	return cv_str_starts(head, CV_STR("1 "));
}

/* One line of a message. False when it makes no sense. name_r and ext_r point into line; ext has a blank before each field. */
static bool parse_line(struct cv_str line, bool version_1, struct maildir_line *line_r, struct cv_str *name_r, struct cv_buf *ext)
{
	struct cv_str field, rest;
	bool have_size = false, have_virtual = false;
	uint64_t n;

	*line_r = (struct maildir_line){ .ext = "" };
	cv_buf_clear(ext);
	if (!cv_str_split(line, ' ', &field, &rest) || !cv_str_to_u32(field, UINT32_MAX, &line_r->uid) || line_r->uid == 0)
		return false;
	while (!version_1 && rest.len > 0 && rest.ptr[0] != ':') {
		struct cv_str value, tail;

		if (!cv_str_split(rest, ' ', &field, &tail))
			return false;
		rest = tail;
		value = cv_str_sub(field, 1, SIZE_MAX);
		if (field.len == 0)
			continue;
		if (field.ptr[0] == 'S' && cv_str_to_u64(value, INT64_MAX, &line_r->size)) {
			have_size = true;
		} else if (field.ptr[0] == 'W' && cv_str_to_u64(value, INT64_MAX, &line_r->virtual_size)) {
			have_virtual = true;
		} else if (field.ptr[0] == 'T' && cv_str_to_u64(value, INT64_MAX, &n)) {
			line_r->date = (int64_t)n;
			line_r->have_date = true;
		} else {
			cv_buf_append_char(ext, ' ');
			cv_buf_append(ext, field);
		}
	}
	line_r->have_sizes = have_size && have_virtual;
	*name_r = version_1 ? rest : cv_str_sub(rest, 1, SIZE_MAX);
	*name_r = cv_str_sub(*name_r, 0, maildir_base_len(*name_r));
	return cv_buf_ok(ext) && maildir_file_ok(*name_r);
}

static void put_line(struct cv_buf *out, const struct maildir_line *line, struct cv_str base)
{
	cv_buf_append_u64(out, line->uid);
	if (line->have_sizes)
		cv_buf_printf(out, " W%llu S%llu", (unsigned long long)line->virtual_size, (unsigned long long)line->size);
	if (line->have_date && line->date >= 0)
		cv_buf_printf(out, " T%lld", (long long)line->date);
	cv_buf_append_c(out, line->ext);
	cv_buf_append(out, CV_STR(" :"));
	cv_buf_append(out, base);
	cv_buf_append_char(out, '\n');
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

static void set_file(struct maildir_uidlist *list, const struct stat *st)
{
	list->known = true;
	list->inode = (uint64_t)st->st_ino;
	list->size = (uint64_t)st->st_size;
	list->mtime_ns = maildir_stamp_of(st).mtime_ns;
}

static bool same_file(const struct maildir_uidlist *list, const struct stat *st)
{
	return list->known && list->inode == (uint64_t)st->st_ino && list->size == (uint64_t)st->st_size &&
		list->mtime_ns == maildir_stamp_of(st).mtime_ns;
}

/* Something else has the file's name: it keeps another one, and the list is written anew. 0 */
static int make_way(int dir, struct cv_err *err)
{
	if (cv_file_aside(dir, MAILDIR_UIDLIST, err) < 0)
		return -1;
	cv_warn(NULL, MAILDIR_UIDLIST " was no plain file; it is kept under another name");
	return 0;
}

/* 0: there is none. */
static int open_list(int dir, int flags, int *fd_r, struct stat *st_r, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int ret;

	*st_r = (struct stat){ 0 };
	if (cv_file_open(dir, MAILDIR_UIDLIST, flags, 0, fd_r, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		if (open_err.code == CV_ERR_CORRUPT)
			return make_way(dir, err);
		*err = open_err;
		return -1;
	}
	ret = cv_file_fstat(*fd_r, st_r, err);
	if (ret > 0 && S_ISREG(st_r->st_mode))
		return 1;
	cv_file_close(fd_r);
	return ret < 0 ? -1 : make_way(dir, err);
}

int maildir_uidlist_header(int dir, struct maildir_uidlist *list_r, struct cv_err *err)
{
	char head[HEAD_MAX];
	struct cv_reader reader;
	struct cv_str line;
	struct stat st;
	size_t got;
	int fd, ret;

	*list_r = (struct maildir_uidlist){ 0 };
	ret = open_list(dir, O_RDONLY, &fd, &st, err);
	if (ret <= 0)
		return ret;
	ret = cv_file_pread(fd, head, sizeof(head), 0, &got, err);
	cv_file_close(&fd);
	if (ret < 0)
		return -1;
	reader = cv_reader_init(cv_str_mem(head, got));
	return cv_take_line(&reader, &line) && parse_header(line, list_r) ? 1 : 0;
}

/* What an append must know: the first line, the last UID, whether the end is whole. */
static int read_ends(struct maildir_box *box, int fd, const struct stat *st, struct cv_err *err)
{
	struct maildir_uidlist list = { 0 };
	uint64_t size = (uint64_t)st->st_size, from = size > TAIL_MAX ? size - TAIL_MAX : 0;
	char head[HEAD_MAX], tail[TAIL_MAX];
	struct cv_reader reader;
	struct cv_str line, end;
	struct maildir_line last;
	struct cv_buf ext;
	size_t head_len, tail_len, at;

	if (cv_file_pread(fd, head, sizeof(head), 0, &head_len, err) < 0 || cv_file_pread(fd, tail, sizeof(tail), from, &tail_len, err) < 0)
		return -1;
	set_file(&list, st);
	reader = cv_reader_init(cv_str_mem(head, head_len));
	if (!cv_take_line(&reader, &line) || !parse_header(line, &list))
		list.broken = true;
	end = cv_str_mem(tail, tail_len);
	if (end.len == 0 || end.ptr[end.len - 1] != '\n') {
		list.broken = true;
	} else {
		end.len--;
		at = cv_str_rfind(end, '\n');
		cv_buf_init(&ext, EXT_MAX);
		if (at != SIZE_MAX && parse_line(cv_str_sub(end, at + 1, SIZE_MAX), false, &last, &line, &ext))
			list.last_uid = last.uid;
		else if (at != SIZE_MAX || from > 0)
			list.broken = true;
		cv_buf_deinit(&ext);
	}
	box->list = list;
	return 1;
}

/* The fields of box->list are those of the file. 0: there is none. */
static int peek(struct maildir_box *box, int dir, struct cv_err *err)
{
	struct stat st;
	int fd, ret = cv_file_stat(dir, MAILDIR_UIDLIST, &st, err);

	if (ret > 0 && same_file(&box->list, &st))
		return 1;
	if (ret > 0)
		ret = open_list(dir, O_RDONLY, &fd, &st, err);
	if (ret <= 0) {
		box->list = (struct maildir_uidlist){ 0 };
		return ret;
	}
	ret = read_ends(box, fd, &st, err);
	cv_file_close(&fd);
	return ret;
}

bool maildir_uidlist_taken(struct maildir_box *box, uint32_t uid)
{
	struct cv_err ignored = { 0 };
	int dir;

	if (maildir_control(box, false, &dir, &ignored) <= 0 || peek(box, dir, &ignored) <= 0)
		return false;
	return box->list.uidvalidity == box->uidvalidity && uid <= box->list.last_uid && box->list.last_uid - uid < UID_JUMP_MAX;
}

static void take_line(struct maildir_box *box, const struct maildir_line *line, struct cv_str base, struct cv_str ext)
{
	struct maildir_entry *entry = maildir_index_find(&box->index, base);

	if (entry == NULL)
		entry = maildir_index_add(&box->index, base);
	entry->line = *line;
	entry->line.ext = ext.len > 0 ? cv_arena_str(box->index.arena, ext).ptr : "";
}

static void forget_lines(struct maildir_box *box)
{
	for (size_t i = 0; i < box->index.entries.count; i++) {
		box->index.entries.data[i].line.uid = 0;
		box->index.entries.data[i].line.ext = "";
	}
}

static void parse_file(struct maildir_box *box, struct cv_str text)
{
	struct cv_reader reader = cv_reader_init(text);
	struct maildir_uidlist *list = &box->list;
	struct cv_str line, name;
	unsigned bad = 0;
	struct cv_buf ext;

	if (!cv_take_line(&reader, &line) || !parse_header(line, list)) {
		list->broken = true;
		cv_warn(NULL, MAILDIR_UIDLIST " in %s has no first line that makes sense, its UIDs are not used", cv_log_clean(cv_str_c(box->path)));
		return;
	}
	cv_buf_init(&ext, EXT_MAX);
	while (cv_take_line(&reader, &line)) {
		struct maildir_line one;

		list->lines++;
		if (!parse_line(line, is_version_1(text), &one, &name, &ext)) {
			bad++;
			continue;
		}
		if (one.uid <= list->last_uid)
			list->broken = true;
		list->last_uid = CV_MAX(list->last_uid, one.uid);
		take_line(box, &one, name, cv_buf_str(&ext));
	}
	cv_buf_deinit(&ext);
	if (!cv_reader_end(&reader) || bad > 0) {
		list->broken = true;
		cv_warn(NULL, MAILDIR_UIDLIST " in %s: %u lines that make no sense%s; it is written anew", cv_log_clean(cv_str_c(box->path)), bad,
			cv_reader_end(&reader) ? "" : ", and a torn end");
	}
}

static void apply_todo(struct maildir_box *box)
{
	for (size_t i = 0; i < box->todo.count; i++)
		take_line(box, &box->todo.data[i].line, cv_str_c(box->todo.data[i].base), cv_str_c(box->todo.data[i].ext));
}

static int load_file(struct maildir_box *box, int dir, struct cv_err *err)
{
	struct cv_buf text;
	struct stat st;
	size_t got = 0;
	void *p;
	int fd, ret = open_list(dir, O_RDONLY, &fd, &st, err);

	if (ret <= 0)
		return ret;
	cv_buf_init(&text, FILE_MAX);
	p = cv_buf_reserve(&text, (size_t)st.st_size);
	if (p == NULL)
		ret = cv_err_set(err, CV_ERR_LIMIT, MAILDIR_UIDLIST " is too large");
	else
		ret = cv_file_pread(fd, p, (size_t)st.st_size, 0, &got, err);
	cv_file_close(&fd);
	if (ret > 0) {
		cv_buf_commit(&text, got);
		box->list = (struct maildir_uidlist){ .loaded = true };
		set_file(&box->list, &st);
		forget_lines(box);
		parse_file(box, cv_buf_str(&text));
		apply_todo(box);
	}
	cv_buf_deinit(&text);
	return ret;
}

int maildir_uidlist_load(struct maildir_box *box, struct cv_err *err)
{
	struct stat st;
	int dir, ret = maildir_control(box, false, &dir, err);

	if (ret > 0)
		ret = cv_file_stat(dir, MAILDIR_UIDLIST, &st, err);
	if (ret > 0 && box->list.loaded && same_file(&box->list, &st))
		return 1;
	if (ret > 0)
		ret = load_file(box, dir, err);
	if (ret == 0) {
		if (box->list.known)
			forget_lines(box);
		box->list = (struct maildir_uidlist){ .loaded = true };
		apply_todo(box);
	}
	return ret < 0 ? -1 : 1;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static void free_todo(struct maildir_todo *todo)
{
	cv_free(todo->base);
	cv_free(todo->ext);
}

void maildir_todo_free(struct maildir_box *box)
{
	for (size_t i = 0; i < box->todo.count; i++)
		free_todo(&box->todo.data[i]);
	box->todo.count = 0;
}

static void arm(struct maildir_box *box)
{
	if (box->st->flush_timer != NULL)
		cv_timer_set(box->st->flush_timer, FLUSH_MS);
}

void maildir_uidlist_add(struct maildir_box *box, struct cv_str base, const struct maildir_line *line)
{
	struct maildir_todo *todo = cv_vec_push(&box->todo);
	struct cv_buf text;

	cv_assert(line->uid > 0 && base.len <= MAILDIR_NAME_MAX);
	cv_buf_init(&text, MAILDIR_NAME_MAX);
	cv_buf_append(&text, base);
	todo->base = cv_strdup(text.data);
	cv_buf_deinit(&text);
	todo->ext = cv_strdup(line->ext);
	todo->line = *line;
	todo->line.ext = todo->ext;
	if (box->list.loaded) {
		const struct maildir_entry *entry = maildir_index_find(&box->index, base);

		/* A second line for one message would not do. */
		if (entry != NULL && entry->line.uid > 0 && entry->line.uid != line->uid)
			box->list.broken = true;
		take_line(box, line, base, cv_str_c(line->ext));
	}
	arm(box);
}

void maildir_uidlist_renew(struct maildir_box *box)
{
	box->list.broken = true;
	arm(box);
}

static int compare_todo(const void *a, const void *b)
{
	const struct maildir_todo *x = a, *y = b;

	return x->line.uid < y->line.uid ? -1 : x->line.uid > y->line.uid;
}

/* Can all that is to be added stand behind what is there? */
static bool fits(const struct maildir_box *box)
{
	uint32_t last = box->list.last_uid;

	if (!box->list.known || box->list.broken || (box->uidvalidity != 0 && box->list.uidvalidity != box->uidvalidity))
		return false;
	for (size_t i = 0; i < box->todo.count; i++) {
		if (box->todo.data[i].line.uid <= last)
			return false;
		last = box->todo.data[i].line.uid;
	}
	return true;
}

static int append(struct maildir_box *box, int dir, struct cv_err *err)
{
	struct cv_buf out;
	struct stat st;
	int fd, ret = open_list(dir, O_WRONLY | O_APPEND, &fd, &st, err);

	if (ret <= 0)
		return ret;
	if (!same_file(&box->list, &st)) {
		cv_file_close(&fd);
		return 0;
	}
	cv_buf_init(&out, FILE_MAX);
	for (size_t i = 0; i < box->todo.count; i++)
		put_line(&out, &box->todo.data[i].line, cv_str_c(box->todo.data[i].base));
	ret = cv_buf_ok(&out) ? cv_file_write(fd, cv_buf_str(&out), err) : cv_err_set(err, CV_ERR_LIMIT, MAILDIR_UIDLIST " is too large");
	if (ret > 0)
		ret = cv_file_fstat(fd, &st, err);
	if (ret > 0) {
		set_file(&box->list, &st);
		box->list.last_uid = box->todo.data[box->todo.count - 1].line.uid;
		box->list.lines += (uint32_t)box->todo.count;
	}
	cv_buf_deinit(&out);
	cv_file_close(&fd);
	return ret;
}

static int compare_uid(const void *a, const void *b)
{
	const struct maildir_entry *const *x = a, *const *y = b;

	return (*x)->line.uid < (*y)->line.uid ? -1 : (*x)->line.uid > (*y)->line.uid;
}

static void put_all(struct maildir_box *box, struct cv_buf *out, struct maildir_uidlist *list)
{
	CV_VEC(const struct maildir_entry *) live = { 0 };

	for (size_t i = 0; i < box->index.entries.count; i++) {
		struct maildir_entry *entry = &box->index.entries.data[i];

		if (entry->line.uid > 0 && entry->where != MAILDIR_GONE)
			*cv_vec_push(&live) = entry;
		list->next_uid = CV_MAX(list->next_uid, add_one(entry->line.uid));
	}
	if (live.count > 0)
		qsort(live.data, live.count, sizeof(*live.data), compare_uid);
	cv_buf_printf(out, "3 V%u N%u", list->uidvalidity, CV_MAX(list->next_uid, 1));
	if (memcmp(list->guid, no_guid, sizeof(no_guid)) != 0) {
		cv_buf_append(out, CV_STR(" G"));
		cv_buf_append_hex(out, cv_str_mem(list->guid, sizeof(list->guid)));
	}
	cv_buf_append_char(out, '\n');
	list->last_uid = list->lines = 0;
	for (size_t i = 0; i < live.count; i++) {
		if (live.data[i]->line.uid == list->last_uid)
			continue; /* two files for one UID: the core gives one of them another */
		put_line(out, &live.data[i]->line, maildir_entry_base(live.data[i]));
		list->last_uid = live.data[i]->line.uid;
		list->lines++;
	}
	cv_vec_free(&live);
}

/* Dovecot's lock, which is the new file at the same time. 0: another program has it. */
static int take_lock(struct maildir_box *box, int dir, int *fd_r, struct cv_err *err)
{
	struct cv_err lock_err = { 0 };
	struct stat st;

	for (int attempt = 0; attempt < 2; attempt++) {
		if (cv_file_open(dir, LOCK, O_WRONLY | O_CREAT | O_EXCL, box->st->args->file_mode, fd_r, &lock_err) > 0)
			return 1;
		if (lock_err.code != CV_ERR_EXISTS) {
			*err = lock_err;
			return -1;
		}
		if (cv_file_stat(dir, LOCK, &st, err) > 0 && (int64_t)st.st_mtime + LOCK_STALE_SEC > cv_time_now_sec())
			return 0;
		if (cv_file_unlink(dir, LOCK, err) < 0)
			return -1;
	}
	return 0;
}

static int write_anew(struct maildir_box *box, int dir, struct cv_err *err)
{
	struct maildir_uidlist list;
	struct cv_buf out;
	struct stat st;
	int fd, ret = take_lock(box, dir, &fd, err);

	if (ret <= 0)
		return ret;
	cv_buf_init(&out, FILE_MAX);
	ret = maildir_uidlist_load(box, err) < 0 || maildir_list(box, err) < 0 ? -1 : 1;
	list = box->list;
	if (ret > 0) {
		if (box->uidvalidity != 0 && list.uidvalidity != box->uidvalidity) {
			list.uidvalidity = box->uidvalidity;
			list.next_uid = 1;
		}
		if (memcmp(box->guid, no_guid, sizeof(no_guid)) != 0)
			memcpy(list.guid, box->guid, sizeof(list.guid));
		put_all(box, &out, &list);
		ret = cv_buf_ok(&out) ? cv_file_write(fd, cv_buf_str(&out), err) : cv_err_set(err, CV_ERR_LIMIT, "it is too large");
	}
	if (ret > 0 && box->st->args->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(fd, false, err);
	if (ret > 0)
		ret = cv_file_fstat(fd, &st, err);
	if (ret > 0)
		ret = cv_file_rename(dir, LOCK, dir, MAILDIR_UIDLIST, true, err);
	if (ret > 0) {
		list.broken = false;
		list.loaded = true;
		set_file(&list, &st);
		box->list = list;
		maildir_index_compact(&box->index);
	} else {
		struct cv_err ignored = { 0 };

		(void)!cv_file_unlink(dir, LOCK, &ignored);
	}
	cv_buf_deinit(&out);
	cv_file_close(&fd);
	return ret;
}

/* 1 written, 0 another program is at it. */
static int flush(struct maildir_box *box, struct cv_err *err)
{
	int dir, ret;

	if (maildir_control(box, true, &dir, err) < 0)
		return -1;
	if (box->todo.count > 1)
		qsort(box->todo.data, box->todo.count, sizeof(*box->todo.data), compare_todo);
	if (!box->list.broken && peek(box, dir, err) < 0)
		return -1;
	if (box->todo.count > 0 && fits(box)) {
		ret = append(box, dir, err);
		if (ret != 0)
			return ret;
	}
	return write_anew(box, dir, err);
}

void maildir_uidlist_flush(struct maildir_box *box)
{
	struct cv_err err = { 0 };
	bool renew = box->list.loaded && box->list.broken;
	int ret;

	/* Without a UIDVALIDITY there is nothing to say. */
	if ((box->todo.count == 0 && !renew) || (box->uidvalidity == 0 && box->list.uidvalidity == 0))
		return;
	ret = flush(box, &err);
	if (ret < 0 && !box->list_warned) {
		cv_warn(NULL, MAILDIR_UIDLIST " in %s is not up to date: %s", cv_log_clean(cv_str_c(box->path)), err.text);
		box->list_warned = true;
	}
	if (ret > 0)
		box->list_warned = false;
	else
		box->list.known = box->list.loaded = false; /* looked at anew next time; what is missing comes again with the next scan */
	maildir_todo_free(box);
}

static bool names_another(const struct maildir_box *box)
{
	return memcmp(box->list.guid, no_guid, sizeof(no_guid)) != 0 && memcmp(box->guid, no_guid, sizeof(no_guid)) != 0 &&
		memcmp(box->list.guid, box->guid, sizeof(no_guid)) != 0;
}

int maildir_uidlist_create(struct maildir_box *box, struct cv_err *err)
{
	struct cv_err list_err = { 0 };
	int dir, there;

	if (box->uidvalidity == 0)
		return 1;
	there = maildir_control(box, true, &dir, &list_err) < 0 ? -1 : peek(box, dir, &list_err);
	if (there > 0 && names_another(box)) {
		if (write_anew(box, dir, err) > 0)
			return 1;
		return cv_err_set(err, CV_ERR_TEMP, MAILDIR_UIDLIST " names another mailbox and can't be written: %s", err->text);
	}
	if (there < 0 || (there == 0 && write_anew(box, dir, &list_err) < 0))
		cv_warn(NULL, MAILDIR_UIDLIST " in %s can't be written: %s", cv_log_clean(cv_str_c(box->path)), list_err.text);
	return 1;
}
