"""RecSim: one object a user, ``step(slate)`` on its gym environment. Argument: file of arrays.

Environment, gym face, users, documents and samplers are RecSim's own classes (Ie et al. 2019, arXiv
1909.04847); what a user does on a page is the response model of the file, in numpy as in RecSim's
own environments. A slate is the whole candidate set, which is the least work that RecSim allows.
Only the modules that step are loaded: its package as a whole wants TensorFlow for its agents.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
import time
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
from protocol import serve

GLAD = ("like", "follow", "comment", "forward")


def only_modules() -> None:
    """Make RecSim's modules importable one by one: its packages would load more beside them."""
    spec = importlib.util.find_spec("recsim")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("recsim is not installed")
    (root,) = spec.submodule_search_locations
    for name, folder in (("recsim", root), ("recsim.simulator", f"{root}/simulator")):
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package


only_modules()
document, user, environment, recsim_gym = (
    importlib.import_module(f"recsim.{name}")
    for name in ("document", "user", "simulator.environment", "simulator.recsim_gym")
)
spaces = importlib.import_module("gym.spaces")


class Network:
    """One hidden layer, then a scale and an offset for each output."""

    def __init__(self, arrays: dict[str, np.ndarray], name: str) -> None:
        parts = ("first", "bias", "second", "rest", "scale", "offset")
        self._parts = [arrays[f"{name}.{part}"] for part in parts]

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """Logits."""
        first, bias, second, rest, scale, offset = self._parts
        return (np.maximum(row @ first + bias, 0.0) @ second + rest) * scale + offset


@dataclass
class World:
    """Items, users and the response model out of the file."""

    arrays: dict[str, np.ndarray]
    told: dict[str, Any]
    first: Network
    second: Network

    @staticmethod
    def read(file: str) -> World:
        """The world that the other side has written down."""
        arrays = dict(np.load(file))
        told = json.loads(str(arrays.pop("told")))
        return World(arrays, told, Network(arrays, "first"), Network(arrays, "second"))

    def item(self, name: str, row: int) -> Any:
        """What is known of an item."""
        return self.arrays[f"items.{name}"][row]

    def person(self, name: str, row: int) -> Any:
        """What is known of a user."""
        return self.arrays[f"persona.{name}"][row]


class Item(document.AbstractDocument):  # type: ignore[misc]
    """An item on a page."""

    def __init__(self, doc_id: int, row: int, vector: np.ndarray) -> None:
        super().__init__(doc_id)
        self.row, self._vector = row, vector

    def create_observation(self) -> np.ndarray:
        """Its vector."""
        return self._vector

    @classmethod
    def observation_space(cls) -> Any:
        """Vectors have unit length."""
        return spaces.Box(shape=(1,), dtype=np.float32, low=-1.0, high=1.0)


