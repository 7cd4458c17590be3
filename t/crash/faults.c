/* SPDX-License-Identifier: MIT
   Failing disks: random programs of changes, in which calls fail: once, for a while, or until the step is over (a disk that is full and then is not).
   A step that is refused is whole or absent and never half done, later steps work again without a restart, and what the sessions saw is there after
   one.

   usage: faults-DRIVER [-n STEPS] [-s SEED] [-t DIR] [-v]
   Prints a line for each failure with the program's seed (-s SEED -n 60 runs it again; how many calls a step makes can depend on the time that it takes),
   all steps of it with the calls that failed, and the counts. */
#include <config.h>

#include "t/crash/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STEPS 60

/* What fails: from the after-th call of the step on, `count` calls. */
struct fault {
	bool armed;
	const bool *off;
	uint32_t after, count;
	int error;
	unsigned ops;   /* bits of enum cv_file_op that can fail; 0: all that change files */
	bool partly;    /* a failed write has written something */
	uint64_t fired; /* in all */
	enum cv_file_op last;
	struct cv_buf trace; /* steps and the calls that failed in them */
};

static bool changes_files(enum cv_file_op op)
{
	switch (op) {
	case CV_FILE_OPEN:
	case CV_FILE_MKDIR:
	case CV_FILE_WRITE:
	case CV_FILE_SYNC:
	case CV_FILE_TRUNCATE:
	case CV_FILE_RENAME:
	case CV_FILE_LINK:
	case CV_FILE_UNLINK:
		return true;
	case CV_FILE_READ:
	case CV_FILE_STAT:
	case CV_FILE_MAP:
	case CV_FILE_LIST:
		return false;
	}
	return false;
}

static const char *kind_name(enum cv_file_op op)
{
	static const char *const names[] = { "open", "mkdir", "read", "write", "sync", "truncate", "rename", "link", "unlink", "stat", "map", "list" };

	return op >= CV_FILE_OPEN && op <= CV_FILE_LIST ? names[op - CV_FILE_OPEN] : "?";
}

static int on_call(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct fault *fault = ctx;

	if (!fault->armed || *fault->off || fault->count == 0 || (fault->ops != 0 ? (fault->ops & 1u << op) == 0 : !changes_files(op)))
		return 0;
	if (fault->after > 0) {
		fault->after--;
		return 0;
	}
	fault->count--;
	fault->fired++;
	fault->last = op;
	if (fault->count > UINT32_MAX - 20 || fault->count < 20)
		cv_buf_printf(&fault->trace, "  %s %s failed\n", kind_name(op), name != NULL ? name : "");
	if (op == CV_FILE_WRITE)
		*len = fault->partly ? *len / 2 : 0;
	return fault->error;
}

static void arm(struct fault *fault)
{
	static const int errors[] = { EIO, ENOSPC, EDQUOT, EROFS, EACCES, EMFILE };
	static const uint32_t counts[] = { 1, 2, 5, UINT32_MAX };

	fault->armed = true;
	fault->after = program_below(14);
	fault->count = counts[program_below(CV_COUNT_OF(counts))];
	fault->error = errors[program_below(CV_COUNT_OF(errors))];
	fault->ops = program_below(3) == 0 ? 1u << (1 + program_below(CV_FILE_LIST)) : 0;
	fault->partly = program_below(2) == 0;
}

struct totals {
	uint64_t programs, steps, refused, failed, fired;
};

static void report(struct totals *totals, uint64_t seed, int step, const struct program *p, const struct fault *fault, const char *what,
	const char *text)
{
	totals->failed++;
	printf("FAILED program %llu, step %d (%s, %s), %s, last in %s: %s\n%s\n", (unsigned long long)seed, step, p->what,
		p->failed ? p->err.text : "confirmed", strerror(fault->error), kind_name(fault->last), what, totals->failed <= 3 ? text : "");
	if (totals->failed <= 3)
		printf("-- steps\n%s\n", fault->trace.data);
}

static bool same(const struct model *model, const char *text)
{
	struct model copy = { 0 };
	struct cv_buf want;
	bool result;

	model_copy(&copy, model);
	cv_buf_init(&want, SIZE_MAX);
	model_text(&copy, &want);
	result = strcmp(want.data, text) == 0;
	cv_buf_deinit(&want);
	model_free(&copy);
	return result;
}

/* After a refused step: the store is as before, or as the step would have made it. False: neither; the program cannot go on. */
static bool settle(struct program *p, const struct model *before, const char *text)
{
	if (same(&p->model, text))
		return true;
	if (!same(before, text))
		return false;
	model_copy(&p->model, before);
	return true;
}

