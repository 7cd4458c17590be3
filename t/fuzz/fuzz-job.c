/* SPDX-License-Identifier: MIT
   Jobs that fronts give to a worker by a channel of their own (core/proc/worker-front.c), and what LMTP's say: fronts send any octets, are answered in any order and go
   away at any time. Each job is answered once to the front that gave it, under its number, or its front is gone. */
#include <config.h>

#include "core/proc/login-private.h"
#include "core/proc/worker-front.h"
#include "modules/lib/lmtp/lmtp.h"
#include "t/fuzz/fuzz.h"

#include <culver/ipc.h>
#include <culver/log.h>
#include <culver/reader.h>

#include <string.h>
#include <unistd.h>

#define FRONTS 4

struct front {
	struct cv_ipc *ipc;
	uint64_t next_id;
	size_t given, answered; /* well-formed jobs */
	bool asked_end;
};

static struct {
	struct cv_loop *loop;
	struct cv_session_host host;
	struct worker_fronts fronts;
	struct front front[FRONTS];
	CV_VEC(struct cv_job *) waiting;
} the_worker;

static void on_front_closed(void *ctx, struct cv_ipc *ipc)
{
	struct front *front = ctx;

	(void)ipc;
	cv_ipc_free(&front->ipc);
}

static int on_reply(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct cv_err err;
	struct cv_str data;

	(void)ipc;
	fuzz_check(cv_msg_take_err(&msg->payload, &err) && cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &data) && cv_reader_end(&msg->payload));
	fuzz_check(msg->id >= 1 && msg->id < front->next_id);
	front->answered++;
	return 0;
}

static int on_end(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;

	(void)ipc;
	fuzz_check(!front->asked_end && cv_reader_end(&msg->payload));
	front->asked_end = true;
	return 0;
}

static const struct cv_ipc_type front_table[] = {
	{ CV_MSG_DIRECT_REPLY, "DIRECT_REPLY", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 0, 0, on_reply },
	{ CV_MSG_DIRECT_END, "DIRECT_END", 0, 0, 0, 0, on_end },
};

/* What LMTP takes of a payload is written and read the same, and no longer than it may be. */
static void check_payload(struct cv_str payload)
{
	struct cv_lmtp_job job, again;
	struct cv_err verdict;
	struct cv_buf out;

	cv_buf_init(&out, SIZE_MAX / 2);
	if (cv_lmtp_job_take(payload, &job)) {
		fuzz_check(job.header.len <= CV_LMTP_HEADER_MAX && job.octets.len <= CV_LMTP_OCTETS_MAX);
		cv_lmtp_job_put(&job, &out);
		fuzz_check(cv_lmtp_job_take(cv_buf_str(&out), &again));
		fuzz_check(again.kind == job.kind && again.size == job.size && cv_str_eq(again.recipient, job.recipient) && cv_str_eq(again.octets, job.octets));
	}
	cv_buf_clear(&out);
	if (cv_lmtp_verdict_take(payload, &verdict)) {
		struct cv_lmtp_reply reply = cv_lmtp_reply_for(&verdict, false);

		fuzz_check(verdict.code == CV_ERR_NONE || ((reply.code / 100 == 4 || reply.code / 100 == 5) && reply.enhanced != NULL && reply.text != NULL));
	}
	cv_buf_deinit(&out);
}

static int begin_job(struct cv_job *job, struct cv_err *err)
{
	struct cv_str payload = cv_job_payload(job);

	fuzz_check(payload.len <= CV_LOGIN_PAYLOAD_MAX && the_worker.host.job_count <= CV_WORKER_JOBS_MAX);
	check_payload(payload);
	if (payload.len % 5 == 4)
		return cv_err_set(err, CV_ERR_TEMP, "not now");
	*cv_vec_push(&the_worker.waiting) = job;
	return 0;
}

static const struct cv_session_protocol protocol = { .name = "fuzz", .job = begin_job };

static void on_job_reply(struct cv_session_host *host, uint64_t id, const struct cv_err *err, struct cv_str data, int memfd)
{
	(void)host;
	fuzz_check(memfd < 0 && (id & WORKER_FRONT_JOB) != 0);
	worker_fronts_reply(&the_worker.fronts, id, err, data);
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static void host_ended(struct cv_session_host *host)
{
	(void)host;
}

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		(void)cv_loop_once(the_worker.loop, 0);
}

