/* Requests and answers from anybody: whatever is taken ends with an empty line and is not longer than said.
 */
#include <stdlib.h>
#include <string.h>

#include "io/ws_upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const uint8_t *data, size_t size, int n)
{
    if (n > 0 && ((size_t)n > size || n > WS_UPGRADE_MAX || memcmp(data + n - 4, "\r\n\r\n", 4)))
        abort();
    if (n == 0 && size >= WS_UPGRADE_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char key[WS_UPGRADE_KEY_LEN + 1] = "";
    int n = ws_upgrade_read_request(bytes_of(data, size), key);
    judge(data, size, n);
    if (n > 0 && strlen(key) != WS_UPGRADE_KEY_LEN)
        abort();
    judge(data, size, ws_upgrade_read_answer(bytes_of(data, size), "dGhlIHNhbXBsZSBub25jZQ=="));
    return 0;
}
