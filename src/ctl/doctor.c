/*
 * doctor: what is found, and how it is said. Nothing is changed and nothing is repaired: each
 * finding that is not well names the command that does it, and the operator decides.
 */
#include "ctl/doctor.h"

#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/table.h"
#include "util/json.h"
#include "util/printable.h"

static const char *const doctor_words[] = { "ok", "warning", "error" };

static void doctor_add(struct doctor *d, enum finding how, const char *check, const char *name,
		       const char *about, const char *remedy, const char *fmt, va_list ap)
	PRINTF(7, 0);
static void doctor_add(struct doctor *d, enum finding how, const char *check, const char *name,
		       const char *about, const char *remedy, const char *fmt, va_list ap)
{
	CLEANUP(freep) char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	if (how > d->worst)
		d->worst = how;
	if (!text || (how != FINDING_OK && !remedy) ||
	    json_array_append_new(d->checks,
				  json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "check", check,
					    "status", doctor_words[how], "finding",
					    json_or_null(name), "about", json_or_null(about),
					    "text", json_or_null(text), "remedy",
					    json_or_null(remedy))) < 0)
		d->memory = true;
}

void doctor_say(struct doctor *d, enum doctor_id id, const char *about, char *owned,
		const char *fmt, ...)
{
#define DOCTOR_ROW(name, check, finding, how) { check, finding, how },
	static const struct {
		const char *check, *name;
		enum finding how;
	} rows[] = { DOCTOR_FINDINGS(DOCTOR_ROW) };
#undef DOCTOR_ROW
	CLEANUP(freep) char *remedy = owned;
	va_list ap;

	va_start(ap, fmt);
	doctor_add(d, rows[id].how, rows[id].check, rows[id].name, about, remedy, fmt, ap);
	va_end(ap);
}

void doctor_well(struct doctor *d, const char *check, const char *about, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	doctor_add(d, FINDING_OK, check, NULL, about, NULL, fmt, ap);
	va_end(ap);
}

/* Writes go to ctl->out; ctl_main() looks at its error flag. */
static void doctor_line(const struct ctl *ctl, const json_t *check)
{
	static const enum table_colour colours[] = { TABLE_GREEN, TABLE_YELLOW, TABLE_RED };
	const char *status = json_text(check, "status"), *remedy = json_text(check, "remedy");
	const char *about = json_text(check, "about"), *text = json_text(check, "text");
	size_t level = 0;

	while (level < 2 && strcmp(status, doctor_words[level]) != 0)
		level++;
	(void)fprintf(ctl->out, "%s%-7s%s  %s", table_colour_on(&ctl->screen, colours[level]),
		      status, table_colour_off(&ctl->screen, colours[level]),
		      json_text(check, "check"));
	(void)fputs(*about ? " " : "", ctl->out);
	printable_put(ctl->out, about, strlen(about), 0);
	(void)fputs(": ", ctl->out);
	printable_put(ctl->out, text, strlen(text), 0);
	if (*remedy) {
		/* on the same line where it is read by lines, below where it is read by eyes */
		(void)fputs(ctl->screen.width ? "\n           " : "; run: ", ctl->out);
		(void)fputs(table_colour_on(&ctl->screen, TABLE_BOLD), ctl->out);
		printable_put(ctl->out, remedy, strlen(remedy), 0);
		(void)fputs(table_colour_off(&ctl->screen, TABLE_BOLD), ctl->out);
	}
	(void)fputc('\n', ctl->out);
}

int doctor_print(struct doctor *d)
{
	int exit = d->worst == FINDING_OK ? CTL_OK : CTL_NOT_WELL;
	const json_t *check;
	size_t i;

	if (d->memory)
		return ctl_say(d->ctl, CTL_IO, "out of memory");
	if (d->ctl->json)
		return ctl_print_json(d->ctl,
				      json_pack("{s:o, s:b, s:b, s:O}", "root",
						json_utf8(d->root), "well", exit == CTL_OK,
						"daemon", d->client != NULL, "checks",
						d->checks),
				      exit);
	json_array_foreach(d->checks, i, check) doctor_line(d->ctl, check);
	return exit;
}
