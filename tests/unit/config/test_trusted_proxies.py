"""Which proxies may be trusted."""

from pathlib import Path

import pytest

from mintmark.config import ConfigError, Settings, load

ISSUER = "https://id.example"


def loaded(written: str) -> Settings:
    return load(environ={"MINTMARK_ISSUER": ISSUER, "MINTMARK_TRUSTED_PROXIES": written})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nobody_is_trusted_unless_it_is_said() -> None:
    assert load(environ={"MINTMARK_ISSUER": ISSUER}).trusted_proxies == ()
    assert loaded("").trusted_proxies == ()


def test_addresses_and_networks_of_both_kinds() -> None:
    written = ("192.0.2.7", "10.0.0.0/8", "fd00::/8", "2001:db8::1", "2001:db8:1::/64")
    assert loaded(", ".join(written)).trusted_proxies == written
    Path("mintmark.toml").write_text(f'issuer = "{ISSUER}"\ntrusted_proxies = ["192.0.2.7", "2001:db8::/32"]\n')
    assert load(environ={}).trusted_proxies == ("192.0.2.7", "2001:db8::/32")


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("proxy.example", "no names"),
        ("192.0.2.7:443", "no ports"),
        ("[2001:db8::1]", "such as"),
        ("192.0.2.7/24", "beyond its length"),
        ("10.0.0.0/33", "such as"),
        ("010.0.0.1", "such as"),
        ("10.*", "such as"),
        ("192.0.2.1-192.0.2.9", "such as"),
        ("*", "such as"),
        ("unix:", "such as"),
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
        ("0.0.0.0/1", "larger than /8"),
        ("128.0.0.0/1", "larger than /8"),
        ("10.0.0.0/7", "larger than /8"),
        ("fc00::/7", "larger than /8"),
        ("::ffff:10.0.0.1", "as such"),
        ("::ffff:10.0.0.0/104", "as such"),
        ("fe80::1%eth0", "zone"),
        ("fe80::%eth0/64", "zone"),
    ],
)
def test_what_names_no_proxy_or_everybody_is_refused(written: str, advice: str) -> None:
    for several in (written, f"192.0.2.7, {written}"):
        with pytest.raises(ConfigError) as refused:
            loaded(several)
        (problem,) = refused.value.problems
        assert problem.startswith("MINTMARK_TRUSTED_PROXIES: must ")
        assert advice in problem
