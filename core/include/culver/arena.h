/* SPDX-License-Identifier: MIT
   Arenas: memory that is freed as a whole. Every arena has a lifetime with a name: process, session, command. */
#ifndef CV_ARENA_H
#define CV_ARENA_H

#include <culver/str.h>

struct cv_arena;

enum cv_arena_opts {
	CV_ARENA_WIPE = 1, /* memory is overwritten before it is freed: passwords, keys, SASL data */
};

/* name is a literal for debugging. A child arena is freed with its parent; parent may be NULL. */
CV_EXPORT struct cv_arena *cv_arena_new(const char *name, struct cv_arena *parent, unsigned opts);
/* Runs the cleanups and frees the children, in the reverse order of their making, frees all memory, sets *arena to NULL.
   NULL is fine. */
CV_EXPORT void cv_arena_free(struct cv_arena **arena);
/* Frees all but the arena itself, which is as new (its first block is kept). */
CV_EXPORT void cv_arena_reset(struct cv_arena *arena);
/* Zeroed, aligned for any type; never NULL. size 0 gives a valid pointer. */
CV_EXPORT void *cv_arena_alloc(struct cv_arena *arena, size_t size);
/* count * size with the overflow checked. */
CV_EXPORT void *cv_arena_calloc(struct cv_arena *arena, size_t count, size_t size);
/* Copies with a NUL behind them. */
CV_EXPORT char *cv_arena_strdup(struct cv_arena *arena, const char *s);
CV_EXPORT struct cv_str cv_arena_str(struct cv_arena *arena, struct cv_str s);
/* A C string of s, or NULL when s holds a NUL: the one way from a view to a system call. */
CV_EXPORT CV_MUST_CHECK char *cv_arena_cstr(struct cv_arena *arena, struct cv_str s);
CV_EXPORT char *cv_arena_printf(struct cv_arena *arena, const char *fmt, ...) CV_PRINTF(2, 3);
/* fn(ctx) runs when the arena is freed or reset. */
CV_EXPORT void cv_arena_cleanup(struct cv_arena *arena, void (*fn)(void *ctx), void *ctx);
/* Octets handed out since the last reset. */
CV_EXPORT size_t cv_arena_used(const struct cv_arena *arena);

#define cv_new(arena, type, count) ((type *)cv_arena_calloc((arena), (count), sizeof(type)))

#endif
