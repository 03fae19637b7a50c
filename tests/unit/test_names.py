"""Names, domains, images, sizes and ports: what is let in is harmless wherever it is put."""

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_manager.docker_names import ContainerName, ImageReference, image_tag
from client_manager.errors import InvalidInput
from client_manager.models.base import parse
from client_manager.models.names import ClientName, Cpus, Domain, MemoryBytes, NewPort, Port, VariableName, is_local

MIB = 1024**2
# What a shell, nginx, a path, SQL or a terminal would take for more than a letter.
_HARMFUL = "/\\ ;{}()$`'\"|&<>*?~#%@!,=\n\r\t\x00\x1b"
_KINDS: dict[str, Any] = {
    "client name": ClientName,
    "container name": ContainerName,
    "domain": Domain,
    "variable name": VariableName,
}


def _accepts(kind: Any, value: object) -> bool:
    try:
        parse(kind, value, what="value")
    except InvalidInput:
        return False
    return True


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", fullmatch=True))
def test_client_name_of_letters_digits_and_hyphens_is_taken_unless_it_is_reserved(name: str) -> None:
    reserved = {"auth", "cron", "graphql", "net", "public", "vault", "nginx", "storage", "realtime", "extensions"}
    if name not in reserved:
        assert parse(ClientName, name, what="client name") == name


@given(st.text(max_size=70))
def test_client_name_that_is_taken_is_safe_in_paths_and_in_postgresql(name: str) -> None:
    if _accepts(ClientName, name):
        assert set(name) <= set(string.ascii_lowercase + string.digits + "-")
        assert name[0] != "-"
        assert name[-1] != "-"
        assert len(f"sync_owner_{name}") <= 63


@pytest.mark.parametrize(
    "name",
    ["Acme", "a b", "../x", "-x", "x-", "a" * 64, "a" * 53, "sync-node-a", "sync-node-b", "nginx", "public", "auth",
     "", ".", "..", "a/b", "a.b", "a_b", "acme\n", "\nacme", " acme", "acme\x00", "ácme", "acme\u0661", "a\\b"],
)  # fmt: skip
def test_client_name_that_breaks_the_rule_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="not a valid client name") as caught:
        parse(ClientName, name, what="client name")

    assert caught.value.why


def test_client_name_of_52_characters_is_the_longest() -> None:
    assert _accepts(ClientName, "a" * 52)


@given(st.sampled_from(sorted(_KINDS)), st.text(alphabet=st.characters(codec="utf-8")), st.sampled_from(_HARMFUL))
def test_name_with_a_harmful_character_is_refused_by_every_rule(kind: str, text: str, harmful: str) -> None:
    assert not _accepts(_KINDS[kind], f"a{harmful}{text}")
    assert not _accepts(_KINDS[kind], f"a{text}{harmful}b")
    assert not _accepts(_KINDS[kind], f"ab{harmful}")


_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
_TOP = st.from_regex(r"[a-z]{2,12}", fullmatch=True)


@given(st.lists(_LABEL, min_size=1, max_size=4), _TOP)
def test_domain_of_several_labels_is_taken(labels: list[str], top: str) -> None:
    domain = ".".join([*labels, top])

    assert parse(Domain, domain, what="domain") == domain


@given(st.text(max_size=40))
def test_domain_that_is_taken_is_safe_in_an_nginx_file(domain: str) -> None:
    if _accepts(Domain, domain):
        assert set(domain) <= set(string.ascii_lowercase + string.digits + ".-")
        assert ".." not in domain
        assert domain[0] not in ".-"
        assert domain[-1] not in ".-"


@pytest.mark.parametrize(
    "domain",
    ["", " ", "chat acme.test", " chat.acme.test", "chat.acme.test ", "chat.acme.test;", "chat.acme.test{", "a;b.test",
     "{chat}.acme.test", "chat.acme.test\n", "http://chat.acme.test", "chat.acme.test/", "chat.acme.test:8080",
     "127.0.0.1", "10.0.0.1", "::1", "[::1]", "CHAT.acme.test", "Chat.Acme.Test", "chat.acme.test.", ".acme.test",
     "chat..test", "-a.test", "a-.test", "a_b.test", "*.acme.test", "acme", "chät.acme.test", "chat.acmé",
     f"{'a' * 64}.test", ".".join(["abcdefgh"] * 30), "user@chat.acme.test", "chat.acme.test\x00", "LOCALHOST"],
)  # fmt: skip
def test_domain_that_breaks_the_rule_is_refused(domain: str) -> None:
    with pytest.raises(InvalidInput, match="not a valid domain") as caught:
        parse(Domain, domain, what="domain")

    assert caught.value.why


def test_domain_in_unicode_is_refused_with_its_ascii_form() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(Domain, "bücher.example", what="domain")

    assert "xn--bcher-kva.example" in caught.value.why


