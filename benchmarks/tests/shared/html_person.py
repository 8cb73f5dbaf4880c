"""Who reads the HTML report in a browser: what tests do with it, and what they see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Person:
    """A browser and the hands on it."""

    def __init__(self, driver: Any) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        self.driver, self.keys = driver, Keys
        self._chains = ActionChains

    def open(self, path: Path) -> None:
        self.driver.get(path.as_uri())
        self.until(lambda: self.script("return document.documentElement.dataset.ready") == "true")

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def show(self, element: Any, block: str = "center") -> Any:
        how = {"block": block, "inline": "center", "behavior": "instant"}
        self.script("arguments[0].scrollIntoView(arguments[1])", element, how)
        return element

    def click(self, element: Any) -> None:
        self._chains(self.driver).move_to_element(self.show(element)).click().perform()

    def point(self, element: Any) -> None:
        self._chains(self.driver).move_to_element(self.show(element)).perform()

    def press(self, *keys: str) -> None:
        self._chains(self.driver).send_keys(*keys).perform()

    def tap(self, element: Any, block: str = "center") -> None:
        box = self.script(
            "const b = arguments[0].getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]",
            self.show(element, block),
        )
        point = [{"x": box[0], "y": box[1]}]
        self.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=point)
        self.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)

    def window(self, width: int, height: int = 800, *, phone: bool = False, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def until(self, holds: Callable[[], Any], seconds: float = 5) -> Any:
        end = time.monotonic() + seconds
        while not (answer := holds()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.03)
        return answer

    def rows(self) -> list[str]:
        """The models of the first leaderboard, as they are seen from top to bottom."""
        lines = "[...document.querySelectorAll('#leaderboard table.board tr[data-r]')]"
        seen = self.script(f"return {lines}.filter(x => x.getClientRects().length).map(x => x.dataset.model)")
        return [name.removesuffix(".digits") for name in seen]

    def protocol(self) -> str:
        """The text of the open protocol, "" where none is open."""
        dialog = self.find("#protocol")
        return str(dialog.text) if dialog.is_displayed() else ""

    def cell(self, model: str, column: int = 0) -> Any:
        return self.find(f'#leaderboard .board tr[data-model="{model}.digits"] .cell[data-c="{column}"]')

    def faults(self) -> list[Any]:
        """Errors on the console, and whatever was asked of a network."""
        errors = [entry for entry in self.driver.get_log("browser") if entry["level"] != "DEBUG"]
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert any(url.startswith("file:") for url in sent)  # or nothing would have been seen at all
        own = ("file:", "data:", "chrome:", "chrome-untrusted:")  # the last two are the browser's first empty tab
        return errors + [url for url in sent if not url.startswith(own)]
