/* SPDX-License-Identifier: MIT
   Password schemes: stored forms that Dovecot 2.3.19's doveadm pw made, and our own. */
#include <config.h>

#include "t/lib/test.h"

#include <culver/auth.h>

extern const struct cv_module schemes_LTX_cv_module;

static struct cv_registry *registry(void)
{
	struct cv_registry *reg = cv_registry_new();
	struct cv_err err = { 0 };

	assert_true(cv_module_add_static(reg, &schemes_LTX_cv_module, &err) >= 0);
	assert_true(cv_modules_load(reg, CV_ROLE_AUTH, &err) >= 0);
	return reg;
}

/* Made with doveadm pw -u jo@example.org. */
static const struct {
	const char *stored, *password;
} rows[] = {
	{ "{SHA1}DwVkStfwuRRDe6CngXt5A6aU6EM=",
		"Tauben:flug 9" },
	{ "{SHA1}6LoPKr3Q5QBli23EeX7V3ciz2j0=",
		"käfer€" },
	{ "{SHA}DwVkStfwuRRDe6CngXt5A6aU6EM=",
		"Tauben:flug 9" },
	{ "{SHA}6LoPKr3Q5QBli23EeX7V3ciz2j0=",
		"käfer€" },
	{ "{SSHA}tR7W6hUluKYih8WFYu5t0ehDEkTIIp9L",
		"Tauben:flug 9" },
	{ "{SSHA}NgCfeG9CXlKjlxJndZR5tbqnhIkS8T7t",
		"käfer€" },
	{ "{SSHA512}VIMHSoY/Z17Z1X93JPtf63EGYWVlHnmSGf87M/1rHK80IzOf1WU+6pPthC5f6pqP2GnNDGGwQj+PXVGaRWMkpAHaBxk=",
		"Tauben:flug 9" },
	{ "{SSHA512}Sy+KHscKqVeE4ydby1BcPB0E5nyZ+qwqrl+7RQwlFgoAnifbiAADt+C9t/Lu2ojR1EzPNNoaKxa0D5LIyLAjN6sb7mI=",
		"käfer€" },
	{ "{PBKDF2}$1$K/XYIiPht3Fho3CO$5000$a6807a006182deab668e1932924cce60c997245d",
		"Tauben:flug 9" },
	{ "{PBKDF2}$1$Oz9/gZTg6odw7icB$5000$ce0872d59dfe3176d8374361501884805a5dadb5",
		"käfer€" },
	{ "{SCRAM-SHA-256}4096,YC1VHLRGoiXppxZlZhwyoQ==,c+emRpzyFTwqSmnp+/n6bzcNGvZCYfa0em4f7XDERS0=,iptZEVIuGXI92Hz6PtpSfYzmXp1Oe2iZDJu+O7HcAMk=",
		"Tauben:flug 9" },
	{ "{SCRAM-SHA-256}4096,ZK1iuF4UTMwtQsZrxkMYiA==,2m7vA2Q/oXnsKldWecwyqfta+vuNec+Apo3aivC2sRY=,HFe0g58PQd1S2ChsdXmCMtVR07lCJttaMlrqqpTTYrI=",
		"käfer€" },
	{ "{SCRAM-SHA-1}4096,n5hhmq64/MZHiqpDCg5dgQ==,QUTg+BJhA6peF9mla4XZCGO7XZU=,CG4TajkXVmgQklUAYdvDrCuxQwk=",
		"Tauben:flug 9" },
	{ "{SCRAM-SHA-1}4096,0sRRgibbvVZQ5qvrujLlIg==,Qxg7YkTPM648I2DMkZ+EJzbZja0=,CU54aJGwnuZokwCgL9vTeLL8sDc=",
		"käfer€" },
	{ "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$/kVBjCAQZwo4gw6+CrAPtg$LLz2UfhTbFsZ3UckQqgGZMtUsuofB3HHwXmetG6H+r8",
		"Tauben:flug 9" },
	{ "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$y1zuHExN0qaLB2kjD3Wd3w$+6/q55M9q9RymfmOdu1xPF5mhHhR0/q27cMgQIja4a0",
		"käfer€" },
	{ "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$f2dmU9C11k9OT+6lpq8C+g$r4ZphlWY4pW9jvcM1ujUhCCIM4Tyozlm/k029WcwFuo",
		"Tauben:flug 9" },
	{ "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$E5rUoYlhkNl4h8z+s0T2Og$cLacpG7ihQq5YFAZeWirgtaHUlMznbX4rHFx+g2RUGI",
		"käfer€" },
	{ "{BLF-CRYPT}$2y$05$XoYVF99TC9pt4Kl0qU7BLeih6SueiflazPs4vQ2UQeNhmUK34wAjO",
		"Tauben:flug 9" },
	{ "{BLF-CRYPT}$2y$05$BXez.iH9tfib77ExIIDPROgaIoPj3H6DjFod1IAbVvSNjup5QBFVq",
		"käfer€" },
	{ "{CRYPT}$2y$05$WCgLOwAkNA1P/WdgiK5Wpu7aXQynzsueoTGEOttKWHIYHqlk3xrQ2",
		"Tauben:flug 9" },
	{ "{CRYPT}$2y$05$yy/k9vo/QocWmGWDT9amBux7v6e/UUI3hqEUEQEbNV.oNUqQnP54i",
		"käfer€" },
	{ "{MD5}$1$Af0Oa2SR$U/TIA06KSaP99owNk6Z6w/",
		"Tauben:flug 9" },
	{ "{MD5}$1$esbXwnqi$eUmWl3aaMqawB4o5pSCLS.",
		"käfer€" },
	{ "{MD5-CRYPT}$1$zpiY0rOD$Dr4pz6cg2l.v9VhPRg3p50",
		"Tauben:flug 9" },
	{ "{MD5-CRYPT}$1$o2yk73I2$EuvB4sF/g1tiqxJ4UjfNA1",
		"käfer€" },
	{ "{PLAIN-MD5}420b3812273164a3a8fa361683e76c3c",
		"Tauben:flug 9" },
	{ "{PLAIN-MD5}f96cb3c767b3b8ad1869ab7caf5d7eee",
		"käfer€" },
	{ "{LDAP-MD5}Qgs4EicxZKOo+jYWg+dsPA==",
		"Tauben:flug 9" },
	{ "{LDAP-MD5}+Wyzx2ezuK0Yaat8r11+7g==",
		"käfer€" },
	{ "{SMD5}T1US7ojnvKslOFrxklpB33uP4HA=",
		"Tauben:flug 9" },
	{ "{SMD5}8clzmrRBURqbLB7n8iwoU7b9XD0=",
		"käfer€" },
	{ "{DIGEST-MD5}66d1fbc3ee6fe9b6c1f3e300866a8eac",
		"Tauben:flug 9" },
	{ "{DIGEST-MD5}caafbb41bbe4d7a14fd925bf61fa3cf8",
		"käfer€" },
	{ "{PLAIN-TRUNC}Tauben:flug 9",
		"Tauben:flug 9" },
	{ "{PLAIN-TRUNC}käfer€",
		"käfer€" },
	{ "{SHA256}i61plYmsAYwr+itSFnN7V+BUsYANSGUe4rnXyiYsecw=",
		"Tauben:flug 9" },
	{ "{SHA256}OINsyl/EqS0aDfex9eiVeMaFsevn30FCkIO+pizcWjg=",
		"käfer€" },
	{ "{SHA512}ULCZwXNz3kVzSiM5cbOwiPTBIKIMGa8FMKm1Mnmp/nBm2QeAyUh2L1V2PuzPeX1bZaQKu7/ddD61eFyiaVi5QQ==",
		"Tauben:flug 9" },
	{ "{SHA512}+RUChYz0CVCksEiQEWWiHSvcCfv4QseXEj+8W98Py5aSfeAhdK0a2FJONk7eAL5xXBj4Ts3B7o8v7vH1Ln8CSg==",
		"käfer€" },
	{ "{SSHA256}LKvsvyqPZ0C96cYvxa2qPd4wGhyvyP2WLOv9DyBSkL71bANB",
		"Tauben:flug 9" },
	{ "{SSHA256}BkCzFuW+JfksVJN/ff7nnGJAUu23SJNiic+Lkx9rd1K5KtLa",
		"käfer€" },
	{ "{SHA512-CRYPT}$6$LLfaodaRTMupZZRe$Cd7Mg6090vj8Lb3PSTEqcMeFxe8ZoDfMvyv1AvppEPJGb5S0mcNNg8lf6ERAHCTUtLboE6kSJj3DmdapSSJwq0",
		"Tauben:flug 9" },
	{ "{SHA512-CRYPT}$6$N9xbuK/0KG/ttAGB$rncrHFd0DMbSELMVMHp1A2naeCBlgtKPmjvBh99epXg6NA4MsHJEecBUDVU2MShtyQA5WNPHyI9KwU4lLH7jX.",
		"käfer€" },
	{ "{SHA256-CRYPT}$5$At1ZYm/F.e73uEVi$dUekt2J.BC0VSYvEIqg/wIOPLw80sQyROUfHLCTn6Q0",
		"Tauben:flug 9" },
	{ "{SHA256-CRYPT}$5$Ot8wHT7MYa.T9NUq$f4J2wO0AK8X/HOaWQNywfNwyYAqTHGdtSbi1aLSnPq.",
		"käfer€" },
	{ "{DES-CRYPT}vEl.LLoQ/3jn2",
		"Tauben:flug 9" },
	{ "{DES-CRYPT}/pOzC66wHnQpU",
		"käfer€" },
	{ "{PLAIN}Tauben:flug 9",
		"Tauben:flug 9" },
	{ "{PLAIN}käfer€",
		"käfer€" },
	{ "{CLEAR}Tauben:flug 9",
		"Tauben:flug 9" },
	{ "{CLEAR}käfer€",
		"käfer€" },
	{ "{CLEARTEXT}Tauben:flug 9",
		"Tauben:flug 9" },
	{ "{CLEARTEXT}käfer€",
		"käfer€" },
	{ "{SSHA.HEX}c6428dcdd2fec4f29df7a579ac519c199c8d8a84ead96bc9",
		"Tauben:flug 9" },
	{ "{SSHA.HEX}6d7473d4989d97567794d4daec2a6c11fa01ebe5f404a2bf",
		"käfer€" },
	{ "{SSHA256.B64}vMFTO+4C3kTaY/15PAtvhlgWZNPaeDlAKbSA8aqUYSs3CIQh",
		"Tauben:flug 9" },
	{ "{SSHA256.B64}X6yz+ODtRqxt/Gx6A9BwYr4PRQ+p7aK8uNlTrFDQ7FK//j0N",
		"käfer€" },
	{ "{PLAIN.B64}VGF1YmVuOmZsdWcgOQ==",
		"Tauben:flug 9" },
	{ "{PLAIN.B64}a8OkZmVy4oKs",
		"käfer€" },
	{ "{PLAIN.HEX}54617562656e3a666c75672039",
		"Tauben:flug 9" },
	{ "{PLAIN.HEX}6bc3a4666572e282ac",
		"käfer€" },
	{ "{SHA.HEX}0f05644ad7f0b914437ba0a7817b7903a694e843",
		"Tauben:flug 9" },
	{ "{SHA.HEX}e8ba0f2abdd0e500658b6dc4797ed5ddc8b3da3d",
		"käfer€" },
	{ "{SHA512.HEX}50b099c17373de45734a233971b3b088f4c120a20c19af0530a9b53279a9fe7066d90780c948762f55763eeccf797d5b65a40abbbfdd743eb5785ca26958b941",
		"Tauben:flug 9" },
	{ "{SHA512.HEX}f91502858cf40950a4b048901165a21d2bdc09fbf842c797123fbc5bdf0fcb96927de02174ad1ad8524e364ede00be715c18f84ecdc1ee8f2feef1f52e7f024a",
		"käfer€" },
	{ "{PLAIN-MD5.B64}Qgs4EicxZKOo+jYWg+dsPA==",
		"Tauben:flug 9" },
	{ "{PLAIN-MD5.B64}+Wyzx2ezuK0Yaat8r11+7g==",
		"käfer€" },
	{ "{LDAP-MD5.HEX}420b3812273164a3a8fa361683e76c3c",
		"Tauben:flug 9" },
	{ "{LDAP-MD5.HEX}f96cb3c767b3b8ad1869ab7caf5d7eee",
		"käfer€" },
	{ "{SHA512-CRYPT.B64}JDYkdVlDY1Q4WDlyYk9GOW8xTSRvUDB4T21GNXdxSWpCMnFGSC5scW1ETVgwWllLZ21ncTY5MXF2aDFlSWJIZnNNOGhYUHVmU3NpMkpVeC5wYkZaaFZEN1l5NkxiYXNUVDBGSmdMSHFEMQ==",
		"Tauben:flug 9" },
	{ "{SHA512-CRYPT.B64}JDYkWmhOYTJIaURFT0pzb1BXZCRwSTR1ZlBRTnhtWUZ4ODF2SDQvaFJnV0RZUE5NVm1MdkFndWtHYzl6Rk1Cd2IwOW5XTlY0Mm8vQmVGVnFHR1MueFVoeURNRm56VDhRZmd0TkFhU0VDMA==",
		"käfer€" },
};

