/* SPDX-License-Identifier: MIT
   Settings: the set in memory, which sections apply, and filling a module's struct from it. */
#include "core/conf/conf-private.h"

#include <arpa/inet.h>

#define SHARED_MAX 256u    /* of a conf: sections can be combined in more ways than anybody would */
#define SECTIONS_USUAL 64u

static void free_vectors(void *ctx)
{
	struct cv_conf *conf = ctx;
	for (size_t i = 0; i < conf->sections.count; i++)
		cv_vec_free(&conf->sections.data[i].entries);
	cv_vec_free(&conf->sections);
	cv_vec_free(&conf->shares->list);
}

struct cv_conf *cv_conf_new_empty(struct cv_arena *arena)
{
	struct cv_conf *conf = cv_new(arena, struct cv_conf, 1);
	conf->shares = cv_new(arena, struct conf_shares, 1);
	conf->shares->arena = arena;
	cv_arena_cleanup(arena, free_vectors, conf);
	struct conf_section *top = cv_vec_push(&conf->sections);
	top->kind = top->name = "";
	return conf;
}

const struct conf_section *cv_conf_section_find(const struct cv_conf *conf, const char *kind, const char *name)
{
	for (size_t i = 0; i < conf->sections.count; i++) {
		const struct conf_section *section = &conf->sections.data[i];
		if (strcmp(section->kind, kind) == 0 && strcmp(section->name, name) == 0)
			return section;
	}
	return NULL;
}

struct conf_section *cv_conf_section_make(struct cv_conf *conf, const char *kind, const char *name)
{
	const struct conf_section *found = cv_conf_section_find(conf, kind, name);
	if (found != NULL)
		return &conf->sections.data[found - conf->sections.data];
	struct conf_section *section = cv_vec_push(&conf->sections);
	section->kind = kind;
	section->name = name;
	return section;
}

const char *cv_conf_section_title(const struct conf_section *section, struct cv_arena *arena)
{
	if (*section->kind == '\0')
		return "";
	return cv_arena_printf(arena, "%s %s", section->kind, section->name);
}

static int by_key(const void *a, const void *b)
{
	const struct conf_entry *const *ea = a, *const *eb = b;
	return strcmp((*ea)->key, (*eb)->key);
}

void cv_conf_finish(struct cv_conf *conf, struct cv_arena *arena)
{
	for (size_t i = 0; i < conf->sections.count; i++) {
		struct conf_section *section = &conf->sections.data[i];
		section->index = cv_new(arena, const struct conf_entry *, section->entries.count + 1);
		for (size_t j = 0; j < section->entries.count; j++)
			section->index[j] = &section->entries.data[j];
		qsort(section->index, section->entries.count, sizeof(*section->index), by_key);
	}
}

