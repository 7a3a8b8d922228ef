/*
 * Running a program to its end for what it says. Blocks, so: pool threads only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

struct run {
	const char *file;  /* absolute path of the program */
	char *const *argv; /* NULL-terminated, its name first */
	char *const *envp; /* NULL-terminated */
	int timeout_ms;    /* then its process group is ended */
};

/* What it said, cut at the size of the buffers. */
struct run_output {
	int status;     /* exit status, -1 if killed by a signal or by the time-out */
	bool timed_out; /* ended by us */
	char out[8192]; /* standard output */
	char err[2048]; /* standard error */
	size_t out_len; /* before the NUL; a NUL from the program itself counts as text */
	bool out_cut;   /* there was more */
};

/**
 * run_program() - start it and wait for its end
 * Thread: pool.  Blocks: at most @run->timeout_ms and 3 s more.
 * Return: 0 if it ran (see @output->status), else -errno.
 */
MUST_CHECK int run_program(const struct run *run, struct run_output *output);
