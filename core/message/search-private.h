/* SPDX-License-Identifier: MIT
   A search for texts, between the files that make it up: search.c has the keys and goes from part to part, search-header.c and search-body.c look into them. */
#ifndef CV_SEARCH_PRIVATE_H
#define CV_SEARCH_PRIVATE_H

#include "core/message/casemap-private.h"
#include "core/message/charset-private.h"
#include "core/message/fuzzy-private.h"
#include "core/message/screen-private.h"
#include "core/message/text-private.h"

#include <culver/map.h>
#include <culver/search.h>

#define CV_SEARCH_HEADER_OCTETS_MAX (1024 * 1024) /* of one header; what is beyond is not searched */

struct cv_search_key {
	enum cv_search_where where;
	struct cv_buf name;
	struct cv_buf needle; /* mapped */
	struct cv_buf octets; /* as it is */
	struct cv_fuzzy *fuzzy; /* NULL: only what is the same is found */
	struct cv_screen *screen; /* NULL: only mapped text tells */
	bool word;              /* letters and digits of ASCII alone */
	bool found;             /* and not to be found any better */
};

/* Text of one part as it streams by, mapped; the end of what was searched stays for matches across slices. */
struct cv_search_window {
	struct cv_buf mapped;
	bool begun; /* a tap was told of it */
};

/* Text of one part as it streams by, before it is mapped; what lies around the place where the next question begins stays. */
struct cv_search_unmapped {
	struct cv_buf octets;
	size_t asked; /* octets that keys were looked for in */
};

enum cv_search_phase { CV_SEARCHING_HEADER, CV_SEARCHING_BODY, CV_SEARCHING_NEXT, CV_SEARCHING_DONE };

struct cv_search {
	CV_VEC(struct cv_search_key) keys;
	size_t open;        /* keys not found yet */
	size_t longest;     /* octets of the longest needle */
	bool initials[256]; /* small letters with which names of header keys begin */
	bool needs_body;
	uint64_t fuzzy_words; /* of all keys: each costs about as much as all else */

	struct cv_message_reader *reader;
	const struct cv_mime_part *root; /* whose header is the message's */
	bool alone;                      /* no other part is looked into */
	const struct cv_mime_part *part;
	enum cv_search_phase phase;
	uint64_t pos, end;  /* of the body that is searched */
	bool decoding, html;
	struct cv_text_decoder decoder;
	struct cv_html_text markup;
	struct cv_search_window raw, text;
	struct cv_buf header, utf8, stripped;
	struct cv_buf octets; /* of a field whose charset is unknown or does not fit; empty for others */
	struct cv_casemap_cache *casemap;
	size_t margin;      /* of all screens */
	bool screening;     /* the part is looked at unmapped */
	struct cv_search_unmapped plain, visible; /* visible: HTML without its markup, in UTF-8 */
	struct cv_charset *utf8_charset;
	struct cv_arena *arena;
	cv_search_tap_fn *tap; /* NULL: keys are looked for */
	void *tap_ctx;
};

/* ---- Keys (search.c) ---- */

/* All are open again, and nothing is being decoded. */
void cv_search_reset(struct cv_search *s);

static inline void cv_search_set_found(struct cv_search *s, struct cv_search_key *key)
{
	key->found = true;
	s->open--;
}

static inline bool cv_search_holds(const struct cv_buf *mapped, const struct cv_search_key *key)
{
	return cv_str_find_str(cv_buf_str(mapped), cv_buf_str(&key->needle)) != SIZE_MAX;
}

/* The key was found as it is. Of a fuzzy one whole words count for more than a part of one, so it may still be found better. */
static inline void cv_search_note_match(struct cv_search *s, struct cv_search_key *key, unsigned place)
{
	if (key->fuzzy != NULL) {
		cv_fuzzy_phrase(key->fuzzy, place);
		if (cv_fuzzy_score(key->fuzzy) < CV_FUZZY_BEST)
			return;
	}
	cv_search_set_found(s, key);
}

/* ---- Headers (search-header.c) ---- */

/* Does a key that is still open look in this header? message: that of the message itself, not one of its parts. */
bool cv_search_header_matters(const struct cv_search *s, bool message);
/* For all keys that do. */
void cv_search_part_header(struct cv_search *s, struct cv_str header, bool message);

/* ---- Bodies (search-body.c) ---- */

/* That of the part at hand: the phase is BODY then, or NEXT where it has no text. */
void cv_search_body_begin(struct cv_search *s);
/* Some octets of it; *used grows by what they cost. 1, -1. After the last ones the phase is NEXT. */
CV_MUST_CHECK int cv_search_body_step(struct cv_search *s, uint64_t *used, struct cv_err *err);
void cv_search_body_stop(struct cv_search *s);

#endif
