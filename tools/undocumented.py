"""Public names of the package that have no docstring: `python tools/undocumented.py` lists them.

Public are modules, and functions, classes and methods whose names have no leading underscore. A method that
overrides a documented one, or one of a class from another package, needs no docstring of its own.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "spinup"


def undocumented(package: Path = PACKAGE) -> list[str]:
    """The names, as `folder/file.py: Class.method`, in the order of files and lines."""
    trees = {path: ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))}
    classes = {
        node.name: node for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)
    }
    return [
        f"{path.relative_to(package.parent)}{name and f': {name}'}"
        for path, tree in trees.items()
        for name in _in_module(tree, classes)
    ]


def _in_module(tree: ast.Module, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    if ast.get_docstring(tree) is None:
        yield ""
    for node in _public(tree.body):
        if ast.get_docstring(node) is None:
            yield node.name
        if isinstance(node, ast.ClassDef):
            for method in _public(node.body):
                if ast.get_docstring(method) is None and not _inherited(node, method.name, classes):
                    yield f"{node.name}.{method.name}"


def _public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node


def _inherited(node: ast.ClassDef, method: str, classes: dict[str, ast.ClassDef]) -> bool:
    for base in node.bases:
        expression = base.value if isinstance(base, ast.Subscript) else base  # Generic[T] is Generic
        name = ast.unparse(expression).rsplit(".", 1)[-1]
        if name in ("ABC", "object", "Generic", "Protocol"):
            continue
        parent = classes.get(name)
        if parent is None:
            return True  # a class from another package
        for own in _public(parent.body):
            if own.name == method and ast.get_docstring(own) is not None:
                return True
        if _inherited(parent, method, classes):
            return True
    return False


if __name__ == "__main__":
    names = undocumented()
    print("\n".join(names) or "every public name has a docstring")
    sys.exit(bool(names))
