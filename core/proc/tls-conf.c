/* SPDX-License-Identifier: MIT
   Certificates and TLS parameters on their way from the settings to front: one set (profile) for each protocol and local address that has
   settings of its own. */
#include "core/proc/tls-conf.h"

#include "core/proc/login-private.h"
#include "core/proc/master.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <culver/protocol.h>

#define FORMAT 1u
#define PROFILES_MAX 4096u
#define PAIRS_MAX 65536u
#define FILE_MAX (1024 * 1024)

/* ---- Master: making it ----------------------------------------------------------------------------------------------- */

struct build {
	const struct master_conf *mc;
	struct cv_arena *arena; /* wiping */
	CV_VEC(struct cv_str) tried; /* what put_context wrote of contexts that the TLS library took */
	bool fresh;
	struct cv_err *err;
};

static int read_file(struct build *b, const char *path, struct cv_str *out)
{
	struct cv_buf buf;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int result = 0;

	if (fd < 0)
		return cv_err_sys(b->err, errno, "%s", path);
	cv_buf_init_wipe(&buf, FILE_MAX);
	for (;;) {
		char *room = cv_buf_reserve(&buf, 16384);
		if (room == NULL) {
			result = cv_err_set(b->err, CV_ERR_LIMIT, "%s: longer than %d octets", path, FILE_MAX);
			break;
		}
		ssize_t n = read(fd, room, 16384);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			result = cv_err_sys(b->err, errno, "%s", path);
		if (n <= 0)
			break;
		cv_buf_commit(&buf, (size_t)n);
	}
	(void)close(fd);
	if (result == 0)
		*out = cv_arena_str(b->arena, cv_buf_str(&buf));
	cv_buf_deinit(&buf);
	return result;
}

/* The value as it was read with the settings, or what its file holds now. */
static int value(struct build *b, const struct cv_conf_filter *filter, const char *key, const char *text, struct cv_str *out)
{
	const char *path = b->fresh ? cv_conf_value_path(b->mc->conf, key, filter) : NULL;

	if (path != NULL)
		return read_file(b, path, out);
	*out = cv_str_c(text);
	return 0;
}

static int get_ssl(struct build *b, const struct cv_conf_filter *filter, const struct cv_ssl_settings **ssl_r)
{
	const void *set;

	if (cv_conf_get(b->mc->conf, &cv_ssl_settings_table, filter, b->arena, &set, b->err) < 0)
		return -1;
	*ssl_r = set;
	return 0;
}

static int get_pair(struct build *b, const struct cv_conf_filter *filter, const struct cv_ssl_settings *ssl, struct cv_tls_pair *pair)
{
	if (value(b, filter, "ssl_cert", ssl->ssl_cert, &pair->cert) < 0 || value(b, filter, "ssl_key", ssl->ssl_key, &pair->key) < 0 ||
		value(b, filter, "ssl_alt_cert", ssl->ssl_alt_cert, &pair->alt_cert) < 0 ||
		value(b, filter, "ssl_alt_key", ssl->ssl_alt_key, &pair->alt_key) < 0)
		return -1;
	pair->key_password = cv_str_c(ssl->ssl_key_password);
	return 0;
}

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32": the address part in out. */
static bool is_address(const char *name, char out[INET6_ADDRSTRLEN])
{
	unsigned char raw[16];
	size_t len = strcspn(name, "/");

	if (len >= INET6_ADDRSTRLEN)
		return false;
	memcpy(out, name, len);
	out[len] = '\0';
	return inet_pton(AF_INET, out, raw) == 1 || inet_pton(AF_INET6, out, raw) == 1;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_list(const char *const *a, const char *const *b)
{
	size_t i = 0;

	if (a == NULL || b == NULL)
		return (a == NULL || a[0] == NULL) && (b == NULL || b[0] == NULL);
	while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] == NULL && b[i] == NULL;
}

