"""Each rule of the settings, once refused and once accepted; those of addresses are in `test_config_addresses`."""

import base64
from dataclasses import replace

import pytest
from pydantic import SecretBytes, ValidationError
from tests.unit.config.settings_things import ISSUER, KEY, OTHER_KEY, elsewhere, of, problem_of

from mintmark.authority.policy import BOUNDS, LIFETIMES, Classification, Policy
from mintmark.config import ConfigError, Settings, load
from mintmark.config.keys import KEYS

__all__ = ["elsewhere"]

DAY = 86400
NUMBERS = {
    "port": (1, 65535),
    "code_lifetime": (1, 600),
    "jwks_lifetime": (1, DAY),
    "key_rotation_interval": (600, 366 * DAY),
    "session_idle_lifetime": (60, 7 * DAY),
    "id_token_lifetime": (60, DAY),
    "signing_threads": (0, 32),
    "password_threads": (1, 16),
    "cleanup_interval": (1, DAY),
    "cleanup_batch": (1, 100_000),
}


@pytest.mark.parametrize(("name", "bounds"), NUMBERS.items())
def test_a_number_reaches_its_bounds_and_no_further(name: str, bounds: tuple[int, int]) -> None:
    low, high = bounds
    for value in bounds:
        assert getattr(of(**{name.upper(): str(value)}), name) == value
    for value in (low - 1, high + 1):
        problem = problem_of(**{name.upper(): str(value)})
        assert problem.startswith(f"MINTMARK_{name.upper()}: must be ")
        assert all(str(number) in problem for number in (low, high, value))


@pytest.mark.parametrize("value", ["", "ten", "1.5", "true", "0x10", "1e3"])
def test_a_number_must_be_whole(value: str) -> None:
    assert problem_of(PORT=value) == "MINTMARK_PORT: must be a whole number, 1 to 65535"
    name = "LIFETIMES__PUBLIC__REFRESH_GRACE"
    assert problem_of(**{name: value}) == f"MINTMARK_{name}: must be a whole number, 0 to 86400"


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("classification", LIFETIMES)
def test_a_lifetime_has_the_bounds_of_the_authority(classification: Classification, name: str) -> None:
    prefix = f"LIFETIMES__{classification.upper()}__"
    wide = {f"{prefix}REFRESH_TOKEN_LIFETIME": str(BOUNDS["refresh_token_lifetime"][1])}
    if name == "refresh_token_lifetime":
        wide = {f"{prefix}REFRESH_IDLE_LIFETIME": str(BOUNDS["refresh_idle_lifetime"][0])}
    variable = prefix + name.upper()
    low, high = BOUNDS[name]
    for value in (low, high):
        lifetimes = of(**wide, **{variable: str(value)}).policy().lifetimes[classification]
        assert getattr(lifetimes, name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError) as caught:
            of(**wide, **{variable: str(value)})
        assert f"MINTMARK_{variable}: must be between {low} and {high} seconds, not {value}" in caught.value.problems[0]


def test_one_lifetime_leaves_the_others_as_the_authority_has_them() -> None:
    policy = of(LIFETIMES__INTERNAL__REFRESH_GRACE="30", LIFETIMES__INTERNAL__ACCESS_TOKEN_LIFETIME="60").policy()
    changed = replace(LIFETIMES["internal"], refresh_grace=30, access_token_lifetime=60)
    assert policy.lifetimes == LIFETIMES | {"internal": changed}


def test_a_refresh_token_does_not_idle_longer_than_it_lives() -> None:
    problem = problem_of(LIFETIMES__PUBLIC__REFRESH_TOKEN_LIFETIME="3600")
    assert problem.startswith(
        "MINTMARK_LIFETIMES__PUBLIC__REFRESH_IDLE_LIFETIME (or lifetimes.public.refresh_idle_lifetime"
    )
    assert problem.endswith("not set: must not exceed refresh_token_lifetime")
    same = {f"LIFETIMES__PUBLIC__REFRESH_{name}_LIFETIME": "3600" for name in ("TOKEN", "IDLE")}
    assert of(**same).policy().lifetimes["public"].refresh_idle_lifetime == 3600


def test_a_grace_above_a_minute_is_for_the_client_rules_to_clamp() -> None:
    assert of(LIFETIMES__PUBLIC__REFRESH_GRACE="61").policy().lifetimes["public"].refresh_grace == 61


def test_a_session_does_not_idle_longer_than_it_lives() -> None:
    problem = problem_of(SESSION_LIFETIME="3600")
    assert problem.startswith("MINTMARK_SESSION_IDLE_LIFETIME (or session_idle_lifetime in mintmark.toml), not set:")
    assert "between 60 and 3600 (session_lifetime), not 86400" in problem
    assert of(SESSION_LIFETIME="3600", SESSION_IDLE_LIFETIME="3600").session_idle_lifetime == 3600


@pytest.mark.parametrize("value", ["59", str(366 * DAY + 1)])
def test_a_session_lifetime_has_bounds(value: str) -> None:
    with pytest.raises(ConfigError, match=f"MINTMARK_SESSION_LIFETIME: must be 60 to 31622400, not {value}"):
        of(SESSION_LIFETIME=value, SESSION_IDLE_LIFETIME="60")
    assert of(SESSION_LIFETIME="60", SESSION_IDLE_LIFETIME="60").session_lifetime == 60


