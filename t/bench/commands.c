/* SPDX-License-Identifier: MIT
   One kind of command, over the real store and without a network, for callgrind: t/bench/counts has only the time in measured() counted. */
#include <config.h>

#include "t/bench/corpus.h"
#include "t/lib/fake-session.h"

#include <culver/log.h>

#include "modules/lib/pop3/pop3.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const struct cv_module imap_LTX_cv_module, pop3_LTX_cv_module, sdbox_LTX_cv_module;

enum { MESSAGES = 200 };

struct work {
	const char *name;
	const char *command;   /* IMAP, or POP3 when pop3 */
	unsigned units;        /* in one command: messages, or 1 */
	unsigned repeat;
	bool pop3;
	const char *before;    /* a command that makes what is measured a second time, or NULL */
};

static const struct work works[] = {
	{ "noop", "NOOP", 1, 100, false, "NOOP" },
	{ "select", "SELECT INBOX", 1, 50, false, "SELECT INBOX" },
	{ "status", "STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)", 1, 100, false, "NOOP" },
	{ "fetch-flags", "FETCH 1:* (UID FLAGS)", MESSAGES, 5, false, "FETCH 1:* (UID FLAGS)" },
	{ "fetch-list-first", "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)", MESSAGES, 1, false, NULL },
	{ "fetch-list", "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)", MESSAGES, 5, false,
		"FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)\r\nr FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)" }, /* in memory after the second */
	{ "fetch-header", "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-BENCH)])", MESSAGES, 2, false, "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-BENCH)])" },
	{ "fetch-body", "FETCH 1:* (BODY.PEEK[])", MESSAGES, 2, false, "FETCH 1:* (BODY.PEEK[])" },
	{ "store", "STORE 1:* +FLAGS (\\Flagged)\r\nr STORE 1:* -FLAGS (\\Flagged)", 2 * MESSAGES, 2, false, "NOOP" },
	{ "search-subject-first", "SEARCH SUBJECT " CORPUS_WORD, MESSAGES, 1, false, NULL },
	{ "search-subject", "SEARCH SUBJECT " CORPUS_WORD, MESSAGES, 2, false, "SEARCH SUBJECT " CORPUS_WORD },
	{ "search-body", "SEARCH BODY " CORPUS_WORD, MESSAGES, 1, false, "SEARCH BODY " CORPUS_WORD },
	{ "search-text", "SEARCH TEXT " CORPUS_WORD, MESSAGES, 1, false, "SEARCH TEXT " CORPUS_WORD },
	{ "sort", "SORT (SUBJECT DATE) UTF-8 ALL", MESSAGES, 1, false, NULL },
	{ "thread", "THREAD REFERENCES UTF-8 ALL", MESSAGES, 1, false, NULL },
	{ "sort-again", "SORT (SUBJECT DATE) UTF-8 ALL", MESSAGES, 2, false, "SORT (SUBJECT DATE) UTF-8 ALL" },
	{ "thread-again", "THREAD REFERENCES UTF-8 ALL", MESSAGES, 2, false, "THREAD REFERENCES UTF-8 ALL" },
	{ "copy", "COPY 1:* other", MESSAGES, 1, false, "CREATE other" },
	{ "append", NULL, 1, 100, false, NULL },
	{ "retr", NULL, MESSAGES, 1, true, NULL },
};

