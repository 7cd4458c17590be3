/* SPDX-License-Identifier: MIT
   Settings: reads one INI file twice, by our own scan and by iniparser, and uses a value only when both agree.

   iniparser (4.1 tried) cuts lines at 1,024 octets and unquoted values at ';' and '#', keeps the last of a repeated key, merges repeated
   sections, takes an unterminated quote, ignores a line that a comment's last backslash joined, lower-cases names, and keeps no line
   numbers. The scan finds all of these and says where; it also keeps section names as they are written. */
#include "core/conf/conf-private.h"

#include <errno.h>
#include <fcntl.h>
#include <iniparser.h>
#include <sys/stat.h>
#include <unistd.h>

/* iniparser's line buffer holds 1,024 octets with the line end and a NUL. */
#define INI_LINE_MAX 1022

struct scan {
	struct ini_file *file;
	struct cv_arena *arena;
	struct conf_problems *problems;
	struct cv_map *keys;     /* of the section: key -> line */
	struct cv_map *sections; /* "kind name" in lower case -> struct seen_section */
	bool clean;
};

struct seen_section {
	const char *raw;
	unsigned line;
};

static void problem(struct scan *scan, unsigned line, const char *text)
{
	scan->clean = false;
	cv_conf_problem_add(scan->problems, scan->file->path, line, "%s", text);
}

static const char *lower(struct cv_arena *arena, struct cv_str s)
{
	char *text = cv_arena_alloc(arena, s.len + 1);
	for (size_t i = 0; i < s.len; i++)
		text[i] = cv_lower(s.ptr[i]);
	return text;
}

static bool is_control(char c)
{
	unsigned char u = (unsigned char)c;
	return (u < 0x20 && c != '\t') || u == 0x7f;
}

/* "[" name "]" */
static void scan_section(struct scan *scan, struct cv_str line, unsigned number)
{
	size_t end = cv_str_find(line, ']');
	struct cv_str raw = end == SIZE_MAX ? (struct cv_str){ 0 } : cv_str_trim(cv_str_sub(line, 1, end - 1));
	if (end == SIZE_MAX)
		problem(scan, number, "the section's \"]\" is missing");
	else if (end != line.len - 1)
		problem(scan, number, "text after the section's \"]\": put comments on lines of their own");
	else if (raw.len == 0)
		problem(scan, number, "the section has no name");

	/* What follows belongs to this section, whatever is wrong with its line. */
	struct ini_section *section = cv_vec_push(&scan->file->sections);
	section->raw = cv_arena_str(scan->arena, raw).ptr;
	section->line = number;
	cv_map_free(&scan->keys);
	scan->keys = cv_map_new();

	/* Words apart by one space: iniparser would take "[a  b]" and "[a b]" for two. */
	char *folded = cv_arena_alloc(scan->arena, raw.len + 1);
	size_t len = 0;
	for (size_t i = 0; i < raw.len; i++) {
		if (cv_is_space(raw.ptr[i]) && len > 0 && folded[len - 1] == ' ')
			continue;
		folded[len++] = cv_is_space(raw.ptr[i]) ? ' ' : cv_lower(raw.ptr[i]);
	}
	struct cv_str key = cv_str_mem(folded, len);
	struct seen_section *seen = cv_map_get(scan->sections, key);
	if (seen != NULL && raw.len > 0) {
		bool same = strcmp(seen->raw, section->raw) == 0;
		problem(scan, number,
			cv_arena_printf(scan->arena, same ? "section [%s] is there already, in line %u: put its settings there" :
				"section [%s] differs from the one in line %u only in capitals or spaces, which the INI reader cannot tell apart",
				section->raw, seen->line));
		return;
	}
	seen = cv_new(scan->arena, struct seen_section, 1);
	seen->raw = section->raw;
	seen->line = number;
	(void)cv_map_set(scan->sections, key, seen);
}

static bool is_key_char(char c)
{
	return cv_is_alnum(c) || c == '_' || c == '-' || c == '.';
}

