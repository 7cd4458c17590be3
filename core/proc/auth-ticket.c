/* SPDX-License-Identifier: MIT
   Tickets: random numbers that stand for a user record, for a while. */
#include <config.h>

#include "core/proc/auth-ticket.h"

#include <culver/map.h>

struct ticket {
	struct cv_node node; /* in the list of its life span, oldest first */
	uint8_t id[CV_TICKET_LEN];
	struct cv_buf service;
	struct cv_buf record; /* wiping */
	uint64_t until_ms;
	bool many;
};

struct auth_tickets {
	struct cv_loop *loop;
	struct cv_map *map;
	struct cv_node logins, lookups;
	struct cv_timer *timer;
	struct ticket *redeemed; /* taken off, kept for the caller until the next call */
};

static void ticket_free(struct ticket *ticket)
{
	cv_buf_deinit(&ticket->service);
	cv_buf_deinit(&ticket->record);
	cv_wipe(ticket->id, sizeof(ticket->id));
	cv_free(ticket);
}

static void take_off(struct auth_tickets *tickets, struct ticket *ticket)
{
	(void)cv_map_remove(tickets->map, cv_str_mem(ticket->id, sizeof(ticket->id)));
	cv_list_remove(&ticket->node);
}

static void drop_redeemed(struct auth_tickets *tickets)
{
	if (tickets->redeemed != NULL)
		ticket_free(tickets->redeemed);
	tickets->redeemed = NULL;
}

static struct ticket *first(const struct cv_node *list)
{
	return cv_list_empty(list) ? NULL : cv_container(list->next, struct ticket, node);
}

/* Take off what is too old, and wait for the next. */
static void expire(struct auth_tickets *tickets)
{
	struct cv_node *lists[] = { &tickets->logins, &tickets->lookups };
	uint64_t now = cv_loop_now_ms(tickets->loop), next = UINT64_MAX;

	for (size_t i = 0; i < CV_COUNT_OF(lists); i++) {
		struct ticket *ticket;

		while ((ticket = first(lists[i])) != NULL && ticket->until_ms <= now) {
			take_off(tickets, ticket);
			ticket_free(ticket);
		}
		if (ticket != NULL)
			next = CV_MIN(next, ticket->until_ms);
	}
	if (next != UINT64_MAX)
		cv_timer_set(tickets->timer, next - now);
}

static void on_timer(void *ctx)
{
	expire(ctx);
}

struct auth_tickets *auth_tickets_new(struct cv_loop *loop)
{
	struct auth_tickets *tickets = cv_new0(struct auth_tickets);

	tickets->loop = loop;
	tickets->map = cv_map_new();
	cv_list_init(&tickets->logins);
	cv_list_init(&tickets->lookups);
	tickets->timer = cv_timer_add(loop, 0, on_timer, tickets);
	return tickets;
}

void auth_tickets_free(struct auth_tickets **tickets_p)
{
	struct auth_tickets *tickets = *tickets_p;
	struct ticket *ticket;

	*tickets_p = NULL;
	if (tickets == NULL)
		return;
	drop_redeemed(tickets);
	while ((ticket = first(&tickets->logins)) != NULL || (ticket = first(&tickets->lookups)) != NULL) {
		take_off(tickets, ticket);
		ticket_free(ticket);
	}
	cv_map_free(&tickets->map);
	cv_timer_remove(&tickets->timer);
	cv_free(tickets);
}

void auth_ticket_make(struct auth_tickets *tickets, struct cv_str service, struct cv_str record, bool many, uint8_t ticket_r[CV_TICKET_LEN])
{
	struct ticket *ticket = cv_new0(struct ticket), *oldest;

	drop_redeemed(tickets);
	expire(tickets);
	if (cv_map_count(tickets->map) >= AUTH_TICKETS_MAX) {
		oldest = first(cv_list_empty(&tickets->lookups) ? &tickets->logins : &tickets->lookups);
		take_off(tickets, oldest);
		ticket_free(oldest);
	}
	cv_random(ticket->id, sizeof(ticket->id));
	cv_buf_init(&ticket->service, service.len + 1);
	cv_buf_append(&ticket->service, service);
	cv_buf_init_wipe(&ticket->record, record.len + 1);
	cv_buf_append(&ticket->record, record);
	ticket->many = many;
	ticket->until_ms = cv_loop_now_ms(tickets->loop) + (many ? AUTH_TICKET_LOOKUP_MS : AUTH_TICKET_LOGIN_MS);
	cv_list_append(many ? &tickets->lookups : &tickets->logins, &ticket->node);
	(void)cv_map_set(tickets->map, cv_str_mem(ticket->id, sizeof(ticket->id)), ticket);
	memcpy(ticket_r, ticket->id, sizeof(ticket->id));
	expire(tickets);
}

bool auth_ticket_redeem(struct auth_tickets *tickets, struct cv_str id, struct cv_str service, bool many, struct cv_str *record_r)
{
	struct ticket *ticket;

	drop_redeemed(tickets);
	expire(tickets);
	ticket = cv_map_get(tickets->map, id);
	if (ticket == NULL || ticket->many != many || !cv_str_eq(cv_buf_str(&ticket->service), service))
		return false;
	if (!ticket->many) {
		take_off(tickets, ticket);
		tickets->redeemed = ticket;
	}
	*record_r = cv_buf_str(&ticket->record);
	return true;
}

size_t auth_tickets_count(const struct auth_tickets *tickets)
{
	return cv_map_count(tickets->map);
}
