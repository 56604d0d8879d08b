"""The registry of engines, and the rule that chooses one (docs/engines.md)."""

from __future__ import annotations

from spinup.errors import ConfigError
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.compile import CompileEngine
from spinup.pytorch.engines.cuda_graph import CudaGraphEngine
from spinup.pytorch.engines.eager import EagerEngine
from spinup.pytorch.engines.engine import Engine
from spinup.pytorch.engines.native import NativeEngine
from spinup.pytorch.variants.objective import Objective

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (EagerEngine, NativeEngine, CompileEngine, CudaGraphEngine)
}
AUTO = ("native", "eager")  # in order of preference; the others must be requested by name


def choose_engine(
    name: str,
    agent: Agent,
    objective: Objective,
    fields: tuple[str, ...],
    required: bool = True,
    threads: int = 1,
) -> tuple[Engine, str]:
    """The engine for an update, prepared, and a log line with the reason for this choice.

    `auto` is the first engine of AUTO that supports the update and can be prepared.

    Args:
        name: an engine's name, or "auto".
        agent, objective: the agent to update, and the losses.
        fields: the fields of a batch, noise included.
        required: whether the engine called `name` is the only candidate; otherwise, the engines of AUTO are
            tried after it.
        threads: see `Engine`.

    Raises:
        ConfigError: if none of these engines supports the update and can be prepared.
    """
    wanted = AUTO if name == "auto" else (name,) if required else (name, *AUTO)
    candidates = tuple(dict.fromkeys(wanted))
    skipped: list[str] = []
    for kind in (ENGINES[candidate] for candidate in candidates):
        reason = kind.unsupported_reason(agent, objective, fields)
        if reason is None:
            engine = kind(objective, threads)
            try:
                added = engine.prepare(agent)
            except ConfigError as error:
                if len(candidates) == 1:
                    raise
                reason = str(error).removesuffix(": give engine='auto'")
            else:
                requested = "as requested" if required else "as before"
                why = "the fastest that supports this run" if name == "auto" else requested
                why = f"not {'; not '.join(skipped)}" if skipped else why
                return engine, f"engine: {kind.name}, {kind.description}{added} ({why})"
        skipped.append(f"{kind.name}, as {reason}")
    raise ConfigError(f"engine={name!r} cannot be used here, as {reason}: give engine='auto'")
