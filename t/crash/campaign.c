/* SPDX-License-Identifier: MIT
   Power cuts: random programs of changes with a model beside them; at many points of each the power fails, and what a file system may leave is opened.
   What was acknowledged must be there once, what was not is whole or absent, octets are unharmed, UIDs are never given twice, what a
   client with a cache (CONDSTORE, QRESYNC) does not hear of has not changed, and the next delivery works. Some processes are killed: the next one goes on with what
   the system had and the disk may not have, before the power fails.

   usage: campaign-DRIVER [-n CUTS] [-s SEED] [-p CUTS-PER-PROGRAM] [-t DIR] [-v] [-k] [-2] [-f]
   Prints a line for each failure with the program's seed (-s SEED -n CUTS-PER-PROGRAM brings it again), and the counts. -k keeps the
   tree of the first one. -2 lets the power fail again while a quarter of the trees is opened. -f lets syncs of files fail in half of the programs: what
   they were to make durable is lost with the power, though later syncs succeed. */
#include <config.h>

#include "t/crash/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STEPS 40
#define CUTS_PER_PROGRAM 60

static bool second_cuts;   /* -2 */
static bool failing_syncs; /* -f */

/* Syncs that fail: after `after` good ones so many as `count`. */
struct fault {
	uint32_t after, count;
	uint64_t fired;
};

static int on_call(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct fault *fault = ctx;

	(void)name;
	(void)len;
	if (op != CV_FILE_SYNC || fault->count == 0)
		return 0;
	if (fault->after > 0) {
		fault->after--;
		return 0;
	}
	fault->count--;
	fault->fired++;
	return EIO;
}

/* A step that was refused is whole until the power fails, or absent; and either after that, until another one is acknowledged. */
static void refused(struct program *p, const struct model *before)
{
	struct cv_err err = { 0 };
	struct cv_buf done, found;
	bool create = strcmp(p->what, "create") == 0;

	if (p->user == NULL && program_open(p, p->dir, &p->user, &err) < 0)
		program_stop(p, "the user does not open when the disk works again", &err);
	program_remember(p, false, false);
	p->states.data[p->states.count - 1].refused = true;
	p->states.data[p->states.count - 1].any = create;
	cv_buf_init(&done, SIZE_MAX);
	cv_buf_init(&found, SIZE_MAX);
	if (store_text(p->user, &found, &err) < 0)
		program_stop(p, "reading after a refusal", &err);
	model_text(&p->model, &done);
	if (strcmp(done.data, found.data) != 0)
		model_copy(&p->model, before);
	cv_buf_deinit(&done);
	cv_buf_deinit(&found);
	program_remember(p, false, false);
}

/* After a kill: is what was refused, and could not be cut off the journal, there again? Then nobody knows what else is. */
static bool refused_is_back(struct program *p)
{
	bool refusals = false, back;
	struct cv_err err = { 0 };
	struct cv_buf want, found;

	for (size_t i = 0; i < p->states.count; i++)
		refusals = p->states.data[i].refused || (refusals && !p->states.data[i].durable);
	if (!refusals)
		return false;
	cv_buf_init(&want, SIZE_MAX);
	cv_buf_init(&found, SIZE_MAX);
	if (store_text(p->user, &found, &err) < 0)
		program_stop(p, "reading after a kill", &err);
	model_text(&p->model, &want);
	back = strcmp(want.data, found.data) != 0;
	cv_buf_deinit(&want);
	cv_buf_deinit(&found);
	return back;
}

static void run_program(struct program *p)
{
	bool faulty = failing_syncs && program_below(2) == 0, lost_track = false;
	struct fault fault = { 0 };
	struct model before_step = { 0 };

	if (faulty)
		program_faults(p, on_call, &fault);
	for (int i = 0; i < STEPS; i++) {
		size_t before = disk_calls(p->disk);
		bool durable;

		fault = (struct fault){ 0 };
		if (faulty && program_below(3) == 0)
			fault = (struct fault){ .after = program_below(5), .count = 1 + program_below(2) };
		model_copy(&before_step, &p->model);
		durable = program_step(p);
		fault.count = 0;
		if (p->failed && fault.fired == 0)
			program_stop(p, "a step was refused", &p->err);
		if (p->failed) {
			refused(p, &before_step);
		} else if (faulty && strcmp(p->what, "kill") == 0 && refused_is_back(p)) {
			program_remember(p, false, false);
			p->states.data[p->states.count - 1].any = lost_track = true;
			break;
		} else { /* A step that did nothing makes nothing durable. */
			program_remember(p, durable && fault.fired == 0 && disk_calls(p->disk) > before, p->loop == NULL || program_below(2) == 0);
		}
		/* Reading makes files that are owed. */
		if (p->loop == NULL || program_below(4) == 0)
			program_check_live(p);
		program_rest(p);
	}
	p->what = "close";
	cv_user_close(&p->user);
	program_remember(p, true, false);
	p->states.data[p->states.count - 1].any = lost_track;
	program_faults(p, NULL, NULL);
	model_free(&before_step);
}

