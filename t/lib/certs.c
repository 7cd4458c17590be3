/* SPDX-License-Identifier: MIT
   What t/lib/certs.h promises. */
#include <config.h>

#include "t/lib/certs.h"
#include <culver/time.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

static EVP_PKEY *key_new(enum cv_test_key type)
{
	EVP_PKEY *key = type == CV_TEST_KEY_EC ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);

	cv_assert(key != NULL);
	return key;
}

static struct cv_str take_pem(struct cv_arena *arena, BIO *bio)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);
	struct cv_str pem = cv_arena_str(arena, cv_str_mem(data, (size_t)len));

	BIO_free(bio);
	return pem;
}

static struct cv_str cert_pem(struct cv_arena *arena, X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());

	cv_assert(PEM_write_bio_X509(bio, cert) == 1);
	return take_pem(arena, bio);
}

static void set_name(X509_NAME *name, const char *cn)
{
	cv_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1);
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	cv_assert(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

static X509 *cert_new(EVP_PKEY *key, const char *cn, long serial, int64_t expires)
{
	X509 *cert = X509_new();

	(void)X509_set_version(cert, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	if (expires == 0)
		expires = cv_time_now_sec() + 365 * 86400;
	cv_assert(ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)expires) != NULL);
	(void)X509_set_pubkey(cert, key);
	set_name(X509_get_subject_name(cert), cn);
	return cert;
}

static void ca_free(void *ctx)
{
	struct cv_test_ca *ca = ctx;

	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

struct cv_test_ca *cv_test_ca_new(struct cv_arena *arena, const char *name)
{
	struct cv_test_ca *ca = cv_new(arena, struct cv_test_ca, 1);

	ca->arena = arena;
	ca->serial = 1;
	ca->key = key_new(CV_TEST_KEY_EC);
	ca->cert = cert_new(ca->key, name, ca->serial, 0);
	cv_arena_cleanup(arena, ca_free, ca);
	(void)X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert));
	add_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	add_extension(ca->cert, ca->cert, NID_subject_key_identifier, "hash");
	cv_assert(X509_sign(ca->cert, ca->key, EVP_sha256()) > 0);
	ca->pem = cert_pem(arena, ca->cert);
	return ca;
}

struct cv_test_cert cv_test_cert_new(struct cv_test_ca *ca, const char *cn, enum cv_test_key type, int64_t expires,
	const char *password)
{
	EVP_PKEY *key = key_new(type);
	X509 *cert = cert_new(key, cn, ++ca->serial, expires);
	struct cv_test_cert made = { .serial = ca->serial };
	BIO *bio = BIO_new(BIO_s_mem());
	int password_len = password != NULL ? (int)strlen(password) : 0;

	(void)X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
	add_extension(cert, ca->cert, NID_subject_alt_name, cv_arena_printf(ca->arena, "DNS:%s", cn));
	add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid");
	cv_assert(X509_sign(cert, ca->key, EVP_sha256()) > 0);
	made.cert = cert_pem(ca->arena, cert);
	cv_assert(PEM_write_bio_PKCS8PrivateKey(bio, key, password != NULL ? EVP_aes_128_cbc() : NULL, password,
			  password_len, NULL, NULL) == 1);
	made.key = take_pem(ca->arena, bio);
	X509_free(cert);
	EVP_PKEY_free(key);
	return made;
}

struct cv_str cv_test_crl_new(struct cv_test_ca *ca, long revoked)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = ASN1_TIME_adj(NULL, (time_t)cv_time_now_sec(), 0, -60);
	ASN1_TIME *later = ASN1_TIME_adj(NULL, (time_t)cv_time_now_sec(), 30, 0);
	BIO *bio = BIO_new(BIO_s_mem());

	(void)X509_CRL_set_version(crl, 1);
	(void)X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert));
	(void)X509_CRL_set1_lastUpdate(crl, now);
	(void)X509_CRL_set1_nextUpdate(crl, later);
	if (revoked != 0) {
		X509_REVOKED *entry = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_new();

		(void)ASN1_INTEGER_set(serial, revoked);
		(void)X509_REVOKED_set_serialNumber(entry, serial);
		(void)X509_REVOKED_set_revocationDate(entry, now);
		(void)X509_CRL_add0_revoked(crl, entry);
		ASN1_INTEGER_free(serial);
	}
	cv_assert(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0);
	cv_assert(PEM_write_bio_X509_CRL(bio, crl) == 1);
	ASN1_TIME_free(now);
	ASN1_TIME_free(later);
	X509_CRL_free(crl);
	return take_pem(ca->arena, bio);
}

struct cv_str cv_test_dh_new(struct cv_arena *arena)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	char group[] = "ffdhe2048";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("group", group, 0), OSSL_PARAM_construct_end() };
	EVP_PKEY *key = NULL;
	BIO *bio = BIO_new(BIO_s_mem());

	cv_assert(ctx != NULL && EVP_PKEY_paramgen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1);
	cv_assert(EVP_PKEY_paramgen(ctx, &key) == 1);
	cv_assert(PEM_write_bio_Parameters(bio, key) == 1);
	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(ctx);
	return take_pem(arena, bio);
}
