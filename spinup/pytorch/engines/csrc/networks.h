// The networks of one set of sizes: how products read their parameters, and both passes through hidden
// layers.
//
// The compiler is told: SCALAR, OBS, ACT, BATCH, PI_WIDTHS and Q_WIDTHS (the hidden layers).

#pragma once

#include "products.h"

namespace {

constexpr int PI[] = {OBS, PI_WIDTHS, 2 * ACT}, Q[] = {OBS + ACT, Q_WIDTHS, 1};
constexpr int PI_HIDDEN = sizeof(PI) / sizeof(int) - 2, Q_HIDDEN = sizeof(Q) / sizeof(int) - 2;
constexpr int IN = OBS + ACT, Q_LAST = Q[Q_HIDDEN], HEAD = 2 * ACT;

template <int p> struct Part { static constexpr int value = p; };

// The share of part p in n things, in whole multiples of `unit`: first and last + 1.
constexpr int share_begin(int p, int n, int unit) {
    return p ? std::min(n, ceil_div(ceil_div(n, unit), 2) * unit) : 0;
}
constexpr int share_end(int p, int n, int unit) { return p ? n : share_begin(1, n, unit); }

// Memory handed out from one piece; with none it only counts.
struct Arena {
    T *base;
    long used = 0;
    T *take(long n) {
        T *at = base ? base + used : nullptr;
        used += ceil_div(n, LANES) * LANES;
        return at;
    }
};

// The weights of some layers as products read them: forward W^T (in, out), backward W (out, in).
template <const int *W, int LAYERS> struct Packed {
    T *forward[LAYERS], *bias[LAYERS], *backward[LAYERS];
    template <int l = 0> void allocate(Arena &arena) {
        forward[l] = arena.take(packed_size(W[l], W[l + 1]));
        bias[l] = arena.take(stride(W[l + 1]));
        backward[l] = arena.take(packed_size(W[l + 1], W[l]));
        if constexpr (l + 1 < LAYERS) allocate<l + 1>(arena);
    }
    // Outputs first..last of a layer.
    template <int l> void fill(const T *weight, const T *biases, int first, int last) {
        pack_transposed<W[l], W[l + 1]>(weight, forward[l], first, last);
        for (int i = first; i < last; i++) bias[l][i] = biases[i];
        if constexpr (l > 0) pack<W[l + 1], W[l]>(weight, W[l], backward[l], first, last);
    }
};

template <const int *W, int LAYERS> struct Activations {
    T *of[LAYERS];
    template <int l = 0> void allocate(Arena &arena, int rows) {
        of[l] = arena.take(long(rows) * stride(W[l + 1]));
        if constexpr (l + 1 < LAYERS) allocate<l + 1>(arena, rows);
    }
};

inline Vector relu(Vector v) { return v < 0 ? Vector{} : v; }             // a NaN stays one
inline Vector where_active(Vector g, const T *h) { return load(h) <= 0 ? Vector{} : g; }

// The hidden layers' activations of ROWS inputs x with row stride STEP, into h from row `first` on.
template <const int *W, int LAYERS, int ROWS, int STEP, int L, int l = 0>
void hidden_forward(const T *x, const Packed<W, LAYERS> &net, T *const *h, int first = 0) {
    constexpr int TO = stride(W[l + 1]);
    T *to = h[l] + first * TO;
    product<ROWS, W[l + 1], W[l], STEP, 1>(x, net.forward[l], [&](int m, int n, Vector v) {
        store(to + m * TO + n, relu(v + load(net.bias[l] + n)));
    });
    if constexpr (l + 1 < L) hidden_forward<W, LAYERS, ROWS, TO, L, l + 1>(to, net, h, first);
}

// From the gradient by layer l's activations, g[l], that by all earlier ones; ReLU's derivative included.
template <const int *W, int LAYERS, int ROWS, int l>
void hidden_backward(const Packed<W, LAYERS> &net, T *const *g, T *const *h, int from = 0) {
    if constexpr (l > 0) {
        constexpr int STEP = stride(W[l + 1]), TO = stride(W[l]);
        const T *of = g[l] + from * STEP;
        product<ROWS, W[l], W[l + 1], STEP, 1>(of, net.backward[l], [&](int m, int n, Vector v) {
            const int at = (from + m) * TO + n;
            store(g[l - 1] + at, where_active(v, h[l - 1] + at));
        });
        hidden_backward<W, LAYERS, ROWS, l - 1>(net, g, h, from);
    }
}

}  // namespace
