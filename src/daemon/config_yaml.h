/* Reading config.yaml: what its parts share. */
#pragma once

#include <stddef.h>

#include "daemon.h"
#include "util/yamlwalk.h"

#define YAML_SLIPS_MAX 16

/* A key that is nearly one of ours. */
struct yaml_slip {
	const struct config_option *option; /* that was meant; NULL for `kanban` */
	char name[161];                     /* its first 40 characters */
	size_t line;
	bool beside; /* the key itself is there too */
};

struct yaml_file {
	struct yamlwalk walk;
	const char *path;                       /* borrowed */
	struct config_value *values;            /* read so far, one per option */
	struct config_section *section;         /* which they are of */
	struct config_strv warnings;            /* said so far */
	unsigned more;                          /* warnings that were only counted */
	unsigned blocks;                        /* `kanban:` keys seen */
	char *fault;                            /* the first warning about a value; owned */
	struct yaml_slip slips[YAML_SLIPS_MAX]; /* keys of the block that are nearly ours */
	size_t n_slips;
	struct yaml_slip top; /* a key that is nearly `kanban`; line 0: none */
	int r;                /* 0; -EINVAL: the file is no use, why is in @e; -ENOMEM */
	struct error e;
};

/** config_yaml_event_root(), …_next(), …_skip() - as those of yamlwalk, and what went wrong is
 * told. Return: 0; f->r */
MUST_CHECK int config_yaml_event_root(struct yaml_file *f);
MUST_CHECK int config_yaml_event_next(struct yaml_file *f);
MUST_CHECK int config_yaml_event_skip(struct yaml_file *f);

size_t config_yaml_event_line(const yaml_event_t *ev);      /* from 1 */
const char *config_yaml_event_text(const yaml_event_t *ev); /* of a scalar */
bool config_yaml_event_is_null(const yaml_event_t *ev);

/** config_yaml_event_warn() - one sentence about the file. Return: 0; f->r */
int config_yaml_event_warn(struct yaml_file *f, size_t line, const char *fmt, ...) PRINTF(3, 4);

/** config_yaml_event_scalar() - the value of a scalar. Return: 0; -EINVAL with the reason;
 * -ENOMEM */
MUST_CHECK int config_yaml_event_scalar(const struct config_option *option,
					const yaml_event_t *ev, struct config_value *value,
					struct error *e);

/** config_yaml_event_bad() - a bad value: the default holds, or where that might be more than
 * was meant, 1 */
MUST_CHECK int config_yaml_event_bad(struct yaml_file *f, const struct config_option *option,
				     size_t line, const struct error *e,
				     struct config_value *value);

/** config_yaml_event_is_string() - is a scalar text for PyYAML too */
bool config_yaml_event_is_string(const yaml_event_t *ev);

/** config_yaml_event_broken() - the file is of no use. Return: f->r */
int config_yaml_event_broken(struct yaml_file *f, size_t line, const char *what);

/* config_yaml_caps.c */
/** config_yaml_caps() - the map whose first event is in @ev; @all: out, that of "*" */
MUST_CHECK int config_yaml_caps(struct yaml_file *f, const struct config_option *option,
				yaml_event_t *ev, struct config_value *all);
void config_yaml_caps_clear(struct yaml_file *f);

/* config_yaml_slip.c */
/** config_yaml_slip() - a key of the block that is none of ours; what is nearly one is kept.
 * Return: 0; f->r */
MUST_CHECK int config_yaml_slip(struct yaml_file *f, const yaml_event_t *key);

/** config_yaml_slip_top() - the same of a key beside `kanban` */
void config_yaml_slip_top(struct yaml_file *f, const yaml_event_t *key);

/** config_yaml_slips() - the file has passed: say what was kept, and see that none of it lets
 * more run than was meant. Return: 0; f->r */
MUST_CHECK int config_yaml_slips(struct yaml_file *f);
