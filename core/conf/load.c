/* SPDX-License-Identifier: MIT
   Settings: reads all files, resolves names against the tables, and collects every problem. */
#include "core/conf/conf-private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define COMMAND_LINE "(command line)"
#define TABLES "(settings tables)"

struct load {
	const struct cv_settings_table *const *tables;
	size_t table_count;
	struct cv_arena *arena;
	struct cv_conf *conf;
	struct conf_problems problems;
	const char *main_path;
	unsigned opts; /* enum cv_conf_load_opts */
};

void cv_conf_problem_add(struct conf_problems *p, const char *file, unsigned line, const char *fmt, ...)
{
	struct cv_buf text;
	va_list ap;

	if (p->list.count == CONF_MAX_PROBLEMS) {
		p->left_out++;
		return;
	}
	cv_buf_init(&text, 4096);
	va_start(ap, fmt);
	cv_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	struct cv_conf_problem *problem = cv_vec_push(&p->list);
	problem->file = cv_arena_strdup(p->arena, file);
	problem->line = line;
	problem->text = cv_arena_strdup(p->arena, cv_buf_ok(&text) ? text.data : "a problem too long to tell");
	cv_buf_deinit(&text);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_kind(const struct cv_settings_table *table, const char *kind)
{
	return strcmp(table->kind == NULL ? "" : table->kind, kind) == 0;
}

/* ---- Tables ---------------------------------------------------------------------------------------------- */

/* The first row for key in tables of kind ("": top). */
static const struct cv_setting *find_row(const struct load *load, const char *kind, const char *key)
{
	for (size_t i = 0; i < load->table_count; i++) {
		const struct cv_settings_table *table = load->tables[i];
		for (size_t j = 0; same_kind(table, kind) && j < table->count; j++)
			if (strcmp(table->rows[j].key, key) == 0)
				return &table->rows[j];
	}
	return NULL;
}

static bool kind_known(const struct load *load, const char *kind, bool *extra_r)
{
	bool known = false;
	*extra_r = false;
	for (size_t i = 0; i < load->table_count; i++) {
		if (!same_kind(load->tables[i], kind))
			continue;
		known = true;
		*extra_r = *extra_r || load->tables[i]->extra;
	}
	return known;
}

/* Two modules may read one key, but it has to mean the same to both. Also checks every default. */
static void check_tables(struct load *load)
{
	for (size_t i = 0; i < load->table_count; i++) {
		const struct cv_settings_table *table = load->tables[i];
		void *scratch = cv_arena_alloc(load->arena, table->struct_size);
		for (size_t j = 0; j < table->count; j++) {
			const struct cv_setting *row = &table->rows[j];
			const struct cv_setting *first = find_row(load, table->kind == NULL ? "" : table->kind, row->key);
			struct cv_err err = { 0 };
			if (first != row && (first->type != row->type || !same_text(first->def, row->def)))
				cv_conf_problem_add(&load->problems, TABLES, 0, "%s is declared twice, with different types or defaults",
					row->key);
			if (cv_conf_value_parse(row, row->def, load->arena, scratch, &err) < 0)
				cv_conf_problem_add(&load->problems, TABLES, 0, "%s: its default \"%s\" %s", row->key, row->def, err.text);
		}
	}
}

/* ---- Names ----------------------------------------------------------------------------------------------- */

static void unknown_key(struct load *load, const char *file, unsigned line, const char *kind, const char *section, const char *key)
{
	struct conf_nearest near = { 0 };
	const struct cv_settings_table *elsewhere = NULL;

	for (size_t i = 0; i < load->table_count; i++) {
		const struct cv_settings_table *table = load->tables[i];
		for (size_t j = 0; j < table->count; j++) {
			if (same_kind(table, kind))
				cv_nearest_try(&near, key, table->rows[j].key);
			else if (elsewhere == NULL && strcmp(table->rows[j].key, key) == 0)
				elsewhere = table;
		}
	}
	const char *where = *section == '\0' ? "" : cv_arena_printf(load->arena, " in [%s]", section);
	if (elsewhere != NULL && elsewhere->kind == NULL)
		cv_conf_problem_add(&load->problems, file, line, "%s does not belong into [%s]: put it at the top, before any section", key, section);
	else if (elsewhere != NULL)
		cv_conf_problem_add(&load->problems, file, line, "%s belongs into a section \"[%s NAME]\"", key, elsewhere->kind);
	else if (near.word != NULL)
		cv_conf_problem_add(&load->problems, file, line, "unknown setting \"%s\"%s; did you mean \"%s\"?", key, where, near.word);
	else
		cv_conf_problem_add(&load->problems, file, line, "unknown setting \"%s\"%s", key, where);
}

static void unknown_kind(struct load *load, const char *file, unsigned line, const char *raw, const char *kind)
{
	struct conf_nearest near = { 0 };
	cv_nearest_try(&near, kind, "protocol");
	cv_nearest_try(&near, kind, "local");
	cv_nearest_try(&near, kind, "remote");
	for (size_t i = 0; i < load->table_count; i++)
		if (load->tables[i]->kind != NULL)
			cv_nearest_try(&near, kind, load->tables[i]->kind);
	if (near.word != NULL)
		cv_conf_problem_add(&load->problems, file, line, "unknown section [%s]; did you mean \"[%s NAME]\"?", raw, near.word);
	else
		cv_conf_problem_add(&load->problems, file, line, "unknown section [%s]", raw);
}

static const char *lower_copy(struct cv_arena *arena, struct cv_str s)
{
	char *text = cv_arena_alloc(arena, s.len + 1);
	for (size_t i = 0; i < s.len; i++)
		text[i] = cv_lower(s.ptr[i]);
	return text;
}

/* "KIND NAME"; the name may stand in quotes. NULL when it has no meaning, which was reported then. */
static struct conf_section *resolve_section(struct load *load, const struct ini_file *file, const struct ini_section *ini)
{
	struct cv_str raw = cv_str_c(ini->raw);
	size_t space = 0;
	bool extra;

	if (raw.len == 0)
		return NULL; /* its brackets were broken */
	while (space < raw.len && !cv_is_space(raw.ptr[space]))
		space++;
	const char *kind = lower_copy(load->arena, cv_str_sub(raw, 0, space));
	struct cv_str name = cv_str_trim(cv_str_sub(raw, space, SIZE_MAX));
	if (name.len >= 2 && (name.ptr[0] == '"' || name.ptr[0] == '\'') && name.ptr[name.len - 1] == name.ptr[0])
		name = cv_str_sub(name, 1, name.len - 2);
	bool filter = strcmp(kind, "protocol") == 0 || strcmp(kind, "local") == 0 || strcmp(kind, "remote") == 0;
	if (!filter && !kind_known(load, kind, &extra)) {
		unknown_kind(load, file->path, ini->line, ini->raw, kind);
		return NULL;
	}
	if (name.len == 0) {
		cv_conf_problem_add(&load->problems, file->path, ini->line, "section [%s] needs a name: \"[%s NAME]\"", ini->raw, kind);
		return NULL;
	}
	struct conf_section probe = {
		.kind = kind,
		.name = filter ? lower_copy(load->arena, name) : cv_arena_str(load->arena, name).ptr,
	};
	if (!cv_conf_section_classify(&probe)) {
		cv_conf_problem_add(&load->problems, file->path, ini->line,
			strcmp(kind, "local") == 0 ? "[%s]: an address, a network such as 192.0.2.0/24 or a host name must follow \"local\"" :
				"[%s]: an address or a network such as 192.0.2.0/24 must follow \"remote\"",
			ini->raw);
		return NULL;
	}
	for (size_t i = 0; i < load->conf->sections.count; i++) {
		const struct conf_section *other = &load->conf->sections.data[i];
		if (strcmp(other->kind, kind) == 0 && strcmp(other->name, probe.name) == 0 && other->file == file->path) {
			cv_conf_problem_add(&load->problems, file->path, ini->line,
				"section [%s] is there already, in line %u: put its settings there", ini->raw, other->line);
			return NULL;
		}
	}
	struct conf_section *section = cv_conf_section_make(load->conf, probe.kind, probe.name);
	section->filter = probe.filter;
	section->net = probe.net;
	section->file = file->path; /* the last that has it, for messages */
	section->line = ini->line;
	return section;
}

/* ---- Values ---------------------------------------------------------------------------------------------- */

/* Directory of path with its "/"; "" for a bare name. */
static const char *dir_of(struct cv_arena *arena, const char *path)
{
	size_t slash = cv_str_rfind(cv_str_c(path), '/');
	return slash == SIZE_MAX ? "" : cv_arena_str(arena, cv_str_mem(path, slash + 1)).ptr;
}

static const char *absolute(struct cv_arena *arena, const char *dir, const char *path)
{
	char cwd[PATH_MAX];
	if (path[0] == '/')
		return path;
	if (dir[0] == '/')
		return cv_arena_printf(arena, "%s%s", dir, path);
	if (getcwd(cwd, sizeof(cwd)) == NULL)
		return cv_arena_printf(arena, "%s%s", dir, path);
	return cv_arena_printf(arena, "%s/%s%s", cwd, dir, path);
}

static bool looks_secret(const char *key)
{
	static const char *const parts[] = { "pass", "secret", "token", "private", NULL };
	for (size_t i = 0; parts[i] != NULL; i++)
		if (cv_str_find_str(cv_str_c(key), cv_str_c(parts[i])) != SIZE_MAX)
			return true;
	return false;
}

static void read_value_file(struct load *load, struct conf_entry *entry, const char *dir, const char *path)
{
	struct cv_buf text;
	struct cv_err err = { 0 };

	entry->path = absolute(load->arena, dir, path);
	cv_buf_init_wipe(&text, CONF_MAX_FILE_SIZE + 8192);
	if (cv_conf_read_file(entry->path, CONF_MAX_FILE_SIZE, &text, &err) < 0) {
		entry->flags |= CONF_ENTRY_STRIPPED;
		if ((load->opts & CV_CONF_UNREADABLE_OK) == 0 || err.code != CV_ERR_PERM || faccessat(AT_FDCWD, entry->path, R_OK, AT_EACCESS) == 0)
			cv_conf_problem_add(&load->problems, entry->file, entry->line, "%s: %s", entry->key, err.text);
	} else {
		if (text.len > 0 && text.data[text.len - 1] == '\n')
			cv_buf_truncate(&text, text.len - 1);
		if (text.len > 0 && text.data[text.len - 1] == '\r')
			cv_buf_truncate(&text, text.len - 1);
		entry->value = cv_arena_cstr(load->arena, cv_buf_str(&text));
		if (entry->value == NULL) {
			entry->flags |= CONF_ENTRY_STRIPPED;
			cv_conf_problem_add(&load->problems, entry->file, entry->line, "%s: %s holds a NUL octet, it is no text", entry->key,
				entry->path);
		}
	}
	cv_buf_deinit(&text);
}

/* Whether some table reads the key where a filter can change it. */
static bool counts_in(const struct load *load, const struct conf_section *section, const char *key)
{
	for (size_t i = 0; i < load->table_count; i++) {
		const struct cv_settings_table *table = load->tables[i];
		for (size_t j = 0; table->kind == NULL && j < table->count; j++) {
			unsigned opts = table->rows[j].opts;
			if (strcmp(table->rows[j].key, key) != 0)
				continue;
			if (table->top_only ? (opts & CV_SET_BY_PROTOCOL) != 0 && section->filter == CONF_FILTER_PROTOCOL : (opts & CV_SET_TOP) == 0)
				return true;
		}
	}
	return false;
}

/* Check the value against every row of that name and put it into the section, over an earlier file's. */
static void set_entry(struct load *load, struct conf_section *section, struct conf_entry *entry, bool quoted, const char *dir)
{
	bool filter = section->filter != CONF_FILTER_NONE, extra = false;
	const char *kind = filter ? "" : section->kind;
	const struct cv_setting *row = find_row(load, kind, entry->key);
	const char *title = cv_conf_section_title(section, load->arena);

	if (row == NULL) {
		if (*section->kind != '\0' && !filter)
			(void)kind_known(load, section->kind, &extra);
		if (!extra) {
			unknown_key(load, entry->file, entry->line, kind, title, entry->key);
			return;
		}
		entry->flags |= CONF_ENTRY_EXTRA | CONF_ENTRY_SECRET;
		if (looks_secret(entry->key))
			entry->flags |= CONF_ENTRY_HIDE;
	}
	if (filter && row != NULL && !counts_in(load, section, entry->key)) {
		cv_conf_problem_add(&load->problems, entry->file, entry->line, "%s has no effect in [%s]: %s", entry->key, title,
			counts_in(load, &(const struct conf_section){ .filter = CONF_FILTER_PROTOCOL }, entry->key) ?
				"put it at the top, before any section, or into [protocol NAME]" :
				"put it at the top, before any section");
		return;
	}
	bool readfile = row != NULL && (row->opts & CV_SET_READFILE) != 0;
	if (readfile || (row != NULL && (row->opts & CV_SET_SECRET) != 0))
		entry->flags |= CONF_ENTRY_SECRET;
	if (row != NULL && (row->opts & CV_SET_SECRET) != 0)
		entry->flags |= CONF_ENTRY_HIDE;
	if (entry->value[0] == '<' && (readfile || !quoted) && (row == NULL || cv_conf_takes_file(row)))
		read_value_file(load, entry, dir, cv_str_trim(cv_str_sub(cv_str_c(entry->value), 1, SIZE_MAX)).ptr);
	else if (readfile && entry->value[0] != '\0')
		read_value_file(load, entry, dir, entry->value);

	for (size_t i = 0; i < load->table_count && (entry->flags & CONF_ENTRY_STRIPPED) == 0; i++) {
		const struct cv_settings_table *table = load->tables[i];
		for (size_t j = 0; same_kind(table, kind) && j < table->count; j++) {
			struct cv_err err = { 0 };
			if (strcmp(table->rows[j].key, entry->key) != 0)
				continue;
			void *scratch = cv_arena_alloc(load->arena, table->struct_size);
			if (cv_conf_value_parse(&table->rows[j], entry->value, load->arena, scratch, &err) == 0)
				continue;
			cv_conf_problem_add(&load->problems, entry->file, entry->line, "%s = %s: %s", entry->key,
				(entry->flags & CONF_ENTRY_SECRET) != 0 ? "#hidden" : entry->value, err.text);
			i = load->table_count - 1; /* one message a value */
			break;
		}
	}
	if ((entry->flags & CONF_ENTRY_STRIPPED) != 0)
		entry->value = NULL; /* reported, or not for this user's eyes */
	for (size_t i = 0; i < section->entries.count; i++) {
		if (strcmp(section->entries.data[i].key, entry->key) == 0) {
			section->entries.data[i] = *entry;
			return;
		}
	}
	*cv_vec_push(&section->entries) = *entry;
}

/* ---- Files ------------------------------------------------------------------------------------------------ */

static void load_file(struct load *load, const char *path)
{
	struct ini_file file;
	const char *dir = dir_of(load->arena, path);

	if (!cv_ini_read(&file, path, load->arena, &load->problems)) {
		cv_ini_free(&file);
		return;
	}
	/* Entries stand in file order, so each section is resolved once, before its first entry. */
	size_t next = 0;
	for (size_t i = 0; i < file.sections.count; i++) {
		struct conf_section *section =
			i == 0 ? &load->conf->sections.data[0] : resolve_section(load, &file, &file.sections.data[i]);
		for (; next < file.entries.count && file.entries.data[next].section == i; next++) {
			const struct ini_entry *ini = &file.entries.data[next];
			struct conf_entry entry = { .key = ini->key, .value = ini->value, .file = file.path, .line = ini->line };
			if (section != NULL)
				set_entry(load, section, &entry, ini->quoted, dir);
		}
	}
	cv_ini_free(&file);
}

static int by_name(const void *a, const void *b)
{
	const char *const *na = a, *const *nb = b;
	return strcmp(*na, *nb);
}

/* The main file and conf.d beside it, in the order in which they are read. */
static const char *const *list_files(const char *main_path, struct cv_arena *arena, struct conf_problems *problems)
{
	CV_VEC(const char *) names = { 0 };
	const char *dir_path = cv_arena_printf(arena, "%sconf.d", dir_of(arena, main_path));
	DIR *dir = opendir(dir_path);
	if (dir == NULL && errno != ENOENT && errno != ENOTDIR)
		cv_conf_problem_add(problems, dir_path, 0, "cannot read the directory: %s", strerror(errno));
	errno = 0;
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL; errno = 0)
		if (entry->d_name[0] != '.' && cv_str_ends(cv_str_c(entry->d_name), CV_STR(".ini")))
			*cv_vec_push(&names) = cv_arena_printf(arena, "%s/%s", dir_path, entry->d_name);
	if (dir != NULL && errno != 0)
		cv_conf_problem_add(problems, dir_path, 0, "cannot read the directory: %s", strerror(errno));
	if (dir != NULL)
		(void)closedir(dir);
	if (names.count > CONF_MAX_FILES) {
		cv_conf_problem_add(problems, dir_path, 0, "there are more than %d files", CONF_MAX_FILES);
		names.count = 0;
	}
	const char **list = cv_new(arena, const char *, names.count + 2);
	list[0] = main_path;
	if (names.count > 0) {
		qsort(names.data, names.count, sizeof(*names.data), by_name);
		memcpy(list + 1, names.data, names.count * sizeof(*list));
	}
	cv_vec_free(&names);
	return list;
}

