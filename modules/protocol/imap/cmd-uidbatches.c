/* SPDX-License-Identifier: MIT
   UIDBATCHES (RFC 10022): the selected mailbox as ranges of UIDs with so many messages each, the newest first. A batch costs two looks into the view, however
   many messages it has, and batches that are not asked for cost nothing. */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-quote.h"

#include <culver/reader.h>

#define BATCH_MIN 500u /* section 3.1.3.2 */

struct uidbatches {
	uint32_t size, messages;
	struct cv_range left; /* batches to tell; first above last: none */
	bool wrote;
};

/* ---- Arguments --------------------------------------------------------------------------------------- */

static bool take_nz(struct cv_reader *in, uint32_t *n_r)
{
	return cv_peek(in) != '0' && cv_parse_u32(in, UINT32_MAX, n_r);
}

static bool parse_size(const struct cv_imap_arg *arg, uint32_t *size_r)
{
	struct cv_reader in;
	struct cv_str s;

	if (!cv_imap_arg_atom(arg, &s))
		return false;
	in = cv_reader_init(s);
	return take_nz(&in, size_r) && cv_reader_end(&in);
}

/* nz-number ":" nz-number, in whatever order */
static bool parse_range(const struct cv_imap_arg *arg, struct cv_range *range_r)
{
	struct cv_reader in;
	struct cv_str s;

	if (!cv_imap_arg_atom(arg, &s))
		return false;
	in = cv_reader_init(s);
	return take_nz(&in, &range_r->first) && cv_take_char(&in, ':') && take_nz(&in, &range_r->last) && cv_reader_end(&in);
}

/* message-batches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]; without a range all batches are meant. */
static bool parse(const struct cv_imap_arg *arg, uint32_t *size_r, struct cv_range *range_r)
{
	*range_r = (struct cv_range){ 1, UINT32_MAX };
	if (!parse_size(arg, size_r))
		return false;
	return arg->next == NULL || (parse_range(arg->next, range_r) && arg->next->next == NULL);
}

/* ---- What was told already --------------------------------------------------------------------------- */

void imap_batches_forget(struct imap_session *s)
{
	cv_ranges_free(&s->batches.told);
	s->batches = (struct imap_batches){ 0 };
}

/* The highest UID that the view has or the client was told of. */
static uint32_t newest_uid(const struct imap_session *s)
{
	uint32_t messages = cv_view_count(s->view), last = messages > 0 ? cv_view_uid(s->view, messages) : 0;

	return CV_MAX(s->newest_uid, last);
}

/* Section 3.1.1: batches may be asked for again when "more than N/2 messages have been expunged", or "N/2 or more new messages have been added". The new ones
   are counted by their UIDs, which are never fewer. */
static bool is_outdated(const struct imap_session *s)
{
	const struct imap_batches *then = &s->batches;
	uint32_t newest = newest_uid(s);
	uint32_t remain = cv_view_seq_from(s->view, then->newest) - (cv_view_seq(s->view, then->newest) == 0 ? 1u : 0u);
	uint32_t came = newest > then->newest ? newest - then->newest : 0;

	return (uint64_t)(then->messages - remain) * 2 > then->size || (uint64_t)came * 2 >= then->size;
}

/* All batches of the range were told, and the mailbox has hardly changed since: the client "MUST NOT resend UIDBATCHES". One that is told twice beside others is
   not meant: section 3.1.5 has clients ask for ranges that overlap. */
static bool was_told(const struct imap_session *s, const struct cv_range *range)
{
	const struct cv_ranges *told = &s->batches.told;

	for (size_t i = 0; i < told->count; i++)
		if (told->data[i].first <= range->first && range->last <= told->data[i].last)
			return true;
	return false;
}

static void note_told(struct imap_session *s, uint32_t size, const struct cv_range *range)
{
	struct imap_batches *batches = &s->batches;

	if (batches->size == 0) {
		batches->size = size;
		batches->messages = cv_view_count(s->view);
		batches->newest = newest_uid(s);
	}
	cv_ranges_add(&batches->told, range->first, range->last);
}

/* ---- The command ------------------------------------------------------------------------------------- */

static uint32_t batches_of(uint32_t messages, uint32_t size)
{
	return messages / size + (messages % size != 0 ? 1u : 0u);
}

/* uid-range, both ends of it UIDs of messages. That of the oldest batch ends with 1, which "makes it unambiguous to the client that this range is in fact the
   last" (section 3.1.4). */
static void write_batch(struct cv_buf *out, const struct cv_view *view, const struct uidbatches *batches)
{
	uint32_t high = batches->messages - (batches->left.first - 1) * batches->size;
	uint32_t low = high > batches->size ? cv_view_uid(view, high - batches->size + 1) : 1;

	cv_buf_printf(out, "%c%u:%u", batches->wrote ? ',' : ' ', cv_view_uid(view, high), low);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct uidbatches *batches = cmd->data;

	for (; batches->left.first <= batches->left.last; batches->left.first++) {
		if (imap_room(cmd) == 0)
			return CV_IMAP_STEP;
		write_batch(imap_out(cmd), cmd->view, batches);
		batches->wrote = true;
	}
	cv_buf_append_c(imap_out(cmd), "\r\n");
	imap_cmd_session(cmd)->in_line = false;
	return imap_ok(cmd, NULL, "Uidbatches completed");
}

/* uidbatches-response = "UIDBATCHES" search-correlator [SP uid-range *("," uid-range)] */
static enum cv_imap_result tell(struct cv_imap_cmd *cmd, uint32_t size, const struct cv_range *range)
{
	struct uidbatches *batches = cv_new(cmd->arena, struct uidbatches, 1);
	struct cv_buf *out = imap_out(cmd);

	*batches = (struct uidbatches){ .size = size, .messages = cv_view_count(cmd->view), .left = *range };
	cmd->data = batches;
	cv_buf_append_c(out, "* UIDBATCHES (TAG ");
	cv_imap_append_string(out, cmd->tag);
	cv_buf_append_char(out, ')');
	imap_cmd_session(cmd)->in_line = true;
	return step(cmd);
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_range range;
	uint32_t size;

	if (!parse(cmd->args, &size, &range))
		return imap_bad(cmd, "UIDBATCHES takes a number of messages, and a range of batches");
	if (range.first > range.last)
		return imap_bad_code(cmd, "CLIENTBUG", "The lower number of a range of batches comes first");
	if (size < BATCH_MIN)
		return imap_no(cmd, "TOOFEW", "A batch has at least 500 messages");
	range.last = CV_MIN(range.last, batches_of(cv_view_count(s->view), size));
	if (range.first > range.last)
		return tell(cmd, size, &range);
	if (s->batches.size != size || is_outdated(s))
		imap_batches_forget(s);
	if (was_told(s, &range))
		return imap_no(cmd, "LIMIT", "These batches were told, and few messages came or went since");
	note_told(s, size, &range);
	return tell(cmd, size, &range);
}

const struct cv_imap_command imap_cmd_uidbatches = {
	.verb = "UIDBATCHES",
	.opts = CV_IMAP_SELECTED,
	.run = run,
	.step = step,
};