def test_domain_in_upper_case_is_refused_with_its_lower_case_form() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(Domain, "Chat.Acme.Test", what="domain")

    assert "chat.acme.test" in caught.value.why


@pytest.mark.parametrize(
    ("domain", "local"),
    [("localhost", True), ("chat.localhost", True), ("notlocalhost.test", False), ("localhost.test", False)],
)
def test_is_local_is_true_of_localhost_and_what_is_under_it(domain: str, local: bool) -> None:  # noqa: FBT001
    assert parse(Domain, domain, what="domain") == domain
    assert is_local(domain) is local


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("ghcr.io/open-webui/open-webui:v0.12.4", "v0.12.4"),
        ("nginx:alpine", "alpine"),
        ("127.0.0.1:5000/a/b:1", "1"),
        ("a__b/c-d.e:T_x", "T_x"),
    ],
)
def test_image_with_a_tag_is_taken_and_its_tag_told(image: str, tag: str) -> None:
    assert parse(ImageReference, image, what="image") == image
    assert image_tag(image) == tag


def test_image_with_a_digest_instead_of_a_tag_is_taken() -> None:
    image = f"ghcr.io/open-webui/open-webui@sha256:{'0' * 64}"

    assert parse(ImageReference, image, what="image") == image
    assert image_tag(image) == image


@pytest.mark.parametrize(
    "image",
    ["", "open-webui", "ghcr.io/open-webui/open-webui", "localhost:5000/app", "open webui:v1", " app:v1", "app:v1 ",
     "app:v 1", "app:", ":v1", "APP:v1", "app:v1\n", "app:v1;rm", "https://ghcr.io/app:v1", "app:-v1", "app:.v1",
     f"app:{'a' * 129}", "app@sha256:123", "app//x:1", "-app:1", "äpp:1", "app:vé"],
)  # fmt: skip
def test_image_that_breaks_the_rule_is_refused(image: str) -> None:
    with pytest.raises(InvalidInput, match="not a valid image"):
        parse(ImageReference, image, what="image")


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 * MIB), ("512M", 512 * MIB), ("512MB", 512 * MIB), ("512MiB", 512 * MIB), ("2g", 2048 * MIB),
     ("1.5g", 1536 * MIB), ("1t", 1024**4), ("1 g", 1024 * MIB), (" 2g ", 2048 * MIB), ("524288k", 512 * MIB),
     ("268435456", 256 * MIB), ("128m", 128 * MIB)],
)  # fmt: skip
def test_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse(MemoryBytes, text, what="size") == size


@pytest.mark.parametrize(
    "text",
    ["", "m", "g2", "-1g", "1e3m", "1..5g", "0x10m", "2 g b", "1,5g", "127m", "0", "0g", "nan", "inf", "2p", "2g\x00",
     "9" * 400, f"{'9' * 400}t", "9999999t"],
)  # fmt: skip
def test_size_that_is_none_or_too_small_or_beyond_docker_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a valid size"):
        parse(MemoryBytes, text, what="size")


@given(st.text(max_size=30) | st.from_regex(r"\d{1,400}(\.\d{1,9})?[kmgt]?", fullmatch=True))
def test_size_that_is_taken_fits_docker_and_open_webui(text: str) -> None:
    try:
        size = parse(MemoryBytes, text, what="size")
    except InvalidInput:
        return
    assert 128 * MIB <= size < 2**63


@pytest.mark.parametrize("port", [0, -1, 65536, 100000, "x", "", "80 80", 8080.5, None])
def test_port_that_is_none_is_refused(port: object) -> None:
    assert not _accepts(Port, port)
    assert not _accepts(NewPort, port)


@given(st.integers(min_value=-(10**6), max_value=10**6))
def test_new_port_is_one_that_needs_no_root(port: int) -> None:
    assert _accepts(NewPort, port) == (1024 <= port <= 65535)
    assert _accepts(Port, port) == (1 <= port <= 65535)


@pytest.mark.parametrize("cpus", [0, -1, 1025, "nan", "inf", "x", ""])
def test_cpus_out_of_range_are_refused(cpus: object) -> None:
    assert not _accepts(Cpus, cpus)


@given(st.text(max_size=30))
def test_variable_name_that_is_taken_cannot_end_before_its_value(name: str) -> None:
    if _accepts(VariableName, name):
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII)
        assert "=" not in name


@pytest.mark.parametrize("name", ["", "1A", "A=B", "A B", "A-B", "A\n", "Ä", "A\x00"])
def test_variable_name_that_breaks_the_rule_is_refused(name: str) -> None:
    assert not _accepts(VariableName, name)


@pytest.mark.parametrize("name", ["openwebui-chat-acme-com", "a.b_c-d", "Ab"])
def test_container_name_of_docker_is_taken(name: str) -> None:
    assert _accepts(ContainerName, name)
