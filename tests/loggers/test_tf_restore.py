"""SavedModels read back: what a foreign one asks for is not done, and what a harmless one holds is there."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinup.errors import RunError
from spinup.loggers.epoch_logger import restore_tf_graph
from spinup.loggers.tf_restore import _allowed
from spinup.loggers.tf_saver import TFSaver

tf2 = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
tf = tf2.compat.v1
OBS = np.ones((1, 3), np.float32)
Build = Callable[..., Any]


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    """A graph of the test's own to build in."""
    with tf.Graph().as_default():
        yield


def save(folder: Path, build: Build, *given: Any, value: float = 2.0, resource: bool = True) -> Any:
    """Save a graph whose mu is `build(x @ w, *given)`, with `value` everywhere in w; returns it."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, (None, 3), name="x")
        w = tf.get_variable("w", (3, 2), initializer=tf.zeros_initializer(), use_resource=resource)
        mu = tf.identity(build(tf.matmul(x, w), *given), name="mu")
        session.run(tf.global_variables_initializer())
        w.load(np.full((3, 2), value, np.float32), session)
        TFSaver(session, {"x": x}, {"mu": mu}).save(folder)
    return graph


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the meta graph of a SavedModel on the disk."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = folder / "saved_model.pb"
    message = SavedModel.FromString(file.read_bytes())
    change(message.meta_graphs[0])
    file.write_bytes(message.SerializeToString())


def restored(folder: Path) -> Any:
    """mu for OBS of a SavedModel that is restored into a graph of its own."""
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = restore_tf_graph(session, folder)
        return session.run(tensors["mu"], {tensors["x"]: OBS})


def loaded(folder: Path) -> None:
    """The same by TensorFlow's own loader, which does what the file says."""
    with tf.Graph().as_default(), tf.Session() as session, contextlib.suppress(tf.errors.OpError):
        tf.saved_model.loader.load(session, ["serve"], str(folder))
        session.run("mu:0", {"x:0": OBS})


def write(trace: str) -> Any:
    """An operation that leaves a file behind."""
    return tf.raw_ops.WriteFile(filename=trace, contents="was here", name="evil")


def beside(h: Any, trace: str) -> Any:
    """mu, and a node that nothing needs; edits make something of it."""
    write(trace)
    return h


def by_control(h: Any, trace: str) -> Any:
    """mu waits for the file."""
    with tf.control_dependencies([write(trace)]):
        return tf.identity(h)


def by_function(h: Any, trace: str) -> Any:
    """mu is computed by a function of the library that calls another, which writes the file."""

    @tf2.function(autograph=False)
    def inner(h: Any) -> Any:
        write(trace)
        return h + 0.0

    return tf2.function(lambda h: inner(h) * 1.0, autograph=False)(h)


def by_loop(h: Any, trace: str) -> Any:
    """mu is computed by a loop, whose body is a function of the library."""

    def body(i: Any, h: Any) -> Any:
        with tf.control_dependencies([write(trace)]):
            return i + 1, tf.identity(h)

    loop = tf.while_loop(lambda i, h: i < 2, body, (0, h))
    assert any(op.type == "While" for op in tf.get_default_graph().get_operations())
    return loop[1]


def by_python(h: Any, trace: str) -> Any:
    """mu is computed by Python."""

    def call(h: Any) -> Any:
        Path(trace).write_text("was here")
        return h

    return tf.ensure_shape(tf.py_func(call, [h], tf.float32), h.shape)


def by_printing(h: Any, trace: str) -> Any:
    """mu waits for a line that is printed, to a file."""
    with tf.control_dependencies([tf.raw_ops.PrintV2(input="was here", output_stream=f"file://{trace}")]):
        return tf.identity(h)


def by_debugging(h: Any, trace: str) -> Any:
    """mu goes through an operation for the debugger, which keeps it."""
    return tf.raw_ops.DebugIdentity(input=h, debug_urls=[f"file://{trace}"], tensor_name="mu:0")


def by_initial_value(h: Any, trace: str) -> Any:
    """A variable's initial value is one that waits for the file; its initialiser is what sets it."""
    with tf.control_dependencies([write(trace)]):
        first = tf.zeros(())
    return h + tf.Variable(first, use_resource=True)


def main_op(meta: Any) -> None:
    """Have the file written at loading."""
    meta.collection_def["saved_model_main_op"].node_list.value.append("evil")


def init_signature(meta: Any) -> None:
    """The same, as TensorFlow 2 writes it."""
    meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "evil"


def restore_op(meta: Any) -> None:
    """Have it written in place of restoring."""
    meta.saver_def.restore_op_name = "evil"


