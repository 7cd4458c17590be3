/* SPDX-License-Identifier: MIT
   Settings: showing what is in effect and where it comes from. */
#include "core/conf/conf-private.h"

#define HIDDEN "#hidden"

struct dump {
	const struct cv_conf *conf;
	const struct cv_settings_table *const *tables;
	size_t table_count;
	unsigned show;
	struct cv_arena *arena;
	CV_VEC(struct cv_conf_item) items;
};

static bool of_kind(const struct cv_settings_table *table, const char *kind)
{
	return strcmp(table->kind == NULL ? "" : table->kind, kind) == 0;
}

static const struct cv_setting *find_row(const struct dump *d, const char *kind, const char *key)
{
	for (size_t i = 0; i < d->table_count; i++)
		for (size_t j = 0; of_kind(d->tables[i], kind) && j < d->tables[i]->count; j++)
			if (strcmp(d->tables[i]->rows[j].key, key) == 0)
				return &d->tables[i]->rows[j];
	return NULL;
}

static void add_item(struct dump *d, const struct conf_section *section, const char *key, const struct cv_setting *row,
	const struct conf_entry *entry, bool override)
{
	struct cv_conf_item item = {
		.kind = section->kind,
		.name = section->name,
		.key = key,
		.row = row,
		.value = row != NULL && row->def != NULL ? row->def : "",
	};
	if (entry != NULL) {
		item.value = entry->path != NULL ? cv_arena_printf(d->arena, "<%s", entry->path) : entry->value;
		item.path = entry->path;
		item.file = entry->file;
		item.line = entry->line;
		/* In a section that overrides the top, a default is a change as well. */
		item.changed = override || row == NULL || entry->path != NULL || !cv_conf_value_same(row, entry->value, row->def);
		bool stripped = (entry->flags & CONF_ENTRY_STRIPPED) != 0, hide = (entry->flags & CONF_ENTRY_HIDE) != 0;
		if (entry->path == NULL && (stripped || (hide && (d->show & CV_CONF_SECRETS) == 0))) {
			item.hidden = true;
			item.value = HIDDEN;
		}
	}
	if (item.changed || (d->show & CV_CONF_CHANGED) == 0)
		*cv_vec_push(&d->items) = item;
}

/* Every row of the section's kind, then what else it has. */
static void add_section(struct dump *d, const struct conf_section *section)
{
	for (size_t i = 0; i < d->table_count; i++) {
		const struct cv_settings_table *table = d->tables[i];
		for (size_t j = 0; of_kind(table, section->kind) && j < table->count; j++) {
			const struct cv_setting *row = &table->rows[j];
			if (find_row(d, section->kind, row->key) == row)
				add_item(d, section, row->key, row, cv_conf_entry_find(section, row->key), false);
		}
	}
	for (size_t i = 0; i < section->entries.count; i++) {
		const struct conf_entry *entry = &section->entries.data[i];
		if (find_row(d, section->kind, entry->key) == NULL)
			add_item(d, section, entry->key, NULL, entry, false);
	}
}

static void collect(struct dump *d)
{
	add_section(d, &d->conf->sections.data[0]);
	for (size_t i = 1; i < d->conf->sections.count; i++) {
		const struct conf_section *section = &d->conf->sections.data[i];
		for (size_t j = 0; section->filter != CONF_FILTER_NONE && j < section->entries.count; j++) {
			const struct conf_entry *entry = &section->entries.data[j];
			add_item(d, section, entry->key, find_row(d, "", entry->key), entry, true);
		}
	}
	for (size_t i = 1; i < d->conf->sections.count; i++)
		if (d->conf->sections.data[i].filter == CONF_FILTER_NONE)
			add_section(d, &d->conf->sections.data[i]);
}

const struct cv_conf_item *cv_conf_items(const struct cv_conf *conf, const struct cv_settings_table *const *tables, size_t table_count,
	unsigned show, struct cv_arena *arena, size_t *count_r)
{
	struct dump d = { .conf = conf, .tables = tables, .table_count = table_count, .show = show, .arena = arena };
	collect(&d);
	struct cv_conf_item *items = cv_new(arena, struct cv_conf_item, d.items.count + 1);
	if (d.items.count > 0)
		memcpy(items, d.items.data, d.items.count * sizeof(*items));
	*count_r = d.items.count;
	cv_vec_free(&d.items);
	return items;
}

/* ---- As a file ------------------------------------------------------------------------------------------------- */

static void print_header(struct cv_buf *out, const char *kind, const char *name)
{
	/* Names with blanks at their ends were written in quotes. */
	struct cv_str s = cv_str_c(name);
	bool quote = s.len > 0 && (cv_is_space(s.ptr[0]) || cv_is_space(s.ptr[s.len - 1]) || s.ptr[0] == '"' || s.ptr[0] == '\'');
	bool has_double = cv_str_find(s, '"') != SIZE_MAX;
	const char *mark = !quote ? "" : has_double ? "'" : "\"";
	cv_buf_printf(out, "%s[%s %s%s%s]\n", out->len > 0 ? "\n" : "", kind, mark, name, mark);
}

static void print_item(struct cv_buf *out, const struct cv_conf_item *item, unsigned show)
{
	if ((show & CV_CONF_ORIGIN) != 0 && item->file != NULL && item->line != 0)
		cv_buf_printf(out, "# %s:%u\n", item->file, item->line);
	else if ((show & CV_CONF_ORIGIN) != 0 && item->file != NULL)
		cv_buf_printf(out, "# %s\n", item->file);
	if (item->hidden)
		cv_buf_printf(out, "%s = %s\n", item->key, item->value);
	else if (!cv_ini_put(out, item->key, item->path, item->value))
		cv_buf_printf(out, "# %s has a value that no line of a settings file can hold\n", item->key);
}

