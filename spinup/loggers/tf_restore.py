"""Restores a SavedModel without executing operations that could do more than compute."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spinup.errors import RunError
from spinup.files import MAX_ARRAYS_BYTES, open_regular, read_json, read_regular
from spinup.loggers.log_level import errors_only
from spinup.loggers.tf_saver import INFO_FILE, import_tf

MAX_PROTOBUF_BYTES = 2**31 - 1  # of the format
# TensorFlow's groups of operations that compute, hold variables or control execution, without access to
# files, the network, other processes, Python, or the process's output.
_GROUPS = (
    *("array_ops", "bitwise_ops", "control_flow_ops", "functional_ops", "linalg_ops", "list_ops"),
    *("manip_ops", "math_ops", "nn_ops", "random_ops", "resource_variable_ops", "special_math_ops"),
    *("spectral_ops", "state_ops", "stateful_random_ops", "stateless_random_ops", "stateless_random_ops_v2"),
)
# Operations excluded from these groups, as they end the process, read a file, or run a function by its name.
_EXCLUDED = frozenset({"Abort", "ImmutableConst", "RemoteCall", "SymbolicGradient"})
# Safe operations of other groups, for checks, partitions and loops; TensorArray*V3 are allowed as well.
_ALSO_ALLOWED = frozenset({"Assert", "DynamicPartition", "DynamicStitch", "ParallelDynamicStitch"})
_COLLECTIONS = ("variables", "trainable_variables")
# Attributes that name resources and loops, which nodes of all graphs in a session share.
_SHARED = ("shared_name", "frame_name")


def restore_tf_graph(sess: Any, fpath: str | Path) -> dict[str, Any]:
    """Load a SavedModel written by EpochLogger into a session.

    A graph is a program. To make untrusted files safe to load, this function imports only the part that the
    named tensors and the variables depend on, refuses operations that could do more than compute, and assigns
    the saved values to the variables itself. Operations that the file would run when loaded are left out.

    Args:
        sess: an open `tf.compat.v1.Session`. The saved graph is added to its graph, in a scope `restored` if
            names are already in use.
        fpath: the `tf1_save` folder.

    Returns:
        The graph's tensors by the names they were saved under (for SAC: x, a, mu, pi, q1, q2, v).

    Raises:
        MissingExtraError: if TensorFlow is not installed.
        RunError: if the folder holds no model of EpochLogger, or its graph could do more than compute. The
            session's graph and variables are unchanged, unless TensorFlow failed while building the graph.
    """
    tf = import_tf()
    path = Path(fpath)
    info = read_json(path / INFO_FILE)
    try:
        # name_scope(None) keeps the saved names if the caller is inside a scope.
        with sess.graph.as_default(), tf.name_scope(None), errors_only("tensorflow"):
            names = _tensor_names(info)
            meta_graph = _read_meta_graph(path)
            saved = tf.train.load_checkpoint(str(path / "variables" / "variables"))
            meta, values = _extract_needed(names.values(), meta_graph, saved)
            _check_operations(path, meta.graph_def)
            scope = _choose_scope(sess.graph, meta.graph_def)
            found = _import_graph(meta, scope)
            for name, value in values.items():
                found[name].load(value, sess)
            return {key: sess.graph.get_tensor_by_name(scope + name) for key, name in names.items()}
    except RunError:  # before its base class RuntimeError
        raise
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{fpath} cannot be restored as a graph ({reason})") from None


def _tensor_names(info: dict[str, Any]) -> dict[str, str]:
    names = {**info["inputs"], **info["outputs"]}
    if not all(isinstance(name, str) for name in names.values()):
        raise TypeError(f"{INFO_FILE} names no tensors")
    return names


def _read_meta_graph(path: Path) -> Any:
    """The MetaGraphDef tagged `serve`.

    Raises:
        ValueError: if there is none, or a file of the model is not a regular file; TensorFlow, which opens
            the files of the variables, would wait for a FIFO.
    """
    serving = import_tf().saved_model.tag_constants.SERVING
    try:
        data = read_regular(path / "saved_model.pb", MAX_PROTOBUF_BYTES)
        for file in (path / "variables").glob("variables.*"):
            open_regular(file, MAX_ARRAYS_BYTES).close()
    except RunError as error:
        raise ValueError(str(error)) from None
    for meta in _parse("protobuf.saved_model", "SavedModel", data).meta_graphs:
        if list(meta.meta_info_def.tags) == [serving]:
            return meta
    raise ValueError(f"it has no graph tagged {serving!r}")


def _extract_needed(names: Iterable[str], meta: Any, saved: Any) -> tuple[Any, dict[str, Any]]:
    """The part of a MetaGraphDef that these tensors and the variables depend on, and the variables' values.

    Variables without a saved value, since they were made after the saver, are left out unless needed.
    """
    wanted = [_node_name(name) for name in names]
    needed = {node.name for node in _extract_subgraph(meta.graph_def, wanted).node}
    part, values = type(meta)(), {}
    for key in _COLLECTIONS:
        for data in meta.collection_def[key].bytes_list.value:
            variable = _parse("framework.variable", "VariableDef", data)
            name, part_of = _node_name(variable.variable_name), variable.save_slice_info_def
            if name in needed or saved.has_tensor(part_of.full_name or name):
                part.collection_def[key].bytes_list.value.append(data)
                bounds = zip(part_of.var_offset, part_of.var_shape, strict=True)  # of a partitioned variable
                full = saved.get_tensor(part_of.full_name or name)
                values[name] = full[tuple(slice(start, start + size) for start, size in bounds)]
                nodes = (variable.initializer_name, variable.snapshot_name, variable.initial_value_name)
                wanted += [name, *(_node_name(node) for node in nodes if node)]
    part.graph_def.CopyFrom(_extract_subgraph(meta.graph_def, wanted))
    # A named saver, which is never run, keeps TensorFlow from adding its own to the graph.
    part.saver_def.save_tensor_name = part.saver_def.restore_op_name = "none"
    part.saver_def.version = part.saver_def.V2
    return part, values


def _extract_subgraph(graph_def: Any, names: list[str]) -> Any:
    """The nodes that `names` depend on, by data, control or colocation, and the functions that they call."""
    try:
        part = import_tf().graph_util.extract_sub_graph(graph_def, names)
    except AssertionError as error:  # a name is not in the graph
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
    """Names in a node or function that may refer to functions: operation types, and attributes."""
    found = [(m.DESCRIPTOR.name, m) for m in _messages(message)]
    return {m.op for kind, m in found if kind == "NodeDef"} | {
        m.name for kind, m in found if kind == "NameAttrList"
    }


def _check_operations(path: Path, graph_def: Any) -> None:
    """Check that no node of the graph or of its functions could do more than compute.

    Names of functions are checked in all attributes, and must be functions of the file: TensorFlow also
    accepts the name of an operation in place of the name of a function.

    Raises:
        RunError: naming the first operation, call or constant that is refused.
    """
    functions = {function.signature.name for function in graph_def.library.function}
    allowed = _allowed_operations() | functions
    handles = {import_tf().resource.as_datatype_enum, import_tf().variant.as_datatype_enum}
    for message in _messages(graph_def):
        kind, refused = message.DESCRIPTOR.name, ""
        if kind == "NodeDef" and message.op not in allowed:
            refused = f"the operation {message.op!r}, in {message.name!r}"
        elif kind == "NameAttrList" and message.name not in functions:
            refused = f"a call of {message.name!r}, which is not a function of the file"
        elif kind == "TensorProto" and message.dtype in handles:
            refused = "a constant that refers to a resource outside the graph"
        if refused:
            raise RunError(
                f"{path} is not restored, because its graph could do more than compute: it has {refused}; "
                "if you trust its source, load it with tf.saved_model.load"
            )


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all messages nested in it."""
    yield message
    for field, value in message.ListFields():
        if isinstance(value, Mapping):
            field, value = field.message_type.fields_by_name["value"], value.values()
        if field.message_type is not None:
            for part in value if isinstance(value, Iterable) else [value]:
                yield from _messages(part)


