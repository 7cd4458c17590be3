/* SPDX-License-Identifier: MIT
   The server's own settings: tables, and which modules they ask for. */
#include "core/proc/settings.h"

#include "core/proc/auth-settings.h"
#include "core/store/store-settings.h"

#include <culver/map.h>
#include <culver/protocol.h>

#include <string.h>

static const char *const seccomp_values[] = { "off", "errno", "kill", NULL };
static const char *const ssl_values[] = { "no", "yes", "required", NULL };
const char *const cv_ssl_protocols[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", NULL };

#define SET cv_core_settings
static const struct cv_setting core_rows[] = {
	CV_SETTING_LIST(SET, protocols, "imap pop3 lmtp", "Protocols to serve"),
	CV_SETTING_LIST(SET, listen, "*, ::", "Addresses on which TCP listeners listen; * is all of IPv4, :: all of IPv6"),
	CV_SETTING_STR(SET, base_dir, CV_RUN_DIR, "Directory of sockets and the pid file"),
	CV_SETTING_STR(SET, instance_name, "culver", "Name of this instance, shown in process titles"),
	CV_SETTING_STR(SET, mail_plugin_dir, CV_MODULE_DIR, "Directory of modules and plugins"),
	{ "mail_plugins", CV_SET_LIST, CV_SETTING_OFF(SET, mail_plugins, const char *const *), NULL, 0, 0, NULL, "Plugins to load", CV_SET_BY_PROTOCOL },
	CV_SETTING_STR(SET, log_path, "syslog", "Where to log: syslog, journal, /dev/stderr, or a file"),
	CV_SETTING_STR(SET, info_log_path, NULL, "Where informational lines go; empty: as log_path"),
	CV_SETTING_STR(SET, debug_log_path, NULL, "Where debug lines go; empty: as info_log_path"),
	CV_SETTING_STR(SET, syslog_facility, "mail", "Facility for syslog"),
	CV_SETTING_LIST(SET, log_debug, NULL, "Categories of debug lines to log: auth, imap, store, proc …; all: every one"),
	CV_SETTING_STR(SET, default_internal_user, "culver", "User of processes that need no rights but must be apart from login ones (auth)"),
	CV_SETTING_STR(SET, default_internal_group, "culver", "Group that may use the internal sockets"),
	CV_SETTING_STR(SET, default_login_user, "culvernull", "User of the processes that speak to clients before login; owns nothing"),
	CV_SETTING_UINT(SET, default_process_limit, "10000", 1, 1000000, "Most worker processes at a time, one for each active user"),
	CV_SETTING_UINT(SET, default_client_limit, "20000", 1, 1000000, "Most connections of one front process: so many of clients, and so many of who delivers"),
	CV_SETTING_SIZE(SET, default_vsz_limit, "1G", 0, UINT64_MAX, "Most address space of a process; 0: no limit"),
	CV_SETTING_TIME(SET, default_idle_kill, "60s", 0, 86400000, "How long a worker with nothing to do stays"),
	CV_SETTING_UINT(SET, first_valid_uid, "500", 0, UINT32_MAX - 1, "Lowest Unix user id that may have mail; root never may"),
	CV_SETTING_UINT(SET, last_valid_uid, "0", 0, UINT32_MAX - 1, "Highest one; 0: no bound"),
	CV_SETTING_UINT(SET, first_valid_gid, "1", 0, UINT32_MAX - 1, "Lowest Unix group id that may have mail"),
	CV_SETTING_UINT(SET, last_valid_gid, "0", 0, UINT32_MAX - 1, "Highest one; 0: no bound"),
	CV_SETTING_STR(SET, mail_uid, NULL, "Unix user (name or id) of all mail whose user database gives none"),
	CV_SETTING_STR(SET, mail_gid, NULL, "Unix group (name or id) likewise"),
	CV_SETTING_LIST(SET, mail_access_groups, NULL, "Further groups of workers, for shared mailboxes"),
	CV_SETTING_BOOL(SET, worker_exec, "no",
		"Start each worker as a program of its own, with an address space laid out anew, instead of as a copy of the spawner: safer, and slower by some "
		"milliseconds and megabytes"),
	CV_SETTING_BOOL(SET, mail_create_home, "yes", "Make a user's missing home directory, mode 0700, at first use"),
	{ "mail_max_userip_connections", CV_SET_UINT, CV_SETTING_OFF(SET, mail_max_userip_connections, uint64_t), "50", 0, 100000, NULL,
		"Most sessions of one user from one address with one protocol; 0: no limit", CV_SET_BY_PROTOCOL },
	CV_SETTING_BOOL(SET, shutdown_clients, "yes", "Must be yes: a user's sessions end with the server, since its successor owns the user's mail alone"),
	CV_SETTING_BOOL(SET, verbose_proctitle, "no", "Show sessions and addresses in process titles"),
	CV_SETTING_ENUM(SET, seccomp, "errno", seccomp_values,
		"What happens to a system call that a process has no need of: errno (it fails), kill (the process ends), off"),
	CV_SETTING_BOOL(SET, landlock, "yes", "Confine workers to their user's files where the kernel can (Landlock)"),
};
#undef SET

static bool is_log_place(const char *path)
{
	static const char *const words[] = { "syslog", "journal", "stderr" };

	for (size_t i = 0; i < CV_COUNT_OF(words); i++) {
		if (strcmp(path, words[i]) == 0)
			return true;
	}
	return path[0] == '/' || path[0] == '\0';
}

static int core_check(const void *set, struct cv_err *err)
{
	const struct cv_core_settings *core = set;
	const char *keys[] = { "log_path", "info_log_path", "debug_log_path" }, *paths[] = { core->log_path, core->info_log_path, core->debug_log_path };

	for (size_t i = 0; i < CV_COUNT_OF(paths); i++) {
		if (paths[i] != NULL && !is_log_place(paths[i]))
			return cv_err_set(err, CV_ERR_INVALID, "%s: \"%s\" is neither syslog, journal, stderr nor an absolute path", keys[i], paths[i]);
	}

	if (core->base_dir == NULL || core->base_dir[0] != '/')
		return cv_err_set(err, CV_ERR_INVALID, "base_dir: an absolute path is needed");
	if (core->mail_plugin_dir == NULL || core->mail_plugin_dir[0] != '/')
		return cv_err_set(err, CV_ERR_INVALID, "mail_plugin_dir: an absolute path is needed");
	if (core->last_valid_uid != 0 && core->last_valid_uid < core->first_valid_uid)
		return cv_err_set(err, CV_ERR_INVALID, "last_valid_uid is below first_valid_uid: no user would be valid");
	if (core->last_valid_gid != 0 && core->last_valid_gid < core->first_valid_gid)
		return cv_err_set(err, CV_ERR_INVALID, "last_valid_gid is below first_valid_gid: no group would be valid");
	if (!core->shutdown_clients)
		return cv_err_set(err, CV_ERR_INVALID, "shutdown_clients = no is not possible: one process owns a user's mail, and sessions of a server that has "
			"stopped would keep the next one from it");
	if (core->default_vsz_limit != 0 && core->default_vsz_limit < 64 * 1024 * 1024)
		return cv_err_set(err, CV_ERR_INVALID, "default_vsz_limit: below 64M no process would start; 0 means no limit");
	return 0;
}

const struct cv_settings_table cv_core_settings_table =
	CV_SETTINGS_TABLE_TOP("Server", cv_core_settings, core_rows, core_check);

#define SET cv_ssl_settings
static const struct cv_setting ssl_rows[] = {
	CV_SETTING_ENUM(SET, ssl, "yes", ssl_values, "TLS: no, yes (offered), required (no login without, but from the own machine and login_trusted_networks)"),
	CV_SETTING_FILE(SET, ssl_cert, NULL, "File with the certificate and its chain (PEM); in [local NAME]: for that SNI name"),
	CV_SETTING_FILE(SET, ssl_key, NULL, "File with the private key (PEM)"),
	CV_SETTING_SECRET(SET, ssl_key_password, NULL, "Password of the private key"),
	CV_SETTING_FILE(SET, ssl_alt_cert, NULL, "File with a second certificate of another key type"),
	CV_SETTING_FILE(SET, ssl_alt_key, NULL, "File with its private key"),
	CV_SETTING_FILE(SET, ssl_ca, NULL, "File with the CAs (and CRLs) of client certificates"),
	CV_SETTING_FILE(SET, ssl_dh, NULL, "File with Diffie-Hellman parameters; empty: the library's own"),
	CV_SETTING_ENUM(SET, ssl_min_protocol, "TLSv1.2", cv_ssl_protocols, "Lowest version of TLS"),
	CV_SETTING_STR(SET, ssl_cipher_list, NULL, "Ciphers up to TLS 1.2; empty: the system's"),
	CV_SETTING_STR(SET, ssl_cipher_suites, NULL, "Cipher suites of TLS 1.3; empty: the system's"),
	CV_SETTING_STR(SET, ssl_curve_list, NULL, "Groups for the key exchange; empty: the system's"),
	CV_SETTING_BOOL(SET, ssl_prefer_server_ciphers, "no", "The server's order of ciphers counts, not the client's"),
	CV_SETTING_LIST(SET, ssl_options, NULL, "no_ticket: no session tickets"),
	CV_SETTING_BOOL(SET, ssl_verify_client_cert, "no", "Ask clients for a certificate and verify it against ssl_ca"),
	CV_SETTING_BOOL(SET, ssl_require_crl, "yes", "A client certificate counts only when its CA's CRL is in ssl_ca"),
	CV_SETTING_STR(SET, ssl_cert_username_field, "commonName", "Field of the client certificate that holds the user name"),
};
#undef SET

static int ssl_check(const void *set, struct cv_err *err)
{
	const struct cv_ssl_settings *ssl = set;

	for (size_t i = 0; ssl->ssl_options != NULL && ssl->ssl_options[i] != NULL; i++) {
		/* Compression is never used; the word is known from Dovecot. */
		if (strcmp(ssl->ssl_options[i], "no_ticket") != 0 && strcmp(ssl->ssl_options[i], "no_compression") != 0)
			return cv_err_set(err, CV_ERR_INVALID, "ssl_options: \"%s\" is not known (no_ticket is)", ssl->ssl_options[i]);
	}
	if ((ssl->ssl_alt_cert == NULL) != (ssl->ssl_alt_key == NULL))
		return cv_err_set(err, CV_ERR_INVALID, "ssl_alt_cert and ssl_alt_key: one needs the other");
	if (ssl->ssl_verify_client_cert && ssl->ssl_ca == NULL)
		return cv_err_set(err, CV_ERR_INVALID, "ssl_verify_client_cert needs ssl_ca");
	return 0;
}

const struct cv_settings_table cv_ssl_settings_table = CV_SETTINGS_TABLE(NULL, "TLS", cv_ssl_settings, ssl_rows, ssl_check);

#define SET cv_listener_settings
static const struct cv_setting listener_rows[] = {
	CV_SETTING_STR(SET, protocol, NULL, "Protocol spoken here; auth: the client protocol by which Postfix and Exim authenticate. Empty: that of the "
					    "listener's default"),
	CV_SETTING_LIST(SET, address, NULL, "Addresses; empty: as `listen`"),
	CV_SETTING_UINT(SET, port, "0", 0, 65535, "TCP port; 0 without a path: this listener is off"),
	CV_SETTING_BOOL(SET, ssl, "no", "TLS from the first octet"),
	CV_SETTING_STR(SET, path, NULL, "Unix socket instead of TCP; relative to base_dir"),
	CV_SETTING_OCTAL(SET, mode, "0600", "Mode of the Unix socket"),
	CV_SETTING_STR(SET, user, NULL, "Owner of the Unix socket"),
	CV_SETTING_STR(SET, group, NULL, "Group of the Unix socket"),
	CV_SETTING_UINT(SET, backlog, "511", 1, 65535, "Connections that may wait to be taken"),
};
#undef SET

const struct cv_settings_table cv_listener_settings_table =
	CV_SETTINGS_TABLE("listener", "Listeners", cv_listener_settings, listener_rows, NULL);

#define SET cv_service_settings
static const struct cv_setting service_rows[] = {
	CV_SETTING_UINT(SET, process_limit, "0", 0, 1000000,
		"front: how many processes (0: one a processor); worker: most at a time (0: default_process_limit)"),
	CV_SETTING_UINT(SET, client_limit, "0", 0, 1000000,
		"front: most connections of one process (0: default_client_limit); worker: most sessions of one user (0: no limit)"),
	CV_SETTING_SIZE(SET, vsz_limit, "0", 0, UINT64_MAX, "Most address space of one process; 0: default_vsz_limit, and no limit for front (client_limit is one)"),
	CV_SETTING_TIME(SET, idle_kill, "0", 0, 86400000, "worker: how long it stays with nothing to do; 0: default_idle_kill"),
	CV_SETTING_UINT(SET, idle_limit, "0", 0, 1000000,
		"worker: most that stay with nothing to do, those that have been idle longest end first; 0: as many as fit in an eighth of the memory at 512 KiB each"),
};
#undef SET

const struct cv_settings_table cv_service_settings_table =
	CV_SETTINGS_TABLE("service", "Processes", cv_service_settings, service_rows, NULL);

#define SET cv_login_settings
static const struct cv_setting login_rows[] = {
	CV_SETTING_STR(SET, login_greeting, "Culver ready.", "What the server says first"),
	CV_SETTING_BOOL(SET, disable_plaintext_auth, "yes", "No passwords over connections that are neither TLS nor local"),
	CV_SETTING_LIST(SET, login_trusted_networks, NULL, "Networks (address or address/bits) whose connections count as secured"),
	CV_SETTING_TIME(SET, login_timeout, "3m", 1000, 3600000, "Time from connection to login"),
	CV_SETTING_TIME(SET, login_idle_timeout, "1m", 1000, 3600000, "Time without an octet before login"),
	CV_SETTING_UINT(SET, login_max_connections_per_ip, "256", 0, 1000000,
		"Most connections of one address that are not logged in, in one front process; 0: no limit; not for login_trusted_networks"),
};
#undef SET

const struct cv_settings_table cv_login_settings_table =
	CV_SETTINGS_TABLE(NULL, "Login", cv_login_settings, login_rows, NULL);

/* ---- Which tables, which modules ---------------------------------------------------------------------- */

const struct cv_settings_table *const *cv_server_tables(const struct cv_registry *reg, struct cv_arena *arena, size_t *count_r)
{
	static const struct cv_settings_table *const own[] = { &cv_core_settings_table, &cv_ssl_settings_table, &cv_login_settings_table,
		&cv_listener_settings_table, &cv_service_settings_table };
	struct cv_module_info info;
	/* Data of the mail library and the auth role; the tables themselves are in libculver. */
	static const struct cv_settings_table *const *const lists[] = { cv_mail_settings_tables, cv_auth_settings_tables };
	size_t count = CV_COUNT_OF(own), n = 0;

	for (size_t i = 0; i < CV_COUNT_OF(lists); i++) {
		for (size_t j = 0; lists[i][j] != NULL; j++)
			count++;
	}
	for (size_t pos = 0; cv_module_next(reg, &pos, &info);) {
		for (size_t i = 0; info.module->settings != NULL && info.module->settings[i] != NULL; i++)
			count++;
	}
	const struct cv_settings_table **all = cv_new(arena, const struct cv_settings_table *, count);
	for (size_t i = 0; i < CV_COUNT_OF(own); i++)
		all[n++] = own[i];
	for (size_t i = 0; i < CV_COUNT_OF(lists); i++) {
		for (size_t j = 0; lists[i][j] != NULL; j++)
			all[n++] = lists[i][j];
	}
	for (size_t pos = 0; cv_module_next(reg, &pos, &info);) {
		for (size_t i = 0; info.module->settings != NULL && info.module->settings[i] != NULL; i++) {
			/* Two modules may share a table. */
			bool there = false;
			for (size_t j = 0; j < n && !there; j++)
				there = all[j] == info.module->settings[i];
			if (!there)
				all[n++] = info.module->settings[i];
		}
	}
	*count_r = n;
	return all;
}

void cv_server_modules_open(struct cv_registry *reg, const char *dir, void (*fn)(void *ctx, const char *name, const struct cv_err *err), void *ctx)
{
	struct cv_arena *arena = cv_arena_new("module list", NULL, 0);
	const char *const *names = cv_module_list(dir, arena);

	for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
		struct cv_err err = { 0 };
		if (cv_module_open(reg, dir, names[i], &err) < 0 && fn != NULL)
			fn(ctx, names[i], &err);
	}
	cv_arena_free(&arena);
}

