"""What a library says of a type, so that a broken law is called a limitation and not a defect."""

from collections.abc import Callable, Collection

from ..verify import Verdict

BY_DESIGN = {
    "cpmant": "text without a prompt is a prompt, and a prompt is read in both directions",
    "reformer": "hashed attention sorts all positions into chunks: which past is seen depends on "
    "what comes later",
}
"""Types that are not causal and do not say they are."""

AFTER_CAUSAL = ("causal", "resumes", "padding", "generates", "continues", "sound", "isolated")
UNMASKED = {
    "rwkv": "it warns that attention_mask is unused in this model",
    "xlstm": "forward takes no attention_mask, so it cannot be told of padding",
}
RECURRENT = ("linear", "mamba", "hybrid", "conv", "recurrent")
PADDED = ("padding", "generates", "continues")


def limits(kind: str, takes: Collection[str], layers: Collection[str]) -> Callable[[Verdict], str]:
    """What says of a broken verdict why it is a limitation; the empty string where it is none.

    Args:
        kind: the type.
        takes: the parameters of its forward.
        layers: the kinds of its layers.

    >>> limits("cpmant", (), ())(Verdict("cpmant", "causal", "broken"))[:12]
    'text without'
    """

    def limit(verdict: Verdict) -> str:
        if kind in BY_DESIGN and verdict.law in AFTER_CAUSAL:
            return BY_DESIGN[kind]
        said = verdict.sentence
        if "is only supported for" in said:
            return "a cached call takes one token, and says so of more"
        if kind == "xlm" and verdict.law == "generates":
            return "generate appends a mask token and reads the answer there, as it was trained"
        if kind == "hrm_text" and verdict.law == "differentiates":
            return "its gradient runs through the last of its cycles only, as L_bp_cycles says"
        if kind.startswith("musicgen") and verdict.law == "generates":
            return "generate belongs to the whole model, whose conditions the decoder lacks"
        if kind in UNMASKED and verdict.law in PADDED and "left" in said:
            return UNMASKED[kind]
        if verdict.law in PADDED and "left" in said and "position_ids" not in takes and not layers:
            return "forward takes no position_ids, so learned positions count the pads at the left"
        if verdict.law == "documents" and any(k in name for name in layers for k in RECURRENT):
            return "recurrent layers take no documents from position_ids"
        return ""

    return limit
