"""Operators of onnxruntime that compute what a mixer computes, called one by one."""

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor

Feed = dict[str, Tensor | None]


def linear_attention(rule: str, q: Tensor, k: Tensor, v: Tensor, **rest: Tensor | None) -> Any:
    """y [B, T, H, V] and the last state of `LinearAttention`.

    Args:
        rule: "linear", "gated", "delta" or "gated_delta".
        q: [B, T, H, K]; it may have more heads than v.
        k, v: [B, T, H, K] and [B, T, H, V].
        rest: state [B, H, K, V], decay [B, T, H] or [B, T, H, K], beta [B, T, H].
    """
    heads = dict(q_num_heads=q.shape[2], kv_num_heads=v.shape[2])
    names = ("query", "key", "value", "state", "decay", "beta")
    feed: Feed = dict(query=q, key=k, value=v) | {n: rest.get(n) for n in names[3:]}
    flat = {n: x.flatten(2) if x is not None and n in names[:3] else x for n, x in feed.items()}
    if (gates := flat["decay"]) is not None:
        flat["decay"] = gates.flatten(2)
    y, state = _run("LinearAttention", flat, update_rule=rule, scale=1.0, **heads)
    return y.unflatten(2, (max(q.shape[2], v.shape[2]), -1)), state


def convolution(
    x: Tensor, kernel: Tensor, bias: Tensor | None, state: Tensor | None, activation: str
) -> tuple[Tensor, Tensor]:
    """y [B, C, T] and the last W - 1 inputs [B, C, W - 1] of `CausalConvWithState`, time last.

    Args:
        x: [B, C, T]. kernel: [C, W]. activation: "silu" or "none".
    """
    feed: Feed = dict(input=x, weight=kernel[:, None], bias=bias, state=state)
    y, after = _run("CausalConvWithState", feed, activation=activation)
    return y, after


def _run(operator: str, feed: Feed, **attributes: Any) -> list[Tensor]:
    """The two results of an operator on float32 tensors; what is None is left out."""
    given = tuple(name if x is not None else "" for name, x in feed.items())
    session = _session(operator, given, tuple(sorted(attributes.items())))
    arrays = {n: np.ascontiguousarray(x.numpy()) for n, x in feed.items() if x is not None}
    return [torch.from_numpy(found) for found in session.run(None, arrays)]


@cache
def _session(
    operator: str, given: tuple[str, ...], attributes: tuple[tuple[str, Any], ...]
) -> onnxruntime.InferenceSession:
    """A model of one operator."""
    node = helper.make_node(
        operator, given, ["y", "after"], domain="com.microsoft", **dict(attributes)
    )
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [node], "one", [value(n) for n in given if n], [value("y"), value("after")]
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), how, providers=["CPUExecutionProvider"]
    )
