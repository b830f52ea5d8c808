/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The linker sends every allocation through here (--wrap), the engine's as well as ours. */
#include "memory.h"

#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

bool engine_running;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
int __real_posix_memalign(void **memory, size_t align, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t align, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
	must(!engine_running);
	return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	must(!engine_running);
	return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	must(!engine_running);
	return __real_realloc(old, bytes);
}

int __wrap_posix_memalign(void **memory, size_t align, size_t bytes)
{
	must(!engine_running);
	return __real_posix_memalign(memory, align, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
	must(!engine_running);
	return __real_aligned_alloc(align, bytes);
}

static void out_of_memory(void)
{
	fprintf(stderr, "out of memory\n");
	abort();
}

void *xmalloc(size_t bytes)
{
	void *memory = __real_malloc(bytes ? bytes : 1);

	if (!memory)
		out_of_memory();
	return memory;
}

void *xrealloc(void *old, size_t bytes)
{
	void *memory = __real_realloc(old, bytes);

	if (!memory)
		out_of_memory();
	return memory;
}

void *reserve_zeroed(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		out_of_memory();
	return memory;
}
