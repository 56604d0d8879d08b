// Gradient steps, in closed form, of the losses in spinup/pytorch/losses.py. Equation numbers are those of
// docs/sac.md.
//
// A step is a sequence of phases. In each, a worker processes a share of the batch's rows, of the critics, of
// pairs of a critic and a row, or of a layer's outputs. No sum is split between workers, so results do not
// depend on the number of workers, bit for bit.

#pragma once

#include "layers.h"

// The class Arguments of native.py has the same fields in the same order; a test compares them.
//
// Batches: obs and next_obs (n, B, obs_dim), action (n, B, act_dim), or (n, B, 1) if discrete, reward and
// discount (n, B). Null if not given: weight (n, B), noise (n, 2, B, act_dim), critic_subset (n, subset_size),
// dropout_seed (n,). lr (n,).
// actor: the trunk's layers, then the heads for mean and log std, or the head for the logits. critic: the layers
// of critic 1, then the layers of critic 2, and so on. value: null without a value network. Outputs: log_prob,
// target_out and q_pi (n, B), q_out and, if critics have quantiles, loss_out (critics, n, B), alpha (n,);
// log_prob and q_pi are not written in steps that do not update the policy. actor_steps, critic_steps,
// alpha_steps: steps of Adam so far. quantiles: number of quantiles of a critic, 0 if it has one value;
// target_quantiles: number of pooled quantiles that form a target. log_alpha_loss: whether the loss of alpha has the
// factor log_alpha instead of alpha.
#define ARGUMENTS(X)                                                                               \
    X(const T *, obs) X(const T *, action) X(const T *, reward) X(const T *, discount)             \
    X(const T *, next_obs) X(const T *, noise) X(const T *, weight) X(const long *, critic_subset) \
    X(const long *, dropout_seed)                                                                  \
    X(const T *, center) X(const T *, half_range) X(const T *, low) X(const T *, high)             \
    X(const double *, lr)                                                                          \
    X(const LayerArguments *, actor) X(const LayerArguments *, critic) X(const LayerArguments *, value) \
    X(const T *, fixed_alpha) X(Parameter, log_alpha)                                              \
    X(T *, log_prob) X(T *, q_out) X(T *, target_out) X(T *, q_pi) X(T *, alpha) X(T *, loss_out)  \
    X(T *, workspace)                                                                              \
    X(double, beta1) X(double, beta2) X(double, weight_decay) X(double, polyak) X(double, target_entropy) \
    X(double, log_std_min) X(double, log_std_max)                                                  \
    X(double, actor_steps) X(double, critic_steps) X(double, alpha_steps)                          \
    X(long, n) X(long, batch) X(long, obs_dim) X(long, act_dim) X(long, discrete)                  \
    X(long, trunk_layers) X(long, critics) X(long, critic_layers) X(long, value_layers)            \
    X(long, subset_size) X(long, policy_takes_mean) X(long, workers) X(long, policy_delay)         \
    X(long, quantiles) X(long, target_quantiles) X(long, log_alpha_loss)

extern "C" struct Arguments {
#define FIELD(type, name) type name;
    ARGUMENTS(FIELD)
#undef FIELD
};

namespace {

// A critic or the value network, with the values that one step computes for it.
struct Critic {
    Network net;
    std::vector<Values> values;
    T *q, *q_target, *q_pi, *q_before, *scratch, *first_action, *action_g;

    // rows: number of rows of the largest pass.
    Critic(const LayerArguments *about, int count, int batch, int rows, int obs_dim, bool in_place, Arena &arena)
        : net(about, count, rows, in_place, arena), values(net.take(arena)) {
        const Layer &first = net.layers.front();
        const long size = long(batch) * stride(outputs());
        for (T **one : {&q, &q_target, &q_pi, &q_before}) *one = arena.take(size);
        scratch = arena.take(Network::scratch_size(about, count, rows, in_place));
        const int act_dim = first.in - obs_dim;
        first_action = arena.take(packed_size(first.out, std::max(1, act_dim)));
        action_g = arena.take(long(batch) * stride(std::max(1, act_dim)));
    }
    int outputs() const { return net.layers.back().out; }

