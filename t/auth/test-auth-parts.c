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

static struct auth_opener *opener_of(struct auth_sealer *sealer)
{
	struct cv_buf told;

	cv_buf_init_wipe(&told, 256);
	auth_sealer_tell(sealer, &told);
	struct auth_opener *opener = auth_opener_new(cv_buf_str(&told));
	assert_non_null(opener);
	/* Cut short it is no key. */
	for (size_t len = 0; len < told.len; len++)
		assert_null(auth_opener_new(cv_str_sub(cv_buf_str(&told), 0, len)));
	cv_buf_deinit(&told);
	return opener;
}

static bool opens_as(struct auth_opener *opener, uint64_t now_ms, const char *service, struct cv_str ticket, bool many, const char *expected)
{
	struct cv_buf record;

	cv_buf_init_wipe(&record, CV_TICKET_MAX);
	bool good = auth_open(opener, now_ms, cv_str_c(service), ticket, many, &record);
	if (good)
		assert_true(cv_str_eq_c(cv_buf_str(&record), expected));
	else
		assert_int_equal(record.len, 0);
	cv_buf_deinit(&record);
	return good;
}

static bool opens(struct auth_opener *opener, uint64_t now_ms, const char *service, struct cv_str ticket, const char *expected)
{
	return opens_as(opener, now_ms, service, ticket, false, expected);
}

static void sealed_ticket_is_good_for_one_service_once_and_a_minute(void **state CV_UNUSED)
{
	struct auth_sealer *sealer = auth_sealer_new(), *other = auth_sealer_new();
	struct auth_opener *opener = opener_of(sealer), *stranger = opener_of(other);
	struct cv_buf ticket;

	cv_buf_init_wipe(&ticket, CV_TICKET_MAX);
	assert_true(auth_seal(sealer, 5000, CV_STR("imap"), CV_STR("jo's record"), false, &ticket));
	struct cv_str t = cv_buf_str(&ticket);
	assert_true(t.len > CV_TICKET_LEN);
	assert_true(memmem(t.ptr, t.len, "jo's", 4) == NULL);
	assert_false(opens(stranger, 5000, "imap", t, ""));
	assert_false(opens(opener, 5000, "pop3", t, ""));
	assert_false(opens(opener, 5000 + AUTH_TICKET_LOGIN_MS, "imap", t, ""));
	/* No octet of it is anyone else's to choose, its number and time included, nor its length. */
	for (size_t i = 0; i < t.len; i++) {
		ticket.data[i] ^= 1;
		assert_false(opens(opener, 5000, "imap", t, ""));
		ticket.data[i] ^= 1;
		assert_false(opens(opener, 5000, "imap", cv_str_sub(t, 0, i), ""));
	}
	/* None of that used it up. */
	assert_true(opens(opener, 5000 + AUTH_TICKET_LOGIN_MS - 1, "imap", t, "jo's record"));
	assert_false(opens(opener, 5000, "imap", t, ""));
	cv_buf_deinit(&ticket);
	auth_opener_free(&opener);
	auth_opener_free(&stranger);
	auth_sealer_free(&sealer);
	auth_sealer_free(&other);
}

static void sealed_tickets_are_used_in_any_order_within_the_window(void **state CV_UNUSED)
{
	struct auth_sealer *sealer = auth_sealer_new();
	struct auth_opener *opener = opener_of(sealer);
	struct cv_buf tickets[6];
	/* Which of them is used when; again comes to nothing. */
	static const unsigned order[] = { 2, 0, 4, 1, 3 };

	for (size_t i = 0; i < CV_COUNT_OF(tickets); i++) {
		cv_buf_init_wipe(&tickets[i], CV_TICKET_MAX);
		if (i < CV_COUNT_OF(order))
			assert_true(auth_seal(sealer, 0, CV_STR("imap"), CV_STR("r"), false, &tickets[i]));
	}
	for (size_t i = 0; i < CV_COUNT_OF(order); i++) {
		if (order[i] == 3)
			continue;
		assert_true(opens(opener, 0, "imap", cv_buf_str(&tickets[order[i]]), "r"));
		for (size_t before = 0; before <= i; before++)
			assert_false(opens(opener, 0, "imap", cv_buf_str(&tickets[order[before]]), ""));
	}
	/* The last of so many others: what was not used by then never will be, and what was used stays so. */
	for (unsigned i = 0; i < AUTH_SEAL_WINDOW; i++) {
		cv_buf_clear(&tickets[5]);
		assert_true(auth_seal(sealer, 0, CV_STR("imap"), CV_STR("r"), false, &tickets[5]));
	}
	assert_true(opens(opener, 0, "imap", cv_buf_str(&tickets[5]), "r"));
	for (size_t i = 0; i < CV_COUNT_OF(tickets); i++) {
		assert_false(opens(opener, 0, "imap", cv_buf_str(&tickets[i]), ""));
		cv_buf_deinit(&tickets[i]);
	}
	auth_opener_free(&opener);
	auth_sealer_free(&sealer);
}

/* It cannot know which of them the one before had opened. */
static void ticket_of_before_is_nothing_to_the_next_spawner(void **state CV_UNUSED)
{
	struct auth_sealer *sealer = auth_sealer_new();
	struct cv_buf early, old, new;

	cv_buf_init_wipe(&early, CV_TICKET_MAX);
	cv_buf_init_wipe(&old, CV_TICKET_MAX);
	cv_buf_init_wipe(&new, CV_TICKET_MAX);
	assert_true(auth_seal(sealer, 0, CV_STR("imap"), CV_STR("r"), false, &early));
	struct auth_opener *first = opener_of(sealer);
	/* The first comes later than fronts may: nobody can have used that one. */
	assert_true(opens(first, 0, "imap", cv_buf_str(&early), "r"));
	assert_true(auth_seal(sealer, 0, CV_STR("imap"), CV_STR("r"), false, &old));
	struct auth_opener *second = opener_of(sealer);
	assert_true(auth_seal(sealer, 0, CV_STR("imap"), CV_STR("r"), false, &new));
	assert_false(opens(second, 0, "imap", cv_buf_str(&early), ""));
	assert_false(opens(second, 0, "imap", cv_buf_str(&old), ""));
	assert_true(opens(second, 0, "imap", cv_buf_str(&new), "r"));
	auth_opener_free(&first);
	auth_opener_free(&second);
	auth_sealer_free(&sealer);
	cv_buf_deinit(&early);
	cv_buf_deinit(&old);
	cv_buf_deinit(&new);
}

