/*
 * The one table of options, and what is read off it: names, sections, near misses.
 *
 * Keys that config.yaml has too bear the same name here, so that nobody has to learn two.
 */
#include "daemon.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "launch/launch.h"
#include "notify/gateway.h"
#include "util/suggest.h"

#define MINUTE 60
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEAR   (366 * DAY)
#define KI     INT64_C(1024)
#define MANY   INT64_C(1000000)

#define EVERYWHERE (IN_KANBAND | IN_ROOT | IN_BOARD)
#define ONE_WORKER (IN_WORKER | IN_ROOT | IN_BOARD | IN_PROFILE | IN_POOL)

/* The offset of a field; the sum with 0 * sizeof makes a field of another type an error. */
#define FIELD(type, name)                                                                      \
	.field = offsetof(struct settings, name) +                                             \
		 0 * sizeof(&((struct settings *)0)->name == (type *)0)
#define INT(name)  FIELD(int64_t, name)
#define FLAG(name) FIELD(bool, name)
#define TEXT(name) FIELD(const char *, name)
#define LIST(name) FIELD(const char *const *, name)

static const struct config_choice repair_policies[] = {
	{ "lossless", 0, NULL },
	{ "salvage", 1, NULL },
	{ "never", 2, NULL },
	{ NULL, 0, NULL },
};

/* as enum db_mode, which is not to be seen from here */
static const struct config_choice journal_modes[] = {
	{ "keep", 0, NULL },   { "wal", 1, NULL }, { "truncate", 2, NULL },
	{ "delete", 3, NULL }, { NULL, 0, NULL },
};

static const struct config_choice notify_modes[] = {
	{ "auto", NOTIFY_AUTO, NULL },
	{ "all", NOTIFY_ALL, NULL },
	{ "off", NOTIFY_OFF, NULL },
	{ NULL, 0, NULL },
};

static const struct config_choice launchers[] = {
#define CONFIG_LAUNCHER(name, word, type) { word, LAUNCHER_##name, NULL },
	LAUNCHERS(CONFIG_LAUNCHER)
#undef CONFIG_LAUNCHER
		{ NULL, 0, NULL },
};

const char *config_launcher_word(enum launcher_kind launcher)
{
	return launchers[launcher].word;
}

bool config_is_launcher(const char *word)
{
	const struct config_choice *c = launchers;

	while (c->word && strcmp(c->word, word) != 0)
		c++;
	return c->word != NULL;
}

const char *config_launchers(char *buf, size_t size)
{
	size_t n = 0;

	for (const struct config_choice *c = launchers; c->word && n < size; c++)
		n += (size_t)snprintf(buf + n, size - n, "%s%s",
				      c == launchers ? ""
				      : c[1].word    ? ", "
						     : " or ",
				      c->word);
	return buf;
}

/* as enum launch_protect */
static const struct config_choice protections[] = {
	{ "none", LAUNCH_PROTECT_NONE, NULL },
	{ "home", LAUNCH_PROTECT_HOME, NULL },
	{ "strict", LAUNCH_PROTECT_STRICT, NULL },
	{ NULL, 0, NULL },
};

static const struct config_choice log_levels[] = {
	{ "error", LOG_ERR, NULL },     { "warning", LOG_WARNING, NULL },
	{ "notice", LOG_NOTICE, NULL }, { "info", LOG_INFO, NULL },
	{ "debug", LOG_DEBUG, NULL },   { NULL, 0, NULL },
};

