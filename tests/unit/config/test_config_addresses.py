"""The rules of the settings that say where: the issuer, the host, the database, Redis."""

from pathlib import Path

import pytest
from tests.unit.config.settings_things import elsewhere, of, problem_of

__all__ = ["elsewhere"]


@pytest.mark.spec("RFC 8414 §2")
@pytest.mark.parametrize(
    "issuer",
    [
        "https://auth.example.com",
        "https://auth.example.com:8443/tenants/a",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:8080",
    ],
)
def test_a_sound_issuer_is_kept_byte_for_byte(issuer: str) -> None:
    assert of(ISSUER=issuer).issuer == issuer


@pytest.mark.spec("RFC 8414 §2")
@pytest.mark.parametrize(
    ("issuer", "advice"),
    [
        ("http://auth.example.com", "must use https: http is for loopback only"),
        ("http://127.0.0.1.example.com", "must use https"),
        ("https://auth.example.com/?", "must have no query"),
        ("https://auth.example.com?a=b", "must have no query"),
        ("https://auth.example.com#top", "must have no fragment"),
        ("https://auth.example.com/", "must not end with a slash"),
        ("https://auth.example.com/tenant/", "must not end with a slash"),
        ("https://me:hunter2@auth.example.com", "must have no user info"),
        ("https://auth.example.com:0", "must have a port from 1"),
        ("https://auth.example.com:", "must have a port from 1"),
        ("https://Auth.example.com", "must have scheme and host in lower case"),
        ("HTTPS://auth.example.com", "must have scheme and host in lower case"),
        ("https://auth.example.com:99999", "must be a URL such as"),
        ("ftp://auth.example.com", "must be a URL such as"),
        ("auth.example.com", "must be a URL such as"),
        ("https://", "must be a URL such as"),
        ("https://auth.example.com/a b", "must be a URL such as"),
        ("https://auth.example.com/\n", "must be a URL such as"),
        ("https://auth.example.com\\a", "must be a URL such as"),
        ("http://[::1", "must be a URL such as"),
        ("", "must be a URL such as"),
    ],
)
def test_an_unsound_issuer_is_refused(issuer: str, advice: str) -> None:
    problem = problem_of(ISSUER=issuer)
    assert problem.startswith(f"MINTMARK_ISSUER: {advice}")
    assert "hunter2" not in problem


def test_everything_wrong_with_an_issuer_is_said_at_once() -> None:
    problem = problem_of(ISSUER="http://auth.example.com/?a=b#c")
    assert all(text in problem for text in ("https", "query", "fragment"))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "localhost", "node-1.internal", "a" * 63 + ".b"])
def test_an_address_or_name_is_a_host(host: str) -> None:
    assert of(HOST=host).host == host
    assert of(METRICS_HOST=host).metrics_host == host


@pytest.mark.parametrize(
    "host", ["", "[::1]", "127.0.0.1:8080", "http://localhost", "a b", "-a", "a..b", ".a", "a" * 64, "a." * 127 + "b"]
)
def test_anything_else_is_not_a_host(host: str) -> None:
    assert problem_of(HOST=host).startswith("MINTMARK_HOST: must be an IP address")
    assert problem_of(METRICS_HOST=host).startswith("MINTMARK_METRICS_HOST: must be an IP address")


def test_metrics_have_a_port_of_their_own() -> None:
    assert problem_of(PORT="9000", METRICS_PORT="9000").startswith(
        "MINTMARK_METRICS_PORT: must not be 9000, which is `port`"
    )
    assert of(PORT="9000", METRICS_PORT="9001").metrics_port == 9001
    # On another address it is another port.
    assert of(PORT="9000", METRICS_PORT="9000", HOST="192.0.2.1").metrics_port == 9000


@pytest.mark.parametrize("database", ["mintmark.sqlite3", "/var/lib/mintmark/a.db", "C:\\mintmark.db"])
def test_a_path_is_a_database(database: str) -> None:
    assert of(DATABASE=database).database_file == Path(database)


