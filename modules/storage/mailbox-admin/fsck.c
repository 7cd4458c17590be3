/* SPDX-License-Identifier: MIT
   culver fsck: the check of core/store, a slice in each round of the worker's loop, so that sessions and deliveries go on. */
#include <config.h>

#include "modules/storage/mailbox-admin/fsck.h"
#include <culver/fsck.h>
#include <culver/log.h>
#include <culver/time.h>

#define SLICE_MS 10
#define ALIVE_MS 10000

struct run {
	struct cv_admin *admin;
	struct cv_fsck *fsck;
	struct cv_timer *timer;
	struct cv_log_ctx log;
	bool repair, gone;
	uint64_t told_ms;     /* when the tool heard of us last */
};

static const char *result_name(enum cv_fsck_result result)
{
	switch (result) {
	case CV_FSCK_FOUND:
		return "found";
	case CV_FSCK_REPAIRED:
		return "repaired";
	case CV_FSCK_LOST:
		return "lost";
	}
	return "";
}

static void on_found(void *ctx, const struct cv_fsck_finding *finding)
{
	struct run *run = ctx;
	struct cv_admin *admin = run->admin;

	if (run->repair)
		cv_warn(&run->log, "fsck: %s%s%.*s%s %s (%s)", cv_log_clean(finding->mailbox), finding->mailbox.len > 0 ? " " : "",
			CV_STR_ARG(finding->file), finding->uid > 0 ? " (a message)" : "", finding->problem, result_name(finding->result));
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", cv_str_c(cv_user_name(cv_admin_user(admin))));
	cv_admin_put_str(admin, "mailbox", finding->mailbox);
	if (finding->uid > 0)
		cv_admin_put_u64(admin, "uid", finding->uid);
	cv_admin_put_str(admin, "file", finding->file);
	cv_admin_put_str(admin, "result", cv_str_c(result_name(finding->result)));
	cv_admin_put_str(admin, "problem", cv_str_c(finding->problem));
	cv_admin_row_end(admin);
	run->told_ms = cv_time_mono_ms();
}

static void finish(struct run *run, const struct cv_err *err)
{
	struct cv_admin *admin = run->admin;
	struct cv_fsck_counts n = cv_fsck_counts_of(run->fsck);

	cv_fsck_end(&run->fsck);
	cv_timer_remove(&run->timer);
	if (err == NULL) {
		cv_admin_say(admin, "%s: %llu mailboxes, %llu messages, %llu octets read; %llu found, %llu repaired, %llu lost",
			cv_user_name(cv_admin_user(admin)), (unsigned long long)n.mailboxes, (unsigned long long)n.messages,
			(unsigned long long)n.octets, (unsigned long long)n.found, (unsigned long long)n.repaired, (unsigned long long)n.lost);
		cv_admin_set_verdict(admin, n.found + n.lost > 0 ? 2 : n.repaired > 0 ? 1 : 0);
	}
	cv_admin_done(admin, err);
}

static void on_step(void *ctx)
{
	struct run *run = ctx;
	struct cv_err err = { 0 };
	int ret;

	if (run->gone) {
		(void)cv_err_set(&err, CV_ERR_TEMP, "nobody waits for it any more");
		finish(run, &err);
		return;
	}
	ret = cv_fsck_step(run->fsck, cv_time_mono_ms() + SLICE_MS, &err);
	if (ret != 0) {
		finish(run, ret < 0 ? &err : NULL);
		return;
	}
	if (cv_time_mono_ms() - run->told_ms > ALIVE_MS) {
		cv_admin_alive(run->admin);
		run->told_ms = cv_time_mono_ms();
	}
	cv_timer_set(run->timer, 0);
}

static void on_gone(void *ctx)
{
	struct run *run = ctx;

	run->gone = true;
}

int fsck_run(struct cv_admin *admin, struct cv_err *err)
{
	struct run *run = cv_new(cv_admin_arena(admin), struct run, 1);
	struct cv_fsck_config config = { .repair = cv_admin_flag(admin, "repair"), .accept = cv_admin_flag(admin, "accept"),
		.found = on_found, .ctx = run };

	run->admin = admin;
	run->repair = config.repair;
	run->log = (struct cv_log_ctx){ .category = "store", .user = cv_str_c(cv_user_name(cv_admin_user(admin))) };
	run->told_ms = cv_time_mono_ms();
	if (config.repair && cv_admin_flag(admin, "report"))
		return cv_err_set(err, CV_ERR_INVALID, "--report or --repair, not both");
	if (config.accept && !config.repair)
		return cv_err_set(err, CV_ERR_INVALID, "--accept goes with --repair");
	if (cv_fsck_begin(cv_admin_user(admin), &config, &run->fsck, err) < 0)
		return -1;
	cv_admin_on_gone(admin, on_gone, run);
	run->timer = cv_timer_add(cv_admin_loop(admin), 0, on_step, run);
	return 0;
}
