/* SPDX-License-Identifier: MIT
   Results of SEARCH and SORT on the wire: numbers, or ESEARCH data with sets (RFC 3501 section 7.2.5, RFC 4731 section 3, RFC 5182 section 2.4,
   RFC 5267 section 3.1, RFC 6203 section 4, RFC 9394 section 3). */
#include <config.h>

#include "search.h"

#include "modules/lib/imap/imap-quote.h"

/* ---- messages of a result ---------------------------------------------------------------------------- */

size_t imap_result_count(const struct imap_result *result)
{
	return result->order != NULL ? result->count : (size_t)cv_ranges_numbers(result->ranges);
}

static bool next_seq(const struct imap_result *result, struct imap_iter *iter, size_t *next, uint32_t *seq_r)
{
	if (result->order == NULL)
		return imap_iter_next(result->ranges, iter, seq_r);
	if (*next >= result->count)
		return false;
	*seq_r = result->order[(*next)++];
	return true;
}

static uint32_t first_seq(const struct imap_result *result)
{
	return result->order != NULL ? result->order[0] : result->ranges->data[0].first;
}

static uint32_t last_seq(const struct imap_result *result)
{
	return result->order != NULL ? result->order[result->count - 1] : result->ranges->data[result->ranges->count - 1].last;
}

static uint32_t number(const struct imap_result_writer *writer, uint32_t seq)
{
	return writer->uid ? cv_view_uid(writer->view, seq) : seq;
}

static uint64_t modseq_of(const struct cv_view *view, uint32_t seq)
{
	struct cv_row row;

	(void)cv_view_flags(view, seq, &row); /* of an expunged one: as last known */
	return row.modseq;
}

static uint64_t highest_modseq(const struct cv_view *view, const struct imap_result *result)
{
	struct imap_iter iter = { 0 };
	size_t next = 0;
	uint64_t modseq = 0;
	uint32_t seq;

	while (next_seq(result, &iter, &next, &seq))
		modseq = CV_MAX(modseq, modseq_of(view, seq));
	return modseq;
}

/* ---- the line ---------------------------------------------------------------------------------------- */

void imap_result_begin_plain(struct imap_result_writer *writer, struct cv_imap_cmd *cmd, const char *name, const struct imap_result *result,
	uint64_t modseq)
{
	*writer = (struct imap_result_writer){ .view = cmd->view, .uid = cmd->uid, .wanted = *result, .close = "", .end = "" };
	if (modseq > 0)
		writer->end = imap_code_printf(cmd, " (MODSEQ %llu)", (unsigned long long)modseq);
	cv_buf_printf(imap_out(cmd), "* %s", name);
	imap_cmd_session(cmd)->in_line = true;
}

/* Which messages PARTIAL means: places of the result. */
static void take_partial(struct imap_result_writer *writer, const struct cv_imap_partial *partial, const struct imap_result *result)
{
	struct imap_iter iter = { 0 };
	size_t next = 0;
	uint32_t first, last, seq;

	writer->wanted = (struct imap_result){ .ranges = &writer->partial };
	if (!cv_imap_partial_places(partial, (uint32_t)imap_result_count(result), &first, &last))
		return;
	if (result->order != NULL) {
		writer->wanted = (struct imap_result){ .order = result->order + (first - 1), .count = last - first + 1 };
		return;
	}
	for (uint32_t place = 1; place <= last && next_seq(result, &iter, &next, &seq); place++)
		if (place >= first)
			cv_ranges_add(&writer->partial, seq, seq);
}

static void add_all(struct cv_ranges *to, const struct imap_result *result)
{
	struct imap_iter iter = { 0 };
	size_t next = 0;
	uint32_t seq;

	if (result->order == NULL) {
		for (size_t i = 0; i < result->ranges->count; i++)
			cv_ranges_add(to, result->ranges->data[i].first, result->ranges->data[i].last);
		return;
	}
	while (next_seq(result, &iter, &next, &seq))
		cv_ranges_add(to, seq, seq);
}

