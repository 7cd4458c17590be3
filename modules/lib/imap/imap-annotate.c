/* SPDX-License-Identifier: MIT
   Annotations of messages in commands and responses. */
#include <config.h>

#include "imap-annotate.h"

#include "imap-quote.h"

#include <culver/map.h>

#include <string.h>

/* Entries of one request: each annotation of a message is compared with all that have wildcards. */
#define ENTRIES_MAX 1000u

static const char *const attrib_names[] = {
	[CV_IMAP_NOTE_VALUE_PRIV] = "value.priv",
	[CV_IMAP_NOTE_VALUE_SHARED] = "value.shared",
	[CV_IMAP_NOTE_SIZE_PRIV] = "size.priv",
	[CV_IMAP_NOTE_SIZE_SHARED] = "size.shared",
};

static int invalid(struct cv_err *err, const char *text)
{
	return cv_err_set_public(err, CV_ERR_INVALID, "%s", text);
}

/* ---- Entries -------------------------------------------------------------------------------------------- */

/* section-part = nz-number *("." nz-number) (RFC 3501 section 9) */
bool cv_imap_note_part(struct cv_str entry, uint32_t path_r[CV_IMAP_NOTE_PART_MAX], size_t *len_r)
{
	struct cv_reader in = cv_reader_init(entry);

	*len_r = 0;
	if (!cv_take_char(&in, '/') || cv_peek(&in) < '0' || cv_peek(&in) > '9')
		return true;
	do {
		if (*len_r == CV_IMAP_NOTE_PART_MAX || cv_peek(&in) == '0' || !cv_parse_u32(&in, UINT32_MAX, &path_r[*len_r]))
			return false;
		(*len_r)++;
	} while (cv_take_char(&in, '.'));
	return cv_reader_end(&in) || cv_peek(&in) == '/';
}

/* What stands behind the section-part; the whole when there is none. */
static struct cv_str behind_part(struct cv_str entry, size_t part_len)
{
	size_t at;

	if (part_len == 0)
		return entry;
	at = cv_str_find(cv_str_sub(entry, 1, SIZE_MAX), '/');
	return at == SIZE_MAX ? CV_STR("") : cv_str_sub(entry, at + 1, SIZE_MAX);
}

int cv_imap_note_entry_ok(struct cv_str entry, bool set, struct cv_err *err)
{
	uint32_t path[CV_IMAP_NOTE_PART_MAX];
	struct cv_str rest;
	size_t len;

	if (cv_note_entry_ok(entry, err) < 0)
		return -1;
	if (!cv_imap_note_part(entry, path, &len))
		return invalid(err, "Invalid part number in an entry name");
	rest = behind_part(entry, len);
	/* "This entry itself does not contain any attributes." */
	if (set && rest.len == 0)
		return invalid(err, "A body part has no annotation itself, entries below it have");
	/* Section 3.5: "the /flags annotation entry is reserved for future use and MUST NOT be used by clients or servers supporting this extension"; of a body
	   part, what is below it may be. */
	if (cv_str_eq_c(rest, "/flags") || (len == 0 && cv_str_starts(rest, CV_STR("/flags/"))))
		return set ? invalid(err, "This entry is reserved") : 1;
	return 1;
}

int cv_imap_note_match_ok(struct cv_str match, bool *wild_r, struct cv_err *err)
{
	uint32_t path[CV_IMAP_NOTE_PART_MAX];
	size_t len;

	*wild_r = cv_str_find(match, '*') != SIZE_MAX || cv_str_find(match, '%') != SIZE_MAX;
	if (!*wild_r)
		return cv_imap_note_entry_ok(match, false, err);
	if (match.len > CV_NOTE_ENTRY_MAX || match.ptr[match.len - 1] == '/' || cv_str_find_str(match, CV_STR("//")) != SIZE_MAX)
		return invalid(err, "Invalid entry name");
	for (size_t i = 0; i < match.len; i++)
		if (match.ptr[i] <= 0)
			return invalid(err, "Entry name holds a character that it can't have");
	/* A first level without wildcards that begins like a part number has to be one. */
	len = cv_str_find(cv_str_sub(match, 1, SIZE_MAX), '/');
	match = cv_str_sub(match, 0, len == SIZE_MAX ? SIZE_MAX : len + 1);
	if (cv_str_find(match, '*') == SIZE_MAX && cv_str_find(match, '%') == SIZE_MAX && !cv_imap_note_part(match, path, &len))
		return invalid(err, "Invalid part number in an entry name");
	return 1;
}