@functools.cache
def _allowed_operations() -> frozenset[str]:
    """The operations that an untrusted graph may contain."""
    public = {name for name in dir(import_tf().raw_ops) if not name.startswith("_")}
    modules = (importlib.import_module(f"tensorflow.python.ops.gen_{group}") for group in _GROUPS)
    found = {name for module in modules for name in dir(module)} | _ALSO_ALLOWED
    found |= {name for name in public if name.startswith("TensorArray") and name.endswith("V3")}
    return frozenset(found & public - _EXCLUDED)


def _choose_scope(graph: Any, graph_def: Any) -> str:
    """An empty scope, or `restored/` if a name of the saved graph is already in use in `graph`.

    Without a scope, variables of the same name would be shared, and the saved values would overwrite the
    session's values. This function adds the scope to the shared attributes; the import adds it to node names.
    """
    shared = _shared_names(_messages(graph_def))
    names = {node.name for node in graph_def.node} | {name.s.decode() for name in shared}
    existing = [operation.node_def for operation in graph.get_operations()]
    used = {node.name for node in existing} | {name.s.decode() for name in _shared_names(existing)}
    if names.isdisjoint(used):
        return ""
    scope: str = graph.unique_name("restored", mark_as_used=False) + "/"
    for name in shared:
        name.s = scope.encode() + name.s
    return scope


def _shared_names(messages: Iterable[Any]) -> list[Any]:
    """The nonempty attributes that name resources and loops; empty ones default to the node's name."""
    nodes = [message for message in messages if message.DESCRIPTOR.name == "NodeDef"]
    found = [node.attr[key] for node in nodes for key in _SHARED if key in node.attr]
    return [name for name in found if name.s]


def _import_graph(meta: Any, scope: str) -> dict[str, Any]:
    """Add nodes and variables to the graph; returns the variables by their saved names."""
    tf = import_tf()
    before = set(map(id, tf.global_variables()))
    tf.train.import_meta_graph(meta, import_scope=scope.rstrip("/") or None)
    new = [variable for variable in tf.global_variables() if id(variable) not in before]
    return {variable.op.name.removeprefix(scope): variable for variable in new}


def _parse(module: str, name: str, data: bytes) -> Any:
    """The protobuf message in `data`; raises ValueError if it cannot be parsed."""
    kind = getattr(importlib.import_module(f"tensorflow.core.{module}_pb2"), name)
    try:
        return kind.FromString(data)
    except importlib.import_module("google.protobuf.message").DecodeError as error:
        raise ValueError(f"{name}: {error}") from None


def _node_name(tensor_name: str) -> str:
    return tensor_name.split(":")[0]
