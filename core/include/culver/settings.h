/* SPDX-License-Identifier: MIT
   Settings: every module declares its own in tables; from these come checking, `culver conf` and the manual page. */
#ifndef CV_SETTINGS_H
#define CV_SETTINGS_H

#include <culver/arena.h>
#include <culver/buf.h>
#include <culver/err.h>

enum cv_setting_type {
	CV_SET_BOOL,  /* bool: yes/no/true/false/on/off/1/0 */
	CV_SET_UINT,  /* uint64_t: decimal */
	CV_SET_SIZE,  /* uint64_t octets: 10, 64k, 10M, 1G (powers of 1024) */
	CV_SET_TIME,  /* uint64_t milliseconds: 500ms, 30s, 5m, 1h, 2d, 1w; a bare number counts seconds; 0 */
	CV_SET_STR,   /* const char *: text; "<path" reads the file (without a final line end) */
	CV_SET_VAR,   /* const char *: text with %variables, expanded when used, checked for syntax at start */
	CV_SET_LIST,  /* const char *const *: words separated by spaces or commas, NULL-terminated */
	CV_SET_ENUM,  /* unsigned: index into values */
	CV_SET_OCTAL  /* unsigned: mode such as 0660 */
};

enum cv_setting_opts {
	CV_SET_SECRET = 1,   /* shown as "#hidden" by `culver conf` unless asked */
	CV_SET_REQUIRED = 2, /* must be given (no default) */
	CV_SET_TOP = 8,      /* counts at the top of the files only: an error in [protocol], [local] and [remote] sections, where it would have no effect */
	CV_SET_BY_PROTOCOL = 16, /* in a table that is top_only: counts in [protocol NAME] too */
	CV_SET_READFILE = 4, /* CV_SET_STR: value is the content of a file that only the master may read; also without "<" */
};

/* One row. offset: of the member in the module's struct, whose C type the macros below check. def: as written in a file; NULL: 0, NULL,
   or empty. min..max: bounds of numbers (both 0: none). values: NULL-terminated words of an ENUM. help: one line for the
   manual. */
struct cv_setting {
	const char *key;
	enum cv_setting_type type;
	size_t offset;
	const char *def;
	uint64_t min, max;
	const char *const *values;
	const char *help;
	unsigned opts;
};

#define CV_SETTING_OFF(st, member, ctype)                                                                     \
	(offsetof(struct st, member) +                                                                        \
		0 * sizeof(char[_Generic(((struct st *)0)->member, ctype: 1)]))
