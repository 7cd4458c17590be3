/* SPDX-License-Identifier: MIT
   The culver command: rows as an aligned table or as JSON. */
#include "core/tool/tool.h"

#include <culver/time.h>

#include <inttypes.h>
#include <wchar.h>

/* ---- Text on a terminal ------------------------------------------------------------------------------------------ */

/* The next character of text as the locale sees it: its octets, and how many columns it takes; control characters and what is no character take one, as "?". */
static size_t next_char(const char *text, bool *show_r, size_t *columns_r)
{
	wchar_t c;
	mbstate_t state = { 0 };
	size_t len = mbrtowc(&c, text, strlen(text), &state);
	if (len == 0 || len > strlen(text)) {
		*show_r = false;
		*columns_r = 1;
		return 1;
	}
	int width = wcwidth(c);
	*show_r = width >= 0;
	*columns_r = width >= 0 ? (size_t)width : 1;
	return len;
}

static size_t text_columns(const char *text)
{
	size_t columns = 0, one;
	bool show;
	while (*text != '\0') {
		text += next_char(text, &show, &one);
		columns += one;
	}
	return columns;
}

void output_text(FILE *to, const char *text)
{
	size_t one;
	bool show;
	while (*text != '\0') {
		size_t len = next_char(text, &show, &one);
		if (show || *text == '\n')
			(void)fwrite(text, 1, len, to);
		else
			(void)fputc('?', to);
		text += len;
	}
}

static void pad(size_t count)
{
	for (size_t i = 0; i < count; i++)
		(void)putchar(' ');
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

json_t *json_text(const char *text)
{
	struct cv_buf clean;
	if (text == NULL)
		return json_null();
	struct cv_str s = cv_str_c(text);
	if (cv_str_is_utf8(s))
		return json_string(text);
	cv_buf_init(&clean, s.len * 3 + 1);
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.ptr[i] < 0x80)
			cv_buf_append_char(&clean, s.ptr[i]);
		else
			cv_buf_append_utf8(&clean, 0xfffd);
	}
	json_t *value = json_string(clean.len > 0 ? clean.data : "");
	cv_buf_deinit(&clean);
	return value;
}

void output_json(json_t *value)
{
	(void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	(void)putchar('\n');
	json_decref(value);
}

/* ---- Cells -------------------------------------------------------------------------------------------------------- */

static void put_size(struct cv_buf *out, uint64_t n)
{
	static const char units[] = "kMGTPE";
	size_t unit = 0;
	if (n < 1024) {
		cv_buf_append_u64(out, n);
		return;
	}
	/* One digit behind the point, rounded down. */
	while (unit < 5 && n >= UINT64_C(1024) * 1024) {
		n /= 1024;
		unit++;
	}
	cv_buf_printf(out, "%" PRIu64 ".%" PRIu64 "%c", n / 1024, n % 1024 * 10 / 1024, units[unit]);
}

static void put_time(struct cv_buf *out, int64_t sec)
{
	int offset = cv_time_local_offset_min(sec);
	struct cv_civil c = cv_time_to_civil(sec + (int64_t)offset * 60);
	cv_buf_printf(out, "%04d-%02d-%02d %02d:%02d:%02d", c.year, c.month, c.day, c.hour, c.minute, c.second);
}

static void put_span(struct cv_buf *out, uint64_t sec)
{
	if (sec >= 86400)
		cv_buf_printf(out, "%" PRIu64 "d%" PRIu64 "h", sec / 86400, sec % 86400 / 3600);
	else if (sec >= 3600)
		cv_buf_printf(out, "%" PRIu64 "h%" PRIu64 "m", sec / 3600, sec % 3600 / 60);
	else if (sec >= 60)
		cv_buf_printf(out, "%" PRIu64 "m%" PRIu64 "s", sec / 60, sec % 60);
	else
		cv_buf_printf(out, "%" PRIu64 "s", sec);
}

static void put_list(struct cv_buf *out, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		cv_buf_printf(out, "%s%s", i > 0 ? " " : "", text != NULL ? text : "");
	}
}