    // The outputs (rows, out) for inputs x, which also stay in `values`.
    void evaluate(Packed Layer::*weights, const T *x, long step, int rows, T *to, Mode mode = {}) {
        net.forward(weights, x, step, values, {0, rows}, mode);
        std::copy_n(values.back().h, long(rows) * stride(outputs()), to);
    }

    // The outputs for 2 B inputs, whose first half goes to `to` and whose second half to `to_second`, by the
    // statistics of all.
    void evaluate_joint(const T *x, long step, int batch, T *to, T *to_second, Mode mode) {
        const long size = long(batch) * stride(outputs());
        net.forward(&Layer::online, x, step, values, {0, 2 * batch}, mode);
        std::copy_n(values.back().h, size, to), std::copy_n(values.back().h + size, size, to_second);
    }
};

struct Update {
    const Arguments &in;
    const int B, obs_dim, act_dim, inputs;  // inputs: length of a critic's input
    const bool in_place;  // whether the block is a single step, see Layer
    const bool joint;  // whether critics process stored and next inputs as one batch, which they normalize
    Arena arena;
    Network trunk;
    std::vector<Layer> heads;
    std::vector<Values> trunk_values, head_values, next_trunk_values, next_head_values;
    std::vector<Critic> critics;
    std::vector<Critic> value;  // none or one
    T *x, *x_next, *x_pi, *next_log_prob, *tanh_u, *spread, *inside, *probs, *next_probs;
    T *center, *half_range, *low, *high;  // bounds of actions, padded
    T *levels, *samples;  // of quantiles: their levels; the samples of each row's target
    std::vector<T *> scratch;  // of each worker, for the policy
    Rows every_row, joint_rows;
    std::vector<Rows> own_rows, chosen_rows;  // of each worker
    T alpha = 0;
    Adam actor_adam{}, critic_adam{}, alpha_adam{};

    explicit Update(const Arguments &arguments)
        : in(arguments), B(in.batch), obs_dim(in.obs_dim), act_dim(in.act_dim),
          inputs(obs_dim + (in.discrete ? 0 : act_dim)), in_place(in.n == 1),
          joint(normalizes(in.critic, in.critics * in.critic_layers)), arena{in.workspace},
          trunk(in.actor, in.trunk_layers, B, in_place, arena) {
        const int head_count = in.discrete ? 1 : 2;
        for (int i = 0; i < head_count; i++)
            heads.emplace_back(in.actor[in.trunk_layers + i], B, in.trunk_layers > 0, in_place, arena);
        for (auto *one : {&trunk_values, &next_trunk_values}) *one = trunk.take(arena);
        for (auto *one : {&head_values, &next_head_values})
            for (const Layer &head : heads) one->push_back(head.take(arena));
        for (int c = 0; c < in.critics; c++)
            critics.emplace_back(in.critic + c * in.critic_layers, in.critic_layers, B, joint ? 2 * B : B, obs_dim,
                                 in_place, arena);
        if (in.value) value.emplace_back(in.value, in.value_layers, B, B, obs_dim, in_place, arena);
        x = arena.take(2 * long(B) * stride(inputs)), x_next = x + long(B) * stride(inputs);
        x_pi = arena.take(long(B) * stride(inputs));
        next_log_prob = arena.take(B);
        for (T **one : {&tanh_u, &spread, &inside}) *one = arena.take(long(B) * stride(act_dim));
        for (T **one : {&center, &half_range, &low, &high}) *one = arena.take(padded(act_dim));
        for (T **one : {&probs, &next_probs}) *one = arena.take(long(B) * act_dim);
        levels = arena.take(in.quantiles), samples = arena.take(long(B) * pooled());
        for (int w = 0; w < in.workers; w++) {
            scratch.push_back(
                arena.take(Network::scratch_size(in.actor, in.trunk_layers + head_count, B, in_place)));
            own_rows.push_back(list(rows_of(w))), chosen_rows.emplace_back();
        }
        every_row = list({0, B}), joint_rows = list({0, 2 * B});
    }

