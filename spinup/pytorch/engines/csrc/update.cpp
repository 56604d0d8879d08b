// A block of gradient steps in one call, on one thread or two.

#include <atomic>
#include <functional>
#include <thread>

#include "step.h"

namespace {

// Two threads meet here; one alone passes.
struct Meeting {
    const long threads;
    std::atomic<long> arrived{0}, round{0};
    void wait() {
        if (threads == 1) return;
        const long now = round.load();
        if (arrived.fetch_add(1) + 1 == threads) {
            arrived.store(0);
            round.store(now + 1);
            return;
        }
        for (long spins = 0; round.load() == now; spins++)
            if (spins > 20000) std::this_thread::yield();
    }
};

void work(Update &update, Meeting &meeting, long worker) {
    const Arguments &in = update.in;
    const auto each = [&](auto phase) {
        if (worker == 0) phase(Part<0>{});
        if (worker == 1 || in.threads == 1) phase(Part<1>{});
        meeting.wait();
    };
    const double pi_steps = *in.pi_steps, q_steps = *in.q_steps;
    const double alpha_steps = in.log_alpha ? *in.alpha_steps : 0;
    each([&](auto part) { update.begin(part); });
    for (long k = 0; k < in.n; k++) {
        if (worker == 0) {
            update.pi_adam.at_step(pi_steps + k + 1, in.lr);
            update.q_adam.at_step(q_steps + k + 1, in.lr);
            update.alpha_adam.at_step(alpha_steps + k + 1, in.lr);
        }
        each([&](auto part) { update.sample(k, part); });
        each([&](auto part) { update.evaluate(k, part.value); });
        each([&](auto part) { update.learn(k, part.value); });
        each([&](auto part) { update.action_gradient(k, part.value); });
        each([&](auto part) { update.policy_gradient(part); });
        each([&](auto part) { update.improve(k, part); });
    }
    if (worker > 0) return;
    *in.pi_steps = float(pi_steps + in.n), *in.q_steps = float(q_steps + in.n);
    if (in.log_alpha) *in.alpha_steps = float(alpha_steps + in.n);
}

}  // namespace

// Numbers of type T that `room` must hold.
extern "C" long room() {
    const Arguments none{};
    return Update(none).arena.used;
}

extern "C" void update(const Arguments *in) {
    Update all(*in);
    all.pi_adam.p = in->pi, all.pi_adam.m = in->pi_m, all.pi_adam.v = in->pi_v;
    all.q_adam.p = in->q, all.q_adam.m = in->q_m, all.q_adam.v = in->q_v;
    all.q_adam.target = in->target, all.q_adam.follow = T(1 - in->polyak);
    all.alpha_adam.p = in->log_alpha, all.alpha_adam.m = in->alpha_m, all.alpha_adam.v = in->alpha_v;
    Meeting meeting{in->threads};
    if (in->threads == 1) return work(all, meeting, 0);
    std::thread second(work, std::ref(all), std::ref(meeting), 1);
    work(all, meeting, 0);
    second.join();
}
