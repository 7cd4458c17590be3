/* SPDX-License-Identifier: MIT
   Hooks: adding handlers, putting them in order, and the flat table they run from. */
#include "core/module/module-private.h"

#include <culver/log.h>

#include <errno.h>
#include <sys/mman.h>

static const struct {
	const char *name;
	enum cv_hook_policy policy;
} hook_info[HOOK_COUNT] = {
#define HOOK_INFO(hook, policy) [HOOK_##hook] = { #hook, policy },
	CV_HOOK_LIST(HOOK_INFO)
#undef HOOK_INFO
};

static const char *const stage_names[] = { "first", "early", "normal", "late", "last" };

/* ---- Adding --------------------------------------------------------------------------------------------------- */

static bool same_hook(const struct added_handler *a, enum hook_id hook, const char *point)
{
	if (point != NULL)
		return a->point != NULL && strcmp(a->point, point) == 0;
	return a->point == NULL && a->hook == hook;
}

static int add(struct cv_registry *reg, enum hook_id hook, const char *point, union hook_fn fn, const struct cv_hook_opts *opts,
	struct cv_err *err)
{
	static const struct cv_hook_opts none = { .stage = CV_STAGE_NORMAL };
	const char *hook_name = point != NULL ? point : hook_info[hook].name;

	if (reg->loading == NULL)
		return cv_err_set(err, CV_ERR_INTERNAL, "a handler of hook %s is added outside of a module's load", hook_name);
	struct added_handler added = { .opts = opts != NULL ? *opts : none, .fn = fn, .hook = hook, .point = point };
	if (added.opts.name == NULL)
		added.opts.name = reg->loading->name;
	if (added.opts.stage > CV_STAGE_LAST)
		return cv_err_set(err, CV_ERR_INVALID, "handler %s of hook %s has no proper stage", added.opts.name, hook_name);
	for (size_t i = 0; i < reg->added.count; i++)
		if (same_hook(&reg->added.data[i], hook, point) && strcmp(reg->added.data[i].opts.name, added.opts.name) == 0)
			return cv_err_set(err, CV_ERR_EXISTS, "hook %s has two handlers called %s", hook_name, added.opts.name);
	*cv_vec_push(&reg->added) = added;
	return 0;
}

int cv_hook_point_declare(struct cv_registry *reg, const char *name, enum cv_hook_policy policy, struct cv_hook_point **point_r,
	struct cv_err *err)
{
	if (reg->loading == NULL)
		return cv_err_set(err, CV_ERR_INTERNAL, "hook point %s is declared outside of a module's load", name);
	for (size_t i = 0; i < reg->points.count; i++)
		if (strcmp(reg->points.data[i]->name, name) == 0)
			return cv_err_set(err, CV_ERR_EXISTS, "hook point %s is declared twice", name);
	struct cv_hook_point *point = cv_new(reg->arena, struct cv_hook_point, 1);
	point->name = name;
	point->policy = policy;
	*cv_vec_push(&reg->points) = point;
	*point_r = point;
	return 0;
}

int cv_hook_point_add(struct cv_registry *reg, const char *name, cv_hook_fn *fn, const struct cv_hook_opts *opts, struct cv_err *err)
{
	return add(reg, HOOK_COUNT, name, (union hook_fn){ .point = fn }, opts, err);
}

/* ---- Order ---------------------------------------------------------------------------------------------------- */

struct sorting {
	const struct added_handler **list; /* of one hook, stage after stage, by name within */
	size_t count;
	bool *placed;
	const char *hook;
	struct cv_err *err;
};

static size_t find_handler(const struct sorting *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->list[i]->opts.name, name) == 0)
			return i;
	return SIZE_MAX;
}

static int check_stage(const struct sorting *s, size_t first, size_t second)
{
	const struct cv_hook_opts *a = &s->list[first]->opts, *b = &s->list[second]->opts;
	if (a->stage <= b->stage)
		return 0;
	return cv_err_set(s->err, CV_ERR_INVALID, "hook %s: %s (stage %s) cannot run before %s (stage %s)", s->hook, a->name,
		stage_names[a->stage], b->name, stage_names[b->stage]);
}

/* Names that nobody has are fine: the other module may not be loaded. */
static int check_stages(const struct sorting *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct cv_hook_opts *opts = &s->list[i]->opts;
		size_t after = opts->after == NULL ? SIZE_MAX : find_handler(s, opts->after);
		size_t before = opts->before == NULL ? SIZE_MAX : find_handler(s, opts->before);
		if ((after != SIZE_MAX && check_stage(s, after, i) < 0) || (before != SIZE_MAX && check_stage(s, i, before) < 0))
			return -1;
	}
	return 0;
}

/* One that is not placed and has to run before handler i; SIZE_MAX when there is none. */
static size_t waits_for(const struct sorting *s, size_t i)
{
	for (size_t j = 0; j < s->count; j++) {
		if (s->placed[j])
			continue;
		const struct cv_hook_opts *me = &s->list[i]->opts, *other = &s->list[j]->opts;
		if ((me->after != NULL && strcmp(me->after, other->name) == 0) ||
			(other->before != NULL && strcmp(other->before, me->name) == 0))
			return j;
	}
	return SIZE_MAX;
}