    // Whether any layer has a batch normalization.
    static bool normalizes(const LayerArguments *layers, long count) {
        return std::any_of(layers, layers + count, [](const LayerArguments &one) { return one.batch_norm.mean; });
    }
    bool normalizes_policy() const { return normalizes(in.actor, in.trunk_layers); }

    static Rows list(Range rows) {
        Rows found;
        for (int m = rows.first; m < rows.last; m++) found.push_back(m);
        return found;
    }

    int networks() const { return critics.size() + value.size(); }
    bool is_critic(int c) const { return c < int(critics.size()); }
    Critic &network(int c) { return is_critic(c) ? critics[c] : value[0]; }
    bool has_quantiles() const { return in.quantiles > 0; }
    // The critics that form a target of step k.
    int chosen() const { return in.critic_subset ? in.subset_size : in.critics; }
    int chosen_critic(long k, int i) const { return in.critic_subset ? in.critic_subset[k * in.subset_size + i] : i; }
    long pooled() const { return in.quantiles * chosen(); }
    Range rows_of(int worker) const { return share(worker, in.workers, B, 1); }

    // Before the first step and after the last one, by outputs: reads and writes the parameters.
    void begin(int worker) {
        each_layer([&](Layer &layer) { layer.begin(share(worker, in.workers, layer.out, STRIP)); });
        if (worker) return;
        set_alpha();
        if (!in.discrete) {
            std::copy_n(in.center, act_dim, center), std::copy_n(in.half_range, act_dim, half_range);
            std::copy_n(in.low, act_dim, low), std::copy_n(in.high, act_dim, high);
        }
        for (int i = 0; i < in.quantiles; i++) levels[i] = (i + T(0.5)) / in.quantiles;
    }
    void end(int worker) {
        each_layer([&](Layer &layer) { layer.end(share(worker, in.workers, layer.out, STRIP)); });
    }

    template <class F> void each_layer(F f) {
        for (Layer &layer : trunk.layers) f(layer);
        for (Layer &head : heads) f(head);
        for (int c = 0; c < networks(); c++)
            for (Layer &layer : network(c).net.layers) f(layer);
    }

    // Whether gradient step k updates the policy; and the number of such steps in this block up to k.
    bool improves(long k) const { return (long(in.critic_steps) + k + 1) % in.policy_delay == 0; }
    long improvements(long k) const {
        return (long(in.critic_steps) + k + 1) / in.policy_delay - long(in.critic_steps) / in.policy_delay;
    }

    void begin_step(long k) {
        in.alpha[k] = alpha;
        const auto at_step = [&](Adam &adam, double t, double weight_decay) {
            adam.at_step(t, in.lr[k], in.beta1, in.beta2, weight_decay, in.polyak);
        };
        at_step(critic_adam, in.critic_steps + k + 1, in.weight_decay);
        if (!improves(k)) return;
        at_step(actor_adam, in.actor_steps + improvements(k), in.weight_decay);
        at_step(alpha_adam, in.alpha_steps + improvements(k), 0);
    }

    void set_alpha() { alpha = in.log_alpha.p ? std::exp(*in.log_alpha.p) : *in.fixed_alpha; }

    // The columns of a critic's first weight that multiply the action.
    void pack_first_action(Critic &critic) {
        const Layer &first = critic.net.layers.front();
        if (in.discrete || first.copies()) return;
        transpose_matrix(act_dim, 0, first.out,
                         [&](int j, int o) { return first.held.p + first.weight_at(obs_dim + j, o); },
                         [&](int o, int j) { return critic.first_action + packed_at(first.out, act_dim, o, j); });
    }

