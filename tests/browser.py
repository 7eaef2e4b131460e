"""A headless Chromium for the tests of the page: a person's clicks, keys, strokes and files."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

SECONDS = 20
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


class Browser:
    """Chromium on the page at `url`."""

    def __init__(self, driver: webdriver.Chrome, url: str, downloads: Path) -> None:
        self.driver, self.url, self.downloads = driver, url, downloads

    def open(self, where: str = "", width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Open the page at the query and fragment `where`, once its models are listed."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{where}")
        self.until(lambda: self.texts("#model option"))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements that a person can see."""
        script = "return [...document.querySelectorAll(arguments[0])].filter((each) => each.checkVisibility())"
        return self.run(script, selector)

    def one(self, selector: str) -> WebElement:
        return self.until(lambda: self.all(selector))[0]

    def text(self, selector: str) -> str:
        """Return the text of the first such element that has some; in one step, as the page may draw it anew."""
        script = "return document.querySelector(arguments[0])?.innerText"
        return self.until(lambda: self.run(script, selector))

    def texts(self, selector: str) -> list[str]:
        return self.run("return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector)

    def says(self, selector: str, text: str) -> None:
        """Wait until the element says `text`."""
        self.until(lambda: self.text(selector) == text)

    def verdict(self) -> str:
        """Return the word on the chosen image, once it is judged."""
        self.one("#detail:not(.waiting)")
        return self.text("#detail .word")

    def click(self, selector: str) -> None:
        def clicked() -> bool:
            with contextlib.suppress(StaleElementReferenceException):
                self.one(selector).click()
                return True
            return False

        self.until(clicked)

    def until(self, found: Callable[[], Any]) -> Any:
        """Return what `found` returns as soon as it is true; AssertionError after SECONDS."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if result := found():
                return result
            time.sleep(0.05)
        raise AssertionError(f"not within {SECONDS} seconds; the browser says {self.driver.get_log('browser')}")

    def draw(self, *strokes: Sequence[tuple[float, float]]) -> None:
        """Draw `strokes`, each a list of places in [0, 1] from left and top, and lift the pen after each."""
        pad = self.one("#pad")
        self.run("arguments[0].scrollIntoView({block: 'center'})", pad)
        side = pad.size["width"]
        for stroke in strokes:
            actions = ActionChains(self.driver, duration=10)
            for index, (x, y) in enumerate(stroke):
                actions.move_to_element_with_offset(pad, int((x - 0.5) * side), int((y - 0.5) * side))
                if not index:
                    actions.click_and_hold()
            actions.release().perform()

    def choose(self, *paths: Path) -> None:
        """Choose the files `paths` as in the file dialog."""
        self.driver.find_element(By.ID, "files").send_keys("\n".join(map(str, paths)))

    def choose_option(self, selector: str, value: str) -> None:
        Select(self.one(selector)).select_by_value(value)

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong with the page as it is."""
        axe = resources.files("axe_core_python").joinpath("axe.min.js").read_text()
        self.run(f"{axe}; window.axe = axe")
        found = self.driver.execute_async_script("const done = arguments[0]; axe.run().then(done)")
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]

    def overflowing(self) -> list[str]:
        """Return what makes the page wider than the window."""
        return self.run(
            """
            if (document.documentElement.scrollWidth <= innerWidth) return [];
            const wide = [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > innerWidth);
            return wide.map((each) => each.outerHTML.slice(0, 100));
            """
        )


@contextmanager
def browsing(url: str, downloads: Path) -> Iterator[Browser]:
    """Yield a browser, or skip the test where there is none."""
    if not (CHROMIUM and DRIVER):
        pytest.skip(
            "no browser is here: install Chromium and its driver, Debian's packages chromium and chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Browser(driver, url, downloads)
    finally:
        driver.quit()
