/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cases and checks of a test program; prints the Test Anything Protocol. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct {
	unsigned cases;
	unsigned failed_cases;
	unsigned failures; /* in the case at hand */
	char name[128];
} check_state;

static inline void check_case_end(void)
{
	if (!check_state.cases)
		return;
	printf("%s %u - %s\n", check_state.failures ? "not ok" : "ok", check_state.cases,
	       check_state.name);
	check_state.failed_cases += check_state.failures != 0;
}

/* Begin a case; the one before it, if any, ends here. */
__attribute__((format(printf, 1, 2))) static inline void check_case(const char *fmt, ...)
{
	va_list args;

	check_case_end();
	va_start(args, fmt);
	vsnprintf(check_state.name, sizeof(check_state.name), fmt, args);
	va_end(args);
	check_state.cases++;
	check_state.failures = 0;
}

/* End of the program: what main() returns. */
static inline int check_end(void)
{
	check_case_end();
	printf("1..%u\n", check_state.cases);
	return check_state.failed_cases != 0;
}

static inline void check_true(bool holds, const char *what, const char *file, int line)
{
	if (holds)
		return;
	check_state.failures++;
	printf("# %s:%d: %s: not so: %s\n", file, line, check_state.name, what);
}

static inline void check_equal(uint64_t got, uint64_t want, const char *what, const char *file,
			       int line)
{
	if (got == want)
		return;
	check_state.failures++;
	printf("# %s:%d: %s: %s is %#" PRIx64 ", not %#" PRIx64 "\n", file, line, check_state.name,
	       what, got, want);
}

static inline void check_contains(const char *text, const char *part, const char *file, int line)
{
	if (strstr(text, part))
		return;
	check_state.failures++;
	printf("# %s:%d: %s: \"%s\" is not in: %s\n", file, line, check_state.name, part, text);
}

#define CHECK(cond) check_true(cond, #cond, __FILE__, __LINE__)
#define CHECK_EQ(got, want) check_equal((uint64_t)(got), (uint64_t)(want), #got, __FILE__, __LINE__)
#define CHECK_CONTAINS(text, part) check_contains(text, part, __FILE__, __LINE__)

#endif
