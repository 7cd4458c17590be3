/* SPDX-License-Identifier: MIT
   Sealed tickets: u64 number, u64 time of its end, the sealed record. The number says the kind: those of look-ups have MANY in them, and a row of their own, so that
   they move nothing in the window of logins. */
#include <config.h>

#include "core/proc/auth-seal.h"

#include <culver/reader.h>

#include <string.h>

#define HEAD_LEN 16
#define CONTEXT_MAX 256
#define MANY ((uint64_t)1 << 63)

struct auth_sealer {
	struct cv_seal *seal;
	uint8_t key[CV_SEAL_KEY_LEN];
	uint64_t next;      /* number */
	uint64_t next_many; /* without MANY */
	bool told;     /* to a spawner */
};

struct auth_opener {
	struct cv_seal *seal;
	uint64_t first;   /* number that is good */
	uint64_t highest; /* that was used; first - 1: none */
	uint64_t used[AUTH_SEAL_WINDOW / 64]; /* of the numbers up to highest, by number modulo the window */
};

struct auth_sealer *auth_sealer_new(void)
{
	struct auth_sealer *sealer = cv_new0(struct auth_sealer);

	cv_random(sealer->key, sizeof(sealer->key));
	sealer->seal = cv_seal_new(sealer->key);
	sealer->next = 1;
	return sealer;
}

void auth_sealer_free(struct auth_sealer **sealer_p)
{
	struct auth_sealer *sealer = *sealer_p;

	*sealer_p = NULL;
	if (sealer == NULL)
		return;
	cv_seal_free(&sealer->seal);
	cv_wipe(sealer->key, sizeof(sealer->key));
	cv_free(sealer);
}

void auth_sealer_tell(struct auth_sealer *sealer, struct cv_buf *out)
{
	cv_buf_append_mem(out, sealer->key, sizeof(sealer->key));
	/* No spawner can have used any of those that were made before the first came. */
	cv_put_u64(out, sealer->told ? sealer->next : 1);
	sealer->told = true;
}

/* What a ticket is good for. */
static void put_context(struct cv_buf *out, uint64_t until_ms, struct cv_str service)
{
	cv_put_u64(out, until_ms);
	cv_put_str(out, service);
}

bool auth_seal(struct auth_sealer *sealer, uint64_t now_ms, struct cv_str service, struct cv_str record, bool many, struct cv_buf *out)
{
	uint64_t until = now_ms + (many ? AUTH_TICKET_LOOKUP_MS : AUTH_TICKET_LOGIN_MS);
	uint64_t number = many ? sealer->next_many | MANY : sealer->next;
	struct cv_buf context;

	if (record.len == 0 || record.len > (many ? CV_TICKET_MANY_MAX : CV_TICKET_MAX) - HEAD_LEN - CV_SEAL_ADDS)
		return false;
	cv_buf_init(&context, CONTEXT_MAX);
	put_context(&context, until, service);
	bool good = cv_buf_ok(&context);
	if (good) {
		if (many)
			sealer->next_many++;
		else
			sealer->next++;
		cv_put_u64(out, number);
		cv_put_u64(out, until);
		cv_seal_put(sealer->seal, number, cv_buf_str(&context), record, out);
	}
	cv_buf_deinit(&context);
	return good;
}

struct auth_opener *auth_opener_new(struct cv_str told)
{
	struct cv_reader r = cv_reader_init(cv_str_sub(told, CV_SEAL_KEY_LEN, SIZE_MAX));
	struct auth_opener *opener;
	uint64_t first;

	if (told.len < CV_SEAL_KEY_LEN || !cv_take_u64(&r, &first) || !cv_reader_end(&r) || first == 0)
		return NULL;
	opener = cv_new0(struct auth_opener);
	opener->seal = cv_seal_new((const uint8_t *)told.ptr);
	opener->first = first;
	opener->highest = first - 1;
	return opener;
}

void auth_opener_free(struct auth_opener **opener_p)
{
	struct auth_opener *opener = *opener_p;

	*opener_p = NULL;
	if (opener == NULL)
		return;
	cv_seal_free(&opener->seal);
	cv_free(opener);
}

static uint64_t bit_of(uint64_t number)
{
	return (uint64_t)1 << (number % 64);
}

static uint64_t *word_of(struct auth_opener *opener, uint64_t number)
{
	return &opener->used[number % AUTH_SEAL_WINDOW / 64];
}

static bool may_be_unused(struct auth_opener *opener, uint64_t number)
{
	if (number < opener->first || (number <= opener->highest && opener->highest - number >= AUTH_SEAL_WINDOW))
		return false;
	return number > opener->highest || (*word_of(opener, number) & bit_of(number)) == 0;
}

/* number is auth's: it is behind highest by no more than there were logins whose tickets were not used. */
static void use(struct auth_opener *opener, uint64_t number)
{
	if (number > opener->highest && number - opener->highest >= AUTH_SEAL_WINDOW) {
		memset(opener->used, 0, sizeof(opener->used));
		opener->highest = number;
	}
	/* Those between were not used yet. */
	while (opener->highest < number) {
		opener->highest++;
		*word_of(opener, opener->highest) &= ~bit_of(opener->highest);
	}
	*word_of(opener, number) |= bit_of(number);
}

bool auth_open(struct auth_opener *opener, uint64_t now_ms, struct cv_str service, struct cv_str ticket, bool many, struct cv_buf *record)
{
	struct cv_reader r = cv_reader_init(ticket);
	uint64_t number, until;
	struct cv_buf context;

	if (!cv_take_u64(&r, &number) || !cv_take_u64(&r, &until) || until <= now_ms || ((number & MANY) != 0) != many ||
		(!many && !may_be_unused(opener, number)))
		return false;
	cv_buf_init(&context, CONTEXT_MAX);
	put_context(&context, until, service);
	bool good = cv_buf_ok(&context) && cv_seal_open(opener->seal, number, cv_buf_str(&context), cv_reader_rest(&r), record);
	cv_buf_deinit(&context);
	if (good && !many)
		use(opener, number);
	return good;
}
