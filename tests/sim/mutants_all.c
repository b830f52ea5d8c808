/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One planted bug after the other, by several processes; and the table of all. */
#include "mutants.h"

#include "hints.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum fate { FATE_LEFT, FATE_FOUND, FATE_LOST, FATE_EXCEPTION };

/* What a worker tells: less than PIPE_BUF, so that it arrives in one piece. */
struct result {
	unsigned number;
	enum fate fate;
	struct finding finding;
};

struct hunt {
	const struct crew_options *crew;
	_Atomic unsigned *next; /* mutant to be dealt, of all workers */
	unsigned last;
	int results; /* a pipe */
};

/* Does the command line ask for this one? */
static bool is_wanted(const struct crew_options *crew, unsigned number, const char *name)
{
	bool named = strcmp(mutant_kind(number), MUTANT_NAMED) == 0;
	uint64_t hint = crew->hinted || crew->missing ? hint_for(crew->hints, name) : 0;

	if ((crew->named && !named) || (crew->barriers && named))
		return false;
	if ((crew->hinted && !hint) || (crew->missing && hint))
		return false;
	return !crew->every || number % crew->every == 0;
}

static _Noreturn void work(const struct hunt *hunt)
{
	struct crew_options crew = *hunt->crew;
	unsigned i;

	crew.jobs = 1;
	while ((i = (*hunt->next)++) <= hunt->last) {
		struct result result = { .number = i };
		char name[MUTANT_NAME_BYTES];

		mutant_describe(i, name);
		if (!is_wanted(&crew, i, name))
			continue;
		if (exception_for(crew.exceptions, name, result.finding.message,
				  sizeof(result.finding.message)))
			result.fate = FATE_EXCEPTION;
		else
			result.fate = mutant_find(&crew, i, name, &result.finding) ? FATE_FOUND :
										     FATE_LOST;
		if (write(hunt->results, &result, sizeof(result)) != sizeof(result))
			break;
	}
	_exit(0);
}

static void print(const struct result *result)
{
	const struct finding *finding = &result->finding;
	char name[MUTANT_NAME_BYTES], seed[24] = "NOT FOUND";

	mutant_describe(result->number, name);
	if (result->fate == FATE_FOUND)
		snprintf(seed, sizeof(seed), "%" PRIu64, finding->seed);
	if (result->fate == FATE_EXCEPTION)
		snprintf(seed, sizeof(seed), "exception");
	printf("%3u  %-72.72s %9s %7" PRIu64 "  %s\n", result->number, name, seed,
	       finding->milliseconds, result->fate == FATE_LOST ? "" : finding->message);
	fflush(stdout);
}

static const char hints_head[] =
	"# SPDX-License-Identifier: GPL-2.0-or-later\n"
	"# Seeds by which mutants finds each bug at once; see --save-hints.  One that no longer does "
	"costs a search.\n";

/* By their numbers, whoever came first; of who was not tried, what was known before. */
static void save_hints(const struct crew_options *crew, const struct result *results, unsigned last)
{
	char made[PATH_MAX], name[MUTANT_NAME_BYTES];
	FILE *file;

	snprintf(made, sizeof(made), "%s.new", crew->save_hints);
	file = fopen(made, "we");
	if (file)
		fputs(hints_head, file);
	for (unsigned i = 1; file && i <= last; i++) {
		uint64_t seed = results[i].finding.seed;

		mutant_describe(i, name);
		if (results[i].fate != FATE_FOUND)
			seed = hint_for(crew->hints, name);
		if (seed)
			fprintf(file, "%" PRIu64 " %s\n", seed, name);
	}
	if (!file || fclose(file) || rename(made, crew->save_hints))
		perror(made);
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

/* --- the table ----------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Seeds are tried from 1 on, so the one that finds a mutant says how many it took. */
static void print_kind(const char *kind, const struct result *results, unsigned last)
{
	unsigned fates[FATE_EXCEPTION + 1] = { 0 }, found = 0, all = 0;
	uint64_t *seed = calloc(last + 1, sizeof(*seed));

	must(seed);
	for (unsigned i = 1; i <= last; i++) {
		if (strcmp(kind, mutant_kind(i)) != 0)
			continue;
		all++;
		fates[results[i].fate]++;
		if (results[i].fate == FATE_FOUND)
			seed[found++] = results[i].finding.seed;
	}
	qsort(seed, found, sizeof(*seed), by_size);
	printf("| %s | %u | %u | %" PRIu64 " | %" PRIu64 " | %u | %u | %u |\n", kind, all, found,
	       found ? seed[found / 2] : 0, found ? seed[found - 1] : 0, fates[FATE_EXCEPTION],
	       fates[FATE_LOST], fates[FATE_LEFT]);
	free(seed);
}

static void print_kinds(const struct result *results, unsigned last)
{
	printf("\n| kind | mutants | found | seed, median | highest | exceptions | not found | not "
	       "tried |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
	for (unsigned i = 1; i <= last; i++) {
		bool first = true;

		for (unsigned j = 1; first && j < i; j++)
			first = strcmp(mutant_kind(i), mutant_kind(j)) != 0;
		if (first)
			print_kind(mutant_kind(i), results, last);
	}
}

static bool is_mutant(const char *name)
{
	char other[MUTANT_NAME_BYTES];

	for (unsigned i = 1; i <= mutants_count(); i++) {
		mutant_describe(i, other);
		if (strcmp(name, other) == 0)
			return true;
	}
	return false;
}

unsigned mutants_find_all(const struct crew_options *crew)
{
	const char *unknown = exception_unknown(crew->exceptions, is_mutant);
	unsigned last = mutants_count(), tried = 0, lost = 0;
	struct result *all = calloc(last + 1, sizeof(*all)), result;
	int results[2];

	must(all);
	if (unknown)
		printf("%s: there is no mutant '%s'\n", crew->exceptions, unknown);
	printf("%3s  %-72s %9s %7s  %s\n", "", "mutant", "seed", "ms", "found by");
	fflush(stdout);
	start_workers(crew, last, results);
	while (read(results[0], &result, sizeof(result)) == sizeof(result)) {
		print(&result);
		all[result.number] = result;
		tried++;
		lost += result.fate == FATE_LOST;
		if (crew->save_hints && result.fate == FATE_FOUND)
			save_hints(crew, all, last);
	}
	while (wait(NULL) > 0)
		;
	print_kinds(all, last);
	free(all);
	printf("\n%u not found\n", lost);
	return unknown || !tried ? 1 : lost;
}
