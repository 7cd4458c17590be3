/* SPDX-License-Identifier: MIT
   cv_map: hash map from octet strings to pointers; cv_list: intrusive doubly linked list; cv_vec: growing array. */
#ifndef CV_MAP_H
#define CV_MAP_H

#include <culver/str.h>

#include <string.h>

struct cv_map;

/* Keys are copied, values are borrowed. */
CV_EXPORT struct cv_map *cv_map_new(void);
CV_EXPORT void cv_map_free(struct cv_map **map);
CV_EXPORT size_t cv_map_count(const struct cv_map *map);
/* NULL when there is no such key. */
CV_EXPORT void *cv_map_get(const struct cv_map *map, struct cv_str key);
/* Returns the value that was there before, or NULL. value must not be NULL. */
CV_EXPORT void *cv_map_set(struct cv_map *map, struct cv_str key, void *value);
/* Returns the value that was removed, or NULL. */
CV_EXPORT void *cv_map_remove(struct cv_map *map, struct cv_str key);
/* Iterate: *pos starts at 0. True with *key_r and *value_r set, false at the end. In order of insertion. Removing the entry
   just returned is allowed; adding is not. */
CV_EXPORT bool cv_map_next(const struct cv_map *map, size_t *pos, struct cv_str *key_r, void **value_r);

/* Intrusive list: embed a cv_node, recover the object with cv_container. A list head is a node whose links are itself. */
struct cv_node {
	struct cv_node *prev, *next;
};
#define cv_container(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
static inline void cv_list_init(struct cv_node *head)
{
	head->prev = head->next = head;
}
static inline bool cv_list_empty(const struct cv_node *head)
{
	return head->next == head;
}
static inline void cv_list_append(struct cv_node *head, struct cv_node *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}
/* Safe on a node that is in no list when it was zeroed or removed before. */
static inline void cv_list_remove(struct cv_node *node)
{
	if (node->next == NULL)
		return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->prev = node->next = NULL;
}
/* All nodes of one list become those of `to`, in their order; `to` is initialized, `from` is empty then. */
static inline void cv_list_move(struct cv_node *to, struct cv_node *from)
{
	cv_list_init(to);
	if (cv_list_empty(from))
		return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	cv_list_init(from);
}
/* The current node may be removed in the body; its successor may not. */
#define cv_list_foreach(head, node, tmp)                                                                      \
	for ((node) = (head)->next, (tmp) = (node)->next; (node) != (head); (node) = (tmp), (tmp) = (node)->next)

/* Growing array of one type: { 0 } to start, cv_vec_free to end. Owns data. */
#define CV_VEC(type)                                                                                          \
	struct {                                                                                              \
		type *data;                                                                                   \
		size_t count, cap;                                                                            \
	}
CV_EXPORT void *cv_vec_grow(void *data, size_t *cap, size_t need, size_t size);
/* Pointer to one more, zeroed element at the end. */
#define cv_vec_push(vec)                                                                                      \
	((vec)->data = cv_vec_grow((vec)->data, &(vec)->cap, (vec)->count + 1, sizeof(*(vec)->data)),         \
		memset(&(vec)->data[(vec)->count], 0, sizeof(*(vec)->data)), &(vec)->data[(vec)->count++])
/* Room for count in all. */
#define cv_vec_reserve(vec, count)                                                                            \
	((vec)->data = cv_vec_grow((vec)->data, &(vec)->cap, count, sizeof(*(vec)->data)))
#define cv_vec_free(vec) (cv_free((vec)->data), (vec)->data = NULL, (vec)->count = (vec)->cap = 0)

#endif
