"""The statements, made once for each engine: building one costs more than running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    CursorResult,
    Dialect,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from somabrain.oak.model import EVERYWHERE, Tallied
from somabrain.store import tables as t

K = TypeVar("K")

NOBODY = b""
"""The key of EVERYONE among agents: no digest is empty."""

NOTHING = -2
"""No state, place or kind of a tally: what a query is not after."""

NO_KEY = b"\0"
"""No agent's key."""

KEYS_MAX = 512
"""Most keys in one statement: SQLite takes 999 parameters in its oldest builds."""


class _Statement:
    """A statement of every request, whose text is made once for each kind of engine and given to the driver itself.

    What SQLAlchemy does around a statement, and for each row anew, takes longer than SQLite takes to find or write a
    few rows. Parameters and columns go as they are, so each must be of a type that the driver takes and gives.
    """

    def __init__(self, statement: Any, *, columns: Sequence[str] | None = None) -> None:
        """`columns`: those that an INSERT is given."""
        self._statement = statement
        self._columns = columns
        self._made: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any], Mapping[str, Any]]] = {}

    def _for(self, connection: Connection) -> tuple[str, Callable[[Mapping[str, Any]], Any], Mapping[str, Any]]:
        """The text, what binds parameters by name, and those that the statement itself has."""
        dialect = connection.dialect
        made = self._made.get(dialect.name)
        if made is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            own = {name: value for name, value in compiled.params.items() if value is not None}
            made = self._made[dialect.name] = compiled.string, _binder(compiled), own
        return made


class Read(_Statement):
    """A SELECT."""

    def __init__(self, statement: Select[Any] | CompoundSelect[Any]) -> None:
        """The statement's parameters are named when its rows are asked for."""
        super().__init__(statement)
        self._names = tuple(statement.selected_columns.keys())

    def rows(self, connection: Connection, **asked: Any) -> list[tuple[Any, ...]]:
        """All rows for the parameters, of the columns in the order of the statement."""
        text, bound, constants = self._for(connection)
        if not connection.in_transaction():
            connection.begin()
        driver: Any = connection.connection.driver_connection
        rows: list[tuple[Any, ...]] = driver.execute(text, bound({**constants, **asked})).fetchall()
        return rows

    def documents(self, connection: Connection, **asked: Any) -> list[dict[str, Any]]:
        """The same by the names of the columns."""
        return [dict(zip(self._names, row, strict=True)) for row in self.rows(connection, **asked)]


class ReadByKeys:
    """A SELECT of the rows that have one of some keys: a statement for each power of two, the last key repeated."""

    def __init__(self, statement: Select[Any], column: Column[Any]) -> None:
        """`column`: whose keys."""
        self._statement = statement
        self._column = column
        self._reads: dict[int, Read] = {}

    def rows(self, connection: Connection, keys: Sequence[Any], **asked: Any) -> list[tuple[Any, ...]]:
        """The rows in no order, of the columns in the order of the statement."""
        return [row for read, named in self._parts(keys) for row in read.rows(connection, **asked, **named)]

    def documents(self, connection: Connection, keys: Sequence[Any], **asked: Any) -> list[dict[str, Any]]:
        """The same by the names of the columns."""
        return [row for read, named in self._parts(keys) for row in read.documents(connection, **asked, **named)]

    def _parts(self, keys: Sequence[Any]) -> Iterator[tuple[Read, dict[str, Any]]]:
        """A statement for each part of the keys, and its parameters for them."""
        for some in chunks(keys):
            count = 1 << (len(some) - 1).bit_length()
            names = [f"in_key_{place}" for place in range(count)]
            read = self._reads.get(count)
            if read is None:
                one_of = self._column.in_([bindparam(name, type_=self._column.type) for name in names])
                read = self._reads[count] = Read(self._statement.where(one_of))
            repeated = [*some, *[some[-1]] * (count - len(some))]
            yield read, dict(zip(names, repeated, strict=True))


