// One gradient step: FusedLearner.step (fused.py), which is the text to read beside this one. Equation
// numbers are those of docs/sac.md.
//
// The work is cut into two parts, which one thread does in turn or two at once: a critic and its target
// each, or half of the rows, or half of the policy's outputs. Parts never share a sum, so the number of
// threads changes no bit.

#pragma once

#include "adam.h"

// As native.py's Arguments. Arrays of the block: rows (n, B, ROW), noise (n, 2, B, ACT); logged: logp (n, B),
// q and error (n, 2, B), q_pi (n, B), alpha (n,).
extern "C" struct Arguments {
    const T *rows, *noise, *center, *half, *low, *high, *fixed_alpha;
    T *pi, *pi_m, *pi_v, *q, *q_m, *q_v, *target, *log_alpha, *alpha_m, *alpha_v;
    float *pi_steps, *q_steps, *alpha_steps;
    T *logp, *q_out, *error, *q_pi, *alpha, *room;
    double lr, gamma, polyak, target_entropy, log_std_min, log_std_max;
    long n, threads;
};

namespace {

struct Update {
    const Arguments &in;
    Arena arena;
    Packed<PI, PI_HIDDEN + 1> pi;
    Packed<Q, Q_HIDDEN> q[2], target[2];
    Activations<PI, PI_HIDDEN> pi_h[2], pi_g;
    Activations<Q, Q_HIDDEN> q_h[2], q_g[2];
    T *head[2], *head_g, *x2, *x_pi, *scratch[2], *value[2], *target_value[2], *dq[2], *da[2], *first_a[2];
    T *logp2, *tanh_u, *spread, *inside, *q_head[2];
    T alpha;
    Adam pi_adam{}, q_adam{}, alpha_adam{};

    explicit Update(const Arguments &arguments) : in(arguments), arena{arguments.room} {
        constexpr int WIDEST = std::max({std::max({PI_WIDTHS}), std::max({Q_WIDTHS}), IN});
        pi.allocate(arena);
        pi_g.allocate(arena, BATCH);
        head_g = arena.take(BATCH * stride(HEAD));
        x2 = arena.take(BATCH * stride(IN)), x_pi = arena.take(BATCH * stride(IN));
        logp2 = arena.take(BATCH);
        for (T **one : {&tanh_u, &spread, &inside}) *one = arena.take(BATCH * ACT);
        for (int c = 0; c < 2; c++) {
            q[c].allocate(arena), target[c].allocate(arena);
            pi_h[c].allocate(arena, BATCH);
            q_h[c].allocate(arena, BATCH), q_g[c].allocate(arena, BATCH);
            head[c] = arena.take(BATCH * stride(HEAD));
            scratch[c] = arena.take(packed_size(BATCH, WIDEST));
            da[c] = arena.take(BATCH * stride(ACT));
            first_a[c] = arena.take(packed_size(Q[1], ACT));
            q_head[c] = arena.take(stride(Q_LAST));
            for (T **one : {&value[c], &target_value[c], &dq[c]}) *one = arena.take(BATCH);
        }
    }

    // Everything that the first step reads.
    template <int p> void begin(Part<p>) {
        pack_pi<p>();
        pack_q(p);
        pack_target(p);
        if (p == 0) set_alpha();
    }

    void set_alpha() { alpha = in.log_alpha ? std::exp(*in.log_alpha) : *in.fixed_alpha; }

    template <int p, int l = 0> void pack_pi() {
        constexpr int UNIT = strip_width(PI[l + 1]);
        const T *weight = in.pi + PiFlat::weight(l), *bias = in.pi + PiFlat::bias(l);
        pi.fill<l>(weight, bias, share_begin(p, PI[l + 1], UNIT), share_end(p, PI[l + 1], UNIT));
        if constexpr (l < PI_HIDDEN) pack_pi<p, l + 1>();
    }

    template <int l = 0> void pack_q(int c) {
        const T *weight = in.q + QFlat::weight(l, 2, c);
        q[c].template fill<l>(weight, in.q + QFlat::bias(l, 2, c), 0, Q[l + 1]);
        if constexpr (l == 0) pack<Q[1], ACT>(weight + OBS, IN, first_a[c]);
        if constexpr (l + 1 < Q_HIDDEN) pack_q<l + 1>(c);
    }

