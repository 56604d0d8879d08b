// Adam, and the step of a layer: a gradient goes from the registers that summed it into the parameters.

#pragma once

#include <cmath>

#include "networks.h"

namespace {

// One parameter tensor, Adam's moments of it, and the target that averages it, if any.
struct Tensor {
    T *p, *m, *v, *target;
    Tensor from(int at) const { return {p + at, m + at, v + at, target ? target + at : nullptr}; }
};

// The constants of one optimizer at the present step, and the share of the new value in targets.
struct Adam {
    T rate, root, eps, first, second, follow;

    void at_step(double t, double lr) {
        rate = T(lr / (1 - std::pow(0.9, t)));
        root = T(std::sqrt(1 - std::pow(0.999, t)));
        eps = T(1e-8), first = T(1 - 0.9), second = T(1 - 0.999);
    }
    // Kingma & Ba 2015, algorithm 1, for `count` parameters; then equation 7.
    void step(const Tensor &to, int at, Vector g, int count) const {
        if (count >= LANES) {
            Vector m1 = load(to.m + at), v1 = load(to.v + at), p1 = load(to.p + at);
            update(p1, m1, v1, g);
            store(to.m + at, m1), store(to.v + at, v1), store(to.p + at, p1);
            if (to.target) {
                const Vector t = load(to.target + at);
                store(to.target + at, t + follow * (p1 - t));
            }
        } else if (count > 0) {
            Vector m1 = load_some(to.m + at, count), v1 = load_some(to.v + at, count);
            Vector p1 = load_some(to.p + at, count);
            update(p1, m1, v1, g);
            store_some(to.m + at, m1, count), store_some(to.v + at, v1, count);
            store_some(to.p + at, p1, count);
            if (to.target) {
                const Vector t = load_some(to.target + at, count);
                store_some(to.target + at, t + follow * (p1 - t), count);
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
void learn_layer(const T *g, const T *x, int x_step, T *scratch, const Adam &adam, const Tensor &weight,
                 const Tensor &bias) {
    if constexpr (LAST > FIRST) {
        constexpr int STEP = stride(OUT);
        pack<BATCH, INPUTS>(x, x_step, scratch);
        product<LAST - FIRST, INPUTS, BATCH, 1, STEP>(g + FIRST, scratch, [&](int m, int n, Vector v) {
            adam.step(weight, (FIRST + m) * INPUTS + n, v, INPUTS - n);
        });
        for (int n = FIRST; n < LAST; n += LANES) {
            Vector total = {};
            for (int m = 0; m < BATCH; m++) total += load(g + m * STEP + n);
            adam.step(bias, n, total, LAST - n);
        }
    }
}

}  // namespace
