/* fuzz_seeds DIR: writes the seeds to DIR/corpus/TARGET/NAME. */
#include "fuzz/seed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void folder(const char *path)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST) {
        fprintf(stderr, "fuzz_seeds: %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

static void save(void *ctx, const struct seed *s)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/corpus/%s", (const char *)ctx, s->target);
    folder(path);
    snprintf(path, sizeof path, "%s/corpus/%s/%s", (const char *)ctx, s->target, s->name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(s->in.p, 1, s->in.n, f) != s->in.n || fclose(f) != 0) {
        fprintf(stderr, "fuzz_seeds: %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds DIR\n");
        return 2;
    }
    folder(argv[1]);
    snprintf(path, sizeof path, "%s/corpus", argv[1]);
    folder(path);
    seeds_all(save, argv[1]);
    return 0;
}
