/* SPDX-License-Identifier: MIT
   Random programs of changes to a user's mail with a model beside the store: what power cuts and failing disks are tried on. */
#ifndef CV_CRASH_PROGRAM_H
#define CV_CRASH_PROGRAM_H

#include "t/crash/disk.h"
#include "t/crash/seen.h"
#include <culver/buf.h>
#include <culver/loop.h>
#include <culver/mailbox.h>
#include <culver/map.h>
#include <culver/settings.h>

#include <limits.h>

#define BOXES_MAX 8
#define NAMES 7
#define ENTRIES 3
#define NOTES 3
#define KEYWORDS 3

/* The names that mailboxes may have. */
extern const char *const program_names[NAMES];
extern const char *const program_keywords[KEYWORDS];

struct message {
	uint32_t uid;
	uint16_t flags;
	unsigned keywords; /* bits */
	uint32_t crc;      /* of its octets: no two messages have the same, but for copies */
	uint32_t notes[NOTES]; /* annotations: the number that the value holds; 0: none */
};

struct box {
	bool there;
	char name[64];
	uint32_t uidvalidity;
	uint32_t annotations[ENTRIES]; /* the number that the value holds; 0: not set */
	CV_VEC(struct message) messages;
};

struct model {
	struct box boxes[BOXES_MAX];
	bool subscribed[NAMES];
	uint32_t annotations[ENTRIES]; /* of the user */
};

/* What the model was after a step, as text. */
struct state {
	char *text;
	const char *what; /* the step */
	size_t acked;     /* calls recorded when the step was acknowledged */
	bool durable;     /* must survive from then on; else (flags, mail_fsync = optimized) it may be lost until the next that is */
	bool refused;     /* the step was: what it would have made may be there after a cut, but nobody was told of it */
	struct seen *seen; /* what a client has seen of it, or NULL: nobody looked */
	bool any;         /* a mailbox that was refused may be there, and nobody knows its UIDVALIDITY: any text may be found */
};

/* A message that another program removed. */
struct removal {
	uint32_t uidvalidity, uid, crc;
	size_t state; /* the first one without it */
	size_t call;  /* that took its name away */
};

struct program {
	const char *driver;
	bool always;          /* mail_fsync = always */
	struct cv_arena *arena;
	struct cv_conf *conf;
	char dir[PATH_MAX];
	struct cv_registry *registry;
	struct cv_loop *loop; /* what is done after the reply waits for program_rest; NULL: it is done at once */
	struct cv_user *user; /* NULL: could not be opened */
	struct disk *disk;
	struct model model;
	CV_VEC(struct state) states;
	CV_VEC(struct removal) removals;
	struct cv_map *given; /* "uidvalidity uid": UIDs of all states */
	uint32_t bodies;
	const char *what;     /* the step, for reports */
	bool closing;         /* a user is being closed: a disk that fails until the process ends is as good as a crash, which faults do not mean */
	bool recording;       /* its calls are; else no step kills the process */
	cv_file_fault_fn *fault; /* what cv_file_set_fault was given, by program_faults; and its context */
	void *fault_ctx;
	bool failed;          /* the step was refused; the model is as if it had been done, when that was possible at all */
	struct cv_err err;
};

/* The same seed gives the same program and the same cuts. */
void program_seed(uint64_t seed);
uint64_t program_random(void);
uint32_t program_below(uint32_t n);

/* Open a user for the first time, in a new directory below base, with settings of the program's own. Ends the process when that fails. */
void program_begin(struct program *p, const char *driver, struct cv_registry *registry, const char *base, bool on_loop);
void program_end(struct program *p);
/* From now on calls go through fn (cv_file_set_fault); NULL: no more. */
void program_faults(struct program *p, cv_file_fault_fn *fn, void *ctx);
/* One step; false when it makes nothing durable by itself. p->failed is set when it was refused. */
bool program_step(struct program *p);
/* For steps: a mailbox of the model; a new one; one in the store, NULL when that is refused; octets that no other message has. */
struct box *program_any_box(struct program *p, bool with_messages);
struct box *program_add_box(struct model *model, const char *name, uint32_t uidvalidity);
struct cv_mailbox *program_mailbox(struct program *p, const struct box *box);
void program_make_body(struct program *p, struct cv_buf *out);
/* Close and open; a step, and part of others. */
void program_restart(struct program *p);
/* A step of another program (outside.c), of which the store has taken notice then. Nothing is made durable by it but what the other program did. */
void program_outside(struct program *p);
/* Between two steps, on a loop: some rounds of it, or none. */
void program_rest(struct program *p);
/* The model as it is now becomes a state. looked: a client has looked at all mailboxes then. */
void program_remember(struct program *p, bool durable, bool looked);
CV_MUST_CHECK int program_open(const struct program *p, const char *dir, struct cv_user **user_r, struct cv_err *err);

void model_copy(struct model *to, const struct model *from);
void model_free(struct model *model);
void model_text(struct model *model, struct cv_buf *out);
/* The same of a store; octets of all messages are read. -1 with err when something cannot be read. */
CV_MUST_CHECK int store_text(struct cv_user *user, struct cv_buf *out, struct cv_err *err);
/* The text of the model and of the open store are the same, or the process ends. */
void program_check_live(struct program *p);
CV_NORETURN void program_stop(const struct program *p, const char *what, const struct cv_err *err);

/* What the command lines share: -n COUNT, -s SEED, -t DIR, -v (the log goes to standard error). */
#define PROGRAM_OPTIONS "n:s:t:v"
struct run {
	const char *role;   /* the program's name */
	uint64_t count, seed;
	const char *base;   /* where directories are made */
	bool verbose;
	const char *driver; /* from program_start on */
	struct cv_registry *registry;
};
/* Defaults; seed is of the clock. */
void program_defaults(struct run *run, const char *role, uint64_t count);
/* One option as getopt gave it: false when it is none of these or makes no sense. */
bool program_option(struct run *run, int opt);
/* Log, modules, and the line that tells the seed. Ends the process when that fails. */
void program_start(struct run *run);

/* A new directory below base; and away with one. */
void make_dir(char dir[PATH_MAX], const char *base);
void remove_tree(const char *dir);
#endif
