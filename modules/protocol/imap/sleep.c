/* SPDX-License-Identifier: MIT
   Sessions that sleep: all that a session is, in a few octets, and a session from them that goes on as if nothing had been. */
#include <config.h>

#include "metadata.h"
#include "notify.h"
#include "push.h"
#include "urlauth.h"

#include <culver/base.h>
#include <culver/reader.h>

#define BLOB_VERSION 1u
#define TAG_MAX 1024u

enum saved_bit {
	SAVED_IDLE = 1,
	SAVED_SELECTED = 2,
	SAVED_CONDSTORE = 4,
	SAVED_REV2 = 8,
	SAVED_UTF8 = 16,
	SAVED_UIDONLY = 32,
	SAVED_QRESYNC = 64,
	SAVED_MODSEQ_HELD = 128,
	SAVED_RIGHTS_CHANGED = 256,
	SAVED_URLAUTH_CHANGED = 512,
	SAVED_EXAMINED = 1024,
	SAVED_DEFLATED = 2048,
	SAVED_ALL = 4095
};

/* ---- Falling asleep --------------------------------------------------------------------------------- */

/* Searches that are kept up to date, NOTIFY, ENABLE METADATA and SELECT (ANNOTATE) are told of what happens while it happens, and nothing of them is written: they stay awake. So do
   clients that may still ask for messages which are gone: what is known of those goes with this process. */
static bool can_sleep(const struct imap_session *s)
{
	return (s->state == IMAP_STATE_AUTHENTICATED || s->state == IMAP_STATE_SELECTED) && (s->state == IMAP_STATE_SELECTED) == (s->view != NULL) &&
		!s->in_line && s->events.count == 0 && s->metadata == NULL && s->notify == NULL && s->untold.count == 0 && s->fetch_first.count == 0 &&
		s->fetch_new.count == 0 && s->push == NULL && s->contexts == NULL && !s->annotate && (s->view == NULL || !cv_view_expunged(s->view));
}

static uint32_t saved_bits(const struct imap_session *s)
{
	const struct {
		bool is;
		enum saved_bit bit;
	} bits[] = {
		{ s->cmd != NULL, SAVED_IDLE },
		{ s->view != NULL, SAVED_SELECTED },
		{ s->condstore, SAVED_CONDSTORE },
		{ s->rev2, SAVED_REV2 },
		{ s->utf8, SAVED_UTF8 },
		{ s->uidonly, SAVED_UIDONLY },
		{ s->qresync, SAVED_QRESYNC },
		{ s->modseq_held, SAVED_MODSEQ_HELD },
		{ s->rights_changed, SAVED_RIGHTS_CHANGED },
		{ s->urlauth_changed, SAVED_URLAUTH_CHANGED },
		{ s->examined, SAVED_EXAMINED },
		{ cv_stream_deflated(s->stream), SAVED_DEFLATED },
	};
	uint32_t all = 0;

	for (size_t i = 0; i < CV_COUNT_OF(bits); i++)
		all |= bits[i].is ? (uint32_t)bits[i].bit : 0;
	return all;
}

/* Whether the selected mailbox's key was made anew can be told by it, and the key itself does not leave this process. */
static uint32_t urlauth_sum(const struct imap_session *s)
{
	uint8_t key[IMAP_URLAUTH_KEY];
	uint32_t sum = 0;

	if (s->set->imap_urlauth && imap_urlauth_key(s->user, cv_view_mailbox(s->view), key) == 1)
		sum = cv_crc32c(0, key, sizeof(key));
	cv_wipe(key, sizeof(key));
	return sum;
}

static void put_stats(struct cv_buf *out, const struct imap_stats *stats)
{
	const uint64_t values[] = { stats->deleted, stats->expunged, stats->appended, stats->header_count, stats->header_size, stats->body_count,
		stats->body_size };

	for (size_t i = 0; i < CV_COUNT_OF(values); i++)
		cv_put_varint(out, values[i]);
}

static void put_ranges(struct cv_buf *out, const struct cv_ranges *set)
{
	cv_put_varint(out, set->count);
	for (size_t i = 0; i < set->count; i++) {
		cv_put_varint(out, set->data[i].first);
		cv_put_varint(out, set->data[i].last);
	}
}

