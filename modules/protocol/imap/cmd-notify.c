/* SPDX-License-Identifier: MIT
   NOTIFY (RFC 5465 section 3.1): which changes the client wants to be told of. */
#include <config.h>

#include "notify.h"
#include "status.h"

#include <culver/time.h>

#include <limits.h>

/* In place of events: "the server MUST respond with an untagged extended LIST response containing the \NoAccess name attribute" (section 3.1). */
#define NO_ACCESS UINT_MAX
/* Mailbox names of one command. */
#define NAMES_MAX 1000u

struct command {
	struct imap_notify *notify; /* until they are the session's */
	bool status;
	bool selected_seen;
	unsigned names;
	CV_VEC(struct cv_str) mailboxes; /* of which something is told now, and the events that they are watched for */
	CV_VEC(unsigned) events;
	size_t done;
};

static void free_command(void *ctx)
{
	struct command *c = ctx;

	imap_notify_free(&c->notify);
	cv_vec_free(&c->mailboxes);
	cv_vec_free(&c->events);
}

/* ---- events ------------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	unsigned bit;
} events[] = {
	{ "MessageNew", IMAP_NOTIFY_NEW },
	{ "MessageExpunge", IMAP_NOTIFY_EXPUNGE },
	{ "FlagChange", IMAP_NOTIFY_FLAGS },
	{ "AnnotationChange", IMAP_NOTIFY_ANNOTATIONS },
	{ "MailboxName", IMAP_NOTIFY_NAME },
	{ "SubscriptionChange", IMAP_NOTIFY_SUBSCRIPTION },
	{ "MailboxMetadataChange", IMAP_NOTIFY_MAILBOX_METADATA },
	{ "ServerMetadataChange", IMAP_NOTIFY_SERVER_METADATA },
};

static bool is_on(struct cv_imap_cmd *cmd, unsigned bit)
{
	const struct imap_settings *set = imap_cmd_session(cmd)->set;

	if (bit == IMAP_NOTIFY_ANNOTATIONS)
		return set->imap_annotate;
	return (bit & IMAP_NOTIFY_METADATA) == 0 || set->imap_metadata;
}

/* "the server MUST refuse the command with a tagged NO response (not a BAD). This response SHOULD contain the BADEVENT response code, which MUST list
   names of all events supported by the server." */
static bool bad_event(struct cv_imap_cmd *cmd)
{
	struct cv_buf code;

	cv_buf_init(&code, 1024);
	cv_buf_append_c(&code, "BADEVENT (");
	for (size_t i = 0; i < CV_COUNT_OF(events); i++)
		if (is_on(cmd, events[i].bit))
			cv_buf_printf(&code, "%s%s", i == 0 ? "" : " ", events[i].name);
	cv_buf_append_c(&code, ")");
	imap_no(cmd, code.data, "Event is not supported");
	cv_buf_deinit(&code);
	return false;
}

static bool bad(struct cv_imap_cmd *cmd, const char *why)
{
	imap_bad(cmd, why);
	return false;
}

/* "(" fetch-att *(SP fetch-att) ")" behind MessageNew. What would set \Seen only looks here: nobody has read the message yet. */
static bool parse_fetch(struct cv_imap_cmd *cmd, struct imap_notify *n, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *copy = cv_imap_args_copy(n->arena, arg, true);
	struct cv_err err = { 0 };

	if (arg->child == NULL)
		return bad(cmd, "FETCH attributes are missing");
	if (cv_imap_fetch_parse(n->arena, &copy, &n->what, &err) < 0) {
		imap_bad_err(cmd, &err);
		return false;
	}
	if (n->what.note_count > 0 && !imap_cmd_session(cmd)->set->imap_annotate)
		return bad(cmd, "Unknown FETCH item");
	n->fetch = true;
	return true;
}

/* event *(SP event), to the end of the list. */
static bool parse_event_list(struct cv_imap_cmd *cmd, struct command *c, const struct cv_imap_arg *arg, bool selected, unsigned *events_r)
{
	const struct cv_imap_arg *atts;
	struct cv_str word;
	size_t i;

	*events_r = 0;
	if (arg == NULL)
		return bad(cmd, "Events are missing");
	for (; arg != NULL; arg = arg->next) {
		if (!cv_imap_arg_atom(arg, &word))
			return bad(cmd, "Invalid event");
		for (i = 0; i < CV_COUNT_OF(events) && !cv_str_caseeq_c(word, events[i].name); i++)
			;
		if (i == CV_COUNT_OF(events) || !is_on(cmd, events[i].bit))
			return bad_event(cmd);
		if (selected && (events[i].bit & IMAP_NOTIFY_MESSAGES) == 0)
			return bad(cmd, "Event is not for the selected mailbox");
		*events_r |= events[i].bit;
		if (events[i].bit != IMAP_NOTIFY_NEW || !cv_imap_arg_list(arg->next, &atts))
			continue;
		arg = arg->next;
		if (!selected)
			return bad(cmd, "FETCH attributes are for the selected mailbox alone");
		if (!parse_fetch(cmd, c->notify, arg))
			return false;
	}
	/* Section 5: "If the FlagChange and/or AnnotationChange events are specified, MessageNew and MessageExpunge MUST also be specified …
	   If one of MessageNew or MessageExpunge is specified, then both events MUST be specified." */
	if ((*events_r & IMAP_NOTIFY_MESSAGES) != 0 &&
		(*events_r & (IMAP_NOTIFY_NEW | IMAP_NOTIFY_EXPUNGE)) != (IMAP_NOTIFY_NEW | IMAP_NOTIFY_EXPUNGE))
		return bad(cmd, "MessageNew and MessageExpunge go together");
	return true;
}

