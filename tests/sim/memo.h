/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What some process has seen already, by name (digest.h); shared by all that are forked from who made it. */
#ifndef MEMO_H
#define MEMO_H

#include "base.h"

struct memo {
	_Atomic uint64_t *slot; /* 0: free */
	uint64_t slots; /* a power of two */
};

/* Room for about so many; never given back. */
void memo_init(struct memo *memo, uint64_t names);

/* True when it is new.  When there is no room, it is new each time. */
bool memo_add(struct memo *memo, uint64_t name);

#endif