static void put_selected(struct cv_buf *out, const struct imap_session *s)
{
	cv_view_save(s->view, out);
	cv_put_varint(out, s->recent_told);
	cv_put_varint(out, s->keywords_told);
	cv_put_u32(out, s->rights);
	cv_put_u32(out, urlauth_sum(s));
	put_ranges(out, &s->saved);
}

static void put_text(const struct imap_session *s, struct cv_buf *out, const char *status, const char *code, const char *text)
{
	struct cv_buf line;

	cv_buf_init(&line, CV_SLEEP_TEXT_MAX);
	imap_write_reply(&line, s->language, (struct cv_str){ NULL, 0 }, status, code, text);
	if (cv_stream_deflated(s->stream))
		cv_deflate_alone(out, cv_buf_str(&line));
	else
		cv_buf_append(out, cv_buf_str(&line));
	cv_buf_deinit(&line);
}

static void put_texts(struct imap_session *s, struct cv_session_sleep *sleep)
{
	struct cv_buf *texts = &s->sleep_texts;
	size_t len;

	cv_buf_clear(texts);
	put_text(s, texts, "OK", NULL, IMAP_STILL_HERE);
	len = texts->len;
	put_text(s, texts, "BYE", "UNAVAILABLE", "Server is shutting down");
	if (sleep->keepalive_ms > 0)
		sleep->keepalive = cv_str_sub(cv_buf_str(texts), 0, len);
	sleep->goodbye = cv_str_sub(cv_buf_str(texts), len, SIZE_MAX);
}

bool imap_sleep(void *state, struct cv_session_sleep *sleep)
{
	struct imap_session *s = state;
	struct cv_buf *out = sleep->blob;

	if (!can_sleep(s) || (s->cmd == NULL && !cv_imap_parser_idle(s->parser)))
		return false;
	if (s->cmd != NULL && (s->cmd->pub.command != &imap_cmd_idle || !imap_idle_waits(s->cmd, &sleep->keepalive_in_ms)))
		return false;
	cv_put_u8(out, BLOB_VERSION);
	cv_put_u32(out, saved_bits(s));
	cv_put_u8(out, (uint8_t)s->language);
	cv_put_varint(out, s->bad_in_a_row);
	put_stats(out, &s->stats);
	sleep->deflated = cv_stream_deflated(s->stream);
	if (sleep->deflated && !cv_stream_save_deflate(s->stream, out))
		return false;
	if (s->cmd != NULL) {
		cv_put_str(out, s->cmd->pub.tag);
		sleep->keepalive_ms = s->set->imap_idle_notify_interval;
	}
	if (s->view != NULL)
		put_selected(out, s);
	/* Outside of IDLE nobody waits for what other programs bring: the next command looks. */
	if (s->view != NULL && s->cmd != NULL && cv_mailbox_changes_outside(cv_view_mailbox(s->view)))
		sleep->wake_in_ms = s->set->mailbox_idle_check_interval;
	put_texts(s, sleep);
	return cv_buf_ok(out);
}

/* ---- Waking ------------------------------------------------------------------------------------------ */

static bool take_stats(struct cv_reader *in, struct imap_stats *stats)
{
	uint64_t *const values[] = { &stats->deleted, &stats->expunged, &stats->appended, &stats->header_count, &stats->header_size, &stats->body_count,
		&stats->body_size };

	for (size_t i = 0; i < CV_COUNT_OF(values); i++)
		if (!cv_take_varint(in, values[i]))
			return false;
	return true;
}

static bool take_ranges(struct cv_reader *in, struct cv_ranges *set)
{
	uint64_t count, first, last;

	if (!cv_take_varint(in, &count) || count > cv_reader_left(in))
		return false;
	for (; count > 0; count--) {
		if (!cv_take_varint(in, &first) || !cv_take_varint(in, &last) || first == 0 || first > last || last > UINT32_MAX)
			return false;
		cv_ranges_add(set, (uint32_t)first, (uint32_t)last);
	}
	return true;
}

static void apply_bits(struct imap_session *s, uint32_t bits)
{
	s->condstore = (bits & SAVED_CONDSTORE) != 0;
	s->rev2 = (bits & SAVED_REV2) != 0;
	s->utf8 = (bits & SAVED_UTF8) != 0;
	s->utf8_names = s->rev2 || s->utf8;
	s->uidonly = (bits & SAVED_UIDONLY) != 0;
	s->qresync = (bits & SAVED_QRESYNC) != 0;
	s->modseq_held = (bits & SAVED_MODSEQ_HELD) != 0;
	if (s->utf8_names)
		cv_imap_parser_set_utf8(s->parser);
}