/* The tables of RFC 5182 section 2.4 and RFC 9394 section 3.2. */
static void save(const struct imap_result_writer *writer, unsigned opts, const struct imap_result *result, struct cv_ranges *saved)
{
	if (imap_result_count(result) == 0)
		return;
	if ((opts & (CV_IMAP_RETURN_ALL | CV_IMAP_RETURN_COUNT)) != 0 ||
		(opts & (CV_IMAP_RETURN_MIN | CV_IMAP_RETURN_MAX | CV_IMAP_RETURN_PARTIAL)) == 0) {
		add_all(saved, result);
		return;
	}
	if ((opts & CV_IMAP_RETURN_PARTIAL) != 0)
		add_all(saved, &writer->wanted);
	if ((opts & CV_IMAP_RETURN_MIN) != 0)
		cv_ranges_add(saved, first_seq(result), first_seq(result));
	if ((opts & CV_IMAP_RETURN_MAX) != 0)
		cv_ranges_add(saved, last_seq(result), last_seq(result));
}

/* RFC 4731 section 3.2: of the messages that MIN and MAX name when nothing else is asked for, else "the highest mod-sequence for all messages being
   returned". */
static uint64_t result_modseq(const struct imap_result_writer *writer, unsigned opts, const struct imap_result *result)
{
	const struct cv_view *view = writer->view;
	uint64_t modseq = 0;

	if ((opts & (CV_IMAP_RETURN_ALL | CV_IMAP_RETURN_COUNT)) != 0 ||
		(opts & (CV_IMAP_RETURN_MIN | CV_IMAP_RETURN_MAX | CV_IMAP_RETURN_PARTIAL)) == 0)
		return highest_modseq(view, result);
	if ((opts & CV_IMAP_RETURN_PARTIAL) != 0)
		modseq = highest_modseq(view, &writer->wanted);
	if ((opts & CV_IMAP_RETURN_MIN) != 0)
		modseq = CV_MAX(modseq, modseq_of(view, first_seq(result)));
	if ((opts & CV_IMAP_RETURN_MAX) != 0)
		modseq = CV_MAX(modseq, modseq_of(view, last_seq(result)));
	return modseq;
}

/* "A range 500:400 is the same as 400:500": the latter is written, whichever was asked for. */
static void append_range(struct cv_buf *out, const struct cv_imap_partial *partial)
{
	const char *sign = partial->from_end ? "-" : "";

	cv_buf_printf(out, "%s%u:%s%u", sign, partial->first, sign, partial->last);
}

void imap_result_begin_esearch(struct imap_result_writer *writer, struct cv_imap_cmd *cmd, const struct cv_view *view,
	const struct imap_result_source *source, const struct cv_imap_return *ret, const struct imap_result *result, bool with_modseq,
	const struct cv_mailsearch *evaluation, struct cv_ranges *saved_r)
{
	struct cv_buf *out = imap_out(cmd);
	size_t count = imap_result_count(result);
	uint64_t modseq;

	*writer = (struct imap_result_writer){ .view = view, .uid = cmd->uid || source != NULL, .wanted = *result, .set = true, .close = "", .end = "" };
	if ((ret->opts & CV_IMAP_RETURN_PARTIAL) != 0)
		take_partial(writer, &ret->partial, result);
	if ((ret->opts & CV_IMAP_RETURN_SAVE) != 0)
		save(writer, ret->opts, result, saved_r);
	/* RFC 5182 section 1: alone, "the SAVE result option also suppresses any SEARCH response". */
	if (ret->opts == CV_IMAP_RETURN_SAVE) {
		writer->end = NULL;
		return;
	}
	cv_buf_append_c(out, "* ESEARCH (TAG ");
	cv_imap_append_string(out, cmd->tag);
	if (source != NULL) {
		cv_buf_append_c(out, " MAILBOX ");
		imap_append_mailbox(imap_cmd_session(cmd), out, source->name);
		cv_buf_printf(out, " UIDVALIDITY %u", source->uidvalidity);
	}
	cv_buf_append_c(out, writer->uid ? ") UID" : ")");
	/* RFC 4731 section 3.1: without matches MIN, MAX and ALL "MUST NOT" be there, COUNT must. */
	if ((ret->opts & CV_IMAP_RETURN_MIN) != 0 && count > 0)
		cv_buf_printf(out, " MIN %u", number(writer, first_seq(result)));
	if ((ret->opts & CV_IMAP_RETURN_MAX) != 0 && count > 0)
		cv_buf_printf(out, " MAX %u", number(writer, last_seq(result)));
	if ((ret->opts & CV_IMAP_RETURN_COUNT) != 0)
		cv_buf_printf(out, " COUNT %zu", count);
	imap_cmd_session(cmd)->in_line = true;
	modseq = with_modseq && count > 0 ? result_modseq(writer, ret->opts, result) : 0;
	if ((ret->opts & CV_IMAP_RETURN_PARTIAL) != 0) {
		cv_buf_append_c(out, " PARTIAL (");
		append_range(out, &ret->partial);
		writer->close = imap_result_count(&writer->wanted) > 0 ? ")" : " NIL)";
	} else if ((ret->opts & CV_IMAP_RETURN_ALL) != 0 && count > 0) {
		cv_buf_append_c(out, " ALL");
	} else {
		writer->wanted = (struct imap_result){ .ranges = &writer->partial };
	}
	/* Of the messages that ALL or PARTIAL names, in that order; of all that were found when there is neither. */
	if ((ret->opts & CV_IMAP_RETURN_RELEVANCY) != 0) {
		writer->scored = (ret->opts & CV_IMAP_RETURN_PARTIAL) != 0 ? writer->wanted : *result;
		if (imap_result_count(&writer->scored) > 0)
			writer->scores = evaluation;
	}
	/* Behind all else, as in RFC 7162's examples: there are clients and tests that take the items in that order. */
	if (modseq > 0)
		writer->end = imap_code_printf(cmd, " MODSEQ %llu", (unsigned long long)modseq);
}

