/* SPDX-License-Identifier: MIT
   Walking the part tree, section numbers, file names, attachments. */
#include <config.h>

#include "core/message/mime-private.h"

struct cv_mime_part *cv_mime_part_next(const struct cv_mime_part *part)
{
	if (part->children != NULL)
		return part->children;
	while (part != NULL && part->next == NULL)
		part = part->parent;
	return part != NULL ? part->next : NULL;
}

struct cv_mime_part *cv_mime_part_find(struct cv_mime_part *root, const uint32_t *path, size_t count)
{
	struct cv_mime_part *part = root;
	bool message = true; /* part stands for a message whose parts are to be chosen from */

	for (size_t i = 0; i < count; i++) {
		uint32_t n = path[i];

		if (n == 0)
			return NULL;
		if (!message && part->kind == CV_MIME_MESSAGE) {
			part = part->children;
			message = true;
		}
		if (part->kind == CV_MIME_MULTIPART) {
			part = part->children;
			while (part != NULL && --n > 0)
				part = part->next;
			if (part == NULL)
				return NULL;
		} else if (!message || n != 1) {
			return NULL;
		}
		message = false;
	}
	return part;
}

struct cv_mime_part *cv_mime_part_message(struct cv_mime_part *part)
{
	return part->kind == CV_MIME_MESSAGE ? part->children : NULL;
}

bool cv_mime_part_is(const struct cv_mime_part *part, const char *type, const char *subtype)
{
	return cv_str_caseeq_c(part->type, type) && (subtype == NULL || cv_str_caseeq_c(part->subtype, subtype));
}

bool cv_mime_part_filename(const struct cv_mime_part *part, struct cv_buf *out)
{
	return cv_params_decode(&part->disposition_params, CV_STR("filename"), out) ||
		cv_params_decode(&part->params, CV_STR("name"), out);
}

static bool has_param(const struct cv_params *params, struct cv_str name)
{
	for (size_t i = 0; i < params->count; i++) {
		struct cv_str own = params->items[i].name;

		if (cv_str_casestarts(own, name) && (own.len == name.len || own.ptr[name.len] == '*'))
			return true;
	}
	return false;
}

static bool is_signature(const struct cv_mime_part *part)
{
	static const char *const subtypes[] = { "pgp-signature", "pkcs7-signature", "x-pkcs7-signature", "pgp-encrypted" };

	for (size_t i = 0; i < CV_COUNT_OF(subtypes); i++) {
		if (cv_mime_part_is(part, "application", subtypes[i]))
			return true;
	}
	return false;
}

static bool is_attachment(const struct cv_mime_part *part)
{
	const struct cv_mime_part *parent = part->parent;

	if (part->kind == CV_MIME_MULTIPART || is_signature(part) || (part->parent == NULL && part->kind == CV_MIME_MESSAGE))
		return false;
	if (parent != NULL && cv_mime_part_is(parent, "multipart", "related") && part->id.ptr != NULL)
		return false;
	if (cv_str_caseeq_c(part->disposition, "attachment"))
		return true;
	if (parent != NULL && cv_mime_part_is(parent, "multipart", "report"))
		return false;
	if (has_param(&part->disposition_params, CV_STR("filename")) || has_param(&part->params, CV_STR("name")))
		return true;
	if (parent != NULL && cv_mime_part_is(parent, "multipart", "related"))
		return false;
	return !cv_mime_part_is(part, "text", NULL);
}

void cv_mime_tree_finish(struct cv_message *message)
{
	const struct cv_mime_part *inside = NULL; /* a nested message, whose parts are its own affair */
	uint32_t index = 0;

	for (struct cv_mime_part *part = message->root; part != NULL; part = cv_mime_part_next(part)) {
		if (inside != NULL && part->depth <= inside->depth)
			inside = NULL;
		part->index = index++;
		if (inside == NULL && is_attachment(part)) {
			part->flags |= CV_MIME_ATTACHMENT;
			message->attachments++;
		}
		if (inside == NULL && part->kind == CV_MIME_MESSAGE)
			inside = part;
		message->flags |= part->flags;
	}
	message->part_count = index;
}
