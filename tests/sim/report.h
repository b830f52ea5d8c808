/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a simulation says: its trace when asked for, and its last words. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>

/* Print every event on standard output. */
extern bool sim_trace;

#define trace(...) (sim_trace ? trace_line(__VA_ARGS__) : (void)0)

void trace_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A judge is not content: print why, what led to it and how to see it again; end the process. */
_Noreturn void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Set by whoever runs a life: print what it was, and its flight recorder. */
extern void (*report_hook)(void);

#endif
