/* SPDX-License-Identifier: MIT
   Sealed tickets: auth makes them, spawner opens them without asking, and front, who carries them, can neither read nor make one. */
#ifndef CV_PROC_AUTH_SEAL_H
#define CV_PROC_AUTH_SEAL_H

#include "core/proc/auth-ticket.h"
#include "core/tls/seal.h"

/* A ticket that is older than so many that came to be used counts as used. */
#define AUTH_SEAL_WINDOW 65536u

/* auth's side. */
struct auth_sealer;

/* With a key of its own. */
struct auth_sealer *auth_sealer_new(void);
void auth_sealer_free(struct auth_sealer **sealer);
/* What another spawner is to know (SEAL_KEY): tickets that were made for the one before are good for none. Wiping buffer. */
void auth_sealer_tell(struct auth_sealer *sealer, struct cv_buf *out);
/* Append a ticket for record, good for service: of a login once, until AUTH_TICKET_LOGIN_MS from now_ms (monotonic); of a look-up (many) any number of times,
   until AUTH_TICKET_LOOKUP_MS. False, and nothing appended, when it would be longer than CV_TICKET_MAX, or CV_TICKET_MANY_MAX. */
bool auth_seal(struct auth_sealer *sealer, uint64_t now_ms, struct cv_str service, struct cv_str record, bool many, struct cv_buf *out);

/* The spawner's side. */
struct auth_opener;

/* From what auth told; NULL when that is malformed. */
struct auth_opener *auth_opener_new(struct cv_str told);
/* The key is wiped. */
void auth_opener_free(struct auth_opener **opener);
/* Append the record of a ticket of that kind (many as it was made). False: it was not made by this auth for this service, it is too old, of the other kind, or, that of a
   login, for another spawner, or used. */
bool auth_open(struct auth_opener *opener, uint64_t now_ms, struct cv_str service, struct cv_str ticket, bool many, struct cv_buf *record);

#endif
