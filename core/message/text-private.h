/* SPDX-License-Identifier: MIT
   From a text part's octets to plain text: HTML without its markup, and the preview. */
#ifndef CV_TEXT_PRIVATE_H
#define CV_TEXT_PRIVATE_H

#include <culver/charset.h>

/* Streaming HTML to text: markup, comments, scripts, styles and titles go, entities are decoded, block elements become line
   ends. Bounded memory, any input. */
struct cv_html_text {
	int state;
	char quote;      /* of the attribute value we are in */
	bool closing;    /* "</…" */
	uint8_t name_len, entity_len, match, dashes;
	char name[12];   /* of the tag, cut; of the element whose content is skipped */
	char entity[12]; /* behind "&" */
};
void cv_html_text_init(struct cv_html_text *html);
/* utf8 holds whole characters. */
void cv_html_text_feed(struct cv_html_text *html, struct cv_str utf8, struct cv_buf *out);
void cv_html_text_finish(struct cv_html_text *html, struct cv_buf *out);

/* Octets of a text part to UTF-8: transfer encoding, charset. */
struct cv_text_decoder {
	struct cv_transfer_decoder transfer;
	struct cv_charset *charset;
	struct cv_buf octets;
};
void cv_text_decoder_init(struct cv_text_decoder *decoder, enum cv_transfer transfer, struct cv_str charset);
void cv_text_decoder_deinit(struct cv_text_decoder *decoder);
void cv_text_decoder_feed(struct cv_text_decoder *decoder, struct cv_str in, struct cv_buf *utf8);
void cv_text_decoder_finish(struct cv_text_decoder *decoder, struct cv_buf *utf8);

/* The preview: white space folded, invisible characters dropped, quoted lines (">") only when there is nothing else. */
struct cv_preview {
	size_t max_chars, input_left;
	bool active;     /* a part is being read */
	bool html;
	struct cv_text_decoder decoder;
	struct cv_html_text markup;
	struct cv_buf utf8, text_only;
	bool space, line_start, quoted;
	struct cv_buf plain, quotes;
	size_t plain_chars, quote_chars;
};
void cv_preview_init(struct cv_preview *preview, size_t max_chars, size_t max_input);
void cv_preview_deinit(struct cv_preview *preview);
/* Does it still want text? */
bool cv_preview_wants(const struct cv_preview *preview);
void cv_preview_begin(struct cv_preview *preview, bool html, enum cv_transfer transfer, struct cv_str charset);
void cv_preview_feed(struct cv_preview *preview, struct cv_str octets);
void cv_preview_end(struct cv_preview *preview);
/* Valid until deinit. */
struct cv_str cv_preview_text(struct cv_preview *preview);

#endif
