/* SPDX-License-Identifier: MIT
   Mailbox names and sequence sets: from arguments to what the mail library takes, and back. */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-quote.h"
#include "modules/lib/imap/imap-sequence.h"
#include "modules/lib/imap/imap-utf7.h"

#include <culver/charset.h>

/* A name longer than this is refused by every storage format. */
#define NAME_MAX_OCTETS 4096u

/* The client's delimiter becomes '/', which the client may not use then. */
static int map_separator(char separator, char *name, size_t len, struct cv_err *err)
{
	if (separator == '/')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '/')
			return cv_err_set_public(err, CV_ERR_INVALID, "Character / is not allowed in mailbox names");
		if (name[i] == separator)
			name[i] = '/';
	}
	return 0;
}

/* RFC 3501 section 5.1: INBOX in any case is INBOX, also as parent. */
static void map_inbox(char *name, size_t len)
{
	struct cv_str inbox = CV_STR("INBOX");

	if (cv_str_casestarts(cv_str_mem(name, len), inbox) && (len == inbox.len || name[inbox.len] == '/'))
		memcpy(name, inbox.ptr, inbox.len);
}

/* RFC 9051 section 5.1: names are UTF-8; without ENABLE IMAP4rev2 or UTF8=ACCEPT, modified UTF-7. */
static bool decode_name(const struct imap_session *s, struct cv_buf *out, struct cv_str wire)
{
	if (!s->utf8_names)
		return cv_imap_utf7_decode(out, wire);
	cv_buf_append(out, wire);
	return cv_buf_ok(out) && cv_str_is_utf8(wire);
}

/* The name of the mailbox that is meant: in NFC two names that look the same are the same (RFC 5198 section 2). One that is there already keeps its name, which
   another program, or an older server, may have given it in another form; below it too. */
static struct cv_str same_name(struct cv_user *user, struct cv_arena *arena, struct cv_str name)
{
	struct cv_mailbox_info info;
	struct cv_buf wanted, other;
	struct cv_str result = name;
	size_t best = 0, pos = 0;

	if (cv_str_is_ascii(name) || cv_mailbox_lookup(user, name, &info) > 0)
		return name;
	cv_buf_init(&wanted, SIZE_MAX / 2);
	cv_buf_init(&other, SIZE_MAX / 2);
	if (cv_utf8_nfc(&wanted, name)) {
		result = cv_arena_str(arena, cv_buf_str(&wanted));
		if (cv_mailbox_lookup(user, result, &info) <= 0) {
			while (cv_mailbox_next(user, &pos, &info)) {
				if (cv_str_is_ascii(info.name))
					continue;
				cv_buf_clear(&other);
				if (!cv_utf8_nfc(&other, info.name) || other.len <= best || !cv_str_starts(cv_buf_str(&wanted), cv_buf_str(&other)) ||
					(other.len < wanted.len && wanted.data[other.len] != '/') || cv_str_eq(cv_buf_str(&other), info.name))
					continue;
				best = other.len;
				result = cv_str_c(cv_arena_printf(arena, "%.*s%.*s", CV_STR_ARG(info.name),
					CV_STR_ARG(cv_str_sub(cv_buf_str(&wanted), best, SIZE_MAX))));
			}
		}
	}
	cv_buf_deinit(&wanted);
	cv_buf_deinit(&other);
	return result;
}

int imap_utf8_name(struct cv_user *user, struct cv_arena *arena, struct cv_str utf8, struct cv_str *name_r, struct cv_err *err)
{
	char *name;

	if (utf8.len == 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is empty");
	if (utf8.len > NAME_MAX_OCTETS)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is too long");
	if (!cv_str_is_utf8(utf8))
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is not valid UTF-8");
	name = cv_arena_alloc(arena, utf8.len + 1);
	memcpy(name, utf8.ptr, utf8.len);
	*name_r = cv_str_mem(name, utf8.len);
	if (map_separator(cv_user_separator(user), name, name_r->len, err) < 0)
		return -1;
	map_inbox(name, name_r->len);
	*name_r = same_name(user, arena, *name_r);
	return 0;
}

/* RFC 6855 section 3: "they MUST NOT contain control characters (U+0000-U+001F and U+0080-U+009F), a delete character (U+007F), a line separator (U+2028), or a
   paragraph separator (U+2029)". name is UTF-8. */
static bool has_forbidden(struct cv_str name)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c < 0x20 || c == 0x7f)
			return true;
		if (c == 0xc2 && i + 1 < name.len && (unsigned char)name.ptr[i + 1] < 0xa0)
			return true;
		if (c == 0xe2 && i + 2 < name.len && (unsigned char)name.ptr[i + 1] == 0x80 && ((unsigned char)name.ptr[i + 2] & 0xfe) == 0xa8)
			return true;
	}
	return false;
}

