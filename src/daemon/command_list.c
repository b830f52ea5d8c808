/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd list: the ublk devices of this machine, ours and others', living and dead. */
#include "client.h"
#include "commands.h"
#include "devices.h"
#include "json.h"
#include "size.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum list_status { LIST_OK, LIST_FAILED, LIST_USAGE };

#define PATIENCE_S 5

struct list_command {
	struct command_options common;
	bool json;
};

#define AT(field) offsetof(struct list_command, field)

static const struct option_row rows[] = {
	{ "json", NULL, "print a JSON list of objects", FLAG, AT(json), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "list",
	.about = "List the ublk devices of this machine, whoever serves them.\n",
	.ending =
		"States: starting, serving, stopping; broken, corrupt: nothing is written any more;\n"
		"silent: its daemon does not answer; waiting: for a new daemon; dead: without a\n"
		"server; gone: killed, with its device; foreign: another program's.\n"
		"Exit status: 0 printed; 1 failed; 2 wrong command line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

/* A device, or what is left of one. */
struct row {
	const struct registry_entry *entry; /* NULL: not ours, or not registered */
	const struct ublk_device *device; /* NULL: the driver knows none */
	char state[16];
	pid_t server; /* 0: none */
	char program[32]; /* that serves it; "": nobody, or unknown */
};

/* --- what it is ---------------------------------------------------------------------------------- */

static void set_state(struct row *row, const char *state)
{
	snprintf(row->state, sizeof(row->state), "%s", state);
}

/* The name of a process, or "". */
static void program_of(pid_t pid, char *program, size_t size)
{
	char path[64];
	ssize_t n = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	in = pid > 0 ? fopen(path, "re") : NULL;
	if (in) {
		n = (ssize_t)fread(program, 1, size - 1, in);
		fclose(in);
	}
	program[n] = '\0';
	program[strcspn(program, "\n")] = '\0';
}

/* What its daemon says, or that it says nothing. */
static void judge_living(struct row *row)
{
	const struct registry_entry *entry = row->entry;
	struct report report;
	char state[16];
	struct why why;

	row->server = entry->pid;
	program_of(entry->pid, row->program, sizeof(row->program));
	if (!entry->device[0]) {
		set_state(row, "starting");
		return;
	}
	if (client_ask(entry->name, "status", PATIENCE_S, &report, &why)) {
		set_state(row, "silent");
		return;
	}
	set_state(row, report_get_text(&report, "state", state, sizeof(state)));
	report_free(&report);
}

static void judge_device(struct row *row)
{
	const struct ublk_device *device = row->device;

	switch (device->state) {
	case UBLK_DEAD:
		set_state(row, "dead");
		return;
	case UBLK_WAITING:
		set_state(row, "waiting");
		return;
	case UBLK_LIVE:
		program_of(device->server, row->program, sizeof(row->program));
		row->server = device->server > 0 ? device->server : 0;
		set_state(row, strcmp(row->program, "qcow2-ublkd") == 0 ? "silent" : "foreign");
		return;
	case UBLK_UNKNOWN:
		set_state(row, "unknown");
		return;
	}
}

static void judge(struct row *row)
{
	if (row->entry && row->entry->alive)
		judge_living(row);
	else if (row->device)
		judge_device(row);
	else
		set_state(row, "gone");
}

/* --- all of them --------------------------------------------------------------------------------- */

struct listing {
	struct registry_entry *entry;
	size_t entries;
	struct ublk_device *device;
	size_t devices;
	struct row *row;
	size_t rows;
};

/* Has another entry the device?  A living one goes before one that was left behind. */
static bool is_taken(const struct listing *list, const struct ublk_device *device)
{
	for (size_t i = 0; i < list->rows; i++)
		if (list->row[i].device == device)
			return true;
	return false;
}

static void add_row(struct listing *list, const struct registry_entry *entry,
		    const struct ublk_device *device)
{
	list->row[list->rows++] = (struct row){ .entry = entry, .device = device };
}

static void add_entries(struct listing *list, bool alive)
{
	for (size_t i = 0; i < list->entries; i++) {
		const struct registry_entry *entry = &list->entry[i];
		const struct ublk_device *device =
			devices_named(list->device, list->devices, entry->device);

		if (entry->alive != alive)
			continue;
		if (!alive && device && is_taken(list, device))
			device = NULL;
		add_row(list, entry, device);
	}
}

static void add_others(struct listing *list)
{
	for (size_t i = 0; i < list->devices; i++)
		if (!is_taken(list, &list->device[i]))
			add_row(list, NULL, &list->device[i]);
}

static int collect(struct listing *list, struct why *why)
{
	int err = registry_list(&list->entry, &list->entries, why);

	if (!err)
		err = devices_list(&list->device, &list->devices, why);
	if (err)
		return err;
	list->row = calloc(list->entries + list->devices + 1, sizeof(*list->row));
	if (!list->row)
		return why_set(why, -ENOMEM, "out of memory");
	add_entries(list, true);
	add_entries(list, false);
	add_others(list);
	for (size_t i = 0; i < list->rows; i++)
		judge(&list->row[i]);
	return 0;
}

/* --- printing ------------------------------------------------------------------------------------ */

static void device_name_of(const struct row *row, char *text, size_t size)
{
	text[0] = '\0';
	if (row->device)
		snprintf(text, size, "/dev/ublkb%d", row->device->id);
	else if (row->entry && row->entry->alive)
		snprintf(text, size, "%s", row->entry->device);
}

static void print_text(const char *text)
{
	json_string(stdout, text, strlen(text));
}

static void print_json(const struct row *row, bool first)
{
	char device[32];

	device_name_of(row, device, sizeof(device));
	printf("%s\n    {\n        \"state\": ", first ? "" : ",");
	print_text(row->state);
	if (row->entry) {
		printf(",\n        \"name\": ");
		print_text(row->entry->name);
	}
	if (device[0]) {
		printf(",\n        \"device\": ");
		print_text(device);
	}
	if (row->entry && row->entry->image[0]) {
		printf(",\n        \"image\": ");
		print_text(row->entry->image);
	}
	if (row->device && row->device->size_bytes)
		printf(",\n        \"virtual-size\": %llu,\n        \"read-only\": %s",
		       (unsigned long long)row->device->size_bytes,
		       row->device->read_only ? "true" : "false");
	if (row->server)
		printf(",\n        \"pid\": %d", (int)row->server);
	if (row->program[0]) {
		printf(",\n        \"program\": ");
		print_text(row->program);
	}
	printf("\n    }");
}

static void print_line(const struct row *row)
{
	char device[32], size[SIZE_TEXT] = "-", pid[16] = "-";
	const char *what = row->program;

	device_name_of(row, device, sizeof(device));
	if (row->device && row->device->size_bytes)
		size_text(size, row->device->size_bytes);
	if (row->server)
		snprintf(pid, sizeof(pid), "%d", (int)row->server);
	if (row->entry)
		what = row->entry->image;
	printf("%-16s %-14s %-9s %9s %8s  ", row->entry ? row->entry->name : "-",
	       device[0] ? device : "-", row->state, size, pid);
	plain_string(stdout, what, strlen(what));
	putchar('\n');
}

static void print(const struct listing *list, bool json)
{
	if (json) {
		putchar('[');
		for (size_t i = 0; i < list->rows; i++)
			print_json(&list->row[i], i == 0);
		printf("%s]\n", list->rows ? "\n" : "");
		return;
	}
	if (list->rows)
		printf("%-16s %-14s %-9s %9s %8s  %s\n", "NAME", "DEVICE", "STATE", "SIZE", "PID",
		       "IMAGE OR PROGRAM");
	for (size_t i = 0; i < list->rows; i++)
		print_line(&list->row[i]);
}

int command_list(char **argv)
{
	struct list_command command = { 0 };
	struct listing list = { 0 };
	struct why why;
	int err, status;

	if (!command_parse(&usage, &command.common, argv, LIST_USAGE, &status))
		return status;
	err = collect(&list, &why);
	if (err)
		log_error("%s", why.text);
	else
		print(&list, command.json);
	free(list.row);
	free(list.device);
	free(list.entry);
	return command_end(err ? LIST_FAILED : LIST_OK, LIST_FAILED);
}
