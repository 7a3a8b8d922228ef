/*
 * Logs in the journal. Each run is a unit of its own, whose name begins with that of the task:
 * the journal is asked which units it knows, and those that fit are read, in the order of time.
 * An account that may not read it sees nothing, as if there were nothing.
 */
#include "ctl/logs_journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-journal.h>

#include "ctl.h"
#include "launch/unit.h"
#include "util/fs.h"
#include "util/printable.h"

#define LOGS_JOURNAL_UNITS 64

static void logs_journal_close(sd_journal **journal)
{
	if (*journal)
		sd_journal_close(*journal);
}

/* One match for each unit that is a run's. Return: how many. */
static int logs_journal_match(sd_journal *journal, const char *board, const char *task)
{
	static const char *const fields[] = { "_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT" };
	char *units[LOGS_JOURNAL_UNITS];
	int n = 0, r = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const void *data;
		size_t len, skip = strlen(fields[i]) + 1;

		if (sd_journal_query_unique(journal, fields[i]) < 0)
			continue;
		SD_JOURNAL_FOREACH_UNIQUE(journal, data, len)
		if (n < LOGS_JOURNAL_UNITS && len > skip &&
		    unit_is_of(board, task, (const char *)data + skip, len - skip))
			units[n++] = strndup(data, len);
	}
	for (int i = 0; i < n; i++) {
		if (r >= 0 && units[i])
			r = sd_journal_add_match(journal, units[i], 0);
		free(units[i]);
	}
	return r < 0 ? 0 : n;
}

/* All that is there from where it was read to. Return: 0 or CTL_END_OF_READER. */
static int logs_journal_copy(const struct ctl *ctl, sd_journal *journal, bool *any)
{
	static const char field[] = "MESSAGE=";
	const size_t skip = sizeof(field) - 1;

	while (sd_journal_next(journal) > 0) {
		const void *data;
		size_t len;

		if (sd_journal_get_data(journal, "MESSAGE", &data, &len) < 0 || len < skip)
			continue;
		*any = true;
		if (ctl->screen.width)
			printable_put(ctl->out, (const char *)data + skip, len - skip,
				      PRINTABLE_LINES);
		else
			(void)fwrite((const char *)data + skip, 1, len - skip, ctl->out);
		(void)fputc('\n', ctl->out);
	}
	return fflush(ctl->out) != 0 || ferror(ctl->out) ? CTL_END_OF_READER : 0;
}

int logs_journal(const struct ctl *ctl, const char *board, const char *task, bool follow,
		 bool *any)
{
	CLEANUP(logs_journal_close) sd_journal *journal = NULL;
	int r;

	*any = false;
	if (sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY) < 0 ||
	    logs_journal_match(journal, board, task) == 0 || sd_journal_seek_head(journal) < 0)
		return 0;
	r = logs_journal_copy(ctl, journal, any);
	while (r == 0 && follow && *any) {
		if (sd_journal_wait(journal, UINT64_MAX) < 0)
			return 0;
		r = logs_journal_copy(ctl, journal, any);
	}
	return r;
}
