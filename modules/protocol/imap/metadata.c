/* SPDX-License-Identifier: MIT
   Annotations on the wire. */
#include <config.h>

#include "metadata.h"

#include "notify.h"

#include "modules/lib/imap/imap-quote.h"

/* Entries of one request: each annotation is looked at with all of them. */
#define ENTRIES_MAX 1000u
/* Values up to here go between quotes when they can. */
#define QUOTED_MAX 1000u
/* Octets of a literal that are written at once. */
#define CHUNK 16384u
/* Changes that wait to be told. The oldest go when a client that asks for nothing lets more of them pile up. */
#define CHANGES_MAX 1000u

/* ---- Names -------------------------------------------------------------------------------------------- */

static unsigned components(struct cv_str name)
{
	unsigned count = 0;

	for (size_t i = 0; i < name.len; i++)
		count += name.ptr[i] == '/';
	return count;
}

static bool is_scope(struct cv_str name)
{
	return cv_str_caseeq_c(name, "/private") || cv_str_caseeq_c(name, "/shared");
}

/* RFC 5464 section 3.2: "Entry names can have any number of components starting at 2, unless they fall under the vendor namespaces […], in which case they
   have at least 4 components." */
bool metadata_name_ok(struct cv_str name)
{
	if (cv_annotation_name_ok(name, NULL) < 0 || !cv_annotation_is_public(name))
		return false;
	if (cv_str_caseeq_c(name, "/private/vendor") || cv_str_caseeq_c(name, "/shared/vendor") ||
		cv_str_casestarts(name, CV_STR("/private/vendor/")) || cv_str_casestarts(name, CV_STR("/shared/vendor/")))
		return components(name) >= 4;
	return true;
}

bool metadata_take_entry(struct cv_imap_cmd *cmd, struct metadata_request *request, const struct cv_imap_arg *arg)
{
	struct cv_str name;

	/* "Invalid entry names result in a BAD response in any IMAP command in which they are used." What others are below of may be asked for. */
	if (!cv_imap_arg_astring(arg, &name) || cv_annotation_name_ok(name, NULL) < 0 || (!cv_annotation_is_public(name) && !is_scope(name))) {
		imap_bad(cmd, "Missing or invalid entry name");
		return false;
	}
	if (request->entries.count == ENTRIES_MAX) {
		imap_no(cmd, "LIMIT", "Too many entries");
		return false;
	}
	*cv_vec_push(&request->entries) = name;
	return true;
}

bool metadata_take_entries(struct cv_imap_cmd *cmd, struct metadata_request *request, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *entry;

	if (!cv_imap_arg_list(arg, &entry) || entry == NULL) {
		imap_bad(cmd, "Missing or invalid list of entries");
		return false;
	}
	for (; entry != NULL; entry = entry->next)
		if (!metadata_take_entry(cmd, request, entry))
			return false;
	return true;
}

/* ---- Values ------------------------------------------------------------------------------------------- */

/* What the server itself says instead of, or besides, what is stored; absent: nothing. */
static struct cv_str own_value(const struct imap_session *s, const struct cv_mailbox *mailbox, struct cv_str name, struct cv_buf *scratch)
{
	struct cv_mailbox_info info;
	const char *text = NULL;

	if (mailbox == NULL) {
		if (cv_str_caseeq_c(name, METADATA_COMMENT))
			text = s->set->mail_server_comment;
		else if (cv_str_caseeq_c(name, METADATA_ADMIN))
			text = s->set->mail_server_admin;
		return cv_str_c(text != NULL && *text != '\0' ? text : NULL);
	}
	if (!cv_str_caseeq_c(name, METADATA_SPECIAL_USE) || cv_mailbox_lookup(s->user, cv_mailbox_name(mailbox), &info) <= 0 || !info.exists)
		return cv_str_c(NULL);
	/* RFC 6154 section 4: "a space-separated list of special-use attributes, presented the same way they would be presented in the LIST command
	   response" */
	cv_buf_clear(scratch);
	imap_append_special_uses(scratch, info.special_use);
	return scratch->len > 0 ? cv_buf_str(scratch) : cv_str_c(NULL);
}

static struct cv_str value_of(const struct imap_session *s, const struct cv_mailbox *mailbox, struct cv_str name, struct cv_buf *scratch)
{
	struct cv_str value = own_value(s, mailbox, name, scratch);
	struct cv_annotation annotation;

