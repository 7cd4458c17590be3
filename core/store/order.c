/* SPDX-License-Identifier: MIT
   What culver/order.h promises. A message never changes, so its place among others is right as long as its row is where it was. */
#include <config.h>

#include "core/store/order.h"

#include "core/store/store-private.h"

#include <string.h>

/* Octets for all mailboxes of a user: an order of four million messages, or four of a million. */
#define OCTETS_MAX ((size_t)16 << 20)
#define SHARE_MIN 2u /* of the messages of a mailbox an order has this part at least */

struct cv_order {
	int refs;
	struct cv_orders *orders; /* borrowed: who keeps it, with a reference; NULL: it was given up */
	bool whole;
	char name[CV_ORDER_NAME_MAX];
	size_t name_len;
	uint64_t asked; /* when, by orders->asked */
	uint32_t rows, count;
	uint32_t *places; /* by row: its place and one, 0 where it has none */
	char *text;
	size_t text_len;
};

static size_t octets_of(size_t rows, size_t text_len)
{
	return sizeof(struct cv_order) + rows * sizeof(uint32_t) + text_len;
}

static void release(struct cv_order *order)
{
	cv_assert(order->refs > 0);
	if (--order->refs > 0)
		return;
	cv_free(order->places);
	cv_free(order->text);
	cv_free(order);
}

/* Give up the order in a slot. */
static void drop(struct cv_orders *orders, struct cv_order **slot)
{
	struct cv_order *order = *slot;

	*slot = NULL;
	*orders->total -= octets_of(order->rows, order->text_len);
	order->orders = NULL;
	release(order);
}

void cv_orders_clear(struct cv_orders *orders)
{
	for (size_t i = 0; i < CV_ORDERS_MAX; i++)
		if (orders->items[i] != NULL)
			drop(orders, &orders->items[i]);
}

void cv_order_unref(struct cv_order **order_p)
{
	struct cv_order *order = *order_p;

	*order_p = NULL;
	if (order == NULL)
		return;
	for (size_t i = 0; order->orders != NULL && !order->whole && i < CV_ORDERS_MAX; i++) {
		if (order->orders->items[i] == order) {
			drop(order->orders, &order->orders->items[i]);
			break;
		}
	}
	release(order);
}

static struct cv_order **find(struct cv_orders *orders, struct cv_str name)
{
	for (size_t i = 0; i < CV_ORDERS_MAX; i++) {
		const struct cv_order *order = orders->items[i];

		if (order != NULL && cv_str_eq(cv_str_mem(order->name, order->name_len), name))
			return &orders->items[i];
	}
	return NULL;
}

struct cv_order *cv_order_get(const struct cv_view *view, struct cv_str name)
{
	struct cv_orders *orders = cv_memos_orders(view->mailbox, false);
	struct cv_order **slot = orders != NULL ? find(orders, name) : NULL;

	if (slot == NULL || !(*slot)->whole)
		return NULL;
	(*slot)->asked = ++orders->asked;
	(*slot)->refs++;
	return *slot;
}

uint32_t cv_order_count(const struct cv_order *order)
{
	return order->count;
}

struct cv_str cv_order_text(const struct cv_order *order)
{
	return cv_str_mem(order->text, order->text_len);
}

int cv_order_place(const struct cv_order *order, const struct cv_view *view, uint32_t seq, uint32_t *place_r)
{
	uint32_t uid, row;

	if (cv_view_find_durable(view, seq, &uid, &row) <= 0)
		return -1;
	/* Asked after that: what is made durable may move rows. */
	if (order->orders == NULL || row >= order->rows || order->places[row] == 0)
		return 0;
	*place_r = order->places[row] - 1;
	return 1;
}

/* A free slot, and room for so many octets; NULL: there is no such room. */
static struct cv_order **make_room(struct cv_orders *orders, size_t octets)
{
	for (;;) {
		struct cv_order **unused = NULL, **oldest = NULL;

		for (size_t i = 0; i < CV_ORDERS_MAX; i++) {
			if (orders->items[i] == NULL)
				unused = &orders->items[i];
			else if (oldest == NULL || orders->items[i]->asked < (*oldest)->asked)
				oldest = &orders->items[i];
		}
		if (unused != NULL && octets <= OCTETS_MAX - *orders->total)
			return unused;
		if (oldest == NULL)
			return NULL;
		drop(orders, oldest);
	}
}

struct cv_order *cv_order_new(struct cv_view *view, struct cv_str name, size_t count, struct cv_str text)
{
	const struct cv_columns *columns = view->mailbox->columns;
	size_t octets;
	struct cv_orders *orders;
	struct cv_order **slot;

	cv_assert(name.len <= CV_ORDER_NAME_MAX);
	if (columns == NULL || count == 0 || count < (columns->count - columns->dead) / SHARE_MIN || text.len > OCTETS_MAX)
		return NULL;
	octets = octets_of(columns->count, text.len);
	if (octets > OCTETS_MAX)
		return NULL;
	orders = cv_memos_orders(view->mailbox, true);
	slot = find(orders, name);
	if (slot != NULL)
		drop(orders, slot);
	slot = make_room(orders, octets);
	if (slot == NULL)
		return NULL;
	*slot = cv_new0(struct cv_order);
	(*slot)->refs = 2; /* ours and the caller's */
	(*slot)->orders = orders;
	memcpy((*slot)->name, name.ptr, name.len);
	(*slot)->name_len = name.len;
	(*slot)->asked = ++orders->asked;
	(*slot)->rows = columns->count;
	(*slot)->places = cv_calloc(columns->count, sizeof(*(*slot)->places));
	(*slot)->text = cv_malloc(text.len + 1);
	memcpy((*slot)->text, text.ptr, text.len);
	(*slot)->text_len = text.len;
	*orders->total += octets;
	return *slot;
}

void cv_order_add(struct cv_order *order, const struct cv_view *view, uint32_t seq)
{
	uint32_t row;

	if (order->orders != NULL && cv_view_find_row(view, seq, &row) && row < order->rows)
		order->places[row] = ++order->count;
}

void cv_order_keep(struct cv_order *order)
{
	order->whole = true;
}
