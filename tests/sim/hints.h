/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files about mutants: seeds that have found them, and reasons why nothing can. */
#ifndef HINTS_H
#define HINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUTANT_NAME_BYTES 300

/* The seed that @path, a file with a line "SEED NAME" each, knows; 0: none.  NULL: no file. */
uint64_t hint_for(const char *path, const char *name);

/*
 * Why the mutant need not be found, as @path says: a line with its name, then lines that begin with
 * a tab.  False: it does not say.  NULL: no file.
 */
bool exception_for(const char *path, const char *name, char *why, size_t len);

/* The first name in @path that @is_one does not know, or NULL; overwritten by the next call. */
const char *exception_unknown(const char *path, bool (*is_one)(const char *name));

#endif
