/* SPDX-License-Identifier: MIT
   Sessions that wait are put to sleep, all of a worker's at once: the process ends for the sake of its memory, which one session less would not give back. */
#include "core/proc/session-private.h"

#include <unistd.h>

#define SAVED_VERSION 1u
/* Asked again after a session said no, twice as long each time. */
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 300000

void cv_session_look_in(struct cv_session_host *host, uint64_t ms)
{
	uint64_t due = cv_loop_now_ms(host->loop) + ms;

	if (host->may_sleep == NULL || (host->sleepy_due != 0 && host->sleepy_due <= due))
		return;
	host->sleepy_due = due;
	cv_timer_set(host->sleepy, ms);
}

void cv_session_set_sleep(struct cv_session *session, uint64_t after_ms)
{
	struct cv_session_host *host = session->host;

	session->sleep_ms = after_ms;
	host->sleep_pause_ms = 0;
	if (after_ms > 0)
		cv_session_look_in(host, after_ms);
}

uint64_t cv_session_bytes_in(const struct cv_session *session)
{
	return session->base_in + cv_stream_bytes_in(session->stream);
}

uint64_t cv_session_bytes_out(const struct cv_session *session)
{
	return session->base_out + cv_stream_bytes_out(session->stream);
}

/* ---- Which can ----------------------------------------------------------------------------------------------------------------- */

static bool has_asks(const struct cv_session *session)
{
	struct cv_node *node, *next;

	cv_list_foreach(&session->host->asks, node, next) {
		if (cv_container(node, struct cv_ask, node)->session == session)
			return true;
	}
	return false;
}

static bool has_data(const struct cv_session *session)
{
	for (unsigned i = 0; i < cv_slot_count(session->host->registry); i++) {
		if (session->data[i] != NULL)
			return true;
	}
	return false;
}

/* Milliseconds until it has waited long enough; UINT64_MAX: it does not want to sleep. */
static uint64_t waits_for(struct cv_session *session, uint64_t now)
{
	uint64_t out = cv_stream_bytes_out(session->stream) + cv_stream_unsent(session->stream), since, due;

	if (session->life != CV_SESSION_OPEN || session->sleep_ms == 0 || session->protocol->sleep == NULL)
		return UINT64_MAX;
	if (out != session->awake_out) {
		session->awake_out = out;
		session->awake_ms = now;
	}
	since = CV_MAX(session->awake_ms, session->input_ms);
	due = since + session->sleep_ms;
	return due > now ? due - now : 0;
}

/* Ask the protocol. Everything stays as it is until all have said yes. */
static bool can_sleep(struct cv_session *session)
{
	struct cv_session_sleep *sleep = &session->asleep;

	if (session->step_node.next != NULL || cv_stream_unsent(session->stream) > 0 || cv_stream_input(session->stream).len > 0 ||
		cv_stream_ended(session->stream) || cv_stream_error(session->stream) != NULL || has_asks(session) || has_data(session))
		return false;
	cv_buf_clear(&session->blob);
	cv_put_u8(&session->blob, SAVED_VERSION);
	cv_put_u64(&session->blob, session->started_ms);
	cv_put_u64(&session->blob, session->input_ms);
	cv_put_u64(&session->blob, cv_session_bytes_in(session));
	cv_put_u64(&session->blob, cv_session_bytes_out(session));
	*sleep = (struct cv_session_sleep){ .blob = &session->blob };
	return session->protocol->sleep(session->state, sleep) && sleep->deflated == cv_stream_deflated(session->stream) && cv_buf_ok(&session->blob) && sleep->keepalive.len <= CV_SLEEP_TEXT_MAX &&
		sleep->goodbye.len <= CV_SLEEP_TEXT_MAX;
}

/* ---- Going to sleep ------------------------------------------------------------------------------------------------------------------ */

static void fall_asleep(struct cv_session *session)
{
	struct cv_session_host *host = session->host;
	uint64_t now = cv_loop_now_ms(host->loop), due = session->input_ms + session->timeout_ms, timeout = 0;
	uint64_t octets = cv_stream_bytes_out(session->stream);
	int fd;

	if (session->timeout_ms > 0)
		timeout = due > now ? due - now : 1;
	if (session->asleep.wake_in_ms > 0)
		timeout = timeout > 0 ? CV_MIN(timeout, session->asleep.wake_in_ms) : session->asleep.wake_in_ms;
	if (session->asleep.deflated)
		cv_stream_drop_deflate(session->stream);
	fd = cv_stream_detach(session->stream);
	if (fd < 0)
		cv_session_close(session, "the connection cannot be given away");
	else if (!host->sleep(host, session, fd, octets, &session->asleep, timeout))
		cv_session_close(session, "the spawner is gone");
	else
		cv_session_remove(session, true);
}

void cv_session_look_sleepy(struct cv_session_host *host)
{
	struct cv_node *node, *next;
	uint64_t now = cv_loop_now_ms(host->loop), longest = 0;

	if (host->may_sleep == NULL || host->session_count == 0)
		return;
	cv_list_foreach(&host->sessions, node, next) {
		uint64_t ms = waits_for(cv_container(node, struct cv_session, node), now);
		if (ms == UINT64_MAX)
			return; /* it says when that changes */
		longest = CV_MAX(longest, ms);
	}
	if (longest > 0) {
		host->sleep_pause_ms = 0;
		cv_session_look_in(host, longest);
		return;
	}
	bool all = host->may_sleep(host);
	for (node = host->sessions.next; all && node != &host->sessions; node = node->next)
		all = can_sleep(cv_container(node, struct cv_session, node));
	if (!all) {
		host->sleep_pause_ms = CV_MIN(CV_MAX(host->sleep_pause_ms * 2, (uint64_t)PAUSE_MIN_MS), (uint64_t)PAUSE_MAX_MS);
		cv_session_look_in(host, host->sleep_pause_ms);
		return;
	}
	cv_list_foreach(&host->sessions, node, next)
		fall_asleep(cv_container(node, struct cv_session, node));
}

/* ---- Waking --------------------------------------------------------------------------------------------------------------------------- */

bool cv_session_take_saved(struct cv_session *session, struct cv_str saved, struct cv_session_wake *wake_r)
{
	struct cv_reader in = cv_reader_init(saved);
	uint64_t started, input, now = cv_loop_now_ms(session->host->loop);
	uint8_t version;

	if (!cv_take_u8(&in, &version) || version != SAVED_VERSION || !cv_take_u64(&in, &started) || !cv_take_u64(&in, &input) ||
		!cv_take_u64(&in, &session->base_in) || !cv_take_u64(&in, &session->base_out) || started > input || input > now)
		return false;
	session->started_ms = started;
	session->input_ms = input;
	wake_r->blob = cv_reader_rest(&in);
	return true;
}