static const struct cv_module *find_module(const struct cv_registry *reg, struct cv_str name)
{
	struct cv_module_info info;

	for (size_t pos = 0; cv_module_next(reg, &pos, &info);) {
		if (info.path != NULL && cv_str_eq_c(name, info.module->name))
			return info.module;
	}
	return NULL;
}

/* wanted: name -> module. Requirements come along, also those that are wanted only by others. */
static int want(const struct cv_registry *reg, struct cv_map *wanted, const struct cv_module *module, struct cv_err *err)
{
	/* A work list, since the depth is the modules' choice. */
	CV_VEC(const struct cv_module *) todo = { 0 };
	int result = 0;

	*cv_vec_push(&todo) = module;
	while (todo.count > 0 && result == 0) {
		const struct cv_module *m = todo.data[--todo.count];
		union {
			const void *in;
			void *out;
		} value = { .in = m };
		if (cv_map_set(wanted, cv_str_c(m->name), value.out) != NULL)
			continue;
		for (size_t i = 0; m->needs != NULL && m->needs[i] != NULL; i++) {
			const struct cv_module *needed = find_module(reg, cv_str_c(m->needs[i]));
			if (needed == NULL) {
				result = cv_err_set(err, CV_ERR_INVALID, "module %s needs module %s, which could not be opened", m->name, m->needs[i]);
				break;
			}
			*cv_vec_push(&todo) = needed;
		}
	}
	cv_vec_free(&todo);
	return result;
}

