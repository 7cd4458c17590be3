/* SPDX-License-Identifier: MIT
   Annotations: named values of a mailbox or of the user as a whole. They are in memory, come from the state and the records behind it, and stand in a
   mailbox's snapshots too, for when both states are lost. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

#define MODULE_ENTRIES_MAX 64u                  /* of modules, in one list: clients can't take their place, nor they the clients' */
#define VALUE_MAX_LEN ((size_t)16 << 20)        /* the highest value of mail_max_metadata_value */
#define LIST_MAX_LEN ((size_t)64 << 20)

struct cv_annotation_watch {
	struct cv_node node;
	cv_annotation_fn *fn;
	void *ctx;
};

bool cv_annotation_is_public(struct cv_str name)
{
	return cv_str_casestarts(name, CV_STR("/private/")) || cv_str_casestarts(name, CV_STR("/shared/"));
}

/* ---- a list ------------------------------------------------------------------------------------------------- */

/* Without case, and '/' lowest, so that what is below a name comes right behind it. */
static int compare(struct cv_str a, struct cv_str b)
{
	size_t len = CV_MIN(a.len, b.len);

	for (size_t i = 0; i < len; i++) {
		uint8_t x = (uint8_t)cv_lower(a.ptr[i]), y = (uint8_t)cv_lower(b.ptr[i]);

		if (x == y)
			continue;
		if (x == '/' || y == '/')
			return x == '/' ? -1 : 1;
		return x < y ? -1 : 1;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

static struct cv_str name_of(const struct cv_stored_annotation *a)
{
	return cv_str_mem(a->octets, a->name_len);
}

static struct cv_str value_of(const struct cv_stored_annotation *a)
{
	return cv_str_mem(a->octets + a->name_len, a->value_len);
}

/* Index of the first that is not before name. */
static size_t position(const struct cv_annotations *list, struct cv_str name)
{
	size_t low = 0, high = list->list.count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(name_of(&list->list.data[mid]), name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_at(const struct cv_annotations *list, size_t at, struct cv_str name)
{
	return at < list->list.count && cv_str_caseeq(name_of(&list->list.data[at]), name);
}

static void remove_at(struct cv_annotations *list, size_t at)
{
	struct cv_stored_annotation *a = &list->list.data[at];

	*list->total -= a->name_len + a->value_len;
	list->public_count -= cv_annotation_is_public(name_of(a));
	cv_free(a->octets);
	memmove(a, a + 1, (list->list.count - at - 1) * sizeof(*a));
	list->list.count--;
}

void cv_annotations_set(struct cv_annotations *list, struct cv_str name, struct cv_str value)
{
	size_t at = position(list, name);
	struct cv_stored_annotation *a;

	if (is_at(list, at, name))
		remove_at(list, at);
	if (value.ptr == NULL)
		return;
	(void)cv_vec_push(&list->list);
	a = &list->list.data[at];
	memmove(a + 1, a, (list->list.count - 1 - at) * sizeof(*a));
	*a = (struct cv_stored_annotation){ cv_malloc(name.len + value.len + 1), name.len, value.len };
	memcpy(a->octets, name.ptr, name.len);
	memcpy(a->octets + name.len, value.ptr, value.len);
	*list->total += name.len + value.len;
	list->public_count += cv_annotation_is_public(name);
}

void cv_annotations_clear(struct cv_annotations *list)
{
	while (list->list.count > 0)
		remove_at(list, list->list.count - 1);
	cv_vec_free(&list->list);
}

/* ---- octets ------------------------------------------------------------------------------------------------- */

void cv_annotations_put(struct cv_buf *out, const struct cv_annotations *list)
{
	cv_put_u32(out, (uint32_t)list->list.count);
	for (size_t i = 0; i < list->list.count; i++) {
		cv_put_str(out, name_of(&list->list.data[i]));
		cv_put_str(out, value_of(&list->list.data[i]));
	}
}

bool cv_annotations_skip(struct cv_reader *r, struct cv_str *octets_r)
{
	size_t start = r->pos;
	uint32_t count;

	if (!cv_take_u32(r, &count))
		return false;
	for (; count > 0; count--) {
		struct cv_str name, value;

		if (!cv_take_str(r, CV_ANNOTATION_NAME_MAX, &name) || name.len == 0 || !cv_take_str(r, VALUE_MAX_LEN, &value))
			return false;
	}
	*octets_r = cv_str_sub(r->s, start, r->pos - start);
	return true;
}

bool cv_annotations_take(struct cv_reader *r, struct cv_annotations *list)
{
	struct cv_reader in;
	struct cv_str octets, name, value;
	uint32_t count;

	if (!cv_annotations_skip(r, &octets) || octets.len > LIST_MAX_LEN)
		return false;
	cv_annotations_clear(list);
	in = cv_reader_init(octets);
	if (!cv_take_u32(&in, &count))
		return false;
	for (; count > 0; count--) {
		if (!cv_take_str(&in, CV_ANNOTATION_NAME_MAX, &name) || !cv_take_str(&in, VALUE_MAX_LEN, &value))
			return false;
		/* They were written in order: anything else would make reading slow. */
		if (list->list.count > 0 && compare(name_of(&list->list.data[list->list.count - 1]), name) >= 0)
			return false;
		cv_annotations_set(list, name, value);
	}
	return true;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static const struct cv_annotations *list_of(const struct cv_user *user, const struct cv_mailbox *mailbox)
{
	return mailbox != NULL ? &mailbox->annotations : &user->annotations;
}

bool cv_annotation_next(const struct cv_user *user, const struct cv_mailbox *mailbox, size_t *pos, struct cv_annotation *annotation_r)
{
	const struct cv_annotations *list = list_of(user, mailbox);

	if (*pos >= list->list.count)
		return false;
	*annotation_r = (struct cv_annotation){ name_of(&list->list.data[*pos]), value_of(&list->list.data[*pos]) };
	(*pos)++;
	return true;
}

size_t cv_annotation_from(const struct cv_user *user, const struct cv_mailbox *mailbox, struct cv_str name)
{
	return position(list_of(user, mailbox), name);
}

int cv_annotation_get(const struct cv_user *user, const struct cv_mailbox *mailbox, struct cv_str name, struct cv_annotation *annotation_r)
{
	const struct cv_annotations *list = list_of(user, mailbox);
	size_t at = position(list, name);

	*annotation_r = (struct cv_annotation){ 0 };
	if (!is_at(list, at, name))
		return 0;
	*annotation_r = (struct cv_annotation){ name_of(&list->list.data[at]), value_of(&list->list.data[at]) };
	return 1;
}

size_t cv_annotation_value_max(const struct cv_user *user)
{
	return (size_t)user->set->mail_max_metadata_value;
}

/* ---- changing ----------------------------------------------------------------------------------------------- */

int cv_annotation_name_ok(struct cv_str name, struct cv_err *err)
{
	if (name.len == 0 || name.len > CV_ANNOTATION_NAME_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Entry name is empty or too long");
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] < ' ' || name.ptr[i] > '~' || name.ptr[i] == '*' || name.ptr[i] == '%')
			return cv_err_set_public(err, CV_ERR_INVALID, "Entry name holds a character that it can't have");
	}
	if (name.ptr[name.len - 1] == '/' || cv_str_find_str(name, CV_STR("//")) != SIZE_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Entry name has an empty level");
	return 1;
}

/* What a list will be, and what all of the user's lists together. */
struct sums {
	uint64_t octets, public_count, module_count;
};

/* An entry that is set twice counts twice: never too little. */
static void add_change(struct sums *sums, const struct cv_annotations *list, struct cv_str name, struct cv_str value)
{
	size_t at = position(list, name);
	uint64_t *count = cv_annotation_is_public(name) ? &sums->public_count : &sums->module_count;

	if (is_at(list, at, name)) {
		sums->octets -= CV_MIN(sums->octets, list->list.data[at].name_len + list->list.data[at].value_len);
		*count -= CV_MIN(*count, 1u);
	}
	if (value.ptr == NULL)
		return;
	sums->octets += name.len + value.len;
	(*count)++;
}

static int check_sums(const struct cv_user *user, const struct sums *before, const struct sums *after, struct cv_err *err)
{
	if (after->public_count > before->public_count && after->public_count > user->set->mail_max_metadata_entries)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Too many entries");
	if (after->module_count > before->module_count && after->module_count > MODULE_ENTRIES_MAX)
		return cv_err_set(err, CV_ERR_LIMIT, "modules have too many entries here");
	if (after->octets > before->octets && after->octets > user->set->mail_max_metadata_size)
		return cv_err_set_public(err, CV_ERR_LIMIT, "All entries together are too large");
	return 1;
}

static const struct cv_op *annotate_op(const struct cv_txn *txn, size_t i)
{
	const struct cv_op *op = &txn->ops.data[i];

	return op->kind == CV_OP_TXN_ENTRY && op->entry.kind == CV_ENTRY_ANNOTATE ? op : NULL;
}

bool cv_txn_annotates(const struct cv_txn *txn)
{
	for (size_t i = 0; i < txn->ops.count; i++) {
		if (annotate_op(txn, i) != NULL)
			return true;
	}
	return false;
}

int cv_annotations_check(struct cv_txn *txn, struct cv_err *err)
{
	struct cv_user *user = txn->user;
	struct sums before = { 0 }, after = { 0 };
	const struct cv_op *last = NULL;

	/* One list after the other, as they come: lists that take turns are counted from the start each time, the octets of all go on. */
	for (size_t i = 0; i < txn->ops.count; i++) {
		const struct cv_op *op = annotate_op(txn, i);
		const struct cv_annotations *list;

		if (op == NULL)
			continue;
		list = list_of(user, op->mailbox);
		if (last == NULL || last->mailbox != op->mailbox) {
			if (check_sums(user, &before, &after, err) < 0)
				return -1;
			if (last == NULL)
				before.octets = after.octets = user->annotation_octets;
			before.public_count = after.public_count = list->public_count;
			before.module_count = after.module_count = list->list.count - list->public_count;
		}
		last = op;
		add_change(&after, list, op->entry.name, op->entry.new_name);
	}
	return check_sums(user, &before, &after, err);
}

static int may(unsigned rights, struct cv_err *err)
{
	const unsigned any = CV_RIGHT_READ | CV_RIGHT_SEEN | CV_RIGHT_WRITE | CV_RIGHT_INSERT | CV_RIGHT_POST;

	return (rights & CV_RIGHT_LOOKUP) != 0 && (rights & any) != 0 ? 1 : cv_access_missing(rights, err);
}

int cv_annotations_may(struct cv_mailbox *mailbox, struct cv_err *err)
{
	unsigned rights;

	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	return cv_mailbox_rights(mailbox->user, cv_mailbox_name(mailbox), &rights, err) < 0 ? -1 : may(rights, err);
}

int cv_txn_annotate(struct cv_txn *txn, struct cv_mailbox *mailbox, struct cv_str name, struct cv_str value, struct cv_err *err)
{
	struct cv_entry entry = { .kind = CV_ENTRY_ANNOTATE };
	struct cv_op *op;
	unsigned rights;

	if (mailbox != NULL && mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (mailbox != NULL && (cv_txn_rights(txn, mailbox, &rights, err) < 0 || may(rights, err) < 0))
		return -1;
	if (cv_annotation_name_ok(name, err) < 0)
		return -1;
	if (value.len > txn->user->set->mail_max_metadata_value)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Value is too large");
	entry.name = cv_arena_str(txn->arena, name);
	if (value.ptr != NULL)
		entry.new_name = value.len > 0 ? cv_arena_str(txn->arena, value) : CV_STR("");
	if (mailbox != NULL)
		entry.mailbox = mailbox->guid;
	op = cv_txn_add(txn, CV_OP_TXN_ENTRY, mailbox);
	op->entry = entry;
	return 1;
}

/* ---- applying ----------------------------------------------------------------------------------------------- */

bool cv_guid_is_user(const struct cv_guid *guid)
{
	static const struct cv_guid user = { { 0 } };

	return memcmp(guid, &user, sizeof(user)) == 0;
}

static int parse_uses(struct cv_str value, uint32_t *bits_r)
{
	struct cv_str word, rest = value;
	char text[32];
	const char *words[] = { text, NULL };

	*bits_r = 0;
	while (rest.len > 0) {
		uint32_t bit;

		(void)cv_str_split(rest, ' ', &word, &rest);
		if (word.len == 0)
			continue;
		if (word.len >= sizeof(text))
			return -1;
		memcpy(text, word.ptr, word.len);
		text[word.len] = '\0';
		if (cv_special_use_parse(words, &bit, NULL) < 0)
			return -1;
		*bits_r |= bit;
	}
	return 1;
}

void cv_annotations_use(struct cv_mailbox *mailbox)
{
	struct cv_annotation use;
	uint32_t bits;

	if (cv_annotation_get(mailbox->user, mailbox, CV_STR(CV_ANNOTATION_SPECIAL_USE), &use) == 0)
		return;
	if (parse_uses(use.value, &bits) < 0) {
		cv_warn(&mailbox->log_ctx, "special use that was set is of a kind that this server does not know: it is left as it was");
		return;
	}
	mailbox->special_use = bits;
	mailbox->user->list_valid = false;
}

void cv_annotations_apply(struct cv_user *user, uint64_t seq, const struct cv_entry *entry)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &entry->mailbox);

	if (cv_guid_is_user(&entry->mailbox)) {
		cv_annotations_set(&user->annotations, entry->name, entry->new_name);
		return;
	}
	if (mailbox == NULL)
		return;
	cv_annotations_set(&mailbox->annotations, entry->name, entry->new_name);
	mailbox->annotations.seq = seq;
	mailbox->dirty++; /* so that closing writes them to the snapshot too */
	/* RFC 7162 section 3.2: "it MUST increment the per-mailbox mod-sequence when SETMETADATA successfully changes an annotation on the corresponding mailbox." Later
	   changes of messages may be there already, which are not published. */
	if (cv_annotation_is_public(entry->name)) {
		mailbox->highest_modseq = CV_MAX(mailbox->highest_modseq, seq);
		mailbox->published_modseq = CV_MAX(mailbox->published_modseq, seq);
	}
	if (cv_str_caseeq_c(entry->name, CV_ANNOTATION_SPECIAL_USE))
		cv_annotations_use(mailbox);
}

/* ---- telling others ------------------------------------------------------------------------------------------ */

struct cv_annotation_watch *cv_annotations_watch(struct cv_user *user, cv_annotation_fn *fn, void *ctx)
{
	struct cv_annotation_watch *watch = cv_new0(struct cv_annotation_watch);

	watch->fn = fn;
	watch->ctx = ctx;
	cv_list_append(&user->annotation_watches, &watch->node);
	return watch;
}

void cv_annotations_unwatch(struct cv_annotation_watch **watch)
{
	if (*watch == NULL)
		return;
	cv_list_remove(&(*watch)->node);
	cv_free(*watch);
	*watch = NULL;
}

void cv_annotations_tell(struct cv_txn *txn)
{
	struct cv_node *node, *tmp;

	for (size_t i = 0; i < txn->ops.count; i++) {
		const struct cv_op *op = annotate_op(txn, i);
		struct cv_annotation_change change;

		if (op == NULL)
			continue;
		change = (struct cv_annotation_change){ .mailbox = op->mailbox, .name = op->entry.name, .value = op->entry.new_name,
			.txn = txn->id };
		cv_list_foreach(&txn->user->annotation_watches, node, tmp) {
			const struct cv_annotation_watch *watch = cv_container(node, struct cv_annotation_watch, node);

			watch->fn(watch->ctx, &change);
		}
	}
}

int cv_txn_special_use(struct cv_txn *txn, struct cv_mailbox *mailbox, unsigned bits, struct cv_err *err)
{
	struct cv_buf words;
	int ret;

	cv_buf_init(&words, 256);
	cv_special_use_words(bits, &words);
	ret = cv_txn_annotate(txn, mailbox, CV_STR(CV_ANNOTATION_SPECIAL_USE), words.len > 0 ? cv_buf_str(&words) : CV_STR(""), err);
	cv_buf_deinit(&words);
	return ret;
}
