/* SPDX-License-Identifier: MIT
   Addresses: the passdb field allow_nets, and which addresses count as one for delays. */
#ifndef CV_PROC_AUTH_NETS_H
#define CV_PROC_AUTH_NETS_H

#include <culver/err.h>

/* An address as 16 octets, IPv4 as ::ffff:a.b.c.d. */
struct auth_ip {
	uint8_t octets[16];
};
/* From text ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"); false when it is none. */
bool auth_ip_parse(struct cv_str text, struct auth_ip *ip_r);
bool auth_ip_is_v4(const struct auth_ip *ip);
bool auth_ip_is_loopback(const struct auth_ip *ip);
/* nets: addresses and networks "192.0.2.0/24" separated by commas or spaces, and the word "local" for clients without an address. 1 remote (absent: none) is among
   them, 0 it is not, -1 nets is malformed. */
CV_MUST_CHECK int auth_nets_match(struct cv_str nets, struct cv_str remote, struct cv_err *err);

#endif
