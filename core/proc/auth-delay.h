/* SPDX-License-Identifier: MIT
   Delays that grow with the failures of an address. */
#ifndef CV_PROC_AUTH_DELAY_H
#define CV_PROC_AUTH_DELAY_H

#include <culver/loop.h>

struct auth_delays;

struct auth_delays *auth_delays_new(struct cv_loop *loop);
void auth_delays_free(struct auth_delays **delays);
/* How long a login from remote waits before it is looked at: nothing after the first failure (its answer was late already by base_ms), then so much that the
   answers to failures come after 2, 4, 8, 15 seconds when base_ms is 2 seconds. 0 for loopback, clients without an address, and base_ms 0. */
uint64_t auth_delay_before(struct auth_delays *delays, struct cv_str remote, uint64_t base_ms);
/* A login failed. The same name and password again (a device with an old password) does not count. */
void auth_delay_failed(struct auth_delays *delays, struct cv_str remote, struct cv_str user, struct cv_str secret);
void auth_delay_succeeded(struct auth_delays *delays, struct cv_str remote);
size_t auth_delays_count(const struct auth_delays *delays);

#endif
