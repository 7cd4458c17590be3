/* SPDX-License-Identifier: MIT
   A user's mail: opening and closing it. */
#include <config.h>

#include "core/store/location.h"
#include "core/store/mounts.h"
#include "core/store/selftest.h"
#include "core/store/store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_MODE 0700
#define FILE_MODE 0600
#define HOSTNAME_MAX 255
#define CLOCK_BEHIND_SEC 600
#define LOOK_MS 1000

static char *copy(const char *s)
{
	return s != NULL ? cv_strdup(s) : NULL;
}

static char **copy_fields(const char *const *fields)
{
	size_t count = 0;
	char **copies;

	while (fields != NULL && fields[count] != NULL)
		count++;
	copies = cv_calloc(count + 1, sizeof(*copies));
	for (size_t i = 0; i < count; i++)
		copies[i] = cv_strdup(fields[i]);
	return copies;
}

/* ---- where it is ---------------------------------------------------------------------------------------------- */

static const char *home_of(const struct cv_user_config *config, const struct cv_store_settings *set, struct cv_arena *arena,
	struct cv_err *err)
{
	const char *home = NULL;

	if (config->home != NULL && config->home[0] != '\0')
		return config->home;
	if (set->mail_home == NULL || set->mail_home[0] == '\0')
		return "";
	return cv_location_expand(set->mail_home, config->name, NULL, arena, &home, err) < 0 ? NULL : home;
}

static int find_location(const struct cv_user_config *config, const struct cv_store_settings *set, struct cv_arena *arena,
	const char **home_r, struct cv_location *location_r, struct cv_err *err)
{
	const char *text = config->mail_location;

	*home_r = home_of(config, set, arena, err);
	if (*home_r == NULL)
		return -1;
	if ((text == NULL || text[0] == '\0') && cv_location_expand(set->mail_location, config->name, *home_r, arena, &text, err) < 0)
		return cv_err_context(err, "mail_location");
	return cv_location_parse(text, **home_r != '\0' ? *home_r : NULL, arena, location_r, err);
}

static int find_paths(const struct cv_user_config *config, struct cv_arena *arena, const char *const **paths_r, const struct cv_store_settings **set_r,
	struct cv_err *err)
{
	const struct cv_mailbox_settings *const *mailbox_sets;
	struct cv_location location;
	const char *home, **paths;
	size_t n = 0;

	if (cv_store_settings_get(config->conf, config->protocol, arena, set_r, &mailbox_sets, err) < 0 ||
		find_location(config, *set_r, arena, &home, &location, err) < 0)
		return -1;
	paths = cv_new(arena, const char *, 6);
	paths[n++] = location.root;
	if (strcmp(location.index_root, location.root) != 0)
		paths[n++] = location.index_root;
	if (strcmp(location.control_root, location.root) != 0)
		paths[n++] = location.control_root;
	if (location.inbox != NULL)
		paths[n++] = location.inbox;
	paths[n] = NULL;
	*paths_r = paths;
	return 1;
}

int cv_user_paths(const struct cv_user_config *config, struct cv_arena *arena, const char *const **paths_r, struct cv_err *err)
{
	const struct cv_store_settings *set;

	return find_paths(config, arena, paths_r, &set, err);
}

int cv_mounts_check_user(const struct cv_user_config *config, const char *const *files, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("mount points", NULL, 0);
	const struct cv_store_settings *set;
	const char *const *paths;
	int ret = find_paths(config, arena, &paths, &set, err);

	for (size_t i = 0; ret > 0 && paths[i] != NULL; i++)
		ret = cv_location_check_mounts(paths[i], set->mail_mount_points, err);
	if (ret > 0)
		ret = cv_mounts_check(files, paths, err);
	cv_arena_free(&arena);
	return ret;
}

