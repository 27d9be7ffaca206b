"""The rows about processes."""

import json

from bus.codec import pack, unpack
from bus.liveness import Liveness
from bus.messages import Ready
from gatewayd.protocol.report import process_rows
from tests.kit.rogue import ready


def test_whole_numbers_of_a_worker_stay_whole_on_the_way_to_clients():
    counters = {"runs_queued": 0, "rss_bytes": 38_928_384, "lag_ms": 1.5}
    ((heard, _),) = unpack(pack(ready("agent", b"k", progress=counters)))
    assert isinstance(heard, Ready)
    liveness = Liveness(("agent",))
    liveness.announce(b"i", heard, 1.0)
    (row,) = process_rows(liveness, 1.5, heard.started_ms + 700)
    told = json.dumps([row["runsQueued"], row["rssBytes"], row["lagMs"]])
    assert told == "[0, 38928384, 1.5]"
