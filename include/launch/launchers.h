/*
 * Which launchers there are: a row each, in the order in which they are offered. Of the rows
 * are made the words of [worker] launcher and --launcher, and launch.c's table; TYPE_type is a
 * `const struct launch_type` of src/launch/TYPE.c.
 */
#pragma once

/* Name, word, type. */
/* clang-format off */
#define LAUNCHERS(X) \
	X(AUTO, "auto", fork) /* or systemd: a configuration comes to one of them in engine.c */ \
	X(SYSTEMD, "systemd", unit) \
	X(FORK, "fork", fork) \
	X(SLURM, "slurm", slurm) \
	X(COMMAND, "command", fork) /* with the words that argv.c puts before */
/* clang-format on */

enum launcher_kind {
#define LAUNCHERS_NAME(name, word, type) LAUNCHER_##name,
	LAUNCHERS(LAUNCHERS_NAME)
#undef LAUNCHERS_NAME
};
