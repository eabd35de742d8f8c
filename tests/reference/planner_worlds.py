"""Random tables of rows that are rich in what makes planning go wrong: ties, retries, failures, improbable outcomes."""

from __future__ import annotations

import math
from random import Random

from somabrain.oak.model import FAIL, PlanParameters
from tests.reference.planner import Row

PARAMETERS = PlanParameters(
    min_probability=0.05, time_price=0.001, confidence_z=1.0, replan_gap=0.05, policy_sweeps_max=10_000
)

SHARES = (1, 1, 1, 2, 3, 30, 100, 0)
"""Relative frequencies of outcomes: equal ones for ties, 100 : 1 for what is cut."""

DISCOUNTS = tuple(math.exp(-0.001 * k) for k in (1, 1, 2, 3))


def seeded(seed: int) -> Random:
    """Chance that repeats itself."""
    return Random(seed)


def random_rows(random: Random, *, prototypes: int = 7, options: int = 5, density: float = 0.5) -> list[Row]:
    """Rows of up to `options` options over up to `prototypes` prototypes, in random order."""
    prototypes = random.randint(2, prototypes)
    rows: list[Row] = []
    for number in range(random.randint(1, options)):
        primitive = random.random() < 0.2
        rows += [
            _row(random, f"o{number}", start, prototypes, primitive=primitive)
            for start in range(prototypes)
            if random.random() < density
        ]
    random.shuffle(rows)
    return rows


def random_goals(random: Random, rows: list[Row]) -> list[int]:
    """One to three goals among the prototypes of `rows`, and now and then one that is in none."""
    known = sorted({y for row in rows for y in (row.start, *row.outcomes) if y != FAIL} | {50})
    return random.sample(known, min(len(known), random.choice((1, 1, 2, 3))))


def starts(rows: list[Row]) -> list[int]:
    """Every prototype of `rows`, and one that is in none."""
    return sorted({y for row in rows for y in (row.start, *row.outcomes) if y != FAIL} | {99})


def _row(random: Random, option_id: str, start: int, prototypes: int, *, primitive: bool) -> Row:
    candidates = [*range(prototypes), FAIL]
    count = random.randint(1, min(4, len(candidates)))
    outcomes = random.sample(candidates, count)
    if random.random() < 0.05:
        outcomes = [start]
    shares = [random.choice(SHARES) for _ in outcomes]
    total = sum(shares) or 1
    discount = random.choice(DISCOUNTS)
    cells = {
        y: (share / total, 0.0 if y == FAIL or random.random() < 0.02 else discount * share / total)
        for y, share in zip(outcomes, shares, strict=True)
    }
    return Row(
        option_id=option_id,
        start=start,
        outcomes=cells,
        evidence=random.choice((1.0, 2.0, 3.0, 10.0, 39.0)),
        prediction_share=1.0 if primitive else random.choice((0.0, 0.0, 0.0, 0.3, 1.0)),
        primitive=primitive,
        executions=random.randint(0, 40),
        duration=float(random.randint(1, 5)),
        reward=float(random.randint(-5, 2)),
        utility=random.uniform(-1, 1),
    )
