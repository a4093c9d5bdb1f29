"""What is measured, in the order in which each builder goes through it."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    bumped: tuple[str, ...] | None   # runtimes whose base moves before; () is all, None is no base
    text: str
    far: bool = False                # measured once more with a registry that is far away
    railyard_only: bool = False      # others have nothing that could be compared


SCENARIOS = (
    Scenario("cold", None, "engine, builder and target repository have nothing"),
    Scenario("unchanged", None, "the same call again", far=True),
    Scenario("empty-store", None, "the same with an empty store: another machine", far=True, railyard_only=True),
    Scenario("one-base", ("python3.11",), "python3.11's base has moved (railyard: update and build)"),
    Scenario("companion", ("nodejs18.x",), "the base that npm runs in, and others copy from, has moved"),
    Scenario("all-bases-no-reads", (), "every base has moved, the manifest has no `reads`", railyard_only=True),
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
    (Goal("unchanged", "wall_s", None, 0.3), Goal("unchanged", "wall_s", "bake", 0.1)),
    (Goal("empty-store", "containers", None, 0),),
    (Goal("empty-store", "stored_bytes", None, 0),),
    (Goal("empty-store", "far_writes", None, 0),),
    (Goal("one-base", "wall_s", "bake", 0.2),),
    (Goal("one-base", "containers", None, 0),),
    (Goal("one-base", "sent_bytes", "bake", 1.0),),
    (Goal("companion", "wall_s", "bake", 0.2),),
    (Goal("companion", "containers", None, 0),),
    (Goal("all-bases", "wall_s", "bake", 0.05),),
    (Goal("all-bases", "containers", None, 0),),
    (Goal("all-bases", "sent_bytes", "bake", 1.0),),
)
