"""What a server is started with."""

import pytest

from mmlearn.serving.server.options import ServerOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rest_port": 70000}, "`rest_port` must be 0 to 65535. Received: 70000"),
        ({"batch_timeout_ms": -1}, "`batch_timeout_ms` must not be negative"),
        ({"max_batch_size": 0}, "`max_batch_size` must be positive"),
        ({"max_queued_rows": 8}, "must be at least `max_batch_size`"),
        ({"max_pending_bytes": 8}, "must be at least `max_body_bytes`"),
    ],
)
def test_values_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ServerOptions(**options).check()
