/* SPDX-License-Identifier: MIT
   What rows of a mailbox's columns hold. */
#include <config.h>

#include "core/store/columns.h"
#include "t/lib/test.h"

#include <stdio.h>

/* A copy within a mailbox has its source's UIDL, of a pool that moves while it grows. */
static void names_of_a_row_may_be_those_of_another(void **state)
{
	struct cv_columns *columns = cv_columns_new();
	const struct cv_str ref = CV_STR("1700000000.M1P1.host:2,"), uidl = CV_STR("1700000000.M1P1.host");

	(void)state;
	cv_columns_add(columns, &(struct cv_new_row){ .uid = 1, .ref = ref, .uidl = uidl });
	for (uint32_t row = 1; row < 2000; row++) {
		cv_columns_add(columns, &(struct cv_new_row){ .uid = row + 1, .ref = cv_columns_ref(columns, row - 1), .uidl = cv_columns_uidl(columns, row - 1) });
		assert_str_eq(cv_columns_ref(columns, row), ref);
		assert_str_eq(cv_columns_uidl(columns, row), uidl);
	}
	for (uint32_t row = 0; row < 2000; row++) {
		cv_columns_set_ref(columns, row, CV_STR("another"));
		assert_str_eq(cv_columns_uidl(columns, row), uidl);
		cv_columns_set_uidl(columns, row, cv_columns_ref(columns, row));
		assert_str(cv_columns_ref(columns, row), "another");
		assert_str(cv_columns_uidl(columns, row), "another");
	}
	cv_columns_free(&columns);
}

/* A Maildir's file gets another name with each flag: those of before take no memory for good. */
static void names_of_before_are_forgotten(void **state)
{
	struct cv_columns *columns = cv_columns_new();
	char name[64];

	(void)state;
	for (uint32_t row = 0; row < 10; row++) {
		(void)snprintf(name, sizeof(name), "1700000000.M%uP1.host:2,", row);
		cv_columns_add(columns, &(struct cv_new_row){ .uid = row + 1, .ref = cv_str_c(name), .uidl = CV_STR("uidl") });
	}
	for (uint32_t i = 0; i < 100000; i++) {
		(void)snprintf(name, sizeof(name), "1700000000.M%uP1.host:2,%s", i % 10, i / 10 % 2 == 0 ? "FS" : "S");
		cv_columns_set_ref(columns, i % 10, cv_str_c(name));
		assert_str_eq(cv_columns_ref(columns, i % 10), cv_str_c(name));
	}
	assert_in_range(columns->pool.len, 10 * 30, 200 << 10);
	for (uint32_t row = 0; row < 10; row++) {
		(void)snprintf(name, sizeof(name), "1700000000.M%uP1.host:2,S", row);
		assert_str_eq(cv_columns_ref(columns, row), cv_str_c(name));
		assert_str(cv_columns_uidl(columns, row), "uidl");
	}
	cv_columns_free(&columns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(names_of_a_row_may_be_those_of_another),
		cv_test(names_of_before_are_forgotten),
	};

	return cv_test_run(tests);
}