struct verdict {
	bool ok;
	struct cv_buf text; /* why not */
};

static void refuse(struct verdict *v, const char *fmt, ...) CV_PRINTF(2, 3);
static void refuse(struct verdict *v, const char *fmt, ...)
{
	va_list ap;

	v->ok = false;
	va_start(ap, fmt);
	cv_buf_vprintf(&v->text, fmt, ap);
	va_end(ap);
	cv_buf_append_char(&v->text, '\n');
}

/* Is the line a message that another program removed before the state, and whose file is back? It had a name in new before the server gave it one in cur, the disk had the
   first one still, and the other program synced the directory of the newer one only. It comes as any file that is new in the Maildir, with a UID of its own. */
static bool has_returned(const struct program *p, size_t at, size_t state, uint32_t uidvalidity, const char *line, bool *taken)
{
	unsigned uid, crc;
	int len = 0;

	if (sscanf(line, "  %u flags 0 keywords 0 octets %x notes 0 0 0%n", &uid, &crc, &len) != 2 || line[len] != '\n')
		return false;
	for (size_t i = 0; i < p->removals.count; i++) {
		const struct removal *r = &p->removals.data[i];

		if (!taken[i] && r->state <= state && r->uidvalidity == uidvalidity && r->crc == crc && r->uid < uid &&
			disk_may_return(p->disk, at, r->call, "new")) {
			taken[i] = true;
			return true;
		}
	}
	return false;
}

/* The text is that of the state, but for messages that have returned. */
static bool is_state(const struct program *p, size_t at, size_t state, const char *text)
{
	const char *want = p->states.data[state].text;
	bool *taken = cv_calloc(p->removals.count + 1, sizeof(*taken)), same = true;
	unsigned uidvalidity = 0;

	while (same && *text != '\0') {
		size_t len = strcspn(text, "\n") + 1;

		(void)sscanf(text, "mailbox %*s uidvalidity %u", &uidvalidity);
		if (strncmp(text, want, len) == 0)
			want += len;
		else
			same = has_returned(p, at, state, uidvalidity, text, taken);
		text += len;
	}
	cv_free(taken);
	return same && *want == '\0';
}

/* One of the states that the cut may have left; SIZE_MAX and a verdict when it is none. */
static size_t match(const struct program *p, size_t at, const char *text, struct verdict *v)
{
	size_t lowest = 0, highest = p->states.count - 1;

	for (size_t i = 0; i < p->states.count && p->states.data[i].acked <= at; i++) {
		if (p->states.data[i].durable)
			lowest = i;
	}
	for (size_t i = 0; i < p->states.count; i++) {
		if (p->states.data[i].acked >= at) {
			highest = i;
			break;
		}
	}
	highest = CV_MAX(lowest, highest); /* steps that did nothing have the same number of calls */
	for (size_t i = lowest; i <= highest; i++) {
		if (p->states.data[i].any || is_state(p, at, i, text))
			return i;
	}
	/* Before the first state was acknowledged, any part of what is made at first may be there. */
	if (lowest == 0)
		return 0;
	for (size_t i = 0; i < p->states.count; i++) {
		if (strcmp(text, p->states.data[i].text) == 0)
			refuse(v, "it is state %zu, but has to be one of the states %zu to %zu", i, lowest, highest);
	}
	for (size_t i = lowest > 3 ? lowest - 3 : 0; i <= highest; i++)
		refuse(v, "state %zu: %s, %s after %zu calls", i, p->states.data[i].what,
			p->states.data[i].durable ? "durable" : "may be lost", p->states.data[i].acked);
	refuse(v, "none of the states %zu to %zu\n-- found\n%s-- acknowledged\n%s-- next\n%s", lowest, highest, text,
		p->states.data[lowest].text, p->states.data[highest].text);
	return SIZE_MAX;
}

