/* SPDX-License-Identifier: MIT
   The LMTP dialogue: any octets give well-formed replies, the same ones however they are cut, and a job only for what was accepted. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"
#include "t/fuzz/fuzz.h"
#include "t/lib/fake-login.h"

extern const struct cv_module lmtp_login_LTX_cv_module;

static const struct cv_lmtp_settings settings = {
	.hostname = "mx.example",
	.recipient_delimiter = "+",
	.lmtp_max_recipients = 5,
	.message_size_limit = 2000,
	.lmtp_add_received_header = true,
	.lmtp_hdr_delivery_address = CV_LMTP_ADDRESS_FINAL,
};

struct transcript {
	struct cv_buf replies, jobs;
	size_t job_count;
};

/* Users whose name begins with a vowel are unknown, with z: temporary trouble. */
static enum cv_auth_result lookup_result(struct cv_str user)
{
	char c = user.len > 0 ? cv_lower(user.ptr[0]) : 'a';

	if (c == 'z')
		return CV_AUTH_TEMP;
	return strchr("aeiou", c) != NULL ? CV_AUTH_NOUSER : CV_AUTH_OK;
}

/* Of users with b the worker does not answer, with c nonsense, with d it refuses. */
static void answer_recipient(struct cv_login *login, size_t index, struct cv_str recipient)
{
	char c = cv_lower(recipient.ptr[0]);
	struct cv_err verdict = { 0 };
	struct cv_buf data;

	fuzz_check(login->worker_hooks && login->jobs.data[index].within_ms > 0 && login->jobs.data[index].octets.ptr == NULL);
	cv_buf_init(&data, 4096);
	if (c == 'd')
		cv_err_set_public(&verdict, CV_ERR_NOQUOTA, "Full");
	cv_lmtp_verdict_put(&verdict, &data);
	if (c == 'b')
		fake_login_job_answer(login, index, CV_ERR_TEMP, NULL);
	else
		fake_login_job_answer_data(login, index, c == 'c' ? recipient : cv_buf_str(&data));
	cv_buf_deinit(&data);
}

static void answer(struct cv_login *login, struct transcript *t)
{
	struct cv_lmtp_job job;

	for (size_t i = 0; i < login->lookups.count && !login->closed; i++) {
		if (!login->lookups.data[i].answered)
			fake_login_lookup_answer(login, i, lookup_result(login->lookups.data[i].user));
	}
	for (; t->job_count < login->jobs.count && !login->closed; t->job_count++) {
		fuzz_check(cv_lmtp_job_take(login->jobs.data[t->job_count].payload, &job));
		fuzz_check(cv_str_is_ascii(job.header) && cv_str_is_ascii(job.recipient) && job.recipient.len > 0);
		if (job.kind == CV_LMTP_JOB_RECIPIENT) {
			answer_recipient(login, t->job_count, job.recipient);
			continue;
		}
		cv_buf_append(&t->jobs, job.recipient);
		cv_buf_append_char(&t->jobs, '\0');
		fuzz_check((job.octets.ptr != NULL) != (login->jobs.data[t->job_count].octets.ptr != NULL));
		cv_buf_append(&t->jobs, job.octets.ptr != NULL ? job.octets : login->jobs.data[t->job_count].octets);
		fake_login_job_answer(login, t->job_count, t->job_count % 3 == 2 ? CV_ERR_TEMP : CV_ERR_NONE, NULL);
	}
}

/* Until nothing changes any more. */
static void settle(struct cv_login *login, struct transcript *t)
{
	size_t before;

	do {
		before = t->replies.len + t->job_count + login->lookups.count;
		answer(login, t);
		cv_buf_append(&t->replies, fake_login_output(login));
		if (!login->closed) {
			cv_stream_want_input(login->stream);
			fake_login_run(login);
		}
		cv_buf_append(&t->replies, fake_login_output(login));
	} while (t->replies.len + t->job_count + login->lookups.count != before);
}

static void run(struct cv_str input, size_t chunk, bool hooks, struct transcript *t)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&lmtp_login_LTX_cv_module));

	cv_buf_init(&t->replies, 1 << 24);
	cv_buf_init(&t->jobs, 1 << 24);
	t->job_count = 0;
	login->worker_hooks = hooks;
	fake_login_set_conf(login, &cv_lmtp_settings_table, &settings);
	fake_login_start(login);
	fake_login_push(login, CV_STR("LHLO fuzz\r\n"));
	for (size_t pos = 0; pos < input.len && !login->closed; pos += chunk) {
		fake_login_push(login, cv_str_sub(input, pos, chunk));
		settle(login, t);
	}
	settle(login, t);
	fake_login_free(&login);
}

/* Reply lines: code, space or hyphen, printable text, CRLF. */
static void check_replies(struct cv_str replies)
{
	while (replies.len > 0) {
		size_t end = cv_str_find_str(replies, CV_STR("\r\n"));

		fuzz_check(end != SIZE_MAX && end >= 4);
		fuzz_check(cv_is_digit(replies.ptr[0]) && cv_is_digit(replies.ptr[1]) && cv_is_digit(replies.ptr[2]));
		fuzz_check(replies.ptr[3] == ' ' || replies.ptr[3] == '-');
		for (size_t i = 0; i < end; i++)
			fuzz_check(replies.ptr[i] >= ' ' && replies.ptr[i] <= '~');
		replies = cv_str_sub(replies, end + 2, SIZE_MAX);
	}
}

static void check_dialogue(struct cv_str input, bool hooks)
{
	struct transcript whole, cut;

	run(input, SIZE_MAX / 2, hooks, &whole);
	run(input, 1, hooks, &cut);
	check_replies(cv_buf_str(&whole.replies));
	fuzz_check(cv_str_eq(cv_buf_str(&whole.replies), cv_buf_str(&cut.replies)));
	fuzz_check(cv_str_eq(cv_buf_str(&whole.jobs), cv_buf_str(&cut.jobs)));
	cv_buf_deinit(&whole.replies);
	cv_buf_deinit(&whole.jobs);
	cv_buf_deinit(&cut.replies);
	cv_buf_deinit(&cut.jobs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };

	if (size > 20000)
		return 0;
	(void)cv_log_open(&quiet, NULL);
	check_dialogue(cv_str_mem(data, size), false);
	check_dialogue(cv_str_mem(data, size), true);
	return 0;
}
