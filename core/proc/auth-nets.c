/* SPDX-License-Identifier: MIT
   Addresses and networks. */
#include <config.h>

#include "core/proc/auth-nets.h"

#include <culver/log.h>

#include <arpa/inet.h>
#include <string.h>

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool auth_ip_parse(struct cv_str text, struct auth_ip *ip_r)
{
	char buf[INET6_ADDRSTRLEN];
	struct in_addr v4;

	if (text.len == 0 || text.len >= sizeof(buf) || cv_str_has_nul(text))
		return false;
	memcpy(buf, text.ptr, text.len);
	buf[text.len] = '\0';
	if (inet_pton(AF_INET6, buf, ip_r->octets) == 1)
		return true;
	if (inet_pton(AF_INET, buf, &v4) != 1)
		return false;
	memcpy(ip_r->octets, v4_prefix, sizeof(v4_prefix));
	memcpy(ip_r->octets + sizeof(v4_prefix), &v4, sizeof(v4));
	return true;
}

bool auth_ip_is_v4(const struct auth_ip *ip)
{
	return memcmp(ip->octets, v4_prefix, sizeof(v4_prefix)) == 0;
}

bool auth_ip_is_loopback(const struct auth_ip *ip)
{
	static const uint8_t v6_loopback[16] = { [15] = 1 };

	return auth_ip_is_v4(ip) ? ip->octets[12] == 127 : memcmp(ip->octets, v6_loopback, sizeof(v6_loopback)) == 0;
}

static bool same_prefix(const struct auth_ip *a, const struct auth_ip *b, uint32_t bits)
{
	size_t whole = bits / 8;
	unsigned rest = bits % 8;

	if (memcmp(a->octets, b->octets, whole) != 0)
		return false;
	return rest == 0 || (unsigned)(a->octets[whole] ^ b->octets[whole]) >> (8 - rest) == 0;
}

static int match_one(struct cv_str net, const struct auth_ip *remote, struct cv_err *err)
{
	struct cv_str address, length;
	struct auth_ip ip;
	uint32_t bits = 128, max;

	(void)cv_str_split(net, '/', &address, &length);
	if (!auth_ip_parse(address, &ip))
		return cv_err_set(err, CV_ERR_INVALID, "allow_nets: %s is no address or network", cv_log_clean(net));
	max = auth_ip_is_v4(&ip) && cv_str_find(address, ':') == SIZE_MAX ? 32 : 128;
	if (length.ptr != NULL) {
		if (!cv_str_to_u32(length, max, &bits))
			return cv_err_set(err, CV_ERR_INVALID, "allow_nets: %s has no length of 0 to %u", cv_log_clean(net), max);
		bits += 128 - max;
	}
	return remote != NULL && same_prefix(&ip, remote, bits);
}

int auth_nets_match(struct cv_str nets, struct cv_str remote, struct cv_err *err)
{
	struct auth_ip ip;
	bool has_address = auth_ip_parse(remote, &ip);
	int found = 0;

	while (nets.len > 0) {
		size_t end = 0;
		struct cv_str net;
		int ret;

		while (end < nets.len && nets.ptr[end] != ',' && !cv_is_space(nets.ptr[end]))
			end++;
		net = cv_str_sub(nets, 0, end);
		nets = cv_str_sub(nets, end + 1, SIZE_MAX);
		if (net.len == 0)
			continue;
		ret = cv_str_caseeq_c(net, "local") ? remote.len == 0 : match_one(net, has_address ? &ip : NULL, err);
		if (ret < 0)
			return -1;
		found = found || ret == 1;
	}
	return found;
}