def filename(meta: Any) -> None:
    """Have it written by the node that names the checkpoint, as a control dependency."""
    (node,) = (n for n in meta.graph_def.node if n.name == meta.saver_def.restore_op_name)
    node.input.append("^evil")


def nothing(meta: Any) -> None:
    """Leave it as it is."""


MALICE = {
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


def swept(folder: Path) -> bool:
    """Whether there was anything in a folder, which is empty afterwards."""
    found = any(folder.iterdir())
    shutil.rmtree(folder)
    folder.mkdir()
    return found


@pytest.mark.parametrize("case", MALICE)
def test_what_leaves_a_trace_elsewhere_leaves_none_here(tmp_path: Path, case: str) -> None:
    build, change, operation = MALICE[case]
    traces = tmp_path / "traces"
    traces.mkdir()
    graph = save(tmp_path / "model", build, str(traces / "one"))
    edit(tmp_path / "model", change)
    swept(traces)  # saving may leave some
    loaded(tmp_path / "model")
    assert swept(traces), "the test itself: it would not have been seen"
    if operation is None:
        np.testing.assert_array_equal(restored(tmp_path / "model"), [[6, 6]])
    else:
        refused(tmp_path / "model", f"the operation '{operation}'")
    assert not swept(traces)
    del graph  # until here, as it is what keeps Python's functions


def refused(folder: Path, words: str) -> None:
    """Assert that a SavedModel is refused in one line that holds these words, before its graph is built."""
    with tf.Session() as session, pytest.raises(RunError, match=re.escape(words)) as caught:
        restore_tf_graph(session, folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{folder} is not restored")
    assert "load it yourself with tf.saved_model.load" in str(caught.value)
    assert not tf.get_default_graph().get_operations()


def test_an_initial_value_is_part_of_what_is_read(tmp_path: Path) -> None:
    save(tmp_path / "model", by_initial_value, str(tmp_path / "trace"))
    (tmp_path / "trace").unlink()
    refused(tmp_path / "model", "the operation 'WriteFile'")
    assert not (tmp_path / "trace").exists()


def calls(h: Any) -> Any:
    """mu by a function that calls another."""
    inner = tf2.function(lambda h: h + 1.0, autograph=False)
    return tf2.function(lambda h: inner(h) * 1.0, autograph=False)(h)


def call_an_operation(meta: Any) -> None:
    """Give the name of an operation where that of a function is due."""
    (node,) = (n for n in meta.graph_def.node if "PartitionedCall" in n.op)
    node.attr["f"].func.name = "WriteFile"


def call_by_a_detour(meta: Any) -> None:
    """Have the function called get the name as an attribute."""
    (node,) = (n for n in meta.graph_def.node if "PartitionedCall" in n.op)
    node.attr["f"].func.attr["F"].func.name = "WriteFile"
    inner = [n for f in meta.graph_def.library.function for n in f.node_def if "PartitionedCall" in n.op]
    inner[0].attr["f"].placeholder = "F"


def call_by_default(meta: Any) -> None:
    """Have it as the default of an attribute."""
    inner = [f for f in meta.graph_def.library.function if any("PartitionedCall" in n.op for n in f.node_def)]
    default = inner[0].signature.attr.add(name="F", type="func")
    default.default_value.func.name = "WriteFile"


def refer(meta: Any) -> None:
    """Put a reference to a variable of the session in the place of a constant."""
    constants = [n for f in meta.graph_def.library.function for n in f.node_def if n.op == "Const"]
    constants[0].attr["dtype"].type = tf.resource.as_datatype_enum
    tensor = constants[0].attr["value"].tensor
    tensor.Clear()
    tensor.dtype = tf.resource.as_datatype_enum
    tensor.resource_handle_val.add(name="caller", container="localhost")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (call_an_operation, "a call of 'WriteFile', which is no function of its own"),
        (call_by_a_detour, "a call of 'WriteFile', which is no function of its own"),
        (call_by_default, "a call of 'WriteFile', which is no function of its own"),
        (refer, "a constant that refers to something outside"),
    ],
)
def test_detours_are_refused(tmp_path: Path, change: Callable[[Any], None], words: str) -> None:
    save(tmp_path / "model", calls)
    np.testing.assert_array_equal(restored(tmp_path / "model"), [[7, 7]])
    edit(tmp_path / "model", change)
    refused(tmp_path / "model", words)


