"""What the page says of one image, by a person's strokes, files and keys."""

import re

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from service import images

ZERO = [(0.5 + 0.22 * np.sin(turn), 0.5 - 0.36 * np.cos(turn)) for turn in np.linspace(0, 2 * np.pi, 12)]
STROKE = [(0.2, 0.2), (0.8, 0.8)]


def p_of(browser):
    return float(re.search(r"p = ([\d.]+)", browser.text("#detail .meaning")).group(1))


def explained(browser):
    """Wait until heat map and histogram of the chosen image are there."""
    browser.one("#detail .heat")
    browser.one("#detail .histogram")


def test_a_drawing_is_judged_when_the_pen_is_lifted(browser):
    browser.open()
    browser.draw(ZERO)
    assert browser.verdict() == "Normal"
    assert re.fullmatch(r"\d+ of 1,000 normal images look at least this odd.", browser.text("#detail .sentence"))
    browser.draw(STROKE)
    browser.says("#detail .word", "Odd")
    assert "so the image is called odd" in browser.text("#detail .meaning")


def test_the_histogram_says_where_the_image_falls_and_where_the_limit_is(browser, odd_file, client):
    browser.open()
    browser.choose(odd_file)
    explained(browser)
    label = browser.one(".histogram").get_attribute("aria-label")
    answer = client.post("/score", files={"images": odd_file.read_bytes()}).json()["results"][0]
    below = sum(score < answer["score"] for score in client.get("/models/mnist-0/normal").json()["scores"])
    assert label == (
        f"Histogram of the scores of 1,000 normal images. {below:,} of them score lower than this image, "
        "which is above the limit for 5 % false alarms."
    )
    assert "limit 5 %" in browser.texts(".histogram text")


def test_the_image_is_compared_with_normal_images_the_most_alike_first(browser, zero_file, client):
    browser.open()
    browser.choose(zero_file)
    explained(browser)
    shown = [each.get_attribute("src").partition(",")[2] for each in browser.all(".compared img")]
    assert set(shown) == {image["png"] for image in client.get("/models/mnist-0/normal").json()["images"]}


def test_red_is_kept_for_images_odder_than_99_percent_of_normal_ones(browser):
    browser.open()
    script = """
      const [p, done] = arguments;
      import("/web/heat.js").then(({ colour, strengthOf }) => done(colour(strengthOf(p))));
    """
    colours = {p: browser.driver.execute_async_script(script, p) for p in (0.81, 0.05, 0.01, 0.001)}
    assert colours[0.01] == colours[0.001] == [230, 0, 20, 255]
    assert colours[0.81][3] < 20  # of 255: as good as nothing
    assert colours[0.81][3] < colours[0.05][3] < colours[0.01][3]


def test_the_limit_acts_at_once_and_by_key_and_says_its_value(browser, zero_file):
    browser.open()
    browser.choose(zero_file)
    explained(browser)
    assert browser.verdict() == "Normal"
    slider = browser.one("#alpha")
    slider.send_keys(Keys.END)
    p = p_of(browser)
    assert browser.verdict() == ("Odd" if p <= 0.49 else "Normal")
    assert slider.get_attribute("aria-valuetext") == "49 % of normal images"
    slider.send_keys(Keys.HOME)  # as low as 1,000 calibration images allow: 1 / 1,001
    assert slider.get_attribute("aria-valuetext") == "0.1 % of normal images"


def test_a_group_names_the_class_and_shows_every_p_value(browser, zero_file, client):
    sent = client.post("/score", files={"images": zero_file.read_bytes()}, data={"model": "all-mnist"})
    browser.open("?model=all-mnist")
    browser.choose(zero_file)
    assert browser.verdict() == sent.json()["results"][0]["closest"]
    assert [cell.text for cell in browser.all(".classes th")] == ["0", "1"]


def test_the_parts_of_the_score_are_explained_on_demand(browser, zero_file):
    browser.open()
    browser.choose(zero_file)
    browser.click("#detail summary")
    assert "Share of normal images" in browser.text("#detail dl")


def test_a_late_answer_does_not_come_back_after_clear(browser):
    browser.open()
    network = {"offline": False, "latency": 1500, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    browser.draw(ZERO)
    browser.one("#detail.waiting")
    browser.click("#clear")
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**network, "latency": 0})
    browser.until(
        lambda: browser.run("return performance.getEntriesByType('resource').some((e) => e.name.endsWith('/score'))")
    )
    assert not browser.all("#detail")
    assert browser.one("#nothing")


def test_undo_takes_back_a_stroke(browser):
    browser.open()
    browser.draw(ZERO, STROKE)
    browser.says("#detail .word", "Odd")
    browser.click("#undo")
    browser.says("#detail .word", "Normal")


@pytest.fixture
def sheet(tmp_path, digits):
    """A photo: a black zero, small and off the centre, on a white sheet of 900 x 700 pixels."""
    zero = digits["x_test"][digits["y_test"] == 0][0]
    pixels = np.full((700, 900), 250, np.uint8)
    pixels[60:228, 80:248] -= np.minimum(zero.repeat(6, axis=0).repeat(6, axis=1), 240)
    path = tmp_path / "sheet.png"
    path.write_bytes(images.encode_png(pixels))
    return path


def test_a_dark_glyph_on_a_sheet_is_normal_once_it_is_cropped_and_centred_as_the_page_advises(browser, sheet):
    browser.open()
    browser.choose(sheet)
    assert browser.verdict() == "Odd"
    assert "small or uncentred glyph" in browser.text("#looks")
    browser.click("#looks button")
    browser.says("#detail .word", "Normal")
    assert "crop=1" in browser.driver.current_url


def test_the_webcam_gives_a_picture(browser):
    browser.open()
    browser.click("#webcam")
    browser.until(lambda: browser.run("return document.querySelector('video').videoWidth"))
    browser.click("#camera [value=take]")
    assert browser.text("#detail .name").startswith("webcam-")
