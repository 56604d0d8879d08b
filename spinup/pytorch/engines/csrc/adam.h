// Adam and AdamW, and polyak averaging of target networks.

#pragma once

#include "vectors.h"

// One parameter tensor, its Adam moments, and its polyak average in a target network, or null.
struct Parameter {
    SCALAR *p, *m, *v, *target;
};

namespace {

// The constants of one optimizer at the current step; follow is the weight of the new value in polyak averaging.
struct Adam {
    T rate, root, eps, first, second, keep, follow;

    void at_step(double t, double lr, double beta1, double beta2, double weight_decay, double polyak) {
        rate = T(lr / (1 - std::pow(beta1, t)));
        root = T(1 / std::sqrt(1 - std::pow(beta2, t)));
        eps = T(1e-8), first = T(1 - beta1), second = T(1 - beta2);
        keep = T(1 - lr * weight_decay), follow = T(1 - polyak);
    }

    // Kingma & Ba 2015, algorithm 1, with decoupled weight decay (Loshchilov & Hutter 2019), for `count` numbers
    // from `at` on; then equation 7.
    void step(const Parameter &to, long at, Vector g, int count) const {
        if (count >= LANES) {
            Vector m = load(to.m + at), v = load(to.v + at), p = load(to.p + at);
            update(p, m, v, g);
            store(to.m + at, m), store(to.v + at, v), store(to.p + at, p);
            if (to.target) {
                const Vector t = load(to.target + at);
                store(to.target + at, t + follow * (p - t));
            }
        } else if (count > 0) {
            Vector m = load_some(to.m + at, count), v = load_some(to.v + at, count);
            Vector p = load_some(to.p + at, count);
            update(p, m, v, g);
            store_some(to.m + at, m, count), store_some(to.v + at, v, count);
            store_some(to.p + at, p, count);
            if (to.target) {
                const Vector t = load_some(to.target + at, count);
                store_some(to.target + at, t + follow * (p - t), count);
            }
        }
    }

    void update(Vector &p, Vector &m, Vector &v, Vector g) const {
        m += first * (g - m);
        v += second * (rounded(g * g) - v);
        p = keep * p - rate * m / (each(v, [](T one) { return std::sqrt(one); }) * root + eps);
    }
};

}  // namespace