    template <int l = 0> void pack_target(int c) {
        const T *weight = in.target + QFlat::weight(l, 2, c), *bias = in.target + QFlat::bias(l, 2, c);
        pack_transposed<Q[l], Q[l + 1]>(weight, target[c].forward[l]);
        std::copy(bias, bias + Q[l + 1], target[c].bias[l]);
        if constexpr (l + 1 < Q_HIDDEN) pack_target<l + 1>(c);
    }

    // Equation 5 at o2 (at = 0) and at o (at = 1) for half of the rows.
    template <int p> void sample(long k, Part<p>) {
        for (int at = 0; at < 2; at++) {
            constexpr int FIRST = share_begin(p, BATCH, 1), ROWS = share_end(p, BATCH, 1) - FIRST;
            constexpr int LAST = stride(PI[PI_HIDDEN]), TO = stride(HEAD);
            const T *obs = in.rows + k * BATCH * ROW + at * OBS, *xi = in.noise + (2 * k + at) * BATCH * ACT;
            T *const *h = pi_h[at].of, *last = h[PI_HIDDEN - 1] + FIRST * LAST, *to = head[at] + FIRST * TO;
            hidden_forward<PI, PI_HIDDEN + 1, ROWS, ROW, PI_HIDDEN>(obs + FIRST * ROW, pi, h, FIRST);
            product<ROWS, HEAD, PI[PI_HIDDEN], LAST, 1>(
                last, pi.forward[PI_HIDDEN],
                [&](int m, int n, Vector v) { store(to + m * TO + n, v + load(pi.bias[PI_HIDDEN] + n)); });
            T *x = at ? x_pi : x2, *logp = at ? in.logp + k * BATCH : logp2;
            for (int m = FIRST; m < FIRST + ROWS; m++) {
                std::copy(obs + m * ROW, obs + m * ROW + OBS, x + m * stride(IN));
                logp[m] = squash(at, m, head[at] + m * TO, xi + m * ACT, x + m * stride(IN) + OBS);
            }
        }
    }

    // One row's action, into a; returns its log-density.
    T squash(int at, int m, const T *mu, const T *xi, T *a) {
        const T low = T(in.log_std_min), high = T(in.log_std_max);
        T logp = T(-ACT * (0.91893853320467274178 + 2 * 0.69314718055994530942));  // log(2 pi) / 2, log 2
        for (int j = 0; j < ACT; j++) {
            const T raw = mu[ACT + j], log_std = raw < low ? low : raw > high ? high : raw;
            const T move = std::exp(log_std) * xi[j], u = mu[j] + move;
            const T t = std::expm1(-2 * std::abs(u));  // both tanh and log pi need exp(-2 |u|)
            const T tanh = std::copysign(-t / (2 + t), u);
            logp += T(-0.5) * xi[j] * xi[j] - log_std + 2 * (std::abs(u) + std::log1p(t + 1));
            const T action = in.center[j] + in.half[j] * tanh;
            a[j] = action < in.low[j] ? in.low[j] : action > in.high[j] ? in.high[j] : action;
            if (at == 0) continue;
            const int i = m * ACT + j;
            tanh_u[i] = tanh, spread[i] = move, inside[i] = raw == log_std;
        }
        return logp;
    }

    // Values (B,) of a critic's last hidden activations.
    static void values(const T *h, const T *weight, T bias, T *out) {
        for (int m = 0; m < BATCH; m++) {
            Vector total = {};
            for (int n = 0; n < padded(Q_LAST); n += LANES)
                total += load(h + m * stride(Q_LAST) + n) * load(weight + n);
            out[m] = sum(total) + bias;
        }
    }