const char *cv_conf_peek(const char *path, const char *const *overrides, const char *key, struct cv_arena *arena)
{
	struct conf_problems ignored = { .arena = arena };
	const char *found = NULL;

	const char *const *files = list_files(path, arena, &ignored);
	for (size_t i = 0; files[i] != NULL; i++) {
		struct ini_file file;
		(void)cv_ini_read(&file, files[i], arena, &ignored);
		for (size_t j = 0; j < file.entries.count; j++)
			if (file.entries.data[j].section == 0 && strcmp(file.entries.data[j].key, key) == 0)
				found = file.entries.data[j].value;
		cv_ini_free(&file);
	}
	for (size_t i = 0; overrides != NULL && overrides[i] != NULL; i++) {
		struct cv_str name, value;
		if (cv_str_split(cv_str_c(overrides[i]), '=', &name, &value) && cv_str_caseeq_c(cv_str_trim(name), key))
			found = cv_arena_str(arena, cv_str_trim(value)).ptr;
	}
	cv_vec_free(&ignored.list);
	return found;
}

static void load_override(struct load *load, const char *text)
{
	struct cv_str key, value;
	struct cv_buf line;

	if (!cv_str_split(cv_str_c(text), '=', &key, &value)) {
		cv_conf_problem_add(&load->problems, COMMAND_LINE, 0, "\"%s\" is not of the form \"name=value\"", text);
		return;
	}
	struct conf_entry entry = {
		.key = lower_copy(load->arena, cv_str_trim(key)),
		.value = cv_arena_str(load->arena, cv_str_trim(value)).ptr,
		.file = COMMAND_LINE,
	};
	/* What `culver conf -n` prints must load again. */
	cv_buf_init_wipe(&line, 4096);
	bool fits = cv_ini_put(&line, entry.key, NULL, entry.value);
	cv_buf_deinit(&line);
	if (!fits) {
		cv_conf_problem_add(&load->problems, COMMAND_LINE, 0, "%s: a settings file could not hold this value: use \"%s=<file\"", entry.key,
			entry.key);
		return;
	}
	set_entry(load, &load->conf->sections.data[0], &entry, false, "");
	/* It counts whatever sections say. */
	for (size_t i = 1; i < load->conf->sections.count; i++) {
		struct conf_section *section = &load->conf->sections.data[i];
		for (size_t j = 0; section->filter != CONF_FILTER_NONE && j < section->entries.count; j++) {
			if (strcmp(section->entries.data[j].key, entry.key) != 0)
				continue;
			memmove(&section->entries.data[j], &section->entries.data[j + 1],
				(section->entries.count - j - 1) * sizeof(*section->entries.data));
			section->entries.count--;
			break;
		}
	}
}

