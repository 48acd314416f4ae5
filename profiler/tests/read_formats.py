"""Reads profiles as the documentation of their formats says, knowing nothing of how they were written.

read_formats.py speedscope|firefox FILE prints one JSON object: samples at the leaf and anywhere of each function, and what else is there.

speedscope: https://github.com/jlfwong/speedscope/blob/main/src/lib/file-format-spec.ts
Firefox Profiler: https://github.com/firefox-devtools/profiler/blob/main/docs-developer/processed-profile-format.md
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

Stacks = Iterator[tuple[list[str], int]]


def speedscope(file: dict[str, Any]) -> tuple[Stacks, dict[str, Any]]:
    names = [frame["name"] for frame in file["shared"]["frames"]]

    def stacks() -> Stacks:
        for profile in file["profiles"]:
            assert profile["type"] == "sampled"
            assert len(profile["samples"]) == len(profile["weights"])
            assert profile["endValue"] - profile["startValue"] == sum(profile["weights"])
            for sample, weight in zip(profile["samples"], profile["weights"], strict=True):
                yield [names[frame] for frame in sample], weight

    return stacks(), {
        "threads": [profile["name"] for profile in file["profiles"]],
        "units": sorted({profile["unit"] for profile in file["profiles"]}),
        "places": {frame["name"]: [frame.get("file"), frame.get("line")] for frame in file["shared"]["frames"]},
    }


def firefox(file: dict[str, Any]) -> tuple[Stacks, dict[str, Any]]:
    categories = [category["name"] for category in file["meta"]["categories"]]
    seen: dict[str, str] = {}

    def stacks() -> Stacks:
        for thread in file["threads"]:
            strings, samples = thread["stringArray"], thread["samples"]
            assert samples["weightType"] == "samples"
            assert all(delta >= 0 for delta in samples["timeDeltas"])
            for node, weight in zip(samples["stack"], samples["weight"], strict=True):
                stack = []
                while node is not None:
                    frame = thread["stackTable"]["frame"][node]
                    name = strings[thread["funcTable"]["name"][thread["frameTable"]["func"][frame]]]
                    seen[name] = categories[thread["frameTable"]["category"][frame]]
                    stack.append(name)
                    node = thread["stackTable"]["prefix"][node]
                yield stack[::-1], weight

    markers = [
        (
            thread["stringArray"][thread["markers"]["name"][at]],
            thread["markers"]["startTime"][at],
            thread["markers"]["endTime"][at],
        )
        for thread in file["threads"]
        for at in range(thread["markers"]["length"])
    ]
    times = [sum(thread["samples"]["timeDeltas"]) for thread in file["threads"]]
    return stacks(), {
        "threads": [thread["name"] for thread in file["threads"]],
        "processes": sorted({thread["processName"] for thread in file["threads"]}),
        "categories": seen,
        "markers": markers,
        "end_ms": max(times, default=0),
        "counters": {counter["name"]: sum(counter["samples"]["count"]) for counter in file["counters"]},
    }


def main() -> None:
    kind, path = sys.argv[1:]
    with open(path, "rb") as opened:
        data = opened.read()
    file = json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    stacks, told = {"speedscope": speedscope, "firefox": firefox}[kind](file)
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, weight in stacks:
        own[stack[-1]] += weight
        for name in set(stack):
            total[name] += weight
    told["functions"] = {name: [own[name], total[name]] for name in total}
    print(json.dumps(told))


main()
