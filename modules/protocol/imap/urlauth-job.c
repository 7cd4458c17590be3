/* SPDX-License-Identifier: MIT
   What another user's session asks of this user's worker: what a URL stands for (RFC 4467 section 7, URLFETCH). */
#include <config.h>

#include "part.h"
#include "urlauth.h"

#include <culver/file.h>
#include <culver/ipc.h>
#include <culver/loop.h>
#include <culver/reader.h>
#include <culver/time.h>

#define CHUNK ((size_t)64 * 1024)

struct urlauth_job {
	struct cv_job *job;
	struct imap_part *part;
	struct cv_timer *timer;
	unsigned opts;
	int memfd;
};

static void end(struct urlauth_job *job)
{
	imap_part_close(&job->part);
	cv_timer_remove(&job->timer);
	if (job->memfd >= 0)
		cv_file_close(&job->memfd);
	cv_free(job);
}

static int answer(struct urlauth_job *job, struct cv_err *err)
{
	unsigned flags = (imap_part_nul(job->part) ? IMAP_URLAUTH_NUL : 0u) | (imap_part_unknown(job->part) ? IMAP_URLAUTH_UNKNOWN : 0u);
	struct cv_buf structure, head;
	int result = 0;

	cv_buf_init(&structure, IMAP_PART_STRUCTURE_MAX);
	cv_buf_init(&head, 16);
	if ((job->opts & IMAP_PART_STRUCTURE) != 0 && imap_part_append_structure(job->part, &structure)) {
		result = cv_buf_ok(&structure) ? cv_memfd_append(job->memfd, cv_buf_str(&structure), err)
					       : cv_err_set_public(err, CV_ERR_LIMIT, "Structure is too large");
	}
	if (result >= 0)
		result = cv_memfd_seal(job->memfd, err);
	if (result >= 0) {
		cv_put_u8(&head, (uint8_t)flags);
		cv_put_u64(&head, imap_part_size(job->part));
		cv_job_reply_memfd(job->job, cv_buf_str(&head), job->memfd);
	}
	cv_buf_deinit(&structure);
	cv_buf_deinit(&head);
	return result < 0 ? -1 : 0;
}

/* One slice of the copy; in between, sessions and deliveries go on. */
static void copy(void *ctx)
{
	struct urlauth_job *job = ctx;
	uint64_t start = cv_time_mono_us();
	struct cv_err err = { 0 };
	struct cv_str octets;
	int result;

	do {
		result = imap_part_read(job->part, CHUNK, &octets, &err);
		if (result > 0 && octets.len > 0)
			result = cv_memfd_append(job->memfd, octets, &err) < 0 ? -1 : 1;
	} while (result > 0 && cv_time_mono_us() - start < IMAP_SLICE_US);
	if (result > 0) {
		cv_timer_set(job->timer, 0);
		return;
	}
	if (result < 0 || answer(job, &err) < 0) {
		cv_error(cv_job_log(job->job), "%s", err.text);
		cv_job_reply(job->job, &err, CV_STR(""));
	}
	end(job);
}

static int refuse(struct cv_err *err)
{
	return cv_err_set_public(err, CV_ERR_NOTFOUND, "The URL is not valid");
}

/* 1 opened, 0 it is valid and there is no such part, -1 with a public err when it is not. */
static int open_url(struct cv_job *job, unsigned *opts_r, struct imap_part **part_r, struct cv_err *err)
{
	struct cv_reader payload = cv_reader_init(cv_job_payload(job));
	const struct imap_settings *set = cv_job_conf(job, &imap_settings_table);
	struct cv_user *user = cv_job_user(job);
	struct cv_imap_url url;
	uint8_t opts;
	bool ok;

	if (!set->imap_urlauth || !cv_take_u8(&payload, &opts) || cv_imap_url_parse(cv_job_arena(job), cv_reader_rest(&payload), cv_str_c(NULL), &url, err) < 0 ||
		url.uid == 0 || url.mechanism.ptr == NULL)
		return refuse(err);
	*opts_r = opts;
	if (imap_urlauth_verify(user, set, &url, cv_job_asker(job), &ok, err) < 0)
		return -1;
	return ok ? imap_part_open(user, &url, opts, part_r, err) : refuse(err);
}

static int run(struct cv_job *job, struct cv_err *err)
{
	struct imap_part *part = NULL;
	struct urlauth_job *own;
	unsigned opts = 0;
	int result, memfd;

	if (cv_job_asker(job).len == 0)
		return cv_err_set(err, CV_ERR_PERM, "nobody asks for the URL");
	result = open_url(job, &opts, &part, err);
	if (result < 0)
		return -1;
	if (result == 0) {
		cv_job_reply(job, NULL, CV_STR(""));
		return 0;
	}
	memfd = cv_memfd_new("url", err);
	if (memfd < 0) {
		imap_part_close(&part);
		return -1;
	}
	own = cv_new0(struct urlauth_job);
	*own = (struct urlauth_job){ .job = job, .part = part, .opts = opts, .memfd = memfd };
	own->timer = cv_timer_add(cv_user_loop(cv_job_user(job)), 0, copy, own);
	return 0;
}

const struct cv_session_protocol imap_urlauth_protocol = {
	.name = IMAP_URLAUTH_PROTOCOL,
	.job = run,
	.opts = CV_SESSION_FOR_USERS,
};