void cv_conf_print(const struct cv_conf *conf, const struct cv_settings_table *const *tables, size_t table_count, unsigned show,
	struct cv_buf *out)
{
	struct cv_arena *arena = cv_arena_new("settings dump", NULL, CV_ARENA_WIPE);
	size_t count, next = 0;
	const struct cv_conf_item *items = cv_conf_items(conf, tables, table_count, show, arena, &count);

	for (; next < count && *items[next].kind == '\0'; next++)
		print_item(out, &items[next], show);
	/* A section counts even when nothing in it differs from its defaults. */
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 1; i < conf->sections.count; i++) {
			const struct conf_section *section = &conf->sections.data[i];
			bool filter = section->filter != CONF_FILTER_NONE;
			if (filter != (pass == 0) || (filter && section->entries.count == 0))
				continue;
			print_header(out, section->kind, section->name);
			for (; next < count && items[next].kind == section->kind && items[next].name == section->name; next++)
				print_item(out, &items[next], show);
		}
	}
	cv_arena_free(&arena);
}

/* ---- One setting, explained ------------------------------------------------------------------------------------ */

static void explain_row(struct cv_buf *out, const struct cv_settings_table *table, const struct cv_setting *row)
{
	struct cv_buf bounds;

	cv_buf_init(&bounds, 1024);
	cv_conf_format_bounds(&bounds, row);
	cv_buf_printf(out, "%s\n  %s\n\n", row->key, row->help != NULL ? row->help : "");
	cv_buf_printf(out, "  Type:     %s%s%s%s\n", cv_conf_type_name(row->type), bounds.len > 0 ? " (" : "", bounds.len > 0 ? bounds.data : "",
		bounds.len > 0 ? ")" : "");
	if ((row->opts & CV_SET_REQUIRED) != 0)
		cv_buf_append_c(out, "  Default:  none, it must be set\n");
	else
		cv_buf_printf(out, "  Default:  %s\n", row->def != NULL && *row->def != '\0' ? row->def : "empty");
	if (table->kind == NULL)
		cv_buf_append_c(out, (row->opts & CV_SET_BY_PROTOCOL) != 0 ? "  Place:    top of the file; [protocol] sections may override it\n" :
			table->top_only || (row->opts & CV_SET_TOP) != 0 ? "  Place:    top of the file\n" :
									   "  Place:    top of the file; [protocol], [local] and [remote] sections may override it\n");
	else
		cv_buf_printf(out, "  Place:    in a section [%s NAME]\n", table->kind);
	if ((row->opts & CV_SET_READFILE) != 0)
		cv_buf_append_c(out, "  File:     the value is the path of a file, whose content is used (\"<\" before it is fine)\n");
	else if (cv_conf_takes_file(row))
		cv_buf_append_c(out, "  File:     \"<path\" takes the value from a file\n");
	if ((row->opts & CV_SET_SECRET) != 0)
		cv_buf_append_c(out, "  Secret:   shown only when asked for\n");
	cv_buf_printf(out, "  Part of:  %s\n", table->title != NULL ? table->title : "");
	cv_buf_deinit(&bounds);
}

static void explain_value(struct cv_buf *out, const struct cv_conf_item *item)
{
	cv_buf_append_c(out, "  Now:      ");
	if (*item->kind != '\0')
		cv_buf_printf(out, "[%s %s] ", item->kind, item->name);
	cv_buf_append_c(out, *item->value != '\0' ? item->value : "empty");
	if (item->file == NULL)
		cv_buf_append_c(out, " (the default)\n");
	else if (item->line == 0)
		cv_buf_printf(out, " from %s\n", item->file);
	else
		cv_buf_printf(out, " from %s line %u\n", item->file, item->line);
}

int cv_conf_explain(const struct cv_conf *conf, const struct cv_settings_table *const *tables, size_t table_count, const char *key,
	struct cv_buf *out, struct cv_err *err)
{
	struct conf_nearest near = { 0 };
	struct dump d = { .tables = tables, .table_count = table_count };
	size_t found = 0;

	for (size_t i = 0; i < table_count; i++) {
		const struct cv_settings_table *table = tables[i];
		const char *kind = table->kind == NULL ? "" : table->kind;
		for (size_t j = 0; j < table->count; j++) {
			cv_nearest_try(&near, key, table->rows[j].key);
			if (!cv_str_caseeq_c(cv_str_c(key), table->rows[j].key) || find_row(&d, kind, table->rows[j].key) != &table->rows[j])
				continue;
			if (found++ > 0)
				cv_buf_append_char(out, '\n');
			explain_row(out, table, &table->rows[j]);
			if (conf == NULL)
				continue;
			struct cv_arena *arena = cv_arena_new("settings dump", NULL, CV_ARENA_WIPE);
			size_t count;
			const struct cv_conf_item *items = cv_conf_items(conf, tables, table_count, 0, arena, &count);
			for (size_t k = 0; k < count; k++)
				if (items[k].row == &table->rows[j])
					explain_value(out, &items[k]);
			cv_arena_free(&arena);
		}
	}
	if (found > 0)
		return 0;
	return cv_err_set(err, CV_ERR_NOTFOUND, "there is no setting \"%s\"%s%s%s", key, near.word != NULL ? "; did you mean \"" : "",
		near.word != NULL ? near.word : "", near.word != NULL ? "\"?" : "");
}
