/* SPDX-License-Identifier: MIT
   Decoding of text parts, and the preview of a message (RFC 8970). */
#include <config.h>

#include "core/message/text-private.h"

#define FEED 4096

void cv_text_decoder_init(struct cv_text_decoder *decoder, enum cv_transfer transfer, struct cv_str charset)
{
	*decoder = (struct cv_text_decoder){ 0 };
	cv_transfer_decoder_init(&decoder->transfer, transfer);
	decoder->charset = cv_charset_open(charset);
	cv_buf_init(&decoder->octets, SIZE_MAX);
}

void cv_text_decoder_deinit(struct cv_text_decoder *decoder)
{
	cv_charset_close(&decoder->charset);
	cv_buf_deinit(&decoder->octets);
}

void cv_text_decoder_feed(struct cv_text_decoder *decoder, struct cv_str in, struct cv_buf *utf8)
{
	if (decoder->transfer.transfer == CV_TRANSFER_IDENTITY || decoder->transfer.transfer == CV_TRANSFER_UNKNOWN) {
		cv_charset_feed(decoder->charset, in, utf8);
		return;
	}
	cv_buf_clear(&decoder->octets);
	cv_transfer_decode(&decoder->transfer, in, &decoder->octets);
	cv_charset_feed(decoder->charset, cv_buf_str(&decoder->octets), utf8);
}

void cv_text_decoder_finish(struct cv_text_decoder *decoder, struct cv_buf *utf8)
{
	cv_buf_clear(&decoder->octets);
	cv_transfer_decode_finish(&decoder->transfer, &decoder->octets);
	cv_charset_feed(decoder->charset, cv_buf_str(&decoder->octets), utf8);
	cv_charset_finish(decoder->charset, utf8);
}

void cv_preview_init(struct cv_preview *preview, size_t max_chars, size_t max_input)
{
	*preview = (struct cv_preview){ .max_chars = max_chars, .input_left = max_input };
	cv_buf_init(&preview->utf8, SIZE_MAX);
	cv_buf_init(&preview->text_only, SIZE_MAX);
	cv_buf_init(&preview->plain, SIZE_MAX);
	cv_buf_init(&preview->quotes, SIZE_MAX);
}

void cv_preview_deinit(struct cv_preview *preview)
{
	cv_preview_end(preview);
	cv_buf_deinit(&preview->utf8);
	cv_buf_deinit(&preview->text_only);
	cv_buf_deinit(&preview->plain);
	cv_buf_deinit(&preview->quotes);
}

bool cv_preview_wants(const struct cv_preview *preview)
{
	return !preview->active && preview->plain_chars == 0 && preview->input_left > 0 && preview->max_chars > 0;
}

void cv_preview_begin(struct cv_preview *preview, bool html, enum cv_transfer transfer, struct cv_str charset)
{
	cv_text_decoder_init(&preview->decoder, transfer, charset);
	cv_html_text_init(&preview->markup);
	preview->active = true;
	preview->html = html;
	preview->space = false;
	preview->line_start = true;
	preview->quoted = false;
}

static uint32_t character(struct cv_str s, size_t i, size_t *len_r)
{
	uint8_t c = (uint8_t)s.ptr[i];
	uint32_t code_point = c < 0x80 ? c : c < 0xE0 ? c & 0x1F : c < 0xF0 ? c & 0x0F : c & 0x07;
	size_t len = 1;

	while (i + len < s.len && ((uint8_t)s.ptr[i + len] & 0xC0) == 0x80)
		code_point = code_point << 6 | ((uint8_t)s.ptr[i + len++] & 0x3F);
	*len_r = len;
	return code_point;
}

/* What marketing mail pads its first line with, and what turns the reading direction around. */
static bool is_invisible(uint32_t c)
{
	return c == 0xAD || c == 0x34F || c == 0x61C || (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) ||
		(c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || c == 0x180E;
}

static bool is_blank(uint32_t c)
{
	return c <= 32 || c == 0x7F || (c >= 0x80 && c <= 0xA0) || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
		c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static void add_text(struct cv_preview *preview, struct cv_str s)
{
	size_t len;

	for (size_t i = 0; i < s.len && preview->plain_chars < preview->max_chars; i += len) {
		uint32_t c = character(s, i, &len);

		if (is_blank(c)) {
			preview->space = true;
			if (c == '\n') {
				preview->line_start = true;
				preview->quoted = false;
			}
			continue;
		}
		if (is_invisible(c))
			continue;
		if (preview->line_start && c == '>' && !preview->html)
			preview->quoted = true;
		if (!(preview->line_start && c == '>') || preview->html) {
			struct cv_buf *to = preview->quoted ? &preview->quotes : &preview->plain;
			size_t *chars = preview->quoted ? &preview->quote_chars : &preview->plain_chars;

			preview->line_start = false;
			if (preview->space && *chars > 0 && *chars < preview->max_chars) {
				cv_buf_append_char(to, ' ');
				++*chars;
			}
			preview->space = false;
			if (*chars < preview->max_chars) {
				cv_buf_append(to, cv_str_sub(s, i, len));
				++*chars;
			}
		}
	}
}

static void add_utf8(struct cv_preview *preview)
{
	if (preview->html) {
		cv_buf_clear(&preview->text_only);
		cv_html_text_feed(&preview->markup, cv_buf_str(&preview->utf8), &preview->text_only);
		add_text(preview, cv_buf_str(&preview->text_only));
	} else {
		add_text(preview, cv_buf_str(&preview->utf8));
	}
	cv_buf_clear(&preview->utf8);
}

void cv_preview_feed(struct cv_preview *preview, struct cv_str octets)
{
	while (preview->active && octets.len > 0 && preview->input_left > 0 &&
		preview->plain_chars < preview->max_chars) {
		struct cv_str take = cv_str_sub(octets, 0, CV_MIN(preview->input_left, (size_t)FEED));

		cv_text_decoder_feed(&preview->decoder, take, &preview->utf8);
		add_utf8(preview);
		preview->input_left -= take.len;
		octets = cv_str_sub(octets, take.len, SIZE_MAX);
	}
}

void cv_preview_end(struct cv_preview *preview)
{
	if (!preview->active)
		return;
	/* a character that our own bound has cut in two is no broken one */
	if (preview->input_left > 0) {
		cv_text_decoder_finish(&preview->decoder, &preview->utf8);
		add_utf8(preview);
		if (preview->html) {
			cv_buf_clear(&preview->text_only);
			cv_html_text_finish(&preview->markup, &preview->text_only);
			add_text(preview, cv_buf_str(&preview->text_only));
		}
	}
	cv_text_decoder_deinit(&preview->decoder);
	preview->active = false;
}

struct cv_str cv_preview_text(struct cv_preview *preview)
{
	struct cv_buf *buf = preview->plain_chars > 0 ? &preview->plain : &preview->quotes;
	struct cv_str text = cv_buf_str(buf);

	/* the last character may be a space when the bound fell behind it */
	if (cv_str_ends(text, CV_STR(" ")))
		text.len--;
	return text;
}
