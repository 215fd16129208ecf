"""The checker reports what is wrong in a history, and nothing in one in which all is well."""

from dataclasses import replace

import pytest
from tests.chaos.checker import KINDS, LIVE_BOUND, LOST_BOUND, SETTLING, check, is_calm, worst_gap
from tests.chaos.history import Attempt, By, History, Kept, Outcome, Revocation, Sighting, Trouble
from tests.chaos.report import lines

GRANT = "grant"


def attempt(
    generation: int, at: float, outcome: Outcome = "rotated", *, answer: str = "", by: By = "client", took: float = 0.1
) -> Attempt:
    said = {"rotated": "200", "refused": "400 invalid_grant", "unknown": "timeout"}[outcome]
    return Attempt(
        grant=GRANT,
        generation=generation,
        presented=f"r{generation}",
        by=by,
        sent_at=at,
        over_at=at + took,
        outcome=outcome,
        answer=answer or said,
        successor=(f"r{generation + 1}", generation + 1) if outcome == "rotated" else None,
    )


def revocation(asked_at: float, done_at: float | None = None, access_token: str | None = None) -> Revocation:
    return Revocation(grant=GRANT, access_token=access_token, asked_at=asked_at, done_at=done_at)


def sighting(
    *, accepted_at: float | None = None, rejected_at: float | None = None, access_token: str = "a1"
) -> Sighting:
    return Sighting(
        verifier="v", grant=GRANT, access_token=access_token, accepted_at=accepted_at, rejected_at=rejected_at
    )


def kinds(history: History) -> set[str]:
    return {violation.kind for violation in check(history)}


def test_a_client_that_asks_again_until_it_is_answered() -> None:
    """Unanswered, answered late with the same token, refused by nobody: that is how it should be."""
    history = History(
        attempts=[
            attempt(1, 0),
            attempt(2, 1, "unknown", answer="503 temporarily_unavailable"),
            attempt(2, 2, "unknown", took=3),
            attempt(2, 5.5),
            attempt(3, 7),
        ],
        kept=[Kept(grant=GRANT, generation=4, has_ended=False)],
    )
    assert check(history) == []
    assert worst_gap(history) == pytest.approx(4.6)


class TestSessions:
    def test_invalid_grant_that_nobody_has_asked_for(self) -> None:
        refused = [attempt(1, 0), attempt(2, 1, "refused"), attempt(2, 2, "refused")]
        assert kinds(History(attempts=refused)) == {"false invalid_grant", "lost session"}

    def test_invalid_grant_once_is_false_even_if_the_session_is_not_lost(self) -> None:
        history = History(attempts=[attempt(1, 0), attempt(2, 1, "refused"), attempt(2, 2)])
        assert kinds(history) == {"false invalid_grant"}

    def test_no_answer_to_the_end(self) -> None:
        history = History(attempts=[attempt(1, 0), attempt(2, 1, "unknown"), attempt(2, 2, "unknown")])
        assert kinds(history) == {"lost session"}

    def test_one_of_two_at_once_may_go_unanswered(self) -> None:
        history = History(attempts=[attempt(1, 0), attempt(2, 1), attempt(2, 1, "unknown", took=5)])
        assert check(history) == []

    @pytest.mark.parametrize("done_at", [1.4, None])
    def test_a_revoked_grant_is_refused(self, done_at: float | None) -> None:
        history = History(
            attempts=[attempt(1, 0), attempt(2, 1.5, "refused")],
            revocations=[revocation(1.3, done_at)],
        )
        assert check(history) == []

    def test_refused_before_the_revocation_was_asked_for(self) -> None:
        history = History(
            attempts=[attempt(1, 0), attempt(2, 1, "refused")],
            revocations=[revocation(1.3, 1.4)],
        )
        assert kinds(history) == {"false invalid_grant"}

    def test_a_revoked_access_token_does_not_end_the_session(self) -> None:
        history = History(
            attempts=[attempt(1, 0), attempt(2, 1.5, "refused")],
            revocations=[revocation(1.3, 1.4, "a1")],
        )
        assert kinds(history) == {"false invalid_grant", "lost session"}


class TestLineages:
    def test_two_successors_of_one_token(self) -> None:
        other = replace(attempt(2, 1), successor=("another", 3))
        assert kinds(History(attempts=[attempt(1, 0), attempt(2, 1), other])) == {"double lineage"}

    def test_the_same_successor_twice_is_one(self) -> None:
        assert check(History(attempts=[attempt(1, 0), attempt(2, 1), attempt(2, 1.05)])) == []

    def test_a_successor_that_is_not_the_next(self) -> None:
        history = History(attempts=[attempt(1, 0), replace(attempt(2, 1), successor=("r9", 9))])
        assert kinds(history) == {"double lineage"}

    def test_an_old_token_is_accepted(self) -> None:
        history = History(attempts=[attempt(1, 0), attempt(2, 1), attempt(1, 2, by="thief")])
        assert kinds(history) == {"double lineage"}

    def test_the_predecessor_of_an_unused_token_is_no_branch(self) -> None:
        history = History(attempts=[attempt(1, 0), attempt(2, 1), attempt(2, 2, by="thief")])
        assert check(history) == []

    def test_an_old_token_that_was_under_way_all_the_time_is_no_branch(self) -> None:
        history = History(attempts=[attempt(1, 0), attempt(2, 1), attempt(1, 0.05, took=5)])
        assert check(history) == []

    def test_a_row_that_was_behind_its_client(self) -> None:
        kept = Kept(grant=GRANT, generation=2, has_ended=False, fast_forwards=1)
        assert kinds(History(attempts=[attempt(1, 0)], kept=[kept])) == {"double lineage"}