/* clang-format off: one option, one paragraph */
const struct config_option config_options[] = {
	/* the process */
	{ "socket", KIND_SOCKET, IN_KANBAND, .def = "", .fixed = true, .field = NO_FIELD },
	{ "log_level", KIND_CHOICE, IN_KANBAND, .def = "info", .choices = log_levels,
	  .field = NO_FIELD },
	{ "memory_guard", KIND_BOOL, IN_KANBAND, .def = "yes", FLAG(memory_guard) },

	/* dispatch */
	{ "paused", KIND_BOOL, IN_BOARD, .def = "no", FLAG(paused) },
	{ "dispatch_interval_seconds", KIND_SECONDS, IN_KANBAND | IN_ROOT, .def = "1min",
	  .min = 1, .max = YEAR, .yaml = true, INT(dispatch_interval_s) },
	/* one for all roots: of several config.yaml files the first root's counts */
	{ "max_in_progress", KIND_NUMBER, IN_KANBAND, .def = "auto", .unset = "auto", .min = 1,
	  .max = MANY, .yaml = true, .cap = true, INT(max_in_progress) },
	{ "limit", KIND_NUMBER, IN_POOL, .def = "none", .unset = "none", .min = 0, .max = MANY,
	  .field = NO_FIELD },
	{ "profiles", KIND_PROFILES, IN_POOL, .def = "*", .field = NO_FIELD },
	{ "boards", KIND_PROFILES, IN_POOL | IN_HOOK, .def = "*", .field = NO_FIELD },
	{ "weight", KIND_NUMBER, IN_BOARD, .def = "1", .min = 1, .max = 1000, INT(weight) },
	{ "max_spawn", KIND_NUMBER, EVERYWHERE, .def = "none", .unset = "none", .min = 0,
	  .max = MANY, .yaml = true, .cap = true, INT(max_spawn) },
	{ "max_in_progress_per_profile", KIND_NUMBER, EVERYWHERE | IN_PROFILE, .def = "none",
	  .unset = "none", .min = 1, .max = MANY, .yaml = true, .cap = true,
	  INT(max_in_progress_per_profile) },
	{ "failure_limit", KIND_NUMBER, EVERYWHERE, .def = "2", .min = 1, .max = MANY,
	  .yaml = true, INT(failure_limit) },
	{ "dispatch_stale_timeout_seconds", KIND_SECONDS, EVERYWHERE, .def = "4h",
	  .unset = "off", .min = -YEAR, .max = YEAR, .yaml = true, INT(stale_timeout_s) },
	{ "default_assignee", KIND_PROFILE, EVERYWHERE, .def = "", .yaml = true,
	  TEXT(default_assignee) },
	{ "dispatch_profiles", KIND_PROFILES, EVERYWHERE, .def = "*", .yaml = true,
	  LIST(dispatch_profiles) },
	{ "review_dispatch", KIND_BOOL, EVERYWHERE, .def = "no", .yaml = true,
	  FLAG(review_dispatch) },
	{ "auto_decompose", KIND_BOOL, EVERYWHERE, .def = "yes", .yaml = true,
	  FLAG(auto_decompose) },
	{ "auto_decompose_per_tick", KIND_NUMBER, IN_KANBAND | IN_ROOT, .def = "3", .min = 1,
	  .max = MANY, .yaml = true, INT(auto_decompose_per_tick) },
	{ "respawn_guard_check_pr_state", KIND_BOOL, EVERYWHERE, .def = "no", .yaml = true,
	  FLAG(guard_check_pr_state) },
	{ "reconcile_orphans", KIND_BOOL, EVERYWHERE, .def = "yes", .yaml = true,
	  FLAG(reconcile_orphans) },

	/* timing */
	{ "claim_ttl", KIND_SECONDS, EVERYWHERE, .def = "15min", .min = 1, .max = YEAR,
	  .env = "HERMES_KANBAN_CLAIM_TTL_SECONDS", INT(claim_ttl_s) },
	{ "heartbeat_stale", KIND_SECONDS, EVERYWHERE, .def = "1h", .min = 1, .max = YEAR,
	  INT(heartbeat_stale_s) },
	{ "reclaim_defer", KIND_SECONDS, EVERYWHERE, .def = "2min", .min = 1, .max = YEAR,
	  INT(reclaim_defer_s) },
	{ "crash_grace", KIND_SECONDS, EVERYWHERE, .def = "30s", .min = 0, .max = YEAR,
	  .env = "HERMES_KANBAN_CRASH_GRACE_SECONDS", INT(crash_grace_s) },
	{ "rate_limit_cooldown", KIND_SECONDS, EVERYWHERE, .def = "5min", .min = 0, .max = YEAR,
	  .env = "HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS", INT(rate_limit_cooldown_s) },
	{ "retry_backoff", KIND_SECONDS, EVERYWHERE | IN_WORKER, .def = "1min", .min = 0,
	  .max = YEAR, INT(retry_backoff_s) },
	{ "retry_backoff_max", KIND_SECONDS, EVERYWHERE | IN_WORKER, .def = "15min", .min = 0,
	  .max = YEAR, INT(retry_backoff_max_s) },
	{ "busy_timeout", KIND_MS, EVERYWHERE, .def = "2min", .min = 0, .max = HOUR * 1000,
	  .env = "HERMES_KANBAN_BUSY_TIMEOUT_MS", INT(busy_timeout_ms) },
	{ "checkpoint_interval", KIND_SECONDS, EVERYWHERE, .def = "5min", .min = 1, .max = YEAR,
	  INT(checkpoint_interval_s) },

	{ "integrity_interval", KIND_SECONDS, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "6h",
	  .min = 60, .max = YEAR, INT(integrity_interval_s) },
	{ "journal_mode", KIND_CHOICE, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "keep",
	  .choices = journal_modes, INT(journal_mode) },
	{ "repair_policy", KIND_CHOICE, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "lossless",
	  .choices = repair_policies, INT(repair_policy) },
	{ "max_evidence_bytes", KIND_BYTES, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "1G",
	  .min = KI * KI, .max = INT64_MAX, INT(max_evidence_bytes) },
	{ "snapshot_interval", KIND_SECONDS, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "1h",
	  .min = 0, .max = YEAR, INT(snapshot_interval_s) },
	{ "snapshot_keep_hourly", KIND_NUMBER, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "24",
	  .min = 1, .max = 10000, INT(snapshot_keep_hourly) },
	{ "snapshot_keep_daily", KIND_NUMBER, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "7",
	  .min = 0, .max = 10000, INT(snapshot_keep_daily) },
	{ "snapshot_max_bytes", KIND_BYTES, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "1G",
	  .min = 0, .max = INT64_MAX, INT(snapshot_max_bytes) },

	{ "snapshot_command", KIND_COMMAND, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "",
	  LIST(snapshot_command) },
	{ "snapshot_environment", KIND_COMMAND, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "",
	  LIST(snapshot_environment) },
	{ "snapshot_command_timeout", KIND_MS, IN_HEALTH | IN_ROOT | IN_BOARD, .def = "10min",
	  .min = 1000, .max = 24 * HOUR * 1000, INT(snapshot_command_timeout_ms) },

	/* notifications */
	{ "notify", KIND_CHOICE, IN_NOTIFY | IN_ROOT, .def = "auto", .choices = notify_modes,
	  INT(notify) },
	{ "notify_concurrency", KIND_NUMBER, IN_NOTIFY | IN_ROOT, .def = "4", .min = 1,
	  .max = 64, INT(notify_concurrency) },
	{ "notify_timeout", KIND_MS, IN_NOTIFY | IN_ROOT, .def = "30s", .min = 1000,
	  .max = HOUR * 1000, INT(notify_timeout_ms) },
	{ "done_sub_retention_days", KIND_NUMBER, IN_NOTIFY | IN_ROOT, .def = "30", .min = 0,
	  .max = 36500, .yaml = true, INT(done_sub_retention_days) },

	/* workers */
	{ "launcher", KIND_CHOICE, IN_WORKER, .def = "auto", .choices = launchers,
	  .field = NO_FIELD },
	{ "command", KIND_COMMAND, IN_WORKER | IN_HOOK, .def = "", .field = NO_FIELD },
	{ "hermes", KIND_PROGRAM, IN_WORKER | IN_ROOT, .def = "hermes", .env = "HERMES_BIN",
	  TEXT(hermes) },
	{ "memory_max", KIND_BYTES, ONE_WORKER, .def = "none", .unset = "none", .min = KI * KI,
	  .max = INT64_MAX, INT(memory_max) },
	{ "memory_high", KIND_BYTES, ONE_WORKER, .def = "none", .unset = "none", .min = KI * KI,
	  .max = INT64_MAX, INT(memory_high) },
	{ "memory_swap_max", KIND_BYTES, ONE_WORKER, .def = "none", .unset = "none", .min = 0,
	  .max = INT64_MAX, INT(memory_swap_max) },
	{ "tasks_max", KIND_NUMBER, ONE_WORKER, .def = "none", .unset = "none", .min = 1,
	  .max = MANY * 4, INT(tasks_max) },
	{ "cpu_weight", KIND_NUMBER, ONE_WORKER, .def = "none", .unset = "none", .min = 1,
	  .max = 10000, INT(cpu_weight) },
	{ "cpu_quota", KIND_NUMBER, ONE_WORKER, .def = "none", .unset = "none", .min = 1,
	  .max = MANY, INT(cpu_quota) },
	{ "io_weight", KIND_NUMBER, ONE_WORKER, .def = "none", .unset = "none", .min = 1,
	  .max = 10000, INT(io_weight) },
	{ "runtime_max", KIND_SECONDS, ONE_WORKER, .def = "none", .unset = "none", .min = 1,
	  .max = YEAR, INT(runtime_max_s) },
	{ "nice", KIND_NUMBER, ONE_WORKER, .def = "0", .min = -20, .max = 19, INT(nice) },
	{ "oom_score_adjust", KIND_NUMBER, ONE_WORKER, .def = "0", .min = -1000, .max = 1000,
	  INT(oom_score_adjust) },
	{ "slice", KIND_SLICE, ONE_WORKER, .def = "kanban.slice", TEXT(slice) },
	{ "protect", KIND_CHOICE, ONE_WORKER, .def = "none", .choices = protections,
	  INT(protect) },
	{ "private_tmp", KIND_BOOL, ONE_WORKER, .def = "no", FLAG(private_tmp) },
	{ "devices", KIND_BOOL, ONE_WORKER, .def = "yes", FLAG(devices) },
	{ "network", KIND_BOOL, ONE_WORKER, .def = "yes", FLAG(network) },
	{ "pass_environment", KIND_COMMAND, IN_WORKER | IN_ROOT | IN_HOOK, .def = "",
	  LIST(pass_environment) },
	{ "terminate_grace", KIND_MS, IN_WORKER | IN_ROOT | IN_BOARD, .def = "5s", .min = 0,
	  .max = HOUR * 1000, INT(terminate_grace_ms) },
	{ "worker_log_rotate_bytes", KIND_BYTES, IN_WORKER | IN_ROOT, .def = "2M", .min = 0,
	  .max = KI * KI * KI * KI, .yaml = true, INT(worker_log_rotate_bytes) },
	{ "worker_log_backup_count", KIND_NUMBER, IN_WORKER | IN_ROOT, .def = "1", .min = 0,
	  .max = 1000, .yaml = true, INT(worker_log_backup_count) },

	/* hooks */
	{ "events", KIND_EVENTS, IN_HOOK, .def = "*", .field = NO_FIELD },
	{ "timeout", KIND_MS, IN_HOOK, .def = "30s", .min = 100, .max = HOUR * 1000,
	  .field = NO_FIELD },

	/* only from the environment: every process of the root has to see the same */
	{ "workspaces_root", KIND_PATH, 0, .def = "", .env = "HERMES_KANBAN_WORKSPACES_ROOT",
	  TEXT(workspaces_root) },
	{ "pinned_db", KIND_PATH, 0, .def = "", .env = "HERMES_KANBAN_DB", TEXT(pinned_db) },
};
/* clang-format on */