/* ---- FETCH ---------------------------------------------------------------------------------------------- */

static void add_attrib(struct cv_imap_note_fetch *fetch, enum cv_imap_note_attrib attrib)
{
	for (size_t i = 0; i < fetch->attrib_count; i++)
		if (fetch->attribs[i] == attrib)
			return;
	fetch->attribs[fetch->attrib_count++] = attrib;
}

/* "Searching or fetching without using either suffix will include both." Names of attributes are matched with case. */
static int take_attrib(struct cv_imap_note_fetch *fetch, const struct cv_imap_arg *arg, struct cv_err *err)
{
	struct cv_str name;
	bool found = false;

	if (!cv_imap_arg_astring(arg, &name))
		return invalid(err, "Missing or invalid attribute");
	for (size_t i = 0; i < CV_COUNT_OF(attrib_names); i++) {
		struct cv_str known = cv_str_c(attrib_names[i]);

		if (!cv_str_eq(name, known) && !cv_str_eq(name, cv_str_sub(known, 0, cv_str_find(known, '.'))))
			continue;
		add_attrib(fetch, (enum cv_imap_note_attrib)i);
		found = true;
	}
	return found ? 0 : invalid(err, "There is no such attribute");
}

static int take_entry(struct cv_imap_note_fetch *fetch, struct cv_map *known, const struct cv_imap_arg *arg, struct cv_err *err)
{
	struct cv_str name;
	bool wild;

	if (arg->glued || !cv_imap_arg_list_mailbox(arg, &name))
		return invalid(err, "Missing or invalid entry name");
	if (cv_imap_note_match_ok(name, &wild, err) < 0)
		return -1;
	if (cv_map_set(known, name, fetch) != NULL)
		return 0;
	if (fetch->entry_count == ENTRIES_MAX)
		return invalid(err, "Too many entries");
	fetch->entries[fetch->entry_count].name = name;
	fetch->entries[fetch->entry_count++].wild = wild;
	return 0;
}

static int take_entries(struct cv_arena *arena, struct cv_imap_note_fetch *fetch, const struct cv_imap_arg *arg, struct cv_err *err)
{
	const struct cv_imap_arg *first;
	struct cv_map *known;
	size_t count = 0;
	int ret = 0;

	if (!cv_imap_arg_list(arg, &first)) {
		fetch->entries = cv_new(arena, struct cv_imap_note_entry, 1);
		known = cv_map_new();
		ret = take_entry(fetch, known, arg, err);
		cv_map_free(&known);
		return ret;
	}
	for (arg = first; arg != NULL; arg = arg->next)
		count++;
	if (count == 0)
		return invalid(err, "Missing or invalid entry name");
	fetch->entries = cv_new(arena, struct cv_imap_note_entry, CV_MIN(count, (size_t)ENTRIES_MAX));
	known = cv_map_new();
	for (arg = first; ret == 0 && arg != NULL; arg = arg->next)
		ret = take_entry(fetch, known, arg, err);
	cv_map_free(&known);
	return ret;
}

