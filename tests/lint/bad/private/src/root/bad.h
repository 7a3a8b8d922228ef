/* Of one source only. */
#pragma once

int bad_single(void);
