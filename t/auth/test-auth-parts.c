/* SPDX-License-Identifier: MIT
   The parts of auth one by one: kept answers, delays, networks, tickets, names and masks of users, the list of all users. */
#include <config.h>

#include "t/lib/test.h"

#include "core/proc/auth-nets.h"
#include "core/proc/auth-private.h"
#include "core/proc/auth-user.h"
#include <culver/map.h>

/* ---- Cache ----------------------------------------------------------------------------------------------- */

static const struct cv_auth_request jo = { .user = CV_STR_INIT("jo"), .service = CV_STR_INIT("imap"), .remote = CV_STR_INIT("192.0.2.1"),
	.session = CV_STR_INIT("S1"), .remote_port = 1000 };

static struct auth_cache *new_cache(struct cv_loop *loop, uint64_t size)
{
	struct auth_cache *cache = auth_cache_new(loop);

	auth_cache_configure(cache, size, 10000, 1000);
	return cache;
}

static void advance(struct cv_loop *loop, uint64_t ms)
{
	cv_loop_fake_advance(loop, ms);
	(void)cv_loop_once(loop, 0);
}

static void cache_key_tells_apart_what_a_database_can_see(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_cache *cache = new_cache(loop, 100000);
	uint8_t key[AUTH_CACHE_KEY], other[AUTH_CACHE_KEY];
	struct cv_auth_request changed[] = { jo, jo, jo, jo, jo, jo };

	assert_true(auth_cache_key(cache, 'p', "a", &jo, key));
	changed[0].user = CV_STR("jp");
	changed[1].service = CV_STR("pop3");
	changed[2].remote = CV_STR("192.0.2.2");
	changed[3].master_user = CV_STR("chef");
	changed[4].secured = true;
	changed[5].local_name = CV_STR("x");
	for (size_t i = 0; i < CV_COUNT_OF(changed); i++) {
		assert_true(auth_cache_key(cache, 'p', "a", &changed[i], other));
		assert_memory_not_equal(key, other, sizeof(key));
	}
	assert_true(auth_cache_key(cache, 'p', "b", &jo, other));
	assert_memory_not_equal(key, other, sizeof(key));
	assert_true(auth_cache_key(cache, 'u', "a", &jo, other));
	assert_memory_not_equal(key, other, sizeof(key));
	/* The session and the client's port are of no meaning to a database. */
	changed[0] = jo;
	changed[0].session = CV_STR("S2");
	changed[0].remote_port = 1001;
	assert_true(auth_cache_key(cache, 'p', "a", &changed[0], other));
	assert_memory_equal(key, other, sizeof(key));
	/* Off: nothing has a key. */
	auth_cache_configure(cache, 0, 10000, 1000);
	assert_false(auth_cache_key(cache, 'p', "a", &jo, key));
	auth_cache_free(&cache);
	cv_loop_free(&loop);
}

static void cache_keeps_for_its_times_and_beyond_when_asked(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_cache *cache = new_cache(loop, 100000);
	const uint8_t yes[AUTH_CACHE_KEY] = { 1 }, no[AUTH_CACHE_KEY] = { 2 };
	struct cv_str value;

	auth_cache_put(cache, yes, CV_STR("record"));
	auth_cache_put(cache, no, CV_STR(""));
	assert_true(auth_cache_get(cache, yes, false, &value));
	assert_str(value, "record");
	assert_true(auth_cache_get(cache, no, false, &value));
	assert_int_equal(value.len, 0);
	advance(loop, 1001);
	assert_true(auth_cache_get(cache, yes, false, &value));
	assert_false(auth_cache_get(cache, no, false, &value));
	advance(loop, 9000);
	assert_false(auth_cache_get(cache, yes, false, &value));
	assert_true(auth_cache_get(cache, yes, true, &value));
	assert_str(value, "record");
	auth_cache_put(cache, yes, CV_STR("newer"));
	assert_true(auth_cache_get(cache, yes, false, &value));
	assert_str(value, "newer");
	assert_int_equal(auth_cache_count(cache), 2);
	auth_cache_remove(cache, yes);
	assert_false(auth_cache_get(cache, yes, true, &value));
	auth_cache_clear(cache);
	assert_int_equal(auth_cache_count(cache), 0);
	auth_cache_free(&cache);
	cv_loop_free(&loop);
}

