/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration files: lines `option = value`, with the names and values of the command line.
 *
 * A value is what follows the first `=`, without the blanks around it; there are no quotes.
 * Empty lines and those that begin with `#` say nothing.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include "rows.h"

#define CONFIG_BYTES (64 * KIB) /* at most */

/*
 * Read the file @path into the structure @options.  What is put there may point into *@text, which
 * is the caller's to free, also after an error.  -EINVAL, -errno, with the sentence in @why, which
 * names file and line.
 */
int config_read(char **text, const char *path, const struct option_rows *rows, void *options,
		struct why *why);

#endif