    // Phase 1, by rows: the critics' inputs, and the policy at next_obs and, if needed, at obs.
    void sample(long k, int worker) {
        const Range rows = rows_of(worker);
        const long step = stride(inputs);
        for (int m = rows.first; m < rows.last; m++) {
            const T *obs = in.obs + (k * B + m) * obs_dim, *next_obs = in.next_obs + (k * B + m) * obs_dim;
            for (T *to : {x, x_pi}) std::copy_n(obs, obs_dim, to + m * step);
            std::copy_n(next_obs, obs_dim, x_next + m * step);
            if (!in.discrete) std::copy_n(in.action + (k * B + m) * act_dim, act_dim, x + m * step + obs_dim);
        }
        if (value.empty()) {
            run_actor(x_next, next_trunk_values, next_head_values, rows);
            draw(k, 0, rows, next_head_values, x_next, next_probs, next_log_prob);
        }
        if (!normalizes_policy()) act(k, rows);
    }

    // The policy at obs, by rows in phase 1; in phase 2, by one worker, if it normalizes the batch.
    void act(long k, Range rows) {
        if (!improves(k) && value.empty()) return;
        run_actor(x, trunk_values, head_values, rows, Mode{0, true});
        draw(k, 1, rows, head_values, x_pi, probs, in.log_prob + k * B);
    }

    void run_actor(const T *from, const std::vector<Values> &trunk_to, const std::vector<Values> &heads_to,
                   Range rows, Mode mode = {}) {
        trunk.forward(&Layer::online, from, stride(inputs), trunk_to, rows, mode);
        const bool deep = !trunk.layers.empty();
        const T *h = deep ? trunk.layers.back().outputs(trunk_to.back()) : from;
        const long step = deep ? stride(trunk.layers.back().out) : stride(inputs);
        for (size_t i = 0; i < heads.size(); i++)
            heads[i].forward(heads[i].online, h, step, heads_to[i], rows);
    }

    void draw(long k, int at, Range rows, const std::vector<Values> &from, T *to, T *probs_to, T *log_prob) {
        const long step = stride(act_dim);
        for (int m = rows.first; m < rows.last; m++) {
            if (in.discrete) {
                log_prob[m] = softmax(from[0].h + m * step, probs_to + m * act_dim);
                continue;
            }
            const T *xi = in.noise + ((2 * k + at) * B + m) * act_dim;
            T *action = to + m * stride(inputs) + obs_dim;
            log_prob[m] = squash(at, m, from[0].h + m * step, from[1].h + m * step, xi, action);
        }
    }

    // Equation 5 for one row: writes the action to a, and returns its log-density.
    T squash(int at, int m, const T *mu, const T *raw_log_std, const T *noise, T *a) {
        constexpr double HALF_LOG_TWO_PI = 0.91893853320467274178, LOG_TWO = 0.69314718055994530942;
        Vector logp = {};
        for (int n = 0; n < act_dim; n += LANES) {
            const int count = std::min(LANES, act_dim - n);
            const Vector raw = load(raw_log_std + n), xi = load_some(noise + n, count);
            const Vector log_std = bounded(raw, T(in.log_std_min), T(in.log_std_max));
            const Vector move = exponential(log_std) * xi, u = load(mu + n) + move, size = magnitude(u);
            const Vector t = exponential_minus_1(-2 * size);  // both tanh and log pi need exp(-2 |u|)
            const Vector flat = t / (2 + t), tanh = u < 0 ? flat : -flat;
            Vector one = T(-0.5) * xi * xi - log_std + 2 * (size + logarithm_of_1_plus(t + 1));
            for (int j = count; j < LANES; j++) one[j] = 0;
            logp += one;
            const Vector action = load(center + n) + load(half_range + n) * tanh;
            const Vector least = load(low + n), most = load(high + n);
            store_some(a + n, action < least ? least : action > most ? most : action, count);
            if (at == 0) continue;
            const long to = m * stride(act_dim) + n;
            store(tanh_u + to, tanh), store(spread + to, move);
            store(inside + to, raw == log_std ? splat(1) : Vector{});
        }
        return sum(logp) - T(act_dim * (HALF_LOG_TWO_PI + 2 * LOG_TWO));
    }

