"""A checkpoint on disk: its model, read without pickle and without a network, and its tokenizer."""

from pathlib import Path
from typing import Any

from ..errors import CallError, FileError

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
"""Files of which a folder with a tokenizer has one."""


def model_in(where: str, folder: Path) -> Any:
    """The causal language model of a folder.

    Raises:
        FileError: no folder, or one that cannot be loaded.
        CallError: transformers is not installed.
    """
    if not folder.is_dir():
        raise FileError(f"{where}: {folder} is not a folder; give that of a checkpoint on disk")
    try:
        from transformers import AutoModelForCausalLM
    except ImportError as problem:
        raise CallError(
            f"{where}: a checkpoint needs transformers, which is not installed; "
            "pip install transformers"
        ) from problem
    try:
        return AutoModelForCausalLM.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True
        )
    except Exception as problem:
        raise FileError(
            f"{where}: {folder} cannot be loaded, it raises {_told(problem)}"
        ) from problem


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds one."""
    return any((folder / name).is_file() for name in TOKENIZER)


def tokenizer_in(where: str, folder: Path, instead: str) -> Any:
    """The tokenizer of a folder; `instead` says in an error what else can be done.

    Raises:
        FileError: there is none, or it cannot be loaded.
    """
    if not has_tokenizer(folder):
        raise FileError(f"{where}: {folder} holds no tokenizer; save one there, or {instead}")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as problem:
        raise FileError(
            f"{where}: the tokenizer in {folder} cannot be loaded, it raises {_told(problem)}; "
            f"{instead}"
        ) from problem


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:200]
