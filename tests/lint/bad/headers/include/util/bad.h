#pragma once

size_t bad_header(void);