    // For one row: writes probabilities to p, replaces logits by their logarithms, returns their mean.
    T softmax(T *logits, T *p) const {
        T most = logits[0], total = 0, expected = 0;
        for (int j = 1; j < act_dim; j++) most = logits[j] > most || std::isnan(logits[j]) ? logits[j] : most;
        for (int j = 0; j < act_dim; j++) total += std::exp(logits[j] - most);
        for (int j = 0; j < act_dim; j++) {
            logits[j] -= most + std::log(total), p[j] = std::exp(logits[j]);
            if (p[j] != 0) expected += p[j] * logits[j];
        }
        return expected;
    }

    // The mode of a pass of critic c in step k: at next_obs, at the stored action (and next_obs, if `joint`) or at
    // the drawn one.
    enum Pass { AT_NEXT, AT_STORED, AT_DRAWN };
    Mode mode_of(long k, Pass pass, int c) const {
        const unsigned key =
            in.dropout_seed ? pass_key(unsigned(in.dropout_seed[k]), unsigned(pass * in.critics + c)) : 0;
        return {key, joint && pass == AT_STORED};
    }

    // Phase 2, by network: the values from which targets are formed, of the i-th network that has such values.
    int target_networks() const { return joint ? networks() : chosen() + value.size(); }
    void evaluate(long k, int i) {
        const int c = joint ? i : i < chosen() ? chosen_critic(k, i) : critics.size();
        Critic &critic = network(c);
        const long step = stride(inputs);
        const Mode next = mode_of(k, AT_NEXT, c);
        const bool has_target = critic.net.layers.back().weight.target;
        if (joint) critic.evaluate_joint(x, step, B, critic.q, critic.q_target, mode_of(k, AT_STORED, c));
        else if (has_target) critic.evaluate(&Layer::target, x_next, step, B, critic.q_target, next);
        else if (value.empty()) critic.evaluate(&Layer::online, x_next, step, B, critic.q_target, next);
        else critic.evaluate(&Layer::online, x_pi, step, B, critic.q_before);
    }

    // The values of the stored actions, for the log.
    void write_values(long k, int c) {
        const Critic &critic = critics[c];
        const long row = stride(critic.outputs());
        for (int m = 0; m < B; m++)
            in.q_out[(c * in.n + k) * B + m] =
                has_quantiles() ? mean_quantile(critic.q, m) : critic.q[m * row + taken(k, m)];
    }

    T mean_quantile(const T *of, int m) const {
        T total = 0;
        for (int i = 0; i < in.quantiles; i++) total += of[m * stride(in.quantiles) + i];
        return total / in.quantiles;
    }

    // Phase 2b, by rows, if critics have quantiles: the samples of each target, from the smallest of the pooled
    // quantiles at next_obs (equation 13 of docs/recipes.md).
    void pool(long k, int worker) {
        const Range rows = rows_of(worker);
        const auto before = [](T a, T b) { return a < b || (std::isnan(b) && !std::isnan(a)); };
        for (int m = rows.first; m < rows.last; m++) {
            T *z = samples + m * pooled(), *end = z;
            for (int i = 0; i < chosen(); i++)
                end = std::copy_n(critics[chosen_critic(k, i)].q_target + m * stride(in.quantiles), in.quantiles, end);
            if (in.target_quantiles < pooled()) std::nth_element(z, z + in.target_quantiles, end, before);
            const T bonus = -alpha * next_log_prob[m];
            T total = 0;
            for (int j = 0; j < in.target_quantiles; j++) {
                z[j] = in.reward[k * B + m] + in.discount[k * B + m] * (z[j] + bonus);
                total += z[j];
            }
            in.target_out[k * B + m] = total / in.target_quantiles;
        }
    }

