/* SPDX-License-Identifier: MIT
   Answers of databases that are kept for a while (auth_cache_size). */
#ifndef CV_PROC_AUTH_CACHE_H
#define CV_PROC_AUTH_CACHE_H

#include <culver/auth.h>
#include <culver/loop.h>

struct auth_cache;

struct auth_cache *auth_cache_new(struct cv_loop *loop);
void auth_cache_free(struct auth_cache **cache);
/* Sizes in octets, times in ms. Smaller than before: the oldest entries go. Clears all (the databases may be other ones). */
void auth_cache_configure(struct auth_cache *cache, uint64_t size, uint64_t ttl_ms, uint64_t negative_ttl_ms);

#define AUTH_CACHE_KEY 32

/* The entry's name: a digest of the database's section and of everything in the request that a database can see (but the client's port and session id), so that
   no answer reaches a request it was not for. kind tells questions to one database apart. False: nothing is kept now. */
bool auth_cache_key(const struct auth_cache *cache, char kind, const char *database, const struct cv_auth_request *request,
	uint8_t key_r[AUTH_CACHE_KEY]);
/* True with what was kept, in the caller's encoding; empty means "no such user". Valid until the next call. expired: also what is too old, for when the database is
   away. */
bool auth_cache_get(struct auth_cache *cache, const uint8_t key[AUTH_CACHE_KEY], bool expired, struct cv_str *value_r);
void auth_cache_put(struct auth_cache *cache, const uint8_t key[AUTH_CACHE_KEY], struct cv_str value);
void auth_cache_remove(struct auth_cache *cache, const uint8_t key[AUTH_CACHE_KEY]);
/* A password under this process's own random key: equal passwords have equal marks, and a mark says nothing about its password. */
void auth_cache_mark(const struct auth_cache *cache, struct cv_str password, uint8_t mark_r[AUTH_CACHE_KEY]);
void auth_cache_clear(struct auth_cache *cache);
size_t auth_cache_count(const struct auth_cache *cache);
uint64_t auth_cache_hits(const struct auth_cache *cache);

#endif
