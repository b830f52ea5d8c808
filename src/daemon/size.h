/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers for people. */
#ifndef SIZE_H
#define SIZE_H

#include "base.h"

#define SIZE_TEXT 24

/* Bytes with three digits and a unit, as "1.50 GiB".  Returns @text. */
char *size_text(char text[SIZE_TEXT], uint64_t bytes);

/* Seconds as "3 d 4 h", "5 min 6 s" or the like.  Returns @text. */
char *duration_text(char text[SIZE_TEXT], uint64_t seconds);

#endif
