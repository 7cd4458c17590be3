/* SPDX-License-Identifier: MIT
   TLS server contexts: certificates, what is offered, which certificate for which name. */
#include <config.h>

#include "core/tls/tls-openssl.h"
#include <culver/reader.h>
#include <culver/time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define MAX_CHAIN 32

static const struct {
	const char *name;
	int version;
} protocols[] = {
	{ "TLSv1", TLS1_VERSION },
	{ "TLSv1.1", TLS1_1_VERSION },
	{ "TLSv1.2", TLS1_2_VERSION },
	{ "TLSv1.3", TLS1_3_VERSION },
};

const char *cv_tls_openssl_reason(void)
{
	unsigned long error = ERR_get_error();
	const char *reason = error != 0 ? ERR_reason_error_string(error) : NULL;

	ERR_clear_error();
	return reason != NULL ? reason : "unknown OpenSSL error";
}

void cv_tls_preload(void)
{
	if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_LOAD_CONFIG,
		    NULL) != 1)
		cv_fatal("OpenSSL cannot be initialised: %s", cv_tls_openssl_reason());
}

static BIO *pem_open(struct cv_str pem)
{
	BIO *bio;

	if (pem.len == 0 || pem.len > INT32_MAX)
		return NULL;
	bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	if (bio == NULL)
		cv_fatal("out of memory in OpenSSL");
	return bio;
}

/* Never the terminal, which is what OpenSSL asks when it gets no callback. */
static int give_password(char *to, int size, int writing CV_UNUSED, void *ctx)
{
	const struct cv_str *password = ctx;

	if (password->len == 0 || size < 0 || password->len > (size_t)size)
		return -1;
	memcpy(to, password->ptr, password->len);
	return (int)password->len;
}

/* The end of the PEM text was met, and not an error within it. */
static bool pem_at_end(void)
{
	unsigned long error = ERR_peek_last_error();

	return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static EVP_PKEY *read_key(struct cv_str pem, struct cv_str password, struct cv_err *err)
{
	BIO *bio = pem_open(pem);
	EVP_PKEY *key = NULL;

	if (bio == NULL) {
		(void)cv_err_set(err, CV_ERR_INVALID, "key is empty or too large");
		return NULL;
	}
	ERR_clear_error();
	key = PEM_read_bio_PrivateKey(bio, NULL, give_password, &password);
	if (key == NULL)
		(void)cv_err_set(err, CV_ERR_INVALID, "key cannot be read%s: %s",
			password.len > 0 ? " with the given password" : "", cv_tls_openssl_reason());
	BIO_free(bio);
	return key;
}

/* The first certificate of pem, and those behind it as its chain. */
static X509 *read_chain(struct cv_str pem, STACK_OF(X509) *chain, struct cv_err *err)
{
	BIO *bio = pem_open(pem);
	struct cv_str no_password = { 0 };
	X509 *cert = NULL, *more;

	if (bio == NULL) {
		(void)cv_err_set(err, CV_ERR_INVALID, "certificate is empty or too large");
		return NULL;
	}
	ERR_clear_error();
	cert = PEM_read_bio_X509_AUX(bio, NULL, give_password, &no_password);
	if (cert == NULL) {
		(void)cv_err_set(err, CV_ERR_INVALID, "certificate cannot be read: %s", cv_tls_openssl_reason());
		goto out;
	}
	while ((more = PEM_read_bio_X509(bio, NULL, give_password, &no_password)) != NULL) {
		if (sk_X509_num(chain) >= MAX_CHAIN || sk_X509_push(chain, more) <= 0) {
			X509_free(more);
			(void)cv_err_set(err, CV_ERR_LIMIT, "certificate has more than %d in its chain", MAX_CHAIN);
			goto bad;
		}
	}
	if (!pem_at_end()) {
		(void)cv_err_set(err, CV_ERR_INVALID, "certificate %d in the chain cannot be read: %s", sk_X509_num(chain) + 2,
			cv_tls_openssl_reason());
		goto bad;
	}
	ERR_clear_error();
	goto out;
bad:
	X509_free(cert);
	cert = NULL;
out:
	BIO_free(bio);
	return cert;
}

static bool time_of(const ASN1_TIME *t, int64_t *sec_r)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*sec_r = cv_time_from_civil(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return true;
}

/* *type_r is the type of the key, *expires_r the end of validity. */
static int use_pair(SSL_CTX *ssl_ctx, struct cv_str cert_pem, struct cv_str key_pem, struct cv_str password, int *type_r,
	int64_t *expires_r, struct cv_err *err)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int result = -1;

	if (chain == NULL)
		cv_fatal("out of memory in OpenSSL");
	cert = read_chain(cert_pem, chain, err);
	if (cert == NULL)
		goto out;
	if (!time_of(X509_get0_notAfter(cert), expires_r)) {
		(void)cv_err_set(err, CV_ERR_INVALID, "certificate has no readable end of validity");
		goto out;
	}
	key = read_key(key_pem, password, err);
	if (key == NULL)
		goto out;
	ERR_clear_error();
	if (X509_check_private_key(cert, key) != 1) {
		ERR_clear_error();
		(void)cv_err_set(err, CV_ERR_INVALID, "key does not belong to the certificate");
		goto out;
	}
	*type_r = EVP_PKEY_base_id(key);
	if (SSL_CTX_use_cert_and_key(ssl_ctx, cert, key, chain, 1) != 1) {
		(void)cv_err_set(err, CV_ERR_INVALID, "certificate cannot be used: %s", cv_tls_openssl_reason());
		goto out;
	}
	result = 1;
out:
	EVP_PKEY_free(key);
	X509_free(cert);
	sk_X509_pop_free(chain, X509_free);
	return result;
}