/* In the C library's place for this program: valgrind before 3.20 does not know openat2. */
CV_EXPORT long syscall(long number, ...)
{
	long a[6], (*real)(long, ...) = NULL;
	void *symbol = dlsym(RTLD_NEXT, "syscall");
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < CV_COUNT_OF(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_openat2) {
		const struct open_how *how = (const struct open_how *)a[2];

		return openat((int)a[0], (const char *)a[1], (int)how->flags, (mode_t)how->mode);
	}
	memcpy(&real, &symbol, sizeof(real));
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What is counted; the name is what callgrind looks for. */
extern void measured(struct cv_session *session, struct cv_str octets, unsigned repeat);

__attribute__((noinline)) void measured(struct cv_session *session, struct cv_str octets, unsigned repeat)
{
	for (unsigned i = 0; i < repeat; i++) {
		fake_session_push(session, octets);
		(void)fake_session_output(session);
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static struct cv_session *start_pop3(struct fake_worker *worker)
{
	struct cv_session *session;
	struct cv_buf resume;

	cv_buf_init(&resume, 100);
	cv_pop3_resume_put(&(struct cv_pop3_resume){ .lines = { CV_STR("USER") }, .count = 1 }, &resume);
	session = fake_session_start(worker, cv_buf_str(&resume));
	cv_buf_deinit(&resume);
	return session;
}

static struct cv_session *log_in(struct fake_worker *worker, bool pop3)
{
	struct cv_session *session = pop3 ? start_pop3(worker) : fake_session_start_imap(worker);

	if (session->state == NULL)
		cv_fatal("the session does not start");
	(void)fake_session_output(session);
	return session;
}

static void put_append(struct cv_buf *out, unsigned n, size_t size)
{
	struct corpus_message message = corpus_make(n, size);
	char command[64];
	int len = snprintf(command, sizeof(command), "r APPEND INBOX {%zu+}\r\n", message.len);

	cv_buf_append(out, cv_str_mem(command, (size_t)len));
	cv_buf_append(out, cv_str_mem(message.octets, message.len));
	cv_buf_append(out, CV_STR("\r\n"));
	corpus_free(&message);
}

/* Send, and see that it went well. */
static void tell(struct cv_session *session, struct cv_str octets)
{
	struct cv_str out;

	fake_session_push(session, octets);
	out = fake_session_output(session);
	if (cv_str_find_str(out, CV_STR("r NO")) != SIZE_MAX || cv_str_find_str(out, CV_STR("r BAD")) != SIZE_MAX || session->closed)
		cv_fatal("refused: %.*s", (int)out.len, out.ptr);
}

static void tell_command(struct cv_session *session, const char *command)
{
	struct cv_buf line;

	cv_buf_init(&line, 1000);
	cv_buf_append(&line, CV_STR("r "));
	cv_buf_append(&line, cv_str_c(command));
	cv_buf_append(&line, CV_STR("\r\n"));
	tell(session, cv_buf_str(&line));
	cv_buf_deinit(&line);
}

static void fill(struct fake_worker *worker)
{
	struct cv_session *session = log_in(worker, false);

	for (unsigned n = 0; n < MESSAGES; n++) {
		struct cv_buf append;

		cv_buf_init(&append, SIZE_MAX / 2);
		put_append(&append, n, 0);
		tell(session, cv_buf_str(&append));
		cv_buf_deinit(&append);
	}
	tell(session, CV_STR("r SELECT INBOX\r\n"));
	fake_session_end(&session);
}

static void measure(struct fake_worker *worker, const struct work *work)
{
	struct cv_session *session = log_in(worker, work->pop3);
	struct cv_buf input;

	if (!work->pop3)
		tell(session, CV_STR("r SELECT INBOX\r\n"));
	if (work->before != NULL)
		tell_command(session, work->before);
	cv_buf_init(&input, SIZE_MAX / 2);
	if (work->pop3) {
		for (unsigned n = 1; n <= MESSAGES; n++) {
			char line[32];

			cv_buf_append(&input, cv_str_mem(line, (size_t)snprintf(line, sizeof(line), "RETR %u\r\n", n)));
		}
	} else if (work->command == NULL) {
		put_append(&input, 1, 4096);
	} else {
		cv_buf_append(&input, CV_STR("r "));
		cv_buf_append(&input, cv_str_c(work->command));
		cv_buf_append(&input, CV_STR("\r\n"));
	}
	measured(session, cv_buf_str(&input), work->repeat);
	cv_buf_deinit(&input);
	fake_session_end(&session);
	printf("{\"units\": %u}\n", work->units * work->repeat);
}

int main(int argc, char **argv)
{
	static const struct cv_module *const imap[] = { &imap_LTX_cv_module, &sdbox_LTX_cv_module, NULL };
	static const struct cv_module *const pop3[] = { &pop3_LTX_cv_module, &sdbox_LTX_cv_module, NULL };
	char dir[] = "/tmp/culver-commands-XXXXXX", location[100];
	const struct work *work = NULL;
	struct fake_worker *worker;

	if (argc == 2 && strcmp(argv[1], "-l") == 0) {
		for (size_t i = 0; i < CV_COUNT_OF(works); i++)
			printf("%s\n", works[i].name);
		return 0;
	}
	for (size_t i = 0; i < CV_COUNT_OF(works) && argc == 2; i++)
		if (strcmp(works[i].name, argv[1]) == 0)
			work = &works[i];
	if (work == NULL) {
		fprintf(stderr, "usage: commands NAME, or -l for the names\n");
		return 2;
	}
	if (mkdtemp(dir) == NULL) {
		perror(dir);
		return 1;
	}
	(void)snprintf(location, sizeof(location), "sdbox:%s/mail", dir);
	worker = fake_worker_new(imap, location, true);
	fill(worker);
	if (work->pop3) {
		fake_worker_free(&worker);
		worker = fake_worker_new(pop3, location, true);
	} else {
		fake_worker_reopen(worker);
	}
	measure(worker, work);
	fake_worker_free(&worker);
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
