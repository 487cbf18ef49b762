import tiny
from steer._judges import Exchange
from steer._tasks import Setting
from steer._tasks._judging import verdicts

EXCHANGES = [Exchange("a", "1"), Exchange("b", "2"), Exchange("c", "3"), Exchange("d", "4")]


def test_the_first_judge_decides_from_one_half_on_and_all_are_kept() -> None:
    seen = []

    def first(exchanges: list[Exchange]) -> list[float | None]:
        seen.append(exchanges)
        return [0.5, 0.49, None, 1.0]

    judges = {"first": first, "second": lambda _: [0.0, 1.0, 0.9, None]}
    found = verdicts(Setting(tiny.model(), "plain", judges=judges), EXCHANGES, "refused")
    assert seen == [EXCHANGES]
    assert found == [
        {"refused": 1.0, "judged": {"first": 0.5, "second": 0.0}},
        {"refused": 0.0, "judged": {"first": 0.49, "second": 1.0}},
        {"refused": None, "judged": {"first": None, "second": 0.9}},
        {"refused": 1.0, "judged": {"first": 1.0, "second": None}},
    ]


def test_without_a_judge_there_is_no_verdict() -> None:
    found = verdicts(Setting(tiny.model(), "plain"), EXCHANGES[:1], "refused")
    assert found == [{"refused": None, "judged": {}}]
