/* SPDX-License-Identifier: MIT
   Administrators' commands of the spawner: who is logged in, and ending of sessions. */
#include "core/proc/spawner.h"

#include <string.h>

/* "*" any run of characters, "?" any one; linear in memory, at most quadratic in time. */
static bool mask_matches(const char *mask, const char *text)
{
	const char *star = NULL, *resume = NULL;

	while (*text != '\0') {
		if (*mask == '*') {
			star = mask++;
			resume = text;
		} else if (*mask == '?' || *mask == *text) {
			mask++;
			text++;
		} else if (star != NULL) {
			mask = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*mask == '*')
		mask++;
	return *mask == '\0';
}

static bool user_wanted(const struct cv_admin *admin, const char *user)
{
	const char *mask;
	bool any = false;

	for (size_t pos = 0; (mask = cv_admin_param_next(admin, "user", &pos)) != NULL;) {
		any = true;
		if (mask_matches(mask, user))
			return true;
	}
	return !any;
}

static void put_session(struct cv_admin *admin, const char *user, struct cv_str id, const struct session *s)
{
	cv_admin_put_str(admin, "user", cv_str_c(user));
	cv_admin_put_str(admin, "protocol", cv_str_c(s->protocol));
	cv_admin_put_str(admin, "session", id);
}

static bool session_wanted(const struct cv_admin *admin, struct cv_str id, const struct session *s)
{
	const char *session = cv_admin_param(admin, "session"), *protocol = cv_admin_param(admin, "protocol");

	return (session == NULL || cv_str_eq_c(id, session)) && (protocol == NULL || strcmp(protocol, s->protocol) == 0);
}

static void who_row(struct cv_admin *admin, const char *user, uint64_t pid, struct cv_str id, const struct session *s, const char *state)
{
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", cv_str_c(user));
	cv_admin_put_str(admin, "protocol", cv_str_c(s->protocol));
	cv_admin_put_str(admin, "remote", s->remote[0] != '\0' ? cv_str_c(s->remote) : CV_STR("local"));
	cv_admin_put_u64(admin, "pid", pid);
	cv_admin_put_str(admin, "session", id);
	cv_admin_put_u64(admin, "since", (uint64_t)s->since_sec);
	cv_admin_put_str(admin, "state", cv_str_c(state));
	cv_admin_row_end(admin);
}

static int run_who(struct cv_admin *admin, struct cv_err *err)
{
	struct spawner *sp = cv_admin_process(admin);
	const char *protocol = cv_admin_param(admin, "protocol");
	struct cv_node *node, *next;
	struct cv_str id;
	void *value;

	(void)err;
	cv_list_foreach(&sp->workers, node, next) {
		const struct worker *w = cv_container(node, struct worker, node);
		if (!user_wanted(admin, w->user))
			continue;
		for (size_t pos = 0; cv_map_next(w->sessions, &pos, &id, &value);) {
			const struct session *s = value;
			if (protocol == NULL || strcmp(protocol, s->protocol) == 0)
				who_row(admin, w->user, (uint64_t)w->pid, id, s, s->state);
		}
	}
	/* No process of its own: 0. */
	for (size_t pos = 0; cv_map_next(sp->sleepers, &pos, &id, &value);) {
		const struct sleeper *sleeper = value;
		if (user_wanted(admin, sleeper->of->user) && (protocol == NULL || strcmp(protocol, sleeper->session->protocol) == 0))
			who_row(admin, sleeper->of->user, 0, cv_str_c(sleeper->name), sleeper->session, "asleep");
	}
	return 1;
}

static int run_kick(struct cv_admin *admin, struct cv_err *err)
{
	struct spawner *sp = cv_admin_process(admin);
	struct cv_node *node, *next;
	struct cv_str id;
	void *value;
	size_t count = 0;

	cv_list_foreach(&sp->workers, node, next) {
		struct worker *w = cv_container(node, struct worker, node);
		if (!user_wanted(admin, w->user))
			continue;
		for (size_t pos = 0; cv_map_next(w->sessions, &pos, &id, &value);) {
			const struct session *s = value;
			if (!session_wanted(admin, id, s))
				continue;
			spawner_kick(w, id, CV_STR("kicked"));
			count++;
			cv_admin_row_begin(admin);
			put_session(admin, w->user, id, s);
			cv_admin_row_end(admin);
		}
	}
	for (size_t pos = 0; cv_map_next(sp->sleepers, &pos, &id, &value);) {
		struct sleeper *sleeper = value;
		if (!user_wanted(admin, sleeper->of->user) || !session_wanted(admin, cv_str_c(sleeper->name), sleeper->session))
			continue;
		spawner_kick_sleeper(sleeper);
		count++;
		cv_admin_row_begin(admin);
		put_session(admin, sleeper->of->user, cv_str_c(sleeper->name), sleeper->session);
		cv_admin_row_end(admin);
	}
	if (count == 0)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "no such session");
	cv_info(NULL, "%zu sessions ended on the word of %s", count, cv_admin_peer(admin));
	return 1;
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	static struct cv_admin_command who = { .run = run_who }, kick = { .run = run_kick };

	(void)role;
	who.spec = cv_admin_core_spec("who");
	kick.spec = cv_admin_core_spec("kick");
	return cv_provide_admin(reg, &who, err) < 0 || cv_provide_admin(reg, &kick, err) < 0 ? -1 : 0;
}

const struct cv_module spawner_admin_module = {
	CV_MODULE_ABI,
	.name = "spawner-admin",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER | CV_ROLE_SPAWNER,
	.load = load,
};
