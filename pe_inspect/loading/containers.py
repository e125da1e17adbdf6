"""Which of a file's dictionaries is the state dict.

Training scripts save the weights beside optimizers, exponential averages, teachers and arguments.
Raw weights are ordinary, then what a method's authors evaluate, then averages; where there is a
choice a note tells it, and a dotted `--state-dict-key` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from pe_inspect.errors import UnreadableCheckpoint, UsageError, printable
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.registry import did_you_mean

__all__ = ["StateDict", "find_state_dict", "weights_in"]

CONTAINERS: Final = (
    *("model", "state_dict", "model_state_dict", "model_state", "module", "net", "network"),
    *("params", "weights", "teacher", "target_encoder", "encoder", "student", "backbone"),
    *("model_ema", "state_dict_ema", "model_state_dict_ema", "ema_state_dict", "ema_model"),
    *("params_ema", "ema", "shadow"),
)
"""Names of state dicts in files, the ordinary ones first."""

NOT_WEIGHTS: Final = re.compile(
    r"optim|sched|scaler|rng|random|^opt(_state)?$|^amp$|^callbacks$|^loops$|criterion|loss|"
    r"metrics?$|queue|_metadata$|hyper_parameters|^args$|^config$"
)
LONE_TENSOR: Final = "pos_embed"
LONGEST_NAME: Final = 500
MOST_OFFERED: Final = 200
_IN_ATTENTION: Final = re.compile(r"bias_table|relative_position|rel_pos|attention_bias|rpb")


@dataclass(frozen=True)
class StateDict:
    """The chosen tensors, by their names in the state dict.

    Attributes:
        tensors: name → tensor; each tensor's `key` is its whole name in the state dict.
        beside: what lies beside the state dict, of all levels above it.
        notes: which container was taken, where there was a choice.
    """

    tensors: dict[str, StoredTensor]
    beside: dict[str, Any]
    notes: tuple[str, ...] = ()


def find_state_dict(tree: Any, source: str, wanted: str | None = None) -> StateDict:
    """Return the state dict of a file's tree.

    Args:
        tree: what a format's reader returned.
        source: what messages call the file.
        wanted: the dotted path of a container, or of a common prefix of names; or the name of the
            tensor to take for the table.

    Raises:
        UnreadableCheckpoint: there are no tensors in the file.
        UsageError: nothing is called `wanted`; the message offers what there is.
    """
    if isinstance(tree, StoredTensor):
        lone = tree.named(tree.key or LONE_TENSOR)
        return StateDict({LONE_TENSOR: lone}, {}, (f"a lone tensor is taken for {LONE_TENSOR}",))
    root, held = _children(tree), Holdings()
    if not held.of(root).tensors:
        raise UnreadableCheckpoint(_no_tensors(source, root))
    return _wanted(root, source, wanted, held) if wanted else _descend(root, {}, held)


def weights_in(tree: Any) -> dict[str, StoredTensor]:
    """Return every tensor of a file's tree by its dotted path; of copies of a branch, one.

    Optimizers' states and other things that are no weights are left out.
    """
    return dict(_walk(_children(tree)))


def _children(node: Any) -> dict[str, Any]:
    """The named parts of a dict or list; none for anything else."""
    if isinstance(node, dict):
        is_named = {*map(type, node)} <= {str}
        return node if is_named else {str(name): part for name, part in node.items()}
    return {str(i): part for i, part in enumerate(node)} if isinstance(node, list) else {}


class Holding(NamedTuple):
    """What lies in a part of a tree, and in all that it holds.

    Attributes:
        tensors: how many there are in what may be weights; of each way to a branch.
        is_dotted: whether the part's own names have dots, as those of a state dict do.
    """

    tensors: int
    is_dotted: bool


class Holdings:
    """What lies in each part of a tree; every part is looked at once, however many lead to it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Holding]] = {}  # the part too: it keeps its id

    def of(self, part: Any) -> Holding:
        """Return what lies in a part."""
        if id(part) not in self._known:
            self._known[id(part)] = part, Holding(0, False)  # for a part that holds itself
            self._known[id(part)] = part, self._counted(part)
        return self._known[id(part)][1]

    def _counted(self, part: Any) -> Holding:
        names = part if isinstance(part, dict) else ()
        if _is_flat(part):
            return Holding(len(part), any("." in name for name in names))
        inner = (child for _, child in _parts_of_weights(part, ""))
        tensors = sum(isinstance(c, StoredTensor) or self.of(c).tensors for c in inner)
        return Holding(tensors, any("." in str(name) for name in names))


def _is_flat(part: Any) -> bool:
    """Whether a part is names of tensors and nothing else, none of them too long."""
    if not isinstance(part, dict) or {*map(type, part.values())} != {StoredTensor}:
        return False
    return {*map(type, part)} == {str} and max(map(len, part)) <= LONGEST_NAME


def _walk(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, StoredTensor]]:
    """The tensors of a tree with dotted names, each branch visited once.

    Raises:
        UnreadableCheckpoint: a name is longer than that of any weights.
    """
    seen: set[int] = set()
    stack: list[Iterator[tuple[str, Any]]] = [iter([(prefix, node)])]
    while stack:
        path, part = next(stack[-1], ("", None))
        if part is None:
            stack.pop()
        elif isinstance(part, StoredTensor):
            yield path, part
        elif id(part) not in seen:
            seen.add(id(part))
            stack.append(_parts_of_weights(part, path))


