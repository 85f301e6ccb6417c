#include "io/ws_server.h"