class Change(_Statement):
    """An INSERT, UPDATE or DELETE, for many rows at once."""

    def make(self, connection: Connection, rows: Sequence[Mapping[str, Any]], **owner: Any) -> None:
        """Makes it for each of the rows; the parameters `owner` are the same in all of them."""
        if rows:
            text, bound, constants = self._for(connection)
            shared = {**constants, **owner}
            connection.exec_driver_sql(text, [bound({**shared, **row}) for row in rows])


def upsert(table: Table, dialect: Dialect, *, adds: bool = False) -> Change:
    """INSERT … ON CONFLICT (primary key) DO UPDATE of all columns; `adds`: what is there is added to, not replaced."""
    statement: Any = (sqlite if dialect.name == "sqlite" else postgresql).insert(table)
    keys = {column.name for column in table.primary_key}
    changed = {
        column.name: column + statement.excluded[column.name] if adds else statement.excluded[column.name]
        for column in table.columns
        if column.name not in keys
    }
    statement = statement.on_conflict_do_update(index_elements=sorted(keys), set_=changed)
    return Change(statement, columns=table.columns.keys())


def documents(result: CursorResult[Any]) -> list[dict[str, Any]]:
    """All rows by the names of their columns, which SQLAlchemy's own mappings look up for each row anew."""
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def _binder(compiled: Any) -> Callable[[Mapping[str, Any]], Any]:
    """What puts parameters by name into the form that the driver takes."""
    names: Sequence[str] | None = compiled.positiontup
    if names is None:
        return dict
    if len(names) == 1:
        return lambda asked: (asked[names[0]],)
    return itemgetter(*names)


def chunks(keys: Sequence[K]) -> list[Sequence[K]]:
    """The keys in parts that one statement takes."""
    return [keys[first : first + KEYS_MAX] for first in range(0, len(keys), KEYS_MAX)]


def insert_missing(table: Table, *, on_sqlite: bool) -> Any:
    """INSERT … ON CONFLICT DO NOTHING."""
    statement: Any = (sqlite if on_sqlite else postgresql).insert(table)
    return statement.on_conflict_do_nothing()


_tenant: BindParameter[str] = bindparam("in_tenant")
_namespace: BindParameter[str] = bindparam("in_namespace")

NAMESPACE = Read(select(t.namespaces).where(t.namespaces.c.tenant == _tenant, t.namespaces.c.namespace == _namespace))
NAMESPACES = select(t.namespaces).where(t.namespaces.c.tenant == _tenant).order_by(t.namespaces.c.namespace)
OPTION = Read(
    select(t.options).where(
        t.options.c.tenant == _tenant,
        t.options.c.namespace == _namespace,
        t.options.c.option_id == bindparam("in_option"),
    )
)
OPTIONS_BY_ID = ReadByKeys(
    select(t.options).where(t.options.c.tenant == _tenant, t.options.c.namespace == _namespace), t.options.c.option_id
)
ROW = Read(
    select(t.model_rows).where(
        t.model_rows.c.tenant == _tenant,
        t.model_rows.c.namespace == _namespace,
        t.model_rows.c.option_id == bindparam("in_option"),
        t.model_rows.c.start == bindparam("in_start"),
    )
)
ROWS_OF = (
    select(t.model_rows)
    .where(
        t.model_rows.c.tenant == _tenant,
        t.model_rows.c.namespace == _namespace,
        t.model_rows.c.option_id.in_(bindparam("in_options", expanding=True)),
    )
    .order_by(t.model_rows.c.option_id, t.model_rows.c.start)
)
STATES = ReadByKeys(
    select(t.prototypes.c.number, t.prototypes.c.facts, t.prototypes.c.vector, t.prototypes.c.text).where(
        t.prototypes.c.tenant == _tenant, t.prototypes.c.namespace == _namespace
    ),
    t.prototypes.c.number,
)
_MEMORY_SPACES = select(t.memory_spaces).where(t.memory_spaces.c.tenant == _tenant)
MEMORY_SPACES = Read(_MEMORY_SPACES.order_by(t.memory_spaces.c.namespace))
MEMORY_SPACE = Read(_MEMORY_SPACES.where(t.memory_spaces.c.namespace == _namespace))
MEMORIES_BY_ID = ReadByKeys(
    select(t.memories).where(t.memories.c.tenant == _tenant, t.memories.c.namespace == _namespace),
    t.memories.c.memory_id,
)
ENTRIES_BY_ID = ReadByKeys(
    select(t.memory_entries.c.memory_id).where(
        t.memory_entries.c.tenant == _tenant,
        t.memory_entries.c.namespace == _namespace,
        t.memory_entries.c.entry == bindparam("in_entry"),
    ),
    t.memory_entries.c.memory_id,
)
_SEQUENCE = select(t.tenants.c.sequence).where(t.tenants.c.tenant == _tenant)
SEQUENCE = Read(_SEQUENCE)
LOCKED_SEQUENCE = Read(_SEQUENCE.with_for_update())
JOURNAL = Read(
    select(t.journal)
    .where(t.journal.c.tenant == _tenant, t.journal.c.sequence > bindparam("in_after"))
    .order_by(t.journal.c.sequence)
    .limit(bindparam("in_limit"))
)
_TOLD = [null().label("request") if column is t.journal.c.request else column for column in t.journal.c]
"""The columns of the journal that leave the service: a request can be as large as a model."""