def test_a_key_is_published_in_every_cache_before_the_next_rotation() -> None:
    assert of(JWKS_LIFETIME="1000", KEY_ROTATION_INTERVAL="2000").key_rotation_interval == 2000
    problem = problem_of(JWKS_LIFETIME="1000", KEY_ROTATION_INTERVAL="1999")
    assert problem.startswith("MINTMARK_KEY_ROTATION_INTERVAL: must be between 2000 (twice jwks_lifetime)")


def test_signing_algorithms_keep_their_order() -> None:
    assert of(SIGNING_ALGORITHMS="EdDSA, PS256").signing_algorithms == ("EdDSA", "PS256")


@pytest.mark.parametrize("value", ["", "RS256,RS256", "RS256,HS256", "none", "rs256"])
def test_signing_algorithms_are_known_distinct_and_asymmetric(value: str) -> None:
    problem = problem_of(SIGNING_ALGORITHMS=value)
    assert problem.startswith("MINTMARK_SIGNING_ALGORITHMS: must ")


@pytest.mark.parametrize(("name", "sound"), [("log_level", "warning"), ("log_format", "json")])
def test_a_choice_is_one_of_those_listed(name: str, sound: str) -> None:
    assert getattr(of(**{name.upper(): sound}), name) == sound
    assert problem_of(**{name.upper(): "loud"}) == f"MINTMARK_{name.upper()}: must be {KEYS[name].bounds}"


def test_a_log_level_may_be_in_capitals() -> None:
    assert of(LOG_LEVEL="INFO").log_level == "info"


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        base64.urlsafe_b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
    ],
)
def test_a_master_key_is_32_bytes_in_hexadecimal_or_base64url(text: str) -> None:
    assert of(MASTER_KEY=text).required_master_key() == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        KEY.hex()[:-2],
        KEY.hex() + "00",
        "é" * 43,
        base64.urlsafe_b64encode(KEY[:31]).decode(),
        KEY.hex() + "\n",
    ],
)
def test_anything_else_is_not_a_master_key(text: str) -> None:
    problem = problem_of(MASTER_KEY=text)
    assert problem.startswith("MINTMARK_MASTER_KEY: must be 32 bytes")
    assert not text or text not in problem


def test_serving_needs_a_master_key() -> None:
    with pytest.raises(
        ConfigError, match=r"MINTMARK_MASTER_KEY_FILE \(or master_key_file in mintmark.toml\): is required"
    ):
        of().required_master_key()


def test_previous_master_keys_are_a_list() -> None:
    settings = of(MASTER_KEY=KEY.hex(), PREVIOUS_MASTER_KEYS=f"{OTHER_KEY.hex()}, {bytes(32).hex()},")
    assert [key.get_secret_value() for key in settings.previous_master_keys] == [OTHER_KEY, bytes(32)]
    assert of(PREVIOUS_MASTER_KEYS="").previous_master_keys == ()


@pytest.mark.parametrize(
    "text", [KEY.hex(), f"{OTHER_KEY.hex()},{OTHER_KEY.hex()}", f"{OTHER_KEY.hex()},{KEY.hex()[:-1]}"]
)
def test_previous_master_keys_are_sound_distinct_and_not_the_current_one(text: str) -> None:
    problem = problem_of(MASTER_KEY=KEY.hex(), PREVIOUS_MASTER_KEYS=text)
    assert problem.startswith("MINTMARK_PREVIOUS_MASTER_KEYS: must ")
    assert KEY.hex()[:8] not in problem


def test_the_defaults_are_those_of_the_authority() -> None:
    assert of().policy() == Policy(issuer=ISSUER)


def test_the_policy_has_what_was_set() -> None:
    numbers = {
        "code_lifetime": 30,
        "jwks_lifetime": 100,
        "key_rotation_interval": 1000,
        "session_lifetime": 900,
        "session_idle_lifetime": 800,
        "id_token_lifetime": 70,
    }
    policy = of(SIGNING_ALGORITHMS="ES256", **{name.upper(): str(value) for name, value in numbers.items()}).policy()
    assert {name: getattr(policy, name) for name in numbers} == numbers
    assert (policy.issuer, policy.signing_algorithms) == (ISSUER, ("ES256",))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        of().port = 1


def test_settings_built_directly_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTMARK_PORT", "1234")
    assert Settings(issuer=ISSUER).port == 8080
    assert load(environ={"MINTMARK_ISSUER": ISSUER}).port == 8080


def test_settings_built_directly_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="prot"):
        Settings(issuer=ISSUER, prot=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Settings(issuer=ISSUER, lifetimes={"publik": {}})  # type: ignore[dict-item]
    with pytest.raises(ValidationError):
        Settings(issuer=ISSUER, lifetimes=1)  # type: ignore[arg-type]


def test_settings_built_directly_take_a_key_as_bytes() -> None:
    settings = Settings(issuer=ISSUER, master_key=SecretBytes(KEY), previous_master_keys=(SecretBytes(OTHER_KEY),))
    assert settings.required_master_key() == KEY
    with pytest.raises(ValidationError, match="must be 32 bytes"):
        Settings(issuer=ISSUER, master_key=SecretBytes(KEY[:31]))


def test_a_secret_is_never_shown() -> None:
    settings = of(MASTER_KEY=KEY.hex(), PREVIOUS_MASTER_KEYS=OTHER_KEY.hex())
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {settings.policy()}"
    for key in (KEY, OTHER_KEY):
        for text in (key.hex(), str(key), base64.urlsafe_b64encode(key).decode()[:20]):
            assert text not in shown
