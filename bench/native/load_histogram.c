/* 64 slots for each power of two. */
#include "load_histogram.h"

static unsigned slot_of(uint64_t ns) {
    if (ns < 64) return ns;
    unsigned exponent = 63 - __builtin_clzll(ns); /* at least 6 */
    return (exponent - 5) * 64 + ((ns >> (exponent - 6)) & 63);
}

/* The middle of a slot. */
static double slot_ns(unsigned slot) {
    if (slot < 64) return slot;
    unsigned exponent = slot / 64 + 5;
    double width = (double)(1ull << (exponent - 6));
    return (64 + slot % 64) * width + width / 2;
}

void histogram_add(struct histogram *histogram, uint64_t ns) {
    histogram->slots[slot_of(ns)]++;
    histogram->count++;
    if (ns > histogram->max) histogram->max = ns;
}

double histogram_us(const struct histogram *histogram, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * histogram->count), seen = 0;
    for (unsigned slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
        seen += histogram->slots[slot];
        if (seen > wanted) return slot_ns(slot) / 1000;
    }
    return histogram->max / 1000.0;
}
