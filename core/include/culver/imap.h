/* SPDX-License-Identifier: MIT
   IMAP commands as providers: what a module needs to add a command or a capability to the imap protocol module. */
#ifndef CV_IMAP_H
#define CV_IMAP_H

#include <culver/mailbox.h>
#include <culver/module.h>

struct cv_session;

/* ---- Arguments of a command ------------------------------------------------------------------------ */

enum cv_imap_arg_type {
	CV_IMAP_ARG_ATOM = 1, /* any run of octets but SP ( ) { " and control characters: which atom it is, the cv_imap_arg_* below tell */
	CV_IMAP_ARG_QUOTED,   /* without quotes and backslashes */
	CV_IMAP_ARG_LITERAL,
	CV_IMAP_ARG_STREAMED, /* a literal whose octets were taken by the command while they came; str is empty */
	CV_IMAP_ARG_LIST,     /* child: its first element, NULL when empty */
	CV_IMAP_ARG_LITERAL8  /* binary literal (RFC 3516): NUL may be in it, so that it is no string */
};

/* One argument. All memory is the command's. */
struct cv_imap_arg {
	enum cv_imap_arg_type type;
	bool glued; /* nothing was between it and the one before: the "]" behind BODY[HEADER.FIELDS (…)] */
	struct cv_str str;
	struct cv_imap_arg *child;
	struct cv_imap_arg *next;
};

/* Character classes of RFC 3501 section 9. Octets above 127 are in all three: clients send UTF-8. */
enum cv_imap_char {
	CV_IMAP_ATOM_CHAR,    /* ATOM-CHAR */
	CV_IMAP_ASTRING_CHAR, /* ASTRING-CHAR: and "]" */
	CV_IMAP_LIST_CHAR     /* list-char: and "%", "*" */
};
static inline bool cv_imap_is_char(char c, enum cv_imap_char set)
{
	if ((unsigned char)c <= 0x20 || c == 0x7f || c == '(' || c == ')' || c == '{' || c == '"' || c == '\\')
		return false;
	if (c == ']')
		return set != CV_IMAP_ATOM_CHAR;
	if (c == '%' || c == '*')
		return set == CV_IMAP_LIST_CHAR;
	return true;
}
static inline bool cv_imap_is_word(struct cv_str s, enum cv_imap_char set)
{
	for (size_t i = 0; i < s.len; i++)
		if (!cv_imap_is_char(s.ptr[i], set))
			return false;
	return s.len > 0;
}
/* atom. arg may be NULL in all of these: false. */
static inline bool cv_imap_arg_atom(const struct cv_imap_arg *arg, struct cv_str *s_r)
{
	if (arg == NULL || arg->type != CV_IMAP_ARG_ATOM || !cv_imap_is_word(arg->str, CV_IMAP_ATOM_CHAR))
		return false;
	*s_r = arg->str;
	return true;
}
/* An atom that is this word, without case. */
static inline bool cv_imap_arg_is(const struct cv_imap_arg *arg, const char *word)
{
	return arg != NULL && arg->type == CV_IMAP_ARG_ATOM && cv_str_caseeq_c(arg->str, word);
}
/* string = quoted / literal */
static inline bool cv_imap_arg_string(const struct cv_imap_arg *arg, struct cv_str *s_r)
{
	if (arg == NULL || (arg->type != CV_IMAP_ARG_QUOTED && arg->type != CV_IMAP_ARG_LITERAL))
		return false;
	*s_r = arg->str;
	return true;
}
/* astring = 1*ASTRING-CHAR / string */
static inline bool cv_imap_arg_astring(const struct cv_imap_arg *arg, struct cv_str *s_r)
{
	if (cv_imap_arg_string(arg, s_r))
		return true;
	if (arg == NULL || arg->type != CV_IMAP_ARG_ATOM || !cv_imap_is_word(arg->str, CV_IMAP_ASTRING_CHAR))
		return false;
	*s_r = arg->str;
	return true;
}
/* nstring = string / nil: NIL gives the absent view. */
static inline bool cv_imap_arg_nstring(const struct cv_imap_arg *arg, struct cv_str *s_r)
{
	if (cv_imap_arg_is(arg, "NIL")) {
		*s_r = cv_str_c(NULL);
		return true;
	}
	return cv_imap_arg_string(arg, s_r);
}
/* list-mailbox = 1*list-char / string */
static inline bool cv_imap_arg_list_mailbox(const struct cv_imap_arg *arg, struct cv_str *s_r)
{
	if (cv_imap_arg_string(arg, s_r))
		return true;
	if (arg == NULL || arg->type != CV_IMAP_ARG_ATOM || !cv_imap_is_word(arg->str, CV_IMAP_LIST_CHAR))
		return false;
	*s_r = arg->str;
	return true;
}
static inline bool cv_imap_arg_list(const struct cv_imap_arg *arg, const struct cv_imap_arg **first_r)
{
	if (arg == NULL || arg->type != CV_IMAP_ARG_LIST)
		return false;
	*first_r = arg->child;
	return true;
}

/* ---- Commands -------------------------------------------------------------------------------------- */

struct cv_imap_cmd;