def test_operations_that_are_allowed_take_no_names_of_what_is_outside() -> None:
    outside = re.compile("file|path|dir|address|token|url|command|host|pattern|stream|memory_region")
    for name in _allowed():
        parameters = set(inspect.signature(getattr(tf.raw_ops, name)).parameters)
        assert not [p for p in parameters if outside.search(p)], name
    assert {"MatMul", "While", "VarHandleOp", "RandomStandardNormal"} <= _allowed()
    for name in ("Abort", "RemoteCall", "SymbolicGradient", "Print", "Batch", "Send", "Timestamp"):
        assert name not in _allowed(), name


def many_kinds(h: Any) -> Any:
    """What a graph of a user may hold: loops with arrays in them, branches, checks, draws; adds 3 in all."""
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
    quiet = tf.clip_by_value(tf.random.normal((1, 2)), 0.0, 0.0) + tf.linalg.norm(tf.zeros((1, 2)))
    return flat + added + quiet + tf.reduce_sum(cut) - 4.0


@pytest.mark.parametrize("resource", [True, False])
@pytest.mark.parametrize("functions", [True, False])
def test_what_computes_is_restored(
    tmp_path: Path, resource: bool, functions: bool, request: pytest.FixtureRequest
) -> None:
    if not functions:  # loops and branches as TensorFlow 1 wrote them
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
def test_several_in_one_graph_keep_to_themselves(tmp_path: Path, resource: bool) -> None:
    for value in (1.0, 2.0, 3.0):
        save(tmp_path / str(value), many_kinds, value=value, resource=resource)
    mine = tf.get_variable("cut/part_0", initializer=7.0, use_resource=resource)
    with tf.Session() as session:
        session.run(mine.initializer)
        models = [restore_tf_graph(session, tmp_path / name) for name in ("1.0", "2.0", "3.0")]
        feed = {model["x"]: OBS for model in models}
        values = session.run([model["mu"] for model in models], feed)
        np.testing.assert_array_equal(np.concatenate(values)[:, 0], [6, 9, 12])
        assert session.run(mine) == 7.0
    assert models[0]["mu"].name == "restored/mu:0"


def test_a_variable_with_the_callers_shared_name_is_another(tmp_path: Path) -> None:
    def rename(meta: Any) -> None:
        (node,) = (n for n in meta.graph_def.node if n.op == "VarHandleOp")
        node.attr["shared_name"].s = b"mine"

    save(tmp_path / "model", lambda h: h)
    edit(tmp_path / "model", rename)
    mine = tf.get_variable("mine", (3, 2), initializer=tf.zeros_initializer())
    with tf.Session() as session, tf.name_scope("callers"):
        session.run(mine.initializer)
        tensors = restore_tf_graph(session, tmp_path / "model")
        np.testing.assert_array_equal(session.run(tensors["mu"], {tensors["x"]: OBS}), [[6, 6]])
        assert not session.run(mine).any()


def test_what_came_after_the_saver_is_left_out(tmp_path: Path) -> None:
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


def test_a_harmless_edit_loads(tmp_path: Path) -> None:
    def negate(meta: Any) -> None:
        (node,) = (n for n in meta.graph_def.node if n.name == "mu")
        node.op = "Neg"

    save(tmp_path / "model", beside, str(tmp_path / "trace"))
    edit(tmp_path / "model", negate)
    np.testing.assert_array_equal(restored(tmp_path / "model"), [[-6, -6]])


def test_a_variable_without_a_value_is_named(tmp_path: Path) -> None:
    save(tmp_path / "other", lambda h: h)
    save(tmp_path / "model", many_kinds)
    shutil.rmtree(tmp_path / "model/variables")
    (tmp_path / "other/variables").rename(tmp_path / "model/variables")
    with pytest.raises(RunError, match=r"is no graph that can be restored \(.*(table|cut)"):
        restored(tmp_path / "model")


def names_are(value: Any) -> Callable[[Path], Any]:
    """A damage of model_info.json."""
    return lambda folder: (folder / "model_info.json").write_text(json.dumps(value))


def cut_to(name: str, size: int) -> Callable[[Path], Any]:
    """A file that lost its end."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def garble_variables(meta: Any) -> None:
    """Put what is no message in the place of the variables' names."""
    for key in ("variables", "trainable_variables"):
        meta.collection_def[key].bytes_list.value[:] = [b"\xff\xff"]


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "pb cut": cut_to("saved_model.pb", 700),
    "pb empty": cut_to("saved_model.pb", 0),
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


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line(tmp_path: Path, damage: str) -> None:
    save(tmp_path / "model", lambda h: h)
    DAMAGE[damage](tmp_path / "model")
    with tf.Session() as session, pytest.raises(RunError, match="is no graph that can be restored") as caught:
        restore_tf_graph(session, tmp_path / "model")
    assert "\n" not in str(caught.value)