static void cache_drops_the_least_recently_used(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_cache *cache = new_cache(loop, 3000); /* ten entries at 256 octets and their values, and not eleven */
	uint8_t key[AUTH_CACHE_KEY] = { 0 };
	struct cv_str value;
	char big[3000];

	for (uint8_t i = 0; i < 10; i++) {
		key[0] = i;
		auth_cache_put(cache, key, CV_STR("0123456789"));
	}
	key[0] = 0;
	assert_true(auth_cache_get(cache, key, false, &value));
	for (uint8_t i = 10; i < 15; i++) {
		key[0] = i;
		auth_cache_put(cache, key, CV_STR("0123456789"));
	}
	assert_in_range(auth_cache_count(cache), 9, 11);
	key[0] = 0;
	assert_true(auth_cache_get(cache, key, false, &value));
	key[0] = 1;
	assert_false(auth_cache_get(cache, key, false, &value));
	/* What is larger than all of it is not kept, and drives nothing out. */
	memset(big, 'x', sizeof(big));
	auth_cache_put(cache, key, cv_str_mem(big, sizeof(big)));
	assert_false(auth_cache_get(cache, key, false, &value));
	assert_in_range(auth_cache_count(cache), 9, 11);
	auth_cache_free(&cache);
	cv_loop_free(&loop);
}

static void marks_are_equal_for_equal_passwords_in_one_process(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_cache *cache = new_cache(loop, 1000), *other = new_cache(loop, 1000);
	uint8_t a[AUTH_CACHE_KEY], b[AUTH_CACHE_KEY];

	auth_cache_mark(cache, CV_STR("geheim"), a);
	auth_cache_mark(cache, CV_STR("geheim"), b);
	assert_memory_equal(a, b, sizeof(a));
	auth_cache_mark(cache, CV_STR("geheim2"), b);
	assert_memory_not_equal(a, b, sizeof(a));
	auth_cache_mark(other, CV_STR("geheim"), b);
	assert_memory_not_equal(a, b, sizeof(a));
	auth_cache_free(&cache);
	auth_cache_free(&other);
	cv_loop_free(&loop);
}

/* ---- Delays ----------------------------------------------------------------------------------------------- */

static void delays_grow_by_address_and_are_forgotten(void **state CV_UNUSED)
{
	static const uint64_t wanted[] = { 2000, 6000, 13000, 13000 };
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_delays *delays = auth_delays_new(loop);
	struct cv_str ip = CV_STR("192.0.2.7");
	char secret[] = "0";

	assert_int_equal(auth_delay_before(delays, ip, 2000), 0);
	for (size_t i = 0; i < CV_COUNT_OF(wanted); i++) {
		secret[0] = (char)('0' + i);
		auth_delay_failed(delays, ip, CV_STR("jo"), cv_str_c(secret));
		assert_int_equal(auth_delay_before(delays, ip, 2000), wanted[i]);
	}
	/* One of the last tries again: a device that does not know better. */
	auth_delay_failed(delays, ip, CV_STR("jo"), CV_STR("1"));
	assert_int_equal(auth_delay_before(delays, ip, 100), 1500);
	assert_int_equal(auth_delay_before(delays, ip, 0), 0);
	/* The same address in another spelling, and another one. */
	assert_int_equal(auth_delay_before(delays, CV_STR("::ffff:192.0.2.7"), 2000), 13000);
	assert_int_equal(auth_delay_before(delays, CV_STR("192.0.2.8"), 2000), 0);
	auth_delay_succeeded(delays, ip);
	assert_int_equal(auth_delay_before(delays, ip, 2000), 0);
	auth_delay_failed(delays, ip, CV_STR("jo"), CV_STR("x"));
	advance(loop, 15 * 60 * 1000 + 1);
	assert_int_equal(auth_delay_before(delays, ip, 2000), 0);
	assert_int_equal(auth_delays_count(delays), 0);
	auth_delays_free(&delays);
	cv_loop_free(&loop);
}

static void delays_take_a_customers_ipv6_network_as_one_and_spare_loopback(void **state CV_UNUSED)
{
	static const char *const spared[] = { "127.0.0.1", "::1", "::ffff:127.0.0.1", "", "not an address" };
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_delays *delays = auth_delays_new(loop);

	auth_delay_failed(delays, CV_STR("2001:db8:1:2::3"), CV_STR("jo"), CV_STR("x"));
	assert_int_equal(auth_delay_before(delays, CV_STR("2001:db8:1:ffff::9"), 2000), 2000);
	assert_int_equal(auth_delay_before(delays, CV_STR("2001:db8:2::3"), 2000), 0);
	for (size_t i = 0; i < CV_COUNT_OF(spared); i++) {
		auth_delay_failed(delays, cv_str_c(spared[i]), CV_STR("jo"), CV_STR("x"));
		assert_int_equal(auth_delay_before(delays, cv_str_c(spared[i]), 2000), 0);
	}
	assert_int_equal(auth_delays_count(delays), 1);
	auth_delays_free(&delays);
	cv_loop_free(&loop);
}

