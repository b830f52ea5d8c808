/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU lists of sysfs, like "0-3,8". */
#include "affinity.h"

#include "base.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

/* The next range of a list; false at its end. */
static bool next_range(FILE *file, unsigned *first, unsigned *last)
{
	int separator;

	if (fscanf(file, "%u", first) != 1)
		return false;
	*last = *first;
	separator = fgetc(file);
	if (separator == '-' && fscanf(file, "%u", last) == 1)
		separator = fgetc(file);
	return *last >= *first;
}

unsigned possible_cpus(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned first, last = 0;

	while (file && next_range(file, &first, &last))
		;
	if (file)
		fclose(file);
	return last + 1;
}

/* When one of the node's CPUs is among @wanted, all of them are added to @cpus. */
static void add_node(const char *node, const cpu_set_t *wanted, cpu_set_t *cpus, size_t bytes)
{
	char path[sizeof(((struct dirent *)0)->d_name) + 40];
	unsigned first, last;
	bool near = false;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/%s/cpulist", node);
	file = fopen(path, "re");
	if (!file)
		return;
	while (next_range(file, &first, &last))
		for (size_t cpu = first; cpu <= last && cpu < bytes * 8; cpu++)
			near |= CPU_ISSET_S(cpu, bytes, wanted);
	rewind(file);
	while (near && next_range(file, &first, &last))
		for (size_t cpu = first; cpu <= last && cpu < bytes * 8; cpu++)
			CPU_SET_S(cpu, bytes, cpus);
	fclose(file);
}

void affinity_widen(cpu_set_t *cpus, size_t bytes)
{
	DIR *nodes = opendir("/sys/devices/system/node");
	cpu_set_t *wanted = malloc(bytes);

	if (wanted)
		memcpy(wanted, cpus, bytes);
	for (struct dirent *node; wanted && nodes && (node = readdir(nodes));)
		if (strncmp(node->d_name, "node", 4) == 0)
			add_node(node->d_name, wanted, cpus, bytes);
	/* A kernel without NUMA has a single node. */
	for (size_t cpu = 0; !nodes && cpu < possible_cpus() && cpu < bytes * 8; cpu++)
		CPU_SET_S(cpu, bytes, cpus);
	free(wanted);
	if (nodes)
		closedir(nodes);
}