static int want_protocol(const struct cv_registry *reg, struct cv_map *wanted, const char *protocol, struct cv_err *err)
{
	struct cv_buf name;
	int result = 0;

	cv_buf_init(&name, 256);
	cv_buf_append_c(&name, protocol);
	cv_buf_append_c(&name, "-login");
	const struct cv_module *login = find_module(reg, cv_buf_str(&name)), *session = find_module(reg, cv_str_c(protocol));
	cv_buf_deinit(&name);
	if (login == NULL && session == NULL)
		return cv_err_set(err, CV_ERR_INVALID, "protocols: \"%s\" has no module (%s-login.so, %s.so)", protocol, protocol, protocol);
	if (login != NULL)
		result = want(reg, wanted, login, err);
	if (result == 0 && session != NULL)
		result = want(reg, wanted, session, err);
	return result;
}

static int want_plugins(const struct cv_registry *reg, struct cv_map *wanted, const char *const *plugins, struct cv_err *err)
{
	for (size_t i = 0; plugins != NULL && plugins[i] != NULL; i++) {
		const struct cv_module *module = find_module(reg, cv_str_c(plugins[i]));
		if (module == NULL)
			return cv_err_set(err, CV_ERR_INVALID, "mail_plugins: there is no module \"%s\"", plugins[i]);
		if (want(reg, wanted, module, err) < 0)
			return -1;
	}
	return 0;
}

