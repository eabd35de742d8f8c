"""What is true of the counts behind odds, and of odds that were told, in the store, on each engine."""

from __future__ import annotations

from dataclasses import replace

from somabrain.oak.model import (
    BUCKETS,
    EVERYONE,
    EVERYWHERE,
    Prediction,
    PrimitiveRow,
    Score,
    Scored,
    Tallied,
    Tally,
    Tried,
    place_of,
)
from somabrain.ports import EpisodeRecord, TallyQuery
from somabrain.store import SqlStore
from somabrain.tenancy import Namespace
from tests.contract.test_store import record
from tests.factories import ALICE, BOB, HOME

OTHER = Namespace("other")
LONG = "\u0000 ü \U0001f600 " * 50
"""A label that a text column would not take as it is, longer than a key of PostgreSQL may be once it is escaped."""


def tally(state: int = 3, kind: Tallied = Tallied.RUN, place: int = 0, agent: str = EVERYONE) -> Tally:
    return Tally(state=state, kind=kind, place=place, agent=agent, episodes=5, successes=2, left=2**40)


def score(agent: str = EVERYONE, kind: Scored = Scored.BIN, place: int = 4) -> Score:
    return Score(agent=agent, kind=kind, place=place, count=3, successes=1, predicted=0.1 + 0.2, squares=1e-9, steps=7)


def told(probability: float, steps: int | None = 2, agent: str | None = LONG) -> Prediction:
    return Prediction(probability=probability, steps=steps, agent=agent)


