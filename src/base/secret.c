/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory for keys: pages of their own, so that what is told the kernel is about nothing else. */
#include "base.h"

#include <sys/mman.h>
#include <unistd.h>

static size_t whole_pages(size_t bytes)
{
	return round_up(bytes, (size_t)sysconf(_SC_PAGESIZE));
}

void *secret_alloc(size_t bytes)
{
	size_t size = whole_pages(bytes);
	void *secret = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (secret == MAP_FAILED)
		return NULL;
	/* Who may not lock memory goes without; the other two always work. */
	(void)!mlock(secret, size);
	(void)!madvise(secret, size, MADV_DONTDUMP);
	(void)!madvise(secret, size, MADV_DONTFORK);
	return secret;
}

void secret_free(void *secret, size_t bytes)
{
	if (!secret)
		return;
	explicit_bzero(secret, bytes);
	munmap(secret, whole_pages(bytes));
}