int imap_mailbox_name(struct cv_imap_cmd *cmd, struct cv_str wire, unsigned opts, struct cv_str *name_r, struct cv_err *err)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_buf utf8;
	struct cv_str copy;
	int result;

	if (wire.len == 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is empty");
	cv_buf_init(&utf8, NAME_MAX_OCTETS);
	if (!decode_name(s, &utf8, wire)) {
		bool too_long = !cv_buf_ok(&utf8);

		cv_buf_deinit(&utf8);
		if (too_long)
			return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is too long");
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is not valid %s", s->utf8_names ? "UTF-8" : "modified UTF-7");
	}
	copy = cv_buf_str(&utf8);
	if (((opts & IMAP_NAME_TRAILING_SEP) != 0 || (s->workarounds & IMAP_TB_EXTRA_MAILBOX_SEP) != 0) && copy.len > 1 &&
		copy.ptr[copy.len - 1] == s->separator)
		copy.len--;
	result = imap_utf8_name(cmd->user, cmd->arena, copy, name_r, err);
	cv_buf_deinit(&utf8);
	if (result < 0)
		return result;
	if ((opts & IMAP_NAME_NEW) != 0 && has_forbidden(*name_r))
		return cv_err_set_public(err, CV_ERR_INVALID, "Control characters and line separators are not allowed in mailbox names");
	return 0;
}

bool imap_mailbox_arg(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, unsigned opts, struct cv_str *name_r)
{
	struct cv_err err = { 0 };
	struct cv_str wire;

	if (!cv_imap_arg_astring(arg, &wire)) {
		imap_bad(cmd, "Missing or invalid mailbox name");
		return false;
	}
	if (imap_mailbox_name(cmd, wire, opts, name_r, &err) < 0) {
		imap_fail(cmd, &err);
		return false;
	}
	return true;
}

struct cv_str imap_wire_name(const struct imap_session *s, struct cv_arena *arena, struct cv_str name)
{
	struct cv_buf wire;
	char *copy;
	size_t len;

	cv_buf_init(&wire, name.len * 8 + 16);
	if (s->utf8_names)
		cv_buf_append(&wire, name);
	else
		cv_imap_utf7_encode(&wire, name);
	len = wire.len;
	copy = cv_arena_alloc(arena, len + 1);
	for (size_t i = 0; i < len; i++)
		copy[i] = wire.data[i] == '/' ? s->separator : wire.data[i];
	cv_buf_deinit(&wire);
	return cv_str_mem(copy, len);
}

void imap_append_wire_name(const struct imap_session *s, struct cv_buf *out, struct cv_str wire)
{
	if (s->utf8_names)
		cv_imap_append_astring_utf8(out, wire);
	else
		cv_imap_append_astring(out, wire);
}

void imap_append_mailbox(const struct imap_session *s, struct cv_buf *out, struct cv_str name)
{
	struct cv_arena *arena = cv_arena_new("mailbox name", NULL, 0);

	imap_append_wire_name(s, out, imap_wire_name(s, arena, cv_str_sub(name, 0, NAME_MAX_OCTETS)));
	cv_arena_free(&arena);
}

struct cv_str imap_old_name(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_str name)
{
	struct cv_str wire;

	if (!cv_imap_arg_astring(arg, &wire) || cv_str_eq(wire, imap_wire_name(imap_cmd_session(cmd), cmd->arena, name)))
		return (struct cv_str){ NULL, 0 };
	return wire;
}

void imap_append_mailboxid(struct cv_buf *out, const uint8_t guid[16])
{
	cv_buf_append_char(out, 'F');
	for (size_t i = 0; i < 16; i++)
		cv_buf_printf(out, "%02x", guid[i]);
}

static void free_ranges(void *ctx)
{
	cv_ranges_free(ctx);
}

struct cv_ranges *imap_ranges(struct cv_imap_cmd *cmd)
{
	struct cv_ranges *ranges = cv_new(cmd->arena, struct cv_ranges, 1);

	cv_arena_cleanup(cmd->arena, free_ranges, ranges);
	return ranges;
}

/* UIDs to the sequence numbers that have them. RFC 3501 section 6.4.8: those that are not there are passed over. */
void imap_uids_to_seqs(const struct imap_session *s, const struct cv_ranges *uids, struct cv_ranges *seqs)
{
	uint32_t count = cv_view_count(s->view);

	for (size_t i = 0; i < uids->count; i++) {
		uint32_t first = cv_view_seq_from(s->view, uids->data[i].first);
		uint32_t last = uids->data[i].last == UINT32_MAX ? count : cv_view_seq_from(s->view, uids->data[i].last + 1) - 1;

		if (first <= last)
			cv_ranges_add(seqs, first, last);
	}
}

