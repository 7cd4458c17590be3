/* SPDX-License-Identifier: MIT
   The server's own settings: what the processes need before any module says a word. */
#ifndef CV_PROC_SETTINGS_H
#define CV_PROC_SETTINGS_H

#include <culver/module.h>

/* Top of the file. Strings live with the settings' arena. */
struct cv_core_settings {
	const char *const *protocols;
	const char *const *listen;
	const char *base_dir;
	const char *instance_name;
	const char *mail_plugin_dir;
	const char *const *mail_plugins;
	const char *log_path;
	const char *info_log_path;
	const char *debug_log_path;
	const char *syslog_facility;
	const char *const *log_debug;
	const char *default_internal_user;
	const char *default_internal_group;
	const char *default_login_user;
	uint64_t default_process_limit;
	uint64_t default_client_limit;
	uint64_t default_vsz_limit;
	uint64_t default_idle_kill; /* ms */
	uint64_t first_valid_uid, last_valid_uid; /* 0: no upper bound */
	uint64_t first_valid_gid, last_valid_gid;
	const char *mail_uid, *mail_gid;
	const char *const *mail_access_groups;
	bool mail_create_home;
	bool worker_exec;
	uint64_t mail_max_userip_connections; /* 0: no limit */
	bool shutdown_clients;
	bool verbose_proctitle;
	unsigned seccomp; /* enum cv_seccomp_mode */
	bool landlock;
};

enum cv_seccomp_mode { CV_SECCOMP_OFF, CV_SECCOMP_ERRNO, CV_SECCOMP_KILL };

enum cv_ssl_mode { CV_SSL_NO, CV_SSL_YES, CV_SSL_REQUIRED };

/* TLS, in front. Certificates and keys are contents of files that only the master reads. */
struct cv_ssl_settings {
	unsigned ssl; /* enum cv_ssl_mode */
	const char *ssl_cert, *ssl_key, *ssl_key_password;
	const char *ssl_alt_cert, *ssl_alt_key;
	const char *ssl_ca;
	const char *ssl_dh;
	unsigned ssl_min_protocol; /* index into cv_ssl_protocols */
	const char *ssl_cipher_list, *ssl_cipher_suites, *ssl_curve_list;
	bool ssl_prefer_server_ciphers;
	const char *const *ssl_options;
	bool ssl_verify_client_cert;
	bool ssl_require_crl;
	const char *ssl_cert_username_field;
};
CV_EXPORT_DATA const char *const cv_ssl_protocols[];

/* [listener NAME] */
struct cv_listener_settings {
	const char *protocol;
	const char *const *address;
	uint64_t port;
	bool ssl;
	const char *path;
	unsigned mode;
	const char *user, *group;
	uint64_t backlog;
};

/* [service NAME], NAME one of front, auth, spawner, worker. 0: the default_* setting, or what the help says. */
struct cv_service_settings {
	uint64_t process_limit;
	uint64_t client_limit;
	uint64_t vsz_limit;
	uint64_t idle_kill; /* ms */
	uint64_t idle_limit;
};

CV_EXPORT_DATA const struct cv_settings_table cv_core_settings_table;
CV_EXPORT_DATA const struct cv_settings_table cv_ssl_settings_table;
CV_EXPORT_DATA const struct cv_settings_table cv_listener_settings_table;
CV_EXPORT_DATA const struct cv_settings_table cv_service_settings_table;

/* All tables: the server's own ones (these, those of login and of the auth role) and those of the modules that are open in reg. The array is in arena. */
CV_EXPORT const struct cv_settings_table *const *cv_server_tables(const struct cv_registry *reg, struct cv_arena *arena, size_t *count_r);

/* Open every module in dir, so that its settings are known. Modules that are refused are problems when wanted; their errors are given to fn (NULL: dropped)
   with the module's name. */
CV_EXPORT void cv_server_modules_open(struct cv_registry *reg, const char *dir, void (*fn)(void *ctx, const char *name, const struct cv_err *err),
	void *ctx);
/* Names of the modules of reg (all open) that settings ask for in the process role: NAME-login and NAME for each of `protocols`, plugins of mail_plugins (also
   within [protocol …]), all storage, auth and filter modules, and what these require. NULL-terminated, sorted, in arena. -1: a protocol or plugin has no
   module. */
CV_EXPORT CV_MUST_CHECK int cv_server_modules(const struct cv_registry *reg, const struct cv_conf *conf, unsigned roles, struct cv_arena *arena,
	const char *const **names_r, struct cv_err *err);

/* [service name], or defaults when there is none. In arena. */
/* Most address space of a process of that service; 0: no limit. Fronts have one only when it is set: what they need grows with their connections, which client_limit
   bounds. */
CV_EXPORT uint64_t cv_service_vsz_limit(const struct cv_conf *conf, const char *name, struct cv_arena *arena);
CV_EXPORT const struct cv_service_settings *cv_service_settings(const struct cv_conf *conf, const char *name, struct cv_arena *arena);

#endif
