/* SPDX-License-Identifier: MIT
   Administrators' commands of the auth process: user, auth test. */
#include <config.h>

#include "core/proc/auth-private.h"

#include <culver/admin.h>
#include <culver/map.h>

#define DEFAULT_SERVICE "imap"
#define STATUS_NOUSER 67 /* EX_NOUSER of sysexits.h */

static struct cv_err err_of(const struct auth_answer *answer, const struct auth_request *request)
{
	const char *reason = auth_request_reason(request);
	struct cv_err err = { 0 };

	switch (answer->result) {
	case CV_AUTH_NOUSER:
	case CV_AUTH_MISMATCH:
		(void)cv_err_set_public(&err, CV_ERR_NOTFOUND, "no userdb knows the user%s%s", reason[0] != '\0' ? ": " : "", reason);
		break;
	case CV_AUTH_DISABLED:
		(void)cv_err_set_public(&err, CV_ERR_PERM, "the user is refused%s%s", reason[0] != '\0' ? ": " : "", reason);
		break;
	case CV_AUTH_OK:
	case CV_AUTH_TEMP:
		(void)cv_err_set_public(&err, CV_ERR_TEMP, "the user databases cannot tell%s%s", reason[0] != '\0' ? ": " : "", reason);
		break;
	}
	return err;
}

static void put_fields(struct cv_admin *admin, const struct cv_map *fields)
{
	CV_VEC(struct cv_str) list = { 0 };
	struct cv_str key;
	void *value;
	size_t pos = 0;

	while (fields != NULL && cv_map_next(fields, &pos, &key, &value))
		*cv_vec_push(&list) = cv_str_c(cv_arena_printf(cv_admin_arena(admin), "%.*s=%s", CV_STR_ARG(key), (const char *)value));
	cv_admin_put_list(admin, "fields", list.data, list.count);
	cv_vec_free(&list);
}

/* ---- user [USER|MASK…] ------------------------------------------------------------------------------------------ */

struct user_command {
	struct cv_admin *admin;
	struct auth *auth;
	CV_VEC(struct cv_str) users; /* to look up, in the command's arena */
	size_t next;
	size_t arg_pos;
	bool any_arg;
	struct auth_request *request;
	struct auth_list *list;
	bool gone;
	bool other_failure; /* than a user who does not exist */
};

static void user_next(struct user_command *command);

static void user_free(struct user_command *command)
{
	cv_vec_free(&command->users);
	cv_free(command);
}

static void user_end(struct user_command *command, const struct cv_err *err)
{
	struct cv_admin *admin = command->admin;

	user_free(command);
	cv_admin_done(admin, err);
}

static void on_user(void *ctx, struct auth_request *request, const struct auth_answer *answer)
{
	struct user_command *command = ctx;
	const struct cv_auth_request *data = auth_request_data(request);
	struct cv_admin *admin = command->admin;

	command->request = NULL;
	if (answer->kind == AUTH_ANSWER_OK) {
		cv_admin_row_begin(admin);
		cv_admin_put_str(admin, "user", data->user);
		if (data->sysuid_set)
			cv_admin_put_u64(admin, "uid", data->sysuid);
		if (data->sysgid_set)
			cv_admin_put_u64(admin, "gid", data->sysgid);
		cv_admin_put_str(admin, "home", data->home);
		cv_admin_put_str(admin, "mail", data->mail);
		put_fields(admin, data->fields);
		cv_admin_row_end(admin);
	} else {
		struct cv_err err = err_of(answer, request);

		(void)cv_err_context(&err, "%s", cv_log_clean(data->orig_user));
		/* One that does not exist; what could not be told counts more. */
		if (err.code != CV_ERR_NOTFOUND)
			command->other_failure = true;
		cv_admin_set_status(admin, command->other_failure ? 0 : STATUS_NOUSER);
		cv_admin_complain(admin, &err);
	}
	user_next(command);
}

static void on_listed(void *ctx, struct cv_str user)
{
	struct user_command *command = ctx;

	*cv_vec_push(&command->users) = cv_arena_str(cv_admin_arena(command->admin), user);
}

static void on_list_end(void *ctx, const struct cv_err *err)
{
	struct user_command *command = ctx;

	command->list = NULL;
	if (err != NULL)
		cv_admin_complain(command->admin, err);
	user_next(command);
}

