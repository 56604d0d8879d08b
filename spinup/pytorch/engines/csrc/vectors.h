// Vectors of the processor's width, and elementary functions of them.

#pragma once

#include <algorithm>
#include <cmath>

namespace {

using T = SCALAR;

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int VECTOR_BYTES = 16, REGISTERS = 32;
#else
constexpr int VECTOR_BYTES = 16, REGISTERS = 16;
#endif

constexpr int LANES = VECTOR_BYTES / sizeof(T);
typedef T Vector __attribute__((vector_size(VECTOR_BYTES)));
typedef T Anywhere __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
typedef decltype(Vector{} < Vector{}) Index;

inline Vector load(const T *from) { return *reinterpret_cast<const Anywhere *>(from); }
inline void store(T *to, Vector v) { *reinterpret_cast<Anywhere *>(to) = v; }

inline Vector load_some(const T *from, int count) {
    Vector v = {};
    for (int i = 0; i < count; i++) v[i] = from[i];
    return v;
}

inline void store_some(T *to, Vector v, int count) {
    for (int i = 0; i < count; i++) to[i] = v[i];
}

// Returns v, and keeps the compiler from fusing its computation with later operations, which it would do in some
// places and not in others.
inline Vector rounded(Vector v) {
#if defined(__SSE2__)
    asm("" : "+x"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
    return v;
}

inline T sum(Vector v) {
    T total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int padded(int n) { return ceil_div(n, LANES) * LANES; }

// Applies f to each lane, for functions without a vector form.
template <class F> inline Vector each(Vector x, F f) {
    for (int i = 0; i < LANES; i++) x[i] = f(x[i]);
    return x;
}

inline Vector splat(T x) { return x - Vector{}; }
inline Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
inline Vector magnitude(Vector x) { return x < 0 ? -x : x; }

// 2^k exp(r) for x = k log 2 + r, |r| <= log(2) / 2, with exp(r) as a Taylor series of degree 7. In float,
// the relative error is at most 4e-7, and the result is 0 below -87. NaN stays NaN.
inline Vector exponential(Vector x) {
    if constexpr (sizeof(T) == 4) {
        const Vector bounded = x < -87 ? splat(-87) : x > 88 ? splat(88) : x;
        // Adding 1.5 * 2^23 rounds to an integer, and leaves it in the low bits.
        const Vector shifted = bounded * T(1.44269504088896341) + T(12582912);
        const Vector k = shifted - T(12582912);
        const Vector r = bounded - k * T(0.693145751953125) - k * T(1.42860682030941723e-6);
        const Vector series =
            T(1) + r * (T(1) + r * (T(1. / 2) + r * (T(1. / 6) + r * (T(1. / 24) + r * (T(1. / 120) +
            r * (T(1. / 720) + r * T(1. / 5040)))))));
        union { Vector v; Index i; } bits{shifted};
        bits.i = (bits.i + 127) << 23;
        return x < -87 ? Vector{} : series * bits.v;
    } else {
        return each(x, [](T one) { return std::exp(one); });
    }
}

// exp(x) - 1 without cancellation near 0.
inline Vector exponential_minus_1(Vector x) {
    if constexpr (sizeof(T) == 4) {
        const Vector series =
            x * (T(1) + x * (T(1. / 2) + x * (T(1. / 6) + x * (T(1. / 24) + x * (T(1. / 120) +
            x * (T(1. / 720) + x * T(1. / 5040)))))));
        return magnitude(x) < T(0.35) ? series : exponential(x) - 1;
    } else {
        return each(x, [](T one) { return std::expm1(one); });
    }
}

inline Vector hyperbolic_tangent(Vector x) {
    const Vector t = exponential_minus_1(-2 * magnitude(x)), size = -t / (2 + t);
    return x < 0 ? -size : size;
}

// log(1 + x) for 0 <= x <= 1, as twice the series of the inverse hyperbolic tangent of x / (2 + x) <= 1/3.
inline Vector logarithm_of_1_plus(Vector x) {
    if constexpr (sizeof(T) == 4) {
        const Vector z = x / (2 + x), s = z * z;
        return 2 * z * (T(1) + s * (T(1. / 3) + s * (T(1. / 5) + s * (T(1. / 7) + s * (T(1. / 9) +
               s * (T(1. / 11) + s * (T(1. / 13) + s * T(1. / 15))))))));
    } else {
        return each(x, [](T one) { return std::log1p(one); });
    }
}

inline Vector logistic(Vector x) { return 1 / (1 + exponential(-x)); }

// The normal distribution function (Abramowitz & Stegun 1964, 7.1.26, within 1e-7, in float).
inline Vector normal_cdf(Vector x) {
    if constexpr (sizeof(T) == 4) {
        const Vector z = magnitude(x) * T(0.70710678118654752), t = 1 / (1 + T(0.3275911) * z);
        const Vector tail =
            t * (T(0.254829592) + t * (T(-0.284496736) + t * (T(1.421413741) + t * (T(-1.453152027) +
            t * T(1.061405429))))) * exponential(-z * z) / 2;
        return x < 0 ? tail : 1 - tail;
    } else {
        return each(x, [](T one) { return T(0.5) * std::erfc(one * T(-0.70710678118654752440)); });
    }
}

}  // namespace
