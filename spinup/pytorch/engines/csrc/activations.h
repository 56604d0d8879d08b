// The activations of torch.nn that the package builds networks with, and their derivatives.

#pragma once

#include "vectors.h"

namespace {

// In the order of ACTIVATIONS in native_layers.py.
enum Kind {
    IDENTITY, RELU, CELU, ELU, GELU, HARDSWISH, HARDTANH, LEAKY_RELU, MISH, PRELU, RELU6, SELU, SILU, SIGMOID,
    SOFTPLUS, SOFTSIGN, TANH
};

// Activations that products apply directly, so that the values before the activation are not stored.
inline bool is_fused(Kind kind) { return kind == IDENTITY || kind == RELU; }

inline Vector relu(Vector v) { return v < 0 ? Vector{} : v; }  // NaN stays NaN
inline Vector where_active(Vector g, const T *h) { return load(h) <= 0 ? Vector{} : g; }
inline Vector bounded(Vector x, T low, T high) { return x < low ? splat(low) : x > high ? splat(high) : x; }

constexpr double SELU_SCALE = 1.0507009873554804934, SELU_ALPHA = 1.6732632423543772848;

// tanh(softplus(x)) = n / (n + 2), n = e^x (e^x + 2).
inline Vector tanh_softplus(Vector x) {
    const Vector e = exponential(smaller(x, splat(20))), n = e * (e + 2);
    return n / (n + 2);
}

// The activation of x; `constant` is the negative slope or the scale of the negative part.
inline Vector activation(Kind kind, T constant, Vector x) {
    switch (kind) {
    case IDENTITY: return x;
    case RELU: return relu(x);
    case CELU: return x > 0 ? x : constant * exponential_minus_1(x / constant);
    case ELU: return x > 0 ? x : constant * exponential_minus_1(x);
    case GELU: return x * normal_cdf(x);
    case HARDSWISH: return x * bounded(x + 3, 0, 6) / 6;
    case HARDTANH: return bounded(x, -1, 1);
    case LEAKY_RELU:
    case PRELU: return x > 0 ? x : constant * x;
    case MISH: return x * tanh_softplus(x);
    case RELU6: return bounded(x, 0, 6);
    case SELU: return T(SELU_SCALE) * (x > 0 ? x : T(SELU_ALPHA) * exponential_minus_1(x));
    case SILU: return x * logistic(x);
    case SIGMOID: return logistic(x);
    case SOFTPLUS: return each(x, [](T one) { return one > 20 ? one : std::log1p(std::exp(one)); });
    case SOFTSIGN: return x / (1 + magnitude(x));
    case TANH: return hyperbolic_tangent(x);
    }
    return x;
}

// The derivative of the activation at x; y is the activation's value there.
inline Vector derivative(Kind kind, T constant, Vector x, Vector y) {
    const Vector one = splat(1), zero = {};
    switch (kind) {
    case IDENTITY: return one;
    case RELU: return y <= 0 ? zero : one;
    case CELU: return x > 0 ? one : y / constant + 1;
    case ELU: return x > 0 ? one : y + constant;
    case GELU: return normal_cdf(x) + x * exponential(-x * x / 2) * T(0.39894228040143267794);
    case HARDSWISH: return x <= -3 ? zero : x < 3 ? x / 3 + T(0.5) : one;
    case HARDTANH: return x <= -1 ? zero : x < 1 ? one : zero;
    case LEAKY_RELU:
    case PRELU: return x > 0 ? one : splat(constant);
    case MISH: {
        const Vector t = tanh_softplus(x);
        return t + x * (1 - t * t) * logistic(x);
    }
    case RELU6: return x <= 0 ? zero : x < 6 ? one : zero;
    case SELU: return x > 0 ? splat(T(SELU_SCALE)) : y + T(SELU_SCALE * SELU_ALPHA);
    case SILU: {
        const Vector s = logistic(x);
        return s * (1 + x * (1 - s));
    }
    case SIGMOID: return y * (1 - y);
    case SOFTPLUS: return x > 20 ? one : logistic(x);
    case SOFTSIGN: {
        const Vector d = 1 + magnitude(x);
        return 1 / (d * d);
    }
    case TANH: return 1 - y * y;
    }
    return one;
}

}  // namespace