/* What a handler says. One tagged reply is sent for each command, by the session, from what the handler left in cmd (api->ok, no, bad). */
enum cv_imap_result {
	CV_IMAP_DONE = 1, /* api->ok, api->no or api->bad was called */
	CV_IMAP_STEP,     /* call step again: in the next round, or when there is room for output */
	CV_IMAP_WAIT      /* something will call api->resume */
};

enum cv_imap_command_opts {
	CV_IMAP_AUTHENTICATED = 1,   /* valid when no mailbox is selected */
	CV_IMAP_SELECTED = 2,        /* valid when one is */
	CV_IMAP_LOGGED_IN = 3,       /* valid in both */
	CV_IMAP_UID_VARIANT = 4,     /* "UID <verb>" is there too */
	CV_IMAP_UID_ONLY = 8,        /* only the UID form is there */
	CV_IMAP_KEEPS_SEQ = 16,      /* answers without UID may not renumber: no EXPUNGE goes out (RFC 3501 section 7.4.1) */
	CV_IMAP_NO_SYNC = 32,        /* no untagged data of the selected mailbox goes out before the reply */
	CV_IMAP_SHOWS_NEW = 64       /* new messages are told also with "delay-newmail" */
};

/* A command. run is called once, with all arguments; step as long as the handler asks. cancel is called instead of a further step when the session
   ends before the command is done; memory in cmd->arena goes away by itself. */
struct cv_imap_command {
	const char *verb;       /* upper case */
	unsigned opts;          /* enum cv_imap_command_opts */
	enum cv_imap_result (*run)(struct cv_imap_cmd *cmd);
	enum cv_imap_result (*step)(struct cv_imap_cmd *cmd); /* NULL when it never says STEP or WAIT */
	void (*cancel)(struct cv_imap_cmd *cmd);              /* may be NULL */
	const char *capability; /* words to announce, NULL: none */
};

/* What a handler may call. New members only at the end. */
struct cv_imap_api {
	/* The tagged reply. code: response code without brackets ("TRYCREATE"), NULL: none. */
	enum cv_imap_result (*ok)(struct cv_imap_cmd *cmd, const char *code, const char *text);
	enum cv_imap_result (*no)(struct cv_imap_cmd *cmd, const char *code, const char *text);
	enum cv_imap_result (*bad)(struct cv_imap_cmd *cmd, const char *text);
	/* NO with the response code and public text that belong to err (RFC 5530); logs what is not public. */
	enum cv_imap_result (*fail)(struct cv_imap_cmd *cmd, const struct cv_err *err);
	/* Untagged data: append whole lines, each with CRLF. room: octets to produce before step should return. */
	struct cv_buf *(*out)(struct cv_imap_cmd *cmd);
	size_t (*room)(struct cv_imap_cmd *cmd);
	/* After CV_IMAP_WAIT: go on with step. Not from inside run or step. */
	void (*resume)(struct cv_imap_cmd *cmd);
	/* A mailbox name from the wire (modified UTF-7, the client's delimiter) to one for mailbox.h, in cmd->arena; -1 with a public err. And back,
	   as an astring. */
	int (*mailbox_name)(struct cv_imap_cmd *cmd, struct cv_str wire, struct cv_str *name_r, struct cv_err *err);
	void (*append_mailbox)(struct cv_imap_cmd *cmd, struct cv_buf *out, struct cv_str name);
	/* astring, nstring (absent: NIL), string. */
	void (*append_astring)(struct cv_buf *out, struct cv_str s);
	void (*append_nstring)(struct cv_buf *out, struct cv_str s);
	void (*append_string)(struct cv_buf *out, struct cv_str s);
	/* A sequence set, of UIDs for a UID command, to the sequence numbers of the view that it names. -1 with a public err (BAD). */
	int (*sequence_set)(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_ranges *seqs_r, struct cv_err *err);
};

/* A command in progress. */
struct cv_imap_cmd {
	const struct cv_imap_api *api;
	const struct cv_imap_command *command;
	struct cv_session *session;
	struct cv_user *user;
	struct cv_view *view;          /* the selected mailbox, or NULL */
	struct cv_arena *arena;        /* freed after the reply */
	struct cv_str tag;
	bool uid;                      /* UID form */
	const struct cv_imap_arg *args;/* behind the verb; NULL when there are none */
	void *data;                    /* the handler's own */
};

/* A return option of LIST (RFC 5258 section 3.2): data behind the LIST response of each mailbox that matches, may be seen and satisfies the selection
   options. */
struct cv_imap_list_return {
	const char *name; /* upper case */
	/* What stands behind the option's word *arg, which is moved to the last argument that belongs to it; *data_r is for write, in cmd->arena. -1 with a
	   public err: BAD. NULL: nothing. */
	int (*parse)(struct cv_imap_cmd *cmd, const struct cv_imap_arg **arg, void **data_r, struct cv_err *err);
	/* Append whole lines, or nothing. */
	void (*write)(struct cv_imap_cmd *cmd, void *data, struct cv_buf *out, struct cv_str mailbox);
	const char *capability; /* words to announce, NULL: none */
};

static inline int cv_provide_imap_list_return(struct cv_registry *reg, const struct cv_imap_list_return *option, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_IMAP_LIST, option->name, option, sizeof(*option), err);
}

static inline int cv_provide_imap_command(struct cv_registry *reg, const struct cv_imap_command *command, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_IMAP_COMMAND, command->verb, command, sizeof(*command), err);
}

#endif