    int taken(long k, int m) const { return in.discrete ? int(in.action[k * B + m]) : 0; }

    static T smaller(T a, T b) { return a < b || std::isnan(a) ? a : b; }

    // The minimum, over the critics that form a target, of their values `of` at one position.
    T smallest(long k, T *Critic::*of, long at) const {
        T found = (critics[chosen_critic(k, 0)].*of)[at];
        for (int i = 1; i < chosen(); i++) found = smaller(found, (critics[chosen_critic(k, i)].*of)[at]);
        return found;
    }

    // The soft value of next_obs (equations 2, 9, 10).
    T next_value(long k, int m) const {
        if (!value.empty()) return value[0].q_target[m * stride(1)];
        const T bonus = -alpha * next_log_prob[m];
        if (!in.discrete) return smallest(k, &Critic::q_target, m * stride(1)) + bonus;
        T expected = 0;
        for (int j = 0; j < act_dim; j++)
            expected += next_probs[m * act_dim + j] * smallest(k, &Critic::q_target, m * stride(act_dim) + j);
        return expected + bonus;
    }

    // The regression target of the value network (equation 10).
    T soft_value(long k, int m) const {
        return smallest(k, &Critic::q_before, m * stride(1)) - alpha * in.log_prob[k * B + m];
    }

    // Phase 3, by network: the values of the stored actions, their loss, Adam, equation 7; then the new values of the
    // action drawn at obs, or of all actions if discrete.
    void learn(long k, int c) {
        Critic &critic = network(c);
        if (!joint) critic.evaluate(&Layer::online, x, stride(inputs), B, critic.q, mode_of(k, AT_STORED, c));
        if (is_critic(c)) write_values(k, c);
        if (has_quantiles()) quantile_loss(k, c);
        else squared_loss(k, c);
        // In a joint pass, the rows of next_obs have a gradient through the statistics, although the loss has
        // none with respect to their values.
        if (joint) std::fill_n(critic.values.back().g + long(B) * stride(critic.outputs()),
                               long(B) * stride(critic.outputs()), T(0));
        critic.net.backward(critic.values, joint ? joint_rows : every_row, mode_of(k, AT_STORED, c));
        critic.net.learn(critic.values, x, stride(inputs), critic.scratch, critic_adam);
        if (!is_critic(c) || !improves(k)) return;
        pack_first_action(critic);
        critic.evaluate(&Layer::online, in.discrete ? x : x_pi, stride(inputs), B, critic.q_pi,
                        mode_of(k, AT_DRAWN, c));
    }

    // The gradient of equation 4, or 10 for the value network, with respect to the values.
    void squared_loss(long k, int c) {
        Critic &critic = network(c);
        const long step = stride(critic.outputs());
        T *g = critic.values.back().g;
        std::fill_n(g, B * step, T(0));
        for (int m = 0; m < B; m++) {
            const long i = k * B + m;
            const T target = is_critic(c) ? in.reward[i] + in.discount[i] * next_value(k, m) : soft_value(k, m);
            const T scale = T(2.0 / B) * (in.weight ? in.weight[i] : T(1));
            const long at = m * step + taken_by(c, k, m);
            g[at] = (critic.q[at] - target) * scale;
            if (c == 0) in.target_out[i] = target;
        }
    }

