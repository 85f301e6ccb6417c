/* The HTTP/1.1 exchange that opens a WebSocket between two nodes (RFC 6455 section 4,
 * doc/protocol/direct-tls.md): one request, one answer, both small. Pure: bytes in, words out. */
#ifndef WARREN_IO_WS_UPGRADE_H
#define WARREN_IO_WS_UPGRADE_H

#include "base/bytes.h"
#include "crypto/tls_engine.h"

#define WS_UPGRADE_PATH    "/warren"
#define WS_UPGRADE_MAX     2048 /* bytes of a request or an answer, all lines together */
#define WS_UPGRADE_LINES   32
#define WS_UPGRADE_KEY_LEN 24 /* base64 of 16 bytes */

/* The request's key from 16 random bytes. */
void ws_upgrade_key(char key[WS_UPGRADE_KEY_LEN + 1], const uint8_t random[16]);
/* host: what stands behind "Host:". Number of characters (less than cap), or -E2BIG. */
int ws_upgrade_request(char *out, size_t cap, const char *host, const char *key);
/* Judges what came so far. Number of bytes that the request takes (more may follow it), and its key; 0: not
 * whole yet; -EMSGSIZE: too long; -EBADMSG: no such request (a GET of WS_UPGRADE_PATH that asks for version
 * 13). */
int ws_upgrade_read_request(struct bytes in, char key[WS_UPGRADE_KEY_LEN + 1]);
/* The answer that accepts key. As ws_upgrade_request. */
int ws_upgrade_answer(char *out, size_t cap, const char *key);
/* As ws_upgrade_read_request: an answer that accepts key, with no extension and no subprotocol. */
int ws_upgrade_read_answer(struct bytes in, const char *key);
/* What a client is told that asked for something else. */
#define WS_UPGRADE_REFUSAL "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

#endif
