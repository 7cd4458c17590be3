/* SPDX-License-Identifier: MIT
   Mails as people have them, made from numbers: the same number gives the same mail on every machine. */
#ifndef CV_BENCH_CORPUS_H
#define CV_BENCH_CORPUS_H

#include <stddef.h>

/* One message with CRLF line ends. */
struct corpus_message {
	char *octets;
	size_t len;
};

/* The word that searches look for; it is in the subject of each 50th message and in the text of each 40th, in whatever encoding that is. */
#define CORPUS_WORD "quartz"

/* Message number n: plain text of several charsets and encodings, multipart/alternative, lists, forwarded mails, attachments; some hundred octets
   to 300 KB, about 18 KB on the average, half of them below 6 KB. size > 0: text with a small attachment of that many octets in all, for figures
   that shall not depend on the sizes. */
struct corpus_message corpus_make(unsigned n, size_t size);
void corpus_free(struct corpus_message *message);

#endif
