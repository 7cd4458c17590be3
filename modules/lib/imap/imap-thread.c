/* SPDX-License-Identifier: MIT
   Threading messages. All steps are loops over arrays that can stop and go on anywhere; trees are as deep as senders like, so nothing recurses.

   Two shortcuts against the RFC's wording, with its result: the messages are sorted by sent date once, which gives every set of siblings its order
   (steps 4 and 6); and step 3 moves no children, but finds for each message its next ancestor that is no dummy. */
#include <config.h>

#include "imap-thread.h"

#include "imap-merge.h"

#include <culver/header.h>
#include <culver/map.h>
#include <culver/reader.h>
#include <culver/search.h>

/* Other messages that count messages may name: dummies, and references in all. */
#define DUMMIES_MAX(count) ((size_t)(count) * 4 + 100000)
#define REFERENCES_MAX(count) ((size_t)(count) * 100 + 1000000)

#define NONE 0u /* nodes count from 1 */

/* A message, or a dummy for one that is only referred to, or that holds threads of one subject together. */
struct node {
	uint32_t parent, child, prev, next; /* of the links of step 1; then of the result */
	uint32_t last;                      /* child, of the result */
	uint32_t up, root;                  /* step 3: next ancestor that stays; top of the tree */
	uint32_t message;                   /* index + 1; 0: a dummy */
	uint32_t real;                      /* of a dummy root: children that are messages */
	uint32_t first;                     /* the first of them by date */
	uint32_t into;                      /* the dummy that this one was merged into */
	bool listed;
};

struct message {
	uint32_t number, node, subject; /* subject: index + 1 into subjects; 0: empty */
	bool reply;
	int64_t sent, arrived;
	size_t refs;                    /* offset of its references; those of the next message end them */
};

/* Numbers by message-id or subject, which are known by a keyed hash of 64 bits: among a million of them two are taken for one with a chance of 1 to
   40 million, and nobody who does not know the process' key can make such ones. A key of 0 is none. */
struct table {
	uint64_t *keys;
	uint32_t *numbers;
	size_t cap, count; /* cap: a power of two */
};

enum phase { ADDING = 0, SORTING, SORTING_ARRIVAL, LINKING, PRUNING, COUNTING, LISTING, SUBJECTS, MERGING, BUILDING, ROOTS, DONE };

struct cv_imap_threads {
	enum cv_imap_thread_algorithm algorithm;
	enum phase phase;
	CV_VEC(struct node) nodes;      /* [0] is not used */
	CV_VEC(struct message) messages;
	CV_VEC(uint32_t) refs;
	CV_VEC(uint32_t) subjects;      /* step 5: the node of each subject */
	CV_VEC(uint32_t) tops;          /* nodes under the root */
	struct table ids, subject_ids;  /* nodes; indexes + 1 into subjects */
	uint32_t *by_date, *by_arrival; /* messages */
	struct cv_imap_merge_item *items; /* the same while they are sorted */
	struct cv_imap_merge merge;
	size_t at;                      /* message, node or top in progress */
	size_t ref;                     /* of the message in progress */
	uint32_t walk;                  /* ancestor in progress; NONE: not walking */
	bool last_link;                 /* step 1.B of the message in progress */
	uint32_t write, head, tail;     /* node being written; roots of the result */
	bool leaving;
};

bool cv_imap_thread_algorithm(struct cv_str name, enum cv_imap_thread_algorithm *algorithm_r)
{
	static const char *const names[] = { [CV_IMAP_THREAD_ORDEREDSUBJECT] = "ORDEREDSUBJECT", [CV_IMAP_THREAD_REFERENCES] = "REFERENCES",
		[CV_IMAP_THREAD_REFS] = "REFS" };

	for (size_t i = CV_IMAP_THREAD_ORDEREDSUBJECT; i < CV_COUNT_OF(names); i++) {
		if (cv_str_caseeq_c(name, names[i])) {
			*algorithm_r = (enum cv_imap_thread_algorithm)i;
			return true;
		}
	}
	return false;
}

static void free_table(struct table *table)
{
	cv_free(table->keys);
	cv_free(table->numbers);
}

