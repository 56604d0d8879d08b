// Linear layers with their activations, and networks of them: forward, backward, a step of Adam.
//
// Activations and gradients are matrices (B, out) with row stride `stride(out)`; the padding is finite.

#pragma once

#include "activations.h"
#include "adam.h"
#include "batch_norm.h"
#include "dropout.h"
#include "products.h"

// The arguments of one layer; the class LayerArguments of native_layers.py has the same fields in the same order.
// A layer without inputs is a learned vector. Weight (out, in), bias (out,), slope (1,) of PReLU; scale and
// shift (out,) of a LayerNorm before the activation, or null. dropout: probability of dropping an output of the
// linear layer, before the LayerNorm. batch_norm: after the activation. The first layer of a network may lack
// the weight; it then copies its inputs, and batch_norm normalizes them.
#define LAYER(X)                                                                                   \
    X(Parameter, weight) X(Parameter, bias) X(Parameter, slope) X(Parameter, scale) X(Parameter, shift) \
    X(BatchNormArguments, batch_norm)                                                              \
    X(double, constant) X(double, eps) X(double, dropout) X(long, inputs) X(long, outputs) X(long, kind)

extern "C" struct LayerArguments {
#define FIELD(type, name) type name;
    LAYER(FIELD)
#undef FIELD
};

namespace {

// Copies of a layer's parameters for products: W^T (in, out) for the forward and W (out, in) for the backward
// pass, packed; the bias, the constant of the activation, and scale and shift of the LayerNorm, padded with 0.
struct Packed {
    T *forward, *backward, *bias, *constant, *scale, *shift;
};

// Values that a forward and a backward pass store. h: the layer's outputs; x: the values before the activation,
// not stored if the activation is fused; g: the gradient with respect to the linear layer's outputs; slope_g:
// for PReLU, each row's part of the slope's gradient. With a LayerNorm, z: its normalized values; rstd: 1 / std
// of each row; x_g: the gradient with respect to x. With a batch normalization, y: the normalized outputs.
struct Values {
    T *h, *x, *g, *slope_g, *z, *rstd, *x_g, *y;
};

// The mode of a forward pass and its backward pass: the key of dropout, and whether batch normalizations use the
// statistics of the batch, which is then processed as a whole, or the running statistics.
struct Mode {
    unsigned key = 0;
    bool by_batch = false;
    Mode of_layer(size_t layer) const { return {layer_key(key, unsigned(layer)), by_batch}; }
};

// Adds the bias and applies ReLU.
struct Forward {
    T *to;
    long step;
    const T *bias;
    bool active;
    void operator()(int m, int n, Vector v) const {
        v += load(bias + n);
        store(to + m * step + n, active ? relu(v) : v);
    }
};

// Adds to the stored values if `add`, and applies ReLU's derivative if `active`.
struct Backward {
    T *to;
    const T *h;
    long step;
    bool add, active;
    void operator()(int m, int n, Vector v) const {
        const long at = m * step + n;
        if (add) v += load(to + at);
        store(to + at, active ? where_active(v, h + at) : v);
    }
};

// Takes a step of Adam with a part of the gradient of W^T, (in, out); `first` is the first output.
struct Learn {
    const Adam &adam;
    const Parameter &held;
    int first, in, out;
    void operator()(int m, int n, Vector v) const {
        adam.step(held, packed_at(in, out, m, first + n), v, LANES);
    }
};

// The same for a part of the gradient of W, (out, in), in place; `first` is the output of its first row.
struct LearnInPlace {
    const Adam &adam;
    const Parameter &weight;
    int first, in;
    void operator()(int m, int n, Vector v) const {
        adam.step(weight, long(first + m) * in + n, v, in - n);
    }
};

struct Layer {
    int in, out, batch;
    Kind kind;
    bool passes_gradient;  // whether the gradient with respect to its inputs is needed
    bool in_place;  // whether Adam changes `weight` instead of `held`, which is faster in a block of one step
    Parameter weight, bias, slope, scale, shift;
    T constant, eps, dropout;
    Parameter held;  // W^T, its Adam moments, and the target's W^T, packed: used instead of `weight` in a block;
                     // if in_place, only copies of W^T and the target's W^T, for products
    Packed online, target;
    BatchNorm norm;