    // The loss of equation 13 of docs/recipes.md and its gradient with respect to the quantiles.
    void quantile_loss(long k, int c) {
        T *g = critics[c].values.back().g;
        const long step = stride(in.quantiles);
        const T each = T(1) / (in.quantiles * in.target_quantiles);
        for (int m = 0; m < B; m++) {
            const T *z = samples + m * pooled();
            const T scale = each / B * (in.weight ? in.weight[k * B + m] : T(1));
            T loss = 0;
            for (int n = 0; n < in.quantiles; n += LANES) {
                const Vector q = load(critics[c].q + m * step + n), level = load(levels + n);
                Vector slope = {}, error = {};
                for (int j = 0; j < in.target_quantiles; j++) {
                    const Vector delta = z[j] - q, size = magnitude(delta);
                    const Vector side = delta < 0 ? 1 - level : level;
                    slope += side * bounded(delta, -1, 1);
                    error += side * (size > 1 ? size - T(0.5) : T(0.5) * delta * delta);
                }
                store(g + m * step + n, -scale * slope);
                for (int i = 0; i < std::min<long>(LANES, in.quantiles - n); i++) loss += error[i];
            }
            in.loss_out[(c * in.n + k) * B + m] = each * loss;
        }
    }

    int taken_by(int c, long k, int m) const { return is_critic(c) ? taken(k, m) : 0; }

    // The value that the policy maximizes at one position: the mean or the minimum of all critics.
    T actor_value(long at) const {
        T total = 0, least = critics[0].q_pi[at];
        for (const Critic &critic : critics) total += critic.q_pi[at], least = smaller(least, critic.q_pi[at]);
        return in.policy_takes_mean ? total / T(critics.size()) : least;
    }

    // The derivative of actor_value with respect to the value of critic c; equal values share it as in torch.minimum.
    T actor_share(int c, long at) const {
        if (in.policy_takes_mean) return T(1) / T(critics.size());
        T found = critics[0].q_pi[at], share = c == 0;
        for (int i = 1; i < int(critics.size()); i++) {
            const T other = critics[i].q_pi[at];
            const T kept = found < other ? T(1) : found == other ? T(0.5) : T(0);
            share = i == c ? 1 - kept : share * kept;
            found = smaller(found, other);
        }
        return share;
    }

    // Phase 4, if actions are continuous: the gradient of the policy's loss with respect to the action drawn at
    // obs, by those pairs of a critic and a row for which it is not 0. A worker takes consecutive pairs, so that it
    // reads the weights of few critics.
    void action_gradients(long k, int worker) {
        Rows &chosen = chosen_rows[worker];
        long pairs = 0, before = 0;
        for (int c = 0; c < in.critics; c++)
            for (int m = 0; m < B; m++) pairs += value_gradient(c, m) != 0;
        const long first = pairs * worker / in.workers, last = pairs * (worker + 1) / in.workers;
        for (int c = 0; c < in.critics; c++) {
            chosen.clear();
            for (int m = 0; m < B; m++)
                if (value_gradient(c, m) != 0) {
                    if (first <= before && before < last) chosen.push_back(m);
                    before++;
                }
            if (!chosen.empty()) through_critic(k, c, chosen);
        }
    }

    // The derivative of the policy's loss with respect to each output of critic c in row m. The policy maximizes
    // `actor_value`, or if critics have quantiles, the mean of all quantiles of all critics.
    T value_gradient(int c, int m) const {
        if (has_quantiles()) return T(-1.0 / B) / T(in.critics * in.quantiles);
        return T(-1.0 / B) * actor_share(c, m * stride(1));
    }

    void through_critic(long k, int c, const Rows &rows) {
        Critic &critic = critics[c];
        for (const int m : rows)
            std::fill_n(critic.values.back().g + m * stride(critic.outputs()), critic.outputs(), value_gradient(c, m));
        critic.net.backward(critic.values, rows, mode_of(k, AT_DRAWN, c));
        if (critic.net.layers.front().copies()) {
            for (const int m : rows)
                std::copy_n(critic.values.front().g + m * stride(inputs) + obs_dim, act_dim,
                            critic.action_g + m * stride(act_dim));
            return;
        }
        const int out = critic.net.layers.front().out;
        product<LISTED>(rows.size(), act_dim, out, critic.values.front().g, stride(out), critic.first_action,
                        Backward{critic.action_g, nullptr, stride(act_dim), false, false}, rows.data());
    }