/* The directory must be ours: mail in someone else's directory is not the user's, and what we write there could be changed under us. */
static int check_owner(int fd, const char *path, struct cv_err *err)
{
	struct stat st;

	if (cv_file_fstat(fd, &st, err) < 0)
		return -1;
	if (st.st_uid != geteuid())
		return cv_err_set(err, CV_ERR_PERM, "%s belongs to uid %u, but this user's mail is opened as uid %u: change the owner, or "
			"the uid in the user database", path, (unsigned)st.st_uid, (unsigned)geteuid());
	if ((st.st_mode & S_IWOTH) != 0)
		return cv_err_set(err, CV_ERR_PERM, "%s can be written by everybody: chmod o-w it", path);
	return 1;
}

/* The directory, made when it is absent (its parents too, when none of them is a mount point that is not mounted). */
static int open_root(const char *path, const char *const *mount_points, int *fd_r, bool *made_r, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int ret;

	*made_r = false;
	if (cv_location_check_mounts(path, mount_points, err) < 0)
		return -1;
	if (cv_file_root(path, fd_r, &open_err) < 0) {
		if (open_err.code != CV_ERR_NOTFOUND) {
			*err = open_err;
			return -1;
		}
		if (cv_file_make_root(path, DIR_MODE, err) < 0 || cv_file_root(path, fd_r, err) < 0)
			return -1;
		*made_r = true;
	}
	ret = check_owner(*fd_r, path, err);
	if (ret < 0)
		cv_file_close(fd_r);
	return ret;
}

/* A home directory is made by who starts the worker, when settings say so. One that is absent now is on a disk that is away. */
static int check_home(const char *home, const char *root, struct cv_err *err)
{
	struct cv_err home_err = { 0 };
	size_t len = home != NULL ? strlen(home) : 0;
	int fd;

	if (len == 0 || strncmp(home, root, len) != 0 || (root[len] != '/' && root[len] != '\0') ||
		cv_file_root(home, &fd, &home_err) < 0) {
		if (home_err.code == CV_ERR_NOTFOUND)
			return cv_err_set(err, CV_ERR_UNAVAILABLE, "home directory %s does not exist (is its file system mounted?)", home);
		return 1; /* others are reported where they matter */
	}
	cv_file_close(&fd);
	return 1;
}

/* Which directory it is. */
static int note_place(int dir, struct cv_place *place_r, struct cv_err *err)
{
	struct stat st;

	if (cv_file_fstat(dir, &st, err) < 0)
		return -1;
	*place_r = (struct cv_place){ st.st_dev, st.st_ino };
	return 1;
}

static int take_lock(struct cv_user *user, struct cv_err *err)
{
	if (cv_file_open(user->index_dir, "lock", O_RDWR | O_CREAT, FILE_MODE, &user->lock_fd, err) < 0)
		return -1;
	return cv_lease_take(&user->lease, user->index_dir, user->lock_fd, FILE_MODE, (user->set->mail_lease_time + 999) / 1000,
		user->set->mail_lock_method == 1, err);
}

/* The mail is ours. What has the lock's name and is no plain file (a link, a pipe, a directory), or has no rights, is no lock of anybody's: it gets another name. */
static int take_mail(struct cv_user *user, struct cv_err *err)
{
	struct cv_err why = { 0 };
	struct stat st;

	if (take_lock(user, &why) > 0)
		return 1;
	*err = why;
	if (why.code == CV_ERR_INUSE || cv_file_stat(user->index_dir, "lock", &st, err) <= 0 ||
		(S_ISREG(st.st_mode) && (why.code != CV_ERR_PERM || user->lock_fd >= 0)))
		return -1;
	cv_file_close(&user->lock_fd);
	if (cv_file_aside(user->index_dir, "lock", err) < 0)
		return -1;
	cv_warn(&user->log_ctx, "the file lock of the index can't be used; it is kept under another name: %s", why.text);
	*err = (struct cv_err){ 0 };
	return take_lock(user, err);
}