const size_t config_option_count = sizeof(config_options) / sizeof(config_options[0]);

const struct config_option *config_option_find(const char *name)
{
	for (size_t i = 0; i < config_option_count; i++)
		if (strcmp(config_options[i].name, name) == 0)
			return &config_options[i];
	return NULL;
}

unsigned config_sections_in_use(void)
{
	unsigned bits = 0;

	for (size_t i = 0; i < config_option_count; i++)
		bits |= config_options[i].sections;
	return bits;
}

const char *config_section_title(unsigned bit)
{
	static const char *const titles[] = { "[kanband]",      "[worker]",    "[notify]",
					      "[health]",       "[root PATH]", "[board SLUG]",
					      "[profile NAME]", "[pool NAME]", "[hook NAME]" };

	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (bit == 1u << i)
			return titles[i];
	return NULL;
}

bool config_near(const char *text, const char *word)
{
	size_t lt = strlen(text), lw = strlen(word);
	size_t shorter = lt < lw ? lt : lw;

	if (shorter == 0)
		return false;
	/* claim_ttl_seconds for claim_ttl, dispatch_interval for dispatch_interval_seconds */
	if (shorter >= 5 && strncmp(text, word, shorter) == 0)
		return true;
	return suggest_slips(text, word) <= (lw < 4 ? 1 : lw / 4);
}