    // Target c at (o2, a2) and critic c at (o, a).
    void evaluate(long k, int c) {
        constexpr int WEIGHT = QFlat::weight(Q_HIDDEN, 2), BIAS = QFlat::bias(Q_HIDDEN, 2);
        T *const *h = q_h[c].of, *last = h[Q_HIDDEN - 1];
        hidden_forward<Q, Q_HIDDEN, BATCH, stride(IN), Q_HIDDEN>(x2, target[c], h);
        std::copy_n(in.target + WEIGHT + c * Q_LAST, Q_LAST, q_head[c]);
        values(last, q_head[c], in.target[BIAS + c], target_value[c]);
        hidden_forward<Q, Q_HIDDEN, BATCH, ROW, Q_HIDDEN>(in.rows + k * BATCH * ROW + OBS, q[c], h);
        std::copy_n(in.q + WEIGHT + c * Q_LAST, Q_LAST, q_head[c]);
        values(last, q_head[c], in.q[BIAS + c], in.q_out + (2 * k + c) * BATCH);
    }

    // Equation 4 for critic c, Adam, equation 7; then its values at (o, a~), which the policy asks for.
    void learn(long k, int c) {
        const T *rows = in.rows + k * BATCH * ROW, *now = in.q_out + (2 * k + c) * BATCH;
        T *error = in.error + (2 * k + c) * BATCH;
        for (int m = 0; m < BATCH; m++) {
            const T r = rows[m * ROW + ROW - 2], d = rows[m * ROW + ROW - 1];
            const T v2 = smaller(target_value[0][m], target_value[1][m]) - alpha * logp2[m];
            error[m] = now[m] - (r + T(in.gamma) * (1 - d) * v2);
            dq[c][m] = error[m] * T(2.0 / BATCH);
        }
        gradient_by_last(c);
        hidden_backward<Q, Q_HIDDEN, BATCH, Q_HIDDEN - 1>(q[c], q_g[c].of, q_h[c].of);
        learn_head(c);
        learn_hidden(rows + OBS, c);
        pack_q(c);
        pack_target(c);
        constexpr int WEIGHT = QFlat::weight(Q_HIDDEN, 2), BIAS = QFlat::bias(Q_HIDDEN, 2);
        hidden_forward<Q, Q_HIDDEN, BATCH, stride(IN), Q_HIDDEN>(x_pi, q[c], q_h[c].of);
        std::copy_n(in.q + WEIGHT + c * Q_LAST, Q_LAST, q_head[c]);
        values(q_h[c].of[Q_HIDDEN - 1], q_head[c], in.q[BIAS + c], value[c]);
    }

    static T smaller(T a, T b) { return a < b || std::isnan(a) ? a : b; }

    // From dq: the gradient by the last hidden activations.
    void gradient_by_last(int c) {
        constexpr int STEP = stride(Q_LAST);
        T *g = q_g[c].of[Q_HIDDEN - 1], *h = q_h[c].of[Q_HIDDEN - 1];
        for (int m = 0; m < BATCH; m++)
            for (int n = 0; n < padded(Q_LAST); n += LANES) {
                const int at = m * STEP + n;
                store(g + at, where_active(dq[c][m] * load(q_head[c] + n), h + at));
            }
    }

    void learn_head(int c) {
        constexpr int WEIGHT = QFlat::weight(Q_HIDDEN, 2), BIAS = QFlat::bias(Q_HIDDEN, 2);
        const T *h = q_h[c].of[Q_HIDDEN - 1];
        for (int n = 0; n < Q_LAST; n += LANES) {
            Vector total = {};
            for (int m = 0; m < BATCH; m++) total += dq[c][m] * load(h + m * stride(Q_LAST) + n);
            q_adam.step(WEIGHT + c * Q_LAST + n, total, Q_LAST - n);
        }
        Vector bias = {};
        for (int m = 0; m < BATCH; m++) bias[0] += dq[c][m];
        q_adam.step(BIAS + c, bias, 1);
    }

    template <int l = Q_HIDDEN - 1> void learn_hidden(const T *o_a, int c) {
        const T *x = l ? q_h[c].of[l ? l - 1 : 0] : o_a;
        learn_layer<Q[l + 1], Q[l], 0, Q[l + 1]>(q_g[c].of[l], x, l ? stride(Q[l]) : ROW, scratch[c], q_adam,
                                                 QFlat::weight(l, 2, c), QFlat::bias(l, 2, c));
        if constexpr (l > 0) learn_hidden<l - 1>(o_a, c);
    }

