#include "base/log.h"
#include "cli/cli.h"
#include "io/clock.h"

int main(int argc, char **argv)
{
    log_set_clock(clock_unix_ms);
    return cli_main(argc, argv, stdin, stdout, stderr);
}