/* The first setting but certificates and keys in which the two differ; NULL: none. `ssl` itself counts at login. */
static const char *other_than_pair(const struct cv_ssl_settings *a, const struct cv_ssl_settings *b)
{
	const struct {
		const char *key;
		bool same;
	} rows[] = {
		{ "ssl_ca", same(a->ssl_ca, b->ssl_ca) },
		{ "ssl_dh", same(a->ssl_dh, b->ssl_dh) },
		{ "ssl_min_protocol", a->ssl_min_protocol == b->ssl_min_protocol },
		{ "ssl_cipher_list", same(a->ssl_cipher_list, b->ssl_cipher_list) },
		{ "ssl_cipher_suites", same(a->ssl_cipher_suites, b->ssl_cipher_suites) },
		{ "ssl_curve_list", same(a->ssl_curve_list, b->ssl_curve_list) },
		{ "ssl_prefer_server_ciphers", a->ssl_prefer_server_ciphers == b->ssl_prefer_server_ciphers },
		{ "ssl_options", same_list(a->ssl_options, b->ssl_options) },
		{ "ssl_verify_client_cert", a->ssl_verify_client_cert == b->ssl_verify_client_cert },
		{ "ssl_require_crl", a->ssl_require_crl == b->ssl_require_crl },
		{ "ssl_cert_username_field", same(a->ssl_cert_username_field, b->ssl_cert_username_field) },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		if (!rows[i].same)
			return rows[i].key;
	}
	return NULL;
}

/* [local NAME] sections with a certificate of their own. */
static int sni_pairs(struct build *b, const char *protocol, const char *addr, const struct cv_ssl_settings *base, struct tls_profile *profile)
{
	const char *name;
	char ignored[INET6_ADDRSTRLEN];

	for (size_t pos = 0; cv_conf_section_next(b->mc->conf, "local", &pos, &name);) {
		struct cv_conf_filter filter = { .protocol = protocol, .local_name = cv_str_c(name), .local_addr = addr };
		const struct cv_ssl_settings *ssl;
		if (is_address(name, ignored))
			continue;
		if (get_ssl(b, &filter, &ssl) < 0)
			return -1;
		/* The name is known when all else of the handshake is settled. */
		const char *other = other_than_pair(ssl, base);
		if (other != NULL)
			return cv_err_set(b->err, CV_ERR_INVALID, "%s has no effect in [local %s]: by name only certificates are chosen, use the top, [protocol] or [local ADDRESS]",
				other, name);
		if (same(ssl->ssl_cert, base->ssl_cert) && same(ssl->ssl_key, base->ssl_key))
			continue;
		struct cv_tls_pair *pair = cv_vec_push(&profile->pairs);
		pair->name = cv_str_c(name);
		if (get_pair(b, &filter, ssl, pair) < 0)
			return cv_err_context(b->err, "[local %s]", name);
	}
	return 0;
}

/* The certificate is sent before anything else could depend on who asks. */
static int check_remotes(struct build *b, const char *protocol)
{
	struct cv_conf_filter plain = { .protocol = protocol };
	const struct cv_ssl_settings *base, *ssl;
	const char *name;

	if (get_ssl(b, &plain, &base) < 0)
		return -1;
	for (size_t pos = 0; cv_conf_section_next(b->mc->conf, "remote", &pos, &name);) {
		struct cv_str addr, bits;
		(void)cv_str_split(cv_str_c(name), '/', &addr, &bits);
		struct cv_conf_filter filter = { .protocol = protocol, .remote_addr = cv_arena_cstr(b->arena, addr) };
		if (get_ssl(b, &filter, &ssl) < 0)
			return -1;
		const char *other = other_than_pair(ssl, base);
		if (other == NULL && !(same(ssl->ssl_cert, base->ssl_cert) && same(ssl->ssl_key, base->ssl_key) &&
					     same(ssl->ssl_alt_cert, base->ssl_alt_cert) && same(ssl->ssl_alt_key, base->ssl_alt_key)))
			other = "ssl_cert";
		if (other != NULL)
			return cv_err_set(b->err, CV_ERR_INVALID, "%s has no effect in [remote %s]: use the top, [protocol] or [local] sections", other, name);
	}
	return 0;
}

static const char *alpn_of(const struct cv_registry *front, const char *protocol)
{
	const struct cv_login_protocol *p = front != NULL ? cv_provider_get(front, CV_CAP_LOGIN, protocol) : NULL;

	return p != NULL ? p->alpn : NULL;
}

