/* SPDX-License-Identifier: MIT
   Settings: what the files of core/conf share. */
#ifndef CV_CONF_PRIVATE_H
#define CV_CONF_PRIVATE_H

#include <culver/map.h>
#include <culver/reader.h>
#include <culver/settings.h>

#define CONF_MAX_FILE_SIZE (1024 * 1024) /* octets of one settings file, and of one "<file" value */
#define CONF_MAX_FILES 1000
#define CONF_MAX_PROBLEMS 200

/* What load finds wrong. strings in arena. */
struct conf_problems {
	struct cv_arena *arena;
	CV_VEC(struct cv_conf_problem) list;
	size_t left_out; /* beyond CONF_MAX_PROBLEMS */
};
void cv_conf_problem_add(struct conf_problems *p, const char *file, unsigned line, const char *fmt, ...) CV_PRINTF(4, 5);

/* ---- ini.c: one file, read twice -------------------------------------------------------------------- */

struct ini_entry {
	const char *key; /* lower case */
	const char *value;
	size_t section; /* index into sections */
	unsigned line;
	bool quoted;
};

/* sections[0] is the top of the file. raw is what stands in the brackets, trimmed. */
struct ini_section {
	const char *raw;
	unsigned line;
};

struct ini_file {
	const char *path;
	CV_VEC(struct ini_section) sections;
	CV_VEC(struct ini_entry) entries;
};

/* Read path. Problems are added; what could be read is in file all the same, so that its names and values are checked as well.
   False when the file could not be opened or read at all. Strings live in arena; the vectors are cv_ini_free's. */
bool cv_ini_read(struct ini_file *file, const char *path, struct cv_arena *arena, struct conf_problems *problems);
void cv_ini_free(struct ini_file *file);
/* Append "key = value" (path not NULL: "key = <path") and a line end so that both readers see it as it is; false and nothing appended
   when no form would do. */
bool cv_ini_put(struct cv_buf *out, const char *key, const char *path, const char *value);
/* Read a whole file of at most max octets. */
int cv_conf_read_file(const char *path, size_t max, struct cv_buf *out, struct cv_err *err);

/* ---- nearest.c ----------------------------------------------------------------------------------------- */

/* { 0 } to start; word is the nearest candidate so far, NULL when none is near. */
struct conf_nearest {
	const char *word;
	unsigned distance;
};
void cv_nearest_try(struct conf_nearest *best, const char *word, const char *candidate);

/* ---- Values (value.c) ------------------------------------------------------------------------------- */

/* Type text (NULL: absent) for row into the struct at set. Lists are made in arena; strings are not copied. err says what is allowed, without
   the key. */
int cv_conf_value_parse(const struct cv_setting *row, const char *text, struct cv_arena *arena, void *set, struct cv_err *err);
/* Do two texts mean the same for row? False when one of them does not parse. */
bool cv_conf_value_same(const struct cv_setting *row, const char *a, const char *b);
const char *cv_conf_type_name(enum cv_setting_type type);
/* "1k", "30s", … for bounds in messages and manuals. */
void cv_conf_format_number(struct cv_buf *out, enum cv_setting_type type, uint64_t n);
void cv_conf_format_bounds(struct cv_buf *out, const struct cv_setting *row);
/* May the row's value be "<file"? */
static inline bool cv_conf_takes_file(const struct cv_setting *row)
{
	return row->type == CV_SET_STR || row->type == CV_SET_VAR || row->type == CV_SET_LIST;
}

/* ---- The set ---------------------------------------------------------------------------------------- */

enum conf_entry_flags {
	CONF_ENTRY_SECRET = 1,   /* a row with CV_SET_SECRET or CV_SET_READFILE, or an extra key: left out when secrets are stripped */
	CONF_ENTRY_HIDE = 2,     /* shown as #hidden */
	CONF_ENTRY_EXTRA = 4,    /* no row has the key */
	CONF_ENTRY_STRIPPED = 8, /* there was a value, this process may not see it */
	CONF_ENTRY_ALL = 15
};

struct conf_entry {
	const char *key;
	const char *value; /* NULL: stripped */
	const char *path;  /* value is this file's content; else NULL */
	const char *file;
	unsigned line;
	unsigned flags;
};

enum conf_filter_kind { CONF_FILTER_NONE, CONF_FILTER_PROTOCOL, CONF_FILTER_REMOTE, CONF_FILTER_LOCAL_NET, CONF_FILTER_LOCAL_NAME };

struct conf_net {
	uint8_t addr[16]; /* IPv4 as mapped, its prefix counted from 96 */
	unsigned prefix;
};

/* kind "": the top. */
struct conf_section {
	const char *kind;
	const char *name;
	const char *file;
	unsigned line;
	enum conf_filter_kind filter;
	struct conf_net net; /* REMOTE, LOCAL_NET */
	CV_VEC(struct conf_entry) entries;
	const struct conf_entry **index; /* by key, after cv_conf_finish */
};

struct conf_match {
	const struct conf_section *section;
	unsigned rank;
};

/* What cv_conf_get_shared made of a table where these sections apply. */
struct conf_shared {
	const struct cv_settings_table *table;
	const struct conf_match *sections;
	size_t count;
	const void *set;
};

struct cv_conf {
	CV_VEC(struct conf_section) sections; /* [0] is the top */
	struct conf_shares *shares;
};

/* Those of a conf, which is not changed otherwise once it is finished. */
struct conf_shares {
	struct cv_arena *arena;
	CV_VEC(struct conf_shared) list;
	size_t tries; /* those that failed included */
};

struct cv_conf *cv_conf_new_empty(struct cv_arena *arena);
/* The section, made when it is not there. */
struct conf_section *cv_conf_section_make(struct cv_conf *conf, const char *kind, const char *name);
const struct conf_section *cv_conf_section_find(const struct cv_conf *conf, const char *kind, const char *name);
/* Fills filter and net from kind and name; false when name is not of that kind's form. */
bool cv_conf_section_classify(struct conf_section *section);
/* Build the indexes. Nothing is changed after. */
void cv_conf_finish(struct cv_conf *conf, struct cv_arena *arena);
const struct conf_entry *cv_conf_entry_find(const struct conf_section *section, const char *key);
bool cv_conf_net_parse(const char *text, struct conf_net *net_r);
/* "kind name" as in the brackets; "" for the top. */
const char *cv_conf_section_title(const struct conf_section *section, struct cv_arena *arena);

#endif
