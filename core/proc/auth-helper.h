/* SPDX-License-Identifier: MIT
   Helper processes of auth: who starts them, and the messages on their channels. Private to auth.

   auth (no rights, talks to front) has two relatives that the network never reaches. The *starter* is started by auth before it drops its rights, keeps them, and does
   nothing but start and kill helpers. A *helper* asks databases that may block, and checks slow password hashes, one request at a time; it keeps root's rights
   when its database needs them (PAM), else it gives them up at once.

   Neither trusts auth: the starter takes settings only as a sealed memfd that a process of its own uid made (after auth has dropped its rights it cannot make one). A
   helper takes its set-up only from the starter. */
#ifndef CV_PROC_AUTH_HELPER_H
#define CV_PROC_AUTH_HELPER_H

#include <culver/auth.h>
#include <culver/ipc.h>

/* Main of both; their channel is descriptor 3. The exit status. */
int cv_auth_starter_main(void);
int cv_auth_helper_main(void);

/* Helpers of one starter at most, alive at a time. */
#define CV_HELPERS_MAX 2048u

enum cv_helper_kind {
	CV_HELPER_PLAIN = 1, /* as the internal user, confined */
	CV_HELPER_ROOT = 2   /* keeps the rights the server was started with */
};

enum cv_helper_msg {
	/* -- auth -> starter -- */
	CV_HELPER_MODULES = 1,  /* u16 count, str each: first, and again when others are to be loaded */
	CV_HELPER_CONF,         /* 1 fd: the settings' memfd: for helpers started from now on */
	CV_HELPER_START,        /* id; u8 enum cv_helper_kind */
	CV_HELPER_KILL,         /* u32 pid of a helper: SIGKILL */
	/* -- starter -> auth -- */
	CV_HELPER_STARTED = 16, /* id; u32 pid; 1 fd: the helper's channel */
	CV_HELPER_FAILED,       /* id; str text */
	CV_HELPER_EXITED,       /* u32 pid, u32 wait status; LOG too */
	/* -- starter -> helper: before auth has the channel -- */
	CV_HELPER_SETUP = 32,   /* u8 enum cv_helper_kind, u16 count, str each: modules; 1 fd: settings */
	/* -- auth -> helper -- */
	CV_HELPER_REQUEST = 48, /* id; u8 enum cv_helper_op, str database (section), str secret (the password), str stored, str default scheme, and the request
	                           (cv_helper_put_request) */
	/* -- helper -> auth -- */
	CV_HELPER_READY = 64,   /* (empty) set up */
	CV_HELPER_RESULT,       /* id; u8 enum cv_auth_result, u8 retire (the helper ends now), str stored, u8 err code, u8 public, str err text, and the
	                           results (cv_helper_put_results) */
	CV_HELPER_ROW,          /* id; str user: of ITERATE */
	CV_HELPER_LOG           /* u8 enum cv_log_level, str line */
};

enum cv_helper_op {
	CV_HELPER_PASSDB_VERIFY = 1,
	CV_HELPER_PASSDB_LOOKUP,
	CV_HELPER_USERDB_LOOKUP,
	CV_HELPER_ITERATE,
	CV_HELPER_HASH,      /* stored against secret: OK or MISMATCH */
	CV_HELPER_IDS        /* the ids of the request's sysuid_name and sysgid_name */
};

/* All that databases may look at. */
void cv_helper_put_request(struct cv_buf *out, const struct cv_auth_request *request);
/* Strings are copied into request->arena, which the caller has set. False when it does not check. */
CV_MUST_CHECK bool cv_helper_take_request(struct cv_reader *r, struct cv_auth_request *request);
/* What a database may have set: user, ids, home, mail, fields. */
void cv_helper_put_results(struct cv_buf *out, const struct cv_auth_request *request);
CV_MUST_CHECK bool cv_helper_take_results(struct cv_reader *r, struct cv_auth_request *request);
/* What was taken for one request into another, with its strings in that one's arena. */
void cv_helper_copy_results(const struct cv_auth_request *from, struct cv_auth_request *to);

/* A kv list of messages.h: fields of a map whose values are C strings. */
void cv_kv_put(struct cv_buf *out, const struct cv_map *map);

#endif
