/* SPDX-License-Identifier: MIT
   Kept answers: least recently used ones go first. */
#include <config.h>

#include "core/proc/auth-cache.h"

#include "core/proc/auth-helper.h"
#include <culver/digest.h>
#include <culver/map.h>

#define ENTRY_OVERHEAD 256u /* octets that an entry takes beside its value */

struct entry {
	struct cv_node node; /* least recently used first */
	uint8_t key[AUTH_CACHE_KEY];
	struct cv_buf value; /* wiping */
	uint64_t made_ms;
};

struct auth_cache {
	struct cv_loop *loop;
	struct cv_map *map;
	struct cv_node list;
	uint64_t size, used;
	uint64_t ttl_ms, negative_ttl_ms;
	uint64_t hits;
	uint8_t secret[32];
};

static bool sha256(struct cv_str a, struct cv_str b, uint8_t out[AUTH_CACHE_KEY])
{
	uint8_t digest[CV_DIGEST_MAX];
	size_t len = 0;

	if (cv_digest("sha256", a, b, digest, &len, NULL) < 0 || len != AUTH_CACHE_KEY)
		return false;
	memcpy(out, digest, AUTH_CACHE_KEY);
	return true;
}

static struct cv_str key_str(const uint8_t key[AUTH_CACHE_KEY])
{
	return cv_str_mem(key, AUTH_CACHE_KEY);
}

struct auth_cache *auth_cache_new(struct cv_loop *loop)
{
	struct auth_cache *cache = cv_new0(struct auth_cache);

	cache->loop = loop;
	cache->map = cv_map_new();
	cv_list_init(&cache->list);
	cv_random(cache->secret, sizeof(cache->secret));
	return cache;
}

static void drop(struct auth_cache *cache, struct entry *entry)
{
	(void)cv_map_remove(cache->map, key_str(entry->key));
	cv_list_remove(&entry->node);
	cache->used -= ENTRY_OVERHEAD + entry->value.len;
	cv_buf_deinit(&entry->value);
	cv_free(entry);
}

void auth_cache_clear(struct auth_cache *cache)
{
	while (!cv_list_empty(&cache->list))
		drop(cache, cv_container(cache->list.next, struct entry, node));
}

void auth_cache_free(struct auth_cache **cache_p)
{
	struct auth_cache *cache = *cache_p;

	*cache_p = NULL;
	if (cache == NULL)
		return;
	auth_cache_clear(cache);
	cv_map_free(&cache->map);
	cv_wipe(cache->secret, sizeof(cache->secret));
	cv_free(cache);
}

void auth_cache_configure(struct auth_cache *cache, uint64_t size, uint64_t ttl_ms, uint64_t negative_ttl_ms)
{
	auth_cache_clear(cache);
	cache->size = size;
	cache->ttl_ms = ttl_ms;
	cache->negative_ttl_ms = negative_ttl_ms;
}

bool auth_cache_key(const struct auth_cache *cache, char kind, const char *database, const struct cv_auth_request *request,
	uint8_t key_r[AUTH_CACHE_KEY])
{
	struct cv_auth_request seen = *request;
	struct cv_buf text;
	bool ok;

	if (cache->size == 0 || cache->ttl_ms == 0)
		return false;
	seen.remote_port = 0;
	seen.session = (struct cv_str){ 0 };
	cv_buf_init_wipe(&text, 4 * CV_IPC_MAX_PAYLOAD);
	cv_put_u8(&text, (uint8_t)kind);
	cv_put_str(&text, cv_str_c(database));
	cv_helper_put_request(&text, &seen);
	ok = cv_buf_ok(&text) && sha256(cv_buf_str(&text), (struct cv_str){ 0 }, key_r);
	cv_buf_deinit(&text);
	return ok;
}

bool auth_cache_get(struct auth_cache *cache, const uint8_t key[AUTH_CACHE_KEY], bool expired, struct cv_str *value_r)
{
	struct entry *entry = cv_map_get(cache->map, key_str(key));
	uint64_t age;

	if (entry == NULL)
		return false;
	age = cv_loop_now_ms(cache->loop) - entry->made_ms;
	/* It stays when it is too old: it may be needed while the database is away. */
	if (!expired && age > (entry->value.len == 0 ? cache->negative_ttl_ms : cache->ttl_ms))
		return false;
	cv_list_remove(&entry->node);
	cv_list_append(&cache->list, &entry->node);
	cache->hits++;
	*value_r = cv_buf_str(&entry->value);
	return true;
}

void auth_cache_put(struct auth_cache *cache, const uint8_t key[AUTH_CACHE_KEY], struct cv_str value)
{
	struct entry *entry;

	auth_cache_remove(cache, key);
	if (ENTRY_OVERHEAD + value.len > cache->size || (value.len == 0 && cache->negative_ttl_ms == 0))
		return;
	while (cache->used > cache->size - (ENTRY_OVERHEAD + value.len))
		drop(cache, cv_container(cache->list.next, struct entry, node));
	entry = cv_new0(struct entry);
	memcpy(entry->key, key, sizeof(entry->key));
	cv_buf_init_wipe(&entry->value, value.len + 1);
	cv_buf_append(&entry->value, value);
	entry->made_ms = cv_loop_now_ms(cache->loop);
	cache->used += ENTRY_OVERHEAD + value.len;
	cv_list_append(&cache->list, &entry->node);
	(void)cv_map_set(cache->map, key_str(entry->key), entry);
}

void auth_cache_remove(struct auth_cache *cache, const uint8_t key[AUTH_CACHE_KEY])
{
	struct entry *entry = cv_map_get(cache->map, key_str(key));

	if (entry != NULL)
		drop(cache, entry);
}

void auth_cache_mark(const struct auth_cache *cache, struct cv_str password, uint8_t mark_r[AUTH_CACHE_KEY])
{
	/* The result is never shown, so that the secret in front is a good enough key. */
	if (!sha256(cv_str_mem(cache->secret, sizeof(cache->secret)), password, mark_r))
		cv_random(mark_r, AUTH_CACHE_KEY); /* equal to no other */
}

size_t auth_cache_count(const struct auth_cache *cache)
{
	return cv_map_count(cache->map);
}

uint64_t auth_cache_hits(const struct auth_cache *cache)
{
	return cache->hits;
}