static void connect_front(struct front *front)
{
	int fds[2];

	if (front->ipc != NULL)
		return;
	cv_ipc_pair(fds);
	*front = (struct front){ .next_id = 1 };
	front->ipc = cv_ipc_new(the_worker.loop, fds[0], "worker", front_table, CV_COUNT_OF(front_table), on_front_closed, front);
	worker_fronts_add(&the_worker.fronts, &protocol, fds[1]);
}

/* Well formed: one job, with a memfd or without. */
static void give(struct front *front, struct cv_str payload, bool memfd)
{
	struct cv_err err = { 0 };
	int fd = memfd ? cv_memfd_from("fuzz", payload, &err) : -1;
	struct cv_buf out;

	cv_buf_init(&out, CV_LOGIN_PAYLOAD_MAX + 1024);
	cv_put_str(&out, CV_STR("session"));
	cv_put_str(&out, CV_STR("192.0.2.1"));
	cv_put_str(&out, payload);
	if (cv_ipc_send(front->ipc, CV_MSG_DIRECT_JOB, front->next_id, cv_buf_str(&out), fd >= 0 ? &fd : NULL, fd >= 0) >= 0) {
		front->next_id++;
		front->given++;
	}
	cv_buf_deinit(&out);
	if (fd >= 0)
		(void)close(fd);
}

/* Any octets, and perhaps a descriptor that is no memfd. */
static void give_octets(struct front *front, struct cv_str octets, uint16_t type, bool fd)
{
	int any = cv_ipc_fd(front->ipc);

	if (cv_ipc_send(front->ipc, type, front->next_id, octets, fd ? &any : NULL, fd) >= 0)
		front->next_id++;
}

static void answer(size_t which, struct cv_str data)
{
	struct cv_job *job;

	if (the_worker.waiting.count == 0)
		return;
	which %= the_worker.waiting.count;
	job = the_worker.waiting.data[which];
	the_worker.waiting.data[which] = the_worker.waiting.data[--the_worker.waiting.count];
	cv_job_reply(job, NULL, data);
}

static void step(uint8_t what, uint8_t which, struct cv_str data)
{
	struct front *front = &the_worker.front[which % FRONTS];

	connect_front(front);
	switch (what % 8) {
	case 0:
	case 1:
		give(front, data, what % 8 == 1);
		break;
	case 2:
	case 3:
		give_octets(front, data, which < 250 ? CV_MSG_DIRECT_JOB : CV_MSG_DIRECT_REPLY, what % 8 == 3);
		break;
	case 4:
	case 5:
		answer(which, data);
		break;
	case 6:
		cv_loop_fake_advance(the_worker.loop, (uint64_t)which * 1000);
		break;
	default:
		if (which < 192)
			cv_ipc_free(&front->ipc);
		else
			(void)worker_fronts_ask_end(&the_worker.fronts);
		break;
	}
	turn();
}

/* Input: of each step two octets, what and which, one with the length of its data in four octets, and so many. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };
	struct cv_reader r = cv_reader_init(cv_str_mem(data, size));
	uint8_t what, which, len;
	struct cv_str octets;

	(void)cv_log_open(&quiet, NULL);
	memset(&the_worker, 0, sizeof(the_worker));
	the_worker.loop = cv_loop_new(CV_LOOP_FAKE);
	the_worker.host.loop = the_worker.loop;
	the_worker.host.user_name = "tim";
	the_worker.host.job_reply = on_job_reply;
	the_worker.host.ended = host_ended;
	cv_session_host_init(&the_worker.host);
	the_worker.fronts.begins = the_worker.fronts.all_gone = nothing;
	worker_fronts_init(&the_worker.fronts, &the_worker.host);
	while (cv_take_u8(&r, &what) && cv_take_u8(&r, &which) && cv_take_u8(&r, &len)) {
		if (!cv_take_len(&r, (size_t)len * 4, &octets))
			octets = cv_reader_rest(&r), r.pos = r.s.len;
		step(what, which, octets);
	}
	while (the_worker.waiting.count > 0)
		answer(0, CV_STR(""));
	turn();
	for (size_t i = 0; i < FRONTS; i++) {
		struct front *front = &the_worker.front[i];

		fuzz_check(front->ipc == NULL || front->answered >= front->given);
		cv_ipc_free(&front->ipc);
	}
	turn();
	fuzz_check(the_worker.host.job_count == 0 && the_worker.fronts.count == 0);
	worker_fronts_deinit(&the_worker.fronts);
	cv_session_host_deinit(&the_worker.host);
	cv_vec_free(&the_worker.waiting);
	cv_loop_free(&the_worker.loop);
	return 0;
}
