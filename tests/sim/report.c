/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trace and last words. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool sim_trace;
void (*report_hook)(void);

void trace_line(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

void sim_fail(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	if (report_hook)
		report_hook();
	fflush(stderr);
	_Exit(1);
}
