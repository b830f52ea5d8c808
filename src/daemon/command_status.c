/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd status: what a daemon says about itself and its device. */
#include "client.h"
#include "commands.h"
#include "devices.h"
#include "json.h"
#include "metrics.h"
#include "size.h"

#include <errno.h>
#include <stdlib.h>

enum status_status { STATUS_OK, STATUS_FAILED, STATUS_USAGE };

#define PATIENCE_S 5

struct status_command {
	struct command_options common;
	bool json;
	bool prometheus;
};

#define AT(field) offsetof(struct status_command, field)

static const struct option_row rows[] = {
	{ "json", NULL, "print one JSON object, or a list of them for all", FLAG, AT(json), 0, 0,
	  0 },
	{ "prometheus", NULL, "print metrics in the text format of Prometheus", FLAG,
	  AT(prometheus), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "status",
	.operand = "NAME|DEVICE",
	.least = 0,
	.most = 1,
	.about =
		"Print what a device is and does; without a name, of all that have a daemon or wait for one.\n",
	.ending =
		"Exit status: 0 printed; 1 no such device, or its daemon does not answer; 2 wrong\n"
		"command line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

/* --- for people ---------------------------------------------------------------------------------- */

static void print_text(const struct report *report, const char *what, const char *key)
{
	char text[PATH_MAX];

	report_get_text(report, key, text, sizeof(text));
	printf("%-14s", what);
	plain_string(stdout, text, strlen(text));
	putchar('\n');
}

static uint64_t get(const struct report *report, const char *group, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "%s.%s", group, key);
	return report_get(report, path);
}

static void print_requests(const struct report *report)
{
	static const char *const op[] = { "read", "write", "flush", "discard", "write-zeroes" };
	char size[SIZE_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(op); i++) {
		printf("%-14s%llu %s", i ? "" : "requests",
		       (unsigned long long)get(report, "requests", op[i]), op[i]);
		if (strcmp(op[i], "flush") != 0)
			printf(", %s", size_text(size, get(report, "bytes", op[i])));
		putchar('\n');
	}
	printf("%-14s%llu failed\n", "", (unsigned long long)report_get(report, "failed"));
}

static void print_image(const struct report *report)
{
	printf("%-14s%llu loads, %llu write-backs of slices, %llu dirty\n", "L2 cache",
	       (unsigned long long)report_get(report, "cache.slices-loaded"),
	       (unsigned long long)report_get(report, "cache.slices-written"),
	       (unsigned long long)report_get(report, "cache.slices-dirty"));
	printf("%-14s%llu runs, %llu syncs of the host's files\n", "flushes",
	       (unsigned long long)report_get(report, "flush.runs"),
	       (unsigned long long)report_get(report, "flush.syncs"));
	printf("%-14s%llu allocated, %llu released, %llu reserved, %llu in quarantine\n",
	       "clusters", (unsigned long long)report_get(report, "clusters.allocated"),
	       (unsigned long long)report_get(report, "clusters.released"),
	       (unsigned long long)report_get(report, "clusters.reserved"),
	       (unsigned long long)report_get(report, "clusters.quarantined"));
}

static void print_plain(const struct report *report)
{
	char size[SIZE_TEXT], cluster[SIZE_TEXT], time[SIZE_TEXT];

	print_text(report, "name", "name");
	print_text(report, "device", "device");
	print_text(report, "state", "state");
	print_text(report, "image", "image");
	if (!report_find(report, "pid"))
		return;
	printf("%-14s%s, clusters of %s%s\n", "disk",
	       size_text(size, report_get(report, "virtual-size")),
	       size_text(cluster, report_get(report, "cluster-size")),
	       report_is(report, "read-only") ? ", read-only" : "");
	printf("%-14s%llu of %llu requests%s\n", "queues",
	       (unsigned long long)report_get(report, "queue-count"),
	       (unsigned long long)report_get(report, "depth"),
	       report_is(report, "zero-copy") ? ", zero copy" : "");
	printf("%-14s%llu, up for %s\n", "process", (unsigned long long)report_get(report, "pid"),
	       duration_text(time, report_get(report, "uptime-seconds")));
	print_requests(report);
	print_image(report);
}

/* --- who ----------------------------------------------------------------------------------------- */

struct reports {
	struct report *report;
	size_t count;
	bool failed; /* somebody did not answer */
};

static void ask(struct reports *reports, const char *name)
{
	struct why why;

	if (client_ask(name, "status", PATIENCE_S, &reports->report[reports->count], &why)) {
		log_error("%s", why.text);
		reports->failed = true;
	} else {
		reports->count++;
	}
}

/* Its daemon has been killed, and the device is there: its users wait. */
static void tell_of(struct reports *reports, const struct registry_entry *entry)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (out) {
		report_text(out, "name", entry->name);
		report_text(out, "device", entry->device);
		report_text(out, "image", entry->image);
		report_text(out, "state", "waiting");
	}
	if (!out || fclose(out) || report_parse(&reports->report[reports->count], text)) {
		log_error("%s: out of memory", entry->name);
		reports->failed = true;
		return;
	}
	reports->count++;
}

