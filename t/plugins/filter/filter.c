/* SPDX-License-Identifier: MIT
   Test plugin: two filters that do what a message's X-Filter field says: actions separated by ";", of
     keep[:KEYWORD]  file:MAILBOX  make:MAILBOX (made when it is missing)  seen:MAILBOX  reject:TEXT  send:ADDRESS  reply:ADDRESS  drop
     pass (no decision, what was named before is forgotten)  fail  later  many
   The second one, asked later, decides about messages with X-Second. */
#include <culver/filter.h>
#include <culver/log.h>

static const struct cv_log_ctx log_ctx = { .category = "filter" };

static bool field_of(struct cv_filter_run *run, const char *name, struct cv_str *value_r)
{
	const struct cv_message *message = cv_filter_message(run);
	struct cv_header_field field;

	if (!cv_header_find(message->header, cv_str_c(name), 0, &field))
		return false;
	*value_r = cv_str_trim(field.value);
	return true;
}

/* 1 go on, 0 pass, -1. */
static int act(struct cv_filter_run *run, struct cv_str word, struct cv_str arg, struct cv_err *err)
{
	const struct cv_filter_flags seen = { .flags = CV_FLAG_SEEN };
	const struct cv_filter_flags keyword = { .keywords = &arg, .keyword_count = 1 };
	struct cv_str none = { 0 };

	if (cv_str_eq_c(word, "keep"))
		return cv_filter_keep(run, arg.len > 0 ? &keyword : NULL, err);
	if (cv_str_eq_c(word, "file") || cv_str_eq_c(word, "make"))
		return cv_filter_fileinto(run, arg, cv_str_eq_c(word, "make"), NULL, err);
	if (cv_str_eq_c(word, "seen"))
		return cv_filter_fileinto(run, arg, false, &seen, err);
	if (cv_str_eq_c(word, "reject"))
		return cv_filter_reject(run, arg, err);
	if (cv_str_eq_c(word, "send") || cv_str_eq_c(word, "reply")) {
		if (cv_filter_send(run, cv_filter_delivery(run)->recipient, arg, cv_str_eq_c(word, "send") ? none : CV_STR("Subject: away\r\n\r\nLater.\r\n"), err) >= 0)
			return 1;
		return err->code == CV_ERR_UNSUPPORTED ? cv_filter_keep(run, NULL, err) : -1;
	}
	if (cv_str_eq_c(word, "drop"))
		return 1;
	if (cv_str_eq_c(word, "pass"))
		return 0;
	if (cv_str_eq_c(word, "many")) {
		for (unsigned i = 0; i <= CV_FILTER_ACTIONS_MAX; i++) {
			char name[] = "Many/AA";

			name[5] = (char)('A' + i / 26);
			name[6] = (char)('A' + i % 26);
			if (cv_filter_fileinto(run, cv_str_c(name), true, NULL, err) < 0)
				return -1;
		}
		return 1;
	}
	return cv_err_set(err, cv_str_eq_c(word, "later") ? CV_ERR_TEMP : CV_ERR_CORRUPT, "secret: the script is no script");
}

static int run_first(struct cv_filter_run *run, struct cv_err *err)
{
	const struct cv_delivery *delivery = cv_filter_delivery(run);
	struct cv_str rest, action, word, arg;
	bool more = true;
	int ret = 1;

	if (!field_of(run, "X-Filter", &rest))
		return 0;
	cv_info(&log_ctx, "filter first user=%s from=%.*s to=%.*s", cv_user_name(cv_filter_user(run)), CV_STR_ARG(delivery->reverse_path),
		CV_STR_ARG(delivery->recipient));
	while (ret > 0 && more) {
		more = cv_str_split(rest, ';', &action, &rest);
		action = cv_str_trim(action);
		if (!cv_str_split(action, ':', &word, &arg))
			arg = CV_STR("");
		ret = act(run, word, arg, err);
	}
	return ret;
}

static int run_second(struct cv_filter_run *run, struct cv_err *err)
{
	struct cv_str mailbox;

	cv_info(&log_ctx, "filter second user=%s", cv_user_name(cv_filter_user(run)));
	if (!field_of(run, "X-Second", &mailbox))
		return 0;
	return cv_filter_fileinto(run, mailbox, true, NULL, err);
}

static const struct cv_filter first = { .name = "test-first", .stage = 10, .run = run_first };
static const struct cv_filter second = { .name = "a-test-second", .stage = 20, .run = run_second };

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_filter(reg, &second, err) < 0 || cv_provide_filter(reg, &first, err) < 0 ? -1 : 0;
}

CV_MODULE(filter) = {
	CV_MODULE_ABI,
	.name = "filter",
	.version = "1",
	.kind = CV_KIND_FILTER,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
