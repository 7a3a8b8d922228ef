/* Whether a gateway was told to leave notifications to others. */
#pragma once

#include <stdbool.h>

/**
 * gateway_config_mute() - does `<home>/.env` or `<home>/config.yaml` switch a gateway's
 * notifier off
 * @home: HERMES_HOME of its profile
 * Files that are missing, damaged or hostile say nothing: a gateway then delivers.
 * Thread: any.  Blocks: reads two files.
 */
bool gateway_config_mute(const char *home);
