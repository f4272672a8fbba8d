"""Run wstest, and count what the endpoint under test sends: for wstest's own Python, 2.7.

    .wstest/bin/python counting.py -m fuzzingclient -s spec.json

wstest inflates what an endpoint has compressed, and passes what it has not. So the frames with RSV1
are counted where autobahn, on which wstest stands, begins to receive each one, and the octets are
those that autobahn has counted on either side of inflating. Beside its ``index.json`` there is
``frames.json`` then: the version of the suite, and the counts of each case, as in frames.Sent.
"""

import json
import os
import sys

import autobahntestsuite
from autobahn.websocket.protocol import WebSocketProtocol
from autobahntestsuite import fuzzing, wstest

RSV1 = 4  # of the three reserved bits, as autobahn numbers them

CASES = {}
begin_frame = WebSocketProtocol.onFrameBegin
lose_connection = fuzzing.FuzzingProtocol.connectionLost
create_reports = fuzzing.FuzzingFactory.createReports


def on_frame_begin(self):
    # type: (WebSocketProtocol) -> None
    """Count the frame, whose header has been read."""
    if self.current_frame.rsv & RSV1:
        self.frames_with_rsv1 = getattr(self, "frames_with_rsv1", 0) + 1
    begin_frame(self)


def on_connection_lost(self, reason):
    # type: (fuzzing.FuzzingProtocol, object) -> None
    """Keep what was counted, if the connection was that of a case."""
    if self.runCase:
        stats = self.trafficStats
        CASES[self.factory.CaseSet.caseClasstoId(self.Case)] = {
            "frames": stats.incomingWebSocketFrames,
            "compressed": getattr(self, "frames_with_rsv1", 0),
            "messages": stats.incomingWebSocketMessages,
            "payload": stats.incomingOctetsWebSocketLevel,
            "inflated": stats.incomingOctetsAppLevel,
        }
    lose_connection(self, reason)


def write_reports(self):
    # type: (fuzzing.FuzzingFactory) -> None
    """Write the counts, and then wstest's reports: ``index.json`` says that all is there."""
    with open(os.path.join(self.outdir, "frames.json"), "w") as file:
        json.dump({"suite": autobahntestsuite.version, "cases": CASES}, file, indent=1)
    create_reports(self)


if __name__ == "__main__":
    WebSocketProtocol.onFrameBegin = on_frame_begin
    fuzzing.FuzzingProtocol.connectionLost = on_connection_lost
    fuzzing.FuzzingFactory.createReports = write_reports
    sys.exit(wstest.run())
