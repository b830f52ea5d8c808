/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which CPUs a queue's thread runs on. */
#ifndef AFFINITY_H
#define AFFINITY_H

#include <sched.h>
#include <stddef.h>

/* CPUs that the machine can have, counted from 0. */
unsigned possible_cpus(void);

/*
 * Widen @cpus (@bytes long), the CPUs that submit to a queue, to all CPUs of their NUMA nodes.
 *
 * Memory stays near, and the scheduler may let the thread run beside who submits.  On a machine
 * with a queue per CPU the thread would otherwise have to share that one CPU with its client,
 * while others are idle.
 */
void affinity_widen(cpu_set_t *cpus, size_t bytes);

#endif
