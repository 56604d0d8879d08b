"""restore_tf_graph: malicious SavedModels execute nothing, harmless ones are restored completely."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinup.errors import RunError
from spinup.loggers.tf_restore import _allowed_operations, restore_tf_graph
from spinup.loggers.tf_saver import TFSaver

tf2 = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
tf = tf2.compat.v1
OBS = np.ones((1, 3), np.float32)
Build = Callable[..., Any]


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    """A new default graph for each test."""
    with tf.Graph().as_default():
        yield


def save(folder: Path, build: Build, *given: Any, value: float = 2.0, resource: bool = True) -> Any:
    """Save a graph whose mu is `build(x @ w, *given)`, with w filled with `value`; returns the graph."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, (None, 3), name="x")
        w = tf.get_variable("w", (3, 2), initializer=tf.zeros_initializer(), use_resource=resource)
        mu = tf.identity(build(tf.matmul(x, w), *given), name="mu")
        session.run(tf.global_variables_initializer())
        w.load(np.full((3, 2), value, np.float32), session)
        TFSaver(session, {"x": x}, {"mu": mu}).save(folder)
    return graph


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the MetaGraphDef of a SavedModel on disk."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = folder / "saved_model.pb"
    message = SavedModel.FromString(file.read_bytes())
    change(message.meta_graphs[0])
    file.write_bytes(message.SerializeToString())


def restored(folder: Path) -> Any:
    """mu for OBS of a SavedModel, restored into a new graph."""
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = restore_tf_graph(session, folder)
        return session.run(tensors["mu"], {tensors["x"]: OBS})


def load_unsafely(folder: Path) -> None:
    """Load with TensorFlow's own loader, which executes what the file says, and run mu."""
    with tf.Graph().as_default(), tf.Session() as session, contextlib.suppress(tf.errors.OpError):
        tf.saved_model.loader.load(session, ["serve"], str(folder))
        session.run("mu:0", {"x:0": OBS})


def write(trace: str) -> Any:
    """An operation that writes the file `trace`."""
    return tf.raw_ops.WriteFile(filename=trace, contents="was here", name="evil")


def beside(h: Any, trace: str) -> Any:
    """mu, and a node it does not depend on, which edits of the file make use of."""
    write(trace)
    return h


def by_control(h: Any, trace: str) -> Any:
    """mu has a control dependency on the write."""
    with tf.control_dependencies([write(trace)]):
        return tf.identity(h)


def by_function(h: Any, trace: str) -> Any:
    """mu is computed by a library function that calls another, which writes the file."""

    @tf2.function(autograph=False)
    def inner(h: Any) -> Any:
        write(trace)
        return h + 0.0

    return tf2.function(lambda h: inner(h) * 1.0, autograph=False)(h)


def by_loop(h: Any, trace: str) -> Any:
    """mu is computed by a loop whose body, a library function, writes the file."""

    def body(i: Any, h: Any) -> Any:
        with tf.control_dependencies([write(trace)]):
            return i + 1, tf.identity(h)

    loop = tf.while_loop(lambda i, h: i < 2, body, (0, h))
    assert any(op.type == "While" for op in tf.get_default_graph().get_operations())
    return loop[1]


def by_python(h: Any, trace: str) -> Any:
    """mu is computed by a Python function, which writes the file."""

    def call(h: Any) -> Any:
        Path(trace).write_text("was here")
        return h

    return tf.ensure_shape(tf.py_func(call, [h], tf.float32), h.shape)


def by_printing(h: Any, trace: str) -> Any:
    """mu has a control dependency on a print operation, which prints to the file."""
    with tf.control_dependencies([tf.raw_ops.PrintV2(input="was here", output_stream=f"file://{trace}")]):
        return tf.identity(h)


def by_debugging(h: Any, trace: str) -> Any:
    """mu passes through a debugger operation, which dumps it to the file."""
    return tf.raw_ops.DebugIdentity(input=h, debug_urls=[f"file://{trace}"], tensor_name="mu:0")


def by_initial_value(h: Any, trace: str) -> Any:
    """A variable's initial value has a control dependency on the write."""
    with tf.control_dependencies([write(trace)]):
        first = tf.zeros(())
    return h + tf.Variable(first, use_resource=True)


def main_op(meta: Any) -> None:
    """Write the file at loading."""
    meta.collection_def["saved_model_main_op"].node_list.value.append("evil")


def init_signature(meta: Any) -> None:
    """Write the file at loading, by the signature of TensorFlow 2."""
    meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "evil"


def restore_op(meta: Any) -> None:
    """Write the file by the restore operation."""
    meta.saver_def.restore_op_name = "evil"