struct everybody {
	struct registry_entry *entry;
	size_t entries;
	struct ublk_device *device;
	size_t devices;
};

/* What was left behind under another name may have a device that somebody serves by now. */
static bool waits(const struct everybody *all, const struct registry_entry *entry)
{
	const struct ublk_device *device = devices_named(all->device, all->devices, entry->device);

	return !entry->alive && device && device->state == UBLK_WAITING;
}

static int ask_named(struct reports *reports, const char *which, struct why *why)
{
	struct everybody all = { 0 };
	struct registry_entry entry;
	int err = client_find(which, &entry, why);

	if (!err && !entry.alive)
		err = devices_list(&all.device, &all.devices, why);
	if (err)
		return err;
	reports->report = calloc(1, sizeof(*reports->report));
	if (!reports->report)
		err = why_set(why, -ENOMEM, "out of memory");
	else if (waits(&all, &entry))
		tell_of(reports, &entry);
	else
		ask(reports, entry.name);
	free(all.device);
	return err;
}

static int find_all(struct everybody *all, struct why *why)
{
	int err = registry_list(&all->entry, &all->entries, why);

	return err ? err : devices_list(&all->device, &all->devices, why);
}

static int ask_all(struct reports *reports, struct why *why)
{
	struct everybody all = { 0 };
	int err = find_all(&all, why);

	reports->report = err ? NULL : calloc(all.entries + 1, sizeof(*reports->report));
	for (size_t i = 0; reports->report && i < all.entries; i++) {
		const struct registry_entry *entry = &all.entry[i];

		if (entry->alive && entry->device[0])
			ask(reports, entry->name);
		else if (waits(&all, entry))
			tell_of(reports, entry);
	}
	free(all.entry);
	free(all.device);
	if (err || reports->report)
		return err;
	return why_set(why, -ENOMEM, "out of memory");
}

/* --- all of it ----------------------------------------------------------------------------------- */

static void print_json(const struct reports *reports, bool list)
{
	if (!list && reports->count) {
		report_print_json(&reports->report[0], stdout, 0);
		putchar('\n');
	}
	if (!list)
		return;
	putchar('[');
	for (size_t i = 0; i < reports->count; i++) {
		printf("%s\n    ", i ? "," : "");
		report_print_json(&reports->report[i], stdout, 1);
	}
	printf("%s]\n", reports->count ? "\n" : "");
}

static void print(const struct reports *reports, const struct status_command *command)
{
	if (command->prometheus) {
		metrics_print(reports->report, reports->count, stdout);
	} else if (command->json) {
		print_json(reports, !command->common.operands);
	} else {
		for (size_t i = 0; i < reports->count; i++) {
			if (i)
				putchar('\n');
			print_plain(&reports->report[i]);
		}
	}
}

int command_status(char **argv)
{
	struct status_command command = { 0 };
	struct reports reports = { 0 };
	struct why why;
	int err, status;

	if (!command_parse(&usage, &command.common, argv, STATUS_USAGE, &status))
		return status;
	if (command.common.operands)
		err = ask_named(&reports, command.common.operand[0], &why);
	else
		err = ask_all(&reports, &why);
	if (err)
		log_error("%s", why.text);
	else
		print(&reports, &command);
	for (size_t i = 0; i < reports.count; i++)
		report_free(&reports.report[i]);
	free(reports.report);
	return command_end(err || reports.failed ? STATUS_FAILED : STATUS_OK, STATUS_FAILED);
}
