"""What comes in and what goes out, as values."""

from mintmark.asgi import Incoming, Reply

SECRET = b"mmr_secret"


def test_what_is_written_of_a_request_or_an_answer_holds_no_secret() -> None:
    """Not in an exception, not in a debugger's log."""
    incoming = Incoming(
        "POST", "/token", b"code=" + SECRET, ((b"authorization", SECRET),), b"token=" + SECRET, "192.0.2.7"
    )
    reply = Reply(200, b'{"refresh_token":"%b"}' % SECRET, ((b"set-cookie", SECRET),))
    assert (repr(incoming), repr(reply)) == ("Incoming(POST /token)", "Reply(200)")
