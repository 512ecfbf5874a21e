"""Reads a program before it is run: what it imports, and what names it uses.

The first layer and the cheapest, and the only one that explains itself to whoever wrote it. It is
not what keeps a hostile program in: the operating system does that (``inside/``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from agenticrs.platform.sandbox.errors import RefusedSource

_MODULES = (
    *("__future__", "dataclasses", "math", "typing"),
    *("torch", "torch.nn", "torch.nn.functional"),
)
_BUILTINS = frozenset(
    {
        *("breakpoint", "compile", "delattr", "eval", "exec", "exit", "getattr", "globals"),
        *("help", "input", "locals", "memoryview", "open", "quit", "setattr", "vars"),
    }
)
_ELSEWHERE = frozenset(
    {"builtins", "ctypes", "importlib", "os", "pickle", "socket", "subprocess", "sys"}
)
"""Modules that others hold as attributes."""

_OF_TORCH = frozenset(
    {
        *("classes", "compile", "distributed", "from_file", "hub", "jit", "library", "load"),
        *("multiprocessing", "ops", "package", "save", "serialization", "storage", "utils"),
    }
)
"""Parts of torch that read or write files, load code or start processes."""


@dataclass(frozen=True)
class Policy:
    """What a program may hold."""

    modules: tuple[str, ...] = _MODULES
    """Modules that it may import, by full name."""
    most_bytes: int = 64 << 10
    most_nodes: int = 20_000

    def check(self, source: str, beside: frozenset[str] = frozenset()) -> None:
        """RefusedSource with each finding and its line; ``beside`` are modules given with it."""
        if len(source.encode("utf-8", "replace")) > self.most_bytes:
            raise RefusedSource(f"the source is longer than {self.most_bytes} bytes")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise RefusedSource(f"the source cannot be parsed: {error}") from None
        nodes = list(ast.walk(tree))
        if len(nodes) > self.most_nodes:
            raise RefusedSource(f"the source has more than {self.most_nodes} parts")
        found = [
            f"line {getattr(node, 'lineno', 0)}: {what}"
            for node in nodes
            for what in self._findings(node, beside)
        ]
        if found:
            raise RefusedSource("; ".join(found[:10]), hint="docs/sandbox.md says what is allowed")

    def _findings(self, node: ast.AST, beside: frozenset[str]) -> Iterator[str]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from self._imports(node, beside)
        for name in _names_in(node):
            if _dunder(name) and not _is_constructor(node):
                yield f"the name {name!r} is not allowed"
            elif name in _ELSEWHERE or (name in _BUILTINS and not isinstance(node, ast.Attribute)):
                yield f"{name!r} is not allowed"
        if isinstance(node, ast.Attribute) and node.attr in _OF_TORCH:
            yield f"attribute {node.attr!r} is not allowed"

    def _imports(self, node: ast.Import | ast.ImportFrom, beside: frozenset[str]) -> Iterator[str]:
        known = {*self.modules, *beside}
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name not in known:
                    yield f"import of {alias.name!r} is not allowed"
            return
        if node.level or node.module not in known:
            yield f"import from {'.' * node.level}{node.module or ''!r} is not allowed"
            return
        for alias in node.names:
            if alias.name == "*" or alias.name in _OF_TORCH:
                yield f"import of {alias.name!r} from {node.module!r} is not allowed"


def _names_in(node: ast.AST) -> tuple[str, ...]:
    """Names by which the node reaches something, or makes something reachable."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            names = [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            names = [name]
        case ast.alias(name=name, asname=other):
            names = [name.rpartition(".")[2], other or ""]
        case ast.MatchClass(kwd_attrs=names) | ast.Global(names=names) | ast.Nonlocal(names=names):
            pass
        case _:
            names = []
    return tuple(names)


def _dunder(name: str) -> bool:
    return name.startswith("__") and name != "__future__"


def _is_constructor(node: ast.AST) -> bool:
    """``def __init__`` and ``super().__init__``, ``__post_init__`` of a dataclass."""
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__init__", "__post_init__")
    if not isinstance(node, ast.Attribute) or node.attr != "__init__":
        return False
    call = node.value
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "super"
    )