/* 1: made, 0: this protocol has no TLS here, -1. */
static int make_profile(struct build *b, const char *protocol, const char *local, const char *addr, struct tls_profile *profile)
{
	struct cv_conf_filter filter = { .protocol = protocol, .local_addr = addr };
	const struct cv_ssl_settings *ssl;

	if (get_ssl(b, &filter, &ssl) < 0)
		return -1;
	if (ssl->ssl == CV_SSL_NO)
		return 0;
	if (ssl->ssl_cert == NULL || ssl->ssl_key == NULL)
		return cv_err_set(b->err, CV_ERR_INVALID, "%s: ssl is on, but %s is not set: name a certificate and its key, or say ssl = no", protocol,
			ssl->ssl_cert == NULL ? "ssl_cert" : "ssl_key");
	profile->protocol = cv_str_c(protocol);
	profile->local = cv_str_c(local);
	struct cv_tls_pair *pair = cv_vec_push(&profile->pairs);
	if (get_pair(b, &filter, ssl, pair) < 0 || value(b, &filter, "ssl_ca", ssl->ssl_ca, &profile->ca) < 0 ||
		value(b, &filter, "ssl_dh", ssl->ssl_dh, &profile->dh) < 0 || sni_pairs(b, protocol, addr, ssl, profile) < 0)
		return -1;
	profile->min_protocol = cv_ssl_protocols[ssl->ssl_min_protocol];
	profile->cipher_list = ssl->ssl_cipher_list;
	profile->cipher_suites = ssl->ssl_cipher_suites;
	profile->curve_list = ssl->ssl_curve_list;
	profile->prefer_server_ciphers = ssl->ssl_prefer_server_ciphers;
	profile->verify_client_cert = ssl->ssl_verify_client_cert;
	profile->require_crl = ssl->ssl_require_crl;
	profile->cert_username_field = ssl->ssl_cert_username_field;
	for (size_t i = 0; ssl->ssl_options != NULL && ssl->ssl_options[i] != NULL; i++)
		profile->tickets_off |= strcmp(ssl->ssl_options[i], "no_ticket") == 0;
	return 1;
}

static void put_c(struct cv_buf *out, const char *s)
{
	cv_put_str(out, cv_str_c(s));
}

/* All but whose it is. */
static void put_context(struct cv_buf *out, const struct tls_profile *p)
{
	cv_put_u32(out, (uint32_t)p->pairs.count);
	for (size_t i = 0; i < p->pairs.count; i++) {
		const struct cv_tls_pair *pair = &p->pairs.data[i];
		cv_put_str(out, pair->name);
		cv_put_str(out, pair->cert);
		cv_put_str(out, pair->key);
		cv_put_str(out, pair->key_password);
		cv_put_str(out, pair->alt_cert);
		cv_put_str(out, pair->alt_key);
	}
	cv_put_str(out, p->ca);
	cv_put_str(out, p->dh);
	put_c(out, p->min_protocol);
	put_c(out, p->cipher_list);
	put_c(out, p->cipher_suites);
	put_c(out, p->curve_list);
	cv_put_u8(out, p->prefer_server_ciphers);
	cv_put_u8(out, p->verify_client_cert);
	cv_put_u8(out, p->require_crl);
	cv_put_u8(out, p->tickets_off);
	put_c(out, p->cert_username_field);
}

/* See that the TLS library takes it: context is what put_context wrote of it. Protocols mostly have the same, which takes a millisecond to make. */
static int try_profile(struct build *b, const struct tls_profile *profile, struct cv_str context)
{
	struct cv_tls_ctx *ctx = NULL;

	for (size_t i = 0; i < b->tried.count; i++) {
		if (cv_str_eq(b->tried.data[i], context))
			return 0;
	}
	if (tls_profile_ctx(profile, NULL, &ctx, b->err) < 0)
		return -1;
	cv_tls_ctx_unref(&ctx);
	*cv_vec_push(&b->tried) = cv_arena_str(b->arena, context);
	return 0;
}

static int too_large(struct build *b, size_t max)
{
	return cv_err_set(b->err, CV_ERR_LIMIT, "the certificates are larger than %zu octets together", max);
}

/* One profile: made, tried, written. 1: written. */
static int add_profile(struct build *b, const char *protocol, const char *local, const char *addr, struct cv_buf *out)
{
	struct tls_profile profile = { 0 };
	struct cv_buf context;
	int result = make_profile(b, protocol, local, addr, &profile);

	cv_buf_init_wipe(&context, out->max);
	if (result == 1) {
		put_context(&context, &profile);
		if (!cv_buf_ok(&context))
			result = too_large(b, out->max);
		else if (try_profile(b, &profile, cv_buf_str(&context)) < 0)
			result = local != NULL ? cv_err_context(b->err, "[local %s]", local) : -1;
		cv_put_str(out, profile.protocol);
		cv_put_str(out, profile.local);
		cv_buf_append(out, cv_buf_str(&context));
	}
	cv_buf_deinit(&context);
	cv_vec_free(&profile.pairs);
	return result;
}

static int add_protocol(struct build *b, const char *protocol, struct cv_buf *out, uint32_t *count)
{
	const char *name;
	char addr[INET6_ADDRSTRLEN];
	int result = check_remotes(b, protocol) < 0 ? -1 : add_profile(b, protocol, NULL, NULL, out);

	*count += result > 0;
	for (size_t pos = 0; result >= 0 && cv_conf_section_next(b->mc->conf, "local", &pos, &name);) {
		if (!is_address(name, addr))
			continue;
		result = add_profile(b, protocol, name, addr, out);
		*count += result > 0;
	}
	return result < 0 ? -1 : 0;
}

