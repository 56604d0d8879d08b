"""Reading a SavedModel without running what it asks for."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spinup.errors import RunError
from spinup.files import read_json
from spinup.loggers.tf_saver import INFO_FILE, import_tf

# TensorFlow's own groups of operations that compute, hold variables or steer: none of them reaches files,
# the network, other processes, Python, or the text that a process prints.
_GROUPS = (
    *("array_ops", "bitwise_ops", "control_flow_ops", "functional_ops", "linalg_ops", "list_ops"),
    *("manip_ops", "math_ops", "nn_ops", "random_ops", "resource_variable_ops", "special_math_ops"),
    *("spectral_ops", "state_ops", "stateful_random_ops", "stateless_random_ops", "stateless_random_ops_v2"),
)
# But for these: it ends the process, it reads a file, and two that run what a name stands for elsewhere.
_NOT_THESE = frozenset({"Abort", "ImmutableConst", "RemoteCall", "SymbolicGradient"})
# And these, with TensorArray*V3, of groups that do reach out: tf.debugging, tf.dynamic_stitch and loops.
_THESE_TOO = frozenset({"Assert", "DynamicPartition", "DynamicStitch", "ParallelDynamicStitch"})
_CALLS = ("NodeDef", "NameAttrList")
_COLLECTIONS = ("variables", "trainable_variables")
# Names that nodes share by attribute, across all graphs that a session runs.
_SHARED = ("shared_name", "frame_name")


def restore_tf_graph(sess: Any, fpath: str | Path) -> dict[str, Any]:
    """Load a SavedModel written by EpochLogger into a session.

    A graph is a program, so it may come from anyone only because this takes the part of it that leads to
    the named tensors and the variables, accepts operations that compute and no others, and sets the variables
    itself from the saved numbers. What the file would have run at loading is left out.

    Args:
        sess: an open `tf.compat.v1.Session`; its graph receives the saved one, in a scope `restored` where
            names are taken already.
        fpath: the `tf1_save` folder.

    Returns:
        The graph's tensors by the names they were saved under (for SAC: x, a, mu, pi, q1, q2, v).

    Raises:
        MissingExtraError: if TensorFlow is not installed.
        RunError: if the folder holds no model that EpochLogger wrote, or a graph that does more than compute.
            Of the session's graph and variables, nothing was changed then, unless TensorFlow itself found a
            fault while it built the graph.
    """
    tf = import_tf()
    path = Path(fpath)
    info = read_json(path / INFO_FILE)
    try:
        # Names stay as saved, whatever scope the caller is in.
        with sess.graph.as_default(), tf.name_scope(None), _without_notices():
            names = _tensor_names(info)
            saved = tf.train.load_checkpoint(str(path / "variables" / "variables"))
            meta, values = _part_for(names.values(), _read_meta_graph(path), saved)
            _refuse_other_operations(path, meta.graph_def)
            scope = _free_scope(sess.graph, meta.graph_def)
            found = _import(meta, scope)
            for name, value in values.items():
                found[name].load(value, sess)
            return {key: sess.graph.get_tensor_by_name(scope + name) for key, name in names.items()}
    except RunError:  # it is a RuntimeError, too
        raise
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{fpath} is no graph that can be restored ({reason})") from None


def _tensor_names(info: dict[str, Any]) -> dict[str, str]:
    names = {**info["inputs"], **info["outputs"]}
    if not all(isinstance(name, str) for name in names.values()):
        raise TypeError(f"{INFO_FILE} names no tensors")
    return names


def _read_meta_graph(path: Path) -> Any:
    """The graph tagged `serve` and what belongs to it, as a message; a message is data."""
    serving = import_tf().saved_model.tag_constants.SERVING
    data = (path / "saved_model.pb").read_bytes()
    for meta in _parse("protobuf.saved_model", "SavedModel", data).meta_graphs:
        if list(meta.meta_info_def.tags) == [serving]:
            return meta
    raise ValueError(f"it holds no graph tagged {serving!r}")


def _part_for(names: Iterable[str], meta: Any, saved: Any) -> tuple[Any, dict[str, Any]]:
    """The part of a meta graph that makes these tensors and the saved variables, and the latters' values.

    Variables that the tensors do not need and that were not saved (made after the saver) are left out.
    """
    wanted = [_node(name) for name in names]
    needed = {node.name for node in _cut(meta.graph_def, wanted).node}
    part, values = type(meta)(), {}
    for key in _COLLECTIONS:
        for data in meta.collection_def[key].bytes_list.value:
            variable = _parse("framework.variable", "VariableDef", data)
            name, piece = _node(variable.variable_name), variable.save_slice_info_def
            if name in needed or saved.has_tensor(piece.full_name or name):
                part.collection_def[key].bytes_list.value.append(data)
                ends = zip(piece.var_offset, piece.var_shape, strict=True)  # of one that was partitioned
                whole = saved.get_tensor(piece.full_name or name)
                values[name] = whole[tuple(slice(start, start + size) for start, size in ends)]
                made_of = (variable.initializer_name, variable.snapshot_name, variable.initial_value_name)
                wanted += [name, *(_node(other) for other in made_of if other)]
    part.graph_def.CopyFrom(_cut(meta.graph_def, wanted))
    # With a saver named, TensorFlow adds none of its own to the graph; this one is never run.
    part.saver_def.save_tensor_name = part.saver_def.restore_op_name = "none"
    part.saver_def.version = part.saver_def.V2
    return part, values


def _cut(graph_def: Any, names: list[str]) -> Any:
    """The nodes that lead to these, by data, control or place, and the functions that they call."""
    try:
        part = import_tf().graph_util.extract_sub_graph(graph_def, names)
    except AssertionError as error:  # a name that is not there
        raise ValueError(str(error)) from None
    functions = {function.signature.name: function for function in part.library.function}
    part.ClearField("library")
    todo: list[Any] = list(part.node)
    while todo:
        called = [functions.pop(name) for name in _names_called(todo.pop()) if name in functions]
        part.library.function.extend(called)
        todo += called
    return part


def _names_called(message: Any) -> set[str]:
    """Names in a node or function that may be those of functions: of operations, and in attributes."""
    held = {kind: [m for m in _messages(message) if m.DESCRIPTOR.name == kind] for kind in _CALLS}
    return {m.op for m in held["NodeDef"]} | {m.name for m in held["NameAttrList"]}


def _refuse_other_operations(path: Path, graph_def: Any) -> None:
    """Raise RunError if any node, of the graph or of its functions, could do more than compute.

    Names of functions are looked for everywhere, as they may be handed on by attributes within attributes.
    They must be the file's own: TensorFlow takes the name of any operation where a function's is due.
    """
    functions = {function.signature.name for function in graph_def.library.function}
    known = _allowed() | functions
    handles = {import_tf().resource.as_datatype_enum, import_tf().variant.as_datatype_enum}
    for message in _messages(graph_def):
        kind, foreign = message.DESCRIPTOR.name, ""
        if kind == "NodeDef" and message.op not in known:
            foreign = f"the operation {message.op!r}, in {message.name!r}"
        elif kind == "NameAttrList" and message.name not in functions:
            foreign = f"a call of {message.name!r}, which is no function of its own"
        elif kind == "TensorProto" and message.dtype in handles:
            foreign = "a constant that refers to something outside of it"
        if foreign:
            raise RunError(
                f"{path} is not restored, as its graph could do more than compute: it holds {foreign}; "
                "if you trust where it comes from, load it yourself with tf.saved_model.load"
            )


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that it holds, at any depth."""
    yield message
    for field, value in message.ListFields():
        if isinstance(value, Mapping):
            field, value = field.message_type.fields_by_name["value"], value.values()
        if field.message_type is not None:
            for part in value if isinstance(value, Iterable) else [value]:
                yield from _messages(part)