static size_t place_of(const struct table *table, uint64_t key)
{
	size_t at = (size_t)key & (table->cap - 1);

	while (table->keys[at] != 0 && table->keys[at] != key)
		at = (at + 1) & (table->cap - 1);
	return at;
}

/* Room for count numbers in all. */
static void reserve(struct table *table, size_t count)
{
	struct table old = *table;

	table->cap = CV_MAX(old.cap, (size_t)1024);
	while (table->cap / 2 <= count)
		table->cap *= 2;
	table->keys = cv_calloc(table->cap, sizeof(*table->keys));
	table->numbers = cv_calloc(table->cap, sizeof(*table->numbers));
	for (size_t i = 0; i < old.cap; i++) {
		if (old.keys[i] != 0) {
			size_t at = place_of(table, old.keys[i]);

			table->keys[at] = old.keys[i];
			table->numbers[at] = old.numbers[i];
		}
	}
	free_table(&old);
}

struct cv_imap_threads *cv_imap_threads_new(enum cv_imap_thread_algorithm algorithm, size_t messages)
{
	struct cv_imap_threads *t = cv_new0(struct cv_imap_threads);

	t->algorithm = algorithm;
	cv_vec_reserve(&t->messages, messages);
	cv_vec_reserve(&t->nodes, messages + 1);
	cv_vec_reserve(&t->refs, messages);
	if (algorithm != CV_IMAP_THREAD_ORDEREDSUBJECT)
		reserve(&t->ids, messages);
	if (algorithm != CV_IMAP_THREAD_REFS)
		reserve(&t->subject_ids, messages);
	(void)cv_vec_push(&t->nodes);
	return t;
}

void cv_imap_threads_free(struct cv_imap_threads **threads)
{
	struct cv_imap_threads *t = *threads;

	*threads = NULL;
	if (t == NULL)
		return;
	cv_imap_merge_deinit(&t->merge);
	cv_vec_free(&t->nodes);
	cv_vec_free(&t->messages);
	cv_vec_free(&t->refs);
	cv_vec_free(&t->subjects);
	cv_vec_free(&t->tops);
	free_table(&t->ids);
	free_table(&t->subject_ids);
	cv_free(t->items);
	cv_free(t->by_date);
	cv_free(t->by_arrival);
	cv_free(t);
}

/* ---- message-ids --------------------------------------------------------------------------------------- */

/* id without quotes, and without space outside of them. False when it has no id-left, "@" and id-right. */
static bool normalise(struct cv_str id, struct cv_buf *out)
{
	size_t before = out->len, at = SIZE_MAX;
	bool quoted = false;

	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];

		if (c == '"') {
			quoted = !quoted;
			continue;
		}
		if (quoted && c == '\\' && i + 1 < id.len)
			c = id.ptr[++i];
		else if (!quoted && cv_is_space(c))
			continue;
		else if (!quoted && c == '@')
			at = out->len;
		cv_buf_append_char(out, c);
	}
	if (!quoted && at != SIZE_MAX && at > before && at + 1 < out->len)
		return true;
	cv_buf_truncate(out, before);
	return false;
}

