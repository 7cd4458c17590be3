/* SPDX-License-Identifier: MIT
   Annotations of messages on the wire. */
#include <config.h>

#include "annotate.h"

#include "notify.h"

#include "modules/lib/imap/imap-quote.h"

/* Largest values of one command that are in literals. */
#define VALUES_AT_ONCE 4u

/* ---- STORE and APPEND ------------------------------------------------------------------------------------- */

bool annotate_take(struct cv_imap_cmd *cmd, const struct cv_imap_arg *list, const struct cv_note **notes_r, size_t *count_r)
{
	size_t max = annotate_value_max(imap_cmd_session(cmd));
	struct cv_err err = { 0 };

	if (cv_imap_notes_parse(cmd->arena, list, notes_r, count_r, &err) < 0) {
		if (err.code == CV_ERR_INVALID)
			imap_bad_err(cmd, &err);
		else
			annotate_fail(cmd, &err);
		return false;
	}
	/* "If the server is unable to store an annotation because the size of its value is too large, the server MUST return a tagged NO response with a
	   "[ANNOTATE TOOBIG]" response code." */
	for (size_t i = 0; i < *count_r; i++) {
		if ((*notes_r)[i].value.len > max) {
			imap_no(cmd, "ANNOTATE TOOBIG", "Annotation is too large");
			return false;
		}
	}
	return true;
}

enum cv_imap_result annotate_fail(struct cv_imap_cmd *cmd, const struct cv_err *err)
{
	return err->code == CV_ERR_LIMIT && err->public_text ? imap_no(cmd, "ANNOTATE TOOMANY", cv_err_public(err)) : imap_fail(cmd, err);
}

bool annotate_takes(const struct imap_session *s, const struct cv_imap_command *command, const struct cv_imap_arg *args)
{
	const struct cv_imap_arg *arg = args;

	if (!s->set->imap_annotate || (command != &imap_cmd_store && command != &imap_cmd_append && command != &imap_cmd_replace))
		return false;
	/* The last list, which is open, belongs to the word before it. */
	while (arg != NULL && arg->next != NULL && arg->next->next != NULL)
		arg = arg->next;
	return cv_imap_arg_is(arg, "ANNOTATION");
}

size_t annotate_value_max(const struct imap_session *s)
{
	struct cv_note_limits limits;

	cv_note_limits(s->user, &limits);
	return limits.value;
}

size_t annotate_literals_max(const struct imap_session *s)
{
	return (size_t)s->set->imap_max_line_length + VALUES_AT_ONCE * annotate_value_max(s);
}

/* ---- Body parts ------------------------------------------------------------------------------------------- */

/* RFC 3501 section 6.4.5: "Every message has at least one part number." */
static bool may_lack(struct cv_str entry)
{
	uint32_t path[CV_IMAP_NOTE_PART_MAX];
	size_t len;

	return cv_imap_note_part(entry, path, &len) && len > 0 && (len > 1 || path[0] != 1);
}

static bool has_part(struct cv_mime_part *root, struct cv_str entry)
{
	uint32_t path[CV_IMAP_NOTE_PART_MAX];
	size_t len;

	return !may_lack(entry) || (cv_imap_note_part(entry, path, &len) && cv_mime_part_find(root, path, len) != NULL);
}

bool annotate_names_parts(const struct cv_note *notes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (may_lack(notes[i].entry))
			return true;
	return false;
}

bool annotate_fetches_parts(const struct cv_imap_note_fetch *fetch, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < fetch[i].entry_count; j++)
			if (!fetch[i].entries[j].wild && may_lack(fetch[i].entries[j].name))
				return true;
	return false;
}

bool annotate_parts_exist(struct cv_mime_part *root, const struct cv_note *notes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!has_part(root, notes[i].entry))
			return false;
	return true;
}

bool annotate_fetched_parts_exist(struct cv_mime_part *root, const struct cv_imap_note_fetch *fetch, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < fetch[i].entry_count; j++)
			if (!fetch[i].entries[j].wild && !has_part(root, fetch[i].entries[j].name))
				return false;
	return true;
}