/* False: the program cannot go on. */
static bool check_step(struct program *p, const struct model *before, const struct fault *fault, uint64_t seed, int step, struct totals *totals)
{
	struct cv_err err = { 0 };
	struct cv_buf text;
	bool ok = true;

	cv_buf_init(&text, SIZE_MAX);
	if (p->user == NULL && program_open(p, p->dir, &p->user, &err) < 0) {
		report(totals, seed, step, p, fault, "does not open when the disk works again:", err.text);
		ok = false;
	} else if (store_text(p->user, &text, &err) < 0) {
		report(totals, seed, step, p, fault, "cannot be read:", err.text);
		ok = false;
	} else if (p->failed ? !settle(p, before, text.data) : !same(&p->model, text.data)) {
		struct cv_buf want;

		cv_buf_init(&want, SIZE_MAX);
		model_text(&p->model, &want);
		cv_buf_printf(&text, "-- model\n%s", want.data);
		report(totals, seed, step, p, fault, p->failed ? "refused, but half done" : "confirmed, but not done", text.data);
		cv_buf_deinit(&want);
		ok = false;
	}
	if (ok && p->failed && p->err.code == CV_ERR_NONE) {
		report(totals, seed, step, p, fault, "refused without a reason", "");
		ok = false;
	}
	cv_buf_deinit(&text);
	return ok;
}

static void check_end(struct program *p, const struct fault *fault, uint64_t seed, struct totals *totals)
{
	struct cv_err err = { 0 };
	struct cv_buf text;

	cv_buf_init(&text, SIZE_MAX);
	cv_user_close(&p->user);
	p->what = "end";
	if (program_open(p, p->dir, &p->user, &err) < 0 || store_text(p->user, &text, &err) < 0)
		report(totals, seed, STEPS, p, fault, "does not open after a restart:", err.text);
	else if (!same(&p->model, text.data))
		report(totals, seed, STEPS, p, fault, "is another after a restart", text.data);
	cv_buf_deinit(&text);
}

static void run_program(struct program *p, uint64_t seed, bool verbose, struct totals *totals)
{
	struct fault fault = { .off = &p->closing };
	struct model before = { 0 };
	bool ok = true;

	cv_buf_init(&fault.trace, SIZE_MAX);
	disk_record(NULL, false);
	p->recording = false;
	program_faults(p, on_call, &fault);
	for (int i = 0; i < STEPS && ok; i++) {
		model_copy(&before, &p->model);
		if (program_below(2) == 0)
			arm(&fault);
		(void)program_step(p);
		fault.armed = false;
		totals->steps++;
		totals->refused += p->failed;
		cv_buf_printf(&fault.trace, "%d: %s, %s\n", i, p->what, p->failed ? p->err.text : "confirmed");
		if (verbose)
			fprintf(stderr, "-- step %d: %s, %s\n", i, p->what, p->failed ? p->err.text : "confirmed");
		ok = check_step(p, &before, &fault, seed, i, totals);
	}
	program_faults(p, NULL, NULL);
	if (ok)
		check_end(p, &fault, seed, totals);
	cv_user_close(&p->user);
	totals->fired += fault.fired;
	cv_buf_deinit(&fault.trace);
	model_free(&before);
}

static int usage(void)
{
	fprintf(stderr, "usage: faults-DRIVER [-n STEPS] [-s SEED] [-t DIR] [-v]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct totals totals = { 0 };
	struct run run;
	int opt;

	program_defaults(&run, "faults", 2000);
	while ((opt = getopt(argc, argv, PROGRAM_OPTIONS)) >= 0) {
		if (!program_option(&run, opt))
			return usage();
	}
	program_start(&run);
	for (uint64_t seed = run.seed; totals.steps < run.count; seed++) {
		struct program p;

		program_seed(seed);
		program_begin(&p, run.driver, run.registry, run.base, false);
		run_program(&p, seed, run.verbose, &totals);
		program_end(&p);
		totals.programs++;
	}
	printf("faults: %s: %llu programs, %llu steps, %llu calls failed, %llu steps refused, %llu failed\n", run.driver,
		(unsigned long long)totals.programs, (unsigned long long)totals.steps, (unsigned long long)totals.fired,
		(unsigned long long)totals.refused, (unsigned long long)totals.failed);
	cv_registry_free(&run.registry);
	return totals.failed == 0 ? 0 : 1;
}
