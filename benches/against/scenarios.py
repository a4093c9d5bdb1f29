"""What is measured, in the order in which each builder goes through it."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    bumped: tuple[str, ...] | None   # runtimes whose base moves before; () is all, None is no base
    text: str


SCENARIOS = (
    Scenario("cold", None, "engine, builder and target repository have nothing"),
    Scenario("unchanged", None, "the same call again"),
    Scenario("one-base", ("python3.11",), "python3.11's base has moved (railyard: update and build)"),
    Scenario("all-bases", (), "every base has moved (railyard: update and build)"),
)
BARE = "bare"


@dataclass(frozen=True)
class Goal:
    scenario: str
    figure: str
    against: str | None   # the builder in the denominator; None: the figure itself
    most: float

    @property
    def text(self):
        return "%s: %s" % (self.scenario, "railyard" if self.against is None else "railyard / " + self.against)


# Any of a row's goals will do.
GOALS = (
    (Goal("cold", "wall_s", "bake", 1.0),),
    (Goal("cold", "wall_s", BARE, 1.15),),
    (Goal("cold", "sent_bytes", "bake", 1.0),),
    (Goal("unchanged", "wall_s", None, 0.3), Goal("unchanged", "wall_s", "bake", 0.25)),
    (Goal("one-base", "wall_s", "bake", 0.5),),
    (Goal("one-base", "sent_bytes", "bake", 1.0),),
    (Goal("all-bases", "sent_bytes", "bake", 1.0),),
)