	if (value.ptr != NULL || (mailbox != NULL && cv_str_caseeq_c(name, METADATA_SPECIAL_USE)))
		return value;
	return cv_annotation_get(s->user, mailbox, name, &annotation) > 0 ? annotation.value : cv_str_c(NULL);
}

/* ---- A response --------------------------------------------------------------------------------------- */

/* "The DEPTH option […] extends the list of entry values": the entry itself, and those so far below it. */
static bool is_asked(const struct metadata_request *request, struct cv_str name)
{
	for (size_t i = 0; i < request->entries.count; i++) {
		struct cv_str entry = request->entries.data[i], below;

		if (!cv_str_casestarts(name, entry))
			continue;
		below = cv_str_sub(name, entry.len, SIZE_MAX);
		if (below.len == 0)
			return true;
		if (below.ptr[0] == '/' && (request->depth == METADATA_DEPTH_INFINITY ||
						   (request->depth == METADATA_DEPTH_1 && cv_str_find(cv_str_sub(below, 1, SIZE_MAX), '/') == SIZE_MAX)))
			return true;
	}
	return false;
}

struct gathering {
	const struct imap_session *s;
	struct metadata_writer *writer;
	const struct metadata_request *request;
	CV_VEC(struct cv_str) names;
	struct cv_buf scratch;
};

static bool has_name(const struct gathering *g, struct cv_str name)
{
	for (size_t i = 0; i < g->names.count; i++)
		if (cv_str_caseeq(g->names.data[i], name))
			return true;
	return false;
}

/* An entry that is asked for. When it has no value that is told only where it was asked for by its name. */
static void gather(struct gathering *g, struct cv_str name, bool by_name)
{
	struct cv_str value = value_of(g->s, g->writer->mailbox, name, &g->scratch);

	if (value.ptr == NULL && !by_name)
		return;
	if (g->request->maxsize_set && value.len > g->request->maxsize) {
		g->writer->longest = CV_MAX(g->writer->longest, (uint64_t)value.len);
		return;
	}
	*cv_vec_push(&g->names) = cv_arena_str(g->writer->arena, name);
}

static void gather_all(struct gathering *g)
{
	static const char *const server[] = { METADATA_ADMIN, METADATA_COMMENT }, *const mailbox[] = { METADATA_SPECIAL_USE };
	const char *const *own = g->writer->mailbox == NULL ? server : mailbox;
	size_t own_count = g->writer->mailbox == NULL ? CV_COUNT_OF(server) : CV_COUNT_OF(mailbox);
	struct cv_annotation annotation;

	if (g->request->depth == METADATA_DEPTH_0) {
		for (size_t i = 0; i < g->request->entries.count; i++)
			if (!has_name(g, g->request->entries.data[i]))
				gather(g, g->request->entries.data[i], true);
		return;
	}
	for (size_t i = 0; i < own_count; i++)
		if (is_asked(g->request, cv_str_c(own[i])))
			gather(g, cv_str_c(own[i]), false);
	for (size_t pos = 0; cv_annotation_next(g->s->user, g->writer->mailbox, &pos, &annotation);)
		if (cv_annotation_is_public(annotation.name) && is_asked(g->request, annotation.name) && !has_name(g, annotation.name))
			gather(g, annotation.name, false);
}

int metadata_begin(struct metadata_writer *writer, struct cv_imap_cmd *cmd, const struct metadata_request *request, struct cv_str name, struct cv_err *err)
{
	struct gathering g = { .s = imap_cmd_session(cmd), .writer = writer, .request = request };

	*writer = (struct metadata_writer){ 0 };
	if (name.ptr != NULL) {
		if (cv_mailbox_get(cmd->user, name, &writer->mailbox, err) < 0)
			return -1;
		if (cv_annotations_may(writer->mailbox, err) < 0) {
			cv_mailbox_unref(&writer->mailbox);
			return -1;
		}
	}
	writer->arena = cv_arena_new("metadata", NULL, 0);
	writer->name = name.ptr != NULL ? cv_arena_str(writer->arena, name) : name;
	cv_buf_init(&writer->value, (size_t)64 << 20);
	cv_buf_init(&g.scratch, 1024);
	gather_all(&g);
	writer->count = g.names.count;
	writer->entries = cv_new(writer->arena, struct cv_str, g.names.count + 1);
	if (g.names.count > 0)
		memcpy(writer->entries, g.names.data, g.names.count * sizeof(*writer->entries));
	cv_vec_free(&g.names);
	cv_buf_deinit(&g.scratch);
	return 0;
}