static int open_index(struct cv_user *user, const struct cv_location *location, struct cv_err *err)
{
	int root, ret;
	bool made;

	if (open_root(location->index_root, user->set->mail_mount_points, &root, &made, err) < 0)
		return -1;
	ret = cv_file_mkdir(root, CV_INDEX_DIR, DIR_MODE, err); /* its name is synced with the journal's: owe_name */
	if (ret >= 0)
		ret = cv_file_open(root, CV_INDEX_DIR, O_RDONLY | O_DIRECTORY, 0, &user->index_dir, err);
	cv_file_close(&root);
	if (ret < 0)
		return cv_err_context(err, "%s", location->index_root);
	user->index_path = cv_arena_printf(user->arena, "%s/" CV_INDEX_DIR, location->index_root);
	if (note_place(user->index_dir, &user->index_place, err) < 0)
		return -1;
	if (check_owner(user->index_dir, CV_INDEX_DIR, err) < 0)
		return -1;
	if (take_mail(user, err) < 0)
		return -1;
	return cv_selftest_run(&(struct cv_selftest){ .index_dir = user->index_dir, .path = location->index_root, .root = location->root,
		.file_mode = FILE_MODE, .sync = user->storage_args.fsync != CV_FSYNC_NEVER,
		.locks = !user->lease.strict }, err);
}

/* Dates and the order of changes come from it. */
static void look_at_clock(const struct cv_user *user)
{
	int64_t behind = cv_hlc_ms(user->journal.hlc) / 1000 - cv_time_now_sec();

	if (behind > CLOCK_BEHIND_SEC)
		cv_warn(&user->log_ctx, "the clock is %lld seconds behind the newest change of this mail: dates of new mail are wrong until it is set (NTP)",
			(long long)behind);
}

/* ---- whose it is ------------------------------------------------------------------------------------------------ */

void cv_user_lose(struct cv_user *user, const struct cv_err *why)
{
	if (user->lost)
		return;
	user->lost = true;
	user->lost_why = *why;
	cv_error(&user->log_ctx, "%s; nothing is acknowledged here any more", why->text);
	if (user->lease_timer != NULL)
		cv_timer_stop(user->lease_timer);
	if (user->on_lost != NULL)
		user->on_lost(user->lost_ctx, why);
}

/* Does the path lead to another place than it did when the mail was opened, or nowhere? */
static bool leads_elsewhere(const char *path, const struct cv_place *was)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR; /* others say nothing of it */
	return st.st_ino != was->ino || st.st_dev != was->dev;
}

/* What is written to files that are open still goes nowhere when their directory was removed with all that was in it, and to where nobody looks for it when it was
   renamed, another one was put in its place, or its file system was unmounted. The next opening finds what there is by then. */
int cv_user_is_there(struct cv_user *user, struct cv_err *err)
{
	uint64_t now = cv_time_mono_ms();
	struct cv_err why = { 0 };
	struct stat st;

	if (!user->lost && now >= user->looked_ms + LOOK_MS) {
		user->looked_ms = now;
		if (fstat(user->index_dir, &st) == 0 && st.st_nlink == 0)
			(void)cv_err_set(&why, CV_ERR_UNAVAILABLE, "the directory of the index was removed while the mail was open");
		else if (leads_elsewhere(user->index_path, &user->index_place))
			(void)cv_err_set(&why, CV_ERR_UNAVAILABLE, "%s was moved, replaced or unmounted while the mail was open", user->index_path);
		else if (leads_elsewhere(user->storage_args.root, &user->root_place))
			(void)cv_err_set(&why, CV_ERR_UNAVAILABLE, "%s was moved, replaced or unmounted while the mail was open", user->storage_args.root);
		if (why.code != CV_ERR_NONE)
			cv_user_lose(user, &why);
	}
	if (!user->lost)
		return 1;
	if (err != NULL)
		*err = user->lost_why;
	return -1;
}

int cv_user_owned(struct cv_user *user, struct cv_err *err)
{
	struct cv_err check_err = { 0 };

	if (cv_user_is_there(user, err) < 0)
		return -1;
	if (cv_lease_check(&user->lease, &check_err) > 0)
		return 1;
	if (check_err.code == CV_ERR_INUSE)
		cv_user_lose(user, &check_err);
	if (err != NULL)
		*err = check_err;
	return -1;
}

