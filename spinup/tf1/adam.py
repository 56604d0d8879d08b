"""Adam in graph operations, with epsilon as in PyTorch. Importing this imports TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow.compat.v1 as tf

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1): p <- p - lr * m_hat / (sqrt(v_hat) + epsilon).

    TensorFlow's own Adam adds epsilon to sqrt(v) before the bias correction of v, which makes a different
    step for small gradients. With m_hat = m / (1 - beta1^t) and v_hat = v / (1 - beta2^t), the step is

        lr * root / (1 - beta1^t) * m / (sqrt(v) + epsilon * root),   root = sqrt(1 - beta2^t),

    which TensorFlow's fused kernel computes, given this rate, this epsilon, and 0 for the powers of beta.
    Rate and epsilon are computed in float64, since in float32, 1 - beta2^t loses half of its digits.

    Args:
        name: scope of the moments and of the step count.
        variables: variables that `minimize` updates.
        lr: learning rate.
    """

    def __init__(self, name: str, variables: list[Any], lr: float) -> None:
        self.variables, self.lr = variables, lr
        with tf.variable_scope(name, use_resource=True):
            self.steps = tf.get_variable("steps", (), tf.float64, tf.zeros_initializer(), trainable=False)
            self.moments = [(self._zeros_like("m", p), self._zeros_like("v", p)) for p in variables]

    def minimize(self, loss: Any) -> Any:
        """An operation that takes one step on `variables`, and no others, to minimize `loss`."""
        gradients = tf.gradients(loss, self.variables, unconnected_gradients="zero")
        t = self.steps.assign_add(1.0).value()
        root = tf.sqrt(1.0 - tf.pow(tf.constant(BETA2, tf.float64), t))
        rate = self.lr * root / (1.0 - tf.pow(tf.constant(BETA1, tf.float64), t))
        kernel, steps = tf.raw_ops.ResourceApplyAdam, []
        for variable, (m, v), gradient in zip(self.variables, self.moments, gradients, strict=True):
            like = gradient.dtype
            zero, beta1, beta2 = (tf.constant(value, like) for value in (0.0, BETA1, BETA2))
            steps.append(
                kernel(
                    var=variable.handle, m=m.handle, v=v.handle, beta1_power=zero, beta2_power=zero,
                    lr=tf.cast(rate, like), beta1=beta1, beta2=beta2,
                    epsilon=tf.cast(EPSILON * root, like), grad=gradient,
                )
            )  # fmt: skip
        return tf.group(*steps)

    @staticmethod
    def _zeros_like(moment: str, variable: Any) -> Any:
        return tf.get_variable(
            f"{variable.op.name}/{moment}",
            variable.shape,
            variable.dtype.base_dtype,
            tf.zeros_initializer(),
            trainable=False,
        )