void metadata_end(struct metadata_writer *writer)
{
	if (writer->arena == NULL)
		return;
	cv_buf_deinit(&writer->value);
	cv_mailbox_unref(&writer->mailbox);
	cv_arena_free(&writer->arena);
	*writer = (struct metadata_writer){ .longest = writer->longest };
}

static void append_name(const struct imap_session *s, struct cv_buf *out, struct cv_str name)
{
	cv_buf_append_c(out, "* METADATA ");
	if (name.ptr != NULL)
		imap_append_mailbox(s, out, name);
	else
		cv_buf_append_c(out, "\"\"");
}

/* value = nstring / literal8. What is long goes into writer->value, to be written in pieces. */
static void begin_value(struct metadata_writer *writer, struct cv_buf *out, struct cv_str value)
{
	bool binary = cv_str_has_nul(value);

	if (!binary && value.len <= QUOTED_MAX) {
		cv_imap_append_nstring(out, value);
		return;
	}
	cv_buf_append_c(out, binary ? "~{" : "{");
	cv_buf_append_u64(out, value.len);
	cv_buf_append_c(out, "}\r\n");
	cv_buf_append(&writer->value, value);
}

static bool write_value(struct metadata_writer *writer, struct cv_imap_cmd *cmd)
{
	while (writer->done < writer->value.len) {
		struct cv_str piece = cv_str_sub(cv_buf_str(&writer->value), writer->done, CHUNK);

		if (imap_room(cmd) == 0)
			return false;
		cv_buf_append(imap_out(cmd), piece);
		writer->done += piece.len;
	}
	cv_buf_clear(&writer->value);
	writer->done = 0;
	return true;
}

bool metadata_write(struct metadata_writer *writer, struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_buf *out = imap_out(cmd), scratch;

	if (writer->count == 0)
		return true;
	if (!writer->open) {
		append_name(s, out, writer->name);
		cv_buf_append_c(out, " (");
		writer->open = s->in_line = true;
	}
	cv_buf_init(&scratch, 1024);
	for (;;) {
		if (!write_value(writer, cmd) || writer->next == writer->count || imap_room(cmd) == 0)
			break;
		if (writer->next > 0)
			cv_buf_append_char(out, ' ');
		cv_imap_append_astring(out, writer->entries[writer->next]);
		cv_buf_append_char(out, ' ');
		begin_value(writer, out, value_of(s, writer->mailbox, writer->entries[writer->next], &scratch));
		writer->next++;
	}
	cv_buf_deinit(&scratch);
	if (writer->next < writer->count || writer->value.len > 0)
		return false;
	cv_buf_append_c(out, ")\r\n");
	s->in_line = false;
	return true;
}

/* ---- Changes that others make ------------------------------------------------------------------------- */

struct change {
	uint8_t guid[16];  /* zeros: the server's */
	struct cv_str name; /* octets owned */
};

struct imap_metadata {
	struct imap_session *s;
	struct cv_annotation_watch *watch;
	bool enabled;      /* by ENABLE METADATA */
	CV_VEC(struct change) changes;
};

static void remove_change(struct imap_metadata *metadata, size_t at, size_t count)
{
	if (count == 0)
		return; /* there may be none at all */
	for (size_t i = at; i < at + count; i++) {
		char *octets = (char *)(uintptr_t)metadata->changes.data[i].name.ptr; /* ours */

		cv_free(octets);
	}
	memmove(&metadata->changes.data[at], &metadata->changes.data[at + count],
		(metadata->changes.count - at - count) * sizeof(struct change));
	metadata->changes.count -= count;
}