/* events = ( "(" event *(SP event) ")" ) / "NONE". The examples of section 3.1 leave the parentheses out: they may be. */
static bool parse_events(struct cv_imap_cmd *cmd, struct command *c, const struct cv_imap_arg *arg, bool selected, unsigned *events_r)
{
	const struct cv_imap_arg *first;

	*events_r = 0;
	if (cv_imap_arg_is(arg, "NONE"))
		return arg->next == NULL || bad(cmd, "Unexpected arguments");
	if (!cv_imap_arg_list(arg, &first))
		return parse_event_list(cmd, c, arg, selected, events_r);
	if (arg->next != NULL)
		return bad(cmd, "Unexpected arguments");
	return parse_event_list(cmd, c, first, selected, events_r);
}

/* ---- event groups ------------------------------------------------------------------------------------ */

static bool add_name(struct cv_imap_cmd *cmd, struct command *c, struct imap_notify_group *group, const struct cv_imap_arg *arg)
{
	struct cv_str name;

	if (!imap_mailbox_arg(cmd, arg, 0, &name))
		return false;
	/* Section 3.1: "If the notification would be prohibitively expensive for the server". */
	if (++c->names > NAMES_MAX) {
		imap_no(cmd, "NOTIFICATIONOVERFLOW", "Too many mailbox names");
		return false;
	}
	cv_map_set(group->names, name, c);
	return true;
}

/* one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" */
static bool parse_names(struct cv_imap_cmd *cmd, struct command *c, struct imap_notify_group *group, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *many;

	group->names = cv_map_new();
	if (!cv_imap_arg_list(arg, &many))
		return add_name(cmd, c, group, arg);
	if (many == NULL)
		return bad(cmd, "Mailbox names are missing");
	for (; many != NULL; many = many->next) {
		if (!add_name(cmd, c, group, many))
			return false;
	}
	return true;
}

static bool parse_selected(struct cv_imap_cmd *cmd, struct command *c, const struct cv_imap_arg *arg, enum imap_notify_selected mode)
{
	unsigned wanted;

	/* Section 6.1: "Only one of the mailbox specifiers affecting the currently selected mailbox can be specified in any NOTIFY command." */
	if (c->selected_seen)
		return bad(cmd, "The selected mailbox is specified twice");
	c->selected_seen = true;
	if (!parse_events(cmd, c, arg, true, &wanted))
		return false;
	c->notify->selected = wanted != 0 ? mode : IMAP_NOTIFY_NOTHING;
	c->notify->flags = (wanted & IMAP_NOTIFY_FLAGS) != 0;
	c->notify->annotations = (wanted & IMAP_NOTIFY_ANNOTATIONS) != 0;
	return true;
}

static const struct {
	const char *word;
	enum imap_notify_filter filter;
	bool names;
} filters[] = {
	{ "INBOXES", IMAP_NOTIFY_PERSONAL, false },
	{ "PERSONAL", IMAP_NOTIFY_PERSONAL, false },
	{ "SUBSCRIBED", IMAP_NOTIFY_SUBSCRIBED, false },
	{ "SUBTREE", IMAP_NOTIFY_SUBTREE, true },
	{ "MAILBOXES", IMAP_NOTIFY_MAILBOXES, true },
};

/* event-group = "(" filter-mailboxes SP events ")" */
static bool parse_group(struct cv_imap_cmd *cmd, struct command *c, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *word;
	struct imap_notify_group *group;
	size_t i;

	if (!cv_imap_arg_list(arg, &word))
		return bad(cmd, "Event groups are lists");
	if (cv_imap_arg_is(word, "SELECTED"))
		return parse_selected(cmd, c, word->next, IMAP_NOTIFY_AT_ONCE);
	if (cv_imap_arg_is(word, "SELECTED-DELAYED"))
		return parse_selected(cmd, c, word->next, IMAP_NOTIFY_DELAYED);
	for (i = 0; i < CV_COUNT_OF(filters) && !cv_imap_arg_is(word, filters[i].word); i++)
		;
	if (i == CV_COUNT_OF(filters))
		return bad(cmd, "Unknown mailbox specifier");
	group = cv_vec_push(&c->notify->groups);
	group->filter = filters[i].filter;
	if (filters[i].names) {
		word = word->next;
		if (!parse_names(cmd, c, group, word))
			return false;
	}
	return parse_events(cmd, c, word->next, false, &group->events);
}