/* The value behind "=", as both readers have to see it. False when it has no clear meaning; a problem is added then. */
static bool scan_value(struct scan *scan, const char *key, struct cv_str text, unsigned number, struct ini_entry *entry)
{
	if (text.len > 0 && (text.ptr[0] == '"' || text.ptr[0] == '\'')) {
		char quote = text.ptr[0];
		size_t end = cv_str_find(cv_str_sub(text, 1, SIZE_MAX), quote);
		if (end == SIZE_MAX) {
			problem(scan, number, cv_arena_printf(scan->arena, "%s: the closing %c is missing", key, quote));
			return false;
		}
		struct cv_str rest = cv_str_trim(cv_str_sub(text, end + 2, SIZE_MAX));
		if (rest.len > 0 && rest.ptr[0] != ';' && rest.ptr[0] != '#') {
			problem(scan, number,
				cv_arena_printf(scan->arena,
					"%s: text after the closing %c; there are no escapes: a value that holds %c goes into %s", key, quote,
					quote, quote == '"' ? "'single quotes'" : "\"double quotes\""));
			return false;
		}
		entry->value = cv_arena_str(scan->arena, cv_str_sub(text, 1, end)).ptr;
		entry->quoted = true;
		return true;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == ';' || text.ptr[i] == '#') {
			problem(scan, number,
				cv_arena_printf(scan->arena,
					"%s: the INI reader would cut the value at \"%c\": write the value in \"quotes\", or put the comment on a line "
					"of its own",
					key, text.ptr[i]));
			return false;
		}
	}
	entry->value = cv_arena_str(scan->arena, text).ptr;
	return true;
}

static void scan_entry(struct scan *scan, struct cv_str line, unsigned number)
{
	struct cv_str left, right;
	if (!cv_str_split(line, '=', &left, &right)) {
		problem(scan, number, "neither \"name = value\" nor \"[section]\" nor a comment");
		return;
	}
	left = cv_str_trim(left);
	if (left.len == 0) {
		problem(scan, number, "there is no name before the \"=\"");
		return;
	}
	const char *key = lower(scan->arena, left);
	for (size_t i = 0; i < left.len; i++) {
		if (!is_key_char(left.ptr[i])) {
			problem(scan, number,
				cv_arena_printf(scan->arena, "\"%s\" is no name: letters, digits, \"_\", \"-\" and \".\" only", key));
			return;
		}
	}
	unsigned *seen = cv_map_get(scan->keys, cv_str_c(key));
	if (seen != NULL) {
		problem(scan, number,
			cv_arena_printf(scan->arena, "%s is set already, in line %u: only one of them can count", key, *seen));
		return;
	}
	seen = cv_new(scan->arena, unsigned, 1);
	*seen = number;
	(void)cv_map_set(scan->keys, cv_str_c(key), seen);

	struct ini_entry entry = { .key = key, .section = scan->file->sections.count - 1, .line = number };
	if (scan_value(scan, key, cv_str_trim(right), number, &entry))
		*cv_vec_push(&scan->file->entries) = entry;
}

static void scan_line(struct scan *scan, struct cv_str line, unsigned number)
{
	line = cv_str_trim(line);
	if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
		return;
	if (line.ptr[0] == '[')
		scan_section(scan, line, number);
	else
		scan_entry(scan, line, number);
}

static bool scan_octets(struct scan *scan, struct cv_str line, unsigned number)
{
	/* The line end may be CR LF. */
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	for (size_t i = 0; i < line.len; i++) {
		if (is_control(line.ptr[i])) {
			problem(scan, number,
				cv_arena_printf(scan->arena, "control character 0x%02x", (unsigned)(unsigned char)line.ptr[i]));
			return false;
		}
	}
	if (!cv_str_is_utf8(line)) {
		problem(scan, number, "the text is not UTF-8");
		return false;
	}
	return true;
}