/* The next look-up, or the next argument: a mask gives a list of users first. */
static void user_next(struct user_command *command)
{
	struct auth_request_spec spec = { .answer = on_user, .ctx = command };
	const char *service = cv_admin_param(command->admin, "service"), *arg;

	if (command->gone) {
		user_end(command, NULL);
		return;
	}
	if (command->next == command->users.count) {
		command->next = command->users.count = 0;
		arg = cv_admin_param_next(command->admin, "user", &command->arg_pos);
		if (arg == NULL && command->any_arg) {
			user_end(command, NULL);
			return;
		}
		command->any_arg = true;
		if (arg == NULL || strpbrk(arg, "*?") != NULL) {
			command->list = auth_list_begin(command->auth, cv_str_c(arg), on_listed, on_list_end, command);
			return;
		}
		on_listed(command, cv_str_c(arg));
	}
	spec.service = cv_str_c(service != NULL ? service : DEFAULT_SERVICE);
	command->request = auth_lookup_begin(command->auth, &spec, command->users.data[command->next++]);
	if (command->request == NULL) {
		struct cv_err err = { 0 };

		(void)cv_err_set_public(&err, CV_ERR_TEMP, "too many requests at a time");
		user_end(command, &err);
	}
}

static void on_user_gone(void *ctx)
{
	struct user_command *command = ctx;

	command->gone = true;
	if (command->request != NULL || command->list != NULL) {
		auth_request_abort(&command->request);
		auth_list_abort(&command->list);
		user_end(command, NULL);
	}
}

static int run_user(struct cv_admin *admin, struct cv_err *err)
{
	struct user_command *command = cv_new0(struct user_command);

	(void)err;
	command->admin = admin;
	command->auth = cv_admin_process(admin);
	cv_admin_on_gone(admin, on_user_gone, command);
	user_next(command);
	return 0;
}

/* ---- auth test USER PASSWORD -------------------------------------------------------------------------------------- */

struct test_command {
	struct cv_admin *admin;
	struct auth_request *request;
};

static void on_tested(void *ctx, struct auth_request *request, const struct auth_answer *answer)
{
	struct test_command *command = ctx;
	const struct cv_auth_request *data = auth_request_data(request);
	struct cv_admin *admin = command->admin;
	const char *passdb = auth_request_passdb(request), *reason = auth_request_reason(request), *result = "ok";
	struct cv_err err = { 0 };

	if (answer->kind != AUTH_ANSWER_OK) {
		switch ((int)answer->code) {
		case CV_ERR_AUTH:
		case CV_ERR_INVALID:
			result = "refused";
			(void)cv_err_set_public(&err, CV_ERR_AUTH, "the login is refused");
			break;
		case CV_ERR_PERM:
		case CV_ERR_EXPIRED:
		case CV_ERR_AUTHZ:
			result = "not allowed";
			(void)cv_err_set_public(&err, CV_ERR_PERM, "the login is not allowed");
			break;
		default:
			result = "temporary failure";
			(void)cv_err_set_public(&err, CV_ERR_TEMP, "the login could not be checked");
			break;
		}
	} else {
		reason = "";
	}
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", data->user.len > 0 ? data->user : data->orig_user);
	cv_admin_put_str(admin, "result", cv_str_c(result));
	cv_admin_put_str(admin, "reason", answer->text.len > 0 && answer->kind == AUTH_ANSWER_FAIL ? answer->text : cv_str_c(reason));
	cv_admin_put_str(admin, "passdb", cv_str_c(passdb != NULL ? passdb : ""));
	put_fields(admin, data->passdb_fields != NULL ? data->passdb_fields : data->fields);
	cv_admin_row_end(admin);
	cv_free(command);
	cv_admin_done(admin, &err);
}

static void on_test_gone(void *ctx)
{
	struct test_command *command = ctx;
	struct cv_admin *admin = command->admin;

	auth_request_abort(&command->request);
	cv_free(command);
	cv_admin_done(admin, NULL);
}

static int run_test(struct cv_admin *admin, struct cv_err *err)
{
	const char *service = cv_admin_param(admin, "service"), *remote = cv_admin_param(admin, "remote");
	struct test_command *command = cv_new0(struct test_command);
	struct auth_request_spec spec = {
		.service = cv_str_c(service != NULL ? service : DEFAULT_SERVICE),
		.remote = cv_str_c(remote),
		.secured = true,
		.no_delay = true,
		.answer = on_tested,
		.ctx = command,
	};

	command->admin = admin;
	command->request = auth_login_plain(cv_admin_process(admin), &spec, cv_str_c(cv_admin_param(admin, "user")),
		cv_str_c(cv_admin_param(admin, "password")));
	if (command->request == NULL) {
		cv_free(command);
		return cv_err_set_public(err, CV_ERR_TEMP, "too many requests at a time");
	}
	cv_admin_on_gone(admin, on_test_gone, command);
	return 0;
}

int auth_admin_provide(struct cv_registry *registry, struct cv_err *err)
{
	static struct cv_admin_command user = { .run = run_user }, test = { .run = run_test };

	user.spec = cv_admin_core_spec("user");
	test.spec = cv_admin_core_spec("auth test");
	if (cv_provide_admin(registry, &user, err) < 0)
		return -1;
	return cv_provide_admin(registry, &test, err);
}
