/* SPDX-License-Identifier: MIT
   Front's channel: logins and look-ups. Front may lie; all it can get is a ticket for a user whose password it was told, or, for a service that logs nobody in,
   a ticket for a delivery. */
#include <config.h>

#include "core/proc/auth-private.h"

#include "core/proc/messages.h"
#include <culver/map.h>
#include <culver/reader.h>

#define TEXT_MAX 1024u
#define CLIENT_ID_MAX 30u
#define NOISE_MS 60000u

struct front_request {
	struct cv_node node;
	struct auth_front *front;
	struct auth_request *request;
};

struct auth_front {
	struct auth *auth;
	struct cv_ipc *ipc;
	struct cv_map *by_id; /* u64 as octets -> struct front_request */
	struct cv_node requests;
	uint64_t said_full_ms;
	void (*gone)(void *ctx, struct auth_front *front);
	void *ctx;
};

static struct cv_str id_str(const uint64_t *id)
{
	return cv_str_mem(id, sizeof(*id));
}

static struct front_request *find(struct auth_front *front, uint64_t id)
{
	return cv_map_get(front->by_id, id_str(&id));
}

static void forget(struct front_request *entry, uint64_t id)
{
	(void)cv_map_remove(entry->front->by_id, id_str(&id));
	cv_list_remove(&entry->node);
	cv_free(entry);
}

static void send(struct auth_front *front, enum cv_msg type, uint64_t id, struct cv_buf *out)
{
	/* A front that does not read is closed by the channel; its requests go with it. */
	if (!cv_buf_ok(out) || cv_ipc_send(front->ipc, (uint16_t)type, id, cv_buf_str(out), NULL, 0) < 0)
		cv_error(NULL, "an answer to front could not be sent");
	cv_buf_deinit(out);
}

/* ---- Logins ------------------------------------------------------------------------------------------------- */

/* False: the record is too long for that. */
static bool seal_ticket(struct auth_front *front, const struct auth_request *request, struct cv_str record, bool many, struct cv_buf *out)
{
	struct cv_buf ticket;

	cv_buf_init_wipe(&ticket, CV_TICKET_MAX);
	bool sealed = auth_seal(front->auth->sealer, cv_loop_now_ms(front->auth->loop), auth_request_data(request)->service, record, many, &ticket);
	if (sealed)
		cv_put_str(out, cv_buf_str(&ticket));
	cv_buf_deinit(&ticket);
	return sealed;
}

static void make_ticket(struct auth_front *front, struct auth_request *request, bool many, struct cv_buf *out)
{
	uint8_t ticket[CV_TICKET_LEN];
	struct cv_buf record;

	cv_buf_init_wipe(&record, CV_IPC_MAX_PAYLOAD);
	auth_request_put_record(request, CV_AUTH_OK, (struct cv_str){ 0 }, &record);
	if (!cv_buf_ok(&record)) {
		/* Too many fields for a message: an empty ticket, which spawner refuses. */
		cv_error(NULL, "the record of %s does not fit into a message", cv_log_clean(auth_request_data(request)->user));
		cv_put_str(out, CV_STR(""));
	} else if (!seal_ticket(front, request, cv_buf_str(&record), many, out)) {
		auth_ticket_make(front->auth->tickets, auth_request_data(request)->service, cv_buf_str(&record), many, ticket);
		cv_put_str(out, cv_str_mem(ticket, sizeof(ticket)));
		cv_wipe(ticket, sizeof(ticket));
	}
	cv_buf_deinit(&record);
}

static void on_login(void *ctx, struct auth_request *request, const struct auth_answer *answer)
{
	struct front_request *entry = ctx;
	struct auth_front *front = entry->front;
	uint64_t id = auth_request_id(request);
	struct cv_buf out;

	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	switch (answer->kind) {
	case AUTH_ANSWER_CHALLENGE:
		cv_put_str(&out, answer->challenge);
		send(front, CV_MSG_AUTH_CHALLENGE, id, &out);
		return;
	case AUTH_ANSWER_OK:
		cv_put_str(&out, auth_request_data(request)->user);
		make_ticket(front, request, false, &out);
		send(front, CV_MSG_AUTH_OK, id, &out);
		break;
	case AUTH_ANSWER_FAIL:
		cv_put_u8(&out, (uint8_t)answer->code);
		cv_put_str(&out, answer->text);
		cv_put_str(&out, answer->host);
		cv_put_str(&out, answer->host_user);
		send(front, CV_MSG_AUTH_FAIL, id, &out);
		break;
	}
	forget(entry, id);
}

