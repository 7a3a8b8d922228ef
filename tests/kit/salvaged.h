/* Pages that are overwritten, and what salvage leaves of them. */
#pragma once

#include <stdint.h>

#include "dbfile.h"
#include "salvage.h"
#include "salvage/page.h"
#include "salvage/salvage.h"
#include "suite.h"
#include "util/error.h"

int64_t kit_out_number(const char *sql);
void kit_overwrite(const char *name, uint32_t pgno, size_t page_size);
void kit_salvage_ok(const char *name, struct salvage_report *r);
