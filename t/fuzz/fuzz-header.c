/* SPDX-License-Identifier: MIT
   Header fields: iteration covers every octet, decoded text is UTF-8, subsets are a partition, addresses survive being written. */
#include <config.h>

#include "t/fuzz/fuzz.h"
#include <culver/address.h>
#include <culver/charset.h>
#include <culver/header.h>
#include <culver/search.h>

static struct cv_buf out;

static void check_text(struct cv_str value)
{
	struct cv_buf again;

	cv_buf_clear(&out);
	cv_header_decode(&out, value);
	fuzz_check(cv_str_is_utf8(cv_buf_str(&out)));
	cv_buf_init(&again, SIZE_MAX);
	/* what is encoded decodes to the same; white space at the ends is no part of a field's value */
	struct cv_str text = cv_str_trim(cv_buf_str(&out));

	cv_header_encode(&again, text);
	fuzz_check(cv_str_is_ascii(cv_buf_str(&again)));
	struct cv_buf decoded;

	cv_buf_init(&decoded, SIZE_MAX);
	cv_header_decode(&decoded, cv_buf_str(&again));
	fuzz_check(cv_str_eq(cv_str_trim(cv_buf_str(&decoded)), text));
	cv_buf_deinit(&decoded);
	cv_buf_deinit(&again);
	cv_buf_clear(&out);
	cv_header_unfold(&out, value);
	fuzz_check(!cv_str_has_nul(cv_buf_str(&out)));
	fuzz_check(cv_str_find(cv_buf_str(&out), '\n') == SIZE_MAX);
	cv_buf_clear(&out);
	(void)cv_subject_base(&out, value);
	fuzz_check(cv_str_is_utf8(cv_buf_str(&out)));
}

static void check_params(struct cv_arena *arena, struct cv_str value)
{
	struct cv_str type, subtype, token;
	struct cv_params params;

	if (cv_header_parse_content_type(arena, value, 100, &type, &subtype, &params))
		fuzz_check(type.len > 0 && subtype.len > 0);
	if (cv_header_parse_token_params(arena, value, 100, &token, &params)) {
		fuzz_check(token.len > 0 && params.count <= 100);
		for (size_t i = 0; i < params.count; i++) {
			struct cv_str name = params.items[i].name;
			size_t star = cv_str_find(name, '*');

			cv_buf_clear(&out);
			fuzz_check(cv_params_decode(&params, name, &out) || star != SIZE_MAX);
			(void)cv_params_decode(&params, cv_str_sub(name, 0, star), &out);
			fuzz_check(cv_str_is_utf8(cv_buf_str(&out)));
		}
	}
	(void)cv_transfer_parse(value);
}

static bool same(struct cv_str a, struct cv_str b)
{
	return cv_str_eq(a, b);
}

static void check_addresses(struct cv_arena *arena, struct cv_str value)
{
	struct cv_address_list list, again;

	cv_address_parse(arena, value, 1000, &list);
	fuzz_check(list.items != NULL);
	int depth = 0;

	for (size_t i = 0; i < list.count; i++) {
		const struct cv_address *a = &list.items[i];

		depth += a->kind == CV_ADDRESS_GROUP_START ? 1 : a->kind == CV_ADDRESS_GROUP_END ? -1 : 0;
		fuzz_check(depth == 0 || depth == 1);
		if (a->kind != CV_ADDRESS_MAILBOX)
			continue;
		fuzz_check(a->mailbox.ptr != NULL && a->host.ptr != NULL);
		/* what has both parts, and no octets that must not be written, comes back as it was */
		if (a->mailbox.len == 0 || a->host.len == 0 || a->route.ptr != NULL || cv_str_starts(a->name, CV_STR("=?")))
			continue;
		bool clean = true;

		for (size_t k = 0; k < a->host.len; k++)
			clean = clean && (cv_is_alnum(a->host.ptr[k]) || a->host.ptr[k] == '-');
		if (!clean || cv_str_find_str(a->mailbox, CV_STR("=?")) != SIZE_MAX ||
			cv_str_find_str(a->name, CV_STR("=?")) != SIZE_MAX)
			continue;
		cv_buf_clear(&out);
		cv_address_append(&out, a);
		cv_address_parse(arena, cv_buf_str(&out), 10, &again);
		fuzz_check(again.count == 1);
		fuzz_check(same(again.items[0].mailbox, a->mailbox) && same(again.items[0].host, a->host) &&
			same(again.items[0].name, a->name));
	}
	fuzz_check(depth == 0);
}

static void check_others(struct cv_str value)
{
	struct cv_reader r = cv_reader_init(value);
	struct cv_str id;
	struct cv_date date, again;

	while (cv_message_id_next(&r, &id))
		fuzz_check(id.len > 0 && cv_str_find(id, '>') == SIZE_MAX);
	if (cv_date_parse(value, &date)) {
		cv_buf_clear(&out);
		cv_date_format(&out, date.sec, date.zone_min);
		fuzz_check(cv_date_parse(cv_buf_str(&out), &again));
		fuzz_check(again.sec == date.sec && again.zone_min == date.zone_min);
	}
}

static void check_subset(struct cv_str header)
{
	static const struct cv_str names[] = { CV_STR_INIT("subject"), CV_STR_INIT("to"), CV_STR_INIT("x-a") };
	struct cv_header_iter iter;
	struct cv_header_field field;
	struct cv_buf in, not_in;
	size_t total = 0, listed = 0, fields = 0;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_init(&not_in, SIZE_MAX);
	cv_header_subset(&in, header, names, CV_COUNT_OF(names), CV_HEADER_CRLF);
	cv_header_subset(&not_in, header, names, CV_COUNT_OF(names), CV_HEADER_CRLF | CV_HEADER_NOT);
	cv_header_iter_init(&iter, header);
	while (cv_header_iter_next(&iter, &field)) {
		fuzz_check(field.raw.len > 0);
		total += field.raw.len;
		fields++;
	}
	fuzz_check(iter.pos == cv_header_size(header) && total <= iter.pos && iter.pos - total <= 2);
	cv_header_iter_init(&iter, cv_buf_str(&in));
	while (cv_header_iter_next(&iter, &field)) {
		fuzz_check(cv_str_caseeq_c(field.name, "subject") || cv_str_caseeq_c(field.name, "to") ||
			cv_str_caseeq_c(field.name, "x-a"));
		listed++;
	}
	/* A line that goes on from no field joins the one before once that is left out between them, so only those listed
	   count exactly. */
	fuzz_check(listed <= fields);
	fuzz_check(cv_str_ends(cv_buf_str(&in), CV_STR("\r\n")) && cv_str_ends(cv_buf_str(&not_in), CV_STR("\r\n")));
	cv_buf_deinit(&in);
	cv_buf_deinit(&not_in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str header = cv_str_mem(data, size);
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_header_iter iter;
	struct cv_header_field field;

	cv_buf_init(&out, SIZE_MAX);
	check_subset(header);
	cv_header_iter_init(&iter, header);
	while (cv_header_iter_next(&iter, &field)) {
		check_text(field.value);
		check_params(arena, field.value);
		check_addresses(arena, field.value);
		check_others(field.value);
		cv_arena_reset(arena);
	}
	cv_buf_deinit(&out);
	cv_arena_free(&arena);
	return 0;
}
