"""The adapter for Hugging Face transformers, in the installed release."""

import contextlib
import importlib
import inspect
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..streaming import by_past
from .adapter import Built, NoLibrary, NotBuilt, Probe, redraw, tokens
from .causal_lm import CausalLM, Uncounted
from .continued import pads, pieces
from .hints import HINTS
from .known import limits
from .probes import attention, continues, generates
from .shrink import DRAWN, VOCABULARY, layers_of, small

LARGEST = 20_000_000  # parameters of a model that still counts as small


class Transformers:
    """Every type that `AutoModelForCausalLM` builds from a configuration."""

    name = "transformers"
    preload: Sequence[str] = (
        "torch", "transformers", "transformers.modeling_utils",
        "transformers.models.auto.modeling_auto",
    )  # fmt: skip

    def version(self) -> str:
        return str(_library().__version__)

    def kinds(self) -> list[str]:
        _library()
        from transformers.models.auto import modeling_auto

        return sorted(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

    def build(self, kind: str, dtype: torch.dtype) -> Built:
        _library()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = make(kind, dtype)
            return called(kind, model)

    def probes(self) -> Iterator[Probe]:
        yield "attention", attention
        yield "generates", generates
        yield "continues", continues
        yield "pieces", pieces
        yield "pads", pads


def make(kind: str, dtype: torch.dtype, attention: str | None = None) -> nn.Module:
    """A small model of one type with random weights, the same at every call.

    Args:
        kind: e.g. "llama".
        dtype: of the weights.
        attention: "eager", "sdpa", or None for the default of the type.
    """
    hints = HINTS.get(kind, {})
    if "why_not" in hints:
        raise NotBuilt(hints["why_not"])
    how: dict[str, Any] = {"dtype": dtype}
    if attention:
        how["attn_implementation"] = attention
    config, build = _maker(kind, hints)
    size = 0
    with torch.device("meta"), contextlib.suppress(NotImplementedError):  # some read values
        size = sum(weight.numel() for weight in build(config, **how).parameters())
    if size > LARGEST:
        raise NotBuilt(f"still {size:.1e} parameters after every rule")
    torch.manual_seed(0)
    config, build = _maker(kind, hints)
    model = build(config, **how).to(dtype).eval()  # some have parts in float32
    redraw(model)
    return model


def config_of(kind: str, hints: Mapping[str, Any]) -> Any:
    """The small configuration of a type."""
    classes = _library().CONFIG_MAPPING
    cls = classes[kind]
    first = dict(hints.get("first", {}))
    default = cls(**first)
    given = default.to_dict()
    for name in ("layer_types", "layers_block_type"):
        if name not in given and isinstance(getattr(default, name, None), list):
            given[name] = getattr(default, name)
    special = hints.get("config", {})
    known = {*inspect.signature(cls.__init__).parameters, *inspect.signature(cls).parameters}
    less = small(given, special)
    mapped = getattr(cls, "attribute_map", {}).items()  # `to_dict` has some under another name
    names = {kept: name for name, kept in mapped if name in known and kept not in known}
    less = {names.get(k, k): v for k, v in less.items()}
    less = {k: v for k, v in less.items() if k in known or k in special}
    if "pad_token_id" not in given:
        less["pad_token_id"] = VOCABULARY - 1  # some releases need one and do not set it
    if "is_decoder" in known or "is_decoder" in given:
        less["is_decoder"] = True
    return cls(**first | less)


def _maker(kind: str, hints: Mapping[str, Any]) -> tuple[Any, Any]:
    """A configuration, and the function that builds a model from it."""
    from transformers.models.auto import modeling_auto as auto

    config = config_of(kind, hints)
    build = auto.AutoModelForCausalLM.from_config
    if "part" in hints:
        cls: Any = auto.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        build = cls._from_config
        config = getattr(config, hints["part"])
    nested = (getattr(config, name, None) for name in getattr(config, "sub_configs", ()))
    for each in (config, *nested):
        if hasattr(each, "_experts_implementation"):
            each._experts_implementation = "eager"  # grouped kernels have no float64
    return config, build


def called(kind: str, model: nn.Module) -> Built:
    """The model with the common signature, and what a first call tells about it."""
    pad = getattr(model.config, "pad_token_id", None)
    example = tokens(DRAWN, int(pad == 0))  # the embedding of padding has no gradient
    ids = example(2, 9, 0)["input_ids"]
    with torch.no_grad():
        plain = Uncounted(model)(ids).logits
        if plain.shape[:2] != ids.shape:
            raise NotBuilt(f"its logits are {tuple(plain.shape)} for tokens {tuple(ids.shape)}")
        module = CausalLM(model) if _counts(model, ids, plain) else Uncounted(model)
        module.whole = HINTS.get(kind, {}).get("whole", False)
        resumes, fault = _resumes(module, ids)
    how: dict[str, Any] = {"vocabulary": DRAWN}
    if resumes:
        how["carry"] = by_past("past_key_values")
    faults = {"resumes": fault} if fault else {}
    if refused := _refuses_mask(module, ids):
        faults["padding"] = refused
    elif "attention_mask" in module.takes:
        how["padding"] = "attention_mask"
    if module.counts:
        how["documents"] = "position_ids"
    dtype = next(model.parameters()).dtype
    ways = {way: partial(_way, kind, dtype, way) for way in ("sdpa", "eager")}
    facts = _facts(model)
    layers = facts["layers"] if isinstance(facts["layers"], list) else []
    said = limits(kind, module.takes, layers)
    return Built(kind, module, example, how, facts, said, faults, ways)


def _way(kind: str, dtype: torch.dtype, attention: str) -> nn.Module:
    return Uncounted(make(kind, dtype, attention))


def _counts(model: nn.Module, ids: Tensor, plain: Tensor) -> bool:
    """Whether the model uses positions 0, 1, 2 ... when none are passed."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    given = torch.arange(ids.shape[1]).expand(ids.shape)
    try:
        told = CausalLM(model)(ids, position_ids=given).logits
    except Exception:
        return False
    return bool(torch.allclose(told, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max())))


def _refuses_mask(module: CausalLM, ids: Tensor) -> str:
    """The error that a mask of ones raises; empty if it is accepted or not a parameter."""
    if "attention_mask" not in module.takes:
        return ""
    try:
        module(ids, attention_mask=torch.ones_like(ids))
    except Exception as reason:
        told = " ".join(str(reason).split())
        return f"an attention_mask of ones raises {type(reason).__name__}: {told:.200}"
    return ""


def _resumes(module: CausalLM, ids: Tensor) -> tuple[bool, str]:
    """Whether a call returns a cache, and the error if it raises one.

    Sets `module.start` if the model returns a cache only when it is given one.
    """
    if module.carry is None:
        return False, ""
    try:
        if module(ids, use_cache=True).past_key_values is not None:
            return True, ""
        module.start = lambda: _library().DynamicCache(config=module.model.config)
        return module(ids, use_cache=True).past_key_values is not None, ""
    except Exception as reason:
        told = " ".join(str(reason).split())
        return False, f"use_cache=True raises {type(reason).__name__}: {told:.200}"


def _facts(model: Any) -> dict[str, Any]:
    config = model.config.get_text_config() if model.config else model.config
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None)
    return {
        "class": type(model).__name__,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "layers": list(kinds) if kinds else layers_of(config.to_dict()),
        "attention": str(getattr(config, "_attn_implementation", "") or ""),
    }


def _library() -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        library = importlib.import_module("transformers")
    except ImportError as missing:
        raise NoLibrary(
            f"audit: transformers cannot be imported ({missing}); pip install 'trilby[audit]'"
        ) from missing
    library.logging.set_verbosity_error()
    return library


ADAPTER = Transformers()