def filename(meta: Any) -> None:
    """Write the file by a control dependency of the restore operation."""
    (node,) = (n for n in meta.graph_def.node if n.name == meta.saver_def.restore_op_name)
    node.input.append("^evil")


def nothing(meta: Any) -> None:
    """No edit."""


MALICIOUS = {
    "main op": (beside, main_op, None),
    "init op": (beside, init_signature, None),
    "restore op": (beside, restore_op, None),
    "dependency of the restore op": (beside, filename, None),
    "control dependency": (by_control, nothing, "WriteFile"),
    "function": (by_function, nothing, "WriteFile"),
    "loop": (by_loop, nothing, "WriteFile"),
    "Python": (by_python, nothing, "PyFunc"),
    "print": (by_printing, nothing, "PrintV2"),
    "debugger": (by_debugging, nothing, "DebugIdentity"),
}


def clear(folder: Path) -> bool:
    """Empty a folder; returns whether there was anything in it."""
    found = any(folder.iterdir())
    shutil.rmtree(folder)
    folder.mkdir()
    return found


@pytest.mark.parametrize("case", MALICIOUS)
def test_malicious_graphs_write_no_file(tmp_path: Path, case: str) -> None:
    build, change, operation = MALICIOUS[case]
    traces = tmp_path / "traces"
    traces.mkdir()
    graph = save(tmp_path / "model", build, str(traces / "one"))
    edit(tmp_path / "model", change)
    clear(traces)  # saving may write some
    load_unsafely(tmp_path / "model")
    assert clear(traces), "the unsafe loader must write the file, or this test proves nothing"
    if operation is None:
        np.testing.assert_array_equal(restored(tmp_path / "model"), [[6, 6]])
    else:
        refused(tmp_path / "model", f"the operation '{operation}'")
    assert not clear(traces)
    del graph  # keeps the Python function alive until here


def refused(folder: Path, words: str) -> None:
    """Assert that a SavedModel is refused with these words, in one line, before its graph is built."""
    with tf.Session() as session, pytest.raises(RunError, match=re.escape(words)) as caught:
        restore_tf_graph(session, folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{folder} is not restored")
    assert "load it with tf.saved_model.load" in str(caught.value)
    assert not tf.get_default_graph().get_operations()


def test_initial_values_are_checked(tmp_path: Path) -> None:
    save(tmp_path / "model", by_initial_value, str(tmp_path / "trace"))
    (tmp_path / "trace").unlink()
    refused(tmp_path / "model", "the operation 'WriteFile'")
    assert not (tmp_path / "trace").exists()


def calls(h: Any) -> Any:
    """mu is computed by a function that calls another."""
    inner = tf2.function(lambda h: h + 1.0, autograph=False)
    return tf2.function(lambda h: inner(h) * 1.0, autograph=False)(h)


def call_an_operation(meta: Any) -> None:
    """Replace the name of a function by that of an operation."""
    (node,) = (n for n in meta.graph_def.node if "PartitionedCall" in n.op)
    node.attr["f"].func.name = "WriteFile"


def call_by_attribute(meta: Any) -> None:
    """Pass the name of the operation to the called function as an attribute."""
    (node,) = (n for n in meta.graph_def.node if "PartitionedCall" in n.op)
    node.attr["f"].func.attr["F"].func.name = "WriteFile"
    inner = [n for f in meta.graph_def.library.function for n in f.node_def if "PartitionedCall" in n.op]
    inner[0].attr["f"].placeholder = "F"


def call_by_attribute_default(meta: Any) -> None:
    """Make the name of the operation the default of an attribute."""
    inner = [f for f in meta.graph_def.library.function if any("PartitionedCall" in n.op for n in f.node_def)]
    default = inner[0].signature.attr.add(name="F", type="func")
    default.default_value.func.name = "WriteFile"


def use_handle(meta: Any) -> None:
    """Replace a constant by a handle of one of the session's variables."""
    constants = [n for f in meta.graph_def.library.function for n in f.node_def if n.op == "Const"]
    constants[0].attr["dtype"].type = tf.resource.as_datatype_enum
    tensor = constants[0].attr["value"].tensor
    tensor.Clear()
    tensor.dtype = tf.resource.as_datatype_enum
    tensor.resource_handle_val.add(name="caller", container="localhost")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (call_an_operation, "a call of 'WriteFile', which is not a function of the file"),
        (call_by_attribute, "a call of 'WriteFile', which is not a function of the file"),
        (call_by_attribute_default, "a call of 'WriteFile', which is not a function of the file"),
        (use_handle, "a constant that refers to a resource outside the graph"),
    ],
)
def test_indirect_calls_are_refused(tmp_path: Path, change: Callable[[Any], None], words: str) -> None:
    save(tmp_path / "model", calls)
    np.testing.assert_array_equal(restored(tmp_path / "model"), [[7, 7]])
    edit(tmp_path / "model", change)
    refused(tmp_path / "model", words)


