"""How the house is built: modules, questions by kind, private imports, circles, depth of calls.

    python benchmarks/house.py [--root PATH] [--list] [--time-info [3000,10000]]

Reads the source of a checkout (by default the one this script lies in) as text, never imports
it, and runs three of its commands on a shipped checkpoint in processes of their own. A room is
the first part of a path under `pe_inspect/`. `--list` prints every place that was counted.
`--time-info` times `info` on files of so many tiny tensors, which it makes itself.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import resource
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from large_vit import FLOAT32, vit_shapes

PACKAGE = "pe_inspect"
KINDS = {"vectors", "bias", "phases", "relative", "function", "response", "computed_bias"}
JOINS = {"lape", "share", "unshare", "input", "layer", "pvg", "mpvg", "none"}
APART = {"resampling", "_resampling", "_checks"}  # parts of analysis/ that belong to other rooms
TIMEOUT, SIZES = 120, "3000,10000,30000,100000"  # seconds; tensors

Edge = tuple[str, str, str, str]  # importer, imported module, name taken from it, when
listed: dict[str, list[str]] = {}  # the places behind a row


@dataclass
class Module:
    """One source file: its dotted name, its path in the checkout and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module
    lines: int


def is_private(name: str) -> bool:
    """Whether a name starts with one underscore and not with two."""
    return name.startswith("_") and not name.startswith("__")


def room(dotted: str) -> str:
    """Return the room of a module; the package itself is the room `""`."""
    return [*dotted.split("."), ""][1]


def read(root: Path) -> dict[str, Module]:
    """Parse every module of the package, by dotted name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        inside, text = path.relative_to(root), path.read_text(encoding="utf-8")
        parts = inside.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, inside, ast.parse(text), len(text.splitlines()))
    return found


def row(label: str, value: object, places: Iterable[str] = ()) -> None:
    """Print one row; `--list` shows its places."""
    print(f"  {label:72} {value!s:>16}")
    listed[label] = list(places)


def counted(label: str, places: list[str]) -> None:
    """Print how many places there are and in how many files."""
    row(label, f"{len(places)} in {len({p.split(':')[0] for p in places})} files", places)


def imports(module: Module, modules: dict[str, Module]) -> Iterator[Edge]:
    """Yield what a module imports of its own package, and when: run, type, deferred, registry."""
    for node, when in _timed(module.tree, "run"):
        targets: list[tuple[str, str]] = []
        if isinstance(node, ast.Import):
            targets = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            wholes = [(f"{base}.{alias.name}", alias.name) for alias in node.names]
            targets = [(whole, "") if whole in modules else (base, n) for whole, n in wholes]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Registry"):
            targets, when = [(name, "") for name in _registered(node, module, modules)], "registry"
        yield from ((module.name, to, name, when) for to, name in targets if to in modules)


def _timed(node: ast.AST, when: str) -> Iterator[tuple[ast.AST, str]]:
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    inner = "deferred" if is_function else when
    for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    for child in ast.iter_child_nodes(node):
        own = "type" if for_types and child in node.body else inner
        yield child, own
        yield from _timed(child, own)


def _base(module: Module, node: ast.ImportFrom) -> str:
    folder = module.path.parts[: len(module.path.parts) - node.level] if node.level else ()
    return ".".join([*folder, *filter(None, [node.module])])


def _registered(call: ast.Call, module: Module, modules: dict[str, Module]) -> list[str]:
    """Return what a `Registry(…, "package")` imports when it is first used."""
    words = [*call.args, *(keyword.value for keyword in call.keywords)]
    folders = {word.value for word in words if isinstance(word, ast.Constant)}
    if any(isinstance(word, ast.Name) and word.id == "__name__" for word in words):
        folders.add(module.name)
    inside = [name.rpartition(".") for name in modules if name.rpartition(".")[0] in folders]
    return [f"{folder}.{name}" for folder, _, name in inside if not is_private(name)]


def circles(edges: Iterable[Edge]) -> list[list[str]]:
    """Return the groups of modules that import each other, around whatever corners."""
    graph: dict[str, set[str]] = {}
    for importer, imported, _, _ in edges:
        graph.setdefault(importer, set()).add(imported)
    ahead = {name: reachable(name, graph) for name in list(graph)}
    inside = [name for name in ahead if name in ahead[name]]
    groups = {frozenset(o for o in inside if o in ahead[n] and n in ahead[o]) for n in inside}
    return sorted(map(sorted, groups))


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    """Return what can be reached from a node, itself only around a circle."""
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting.extend(graph.get(name, ()))
    return seen


def texts(node: ast.AST) -> set[str]:
    """Return the texts of a literal: one, or those of a tuple, list, set or dict's keys."""
    if isinstance(node, ast.Dict):
        return set().union(*(texts(key) for key in node.keys if key is not None))
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return set().union(*map(texts, node.elts))
    if isinstance(node, ast.Call) and node.args:  # frozenset((…))
        return texts(node.args[0])
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def names_it(node: ast.AST, subject: str) -> bool:
    """Whether a name or a chain of attributes holds the subject: `pe.kind`, `kind.name`."""
    chain = ast.unparse(node).split(".") if isinstance(node, ast.Name | ast.Attribute) else []
    return any(name == subject or name.endswith(f"_{subject}") for name in chain)


