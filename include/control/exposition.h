/*
 * Numbers as a monitoring system reads them: OpenMetrics 1.0
 * (https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md) or the
 * text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/). They differ
 * in the name of a counter's family, in units, in the kinds that there are, and in the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXPOSITION_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define EXPOSITION_TEXT "text/plain; version=0.0.4; charset=utf-8"

struct exposition {
	FILE *out;        /* its error flag tells of failures */
	bool openmetrics; /* else 0.0.4 */
	const char *name; /* of the family that samples belong to */
	const char *type; /* … "counter", "gauge", "histogram", "info" */
};

struct exposition_label {
	const char *name;
	const char *value; /* any bytes */
};

/** exposition_family() - what comes next. All borrowed until the next family.
 * @name: without _total and _info; @unit: its last word if it is one, or NULL */
void exposition_family(struct exposition *x, const char *name, const char *type,
		       const char *unit, const char *help);

/** exposition_int(), exposition_real() - one sample of the family */
void exposition_int(const struct exposition *x, const struct exposition_label *labels, size_t n,
		    int64_t value);
void exposition_real(const struct exposition *x, const struct exposition_label *labels,
		     size_t n, double value);

/** exposition_histogram() - the family's samples. @bounds times @scale are the upper bounds of
 * @count, whose last one, the @n-th, has none; @sum in the unit of the family */
void exposition_histogram(const struct exposition *x, const uint64_t *bounds, double scale,
			  const uint64_t *count, size_t n, double sum);

/** exposition_end() - nothing comes any more */
void exposition_end(const struct exposition *x);
