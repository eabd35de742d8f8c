"""The command that compares Milvus with the database, repairs it, makes it anew, or restores an empty database."""

from __future__ import annotations

from dataclasses import asdict

from common.config.settings import Settings
from somabrain.bootstrap import held_projection, open_restore
from somabrain.commands.output import EXIT_CONFIGURATION, err, fail, print_json, print_table, progress_bar
from somabrain.errors import ConfigurationError, SomabrainError, StoreUnavailableError
from somabrain.memory_client import Comparison
from somabrain.ports import VectorEngineMismatchError, VectorEngineUnavailableError
from somabrain.restoring import Restored

_FAULTS = (StoreUnavailableError, VectorEngineMismatchError, VectorEngineUnavailableError)


def reconcile(settings: Settings, *, rebuild: bool, as_json: bool) -> None:
    """Compares every tenant's documents with the database and repairs them; `rebuild`: empties Milvus first.

    Ends with status 1 where Milvus holds documents that this database has never had.
    """
    try:
        with held_projection(settings) as held:
            tenants = held.begin(rebuild=rebuild)
            found: list[Comparison] = []
            with progress_bar("comparing tenants", len(tenants)) as bar:
                for tenant in tenants:
                    found += held.compare(tenant)
                    bar.advance(bar.task_ids[0], 1)
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    except _FAULTS as error:
        fail(f"Milvus could not be compared: {error}")
    _show(found, as_json=as_json)
    ahead = sum(each.ahead for each in found)
    if ahead:
        fail(
            f"Milvus holds {ahead} documents that are newer than this database, and they were left alone: "
            "restore an empty database from them with --from-milvus, or drop them with --rebuild"
        )


def _show(found: list[Comparison], *, as_json: bool) -> None:
    if as_json:
        print_json([{**asdict(each), "tenant": each.tenant.value, "shelf": each.shelf.value} for each in found])
        return
    print_table(
        ("tenant", "documents of", "in the database", "missing", "different", "surplus", "ahead"),
        [
            (
                each.tenant.value,
                each.shelf.value,
                str(each.documents),
                str(each.missing),
                str(each.different),
                str(each.surplus),
                str(each.ahead),
            )
            for each in found
        ],
    )
    repaired = sum(each.missing + each.different + each.surplus for each in found)
    err.print(f"Repaired {repaired}." if repaired else "Milvus holds what the database holds.")


def restore(settings: Settings, *, as_json: bool) -> None:
    """Fills an empty database from the documents in Milvus.

    Ends with status 1 where a tenant was left alone because it has a journal.
    """
    try:
        with open_restore(settings) as restoring:
            tenants = restoring.tenants()
            found = []
            with progress_bar("restoring tenants", len(tenants)) as bar:
                for tenant in tenants:
                    found.append(restoring.restore(tenant))
                    bar.advance(bar.task_ids[0], 1)
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    except SomabrainError as error:
        fail(f"{error.code}: {error.detail}")
    except _FAULTS as error:
        fail(f"Milvus could not be read: {error}")
    _show_restored(found, as_json=as_json)
    skipped = [each.tenant.value for each in found if each.skipped]
    if skipped:
        fail(f"not empty, and left alone: {', '.join(skipped)}")


def _show_restored(found: list[Restored], *, as_json: bool) -> None:
    if as_json:
        print_json([{**asdict(each), "tenant": each.tenant.value} for each in found])
        return
    print_table(
        ("tenant", "options", "options omitted", "states", "rows", "rows omitted", "memories"),
        [
            (
                each.tenant.value,
                str(each.options),
                str(each.options_omitted),
                str(each.states),
                str(each.rows),
                str(each.rows_omitted),
                str(each.memories),
            )
            for each in found
        ],
    )