def test_allowed_operations_have_no_parameter_that_names_a_file_or_host() -> None:
    outside = re.compile("file|path|dir|address|token|url|command|host|pattern|stream|memory_region")
    for name in _allowed_operations():
        parameters = set(inspect.signature(getattr(tf.raw_ops, name)).parameters)
        assert not [p for p in parameters if outside.search(p)], name
    assert {"MatMul", "While", "VarHandleOp", "RandomStandardNormal"} <= _allowed_operations()
    for name in ("Abort", "RemoteCall", "SymbolicGradient", "Print", "Batch", "Send", "Timestamp"):
        assert name not in _allowed_operations(), name


def many_kinds(h: Any) -> Any:
    """Loops with arrays, branches, assertions, partitions, convolutions, random numbers; adds 3 in all."""
    table = tf.get_variable("table", initializer=np.ones(2, np.float32))
    rows = tf.TensorArray(tf.float32, 3)
    _, rows = tf.while_loop(
        lambda i, rows: i < 3, lambda i, rows: (i + 1, rows.write(i, table)), (tf.constant(0), rows)
    )
    added = tf.reduce_sum(rows.stack(), 0)  # 3
    added = tf.cond(tf.reduce_all(h > 0), lambda: added, lambda: -added)
    with tf.control_dependencies([tf.assert_equal(tf.shape(h)[-1], 2)]):
        parts = tf.dynamic_partition(added, [0, 1], 2)
    added = tf.dynamic_stitch([[0], [1]], parts)
    image = tf.nn.conv2d(tf.reshape(h, (-1, 1, 2, 1)), tf.ones((1, 1, 1, 1)), 1, "SAME")
    flat = tf.reshape(tf.nn.max_pool2d(image, 1, 1, "SAME"), (-1, 2))
    cut = tf.get_variable(
        "cut", (4,), partitioner=tf.fixed_size_partitioner(2), initializer=tf.ones_initializer()
    )
    zero = tf.clip_by_value(tf.random.normal((1, 2)), 0.0, 0.0) + tf.linalg.norm(tf.zeros((1, 2)))
    return flat + added + zero + tf.reduce_sum(cut) - 4.0


@pytest.mark.parametrize("resource", [True, False])
@pytest.mark.parametrize("functions", [True, False])
def test_harmless_graphs_are_restored(
    tmp_path: Path, resource: bool, functions: bool, request: pytest.FixtureRequest
) -> None:
    if not functions:  # TensorFlow 1's control flow
        tf.disable_control_flow_v2()
        request.addfinalizer(tf.enable_control_flow_v2)
    if not resource:
        tf.disable_resource_variables()
        request.addfinalizer(tf.enable_resource_variables)
    save(tmp_path / "model", many_kinds, resource=resource)
    with tf.Session() as session:
        tensors = restore_tf_graph(session, tmp_path / "model")
        np.testing.assert_array_equal(session.run(tensors["mu"], {tensors["x"]: OBS}), [[9, 9]])
        names = {v.op.name for v in tf.global_variables()}
        assert names == {v.op.name for v in tf.trainable_variables()}
        assert names == {"w", "table", "cut/part_0", "cut/part_1"}
        kinds = {op.type for op in session.graph.get_operations()}
    assert ("While" in kinds or "StatelessWhile" in kinds) == functions
    assert ("VariableV2" in kinds) == (not resource)
    assert "RestoreV2" not in kinds
    assert "SaveV2" not in kinds


@pytest.mark.parametrize("resource", [True, False])
def test_models_in_one_graph_are_independent(tmp_path: Path, resource: bool) -> None:
    for value in (1.0, 2.0, 3.0):
        save(tmp_path / str(value), many_kinds, value=value, resource=resource)
    caller = tf.get_variable("cut/part_0", initializer=7.0, use_resource=resource)
    with tf.Session() as session:
        session.run(caller.initializer)
        models = [restore_tf_graph(session, tmp_path / name) for name in ("1.0", "2.0", "3.0")]
        feed = {model["x"]: OBS for model in models}
        values = session.run([model["mu"] for model in models], feed)
        np.testing.assert_array_equal(np.concatenate(values)[:, 0], [6, 9, 12])
        assert session.run(caller) == 7.0
    assert models[0]["mu"].name == "restored/mu:0"