/* ---- Networks --------------------------------------------------------------------------------------------- */

static void networks_match_as_written(void **state CV_UNUSED)
{
	static const struct {
		const char *nets, *remote;
		int result;
	} rows[] = {
		{ "192.0.2.0/24", "192.0.2.255", 1 },
		{ "192.0.2.0/24", "192.0.3.0", 0 },
		{ "192.0.2.128/25", "192.0.2.127", 0 },
		{ "192.0.2.128/25", "192.0.2.128", 1 },
		{ "192.0.2.1", "192.0.2.1", 1 },
		{ "192.0.2.1", "::ffff:192.0.2.1", 1 },
		{ "0.0.0.0/0", "198.51.100.1", 1 },
		{ "0.0.0.0/0", "2001:db8::1", 0 },
		{ "::/0", "2001:db8::1", 1 },
		{ "::ffff:192.0.2.0/120", "192.0.2.9", 1 },
		{ "2001:db8::/33", "2001:db8:8000::1", 0 },
		{ "2001:db8::/33", "2001:db8:7fff::1", 1 },
		{ "198.51.100.1, 192.0.2.0/24", "192.0.2.9", 1 },
		{ "local", "", 1 },
		{ "local", "192.0.2.1", 0 },
		{ "192.0.2.0/24", "", 0 },
		{ "", "192.0.2.1", 0 },
		{ "192.0.2.0/33", "192.0.2.1", -1 },
		{ "192.0.2.0/", "192.0.2.1", -1 },
		{ "192.0.2.0/-1", "192.0.2.1", -1 },
		{ "192.0.2", "192.0.2.1", -1 },
		{ "2001:db8::/129", "2001:db8::1", -1 },
		/* Wrong behind what matches is wrong too: it must not depend on who asks. */
		{ "192.0.2.1 nonsense", "192.0.2.1", -1 },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		int result = auth_nets_match(cv_str_c(rows[i].nets), cv_str_c(rows[i].remote), &err);

		if (result != rows[i].result)
			print_message("row %zu: %s %s\n", i, rows[i].nets, rows[i].remote);
		assert_int_equal(result, rows[i].result);
		assert_int_equal(err.code != CV_ERR_NONE, result < 0);
	}
}

/* ---- Tickets ---------------------------------------------------------------------------------------------- */

static struct cv_str id_of(const uint8_t ticket[CV_TICKET_LEN])
{
	return cv_str_mem(ticket, CV_TICKET_LEN);
}

static void tickets_are_good_for_one_service_once_and_a_minute(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_tickets *tickets = auth_tickets_new(loop);
	uint8_t a[CV_TICKET_LEN], b[CV_TICKET_LEN], many[CV_TICKET_LEN];
	struct cv_str record;

	auth_ticket_make(tickets, CV_STR("imap"), CV_STR("jo"), false, a);
	auth_ticket_make(tickets, CV_STR("imap"), CV_STR("hanna"), false, b);
	auth_ticket_make(tickets, CV_STR("lmtp"), CV_STR("tim"), true, many);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(auth_tickets_count(tickets), 3);
	/* To ask for the wrong service does not use it up. */
	assert_false(auth_ticket_redeem(tickets, id_of(a), CV_STR("pop3"), false, &record));
	assert_true(auth_ticket_redeem(tickets, id_of(a), CV_STR("imap"), false, &record));
	assert_str(record, "jo");
	assert_false(auth_ticket_redeem(tickets, id_of(a), CV_STR("imap"), false, &record));
	for (int i = 0; i < 3; i++) {
		assert_true(auth_ticket_redeem(tickets, id_of(many), CV_STR("lmtp"), true, &record));
		assert_str(record, "tim");
	}
	a[0] ^= 1;
	assert_false(auth_ticket_redeem(tickets, id_of(a), CV_STR("imap"), false, &record));
	assert_false(auth_ticket_redeem(tickets, cv_str_sub(id_of(b), 0, 15), CV_STR("imap"), false, &record));
	assert_false(auth_ticket_redeem(tickets, CV_STR(""), CV_STR("imap"), false, &record));
	advance(loop, AUTH_TICKET_LOGIN_MS);
	/* The clock alone takes it away: a record is not kept for nothing. */
	assert_int_equal(auth_tickets_count(tickets), 1);
	assert_false(auth_ticket_redeem(tickets, id_of(b), CV_STR("imap"), false, &record));
	advance(loop, AUTH_TICKET_LOOKUP_MS - AUTH_TICKET_LOGIN_MS);
	assert_int_equal(auth_tickets_count(tickets), 0);
	auth_tickets_free(&tickets);
	cv_loop_free(&loop);
}

