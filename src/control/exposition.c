/* The two formats that Prometheus and its kin read. */
#include "control/exposition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/error.h"
#include "util/text.h"

void exposition_family(struct exposition *x, const char *name, const char *type,
		       const char *unit, const char *help)
{
	bool counter = strcmp(type, "counter") == 0, info = strcmp(type, "info") == 0;
	const char *end = x->openmetrics ? "" : counter ? "_total" : info ? "_info" : "";

	x->name = name;
	x->type = type;
	(void)fprintf(x->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, end, help, name, end,
		      info && !x->openmetrics ? "gauge" : type);
	if (unit && x->openmetrics)
		(void)fprintf(x->out, "# UNIT %s %s\n", name, unit);
}

/* A label's value: valid UTF-8, in which \, " and newline are escaped. */
static void exposition_value(FILE *out, const char *value)
{
	size_t len = strlen(value);
	CLEANUP(freep)
	char *good = text_is_utf8(value, len) ? NULL : text_repair(value, len, &len);

	for (const char *p = good ? good : value; *p; p++) {
		if (*p == '\\' || *p == '"')
			(void)fputc('\\', out);
		if (*p == '\n')
			(void)fputs("\\n", out);
		else
			(void)fputc(*p, out);
	}
}

static void exposition_labels(const struct exposition *x, const struct exposition_label *labels,
			      size_t n)
{
	for (size_t i = 0; i < n; i++) {
		(void)fprintf(x->out, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
		exposition_value(x->out, labels[i].value);
		(void)fputc('"', x->out);
	}
	if (n > 0)
		(void)fputc('}', x->out);
}

static void exposition_sample(const struct exposition *x, const struct exposition_label *labels,
			      size_t n)
{
	(void)fprintf(x->out, "%s%s", x->name,
		      strcmp(x->type, "counter") == 0 ? "_total"
		      : strcmp(x->type, "info") == 0  ? "_info"
						      : "");
	exposition_labels(x, labels, n);
}

void exposition_int(const struct exposition *x, const struct exposition_label *labels, size_t n,
		    int64_t value)
{
	exposition_sample(x, labels, n);
	(void)fprintf(x->out, " %" PRId64 "\n", value);
}

void exposition_real(const struct exposition *x, const struct exposition_label *labels,
		     size_t n, double value)
{
	exposition_sample(x, labels, n);
	(void)fprintf(x->out, " %.6f\n", value);
}

void exposition_histogram(const struct exposition *x, const uint64_t *bounds, double scale,
			  const uint64_t *count, size_t n, double sum)
{
	uint64_t all = 0;

	for (size_t i = 0; i < n; i++) {
		all += count[i];
		/* OpenMetrics wants a float there, and the same one in both is easier to ask
		 * for */
		(void)fprintf(x->out, "%s_bucket{le=\"%g%s\"} %" PRIu64 "\n", x->name,
			      (double)bounds[i] * scale,
			      (double)bounds[i] * scale >= 1 ? ".0" : "", all);
	}
	all += count[n];
	(void)fprintf(x->out,
		      "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.6f\n%s_count %" PRIu64 "\n",
		      x->name, all, x->name, sum, x->name, all);
}

void exposition_end(const struct exposition *x)
{
	if (x->openmetrics)
		(void)fputs("# EOF\n", x->out);
}
