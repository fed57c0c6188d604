"""Why a link is not a sample: every reason code there is. Equal answers give equal codes."""

from pipelines.shared.records import REASON

REJECTED = {
    "no_caption": "the source has no text for it; it is not fetched",
    "contact_missing": "on another machine than the served site's, and `crawl.contact` is empty",
    "url_refused": "not an http(s) URL of the plain form: other scheme or port, user data, backslash, too long",
    "addr_refused": "the host is, or resolves to, an address that is not public",
    "robots_denied": "robots.txt forbids it, or could not be read though it is there (RFC 9309 2.3.1.4)",
    "optout": "the answer or its page reserves it, such as `optout:noai`",
    "content_encoding": "sent compressed although `identity` was asked for",
    "body_limit": "larger than the limit of its kind",
    "type_refused": "its first bytes are of no picture or clip format that we take",
    "too_many_pixels": "more than `media.max_pixels`, `max_clip_pixels` or `max_animation_pixels`, by its header",
    "too_many_frames": "more frames than `media.max_frames`",
    "too_long": "a clip or an animation that lasts longer than `media.max_duration_sec`",
    "clip_changes": "a clip that changes its size, rotation, pixel format or codec midway",
    "side_limit": "a side longer than `media.max_side_px`",
    "aspect_limit": "longer side over shorter side above `media.max_aspect`",
}
FAILED = {
    "dns_error": "the host's name does not resolve",
    "connect_error": "no connection, or one that was reset",
    "tls_error": "no TLS connection with a valid certificate",
    "protocol_error": "not an HTTP answer",
    "deadline": "not finished after `deadline_sec`",
    "too_slow": "silent for `idle_sec`, or below `min_bytes_per_sec`",
    "empty": "an answer without a byte",
    "truncated": "ended before its stated length, or its file is cut off",
    "redirect_limit": "more than `max_redirects` redirects, or one without a target",
    "http": "a status other than 200, such as `http_404`",
    "decode_error": "its bytes are damaged",
    "decode_crash": "its decoder's process died",
    "decode_timeout": "not decoded after `decode_sec`",
    "internal_error": "it raised what nobody expected, a mistake of ours; the log has a line on it",
    "host_suspended": "not tried: five links of its host in a row had failed",
}
TRIES_AGAIN = frozenset(
    {"connect_error", "truncated", "http_408", "http_429", "http_500", "http_502", "http_503", "http_504"}
)
HOST_TROUBLE = frozenset(
    {"dns_error", "connect_error", "tls_error", "deadline", "too_slow", "decode_timeout"} | TRIES_AGAIN
)
DECODER_TROUBLE = frozenset({"decode_crash", "decode_timeout"})
GONE = frozenset({"http_404", "http_410"})


def status_of(reason: str) -> str:
    """`success` for an empty reason, else `rejected` (a rule turned it away) or `failed` (something went wrong)."""
    if not reason:
        return "success"
    if reason.split(":")[0] in REJECTED:
        return "rejected"
    assert reason in FAILED or reason.startswith("http_"), f"{reason!r} is not in the list of reasons"
    return "failed"


def may_pass(reason: str) -> bool:
    """Whether another try may end otherwise although nothing has changed at the source."""
    passing = HOST_TROUBLE | DECODER_TROUBLE | {"protocol_error", "host_suspended", "internal_error"}
    return reason in passing or reason.startswith("http_5")


class LinkError(Exception):
    """A link that does not become a sample.

    Attributes:
        reason: Its code.
        message: What is known beyond the code; depends on the link's answer alone.
    """

    def __init__(self, reason: str, message: str = "") -> None:
        assert REASON.fullmatch(reason) and status_of(reason) != "success", f"{reason!r} is not a reason"
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
