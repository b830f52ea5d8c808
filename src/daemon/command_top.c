/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd top: what all devices do, again and again. */
#include "client.h"
#include "commands.h"
#include "json.h"
#include "rates.h"
#include "size.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum top_status { TOP_OK, TOP_FAILED, TOP_USAGE };

#define PATIENCE_S 5

struct top_command {
	struct command_options common;
	uint64_t interval_s;
	uint64_t count; /* 0: for ever */
	bool json;
};

#define AT(field) offsetof(struct top_command, field)

static const struct option_row rows[] = {
	{ "interval", "SECONDS", "between two looks (default: 2)", NUMBER, AT(interval_s), 1, 3600,
	  0 },
	{ "count", "N", "end after N looks (default: never)", NUMBER, AT(count), 1, UINT32_MAX, 0 },
	{ "json", NULL, "print a JSON list on one line for each look", FLAG, AT(json), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "top",
	.operand = "NAME|DEVICE",
	.least = 0,
	.most = 1,
	.about = "Show what a device does, or all that have a daemon; q ends it on a terminal.\n",
	.ending = "Exit status: 0 ended; 1 no such device; 2 wrong command line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

/* --- looks --------------------------------------------------------------------------------------- */

struct look {
	struct report *report;
	size_t count;
	double seconds; /* monotonic */
};

static double now_s(void)
{
	return (double)monotonic_ns() * 1e-9;
}

static void look_free(struct look *look)
{
	for (size_t i = 0; i < look->count; i++)
		report_free(&look->report[i]);
	free(look->report);
	*look = (struct look){ 0 };
}

/* Daemons that do not answer, or have just ended, are left out. */
static int look_at(struct look *look, const char *only, struct why *why)
{
	struct registry_entry *entries;
	struct why ignored;
	size_t count;
	int err = registry_list(&entries, &count, why);

	*look = (struct look){ .seconds = now_s() };
	if (err)
		return err;
	look->report = calloc(count + 1, sizeof(*look->report));
	for (size_t i = 0; look->report && i < count; i++)
		if (entries[i].alive && entries[i].device[0] &&
		    (!only || strcmp(entries[i].name, only) == 0) &&
		    client_ask(entries[i].name, "status", PATIENCE_S, &look->report[look->count],
			       &ignored) == 0)
			look->count++;
	free(entries);
	return look->report ? 0 : why_set(why, -ENOMEM, "out of memory");
}

/* What the same daemon said the last time, or NULL. */
static const struct report *earlier(const struct look *look, const struct report *report)
{
	char name[NAME_LENGTH + 1], other[NAME_LENGTH + 1];

	report_get_text(report, "name", name, sizeof(name));
	for (size_t i = 0; i < look->count; i++)
		if (report_get(&look->report[i], "pid") == report_get(report, "pid") &&
		    strcmp(report_get_text(&look->report[i], "name", other, sizeof(other)), name) ==
			    0)
			return &look->report[i];
	return NULL;
}

/* --- printing ------------------------------------------------------------------------------------ */

static void print_line(const struct report *report, const struct rates *r)
{
	char name[NAME_LENGTH + 1], state[16], in[SIZE_TEXT], out[SIZE_TEXT];

	report_get_text(report, "name", name, sizeof(name));
	report_get_text(report, "state", state, sizeof(state));
	printf("%-16s %-8s %8.0f %8.0f %7.0f %10s %10s %8.0f %8.0f %8.0f %8.0f %5.1f %6llu\n", name,
	       state, r->reads, r->writes, r->flushes, size_text(in, (uint64_t)r->read_bytes),
	       size_text(out, (uint64_t)r->write_bytes), r->read_ns[0] / 1000, r->read_ns[1] / 1000,
	       r->write_ns[0] / 1000, r->write_ns[1] / 1000, r->hit_share * 100,
	       (unsigned long long)r->slices_dirty);
}

static void print_json(const struct report *report, const struct rates *r, bool first)
{
	char name[NAME_LENGTH + 1], state[16];

	report_get_text(report, "name", name, sizeof(name));
	report_get_text(report, "state", state, sizeof(state));
	printf("%s{\"name\": \"%s\", \"state\": \"%s\", \"reads\": %.1f, \"writes\": %.1f, "
	       "\"flushes\": %.1f, \"discards\": %.1f, \"read-bytes\": %.0f, \"write-bytes\": %.0f, "
	       "\"failed\": %.1f, \"syncs\": %.1f, \"read-latency-ns\": [%.0f, %.0f], "
	       "\"write-latency-ns\": [%.0f, %.0f], \"hit-share\": %.4f, \"slices-dirty\": %llu}",
	       first ? "" : ", ", name, state, r->reads, r->writes, r->flushes, r->discards,
	       r->read_bytes, r->write_bytes, r->failed, r->syncs, r->read_ns[0], r->read_ns[1],
	       r->write_ns[0], r->write_ns[1], r->hit_share, (unsigned long long)r->slices_dirty);
}

static void print(const struct look *before, const struct look *after, bool json, bool screen)
{
	bool first = true;

	if (screen)
		printf("\033[H\033[J");
	if (json)
		putchar('[');
	else
		printf("%-16s %-8s %8s %8s %7s %10s %10s %8s %8s %8s %8s %5s %6s\n", "NAME",
		       "STATE", "READ/s", "WRITE/s", "FLUSH/s", "READ B/s", "WRITE B/s", "R us 50",
		       "R us 99", "W us 50", "W us 99", "HIT %", "DIRTY");
	for (size_t i = 0; i < after->count; i++) {
		const struct report *report = &after->report[i];
		const struct report *was = earlier(before, report);
		struct rates rates;

		if (!was)
			continue;
		rates = rates_between(was, report, after->seconds - before->seconds);
		if (json)
			print_json(report, &rates, first);
		else
			print_line(report, &rates);
		first = false;
	}
	if (json)
		printf("]\n");
	fflush(stdout);
}

/* --- the terminal -------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* They are let in while we wait: then none comes between the look and the wait. */
static void hold_signals(sigset_t *outside)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGTERM);
	sigprocmask(SIG_BLOCK, &held, outside);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* Keys come one by one and are not shown; false when there is no terminal. */
static bool take_keys(struct termios *old)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, old))
		return false;
	raw = *old;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* False when it is time to end.  Signals come only here, by the mask @outside. */
