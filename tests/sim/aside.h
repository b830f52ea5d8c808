/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For which bytes of the image has the host set space aside, and what is owed of that? */
#ifndef ASIDE_H
#define ASIDE_H

#include <stdbool.h>
#include <stdint.h>

struct stretch {
	uint64_t at;
	uint64_t end;
	bool owed; /* it was set aside in vain, and has to be given back */
};

struct aside {
	struct stretch *stretch; /* in no order, none touches another of its kind */
	uint32_t stretches;
	uint32_t room;
};

void aside_add(struct aside *aside, uint64_t at, uint64_t end, bool owed);
void aside_remove(struct aside *aside, uint64_t at, uint64_t end);

/* It is being given back. */
void aside_settle(struct aside *aside, uint64_t at, uint64_t end);
bool aside_is_owed(const struct aside *aside);

void aside_forget(struct aside *aside);

#endif
