"""Measures ``flask db upgrade`` of this checkout against Flask-Migrate, on the same migrations folder.

Times are of whole processes, run in pairs, in alternating order. Round trips are counted by a proxy between the
client and the server and are exact. See benchmarks/README.rst for how to read the figures. Nothing is asserted: the
exit status says only whether everything could be run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa

from . import databases, growth, round_trips, speed, timing
from .apps import make_site
from .drawing import draw_ratios
from .histories import SHAPES
from .projects import Workshop
from .report import Figures, as_json, describe_round_trips, describe_timing, read_versions

Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None, say: Say = lambda line: print(line, flush=True)) -> int:  # noqa: T201
    """Measure what was asked for, say it line by line, and return the exit status."""
    options = parse(arguments)
    if options.what == "speed":
        return _measure_speed(options, say)
    engines = [engine for engine in options.engines if _answers(engine, say)]
    with tempfile.TemporaryDirectory(prefix="fpm_benchmark_", dir=options.folder) as name:
        folder = Path(name)
        counts = [_count(engine, folder, options, say) for engine in engines if _is_counted(engine, options)]
        times = _time(engines, folder, options, say) if options.what in ("all", "times") else []
    if options.json is not None:
        figures = Figures(read_versions(engines), tuple(times), tuple(counts))
        options.json.write_text(json.dumps(as_json(figures), indent=1) + "\n", encoding="utf-8")
    return 0 if len(engines) == len(options.engines) else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["all", "times", "round-trips", "speed"], default="all")
    parser.add_argument("--revisions", type=int, nargs="+", default=[100, 1000], metavar="N", help="default: 100 1000")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of each job; default: 5")
    parser.add_argument("--engines", nargs="+", choices=databases.ENGINES, default=list(databases.ENGINES))
    parser.add_argument("--shape", choices=sorted(SHAPES), default="linear", help="of the histories; default: linear")
    parser.add_argument("--folder", type=Path, help="where to work: SQLite's disk; default: the temporary folder")
    parser.add_argument("--trace", action="store_true", help="print the requests behind the counts of round trips")
    parser.add_argument("--only", default="", metavar="WORDS", help="of speed, the rows with these words in them")
    parser.add_argument(
        "--growth",
        type=int,
        nargs="*",
        default=[5000, 20000],
        metavar="N",
        help="of speed, the revisions between which growth is measured; default: 5000 20000; none leaves it out",
    )
    parser.add_argument(
        "--processor-time", action="store_true", help="of speed: do without cachegrind, which takes its time"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the ratios of speed into FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return parser.parse_args(arguments)


def _measure_speed(options: argparse.Namespace, say: Say) -> int:
    with tempfile.TemporaryDirectory(prefix="fpm_benchmark_", dir=options.folder) as name:
        workshop = Workshop(Path(name))
        bench = speed.Bench(workshop, options.rounds, counting=not options.processor_time)
        figures = speed.measure_speed(bench, options.revisions, options.only, say)
        grown = growth.measure_growth(workshop, options.growth, options.only, say)
    if options.json is not None:
        found = {
            "schema": 1,
            "speed": [asdict(figure) for figure in figures],
            "growth": [{**asdict(figure), "exponent": figure.exponent} for figure in grown],
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.svg is not None:
        options.svg.write_text(draw_ratios(figures), encoding="utf-8")
    return 0


def _answers(engine: str, say: Say) -> bool:
    try:
        databases.describe_server(engine)
    except sa.exc.OperationalError as error:
        say(f"{databases.TITLES[engine]} is left out: {error.orig}")
        return False
    return True


def _is_counted(engine: str, options: argparse.Namespace) -> bool:
    return engine in round_trips.ENGINES and options.what in ("all", "round-trips")


def _count(engine: str, folder: Path, options: argparse.Namespace, say: Say) -> round_trips.RoundTrips:
    inner = folder / f"round_trips_{engine}"
    inner.mkdir()
    found = round_trips.measure_round_trips(engine, inner)
    for line in describe_round_trips(found, trace=options.trace):
        say(line)
    return found


def _time(engines: Sequence[str], folder: Path, options: argparse.Namespace, say: Say) -> list[timing.Timing]:
    found = []
    for revisions in options.revisions:
        site = make_site(folder, revisions, shape=options.shape)
        for engine in engines:
            for job in timing.JOBS:
                found.append(timing.measure_job(site, engine, job, revisions, options.rounds, folder))
                say(describe_timing(found[-1]))
    return found


if __name__ == "__main__":
    sys.exit(main())
