"""Every `--json` is one object of the schema that it names, and the schemas reject others."""

import json
from importlib.resources import files

import jsonschema
import pytest
from tests.cli.checkpoints import checkpoint

from trilby.cli import main

SCHEMAS = files("trilby.cli") / "schemas"
CALLS = {
    "list": [],
    "show": ["mean", "-T", "3"],
    "same": ["mean.loop", "mean.chunk"],
    "check": ["mean", "--form", "step", "--law", "repeats"],
    "gallery": [],
    "audit": ["tests.audit.toys:ADAPTER", "--only", "sum", "--jobs", "1"],
    "accelerate": ["model", "--tokens", "5,6,7", "--new", "2", "--rounds", "1"],
    "bench": ["mean", "--shape", "1,8,2", "--rounds", "1"],
    "env": [],
}


def schema(name: str):
    found = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_there_is_a_schema_for_each_command_and_no_other():
    assert {entry.name for entry in SCHEMAS.iterdir()} == {f"{name}.json" for name in CALLS}


@pytest.mark.parametrize("name", CALLS)
def test_the_output_is_of_its_schema(capsys, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)  # the audit keeps a file
    if name == "accelerate":
        pytest.importorskip("transformers")
        checkpoint("mamba", tmp_path / "model")
        capsys.readouterr()
    assert main([name, *CALLS[name], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == f"trilby.{name}/1"
    jsonschema.validate(found, schema(name))
    for key in found:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in found.items() if k != key}, schema(name))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found | {"more": 1}, schema(name))


def test_a_broken_form_is_exit_code_1(capsys, monkeypatch):
    from dataclasses import replace

    import trilby.mixers
    from trilby.verify.mutants import MUTANTS

    forms = {**trilby.mean.forms, "scan": MUTANTS["one_late"].call}
    monkeypatch.setitem(trilby.mixers.MIXERS, "mean", replace(trilby.mean, forms=forms))
    assert main(["same", "mean.loop", "mean.scan"]) == 1
    assert "different functions" in capsys.readouterr().out
    assert main(["check", "mean", "--form", "scan", "--law", "agrees", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    jsonschema.validate(found, schema("check"))