static const char *cell(struct cv_arena *arena, const struct cv_admin_column *column, const json_t *row)
{
	struct cv_buf out;
	const json_t *value = json_object_get(row, column->key);

	cv_buf_init(&out, 65536);
	if (json_is_string(value)) {
		cv_buf_append_c(&out, json_string_value(value));
	} else if (json_is_boolean(value)) {
		cv_buf_append_c(&out, json_is_true(value) ? "yes" : "no");
	} else if (json_is_array(value)) {
		put_list(&out, value);
	} else if (json_is_integer(value)) {
		json_int_t n = json_integer_value(value);
		if (column->kind == CV_ADMIN_COL_SIZE && n >= 0)
			put_size(&out, (uint64_t)n);
		else if (column->kind == CV_ADMIN_COL_TIME)
			put_time(&out, n);
		else if (column->kind == CV_ADMIN_COL_SPAN && n >= 0)
			put_span(&out, (uint64_t)n);
		else
			cv_buf_printf(&out, "%" JSON_INTEGER_FORMAT, n);
	}
	const char *text = cv_arena_str(arena, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	return text;
}

static bool right_aligned(const struct cv_admin_column *column)
{
	return column->kind == CV_ADMIN_COL_NUMBER || column->kind == CV_ADMIN_COL_SIZE;
}

/* ---- The whole ------------------------------------------------------------------------------------------------------ */

void output_init(struct output *out, struct tool *tool)
{
	memset(out, 0, sizeof(*out));
	out->tool = tool;
	out->rows = json_array();
	out->errors = json_array();
}

static json_t *json_error(const struct cv_err *err)
{
	json_t *error = json_object();

	(void)json_object_set_new(error, "code", json_text(cv_err_code_name(err->code)));
	(void)json_object_set_new(error, "text", json_text(err->text));
	return error;
}

void output_error(struct output *out, const char *user, const struct cv_err *err)
{
	json_t *error = json_error(err);

	if (user != NULL)
		(void)json_object_set_new(error, "user", json_text(user));
	(void)json_array_append_new(out->errors, error);
}

void output_columns(struct output *out, const struct cv_admin_column *columns, bool single)
{
	if (out->columns_known)
		return; /* the next user's answer */
	out->columns_known = true;
	out->single = single && !out->show_user;
	for (; columns != NULL && columns->key != NULL; columns++) {
		struct cv_admin_column *column = cv_vec_push(&out->columns);
		*column = *columns;
		if (out->show_user && column->title == NULL && strcmp(column->key, "user") == 0)
			column->title = "User";
	}
}

void output_row(struct output *out, json_t *row)
{
	(void)json_array_append_new(out->rows, row);
}

static void print_single(struct output *out)
{
	size_t width = 0;
	for (size_t c = 0; c < out->columns.count; c++)
		if (out->columns.data[c].title != NULL)
			width = CV_MAX(width, text_columns(out->columns.data[c].title));
	for (size_t i = 0; i < json_array_size(out->rows); i++) {
		const json_t *row = json_array_get(out->rows, i);
		for (size_t c = 0; c < out->columns.count; c++) {
			const struct cv_admin_column *column = &out->columns.data[c];
			const char *text = cell(out->tool->arena, column, row);
			if (column->title == NULL || *text == '\0')
				continue;
			(void)printf("%s:", column->title);
			pad(width - text_columns(column->title) + 1);
			output_text(stdout, text);
			(void)putchar('\n');
		}
	}
}

static void print_cell(const struct cv_admin_column *column, const char *text, size_t width, bool last)
{
	size_t space = width - text_columns(text);
	if (right_aligned(column))
		pad(space);
	output_text(stdout, text);
	if (!last)
		pad((right_aligned(column) ? 0 : space) + 2);
}

static void print_table(struct output *out)
{
	size_t rows = json_array_size(out->rows), columns = 0;
	const struct cv_admin_column **shown = cv_new(out->tool->arena, const struct cv_admin_column *, out->columns.count + 1);
	size_t *widths = cv_new(out->tool->arena, size_t, out->columns.count + 1);
	const char **cells;

	for (size_t c = 0; c < out->columns.count; c++)
		if (out->columns.data[c].title != NULL)
			shown[columns++] = &out->columns.data[c];
	if (columns == 0 || rows == 0)
		return;
	cells = cv_new(out->tool->arena, const char *, rows * columns);
	for (size_t c = 0; c < columns; c++) {
		widths[c] = text_columns(shown[c]->title);
		for (size_t r = 0; r < rows; r++) {
			cells[r * columns + c] = cell(out->tool->arena, shown[c], json_array_get(out->rows, r));
			widths[c] = CV_MAX(widths[c], text_columns(cells[r * columns + c]));
		}
	}
	for (size_t c = 0; c < columns; c++)
		print_cell(shown[c], shown[c]->title, widths[c], c + 1 == columns);
	(void)putchar('\n');
	for (size_t r = 0; r < rows; r++) {
		size_t used = columns; /* no blanks at the line's end */
		while (used > 0 && *cells[r * columns + used - 1] == '\0')
			used--;
		for (size_t c = 0; c < used; c++)
			print_cell(shown[c], cells[r * columns + c], widths[c], c + 1 == used);
		(void)putchar('\n');
	}
}

void output_finish(struct output *out, const struct cv_err *err)
{
	bool failed = err != NULL && err->code != CV_ERR_NONE;

	if (!out->tool->json) {
		if (out->single)
			print_single(out);
		else
			print_table(out);
		return;
	}
	json_t *rows = out->single && json_array_size(out->rows) == 1 ? json_incref(json_array_get(out->rows, 0)) : json_incref(out->rows);
	if (!failed) {
		output_json(rows);
		return;
	}
	json_t *whole = json_object();
	(void)json_object_set_new(whole, "error", json_error(err));
	(void)json_object_set(whole, "errors", out->errors);
	(void)json_object_set_new(whole, "rows", rows);
	output_json(whole);
}

void output_deinit(struct output *out)
{
	json_decref(out->rows);
	json_decref(out->errors);
	cv_vec_free(&out->columns);
}
