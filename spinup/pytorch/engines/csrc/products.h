// Products of matrices for one thread.
//
// C = A B for A (rows, k) and B (k, n): B is packed into strips that are one or two vectors wide, so that a
// tile of C stays in registers during the sum over k. The caller passes a function that receives each
// finished vector of C and applies bias and ReLU, ReLU's derivative, or a step of Adam, without another pass over C.

#pragma once

#include "vectors.h"

namespace {

constexpr int STRIP = 2 * LANES;

// Row stride of a matrix with n columns: whole vectors, and one more, since rows at a power-of-two distance
// map to few cache sets.
constexpr int stride(int n) { return padded(n) + LANES; }

constexpr long packed_size(int k, int n) { return long(k) * padded(n); }

// Calls strip(first column, offset in the packed matrix, width) for each strip of n columns of k rows.
template <class F> inline void each_strip(int k, int n, F strip) {
    for (int at = 0; at < n; at += STRIP) strip(at, long(at) * k, n - at > LANES ? STRIP : LANES);
}

// Packs B (k, n) with row stride `ld`; columns beyond n become 0.
inline void pack(const T *b, long ld, int k, int n, T *to) {
    each_strip(k, n, [&](int at, long place, int width) {
        const int count = std::min(width, n - at);
        for (int i = 0; i < k; i++) {
            const T *row = b + i * ld + at;
            T *out = to + place + long(i) * width;
            if (count == STRIP) {
                store(out, load(row)), store(out + LANES, load(row + LANES));
                continue;
            }
            for (int j = 0; j < count; j++) out[j] = row[j];
            for (int j = count; j < width; j++) out[j] = 0;
        }
    });
}

// One step of a transposition: exchanges lanes between two rows of a block that are D apart.
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
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++)
            if (!(i & D)) exchange<D>(rows[i], rows[i + D]);
        transpose<D / 2>(rows);
    }
}

// The offset of element (i, n) in a packed matrix of k rows and `columns` columns. LANES elements from a multiple
// of LANES on are contiguous.
inline long packed_at(int k, int columns, int i, int n) {
    const int strip = n / STRIP * STRIP, width = columns - strip > LANES ? STRIP : LANES;
    return long(strip) * k + long(i) * width + (n - strip);
}

// The same for a block at (i, n) of fewer rows or columns.
template <class From, class To>
inline void transpose_part(int rows, int columns, int i, int n, From from, To to) {
    for (int c = 0; c < columns; c++)
        for (int r = 0; r < rows; r++) *to(n + c, i + r) = *from(i + r, n + c);
}

// Transposes rows 0..rows and columns first..last of a matrix, in blocks. `from(i, n)` is the address of its
// element (i, n), and `to(n, i)` its address in the transpose; LANES elements must be contiguous.
template <class From, class To>
inline void transpose_matrix(int rows, int first, int last, From from, To to) {
    for (int i = 0; i < rows; i += LANES)
        for (int n = first; n < last; n += LANES) {
            if (rows - i < LANES || last - n < LANES) {
                transpose_part(std::min(LANES, rows - i), std::min(LANES, last - n), i, n, from, to);
                continue;
            }
            Vector block[LANES];
#pragma GCC unroll 16
            for (int r = 0; r < LANES; r++) block[r] = load(from(i + r, n));
            transpose(block);
#pragma GCC unroll 16
            for (int c = 0; c < LANES; c++) store(to(n + c, i), block[c]);
        }
}

// Maximum number of rows of a tile, so that it fits into the registers with the strip and one broadcast value.
constexpr int MOST_ROWS = (REGISTERS - 4) / 2;

// The offset of A's element (m, k): m step + k, list[m] step + k, or m + k step.
enum Access { IN_ORDER, LISTED, ACROSS };

// Computes a tile of C, from A's row m on.
template <Access ACCESS, int ROWS, int VECTORS, class Done>
inline void tile(const T *a, long step, const int *list, int k, const T *strip, int m, int n, const Done &done) {
    Vector c[ROWS][VECTORS] = {};
    long row[ROWS];
#pragma GCC unroll 32
    for (int r = 0; r < ROWS; r++) row[r] = ACCESS == ACROSS ? r : ACCESS == LISTED ? list[m + r] * step : r * step;
    if (ACCESS != LISTED) a += ACCESS == ACROSS ? m : m * step;
    for (int i = 0; i < k; i++) {
        Vector b[VECTORS];
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++) b[j] = load(strip + (i * VECTORS + j) * LANES);
#pragma GCC unroll 32
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; j++) c[r][j] += a[row[r]] * b[j];
        // For some processors GCC does not fuse the products of a single chain of sums, unlike those of larger tiles.
        if constexpr (ROWS * VECTORS == 1) c[0][0] = rounded(c[0][0]);
        a += ACCESS == ACROSS ? step : 1;
    }
#pragma GCC unroll 32
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++) done(ACCESS == LISTED ? list[m + r] : m + r, n + j * LANES, c[r][j]);
}

template <Access ACCESS, int VECTORS, int ROWS = MOST_ROWS, class... Rest>
inline void tile_of(int rows, const Rest &...rest) {
    if (rows == ROWS)
        tile<ACCESS, ROWS, VECTORS>(rest...);
    else if constexpr (ROWS > 1)
        tile_of<ACCESS, VECTORS, ROWS - 1>(rows, rest...);
}

// Divides `rows` rows into tiles whose sizes differ by at most one, and calls f(first row, count) for each.
template <class F> inline void each_tile(int rows, F f) {
    const int tiles = ceil_div(rows, MOST_ROWS);
    for (int t = 0, m = 0; t < tiles; t++) {
        const int count = rows / tiles + (t < rows % tiles);
        f(m, count);
        m += count;
    }
}

// Calls done(m, n, v) with each vector v = C[m, n .. n + LANES] of C = A B. B is packed; columns beyond n are 0.
//
// The outer loop is over strips, so that a strip stays in the first-level cache.
template <Access ACCESS, class Done>
inline void product(int rows, int n, int k, const T *a, long step, const T *b, const Done &done,
                    const int *list = nullptr) {
    each_strip(k, n, [&](int at, long place, int width) {
        each_tile(rows, [&](int m, int count) {
            if (width == STRIP)
                tile_of<ACCESS, 2>(count, a, step, list, k, b + place, m, at, done);
            else
                tile_of<ACCESS, 1>(count, a, step, list, k, b + place, m, at, done);
        });
    });
}

}  // namespace
