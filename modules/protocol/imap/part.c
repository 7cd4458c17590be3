/* SPDX-License-Identifier: MIT
   What an IMAP URL stands for (RFC 5092 section 6): the sections of FETCH, read piece by piece. */
#include <config.h>

#include "fetch.h"
#include "part.h"

struct imap_part {
	struct fetch fetch;
	struct fetch_found found;
	uint64_t size;
	uint64_t offset, left; /* of text that was composed; left also of a range */
};

struct cv_str imap_part_base(struct cv_imap_cmd *cmd)
{
	struct cv_buf base;
	struct cv_str copy;
	char *name;

	if (cmd->view == NULL)
		return (struct cv_str){ NULL, 0 };
	name = cv_arena_cstr(cmd->arena, cv_mailbox_name(cv_view_mailbox(cmd->view)));
	/* The client's separator is in URLs too. */
	for (char *c = name; *c != '\0'; c++)
		if (*c == '/')
			*c = imap_cmd_session(cmd)->separator;
	cv_buf_init(&base, SIZE_MAX / 2);
	cv_imap_url_append_mailbox(&base, cv_str_c(name));
	copy = cv_arena_str(cmd->arena, cv_buf_str(&base));
	cv_buf_deinit(&base);
	return copy;
}

static int missing(struct cv_err *err, const char *what)
{
	return cv_err_set_public(err, CV_ERR_NOTFOUND, "%s", what);
}

static int open_view(struct cv_user *user, const struct cv_imap_url *url, struct imap_part *part, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_mailbox_status status;
	struct cv_str name;
	int result;

	if (imap_utf8_name(user, part->fetch.arena, url->mailbox, &name, err) < 0)
		return -1;
	if (cv_mailbox_open(user, name, CV_RIGHT_READ, &mailbox, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? missing(err, "There is no such mailbox") : -1;
	result = cv_mailbox_get_status(mailbox, &status, err);
	/* RFC 5092 section 5: "If the IMAP URL is stale, then the program should behave as if the corresponding mailbox doesn't exist." */
	if (result >= 0 && url->uidvalidity != 0 && url->uidvalidity != status.uidvalidity)
		result = missing(err, "The mailbox was made anew: its UIDVALIDITY is another one");
	if (result >= 0)
		result = cv_view_open(mailbox, CV_VIEW_READONLY, &part->fetch.view, err);
	cv_mailbox_unref(&mailbox);
	if (result < 0)
		return -1;
	part->fetch.seq = cv_view_seq(part->fetch.view, url->uid);
	if (part->fetch.seq == 0 || !cv_view_row(part->fetch.view, part->fetch.seq, &part->fetch.row))
		return missing(err, "There is no such message");
	return 0;
}

static int open_section(const struct cv_imap_url *url, struct imap_part *part, struct cv_err *err)
{
	struct fetch *fetch = &part->fetch;
	struct cv_imap_section *section = cv_new(fetch->arena, struct cv_imap_section, 1);
	uint64_t offset;

	if (cv_imap_url_section(fetch->arena, url, section, err) < 0)
		return -1;
	fetch->what = (struct cv_imap_fetch){ .sections = section, .section_count = 1 };
	if (fetch_message_get(fetch, err) < 0 || fetch_section_find(fetch, section, &part->found, err) < 0)
		return -1;
	switch (part->found.kind) {
	case FETCH_NIL:
		(void)missing(err, "The message has no such part");
		return 0;
	case FETCH_TEXT:
		part->left = fetch_section_clip(section, part->found.text.len, &part->offset);
		break;
	case FETCH_RANGE:
		part->left = fetch_section_clip(section, part->found.wire_size, &offset);
		if (part->left == 0)
			break;
		fetch->wire = cv_wire_stream_new(fetch->reader, part->found.offset, part->found.size, part->found.wire_size);
		if (cv_wire_stream_seek(fetch->wire, offset, err) < 0)
			return -1;
		break;
	}
	part->size = part->left;
	return 1;
}

int imap_part_open(struct cv_user *user, const struct cv_imap_url *url, struct imap_part **part_r, struct cv_err *err)
{
	struct imap_part *part = cv_new0(struct imap_part);
	int result;

	part->fetch.arena = cv_arena_new("imap url", NULL, 0);
	result = open_view(user, url, part, err);
	if (result >= 0)
		result = open_section(url, part, err);
	if (result <= 0)
		imap_part_close(&part);
	*part_r = part;
	return result;
}

uint64_t imap_part_size(const struct imap_part *part)
{
	return part->size;
}

int imap_part_read(struct imap_part *part, size_t max, struct cv_str *octets_r, struct cv_err *err)
{
	struct fetch *fetch = &part->fetch;
	size_t want = (size_t)CV_MIN((uint64_t)max, part->left);
	int result;

	if (part->left == 0)
		return 0;
	if (part->found.kind == FETCH_TEXT) {
		*octets_r = cv_str_sub(cv_buf_str(&part->found.text), (size_t)part->offset, want);
		part->offset += want;
		part->left -= want;
		return 1;
	}
	result = cv_wire_stream_read(fetch->wire, want, octets_r, err);
	if (result == 0)
		return cv_err_set(err, CV_ERR_CORRUPT, "message %u ended in the middle of a section", fetch->row.uid);
	if (result > 0)
		part->left -= octets_r->len;
	return result;
}

void imap_part_close(struct imap_part **part)
{
	struct fetch *fetch;

	if (*part == NULL)
		return;
	fetch = &(*part)->fetch;
	fetch_found_free(&(*part)->found);
	fetch_message_close(fetch);
	if (fetch->view != NULL)
		cv_view_close(&fetch->view);
	cv_arena_free(&fetch->arena);
	cv_free(*part);
	*part = NULL;
}