int annotate_parts_in_record(struct cv_arena *arena, struct cv_str octets, const struct cv_note *notes, size_t count, struct cv_err *err)
{
	struct cv_parse_record record;
	struct cv_mime_part *root;
	int ret;

	if (cv_parse_record_open(octets, &record, err) < 0)
		return -1;
	ret = cv_parse_record_tree(&record, arena, &root, err);
	if (ret == 0)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Message has too many parts");
	return ret < 0 ? -1 : annotate_parts_exist(root, notes, count);
}

/* ---- SELECT ----------------------------------------------------------------------------------------------- */

/* RFC 5257 section 4.1: "Servers MUST return an ANNOTATIONS response code during the SELECT or EXAMINE command for a mailbox". Who may read a mailbox may
   always change private ones. */
void annotate_write_level(struct imap_session *s)
{
	if (s->examined)
		imap_tell(s, "OK", "ANNOTATIONS READ-ONLY", "Annotations of messages");
	else
		imap_tell_number(s, "ANNOTATIONS", annotate_value_max(s), "Annotations of messages");
}

/* ---- Changes that others made ----------------------------------------------------------------------------- */

/* Names are the same for all messages of a change: kept once. */
static struct cv_str keep_names(struct imap_session *s, struct cv_str names)
{
	struct cv_str *last = s->note_names.count > 0 ? &s->note_names.data[s->note_names.count - 1] : NULL;
	char *copy;

	if (last != NULL && cv_str_eq(*last, names))
		return *last;
	copy = cv_malloc(names.len + 1);
	memcpy(copy, names.ptr, names.len);
	*cv_vec_push(&s->note_names) = cv_str_mem(copy, names.len);
	return s->note_names.data[s->note_names.count - 1];
}

void annotate_queue(struct imap_session *s, const struct cv_view_event *event)
{
	struct cv_view_event kept = *event;
	bool wanted = s->notify != NULL ? s->notify->annotations : s->annotate;

	if (!wanted) {
		/* NOTIFY keeps it from a client that had asked. */
		if (s->annotate)
			cv_ranges_add(&s->untold, event->uid, event->uid);
		return;
	}
	kept.names = keep_names(s, event->names);
	*cv_vec_push(&s->events) = kept;
}

/* "Unsolicited ANNOTATION responses MUST NOT include ANNOTATION data values -- only the entry name of the ANNOTATION that has changed." */
void annotate_write_event(struct imap_session *s, struct cv_buf *out, const struct cv_view_event *event)
{
	struct cv_reader names = cv_reader_init(event->names);
	uint32_t seq = cv_view_seq(s->view, event->uid);
	const char *space = "";
	struct cv_row row;
	struct cv_str name;

	if (seq == 0)
		return;
	(void)cv_view_row(s->view, seq, &row);
	imap_begin_fetch(s, out, event->seq, event->uid);
	/* RFC 5465 section 5.1: "which MUST include UID". */
	if (!s->uidonly && (s->notify != NULL || s->condstore || s->rev2 || (s->cmd != NULL && s->cmd->pub.uid))) {
		cv_buf_printf(out, "UID %u", event->uid);
		space = " ";
	}
	cv_buf_printf(out, "%sANNOTATION (", space);
	for (space = ""; cv_take_str(&names, CV_NOTE_ENTRY_MAX, &name); space = " ") {
		cv_buf_append_c(out, space);
		cv_imap_append_astring(out, name);
	}
	cv_buf_append_char(out, ')');
	if (s->condstore)
		cv_buf_printf(out, " MODSEQ (%llu)", (unsigned long long)row.modseq);
	cv_buf_append_c(out, ")\r\n");
}

void annotate_forget(struct imap_session *s)
{
	for (size_t i = 0; i < s->note_names.count; i++) {
		char *octets = (char *)(uintptr_t)s->note_names.data[i].ptr; /* ours */

		cv_free(octets);
	}
	cv_vec_free(&s->note_names);
}
