#include "io/memory.h"

#include <stdlib.h> /* says which libc it is */

#ifdef __GLIBC__

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE (128 * 1024)

void memory_begin(void)
{
    mallopt(M_ARENA_MAX, 1);
    /* Said once, they do not grow by themselves any more. */
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, LARGE);
}

/* An object whose read-only pages the loader has written to would lose that. */
static bool has_text_relocations(const struct dl_phdr_info *o)
{
    for (int i = 0; i < o->dlpi_phnum; i++) {
        if (o->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *d = (const void *)(o->dlpi_addr + o->dlpi_phdr[i].p_vaddr);
        for (; d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
                return true;
    }
    return false;
}

/* Segments that are never written are pages of the file and nothing else. What the loader relocates and then
 * protects (RELRO) is part of a segment that is writable. */
static int let_go(struct dl_phdr_info *o, size_t size, void *arg)
{
    uintptr_t page = *(const uintptr_t *)arg;
    (void)size;
    if (strstr(o->dlpi_name, "vdso") || has_text_relocations(o))
        return 0; /* the kernel's own page is no file's */
    for (int i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &o->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || (h->p_flags & PF_W))
            continue;
        uintptr_t from = (o->dlpi_addr + h->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t to = (o->dlpi_addr + h->p_vaddr + h->p_filesz) & ~(page - 1);
        if (from < to)
            madvise((void *)from, to - from, MADV_DONTNEED); /* a refusal costs nothing but the pages */
    }
    return 0;
}

void memory_settle(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    malloc_trim(0);
    dl_iterate_phdr(let_go, &page);
}

#else

void memory_begin(void)
{
}

void memory_settle(void)
{
}

#endif