/* A front that lies could have any user's ticket by a look-up for "imap", without a password. */
static void ticket_of_a_lookup_starts_no_session(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_tickets *tickets = auth_tickets_new(loop);
	uint8_t lookup[CV_TICKET_LEN], login[CV_TICKET_LEN];
	struct cv_str record;

	auth_ticket_make(tickets, CV_STR("imap"), CV_STR("jo"), true, lookup);
	auth_ticket_make(tickets, CV_STR("imap"), CV_STR("jo"), false, login);
	assert_false(auth_ticket_redeem(tickets, id_of(lookup), CV_STR("imap"), false, &record));
	assert_false(auth_ticket_redeem(tickets, id_of(login), CV_STR("imap"), true, &record));
	assert_true(auth_ticket_redeem(tickets, id_of(lookup), CV_STR("imap"), true, &record));
	assert_true(auth_ticket_redeem(tickets, id_of(login), CV_STR("imap"), false, &record));
	auth_tickets_free(&tickets);
	cv_loop_free(&loop);
}

static void tickets_are_bounded_and_logins_outlast_lookups(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct auth_tickets *tickets = auth_tickets_new(loop);
	uint8_t login[CV_TICKET_LEN], id[CV_TICKET_LEN];
	struct cv_str record;

	auth_ticket_make(tickets, CV_STR("imap"), CV_STR("jo"), false, login);
	for (unsigned i = 0; i < AUTH_TICKETS_MAX + 10; i++)
		auth_ticket_make(tickets, CV_STR("lmtp"), CV_STR("r"), true, id);
	assert_int_equal(auth_tickets_count(tickets), AUTH_TICKETS_MAX);
	assert_true(auth_ticket_redeem(tickets, id_of(login), CV_STR("imap"), false, &record));
	assert_true(auth_ticket_redeem(tickets, id_of(id), CV_STR("lmtp"), true, &record));
	auth_tickets_free(&tickets);
	cv_loop_free(&loop);
}

/* ---- Names and masks ---------------------------------------------------------------------------------------- */

static void names_that_could_be_paths_are_not_safe(void **state CV_UNUSED)
{
	static const char *const good[] = { "jo", "jo@example.org", "...", ".hidden", "a..b", "jo@", "j\xc3\xb6", "a@b@c" };
	static const char *const bad[] = { "", ".", "..", "a/b", "/", "@", "@example.org", "jo@..", "..@x", "a\nb", "a\x7f", "jo@." };
	char name[AUTH_USER_MAX + 2];

	for (size_t i = 0; i < CV_COUNT_OF(good); i++)
		assert_true(auth_user_is_safe(cv_str_c(good[i])));
	for (size_t i = 0; i < CV_COUNT_OF(bad); i++)
		assert_false(auth_user_is_safe(cv_str_c(bad[i])));
	assert_false(auth_user_is_safe(CV_STR("a\0b")));
	memset(name, 'x', sizeof(name));
	assert_true(auth_user_is_safe(cv_str_mem(name, AUTH_USER_MAX)));
	assert_false(auth_user_is_safe(cv_str_mem(name, AUTH_USER_MAX + 1)));
}

static void masks_match_any_run_and_any_one(void **state CV_UNUSED)
{
	static const struct {
		const char *mask, *text;
		bool match;
	} rows[] = { { "*", "", true }, { "*", "x", true }, { "", "", true }, { "", "x", false }, { "?", "", false }, { "?", "x", true },
		{ "a*b*c", "a-b-b-c", true }, { "a*b*c", "a-b-b", false }, { "**a", "bba", true }, { "JO@*", "jo@x", true },
		{ "*@example.org", "jo@example.org.evil", false }, { "a*", "ba", false } };
	static const char *const except[] = { "*@example.org", "!root@*", NULL }, *const none[] = { NULL };

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		assert_int_equal(auth_wildcard(cv_str_c(rows[i].mask), cv_str_c(rows[i].text)), rows[i].match);
	assert_true(auth_user_matches(NULL, CV_STR("jo")));
	assert_true(auth_user_matches(none, CV_STR("jo")));
	assert_true(auth_user_matches(except, CV_STR("jo@example.org")));
	assert_false(auth_user_matches(except, CV_STR("root@example.org")));
	assert_false(auth_user_matches(except, CV_STR("jo@example.com")));
}

/* ---- The list of all users ------------------------------------------------------------------------------------ */