#define USER CV_STR("jo@example.org")

static void stored_forms_of_doveadm_verify(void **state)
{
	struct cv_registry *reg = registry();

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_str stored = cv_str_c(rows[i].stored), password = cv_str_c(rows[i].password);
		struct cv_err err = { 0 };
		int ret = cv_password_verify(reg, password, USER, stored, "CRYPT", &err);

		if (ret != 1)
			print_message("%s: %d %s\n", rows[i].stored, ret, err.text);
		assert_int_equal(ret, 1);
	}
	cv_registry_free(&reg);
}

static void wrong_passwords_do_not_verify(void **state)
{
	static const char *const wrong[] = { "", "tauben:flug 9", "Tauben:flug 9 ", "Tauben:flug", "x" };
	struct cv_registry *reg = registry();

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		/* DES looks at eight octets. */
		bool des = strncmp(rows[i].stored, "{DES-CRYPT}", 11) == 0;

		for (size_t j = 0; j < CV_COUNT_OF(wrong); j++) {
			if (des && (j == 2 || j == 3))
				continue;
			assert_int_equal(
				cv_password_verify(reg, cv_str_c(wrong[j]), USER, cv_str_c(rows[i].stored), "CRYPT", NULL), 0);
		}
	}
	cv_registry_free(&reg);
}

