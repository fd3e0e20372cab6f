"""Audits that were run: the outcome of every law for every type, small enough to keep.

python docs/audit/recorded.py RESULTS.json > NAME.json

RESULTS.json is what `trilby audit --results` writes. The page of the same name is made of NAME.json
when the documentation is built.
"""

import json
import sys
from pathlib import Path
from typing import Any

from trilby.audit import Audit

FOLDER = Path(__file__).parent
SAID = ("limit", "sentence")  # of a law that does not hold


def kept(results: dict[str, Any]) -> dict[str, Any]:
    """Of the results of an audit, what its table shows."""
    header = {name: value for name, value in results.items() if name != "rows"}
    types = {}
    for kind, row in sorted(results["rows"].items()):
        verdicts = {v["law"]: _short(v) for v in row["verdicts"]}
        told = {name: row[name] for name in ("status", "reason") if row[name]}
        types[kind] = {"class": row["facts"].get("class", ""), **told, "laws": verdicts}
    return {**header, "types": types}


def _short(verdict: dict[str, Any]) -> str | dict[str, str]:
    if verdict["outcome"] != "broken":
        return str(verdict["outcome"])
    return {name: verdict[name] for name in SAID if verdict[name]}


def audit(name: str) -> Audit:
    """The audit that NAME.json keeps."""
    return read(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def read(keeps: dict[str, Any]) -> Audit:
    """The audit of which this was kept."""
    header = {name: value for name, value in keeps.items() if name != "types"}
    return Audit(header, [_row(kind, told) for kind, told in keeps["types"].items()])


def _row(kind: str, told: dict[str, Any]) -> Any:
    verdicts = []
    for law, said in told["laws"].items():
        outcome, more = (said, {}) if isinstance(said, str) else ("broken", said)
        empty = dict.fromkeys(SAID, "")
        verdicts.append({"law": law, "outcome": outcome, **empty, **more})
    return {
        "kind": kind, "status": told.get("status", ""), "reason": told.get("reason", ""),
        "facts": {"class": told["class"]}, "verdicts": verdicts,
    }  # fmt: skip


def written(keeps: dict[str, Any]) -> str:
    """As text: a line for each type."""
    head = json.dumps({n: value for n, value in keeps.items() if n != "types"}, indent=1)[:-2]
    types = keeps["types"].items()
    lines = [f"  {json.dumps(kind)}: {json.dumps(told)}" for kind, told in types]
    return f'{head},\n "types": {{\n' + ",\n".join(lines) + "\n }\n}\n"


if __name__ == "__main__":
    sys.stdout.write(written(kept(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
