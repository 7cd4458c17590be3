/* SPDX-License-Identifier: MIT
   The command table, and the capabilities. */
#include <config.h>

#include "imap-session.h"

/* In the order of their verbs, for the search. */
static const struct cv_imap_command *const commands[] = {
	&imap_cmd_append,
	&imap_cmd_cancelupdate,
	&imap_cmd_capability,
	&imap_cmd_check,
	&imap_cmd_close,
	&imap_cmd_comparator,
	&imap_cmd_compress,
	&imap_cmd_copy,
	&imap_cmd_create,
	&imap_cmd_delete,
	&imap_cmd_enable,
	&imap_cmd_esearch,
	&imap_cmd_examine,
	&imap_cmd_expunge,
	&imap_cmd_fetch,
	&imap_cmd_genurlauth,
	&imap_cmd_getmetadata,
	&imap_cmd_id,
	&imap_cmd_idle,
	&imap_cmd_language,
	&imap_cmd_list,
	&imap_cmd_logout,
	&imap_cmd_lsub,
	&imap_cmd_move,
	&imap_cmd_namespace,
	&imap_cmd_noop,
	&imap_cmd_notify,
	&imap_cmd_rename,
	&imap_cmd_replace,
	&imap_cmd_resetkey,
	&imap_cmd_search,
	&imap_cmd_select,
	&imap_cmd_setmetadata,
	&imap_cmd_sort,
	&imap_cmd_status,
	&imap_cmd_store,
	&imap_cmd_subscribe,
	&imap_cmd_thread,
	&imap_cmd_uid_expunge,
	&imap_cmd_uidbatches,
	&imap_cmd_unauthenticate,
	&imap_cmd_unselect,
	&imap_cmd_unsubscribe,
	&imap_cmd_urlfetch,
	&imap_cmd_xlist,
};

#define VERB_MAX 64u

/* Settings that switch parts of the module on. */
enum {
	ALWAYS = 0,
	WITH_ANNOTATE = 1,
	WITH_METADATA = 2,
	WITH_UNAUTHENTICATE = 4,
	WITH_URLAUTH = 8,
	WITH_UTF8 = 16
};

static unsigned switched_on(const struct imap_settings *set)
{
	return (set->imap_annotate ? WITH_ANNOTATE : 0u) | (set->imap_metadata ? WITH_METADATA : 0u) | (set->imap_unauthenticate ? WITH_UNAUTHENTICATE : 0u) |
		(set->imap_urlauth ? WITH_URLAUTH : 0u) | (set->imap_utf8_accept ? WITH_UTF8 : 0u);
}

/* What is complete, and nothing else. UIDONLY (RFC 9586) is too, and waits for imap_capability to name it: Microsoft 365, through which Outlook for phones and
   the "new Outlook" fetch mail, enables it when it is announced and then uses message numbers, so that its users would see no mail. */
static const struct {
	const char *word;
	unsigned needs;
} capabilities[] = {
	{ "IMAP4rev1", ALWAYS },
	{ "IMAP4rev2", ALWAYS },
	{ "SASL-IR", ALWAYS },
	{ "ID", ALWAYS },
	{ "ENABLE", ALWAYS },
	{ "IDLE", ALWAYS },
	{ "NAMESPACE", ALWAYS },
	{ "CHILDREN", ALWAYS },
	{ "UIDPLUS", ALWAYS },
	{ "UNSELECT", ALWAYS },
	{ "LITERAL+", ALWAYS },
	{ "COMPRESS=DEFLATE", ALWAYS },
	{ "UNAUTHENTICATE", WITH_UNAUTHENTICATE },
	{ "UTF8=ACCEPT", WITH_UTF8 },
	{ "MOVE", ALWAYS },
	{ "SPECIAL-USE", ALWAYS },
	{ "CREATE-SPECIAL-USE", ALWAYS },
	{ "LIST-EXTENDED", ALWAYS },
	{ "LIST-STATUS", ALWAYS },
	{ "STATUS=SIZE", ALWAYS },
	{ "CONDSTORE", ALWAYS },
	{ "QRESYNC", ALWAYS },
	{ "PREVIEW", ALWAYS },
	{ "OBJECTID", ALWAYS },
	{ "BINARY", ALWAYS },
	{ "MULTIAPPEND", ALWAYS },
	{ "CATENATE", ALWAYS },
	{ "URLAUTH", WITH_URLAUTH },
	{ "URLAUTH=BINARY", WITH_URLAUTH },
	{ "URL-PARTIAL", ALWAYS },
	{ "REPLACE", ALWAYS },
	{ "APPENDLIMIT=4294967295", ALWAYS }, /* IMAP_APPEND_LIMIT */
	{ "ESEARCH", ALWAYS },
	{ "SEARCHRES", ALWAYS },
	{ "WITHIN", ALWAYS },
	{ "PARTIAL", ALWAYS },
	{ "UIDBATCHES", ALWAYS },
	{ "SAVEDATE", ALWAYS },
	{ "INPROGRESS", ALWAYS },
	{ "SORT", ALWAYS },
	{ "SORT=DISPLAY", ALWAYS },
	{ "ESORT", ALWAYS },
	{ "THREAD=ORDEREDSUBJECT", ALWAYS },
	{ "THREAD=REFERENCES", ALWAYS },
	{ "THREAD=REFS", ALWAYS },
	{ "CONTEXT=SEARCH", ALWAYS },
	{ "CONTEXT=SORT", ALWAYS },
	{ "MULTISEARCH", ALWAYS },
	{ "SEARCH=FUZZY", ALWAYS },
	{ "I18NLEVEL=2", ALWAYS },
	{ "LANGUAGE", ALWAYS },
	{ "NOTIFY", ALWAYS },
	{ "ANNOTATE-EXPERIMENT-1", WITH_ANNOTATE },
	{ "METADATA", WITH_METADATA },
	{ "LIST-METADATA", WITH_METADATA },
	{ "FILTERS", WITH_METADATA },
};