/* ---- The whole -------------------------------------------------------------------------------------------- */

/* [protocol x]: x must be one that can be there: in the default of `protocols` or in its value. */
static void check_protocols(struct load *load)
{
	const struct cv_setting *row = find_row(load, "", "protocols");
	if (row == NULL || row->type != CV_SET_LIST)
		return;
	struct cv_setting at0 = *row;
	const char *const *lists[2];
	const struct conf_entry *entry = cv_conf_entry_find(&load->conf->sections.data[0], "protocols");
	at0.offset = 0;
	if (cv_conf_value_parse(&at0, row->def, load->arena, &lists[0], NULL) < 0 ||
		cv_conf_value_parse(&at0, entry == NULL ? row->def : entry->value, load->arena, &lists[1], NULL) < 0)
		return;
	for (size_t i = 1; i < load->conf->sections.count; i++) {
		const struct conf_section *section = &load->conf->sections.data[i];
		struct conf_nearest near = { 0 };
		bool known = section->filter != CONF_FILTER_PROTOCOL;
		for (size_t l = 0; l < 2 && !known; l++) {
			for (size_t j = 0; lists[l][j] != NULL && !known; j++) {
				known = strcmp(lists[l][j], section->name) == 0;
				cv_nearest_try(&near, section->name, lists[l][j]);
			}
		}
		if (!known)
			cv_conf_problem_add(&load->problems, section->file, section->line,
				"[protocol %s]: no such protocol in \"protocols\"%s%s%s", section->name,
				near.word != NULL ? "; did you mean \"" : "", near.word != NULL ? near.word : "",
				near.word != NULL ? "\"?" : "");
	}
}