class TestRevocations:
    @pytest.mark.parametrize(("sent_at", "found"), [(1.45, set()), (1.6, {"refreshed after revocation"})])
    def test_a_grant_refreshes_after_its_end_was_answered(self, sent_at: float, found: set[str]) -> None:
        history = History(attempts=[attempt(1, 0), attempt(2, sent_at)], revocations=[revocation(1.4, 1.5)])
        assert kinds(history) == found

    @pytest.mark.parametrize("name", [None, "a1"])
    @pytest.mark.parametrize(("late", "found"), [(-0.1, set()), (0.1, {"revoked token accepted"})])
    def test_accepted_while_nothing_was_wrong(self, name: str | None, late: float, found: set[str]) -> None:
        history = History(
            revocations=[revocation(99, 100, name)],
            sightings=[sighting(accepted_at=100 + LIVE_BOUND + late)],
            troubles=[Trouble(kind="a fault", target="", began_at=10, ended_at=20)],
        )
        assert kinds(history) == found

    @pytest.mark.parametrize(("late", "found"), [(-0.1, set()), (0.1, {"revoked token accepted"})])
    def test_accepted_among_faults(self, late: float, found: set[str]) -> None:
        history = History(
            revocations=[revocation(99, 100)],
            sightings=[sighting(accepted_at=100 + LOST_BOUND + late)],
            troubles=[Trouble(kind="a fault", target="", began_at=98, ended_at=99)],
        )
        assert kinds(history) == found

    def test_another_token_of_the_grant_is_not_revoked_with_it(self) -> None:
        history = History(
            revocations=[revocation(99, 100, "a1")],
            sightings=[sighting(accepted_at=500, access_token="a2")],
        )
        assert check(history) == []

    def test_a_revocation_that_was_never_answered_promises_nothing(self) -> None:
        history = History(revocations=[revocation(99)], sightings=[sighting(accepted_at=500)])
        assert check(history) == []

    def test_rejected_though_nobody_has_taken_it_back(self) -> None:
        assert kinds(History(sightings=[sighting(rejected_at=100)])) == {"false rejection"}
        assert check(History(sightings=[sighting(rejected_at=100)], revocations=[revocation(99)])) == []

    @pytest.mark.parametrize(
        ("code", "expires_at", "found"),
        [
            ("expired", 100, set()),
            ("expired", 101, {"false rejection"}),
            ("expired", None, {"false rejection"}),
            ("bad_signature", 100, {"false rejection"}),
        ],
    )
    def test_what_is_over_may_be_rejected(self, code: str, expires_at: float | None, found: set[str]) -> None:
        one = replace(sighting(rejected_at=100), code=code, expires_at=expires_at)
        assert kinds(History(sightings=[one])) == found

    @pytest.mark.parametrize(
        ("at", "expected"),
        [(9 - LIVE_BOUND, True), (11 - LIVE_BOUND, False), (15, False), (19 + SETTLING, False), (21 + SETTLING, True)],
    )
    def test_calm_is_away_from_all_faults(self, at: float, *, expected: bool) -> None:
        trouble = Trouble(kind="a fault", target="", began_at=10, ended_at=20)
        assert is_calm(History(troubles=[trouble]), at) is expected


class TestStore:
    @pytest.mark.parametrize(("generation", "found"), [(3, set()), (4, set()), (2, {"forgotten by the store"})])
    def test_a_rotation_that_was_answered(self, generation: int, found: set[str]) -> None:
        """One more than the client knows is a commit whose answer was lost."""
        kept = [Kept(grant=GRANT, generation=generation, has_ended=False)]
        assert kinds(History(attempts=[attempt(1, 0), attempt(2, 1)], kept=kept)) == found

    @pytest.mark.parametrize(("has_ended", "found"), [(True, set()), (False, {"forgotten by the store"})])
    def test_a_revocation_that_was_answered(self, has_ended: bool, found: set[str]) -> None:
        kept = [Kept(grant=GRANT, generation=2, has_ended=has_ended)]
        assert kinds(History(attempts=[attempt(1, 0)], revocations=[revocation(1, 2)], kept=kept)) == found

    def test_a_grant_that_is_gone(self) -> None:
        other = Kept(grant="another", generation=1, has_ended=False)
        assert kinds(History(attempts=[attempt(1, 0)], kept=[other])) == {"forgotten by the store"}
        assert check(History(attempts=[attempt(1, 0)], revocations=[revocation(1, 2)], kept=[other])) == []


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("503 temporarily_unavailable", set()),
        ("502", set()),
        ("429 temporarily_unavailable", set()),
        ("ConnectionResetError", set()),
        ("500 server_error", {"strange answer"}),
        ("401 invalid_client", {"strange answer"}),
        ("400 invalid_request", {"strange answer"}),
    ],
)
def test_answers_after_which_a_client_asks_again(answer: str, found: set[str]) -> None:
    history = History(attempts=[attempt(1, 0, "unknown", answer=answer), attempt(1, 1)])
    assert kinds(history) == found


def test_the_report_names_every_kind_and_what_was_wrong() -> None:
    history = History(attempts=[attempt(1, 0, "refused")])
    said = lines(history, check(history), {"400 invalid_grant": 1})
    assert all(any(line.startswith(f"{kind}: ") for line in said) for kind in KINDS)
    assert {"lost session: 1", "false invalid_grant: 1", "double lineage: 0"} <= set(said)
    assert any(GRANT in line for line in said)
