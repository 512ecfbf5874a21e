"""The console in a real Chromium: pages and decisions, by keyboard, on a phone, in the dark.

One server and one browser for the module. With ``--pictures`` the pages are photographed for the
documentation (``make pictures``).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect
from tests.ui.conftest import PASSWORD, build_place
from tests.ui.console.browsing import Reader, chromium, photograph, reader_of, served
from tests.ui.console.lived_in import Story, live_in

from agenticrs.platform.database import session_scope
from agenticrs.registry import compositions, proposals, trials

expect.set_options(timeout=60_000)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"runOnly": ["color-contrast"]}
DESK: ViewportSize = {"width": 1280, "height": 860}
PAGES = {
    "overview": "/",
    "proposals": "/proposals",
    "proposal": "/proposals/{waiting}",
    "cycles": "/cycles",
    "cycle": "/cycles/{searched}",
    "cycle-running": "/cycles/{running}",
    "cycle-failed": "/cycles/{failed}",
    "cycle-report": "/cycles/{searched}/report",
    "schedules": "/schedules",
    "schedule": "/schedules/nightly",
    "agents": "/agents",
    "agent": "/agents/itemknn",
    "compositions": "/compositions",
    "composition": "/compositions/3",
    "compare": "/compositions/compare?before=2&after=3",
    "experiments": "/experiments",
    "experiment": "/experiments/{experiment}",
    "objectives": "/objectives",
    "objective": "/objectives/{weights}",
    "memory": "/memory?words=itemknn+neighbours",
    "canary": "/canary",
    "reports": "/reports",
    "report": "/reports/3",
    "policies": "/policies",
    "people": "/people",
    "account": "/account",
    "divergence": "/divergence",
    "audit": "/audit",
    "error": "/compositions/99",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    place = build_place(tmp_path_factory.mktemp("lived-in"))
    yield live_in(place)
    place.serving.stop()
    place.engine.dispose()


@pytest.fixture(scope="module")
def address(story: Story) -> Iterator[str]:
    with served(story.place) as found:
        yield found


@pytest.fixture(scope="module")
def reader(browser: Browser, address: str) -> Iterator[Reader]:
    found = reader_of(browser, address)
    yield found
    found.context.close()


def path_of(name: str, story: Story) -> str:
    return PAGES[name].format(
        waiting=story.waiting,
        searched=story.searched,
        running=story.running,
        failed=story.failed,
        weights=story.weights,
        experiment=story.experiment,
    )


def violations(page: Page, options: dict[str, list[str]] = WCAG) -> list[str]:
    """What axe finds, a line for each element."""
    answer = Axe().run(page, options=options).response
    assert len(answer["passes"]) > (10 if options is WCAG else 0), "axe has looked"
    found = answer["violations"]
    return [
        f"{one['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_accessible_and_asks_no_other_host(
    reader: Reader, story: Story, name: str, request: pytest.FixtureRequest
) -> None:
    reader.complaints.clear()
    page = reader.open(path_of(name, story))
    expect(page.locator("h1")).to_be_visible()
    if request.config.getoption("pictures"):
        reader.photograph(name)
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, COLOURS) == [], "in the dark only colours are others"
    page.emulate_media(color_scheme="light")
    assert reader.foreign == []
    refused = [text for text in reader.complaints if "404" not in text]
    assert refused == [], "errors, or content that the policy refused"
    assert excess(page) <= 0, "wide things scroll by themselves, the page does not"
    page.set_viewport_size({"width": 390, "height": 844})
    assert excess(page) <= 0, "on a phone neither"
    page.set_viewport_size(DESK)


def excess(page: Page) -> int:
    """Pixels by which a page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return found


def test_the_way_in_is_accessible_and_says_what_is_wrong(
    browser: Browser, address: str, request: pytest.FixtureRequest
) -> None:
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.goto(f"{address}/audit")
    expect(page.locator("h1")).to_have_text("Log in")
    if request.config.getoption("pictures"):
        photograph(page, "login")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
    page.fill("[name=name]", "admin")
    page.fill("[name=password]", "wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("name or password is wrong")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/audit")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text("Log in")
    context.close()