static int want_all(const struct cv_registry *reg, const struct cv_conf *conf, struct cv_map *wanted, struct cv_arena *arena, struct cv_err *err)
{
	const void *set;
	struct cv_module_info info;

	if (cv_conf_get(conf, &cv_core_settings_table, NULL, arena, &set, err) < 0)
		return -1;
	const struct cv_core_settings *core = set;
	if (want_plugins(reg, wanted, core->mail_plugins, err) < 0)
		return -1;
	for (size_t i = 0; core->protocols != NULL && core->protocols[i] != NULL; i++) {
		struct cv_conf_filter filter = { .protocol = core->protocols[i] };
		if (strcmp(core->protocols[i], "none") == 0)
			continue;
		if (want_protocol(reg, wanted, core->protocols[i], err) < 0)
			return -1;
		if (cv_conf_get(conf, &cv_core_settings_table, &filter, arena, &set, err) < 0)
			return -1;
		if (want_plugins(reg, wanted, ((const struct cv_core_settings *)set)->mail_plugins, err) < 0)
			return -1;
	}
	for (size_t pos = 0; cv_module_next(reg, &pos, &info);) {
		if (info.path == NULL || info.module->kind == CV_KIND_PROTOCOL || info.module->kind == CV_KIND_PLUGIN)
			continue;
		if (want(reg, wanted, info.module, err) < 0)
			return -1;
	}
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int cv_server_modules(const struct cv_registry *reg, const struct cv_conf *conf, unsigned roles, struct cv_arena *arena,
	const char *const **names_r, struct cv_err *err)
{
	struct cv_map *wanted = cv_map_new();
	struct cv_str key;
	void *value;
	size_t count = 0;

	int result = want_all(reg, conf, wanted, arena, err);
	const char **names = cv_new(arena, const char *, cv_map_count(wanted) + 1);
	for (size_t pos = 0; cv_map_next(wanted, &pos, &key, &value);) {
		const struct cv_module *module = value;
		if ((module->roles & roles) != 0)
			names[count++] = module->name;
	}
	cv_map_free(&wanted);
	qsort(names, count, sizeof(*names), compare_names);
	*names_r = names;
	return result;
}

const struct cv_service_settings *cv_service_settings(const struct cv_conf *conf, const char *name, struct cv_arena *arena)
{
	static const struct cv_service_settings none = { 0 };
	const char *section;
	const void *set;

	for (size_t pos = 0; cv_conf_section_next(conf, "service", &pos, &section);) {
		if (strcmp(section, name) == 0 && cv_conf_get_section(conf, &cv_service_settings_table, section, arena, &set, NULL) == 0)
			return set;
	}
	return &none;
}

uint64_t cv_service_vsz_limit(const struct cv_conf *conf, const char *name, struct cv_arena *arena)
{
	uint64_t own = cv_service_settings(conf, name, arena)->vsz_limit;
	const void *set;

	if (own != 0 || strcmp(name, "front") == 0)
		return own;
	return cv_conf_get(conf, &cv_core_settings_table, NULL, arena, &set, NULL) < 0 ? 0 : ((const struct cv_core_settings *)set)->default_vsz_limit;
}
