/* Before the first use of OpenSSL by anyone in the process (libwebsockets too): main() calls this first. */
#ifndef WARREN_CRYPTO_INIT_H
#define WARREN_CRYPTO_INIT_H

/* Readies OpenSSL without the system's openssl.cnf, which belongs to another version and may name other
 * providers and limits. May be called again, from any thread; the other modules of this folder call it
 * themselves. Ends the program where OpenSSL lacks an algorithm that Warren needs. */
void crypto_init(void);

#endif