static void end_run(struct imap_result_writer *writer, struct cv_buf *out)
{
	if (!writer->run_open)
		return;
	cv_buf_append_char(out, writer->wrote ? ',' : ' ');
	cv_buf_append_u64(out, writer->run_first);
	if (writer->run_last != writer->run_first) {
		cv_buf_append_char(out, ':');
		cv_buf_append_u64(out, writer->run_last);
	}
	writer->wrote = true;
	writer->run_open = false;
}

/* Numbers that follow each other become one range: sorted results keep their order. */
static void put(struct imap_result_writer *writer, struct cv_buf *out, uint32_t n)
{
	if (!writer->set) {
		cv_buf_append_char(out, ' ');
		cv_buf_append_u64(out, n);
		return;
	}
	if (writer->run_open && n == writer->run_last + 1) {
		writer->run_last = n;
		return;
	}
	end_run(writer, out);
	writer->run_open = true;
	writer->run_first = writer->run_last = n;
}

/* " RELEVANCY" SP score-list, between the set and what comes behind it. True when it is complete. */
static bool write_scores(struct imap_result_writer *writer, struct cv_imap_cmd *cmd)
{
	struct cv_buf *out = imap_out(cmd);
	uint32_t seq;

	while (imap_room(cmd) > 0) {
		if (!next_seq(&writer->scored, &writer->iter, &writer->next, &seq)) {
			cv_buf_append_char(out, ')');
			return true;
		}
		if (writer->wrote)
			cv_buf_append_char(out, ' ');
		cv_buf_append_u64(out, cv_mailsearch_relevancy(writer->scores, seq));
		writer->wrote = true;
	}
	return false;
}

/* The numbers, and what closes them. True when they are complete. */
static bool write_numbers(struct imap_result_writer *writer, struct cv_imap_cmd *cmd)
{
	struct cv_buf *out = imap_out(cmd);
	uint32_t seq;

	while (imap_room(cmd) > 0) {
		if (next_seq(&writer->wanted, &writer->iter, &writer->next, &seq)) {
			put(writer, out, number(writer, seq));
			continue;
		}
		end_run(writer, out);
		cv_buf_append_c(out, writer->close);
		return true;
	}
	return false;
}

bool imap_result_write(struct imap_result_writer *writer, struct cv_imap_cmd *cmd)
{
	if (writer->end == NULL)
		return true;
	if (!writer->scoring) {
		if (!write_numbers(writer, cmd))
			return false;
		writer->scoring = true;
		if (writer->scores != NULL) {
			cv_buf_append_c(imap_out(cmd), " RELEVANCY (");
			writer->iter = (struct imap_iter){ 0 };
			writer->next = 0;
			writer->wrote = false;
		}
	}
	if (writer->scores != NULL && !write_scores(writer, cmd))
		return false;
	cv_buf_append_c(imap_out(cmd), writer->end);
	cv_buf_append_c(imap_out(cmd), "\r\n");
	imap_cmd_session(cmd)->in_line = false;
	return true;
}

void imap_result_deinit(struct imap_result_writer *writer)
{
	cv_ranges_free(&writer->partial);
}
