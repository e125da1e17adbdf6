"""`hf-hub:ORG/NAME[@rev]` and `timm:NAME`: resolved, pinned to a commit, the token kept."""

from __future__ import annotations

import hashlib
import json

import pytest
import timm
from safetensors.torch import save

from pe_inspect.errors import AmbiguousCheckpoint, UnreadableCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.loading.remote import names as _names

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_aBcDeFgHiJ"
REPO = "/org/vit/resolve"


@pytest.fixture
def hub(serve, monkeypatch):
    """A hub with one repository: small files itself, weights by a redirect to another host."""
    hub, store = serve(), serve()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.store = store

    def publish(content, name="model.safetensors", revision="main", **headers):
        store.put(f"/blobs/{name}", content)
        said = {
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            "X-Repo-Commit": COMMIT,
            **headers,
        }

        def answer(handler, request):
            path = request.path.partition("?")[0]
            for at in (revision, COMMIT):
                if path == f"{REPO}/{at}/{name}":
                    location = f"{store.url}/blobs/{name}?signature=x"
                    handler.give(request, 302, b"Found", Location=location, **said)
                    return True
            return False

        hub.answer = answer

    hub.publish = publish
    return hub


def _config(hub, at=COMMIT, **settings):
    hub.put(f"{REPO}/{at}/config.json", json.dumps(settings).encode(), X_Repo_Commit=COMMIT)


def test_a_repository_is_read_as_a_folder_with_its_config(hub, safetensors, large_vit, equal):
    hub.publish(safetensors)
    _config(hub, architecture="vit_tiny_patch16_224", num_heads=3)
    ckpt = load("hf-hub:org/vit")
    assert ckpt.source == "hf-hub:org/vit"
    assert ckpt.format == "huggingface"
    assert ckpt.hints.num_heads == 3
    assert equal(ckpt.tensor("pos_embed"), large_vit["pos_embed"])
    assert f"hf-hub:org/vit: commit {COMMIT} was read" in ckpt.notes
    assert "model.safetensors of the folder was read" in ckpt.notes
    assert [r.path for r in hub.requests] == [
        f"{REPO}/main/model.safetensors",
        f"{REPO}/{COMMIT}/config.json",
    ]


def test_the_hash_is_what_the_hub_states(hub, safetensors):
    hub.publish(safetensors)
    ckpt = load("hf-hub:org/vit")
    sent = hub.store.sent
    assert ckpt.sha256 == hashlib.sha256(safetensors).hexdigest()
    assert hub.store.sent == sent < len(safetensors) / 10


def test_a_git_hash_is_no_sha256(hub, safetensors):
    hub.publish(safetensors, **{"X-Linked-Etag": '"a3f2"'})
    ckpt = load("hf-hub:org/vit")
    assert ckpt.sha256 == ""
    assert any(note.startswith("sha256 is empty: the server does not state") for note in ckpt.notes)


def test_only_the_hub_is_believed_about_hashes(server, safetensors):
    url = server.put("/x.safetensors", safetensors, X_Linked_Etag="0" * 64)
    assert load(url).sha256 == ""


def test_a_size_that_hub_and_store_disagree_about_is_one_line(hub, safetensors):
    hub.publish(safetensors, **{"X-Linked-Size": "5"})
    with pytest.raises(
        UnreadableCheckpoint, match=r"contradicts itself: the hub says 5 bytes, the"
    ):
        load("hf-hub:org/vit")


@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/1", COMMIT])
def test_a_revision_may_be_named(revision, hub, safetensors):
    hub.publish(safetensors, revision=revision.replace("/", "%2F"))
    assert "pos_embed" in load(f"hf-hub:org/vit@{revision}")


def test_a_pinned_commit_is_asked_for_once_and_never_again(hub, safetensors):
    hub.publish(safetensors)
    _config(hub, num_heads=3)
    name = f"hf_hub:org/vit@{COMMIT}"
    load(name).tensor("pos_embed")
    asked = len(hub.requests) + len(hub.store.requests)
    ckpt = load(name)
    assert ckpt.hints.num_heads == 3
    ckpt.tensor("pos_embed")
    assert len(hub.requests) + len(hub.store.requests) == asked


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
)
def test_weights_under_the_other_usual_names_are_found(name, hub, safetensors):
    hub.publish(safetensors, name=name)
    ckpt = load("hf-hub:org/vit")
    assert f"{name} of the folder was read" in ckpt.notes
    assert len(hub.requests) <= 8