/* A listener that speaks TLS from the start, of a protocol that may not. */
static const struct listener_want *tls_listener(const struct master_conf *mc, const char *protocol)
{
	for (size_t i = 0; i < mc->listeners.count; i++) {
		if (mc->listeners.data[i].tls && strcmp(mc->listeners.data[i].protocol, protocol) == 0)
			return &mc->listeners.data[i];
	}
	return NULL;
}

int tls_conf_build(const struct master_conf *mc, bool fresh, struct cv_buf *out, struct cv_err *err)
{
	struct build b = { .mc = mc, .arena = cv_arena_new("TLS settings", NULL, CV_ARENA_WIPE), .fresh = fresh, .err = err };
	struct cv_buf body;
	uint32_t count = 0;
	int result = 0;

	cv_buf_init_wipe(&body, out->max);
	/* Each protocol once, and only those that take TCP connections. */
	for (size_t i = 0; i < mc->listeners.count && result == 0; i++) {
		const struct listener_want *want = &mc->listeners.data[i];
		bool seen = want->path != NULL;
		for (size_t j = 0; j < i && !seen; j++)
			seen = mc->listeners.data[j].path == NULL && strcmp(mc->listeners.data[j].protocol, want->protocol) == 0;
		if (seen)
			continue;
		uint32_t before = count;
		result = add_protocol(&b, want->protocol, &body, &count);
		const struct listener_want *tls = count == before ? tls_listener(mc, want->protocol) : NULL;
		if (result == 0 && tls != NULL)
			result = cv_err_set(err, CV_ERR_INVALID, "[listener %s]: ssl = yes, but for protocol %s the setting says ssl = no", tls->name,
				tls->protocol);
	}
	cv_put_u32(out, FORMAT);
	cv_put_u32(out, count);
	cv_buf_append(out, cv_buf_str(&body));
	if (result == 0 && (!cv_buf_ok(&body) || !cv_buf_ok(out)))
		result = too_large(&b, out->max);
	cv_buf_deinit(&body);
	cv_vec_free(&b.tried);
	cv_arena_free(&b.arena);
	return result;
}

const char *const *tls_conf_files(const struct master_conf *mc, struct cv_arena *arena)
{
	static const char *const keys[] = { "ssl_cert", "ssl_key", "ssl_alt_cert", "ssl_alt_key", "ssl_ca", "ssl_dh" };
	CV_VEC(const char *) files = { 0 };
	struct cv_conf_file file;

	for (size_t section = 0, pos = 0; cv_conf_file_next(mc->conf, &section, &pos, &file);) {
		for (size_t i = 0; i < CV_COUNT_OF(keys); i++) {
			if (strcmp(file.key, keys[i]) == 0)
				*cv_vec_push(&files) = file.path;
		}
	}
	const char **names = cv_new(arena, const char *, files.count + 1);
	for (size_t i = 0; i < files.count; i++)
		names[i] = files.data[i];
	cv_vec_free(&files);
	return names;
}

/* ---- Front: reading it ---------------------------------------------------------------------------------------------------- */

static bool take_c(struct cv_reader *r, struct cv_arena *arena, const char **out)
{
	struct cv_str s;

	if (!cv_take_str(r, FILE_MAX, &s))
		return false;
	*out = s.ptr != NULL ? cv_arena_cstr(arena, s) : NULL;
	return s.ptr == NULL || *out != NULL;
}

static bool take_bool(struct cv_reader *r, bool *out)
{
	uint8_t n;

	if (!cv_take_u8(r, &n))
		return false;
	*out = n != 0;
	return true;
}

static bool take_profile(struct cv_reader *r, struct cv_arena *arena, struct tls_profile *p)
{
	uint32_t count;

	if (!cv_take_str(r, 255, &p->protocol) || !cv_take_str(r, 255, &p->local) || !cv_take_u32(r, &count) || count > PAIRS_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		struct cv_tls_pair *pair = cv_vec_push(&p->pairs);
		if (!cv_take_str(r, 255, &pair->name) || !cv_take_str(r, FILE_MAX, &pair->cert) || !cv_take_str(r, FILE_MAX, &pair->key) ||
			!cv_take_str(r, FILE_MAX, &pair->key_password) || !cv_take_str(r, FILE_MAX, &pair->alt_cert) ||
			!cv_take_str(r, FILE_MAX, &pair->alt_key))
			return false;
	}
	return cv_take_str(r, FILE_MAX, &p->ca) && cv_take_str(r, FILE_MAX, &p->dh) && take_c(r, arena, &p->min_protocol) &&
		take_c(r, arena, &p->cipher_list) && take_c(r, arena, &p->cipher_suites) && take_c(r, arena, &p->curve_list) &&
		take_bool(r, &p->prefer_server_ciphers) && take_bool(r, &p->verify_client_cert) && take_bool(r, &p->require_crl) &&
		take_bool(r, &p->tickets_off) && take_c(r, arena, &p->cert_username_field);
}