static void on_lease(void *ctx)
{
	struct cv_user *user = ctx;
	struct cv_err err = { 0 };

	if (cv_lease_renew(&user->lease, &err) < 0) {
		if (err.code == CV_ERR_INUSE) {
			cv_user_lose(user, &err);
			return;
		}
		cv_error(&user->log_ctx, "lease can't be renewed: %s", err.text);
	}
	cv_timer_set(user->lease_timer, user->set->mail_lease_time / 3);
}

/* ---- storage module --------------------------------------------------------------------------------------------- */

static int open_storage(struct cv_user *user, const struct cv_location *location, struct cv_err *err)
{
	char hostname[HOSTNAME_MAX + 1] = "localhost";
	bool made;
	int fd, ret;

	user->storage = user->registry != NULL ? cv_provider_get(user->registry, CV_CAP_STORAGE, location->driver) : NULL;
	if (user->storage == NULL)
		return cv_err_set(err, CV_ERR_INTERNAL, "mail_location names the storage %s, but no such module is loaded", location->driver);
	user->external = (user->storage->opts & CV_STORAGE_EXTERNAL) != 0;
	(void)gethostname(hostname, sizeof(hostname) - 1);
	user->storage_args = (struct cv_storage_args){
		.root = location->root,
		.index_root = location->index_root,
		.control_root = location->control_root,
		.inbox = location->inbox,
		.layout = location->layout,
		.dirname = location->dirname,
		.fsync = (enum cv_fsync)user->set->mail_fsync,
		.loop = user->loop,
		.conf = user->conf,
		.dir_mode = DIR_MODE,
		.file_mode = FILE_MODE,
		.hostname = cv_arena_strdup(user->arena, hostname),
	};
	if (open_root(location->root, user->set->mail_mount_points, &fd, &made, err) < 0)
		return -1;
	ret = note_place(fd, &user->root_place, err);
	cv_file_close(&fd);
	return ret;
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

static void free_user(struct cv_user *user)
{
	cv_landing_drop(user);
	cv_journal_leave(&user->journal); /* while it is ours */
	cv_timer_remove(&user->lease_timer);
	cv_lease_drop(&user->lease);
	cv_mail_free_spare(user);
	cv_landed_free(user);
	cv_texts_quiet(user);
	if (user->unreadable != NULL)
		cv_map_free(&user->unreadable);
	cv_subscribers_free(user);
	cv_commit_deinit(user);
	cv_work_deinit(user);
	cv_checkpoint_deinit(user);
	cv_refresh_deinit(user);
	cv_tree_free(user);
	cv_annotations_clear(&user->annotations);
	cv_map_free(&user->mailboxes);
	if (user->st != NULL)
		user->storage->close(user->st);
	cv_journal_deinit(&user->journal);
	cv_file_close(&user->index_dir);
	cv_file_close(&user->lock_fd);
	cv_vec_free(&user->views);
	cv_vec_free(&user->work);
	cv_owed_deinit(user);
	cv_vec_free(&user->list);
	for (size_t i = 0; user->fields[i] != NULL; i++)
		cv_free(user->fields[i]);
	cv_free(user->fields);
	cv_free(user->slots);
	cv_free(user->username);
	cv_free(user->home);
	cv_free(user->protocol);
	cv_arena_free(&user->arena);
	cv_free(user);
}

static struct cv_user *new_user(const struct cv_user_config *config)
{
	struct cv_user *user = cv_new0(struct cv_user);

	user->username = cv_strdup(config->name);
	user->protocol = copy(config->protocol);
	user->fields = copy_fields(config->fields);
	user->sysuid = config->sysuid;
	user->sysgid = config->sysgid;
	user->conf = config->conf;
	user->registry = config->registry;
	user->committed_hook = cv_hook_wanted(config->registry, "committed");
	user->save_hook = cv_hook_wanted(config->registry, "message_save");
	user->access_hook = cv_hook_wanted(config->registry, "mailbox_access");
	user->loop = config->loop;
	user->on_lost = config->lost;
	user->lost_ctx = config->lost_ctx;
	user->arena = cv_arena_new("user", NULL, 0);
	user->slot_count = config->registry != NULL ? cv_slot_count(config->registry) : 0;
	user->slots = cv_calloc(user->slot_count + 1, sizeof(*user->slots));
	user->log_ctx = (struct cv_log_ctx){ .category = "store", .user = cv_str_c(user->username) };
	user->index_dir = user->lock_fd = -1;
	user->names_by_text = cv_map_new();
	user->mailboxes = cv_map_new();
	user->annotations.total = &user->annotation_octets;
	cv_list_init(&user->annotation_watches);
	cv_journal_init(&user->journal, -1, CV_FSYNC_ALWAYS, 0, FILE_MODE);
	cv_commit_init(user);
	cv_work_init(user);
	cv_checkpoint_init(user);
	cv_refresh_init(user);
	return user;
}

static int run_open_hook(struct cv_user *user, struct cv_err *err)
{
	struct cv_hook_user_open args = { .user = user };
	enum cv_hook_result result;

	if (user->registry == NULL)
		return 1;
	result = cv_hook_run_user_open(user->registry, &args, err);
	return result == CV_HOOK_PASS || result == CV_HOOK_DONE ? 1 : -1;
}

static bool make_room(void *ctx)
{
	return cv_cache_make_room(ctx);
}

/* A mailbox of which nothing but its making is recorded: a crash may have come before its folder was looked through. */
static void expect_messages(struct cv_user *user)
{
	struct cv_str key;
	size_t pos = 0;
	void *value;

	while (!user->external && cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct cv_mailbox *mailbox = value;

		mailbox->take_over = mailbox->take_over || (mailbox->uidnext == 1 && mailbox->counts.messages == 0);
	}
}

/* Where nothing says that the journal was ever synced, the name of its directory may not have been either. */
static int owe_name(struct cv_user *user, const struct cv_location *location, struct cv_err *err)
{
	int root;

	if (user->state_seq > 0 || (user->journal.segments.count > 0 && !user->journal.names_due) || user->storage_args.fsync == CV_FSYNC_NEVER)
		return 1;
	if (cv_file_root(location->index_root, &root, err) < 0)
		return -1;
	cv_journal_owe_names(&user->journal, root, strcmp(location->index_root, location->root) == 0 ? &user->storage_args.root_synced : NULL);
	return 1;
}

static int open_all(struct cv_user *user, const struct cv_user_config *config, struct cv_err *err)
{
	struct cv_location location;
	const char *home;
	bool fresh;

	if (cv_store_settings_get(config->conf, config->protocol, user->arena, &user->set, &user->mailbox_sets, err) < 0 ||
		find_location(config, user->set, user->arena, &home, &location, err) < 0)
		return -1;
	user->home = copy(*home != '\0' ? home : NULL);
	if (check_home(user->home, location.root, err) < 0)
		return -1;
	if (open_storage(user, &location, err) < 0 || open_index(user, &location, err) < 0)
		return -1;
	if (cv_transforms_init(user, err) < 0 || cv_texts_init(user, err) < 0)
		return -1;
	if (user->storage->open(&user->storage_args, true, &user->st, err) < 0)
		return cv_err_context(err, "%s", location.root);
	cv_journal_deinit(&user->journal);
	cv_journal_init(&user->journal, user->index_dir, user->storage_args.fsync, (uint32_t)user->set->mail_node_id, FILE_MODE);
	user->journal.epoch = user->lease.epoch;
	user->journal.log_ctx = &user->log_ctx;
	user->journal.copying = user->set->mail_journal_copy;
	user->journal.make_room = make_room;
	user->journal.room_ctx = user;
	user->journal.loop = user->lease.strict ? NULL : user->loop;
	user->journal.ahead_writes = (uint32_t)user->set->mail_journal_ahead_writes;
	if (user->lease.strict && user->loop != NULL) {
		user->lease_timer = cv_timer_add_stopped(user->loop, on_lease, user);
		cv_timer_set(user->lease_timer, user->set->mail_lease_time / 3);
	}
	cv_subscribers_init(user);
	if (cv_user_recover(user, err) < 0 || owe_name(user, &location, err) < 0)
		return -1;
	look_at_clock(user);
	fresh = user->state_seq == 0 && user->journal.seq == 0;
	cv_work_begin(user);
	expect_messages(user);
	if ((fresh || user->adopt_folders) && cv_user_adopt_folders(user, fresh, err) < 0)
		return -1;
	if (cv_user_make_mailboxes(user, err) < 0)
		return -1;
	if (run_open_hook(user, err) < 0)
		return -1;
	cv_subscribers_start(user);
	return 1;
}

int cv_user_open(const struct cv_user_config *config, struct cv_user **user_r, struct cv_err *err)
{
	struct cv_user *user = new_user(config);

	*user_r = NULL;
	if (open_all(user, config, err) < 0) {
		free_user(user);
		/* A plugin's own words stay as they are. */
		return err != NULL && err->public_text ? -1 : cv_err_context(err, "mail of %s", cv_log_clean(cv_str_c(config->name)));
	}
	*user_r = user;
	return 1;
}

void cv_user_close(struct cv_user **user_p)
{
	struct cv_user *user = *user_p;
	struct cv_hook_user_close args = { .user = user };
	struct cv_err err = { 0 };

	*user_p = NULL;
	if (user == NULL)
		return;
	cv_assert(user->views.count == 0);
	user->looked_ms = 0;
	if (cv_user_is_there(user, &err) > 0)
		cv_user_flush(user);
	cv_indexes_close(user);
	cv_subscribers_close(user);
	user->closing = true;
	if (user->registry != NULL)
		(void)cv_hook_run_user_close(user->registry, &args, &err);
	cv_assert(cv_list_empty(&user->annotation_watches));
	cv_user_flush(user);
	cv_work_end(user);
	if (!user->lost && (cv_journal_cut(&user->journal, &err) < 0 || cv_journal_sync(&user->journal, &err) < 0))
		cv_error(&user->log_ctx, "%s", err.text);
	cv_checkpoint_close(user);
	free_user(user);
}

static void quiet_mailbox(struct cv_mailbox *mailbox)
{
	cv_cache_quiet(mailbox);
	if (mailbox->columns != NULL)
		cv_memos_free(&mailbox->columns->memos);
}

void cv_user_quiet(struct cv_user *user)
{
	struct cv_str key;
	size_t pos = 0;
	void *value;

	cv_mail_free_spare(user);
	cv_landed_free(user);
	cv_texts_quiet(user);
	cv_window_deinit(&user->journal.window);
	cv_journal_leave(&user->journal); /* the room of zeros is for others */
	while (cv_map_next(user->mailboxes, &pos, &key, &value))
		quiet_mailbox(value);
}

bool cv_user_busy(const struct cv_user *user)
{
	return user->subscribers_pending;
}

const char *cv_user_name(const struct cv_user *user)
{
	return user->username;
}

const char *cv_user_home(const struct cv_user *user)
{
	return user->home;
}

const char *cv_user_field(const struct cv_user *user, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; user->fields[i] != NULL; i++) {
		if (strncmp(user->fields[i], key, len) == 0 && user->fields[i][len] == '=')
			return user->fields[i] + len + 1;
	}
	return NULL;
}

const struct cv_conf *cv_user_conf(const struct cv_user *user)
{
	return user->conf;
}

const struct cv_registry *cv_user_registry(const struct cv_user *user)
{
	return user->registry;
}

struct cv_loop *cv_user_loop(const struct cv_user *user)
{
	return user->loop;
}

int cv_user_index_fd(const struct cv_user *user)
{
	return user->index_dir;
}

void **cv_user_data(struct cv_user *user, unsigned slot)
{
	cv_assert(slot < user->slot_count);
	return &user->slots[slot];
}