static struct front_request *entry_new(struct auth_front *front, uint64_t id)
{
	struct front_request *entry = cv_new0(struct front_request);

	entry->front = front;
	cv_list_append(&front->requests, &entry->node);
	(void)cv_map_set(front->by_id, id_str(&id), entry);
	return entry;
}

static void say_full(struct auth_front *front)
{
	uint64_t now = cv_loop_now_ms(front->auth->loop);

	if (front->said_full_ms != 0 && now - front->said_full_ms < NOISE_MS)
		return;
	front->said_full_ms = now;
	cv_warn(NULL, "too many logins and look-ups at a time: %zu of this front, %zu in all", cv_map_count(front->by_id), front->auth->request_count);
}

static void refuse(struct auth_front *front, uint64_t id)
{
	struct cv_buf out;

	say_full(front);

	cv_buf_init(&out, TEXT_MAX);
	cv_put_u8(&out, CV_ERR_TEMP);
	cv_put_str(&out, CV_STR("Too many logins at a time, try again later."));
	cv_put_str(&out, (struct cv_str){ 0 });
	cv_put_str(&out, (struct cv_str){ 0 });
	send(front, CV_MSG_AUTH_FAIL, id, &out);
}

static int on_begin(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_front *front = ctx;
	struct auth_request_spec spec = { .answer = on_login, .id = msg->id };
	struct cv_reader *r = &msg->payload;
	struct front_request *entry;
	struct cv_str initial, key, value;
	uint8_t secured, cert_valid;
	uint16_t count;

	(void)ipc;
	if (!cv_take_str(r, 64, &spec.service) || !cv_take_str(r, 64, &spec.mech) || !cv_take_str(r, AUTH_RESPONSE_MAX, &initial) ||
		!cv_take_str(r, TEXT_MAX, &spec.session) || !cv_take_str(r, TEXT_MAX, &spec.remote) || !cv_take_u32(r, &spec.remote_port) ||
		!cv_take_str(r, TEXT_MAX, &spec.local) || !cv_take_u32(r, &spec.local_port) || !cv_take_str(r, TEXT_MAX, &spec.local_name) ||
		!cv_take_u8(r, &secured) || !cv_take_u8(r, &cert_valid) || !cv_take_str(r, TEXT_MAX, &spec.cert_user) ||
		!cv_take_u16(r, &count) || count > CLIENT_ID_MAX)
		return -1;
	/* What the client calls itself is for the session's log; no database asks for it. */
	for (; count > 0; count--)
		if (!cv_take_str(r, 4096, &key) || !cv_take_str(r, 4096, &value))
			return -1;
	if (!cv_reader_end(r) || find(front, msg->id) != NULL)
		return -1;
	spec.secured = secured != 0;
	spec.cert_valid = cert_valid != 0;
	entry = entry_new(front, msg->id);
	spec.ctx = entry;
	if (cv_map_count(front->by_id) <= AUTH_FRONT_REQUESTS_MAX)
		entry->request = auth_login_begin(front->auth, &spec, initial);
	if (entry->request == NULL) {
		forget(entry, msg->id);
		refuse(front, msg->id);
	}
	return 0;
}

static int on_continue(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_front *front = ctx;
	struct front_request *entry = find(front, msg->id);
	struct cv_str response;

	(void)ipc;
	if (!cv_take_str(&msg->payload, AUTH_RESPONSE_MAX, &response) || !cv_reader_end(&msg->payload))
		return -1;
	/* One that has failed meanwhile (time ran out): its answer is on the way. */
	if (entry != NULL)
		(void)!auth_login_continue(entry->request, response);
	return 0;
}

static int on_abort(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_front *front = ctx;
	struct front_request *entry = find(front, msg->id);

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (entry != NULL) {
		auth_request_abort(&entry->request);
		forget(entry, msg->id);
	}
	return 0;
}

/* ---- Look-ups ------------------------------------------------------------------------------------------------- */