/* The line of the setting a table's check complains of: its text begins with the key. */
static void add_check_problem(struct load *load, const struct conf_section *section, const char *title, const char *text)
{
	struct cv_str s = cv_str_c(text);
	size_t len = 0;
	while (len < s.len && (cv_is_alnum(s.ptr[len]) || s.ptr[len] == '_'))
		len++;
	const char *key = cv_arena_str(load->arena, cv_str_sub(s, 0, len)).ptr;
	const struct conf_entry *entry = cv_conf_entry_find(section, key);
	if (entry == NULL)
		entry = cv_conf_entry_find(&load->conf->sections.data[0], key);
	const char *file = entry != NULL ? entry->file : section->file != NULL ? section->file : load->main_path;
	unsigned line = entry != NULL ? entry->line : section->line;
	for (size_t i = 0; i < load->problems.list.count; i++) {
		const struct cv_conf_problem *other = &load->problems.list.data[i];
		if (other->line == line && strcmp(other->file, file) == 0 && cv_str_ends(cv_str_c(other->text), s))
			return; /* the same for the top and for a section */
	}
	cv_conf_problem_add(&load->problems, file, line, "%s%s%s%s", *title != '\0' ? "[" : "", title, *title != '\0' ? "] " : "", text);
}

static const struct cv_conf_filter *filter_for(struct load *load, const struct conf_section *section)
{
	struct cv_conf_filter *filter = cv_new(load->arena, struct cv_conf_filter, 1);
	struct cv_str addr, prefix;
	switch (section->filter) {
	case CONF_FILTER_NONE:
		break;
	case CONF_FILTER_PROTOCOL:
		filter->protocol = section->name;
		break;
	case CONF_FILTER_REMOTE:
	case CONF_FILTER_LOCAL_NET:
		(void)cv_str_split(cv_str_c(section->name), '/', &addr, &prefix);
		if (section->filter == CONF_FILTER_REMOTE)
			filter->remote_addr = cv_arena_str(load->arena, addr).ptr;
		else
			filter->local_addr = cv_arena_str(load->arena, addr).ptr;
		break;
	case CONF_FILTER_LOCAL_NAME:
		filter->local_name = cv_str_c(section->name);
		if (cv_str_starts(filter->local_name, CV_STR("*.")))
			filter->local_name = cv_str_c(cv_arena_printf(load->arena, "x%s", section->name + 1));
		break;
	}
	return filter;
}

