/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the checker says about a simulated file. */
#ifndef SOUNDNESS_H
#define SOUNDNESS_H

#include "sparse.h"

/* No corruption; leaks are not looked at.  False also for what cannot be checked. */
bool soundness_of(const struct sparse *file);

/* Does not return when it is not sound. */
void soundness_demand(const struct sparse *file);

#endif
