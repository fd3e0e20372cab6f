"""The results of an audit on disk: written atomically, so that an audit can continue later."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FileError

Row = dict[str, Any]


class Ledger:
    """The rows of one audit in one file.

    Args:
        path: of the file; it need not exist.
        header: what was audited and how; rows of another header are refused.

    Raises:
        FileError: the file is not a results file or holds another audit, or its folder is missing.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path, self.header = path, dict(header)
        self.rows: dict[str, Row] = {}
        if not path.parent.is_dir():
            raise FileError(f"audit: cannot write the results to {path}: there is no such folder")
        if path.exists():
            self.rows = self._read()

    def settled(self, kind: str) -> bool:
        """Whether a type has a result; one that ran out of time does not count."""
        return self.rows.get(kind, {}).get("status", "out of time") != "out of time"

    def add(self, row: Row) -> None:
        """Add a row. The file is replaced in one step, so an interrupt leaves the old one."""
        self.rows[row["kind"]] = row
        text = json.dumps({**self.header, "rows": self.rows}, indent=1, sort_keys=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            beside.write_text(text + "\n", encoding="utf-8")
            os.replace(beside, self.path)
        except OSError as problem:
            beside.unlink(missing_ok=True)
            why = problem.strerror or problem
            raise FileError(f"audit: cannot write the results to {self.path}: {why}") from problem

    def _read(self) -> dict[str, Row]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            rows = found.pop("rows")
        except OSError as problem:
            why = problem.strerror or problem
            raise FileError(f"audit: cannot read the results in {self.path}: {why}") from problem
        except (ValueError, KeyError, AttributeError, TypeError) as problem:
            raise FileError(f"audit: {self.path} holds no results of an audit") from problem
        for key in {**self.header, **found}:
            kept, now = found.get(key), self.header.get(key)
            if kept != now:
                raise FileError(
                    f"audit: {self.path} holds results with {key} {kept!r}, and this is "
                    f"{now!r}; choose another file with --results, or use --fresh"
                )
        return dict(rows)
