#pragma once

static inline int bad(void)
{
	return 0;
}
