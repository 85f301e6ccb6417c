/* Whether this is a build with AddressSanitizer: its quarantine keeps freed memory, so bars on growth do not hold. gcc and clang
 * say it differently. */
#ifndef WARREN_BASE_SANITIZED_H
#define WARREN_BASE_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZED 1
#endif
#endif
#ifndef ADDRESS_SANITIZED
#define ADDRESS_SANITIZED 0
#endif

#endif