int cv_imap_note_fetch_parse(struct cv_arena *arena, const struct cv_imap_arg *list, struct cv_imap_note_fetch *fetch_r, struct cv_err *err)
{
	const struct cv_imap_arg *entries, *attribs, *attrib;

	*fetch_r = (struct cv_imap_note_fetch){ 0 };
	if (!cv_imap_arg_list(list, &entries) || entries == NULL || entries->next == NULL || entries->next->next != NULL)
		return invalid(err, "ANNOTATION needs entries and attributes");
	if (take_entries(arena, fetch_r, entries, err) < 0)
		return -1;
	attribs = entries->next;
	if (!cv_imap_arg_list(attribs, &attrib))
		return take_attrib(fetch_r, attribs, err);
	if (attrib == NULL)
		return invalid(err, "Missing or invalid attribute");
	for (; attrib != NULL; attrib = attrib->next)
		if (take_attrib(fetch_r, attrib, err) < 0)
			return -1;
	return 0;
}

void cv_imap_note_append_value(struct cv_buf *out, struct cv_str value)
{
	if (value.ptr == NULL || !cv_str_has_nul(value)) {
		cv_imap_append_nstring(out, value);
		return;
	}
	cv_buf_printf(out, "~{%zu}\r\n", value.len);
	cv_buf_append(out, value);
}

/* An entry with its values, of which one or both may be absent. */
struct entry {
	struct cv_str name, priv, shared;
};

static void append_entry(struct cv_buf *out, const struct cv_imap_note_fetch *fetch, const struct entry *entry, bool *any)
{
	cv_buf_append_c(out, *any ? " " : "ANNOTATION (");
	*any = true;
	cv_imap_append_astring(out, entry->name);
	for (size_t i = 0; i < fetch->attrib_count; i++) {
		enum cv_imap_note_attrib attrib = fetch->attribs[i];
		struct cv_str value = attrib == CV_IMAP_NOTE_VALUE_PRIV || attrib == CV_IMAP_NOTE_SIZE_PRIV ? entry->priv : entry->shared;

		cv_buf_append_c(out, i == 0 ? " (" : " ");
		cv_buf_append_c(out, attrib_names[attrib]);
		if (attrib == CV_IMAP_NOTE_VALUE_PRIV || attrib == CV_IMAP_NOTE_VALUE_SHARED) {
			cv_buf_append_char(out, ' ');
			cv_imap_note_append_value(out, value);
		} else {
			cv_buf_printf(out, " \"%zu\"", value.len);
		}
	}
	cv_buf_append_char(out, ')');
}

/* The next entry with all its values. The notes of a message are in the order of their entries. */
static bool next_entry(struct cv_note_list *list, struct entry *entry_r)
{
	struct cv_note_list ahead;
	struct cv_note note;

	*entry_r = (struct entry){ 0 };
	for (ahead = *list; cv_note_next(&ahead, &note) && (entry_r->name.ptr == NULL || cv_str_eq(note.entry, entry_r->name)); *list = ahead) {
		entry_r->name = note.entry;
		*(note.priv ? &entry_r->priv : &entry_r->shared) = note.value;
	}
	return entry_r->name.ptr != NULL;
}

/* Asked for by its name, or by wildcards that came before. */
static bool is_told(const struct cv_imap_note_fetch *fetch, struct cv_str name, size_t before)
{
	for (size_t i = 0; i < fetch->entry_count; i++) {
		if (fetch->entries[i].wild ? i < before && cv_note_match(fetch->entries[i].name, name) : cv_str_eq(fetch->entries[i].name, name))
			return true;
	}
	return false;
}

