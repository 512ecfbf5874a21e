"""Decisions in a real Chromium: schedules, policies, people, tokens, weights, experiments, canary.

Also two people who approve one proposal, empty pages, a form under way, a connection that is lost.
One server and one browser for the module; it begins with nothing in the registry.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FilePayload, Page, expect
from tests.ui.conftest import MEMBERS, PASSWORD, Place, build_place, popular_only, routed
from tests.ui.console.browsing import Reader, chromium, reader_of, served
from tests.ui.console.test_experiments import begun
from tests.ui.console.test_objectives import proposed as weights

from agenticrs.agents.experimentation.canary import Canary, Ladder
from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, canaries, compositions, policies
from agenticrs.registry.policies import Policy
from agenticrs.registry.tables import CanaryRow

expect.set_options(timeout=60_000)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EMPTY = {
    "/": "Nothing serves yet.",
    "/proposals": "Nothing has been proposed yet.",
    "/cycles": "No cycle has run yet.",
    "/schedules": "Nothing begins by itself.",
    "/compositions": "No composition has been made yet.",
    "/memory": "Nothing has been tried yet.",
    "/experiments": "No experiment has been planned yet.",
    "/canary": "No composition has been shown to a few users first.",
    "/reports": "No composition has been reported on yet.",
    "/divergence": "Both say the same.",
}
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = build_place(tmp_path_factory.mktemp("decisions"))
    yield made
    made.serving.stop()
    made.engine.dispose()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(place: Place) -> Iterator[str]:
    with served(place) as found:
        yield found


@pytest.fixture(scope="module")
def reader(browser: Browser, address: str) -> Iterator[Reader]:
    found = reader_of(browser, address)
    yield found
    assert found.foreign == []
    found.context.close()


@pytest.fixture(scope="module")
def serving(place: Place) -> Place:
    """Composition 1 serves, composition 2 could."""
    for name in MEMBERS:
        place.publish(name)
    first = place.compose(popular_only())
    place.compose(routed())
    place.promote(first.number)
    place.serving.refresh()
    return place


def press(page: Page, button: str, reason: str = "") -> None:
    """Say why, and press a button that changes something."""
    if reason:
        page.get_by_label("Reason").first.fill(reason)
    page.get_by_role("button", name=button, exact=True).first.click()
    page.wait_for_load_state()


@pytest.mark.parametrize("path", EMPTY)
def test_an_empty_page_says_what_to_do_and_is_accessible(reader: Reader, path: str) -> None:
    page = reader.open(path)
    expect(page.get_by_text(EMPTY[path])).to_be_visible()
    assert Axe().run(page, options=WCAG).response["violations"] == []


def test_a_schedule_is_added_run_paused_edited_and_removed(reader: Reader) -> None:
    page = reader.open("/schedules")
    page.get_by_text("Add a schedule", exact=True).click()
    page.get_by_label("Name").fill("nightly")
    page.locator("[name=cron]").fill("61 2 * * *")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    press(page, "Add")
    expect(page.locator("#wrong-cron")).to_be_visible()
    expect(page.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    page.locator("[name=cron]").fill("30 2 * * mon-fri")
    page.get_by_label("Blackout windows").fill("2026-12-24..2026-12-26")
    press(page, "Add")
    expect(page.locator("h1")).to_have_text("nightly active")
    expect(page.locator("ol.plain time").first).to_be_visible()
    press(page, "Run now", "the import is complete")
    expect(page.get_by_text("admin wants it to run now: the import is complete")).to_be_visible()
    press(page, "Pause", "a release")
    expect(page.locator("h1")).to_have_text("nightly paused")
    press(page, "Resume", "it is out")
    expect(page.locator("h1")).to_have_text("nightly active")
    page.get_by_text("Edit", exact=True).click()
    page.locator("[name=cron]").fill("")
    page.locator("[name=every_seconds]").fill("86400")
    press(page, "Save")
    expect(page.get_by_text("every 1 d")).to_be_visible()
    press(page, "Remove", "no longer")
    expect(page.get_by_text("Nothing begins by itself.")).to_be_visible()


def test_a_policy_is_written(reader: Reader, place: Place) -> None:
    page = reader.open("/policies")
    page.get_by_label("Policy").fill("{")
    press(page, "Write version 1", "care")
    expect(page.locator("h1")).to_have_text("the policy is not valid JSON")
    page = reader.open("/policies")
    page.get_by_label("Policy").fill('{"rules": [], "otherwise": 2}')
    press(page, "Write version 1", "two people look at everything")
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()
    expect(page.get_by_text("two people look at everything")).to_be_visible()
    with session_scope(place.engine) as session:
        assert policies.active(session).policy == Policy(otherwise=2)


def test_people_and_tokens_come_change_and_go(reader: Reader) -> None:
    page = reader.open("/people")
    adding = page.locator("form[action='/people/add']")
    adding.get_by_label("Name").fill("vera")
    adding.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("The password of vera is shown only now")
    row = page.locator("tr", has=page.get_by_text("vera", exact=True))
    row.get_by_label("Role").select_option("operator")
    row.get_by_label("Reason").fill("is on call")
    row.get_by_role("button", name="Change role").click()
    expect(row.locator("td").nth(1)).to_have_text("operator")
    row.get_by_role("button", name="New password").click()
    expect(page.get_by_role("status")).to_contain_text("The password of vera")
    making = page.locator("form[action='/tokens/create']")
    making.get_by_label("What uses it").fill("nightly script")
    making.get_by_label("Acts for").select_option("vera")
    making.get_by_label("operate").check()
    making.get_by_role("button", name="Create").click()
    expect(page.get_by_role("status")).to_contain_text("The token nightly script")
    page.get_by_role("button", name="Revoke token 1").click()
    expect(page.get_by_text("revoked")).to_be_visible()
    row.get_by_label("Reason").fill("left")
    row.get_by_role("button", name="Close").click()
    expect(row.get_by_text("closed")).to_be_visible()
    row.get_by_label("Reason").fill("came back")
    row.get_by_role("button", name="Open").click()
    expect(row.get_by_text("closed")).to_have_count(0)


def test_two_people_approve_and_then_it_serves(
    browser: Browser, address: str, reader: Reader, serving: Place
) -> None:
    with session_scope(serving.engine) as session:
        for name in ("bo", "cy"):
            accounts.create(session, name, PASSWORD, "approver")
        before, after = (compositions.get(session, "home", n) for n in (1, 2))
        known = policies.active(session).version
        policies.write(session, Policy(otherwise=2), replaces=known, who="admin", reason="care")
    row = serving.propose(before, after, title="Route cold users", proposed_by="admin")
    page = reader.open(f"/proposals/{row.id}")
    expect(page.get_by_text("You asked for this change")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    for name, button, then in (
        ("bo", "Approve", "You have approved it; somebody else must, too."),
        ("cy", "Approve and serve", "approved it"),
    ):
        other = reader_of(browser, address, name=name)
        page = other.open(f"/proposals/{row.id}")
        press(page, button, f"{name} finds it better")
        expect(page.get_by_text(then).first).to_be_visible()
        other.context.close()
    assert serving.serving.status.composition == 2


def test_weights_are_rejected_approved_and_taken_back(reader: Reader, serving: Place) -> None:
    page = reader.open(f"/objectives/{weights(serving)}")
    press(page, "Reject", "not before Christmas")
    expect(page.locator("h1")).to_contain_text("rejected")
    page = reader.open(f"/objectives/{weights(serving)}")
    press(page, "Approve", "they come back")
    page = reader.open("/objectives")
    page.get_by_text("Go back to the weights of the settings").click()
    press(page, "Let the settings hold", "the season is over")
    expect(page.locator(".head")).to_contain_text("the settings")


def test_an_experiment_is_planned_and_told_of(reader: Reader, serving: Place) -> None:
    page = reader.open("/experiments")
    page.get_by_text("Plan an experiment").click()
    page.get_by_label("Question").fill("Do larger covers help?")
    page.get_by_label("The treatment: its users see").fill("large covers")
    page.get_by_label("The control: its users see").fill("small covers")
    press(page, "Begin", "the designers ask")
    expect(page.locator("h1")).to_contain_text("Do larger covers help?")
    rows = "".join(f"c{n},{1 + n % 3}\n" for n in range(40))
    file = FilePayload(name="day.csv", mimeType="text/csv", buffer=f"user,reward\n{rows}".encode())
    with page.expect_event("requestfinished", lambda asked: asked.url.endswith("/observe")):
        page.get_by_label("CSV file").set_input_files(file)
        page.get_by_role("button", name="Let them count").click()
    expect(page.locator(".figures")).to_contain_text("1 of 14")
    expect(page.get_by_role("region", name="Steps").locator("tbody tr")).to_have_count(1)


def test_an_experiment_is_stopped(reader: Reader, serving: Place) -> None:
    page = reader.open(f"/experiments/{begun(serving).id}")
    press(page, "Stop without a conclusion", "the page has changed")
    expect(page.locator("h1")).to_contain_text("stopped")
    expect(page.get_by_text("the page has changed").first).to_be_visible()


def test_a_canary_that_asks_is_watched_on_and_advanced(reader: Reader, serving: Place) -> None:
    page = asked(reader, serving)
    expect(page.get_by_role("link", name="Canary 1 asks what follows")).to_be_visible()
    page.get_by_role("link", name="Canary 1 asks what follows").click()
    press(page, "Watch on", "too few users yet")
    expect(page.locator("h1")).to_contain_text("running")
    with session_scope(serving.engine) as session:
        ask_again(session.get(CanaryRow, 1))
    page = reader.open("/canary")
    press(page, "Advance without proof", "the weekend is quiet")
    expect(page.locator(".steps .done")).to_have_count(1)
    expect(page.get_by_text("the weekend is quiet").first).to_be_visible()


def test_a_form_is_sent_once_and_shows_that_it_is_on_its_way(reader: Reader) -> None:
    page = reader.open("/account")
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.method == "POST" else None)
    button = page.get_by_role("button", name="Dark")
    busy = button.evaluate("button => { button.click(); button.click(); return button.ariaBusy; }")
    assert busy == "true"
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert len(sent) == 1


def test_a_page_says_that_its_connection_is_lost(reader: Reader) -> None:
    page = reader.page
    page.route("**/cycles/events", lambda route: route.abort())
    reader.open("/cycles")
    expect(page.get_by_role("status")).to_contain_text("what stands here may be old")
    page.unroute("**/cycles/events")


def test_somebody_changes_their_password_and_logs_in_with_it(reader: Reader) -> None:
    page = reader.open("/account")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password").fill("another battery staple")
    press(page, "Change and log in again")
    expect(page.locator("h1")).to_have_text("Log in")
    page.fill("[name=name]", "admin")
    page.fill("[name=password]", "another battery staple")
    press(page, "Log in")
    expect(page.locator("h1")).to_have_text("Overview")


def asked(reader: Reader, place: Place) -> Page:
    """The overview while a canary of composition 1 asks a person."""
    with session_scope(place.engine) as session:
        row = canaries.begin(
            session,
            CanaryRow(
                surface="home",
                key="canary",
                before=2,
                after=1,
                state="running",
                ladder=Canary(ladder=Ladder()).model_dump(mode="json"),
                share=0.01,
                salt="s",
                horizon=86400.0,
                dataset="generated",
                feedback_from=0,
                who="ada",
                reason="a cautious start",
                cause="approval",
            ),
        )
        ask_again(row)
    return reader.open("/")


def ask_again(row: CanaryRow | None) -> None:
    assert row is not None
    row.state = "paused"
    row.ladder = {**row.ladder, "status": "paused", "reason": "it is neither better nor worse"}
