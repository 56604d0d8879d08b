// A block of gradient steps in one call, by one or several worker threads.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>

#include "update.h"

namespace {

// A barrier. A worker that waits polls for 100 microseconds, then sleeps, so that another process can use
// the core.
class Barrier {
    const int workers;
    std::atomic<int> arrived{0}, sleeping{0};
    std::atomic<long> round{0};
    std::mutex mutex;
    std::condition_variable changed;

  public:
    explicit Barrier(int count) : workers(count) {}

    void wait() {
        if (workers == 1) return;
        const long now = round.load();
        if (arrived.fetch_add(1) + 1 == workers) {
            arrived.store(0);
            round.store(now + 1);
            if (sleeping.load()) {
                std::lock_guard<std::mutex> lock(mutex);
                changed.notify_all();
            }
            return;
        }
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(100);
        do {
            for (int i = 0; i < 200; i++)
                if (round.load(std::memory_order_acquire) != now) return;
        } while (std::chrono::steady_clock::now() < end);
        std::unique_lock<std::mutex> lock(mutex);
        sleeping.fetch_add(1);
        changed.wait(lock, [&] { return round.load() != now; });
        sleeping.fetch_sub(1);
    }
};

void work(Update &update, Barrier &barrier, int worker) {
    const Arguments &in = update.in;
    const auto by_rows = [&](auto phase) { phase(), barrier.wait(); };
    const auto by_network = [&](int count, auto phase) {
        for (int c = worker; c < count; c += in.workers) phase(c);
        barrier.wait();
    };
    by_rows([&] { update.begin(worker); });
    for (long k = 0; k < in.n; k++) {
        if (worker == 0) update.begin_step(k);
        by_rows([&] { update.sample(k, worker); });
        const bool acts = update.normalizes_policy();
        by_network(update.target_networks() + acts, [&](int i) {
            i < update.target_networks() ? update.evaluate(k, i) : update.act(k, {0, int(in.batch)});
        });
        if (update.has_quantiles()) by_rows([&] { update.pool(k, worker); });
        by_network(update.networks(), [&](int c) { update.learn(k, c); });
        if (!update.improves(k)) continue;
        if (!in.discrete) by_rows([&] { update.action_gradients(k, worker); });
        by_rows([&] { update.policy_gradient(k, worker); });
        by_rows([&] { update.improve(k, worker); });
    }
    update.end(worker);
}

}  // namespace

// The length of `workspace`, in numbers of type T.
extern "C" long workspace_size(const Arguments *in) {
    Arguments none = *in;
    none.workspace = nullptr;
    return Update(none).arena.used;
}

// "name:offset " of each field of a struct and its size, for the test that compares it with its Python class.
#define FIELD_OFFSET(struct, name) #name ":" + std::to_string(offsetof(struct, name)) + " "
#define LAYOUT(function, fields, struct)                                                           \
    extern "C" const char *function() {                                                            \
        static const std::string text = std::string() + fields "size:" + std::to_string(sizeof(struct)); \
        return text.c_str();                                                                       \
    }

#define FIELD(type, name) FIELD_OFFSET(Arguments, name) +
LAYOUT(arguments_layout, ARGUMENTS(FIELD), Arguments)
#undef FIELD
#define FIELD(type, name) FIELD_OFFSET(LayerArguments, name) +
LAYOUT(layer_layout, LAYER(FIELD), LayerArguments)
#undef FIELD
#define FIELD(type, name) FIELD_OFFSET(BatchNormArguments, name) +
LAYOUT(batch_norm_layout, BATCH_NORM(FIELD), BatchNormArguments)
#undef FIELD
#define FIELD(type, name) FIELD_OFFSET(Parameter, name) +
LAYOUT(parameter_layout, FIELD(T *, p) FIELD(T *, m) FIELD(T *, v) FIELD(T *, target), Parameter)
#undef FIELD

// exp, expm1, tanh, the normal distribution function or log1p of n numbers, for a test.
extern "C" void elementary(long function, long n, T *x) {
    for (long at = 0; at < n; at += LANES) {
        const int count = int(std::min<long>(LANES, n - at));
        const Vector v = load_some(x + at, count);
        store_some(x + at, function == 0 ? exponential(v) : function == 1 ? exponential_minus_1(v) :
                           function == 2 ? hyperbolic_tangent(v) : function == 3 ? normal_cdf(v) :
                           logarithm_of_1_plus(v), count);
    }
}

// The factors (rows, columns) of dropout in one layer of one pass, for a test.
extern "C" void dropout_factors(long seed, long pass, long layer, long rows, long columns, double p, T *to) {
    const unsigned key = layer_key(pass_key(unsigned(seed), unsigned(pass)), unsigned(layer));
    for (long m = 0; m < rows; m++)
        for (long n = 0; n < columns; n += LANES)
            store_some(to + m * columns + n, dropout_factor(T(p), key, m * columns + n),
                       int(std::min<long>(LANES, columns - n)));
}

extern "C" void update(const Arguments *in) {
    Update all(*in);
    Barrier barrier(in->workers);
    std::vector<std::thread> others;
    for (int worker = 1; worker < in->workers; worker++)
        others.emplace_back(work, std::ref(all), std::ref(barrier), worker);
    work(all, barrier, 0);
    for (std::thread &other : others) other.join();
}
