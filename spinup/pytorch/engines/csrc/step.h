// One gradient step, in closed form, of the losses in spinup/pytorch/losses.py on the default networks.
// Equation numbers are those of docs/sac.md.
//
// The work is divided into two parts, which one thread does in turn or two at once: a critic and its target
// each, or half of the rows, or half of the policy's outputs. Parts never share a sum, so the number of
// threads changes no bit.

#pragma once

#include "adam.h"

// The class Arguments of native.py has the same fields in the same order; a test compares them.
//
// Batches: obs and next_obs (n, B, OBS), action (n, B, ACT), reward and discount (n, B), noise (n, 2, B, ACT).
// pi, q and target: tables of pointers to the weight (out, in) and bias of each layer in turn; the last two
// layers of pi are the heads for mean and log std; q and target hold critic 1, then critic 2. _m and _v: Adam's
// moments. Outputs: log_prob, target_out and q_pi (n, B), q_out (2, n, B), alpha (n,). Steps: Adam steps so far.
#define ARGUMENTS(X)                                                                              \
    X(const T *, obs) X(const T *, action) X(const T *, reward) X(const T *, discount)            \
    X(const T *, next_obs) X(const T *, noise)                                                    \
    X(const T *, center) X(const T *, half_range) X(const T *, low) X(const T *, high)            \
    X(T **, pi) X(T **, pi_m) X(T **, pi_v) X(T **, q) X(T **, q_m) X(T **, q_v) X(T **, target)  \
    X(const T *, fixed_alpha) X(T *, log_alpha) X(T *, alpha_m) X(T *, alpha_v)                   \
    X(T *, log_prob) X(T *, q_out) X(T *, target_out) X(T *, q_pi) X(T *, alpha)                  \
    X(T *, workspace)                                                                             \
    X(double, lr) X(double, polyak) X(double, target_entropy)                                     \
    X(double, log_std_min) X(double, log_std_max)                                                 \
    X(double, pi_steps) X(double, q_steps) X(double, alpha_steps)                                 \
    X(long, n) X(long, threads)

extern "C" struct Arguments {
#define FIELD(type, name) type name;
    ARGUMENTS(FIELD)
#undef FIELD
};

namespace {

struct Update {
    const Arguments &in;
    Arena arena;
    Packed<PI, PI_HIDDEN + 1> pi;
    Packed<Q, Q_HIDDEN> q[2], target[2];
    Activations<PI, PI_HIDDEN> pi_h[2], pi_g;
    Activations<Q, Q_HIDDEN> q_h[2], q_g[2];
    T *head[2], *head_g, *x2, *x, *x_pi, *scratch[2], *value[2], *target_value[2], *dq[2], *da[2], *first_a[2];
    T *logp2, *tanh_u, *spread, *inside, *q_head[2];
    Tensor head_weight, head_bias;  // both heads of the policy as one layer, copied for the block
    T alpha;
    Adam pi_adam{}, q_adam{}, alpha_adam{};

