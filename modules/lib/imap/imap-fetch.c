/* SPDX-License-Identifier: MIT
   What FETCH asks for. */
#include <config.h>

#include "imap-fetch.h"

#include "imap-quote.h"

#include <culver/map.h>
#include <culver/reader.h>

static const struct {
	const char *name;
	unsigned items;
} macros[] = {
	{ "ALL", CV_IMAP_FETCH_FLAGS | CV_IMAP_FETCH_INTERNALDATE | CV_IMAP_FETCH_SIZE | CV_IMAP_FETCH_ENVELOPE },
	{ "FAST", CV_IMAP_FETCH_FLAGS | CV_IMAP_FETCH_INTERNALDATE | CV_IMAP_FETCH_SIZE },
	{ "FULL", CV_IMAP_FETCH_FLAGS | CV_IMAP_FETCH_INTERNALDATE | CV_IMAP_FETCH_SIZE | CV_IMAP_FETCH_ENVELOPE |
		CV_IMAP_FETCH_BODY },
}, simple_items[] = {
	{ "UID", CV_IMAP_FETCH_UID },
	{ "FLAGS", CV_IMAP_FETCH_FLAGS },
	{ "INTERNALDATE", CV_IMAP_FETCH_INTERNALDATE },
	{ "RFC822.SIZE", CV_IMAP_FETCH_SIZE },
	{ "ENVELOPE", CV_IMAP_FETCH_ENVELOPE },
	{ "BODY", CV_IMAP_FETCH_BODY },
	{ "BODYSTRUCTURE", CV_IMAP_FETCH_BODYSTRUCTURE },
	{ "MODSEQ", CV_IMAP_FETCH_MODSEQ },
	{ "SAVEDATE", CV_IMAP_FETCH_SAVEDATE },
	{ "EMAILID", CV_IMAP_FETCH_EMAILID },
	{ "THREADID", CV_IMAP_FETCH_THREADID },
	{ "PREVIEW", CV_IMAP_FETCH_PREVIEW },
};

/* Items that are sections under another name. Those with PEEK are RFC 1730's, "except for the syntax of the resulting untagged FETCH data": Outlook
   asks for them still. */
static const struct {
	const char *name, *label;
	enum cv_imap_section_text text;
	bool peek;
} rfc822_items[] = {
	{ "RFC822", "RFC822", CV_IMAP_SECTION_ALL, false },
	{ "RFC822.PEEK", "RFC822", CV_IMAP_SECTION_ALL, true },
	{ "RFC822.HEADER", "RFC822.HEADER", CV_IMAP_SECTION_HEADER, true },
	{ "RFC822.TEXT", "RFC822.TEXT", CV_IMAP_SECTION_TEXT, false },
	{ "RFC822.TEXT.PEEK", "RFC822.TEXT", CV_IMAP_SECTION_TEXT, true },
};

static const char *const text_names[] = {
	[CV_IMAP_SECTION_ALL] = "",
	[CV_IMAP_SECTION_HEADER] = "HEADER",
	[CV_IMAP_SECTION_FIELDS] = "HEADER.FIELDS",
	[CV_IMAP_SECTION_FIELDS_NOT] = "HEADER.FIELDS.NOT",
	[CV_IMAP_SECTION_TEXT] = "TEXT",
	[CV_IMAP_SECTION_MIME] = "MIME",
};

struct parse {
	struct cv_arena *arena;
	CV_VEC(struct cv_imap_section) sections;
	CV_VEC(struct cv_imap_note_fetch) notes;
	unsigned items;
};

static int invalid(struct cv_err *err, const char *what)
{
	return cv_err_set_public(err, CV_ERR_INVALID, "%s", what);
}

static bool find_text(struct cv_str name, enum cv_imap_section_text *text_r)
{
	for (size_t i = CV_IMAP_SECTION_HEADER; i < CV_COUNT_OF(text_names); i++) {
		if (cv_str_caseeq_c(name, text_names[i])) {
			*text_r = (enum cv_imap_section_text)i;
			return true;
		}
	}
	return false;
}

static bool not_bracket(char c)
{
	return c != ']';
}

