"""TensorFlow graphs as SavedModels, and back."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spinup.errors import MissingExtraError, RunError
from spinup.utils.files import read_json, write_json

INFO_FILE = "model_info.json"


def import_tf() -> Any:
    """TensorFlow's `compat.v1` module.

    TensorFlow is told to keep its notes about the machine to itself, unless the user's environment says
    otherwise: without oneDNN, results are also the same on every machine of a kind.

    Raises:
        MissingExtraError: if TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        return importlib.import_module("tensorflow").compat.v1
    except ImportError:
        raise MissingExtraError("TensorFlow is not installed: pip install 'spinup[tf]'") from None


class TFSaver:
    """Saves one session's graph with named inputs and outputs.

    Args:
        sess: a `tf.compat.v1.Session`.
        inputs: placeholders by name.
        outputs: tensors by name.
    """

    def __init__(self, sess: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        self._tf = import_tf()
        self._sess, self._inputs, self._outputs = sess, dict(inputs), dict(outputs)
        with sess.graph.as_default():
            # One Saver for all saves: each new one would add its operations to the graph again.
            self._saver = self._tf.train.Saver()

    def save(self, path: Path) -> None:
        """Write the SavedModel folder `path`; the one before it is replaced only by a whole one.

        Raises:
            OSError: the folder before it, if any, is still there.
        """
        staged, old = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
        for leftover in (staged, old):
            shutil.rmtree(leftover, ignore_errors=True)
        saved_model = self._tf.saved_model
        with self._sess.graph.as_default():
            builder = saved_model.Builder(str(staged))
            signature = saved_model.build_signature_def(
                self._described(self._inputs),
                self._described(self._outputs),
                saved_model.signature_constants.PREDICT_METHOD_NAME,
            )
            builder.add_meta_graph_and_variables(
                self._sess,
                [saved_model.tag_constants.SERVING],
                signature_def_map={
                    saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature
                },
                saver=self._saver,
            )
            builder.save()
        names = {"inputs": _names(self._inputs), "outputs": _names(self._outputs)}
        write_json(staged / INFO_FILE, names)
        if path.exists():
            os.replace(path, old)
        os.replace(staged, path)
        shutil.rmtree(old, ignore_errors=True)

    def _described(self, tensors: dict[str, Any]) -> dict[str, Any]:
        describe = self._tf.TensorInfo  # the message itself: the function that fills it warns of its age
        return {
            key: describe(name=t.name, dtype=t.dtype.as_datatype_enum, tensor_shape=t.shape.as_proto())
            for key, t in tensors.items()
        }


def restore_tf_graph(sess: Any, fpath: str | Path) -> dict[str, Any]:
    """Load a SavedModel written by EpochLogger into a session.

    Args:
        sess: an open `tf.compat.v1.Session`; its graph receives the saved one.
        fpath: the `tf1_save` folder.

    Returns:
        The graph's tensors by the names they were saved under (for SAC: x, a, mu, pi, q1, q2, v).

    Raises:
        MissingExtraError: if TensorFlow is not installed.
        RunError: if the folder holds no model that EpochLogger wrote.
    """
    tf = import_tf()
    info = read_json(Path(fpath) / INFO_FILE)
    with sess.graph.as_default():
        try:
            with _without_notices():
                tf.saved_model.loader.load(sess, [tf.saved_model.tag_constants.SERVING], str(fpath))
            names = {**info["inputs"], **info["outputs"]}
            return {key: sess.graph.get_tensor_by_name(name) for key, name in names.items()}
        except (OSError, KeyError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(f"{fpath} is no graph that can be restored ({reason})") from None


def _names(tensors: dict[str, Any]) -> dict[str, str]:
    return {key: tensor.name for key, tensor in tensors.items()}


@contextmanager
def _without_notices() -> Iterator[None]:
    """TensorFlow notes on every call that the graph API is old; the user has asked for just that API."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