static int iterate_some(void *db CV_UNUSED, int (*fn)(void *ctx, struct cv_str user), void *ctx, struct cv_err *err CV_UNUSED)
{
	static const char *const users[] = { "jo", "hanna", "..", "a/b", "tim" };

	for (size_t i = 0; i < CV_COUNT_OF(users); i++)
		if (fn(ctx, cv_str_c(users[i])) < 0)
			return -1;
	return 0;
}

static int iterate_others_and_fail(void *db CV_UNUSED, int (*fn)(void *ctx, struct cv_str user), void *ctx, struct cv_err *err)
{
	(void)fn(ctx, CV_STR("jo"));
	(void)fn(ctx, CV_STR("zoe"));
	return cv_err_set(err, CV_ERR_TEMP, "the rest is away");
}

struct listed {
	struct cv_buf users;
	unsigned ends;
	struct cv_err err;
};

static void on_listed(void *ctx, struct cv_str user)
{
	struct listed *listed = ctx;

	cv_buf_append(&listed->users, user);
	cv_buf_append_char(&listed->users, ' ');
}

static void on_listed_end(void *ctx, const struct cv_err *err)
{
	struct listed *listed = ctx;

	listed->ends++;
	if (err != NULL)
		listed->err = *err;
}

/* The users of the databases in order of their names; err is kept in *listed. */
static void list(struct cv_loop *loop, const struct cv_userdb *const *impls, size_t count, struct cv_str mask, struct listed *listed)
{
	struct auth_userdb dbs[3] = { 0 };
	struct auth_dbs all = { .userdbs = dbs, .userdb_count = count };
	struct auth_gen gen = { .refs = 2, .dbs = &all };
	struct auth auth = { .loop = loop, .gen = &gen };

	*listed = (struct listed){ 0 };
	cv_buf_init(&listed->users, 1000);
	for (size_t i = 0; i < count; i++) {
		dbs[i].name = impls[i]->name;
		dbs[i].impl = impls[i];
	}
	(void)auth_list_begin(&auth, mask, on_listed, on_listed_end, listed);
	assert_int_equal(listed->ends, 0); /* never from within */
	for (int i = 0; i < 3; i++)
		(void)cv_loop_once(loop, 0);
	assert_int_equal(listed->ends, 1);
	assert_int_equal(gen.refs, 2);
}

static void each_user_is_listed_once_and_trouble_is_told(void **state CV_UNUSED)
{
	static const struct cv_userdb some = { .name = "some", .iterate = iterate_some },
		others = { .name = "others", .iterate = iterate_others_and_fail }, cannot = { .name = "cannot" };
	const struct cv_userdb *const all[] = { &cannot, &some, &others };
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct listed listed;

	list(loop, all, 2, (struct cv_str){ 0 }, &listed);
	assert_str(cv_buf_str(&listed.users), "jo hanna tim ");
	assert_int_equal(listed.err.code, CV_ERR_NONE);
	cv_buf_deinit(&listed.users);
	list(loop, all, 2, CV_STR("*n*"), &listed);
	assert_str(cv_buf_str(&listed.users), "hanna ");
	cv_buf_deinit(&listed.users);
	list(loop, all, 3, (struct cv_str){ 0 }, &listed);
	assert_str(cv_buf_str(&listed.users), "jo hanna tim zoe ");
	assert_int_equal(listed.err.code, CV_ERR_TEMP);
	cv_buf_deinit(&listed.users);
	list(loop, all, 1, (struct cv_str){ 0 }, &listed);
	assert_int_equal(listed.err.code, CV_ERR_UNSUPPORTED);
	cv_buf_deinit(&listed.users);
	cv_loop_free(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(cache_key_tells_apart_what_a_database_can_see),
		cv_test(cache_keeps_for_its_times_and_beyond_when_asked),
		cv_test(cache_drops_the_least_recently_used),
		cv_test_fds_only(marks_are_equal_for_equal_passwords_in_one_process),
		cv_test(delays_grow_by_address_and_are_forgotten),
		cv_test(delays_take_a_customers_ipv6_network_as_one_and_spare_loopback),
		cv_test(networks_match_as_written),
		cv_test(tickets_are_good_for_one_service_once_and_a_minute),
		cv_test(tickets_are_bounded_and_logins_outlast_lookups),
		cv_test(ticket_of_a_lookup_starts_no_session),
		cv_test(names_that_could_be_paths_are_not_safe),
		cv_test(masks_match_any_run_and_any_one),
		cv_test(each_user_is_listed_once_and_trouble_is_told),
	};
	return cv_test_run(tests);
}
