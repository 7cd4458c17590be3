/* SPDX-License-Identifier: MIT
   Another program that changes a Maildir: it delivers, sets flags and keywords in file names, removes messages, and makes and removes folders. It does so durably, as programs that deliver
   mail do; the store has to take it as it finds it, before and after a power cut. */
#include <config.h>

#include "t/crash/program.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The directories of a mailbox. */
struct place {
	int dir, cur, new, tmp;
};

static const char flag_letters[] = "SRFTD"; /* in the order of enum cv_flag */

static void must(const struct program *p, int result, const struct cv_err *err)
{
	if (result < 0)
		program_stop(p, "the other program", err);
}

static int open_dir(const struct program *p, int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		program_stop(p, path, NULL);
	return fd;
}

static struct place open_place(const struct program *p, const struct box *box)
{
	struct place place;
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s/home/mail/", p->dir);

	if (strcmp(box->name, "INBOX") != 0) {
		(void)snprintf(path + len, sizeof(path) - (size_t)len, ".%s", box->name);
		for (char *c = path + len; *c != '\0'; c++)
			*c = *c == '/' ? '.' : *c;
	}
	place.dir = open_dir(p, AT_FDCWD, path);
	place.cur = open_dir(p, place.dir, "cur");
	place.new = open_dir(p, place.dir, "new");
	place.tmp = open_dir(p, place.dir, "tmp");
	return place;
}

static void close_place(struct place *place)
{
	(void)close(place->dir);
	(void)close(place->cur);
	(void)close(place->new);
	(void)close(place->tmp);
}

static void write_new(const struct program *p, int dir, const char *name, struct cv_str octets)
{
	struct cv_err err = { 0 };
	int fd;

	must(p, cv_file_open(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600, &fd, &err), &err);
	must(p, cv_file_pwrite(fd, octets, 0, &err), &err);
	must(p, cv_file_sync(fd, false, &err), &err);
	cv_file_close(&fd);
}

static void deliver(struct program *p, struct place *place, struct box *box, uint32_t uid)
{
	struct cv_err err = { 0 };
	struct cv_buf body;
	char name[64];

	cv_buf_init(&body, SIZE_MAX);
	program_make_body(p, &body);
	(void)snprintf(name, sizeof(name), "1700000000.M%uP1.elsewhere", p->bodies);
	write_new(p, place->tmp, name, cv_buf_str(&body));
	must(p, cv_file_rename(place->tmp, name, place->new, name, false, &err), &err);
	must(p, cv_file_sync(place->new, true, &err), &err);
	*(struct message *)cv_vec_push(&box->messages) = (struct message){ .uid = uid, .crc = cv_crc32c(0, body.data, body.len) };
	cv_buf_deinit(&body);
}

/* The file of a message by what its name begins with, up to the colon. False: neither in cur nor in new. */
static bool find_file(const struct program *p, const struct place *place, const char *base, size_t len, char name_r[NAME_MAX + 1], bool *is_new_r)
{
	bool found = false;

	for (int i = 0; i < 2 && !found; i++) {
		int fd = open_dir(p, place->dir, i == 0 ? "cur" : "new");
		DIR *dir = fdopendir(fd);
		struct dirent *entry;

		if (dir == NULL)
			program_stop(p, "opendir", NULL);
		while (!found && (entry = readdir(dir)) != NULL) {
			found = strncmp(entry->d_name, base, len) == 0 && (entry->d_name[len] == ':' || entry->d_name[len] == '\0');
			if (found)
				(void)snprintf(name_r, NAME_MAX + 1, "%s", entry->d_name);
		}
		*is_new_r = i == 1;
		(void)closedir(dir);
	}
	return found;
}

/* Number of a keyword in dovecot-keywords, which gets it when it is not there. */
static unsigned keyword_number(const struct program *p, const struct place *place, const char *keyword)
{
	static const char *const file = "dovecot-keywords", *const temp = "dovecot-keywords.elsewhere";
	char octets[4096];
	struct cv_err err = { 0 };
	unsigned next = 0, number;
	ssize_t got = 0;
	size_t len;
	int fd = openat(place->dir, file, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		got = read(fd, octets, sizeof(octets) - 100);
		(void)close(fd);
	}
	octets[got > 0 ? got : 0] = '\0';
	for (const char *line = octets; *line != '\0'; line = strchr(line, '\n') + 1) {
		char name[64];

		if (sscanf(line, "%u %63[^\n]", &number, name) != 2)
			program_stop(p, "dovecot-keywords", NULL);
		if (strcmp(name, keyword) == 0)
			return number;
		next = CV_MAX(next, number + 1);
	}
	len = strlen(octets);
	(void)snprintf(octets + len, sizeof(octets) - len, "%u %s\n", next, keyword);
	write_new(p, place->dir, temp, cv_str_c(octets));
	must(p, cv_file_rename(place->dir, temp, place->dir, file, true, &err), &err);
	must(p, cv_file_sync(place->dir, true, &err), &err);
	return next;
}