bool cv_imap_note_append(struct cv_buf *out, const struct cv_imap_note_fetch *fetch, const struct cv_note_list *notes)
{
	bool any = false;

	for (size_t i = 0; i < fetch->entry_count; i++) {
		struct cv_note_list list = *notes;
		struct entry entry, wanted = { .name = fetch->entries[i].name };

		/* "If the client requests the value attribute for a non-existent entry, then the server MUST return "NIL" for the value." */
		while (!fetch->entries[i].wild && next_entry(&list, &entry)) {
			if (cv_str_eq(entry.name, wanted.name)) {
				wanted = entry;
				break;
			}
		}
		if (!fetch->entries[i].wild) {
			append_entry(out, fetch, &wanted, &any);
			continue;
		}
		while (next_entry(&list, &entry)) {
			if (cv_note_match(wanted.name, entry.name) && !is_told(fetch, entry.name, i))
				append_entry(out, fetch, &entry, &any);
		}
	}
	if (any)
		cv_buf_append_char(out, ')');
	return any;
}

/* ---- STORE and APPEND ------------------------------------------------------------------------------------- */

struct setting {
	CV_VEC(struct cv_note) notes;
};

/* att-value = attrib SP value. "The client MUST specify either a ".priv" or ".shared" suffix when storing an annotation". */
static int take_value(struct setting *setting, struct cv_str entry, const struct cv_imap_arg *arg, struct cv_err *err)
{
	struct cv_note note = { .entry = entry };
	struct cv_str attrib;

	if (arg->glued || !cv_imap_arg_astring(arg, &attrib))
		return invalid(err, "Missing or invalid attribute");
	if (cv_str_eq_c(attrib, "size.priv") || cv_str_eq_c(attrib, "size.shared"))
		return cv_err_set_public(err, CV_ERR_PERM, "The size is the server's to set");
	if (cv_str_eq_c(attrib, "value.priv"))
		note.priv = true;
	else if (!cv_str_eq_c(attrib, "value.shared"))
		return invalid(err, "Attributes that can be set are value.priv and value.shared");
	arg = arg->next;
	if (arg != NULL && arg->type == CV_IMAP_ARG_LITERAL8)
		note.value = arg->str;
	else if (!cv_imap_arg_nstring(arg, &note.value))
		return invalid(err, "Missing or invalid value");
	if (note.value.ptr == NULL && !cv_imap_arg_is(arg, "NIL"))
		note.value = CV_STR("");
	if (setting->notes.count == CV_NOTES_AT_ONCE)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Too many annotations at once");
	*cv_vec_push(&setting->notes) = note;
	return 0;
}

/* entry-att = entry SP "(" att-value *(SP att-value) ")" */
static int take_entry_att(struct setting *setting, const struct cv_imap_arg **arg, struct cv_err *err)
{
	const struct cv_imap_arg *value;
	struct cv_str entry;

	if ((*arg)->glued || !cv_imap_arg_astring(*arg, &entry))
		return invalid(err, "Missing or invalid entry name");
	if (cv_imap_note_entry_ok(entry, true, err) < 0)
		return -1;
	*arg = (*arg)->next;
	if (!cv_imap_arg_list(*arg, &value) || value == NULL)
		return invalid(err, "An entry needs a list of attributes and values");
	for (; value != NULL; value = value->next->next)
		if (take_value(setting, entry, value, err) < 0)
			return -1;
	*arg = (*arg)->next;
	return 0;
}

int cv_imap_notes_parse(struct cv_arena *arena, const struct cv_imap_arg *list, const struct cv_note **notes_r, size_t *count_r, struct cv_err *err)
{
	struct setting setting = { 0 };
	const struct cv_imap_arg *arg;
	struct cv_note *notes;
	int ret = 0;

	*notes_r = NULL;
	*count_r = 0;
	if (!cv_imap_arg_list(list, &arg) || arg == NULL)
		return invalid(err, "ANNOTATION needs a list of entries, attributes and values");
	while (ret == 0 && arg != NULL)
		ret = take_entry_att(&setting, &arg, err);
	if (ret == 0) {
		notes = cv_new(arena, struct cv_note, setting.notes.count);
		memcpy(notes, setting.notes.data, setting.notes.count * sizeof(*notes));
		*notes_r = notes;
		*count_r = setting.notes.count;
	}
	cv_vec_free(&setting.notes);
	return ret;
}
