/* SPDX-License-Identifier: MIT
   What filters decide about a delivery, between filter.c and deliver.c. */
#ifndef CV_STORE_FILTER_H
#define CV_STORE_FILTER_H

#include "core/store/store-private.h"
#include <culver/filter.h>

struct cv_filter_file {
	struct cv_str mailbox;       /* canonical */
	bool create;
	uint16_t flags;
	struct cv_str *keywords;
	size_t keyword_count;
};
struct cv_filter_sent {
	struct cv_str from, to, octets;
	void *held;                  /* the service's */
};
/* All of it is in arena. */
struct cv_filter_run {
	struct cv_arena *arena;
	struct cv_user *user;
	struct cv_delivery *delivery;
	struct cv_message *message;  /* NULL: not asked for */
	struct cv_filter_file files[CV_FILTER_ACTIONS_MAX];
	size_t file_count;
	struct cv_filter_sent sent[CV_FILTER_ACTIONS_MAX];
	size_t sent_count;
	size_t held_count, released_count; /* of sent: the first so many are with the service; and went out of its hold, or were given up */
	const char *reject;          /* NULL: it is not */
};

/* 1 with *run_r when a filter has decided, 0 when none has, -1. */
CV_MUST_CHECK int cv_filters_run(struct cv_user *user, struct cv_delivery *delivery, struct cv_filter_run **run_r, struct cv_err *err);
/* Cancels what is held. */
void cv_filter_run_free(struct cv_filter_run **run);
/* Before the commit; after it is durable; instead of that. */
CV_MUST_CHECK int cv_filter_hold(struct cv_filter_run *run, struct cv_err *err);
CV_MUST_CHECK int cv_filter_release(struct cv_filter_run *run, struct cv_err *err);
void cv_filter_cancel(struct cv_filter_run *run);

#endif
