/* SPDX-License-Identifier: MIT
   Tickets: what front gets in place of a user, and spawner redeems. */
#ifndef CV_PROC_AUTH_TICKET_H
#define CV_PROC_AUTH_TICKET_H

#include "core/proc/messages.h"

#include <culver/buf.h>
#include <culver/loop.h>

#define AUTH_TICKET_LOGIN_MS 60000
#define AUTH_TICKET_LOOKUP_MS 600000 /* a delivery: from RCPT to the end of DATA */
#define AUTH_TICKETS_MAX 65536u

struct auth_tickets;

struct auth_tickets *auth_tickets_new(struct cv_loop *loop);
void auth_tickets_free(struct auth_tickets **tickets);
/* A new ticket for record (copied), good for service; once, or, when many, until it is too old. The oldest goes when there are too many. */
void auth_ticket_make(struct auth_tickets *tickets, struct cv_str service, struct cv_str record, bool many, uint8_t ticket_r[CV_TICKET_LEN]);
/* The record of a ticket of that kind (many as it was made) that is good for service: false when there is none, it is too old, of the other kind or for
   another service. *record_r is valid until the next call. */
bool auth_ticket_redeem(struct auth_tickets *tickets, struct cv_str ticket, struct cv_str service, bool many, struct cv_str *record_r);
size_t auth_tickets_count(const struct auth_tickets *tickets);

#endif