/* A client's cache of any time up to the state that survived still serves: some of these times, and the last. What survived without having been shown when
   the power failed is in no cache: it may be found again in other steps than it was made in. */
static void check_caches(const struct program *p, size_t at_call, size_t state, struct cv_user *user, struct verdict *v)
{
	size_t last = state;

	while (last > 0 && (p->states.data[last].seen == NULL || p->states.data[last].acked > at_call))
		last--;
	for (unsigned i = 0; i < 3 && v->ok; i++) {
		size_t at = i == 0 ? last : program_below((uint32_t)last + 1);
		struct cv_err err = { 0 };
		struct cv_buf why;
		int ret;

		if (p->states.data[at].seen == NULL)
			continue;
		cv_buf_init(&why, SIZE_MAX);
		ret = seen_check(p->states.data[at].seen, user, program_names, NAMES, &why, &err);
		if (ret <= 0)
			refuse(v, "a cache of state %zu (%s), when state %zu survived: %s", at, p->states.data[at].what, state, ret < 0 ? err.text : why.data);
		cv_buf_deinit(&why);
	}
}

/* What a client has seen of the mailbox before the cut, whether it survived or not: a change that comes now must have a higher one. */
static uint64_t shown_modseq(const struct program *p, size_t at, uint32_t uidvalidity)
{
	uint64_t highest = 0;

	for (size_t i = 0; i < p->states.count && p->states.data[i].acked <= at; i++) {
		if (p->states.data[i].seen != NULL)
			highest = CV_MAX(highest, seen_highest(p->states.data[i].seen, uidvalidity));
	}
	return highest;
}

/* A UID that was given before to other octets must not be given again, nor a modseq that was shown. */
static void deliver(struct program *p, size_t at, struct cv_user *user, const char *name, struct verdict *v)
{
	static const char octets[] = "Subject: the next delivery\r\n\r\nworks\r\n";
	const struct cv_save_config config = { .delivery = true };
	struct cv_mailbox *mailbox = NULL;
	struct cv_mailbox_status status;
	struct cv_txn *txn = cv_txn_begin(user);
	struct cv_err err = { 0 };
	struct cv_save *save;
	struct cv_row row;
	uint32_t uid;
	char key[32];
	int len;

	if (cv_mailbox_get(user, cv_str_c(name), &mailbox, &err) < 0 || cv_mailbox_get_status(mailbox, &status, &err) < 0 ||
		cv_save_begin(txn, mailbox, &config, &save, &err) < 0 || cv_save_write(save, cv_str_c(octets), &err) < 0 ||
		cv_save_finish(save, &err) < 0) {
		refuse(v, "delivery to %s: %s", name, err.text);
		cv_txn_rollback(&txn);
		cv_mailbox_unref(&mailbox);
		return;
	}
	uid = cv_save_uid(save);
	len = snprintf(key, sizeof(key), "%u %u", status.uidvalidity, uid);
	if (cv_map_get(p->given, cv_str_mem(key, (size_t)len)) != NULL)
		refuse(v, "delivery to %s: UID %u of UIDVALIDITY %u was given before", name, uid, status.uidvalidity);
	if (cv_txn_commit_wait(&txn, &err) < 0)
		refuse(v, "delivery to %s: %s", name, err.text);
	else if (cv_mailbox_row(mailbox, uid, &row, &err) <= 0)
		refuse(v, "delivery to %s: message %u is not there: %s", name, uid, err.text);
	else if (row.modseq <= shown_modseq(p, at, status.uidvalidity))
		refuse(v, "delivery to %s: modseq %llu was shown before", name, (unsigned long long)row.modseq);
	cv_mailbox_unref(&mailbox);
}

/* UIDs given later than the state that survived were told to clients only when they were acknowledged: acknowledged means durable, so those of the
   state that survived are all that count. */