    // Phase 5, by rows, or by one worker if the policy normalizes the batch: the gradients of equation 6 with
    // respect to the policy's activations.
    void policy_gradient(long k, int worker) {
        if (normalizes_policy() && worker) return;
        const Rows &rows = normalizes_policy() ? every_row : own_rows[worker];
        for (const int m : rows) in.discrete ? by_logits(k, m) : by_heads(k, m);
        if (trunk.layers.empty()) return;
        const Mode mode{0, true};
        const int last = heads.back().in ? int(heads.size()) - 1 : 0;  // a learned log std has no inputs
        for (int i = 0; i <= last; i++)
            heads[i].backward(head_values[i], trunk.layers.back(), trunk_values.back(), rows, i > 0, i == last,
                              mode);
        trunk.backward(trunk_values, rows, mode);
    }

    void by_heads(long k, int m) {
        in.q_pi[k * B + m] = has_quantiles() ? mean_of_all(m) : actor_value(m * stride(1));
        const T weight = alpha * T(2.0 / B);
        for (int n = 0; n < act_dim; n += LANES) {
            const long at = m * stride(act_dim) + n;
            Vector a = {};
            for (int c = 0; c < in.critics; c++)
                if (value_gradient(c, m) != 0) a += load(critics[c].action_g + at);
            const Vector t = load(tanh_u + at), mu = a * load(half_range + n) * (1 - t * t) + weight * t;
            store(head_values[0].g + at, mu);
            store(head_values[1].g + at,
                  load(inside + at) != 0 ? mu * load(spread + at) - weight / 2 : Vector{});
        }
    }

    T mean_of_all(int m) const {
        T total = 0;
        for (const Critic &critic : critics) total += mean_quantile(critic.q_pi, m);
        return total / T(in.critics);
    }

    // The gradient of the loss with respect to logit j: p_j (alpha log p_j - q_j - expected).
    void by_logits(long k, int m) {
        const long row = m * stride(act_dim);
        const T *p = probs + m * act_dim, *log_p = head_values[0].h + row;
        T expected_q = 0;
        for (int j = 0; j < act_dim; j++) expected_q += p[j] * actor_value(row + j);
        in.q_pi[k * B + m] = expected_q;
        const T expected = alpha * in.log_prob[k * B + m] - expected_q;
        for (int j = 0; j < act_dim; j++) {
            const T loss = p[j] == 0 ? T(0) : p[j] * (alpha * log_p[j] - actor_value(row + j) - expected);
            head_values[0].g[row + j] = loss / B;
        }
    }

    // Phase 6, by outputs: Adam for the policy, and for alpha.
    void improve(long k, int worker) {
        const bool deep = !trunk.layers.empty();
        const T *h = deep ? trunk.layers.back().outputs(trunk_values.back()) : x;
        const long step = deep ? stride(trunk.layers.back().out) : stride(inputs);
        for (size_t i = 0; i < heads.size(); i++)
            heads[i].learn(head_values[i], h, step, scratch[worker], actor_adam,
                           share((worker + int(i)) % in.workers, in.workers, heads[i].out, STRIP));
        trunk.learn(trunk_values, x, stride(inputs), scratch[worker], actor_adam, worker, in.workers);
        if (worker == 0) learn_alpha(k);
    }

    // Equation 8.
    void learn_alpha(long k) {
        if (!in.log_alpha.p) return;
        T mean = 0;
        for (int m = 0; m < B; m++) mean += in.log_prob[k * B + m] / B;
        Vector g = {};
        g[0] = -(in.log_alpha_loss ? T(1) : alpha) * (mean + T(in.target_entropy));
        alpha_adam.step(in.log_alpha, 0, g, 1);
        set_alpha();
    }
};

}  // namespace
