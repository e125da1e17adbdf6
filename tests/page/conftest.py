"""A strict reader of pages, where what a browser forgives is an error; and an embedding."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
import pytest

from pe_inspect.families import families
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()

    def all(self, tag: str, **attributes: str) -> list[Element]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            e
            for e in self.walk()
            if e.tag == tag and all(e.attributes.get(n) == v for n, v in wanted.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """The text inside, in document order, with single spaces."""
        return " ".join("".join(self.texts).split())

    def __getitem__(self, name: str) -> str | None:
        return self.attributes[name]


class Reader(HTMLParser):
    """Builds a tree, and fails on anything that is not closed, or closed twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document", {})
        self.open = [self.root]
        self.declarations: list[str] = []

    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute: {names}"
        element = Element(tag, dict(attrs), self.open[-1])
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert tag not in VOID, f"</{tag}> closes an element that has no end"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment in the page: {data!r}")


def read(page: str) -> Element:
    """Return the document's tree."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root], f"never closed: {[e.tag for e in reader.open[1:]]}"
    assert reader.declarations == ["doctype html"]
    return reader.root


@pytest.fixture
def read_page():
    """The strict reader: page text → tree."""
    return read


def make_embedding(**changes) -> PositionEmbedding:
    """A LaPE-style table of a 3×4 grid with one prefix row, 8 channels and two blocks."""
    draw = np.random.default_rng(7)
    rows, columns, prefix, width, depth = 3, 4, 1, 8, 2
    table = LayerPE("input", draw.normal(size=(prefix + rows * columns, width)), (rows, columns), 1)
    norms = tuple(
        LayerNormParams(
            f"blocks.{i}", name, 1 + 0.1 * draw.normal(size=width), draw.normal(size=width), 1e-6
        )
        for i in range(depth)
        for name in ("norm1", "pe_norm")
    )
    given = {
        "family": "learned_absolute",
        "kind": "vectors",
        "join": "lape",
        "tables": (table,),
        "norms": norms,
        "source": "runs/small.pth",
        "sha256": "0123456789abcdef" * 4,
        "notes": ("grid 3×4 inferred from 12 patch rows",),
        "keys": ("pos_embed", "blocks.0.pe_norm.weight"),
        "num_prefix_tokens": 1,
        "depth": depth,
        "num_parameters": 13 * 8 + depth * 2 * 8,
        "patch_size": (16, 16),
    }
    family = changes.get("family", given["family"])
    facts = families[family].facts if family in families else FamilyFacts()
    return PositionEmbedding(**{**given, "facts": facts, **changes})


@pytest.fixture(scope="session")
def embedding():
    """`make_embedding`, as a fixture that tests call."""
    return make_embedding
