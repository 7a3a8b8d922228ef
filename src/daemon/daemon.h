/*
 * Inside of daemon/config*.c: the one option table, the values and the layers. Nobody else
 * includes this but the tests (the option scan reads the table).
 *
 * A new option is one line in config_table.c: from it come the parser, the range, the sections
 * it may stand in, the environment name, the key in config.yaml, the default, the field of
 * struct settings, --check-config and the scan that wants it in the manual and in the sample.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config.h"
#include "util/error.h"
#include "util/settings.h"

/* Sections of kanband.conf. A section that no option names is not allowed yet. */
#define IN_KANBAND 0x01u
#define IN_WORKER  0x02u
#define IN_NOTIFY  0x04u
#define IN_HEALTH  0x08u
#define IN_ROOT    0x10u
#define IN_BOARD   0x20u
#define IN_PROFILE 0x40u
#define IN_POOL    0x80u
#define IN_HOOK    0x100u

enum config_kind {
	KIND_NUMBER,   /* whole number */
	KIND_SECONDS,  /* duration, number = seconds */
	KIND_MS,       /* duration, number = milliseconds */
	KIND_BYTES,    /* size, number = bytes */
	KIND_BOOL,     /* number = 0 or 1 */
	KIND_CHOICE,   /* one of config_option.choices, number = its number */
	KIND_PROFILE,  /* text = canonical profile name, NULL = none */
	KIND_PROFILES, /* list = canonical profile names, NULL = all of them */
	KIND_PATH,     /* text = absolute path, NULL = none */
	KIND_SOCKET,   /* KIND_PATH that fits into a socket address */
	KIND_PROGRAM,  /* text = name to find on PATH, or absolute path */
	KIND_SLICE,    /* text = name of a slice of the service manager */
	KIND_COMMAND,  /* list = words, NULL = none */
	KIND_EVENTS,   /* list = names of hook_kind.h, NULL = all of them */
};

struct config_choice {
	const char *word;    /* NULL ends the list */
	int64_t number;      /* what it stands for */
	const char *refused; /* why it cannot be chosen, or NULL */
};

#define NO_FIELD SIZE_MAX

struct config_option {
	const char *name;      /* in kanband.conf, config.yaml, --check-config */
	enum config_kind kind; /* parser, unit */
	unsigned sections;     /* IN_* where it has an effect */
	const char *def;       /* default, as kanband.conf would say it */
	int64_t min, max;      /* in the unit of the kind */
	const char *unset;     /* word for "no value" (number = -1), or NULL */
	const char *env;       /* environment variable, or NULL */
	bool yaml;             /* also a key of `kanban:` in config.yaml */
	bool fixed;            /* a reload may not change it */
	bool cap;              /* a bad value in config.yaml is 1, not the default:
				* a typo lets no more run than before */
	const struct config_choice *choices; /* KIND_CHOICE */
	size_t field;                        /* offset in struct settings, or NO_FIELD */
};

extern const struct config_option config_options[];
extern const size_t config_option_count;

struct config_value {
	bool set;
	int64_t number; /* numbers, booleans, choices */
	char *text;     /* owned; may be NULL although set: empty */
	char **list;    /* owned, NULL-terminated; may be NULL although set: unlimited, empty */
	char *source;   /* owned; "default", "FILE:LINE", "environment NAME", … */
};

/* A NULL-terminated list that grows; v is NULL while nothing was pushed. */
struct config_strv {
	char **v;
	size_t n;
};

struct config_section {
	unsigned where;              /* IN_ROOT, IN_BOARD, IN_PROFILE, IN_POOL or IN_HOOK */
	char *name;                  /* path, slug or profile, owned */
	struct config_value *values; /* one per option, owned */
	bool unread;                 /* config.yaml: it is there and of no use */
	/* of config.yaml: max_in_progress_per_profile as a map, then those of [profile NAME]
	 * for the rest; the names of the first n_own are owned */
	struct settings_cap *caps;
	size_t n_caps, n_own;
};