def test_tallies_add_up(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        tx.odds.add_tallies(HOME, [tally(), tally(agent=LONG)])
        tx.odds.add_tallies(HOME, [])
    with store.write(ALICE) as tx:
        tx.odds.add_tallies(HOME, [tally()._replace(episodes=1, successes=0, left=0), tally(EVERYWHERE)])
    with store.read(ALICE) as tx:
        found = sorted(tx.odds.tallies(HOME), key=lambda one: (one.state, one.agent))
    assert found == [tally(EVERYWHERE), tally()._replace(episodes=6), tally(agent=LONG)]


def test_a_query_gives_what_it_names(store: SqlStore) -> None:
    every = [
        tally(state, kind, place, agent)
        for state in (EVERYWHERE, 3, 4)
        for kind, place in ((Tallied.RUN, 0), (Tallied.STEPS, 1), (Tallied.STEPS, 2))
        for agent in (EVERYONE, "ann", "bob")
    ]
    every += [
        tally(state, Tallied.LEFT, place) for state in (EVERYWHERE, 3, 4) for place in (place_of(2, 1), place_of(1, 3))
    ]
    every += [tally(3, Tallied.ACTION, 7)]
    with store.write(ALICE) as tx:
        tx.odds.add_tallies(HOME, every)
    for query in (
        TallyQuery(),
        TallyQuery(state=3),
        TallyQuery(state=3, agent="bob", steps=2),
        TallyQuery(state=4, agent="nobody", steps=9, left=True),
        TallyQuery(state=3, steps=1, left=True),
        TallyQuery(agent="ann", steps=2),
    ):
        wanted = [
            one
            for one in every
            if one.state in {EVERYWHERE, query.state}
            and one.agent in {EVERYONE, query.agent}
            and (
                one.kind is Tallied.RUN
                or (one.kind is Tallied.STEPS and one.place == query.steps)
                or (one.kind is Tallied.LEFT and query.left and query.steps in {None, one.place // BUCKETS})
            )
        ]
        with store.read(ALICE) as tx:
            assert sorted(tx.odds.tallies(HOME, query), key=repr) == sorted(wanted, key=repr)


def test_the_actions_of_a_state_have_what_is_counted_of_them(store: SqlStore) -> None:
    def row(start: int, action: int, counts: tuple[int, ...]) -> PrimitiveRow:
        outcomes = tuple(range(len(counts)))
        return PrimitiveRow(
            start=start, action=action, reward=0, loss=0, refused=0, fresh=False, outcomes=outcomes, counts=counts
        )

    for tenant, factor in ((ALICE, 1), (BOB, 10)):
        with store.write(tenant) as tx:
            rows = [row(3, 7, (2 * factor, 1)), row(3, 2, (4,)), row(3, 9, ()), row(4, 7, (50,))]
            tx.experience.save_rows(HOME, rows, 1)
            tx.experience.save_rows(OTHER, [row(3, 5, (1,))], 1)
            counted = [tally(3, Tallied.ACTION, 7), tally(3, Tallied.ACTION, 7, "ann"), tally(3, Tallied.STEPS, 2)]
            tx.odds.add_tallies(HOME, [*counted, tally(4, Tallied.ACTION, 2), tally(EVERYWHERE, Tallied.ACTION, 2)])
            tx.odds.add_tallies(OTHER, [tally(3, Tallied.ACTION, 2)])
    with store.read(ALICE) as tx:
        assert tx.odds.tried(HOME, 3) == [Tried(2, 4, 0, 0), Tried(7, 3, 5, 2), Tried(9, 0, 0, 0)]
        assert tx.odds.tried(HOME, 5) == []
    with store.read(BOB) as tx:
        assert tx.odds.tried(HOME, 3)[1] == Tried(7, 21, 5, 2)


def test_predictions_keep_their_order_until_they_are_dropped(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        for probability, steps in ((0.1 + 0.2, 4), (1e-300, None), (1.0, 0), (0.5, 9)):
            tx.odds.add_prediction(HOME, "e", told(probability, steps), 5, 3)
        tx.odds.add_prediction(HOME, "f", told(0.25, agent=None), 6, 3)
    with store.read(ALICE) as tx:
        assert tx.odds.predictions(HOME, "e") == [told(0.1 + 0.2, 4), told(1e-300, 1), told(1.0, 0)]
        assert tx.odds.predictions(HOME, "f") == [told(0.25, agent=None)]
    with store.write(ALICE) as tx:
        tx.odds.drop_predictions(HOME, "e")
    with store.read(ALICE) as tx:
        assert (tx.odds.predictions(HOME, "e"), len(tx.odds.predictions(HOME, "f"))) == ([], 1)


def test_what_is_told_of_an_episode_that_ended_is_not_kept(store: SqlStore) -> None:
    episode = EpisodeRecord(episode_id="e", sequence=1, body_sha256=b"\1" * 32, success=None, outcome_sequence=None)
    for success, kept in ((None, [told(0.5)]), (True, [told(0.5)]), (False, [told(0.5)])):
        with store.write(ALICE) as tx:
            tx.experience.save_episode(HOME, replace(episode, success=success))
            tx.odds.add_prediction(HOME, "e", told(0.5), 5, 3)
            assert tx.odds.predictions(HOME, "e") == kept
            assert tx.experience.episode(HOME, "e") == replace(episode, success=success)


def test_predictions_of_old_runs_expire(store: SqlStore) -> None:
    for tenant, now_ms in ((ALICE, 5), (BOB, 9)):
        with store.write(tenant) as tx:
            tx.odds.add_prediction(HOME, "e", told(0.5), now_ms, 3)
    assert (store.expire_predictions(4), store.expire_predictions(5), store.expire_predictions(5)) == (0, 1, 0)
    with store.read(BOB) as tx:
        assert len(tx.odds.predictions(HOME, "e")) == 1


def test_scores_add_up(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        tx.odds.add_scores(HOME, [score(), score(LONG), score(kind=Scored.STOP)])
    with store.write(ALICE) as tx:
        tx.odds.add_scores(HOME, [score()])
    twice = replace(score(), count=6, successes=2, predicted=0.6000000000000001, squares=2e-9, steps=14)
    with store.read(ALICE) as tx:
        assert sorted(tx.odds.scores(HOME), key=repr) == sorted([twice, score(LONG), score(kind=Scored.STOP)], key=repr)
        assert tx.odds.scores(HOME, LONG) == [score(LONG)]
        assert sorted(tx.odds.scores(HOME, EVERYONE), key=repr) == sorted([twice, score(kind=Scored.STOP)], key=repr)
        assert tx.odds.scores(HOME, "nobody") == []


def test_tenants_and_namespaces_are_apart_and_are_deleted_apart(store: SqlStore) -> None:
    homes = [(ALICE, HOME), (ALICE, OTHER), (BOB, HOME)]
    for tenant, namespace in homes:
        with store.write(tenant) as tx:
            tx.save_namespace(record(namespace))
            tx.odds.add_tallies(namespace, [tally(agent="ann")])
            tx.odds.add_scores(namespace, [score("ann")])
            tx.odds.add_prediction(namespace, "e", told(0.5), 1, 3)
    with store.write(ALICE) as tx:
        tx.clear_namespace(HOME)
    for tenant, namespace in homes:
        with store.read(tenant) as tx:
            kept = 0 if (tenant, namespace) == (ALICE, HOME) else 1
            odds = tx.odds
            found = [odds.tallies(namespace), odds.scores(namespace), odds.predictions(namespace, "e")]
            assert [len(one) for one in found] == [kept] * 3