static int use_dh(SSL_CTX *ssl_ctx, struct cv_str pem, struct cv_err *err)
{
	EVP_PKEY *params = NULL;
	BIO *bio;

	if (pem.ptr == NULL) {
		(void)SSL_CTX_set_dh_auto(ssl_ctx, 1);
		return 1;
	}
	bio = pem_open(pem);
	ERR_clear_error();
	if (bio != NULL)
		params = PEM_read_bio_Parameters(bio, NULL);
	BIO_free(bio);
	if (params == NULL || EVP_PKEY_base_id(params) != EVP_PKEY_DH) {
		EVP_PKEY_free(params);
		return cv_err_set(err, CV_ERR_INVALID, "no DH parameters in PEM form");
	}
	if (SSL_CTX_set0_tmp_dh_pkey(ssl_ctx, params) != 1) {
		EVP_PKEY_free(params);
		return cv_err_set(err, CV_ERR_INVALID, "DH parameters cannot be used: %s", cv_tls_openssl_reason());
	}
	return 1;
}

/* CAs and their CRLs in one PEM text. */
static int use_ca(SSL_CTX *ssl_ctx, const struct cv_tls_config *config, struct cv_err *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl_ctx);
	STACK_OF(X509_INFO) *infos = NULL;
	struct cv_str no_password = { 0 };
	int ca_count = 0, crl_count = 0, result = -1;
	BIO *bio = pem_open(config->ca);

	if (config->ca.ptr == NULL) {
		BIO_free(bio);
		return 1;
	}
	ERR_clear_error();
	if (bio != NULL)
		infos = PEM_X509_INFO_read_bio(bio, NULL, give_password, &no_password);
	BIO_free(bio);
	if (infos == NULL)
		return cv_err_set(err, CV_ERR_INVALID, "CA certificates cannot be read: %s", cv_tls_openssl_reason());
	for (int i = 0; i < sk_X509_INFO_num(infos); i++) {
		X509_INFO *info = sk_X509_INFO_value(infos, i);

		if (info->x509 != NULL) {
			if (X509_STORE_add_cert(store, info->x509) != 1 || SSL_CTX_add_client_CA(ssl_ctx, info->x509) != 1) {
				(void)cv_err_set(err, CV_ERR_INVALID, "CA certificate %d cannot be used: %s", ca_count + 1,
					cv_tls_openssl_reason());
				goto out;
			}
			ca_count++;
		}
		if (info->crl != NULL) {
			if (X509_STORE_add_crl(store, info->crl) != 1) {
				(void)cv_err_set(err, CV_ERR_INVALID, "CRL %d cannot be used: %s", crl_count + 1,
					cv_tls_openssl_reason());
				goto out;
			}
			crl_count++;
		}
	}
	if (ca_count == 0) {
		(void)cv_err_set(err, CV_ERR_INVALID, "no CA certificate in PEM form");
		goto out;
	}
	if (config->require_crl && crl_count == 0) {
		(void)cv_err_set(err, CV_ERR_INVALID, "a CRL is required, but the CA certificates come without one");
		goto out;
	}
	if (config->require_crl)
		(void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	result = 1;
out:
	sk_X509_INFO_pop_free(infos, X509_INFO_free);
	return result;
}

/* The handshake goes on: what a certificate that does not verify is worth is decided at login. */
static int on_verify(int ok, X509_STORE_CTX *store_ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (ok == 0)
		cv_tls_conn_verify_failed(ssl);
	return 1;
}