struct config {
	char *home;                      /* HOME of the environment, or NULL */
	struct config_value *cli;        /* the layers, strongest first: one value per option */
	struct config_value *env;        /* … */
	struct config_section *sections; /* [board SLUG] before [root PATH] at the look-up */
	size_t section_count;            /* … */
	struct config_value *base;       /* [kanband], [worker] and other plain sections */
	struct config_section *yaml;     /* config.yaml per root, name = root */
	size_t yaml_count;               /* … */
	struct config_value *def;        /* defaults */
	struct settings_pool *pools;     /* of [pool NAME], owned; their lists borrowed */
	size_t n_pools;                  /* … */
	unsigned pools_generation;       /* another number for other pools */
	struct hook_def *hooks;          /* of [hook NAME], owned; their lists borrowed */
	size_t n_hooks;                  /* … */
	struct settings_cap *caps;       /* of [profile NAME], owned */
	size_t n_caps;                   /* … */
	struct config_strv roots;        /* absolute, no duplicates */
	struct config_strv section_roots; /* those of [root PATH], in order of appearance */
	struct config_strv warnings;      /* one sentence each */
	char *fault;                      /* the first about a config.yaml, or NULL */
	struct config_strv files;         /* kanband.conf and drop-ins that were read */
};

/* How a text is read: kanband.conf is strict, the environment has its own customs. */
struct config_syntax {
	const char *home;   /* what ~ stands for, or NULL */
	bool relative;      /* relative paths are taken from the working folder */
	bool plain_numbers; /* base unit, no suffix (HERMES_KANBAN_…_SECONDS) */
};

/* config_table.c */
/** config_is_process() - does @option have one value for the whole process? */
static inline bool config_is_process(const struct config_option *option)
{
	return option->sections & ~(IN_POOL | IN_HOOK) &&
	       !(option->sections & (IN_ROOT | IN_BOARD | IN_POOL));
}
/** config_is_named() - is it of [pool NAME] or [hook NAME] alone */
static inline bool config_is_named(const struct config_option *option)
{
	return option->sections && !(option->sections & ~(IN_POOL | IN_HOOK));
}
const struct config_option *config_option_find(const char *name);
static inline size_t config_option_index(const struct config_option *option)
{
	return (size_t)(option - config_options);
}
/** config_sections_in_use() - every IN_* that at least one option names */
unsigned config_sections_in_use(void);
/** config_section_title() - "[kanband]", "[root PATH]" … of one IN_* bit, NULL for no bit */
const char *config_section_title(unsigned bit);
/** config_near() - is @text a likely misspelling of @word */
bool config_near(const char *text, const char *word);

/* config_value.c */
/**
 * config_value_parse() - read @text as a value of @option
 * @value: out; was empty; on success set but without a source
 * @e:     on error the reason alone ("x is not …"); the caller puts place and key before it
 * Return: 0; -EINVAL; -ENOMEM.
 */
MUST_CHECK int config_value_parse(const struct config_option *option,
				  const struct config_syntax *syntax, const char *text,
				  struct config_value *value, struct error *e);
/** config_value_number() - range check of a number that is already in the unit of the kind */
MUST_CHECK int config_value_number(const struct config_option *option, int64_t number,
				   struct config_value *value, struct error *e);
/**
 * config_value_profile() - add a profile name to the list of @value
 * Return: 0; -EINVAL no such name is possible; -E2BIG the list is full; -ENOMEM.
 */
MUST_CHECK int config_value_profile(struct config_value *value, const char *name,
				    struct error *e);
/** config_value_put() - move @value into @slot and note where it came from */
MUST_CHECK int config_value_put(struct config_value *slot, struct config_value *value,
				const char *source_fmt, ...) PRINTF(3, 4);
/** config_value_text() - @value as kanband.conf would say it; malloc'd, NULL: no memory */
MUST_CHECK char *config_value_text(const struct config_option *option,
				   const struct config_value *value);
void config_value_clear(struct config_value *value);
MUST_CHECK struct config_value *config_values_new(void);
struct config_value *config_values_free(struct config_value *values);
DEFINE_FREEP(struct config_value, config_values_free)

