"""An environment of Gymnasium: random steps on slippery ice first, then what was learned from them.

    python examples/frozen_lake.py [--seeds 5]

Success before is that of random steps, after that of following `env.advised`, both over episodes of 200 steps at most.
"""

from __future__ import annotations

import argparse
import tempfile

import gymnasium

from somabrain.adapters.gymnasium import Recorded
from somabrain.client import Brain

GOAL = {"observation": 15}
EPISODES, TRIALS = 400, 40


def main() -> None:
    """Prints success before and after, for each seed and in the mean."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=5, help="how many agents learn, each from nothing")
    seeds, pairs = options.parse_args().seeds, []
    for seed in range(seeds):
        pairs.append(learned(seed))
        print(f"seed {seed}: {pairs[-1][0]:.3f} before, {pairs[-1][1]:.3f} after", flush=True)
    before, after = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    print(f"FrozenLake, {seeds} seeds: success {before:.3f} before, {after:.3f} after")


def learned(seed: int) -> tuple[float, float]:
    """Success of random steps, and after learning from them."""
    with tempfile.TemporaryDirectory() as folder, Brain(data=folder) as brain:
        ice = gymnasium.make("FrozenLake-v1", max_episode_steps=200)
        env = Recorded(ice, brain, success=lambda ending: ending.reward > 0)
        env.action_space.seed(seed)
        before = share(env, EPISODES, seed, follow=False)
        brain.flush(600)
        brain.consolidate(wait=True)
        after = share(env, TRIALS, seed + 1000, follow=True)
        env.close()
    return before, after


def share(env: Recorded, episodes: int, seed: int, *, follow: bool) -> float:
    """The share of episodes that reach the goal."""
    reached = 0
    for episode in range(episodes):
        env.reset(seed=seed * 100_000 + episode)
        over = False
        while not over:
            action = env.advised(GOAL) if follow else None
            reward, terminated, truncated = env.step(env.action_space.sample() if action is None else action)[1:4]
            over = terminated or truncated
            reached += reward > 0
    return reached / episodes


if __name__ == "__main__":
    main()
