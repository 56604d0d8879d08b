// Batch normalization (Ioffe & Szegedy 2015) and batch renormalization (Ioffe 2017).

#pragma once

#include "activations.h"
#include "adam.h"
#include "workspace.h"

// One normalization as native.py describes it; the class Normalization there has the same fields in the same order.
// scale, shift (size,); running mean and variance (size,), null without a normalization; batches: how many a
// renormalization has seen, null for plain normalization, which are not corrected before the number warm_up.
#define BATCH_NORM(X)                                                                              \
    X(Parameter, scale) X(Parameter, shift) X(SCALAR *, mean) X(SCALAR *, var) X(long *, batches)  \
    X(double, eps) X(double, momentum) X(long, warm_up)

extern "C" struct BatchNormArguments {
#define FIELD(type, name) type name;
    BATCH_NORM(FIELD)
#undef FIELD
};

namespace {

constexpr double R_MAX = 3, D_MAX = 5;

// The normalization of (rows, size): y = (x - center) by + shift, for each column.
struct BatchNorm {
    BatchNormArguments in;
    int size;
    T *scale, *shift;              // the parameters, padded with 0
    T *running_mean, *running_by;  // center and factor of the running statistics
    T *mean, *rstd, *by, *r, *d;   // of the latest batch: its mean and 1 / std, the factor, the corrections
    T *scale_g, *shift_g;          // gradients of the parameters

    BatchNorm(const BatchNormArguments &about, int columns, Arena &arena) : in(about), size(columns) {
        if (!used()) return;
        for (T **one : {&scale, &shift, &running_mean, &running_by, &mean, &rstd, &by, &r, &d,
                         &scale_g, &shift_g})
            *one = arena.take(padded(size));
    }

    bool used() const { return in.mean; }

    // Reads the parameters and running statistics of some columns.
    void pack(Range columns) {
        for (int n = columns.first; n < columns.last; n++) {
            scale[n] = in.scale.p[n], shift[n] = in.shift.p[n], running_mean[n] = in.mean[n];
            running_by[n] = scale[n] / std::sqrt(in.var[n] + T(in.eps));
        }
    }

    // y for some rows of x, by the running statistics; or by those of the batch, which consists of these rows.
    void forward(const T *x, T *y, long step, Range rows, bool by_batch) {
        if (by_batch) return forward_batch(x, y, step, rows.last);
        for (int m = rows.first; m < rows.last; m++)
            for (int n = 0; n < size; n += LANES)
                store(y + m * step + n,
                      (load(x + m * step + n) - load(running_mean + n)) * load(running_by + n) + load(shift + n));
    }

    // After forward: replaces the gradient with respect to y by that with respect to x.
    void backward(const T *x, T *g, long step, const Rows &rows, bool by_batch) {
        if (by_batch) return backward_batch(x, g, step, int(rows.size()));
        for (const int m : rows)
            for (int n = 0; n < size; n += LANES)
                store(g + m * step + n, load(g + m * step + n) * load(running_by + n));
    }

    // The running statistics follow those of the batch.
    void forward_batch(const T *x, T *y, long step, int rows) {
        const bool corrects = in.batches && *in.batches >= in.warm_up;
        for (int n = 0; n < size; n += LANES) {
            Vector total = {}, squares = {};
            for (int m = 0; m < rows; m++) total += load(x + m * step + n);
            const Vector average = total / T(rows);
            for (int m = 0; m < rows; m++) {
                const Vector d = load(x + m * step + n) - average;
                squares += d * d;
            }
            const Vector var = squares / T(rows);
            const Vector center = describe(n, average, var, corrects);
            const Vector times = load(by + n), plus = load(shift + n);
            for (int m = 0; m < rows; m++)
                store(y + m * step + n, (load(x + m * step + n) - center) * times + plus);
        }
        if (in.batches) ++*in.batches;
    }

    // Stores what normalizes LANES columns of a batch from column n on, and returns their center. The running
    // statistics follow. With correction, y is ((x - mean) / std r + d) scale + shift; r and d have no gradient.
    Vector describe(int n, Vector average, Vector var, bool corrects) {
        const int count = std::min(LANES, size - n);
        const auto root = [](T x) { return std::sqrt(x); };
        const Vector std = each(var + T(in.eps), root);
        const Vector old_mean = load_some(in.mean + n, count), old_var = load_some(in.var + n, count);
        Vector factor = splat(1), offset = {};
        if (corrects) {
            const Vector running = each(old_var + T(in.eps), root);
            factor = bounded(std / running, T(1 / R_MAX), T(R_MAX));
            offset = bounded((average - old_mean) / running, T(-D_MAX), T(D_MAX));
        }
        store_some(in.mean + n, old_mean + T(in.momentum) * (average - old_mean), count);
        store_some(in.var + n, old_var + T(in.momentum) * (var - old_var), count);
        store(mean + n, average), store(rstd + n, 1 / std), store(r + n, factor), store(d + n, offset);
        store(by + n, load(scale + n) * factor / std);
        return average - offset * std / factor;
    }

    // Computes the gradients of the parameters as well.
    void backward_batch(const T *x, T *g, long step, int rows) {
        for (int n = 0; n < size; n += LANES) {
            const Vector average = load(mean + n), inverse = load(rstd + n);
            Vector total = {}, along = {};
            for (int m = 0; m < rows; m++) {
                const Vector one = load(g + m * step + n);
                total += one, along += one * ((load(x + m * step + n) - average) * inverse);
            }
            store(scale_g + n, load(r + n) * along + load(d + n) * total), store(shift_g + n, total);
            const Vector times = load(by + n), level = total / T(rows), slant = along / T(rows) * inverse;
            for (int m = 0; m < rows; m++) {
                const Vector z = load(x + m * step + n) - average;
                store(g + m * step + n, times * (load(g + m * step + n) - level - z * slant));
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
