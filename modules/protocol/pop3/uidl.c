/* SPDX-License-Identifier: MIT
   POP3: the form of unique-ids (RFC 1939 section 7) and of the flag that hides messages. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

#include <culver/settings.h>

bool cv_pop3_flag_parse(const char *name, uint16_t *flag_r, struct cv_str *keyword_r)
{
	static const struct {
		const char *name;
		uint16_t flag;
	} flags[] = { { "\\Seen", CV_FLAG_SEEN }, { "\\Answered", CV_FLAG_ANSWERED }, { "\\Flagged", CV_FLAG_FLAGGED },
		{ "\\Deleted", CV_FLAG_DELETED }, { "\\Draft", CV_FLAG_DRAFT } };
	struct cv_str s = cv_str_c(name);

	*flag_r = 0;
	*keyword_r = (struct cv_str){ NULL, 0 };
	for (size_t i = 0; i < CV_COUNT_OF(flags); i++) {
		if (cv_str_caseeq_c(s, flags[i].name)) {
			*flag_r = flags[i].flag;
			return true;
		}
	}
	if (s.len == 0 || s.len > 64)
		return false;
	/* flag-keyword = atom (RFC 3501 section 9) */
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || strchr("(){%*\"\\]", s.ptr[i]) != NULL)
			return false;
	}
	*keyword_r = s;
	return true;
}

bool cv_pop3_uidl_valid(struct cv_str s)
{
	if (s.len == 0 || s.len > CV_POP3_UIDL_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
			return false;
	}
	return true;
}

/* A file name without its folder and its flags ("cur/1.2.host:2,S" is "1.2.host"): what stays the same as long as the message. */
static struct cv_str base_name(struct cv_str ref)
{
	size_t slash = cv_str_rfind(ref, '/');

	if (slash != SIZE_MAX)
		ref = cv_str_sub(ref, slash + 1, SIZE_MAX);
	return cv_str_sub(ref, 0, cv_str_find(ref, ':'));
}

int cv_pop3_uidl_expand(const char *format, const struct cv_pop3_uidl_parts *parts, struct cv_buf *out, struct cv_err *err)
{
	struct cv_buf numbers[2], hex;
	int ret;

	for (size_t i = 0; i < 2; i++) {
		cv_buf_init(&numbers[i], 16);
		cv_buf_append_u64(&numbers[i], i == 0 ? parts->uid : parts->uidvalidity);
	}
	cv_buf_init(&hex, 64);
	cv_buf_append_hex(&hex, cv_str_mem(parts->guid, sizeof(parts->guid)));
	ret = cv_var_expand(out, format,
		(struct cv_var[]){ { 'u', "uid", cv_buf_str(&numbers[0]) }, { 'v', "uidvalidity", cv_buf_str(&numbers[1]) },
			{ 'g', "guid", cv_buf_str(&hex) }, { 'f', "filename", base_name(parts->ref) } },
		4, err);
	cv_buf_deinit(&numbers[0]);
	cv_buf_deinit(&numbers[1]);
	cv_buf_deinit(&hex);
	return ret;
}

int cv_pop3_uidl_format_check(const char *format, struct cv_err *err)
{
	/* The longest that can come of it, but for file names: theirs is a usual one. */
	static const struct cv_pop3_uidl_parts longest = { .uid = UINT32_MAX, .uidvalidity = UINT32_MAX,
		.ref = CV_STR_INIT("1795500000.M123456P12345.mail.example.org") };
	struct cv_buf out;
	int ret;

	cv_buf_init(&out, 1024);
	ret = cv_pop3_uidl_expand(format, &longest, &out, err);
	if (ret >= 0 && (!cv_buf_ok(&out) || !cv_pop3_uidl_valid(cv_buf_str(&out))))
		ret = cv_err_set(err, CV_ERR_INVALID, "must give 1 to %d printable characters without spaces", CV_POP3_UIDL_MAX);
	cv_buf_deinit(&out);
	return ret;
}
