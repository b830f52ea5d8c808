/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths in the names of units. */
#ifndef INSTANCE_H
#define INSTANCE_H

#include "base.h"

#include <limits.h>

/*
 * The path that `systemd-escape --path` makes @instance of: / for each -, bytes for \xNN, and a /
 * at its beginning.  False when it is none.
 */
bool instance_path(char path[PATH_MAX], const char *instance);

#endif
