/* SPDX-License-Identifier: MIT
   An authentication request between auth and its helpers. */
#include <config.h>

#include "core/proc/auth-helper.h"

#include <culver/reader.h>

#define TEXT_MAX 65536u
#define FIELDS_MAX 1000u

void cv_kv_put(struct cv_buf *out, const struct cv_map *map)
{
	size_t count = map == NULL ? 0 : cv_map_count(map), pos = 0, done = 0;
	struct cv_str key;
	void *value;

	count = CV_MIN(count, FIELDS_MAX);
	cv_put_u16(out, (uint16_t)count);
	while (done < count && cv_map_next(map, &pos, &key, &value)) {
		cv_put_str(out, key);
		cv_put_str(out, cv_str_c(value));
		done++;
	}
}

static bool take_text(struct cv_reader *r, struct cv_arena *arena, struct cv_str *out)
{
	struct cv_str s;

	if (!cv_take_str(r, TEXT_MAX, &s))
		return false;
	*out = s.ptr == NULL ? s : cv_arena_str(arena, s);
	return true;
}

static bool take_bool(struct cv_reader *r, bool *out)
{
	uint8_t n;

	if (!cv_take_u8(r, &n) || n > 1)
		return false;
	*out = n == 1;
	return true;
}

/* Into request->fields, which is new after it. */
static bool take_fields(struct cv_reader *r, struct cv_auth_request *request)
{
	struct cv_str key, value;
	uint16_t count;

	request->fields = NULL;
	if (!cv_take_u16(r, &count) || count > FIELDS_MAX)
		return false;
	for (; count > 0; count--) {
		if (!cv_take_str(r, TEXT_MAX, &key) || !cv_take_str(r, TEXT_MAX, &value) || key.ptr == NULL || value.ptr == NULL)
			return false;
		/* Names as they are: a database of the other side has dealt with suffixes. */
		if (cv_str_ends(key, CV_STR(":remove")) || cv_str_ends(key, CV_STR(":protected")))
			return false;
		cv_auth_field_set(request, key, value);
	}
	return true;
}

void cv_helper_put_results(struct cv_buf *out, const struct cv_auth_request *request)
{
	cv_put_str(out, request->user);
	cv_put_u8(out, request->sysuid_set);
	cv_put_u32(out, request->sysuid);
	cv_put_u8(out, request->sysgid_set);
	cv_put_u32(out, request->sysgid);
	cv_put_str(out, request->sysuid_name);
	cv_put_str(out, request->sysgid_name);
	cv_put_str(out, request->home);
	cv_put_str(out, request->mail);
	cv_kv_put(out, request->fields);
}

bool cv_helper_take_results(struct cv_reader *r, struct cv_auth_request *request)
{
	return take_text(r, request->arena, &request->user) && take_bool(r, &request->sysuid_set) && cv_take_u32(r, &request->sysuid) &&
		take_bool(r, &request->sysgid_set) && cv_take_u32(r, &request->sysgid) && take_text(r, request->arena, &request->sysuid_name) &&
		take_text(r, request->arena, &request->sysgid_name) && take_text(r, request->arena, &request->home) &&
		take_text(r, request->arena, &request->mail) && take_fields(r, request);
}

void cv_helper_copy_results(const struct cv_auth_request *from, struct cv_auth_request *to)
{
	struct cv_buf results;

	cv_buf_init_wipe(&results, CV_IPC_MAX_PAYLOAD);
	cv_helper_put_results(&results, from);
	struct cv_reader r = cv_reader_init(cv_buf_str(&results));
	/* What was read once can be written, and read again. */
	bool again = cv_buf_ok(&results) && cv_helper_take_results(&r, to);
	cv_assert(again);
	cv_buf_deinit(&results);
}

void cv_helper_put_request(struct cv_buf *out, const struct cv_auth_request *request)
{
	cv_put_str(out, request->orig_user);
	cv_put_str(out, request->master_user);
	cv_put_str(out, request->login_user);
	cv_put_str(out, request->service);
	cv_put_str(out, request->mech);
	cv_put_str(out, request->session);
	cv_put_str(out, request->remote);
	cv_put_str(out, request->local);
	cv_put_u32(out, request->remote_port);
	cv_put_u32(out, request->local_port);
	cv_put_str(out, request->local_name);
	cv_put_u8(out, request->secured);
	cv_put_u8(out, request->cert_valid);
	cv_put_str(out, request->cert_user);
	cv_put_u8(out, request->userdb_only);
	cv_put_u8(out, request->passdb_fields != NULL);
	if (request->passdb_fields != NULL)
		cv_kv_put(out, request->passdb_fields);
	cv_helper_put_results(out, request);
}

bool cv_helper_take_request(struct cv_reader *r, struct cv_auth_request *request)
{
	struct cv_arena *arena = request->arena;
	bool has_passdb_fields;

	if (!take_text(r, arena, &request->orig_user) || !take_text(r, arena, &request->master_user) ||
		!take_text(r, arena, &request->login_user) || !take_text(r, arena, &request->service) ||
		!take_text(r, arena, &request->mech) || !take_text(r, arena, &request->session) ||
		!take_text(r, arena, &request->remote) || !take_text(r, arena, &request->local) ||
		!cv_take_u32(r, &request->remote_port) || !cv_take_u32(r, &request->local_port) ||
		!take_text(r, arena, &request->local_name) || !take_bool(r, &request->secured) || !take_bool(r, &request->cert_valid) ||
		!take_text(r, arena, &request->cert_user) || !take_bool(r, &request->userdb_only) || !take_bool(r, &has_passdb_fields))
		return false;
	if (has_passdb_fields) {
		if (!take_fields(r, request))
			return false;
		/* None at all is different from none there: userdbs ask whether there was a login. */
		if (request->fields == NULL) {
			cv_auth_field_set(request, CV_STR(" "), CV_STR(""));
			cv_auth_field_remove(request, CV_STR(" "));
		}
		request->passdb_fields = request->fields;
	}
	return cv_helper_take_results(r, request);
}
