// Adam, and the step of a layer: a gradient goes from the registers that summed it into the parameters.

#pragma once

#include <cmath>

#include "networks.h"

namespace {

// One optimiser's memory at the present step, and the targets that follow its parameters, if any.
struct Adam {
    T *p, *m, *v, *target;
    T rate, root, eps, first, second, follow;

    void at_step(double t, double lr) {
        rate = T(lr / (1 - std::pow(0.9, t)));
        root = T(std::sqrt(1 - std::pow(0.999, t)));
        eps = T(1e-8), first = T(1 - 0.9), second = T(1 - 0.999);
    }
    // Kingma & Ba 2015, algorithm 1, for `count` parameters; then equation 7.
    void step(int at, Vector g, int count) const {
        if (count >= LANES) {
            Vector m1 = load(m + at), v1 = load(v + at), p1 = load(p + at);
            update(p1, m1, v1, g);
            store(m + at, m1), store(v + at, v1), store(p + at, p1);
            if (target) {
                const Vector t = load(target + at);
                store(target + at, t + follow * (p1 - t));
            }
        } else if (count > 0) {
            Vector m1 = load_some(m + at, count), v1 = load_some(v + at, count);
            Vector p1 = load_some(p + at, count);
            update(p1, m1, v1, g);
            store_some(m + at, m1, count), store_some(v + at, v1, count), store_some(p + at, p1, count);
            if (target) {
                const Vector t = load_some(target + at, count);
                store_some(target + at, t + follow * (p1 - t), count);
            }
        }
    }
    void update(Vector &p1, Vector &m1, Vector &v1, Vector g) const {
        m1 += first * (g - m1);
        v1 += second * (g * g - v1);
        Vector spread;
        for (int i = 0; i < LANES; i++) spread[i] = std::sqrt(v1[i]);
        p1 -= rate * m1 / (spread / root + eps);
    }
};

// The step of outputs FIRST..LAST of one layer, from the gradient by its outputs, g, and its inputs, x.
template <int OUT, int INPUTS, int FIRST, int LAST>
void learn_layer(const T *g, const T *x, int x_step, T *scratch, const Adam &adam, int weight, int bias) {
    if constexpr (LAST > FIRST) {
        constexpr int STEP = stride(OUT);
        pack<BATCH, INPUTS>(x, x_step, scratch);
        product<LAST - FIRST, INPUTS, BATCH, 1, STEP>(g + FIRST, scratch, [&](int m, int n, Vector v) {
            adam.step(weight + (FIRST + m) * INPUTS + n, v, INPUTS - n);
        });
        for (int n = FIRST; n < LAST; n += LANES) {
            Vector total = {};
            for (int m = 0; m < BATCH; m++) total += load(g + m * STEP + n);
            adam.step(bias + n, total, LAST - n);
        }
    }
}

}  // namespace