bool cv_imap_thread_next_id(struct cv_str *value, struct cv_buf *out)
{
	struct cv_reader in = cv_reader_init(*value);
	struct cv_str id;
	bool found = false;

	while (!found && cv_message_id_next(&in, &id))
		found = normalise(id, out);
	*value = cv_reader_rest(&in);
	return found;
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

static uint64_t key_of(const struct cv_buf *text)
{
	uint64_t hash = cv_hash(text->data, text->len);

	return hash != 0 ? hash : 1;
}

/* The next message-id of *value; 0: there is none. */
static uint64_t next_key(struct cv_str *value, struct cv_buf *text)
{
	cv_buf_clear(text);
	return cv_imap_thread_next_id(value, text) ? key_of(text) : 0;
}

void cv_imap_thread_keys(const struct cv_imap_thread_message *message, struct cv_buf *out)
{
	struct cv_str id = message->message_id, references = message->references, in_reply_to = message->in_reply_to;
	bool reply, referred = false;
	struct cv_buf text;
	uint64_t key;

	cv_buf_init(&text, SIZE_MAX);
	reply = cv_subject_key(&text, message->subject);
	cv_put_u8(out, reply);
	cv_put_u64(out, text.len > 0 ? key_of(&text) : 0);
	cv_put_u64(out, next_key(&id, &text));
	for (; (key = next_key(&references, &text)) != 0; referred = true)
		cv_put_u64(out, key);
	/* "then use the first (if any) valid Message ID found in the In-Reply-To header line as the only reference". */
	if (!referred && (key = next_key(&in_reply_to, &text)) != 0)
		cv_put_u64(out, key);
	cv_buf_deinit(&text);
}

/* Where the number of key is or goes to; 0: it has none yet. Valid until the next call. */
static uint32_t *number_of(struct table *table, uint64_t key)
{
	size_t at;

	if (table->count >= table->cap / 2)
		reserve(table, table->count + 1);
	at = place_of(table, key);
	table->count += table->keys[at] == 0;
	table->keys[at] = key;
	return &table->numbers[at];
}

/* ---- adding -------------------------------------------------------------------------------------------- */

static uint32_t new_node(struct cv_imap_threads *t, uint32_t message)
{
	struct node *node = cv_vec_push(&t->nodes);

	node->message = message;
	return (uint32_t)(t->nodes.count - 1);
}

/* The node of a message-id, a dummy when it is new. */
static uint32_t node_of_id(struct cv_imap_threads *t, uint64_t id)
{
	uint32_t *node = number_of(&t->ids, id);

	if (*node == NONE)
		*node = new_node(t, 0);
	return *node;
}

/* Step 1.A, "two or more messages have the same Message ID", or none: the first has it, others get a node that nobody refers to. */
static uint32_t node_of_message(struct cv_imap_threads *t, uint64_t id, uint32_t message)
{
	uint32_t node;

	if (id == 0)
		return new_node(t, message);
	node = node_of_id(t, id);
	if (t->nodes.data[node].message != 0)
		return new_node(t, message);
	t->nodes.data[node].message = message;
	return node;
}

static bool has_room(const struct cv_imap_threads *t)
{
	return t->nodes.count < DUMMIES_MAX(t->messages.count) && t->refs.count < REFERENCES_MAX(t->messages.count);
}

static uint32_t subject_of(struct cv_imap_threads *t, uint64_t key)
{
	uint32_t *subject;

	if (key == 0)
		return 0;
	subject = number_of(&t->subject_ids, key);
	if (*subject == 0) {
		*cv_vec_push(&t->subjects) = NONE;
		*subject = (uint32_t)t->subjects.count;
	}
	return *subject;
}

int cv_imap_threads_add(struct cv_imap_threads *t, const struct cv_imap_thread_message *message, struct cv_str keys, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(keys);
	struct message *m = cv_vec_push(&t->messages);
	uint32_t index = (uint32_t)t->messages.count;
	uint64_t subject, id, reference;
	uint8_t reply;
	bool whole = cv_take_u8(&reader, &reply) && cv_take_u64(&reader, &subject) && cv_take_u64(&reader, &id);

	cv_assert(t->phase == ADDING && whole);
	m->number = message->number;
	m->sent = message->sent;
	m->arrived = message->arrived;
	m->refs = t->refs.count;
	m->reply = reply != 0;
	if (t->algorithm != CV_IMAP_THREAD_REFS)
		m->subject = subject_of(t, subject);
	if (t->algorithm == CV_IMAP_THREAD_ORDEREDSUBJECT) {
		m->node = new_node(t, index);
		return 0;
	}
	m->node = node_of_message(t, id, index);
	while (cv_take_u64(&reader, &reference)) {
		if (!has_room(t))
			return cv_err_set_public(err, CV_ERR_LIMIT, "The messages refer to too many others");
		*cv_vec_push(&t->refs) = node_of_id(t, reference);
	}
	return 0;
}

/* ---- by date ------------------------------------------------------------------------------------------- */

static void begin_sort(struct cv_imap_threads *t, bool by_arrival)
{
	t->items = cv_calloc(t->messages.count + 1, sizeof(*t->items));
	for (uint32_t i = 0; i < t->messages.count; i++) {
		const struct message *m = &t->messages.data[i];

		t->items[i] = (struct cv_imap_merge_item){ cv_imap_merge_key(by_arrival ? m->arrived : m->sent), 0, i };
	}
	cv_imap_merge_init(&t->merge, t->items, t->messages.count, NULL, NULL);
}

static uint32_t *end_sort(struct cv_imap_threads *t)
{
	uint32_t *order = cv_calloc(t->messages.count + 1, sizeof(*order));

	for (size_t i = 0; i < t->messages.count; i++)
		order[i] = t->items[i].number;
	cv_imap_merge_deinit(&t->merge);
	cv_free(t->items);
	t->items = NULL;
	return order;
}

static void set_phase(struct cv_imap_threads *t, enum phase phase)
{
	t->phase = phase;
	t->at = 0;
}

static struct message *message_of(struct cv_imap_threads *t, const struct node *node)
{
	return &t->messages.data[node->message - 1];
}

/* ---- step 1: links ------------------------------------------------------------------------------------- */

static void unlink_node(struct cv_imap_threads *t, uint32_t node)
{
	struct node *nodes = t->nodes.data, *n = &nodes[node];

	if (n->parent == NONE)
		return;
	if (n->prev != NONE)
		nodes[n->prev].next = n->next;
	else
		nodes[n->parent].child = n->next;
	if (n->next != NONE)
		nodes[n->next].prev = n->prev;
	n->parent = n->prev = n->next = NONE;
}

static void link_node(struct cv_imap_threads *t, uint32_t parent, uint32_t node)
{
	struct node *nodes = t->nodes.data, *n = &nodes[node];

	n->parent = parent;
	n->next = nodes[parent].child;
	if (n->next != NONE)
		nodes[n->next].prev = node;
	nodes[parent].child = node;
}

static size_t refs_end(const struct cv_imap_threads *t, size_t message)
{
	return message + 1 < t->messages.count ? t->messages.data[message + 1].refs : t->refs.count;
}

/* Is parent node or below it? 1, 0; -1: steps are used up, and it goes on from there. What has no children has nobody below. */
static int is_below(struct cv_imap_threads *t, uint32_t parent, uint32_t node, size_t *steps)
{
	const struct node *nodes = t->nodes.data;

	if (parent == node)
		return 1;
	if (nodes[node].child == NONE)
		return 0;
	if (t->walk == NONE)
		t->walk = parent;
	while (t->walk != NONE && t->walk != node) {
		if (*steps == 0)
			return -1;
		(*steps)--;
		t->walk = nodes[t->walk].parent;
	}
	if (t->walk == NONE)
		return 0;
	t->walk = NONE;
	return 1;
}

static void next_message(struct cv_imap_threads *t)
{
	t->at++;
	t->last_link = false;
	t->ref = t->at < t->messages.count ? t->messages.data[t->at].refs + 1 : 0;
}

/* Step 1.A for references ref - 1 and ref of the message in progress, then 1.B. False: steps are used up. */
static bool link_step(struct cv_imap_threads *t, size_t *steps)
{
	const struct message *m = &t->messages.data[t->at];
	size_t end = refs_end(t, t->at);
	uint32_t parent, node;
	int below;

	if (t->ref < end) {
		parent = t->refs.data[t->ref - 1];
		node = t->refs.data[t->ref];
		/* "If a message already has a parent, don't change the existing link." */
		if (t->nodes.data[node].parent == NONE) {
			below = is_below(t, parent, node, steps);
			if (below < 0)
				return false;
			if (below == 0)
				link_node(t, parent, node);
		}
		t->ref++;
		return true;
	}
	node = m->node;
	if (!t->last_link) {
		/* "so break the current parent/child link before creating the new correct one": one that is right already stays. */
		t->last_link = true;
		if (m->refs == end || t->nodes.data[node].parent != t->refs.data[end - 1])
			unlink_node(t, node);
	}
	if (m->refs < end && t->nodes.data[node].parent == NONE) {
		below = is_below(t, t->refs.data[end - 1], node, steps);
		if (below < 0)
			return false;
		if (below == 0)
			link_node(t, t->refs.data[end - 1], node);
	}
	next_message(t);
	return true;
}

/* ---- step 3: no dummies below the top ------------------------------------------------------------------ */

/* One node, parents first. walk is the node; at the root whose tree is walked. */
static void prune_step(struct cv_imap_threads *t)
{
	struct node *nodes = t->nodes.data;
	uint32_t n = t->walk;

	if (n == NONE) {
		if (++t->at >= t->nodes.count) {
			set_phase(t, COUNTING);
			return;
		}
		if (nodes[t->at].parent == NONE)
			t->walk = (uint32_t)t->at;
		return;
	}
	if (!t->leaving) {
		uint32_t parent = nodes[n].parent;

		nodes[n].root = parent == NONE ? n : nodes[parent].root;
		nodes[n].up = parent == NONE || nodes[parent].parent == NONE || nodes[parent].message != 0 ? parent : nodes[parent].up;
		if (nodes[n].child != NONE) {
			t->walk = nodes[n].child;
			return;
		}
	}
	t->leaving = false;
	if (n == nodes[n].root) {
		t->walk = NONE;
	} else if (nodes[n].next != NONE) {
		t->walk = nodes[n].next;
	} else {
		t->walk = nodes[n].parent;
		t->leaving = true;
	}
}

/* Messages that a dummy at the top holds, the first by date first. */
static void count_step(struct cv_imap_threads *t)
{
	const struct node *n = &t->nodes.data[t->messages.data[t->by_date[t->at]].node];
	struct node *up = &t->nodes.data[n->up];

	if (n->up != NONE && up->message == 0 && up->real++ == 0)
		up->first = (uint32_t)(n - t->nodes.data);
	if (++t->at == t->messages.count)
		set_phase(t, LISTING);
}

/* Step 4: the top in the order of its messages' sent dates. "Do not promote the children if doing so would make them children of the root, unless there is
   only one child." */
static void list_step(struct cv_imap_threads *t)
{
	struct node *nodes = t->nodes.data;
	uint32_t top = t->messages.data[t->by_date[t->at]].node;

	if (nodes[top].up != NONE && nodes[nodes[top].up].message == 0) {
		if (nodes[nodes[top].up].real == 1)
			nodes[top].up = NONE;
		else
			top = nodes[top].up;
	} else if (nodes[top].up != NONE) {
		top = NONE;
	}
	if (top != NONE && !nodes[top].listed) {
		nodes[top].listed = true;
		*cv_vec_push(&t->tops) = top;
	}
	if (++t->at == t->messages.count)
		set_phase(t, t->algorithm == CV_IMAP_THREAD_REFERENCES ? SUBJECTS : BUILDING);
}

/* ---- step 5: threads with one subject ------------------------------------------------------------------ */

static bool is_dummy(const struct cv_imap_threads *t, uint32_t node)
{
	return t->nodes.data[node].message == 0;
}

static const struct message *thread_message(struct cv_imap_threads *t, uint32_t top)
{
	return message_of(t, &t->nodes.data[is_dummy(t, top) ? t->nodes.data[top].first : top]);
}

static bool is_reply(struct cv_imap_threads *t, uint32_t node)
{
	return !is_dummy(t, node) && message_of(t, &t->nodes.data[node])->reply;
}

/* Step 5.B. */
static void subject_step(struct cv_imap_threads *t)
{
	uint32_t current = t->tops.data[t->at], subject = thread_message(t, current)->subject;

	if (subject != 0) {
		uint32_t *entry = &t->subjects.data[subject - 1];

		if (*entry == NONE)
			*entry = current;
		else if (!is_dummy(t, *entry) && (is_dummy(t, current) || (is_reply(t, *entry) && !is_reply(t, current))))
			*entry = current;
	}
	if (++t->at == t->tops.count)
		set_phase(t, MERGING);
}

/* Step 5.C. */
static void merge_threads(struct cv_imap_threads *t, uint32_t *entry, uint32_t current)
{
	bool entry_dummy = is_dummy(t, *entry);
	uint32_t dummy;

	if (entry_dummy && is_dummy(t, current)) {
		t->nodes.data[current].into = *entry;
	} else if (entry_dummy || (is_reply(t, current) && !is_reply(t, *entry))) {
		t->nodes.data[current].up = *entry;
	} else {
		dummy = new_node(t, 0);
		t->nodes.data[current].up = t->nodes.data[*entry].up = dummy;
		*entry = dummy;
	}
}

static void merge_step(struct cv_imap_threads *t)
{
	uint32_t current = t->tops.data[t->at], subject = thread_message(t, current)->subject;

	/* What was merged already is no child of the root any more. */
	if (subject != 0 && t->subjects.data[subject - 1] != current && t->nodes.data[current].up == NONE)
		merge_threads(t, &t->subjects.data[subject - 1], current);
	if (++t->at == t->tops.count)
		set_phase(t, BUILDING);
}

/* ---- step 6: the result -------------------------------------------------------------------------------- */

static void append_root(struct cv_imap_threads *t, uint32_t node)
{
	struct node *nodes = t->nodes.data;

	nodes[node].parent = nodes[node].next = NONE;
	if (t->head == NONE)
		t->head = node;
	else
		nodes[t->tail].next = node;
	t->tail = node;
}

static void append_child(struct cv_imap_threads *t, uint32_t parent, uint32_t node)
{
	struct node *nodes = t->nodes.data;

	nodes[node].parent = parent;
	nodes[node].next = NONE;
	if (nodes[parent].last == NONE)
		nodes[parent].child = node;
	else
		nodes[nodes[parent].last].next = node;
	nodes[parent].last = node;
}

/* Before the first: the links of step 1 are not those of the result. */
static void forget_links(struct cv_imap_threads *t)
{
	for (size_t i = 0; i < t->nodes.count; i++) {
		struct node *node = &t->nodes.data[i];

		node->parent = node->child = node->next = node->last = NONE;
		node->listed = false;
	}
}

/* A dummy stands where the first of its children would. */
static void build_step(struct cv_imap_threads *t)
{
	struct node *nodes = t->nodes.data;
	uint32_t node = t->messages.data[t->by_date[t->at]].node, up = nodes[node].up;

	if (t->at == 0)
		forget_links(t);
	if (up != NONE && nodes[up].into != NONE)
		up = nodes[up].into;
	if (up != NONE)
		append_child(t, up, node);
	if (t->algorithm == CV_IMAP_THREAD_REFERENCES && up == NONE) {
		append_root(t, node);
	} else if (t->algorithm == CV_IMAP_THREAD_REFERENCES && nodes[up].message == 0 && !nodes[up].listed) {
		nodes[up].listed = true;
		append_root(t, up);
	}
	if (++t->at == t->messages.count)
		set_phase(t, t->algorithm == CV_IMAP_THREAD_REFS ? ROOTS : DONE);
}

/* REFS, "by the most recent INTERNALDATE in each thread": from the latest message back, each thread when it is met first. */
static void root_step(struct cv_imap_threads *t)
{
	struct node *nodes = t->nodes.data;
	uint32_t top = t->messages.data[t->by_arrival[t->messages.count - 1 - t->at]].node;

	top = nodes[top].root;
	if (nodes[top].message == 0 && nodes[top].real == 1)
		top = nodes[top].first; /* whose dummy parent went */
	if (!nodes[top].listed) {
		nodes[top].listed = true;
		nodes[top].next = t->head;
		t->head = top;
	}
	if (++t->at == t->messages.count)
		set_phase(t, DONE);
}

/* ORDEREDSUBJECT: the first message by date of each subject is a root, the others are its children. */
static void ordered_subject_step(struct cv_imap_threads *t)
{
	const struct message *m = &t->messages.data[t->by_date[t->at]];
	uint32_t *first = &t->subjects.data[m->subject];

	if (*first == NONE) {
		*first = m->node;
		append_root(t, m->node);
	} else {
		append_child(t, *first, m->node);
	}
	if (++t->at == t->messages.count)
		set_phase(t, DONE);
}

/* ---- the machine --------------------------------------------------------------------------------------- */

static void begin(struct cv_imap_threads *t)
{
	begin_sort(t, false);
	set_phase(t, t->messages.count > 0 ? SORTING : DONE);
}

static void sorted(struct cv_imap_threads *t)
{
	uint32_t **order = t->phase == SORTING ? &t->by_date : &t->by_arrival;

	*order = end_sort(t);
	if (t->algorithm == CV_IMAP_THREAD_ORDEREDSUBJECT) {
		*cv_vec_push(&t->subjects) = NONE; /* [0] is the empty one */
		set_phase(t, BUILDING);
	} else if (t->algorithm == CV_IMAP_THREAD_REFS && t->phase == SORTING) {
		begin_sort(t, true);
		set_phase(t, SORTING_ARRIVAL);
	} else {
		set_phase(t, LINKING);
		t->ref = t->messages.data[0].refs + 1;
	}
}

static bool sort_step(struct cv_imap_threads *t, size_t *steps)
{
	size_t some = CV_MIN(*steps, (size_t)1024);

	*steps -= some;
	if (!cv_imap_merge_step(&t->merge, some))
		return false;
	sorted(t);
	return true;
}

bool cv_imap_threads_step(struct cv_imap_threads *t, size_t steps)
{
	while (steps > 0 && t->phase != DONE) {
		switch (t->phase) {
		case ADDING:
			begin(t);
			break;
		case SORTING:
		case SORTING_ARRIVAL:
			(void)sort_step(t, &steps);
			continue;
		case LINKING:
			if (!link_step(t, &steps))
				return false;
			if (t->at == t->messages.count)
				set_phase(t, PRUNING);
			break;
		case PRUNING:
			prune_step(t);
			break;
		case COUNTING:
			count_step(t);
			break;
		case LISTING:
			list_step(t);
			break;
		case SUBJECTS:
			subject_step(t);
			break;
		case MERGING:
			merge_step(t);
			break;
		case BUILDING:
			if (t->algorithm == CV_IMAP_THREAD_ORDEREDSUBJECT)
				ordered_subject_step(t);
			else
				build_step(t);
			break;
		case ROOTS:
			root_step(t);
			break;
		case DONE:
			break;
		}
		if (steps > 0)
			steps--;
	}
	if (t->phase == DONE && t->write == NONE)
		t->write = t->head;
	return t->phase == DONE;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* thread-list = "(" (thread-members / thread-nested) ")": parentheses stand around roots, and around siblings. */
static bool in_parentheses(const struct cv_imap_threads *t, uint32_t node)
{
	uint32_t parent = t->nodes.data[node].parent;

	return parent == NONE || t->nodes.data[parent].child != t->nodes.data[parent].last;
}

bool cv_imap_threads_write(struct cv_imap_threads *t, struct cv_buf *layout, uint32_t *numbers, size_t *count, size_t max)
{
	const struct node *nodes = t->nodes.data;
	size_t before = layout->len;

	cv_assert(t->phase == DONE);
	while (t->write != NONE && layout->len - before < max) {
		const struct node *n = &nodes[t->write];

		if (!t->leaving) {
			if (in_parentheses(t, t->write))
				cv_buf_append_char(layout, '(');
			if (n->message != 0) {
				cv_buf_append_char(layout, CV_IMAP_THREAD_NUMBER);
				numbers[(*count)++] = message_of(t, n)->number;
			}
			if (n->child != NONE) {
				if (n->message != 0)
					cv_buf_append_char(layout, ' ');
				t->write = n->child;
				continue;
			}
		}
		t->leaving = false;
		if (in_parentheses(t, t->write))
			cv_buf_append_char(layout, ')');
		if (n->next != NONE) {
			t->write = n->next;
		} else {
			t->write = n->parent;
			t->leaving = t->write != NONE;
		}
	}
	return t->write != NONE;
}