static void scan_text(struct scan *scan, struct cv_str text)
{
	struct cv_buf joined;
	unsigned number = 0, first = 0; /* first: line in which a joined one began */

	(void)cv_vec_push(&scan->file->sections);
	scan->file->sections.data[0].raw = "";
	if (cv_str_starts(text, CV_STR("\xef\xbb\xbf"))) {
		problem(scan, 1, "the file starts with a byte order mark: save it as UTF-8 without one");
		text = cv_str_sub(text, 3, SIZE_MAX);
	}
	cv_buf_init(&joined, CONF_MAX_FILE_SIZE + 1);
	while (text.len > 0) {
		struct cv_str line, rest;
		(void)cv_str_split(text, '\n', &line, &rest);
		text = rest;
		number++;
		if (!scan_octets(scan, line, number)) {
			cv_buf_clear(&joined);
			first = 0;
			continue;
		}
		if (first == 0)
			first = number;
		cv_buf_append(&joined, line);
		if (joined.len > INI_LINE_MAX) {
			problem(scan, number,
				cv_arena_printf(scan->arena,
					"the line is longer than %d octets, which is all the INI reader takes: put the value into a file and write \"<file\"",
					INI_LINE_MAX));
			cv_buf_clear(&joined);
			first = 0;
			continue;
		}
		while (joined.len > 0 && cv_is_space(joined.data[joined.len - 1]))
			cv_buf_truncate(&joined, joined.len - 1);
		if (joined.len > 0 && joined.data[joined.len - 1] == '\\') {
			struct cv_str start = cv_str_trim(cv_buf_str(&joined));
			if (start.ptr[0] == '#' || start.ptr[0] == ';') {
				/* It would swallow the next line. */
				problem(scan, number, "a comment must not end in \"\\\": the INI reader would take the next line for a part of it");
				cv_buf_clear(&joined);
				first = 0;
				continue;
			}
			cv_buf_truncate(&joined, joined.len - 1);
			if (text.len > 0)
				continue;
			problem(scan, number, "the last line ends in \"\\\", but nothing follows");
		}
		scan_line(scan, cv_buf_str(&joined), first);
		cv_buf_clear(&joined);
		first = 0;
	}
	cv_buf_deinit(&joined);
}

/* iniparser's callback has no context and there is one reader a process, in the master or the tool, at a time. */
static struct {
	struct conf_problems *problems;
	const char *path;
} reading;

CV_PRINTF(1, 2)
static int on_iniparser_error(const char *fmt, ...)
{
	char text[1200];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (reading.problems != NULL)
		cv_conf_problem_add(reading.problems, reading.path, 0, "%.*s", CV_STR_ARG(cv_str_trim(cv_str_c(text))));
	return n;
}

static void check_with_iniparser(struct ini_file *file, struct cv_arena *arena, struct conf_problems *problems)
{
	reading.problems = problems;
	reading.path = file->path;
	iniparser_set_error_callback(on_iniparser_error);
	dictionary *dict = iniparser_load(file->path);
	iniparser_set_error_callback(NULL);
	reading.problems = NULL;
	if (dict == NULL) {
		cv_conf_problem_add(problems, file->path, 0, "the INI reader refuses the file");
		return;
	}
	for (size_t i = 0; i < file->entries.count; i++) {
		const struct ini_entry *entry = &file->entries.data[i];
		const char *raw = file->sections.data[entry->section].raw;
		/* The name with its colon never is a section's own, for which iniparser has a NULL value. */
		const char *name = cv_arena_printf(arena, "%s:%s", lower(arena, cv_str_c(raw)), entry->key);
		const char *value = iniparser_getstring(dict, name, NULL);
		if (value == NULL || strcmp(value, entry->value) != 0)
			cv_conf_problem_add(problems, file->path, entry->line,
				"%s: the INI reader does not see this value as it is written; write it in other \"quotes\" or as \"<file\"",
				entry->key);
	}
	iniparser_freedict(dict);
}

