"""`python -m benchmarks tenants`: a thousand tenants of 500 options each in one process, on SQLite.

Each tenant has the same 500 options, 500 prototypes and 5,000 edges, and asks for one plan, cold: its namespace is read
and compiled, the goal set worked out. The memory is what the process has grown by, beside the setting that bounds it,
which is less than all of them take.
"""

from __future__ import annotations

import gc
import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert, literal, select

from benchmarks.figures import Figure, figure, percentile
from benchmarks.following import NAMESPACE, plan_ms
from benchmarks.workload import EDGES, OPTIONS, STATES, document_of, random_workload
from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.bootstrap.oak import ACCELERATOR, oak_limits, open_worlds
from somabrain.oak.changes import Stamp
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.planning import Planning
from somabrain.oak.transfer import import_model, parse_model
from somabrain.store import Database, SqlStore
from somabrain.store import tables as t
from somabrain.tenancy import TenantId

TENANTS = 1000
BYTES_MAX = 512 * 2**20
COLD_BAR_MS = 100.0
MEMORY_BAR = 1.25
COPIED = (t.tenants, t.namespaces, t.prototypes, t.options, t.model_rows)


def measure() -> list[Figure]:
    """Cold plans, and the memory after them."""
    rng = random.Random(5)
    ACCELERATOR.wait()
    with TemporaryDirectory() as folder:
        settings = Settings(
            somabrain_data_dir=Path(folder),
            oak_graph_cache_bytes=BYTES_MAX,
            oak_graph_cache_namespaces=TENANTS,
            _env_file=None,
        )
        with open_database(settings) as database:
            names = _tenants(settings, database)
            worlds, store = open_worlds(settings), SqlStore(database)
            manager = OptionManager(limits=oak_limits(settings), worlds=worlds)
            planning = Planning(worlds=worlds, manager=manager, similarity_threshold=0.9, max_options=20)
            before = _resident()
            cold = [plan_ms(planning, store, tenant, rng) for tenant in names]
            gc.collect()
            grown, told = _resident() - before, worlds.bytes
    size = f"{OPTIONS} options, {STATES} prototypes, {EDGES} edges"
    grown_mib, most_mib = grown / 2**20, BYTES_MAX / 2**20
    memory = figure(f"memory of {TENANTS} tenants, {size} each", [grown_mib], unit="MiB")
    return [
        figure(
            f"a tenant's first plan, {size}",
            cold,
            bar=f"≤ {COLD_BAR_MS:.0f} ms",
            met=percentile(cold, 0.5) <= COLD_BAR_MS,
        ),
        replace(
            memory,
            bar=f"≤ {MEMORY_BAR:g} × the setting",
            met=grown <= MEMORY_BAR * BYTES_MAX,
            peer=f"OAK_GRAPH_CACHE_BYTES: {most_mib:.0f} MiB; estimated: {told / 2**20:.0f} MiB",
            ratio=grown_mib / most_mib,
        ),
    ]


def _tenants(settings: Settings, database: Database) -> list[TenantId]:
    """Tenants with the same model: the first has it imported, the others are copies of its rows."""
    names = [TenantId(f"tenant-{number}") for number in range(TENANTS)]
    limits = oak_limits(settings)
    stamp = Stamp(now_ms=0, reported_by="bench", new_event_id=lambda: "0")
    model = parse_model(document_of(random_workload(1), settings.memory_dim), settings.memory_dim)
    manager = OptionManager(limits=limits, worlds=open_worlds(settings))
    with SqlStore(database).write(names[0]) as tx:
        import_model(tx, NAMESPACE, model, stamp, manager=manager, limits=limits, replacing=False)
    for name in names[1:]:
        with database.writing() as connection:
            for table in COPIED:
                columns = [literal(name.value) if one.name == "tenant" else one for one in table.columns]
                copied = select(*columns).where(table.c.tenant == names[0].value)
                connection.execute(insert(table).from_select(list(table.columns), copied))
    return names


def _resident() -> int:
    """Bytes of the process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096