def test_dark_is_the_readers_choice_and_stays(
    reader: Reader, story: Story, request: pytest.FixtureRequest
) -> None:
    page = reader.open("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    page.wait_for_load_state()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    for name in ("overview", "proposal"):
        reader.open(path_of(name, story))
        if request.config.getoption("pictures"):
            reader.photograph(f"{name}-dark")
        assert violations(page) == [], name
    page.get_by_role("button", name="As the system").click()
    page.wait_for_load_state()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_an_approval_fits_a_phone(
    browser: Browser, address: str, story: Story, request: pytest.FixtureRequest
) -> None:
    phone = reader_of(browser, address, width=390, height=844)
    page = phone.open(path_of("proposal", story))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    cut = "found => found.filter(box => box.scrollWidth > box.clientWidth).map(b => b.ariaLabel)"
    assert page.locator(".scroll").evaluate_all(cut) == [], "graphs and tables fit as they are"
    assert violations(page) == []
    page.get_by_role("link", name="Decide").click()
    expect(page.get_by_label("Reason")).to_be_in_viewport()
    for name in ("Approve and serve", "Reject"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["height"] >= 44, "a thumb hits it"
    page.get_by_role("button", name="Approve and serve").scroll_into_view_if_needed()
    if request.config.getoption("pictures"):
        phone.photograph("phone-decision")
        phone.open(path_of("proposal", story))
        phone.photograph("phone")
    phone.context.close()


def test_a_nodes_figures_show_by_keyboard_and_by_pointer(
    reader: Reader, request: pytest.FixtureRequest
) -> None:
    page = reader.open("/compositions/3")
    card = page.locator(".pop")
    node = page.get_by_role("link", name="itemknn version 2")
    node.focus()
    expect(card).to_contain_text("Inner reward")
    expect(card).to_contain_text("shrinkage")
    if request.config.getoption("pictures"):
        reader.photograph("node")
    lit = page.locator(".edge.lit")
    expect(lit).to_have_count(2)
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    page.get_by_role("link", name="ease version 1").hover()
    expect(card).to_contain_text("ease")
    node.focus()
    page.keyboard.press("Enter")
    assert page.url.endswith("#member-itemknn")


def test_the_whole_page_is_reached_by_the_tab_key(reader: Reader) -> None:
    page = reader.open("/compositions/3")
    names: list[str] = []
    said = "document.activeElement.ariaLabel || document.activeElement.innerText"
    for _ in range(45):
        page.keyboard.press("Tab")
        names.append(page.evaluate(said))
    assert names[0] == "Skip to content"
    for name in ("Overview", "Audit", "Light", "Log out", "popularity version 1", "Members"):
        assert name in names, names


def test_times_are_the_readers_with_utc_beside_them(reader: Reader, story: Story) -> None:
    page = reader.open(path_of("cycle", story))
    time = page.locator("time").first
    expect(time).to_have_text("4 Nov 2026, 03:00")
    assert time.get_attribute("title") == "04 Nov 2026, 02:00:00 UTC"


def test_the_axes_of_pictures_are_the_readers_time_too(reader: Reader) -> None:
    page = reader.open("/")
    tick = page.locator(".lines .tick[data-at]").first
    utc = datetime.fromisoformat(tick.get_attribute("data-at") or "")
    shown = utc.astimezone(ZoneInfo("Europe/Berlin")).strftime("%d %b")
    expect(tick.locator("title")).to_have_text(utc.strftime("%d %b %Y, %H:%M UTC"))
    assert tick.evaluate("tick => tick.firstChild.nodeValue") == shown


def test_a_running_cycle_grows_while_it_is_looked_at(reader: Reader, story: Story) -> None:
    page = reader.open(path_of("cycle-running", story))
    page.locator("#log summary").click()
    with session_scope(story.place.engine) as session:
        waiting = next(t for t in trials.of_cycle(session, story.running) if t.state == "proposed")
        metrics = {"ndcg@10": 0.1234}
        trials.record_full(
            session, waiting.id or 0, metrics=metrics, reward=0.1234, seconds=2, device="cpu"
        )
    row = page.locator(f"#trial-{waiting.id}")
    expect(row).to_contain_text("0.1234")
    expect(page.locator("#log")).to_have_attribute("open", "")
    expect(page.locator(".lines circle")).to_have_count(7)


def test_what_others_say_appears_while_somebody_writes(reader: Reader, story: Story) -> None:
    page = reader.open(path_of("proposal", story))
    reason = page.get_by_label("Reason")
    reason.fill("better for ever")
    with session_scope(story.place.engine) as session:
        proposals.decide(
            session, story.waiting, verdict="comment", who="cy", reason="Mind the weekend."
        )
    expect(page.get_by_text("Mind the weekend.")).to_be_visible()
    expect(reason).to_have_value("better for ever")
    expect(reason).to_be_focused()
    page.keyboard.type("ybody")
    expect(reason).to_have_value("better for everybody")


def test_a_person_approves_other_weights(reader: Reader, story: Story) -> None:
    page = reader.open("/")
    page.get_by_role("link", name="Other weights of the objectives").click()
    page.get_by_label("Reason").fill("who comes back counts for more")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("h1")).to_contain_text("approved")
    expect(page.get_by_text("who comes back counts for more")).to_be_visible()
    page = reader.open("/objectives")
    expect(page.get_by_text("approved by admin")).to_be_visible()


def test_two_compositions_are_chosen_and_compared(reader: Reader) -> None:
    page = reader.open("/compositions")
    page.get_by_label("Composition 1 before").check()
    page.get_by_label("Composition 3 after").check()
    page.get_by_role("button", name="Compare the two").click()
    expect(page.locator("h1")).to_have_text("Compositions 1 and 3")
    expect(page.get_by_role("heading", name="Fusion weights")).to_be_visible()
    expect(page.get_by_text("No proposal goes from one to the other.")).to_be_visible()


def test_the_memory_is_searched_and_the_audit_log_filtered(reader: Reader) -> None:
    page = reader.open("/memory")
    page.get_by_label("Words").fill("OutOfMemory")
    page.get_by_label("Verdict").select_option("failed")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr").first).to_contain_text("OutOfMemory")
    page = reader.open("/audit")
    page.get_by_label("Action").select_option("promote")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(3)


def test_a_canary_is_rolled_back_with_a_reason(reader: Reader, story: Story) -> None:
    page = reader.open("/canary")
    page.get_by_label("Reason").fill("support hears complaints")
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_load_state()
    expect(page.locator("h1")).to_contain_text("rolled back")
    expect(page.get_by_text("support hears complaints").first).to_be_visible()


def test_a_person_approves_and_rolls_back(reader: Reader, story: Story) -> None:
    page = reader.open(path_of("proposal", story))
    page.get_by_label("Comment").fill("I have looked at the segments")
    page.get_by_role("button", name="Comment").click()
    expect(page.get_by_text("I have looked at the segments")).to_be_visible()
    page.get_by_role("button", name="Approve and serve").click()
    assert page.evaluate("document.activeElement.name") == "reason", "a reason is asked for"
    page.get_by_label("Reason").fill("better for every group")
    page.get_by_role("button", name="Approve and serve").click()
    expect(page.get_by_text("better for every group")).to_be_visible()
    page = reader.open("/")
    expect(page.get_by_text("composition #4").first).to_be_visible()
    page.locator("[name=to]").select_option("3")
    page.get_by_label("Reason").fill("watch time fell")
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_load_state()
    expect(page.get_by_text("watch time fell")).to_be_visible()
    expect(page.locator(".head").get_by_role("link", name="#3")).to_be_visible()


def test_a_person_asks_for_changes(reader: Reader, story: Story) -> None:
    place = story.place
    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 3)
        after = compositions.get(session, "home", 4)
    row = place.propose(before, after, title="Once more")
    page = reader.open(f"/proposals/{row.id}")
    page.get_by_label("Reason").fill("without the router, please")
    page.get_by_role("button", name="Request changes").click()
    expect(page.locator(".talk")).to_contain_text("asked for changes")
    expect(page.locator(".talk")).to_contain_text("without the router, please")


def test_a_person_rejects_with_a_reason(reader: Reader, story: Story) -> None:
    place = story.place
    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 3)
        after = compositions.get(session, "home", 4)
    row = place.propose(before, after, title="The same once more")
    page = reader.open(f"/proposals/{row.id}")
    page.get_by_label("Reason").fill("we have just gone back from it")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("we have just gone back from it")).to_be_visible()
    expect(page.locator("h1")).to_contain_text("rejected")