/* The file gets the flags, and the keyword if it is not NULL, and keeps its other letters. */
static void set_letters(const struct program *p, const struct place *place, const char *name, bool is_new, uint16_t flags, const char *keyword)
{
	const char *info = strchr(name, ':');
	bool has[128] = { false };
	struct cv_err err = { 0 };
	struct cv_buf to;

	for (const char *c = info != NULL ? info + 3 : ""; *c != '\0'; c++)
		has[*c & 127] = true;
	for (unsigned i = 0; flag_letters[i] != '\0'; i++)
		has[(unsigned char)flag_letters[i]] = (flags & 1u << i) != 0;
	if (keyword != NULL)
		has['a' + keyword_number(p, place, keyword)] = true;
	cv_buf_init(&to, NAME_MAX);
	cv_buf_append(&to, cv_str_mem(name, info != NULL ? (size_t)(info - name) : strlen(name)));
	cv_buf_append_c(&to, ":2,");
	for (int c = 0; c < 128; c++) {
		if (has[c])
			cv_buf_append_char(&to, (char)c);
	}
	if (strcmp(to.data, name) != 0) {
		must(p, cv_file_rename(is_new ? place->new : place->cur, name, place->cur, to.data, false, &err), &err);
		must(p, cv_file_sync(place->cur, true, &err), &err);
		if (is_new)
			must(p, cv_file_sync(place->new, true, &err), &err);
	}
	cv_buf_deinit(&to);
}

/* Does the name say what the model has? Else a change of ours is still to come to it. */
static bool has_flags(const char *name, uint16_t flags)
{
	const char *info = strchr(name, ':');

	for (unsigned i = 0; flag_letters[i] != '\0'; i++) {
		if ((info != NULL && strchr(info, flag_letters[i]) != NULL) != ((flags & 1u << i) != 0))
			return false;
	}
	return true;
}

static void change_one(struct program *p, const struct place *place, struct box *box, struct cv_view *view, bool settled)
{
	size_t i = program_below((uint32_t)box->messages.count);
	unsigned word = 1 + program_below(2), what = program_below(3);
	struct message *m = &box->messages.data[i];
	struct cv_str ref = cv_view_ref(view, cv_view_seq(view, m->uid));
	uint16_t flags = (uint16_t)program_below(CV_FLAG_ALL + 1);
	char name[NAME_MAX + 1], base[NAME_MAX + 1];
	struct cv_err err = { 0 };
	bool is_new;

	(void)snprintf(base, sizeof(base), "%.*s", CV_STR_ARG(ref));
	if (ref.len == 0 || !find_file(p, place, base, strcspn(base, ":"), name, &is_new) || !has_flags(name, m->flags))
		return;
	/* A change of ours is merged with one of others as long as nothing says durably that the file names had it: flags then are neither's alone. */
	if (what > 0 && !settled)
		return;
	if (what == 0) {
		*(struct removal *)cv_vec_push(&p->removals) = (struct removal){ box->uidvalidity, m->uid, m->crc, p->states.count, disk_calls(p->disk) };
		must(p, cv_file_unlink(is_new ? place->new : place->cur, name, &err), &err);
		must(p, cv_file_sync(is_new ? place->new : place->cur, true, &err), &err);
		memmove(m, m + 1, (box->messages.count - i - 1) * sizeof(*m));
		box->messages.count--;
		return;
	}
	set_letters(p, place, name, is_new, flags, what == 1 ? program_keywords[word] : NULL);
	m->flags = flags;
	m->keywords |= what == 1 ? 1u << word : 0;
}

/* ---- folders: they come and go as a whole */

