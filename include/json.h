/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes that an image or a caller has chosen, made safe to print.  Any thread. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>
#include <stdio.h>

/*
 * Print @len bytes as a JSON string with its quotes.  Control characters and quotes are escaped;
 * each byte that is no valid UTF-8 becomes U+FFFD.
 */
void json_string(FILE *out, const void *bytes, size_t len);

/* Print them for a terminal: what is no printable ASCII or valid UTF-8 as \xNN. */
void plain_string(FILE *out, const void *bytes, size_t len);

#endif
