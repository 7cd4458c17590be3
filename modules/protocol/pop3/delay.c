/* SPDX-License-Identifier: MIT
   POP3: the least time between two logins of a user (RFC 2449 section 6.5). */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

#include <culver/file.h>
#include <culver/time.h>

#include <fcntl.h>

/* In the user's index directory, since the worker may end before the time is over. Eight octets: seconds since 1970 of the last login. When it is lost
   the next login is let in. */
#define FILE_NAME "pop3-login"

/* 1 with the time of the last login, 0 there was none that is known. */
static int last_login(int fd, int64_t *last_r, struct cv_err *err)
{
	uint8_t octets[8];
	struct cv_reader r;
	uint64_t sec;
	size_t len;

	if (cv_file_pread(fd, octets, sizeof(octets), 0, &len, err) < 0)
		return -1;
	r = cv_reader_init(cv_str_mem(octets, len));
	if (!cv_take_u64(&r, &sec) || sec > INT64_MAX)
		return 0;
	*last_r = (int64_t)sec;
	return 1;
}

static int note_login(int fd, int64_t now, struct cv_err *err)
{
	struct cv_buf octets;
	int ret;

	cv_buf_init(&octets, 8);
	cv_put_u64(&octets, (uint64_t)now);
	ret = cv_file_pwrite(fd, cv_buf_str(&octets), 0, err);
	cv_buf_deinit(&octets);
	return ret;
}

uint32_t cv_pop3_login_delay(struct cv_pop3_session *client)
{
	int64_t now = cv_time_now_sec(), last = 0, delay = client->resume.login_delay;
	struct cv_err err = { 0 };
	int fd = -1, ret;

	if (delay == 0)
		return 0;
	ret = cv_file_open(cv_user_index_fd(client->user), FILE_NAME, O_RDWR | O_CREAT, 0600, &fd, &err);
	if (ret > 0)
		ret = last_login(fd, &last, &err);
	/* A time to come is that of a clock that was wrong. */
	if (ret > 0 && last <= now && now - last < delay) {
		cv_file_close(&fd);
		return (uint32_t)(delay - (now - last));
	}
	if (ret >= 0)
		ret = note_login(fd, now, &err);
	cv_file_close(&fd);
	/* The user is not to blame. */
	if (ret < 0)
		cv_warn(cv_session_log(client->session), "the time of the login is not noted for pop3_login_delay: %s", err.text);
	return 0;
}
