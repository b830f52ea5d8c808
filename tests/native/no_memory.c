/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library to preload: allocation number NO_MEMORY of the program's own code fails, once; what the
 * C library and others allocate for themselves is not counted.
 */
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

static uintptr_t first, last; /* of the program's code */
static long left;

/* The first object is the program. */
static int find_code(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		first = info->dlpi_addr + header->p_vaddr;
		last = first + header->p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("NO_MEMORY");

	dl_iterate_phdr(find_code, NULL);
	left = text ? strtol(text, NULL, 10) : 0;
}

static int refused(const void *caller)
{
	static const char words[] = "no_memory.c: an allocation has failed\n";

	if ((uintptr_t)caller < first || (uintptr_t)caller >= last)
		return 0;
	if (__atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) != 0)
		return 0;
	if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
		abort();
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t bytes)
{
	return refused(__builtin_return_address(0)) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
	return refused(__builtin_return_address(0)) ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
	return refused(__builtin_return_address(0)) ? NULL : __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
	return refused(__builtin_return_address(0)) ? NULL : __libc_memalign(align, bytes);
}

/* meson asks for offsets of 64 bits, so this is the symbol mmap64. */
void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
	if (refused(__builtin_return_address(0)))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, bytes, prot, flags, fd, off);
}
