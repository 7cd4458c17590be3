/* SPDX-License-Identifier: MIT
   What an IMAP URL stands for (RFC 5092 section 6): the sections of FETCH, read piece by piece. */
#include <config.h>

#include "fetch.h"
#include "part.h"

#include "modules/lib/imap/imap-structure.h"

/* Encoded octets that are decoded at once. */
#define PIECE ((size_t)64 * 1024)
/* RFC 2045 section 2.7: longer lines are neither 7bit nor 8bit. */
#define LINE_MAX_OCTETS 998u

/* What decoded octets turned out to be. */
struct facts {
	uint64_t size, lines;
	bool nul, high, odd;  /* octets 0, above 127; lines that are too long, CR or LF alone */
	bool cr;              /* the last one was */
	size_t line;          /* octets of the line at hand */
};

struct imap_part {
	struct fetch fetch;
	const struct cv_imap_section *section;
	struct fetch_found found;
	unsigned opts;
	bool unknown;
	uint64_t size;
	uint64_t offset, left; /* of text that was composed; left also of a range */

	/* IMAP_PART_BINARY */
	enum cv_transfer encoding;
	struct cv_transfer_decoder decoder;
	bool ended;            /* nothing more to decode */
	uint64_t skip;         /* decoded octets before those that are wanted */
	struct cv_buf piece;
	size_t piece_done;
	struct facts facts;
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

/* Read from the beginning on. */
static int begin(struct imap_part *part, struct cv_err *err)
{
	struct fetch *fetch = &part->fetch;
	const struct cv_imap_section *section = part->section;
	bool decode = part->encoding != CV_TRANSFER_IDENTITY;
	uint64_t offset = 0;

	part->facts = (struct facts){ 0 };
	if (part->unknown) {
		part->left = 0;
	} else if (part->found.kind == FETCH_TEXT) {
		part->left = fetch_section_clip(section, part->found.text.len, &part->offset);
	} else if (decode) {
		part->skip = section->partial ? section->offset : 0;
		part->left = section->partial ? section->length : UINT64_MAX;
		part->ended = false;
		cv_buf_clear(&part->piece);
		part->piece_done = 0;
		cv_transfer_decoder_init(&part->decoder, part->encoding);
	} else {
		part->left = fetch_section_clip(section, part->found.wire_size, &offset);
	}
	part->size = decode ? 0 : part->left;
	if (part->left == 0 || part->found.kind == FETCH_TEXT)
		return 0;
	cv_wire_stream_free(&fetch->wire);
	fetch->wire = cv_wire_stream_new(fetch->reader, part->found.offset, part->found.size, part->found.wire_size);
	return cv_wire_stream_seek(fetch->wire, offset, err);
}

static int open_section(const struct cv_imap_url *url, struct imap_part *part, struct cv_err *err)
{
	struct fetch *fetch = &part->fetch;
	struct cv_imap_section *section = cv_new(fetch->arena, struct cv_imap_section, 1);
	const struct cv_mime_part *encoded;

	if (cv_imap_url_section(fetch->arena, url, section, err) < 0)
		return -1;
	if ((part->opts & IMAP_PART_BINARY) != 0)
		section->kind = CV_IMAP_SECTION_BINARY;
	part->section = section;
	fetch->what = (struct cv_imap_fetch){ .sections = section, .section_count = 1 };
	if ((part->opts & IMAP_PART_STRUCTURE) != 0)
		fetch->what.items = CV_IMAP_FETCH_BODYSTRUCTURE;
	if (fetch_message_get(fetch, err) < 0 || fetch_section_find(fetch, section, &part->found, err) < 0)
		return -1;
	if (part->found.kind == FETCH_NIL) {
		(void)missing(err, "The message has no such part");
		return 0;
	}
	if ((part->opts & IMAP_PART_BINARY) != 0) {
		encoded = fetch_binary_part(fetch, section);
		part->unknown = encoded != NULL && encoded->encoding == CV_TRANSFER_UNKNOWN;
		part->encoding = encoded != NULL && !part->unknown ? encoded->encoding : CV_TRANSFER_IDENTITY;
	}
	return begin(part, err) < 0 ? -1 : 1;
}

int imap_part_open(struct cv_user *user, const struct cv_imap_url *url, unsigned opts, struct imap_part **part_r, struct cv_err *err)
{
	struct imap_part *part = cv_new0(struct imap_part);
	int result;

	part->opts = opts;
	part->fetch.arena = cv_arena_new("imap url", NULL, 0);
	cv_buf_init(&part->piece, SIZE_MAX / 2);
	part->encoding = CV_TRANSFER_IDENTITY;
	result = open_view(user, url, part, err);
	if (result >= 0)
		result = open_section(url, part, err);
	if (result <= 0)
		imap_part_close(&part);
	*part_r = part;
	return result;
}

int imap_part_rewind(struct imap_part *part, struct cv_err *err)
{
	return begin(part, err);
}

bool imap_part_unknown(const struct imap_part *part)
{
	return part->unknown;
}

bool imap_part_nul(const struct imap_part *part)
{
	return part->facts.nul;
}

uint64_t imap_part_size(const struct imap_part *part)
{
	return (part->opts & IMAP_PART_BINARY) != 0 ? part->facts.size : part->size;
}

/* ---- Reading -------------------------------------------------------------------------------------------- */

static void look(struct facts *facts, struct cv_str octets)
{
	facts->size += octets.len;
	for (size_t i = 0; i < octets.len; i++) {
		char c = octets.ptr[i];

		facts->nul |= c == '\0';
		facts->high |= (unsigned char)c > 127;
		facts->odd |= (c == '\n') != facts->cr;
		facts->lines += c == '\n';
		facts->line = c == '\n' ? 0 : facts->line + 1;
		facts->cr = c == '\r';
		facts->odd |= facts->line > LINE_MAX_OCTETS + facts->cr;
	}
}

/* Something of the piece at hand, or the next one. */
static int read_decoded(struct imap_part *part, size_t want, struct cv_str *octets_r, struct cv_err *err)
{
	struct cv_str view;
	size_t skipped;
	int result;

	if (part->piece_done == part->piece.len) {
		cv_buf_clear(&part->piece);
		part->piece_done = 0;
		if (part->ended)
			return 0;
		result = cv_wire_stream_read(part->fetch.wire, PIECE, &view, err);
		if (result < 0)
			return -1;
		if (result == 0)
			cv_transfer_decode_finish(&part->decoder, &part->piece);
		else
			cv_transfer_decode(&part->decoder, view, &part->piece);
		part->ended = result == 0;
		skipped = (size_t)CV_MIN(part->skip, (uint64_t)part->piece.len);
		part->skip -= skipped;
		part->piece_done = skipped;
	}
	*octets_r = cv_str_sub(cv_buf_str(&part->piece), part->piece_done, want);
	part->piece_done += octets_r->len;
	return 1;
}

static int read_some(struct imap_part *part, size_t want, struct cv_str *octets_r, struct cv_err *err)
{
	struct fetch *fetch = &part->fetch;
	int result;

	if (part->found.kind == FETCH_TEXT) {
		*octets_r = cv_str_sub(cv_buf_str(&part->found.text), (size_t)part->offset, want);
		part->offset += want;
		return 1;
	}
	if (part->encoding != CV_TRANSFER_IDENTITY)
		return read_decoded(part, want, octets_r, err);
	result = cv_wire_stream_read(fetch->wire, want, octets_r, err);
	return result != 0 ? result : cv_err_set(err, CV_ERR_CORRUPT, "message %u ended in the middle of a section", fetch->row.uid);
}

int imap_part_read(struct imap_part *part, size_t max, struct cv_str *octets_r, struct cv_err *err)
{
	int result;

	if (part->left == 0)
		return 0;
	result = read_some(part, (size_t)CV_MIN((uint64_t)max, part->left), octets_r, err);
	if (result <= 0)
		return result;
	part->left -= octets_r->len;
	if ((part->opts & IMAP_PART_BINARY) != 0)
		look(&part->facts, *octets_r);
	return 1;
}

/* ---- Structure -------------------------------------------------------------------------------------------- */

bool imap_part_append_structure(const struct imap_part *part, struct cv_buf *out)
{
	const struct cv_imap_section *section = part->section;
	const struct cv_mime_part *mime = part->fetch.tree;
	const struct facts *facts = &part->facts;
	struct cv_mime_part decoded;

	if (section->path_len > 0)
		mime = cv_mime_part_find(part->fetch.tree, section->path, section->path_len);
	if (mime != NULL && section->path_len > 0 && section->text == CV_IMAP_SECTION_TEXT)
		mime = mime->children;
	if (mime == NULL || (section->text != CV_IMAP_SECTION_ALL && section->text != CV_IMAP_SECTION_TEXT))
		return false;
	/* "It will reflect any conversions or decoding that have taken place. In particular, this will show an identity encoding if BINARY is also requested." */
	if (part->encoding != CV_TRANSFER_IDENTITY) {
		decoded = *mime;
		decoded.encoding_name = facts->nul || facts->odd || facts->cr ? CV_STR("BINARY") : facts->high ? CV_STR("8BIT") : CV_STR("7BIT");
		decoded.body_wire_size = facts->size;
		decoded.body_lines = (uint32_t)CV_MIN(facts->lines, (uint64_t)UINT32_MAX);
		mime = &decoded;
	}
	cv_imap_append_body(out, mime, true);
	return true;
}

void imap_part_close(struct imap_part **part)
{
	struct fetch *fetch;

	if (*part == NULL)
		return;
	fetch = &(*part)->fetch;
	fetch_found_free(&(*part)->found);
	cv_buf_deinit(&(*part)->piece);
	fetch_message_close(fetch);
	if (fetch->view != NULL)
		cv_view_close(&fetch->view);
	cv_arena_free(&fetch->arena);
	cv_free(*part);
	*part = NULL;
}
