"""The sandbox as its caller sees it: a call and an answer, or a refusal to run anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agenticrs.platform.sandbox import child, confinement, installation
from agenticrs.platform.sandbox.confinement import Confinement
from agenticrs.platform.sandbox.errors import (
    MalformedResult,
    RefusedImport,
    RefusedSource,
    SandboxUnavailable,
)
from agenticrs.platform.sandbox.installation import Installation
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.policy import Policy
from agenticrs.platform.sandbox.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = Sandbox.detect()
    if not found.sufficient:
        pytest.skip(f"nothing can be confined here: {'; '.join(found.reasons)}")
    return Sandbox(Limits(seconds=120), confinement=found)


def test_where_nothing_confines_the_sandbox_refuses_and_says_why() -> None:
    nothing = Confinement(reasons=("namespaces: Operation not permitted",))
    with pytest.raises(SandboxUnavailable, match="Operation not permitted") as caught:
        Sandbox(confinement=nothing)
    assert "nothing runs unconfined" in caught.value.hint


def test_another_system_is_refused_without_starting_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    found = confinement.detect(Installation((), ()))
    assert not found.sufficient
    assert "darwin" in found.reasons[0]


def test_a_layer_that_fails_at_run_time_ends_the_child_before_the_program(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Installation(installation.find().readable, ("/no/such/packages",))
    monkeypatch.setattr(sandbox, "_installation", missing)
    with pytest.raises(SandboxUnavailable, match="no/such/packages"):
        sandbox.run("print('ran')\ndef program(_, __): return {}, 1", "program")


def test_a_call_brings_values_back_and_what_it_printed(sandbox: Sandbox) -> None:
    source = (
        "def f(tensors, given):\n    print('hello')\n    return {}, [given['n'] + 1, len(tensors)]"
    )
    result = sandbox.run(source, "f", arguments={"n": 1})
    assert result.values == [2, 0]
    assert result.printed == "hello\n"
    assert result.seconds > 0
    assert result.peak_memory > 1 << 20


def test_nothing_is_left_of_a_call(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        before = set(os.listdir("/proc/self/fd"))
        sandbox.run("def f(_, __): return {}, 1", "f")
        assert set(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("returned", ["1", "{}, {1, 2}", "{}, float('nan')", "{'a': 3}, 1"])
def test_what_is_not_a_pair_of_tensors_and_json_is_refused(sandbox: Sandbox, returned: str) -> None:
    with pytest.raises(MalformedResult, match="tensors and JSON"):
        sandbox.run(f"def f(_, __): return {returned}", "f")


def test_an_import_that_reading_missed_is_refused_in_the_child(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(Policy):
        def check(self, source: str, beside: frozenset[str] = frozenset()) -> None:
            """Nothing is found."""

    monkeypatch.setattr(sandbox, "_policy", Blind())
    with pytest.raises(RefusedImport, match="'os'"):
        sandbox.run("import os\ndef f(_, __): return {}, 1", "f")


@pytest.mark.parametrize("name", ["os", "torch", "Block", "a.b", ""])
def test_modules_beside_cannot_take_the_name_of_another(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(RefusedSource, match="cannot be named"):
        sandbox.run("def f(_, __): return {}, 1", "f", beside={name: ""})


def test_modules_beside_can_be_imported(sandbox: Sandbox) -> None:
    source = "from other import three\ndef f(_, __): return {}, three()"
    result = sandbox.run(source, "f", beside={"other": "def three(): return 3"})
    assert result.values == 3


@pytest.mark.parametrize("name", ["seconds", "memory", "threads", "scratch", "output", "result"])
def test_limits_are_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})


def test_the_child_ends_with_its_parent(
    sandbox: Sandbox,
    children_of: Callable[[int], list[str]],
    until: Callable[[Callable[[], bool]], None],
) -> None:
    code = (
        "from agenticrs.platform.sandbox.sandbox import Sandbox\n"
        "Sandbox().run('def f(_, __):\\n    while True: pass', 'f')"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    # The guard and the program, and no longer the probe.
    until(lambda: len([c for c in children_of(parent.pid) if '"probe": false' in c]) == 2)
    parent.kill()
    parent.wait()
    until(lambda: children_of(parent.pid) == [])


@pytest.mark.slow
def test_tensors_go_in_and_come_out(sandbox: Sandbox) -> None:
    source = "import torch\ndef f(given, n):\n    return {'y': given['x'] @ given['x'] * n}, None"
    x = np.arange(9, dtype=np.float32).reshape(3, 3)
    result = sandbox.run(source, "f", {"x": x}, 2)
    np.testing.assert_allclose(result.tensors["y"], x @ x * 2)


def test_probing_leaves_the_package_free_of_torch() -> None:
    code = (
        "import sys\nfrom agenticrs.platform.sandbox.sandbox import Sandbox\n"
        "Sandbox.detect()\nprint('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "False"


def test_a_probe_runs_nothing_of_the_request(sandbox: Sandbox) -> None:
    layers = Sandbox.detect().layers()
    ended = child.run(b"anything", layers, Limits(), installation.find(), probe=True)
    assert ended.answer == b""
