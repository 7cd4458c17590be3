/* SPDX-License-Identifier: MIT
   What auth modules and the auth role share: fields of a request, %variables of a request. */
#include <config.h>

#include <culver/auth.h>
#include <culver/log.h>
#include <culver/reader.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#define EXPANDED_MAX 16384 /* octets of one expanded value */
#define NSS_BUF_MIN 4096u
#define NSS_BUF_MAX (1024u * 1024u)

static void free_map(void *ctx)
{
	struct cv_map *map = ctx;

	cv_map_free(&map);
}

static struct cv_map *fields_of(struct cv_auth_request *request)
{
	if (request->fields == NULL) {
		request->fields = cv_map_new();
		cv_arena_cleanup(request->arena, free_map, request->fields);
	}
	return request->fields;
}

void cv_auth_field_set(struct cv_auth_request *request, struct cv_str key, struct cv_str value)
{
	struct cv_map *fields = fields_of(request);

	if (cv_str_ends(key, CV_STR(":remove"))) {
		(void)cv_map_remove(fields, cv_str_sub(key, 0, key.len - 7));
		return;
	}
	if (cv_str_ends(key, CV_STR(":protected"))) {
		key.len -= 10;
		if (cv_map_get(fields, key) != NULL)
			return;
	}
	value = cv_arena_str(request->arena, value.ptr == NULL ? CV_STR("") : value);
	/* Arenas put a NUL behind the copy, and the map's users read up to it. The map copies the key. */
	(void)cv_map_set(fields, key, (void *)(uintptr_t)value.ptr);
}

const char *cv_auth_field(const struct cv_auth_request *request, const char *key)
{
	return request->fields == NULL ? NULL : cv_map_get(request->fields, cv_str_c(key));
}

void cv_auth_field_remove(struct cv_auth_request *request, struct cv_str key)
{
	if (request->fields != NULL)
		(void)cv_map_remove(request->fields, key);
}

/* ---- uid, gid, home, mail ------------------------------------------------------------------------------- */

/* Number, or the name's number. group: of a group. */
static int lookup_id(const char *name, bool group, uint32_t *id_r, struct cv_err *err)
{
	size_t size = NSS_BUF_MIN;
	int ret;
	bool found;

	do {
		char *buf = cv_malloc(size);
		struct passwd pw, *pw_r = NULL;
		struct group gr, *gr_r = NULL;

		ret = group ? getgrnam_r(name, &gr, buf, size, &gr_r) : getpwnam_r(name, &pw, buf, size, &pw_r);
		found = ret == 0 && (group ? gr_r != NULL : pw_r != NULL);
		if (found)
			*id_r = group ? gr_r->gr_gid : pw_r->pw_uid;
		cv_free(buf);
		size *= 2;
	} while (ret == ERANGE && size <= NSS_BUF_MAX);
	if (ret != 0 && ret != ENOENT && ret != ESRCH)
		return cv_err_sys(err, ret, "cannot look up the system %s %s", group ? "group" : "user", cv_log_clean(cv_str_c(name)));
	if (!found)
		return cv_err_set(err, CV_ERR_INVALID, "there is no system %s %s", group ? "group" : "user",
			cv_log_clean(cv_str_c(name)));
	return 0;
}

int cv_auth_resolve_ids(struct cv_auth_request *request, struct cv_err *err)
{
	const char *user = request->sysuid_name.len > 0 ? cv_arena_cstr(request->arena, request->sysuid_name) : NULL;
	const char *group = request->sysgid_name.len > 0 ? cv_arena_cstr(request->arena, request->sysgid_name) : NULL;

	if ((user != NULL && lookup_id(user, false, &request->sysuid, err) < 0) || (group != NULL && lookup_id(group, true, &request->sysgid, err) < 0))
		return -1;
	request->sysuid_name = request->sysgid_name = (struct cv_str){ 0 };
	return 0;
}

static int set_id(struct cv_auth_request *request, struct cv_str value, bool group, uint32_t *id_r, bool *set_r, struct cv_err *err)
{
	struct cv_str *name = group ? &request->sysgid_name : &request->sysuid_name;

	/* (uid_t)-1 means "no change" to setresuid(2). */
	if (!cv_str_to_u32(value, UINT32_MAX - 1, id_r)) {
		if (cv_str_has_nul(value) || value.len == 0)
			return cv_err_set(err, CV_ERR_INVALID, "%s is empty or holds a NUL", group ? "gid" : "uid");
		/* Not now: a name service may keep the asker waiting. */
		*id_r = UINT32_MAX;
		*name = cv_arena_str(request->arena, value);
	} else {
		*name = (struct cv_str){ 0 };
	}
	*set_r = true;
	return 0;
}