def _parts_of_weights(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the tensors and containers of a part that may be weights, with their paths."""
    for name, child in _children(part).items():
        is_tensor = isinstance(child, StoredTensor)
        if is_tensor or (isinstance(child, dict | list) and not NOT_WEIGHTS.search(name)):
            yield _joined(path, name), child


def _joined(path: str, name: str) -> str:
    if len(path) + len(name) > LONGEST_NAME:
        raise UnreadableCheckpoint(
            f"{printable(name)} is a name of {len(path) + len(name):,} characters; those of "
            f"weights have at most {LONGEST_NAME:,}. Expected a state dict."
        )
    return f"{path}.{name}" if path else name


def _descend(node: dict[str, Any], beside: dict[str, Any], held: Holdings) -> StateDict:
    """Go down from container to container until there is a state dict."""
    notes: list[str] = []
    while True:
        options = _options(node, held)
        taken = _ordinary(node, options, held)
        if taken is None:
            return StateDict(
                _flat_tensors(node), {**beside, **_without(node, options)}, tuple(notes)
            )
        notes += _note(taken, [name for name in options if name != taken])
        beside = {**beside, **_without(node, options)}
        node = _children(options[taken])


def _options(node: dict[str, Any], held: Holdings) -> dict[str, Any]:
    """The parts of a node that could be a state dict."""
    return {
        name: part
        for name, part in node.items()
        if isinstance(part, dict | list) and not NOT_WEIGHTS.search(name) and held.of(part).tensors
    }


def _ordinary(node: dict[str, Any], options: dict[str, Any], held: Holdings) -> str | None:
    """Return the option to take, or `None` where the node is the state dict itself."""
    own = sum(isinstance(part, StoredTensor) for part in node.values())
    known = next((name for name in CONTAINERS if name in options), None)
    if known is not None:
        return known if held.of(options[known]).tensors > own else None
    is_nest = not any(held.of(part).is_dotted for part in options.values())
    if own or not options or (is_nest and len(options) > 1):
        return None
    return max(options, key=lambda name: held.of(options[name]).tensors)


def _note(taken: str, others: list[str]) -> list[str]:
    if others:
        also = ", ".join(map(repr, others))
        return [f"took {taken!r}; also present: {also}; --state-dict-key chooses"]
    return [] if taken in CONTAINERS[: CONTAINERS.index("teacher")] else [f"took {taken!r}"]


def _without(node: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: part
        for name, part in node.items()
        if name not in options and not isinstance(part, StoredTensor)
    }


def _flat_tensors(node: dict[str, Any]) -> dict[str, StoredTensor]:
    named = node.items() if _is_flat(node) else _walk(node)
    tensors = {name: tensor.named(name) for name, tensor in named}
    in_params = {
        name.removeprefix("params/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("params/")
    }
    return in_params or tensors  # JAX's archives keep the optimizer beside "params/"


def _wanted(root: dict[str, Any], source: str, wanted: str, held: Holdings) -> StateDict:
    """Follow the user's path; names that only share a prefix are a state dict too."""
    found = _lookup(root, wanted)
    if found is None or not held.of(found).tensors:
        chosen = _descend(root, {}, held)
        if wanted in chosen.tensors:
            return _taken_for_table(chosen, wanted)
        group = _group(chosen.tensors, wanted)
        if group:
            return StateDict(group, chosen.beside)
        known = list(islice(_paths(root, held), MOST_OFFERED))
        raise UsageError(_unknown(source, wanted, known, found is not None))
    beside = _without(root, _options(root, held))
    return _descend(_children(found), beside, held)


def _taken_for_table(chosen: StateDict, wanted: str) -> StateDict:
    """The state dict with one tensor, that the user named, in the place of its table."""
    if _IN_ATTENTION.search(wanted):
        said = f"{wanted!r} is a bias of attention by its name, and is read as one"
        return StateDict(chosen.tensors, chosen.beside, (said,))
    others = {name: t for name, t in chosen.tensors.items() if name not in (wanted, LONE_TENSOR)}
    note = f"{wanted!r} is taken for {LONE_TENSOR} (--state-dict-key)"
    return StateDict({LONE_TENSOR: chosen.tensors[wanted], **others}, chosen.beside, (note,))


def _lookup(node: dict[str, Any], path: str) -> Any:
    """Return what lies at a dotted path; a name may hold dots itself, and the longest wins."""
    if path in node:
        return node[path] if isinstance(node[path], dict | list) else {}
    cuts = [i for i, character in enumerate(path) if character == "."]
    for cut in reversed(cuts):
        inner = node.get(path[:cut])
        if isinstance(inner, dict | list):
            return _lookup(_children(inner), path[cut + 1 :])
    return _group(node, path) or None


def _group(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names start with `prefix.`, without it."""
    start = prefix.removesuffix(".") + "."
    return {
        name[len(start) :]: part.named(name)
        for name, part in node.items()
        if name.startswith(start) and isinstance(part, StoredTensor)
    }


def _unknown(source: str, wanted: str, known: list[str], is_there: bool) -> str:
    if is_there:
        return (
            f"{wanted!r} in {source} holds no tensors. State dicts: {', '.join(known) or 'none'}."
        )
    unknown = f"{source}: {did_you_mean('state dict', wanted, known)}"
    return unknown if "Known:" in unknown else f"{unknown} All: {', '.join(known)}."


def _paths(node: dict[str, Any], held: Holdings, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """The dotted paths of everything that could be a state dict, three levels deep."""
    for name, part in _options(node, held).items() if depth < 3 else ():
        yield prefix + name
        yield from _paths(_children(part), held, f"{prefix}{name}.", depth + 1)


def _no_tensors(source: str, root: dict[str, Any]) -> str:
    held = ", ".join(map(printable, list(root)[:8])) or "nothing"
    return (
        f"{source} holds no tensors (it holds: {held}). Expected a state dict: "
        'torch.save(model.state_dict(), "weights.pth").'
    )
