"""The whole page: tabs, phone and desktop, light and dark, for everybody and from nowhere else."""

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

TABS = ("#score", "#generate", "#models", "#models/mnist-0", "#api")


def shown(browser, tab):
    """Wait for what makes the tab whole."""
    whole = {
        "#score": "#examples img",
        "#generate": "#sampling",
        "#models": ".cards img",
        "#models/mnist-0": "#card h3",
        "#api": "#reference summary",
    }
    browser.one(whole[tab])


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_every_tab_suits_everybody_and_every_window(browser, width, scheme):
    for tab in TABS:
        browser.open(tab, width=width, scheme=scheme)
        shown(browser, tab)
        assert browser.violations() == []
        assert browser.overflowing() == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_results_suit_everybody_and_every_window(browser, digit_files, width, scheme):
    browser.open("?model=all-mnist", width=width, scheme=scheme)
    browser.choose(*digit_files[:3])
    browser.one("#detail .heat")
    browser.one("#detail .histogram")
    assert browser.violations() == []
    assert browser.overflowing() == []


def test_nothing_comes_from_elsewhere_and_nothing_fails(browser, zero_file):
    browser.open()
    browser.choose(zero_file)
    browser.one("#detail .heat")
    addresses = browser.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert addresses
    assert all(address.startswith((browser.url, "blob:", "data:")) for address in addresses)
    assert [line for line in browser.driver.get_log("browser") if line["level"] == "SEVERE"] == []


def test_on_a_phone_the_verdict_stands_beside_the_drawing_area(browser):
    browser.open(width=390, height=800)
    browser.draw([(0.5, 0.2), (0.5, 0.8)])
    browser.one("#beside .word")
    pad, beside = (browser.one(name).rect for name in ("#pad", "#beside"))
    assert beside["x"] >= pad["x"] + pad["width"]
    assert pad["y"] <= beside["y"] + beside["height"] / 2 <= pad["y"] + pad["height"]


def test_tabs_are_reached_and_changed_by_key_alone(browser):
    browser.open()
    for _ in range(20):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        if browser.driver.switch_to.active_element.get_attribute("id") == "tab-score":
            break
    ActionChains(browser.driver).send_keys(Keys.ARROW_RIGHT).perform()
    assert browser.one("#sampling")
    assert browser.driver.current_url.endswith("#generate")
    ActionChains(browser.driver).send_keys(Keys.ARROW_LEFT, Keys.TAB, Keys.TAB).perform()
    assert browser.one("#pad")


def test_an_example_is_judged_by_a_key(browser):
    browser.open()
    browser.one("#examples button").send_keys(Keys.ENTER)
    assert browser.verdict() in ("Normal", "Odd")


def test_a_link_shows_the_same_page(browser):
    browser.open("?model=mnist-1&alpha=0.2&invert=1")
    assert browser.one("#model").get_property("value") == "mnist-1"
    assert browser.text("#alpha-text") == "20 %"
    assert browser.one("#invert").is_selected()


def test_generated_images_are_named_and_walks_can_be_stepped_through(browser):
    browser.open("#generate")
    browser.click("#sampling [value=sample]")
    browser.until(lambda: len(browser.all(".sheet img")) == 25)
    assert browser.texts(".sheet figcaption")[:3] == ["ship", "cat", "frog"]
    browser.click("#sampling [value=walk]")
    slider = browser.one(".film input")
    slider.send_keys(Keys.END)
    last = browser.one(".film img").get_attribute("src")
    slider.send_keys(Keys.HOME)
    assert browser.one(".film img").get_attribute("src") != last


def test_a_model_card_says_what_is_normal_and_what_p_values_promise(browser):
    browser.open("#models")
    browser.click(".cards li:nth-child(2) button")
    assert browser.text("#card h2") == "mnist-0"
    assert "Calibrated on 1,000 normal images" in browser.text("#card")
    assert "AUROC of the score" in browser.text("#card table")
    browser.click("#card button")
    assert browser.one("#pad")


def test_the_api_is_a_page_with_every_route_and_its_fields(browser, client):
    browser.open("#api")
    browser.one("#reference summary")
    paths = client.get("/docs.json").json()["paths"]
    shown = {text.split()[1] for text in browser.texts("#reference summary code")}
    assert shown == paths.keys()
    browser.run("for (const each of document.querySelectorAll('#reference details')) each.open = true")
    assert "The false-positive rate allowed" in browser.text("#reference")
    assert browser.violations() == []


def test_own_normal_images_say_what_a_calibration_on_them_changes(browser, digit_files, client):
    browser.open("?alpha=0.2#models/mnist-0")
    browser.one("#card [type=file]").send_keys("\n".join(map(str, digit_files)))
    said = browser.until(
        lambda: "To make it last" in browser.text("#card [role=status]") and browser.text("#card [role=status]")
    )
    files = [("images", (path.name, path.read_bytes())) for path in digit_files]
    results = client.post("/score", files=files, data={"alpha": 0.2}).json()["results"]
    before = sum(result["is_anomaly"] for result in results)
    halves = [[result["score"] for result in results[rest::2]] for rest in (0, 1)]
    pairs = ((halves[0], halves[1]), (halves[1], halves[0]))
    after = sum((1 + sum(o >= s for o in other)) / 21 <= 0.2 for judged, other in pairs for s in judged)
    assert f"As the model is, {before} (" in said
    assert f"the reverse, {after} (" in said
    assert said.endswith("oddglyph calibrate FOLDER --model mnist-0 --name mnist-0-own")


def test_a_service_that_is_gone_is_said_in_a_toast(browser, zero_file):
    browser.open()
    browser.one("#examples button")
    browser.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        browser.choose(zero_file)
        assert "does not answer; is it still running?" in browser.text("#toasts")
    finally:
        online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", online)
