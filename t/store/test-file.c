/* SPDX-License-Identifier: MIT
   How files are opened for reading: without a trace, and all the same where that is not allowed. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/file.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_AGO 1000000 /* seconds */

static void set_times(int dir)
{
	const struct timespec times[2] = { { .tv_sec = LONG_AGO }, { .tv_nsec = UTIME_NOW } };

	assert_int_equal(utimensat(dir, "file", times, 0), 0);
}

static time_t accessed(int dir)
{
	struct stat st;

	assert_int_equal(fstatat(dir, "file", &st, 0), 0);
	return st.st_atime;
}

static void read_octet(int *fd)
{
	char octet;

	assert_int_equal(pread(*fd, &octet, 1, 0), 1);
	(void)close(*fd);
	*fd = -1;
}

static void reading_leaves_the_time_of_access(void **state)
{
	struct cv_err err = { 0 };
	int dir, fd;

	assert_int_equal(cv_file_root(cv_test_dir(state), &dir, &err), 1);
	assert_int_equal(cv_file_open(dir, "file", O_RDWR | O_CREAT, 0600, &fd, &err), 1);
	assert_int_equal(cv_file_pwrite(fd, CV_STR("octets"), 0, &err), 1);
	cv_file_close(&fd);
	set_times(dir);
	fd = openat(dir, "file", O_RDONLY | O_CLOEXEC);
	read_octet(&fd);
	bool kept_here = accessed(dir) != LONG_AGO;
	set_times(dir);
	assert_int_equal(cv_file_open(dir, "file", O_RDONLY, 0, &fd, &err), 1);
	read_octet(&fd);
	assert_int_equal(accessed(dir), LONG_AGO);
	cv_file_close(&dir);
	if (!kept_here) {
		print_message("this file system keeps no times of access\n");
		skip();
	}
}

/* As with mailboxes that are shared: only the owner may read without a trace. */
static void files_of_others_are_read_as_well(void **state CV_UNUSED)
{
	uid_t before = geteuid();
	struct cv_err err = { 0 };
	int dir, fd;

	assert_int_equal(cv_file_root("/etc", &dir, &err), 1);
	if (before == 0)
		assert_int_equal(seteuid(65534), 0);
	int traceless = openat(dir, "passwd", O_RDONLY | O_CLOEXEC | O_NOATIME);
	int result = cv_file_open(dir, "passwd", O_RDONLY, 0, &fd, &err);
	assert_int_equal(seteuid(before), 0);
	assert_int_equal(traceless, -1);
	assert_int_equal(result, 1);
	read_octet(&fd);
	cv_file_close(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(reading_leaves_the_time_of_access),
		cv_test_fds_only(files_of_others_are_read_as_well),
	};

	return cv_test_run(tests);
}
