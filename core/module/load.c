/* SPDX-License-Identifier: MIT
   Loads modules: what is required first, else by name; then the hooks are ordered and frozen. */
#include "core/module/module-private.h"

enum mark { MARK_NEW, MARK_OPEN, MARK_DONE };

struct loader {
	struct cv_registry *reg;
	enum cv_role role;
	size_t *order; /* indexes into reg->modules, by name; static ones first */
	enum mark *marks;
	size_t *path;  /* from where we came, for naming a cycle */
	size_t depth;
	struct cv_err *err;
};

static int name_cycle(struct loader *l, size_t again)
{
	struct cv_buf text;
	size_t start = 0;
	cv_buf_init(&text, 400);
	while (l->path[start] != again)
		start++;
	for (size_t i = start; i < l->depth; i++)
		cv_buf_printf(&text, "%s -> ", l->reg->modules.data[l->path[i]].module->name);
	cv_buf_append_c(&text, l->reg->modules.data[again].module->name);
	cv_err_set(l->err, CV_ERR_INVALID, "modules require each other in a circle: %s", cv_buf_ok(&text) ? text.data : "a long one");
	cv_buf_deinit(&text);
	return -1;
}

static int load_one(struct loader *l, size_t index)
{
	struct cv_registry *reg = l->reg;
	const struct cv_module *m = reg->modules.data[index].module;
	if ((m->roles & (unsigned)l->role) == 0)
		return 0;
	reg->loading = m;
	int ret = m->load(reg, l->role, l->err);
	reg->loading = NULL;
	if (ret < 0)
		return cv_err_context(l->err, "module %s", m->name);
	reg->modules.data[index].loaded = true;
	*cv_vec_push(&reg->load_order) = m;
	return 0;
}

/* Depth is bounded by the number of modules, which the administrator's directory has. */
static int visit(struct loader *l, size_t index)
{
	struct cv_registry *reg = l->reg;
	const struct cv_module *m = reg->modules.data[index].module;

	if (l->marks[index] == MARK_DONE)
		return 0;
	if (l->marks[index] == MARK_OPEN)
		return name_cycle(l, index);
	l->marks[index] = MARK_OPEN;
	l->path[l->depth++] = index;
	for (size_t i = 0; m->needs != NULL && m->needs[i] != NULL; i++) {
		const struct opened_module *needed = cv_module_find(reg, m->needs[i]);
		if (needed == NULL)
			return cv_err_set(l->err, CV_ERR_NOTFOUND, "module %s requires %s, which is not there: install it, or do without %s", m->name,
				m->needs[i], m->name);
		if (visit(l, (size_t)(needed - reg->modules.data)) < 0)
			return -1;
	}
	l->depth--;
	l->marks[index] = MARK_DONE;
	return load_one(l, index);
}

static bool before(const struct opened_module *a, const struct opened_module *b)
{
	bool sa = a->path == NULL, sb = b->path == NULL;
	return sa != sb ? sa : strcmp(a->module->name, b->module->name) < 0;
}

int cv_modules_load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	size_t count = reg->modules.count;
	struct loader l = {
		.reg = reg,
		.role = role,
		.order = cv_calloc(count + 1, sizeof(size_t)),
		.marks = cv_calloc(count + 1, sizeof(enum mark)),
		.path = cv_calloc(count + 1, sizeof(size_t)),
		.err = err,
	};
	int ret = 0;

	cv_assert(!reg->frozen);
	for (size_t i = 0; i < count; i++) {
		size_t at = i;
		for (; at > 0 && before(&reg->modules.data[i], &reg->modules.data[l.order[at - 1]]); at--)
			l.order[at] = l.order[at - 1];
		l.order[at] = i;
	}
	for (size_t i = 0; i < count && ret == 0; i++)
		ret = visit(&l, l.order[i]);
	if (ret == 0)
		ret = cv_hooks_freeze(reg, err);
	cv_free(l.order);
	cv_free(l.marks);
	cv_free(l.path);
	return ret;
}

int cv_modules_check(const struct cv_registry *reg, const struct cv_conf *conf, struct cv_err *err)
{
	for (size_t i = 0; i < reg->modules.count; i++) {
		const struct cv_module *m = reg->modules.data[i].module;
		if (m->check != NULL && m->check(conf, err) < 0)
			return cv_err_context(err, "module %s", m->name);
	}
	return 0;
}