    Layer(const LayerArguments &about, int rows, bool inner, bool direct, Arena &arena)
        : in(about.inputs), out(about.outputs), batch(rows), kind(Kind(about.kind)), passes_gradient(inner),
          in_place(direct), weight(about.weight), bias(about.bias), slope(about.slope), scale(about.scale),
          shift(about.shift), constant(about.constant), eps(about.eps), dropout(about.dropout), held{},
          norm(about.batch_norm, out, arena) {
        const long size = copies() ? 0 : packed_size(in, out);
        held.p = arena.take(size);
        if (weight.target) held.target = arena.take(size);
        if (!single() && !in_place) held.m = arena.take(size), held.v = arena.take(size);
        online.forward = held.p, target.forward = held.target;
        online.backward = inner ? arena.take(packed_size(out, in)) : nullptr;
        for (Packed *one : {&online, &target}) {
            one->bias = arena.take(padded(out));
            one->constant = arena.take(1);
            one->scale = arena.take(padded(out)), one->shift = arena.take(padded(out));
        }
    }

    Values take(Arena &arena) const {
        const long size = long(batch) * stride(out), extra = normed() ? size : 0;
        return {arena.take(size), arena.take(fused() ? 0 : size), arena.take(size), arena.take(batch),
                arena.take(extra), arena.take(batch), arena.take(extra),
                arena.take(norm.used() ? size : 0)};
    }

    bool normed() const { return scale.p; }
    bool fused() const { return is_fused(kind) && !normed(); }
    bool plain() const { return fused() && !norm.used(); }  // whether products compute the whole layer
    bool copies() const { return in > 0 && !weight.p; }
    bool single() const { return out == 1 && in > 0 && !copies(); }

    // The outputs that a forward pass has stored.
    const T *outputs(const Values &of) const { return norm.used() ? of.y : of.h; }

    // Reads the parameters of a range of outputs before a block of steps, and writes the weight after it.
    void begin(Range outputs) {
        if (outputs.first == outputs.last) return;
        each_held([&](const T *tensor, T *packed) {
            pack_rows(tensor, packed, outputs);
            // Resets the padding, which NaN in an earlier batch may have reached.
            if (outputs.last == out)
                for (int i = 0; i < in; i++)
                    for (int o = out; o < padded(out); o++) packed[packed_at(in, out, i, o)] = 0;
        });
        pack_outputs(outputs);
        if (weight.target) pack_target(outputs);
    }
    void end(Range outputs) const {
        if (in_place) return;
        each_held([&](T *tensor, const T *packed) {
            transpose_matrix(in, outputs.first, outputs.last,
                             [&](int i, int o) { return packed + packed_at(in, out, i, o); },
                             [&](int o, int i) { return tensor + long(o) * in + i; });
        });
    }

    // Copies a range of outputs of a tensor (out, in) into a packed (in, out).
    void pack_rows(const T *tensor, T *packed, Range outputs) const {
        transpose_matrix(outputs.last - outputs.first, 0, in,
                         [&](int o, int i) { return tensor + long(outputs.first + o) * in + i; },
                         [&](int i, int o) { return packed + packed_at(in, out, i, outputs.first + o); });
    }

    // The offset in held.p of the weight from input i to output o.
    long weight_at(int i, int o) const { return single() ? i : packed_at(in, out, i, o); }

    // A layer with a single output is not held: its weight is a row, which needs no transposition.
    template <class F> void each_held(F f) const {
        if (single() || !weight.p) return;
        f(weight.p, held.p);
        if (!in_place) f(weight.m, held.m), f(weight.v, held.v);
        if (weight.target) f(weight.target, held.target);
    }

