"""Questions about remembered experience, made from the traces in the shared data folder without a language model.

A question never repeats a memory: household goals and things are put in other words (templates and synonyms below);
airline questions are what another run's customer said, or the customer's instruction, which the agent does not see.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

DEVELOPMENT_TENTHS = 3
"""Of ten groups, those whose questions only choose parameters; the others' questions only report."""

Goal = tuple[str, str, str]
"""What kind of task, with which thing, at which place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query, the rows that answer it, and the task or goal that it was made from."""

    text: str
    answers: frozenset[int]
    group: str

    @property
    def development(self) -> bool:
        """Whether it chooses parameters rather than reports."""
        return blake2b(self.group.encode(), digest_size=8).digest()[-1] % 10 < DEVELOPMENT_TENTHS


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Memories, one a row, and questions about them."""

    name: str
    memories: list[str]
    questions: list[Question]


THINGS = {
    "alarmclock": ("alarm clock", "thing that wakes people up"),
    "apple": ("apples", "round fruit"),
    "book": ("books", "paperback"),
    "bowl": ("bowls", "deep dish"),
    "box": ("boxes", "cardboard container"),
    "bread": ("loaf of bread", "loaf"),
    "butterknife": ("butter knife", "blunt knife"),
    "candle": ("candles", "wax light"),
    "cd": ("compact disc", "music disc"),
    "cellphone": ("cell phone", "mobile phone"),
    "cloth": ("cloths", "rag"),
    "creditcard": ("credit card", "bank card"),
    "cup": ("cups", "drinking vessel"),
    "desklamp": ("desk lamp", "reading light"),
    "dishsponge": ("sponge for dishes", "scrubbing pad"),
    "egg": ("eggs", "hen's egg"),
    "fork": ("forks", "pronged cutlery"),
    "glassbottle": ("glass bottle", "bottle made of glass"),
    "handtowel": ("hand towel", "small towel"),
    "houseplant": ("house plant", "potted plant"),
    "keychain": ("key chain", "bunch of keys"),
    "knife": ("knives", "sharp blade"),
    "laptop": ("laptop computer", "notebook computer"),
    "lettuce": ("head of lettuce", "salad leaves"),
    "mug": ("coffee mug", "cup with a handle"),
    "newspaper": ("news paper", "daily press"),
    "pan": ("frying pan", "skillet"),
    "papertowelroll": ("roll of paper towels", "kitchen roll"),
    "pen": ("pens", "ballpoint"),
    "pencil": ("pencils", "thing to write with"),
    "peppershaker": ("pepper shaker", "pepper pot"),
    "pillow": ("pillows", "cushion"),
    "plate": ("plates", "flat dish"),
    "pot": ("pots", "cooking pot"),
    "potato": ("potatoes", "spud"),
    "remotecontrol": ("remote control", "TV remote"),
    "saltshaker": ("salt shaker", "salt cellar"),
    "soapbar": ("bar of soap", "piece of soap"),
    "soapbottle": ("bottle of soap", "liquid soap"),
    "spatula": ("spatulas", "turner for pancakes"),
    "spoon": ("spoons", "scoop-shaped cutlery"),
    "spraybottle": ("spray bottle", "sprayer"),
    "statue": ("statues", "sculpture"),
    "tissuebox": ("box of tissues", "tissues"),
    "toiletpaper": ("toilet paper", "bathroom tissue"),
    "tomato": ("tomatoes", "red fruit for salad"),
    "towel": ("towels", "bath towel"),
    "vase": ("vases", "flower holder"),
    "watch": ("wrist watch", "timepiece"),
}

PLACES = {
    "cabinet": ("the cupboard", "one of the cabinets"),
    "coffeemachine": ("the coffee maker", "the coffee machine"),
    "countertop": ("the counter", "the kitchen worktop"),
    "desk": ("the writing table", "one of the desks"),
    "desklamp": ("the desk lamp", "the lamp"),
    "drawer": ("one of the drawers", "the chest of drawers"),
    "fridge": ("the refrigerator", "the icebox"),
    "garbagecan": ("the trash", "the garbage can"),
    "microwave": ("the microwave oven", "the microwaves"),
    "safe": ("the strongbox", "the safes"),
    "shelf": ("one of the shelves", "the rack"),
    "toilet": ("the lavatory", "the toilets"),
}

DEEDS = {
    "clean": ("wash {thing} before leaving it at {place}", "rinse {thing}, then bring it to {place}"),
    "heat": ("warm {thing} up before leaving it at {place}", "get {thing} warm, then bring it to {place}"),
    "cool": ("chill {thing} before leaving it at {place}", "get {thing} cold, then bring it to {place}"),
    "put": ("move {thing} over to {place}", "bring {thing} to {place}"),
    "puttwo": ("bring a pair of {thing} to {place}", "move both {thing} over to {place}"),
    "examine": ("inspect {thing} in the light of {place}", "study {thing} beside {place}"),
}

PAST = {
    "goto": "went to {0}",
    "open_receptacle": "opened {0}",
    "close_receptacle": "closed {0}",
    "take_from": "took {0} from {1}",
    "put": "put {0} in {1}",
    "clean": "cleaned {0} with {1}",
    "heat": "heated {0} with {1}",
    "cool": "cooled {0} with {1}",
    "use": "used {0}",
    "toggle": "toggled {0}",
}

_SEEN = re.compile(r"\ban? ([a-z]+) \d+")
_PLACE = re.compile(r"^(?:On|In|You open) the ([a-z]+ \d+)")
_NAMED = re.compile(r"\w+_\w+_\d+|\b(?=[A-Z]*\d)[A-Z0-9]{6}\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
EPISODES_PER_TASK = 3
PLACES_MAX = 2
FIND_QUESTIONS = 600
UTTERANCE_WORDS_MIN = 8
SENTENCE_WORDS_MIN = 6
RESULT_CHARS = 300
FIRST_TRIALS = (0, 1)
LOOKUPS = frozenset({"think", "calculate", "transfer_to_human_agents"})


def tasks(data: Path) -> Iterator[Task]:
    """Every task. Raises `FileNotFoundError` where the data is absent."""
    with gzip.open(data / "alfworld" / "episodes.jsonl.gz", "rt", encoding="utf-8") as lines:
        episodes = [json.loads(line) for line in lines]
    talks = json.loads((data / "tau_airline" / "trajectories.json").read_text(encoding="utf-8"))
    yield _which_run(episodes)
    yield _where_seen(episodes)
    yield _same_talk(talks)
    yield _same_call(talks)
    yield _what_was_wished(talks)


def _goal(episode: Mapping[str, Any]) -> Goal:
    return episode["goal_type"], episode["target"], episode["dest"]


def _said(goal: Goal) -> list[str]:
    """The goal in other words, eight times."""
    kind, thing, place = goal
    return [
        deed.format(thing=f"the {name}" if kind != "puttwo" else name, place=where)
        for deed in DEEDS[kind]
        for name in THINGS[thing]
        for where in PLACES[place]
    ]


def _past(step: Mapping[str, Any]) -> str:
    name, args = step["action"]["name"], step["action"]["args"]
    return PAST[name].format(*args, "it", "it") if name in PAST and args else ""


def _which_run(episodes: list[dict[str, Any]]) -> Task:
    """Runs of household tasks, asked for by goal."""
    taken: dict[str, int] = {}
    memories: list[str] = []
    goals: list[Goal] = []
    for episode in sorted(episodes, key=lambda one: (one["group"], not one["success"], one["episode_id"])):
        if taken.setdefault(episode["group"], 0) < EPISODES_PER_TASK:
            taken[episode["group"]] += 1
            deeds = ", ".join(filter(None, map(_past, episode["steps"])))
            ended = "It worked." if episode["success"] else "It did not work."
            memories.append(f"Task: {episode['goal']}. I {deeds}. {ended}")
            goals.append(_goal(episode))
    questions = [
        Question(
            text=f"How did I {said}?" if at % 2 else f"the time I had to {said}",
            answers=frozenset(row for row, other in enumerate(goals) if other == goal),
            group="/".join(goal),
        )
        for goal in sorted(set(goals))
        for at, said in enumerate(_said(goal))
    ]
    return Task(name="household: which run", memories=memories, questions=questions)


def _where_seen(episodes: list[dict[str, Any]]) -> Task:
    """Looks at a place during a task, asked for by goal and a thing seen there."""
    looks: dict[tuple[Goal, str, str], set[str]] = {}
    for episode in episodes:
        for step in episode["steps"]:
            place = _PLACE.match(step["observation"])
            if place and "you see" in step["observation"]:
                seen = set(_SEEN.findall(step["observation"].split("you see", 1)[1]))
                text = f"While I had to {episode['goal']}, I looked at {place[1]}. {step['observation']}"
                looks.setdefault((_goal(episode), episode["group"], text), set()).update(seen)
    memories = sorted(looks)
    where: dict[tuple[Goal, str], set[int]] = {}
    for row, key in enumerate(memories):
        for thing in looks[key]:
            where.setdefault((key[0], thing), set()).add(row)
    rare = sorted(key for key, rows in where.items() if len(rows) <= PLACES_MAX and key[1] in THINGS)
    rng = random.Random(1)
    questions = []
    for goal, thing in rng.sample(rare, min(len(rare), FIND_QUESTIONS)):
        said = rng.choice(_said(goal))
        name = rng.choice(THINGS[thing])
        questions.append(
            Question(
                text=f"Where did I come across the {name} when I was asked to {said}?",
                answers=frozenset(where[goal, thing]),
                group="/".join(goal),
            )
        )
    return Task(name="household: where seen", memories=[text for _, _, text in memories], questions=questions)


def _turns(talk: Mapping[str, Any], roles: frozenset[str]) -> Iterator[tuple[str, str]]:
    for message in talk["traj"]:
        if message["role"] in roles and message.get("content"):
            yield message["role"], message["content"]


def _same_talk(talks: list[dict[str, Any]]) -> Task:
    """What customers and agents said in the first two runs, asked for by what the customer says in another run."""
    said = [
        (talk["task_id"], f"{'Customer' if role == 'user' else 'Agent'}: {text}")
        for talk in talks
        if talk["trial"] in FIRST_TRIALS
        for role, text in _turns(talk, frozenset({"user", "assistant"}))
    ]
    questions = [
        Question(
            text=text,
            answers=frozenset(row for row, (task, _) in enumerate(said) if task == talk["task_id"]),
            group=str(talk["task_id"]),
        )
        for talk in talks
        if talk["trial"] not in FIRST_TRIALS
        for _, text in _turns(talk, frozenset({"user"}))
        if len(text.split()) >= UTTERANCE_WORDS_MIN and not _NAMED.search(text)
    ]
    return Task(name="airline: same talk", memories=[text for _, text in said], questions=questions)


def _calls(talk: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What the customer had said, the call made then, and its result."""
    said, calls = "", {}
    for message in talk["traj"]:
        if message["role"] == "user":
            said = message["content"]
        for call in message.get("tool_calls") or ():
            arguments = json.dumps(json.loads(call["function"]["arguments"]), sort_keys=True, ensure_ascii=False)
            calls[call["id"]] = (said, call["function"]["name"], arguments)
        if message["role"] == "tool" and message.get("tool_call_id") in calls:
            heard, name, arguments = calls.pop(message["tool_call_id"])
            if name not in LOOKUPS:
                yield heard, f"{name} {arguments}", str(message["content"])[:RESULT_CHARS]


