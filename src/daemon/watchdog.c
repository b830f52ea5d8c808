/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service manager's watchdog: protocol of sd_watchdog_enabled(3). */
#include "watchdog.h"
#include "messages.h"
#include "notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Looks in the time that the manager gives us: one to ask, one to hear, and two to spare. */
#define LOOKS 4

#define THREAD_TEXT 40

static int64_t period_of_environment(void)
{
	const char *pid = getenv("WATCHDOG_PID"), *usec = getenv("WATCHDOG_USEC");

	if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoll(usec, NULL, 10) / 1000 / LOOKS;
}

static void ask(struct watchdog *watchdog)
{
	device_ask_pulse(watchdog->device);
	worker_ask_pulse(&watchdog->service->worker);
	pool_ask_pulse(watchdog->pool);
	watchdog->due_ms = monotonic_ms() + watchdog->period_ms;
}

void watchdog_begin(struct watchdog *watchdog, struct device *device, struct service *service,
		    struct pool *pool)
{
	*watchdog = (struct watchdog){
		.period_ms = period_of_environment(),
		.device = device,
		.service = service,
		.pool = pool,
	};
	if (watchdog->period_ms > 0)
		ask(watchdog);
}

void watchdog_watch(const struct watchdog *watchdog, int *timeout_ms)
{
	if (watchdog->period_ms > 0)
		timeout_lower(timeout_ms, watchdog->due_ms - monotonic_ms());
}

/* Which thread stands still; "" when none does. */
static void find_still(const struct watchdog *watchdog, char who[static THREAD_TEXT])
{
	int queue = device_still_queue(watchdog->device);

	who[0] = '\0';
	if (queue >= 0)
		snprintf(who, THREAD_TEXT, "the thread of queue %d", queue);
	else if (!worker_has_pulse(&watchdog->service->worker))
		snprintf(who, THREAD_TEXT, "the service thread");
	else if (!pool_has_pulse(watchdog->pool))
		snprintf(who, THREAD_TEXT, "a thread of the pool");
}

/* Does a thread stand still?  Said once. */
static bool is_still(struct watchdog *watchdog)
{
	char who[THREAD_TEXT];

	find_still(watchdog, who);
	if (who[0] && !watchdog->still)
		log_event(MESSAGE_STANDS_STILL, "%s: %s stands still; the watchdog is not told",
			  device_name(watchdog->device), who);
	watchdog->still = who[0];
	return watchdog->still;
}

void watchdog_turn(struct watchdog *watchdog)
{
	if (watchdog->period_ms <= 0 || monotonic_ms() < watchdog->due_ms)
		return;
	if (is_still(watchdog)) {
		watchdog->due_ms = monotonic_ms() + watchdog->period_ms;
		return;
	}
	notify("WATCHDOG=1");
	ask(watchdog);
}

void watchdog_end(struct watchdog *watchdog)
{
	watchdog->period_ms = 0;
}