static void forget_later(struct program *p, size_t state)
{
	cv_map_free(&p->given);
	p->given = cv_map_new();
	for (size_t i = 0; i <= state; i++) {
		const char *line = p->states.data[i].refused && i < state ? "" : p->states.data[i].text;
		unsigned uidvalidity = 0, uid, flags, words, crc;

		for (; *line != '\0'; line = strchr(line, '\n') + 1) {
			char key[32];
			int len;

			if (sscanf(line, "mailbox %*s uidvalidity %u", &uidvalidity) == 1)
				continue;
			if (sscanf(line, "  %u flags %x keywords %x octets %x", &uid, &flags, &words, &crc) != 4)
				continue;
			len = snprintf(key, sizeof(key), "%u %u", uidvalidity, uid);
			(void)cv_map_set(p->given, cv_str_mem(key, (size_t)len), (void *)(uintptr_t)(crc | 1ull << 32));
		}
	}
}

/* The power fails again, while the first cut is being recovered from or just after. */
static void check_second_cut(struct program *p, size_t at, const char *dir, const char *base, struct verdict *v)
{
	struct cv_user *user = NULL;
	struct disk *disk = disk_new(dir);
	struct cv_err err = { 0 };
	struct cv_buf before, after;
	size_t first = disk_calls(disk), second, state;
	enum disk_luck luck = (enum disk_luck)program_below(DISK_LUCKS);
	char again[PATH_MAX];
	bool opened;

	cv_buf_init(&before, SIZE_MAX);
	cv_buf_init(&after, SIZE_MAX);
	make_dir(again, base);
	disk_record(disk, true);
	opened = program_open(p, dir, &user, &err) > 0 && store_text(user, &before, &err) > 0;
	disk_record(NULL, false);
	cv_user_close(&user);
	if (opened) {
		second = first + program_below((uint32_t)(disk_calls(disk) - first) + 1);
		disk_cut(disk, second, luck, program_random(), again);
		if (program_open(p, again, &user, &err) < 0 || store_text(user, &after, &err) < 0)
			refuse(v, "after a second cut before call %zu of %zu (%s survives): %s", second, disk_calls(disk), disk_luck_name(luck),
				err.text);
		else if ((state = match(p, at, after.data, v)) != SIZE_MAX)
			check_caches(p, at, state, user, v);
		if (!v->ok)
			refuse(v, "after a second cut before call %zu of %zu, %s survives", second, disk_calls(disk), disk_luck_name(luck));
		for (size_t n = first; !v->ok && n < disk_calls(disk); n++)
			refuse(v, "  call %s", disk_call_text(disk, n));
		cv_user_close(&user);
	} else {
		refuse(v, "before a second cut: %s", err.text);
	}
	cv_buf_deinit(&before);
	cv_buf_deinit(&after);
	disk_free(&disk);
	remove_tree(again);
}

static void check_cut(struct program *p, size_t at, enum disk_luck luck, uint64_t seed, const char *base, struct verdict *v)
{
	struct cv_user *user = NULL;
	struct cv_err err = { 0 };
	struct cv_buf first, again;
	char dir[PATH_MAX];
	size_t state;

	make_dir(dir, base);
	cv_buf_init(&first, SIZE_MAX);
	cv_buf_init(&again, SIZE_MAX);
	disk_cut(p->disk, at, luck, seed, dir);
	if (second_cuts && program_below(4) == 0) {
		check_second_cut(p, at, dir, base, v);
		goto out;
	}
	if (program_open(p, dir, &user, &err) < 0) {
		refuse(v, "does not open: %s", err.text);
		goto out;
	}
	if (store_text(user, &first, &err) < 0) {
		refuse(v, "cannot be read: %s", err.text);
		goto out;
	}
	state = match(p, at, first.data, v);
	if (state == SIZE_MAX)
		goto out;
	check_caches(p, at, state, user, v);
	/* What was found stays, also when the server is stopped and started again. */
	cv_user_close(&user);
	if (program_open(p, dir, &user, &err) < 0 || store_text(user, &again, &err) < 0) {
		refuse(v, "does not open a second time: %s", err.text);
		goto out;
	}
	if (strcmp(first.data, again.data) != 0)
		refuse(v, "changed from the first opening to the second\n-- first\n%s-- second\n%s", first.data, again.data);
	check_caches(p, at, state, user, v);
	forget_later(p, state);
	for (size_t n = 0; n < NAMES && v->ok; n++) {
		struct cv_mailbox_info info;

		if (cv_mailbox_lookup(user, cv_str_c(program_names[n]), &info) == 1 && info.exists)
			deliver(p, at, user, program_names[n], v);
	}
out:
	cv_user_close(&user);
	cv_buf_deinit(&first);
	cv_buf_deinit(&again);
	remove_tree(dir);
}

