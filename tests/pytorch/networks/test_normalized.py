"""Networks of normalized observations, as a run with normalize_observations returns them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from helpers import small_ac

from spinup.pytorch.networks.normalized import NormalizedActorCritic
from spinup.pytorch.networks.transformed_input import takes_noise
from spinup.replay.normalizer import RunningMoments


def test_all_networks_take_raw_observations() -> None:
    ac: Any = small_ac(critic="quantile", quantiles=5)
    moments = RunningMoments((3,))
    moments.mean[:], moments.var[:] = (1.0, 2.0, 3.0), (4.0, 1.0, 0.25)
    whole: Any = NormalizedActorCritic.around(ac, moments)
    rng = np.random.default_rng(0)
    raw = torch.from_numpy(rng.standard_normal((4, 3)).astype(np.float32))
    action, noise = torch.zeros(4, 2), torch.ones(4, 2)
    seen = (raw - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([2.0, 1.0, 0.5])
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(whole.q1(raw, action), ac.q1(seen, action), **close)
    torch.testing.assert_close(whole.q1.distribution(raw, action), ac.q1.distribution(seen, action), **close)
    torch.testing.assert_close(whole.pi.mean_action(raw), ac.pi.mean_action(seen), **close)
    torch.testing.assert_close(whole.pi(raw, noise=noise), ac.pi(seen, noise=noise), **close)
    assert takes_noise(whole.pi)