static void on_change(void *ctx, const struct cv_annotation_change *change)
{
	struct imap_metadata *metadata = ctx;
	struct imap_session *s = metadata->s;
	struct cv_str name = change->name;
	struct change new = { 0 };
	bool notify = s->notify != NULL && (s->notify->metadata & (change->mailbox != NULL ? IMAP_NOTIFY_MAILBOX_METADATA : IMAP_NOTIFY_SERVER_METADATA)) != 0;
	char *octets;

	/* "if server or mailbox annotations are changed by a third-party" */
	if ((s->cmd != NULL && s->cmd->commit_id == change->txn) || (!notify && !metadata->enabled))
		return;
	if (change->mailbox != NULL && cv_str_caseeq_c(name, "special-use"))
		name = CV_STR(METADATA_SPECIAL_USE);
	if (!cv_annotation_is_public(name))
		return;
	if (change->mailbox != NULL)
		memcpy(new.guid, cv_mailbox_guid(change->mailbox), sizeof(new.guid));
	for (size_t i = 0; i < metadata->changes.count; i++)
		if (memcmp(metadata->changes.data[i].guid, new.guid, sizeof(new.guid)) == 0 && cv_str_caseeq(metadata->changes.data[i].name, name))
			return;
	if (metadata->changes.count == CHANGES_MAX) {
		if (notify)
			imap_notify_metadata(s, true);
		remove_change(metadata, 0, 1);
	}
	octets = cv_malloc(name.len + 1);
	memcpy(octets, name.ptr, name.len);
	new.name = cv_str_mem(octets, name.len);
	*(struct change *)cv_vec_push(&metadata->changes) = new;
	if (notify)
		imap_notify_metadata(s, false);
	else if (s->cmd != NULL && s->cmd->pub.command == &imap_cmd_idle)
		imap_resume(&s->cmd->pub);
}

void metadata_watch(struct imap_session *s)
{
	if (s->metadata != NULL)
		return;
	s->metadata = cv_new0(struct imap_metadata);
	s->metadata->s = s;
	s->metadata->watch = cv_annotations_watch(s->user, on_change, s->metadata);
}

void metadata_enable(struct imap_session *s)
{
	metadata_watch(s);
	s->metadata->enabled = true;
}

void metadata_disable(struct imap_session *s)
{
	if (s->metadata == NULL)
		return;
	cv_annotations_unwatch(&s->metadata->watch);
	remove_change(s->metadata, 0, s->metadata->changes.count);
	cv_vec_free(&s->metadata->changes);
	cv_free(s->metadata);
	s->metadata = NULL;
}

/* The mailbox as it is called now; false: it is gone, or may not be seen. */
static bool find_mailbox(const struct imap_session *s, const uint8_t guid[16], struct cv_mailbox_info *info_r)
{
	size_t pos = 0;

	while (cv_mailbox_next(s->user, &pos, info_r))
		if (info_r->exists && memcmp(info_r->guid, guid, sizeof(info_r->guid)) == 0)
			return cv_mailbox_visible(s->user, info_r);
	return false;
}

/* Does the client want to know of it? */
static bool wants(const struct imap_session *s, const uint8_t guid[16], struct cv_mailbox_info *info_r)
{
	static const uint8_t server[16] = { 0 };

	*info_r = (struct cv_mailbox_info){ 0 };
	if (memcmp(guid, server, sizeof(server)) == 0)
		return s->metadata->enabled || (s->notify != NULL && (s->notify->metadata & IMAP_NOTIFY_SERVER_METADATA) != 0);
	if (!find_mailbox(s, guid, info_r))
		return false;
	return s->metadata->enabled ||
		(s->notify != NULL && (imap_notify_events(s->notify, info_r->name, info_r->subscribed) & IMAP_NOTIFY_MAILBOX_METADATA) != 0);
}

bool metadata_write_changes(struct imap_session *s)
{
	struct cv_buf *out = cv_stream_out(s->stream);
	struct imap_metadata *metadata = s->metadata;

	while (metadata != NULL && metadata->changes.count > 0) {
		const struct change *first = metadata->changes.data;
		struct cv_mailbox_info info;
		size_t count = 1;

		if (cv_stream_room(s->stream) == 0)
			return false;
		while (count < metadata->changes.count && count < 16 && memcmp(first[count].guid, first->guid, sizeof(first->guid)) == 0)
			count++;
		/* "Unsolicited METADATA responses MUST only contain entry names, not the values." */
		if (wants(s, first->guid, &info)) {
			append_name(s, out, info.name);
			for (size_t i = 0; i < count; i++) {
				cv_buf_append_char(out, ' ');
				cv_imap_append_astring(out, first[i].name);
			}
			cv_buf_append_c(out, "\r\n");
		}
		remove_change(metadata, 0, count);
	}
	return true;
}