static void digest_md5_counts_the_user(void **state)
{
	struct cv_registry *reg = registry();

	(void)state;
	assert_int_equal(cv_password_verify(reg, CV_STR("Tauben:flug 9"), CV_STR("hanna@example.org"),
		CV_STR("{DIGEST-MD5}66d1fbc3ee6fe9b6c1f3e300866a8eac"), "CRYPT", NULL), 0);
	cv_registry_free(&reg);
}

static void without_prefix_the_default_scheme_counts(void **state)
{
	struct cv_registry *reg = registry();
	struct cv_err err = { 0 };

	(void)state;
	assert_int_equal(cv_password_verify(reg, CV_STR("pw"), USER, CV_STR("pw"), "plain", NULL), 1);
	assert_int_equal(cv_password_verify(reg, CV_STR("pw"), USER, CV_STR("cHc="), "plain.b64", NULL), 1);
	assert_int_equal(cv_password_verify(reg, CV_STR("{pw"), USER, CV_STR("{pw"), "PLAIN", NULL), 1);
	assert_int_equal(cv_password_verify(reg, CV_STR("Tauben:flug 9"), USER, CV_STR("$1$Af0Oa2SR$U/TIA06KSaP99owNk6Z6w/"), "PLAIN", NULL), 1);
	assert_int_equal(cv_password_verify(reg, CV_STR("Tauben:flug 9"), USER,
		CV_STR("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$pipGk7pJWRquHQX/FCiY1uZRgbVsYq.bBU1rDKHoRZ/"), "CRYPT", &err), 1);
	cv_registry_free(&reg);
}

