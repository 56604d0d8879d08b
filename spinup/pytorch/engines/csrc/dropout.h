// Dropout (Srivastava et al. 2014). A hash of the seed and of a value's position decides whether it is dropped.

#pragma once

#include "vectors.h"

namespace {

using Bits = unsigned __attribute__((vector_size(LANES * 4)));

// The finalizer of MurmurHash3, on a number or a vector of numbers.
template <class N> inline N mixed(N x) {
    x ^= x >> 16, x *= 0x85EBCA6Bu;
    x ^= x >> 13, x *= 0xC2B2AE35u;
    return x ^ (x >> 16);
}

// The key of one forward pass of one network, or of one layer in it; 0 means that nothing is dropped.
inline unsigned pass_key(unsigned seed, unsigned number) { return mixed(seed + mixed(number + 1)) | 1; }
inline unsigned layer_key(unsigned key, unsigned layer) { return key ? mixed(key + layer) | 1 : 0; }

// The factors of LANES values from index `at` on: 0 with probability p, else 1 / (1 - p).
inline Vector dropout_factor(T p, unsigned key, long at) {
    Bits lane;
#pragma GCC unroll 64
    for (int i = 0; i < LANES; i++) lane[i] = i;
    const Bits hash = mixed(Bits((lane + unsigned(at)) * 0x9E3779B1u + key));
    const Index kept = __builtin_convertvector(hash >= unsigned(double(p) * 4294967296.0), Index);
    return kept ? splat(1 / (1 - p)) : Vector{};
}

}  // namespace
