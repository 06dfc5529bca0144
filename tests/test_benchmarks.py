"""The benchmarks: histories are the same each time, round trips are exact, a run writes its figures."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from support import fresh_database, server_url

from benchmarks import proxy
from benchmarks.__main__ import main
from benchmarks.drawing import draw_ratios
from benchmarks.growth import Grown
from benchmarks.histories import branched, write_history
from benchmarks.round_trips import measure_round_trips
from benchmarks.rows import GROWTHS, ROWS
from benchmarks.speed import Figure


def history(folder: Path, revisions: int, body: str) -> dict[str, str]:
    folder.mkdir()
    write_history(folder, revisions, body=body)
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.mark.parametrize("body", ["plain", "phased", "mixed", "select"])
def test_a_history_is_the_same_each_time(tmp_path: Path, body: str):
    assert history(tmp_path / "first", 12, body) == history(tmp_path / "second", 12, body)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_round_trip_is_a_request_and_its_answer_after_the_login(tmp_path: Path, engine: str, monkeypatch):
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGGSSENCMODE", "disable")
    with fresh_database(engine, tmp_path) as address:
        url = sa.make_url(address)
        with proxy.running_proxy(engine, url.host or "127.0.0.1", url.port or 0) as counting:
            through = sa.create_engine(url.set(host="127.0.0.1", port=counting.port), isolation_level="AUTOCOMMIT")
            with through.connect() as connection:
                before = len(counting.connections[0].requests)
                for number in range(3):
                    connection.exec_driver_sql(f"SELECT {number}")
                asked = counting.connections[0].requests[before:]
            through.dispose()

    assert asked == ["SELECT 0", "SELECT 1", "SELECT 2"]


def test_a_run_writes_its_figures(tmp_path: Path):
    said: list[str] = []
    file = tmp_path / "figures.json"

    status = main(
        ["times", "--engines", "sqlite", "--revisions", "2", "--rounds", "1", "--json", str(file)], said.append
    )

    figures = json.loads(file.read_text())
    assert status == 0
    assert [(item["engine"], item["job"], item["revisions"], len(item["pairs"])) for item in figures["times"]] == [
        ("sqlite", "from empty", 2, 1),
        ("sqlite", "nothing to do", 2, 1),
    ]
    assert figures["round_trips"] == []
    assert len(said) == 2


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_the_bookkeeping_takes_few_round_trips(tmp_path: Path, engine: str):
    server_url(engine)  # skips where there is none
    found = measure_round_trips(engine, tmp_path, phases=False)
    assert found.added_with_nothing_to_do <= 3
    # A little more than 4 where a slow run asks once a second whether it still holds its lock.
    assert found.added_per_step <= 4.2


def test_branched_histories_have_merges_and_dependencies_that_every_tool_can_run():
    planned = list(branched(64))
    merges = [item.number for item in planned if len(item.parents) > 1]
    assert (merges, sum(bool(item.needs) for item in planned)) == ([22, 43, 64], 9)
    assert all(max((*item.parents, *item.needs), default=0) < item.number for item in planned)
    tips = {parent for item in planned if len(item.parents) > 1 for parent in item.parents}
    assert tips.isdisjoint(need for item in planned for need in item.needs)


def test_the_table_of_speed_is_measured_against_peers_of_its_own(tmp_path: Path):
    said: list[str] = []
    file, picture = tmp_path / "figures.json", tmp_path / "figures.svg"
    command = ["speed", "--revisions", "3", "--rounds", "1", "--only", "data of", "--json", str(file)]

    assert main([*command, "--svg", str(picture), "--folder", str(tmp_path)], said.append) == 0

    figures = json.loads(file.read_text())
    keys = ("job", "peer", "shape", "revisions", "measure", "asked")
    assert [tuple(item[key] for key in keys) for item in figures["speed"]] == [
        ("data of every revision", "alembic-offline", "linear", 3, "cpu", None)
    ]
    assert len(said) == 1 and "data of every revision" in picture.read_text()


def figure(ours: float, theirs: float | None, asked: float | None = None, limit: float | None = None) -> Figure:
    ratio = None if theirs is None else theirs / ours
    return Figure("heads & more", "alembic", "linear", 1000, "cpu", ours, theirs, ratio, asked, limit)


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (figure(1.0, 2.0), None),
        (figure(1.0, 1.696, asked=1.7), True),
        (figure(1.0, 1.69, asked=1.7), False),
        (figure(2.5, None, limit=2.5), True),
        (figure(2.6, None, limit=2.5), False),
    ],
)
def test_a_row_tells_whether_what_is_asked_for_is_met(found: Figure, met: bool | None):
    assert found.is_met is met
    assert ("MISSED" in found.line) == (met is False)


def test_the_drawing_has_a_bar_for_each_ratio_and_a_stroke_for_what_is_asked():
    text = draw_ratios([figure(1.0, 2.0, asked=1.7), figure(1.0, 1.5, asked=1.7), figure(1.0, None, limit=2.0)])
    kinds = [node.get("class") for node in ElementTree.fromstring(text).iter() if node.get("class")]
    assert kinds == ["met", "asked", "missed", "asked"]


def test_growth_is_the_exponent_between_the_last_two_lengths():
    assert Grown("growth of heads", "linear", (10, 100, 1000), (5.0, 1.0, 100.0)).exponent == pytest.approx(2.0)


def test_every_row_and_growth_has_a_name_of_its_own():
    jobs = [(row.job, row.peer, row.shape) for row in ROWS] + [(growth.job, growth.body, "") for growth in GROWTHS]
    assert len(set(jobs)) == len(jobs)
