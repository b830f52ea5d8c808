/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What plant.py puts into the engine's sources: a switch at each barrier. */
#ifndef PLANTED_H
#define PLANTED_H

#include "task.h"

/* A barrier of the engine. */
struct planted_site {
	const char *kind;
	const char *where; /* file/function, or file/STATE */
	const char *what; /* the call that can be left out */
};

extern const struct planted_site planted_sites[];
extern const unsigned planted_count;

/* The number of the one at hand, from 1 on; 0: none. */
extern unsigned planted_watched;

/* The engine passes it; true: it is out. */
bool planted_passed(void);

#define PLANTED(site) (planted_watched == (site) && planted_passed())

/* Instead of await_io(): the task goes on as if its ios had completed, and they fly on. */
enum step planted_no_await_io(struct task *task, int next);

#endif