class Items(document.AbstractDocumentSampler):  # type: ignore[misc]
    """Items at random, as in the table that the other side shows."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._drawn = world, 0
        super().__init__(Item, seed)

    def sample_document(self) -> Item:
        """Any item."""
        self._drawn += 1
        row = int(self._rng.randint(self._world.told["items"]))
        return Item(self._drawn, row, self._world.item("vectors", row))


class Response(user.AbstractResponse):  # type: ignore[misc]
    """What became of one place of a page."""

    def __init__(self, taken: bool, amount: float, satisfaction: float) -> None:
        self.taken, self.amount, self.satisfaction = taken, amount, satisfaction

    def create_observation(self) -> np.ndarray:
        """All of it."""
        return np.array([self.taken, self.amount, self.satisfaction], dtype=np.float32)

    @staticmethod
    def response_space() -> Any:
        """Three numbers."""
        return spaces.Box(shape=(3,), dtype=np.float32, low=0.0, high=np.inf)


class Person(user.AbstractUserState):  # type: ignore[misc]
    """One user, rested."""

    def __init__(self, world: World, row: int) -> None:
        self.row, self.left = row, False
        self.mood = float(np.clip(world.told["mood"] + world.person("mood", row), 0.0, 1.0))
        self.last, self.place, self.bad = self.mood, 0.0, 0.0
        self.recent = world.person("recent", row)

    def create_observation(self) -> np.ndarray:
        """What was just seen."""
        return self.recent

    @staticmethod
    def observation_space() -> Any:
        """A mean of unit vectors."""
        return spaces.Box(shape=(1,), dtype=np.float32, low=-1.0, high=1.0)


class People(user.AbstractUserSampler):  # type: ignore[misc]
    """The users of the file, one after another."""

    def __init__(self, world: World) -> None:
        self._world, self._next = world, 0
        super().__init__(Person)

    def sample_user(self) -> Person:
        """The next one."""
        row, self._next = self._next, (self._next + 1) % self._world.told["users"]
        return Person(self._world, row)


class Model(user.AbstractUserModel):  # type: ignore[misc]
    """How a user goes through a page, place by place."""

    def __init__(self, world: World, slate_size: int, seed: int) -> None:
        super().__init__(Response, People(world), slate_size)
        self._world, self._rng = world, np.random.RandomState(seed)

    def is_terminal(self) -> bool:
        """Whether the user has left."""
        return self._user_state.left

    def update_state(self, slate_documents: list[Item], responses: list[Response]) -> None:
        """Moods change at each place already, because the next place depends on them."""

    def simulate_response(self, documents: list[Item]) -> list[Response]:
        """What the user does with each place."""
        state, told, chance = self._user_state, self._world.told, self._rng.random_sample
        noticing, found = 1.0, []
        for item in documents:
            sees = not state.left
            if not told["shown"]:
                sees = sees and chance() < noticing
                noticing *= self._world.arrays["attention"][state.row]
            found.append(self._experience(item) if sees else Response(False, 0.0, 0.0))
        anything = any(response.taken for response in found)
        if not told["shown"] and not anything and not state.left:
            state.left = chance() < told["priors"]["empty_page"]
        return found

    def _experience(self, item: Item) -> Response:
        world, state, told = self._world, self._user_state, self._world.told
        chance, n = self._rng.random_sample, told["n_levels"]
        scaled = (self._faced(item) - world.arrays["centre"]) / world.arrays["spread"]
        scaled = np.clip(scaled, -5.0, 5.0)
        outputs = world.first(scaled)
        if not told["shown"] and chance() >= _sigmoid(outputs[n]):
            return Response(False, 0.0, 0.0)
        weights = np.exp(outputs[:n] - outputs[:n].max())
        level = min(int((weights.cumsum() < chance() * weights.sum()).sum()), n - 1)
        amount = _inside(world.arrays["within"][level], chance())
        seconds = 0.0
        if told["measure"] == "watch_ratio":
            seconds = amount * world.item("seconds", item.row)
        content = amount
        if told["measure"] == "rating":
            content = (amount - told["low"]) / max(told["high"] - told["low"], 1e-6)
        content = min(1.0, max(0.0, content))
        done: dict[str, bool] = {}
        leaving = 0.0
        if told["reactions"] or told["timed"]:
            watched = [min(amount, 5.0), content, math.log1p(seconds)]
            chances = _sigmoid(world.second(np.concatenate([scaled, watched])))
            drawn = (
                self._rng.random_sample(len(told["reactions"])) < chances[: len(told["reactions"])]
            )
            done = dict(zip(told["reactions"], drawn.tolist(), strict=True))
            leaving = float(chances[-1]) if told["timed"] else 0.0
        if any(done.get(name, False) for name in GLAD):
            content = 1.0
        if done.get("hate", False):
            content = 0.0
        if not told["timed"]:
            priors = told["priors"]
            logit = priors["leave"] + priors["fatigue"] * math.log2(state.place + 1)
            logit += world.arrays["impatience"][state.row]
            leaving = _sigmoid(logit - priors["mood_holds"] * (state.mood - told["mood"]))
        self._felt(content, world.item("vectors", item.row))
        state.left = chance() < leaving
        return Response(True, amount, content)

    def _faced(self, item: Item) -> np.ndarray:
        world, state, row = self._world, self._user_state, item.row
        vector, quality = world.item("vectors", row), world.item("quality", row)
        repeats = state.recent @ vector
        maverick, diverse = (world.person(name, state.row) for name in ("maverick", "diverse"))
        own = {name: world.person(name, state.row) for name in ("taste", "liking", "tags")}
        return np.array(
            [
                own["taste"] @ vector,
                own["liking"] @ vector,
                own["tags"] @ world.item("tags", row),
                quality,
                world.item("appeal", row),
                world.item("popularity", row),
                world.item("length", row),
                world.person("content", state.row),
                world.person("keen", state.row),
                world.person("activity", state.row),
                maverick,
                maverick * quality,
                diverse,
                world.person("patience", state.row),
                world.person("often", state.row),
                math.log1p(state.place),
                state.mood,
                state.last,
                math.log1p(state.bad),
                repeats,
                diverse * repeats,
            ]
        )

    def _felt(self, satisfaction: float, vector: np.ndarray) -> None:
        state, priors = self._user_state, self._world.told["priors"]
        state.mood += priors["mood_rate"] * (satisfaction - state.mood)
        state.last = satisfaction
        state.bad = state.bad + 1 if satisfaction < priors["bad_below"] else 0.0
        state.place += 1
        state.recent = state.recent + priors["recent_rate"] * (vector - state.recent)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _inside(steps: np.ndarray, where: float) -> float:
    at = where * (len(steps) - 1)
    below = min(int(at), max(len(steps) - 2, 0))
    above = min(below + 1, len(steps) - 1)
    return float(steps[below] + (steps[above] - steps[below]) * (at - below))


def main() -> None:
    """Step through a visit of every user, once for each call."""
    world = World.read(sys.argv[1])
    size, most, users = (world.told[name] for name in ("page_size", "most_pages", "users"))
    raw = environment.SingleUserEnvironment(Model(world, size, 0), Items(world, 0), size, size)
    stepped = recsim_gym.RecSimGymEnv(raw, lambda found: sum(one.satisfaction for one in found))
    page = list(range(size))

    def once() -> dict[str, float]:
        begin, pages, enjoyment = time.process_time(), 0, 0.0
        for _ in range(users):
            stepped.reset()
            for _ in range(most):
                _, reward, done, _ = stepped.step(page)
                pages, enjoyment = pages + 1, enjoyment + reward
                if done:
                    break
        spent = time.process_time() - begin
        return {"cpu_seconds": spent, "pages": pages, "enjoyment": enjoyment / users}

    serve(once)


main()
