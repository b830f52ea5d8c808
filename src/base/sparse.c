/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address space of which little is used. */
#include "base.h"

#include <sys/mman.h>

void *sparse_map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* Else each page that is touched may cost 2 MiB; kernels without huge pages say EINVAL. */
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

void sparse_return(void *memory, size_t bytes)
{
	/* Locked memory stays as it is, and says EINVAL. */
	madvise(memory, bytes, MADV_DONTNEED);
}
