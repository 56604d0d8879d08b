// Memory for intermediate values, and how it and the work are divided.

#pragma once

#include "vectors.h"

#include <vector>

namespace {

// Allocates from one block of memory; if `base` is null, it only counts the numbers needed.
struct Arena {
    T *base;
    long used = 0;
    T *take(long n) {
        T *at = base ? base + used : nullptr;
        used += ceil_div(n, LANES) * LANES;
        return at;
    }
};

struct Range { int first, last; };

using Rows = std::vector<int>;  // indices of rows of a batch

// The part of the range 0..n that one worker processes, in multiples of `unit`.
inline Range share(int worker, int workers, int n, int unit) {
    const int units = ceil_div(n, unit);
    return {std::min(n, units * worker / workers * unit), std::min(n, units * (worker + 1) / workers * unit)};
}

}  // namespace