int cv_auth_userdb_set(struct cv_auth_request *request, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	struct cv_str name = key;
	bool protect = cv_str_ends(key, CV_STR(":protected")), take_out = cv_str_ends(key, CV_STR(":remove"));

	if (protect || take_out)
		name.len -= protect ? 10 : 7;
	if (cv_str_eq_c(name, "uid")) {
		if (take_out) {
			request->sysuid_set = false;
			request->sysuid_name = (struct cv_str){ 0 };
		}
		if (!take_out && (!protect || !request->sysuid_set))
			return set_id(request, value, false, &request->sysuid, &request->sysuid_set, err);
	} else if (cv_str_eq_c(name, "gid")) {
		if (take_out) {
			request->sysgid_set = false;
			request->sysgid_name = (struct cv_str){ 0 };
		}
		if (!take_out && (!protect || !request->sysgid_set))
			return set_id(request, value, true, &request->sysgid, &request->sysgid_set, err);
	} else if (cv_str_eq_c(name, "home") || cv_str_eq_c(name, "mail")) {
		struct cv_str *member = cv_str_eq_c(name, "home") ? &request->home : &request->mail;

		if (take_out)
			*member = (struct cv_str){ 0 };
		else if (cv_str_has_nul(value))
			return cv_err_set(err, CV_ERR_INVALID, "%.*s holds a NUL", CV_STR_ARG(name));
		else if (!protect || member->ptr == NULL)
			*member = cv_arena_str(request->arena, value);
	} else {
		cv_auth_field_set(request, key, value);
	}
	return 0;
}

/* ---- Variables ------------------------------------------------------------------------------------------ */

struct user_parts {
	struct cv_str user, name, domain;
};

/* %u, %n (before the first '@'), %d (behind it). */
static struct user_parts parts_of(struct cv_str user)
{
	struct user_parts parts = { .user = user };

	if (!cv_str_split(user, '@', &parts.name, &parts.domain))
		parts.domain = CV_STR("");
	return parts;
}

typedef CV_VEC(struct cv_var) var_vec;

static void push(var_vec *vars, char letter, const char *name, struct cv_str value)
{
	struct cv_var *var = cv_vec_push(vars);

	var->letter = letter;
	var->name = name;
	var->value = value;
}

static struct cv_str number(struct cv_arena *arena, uint64_t n)
{
	return cv_str_c(cv_arena_printf(arena, "%llu", (unsigned long long)n));
}

static void push_fields(var_vec *vars, const struct cv_auth_request *request, const char *prefix, const struct cv_map *fields)
{
	struct cv_str key;
	void *value;
	size_t pos = 0;

	while (fields != NULL && cv_map_next(fields, &pos, &key, &value))
		push(vars, 0, cv_arena_printf(request->arena, "%s:%.*s", prefix, CV_STR_ARG(key)), cv_str_c(value));
}

/* Nothing in text but %u, %n, %d and %%, in lower or upper case perhaps: what most settings have. */
static bool has_user_only(const char *text)
{
	for (const char *p = strchr(text, '%'); p != NULL; p = strchr(p + 1, '%')) {
		p += 1 + strspn(p + 1, "LU");
		if (*p == '\0' || strchr("und%", *p) == NULL)
			return false;
	}
	return true;
}

static int expand_user(const struct user_parts *user, const char *text, struct cv_buf *out, struct cv_err *err)
{
	const struct cv_var vars[] = { { .letter = 'u', .name = "user", .value = user->user }, { .letter = 'n', .name = "username", .value = user->name },
		{ .letter = 'd', .name = "domain", .value = user->domain } };

	return cv_var_expand(out, text, vars, CV_COUNT_OF(vars), err) < 0 ? -1 : 0;
}