@pytest.mark.parametrize(
    "database",
    [
        "memory:",
        "postgresql://mintmark@db.example.com:5432/mintmark",
        "postgresql://db/a",
        "postgresql://me@db1:5432,db2,[2001:db8::1]:5433/a",
        "postgresql://me@db/a?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem",
        "postgresql:///a?host=/run/postgresql",
    ],
)
def test_memory_and_postgresql_are_databases_without_a_file(database: str) -> None:
    settings = of(DATABASE=database)
    assert (settings.database, settings.database_file) == (database, None)


@pytest.mark.parametrize(
    "database", ["", " ", ":memory:", "memory:x", "sqlite:///a.db", "mysql://db/a", "postgres://db/a"]
)
def test_anything_else_is_not_a_database(database: str) -> None:
    said = "MINTMARK_DATABASE: must be the path of a file, a URL that begins with postgresql://, or `memory:`"
    assert problem_of(DATABASE=database) == said


@pytest.mark.parametrize(
    "database", ["postgresql://me:hunter2@db/a", "postgresql://:hunter2@db/a", "postgresql://db/a?password=hunter2"]
)
def test_a_password_does_not_belong_into_the_url(database: str) -> None:
    problem = problem_of(DATABASE=database)
    assert problem == "MINTMARK_DATABASE: must have no password: it goes into `database_password`"
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("postgresql://", "must be a URL such as postgresql://mintmark@db.example.com:5432/mintmark"),
        ("postgresql:///a", "must be a URL such as"),
        ("postgresql://db/ä", "must be a URL such as"),
        ("postgresql://db/a?sslmode", "must be a URL such as"),
        ("postgresql://db1:x,db2/a", "must name hosts as in"),
        ("postgresql://db1,,db2/a", "must name hosts as in"),
        ("postgresql://db:70000/a", "must name hosts as in"),
        ("postgresql://db", "must end with the name of the database"),
        ("postgresql://db/a/b", "must end with the name of the database"),
        ("postgresql://db/a#b", "must have no fragment"),
    ],
)
def test_a_url_that_names_no_database_is_refused(database: str, said: str) -> None:
    assert said in problem_of(DATABASE=database)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis://redis.example",
        "redis://redis.example:6379",
        "redis://127.0.0.1:6379/0",
        "redis://[2001:db8::1]:6379/15",
        "rediss://mintmark@redis.example/",
    ],
)
def test_a_sound_redis_is_kept(url: str) -> None:
    assert of(REDIS=url).redis == url


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis.example:6379", "must be a URL such as redis://"),
        ("http://redis.example", "must be a URL such as redis://"),
        ("unix:///run/redis.sock", "must be a URL such as redis://"),
        ("redis://", "must be a URL such as redis://"),
        ("redis://redis.example:port", "must be a URL such as redis://"),
        ("redis://redis.example:0", "must be a URL such as redis://"),
        ("redis://redis .example", "must be a URL such as redis://"),
        ("redis://:hunter2@redis.example", "must have no password: it goes into `redis_password`"),
        ("redis://mintmark:hunter2@redis.example", "must have no password"),
        ("redis://mintmark:@redis.example", "must have no password"),
        ("redis://redis.example?password=hunter2", "must have no query"),
        ("redis://redis.example#0", "must have no query"),
        ("redis://redis.example/cache", "must end with the number of a database"),
        ("redis://redis.example/0/1", "must end with the number of a database"),
    ],
)
def test_an_unsound_redis_is_refused_and_never_repeated(url: str, advice: str) -> None:
    problem = problem_of(REDIS=url)
    assert advice in problem
    assert "hunter2" not in problem
    assert "example" not in problem.replace("redis.example.com", "")


def test_a_cluster_has_a_node_and_one_database() -> None:
    assert of(REDIS="redis://redis.example/0", REDIS_CLUSTER="true").redis_cluster
    assert not of(REDIS="redis://redis.example/1", REDIS_CLUSTER="false").redis_cluster
    assert "needs `redis` to name a node" in problem_of(REDIS="redis://redis.example/1", REDIS_CLUSTER="true")
    assert "needs `redis` to name a node" in problem_of(REDIS_CLUSTER="true")


def test_the_password_for_redis_is_not_shown() -> None:
    settings = of(REDIS="redis://redis.example", REDIS_PASSWORD="hunter2")
    assert settings.redis_password is not None
    assert settings.redis_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)
