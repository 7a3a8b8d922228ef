/* The fields by which a line of the log says which root it is about. */
#include "root.h"
#include "root/root.h"

struct log_about root_about(const struct root *root, const char *id)
{
	return (struct log_about){ .root = root->path, .epoch = root->epoch, .id = id };
}
