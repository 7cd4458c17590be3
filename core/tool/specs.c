/* SPDX-License-Identifier: MIT
   Administrators' commands of the core: names, parameters, columns and help. */
#include <culver/admin.h>

#define NO_PARAMS { .name = NULL }
#define NO_COLUMNS { .key = NULL }

static const struct cv_admin_param user_params[] = {
	{ .name = "user", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REPEAT, .meta = "USER",
		.help = "user name, or a mask with * and ?; all users when none is given" },
	{ .name = "service", .letter = 's', .kind = CV_ADMIN_TEXT, .meta = "SERVICE", .help = "look up as this service (imap, lmtp …) would" },
	NO_PARAMS,
};
static const struct cv_admin_column user_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "uid", "Uid", CV_ADMIN_COL_NUMBER },
	{ "gid", "Gid", CV_ADMIN_COL_NUMBER },
	{ "home", "Home", CV_ADMIN_COL_TEXT },
	{ "mail", "Mail", CV_ADMIN_COL_TEXT },
	{ "fields", NULL, CV_ADMIN_COL_LIST },
	NO_COLUMNS,
};
static const struct cv_admin_spec user_spec = {
	.name = "user",
	.role = CV_ROLE_AUTH,
	.params = user_params,
	.columns = user_columns,
	.summary = "show what the user databases say of users",
	.help = "Asks the running server, so that it shows what a login or a delivery would find. Exit status 68 when a user is not known. With --json every extra "
		"field of the user database is shown too.",
};

static const struct cv_admin_param auth_test_params[] = {
	{ .name = "user", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED, .meta = "USER", .help = "user name as a client would send it" },
	{ .name = "password", .letter = 'p', .kind = CV_ADMIN_SECRET, .opts = CV_ADMIN_REQUIRED, .meta = "PASSWORD",
		.help = "password; asked for when it is not given (other users can see a command line)" },
	{ .name = "service", .letter = 's', .kind = CV_ADMIN_TEXT, .meta = "SERVICE", .help = "log in to this service (imap)" },
	{ .name = "remote", .letter = 'r', .kind = CV_ADMIN_TEXT, .meta = "ADDRESS", .help = "pretend that the client has this address" },
	NO_PARAMS,
};
static const struct cv_admin_column auth_test_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "result", "Result", CV_ADMIN_COL_TEXT },
	{ "reason", "Reason", CV_ADMIN_COL_TEXT },
	{ "passdb", "Password database", CV_ADMIN_COL_TEXT },
	{ "fields", "Fields", CV_ADMIN_COL_LIST },
	NO_COLUMNS,
};
static const struct cv_admin_spec auth_test_spec = {
	.name = "auth test",
	.role = CV_ROLE_AUTH,
	.opts = CV_ADMIN_SINGLE,
	.params = auth_test_params,
	.columns = auth_test_columns,
	.summary = "check a user name and password",
	.help = "Goes through the password databases and the login hooks as a client's login does, without the delay after a failure. Exit status 77 when the login is refused, 75 "
		"when it could not be checked.",
};

static const struct cv_admin_param who_params[] = {
	{ .name = "user", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REPEAT, .meta = "USER", .help = "only these users; masks with * and ?" },
	{ .name = "protocol", .letter = 'P', .kind = CV_ADMIN_TEXT, .meta = "PROTOCOL", .help = "only sessions of this protocol" },
	NO_PARAMS,
};
static const struct cv_admin_column who_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "protocol", "Protocol", CV_ADMIN_COL_TEXT },
	{ "remote", "From", CV_ADMIN_COL_TEXT },
	{ "pid", "Worker", CV_ADMIN_COL_NUMBER },
	{ "session", "Session", CV_ADMIN_COL_TEXT },
	{ "since", "Since", CV_ADMIN_COL_TIME },
	{ "state", "State", CV_ADMIN_COL_TEXT },
	NO_COLUMNS,
};
static const struct cv_admin_spec who_spec = {
	.name = "who",
	.role = CV_ROLE_SPAWNER,
	.params = who_params,
	.columns = who_columns,
	.summary = "show who is logged in",
};

