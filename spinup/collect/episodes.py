"""The state of a running episode."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spinup.envs.episode_replay import Statistics


@dataclass
class EpisodeState:
    """The running episode of one environment, with the data to replay it from its seed.

    Attributes:
        number: number of the episode, from which its seed is derived.
        ret, length: return and number of steps so far.
        actions: the actions so far, (act_dim,) each.
        statistics: statistics of the environment's wrappers at the start of the episode.
    """

    number: int
    ret: float = 0.0
    length: int = 0
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    statistics: Statistics = field(default_factory=dict)