static int name_cycle(const struct sorting *s, size_t at)
{
	struct cv_buf text;
	/* Each one left waits for one that is left: after count steps we are within the circle. */
	for (size_t i = 0; i < s->count; i++)
		at = waits_for(s, at);
	size_t start = at;
	cv_buf_init(&text, 400);
	do {
		cv_buf_printf(&text, "%s waits for ", s->list[at]->opts.name);
		at = waits_for(s, at);
	} while (at != start);
	cv_buf_append_c(&text, s->list[start]->opts.name);
	cv_err_set(s->err, CV_ERR_INVALID, "hook %s: its handlers are ordered in a circle: %s", s->hook,
		cv_buf_ok(&text) ? text.data : "a long one");
	cv_buf_deinit(&text);
	return -1;
}

static int by_stage_and_name(const void *a, const void *b)
{
	const struct added_handler *const *ha = a, *const *hb = b;
	if ((*ha)->opts.stage != (*hb)->opts.stage)
		return (*ha)->opts.stage < (*hb)->opts.stage ? -1 : 1;
	return strcmp((*ha)->opts.name, (*hb)->opts.name);
}

/* Append the hook's handlers to flat in order. */
static int sort_hook(struct cv_registry *reg, enum hook_id hook, const char *point, struct flat_handler *flat, struct flat_list *list_r,
	struct cv_err *err)
{
	struct sorting s = {
		.list = cv_calloc(reg->added.count + 1, sizeof(*s.list)),
		.placed = cv_calloc(reg->added.count + 1, sizeof(bool)),
		.hook = point != NULL ? point : hook_info[hook].name,
		.err = err,
	};
	int ret;

	for (size_t i = 0; i < reg->added.count; i++)
		if (same_hook(&reg->added.data[i], hook, point))
			s.list[s.count++] = &reg->added.data[i];
	if (s.count > 1)
		qsort(s.list, s.count, sizeof(*s.list), by_stage_and_name);
	ret = check_stages(&s);
	for (size_t n = 0; n < s.count && ret == 0; n++) {
		size_t i = 0, stuck = SIZE_MAX;
		while (i < s.count && (s.placed[i] || waits_for(&s, i) != SIZE_MAX)) {
			if (!s.placed[i])
				stuck = i;
			i++;
		}
		if (i == s.count) {
			ret = name_cycle(&s, stuck);
			break;
		}
		s.placed[i] = true;
		flat[n] = (struct flat_handler){ .fn = s.list[i]->fn, .ctx = s.list[i]->opts.ctx, .name = s.list[i]->opts.name,
			.stage = s.list[i]->opts.stage };
	}
	*list_r = (struct flat_list){ .handlers = flat, .count = s.count };
	cv_free(s.list);
	cv_free(s.placed);
	return ret;
}

static int check_points(const struct cv_registry *reg, struct cv_err *err)
{
	for (size_t i = 0; i < reg->added.count; i++) {
		const char *name = reg->added.data[i].point;
		bool found = name == NULL;
		for (size_t j = 0; j < reg->points.count && !found; j++)
			found = strcmp(reg->points.data[j]->name, name) == 0;
		if (!found)
			return cv_err_set(err, CV_ERR_NOTFOUND, "handler %s wants hook point %s, which no loaded module declares",
				reg->added.data[i].opts.name, name);
	}
	return 0;
}

