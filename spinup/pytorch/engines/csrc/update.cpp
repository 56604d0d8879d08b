// A block of gradient steps in one call, on one thread or two.

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>

#include "step.h"

namespace {

// A barrier for two threads; with one thread it does nothing.
struct Barrier {
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

void work(Update &update, Barrier &barrier, long worker) {
    const Arguments &in = update.in;
    const auto each = [&](auto phase) {
        if (worker == 0) phase(Part<0>{});
        if (worker == 1 || in.threads == 1) phase(Part<1>{});
        barrier.wait();
    };
    each([&](auto part) { update.begin(part); });
    for (long k = 0; k < in.n; k++) {
        if (worker == 0) {
            update.pi_adam.at_step(in.pi_steps + k + 1, in.lr);
            update.q_adam.at_step(in.q_steps + k + 1, in.lr);
            update.alpha_adam.at_step(in.alpha_steps + k + 1, in.lr);
        }
        each([&](auto part) { update.sample(k, part); });
        each([&](auto part) { update.evaluate(k, part.value); });
        each([&](auto part) { update.learn(k, part.value); });
        each([&](auto part) { update.action_gradient(k, part.value); });
        each([&](auto part) { update.policy_gradient(part); });
        each([&](auto part) { update.improve(k, part); });
    }
}

}  // namespace

// Numbers of type T that `workspace` must hold.
extern "C" long workspace_size() {
    const Arguments none{};
    return Update(none).arena.used;
}

// "name:offset " of each field of Arguments, for the test that compares it with its Python twin.
extern "C" const char *arguments_layout() {
    static const std::string layout = [] {
        std::string text;
#define FIELD(type, name) text += #name ":" + std::to_string(offsetof(Arguments, name)) + " ";
        ARGUMENTS(FIELD)
#undef FIELD
        return text + "size:" + std::to_string(sizeof(Arguments));
    }();
    return layout.c_str();
}

extern "C" void update(const Arguments *in) {
    Update all(*in);
    all.load_heads();
    Barrier barrier{in->threads};
    if (in->threads == 1) {
        work(all, barrier, 0);
    } else {
        std::thread second(work, std::ref(all), std::ref(barrier), 1);
        work(all, barrier, 0);
        second.join();
    }
    all.store_heads();
}