/* 1; 0 the mailbox is gone; -1. */
static int take_selected(struct imap_session *s, struct cv_reader *in, uint32_t bits, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_view *view;
	uint64_t recent, keywords;
	uint32_t rights, sum;
	int result = cv_view_restore(s->user, in, &view, err);

	if (result <= 0)
		return result;
	/* The session has a reference beside the view's, as after SELECT. */
	if (cv_mailbox_get_guid(s->user, cv_mailbox_guid(cv_view_mailbox(view)), &mailbox, err) < 0) {
		cv_view_close(&view);
		return -1;
	}
	imap_select(s, view);
	if (!cv_take_varint(in, &recent) || recent > UINT32_MAX || !cv_take_varint(in, &keywords) || !cv_take_u32(in, &rights) || !cv_take_u32(in, &sum) ||
		!take_ranges(in, &s->saved) || !cv_reader_end(in))
		return cv_err_set(err, CV_ERR_INTERNAL, "what was kept of the selected mailbox does not check");
	s->recent_told = (uint32_t)recent;
	s->keywords_told = (size_t)keywords;
	s->rights = rights;
	s->rights_changed = (bits & SAVED_RIGHTS_CHANGED) != 0;
	s->examined = (bits & SAVED_EXAMINED) != 0;
	s->urlauth_changed = (bits & SAVED_URLAUTH_CHANGED) != 0 || (s->set->imap_urlauth && urlauth_sum(s) != sum);
	cv_session_set_state(s->session, "selected");
	return 1;
}

/* As take_selected; *tag_r absent: there was no IDLE. */
static int take_blob(struct imap_session *s, struct cv_str blob, struct cv_str *tag_r, struct cv_err *err)
{
	struct cv_reader in = cv_reader_init(blob);
	uint8_t version, language = 0;
	uint32_t bits = 0;
	uint64_t bad = 0;

	bool good = cv_take_u8(&in, &version) && version == BLOB_VERSION && cv_take_u32(&in, &bits) && (bits & ~(uint32_t)SAVED_ALL) == 0 &&
		cv_take_u8(&in, &language) && language < CV_IMAP_LANGUAGES && cv_take_varint(&in, &bad) && bad < UINT32_MAX && take_stats(&in, &s->stats);
	if (good && (bits & SAVED_DEFLATED) != 0)
		good = cv_stream_restore_deflate(s->stream, (unsigned)s->set->imap_compress_deflate_level, (unsigned)s->set->imap_compress_deflate_window, &in) > 0;
	if (good && (bits & SAVED_IDLE) != 0)
		good = cv_take_str(&in, TAG_MAX, tag_r) && cv_imap_is_word(*tag_r, CV_IMAP_ASTRING_CHAR);
	if (!good || ((bits & SAVED_SELECTED) == 0 && !cv_reader_end(&in)))
		return cv_err_set(err, CV_ERR_INTERNAL, "what was kept of it does not check, or is of another version");
	apply_bits(s, bits);
	s->language = language;
	s->bad_in_a_row = (unsigned)bad;
	return (bits & SAVED_SELECTED) != 0 ? take_selected(s, &in, bits, err) : 1;
}

static void *give_up(struct imap_session *s, struct cv_session *session)
{
	imap_write_reply(cv_stream_out(cv_session_stream(session)), s != NULL ? s->language : CV_IMAP_I_DEFAULT, (struct cv_str){ NULL, 0 }, "BYE", "UNAVAILABLE",
		"Session cannot go on");
	if (s != NULL)
		imap_session_end(s);
	return NULL;
}

void *imap_wake(struct cv_session *session, const struct cv_session_wake *wake, struct cv_err *err)
{
	struct imap_session *s = imap_session_new(session, err);
	struct cv_str tag = { 0 };
	int result;

	if (s == NULL)
		return give_up(s, session);
	result = take_blob(s, wake->blob, &tag, err);
	if (result < 0)
		return give_up(s, session);
	if (result == 0)
		imap_bye(s, NULL, "Selected mailbox was deleted", "Selected mailbox was deleted");
	else if (tag.ptr != NULL)
		imap_idle_go_on(s, tag, wake->keepalive_in_ms);
	return s;
}
