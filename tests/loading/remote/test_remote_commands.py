"""The command line on names and URLs: what is said where, and what is never said."""

from __future__ import annotations

import json
import traceback

import pytest
from safetensors.torch import save

from pe_inspect.commands.shell import transfers as _transfers
from pe_inspect.commands.shell.describe import as_typed
from pe_inspect.commands.shell.locate import locate
from pe_inspect.commands.shell.program import program
from pe_inspect.loading.transfer import Transfer

TOKEN = "hf_aBcDeFgHiJ"


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in this process; return its code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["pe-inspect", *words])
        code = program()(args=list(words), standalone_mode=False)
        return code, *capsys.readouterr()

    return call


def test_info_of_a_url(run, server, safetensors):
    url = server.put("/runs/tiny.safetensors", safetensors)
    code, out, err = run("info", url, "--grid-size", "3x4")
    assert code == 0
    assert out.startswith("learned_absolute · 3×4 + 1 prefix · D=64")
    assert url in out
    assert err == ""
    code, out, err = run("info", url, "--grid-size", "3x4", "--json")
    said = json.loads(out)
    assert (said["source"], said["sha256"], said["format"]) == (url, None, "safetensors")
    assert any(note.startswith("sha256 is empty") for note in said["notes"])


def test_similarity_of_a_url_is_filed_under_its_name(run, server, safetensors, tmp_path):
    url = server.put("/runs/tiny.safetensors", safetensors)
    code, _, _ = run("similarity", url, "--grid-size", "3x4", "--no-figures", "--save-data")
    assert code == 0
    assert (tmp_path / "reports" / "tiny" / "similarity.npz").is_file()
    assert server.sent < len(safetensors) / 2


def test_a_notice_goes_to_stderr_at_once_unless_quiet(run, server, safetensors):
    server.ranges = False
    url = server.put("/x.safetensors", safetensors)
    _, _, err = run("info", url, "--grid-size", "3x4")
    assert err.startswith(f"Note: {url}: the server gives whole files only; all ")
    quiet = server.put("/y.safetensors", safetensors)
    _, _, err = run("info", quiet, "--grid-size", "3x4", "--quiet")
    assert err == ""


def test_a_terminal_sees_how_far_it_is_and_a_clean_line_in_the_end(
    run, server, safetensors, monkeypatch
):
    monkeypatch.setattr(_transfers, "on_a_terminal", lambda: True)
    monkeypatch.setattr(_transfers, "BETWEEN", 0.0)
    monkeypatch.setenv("COLUMNS", "200")
    url = server.put("/x.safetensors", safetensors)
    _, _, err = run("info", url, "--grid-size", "3x4")
    assert f"{url}: 0.1 MB read" in err
    assert err.endswith("\r\x1b[K")
    server.ranges = False
    _, _, err = run("info", server.put("/y.safetensors", safetensors), "--grid-size", "3x4")
    assert "[########################] 6 of 6 MB" in err


def test_the_line_of_a_download_says_how_long_it_will_take():
    half = Transfer("x.pth", 50_000_000, 200_000_000)
    assert _transfers.line(half, 10.0) == (
        "x.pth: [######------------------] 50 of 200 MB · 5.0 MB/s · 30 s left"
    )
    assert _transfers.line(Transfer("x.pth", 2_340_000), 1.0) == "x.pth: 2.3 MB read"


def test_a_file_that_changes_under_way_is_read_once_more(run, server, safetensors, large_vit):
    url = server.put("/x.safetensors", safetensors)
    other = save({**large_vit, "extra": large_vit["cls_token"] + 1})

    def swap(handler, request):
        if len(server.requests) == 2:
            server.put("/x.safetensors", other)
        return False

    server.answer = swap
    code, out, _ = run("info", url, "--grid-size", "3x4")
    assert code == 0
    assert f"{len(large_vit) + 1} tensors" in out


@pytest.mark.parametrize("more", [[], ["--debug"]])
def test_a_token_is_never_shown(run, serve, monkeypatch, more):
    hub = serve()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.answer = lambda handler, request: handler.give(request, 401, b"no") or True
    code, out, err = run("info", "hf-hub:org/vit", *more)
    assert code == 3
    assert "set HF_TOKEN to a token that may read it; the token that is set now" in err
    assert ("Traceback" in err) == bool(more)
    assert hub.requests[0].authorization == f"Bearer {TOKEN}"
    assert TOKEN not in out + err


def test_a_command_line_is_shown_without_password_and_signature():
    words = ["info", "https://ann:pa@x.org/a.pth?signature=secret", "--out", "what?.txt"]
    assert as_typed(words) == "pe-inspect info 'https://x.org/a.pth?…' --out 'what?.txt'"
    assert as_typed(["info", "a.pth"]) == "pe-inspect info a.pth"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("timm:vit_tiny_patch16_224.augreg", "vit_tiny_patch16_224.augreg"),
        ("hf-hub:org/name", "name"),
        ("hf-hub:org/name@v1.0", "name_v1.0"),
        ("https://x.org/a/deit.pth?download=1", "deit"),
        ("https://huggingface.co/org/name/resolve/main/model.safetensors", "name"),
        ("https://huggingface.co/org/name", "name"),
        ("https://x.org/model.safetensors", "model"),
        ("https://x.org", "checkpoint"),
        ("hf-hub:", "checkpoint"),
    ],
)
def test_reports_of_a_remote_checkpoint_are_filed_under_its_name(given, name):
    assert locate(given).name == name


@pytest.mark.subprocess
def test_nothing_heavy_is_imported_for_a_url(server, safetensors):
    import subprocess
    import sys

    url = server.put("/x.safetensors", safetensors)
    probe = (
        "import sys; from pe_inspect.commands.shell.program import program;"
        f"program()(args=['info', {url!r}, '--grid-size', '3x4'], standalone_mode=False);"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    heavy = {
        "torch",
        "timm",
        "matplotlib",
        "pandas",
        "huggingface_hub",
        "requests",
        "httpx",
        "rich",
    }
    assert heavy.isdisjoint(done.stderr.split())


def test_tracebacks_hold_no_secret_of_a_url(server):
    url = server.url.replace("//", "//ann:sesame@") + "/nope.pth?signature=sesame"
    from pe_inspect.loading import load

    with pytest.raises(Exception, match="there is no such file") as error:
        load(url)
    assert "sesame" not in "".join(traceback.format_exception(error.value))