def last_name(node: ast.AST) -> str:
    """Return `B` of `B` and of `a.B`."""
    return str(getattr(node, "id", getattr(node, "attr", "")))


def variables_of(words: set[str], modules: Iterable[Module]) -> set[str]:
    """Return the names of variables that hold nothing but these words."""
    return {
        last_name(target)
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if texts(node.value) and texts(node.value) <= words
    }


def asks(node: ast.AST, subject: str, words: set[str], variables: set[str]) -> bool:
    """Whether a node asks which of the words the subject is."""
    if isinstance(node, ast.Match):
        return names_it(node.subject, subject)
    sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
    others = [side for side in sides if not names_it(side, subject)]
    tells = (
        texts(side) & words
        or last_name(side) in variables
        or last_name(side).strip("_").lower() in words
        for side in others
    )
    return len(others) < len(sides) and any(tells)


def looks_up(node: ast.AST, subject: str, variables: set[str]) -> bool:
    """Whether a node takes its answer out of a table by the subject."""
    if isinstance(node, ast.Subscript):
        table, key = node.value, node.slice
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
        table, key = node.func.value, node.args[0]
    else:
        return False
    is_known = isinstance(table, ast.Dict) or last_name(table) in variables
    return is_known and names_it(key, subject)


def is_table(node: ast.AST, words: set[str], fewest: int) -> bool:
    """Whether a node is a dict whose keys are such words and nothing else."""
    keys = node.keys if isinstance(node, ast.Dict) else []
    return len(keys) >= fewest and all(key and texts(key) and texts(key) <= words for key in keys)


def is_list(node: ast.AST, words: set[str]) -> bool:
    """Whether a node is a tuple, list or set of such words and nothing else."""
    found = texts(node) if isinstance(node, ast.Tuple | ast.List | ast.Set) else set()
    return bool(found) and found <= words


def family_names(modules: dict[str, Module]) -> set[str]:
    """Return the names of the schemes: the modules of `families/` that register themselves."""
    inside = [m for n, m in modules.items() if n.startswith(f"{PACKAGE}.families.")]
    return {m.path.stem for m in inside if "Family(" in ast.unparse(m.tree)}


def print_questions(subject: str, words: set[str], modules: list[Module]) -> None:
    """Print how often code asks for a subject outside its room."""
    home = "families" if subject == "family" else "kinds"
    outside = [module for module in modules if room(module.name) != home]
    names, fewest = variables_of(words, outside), 1 if subject == "family" else 2

    def places(fits: Callable[[ast.AST], bool]) -> list[str]:
        nodes = ((module, node) for module in outside for node in ast.walk(module.tree))
        found = [(m, node) for m, node in nodes if fits(node)]
        return [f"{m.path}:{n.lineno}: {ast.unparse(n).splitlines()[0][:80]}" for m, n in found]

    print(f"\nQuestions by {subject}, outside {home}/")
    counted(f"comparisons with a {subject}", places(lambda n: asks(n, subject, words, names)))
    counted(f"look-ups in a table by {subject}", places(lambda n: looks_up(n, subject, names)))
    counted(f"tables by {subject}", places(lambda n: is_table(n, words, fewest)))
    if subject == "kind":
        counted("`is_pairwise` read", places(lambda n: getattr(n, "attr", "") == "is_pairwise"))
    else:
        counted(f"lists that name a {subject}", places(lambda n: is_list(n, words)))


WATCHED = """
import json, os, sys
package, target = os.path.join(sys.argv[1], "pe_inspect") + os.sep, sys.argv[2]
sys.argv = ["pe-inspect", *sys.argv[3:]]
deepest = []

def watch(frame, event, _):
    global deepest
    if event != "call" or not frame.f_code.co_filename.startswith(package):
        return
    chain = []
    while frame is not None:
        code, frame = frame.f_code, frame.f_back
        if code.co_filename.startswith(package):
            if code.co_name == "<module>":  # an import, which is no call
                return
            if code.co_name not in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"):
                chain.append(f"{code.co_filename[len(package):]}: {code.co_qualname}")
    deepest = max(deepest, chain[::-1], key=len)

from pe_inspect.commands import main
sys.setprofile(watch)
try:
    main()
finally:
    sys.setprofile(None)
    own = sorted(name for name in sys.modules if name.split(".")[0] == "pe_inspect")
    with open(target, "w") as file:
        json.dump({"modules": own, "chain": deepest}, file)
"""


