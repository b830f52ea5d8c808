/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second for each input, of processor time: libFuzzer's own limit counts the time that others use as
 * well.  The linker sends each call of a target through here (--wrap).
 */
#include "base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#define SECONDS 1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __real_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_alarm(time_t seconds)
{
	struct itimerval alarm = { .it_value.tv_sec = seconds };

	must(setitimer(ITIMER_PROF, &alarm, NULL) == 0);
}

/* The fuzzer keeps the input of who aborts. */
static void too_long(int signal)
{
	static const char text[] = "an input takes more than a second of processor time\n";

	(void)signal;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	abort();
}

int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int result;

	signal(SIGPROF, too_long);
	set_alarm(SECONDS);
	result = __real_LLVMFuzzerTestOneInput(data, size);
	set_alarm(0);
	return result;
}
