"""The API against its own OpenAPI document, and settings and queries against whatever comes."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge_app.web.app import create_app
from tests.edge_app.storage.made import event, minute
from tests.edge_app.test_live import wait_until
from tests.edge_app.web.history import put
from tests.edge_app.web.served import PASSWORD, Dashboard

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (Python 3.10 and later)")

_SETTINGS = settings(
    max_examples=6, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A dashboard with an admin's token, a picture and some history."""
    page = Dashboard(tmp_path_factory.mktemp("contract"))
    put(page.store, [event(0, camera="camera")], [minute(0, camera="camera")])
    page.site.security.accounts.set_password("admin", PASSWORD, "admin")
    page.token = page.site.security.accounts.make_token("tester", "admin")
    page.app = create_app(page.site)
    page.headers = {"Authorization": f"Bearer {page.token}"}
    wait_until(lambda: page.runner.state.latest() is not None)
    yield page
    page.close()


def test_the_api_keeps_to_its_document(site):
    from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", site.app, headers=site.headers)
    tested = 0
    # A stream never ends, and a test would wait for its end.
    for found in schema.exclude(path="/stream").get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @_SETTINGS
        def check(case):
            # The first takes our token beside a cookie that it invents for a cookie alone; test_access.py tests every
            # route. The second knows no rules between fields, such as 'from' before 'to'.
            case.call_and_validate(headers=site.headers, excluded_checks=[ignored_auth, positive_data_acceptance])

        check()
        tested += 1
    assert tested >= 20


_TEXT = st.text(max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_SECTIONS = st.sampled_from(
    ["distance", "events", "groups", "metrics", "tracker", "privacy", "model", "source", "dashboard", "x"]
)
_KEYS = st.sampled_from(["threshold_m", "region_m", "line_m", "people", "uri", "min_duration_s", "enabled"]) | _TEXT


@given(changes=st.dictionaries(_SECTIONS, st.dictionaries(_KEYS, _VALUES, max_size=2), max_size=2))
@settings(_SETTINGS, max_examples=60)
def test_no_change_of_the_configuration_breaks_anything(site, changes):
    body = json.dumps({"changes": changes})
    client = site.app.test_client()
    answer = client.patch("/api/v1/config", data=body, headers=site.headers, content_type="application/json")
    assert answer.status_code in (200, 400), answer.text
    assert "Traceback" not in answer.text


@given(
    path=st.sampled_from(["events", "series", "heat", "notices", "state", "export/events", "ground"]),
    query=st.dictionaries(st.sampled_from(["from", "to", "limit", "cursor", "camera", "together", "bucket_s"]) | _TEXT,
                          _TEXT | st.integers().map(str) | st.floats().map(str), max_size=3),
)  # fmt: skip
@settings(_SETTINGS, max_examples=60)
def test_no_query_breaks_anything(site, path, query):
    answer = site.app.test_client().get(f"/api/v1/{path}", query_string=query, headers=site.headers)
    assert answer.status_code in (200, 400, 404), answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{" * 5000, b'{"changes": 1}'])
def test_a_body_that_is_no_object_is_one_sentence(site, body):
    client = site.app.test_client()
    answer = client.patch("/api/v1/config", data=body, headers=site.headers, content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json()["error"]
