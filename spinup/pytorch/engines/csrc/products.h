// Products of small matrices for one thread, their sizes known to the compiler.
//
// C = A B for A (ROWS, K) and B (K, N): B is packed into strips of one or two vectors' width, so that a tile
// of C stays in registers while K runs. What happens to a finished vector of C is the caller's: bias and
// ReLU, ReLU's derivative, or a step of Adam; so a result is written once and never read again for that.

#pragma once

#include <algorithm>

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

inline T sum(Vector v) {
    T total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int padded(int n) { return ceil_div(n, LANES) * LANES; }

// Row stride of a matrix with n columns: whole vectors, and one more, since rows a power of two apart
// would share few places in the cache.
constexpr int stride(int n) { return padded(n) + LANES; }

constexpr int strip_vectors(int n) { return n > LANES ? 2 : 1; }
constexpr int strip_width(int n) { return strip_vectors(n) * LANES; }
constexpr int strips(int n) { return ceil_div(n, strip_width(n)); }
constexpr int packed_size(int k, int n) { return strips(n) * k * strip_width(n); }

// Packs rows first..last of B (K, N) with row stride `ld`; columns beyond N become 0.
template <int K, int N> inline void pack(const T *b, int ld, T *to, int first = 0, int last = K) {
    constexpr int WIDTH = strip_width(N);
    for (int s = 0; s < strips(N); s++)
        for (int k = first; k < last; k++) {
            const T *row = b + k * ld + s * WIDTH;
            T *place = to + (s * K + k) * WIDTH;
            const int count = std::min(WIDTH, N - s * WIDTH);
            for (int j = 0; j < count; j++) place[j] = row[j];
            for (int j = count; j < WIDTH; j++) place[j] = 0;
        }
}

typedef decltype(Vector{} < Vector{}) Index;

// Exchanges, between rows D apart of a block, the lanes that lie on the wrong side of its diagonal.
template <int D> inline void exchange(Vector &a, Vector &b) {
    Vector x, y;
#if defined(__clang__)
    for (int i = 0; i < LANES; i++) x[i] = i & D ? b[i - D] : a[i], y[i] = i & D ? b[i] : a[i + D];
#else
    Index low, high;
    for (int i = 0; i < LANES; i++) low[i] = i & D ? LANES + i - D : i, high[i] = i & D ? LANES + i : i + D;
    x = __builtin_shuffle(a, b, low), y = __builtin_shuffle(a, b, high);
#endif
    a = x, b = y;
}

// Transposes a block of LANES rows in the registers.
template <int D = LANES / 2> inline void transpose(Vector (&rows)[LANES]) {
    if constexpr (D > 0) {
        for (int i = 0; i < LANES; i++)
            if (!(i & D)) exchange<D>(rows[i], rows[i + D]);
        transpose<D / 2>(rows);
    }
}

// Packs columns first..last of B (K, N), of which b holds the transpose, (N, K) without gaps. `first`
// begins a strip.
template <int K, int N> inline void pack_transposed(const T *b, T *to, int first = 0, int last = N) {
    constexpr int WIDTH = strip_width(N);
    for (int strip = first; strip < last; strip += WIDTH)
        for (int j = 0; j < WIDTH; j += LANES) {
            const int n = strip + j, count = std::max(0, std::min(LANES, N - n));
            T *place = to + strip * K + j;
            int k = 0;
            for (; count == LANES && k + LANES <= K; k += LANES) {
                Vector rows[LANES];
                for (int i = 0; i < LANES; i++) rows[i] = load(b + (n + i) * K + k);
                transpose(rows);
                for (int i = 0; i < LANES; i++) store(place + (k + i) * WIDTH, rows[i]);
            }
            for (; k < K; k++)
                for (int i = 0; i < LANES; i++) place[k * WIDTH + i] = i < count ? b[(n + i) * K + k] : 0;
        }
}

// Rows of a tile: what fits into the registers beside the strip and one broadcast, dividing `rows` well.
constexpr int tile_rows(int rows, int vectors) {
    const int most = (REGISTERS - vectors - 2) / vectors;
    return ceil_div(rows, ceil_div(rows, std::max(1, most)));
}

template <int ROWS, int VECTORS, int K, int STEP_M, int STEP_K, class Done>
inline void tile(const T *a, const T *strip, int m, int n, Done &done) {
    Vector c[ROWS][VECTORS] = {};
    for (int k = 0; k < K; k++) {
        Vector b[VECTORS];
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++) b[j] = load(strip + (k * VECTORS + j) * LANES);
#pragma GCC unroll 32
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; j++) c[i][j] += a[i * STEP_M + k * STEP_K] * b[j];
    }
#pragma GCC unroll 32
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++) done(m + i, n + j * LANES, c[i][j]);
}

// Calls done(m, n, v) with each vector v = C[m, n .. n + LANES] of A B; A's element (m, k) is
// a[m STEP_M + k STEP_K], B is packed. Columns beyond N come as 0.
template <int ROWS, int N, int K, int STEP_M, int STEP_K, class Done>
inline void product(const T *a, const T *b, Done done) {
    if constexpr (ROWS > 0) {
        constexpr int VECTORS = strip_vectors(N), TILE = tile_rows(ROWS, VECTORS), REST = ROWS % TILE;
        for (int s = 0; s < strips(N); s++) {
            const T *strip = b + s * K * strip_width(N);
            const int n = s * strip_width(N);
            for (int m = 0; m + TILE <= ROWS; m += TILE)
                tile<TILE, VECTORS, K, STEP_M, STEP_K>(a + m * STEP_M, strip, m, n, done);
            if constexpr (REST > 0) {
                const int m = ROWS - REST;
                tile<REST, VECTORS, K, STEP_M, STEP_K>(a + m * STEP_M, strip, m, n, done);
            }
        }
    }
}

}  // namespace
