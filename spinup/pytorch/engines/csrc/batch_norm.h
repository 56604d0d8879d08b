// Batch normalization (Ioffe & Szegedy 2015) and batch renormalization (Ioffe 2017).

#pragma once

#include "activations.h"
#include "adam.h"
#include "workspace.h"

// The arguments of one normalization; the class BatchNormArguments of native_layers.py has the same fields in
// the same order.
// scale, shift (size,); running mean and variance (size,), null without a normalization. For a renormalization,
// batches points to the number of batches so far, of which the first warm_up are not corrected, and r_max and
// d_max bound the corrections; for a plain normalization, batches is null.
#define BATCH_NORM(X)                                                                              \
    X(Parameter, scale) X(Parameter, shift) X(SCALAR *, mean) X(SCALAR *, var) X(long *, batches)  \
    X(double, eps) X(double, momentum) X(double, r_max) X(double, d_max) X(long, warm_up)

extern "C" struct BatchNormArguments {
#define FIELD(type, name) type name;
    BATCH_NORM(FIELD)
#undef FIELD
};

namespace {

// The normalization of (rows, size): y = (x - center) factor + shift, for each column.
struct BatchNorm {
    BatchNormArguments in;
    int size;
    T *scale, *shift;                    // the parameters, padded with 0
    T *running_center, *running_factor;  // of the running statistics
    T *mean, *rstd, *factor, *r, *d;     // of the latest batch: its mean and 1 / std; the corrections
    T *scale_g, *shift_g;                // gradients of the parameters

    BatchNorm(const BatchNormArguments &about, int columns, Arena &arena) : in(about), size(columns) {
        if (!used()) return;
        for (T **one : {&scale, &shift, &running_center, &running_factor, &mean, &rstd, &factor, &r, &d, &scale_g,
                        &shift_g})
            *one = arena.take(padded(size));
    }

    bool used() const { return in.mean; }

    // Reads the parameters and running statistics of some columns.
    void pack(Range columns) {
        for (int n = columns.first; n < columns.last; n++) {
            scale[n] = in.scale.p[n], shift[n] = in.shift.p[n], running_center[n] = in.mean[n];
            running_factor[n] = scale[n] / std::sqrt(in.var[n] + T(in.eps));
        }
    }

    // y for some rows of x, by the running statistics; or, if by_batch, by the statistics of these rows.
    void forward(const T *x, T *y, long step, Range rows, bool by_batch) {
        if (by_batch) return forward_batch(x, y, step, rows.last);
        for (int m = rows.first; m < rows.last; m++)
            for (int n = 0; n < size; n += LANES) {
                const Vector centered = load(x + m * step + n) - load(running_center + n);
                store(y + m * step + n, centered * load(running_factor + n) + load(shift + n));
            }
    }

    // After forward: replaces the gradient with respect to y by the gradient with respect to x.
    void backward(const T *x, T *g, long step, const Rows &rows, bool by_batch) {
        if (by_batch) return backward_batch(x, g, step, int(rows.size()));
        for (const int m : rows)
            for (int n = 0; n < size; n += LANES)
                store(g + m * step + n, load(g + m * step + n) * load(running_factor + n));
    }

    void forward_batch(const T *x, T *y, long step, int rows) {
        const bool corrects = in.batches && *in.batches >= in.warm_up;
        for (int n = 0; n < size; n += LANES) {
            Vector total = {}, squares = {};
            for (int m = 0; m < rows; m++) total += load(x + m * step + n);
            const Vector average = total / T(rows);
            for (int m = 0; m < rows; m++) {
                const Vector centered = load(x + m * step + n) - average;
                squares += centered * centered;
            }
            const Vector center = follow(n, average, squares / T(rows), corrects);
            const Vector times = load(factor + n), plus = load(shift + n);
            for (int m = 0; m < rows; m++)
                store(y + m * step + n, (load(x + m * step + n) - center) * times + plus);
        }
        if (in.batches) ++*in.batches;
    }

    // Stores factor and corrections for LANES columns of a batch from column n on, given the batch's mean and
    // variance, updates the running statistics, and returns the center. With the corrections r and d, which have
    // no gradient, y is ((x - mean) / std r + d) scale + shift.
    Vector follow(int n, Vector average, Vector var, bool corrects) {
        const int count = std::min(LANES, size - n);
        for (int j = count; j < LANES; j++) var[j] = 1;  // in the padding, where 0 could be divided by 0
        const auto root = [](T one) { return std::sqrt(one); };
        const Vector deviation = each(var + T(in.eps), root);
        const Vector old_mean = load_some(in.mean + n, count), old_var = load_some(in.var + n, count);
        Vector ratio = splat(1), offset = {};
        if (corrects) {
            const Vector running = each(old_var + T(in.eps), root);
            ratio = bounded(deviation / running, T(1 / in.r_max), T(in.r_max));
            offset = bounded((average - old_mean) / running, T(-in.d_max), T(in.d_max));
        }
        store_some(in.mean + n, old_mean + T(in.momentum) * (average - old_mean), count);
        store_some(in.var + n, old_var + T(in.momentum) * (var - old_var), count);
        store(mean + n, average), store(rstd + n, 1 / deviation), store(r + n, ratio), store(d + n, offset);
        store(factor + n, load(scale + n) * ratio / deviation);
        return average - offset * deviation / ratio;
    }

    // Also computes the gradients of the parameters. With z = (x - mean) / std, the gradient with respect to x is
    // factor (g - mean of g - z mean of (g z)).
    void backward_batch(const T *x, T *g, long step, int rows) {
        for (int n = 0; n < size; n += LANES) {
            const Vector average = load(mean + n), inverse = load(rstd + n);
            Vector sum_g = {}, sum_gz = {};
            for (int m = 0; m < rows; m++) {
                const Vector one = load(g + m * step + n);
                sum_g += one, sum_gz += one * ((load(x + m * step + n) - average) * inverse);
            }
            store(scale_g + n, load(r + n) * sum_gz + load(d + n) * sum_g), store(shift_g + n, sum_g);
            const Vector times = load(factor + n), mean_g = sum_g / T(rows), mean_gz = sum_gz / T(rows);
            for (int m = 0; m < rows; m++) {
                const Vector z = (load(x + m * step + n) - average) * inverse;
                store(g + m * step + n, times * (load(g + m * step + n) - mean_g - z * mean_gz));
            }
        }
    }

    // A step of Adam for the parameters of some columns.
    void learn(const Adam &adam, Range columns) {
        for (int n = columns.first; n < columns.last; n += LANES) {
            adam.step(in.scale, n, load(scale_g + n), columns.last - n);
            adam.step(in.shift, n, load(shift_g + n), columns.last - n);
        }
    }
};

}  // namespace