static const struct cv_admin_param kick_params[] = {
	{ .name = "user", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED | CV_ADMIN_REPEAT, .meta = "USER",
		.help = "users whose sessions end; masks with * and ?" },
	{ .name = "session", .letter = 'S', .kind = CV_ADMIN_TEXT, .meta = "SESSION", .help = "only the session with this id, as `culver who` shows it" },
	{ .name = "protocol", .letter = 'P', .kind = CV_ADMIN_TEXT, .meta = "PROTOCOL", .help = "only sessions of this protocol" },
	NO_PARAMS,
};
static const struct cv_admin_column kick_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "protocol", "Protocol", CV_ADMIN_COL_TEXT },
	{ "session", "Session", CV_ADMIN_COL_TEXT },
	NO_COLUMNS,
};
static const struct cv_admin_spec kick_spec = {
	.name = "kick",
	.role = CV_ROLE_SPAWNER,
	.params = kick_params,
	.columns = kick_columns,
	.summary = "end sessions of users",
	.help = "Shows the sessions that were ended; exit status 68 when there was none. Clients can log in again at once: to keep a user out, disable the user first.",
};

static const struct cv_admin_param mailbox_list_params[] = {
	{ .name = "subscribed", .letter = 's', .kind = CV_ADMIN_FLAG, .help = "only subscribed mailboxes, also those that do not exist (any more)" },
	{ .name = "mailbox", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REPEAT, .meta = "MAILBOX",
		.help = "only these; masks with * and ?; all when none is given" },
	NO_PARAMS,
};
static const struct cv_admin_column mailbox_list_columns[] = {
	{ "user", NULL, CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	{ "subscribed", "Subscribed", CV_ADMIN_COL_BOOL },
	{ "exists", "Exists", CV_ADMIN_COL_BOOL },
	{ "special_use", "Use", CV_ADMIN_COL_TEXT },
	NO_COLUMNS,
};
static const struct cv_admin_spec mailbox_list_spec = {
	.name = "mailbox list",
	.role = CV_ROLE_WORKER,
	.params = mailbox_list_params,
	.columns = mailbox_list_columns,
	.summary = "list a user's mailboxes",
};

static const struct cv_admin_param mailbox_status_params[] = {
	{ .name = "mailbox", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REPEAT, .meta = "MAILBOX",
		.help = "only these; masks with * and ?; all when none is given" },
	NO_PARAMS,
};
static const struct cv_admin_column mailbox_status_columns[] = {
	{ "user", NULL, CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	{ "messages", "Messages", CV_ADMIN_COL_NUMBER },
	{ "unseen", "Unseen", CV_ADMIN_COL_NUMBER },
	{ "size", "Size", CV_ADMIN_COL_SIZE },
	{ "uidnext", "Uidnext", CV_ADMIN_COL_NUMBER },
	{ "uidvalidity", "Uidvalidity", CV_ADMIN_COL_NUMBER },
	{ "highest_modseq", "Modseq", CV_ADMIN_COL_NUMBER },
	NO_COLUMNS,
};
static const struct cv_admin_spec mailbox_status_spec = {
	.name = "mailbox status",
	.role = CV_ROLE_WORKER,
	.params = mailbox_status_params,
	.columns = mailbox_status_columns,
	.summary = "count the messages in a user's mailboxes",
};

static const struct cv_admin_column mailbox_done_columns[] = {
	{ "user", NULL, CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	NO_COLUMNS,
};
static const struct cv_admin_param mailbox_create_params[] = {
	{ .name = "subscribe", .letter = 's', .kind = CV_ADMIN_FLAG, .help = "subscribe them too" },
	{ .name = "mailbox", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED | CV_ADMIN_REPEAT, .meta = "MAILBOX",
		.help = "full name in UTF-8, with \"/\" between its parts" },
	NO_PARAMS,
};
static const struct cv_admin_spec mailbox_create_spec = {
	.name = "mailbox create",
	.role = CV_ROLE_WORKER,
	.params = mailbox_create_params,
	.columns = mailbox_done_columns,
	.summary = "create mailboxes",
	.help = "Exit status 73 when one exists already.",
};

static const struct cv_admin_param mailbox_delete_params[] = {
	{ .name = "mailbox", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED | CV_ADMIN_REPEAT, .meta = "MAILBOX",
		.help = "full name in UTF-8, with \"/\" between its parts" },
	NO_PARAMS,
};
static const struct cv_admin_spec mailbox_delete_spec = {
	.name = "mailbox delete",
	.role = CV_ROLE_WORKER,
	.params = mailbox_delete_params,
	.columns = mailbox_done_columns,
	.summary = "delete mailboxes and the mail in them",
	.help = "Mailboxes below one that is deleted stay. Exit status 68 when there is no such mailbox.",
};

static const struct cv_admin_param mailbox_rename_params[] = {
	{ .name = "mailbox", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED, .meta = "MAILBOX", .help = "full name in UTF-8" },
	{ .name = "new", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED, .meta = "NEW", .help = "its new full name" },
	NO_PARAMS,
};
static const struct cv_admin_spec mailbox_rename_spec = {
	.name = "mailbox rename",
	.role = CV_ROLE_WORKER,
	.params = mailbox_rename_params,
	.columns = mailbox_done_columns,
	.summary = "rename a mailbox and those below it",
};

#define METADATA_MAILBOX                                                                                                         \
	{ .name = "mailbox", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED, .meta = "MAILBOX",             \
		.help = "full name in UTF-8; an empty one (\"\"): of the server as this user sees it" }
#define METADATA_KEY                                                                                                             \
	{ .name = "key", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED, .meta = "KEY",                     \
		.help = "name of the entry, as /private/comment or /shared/comment" }
static const struct cv_admin_param metadata_get_params[] = { METADATA_MAILBOX, METADATA_KEY, NO_PARAMS };
static const struct cv_admin_column metadata_columns[] = {
	{ "user", NULL, CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	{ "key", "Key", CV_ADMIN_COL_TEXT },
	{ "value", "Value", CV_ADMIN_COL_TEXT },
	NO_COLUMNS,
};
static const struct cv_admin_spec metadata_get_spec = {
	.name = "mailbox metadata get",
	.role = CV_ROLE_WORKER,
	.params = metadata_get_params,
	.columns = metadata_columns,
	.summary = "show an annotation of a mailbox",
	.help = "Exit status 68 when it is not set. Octets of a value that are not UTF-8 are replaced.",
};

static const struct cv_admin_param metadata_list_params[] = {
	METADATA_MAILBOX,
	{ .name = "key", .positional = true, .kind = CV_ADMIN_TEXT, .meta = "KEY", .help = "only this entry and those below it" },
	NO_PARAMS,
};
static const struct cv_admin_spec metadata_list_spec = {
	.name = "mailbox metadata list",
	.role = CV_ROLE_WORKER,
	.params = metadata_list_params,
	.columns = metadata_columns,
	.summary = "list the annotations of a mailbox",
};

static const struct cv_admin_param metadata_set_params[] = {
	METADATA_MAILBOX,
	METADATA_KEY,
	{ .name = "value", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED, .meta = "VALUE", .help = "its value, text in UTF-8" },
	NO_PARAMS,
};
static const struct cv_admin_spec metadata_set_spec = {
	.name = "mailbox metadata set",
	.role = CV_ROLE_WORKER,
	.params = metadata_set_params,
	.columns = metadata_columns,
	.summary = "set an annotation of a mailbox",
	.help = "Shared entries of the server can be set in this way alone, for each user. /private/specialuse sets the special uses of a mailbox, as "
		"\\Archive.",
};

static const struct cv_admin_param metadata_unset_params[] = { METADATA_MAILBOX, METADATA_KEY, NO_PARAMS };
static const struct cv_admin_spec metadata_unset_spec = {
	.name = "mailbox metadata unset",
	.role = CV_ROLE_WORKER,
	.params = metadata_unset_params,
	.columns = metadata_columns,
	.summary = "remove an annotation of a mailbox",
	.help = "Exit status 68 when it is not set.",
};

static const struct cv_admin_param fsck_params[] = {
	{ .name = "report", .letter = 'r', .kind = CV_ADMIN_FLAG, .help = "only tell what is found; so it is without --repair" },
	{ .name = "repair", .letter = 'R', .kind = CV_ADMIN_FLAG, .help = "repair what can be repaired" },
	{ .name = "accept", .kind = CV_ADMIN_FLAG, .help = "with --repair: take messages whose octets changed as they are from now on" },
	NO_PARAMS,
};
static const struct cv_admin_column fsck_columns[] = {
	{ "user", NULL, CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	{ "uid", "UID", CV_ADMIN_COL_NUMBER },
	{ "file", "File", CV_ADMIN_COL_TEXT },
	{ "result", "Result", CV_ADMIN_COL_TEXT },
	{ "problem", "Problem", CV_ADMIN_COL_TEXT },
	NO_COLUMNS,
};
static const struct cv_admin_spec fsck_spec = {
	.name = "fsck",
	.role = CV_ROLE_WORKER,
	.opts = CV_ADMIN_USERS,
	.params = fsck_params,
	.columns = fsck_columns,
	.summary = "check a user's mail, and repair it",
	.help = "Compares journal, state, snapshots, parse records, message files and folders with each other, and every message with its checksum, while the user's "
		"sessions and deliveries go on. Prints a line for each thing that is not as it should be, with the mailbox, the UID and the file. Result is \"found\" "
		"without --repair; with it \"repaired\", or \"lost\" for what nothing that is there can bring back: a message whose file is gone (it is taken out of "
		"the mailbox; to bring it back, restore the file before you repair) or was changed (it stays as it is and is told each time, unless --accept). "
		"Damaged files of the index are renamed to NAME.damaged-TIME and never removed.\nExit status 0: nothing was found; 1: all that was found was repaired; 2: something "
		"is left. Of a Maildir, what other programs removed or added is no damage.",
};

static const struct cv_admin_param no_params[] = { NO_PARAMS };

static const struct cv_admin_spec reload_spec = {
	.name = "reload",
	.role = CV_ROLE_MASTER,
	.params = no_params,
	.summary = "read the settings anew",
	.help = "Connections stay. When the new settings have a problem, the server goes on with the old ones, and every problem is shown (exit status 78).",
};

static const struct cv_admin_param stop_params[] = {
	{ .name = "now", .kind = CV_ADMIN_FLAG, .help = "do not wait for deliveries and commands that are under way" },
	NO_PARAMS,
};
static const struct cv_admin_spec stop_spec = {
	.name = "stop",
	.role = CV_ROLE_MASTER,
	.params = stop_params,
	.summary = "stop the server in order",
};

static const struct cv_admin_column status_columns[] = {
	{ "process", "Process", CV_ADMIN_COL_TEXT },
	{ "pid", "Pid", CV_ADMIN_COL_NUMBER },
	{ "uptime", "Up", CV_ADMIN_COL_SPAN },
	{ "figures", "Figures", CV_ADMIN_COL_LIST },
	NO_COLUMNS,
};
static const struct cv_admin_spec status_spec = {
	.name = "status",
	.role = CV_ROLE_MASTER,
	.params = no_params,
	.columns = status_columns,
	.summary = "show the server's processes and what they do",
};

const struct cv_admin_spec *const cv_admin_core_specs[] = {
	&status_spec, &reload_spec, &stop_spec, &user_spec, &auth_test_spec, &who_spec, &kick_spec, &mailbox_list_spec, &mailbox_status_spec,
	&mailbox_create_spec, &mailbox_delete_spec, &mailbox_rename_spec, &metadata_get_spec, &metadata_list_spec, &metadata_set_spec, &metadata_unset_spec, &fsck_spec, NULL,
};

const struct cv_admin_spec *cv_admin_core_spec(const char *name)
{
	for (size_t i = 0; cv_admin_core_specs[i] != NULL; i++)
		if (strcmp(cv_admin_core_specs[i]->name, name) == 0)
			return cv_admin_core_specs[i];
	cv_fatal("there is no administrator's command \"%s\"", name);
}
