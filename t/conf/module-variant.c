/* SPDX-License-Identifier: MIT
   Small modules for the loader's tests: VARIANT says what is wrong with each. */
#include <culver/module.h>

/* Variants. */
#define GOOD 1
#define BAD_MAGIC 2
#define OTHER_MAJOR 3
#define NEWER_MINOR 4
#define SHORT_STRUCT 5   /* without the last members, as an older interface has it */
#define TINY_STRUCT 6
#define MISSING_SYMBOL 7
#define NEEDS_ABSENT 8
#define CYCLE_A 9
#define CYCLE_B 10
#define MISNAMED 11
#define NEEDS_GOOD 12
#define BAD_ROLES 13
#define OTHER_SYMBOL 14

#if VARIANT == GOOD
#define IDENT good
#define NAME "good"
#elif VARIANT == BAD_MAGIC
#define IDENT bad_magic
#define NAME "bad-magic"
#elif VARIANT == OTHER_MAJOR
#define IDENT other_major
#define NAME "other-major"
#elif VARIANT == NEWER_MINOR
#define IDENT newer_minor
#define NAME "newer-minor"
#elif VARIANT == SHORT_STRUCT
#define IDENT short_struct
#define NAME "short-struct"
#elif VARIANT == TINY_STRUCT
#define IDENT tiny_struct
#define NAME "tiny-struct"
#elif VARIANT == MISSING_SYMBOL
#define IDENT missing_symbol
#define NAME "missing-symbol"
#elif VARIANT == NEEDS_ABSENT
#define IDENT needs_absent
#define NAME "needs-absent"
#elif VARIANT == CYCLE_A
#define IDENT cycle_a
#define NAME "cycle-a"
#elif VARIANT == CYCLE_B
#define IDENT cycle_b
#define NAME "cycle-b"
#elif VARIANT == MISNAMED
#define IDENT misnamed
#define NAME "another"
#elif VARIANT == NEEDS_GOOD
#define IDENT a_needs_good
#define NAME "a-needs-good"
#elif VARIANT == BAD_ROLES
#define IDENT bad_roles
#define NAME "bad-roles"
#elif VARIANT == OTHER_SYMBOL
#define IDENT quite_other
#define NAME "other-symbol"
#endif

#if VARIANT == MISSING_SYMBOL
int cv_test_nobody_has_this(void);
#endif

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
#if VARIANT == MISSING_SYMBOL
	if (cv_test_nobody_has_this() != 0)
		return -1;
#endif
	static const int service = VARIANT;
	return cv_service_register(reg, NAME, 1, &service, err);
}

#if VARIANT == SHORT_STRUCT
/* Must not be reached: it lies beyond struct_size. */
static void at_unload(struct cv_registry *reg)
{
	(void)reg;
	cv_fatal("unload beyond struct_size was called");
}
#else
#define at_unload NULL
#endif

#if VARIANT == NEEDS_ABSENT
static const char *const needed[] = { "absent", NULL };
#elif VARIANT == CYCLE_A
static const char *const needed[] = { "cycle-b", NULL };
#elif VARIANT == CYCLE_B
static const char *const needed[] = { "cycle-a", NULL };
#elif VARIANT == NEEDS_GOOD
static const char *const needed[] = { "good", NULL };
#else
#define needed NULL
#endif

/* IDENT must be expanded before CV_MODULE pastes it. */
#define MODULE(ident) CV_MODULE(ident)

MODULE(IDENT) = {
#if VARIANT == BAD_MAGIC
	.magic = 0x12345678u,
#else
	.magic = CV_MODULE_MAGIC,
#endif
#if VARIANT == OTHER_MAJOR
	.abi_major = CV_ABI_MAJOR + 1,
#else
	.abi_major = CV_ABI_MAJOR,
#endif
#if VARIANT == NEWER_MINOR
	.abi_minor = CV_ABI_MINOR + 1,
#else
	.abi_minor = CV_ABI_MINOR,
#endif
#if VARIANT == SHORT_STRUCT
	.struct_size = offsetof(struct cv_module, unload),
#elif VARIANT == TINY_STRUCT
	.struct_size = 8,
#else
	.struct_size = sizeof(struct cv_module),
#endif
	.name = NAME,
	.version = "1",
	.kind = CV_KIND_PLUGIN,
#if VARIANT == BAD_ROLES
	.roles = 1u << 20,
#else
	.roles = CV_ROLE_WORKER | CV_ROLE_TOOL,
#endif
	.needs = needed,
	.load = load,
	.unload = at_unload,
};
