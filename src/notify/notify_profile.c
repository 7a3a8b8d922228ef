/* Whose adapters deliver a notification: the canonical name of a profile. */
#include "notify/notify_profile.h"

#include <string.h>

#include "notify/gateway.h"

char *notify_profile(const char *profile)
{
	char name[GATEWAY_NAME_SIZE];

	if (!gateway_name(profile, name))
		return strdup(profile);
	return strdup(name[0] ? name : "default");
}
