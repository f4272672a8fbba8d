"""The tests of test_conformance.py that an engine need not pass."""

from __future__ import annotations

#: What others decide, most of it the host of an ASGI application: engines, reason, and names of
#: tests, some with a part of their parameters behind it.
_DECIDED_BY_OTHERS = [
    (
        ["uvicorn", "hypercorn"],
        "a host compresses",
        [
            "test_messages_of_all_kinds_are_compressed_in_both_directions",
            "test_what_many_send_at_once_is_inflated_in_the_order_of_each",
            "test_a_close_in_the_middle_of_a_compressed_message_ends_it",
            "test_a_close_comes_after_the_compressed_message_that_is_being_sent",
            "test_after_a_while_what_is_kept_is_let_go_of_and_not_referred_to",
            "test_what_was_not_agreed_on_is_not_compressed",
            "test_a_broadcast_is_compressed_for_those_that_have_agreed_on_that",
        ],
    ),
    (
        ["run"],
        "whoever has called run has to call it again",
        ["test_a_client_that_connects_again_compresses_without_what_was_before"],
    ),
    (
        ["uvicorn", "hypercorn"],
        "a host sends whole messages",
        [
            "test_a_generator_is_sent_as_one_fragment_a_chunk",
            "test_a_generator_is_sent_from_a_callback",
        ],
    ),
    (
        ["uvicorn", "hypercorn"],
        "a host parses frames, and answers what is wrong with them",
        [
            "test_a_message_that_is_too_large_is_refused_at_its_header",
            "test_a_violation_is_told_after_what_came_before_it",
            "test_a_frame_with_the_masking_of_the_other_role_is_refused",
            "test_a_close_arrives_though_much_more_came_after_a_violation",
        ],
    ),
    (
        ["uvicorn", "hypercorn"],
        "Pings and Pongs are the host's",
        [
            "test_a_ping_is_answered_and_a_pong_is_told",
            "test_an_exception_in_a_callback_closes_with_1011 ponged",
            "test_terminate_in_a_callback_ends_after_it ponged",
            "test_close_in_a_callback_begins_the_handshake ponged",
            "test_a_heartbeat_finds_a_dead_peer",
        ],
    ),
    (
        ["uvicorn", "hypercorn"],
        "the host loses, or refuses, what comes with the handshake",
        [
            "test_bytes_that_came_with_the_handshake_are_not_lost",
            "test_many_bytes_that_came_with_the_handshake_are_not_lost",
            "test_half_a_frame_that_came_with_the_handshake_is_completed",
        ],
    ),
    (
        ["uvicorn", "hypercorn"],
        "the host judges the version",
        ["test_a_request_that_is_refused_is_answered_and_the_next_is_served Version: 8"],
    ),
    (
        ["uvicorn", "hypercorn"],
        "the host does not tell the code of a peer's Close that answers ours",
        [
            "test_we_close_and_the_peer_answers",
        ],
    ),
    (
        ["uvicorn", "hypercorn"],
        "the host answers a peer's Close",
        ["test_a_close_of_a_program_answers_the_peers"],
    ),
    (
        ["uvicorn"],
        "it says that the connection has ended once it has sent a Close",
        [
            "test_a_peer_that_does_not_answer_a_close_is_dropped",
            "test_a_peer_that_goes_on_sending_after_a_close_is_dropped",
        ],
    ),
    (
        ["uvicorn"],
        "it says 1005 of a connection that is lost",
        [
            "test_a_peer_that_vanishes_is_closed_with_1006",
            "test_terminate_in_a_callback_ends_after_it closed",
        ],
    ),
    (
        ["uvicorn"],
        "it does not answer a request to upgrade that has a body",
        ["test_a_request_that_is_refused_is_answered_and_the_next_is_served Content-Length"],
    ),
    (
        ["uvicorn"],
        "it judges the method itself, in its releases for Python 3.9",
        ["test_a_request_that_is_refused_is_answered_and_the_next_is_served b'405'"],
    ),
    (
        ["hypercorn"],
        "it does not tell the code of a peer's Close",
        [
            "test_the_peer_closes_and_is_answered",
            "test_an_empty_close_is_answered_empty",
            "test_both_sides_close_at_once",
            "test_a_close_that_does_not_close_is_followed_by_the_ordinary_answer",
            "test_stream_and_environ_are_there_within_closed_and_not_after",
        ],
    ),
    (
        ["hypercorn"],
        "it sends a Close where an application ends without one",
        ["test_terminate_ends_without_a_handshake", "test_close_connection_leads_to_closed"],
    ),
]

#: (engine, test) and the reason why the test is skipped; there is no other place for that.
SKIPS = {
    (engine, test): reason
    for engines, reason, tests in _DECIDED_BY_OTHERS
    for engine in engines
    for test in tests
}