    // Updates the packed copies that products read, from the parameters of a range of outputs.
    void pack_outputs(Range outputs) {
        if (norm.used()) norm.pack(outputs);
        if (copies()) return;
        if (single()) std::copy_n(weight.p, in, online.forward);
        copy(online, bias.p, slope.p, outputs);
        if (normed()) copy_norm(online, scale.p, shift.p, outputs);
        if (passes_gradient)
            transpose_matrix(in, outputs.first, outputs.last,
                             [&](int i, int o) { return held.p + weight_at(i, o); },
                             [&](int o, int i) { return online.backward + packed_at(out, in, o, i); });
    }
    void pack_target(Range outputs) {
        if (single()) std::copy_n(weight.target, in, target.forward);
        copy(target, bias.target, slope.target, outputs);
        if (normed()) copy_norm(target, scale.target, shift.target, outputs);
    }
    void copy(const Packed &to, const T *b, const T *negative_slope, Range of) const {
        for (int i = of.first; i < of.last; i++) to.bias[i] = b[i];
        if (of.first == 0) *to.constant = kind == PRELU ? *negative_slope : constant;
    }
    void copy_norm(const Packed &to, const T *by, const T *plus, Range of) const {
        for (int i = of.first; i < of.last; i++) to.scale[i] = by[i], to.shift[i] = plus[i];
    }

    // The outputs of some rows of inputs x.
    void forward(const Packed &packed, const T *x, long step, const Values &to, Range rows, Mode mode = {}) {
        if (copies())
            for (int m = rows.first; m < rows.last; m++) std::copy_n(x + m * step, in, to.h + m * stride(out));
        else
            activate(packed, x, step, to, rows, mode.key);
        if (norm.used()) norm.forward(to.h, to.y, stride(out), rows, mode.by_batch);
    }

    // The same, before batch normalization.
    void activate(const Packed &packed, const T *x, long step, const Values &to, Range rows, unsigned key) const {
        const long out_step = stride(out);
        T *before = normed() ? to.z : fused() ? to.h : to.x;
        const bool active = fused() && kind == RELU;
        if (single())
            for (int m = rows.first; m < rows.last; m++) {
                Vector total = {};
                for (int n = 0; n < padded(in); n += LANES)
                    total += load(x + m * step + n) * load(packed.forward + n);
                T value = sum(total) + packed.bias[0];
                before[m * out_step] = active && value < 0 ? 0 : value;
            }
        else
            product<IN_ORDER>(rows.last - rows.first, out, in, x + rows.first * step, step, packed.forward,
                              Forward{before + rows.first * out_step, out_step, packed.bias, active});
        if (drops(key))
            for (int m = rows.first; m < rows.last; m++) drop(before + m * out_step, m, key);
        if (fused()) return;
        if (normed())
            for (int m = rows.first; m < rows.last; m++) normalize(packed, to, m);
        for (int m = rows.first; m < rows.last; m++)
            for (long at = m * out_step, end = at + padded(out); at < end; at += LANES)
                store(to.h + at, activation(kind, *packed.constant, load(to.x + at)));
    }

    bool drops(unsigned key) const { return key && dropout > 0; }

    // Dropout of one row of values or gradients.
    void drop(T *row, int m, unsigned key) const {
        for (int n = 0; n < out; n += LANES)
            store(row + n, load(row + n) * dropout_factor(dropout, key, long(m) * out + n));
    }

    // LayerNorm of one row (Ba et al. 2016): z becomes (z - mean) / std, and x becomes z scale + shift.
    void normalize(const Packed &packed, const Values &to, int m) const {
        T *z = to.z + m * stride(out), *x = to.x + m * stride(out);
        Vector total = {}, squares = {};
        for (int n = 0; n < out; n += LANES) total += load(z + n);  // the padding is 0
        const T mean = sum(total) / out;
        for (int n = 0; n < out; n += LANES) {
            Vector d = load(z + n) - mean;
            for (int j = out - n; j < LANES; j++) d[j] = 0;
            store(z + n, d), squares += d * d;
        }
        const T rstd = 1 / std::sqrt(sum(squares) / out + eps);
        to.rstd[m] = rstd;
        for (int n = 0; n < out; n += LANES) {
            const Vector scaled = load(z + n) * rstd;
            store(z + n, scaled);
            store(x + n, scaled * load(packed.scale + n) + load(packed.shift + n));
        }
    }

