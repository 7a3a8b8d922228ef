/*
 * A fuzzer without libFuzzer: each seed, what is left of it when it is cut short, and what it
 * becomes when a few of its bytes are others; the same ones each time. See replay.sh.
 *
 *   fuzz_NAME SECONDS SEED…         no input is begun after that
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "util/clock.h"
#include "util/fs.h"

#define REPLAY_MAX  (1 << 20) /* bytes of a seed */
#define REPLAY_CUTS 16
#define REPLAY_BENT 64

static uint64_t until_ms;
static unsigned long inputs;

/* xorshift64*, see https://en.wikipedia.org/wiki/Xorshift */
static uint64_t replay_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static bool replay_time(void)
{
	return clock_mono_ms() < until_ms;
}

/* In an allocation of its own size: what reads past it is seen by sanitizers. */
static void replay_input(const char *data, size_t size)
{
	uint8_t *copy = malloc(size + !size);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	inputs++;
}

static void replay_near(char *data, size_t size)
{
	uint64_t state = 1 + size;

	for (size_t i = 0; i < REPLAY_CUTS && replay_time(); i++)
		replay_input(data, size * i / REPLAY_CUTS);
	for (size_t i = 0; size > 0 && i < REPLAY_BENT && replay_time(); i++) {
		size_t at[3];
		char was[3];

		for (size_t k = 0; k < 3; k++) {
			at[k] = replay_random(&state) % (k ? size : size < 100 ? size : 100);
			was[k] = data[at[k]];
			data[at[k]] ^= (char)(k ? replay_random(&state) & 0xff : 0x80);
		}
		replay_input(data, size);
		for (size_t k = 3; k-- > 0;)
			data[at[k]] = was[k];
	}
}

int main(int argc, char **argv)
{
	until_ms = clock_mono_ms() + 1000 * (argc > 1 ? strtoul(argv[1], NULL, 10) : 0);
	for (int near = 0; near < 2; near++)
		for (int i = 2; i < argc; i++) {
			CLEANUP(freep) char *data = NULL;
			size_t size;

			if (fs_read_file(argv[i], REPLAY_MAX, &data, &size) < 0) {
				(void)fprintf(stderr, "%s cannot be read\n", argv[i]);
				return 1;
			}
			if (near)
				replay_near(data, size);
			else
				replay_input(data, size);
		}
	(void)printf("%lu inputs\n", inputs);
	return inputs == 0;
}
