/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a start will need and can be tried beforehand, while another process serves the image. */
#ifndef REHEARSE_H
#define REHEARSE_H

#include "options.h"

/*
 * Can this program read the headers of the image and of its chain, are all files there that they
 * name, and the key and the user, and may it trust what the old process leaves in memory?  Opens for
 * reading only, takes no lock, and closes everything.
 * @managed: a service manager starts it, and may have a key that we have not.  -errno with the
 * sentence in @why.
 */
int rehearse(const struct options *options, bool managed, struct why *why);

#endif