@functools.cache
def _allowed() -> frozenset[str]:
    """Operations that a graph from anyone may hold."""
    public = {name for name in dir(import_tf().raw_ops) if not name.startswith("_")}
    modules = (importlib.import_module(f"tensorflow.python.ops.gen_{group}") for group in _GROUPS)
    found = {name for module in modules for name in dir(module)} | _THESE_TOO
    found |= {name for name in public if name.startswith("TensorArray") and name.endswith("V3")}
    return frozenset(found & public - _NOT_THESE)


def _free_scope(graph: Any, graph_def: Any) -> str:
    """Nothing if no name of the saved graph is taken in this one; else a scope to put before its names.

    Without one, two variables of a name would be one, and the saved values would overwrite the other's. The
    names that nodes share by attribute get it here, the nodes' own when they are added.
    """
    theirs = list(_messages(graph_def))
    shared = _shared_names(theirs)
    names = {node.name for node in graph_def.node} | {name.s.decode() for name in shared}
    ours = [operation.node_def for operation in graph.get_operations()]
    if names.isdisjoint({node.name for node in ours} | {name.s.decode() for name in _shared_names(ours)}):
        return ""
    scope: str = graph.unique_name("restored", mark_as_used=False) + "/"
    for name in shared:
        name.s = scope.encode() + name.s
    return scope


def _shared_names(messages: Iterable[Any]) -> list[Any]:
    """The attributes of nodes that name a resource or a loop; one without a name goes by its node's."""
    nodes = [message for message in messages if message.DESCRIPTOR.name == "NodeDef"]
    found = [node.attr[key] for node in nodes for key in _SHARED if key in node.attr]
    return [name for name in found if name.s]


def _import(meta: Any, scope: str) -> dict[str, Any]:
    """Add nodes and variables to the graph; the variables by their saved names."""
    tf = import_tf()
    before = set(map(id, tf.global_variables()))
    tf.train.import_meta_graph(meta, import_scope=scope.rstrip("/") or None)
    new = [variable for variable in tf.global_variables() if id(variable) not in before]
    return {variable.op.name.removeprefix(scope): variable for variable in new}


def _parse(module: str, name: str, data: bytes) -> Any:
    """The message in the data; ValueError if it is none of this kind."""
    kind = getattr(importlib.import_module(f"tensorflow.core.{module}_pb2"), name)
    try:
        return kind.FromString(data)
    except importlib.import_module("google.protobuf.message").DecodeError as error:
        raise ValueError(f"{name}: {error}") from None


def _node(tensor_name: str) -> str:
    return tensor_name.split(":")[0]


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