static void sealed_ticket_of_a_look_up_is_good_for_jobs_only_and_many_times(void **state CV_UNUSED)
{
	struct auth_sealer *sealer = auth_sealer_new();
	struct auth_opener *opener = opener_of(sealer);
	struct cv_buf login, lookup, again;

	cv_buf_init_wipe(&login, CV_TICKET_MAX);
	cv_buf_init_wipe(&lookup, CV_TICKET_MAX);
	cv_buf_init_wipe(&again, CV_TICKET_MAX);
	assert_true(auth_seal(sealer, 0, CV_STR("lmtp"), CV_STR("login"), false, &login));
	assert_true(auth_seal(sealer, 0, CV_STR("lmtp"), CV_STR("look-up"), true, &lookup));
	struct cv_str t = cv_buf_str(&lookup);
	assert_false(opens_as(opener, 0, "lmtp", t, false, ""));
	assert_false(opens_as(opener, 0, "lmtp", cv_buf_str(&login), true, ""));
	assert_false(opens_as(opener, 0, "urlauth", t, true, ""));
	for (size_t i = 0; i < t.len; i++) {
		lookup.data[i] ^= 1;
		assert_false(opens_as(opener, 0, "lmtp", t, true, ""));
		/* The bit that makes it one of a look-up included. */
		lookup.data[i] ^= 1 ^ (char)0x80;
		assert_false(opens_as(opener, 0, "lmtp", t, true, ""));
		assert_false(opens_as(opener, 0, "lmtp", t, false, ""));
		lookup.data[i] ^= (char)0x80;
	}
	/* However many there were: none of them makes a login's too old. */
	for (unsigned i = 0; i < AUTH_SEAL_WINDOW + 1; i++) {
		cv_buf_clear(&again);
		assert_true(auth_seal(sealer, 0, CV_STR("lmtp"), CV_STR("r"), true, &again));
	}
	assert_true(opens_as(opener, 0, "lmtp", cv_buf_str(&again), true, "r"));
	assert_true(opens_as(opener, 0, "lmtp", t, true, "look-up"));
	assert_true(opens_as(opener, AUTH_TICKET_LOOKUP_MS - 1, "lmtp", t, true, "look-up"));
	assert_false(opens_as(opener, AUTH_TICKET_LOOKUP_MS, "lmtp", t, true, ""));
	assert_true(opens(opener, 0, "lmtp", cv_buf_str(&login), "login"));
	/* The message is on its way while a spawner is started again. */
	struct auth_opener *second = opener_of(sealer);
	assert_true(opens_as(second, 0, "lmtp", t, true, "look-up"));
	cv_buf_deinit(&login);
	cv_buf_deinit(&lookup);
	cv_buf_deinit(&again);
	auth_opener_free(&opener);
	auth_opener_free(&second);
	auth_sealer_free(&sealer);
}

static void record_too_long_for_a_ticket_is_not_sealed(void **state CV_UNUSED)
{
	struct auth_sealer *sealer = auth_sealer_new();
	static const char record[CV_TICKET_MAX];
	struct cv_buf ticket;

	cv_buf_init_wipe(&ticket, CV_TICKET_MAX);
	assert_false(auth_seal(sealer, 0, CV_STR("imap"), cv_str_mem(record, sizeof(record)), false, &ticket));
	assert_int_equal(ticket.len, 0);
	assert_true(auth_seal(sealer, 0, CV_STR("imap"), cv_str_mem(record, sizeof(record) - 32), false, &ticket));
	assert_int_equal(ticket.len, CV_TICKET_MAX);
	assert_true(cv_buf_ok(&ticket));
	cv_buf_clear(&ticket);
	assert_false(auth_seal(sealer, 0, CV_STR("lmtp"), cv_str_mem(record, CV_TICKET_MANY_MAX - 31), true, &ticket));
	assert_true(auth_seal(sealer, 0, CV_STR("lmtp"), cv_str_mem(record, CV_TICKET_MANY_MAX - 32), true, &ticket));
	assert_int_equal(ticket.len, CV_TICKET_MANY_MAX);
	cv_buf_deinit(&ticket);
	auth_sealer_free(&sealer);
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
		/* What OpenSSL makes for itself at its first use stays. */
		cv_test_fds_only(sealed_ticket_is_good_for_one_service_once_and_a_minute),
		cv_test(sealed_tickets_are_used_in_any_order_within_the_window),
		cv_test(ticket_of_before_is_nothing_to_the_next_spawner),
		cv_test(sealed_ticket_of_a_look_up_is_good_for_jobs_only_and_many_times),
		cv_test(record_too_long_for_a_ticket_is_not_sealed),
		cv_test(tickets_are_bounded_and_logins_outlast_lookups),
		cv_test(ticket_of_a_lookup_starts_no_session),
		cv_test(names_that_could_be_paths_are_not_safe),
		cv_test(masks_match_any_run_and_any_one),
		cv_test(each_user_is_listed_once_and_trouble_is_told),
	};
	return cv_test_run(tests);
}