int imap_uid_set(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, uint32_t star, struct cv_ranges *uids_r, struct cv_err *err)
{
	const struct imap_session *s = imap_cmd_session(cmd);
	struct cv_str set;
	bool saved;

	if (arg == NULL || arg->type != CV_IMAP_ARG_ATOM)
		return cv_err_set_public(err, CV_ERR_INVALID, "Missing or invalid UID set");
	set = arg->str;
	saved = cv_imap_sequence_cut_saved(&set);
	if ((set.len > 0 || !saved) && !cv_imap_sequence_parse(set, star, uids_r))
		return cv_err_set_public(err, CV_ERR_INVALID, "Missing or invalid UID set");
	for (size_t i = 0; saved && i < s->saved.count; i++)
		cv_ranges_add(uids_r, s->saved.data[i].first, s->saved.data[i].last);
	return 0;
}

static int seq_set(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_ranges *seqs_r, struct cv_err *err)
{
	struct imap_session *s = imap_cmd_session(cmd);
	uint32_t count = cv_view_count(s->view);
	struct cv_str set;
	bool saved;

	if (arg == NULL || arg->type != CV_IMAP_ARG_ATOM)
		return cv_err_set_public(err, CV_ERR_INVALID, "Missing or invalid sequence set");
	set = arg->str;
	saved = cv_imap_sequence_cut_saved(&set);
	if ((set.len > 0 || !saved) && !cv_imap_sequence_parse(set, count > 0 ? count : UINT32_MAX, seqs_r))
		return cv_err_set_public(err, CV_ERR_INVALID, "Missing or invalid sequence set");
	/* RFC 3501 section 9, seq-number: a number above the number of messages is BAD, "*" in an empty mailbox too. */
	if (seqs_r->count > 0 && seqs_r->data[seqs_r->count - 1].last > count)
		return cv_err_set_public(err, CV_ERR_INVALID,
			count == 0 ? "There are no messages in the mailbox" : "Sequence number is higher than the number of messages");
	if (saved)
		imap_uids_to_seqs(s, &s->saved, seqs_r);
	return 0;
}

int imap_sequence_set(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_ranges *seqs_r, struct cv_err *err)
{
	const struct cv_view *view = imap_cmd_session(cmd)->view;
	uint32_t count = cv_view_count(view);
	struct cv_ranges uids = { 0 };
	int result;

	if (!cmd->uid)
		return seq_set(cmd, arg, seqs_r, err);
	result = imap_uid_set(cmd, arg, count > 0 ? cv_view_uid(view, count) : UINT32_MAX, &uids, err);
	if (result == 0)
		imap_uids_to_seqs(imap_cmd_session(cmd), &uids, seqs_r);
	cv_ranges_free(&uids);
	return result;
}

void imap_ranges_common(const struct cv_ranges *a, const struct cv_ranges *b, struct cv_ranges *both)
{
	for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
		uint32_t first = CV_MAX(a->data[i].first, b->data[j].first), last = CV_MIN(a->data[i].last, b->data[j].last);

		if (first <= last)
			cv_ranges_add(both, first, last);
		if (a->data[i].last < b->data[j].last)
			i++;
		else
			j++;
	}
}

bool imap_sequence_arg(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_ranges *seqs_r)
{
	struct cv_err err = { 0 };

	if (imap_sequence_set(cmd, arg, seqs_r, &err) == 0)
		return true;
	imap_bad_err(cmd, &err);
	return false;
}

bool imap_iter_next(const struct cv_ranges *ranges, struct imap_iter *iter, uint32_t *n_r)
{
	while (iter->range < ranges->count) {
		const struct cv_range *range = &ranges->data[iter->range];

		if (iter->next == 0)
			iter->next = range->first;
		if (iter->next != 0 && iter->next <= range->last) {
			*n_r = iter->next;
			/* Behind the last number there is none: UINT32_MAX + 1 would be "start". */
			if (iter->next == range->last) {
				iter->range++;
				iter->next = 0;
			} else {
				iter->next++;
			}
			return true;
		}
		iter->range++;
		iter->next = 0;
	}
	return false;
}

void imap_uids_of(const struct imap_session *s, const struct cv_ranges *seqs, bool present, struct cv_ranges *uids)
{
	struct imap_iter iter = { 0 };
	uint32_t seq;

	while (imap_iter_next(seqs, &iter, &seq)) {
		struct cv_row row;

		if (cv_view_flags(s->view, seq, &row) || !present)
			cv_ranges_add(uids, row.uid, row.uid);
	}
}

const char *imap_code_printf(struct cv_imap_cmd *cmd, const char *fmt, ...)
{
	struct cv_buf text;
	const char *copy;
	va_list ap;

	cv_buf_init(&text, 1 << 20);
	va_start(ap, fmt);
	cv_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	copy = cv_arena_strdup(cmd->arena, cv_buf_ok(&text) && text.data != NULL ? text.data : "");
	cv_buf_deinit(&text);
	return copy;
}
