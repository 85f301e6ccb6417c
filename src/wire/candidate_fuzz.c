#include <stdlib.h>
#include <string.h>

#include "wire/candidate.h"

/* What is read is written and read again as the same. */

static void need(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct candidate c, again;
    struct candidate_credentials k = {{0}, {0}}, same;
    char text[CANDIDATE_TEXT], lines[2 * CANDIDATE_UFRAG_MAX + 64];
    if (candidate_read(&c, bytes_of(p, n)) == 0) {
        need(candidate_write(text, sizeof text, &c) == 0);
        need(candidate_read(&again, bytes_of_str(text)) == 0);
        need(!strcmp(c.foundation, again.foundation) && !strcmp(c.name, again.name));
        need(net_addr_equal(&c.addr, &again.addr) && net_addr_equal(&c.related, &again.related));
        need(c.type == again.type && c.transport == again.transport && c.priority == again.priority &&
             c.component == again.component);
    }
    if (candidate_credentials_read(&k, bytes_of(p, n)) == 0) {
        same = k;
        if (candidate_credentials_write(lines, sizeof lines, &same) == 0)
            need(strstr(lines, "a=ice-ufrag:") == lines);
    }
    return 0;
}
