/* SPDX-License-Identifier: MIT
   Search in the texts of parts: in their octets where these tell, else decoded and mapped, as they stream by. */
#include <config.h>

#include "core/message/search-private.h"

#define SLICE 8192
#define SCREEN_SLICE ((size_t)256 * 1024)

static unsigned body_place(const struct cv_search_key *key)
{
	return key->where == CV_SEARCH_BODY ? CV_FUZZY_BEST : 80;
}

void cv_search_body_stop(struct cv_search *s)
{
	if (s->decoding)
		cv_text_decoder_deinit(&s->decoder);
	s->decoding = false;
}

static void search_text(struct cv_search *s, struct cv_search_window *w, struct cv_str utf8)
{
	size_t before = w->mapped.len;

	if (utf8.len == 0)
		return;
	cv_casemap_valid(&w->mapped, utf8, s->casemap);
	if (s->tap != NULL) {
		const struct cv_search_piece piece = { .where = CV_SEARCH_BODY, .text = cv_buf_str(&w->mapped), .stream = w == &s->text,
			.first = !w->begun };

		w->begun = true;
		s->tap(s->tap_ctx, &piece);
		cv_buf_clear(&w->mapped);
		return;
	}
	for (size_t i = 0; i < s->keys.count && s->open > 0; i++) {
		struct cv_search_key *key = &s->keys.data[i];

		if (key->found || key->where == CV_SEARCH_HEADER)
			continue;
		/* The words of markup are none of the text's. */
		if (key->fuzzy != NULL && (w == &s->text) == s->html)
			cv_fuzzy_feed(key->fuzzy, cv_str_sub(cv_buf_str(&w->mapped), before, SIZE_MAX), body_place(key));
		if (cv_search_holds(&w->mapped, key))
			cv_search_note_match(s, key, body_place(key));
	}
	if (w->mapped.len >= s->longest)
		cv_buf_consume(&w->mapped, w->mapped.len - (s->longest > 0 ? s->longest - 1 : 0));
}

static void search_decoded(struct cv_search *s)
{
	search_text(s, &s->raw, cv_buf_str(&s->utf8));
	if (s->html) {
		cv_buf_clear(&s->stripped);
		cv_html_text_feed(&s->markup, cv_buf_str(&s->utf8), &s->stripped);
		search_text(s, &s->text, cv_buf_str(&s->stripped));
	}
	cv_buf_clear(&s->utf8);
}

static bool has_text(const struct cv_mime_part *part)
{
	return part->kind == CV_MIME_LEAF && (cv_mime_part_is(part, "text", NULL) || cv_mime_part_is(part, "message", NULL));
}

static bool all_have_screens(const struct cv_search *s)
{
	for (size_t i = 0; i < s->keys.count; i++)
		if (!s->keys.data[i].found && s->keys.data[i].where != CV_SEARCH_HEADER && s->keys.data[i].screen == NULL)
			return false;
	return s->tap == NULL;
}

static void begin_text(struct cv_search *s)
{
	const struct cv_mime_part *part = s->part;

	cv_search_body_stop(s);
	s->pos = part->body_offset;
	s->end = part->body_offset + part->body_size;
	s->html = cv_mime_part_is(part, "text", "html");
	cv_text_decoder_init(&s->decoder, part->encoding, cv_params_raw(&part->params, CV_STR("charset")));
	s->decoding = true;
	cv_html_text_init(&s->markup);
	cv_buf_clear(&s->utf8);
	cv_buf_clear(&s->raw.mapped);
	cv_buf_clear(&s->text.mapped);
	s->raw.begun = s->text.begun = false;
	cv_buf_clear(&s->plain.octets);
	cv_buf_clear(&s->visible.octets);
	s->plain.asked = s->visible.asked = 0;
	s->phase = CV_SEARCHING_BODY;
}

void cv_search_body_begin(struct cv_search *s)
{
	if (!has_text(s->part)) {
		s->phase = CV_SEARCHING_NEXT;
		return;
	}
	begin_text(s);
	s->screening = all_have_screens(s) && cv_screen_takes(s->decoder.charset);
}

static void end_body(struct cv_search *s)
{
	cv_text_decoder_finish(&s->decoder, &s->utf8);
	search_decoded(s);
	if (s->html) {
		cv_buf_clear(&s->stripped);
		cv_html_text_finish(&s->markup, &s->stripped);
		search_text(s, &s->text, cv_buf_str(&s->stripped));
	}
	for (size_t i = 0; i < s->keys.count; i++)
		if (s->keys.data[i].fuzzy != NULL)
			cv_fuzzy_end(s->keys.data[i].fuzzy, body_place(&s->keys.data[i]));
	cv_search_body_stop(s);
	s->phase = CV_SEARCHING_NEXT;
}

/* ---- bodies, before they are mapped ---- */

/* Look for keys in text from from on; last: nothing follows. Returns how far it was done; SIZE_MAX: only mapped text tells. sure: what is found is. */
static size_t ask_screens(struct cv_search *s, struct cv_charset *charset, struct cv_str text, size_t from, bool last, bool sure)
{
	size_t to = last ? text.len : CV_MAX(text.len - CV_MIN(text.len, s->margin), from);

	for (size_t i = 0; i < s->keys.count && s->open > 0; i++) {
		struct cv_search_key *key = &s->keys.data[i];

		if (key->found || key->where == CV_SEARCH_HEADER)
			continue;
		switch (cv_screen_ask(key->screen, charset, text, from, to)) {
		case CV_SCREEN_NO:
			break;
		case CV_SCREEN_YES:
			if (!sure)
				return SIZE_MAX;
			cv_search_set_found(s, key);
			break;
		case CV_SCREEN_UNKNOWN:
			return SIZE_MAX;
		}
	}
	return to;
}

