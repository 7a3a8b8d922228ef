/*
 * Workers as jobs of a Slurm cluster. A job runs on another node, where no pid of it says
 * anything here: so each has an attendant on this host, a small process that submits it, lives
 * as long as the cluster says that the job is there, and passes on the signal that ends it. The
 * board's worker_pid is the attendant's.
 */
#pragma once

#define SLURM_ATTEND_OPTION "--slurm-attendant" /* kanband starts itself with this */
#define SLURM_WORKER_OPTION "--slurm-worker"    /* and the job on its node with this */

/**
 * slurm_attend_main() - be the attendant of one job
 * @argv: the option, milliseconds from SIGTERM to the job's SIGKILL, the job's name, its
 *        description on the root, the file that the job reads, then the command line of sbatch
 * Return: an exit status: the job's as far as it has one.
 */
int slurm_attend_main(int argc, char *const *argv);

/**
 * slurm_worker_main() - what a job runs: start the worker that standard input describes
 * (unit_worker_main()), and end with it and all that it started
 * Return: its exit status; or it ends by the worker's signal.
 */
int slurm_worker_main(void);