static void encoding_of_unsalted_digests_is_known_by_length(void **state)
{
	struct cv_registry *reg = registry();

	(void)state;
	assert_int_equal(cv_password_verify(reg, CV_STR("Tauben:flug 9"), USER, CV_STR("{SHA}0f05644ad7f0b914437ba0a7817b7903a694e843"), "CRYPT", NULL), 1);
	assert_int_equal(cv_password_verify(reg, CV_STR("Tauben:flug 9"), USER, CV_STR("{PLAIN-MD5}Qgs4EicxZKOo+jYWg+dsPA=="), "CRYPT", NULL), 1);
	assert_int_equal(cv_password_verify(reg, CV_STR("Tauben:flug 9"), USER, CV_STR("{MD5}420b3812273164a3a8fa361683e76c3c"), "CRYPT", NULL), 1);
	cv_registry_free(&reg);
}

/* An administrator's typing error must not look like a wrong password. */
static void malformed_stored_forms_are_errors(void **state)
{
	static const char *const bad[] = {
		"{NOSUCH}x", "{SSHA.foo}x", "{}x", "{SSHA}***", "{SSHA}cHc=", "{SHA}cHc=", "{SHA512-CRYPT}$5$geheim$hash", "{ARGON2ID}$argon2id$v=19$m=9999999,t=3,p=1$a$b",
		"{ARGON2ID}$argon2i$v=19$m=65536,t=3,p=1$a$b", "{ARGON2ID}x", "{PBKDF2}$1$salt$5000$zz", "{PBKDF2}$1$salt$99999999999$00",
		"{SCRAM-SHA-256}4096,xx", "{SCRAM-SHA-256}0,YQ==,YQ==,YQ==", "{MD5}zz", "{CRYPT}$nosuch$x", "{BLF-CRYPT}x", "{PLAIN.hex}abc", "{CRAM-MD5}00",
		"{SCHEMESCHEMESCHEMESCHEMESCHEMESCHEME}x",
	};
	struct cv_registry *reg = registry();

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
		struct cv_err err = { 0 };
		int ret = cv_password_verify(reg, CV_STR("pw"), USER, cv_str_c(bad[i]), "CRYPT", &err);

		if (ret != -1)
			print_message("%s: %d\n", bad[i], ret);
		assert_int_equal(ret, -1);
		assert_true(err.text[0] != '\0');
		/* The stored password must not be in the log. */
		assert_null(strstr(err.text, "geheim"));
	}
	cv_registry_free(&reg);
}

