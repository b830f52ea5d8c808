/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The linker sends every allocation through here (--wrap), the engine's as well as ours. */
#include "memory.h"

#include "base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

bool engine_running;
struct engine_memory engine_memory;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
int __real_posix_memalign(void **memory, size_t align, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__real_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t off);
int __real_munmap(void *at, size_t bytes);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t align, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
void *__wrap_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *at, size_t bytes);

/* Is there no memory for this one? */
static bool refused(void)
{
	must(!engine_running);
	if (++engine_memory.asked != engine_memory.nth)
		return false;
	engine_memory.failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t bytes)
{
	return refused() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return refused() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return refused() ? NULL : __real_realloc(old, bytes);
}

int __wrap_posix_memalign(void **memory, size_t align, size_t bytes)
{
	return refused() ? ENOMEM : __real_posix_memalign(memory, align, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
	return refused() ? NULL : __real_aligned_alloc(align, bytes);
}

void *__wrap_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
	void *memory = refused() ? MAP_FAILED : __real_mmap64(at, bytes, prot, flags, fd, off);

	if (memory != MAP_FAILED)
		engine_memory.mapped += bytes;
	return memory;
}

int __wrap_munmap(void *at, size_t bytes)
{
	engine_memory.mapped -= bytes;
	return __real_munmap(at, bytes);
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
	void *memory = __real_mmap64(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		out_of_memory();
	engine_memory.mapped += bytes;
	return memory;
}