/* ---- STATUS ------------------------------------------------------------------------------------------ */

/* Of the mailboxes that are meant, those that something is to be told of now: that the client may not read it, or, when message events of one that is not
   selected are asked for, its STATUS. One that the client may not see is passed over. */
static void find_mailboxes(struct cv_imap_cmd *cmd, struct command *c, const struct imap_session *s)
{
	struct cv_mailbox_info info;
	size_t pos = 0;

	while (s->notify->groups.count > 0 && cv_mailbox_next(cmd->user, &pos, &info)) {
		unsigned wanted = imap_notify_events(s->notify, info.name, info.subscribed), rights;
		struct cv_err err = { 0 };

		if (!info.exists || wanted == 0)
			continue;
		if (cv_mailbox_rights(cmd->user, info.name, &rights, &err) < 0 || (rights & CV_RIGHT_LOOKUP) == 0) {
			imap_notify_hide(s->notify, info.name, true);
			continue;
		}
		if ((rights & CV_RIGHT_READ) == 0)
			wanted = NO_ACCESS;
		else if (!c->status || (wanted & IMAP_NOTIFY_MESSAGES) == 0 ||
			(s->view != NULL && cv_str_eq(cv_mailbox_name(cv_view_mailbox(s->view)), info.name)))
			continue;
		*cv_vec_push(&c->mailboxes) = cv_arena_str(cmd->arena, info.name);
		*cv_vec_push(&c->events) = wanted;
	}
}

static void write_mailbox(struct cv_imap_cmd *cmd, struct command *c)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_str name = c->mailboxes.data[c->done];
	unsigned wanted = c->events.data[c->done++];
	struct status_items items = { 0 };
	struct cv_err err = { 0 };
	struct cv_buf line;

	if (wanted == NO_ACCESS) {
		imap_write_no_access(s, imap_out(cmd), name, false);
		return;
	}
	imap_notify_items(s, wanted & IMAP_NOTIFY_MESSAGES, true, &items);
	cv_buf_init(&line, (size_t)64 * 1024);
	if (status_write(s, &line, name, &items, &err) >= 0)
		cv_buf_append(imap_out(cmd), cv_buf_str(&line));
	else if (err.code != CV_ERR_NOTFOUND && err.code != CV_ERR_PERM)
		cv_error(s->log, "NOTIFY: status of mailbox %s: %s", cv_log_clean(name), err.text);
	cv_buf_deinit(&line);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct command *c = cmd->data;
	uint64_t start = cv_time_mono_us();

	if (!imap_write_events(s))
		return CV_IMAP_STEP;
	while (c->done < c->mailboxes.count) {
		if (imap_room(cmd) == 0 || cv_time_mono_us() - start > IMAP_SLICE_US)
			return CV_IMAP_STEP;
		write_mailbox(cmd, c);
	}
	return imap_ok(cmd, NULL, "Notify completed");
}

/* ---- the command ------------------------------------------------------------------------------------- */

/* notify-set = "SET" [status-indicator] SP event-groups */
static bool parse_set(struct cv_imap_cmd *cmd, struct command *c, const struct cv_imap_arg *arg)
{
	c->status = cv_imap_arg_is(arg, "STATUS");
	if (c->status)
		arg = arg->next;
	if (arg == NULL)
		return bad(cmd, "Event groups are missing");
	for (; arg != NULL; arg = arg->next) {
		if (!parse_group(cmd, c, arg))
			return false;
	}
	return true;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct command *c = cv_new(cmd->arena, struct command, 1);
	bool set = cv_imap_arg_is(cmd->args, "SET");

	cmd->data = c;
	c->notify = imap_notify_new(s);
	cv_arena_cleanup(cmd->arena, free_command, c);
	if (!set && (!cv_imap_arg_is(cmd->args, "NONE") || cmd->args->next != NULL))
		return imap_bad(cmd, "NOTIFY needs SET or NONE");
	if (set && !parse_set(cmd, c, cmd->args->next))
		return CV_IMAP_DONE;
	if ((c->notify->what.items & CV_IMAP_FETCH_MODSEQ) != 0)
		imap_enable_condstore(s);
	/* "A successful NOTIFY SET command MUST cause the server to immediately return any accumulated changes to the currently selected mailbox". */
	if (set)
		imap_sync_all(s);
	imap_notify_start(s, &c->notify);
	find_mailboxes(cmd, c, s);
	imap_cmd(cmd)->synced = true;
	return CV_IMAP_STEP;
}

const struct cv_imap_command imap_cmd_notify = { .verb = "NOTIFY", .opts = CV_IMAP_LOGGED_IN | CV_IMAP_SHOWS_NEW, .run = run, .step = step };
