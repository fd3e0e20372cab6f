"""Types that hang, crash or are not built get a row with the reason; an interrupt loses little."""

import json

import jsonschema
import pytest

from tests.audit.toys import ADAPTER
from tests.cli.test_schemas import schema
from trilby.audit import Audit, Ledger, NoLibrary, adapter_of, audited
from trilby.cli import main
from trilby.errors import CallError, FileError

TOYS = "tests.audit.toys:ADAPTER"
HEADER = {"adapter": "toys", "version": "1.0", "torch": "2", "effort": "quick"}


@pytest.fixture(scope="module")
def rows():
    how = dict(jobs=2, effort="quick", seconds=20)
    some = [kind for kind in ADAPTER.kinds() if kind != "hang"]
    return {row["kind"]: row for row in audited(TOYS, some, **how)}


def test_whatever_happens_is_a_row_with_its_reason(rows):
    told = {kind: (row["status"], row["reason"]) for kind, row in rows.items()}
    assert told == {
        "crash": ("crashed", told["crash"][1]),
        "exit": ("crashed", "exit code 7: goodbye"),
        "leak": ("judged", ""),
        "none": ("not built", "it is nowhere"),
        "raise": ("not built", "ZeroDivisionError: of its own"),
        "sum": ("judged", ""),
    }
    assert told["crash"][1].startswith("SIGABRT")


def test_a_leak_is_found_and_a_sum_is_not_blamed(rows):
    broken = {k: [v["law"] for v in r["verdicts"] if not v["ok"]] for k, r in rows.items()}
    by = {v["law"]: v["outcome"] for v in rows["leak"]["verdicts"]}
    assert by["causal"] == "broken"
    assert [v for v in rows["sum"]["verdicts"] if v["outcome"] == "broken"] == []
    assert "causal" not in broken["sum"]


def test_what_hangs_is_ended_at_its_limit_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr("trilby.audit.runner.GRACE", 0.5)
    row, after = audited(TOYS, ["hang", "none"], jobs=1, effort="quick", seconds=1)
    assert row["status"] == "out of time"
    assert row["reason"].startswith("stopped after")
    assert row["seconds"] < 15
    assert (after["kind"], after["status"]) == ("none", "not built")


def test_what_ran_out_of_time_is_tried_again(tmp_path):
    ledger = Ledger(tmp_path / "rows.json", HEADER)
    for kind in ("out of time", "crashed", "judged", "not built"):
        ledger.add({"kind": kind, "status": kind})
    again = Ledger(ledger.path, HEADER)
    assert [kind for kind in again.rows if not again.settled(kind)] == ["out of time"]
    assert not again.settled("never seen")


def test_a_row_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "rows.json", HEADER)
    ledger.add({"kind": "a", "status": "judged"})
    before = ledger.path.read_bytes()

    def full(beside, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(FileError, match=r"cannot write the results to .*: No space left on device"):
        ledger.add({"kind": "b", "status": "judged"})
    assert ledger.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [ledger.path]


def test_an_interrupted_audit_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.json"
    call = ["audit", TOYS, "--only", "none,raise,sum", "--jobs", "1", "--results", str(path)]
    add, seen = Ledger.add, []

    def interrupted(ledger, row):
        add(ledger, row)
        seen.append(row["kind"])
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "add", interrupted)
    assert main(call) == 130
    assert set(json.loads(path.read_text())["rows"]) == {"none", "raise"}
    monkeypatch.setattr(
        Ledger, "add", lambda ledger, row: (seen.append(row["kind"]), add(ledger, row))
    )
    capsys.readouterr()
    assert main([*call, "--json"]) == 0
    assert seen == ["none", "raise", "sum"]
    out = capsys.readouterr()
    assert "2 already in" in out.err
    found = json.loads(out.out)
    jsonschema.validate(found, schema("audit"))
    assert [row["kind"] for row in found["rows"]] == ["none", "raise", "sum"]
    assert list(tmp_path.iterdir()) == [path]  # nothing half written is left


def test_a_broken_law_is_exit_code_1_and_stands_in_markdown(tmp_path, capsys):
    path = str(tmp_path / "rows.json")
    call = ["audit", TOYS, "--only", "leak", "--jobs", "1", "--results", path]
    assert main(call) == 1
    assert "BROKEN" in capsys.readouterr().out
    assert main([*call, "--markdown"]) == 1
    assert "| leak | Sum |" in capsys.readouterr().out


def test_results_of_another_audit_are_not_mixed_in(tmp_path):
    path = tmp_path / "rows.json"
    ledger = Ledger(path, HEADER)
    ledger.add({"kind": "sum"})
    assert Ledger(path, HEADER).rows == {"sum": {"kind": "sum"}}
    with pytest.raises(FileError, match=r"holds results with version '1\.0', and this is '2\.0'"):
        Ledger(path, {**HEADER, "version": "2.0"})
    path.write_text("[]")
    with pytest.raises(FileError, match="holds no results of an audit"):
        Ledger(path, HEADER)


def test_a_limitation_is_no_defect():
    verdict = dict(law="padding", outcome="broken", limit="", sentence="", kind="")
    row = dict(kind="a", status="judged", reason="", facts={}, verdicts=[verdict])
    assert not Audit(HEADER, [row])
    verdict["limit"] = "documented"
    assert Audit(HEADER, [row])
    assert "Documented limitations" in Audit(HEADER, [row]).markdown()


def test_wrong_names_are_said():
    with pytest.raises(CallError, match="no adapter 'nothing'"):
        adapter_of("nothing")
    with pytest.raises(NoLibrary, match="no adapter 'nowhere:A'"):
        adapter_of("nowhere:A")
    with pytest.raises(CallError, match=r"'os:path' is not an adapter, it lacks name, preload"):
        adapter_of("os:path")


def test_only_the_laws_that_are_named_are_run(capsys, tmp_path):
    call = ["audit", TOYS, "--only", "leak", "--results", str(tmp_path / "rows.json")]
    assert main([*call, "--laws", "repeats,documents", "--json"]) == 0  # its leak is not looked for
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, schema("audit"))
    assert found["laws"] == ["repeats", "documents"]
    (row,) = found["rows"]
    assert [v["law"] for v in row["verdicts"]] == ["repeats", "documents"]
    assert main(call) == 2
    assert "holds results with laws ['repeats', 'documents']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ([TOYS, "--only", "summ"], "did you mean 'sum'?"),
        ([TOYS, "--only", " ,"], "--only names no type"),
        ([TOYS, "--laws", "causel"], "there is no law 'causel'; did you mean 'causal'?"),
        ([TOYS, "--laws", ","], "--laws names no law; give e.g. --laws pieces,pads"),
        ([TOYS, "--only", "sum", "--results", "no/such/r.json"], "there is no such folder"),
        ([TOYS, "--only", "sum", "--results", "bad.json"], "bad.json holds no results of an audit"),
        (["nothing"], "there is no adapter 'nothing'; take one of transformers x-transformers"),
        (["nowhere:A"], "there is no adapter 'nowhere:A' (No module named 'nowhere')"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(call, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{ half of it")
    assert main(["audit", *call]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("library", "module", "install"),
    [
        ("transformers", "transformers", "pip install 'trilby[audit]'"),
        ("x-transformers", "x_transformers", "pip install x-transformers"),
    ],
)
def test_a_missing_library_is_one_line_and_exit_code_2(
    library, module, install, capsys, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert main(["audit", library]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"trilby: audit: {library} cannot be imported")
    assert install in told
    assert told.count("\n") == 1