int cv_auth_expand(const struct cv_auth_request *request, const char *text, struct cv_buf *out, struct cv_err *err)
{
	struct cv_arena *arena = request->arena;
	struct user_parts user = parts_of(request->user), orig = parts_of(request->orig_user);
	struct user_parts auth = parts_of(request->master_user.ptr != NULL ? request->master_user : request->orig_user);
	struct user_parts login = parts_of(request->login_user);
	struct cv_str rport, lport, first, last;
	var_vec vars = { 0 };
	int ret;

	if (strchr(text, '%') == NULL) {
		cv_buf_append_c(out, text);
		return cv_buf_ok(out) ? 0 : cv_err_set(err, CV_ERR_LIMIT, "the text is too long");
	}
	if (has_user_only(text))
		return expand_user(&user, text, out, err);
	rport = number(arena, request->remote_port);
	lport = number(arena, request->local_port);
	if (!cv_str_split(user.domain, '@', &first, &last))
		last = first;
	else
		last = cv_str_sub(user.domain, cv_str_rfind(user.domain, '@') + 1, SIZE_MAX);
	push(&vars, 'u', "user", user.user);
	push(&vars, 'n', "username", user.name);
	push(&vars, 'd', "domain", user.domain);
	push(&vars, 0, "domain_first", first);
	push(&vars, 0, "domain_last", last);
	push(&vars, 's', "service", request->service);
	push(&vars, 'p', "pid", number(arena, (uint64_t)getpid()));
	push(&vars, 'l', "lip", request->local);
	push(&vars, 'r', "rip", request->remote);
	push(&vars, 'a', "lport", lport);
	push(&vars, 'b', "rport", rport);
	push(&vars, 0, "real_lip", request->local);
	push(&vars, 0, "real_rip", request->remote);
	push(&vars, 0, "real_lport", lport);
	push(&vars, 0, "real_rport", rport);
	push(&vars, 0, "local_name", request->local_name);
	push(&vars, 'm', "mech", request->mech);
	push(&vars, 'c', "secured", request->secured ? CV_STR("secured") : CV_STR(""));
	push(&vars, 'k', "cert", request->cert_valid ? CV_STR("valid") : CV_STR(""));
	push(&vars, 0, "session", request->session);
	push(&vars, 0, "auth_user", auth.user);
	push(&vars, 0, "auth_username", auth.name);
	push(&vars, 0, "auth_domain", auth.domain);
	push(&vars, 0, "orig_user", orig.user);
	push(&vars, 0, "orig_username", orig.name);
	push(&vars, 0, "orig_domain", orig.domain);
	push(&vars, 0, "login_user", login.user);
	push(&vars, 0, "login_username", login.name);
	push(&vars, 0, "login_domain", login.domain);
	push(&vars, 0, "master_user", request->master_user);
	push(&vars, 'h', "home", request->home);
	push(&vars, 'i', "uid", request->sysuid_set ? number(arena, request->sysuid) : CV_STR(""));
	push(&vars, 0, "gid", request->sysgid_set ? number(arena, request->sysgid) : CV_STR(""));
	if (request->passdb_fields != NULL) {
		push_fields(&vars, request, "passdb", request->passdb_fields);
		push_fields(&vars, request, "userdb", request->fields);
	} else {
		push_fields(&vars, request, "passdb", request->fields);
	}
	ret = cv_var_expand(out, text, vars.data, vars.count, err);
	cv_vec_free(&vars);
	return ret < 0 ? -1 : 0;
}

int cv_auth_fields_each(const struct cv_auth_request *request, const char *list,
	int (*fn)(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err), void *ctx, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(cv_str_c(list));
	struct cv_buf value;
	int ret = 0;

	cv_buf_init_wipe(&value, EXPANDED_MAX);
	while (ret == 0 && !cv_reader_end(&r)) {
		struct cv_str word, key, raw;
		bool has_value;

		if (!cv_take_until(&r, ' ', &word)) {
			word = cv_reader_rest(&r);
			r.pos = r.s.len;
		}
		word = cv_str_trim(word);
		if (word.len == 0)
			continue;
		has_value = cv_str_split(word, '=', &key, &raw);
		cv_buf_clear(&value);
		if (!has_value) {
			cv_buf_append_c(&value, "yes");
		} else if (cv_str_has_nul(raw)) {
			ret = cv_err_set(err, CV_ERR_INVALID, "a field holds a NUL");
		} else {
			/* Expansion needs a C string; the value is a part of one. */
			const char *text = cv_arena_cstr(request->arena, raw);

			ret = cv_auth_expand(request, text == NULL ? "" : text, &value, err);
			if (ret < 0)
				(void)cv_err_context(err, "field %s", cv_log_clean(key));
		}
		if (ret == 0)
			ret = fn(ctx, key, cv_buf_str(&value), err);
	}
	cv_buf_deinit(&value);
	return ret < 0 ? -1 : 0;
}
