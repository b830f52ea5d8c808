/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd status: what a daemon says about itself and its device. */
#include "client.h"
#include "commands.h"
#include "json.h"
#include "size.h"

#include <errno.h>
#include <stdlib.h>

enum status_status { STATUS_OK, STATUS_FAILED, STATUS_USAGE };

#define PATIENCE_S 5

struct status_command {
	struct command_options common;
	bool json;
};

#define AT(field) offsetof(struct status_command, field)

static const struct option_row rows[] = {
	{ "json", NULL, "print one JSON object, or a list of them for all", FLAG, AT(json), 0, 0,
	  0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "status",
	.operand = "NAME|DEVICE",
	.least = 0,
	.most = 1,
	.about = "Print what a device is and does; without a name, of all that have a daemon.\n",
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

static int print_one(const char *name, const struct status_command *command, unsigned indent)
{
	struct report report;
	struct why why;

	if (client_ask(name, "status", PATIENCE_S, &report, &why)) {
		log_error("%s", why.text);
		return -EIO;
	}
	if (command->json)
		report_print_json(&report, stdout, indent);
	else
		print_plain(&report);
	report_free(&report);
	return 0;
}

static int print_named(const struct status_command *command)
{
	struct registry_entry entry;
	struct why why;
	int err = client_find(command->common.operand[0], &entry, &why);

	if (err) {
		log_error("%s", why.text);
		return err;
	}
	err = print_one(entry.name, command, 0);
	if (!err && command->json)
		putchar('\n');
	return err;
}

static int print_all(const struct status_command *command)
{
	struct registry_entry *entries;
	size_t count;
	struct why why;
	bool first = true;
	int err = registry_list(&entries, &count, &why);

	if (err) {
		log_error("%s", why.text);
		return err;
	}
	if (command->json)
		putchar('[');
	for (size_t i = 0; i < count; i++) {
		if (!entries[i].alive || !entries[i].device[0])
			continue;
		if (command->json)
			printf("%s\n    ", first ? "" : ",");
		else if (!first)
			putchar('\n');
		if (print_one(entries[i].name, command, 1)) {
			err = -EIO;
			if (command->json)
				printf("null");
		}
		first = false;
	}
	if (command->json)
		printf("%s]\n", first ? "" : "\n");
	free(entries);
	return err;
}

int command_status(char **argv)
{
	struct status_command command = { 0 };
	int err, status;

	if (!command_parse(&usage, &command.common, argv, STATUS_USAGE, &status))
		return status;
	err = command.common.operands ? print_named(&command) : print_all(&command);
	return command_end(err ? STATUS_FAILED : STATUS_OK, STATUS_FAILED);
}