static void locked_and_empty_passwords_match_nothing(void **state)
{
	static const char *const locked[] = { "", "{PLAIN}", "{CRYPT}!", "{CRYPT}*", "{CRYPT}!$6$abc$def", "{SHA512-CRYPT}!!", "*" };
	static const char *const given[] = { "", "!", "*", "x" };
	struct cv_registry *reg = registry();

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(locked); i++)
		for (size_t j = 0; j < CV_COUNT_OF(given); j++)
			assert_int_equal(cv_password_verify(reg, cv_str_c(given[j]), USER, cv_str_c(locked[i]), "CRYPT", NULL), 0);
	cv_registry_free(&reg);
}

static void nul_in_password_matches_nothing_in_crypt(void **state)
{
	struct cv_registry *reg = registry();
	struct cv_buf out;

	(void)state;
	cv_buf_init_wipe(&out, 1024);
	assert_int_equal(cv_password_generate(reg, "SHA512-CRYPT", CV_STR("ab"), USER, 0, &out, NULL), 1);
	assert_int_equal(cv_password_verify(reg, cv_str_mem("ab\0cd", 5), USER, cv_buf_str(&out), "CRYPT", NULL), 0);
	cv_buf_clear(&out);
	assert_int_equal(cv_password_generate(reg, "SHA512-CRYPT", cv_str_mem("ab\0cd", 5), USER, 0, &out, NULL), -1);
	cv_buf_deinit(&out);
	cv_registry_free(&reg);
}

static void long_passwords_are_bounded(void **state)
{
	struct cv_registry *reg = registry();
	struct cv_arena *arena = *state;
	char *octets = cv_new(arena, char, 100000);
	struct cv_str big = cv_str_mem(octets, 100000);

	memset(octets, 'a', 100000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		assert_int_equal(cv_password_verify(reg, big, USER, cv_str_c(rows[i].stored), "CRYPT", NULL), 0);
	assert_int_equal(cv_password_verify(reg, CV_STR("x"), USER, big, "CRYPT", NULL), -1);
	cv_registry_free(&reg);
}

static void what_is_generated_verifies(void **state)
{
	static const struct {
		const char *scheme;
		bool salted;
	} make[] = {
		{ "PLAIN", false }, { "CLEARTEXT", false }, { "CRYPT", true }, { "SHA512-CRYPT", true }, { "SHA256-CRYPT", true },
		{ "BLF-CRYPT", true }, { "YESCRYPT", true }, { "SHA", false }, { "SHA256", false }, { "SHA512", false }, { "SSHA", true },
		{ "SSHA256", true }, { "SSHA512", true }, { "SMD5", true }, { "PLAIN-MD5", false }, { "LDAP-MD5", false },
		{ "PBKDF2", true }, { "SCRAM-SHA-1", true }, { "SCRAM-SHA-256", true }, { "ARGON2I", true }, { "ARGON2ID", true },
		{ "ssha.hex", true }, { "plain.b64", false }, { "SSHA512.base64", true }, { "SHA512-CRYPT.hex", true },
	};
	struct cv_registry *reg = registry();

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(make); i++) {
		struct cv_err err = { 0 };
		struct cv_buf one, two;

		cv_buf_init_wipe(&one, 1024);
		cv_buf_init_wipe(&two, 1024);
		assert_int_equal(cv_password_generate(reg, make[i].scheme, CV_STR("Wegwarte 7"), USER, 0, &one, &err), 1);
		assert_int_equal(cv_password_generate(reg, make[i].scheme, CV_STR("Wegwarte 7"), USER, 0, &two, &err), 1);
		assert_int_equal(cv_password_verify(reg, CV_STR("Wegwarte 7"), USER, cv_buf_str(&one), "CRYPT", &err), 1);
		assert_int_equal(cv_password_verify(reg, CV_STR("Wegwarte 8"), USER, cv_buf_str(&one), "CRYPT", &err), 0);
		assert_int_equal(cv_str_eq(cv_buf_str(&one), cv_buf_str(&two)), !make[i].salted);
		cv_buf_deinit(&one);
		cv_buf_deinit(&two);
	}
	cv_registry_free(&reg);
}

