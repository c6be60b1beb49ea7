/* Latencies in nanoseconds, to within 1.6 %. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H
#include <stdint.h>

enum { HISTOGRAM_SLOTS = 64 * 64 };
struct histogram {
    uint64_t slots[HISTOGRAM_SLOTS], count, max;
};
void histogram_add(struct histogram *histogram, uint64_t ns);
double histogram_us(const struct histogram *histogram, double quantile);

#endif
