/* SPDX-License-Identifier: MIT
   culverd: reads its options and becomes the master, or one of the roles that the master starts. */
#include "core/proc/auth-helper.h"
#include "core/proc/master.h"
#include "core/proc/worker.h"

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPT_ROLE = 256, OPT_INDEX };

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "foreground", no_argument, NULL, 'F' },
	{ "modules", no_argument, NULL, 'M' },
	{ "option", required_argument, NULL, 'o' },
	{ "test", no_argument, NULL, 't' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ "role", required_argument, NULL, OPT_ROLE },
	{ "index", required_argument, NULL, OPT_INDEX },
	{ NULL, 0, NULL, 0 },
};

static void usage(FILE *out)
{
	(void)fprintf(out,
		"Usage: culverd [-F] [-c FILE] [-o NAME=VALUE]... [-t | -M | -V]\n"
		"The Culver IMAP, POP3 and LMTP server.\n\n"
		"  -c, --config FILE     settings (" CV_CONF_DIR "/culver.ini)\n"
		"  -F, --foreground      stay in the foreground, for service managers\n"
		"  -o, --option N=V      set one setting, over what the files say\n"
		"  -t, --test            check the settings and end: 0 good, 1 not\n"
		"  -M, --modules         print modules and hooks in their order, and end\n"
		"  -V, --version         print the version\n"
		"  -h, --help            print this\n\n"
		"SIGHUP reloads settings, SIGUSR1 reopens the log, SIGTERM stops. See culverd(8), culver(1) and culver.ini(5).\n");
}

static void print_problem(void *ctx, const struct cv_conf_problem *problem)
{
	char text[MASTER_PROBLEM_MAX];

	(void)ctx;
	(void)fprintf(stderr, "culverd: %s\n", master_problem_text(problem, text, sizeof(text)));
}

static int run_role(const char *name, const char *index_text)
{
	static const struct cv_role_ops *const roles[] = { &cv_front_role, &cv_auth_role, &cv_spawner_role };
	uint32_t index = 0;

	if (index_text != NULL && !cv_str_to_u32(cv_str_c(index_text), UINT16_MAX, &index))
		return 64;
	if (strcmp(name, "auth-starter") == 0)
		return cv_auth_starter_main();
	if (strcmp(name, "worker") == 0)
		return cv_worker_exec_main();
	if (strcmp(name, "auth-helper") == 0)
		return cv_auth_helper_main();
	for (size_t i = 0; i < CV_COUNT_OF(roles); i++) {
		if (strcmp(roles[i]->name, name) == 0)
			return cv_role_main(roles[i], index);
	}
	(void)fprintf(stderr, "culverd: there is no role %s\n", name);
	return 64;
}

/* In the starting process: wait until the server serves, or has failed. */
static int wait_for_start(int fd, pid_t pid)
{
	char word[CV_ERR_TEXT_MAX + 1];
	size_t len = 0;
	ssize_t n;

	/* It says 'R', or 'F' and why, and closes the pipe; one that dies says nothing. */
	do {
		n = read(fd, word + len, sizeof(word) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	} while ((n < 0 && errno == EINTR) || (n > 0 && len < sizeof(word) - 1));
	word[len] = '\0';
	if (word[0] == 'R')
		return 0;
	(void)waitpid(pid, NULL, 0);
	(void)fprintf(stderr, "culverd: the server did not start: %s\n", len > 1 ? word + 1 : "it ended without a word, see the log");
	return 1;
}

/* Fork into the background; the parent's exit status says whether the server serves. */
static bool background(struct master_opts *opts, int *status_r)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		(void)fprintf(stderr, "culverd: %s\n", strerror(errno));
		*status_r = 1;
		return false;
	}
	(void)fflush(NULL);
	pid_t pid = fork();
	if (pid < 0) {
		(void)fprintf(stderr, "culverd: %s\n", strerror(errno));
		*status_r = 1;
		return false;
	}
	if (pid > 0) {
		(void)close(ends[1]);
		*status_r = wait_for_start(ends[0], pid);
		return false;
	}
	(void)close(ends[0]);
	(void)setsid();
	opts->ready_fd = ends[1];
	return true;
}

/* Descriptors 0 to 2 are always something, so that no socket ever gets their numbers. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= 2 && fcntl(fd, F_SETFD, 0) == 0);
	if (fd > 2)
		(void)close(fd);
}

int main(int argc, char **argv)
{
	struct master_opts opts = { .conf_path = CV_CONF_DIR "/culver.ini", .ready_fd = -1 };
	const char *role = NULL, *index = NULL;
	CV_VEC(const char *) overrides = { 0 };
	bool test = false, modules = false;
	int c, status = 0;

	fill_standard_fds();
	while ((c = getopt_long(argc, argv, "c:FMo:tVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			opts.conf_path = optarg;
			break;
		case 'F':
			opts.foreground = true;
			break;
		case 'M':
			modules = true;
			break;
		case 'o':
			*cv_vec_push(&overrides) = optarg;
			break;
		case 't':
			test = true;
			break;
		case 'V':
			(void)printf("culverd " PACKAGE_VERSION "\n");
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		case OPT_ROLE:
			role = optarg;
			break;
		case OPT_INDEX:
			index = optarg;
			break;
		default:
			usage(stderr);
			return 64;
		}
	}
	if (role != NULL) {
		/* Copies, since the title overwrites argv. */
		char name[32];
		(void)snprintf(name, sizeof(name), "%s", role);
		char number[32];
		(void)snprintf(number, sizeof(number), "%s", index != NULL ? index : "0");
		cv_title_init(argc, argv);
		return run_role(name, number);
	}
	if (optind < argc) {
		(void)fprintf(stderr, "culverd: unexpected argument \"%s\"\n", argv[optind]);
		usage(stderr);
		return 64;
	}
	/* The master changes to / and overwrites argv with its title. */
	char *path = realpath(opts.conf_path, NULL);
	opts.conf_path = cv_strdup(path != NULL ? path : opts.conf_path);
	free(path);
	for (size_t i = 0; i < overrides.count; i++)
		overrides.data[i] = cv_strdup(overrides.data[i]);
	*cv_vec_push(&overrides) = NULL;
	opts.overrides = overrides.data;
	cv_log_set_role("master");

	struct master_conf *mc = master_conf_load(&opts, print_problem, NULL);
	if (mc == NULL)
		return 1;
	if (test || modules) {
		if (modules)
			master_conf_print_modules(mc);
		master_conf_free(&mc);
		return 0;
	}
	if (!opts.foreground && !background(&opts, &status)) {
		master_conf_free(&mc);
		return status;
	}
	cv_title_init(argc, argv);
	if (chdir("/") < 0)
		(void)fprintf(stderr, "culverd: chdir to /: %s\n", strerror(errno));
	return master_run(&opts, mc);
}