    explicit Update(const Arguments &arguments) : in(arguments), arena{arguments.workspace} {
        constexpr int WIDEST = std::max({std::max({PI_WIDTHS}), std::max({Q_WIDTHS}), IN});
        pi.allocate(arena);
        pi_g.allocate(arena, BATCH);
        head_g = arena.take(BATCH * stride(HEAD));
        for (T **one : {&x2, &x, &x_pi}) *one = arena.take(BATCH * stride(IN));
        for (T **one : {&head_weight.p, &head_weight.m, &head_weight.v})
            *one = arena.take(HEAD * PI[PI_HIDDEN]);
        for (T **one : {&head_bias.p, &head_bias.m, &head_bias.v}) *one = arena.take(HEAD);
        head_weight.target = head_bias.target = nullptr;
        q_adam.follow = T(1 - arguments.polyak);
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

    // Layer l of the policy, and of critic c with its target.
    Tensor pi_weight(int l) const { return l == PI_HIDDEN ? head_weight : pi_tensor(2 * l); }
    Tensor pi_bias(int l) const { return l == PI_HIDDEN ? head_bias : pi_tensor(2 * l + 1); }
    Tensor q_weight(int l, int c) const { return q_tensor(2 * (c * (Q_HIDDEN + 1) + l)); }
    Tensor q_bias(int l, int c) const { return q_tensor(2 * (c * (Q_HIDDEN + 1) + l) + 1); }
    Tensor pi_tensor(int i) const { return {in.pi[i], in.pi_m[i], in.pi_v[i], nullptr}; }
    Tensor q_tensor(int i) const { return {in.q[i], in.q_m[i], in.q_v[i], in.target[i]}; }

    void load_heads() { copy_heads(true); }
    void store_heads() { copy_heads(false); }
    void copy_heads(bool load) {
        constexpr int WEIGHT = ACT * PI[PI_HIDDEN];
        for (int i = 0; i < 2; i++) {
            const int at = 2 * (PI_HIDDEN + i);
            copy(pi_tensor(at), head_weight.from(i * WEIGHT), WEIGHT, load);
            copy(pi_tensor(at + 1), head_bias.from(i * ACT), ACT, load);
        }
    }
    static void copy(const Tensor &own, const Tensor &joint, int count, bool load) {
        const auto one = [&](T *a, T *b) { load ? std::copy_n(a, count, b) : std::copy_n(b, count, a); };
        one(own.p, joint.p), one(own.m, joint.m), one(own.v, joint.v);
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
        pi.fill<l>(pi_weight(l).p, pi_bias(l).p, share_begin(p, PI[l + 1], UNIT), share_end(p, PI[l + 1], UNIT));
        if constexpr (l < PI_HIDDEN) pack_pi<p, l + 1>();
    }

    template <int l = 0> void pack_q(int c) {
        const T *weight = q_weight(l, c).p;
        q[c].template fill<l>(weight, q_bias(l, c).p, 0, Q[l + 1]);
        if constexpr (l == 0) pack<Q[1], ACT>(weight + OBS, IN, first_a[c]);
        if constexpr (l + 1 < Q_HIDDEN) pack_q<l + 1>(c);
    }

    template <int l = 0> void pack_target(int c) {
        const T *weight = q_weight(l, c).target, *bias = q_bias(l, c).target;
        pack_transposed<Q[l], Q[l + 1]>(weight, target[c].forward[l]);
        std::copy(bias, bias + Q[l + 1], target[c].bias[l]);
        if constexpr (l + 1 < Q_HIDDEN) pack_target<l + 1>(c);
    }

    // Equation 5 at next_obs (at = 0) and at obs (at = 1) for half of the rows; and the critics' inputs.
    template <int p> void sample(long k, Part<p>) {
        for (int at = 0; at < 2; at++) {
            constexpr int FIRST = share_begin(p, BATCH, 1), ROWS = share_end(p, BATCH, 1) - FIRST;
            constexpr int LAST = stride(PI[PI_HIDDEN]), TO = stride(HEAD);
            const T *obs = (at ? in.obs : in.next_obs) + k * BATCH * OBS;
            const T *xi = in.noise + (2 * k + at) * BATCH * ACT;
            T *const *h = pi_h[at].of, *last = h[PI_HIDDEN - 1] + FIRST * LAST, *to = head[at] + FIRST * TO;
            hidden_forward<PI, PI_HIDDEN + 1, ROWS, OBS, PI_HIDDEN>(obs + FIRST * OBS, pi, h, FIRST);
            product<ROWS, HEAD, PI[PI_HIDDEN], LAST, 1>(
                last, pi.forward[PI_HIDDEN],
                [&](int m, int n, Vector v) { store(to + m * TO + n, v + load(pi.bias[PI_HIDDEN] + n)); });
            T *drawn = at ? x_pi : x2, *logp = at ? in.log_prob + k * BATCH : logp2;
            for (int m = FIRST; m < FIRST + ROWS; m++) {
                T *to_critics = drawn + m * stride(IN);
                std::copy_n(obs + m * OBS, OBS, to_critics);
                logp[m] = squash(at, m, head[at] + m * TO, xi + m * ACT, to_critics + OBS);
                if (at == 0) continue;
                std::copy_n(obs + m * OBS, OBS, x + m * stride(IN));
                std::copy_n(in.action + (k * BATCH + m) * ACT, ACT, x + m * stride(IN) + OBS);
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
            const T action = in.center[j] + in.half_range[j] * tanh;
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

    // Target c at next_obs and the action drawn there; critic c at obs and the stored action.
    void evaluate(long k, int c) {
        const Tensor weight = q_weight(Q_HIDDEN, c), bias = q_bias(Q_HIDDEN, c);
        T *const *h = q_h[c].of, *last = h[Q_HIDDEN - 1];
        hidden_forward<Q, Q_HIDDEN, BATCH, stride(IN), Q_HIDDEN>(x2, target[c], h);
        std::copy_n(weight.target, Q_LAST, q_head[c]);
        values(last, q_head[c], *bias.target, target_value[c]);
        hidden_forward<Q, Q_HIDDEN, BATCH, stride(IN), Q_HIDDEN>(x, q[c], h);
        std::copy_n(weight.p, Q_LAST, q_head[c]);
        values(last, q_head[c], *bias.p, q_values(k, c));
    }

    T *q_values(long k, int c) const { return in.q_out + (c * in.n + k) * BATCH; }

    // Equation 4 for critic c, Adam, equation 7; then its values at obs and the action drawn there.
    void learn(long k, int c) {
        const T *now = q_values(k, c), *reward = in.reward + k * BATCH, *discount = in.discount + k * BATCH;
        for (int m = 0; m < BATCH; m++) {
            const T v2 = smaller(target_value[0][m], target_value[1][m]) - alpha * logp2[m];
            const T y = reward[m] + discount[m] * v2;
            dq[c][m] = (now[m] - y) * T(2.0 / BATCH);
            if (c == 0) in.target_out[k * BATCH + m] = y;
        }
        gradient_by_last(c);
        hidden_backward<Q, Q_HIDDEN, BATCH, Q_HIDDEN - 1>(q[c], q_g[c].of, q_h[c].of);
        learn_head(c);
        learn_hidden(c);
        pack_q(c);
        pack_target(c);
        hidden_forward<Q, Q_HIDDEN, BATCH, stride(IN), Q_HIDDEN>(x_pi, q[c], q_h[c].of);
        std::copy_n(q_weight(Q_HIDDEN, c).p, Q_LAST, q_head[c]);
        values(q_h[c].of[Q_HIDDEN - 1], q_head[c], *q_bias(Q_HIDDEN, c).p, value[c]);
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
        const T *h = q_h[c].of[Q_HIDDEN - 1];
        for (int n = 0; n < Q_LAST; n += LANES) {
            Vector total = {};
            for (int m = 0; m < BATCH; m++) total += dq[c][m] * load(h + m * stride(Q_LAST) + n);
            q_adam.step(q_weight(Q_HIDDEN, c), n, total, Q_LAST - n);
        }
        Vector bias = {};
        for (int m = 0; m < BATCH; m++) bias[0] += dq[c][m];
        q_adam.step(q_bias(Q_HIDDEN, c), 0, bias, 1);
    }

    template <int l = Q_HIDDEN - 1> void learn_hidden(int c) {
        const T *inputs = l ? q_h[c].of[l ? l - 1 : 0] : x;
        learn_layer<Q[l + 1], Q[l], 0, Q[l + 1]>(q_g[c].of[l], inputs, stride(Q[l]), scratch[c], q_adam,
                                                 q_weight(l, c), q_bias(l, c));
        if constexpr (l > 0) learn_hidden<l - 1>(c);
    }

    // The gradient of -mean min(Q1, Q2) at obs by the action drawn there, through critic c; a tie is halved.
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
                const T mu = a * in.half_range[j] * (1 - t * t) + weight * t;
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
    template <int p, int l = PI_HIDDEN> void learn_pi(const T *obs) {
        constexpr int UNIT = strip_width(PI[l + 1]);
        constexpr int FIRST = share_begin(p, PI[l + 1], UNIT), LAST = share_end(p, PI[l + 1], UNIT);
        const T *inputs = l ? pi_h[1].of[l ? l - 1 : 0] : obs;
        const T *g = l == PI_HIDDEN ? head_g : pi_g.of[l < PI_HIDDEN ? l : 0];
        learn_layer<PI[l + 1], PI[l], FIRST, LAST>(
            g, inputs, l ? stride(PI[l]) : OBS, scratch[p], pi_adam, pi_weight(l), pi_bias(l));
        if constexpr (l > 0) learn_pi<p, l - 1>(obs);
    }

    template <int p> void improve(long k, Part<p>) {
        learn_pi<p>(in.obs + k * BATCH * OBS);
        pack_pi<p>();
        if (p == 0) learn_alpha(k);
    }

    // Equation 8.
    void learn_alpha(long k) {
        in.alpha[k] = alpha;
        if (!in.log_alpha) return;
        T mean = 0;
        for (int m = 0; m < BATCH; m++) mean += in.log_prob[k * BATCH + m] / BATCH;
        Vector g = {};
        g[0] = -alpha * (mean + T(in.target_entropy));
        alpha_adam.step({in.log_alpha, in.alpha_m, in.alpha_v, nullptr}, 0, g, 1);
        set_alpha();
    }
};

}  // namespace