def test_shards_are_one_checkpoint(hub, large_vit, equal, tmp_path, monkeypatch):
    first = {k: v for k, v in large_vit.items() if k.startswith("blocks")}
    second = {k: v for k, v in large_vit.items() if k not in first}
    weight_map = {**dict.fromkeys(first, "a.safetensors"), **dict.fromkeys(second, "b.safetensors")}
    index = json.dumps({"weight_map": weight_map}).encode()
    for at in ("main", COMMIT):
        for name, content in (
            ("model.safetensors.index.json", index),
            ("a.safetensors", save(first)),
            ("b.safetensors", save(second)),
        ):
            hub.put(f"{REPO}/{at}/{name}", content, X_Repo_Commit=COMMIT)
    ckpt = load("hf-hub:org/vit")
    assert equal(ckpt.tensor("pos_embed"), large_vit["pos_embed"])
    assert equal(ckpt.tensor("blocks.1.norm1.bias"), large_vit["blocks.1.norm1.bias"])
    assert hub.sent < len(save(large_vit)) / 4
    del hub.files[f"{REPO}/{COMMIT}/b.safetensors"]
    assert "pos_embed" in load("hf-hub:org/vit")  # of a commit, nothing can have changed
    monkeypatch.setenv("PE_INSPECT_CACHE", str(tmp_path / "another"))
    with pytest.raises(UnreadableCheckpoint, match=r"b\.safetensors"):
        load("hf-hub:org/vit")


def test_weights_under_another_name_are_found_in_the_list_of_files(hub, safetensors):
    hub.publish(safetensors, name="odd.pt")
    listing = {"siblings": [{"rfilename": "README.md"}, {"rfilename": "odd.pt"}]}
    hub.put("/api/models/org/vit/revision/main", json.dumps(listing).encode())
    assert "odd.pt of the folder was read" in load("hf-hub:org/vit").notes
    listing["siblings"].append({"rfilename": "odd2.pt"})
    hub.put("/api/models/org/vit/revision/main", json.dumps(listing).encode())
    with pytest.raises(AmbiguousCheckpoint, match=r"holds 2 weight files \(odd\.pt, odd2\.pt\)"):
        load("hf-hub:org/vit")


@pytest.mark.parametrize("listing", [b"[]", b"{}", b"{", b'{"siblings": [1]}', b'{"siblings": []}'])
def test_a_repository_without_weights_is_one_line(listing, hub):
    hub.put("/api/models/org/vit/revision/main", listing)
    with pytest.raises(UnreadableCheckpoint, match="hf-hub:org/vit is a folder without weights"):
        load("hf-hub:org/vit")


@pytest.mark.parametrize("path", ["/org/vit", "/org/vit/", "/org/vit/tree/main"])
def test_a_page_of_the_hub_stands_for_its_repository(path, hub, safetensors):
    hub.publish(safetensors)
    assert load(hub.url + path).format == "huggingface"


def test_what_a_browser_shows_of_a_file_stands_for_the_file(hub, safetensors):
    hub.publish(safetensors)
    _config(hub, at="main", num_heads=3)
    ckpt = load(f"{hub.url}/org/vit/blob/main/model.safetensors")
    assert ckpt.hints.num_heads == 3
    assert "config.json beside model.safetensors was read" in ckpt.notes


# the token


def _gate(hub, safetensors, code=""):
    hub.publish(safetensors)
    inner = hub.answer

    def answer(handler, request):
        if request.authorization == f"Bearer {TOKEN}":
            return inner(handler, request)
        handler.give(request, 403 if code == "GatedRepo" else 401, b"no", **{"X-Error-Code": code})
        return True

    hub.answer = answer


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub, safetensors, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", f" {TOKEN}\n")
    _gate(hub, safetensors)
    load("hf-hub:org/vit").tensor("pos_embed")
    assert {r.authorization for r in hub.requests} == {f"Bearer {TOKEN}"}
    assert {r.authorization for r in hub.store.requests} == {""}


