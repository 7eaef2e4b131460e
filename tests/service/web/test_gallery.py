"""Many images on the page: tiles, filters, summary, files, and bad files among them."""

import csv
import json

import pytest


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"not an image")
    return path


def scored(browser, count):
    browser.until(lambda: len(browser.all("#tiles li")) == count and not browser.all("#tiles .waiting"))


def download(browser, button, name):
    path = browser.downloads / name
    path.unlink(missing_ok=True)
    browser.click(button)
    browser.until(path.exists)
    return path.read_text()


def test_tiles_are_in_order_of_p_and_say_what_they_say(browser, digit_files, client):
    browser.open("?alpha=0.2")
    browser.choose(*digit_files)
    scored(browser, 40)
    files = [("images", (path.name, path.read_bytes())) for path in digit_files]
    results = client.post("/score", files=files, data={"alpha": 0.2}).json()["results"]
    odd = sum(result["is_anomaly"] for result in results)
    assert browser.text("#summary") == (
        f"40 images: {odd} odd, {40 - odd} normal. If all were normal, expect at most about 8 false alarms at 20 %."
    )
    expected = [result["p_value"] for result in sorted(results, key=lambda result: result["p_value"])]
    assert [float(text.split()[-1]) for text in browser.texts("#tiles .word")] == pytest.approx(expected, rel=0.05)


def test_one_unreadable_file_spoils_no_other(browser, digit_files, broken):
    browser.open()
    browser.choose(*digit_files[:2], broken)
    scored(browser, 3)
    assert len(browser.all("#tiles .unread")) == 1
    browser.click("#filter input[value=unread]")
    browser.click("#tiles button")
    said = browser.text("#detail .sentence")
    assert said.startswith("This is ")
    assert "b'" not in said


def test_the_csv_and_the_json_hold_what_the_page_says(browser, digit_files, broken):
    browser.open()
    browser.choose(*digit_files[:3], broken)
    scored(browser, 4)
    rows = list(csv.DictReader(download(browser, "#csv", "scores.csv").splitlines()))
    answer = json.loads(download(browser, "#json", "scores.json"))
    assert [row["id"] for row in rows] == [result["id"] for result in answer["results"]]
    assert rows[-1]["id"] == "broken.png"
    assert rows[-1]["error"]
    for row, result in zip(rows[:3], answer["results"][:3], strict=True):
        assert float(row["p_value"]) == result["p_value"]
        assert row["is_anomaly"] == str(result["is_anomaly"]).lower() == str(result["p_value"] <= 0.05).lower()


def test_images_go_one_by_one_and_all_at_once(browser, digit_files):
    browser.open()
    browser.choose(*digit_files[:3])
    scored(browser, 3)
    browser.click("#detail .remove")
    scored(browser, 2)
    browser.click("#clear-all")
    assert browser.one("#nothing")
    assert not browser.all("#batch")


def test_another_model_judges_the_images_that_are_there(browser, digit_files):
    browser.open()
    browser.choose(*digit_files[:2])
    scored(browser, 2)
    browser.choose_option("#model", "mnist-1")
    browser.until(lambda: browser.text("#detail .name").endswith("mnist-1"))
    scored(browser, 2)
    assert "model=mnist-1" in browser.driver.current_url


def test_many_images_show_progress_and_can_be_cancelled_and_taken_up_again(browser, digit_files):
    browser.open()
    network = {"offline": False, "latency": 1000, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    browser.choose(*digit_files)
    assert browser.text("#progress-text").endswith("of 40 images")
    browser.click("#cancel")
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**network, "latency": 0})
    assert browser.all("#tiles .waiting")
    browser.click("#rest")
    scored(browser, 40)