int tls_profile_ctx(const struct tls_profile *p, const char *alpn, struct cv_tls_ctx **ctx_r, struct cv_err *err)
{
	struct cv_tls_config config = {
		.pairs = p->pairs.data,
		.pair_count = p->pairs.count,
		.ca = p->ca,
		.dh = p->dh,
		.min_protocol = p->min_protocol,
		.cipher_list = p->cipher_list,
		.cipher_suites = p->cipher_suites,
		.curve_list = p->curve_list,
		.prefer_server_ciphers = p->prefer_server_ciphers,
		.verify_client_cert = p->verify_client_cert,
		.require_crl = p->require_crl,
		.alpn = alpn,
		.cert_username_field = p->cert_username_field,
		.tickets_off = p->tickets_off,
	};

	return cv_tls_ctx_new(&config, ctx_r, err);
}

int tls_set_read(struct cv_str data, const struct cv_registry *front, struct tls_set **set_r, struct cv_err *err)
{
	struct tls_set *set = cv_new0(struct tls_set);
	struct cv_arena *arena = cv_arena_new("TLS", NULL, CV_ARENA_WIPE);
	struct cv_reader r = cv_reader_init(data);
	uint32_t format, count;
	int result = 0;

	set->refs = 1;
	if (!cv_take_u32(&r, &format) || format != FORMAT || !cv_take_u32(&r, &count) || count > PROFILES_MAX)
		result = cv_err_set(err, CV_ERR_INTERNAL, "TLS settings from the master are not understood");
	for (uint32_t i = 0; result == 0 && i < count; i++) {
		struct tls_profile p = { 0 };
		if (!take_profile(&r, arena, &p)) {
			result = cv_err_set(err, CV_ERR_INTERNAL, "TLS settings from the master end early");
		} else {
			struct tls_set_entry *entry = cv_vec_push(&set->entries);
			entry->protocol = cv_strdup(cv_arena_cstr(arena, p.protocol));
			if (p.local.len > 0 && !cv_net_parse(p.local, entry->net, &entry->bits))
				result = cv_err_set(err, CV_ERR_INTERNAL, "TLS settings from the master name no address: %s", cv_log_clean(p.local));
			if (result == 0 && tls_profile_ctx(&p, alpn_of(front, entry->protocol), &entry->ctx, err) < 0)
				result = -1;
		}
		cv_vec_free(&p.pairs);
	}
	if (result == 0 && !cv_reader_end(&r))
		result = cv_err_set(err, CV_ERR_INTERNAL, "TLS settings from the master are too long");
	cv_arena_free(&arena);
	if (result < 0)
		tls_set_unref(&set);
	*set_r = set;
	return result;
}

void tls_set_unref(struct tls_set **set_p)
{
	struct tls_set *set = *set_p;

	*set_p = NULL;
	if (set == NULL || --set->refs > 0)
		return;
	for (size_t i = 0; i < set->entries.count; i++) {
		cv_tls_ctx_unref(&set->entries.data[i].ctx);
		cv_free(set->entries.data[i].protocol);
	}
	cv_vec_free(&set->entries);
	cv_free(set);
}

struct cv_tls_ctx *tls_set_find(const struct tls_set *set, const char *protocol, const char *local_addr)
{
	const struct tls_set_entry *best = NULL;
	uint8_t addr[16];
	uint32_t ignored;
	bool has_addr = local_addr != NULL && cv_net_address(local_addr, addr, &ignored);

	for (size_t i = 0; set != NULL && i < set->entries.count; i++) {
		const struct tls_set_entry *entry = &set->entries.data[i];
		if (strcmp(entry->protocol, protocol) != 0 || (entry->bits > 0 && !(has_addr && cv_net_contains(entry->net, entry->bits, addr))))
			continue;
		if (best == NULL || entry->bits > best->bits)
			best = entry;
	}
	return best != NULL ? best->ctx : NULL;
}