CHANGES = Read(
    select(*_TOLD)
    .where(t.journal.c.tenant == _tenant, t.journal.c.sequence > bindparam("in_after"))
    .order_by(t.journal.c.sequence)
    .limit(bindparam("in_limit"))
)
SET_SEQUENCE = Change(update(t.tenants).where(t.tenants.c.tenant == _tenant).values(sequence=bindparam("in_sequence")))
ADD_JOURNAL = Change(insert(t.journal))
DROP_ROWS = delete(t.model_rows).where(
    t.model_rows.c.tenant == _tenant,
    t.model_rows.c.namespace == _namespace,
    t.model_rows.c.option_id == bindparam("in_option"),
)
ADD_PROTOTYPES = Change(insert(t.prototypes))
_PROTOTYPE = update(t.prototypes).where(
    t.prototypes.c.tenant == _tenant,
    t.prototypes.c.namespace == _namespace,
    t.prototypes.c.number == bindparam("in_number"),
)
ADD_VISITS = Change(_PROTOTYPE.values(visits=t.prototypes.c.visits + bindparam("in_visits")))
SAVE_ARRIVALS = Change(
    _PROTOTYPE.values({name: bindparam(f"in_{name}") for name in ("arrivals", "endings", "marks", "changed")})
)
ADD_ACTIONS = Change(insert(t.actions))
_PRIMITIVE_ROWS = select(
    *(t.primitive_rows.c[name] for name in ("start", "action", "reward", "loss", "refused", "fresh", "outcomes"))
).where(t.primitive_rows.c.tenant == _tenant, t.primitive_rows.c.namespace == _namespace)
_IN_ORDER = _PRIMITIVE_ROWS.order_by(t.primitive_rows.c.start, t.primitive_rows.c.action)
PRIMITIVE_ROWS = Read(_IN_ORDER)
PRIMITIVE_ROWS_CHANGED = Read(_IN_ORDER.where(t.primitive_rows.c.changed > bindparam("in_after")))
PRIMITIVE_ROWS_FROM = ReadByKeys(_PRIMITIVE_ROWS, t.primitive_rows.c.start)
_ARRIVALS = select(*(t.prototypes.c[name] for name in ("number", "arrivals", "endings", "marks"))).where(
    t.prototypes.c.tenant == _tenant, t.prototypes.c.namespace == _namespace
)
_BY_NUMBER = _ARRIVALS.order_by(t.prototypes.c.number)
ARRIVALS = Read(_BY_NUMBER)
ARRIVALS_CHANGED = Read(_BY_NUMBER.where(t.prototypes.c.changed > bindparam("in_after")))
ARRIVALS_OF = ReadByKeys(_ARRIVALS, t.prototypes.c.number)
EPISODE = Read(
    select(t.episodes).where(
        t.episodes.c.tenant == _tenant,
        t.episodes.c.namespace == _namespace,
        t.episodes.c.episode_id == bindparam("in_episode"),
    )
)


