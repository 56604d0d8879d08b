"""Saves TensorFlow graphs as SavedModels."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any

from spinup.errors import MissingExtraError
from spinup.files import write_json

INFO_FILE = "model_info.json"


def import_tf() -> Any:
    """TensorFlow's `compat.v1` module.

    Sets two environment variables unless the user has set them: no informational messages, and no oneDNN, so
    that results are the same on all machines with the same kind of processor.

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
            # One Saver for all saves, because each adds operations to the graph.
            self._saver = self._tf.train.Saver()

    def save(self, path: Path) -> None:
        """Write the SavedModel folder `path`, replacing a previous one only when the new one is complete.

        Raises:
            OSError: if it cannot be written; a previous folder is kept.
        """
        temporary, previous = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
        for leftover in (temporary, previous):
            shutil.rmtree(leftover, ignore_errors=True)
        saved_model = self._tf.saved_model
        with self._sess.graph.as_default():
            builder = saved_model.Builder(str(temporary))
            signature = saved_model.build_signature_def(
                self._tensor_infos(self._inputs),
                self._tensor_infos(self._outputs),
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
        write_json(temporary / INFO_FILE, names)
        if path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
        shutil.rmtree(previous, ignore_errors=True)

    def _tensor_infos(self, tensors: dict[str, Any]) -> dict[str, Any]:
        info = self._tf.TensorInfo  # not build_tensor_info, which warns that it is deprecated
        return {
            key: info(name=t.name, dtype=t.dtype.as_datatype_enum, tensor_shape=t.shape.as_proto())
            for key, t in tensors.items()
        }


def _names(tensors: dict[str, Any]) -> dict[str, str]:
    return {key: tensor.name for key, tensor in tensors.items()}
