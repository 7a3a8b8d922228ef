#include "root/lease.h"
