/* SPDX-License-Identifier: MIT
   Arenas: memory in blocks that is freed as a whole, with cleanups and child arenas. */
#include <config.h>

#include <culver/arena.h>
#include <culver/map.h>

#include <stdio.h>
#include <string.h>

#define FIRST_BLOCK 992 /* with its header no more than malloc keeps at hand for each size (glibc: 1,032 octets), which others are searched for */
#define MAX_BLOCK 65536 /* larger requests get a block of their own */
#define ALIGN (_Alignof(max_align_t))
#ifdef CV_SANITIZE
#define KEPT_BLOCK 0 /* nothing is kept by a reset, so that use after it is seen */
#else
#define KEPT_BLOCK FIRST_BLOCK
#endif

struct block {
	struct block *next;
	size_t size, used; /* octets behind this header */
};

/* What must be undone when the arena ends: a registered cleanup, or a child arena. In order of making. */
struct undo {
	struct cv_node node;
	void (*fn)(void *ctx); /* NULL for a child */
	void *ctx;
};

struct cv_arena {
	const char *name;
	unsigned opts;
	struct block *blocks; /* newest first: only the newest has room */
	size_t next_block;
	size_t used;
	struct cv_node undos;
	struct cv_arena *parent;
	struct undo *in_parent; /* our entry in the parent's undos, or NULL */
};

static size_t align_up(size_t n)
{
	if (n > SIZE_MAX - (ALIGN - 1))
		cv_fatal("size overflow (%zu octets)", n);
	return (n + (ALIGN - 1)) & ~(ALIGN - 1);
}

/* UNSAFE: the header is padded to ALIGN, so the memory behind it is aligned for any type and lies within the block, whose
   size was checked when it was made. */
static char *block_memory(struct block *b)
{
	return (char *)b + align_up(sizeof(*b));
}

static struct block *block_new(struct cv_arena *arena, size_t size)
{
	size_t header = align_up(sizeof(struct block)), total;
	struct block *b;

	if (__builtin_add_overflow(size, header, &total))
		cv_fatal("size overflow (%zu octets for arena %s)", size, arena->name);
	b = cv_reallocarray(NULL, total, 1);
	b->size = size;
	b->used = 0;
	b->next = arena->blocks;
	arena->blocks = b;
	return b;
}

static void block_free(const struct cv_arena *arena, struct block *b)
{
	if ((arena->opts & CV_ARENA_WIPE) != 0)
		cv_wipe(block_memory(b), b->used);
	cv_free(b);
}

struct cv_arena *cv_arena_new(const char *name, struct cv_arena *parent, unsigned opts)
{
	struct cv_arena *arena = cv_new0(struct cv_arena);

	arena->name = name;
	arena->opts = opts;
	arena->parent = parent;
	arena->next_block = FIRST_BLOCK;
	cv_list_init(&arena->undos);
	if (parent != NULL) {
		/* On the heap, not in the parent: many short-lived children must not make the parent grow. */
		arena->in_parent = cv_new0(struct undo);
		arena->in_parent->ctx = arena;
		cv_list_append(&parent->undos, &arena->in_parent->node);
	}
	return arena;
}

/* Depth is that of the nesting of arenas in our own code. */
static void run_undos(struct cv_arena *arena)
{
	/* One at a time from the end: a cleanup may free a child or register another cleanup. */
	while (!cv_list_empty(&arena->undos)) {
		struct undo *undo = cv_container(arena->undos.prev, struct undo, node);

		if (undo->fn == NULL) {
			struct cv_arena *child = undo->ctx;

			cv_arena_free(&child);
		} else {
			void (*fn)(void *ctx) = undo->fn;
			void *ctx = undo->ctx;

			cv_list_remove(&undo->node);
			cv_free(undo);
			fn(ctx);
		}
	}
}

