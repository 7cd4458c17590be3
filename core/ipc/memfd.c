/* SPDX-License-Identifier: MIT
   Memory files that can't change any more, for what is too long for a message. */
#include <config.h>

#include <culver/ipc.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int cv_memfd_new(const char *name, struct cv_err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? cv_err_sys(err, errno, "memory file %s", name) : fd;
}

int cv_memfd_append(int fd, struct cv_str data, struct cv_err *err)
{
	while (data.len > 0) {
		ssize_t n = write(fd, data.ptr, data.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return cv_err_sys(err, n < 0 ? errno : ENOSPC, "memory file");
		data = cv_str_sub(data, (size_t)n, SIZE_MAX);
	}
	return 1;
}

int cv_memfd_seal(int fd, struct cv_err *err)
{
	return fcntl(fd, F_ADD_SEALS, ALL_SEALS) != 0 ? cv_err_sys(err, errno, "memory file cannot be sealed") : 1;
}

int cv_memfd_from(const char *name, struct cv_str data, struct cv_err *err)
{
	int fd = cv_memfd_new(name, err);

	if (fd < 0)
		return -1;
	if (cv_memfd_append(fd, data, err) < 0 || cv_memfd_seal(fd, err) < 0) {
		(void)cv_err_context(err, "%s", name);
		(void)close(fd);
		return -1;
	}
	return fd;
}

int cv_memfd_map(int fd, size_t max, struct cv_str *data_r, struct cv_err *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	size_t size;
	void *p;

	/* What another process could still change must not be looked at twice; what it could cut short would be our SIGBUS. */
	if (seals < 0 || (seals & ALL_SEALS) != ALL_SEALS)
		return cv_err_set(err, CV_ERR_INVALID, "memory file is not sealed");
	if (fstat(fd, &st) != 0)
		return cv_err_sys(err, errno, "memory file");
	if (st.st_size < 0 || (uintmax_t)st.st_size > max)
		return cv_err_set(err, CV_ERR_LIMIT, "memory file has %jd octets, more than %zu", (intmax_t)st.st_size, max);
	size = (size_t)st.st_size;
	if (size == 0) {
		*data_r = CV_STR("");
		return 1;
	}
	p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return cv_err_sys(err, errno, "memory file");
	*data_r = cv_str_mem(p, size);
	return 1;
}

void cv_memfd_unmap(struct cv_str data)
{
	if (data.len > 0)
		(void)munmap((void *)(uintptr_t)data.ptr, data.len);
}
