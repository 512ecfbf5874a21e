"""What a program in the sandbox may use up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Sizes are bytes. ``ValueError`` for what is not above zero."""

    seconds: float = 60.0
    """Wall time from the start of the child, its imports included."""
    cpu_seconds: int = 60
    """Time on processors, of all threads together."""
    memory: int = 1 << 30
    """Memory of its own; libraries that are mapped from files do not count. torch takes 200 MB."""
    threads: int = 32
    """More threads cannot be started, and further processes not at all."""
    scratch: int = 64 << 20
    """Room in the scratch folder, for one file and for all."""
    output: int = 1 << 20
    """Text that it may print."""
    result: int = 64 << 20
    """Size of its answer."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value <= 0:
                raise ValueError(f"{field.name} must be above 0, got {value}")

    def for_child(self) -> dict[str, int]:
        """Those that the child sets for itself before it runs anything."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}