def _same_call(talks: list[dict[str, Any]]) -> Task:
    """Calls of the first two runs with results, asked for by the utterance that led to the same call in another run."""
    rows: dict[str, str] = {}
    for talk in talks:
        if talk["trial"] in FIRST_TRIALS:
            for _, call, result in _calls(talk):
                rows.setdefault(call, f"{call} gave {result}")
    places = {call: row for row, call in enumerate(rows)}
    asked: dict[tuple[str, str], set[int]] = {}
    for talk in talks:
        if talk["trial"] not in FIRST_TRIALS:
            for said, call, _ in _calls(talk):
                if call in places and len(said.split()) >= SENTENCE_WORDS_MIN:
                    asked.setdefault((str(talk["task_id"]), said), set()).add(places[call])
    questions = [
        Question(text=said, answers=frozenset(answers), group=task) for (task, said), answers in sorted(asked.items())
    ]
    return Task(name="airline: same call", memories=list(rows.values()), questions=questions)


def _what_was_wished(talks: list[dict[str, Any]]) -> Task:
    """What customers said, asked for by a sentence of the customer's instruction."""
    said = [(talk["task_id"], f"Customer: {text}") for talk in talks for _, text in _turns(talk, frozenset({"user"}))]
    wishes = {
        (talk["task_id"], sentence)
        for talk in talks
        for sentence in _SENTENCE.split(talk["info"]["task"]["instruction"])
        if len(sentence.split()) >= SENTENCE_WORDS_MIN and not _NAMED.search(sentence)
    }
    questions = [
        Question(
            text=sentence,
            answers=frozenset(row for row, (other, _) in enumerate(said) if other == task),
            group=str(task),
        )
        for task, sentence in sorted(wishes)
    ]
    return Task(name="airline: what was wished", memories=[text for _, text in said], questions=questions)
