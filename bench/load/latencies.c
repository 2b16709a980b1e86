/* How long messages took. */
#include "load.h"

void note_latency(latencies *all, double seconds) {
    if (all->count == all->room) {
        all->room = all->room ? 2 * all->room : 1 << 16;
        all->values = enlarge(all->values, all->room * sizeof *all->values);
    }
    all->values[all->count++] = seconds * 1e6;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* A percentile needs some values beyond it to mean something. */
static void print_percentile(const latencies *all, const char *name, double part) {
    if (all->count * (1 - part) >= 5) printf(",\"%s\":%.1f", name, all->values[(size_t)((all->count - 1) * part)]);
}

void print_percentiles(latencies *all) {
    qsort(all->values, all->count, sizeof *all->values, ascending);
    print_percentile(all, "p50", 0.5);
    print_percentile(all, "p99", 0.99);
    print_percentile(all, "p999", 0.999);
    if (all->count) printf(",\"max\":%.1f", all->values[all->count - 1]);
}