/* Below the mail directory. */
static void folder_path(const char *mailbox, char path[128])
{
	int len = snprintf(path, 128, "mail/.%s", mailbox);

	for (int i = 5; i < len; i++)
		path[i] = path[i] == '/' ? '.' : path[i];
}

static void move_folder(const struct program *p, int home, const char *from, const char *to)
{
	int mail = open_dir(p, home, "mail");
	struct cv_err err = { 0 };

	must(p, cv_file_rename(home, from, home, to, false, &err), &err);
	must(p, cv_file_sync(mail, true, &err), &err);
	must(p, cv_file_sync(home, true, &err), &err);
	(void)close(mail);
}

static bool is_there(struct program *p, const char *name, struct cv_mailbox_info *info_r)
{
	return cv_mailbox_lookup(p->user, cv_str_c(name), info_r) > 0 && info_r->exists;
}

/* With a UID list, as another server's: else the store gives it another UIDVALIDITY each time that a power cut takes the record. */
static void make_folder(struct program *p, int home, const char *name)
{
	static const char *const dirs[] = { "made/cur", "made/new", "made/tmp" };
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };
	char path[128], list[128];
	int made;

	must(p, cv_file_mkdir(home, "made", 0700, &err), &err);
	made = open_dir(p, home, "made");
	for (size_t i = 0; i < CV_COUNT_OF(dirs); i++)
		must(p, cv_file_mkdir(home, dirs[i], 0700, &err), &err);
	p->bodies++;
	(void)snprintf(list, sizeof(list), "3 V%u N1 G%032x\n", 1000 + p->bodies, p->bodies);
	write_new(p, made, "dovecot-uidlist", cv_str_c(list));
	must(p, cv_file_sync(made, true, &err), &err);
	(void)close(made);
	folder_path(name, path);
	move_folder(p, home, "made", path);
	if (!is_there(p, name, &info))
		program_stop(p, "a folder that the other program made is no mailbox", NULL);
	(void)program_add_box(&p->model, name, info.uidvalidity);
}

static void remove_folder(struct program *p, int home, struct box *box)
{
	struct cv_mailbox_info info;
	char path[128], to[64];

	folder_path(box->name, path);
	(void)snprintf(to, sizeof(to), "gone.%u", ++p->bodies);
	move_folder(p, home, path, to);
	if (is_there(p, box->name, &info))
		program_stop(p, "a folder that the other program removed is a mailbox still", NULL);
	box->there = false;
}

static void change_folders(struct program *p)
{
	struct box *box = program_any_box(p, false);
	const char *name = program_names[program_below(NAMES)];
	char path[PATH_MAX + 8];
	struct cv_mailbox_info info;
	int home;

	(void)snprintf(path, sizeof(path), "%s/home", p->dir);
	home = open_dir(p, AT_FDCWD, path);
	if (!is_there(p, name, &info))
		make_folder(p, home, name);
	else if (strcmp(box->name, "INBOX") != 0)
		remove_folder(p, home, box);
	(void)close(home);
}

void program_outside(struct program *p)
{
	struct box *box = program_any_box(p, false);
	struct cv_mailbox *mailbox;
	struct cv_mailbox_status status;
	struct cv_view *view = NULL;
	struct cv_err err = { 0 };
	bool settled = strcmp(p->states.data[p->states.count - 1].what != NULL ? p->states.data[p->states.count - 1].what : "", "restart") == 0;
	struct place place;

	p->what = "outside";
	/* What is durable outside must not come together with changes of ours that a power cut may take: states are one after the other. */
	if (strcmp(p->driver, "maildir") != 0 || p->fault != NULL || !p->recording || !p->states.data[p->states.count - 1].durable)
		return;
	if (program_below(4) == 0) {
		change_folders(p);
		return;
	}
	if (!settled && program_below(2) == 0) {
		program_restart(p);
		settled = true;
		p->what = "outside";
	}
	mailbox = program_mailbox(p, box);
	if (mailbox == NULL)
		return;
	must(p, cv_mailbox_get_status(mailbox, &status, &err), &err);
	must(p, cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err), &err);
	place = open_place(p, box);
	if (box->messages.count == 0 || program_below(3) == 0)
		deliver(p, &place, box, status.uidnext);
	else
		change_one(p, &place, box, view, settled);
	close_place(&place);
	cv_view_close(&view);
	must(p, cv_mailbox_refresh(mailbox, &err), &err);
	cv_mailbox_unref(&mailbox);
}