int cv_hooks_freeze(struct cv_registry *reg, struct cv_err *err)
{
	int ret = check_points(reg, err);
	size_t lists_size = HOOK_COUNT * sizeof(struct flat_list);
	reg->flat_size = lists_size + (reg->added.count + 1) * sizeof(struct flat_handler);
	reg->flat = mmap(NULL, reg->flat_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (reg->flat == MAP_FAILED) {
		reg->flat = NULL;
		return cv_err_sys(err, errno, "cannot get memory for the hooks");
	}
	struct flat_list *lists = reg->flat;
	/* UNSAFE: the handlers follow the lists in the same mapping, which is sized for both above. */
	struct flat_handler *flat = (struct flat_handler *)(void *)((char *)reg->flat + lists_size);
	for (enum hook_id hook = 0; hook < HOOK_COUNT && ret == 0; hook++) {
		ret = sort_hook(reg, hook, NULL, flat, &lists[hook], err);
		flat += lists[hook].count;
	}
	for (size_t i = 0; i < reg->points.count && ret == 0; i++) {
		ret = sort_hook(reg, HOOK_COUNT, reg->points.data[i]->name, flat, &reg->points.data[i]->list, err);
		flat += reg->points.data[i]->list.count;
	}
	if (ret == 0 && mprotect(reg->flat, reg->flat_size, PROT_READ) < 0)
		ret = cv_err_sys(err, errno, "cannot make the hooks read-only");
	if (ret < 0)
		return -1;
	reg->hooks = lists;
	reg->frozen = true;
	return 0;
}

void cv_hooks_free(struct cv_registry *reg)
{
	if (reg->flat != NULL)
		(void)munmap(reg->flat, reg->flat_size);
	reg->flat = NULL;
	reg->hooks = NULL;
	cv_vec_free(&reg->added);
	cv_vec_free(&reg->points);
}

bool cv_hook_next(const struct cv_registry *reg, size_t *pos, const char **hook_r, const char **handler_r, enum cv_hook_stage *stage_r)
{
	size_t at = *pos;
	if (reg->hooks == NULL)
		return false;
	for (size_t i = 0; i < HOOK_COUNT + reg->points.count; i++) {
		const struct flat_list *list = i < HOOK_COUNT ? &reg->hooks[i] : &reg->points.data[i - HOOK_COUNT]->list;
		if (at >= list->count) {
			at -= list->count;
			continue;
		}
		*hook_r = i < HOOK_COUNT ? hook_info[i].name : reg->points.data[i - HOOK_COUNT]->name;
		*handler_r = list->handlers[at].name;
		*stage_r = list->handlers[at].stage;
		(*pos)++;
		return true;
	}
	return false;
}

const char *cv_hook_stage_name(enum cv_hook_stage stage)
{
	return stage <= CV_STAGE_LAST ? stage_names[stage] : "unknown";
}

/* ---- Running -------------------------------------------------------------------------------------------------- */

/* What an answer means under the hook's policy. True: no other handler is asked, and *result_r is the whole's. */
static bool settle(enum cv_hook_policy policy, const char *hook, const char *handler, enum cv_hook_result answer, struct cv_err *err,
	enum cv_hook_result *result_r)
{
	if (answer == CV_HOOK_PASS)
		return false;
	switch (policy) {
	case CV_HOOK_NOTIFY:
		if (answer == CV_HOOK_ERROR)
			cv_warn(NULL, "hook %s: handler %s failed: %s", hook, handler,
				err->code != CV_ERR_NONE ? cv_log_clean(cv_str_c(err->text)) : "no reason given");
		return false;
	case CV_HOOK_GUARD:
		if (answer == CV_HOOK_DONE)
			return false;
		break;
	case CV_HOOK_DECIDE:
		break;
	}
	if (answer == CV_HOOK_DENY && err->code == CV_ERR_NONE)
		cv_err_set(err, CV_ERR_PERM, "refused by %s", handler);
	if (answer == CV_HOOK_ERROR && err->code == CV_ERR_NONE)
		cv_err_set(err, CV_ERR_TEMP, "%s could not tell", handler);
	/* An error is never a final no. */
	if (answer == CV_HOOK_ERROR && !cv_err_is_temp(err))
		err->code = CV_ERR_TEMP;
	*result_r = answer;
	return true;
}

static void give(struct cv_err *to, const struct cv_err *from)
{
	if (to != NULL)
		*to = *from;
}

#define HOOK_FUNCTIONS(hook, policy)                                                                          \
	int cv_hook_add_##hook(struct cv_registry *reg, cv_hook_##hook##_fn *fn, const struct cv_hook_opts *opts, struct cv_err *err) \
	{                                                                                                     \
		return add(reg, HOOK_##hook, NULL, (union hook_fn){ .hook = fn }, opts, err);                 \
	}                                                                                                     \
	enum cv_hook_result cv_hook_run_##hook(const struct cv_registry *reg, struct cv_hook_##hook *args, struct cv_err *err) \
	{                                                                                                     \
		enum cv_hook_result result = CV_HOOK_PASS;                                                    \
		const struct flat_list *list = reg->hooks == NULL ? NULL : &reg->hooks[HOOK_##hook];          \
		for (size_t i = 0; list != NULL && i < list->count; i++) {                                    \
			struct cv_err own = { 0 };                                                            \
			const struct flat_handler *h = &list->handlers[i];                                    \
			enum cv_hook_result answer = h->fn.hook(h->ctx, args, &own);                          \
			if (settle(policy, #hook, h->name, answer, &own, &result)) {                          \
				give(err, &own);                                                              \
				break;                                                                        \
			}                                                                                     \
		}                                                                                             \
		return result;                                                                                \
	}
CV_HOOK_LIST(HOOK_FUNCTIONS)
#undef HOOK_FUNCTIONS

enum cv_hook_result cv_hook_point_run(const struct cv_hook_point *point, void *args, struct cv_err *err)
{
	enum cv_hook_result result = CV_HOOK_PASS;
	for (size_t i = 0; i < point->list.count; i++) {
		struct cv_err own = { 0 };
		const struct flat_handler *h = &point->list.handlers[i];
		enum cv_hook_result answer = h->fn.point(h->ctx, args, &own);
		if (settle(point->policy, point->name, h->name, answer, &own, &result)) {
			give(err, &own);
			break;
		}
	}
	return result;
}
