/* SPDX-License-Identifier: MIT
   Which addresses failed lately, and how often. */
#include <config.h>

#include "core/proc/auth-delay.h"

#include "core/proc/auth-nets.h"
#include <culver/map.h>

#define ADDRESSES_MAX 65536u
#define FORGET_MS (15u * 60 * 1000) /* after the last failure */
#define TOTAL_MAX_MS 15000u
#define TRIES 10                    /* names with passwords that are remembered of an address */
#define V6_OCTETS 6                 /* one customer has a /48 at most */

struct address {
	struct cv_node node; /* least recently failed first */
	uint8_t key[16];
	uint64_t failed_ms;
	unsigned failures;
	uint64_t tries[TRIES]; /* keyed hashes */
	unsigned next_try;
};

struct auth_delays {
	struct cv_loop *loop;
	struct cv_map *map;
	struct cv_node list;
};

struct auth_delays *auth_delays_new(struct cv_loop *loop)
{
	struct auth_delays *delays = cv_new0(struct auth_delays);

	delays->loop = loop;
	delays->map = cv_map_new();
	cv_list_init(&delays->list);
	return delays;
}

static void forget(struct auth_delays *delays, struct address *address)
{
	(void)cv_map_remove(delays->map, cv_str_mem(address->key, sizeof(address->key)));
	cv_list_remove(&address->node);
	cv_free(address);
}

void auth_delays_free(struct auth_delays **delays_p)
{
	struct auth_delays *delays = *delays_p;

	*delays_p = NULL;
	if (delays == NULL)
		return;
	while (!cv_list_empty(&delays->list))
		forget(delays, cv_container(delays->list.next, struct address, node));
	cv_map_free(&delays->map);
	cv_free(delays);
}

/* False for clients that are not delayed. */
static bool key_of(struct cv_str remote, struct auth_ip *key)
{
	if (!auth_ip_parse(remote, key) || auth_ip_is_loopback(key))
		return false;
	if (!auth_ip_is_v4(key))
		memset(key->octets + V6_OCTETS, 0, sizeof(key->octets) - V6_OCTETS);
	return true;
}

static struct address *find(struct auth_delays *delays, struct cv_str remote, struct auth_ip *key)
{
	struct address *address;

	if (!key_of(remote, key))
		return NULL;
	address = cv_map_get(delays->map, cv_str_mem(key->octets, sizeof(key->octets)));
	if (address != NULL && cv_loop_now_ms(delays->loop) - address->failed_ms > FORGET_MS) {
		forget(delays, address);
		address = NULL;
	}
	return address;
}

uint64_t auth_delay_before(struct auth_delays *delays, struct cv_str remote, uint64_t base_ms)
{
	struct auth_ip key;
	const struct address *address = find(delays, remote, &key);
	uint64_t total;

	if (address == NULL || base_ms == 0 || base_ms >= TOTAL_MAX_MS)
		return 0;
	total = CV_MIN(base_ms << CV_MIN(address->failures, 16), TOTAL_MAX_MS);
	return total - base_ms;
}

static uint64_t hash_try(struct cv_str user, struct cv_str secret)
{
	uint64_t parts[2] = { cv_hash(user.ptr, user.len), cv_hash(secret.ptr, secret.len) };

	return cv_hash(parts, sizeof(parts));
}

void auth_delay_failed(struct auth_delays *delays, struct cv_str remote, struct cv_str user, struct cv_str secret)
{
	struct auth_ip key;
	struct address *address = find(delays, remote, &key);
	uint64_t hash = hash_try(user, secret);

	if (!key_of(remote, &key))
		return;
	if (address == NULL) {
		if (cv_map_count(delays->map) >= ADDRESSES_MAX)
			forget(delays, cv_container(delays->list.next, struct address, node));
		address = cv_new0(struct address);
		memcpy(address->key, key.octets, sizeof(address->key));
		(void)cv_map_set(delays->map, cv_str_mem(address->key, sizeof(address->key)), address);
	}
	cv_list_remove(&address->node);
	cv_list_append(&delays->list, &address->node);
	address->failed_ms = cv_loop_now_ms(delays->loop);
	for (size_t i = 0; i < TRIES; i++)
		if (address->failures > 0 && address->tries[i] == hash)
			return;
	address->tries[address->next_try++ % TRIES] = hash;
	address->failures++;
}

void auth_delay_succeeded(struct auth_delays *delays, struct cv_str remote)
{
	struct auth_ip key;
	struct address *address = find(delays, remote, &key);

	if (address != NULL)
		forget(delays, address);
}

size_t auth_delays_count(const struct auth_delays *delays)
{
	return cv_map_count(delays->map);
}