def watched(root: Path, words: list[str]) -> dict[str, list[str]]:
    """Run one command in a process of its own: its own modules, those timed, its deepest chain."""
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", f"{folder}/out", "--no-figures"] if words[0] != "info" else []
        how = [sys.executable, "-X", "importtime", "-c", WATCHED, str(root), f"{folder}/seen"]
        done = subprocess.run([*how, *words, *out], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
        timed = [said.rpartition("|")[2].strip() for said in done.stderr.splitlines()]
        own = {name for name in timed if name.split(".")[0] == PACKAGE}
        return {"timed": sorted(own), **json.loads(Path(folder, "seen").read_text())}


def print_runs(root: Path) -> None:
    """Print what three commands execute, and how deep their calls go."""
    file = str(root / "checkpoints" / "cifar10-lape")
    print("\nRunning on checkpoints/cifar10-lape, without figures")
    for words in (["info", file], ["similarity", file], ["interpolate", file, "--grid", "5x9"]):
        seen = watched(root, words)
        row(f"own modules executed by {words[0]}", len(seen["modules"]), seen["modules"])
        row("  of these seen by -X importtime", len(seen["timed"]))
        row(f"  deepest chain of own calls of {words[0]}", len(seen["chain"]), seen["chain"])


def write_many(path: Path, count: int) -> None:
    """Write a plain ViT of width 4 with `count` tensors, all zeros."""
    wide = vit_shapes(count / 8 * 12 * 1024**2 * FLOAT32 / 1e9)  # eight tensors a block
    header, end = {}, 0
    for name, shape in islice(wide.items(), count):
        narrow = [size // 256 if size >= 1024 else size for size in shape]
        start, end = end, end + FLOAT32 * math.prod(narrow)
        header[name] = {"dtype": "F32", "shape": narrow, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)


def seconds_of_info(count: int) -> str:
    """Return the CPU time of `info` on a file of `count` tensors, start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        write_many(Path(folder, "many.safetensors"), count)
        line = [sys.executable, "-m", PACKAGE, "info", f"{folder}/many.safetensors"]
        start = cpu_seconds()
        try:
            subprocess.run(line, cwd=folder, check=True, timeout=TIMEOUT, capture_output=True)
        except subprocess.TimeoutExpired:
            return f"over {TIMEOUT} s"
        return f"{cpu_seconds() - start:.2f} s"


def cpu_seconds() -> float:
    """Return the CPU time of all processes that were started and have ended."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def print_modules(modules: dict[str, Module], edges: list[Edge]) -> None:
    """Print the sizes of the house."""
    importers: dict[str, set[str]] = {name: set() for name in modules}
    for importer, imported, _, when in edges:
        importers[imported] |= {importer} if when != "registry" else set()
    every = [*modules.values()]
    private = [m for m in every if is_private(m.path.stem)]
    analysis = [m for m in every if room(m.name) == "analysis"]
    kept = [m for m in analysis if not APART & set(m.name.split("."))]
    crossing = [m for m in private if {room(n) for n in importers[m.name]} - {room(m.name)}]
    groups = {
        "modules": every,
        "modules named with an underscore": private,
        "  with a single importer": [m for m in private if len(importers[m.name]) == 1],
        "  imported across rooms": crossing,
        "analysis/": analysis,
        "analysis/ without resampling and checks": kept,
        "  of these named with an underscore": [m for m in kept if is_private(m.path.stem)],
    }
    print("Modules (and their lines)")
    for label, group in groups.items():
        value = f"{len(group):,} ({sum(m.lines for m in group):,})"
        row(label, value, (str(m.path) for m in group))


def print_imports(edges: list[Edge]) -> None:
    """Print private imports across rooms, and circles."""
    across = {(of, to, n) for of, to, n, how in edges if room(of) != room(to) and how != "registry"}
    private = sorted(e for e in across if any(map(is_private, [*e[1].split("."), e[2]])))
    print("\nImports")
    for label, found in (
        ("private modules or names imported across rooms", private),
        ("  of these from inside a room", [e for e in private if not is_private(room(e[1]))]),
    ):
        counted(label, [f"{of}: {to} {name}" for of, to, name in found])
    back = {(to, of) for of, to, _, when in edges if when == "registry"}
    edges = [edge for edge in edges if edge[:2] not in back]  # an entry knows its own registry
    whens = {"run": "at once", "type": "+ types", "deferred": "+ later", "registry": "+ registries"}
    seen: set[str] = set()
    for when, label in whens.items():
        seen.add(when)
        found = circles(edge for edge in edges if edge[3] in seen)
        sizes = f"{len(found)} ({sum(map(len, found))})"
        row(f"circles of imports {label} (modules in them)", sizes, map(" ".join, found))


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--list", action="store_true", help="print every place counted")
    parser.add_argument("--time-info", nargs="?", const=SIZES, default="", metavar="SIZES")
    given = parser.parse_args()
    modules = read(root := given.root.resolve())
    os.environ.update(PYTHONPATH=str(root), OMP_NUM_THREADS="1")
    edges = [edge for module in modules.values() for edge in imports(module, modules)]
    print_modules(modules, edges)
    for words, of in ((KINDS, "kind"), (JOINS, "join"), (family_names(modules), "family")):
        print_questions(of, words, [*modules.values()])
    print_imports(edges)
    print_runs(root)
    for count in map(int, filter(None, given.time_info.split(","))):
        row(f"CPU time of info on {count:,} tensors", seconds_of_info(count))
    for label, places in listed.items() if given.list else ():
        print(f"\n{label.strip()}", *(f"  {place}" for place in places), sep="\n")


if __name__ == "__main__":
    main()