void cv_arena_free(struct cv_arena **arena_p)
{
	struct cv_arena *arena = *arena_p;

	*arena_p = NULL;
	if (arena == NULL)
		return;
	run_undos(arena);
	while (arena->blocks != NULL) {
		struct block *b = arena->blocks;

		arena->blocks = b->next;
		block_free(arena, b);
	}
	if (arena->in_parent != NULL) {
		cv_list_remove(&arena->in_parent->node);
		cv_free(arena->in_parent);
	}
	cv_free(arena);
}

void cv_arena_reset(struct cv_arena *arena)
{
	struct block *b;

	run_undos(arena);
	while ((b = arena->blocks) != NULL && (b->next != NULL || b->size > KEPT_BLOCK)) {
		arena->blocks = b->next;
		block_free(arena, b);
	}
	if (b != NULL) {
		if ((arena->opts & CV_ARENA_WIPE) != 0)
			cv_wipe(block_memory(b), b->used);
		b->used = 0;
	}
	arena->next_block = FIRST_BLOCK;
	arena->used = 0;
}

void *cv_arena_alloc(struct cv_arena *arena, size_t size)
{
	struct block *b = arena->blocks;
	size_t want = align_up(size);
	char *p;

#ifdef CV_SANITIZE
	/* A block of its own for each, of the exact size, so that the address sanitizer sees every octet too far. */
	want = size;
	b = block_new(arena, want);
#else
	if (b == NULL || want > b->size - b->used) {
		if (want > arena->next_block / 2 && want > FIRST_BLOCK) {
			/* Large: its own block, behind the one that still has room. */
			struct block *roomy = b;

			b = block_new(arena, want);
			if (roomy != NULL) {
				arena->blocks = roomy;
				b->next = roomy->next;
				roomy->next = b;
			}
		} else {
			b = block_new(arena, arena->next_block);
			if (arena->next_block < MAX_BLOCK)
				arena->next_block *= 2;
		}
	}
#endif
	p = block_memory(b) + b->used;
	b->used += want;
	arena->used += size;
	memset(p, 0, want);
	return p;
}

void *cv_arena_calloc(struct cv_arena *arena, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		cv_fatal("size overflow (%zu times %zu octets for arena %s)", count, size, arena->name);
	return cv_arena_alloc(arena, total);
}

struct cv_str cv_arena_str(struct cv_arena *arena, struct cv_str s)
{
	char *copy;

	if (s.ptr == NULL)
		return s;
	cv_assert(s.len < SIZE_MAX);
	copy = cv_arena_alloc(arena, s.len + 1);
	memcpy(copy, s.ptr, s.len);
	return (struct cv_str){ .ptr = copy, .len = s.len };
}

char *cv_arena_cstr(struct cv_arena *arena, struct cv_str s)
{
	char *copy;

	if (cv_str_has_nul(s))
		return NULL;
	cv_assert(s.len < SIZE_MAX);
	copy = cv_arena_alloc(arena, s.len + 1);
	if (s.len > 0)
		memcpy(copy, s.ptr, s.len);
	return copy;
}

char *cv_arena_strdup(struct cv_arena *arena, const char *s)
{
	size_t len = strlen(s);
	char *copy = cv_arena_alloc(arena, len + 1);

	memcpy(copy, s, len);
	return copy;
}

char *cv_arena_printf(struct cv_arena *arena, const char *fmt, ...)
{
	va_list ap;
	int len;
	char *p;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		cv_fatal("a format cannot be printed for arena %s", arena->name);
	p = cv_arena_alloc(arena, (size_t)len + 1);
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return p;
}

void cv_arena_cleanup(struct cv_arena *arena, void (*fn)(void *ctx), void *ctx)
{
	struct undo *undo = cv_new0(struct undo);

	cv_assert(fn != NULL);
	undo->fn = fn;
	undo->ctx = ctx;
	cv_list_append(&arena->undos, &undo->node);
}

size_t cv_arena_used(const struct cv_arena *arena)
{
	return arena->used;
}
