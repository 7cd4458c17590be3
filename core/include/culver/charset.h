/* SPDX-License-Identifier: MIT
   Charsets to UTF-8 and content transfer encodings, both streaming and lenient. */
#ifndef CV_CHARSET_H
#define CV_CHARSET_H

#include <culver/buf.h>

/* A converter from one charset to UTF-8. Own memory; descriptors are kept in a per-process cache. */
struct cv_charset;

/* True when the charset (name or alias, without case) is known to us or to iconv. */
CV_EXPORT bool cv_charset_known(struct cv_str name);
/* Never NULL. An unknown or absent charset, "unknown-8bit" and "x-unknown", and US-ASCII with 8-bit octets in
   it are guessed: each run is taken as UTF-8 where it is well formed, its other octets as windows-1252.
   ISO-8859-1 is read as windows-1252 (as all mail programs do). "iso-8859-8-i" and "-e" are iso-8859-8,
   "unicode-1-1-utf-7" is UTF-7, "utf8" UTF-8, "gb2312" GB18030, "ks_c_5601-1987" CP949, "shift_jis" CP932 and
   more. */
CV_EXPORT struct cv_charset *cv_charset_open(struct cv_str name);
CV_EXPORT void cv_charset_close(struct cv_charset **charset);
/* Convert the next octets, cut anywhere, and append them; each invalid sequence becomes one U+FFFD. */
CV_EXPORT void cv_charset_feed(struct cv_charset *charset, struct cv_str in, struct cv_buf *out);
/* End of text: an incomplete character becomes U+FFFD; the converter is as new. */
CV_EXPORT void cv_charset_finish(struct cv_charset *charset, struct cv_buf *out);
/* All at once. */
CV_EXPORT void cv_charset_to_utf8(struct cv_str name, struct cv_str in, struct cv_buf *out);
/* Convert UTF-8 into a charset (for MODIFIED search answers and tests). False when it is unknown or has no
   such character; out may hold a part then. */
CV_EXPORT CV_MUST_CHECK bool cv_charset_from_utf8(struct cv_str name, struct cv_str utf8, struct cv_buf *out);
/* Append UTF-8 in normalisation form C (Unicode Standard Annex 15). False when it is no UTF-8: out is as it was. */
CV_EXPORT CV_MUST_CHECK bool cv_utf8_nfc(struct cv_buf *out, struct cv_str utf8);
/* Close all cached descriptors (for leak checks). */
CV_EXPORT void cv_charset_cache_clear(void);

enum cv_transfer {
	CV_TRANSFER_IDENTITY = 0, /* 7bit, 8bit, binary, and no field at all */
	CV_TRANSFER_BASE64,
	CV_TRANSFER_QP,
	CV_TRANSFER_UUENCODE, /* x-uuencode, x-uue, uuencode */
	CV_TRANSFER_UNKNOWN   /* decoded as identity; RFC 2045 section 6.4: treat the part as
	                         application/octet-stream */
};
/* value: of a Content-Transfer-Encoding field; comments and white space are ignored. */
CV_EXPORT enum cv_transfer cv_transfer_parse(struct cv_str value);

/* Decoder; caller's memory, no resources. Octets may be cut anywhere.
   Base64: octets outside the alphabet are skipped, "=" ends a group and decoding goes on behind it (several
   joined texts), missing padding is fine. Quoted-printable: "=" before anything but two hexadecimal digits or
   a line end stays as it is, white space before a line end is dropped (a run of up to 87 octets; a longer one
   is text). Uuencode: what is before "begin" and behind "end" is dropped. */
struct cv_transfer_decoder {
	enum cv_transfer transfer;
	uint32_t bits;     /* base64: bits not yet out */
	uint8_t bit_count;
	uint8_t state;
	bool invalid;      /* something had to be skipped or guessed (RFC 3516 UNKNOWN-CTE, BINARY refuses) */
	uint8_t pending_len;
	char pending[88];  /* octets whose meaning depends on what follows */
};
CV_EXPORT void cv_transfer_decoder_init(struct cv_transfer_decoder *decoder, enum cv_transfer transfer);
CV_EXPORT void cv_transfer_decode(struct cv_transfer_decoder *decoder, struct cv_str in, struct cv_buf *out);
CV_EXPORT void cv_transfer_decode_finish(struct cv_transfer_decoder *decoder, struct cv_buf *out);

/* Encoders: all at once. Base64 in lines of 76 octets with CRLF, the last too; quoted-printable for text
   (line ends CRLF or LF stay, written as CRLF) with soft line breaks at 76. */
CV_EXPORT void cv_encode_base64_lines(struct cv_buf *out, struct cv_str in);
CV_EXPORT void cv_encode_qp(struct cv_buf *out, struct cv_str in);

#endif
