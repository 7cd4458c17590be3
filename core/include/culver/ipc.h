/* SPDX-License-Identifier: MIT
   Messages between processes: typed, length-checked records on SOCK_SEQPACKET, with descriptors beside them. */
#ifndef CV_IPC_H
#define CV_IPC_H

#include <culver/buf.h>
#include <culver/loop.h>
#include <culver/reader.h>

#define CV_IPC_MAX_PAYLOAD 65536 /* octets; more travels in a memfd */
#define CV_IPC_MAX_FDS 8

struct cv_ipc;

/* A received message. fds are the receiver's to take: those it does not set to -1 are closed after the handler. payload points into the
   channel's buffer. */
struct cv_ipc_msg {
	uint16_t type;
	uint64_t id;           /* request and reply carry the same; the requester's choice */
	struct cv_reader payload;
	int fds[CV_IPC_MAX_FDS];
	unsigned nfds;
};

/* One row a type: what is allowed. A message that has no row, is longer, carries another number of descriptors, comes in a
   state where it is not allowed, or whose handler returns -1 (a field did not check, octets were left) closes the channel and is logged
   with the peer's name. */
struct cv_ipc_type {
	uint16_t type;
	const char *name;
	uint32_t max_len;
	uint8_t min_fds, max_fds;
	uint32_t states;       /* bit mask; the channel's state must be among them. 0: any */
	int (*handler)(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
};

/* fd becomes the channel's. peer is a literal for logs. table must live as long. closed(ctx) is called once when the peer is gone
   or broke the rules; the channel is freed by its owner, then or later. loop may be NULL: then cv_ipc_recv_wait is used. */
CV_EXPORT struct cv_ipc *cv_ipc_new(struct cv_loop *loop, int fd, const char *peer, const struct cv_ipc_type *table, size_t count,
	void (*closed)(void *ctx, struct cv_ipc *ipc), void *ctx);
CV_EXPORT void cv_ipc_free(struct cv_ipc **ipc);
CV_EXPORT void cv_ipc_set_state(struct cv_ipc *ipc, uint32_t state_bit);
CV_EXPORT int cv_ipc_fd(const struct cv_ipc *ipc);
CV_EXPORT void *cv_ipc_ctx(const struct cv_ipc *ipc);

/* Queue a message; written at once when possible, otherwise when the peer reads. fds are duplicated into the message by the kernel
   or kept (dup) until sent; the caller keeps its own. -1 when the peer reads no more, the channel is closed or more than 16 MiB wait.
   After the first, what the peer said before is still handled; then closed is called. */
CV_EXPORT CV_MUST_CHECK int cv_ipc_send(struct cv_ipc *ipc, uint16_t type, uint64_t id, struct cv_str payload, const int *fds,
	unsigned nfds);
/* Blocking receive and dispatch of one message, for helpers without a loop. 1 handled, 0 peer closed, -1 broken or timeout
   (timeout_ms -1: none). */
CV_EXPORT CV_MUST_CHECK int cv_ipc_recv_wait(struct cv_ipc *ipc, int timeout_ms);
/* A connected pair of SOCK_SEQPACKET sockets, CLOEXEC, with buffers large enough for CV_IPC_MAX_PAYLOAD. */
CV_EXPORT void cv_ipc_pair(int fds_r[2]);
/* The same for processes that may run out of descriptors: -1 with err set. */
CV_EXPORT CV_MUST_CHECK int cv_ipc_pair_try(int fds_r[2], struct cv_err *err);

/* A sealed memfd with data (F_SEAL_WRITE|SHRINK|GROW|SEAL); name for /proc. -1 with err on failure. */
CV_EXPORT CV_MUST_CHECK int cv_memfd_from(const char *name, struct cv_str data, struct cv_err *err);
/* The same step by step: an empty one (-1 with err), octets behind what it has, and its sealing. */
CV_EXPORT CV_MUST_CHECK int cv_memfd_new(const char *name, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_memfd_append(int fd, struct cv_str data, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_memfd_seal(int fd, struct cv_err *err);
/* Map a memfd that another process made: refuses one that is not fully sealed or longer than max. Unmap with cv_memfd_unmap. */
CV_EXPORT CV_MUST_CHECK int cv_memfd_map(int fd, size_t max, struct cv_str *data_r, struct cv_err *err);
CV_EXPORT void cv_memfd_unmap(struct cv_str data);

#endif
