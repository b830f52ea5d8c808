/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is every barrier needed, and would its loss be seen?  One bug after the other is planted: those that
 * image.h names first, then each barrier that plant.py has found is left out.
 */
#include "mutants.h"

#include "image.h"
#include "planted.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUTANT_NAME(name) [MUTANT_##name] = #name,
#define NAME_BYTES 200

static const char *const mutant_names[] = { MUTANT_LIST(MUTANT_NAME) };

const bool mutants_are_there = true;
unsigned planted_out;

/* They are numbered: those with names from 1 on, then the sites. */
static unsigned count_all(void)
{
	return MUTANT_COUNT - 1 + planted_count;
}

static void plant(unsigned number)
{
	mutant_planted = number < MUTANT_COUNT ? (enum mutant)number : MUTANT_NONE;
	planted_out = number < MUTANT_COUNT ? 0 : number - MUTANT_COUNT + 1;
}

static void describe(unsigned number, char *text)
{
	const struct planted_site *site = &planted_sites[number - MUTANT_COUNT];

	if (number < MUTANT_COUNT)
		snprintf(text, NAME_BYTES, "%s", mutant_names[number]);
	else
		snprintf(text, NAME_BYTES, "%s %s: %s", site->kind, site->where, site->what);
}

bool mutants_plant(const char *name)
{
	unsigned long number = strtoul(name, NULL, 10);

	/* No bug: for the kill points, which only these builds have. */
	if (strcmp(name, "NONE") == 0)
		return true;
	for (unsigned i = MUTANT_NONE + 1; i < MUTANT_COUNT; i++)
		if (strcmp(name, mutant_names[i]) == 0)
			number = i;
	if (number == 0 || number > count_all())
		return false;
	plant((unsigned)number);
	return true;
}

/* --- seeds that have found one before ----------------------------------------------------------- */

/* A line each: the seed, a blank, the mutant.  0: none is known. */
static uint64_t hint_for(const struct crew_options *crew, const char *name)
{
	FILE *file = crew->hints ? fopen(crew->hints, "re") : NULL;
	char line[NAME_BYTES + 32];
	uint64_t seed = 0;

	while (file && !seed && fgets(line, sizeof(line), file)) {
		char *end;
		uint64_t number = strtoull(line, &end, 10);

		end[strcspn(end, "\n")] = '\0';
		if (*end == ' ' && strcmp(end + 1, name) == 0)
			seed = number;
	}
	if (file)
		fclose(file);
	return seed;
}

/* --- finding ------------------------------------------------------------------------------------- */

/* Run one seed. */
static bool try_seed(const struct crew_options *crew, uint64_t seed, struct finding *finding)
{
	struct crew_options one = *crew;

	one.first = seed;
	one.seeds = one.jobs = 1;
	one.quiet = true;
	crew_run(&one, finding);
	return finding->found;
}

/* Does a seed find something that is no mutant's doing? */
static bool fails_anyway(const struct crew_options *crew, uint64_t seed, unsigned number)
{
	struct finding finding;

	plant(0);
	try_seed(crew, seed, &finding);
	plant(number);
	return finding.found;
}

/* The first seed that only the planted bug makes fail; false when the budget is used up before. */
static bool search(const struct crew_options *crew, unsigned number, struct finding *finding)
{
	struct crew_options left = *crew;
	uint64_t spent = 0;

	left.quiet = true;
	for (;;) {
		crew_run(&left, finding);
		spent += finding->milliseconds;
		finding->milliseconds = spent;
		if (!finding->found)
			return false;
		if (!fails_anyway(crew, finding->seed, number))
			return true;
		left.first = finding->seed + 1;
		if (left.seconds && spent >= left.seconds * 1000)
			return false;
	}
}

static bool find(const struct crew_options *crew, unsigned number, const char *name,
		 struct finding *finding)
{
	uint64_t hint = hint_for(crew, name);

	plant(number);
	if (hint && try_seed(crew, hint, finding) && !fails_anyway(crew, hint, number))
		return true;
	return search(crew, number, finding);
}

/* --- all of them --------------------------------------------------------------------------------- */

/* What a worker tells: less than PIPE_BUF, so that it arrives in one piece. */
struct result {
	unsigned number;
	struct finding finding;
};

struct hunt {
	const struct crew_options *crew;
	_Atomic unsigned *next; /* mutant to be dealt, of all workers */
	unsigned last;
	int results; /* a pipe */
};

static _Noreturn void work(const struct hunt *hunt)
{
	struct crew_options crew = *hunt->crew;
	unsigned i;

	crew.jobs = 1;
	while ((i = (*hunt->next)++) <= hunt->last) {
		struct result result = { .number = i };
		char name[NAME_BYTES];

		describe(i, name);
		if (crew.hinted && !hint_for(&crew, name))
			continue;
		result.finding.found = find(&crew, i, name, &result.finding);
		if (write(hunt->results, &result, sizeof(result)) != sizeof(result))
			break;
	}
	_exit(0);
}

static void print(const struct result *result)
{
	const struct finding *finding = &result->finding;
	char name[NAME_BYTES], seed[24] = "NOT FOUND";

	describe(result->number, name);
	if (finding->found)
		snprintf(seed, sizeof(seed), "%" PRIu64, finding->seed);
	printf("%3u  %-72.72s %9s %7" PRIu64 "  %s\n", result->number, name, seed,
	       finding->milliseconds, finding->found ? finding->message : "");
	fflush(stdout);
}

/* By their numbers, whoever came first. */
static void save_hints(const char *path, const uint64_t *seed, unsigned last)
{
	FILE *file = fopen(path, "we");

	if (!file) {
		perror(path);
		return;
	}
	for (unsigned i = 1; i <= last; i++) {
		char name[NAME_BYTES];

		describe(i, name);
		if (seed[i])
			fprintf(file, "%" PRIu64 " %s\n", seed[i], name);
	}
	fclose(file);
}

static void start_workers(const struct crew_options *crew, unsigned last, int results[2])
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned jobs = crew->jobs ? crew->jobs : (unsigned)(processors > 0 ? processors : 1);
	struct hunt hunt = { .crew = crew, .last = last };

	hunt.next = mmap(NULL, sizeof(*hunt.next), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(hunt.next != MAP_FAILED);
	must(pipe2(results, O_CLOEXEC) == 0);
	*hunt.next = 1;
	hunt.results = results[1];
	for (unsigned i = 0; i < jobs; i++)
		if (fork() == 0)
			work(&hunt);
	close(results[1]);
}

unsigned mutants_find_all(const struct crew_options *crew)
{
	unsigned last = crew->named ? MUTANT_COUNT - 1 : count_all(), tried = 0, found = 0;
	uint64_t *seed = calloc(last + 1, sizeof(*seed));
	struct result result;
	int results[2];

	must(seed);
	printf("%3s  %-72s %9s %7s  %s\n", "", "mutant", "seed", "ms", "found by");
	fflush(stdout);
	start_workers(crew, last, results);
	while (read(results[0], &result, sizeof(result)) == sizeof(result)) {
		print(&result);
		tried++;
		if (!result.finding.found)
			continue;
		seed[result.number] = result.finding.seed;
		found++;
	}
	while (wait(NULL) > 0)
		;
	if (crew->save_hints)
		save_hints(crew->save_hints, seed, last);
	free(seed);
	printf("%u of %u found, %u not tried\n", found, tried, last - tried);
	return tried ? tried - found : 1;
}
