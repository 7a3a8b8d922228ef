#include <sqlite3.h>

int bad_open(sqlite3 **db);
int bad_open(sqlite3 **db)
{
	return sqlite3_open("x-wal", db);
}