def _tallies() -> CompoundSelect[Any]:
    """Tallies by key or range of keys, a query for each: for an OR, SQLite goes through the whole namespace."""
    o = t.odds.c
    state, agent = bindparam("in_state", type_=o.state.type), bindparam("in_agent", type_=o.agent.type)
    steps, left = bindparam("in_steps", type_=o.place.type), bindparam("in_left", type_=o.kind.type)
    wanted: list[tuple[ColumnElement[bool], ...]] = [
        (o.state == one, o.kind == int(kind), o.place == place, o.agent == whose)
        for one in (EVERYWHERE, state)
        for kind, place in ((Tallied.RUN, 0), (Tallied.STEPS, steps))
        for whose in (NOBODY, agent)
    ]
    soon = o.place.between(bindparam("in_first", type_=o.place.type), bindparam("in_last", type_=o.place.type))
    wanted += [(o.state == one, o.kind == left, soon) for one in (EVERYWHERE, state)]
    return union_all(*(select(t.odds).where(o.tenant == _tenant, o.namespace == _namespace, *keys) for keys in wanted))


def _tried() -> Select[Any]:
    """Actions of a state with their outcomes, and how the episodes of known outcome that took them ended, if any."""
    r, o = t.primitive_rows.c, t.odds.c
    counted = and_(
        o.tenant == r.tenant,
        o.namespace == r.namespace,
        o.state == r.start,
        o.kind == int(Tallied.ACTION),
        o.place == r.action,
        o.agent == NOBODY,
    )
    return (
        select(r.action, r.outcomes, o.episodes, o.successes)
        .select_from(t.primitive_rows)
        .outerjoin(t.odds, counted)
        .where(r.tenant == _tenant, r.namespace == _namespace, r.start == bindparam("in_state"))
        .order_by(r.action)
    )


def _add_prediction() -> Any:
    """One more of an episode's predictions, unless it has the most already or its outcome is known."""
    p, e, of = t.predictions.c, t.episodes.c, bindparam("in_episode", type_=t.predictions.c.episode_id.type)
    told = (p.probability, p.steps, p.agent, p.told_at_ms)
    probability, steps, agent, told_at_ms = (bindparam(f"in_{column.name}", type_=column.type) for column in told)
    last = select(func.max(p.number)).where(p.tenant == _tenant, p.namespace == _namespace, p.episode_id == of)
    one = select((func.coalesce(last.scalar_subquery(), -1) + 1).label("number")).subquery()
    known = select(e.success).where(
        e.tenant == _tenant, e.namespace == _namespace, e.episode_id == of, e.success.is_not(None)
    )
    row = select(
        _tenant, _namespace, of, one.c.number, probability, func.coalesce(steps, one.c.number), agent, told_at_ms
    ).where(one.c.number < bindparam("in_most", type_=p.number.type), ~known.exists())
    return insert(t.predictions).from_select(t.predictions.columns.keys(), row)


ADD_PREDICTION = Change(_add_prediction())
TALLIES = Read(_tallies())
TRIED = Read(_tried())
REPLY = Read(
    select(t.replies).where(
        t.replies.c.tenant == _tenant,
        t.replies.c.scope == bindparam("in_scope"),
        t.replies.c.expires_at_ms > bindparam("in_now"),
    )
)
PREDICTIONS = Read(
    select(t.predictions)
    .where(
        t.predictions.c.tenant == _tenant,
        t.predictions.c.namespace == _namespace,
        t.predictions.c.episode_id == bindparam("in_episode"),
    )
    .order_by(t.predictions.c.number)
)
DROP_PREDICTIONS = Change(
    delete(t.predictions).where(
        t.predictions.c.tenant == _tenant,
        t.predictions.c.namespace == _namespace,
        t.predictions.c.episode_id == bindparam("in_episode"),
    )
)
EXPIRE_PREDICTIONS = delete(t.predictions).where(t.predictions.c.told_at_ms <= bindparam("in_before"))
EXPIRE_REPLIES = delete(t.replies).where(t.replies.c.expires_at_ms <= bindparam("in_now"))