    // The gradient of -mean min(Q1, Q2)(o, a~) by a~ through critic c; a tie is halved.
    void action_gradient(long k, int c) {
        for (int m = 0; m < BATCH; m++) {
            const T mine = value[c][m], other = value[1 - c][m];
            dq[c][m] = T(-1.0 / BATCH) * (mine < other ? T(1) : mine == other ? T(0.5) : T(0));
            if (c == 0) in.q_pi[k * BATCH + m] = smaller(mine, other);
        }
        gradient_by_last(c);
        hidden_backward<Q, Q_HIDDEN, BATCH, Q_HIDDEN - 1>(q[c], q_g[c].of, q_h[c].of);
        product<BATCH, ACT, Q[1], stride(Q[1]), 1>(q_g[c].of[0], first_a[c], [&](int m, int n, Vector v) {
            store(da[c] + m * stride(ACT) + n, v);
        });
    }

    // Equation 6 for half of the rows: the gradient by the policy's activations.
    template <int p> void policy_gradient(Part<p>) {
        constexpr int FIRST = share_begin(p, BATCH, 1), LAST = share_end(p, BATCH, 1), ROWS = LAST - FIRST;
        constexpr int STEP = stride(HEAD), TO = stride(PI[PI_HIDDEN]);
        const T weight = alpha * T(2.0 / BATCH);
        for (int m = FIRST; m < LAST; m++)
            for (int j = 0; j < ACT; j++) {
                const int at = m * ACT + j;
                const T a = da[0][m * stride(ACT) + j] + da[1][m * stride(ACT) + j], t = tanh_u[at];
                const T mu = a * in.half[j] * (1 - t * t) + weight * t;
                head_g[m * STEP + j] = mu;
                head_g[m * STEP + ACT + j] = inside[at] != 0 ? mu * spread[at] - weight / 2 : 0;
            }
        T *g = pi_g.of[PI_HIDDEN - 1], *h = pi_h[1].of[PI_HIDDEN - 1];
        product<ROWS, PI[PI_HIDDEN], HEAD, STEP, 1>(
            head_g + FIRST * STEP, pi.backward[PI_HIDDEN], [&](int m, int n, Vector v) {
                const int at = (FIRST + m) * TO + n;
                store(g + at, where_active(v, h + at));
            });
        hidden_backward<PI, PI_HIDDEN + 1, ROWS, PI_HIDDEN - 1>(pi, pi_g.of, pi_h[1].of, FIRST);
    }

    // Adam for half of each layer's outputs.
    template <int p, int l = PI_HIDDEN> void learn_pi(const T *o) {
        constexpr int UNIT = strip_width(PI[l + 1]);
        constexpr int FIRST = share_begin(p, PI[l + 1], UNIT), LAST = share_end(p, PI[l + 1], UNIT);
        const T *x = l ? pi_h[1].of[l ? l - 1 : 0] : o;
        const T *g = l == PI_HIDDEN ? head_g : pi_g.of[l < PI_HIDDEN ? l : 0];
        learn_layer<PI[l + 1], PI[l], FIRST, LAST>(
            g, x, l ? stride(PI[l]) : ROW, scratch[p], pi_adam, PiFlat::weight(l), PiFlat::bias(l));
        if constexpr (l > 0) learn_pi<p, l - 1>(o);
    }

    template <int p> void improve(long k, Part<p>) {
        learn_pi<p>(in.rows + k * BATCH * ROW + OBS);
        pack_pi<p>();
        if (p == 0) learn_alpha(k);
    }

    // Equation 8.
    void learn_alpha(long k) {
        in.alpha[k] = alpha;
        if (!in.log_alpha) return;
        T mean = 0;
        for (int m = 0; m < BATCH; m++) mean += in.logp[k * BATCH + m] / BATCH;
        Vector g = {};
        g[0] = -alpha * (mean + T(in.target_entropy));
        alpha_adam.step(0, g, 1);
        set_alpha();
    }
};

}  // namespace
