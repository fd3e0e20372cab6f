"""Documented limitations of types, which are not counted as defects."""

from collections.abc import Callable, Collection

from ..verify import Verdict

BY_DESIGN = {
    "cpmant": "text alone is treated as a prompt, and a prompt is read in both directions",
    "reformer": "hashed attention sorts all positions into chunks: which past is seen depends on "
    "what comes later",
}
"""Types that are not causal and do not claim to be."""

AFTER_CAUSAL = (
    "causal", "resumes", "padding", "generates", "continues", "pieces", "pads", "sound", "isolated",
)  # fmt: skip
UNMASKED = {
    "rwkv": "it warns that attention_mask is unused in this model",
    "xlstm": "forward takes no attention_mask, so padding cannot be masked",
}
RECURRENT = ("linear", "mamba", "hybrid", "conv", "recurrent")
PADDED = ("padding", "generates", "continues", "pads")


def limits(kind: str, takes: Collection[str], layers: Collection[str]) -> Callable[[Verdict], str]:
    """A function that returns the documented limitation for a broken verdict, or an empty string.

    Args:
        kind: the type.
        takes: the parameters of its forward.
        layers: the kinds of its layers.

    >>> limits("cpmant", (), ())(Verdict("cpmant", "causal", "broken"))[:10]
    'text alone'
    """

    def limit(verdict: Verdict) -> str:
        if kind in BY_DESIGN and verdict.law in AFTER_CAUSAL:
            return BY_DESIGN[kind]
        left = verdict.witness.side == "left"
        if "is only supported for" in verdict.witness.message:  # words of transformers
            return "a cached call takes one token, and raises an error for more"
        if kind == "xlm" and verdict.law == "generates":
            return "generate appends a mask token and reads the prediction there, as in training"
        if kind == "hrm_text" and verdict.law == "differentiates":
            return "its gradient goes through the last of its cycles only, see L_bp_cycles"
        if kind.startswith("musicgen") and verdict.law == "generates":
            return "generate works on the whole model only; the decoder lacks its conditions"
        if kind in UNMASKED and verdict.law in PADDED and left:
            return UNMASKED[kind]
        if verdict.law in PADDED and left and "position_ids" not in takes and not layers:
            return "forward takes no position_ids, so learned positions count padding on the left"
        if verdict.law == "documents" and any(k in name for name in layers for k in RECURRENT):
            return "recurrent layers do not find documents from position_ids"
        return ""

    return limit