/* RFC 7301 section 3.2, as RFC 9325 section 3.7 wants it against cross-protocol attacks. */
static int on_alpn(SSL *ssl CV_UNUSED, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
	unsigned in_len, void *arg)
{
	const struct cv_tls_ctx *ctx = arg;
	struct cv_reader r = cv_reader_init(cv_str_mem(in, in_len));
	struct cv_str name;
	uint8_t len;

	while (cv_take_u8(&r, &len) && cv_take_len(&r, len, &name)) {
		if (cv_str_eq(name, ctx->alpn)) {
			*out = (const unsigned char *)name.ptr;
			*out_len = len;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* RFC 6125 section 6.4.3: a wildcard stands for one whole leftmost label. */
static bool name_matches(struct cv_str pattern, struct cv_str name)
{
	struct cv_str label, rest;

	if (cv_str_ends(name, CV_STR(".")))
		name.len--;
	if (!cv_str_starts(pattern, CV_STR("*.")))
		return cv_str_caseeq(pattern, name);
	return cv_str_split(name, '.', &label, &rest) && label.len > 0 &&
		cv_str_caseeq(cv_str_sub(pattern, 2, SIZE_MAX), rest);
}

static int on_servername(SSL *ssl, int *alert CV_UNUSED, void *arg)
{
	const struct cv_tls_ctx *ctx = arg;
	struct cv_str name = cv_str_c(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	size_t found = ctx->pair_count;

	if (name.len == 0)
		return SSL_TLSEXT_ERR_NOACK;
	/* An exact name goes before a wildcard. */
	for (size_t i = 0; i < ctx->pair_count; i++) {
		if (ctx->names[i].len == 0 || !name_matches(ctx->names[i], name))
			continue;
		if (found == ctx->pair_count || cv_str_starts(ctx->names[found], CV_STR("*.")))
			found = i;
	}
	if (found == ctx->pair_count)
		return SSL_TLSEXT_ERR_NOACK;
	(void)SSL_set_SSL_CTX(ssl, ctx->pairs[found]);
	return SSL_TLSEXT_ERR_OK;
}

static int set_protocol(SSL_CTX *ssl_ctx, const struct cv_tls_config *config, struct cv_err *err)
{
	const char *wanted = config->min_protocol != NULL ? config->min_protocol : "TLSv1.2";

	for (size_t i = 0; i < CV_COUNT_OF(protocols); i++) {
		if (strcmp(protocols[i].name, wanted) != 0)
			continue;
		if (SSL_CTX_set_min_proto_version(ssl_ctx, protocols[i].version) == 1)
			return 1;
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "%s is not supported by the OpenSSL library", wanted);
	}
	return cv_err_set(err, CV_ERR_INVALID, "there is no protocol version %s (TLSv1, TLSv1.1, TLSv1.2, TLSv1.3)", wanted);
}

static int set_ciphers(SSL_CTX *ssl_ctx, const struct cv_tls_config *config, struct cv_err *err)
{
	ERR_clear_error();
	if (config->cipher_list != NULL && SSL_CTX_set_cipher_list(ssl_ctx, config->cipher_list) != 1)
		return cv_err_set(err, CV_ERR_INVALID, "cipher list %s: %s", config->cipher_list, cv_tls_openssl_reason());
	if (config->cipher_suites != NULL && SSL_CTX_set_ciphersuites(ssl_ctx, config->cipher_suites) != 1)
		return cv_err_set(err, CV_ERR_INVALID, "cipher suites %s: %s", config->cipher_suites, cv_tls_openssl_reason());
	/* What SSL_CTX_set1_groups_list does, whose macro drops const. */
	if (config->curve_list != NULL &&
		SSL_CTX_ctrl(ssl_ctx, SSL_CTRL_SET_GROUPS_LIST, 0, (void *)(uintptr_t)config->curve_list) != 1)
		return cv_err_set(err, CV_ERR_INVALID, "curve list %s: %s", config->curve_list, cv_tls_openssl_reason());
	return 1;
}

static int set_up(struct cv_tls_ctx *ctx, SSL_CTX *ssl_ctx, const struct cv_tls_config *config, struct cv_err *err)
{
	uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION;

	if (config->prefer_server_ciphers)
		options |= SSL_OP_CIPHER_SERVER_PREFERENCE;
	/* A resumed session would not have its certificate looked at again. */
	bool tickets = !config->tickets_off && !config->verify_client_cert;
	if (!tickets)
		options |= SSL_OP_NO_TICKET;
	/* One for each connection is what a client needs that comes again: each connection that it resumes brings the next. */
	(void)SSL_CTX_set_num_tickets(ssl_ctx, tickets ? 1 : 0);
	(void)SSL_CTX_set_options(ssl_ctx, options);
	(void)SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_session_id_context(ssl_ctx, (const unsigned char *)"culver", 6);
	/* Idle connections give their buffers back; one system call a read; a short write is reported as such. */
	(void)SSL_CTX_set_mode(ssl_ctx,
		SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ssl_ctx, 1);
	if (set_protocol(ssl_ctx, config, err) < 0 || set_ciphers(ssl_ctx, config, err) < 0 ||
		use_dh(ssl_ctx, config->dh, err) < 0 || use_ca(ssl_ctx, config, err) < 0)
		return -1;
	if (config->verify_client_cert)
		SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, on_verify);
	if (ctx->alpn.len > 0)
		SSL_CTX_set_alpn_select_cb(ssl_ctx, on_alpn, ctx);
	(void)SSL_CTX_set_tlsext_servername_callback(ssl_ctx, on_servername);
	(void)SSL_CTX_set_tlsext_servername_arg(ssl_ctx, ctx);
	return 1;
}

static int add_pair(struct cv_tls_ctx *ctx, const struct cv_tls_config *config, const struct cv_tls_pair *pair,
	int64_t *expires_r, struct cv_err *err)
{
	SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_server_method());
	int type = 0, alt_type = 0;
	int64_t alt_expires = 0;

	if (ssl_ctx == NULL)
		return cv_err_set(err, CV_ERR_INTERNAL, "OpenSSL gives no context: %s", cv_tls_openssl_reason());
	ctx->pairs[ctx->pair_count] = ssl_ctx;
	ctx->names[ctx->pair_count] = cv_arena_str(ctx->arena, pair->name);
	ctx->pair_count++;
	if (set_up(ctx, ssl_ctx, config, err) < 0)
		return -1;
	if (use_pair(ssl_ctx, pair->cert, pair->key, pair->key_password, &type, expires_r, err) < 0)
		return -1;
	if (pair->alt_cert.ptr == NULL && pair->alt_key.ptr == NULL)
		return 1;
	if (use_pair(ssl_ctx, pair->alt_cert, pair->alt_key, pair->key_password, &alt_type, &alt_expires, err) < 0)
		return cv_err_context(err, "alternative");
	if (alt_type == type)
		return cv_err_set(err, CV_ERR_INVALID, "the alternative certificate has the same type of key as the first");
	return 1;
}

int cv_tls_ctx_new(const struct cv_tls_config *config, struct cv_tls_ctx **ctx_r, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("tls", NULL, 0);
	struct cv_tls_ctx *ctx = cv_new(arena, struct cv_tls_ctx, 1);
	bool have_default = false;

	cv_tls_preload();
	ctx->refs = 1;
	ctx->arena = arena;
	ctx->pairs = cv_new(arena, SSL_CTX *, config->pair_count);
	ctx->names = cv_new(arena, struct cv_str, config->pair_count);
	ctx->alpn = cv_arena_str(arena, cv_str_c(config->alpn));
	ctx->username_nid = NID_undef;
	if (config->pair_count == 0) {
		(void)cv_err_set(err, CV_ERR_INVALID, "no certificate is given");
		goto bad;
	}
	if (config->verify_client_cert && config->ca.ptr == NULL) {
		(void)cv_err_set(err, CV_ERR_INVALID, "client certificates are to be verified, but no CA is given");
		goto bad;
	}
	if (config->cert_username_field != NULL) {
		ctx->username_nid = OBJ_txt2nid(config->cert_username_field);
		ERR_clear_error();
		if (ctx->username_nid == NID_undef) {
			(void)cv_err_set(err, CV_ERR_INVALID, "there is no certificate field %s", config->cert_username_field);
			goto bad;
		}
	}
	for (size_t i = 0; i < config->pair_count; i++) {
		const struct cv_tls_pair *pair = &config->pairs[i];
		int64_t expires = 0;

		if (add_pair(ctx, config, pair, &expires, err) < 0) {
			if (pair->name.len > 0)
				(void)cv_err_context(err, "TLS for %.*s", CV_STR_ARG(pair->name));
			else
				(void)cv_err_context(err, "TLS");
			goto bad;
		}
		if (!have_default && (pair->name.len == 0 || i == 0)) {
			have_default = pair->name.len == 0;
			ctx->default_pair = i;
			ctx->expires = expires;
		}
	}
	*ctx_r = ctx;
	ERR_clear_error();
	return 1;
bad:
	ERR_clear_error();
	cv_tls_ctx_unref(&ctx);
	return -1;
}

struct cv_tls_ctx *cv_tls_ctx_ref(struct cv_tls_ctx *ctx)
{
	cv_assert(ctx->refs > 0);
	ctx->refs++;
	return ctx;
}

void cv_tls_ctx_unref(struct cv_tls_ctx **ctx_p)
{
	struct cv_tls_ctx *ctx = *ctx_p;
	struct cv_arena *arena;

	*ctx_p = NULL;
	if (ctx == NULL)
		return;
	cv_assert(ctx->refs > 0);
	if (--ctx->refs > 0)
		return;
	for (size_t i = 0; i < ctx->pair_count; i++)
		SSL_CTX_free(ctx->pairs[i]);
	arena = ctx->arena;
	cv_arena_free(&arena);
}

int64_t cv_tls_ctx_expires(const struct cv_tls_ctx *ctx)
{
	return ctx->expires;
}
