#include "io/lws_log.h"

#include <libwebsockets.h>
#include <string.h>

#include "base/log.h"

static void emit(int level, const char *line)
{
    (void)level;
    log_event(LOG_DEBUG, "websockets", "text=%.*s", (int)strcspn(line, "\n"), line);
}

void lws_log_setup(void)
{
    /* Its errors are about single connections; what matters reaches us as results. Nothing is formatted
     * unless wanted. */
    lws_set_log_level(log_get_level() >= LOG_DEBUG ? LLL_ERR | LLL_WARN | LLL_NOTICE : 0, emit);
}
