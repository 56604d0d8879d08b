"""Saves TensorFlow graphs and restores them, in a separate process."""

import importlib.util
import os
import subprocess
import sys

import pytest

from spinup.errors import MissingExtraError
from spinup.loggers import tf_saver

SCRIPT = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf
from spinup.errors import RunError
from spinup.utils.logx import EpochLogger, restore_tf_graph

tf.disable_eager_execution()
with tf.Graph().as_default():
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    mu = tf.matmul(x, tf.get_variable("w", (3, 2)))
    sess = tf.Session()
    sess.run(tf.global_variables_initializer())
    logger = EpochLogger(sys.argv[1], quiet=True, tensorboard=False)
    logger.setup_tf_saver(sess, {"x": x}, {"mu": mu})
    logger.save_state({})
    size = len(sess.graph.get_operations())
    logger.save_state({})
    logger.save_state({}, 3)
    assert len(sess.graph.get_operations()) == size, "saving must not add to the graph"
    wanted = sess.run(mu, {x: np.eye(3)})
for name in ("tf1_save", "tf1_save3"):
    with tf.Graph().as_default():
        sess = tf.Session()
        tensors = restore_tf_graph(sess, sys.argv[1] + "/" + name)
        assert sorted(tensors) == ["mu", "x"]
        assert (sess.run(tensors["mu"], {tensors["x"]: np.eye(3)}) == wanted).all()
for name in (sys.argv[1], sys.argv[1] + "/nowhere"):
    try:
        restore_tf_graph(tf.Session(graph=tf.Graph()), name)
        raise AssertionError(name)
    except RunError as error:
        assert "model_info.json is missing" in str(error)
print("PASSED")
"""


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_save_and_restore(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.stdout.endswith("PASSED\n"), done.stderr
    names = sorted(os.listdir(tmp_path / "run"))
    assert names == ["tf1_save", "tf1_save3", "vars.json", "vars3.json"]


def test_without_tensorflow_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'spinup\[tf\]'"):
        tf_saver.import_tf()