def test_shared_name_of_the_callers_variable_is_not_shared(tmp_path: Path) -> None:
    def rename(meta: Any) -> None:
        (node,) = (n for n in meta.graph_def.node if n.op == "VarHandleOp")
        node.attr["shared_name"].s = b"caller"

    save(tmp_path / "model", lambda h: h)
    edit(tmp_path / "model", rename)
    caller = tf.get_variable("caller", (3, 2), initializer=tf.zeros_initializer())
    with tf.Session() as session, tf.name_scope("callers"):
        session.run(caller.initializer)
        tensors = restore_tf_graph(session, tmp_path / "model")
        np.testing.assert_array_equal(session.run(tensors["mu"], {tensors["x"]: OBS}), [[6, 6]])
        assert not session.run(caller).any()


def test_operations_made_after_the_saver_are_left_out(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    mu = tf.matmul(x, tf.get_variable("w", (3, 2)), name="mu")
    with tf.Session() as session:
        saver = TFSaver(session, {"x": x}, {"mu": mu})
        tf.train.AdamOptimizer().minimize(tf.reduce_sum(mu))
        by_function(mu, str(tmp_path / "trace"))
        session.run(tf.global_variables_initializer())
        saver.save(tmp_path / "model")
        wanted = session.run(mu, {x: OBS})
    np.testing.assert_array_equal(restored(tmp_path / "model"), wanted)


def test_harmless_edit_is_restored(tmp_path: Path) -> None:
    def negate(meta: Any) -> None:
        (node,) = (n for n in meta.graph_def.node if n.name == "mu")
        node.op = "Neg"

    save(tmp_path / "model", beside, str(tmp_path / "trace"))
    edit(tmp_path / "model", negate)
    np.testing.assert_array_equal(restored(tmp_path / "model"), [[-6, -6]])


def test_missing_variable_is_named(tmp_path: Path) -> None:
    save(tmp_path / "other", lambda h: h)
    save(tmp_path / "model", many_kinds)
    shutil.rmtree(tmp_path / "model/variables")
    (tmp_path / "other/variables").rename(tmp_path / "model/variables")
    with pytest.raises(RunError, match=r"cannot be restored as a graph \(.*(table|cut)"):
        restored(tmp_path / "model")


def names_are(value: Any) -> Callable[[Path], Any]:
    """Damage: replaces the content of model_info.json."""
    return lambda folder: (folder / "model_info.json").write_text(json.dumps(value))


def cut_to(name: str, size: int) -> Callable[[Path], Any]:
    """Damage: truncates a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def garble_variables(meta: Any) -> None:
    """Replace the variables by bytes that are not a message."""
    for key in ("variables", "trainable_variables"):
        meta.collection_def[key].bytes_list.value[:] = [b"\xff\xff"]


def as_fifo(name: str) -> Callable[[Path], None]:
    """Puts a FIFO in place of the file."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "pb cut": cut_to("saved_model.pb", 700),
    "pb empty": cut_to("saved_model.pb", 0),
    "pb FIFO": as_fifo("saved_model.pb"),
    "pb sparse": lambda folder: os.truncate(folder / "saved_model.pb", 20 * 2**30),
    "data FIFO": as_fifo("variables/variables.data-00000-of-00001"),
    "index FIFO": as_fifo("variables/variables.index"),
    "pb missing": lambda folder: (folder / "saved_model.pb").unlink(),
    "index cut": cut_to("variables/variables.index", 100),
    "data cut": cut_to("variables/variables.data-00000-of-00001", 10),
    "data missing": lambda folder: (folder / "variables/variables.data-00000-of-00001").unlink(),
    "variables missing": lambda folder: (folder / "variables").rename(folder / "elsewhere"),
    "no such tensor": names_are({"inputs": {"x": "x:0"}, "outputs": {"mu": "nowhere:0"}}),
    "no such output": names_are({"inputs": {"x": "x:0"}, "outputs": {"mu": "mu:7"}}),
    "no tensor": names_are({"inputs": {"x": "x"}, "outputs": {"mu": "mu"}}),
    "a number": names_are({"inputs": {"x": 5}, "outputs": {}}),
    "a list": names_are({"inputs": ["x:0"], "outputs": {}}),
    "no outputs": names_are({"inputs": {"x": "x:0"}}),
    "other tags": lambda folder: edit(folder, lambda meta: meta.meta_info_def.tags.append("tpu")),
    "variables garbled": lambda folder: edit(folder, garble_variables),
    "a node has no name": lambda folder: edit(folder, lambda meta: meta.graph_def.node[1].ClearField("name")),
}


@pytest.mark.usefixtures("time_limit")
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_one_line(tmp_path: Path, damage: str) -> None:
    save(tmp_path / "model", lambda h: h)
    DAMAGE[damage](tmp_path / "model")
    with tf.Session() as session, pytest.raises(RunError, match="cannot be restored as a graph") as caught:
        restore_tf_graph(session, tmp_path / "model")
    assert "\n" not in str(caught.value)
