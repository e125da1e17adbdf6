"""Pickles that would run code: nothing runs, every global is named, the exit code is 3."""

from __future__ import annotations

import argparse
import collections
import copyreg
import functools
import importlib
import io
import operator
import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pe_inspect.errors import UnreadableCheckpoint, UnsafeCheckpoint
from pe_inspect.loading import load
from pe_inspect.loading.pickle_globals import find_global
from pe_inspect.loading.unpickler import load_plain

CANARY = "canary-was-touched"


class Reduced:
    """Pickles as a call of what it is given."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def touch(path: str) -> None:
    Path(path).touch()


class WithState:
    """A class whose `__setstate__` would run code."""

    def __setstate__(self, state: Any) -> None:
        touch(state["path"])

    def __getstate__(self) -> Any:
        return {"path": CANARY}


class WithReduce:
    """A class that reduces itself."""

    def __reduce__(self) -> Any:
        return WithReduce, (), {"path": CANARY}


ORDERED = Reduced(collections.OrderedDict, ([["a", Reduced(os.system, (f"touch {CANARY}",))]],))
PAYLOADS = {
    "os.system": (Reduced(os.system, (f"touch {CANARY}",)), "posix.system"),
    "subprocess": (Reduced(subprocess.call, (["touch", CANARY],)), "subprocess.call"),
    "eval": (Reduced(eval, (f"open({CANARY!r}, 'w')",)), "builtins.eval"),
    "exec": (Reduced(exec, (f"open({CANARY!r}, 'w')",)), "builtins.exec"),
    "open": (Reduced(open, (CANARY, "w")), r"io\.open"),
    "getattr": (Reduced(getattr, (Path, "touch")), "builtins.getattr"),
    "partial": (Reduced(functools.partial, (os.system, f"touch {CANARY}")), "functools.partial"),
    "attrgetter": (operator.attrgetter("system"), "operator.attrgetter"),
    "methodcaller": (operator.methodcaller("touch"), "operator.methodcaller"),
    "frombuffer": (Reduced(np.frombuffer, (b"ab", "u1")), "numpy.*frombuffer"),
    "np.load": (Reduced(np.load, (CANARY,)), "numpy.*load"),
    "memmap": (Reduced(np.memmap, (CANARY, "u1", "w+", 0, (4,))), r"numpy\.memmap"),
    "torch.load": (Reduced(torch.load, (CANARY,)), "torch.serialization.load"),
    "load_from_bytes": (
        Reduced(torch.storage._load_from_bytes, (b"",)),
        "torch.storage._load_from_bytes",
    ),
    "reconstructor": (Reduced(copyreg._reconstructor, (Path, object, None)), "_reconstructor"),
    "import": (Reduced(__import__, ("os",)), "__import__"),
    "setstate": (WithState(), "WithState"),
    "reduce": (WithReduce(), "WithReduce"),
    "module": (torch.nn.Linear(3, 4), r"torch\.nn\.modules\.linear\.Linear"),
    "nested": ({"a": [{"b": (Reduced(os.system, (f"touch {CANARY}",)),)}]}, "posix.system"),
    "in an ordered dict": (ORDERED, "posix.system"),
    "as a key": ({Reduced(os.system, (f"touch {CANARY}",)): 1}, "posix.system"),
    "in a namespace": (
        argparse.Namespace(x=Reduced(os.system, (f"touch {CANARY}",))),
        "posix.system",
    ),
    "a class": (subprocess.Popen, "subprocess.Popen"),
}


def _protocol_zero_calls() -> dict[str, bytes]:
    command = f"touch {CANARY}".encode()
    return {
        "INST": b"(S'" + command + b"'\niposix\nsystem\n.",
        "OBJ": b"(cposix\nsystem\nS'" + command + b"'\no.",
        "GLOBAL REDUCE": b"cposix\nsystem\n(S'" + command + b"'\ntR.",
        "STACK_GLOBAL of memoised names": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01"
        b"\x93\x8c" + bytes([len(command)]) + command + b"\x85R.",
        "BUILD on a class": b"\x80\x02cposix\nsystem\n}U\x0c__setstate__cposix\nsystem\nsb.",
        "NEWOBJ": b"\x80\x02cposix\nsystem\n(S'" + command + b"'\nt\x81.",
        "NEWOBJ_EX": b"\x80\x04cposix\nsystem\n(S'" + command + b"'\nt}\x92.",
        "under OrderedDict's BUILD": b"\x80\x02ccollections\nOrderedDict\n)R}U\x01xcposix\nsystem\n"
        b"sb.",
    }


@pytest.fixture(autouse=True)
def _no_canary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / CANARY).exists(), "the payload ran"


def _names(error: pytest.ExceptionInfo[UnsafeCheckpoint]) -> str:
    assert error.value.exit_code == 3
    assert "needs pickle globals that could run code" in str(error.value)
    assert "Nothing was run. If you trust the file, pass --trust-pickle." in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_is_refused_and_named(name, is_zip, saved):
    payload, expected = PAYLOADS[name]
    contents = {"model": {"pos_embed": torch.ones(3)}, "extra": payload}
    path = saved(contents, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UnsafeCheckpoint, match=expected) as error:
        load(path)
    _names(error)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_bare_pickle_is_refused_in_every_protocol(protocol, tmp_path):
    path = tmp_path / "bare.pth"
    path.write_bytes(pickle.dumps(Reduced(os.system, (f"touch {CANARY}",)), protocol=protocol))
    with pytest.raises(UnsafeCheckpoint, match=r"posix\.system"):
        load(path)


@pytest.mark.parametrize("name", _protocol_zero_calls())
def test_every_opcode_that_calls_is_refused(name, archive):
    with pytest.raises(UnsafeCheckpoint, match=r"posix\.system"):
        load(archive(_protocol_zero_calls()[name]))


@pytest.mark.parametrize("opcode", [b"\x82\x07", b"\x83\x07\x00", b"\x84\x07\x00\x00\x00"])
def test_the_extension_registry_is_never_asked(opcode, archive):
    copyreg.add_extension("posix", "system", 7)
    pickle.loads(b"\x80\x02" + opcode + b".")  # the interpreter has it in its cache now
    try:
        with pytest.raises(UnsafeCheckpoint, match="extension registry code 7"):
            load(archive(b"\x80\x02" + opcode + f"U{chr(12)}touch canary\x85R.".encode()))
    finally:
        copyreg.remove_extension("posix", "system", 7)


def test_all_globals_are_named_not_only_the_first(saved):
    path = saved([Reduced(os.system, ("",)), Reduced(eval, ("1",)), subprocess.Popen])
    with pytest.raises(UnsafeCheckpoint) as error:
        load(path)
    names = _names(error)
    assert all(name in names for name in ("posix.system", ".eval", "subprocess.Popen"))


def test_a_whole_model_says_how_to_save_it_instead(saved):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.LayerNorm(4))
    with pytest.raises(UnsafeCheckpoint, match=r"save\(model\.state_dict\(\)") as error:
        load(saved({"model": model}))
    names = _names(error)
    assert "Conv2d" in names
    assert "LayerNorm" in names


def test_nothing_is_called_once_a_global_was_refused():
    pickled = b"\x80\x02cposix\nsystem\n0ccollections\nOrderedDict\n(]]K\x01a]K\x02aetR."
    with pytest.raises(UnsafeCheckpoint, match=r"posix\.system"):
        load_plain(io.BytesIO(pickled), "x.pth")


def test_a_name_cannot_write_to_the_terminal(archive):
    with pytest.raises(UnsafeCheckpoint) as error:
        load(archive(b"\x80\x02cos\x1b[2J" + b"a" * 500 + b"\nsystem\n."))
    assert "\x1b" not in str(error.value)
    assert r"os\x1b[2J" in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02]ccollections\nOrderedDict\nb.",  # BUILD of a list
        b"\x80\x02ctorch\nSize\n}U\x08functionU\x01xsb.",  # BUILD of a replacement
        b"\x80\x02}U\x01xK\x01sK\x02\x85R.",  # a dict is called
        b"\x80\x02K\x01K\x02\x85R.",  # a number is called
        b"\x80\x02ctorch\nfloat32\n)R.",  # a name is called
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nK\x01(K\x02tNtR.",
        b"\x80\x02(U\x06moduleU\x01xtQ.",  # a persistent id that is no storage
        b"\x80\x02c_codecs\nencode\n(U\x01xU\x04zlibtR.",
        b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",  # two gigabytes of zeros
        b"\x80\x02cbuiltins\nset\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85RR\x85R.",
        b"\x80\x02r\xff\xff\xff\x7f.",  # a memo of two thousand million entries
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # an integer of two gigabytes
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00.",  # bytes beyond the end
        b"\x80\x02}(" + b")" + b"\x85" * 100_000 + b"K\x01u.",  # a key that overflows the C stack
        b"\x80\x05\x97.",  # an out-of-band buffer
        b"\x80\x09.",
        b"\x80\x02",
        b"",
        b"\xff\xff",
    ],
)
def test_nonsense_is_refused_in_one_plain_line(pickled, archive):
    with pytest.raises(UnreadableCheckpoint, match=r"pickle is truncated or damaged|no tensors"):
        load(archive(pickled))


@pytest.mark.parametrize("key", ["../data.pkl", "/etc/passwd", "..\\..\\x", "0/../0", ""])
def test_a_storage_is_only_ever_a_member_of_the_archive(key, archive):
    name = key.encode()
    pid = b"(U\x07storagectorch\nFloatStorage\nX" + len(name).to_bytes(4, "little") + name
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"U\x03cpuK\x01tQK\x00(K\x01t(K\x01t"
    pickled = b"\x80\x02}U\x01x" + tensor + b"\x89Nt" + b"Rs."
    with pytest.raises(UnreadableCheckpoint, match="no such member"):
        load(archive(pickled))


def test_parts_that_refer_to_each_other_a_billion_times_stay_small(archive):
    pickled = b"\x80\x02}q\x00" + b"".join(
        b"](" + (b"h" + bytes([i])) * 10 + b"eq" + bytes([i + 1]) for i in range(30)
    )
    with pytest.raises(UnreadableCheckpoint, match="holds no tensors"):
        load(archive(pickled + b"."))


def test_a_part_that_contains_itself_is_no_trap(archive):
    with pytest.raises(UnreadableCheckpoint, match="holds no tensors"):
        load(archive(b"\x80\x02}q\x00U\x04selfh\x00s."))


def test_a_pickle_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    from pe_inspect.loading.formats import pytorch_zip

    monkeypatch.setattr(pytorch_zip, "LARGEST_PICKLE", 1 << 20)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(3 << 20))
    with pytest.raises(UnreadableCheckpoint, match=r"data\.pkl is larger than 1 MiB"):
        load(path)


def test_trust_runs_the_pickle_and_reads_what_it_made(saved, equal):
    model = torch.nn.LayerNorm(6)
    path = saved({"model": model, "epoch": 3, "args": argparse.Namespace(join_type="share")})
    ckpt = load(path, trust_pickle=True)
    assert equal(ckpt.tensor("weight"), model.weight)
    assert ckpt.hints.join == "share"
    assert "--trust-pickle: the file's pickle was allowed to run code" in ckpt.notes


def test_trust_of_a_file_that_cannot_be_unpickled_is_one_line(tmp_path):
    path = tmp_path / "gone.pth"
    path.write_bytes(b"\x80\x02cno_such_module\nThing\n)R.")
    with pytest.raises(UnreadableCheckpoint, match=r"was trusted, and cannot be unpickled: Module"):
        load(path, trust_pickle=True)


@pytest.mark.parametrize("module", ["builtins", "numpy", "torch", "collections", "pathlib"])
def test_what_stands_for_a_global_is_never_the_global(module):
    real = importlib.import_module(module)
    stand_ins = {name: find_global(module, name) for name in dir(real)}
    assert not [
        name
        for name, stand_in in stand_ins.items()
        if stand_in is not None
        and (stand_in is getattr(real, name) or callable(stand_in) or hasattr(stand_in, "__dict__"))
    ]
