"""Open WebUI's variables: which are secret, which follow the domain."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_manager.models.environment import (
    FROM_DOMAIN,
    RESERVED,
    SECRET_KEY,
    database_kind,
    defaults,
    follow_domain,
    is_secret,
    public_url,
    variables_for_domain,
)

OLD, NEW = "chat.acme.test", "ai.beta.example"


@pytest.mark.parametrize(
    "name",
    ["WEBUI_SECRET_KEY", "OPENAI_API_KEY", "OPENAI_API_KEYS", "GOOGLE_CLIENT_SECRET", "LDAP_APP_PASSWORD",
     "MICROSOFT_CLIENT_SECRET", "S3_SECRET_ACCESS_KEY", "S3_ACCESS_KEY_ID", "DATABASE_URL", "DATABASE_PASSWORD",
     "REDIS_PASSWORD", "PGPASSWORD", "SMTP_PASS", "SMTP_PWD", "DB_PASSWD", "MYSQL_PASSPHRASE", "HF_TOKEN", "TOKEN",
     "GITHUB_TOKENS", "GOOGLE_APPLICATION_CREDENTIALS_JSON", "SENTRY_DSN", "openai_api_key", "API_KEY_2", "API_KEY2",
     "OAUTH_CLIENT_SECRET1", "AZURE_STORAGE_KEY", "OAUTH_SESSION_TOKEN_ENCRYPTION_KEY", "MYSECRET", "APIKEY"],
)  # fmt: skip
def test_secret_by_its_name_is_masked(name: str) -> None:
    assert is_secret(name, "anything")


@pytest.mark.parametrize(
    ("name", "value"),
    [("WEBUI_NAME", "Acme"), ("WEBUI_URL", "https://chat.acme.test"), ("OLLAMA_BASE_URL", "http://10.0.0.1:11434"),
     ("WEBUI_ADMIN_EMAIL", "root@acme.test"), ("ENABLE_SIGNUP", "false"), ("BYPASS_MODEL_ACCESS_CONTROL", "true"),
     ("WEBUI_AUTH", "true"), ("CORS_ALLOW_ORIGIN", "https://a.test;https://b.test"), ("GOOGLE_CLIENT_ID", "1.apps"),
     ("GOOGLE_REDIRECT_URI", "https://chat.acme.test/oauth/google/callback?prompt=none")],
)  # fmt: skip
def test_plain_variable_is_shown(name: str, value: str) -> None:
    assert not is_secret(name, value)


_SCHEME = st.sampled_from(["http", "https", "postgresql", "postgresql+psycopg", "redis", "rediss", "socks5", "amqp"])
_PASSWORD = st.text(alphabet=string.printable, min_size=1, max_size=20)
_HOST = st.from_regex(r"[a-z]{1,9}(\.[a-z]{2,5})?(:[0-9]{2,5})?", fullmatch=True)

_PARAMETERS = st.sampled_from(["password", "PASSWORD", "token", "api_key", "apikey", "access_token", "sslkey"])
_WORDS = st.sampled_from(["KEY", "SECRET", "PASSWORD", "TOKEN", "KEYS", "TOKENS"])


@given(_SCHEME, st.from_regex(r"[a-z]{0,6}", fullmatch=True), _PASSWORD, _HOST, st.sampled_from(["", "/", "/db?a=b"]))
def test_url_with_a_password_is_secret_whatever_the_password_is_made_of(
    scheme: str, user: str, password: str, host: str, rest: str
) -> None:
    assert is_secret("PLAIN_NAME", f"{scheme}://{user}:{password}@{host}{rest}")
    assert is_secret("PLAIN_NAME", f"first, then {scheme}://{user}:{quote(password, safe='')}@{host}{rest}")


@given(_SCHEME, _HOST, _PARAMETERS, _PASSWORD)
def test_url_with_a_password_among_its_parameters_is_secret(
    scheme: str, host: str, parameter: str, password: str
) -> None:
    assert is_secret("PLAIN_NAME", f"{scheme}://{host}/db?{parameter}={quote(password, safe='')}")
    assert is_secret("PLAIN_NAME", f"{scheme}://{host}/db?sslmode=require&{parameter}={quote(password, safe='')}")


@given(st.from_regex(r"[A-Z]{1,8}_", fullmatch=True), _WORDS, st.sampled_from(["", "_FILE", "_1", "2"]))
def test_secret_word_anywhere_in_a_name_is_masked(before: str, word: str, after: str) -> None:
    assert is_secret(f"{before}{word}{after}", "x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://chat.acme.test", "https://ai.beta.example"),
        ("https://chat.acme.test/oauth/google/callback", "https://ai.beta.example/oauth/google/callback"),
        ("https://chat.acme.test/oauth/oidc/callback?x=1#y", "https://ai.beta.example/oauth/oidc/callback?x=1#y"),
        ("https://chat.acme.test:8443/x", "https://ai.beta.example:8443/x"),
        ("https://chat.acme.test;https://app.test", "https://ai.beta.example;https://app.test"),
        ("https://app.test;https://chat.acme.test", "https://app.test;https://ai.beta.example"),
        ("https://chat.acme.test,https://chat.acme.test", "https://ai.beta.example,https://ai.beta.example"),
        ("https://sso.test/?next=https://chat.acme.test/in", "https://sso.test/?next=https://ai.beta.example/in"),
        ('["https://chat.acme.test"]', '["https://ai.beta.example"]'),
        ("chat.acme.test", "ai.beta.example"),
        ("Welcome to chat.acme.test.", "Welcome to ai.beta.example."),
    ],
)
def test_domain_is_followed_where_it_stands_as_a_host(value: str, expected: str) -> None:
    assert follow_domain({"X": value}, OLD, NEW) == {"X": expected}


@pytest.mark.parametrize(
    "value",
    ["https://old-chat.acme.test", "https://chat.acme.test.example", "https://www.chat.acme.test", "me@chat.acme.test",
     "https://chatXacme.test", "https://chat.acme.tests", "https://chat.acme.test-2.example", "https://xchat.acme.test",
     "https://acme.test", "https://chat_acme.test", ""],
)  # fmt: skip
def test_domain_is_not_followed_in_a_lookalike(value: str) -> None:
    assert follow_domain({"X": value}, OLD, NEW) == {"X": value}


@pytest.mark.parametrize("name", ["OAUTH_ALLOWED_DOMAINS", "WEBUI_ADMIN_EMAIL"])
def test_domain_of_mail_addresses_stays(name: str) -> None:
    assert follow_domain({name: OLD}, OLD, NEW) == {name: OLD}


def test_new_domain_is_taken_literally() -> None:
    assert follow_domain({"X": f"https://{OLD}/"}, OLD, r"a\1.test") == {"X": r"https://a\1.test/"}


@given(st.dictionaries(st.sampled_from(["A", "B", "C"]), st.text(max_size=40)))
def test_variables_without_the_domain_stay_as_they_are(variables: dict[str, str]) -> None:
    assert follow_domain(variables, OLD, NEW) == variables


@given(st.lists(st.sampled_from([f"https://{OLD}/a", "https://other.test", f"x@{OLD}", f"https://my-{OLD}"])))
def test_domain_followed_there_and_back_is_where_it_was(parts: list[str]) -> None:
    variables = {"X": ";".join(parts)}

    assert follow_domain(follow_domain(variables, OLD, NEW), NEW, OLD) == variables


def test_service_of_this_machine_is_not_followed_when_a_client_leaves_localhost() -> None:
    ollama = {"OLLAMA_BASE_URL": "http://localhost:11434"}

    assert follow_domain(ollama, "localhost", NEW, ports=(8081, 8081)) == ollama


def test_redirect_follows_from_this_machine_to_a_domain() -> None:
    there = {"OPENID_REDIRECT_URI": "http://localhost:8081/oauth/oidc/callback"}

    followed = follow_domain(there, "localhost", NEW, ports=(8081, 8081))

    assert followed == {"OPENID_REDIRECT_URI": "https://ai.beta.example/oauth/oidc/callback"}


def test_redirect_follows_from_a_domain_to_this_machine() -> None:
    there = {"OPENID_REDIRECT_URI": "https://chat.acme.test/oauth/oidc/callback"}

    followed = follow_domain(there, OLD, "localhost", ports=(8081, 8082))

    assert followed == {"OPENID_REDIRECT_URI": "http://localhost:8082/oauth/oidc/callback"}


def test_port_that_only_begins_like_the_clients_is_not_followed() -> None:
    other = {"X": "http://localhost:80811/x"}

    assert follow_domain(other, "localhost", NEW, ports=(8081, 8081)) == other


@pytest.mark.parametrize(
    ("domain", "port", "url"),
    [
        ("chat.acme.test", 8081, "https://chat.acme.test"),
        ("localhost", 8081, "http://localhost:8081"),
        ("chat.localhost", 8081, "http://chat.localhost:8081"),
        ("localhost", None, "http://localhost"),
    ],
)
def test_public_url_is_https_behind_nginx_and_a_port_on_this_machine(domain: str, port: int | None, url: str) -> None:
    assert public_url(domain, port) == url


def test_domain_variables_are_exactly_those_that_nobody_sets_by_hand() -> None:
    assert set(variables_for_domain(OLD, 8081)) == FROM_DOMAIN


@pytest.mark.parametrize(("domain", "secure"), [("chat.acme.test", "true"), ("localhost", "false")])
def test_cookies_are_secure_only_where_there_is_tls(domain: str, secure: str) -> None:
    variables = variables_for_domain(domain, 8081)

    assert variables["WEBUI_AUTH_COOKIE_SECURE"] == variables["WEBUI_SESSION_COOKIE_SECURE"] == secure


def test_defaults_set_nothing_that_the_image_or_the_domain_decides() -> None:
    assert not {*RESERVED, *FROM_DOMAIN, SECRET_KEY} & set(defaults())


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({}, "sqlite"),
        ({"DATABASE_URL": "sqlite:////app/backend/data/webui.db"}, "sqlite"),
        ({"DATABASE_URL": "postgresql://u:p@h/d"}, "postgresql"),
        ({"DATABASE_URL": "postgres://u:p@h/d"}, "postgresql"),
        ({"DATABASE_TYPE": "postgresql"}, "sqlite"),
        ({"DATABASE_TYPE": "postgresql", "DATABASE_HOST": "h", "DATABASE_NAME": "d"}, "postgresql"),
    ],
)
def test_database_kind_follows_open_webui(variables: dict[str, str], kind: str) -> None:
    assert database_kind(variables) == kind