static bool wait_until(double when, bool keys, const sigset_t *outside)
{
	struct pollfd fds = { .fd = STDIN_FILENO, .events = POLLIN };
	double left;
	char key;

	while (!interrupted && (left = when - now_s()) > 0) {
		struct timespec wait = { .tv_sec = (time_t)left,
					 .tv_nsec = (long)((left - (double)(time_t)left) * 1e9) };
		int n = ppoll(&fds, keys, &wait, outside);

		if (n > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q'))
			return false;
	}
	return !interrupted;
}

static int run(const struct top_command *command, const char *only, bool keys,
	       const sigset_t *outside, struct why *why)
{
	struct look before, after;
	int err = look_at(&before, only, why);

	for (uint64_t n = 0; !err && (!command->count || n < command->count); n++) {
		if (!wait_until(before.seconds + (double)command->interval_s, keys, outside))
			break;
		err = look_at(&after, only, why);
		if (err)
			break;
		if (only && !after.count)
			err = why_set(why, -ENODEV, "%s: its daemon does not answer any more",
				      only);
		else
			print(&before, &after, command->json, keys && !command->json);
		look_free(&before);
		before = after;
	}
	look_free(&before);
	return err;
}

int command_top(char **argv)
{
	struct top_command command = { .interval_s = 2 };
	struct registry_entry entry = { .name = "" };
	struct termios old;
	sigset_t outside;
	struct why why;
	int err = 0, status;
	bool keys;

	if (!command_parse(&usage, &command.common, argv, TOP_USAGE, &status))
		return status;
	if (command.common.operands)
		err = client_find(command.common.operand[0], &entry, &why);
	if (!err) {
		hold_signals(&outside);
		keys = take_keys(&old);
		err = run(&command, entry.name[0] ? entry.name : NULL, keys, &outside, &why);
		if (keys)
			tcsetattr(STDIN_FILENO, TCSANOW, &old);
	}
	if (err)
		log_error("%s", why.text);
	return command_end(err ? TOP_FAILED : TOP_OK, TOP_FAILED);
}
