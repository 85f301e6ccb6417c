/* How much of the machine's memory the process keeps. Linux with glibc; elsewhere these do nothing. */
#ifndef WARREN_IO_MEMORY_H
#define WARREN_IO_MEMORY_H

/* Once, before the first thread: one heap for all threads (they allocate rarely), and what is large is given
 * back when it is freed. */
void memory_begin(void);
/* Gives back what is not needed at the moment: free memory inside the heap, and the pages of code and
 * constants that were only looked at. The latter come back from the kernel's cache, without reading, when
 * they are looked at again. It takes well below a millisecond, and moves nothing. */
void memory_settle(void);

#endif
