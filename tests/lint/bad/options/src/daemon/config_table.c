const struct config_option config_options[] = {
	{ "told", KIND_BOOL, IN_KANBAND },
	{ "forgotten", KIND_BOOL, IN_KANBAND },
};