const struct conf_entry *cv_conf_entry_find(const struct conf_section *section, const char *key)
{
	size_t low = 0, high = section->entries.count;
	if (section->index == NULL) {
		for (size_t i = 0; i < high; i++)
			if (strcmp(section->entries.data[i].key, key) == 0)
				return &section->entries.data[i];
		return NULL;
	}
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(key, section->index[mid]->key);
		if (order == 0)
			return section->index[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

/* ---- Which sections apply ------------------------------------------------------------------------------ */

static bool parse_addr(const char *text, uint8_t addr[16])
{
	struct in_addr v4;
	struct in6_addr v6;
	char plain[INET6_ADDRSTRLEN];
	struct cv_str s = cv_str_c(text), head, zone;

	(void)cv_str_split(s, '%', &head, &zone); /* fe80::1%eth0 */
	if (head.len == 0 || head.len >= sizeof(plain))
		return false;
	memcpy(plain, head.ptr, head.len);
	plain[head.len] = '\0';
	if (inet_pton(AF_INET6, plain, &v6) == 1) {
		memcpy(addr, &v6, 16);
		return true;
	}
	if (inet_pton(AF_INET, plain, &v4) != 1)
		return false;
	memset(addr, 0, 10);
	addr[10] = addr[11] = 0xff;
	memcpy(addr + 12, &v4, 4);
	return true;
}

bool cv_conf_net_parse(const char *text, struct conf_net *net_r)
{
	struct cv_str addr, bits;
	char plain[64];
	uint32_t prefix;
	bool has_prefix = cv_str_split(cv_str_c(text), '/', &addr, &bits);

	if (addr.len >= sizeof(plain))
		return false;
	memcpy(plain, addr.ptr, addr.len);
	plain[addr.len] = '\0';
	if (!parse_addr(plain, net_r->addr))
		return false;
	bool v4 = cv_str_find(addr, ':') == SIZE_MAX;
	if (!has_prefix)
		prefix = v4 ? 32 : 128;
	else if (!cv_str_to_u32(bits, v4 ? 32 : 128, &prefix))
		return false;
	net_r->prefix = v4 ? prefix + 96 : prefix;
	return true;
}

static bool net_has(const struct conf_net *net, const uint8_t addr[16])
{
	size_t octets = net->prefix / 8;
	unsigned bits = net->prefix % 8;
	if (memcmp(net->addr, addr, octets) != 0)
		return false;
	return bits == 0 || ((net->addr[octets] ^ addr[octets]) >> (8 - bits)) == 0;
}

/* A host name, or one behind "*." */
static bool is_dns_name(const char *name)
{
	struct cv_str s = cv_str_c(name);
	if (cv_str_starts(s, CV_STR("*.")))
		s = cv_str_sub(s, 2, SIZE_MAX);
	if (s.len == 0 || s.len > 253)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		bool dot = s.ptr[i] == '.';
		if (!cv_is_alnum(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '_' && !dot)
			return false;
		if (dot && (i == 0 || i == s.len - 1 || s.ptr[i - 1] == '.'))
			return false;
	}
	return true;
}

bool cv_conf_section_classify(struct conf_section *section)
{
	section->filter = CONF_FILTER_NONE;
	if (strcmp(section->kind, "protocol") == 0) {
		section->filter = CONF_FILTER_PROTOCOL;
	} else if (strcmp(section->kind, "remote") == 0) {
		section->filter = CONF_FILTER_REMOTE;
		return cv_conf_net_parse(section->name, &section->net);
	} else if (strcmp(section->kind, "local") == 0) {
		section->filter = CONF_FILTER_LOCAL_NET;
		if (cv_conf_net_parse(section->name, &section->net))
			return true;
		section->filter = CONF_FILTER_LOCAL_NAME;
		return is_dns_name(section->name);
	}
	return true;
}

static bool name_matches(const char *pattern, struct cv_str name)
{
	struct cv_str p = cv_str_c(pattern);
	if (name.len > 0 && name.ptr[name.len - 1] == '.')
		name.len--;
	if (!cv_str_starts(p, CV_STR("*.")))
		return cv_str_caseeq(p, name);
	/* "*" is one label. */
	size_t dot = cv_str_find(name, '.');
	return dot != SIZE_MAX && dot > 0 && cv_str_caseeq(cv_str_sub(p, 1, SIZE_MAX), cv_str_sub(name, dot, SIZE_MAX));
}

/* 0: does not apply; else higher is more specific. */
static unsigned rank(const struct conf_section *section, const struct cv_conf_filter *filter)
{
	uint8_t addr[16];

	switch (section->filter) {
	case CONF_FILTER_NONE:
		return 0;
	case CONF_FILTER_PROTOCOL:
		return filter->protocol != NULL && strcmp(section->name, filter->protocol) == 0 ? 1 : 0;
	case CONF_FILTER_REMOTE:
		return filter->remote_addr != NULL && parse_addr(filter->remote_addr, addr) && net_has(&section->net, addr) ?
			1000 + section->net.prefix : 0;
	case CONF_FILTER_LOCAL_NET:
		return filter->local_addr != NULL && parse_addr(filter->local_addr, addr) && net_has(&section->net, addr) ?
			2000 + section->net.prefix : 0;
	case CONF_FILTER_LOCAL_NAME:
		if (filter->local_name.len == 0 || !name_matches(section->name, filter->local_name))
			return 0;
		return section->name[0] == '*' ? 3000 : 3001;
	}
	return 0;
}

/* The sections that apply, the most specific first, the top last. */
static size_t match_sections(const struct cv_conf *conf, const struct cv_conf_filter *filter, struct conf_match *list)
{
	size_t count = 0;
	list[count++] = (struct conf_match){ .section = &conf->sections.data[0], .rank = 0 };
	for (size_t i = 1; i < conf->sections.count && filter != NULL; i++) {
		unsigned r = rank(&conf->sections.data[i], filter);
		if (r == 0)
			continue;
		size_t at = 0; /* a later one of the same rank overrides */
		while (list[at].rank > r)
			at++;
		memmove(&list[at + 1], &list[at], (count - at) * sizeof(*list));
		list[at] = (struct conf_match){ .section = &conf->sections.data[i], .rank = r };
		count++;
	}
	return count;
}

/* ---- Filling structs ------------------------------------------------------------------------------------ */

static int fill(const struct cv_settings_table *table, const struct conf_match *sections, size_t count, const char *title, struct cv_arena *arena,
	const void **set_r, struct cv_err *err)
{
	void *set = cv_arena_alloc(arena, table->struct_size);

	for (size_t i = 0; i < table->count; i++) {
		const struct cv_setting *row = &table->rows[i];
		const struct conf_entry *entry = NULL;
		for (size_t j = 0; j < count && entry == NULL; j++)
			entry = cv_conf_entry_find(sections[j].section, row->key);
		const char *text = entry == NULL ? row->def : entry->value;
		if (entry == NULL && (row->opts & CV_SET_REQUIRED) != 0)
			return cv_err_set(err, CV_ERR_INVALID, "%s%s%s%s must be set", *title != '\0' ? "[" : "", title,
				*title != '\0' ? "] " : "", row->key);
		if (cv_conf_value_parse(row, text, arena, set, err) < 0)
			return cv_err_context(err, "%s%s%s%s", *title != '\0' ? "[" : "", title, *title != '\0' ? "] " : "", row->key);
	}
	*set_r = set;
	return 0;
}

int cv_conf_get(const struct cv_conf *conf, const struct cv_settings_table *table, const struct cv_conf_filter *filter, struct cv_arena *arena,
	const void **set_r, struct cv_err *err)
{
	cv_assert(table->kind == NULL);
	struct conf_match *matches = cv_calloc(conf->sections.count + 1, sizeof(*matches));
	size_t count = match_sections(conf, filter, matches);
	int ret = fill(table, matches, count, "", arena, set_r, err);
	cv_free(matches);
	return ret;
}

static const struct conf_shared *find_shared(const struct conf_shares *shares, const struct cv_settings_table *table, const struct conf_match *matches,
	size_t count)
{
	for (size_t i = 0; i < shares->list.count; i++) {
		const struct conf_shared *shared = &shares->list.data[i];
		bool same = shared->table == table && shared->count == count;
		for (size_t j = 0; j < count && same; j++)
			same = shared->sections[j].section == matches[j].section;
		if (same)
			return shared;
	}
	return NULL;
}

/* A struct that lives as long as conf. */
static int make_shared(struct conf_shares *shares, const struct cv_settings_table *table, const struct conf_match *matches, size_t count, const void **set_r,
	struct cv_err *err)
{
	shares->tries++;
	if (fill(table, matches, count, "", shares->arena, set_r, err) < 0)
		return -1;
	struct conf_match *copy = cv_new(shares->arena, struct conf_match, count);
	memcpy(copy, matches, count * sizeof(*copy));
	*cv_vec_push(&shares->list) = (struct conf_shared){ .table = table, .sections = copy, .count = count, .set = *set_r };
	return 0;
}

int cv_conf_get_shared(const struct cv_conf *conf, const struct cv_settings_table *table, const struct cv_conf_filter *filter, struct cv_arena *arena,
	const void **set_r, struct cv_err *err)
{
	struct conf_match usual[SECTIONS_USUAL], *matches = usual;
	int ret = 0;

	cv_assert(table->kind == NULL && conf->sections.data[0].index != NULL);
	if (conf->sections.count > SECTIONS_USUAL)
		matches = cv_calloc(conf->sections.count, sizeof(*matches));
	size_t count = match_sections(conf, filter, matches);
	const struct conf_shared *shared = find_shared(conf->shares, table, matches, count);
	if (shared != NULL)
		*set_r = shared->set;
	else if (conf->shares->tries < SHARED_MAX)
		ret = make_shared(conf->shares, table, matches, count, set_r, err);
	else
		ret = fill(table, matches, count, "", arena, set_r, err);
	if (matches != usual)
		cv_free(matches);
	return ret;
}

bool cv_conf_section_next(const struct cv_conf *conf, const char *kind, size_t *pos, const char **name_r)
{
	while (*pos < conf->sections.count) {
		const struct conf_section *section = &conf->sections.data[(*pos)++];
		if (strcmp(section->kind, kind) == 0) {
			*name_r = section->name;
			return true;
		}
	}
	return false;
}

int cv_conf_get_section(const struct cv_conf *conf, const struct cv_settings_table *table, const char *name, struct cv_arena *arena,
	const void **set_r, struct cv_err *err)
{
	cv_assert(table->kind != NULL);
	const struct conf_section *section = cv_conf_section_find(conf, table->kind, name);
	if (section == NULL)
		return cv_err_set(err, CV_ERR_NOTFOUND, "there is no section [%s %s]", table->kind, name);
	struct conf_match match = { .section = section };
	return fill(table, &match, 1, cv_conf_section_title(section, arena), arena, set_r, err);
}

bool cv_conf_section_extra(const struct cv_conf *conf, const char *kind, const char *name, size_t *pos, const char **key_r, const char **value_r)
{
	const struct conf_section *section = cv_conf_section_find(conf, kind, name);
	while (section != NULL && *pos < section->entries.count) {
		const struct conf_entry *entry = &section->entries.data[(*pos)++];
		if ((entry->flags & CONF_ENTRY_EXTRA) != 0 && (entry->flags & CONF_ENTRY_STRIPPED) == 0) {
			*key_r = entry->key;
			*value_r = entry->value;
			return true;
		}
	}
	return false;
}

const char *cv_conf_value_path(const struct cv_conf *conf, const char *key, const struct cv_conf_filter *filter)
{
	struct conf_match *matches = cv_calloc(conf->sections.count + 1, sizeof(*matches));
	size_t count = match_sections(conf, filter, matches);
	const struct conf_entry *entry = NULL;
	for (size_t i = 0; i < count && entry == NULL; i++)
		entry = cv_conf_entry_find(matches[i].section, key);
	cv_free(matches);
	return entry == NULL ? NULL : entry->path;
}

bool cv_conf_file_next(const struct cv_conf *conf, size_t *section, size_t *pos, struct cv_conf_file *file_r)
{
	for (; *section < conf->sections.count; (*section)++, *pos = 0) {
		const struct conf_section *s = &conf->sections.data[*section];
		while (*pos < s->entries.count) {
			const struct conf_entry *entry = &s->entries.data[(*pos)++];
			if (entry->path == NULL)
				continue;
			*file_r = (struct cv_conf_file){ .kind = s->kind, .name = s->name, .key = entry->key, .path = entry->path };
			return true;
		}
	}
	return false;
}

/* ---- Flat form ------------------------------------------------------------------------------------------ */

#define FLAT_MAGIC 0x464e4f43u /* "CONF" */
#define FLAT_VERSION 1
#define FLAT_MAX_STR (2 * CONF_MAX_FILE_SIZE)

/* NULL tables: strips all secrets. */
static bool strips(const struct conf_section *section, const struct conf_entry *entry, const struct cv_settings_table *const *tables,
	size_t table_count)
{
	if ((entry->flags & CONF_ENTRY_SECRET) == 0)
		return false;
	if (tables == NULL)
		return true;
	const char *kind = section->filter != CONF_FILTER_NONE ? "" : section->kind;
	for (size_t i = 0; i < table_count; i++) {
		if (strcmp(tables[i]->kind == NULL ? "" : tables[i]->kind, kind) != 0)
			continue;
		if ((entry->flags & CONF_ENTRY_EXTRA) != 0 && tables[i]->extra)
			return true;
		for (size_t j = 0; j < tables[i]->count; j++)
			if (strcmp(tables[i]->rows[j].key, entry->key) == 0)
				return true;
	}
	return false;
}

static void serialize(const struct cv_conf *conf, bool strip_secrets, const struct cv_settings_table *const *tables, size_t table_count,
	struct cv_buf *out)
{
	cv_put_u32(out, FLAT_MAGIC);
	cv_put_u32(out, FLAT_VERSION);
	cv_put_u32(out, (uint32_t)conf->sections.count);
	for (size_t i = 0; i < conf->sections.count; i++) {
		const struct conf_section *section = &conf->sections.data[i];
		cv_put_str(out, cv_str_c(section->kind));
		cv_put_str(out, cv_str_c(section->name));
		cv_put_str(out, cv_str_c(section->file));
		cv_put_u32(out, section->line);
		cv_put_u32(out, (uint32_t)section->entries.count);
		for (size_t j = 0; j < section->entries.count; j++) {
			const struct conf_entry *entry = &section->entries.data[j];
			bool strip = strip_secrets && strips(section, entry, tables, table_count);
			cv_put_str(out, cv_str_c(entry->key));
			cv_put_str(out, strip ? (struct cv_str){ 0 } : cv_str_c(entry->value));
			cv_put_str(out, cv_str_c(entry->path));
			cv_put_str(out, cv_str_c(entry->file));
			cv_put_u32(out, entry->line);
			cv_put_u32(out, entry->flags | (strip ? (unsigned)CONF_ENTRY_STRIPPED : 0));
		}
	}
}

void cv_conf_serialize(const struct cv_conf *conf, bool strip_secrets, struct cv_buf *out)
{
	serialize(conf, strip_secrets, NULL, 0, out);
}

void cv_conf_serialize_without(const struct cv_conf *conf, const struct cv_settings_table *const *tables, size_t table_count, struct cv_buf *out)
{
	serialize(conf, tables != NULL, tables, table_count, out);
}

static bool take_cstr(struct cv_reader *r, struct cv_arena *arena, bool need, const char **s_r)
{
	struct cv_str s;
	if (!cv_take_str(r, FLAT_MAX_STR, &s))
		return false;
	if (s.ptr == NULL) {
		*s_r = NULL;
		return !need;
	}
	*s_r = cv_arena_cstr(arena, s);
	return *s_r != NULL;
}

static bool take_entry(struct cv_reader *r, struct cv_arena *arena, struct conf_entry *entry)
{
	uint32_t line, flags;
	if (!take_cstr(r, arena, true, &entry->key) || !take_cstr(r, arena, false, &entry->value) ||
		!take_cstr(r, arena, false, &entry->path) || !take_cstr(r, arena, false, &entry->file) || !cv_take_u32(r, &line) ||
		!cv_take_u32(r, &flags) || (flags & ~(uint32_t)CONF_ENTRY_ALL) != 0)
		return false;
	entry->line = line;
	entry->flags = flags;
	return ((flags & CONF_ENTRY_STRIPPED) != 0) == (entry->value == NULL);
}

static bool take_section(struct cv_reader *r, struct cv_arena *arena, struct conf_section *section)
{
	uint32_t line, count;
	if (!take_cstr(r, arena, true, &section->kind) || !take_cstr(r, arena, true, &section->name) ||
		!take_cstr(r, arena, false, &section->file) || !cv_take_u32(r, &line) || !cv_take_u32(r, &count))
		return false;
	section->line = line;
	for (uint32_t i = 0; i < count; i++)
		if (!take_entry(r, arena, cv_vec_push(&section->entries)))
			return false;
	return cv_conf_section_classify(section);
}

int cv_conf_deserialize(struct cv_str data, struct cv_arena *arena, struct cv_conf **conf_r, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(data);
	uint32_t magic, version, count;
	if (!cv_take_u32(&r, &magic) || magic != FLAT_MAGIC || !cv_take_u32(&r, &version) || version != FLAT_VERSION ||
		!cv_take_u32(&r, &count) || count == 0)
		return cv_err_set(err, CV_ERR_CORRUPT, "settings of another version were handed over");

	struct cv_conf *conf = cv_conf_new_empty(arena);
	for (uint32_t i = 0; i < count; i++) {
		struct conf_section *section = i == 0 ? &conf->sections.data[0] : cv_vec_push(&conf->sections);
		if (!take_section(&r, arena, section) || (*section->kind == '\0') != (i == 0))
			return cv_err_set(err, CV_ERR_CORRUPT, "settings that were handed over are damaged at octet %zu", r.pos);
	}
	if (!cv_reader_end(&r))
		return cv_err_set(err, CV_ERR_CORRUPT, "settings that were handed over have octets behind their end");
	cv_conf_finish(conf, arena);
	*conf_r = conf;
	return 0;
}