static void drop_asked(struct cv_search *s, struct cv_search_unmapped *u)
{
	size_t drop = u->asked - CV_MIN(u->asked, s->margin);

	cv_buf_consume(&u->octets, drop);
	u->asked -= drop;
}

/* The same of HTML without its markup; text: what follows what was given before. What is found is looked for in mapped text again: markup may have stood
   between octets that are no character without it. */
static bool screen_visible(struct cv_search *s, struct cv_str text, bool last)
{
	struct cv_buf *visible = &s->visible.octets;

	if (cv_charset_high(s->decoder.charset) != NULL) {
		cv_buf_clear(&s->utf8);
		cv_charset_feed(s->decoder.charset, text, &s->utf8);
		text = cv_buf_str(&s->utf8);
	}
	cv_html_text_feed(&s->markup, text, visible);
	if (last)
		cv_html_text_finish(&s->markup, visible);
	s->visible.asked = ask_screens(s, s->utf8_charset, cv_buf_str(visible), s->visible.asked, last, false);
	if (s->visible.asked == SIZE_MAX)
		return false;
	drop_asked(s, &s->visible);
	return true;
}

/* text: all of the part that is still needed, of which the octets from fresh on have come now. False: only mapped text tells. */
static bool screen_text(struct cv_search *s, struct cv_str text, size_t fresh, bool last)
{
	struct cv_str more = cv_str_sub(text, fresh, SIZE_MAX);

	if (cv_charset_is_guessed(s->decoder.charset) && !cv_str_is_ascii(more))
		return false;
	s->plain.asked = ask_screens(s, s->decoder.charset, text, s->plain.asked, last, true);
	if (s->plain.asked == SIZE_MAX)
		return false;
	return !s->html || s->open == 0 || screen_visible(s, more, last);
}

/* Before it is even decoded: may one of the keys be in a part? */
static bool may_hold(struct cv_search *s, struct cv_str text)
{
	enum cv_transfer transfer = s->decoder.transfer.transfer;
	struct cv_screen_raw raw = { .text = text, .quoted_printable = transfer == CV_TRANSFER_QP, .html = s->html };

	if (transfer == CV_TRANSFER_BASE64 || transfer == CV_TRANSFER_UUENCODE || (!raw.quoted_printable && !raw.html))
		return true;
	for (size_t i = 0; i < s->keys.count; i++) {
		const struct cv_search_key *key = &s->keys.data[i];

		if (!key->found && key->where != CV_SEARCH_HEADER && cv_screen_may_hold(key->screen, s->decoder.charset, &raw))
			return true;
	}
	return false;
}

static int step_screening(struct cv_search *s, uint64_t *used, struct cv_err *err)
{
	struct cv_transfer_decoder *transfer = &s->decoder.transfer;
	bool decoded = transfer->transfer != CV_TRANSFER_IDENTITY && transfer->transfer != CV_TRANSFER_UNKNOWN;
	struct cv_buf *octets = &s->plain.octets;
	struct cv_str view = CV_STR("");
	size_t fresh = octets->len;
	bool first = s->pos == s->part->body_offset, last;
	int result = 0;

	if (s->pos < s->end)
		result = cv_message_reader_get(s->reader, s->pos, (size_t)CV_MIN(s->end - s->pos, (uint64_t)SCREEN_SLICE), &view, err);
	if (result < 0)
		return -1;
	s->pos += view.len;
	*used += view.len;
	last = result == 0 || s->pos == s->end;
	if (first && last && !may_hold(s, view)) {
		cv_search_body_stop(s);
		s->phase = CV_SEARCHING_NEXT;
		return 1;
	}
	if (decoded || !first || !last) {
		cv_transfer_decode(transfer, view, octets);
		if (last)
			cv_transfer_decode_finish(transfer, octets);
		view = cv_buf_str(octets);
	}
	if (!screen_text(s, view, fresh, last)) {
		begin_text(s);
		s->screening = false;
	} else if (last) {
		cv_search_body_stop(s);
		s->phase = CV_SEARCHING_NEXT;
	} else {
		drop_asked(s, &s->plain);
	}
	return 1;
}

int cv_search_body_step(struct cv_search *s, uint64_t *used, struct cv_err *err)
{
	struct cv_str view;
	int result = 0;

	if (s->screening)
		return step_screening(s, used, err);
	if (s->pos < s->end)
		result = cv_message_reader_get(
			s->reader, s->pos, (size_t)CV_MIN(s->end - s->pos, (uint64_t)SLICE), &view, err);
	if (result < 0)
		return -1;
	if (result == 0) {
		end_body(s);
		return 1;
	}
	s->pos += view.len;
	*used += view.len * (1 + s->fuzzy_words);
	cv_text_decoder_feed(&s->decoder, view, &s->utf8);
	search_decoded(s);
	return 1;
}