    // Copies the gradient of one row with respect to x from g to x_g, and replaces g by the gradient with respect
    // to the linear layer's outputs.
    void normalize_back(const Values &of, int m) const {
        const long row = m * stride(out);
        Vector total = {}, along = {};
        for (int n = 0; n < out; n += LANES) {
            const Vector g = load(of.g + row + n), scaled = g * load(online.scale + n);
            store(of.x_g + row + n, g), store(of.g + row + n, scaled);
            total += scaled, along += scaled * load(of.z + row + n);
        }
        const T mean = sum(total) / out, slant = sum(along) / out;
        for (int n = 0; n < out; n += LANES) {
            const Vector g = load(of.g + row + n) - mean - load(of.z + row + n) * slant;
            store(of.g + row + n, of.rstd[m] * g);
        }
    }

    // Computes from of.g, for some rows, the gradient with respect to the outputs of the layer below or, if `last`,
    // with respect to its linear layer's outputs. With `add`, adds to the gradient that another layer has written.
    void backward(const Values &of, Layer &below, const Values &to, const Rows &rows, bool add, bool last,
                  Mode below_mode = {}) const {
        const bool active = last && below.kind == RELU && below.plain();
        product<LISTED>(rows.size(), in, out, of.g, stride(out), online.backward,
                        Backward{to.g, to.h, stride(in), add, active}, rows.data());
        if (!last) return;
        if (below.norm.used()) below.norm.backward(to.h, to.g, stride(in), rows, below_mode.by_batch);
        if (!below.plain()) below.differentiate(to, rows);
        if (below.drops(below_mode.key))
            for (const int m : rows) below.drop(to.g + m * stride(in), m, below_mode.key);
    }

    // Replaces the gradient of some rows with respect to the activation's values by the gradient with respect to
    // the linear layer's outputs.
    void differentiate(const Values &of, const Rows &rows) const {
        const long step = stride(out);
        for (const int m : rows) {
            Vector slope_g = {};
            for (int n = 0; n < out; n += LANES) {
                const long at = m * step + n;
                if (fused()) {  // x is not stored
                    if (kind == RELU) store(of.g + at, where_active(load(of.g + at), of.h + at));
                    continue;
                }
                const Vector g = load(of.g + at), x = load(of.x + at);
                if (kind == PRELU) slope_g += g * smaller(x, Vector{});
                store(of.g + at, g * derivative(kind, *online.constant, x, load(of.h + at)));
            }
            of.slope_g[m] = sum(slope_g);
            if (normed()) normalize_back(of, m);
        }
    }

    // A step of Adam for a range of outputs, from their gradient and the inputs x. Strips are processed one by
    // one, so that the packed copies are updated while the strip is in the cache. `scratch` has room for a strip
    // of gradients or, if in_place, for the inputs.
    void learn(const Values &of, const T *x, long x_step, T *scratch, const Adam &adam, Range outputs) {
        if (in_place && weight.p && !single() && outputs.first < outputs.last) pack(x, x_step, batch, in, scratch);
        for (int first = outputs.first; first < outputs.last; first += STRIP) {
            const Range strip{first, std::min(first + STRIP, outputs.last)};
            learn_strip(of, x, x_step, scratch, adam, strip);
            pack_outputs(strip);
            if (weight.target) pack_target(strip);
        }
    }