int cv_conf_read_file(const char *path, size_t max, struct cv_buf *out, struct cv_err *err)
{
	struct stat st;
	/* Looked at before it is opened, too: opening a device does things. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return cv_err_set(err, CV_ERR_INVALID, "%s is not a regular file", path);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return cv_err_sys(err, errno, "cannot open %s", path);
	int ret = -1;
	if (fstat(fd, &st) < 0)
		ret = cv_err_sys(err, errno, "cannot look at %s", path);
	else if (!S_ISREG(st.st_mode))
		ret = cv_err_set(err, CV_ERR_INVALID, "%s is not a regular file", path);
	else if ((st.st_mode & S_IWOTH) != 0)
		ret = cv_err_set(err, CV_ERR_PERM, "%s can be written by everyone: chmod o-w it", path);
	else {
		for (;;) {
			void *space = cv_buf_reserve(out, 4096);
			ssize_t n = space == NULL ? 0 : read(fd, space, 4096);
			if (space == NULL || out->len > max) {
				ret = cv_err_set(err, CV_ERR_LIMIT, "%s is longer than %zu octets", path, max);
				break;
			}
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0) {
				ret = cv_err_sys(err, errno, "cannot read %s", path);
				break;
			}
			if (n == 0) {
				ret = 0;
				break;
			}
			cv_buf_commit(out, (size_t)n);
		}
	}
	(void)close(fd);
	return ret;
}

bool cv_ini_read(struct ini_file *file, const char *path, struct cv_arena *arena, struct conf_problems *problems)
{
	struct scan scan = { .file = file, .arena = arena, .problems = problems, .clean = true };
	struct cv_buf text;
	struct cv_err err = { 0 };

	memset(file, 0, sizeof(*file));
	file->path = cv_arena_strdup(arena, path);
	cv_buf_init_wipe(&text, CONF_MAX_FILE_SIZE + 8192);
	if (cv_conf_read_file(path, CONF_MAX_FILE_SIZE, &text, &err) < 0) {
		cv_conf_problem_add(problems, file->path, 0, "%s", err.text);
		cv_buf_deinit(&text);
		return false;
	}
	scan.keys = cv_map_new();
	scan.sections = cv_map_new();
	scan_text(&scan, cv_buf_str(&text));
	cv_map_free(&scan.keys);
	cv_map_free(&scan.sections);
	cv_buf_deinit(&text);
	/* What iniparser has to say to a file that the scan refused would only repeat it. */
	if (scan.clean)
		check_with_iniparser(file, arena, problems);
	return true;
}

void cv_ini_free(struct ini_file *file)
{
	cv_vec_free(&file->sections);
	cv_vec_free(&file->entries);
}

static bool append_value(struct cv_buf *out, struct cv_str s)
{
	bool quote = s.len > 0 && (cv_is_space(s.ptr[0]) || cv_is_space(s.ptr[s.len - 1]) || s.ptr[0] == '<' || s.ptr[0] == '"' ||
		s.ptr[0] == '\'' || s.ptr[s.len - 1] == '\\');
	if (!cv_str_is_utf8(s))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (is_control(s.ptr[i]))
			return false;
		if (s.ptr[i] == ';' || s.ptr[i] == '#')
			quote = true;
	}
	if (!quote) {
		cv_buf_append(out, s);
		return true;
	}
	bool has_double = cv_str_find(s, '"') != SIZE_MAX;
	if (has_double && cv_str_find(s, '\'') != SIZE_MAX)
		return false;
	cv_buf_append_char(out, has_double ? '\'' : '"');
	cv_buf_append(out, s);
	cv_buf_append_char(out, has_double ? '\'' : '"');
	return true;
}

bool cv_ini_put(struct cv_buf *out, const char *key, const char *path, const char *value)
{
	struct cv_buf line;
	bool ok;

	cv_buf_init_wipe(&line, INI_LINE_MAX);
	if (path != NULL) {
		ok = append_value(&line, cv_str_c(path)) && line.len > 0 && line.data[0] == '/';
		cv_buf_clear(&line);
		cv_buf_printf(&line, "%s = <%s", key, path);
	} else {
		cv_buf_printf(&line, "%s = ", key);
		ok = append_value(&line, cv_str_c(value));
		if (!cv_buf_ok(&line)) {
			/* A line that was full without the two spaces. */
			cv_buf_clear(&line);
			cv_buf_printf(&line, "%s=", key);
			ok = append_value(&line, cv_str_c(value));
		}
	}
	ok = ok && cv_buf_ok(&line);
	if (ok) {
		cv_buf_append(out, cv_buf_str(&line));
		cv_buf_append_char(out, '\n');
	}
	cv_buf_deinit(&line);
	return ok;
}
