/* SPDX-License-Identifier: MIT
   Maps, lists, growing arrays. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/buf.h>
#include <culver/map.h>

static int values[5000];

static struct cv_str key_of(struct cv_arena *arena, int n)
{
	return cv_str_c(cv_arena_printf(arena, "key %d", n));
}

static void set_get_replace_remove(void **state CV_UNUSED)
{
	struct cv_map *map = cv_map_new();

	assert_null(cv_map_get(map, CV_STR("a")));
	assert_null(cv_map_remove(map, CV_STR("a")));
	assert_null(cv_map_set(map, CV_STR("a"), &values[1]));
	assert_null(cv_map_set(map, CV_STR("a\0"), &values[2]));
	assert_null(cv_map_set(map, CV_STR(""), &values[3]));
	assert_int_equal(cv_map_count(map), 3);
	assert_ptr_equal(cv_map_get(map, CV_STR("a")), &values[1]);
	assert_ptr_equal(cv_map_get(map, CV_STR("a\0")), &values[2]);
	assert_ptr_equal(cv_map_get(map, (struct cv_str){ 0 }), &values[3]);
	assert_ptr_equal(cv_map_set(map, CV_STR("a"), &values[4]), &values[1]);
	assert_int_equal(cv_map_count(map), 3);
	assert_ptr_equal(cv_map_remove(map, CV_STR("a")), &values[4]);
	assert_null(cv_map_get(map, CV_STR("a")));
	assert_int_equal(cv_map_count(map), 2);
	expect_assert_failure(cv_map_set(map, CV_STR("n"), NULL));
	cv_map_free(&map);
	assert_null(map);
	cv_map_free(&map);
}

static void keys_are_copied(void **state CV_UNUSED)
{
	struct cv_map *map = cv_map_new();
	char key[] = "abc";

	(void)cv_map_set(map, cv_str_c(key), &values[0]);
	key[0] = 'x';
	assert_ptr_equal(cv_map_get(map, CV_STR("abc")), &values[0]);
	assert_null(cv_map_get(map, CV_STR("xbc")));
	cv_map_free(&map);
}

static void many_keys_survive_churn(void **state)
{
	struct cv_map *map = cv_map_new();
	struct cv_str key;
	size_t pos = 0;
	void *value;
	int next = 1;

	for (int i = 0; i < 5000; i++)
		assert_null(cv_map_set(map, key_of(*state, i), &values[i]));
	for (int i = 0; i < 5000; i += 2)
		assert_ptr_equal(cv_map_remove(map, key_of(*state, i)), &values[i]);
	assert_int_equal(cv_map_count(map), 2500);
	/* In order of insertion. */
	while (cv_map_next(map, &pos, &key, &value)) {
		assert_ptr_equal(value, &values[next]);
		assert_str_eq(key, key_of(*state, next));
		next += 2;
	}
	assert_int_equal(next, 5001);
	for (int i = 0; i < 5000; i++)
		assert_ptr_equal(cv_map_get(map, key_of(*state, i)), i % 2 == 1 ? &values[i] : NULL);
	/* One key in and out for long: the table must neither fill up with what was removed nor grow without end. */
	for (int i = 0; i < 20000; i++) {
		assert_null(cv_map_set(map, CV_STR("passing"), &values[0]));
		assert_ptr_equal(cv_map_remove(map, CV_STR("passing")), &values[0]);
	}
	assert_int_equal(cv_map_count(map), 2500);
	cv_map_free(&map);
}

static void entry_just_returned_may_be_removed(void **state)
{
	struct cv_map *map = cv_map_new();
	struct cv_str key;
	size_t pos = 0, seen = 0;
	void *value;

	for (int i = 0; i < 100; i++)
		(void)cv_map_set(map, key_of(*state, i), &values[i]);
	while (cv_map_next(map, &pos, &key, &value)) {
		assert_ptr_equal(value, &values[seen++]);
		assert_ptr_equal(cv_map_remove(map, key), value);
	}
	assert_int_equal(seen, 100);
	assert_int_equal(cv_map_count(map), 0);
	cv_map_free(&map);
}

struct item {
	int n;
	struct cv_node node;
};

static void list_keeps_order_and_allows_removal(void **state CV_UNUSED)
{
	struct item items[5] = { 0 };
	struct cv_node head, *node, *tmp;
	int sum = 0;

	cv_list_init(&head);
	assert_true(cv_list_empty(&head));
	for (int i = 0; i < 5; i++) {
		items[i].n = i;
		cv_list_append(&head, &items[i].node);
	}
	cv_list_foreach (&head, node, tmp) {
		struct item *item = cv_container(node, struct item, node);

		assert_int_equal(item->n, sum++);
		if (item->n % 2 == 0)
			cv_list_remove(node);
	}
	assert_int_equal(sum, 5);
	cv_list_remove(&items[0].node);
	assert_ptr_equal(head.next, &items[1].node);
	assert_ptr_equal(head.prev, &items[3].node);
	cv_list_remove(&items[1].node);
	cv_list_remove(&items[3].node);
	assert_true(cv_list_empty(&head));
}

static void vector_grows_with_zeroed_elements(void **state CV_UNUSED)
{
	CV_VEC(uint64_t) vec = { 0 };
	size_t cap = 0;

	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t *element = cv_vec_push(&vec);

		assert_true(*element == 0);
		*element = i + 1;
	}
	assert_int_equal(vec.count, 1000);
	for (uint64_t i = 0; i < 1000; i++)
		assert_true(vec.data[i] == i + 1);
	cv_vec_free(&vec);
	assert_null(vec.data);
	expect_assert_failure(cv_vec_grow(NULL, &cap, SIZE_MAX / 2, 16));
}

#ifdef CV_SANITIZE
/* What keeps a pointer over a growth is found whatever the lengths. */
static void small_things_have_no_room_to_spare(void **state CV_UNUSED)
{
	CV_VEC(uint64_t) vec = { 0 };
	struct cv_buf buf;

	cv_buf_init(&buf, SIZE_MAX);
	for (size_t i = 1; i <= 100; i++) {
		*cv_vec_push(&vec) = i;
		assert_int_equal(vec.cap, i);
		cv_buf_append(&buf, CV_STR("x"));
		assert_int_equal(buf.cap, i + 1);
	}
	cv_vec_free(&vec);
	cv_buf_deinit(&buf);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(set_get_replace_remove),
		cv_test(keys_are_copied),
		cv_test(many_keys_survive_churn),
		cv_test(entry_just_returned_may_be_removed),
		cv_test(list_keeps_order_and_allows_removal),
		cv_test(vector_grows_with_zeroed_elements),
#ifdef CV_SANITIZE
		cv_test(small_things_have_no_room_to_spare),
#endif
	};

	return cv_test_run(tests);
}
