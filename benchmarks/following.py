"""`python -m benchmarks following`: a plan that sees the run just reported, in process, on SQLite.

500 options, 500 prototypes and 5,000 edges. Each round reports a run, which makes a new model version, and then asks
for a plan from a random state to a random one: a read transaction, the world brought up to date, a goal set that is
new, and the answer. Beside it the same plan by a process that has just started, which compiles the namespace afresh.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import MS_PER_S, Figure, figure, percentile
from benchmarks.workload import EDGES, OPTIONS, STATES, document_of, random_workload
from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.bootstrap.oak import ACCELERATOR, oak_limits, open_worlds
from somabrain.oak.changes import Stamp
from somabrain.oak.learning import facts
from somabrain.oak.model import Ending, Execution
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.planning import Planning
from somabrain.oak.transfer import import_model, parse_model
from somabrain.store import SqlStore
from somabrain.tenancy import Namespace, TenantId

TENANT, NAMESPACE = TenantId("bench"), Namespace("default")
ROUNDS = 200
AFRESH = 20
BAR_MS = 5.0


def measure() -> list[Figure]:
    """Plans after one run each."""
    workload, rng = random_workload(1), random.Random(3)
    stamp = Stamp(now_ms=0, reported_by="bench", new_event_id=lambda: f"{rng.getrandbits(128):032x}")
    ACCELERATOR.wait()
    with TemporaryDirectory() as folder:
        settings = Settings(somabrain_data_dir=Path(folder), _env_file=None)
        with open_database(settings) as database:
            store, limits = SqlStore(database), oak_limits(settings)
            manager = OptionManager(limits=limits, worlds=open_worlds(settings))
            model = parse_model(document_of(workload, settings.memory_dim), settings.memory_dim)
            with store.write(TENANT) as tx:
                import_model(tx, NAMESPACE, model, stamp, manager=manager, limits=limits, replacing=False)

            def planning() -> Planning:
                return Planning(worlds=open_worlds(settings), manager=manager, similarity_threshold=0.9, max_options=20)

            def run() -> None:
                row = rng.choice(workload.rows)
                ended = Execution(
                    start=facts({"s": row.start}),
                    final=facts({"s": rng.choice(row.outcomes)}),
                    rewards=(-1.0,),
                    reward=0.0,
                    duration=1,
                    ending=Ending.TARGET,
                )
                with store.write(TENANT) as tx:
                    manager.record(tx, NAMESPACE, row.option_id, ended, stamp)

            kept, following, afresh = planning(), [], []
            plan_ms(kept, store, TENANT, rng)
            for _ in range(ROUNDS):
                run()
                following.append(plan_ms(kept, store, TENANT, rng))
            for _ in range(AFRESH):
                run()
                afresh.append(plan_ms(planning(), store, TENANT, rng))
    size = f"{OPTIONS} options, {STATES} prototypes, {EDGES} edges"
    told = figure(f"plan that sees the last run, {size}", following)
    peer = percentile(afresh, 0.5)
    return [
        replace(
            told,
            bar=f"≤ {BAR_MS:.0f} ms",
            met=told.median <= BAR_MS,
            peer=f"compiled afresh: {peer:.3f} ms",
            ratio=told.median / peer,
        )
    ]


def plan_ms(by: Planning, store: SqlStore, tenant: TenantId, rng: random.Random) -> float:
    """Milliseconds of a plan from one random state to another, with its read transaction."""
    start, goal = rng.sample(range(STATES), 2)
    began = time.perf_counter()
    with store.read(tenant) as tx:
        by.plan(
            tx,
            NAMESPACE,
            facts({"s": start}),
            facts({"s": goal}),
            threshold=None,
            max_options=None,
            alternatives=0,
            mode="safe",
        )
    return (time.perf_counter() - began) * MS_PER_S