/* What a setting switches off is as if it were not there. */
static const struct {
	const struct cv_imap_command *command;
	unsigned needs;
} switched[] = {
	{ &imap_cmd_genurlauth, WITH_URLAUTH },
	{ &imap_cmd_getmetadata, WITH_METADATA },
	{ &imap_cmd_resetkey, WITH_URLAUTH },
	{ &imap_cmd_setmetadata, WITH_METADATA },
	{ &imap_cmd_unauthenticate, WITH_UNAUTHENTICATE },
	{ &imap_cmd_urlfetch, WITH_URLAUTH },
};

static bool has_form(const struct cv_imap_command *command, bool uid)
{
	return uid ? (command->opts & (CV_IMAP_UID_VARIANT | CV_IMAP_UID_ONLY)) != 0 : (command->opts & CV_IMAP_UID_ONLY) == 0;
}

static bool is_off(const struct imap_session *s, const struct cv_imap_command *command)
{
	for (size_t i = 0; i < CV_COUNT_OF(switched); i++)
		if (switched[i].command == command)
			return (switched_on(s->set) & switched[i].needs) == 0;
	return false;
}

const struct cv_imap_command *imap_find_command(const struct imap_session *s, struct cv_str verb, bool uid)
{
	char upper[VERB_MAX + 1] = { 0 };
	const struct cv_imap_command *added;

	if (verb.len > VERB_MAX)
		return NULL;
	for (size_t i = 0; i < verb.len; i++)
		upper[i] = cv_upper(verb.ptr[i]);
	for (size_t i = 0; i < CV_COUNT_OF(commands); i++)
		if (strcmp(commands[i]->verb, upper) == 0 && has_form(commands[i], uid) && !is_off(s, commands[i]))
			return commands[i];
	added = cv_provider_get(cv_session_registry(s->session), CV_CAP_IMAP_COMMAND, upper);
	return added != NULL && has_form(added, uid) ? added : NULL;
}

static void append_word(struct cv_buf *out, struct cv_str word)
{
	if (out->len > 0)
		cv_buf_append_char(out, ' ');
	cv_buf_append(out, word);
}

/* words without those that stand in change with "-" before them. */
static void append_words(struct cv_buf *out, struct cv_str words, struct cv_str change)
{
	struct cv_str word, other, rest;

	while (words.len > 0) {
		bool left_out = false;

		cv_str_split(words, ' ', &word, &words);
		for (rest = change; rest.len > 0 && !left_out;) {
			cv_str_split(rest, ' ', &other, &rest);
			left_out = other.len > 1 && other.ptr[0] == '-' && cv_str_caseeq(cv_str_sub(other, 1, SIZE_MAX), word);
		}
		if (word.len > 0 && !left_out)
			append_word(out, word);
	}
}

/* RFC 9738 section 5: name "=" message-limit */
static void append_limit(struct cv_buf *out, const char *name, uint64_t limit, struct cv_str change)
{
	char text[64];

	if (limit == 0)
		return;
	snprintf(text, sizeof(text), "%s=%llu", name, (unsigned long long)limit);
	append_words(out, cv_str_c(text), change);
}

void imap_append_capabilities(const struct imap_session *s, struct cv_buf *out)
{
	struct cv_str change = cv_str_trim(cv_str_c(s->set->imap_capability)), word;
	const struct cv_imap_list_return *option;
	const struct cv_imap_command *added;
	struct cv_buf list;
	size_t pos = 0;

	cv_buf_init(&list, 16 * 1024);
	if (change.len > 0 && change.ptr[0] != '+' && change.ptr[0] != '-') {
		cv_buf_append(&list, change);
	} else {
		if (change.len > 0 && change.ptr[0] == '+')
			change = cv_str_sub(change, 1, SIZE_MAX);
		for (size_t i = 0; i < CV_COUNT_OF(capabilities); i++)
			if (capabilities[i].needs == ALWAYS || (switched_on(s->set) & capabilities[i].needs) != 0)
				append_words(&list, cv_str_c(capabilities[i].word), change);
		while ((added = cv_provider_next(cv_session_registry(s->session), CV_CAP_IMAP_COMMAND, &pos, NULL)) != NULL)
			if (added->capability != NULL)
				append_words(&list, cv_str_c(added->capability), change);
		for (pos = 0; (option = cv_provider_next(cv_session_registry(s->session), CV_CAP_IMAP_LIST, &pos, NULL)) != NULL;)
			if (option->capability != NULL)
				append_words(&list, cv_str_c(option->capability), change);
		append_limit(&list, "MESSAGELIMIT", s->set->imap_message_limit, change);
		append_limit(&list, "SAVELIMIT", s->set->imap_save_limit, change);
		while (change.len > 0) {
			cv_str_split(change, ' ', &word, &change);
			if (word.len > 0 && word.ptr[0] != '-')
				append_word(&list, word);
		}
	}
	cv_buf_append(out, cv_buf_str(&list));
	cv_buf_deinit(&list);
}

bool imap_announces(const struct imap_session *s, const char *capability)
{
	struct cv_str left, word;
	struct cv_buf list;
	bool found = false;

	cv_buf_init(&list, 16 * 1024);
	imap_append_capabilities(s, &list);
	for (left = cv_buf_str(&list); left.len > 0 && !found;) {
		cv_str_split(left, ' ', &word, &left);
		found = cv_str_caseeq_c(word, capability);
	}
	cv_buf_deinit(&list);
	return found;
}