    void learn_strip(const Values &of, const T *x, long x_step, T *scratch, const Adam &adam, Range outputs) {
        if (norm.used()) norm.learn(adam, outputs);
        if (copies()) return;
        const int rows = outputs.last - outputs.first;
        const long step = stride(out);
        const T *g = of.g + outputs.first;
        if (single())
            for (int n = 0; n < in; n += LANES) {
                Vector total = {};
                for (int m = 0; m < batch; m++) total += g[m * step] * load(x + m * x_step + n);
                adam.step(weight, n, total, in - n);
            }
        else if (in > 0 && in_place) {
            product<ACROSS>(rows, in, batch, g, step, scratch, LearnInPlace{adam, weight, outputs.first, in});
            pack_rows(weight.p, held.p, outputs);
        } else if (in > 0) {
            pack(g, step, batch, rows, scratch);
            product<ACROSS>(in, rows, batch, x, x_step, scratch, Learn{adam, held, outputs.first, in, out});
        }
        for (int n = 0; n < rows; n += LANES) {
            Vector total = {};
            for (int m = 0; m < batch; m++) total += load(g + m * step + n);
            adam.step(bias, outputs.first + n, total, rows - n);
        }
        if (kind == PRELU && outputs.first == 0) {
            Vector total = {};
            for (int m = 0; m < batch; m++) total[0] += of.slope_g[m];
            adam.step(slope, 0, total, 1);
        }
        if (normed()) learn_norm(of, adam, outputs);
    }

    void learn_norm(const Values &of, const Adam &adam, Range outputs) {
        const long step = stride(out);
        for (int n = outputs.first; n < outputs.last; n += LANES) {
            Vector by_scale = {}, by_shift = {};
            for (int m = 0; m < batch; m++) {
                const Vector g = load(of.x_g + m * step + n);
                by_scale += g * load(of.z + m * step + n), by_shift += g;
            }
            adam.step(scale, n, by_scale, outputs.last - n);
            adam.step(shift, n, by_shift, outputs.last - n);
        }
    }
};

// Layers in sequence.
struct Network {
    std::vector<Layer> layers;

    Network(const LayerArguments *about, int count, int batch, bool in_place, Arena &arena) {
        for (int l = 0; l < count; l++) layers.emplace_back(about[l], batch, l > 0, in_place, arena);
    }

    // The memory that `learn` needs for a layer.
    static long scratch_size(const LayerArguments *about, int count, int batch, bool in_place) {
        long columns = STRIP;
        for (int l = 0; in_place && l < count; l++) columns = std::max(columns, about[l].inputs);
        return packed_size(batch, columns);
    }

    std::vector<Values> take(Arena &arena) const {
        std::vector<Values> values;
        for (const Layer &layer : layers) values.push_back(layer.take(arena));
        return values;
    }

    void forward(Packed Layer::*weights, const T *x, long step, const std::vector<Values> &to, Range rows,
                 Mode mode = {}) {
        for (size_t l = 0; l < layers.size(); l++) {
            layers[l].forward(layers[l].*weights, x, step, to[l], rows, mode.of_layer(l));
            x = layers[l].outputs(to[l]), step = stride(layers[l].out);
        }
    }

    // Computes the gradients g of all layers from the last layer's g, after a forward pass in this mode.
    void backward(const std::vector<Values> &values, const Rows &rows, Mode mode = {}) {
        for (size_t l = layers.size(); l-- > 1;)
            layers[l].backward(values[l], layers[l - 1], values[l - 1], rows, false, true, mode.of_layer(l - 1));
    }

    // A step of Adam for one worker's share of each layer's outputs.
    void learn(const std::vector<Values> &values, const T *x, long step, T *scratch, const Adam &adam,
               int worker = 0, int workers = 1) {
        for (size_t l = layers.size(); l-- > 0;) {
            const T *inputs = l ? layers[l - 1].outputs(values[l - 1]) : x;
            const long inputs_step = l ? stride(layers[l].in) : step;
            const Range outputs = share(worker, workers, layers[l].out, STRIP);
            layers[l].learn(values[l], inputs, inputs_step, scratch, adam, outputs);
        }
    }
};

}  // namespace