static void on_looked_up(void *ctx, struct auth_request *request, const struct auth_answer *answer)
{
	struct front_request *entry = ctx;
	uint64_t id = auth_request_id(request);
	struct cv_buf out;

	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u8(&out, (uint8_t)answer->result);
	cv_put_str(&out, auth_request_data(request)->user);
	if (answer->kind == AUTH_ANSWER_OK)
		make_ticket(entry->front, request, true, &out);
	else
		cv_put_str(&out, (struct cv_str){ 0 });
	cv_put_str(&out, answer->text);
	send(entry->front, CV_MSG_USER_REPLY, id, &out);
	forget(entry, id);
}

static int on_lookup(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_front *front = ctx;
	struct auth_request_spec spec = { .answer = on_looked_up, .id = msg->id };
	struct cv_reader *r = &msg->payload;
	struct front_request *entry;
	struct cv_str user;

	(void)ipc;
	if (!cv_take_str(r, 64, &spec.service) || !cv_take_str(r, 4096, &user) || !cv_take_str(r, TEXT_MAX, &spec.session) ||
		!cv_take_str(r, TEXT_MAX, &spec.remote) || !cv_take_str(r, TEXT_MAX, &spec.local) || !cv_reader_end(r) ||
		find(front, msg->id) != NULL)
		return -1;
	entry = entry_new(front, msg->id);
	spec.ctx = entry;
	if (cv_map_count(front->by_id) <= AUTH_FRONT_REQUESTS_MAX)
		entry->request = auth_lookup_begin(front->auth, &spec, user);
	if (entry->request == NULL) {
		struct cv_buf out;

		forget(entry, msg->id);
		say_full(front);
		cv_buf_init(&out, TEXT_MAX);
		cv_put_u8(&out, CV_AUTH_TEMP);
		cv_put_str(&out, (struct cv_str){ 0 });
		cv_put_str(&out, (struct cv_str){ 0 });
		cv_put_str(&out, (struct cv_str){ 0 });
		send(front, CV_MSG_USER_REPLY, msg->id, &out);
	}
	return 0;
}

/* ---- Channel ---------------------------------------------------------------------------------------------------- */

static const struct cv_ipc_type table[] = {
	{ CV_MSG_AUTH_BEGIN, "AUTH_BEGIN", CV_IPC_MAX_PAYLOAD, 0, 0, 0, on_begin },
	{ CV_MSG_AUTH_CONTINUE, "AUTH_CONTINUE", AUTH_RESPONSE_MAX + 4, 0, 0, 0, on_continue },
	{ CV_MSG_AUTH_ABORT, "AUTH_ABORT", 0, 0, 0, 0, on_abort },
	{ CV_MSG_USER_LOOKUP, "USER_LOOKUP", 16384, 0, 0, 0, on_lookup },
};

void auth_front_send_mechs(struct auth_front *front)
{
	const struct cv_sasl_mech *mech;
	struct cv_buf out, list;
	uint16_t count = 0;
	size_t pos = 0;

	cv_buf_init(&list, CV_IPC_MAX_PAYLOAD - 2);
	while (auth_mech_next(front->auth, &pos, &mech)) {
		cv_put_str(&list, cv_str_c(mech->name));
		cv_put_u8(&list, (uint8_t)mech->opts);
		count++;
	}
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u16(&out, count);
	cv_buf_append(&out, cv_buf_str(&list));
	cv_buf_deinit(&list);
	send(front, CV_MSG_MECHS, 0, &out);
}

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct auth_front *front = ctx;

	(void)ipc;
	front->gone(front->ctx, front);
}

struct auth_front *auth_front_new(struct auth *auth, int fd, void (*gone)(void *ctx, struct auth_front *front), void *ctx)
{
	struct auth_front *front = cv_new0(struct auth_front);

	front->auth = auth;
	front->gone = gone;
	front->ctx = ctx;
	front->by_id = cv_map_new();
	cv_list_init(&front->requests);
	front->ipc = cv_ipc_new(auth->loop, fd, "front", table, CV_COUNT_OF(table), on_closed, front);
	auth_front_send_mechs(front);
	return front;
}

void auth_front_free(struct auth_front **front_p)
{
	struct auth_front *front = *front_p;

	*front_p = NULL;
	if (front == NULL)
		return;
	while (!cv_list_empty(&front->requests)) {
		struct front_request *entry = cv_container(front->requests.next, struct front_request, node);
		uint64_t id = auth_request_id(entry->request);

		auth_request_abort(&entry->request);
		forget(entry, id);
	}
	cv_map_free(&front->by_id);
	cv_ipc_free(&front->ipc);
	cv_free(front);
}
