/* SPDX-License-Identifier: MIT
   How far growing memory grows. */
#ifndef CV_GROW_H
#define CV_GROW_H

#include <stddef.h>

/* Octets or elements up to which sanitized builds leave no room to spare: more would copy too much. */
#define CV_GROW_TIGHT 2048

/* The capacity to allocate where need are needed and usual (not less) leaves room for more. Built with sanitizers, what is
   small gets no room: each growth moves it then, and a pointer that is kept over one is seen in every run, whatever the lengths. */
static inline size_t cv_grow_cap(size_t usual, size_t need)
{
#ifdef CV_SANITIZE
	if (need <= CV_GROW_TIGHT)
		return need;
#else
	(void)need;
#endif
	return usual;
}

#endif