/* section-part = nz-number *("." nz-number); leaves the reader at what follows its last "." or at the end of it. */
static bool take_path(struct cv_arena *arena, struct cv_reader *in, struct cv_imap_section *section, bool *dot_r)
{
	uint32_t *path = cv_new(arena, uint32_t, CV_IMAP_SECTION_DEPTH_MAX);

	*dot_r = false;
	section->path = path;
	while (cv_peek(in) >= '0' && cv_peek(in) <= '9') {
		if (section->path_len == CV_IMAP_SECTION_DEPTH_MAX || cv_peek(in) == '0' ||
			!cv_parse_u32(in, UINT32_MAX, &path[section->path_len]))
			return false;
		section->path_len++;
		*dot_r = cv_take_char(in, '.');
		if (!*dot_r)
			break;
	}
	return true;
}

/* section-spec, up to "]" or, with HEADER.FIELDS, to the end of the atom. */
static int take_section(struct parse *parse, struct cv_reader *in, struct cv_imap_section *section, struct cv_err *err)
{
	struct cv_str name;
	bool dot;

	if (cv_peek(in) >= '0' && cv_peek(in) <= '9') {
		if (!take_path(parse->arena, in, section, &dot))
			return invalid(err, "Invalid part number in a body section");
	} else {
		dot = true;
	}
	name = cv_take_while(in, not_bracket);
	if (name.len == 0 && (!dot || section->path_len == 0))
		return 0;
	if (!dot || !find_text(name, &section->text))
		return invalid(err, "Invalid body section");
	if (section->text == CV_IMAP_SECTION_MIME && section->path_len == 0)
		return invalid(err, "MIME needs a part number");
	return 0;
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static int take_fields(struct parse *parse, const struct cv_imap_arg *arg, struct cv_imap_section *section, struct cv_err *err)
{
	const struct cv_imap_arg *first;
	struct cv_str *fields;
	size_t count = 0;

	if (!cv_imap_arg_list(arg, &first) || first == NULL || arg->glued)
		return invalid(err, "HEADER.FIELDS needs a list of field names");
	for (const struct cv_imap_arg *field = first; field != NULL; field = field->next)
		count++;
	fields = cv_new(parse->arena, struct cv_str, count);
	for (const struct cv_imap_arg *field = first; field != NULL; field = field->next) {
		if (field->glued || !cv_imap_arg_astring(field, &fields[section->field_count]))
			return invalid(err, "Invalid field name");
		cv_record_names_add(&section->names, fields[section->field_count]);
		section->field_count++;
	}
	section->fields = fields;
	return 0;
}

/* "]" ["<" number "." nz-number ">"] to the end of the atom; of BINARY also "<" number ">", to the end, as in Dovecot. */
static int take_partial(struct cv_reader *in, struct cv_imap_section *section, struct cv_err *err)
{
	if (!cv_take_char(in, ']'))
		return invalid(err, "Missing ] behind a body section");
	if (cv_take_char(in, '<')) {
		section->partial = true;
		section->length = INT64_MAX;
		if (!cv_parse_u64(in, INT64_MAX, &section->offset))
			return invalid(err, "Invalid partial range");
		if (section->kind == CV_IMAP_SECTION_BINARY && cv_take_char(in, '>'))
			return cv_reader_end(in) ? 0 : invalid(err, "Invalid text behind a body section");
		if (!cv_take_char(in, '.') || !cv_parse_u64(in, INT64_MAX, &section->length) || section->length == 0 || !cv_take_char(in, '>'))
			return invalid(err, "Invalid partial range");
	}
	return cv_reader_end(in) ? 0 : invalid(err, "Invalid text behind a body section");
}

static const struct {
	const char *name; /* in the answer */
	const char *ask;
	enum cv_imap_section_kind kind;
	bool peek;
} section_items[] = {
	{ "BODY[", "BODY[", CV_IMAP_SECTION_BODY, false },
	{ "BODY[", "BODY.PEEK[", CV_IMAP_SECTION_BODY, true },
	{ "BINARY[", "BINARY[", CV_IMAP_SECTION_BINARY, false },
	{ "BINARY[", "BINARY.PEEK[", CV_IMAP_SECTION_BINARY, true },
	{ "BINARY.SIZE[", "BINARY.SIZE[", CV_IMAP_SECTION_BINARY_SIZE, true },
};

/* *name_r: what the answer calls it. */
static bool take_section_item(struct cv_reader *in, struct cv_imap_section *section, const char **name_r)
{
	for (size_t i = 0; i < CV_COUNT_OF(section_items); i++) {
		if (!cv_take_caselit(in, cv_str_c(section_items[i].ask)))
			continue;
		section->kind = section_items[i].kind;
		section->peek = section_items[i].peek;
		*name_r = section_items[i].name;
		return true;
	}
	return false;
}

static void make_label(struct cv_arena *arena, const char *name, struct cv_imap_section *section)
{
	struct cv_buf label;
	const char *sep = "";

	cv_buf_init(&label, SIZE_MAX / 2);
	cv_buf_append_c(&label, name);
	for (size_t i = 0; i < section->path_len; i++) {
		cv_buf_append_c(&label, sep);
		cv_buf_append_u64(&label, section->path[i]);
		sep = ".";
	}
	if (section->text != CV_IMAP_SECTION_ALL) {
		cv_buf_append_c(&label, sep);
		cv_buf_append_c(&label, text_names[section->text]);
	}
	for (size_t i = 0; i < section->field_count; i++) {
		cv_buf_append_c(&label, i == 0 ? " (" : " ");
		cv_imap_append_astring(&label, section->fields[i]);
	}
	cv_buf_append_c(&label, section->field_count > 0 ? ")]" : "]");
	if (section->partial)
		cv_buf_printf(&label, "<%llu>", (unsigned long long)section->offset);
	section->label = cv_arena_str(arena, cv_buf_str(&label));
	cv_buf_deinit(&label);
}

static bool has_section(const struct parse *parse, const struct cv_imap_section *section)
{
	for (size_t i = 0; i < parse->sections.count; i++) {
		const struct cv_imap_section *other = &parse->sections.data[i];

		if (cv_str_eq(other->label, section->label) && other->length == section->length && other->peek == section->peek)
			return true;
	}
	return false;
}

static int add_section(struct parse *parse, const struct cv_imap_section *section, struct cv_err *err)
{
	if (has_section(parse, section))
		return 0;
	if (parse->sections.count == CV_IMAP_SECTIONS_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "More than %u body sections", CV_IMAP_SECTIONS_MAX);
	*cv_vec_push(&parse->sections) = *section;
	return 0;
}

static int parse_body(struct parse *parse, struct cv_reader *in, const struct cv_imap_arg **arg, struct cv_err *err)
{
	struct cv_imap_section section = { 0 };
	const char *name;

	if (!take_section_item(in, &section, &name))
		return invalid(err, "Unknown FETCH item");
	if (take_section(parse, in, &section, err) < 0)
		return -1;
	*arg = (*arg)->next;
	if (section.text == CV_IMAP_SECTION_FIELDS || section.text == CV_IMAP_SECTION_FIELDS_NOT) {
		if (!cv_reader_end(in))
			return invalid(err, "HEADER.FIELDS needs a list of field names");
		if (take_fields(parse, *arg, &section, err) < 0)
			return -1;
		*arg = (*arg)->next;
		if (*arg == NULL || !(*arg)->glued)
			return invalid(err, "Missing ] behind a body section");
		*in = cv_reader_init((*arg)->str);
		*arg = (*arg)->next;
	}
	if (take_partial(in, &section, err) < 0)
		return -1;
	/* section-binary = "[" [section-part] "]", and what else BODY takes: Dovecot answers that, and its test program asks for it. */
	if (section.kind == CV_IMAP_SECTION_BINARY_SIZE && section.partial)
		return invalid(err, "BINARY.SIZE has no partial range");
	make_label(parse->arena, name, &section);
	return add_section(parse, &section, err);
}

/* "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"] (RFC 8970 section 6). LAZY changes nothing: there is no preview that is not there already.
   *arg is behind the name. alone: what follows may also be the command's own modifiers. */
static int skip_preview_modifiers(const struct cv_imap_arg **arg, bool alone, struct cv_err *err)
{
	const struct cv_imap_arg *modifier;

	if (!cv_imap_arg_list(*arg, &modifier) || (*arg)->glued || (alone && !cv_imap_arg_is(modifier, "LAZY")))
		return 0;
	if (modifier == NULL)
		return invalid(err, "Empty list of PREVIEW modifiers");
	for (; modifier != NULL; modifier = modifier->next)
		if (!cv_imap_arg_is(modifier, "LAZY"))
			return invalid(err, "Unknown PREVIEW modifier");
	*arg = (*arg)->next;
	return 0;
}

/* "ANNOTATION" SP "(" entries SP attribs ")" (RFC 5257 section 5). *arg is at the name. */
static int parse_annotation(struct parse *parse, const struct cv_imap_arg **arg, struct cv_err *err)
{
	struct cv_imap_note_fetch notes;

	if (cv_imap_note_fetch_parse(parse->arena, (*arg)->next, &notes, err) < 0)
		return -1;
	if (parse->notes.count == CV_IMAP_NOTE_FETCHES_MAX)
		return invalid(err, "ANNOTATION comes too often");
	*cv_vec_push(&parse->notes) = notes;
	*arg = (*arg)->next->next;
	return 0;
}

static int parse_item(struct parse *parse, const struct cv_imap_arg **arg, bool alone, struct cv_err *err)
{
	struct cv_reader in;

	if ((*arg)->type != CV_IMAP_ARG_ATOM || (*arg)->glued)
		return invalid(err, "FETCH items must be atoms");
	for (size_t i = 0; i < CV_COUNT_OF(simple_items); i++) {
		if (cv_imap_arg_is(*arg, simple_items[i].name)) {
			parse->items |= simple_items[i].items;
			*arg = (*arg)->next;
			return simple_items[i].items == CV_IMAP_FETCH_PREVIEW ? skip_preview_modifiers(arg, alone, err) : 0;
		}
	}
	if (cv_imap_arg_is(*arg, "ANNOTATION"))
		return parse_annotation(parse, arg, err);
	for (size_t i = 0; i < CV_COUNT_OF(rfc822_items); i++) {
		struct cv_imap_section section = {
			.text = rfc822_items[i].text,
			.peek = rfc822_items[i].peek,
			.label = cv_str_c(rfc822_items[i].label),
		};

		if (cv_imap_arg_is(*arg, rfc822_items[i].name)) {
			*arg = (*arg)->next;
			return add_section(parse, &section, err);
		}
	}
	in = cv_reader_init((*arg)->str);
	return parse_body(parse, &in, arg, err);
}

static int parse_items(struct parse *parse, const struct cv_imap_arg **arg, struct cv_err *err)
{
	const struct cv_imap_arg *item;

	if (*arg == NULL)
		return invalid(err, "FETCH items are missing");
	if (cv_imap_arg_list(*arg, &item)) {
		if (item == NULL)
			return invalid(err, "Empty list of FETCH items");
		while (item != NULL)
			if (parse_item(parse, &item, false, err) < 0)
				return -1;
		*arg = (*arg)->next;
		return 0;
	}
	for (size_t i = 0; i < CV_COUNT_OF(macros); i++) {
		if (cv_imap_arg_is(*arg, macros[i].name)) {
			parse->items = macros[i].items;
			*arg = (*arg)->next;
			return 0;
		}
	}
	return parse_item(parse, arg, true, err);
}

int cv_imap_fetch_parse(struct cv_arena *arena, const struct cv_imap_arg **arg, struct cv_imap_fetch *fetch_r, struct cv_err *err)
{
	struct parse parse = { .arena = arena };
	int result = parse_items(&parse, arg, err);

	if (result == 0) {
		*fetch_r = (struct cv_imap_fetch){ .items = parse.items, .section_count = parse.sections.count };
		fetch_r->sections = cv_new(arena, struct cv_imap_section, CV_MAX(parse.sections.count, (size_t)1));
		for (size_t i = 0; i < parse.sections.count; i++) {
			fetch_r->sections[i] = parse.sections.data[i];
			fetch_r->sets_seen |= !parse.sections.data[i].peek;
		}
		fetch_r->note_count = parse.notes.count;
		fetch_r->notes = cv_new(arena, struct cv_imap_note_fetch, CV_MAX(parse.notes.count, (size_t)1));
		for (size_t i = 0; i < parse.notes.count; i++)
			fetch_r->notes[i] = parse.notes.data[i];
	}
	cv_vec_free(&parse.sections);
	cv_vec_free(&parse.notes);
	return result;
}