/* config_short.c */
/** config_short() - @text for a message: at most 60 bytes, never half a character */
const char *config_short(const char *text, char buf[static 72]);
/* config_strv.c */
/**
 * config_strv_split() - split as a shell would, without being one: blanks separate; '…' is
 * literal; in "…" a backslash protects " \ $ and `; elsewhere it protects any character.
 * Nothing is expanded. Return: 0 and @words (NULL-terminated, owned, maybe empty); -EINVAL;
 * -ENOMEM.
 */
MUST_CHECK int config_strv_split(const char *text, char ***words, struct error *e);
MUST_CHECK int config_strv_push(struct config_strv *strv, char *owned);
void config_strv_clear(struct config_strv *strv);

/* config_path.c */
/**
 * config_path() - an absolute path without //, /./ or a slash at its end
 * @home: for ~, or NULL
 * @relative: take a relative path from the working folder instead of refusing it
 * Return: 0; -EINVAL with the reason alone in @e; -ENOMEM.
 */
MUST_CHECK int config_path(const char *text, const char *home, bool relative, char **path,
			   struct error *e);
/** config_path_normalise() - in place: no //, no /./, no slash at the end; `..` stays */
void config_path_normalise(char *path);

/* config_env.c */
const char *config_getenv(char *const *env, const char *name);
/** config_default_file() - kanband.conf when there is no --config; *path NULL: no place */
MUST_CHECK int config_default_file(char *const *env, unsigned euid, char **path);
MUST_CHECK int config_env_load(struct config *config, char *const *env);
/** config_default_socket() - put the default of `socket` into the default layer */
MUST_CHECK int config_default_socket(struct config *config, char *const *env);

/* config_ini.c */
/** config_ini_load() - @file and its drop-ins; @must: a missing @file is an error */
MUST_CHECK int config_ini_load(struct config *config, const char *file, bool must,
			       struct error *e);

/* config_yaml.c */
/** config_yaml_load() - `<root>/config.yaml`; faults become warnings.  Return: 0 or -ENOMEM */
MUST_CHECK int config_yaml_load(struct config *config, const char *root);

/* config_limits.c */
/** config_limits_pool() - what a [pool NAME] says; its lists are borrowed */
struct settings_pool config_limits_pool(const struct config_section *s);

/** config_limits_load() - what [pool NAME] and [profile NAME] limit. Return: 0 or -errno */
MUST_CHECK int config_limits_load(struct config *config, struct error *e);

/** config_limits_join() - put what [profile NAME] says before the maps of config.yaml, after
 * those are read. Return: 0 or -ENOMEM */
MUST_CHECK int config_limits_join(struct config *config);

/** config_limits_of() - the limits of profiles that hold for @root, into @out */
void config_limits_of(const struct config *config, const char *root, struct settings *out);

/* config_yaml_integer.c */
/** config_yaml_integer() - @text as a whole number of YAML 1.1.  Return: 0; -EINVAL; -ERANGE;
 * -ENOMEM. */
MUST_CHECK int config_yaml_integer(const char *text, int64_t *number);

/* config_section.c */
MUST_CHECK int config_warn(struct config *config, const char *fmt, ...) PRINTF(2, 3);
/** config_section() - the section of that name in an array, made if @make */
struct config_section *config_section_get(struct config_section **sections, size_t *count,
					  unsigned where, const char *name, bool make);
void config_sections_free(struct config_section *sections, size_t count);

/* config_hooks.c */
/** config_hooks_load() - what the sections [hook NAME] say, into @config.  Return: 0, -EINVAL
 * or -ENOMEM */
MUST_CHECK int config_hooks_load(struct config *config, struct error *e);

/* config.c */
/**
 * config_lookup() - the value that holds; never NULL
 * @root: or NULL; not asked for what is one for the whole process, where config.yaml of the
 *        first root speaks
 * @slug: or NULL
 */
const struct config_value *config_lookup(const struct config *config,
					 const struct config_option *option, const char *root,
					 const char *slug);

/** config_lookup_profile() - the same for workers of @profile, whatever board they are of */
const struct config_value *config_lookup_profile(const struct config *config,
						 const struct config_option *option,
						 const char *profile);