def test_other_hosts_never_see_the_token(server, safetensors, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    load(server.put("/x.safetensors", safetensors))
    assert {r.authorization for r in server.requests} == {""}


def test_a_closed_repository_says_how_to_give_a_token(hub, safetensors):
    _gate(hub, safetensors, "GatedRepo")
    with pytest.raises(UnreadableCheckpoint) as error:
        load("hf-hub:org/vit")
    assert str(error.value) == (
        "hf-hub:org/vit (model.safetensors): its owners let nobody in without asking (403).\n"
        f"Accept its conditions on {hub.url}, then set HF_TOKEN to a token of that account "
        f"({hub.url}/settings/tokens makes one)."
    )
    _gate(hub, safetensors, "RepoNotFound")
    with pytest.raises(
        UnreadableCheckpoint,
        match=r"no such repository, or it is private \(401\)\.\nCheck the",
    ):
        load("hf-hub:org/vit")


def test_a_token_that_is_not_enough_is_said_and_not_shown(hub, safetensors, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrong")
    _gate(hub, safetensors)
    with pytest.raises(UnreadableCheckpoint, match="token that is set now is not enough") as error:
        load("hf-hub:org/vit")
    assert "wrongwrong" not in str(error.getrepr(style="native"))  # what --debug shows


def test_a_token_that_no_header_can_carry_is_refused_without_repeating_it(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret\nHost: evil")
    with pytest.raises(UsageError, match="HF_TOKEN holds spaces or signs") as error:
        load("hf-hub:org/vit")
    assert "secret" not in str(error.value)


def test_a_revision_that_is_not_there_is_said(hub):
    hub.answer = lambda handler, request: (
        handler.give(request, 404, b"", **{"X-Error-Code": "RevisionNotFound"}) or True
    )
    with pytest.raises(
        UnreadableCheckpoint, match=r"no such revision \(404\)\. Check what follows"
    ):
        load("hf-hub:org/vit@nope")
    assert len(hub.requests) == 1


def test_too_many_anonymous_requests_may_be_helped_by_a_token(hub):
    hub.answer = lambda handler, request: handler.give(request, 429, b"") or True
    with pytest.raises(
        UnreadableCheckpoint, match=r"Wait a few minutes, or set HF_TOKEN: it allows"
    ):
        load("hf-hub:org/vit")


# names


@pytest.mark.parametrize(
    "name", ["hf-hub:", "hf-hub:org", "hf-hub:a/b/c", "hf-hub:a b/c", "hf-hub:o/n@"]
)
def test_what_names_no_repository_is_said(name, hub):
    with pytest.raises(UsageError, match=r"expected hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION"):
        load(f"hf-hub:{name}")
    assert hub.requests == []


def test_an_endpoint_that_is_none_is_said(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "hub.example.org")
    with pytest.raises(UsageError, match=r"HF_ENDPOINT is 'hub\.example\.org'; expected an"):
        load("hf-hub:org/vit")


def test_timm_says_which_repository_a_name_stands_for(hub, safetensors, monkeypatch):
    content = safetensors
    name = "vit_base_patch16_224"
    repo = timm.models.get_pretrained_cfg(name).hf_hub_id
    path = f"/{repo}/resolve/main/model.safetensors"
    hub.put(path, content, X_Repo_Commit=COMMIT)
    ckpt = load(f"timm:{name}")
    assert ckpt.source == f"timm:{name}"
    assert ckpt.hints.arch == name
    assert ckpt.hints.origins["arch"] == f"timm:{name}"
    assert f"timm:{name} is hf-hub:{repo}" in ckpt.notes
    assert hub.requests[0].path == path


def _stand_in(monkeypatch, **fields):
    cfg = timm.models.PretrainedCfg(architecture="vit_tiny_patch16_224", **fields)
    monkeypatch.setattr(_names, "_pretrained", lambda model: cfg)


def test_timm_may_name_a_url_or_a_file(server, safetensors, monkeypatch, tmp_path):
    _stand_in(monkeypatch, url=server.put("/vit.pth", safetensors))
    ckpt = load("timm:vit_tiny_patch16_224.made_up")
    assert ckpt.hints.arch == "vit_tiny_patch16_224"
    assert f"timm:vit_tiny_patch16_224.made_up is {server.url}/vit.pth" in ckpt.notes
    (tmp_path / "local.safetensors").write_bytes(safetensors)
    _stand_in(monkeypatch, file=str(tmp_path / "local.safetensors"))
    assert load("timm:vit_tiny_patch16_224").path == tmp_path / "local.safetensors"


def test_a_model_that_timm_does_not_know_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"timm model 'vit_tiny_patch16_244'\. Did you mean"):
        load("timm:vit_tiny_patch16_244")
    with pytest.raises(UsageError, match="timm: names no model; expected timm:NAME, as in"):
        load("timm:")


def test_a_model_without_weights_is_said_with_those_that_have_some():
    with pytest.raises(UsageError, match=r"no weights under this name\. With weights: none\."):
        load("timm:vit_giant_patch14_224.untrained")
