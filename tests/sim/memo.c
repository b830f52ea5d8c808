/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A set of names that only grows: no locks. */
#include "memo.h"

#include "digest.h"

#include <sys/mman.h>

#define MOST_TRIES 256u

void memo_init(struct memo *memo, uint64_t names)
{
	memo->slots = 1024;
	while (memo->slots < 2 * names)
		memo->slots *= 2;
	memo->slot = mmap(NULL, memo->slots * sizeof(*memo->slot), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(memo->slot != MAP_FAILED);
}

bool memo_add(struct memo *memo, uint64_t name)
{
	uint64_t at;

	name = name ? name : 1;
	at = digest_fold(name, UINT64_C(0x9e3779b97f4a7c15));
	for (unsigned i = 0; i < MOST_TRIES; i++) {
		_Atomic uint64_t *slot = &memo->slot[(at + i) & (memo->slots - 1)];
		uint64_t there = 0;

		if (atomic_compare_exchange_strong(slot, &there, name))
			return true;
		if (there == name)
			return false;
	}
	return true;
}