/* A value of the table could not be read: its check would complain of what it does not see. */
static bool table_stripped(const struct cv_conf *conf, const struct cv_settings_table *table)
{
	for (size_t i = 0; i < conf->sections.count; i++) {
		const struct conf_section *section = &conf->sections.data[i];
		bool top = *section->kind == '\0' || section->filter != CONF_FILTER_NONE;
		if (top ? table->kind != NULL : !same_kind(table, section->kind))
			continue;
		for (size_t j = 0; j < table->count; j++) {
			const struct conf_entry *entry = cv_conf_entry_find(section, table->rows[j].key);
			if (entry != NULL && (entry->flags & CONF_ENTRY_STRIPPED) != 0)
				return true;
		}
	}
	return false;
}

static void check_set(struct load *load, const struct cv_settings_table *table, const struct conf_section *section)
{
	struct cv_err err = { 0 };
	const void *set;
	const char *title = cv_conf_section_title(section, load->arena);
	int ret = table->kind == NULL ? cv_conf_get(load->conf, table, filter_for(load, section), load->arena, &set, &err) :
					cv_conf_get_section(load->conf, table, section->name, load->arena, &set, &err);
	if (ret < 0) {
		/* Values were reported when they were read; what is left is a setting that must be there. */
		if (cv_str_ends(cv_str_c(err.text), CV_STR(" must be set")))
			add_check_problem(load, section, "", err.text);
		return;
	}
	if (table->check != NULL && !table_stripped(load->conf, table) && table->check(set, &err) < 0)
		add_check_problem(load, section, title, err.text);
}

