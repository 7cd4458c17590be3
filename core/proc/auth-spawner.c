/* SPDX-License-Identifier: MIT
   Spawner's channel: tickets are redeemed, and administrators' jobs look users up. */
#include <config.h>

#include "core/proc/auth-private.h"

#include "core/proc/messages.h"
#include <culver/map.h>
#include <culver/reader.h>

struct spawner_request {
	struct cv_node node;
	struct auth_spawner *spawner;
	uint64_t id;
	struct auth_request *request; /* a look-up … */
	struct auth_list *list;       /* … or a list */
};

struct auth_spawner {
	struct auth *auth;
	struct cv_ipc *ipc;
	struct cv_node requests;
	void (*gone)(void *ctx, struct auth_spawner *spawner);
	void *ctx;
};

static void send(struct auth_spawner *spawner, enum cv_msg type, uint64_t id, struct cv_str payload)
{
	if (cv_ipc_send(spawner->ipc, (uint16_t)type, id, payload, NULL, 0) < 0)
		cv_error(NULL, "an answer to spawner could not be sent");
}

static void forget(struct spawner_request *entry)
{
	cv_list_remove(&entry->node);
	cv_free(entry);
}

static struct spawner_request *entry_new(struct auth_spawner *spawner, uint64_t id)
{
	struct spawner_request *entry = cv_new0(struct spawner_request);

	entry->spawner = spawner;
	entry->id = id;
	cv_list_append(&spawner->requests, &entry->node);
	return entry;
}

/* An answer without a user. */
static void send_no_record(struct auth_spawner *spawner, uint64_t id, enum cv_auth_result result, struct cv_str text)
{
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_u8(&out, (uint8_t)result);
	cv_put_str(&out, (struct cv_str){ 0 });
	cv_put_u32(&out, UINT32_MAX);
	cv_put_u32(&out, UINT32_MAX);
	cv_put_str(&out, (struct cv_str){ 0 });
	cv_put_str(&out, (struct cv_str){ 0 });
	cv_put_u16(&out, 0);
	cv_put_str(&out, text);
	send(spawner, CV_MSG_USER_RECORD, id, cv_buf_str(&out));
	cv_buf_deinit(&out);
}

static int on_ticket(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_spawner *spawner = ctx;
	struct cv_str ticket, service, record;
	uint8_t session;

	(void)ipc;
	if (!cv_take_str(&msg->payload, CV_TICKET_LEN, &ticket) || !cv_take_str(&msg->payload, 64, &service) || !cv_take_u8(&msg->payload, &session) ||
		!cv_reader_end(&msg->payload))
		return -1;
	if (auth_ticket_redeem(spawner->auth->tickets, ticket, service, session == 0, &record))
		send(spawner, CV_MSG_USER_RECORD, msg->id, record);
	else
		send_no_record(spawner, msg->id, CV_AUTH_NOUSER, CV_STR("the ticket is not known, too old, of another kind, or for another service"));
	return 0;
}

static void on_looked_up(void *ctx, struct auth_request *request, const struct auth_answer *answer)
{
	struct spawner_request *entry = ctx;
	struct cv_buf out;

	if (answer->kind == AUTH_ANSWER_OK) {
		cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
		auth_request_put_record(request, CV_AUTH_OK, (struct cv_str){ 0 }, &out);
		if (cv_buf_ok(&out))
			send(entry->spawner, CV_MSG_USER_RECORD, entry->id, cv_buf_str(&out));
		else
			send_no_record(entry->spawner, entry->id, CV_AUTH_TEMP, CV_STR("the user's record does not fit into a message"));
		cv_buf_deinit(&out);
	} else {
		send_no_record(entry->spawner, entry->id, answer->result, cv_str_sub(cv_str_c(auth_request_reason(request)), 0, 1024));
	}
	forget(entry);
}

static int on_userdb(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_spawner *spawner = ctx;
	struct auth_request_spec spec = { .answer = on_looked_up };
	struct spawner_request *entry;
	struct cv_str user;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 4096, &user) || !cv_take_str(&msg->payload, 64, &spec.service) || !cv_reader_end(&msg->payload))
		return -1;
	entry = entry_new(spawner, msg->id);
	spec.ctx = entry;
	entry->request = auth_lookup_begin(spawner->auth, &spec, user);
	if (entry->request == NULL) {
		forget(entry);
		send_no_record(spawner, msg->id, CV_AUTH_TEMP, CV_STR("too many requests at a time"));
	}
	return 0;
}

static void on_list_user(void *ctx, struct cv_str user)
{
	struct spawner_request *entry = ctx;
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_str(&out, user);
	if (cv_buf_ok(&out))
		send(entry->spawner, CV_MSG_USER_LIST_ROW, entry->id, cv_buf_str(&out));
	cv_buf_deinit(&out);
}

static void on_list_end(void *ctx, const struct cv_err *err)
{
	struct spawner_request *entry = ctx;
	struct cv_buf out;

	cv_buf_init(&out, 16);
	cv_put_u8(&out, err == NULL);
	send(entry->spawner, CV_MSG_USER_LIST_END, entry->id, cv_buf_str(&out));
	cv_buf_deinit(&out);
	forget(entry);
}

static int on_user_list(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_spawner *spawner = ctx;
	struct spawner_request *entry;
	struct cv_str mask;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 4096, &mask) || !cv_reader_end(&msg->payload))
		return -1;
	entry = entry_new(spawner, msg->id);
	entry->list = auth_list_begin(spawner->auth, mask, on_list_user, on_list_end, entry);
	return 0;
}

static const struct cv_ipc_type table[] = {
	{ CV_MSG_TICKET, "TICKET", 256, 0, 0, 0, on_ticket },
	{ CV_MSG_USERDB, "USERDB", 8192, 0, 0, 0, on_userdb },
	{ CV_MSG_USER_LIST, "USER_LIST", 8192, 0, 0, 0, on_user_list },
};

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct auth_spawner *spawner = ctx;

	(void)ipc;
	spawner->gone(spawner->ctx, spawner);
}

struct auth_spawner *auth_spawner_new(struct auth *auth, int fd, void (*gone)(void *ctx, struct auth_spawner *spawner), void *ctx)
{
	struct auth_spawner *spawner = cv_new0(struct auth_spawner);
	struct cv_buf out;

	spawner->auth = auth;
	spawner->gone = gone;
	spawner->ctx = ctx;
	cv_list_init(&spawner->requests);
	spawner->ipc = cv_ipc_new(auth->loop, fd, "spawner", table, CV_COUNT_OF(table), on_closed, spawner);
	cv_buf_init_wipe(&out, 256);
	auth_sealer_tell(auth->sealer, &out);
	send(spawner, CV_MSG_SEAL_KEY, 0, cv_buf_str(&out));
	cv_buf_deinit(&out);
	return spawner;
}

void auth_spawner_free(struct auth_spawner **spawner_p)
{
	struct auth_spawner *spawner = *spawner_p;

	*spawner_p = NULL;
	if (spawner == NULL)
		return;
	while (!cv_list_empty(&spawner->requests)) {
		struct spawner_request *entry = cv_container(spawner->requests.next, struct spawner_request, node);

		auth_request_abort(&entry->request);
		auth_list_abort(&entry->list);
		forget(entry);
	}
	cv_ipc_free(&spawner->ipc);
	cv_free(spawner);
}