#define CV_SETTING_BOOL(st, member, def, help) { #member, CV_SET_BOOL, CV_SETTING_OFF(st, member, bool), def, 0, 0, NULL, help, 0 }
#define CV_SETTING_UINT(st, member, def, min, max, help)                                                      \
	{ #member, CV_SET_UINT, CV_SETTING_OFF(st, member, uint64_t), def, min, max, NULL, help, 0 }
#define CV_SETTING_SIZE(st, member, def, min, max, help)                                                      \
	{ #member, CV_SET_SIZE, CV_SETTING_OFF(st, member, uint64_t), def, min, max, NULL, help, 0 }
#define CV_SETTING_TIME(st, member, def, min, max, help)                                                      \
	{ #member, CV_SET_TIME, CV_SETTING_OFF(st, member, uint64_t), def, min, max, NULL, help, 0 }
#define CV_SETTING_STR(st, member, def, help)                                                                 \
	{ #member, CV_SET_STR, CV_SETTING_OFF(st, member, const char *), def, 0, 0, NULL, help, 0 }
#define CV_SETTING_FILE(st, member, def, help)                                                                \
	{ #member, CV_SET_STR, CV_SETTING_OFF(st, member, const char *), def, 0, 0, NULL, help, CV_SET_READFILE }
#define CV_SETTING_SECRET(st, member, def, help)                                                              \
	{ #member, CV_SET_STR, CV_SETTING_OFF(st, member, const char *), def, 0, 0, NULL, help, CV_SET_SECRET }
#define CV_SETTING_VAR(st, member, def, help)                                                                 \
	{ #member, CV_SET_VAR, CV_SETTING_OFF(st, member, const char *), def, 0, 0, NULL, help, 0 }
#define CV_SETTING_LIST(st, member, def, help)                                                                \
	{ #member, CV_SET_LIST, CV_SETTING_OFF(st, member, const char *const *), def, 0, 0, NULL, help, 0 }
#define CV_SETTING_ENUM(st, member, def, values, help)                                                        \
	{ #member, CV_SET_ENUM, CV_SETTING_OFF(st, member, unsigned), def, 0, 0, values, help, 0 }
#define CV_SETTING_OCTAL(st, member, def, help)                                                               \
	{ #member, CV_SET_OCTAL, CV_SETTING_OFF(st, member, unsigned), def, 0, 07777, NULL, help, 0 }

/* A table: the keys of one struct. kind NULL: keys at the top of the file (and in [protocol x], [local x], [remote x] sections, which override
   them where they match). Otherwise the keys of sections "[kind name]", of which there may be any number, in file order. */
struct cv_settings_table {
	const char *kind;
	const char *title; /* for the manual: "Delivery" */
	const struct cv_setting *rows;
	size_t count;
	size_t struct_size;
	/* Looks at a filled struct as a whole; err names the key. May be NULL. */
	int (*check)(const void *set, struct cv_err *err);
	bool extra; /* unknown keys are kept and given by cv_conf_section_extra (passdb fields of third parties) */
	bool top_only; /* kind NULL: as if each row had CV_SET_TOP, because it is read without a filter */
};

#define CV_SETTINGS_TABLE(kind, title, st, rows, check) { kind, title, rows, sizeof(rows) / sizeof((rows)[0]), sizeof(struct st), check, false, false }
#define CV_SETTINGS_TABLE_TOP(title, st, rows, check) { NULL, title, rows, sizeof(rows) / sizeof((rows)[0]), sizeof(struct st), check, false, true }

/* ---- Reading ------------------------------------------------------------------------------------ */

struct cv_conf;

/* All files read and checked. Immutable. */
struct cv_conf_problem {
	const char *file;
	unsigned line; /* 0: no line */
	const char *text; /* with the nearest known name where that helps */
};

/* Read path and DIR(path)/conf.d/<*>.ini in lexical order against the tables. All problems are collected: 0 with *conf_r set when there is
   none, -1 with *problems_r, *count_r in arena. Only the master calls this; "<file" values are read here (CV_SET_READFILE too). overrides: extra
   "key=value" strings from the command line, may be NULL-terminated NULL. */
CV_EXPORT CV_MUST_CHECK int cv_conf_load(const char *path, const char *const *overrides, const struct cv_settings_table *const *tables,
	size_t table_count, struct cv_arena *arena, struct cv_conf **conf_r, const struct cv_conf_problem **problems_r, size_t *count_r);
enum cv_conf_load_opts {
	CV_CONF_UNREADABLE_OK = 1 /* "<file" values that this user may not read (EACCES) are absent instead of problems: to look at settings without
	                             the server's rights */
};
/* The same with options. */
CV_EXPORT CV_MUST_CHECK int cv_conf_load_with(const char *path, const char *const *overrides, const struct cv_settings_table *const *tables,
	size_t table_count, unsigned opts, struct cv_arena *arena, struct cv_conf **conf_r, const struct cv_conf_problem **problems_r,
	size_t *count_r);
/* One value at the top of the files, as text, without any check and before tables are known (where modules are, for instance): the last file that has
   it counts, overrides before all. NULL when it is not there or the files cannot be read: cv_conf_load says why. */
CV_EXPORT const char *cv_conf_peek(const char *path, const char *const *overrides, const char *key, struct cv_arena *arena);
/* Flat form for a memfd to the other processes, and back; the receiver must know the same tables for those it asks for. Roles that must not
   see keys get a form without CV_SET_READFILE and CV_SET_SECRET values of tables they don't load (strip_secrets). */
CV_EXPORT void cv_conf_serialize(const struct cv_conf *conf, bool strip_secrets, struct cv_buf *out);
/* The same, but leaves out the secret values of the tables listed only: what a role that does not load them must not see. */
CV_EXPORT void cv_conf_serialize_without(const struct cv_conf *conf, const struct cv_settings_table *const *tables, size_t table_count,
	struct cv_buf *out);
CV_EXPORT CV_MUST_CHECK int cv_conf_deserialize(struct cv_str data, struct cv_arena *arena, struct cv_conf **conf_r, struct cv_err *err);

/* What sections apply. Absent or 0: that filter does not match anything. Addresses as text ("192.0.2.1", "::1"). */
struct cv_conf_filter {
	const char *protocol;
	struct cv_str local_name; /* SNI name */
	const char *local_addr;
	const char *remote_addr;
};

/* Fill a struct of table in arena (its strings are conf's and live as long; lists are made in arena; a STR or VAR row without a default is NULL when it is
   not set or empty, one with a default never is NULL): defaults, then the top of the files, then matching sections ([protocol], then [remote], then
   [local], each more specific one later). Cannot fail for a table that was given to cv_conf_load; for others values are checked here. */
CV_EXPORT CV_MUST_CHECK int cv_conf_get(const struct cv_conf *conf, const struct cv_settings_table *table, const struct cv_conf_filter *filter,
	struct cv_arena *arena, const void **set_r, struct cv_err *err);
/* The same in memory of conf's own: who asks with filters that mean the same sections gets the same struct, which lives as long as conf. conf must be one of
   cv_conf_load or cv_conf_deserialize. Where sections are combined in very many ways a struct may be in arena instead. */
CV_EXPORT CV_MUST_CHECK int cv_conf_get_shared(const struct cv_conf *conf, const struct cv_settings_table *table, const struct cv_conf_filter *filter,
	struct cv_arena *arena, const void **set_r, struct cv_err *err);
/* Sections "[kind name]" in file order: false at the end. *pos starts at 0. */
CV_EXPORT bool cv_conf_section_next(const struct cv_conf *conf, const char *kind, size_t *pos, const char **name_r);
/* Fill a struct from the section "[kind name]". */
CV_EXPORT CV_MUST_CHECK int cv_conf_get_section(const struct cv_conf *conf, const struct cv_settings_table *table, const char *name,
	struct cv_arena *arena, const void **set_r, struct cv_err *err);
/* Keys of that section that no row has (tables with extra), in order: false at the end. */
CV_EXPORT bool cv_conf_section_extra(const struct cv_conf *conf, const char *kind, const char *name, size_t *pos, const char **key_r,
	const char **value_r);

/* A value that came from a file ("</path", or a CV_SET_READFILE row): where it stands and the file's absolute path, so that the master can watch
   files and read them anew. kind and name are empty at the top. Borrowed from conf. */
struct cv_conf_file {
	const char *kind;
	const char *name;
	const char *key;
	const char *path;
};
/* False at the end. *section and *pos start at 0. */
CV_EXPORT bool cv_conf_file_next(const struct cv_conf *conf, size_t *section, size_t *pos, struct cv_conf_file *file_r);

/* The absolute path of the file behind the value of key that applies under filter; NULL when the value did not come from a file. */
CV_EXPORT const char *cv_conf_value_path(const struct cv_conf *conf, const char *key, const struct cv_conf_filter *filter);

/* ---- Showing them (culver conf, manual pages) ----------------------------------------------------- */

enum cv_conf_show {
	CV_CONF_CHANGED = 1, /* only what differs from its default (`culver conf -n`) */
	CV_CONF_SECRETS = 2, /* secret values too; otherwise they are "#hidden", which cv_conf_load refuses to read */
	CV_CONF_ORIGIN = 4   /* cv_conf_print: file and line of each in a comment above it */
};

/* One setting as it is in effect. Strings are borrowed from conf and the tables or live in the arena of cv_conf_items. */
struct cv_conf_item {
	const char *kind;              /* section "[kind name]"; both empty at the top */
	const char *name;
	const char *key;
	const struct cv_setting *row;  /* NULL: an extra key */
	const char *value;             /* text as in a file; "<path" for a value read from a file; "" for none */
	const char *path;              /* of such a file, or NULL */
	const char *file;              /* where it is set; NULL: it has its default */
	unsigned line;                 /* 0: none, as on the command line */
	bool changed;                  /* differs from the default */
	bool hidden;                   /* value is "#hidden" */
};
/* All settings: the top in the tables' order, then [protocol], [local] and [remote] sections (what they set), then the sections of each
   kind in file order (all keys). show: enum cv_conf_show bits. */
CV_EXPORT const struct cv_conf_item *cv_conf_items(const struct cv_conf *conf, const struct cv_settings_table *const *tables,
	size_t table_count, unsigned show, struct cv_arena *arena, size_t *count_r);
/* The same as one file, which with CV_CONF_SECRETS loads to the same settings. A value that no single line can hold is written as a comment that says
   so (it can come from the command line only). */
CV_EXPORT void cv_conf_print(const struct cv_conf *conf, const struct cv_settings_table *const *tables, size_t table_count, unsigned show,
	struct cv_buf *out);
/* Teach about the setting called key: meaning, type, bounds, default, where it may stand, and (conf not NULL) what it is and where that is
   set. CV_ERR_NOTFOUND with the nearest name when no table has it. */
CV_EXPORT CV_MUST_CHECK int cv_conf_explain(const struct cv_conf *conf, const struct cv_settings_table *const *tables, size_t table_count,
	const char *key, struct cv_buf *out, struct cv_err *err);
/* The manual page culver.ini(5) in mdoc: the file format, variables, and every table. */
CV_EXPORT void cv_conf_manual(const struct cv_settings_table *const *tables, size_t table_count, struct cv_buf *out);
/* Append text as running text of an mdoc(7) page: what mdoc would take for markup is escaped, lines are broken at sentences and where they are
   long. A line feed stays one. cv_mdoc_word appends it as one argument of a macro line instead. */
CV_EXPORT void cv_mdoc_text(struct cv_buf *out, const char *text);
CV_EXPORT void cv_mdoc_word(struct cv_buf *out, const char *text);
/* The word of a NULL-terminated list that is nearest to word, or NULL when none is near: for "did you mean". */
CV_EXPORT const char *cv_nearest(const char *word, const char *const *words);

/* ---- Variables ---------------------------------------------------------------------------------- */

/* One variable: short (one letter, 0: none) and long name, value (absent: empty). */
struct cv_var {
	char letter;
	const char *name;
	struct cv_str value;
};

/* Expand %u, %{user}, %Lu, %{if;…}, %2.5Hu, %{sha256:user} … with Dovecot 2.3's modifiers. Unknown variables are an error. */
CV_EXPORT CV_MUST_CHECK int cv_var_expand(struct cv_buf *out, const char *text, const struct cv_var *vars, size_t count,
	struct cv_err *err);
/* Syntax only. */
CV_EXPORT CV_MUST_CHECK int cv_var_check(const char *text, struct cv_err *err);

#endif