static void old_schemes_make_no_new_passwords(void **state)
{
	struct cv_registry *reg = registry();
	struct cv_buf out;

	(void)state;
	cv_buf_init_wipe(&out, 1024);
	assert_int_equal(cv_password_generate(reg, "DES-CRYPT", CV_STR("x"), USER, 0, &out, NULL), -1);
	assert_int_equal(cv_password_generate(reg, "MD5-CRYPT", CV_STR("x"), USER, 0, &out, NULL), -1);
	assert_int_equal(cv_password_generate(reg, "NOSUCH", CV_STR("x"), USER, 0, &out, NULL), -1);
	cv_buf_deinit(&out);
	cv_registry_free(&reg);
}

static void rounds_are_taken(void **state)
{
	struct cv_registry *reg = registry();
	struct cv_buf out;

	(void)state;
	cv_buf_init_wipe(&out, 1024);
	assert_int_equal(cv_password_generate(reg, "SHA512-CRYPT", CV_STR("x"), USER, 7000, &out, NULL), 1);
	assert_non_null(strstr(out.data, "$rounds=7000$"));
	cv_buf_clear(&out);
	assert_int_equal(cv_password_generate(reg, "BLF-CRYPT", CV_STR("x"), USER, 6, &out, NULL), 1);
	assert_true(cv_str_starts(cv_buf_str(&out), CV_STR("{BLF-CRYPT}$2y$06$")));
	cv_buf_clear(&out);
	assert_int_equal(cv_password_generate(reg, "SCRAM-SHA-256", CV_STR("x"), USER, 100, &out, NULL), -1);
	cv_buf_deinit(&out);
	cv_registry_free(&reg);
}

static void bcrypt_refuses_what_it_would_cut(void **state)
{
	struct cv_registry *reg = registry();
	struct cv_buf out;

	(void)state;
	cv_buf_init_wipe(&out, 1024);
	assert_int_equal(cv_password_generate(reg, "BLF-CRYPT",
		CV_STR("0123456789012345678901234567890123456789012345678901234567890123456789012"), USER, 0, &out, NULL), -1);
	cv_buf_deinit(&out);
	cv_registry_free(&reg);
}

static void speed_of_schemes_is_known(void **state)
{
	struct cv_registry *reg = registry();
	struct cv_str name;
	bool fast;

	(void)state;
	assert_true(cv_password_scheme(reg, CV_STR("{ssha.hex}00"), "CRYPT", &name, &fast));
	assert_str(name, "ssha");
	assert_true(fast);
	assert_true(cv_password_scheme(reg, CV_STR("$6$a$b"), "CRYPT", &name, &fast));
	assert_false(fast);
	assert_false(cv_password_scheme(reg, CV_STR("{NOSUCH}x"), "CRYPT", &name, &fast));
	cv_registry_free(&reg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(stored_forms_of_doveadm_verify),
		cv_test_fds_only(wrong_passwords_do_not_verify),
		cv_test_fds_only(digest_md5_counts_the_user),
		cv_test_fds_only(without_prefix_the_default_scheme_counts),
		cv_test_fds_only(encoding_of_unsalted_digests_is_known_by_length),
		cv_test_fds_only(malformed_stored_forms_are_errors),
		cv_test_fds_only(locked_and_empty_passwords_match_nothing),
		cv_test_fds_only(nul_in_password_matches_nothing_in_crypt),
		cv_test_fds_only(long_passwords_are_bounded),
		cv_test_fds_only(what_is_generated_verifies),
		cv_test_fds_only(old_schemes_make_no_new_passwords),
		cv_test_fds_only(rounds_are_taken),
		cv_test_fds_only(bcrypt_refuses_what_it_would_cut),
		cv_test_fds_only(speed_of_schemes_is_known),
	};
	return cv_test_run(tests);
}