struct totals {
	uint64_t programs, cuts, failed, calls;
};

/* The tree as the cut left it, to look at. */
static void keep_tree(const struct program *p, size_t at, enum disk_luck luck, uint64_t seed, const char *base)
{
	char dir[PATH_MAX];

	make_dir(dir, base);
	disk_cut(p->disk, at, luck, seed, dir);
	printf("kept: %s\n", dir);
}

static void run_cuts(struct program *p, uint64_t seed, uint64_t cuts, const char *base, bool verbose, bool keep, struct totals *totals)
{
	struct verdict v = { .ok = true };

	cv_buf_init(&v.text, SIZE_MAX);
	for (uint64_t i = 0; i < cuts; i++) {
		size_t at = program_below((uint32_t)disk_calls(p->disk) + 1);
		enum disk_luck luck = (enum disk_luck)program_below(DISK_LUCKS);
		uint64_t cut_seed = program_random();

		v.ok = true;
		cv_buf_clear(&v.text);
		check_cut(p, at, luck, cut_seed, base, &v);
		totals->cuts++;
		if (v.ok)
			continue;
		totals->failed++;
		if (keep && totals->failed == 1)
			keep_tree(p, at, luck, cut_seed, base);
		printf("FAILED program %llu, cut before call %zu of %zu, %s survives: %s", (unsigned long long)seed, at, disk_calls(p->disk),
			disk_luck_name(luck), verbose || totals->failed <= 3 ? v.text.data : "(-v tells more)\n");
		for (size_t n = 0; verbose && n < p->states.count; n++)
			printf("  state %zu: %s, %s%s, after %zu calls\n", n, p->states.data[n].what, p->states.data[n].durable ? "durable" : "may be lost",
				p->states.data[n].refused ? ", refused" : "", p->states.data[n].acked);
		for (size_t n = 0; verbose && n < at; n++) {
			const char *call = disk_call_text(p->disk, n);

			if (strstr(call, "sync that fails") != NULL)
				printf("  call %s\n", call);
		}
		for (size_t n = at - CV_MIN(at, 26); verbose && n < CV_MIN(at + 3, disk_calls(p->disk)); n++)
			printf("  call %s\n", disk_call_text(p->disk, n));
	}
	cv_buf_deinit(&v.text);
}

static int usage(void)
{
	fprintf(stderr, "usage: campaign-DRIVER [-n CUTS] [-s SEED] [-p CUTS-PER-PROGRAM] [-t DIR] [-v] [-k] [-2] [-f]\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t per_program = CUTS_PER_PROGRAM;
	struct totals totals = { 0 };
	bool keep = false;
	struct run run;
	int opt;

	program_defaults(&run, "campaign", 1000);
	while ((opt = getopt(argc, argv, "2fkp:" PROGRAM_OPTIONS)) >= 0) {
		switch (opt) {
		case 'f':
			failing_syncs = true;
			break;
		case '2':
			second_cuts = true;
			break;
		case 'k':
			keep = true;
			break;
		case 'p':
			if (!cv_str_to_u64(cv_str_c(optarg), UINT64_MAX, &per_program))
				return usage();
			break;
		default:
			if (!program_option(&run, opt))
				return usage();
			break;
		}
	}
	program_start(&run);
	for (uint64_t seed = run.seed; totals.cuts < run.count; seed++) {
		struct program p;

		program_seed(seed);
		program_begin(&p, run.driver, run.registry, run.base, true);
		run_program(&p);
		disk_record(NULL, false);
		run_cuts(&p, seed, CV_MIN(per_program, run.count - totals.cuts), run.base, run.verbose, keep, &totals);
		totals.programs++;
		totals.calls += disk_calls(p.disk);
		program_end(&p);
	}
	printf("campaign: %s: %llu programs, %llu calls, %llu cuts, %llu failed\n", run.driver, (unsigned long long)totals.programs,
		(unsigned long long)totals.calls, (unsigned long long)totals.cuts, (unsigned long long)totals.failed);
	cv_registry_free(&run.registry);
	return totals.failed == 0 ? 0 : 1;
}
