// Multiplications and additions per second of one thread, by fused instructions on registers alone.

#include <chrono>

#include "vectors.h"

extern "C" double peak(long rounds) {
    constexpr int CHAINS = 12;  // enough for the latency of two units
    Vector c[CHAINS], a = splat(T(0.999)), b = splat(T(1e-3));
    for (int j = 0; j < CHAINS; j++) c[j] = splat(T(j));  // different, so that no chain is left out
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) c[j] = c[j] * a + b;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    Vector total = {};
    for (int j = 0; j < CHAINS; j++) total += c[j];
    volatile T used = sum(total);
    (void)used;
    return 2.0 * rounds * CHAINS * LANES / seconds.count();
}
