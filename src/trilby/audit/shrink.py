"""Makes a configuration small by the names of its attributes, and keeps every kind of layer.

Nothing here knows a model type. A configuration is read as a tree of plain values; each number is
made small by the first rule whose pattern its name matches, lists with an entry for each layer are
cut to the fewest layers that show every kind, and lists of layer indices follow them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

VOCABULARY = 96  # tokens of the small model
DRAWN = 64  # tokens that an example uses; special tokens have larger ids
WIDTH, HEADS, SHARED, HEAD = 32, 4, 2, 8
WINDOW = 4  # windows, chunks and blocks, which a sequence of 16 exceeds
LAYERS, MOST = 2, 6  # layers kept at least, and at most

Rule = tuple[str, Callable[[int], int]]

RULES: tuple[Rule, ...] = (
    # the vocabulary and special tokens
    (r"vocab_size|.*_vocab_size|vocab_size_per_layer_input", lambda v: min(v, VOCABULARY)),
    # depth
    (r"(num_)?(hidden_|encoder_|decoder_|n_)?layers?|n_layers?", lambda v: min(v, LAYERS)),
    (r"num_blocks|depth|(conf_)?num_(hidden|encoder|decoder|lstm)_layers",
     lambda v: min(v, LAYERS)),
    (r"(encoder|decoder)_layers|num_layers_per_stack", lambda v: min(v, LAYERS)),
    (r"first_k_dense_replace|num_dense_layers", lambda v: min(v, 1)),
    (r"num_nextn_predict_layers|num_mtp_layers", lambda _: 0),
    # heads: one key head stays one, fewer than the queries stay fewer
    (r".*key_value_heads|.*kv_heads|kv_n_heads|num_query_groups", lambda v: min(v, SHARED)),
    (r"mamba_(n|num)_heads|linear_num_value_heads", lambda v: min(v, 2 * HEADS)),
    (r"index(er)?_n_heads", lambda v: min(v, 4 * HEADS)),  # with few heads, scores tie at exactly 0
    (r".*attention_heads|n_heads?|num_heads|.*_num_.*heads", lambda v: min(v, HEADS)),
    (r"(.*_)?head_dim|mamba_d_head|mamba_headdim|d_head|dim_head|d_kv|linear_(key|value)_head_dim",
     lambda v: min(v, HEAD)),
    (r"attention_head_size", lambda v: min(v, HEAD)),
    (r"rotary_dim", lambda v: min(v, HEAD)),
    # width
    (r"hidden_size.*|.*hidden_size|d_model|n_embd|dim|emb(ed)?_dim|embedding_(size|dim)|lru_width",
     lambda v: min(v, WIDTH)),
    (r"(in|out)put_embedding_size|word_embed_proj_dim|.*_embed_dim", lambda v: min(v, WIDTH)),
    (r".*intermediate_size.*|.*ffn_(dim|hidden_size)|ffn_dim|dim_ff|d_ff|dff|d_inner"
     r"|feed_forward_size|mamba_d_ssm|mlp_dim", lambda v: min(v, 2 * WIDTH)),
    (r"(kv|q|o)_lora_rank|time_step_rank|.*_rank|hc_lowrank", lambda v: min(v, 16)),
    (r"(mamba_)?(d_)?state(_size)?|ssm_state_size|mamba_d_state", lambda v: min(v, 8)),
    (r"(mamba_)?n_?groups|o_groups", lambda v: min(v, 2)),
    # experts
    (r"num_experts_per_tok(en)?|moe_top_?k|moe_k|top_k_experts", lambda v: min(v, 2)),
    (r"n_group|num_expert_group", lambda v: min(v, 2)),
    (r"topk_group", lambda v: min(v, 1)),
    (r".*num_(local_)?experts|n_routed_experts|zero_expert_num", lambda v: min(v, 4)),
    # windows, chunks, lengths
    (r".*sliding_window|.*window_size|.*_window|local_attention|index_block_size"
     r"|local_attention_window_len|.*attn_chunk_length|rel_extent", lambda v: min(v, WINDOW)),
    (r"(mamba_|attention_)?chunk_size|block_size", lambda v: min(v, WINDOW)),
    (r"index_topk|index_topk_blocks", lambda v: min(v, WINDOW)),
    (r".*max_.*position.*|n_positions|n_ctx|max_seq_len|context_length|model_max_length"
     r"|max_(source|target)_positions", lambda v: min(v, 256)),
    # images and sound, which text does not use
    (r"image_size|crop_size", lambda v: min(v, 28)),
    (r"out_hidden_size|adapter_(in|out)_dim|adapter_input_size", lambda v: min(v, WIDTH)),
)  # fmt: skip
_RULES = tuple((re.compile(pattern), small) for pattern, small in RULES)
_TOKEN = re.compile(r".*token_(id|index)|(unk|mask|pad|bos|eos)_index")
_DEPTH = r"num_hidden_layers|n_layers?|num_layers|num_blocks"
_NAMED = r".*_layers|.*_idxs|.*layer_ids|.*_indexes|.*_indices"
_SHARED_HEADS = ("num_key_value_heads",)
_DERIVED = {"qk_head_dim"}  # computed by the configuration itself


def small(default: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """Small values for the entries of a configuration, nested ones as nested dicts.

    Args:
        default: what the configuration is by default, as plain values.
        hints: what no rule can know, by name; these win.

    >>> small({"hidden_size": 4096, "num_hidden_layers": 32, "eps": 1e-5}, {"hidden_size": 16})
    {'num_hidden_layers': 2, 'hidden_size': 16}
    """
    tokens = iter(range(VOCABULARY - 1, DRAWN, -1))
    less = _tree(default, tokens, hints)
    return less | {k: v for k, v in hints.items() if k not in less}


def kinds_kept(default: Mapping[str, Any]) -> list[int]:
    """The layers to keep: the first of each kind, and at least two where there are two.

    A kind is what the lists by layer say of it, and which lists of layers name it.

    >>> kinds_kept({"num_hidden_layers": 4, "layer_types": ["a", "a", "b", "a"]})
    [0, 2]
    >>> kinds_kept({"num_hidden_layers": 3, "dense_layers": [2]})
    [0, 2]
    """
    n = layers_of(default)
    by_layer = [v for v in default.values() if _by_layer(v, n)]
    named = [set(v) for k, v in default.items() if _indices(k, v, n)]
    seen: dict[Any, int] = {}
    for i in range(n):
        kind = (*(repr(v[i]) for v in by_layer), *(i in group for group in named))
        seen.setdefault(kind, i)
    kept = sorted(seen.values())[:MOST]
    spare = [i for i in range(n) if i not in kept]
    return sorted(kept + spare[: max(0, LAYERS - len(kept))])


def layers_of(default: Mapping[str, Any]) -> int:
    """The number of layers of a configuration; 0 if it is not found."""
    names = (k for k in default if re.fullmatch(_DEPTH, k) and isinstance(default[k], int))
    return next((default[k] for k in names), 0)


def _tree(default: Mapping[str, Any], tokens: Any, hints: Mapping[str, Any]) -> dict[str, Any]:
    kept = kinds_kept(default)
    less: dict[str, Any] = {}
    for name, value in default.items():
        within = hints.get(name)
        if name in hints and not isinstance(within, Mapping):
            continue
        if isinstance(value, Mapping):
            new = _nested(name, value, tokens, within or {})
        else:
            new = _entry(name, value, kept, layers_of(default), tokens)
        if name in _SHARED_HEADS and default.get("kv_lora_rank"):
            new = HEADS  # latent attention: one key head per query head
        if new is not None:
            less[name] = new
    return less


def _nested(name: str, value: Mapping[str, Any], tokens: Any, hints: Mapping[str, Any]) -> Any:
    if not name.endswith(("_config", "encoder", "decoder")) or name == "per_layer_config":
        return None
    known = {"model_type": value["model_type"]} if value.get("model_type") else {}
    own = {k: v for k, v in hints.items() if not isinstance(v, Mapping)}
    return _tree(value, tokens, hints) | known | own


def _entry(name: str, value: Any, kept: list[int], n: int, tokens: Any) -> Any:
    """The small value of one entry; None keeps the default."""
    if name in _DERIVED or name.startswith("_") or isinstance(value, bool):
        return None
    if value is None:
        return HEAD if name == "head_dim" else None
    if _TOKEN.fullmatch(name):
        first = value[0] if isinstance(value, list) and value else value
        return next(tokens) if isinstance(first, int) else None
    if isinstance(value, int):
        return len(kept) if re.fullmatch(_DEPTH, name) and kept else number(name, value)
    if _by_layer(value, n):
        return [_item(name, value[i]) for i in kept]
    if _indices(name, value, n):
        return [kept.index(i) for i in value if i in kept]
    return None


def _item(name: str, value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return number(name.removesuffix("_per_layer"), value) or value
    return value


def number(name: str, value: int) -> int | None:
    """The small value of a number by its name; None if no rule knows the name.

    >>> number("num_attention_heads", 32), number("num_key_value_heads", 1), number("seed", 7)
    (4, 1, None)
    """
    if value <= 0:
        return None
    return next((less(value) for pattern, less in _RULES if pattern.fullmatch(name)), None)


def _by_layer(value: Any, n: int) -> bool:
    """A list with one entry for each layer."""
    return isinstance(value, list | tuple) and n > 1 and len(value) == n


def _indices(name: str, value: Any, n: int) -> bool:
    """A list of some of the layers, by number."""
    if not isinstance(value, list | tuple) or not re.fullmatch(_NAMED, name):
        return False
    return all(isinstance(i, int) and 0 <= i < n for i in value)