static void check_whole(struct load *load)
{
	for (size_t i = 0; i < load->table_count; i++) {
		for (size_t j = 0; j < load->conf->sections.count; j++) {
			const struct conf_section *section = &load->conf->sections.data[j];
			bool top = j == 0 || section->filter != CONF_FILTER_NONE;
			if (top ? load->tables[i]->kind == NULL : same_kind(load->tables[i], section->kind))
				check_set(load, load->tables[i], section);
		}
	}
}

static int by_place(const void *a, const void *b)
{
	const struct cv_conf_problem *pa = a, *pb = b;
	int order = strcmp(pa->file, pb->file);
	if (order != 0)
		return order;
	return pa->line < pb->line ? -1 : pa->line > pb->line;
}

int cv_conf_load(const char *path, const char *const *overrides, const struct cv_settings_table *const *tables, size_t table_count,
	struct cv_arena *arena, struct cv_conf **conf_r, const struct cv_conf_problem **problems_r, size_t *count_r)
{
	return cv_conf_load_with(path, overrides, tables, table_count, 0, arena, conf_r, problems_r, count_r);
}

int cv_conf_load_with(const char *path, const char *const *overrides, const struct cv_settings_table *const *tables, size_t table_count,
	unsigned opts, struct cv_arena *arena, struct cv_conf **conf_r, const struct cv_conf_problem **problems_r, size_t *count_r)
{
	struct load load = {
		.tables = tables,
		.table_count = table_count,
		.arena = arena,
		.conf = cv_conf_new_empty(arena),
		.problems = { .arena = arena },
		.main_path = cv_arena_strdup(arena, path),
		.opts = opts,
	};

	check_tables(&load);
	const char *const *files = list_files(load.main_path, arena, &load.problems);
	for (size_t i = 0; files[i] != NULL; i++)
		load_file(&load, files[i]);
	for (size_t i = 0; overrides != NULL && overrides[i] != NULL; i++)
		load_override(&load, overrides[i]);
	check_protocols(&load);
	check_whole(&load);
	cv_conf_finish(load.conf, arena);

	size_t count = load.problems.list.count;
	struct cv_conf_problem *list = cv_new(arena, struct cv_conf_problem, count + 1);
	if (count > 0) {
		memcpy(list, load.problems.list.data, count * sizeof(*list));
		qsort(list, count, sizeof(*list), by_place);
	}
	if (load.problems.left_out > 0) {
		list[count].file = load.main_path;
		list[count++].text = cv_arena_printf(arena, "and %zu more problems", load.problems.left_out);
	}
	cv_vec_free(&load.problems.list);
	*problems_r = list;
	*count_r = count;
	if (count > 0)
		return -1;
	*conf_r = load.conf;
	return 0;
}
